"""
Columns of Python values as Arrow arrays.

They are put together from buffers, since the first call of ``pyarrow.array`` in a process imports pandas where it
is installed: more than a second of a task that may need none. The layout is that of Arrow's columnar format,
https://arrow.apache.org/docs/format/Columnar.html.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

import pyarrow as pa

from airflow_provider_claude_code.tables.contract import ColumnType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "STRING": pa.string(),
    "INT64": pa.int64(),
    "BOOL": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "NUMERIC": pa.decimal128(38, 9),
}

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def arrow_array(type_: ColumnType, values: Sequence[Any]) -> pa.Array:
    """
    Return values as an Arrow array.

    :param type_: their type.
    :param values: ``None`` is null; money is in billionths.
    :raises OverflowError: a number does not fit the type.
    """
    validity = None
    if None in values:
        validity = _bits([value is not None for value in values])
        nothing = _NOTHING[type_]
        values = [nothing if value is None else value for value in values]
    return pa.Array.from_buffers(ARROW_TYPES[type_], len(values), [validity, *_buffers(type_, values)])


_NOTHING: dict[ColumnType, Any] = {
    "STRING": "",
    "INT64": 0,
    "BOOL": False,
    "DATE": date(1970, 1, 1),
    "TIMESTAMP": _EPOCH,
    "NUMERIC": 0,
}
"""What stands in the place of a null."""


def _buffers(type_: ColumnType, values: Sequence[Any]) -> list[pa.Buffer]:
    match type_:
        case "STRING":
            text = "".join(values)
            content = text.encode()
            lengths = map(len, values) if len(content) == len(text) else (len(value.encode()) for value in values)
            return [pa.py_buffer(array("i", accumulate(lengths, initial=0))), pa.py_buffer(content)]
        case "INT64":
            return [pa.py_buffer(array("q", values))]
        case "BOOL":
            return [_bits(values)]
        case "DATE":
            return [pa.py_buffer(array("i", [value.toordinal() - _EPOCH_DAY for value in values]))]
        case "TIMESTAMP":
            return [pa.py_buffer(array("q", [(value - _EPOCH) // _MICROSECOND for value in values]))]
        case "NUMERIC":
            return [pa.py_buffer(b"".join([value.to_bytes(16, sys.byteorder, signed=True) for value in values]))]


def _bits(flags: Sequence[bool]) -> pa.Buffer:
    one_byte_each = pa.Array.from_buffers(pa.uint8(), len(flags), [None, pa.py_buffer(bytes(flags))])
    return one_byte_each.cast(pa.bool_()).buffers()[1]

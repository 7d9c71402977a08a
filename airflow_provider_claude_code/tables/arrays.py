"""
Columns of Python values as Arrow arrays.

They are put together from buffers, since the first call of ``pyarrow.array`` in a process imports pandas where it
is installed: more than a second of a task that may need none. The layout is that of Arrow's columnar format,
https://arrow.apache.org/docs/format/Columnar.html.
"""

from __future__ import annotations

import sys
from array import array
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_claude_code.tables.columns import Array, DictionaryEncoded
from airflow_provider_claude_code.tables.contract import ColumnType
from airflow_provider_claude_code.tables.rows import Values

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "STRING": pa.string(),
    "INT64": pa.int64(),
    "BOOL": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "NUMERIC": pa.decimal128(38, 9),
}

REPEATED_TEXT = pa.dictionary(pa.int32(), pa.string())
"""The type of text that many rows share: each is there once, and a row has its number."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def arrow_array(type_: ColumnType, values: Values | list[Any]) -> pa.Array:
    """
    Return values as an Arrow array.

    :param type_: their type.
    :param values: ``None`` is null, and so is what is masked; money is in billionths.
    :raises OverflowError: a number does not fit the type.
    """
    if isinstance(values, DictionaryEncoded):
        return arrow_array(type_, values.dictionary).take(_int32(values.indices))
    validity = None
    if isinstance(values, np.ma.MaskedArray):
        validity, values = _bits(~np.ma.getmaskarray(values)), values.data
    elif isinstance(values, list) and None in values:
        validity = _bits([value is not None for value in values])
        nothing = _NOTHING[type_]
        values = [nothing if value is None else value for value in values]
    return pa.Array.from_buffers(ARROW_TYPES[type_], len(values), [validity, *_buffers(type_, values)])


def repeated_text(values: DictionaryEncoded) -> pa.DictionaryArray:
    """Return text as an Arrow array of the type ``REPEATED_TEXT``."""
    values = values.tidied()
    texts, indices, validity = values.dictionary, values.indices, None
    if None in texts:
        is_text = np.array([text is not None for text in texts], bool)
        validity = _bits(is_text[indices])
        # Arrow renumbers the indices of nulls as well, so they must be in the dictionary, unless it is empty.
        indices = np.maximum(is_text.cumsum(dtype=np.int32) - 1, 0)[indices]
        texts = [text for text in texts if text is not None]
    return pa.DictionaryArray.from_arrays(_int32(indices, validity), arrow_array("STRING", texts))


def _int32(numbers: Array, validity: pa.Buffer | None = None) -> pa.Array:
    return pa.Array.from_buffers(pa.int32(), len(numbers), [validity, pa.py_buffer(numbers)])


_NOTHING: dict[ColumnType, Any] = {
    "STRING": "",
    "INT64": 0,
    "BOOL": False,
    "DATE": date(1970, 1, 1),
    "TIMESTAMP": _EPOCH,
    "NUMERIC": 0,
}
"""What stands in the place of a null."""


def _buffers(type_: ColumnType, values: Array | list[Any]) -> list[pa.Buffer]:
    match type_:
        case "STRING" if isinstance(values, np.ndarray):
            ends = np.arange(0, values.nbytes + 1, values.itemsize, dtype=np.int32)
            return [pa.py_buffer(ends), pa.py_buffer(values)]
        case "STRING":
            text = "".join(values)
            content = text.encode()
            lengths = map(len, values) if len(content) == len(text) else (len(value.encode()) for value in values)
            return [pa.py_buffer(array("i", accumulate(lengths, initial=0))), pa.py_buffer(content)]
        case "INT64":
            return [pa.py_buffer(array("q", values) if isinstance(values, list) else values)]
        case "BOOL":
            return [_bits(values)]
        case "DATE":
            return [pa.py_buffer(array("i", [value.toordinal() - _EPOCH_DAY for value in values]))]
        case "TIMESTAMP":
            return [pa.py_buffer(array("q", [(value - _EPOCH) // _MICROSECOND for value in values]))]
        case "NUMERIC" if isinstance(values, np.ndarray) and values.dtype == np.int64:
            # Two words of 64 bits, of which the second holds the sign.
            return [pa.py_buffer(np.stack([values, values >> 63], axis=1))]
        case "NUMERIC":
            return [pa.py_buffer(b"".join([value.to_bytes(16, sys.byteorder, signed=True) for value in values]))]


def _bits(flags: Array | list[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.asarray(flags, bool), bitorder="little"))

"""
A day's tables as finished local files, written page by page, so that memory does not grow with the day.

Nothing is published from here: a spool that is not complete is thrown away.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.tables.arrays import (
    ARROW_TYPES,
    REPEATED_TEXT,
    arrow_array,
    python_values,
)
from airflow_provider_claude_code.tables.contract import (
    EXTENSIONS,
    LOADED_AT,
    SCHEMA_VERSION,
    Column,
    FileFormat,
    Table,
)
from airflow_provider_claude_code.tables.rows import PageRows

ROW_GROUP_ROWS = 20_000
"""Rows of a Parquet row group: enough to compress and scan well, few enough to hold in memory."""

GZIP_LEVEL = 3
"""Of NDJSON and CSV: 6, which is usual, takes twice as long and makes files smaller by 10 to 20 %."""


def arrow_schema(table: Table) -> pa.Schema:
    """
    Return a table's Arrow schema.

    Every field is nullable, because BigQuery refuses a REQUIRED Parquet column where the table has a NULLABLE
    one. That the contract's required columns hold no null is what decoding into typed records ensures.
    """
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in table.columns])


def arrow_tables(page: PageRows, tables: Iterable[Table], loaded_at: datetime) -> dict[str, pa.Table]:
    """
    Return a page's rows as Arrow tables. Text that repeats is of the type ``REPEATED_TEXT``.

    :param page: the page.
    :param tables: which of its tables.
    :param loaded_at: aware moment at which the load began.
    """
    moment = arrow_array("TIMESTAMP", [loaded_at])[0]
    arrow = {}
    for table in tables:
        parents = page.parents.get(table.name)
        shared = (
            page.shared if parents is None else {name: values.take(parents) for name, values in page.shared.items()}
        )
        values = {**shared, **page.own[table.name]}
        arrays = {c.name: arrow_array(c.type, values[c.name]) for c in table.columns if c.name in values}
        arrays[LOADED_AT.name] = pa.repeat(moment, len(next(iter(arrays.values()))))
        names = [column.name for column in table.columns]
        arrow[table.name] = pa.Table.from_arrays([arrays[name] for name in names], names)
    return arrow


def _is_repeated_text(column: Column) -> bool:
    return column.type == "STRING" and column.name != "record_id"


@dataclass(frozen=True)
class SpooledTable:
    """
    One finished file.

    :param path: where it lies.
    :param row_count: its rows.
    :param size: its bytes.
    :param sha256: its checksum, 64 hex digits.
    """

    path: Path
    row_count: int
    size: int
    sha256: str


class DaySpool:
    """
    Writes one day into one file per table. Use it as a context manager, then :meth:`finish` it.

    :param directory: an empty directory; the files are readable by this user only.
    :param tables: the tables to write.
    :param file_format: ``"parquet"`` (zstd), ``"ndjson"`` (gzip) or ``"csv"`` (gzip, with a header).
    :param load_id: identifies the load; goes into the Parquet metadata.
    :param loaded_at: aware moment at which the load began; goes into every row.
    """

    def __init__(
        self,
        directory: Path,
        tables: Iterable[Table],
        file_format: FileFormat,
        load_id: str,
        loaded_at: datetime,
    ) -> None:
        self._tables = tuple(tables)
        self._loaded_at = loaded_at
        metadata = {
            "load_id": load_id,
            "schema_version": str(SCHEMA_VERSION),
            "provider_version": __version__,
        }
        extension = EXTENSIONS[file_format]
        self._files = {
            table.name: _BufferedFile(directory / f"{table.name}.{extension}", table, file_format, metadata)
            for table in self._tables
        }

    def __enter__(self) -> DaySpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def write(self, page: PageRows) -> None:
        """Add a page of rows."""
        for name, table in arrow_tables(page, self._tables, self._loaded_at).items():
            self._files[name].write(table)

    def finish(self) -> dict[str, SpooledTable]:
        """Return the finished files by table."""
        spooled = {}
        for name, file in self._files.items():
            file.flush()
            file.close()
            with file.path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            spooled[name] = SpooledTable(file.path, file.row_count, file.path.stat().st_size, sha256)
        return spooled


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _BufferedFile:
    """A file that is written in large portions of rows, whatever the size of the pages."""

    def __init__(self, path: Path, table: Table, file_format: FileFormat, metadata: Mapping[str, str]) -> None:
        self.path = path
        self._buffer: list[pa.Table] = []
        self._buffered_rows = 0
        self.row_count = 0
        self._file = _open_private(path)
        self._writer = _open_writer(self._file, table, file_format, metadata)

    def write(self, table: pa.Table) -> None:
        # Before its version 23 pyarrow's CSV writer writes what came before an empty portion twice: apache/arrow#36889.
        if table.num_rows:
            self._buffer.append(table)
        self._buffered_rows += table.num_rows
        self.row_count += table.num_rows
        if self._buffered_rows >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._buffered_rows:
            self._writer.write_table(pa.concat_tables(self._buffer))
        self._buffer.clear()
        self._buffered_rows = 0

    def close(self) -> None:
        if not self._file.closed:
            self._writer.close()
            self._file.close()


def _open_private(path: Path) -> IO[bytes]:
    """Create a file that only this user can read, since it holds e-mail addresses."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _open_writer(file: IO[bytes], table: Table, file_format: FileFormat, metadata: Mapping[str, str]) -> _Writer:
    match file_format:
        case "parquet":
            return _ParquetWriter(file, table, metadata)
        case "ndjson":
            return _NdjsonWriter(file, table)
        case "csv":
            return _CsvWriter(file, arrow_schema(table))


_HARDLY_REPEATING = (pa.string(), ARROW_TYPES["INT64"], ARROW_TYPES["NUMERIC"])


class _ParquetWriter:
    def __init__(self, file: IO[bytes], table: Table, metadata: Mapping[str, str]) -> None:
        # Numbers and ids hardly repeat: without a dictionary they take less time and space.
        types = {c.name: REPEATED_TEXT if _is_repeated_text(c) else ARROW_TYPES[c.type] for c in table.columns}
        repeating = [name for name, type_ in types.items() if type_ not in _HARDLY_REPEATING]
        self._parquet = pa.parquet.ParquetWriter(
            file,
            pa.schema(types),
            compression="zstd",
            use_dictionary=repeating,
            # The smallest and largest text of a row group lets no query skip it, since rows are in no order.
            write_statistics=[name for name, type_ in types.items() if type_ not in (pa.string(), REPEATED_TEXT)],
            # Without Arrow's schema beside Parquet's own, text is read as such.
            store_schema=False,
        )
        self._parquet.add_key_value_metadata(metadata)

    def write_table(self, table: pa.Table) -> None:
        self._parquet.write_table(table.unify_dictionaries())

    def close(self) -> None:
        self._parquet.close()


class _NdjsonWriter:
    def __init__(self, file: IO[bytes], table: Table) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, filename="", mtime=0)
        self._encoder = msgspec.json.Encoder()
        # Takes a fraction of the time of dicts.
        self._row = msgspec.defstruct("Row", [column.name for column in table.columns], gc=False)

    def write_table(self, table: pa.Table) -> None:
        # A row of Python values takes many times its size, so only a few are one at a time.
        for batch in table.to_batches(max_chunksize=1000):
            self._gzip.write(self._encoder.encode_lines(list(map(self._row, *map(_plain_values, batch.columns)))))

    def close(self) -> None:
        self._gzip.close()


class _CsvWriter:
    """A null is an empty field, an empty string a quoted one."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, filename="", mtime=0)
        self._csv = pa.csv.CSVWriter(self._gzip, _with_plain_money(schema.empty_table()).schema)

    def write_table(self, table: pa.Table) -> None:
        self._csv.write_table(_with_plain_money(table))

    def close(self) -> None:
        self._csv.close()
        self._gzip.close()


def _plain_values(array: pa.Array) -> list[Any]:
    """Return values for JSON: decimals as text, whose default rendering of a small one is ``1E-9``."""
    values = python_values(array)
    if pa.types.is_decimal(array.type):
        return [None if amount is None else f"{amount:f}" for amount in values]
    return values


def _with_plain_money(table: pa.Table) -> pa.Table:
    """Write decimals out as text, and leave no text repeated."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            text = _plain_values(table[index].combine_chunks())
            table = table.set_column(index, field.name, arrow_array("STRING", text))
        elif field.type == REPEATED_TEXT:
            table = table.set_column(index, field.name, table[index].cast(pa.string()))
    return table

"""
A day's tables as finished local files, written page by page, so that memory does not grow with the day.

Nothing is published from here: a spool that is not complete is thrown away.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.tables.arrays import ARROW_TYPES, arrow_array
from airflow_provider_claude_code.tables.contract import (
    EXTENSIONS,
    LOADED_AT,
    SCHEMA_VERSION,
    FileFormat,
    Table,
)
from airflow_provider_claude_code.tables.rows import PageRows

ROW_GROUP_ROWS = 20_000
"""Rows of a Parquet row group: enough to compress and scan well, few enough to hold in memory."""


def arrow_schema(table: Table) -> pa.Schema:
    """
    Return a table's Arrow schema.

    Every field is nullable, because BigQuery refuses a REQUIRED Parquet column where the table has a NULLABLE
    one. That the contract's required columns hold no null is what decoding into typed records ensures.
    """
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in table.columns])


def arrow_tables(page: PageRows, tables: Iterable[Table], loaded_at: datetime) -> dict[str, pa.Table]:
    """
    Return a page's rows as Arrow tables.

    :param page: the page.
    :param tables: which of its tables.
    :param loaded_at: aware moment at which the load began.
    """
    shared: dict[str, pa.Array] = {}
    moment = arrow_array("TIMESTAMP", [loaded_at])[0]
    arrow = {}
    for table in tables:
        own = page.own[table.name]
        parents = arrow_array("INT64", page.parents[table.name]) if table.name in page.parents else None
        arrays = {}
        for column in table.columns:
            if column.name in own:
                arrays[column.name] = arrow_array(column.type, own[column.name])
            elif column.name in page.shared:
                if column.name not in shared:
                    shared[column.name] = arrow_array(column.type, page.shared[column.name])
                arrays[column.name] = shared[column.name] if parents is None else shared[column.name].take(parents)
        rows = len(next(iter(arrays.values())))
        arrays[LOADED_AT.name] = pa.repeat(moment, rows)
        schema = arrow_schema(table)
        arrow[table.name] = pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)
    return arrow


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
        self._files = {
            table.name: _BufferedFile(
                directory / f"{table.name}.{EXTENSIONS[file_format]}",
                arrow_schema(table).with_metadata(metadata),
                file_format,
            )
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

    def __init__(self, path: Path, schema: pa.Schema, file_format: FileFormat) -> None:
        self.path = path
        self._schema = schema
        self._buffer: list[pa.Table] = []
        self._buffered_rows = 0
        self.row_count = 0
        self._file = _open_private(path)
        self._writer = _open_writer(self._file, schema, file_format)

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
            portion = pa.concat_tables(self._buffer).replace_schema_metadata(self._schema.metadata)
            self._writer.write_table(portion)
        self._buffer.clear()
        self._buffered_rows = 0

    def close(self) -> None:
        if not self._file.closed:
            self._writer.close()
            self._file.close()


def _open_private(path: Path) -> IO[bytes]:
    """Create a file that only this user can read, since it holds e-mail addresses."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _open_writer(file: IO[bytes], schema: pa.Schema, file_format: FileFormat) -> _Writer:
    match file_format:
        case "parquet":
            # Numbers and ids hardly repeat: without a dictionary they take less time and space.
            repeating = [field.name for field in schema if _repeats(field)]
            writer: _Writer = pa.parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=repeating)
            return writer
        case "ndjson":
            return _NdjsonWriter(file)
        case "csv":
            return _CsvWriter(file, schema)


def _repeats(field: pa.Field) -> bool:
    numeric = pa.types.is_integer(field.type) or pa.types.is_decimal(field.type)
    return not numeric and field.name != "record_id"


class _NdjsonWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, filename="", mtime=0)
        self._encoder = msgspec.json.Encoder()

    def write_table(self, table: pa.Table) -> None:
        # A row as a dict takes many times its size, so only a few are one at a time.
        for batch in _with_plain_money(table).to_batches(max_chunksize=1000):
            self._gzip.write(self._encoder.encode_lines(batch.to_pylist()))

    def close(self) -> None:
        self._gzip.close()


class _CsvWriter:
    """A null is an empty field, an empty string a quoted one."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, filename="", mtime=0)
        self._csv = pa.csv.CSVWriter(self._gzip, _with_plain_money(schema.empty_table()).schema)

    def write_table(self, table: pa.Table) -> None:
        self._csv.write_table(_with_plain_money(table))

    def close(self) -> None:
        self._csv.close()
        self._gzip.close()


def _with_plain_money(table: pa.Table) -> pa.Table:
    """Write decimals out as text: their default rendering of a small one is ``1E-9``."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            text = [None if amount is None else f"{amount:f}" for amount in table[index].to_pylist()]
            table = table.set_column(index, field.name, arrow_array("STRING", text))
    return table

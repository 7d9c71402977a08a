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
from typing import IO, Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.tables.arrays import ARROW_TYPES, REPEATED_TEXT, arrow_array, repeated_text
from airflow_provider_claude_code.tables.columns import DictionaryEncoded, concatenated
from airflow_provider_claude_code.tables.contract import (
    EXTENSIONS,
    LOADED_AT,
    SCHEMA_VERSION,
    Column,
    FileFormat,
    PseudonymOf,
    Table,
)
from airflow_provider_claude_code.tables.money import amount_of
from airflow_provider_claude_code.tables.rows import PageRows, Values

ROW_GROUP_ROWS = 20_000
"""Rows of a Parquet row group: enough to compress and scan well, few enough to hold in memory."""

GZIP_LEVEL = 3
"""For NDJSON and CSV. The usual level 6 takes twice as long, and makes files smaller by 10 to 20 %."""


def arrow_schema(table: Table) -> pa.Schema:
    """
    Return a table's Arrow schema.

    Every field is nullable, because BigQuery refuses a REQUIRED Parquet column where the table has a NULLABLE
    one. Decoding into typed records ensures that the required columns contain no nulls.
    """
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in table.columns])


def arrow_tables(page: PageRows, tables: Iterable[Table], loaded_at: datetime) -> dict[str, pa.Table]:
    """
    Return a page's rows as Arrow tables.

    :param page: the page.
    :param tables: which of its tables.
    :param loaded_at: aware moment at which the load began.
    """
    arrow = {}
    for table in tables:
        rows = _rows(page, table, loaded_at)
        arrays = [arrow_array(column.type, rows[column.name]) for column in table.columns]
        arrow[table.name] = pa.Table.from_arrays(arrays, schema=arrow_schema(table))
    return arrow


def _rows(page: PageRows, table: Table, loaded_at: datetime) -> dict[str, Values]:
    rows = page.of(table.name)
    return {**rows, LOADED_AT.name: DictionaryEncoded([loaded_at], np.zeros(_count(rows), np.int32))}


def _count(rows: Mapping[str, Values]) -> int:
    return len(next(iter(rows.values())))


@dataclass(frozen=True)
class SpooledTable:
    """
    One finished file.

    :param path: its path.
    :param row_count: number of rows.
    :param size: size in bytes.
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

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, page: PageRows) -> None:
        """Add a page of rows."""
        for table in self._tables:
            self._files[table.name].write(_rows(page, table, self._loaded_at))

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
    def write(self, rows: Mapping[str, Values]) -> None: ...

    def close(self) -> None: ...


class _BufferedFile:
    """A file that is written in large portions of rows, whatever the size of the pages."""

    def __init__(self, path: Path, table: Table, file_format: FileFormat, metadata: Mapping[str, str]) -> None:
        self.path = path
        # Lines of NDJSON gain nothing from being written together.
        self._portion_rows = 1 if file_format == "ndjson" else ROW_GROUP_ROWS
        self._buffer: list[Mapping[str, Values]] = []
        self._buffered_rows = 0
        self.row_count = 0
        self._file = _open_private(path)
        self._writer = _open_writer(self._file, table, file_format, metadata)

    def write(self, rows: Mapping[str, Values]) -> None:
        if count := _count(rows):
            self._buffer.append(rows)
        self._buffered_rows += count
        self.row_count += count
        if self._buffered_rows >= self._portion_rows:
            self.flush()

    def flush(self) -> None:
        if self._buffered_rows:
            # Each Arrow array costs some microseconds however short it is.
            names = self._buffer[0]
            self._writer.write({name: concatenated([rows[name] for rows in self._buffer]) for name in names})
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
            return _CsvWriter(file, table)


class _ParquetWriter:
    def __init__(self, file: IO[bytes], table: Table, metadata: Mapping[str, str]) -> None:
        self._columns = table.columns
        self._schema = pa.schema(
            [(c.name, REPEATED_TEXT if _is_repeated_text(c) else ARROW_TYPES[c.type]) for c in table.columns]
        )
        # Numbers and identifiers hardly repeat: without a dictionary they take less time and space.
        repeating = [c.name for c in table.columns if _is_repeated_text(c) or c.type in ("BOOL", "DATE", "TIMESTAMP")]
        self._parquet = pa.parquet.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            # As fast as level 1, and files are smaller by a tenth.
            compression_level=2,
            use_dictionary=repeating,
            # The smallest and largest text of a row group lets no query skip it, since rows are in no order.
            write_statistics=[column.name for column in table.columns if column.type != "STRING"],
            # Without Arrow's schema beside Parquet's own, text is read as such.
            store_schema=False,
        )
        self._parquet.add_key_value_metadata(metadata)

    def write(self, rows: Mapping[str, Values]) -> None:
        arrays = [
            repeated_text(rows[column.name])
            if _is_repeated_text(column)
            else arrow_array(column.type, rows[column.name])
            for column in self._columns
        ]
        self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._parquet.close()


def _is_repeated_text(column: Column) -> bool:
    return column.type == "STRING" and column.name != "record_id" and not isinstance(column.hmac, PseudonymOf)


class _NdjsonWriter:
    def __init__(self, file: IO[bytes], table: Table) -> None:
        self._columns = table.columns
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, filename="", mtime=0)
        self._encoder = msgspec.json.Encoder()
        # Takes a fraction of the time of dicts.
        self._row = msgspec.defstruct("Row", [column.name for column in table.columns], gc=False)

    def write(self, rows: Mapping[str, Values]) -> None:
        # A row of Python values takes many times its size, so only a few are one at a time.
        for start in range(0, _count(rows), 1000):
            columns = [_plain_values(column, rows[column.name][start : start + 1000]) for column in self._columns]
            self._gzip.write(self._encoder.encode_lines(list(map(self._row, *columns))))

    def close(self) -> None:
        self._gzip.close()


class _CsvWriter:
    """A null is an empty field, an empty string a quoted one."""

    def __init__(self, file: IO[bytes], table: Table) -> None:
        self._columns = table.columns
        self._schema = pa.schema(
            [(c.name, ARROW_TYPES["STRING" if c.type == "NUMERIC" else c.type]) for c in table.columns]
        )
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, filename="", mtime=0)
        self._csv = pa.csv.CSVWriter(self._gzip, self._schema)

    def write(self, rows: Mapping[str, Values]) -> None:
        arrays = [
            arrow_array("STRING", _plain_values(column, rows[column.name]))
            if column.type == "NUMERIC"
            else arrow_array(column.type, rows[column.name])
            for column in self._columns
        ]
        self._csv.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._csv.close()
        self._gzip.close()


def _plain_values(column: Column, values: Values) -> list[Any]:
    """Return values for text files: amounts as text with all their places."""
    listed: list[Any] = values.tolist()
    if column.type == "NUMERIC":
        return [None if billionths is None else f"{amount_of(billionths):f}" for billionths in listed]
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return [text.decode() for text in listed]
    return listed

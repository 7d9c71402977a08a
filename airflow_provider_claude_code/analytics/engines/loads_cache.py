"""
A cache of ``loads``, so that a reader does not open a file per load.

``_loads/YYYY-MM.parquet`` has copies of the rows of all loads of a month's days. Reports and checks write it; loads do
not use it, and readers of data lakes ignore names with an underscore. Each row names its file in ``loads/`` and the
version of that file. A row is used only if the listing shows the same version. Other rows are read from ``loads/``. A
cache that is missing, old, damaged or foreign therefore costs time but does not change the result. If two readers write
at the same time, rows of one of them may be lost. The next reader adds them again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_claude_code.exceptions import ClaudeCodeError
from airflow_provider_claude_code.storage.errors import store_error
from airflow_provider_claude_code.storage.stores import file_system, open_store, url_of
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOADS

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

CACHE_FOLDER = "_loads"
LARGEST_CACHE = 16 * 2**20
"""Bytes of the largest cache file that is read: a hundred times what hourly loads of four tables take."""

_MONTH = slice(len(f"{LOADS.name}/dt="), len(f"{LOADS.name}/dt=YYYY-MM"))


class ListedFile(NamedTuple):
    """
    A file as a listing shows it.

    :param size: its bytes.
    :param version: changes when the file is replaced, if the store says so.
    """

    size: int
    version: str


def read_cached_loads(
    root: ObjectStoragePath, listed: Mapping[str, ListedFile], loads: Iterable[str], months: Iterable[str]
) -> pa.Table:
    """
    Return the rows of ``loads`` that the caches of some months have and that are still valid.

    :param root: the path that the files were loaded to.
    :param listed: the files below it, by key.
    :param loads: the keys of the files of loads among them.
    :param months: the months to read, ``YYYY-MM``.
    :return: the rows, with the columns ``file``, the key of the row's file, and ``version``.
    """
    import pyarrow as pa

    versions: dict[str, dict[str, str]] = {month: {} for month in months}
    for key in loads:
        if (month := month_of_file(key)) in versions:
            versions[month][key] = listed[key].version
    caches = [month for month in versions if (file := listed.get(_cache_key(month))) and file.size <= LARGEST_CACHE]
    # Errors are among the results.
    contents = file_system(root).cat_ranges([str((root / _cache_key(month)).path) for month in caches], None, None)
    tables = [_true_rows(content, versions[month]) for month, content in zip(caches, contents, strict=True)]
    return pa.concat_tables([_no_rows(), *tables])


def with_file(columns: Sequence[pa.ChunkedArray | pa.Array], key: str, file: ListedFile) -> pa.Table:
    """Return the columns of a file of loads as rows of a cache."""
    import pyarrow as pa

    from airflow_provider_claude_code.tables.arrays import arrow_array

    added = [arrow_array("STRING", [text] * len(columns[0])) for text in (key, file.version)]
    return pa.Table.from_arrays([*columns, *added], schema=_schema())


def write_cached_loads(root: ObjectStoragePath, rows: pa.Table, months: Iterable[str], directory: Path) -> None:
    """
    Replace the caches of some months. Errors are only logged.

    :param root: the path that the files were loaded to.
    :param rows: the rows of these months, possibly with those of other months.
    :param months: the months, ``YYYY-MM``.
    :param directory: a local directory for temporary files.
    """
    import pyarrow.parquet as pq

    from airflow_provider_claude_code.tables.arrays import arrow_array

    rows_by_month: dict[str, list[int]] = {month: [] for month in months}
    for position, key in enumerate(rows["file"].to_pylist()):
        if (month := month_of_file(key)) in rows_by_month:
            rows_by_month[month].append(position)
    try:
        store = open_store(root)
        # Without the lock of a directory, for which a report would wait while a day is loaded.
        for month, positions in rows_by_month.items():
            path = directory / f"loads-{month}.parquet"
            months_rows = rows.take(arrow_array("INT64", positions))
            pq.write_table(months_rows, path, compression="zstd", write_page_checksum=True)
            store.write(_cache_key(month), path)
    except Exception as error:  # Whatever a store's library raises.
        reason = error if isinstance(error, ClaudeCodeError) else store_error(error, url_of(root))
        log.info(
            "The cache %s/%s was not updated, so the next report also opens a file for each load that it lacks: %s",
            url_of(root),
            CACHE_FOLDER,
            reason,
        )


def month_of_file(key: str) -> str:
    """Return the month, ``YYYY-MM``, of a file of loads."""
    return key[_MONTH]


def _cache_key(month: str) -> str:
    return f"{CACHE_FOLDER}/{month}.parquet"


def _schema() -> pa.Schema:
    import pyarrow as pa

    from airflow_provider_claude_code.tables.spool import arrow_schema

    return pa.schema([*arrow_schema(FILE_LOADS), ("file", pa.string()), ("version", pa.string())])


def _no_rows() -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([], _schema())


def _true_rows(content: object, versions: Mapping[str, str]) -> pa.Table:
    """Return the rows of a cache whose files have not changed; none if the cache is not usable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_claude_code.tables.arrays import arrow_array

    empty = _no_rows()
    if not isinstance(content, bytes):
        log.debug("A cache of loads could not be read: %s", type(content).__name__)
        return empty
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        # One of another version of the tables may lack what the files of loads have.
        if not file.schema_arrow.equals(empty.schema):
            return empty
        rows = file.read()
        rows.validate(full=True)
        pairs = zip(rows["file"].to_pylist(), rows["version"].to_pylist(), strict=True)
        are_true = [key in versions and versions[key] == version for key, version in pairs]
        return rows.filter(arrow_array("BOOL", are_true))
    except Exception as error:  # Damaged or foreign, in whatever way.
        log.debug("A cache of loads could not be read: %s", type(error).__name__)
        return empty

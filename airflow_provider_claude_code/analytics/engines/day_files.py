"""The files of loads below a path, as tables of DuckDB."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_claude_code.analytics.engines.base import table_names
from airflow_provider_claude_code.analytics.engines.loads_cache import (
    CACHE_FOLDER,
    ListedFile,
    month_of_file,
    read_cached_loads,
    with_file,
    write_cached_loads,
)
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.storage.errors import store_error, typed_store_errors
from airflow_provider_claude_code.storage.stores import LOCAL_SCHEMES, file_system, open_store, url_of
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import MONEY_PLACES
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOAD_ID, LOADS
from airflow_provider_claude_code.targets.files import ORGANIZATION_KEY

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_claude_code.tables.contract import ColumnType, Table

_DAY_FILE = re.compile(r"(\w+)/dt=([0-9]{4}-[0-9]{2}-[0-9]{2})/([^/]+)\.parquet")
_NAMED_FILE = re.compile(r"(\w+)/dt=[0-9]{4}-[0-9]{2}-[0-9]{2}/\1\.parquet")
_OF_WHOLE_DAYS = ("model_usage", "tool_usage")
DUCKDB_TYPES: Mapping[ColumnType, str] = {
    "STRING": "VARCHAR",
    "INT64": "BIGINT",
    "BOOL": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "NUMERIC": f"DECIMAL(38, {MONEY_PLACES})",
}
# Names of a file's version in listings: of Google and Microsoft, of S3, and of file systems.
_VERSIONS = ("etag", "ETag", "mtime")


def create_tables(
    database: duckdb.DuckDBPyConnection, root: ObjectStoragePath, since: date, rows_from: date, directory: Path
) -> dict[str, str]:
    """
    Create the tables that the queries read in the schema ``claude_code``.

    The rows of loads come from their cache, which is updated.

    :param database: the database.
    :param root: the path that the files were loaded to.
    :param since: files of earlier UTC days are not opened.
    :param rows_from: files of ``model_usage`` and ``tool_usage`` before this UTC day are not opened either.
    :param directory: a local directory for copies of objects.
    :return: the name of the organisation whose files they are, by its id; nothing if it is not known.
    :raises ClaudeCodeConfigurationError: there are no such files.
    :raises ClaudeCodeSourceError: the files cannot be read at the moment.
    """
    listed = _list_files(root)
    written = _written_files(listed)
    # Of earlier days, only usage is needed: when people were active.
    first_days = dict.fromkeys(written, since) | {table: max(since, rows_from) for table in _OF_WHOLE_DAYS}
    files = {
        table: [key for key in keys if key >= f"{table}/dt={first_days[table]}"] for table, keys in written.items()
    }
    if not files[LOADS.name]:
        raise ClaudeCodeConfigurationError(
            f"{root} has no loaded days since {since}. Pass the path that the days are loaded to."
        )
    # Days that were empty from the start have no files.
    if not files["usage"] and any(key.startswith("usage/") for key in listed):
        raise ClaudeCodeConfigurationError(
            f"{root} has no Parquet files of usage. Load the days with file_format='parquet'."
        )
    cached = read_cached_loads(root, listed, written[LOADS.name], map(month_of_file, files[LOADS.name]))
    known = set(cached["file"].to_pylist())
    unknown = [key for key in files[LOADS.name] if key not in known]
    data = [key for table in DATA_TABLES for key in files[table]]
    folder = _local_copy(root, [*data, *unknown], directory)
    for table in DATA_TABLES.values():
        _create_view(database, table, [folder / key for key in files[table.name]])
    rows = _with_unknown_loads(cached, folder, {key: listed[key] for key in unknown})
    days = f"* EXCLUDE (file, version) FROM given WHERE file >= '{LOADS.name}/dt={since}'"
    create_table(database, LOADS.name, rows, days, directory)
    if unknown:
        write_cached_loads(root, rows, map(month_of_file, unknown), directory)
    return _organization_names(root) if ORGANIZATION_KEY in listed else {}


def _organization_names(root: ObjectStoragePath) -> dict[str, str]:
    with typed_store_errors(url_of(root), later=ClaudeCodeSourceError):
        content = open_store(root).read(ORGANIZATION_KEY)
    try:
        marker = msgspec.json.decode(content or b"{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}
    return {marker["organization_id"]: marker["name"]} if marker.keys() >= {"organization_id", "name"} else {}


def _list_files(root: ObjectStoragePath) -> dict[str, ListedFile]:
    """Return the files below a path by key, relative to it and in order: one listing in most stores."""
    folder = str(root.path).rstrip("/")
    with typed_store_errors(url_of(root), later=ClaudeCodeSourceError):
        if root.protocol in LOCAL_SCHEMES:
            return dict(sorted(_list_local_files(Path(root.path)).items()))
        files = file_system(root)
        files.invalidate_cache()
        try:
            found: dict[str, dict[str, Any]] = files.find(folder, detail=True)
        except FileNotFoundError:
            return {}
    prefix = folder.lstrip("/") + "/"
    return {name.lstrip("/").removeprefix(prefix): _listed_file(entry) for name, entry in sorted(found.items())}


def _list_local_files(root: Path) -> dict[str, ListedFile]:
    """
    Return the files of loads below a directory by key.

    fsspec leaves out folders that cannot be read or are links, as if the days in them were not loaded. Other folders
    are left out here, since they are not ours: a volume has a lost+found that only root can read.
    """
    files = [*_files_in(root), *chain.from_iterable(_files_in(root / table, depth=1) for table in table_names())]
    with suppress(PermissionError):  # The cache only saves time.
        files += _files_in(root / CACHE_FOLDER)
    listed = {}
    for file in files:
        with suppress(FileNotFoundError):  # Loads replace files in the meantime.
            status = file.stat()
            entry = {"size": status.st_size, "mtime": status.st_mtime}
            listed[Path(file).relative_to(root).as_posix()] = _listed_file(entry)
    return listed


def _files_in(folder: Path, depth: int = 0) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder, and in those below it down to a depth. A missing folder has none."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_file():
            yield entry
        elif depth and entry.is_dir():
            yield from _files_in(Path(entry), depth - 1)


def _listed_file(entry: Mapping[str, Any]) -> ListedFile:
    size = int(entry.get("size") or 0)
    told = next((entry[name] for name in _VERSIONS if name in entry), None)
    return ListedFile(size, f"{size} {told}")


def _written_files(listed: Iterable[str]) -> dict[str, list[str]]:
    """Return by table the files that loads have written."""
    files: dict[str, list[str]] = {name: [] for name in table_names()}
    for key in listed:
        match = _DAY_FILE.fullmatch(key)
        if match and _is_written_by_loads(match[1], match[3]):
            files[match[1]].append(key)
    return files


def _is_written_by_loads(table: str, name: str) -> bool:
    """Return whether a load has written a file. Others are copies, or belong to an operating system or another tool."""
    if table == LOADS.name:
        return re.fullmatch(rf"{LOAD_ID}(\.\w+)?", name) is not None
    return table in DATA_TABLES and name == table


def _local_copy(root: ObjectStoragePath, keys: list[str], directory: Path) -> Path:
    """Return a local folder with these files: the root itself, or a folder to which each object is copied."""
    if root.protocol in LOCAL_SCHEMES:
        return Path(root.path)
    copy = directory / "objects"
    with typed_store_errors(directory.as_uri(), later=ClaudeCodeSourceError):
        for folder in {(copy / key).parent for key in keys}:
            folder.mkdir(parents=True)
    bucket = str(root.path).rstrip("/")
    with typed_store_errors(url_of(root), later=ClaudeCodeSourceError):
        try:
            file_system(root).get([f"{bucket}/{key}" for key in keys], [str(copy / key) for key in keys])
        except FileNotFoundError as error:
            raise ClaudeCodeSourceError(f"A file in {root} was removed while it was being read; try again.") from error
        except OSError as error:
            # It is the worker's disk that is full.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise store_error(error, directory.as_uri(), later=ClaudeCodeSourceError) from error
    return copy


def _create_view(database: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> None:
    """Create a view of a table's files, or an empty table where there are none."""
    types = {column.name: DUCKDB_TYPES[column.type] for column in table.columns}
    if not files:
        columns = ", ".join(f"{column} {type_}" for column, type_ in types.items())
        database.execute(f"CREATE TABLE claude_code.{table.name} ({columns})")
        return
    # Columns are matched by name. In files of other versions, missing columns are null, and other columns are left out.
    schema = ", ".join(
        f"'{column}': {{name: '{column}', type: '{type_}', default_value: NULL}}" for column, type_ in types.items()
    )
    names = ", ".join(literal(_pattern(file)) for file in files)
    database.execute(
        f"CREATE VIEW claude_code.{table.name} AS "
        f"SELECT * FROM read_parquet([{names}], hive_partitioning = false, schema = MAP {{{schema}}})"
    )


def _with_unknown_loads(cached: pa.Table, folder: Path, unknown: Mapping[str, ListedFile]) -> pa.Table:
    """Return the rows of the cache and those of files that it lacks, read like those of a view."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_claude_code.tables.spool import arrow_schema

    schema = arrow_schema(FILE_LOADS)
    tables = [cached]
    for key, file in unknown.items():
        try:
            # Not read_table, which imports pandas.
            with pq.ParquetFile(folder / key) as parquet:
                found = parquet.read()
            columns = [
                found[field.name].cast(field.type)
                if field.name in found.column_names
                else pa.nulls(found.num_rows, field.type)
                for field in schema
            ]
        except (pa.ArrowException, OSError) as error:
            raise unreadable_files_error(error, key) from None
        tables.append(with_file(columns, key, file))
    return pa.concat_tables(tables)


def create_table(
    database: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, selected: str, directory: Path
) -> None:
    """
    Create a table of rows in the schema ``claude_code``.

    They go through a file, since DuckDB imports pandas, if it is installed, for Arrow tables and parameters. That takes
    a second and 50 MB.

    :param database: the database.
    :param name: name of the table.
    :param rows: the rows.
    :param selected: the expressions after SELECT, on ``given``.
    :param directory: a local directory for the file.
    """
    import pyarrow.parquet as pq

    file = directory / f"{name}.parquet"
    with typed_store_errors(directory.as_uri(), later=ClaudeCodeSourceError):
        pq.write_table(rows, file)
    given = f"WITH given AS (SELECT * FROM read_parquet({literal(_pattern(file))}))"
    database.execute(f"CREATE TABLE claude_code.{name} AS {given} SELECT {selected}")
    file.unlink()


def unreadable_files_error(error: Exception, key: str | None = None) -> ClaudeCodeSourceError:
    """
    Return the error for files that cannot be read.

    Of the reader's message it contains only the name of a day's file, since the rest may contain an address.

    :param error: the error of the reader.
    :param key: the file, if it is known.
    """
    named = _NAMED_FILE.search(str(error))
    key = key or (named[0] if named and named[1] in DATA_TABLES else None)
    # A file may have been replaced by a load while it was read.
    return ClaudeCodeSourceError(
        f"{key or 'The files'} could not be queried ({type(error).__name__}); try again. If that does not help, "
        + (
            "remove that file and load its day again."
            if key
            else "check that loads of this provider wrote all of them."
        )
    )


def _pattern(file: Path) -> str:
    """Return the pattern of a file's name, since DuckDB treats every name as a pattern."""
    pattern = re.sub(r"[\[*?]", r"[\g<0>]", str(file))
    if pattern != str(file) and "\\" in pattern:
        raise ClaudeCodeConfigurationError(f"{file} contains a backslash and one of [, * and ?; rename its folders.")
    return pattern


def literal(text: str) -> str:
    """Write a text in SQL."""
    return "'" + text.replace("'", "''") + "'"

"""Parquet files, queried by DuckDB in this process."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_claude_code.analytics.engines.base import Source, table_names
from airflow_provider_claude_code.analytics.engines.day_files import (
    DUCKDB_TYPES,
    create_table,
    create_tables,
    literal,
    unreadable_files_error,
)
from airflow_provider_claude_code.analytics.queries import ROWS, Settings, render
from airflow_provider_claude_code.analytics.queries.dialects import translate
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS, TABLES_OF_USERS
from airflow_provider_claude_code.analytics.tool_tables import read_tool_table
from airflow_provider_claude_code.analytics.user_tables import read_user_table
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.tables.contract import MONEY_PLACES

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

_MAPPING_ERROR = "Rows of the mapping overlap"
_OUT_OF_RANGE = "out of range|overflow"

_MEMORY_MB_PER_THREAD = 128
# https://duckdb.org/docs/stable/guides/performance/environment asks for at least 125 MB per thread: with less, what the
# threads hold leaves no room for the data, and queries swap or fail.

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "preserve_insertion_order": False,
    # DuckDB would fetch extensions that it takes for useful.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_FILE_CACHE = "enable_external_file_cache"
_DATABASE_FILE = "claude_code.duckdb"
_LARGEST_PART = "actor_days"
_ROWS_PER_PORTION = 200_000
_ACTOR = ("organization_id", "actor_type", "actor_id")
_NUMBERED = ("organization_id", "actor_type", "actor", "person")
_COMPUTED_ONCE = (
    "newest_loads",
    "held_days",
    "parents",
    "charge_loads",
    "days",
    "bucket_days",
    "buckets",
    "breakdown_buckets",
    "breakdown_days",
    "machines",
    "actor_groups",
    "actor_days",
    "earlier_people",
    "bucket_models",
    "model_folding",
    "shown_measures",
    "actor_names",
    "charges",
    "charge_days",
    "compared_charges",
    "period_people",
    "daily_cost",
    "day_sums",
    "known_actors",
    "load_health",
)


class FileSource(Source):
    """
    The Parquet files of a path, read by DuckDB in this process.

    :param database: DuckDB with the tables in the schema ``claude_code``.
    :param tables: which there are.
    :param settings: the settings of the queries.
    :param names: the names of organisations by their ids.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        tables: Iterable[str],
        settings: Settings,
        names: Mapping[str, str],
    ) -> None:
        super().__init__(_relations(tables), settings)
        self._database = database
        self._names = names
        # The tables of usage that there are, by the parts with their rows.
        self._rows = {part: table for part, table in ROWS.items() if table in self._tables}
        self.computed_once = {*self._rows, *_COMPUTED_ONCE}

    def organization_names(self) -> Mapping[str, str]:
        """Return the name in the marker of the files."""
        return self._names

    def _run(self, query: str) -> pa.Table:
        with _typed_errors(self._database):
            return _typed_as_in_bigquery(self._database.sql(translate(query, "duckdb")).to_arrow_table())

    def _compute(self, part: str) -> Mapping[str, str]:
        with _typed_errors(self._database):
            if part in self._rows:
                self._identify_actors()
                return _relations(self._rows)
            query = translate(render(part, self._relations, self._settings), "duckdb")
            rows = self._database.sql(query)
            # DuckDB adds up 64 bits in 128, which makes each sum of such sums several times slower.
            sums = [column for column, type_ in zip(rows.columns, rows.types, strict=True) if type_ == "HUGEINT"]
            narrow = ", ".join(f"CAST({column} AS BIGINT) AS {column}" for column in sums)
            columns = f"* REPLACE ({narrow})" if sums else "*"
            into = f"CREATE TABLE claude_code.{part} AS"
            in_portions = part == _LARGEST_PART and _has_safe_inserts()
            for condition in self._portions() if in_portions else ["TRUE"]:
                self._database.execute(f"{into} SELECT {columns} FROM ({query}) WHERE {condition}")
                into = f"INSERT INTO claude_code.{part}"
            return _relations([part])

    def _portions(self) -> list[str]:
        """
        Return conditions on the date, which divide the loaded days into portions of about the same number of rows.

        DuckDB keeps each group that it adds up in memory, in several hundred bytes.
        """
        days = self._database.execute(
            f"""
            SELECT MIN(date), MAX(date)
            FROM (
              SELECT date, SUM(row_count) OVER (ORDER BY date) // {_ROWS_PER_PORTION} AS portion
              FROM claude_code.newest_loads
              WHERE table_name = 'usage'
            )
            GROUP BY portion
            """
        ).fetchall()
        return [f"date BETWEEN '{first}' AND '{last}'" for first, last in days] or ["FALSE"]

    def _identify_actors(self) -> None:
        """
        Create the parts in :data:`ROWS` as views in which texts that name organisations and actors are ENUMs.

        The comparable id and the person of each actor are computed once, and not for each row. An ENUM is compared and
        sorted like its text, since its values are in order, and is converted where it meets a text.
        """
        since = self._settings.literal("rows_from")
        actors = ", ".join(_ACTOR)
        known = " UNION ".join(
            f"SELECT DISTINCT {actors} FROM claude_code.{table} WHERE date >= {since}" for table in self._rows.values()
        )
        self._database.execute(f"CREATE TABLE claude_code.known AS SELECT *, DATE '9999-12-31' AS date FROM ({known})")
        part, table = next(iter(self._rows.items()))
        query = translate(render(part, {**self._relations, table: "`claude_code.known`"}, self._settings), "duckdb")
        self._database.execute(f"CREATE TABLE claude_code.identified AS {query}")
        texts = " UNION ".join(f"SELECT {column} AS text FROM claude_code.identified" for column in _NUMBERED)
        # An ENUM has a value at least. DuckDB writes its values in SQL, which holds no NUL.
        texts = f"SELECT text FROM ({texts} UNION SELECT '') WHERE text IS NOT NULL"
        ((has_nul,),) = self._database.execute(
            f"SELECT COUNT(*) > 0 FROM ({texts}) WHERE CONTAINS(text, CHR(0))"
        ).fetchall()
        if has_nul:
            self._database.execute("CREATE TYPE claude_code.texts AS VARCHAR")
        else:
            self._database.execute(f"CREATE TYPE claude_code.texts AS ENUM ({texts} ORDER BY text)")
        numbered = ", ".join(f"CAST({column} AS claude_code.texts) AS numbered_{column}" for column in _NUMBERED)
        self._database.execute(
            f"CREATE TABLE claude_code.identities AS SELECT {actors}, {numbered} FROM claude_code.identified"
        )
        same = " AND ".join(f"identities.{column} IS NOT DISTINCT FROM known.{column}" for column in _ACTOR)
        named = ", ".join(f"numbered_{column} AS {column}" for column in _NUMBERED)
        for part, table in self._rows.items():
            self._database.execute(
                f"CREATE VIEW claude_code.{part} AS "
                f"SELECT known.* EXCLUDE (organization_id, actor_type), {named} FROM claude_code.{table} AS known "
                f"JOIN claude_code.identities AS identities ON {same} WHERE known.date >= {since}"
            )


def _has_safe_inserts() -> bool:
    """Return whether this DuckDB can fill tables of a file in portions. Before 1.5, it sometimes crashes."""
    import duckdb

    return tuple(map(int, duckdb.__version__.split(".")[:2])) >= (1, 5)


def _relations(names: Iterable[str]) -> dict[str, str]:
    return {name: f"`claude_code.{name}`" for name in names}


@contextmanager
def open_files(
    root: ObjectStoragePath,
    settings: Settings,
    *,
    memory_mb: int = 256,
    threads: int | None = None,
    **user_tables: ObjectStoragePath | None,
) -> Iterator[FileSource]:
    """
    Open the usage that was loaded into Parquet files.

    :param root: the path that the files were loaded to.
    :param settings: the settings of the queries; files of days before ``since`` are not opened, and
        for a report none of ``model_usage`` and ``tool_usage`` before ``rows_from``.
    :param memory_mb: MiB of memory that DuckDB may use.
    :param threads: its threads; by default as many as there are cores, and no more than one for each 128 MiB.
    :param user_tables: files of the user: ``roster`` and ``mapping``, CSV or Parquet with the columns of
        :data:`~airflow_provider_claude_code.analytics.queries.tables.TABLES_OF_USERS`, and exports of other tools as in
        :data:`~airflow_provider_claude_code.analytics.queries.tables.TABLES_OF_TOOLS`.
    :raises ClaudeCodeConfigurationError: there are no such files, or DuckDB or sqlglot is not installed, or its memory
        does not suffice.
    :raises ClaudeCodeSourceError: the files cannot be read at the moment.
    """
    try:
        import duckdb
        import sqlglot  # noqa: F401
    except ImportError as error:
        raise ClaudeCodeConfigurationError(
            f"{error.name} is not installed: pip install 'airflow-provider-claude-code[report]'."
        ) from None
    # The directory contains the names of people, and is removed when the task ends.
    with spool_directory() as directory, duckdb.connect(config=_CONFIG) as database:
        database.execute(f"SET temp_directory = {literal(str(directory / f'{_DATABASE_FILE}.tmp'))}")
        _set_limits(database, memory_mb, threads)
        database.execute("SET TimeZone = 'UTC'")
        # The operating system caches files better. DuckDB before 1.3 did not cache them.
        if database.execute(f"SELECT 1 FROM duckdb_settings() WHERE name = '{_FILE_CACHE}'").fetchone():
            database.execute(f"SET {_FILE_CACHE} = false")
        with _typed_errors(database):
            if _has_safe_inserts():
                # DuckDB compresses tables in a file, and keeps only what queries read in memory.
                database.execute(f"ATTACH {literal(str(directory / _DATABASE_FILE))} AS tables")
                database.execute("USE tables")
            database.execute("CREATE SCHEMA claude_code")
            names = create_tables(database, root, settings.since, settings.rows_from, directory)
        given = {name: file for name, file in user_tables.items() if file is not None}
        for name, file in given.items():
            _create_user_table(database, name, file, directory)
        yield FileSource(database, (*table_names(), *given), settings, names)


def _set_limits(database: duckdb.DuckDBPyConnection, memory_mb: int, threads: int | None) -> None:
    database.execute(f"SET memory_limit = '{memory_mb}MiB'")
    if threads is None:
        # DuckDB knows how many cores it may use, in a container as well.
        ((cores,),) = database.execute("SELECT current_setting('threads')").fetchall()
        threads = max(1, min(cores, memory_mb // _MEMORY_MB_PER_THREAD))
    database.execute(f"SET threads = {threads}")


def _create_user_table(
    database: duckdb.DuckDBPyConnection, name: str, file: ObjectStoragePath, directory: Path
) -> None:
    import duckdb

    columns = (TABLES_OF_USERS | TABLES_OF_TOOLS)[name].columns
    rows = read_tool_table(name, file) if name in TABLES_OF_TOOLS else read_user_table(name, file)
    typed = ", ".join(f"CAST({column.name} AS {DUCKDB_TYPES[column.type]}) AS {column.name}" for column in columns)
    with _typed_errors(database):
        try:
            create_table(database, name, rows, f"{typed} FROM given", directory)
        except (duckdb.BinderException, duckdb.ConversionException):
            # The error contains the value.
            expected = ", ".join(f"{column.name} {column.type}" for column in columns)
            raise ClaudeCodeConfigurationError(
                f"{name} cannot be read from {file}: a column has the wrong type. Required columns: {expected}."
            ) from None


@contextmanager
def _typed_errors(database: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Convert DuckDB's errors to ours, without the values in them, which may be addresses."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowInvalid) as error:
        if _MAPPING_ERROR in str(error):
            raise ClaudeCodeConfigurationError(
                f"{_MAPPING_ERROR}: the same actor has two rows for a day, so its cost would count twice. Give each "
                "row a valid_from and a valid_to (inclusive), so that no two rows of an actor share a day."
            ) from None
        if "temp_directory" in str(error) or _DATABASE_FILE in str(error):
            raise ClaudeCodeSourceError(
                f"DuckDB cannot write its tables to {tempfile.gettempdir()}. Free some space there, or set TMPDIR to a "
                "directory with more."
            ) from None
        if isinstance(error, duckdb.OutOfMemoryException):
            limits = database.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
            raise ClaudeCodeConfigurationError(
                "DuckDB ran out of memory: {} for {} threads do not suffice. Give the task a larger memory_mb, fewer "
                "threads or a later since, or keep the usage in BigQuery.".format(*limits[0])
            ) from None
        if re.search(_OUT_OF_RANGE, str(error), re.IGNORECASE) or isinstance(error, pa.ArrowInvalid):
            raise ClaudeCodeConfigurationError(
                "Sums of the loaded usage do not fit 64 bits, so a day contains numbers that cannot be true. The check "
                "out_of_range of ClaudeCodeDataQualityOperator names the day; load it again."
            ) from None
        raise unreadable_files_error(error) from None


def _typed_as_in_bigquery(rows: pa.Table) -> pa.Table:
    """Convert sums of counts to INT64, amounts to NUMERIC and ENUMs to text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, field in enumerate(rows.schema):
        column = rows.column(position)
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(position, field.name, column.cast(pa.string()))
        elif pa.types.is_decimal(field.type):
            if field.type.scale == 0:
                column = column.cast(pa.int64())
            else:
                column = pc.round(column, MONEY_PLACES, "half_towards_infinity").cast(pa.decimal128(38, MONEY_PLACES))
            rows = rows.set_column(position, field.name, column)
    return rows

"""Where the queries are run: on the Parquet files through DuckDB, or in BigQuery."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_provider_claude_code.analytics.models import Settings, parts, render
from airflow_provider_claude_code.csv_files import column_position, csv_rows
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.storage.stores import LOCAL_SCHEMES
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.models import ACTOR_ID_FIELDS
from airflow_provider_claude_code.tables.actors import ADDRESS_BLANKS
from airflow_provider_claude_code.tables.contract import MONEY_PLACES
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOAD_ID, LOADS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath
    from google.cloud.bigquery import Client, DatasetReference

TABLES = (*USAGE.table_names, LOADS.name)
"""The tables that the queries read."""

_MAPPING_ERROR = "Rows of the mapping overlap"
_DAY_FILE = re.compile(r"(\w+)/dt=([0-9]{4}-[0-9]{2}-[0-9]{2})/([^/]+)\.parquet")
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
# Read by many queries of a session, so they are computed once, when the first needs them.
_COMPUTED_ONCE = ("days", "actor_days")


class Source(Protocol):
    """Loaded usage that can be asked."""

    def read(self, name: str, *, by_period: bool = False) -> pa.Table:
        """
        Run a query.

        :param name: the model, or a part.
        :param by_period: give the report's period and the one before it, where there would be months.
        :return: its rows, in no order.
        :raises ClaudeCodeConfigurationError: the query refuses what it reads.
        """


class FileSource:
    """
    The Parquet files of a path, read by DuckDB in this process.

    :param database: DuckDB with the tables in the schema ``claude_code``.
    :param tables: which there are.
    :param settings: the settings of the queries.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, tables: Iterable[str], settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._relations = {name: f"`claude_code.{name}`" for name in (*tables, *_COMPUTED_ONCE)}
        self._to_compute = list(_COMPUTED_ONCE)

    def read(self, name: str, *, by_period: bool = False) -> pa.Table:
        """Run a query."""
        query = render(name, self._relations, self._settings, by_period=by_period)
        with _typed_errors(self._database):
            self._compute_parts(query)
            return _typed_as_in_bigquery(self._database.sql(_translated(query)).to_arrow_table())

    def _compute_parts(self, query: str) -> None:
        for name in [name for name in self._to_compute if self._relations[name] in query]:
            others = {other: relation for other, relation in self._relations.items() if other != name}
            part = render(name, others, self._settings)
            self._compute_parts(part)
            self._database.execute(f"CREATE TABLE claude_code.{name} AS {_translated(part)}")
            self._to_compute.remove(name)


def _translated(query: str) -> str:
    import sqlglot

    return sqlglot.transpile(query, read="bigquery", write="duckdb")[0]


@contextmanager
def open_files(
    root: ObjectStoragePath,
    settings: Settings,
    *,
    roster: ObjectStoragePath | None = None,
    mapping: ObjectStoragePath | None = None,
    memory_mb: int = 512,
    threads: int | None = None,
) -> Iterator[FileSource]:
    """
    Give the usage that was loaded into Parquet files.

    :param root: the path that the files were loaded to.
    :param settings: the settings of the queries; files of days before ``since`` are not opened.
    :param roster: a CSV or Parquet file of eligible people: ``actor_id``, ``valid_from``, ``valid_to``.
    :param mapping: a CSV or Parquet file of groups: ``actor_type``, ``actor_id``, ``team``, ``cost_centre``,
        ``valid_from``, ``valid_to``.
    :param memory_mb: MiB of memory that DuckDB may use.
    :param threads: its threads; by default as many as there are cores, and no more than one for each 128 MiB.
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
    # In a file, so that what is computed once need not stay in memory. It names people, and goes when the task ends.
    with spool_directory() as directory, duckdb.connect(directory / "usage.duckdb", config=_CONFIG) as database:
        _set_limits(database, memory_mb, threads)
        database.execute("SET TimeZone = 'UTC'")
        database.execute("CREATE SCHEMA claude_code")
        with _typed_errors(database):
            _create_tables(database, root, settings, directory)
        given = {name: file for name, file in (("roster", roster), ("mapping", mapping)) if file is not None}
        for name, file in given.items():
            _create_table_of_user(database, name, file)
        yield FileSource(database, (*TABLES, *given), settings)


class BigQuerySource:
    """
    The tables of a dataset, asked where they are.

    :param client: the client of the Google Cloud Connection.
    :param dataset: the dataset.
    :param relations: by name, how the tables are written in SQL.
    :param settings: the settings of the queries.
    :param labels: labels of the query jobs.
    """

    def __init__(
        self,
        client: Client,
        dataset: DatasetReference,
        relations: Mapping[str, str],
        settings: Settings,
        labels: Mapping[str, str],
    ) -> None:
        self._client = client
        self._dataset = dataset
        self._relations = relations
        self._settings = settings
        self._labels = labels

    def read(self, name: str, *, by_period: bool = False) -> pa.Table:
        """Run a query."""
        from google.cloud.bigquery import QueryJobConfig

        from airflow_provider_claude_code.targets.bigquery.target import typed_errors

        query = render(name, self._relations, self._settings, by_period=by_period)
        with typed_errors(self._dataset, "BigQuery Data Viewer"):
            rows = self._client.query_and_wait(query, job_config=QueryJobConfig(labels=dict(self._labels)))
            return rows.to_arrow(create_bqstorage_client=False)


def bigquery_relations(
    project: str, dataset: str, table_prefix: str, *, roster: str | None = None, mapping: str | None = None
) -> dict[str, str]:
    """
    Return how the tables are written in SQL.

    :param project: the dataset's project.
    :param dataset: the dataset.
    :param table_prefix: what the tables' names begin with.
    :param roster: the table of eligible people: ``TABLE``, ``DATASET.TABLE`` or ``PROJECT.DATASET.TABLE``.
    :param mapping: the table of groups.
    :raises ClaudeCodeConfigurationError: that is no table's name.
    """
    relations = {name: table_in_sql("dataset_id", f"{project}.{dataset}.{table_prefix}{name}") for name in TABLES}
    for name, table in (("roster", roster), ("mapping", mapping)):
        if table:
            missing = [project, dataset][: max(0, 2 - table.count("."))]
            relations[name] = table_in_sql(name, ".".join([*missing, table]))
    return relations


def table_in_sql(argument: str, table: str) -> str:
    """
    Write a table's name in SQL.

    :param argument: what gives it, for the error.
    :param table: ``PROJECT.DATASET.TABLE``.
    :raises ClaudeCodeConfigurationError: that is no table's name.
    """
    if not re.fullmatch(r"(?:[\w.-]+:)?[\w-]+\.\w+\.[\w -]+", table):
        raise ClaudeCodeConfigurationError(f"{argument} gives {table!r}, which is no name of a BigQuery table.")
    return f"`{table}`"


def _set_limits(database: duckdb.DuckDBPyConnection, memory_mb: int, threads: int | None) -> None:
    database.execute(f"SET memory_limit = '{memory_mb}MiB'")
    if threads is None:
        # DuckDB knows how many cores it may use, in a container as well.
        ((cores,),) = database.execute("SELECT current_setting('threads')").fetchall()
        threads = max(1, min(cores, memory_mb // _MEMORY_MB_PER_THREAD))
    database.execute(f"SET threads = {threads}")


def _create_tables(
    database: duckdb.DuckDBPyConnection, root: ObjectStoragePath, settings: Settings, directory: Path
) -> None:
    from airflow_provider_claude_code.tables.spool import arrow_schema

    files: dict[str, list[str]] = {name: [] for name in TABLES}
    keys = _keys(root)
    for key in keys:
        match = _DAY_FILE.fullmatch(key)
        if match and _is_written_by_loads(match[1], match[3]) and match[2] >= settings.since.isoformat():
            files[match[1]].append(key)
    if not files[LOADS.name]:
        raise ClaudeCodeConfigurationError(
            f"{root} holds no loaded days since {settings.since}. Is it the path that the days are loaded to?"
        )
    # Days that were empty from the start have no files.
    if not files["usage"] and any(key.startswith("usage/") for key in keys):
        raise ClaudeCodeConfigurationError(
            f"{root} holds no Parquet files of usage; load the days with file_format='parquet'."
        )
    folder = _local_copy(root, list(chain.from_iterable(files.values())), directory)
    for table in (*USAGE.tables, FILE_LOADS):
        empty = database.from_arrow(arrow_schema(table).empty_table())
        if files[table.name]:
            names = ", ".join(_literal(_pattern(folder / key)) for key in files[table.name])
            # A file of an older schema lacks columns, and is read as if they were null.
            schema = ", ".join(
                f"'{column}': {{name: '{column}', type: '{type_}', default_value: NULL}}"
                for column, type_ in zip(empty.columns, empty.types, strict=True)
            )
            query = f"SELECT * FROM read_parquet([{names}], hive_partitioning = false, schema = MAP {{{schema}}})"
            # Of the many small files of loads, each query would open each again.
            kind = "TABLE" if table is FILE_LOADS else "VIEW"
            database.execute(f"CREATE {kind} claude_code.{table.name} AS {query}")
        else:
            empty.create(f"claude_code.{table.name}")


def _is_written_by_loads(table: str, name: str) -> bool:
    """Tell a day's file from others beside it: copies, metadata of an operating system, what another tool writes."""
    if table == LOADS.name:
        return re.fullmatch(rf"{LOAD_ID}(\.\w+)?", name) is not None
    return table in USAGE.table_names and name == table


def _create_table_of_user(database: duckdb.DuckDBPyConnection, name: str, file: ObjectStoragePath) -> None:
    import duckdb

    columns = parts()[name].columns
    kind = file.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ClaudeCodeConfigurationError(f"{name} is {file}; a .csv or .parquet file was expected.")
    with typed_store_errors(file.as_uri(), later=ClaudeCodeSourceError):
        try:
            content = file.fs.cat_file(str(file.path))
        except FileNotFoundError:
            raise ClaudeCodeConfigurationError(f"{name} is {file}, where there is no file.") from None
    try:
        rows = _read_csv(content, columns) if kind == ".csv" else _read_parquet(content, columns)
    except ClaudeCodeConfigurationError as error:
        raise ClaudeCodeConfigurationError(
            f"{name} cannot be read from {file}: {error} It needs the columns {', '.join(columns)}; days are written "
            "YYYY-MM-DD, and an empty one means always."
        ) from None
    typed = [f"CAST({column} AS {'DATE' if column in _DAYS else 'VARCHAR'}) AS {column}" for column in columns]
    with _typed_errors(database):
        database.register("given", rows)
        try:
            database.execute(f"CREATE TABLE claude_code.{name} AS SELECT {', '.join(typed)} FROM given")
        except (duckdb.BinderException, duckdb.ConversionException):
            # The error holds the value.
            raise ClaudeCodeConfigurationError(
                f"{name} cannot be read from {file}: a column has another type. {' and '.join(_DAYS)} are days, the "
                "others are text."
            ) from None
        finally:
            database.unregister("given")


_DAYS = ("valid_from", "valid_to")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_KIND_OF_ACTOR = re.compile(r"[a-z_]+_actor")
# An address, or a pseudonym.
_PERSON = re.compile(r"[^@\s]+@[^@\s]+|[0-9a-fA-F]{64}")


def _read_csv(content: bytes, columns: Iterable[str]) -> pa.Table:
    """Read a file of actors, or refuse it by the line and the column that cannot be one's."""
    import pyarrow as pa

    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    positions = {column: column_position(header, column) for column in columns}
    cells: dict[str, list[str | None]] = {column: [] for column in columns}
    for line, row in rows:
        actor = {column: row[position] for column, position in positions.items()}
        actor |= {column: actor[column].strip() for column in (*_DAYS, "actor_type") if column in actor}
        # Only people are on a roster.
        kind = actor.get("actor_type", "user_actor")
        if not _KIND_OF_ACTOR.fullmatch(kind):
            raise ClaudeCodeConfigurationError(f"Line {line} names no type of actor; {_KINDS} was expected.")
        if not actor["actor_id"].strip():
            raise ClaudeCodeConfigurationError(f"Line {line} has no actor_id.")
        person = actor["actor_id"].strip(ADDRESS_BLANKS)
        if kind == "user_actor" and not (_PERSON.fullmatch(person) and person.isprintable()):
            raise ClaudeCodeConfigurationError(
                f"Line {line} has an actor_id that is neither an address nor a pseudonym (64 hex digits)."
            )
        for column in _DAYS:
            if actor[column] and not _is_day(actor[column]):
                raise ClaudeCodeConfigurationError(f"Line {line} has a {column} that is no day.")
        if actor["valid_to"] and actor["valid_from"] > actor["valid_to"]:
            raise ClaudeCodeConfigurationError(f"Line {line} has a valid_from after its valid_to.")
        for column, cell in actor.items():
            cells[column].append(cell or None)
    return pa.table({column: pa.array(values, pa.string()) for column, values in cells.items()})


_KINDS = " or ".join(ACTOR_ID_FIELDS)


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _read_parquet(content: bytes, columns: Iterable[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise ClaudeCodeConfigurationError(f"It is no Parquet file ({type(error).__name__}).") from None
    positions = {column: column_position(rows.column_names, column) for column in columns}
    return pa.table({column: rows.column(position) for column, position in positions.items()})


def _keys(root: ObjectStoragePath) -> list[str]:
    """Return the files below a path, relative to it, in order: one listing in most stores."""
    folder = str(root.path).rstrip("/")
    with typed_store_errors(root.as_uri(), later=ClaudeCodeSourceError):
        root.fs.invalidate_cache()
        try:
            names = root.fs.find(folder)
        except FileNotFoundError:
            return []
    prefix = folder.lstrip("/") + "/"
    return sorted(name.lstrip("/").removeprefix(prefix) for name in names)


def _local_copy(root: ObjectStoragePath, keys: list[str], directory: Path) -> Path:
    """Return a local folder with these files: the root itself, or one into which each object is fetched once."""
    if root.protocol in LOCAL_SCHEMES:
        return Path(root.path)
    copy = directory / "objects"
    for folder in {(copy / key).parent for key in keys}:
        folder.mkdir(parents=True)
    bucket = str(root.path).rstrip("/")
    with typed_store_errors(root.as_uri(), later=ClaudeCodeSourceError):
        try:
            root.fs.get([f"{bucket}/{key}" for key in keys], [str(copy / key) for key in keys])
        except FileNotFoundError as error:
            raise ClaudeCodeSourceError(f"A file in {root} was removed while it was being read; try again.") from error
    return copy


def _pattern(file: Path) -> str:
    """Return what DuckDB, which takes every name for a pattern, opens a file by."""
    pattern = re.sub(r"[\[*?]", r"[\g<0>]", str(file))
    if pattern != str(file) and "\\" in pattern:
        raise ClaudeCodeConfigurationError(f"{file} holds a backslash and one of [, * and ?; rename its folders.")
    return pattern


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _typed_errors(database: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Turn DuckDB's errors into ours, without what they say of a value: it may be somebody's address."""
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
        if isinstance(error, duckdb.OutOfMemoryException):
            if "temp_directory" in str(error):
                raise ClaudeCodeSourceError(
                    "The worker's directory for temporary files has no room for what DuckDB cannot keep in memory."
                ) from None
            limits = database.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall()
            raise ClaudeCodeConfigurationError(
                "DuckDB ran out of memory: {} for {} threads do not suffice. Give the task a larger memory_mb, fewer "
                "threads or a later since, or keep the usage in BigQuery.".format(*limits[0])
            ) from None
        if re.search(_OUT_OF_RANGE, str(error), re.IGNORECASE) or isinstance(error, pa.ArrowInvalid):
            raise ClaudeCodeConfigurationError(
                "Sums of the loaded usage do not fit 64 bits, so a day holds numbers that cannot be true. The check "
                "out_of_range of ClaudeCodeDataQualityOperator names the day; load it again."
            ) from None
        # A file may have been replaced by a load while it was read.
        raise ClaudeCodeSourceError(
            f"The files could not be queried ({type(error).__name__}); try again. If that does not help: were they all "
            "written by this provider?"
        ) from None


def _typed_as_in_bigquery(rows: pa.Table) -> pa.Table:
    """Give sums of counts as INT64 and amounts as NUMERIC, where DuckDB computes with more digits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, field in enumerate(rows.schema):
        if pa.types.is_decimal(field.type):
            column = rows.column(position)
            if field.type.scale == 0:
                column = column.cast(pa.int64())
            else:
                column = pc.round(column, MONEY_PLACES, "half_towards_infinity").cast(pa.decimal128(38, MONEY_PLACES))
            rows = rows.set_column(position, field.name, column)
    return rows

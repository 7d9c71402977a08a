"""Reads the files of the tables that users may add: a roster and a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from airflow_provider_claude_code.analytics.csv_files import column_positions, csv_rows
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_USERS
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.stores import file_system, url_of
from airflow_provider_claude_code.streams.usage.models import ACTOR_KINDS
from airflow_provider_claude_code.tables.actors import is_address, is_pseudonym

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_claude_code.tables.contract import Column

_DAY_COLUMNS = ("valid_from", "valid_to")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_KINDS = ", ".join((*ACTOR_KINDS, "machine"))
_KIND_OF_ACTOR = re.compile(r"[a-z_]+_actor|machine")


def read_user_table(name: str, file: ObjectStoragePath) -> pa.Table:
    """
    Read a table of :data:`~airflow_provider_claude_code.analytics.queries.tables.TABLES_OF_USERS`.

    :param name: its name.
    :param file: a CSV or Parquet file. In its names of columns, case, blanks and underscores make no difference.
    :return: its columns. From a CSV file all are text; from a Parquet file they have the file's types.
    :raises ClaudeCodeConfigurationError: there is no such file, or it cannot be used.
    :raises ClaudeCodeSourceError: the file cannot be read at the moment.
    """
    columns = TABLES_OF_USERS[name].columns
    kind, content = read_content(name, file, (".csv", ".parquet"))
    with named_in_errors(name, file, columns):
        return _read_csv(content, columns) if kind == ".csv" else read_parquet(content, columns)


@contextmanager
def named_in_errors(name: str, file: ObjectStoragePath, columns: Iterable[Column]) -> Iterator[None]:
    """Say in an error which table and file it is about, and which columns are required."""
    try:
        yield
    except ClaudeCodeConfigurationError as error:
        raise ClaudeCodeConfigurationError(
            f"{name} cannot be read from {file}: {error} Required columns: "
            f"{', '.join(column.name for column in columns if not column.nullable)}."
        ) from None


def read_content(name: str, file: ObjectStoragePath, kinds: Sequence[str]) -> tuple[str, bytes]:
    """
    Read a whole file.

    :param name: name of the table, for errors.
    :param file: location of the file.
    :param kinds: the allowed file name extensions.
    :return: its ending in lower case, and its content.
    :raises ClaudeCodeConfigurationError: there is no such file, or it has another ending.
    :raises ClaudeCodeSourceError: the file cannot be read at the moment.
    """
    kind = file.suffix.lower()
    if kind not in kinds:
        expected = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise ClaudeCodeConfigurationError(f"{name} is {file}; a {expected} file was expected.")
    with typed_store_errors(url_of(file), later=ClaudeCodeSourceError):
        try:
            return kind, file_system(file).cat_file(str(file.path))
        except FileNotFoundError:
            raise ClaudeCodeConfigurationError(f"{name}: no such file: {file}") from None


def _read_csv(content: bytes, columns: Sequence[Column]) -> pa.Table:
    """Read a file of actors, or refuse it with the line and column that is invalid."""
    import pyarrow as pa

    from airflow_provider_claude_code.tables.arrays import arrow_array

    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    positions = column_positions(header, columns)
    cells: dict[str, list[str | None]] = {column.name: [] for column in columns}
    for line, row in rows:
        actor = dict.fromkeys(cells, "")
        actor |= {column: row[position] for column, position in positions.items()}
        actor |= {column: actor[column].strip() for column in (*_DAY_COLUMNS, "actor_type") if column in actor}
        # Only people are on a roster.
        kind = actor.get("actor_type", "user_actor")
        if not _KIND_OF_ACTOR.fullmatch(kind):
            raise ClaudeCodeConfigurationError(f"Line {line}: actor_type must be one of {_KINDS}.")
        if not actor["actor_id"].strip():
            raise ClaudeCodeConfigurationError(f"Line {line}: actor_id is empty.")
        if kind == "user_actor" and not is_person(actor["actor_id"]):
            raise ClaudeCodeConfigurationError(
                f"Line {line}: actor_id is neither an e-mail address nor a pseudonym (64 hex digits)."
            )
        for column in _DAY_COLUMNS:
            if actor[column] and not _is_day(actor[column]):
                raise ClaudeCodeConfigurationError(f"Line {line}: {column} is not a date (YYYY-MM-DD).")
        if actor["valid_to"] and actor["valid_from"] > actor["valid_to"]:
            raise ClaudeCodeConfigurationError(f"Line {line}: valid_from is after valid_to.")
        for column, cell in actor.items():
            cells[column].append(cell or None)
    return pa.table({column: arrow_array("STRING", values) for column, values in cells.items()})


def is_person(text: str) -> bool:
    """Return whether a text is an address or a pseudonym, perhaps between blanks."""
    return is_address(text) or is_pseudonym(text)


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def read_parquet(content: bytes, columns: Sequence[Column]) -> pa.Table:
    """
    Return columns of a Parquet file. Nullable ones that it omits are null.

    :raises ClaudeCodeConfigurationError: it is not a Parquet file, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise ClaudeCodeConfigurationError(f"It is not a Parquet file ({type(error).__name__}).") from None
    positions = column_positions(rows.column_names, columns)
    missing = pa.nulls(rows.num_rows, pa.string())
    names = [column.name for column in columns]
    return pa.table({name: rows.column(positions[name]) if name in positions else missing for name in names})

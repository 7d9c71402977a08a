"""Reads the files of the tables that users may add: a roster and a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.storage.csv_files import column_position, csv_rows
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.stores import file_system, url_of
from airflow_provider_claude_code.streams.usage.models import ACTOR_KINDS
from airflow_provider_claude_code.tables.actors import is_address, is_pseudonym

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

_DAY_COLUMNS = ("valid_from", "valid_to")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_KINDS = ", ".join((*ACTOR_KINDS, "machine"))
_KIND_OF_ACTOR = re.compile(r"[a-z_]+_actor|machine")
# A file may omit these. They are null then.
_OPTIONAL = frozenset({"cost_centre", *_DAY_COLUMNS})


def read_user_table(name: str, file: ObjectStoragePath, columns: Iterable[str]) -> pa.Table:
    """
    Read a roster or a mapping.

    :param name: name of the table, for errors.
    :param file: a CSV or Parquet file.
    :param columns: the columns to read. Those that may be empty in all rows need not be in the file.
    :return: those columns. From a CSV file all are text; from a Parquet file they have the file's types.
    :raises ClaudeCodeConfigurationError: there is no such file, or it cannot be used.
    :raises ClaudeCodeSourceError: the file cannot be read at the moment.
    """
    kind, content = read_content(name, file, (".csv", ".parquet"))
    try:
        return _read_csv(content, columns) if kind == ".csv" else _read_parquet(content, columns)
    except ClaudeCodeConfigurationError as error:
        raise ClaudeCodeConfigurationError(
            f"{name} cannot be read from {file}: {error} Required columns: "
            f"{', '.join(column for column in columns if column not in _OPTIONAL)}."
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


def _read_csv(content: bytes, columns: Iterable[str]) -> pa.Table:
    """Read a file of actors, or refuse it with the line and column that is invalid."""
    import pyarrow as pa

    from airflow_provider_claude_code.tables.arrays import arrow_array

    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    positions = _positions(header, columns)
    cells: dict[str, list[str | None]] = {column: [] for column in columns}
    for line, row in rows:
        actor = dict.fromkeys(columns, "")
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


def _positions(names: Sequence[str], columns: Iterable[str]) -> Mapping[str, int]:
    """Return the positions of the columns in a file, without optional columns that it omits."""
    given = {name.strip().lower() for name in names}
    return {column: column_position(names, column) for column in columns if column in given or column not in _OPTIONAL}


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _read_parquet(content: bytes, columns: Iterable[str]) -> pa.Table:
    """Return columns of a Parquet file, ignoring the case of their names."""
    rows = parquet_rows(content)
    return columns_at(rows, columns, _positions(rows.column_names, columns))


def parquet_rows(content: bytes) -> pa.Table:
    """
    Return the rows of a Parquet file.

    :raises ClaudeCodeConfigurationError: it is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise ClaudeCodeConfigurationError(f"It is not a Parquet file ({type(error).__name__}).") from None


def columns_at(rows: pa.Table, columns: Iterable[str], positions: Mapping[str, int]) -> pa.Table:
    """Return columns by their positions. Those without a position are null."""
    import pyarrow as pa

    missing = pa.nulls(rows.num_rows, pa.string())
    return pa.table({column: rows.column(positions[column]) if column in positions else missing for column in columns})

"""Reads the files that other AI tools export."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.analytics.csv_files import column_positions, csv_rows, plain_name
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS
from airflow_provider_claude_code.analytics.user_tables import is_person, named_in_errors, read_content, read_parquet
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_claude_code.tables.contract import Column

_KINDS = (".csv", ".json", ".jsonl", ".ndjson", ".parquet")


def check_tool_tables(given: Mapping[str, object]) -> None:
    """
    Check the tables of other tools.

    :param given: the location of each table, by name.
    :raises ClaudeCodeConfigurationError: there is no such table, or one lacks the table that it needs.
    """
    if unknown := sorted(set(map(str, given)) - TABLES_OF_TOOLS.keys()):
        raise ClaudeCodeConfigurationError(
            f"other_tools has {', '.join(map(repr, unknown))}; known are {', '.join(TABLES_OF_TOOLS)}."
        )
    if ("copilot_usage" in given) != ("copilot_logins" in given):
        raise ClaudeCodeConfigurationError(
            "other_tools needs both copilot_usage and copilot_logins: GitHub's report names people by their login, and "
            "only a table of logins and addresses can say who also uses Claude Code."
        )


def read_tool_table(name: str, file: ObjectStoragePath) -> pa.Table:
    """
    Read a table of :data:`~airflow_provider_claude_code.analytics.queries.tables.TABLES_OF_TOOLS`.

    :param name: its name.
    :param file: a file of CSV, of JSON (a list of objects, or an object with the list in ``data``), of a JSON object a
        line, or of Parquet. In its names of columns, case, blanks and underscores make no difference.
    :return: its columns. All are text, except from a Parquet file.
    :raises ClaudeCodeConfigurationError: there is no such file, or it cannot be used.
    :raises ClaudeCodeSourceError: the file cannot be read at the moment.
    """
    columns = TABLES_OF_TOOLS[name].columns
    kind, content = read_content(name, file, _KINDS)
    with named_in_errors(name, file, columns):
        if kind == ".parquet":
            return read_parquet(content, columns)
        return _as_text(columns, _csv_records(content, columns) if kind == ".csv" else _json_records(content, columns))


def _as_text(columns: Sequence[Column], records: Iterable[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    import pyarrow as pa

    from airflow_provider_claude_code.tables.arrays import arrow_array

    cells: dict[str, list[str | None]] = {column.name: [] for column in columns}
    for line, record in records:
        for column in columns:
            value = record.get(column.name)
            text = json.dumps(value) if isinstance(value, (bool, int, float)) else value
            if text is not None and not isinstance(text, str):
                raise ClaudeCodeConfigurationError(f"Row {line}: {column.name} is not a single value.")
            if not column.nullable and not (text or "").strip():
                raise ClaudeCodeConfigurationError(f"Row {line}: {column.name} is empty.")
            if column.name in ("actor_id", "email") and not is_person(text or ""):
                raise ClaudeCodeConfigurationError(
                    f"Row {line}: {column.name} is neither an e-mail address nor a pseudonym (64 hex digits)."
                )
            cells[column.name].append(text or None)
    return pa.table({name: arrow_array("STRING", values) for name, values in cells.items()})


def _csv_records(content: bytes, columns: Sequence[Column]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    positions = column_positions(header, columns)
    for line, row in rows:
        yield line, {name: row[position] for name, position in positions.items()}


def _json_records(content: bytes, columns: Sequence[Column]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ClaudeCodeConfigurationError("It is not UTF-8.") from None
    try:
        whole = json.loads(text)
    except ValueError:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        objects = [(number, _json_object(number, line)) for number, line in lines]
    else:
        found = whole.get("data", [whole]) if isinstance(whole, dict) else whole
        objects = list(enumerate(found if isinstance(found, list) else [found], 1))
    for number, record in objects:
        if not isinstance(record, dict):
            raise ClaudeCodeConfigurationError(f"Row {number} is not a JSON object.")
        values = {plain_name(name): value for name, value in record.items()}
        yield number, {column.name: values.get(plain_name(column.name)) for column in columns}


def _json_object(number: int, line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        # The error contains the line.
        raise ClaudeCodeConfigurationError(f"Line {number} is not JSON.") from None

"""A column is written once: values meet columns by name, whatever their order."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from airflow_provider_claude_code.cli.reference import reference_of_tables
from airflow_provider_claude_code.streams.usage import flatten, totals
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.streams.usage.tables import MODEL_USAGE, TABLES, USAGE
from airflow_provider_claude_code.tables.contract import Column, FileFormat, PseudonymOf, Table
from airflow_provider_claude_code.tables.rows import Pseudonym, columns_of
from airflow_provider_claude_code.tables.spool import DaySpool
from tests.fixtures.records import DAY, LOADED_AT, body, official_example

READERS: dict[FileFormat, Callable[[Path], Any]] = {
    "parquet": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    "ndjson": lambda path: [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()],
    "csv": lambda path: pyarrow.csv.read_csv(path).to_pylist(),
}


def spool(monkeypatch: pytest.MonkeyPatch, directory: Path, table: Table, file_format: FileFormat) -> tuple[Any, str]:
    """Write the official example with a changed table, and return its row and its digest."""
    tables = tuple(table if table.name == other.name else other for other in TABLES)
    monkeypatch.setattr(totals, "TABLES", tables)
    monkeypatch.setattr(flatten, table.name.upper(), table)
    directory.mkdir()
    flattener = UsageFlattener(DAY)
    with DaySpool(directory, tables, file_format, "load-1", LOADED_AT) as day_spool:
        day_spool.write(flattener.flatten(decode_report(body([official_example(subscription_type="team")]))[0].data))
        path = day_spool.finish()[table.name].path
    (row,) = READERS[file_format](path)
    return row, flattener.totals.content_digest(table.name)


@pytest.mark.parametrize("file_format", READERS)
@pytest.mark.parametrize("position", [0, 14, len(USAGE.columns)])
def test_a_column_is_added_by_one_line_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file_format: FileFormat, position: int
) -> None:
    column = Column("sessions_again", "INT64", "A second copy.", True, "core_metrics.num_sessions")
    columns = [*USAGE.columns]
    columns.insert(position, column)
    changed = dataclasses.replace(USAGE, columns=tuple(columns))
    before, _ = spool(monkeypatch, tmp_path / "before", USAGE, file_format)
    after, _ = spool(monkeypatch, tmp_path / "after", changed, file_format)
    assert list(after)[position] == "sessions_again"
    assert after == before | {"sessions_again": 5}
    assert "| `sessions_again` | INT64 | yes | A second copy. |" in reference_of_tables([changed])


def test_what_pseudonyms_do_to_a_column_holds_for_computed_values_too() -> None:
    kinds = PseudonymOf(kind=lambda person: "user_actor")
    columns = [
        Column("name", "STRING", "Computed.", nullable=True, hmac="null"),
        Column("email", "STRING", "Computed.", hmac=kinds),
        Column("team", "STRING", "Computed.", hmac="keep"),
    ]
    values = {"name": ["Ada"], "email": ["ada@example.com"], "team": ["red"]}

    def columns_with(pseudonym: Pseudonym | None) -> dict[str, list[str | None]]:
        return {name: found.tolist() for name, found in columns_of(columns, ["a row"], pseudonym, **values).items()}

    assert columns_with(None) == values
    assert columns_with(lambda kind, actor: f"{kind} {len(actor or '')}") == {
        "name": [None],
        "email": ["user_actor 15"],
        "team": ["red"],
    }


def test_a_new_column_without_values_changes_no_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    column = Column("new", "STRING", "Nobody sends it yet.", True, lambda records: [None] * len(records), "keep")
    changed = dataclasses.replace(MODEL_USAGE, columns=(*MODEL_USAGE.columns, column))
    _, before = spool(monkeypatch, tmp_path / "before", MODEL_USAGE, "parquet")
    row, after = spool(monkeypatch, tmp_path / "after", changed, "parquet")
    assert row["new"] is None
    assert after == before


def test_two_columns_of_one_type_change_places_and_keep_their_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    columns = [*USAGE.columns]
    names = [column.name for column in columns]
    added, removed = names.index("lines_of_code_added"), names.index("lines_of_code_removed")
    columns[added], columns[removed] = columns[removed], columns[added]
    before, _ = spool(monkeypatch, tmp_path / "before", USAGE, "parquet")
    after, _ = spool(monkeypatch, tmp_path / "after", dataclasses.replace(USAGE, columns=tuple(columns)), "parquet")
    assert after == before
    assert (after["lines_of_code_added"], after["lines_of_code_removed"]) == (1543, 892)
    assert list(after) == [column.name for column in columns]

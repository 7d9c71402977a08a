"""The expected content of days, computed from the sandbox's records without the package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.records import TABLES, Json
from tests.truth.records import Row, canonical, flat


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def records_of(sandbox: Sandbox, day: date) -> list[Json]:
    """Return the day's records as the API has them now."""
    return list((sandbox.records or sandbox.organization.records)(day, datetime.now(UTC)))


def people(sandbox: Sandbox, day: date) -> Counter[tuple[str, int, Decimal]]:
    """Count the day's records by actor, sessions and cost in cents, as the API reports them."""
    return _people(flat(records_of(sandbox, day))["usage"])


def _people(rows: Iterable[dict[str, Any]]) -> Counter[tuple[str, int, Decimal]]:
    return Counter((row["actor_id"], row["num_sessions"], row["estimated_cost_cents"] or Decimal(0)) for row in rows)


def assert_files_hold(files: Path, sandbox: Sandbox, day: date) -> None:
    """Check that a day's files have the API's records, and that all tables are from one load."""
    tables = {
        table: pq.read_table(files / table / f"dt={day}" / f"{table}.parquet", partitioning=None) for table in TABLES
    }
    expected = flat(records_of(sandbox, day))
    assert _people(tables["usage"].to_pylist()) == _people(expected["usage"]), day
    assert {name: table.num_rows for name, table in tables.items()} == {name: len(expected[name]) for name in TABLES}
    loaded_at = {moment for table in tables.values() for moment in table["loaded_at"].to_pylist()}
    assert len(loaded_at) <= 1, f"{day} is of several loads"


def assert_files_hold_rows(files: Path, day: date, expected: dict[str, list[Row]]) -> None:
    """Check that a day's files have the expected rows (without columns of loads and refreshes), all from one load."""
    loaded_at = set()
    for table, rows in expected.items():
        found = pq.read_table(files / table / f"dt={day}" / f"{table}.parquet", partitioning=None).to_pylist()
        columns = set().union(*rows) - {"refreshed_at"}
        of_both = [canonical({name: row[name] for name in columns} for row in each) for each in (found, rows)]
        assert of_both[0] == of_both[1], table
        loaded_at |= {row["loaded_at"] for row in found}
    assert len(loaded_at) == 1, f"{day} is of several loads"


def assert_bigquery_holds(client: Any, sandbox: Sandbox, expected: list[date], dataset: str = "claude_code") -> None:
    """Check that the tables of a dataset have the API's records of these days. Other days may exist."""
    rows: dict[date, list[dict[str, Any]]] = {}
    for row in client.query(
        f"SELECT date, actor_id, num_sessions, estimated_cost_cents FROM {dataset}.claude_code_usage"
    ):
        rows.setdefault(row["date"], []).append(dict(row))
    for day in expected:
        assert _people(rows.get(day, [])) == people(sandbox, day), day
    for row in client.query(
        f"SELECT date, count(DISTINCT loaded_at) AS loads FROM (SELECT date, loaded_at FROM {dataset}.claude_code_usage"
        f" UNION ALL SELECT date, loaded_at FROM {dataset}.claude_code_model_usage"
        f" UNION ALL SELECT date, loaded_at FROM {dataset}.claude_code_tool_usage) GROUP BY date"
    ):
        assert row["loads"] == 1, f"{row['date']} is of several loads"


def assert_nothing_is_left(*folders: Path) -> None:
    """Check that killed tasks left nothing behind: no spooled and no temporary files."""
    for folder in folders:
        assert [
            path
            for path in folder.rglob("*")
            if path.name.startswith(("airflow-provider-claude-code-", ".claude-code-tmp"))
        ] == []

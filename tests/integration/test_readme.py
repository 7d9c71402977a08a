"""The README's queries run on what the operator writes, and its table reference is the contract's."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import markdown_reference
from airflow_provider_claude_code.tables.loads import FILE_LOADS
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

README = (Path(__file__).parents[2] / "README.md").read_text()
DAYS = [date(2025, 9, 1) + timedelta(days=number) for number in range(7)]


def query(name: str, files: Path) -> list[dict[str, object]]:
    """Run one of the README's queries."""
    match = re.search(rf"<!-- query: {name} -->\n```sql\n(.*?)```", README, re.DOTALL)
    assert match, f"the README has no query {name}"
    result = duckdb.sql(match[1].replace("PATH", str(files)))
    return [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch):
    with Sandbox(users=200) as sandbox:
        connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
        yield sandbox


def load(path: Path, day: date, lookback_days: int = 0) -> None:
    operator = ClaudeCodeToObjectStorageOperator(
        task_id="load", path=str(path), day=day.isoformat(), lookback_days=lookback_days
    )
    context: Any = {"ti": SimpleNamespace(dag_id="dag", run_id="run"), "dag_run": SimpleNamespace(run_type="manual")}
    operator.execute(context | {"outlet_events": {}})


@pytest.fixture
def truth(sandbox: Sandbox, tmp_path: Path) -> list[dict]:
    """Load a week and return the API's records of it."""
    load(tmp_path, DAYS[-1], lookback_days=6)
    return [record for day in DAYS for record in sandbox.organization.records(day, datetime.now(UTC))]


def test_the_table_reference_is_made_from_the_contract() -> None:
    begin, end = "<!-- tables: begin (make docs) -->\n", "<!-- tables: end -->"
    assert README.partition(begin)[2].partition(end)[0] == markdown_reference([*DATA_TABLES.values(), FILE_LOADS])


def test_the_acceptance_query_counts_people_sessions_and_rates(truth: list[dict], tmp_path: Path) -> None:
    rows = {row["dt"]: row for row in query("acceptance", tmp_path)}
    assert list(rows) == DAYS
    for day in DAYS:
        records = [record for record in truth if record["date"].startswith(day.isoformat())]
        actions = [action for record in records for action in record["tool_actions"].values()]
        accepted = sum(action["accepted"] for action in actions)
        offered = accepted + sum(action["rejected"] for action in actions)
        people = {r["actor"]["email_address"] for r in records if r["actor"]["type"] == "user_actor"}
        assert rows[day]["people"] == len(people)
        assert rows[day]["sessions"] == sum(record["core_metrics"]["num_sessions"] for record in records)
        assert rows[day]["acceptance_rate"] == pytest.approx(accepted / offered)


def test_the_join_query_does_not_multiply(truth: list[dict], tmp_path: Path) -> None:
    (row,) = query("joins", tmp_path)
    assert row["sessions"] == sum(record["core_metrics"]["num_sessions"] for record in truth)
    assert row["accepted"] == sum(a["accepted"] for record in truth for a in record["tool_actions"].values())
    cents = sum(model["estimated_cost"]["amount"] for record in truth for model in record["model_breakdown"])
    assert float(row["dollars"]) == pytest.approx(float(cents) / 100)


@pytest.mark.usefixtures("truth")
def test_the_torn_query_names_a_file_of_another_load_a_missing_and_an_unknown_one(tmp_path: Path) -> None:
    assert query("torn", tmp_path) == []
    usage, models, tools = (
        tmp_path / table / f"dt={DAYS[0]}" / f"{table}.parquet" for table in ("usage", "model_usage", "tool_usage")
    )
    usage.write_bytes((tmp_path / "usage" / f"dt={DAYS[1]}" / "usage.parquet").read_bytes())
    models.unlink()
    stray = tools.with_name("stray.parquet")
    stray.write_bytes(b"")
    assert {row["torn"] for row in query("torn", tmp_path)} == {str(usage), str(models), str(stray)}


@pytest.mark.usefixtures("truth")
def test_the_restated_query_finds_the_day_whose_content_changed(sandbox: Sandbox, tmp_path: Path) -> None:
    load(tmp_path, DAYS[0])
    assert query("restated", tmp_path) == [], "a day that is read again unchanged is not restated"
    changed = sandbox.organization.records(DAYS[0], datetime.now(UTC))
    changed[0]["core_metrics"]["num_sessions"] += 1
    sandbox.records = lambda day, now: changed
    load(tmp_path, DAYS[0])
    (row,) = query("restated", tmp_path)
    assert (row["dt"], row["table_name"], row["restatements"]) == (DAYS[0], "usage", 1)

"""In every target, a day is replaced whole or stays as it is, and every load is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.targets import files
from airflow_provider_claude_code.targets.base import named_if_partly_replaced
from airflow_provider_claude_code.targets.bigquery import target as bigquery
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowSkipException
from tests.fixtures import targets
from tests.fixtures.records import DAY, people
from tests.fixtures.targets import Target

TABLES = ("usage", "model_usage", "tool_usage")
BEFORE = DAY - timedelta(days=1)
Row = dict[str, Any]


servers, target = targets.servers, targets.target


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def sandbox(api: Sandbox, monkeypatch: pytest.MonkeyPatch, spool: Path) -> Iterator[Sandbox]:
    """A sandbox with three people a day, Connections of two organisations, and a spool that must end empty."""
    for name, key in {"CLAUDE_CODE_DEFAULT": api.api_key, "RIVALS": f"{api.api_key}-rivals"}.items():
        extra = {"page_limit": 20, "retry_budget": 0}
        connection = {"conn_type": "claude_code", "host": api.base_url, "password": key, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0)
    serve(api, 3)
    yield api
    api.faults = Faults()


def serve(sandbox: Sandbox, count: int) -> None:
    sandbox.records = lambda day, _: people(count, day)


def load(target: Target, day: date = DAY, **arguments: Any) -> list[dict[str, Any]]:
    return targets.load(target, day, **arguments)


def loads(target: Target, table: str = "usage", day: date = DAY) -> list[Row]:
    """The rows of loads, oldest first."""
    rows = [row for row in target.rows("loads") if (row["table_name"], row["date"]) == (table, day)]
    return sorted(rows, key=lambda row: row["loaded_at"])


def assert_holds(target: Target, count: int, day: date = DAY) -> None:
    """Check that a day is so many people's, in all tables of one load, which is the newest in loads."""
    moments = set()
    for table, rows_each in (("usage", 1), ("model_usage", 1), ("tool_usage", 4)):
        rows = [row for row in target.rows(table) if row["date"] == day]
        people_in = [f"person-{number}@example.com" for number in range(count) for _ in range(rows_each)]
        assert sorted(row["actor_id"] for row in rows) == sorted(people_in), table
        newest = loads(target, table, day)[-1]
        assert newest["row_count"] == len(rows)
        moments |= {row["loaded_at"] for row in rows} | {newest["loaded_at"]}
    assert len(moments) == 1


class TestReplacing:
    def test_a_shorter_day_leaves_no_old_rows(self, target: Target, sandbox: Sandbox) -> None:
        load(target)
        serve(sandbox, 1)
        load(target)
        assert_holds(target, 1)

    def test_other_days_stay_as_they_are(self, target: Target) -> None:
        load(target, BEFORE)
        before = [row for table in TABLES for row in target.rows(table)]
        load(target)
        assert [row for table in TABLES for row in target.rows(table) if row["date"] == BEFORE] == before
        assert_holds(target, 3)

    def test_tables_that_are_not_named_stay_as_they_are(self, target: Target, sandbox: Sandbox) -> None:
        load(target)
        before = {table: target.rows(table) for table in TABLES}
        serve(sandbox, 4)
        [day] = load(target, tables=["tool_usage"])
        assert day["rows"] == {"tool_usage": 16}
        assert len(target.rows("tool_usage")) == 16
        for table in ("usage", "model_usage"):
            assert target.rows(table) == before[table]
            assert len(loads(target, table)) == 1

    def test_a_day_that_comes_back_has_its_old_digest(self, target: Target, sandbox: Sandbox) -> None:
        for count in (3, 4, 3, 3):
            serve(sandbox, count)
            load(target)
            assert_holds(target, count)
        for table in TABLES:
            first, second, third, fourth = (row["content_digest"] for row in loads(target, table))
            assert first == third == fourth != second, table

    def test_a_reload_changes_nothing_but_loaded_at(self, target: Target) -> None:
        contents = []
        for _ in range(2):
            load(target)
            contents.append(
                {table: sorted(repr(row | {"loaded_at": None}) for row in target.rows(table)) for table in TABLES}
            )
        assert contents[0] == contents[1]

    def test_loads_grows_by_a_row_per_table_and_is_never_rewritten(self, target: Target, sandbox: Sandbox) -> None:
        before: list[Row] = []
        for number, count in enumerate((3, 0, 2), start=1):
            serve(sandbox, count)
            load(target, on_empty="replace")
            rows = target.rows("loads")
            assert len(rows) == 3 * number
            assert all(row in rows for row in before)
            assert {row["table_name"] for row in rows if row not in before} == set(TABLES)
            before = rows
        assert [row["row_count"] for row in loads(target)] == [3, 0, 2]

    def test_one_that_airflow_ends_while_it_publishes_is_for_a_retry(
        self, target: Target, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When a worker shuts down, Airflow calls on_kill, and the task goes on until it is killed."""
        load(target)
        serve(sandbox, 4)
        start = base.ClaudeCodeTransferOperator._start

        def end_in_the_middle(operator: Any, *arguments: Any) -> Any:
            def replace(*day_and_tables: Any) -> Any:
                operator.on_kill()
                return named_if_partly_replaced(*day_and_tables)

            with monkeypatch.context() as patch:
                # What replaces the tables one by one.
                patch.setattr(files, "named_if_partly_replaced", replace)
                patch.setattr(bigquery, "named_if_partly_replaced", replace)
                return start(operator, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(base.ClaudeCodeTransferOperator, "_start", end_in_the_middle)
            # A local directory has copies of the files by then. Other targets fail, but Airflow may retry.
            with suppress(ClaudeCodePublishError):
                load(target)
        load(target)
        assert_holds(target, 4)

    def test_the_newer_of_two_loads_wins(
        self, target: Target, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another writer begins later and ends first; the older load leaves its rows, and loads again what is there."""
        flatten = UsageFlattener.flatten
        met: list[bool] = []

        def flatten_meanwhile(flattener: UsageFlattener, records: Any) -> Any:
            if not met:
                met.append(True)
                serve(sandbox, 4)
                load(target)
                assert_holds(target, 4)
                serve(sandbox, 5)
            return flatten(flattener, records)

        monkeypatch.setattr(UsageFlattener, "flatten", flatten_meanwhile)
        load(target)
        assert_holds(target, 5)
        assert [row["row_count"] for row in loads(target)] == [4, 5]


class TestRefusals:
    @pytest.mark.parametrize("loaded_before", [True, False])
    def test_a_page_that_fails_changes_nothing(self, target: Target, sandbox: Sandbox, loaded_before: bool) -> None:
        if loaded_before:
            load(target)
        before = target.state()
        serve(sandbox, 50)
        sandbox.faults = Faults(page=3, status=500)
        with pytest.raises(ClaudeCodeServerError):
            load(target)
        assert target.state() == before
        sandbox.faults = Faults()
        load(target)
        assert_holds(target, 50)

    def test_another_organisation_is_refused_before_anything_changes(self, target: Target, sandbox: Sandbox) -> None:
        load(target)
        before = target.state()
        for count, day in ((5, DAY), (5, BEFORE), (0, DAY), (0, BEFORE)):
            serve(sandbox, count)
            with pytest.raises(AirflowFailException, match=sandbox.organization.id):
                load(target, day, on_empty="replace", claude_code_conn_id="rivals")
        assert target.state() == before


class TestEmptyDays:
    def test_rows_are_not_erased_and_their_number_is_told(self, target: Target, sandbox: Sandbox) -> None:
        load(target)
        before = target.state()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match=r"usage: 3, .*model_usage: 3, .*tool_usage: 12"):
            load(target)
        assert target.state() == before

    def test_a_day_that_was_empty_from_the_start_is_recorded_and_rows_replace_it(
        self, target: Target, sandbox: Sandbox
    ) -> None:
        serve(sandbox, 0)
        for number in (1, 2):
            [day] = load(target)
            assert (day["published"], day["rows"]) == (True, dict.fromkeys(TABLES, 0))
            assert [row["row_count"] for row in loads(target)] == [0] * number
            assert_holds(target, 0)
        # Loaded and empty is not the same as never loaded.
        assert loads(target, day=BEFORE) == []
        serve(sandbox, 3)
        load(target)
        assert_holds(target, 3)

    def test_replace_empties_the_day_and_only_that(self, target: Target, sandbox: Sandbox) -> None:
        load(target, lookback_days=1)
        serve(sandbox, 0)
        load(target, on_empty="replace")
        assert_holds(target, 0)
        assert_holds(target, 3, BEFORE)

    @pytest.mark.parametrize(("on_empty", "error"), [("skip", AirflowSkipException), ("fail", ClaudeCodeEmptyDayError)])
    @pytest.mark.parametrize("loaded_before", [True, False])
    def test_skip_and_fail_change_nothing(
        self, target: Target, sandbox: Sandbox, on_empty: str, error: type[Exception], loaded_before: bool
    ) -> None:
        if loaded_before:
            load(target)
        before = target.state()
        serve(sandbox, 0)
        with pytest.raises(error):
            load(target, on_empty=on_empty, lookback_days=1)
        assert target.state() == before

    def test_skip_leaves_only_the_empty_days_alone(self, target: Target, sandbox: Sandbox) -> None:
        sandbox.records = lambda day, _: people(0 if day == DAY else 2, day)
        days = load(target, on_empty="skip", lookback_days=1)
        assert [(day["day"], day["published"]) for day in days] == [(str(BEFORE), True), (str(DAY), False)]
        assert_holds(target, 2, BEFORE)
        assert loads(target) == []

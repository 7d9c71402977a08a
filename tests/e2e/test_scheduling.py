"""Backfills, catching up, clearing, midnight and many sensors, in a real scheduler and triggerer."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.airflow import Airflow, wait_for
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.truth.days import assert_bigquery_holds, assert_files_hold, assert_nothing_is_left, days, people

THIRTY_DAYS = days(date(2025, 10, 1), 30)
FIVE_DAYS = THIRTY_DAYS[:5]


def backfill(airflow: Airflow, dag_id: str, period: Sequence[date]) -> list[dict[str, Any]]:
    """Backfill days and return the runs."""
    airflow.start_backfill(dag_id, period[0], period[-1])
    return airflow.wait_for_backfill(dag_id)


class TestBackfill:
    def test_thirty_days_into_files(self, airflow: Airflow, sandbox: Sandbox) -> None:
        sandbox.requests.clear()
        runs = backfill(airflow, "claude_code_to_object_storage", THIRTY_DAYS)
        assert Counter(run["state"] for run in runs) == {"success": 30}
        for day in THIRTY_DAYS:
            assert_files_hold(airflow.files, sandbox, day)
        assert_nothing_is_left(airflow.files, airflow.temporary)
        asked = Counter(
            dict(request.params)["starting_at"] for request in sandbox.requests if "starting_at" in dict(request.params)
        )
        for day in THIRTY_DAYS:
            assert asked[day.isoformat()] == max(1, math.ceil(people(sandbox, day).total() / 100)), day

    def test_five_days_into_bigquery(
        self, airflow: Airflow, sandbox: Sandbox, bigquery: BigQueryServer, client: Client
    ) -> None:
        runs = backfill(airflow, "claude_code_to_bigquery", FIVE_DAYS)
        assert Counter(run["state"] for run in runs) == {"success": 5}
        assert_bigquery_holds(client, sandbox, FIVE_DAYS)
        loads = list(
            client.query(
                "SELECT date, table_name, count(*) AS loads FROM claude_code.claude_code_loads "
                f"WHERE date BETWEEN '{FIVE_DAYS[0]}' AND '{FIVE_DAYS[-1]}' GROUP BY date, table_name"
            )
        )
        assert {row["loads"] for row in loads} == {1}
        assert len(loads) == 15
        assert_nothing_is_left(airflow.temporary)


def test_catching_up_loads_each_day_since_the_start_once(airflow: Airflow, sandbox: Sandbox) -> None:
    airflow.unpause("catches_up")
    runs = wait_for(
        "all runs of the past",
        lambda: len(runs := airflow.runs("catches_up", state="success")) == 5 and runs,
    )
    assert {run["run_type"] for run in runs} == {"scheduled"}
    # The first tick is that of the start date, whose run is for the day before.
    expected = days(date(2025, 8, 31), 5)
    assert sorted(path.name for path in (airflow.files / "catch_up/usage").iterdir()) == [
        f"dt={day}" for day in expected
    ]
    for day in expected:
        assert_files_hold(airflow.files / "catch_up", sandbox, day)


def test_clearing_a_day_replaces_it_by_what_the_api_says_now(airflow: Airflow, sandbox: Sandbox) -> None:
    day = date(2025, 9, 20)
    run_id = airflow.start_dag("claude_code_to_object_storage", partition_key=day.isoformat())
    assert airflow.wait_for_end("claude_code_to_object_storage", run_id) == "success"
    before = people(sandbox, day)
    # Somebody's usage vanished, and somebody's came late.
    sandbox.records = lambda day, now: [
        record | {"terminal_type": "late"} for record in sandbox.organization.records(day, now)[:-1]
    ]
    try:
        airflow.http.post(
            "/api/v2/dags/claude_code_to_object_storage/clearTaskInstances",
            json={"dag_run_id": run_id, "task_ids": ["load_day"], "dry_run": False, "only_failed": False},
        ).raise_for_status()
        assert airflow.wait_for_end("claude_code_to_object_storage", run_id) == "success"
        assert airflow.task_instances("claude_code_to_object_storage", run_id)["load_day"]["try_number"] == 2
        assert people(sandbox, day) != before
        for looked_back in days(day - timedelta(days=3), 4):
            assert_files_hold(airflow.files, sandbox, looked_back)
    finally:
        sandbox.records = None
    assert_nothing_is_left(airflow.files, airflow.temporary)


@pytest.mark.parametrize("when", ["logical_date", "run_after"])
def test_a_manual_run_without_a_partition_key_loads_the_day_before_it(
    airflow: Airflow, sandbox: Sandbox, when: str
) -> None:
    day = {"logical_date": date(2025, 10, 5), "run_after": date(2025, 10, 12)}[when]
    run_id = airflow.start_dag("claude_code_to_object_storage", **{when: f"{day + timedelta(days=1)}T05:00:00Z"})
    assert airflow.wait_for_end("claude_code_to_object_storage", run_id) == "success"
    assert_files_hold(airflow.files, sandbox, day)
    summary = airflow.get(
        f"dags/claude_code_to_object_storage/dagRuns/{run_id}/taskInstances/load_day/xcomEntries/return_value"
    )
    assert re.findall(r"\d{4}-\d\d-\d\d", str(summary["value"]))[-1] == day.isoformat()


def test_a_run_at_midnight_waits_in_the_triggerer_until_its_day_is_complete(airflow: Airflow, sandbox: Sandbox) -> None:
    airflow.unpause("runs_at_midnight")
    run = wait_for("the scheduled run", lambda: airflow.runs("runs_at_midnight", run_type="scheduled"))[0]
    assert datetime.fromisoformat(run["run_after"]).time() == datetime.min.time()
    run_id = run["dag_run_id"]
    wait_for(
        "the sensor to be deferred",
        lambda: airflow.states("runs_at_midnight", run_id).get("wait_until_complete[0]") == "deferred",
    )
    assert airflow.states("runs_at_midnight", run_id)["load_day"] is None
    assert airflow.wait_for_end("runs_at_midnight", run_id) == "success"
    instances = airflow.task_instances("runs_at_midnight", run_id)
    assert instances["wait_until_complete[0]"]["end_date"] < instances["load_day"]["start_date"]
    yesterday = datetime.fromisoformat(run["run_after"]).astimezone(UTC).date() - timedelta(days=1)
    assert run["partition_key"] == yesterday.isoformat()
    assert_files_hold(airflow.files / "midnight", sandbox, yesterday)


def test_fifty_deferred_sensors_survive_the_death_of_their_triggerer(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.records = lambda day, now: []
    try:
        run_id = airflow.start_dag("fifty_sensors")

        def all_are_deferred() -> bool:
            states = airflow.states("fifty_sensors", run_id)
            return len(states) == 50 and set(states.values()) == {"deferred"}

        wait_for("all sensors to be deferred", all_are_deferred)
        airflow.kill("triggerer", with_children=True)
        asked = len(sandbox.requests)
        airflow.start("triggerer")
        days_asked = wait_for(
            "the new triggerer to ask for every day",
            lambda: (
                len(seen := {dict(request.params).get("starting_at") for request in sandbox.requests[asked:]}) == 50
                and seen
            ),
        )
        assert min(days_asked) == "2025-09-01"
        assert all_are_deferred()
    finally:
        sandbox.records = None
    assert airflow.wait_for_end("fifty_sensors", run_id) == "success"
    instances = airflow.task_instances("fifty_sensors", run_id)
    assert {ti["try_number"] for ti in instances.values()} == {1}

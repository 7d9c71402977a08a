"""More than one machine: CeleryExecutor, Redis and PostgreSQL, and one of two workers killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from airflow_provider_claude_code.sandbox import Faults, Sandbox
from tests.fixtures.airflow import Airflow, wait_for
from tests.fixtures.programs import postgresql, redis
from tests.truth.days import assert_files_hold, assert_nothing_is_left, days

SIXTEEN_DAYS = days(date(2025, 10, 1), 16)
WORKERS = [f"celery worker --skip-serve-logs --concurrency 2 --celery-hostname {name}@localhost" for name in ("a", "b")]


@pytest.fixture(scope="module")
def cluster(connections: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with postgresql() as database, redis() as broker:
        settings = {
            **{f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(value) for conn_id, value in connections.items()},
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            # What a killed worker had taken and not begun is given to another one, after ten minutes by default.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        }
        with Airflow(tmp_path_factory.mktemp("cluster"), database, settings, WORKERS) as airflow:
            yield airflow


def test_a_backfill_ends_exact_though_a_worker_is_killed(cluster: Airflow, sandbox: Sandbox) -> None:
    dag_id = "is_backfilled_by_workers"

    def loading() -> int:
        return cluster.count_tasks(dag_id, task_id="load_day", state="running")

    # Tasks spend their time with reading, so that the killed ones are in the middle of it.
    sandbox.faults = Faults(latency=2)
    try:
        cluster.start_backfill(dag_id, SIXTEEN_DAYS[0], SIXTEEN_DAYS[-1], max_active_runs=8)
        wait_for("some days to be loaded", lambda: len(cluster.runs(dag_id, state="success")) >= 5)
        wait_for("both workers to be loading", lambda: loading() == 4)
        cluster.kill(WORKERS[0], with_children=True)
    finally:
        sandbox.faults = Faults()
    runs = cluster.wait_for_backfill(dag_id)
    assert Counter(run["state"] for run in runs) == {"success": 16}
    tries = Counter(cluster.task_instances(dag_id, run["dag_run_id"])["load_day"]["try_number"] for run in runs)
    assert tries[2] >= 1, "nothing was running in the killed worker"
    for day in SIXTEEN_DAYS:
        assert_files_hold(cluster.files / "workers", sandbox, day)
    assert_nothing_is_left(cluster.files, cluster.temporary)

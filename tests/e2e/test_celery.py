"""More than one machine: CeleryExecutor, Redis and PostgreSQL, and one of two workers killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_claude_code.sandbox import Faults, Sandbox
from tests.e2e.airflow import Airflow, free_port, wait_for
from tests.e2e.truth import assert_files_hold, assert_nothing_is_left, days

THIRTY_DAYS = days(date(2025, 10, 1), 30)
WORKERS = [f"celery worker --skip-serve-logs --concurrency 2 --celery-hostname {name}@localhost" for name in ("a", "b")]


def program(name: str) -> str:
    """Return the path of a program, or skip the test without it."""
    folders = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join([*folders, os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"there is no {name}: install Debian's postgresql and redis-server to run this test")
    return path


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL of its own and give its address."""
    initdb, postgres = program("initdb"), program("postgres")
    # It refuses to run as root.
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if user:
            shutil.chown(folder, **user)
        options = ["--username=airflow", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([initdb, f"--pgdata={folder}/data", *options], check=True, stdout=subprocess.DEVNULL, **user)
        port = free_port()
        process = subprocess.Popen(
            [postgres, "-D", f"{folder}/data", "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "airflow", "-d", "postgres"]
            wait_for("PostgreSQL", lambda: subprocess.run(ready).returncode == 0)
            yield f"airflow@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait()


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis of its own and give its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen([program("redis-server"), *options], stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def cluster(connections: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with postgresql() as database, redis() as broker:
        settings = {
            **{f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(value) for conn_id, value in connections.items()},
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            # What a killed worker had taken and not begun is given to another one, after ten minutes by default.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        }
        with Airflow(tmp_path_factory.mktemp("cluster"), settings, WORKERS) as airflow:
            yield airflow


def test_a_backfill_ends_exact_though_a_worker_is_killed(cluster: Airflow, sandbox: Sandbox) -> None:
    dag_id = "is_backfilled_by_workers"

    def loading() -> int:
        answer = cluster.get(f"dags/{dag_id}/dagRuns/~/taskInstances", task_id="load_day", state="running")
        return int(answer["total_entries"])

    # Tasks spend their time with reading, so that the killed ones are in the middle of it.
    sandbox.faults = Faults(latency=2)
    try:
        cluster.start_backfill(dag_id, THIRTY_DAYS[0], THIRTY_DAYS[-1], max_active_runs=8)
        wait_for("some days to be loaded", lambda: len(cluster.runs(dag_id, state="success")) >= 5)
        wait_for("both workers to be loading", lambda: loading() == 4)
        cluster.kill(WORKERS[0], with_children=True)
    finally:
        sandbox.faults = Faults()
    runs = cluster.wait_for_backfill(dag_id)
    assert Counter(run["state"] for run in runs) == {"success": 30}
    tries = Counter(cluster.task_instances(dag_id, run["dag_run_id"])["load_day"]["try_number"] for run in runs)
    assert tries[2] >= 1, "nothing was running in the killed worker"
    for day in THIRTY_DAYS:
        assert_files_hold(cluster.files / "workers", sandbox, day)
    assert_nothing_is_left(cluster.files, cluster.temporary)

"""A real Airflow for the tests: API server, scheduler, Dag processor and triggerer, beside a sandbox API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_claude_code.sandbox import Sandbox
from tests.servers.bigquery import BigQueryServer

PROJECT = Path(__file__).parents[2]
PATIENCE = 180.0
"""Seconds that anything may take on a slow machine."""


def wait_for(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Return the condition's first true value; the deadline only bounds a failure."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.25)
    return value


class Airflow:
    """The running Airflow, through its public API."""

    def __init__(self, url: str, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = environment
        self.http = httpx.Client(base_url=url, timeout=30)

    def log_in(self) -> bool:
        try:
            response = self.http.get("/auth/token")
        except httpx.TransportError:
            return False
        if not response.is_success:
            return False
        self.http.headers["authorization"] = f"Bearer {response.json()['access_token']}"
        return True

    def cli(self, *arguments: str) -> str:
        """Run the Airflow command line and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_dag(self, dag_id: str, **body: Any) -> str:
        """Unpause a Dag, start a run of it and return the run's id."""
        wait_for(f"the Dag {dag_id}", lambda: self.http.get(f"/api/v2/dags/{dag_id}").is_success)
        self.http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        response = self.http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None} | body)
        assert response.is_success, response.text
        return str(response.json()["dag_run_id"])

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return a run's task instances by task id and map index."""
        response = self.http.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances").raise_for_status()
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti
            for ti in response.json()["task_instances"]
        }

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task instance of a run."""
        return {task: ti["state"] for task, ti in self.task_instances(dag_id, run_id).items()}

    def wait_for_end(self, dag_id: str, run_id: str) -> str:
        """Return the final state of a run."""
        return str(
            wait_for(
                f"the end of {dag_id}",
                lambda: (
                    state
                    if (state := self.http.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"])
                    in ("success", "failed")
                    else None
                ),
            )
        )

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return a task's log."""
        url = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        return self.http.get(url, params={"full_content": True}).raise_for_status().text


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(users=40) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def bigquery() -> Iterator[BigQueryServer]:
    with BigQueryServer(project="demo-proj") as server:
        yield server


@pytest.fixture(scope="session")
def airflow(sandbox: Sandbox, bigquery: BigQueryServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for file in (*(PROJECT / "example_dags").glob("*.py"), *(PROJECT / "tests/e2e/dags").glob("*.py")):
        shutil.copy(file, dags)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        # `airflow standalone` starts its parts by the name of the command.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        # Airflow fails a task that comes back from the triggerer before its worker's end was noticed, which takes
        # up to this many seconds (5 by default) and a turn of the scheduler.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
        "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT": json.dumps(
            {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
        ),
        "CLAUDE_CODE_PATH": f"file://{home}/files",
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(
            {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
        ),
        "BIGQUERY_EMULATOR_HOST": bigquery.url,
    }
    airflow = Airflow(url, home, environment)
    with (home / "standalone.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for("Airflow", airflow.log_in)
            wait_for("the triggerer", lambda: _is_healthy(airflow))
            yield airflow
        finally:
            # Its whole process group, which nobody else is in.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _is_healthy(airflow: Airflow) -> bool:
    response = airflow.http.get("/api/v2/monitor/health")
    return response.is_success and all(
        response.json()[component]["status"] == "healthy" for component in ("scheduler", "triggerer", "dag_processor")
    )

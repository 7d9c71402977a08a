"""A real Airflow in processes of its own, used through its command line and its public API."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.airflow_version import AIRFLOW

PROJECT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds that anything may take on a slow machine."""

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
DAG_FOLDERS = (PROJECT / "example_dags", PROJECT / "tests/e2e/dags")


def wait_for(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Return the condition's first true value; the deadline only bounds a failure."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.25)
    return value


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


class Airflow:
    """
    An Airflow; a context manager.

    :param home: an empty folder for its configuration, logs and Dags.
    :param environment: more settings, Connections among them.
    :param workers: commands that start workers, for an executor that does not start them itself.
    :param dag_folders: where its Dags are copied from: the example Dags and those of these tests by default.
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        workers: Sequence[str] = (),
        dag_folders: Sequence[Path] = DAG_FOLDERS,
    ) -> None:
        self.home = home
        self._components = (*COMPONENTS, *workers)
        self.files = home / "files"
        self.report = home / "reports" / "claude_code.html"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: list[int] = []
        dags = home / "dags"
        dags.mkdir(parents=True)
        for folder in dag_folders:
            for file in folder.glob("*.py"):
                shutil.copy(file, dags)
        # Where killed tasks leave their spools, and nobody else anything.
        self.temporary = home / "tmp"
        self.temporary.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self.environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "NO_PROXY": "127.0.0.1,localhost",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # The Dags do not change, and to parse them twice a minute takes as long as many tasks.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            # Airflow fails a task that comes back from the triggerer before its worker's end was noticed, which takes
            # up to this many seconds (5 by default) and a turn of the scheduler.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # What was killed is to be noticed while somebody waits for it.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
            "CLAUDE_CODE_PATH": f"file://{self.files}",
            "CLAUDE_CODE_REPORT_PATH": str(self.report),
            "CLAUDE_CODE_REPORT_TO": "manager@example.com",
            **environment,
        }
        # A proxy of the machine is not for what stays on it.
        self.environment["no_proxy"] = self.environment["NO_PROXY"]

    def __enter__(self) -> Self:
        self.cli("db", "migrate")
        try:
            for component in self._components:
                self.start(component)
            wait_for("the API server", lambda: self._all_run() and self._log_in())
            wait_for("all components", lambda: self._all_run() and self.is_healthy())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            _signal(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        # Also what killed ones left running.
        for group in self._groups:
            _signal(group, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        self.http.close()

    def start(self, component: str) -> None:
        """Start a component, such as ``scheduler``, in a process group of its own."""
        with self._output(component).open("ab") as log:
            self._processes[component] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *component.split()],
                env=self.environment,
                # Not where the sources are, which Python would take in the place of the installed wheel.
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._groups.append(self._processes[component].pid)

    def _output(self, component: str) -> Path:
        return self.home / f"{component.replace(' ', '_')}.log"

    def kill(self, component: str, *, with_children: bool = False) -> None:
        """Kill a component with SIGKILL, and ``with_children`` the tasks and helpers that it started."""
        process = self._processes[component]
        children = psutil.Process(process.pid).children(recursive=True) if with_children else []
        process.kill()
        process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def _all_run(self) -> bool:
        """Fail with its output if a component has ended."""
        for component, process in self._processes.items():
            assert process.poll() is None, self._output(component).read_text()
        return True

    def _log_in(self) -> bool:
        try:
            response = self.http.get("/auth/token")
        except httpx.TransportError:
            return False
        if not response.is_success:
            return False
        self.http.headers["authorization"] = f"Bearer {response.json()['access_token']}"
        return True

    def is_healthy(self) -> bool:
        """Say whether the scheduler, the triggerer and the Dag processor give signs of life."""
        response = self.http.get("/api/v2/monitor/health")
        return response.is_success and all(
            response.json()[component]["status"] == "healthy"
            for component in ("scheduler", "triggerer", "dag_processor")
        )

    def cli(self, *arguments: str) -> str:
        """Run the Airflow command line and return what it prints."""
        return self.python("-m", "airflow", *arguments)

    def python(self, *arguments: str) -> str:
        """Run the Python that Airflow runs on, beside it, and return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str, **parameters: Any) -> Any:
        """Ask the public API."""
        response = self.http.get(f"/api/v2/{path}", params=parameters)
        assert response.is_success, f"{response.status_code} {response.text}"
        return response.json()

    def unpause(self, dag_id: str) -> None:
        """Unpause a Dag once it has been parsed."""
        self._set_paused(dag_id, False)

    def pause(self, dag_id: str) -> None:
        """Pause a Dag once it has been parsed."""
        self._set_paused(dag_id, True)

    def _set_paused(self, dag_id: str, is_paused: bool) -> None:
        wait_for(f"the Dag {dag_id}", lambda: self.http.get(f"/api/v2/dags/{dag_id}").is_success)
        self.http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": is_paused}).raise_for_status()

    def end_scheduled_runs(self, dag_id: str) -> None:
        """
        End the run that the scheduler starts as soon as a Dag with a schedule is unpaused.

        It is for yesterday, so in the first hour of a UTC day it waits, and keeps others waiting.
        """
        if self.get(f"dags/{dag_id}")["timetable_summary"] is None:
            return
        for run in wait_for(f"the scheduled run of {dag_id}", lambda: self.runs(dag_id, run_type="scheduled")):
            self._end_run(f"/api/v2/dags/{dag_id}/dagRuns/{run['dag_run_id']}")

    def _end_run(self, url: str) -> None:
        # The API server answers 500 when the scheduler changes the run at the same moment.
        wait_for(f"the end of {url}", lambda: self.http.patch(url, json={"state": "failed"}).is_success)

    def start_dag(self, dag_id: str, **body: Any) -> str:
        """Unpause a Dag, start a run of it and return the run's id."""
        self.unpause(dag_id)
        self.end_scheduled_runs(dag_id)
        response = self.http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None} | body)
        assert response.is_success, response.text
        return str(response.json()["dag_run_id"])

    def start_day(self, dag_id: str, day: date) -> str:
        """Start a run that is about a UTC day: its partition, or where there are none, the day before the run."""
        if AIRFLOW >= (3, 2):
            return self.start_dag(dag_id, partition_key=day.isoformat())
        return self.start_dag(dag_id, logical_date=f"{day + timedelta(days=1)}T00:00:00Z")

    def start_backfill(self, dag_id: str, first: date, last: date, max_active_runs: int = 4) -> None:
        """Unpause a Dag and backfill it through the command line."""
        self.unpause(dag_id)
        window = ["--from-date", first.isoformat(), "--to-date", last.isoformat()]
        self.cli("backfill", "create", "--dag-id", dag_id, *window, "--max-active-runs", str(max_active_runs))

    def wait_for_backfill(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a Dag's backfill once it has ended."""
        (backfill,) = self.get("backfills", dag_id=dag_id)["backfills"]
        wait_for(
            f"the backfill of {dag_id}",
            lambda: self.get(f"backfills/{backfill['id']}")["completed_at"],
            patience=6 * PATIENCE,
        )
        return self.runs(dag_id, run_type="backfill")

    def runs(self, dag_id: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the runs of a Dag, at most a hundred."""
        runs: list[dict[str, Any]] = self.get(f"dags/{dag_id}/dagRuns", limit=100, **parameters)["dag_runs"]
        return runs

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return a run's task instances by task id and map index."""
        answer = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti
            for ti in answer["task_instances"]
        }

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task instance of a run."""
        return {task: ti["state"] for task, ti in self.task_instances(dag_id, run_id).items()}

    def wait_for_end(self, dag_id: str, run_id: str) -> str:
        """Return the final state of a run."""

        def ended() -> str | None:
            state: str = self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in ("success", "failed") else None

        return str(wait_for(f"the end of {dag_id}", ended))

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return a task's log."""
        url = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        return self.http.get(url, params={"full_content": True}).raise_for_status().text

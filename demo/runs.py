"""Runs of an example Dag through Airflow, in this process, against a sandbox API."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_claude_code.days import complete_from
from airflow_provider_claude_code.sandbox import Sandbox

if TYPE_CHECKING:
    from airflow.sdk import DAG


def last_complete_days(count: int) -> list[date]:
    """Return the last days that are past the API's freshness delay, in order."""
    now = datetime.now(UTC)
    last = now.date() - timedelta(days=1)
    if now < complete_from(last):
        last -= timedelta(days=1)
    return [last - timedelta(days=back) for back in range(count - 1, -1, -1)]


@contextmanager
def prepared_airflow(dag_file: Path, home: Path, environment: dict[str, str]) -> Iterator[TextIO]:
    """
    Make this process an Airflow of its own with a sandbox API to load from.

    :param dag_file: a Dag file; its folder becomes the Dags folder.
    :param home: where Airflow's home and the log go.
    :param environment: environment variables that the Dags need.
    :return: the log, which is open as long as the sandbox runs.
    """
    home.mkdir(parents=True, exist_ok=True)
    with Sandbox() as sandbox, (home / "demo.log").open("w") as log:
        print(f"Sandbox API with an invented organisation: {sandbox.base_url}")
        # Before Airflow is imported: an Airflow of its own for this process and its children.
        os.environ.update(
            AIRFLOW_HOME=str(home / "airflow"),
            AIRFLOW__CORE__DAGS_FOLDER=str(dag_file.resolve().parent),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
            AIRFLOW_CONN_CLAUDE_CODE_DEFAULT=(
                f'{{"conn_type": "claude_code", "host": "{sandbox.base_url}", "password": "{sandbox.api_key}"}}'
            ),
            NO_PROXY="127.0.0.1",
            **environment,
        )
        print("Preparing Airflow's metadata database (about 20 s the first time) ...", flush=True)
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=log, stderr=log)
        yield log


def load_days(dag_id: str, dag_file: Path, days: list[date], log: TextIO) -> bool:
    """
    Run a Dag with a task ``load_day`` for some days, and say how it goes.

    :param dag_id: the Dag.
    :param dag_file: the file it is in.
    :param days: the days.
    :param log: where Airflow's output goes.
    :return: whether all runs succeeded.
    """
    with redirect_stdout(log), redirect_stderr(log):
        dag = load_dag(dag_id, dag_file)
    print(f"Running the Dag {dag_id} for {len(days)} days; each run also loads the 3 days before:")
    for day in days:
        begun = time.perf_counter()
        with redirect_stdout(log), redirect_stderr(log):
            run = run_day(dag, day)
        if run.state != "success":
            print(f"  {day}  FAILED; see {log.name}")
            return False
        loaded = run.get_task_instance("load_day").xcom_pull(task_ids="load_day")["days"][-1]
        rows = ", ".join(f"{count} {table}" for table, count in loaded["rows"].items())
        print(f"  {loaded['day']}  {rows} rows  ({time.perf_counter() - begun:.1f} s)", flush=True)
    return True


def load_dag(dag_id: str, dag_file: Path) -> DAG:
    """Return a Dag of a file, without retries."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    bag = DagBag(dag_file)
    if bag.import_errors:
        raise SystemExit("\n".join(bag.import_errors.values()))
    dag = bag.dags[dag_id]
    for task in dag.tasks:
        # Whoever watches the demo should see a failure now, and not a retry in ten minutes.
        task.retries = 0
        if hasattr(task, "poll_interval"):
            task.poll_interval = 0.2
    return dag


def run_day(dag: Any, day: date) -> Any:
    """Run the Dag for a day: its run is on the day after."""
    return dag.test(logical_date=datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1))

"""
The main job, seen working: ``python -m airflow_provider_claude_code.sandbox.demo DAG_FILE DIRECTORY``.

Runs two example Dags through Airflow, in this process: ``claude_code_to_object_storage`` for the last complete days
against a sandbox API, and ``claude_code_report``, in the file beside it. Then reads the files back and prints what they
say. Needs the extra ``[report]``.
"""

from __future__ import annotations

import argparse
import logging
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
from airflow_provider_claude_code.sandbox.server import Sandbox

if TYPE_CHECKING:
    from airflow.sdk import DAG

DAG_ID = "claude_code_to_object_storage"
REPORT_DAG_ID = "claude_code_report"


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_claude_code.sandbox.demo")
    parser.add_argument("dag_file", type=Path, help="the example Dag")
    parser.add_argument("directory", type=Path, help="where Airflow's home, its log and the files go")
    parser.add_argument("--days", type=int, default=14, help="how many days to load (default: 14)")
    arguments = parser.parse_args()
    home = arguments.directory.resolve()
    files = home / "files"
    report = home / "report.html"
    days = last_complete_days(arguments.days)
    environment = {"CLAUDE_CODE_PATH": f"file://{files}", "CLAUDE_CODE_REPORT_PATH": str(report)}
    with prepared_airflow(arguments.dag_file, home, environment) as log:
        if not load_days(DAG_ID, arguments.dag_file, days, log):
            return 1
        print(f"Running the Dag {REPORT_DAG_ID}, which checks the last week and writes a report on it", flush=True)
        with redirect_stdout(log), redirect_stderr(log):
            made = _run(_load_dag(REPORT_DAG_ID, arguments.dag_file.with_name(f"{REPORT_DAG_ID}.py")), days[-1])
        if made.state != "success":
            print(f"  FAILED; see {log.name}")
            return 1
    print(f"\nFiles: {files}")
    for table in ("usage", "model_usage", "tool_usage"):
        print(f"  {table}/dt=*/{table}.parquet: {len(list((files / table).glob('dt=*/*.parquet')))} days")
    print("  loads/dt=*/: remembers every load; the newest says what is there")
    print("\nRead back from them (cost and value are estimates in US dollars):\n")
    print(_read_back(files, days))
    print(f"\nReport on the last week, for a browser: {report}")
    return 0


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
        print(f"Sandbox API with a made-up organisation: {sandbox.base_url}")
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
        dag = _load_dag(dag_id, dag_file)
    print(f"Running the Dag {dag_id} for {len(days)} days; each run loads the 3 days before again:")
    for day in days:
        begun = time.perf_counter()
        with redirect_stdout(log), redirect_stderr(log):
            run = _run(dag, day)
        if run.state != "success":
            print(f"  {day}  FAILED; see {log.name}")
            return False
        loaded = run.get_task_instance("load_day").xcom_pull(task_ids="load_day")["days"][-1]
        rows = ", ".join(f"{count} {table}" for table, count in loaded["rows"].items())
        print(f"  {loaded['day']}  {rows} rows  ({time.perf_counter() - begun:.1f} s)", flush=True)
    return True


def _load_dag(dag_id: str, dag_file: Path) -> DAG:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    bag = DagBag(dag_file)
    if bag.import_errors:
        raise SystemExit("\n".join(bag.import_errors.values()))
    dag = bag.dags[dag_id]
    for task in dag.tasks:
        # Somebody is watching: better a failure now than a retry in ten minutes.
        task.retries = 0
    return dag


def _run(dag: Any, day: date) -> Any:
    """Run the Dag for a day, whose run comes on the day after."""
    return dag.test(logical_date=datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1))


def _read_back(files: Path, days: list[date]) -> str:
    import pyarrow.dataset as ds

    usage = ds.dataset(files / "usage", format="parquet", partitioning="hive").to_table().to_pandas()
    usage = usage[usage["date"].isin(days)]
    activity = [
        "num_sessions",
        "lines_of_code_added",
        "lines_of_code_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
        "tool_actions_accepted",
        "tool_actions_rejected",
    ]
    people = usage[(usage["actor_type"] == "user_actor") & (usage[activity] > 0).any(axis=1)]
    by_day = usage.groupby("date")
    sums = by_day[activity].sum()
    offered = sums["tool_actions_accepted"] + sums["tool_actions_rejected"]
    table = sums[["num_sessions", "lines_of_code_added", "lines_of_code_removed"]].set_axis(
        ["sessions", "lines added", "lines removed"], axis=1
    )
    table.insert(0, "active people", people.groupby("date")["actor_id"].nunique())
    table["accepted"] = (sums["tool_actions_accepted"] / offered).map("{:.0%}".format)
    # What is billed by use and what subscriptions are worth do not add up.
    for name, customer_type in (("API cost", "api"), ("subscription value", "subscription")):
        of_type = usage[usage["customer_type"] == customer_type]
        table[name] = (of_type.groupby("date")["estimated_cost_cents"].sum() / 100).map("{:.2f}".format)
    table.insert(0, "day", table.index.map(lambda day: f"{day} {day:%a}"))
    return str(table.to_string(index=False))


if __name__ == "__main__":
    logging.captureWarnings(True)
    sys.exit(main())

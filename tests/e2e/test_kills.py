"""SIGKILL leaves no day half-published, and the next try loads it exactly."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.sandbox.charges import refreshed_at
from tests.fixtures.airflow import Airflow, wait_for
from tests.fixtures.organizations import charged, snapshot
from tests.fixtures.servers.bigquery import BigQueryServer, SlowJob
from tests.truth.days import (
    assert_bigquery_holds,
    assert_files_hold,
    assert_files_hold_rows,
    assert_nothing_is_left,
)

FETCHED = date(2025, 11, 3)
PUBLISHED = date(2025, 11, 4)
SCHEDULED = date(2025, 11, 5)


def assert_files_hold_charges(files: Path, sandbox: Sandbox, day: date) -> None:
    assert_files_hold_rows(files, day, charged(sandbox.organization, day, refreshed_at(datetime.now(UTC))))


def assert_files_hold_members(files: Path, sandbox: Sandbox, day: date) -> None:
    assert_files_hold_rows(files, day, snapshot(sandbox.organization, datetime.now(UTC)))


HOLD = {"usage": assert_files_hold, "cost": assert_files_hold_charges, "members": assert_files_hold_members}
"""By stream, what compares the files of a day with what the sandbox tells."""


@pytest.fixture
def hangs_on_page_two(airflow: Airflow, sandbox: Sandbox) -> Iterator[Callable[[], bool]]:
    """Let a task hang after the first page of a day, and return whether it does."""
    # A task of an earlier test would hang in the place of the one to kill.
    wait_for("the tasks of earlier tests to end", lambda: airflow.count_tasks("~", state=["queued", "running"]) == 0)
    asked = len(sandbox.requests)
    sandbox.faults = Faults(status=529, page=2, retry_after="1")
    yield lambda: any(request.status == 529 for request in sandbox.requests[asked:])
    sandbox.faults = Faults()


def task_process(airflow: Airflow, dag_id: str, run_id: str) -> int:
    """Return the process id of the running task."""
    instance = airflow.task_instances(dag_id, run_id)["load_day"]
    assert instance["state"] == "running"
    return int(instance["pid"])


def parent(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid:"))
    return int(line.split()[1])


def assert_ended_exactly(
    airflow: Airflow, sandbox: Sandbox, dag_id: str, run_id: str, day: date, stream: str = "usage"
) -> None:
    assert airflow.wait_for_end(dag_id, run_id) == "success"
    assert airflow.task_instances(dag_id, run_id)["load_day"]["try_number"] >= 2
    HOLD[stream](airflow.files / "kills", sandbox, day)
    assert_nothing_is_left(airflow.files, airflow.temporary)


@pytest.mark.parametrize("victim", ["task", "worker"])
def test_a_task_killed_while_it_fetches(
    airflow: Airflow, sandbox: Sandbox, hangs_on_page_two: Callable[[], bool], victim: str
) -> None:
    """A worker is a task's supervisor; without it nobody tells the scheduler, who notices by itself."""
    before = sorted(airflow.files.glob("kills/*/*/*"))
    run_id = airflow.start_dag("killed_while_fetching", conf={"day": FETCHED.isoformat()})
    wait_for("the task to hang", hangs_on_page_two)
    pid = task_process(airflow, "killed_while_fetching", run_id)
    assert list(airflow.temporary.glob("airflow-provider-claude-code-*/*")), "the first page is spooled"
    if victim == "worker":
        os.kill(parent(pid), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert sorted(airflow.files.glob("kills/*/*/*")) == before, "nothing was published"
    assert list(airflow.temporary.glob("airflow-provider-claude-code-*/*")), "the kill was too hard for a clean-up"
    sandbox.faults = Faults()
    assert_ended_exactly(airflow, sandbox, "killed_while_fetching", run_id, FETCHED)


@pytest.mark.parametrize("stream", ["cost", "members"])
def test_a_task_killed_while_it_fetches_another_stream(
    airflow: Airflow, sandbox: Sandbox, hangs_on_page_two: Callable[[], bool], stream: str
) -> None:
    today = datetime.now(UTC).date()
    charged = (today - timedelta(days=back) for back in range(3, 10))
    # Several pages of charges take a day on which people work.
    day = today if stream == "members" else next(day for day in charged if day.weekday() in (0, 1))
    run_id = airflow.start_dag(f"killed_while_fetching_{stream}", conf={"day": day.isoformat()})
    wait_for("the task to hang", hangs_on_page_two)
    pid = task_process(airflow, f"killed_while_fetching_{stream}", run_id)
    assert list(airflow.temporary.glob("airflow-provider-claude-code-*/*")), "the first page is spooled"
    os.kill(pid, signal.SIGKILL)
    assert not list(airflow.files.glob(f"kills/{stream}/*/*")), "nothing was published"
    sandbox.faults = Faults()
    assert_ended_exactly(airflow, sandbox, f"killed_while_fetching_{stream}", run_id, day, stream)


def test_a_task_killed_between_two_files_of_a_day(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id = airflow.start_dag("killed_while_publishing_files", conf={"day": PUBLISHED.isoformat()})
    wait_for("the first file to be in its place", (airflow.home / "publishing").exists)
    pid = task_process(airflow, "killed_while_publishing_files", run_id)
    folder = airflow.files / "kills"
    assert len(list(folder.glob(f"*usage/dt={PUBLISHED}/*.parquet"))) == 1, "the day is inconsistent for now"
    os.kill(pid, signal.SIGKILL)
    assert_ended_exactly(airflow, sandbox, "killed_while_publishing_files", run_id, PUBLISHED)


def test_a_task_killed_while_bigquery_loads_one_table_of_a_day(
    airflow: Airflow, sandbox: Sandbox, bigquery: BigQueryServer, client: Client
) -> None:
    release = threading.Event()
    # It ends after the task that started it, whether somebody cancels it or not.
    bigquery.faults = [SlowJob(table="claude_code_model_usage", times=1, release=release, cancellable=False)]
    try:
        run_id = airflow.start_dag("killed_while_publishing_to_bigquery", conf={"day": PUBLISHED.isoformat()})
        wait_for(
            "the slow job",
            lambda: any(
                job.state == "RUNNING" and str(job.destination).startswith("kills.claude_code_model_usage")
                for job in bigquery.jobs
            ),
        )
        pid = task_process(airflow, "killed_while_publishing_to_bigquery", run_id)
        os.kill(pid, signal.SIGKILL)
        wait_for(
            "the second try",
            lambda: (
                airflow.task_instances("killed_while_publishing_to_bigquery", run_id)["load_day"]["try_number"] == 2
            ),
        )
    finally:
        release.set()
        bigquery.faults = []
    assert airflow.wait_for_end("killed_while_publishing_to_bigquery", run_id) == "success"
    assert_bigquery_holds(client, sandbox, [PUBLISHED], dataset="kills")
    assert_nothing_is_left(airflow.temporary)


@pytest.mark.parametrize("heeded", [True, False])
def test_tasks_that_time_out_while_bigquery_loads(
    airflow: Airflow, sandbox: Sandbox, bigquery: BigQueryServer, client: Client, heeded: bool
) -> None:
    """Whether their jobs can be cancelled or land all the same, `loads` says what the tables hold."""
    dataset = f"timed_out_{heeded}".lower()
    client.create_dataset(dataset)
    tables = [f"{task}_{table}" for task in ("waiting", "deferred") for table in ("usage", "model_usage", "tool_usage")]
    landing = threading.Event()
    bigquery.faults = [SlowJob(table=table, release=landing, cancellable=heeded) for table in tables]
    asked = len(bigquery.requests)
    try:
        run_id = airflow.start_dag("timed_out_in_bigquery", conf={"day": PUBLISHED.isoformat(), "dataset": dataset})
        wait_for(
            "all jobs to be cancelled",
            lambda: (
                len({request.path for request in bigquery.requests[asked:] if request.method == "jobs.cancel"})
                == len(tables)
            ),
        )
        landing.set()
        assert airflow.wait_for_end("timed_out_in_bigquery", run_id) == "failed"
    finally:
        landing.set()
        bigquery.faults = []
    assert set(airflow.states("timed_out_in_bigquery", run_id).values()) == {"failed"}
    jobs = [
        job for job in bigquery.jobs if str(job.destination).partition("$")[0] in {f"{dataset}.{t}" for t in tables}
    ]
    assert [(job.state, job.reason) for job in jobs] == [("DONE", "stopped" if heeded else None)] * len(tables)
    for task in ("waiting", "deferred"):
        remembered = {row["table_name"]: row for row in client.list_rows(f"{dataset}.{task}_loads")}
        assert len(remembered) == (0 if heeded else 3)
        for table in ("usage", "model_usage", "tool_usage"):
            held = list(client.list_rows(f"{dataset}.{task}_{table}"))
            assert len(held) == (0 if heeded else remembered[table]["row_count"])
            assert {row["loaded_at"] for row in held} == (set() if heeded else {remembered[table]["loaded_at"]})
    assert_nothing_is_left(airflow.temporary)


def test_a_scheduler_killed_while_a_task_fetches(
    airflow: Airflow, sandbox: Sandbox, hangs_on_page_two: Callable[[], bool]
) -> None:
    """Its worker goes on without it, beside the try that the next scheduler starts."""
    run_id = airflow.start_dag("killed_while_fetching", conf={"day": SCHEDULED.isoformat()})
    wait_for("the task to hang", hangs_on_page_two)
    first = task_process(airflow, "killed_while_fetching", run_id)
    airflow.kill("scheduler")
    airflow.start("scheduler")
    wait_for("the new scheduler", airflow.is_healthy)
    sandbox.faults = Faults()
    assert airflow.wait_for_end("killed_while_fetching", run_id) == "success"
    wait_for("the orphan to end", lambda: not Path(f"/proc/{first}").exists())
    assert_files_hold(airflow.files / "kills", sandbox, SCHEDULED)
    assert_nothing_is_left(airflow.files, airflow.temporary)

"""Load jobs: their ids, their start, and those that earlier tries have left."""

import itertools
import re
import threading
from typing import Any

import pytest

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget
from tests.fixtures.bigquery import (
    BEFORE,
    Connect,
    Dataset,
    Killed,
    Row,
    context,
    kill,
    load,
    load_and_die_before_waiting,
    operator,
    until,
)
from tests.fixtures.records import TABLES, people
from tests.fixtures.servers.bigquery import DroppedConnection, HttpError, JobRecord, SlowJob
from tests.fixtures.serving import serve


class TestJobs:
    def test_ids_differ_by_task_instance_day_load_and_table(self, sandbox: Sandbox, dataset: Dataset) -> None:
        base_case: Row = {"dag_id": "d", "run_id": "r", "task_id": "load", "map_index": -1, "try_number": 1}
        different = [{}, {"dag_id": "d2"}, {"run_id": "r2"}, {"task_id": "t2"}, {"map_index": 0}, {"try_number": 2}, {}]
        ids: list[str] = []
        for change in different:
            summary = operator(dataset).execute(context(dataset, **(base_case | change)))
            ids += summary["days"][0]["jobs"].values()
        ids += operator(dataset, BEFORE).execute(context(dataset, **base_case))["days"][0]["jobs"].values()
        assert len(set(ids)) == 3 * 8
        assert {job.id for job in dataset.jobs() if "loads" not in (job.destination or "")} == set(ids)
        for job_id in ids:
            assert re.fullmatch("[A-Za-z0-9_-]{1,1024}", job_id)
            assert re.search("_2025(0901|0831)_[123]_[012]$", job_id)
        # Without the separators being there, "d" and "r1" would be "dr" and "1".
        one = operator(dataset).execute(context(dataset, dag_id="x", run_id="yz"))["days"][0]["jobs"]["usage"]
        other = operator(dataset).execute(context(dataset, dag_id="xy", run_id="z"))["days"][0]["jobs"]["usage"]
        assert one != other

    def test_another_deployments_jobs_on_another_dataset_are_not_taken_for_its_own(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        # Production and staging with the same Dags, and so the same ids of runs, share a project.
        staging = Dataset(dataset.server)
        load(dataset, run_id="scheduled__2025-09-02")
        serve(sandbox, 5)
        load(staging, run_id="scheduled__2025-09-02")
        dataset.assert_holds(people(3))
        staging.assert_holds(people(5))
        assert len(staging.jobs()) == 4
        # Nor do they stop each other's.
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id="scheduled__2025-09-03")
        load(staging, run_id="scheduled__2025-09-03", try_number=2)
        assert dataset.requests("jobs.cancel") == []

    def test_each_is_one_truncating_load_of_a_partition_with_labels(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, labels={"team": "devex"})
        configurations = [request.json["configuration"] for request in dataset.requests("jobs.insert")]
        assert [
            (load["load"]["destinationTable"]["tableId"], load["load"]["writeDisposition"]) for load in configurations
        ] == [
            ("claude_code_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_model_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_tool_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_loads", "WRITE_APPEND"),
        ]
        for configuration in configurations:
            load_label = configuration["labels"].pop("claude_code_load")
            assert re.fullmatch(r"\d{8}t\d{6}-\d{6}z-[0-9a-f]{8}", load_label)
            assert configuration["labels"] == {"airflow-dag": "d", "airflow-task": "load", "team": "devex"}

    def test_ids_that_no_label_can_hold_do_not_matter(self, sandbox: Sandbox, dataset: Dataset) -> None:
        operator(dataset).execute(context(dataset, dag_id="Ünfit for/labels", task_id="group." + "x" * 100))
        dataset.assert_holds(people(3))

    def test_all_three_are_started_before_one_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", release=release) for table in TABLES]
        thread = threading.Thread(target=lambda: load(dataset))
        thread.start()
        until(lambda: len(dataset.jobs()) == 3)
        until(lambda: dataset.requests("jobs.get"))
        assert {job.state for job in dataset.jobs()} == {"RUNNING"}
        assert dataset.names() >= {"loads"}
        assert dataset.rows("loads") == []
        release.set()
        thread.join(20)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("table", ["usage", "loads"])
    def test_one_whose_acceptance_got_lost_is_not_started_twice(
        self, sandbox: Sandbox, dataset: Dataset, table: str
    ) -> None:
        dataset.server.faults = [DroppedConnection(table=f"claude_code_{table}", times=1)]
        load(dataset)
        assert None in {request.status for request in dataset.requests("jobs.insert")}
        assert len(dataset.jobs()) == 4
        dataset.assert_holds(people(3))
        assert len(dataset.rows("loads")) == 3

    def test_one_whose_acceptance_got_lost_and_that_is_not_found_at_first_is_not_given_up(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        # BigQuery may refuse an id as taken before it finds the job (googleapis/python-bigquery#2134). The first
        # request for a job looks for one of an earlier try.
        dataset.server.faults = [
            DroppedConnection(table="claude_code_usage", times=1),
            HttpError(method="jobs.get", nth=2, times=1, status=404, reason="notFound"),
        ]
        load(dataset)
        assert 409 in {request.status for request in dataset.requests("jobs.insert")}
        assert [request.status for request in dataset.requests("jobs.get")].count(404) == 2
        assert len(dataset.jobs()) == 4
        dataset.assert_holds(people(3))

    def test_one_whose_acceptance_got_lost_and_that_runs_on_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [
            DroppedConnection(table="claude_code_usage", times=1),
            SlowJob(table="claude_code_usage", times=1, release=release),
        ]
        failures: list[BaseException] = []

        def run() -> None:
            try:
                load(dataset)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: len(dataset.jobs()) == 3 and dataset.jobs()[0].state == "RUNNING")
        release.set()
        thread.join(30)
        assert failures == []
        assert len(dataset.jobs()) == 4
        dataset.assert_holds(people(3))

    def test_killing_the_task_cancels_what_it_started(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", seconds=30) for table in TABLES]
        running = operator(dataset)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                running.execute(context(dataset))
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        before = len(dataset.requests("jobs.get"))
        # Once it waits, all are started.
        until(lambda: len(dataset.jobs()) == 7 and len(dataset.requests("jobs.get")) > before)
        running.on_kill()
        thread.join(20)
        assert not thread.is_alive()
        assert [job.reason for job in dataset.jobs()[4:]] == ["stopped"] * 3
        assert [type(failure) for failure in failures] == [ClaudeCodePublishError]
        dataset.assert_holds(people(3))

    def test_killing_the_task_does_not_cancel_jobs_that_have_ended(self, sandbox: Sandbox, dataset: Dataset) -> None:
        # SIGKILL follows soon, so the jobs that run must not wait for requests about the days before.
        running = operator(dataset, lookback_days=2)
        days_loaded = itertools.count(1)
        finish = running._finish

        def killed_on_the_third_day(*arguments: Any) -> Any:
            if next(days_loaded) == 3:
                running.on_kill()
            return finish(*arguments)

        dataset.server.faults = [SlowJob(table="claude_code_usage", nth=3, seconds=30)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "_finish", killed_on_the_third_day)
            with pytest.raises(ClaudeCodePublishError, match="cancelled"):
                running.execute(context(dataset))
        of_third_day = [job.id for job in dataset.jobs()[8:]]
        assert [request.path.split("/")[-2] for request in dataset.requests("jobs.cancel")] == of_third_day

    def test_killing_a_task_that_has_started_nothing_is_no_error(self, dataset: Dataset) -> None:
        operator(dataset).on_kill()


class TestEarlierTries:
    @pytest.mark.parametrize("table", [*TABLES])
    def test_a_job_left_running_is_cancelled_before_the_new_ones_start(
        self, sandbox: Sandbox, dataset: Dataset, table: str, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        load(dataset, run_id=dataset.run, try_number=2)
        self.assert_settled_first(dataset, left, "stopped")
        release.set()
        dataset.assert_holds(people(2))

    def test_one_that_does_not_heed_it_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release, cancellable=False)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        retry = threading.Thread(target=lambda: load(dataset, run_id=dataset.run, try_number=2))
        retry.start()
        until(lambda: dataset.requests("jobs.cancel"))
        assert len(dataset.jobs()) == 3
        release.set()
        retry.join(20)
        self.assert_settled_first(dataset, left, None)
        dataset.assert_holds(people(2))

    def test_one_of_a_try_before_the_last_is_found_when_the_last_started_none(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_tool_usage", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        connect(retry_budget=0)
        sandbox.faults = Faults(status=500)
        with pytest.raises(ClaudeCodeServerError):
            load(dataset, run_id=dataset.run, try_number=2)
        sandbox.faults = Faults()
        load(dataset, run_id=dataset.run, try_number=3)
        self.assert_settled_first(dataset, left, "stopped")
        dataset.assert_holds(people(3))

    def test_one_of_a_later_attempt_is_found_when_the_first_attempt_started_none(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Another writer is faster, so the first attempt of try 1 ends before its jobs.
        start = BigQueryTarget.start
        overtaken: list[bool] = []

        def overtake(target: Any, *arguments: Any, **options: Any) -> Any:
            if not overtaken:
                overtaken.append(True)
                load(dataset)
                dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release)]
                monkeypatch.setattr(BigQueryTarget, "finish", kill)
            return start(target, *arguments, **options)

        finish = BigQueryTarget.finish
        monkeypatch.setattr(BigQueryTarget, "start", overtake)
        with pytest.raises(Killed):
            load(dataset, run_id=dataset.run)
        monkeypatch.setattr(BigQueryTarget, "finish", finish)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        load(dataset, run_id=dataset.run, try_number=2)
        release.set()
        until(lambda: {job.state for job in dataset.jobs()} == {"DONE"})
        dataset.assert_holds(people(2))
        self.assert_settled_first(dataset, left, "stopped")

    def test_rows_that_an_earlier_try_lands_late_count_as_rows_that_an_empty_answer_must_not_erase(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [
            SlowJob(table=f"claude_code_{table}", times=1, release=release, cancellable=False) for table in TABLES
        ]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        serve(sandbox, 0)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                load(dataset, run_id=dataset.run, try_number=2)
            except BaseException as failure:
                failures.append(failure)

        retry = threading.Thread(target=run)
        retry.start()
        until(lambda: dataset.requests("jobs.cancel") or failures)
        release.set()
        retry.join(20)
        assert [type(failure) for failure in failures] == [ClaudeCodeEmptyDayError]
        assert len(dataset.rows("usage")) == 3

    def test_other_days_and_other_tasks_are_left_running(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=2, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run, day=BEFORE)
        load_and_die_before_waiting(dataset, run_id="another")
        load(dataset, run_id=dataset.run, try_number=2)
        assert [job.state for job in dataset.jobs()].count("RUNNING") == 2
        assert dataset.requests("jobs.cancel") == []

    @staticmethod
    def assert_settled_first(dataset: Dataset, left: JobRecord, reason: str | None) -> None:
        jobs = {job.id: job for job in dataset.jobs()}
        assert (jobs[left.id].state, jobs[left.id].reason) == ("DONE", reason)
        ended = jobs[left.id].ended
        prefix, number, _ = left.id.rsplit("_", 2)
        new = [job for job in jobs.values() if job.id.startswith(f"{prefix}_{int(number) + 1}_")]
        assert len(new) == 4
        assert ended is not None
        assert all(ended < job.started for job in new)

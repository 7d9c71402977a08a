"""A task that defers leaves the worker while its jobs run."""

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_claude_code.exceptions import ClaudeCodePublishError
from airflow_provider_claude_code.sandbox import Sandbox, cost_report
from airflow_provider_claude_code.targets.bigquery.jobs import LoadJobs
from airflow_provider_claude_code.transfers.progress import Progress
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowTaskTimeout
from tests.fixtures.airflow_version import TaskDeferred
from tests.fixtures.bigquery import BEFORE, Connect, Dataset, Row, context, load, operator, until, users_table
from tests.fixtures.deferral import fire, serialize, through_airflow
from tests.fixtures.records import DAY, TABLES, Json, people
from tests.fixtures.servers.bigquery import FailingJob, HttpError, SlowJob
from tests.fixtures.serving import serve
from tests.truth.records import canonical, flat

ACTION = {"accepted": 1, "rejected": 0}


@contextmanager
def airflow_times_out(limit: timedelta) -> Iterator[None]:
    """End the running code with an alarm, as Airflow's task runner does."""

    def end(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def stored_size(trigger: Any) -> int:
    """Return how many bytes Airflow's database keeps of a trigger's arguments."""
    arguments = json.dumps(serialize(trigger.serialize()[1]))
    return len(Fernet(Fernet.generate_key()).encrypt(arguments.encode()))


class TestDeferrable:
    def begin(self, dataset: Dataset, **arguments: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferral:
            operator(dataset, deferrable=True, poll_interval=0.01, **arguments).execute(
                context(dataset, run_id=dataset.run)
            )
        return deferral.value

    def resume(self, dataset: Dataset, deferral: TaskDeferred, event: Any = None, **arguments: Any) -> dict[str, Any]:
        resumed = operator(dataset, deferrable=True, poll_interval=0.01, **arguments)
        kwargs = through_airflow(dict(deferral.kwargs or {}))
        event = event or fire(deferral.trigger)
        summary: dict[str, Any] = getattr(resumed, deferral.method_name)(
            context(dataset, run_id=dataset.run), event=event, **kwargs
        )
        return summary

    def test_it_starts_the_jobs_defers_and_finishes(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        assert len(dataset.jobs()) == 3
        assert dataset.rows("loads") == []
        summary = self.resume(dataset, deferral)
        dataset.assert_holds(people(3))
        load(direct := Dataset(dataset.server))
        assert [set(day) for day in summary["days"]] == [set(day) for day in load(direct)["days"]]
        assert summary["days"][0]["rows"] == {"usage": 3, "model_usage": 3, "tool_usage": 12}

    def test_its_arguments_hold_no_address_and_no_key(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        text = json.dumps([deferral.kwargs, deferral.trigger.serialize()])
        assert "person-" not in text
        assert "@" not in text
        assert sandbox.api_key not in text

    def test_the_trigger_waits_until_the_last_job_has_ended(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_tool_usage", release=release)]
        deferral = self.begin(dataset)
        slow = dataset.jobs()[-1]
        assert slow.state == "RUNNING"
        events: list[Any] = []
        triggerer = threading.Thread(target=lambda: events.append(fire(deferral.trigger)))
        triggerer.start()
        until(lambda: len([r for r in dataset.requests("jobs.get") if r.path.endswith(slow.id)]) >= 3)
        assert events == []
        release.set()
        triggerer.join(20)
        assert [event["status"] for event in events] == ["success"]
        self.resume(dataset, deferral, events[0])
        dataset.assert_holds(people(3))

    def test_it_defers_for_each_day_of_a_lookback(self, sandbox: Sandbox, dataset: Dataset) -> None:
        days = [DAY - timedelta(days=back) for back in (2, 1, 0)]
        sandbox.records = lambda day, _: people(day.day % 3 + 1, day)
        deferral = self.begin(dataset, lookback_days=2)
        for _ in days[1:]:
            with pytest.raises(TaskDeferred) as again:
                self.resume(dataset, deferral, lookback_days=2)
            deferral = again.value
        summary = self.resume(dataset, deferral, lookback_days=2)
        assert [day["day"] for day in summary["days"]] == [str(day) for day in days]
        for day in days:
            dataset.assert_holds(people(day.day % 3 + 1, day), day)

    def test_the_jobs_of_earlier_days_are_those_that_loaded_their_tables(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a day without charges only the total is loaded."""

        def grouped(_: Any, day: date, groups: list[str], products: list[str]) -> list[list[Json]]:
            bounds = {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z"}
            cost = {"amount": "0", "list_amount": "0", "currency": "USD", "requests": 0}
            return [] if groups else [[{**bounds, "group": {}, "cost": cost}]]

        monkeypatch.setattr(cost_report, "grouped", grouped)
        arguments: dict[str, Any] = {
            "stream": "cost",
            "day": str(datetime.now(UTC).date() - timedelta(days=4)),
            "lookback_days": 1,
        }
        deferral = self.begin(dataset, **arguments)
        with pytest.raises(TaskDeferred) as second:
            self.resume(dataset, deferral, **arguments)
        summary = self.resume(dataset, second.value, **arguments)
        destinations = {job.id: job.destination for job in dataset.jobs()}
        for day in summary["days"]:
            partition = f"claude_code_cost_totals${day['day'].replace('-', '')}"
            assert {table: destinations[job] for table, job in day["jobs"].items()} == {
                "cost_totals": f"{dataset.id}.{partition}"
            }

    def test_a_trigger_remembers_61_days_in_far_less_than_a_column_holds(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        tools = {f"tool_{number}_" + "x" * 60: ACTION for number in range(9)}
        sandbox.records = lambda day, _: people(2, day, tool_actions=tools)
        deferral = self.begin(dataset, lookback_days=1)
        with pytest.raises(TaskDeferred) as second:
            self.resume(dataset, deferral, lookback_days=1)
        sizes = []
        for earlier in (1, 60, 365):
            again = operator(dataset, deferrable=True)
            task = context(dataset, run_id=f"{dataset.run}-{earlier}")
            [day] = json.loads(second.value.trigger.resume)["progress"]["loaded"]
            target = again.open_target(task)
            day = target.whole(day)
            # Later days name only what is new.
            loaded = [day] + [day | {"first_unknown_names": []}] * (earlier - 1)
            try:
                again._load_days(target, again._reader(task), Progress([DAY], loaded), task)
            except TaskDeferred as deferred:
                sizes.append(stored_size(deferred.trigger))
        # A year is too much, and was waited for.
        assert [size < 40_000 for size in sizes] == [True, True]
        dataset.assert_holds(people(2, tool_actions=tools))

    @pytest.mark.parametrize(
        ("name", "tools", "deferred"), [("tool", 500, True), ("tool", 5_000, False), ("工具", 1_500, False)]
    )
    def test_unknown_names_do_not_fill_a_trigger_and_are_stored_whole(
        self, sandbox: Sandbox, dataset: Dataset, name: str, tools: int, deferred: bool
    ) -> None:
        names = sorted(f"{name}_{number}" for number in range(tools))
        sandbox.records = lambda day, _: people(1, day, tool_actions=dict.fromkeys(names, ACTION))
        waiting = operator(dataset, deferrable=True, poll_interval=0.01, lookback_days=3)
        task: Any = context(dataset, run_id=dataset.run)
        step: Callable[[], Any] = lambda: waiting.execute(task)  # noqa: E731
        summary, sizes = None, []
        while summary is None:
            try:
                summary = step()
            except TaskDeferred as deferral:
                sizes.append(stored_size(deferral.trigger))
                event = fire(deferral.trigger)
                step = lambda event=event: waiting.execute_complete(task, event)  # noqa: E731
        assert len(sizes) == (4 if deferred else 0)
        assert all(size < 40_000 for size in sizes)
        assert [day["unknown_names"] for day in summary["days"]] == [tools] * 4
        assert [sorted(day) for day in summary["days"]] == [sorted(summary["days"][0])] * 4
        for row in dataset.loads():
            assert json.loads(row["unknown_names"]) == names

    def test_a_skipped_day_needs_no_deferral(self, sandbox: Sandbox, dataset: Dataset) -> None:
        sandbox.records = lambda day, _: people(0 if day == BEFORE else 3, day)
        deferral = self.begin(dataset, lookback_days=1, on_empty="skip")
        summary = self.resume(dataset, deferral, lookback_days=1, on_empty="skip")
        assert [day["published"] for day in summary["days"]] == [False, True]

    @pytest.mark.parametrize(
        ("reason", "error"), [("backendError", ClaudeCodePublishError), ("invalid", AirflowFailException)]
    )
    def test_a_job_that_fails_meanwhile_fails_the_task(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event, reason: str, error: type[Exception]
    ) -> None:
        dataset.server.faults = [
            SlowJob(table="claude_code_model_usage", release=release),
            FailingJob(table="claude_code_model_usage", reason=reason),
        ]
        deferral = self.begin(dataset)
        release.set()
        with pytest.raises(error, match="previous state: model_usage"):
            self.resume(dataset, deferral)
        assert dataset.rows("loads") == []

    def test_another_writer_meanwhile_makes_it_load_again(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        serve(sandbox, 4)
        load(dataset)
        serve(sandbox, 5)
        with pytest.raises(TaskDeferred) as again:
            self.resume(dataset, deferral)
        self.resume(dataset, again.value)
        dataset.assert_holds(people(5))
        assert len(dataset.loads()) == 2

    @pytest.mark.parametrize("change", ["dataset_id", "table_prefix", "tables"])
    def test_one_whose_arguments_change_meanwhile_touches_nothing(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect, change: str
    ) -> None:
        # What the changed arguments name holds another organisation's full day.
        elsewhere = Dataset(dataset.server) if change == "dataset_id" else dataset
        named: Row = {
            "dataset_id": {"dataset_id": elsewhere.id},
            "table_prefix": {"table_prefix": "rivals_"},
            "tables": {"tables": ["usage"]},
        }[change]
        if change != "tables":
            connect(f"{sandbox.api_key}-rivals")
            operator(dataset, **named).execute(context(dataset))
            connect()
        before = {
            table: [dict(row) for row in dataset.client.list_rows(table)]
            for table in dataset.client.list_tables(elsewhere.id)
        }
        serve(sandbox, 0)
        deferral = self.begin(dataset, on_empty="replace")
        event = fire(deferral.trigger)
        requests = len(dataset.server.requests)
        with pytest.raises(AirflowFailException, match=r"arguments changed.*nothing was changed"):
            self.resume(dataset, deferral, event, on_empty="replace", **named)
        assert {request.http_method for request in dataset.server.requests[requests:]} <= {"GET"}
        for table, rows in before.items():
            assert canonical(map(dict, dataset.client.list_rows(table))) == canonical(rows)

    def test_one_whose_tables_change_hands_meanwhile_touches_nothing(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 0)
        deferral = self.begin(dataset, on_empty="replace")
        event = fire(deferral.trigger)
        for table in (*TABLES, "loads"):
            dataset.client.delete_table(dataset.table_id(table))
            users_table(dataset, table, labels={"claude_code_organization": "somebody-else"})
        with pytest.raises(AirflowFailException, match="somebody-else"):
            self.resume(dataset, deferral, event, on_empty="replace")
        assert dataset.rows("loads") == []

    def test_rows_are_deleted_of_the_own_organisation_only(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A load of no rows that leaves rows behind, and tables that are another's by the time they are deleted.
        load(dataset)
        serve(sandbox, 0)
        truncating, wait = LoadJobs._config, LoadJobs.wait
        monkeypatch.setattr(LoadJobs, "_config", lambda *arguments: truncating(*arguments[:-1], "WRITE_APPEND"))

        def wait_and_change_hands(*arguments: Any) -> None:
            wait(*arguments)
            table = dataset.get("usage")
            table.labels = {"claude_code_organization": "somebody-else"}
            dataset.client.update_table(table, ["labels"])

        monkeypatch.setattr(LoadJobs, "wait", wait_and_change_hands)
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset, on_empty="replace")
        assert len(dataset.rows("usage")) == 3

    def test_an_empty_day_that_replaces_nothing_needs_no_deferral(self, sandbox: Sandbox, dataset: Dataset) -> None:
        serve(sandbox, 0)
        [day] = operator(dataset, deferrable=True).execute(context(dataset))["days"]
        assert (day["published"], day["jobs"]) == (True, {})
        dataset.assert_holds([])

    def test_jobs_that_the_triggerer_cannot_poll_are_waited_for_by_the_task(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        deferral = self.begin(dataset)
        dataset.server.faults = [HttpError(method="jobs.get", status=403, reason="accessDenied")]
        event = fire(deferral.trigger)
        dataset.server.faults = []
        assert event["status"] == "error"
        self.resume(dataset, deferral, event)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("slow", [TABLES, ("model_usage",)], ids="+".join)
    @pytest.mark.parametrize("heeded", [True, False])
    def test_at_the_execution_timeout_jobs_are_cancelled_and_loads_says_what_the_tables_hold(
        self,
        sandbox: Sandbox,
        dataset: Dataset,
        release: threading.Event,
        deferrable: bool,
        slow: tuple[str, ...],
        heeded: bool,
    ) -> None:
        load(dataset)
        serve(sandbox, 4)
        dataset.server.faults = [
            SlowJob(table=f"claude_code_{table}", release=release, cancellable=heeded) for table in slow
        ]

        # A job that does not heed it lands after it was cancelled.
        def land() -> None:
            until(lambda: len(dataset.requests("jobs.cancel")) == len(TABLES))
            release.set()

        lander = threading.Thread(target=land)
        if not heeded:
            lander.start()
        # Enough to start the jobs on a busy machine.
        limit = timedelta(seconds=6)
        if deferrable:
            deferral = self.begin(dataset, execution_timeout=limit)
            # The scheduler would end the deferral without a look at the jobs.
            assert deferral.timeout is None
            event = fire(deferral.trigger)
            assert event["status"] == "timeout"
            with pytest.raises(AirflowTaskTimeout) as timeout:
                self.resume(dataset, deferral, event, execution_timeout=limit)
        else:
            with pytest.raises(AirflowTaskTimeout) as timeout, airflow_times_out(limit):
                operator(dataset).execute(context(dataset))
        if not heeded:
            lander.join(20)
        assert {job.state for job in dataset.jobs()} == {"DONE"}
        landed = set(TABLES) - (set(slow) if heeded else set())
        for table in TABLES:
            assert dataset.content(table) == canonical(flat(people(4 if table in landed else 3), DAY)[table])
        if heeded:
            assert f"previous state: {', '.join(slow)}." in str(timeout.value)
            assert [row["row_count"] for row in dataset.loads()] == [3]
        else:
            dataset.assert_holds(people(4))
            assert [row["row_count"] for row in dataset.loads()] == [3, 4]

    def test_killing_the_deferred_task_cancels_its_jobs(self, sandbox: Sandbox, dataset: Dataset) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", seconds=30) for table in TABLES]
        deferral = self.begin(dataset)
        asyncio.run(deferral.trigger.on_kill())
        until(lambda: {job.state for job in dataset.jobs()} == {"DONE"})
        assert [job.reason for job in dataset.jobs()] == ["stopped"] * 3
        assert dataset.rows("usage") == []

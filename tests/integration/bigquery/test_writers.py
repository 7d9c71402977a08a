"""Writers are killed at any step, or meet another one."""

import itertools
import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.auth.transport.requests import AuthorizedSession

from airflow_provider_claude_code.exceptions import ClaudeCodeEmptyDayError, ClaudeCodePublishError
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.targets.base import StartedLoad
from airflow_provider_claude_code.targets.bigquery.jobs import LoadJobs
from airflow_provider_claude_code.targets.bigquery.schema import DatasetTables
from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from tests.fixtures.bigquery import PROJECT, Dataset, Killed, kill, load
from tests.fixtures.records import DAY, TABLES, people
from tests.fixtures.servers.bigquery import FailingJob
from tests.fixtures.serving import serve
from tests.truth.records import canonical, flat


class Steps:
    """Does something before one of the requests that a writer makes to BigQuery."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
        self.log: list[str] = []
        self._active = True
        owner = threading.get_ident()
        request = AuthorizedSession.request

        def stepped(session: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
            if self._active and threading.get_ident() == owner:
                self.log.append(f"{method} {url.partition('/v2/')[2][:100]}")
                if len(self.log) == number + 1:
                    self._active = False
                    action()
                    self._active = True
            return request(session, method, url, *arguments, **options)

        patch.setattr(AuthorizedSession, "request", stepped)


def _starts_a_job(request: str) -> bool:
    return re.match(f"POST projects/{PROJECT}/jobs", request) is not None


class TestKilledWriters:
    @pytest.mark.parametrize("loaded_before", [False, True])
    def test_killed_before_any_request_leaves_tables_whole_and_the_next_try_fixes_the_day(
        self, sandbox: Sandbox, dataset: Dataset, loaded_before: bool
    ) -> None:
        inconsistent = 0
        serve(sandbox, 2)
        if loaded_before:
            load(dataset)
        for number in itertools.count():
            # Fixed, a dataset serves as the next one that was loaded before.
            fresh = dataset if loaded_before else Dataset(dataset.server)
            run_id = uuid.uuid4().hex
            serve(sandbox, 3)
            with pytest.MonkeyPatch.context() as patch:
                steps = Steps(patch, number, kill)
                try:
                    load(fresh, run_id=run_id)
                    break
                except Killed:
                    pass
            states = set()
            tables = fresh.names()
            for table in TABLES:
                rows = fresh.content(table) if table in tables else []
                old = canonical(flat(people(2 if loaded_before else 0), DAY)[table])
                assert rows in (old, canonical(flat(people(3), DAY)[table]))
                states.add(rows == old)
            inconsistent += len(states) == 2
            serve(sandbox, 2)
            load(fresh, run_id=run_id, try_number=2)
            try:
                fresh.assert_holds(people(2))
                assert fresh.loads()[-1]["row_count"] == 2
            except AssertionError as error:
                error.add_note(f"Killed before request {number}: {steps.log}")
                raise
            if not loaded_before and _starts_a_job(steps.log[-1]):
                # From here on it is as with tables that were there before.
                break
        assert inconsistent == (2 if loaded_before else 0)
        assert number > 12

    def test_killed_after_the_success_but_before_the_task_ended(self, sandbox: Sandbox, dataset: Dataset) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClaudeCodeToBigQueryOperator, "_report", kill)
            with pytest.raises(Killed):
                load(dataset, run_id=dataset.run)
        dataset.assert_holds(people(3))
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(3))
        assert len(dataset.loads()) == 2


class TestTwoWriters:
    def start(self, dataset: Dataset, **arguments: Any) -> Any:
        """Start a load whose day the second half of the test finishes."""
        started: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:

            def remember(target: Any, load: StartedLoad) -> None:
                started.append((target, load))
                raise Killed

            patch.setattr(BigQueryTarget, "finish", remember)
            with pytest.raises(Killed):
                load(dataset, **arguments)
        return started[0]

    def test_one_whose_tables_were_replaced_says_so_and_is_not_remembered(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        target, started = self.start(dataset)
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))
        assert len(dataset.loads()) == 1

    def test_one_that_cannot_delete_its_load_beside_another_is_for_a_retry(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append = LoadJobs.append

        def overtaken(*arguments: Any) -> Any:
            monkeypatch.setattr(LoadJobs, "append", append)
            job = append(*arguments)
            serve(sandbox, 4)
            load(dataset)
            # BigQuery's words and reason. A query writes to no table.
            message = "Could not serialize access to table demo-proj:d.claude_code_loads due to concurrent update"
            dataset.server.faults = [FailingJob(table="", reason="invalidQuery", message=message, times=1)]
            return job

        monkeypatch.setattr(LoadJobs, "append", overtaken)
        with pytest.raises(ClaudeCodePublishError, match=r"due to concurrent update.*Try again later"):
            load(dataset, run_id=dataset.run)
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(4))

    def test_an_empty_load_does_not_erase_the_rows_of_another_writer(self, sandbox: Sandbox, dataset: Dataset) -> None:
        serve(sandbox, 0)
        target, started = self.start(dataset)
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))

    @pytest.mark.parametrize("on_empty", ["write", "replace"])
    @pytest.mark.parametrize("before", [(DatasetTables, "prepare"), (LoadJobs, "append")], ids=["start", "finish"])
    def test_an_empty_load_that_another_writer_overtakes_ends_as_asked_for(
        self,
        sandbox: Sandbox,
        dataset: Dataset,
        monkeypatch: pytest.MonkeyPatch,
        on_empty: str,
        before: tuple[type, str],
    ) -> None:
        step = getattr(*before)

        def overtaken(*arguments: Any) -> Any:
            monkeypatch.setattr(*before, step)
            serve(sandbox, 3)
            load(dataset)
            serve(sandbox, 0)
            return step(*arguments)

        monkeypatch.setattr(*before, overtaken)
        serve(sandbox, 0)
        if on_empty == "write":
            with pytest.raises(ClaudeCodeEmptyDayError, match="usage: 3"):
                load(dataset)
        else:
            load(dataset, on_empty="replace")
        dataset.assert_holds(people(3) if on_empty == "write" else [])
        assert dataset.loads()[-1]["row_count"] == (3 if on_empty == "write" else 0)

    def test_a_table_without_rows_does_not_erase_those_of_another_writer(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        serve(sandbox, 2, model_breakdown=[])
        target, started = self.start(dataset, tables=["model_usage", "usage"])
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))

    def test_one_that_is_always_overtaken_gives_up_with_advice(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = BigQueryTarget.finish
        busy: list[bool] = []

        def overtaken(target: Any, started: StartedLoad) -> Any:
            if not busy:
                busy.append(True)
                load(dataset)
                busy.clear()
            return finish(target, started)

        monkeypatch.setattr(BigQueryTarget, "finish", overtaken)
        with pytest.raises(ClaudeCodePublishError, match="max_active_runs"):
            load(dataset)
        monkeypatch.undo()
        assert len({row["loaded_at"] for table in TABLES for row in dataset.rows(table)}) == 1

"""Errors of BigQuery and failed jobs: whether a retry follows, and what the tables then contain."""

import time

import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodePublishError
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.targets.bigquery import clients, task_jobs
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.bigquery import Dataset, load
from tests.fixtures.records import DAY, people
from tests.fixtures.servers.bigquery import FailingJob, HttpError, Silence
from tests.fixtures.serving import serve
from tests.truth.records import canonical, flat


class TestFailures:
    @pytest.mark.parametrize(
        ("method", "status", "reason"),
        [
            ("jobs.insert", 503, "backendError"),
            ("jobs.insert", 403, "rateLimitExceeded"),
            ("jobs.get", 503, "backendError"),
            ("tables.get", 503, "backendError"),
            ("tabledata.list", 503, "backendError"),
        ],
    )
    def test_what_passes_is_tried_again(
        self, sandbox: Sandbox, dataset: Dataset, method: str, status: int, reason: str
    ) -> None:
        load(dataset)
        dataset.server.faults = [HttpError(method=method, times=1, status=status, reason=reason)]
        serve(sandbox, 2)
        load(dataset)
        assert status in {request.status for request in dataset.server.requests if request.method == method}
        dataset.assert_holds(people(2))
        assert len(dataset.jobs()) == 8

    @pytest.mark.parametrize("method", ["datasets.get", "tables.get", "tabledata.list", "jobs.insert"])
    def test_a_request_that_is_never_answered_is_sent_again(
        self, sandbox: Sandbox, dataset: Dataset, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clients, "TIMEOUT", 2.0)
        load(dataset)
        asked = len(dataset.server.requests)
        dataset.server.faults = [Silence(method=method, times=1)]
        serve(sandbox, 2)
        load(dataset)
        assert (method, None) in {(request.method, request.status) for request in dataset.server.requests[asked:]}
        dataset.assert_holds(people(2))

    @pytest.mark.parametrize(
        ("reason", "status", "error"),
        [
            ("quotaExceeded", 403, ClaudeCodePublishError),
            ("accessDenied", 403, AirflowFailException),
            ("invalid", 400, AirflowFailException),
        ],
    )
    @pytest.mark.parametrize("method", ["jobs.insert", "tables.get", "jobs.get"])
    def test_what_does_not_pass_fails_at_once_and_for_good_only_where_no_retry_helps(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, status: int, error: type[Exception], method: str
    ) -> None:
        load(dataset)
        asked = len(dataset.server.requests)
        dataset.server.faults = [HttpError(method=method, status=status, reason=reason)]
        with pytest.raises(error, match=reason) as failure:
            load(dataset)
        hits = [request for request in dataset.server.requests[asked:] if request.status == status]
        assert len(hits) == 1
        assert "@" not in str(failure.value)
        assert sandbox.api_key not in str(failure.value)

    def test_a_server_that_stays_away_is_an_error_that_a_retry_may_fix(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(dataset)
        dataset.server.faults = [HttpError(method="jobs.insert")]
        monkeypatch.setattr(task_jobs, "START_DEADLINE", 0.2)
        # The upload waits a minute by itself otherwise.
        monkeypatch.setattr(time, "sleep", lambda _: None)
        with pytest.raises(ClaudeCodePublishError):
            load(dataset)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            ("backendError", ClaudeCodePublishError),
            ("quotaExceeded", ClaudeCodePublishError),
            ("rateLimitExceeded", ClaudeCodePublishError),
            ("tableUnavailable", ClaudeCodePublishError),
            ("invalid", AirflowFailException),
            ("aReasonOfTomorrow", AirflowFailException),
        ],
    )
    def test_a_job_that_fails_is_told_with_what_the_tables_hold_and_the_retry_fixes_it(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, error: type[Exception]
    ) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [FailingJob(table="claude_code_model_usage", reason=reason)]
        with pytest.raises(error) as failure:
            load(dataset, run_id=dataset.run)
        [failed] = [job for job in dataset.jobs() if job.reason]
        text = str(failure.value)
        assert "New load: usage, tool_usage; previous state: model_usage." in text
        for part in ("2025-09-01", dataset.table_id("model_usage"), failed.id, reason):
            assert part in text
        # And so it is.
        for table, count in (("usage", 5), ("model_usage", 3), ("tool_usage", 5)):
            assert dataset.content(table) == canonical(flat(people(count), DAY)[table])
        assert len(dataset.loads()) == 1
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(5))

    @pytest.mark.parametrize(
        ("reason", "error"), [("quotaExceeded", ClaudeCodePublishError), ("accessDenied", AirflowFailException)]
    )
    def test_a_job_that_is_refused_after_another_was_started_is_told_and_fixed_by_the_retry(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, error: type[Exception]
    ) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [HttpError(method="jobs.insert", nth=2, status=403, reason=reason)]
        told = "2025-09-01 is inconsistent .* New load: usage; previous state: model_usage, tool_usage."
        with pytest.raises(error, match=f"{reason}.* {told}"):
            load(dataset, run_id=dataset.run)
        # And so it is.
        for table, count in (("usage", 5), ("model_usage", 3), ("tool_usage", 3)):
            assert dataset.content(table) == canonical(flat(people(count), DAY)[table])
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(5))
        assert len(dataset.loads()) == 2

    @pytest.mark.parametrize(
        ("reason", "error"), [("backendError", ClaudeCodePublishError), ("accessDenied", AirflowFailException)]
    )
    def test_a_load_that_cannot_be_remembered_fails_and_the_retry_fixes_it(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, error: type[Exception]
    ) -> None:
        dataset.server.faults = [FailingJob(table="claude_code_loads", reason=reason)]
        with pytest.raises(error, match=rf"2025-09-01 is loaded, but .*claude_code_loads.* {reason}\)"):
            load(dataset, run_id=dataset.run)
        assert dataset.rows("loads") == []
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(3))
        assert len(dataset.rows("loads")) == 3

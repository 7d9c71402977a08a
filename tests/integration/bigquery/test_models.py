"""The models as tables: they are replaced whole, and replace nothing else."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_claude_code.analytics.engines.bigquery_models import ModelJobs
from airflow_provider_claude_code.analytics.queries import models
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowTaskTimeout
from tests.fixtures.airflow_version import TaskDeferred
from tests.fixtures.bigquery import PROJECT, Dataset, Killed, context, kill, load
from tests.fixtures.deferral import fire, through_airflow
from tests.fixtures.old_duckdb import needs_nested_queries
from tests.fixtures.records import people
from tests.fixtures.servers.bigquery import DroppedConnection, FailingJob, SlowJob
from tests.fixtures.serving import serve

TOOLS, COSTS = "tool_acceptance", "model_costs"
SMALL = [TOOLS, COSTS]
"""Models that take little time."""


pytestmark = needs_nested_queries


@pytest.fixture(autouse=True)
def loaded(dataset: Dataset) -> None:
    load(dataset)


def operator(dataset: Dataset, **arguments: Any) -> ClaudeCodeBigQueryModelsOperator:
    defaults = {"task_id": "create", "dataset_id": dataset.id, "models": SMALL, "materialized": "table"}
    return ClaudeCodeBigQueryModelsOperator(**(defaults | {"min_group_size": 1} | arguments))


def create(dataset: Dataset, *, run_id: str | None = None, **arguments: Any) -> dict[str, Any]:
    return operator(dataset, **arguments).execute(context(dataset, run_id=run_id, task_id="create"))


def kinds(dataset: Dataset) -> dict[str, str]:
    """The tables and views other than the loaded tables."""
    loaded = ("usage", "model_usage", "tool_usage", "loads")
    found = {table.table_id: table.table_type for table in dataset.client.list_tables(dataset.id)}
    found = {name.removeprefix("claude_code_"): kind for name, kind in found.items()}
    return {name: kind for name, kind in found.items() if name not in loaded}


def accepted(dataset: Dataset) -> int:
    """How many suggestions the model of tools says were accepted: six for each person of each day."""
    [row] = dataset.query(f"SELECT SUM(accepted) AS accepted FROM {dataset.id}.claude_code_{TOOLS}")
    return int(row["accepted"])


def of(number: int) -> int:
    return sum(action["accepted"] for record in people(number) for action in record["tool_actions"].values())


def statements(dataset: Dataset) -> dict[str, str]:
    """The text of each job of the dataset's models, by its id."""
    found = {}
    for request in dataset.requests("jobs.insert"):
        configuration = request.json["configuration"]
        if "claude_code_try" in configuration.get("labels", ()):
            found[request.json["jobReference"]["jobId"]] = configuration["query"]["query"]
    return found


class TestTables:
    def test_each_model_is_a_table_of_what_its_view_says(self, dataset: Dataset) -> None:
        names = list(models())
        create(dataset, models=names, materialized="view", model_prefix="v_")
        made = create(dataset, models=names)
        assert made["models"] == {name: dataset.table_id(name) for name in names}
        for name in names:
            table, view = dataset.get(name), dataset.client.get_table(f"{PROJECT}.{dataset.id}.v_{name}")
            assert (table.table_type, view.table_type) == ("TABLE", "VIEW")
            assert table.description == view.description
            assert [column.to_api_repr() for column in table.schema] == [column.to_api_repr() for column in view.schema]
            assert {column.name: column.description for column in table.schema} == dict(models()[name].columns)
            rows = [dataset.query(f"SELECT * FROM {dataset.id}.{prefix}{name}") for prefix in ("v_", "claude_code_")]
            assert sorted(map(repr, rows[0])) == sorted(map(repr, rows[1])), name
            assert rows[0] or name not in SMALL
        assert set(kinds(dataset)) == {*names, *(f"v_{name}" for name in names)}

    def test_a_table_shows_a_load_once_it_is_replaced_and_keeps_its_labels(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        create(dataset)
        assert accepted(dataset) == of(3)
        table = dataset.get(TOOLS)
        table.labels = {**table.labels, "cost_centre": "c7"}
        dataset.client.update_table(table, ["labels"])
        serve(sandbox, 5)
        load(dataset)
        assert accepted(dataset) == of(3)
        create(dataset)
        assert accepted(dataset) == of(5)
        assert dataset.get(TOOLS).labels == {"cost_centre": "c7", "claude_code_model": TOOLS}
        # One statement, which BigQuery does whole or not at all.
        last = list(statements(dataset).values())[-1]
        assert last.startswith("CREATE OR REPLACE TABLE")
        assert ";\n" not in last

    def test_small_groups_are_withheld_in_tables(self, dataset: Dataset) -> None:
        create(dataset, min_group_size=4)
        assert dataset.query(f"SELECT * FROM {dataset.id}.claude_code_{TOOLS}") == []

    def test_tables_and_views_are_chosen_by_model(self, dataset: Dataset) -> None:
        create(dataset, materialized={COSTS: "table"})
        assert kinds(dataset) == {COSTS: "TABLE", TOOLS: "VIEW"}

    def test_the_log_says_what_is_billed(
        self, dataset: Dataset, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with caplog.at_level(logging.INFO):
            create(dataset, models=[TOOLS])
            create(dataset, models=[COSTS], materialized="view")
        log = caplog.text + capsys.readouterr().out
        # The least for each of usage, tool_usage and loads; a view reads nothing.
        assert f"Created the table {dataset.table_id(TOOLS)} (30 MiB billed)" in log
        assert f"Created the view {dataset.table_id(COSTS)} (0 MiB billed)" in log

    def test_tables_are_encrypted_with_the_key_that_is_given(self, dataset: Dataset) -> None:
        create(dataset, models=[TOOLS], encryption_configuration={"kmsKeyName": "projects/p/key"})
        assert dataset.get(TOOLS).encryption_configuration.kms_key_name == "projects/p/key"

    @pytest.mark.parametrize("materialized", ["tables", {TOOLS: "incremental"}, {"usage": "table"}, [TOOLS], None])
    def test_what_a_model_cannot_be_is_refused_when_the_dag_is_parsed(
        self, dataset: Dataset, materialized: Any
    ) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match="materialized"):
            operator(dataset, materialized=materialized)

    def test_a_model_that_is_not_created_cannot_be_a_table(self, dataset: Dataset) -> None:
        with pytest.raises(AirflowFailException, match="materialized names adoption, but models does not"):
            create(dataset, materialized={"adoption": "table"})

    def test_a_missing_dataset_is_refused(self, dataset: Dataset) -> None:
        with pytest.raises(AirflowFailException, match="dataset does not exist"):
            create(dataset, model_dataset_id="nowhere")


class TestSwitching:
    def test_a_view_becomes_a_table_and_a_view_again(self, sandbox: Sandbox, dataset: Dataset) -> None:
        for kind in ("view", "table", "view"):
            create(dataset, materialized=kind)
            assert kinds(dataset) == dict.fromkeys(SMALL, kind.upper())
            assert accepted(dataset) == of(3)
            assert dataset.get(TOOLS).labels == {"claude_code_model": TOOLS}

    @pytest.mark.parametrize("statement", [1, 2, 3])
    def test_readers_have_the_view_until_the_table_is_complete(self, dataset: Dataset, statement: int) -> None:
        create(dataset, models=[TOOLS], materialized="view")
        dataset.server.faults = [FailingJob(times=1, statement=statement, reason="backendError")]
        with pytest.raises(ClaudeCodePublishError, match="not replaced: tool_acceptance"):
            create(dataset, models=[TOOLS], run_id=dataset.run)
        if statement < 3:
            assert accepted(dataset) == of(3)
        create(dataset, models=[TOOLS], run_id=dataset.run)
        assert kinds(dataset) == {TOOLS: "TABLE"}
        assert accepted(dataset) == of(3)

    def test_a_view_that_failed_after_the_table_was_dropped_is_created_by_the_retry(self, dataset: Dataset) -> None:
        create(dataset, models=[TOOLS])
        dataset.server.faults = [FailingJob(times=1, statement=2, reason="backendError")]
        with pytest.raises(ClaudeCodePublishError):
            create(dataset, models=[TOOLS], materialized="view")
        create(dataset, models=[TOOLS], materialized="view")
        assert kinds(dataset) == {TOOLS: "VIEW"}


class TestOthers:
    @pytest.mark.parametrize("materialized", ["view", "table"])
    @pytest.mark.parametrize("taken", ["TABLE", "VIEW"])
    def test_what_somebody_else_made_stays_and_nothing_is_created(
        self, dataset: Dataset, taken: str, materialized: str
    ) -> None:
        dataset.query(f"CREATE {taken} {dataset.id}.claude_code_{COSTS} AS SELECT 7 AS mine")
        with pytest.raises(AirflowFailException, match=rf"{COSTS} is a {taken} without the label claude_code_model"):
            create(dataset, materialized=materialized)
        assert kinds(dataset) == {COSTS: taken}
        assert dataset.query(f"SELECT mine FROM {dataset.id}.claude_code_{COSTS}") == [{"mine": 7}]

    def test_a_table_where_the_new_one_would_be_prepared_stays(self, dataset: Dataset) -> None:
        dataset.query(f"CREATE TABLE {dataset.id}.claude_code_{TOOLS}__new AS SELECT 7 AS mine")
        with pytest.raises(AirflowFailException, match=f"{TOOLS}__new is a TABLE without the label"):
            create(dataset)
        assert kinds(dataset) == {f"{TOOLS}__new": "TABLE"}
        create(dataset, materialized="view")
        assert kinds(dataset) == {f"{TOOLS}__new": "TABLE", **dict.fromkeys(SMALL, "VIEW")}


class TestFailures:
    def test_a_job_that_fails_leaves_its_table_as_it_was_and_the_message_says_so(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        create(dataset)
        serve(sandbox, 5)
        load(dataset)
        dataset.server.faults = [FailingJob(times=1, reason="backendError")]
        with pytest.raises(ClaudeCodePublishError) as failure:
            create(dataset)
        assert f"{dataset.table_id(TOOLS)} (" in str(failure.value)
        assert f"backendError. Replaced: {COSTS}; not replaced: {TOOLS}. Try again later." in str(failure.value)
        assert accepted(dataset) == of(3)

    def test_an_error_that_no_retry_fixes_fails_the_task_without_its_text(self, dataset: Dataset) -> None:
        """The mapping has two rows for a person and day."""
        row = "STRUCT('user_actor' AS actor_type, 'person-0@example.com' AS actor_id, '{}' AS team)"
        nulls = "CAST(NULL AS STRING) AS cost_centre, CAST(NULL AS DATE) AS valid_from, CAST(NULL AS DATE) AS valid_to"
        rows = f"SELECT *, {nulls} FROM UNNEST([{row.format('a')}, {row.format('b')}])"
        dataset.query(f"CREATE VIEW {dataset.id}.teams AS {rows}")
        with pytest.raises(AirflowFailException, match="invalidQuery") as failure:
            create(dataset, models=["cost_allocation"], mapping="teams")
        assert "person-0" not in str(failure.value)
        assert kinds(dataset) == {"teams": "VIEW"}

    def test_a_lost_answer_starts_no_second_job(self, dataset: Dataset) -> None:
        dataset.server.faults = [DroppedConnection(times=1)]
        create(dataset)
        assert len(statements(dataset)) == 2
        assert kinds(dataset) == dict.fromkeys(SMALL, "TABLE")

    def test_a_retry_cancels_the_jobs_of_a_killed_try_before_it_starts_its_own(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(dataset)
        dataset.server.faults = [SlowJob(release=release)]
        with monkeypatch.context() as patch:
            patch.setattr(ModelJobs, "wait", kill)
            with pytest.raises(Killed):
                create(dataset, run_id=dataset.run, min_group_size=4)
        dataset.server.faults = []
        create(dataset, run_id=dataset.run)
        ids = list(statements(dataset))
        by_id = {job.id: job for job in dataset.server.jobs}
        first, killed, second = ([by_id[job] for job in ids[start : start + 2]] for start in (0, 2, 4))
        assert [job.reason for job in killed] == ["stopped", "stopped"]
        assert [job.reason for job in (*first, *second)] == [None] * 4
        assert max(job.ended or 0 for job in killed) < min(job.started for job in second)
        assert accepted(dataset) == of(3)

    def test_a_task_that_somebody_ends_cancels_its_jobs(
        self, dataset: Dataset, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset.server.faults = [SlowJob(release=release)]
        task = operator(dataset)
        monkeypatch.setattr(ModelJobs, "wait", kill)
        with pytest.raises(Killed):
            task.execute(context(dataset, task_id="create"))
        task.on_kill()
        assert [job.reason for job in dataset.server.jobs][-2:] == ["stopped", "stopped"]
        assert kinds(dataset) == {}


class TestDeferrable:
    def begin(self, dataset: Dataset, **arguments: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferral:
            create(dataset, run_id=dataset.run, deferrable=True, poll_interval=0.01, **arguments)
        return deferral.value

    def resume(self, dataset: Dataset, deferral: TaskDeferred, **changes: Any) -> dict[str, Any]:
        event = fire(deferral.trigger) | changes
        finish: Callable[..., dict[str, Any]] = getattr(operator(dataset), deferral.method_name)
        return finish(context(dataset, run_id=dataset.run), event=event, **through_airflow(dict(deferral.kwargs or {})))

    def test_it_starts_the_jobs_defers_and_finishes(self, dataset: Dataset) -> None:
        result = self.resume(dataset, self.begin(dataset))
        assert result == create(dataset)
        assert kinds(dataset) == dict.fromkeys(SMALL, "TABLE")

    def test_a_job_that_failed_meanwhile_fails_the_task(self, dataset: Dataset) -> None:
        dataset.server.faults = [FailingJob(times=1, reason="backendError")]
        deferral = self.begin(dataset)
        with pytest.raises(ClaudeCodePublishError, match=f"Replaced: {COSTS}; not replaced: {TOOLS}"):
            self.resume(dataset, deferral)

    def test_jobs_end_at_the_execution_timeout(self, dataset: Dataset, release: threading.Event) -> None:
        dataset.server.faults = [SlowJob(release=release)]
        deferral = self.begin(dataset, execution_timeout=timedelta(microseconds=1))
        with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout.*not replaced: tool_acceptance, model_costs"):
            self.resume(dataset, deferral)
        assert kinds(dataset) == {}

    def test_jobs_that_the_triggerer_could_not_poll_are_waited_for(self, dataset: Dataset) -> None:
        assert self.resume(dataset, self.begin(dataset), status="error", message="No.")["models"]

"""Claude Code usage to BigQuery."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.links import BigQueryJobLink, BigQueryTableLink
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryDatasetMixin, airflow_labels
from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator, Progress
from airflow_provider_claude_code.triggers.bigquery import ClaudeCodeBigQueryJobsTrigger
from airflow_provider_claude_code.version_compat import AirflowTaskTimeout, conf

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_claude_code.tables.loads import Load
    from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget, StartedLoad

LONGEST_RESUME = 24_000
"""
Characters that a trigger may have to remember for a task.

The metadata database keeps a trigger's arguments encrypted, which makes them half as long again, in a column that holds
64 KB on MySQL.
"""


class ClaudeCodeToBigQueryOperator(BigQueryDatasetMixin, ClaudeCodeTransferOperator):
    """
    Load days of Claude Code usage into BigQuery tables, a day to a partition.

    Each of the tables ``claude_code_usage``, ``claude_code_model_usage`` and ``claude_code_tool_usage`` gets one
    load job a day, which replaces that day's partition whole or leaves it. ``claude_code_loads`` remembers the
    load and is appended to last. Tables that are missing are created; columns that are missing are added; a
    table that does not fit is refused before anything is loaded.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.transfers.base.ClaudeCodeTransferOperator`.

    :param dataset_id: the dataset (templated). One organisation to a dataset or ``table_prefix``.
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where the jobs run and a new dataset is created (templated); default: the dataset's own.
    :param table_prefix: what the tables' names begin with (templated).
    :param create_dataset: create the dataset when it is missing.
    :param labels: labels of new tables and of the jobs.
    :param encryption_configuration: ``{"kmsKeyName": ...}`` for new tables and the jobs.
    :param partition_expiration: after how long BigQuery deletes a day of a new table; default: never.
    :param require_partition_filter: whether queries on new tables must name the days they read.
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :param deferrable: wait for the jobs in the triggerer. At the task's ``execution_timeout`` it cancels them.
    :param poll_interval: seconds between two looks at the jobs when deferred.
    """

    template_fields: Sequence[str] = (
        *ClaudeCodeTransferOperator.template_fields,
        "dataset_id",
        "project_id",
        "location",
        "table_prefix",
        "gcp_conn_id",
        "impersonation_chain",
    )

    operator_extra_links = (BigQueryTableLink(), BigQueryJobLink())

    def __init__(
        self,
        *,
        dataset_id: str,
        project_id: str | None = None,
        location: str | None = None,
        table_prefix: str = "claude_code_",
        create_dataset: bool = False,
        labels: Mapping[str, str] | None = None,
        encryption_configuration: Mapping[str, str] | None = None,
        partition_expiration: timedelta | None = None,
        require_partition_filter: bool = False,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.file_format != "parquet":
            raise ClaudeCodeConfigurationError("BigQuery is loaded from Parquet; leave file_format out.")
        self.dataset_id = dataset_id
        self.project_id = project_id
        self.location = location
        self.table_prefix = table_prefix
        self.create_dataset = create_dataset
        self.labels = labels
        self.encryption_configuration = encryption_configuration
        self.partition_expiration = partition_expiration
        self.require_partition_filter = require_partition_filter
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self._target: BigQueryTarget | None = None
        # When the task is to have ended, in seconds since 1970.
        self._deadline: float | None = None
        # Project, location and id, for the link.
        self.last_job: tuple[str, str, str] | None = None

    def openlineage_name(self, table: str) -> tuple[str, str]:
        """Return BigQuery's namespace and the table's name."""
        return "bigquery", f"{self.dataset_project}.{self.dataset_id}.{self.table_prefix}{table}"

    def open_target(self, context: Context) -> BigQueryTarget:
        """Return the dataset's tables."""
        # Loads google.cloud, so not when a Dag file is parsed.
        from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget, TableOptions

        self.refuse_unusable_names()
        project = self.dataset_project
        ti = context["ti"]
        if self.execution_timeout and self._deadline is None:
            self._deadline = (ti.start_date + self.execution_timeout).timestamp()
        # The destination too, since several Airflows may share the project.
        task_instance = [ti.dag_id, ti.run_id, ti.task_id, ti.map_index, project, self.dataset_id, self.table_prefix]
        self._target = BigQueryTarget(
            self.get_client(),
            self.dataset,
            table_prefix=self.table_prefix,
            tables=self.table_contracts,
            options=TableOptions(
                labels=airflow_labels(ti.dag_id, ti.task_id) | dict(self.labels or {}),
                kms_key_name=(self.encryption_configuration or {}).get("kmsKeyName"),
                partition_expiration=self.partition_expiration,
                require_partition_filter=self.require_partition_filter,
            ),
            create_dataset=self.create_dataset,
            job_prefix=f"claude_code_{hashlib.sha256(json.dumps(task_instance).encode()).hexdigest()[:24]}",
        )
        return self._target

    def _publish(self, target: Any, load: Load, keep_rows: bool, progress: Progress) -> dict[str, Any]:
        started = target.start(load, keep_rows=keep_rows)
        self._remember_job(target, started)
        summary = load.summary() | {"published": True}
        if self.deferrable and started.job_ids and (resume := self._resume(started, summary, progress)):
            self.defer(
                trigger=ClaudeCodeBigQueryJobsTrigger(
                    job_ids=list(started.job_ids.values()),
                    project_id=target.project,
                    location=started.location,
                    gcp_conn_id=self.gcp_conn_id,
                    impersonation_chain=self.impersonation_chain,
                    poll_interval=self.poll_interval,
                    # Airflow's own time-out of a deferral would fail the task and let the jobs go on.
                    deadline=self._deadline,
                    # With the trigger and not as the deferral's kwargs, which dag.test() drops.
                    resume=resume,
                ),
                method_name="execute_complete",
            )
        try:
            where: dict[str, Any] = target.finish(started)
        except AirflowTaskTimeout:
            self._give_up(target, started)
        return summary | where

    def _resume(self, started: StartedLoad, summary: dict[str, Any], progress: Progress) -> str | None:
        """Return as JSON what the task has to know after a deferral, or ``None`` when it is too much for a trigger."""
        resume = json.dumps(
            {
                "started": dataclasses.asdict(started),
                "summary": summary,
                "days": [day.isoformat() for day in progress.days],
                "loaded": [_shortened(day) for day in progress.loaded],
                "attempt": progress.attempt,
                "deadline": self._deadline,
            },
            separators=(",", ":"),
        )
        if len(resume) <= LONGEST_RESUME:
            return resume
        self.log.info(
            "Waiting for the jobs of %s here instead of deferring: what there is to remember (%d earlier days, %d "
            "unknown names) is too much for a trigger",
            started.day,
            len(progress.loaded),
            summary["unknown_names"],
        )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Finish the day whose jobs have ended, and load the days that are left.

        :raises ClaudeCodePublishError: a job failed.
        :raises AirflowTaskTimeout: the jobs had not ended at the task's ``execution_timeout``, and were cancelled.
        """
        from airflow_provider_claude_code.targets.bigquery.target import StartedLoad

        resume = json.loads(event["resume"])
        started = StartedLoad(**resume["started"])
        self._deadline = resume["deadline"]
        with fail_without_retry():
            target = self.open_target(context)
            loaded = [target.completed(day, started.location) for day in resume["loaded"]]
            progress = Progress(list(map(date.fromisoformat, resume["days"])), loaded, resume["attempt"])
            target.refuse_another_target(started)
            self._remember_job(target, started)
            if event["status"] == "timeout":
                self._give_up(target, started)
            if event["status"] == "error":
                self.log.warning("%s Waiting for them here", event["message"])
            try:
                where = target.finish(started)
            except SupersededError as conflict:
                progress = self._try_again(progress, conflict)
            else:
                progress = self._done(progress, resume["summary"] | where)
            return self._load_days(progress, context)

    def _give_up(self, target: BigQueryTarget, started: StartedLoad) -> NoReturn:
        """Cancel the jobs of a load, but record it where they have all come through, as the tables hold it then."""
        target.cancel(started)
        try:
            target.finish(started)
            outcome = f"{started.day} was loaded nevertheless, and recorded."
        except (ClaudeCodePublishError, SupersededError) as error:
            outcome = str(error)
        raise AirflowTaskTimeout(f"The load jobs were cancelled at the task's execution_timeout. {outcome}")

    def _remember_job(self, target: BigQueryTarget, started: StartedLoad) -> None:
        for job_id in started.job_ids.values():
            self.last_job = (target.project, started.location, job_id)
            return

    def on_kill(self) -> None:
        """Cancel the jobs that were started, and remove the spooled files."""
        super().on_kill()
        if self._target is not None:
            self._target.cancel_started()


def _shortened(day: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a day's summary what :meth:`BigQueryTarget.completed` can tell again."""
    if not day["published"]:
        return day
    # A job's id ends with the number of the load and that of the table.
    number = next((int(job_id.split("_")[-2]) for job_id in day["jobs"].values()), None)
    return {name: value for name, value in day.items() if name not in ("tables", "jobs", "location")} | {"load": number}

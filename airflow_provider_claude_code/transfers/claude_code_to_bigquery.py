"""Claude Code usage to BigQuery."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import msgspec

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.links import BigQueryJobLink, BigQueryTableLink
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryJobsMixin, airflow_labels
from airflow_provider_claude_code.templates import mapping_of, seconds, true_or_false
from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator
from airflow_provider_claude_code.transfers.progress import Progress
from airflow_provider_claude_code.version_compat import AirflowTaskTimeout, conf

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_claude_code.targets.base import StartedLoad, Target
    from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget

LONGEST_RESUME = 24_000
"""
Maximum number of characters of a task's state in a trigger.

The metadata database keeps a trigger's arguments encrypted, which makes them half as long again, in a column that holds
64 KB on MySQL.
"""


@dataclass(frozen=True)
class _Resume:
    """
    The state of a task across a deferral.

    :param progress: its progress, with shortened summaries.
    :param deadline: the deadline of the task, in seconds since 1970.
    """

    progress: Progress
    deadline: float | None


class ClaudeCodeToBigQueryOperator(BigQueryJobsMixin, ClaudeCodeTransferOperator):
    """
    Load days of Claude Code usage into BigQuery tables, one partition per day.

    For each day, one load job per table (``claude_code_usage``, ``claude_code_model_usage`` and
    ``claude_code_tool_usage``) replaces the partition of that day. If a job fails, its partition stays as it was. Last,
    rows are appended to ``claude_code_loads``, which records the load. Missing tables are created, and missing columns
    are added. A table that does not fit is refused before anything is loaded.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.transfers.base.ClaudeCodeTransferOperator`.

    :param dataset_id: the dataset (templated). Use one dataset or ``table_prefix`` per organisation.
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where a new dataset is created (templated); default: BigQuery's. A dataset that is elsewhere is
        refused.
    :param table_prefix: prefix of the names of the tables (templated).
    :param create_dataset: create the dataset when it is missing.
    :param labels: labels of new tables and of the jobs (templated).
    :param encryption_configuration: ``{"kmsKeyName": ...}`` for new tables and the jobs (templated).
    :param partition_expiration: after how long BigQuery deletes a day of a new table; default: never.
    :param require_partition_filter: whether queries on new tables must filter on ``date``.
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :param deferrable: wait for the jobs in the triggerer. The days of a period are then fetched one at a time. At the
        ``execution_timeout`` of the task, the jobs are cancelled.
    :param poll_interval: seconds between two polls of the jobs when deferred.
    """

    template_fields: Sequence[str] = (
        *ClaudeCodeTransferOperator.template_fields,
        "dataset_id",
        "project_id",
        "location",
        "table_prefix",
        "labels",
        "encryption_configuration",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **ClaudeCodeTransferOperator.template_fields_renderers,
        "labels": "json",
        "encryption_configuration": "json",
    }

    operator_extra_links = (BigQueryTableLink(), BigQueryJobLink())

    # There is none until it is opened.
    _target: BigQueryTarget

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
        self.create_dataset = true_or_false("create_dataset", create_dataset)
        self.labels = labels
        self.encryption_configuration = encryption_configuration
        self.refuse_unusable_names(is_rendered=False)
        self.refuse_unusable_encryption()
        if partition_expiration is not None and not (
            isinstance(partition_expiration, timedelta) and partition_expiration > timedelta(0)
        ):
            raise ClaudeCodeConfigurationError(
                f"partition_expiration is {partition_expiration!r}; a timedelta above 0 was expected, such as "
                "timedelta(days=400)."
            )
        self.partition_expiration = partition_expiration
        self.require_partition_filter = true_or_false("require_partition_filter", require_partition_filter)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = true_or_false("deferrable", deferrable)
        self.poll_interval = seconds("poll_interval", poll_interval)
        # When the task is to have ended, in seconds since 1970.
        self._deadline: float | None = None
        # Project, location and id, for the link.
        self.last_job: tuple[str, str, str] | None = None

    def openlineage_name(self, table: str) -> tuple[str, str]:
        """Return BigQuery's namespace and the table's name."""
        return "bigquery", f"{self.dataset_project}.{self.dataset_id}.{self.table_prefix}{table}"

    def open_target(self, context: Context) -> BigQueryTarget:
        """Return the dataset's tables."""
        # Load google.cloud, so not when a Dag file is parsed.
        from airflow_provider_claude_code.targets.bigquery.jobs import LoadJobs
        from airflow_provider_claude_code.targets.bigquery.schema import DatasetTables, TableOptions
        from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget

        self.refuse_unusable_names()
        ti = context["ti"]
        if self._deadline is None:
            self._deadline = self.deadline_of(ti)
        client, dataset = self.get_client(), self.dataset
        options = TableOptions(
            labels=airflow_labels(ti.dag_id, ti.task_id) | mapping_of("labels", self.labels),
            kms_key_name=self.kms_key_name,
            partition_expiration=self.partition_expiration,
            require_partition_filter=self.require_partition_filter,
        )
        schema = DatasetTables(
            client,
            dataset,
            table_prefix=self.table_prefix,
            tables=self.table_contracts,
            options=options,
            create_dataset=self.create_dataset,
        )
        prefix = self.job_prefix(ti, self.dataset_id, self.table_prefix)
        jobs = LoadJobs(client, prefix, options.labels, options.kms_key_name)
        self._target = BigQueryTarget(client, dataset, schema, jobs)
        return self._target

    @property
    def _days_at_a_time(self) -> int:
        # Days that were read ahead are lost when a task defers.
        return 1 if self.deferrable else super()._days_at_a_time

    def _on_started(self, progress: Progress, started: StartedLoad) -> None:
        self._remember_job(started)
        if not self.deferrable or not started.job_ids or (resume := self._resume(progress)) is None:
            return
        trigger = self.jobs_trigger(started.job_ids.values(), self._target.location, self._deadline, resume)
        self.defer(trigger=trigger, method_name="execute_complete")

    def _resume(self, progress: Progress) -> str | None:
        """Return the state of the task as JSON, or ``None`` if it is too large for a trigger."""
        shortened = replace(progress, loaded=list(map(self._target.shortened, progress.loaded)))
        # As ASCII, since Airflow stores it as ASCII, with six bytes for every other character.
        resume = json.dumps(msgspec.to_builtins(_Resume(shortened, self._deadline)), separators=(",", ":"))
        if len(resume) <= LONGEST_RESUME:
            return resume
        self.log.info(
            "Waiting for the jobs of %s in the worker instead of deferring: the state (%d earlier days, %d unknown "
            "names) is too large for a trigger",
            progress.days[0],
            len(progress.loaded),
            progress.summary["unknown_names"],
        )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Finish the day whose jobs have ended, and load the days that are left.

        :raises ClaudeCodePublishError: a job failed.
        :raises AirflowTaskTimeout: the jobs had not ended at the task's ``execution_timeout``, and were cancelled.
        """
        resume = msgspec.convert(json.loads(event["resume"]), _Resume)
        self._deadline = resume.deadline
        with fail_without_retry():
            self._settle_arguments()
            target = self.open_target(context)
            if (started := resume.progress.started) is not None:
                target.resume(started)
                self._remember_job(started)
                if event["status"] == "timeout":
                    self._give_up(started)
                if event["status"] == "error":
                    self.log.warning("%s Waiting for them here", event["message"])
            progress = replace(resume.progress, loaded=list(map(target.whole, resume.progress.loaded)))
            return self._load_days(target, self._reader(context), progress, context)

    def _finish(self, target: Target, started: StartedLoad) -> dict[str, Any]:
        try:
            return super()._finish(target, started)
        except AirflowTaskTimeout:
            self._give_up(started)

    def _give_up(self, started: StartedLoad) -> NoReturn:
        """Cancel the jobs of a load. If all have succeeded nevertheless, record the load."""
        self._target.cancel(started)
        try:
            self._target.finish(started)
            outcome = "The day was loaded nevertheless, and recorded."
        except (ClaudeCodePublishError, SupersededError) as error:
            outcome = str(error)
        raise AirflowTaskTimeout(f"The load jobs were cancelled at the task's execution_timeout. {outcome}")

    def _remember_job(self, started: StartedLoad) -> None:
        """Set the link to the first job of a load."""
        if job_id := next(iter(started.job_ids.values()), None):
            self.last_job = (self._target.project, self._target.location, job_id)

    def on_kill(self) -> None:
        """Cancel the jobs that were started, and remove the spooled files."""
        super().on_kill()
        if hasattr(self, "_target"):
            self._target.cancel_started()

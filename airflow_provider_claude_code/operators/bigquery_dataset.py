"""Shared parts of the operators that work on a dataset of a Google Cloud Connection."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.lineage import asset_uri
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.templates import accounts, is_template, mapping_of

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from airflow.sdk.types import RuntimeTaskInstanceProtocol
    from google.cloud.bigquery import Client, DatasetReference

    from airflow_provider_claude_code.triggers.bigquery import ClaudeCodeBigQueryJobsTrigger


class BigQueryDatasetMixin:
    """The dataset that an operator's arguments name, and the client for it."""

    dataset_id: str | None
    project_id: str | None
    location: str | None
    table_prefix: str
    gcp_conn_id: str
    impersonation_chain: str | Sequence[str] | None

    @cached_property
    def google_hook(self) -> BigQueryHook:
        """The hook of the Google Cloud Connection."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        return BigQueryHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=accounts("impersonation_chain", self.impersonation_chain),
            location=self.location,
            use_legacy_sql=False,
        )

    @property
    def dataset_project(self) -> str:
        """The dataset's project."""
        with typed_store_errors(f"The BigQuery dataset {self.dataset_id}"):
            project = self.project_id or self.google_hook.project_id
        if not project:
            raise ClaudeCodeConfigurationError(
                f"The Connection {self.gcp_conn_id!r} and its credentials name no project. Set project_id."
            )
        # A native template makes a number of a project that looks like one.
        return str(project)

    @property
    def dataset(self) -> DatasetReference:
        """The dataset."""
        from google.cloud.bigquery import DatasetReference

        return DatasetReference(self.dataset_project, str(self.dataset_id))

    def refuse_unusable_names(self, *, is_rendered: bool = True) -> None:
        """
        Check the arguments that become parts of names in BigQuery.

        :param is_rendered: whether templates are rendered; otherwise they are not checked.
        :raises ClaudeCodeConfigurationError: one of them cannot; it would lead to other tables, or to none.
        """
        for argument, value, pattern, expected in (
            ("project_id", self.project_id, r"([\w.-]+:)?[\w-]+", "a project's id"),
            ("dataset_id", self.dataset_id, r"[A-Za-z0-9_]+", "a dataset's name of letters, digits and underscores"),
            ("table_prefix", self.table_prefix, r"[\w -]*", "letters, digits, underscores, hyphens and blanks"),
        ):
            if not is_rendered and is_template(value):
                continue
            # The project has a default. Only the prefix may be empty; None would become part of a name.
            is_default = argument == "project_id" and value in (None, "")
            if not is_default and (value is None or not re.fullmatch(pattern, str(value))):
                hint = " Its project goes into project_id." if argument == "dataset_id" and "." in str(value) else ""
                raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; {expected} was expected.{hint}")

    def table_uri(self, table: str) -> str:
        """Return the URI of a table."""
        return asset_uri(f"bigquery://{self.dataset_project}/{self.dataset_id}/{self.table_prefix}{table}")

    def existing(self, tables: Iterable[str], client: Client) -> list[str]:
        """Return the tables that exist in the dataset."""
        from airflow_provider_claude_code.targets.bigquery.schema import find_table

        place = f"{self.dataset_project}.{self.dataset_id}.{self.table_prefix}"
        return [table for table in tables if find_table(client, f"{place}{table}")]

    def get_client(self) -> Client:
        """Return the client, whose jobs run in the dataset's project and location."""
        from airflow_provider_claude_code.targets.bigquery.clients import open_client

        with typed_store_errors(f"The BigQuery dataset {self.dataset_id}"):
            return open_client(self.google_hook, self.dataset_project, self.location)


class BigQueryJobsMixin(BigQueryDatasetMixin):
    """The jobs that an operator starts on its dataset, for which it can wait in the triggerer."""

    encryption_configuration: Mapping[str, str] | None
    execution_timeout: timedelta | None
    poll_interval: float

    @property
    def kms_key_name(self) -> str | None:
        """
        The key that encrypts the output of the jobs; default: Google's key.

        :raises ClaudeCodeConfigurationError: the configuration does not name it.
        """
        configuration = mapping_of("encryption_configuration", self.encryption_configuration)
        if configuration and not configuration.get("kmsKeyName"):
            raise ClaudeCodeConfigurationError(
                f"encryption_configuration is {configuration!r}; {{'kmsKeyName': ...}} was expected."
            )
        return configuration.get("kmsKeyName")

    def refuse_unusable_encryption(self) -> None:
        """
        Check the encryption when the Dag is parsed, unless it is a template.

        :raises ClaudeCodeConfigurationError: the configuration names no key, so Google's own would be used.
        """
        if not is_template(self.encryption_configuration):
            _ = self.kms_key_name

    def job_prefix(self, ti: RuntimeTaskInstanceProtocol, *destination: str | None) -> str:
        """
        Return the prefix of the ids of all jobs of a task instance, for all its tries.

        :param ti: the task instance.
        :param destination: the destination in the project, since several Airflow installations may share the project.
        """
        task_instance = [ti.dag_id, ti.run_id, ti.task_id, ti.map_index, self.dataset_project, *destination]
        return f"claude_code_{hashlib.sha256(json.dumps(task_instance).encode()).hexdigest()[:24]}"

    def deadline_of(self, ti: RuntimeTaskInstanceProtocol) -> float | None:
        """Return the deadline of the task, in seconds since 1970."""
        return (ti.start_date + self.execution_timeout).timestamp() if self.execution_timeout else None

    def jobs_trigger(
        self, job_ids: Iterable[str], location: str, deadline: float | None, resume: str
    ) -> ClaudeCodeBigQueryJobsTrigger:
        """
        Return the trigger that waits for jobs.

        :param job_ids: the jobs.
        :param location: where they run.
        :param deadline: when jobs that still run are cancelled. Airflow's own time-out of a deferral would fail the
            task and let the jobs go on.
        :param resume: what the task has to know when it goes on, as JSON. It travels with the trigger and not as the
            deferral's kwargs, which dag.test() drops.
        """
        from airflow_provider_claude_code.triggers.bigquery import ClaudeCodeBigQueryJobsTrigger

        return ClaudeCodeBigQueryJobsTrigger(
            job_ids=list(job_ids),
            project_id=self.dataset_project,
            location=location,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            poll_interval=self.poll_interval,
            deadline=deadline,
            resume=resume,
        )


def airflow_labels(dag_id: str, task_id: str) -> dict[str, str]:
    """Return the labels that Google's operators give their jobs, if the ids are valid in labels."""
    labels = {"airflow-dag": dag_id, "airflow-task": task_id}
    return {
        name: value
        for name, text in labels.items()
        if re.fullmatch(r"[\w-]{0,63}", value := text.lower().replace(".", "-"))
    }

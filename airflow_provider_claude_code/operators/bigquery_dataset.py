"""What operators share that work on a dataset of a Google Cloud Connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_claude_code.assets import asset_uri
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.storage.errors import typed_store_errors

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from google.cloud.bigquery import Client, DatasetReference


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
            impersonation_chain=self.impersonation_chain,
            location=self.location,
            use_legacy_sql=False,
        )

    @property
    def dataset_project(self) -> str:
        """The dataset's project."""
        with typed_store_errors(f"The BigQuery dataset {self.dataset_id}"):
            return self.project_id or self.google_hook.project_id

    @property
    def dataset(self) -> DatasetReference:
        """The dataset."""
        from google.cloud.bigquery import DatasetReference

        return DatasetReference(self.dataset_project, str(self.dataset_id))

    def refuse_unusable_names(self) -> None:
        """
        Look at the arguments that become parts of BigQuery's names.

        :raises ClaudeCodeConfigurationError: one of them cannot; it would lead to other tables, or to none.
        """
        for argument, value, pattern, expected in (
            ("project_id", self.project_id, r"([\w.-]+:)?[\w-]+", "a project's id"),
            ("dataset_id", self.dataset_id, r"[A-Za-z0-9_]+", "a dataset's name of letters, digits and underscores"),
            ("table_prefix", self.table_prefix, r"[\w -]*", "letters, digits, underscores, hyphens and blanks"),
        ):
            if value is not None and not re.fullmatch(pattern, str(value)):
                hint = " Its project goes into project_id." if argument == "dataset_id" and "." in str(value) else ""
                raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; {expected} was expected.{hint}")

    def table_uri(self, table: str) -> str:
        """Return the URI of a table."""
        return asset_uri(f"bigquery://{self.dataset_project}/{self.dataset_id}/{self.table_prefix}{table}")

    def get_client(self) -> Client:
        """Return the client, whose jobs run in the dataset's project and location."""
        with typed_store_errors(f"The BigQuery dataset {self.dataset_id}"):
            return self.google_hook.get_client(project_id=self.dataset_project, location=self.location)


def airflow_labels(dag_id: str, task_id: str) -> dict[str, str]:
    """Return the labels that Google's operators give their jobs, as far as the ids can stand in one."""
    labels = {"airflow-dag": dag_id, "airflow-task": task_id}
    return {
        name: value
        for name, text in labels.items()
        if re.fullmatch(r"[\w-]{0,63}", value := text.lower().replace(".", "-"))
    }

"""Links from a task in the Airflow UI to what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

_CONSOLE = "https://console.cloud.google.com"


class BigQueryTableLink(BaseOperatorLink):
    """To the usage table."""

    name = "BigQuery Table"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the table's page; the worker asks for it when the task ends, with the operator that ran."""
        project = operator.dataset_project
        table = f"{operator.table_prefix}{operator.tables[0]}"
        return f"{_CONSOLE}/bigquery?project={project}&p={project}&d={operator.dataset_id}&t={table}&page=table"


class BigQueryJobLink(BaseOperatorLink):
    """To the job that loaded the last day."""

    name = "BigQuery Job"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the job's page, or nothing when no job was started."""
        if (job := operator.last_job) is None:
            return ""
        project, location, job_id = job
        return f"{_CONSOLE}/bigquery?project={project}&j=bq:{location}:{job_id}&page=queryresults"


class GCSFolderLink(BaseOperatorLink):
    """To the folder that holds the tables."""

    name = "GCS Folder"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the folder's page."""
        return f"{_CONSOLE}/storage/browser/{operator.bucket}/{quote(operator.prefix.strip('/'))}"

"""Links from a task in the Airflow UI to its output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

from airflow_provider_claude_code.plugins.places import page_url

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

_CONSOLE = "https://console.cloud.google.com"


class BigQueryTableLink(BaseOperatorLink):
    """To the usage table."""

    name = "BigQuery Table"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the table's page; the worker asks for it when the task ends, with the operator that ran."""
        project = operator.dataset_project
        table = f"{operator.table_prefix}{operator.tables[0]}"
        return _bigquery(project=project, p=project, d=operator.dataset_id, t=table, page="table")


class BigQueryJobLink(BaseOperatorLink):
    """To the job that loaded the last day."""

    name = "BigQuery Job"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the job's page, or nothing when no job was started."""
        if (job := operator.last_job) is None:
            return ""
        project, location, job_id = job
        return _bigquery(project=project, j=f"bq:{location}:{job_id}", page="queryresults")


class BigQueryDatasetLink(BaseOperatorLink):
    """To the dataset that the models are in."""

    name = "BigQuery Dataset"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the dataset's page."""
        project = operator.dataset_project
        dataset = operator.model_dataset_id or operator.dataset_id
        return _bigquery(project=project, p=project, d=dataset, page="dataset")


def _bigquery(**parameters: str) -> str:
    return f"{_CONSOLE}/bigquery?{urlencode(parameters, safe=':', quote_via=quote)}"


class GCSFolderLink(BaseOperatorLink):
    """To the folder that holds the tables."""

    name = "GCS Folder"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the folder's page."""
        return f"{_CONSOLE}/storage/browser/{operator.bucket}/{quote(operator.folder)}"


class ClaudeCodeReportLink(BaseOperatorLink):
    """To the report that the task wrote."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return where a browser opens it, or nothing."""
        return report_link(operator.report_url, operator.dag_id, names_people=operator.people)


def report_link(url: str | None, dag_id: str, *, names_people: bool) -> str:
    """
    Return where a browser opens a report.

    :param url: where the report is.
    :param dag_id: the Dag that has written it.
    :param names_people: whether it may name people; the page in Airflow refuses such a report.
    :return: the page in Airflow if it is enabled, or the console of the store, which authenticates users. Empty if
        there is neither, since browsers do not open ``file://`` URLs from a page of Airflow.
    """
    scheme, _, place = str(url or "").partition("://")
    bucket, _, key = place.partition("/")
    if scheme == "file":
        return "" if names_people else page_url(Path(place), dag_id)
    if scheme in ("gs", "gcs"):
        return f"https://storage.cloud.google.com/{bucket}/{quote(key)}"
    if scheme in ("s3", "s3a"):
        return f"https://console.aws.amazon.com/s3/object/{bucket}?prefix={quote(key)}"
    return str(url) if scheme in ("http", "https") else ""

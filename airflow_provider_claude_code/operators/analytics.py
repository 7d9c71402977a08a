"""What the operators share that ask loaded usage, wherever it was loaded to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.assets import asset_uri
from airflow_provider_claude_code.days import DEFAULT_DAY, days_until, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryDatasetMixin, airflow_labels
from airflow_provider_claude_code.storage.stores import storage_path
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.version_compat import get_hook_lineage_collector

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_claude_code.analytics.sources import Source


class ClaudeCodeAnalyticsOperator(BigQueryDatasetMixin, BaseOperator):
    """
    The base of the operators that ask loaded usage: Parquet files (``path``) or BigQuery tables (``dataset_id``).

    :param path: where the Parquet files are (templated), as in ``ClaudeCodeToObjectStorageOperator``; files in Google
        Cloud Storage are ``gs://bucket/prefix``. They are read in this worker, which needs the extra ``[report]``.
    :param conn_id: the Connection of the object store (templated); default: the store's own. A roster or a mapping in a
        store of another kind is opened with that store's own.
    :param dataset_id: the dataset of the tables (templated), instead of ``path``.
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where the queries run (templated); default: the dataset's own.
    :param table_prefix: what the tables' names begin with (templated).
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :param last_day: the last UTC day of the period, ``YYYY-MM-DD`` (templated). The default is the run's partition key,
        else the day before the run.
    :param period_days: how many days the period has.
    :param first_day: its first UTC day instead (templated), for a calendar month for example.
    :param since: the first UTC day that is read at all, ``YYYY-MM-DD`` (templated). Who is new is told from then on.
    :param memory_mb: MiB of memory that DuckDB may use for files; the task's process needs some 400 more. What does not
        fit goes to the directory for temporary files, which needs room for it and for a copy of what is read from an
        object store.
    :param threads: DuckDB's threads; by default as many as there are cores, and no more than one for each 128 MiB.
    :raises AirflowFailException: something that no retry mends.
    """

    template_fields: Sequence[str] = (
        "path",
        "conn_id",
        "dataset_id",
        "project_id",
        "location",
        "table_prefix",
        "gcp_conn_id",
        "impersonation_chain",
        "last_day",
        "first_day",
        "since",
    )
    ui_color = "#dfe8d4"

    def __init__(
        self,
        *,
        path: str | None = None,
        conn_id: str | None = None,
        dataset_id: str | None = None,
        project_id: str | None = None,
        location: str | None = None,
        table_prefix: str = "claude_code_",
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        last_day: str = DEFAULT_DAY,
        period_days: int = 28,
        first_day: str | None = None,
        since: str = "2025-01-01",
        memory_mb: int = 512,
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (path is None) == (dataset_id is None):
            raise ClaudeCodeConfigurationError(
                "Either path (of Parquet files) or dataset_id (of BigQuery tables) says where the usage is."
            )
        _check_at_least("period_days", period_days, 1)
        _check_at_least("memory_mb", memory_mb, 128)
        if threads is not None:
            _check_at_least("threads", threads, 1)
        self.path = path
        self.conn_id = conn_id
        self.dataset_id = dataset_id
        self.project_id = project_id
        self.location = location
        self.table_prefix = table_prefix
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.last_day = last_day
        self.period_days = period_days
        self.first_day = first_day
        self.since = since
        self.memory_mb = memory_mb
        self.threads = threads

    def period(self) -> tuple[date, date]:
        """
        Return the first and the last day.

        :raises ClaudeCodeConfigurationError: they are no days, or in the wrong order.
        """
        last_day = parse_day(self.last_day)
        if self.first_day:
            return parse_day(self.first_day), last_day
        return days_until(last_day, self.period_days, f"period_days={self.period_days}")[0], last_day

    @contextmanager
    def open_source(
        self, context: Context, settings: Settings, *, roster: str | None = None, mapping: str | None = None
    ) -> Iterator[Source]:
        """
        Give the loaded usage, and tell Airflow what was read.

        :param settings: the settings of the queries.
        :param roster: where the roster is, a file or a table.
        :param mapping: where the mapping is, a file or a table.
        """
        # Load google.cloud and pyarrow, so not when a Dag file is parsed.
        from airflow_provider_claude_code.analytics.sources import BigQuerySource, bigquery_relations, open_files

        lineage = get_hook_lineage_collector()
        if self.dataset_id is not None:
            self.refuse_unusable_names()
            relations = bigquery_relations(
                self.dataset_project, self.dataset_id, self.table_prefix, roster=roster, mapping=mapping
            )
            labels = airflow_labels(context["ti"].dag_id, context["ti"].task_id)
            for table in USAGE.table_names:
                lineage.add_input_asset(context=self.google_hook, uri=self.table_uri(table))
            yield BigQuerySource(self.get_client(), self.dataset, relations, settings, labels)
            return
        root = storage_path("path", str(self.path), self.conn_id)
        for table in USAGE.table_names:
            lineage.add_input_asset(context=root, uri=asset_uri((root / table).as_uri()))
        files = {
            name: self._storage_path(name, file, root) if file else None
            for name, file in (("roster", roster), ("mapping", mapping))
        }
        with open_files(root, settings, **files, memory_mb=self.memory_mb, threads=self.threads) as source:
            yield source

    def _storage_path(self, argument: str, path: str, root: ObjectStoragePath) -> ObjectStoragePath:
        place = storage_path(argument, path, None)
        return storage_path(argument, path, self.conn_id) if place.protocol == root.protocol else place


def _check_at_least(argument: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ClaudeCodeConfigurationError(f"{argument} is {value!r}; a whole number of {least} or more was expected.")

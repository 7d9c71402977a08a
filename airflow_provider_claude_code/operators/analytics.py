"""The base of the operators that query loaded data, in files or in BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.days import DEFAULT_DAY, days_until, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.lineage import add_hook_lineage, asset_uri
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryDatasetMixin, airflow_labels
from airflow_provider_claude_code.storage.stores import storage_path, url_of
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.templates import is_template, whole_number

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_claude_code.analytics.engines.base import Source


DEFAULT_PERIOD_DAYS = 28


class ClaudeCodeAnalyticsOperator(BigQueryDatasetMixin, BaseOperator):
    """
    The base of the operators that query loaded data: Parquet files (``path``) or BigQuery tables (``dataset_id``).

    :param path: where the Parquet files are (templated), as in ``ClaudeCodeToObjectStorageOperator``, or
        ``gs://bucket/prefix`` for files in Google Cloud Storage. The worker reads them and needs the extra
        ``[report]``.
    :param conn_id: the Connection of the object store (templated); default: none, so the worker's own credentials are
        used. For a roster or a mapping in a store of another kind, they are always used.
    :param dataset_id: the dataset of the tables (templated), instead of ``path``.
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where the queries run (templated); default: the dataset's own.
    :param table_prefix: prefix of the names of the tables (templated).
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :param last_day: the last UTC day of the period, ``YYYY-MM-DD`` (templated). The default is ``day`` in the
        configuration of the run, else its partition key, else the day before the run.
    :param period_days: length of the period in days (templated); default: 28.
    :param first_day: the first UTC day of the period (templated), instead of ``period_days``, for example for a
        calendar month.
    :param since: the first UTC day that is read, ``YYYY-MM-DD`` (templated). A person is new on the first active day
        from then on.
    :param roster: the people who may use Claude Code (templated). A table, or a ``.csv`` or ``.parquet`` file:
        ``actor_id``, ``valid_from``, ``valid_to`` (inclusive; empty means no limit).
    :param mapping: groups of people and keys (templated). A table or a file: ``actor_type``, ``actor_id``, ``team``,
        ``cost_centre``, ``valid_from``, ``valid_to``.
    :param monthly_budget_usd: budget of each organisation for Claude Code in a calendar month, in US dollars
        (templated).
    :param memory_mb: MiB of memory that DuckDB may use for files, in addition to some 350 MiB for the task's process.
        What does not fit goes to the temporary directory, and so do copies of files in an object store.
    :param threads: number of DuckDB's threads; default: one per core, and at most one per 128 MiB of ``memory_mb``.
    :raises AirflowFailException: a permanent error; the task does not retry.
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
        "period_days",
        "first_day",
        "since",
        "roster",
        "mapping",
        "monthly_budget_usd",
    )
    ui_color = "#dfe8d4"

    # Without what may be a template. Subclasses set them when the Dag is parsed, which checks the rest.
    _settings: Settings

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
        period_days: int | str | None = None,
        first_day: str | None = None,
        since: str = "2025-01-01",
        roster: str | None = None,
        mapping: str | None = None,
        monthly_budget_usd: str | float | None = None,
        memory_mb: int = 256,
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (path is None) == (dataset_id is None):
            raise ClaudeCodeConfigurationError(
                "Set either path (for Parquet files) or dataset_id (for BigQuery tables)."
            )
        if period_days is not None and first_day and not is_template(first_day):
            raise ClaudeCodeConfigurationError("Set either period_days or first_day.")
        period_days = DEFAULT_PERIOD_DAYS if period_days is None else period_days
        if not is_template(period_days):
            whole_number("period_days", period_days, 1)
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
        self.roster = roster
        self.mapping = mapping
        self.monthly_budget_usd = monthly_budget_usd
        if dataset_id is not None:
            self.refuse_unusable_names(is_rendered=False)
        if not is_template(since):
            parse_day(since, "since")
        self.memory_mb = whole_number("memory_mb", memory_mb, 128)
        self.threads = None if threads is None else whole_number("threads", threads, 1)

    def period(self) -> tuple[date, date]:
        """
        Return the first and the last day.

        :raises ClaudeCodeConfigurationError: a day or their order is not valid.
        """
        last_day = parse_day(self.last_day, "last_day")
        if self.first_day:
            return parse_day(self.first_day, "first_day"), last_day
        days = self._whole_period_days()
        return days_until(last_day, days, f"period_days={days}")[0], last_day

    def _whole_period_days(self) -> int:
        """Return how long the period is; a template that renders to nothing leaves it at the default."""
        asked = DEFAULT_PERIOD_DAYS if self.period_days in (None, "") else self.period_days
        return whole_number("period_days", asked, 1)

    def rendered_settings(self) -> Settings:
        """
        Return the settings of the queries.

        :raises ClaudeCodeConfigurationError: what was a template is not valid.
        """
        first_day, last_day = self.period()
        return replace(
            self._settings,
            since=parse_day(self.since, "since"),
            first_day=first_day,
            last_day=last_day,
            monthly_budget_cents=budget_cents(self.monthly_budget_usd),
        )

    @contextmanager
    def open_source(self, context: Context, settings: Settings, **tool_tables: str) -> Iterator[Source]:
        """
        Return the source of the loaded usage, and report what was read to Airflow's hook lineage.

        :param settings: the settings of the queries.
        :param tool_tables: files or tables with days of other tools.
        """
        user_tables = {"roster": self.roster, "mapping": self.mapping, **tool_tables}
        # Load google.cloud and pyarrow, so not when a Dag file is parsed.
        from airflow_provider_claude_code.analytics.engines.bigquery import BigQuerySource, bigquery_relations
        from airflow_provider_claude_code.analytics.engines.duckdb import open_files

        if self.dataset_id is not None:
            from airflow_provider_claude_code.targets.bigquery.errors import typed_bigquery_errors

            self.refuse_unusable_names()
            client = self.get_client()
            with typed_bigquery_errors(self.dataset, "BigQuery Data Viewer"):
                tables = self.existing(DATA_TABLES, client)
            relations = bigquery_relations(
                self.dataset_project,
                self.dataset_id,
                self.table_prefix,
                tables=(*tables, LOADS.name),
                **user_tables,
            )
            labels = airflow_labels(context["ti"].dag_id, context["ti"].task_id)
            add_hook_lineage(self.google_hook, inputs=map(self.table_uri, tables))
            with closing(BigQuerySource(client, self.dataset, relations, settings, labels)) as source:
                yield source
            return
        root = storage_path("path", str(self.path), self.conn_id)
        add_hook_lineage(root, inputs=[asset_uri(url_of(root / table)) for table in DATA_TABLES])
        files = {name: self._storage_path(name, file, root) if file else None for name, file in user_tables.items()}
        with open_files(root, settings, memory_mb=self.memory_mb, threads=self.threads, **files) as source:
            yield source

    def _storage_path(self, argument: str, path: str, root: ObjectStoragePath) -> ObjectStoragePath:
        place = storage_path(argument, path, None)
        return storage_path(argument, path, self.conn_id) if place.protocol == root.protocol else place


def budget_cents(amount: str | float | Decimal | None) -> int:
    """
    Return the budget in cents; 0 for none.

    :param amount: US dollars; text when it was a template, which is empty for none.
    :raises ClaudeCodeConfigurationError: it is not an amount above 0, or has fractions of a cent.
    """
    if amount is None or amount == "":
        return 0
    try:
        cents = Decimal(str(amount)) * 100
    except InvalidOperation:
        cents = Decimal(0)
    if not (cents.is_finite() and 1 <= cents < 10**15 and cents == cents.to_integral_value()):
        raise ClaudeCodeConfigurationError(
            f"monthly_budget_usd is {amount!r}; US dollars above 0 were expected, with two decimals at most."
        )
    return int(cents)

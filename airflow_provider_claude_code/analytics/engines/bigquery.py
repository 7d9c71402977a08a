"""The tables of a dataset, queried in BigQuery."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

from airflow_provider_claude_code.analytics.engines.base import Source, table_names
from airflow_provider_claude_code.analytics.queries import Settings, render
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.tables.loads import LOADS

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import Client, DatasetReference, QueryJobConfig
    from google.cloud.bigquery.job.base import SessionInfo
    from google.cloud.bigquery.table import RowIterator

log = logging.getLogger(__name__)

COMPUTED_ONCE = frozenset(
    {
        "newest_loads",
        "held_days",
        "days",
        "buckets",
        "charge_loads",
        "charge_days",
        "charges",
        "actor_groups",
        "actor_days",
        "actor_names",
        "model_folding",
        "compared_charges",
        "snapshots",
        "load_health",
        "day_sums",
    }
)
"""
The parts that BigQuery has to compute once: in a session as temporary tables, in a view as recursive steps.

Otherwise it would compute them again for each reference, dozens of times in a query. It refuses to plan queries that
become too large ("too many subqueries or query is too complex").
"""


class BigQuerySource(Source):
    """
    The tables of a dataset, queried in a session of BigQuery. Close it, which ends the session.

    :param client: the client of the Google Cloud Connection.
    :param dataset: the dataset.
    :param tables: by name, how the tables are written in SQL.
    :param settings: the settings of the queries.
    :param labels: labels of the query jobs.
    """

    computed_once = COMPUTED_ONCE

    def __init__(
        self,
        client: Client,
        dataset: DatasetReference,
        tables: Mapping[str, str],
        settings: Settings,
        labels: Mapping[str, str],
    ) -> None:
        super().__init__(tables, settings)
        self._client = client
        self._dataset = dataset
        self._labels = dict(labels)
        self._in_session: QueryJobConfig | None = None

    def organization_names(self) -> Mapping[str, str]:
        """Return the name in the description of ``loads``."""
        from airflow_provider_claude_code.targets.bigquery.schema import described_organization

        with self._typed_errors():
            table = self._client.get_table(self._tables[LOADS.name].strip("`"))
        return described_organization(table.description)

    def close(self) -> None:
        """End the session at once, since its temporary tables name people. BigQuery would end it after 24 hours."""
        if self._in_session is None:
            return
        try:
            self._query("CALL BQ.ABORT_SESSION()")
        except ClaudeCodeError as error:
            log.warning("The BigQuery session with its temporary tables was not ended, and ends in 24 hours: %s", error)

    def _compute(self, part: str) -> Mapping[str, str]:
        query = render(part, self._relations, self._settings)
        self._query(f"CREATE OR REPLACE TEMP TABLE {part} AS\n{query}")
        return {part: f"_SESSION.{part}"}

    def _run(self, query: str) -> pa.Table:
        return self._query(query).to_arrow(create_bqstorage_client=False)

    def _query(self, query: str) -> RowIterator:
        with self._typed_errors():
            if self._in_session is None:
                self._in_session = self._begin_session()
            return self._client.query_and_wait(query, job_config=self._in_session, location=self._location)

    def _begin_session(self) -> QueryJobConfig:
        """Begin a session, and return the configuration of its jobs."""
        from google.cloud.bigquery import ConnectionProperty, QueryJobConfig

        # Without a location a session would begin in the US, wherever the dataset is.
        self._location = self._client.location or self._client.get_dataset(self._dataset).location
        config = QueryJobConfig(labels=self._labels, create_session=True)
        job = self._client.query("SELECT 1", job_config=config, location=self._location)
        job.result()
        session_id = cast("SessionInfo", job.session_info).session_id
        return QueryJobConfig(
            labels=self._labels, connection_properties=[ConnectionProperty("session_id", str(session_id))]
        )

    def _typed_errors(self) -> AbstractContextManager[None]:
        from airflow_provider_claude_code.targets.bigquery.errors import typed_bigquery_errors

        return typed_bigquery_errors(self._dataset, "BigQuery Data Viewer")


def bigquery_relations(
    project: str,
    dataset: str,
    table_prefix: str,
    *,
    tables: Iterable[str] | None = None,
    **user_tables: str | None,
) -> dict[str, str]:
    """
    Return how the tables are written in SQL.

    :param project: the dataset's project.
    :param dataset: the dataset.
    :param table_prefix: what the tables' names begin with.
    :param tables: those that there are; the others have no rows. Default: all.
    :param user_tables: tables of the user's: the roster, the mapping, and those with days of other tools, each
        ``TABLE``, ``DATASET.TABLE`` or ``PROJECT.DATASET.TABLE``.
    :raises ClaudeCodeConfigurationError: that is not a table's name.
    """
    names = table_names() if tables is None else tables
    relations = {name: table_in_sql("dataset_id", f"{project}.{dataset}.{table_prefix}{name}") for name in names}
    for name, table in user_tables.items():
        if table:
            missing = [project, dataset][: max(0, 2 - table.count("."))]
            relations[name] = table_in_sql(name, ".".join([*missing, table]))
    return relations


def table_in_sql(argument: str, table: str) -> str:
    """
    Write a table's name in SQL.

    :param argument: what gives it, for the error.
    :param table: ``PROJECT.DATASET.TABLE``.
    :raises ClaudeCodeConfigurationError: that is not a table's name.
    """
    if not re.fullmatch(r"(?:[\w.-]+:)?[\w-]+\.\w+\.[\w -]+", table):
        raise ClaudeCodeConfigurationError(
            f"{argument} gives {table!r}, which is not a valid name of a BigQuery table."
        )
    return f"`{table}`"

"""The queries of a report or of checks run in one session, which computes once what many of them read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_provider_claude_code.analytics.engines.bigquery import BigQuerySource
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.collecting import collect
from tests.fixtures.analytics_data import LAST, sandbox_tables
from tests.fixtures.datasets import PROJECT, ask_dataset, fill_dataset
from tests.fixtures.old_duckdb import skip_nested_queries_on_old_duckdb
from tests.fixtures.servers.bigquery import BigQueryServer, HttpError

SETTINGS = Settings(first_day=LAST - timedelta(days=6), last_day=LAST)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryServer]:
    skip_nested_queries_on_old_duckdb()
    with BigQueryServer(project=PROJECT) as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def client(server: BigQueryServer) -> bigquery.Client:
    """A client without a location, beside a dataset in the EU."""
    fill_dataset(bigquery.Client(PROJECT, AnonymousCredentials(), location="EU"), "loaded", sandbox_tables())
    return bigquery.Client(PROJECT, AnonymousCredentials())


def open_source(client: bigquery.Client) -> BigQuerySource:
    source = ask_dataset(client, "loaded", sandbox_tables(), SETTINGS)
    assert isinstance(source, BigQuerySource)
    return source


def session_jobs(client: bigquery.Client) -> list[bigquery.QueryJob]:
    return [job for job in client.list_jobs() if isinstance(job, bigquery.QueryJob) and job.connection_properties]


def days_in_session(client: bigquery.Client) -> list[bigquery.Row]:
    """Read a temporary table of the session."""
    config = bigquery.QueryJobConfig(connection_properties=session_jobs(client)[0].connection_properties)
    return list(client.query_and_wait("SELECT * FROM _SESSION.days", job_config=config, location="EU"))


def test_a_report_computes_once_what_its_queries_share(client: bigquery.Client) -> None:
    with closing(open_source(client)) as source:
        (organization,) = collect(source, SETTINGS, people=False)
    assert organization.totals["sessions"]
    jobs = session_jobs(client)
    queries = [job.query for job in jobs]
    computed = [match[1] for query in queries if (match := re.match(r"CREATE OR REPLACE TEMP TABLE (\w+) AS", query))]
    assert {"days", "actor_days"} <= set(computed)
    assert len(computed) == len(set(computed))
    # BigQuery computes a step of WITH again wherever it is read, so the steps of these would be computed many times.
    assert not [query for query in queries if re.search(rf"\b({'|'.join(computed)}) AS \(", query)]
    assert {job.location for job in jobs} == {"EU"}


def test_a_session_ends_with_its_temporary_tables_also_after_an_error(client: bigquery.Client) -> None:
    def fail(source: BigQuerySource) -> None:
        with closing(source):
            source.read("daily_activity")
            assert days_in_session(client)
            raise LookupError

    with pytest.raises(LookupError):
        fail(open_source(client))
    with pytest.raises(NotFound):
        days_in_session(client)


def test_a_session_that_cannot_be_ended_is_reported_and_fails_nothing(
    client: bigquery.Client, server: BigQueryServer, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_source(client)) as source:
        source.read("daily_activity")
        server.faults = [HttpError(method="jobs.query", status=403, reason="accessDenied")]
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING and "session" in record.msg]
    assert "ends in 24 hours" in warning.getMessage()


def test_no_session_begins_without_a_query(client: bigquery.Client) -> None:
    before = len(list(client.list_jobs()))
    open_source(client).close()
    assert len(list(client.list_jobs())) == before

"""One Airflow for all tests, beside a sandbox API and a stand-in for BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.e2e.airflow import Airflow, free_port
from tests.servers.bigquery import BigQueryServer


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(users=250) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def bigquery() -> Iterator[BigQueryServer]:
    with BigQueryServer(project="demo-proj") as server:
        yield server


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A mail server that keeps what it gets."""
    controller = Controller(Mailbox(str(tmp_path_factory.mktemp("mail") / "box")), "127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="session")
def connections(sandbox: Sandbox, bigquery: BigQueryServer, mail_server: Controller) -> dict[str, str]:
    """Environment variables that lead an Airflow to the servers."""
    return {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(
            {
                "conn_type": "smtp",
                "host": mail_server.hostname,
                "port": mail_server.port,
                "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
            }
        ),
        "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT": json.dumps(
            {
                "conn_type": "claude_code",
                "host": sandbox.base_url,
                "password": sandbox.api_key,
                # Several pages to a day.
                "extra": {"page_limit": 100},
            }
        ),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(
            {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
        ),
        "BIGQUERY_EMULATOR_HOST": bigquery.url,
    }


@pytest.fixture(scope="session")
def airflow(connections: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with Airflow(tmp_path_factory.mktemp("airflow"), connections) as airflow:
        yield airflow


@pytest.fixture(scope="session")
def client(bigquery: BigQueryServer) -> Client:
    return Client(
        project="demo-proj", credentials=AnonymousCredentials(), client_options={"api_endpoint": bigquery.url}
    )

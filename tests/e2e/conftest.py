"""One Airflow for all tests, beside a sandbox API and a stand-in for BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.airflow import Airflow, free_port
from tests.fixtures.programs import postgresql
from tests.fixtures.servers.bigquery import BigQueryServer


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
def connections(sandbox: Sandbox, mail_server: Controller) -> dict[str, dict[str, Any]]:
    """The Connections that lead an Airflow to the servers, by id."""
    return {
        "smtp_default": {
            "conn_type": "smtp",
            "host": mail_server.hostname,
            "port": mail_server.port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
        },
        "claude_code_default": {
            "conn_type": "claude_code",
            "host": sandbox.base_url,
            "password": sandbox.api_key,
            # Several pages to a day.
            "extra": {"page_limit": 100},
        },
        "google_cloud_default": {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": "demo-proj"},
        },
    }


@pytest.fixture(scope="session")
def airflow(
    connections: dict[str, dict[str, Any]], bigquery: BigQueryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    environment = {"BIGQUERY_EMULATOR_HOST": bigquery.url}
    with postgresql() as database, Airflow(tmp_path_factory.mktemp("airflow"), database, environment) as airflow:
        # In the database, as the form stores them: then tasks and triggers have to ask the API server for them.
        for conn_id, connection in connections.items():
            body = connection | {"connection_id": conn_id, "extra": json.dumps(connection["extra"])}
            airflow.http.post("/api/v2/connections", json=body).raise_for_status()
        yield airflow


@pytest.fixture(scope="session")
def client(bigquery: BigQueryServer) -> Client:
    return Client(
        project="demo-proj", credentials=AnonymousCredentials(), client_options={"api_endpoint": bigquery.url}
    )

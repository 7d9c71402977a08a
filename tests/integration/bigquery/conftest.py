"""
A server for the tests in this folder.

The real operator, Airflow's BigQueryHook and Google's client talk to it; what is expected is computed a second time,
from the raw records.
"""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.transfers import base
from tests.fixtures.bigquery import Connect, Dataset, judged_server
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.fixtures.serving import connect_to, serve


@pytest.fixture(scope="module")
def bigquery_server() -> Iterator[BigQueryServer]:
    with judged_server() as server:
        yield server


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox(users=25) as sandbox:
        yield sandbox


@pytest.fixture
def connect(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the Connection to the sandbox, with some extra."""
    return partial(connect_to, api, monkeypatch)


@pytest.fixture
def sandbox(api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, spool: Path) -> Iterator[Sandbox]:
    """The sandbox serving three people a day, a Connection to it, and a spool directory that ends empty."""
    connect()
    serve(api, 3)
    # How long writers who met wait is not what is tested here.
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)
    yield api
    api.faults = Faults()


@pytest.fixture
def dataset(bigquery_server: BigQueryServer, sandbox: Sandbox) -> Iterator[Dataset]:
    yield Dataset(bigquery_server)
    bigquery_server.faults = []


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets slow jobs go, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()

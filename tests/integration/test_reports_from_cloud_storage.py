"""A report reads days in Cloud Storage as it reads local ones, through Airflow's object storage and gcsfs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

# Before anything imports gcsfs: it would ask a service that is not here, for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
pytest.importorskip("airflow.providers.google.cloud.fs.gcs", reason="the extra `google` is not installed")
pytest.importorskip("gcsfs", reason="the extra `google` is not installed")
pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

import gcsfs
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from airflow_provider_claude_code.analytics.engines.duckdb import open_files
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.exceptions import ClaudeCodePublishError
from airflow_provider_claude_code.storage import stores
from airflow_provider_claude_code.targets.files import FileTarget
from tests.fixtures.buckets import BUCKET, lead_clients_to
from tests.fixtures.loaded import put_days
from tests.fixtures.records import DAY, TABLES, people
from tests.fixtures.servers.gcs import Fault, GCSServer

DAYS = [DAY - timedelta(days=number) for number in range(40)]
REPORTS = 4


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Forty days, on each of which another number of people did something."""
    return put_days(tmp_path / "days", {day: people(5 + number, day) for number, day in enumerate(DAYS)})


@pytest.fixture
def bucket(days: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GCSServer]:
    """A server with these days in a bucket."""
    with GCSServer() as server:
        server.create_bucket(BUCKET)
        lead_clients_to(server, monkeypatch)
        client = Client(project="demo-proj", credentials=AnonymousCredentials())
        for file in days.glob("*/*/*.parquet"):
            client.bucket(BUCKET).blob(f"all days/{file.relative_to(days)}").upload_from_filename(str(file))
        yield server


def activity(root: ObjectStoragePath) -> list[dict[str, Any]]:
    with open_files(root, Settings(since=DAYS[-1])) as source:
        return sorted(source.read("daily_activity").to_pylist(), key=lambda row: row["date"])


def test_reports_that_read_at_the_same_time_find_each_object_whole(bucket: GCSServer, days: Path) -> None:
    local = activity(ObjectStoragePath(f"file://{days}"))
    assert [row["sessions"] for row in local if row["is_loaded"]] == [5 * (5 + n) for n in reversed(range(len(DAYS)))]
    # The provider for Google of Airflow 3.0 makes no file system for a Connection without credentials.
    attach("gs", conn_id="nobody", fs=gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True))
    root = ObjectStoragePath(f"gs://{BUCKET}/all days", conn_id="nobody")
    bucket.requests.clear()
    bucket.faults = [Fault("objects.download", name=f"*/{table}/*", nth=7, status=503) for table in TABLES]

    with ThreadPoolExecutor(REPORTS) as pool:
        read = list(pool.map(lambda _: activity(root), range(REPORTS)))

    assert read == [local] * REPORTS
    failed = [call for call in bucket.requests if call.status == 503]
    assert len(failed) == len(TABLES), "gcsfs has asked again"
    downloads = [call for call in bucket.requests if call.operation == "objects.download"]
    assert len(downloads) >= REPORTS * len(TABLES) * len(DAYS)


def test_a_bucket_that_never_answers_is_for_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "REQUEST_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        system = gcsfs.GCSFileSystem(token="anon", endpoint_url=url, skip_instance_cache=True)
        attach("gs", conn_id="silence", fs=system)
        store = stores.open_store(ObjectStoragePath(f"gs://{BUCKET}/days", conn_id="silence"))
        with pytest.raises(ClaudeCodePublishError, match="Try again later"):
            FileTarget(store, "usage", "parquet").last_loaded_at(DAY)

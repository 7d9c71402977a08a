"""A day in S3, through Airflow's object storage, s3fs and a local S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
server = pytest.importorskip("moto.server", reason="moto is the S3 server of these tests")

import s3fs  # noqa: E402
from pyarrow import parquet  # noqa: E402

from airflow_provider_claude_code.sandbox import Sandbox  # noqa: E402
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (  # noqa: E402
    ClaudeCodeToObjectStorageOperator,
)
from tests.records import DAY, people  # noqa: E402

PREFIX = "bucket/claude_code"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    """A bucket, seen as a user of S3 does; the Connection leads Airflow to it."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    access = {"region_name": "us-east-1", "endpoint_url": f"http://{host}:{port}"}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": access}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    system = s3fs.S3FileSystem(
        key="testing", secret="testing", endpoint_url=access["endpoint_url"], skip_instance_cache=True
    )
    system.mkdir("bucket")
    yield system
    running.stop()


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
        yield sandbox


def test_a_day_is_loaded_and_replaced_whole(s3: s3fs.S3FileSystem, sandbox: Sandbox) -> None:
    context: Any = {
        "ti": SimpleNamespace(dag_id="usage", run_id="manual__1"),
        "dag_run": SimpleNamespace(run_type="manual"),
        "outlet_events": {},
    }
    for count in (5, 3):
        records = people(count, DAY)
        sandbox.records = lambda day, _, records=records: records
        ClaudeCodeToObjectStorageOperator(
            task_id="load", path=f"s3://{PREFIX}", conn_id="aws_default", day=str(DAY)
        ).execute(context)

        s3.invalidate_cache()
        assert s3.find(f"{PREFIX}/usage") == [f"{PREFIX}/usage/dt={DAY}/usage.parquet"]
        with s3.open(f"{PREFIX}/usage/dt={DAY}/usage.parquet") as file:
            rows = parquet.read_table(file).to_pylist()
        assert sorted((row["actor_id"], row["num_sessions"]) for row in rows) == sorted(
            (record["actor"]["email_address"], record["core_metrics"]["num_sessions"]) for record in records
        )
    assert len(s3.find(f"{PREFIX}/loads")) == 2

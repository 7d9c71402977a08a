"""A day in S3, through Airflow's object storage, s3fs and a local S3 server."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
server = pytest.importorskip("moto.server", reason="moto is the S3 server of these tests")

import s3fs  # noqa: E402
from airflow.sdk import ObjectStoragePath  # noqa: E402
from airflow.sdk.io import attach  # noqa: E402
from pyarrow import parquet  # noqa: E402

from airflow_provider_claude_code.exceptions import (  # noqa: E402
    ClaudeCodePublishError,
    ClaudeCodeSourceError,
)
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator  # noqa: E402
from airflow_provider_claude_code.sandbox import Sandbox  # noqa: E402
from airflow_provider_claude_code.storage.stores import ObjectStore  # noqa: E402
from airflow_provider_claude_code.targets.files import FileTarget  # noqa: E402
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (  # noqa: E402
    ClaudeCodeToObjectStorageOperator,
)
from airflow_provider_claude_code.version_compat import AirflowFailException  # noqa: E402
from tests.fixtures.records import DAY, people  # noqa: E402
from tests.fixtures.servers.wire import Wire  # noqa: E402
from tests.fixtures.serving import connect_to  # noqa: E402

PREFIX = "bucket/claude_code"


@dataclass
class S3:
    """A server, seen as a user of S3 does, and the Connection that leads Airflow to it."""

    url: str
    system: s3fs.S3FileSystem
    conn_id: str


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Make a Connection, and return its id. Airflow keeps the file system that it has opened for one."""
    conn_id = f"s3_{uuid.uuid4().hex}"
    access = {"region_name": "us-east-1", "endpoint_url": url, "config_kwargs": {"retries": {"max_attempts": 0}}}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": access}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return conn_id


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server with a bucket."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    # All its servers share what they hold.
    httpx.post(f"{url}/moto-api/reset")
    system = s3fs.S3FileSystem(key="testing", secret="testing", endpoint_url=url, skip_instance_cache=True)
    system.mkdir("bucket")
    yield S3(url, system, connect(monkeypatch, url))
    running.stop()


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        connect_to(sandbox, monkeypatch)
        yield sandbox


def load(path: str, conn_id: str) -> None:
    context: Any = {
        "ti": SimpleNamespace(dag_id="usage", run_id="manual__1"),
        "dag_run": SimpleNamespace(run_type="manual"),
        "outlet_events": {},
    }
    ClaudeCodeToObjectStorageOperator(task_id="load", path=path, conn_id=conn_id, day=str(DAY)).execute(context)


def test_a_day_is_loaded_and_replaced_whole(s3: S3, sandbox: Sandbox) -> None:
    for count in (5, 3):
        records = people(count, DAY)
        sandbox.records = lambda day, _, records=records: records
        load(f"s3://{PREFIX}", s3.conn_id)

        s3.system.invalidate_cache()
        assert s3.system.find(f"{PREFIX}/usage") == [f"{PREFIX}/usage/dt={DAY}/usage.parquet"]
        with s3.system.open(f"{PREFIX}/usage/dt={DAY}/usage.parquet") as file:
            rows = parquet.read_table(file).to_pylist()
        assert sorted((row["actor_id"], row["num_sessions"]) for row in rows) == sorted(
            (record["actor"]["email_address"], record["core_metrics"]["num_sessions"]) for record in records
        )
    assert len(s3.system.find(f"{PREFIX}/loads")) == 2


def test_a_missing_bucket_fails_for_good(s3: S3, sandbox: Sandbox) -> None:
    with pytest.raises(
        AirflowFailException, match=r"s3://(\w+@)?no-such-bucket/x.*NoSuchBucket.*Check that the bucket exists"
    ):
        load("s3://no-such-bucket/x", s3.conn_id)
    s3.system.mkdir("no-such-bucket")
    load("s3://no-such-bucket/x", s3.conn_id)


def test_missing_credentials_are_tried_again(
    s3: S3, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    attach("s3", conn_id="nobody", fs=s3fs.S3FileSystem(endpoint_url=s3.url, skip_instance_cache=True))
    store = ObjectStore(ObjectStoragePath("s3://bucket/x", conn_id="nobody"))
    with pytest.raises(ClaudeCodePublishError, match=r"Unable to locate credentials.*Correct the credentials"):
        FileTarget(store, "usage", "parquet").last_loaded_at(DAY)


def test_an_endpoint_that_cannot_be_reached_is_tried_again_later(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        conn_id = connect(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ClaudeCodePublishError, match=r"Could not connect.*Try again later.*endpoint_url"):
            load(f"s3://{PREFIX}", conn_id)
    assert sandbox.requests == []


# Codes and statuses as in the reference of S3.
@pytest.mark.parametrize(
    ("status", "code", "error", "advice"),
    [
        (403, "AccessDenied", AirflowFailException, "the account of the Connection"),
        (403, "InvalidAccessKeyId", AirflowFailException, "Correct the credentials"),
        (403, "SignatureDoesNotMatch", AirflowFailException, "Correct the credentials"),
        (403, "RequestTimeTooSkewed", AirflowFailException, "clock"),
        (400, "InvalidBucketName", AirflowFailException, "bucket's name"),
        (400, "KMS.DisabledException", AirflowFailException, "encryption key"),
        (400, "SomethingNew", AirflowFailException, "a retry does not help"),
        (400, "ExpiredToken", ClaudeCodePublishError, "new credentials"),
        (400, "IncompleteBody", ClaudeCodePublishError, "Try again later"),
        (503, "SlowDown", ClaudeCodePublishError, "Try again later"),
        (500, "InternalError", ClaudeCodePublishError, "Try again later"),
    ],
)
def test_what_s3_refuses_says_what_to_do_and_whether_a_retry_helps(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    error: type[Exception],
    advice: str,
) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said\nso</Message></Error>"
    with ExitStack() as stack:
        wire = Wire(stack)
        wire.answers = [Wire.answer(status, body.encode())]
        conn_id = connect(monkeypatch, wire.base_url)
        with pytest.raises(error, match=f"said.*so.*{code}.*{advice}") as refusal:
            load(f"s3://{PREFIX}", conn_id)
    assert str(refusal.value).isprintable()
    assert sandbox.requests == []


def test_a_report_reads_loads_from_the_cache_and_those_that_it_lacks(
    s3: S3, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb", reason="the extra `report` is not installed")
    pytest.importorskip("sqlglot", reason="the extra `report` is not installed")
    from airflow_provider_claude_code.analytics.engines.duckdb import open_files
    from airflow_provider_claude_code.analytics.queries import Settings

    root = ObjectStoragePath(f"s3://{PREFIX}", conn_id=s3.conn_id)
    fetched: list[str] = []
    get = root.fs.get

    def record(keys: list[str], *arguments: Any) -> None:
        fetched.extend(key for key in keys if "/loads/" in key)
        get(keys, *arguments)

    monkeypatch.setattr(root.fs, "get", record)
    for count in (1, 2):
        load(f"s3://{PREFIX}", s3.conn_id)
        fetched.clear()
        for _ in range(2):
            with open_files(root, Settings()) as source:
                loads = source._database.sql("FROM claude_code.loads").to_arrow_table().to_pylist()
            assert len(loads) == 3 * count
        assert len(fetched) == 1, "the newest load, and only once"
    # Of the same size: only its ETag tells.
    (key,) = fetched
    s3.system.pipe_file(key, b"x" * s3.system.size(key))
    with pytest.raises(ClaudeCodeSourceError, match="could not be queried"), open_files(root, Settings()):
        pass


def test_a_report_on_s3_is_written_to_it_with_its_cells_and_linked_to_the_console(s3: S3, sandbox: Sandbox) -> None:
    for needed in ("duckdb", "matplotlib", "sqlglot"):
        pytest.importorskip(needed, reason="the extra `report` is not installed")
    sandbox.records = lambda day, _: people(6, day)
    load(f"s3://{PREFIX}", s3.conn_id)
    made = ClaudeCodeReportOperator(
        task_id="report",
        path=f"s3://{PREFIX}",
        conn_id=s3.conn_id,
        report_path="s3://bucket/reports/a day.html",
        report_conn_id=s3.conn_id,
        first_day=str(DAY),
        last_day=str(DAY),
        people=True,
    ).execute({"ti": SimpleNamespace(dag_id="usage", task_id="report"), "outlet_events": {}})
    assert made["link"] == "https://console.aws.amazon.com/s3/object/bucket?prefix=reports/a%20day.html"
    s3.system.invalidate_cache()
    written = {name: s3.system.cat_file(name).decode() for name in s3.system.find("bucket/reports")}
    assert set(written) == {f"bucket/reports/a day.{kind}" for kind in ("csv", "html", "json")}
    assert "person-0@example.com" in written.pop("bucket/reports/a day.html")
    for beside in written.values():
        assert sandbox.organization.name in beside
        assert "@example.com" not in beside

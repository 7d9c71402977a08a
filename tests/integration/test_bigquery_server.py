"""
The local BigQuery server behaves as we take the service to behave, seen through Google's own client.

These tests keep the server honest for the tests of the loader; they say nothing about the service itself.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

bigquery = pytest.importorskip("google.cloud.bigquery", reason="the extra `google` is not installed")
pytest.importorskip("sqlglot", reason="the local BigQuery server translates SQL with sqlglot")

from google.api_core import exceptions  # noqa: E402
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.auth.transport.requests import AuthorizedSession  # noqa: E402

from tests.fixtures.bigquery_discovery import Discovery  # noqa: E402
from tests.fixtures.servers.bigquery import BigQueryServer, DroppedConnection, FailingJob, HttpError, SlowJob  # noqa: E402

pytestmark = pytest.mark.newest_only

PROJECT = "demo-proj"
TABLE = f"{PROJECT}.claude.usage"
MONDAY, TUESDAY = date(2025, 9, 8), date(2025, 9, 9)

SCHEMA = [
    bigquery.SchemaField("date", "DATE", "REQUIRED"),
    bigquery.SchemaField("actor_id", "STRING"),
    bigquery.SchemaField("sessions", "INTEGER", "REQUIRED"),
    bigquery.SchemaField("cost", "NUMERIC"),
    bigquery.SchemaField("is_remote", "BOOLEAN"),
    bigquery.SchemaField("loaded_at", "TIMESTAMP"),
]
ARROW = pa.schema(
    {
        "date": pa.date32(),
        "actor_id": pa.string(),
        "sessions": pa.int64(),
        "cost": pa.decimal128(38, 9),
        "is_remote": pa.bool_(),
        "loaded_at": pa.timestamp("us", tz="UTC"),
    }
)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def running_server() -> Iterator[BigQueryServer]:
    with BigQueryServer(PROJECT) as server:
        yield server


@pytest.fixture
def server(running_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> BigQueryServer:
    running_server.clear()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", running_server.url)
    return running_server


@pytest.fixture
def client(server: BigQueryServer) -> Any:
    """A client of a server with a dataset and an empty table that is partitioned by day."""
    client = bigquery.Client(PROJECT, AnonymousCredentials())
    dataset = bigquery.Dataset(f"{PROJECT}.claude")
    dataset.location = "EU"
    client.create_dataset(dataset)
    table = bigquery.Table(TABLE, SCHEMA)
    table.time_partitioning = bigquery.TimePartitioning(field="date")
    client.create_table(table)
    return client


def rows(day: date, count: int, **values: Any) -> list[Row]:
    return [{"date": day, "actor_id": f"{number}@example.com", "sessions": number, **values} for number in range(count)]


def parquet(content: Sequence[Row], schema: pa.Schema = ARROW) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(content), schema=schema), file)
    return file.getvalue()


def ndjson(content: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, default=str) + "\n" for row in content).encode()


def load(
    client: Any, body: bytes, target: str, job_id: str | None = None, *, resumable: bool = False, **config: Any
) -> Any:
    """Start a load job; Parquet is told from JSON by its first bytes."""
    source_format = "PARQUET" if body.startswith(b"PAR1") else "NEWLINE_DELIMITED_JSON"
    settings = {"source_format": source_format, "write_disposition": "WRITE_TRUNCATE", "schema": SCHEMA, **config}
    return client.load_table_from_file(
        io.BytesIO(body),
        target,
        size=None if resumable else len(body),
        job_id=job_id,
        job_config=bigquery.LoadJobConfig(**settings),
        num_retries=0,
    )


def counts(client: Any) -> dict[date, int]:
    """Count the rows of each day."""
    query = f"SELECT date, COUNT(*) AS n FROM `{TABLE}` GROUP BY date"
    return {row.date: row.n for row in client.query_and_wait(query)}


@pytest.mark.parametrize("form", [ndjson, parquet])
def test_truncating_a_partition_replaces_that_day_alone(client: Any, form: Any) -> None:
    load(client, form(rows(MONDAY, 3)), f"{TABLE}$20250908").result()
    load(client, form(rows(TUESDAY, 2)), f"{TABLE}$20250909").result()
    job = load(client, form(rows(MONDAY, 1)), f"{TABLE}$20250908").result()
    assert job.output_rows == 1
    assert counts(client) == {MONDAY: 1, TUESDAY: 2}
    assert client.get_table(f"{TABLE}$20250909").num_rows == 2
    assert client.get_table(TABLE).num_rows == 3
    assert client.list_partitions(TABLE) == ["20250908", "20250909"]


@pytest.mark.parametrize("form", [ndjson, parquet])
def test_rows_of_another_day_fail_the_load_and_the_data_stays(client: Any, form: Any) -> None:
    load(client, form(rows(MONDAY, 3)), f"{TABLE}$20250908").result()
    job = load(client, form(rows(MONDAY, 1) + rows(TUESDAY, 1)), f"{TABLE}$20250908")
    with pytest.raises(exceptions.BadRequest, match="Some rows belong to different partitions"):
        job.result()
    assert counts(client) == {MONDAY: 3}


@pytest.mark.parametrize("body", [b"", parquet([])], ids=["ndjson", "parquet"])
def test_a_load_of_no_rows_empties_the_partition(client: Any, body: bytes) -> None:
    for day in (MONDAY, TUESDAY):
        load(client, ndjson(rows(day, 2)), f"{TABLE}${day:%Y%m%d}").result()
    settings = {"source_format": "PARQUET"} if body else {}
    load(client, body, f"{TABLE}$20250908", **settings).result()
    assert counts(client) == {TUESDAY: 2}
    assert client.get_table(f"{TABLE}$20250908").num_rows == 0


def test_a_partition_can_be_deleted(client: Any) -> None:
    load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908").result()
    client.delete_table(f"{TABLE}$20250908")
    assert counts(client) == {}
    with pytest.raises(exceptions.NotFound):
        client.delete_table(f"{TABLE}$20250908")


def test_a_job_id_is_used_once_even_if_its_job_failed(client: Any) -> None:
    load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908", "first").result()
    with pytest.raises(exceptions.BadRequest):
        load(client, ndjson(rows(TUESDAY, 1)), f"{TABLE}$20250908", "second").result()
    for job_id in ("first", "second"):
        for resumable in (False, True):
            with pytest.raises(exceptions.Conflict):
                load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", job_id, resumable=resumable)
    assert client.get_job("second", location="EU").error_result["reason"] == "invalid"
    assert counts(client) == {MONDAY: 2}


@pytest.mark.parametrize("job_id", ["with space", "dollar$20250908", "x" * 1025])
def test_a_job_id_has_an_alphabet_and_a_length(client: Any, job_id: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="Invalid job ID"):
        load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", job_id)


def test_a_job_lives_where_its_dataset_is(client: Any) -> None:
    job = load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", "here")
    assert job.location == "EU"
    with pytest.raises(exceptions.NotFound, match="Not found: Job"):
        client.get_job("here", location="asia-east1")
    elsewhere = bigquery.Client(PROJECT, AnonymousCredentials(), location="US")
    with pytest.raises(exceptions.NotFound, match="not found in location US"):
        load(elsewhere, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908")


@pytest.mark.parametrize("resumable", [False, True])
def test_a_job_runs_although_the_connection_dropped_after_its_acceptance(
    server: BigQueryServer, client: Any, resumable: bool
) -> None:
    server.faults = [DroppedConnection(times=1)]
    with pytest.raises(OSError, match="Remote end closed connection without response"):
        load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908", "lost", resumable=resumable)
    assert [request.status for request in server.requests][-1] is None
    with pytest.raises(exceptions.Conflict):
        load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908", "lost", resumable=resumable)
    assert client.get_job("lost", location="EU").result().output_rows == 2
    assert counts(client) == {MONDAY: 2}


def test_a_slow_job_that_is_released_late_overwrites_a_newer_one(server: BigQueryServer, client: Any) -> None:
    release = threading.Event()
    server.faults = [SlowJob(table="usage", release=release, times=1)]
    slow = load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", "slow")
    load(client, ndjson(rows(MONDAY, 5)), f"{TABLE}$20250908", "quick").result()
    slow.reload()
    assert slow.state == "RUNNING"
    assert [job.job_id for job in client.list_jobs(state_filter="running")] == ["slow"]
    assert counts(client) == {MONDAY: 5}
    release.set()
    assert slow.result().state == "DONE"
    assert counts(client) == {MONDAY: 1}
    first, second = (job for job in server.jobs if job.kind == "load")
    assert (first.id, second.id) == ("slow", "quick")
    assert first.destination == second.destination == "claude.usage$20250908"
    assert first.started < second.started < second.ended < first.ended


def test_a_slow_job_can_be_cancelled_and_then_changes_nothing(server: BigQueryServer, client: Any) -> None:
    load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908").result()
    server.faults = [SlowJob()]
    job = load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", "slow")
    assert job.cancel()
    with pytest.raises(exceptions.GoogleAPICallError):
        job.result()
    assert job.error_result["reason"] == "stopped"
    server.faults = []
    assert counts(client) == {MONDAY: 2}


def test_cancelling_may_come_to_nothing(server: BigQueryServer, client: Any) -> None:
    release = threading.Event()
    server.faults = [SlowJob(job_id="slow", release=release, cancellable=False)]
    job = load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908", "slow")
    job.cancel()
    assert job.state == "RUNNING"
    release.set()
    job.result()
    assert counts(client) == {MONDAY: 1}


def test_a_slow_job_goes_on_by_itself_after_its_time(server: BigQueryServer, client: Any) -> None:
    server.faults = [SlowJob(seconds=0.01)]
    load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").result()
    assert server.jobs[-1].state == "DONE"


def test_a_failing_job_keeps_the_data(server: BigQueryServer, client: Any) -> None:
    server.faults = [FailingJob(table="usage$20250908", nth=2, times=1, reason="quotaExceeded")]
    for count in (3, 2):
        # Another day is no match of the rule.
        load(client, ndjson(rows(TUESDAY, count)), f"{TABLE}$20250909").result()
    load(client, ndjson(rows(MONDAY, 3)), f"{TABLE}$20250908").result()
    with pytest.raises(exceptions.Forbidden):
        load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").result()
    assert counts(client) == {MONDAY: 3, TUESDAY: 2}
    assert [job.reason for job in server.jobs if job.kind == "load"] == [None, None, None, "quotaExceeded"]
    load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").result()
    assert counts(client) == {MONDAY: 1, TUESDAY: 2}


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (503, "backendError", exceptions.ServiceUnavailable),
        (403, "rateLimitExceeded", exceptions.Forbidden),
        (403, "quotaExceeded", exceptions.Forbidden),
        (412, "conditionNotMet", exceptions.PreconditionFailed),
    ],
)
def test_a_call_can_be_answered_with_an_error_and_does_nothing(
    server: BigQueryServer, client: Any, status: int, reason: str, expected: type[Exception]
) -> None:
    server.faults = [
        HttpError(method="tables.patch", path="/tables/usage", nth=2, times=1, status=status, reason=reason)
    ]
    table = client.get_table(TABLE)
    for number, description in enumerate(("one", "two", "three"), 1):
        table.description = description
        if number == 2:
            with pytest.raises(expected) as caught:
                client.update_table(table, ["description"], retry=None)
            assert caught.value.errors[0]["reason"] == reason
            assert client.get_table(TABLE).description == "one"
        else:
            table = client.update_table(table, ["description"], retry=None)
    assert client.get_table(TABLE).description == "three"


@pytest.mark.parametrize("query", ["SELECT * FROM ({})", "WITH other AS ({}) SELECT * FROM other"])
def test_recursive_steps_are_only_allowed_at_the_top_level(client: Any, query: str) -> None:
    recursive = "WITH RECURSIVE step AS ((SELECT 1 AS x) UNION ALL SELECT * FROM step WHERE FALSE) SELECT x FROM step"
    client.query_and_wait(f"CREATE VIEW `{PROJECT}.claude.recursive` AS {recursive}")

    with pytest.raises(exceptions.BadRequest, match="WITH RECURSIVE is only allowed at the top level"):
        client.query_and_wait(query.format(recursive))
    rows = client.query_and_wait(query.format(f"SELECT * FROM `{PROJECT}.claude.recursive`"))
    assert [row["x"] for row in rows] == [1]


def test_a_patch_adds_nullable_columns_and_nothing_else(client: Any) -> None:
    load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").result()

    def patch(schema: Sequence[Any]) -> Any:
        table = client.get_table(TABLE)
        table.schema = schema
        return client.update_table(table, ["schema"])

    extra = bigquery.SchemaField("extra", "STRING", description="Added later")
    for refused, message in (
        ([*SCHEMA, bigquery.SchemaField("extra", "STRING", "REQUIRED")], "Cannot add required fields"),
        (SCHEMA[:-1], "Field loaded_at is missing in new schema"),
        ([*SCHEMA[:-1], bigquery.SchemaField("loaded_at", "STRING")], "changed type from TIMESTAMP to STRING"),
        ([SCHEMA[0], bigquery.SchemaField("actor_id", "STRING", "REQUIRED"), *SCHEMA[2:]], "from NULLABLE to REQUIRED"),
    ):
        with pytest.raises(exceptions.BadRequest, match=message):
            patch(refused)
        assert client.get_table(TABLE).schema == SCHEMA
    assert patch([*SCHEMA, extra]).schema == [*SCHEMA, extra]
    relaxed = [*SCHEMA[:2], bigquery.SchemaField("sessions", "INTEGER"), *SCHEMA[3:], extra]
    assert patch(relaxed).schema == relaxed
    assert [row.extra for row in client.list_rows(TABLE)] == [None]
    load(client, parquet([{"date": MONDAY}]), f"{TABLE}$20250908", schema=relaxed).result()
    assert [row.sessions for row in client.list_rows(TABLE)] == [None]


def test_a_load_that_describes_another_layout_is_refused(client: Any) -> None:
    load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").result()
    for layout in (
        {"time_partitioning": bigquery.TimePartitioning("MONTH", field="date")},
        {"clustering_fields": ["actor_id"]},
    ):
        with pytest.raises(exceptions.BadRequest, match="Incompatible table"):
            load(client, ndjson(rows(MONDAY, 2)), f"{TABLE}$20250908", **layout).result()
    assert counts(client) == {MONDAY: 1}


def test_a_patch_of_an_outdated_table_is_refused(client: Any) -> None:
    outdated, current = client.get_table(TABLE), client.get_table(TABLE)
    current.labels = {"organization": "one"}
    client.update_table(current, ["labels"])
    outdated.labels = {"organization": "two"}
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(outdated, ["labels"])
    assert client.get_table(TABLE).labels == {"organization": "one"}


@pytest.mark.parametrize("labels", [{"organization": "UPPER"}, {"organization": "x" * 64}, {"1": "x"}])
def test_labels_have_an_alphabet_and_a_length(client: Any, labels: dict[str, str]) -> None:
    table = client.get_table(TABLE)
    table.labels = labels
    with pytest.raises(exceptions.BadRequest, match="Label"):
        client.update_table(table, ["labels"])


def test_a_column_is_added_by_a_load_only_where_the_service_allows_it(client: Any) -> None:
    extra = bigquery.SchemaField("extra", "STRING")
    body = ndjson(rows(MONDAY, 1, extra="x"))
    option = {"schema_update_options": ["ALLOW_FIELD_ADDITION"]}
    with pytest.raises(exceptions.BadRequest, match="Cannot add fields"):
        load(client, body, f"{TABLE}$20250908", schema=[*SCHEMA, extra]).result()
    # Refused at once: there is no job.
    with pytest.raises(exceptions.BadRequest, match="Schema update options should only be specified"):
        load(client, body, TABLE, schema=[*SCHEMA, extra], **option)
    required = bigquery.SchemaField("extra", "STRING", "REQUIRED")
    with pytest.raises(exceptions.BadRequest, match="Cannot add required fields"):
        load(client, body, f"{TABLE}$20250908", schema=[*SCHEMA, required], **option).result()
    assert client.get_table(TABLE).schema == SCHEMA
    load(client, body, f"{TABLE}$20250908", schema=[*SCHEMA, extra], **option).result()
    assert [row.extra for row in client.list_rows(TABLE)] == ["x"]


def test_a_failed_load_takes_its_new_column_back(client: Any) -> None:
    body = ndjson(rows(TUESDAY, 1, extra="x"))
    schema = [*SCHEMA, bigquery.SchemaField("extra", "STRING")]
    with pytest.raises(exceptions.BadRequest, match="different partitions"):
        load(client, body, f"{TABLE}$20250908", schema=schema, schema_update_options=["ALLOW_FIELD_ADDITION"]).result()
    assert client.get_table(TABLE).schema == SCHEMA


def test_an_upload_in_chunks_arrives_whole(
    server: BigQueryServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client's own chunks are of 100 MiB.
    monkeypatch.setattr("google.cloud.bigquery.client._DEFAULT_CHUNKSIZE", 256 * 1024)
    content = rows(MONDAY, 6000)
    body = ndjson(content)
    assert 512 * 1024 > len(body) > 256 * 1024
    job = load(client, body, f"{TABLE}$20250908", resumable=True).result()
    assert job.input_file_bytes == len(body)
    assert job.output_rows == 6000
    uploads = [(request.method, request.status) for request in server.requests if "upload" in request.path]
    assert uploads == [("jobs.insert", 200), ("jobs.upload", 308), ("jobs.upload", 200)]


def test_parquet_arrives_exactly(client: Any) -> None:
    values = {
        "date": MONDAY,
        "actor_id": None,
        "sessions": 2**63 - 1,
        "cost": Decimal("12345678901234567890123456789.123456789"),
        "is_remote": False,
        "loaded_at": datetime(2025, 9, 9, 1, 2, 3, 456789, tzinfo=UTC),
    }
    load(client, parquet([values]), f"{TABLE}$20250908").result()
    [row] = client.list_rows(TABLE)
    assert dict(row) == values
    [row] = client.query_and_wait(f"SELECT * FROM `{TABLE}`")
    assert dict(row) == values


def test_a_column_of_parquet_has_to_match_the_table(client: Any) -> None:
    target = f"{TABLE}$20250908"
    load(client, parquet(rows(MONDAY, 1)), target).result()
    required = ARROW.set(1, ARROW.field("actor_id").with_nullable(False))
    with pytest.raises(exceptions.BadRequest, match="actor_id has changed mode from NULLABLE to REQUIRED"):
        load(client, parquet(rows(MONDAY, 2), required), target).result()
    text = ARROW.set(2, pa.field("sessions", pa.string()))
    with pytest.raises(exceptions.BadRequest, match="'sessions' has type STRING"):
        load(client, parquet([{"date": MONDAY, "sessions": "2"}], text), target).result()
    with pytest.raises(exceptions.BadRequest, match="sessions"):
        load(client, parquet([{"date": MONDAY}]), target).result()
    assert counts(client) == {MONDAY: 1}


def test_a_list_of_parquet_is_lost_in_silence_without_list_inference(client: Any) -> None:
    schema = [bigquery.SchemaField("names", "STRING", "REPEATED")]
    body = parquet([{"names": ["a", "b"]}], pa.schema({"names": pa.list_(pa.string())}))
    load(client, body, f"{PROJECT}.claude.lists", schema=schema).result()
    assert [row.names for row in client.list_rows(f"{PROJECT}.claude.lists")] == [[]]
    options = bigquery.ParquetOptions()
    options.enable_list_inference = True
    load(client, body, f"{PROJECT}.claude.lists", schema=schema, parquet_options=options).result()
    assert [row.names for row in client.list_rows(f"{PROJECT}.claude.lists")] == [["a", "b"]]


def test_what_a_table_is_created_with_is_kept(client: Any) -> None:
    key = f"projects/{PROJECT}/locations/eu/keyRings/ring/cryptoKeys/key"
    load(
        client,
        ndjson(rows(MONDAY, 1)),
        f"{PROJECT}.claude.created$20250908",
        time_partitioning=bigquery.TimePartitioning(field="date"),
        clustering_fields=["actor_id"],
        destination_encryption_configuration=bigquery.EncryptionConfiguration(key),
        destination_table_description="Usage",
    ).result()
    table = client.get_table(f"{PROJECT}.claude.created")
    table.labels = {"organization": "x"}
    table.require_partition_filter = True
    client.update_table(table, ["labels", "require_partition_filter"])
    load(client, ndjson(rows(MONDAY, 2)), f"{PROJECT}.claude.created$20250908").result()
    table = client.get_table(f"{PROJECT}.claude.created")
    assert (table.num_rows, table.description, table.labels) == (2, "Usage", {"organization": "x"})
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "date")
    assert (table.clustering_fields, table.encryption_configuration.kms_key_name) == (["actor_id"], key)
    with pytest.raises(exceptions.BadRequest, match="without a filter over column"):
        client.query_and_wait(f"SELECT * FROM `{PROJECT}.claude.created`")
    assert client.query_and_wait(f"SELECT * FROM `{PROJECT}.claude.created` WHERE date = '2025-09-08'").total_rows == 2


def test_airflows_hook_reaches_the_server(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = pytest.importorskip("airflow.providers.google.cloud.hooks.bigquery", reason="no Google provider")
    extra = {"is_anonymous": True, "project": PROJECT}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    hook = hooks.BigQueryHook(location="EU", use_legacy_sql=False)
    assert hook.table_exists(project_id=PROJECT, dataset_id="claude", table_id="usage")
    query = {"query": f"SELECT COUNT(*) AS n FROM `{TABLE}`", "useLegacySql": False}
    job = hook.insert_job(configuration={"query": query}, project_id=PROJECT)
    assert [row.n for row in job.result()] == [0]


def test_a_conversation_is_valid_against_googles_description_of_the_api(server: BigQueryServer) -> None:
    api = Discovery.of_google()
    session = AuthorizedSession(AnonymousCredentials())
    session.hooks["response"].append(lambda response, **_: api.check(response))
    client = bigquery.Client(PROJECT, AnonymousCredentials(), _http=session, location="EU")

    client.create_dataset("claude")
    table = bigquery.Table(TABLE, SCHEMA)
    table.time_partitioning = bigquery.TimePartitioning(field="date")
    table.clustering_fields = ["actor_id"]
    client.create_table(table)
    load(client, parquet(rows(MONDAY, 2)), f"{TABLE}$20250908").result()
    load(client, ndjson(rows(MONDAY, 3)), f"{TABLE}$20250908", resumable=True).result()
    with pytest.raises(exceptions.BadRequest):
        load(client, ndjson(rows(TUESDAY, 1)), f"{TABLE}$20250908", "wrong").result()
    with pytest.raises(exceptions.Conflict):
        load(client, ndjson(rows(TUESDAY, 1)), f"{TABLE}$20250908", "wrong")
    server.faults = [SlowJob(table="usage")]
    load(client, ndjson(rows(MONDAY, 1)), f"{TABLE}$20250908").cancel()
    table = client.get_table(TABLE)
    table.labels = {"organization": "x"}
    client.update_table(table, ["labels"])
    view = bigquery.Table(f"{PROJECT}.claude.view")
    view.view_query = f"SELECT date, SUM(sessions) AS sessions, SUM(cost) AS cost FROM `{TABLE}` GROUP BY date"
    client.create_table(view)
    assert client.query_and_wait(f"SELECT * FROM `{PROJECT}.claude.view`").total_rows == 1
    deleted = client.query(f"DELETE FROM `{TABLE}` WHERE sessions = 0")
    deleted.result()
    assert deleted.num_dml_affected_rows == 1
    assert len(list(client.list_rows(f"{TABLE}$20250908"))) == 2
    assert client.insert_rows_json(TABLE, [{"date": "2025-09-09"}]) != []
    assert [len(list(found)) for found in (client.list_datasets(), client.list_tables("claude"))] == [1, 2]
    assert len(list(client.list_jobs())) == 6
    client.delete_table(TABLE)
    client.delete_dataset("claude", delete_contents=True)

    assert api.problems == []
    assert api.methods >= {"jobs.insert", "jobs.get", "jobs.cancel", "jobs.list", "jobs.query", "jobs.getQueryResults"}
    assert api.methods >= {f"tables.{verb}" for verb in ("insert", "get", "patch", "delete", "list")}
    assert api.methods >= {"datasets.insert", "tabledata.list", "tabledata.insertAll"}
    assert "unknown" not in api.methods

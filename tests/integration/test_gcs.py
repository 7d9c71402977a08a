"""Days of usage arrive in a Cloud Storage bucket whole or not at all, whoever writes and whatever fails."""

import csv
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("airflow.providers.google")

import google.cloud.storage
import google.cloud.storage.blob
import google.cloud.storage.retry
import google.resumable_media._helpers
import pyarrow as pa
import pyarrow.parquet
from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk import AssetAlias
from google.auth.credentials import AnonymousCredentials

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    ClaudeCodeServerError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.storage import gcs as gcs_store
from airflow_provider_claude_code.storage.gcs import GCSStore
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures import buckets, store_behaviours
from tests.fixtures.buckets import BUCKET, Bucket, give_up_soon, lead_clients_to, load, run
from tests.fixtures.files import assert_shown_when_inconsistent
from tests.fixtures.gcs_discovery import Discovery
from tests.fixtures.records import DAY, TABLES
from tests.fixtures.servers.gcs import Fault, GCSServer
from tests.fixtures.serving import serve, serve_differently_each_time
from tests.fixtures.store_behaviours import Put, StoreBehaviours

ROOT = Path(__file__).parents[2]
# The operations of the service that publishing a day uses.
OPERATIONS = ("objects.list", "objects.get", "objects.download", "objects.insert", "objects.delete")

put = store_behaviours.put
service = buckets.service

DISCOVERY = Discovery()


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def gcs(service: GCSServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GCSServer]:
    """The server, empty; at the end, all that was said must be as Google's discovery document has it."""
    service.reset(BUCKET)
    lead_clients_to(service, monkeypatch)
    yield service
    assert [problem for call in service.requests for problem in DISCOVERY.problems(call)] == []


@pytest.fixture
def sandbox(api: Sandbox, gcs: GCSServer, monkeypatch: pytest.MonkeyPatch, spool: Path) -> Iterator[Sandbox]:
    """A sandbox with three people a day, Connections of two organisations, and a spool that must end empty."""
    for name, key in {"CLAUDE_CODE_DEFAULT": api.api_key, "RIVALS": f"{api.api_key}-rivals"}.items():
        connection = {"conn_type": "claude_code", "host": api.base_url, "password": key, "extra": {"retry_budget": 0}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    api.requests.clear()
    serve(api, 3)
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0)
    yield api
    api.faults = Faults()


@pytest.fixture
def place(gcs: GCSServer) -> Bucket:
    return Bucket(gcs)


@pytest.fixture(params=["multipart", "resumable"])
def upload(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files go up in one request, or as those of more than 8 MiB do."""
    if request.param == "resumable":
        monkeypatch.setattr(google.cloud.storage.blob, "_MAX_MULTIPART_SIZE", 16)
    return str(request.param)


def walks(sandbox: Sandbox) -> int:
    """How often a day was read."""
    return len([request for request in sandbox.requests if {"starting_at"} == dict(request.params).keys() - {"limit"}])


class TestEveryStore(StoreBehaviours):
    @pytest.fixture
    def store(self, gcs: GCSServer) -> GCSStore:
        class EachWriteByItself(GCSStore):
            """Replaces what is there, as publishing does: within exclusive."""

            def write(self, key: str, source: Path) -> None:
                with self.exclusive([key]):
                    super().write(key, source)

        return EachWriteByItself(GCSHook(), BUCKET, "some/prefix")


class TestGCSStore:
    def test_a_url_is_the_objects(self, gcs: GCSServer) -> None:
        assert GCSStore(GCSHook(), BUCKET, "a/b").url("usage/x") == f"gs://{BUCKET}/a/b/usage/x"
        assert GCSStore(GCSHook(), BUCKET, "").url("usage/x") == f"gs://{BUCKET}/usage/x"

    def test_what_nobody_noted_is_created_and_never_replaced(self, place: Bucket, put: Put) -> None:
        store = place.store()
        store.write("a", put(b"1"))
        with pytest.raises(SupersededError, match=f"gs://{BUCKET}/{place.prefix}/a"):
            store.write("a", put(b"2"))
        assert place.tree() == {"a": b"1"}

    def test_what_another_has_created_replaced_or_deleted_since_is_left_to_them(
        self, place: Bucket, put: Put, upload: str
    ) -> None:
        other = place.store()
        for key in ("replaced", "deleted"):
            other.write(key, put(b"other"))
        store = place.store()
        with store.exclusive(["created", "replaced", "deleted"]):
            with other.exclusive(["replaced"]):
                for key in ("created", "replaced"):
                    other.write(key, put(b"newer"))
            other.delete("deleted")
            for key in ("created", "replaced", "deleted"):
                with pytest.raises(SupersededError):
                    store.write(key, put(b"a content of mine"))
        assert place.tree() == {"created": b"newer", "replaced": b"newer"}

    def test_names_of_more_than_a_page_are_all_there(self, place: Bucket, gcs: GCSServer) -> None:
        bucket = google.cloud.storage.Client(project="p", credentials=AnonymousCredentials()).bucket(BUCKET)
        for number in range(1005):
            bucket.blob(f"{place.prefix}/loads/{number:04}").upload_from_string(b"")
        assert sorted(place.store().names("loads")) == [f"{number:04}" for number in range(1005)]


class TestLayout:
    def test_a_new_name_of_the_organisation_replaces_the_old_one(
        self, sandbox: Sandbox, place: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(place)
        monkeypatch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_: "Acme & Sons")
        load(place)
        assert json.loads(place.tree()["_organization.json"])["name"] == "Acme & Sons"
        place.assert_whole()

    @pytest.mark.parametrize("file_format", ["ndjson", "csv"])
    def test_text_files_are_stored_as_they_are_compressed(
        self, sandbox: Sandbox, place: Bucket, file_format: str
    ) -> None:
        load(place, file_format=file_format)
        [name] = [name for name in place.gcs.objects(BUCKET) if "/usage/" in name]
        assert name.endswith(f"usage/dt=2025-09-01/usage.{file_format}.gz")
        # A content encoding would let the service decompress what is downloaded, and no checksum would fit.
        assert not place.gcs.objects(BUCKET)[name].properties.get("contentEncoding")
        text = gzip.decompress(place.gcs.objects(BUCKET)[name].content).decode()
        rows = (
            list(csv.DictReader(io.StringIO(text)))
            if file_format == "csv"
            else [json.loads(line) for line in text.splitlines()]
        )
        assert [row["actor_id"] for row in rows] == [f"person-{number}@example.com" for number in range(3)]
        place.assert_whole()

    @pytest.mark.parametrize(
        ("prefix", "inside"), [("", ""), ("/", ""), ("/a/b/", "a/b/"), ("a", "a/"), ("a b/ü#?%", "a b/ü#?%/")]
    )
    def test_slashes_around_the_prefix_do_not_matter_and_it_may_be_empty(
        self, sandbox: Sandbox, gcs: GCSServer, prefix: str, inside: str
    ) -> None:
        place = Bucket(gcs, prefix)
        for _ in range(2):
            [day] = load(place)["days"]
        assert day["files"]["usage"] == f"gs://{BUCKET}/{inside}usage/dt=2025-09-01/usage.parquet"
        assert f"{inside}usage/dt=2025-09-01/usage.parquet" in gcs.objects(BUCKET)
        assert not any(name.startswith("/") or "//" in name for name in gcs.objects(BUCKET))
        assert len(gcs.objects(BUCKET)) == 6
        place.assert_whole()

    def test_a_prefix_that_begins_anothers_name_is_another_place(self, sandbox: Sandbox, gcs: GCSServer) -> None:
        one, two = Bucket(gcs, "usage"), Bucket(gcs, "usage2")
        load(one)
        before = one.tree()
        load(two, claude_code_conn_id="rivals", file_format="csv")
        assert one.tree() == before
        two.assert_whole()

    @pytest.mark.parametrize("bucket", ["", "gs://usage", "usage/path", "gs://"])
    def test_what_is_no_bucket_name_is_refused_before_the_api_is_asked(self, sandbox: Sandbox, bucket: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match="bucket"):
            ClaudeCodeToGCSOperator(task_id="load", bucket=bucket, day=str(DAY))
        # What a template renders to is known when the task runs.
        operator = ClaudeCodeToGCSOperator(task_id="load", bucket="{{ params.bucket }}", day=str(DAY))
        operator.bucket = bucket
        with pytest.raises(AirflowFailException, match="bucket"):
            run(operator)
        assert sandbox.requests == []

    @pytest.mark.parametrize("prefix", ["gs://usage/a", "/gs://usage", "a//b"])
    def test_a_prefix_that_is_a_url_or_that_reports_cannot_read_is_refused(self, sandbox: Sandbox, prefix: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"prefix is '.*without gs:// and double slashes"):
            ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix=prefix)
        rendered = ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix="{{ a_prefix }}", day=str(DAY))
        rendered.prefix = prefix
        with pytest.raises(AirflowFailException, match="prefix is"):
            run(rendered)

    @pytest.mark.parametrize("bucket", ["-usage", "Usage_", "us..age", "bücket"])
    def test_a_name_that_no_bucket_can_have_fails_for_good(self, sandbox: Sandbox, bucket: str) -> None:
        with pytest.raises(AirflowFailException, match="bucket"):
            run(ClaudeCodeToGCSOperator(task_id="load", bucket=bucket, day=str(DAY)))


class TestReplacement:
    def test_days_and_loads_of_the_object_storage_layout_are_recognised(
        self, sandbox: Sandbox, place: Bucket, put: Put
    ) -> None:
        # As written through gcsfs, which stores no checksum of ours.
        load(place)
        bucket = google.cloud.storage.Client(project="p", credentials=AnonymousCredentials()).bucket(BUCKET)
        for key, content in place.tree().items():
            bucket.blob(f"{place.prefix}/{key}").upload_from_string(content)
        before = place.tree()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError):
            load(place)
        assert place.tree() == before
        serve(sandbox, 4)
        load(place)
        assert len(place.rows("usage")) == 4
        place.assert_whole()


class TestEmptyDays:
    def test_an_inconsistent_day_is_not_erased_either(self, sandbox: Sandbox, place: Bucket, put: Put) -> None:
        load(place)
        store, key = place.store(), f"usage/dt={DAY}/usage.parquet"
        with store.exclusive([key]):
            store.write(key, put(b"of a writer that was killed"))
        before = place.generations()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match="usage: an unknown number"):
            load(place)
        assert place.generations() == before


class TestFailures:
    @pytest.fixture(autouse=True)
    def day_of_another_format(self, sandbox: Sandbox, place: Bucket) -> None:
        """So that a load uses every operation: there is something to read, to replace and to delete."""
        serve(sandbox, 2)
        load(place, file_format="csv")
        serve(sandbox, 3)
        sandbox.requests.clear()
        place.gcs.requests.clear()

    def test_these_are_the_operations_that_are_used(self, sandbox: Sandbox, place: Bucket) -> None:
        load(place)
        used = {call.operation for call in place.gcs.requests}
        assert used - {"buckets.get"} == set(OPERATIONS)

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_short_outage_is_fixed_without_a_second_load(
        self, sandbox: Sandbox, place: Bucket, operation: str, status: int
    ) -> None:
        place.gcs.faults = [Fault(operation, status=status), Fault(operation, nth=2, status=status)]
        load(place)
        assert walks(sandbox) == 1
        assert len(place.rows("usage")) == 3
        assert len(place.loads()) == 2
        place.assert_whole()

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("kind", [{"status": 503}, {"drop": True}], ids=["503", "drop"])
    def test_an_outage_that_lasts_is_an_error_that_a_retry_may_fix(
        self, sandbox: Sandbox, place: Bucket, operation: str, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_up_soon(monkeypatch)
        place.gcs.faults = [Fault(operation, times=None, **kind)]
        try:
            with pytest.raises(ClaudeCodePublishError, match=f"gs://{BUCKET}/{place.prefix}.*again"):
                load(place)
        finally:
            place.gcs.faults = ()
        load(place)
        assert len(place.rows("usage")) == 3
        place.assert_whole()

    def test_a_service_that_cannot_be_reached_is_an_error_that_a_retry_may_fix(
        self, sandbox: Sandbox, place: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_up_soon(monkeypatch)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        with pytest.raises(ClaudeCodePublishError):
            load(place)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_refusal_fails_for_good_with_advice(self, sandbox: Sandbox, place: Bucket, operation: str) -> None:
        place.gcs.faults = [Fault(operation, status=403, times=None)]
        with pytest.raises(AirflowFailException, match=f"gs://{BUCKET}/{place.prefix}.*403.*Storage Object User"):
            load(place)
        place.gcs.faults = ()
        load(place)
        place.assert_whole()

    @pytest.mark.parametrize("status", [403, 503])
    @pytest.mark.parametrize("upload", ["resumable"], indirect=True)
    def test_no_log_shows_the_url_of_an_upload_that_could_be_continued(
        self, sandbox: Sandbox, place: Bucket, upload: str, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_up_soon(monkeypatch)
        place.gcs.faults = [Fault("objects.upload", status=status, times=None)]
        with pytest.raises((AirflowFailException, ClaudeCodePublishError)) as caught:
            load(place)
        # As Airflow logs it, with what caused it.
        log = "".join(traceback.format_exception(caught.value))
        assert str(status) in log
        assert "upload_id=" not in log

    # Reasons as in Google's reference of the JSON API, and texts as people report them.
    @pytest.mark.parametrize(
        ("status", "reason", "text", "advice"),
        [
            (403, "retentionPolicyNotMet", "Object 'b/x' is subject to bucket's retention policy", "retention policy"),
            (403, "objectUnderActiveHold", "Object 'b/x' is under active Temporary hold", "Release the hold"),
            (403, "forbidden", "Prohibited by policy. vpcServiceControlsUniqueIdentifier: x", "perimeter of VPC"),
            (
                403,
                "forbidden",
                "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been "
                "authorized to use this key.",
                "grant the role Cloud KMS",
            ),
            (403, "accountDisabled", "The billing account for the owning project is disabled", "Enable billing"),
            (403, "UserProjectAccountProblem", "The project's billing account is closed", "Enable billing"),
            (400, "userProjectMissing", "Bucket is a requester pays bucket", "requesters pay"),
            (400, "CloudKmsDisabledKey", "Cloud KMS key is disabled", "Enable the encryption key"),
            (400, "invalid", "Invalid bucket name: 'x'", "a retry does not help"),
            (403, "aReasonOfTomorrow", "Something that nobody knows yet", "role Storage Object User"),
        ],
    )
    def test_a_refusal_says_what_google_says_and_what_to_do(
        self, sandbox: Sandbox, place: Bucket, upload: str, status: int, reason: str, text: str, advice: str
    ) -> None:
        before = place.generations()
        place.gcs.faults = [Fault("objects.insert", status=status, reason=reason, message=text, times=None)]
        with pytest.raises(AirflowFailException) as refusal:
            load(place)
        assert text in str(refusal.value)
        assert advice in str(refusal.value)
        assert reason[1:] in str(refusal.value)
        place.gcs.faults = ()
        assert place.generations() == before

    @pytest.mark.parametrize(
        ("held", "said"),
        [
            ("usage", None),
            ("model_usage", "New load: usage; previous state: model_usage, tool_usage."),
            ("tool_usage", "New load: usage, model_usage; previous state: tool_usage."),
            ("loads", "New load: usage, model_usage, tool_usage; previous state: none."),
        ],
    )
    def test_a_refusal_in_the_middle_says_which_tables_hold_which_load(
        self, sandbox: Sandbox, place: Bucket, held: str, said: str | None
    ) -> None:
        load(place)
        serve(sandbox, 4)
        name = f"{place.prefix}/{held}/*"
        place.gcs.faults = [Fault("objects.insert", name=name, status=403, reason="objectUnderActiveHold", times=None)]
        with pytest.raises(AirflowFailException, match="Release the hold") as failure:
            load(place)
        assert len(place.rows("usage")) == (4 if said else 3)
        assert str(failure.value).partition(f" {DAY} is inconsistent until it is loaded again. ")[2] == (said or "")
        place.gcs.faults = ()
        load(place)
        place.assert_whole()

    @pytest.mark.parametrize("reason", ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"])
    def test_a_rate_limit_with_the_status_of_a_refusal_may_pass(
        self, sandbox: Sandbox, place: Bucket, reason: str
    ) -> None:
        place.gcs.faults = [Fault("objects.insert", status=403, reason=reason, times=None)]
        with pytest.raises(ClaudeCodePublishError, match=f"{reason}.*Try again later"):
            load(place)

    def test_what_google_says_forges_no_log_line_and_is_cut(self, sandbox: Sandbox, place: Bucket) -> None:
        text = "no\n2026-01-01 ERROR \x1b[31m\u202eforged " + "x" * 10_000
        place.gcs.faults = [Fault("objects.insert", status=403, message=text, times=None)]
        with pytest.raises(AirflowFailException) as refusal:
            load(place)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 1_000

    @pytest.mark.parametrize("operation", OPERATIONS[:-1])
    def test_a_bucket_that_vanishes_fails_for_good_with_advice(
        self, sandbox: Sandbox, place: Bucket, operation: str
    ) -> None:
        place.gcs.faults = [Fault(operation, bucket_gone=True)]
        with pytest.raises(AirflowFailException, match=r"404.*bucket exist"):
            load(place)

    def test_a_bucket_that_was_never_there_fails_for_good_before_the_api_is_asked(
        self, sandbox: Sandbox, place: Bucket
    ) -> None:
        place.gcs.reset()
        with pytest.raises(AirflowFailException, match=r"404.*bucket exist"):
            load(place)
        assert sandbox.requests == []

    @pytest.mark.parametrize("exists", [False, True])
    def test_the_role_that_is_advised_is_enough(self, sandbox: Sandbox, gcs: GCSServer, exists: bool) -> None:
        # Storage Object User may do everything with objects, and must not look at the bucket itself.
        place = Bucket(gcs)
        if exists:
            load(place)
        gcs.faults = [Fault("buckets.*", status=403, times=None)]
        load(place)
        place.assert_whole()

    @pytest.mark.parametrize("key", ["_organization", "*/usage.", "loads"])
    def test_a_lost_answer_neither_doubles_nor_repeats_a_load(
        self, sandbox: Sandbox, gcs: GCSServer, upload: str, key: str
    ) -> None:
        place = Bucket(gcs)
        name = f"{place.prefix}/{key}*"
        # A resumable upload begins with a request of its own; its last one stores the object.
        gcs.faults = [Fault("objects.insert" if upload == "multipart" else "objects.upload", name=name, drop=True)]
        load(place)
        assert any(call.status is None for call in gcs.requests)
        assert walks(sandbox) == 1
        assert len(place.loads()) == 1
        assert len(place.rows("usage")) == 3
        place.assert_whole()

    def test_a_large_file_goes_up_in_chunks_and_survives_a_lost_answer_to_one(
        self, sandbox: Sandbox, gcs: GCSServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(google.cloud.storage.blob, "_MAX_MULTIPART_SIZE", 16)
        monkeypatch.setattr(gcs_store, "UPLOAD_CHUNK", 256 * 1024)
        serve(sandbox, 20_000)
        place = Bucket(gcs)
        gcs.faults = [Fault("objects.upload", name=f"{place.prefix}/usage/*", drop=True)]
        load(place)
        assert any(call.status is None for call in gcs.requests)
        assert [call.status for call in gcs.requests if call.operation == "objects.upload"].count(308) >= 1
        assert walks(sandbox) == 1
        assert len(place.rows("usage")) == 20_000
        place.assert_whole()

    def test_a_lost_answer_to_a_delete_is_no_error(self, sandbox: Sandbox, place: Bucket) -> None:
        place.gcs.faults = [Fault("objects.delete", drop=True)]
        load(place)
        assert any(call.status is None for call in place.gcs.requests)
        assert walks(sandbox) == 1
        place.assert_whole()

    def test_a_lost_answer_is_not_taken_for_another_writers_object(self, sandbox: Sandbox, place: Bucket) -> None:
        load(place)
        serve_differently_each_time(sandbox)
        sandbox.requests.clear()
        name = f"{place.prefix}/usage/dt={DAY}/usage.parquet"
        done = threading.Event()

        def replace_before_the_retry(_: str, stored: str) -> None:
            # The first of the two is stored and its answer is lost; this is the client's second try.
            calls = [call for call in place.gcs.requests if call.operation == "objects.insert" and call.status is None]
            if stored == name and calls and not done.is_set():
                done.set()
                load(place)

        place.gcs.before_store = replace_before_the_retry
        place.gcs.faults = [Fault("objects.insert", name=name, drop=True)]
        load(place)
        assert done.is_set()
        assert walks(sandbox) == 3
        place.assert_whole()

    @pytest.mark.parametrize("key", ["_organization", "*/usage.", "loads"])
    def test_content_that_was_stored_wrongly_is_not_accepted(
        self, sandbox: Sandbox, gcs: GCSServer, upload: str, key: str
    ) -> None:
        place = Bucket(gcs)
        gcs.faults = [Fault("store", name=f"{place.prefix}/{key}*", corrupt=True)]
        with pytest.raises(ClaudeCodePublishError):
            load(place)
        # A load is committed by its row of loads alone, which is not even tried after a failure.
        assert ("loads" in key) or not any(name.startswith("loads/") for name in place.tree())
        load(place)
        assert len(place.rows("usage")) == 3
        place.assert_whole()

    def test_content_that_arrives_wrongly_is_refused_by_the_service(self, sandbox: Sandbox, place: Bucket) -> None:
        # It compares what arrived with the crc32c that the client computed and sent.
        load(place)
        uploads = [call for call in place.gcs.requests if call.operation == "objects.insert"]
        assert len(uploads) == 4
        for call in uploads:
            assert call.body["crc32c"] == place.gcs.objects(BUCKET)[call.body["name"]].crc32c

    def test_every_write_has_a_precondition(self, sandbox: Sandbox, place: Bucket, upload: str) -> None:
        load(place)
        uploads = [call for call in place.gcs.requests if call.operation == "objects.insert"]
        assert len(uploads) == 4
        assert all("ifGenerationMatch" in dict(call.params) for call in uploads)

    def test_a_failure_in_a_lookback_day_keeps_the_days_before_it(self, sandbox: Sandbox, gcs: GCSServer) -> None:
        place = Bucket(gcs)
        sandbox.faults = Faults(page=1, status=500)
        with pytest.raises(ClaudeCodeServerError):
            load(place)
        sandbox.faults = Faults()
        gcs.faults = [Fault("objects.insert", name=f"*dt={DAY}*", status=403, times=None)]
        with pytest.raises(AirflowFailException):
            load(place, lookback_days=1)
        place.assert_whole(DAY - timedelta(days=1))
        assert not any(f"dt={DAY}" in key for key in place.tree())


class TestTwoWriters:
    def test_many_at_once_leave_one_whole_day(self, sandbox: Sandbox, place: Bucket) -> None:
        serve_differently_each_time(sandbox)

        def write() -> bool:
            try:
                load(place)
            except ClaudeCodePublishError as error:
                # Overtaken five times, it gives up. Its last file may have replaced one of a load that has ended.
                assert "max_active_runs" in str(error)  # noqa: PT017
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            ended = [writer.result(60) for writer in [pool.submit(write) for _ in range(4)]]
        if not all(ended):
            # Its retry.
            load(place)
        place.assert_whole()

    def test_one_that_gives_up_may_leave_tables_of_two_loads_which_its_retry_repairs(
        self, sandbox: Sandbox, place: Bucket, gcs: GCSServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "PUBLISH_ATTEMPTS", 1)
        serve_differently_each_time(sandbox)
        load(place)
        has_replaced_usage, has_looked, has_ended = (threading.Event() for _ in range(3))

        def interleave(_: str, name: str) -> None:
            """Let the second writer look at the day when the first has replaced `usage`, and replace it at the end."""
            if "/model_usage/dt=" in name and not has_replaced_usage.is_set():
                has_replaced_usage.set()
                assert has_looked.wait(30)
            elif "/usage/dt=" in name and has_replaced_usage.is_set():
                has_looked.set()
                assert has_ended.wait(30)

        gcs.before_store = interleave
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(load, place)
            assert has_replaced_usage.wait(30)
            second = pool.submit(load, place)
            first.result(60)
            has_ended.set()
            with pytest.raises(ClaudeCodePublishError, match="Its tables may be of different loads"):
                second.result(60)
        assert place.is_inconsistent()
        load(place)
        place.assert_whole()


class TestKilledWriters:
    def test_one_whose_process_dies_with_an_object_on_its_way_is_fixed_by_the_next_run(
        self, sandbox: Sandbox, gcs: GCSServer, tmp_path: Path
    ) -> None:
        serve_differently_each_time(sandbox)
        stores: dict[str, int] = {}
        killed: list[Bucket] = []

        def kill(_: str, name: str) -> None:
            # The prefix says who writes, the object that is its last one, and whether that one gets through.
            prefix, fate, last, pid = name.split("/")[:4]
            if prefix != "killed":
                return
            place = Bucket(gcs, f"{prefix}/{fate}/{last}/{pid}")
            stores[place.prefix] = stores.get(place.prefix, 0) + 1
            if stores[place.prefix] == int(last):
                os.kill(int(pid), signal.SIGKILL)
                killed.append(place)
                if fate == "lost":
                    gcs.faults = [Fault("store", status=500)]

        gcs.before_store = kill
        (tmp_path / "tmp").mkdir()
        script = subprocess.run(
            [sys.executable, "-c", KILLED_AT_EVERY_STORE, BUCKET, str(DAY)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert script.returncode == 0, script.stderr
        gcs.before_store = None
        # Five objects of a first load and four of a second.
        assert sorted(place.prefix.split("/")[1:3] for place in killed) == [
            [fate, str(number)] for fate in ("lost", "stored") for number in range(1, 10)
        ]
        inconsistent = 0
        for place in killed:
            inconsistent += assert_shown_when_inconsistent(place)
            load(place)
            try:
                place.assert_whole()
            except AssertionError as error:
                error.add_note(place.prefix)
                raise
        assert inconsistent > 5


# Forks writers that load a day twice and that the server kills when one more object arrives than for the last.
KILLED_AT_EVERY_STORE = """
import itertools, os, signal, sys
from types import SimpleNamespace
# What the writers would each import by themselves, and that takes a second.
import airflow.providers.google.cloud.hooks.gcs
import airflow_provider_claude_code.targets.files
import airflow_provider_claude_code.storage.gcs
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator

bucket, day = sys.argv[1:]


def write(prefix):
    for _ in range(2):
        operator = ClaudeCodeToGCSOperator(task_id="load", bucket=bucket, prefix=prefix, day=day)
        context = {"ti": SimpleNamespace(dag_id="d", run_id="r"), "dag_run": SimpleNamespace(run_type="manual")}
        operator.execute(context | {"outlet_events": {}})


# The hook of the test does not mind this one. What is imported on the way would else be imported by each fork.
write("not/to/be/killed")
for fate in ("stored", "lost"):
    for number in itertools.count(1):
        pid = os.fork()
        if pid == 0:
            try:
                write(f"killed/{fate}/{number}/{os.getpid()}")
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(2)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            break
        if status != -signal.SIGKILL:
            sys.exit(status)
"""


class TestReports:
    def test_any_prefix_is_an_asset(self, sandbox: Sandbox, place: Bucket) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        alias, events = AssetAlias("usage_of_all"), OutletEventAccessors()
        prefix = "/données #1/"
        run(
            ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix=prefix, day=str(DAY), outlets=[alias]), events
        )
        assert [event.dest_asset_key.uri for event in events[alias].asset_alias_events] == [
            f"gs://{BUCKET}/donn%C3%A9es%20%231/{table}" for table in TABLES
        ]

    def test_the_files_are_where_the_summary_says(self, sandbox: Sandbox, place: Bucket) -> None:
        [day] = load(place)["days"]
        client = google.cloud.storage.Client(project="p", credentials=AnonymousCredentials())
        for table, url in day["files"].items():
            parts = urlsplit(url)
            content = client.bucket(parts.netloc).blob(parts.path[1:]).download_as_bytes()
            assert hashlib.sha256(content).hexdigest() == place.commit_records()[table]["sha256"]

    @pytest.mark.parametrize(("prefix", "inside"), [("", ""), ("/a/b/", "a/b/")])
    def test_a_tables_uri_is_its_folder(self, prefix: str, inside: str) -> None:
        operator = ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix=prefix)
        assert [operator.table_uri(table) for table in TABLES] == [f"gs://{BUCKET}/{inside}{table}" for table in TABLES]

    def test_openlineage_names_the_folders_with_their_columns_and_rows(self, sandbox: Sandbox, place: Bucket) -> None:
        operator = ClaudeCodeToGCSOperator(
            task_id="load", bucket=BUCKET, prefix=f"/{place.prefix}/", day=str(DAY), lookback_days=1
        )
        run(operator)
        lineage = operator.get_openlineage_facets_on_complete(None)
        [report] = lineage.inputs
        assert (report.namespace, report.name) == (
            sandbox.base_url,
            "/v1/organizations/usage_report/claude_code",
        )
        assert [(output.namespace, output.name) for output in lineage.outputs] == [
            (f"gs://{BUCKET}", f"{place.prefix}/{table}") for table in TABLES
        ]
        for table, output, rows in zip(TABLES, lineage.outputs, (6, 6, 24), strict=True):
            fields = [field.name for field in output.facets["schema"].fields]
            content = pa.parquet.read_table(io.BytesIO(place.tree()[f"{table}/dt={DAY}/{table}.parquet"]))
            assert fields == content.schema.names == [column.name for column in DATA_TABLES[table].columns]
            assert output.outputFacets["outputStatistics"].rowCount == rows

    @pytest.mark.parametrize(
        ("prefix", "path"), [("claude_code", "/claude_code"), ("/a/b c/", "/a/b%20c"), ("", ""), ("/", "")]
    )
    def test_the_link_is_to_the_folder_in_the_console(self, prefix: str, path: str) -> None:
        operator = ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix=prefix)
        [link] = operator.operator_extra_links
        key: Any = None
        url = link.get_link(operator, ti_key=key)
        assert url.rstrip("/") == f"https://console.cloud.google.com/storage/browser/{BUCKET}{path}"

    def test_where_it_goes_and_as_whom_is_templated(self) -> None:
        assert {"bucket", "prefix", "gcp_conn_id", "impersonation_chain", "day", "claude_code_conn_id"} <= set(
            ClaudeCodeToGCSOperator.template_fields
        )

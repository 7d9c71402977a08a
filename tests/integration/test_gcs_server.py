"""
The local Google Cloud Storage does what a loader relies on, as Google's own clients see it.

Google's discovery document, which comes with google-api-python-client, judges the form of what is said.
"""

import gzip
import io
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("google.cloud.storage")
# Before anything imports gcsfs: it would ask a service that is not here, for a minute.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from google.resumable_media import DataCorruption
from requests.exceptions import ConnectionError as DroppedError

from tests.fixtures.gcs_discovery import Discovery
from tests.fixtures.servers.gcs import CHUNK, Fault, GCSServer, SeenCall

pytestmark = pytest.mark.newest_only

ROOT = Path(__file__).parents[2]
BUCKET = "usage"
NAME = "claude code/dt=2025-09-08/usage.parquet"
CONNECTION = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
AT_ONCE = DEFAULT_RETRY.with_delay(initial=0.001, maximum=0.001)


@pytest.fixture(scope="module")
def running() -> Iterator[GCSServer]:
    with GCSServer() as server:
        yield server


@pytest.fixture
def server(running: GCSServer, monkeypatch: pytest.MonkeyPatch) -> GCSServer:
    running.reset(BUCKET)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
    return running


def new_client() -> storage.Client:
    return storage.Client(project="demo-proj", credentials=AnonymousCredentials())


@pytest.fixture
def client(server: GCSServer) -> storage.Client:
    return new_client()


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.bucket(BUCKET)


@pytest.fixture
def hook(server: GCSServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    gcs = pytest.importorskip("airflow.providers.google.cloud.hooks.gcs")
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(CONNECTION))
    return gcs.GCSHook(gcp_conn_id="google_cloud_default")


@pytest.fixture
def fs(server: GCSServer) -> Any:
    gcsfs = pytest.importorskip("gcsfs")
    return gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True, consistency="md5", use_listings_cache=False)


def contents(server: GCSServer) -> dict[str, bytes]:
    return {name: found.content for name, found in server.objects(BUCKET).items()}


def seen(server: GCSServer) -> list[tuple[str, int | None]]:
    # The client asks for a bucket on its own account, in the background.
    calls = [call for call in server.requests if call.operation != "buckets.get"]
    return [(call.operation.removeprefix("objects."), call.status) for call in calls]


def put(bucket: storage.Bucket, content: bytes, name: str = NAME, **arguments: Any) -> storage.Blob:
    blob = bucket.blob(name)
    blob.upload_from_string(content, retry=None, **arguments)
    return blob


class TestGenerations:
    def test_an_object_is_created_once(self, server: GCSServer, bucket: storage.Bucket) -> None:
        put(bucket, b"first", if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, b"second", if_generation_match=0)
        assert contents(server) == {NAME: b"first"}

    def test_only_what_was_seen_is_replaced(self, server: GCSServer, bucket: storage.Bucket) -> None:
        seen = put(bucket, b"first").generation
        newer = put(bucket, b"second", if_generation_match=seen).generation
        assert newer > seen
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, b"third", if_generation_match=seen)
        assert contents(server) == {NAME: b"second"}

    def test_only_what_was_seen_is_deleted(self, server: GCSServer, bucket: storage.Bucket) -> None:
        seen = put(bucket, b"first").generation
        put(bucket, b"second")
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.delete_blob(NAME, if_generation_match=seen)
        bucket.delete_blob(NAME, if_generation_match=server.objects(BUCKET)[NAME].generation)
        with pytest.raises(exceptions.NotFound):
            bucket.delete_blob(NAME)

    def test_a_reader_asks_for_another_generation(self, bucket: storage.Bucket) -> None:
        seen = put(bucket, b"first").generation
        with pytest.raises(exceptions.NotModified):
            bucket.blob(NAME).reload(if_generation_not_match=seen)
        put(bucket, b"second")
        blob = bucket.blob(NAME)
        blob.reload(if_generation_not_match=seen)
        with pytest.raises(exceptions.NotFound):
            bucket.blob(NAME, generation=seen).download_as_bytes()
        with pytest.raises(exceptions.PreconditionFailed):
            blob.download_as_bytes(if_generation_match=seen)

    def test_of_two_writers_one_creates(self, server: GCSServer) -> None:
        meeting = threading.Barrier(2, timeout=10)
        server.before_store = lambda bucket, name: meeting.wait() and None

        def write(content: bytes) -> bool:
            try:
                put(new_client().bucket(BUCKET), content, if_generation_match=0)
            except exceptions.PreconditionFailed:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            won = dict(zip([b"one", b"two"], pool.map(write, [b"one", b"two"]), strict=True))
        assert sorted(won.values()) == [False, True]
        assert won[contents(server)[NAME]]

    def test_another_writer_comes_between(self, server: GCSServer, bucket: storage.Bucket) -> None:
        seen = put(bucket, b"first").generation

        def intrude(_: str, name: str) -> None:
            server.before_store = None
            put(new_client().bucket(BUCKET), b"intruder", name)

        server.before_store = intrude
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, b"second", if_generation_match=seen)
        assert contents(server) == {NAME: b"intruder"}


class TestContent:
    @pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 17])
    def test_uploads_of_both_kinds_store_the_same(self, server: GCSServer, bucket: storage.Bucket, size: int) -> None:
        content = os.urandom(size)
        bucket.blob("whole").upload_from_string(content, checksum="md5")
        bucket.blob("parts", chunk_size=CHUNK).upload_from_file(io.BytesIO(content), checksum="crc32c")
        assert contents(server) == {"whole": content, "parts": content}
        whole, parts = bucket.get_blob("whole"), bucket.get_blob("parts")
        assert (whole.size, whole.md5_hash, whole.crc32c) == (size, parts.md5_hash, parts.crc32c)
        assert parts.download_as_bytes(checksum="md5") == content

    def test_content_that_looks_like_its_envelope_arrives(self, server: GCSServer, bucket: storage.Bucket) -> None:
        for number, content in enumerate((b"\r\n", b"\n\r\n\n", b"\r", b"--==0==\n\n", b"a\n--", b"\n\n")):
            put(bucket, content, str(number))
            assert contents(server)[str(number)] == content

    def test_a_wrong_checksum_stores_nothing(self, server: GCSServer, bucket: storage.Bucket) -> None:
        for kind in ("md5_hash", "crc32c"):
            blob = bucket.blob(NAME)
            setattr(blob, kind, "AAAA")
            with pytest.raises(exceptions.BadRequest):
                blob.upload_from_string(b"content", checksum=None)
        upload = httpx.post(
            f"{server.url}/upload/storage/v1/b/{BUCKET}/o",
            params={"uploadType": "media", "name": NAME},
            headers={"x-goog-hash": "crc32c=AAAAAA=="},
            content=b"content",
        )
        assert upload.status_code == 400
        assert contents(server) == {}

    def test_ranges(self, server: GCSServer, bucket: storage.Bucket) -> None:
        blob = put(bucket, b"0123456789")
        assert blob.download_as_bytes(start=2, end=4) == b"234"
        assert blob.download_as_bytes(start=7, end=100) == b"789"
        with pytest.raises(exceptions.RequestRangeNotSatisfiable):
            blob.download_as_bytes(start=10)
        path = blob.path.removeprefix("/")
        last = httpx.get(f"{server.url}/storage/v1/{path}?alt=media", headers={"range": "bytes=-3"})
        assert (last.status_code, last.content, last.headers["content-range"]) == (206, b"789", "bytes 7-9/10")

    def test_gzip_is_undone_for_who_cannot(self, server: GCSServer, bucket: storage.Bucket) -> None:
        blob = bucket.blob(NAME)
        blob.content_encoding = "gzip"
        blob.upload_from_string(packed := gzip.compress(b"plain"), content_type="application/x-ndjson")
        assert blob.download_as_bytes() == b"plain"
        assert blob.download_as_bytes(raw_download=True) == packed
        plain = httpx.get(blob.media_link, headers={"accept-encoding": "identity", "range": "bytes=0-1"})
        assert (plain.status_code, plain.content) == (200, b"plain")
        assert "content-encoding" not in plain.headers
        assert bucket.get_blob(NAME).size == len(packed)

    @pytest.mark.parametrize("name", ["a=b/c d", "ü/é.json", "a%2Fb+c&d?e#f", "x//y", "x/./y", "x/"])
    def test_any_name_is_a_name(self, server: GCSServer, client: storage.Client, name: str) -> None:
        bucket = client.bucket(BUCKET)
        put(bucket, b"content", name)
        assert contents(server) == {name: b"content"}
        assert bucket.blob(name).download_as_bytes() == b"content"
        assert [blob.name for blob in client.list_blobs(BUCKET, prefix=name)] == [name]
        with client.batch():
            bucket.delete_blob(name)
        assert contents(server) == {}


class TestResumableUploads:
    @pytest.fixture
    def session(self, server: GCSServer) -> str:
        answer = httpx.post(
            f"{server.url}/upload/storage/v1/b/{BUCKET}/o",
            params={"uploadType": "resumable", "ifGenerationMatch": "0"},
            json={"name": NAME},
        )
        return answer.headers["location"]

    @staticmethod
    def send(session: str, content: bytes, text: str, method: str = "PUT") -> httpx.Response:
        return httpx.request(method, session, content=content, headers={"content-range": f"bytes {text}"})

    @pytest.mark.parametrize("method", ["PUT", "POST"])
    def test_an_object_appears_when_all_of_it_is_there(self, server: GCSServer, session: str, method: str) -> None:
        content = os.urandom(CHUNK + 1)
        assert (first := self.send(session, content[:CHUNK], f"0-{CHUNK - 1}/*", method)).status_code == 308
        assert first.headers["range"] == f"bytes=0-{CHUNK - 1}"
        assert contents(server) == {}
        last = self.send(session, content[CHUNK:], f"{CHUNK}-{CHUNK}/{CHUNK + 1}", method)
        assert last.json()["size"] == str(CHUNK + 1)
        assert contents(server) == {NAME: content}

    def test_an_interrupted_upload_goes_on_where_it_stood(self, server: GCSServer, session: str) -> None:
        content = os.urandom(3 * CHUNK)
        assert "range" not in self.send(session, b"", "*/*").headers
        # Less than a whole multiple is not kept, and a client has to look at what is.
        first = self.send(session, content[: CHUNK + 5], f"0-{CHUNK + 4}/{len(content)}")
        assert first.headers["range"] == f"bytes=0-{CHUNK - 1}"
        assert self.send(session, b"x", f"{2 * CHUNK}-{2 * CHUNK}/*").status_code == 400
        assert self.send(session, b"", f"*/{len(content)}").headers["range"] == f"bytes=0-{CHUNK - 1}"
        # What was kept before is not taken again.
        last = self.send(session, content[5:], f"5-{len(content) - 1}/{len(content)}")
        assert last.status_code == 200
        assert self.send(session, b"", f"*/{len(content)}").json() == last.json()
        assert contents(server) == {NAME: content}

    def test_a_precondition_holds_at_the_end(self, server: GCSServer, bucket: storage.Bucket, session: str) -> None:
        put(bucket, b"intruder")
        assert self.send(session, b"mine", "0-3/4").status_code == 412
        assert contents(server) == {NAME: b"intruder"}

    def test_an_upload_given_up_is_gone(self, server: GCSServer, session: str) -> None:
        self.send(session, bytes(CHUNK), f"0-{CHUNK - 1}/*")
        assert httpx.delete(session).status_code == 499
        assert self.send(session, b"", f"*/{CHUNK}").status_code == 404
        assert contents(server) == {}


class TestLists:
    NAMES = ("l/dt=08/p0", "l/dt=08/p1", "l/dt=09/p0", "l/dt=09/p1", "l/readme", "m")

    @pytest.fixture
    def names(self, server: GCSServer, client: storage.Client) -> Any:
        for name in self.NAMES:
            put(client.bucket(BUCKET), b"", name)
        return lambda **arguments: [blob.name for blob in client.list_blobs(BUCKET, **arguments)]

    def test_a_listing_is_in_order_and_selects(self, names: Any) -> None:
        assert names() == list(self.NAMES)
        assert names(prefix="l/dt=09/") == ["l/dt=09/p0", "l/dt=09/p1"]
        assert names(start_offset="l/dt=09/p1", end_offset="m") == ["l/dt=09/p1", "l/readme"]

    @pytest.mark.parametrize(
        ("glob", "found"),
        [
            ("l/*", ["l/readme"]),
            ("l/*/p0", ["l/dt=08/p0", "l/dt=09/p0"]),
            ("**/p1", ["l/dt=08/p1", "l/dt=09/p1"]),
            ("**m*", ["l/readme", "m"]),
            ("l/dt=0[!9]/p?", ["l/dt=08/p0", "l/dt=08/p1"]),
            ("{m,l/read*}", ["l/readme", "m"]),
            ("[", []),
            ("l/readme,m", []),
        ],
    )
    def test_a_glob_stops_at_slashes(self, names: Any, glob: str, found: list[str]) -> None:
        assert names(match_glob=glob) == found

    def test_pages_hold_each_name_once(self, names: Any, client: storage.Client) -> None:
        pages = client.list_blobs(BUCKET, page_size=2).pages
        assert [[blob.name for blob in page] for page in pages] == [list(self.NAMES[i : i + 2]) for i in (0, 2, 4)]
        listing = client.list_blobs(BUCKET, prefix="l/", delimiter="/", page_size=1)
        assert [blob.name for blob in listing] == ["l/readme"]
        assert listing.prefixes == {"l/dt=08/", "l/dt=09/"}

    def test_a_listing_after_a_delete_tells_of_it(self, names: Any, client: storage.Client) -> None:
        with client.batch():
            client.bucket(BUCKET).delete_blob("m")
            client.bucket(BUCKET).delete_blob("l/readme")
        assert names() == list(self.NAMES[:4])

    def test_a_failure_in_a_batch_is_reported(self, names: Any, client: storage.Client) -> None:
        with client.batch(raise_exception=False) as batch:
            client.bucket(BUCKET).delete_blob("missing")
            client.bucket(BUCKET).delete_blob("m")
        assert [answer.status_code for answer in batch._responses] == [404, 204]
        assert "m" not in names()


class TestFaults:
    @pytest.mark.parametrize("status", [403, 412, 429, 503])
    def test_the_nth_call_fails(self, server: GCSServer, bucket: storage.Bucket, status: int) -> None:
        server.faults = [Fault("objects.insert", nth=2, status=status)]
        for number in (1, 2, 3):
            if number == 2:
                with pytest.raises(exceptions.GoogleAPICallError) as caught:
                    put(bucket, b"content", str(number))
                assert caught.value.code == status
            else:
                put(bucket, b"content", str(number))
        assert list(contents(server)) == ["1", "3"]

    def test_a_fault_hits_what_it_names(self, server: GCSServer, bucket: storage.Bucket) -> None:
        server.faults = [Fault("objects.*", name="*/usage.parquet", times=None, status=403)]
        put(bucket, b"content", "other")
        for _ in range(3):
            with pytest.raises(exceptions.Forbidden):
                put(bucket, b"content")
        server.faults = []
        put(bucket, b"content")
        assert [status for _, status in seen(server)] == [200, 403, 403, 403, 200]

    def test_the_client_repeats_what_may_pass(self, server: GCSServer, bucket: storage.Bucket) -> None:
        server.faults = [Fault("objects.upload", nth=2, status=503), Fault("objects.download", status=429)]
        blob = bucket.blob(NAME, chunk_size=CHUNK)
        blob.upload_from_file(io.BytesIO(content := os.urandom(2 * CHUNK + 3)), retry=AT_ONCE)
        assert blob.download_as_bytes(retry=AT_ONCE) == content
        statuses = [308, 503, 308, 200]
        assert seen(server)[:5] == [("insert", 200), *[("upload", status) for status in statuses]]
        assert [status for _, status in seen(server)[5:]] == [429, 206, 206, 206]

    @pytest.mark.parametrize(("operation", "size"), [("insert", 7), ("upload", None)])
    def test_an_answer_gets_lost(
        self, server: GCSServer, bucket: storage.Bucket, operation: str, size: int | None
    ) -> None:
        server.faults = [Fault("store", drop=True)]
        with pytest.raises(DroppedError):
            bucket.blob(NAME).upload_from_file(io.BytesIO(b"content"), size=size, retry=None)
        assert contents(server) == {NAME: b"content"}
        assert seen(server)[-1] == (operation, None)

    def test_who_repeats_after_a_lost_answer_meets_oneself(self, server: GCSServer, bucket: storage.Bucket) -> None:
        server.faults = [Fault("store", drop=True)]
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob(NAME).upload_from_string(b"content", if_generation_match=0, retry=AT_ONCE)
        assert contents(server) == {NAME: b"content"}

    def test_a_delete_whose_answer_gets_lost_is_done(self, server: GCSServer, bucket: storage.Bucket) -> None:
        put(bucket, b"content")
        server.faults = [Fault("objects.delete", drop=True)]
        with pytest.raises(DroppedError):
            bucket.delete_blob(NAME, retry=None)
        assert contents(server) == {}

    def test_corrupted_content_shows_in_its_checksums(self, server: GCSServer, bucket: storage.Bucket) -> None:
        good = put(bucket, b"content", "good")
        server.faults = [Fault("store", corrupt=True, times=None)]
        # What is sent in one go the client does not compare with the answer.
        blob = put(bucket, b"content", checksum="crc32c")
        assert blob.size == good.size
        assert blob.crc32c != good.crc32c
        assert blob.md5_hash != good.md5_hash
        assert blob.download_as_bytes() == contents(server)[NAME] != b"content"
        with pytest.raises(DataCorruption):
            bucket.blob(NAME).upload_from_file(io.BytesIO(b"content"), checksum="crc32c")

    def test_a_bucket_goes_away_under_an_upload(self, server: GCSServer, bucket: storage.Bucket) -> None:
        put(bucket, b"content", "other")
        server.faults = [Fault("objects.upload", nth=2, bucket_gone=True)]
        with pytest.raises(exceptions.NotFound):
            bucket.blob(NAME, chunk_size=CHUNK).upload_from_file(io.BytesIO(bytes(2 * CHUNK)))
        assert not bucket.exists()
        assert contents(server) == {}

    def test_what_the_server_does_not_know_is_not_repeated(self, server: GCSServer, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.MethodNotImplemented):
            bucket.get_iam_policy()
        assert seen(server) == [("", 501)]

    @pytest.mark.parametrize(
        "arguments",
        [{}, {"status": 200}, {"status": 503, "drop": True}, {"drop": True, "nth": 0}, {"drop": True, "times": 0}],
    )
    def test_a_fault_is_one_thing(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"exactly one|must be"):
            Fault("objects.insert", **arguments)

    def test_only_what_is_stored_can_be_corrupted(self) -> None:
        with pytest.raises(ValueError, match="store"):
            Fault("objects.insert", corrupt=True)


class TestGCSHook:
    def test_a_file_goes_in_and_comes_out(self, server: GCSServer, hook: Any, tmp_path: Path) -> None:
        (tmp_path / "spool").write_bytes(b"rows")
        hook.upload(BUCKET, NAME, filename=str(tmp_path / "spool"), metadata={"rows": "3"})
        assert server.objects(BUCKET)[NAME].properties["metadata"] == {"rows": "3"}
        assert hook.download(BUCKET, NAME) == b"rows"
        assert hook.exists(BUCKET, NAME)
        assert hook.get_md5hash(BUCKET, NAME) == server.objects(BUCKET)[NAME].md5
        assert hook.list(BUCKET, match_glob="**/usage.*") == [NAME]
        hook.delete(BUCKET, NAME)
        assert hook.list(BUCKET) == []

    def test_the_hook_uploads_big_files_in_parts(self, server: GCSServer, hook: Any, tmp_path: Path) -> None:
        (tmp_path / "spool").write_bytes(content := os.urandom(9 * 2**20))
        hook.upload(BUCKET, NAME, filename=str(tmp_path / "spool"), chunk_size=4 * 2**20)
        assert contents(server) == {NAME: content}
        assert seen(server) == [("insert", 200), ("upload", 308), ("upload", 308), ("upload", 200)]


class TestGcsfs:
    PATH = f"{BUCKET}/{NAME}"

    @pytest.mark.parametrize("size", [0, 3, 6 * 2**20])
    def test_a_file_goes_in_and_comes_out(self, server: GCSServer, fs: Any, tmp_path: Path, size: int) -> None:
        (tmp_path / "spool").write_bytes(content := os.urandom(size))
        fs.put_file(str(tmp_path / "spool"), self.PATH)
        assert contents(server) == {NAME: content}
        assert fs.cat_file(self.PATH) == content
        assert fs.info(self.PATH)["size"] == size
        assert fs.ls(f"{BUCKET}/claude code") == [f"{BUCKET}/claude code/dt=2025-09-08"]
        fs.rm(self.PATH)
        assert fs.find(BUCKET) == []

    def test_the_bytes_of_a_small_file_are_not_the_separators(self, server: GCSServer, fs: Any) -> None:
        for content in (b"\r\n", b"a\r", b"\n\n"):
            fs.pipe_file(self.PATH, content)
            assert contents(server) == {NAME: content}

    def test_a_file_is_created_once(self, server: GCSServer, fs: Any) -> None:
        fs.pipe_file(self.PATH, b"first", mode="create")
        with pytest.raises(FileExistsError):
            fs.pipe_file(self.PATH, b"second", mode="create")
        assert contents(server) == {NAME: b"first"}

    def test_a_file_written_in_parts_appears_at_its_end(self, server: GCSServer, fs: Any) -> None:
        content = os.urandom(3 * CHUNK + 5)
        with fs.open(self.PATH, "wb", block_size=CHUNK) as file:
            for start in range(0, len(content), CHUNK):
                file.write(content[start : start + CHUNK])
            assert contents(server) == {}
        assert contents(server) == {NAME: content}
        with fs.open(self.PATH, "rb") as file:
            file.seek(CHUNK)
            assert file.read(10) == content[CHUNK : CHUNK + 10]

    def test_a_write_given_up_leaves_nothing(self, server: GCSServer, fs: Any) -> None:
        file = fs.open(self.PATH, "wb", block_size=CHUNK)
        file.write(bytes(2 * CHUNK))
        file.discard()
        assert seen(server)[-1] == ("upload", 499)
        assert contents(server) == {}

    def test_corrupted_content_is_noticed(self, server: GCSServer, fs: Any) -> None:
        server.faults = [Fault("store", corrupt=True)]
        with pytest.raises(Exception, match="checksum"):
            fs.pipe_file(self.PATH, b"content")


class TestDiscovery:
    @pytest.fixture
    def discovery(self) -> Discovery:
        pytest.importorskip("googleapiclient")
        return Discovery()

    def problems(self, discovery: Discovery, calls: Sequence[SeenCall]) -> list[str]:
        return [problem for call in calls for problem in discovery.problems(call)]

    def test_a_conversation_is_as_the_api_is_described(
        self, discovery: Discovery, server: GCSServer, client: storage.Client
    ) -> None:
        bucket = client.get_bucket(BUCKET)
        blob = bucket.blob(NAME)
        blob.metadata = {"rows": "3"}
        blob.content_encoding = "identity"
        blob.upload_from_string(b"content", if_generation_match=0)
        bucket.blob("parts", chunk_size=CHUNK).upload_from_file(io.BytesIO(bytes(CHUNK + 1)))
        blob.reload()
        blob.download_as_bytes()
        blob.delete()
        list(client.list_blobs(bucket, prefix="", delimiter="/", page_size=1))
        list(client.list_blobs(bucket, match_glob="**", start_offset="a", fields="items(name),nextPageToken"))
        with client.batch():
            bucket.delete_blob("parts")
        with pytest.raises(exceptions.NotFound):
            blob.delete()
        # Everything that the server knows.
        assert len({call.operation for call in server.requests}) == 8
        assert self.problems(discovery, server.requests) == []

    def test_gcsfs_speaks_as_the_api_is_described(self, discovery: Discovery, server: GCSServer, fs: Any) -> None:
        path = f"{BUCKET}/{NAME}"
        fs.pipe_file(path, b"content", mode="create")
        fs.cat_file(path)
        fs.find(BUCKET)
        fs.rm(path)
        assert len(server.requests) >= 4
        assert self.problems(discovery, server.requests) == []

    def test_the_judge_finds_faults(self, discovery: Discovery) -> None:
        params = [("ifGenerationMatch", "now"), ("colour", "red")]
        body = {"name": 5, "size": "5", "rows": "3"}
        answer = {"generation": 5, "componentCount": "2", "updated": "2025-09-08T00:00:00", "kind": None}
        call = SeenCall("objects.insert", "PUT", "/storage/v1/b/usage/o", params, body, 200, answer)
        assert [problem.removeprefix("objects.insert: ").split()[0] for problem in discovery.problems(call)] == [
            "PUT",
            "parameter",
            "parameter",
            "request.name",
            "request.rows",
            "answer.generation",
            "answer.componentCount",
            "answer.updated",
            "answer.kind",
        ]


def test_it_runs_from_the_command_line() -> None:
    name = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.fixtures.servers.gcs", "--port", "0", "--bucket", name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            settings = dict(process.stdout.readline().strip().split("=", 1) for _ in range(3))
            answer = httpx.get(f"{settings['STORAGE_EMULATOR_HOST']}/storage/v1/b/{name}")
        finally:
            process.terminate()
    assert answer.json()["name"] == name
    assert json.loads(settings["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"].strip("'")) == CONNECTION

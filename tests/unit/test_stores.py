"""A store keeps files by key, replaces each by one write, and lets no half-written file be seen."""

import errno
import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec.implementations.memory
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.storage import locks, stores
from airflow_provider_claude_code.storage.stores import LocalStore, ObjectStore, Store, open_store, storage_path
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.airflow_version import AIRFLOW


class CachingFileSystem(fsspec.implementations.memory.MemoryFileSystem):
    """Remembers listings until it is told to forget them, as file systems of object stores do."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._listings: dict[str, Any] = {}

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path not in self._listings:
            self._listings[path] = super().ls(path, detail=detail, **options)
        return self._listings[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self._listings.clear()


FILE_SYSTEM = CachingFileSystem(skip_instance_cache=True)
# Under a Connection of its own, so that no other test's memory:// meets it.
attach("memory", conn_id="caching", fs=FILE_SYSTEM)

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Makes a finished local file with a content."""

    def make(content: bytes) -> Path:
        path = tmp_path / uuid.uuid4().hex
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which is writing to the directory."""
    script = (
        "import pathlib, sys; from airflow_provider_claude_code.storage.stores import LocalStore\n"
        "with LocalStore(pathlib.Path(sys.argv[1])).exclusive([]): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        # Airflow may print warnings before.
        assert "locked\n" in iter(process.stdout.readline, "")
        yield process
        process.kill()


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def write(store: Store, files: dict[str, Path]) -> None:
    for key, source in files.items():
        store.write(key, source)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "root")
    return ObjectStore(ObjectStoragePath(f"memory://{uuid.uuid4().hex}/prefix", conn_id="caching"))


class TestEveryStore:
    def test_what_is_not_there_is_nothing_and_no_error(self, store: Store) -> None:
        assert store.names("usage/dt=2025-09-01") == []
        assert store.read("a/b") is None
        assert store.sha256("a/b") is None

    def test_files_are_kept_by_key_and_replaced(self, store: Store, put: Put) -> None:
        write(store, {"a/x": put(b"one"), "a/y": put(b"two"), "marker": put(b"")})
        write(store, {"a/x": put(b"three")})
        assert (store.read("a/x"), store.read("a/y"), store.read("marker")) == (b"three", b"two", b"")
        assert store.sha256("a/x") == hashlib.sha256(b"three").hexdigest()
        assert sorted(store.names("a")) == ["x", "y"]

    def test_names_are_those_of_files_directly_in_the_folder(self, store: Store, put: Put) -> None:
        write(store, {"a/x": put(b"1"), "a/b/y": put(b"2"), "ab/z": put(b"3")})
        assert store.names("a") == ["x"]

    def test_names_see_what_others_have_written_since(self, store: Store, put: Put) -> None:
        write(store, {"a/x": put(b"1")})
        assert store.names("a") == ["x"]
        write(store, {"a/y": put(b"1")})
        assert sorted(store.names("a")) == ["x", "y"]

    def test_a_deleted_file_is_gone(self, store: Store, put: Put) -> None:
        write(store, {"a/x": put(b"1"), "a/y": put(b"1")})
        store.delete("a/x")
        assert store.names("a") == ["y"]
        assert store.read("a/x") is None

    def test_deleting_what_another_writer_has_deleted_is_no_error(self, store: Store, put: Put) -> None:
        # Without a lock, two writers may clean up the same leftovers.
        write(store, {"a/x": put(b"1"), "a/y": put(b"1")})
        store.delete("a/x")
        store.delete("a/x")
        assert store.names("a") == ["y"]

    def test_the_spooled_file_stays(self, store: Store, put: Put) -> None:
        source = put(b"content")
        write(store, {"a/x": source})
        assert source.read_bytes() == b"content"

    def test_a_large_file_arrives_whole(self, store: Store, put: Put) -> None:
        content = os.urandom(20 * 2**20)
        write(store, {"a/x": put(content)})
        assert store.read("a/x") == content
        assert store.sha256("a/x") == hashlib.sha256(content).hexdigest()

    def test_exclusive_can_be_entered_again_and_again(self, store: Store) -> None:
        for _ in range(2):
            with store.exclusive(["a/x"]):
                pass


class TestObjectStore:
    def test_a_url_is_the_objects(self) -> None:
        store = ObjectStore(ObjectStoragePath("memory://bucket/prefix", conn_id="caching"))
        assert store.url("usage/x").endswith("bucket/prefix/usage/x")
        assert store.url("usage/x").startswith("memory://")


class TestLocalStore:
    def test_a_url_is_the_files(self, tmp_path: Path) -> None:
        assert LocalStore(tmp_path).url("usage/x") == f"file://{tmp_path}/usage/x"

    def test_reading_creates_nothing(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "root")
        store.names("a"), store.read("a"), store.sha256("a")
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_replaced_and_nothing_left_when_a_later_file_cannot_be_copied(
        self, tmp_path: Path, put: Put
    ) -> None:
        store = LocalStore(tmp_path / "root")
        write(store, {"a/x": put(b"old"), "b/y": put(b"old")})
        with pytest.raises(FileNotFoundError), store.staged({"a/x": put(b"new"), "b/y": tmp_path / "missing"}):
            raise AssertionError
        assert (store.read("a/x"), store.read("b/y")) == (b"old", b"old")
        assert (store.names("a"), store.names("b")) == (["x"], ["y"])

    @pytest.mark.parametrize("written", [0, 1, 2])
    def test_what_is_staged_takes_no_more_room_when_it_is_written(
        self, tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch, written: int
    ) -> None:
        store = LocalStore(tmp_path / "root")
        sources = {"a/x": put(b"new"), "b/y": put(b"new")}
        write(store, dict.fromkeys(sources, put(b"old")))
        with store.staged(sources):
            monkeypatch.setattr(stores.shutil, "copyfileobj", no_space)
            write(store, dict(list(sources.items())[:written]))
        contents = [store.read(key) for key in sources]
        assert contents == [b"new"] * written + [b"old"] * (2 - written)
        assert (store.names("a"), store.names("b")) == (["x"], ["y"])

    @pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "ENOSYS"])
    def test_a_file_system_that_flushes_files_only_will_do(
        self, tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        fsync = os.fsync

        def fsync_of_files(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(getattr(errno, code), "refused")
            fsync(descriptor)

        monkeypatch.setattr(stores.os, "fsync", fsync_of_files)
        store = LocalStore(tmp_path / "root")
        store.write("a/x", put(b"1"))
        assert store.read("a/x") == b"1"

    @pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
    def test_a_file_system_without_locks_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        def flock(*_: Any) -> None:
            raise OSError(getattr(errno, code), "No locks available")

        monkeypatch.setattr(locks.fcntl, "flock", flock)
        with (
            pytest.raises(ClaudeCodeConfigurationError, match=r"refuses locks \(No locks available\)"),
            LocalStore(tmp_path).exclusive(["a/x"]),
        ):
            raise AssertionError

    def test_no_temporary_file_is_left(self, tmp_path: Path, put: Put) -> None:
        store = LocalStore(tmp_path / "root")
        write(store, {"a/x": put(b"1"), "top": put(b"1")})
        assert store.names("a") == ["x"]
        assert store.names("") == ["top"]

    def test_a_reader_sees_the_old_file_or_the_new_one(self, tmp_path: Path, put: Put) -> None:
        store = LocalStore(tmp_path / "root")
        write(store, {"a/x": put(b"old")})
        with (tmp_path / "root/a/x").open("rb") as reader:
            write(store, {"a/x": put(b"new and longer")})
            assert reader.read() == b"old"

    def test_a_second_writer_waits_for_the_first(self, tmp_path: Path) -> None:
        store, entered, order = LocalStore(tmp_path), threading.Event(), []

        def second() -> None:
            entered.set()
            with LocalStore(tmp_path).exclusive(["a/x"]):
                order.append("second")

        with store.exclusive(["a/x"]):
            thread = threading.Thread(target=second)
            thread.start()
            assert entered.wait(10)
            # Were there no lock, the second would be through at once.
            thread.join(0.2)
            order.append("first")
        thread.join(10)
        assert order == ["first", "second"]

    def test_the_lock_of_a_killed_writer_is_free(self, tmp_path: Path, writer: subprocess.Popen[str]) -> None:
        writer.kill()
        writer.wait()
        with LocalStore(tmp_path).exclusive(["a/x"]):
            pass

    def test_a_stopped_writer_is_named_and_waited_for_no_longer_than_has_sense(
        self,
        tmp_path: Path,
        writer: subprocess.Popen[str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(stores, "LOCK_PATIENCE", 0.25)
        caplog.set_level("INFO")
        writer.send_signal(signal.SIGSTOP)
        holder = f"process {writer.pid} on {socket.gethostname()}"
        with (
            pytest.raises(ClaudeCodePublishError, match=f"has been locked by {holder} for 0.25 seconds") as refusal,
            LocalStore(tmp_path).exclusive(["a/x"]),
        ):
            raise AssertionError
        assert refusal.value.retryable
        # Once, and not with each look.
        assert caplog.messages == [f"Waiting for {holder}, which is writing to {tmp_path}"]

    def test_the_writer_that_is_named_is_the_one_that_has_the_lock(
        self, tmp_path: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # One that waits, and one that was before, are not.
        monkeypatch.setattr(stores, "LOCK_PATIENCE", 0)
        for _ in range(2):
            with pytest.raises(ClaudeCodePublishError, match=f"locked by process {writer.pid} on "):
                LocalStore(tmp_path).exclusive(["a/x"]).__enter__()
        writer.kill()
        writer.wait()
        with LocalStore(tmp_path).exclusive(["a/x"]):
            other = LocalStore(tmp_path).exclusive(["a/x"])
            with pytest.raises(ClaudeCodePublishError, match=f"locked by process {os.getpid()} on "):
                other.__enter__()

    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
    def test_a_file_that_is_replaced_keeps_its_mode_and_group_and_a_new_one_follows_the_umask(
        self, tmp_path: Path, put: Put, umask: int
    ) -> None:
        store, place = LocalStore(tmp_path / "root"), tmp_path / "root/a/x"
        previous = os.umask(umask)
        try:
            store.write("a/x", put(b"1"))
            assert stat.S_IMODE(place.stat().st_mode) == 0o666 & ~umask
            # As root any other group will do, else one of this user's others, if there are some.
            group = os.getgid() + 1 if os.geteuid() == 0 else max(os.getgroups(), default=os.getgid())
            for mode in (0o600, 0o640, 0o444, 0o664, 0o644, 0o606):
                os.chown(place, -1, group)
                place.chmod(mode)
                with store.staged({"a/x": put(b"2")}):
                    staged = next(path for path in place.parent.iterdir() if path != place)
                    assert stat.S_IMODE(staged.stat().st_mode) == mode
                    store.write("a/x", put(b"2"))
                assert (stat.S_IMODE(place.stat().st_mode), place.stat().st_gid) == (mode, group)
        finally:
            os.umask(previous)

    def test_a_file_is_never_open_to_more_than_the_one_that_it_replaces(
        self, tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, place, modes = LocalStore(tmp_path / "root"), tmp_path / "root/a/x", set()
        store.write("a/x", put(b"1"))
        place.chmod(0o640)

        open_ = os.open

        def noted(path: Any, flags: int, *mode: int, **more: Any) -> int:
            descriptor = open_(path, flags, *mode, **more)
            if str(path).startswith(str(place.parent)) and flags & os.O_CREAT:
                modes.add(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return descriptor

        monkeypatch.setattr(stores.os, "open", noted)
        store.write("a/x", put(b"2"))
        assert modes == {0o600}


class TestStoragePath:
    @pytest.mark.parametrize("name", ["x", "q?/x", "x?/", "a?b#c", "a b", "50%20", "a://b", "x/", "~", "a@b", "*"])
    @pytest.mark.parametrize("prefix", ["", "/", "//", "file://", "file:///", "file:////", "FILE://", "local:///"])
    def test_a_local_path_that_is_accepted_goes_where_it_says(
        self, tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch, prefix: str, name: str
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        try:
            root = storage_path("path", f"{prefix}{tmp_path}/{name}", None)
        except ClaudeCodeConfigurationError:
            # Its library for paths takes these names for something else.
            assert AIRFLOW < (3, 1)
            assert re.search("[?]|://", name)
            return
        open_store(root).write("a/b", put(b"content"))
        assert (tmp_path / name / "a/b").read_bytes() == b"content"
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize("end", ["?", "#", "?#", "/?"])
    def test_a_query_or_fragment_without_content_is_refused(self, tmp_path: Path, end: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"path is '.*', but Airflow takes it for .*/q\."):
            storage_path("path", f"{tmp_path}/q{end}", None)

    @pytest.mark.parametrize(
        "url",
        [
            "s3://bucket/q?",
            "s3://bucket/q?versionId=3/x",
            "gs://bucket/q#12",
            "s3://bucket/a/../b",
            "s3://bucket/./b",
            "s3://bucket/..",
            "s3:///bucket/x",
            "s3://bucket/a\nb",
            "memory://..",
            "nothing-of-this-kind://bucket/x",
            "relative://../x",
            "a b://bucket/x",
        ],
    )
    def test_a_url_that_could_lead_elsewhere_or_nowhere_is_refused(self, url: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"path is|Airflow cannot open nothing-of-this-kind://"):
            open_store(storage_path("path", url, None))

    def test_a_store_that_nothing_installed_reaches_is_refused(self) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"cannot open memory://.*provider for this store"):
            open_store(storage_path("path", "memory://bucket/x", None))


@pytest.mark.parametrize("kind", ["gcs", "bigquery", "report"])
def test_without_google_credentials_a_task_fails_for_good_and_says_so(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    # No file of gcloud, and no metadata server, is looked for.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps({"conn_type": "google_cloud_platform"}))
    place = {"dataset_id": "d", "project_id": "p"}
    operators: dict[str, Any] = {
        "gcs": lambda: ClaudeCodeToGCSOperator(task_id="t", bucket="b", day="2025-09-01"),
        "bigquery": lambda: ClaudeCodeToBigQueryOperator(task_id="t", day="2025-09-01", **place),
        "report": lambda: ClaudeCodeDataQualityOperator(task_id="t", last_day="2025-09-01", **place),
    }
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, start_date=datetime.now(UTC))
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
    with pytest.raises(AirflowFailException, match=r"default credentials were not found.*Correct the credentials"):
        operators[kind]().execute(context)

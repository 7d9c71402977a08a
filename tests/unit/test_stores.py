"""A store keeps files by key, replaces each by one write, and lets no half-written file be seen."""

import errno
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
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec.implementations.memory
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodePublishError,
)
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.storage import locks, stores
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.stores import LocalStore, ObjectStore, Store, open_store, storage_path, url_of
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from tests.fixtures import store_behaviours
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.store_behaviours import Put, StoreBehaviours, write


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


class OldAzureFileSystem(fsspec.implementations.memory.MemoryFileSystem):
    """Deletes like adlfs 2024.12, which the constraints of Airflow 3.0 pin."""

    def rm_file(self, path: str) -> None:
        raise NotImplementedError

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None, expand_path: bool = True) -> None:
        for found in self.expand_path(path) if expand_path else [path]:
            super().rm_file(found)


attach("memory", conn_id="old-azure", fs=OldAzureFileSystem(skip_instance_cache=True))


put = store_behaviours.put


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


@pytest.fixture(params=["local", "caching", "old-azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "root")
    return ObjectStore(ObjectStoragePath(f"memory://{uuid.uuid4().hex}/prefix", conn_id=request.param))


class TestEveryStore(StoreBehaviours):
    """A directory and an object store of fsspec."""


class TestObjectStore:
    def test_a_url_is_the_objects(self) -> None:
        store = ObjectStore(ObjectStoragePath("memory://bucket/prefix", conn_id="caching"))
        assert store.url("usage/x") == "memory://bucket/prefix/usage/x"

    @pytest.mark.parametrize("conn_id", [None, "aws_default"])
    @pytest.mark.parametrize("url", ["s3://bucket/claude code", "gs://bucket/a@b", "file:///data/x"])
    def test_a_connection_is_no_part_of_a_url(self, url: str, conn_id: str | None) -> None:
        assert url_of(storage_path("path", url, conn_id) / "usage") == f"{url}/usage"


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

    def test_nothing_is_left_when_a_file_cannot_be_replaced(self, tmp_path: Path, put: Put) -> None:
        store = LocalStore(tmp_path / "root")
        (tmp_path / "root/a/x").mkdir(parents=True)
        with pytest.raises(IsADirectoryError):
            write(store, {"a/x": put(b"new")})
        assert list((tmp_path / "root/a").iterdir()) == [tmp_path / "root/a/x"]

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
        assert list(tmp_path.iterdir()) == [], "a lock is left where people look for files"

    def test_many_writers_keep_each_other_out(self, tmp_path: Path) -> None:
        """Each removes the lock that the others wait for."""
        inside: list[int] = []
        met = []

        def write_often(number: int) -> None:
            for _ in range(20):
                with LocalStore(tmp_path).exclusive(["a/x"]):
                    inside.append(number)
                    met.append(len(inside))
                    inside.remove(number)

        threads = [threading.Thread(target=write_often, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert met == [1] * 160

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
        monkeypatch.setattr(locks, "LOCK_PATIENCE", 0.25)
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
        assert caplog.messages == [f"Waiting for {holder} to finish writing to {tmp_path}"]

    def test_the_writer_that_is_named_is_the_one_that_has_the_lock(
        self, tmp_path: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # One that waits, and one that was before, are not.
        monkeypatch.setattr(locks, "LOCK_PATIENCE", 0)
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_directory_that_can_never_be_created_is_not_tried_again() -> None:
    with (
        pytest.raises(ClaudeCodeConfigurationError, match=r"/proc/nowhere cannot be created\. Choose another path"),
        LocalStore(Path("/proc/nowhere")).exclusive([]),
    ):
        pass


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("file", "Something else is there where a folder is needed"),
        ("dangling", "Something else is there where a folder is needed"),
        ("loop", "Something else is there where a folder is needed"),
        ("loop/within", "A symbolic link leads to itself"),
    ],
)
def test_a_path_that_can_never_be_a_directory_is_not_tried_again(tmp_path: Path, path: str, advice: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (
        pytest.raises(ClaudeCodeConfigurationError, match=advice),
        typed_store_errors("file:///root"),
        LocalStore(tmp_path / path).exclusive([]),
    ):
        pass


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "folder", "pipe"])
def test_a_lock_that_is_a_link_or_no_file_is_refused_and_what_it_leads_to_stays(tmp_path: Path, kind: str) -> None:
    """Whoever may write to the directory could have any file of Airflow's user overwritten."""
    victim, directory = tmp_path / "victim", tmp_path / "directory"
    victim.write_text("precious")
    directory.mkdir()
    lock = directory / ".lock"
    match kind:
        case "symbolic link":
            lock.symlink_to(victim)
        case "dangling link":
            lock.symlink_to(tmp_path / "missing")
        case "hard link":
            lock.hardlink_to(victim)
        case "folder":
            lock.mkdir()
        case "pipe":
            os.mkfifo(lock)
    with (
        pytest.raises(ClaudeCodeConfigurationError, match=r"\.lock is a link, a folder or a pipe.*rm -r .*\.lock"),
        typed_store_errors("file:///root"),
        LocalStore(directory).exclusive([]),
    ):
        pass
    assert victim.read_text() == "precious"
    assert not (tmp_path / "missing").exists()


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
            assert AIRFLOW < (3, 2)
            assert re.search("[?]|://", name)
            return
        open_store(root).write("a/b", put(b"content"))
        assert (tmp_path / name / "a/b").read_bytes() == b"content"
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize("end", ["?", "#", "?#", "/?"])
    def test_a_query_or_fragment_without_content_is_refused(self, tmp_path: Path, end: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"path is '.*', but Airflow reads it as .*/q\."):
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
            "s3://bucket//x",
            "s3://bucket/x//y",
            "gs://bucket//",
            "s3:///bucket/x",
            "s3://bucket/a\nb",
            "memory://..",
            "nothing-of-this-kind://bucket/x",
            "relative://../x",
            "a b://bucket/x",
            "abfs://container@account.dfs.core.windows.net/x",
            "abfss://azure@container@account.dfs.core.windows.net/x",
            "az://container@account.blob.core.usgovcloudapi.net",
        ],
    )
    def test_a_url_that_could_lead_elsewhere_or_nowhere_is_refused(self, url: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"path is|Airflow cannot open nothing-of-this-kind://"):
            open_store(storage_path("path", url, None))

    @pytest.mark.parametrize(
        "url", ["s3://AKIA0:h1dden@bucket/x", "sftp://me:h1dden@host", "s3://me:h1d@den@bucket//x"]
    )
    def test_credentials_in_a_url_are_refused_and_not_quoted(self, url: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"path contains credentials") as error:
            storage_path("path", url, None)
        assert "h1d" not in str(error.value)

    @pytest.mark.parametrize(
        ("url", "installs"),
        [
            ("s3://bucket/x", "pip install 'airflow-provider-claude-code[s3]'"),
            ("gs://bucket/x", "pip install 'airflow-provider-claude-code[google]'"),
            ("abfs://container/x", "pip install 'apache-airflow-providers-microsoft-azure'"),
        ],
    )
    def test_a_store_whose_extra_is_not_installed_is_refused_with_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, url: str, installs: str
    ) -> None:
        def open_nothing(root: ObjectStoragePath) -> None:
            raise ValueError(f"No filesystem registered for scheme {root.protocol}")

        monkeypatch.setattr(stores, "ObjectStore", open_nothing)
        with pytest.raises(ClaudeCodeConfigurationError, match=re.escape(installs)):
            open_store(storage_path("path", url, None))

    def test_a_store_that_nothing_installed_reaches_is_refused(self) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=r"cannot open memory://.*provider for this store"):
            open_store(storage_path("path", "memory://bucket/x", None))


@pytest.mark.parametrize("kind", ["gcs", "bigquery", "report"])
def test_without_google_credentials_a_task_says_so_and_is_tried_again(
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
    # The library says the same while a metadata server does not answer, as in the first seconds of a pod.
    with pytest.raises(ClaudeCodeError, match=r"default credentials were not found.*Correct the credentials") as caught:
        operators[kind]().execute(context)
    assert caught.value.retryable

"""Files are read within the memory that is given, and each object of a store once."""

from __future__ import annotations

import errno
import os
import re
import resource
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_claude_code.analytics.engines import duckdb as engine
from airflow_provider_claude_code.analytics.engines.duckdb import open_files
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.counting_store import in_a_store
from tests.fixtures.loaded import put_day
from tests.fixtures.records import DAY, model, people

MANY_CORES = 64
CONTEXT: Any = {"ti": SimpleNamespace(dag_id="dag", task_id="report"), "outlet_events": {}}


def days_of(root: Path, count: int, number_of_people: int, loads: int = 1) -> Path:
    """Write days of people who all use three models and four tools."""
    entries = [model(100, name=f"model-{number}") for number in range(3)]
    for number in range(count):
        day = DAY + timedelta(days=number)
        for load in range(loads):
            put_day(root, day, people(number_of_people, day, model_breakdown=entries), hours_after=3 + load)
    return root


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> ObjectStoragePath:
    """Days of many people for the little memory that the tests give."""
    return ObjectStoragePath(f"file://{days_of(tmp_path_factory.mktemp('crowd'), 3, 5_000)}")


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let DuckDB find more cores than the machine may have."""
    monkeypatch.setitem(engine._CONFIG, "threads", MANY_CORES)


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("arguments", "threads", "memory"),
    [
        ({}, 2, "256.0 MiB"),
        ({"memory_mb": 128}, 1, "128.0 MiB"),
        ({"memory_mb": 1_000}, 7, "1000.0 MiB"),
        ({"memory_mb": 102_400}, MANY_CORES, "100.0 GiB"),
        ({"threads": 9}, 9, "256.0 MiB"),
        ({"memory_mb": 2_048, "threads": 1}, 1, "2.0 GiB"),
    ],
)
def test_threads_are_as_many_as_the_memory_is_enough_for(
    tmp_path: Path, arguments: dict[str, int], threads: int, memory: str
) -> None:
    root = ObjectStoragePath(f"file://{days_of(tmp_path, 1, 1)}")
    with open_files(root, Settings(), **arguments) as source:
        limits = source._database.execute("SELECT current_setting('threads'), current_setting('memory_limit')")
        assert limits.fetchall() == [(threads, memory)]


@pytest.mark.usefixtures("many_cores")
def test_all_models_of_many_people_run_in_little_memory_on_many_cores(crowd: ObjectStoragePath) -> None:
    with open_files(crowd, Settings(), memory_mb=96) as source:
        rows = {name: source.read(name).num_rows for name in models()}
    assert rows["people_monthly"] == 5_000
    assert rows["ai_tool_comparison"] == 3 * 5_000


def test_days_that_are_added_up_in_portions_are_those_added_up_at_once(
    crowd: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(rows_per_portion: int) -> dict[str, list[dict[str, Any]]]:
        monkeypatch.setattr(engine, "_ROWS_PER_PORTION", rows_per_portion)
        with open_files(crowd, Settings()) as source:
            return {name: sorted(source.read(name).to_pylist(), key=str) for name in ("people_monthly", "adoption")}

    assert read(1) == read(1_000_000)


def test_a_full_temporary_directory_is_said_with_what_to_do(crowd: ObjectStoragePath) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_files(crowd, Settings()) as source:
        if not engine._has_safe_inserts():
            pytest.skip("this DuckDB keeps its tables in memory")
        try:
            # No file can grow any more, as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
            with pytest.raises(ClaudeCodeSourceError, match=f"to {re.escape(tempfile.gettempdir())}. Free some space"):
                source.read("people_monthly")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("threads", [1, MANY_CORES])
def test_too_little_memory_is_said_with_what_to_do(crowd: ObjectStoragePath, threads: int) -> None:
    def read_all() -> None:
        with open_files(crowd, Settings(), memory_mb=12, threads=threads) as source:
            for name in models():
                source.read(name)

    with pytest.raises(
        ClaudeCodeConfigurationError,
        match=rf"ran out of memory: 12\.0 MiB for {threads} threads do not suffice.*memory_mb, fewer threads",
    ) as failure:
        read_all()
    assert "@" not in str(failure.value)


@pytest.mark.parametrize(
    "arguments", [{"memory_mb": 127}, {"memory_mb": "1GB"}, {"memory_mb": True}, {"threads": 0}, {"threads": 1.5}]
)
def test_limits_that_cannot_be_used_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(ClaudeCodeConfigurationError, match=f"{name} is .*; a whole number of"):
        ClaudeCodeReportOperator(task_id="report", path="/data", report_path="/report.html", **arguments)


def test_a_report_opens_each_object_once(tmp_path: Path) -> None:
    store, root = in_a_store(days_of(tmp_path, 14, 2, loads=3))
    report = tmp_path / "report.html"
    ClaudeCodeReportOperator(
        task_id="report",
        path=root.as_uri(),
        # Airflow 3.0 has no property for it.
        conn_id=getattr(root, "conn_id", None) or root.storage_options["conn_id"],
        report_path=str(report),
        last_day=str(DAY + timedelta(days=13)),
        people=True,
    ).execute(CONTEXT)
    assert report.exists()
    assert store.listed == 1
    assert set(store.opened.values()) == {1}
    assert len(store.opened) == 14 * (3 + 3)


def test_objects_of_days_before_since_and_of_others_are_not_opened(tmp_path: Path) -> None:
    store, root = in_a_store(days_of(tmp_path, 3, 2))
    since = DAY + timedelta(days=2)
    store.pipe_file(f"{root.path}/usage/dt={since}/copy.parquet", b"not ours")
    with open_files(root, Settings(since=since)) as source:
        assert min(source.read("daily_activity")["date"].to_pylist()) == since
    assert len(store.opened) == 4
    assert all(f"dt={since}" in name for name in store.opened)


def test_an_object_that_is_gone_before_it_is_read_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, root = in_a_store(days_of(tmp_path, 1, 2))

    def delete_after_listing(*arguments: Any, **options: Any) -> Any:
        found = MemoryFileSystem.find(store, *arguments, **options)
        store.rm_file(f"{root.path}/usage/dt={DAY}/usage.parquet")
        return found

    monkeypatch.setattr(store, "find", delete_after_listing)
    with (
        pytest.raises(ClaudeCodeSourceError, match=r"was removed while it was being read; try again"),
        open_files(root, Settings()),
    ):
        pass


@pytest.fixture
def unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a folder unreadable. Root may read it nevertheless, so its mode is not enough."""
    scandir = os.scandir

    def refuse(name: str) -> None:
        def scan(folder: Any) -> Any:
            if str(folder) == str(tmp_path / name):
                raise PermissionError(errno.EACCES, "Permission denied", str(folder))
            return scandir(folder)

        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setattr("os.scandir", scan)

    return refuse


@pytest.mark.parametrize("folder", ["", "loads", f"loads/dt={DAY}", "usage", f"usage/dt={DAY}"])
def test_a_folder_that_cannot_be_read_is_no_folder_without_days(
    tmp_path: Path, unreadable: Callable[[str], None], folder: str
) -> None:
    """As when somebody else wrote it with the umask 077."""
    days_of(tmp_path, 2, 2)
    unreadable(folder)
    report = ClaudeCodeReportOperator(
        task_id="report", path=str(tmp_path), report_path=f"{tmp_path}/report.html", last_day=str(DAY)
    )
    with pytest.raises(AirflowFailException, match=rf"file://{tmp_path} could not be read or .*Permission denied"):
        report.execute(CONTEXT)


@pytest.mark.parametrize("folder", ["lost+found", "_loads"])
def test_folders_that_no_load_has_written_need_not_be_readable(
    tmp_path: Path, unreadable: Callable[[str], None], folder: str
) -> None:
    days_of(tmp_path, 2, 2)
    unreadable(folder)
    with open_files(ObjectStoragePath(f"file://{tmp_path}"), Settings()) as source:
        assert source.read("daily_activity")["is_loaded"].to_pylist().count(True) == 2


def test_a_file_that_a_load_moves_during_the_listing_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days_of(tmp_path, 2, 2)
    temporary = tmp_path / f"usage/dt={DAY}/.claude-code-tmp-1"
    temporary.touch()
    scandir = os.scandir

    def scan(folder: Any) -> Any:
        if str(folder) != str(temporary.parent):
            return scandir(folder)
        entries = list(scandir(folder))
        temporary.unlink()
        return iter(entries)

    monkeypatch.setattr("os.scandir", scan)
    with open_files(ObjectStoragePath(f"file://{tmp_path}"), Settings()) as source:
        assert source.read("daily_activity")["is_loaded"].to_pylist().count(True) == 2
    assert not temporary.exists()


def test_folders_may_be_links_to_other_volumes(tmp_path: Path) -> None:
    root, volume = days_of(tmp_path / "files", 2, 2), tmp_path / "volume"
    (root / "usage").rename(volume)
    (root / "usage").symlink_to(volume)
    with open_files(ObjectStoragePath(f"file://{root}"), Settings()) as source:
        assert source.read("daily_activity")["is_loaded"].to_pylist().count(True) == 2


@pytest.mark.parametrize("in_store", [False, True])
def test_a_full_temporary_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_store: bool) -> None:
    """Not the bucket, whose objects are copied there."""
    store, root = in_a_store(days_of(tmp_path, 1, 2))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((store, "get") if in_store else ("pyarrow.parquet.write_table",)), refuse)
    path = root if in_store else ObjectStoragePath(f"file://{tmp_path}")
    place = f"file://{tempfile.gettempdir()}/airflow-provider-claude-code-"
    with (
        pytest.raises(ClaudeCodeSourceError, match=rf"^{re.escape(place)}\w+ could not .* Free some space there"),
        open_files(path, Settings()),
    ):
        pass

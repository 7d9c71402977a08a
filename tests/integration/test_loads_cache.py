"""Reports read the rows of earlier loads from a cache, which never changes what they say."""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow.sdk import ObjectStoragePath

from airflow_provider_claude_code.analytics.engines import loads_cache
from airflow_provider_claude_code.analytics.engines.duckdb import open_files
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.collecting import collect
from airflow_provider_claude_code.storage import locks
from tests.fixtures.counting_store import CountingFileSystem, in_a_store
from tests.fixtures.loaded import put_day
from tests.fixtures.records import DAY, people

DAYS = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]
"""The last of a month and the first two of the next."""
MONTHS = ["2025-08", "2025-09"]
Rows = list[dict[str, Any]]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Three days, of which each was loaded twice."""
    root = tmp_path / "days"
    for day in DAYS:
        for hours in (3, 30):
            put_day(root, day, people(2, day), hours_after=hours)
    return root


def loads_of(root: ObjectStoragePath | Path, since: date = DAYS[0]) -> Rows:
    """Return what reports are told of loads."""
    path = root if isinstance(root, ObjectStoragePath) else ObjectStoragePath(f"file://{root}")
    with open_files(path, Settings(since=since)) as source:
        rows = source._database.sql("FROM claude_code.loads").to_arrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["load_id"], row["stream"], row["table_name"]))


def written(files: list[Path]) -> Rows:
    """Return the rows of the files of loads, read one by one."""
    rows = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return sorted(rows, key=lambda row: (row["load_id"], row["stream"], row["table_name"]))


def files_of_loads(root: Path, *of_days: date) -> list[Path]:
    return sorted(file for day in of_days or DAYS for file in (root / f"loads/dt={day}").iterdir())


def cache_of(root: ObjectStoragePath, month: str = MONTHS[1]) -> str:
    return f"{root.path}/_loads/{month}.parquet"


def opened(store: CountingFileSystem, folder: str) -> list[str]:
    """Return which objects below a folder were opened since the last call."""
    names = sorted(name.partition(f"/{folder}/")[2] for name in store.opened.elements() if f"/{folder}/" in name)
    store.opened.clear()
    return names


def test_the_second_report_opens_a_file_per_month_and_none_per_load(days: Path) -> None:
    store, root = in_a_store(days)
    everything = written(files_of_loads(days))
    assert loads_of(root) == everything
    assert len(opened(store, "loads")) == 6
    assert set(store.written) >= {cache_of(root, month) for month in MONTHS}
    store.written.clear()
    assert loads_of(root) == everything
    assert {name for name in store.opened if "loads/" in name} == {cache_of(root, month) for month in MONTHS}
    assert not store.written, "nothing was new"


def test_a_report_of_four_weeks_reads_no_details_of_a_years_first_days(tmp_path: Path) -> None:
    year = [DAY - timedelta(days=number) for number in range(365)]
    for day in year:
        put_day(tmp_path, day, people(1, day))
    store, path = in_a_store(tmp_path)
    settings = Settings(since=year[-1], first_day=DAY - timedelta(days=27), last_day=DAY)

    with open_files(path, settings) as source:
        collect(source, settings, people=False)

    # Nothing was cached.
    assert store.opened.total() + store.listed <= 4_000
    assert max(store.opened.values()) == 1
    assert len(opened_before(store, "usage", DAY)) == len(opened_before(store, "loads", DAY)) == 364
    # The details of half a year are enough for what a report compares.
    for table in ("model_usage", "tool_usage"):
        assert opened_before(store, table, DAY - timedelta(days=183)) == []


def opened_before(store: CountingFileSystem, table: str, day: date) -> list[str]:
    return [name for name in store.opened if f"/{table}/" in name and name.partition("dt=")[2] < str(day)]


def test_a_load_that_came_later_is_read_and_added(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    store.opened.clear()
    store.written.clear()
    put_day(days, DAY, people(3, DAY), hours_after=60)
    newest = files_of_loads(days, DAY)[-1]
    store.pipe_file(f"{root.path}/{newest.relative_to(days)}", newest.read_bytes())
    store.written.clear()
    assert loads_of(root) == written(files_of_loads(days))
    assert opened(store, "loads") == [f"dt={DAY}/{newest.name}"]
    assert set(store.written) == {cache_of(root)}, "the other month is as it was"
    assert loads_of(root) == written(files_of_loads(days))
    assert opened(store, "loads") == []


def test_a_load_whose_file_is_gone_is_no_load(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    gone, *kept = files_of_loads(days)
    store.rm_file(f"{root.path}/{gone.relative_to(days)}")
    assert loads_of(root) == written(kept)


def test_a_load_whose_file_is_another_is_read_again(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    pairs = itertools.combinations(files_of_loads(days), 2)
    first, second = next(pair for pair in pairs if len({file.stat().st_size for file in pair}) == 1)
    shutil.copy(second, first)
    store.pipe_file(f"{root.path}/{first.relative_to(days)}", first.read_bytes())
    for _ in range(2):
        assert loads_of(root) == written(files_of_loads(days))


def test_a_local_file_of_the_same_size_that_is_another_is_read_again(days: Path) -> None:
    first, *_ = files_of_loads(days)

    def say(complete: bool) -> int:
        rows = pq.read_table(first, partitioning=None)
        position = rows.schema.get_field_index("complete")
        pq.write_table(rows.set_column(position, "complete", pa.array([complete] * len(rows))), first)
        return first.stat().st_size

    size = say(True)
    loads_of(days)
    assert say(False) == size
    for _ in range(2):
        assert loads_of(days) == written(files_of_loads(days))


def test_loads_of_two_streams_with_one_id_are_two(days: Path) -> None:
    usage, *others = files_of_loads(days)
    rows = pq.read_table(usage, partitioning=None)
    position = rows.schema.get_field_index("stream")
    cost = usage.with_name(usage.name.replace(".usage.", ".cost."))
    pq.write_table(rows.set_column(position, "stream", pa.array(["cost"] * len(rows))), cost)
    store, root = in_a_store(days)
    place = f"{root.path}/{cost.relative_to(days)}"
    store.rm_file(place)
    assert loads_of(root) == written([usage, *others])
    store.pipe_file(place, cost.read_bytes())
    for _ in range(2):
        assert loads_of(root) == written([usage, cost, *others])
    store.rm_file(place)
    assert loads_of(root) == written([usage, *others])


def test_a_file_that_is_no_load_is_none_even_if_a_cache_has_it(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    copy = files_of_loads(days, DAY)[0].with_name("copy.parquet")
    store.pipe_file(f"{root.path}/{copy.relative_to(days)}", b"")
    rows = pq.read_table(io.BytesIO(store.cat_file(cache_of(root))))
    position = rows.schema.get_field_index("file")
    forged = rows.set_column(position, "file", pa.array([str(copy.relative_to(days))] * len(rows)))
    forged = forged.set_column(position + 1, "version", pa.array(["0 None"] * len(rows)))
    pq.write_table(pa.concat_tables([rows, forged]), content := io.BytesIO())
    store.pipe_file(cache_of(root), content.getvalue())
    assert loads_of(root) == written(files_of_loads(days))


def changed(content: bytes, change: str) -> bytes:
    """Return a cache as it should not be."""
    rows = pq.read_table(io.BytesIO(content))
    nothing = pa.nulls(len(rows), pa.string())
    match change:
        case "empty":
            return b""
        case "cut":
            return content[: len(content) // 2]
        case "no Parquet":
            return b"\x00" * len(content)
        case "of an older version":
            rows = rows.drop_columns(["actor_identity"])
        case "of a newer version":
            rows = rows.append_column("new", nothing)
        case "in another order":
            rows = rows.select(rows.column_names[::-1])
        case "without files":
            rows = rows.set_column(rows.schema.get_field_index("file"), "file", nothing)
            rows = rows.set_column(rows.schema.get_field_index("version"), "version", nothing)
        case "without rows":
            rows = rows.slice(0, 0)
        case "of something else":
            rows = pa.table({"file": rows["file"], "version": rows["version"]})
    pq.write_table(rows, changed := io.BytesIO())
    return changed.getvalue()


CHANGES = (
    *("empty", "cut", "no Parquet", "of an older version", "of a newer version", "in another order"),
    *("without files", "without rows", "of something else"),
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_that_cannot_be_used_is_written_anew(days: Path, change: str) -> None:
    store, root = in_a_store(days)
    everything = loads_of(root)
    good = store.cat_file(cache_of(root))
    store.pipe_file(cache_of(root), changed(good, change))
    opened(store, "loads")
    assert loads_of(root) == everything
    assert len(opened(store, "loads")) == 4, "of this month"
    assert loads_of(root) == everything
    assert opened(store, "loads") == []


def test_a_cache_of_another_month_or_place_counts_nothing_twice(days: Path) -> None:
    store, root = in_a_store(days)
    everything = loads_of(root)
    store.pipe_file(cache_of(root, MONTHS[0]), store.cat_file(cache_of(root, MONTHS[1])))
    store.pipe_file(cache_of(root, "2025-10"), store.cat_file(cache_of(root, MONTHS[1])))
    assert loads_of(root) == everything
    put_day(other := days.with_name("other"), DAY, people(5, DAY))
    elsewhere, place = in_a_store(other)
    elsewhere.pipe_file(cache_of(place), store.cat_file(cache_of(root)))
    assert loads_of(place) == written(files_of_loads(other, DAY))


def test_damage_to_any_byte_of_a_cache_is_noticed_or_harmless(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    content = store.cat_file(cache_of(root))
    rows = pq.read_table(io.BytesIO(content))
    versions = dict(zip(rows["file"].to_pylist(), rows["version"].to_pylist(), strict=True))
    assert loads_cache._true_rows(content, versions).equals(rows)
    # All of them take half a minute.
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        read = loads_cache._true_rows(bytes(damaged), versions)
        assert read.num_rows == 0 or read.equals(rows), position


def test_a_cache_keeps_days_before_those_that_a_report_reads(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    put_day(days, DAYS[2], people(3, DAYS[2]), hours_after=60)
    newest = files_of_loads(days)[-1]
    store.pipe_file(f"{root.path}/{newest.relative_to(days)}", newest.read_bytes())
    opened(store, "loads")
    assert loads_of(root, since=DAYS[2]) == written(files_of_loads(days, DAYS[2]))
    assert opened(store, "loads") == [f"dt={DAYS[2]}/{newest.name}"]
    assert loads_of(root) == written(files_of_loads(days))
    assert opened(store, "loads") == []


def test_only_the_months_that_a_report_reads_are_opened(days: Path) -> None:
    store, root = in_a_store(days)
    loads_of(root)
    store.opened.clear()
    loads_of(root, since=DAY)
    assert opened(store, "_loads") == [f"{MONTHS[1]}.parquet"]


def test_a_cache_that_is_too_large_is_not_opened(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, root = in_a_store(days)
    everything = loads_of(root)
    monkeypatch.setattr(loads_cache, "LARGEST_CACHE", len(store.cat_file(cache_of(root))) - 1)
    store.opened.clear()
    assert loads_of(root) == everything
    assert f"{MONTHS[1]}.parquet" not in opened(store, "_loads")


class LibraryError(Exception):
    """What a store's library may raise."""


@pytest.mark.parametrize("error", [PermissionError("no"), OSError("broken"), LibraryError("no")])
def test_a_cache_that_cannot_be_read_is_no_error(days: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    store, root = in_a_store(days)
    everything = loads_of(root)

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    # Other objects are fetched to a file.
    monkeypatch.setattr(store, "cat_file", refuse)
    assert loads_of(root) == everything


@pytest.mark.parametrize(
    ("error", "told"),
    [(PermissionError("no"), "the account of the Connection"), (LibraryError("with a secret"), "LibraryError")],
)
def test_a_cache_that_cannot_be_written_is_no_error(
    days: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: str,
) -> None:
    store, root = in_a_store(days)

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(store, "put_file", refuse)
    with caplog.at_level("INFO"):
        assert loads_of(root) == written(files_of_loads(days))
    (line,) = [record.message for record in caplog.records if "_loads was not updated" in record.message]
    assert told in line
    assert "secret" not in line


def test_in_a_local_directory_a_report_works_without_a_place_for_the_cache(
    days: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (days / "_loads").write_text("a file where the folder would be")
    with caplog.at_level("INFO"):
        assert loads_of(days) == written(files_of_loads(days))
    assert "_loads was not updated" in caplog.text


def test_a_report_does_not_wait_for_a_writer(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_PATIENCE", 0)
    with (days / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert loads_of(days) == written(files_of_loads(days))
    assert sorted(file.name for file in (days / "_loads").iterdir()) == [f"{month}.parquet" for month in MONTHS]


def test_a_local_directory_has_a_cache_too(days: Path) -> None:
    everything = loads_of(days)
    assert sorted(file.name for file in (days / "_loads").iterdir()) == [f"{month}.parquet" for month in MONTHS]
    # What is in the files does not matter as long as they are the same.
    for file in files_of_loads(days):
        times = file.stat()
        file.write_bytes(b"x" * times.st_size)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert loads_of(days) == everything

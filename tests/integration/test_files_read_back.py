"""Of a path only what loads have written is read, whatever lies beside it and whatever the path is called."""

from __future__ import annotations

import shutil
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_claude_code.analytics.engines.duckdb import open_files
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from tests.fixtures.loaded import put_day, source
from tests.fixtures.records import DAY, people

NEXT = DAY + timedelta(days=1)
TABLES = ("usage", "model_usage", "tool_usage", "loads")


@pytest.fixture
def loaded(tmp_path: Path) -> Path:
    """Two days of six people, the first of which was loaded twice."""
    root = tmp_path / "loaded"
    for hours in (3, 30):
        put_day(root, DAY, people(6, DAY), hours_after=hours)
    put_day(root, NEXT, people(5, NEXT))
    # A week is shown when it is over.
    put_day(root, DAY + timedelta(days=6), people(5, DAY + timedelta(days=6)))
    return root


def everything(root: Path) -> dict[str, Any]:
    """Read what is said of all tables, in an order."""
    with source(root, Settings()) as opened:
        return {
            name: sorted(map(str, opened.read(name).to_pylist()))
            for name in ("daily_activity", "model_costs", "tool_acceptance", "load_health", "restatements")
        }


def a_file_of(table: str, root: Path) -> Path:
    return next((root / table / f"dt={DAY}").iterdir())


STRANGERS = (
    "._{0}.parquet",
    "_tmp.parquet",
    ".claude-code-tmp-0a1b2c3d",
    "{0} (Ann's conflicted copy 2025-09-02).parquet",
    "{0} (1).parquet",
    "{0}.parquet.crc",
    "{0}-1.parquet",
    "copy/{0}.parquet",
    "../{0}.parquet",
    "../dt=2025-09-01 (1)/{0}.parquet",
    "../dt=20250901/{0}.parquet",
    "../../backup/{1}/dt=2025-09-01/{0}.parquet",
    "../../usage/dt=2025-09-03/loads.parquet",
    "../../loads/dt=2025-09-03/usage.parquet",
)


@pytest.mark.parametrize("content", [None, b"", b"\x00\x05\x16\x07Mac OS X"], ids=["copied", "empty", "other"])
def test_what_others_have_put_beside_a_days_files_is_not_read(loaded: Path, content: bytes | None) -> None:
    before = everything(loaded)
    files = {table: a_file_of(table, loaded) for table in TABLES}
    for table, file in files.items():
        for name in STRANGERS:
            place = file.parent / name.format(file.stem, table)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes() if content is None else content)
    assert everything(loaded) == before


@pytest.mark.parametrize(
    "folder", ["a[1]", "a?b", "a*", "[a]*?[!b]", "{a,b}", "a'b", "dt=x", "usage/dt=2025-09-01", "a\\b"]
)
def test_the_path_is_a_path_and_no_pattern(loaded: Path, tmp_path: Path, folder: str) -> None:
    # What these match if they are patterns.
    for other in ("a1", "ab", "abc", "aab", "a/b"):
        put_day(tmp_path / "roots" / other, DAY, people(9, DAY))
    root = Path(shutil.copytree(loaded, tmp_path / "roots" / folder))
    assert everything(root) == everything(loaded)


def test_so_it_is_in_an_object_store(loaded: Path) -> None:
    attach("memory", conn_id="read_back", fs=(store := MemoryFileSystem(skip_instance_cache=True)))
    bucket = f"memory://{uuid.uuid4().hex}"
    put_day(loaded / "other", DAY, people(9, DAY))
    for folder, root in (("a[1]*?'b", loaded), ("a1bcb", loaded / "other")):
        for table in TABLES:
            for file in (root / table).rglob("*.parquet"):
                store.put_file(str(file), f"{bucket}/{folder}/{file.relative_to(root)}")
    with open_files(ObjectStoragePath(f"{bucket}/a[1]*?'b", conn_id="read_back"), Settings()) as opened:
        (row,) = [row for row in opened.read("daily_activity").to_pylist() if row["date"] == DAY]
    assert row["active_people"] == 6


def test_a_path_that_duckdb_cannot_be_told_is_refused(loaded: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(loaded, tmp_path / "a[1]\\b"))
    with pytest.raises(ClaudeCodeConfigurationError, match=r"a backslash and one of \[, \* and \?"):
        everything(root)


NULLABLE = {
    "usage": ["subscription_type", "is_remote", "input_tokens", "currency"],
    "model_usage": ["subscription_type"],
    "tool_usage": ["is_remote"],
    "loads": ["pseudonym_key_id", "run_id", "estimated_cost_cents"],
}


@pytest.mark.parametrize("table", TABLES)
def test_a_file_of_an_older_schema_is_read_as_if_its_missing_columns_were_null(loaded: Path, table: str) -> None:
    """Of two days one has the column, whichever comes first."""
    for day in (DAY, NEXT):
        files = sorted((loaded / table / f"dt={day}").iterdir())
        kept = [pq.read_table(file, partitioning=None) for file in files]
        for file, rows in zip(files, kept, strict=True):
            nulls = {name: pa.nulls(len(rows), rows.schema.field(name).type) for name in NULLABLE[table]}
            pq.write_table(pa.table({name: nulls.get(name, rows[name]) for name in rows.column_names}), file)
        with_nulls = everything(loaded)
        for file, rows in zip(files, kept, strict=True):
            pq.write_table(rows.drop_columns(NULLABLE[table]), file)
        assert everything(loaded) == with_nulls
        for file, rows in zip(files, kept, strict=True):
            pq.write_table(rows, file)


@pytest.mark.parametrize("day", [DAY, NEXT])
@pytest.mark.parametrize("table", TABLES)
def test_columns_are_matched_by_name_and_those_of_a_newer_schema_left_out(loaded: Path, table: str, day: date) -> None:
    """Of two days one has its columns in another order and one that nobody knows, whichever comes first."""
    before = everything(loaded)
    for file in (loaded / table / f"dt={day}").iterdir():
        rows = pq.read_table(file, partitioning=None)
        new = pa.table({"new": ["?"] * len(rows), **{name: rows[name] for name in reversed(rows.column_names)}})
        pq.write_table(new, file)
    assert everything(loaded) == before

"""Days as the operators leave them in a directory, made from records without a server, each read when the test says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from airflow.sdk import ObjectStoragePath

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.sources import FileSource, open_files
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.tables.loads import FILE_LOADS, Load
from airflow_provider_claude_code.tables.spool import DaySpool, arrow_schema
from tests.records import ORGANIZATION_ID, Json, body, model, official_example


def put_day(
    root: Path,
    day: date,
    records: Sequence[Json],
    *,
    hours_after: int = 3,
    is_complete: bool = True,
    organization_id: str | None = None,
) -> None:
    """
    Write a day's tables and its rows of loads, as a load so many hours after the end of the day does.

    The key is one of the organisation; by default, of that of the records. Other organisations' rows stay.
    """
    organization_id = organization_id or (records[0]["organization_id"] if records else ORGANIZATION_ID)
    loaded_at = datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=hours_after)
    load_id = f"{loaded_at:%Y%m%dT%H%M%S.%fZ}-{organization_id[:8]}"
    spooled = root / "spool"
    spooled.mkdir(parents=True)
    flattener = UsageFlattener(day)
    with DaySpool(spooled, DATA_TABLES.values(), "parquet", load_id, loaded_at) as spool:
        spool.write(flattener.flatten(decode_report(body(records))[0].data))
        files = spool.finish()
    load = Load(
        load_id=load_id,
        loaded_at=loaded_at,
        stream="usage",
        day=day,
        organization_id=organization_id,
        complete=is_complete,
        totals=flattener.totals,
        files=files,
        actor_identity="plain",
        pseudonym_key_id=None,
        dag_id=None,
        run_id=None,
    )
    rows = []
    for row, (table, file) in zip(load.rows(), files.items(), strict=True):
        place = root / f"{table}/dt={day}/{table}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            held, new = (pa.parquet.read_table(name, partitioning=None) for name in (place, file.path))
            others = held.filter(pa.compute.not_equal(held["organization_id"], organization_id))
            pa.parquet.write_table(pa.concat_tables([others, new]), file.path)
        file.path.rename(place)
        sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
        rows.append(row | {"path": str(place.relative_to(root)), "bytes": file.size, "sha256": sha256})
    spooled.rmdir()
    remembered = root / f"loads/dt={day}/{load_id}.usage.parquet"
    remembered.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(FILE_LOADS)), remembered)


def put_days(root: Path, days: Mapping[date, Sequence[Json]]) -> Path:
    """Write complete days, and return where they are."""
    for day, records in days.items():
        put_day(root, day, records)
    return root


@contextmanager
def source(root: Path, settings: Settings, **files: Path) -> Iterator[FileSource]:
    """Open the days; ``files`` are those of a roster and a mapping."""
    paths = {name: ObjectStoragePath(f"file://{file}") for name, file in files.items()}
    with open_files(ObjectStoragePath(f"file://{root}"), settings, **paths) as opened:
        yield opened


HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style></svg><img src=x onerror=alert(1)>",
    "\"'><a href='https://example.org/'>x</a>",
    "$x^2$ $\\frac$",
    "two\nlines\tand\x00nul",
    "x" * 500,
    "\u202egnp.exe\u2066",
    "zero\u200bwidth",
    "مرحبا بالعالم",
    "\U0001f680 \u6f22\u5b57",
    "--><!-- -->",
    "&amp; &lt;",
    "url(#x) #010101 font-family: x;",
    "   ",
)
"""Names that break what does not take them for text."""


def put_hostile_days(root: Path, days: Sequence[date]) -> Path:
    """Write days whose tools, models, terminals and people have these names, and return a mapping to such groups."""
    rows = [
        official_example(
            actor={"type": "user_actor", "email_address": name},
            terminal_type=name,
            tool_actions={name: {"accepted": 3, "rejected": 1}},
            model_breakdown=[model(500 + number, name=name)],
        )
        for number, name in enumerate(HOSTILE)
    ]
    put_days(root, dict.fromkeys(days, rows))
    groups = [{"actor_type": "user_actor", "actor_id": name, "team": name, "cost_centre": name} for name in HOSTILE]
    columns = (*groups[0], "valid_from", "valid_to")
    mapping = root / "mapping.parquet"
    schema = pa.schema([(column, pa.string()) for column in columns])
    pa.parquet.write_table(pa.Table.from_pylist(groups, schema=schema), mapping)
    return mapping

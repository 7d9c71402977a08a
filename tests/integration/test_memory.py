"""A load's memory does not grow with the day, but for what finds records that come twice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from airflow_provider_claude_code.api.paging import Page
from airflow_provider_claude_code.streams.reading import DayReader
from airflow_provider_claude_code.streams.registry import STREAMS
from airflow_provider_claude_code.tables import spool
from tests.fixtures.records import ORGANIZATION_ID
from tests.fixtures.scenes import SCENES, Scene
from tests.fixtures.walks import pages_of

RECORDS = 100
"""Records of a page, and rows that are kept until they are written."""
BYTES_PER_RECORD = 300
"""A hash or an id in a set. A record or a row takes kilobytes."""


def answers(scene: Scene, pages: int) -> Iterator[httpx.Response]:
    headers = {"anthropic-organization-id": ORGANIZATION_ID, "date": format_datetime(datetime.now(UTC), usegmt=True)}
    for number in range(pages):
        records = [scene.record(number * RECORDS + position) for position in range(RECORDS)]
        body = scene.page(records, f"c{number}=" if number + 1 < pages else None)
        yield httpx.Response(200, content=body, headers=headers)
    yield from (httpx.Response(200, content=body, headers=headers) for body in scene.more)


def peak(scene: Scene, pages: int, folder: Path) -> int:
    """Load a day of some pages, and return the peak memory in bytes at the arrival of a page."""
    stream = STREAMS[scene.stream]
    held: list[int] = []

    def iter_pages(_: object) -> Iterator[Page]:
        for page in pages_of(stream.walk(scene.day, RECORDS), answers(scene, pages)):
            held.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes())
            yield page

    folder.mkdir()
    reader = DayReader(
        stream=stream,
        tables=stream.tables,
        filters=stream.chosen(None),
        file_format="parquet",
        iter_pages=iter_pages,
        get_organization_id=lambda: ORGANIZATION_ID,
        find_organization_name=lambda _: None,
        get_pseudonyms=lambda: None,
        allow_incomplete=True,
        dag_id="d",
        run_id="r",
    )
    tracemalloc.start()
    try:
        load = reader.read(scene.day, folder, None)
    finally:
        tracemalloc.stop()
    assert load.totals.row_counts[stream.tables[0].name] == pages * RECORDS
    return max(held)


@pytest.mark.parametrize("stream", SCENES)
def test_a_day_of_four_times_the_pages_takes_hardly_more_memory(
    stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ROW_GROUP_ROWS", RECORDS)
    scene = SCENES[stream](1)
    # What is made once.
    peak(scene, 2, tmp_path / "first")
    small, large = (peak(scene, pages, tmp_path / str(pages)) for pages in (10, 40))
    print(stream, small, large, (large - small) / (30 * RECORDS), "bytes per record")
    assert large - small < 30 * RECORDS * BYTES_PER_RECORD

"""A backfill in one task, beside a task for each day."""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.loading import connections, totals_of_files
from benchmarks.measuring import Row, Section, interleaved, ratios, run_python
from benchmarks.servers import api_server
from benchmarks.usage import DAY, PAGE_RECORDS, expected_totals

DAYS = 12
RECORDS = 2_000
LATENCY = 1.0
REQUESTS = DAYS * RECORDS // PAGE_RECORDS
ROUNDS = 3


class _Backfill:
    """
    What a backfill took.

    :param wall: seconds that passed.
    :param cpu: seconds of processor time of its processes.
    """

    def __init__(self, wall: float, cpu: float) -> None:
        self.wall = wall
        self.cpu = cpu
        self.records = DAYS * RECORDS / wall
        self.requests = 60 * REQUESTS / wall


def _backfill(url: str, spans: list[tuple[int, int]]) -> _Backfill:
    """Load spans of days, each in a process of its own, one after the other; both ends are days before the last."""
    environment = {**os.environ, **connections(url)}
    begun, cpu = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for first, last in spans:
            days = [str(DAY - timedelta(days=before)) for before in (last, first)]
            printed = run_python("-m", "benchmarks.loading", "files", folder, "parquet", *days, environment=environment)
            cpu += json.loads(printed.splitlines()[-1])["cpu"]
        wall = time.perf_counter() - begun
        assert totals_of_files(Path(folder)) == expected_totals(RECORDS, DAYS)
    return _Backfill(wall, cpu)


def run() -> Section:
    """Load the same days in both ways, in turns."""
    with api_server(RECORDS, LATENCY) as api:
        taken = interleaved(
            {
                "a task for each day": lambda: _backfill(api.url, [(n, n) for n in reversed(range(DAYS))]),
                "one task for all days": lambda: _backfill(api.url, [(DAYS - 1, 0)]),
            },
            repeats=ROUNDS,
            warm_ups=0,
        )
    rows = []
    for name, rounds in taken.items():
        rows += [
            Row(f"{name}: records", [one.records for one in rounds], "records/s"),
            Row(f"{name}: requests for pages", [one.requests for one in rounds], "a minute"),
            Row(f"{name}: processor time", [one.cpu for one in rounds], "s"),
        ]
    single, together = taken.values()
    return Section(
        "10. A backfill in one task",
        f"{DAYS} days of {RECORDS:,} records in pages of {PAGE_RECORDS:,}, from a server that answers each request "
        f"after {LATENCY:g} s, into Parquet files: by a process for each day, one after the other, and by one process "
        "with `first_day`. Without a limit of the requests per minute; with the usual 60, more than 60 requests take "
        "as many minutes as the limit says.",
        [
            *rows,
            Row(
                "records per second: one task / a task for each day",
                ratios([one.records for one in together], [one.records for one in single]),
                "times",
                at_least=2,
            ),
            Row(
                "processor time: one task / a task for each day",
                ratios([one.cpu for one in together], [one.cpu for one in single]),
                "times",
                at_most=0.5,
            ),
        ],
    )

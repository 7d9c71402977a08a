"""A year of days, by the number of tasks that load it at the same time."""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import psutil

from benchmarks.loading import connections, load, totals_of_bigquery, totals_of_files, use
from benchmarks.measuring import REPEATS, Row, Section, interleaved
from benchmarks.servers import Server, api_server, bigquery_server
from benchmarks.usage import expected_totals

FIRST_DAY = date(2025, 1, 1)
RECORDS = 2_000
TASKS = (1, 2, 4)
# A year in all, in as many rounds as every other measurement has.
DAYS = 365 // REPEATS


class _Round:
    """
    What a round took.

    :param seconds: wall time.
    :param ours: processor time of the loading processes.
    :param servers: processor time of the servers.
    """

    def __init__(self, seconds: float, ours: float, servers: float) -> None:
        self.records_per_second = DAYS * RECORDS / seconds
        self.ours_per_day = 1000 * ours / DAYS
        cores = psutil.cpu_count() or 1
        self.busy = 100 * (ours + servers) / (seconds * cores)
        self.servers = 100 * servers / (seconds * cores)


def _load_share(target: str, place: str, last: date, days: int) -> float:
    """Load a share of the days in one task with ``lookback_days``, and return its processor time."""
    begun = time.process_time()
    load(target, place, last, lookback_days=days - 1)
    return time.process_time() - begun


@contextmanager
def _workers(environment: dict[str, str]) -> Iterator[ProcessPoolExecutor]:
    """Give processes that have imported everything and loaded a day, as a worker has that runs for a while."""
    with (
        ProcessPoolExecutor(
            max(TASKS), multiprocessing.get_context("spawn"), initializer=use, initargs=(environment,)
        ) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        warm_ups = [
            pool.submit(_load_share, "files", f"{folder}/{number}", FIRST_DAY, 1) for number in range(max(TASKS))
        ]
        for warm_up in warm_ups:
            warm_up.result()
        yield pool


def _load_days(pool: ProcessPoolExecutor, target: str, place: str, tasks: int, servers: list[Server]) -> _Round:
    """Load the days of a round by so many tasks."""
    ends = [DAYS * number // tasks for number in range(tasks + 1)]
    before = sum(server.cpu() for server in servers)
    begun = time.perf_counter()
    shares = [
        pool.submit(_load_share, target, place, FIRST_DAY + timedelta(days=end - 1), end - start)
        for start, end in itertools.pairwise(ends)
    ]
    ours = sum(share.result() for share in shares)
    seconds = time.perf_counter() - begun
    return _Round(seconds, ours, sum(server.cpu() for server in servers) - before)


def _rows(target: str, load_days: Callable[[int], _Round]) -> list[Row]:
    """Load the days of a round by one, two and four tasks in turns."""
    measured = interleaved({str(tasks): partial(load_days, tasks) for tasks in TASKS}, warm_ups=0)
    rows = []
    for tasks, rounds in measured.items():
        name = f"{target}, parallel tasks: {tasks}"
        rows += [
            Row(name, [taken.records_per_second for taken in rounds], "records/s"),
            Row(f"{name}; our processor time a day", [taken.ours_per_day for taken in rounds], "ms"),
            Row(f"{name}; all cores busy", [taken.busy for taken in rounds], "%"),
            Row(f"{name}; of that, local servers", [taken.servers for taken in rounds], "%"),
        ]
    return rows


def run() -> Section:
    """Load a year into both targets."""
    expected = expected_totals(RECORDS, DAYS)
    with (
        api_server(RECORDS) as api,
        bigquery_server() as bigquery,
        _workers(connections(api.url, BIGQUERY_EMULATOR_HOST=bigquery.url)) as pool,
    ):

        def into_files(tasks: int) -> _Round:
            with tempfile.TemporaryDirectory() as folder:
                taken = _load_days(pool, "files", folder, tasks, [api])
                assert totals_of_files(Path(folder)) == expected
            return taken

        def into_bigquery(tasks: int) -> _Round:
            dataset = f"year_{uuid.uuid4().hex}"
            taken = _load_days(pool, "bigquery", dataset, tasks, [api, bigquery])
            assert totals_of_bigquery(bigquery.url, dataset) == expected
            return taken

        rows = [*_rows("files", into_files), *_rows("BigQuery", into_bigquery)]
    return Section(
        "7. A year",
        f"{REPEATS} rounds of {DAYS} days, {REPEATS * DAYS} in all, of {RECORDS:,} records each, shared out to tasks "
        "that load their share with `lookback_days`, into Parquet files and into the local BigQuery. API and BigQuery "
        "are local servers that take their part of the same cores; where these are all busy, the machine is the limit.",
        rows,
    )

"""The requests and connections that loads need."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from starlette.types import Receive, Scope, Send

from airflow_provider_claude_code.sandbox import create_app
from airflow_provider_claude_code.sandbox.report import REPORT_PATH
from airflow_provider_claude_code.sandbox.server import start_in_thread
from airflow_provider_claude_code.transfers.base import DAYS_AT_A_TIME
from benchmarks.loading import connections, load, totals_of_files, use
from benchmarks.measuring import Row, Section
from benchmarks.usage import DAY, ORGANIZATION, PAGE_RECORDS, UsageOfADay, expected_totals

# Records of each day, and the days of the load.
LOADS = ((0, 1), (1, 1), (PAGE_RECORDS, 1), (PAGE_RECORDS + 1, 1), (25_500, 1), (2_500, 4))


class _CountingSandbox:
    """The sandbox behind a list of what arrives: the path of each request, and the port that it came from."""

    def __init__(self, records: int) -> None:
        self.seen: list[tuple[str, int]] = []
        self._app = create_app(
            ORGANIZATION, now=lambda: datetime.now(UTC), records=lambda day, _: UsageOfADay(day, records)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((scope["path"], scope["client"][1]))
        await self._app(scope, receive, send)


def _count(records: int, days: int) -> tuple[int, int, int]:
    """Load days and return the requests for their pages, the other requests, and the connections."""
    sandbox = _CountingSandbox(records)
    server, thread, url = start_in_thread(sandbox, host="127.0.0.1", port=0, log_config=None, access_log=False)
    try:
        use(connections(url))
        with tempfile.TemporaryDirectory() as folder:
            load("files", folder, DAY, lookback_days=days - 1)
            if records:
                assert totals_of_files(Path(folder)) == expected_totals(records, days)
    finally:
        server.should_exit = True
        thread.join()
    pages = sum(path == REPORT_PATH for path, _ in sandbox.seen)
    return pages, len(sandbox.seen) - pages, len({port for _, port in sandbox.seen})


def run() -> Section:
    """Count for days of several lengths."""
    rows = []
    for records, days in LOADS:
        pages, others, connections_made = _count(records, days)
        name = f"{records:,} records" + (f" on each of {days} days in one load" if days > 1 else "")
        rows += [
            Row(f"{name}: requests for pages", [pages], at_most=days * max(1, math.ceil(records / PAGE_RECORDS))),
            Row(f"{name}: other requests", [others], at_most=1),
            Row(f"{name}: connections", [connections_made], at_most=min(days, DAYS_AT_A_TIME)),
        ]
    return Section(
        "5. Requests",
        "What arrives at the sandbox while the operator loads days of several lengths. Several days of one load are "
        "fetched at a time, over a connection each. The counts follow from the code, so one run tells.",
        rows,
    )

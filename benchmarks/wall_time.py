"""The wall time of a day against an API that takes its time, beside fetching the same pages and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx
import msgspec

from airflow_provider_claude_code.api.settings import MAX_PAGE_LIMIT
from airflow_provider_claude_code.sandbox import API_KEY
from airflow_provider_claude_code.streams.usage import USAGE
from benchmarks.loading import connections, load, totals_of_files, use
from benchmarks.measuring import Cost, Row, Section, cost_of, interleaved, ratios
from benchmarks.servers import api_server
from benchmarks.usage import DAY, PAGE_RECORDS, expected_totals

PAGES = 30
LATENCY = 0.05


class _Cursor(msgspec.Struct):
    """What has to be known of a page to ask for the next."""

    next_page: str | None


def fetch(url: str) -> None:
    """Fetch all pages, one after the other."""
    headers = {"x-api-key": API_KEY, "anthropic-version": "2023-06-01"}
    query: dict[str, str | int] = {"starting_at": DAY.isoformat(), "limit": MAX_PAGE_LIMIT}
    fetched = 0
    with httpx.Client(base_url=url, headers=headers) as client:
        while True:
            body = client.get(USAGE.path, params=query).raise_for_status().content
            fetched += 1
            cursor = msgspec.json.decode(body, type=_Cursor).next_page
            if cursor is None:
                break
            query["page"] = cursor
    assert fetched == PAGES


def run() -> Section:
    """Fetch and load the same day in turns."""
    records = PAGES * PAGE_RECORDS
    expected = expected_totals(records)
    with api_server(records, LATENCY) as server:
        use(connections(server.url))

        def load_day() -> Cost:
            with tempfile.TemporaryDirectory() as folder:
                cost = cost_of(lambda: load("files", folder, DAY))
                assert totals_of_files(Path(folder)) == expected
            return cost

        costs = interleaved({"fetch": lambda: cost_of(lambda: fetch(server.url)), "load": load_day})
    fetching, loading = ([cost.wall for cost in costs[side]] for side in ("fetch", "load"))
    return Section(
        "3. Wall time of a day",
        f"{PAGES} pages of {PAGE_RECORDS:,} records from a server that answers each after {LATENCY * 1000:.0f} ms, "
        "loaded into Parquet files by the operator, and the same pages fetched one after the other with httpx and "
        "thrown away. The server is on the same machine and makes each page when it is asked, in both cases.",
        [
            Row("fetch alone", fetching, "s"),
            Row("load of the day", loading, "s"),
            Row("load / fetch", ratios(loading, fetching), "times", at_most=1.1),
            Row("processor time of the load", [cost.cpu for cost in costs["load"]], "s"),
        ],
    )

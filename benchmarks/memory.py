"""The memory that a day takes, and how it grows with the day."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loading import (
    connections,
    load_in_a_process,
    totals_of_bigquery,
    totals_of_bucket,
    totals_of_files,
)
from benchmarks.measuring import REPEATS, Row, Section
from benchmarks.servers import Server, api_server, bigquery_server, gcs_server
from benchmarks.usage import expected_totals

SMALL, LARGE = 10_000, 1_000_000
MEGABYTE = 1_000_000
LIMIT = 70 * MEGABYTE
SIDES = {
    "Parquet files": ("files", "parquet"),
    "NDJSON files": ("files", "ndjson"),
    "CSV files": ("files", "csv"),
    "Google Cloud Storage": ("gcs", "parquet"),
    "BigQuery": ("bigquery", "parquet"),
}


@dataclass(frozen=True)
class _Servers:
    """Where the loads go, and the API of days of each length."""

    api: Mapping[int, Server]
    gcs: Server
    bigquery: Server

    def peak(self, target: str, file_format: str, records: int) -> float:
        """Load a day in a process of its own and return the megabytes that this process held at its peak."""
        environment = connections(
            self.api[records].url, STORAGE_EMULATOR_HOST=self.gcs.url, BIGQUERY_EMULATOR_HOST=self.bigquery.url
        )
        name = f"day_{uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory() as folder:
            place = folder if target == "files" else name
            took = load_in_a_process(target, place, file_format, environment)
            match target:
                case "files":
                    totals = totals_of_files(Path(folder), file_format)
                case "gcs":
                    totals = totals_of_bucket(self.gcs.url, name)
                case _:
                    totals = totals_of_bigquery(self.bigquery.url, name)
        assert totals == expected_totals(records)
        return float(took["peak"] / MEGABYTE)


def run() -> Section:
    """Load a small day several times and a large one once: that takes minutes, and its peak hardly varies."""
    rows = []
    with (
        api_server(SMALL) as small_api,
        api_server(LARGE) as large_api,
        gcs_server() as gcs,
        bigquery_server() as bigquery,
    ):
        servers = _Servers({SMALL: small_api, LARGE: large_api}, gcs, bigquery)
        for name, side in SIDES.items():
            small = [servers.peak(*side, SMALL) for _ in range(REPEATS)]
            large = servers.peak(*side, LARGE)
            rows += [
                Row(f"{name}: peak of {SMALL:,} records", small, "MB"),
                Row(f"{name}: peak of {LARGE:,} records", [large], "MB"),
                Row(f"{name}: growth", [large - peak for peak in small], "MB", at_most=LIMIT / MEGABYTE),
            ]
    return Section(
        "4. Memory",
        f"A fresh process loads a day of {SMALL:,} records, or one of {LARGE:,}, through the operator; the API, Cloud "
        "Storage and BigQuery are local servers in other processes. Counted is the most that the process held at any "
        "moment (resident set), with Python, Airflow and all libraries. What arrived is added up and compared with "
        "the records.",
        rows,
    )

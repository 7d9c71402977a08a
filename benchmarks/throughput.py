"""
Records per second from pages in memory to finished Parquet files, beside json.loads, pandas and dlt.

``python -m benchmarks.throughput SIDE`` prints what one of them takes.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from airflow_provider_claude_code.api.decoding import decode_continuation
from airflow_provider_claude_code.api.settings import MAX_PAGE_LIMIT
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_records
from airflow_provider_claude_code.tables.contract import FileFormat
from airflow_provider_claude_code.tables.spool import DaySpool
from benchmarks.measuring import Cost, Row, Section, cost_of, interleaved, ratios, run_python
from benchmarks.usage import DAY, PAGE_RECORDS, Json, Totals, expected_totals, pages

RECORDS = 20 * PAGE_RECORDS


def spool(bodies: list[bytes], directory: Path, file_format: FileFormat = "parquet") -> None:
    """Write the three tables as the operators do, from checking the answers to the checksums of the files."""
    flattener = UsageFlattener(DAY)
    with DaySpool(directory, USAGE.tables, file_format, "load", datetime.now(UTC)) as day:
        for body in bodies:
            decode_continuation(body)
            records, _ = decode_records(body, day=DAY, limit=MAX_PAGE_LIMIT)
            day.write(flattener.flatten(records))
        day.finish()


def parse_only(bodies: list[bytes], directory: Path) -> None:
    """Parse the pages and do nothing with them."""
    for body in bodies:
        json.loads(body)


def normalize_with_pandas(bodies: list[bytes], directory: Path) -> None:
    """Write the records and their model entries with what pandas has for nested JSON."""
    records = [record for body in bodies for record in json.loads(body)["data"]]
    usage = pd.json_normalize(records).drop(columns="model_breakdown")
    usage.to_parquet(directory / "usage.parquet", compression="zstd")
    identity = ["date", ["actor", "type"], ["actor", "email_address"], ["actor", "api_key_name"], "terminal_type"]
    models = pd.json_normalize(records, "model_breakdown", identity, errors="ignore")
    models.to_parquet(directory / "model_usage.parquet", compression="zstd")


def load_with_dlt(bodies: list[bytes], directory: Path) -> None:
    """Write the same three tables with dlt, which makes child tables of nested lists."""
    import dlt

    def records() -> Any:
        for body in bodies:
            yield [_with_tools_as_list(record) for record in json.loads(body)["data"]]

    pipeline = dlt.pipeline(
        uuid.uuid4().hex,
        pipelines_dir=str(directory / "pipelines"),
        destination=dlt.destinations.filesystem(f"file://{directory}"),
        dataset_name="dlt",
    )
    resource = dlt.resource(records(), name="usage", write_disposition="append")
    pipeline.run(resource, loader_file_format="parquet").raise_on_failed_jobs()


def _with_tools_as_list(record: Json) -> Json:
    # As it is, a dict of tools would become two columns per tool and no table.
    tools = [{"tool_name": name, **action} for name, action in record["tool_actions"].items()]
    return record | {"tool_actions": tools}


def _check_ours(directory: Path, expected: Totals, extension: str = "parquet") -> None:
    assert _totals(
        f"SELECT count(*), sum(num_sessions) FROM '{{0}}/usage.{extension}'",
        "SELECT count(*), sum(output_tokens), sum(CAST(estimated_cost_cents AS DECIMAL(38, 9))) "
        f"FROM '{{0}}/model_usage.{extension}'",
        f"SELECT count(*), sum(accepted) FROM '{{0}}/tool_usage.{extension}'",
        directory=directory,
    ) == _comparable(expected)


def _check_pandas(directory: Path, expected: Totals) -> None:
    assert (
        _totals(
            """SELECT count(*), sum("core_metrics.num_sessions") FROM '{0}/usage.parquet'""",
            """SELECT count(*), sum("tokens.output"), sum("estimated_cost.amount") FROM '{0}/model_usage.parquet'""",
            directory=directory,
        )
        == _comparable(expected)[:5]
    )


def _check_dlt(directory: Path, expected: Totals) -> None:
    assert _totals(
        "SELECT count(*), sum(core_metrics__num_sessions) FROM '{0}/dlt/usage/*.parquet'",
        # dlt keeps whole and broken amounts in columns of their own.
        "SELECT count(*), sum(tokens__output), sum(coalesce(estimated_cost__amount, 0)) + "
        "sum(coalesce(estimated_cost__amount__v_double, 0)) FROM '{0}/dlt/usage__model_breakdown/*.parquet'",
        "SELECT count(*), sum(accepted) FROM '{0}/dlt/usage__tool_actions/*.parquet'",
        directory=directory,
    ) == _comparable(expected)


def _totals(*queries: str, directory: Path) -> list[int]:
    database = duckdb.connect()
    values = [value for query in queries for value in database.execute(query.format(directory)).fetchone() or ()]
    return [round(Decimal(value)) for value in values]


def _comparable(expected: Totals) -> list[int]:
    """Return the totals in the order of the queries; to whole cents, since the peers add up floats."""
    return [
        *(expected.usage, expected.sessions),
        *(expected.model_usage, expected.output_tokens, round(expected.cents)),
        *(expected.tool_usage, expected.accepted),
    ]


def _nothing_to_check(directory: Path, expected: Totals) -> None:
    """Parsing alone writes nothing."""


SIDES: dict[str, tuple[Callable[[list[bytes], Path], None], Callable[[Path, Totals], None]]] = {
    "json": (parse_only, _nothing_to_check),
    "json, heap frozen": (parse_only, _nothing_to_check),
    "ours": (spool, _check_ours),
    "ndjson": (partial(spool, file_format="ndjson"), partial(_check_ours, extension="ndjson.gz")),
    "csv": (partial(spool, file_format="csv"), partial(_check_ours, extension="csv.gz")),
    "pandas": (normalize_with_pandas, _check_pandas),
    "dlt": (load_with_dlt, _check_dlt),
}


DESCRIPTIONS = {
    "json": "json.loads alone",
    "json, heap frozen": "json.loads alone, heap frozen",
    "ours": "ours, three tables",
    "ndjson": "ours as NDJSON",
    "csv": "ours as CSV",
    "pandas": "pandas, two tables",
    "dlt": "dlt, three tables",
}


def main() -> None:
    """Run one side twice, check what it wrote, and print what it took the second time, as JSON."""
    # As much as a task's process holds: what Python's garbage collector looks through depends on it.
    import airflow.sdk  # noqa: F401

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    write, check = SIDES[sys.argv[1]]
    bodies, expected = pages(DAY, RECORDS), expected_totals(RECORDS)
    if sys.argv[1] == "json, heap frozen":
        gc.freeze()
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            cost = cost_of(lambda folder=Path(folder): write(bodies, folder))
            check(Path(folder), expected)
    print(json.dumps(dataclasses.asdict(cost)))


def run() -> Section:
    """Measure all sides on the same pages, each in processes of its own."""

    def measure(side: str) -> Cost:
        return Cost(**json.loads(run_python("-m", "benchmarks.throughput", side).splitlines()[-1]))

    costs = interleaved({side: lambda side=side: measure(side) for side in SIDES}, warm_ups=0)
    rows = []
    for kind, label in (("wall", "wall time"), ("cpu", "processor time")):
        seconds = {name: [getattr(cost, kind) for cost in measured] for name, measured in costs.items()}
        for name, values in seconds.items():
            rows.append(Row(f"{label}: {DESCRIPTIONS[name]}", [RECORDS / value for value in values], "records/s"))
        rows += [
            Row(f"{label}: ours / json.loads alone", ratios(seconds["ours"], seconds["json"]), "times", at_most=1.25),
            Row(
                f"{label}: ours / json.loads, heap frozen",
                ratios(seconds["ours"], seconds["json, heap frozen"]),
                "times",
            ),
            *(
                Row(
                    f"{label}: {DESCRIPTIONS[name]} / as Parquet",
                    ratios(seconds[name], seconds["ours"]),
                    "times",
                    at_most=2,
                )
                for name in ("ndjson", "csv")
            ),
            Row(f"{label}: pandas / ours", ratios(seconds["pandas"], seconds["ours"]), "times", at_least=5),
            Row(f"{label}: dlt / ours", ratios(seconds["dlt"], seconds["ours"]), "times", at_least=12),
        ]
    return Section(
        "2. Records per second",
        f"{RECORDS:,} records in pages of {PAGE_RECORDS:,} in memory become finished Parquet files: ours three tables "
        "with checked records, record ids, exact money and checksums; with `pandas.json_normalize` and `to_parquet` "
        "the records and their model entries; with dlt three tables. Row counts and sums of all outputs are the same. "
        "Each side runs in a process of its own that has imported `airflow.sdk`, as a task's has; the second of two "
        "runs counts. How long `json.loads` takes depends on the heap that Python's garbage collector looks through "
        "while dicts are made: after `gc.freeze()` it takes about half. Ours makes few objects that the collector "
        "looks at, and takes the same either way.",
        rows,
    )


if __name__ == "__main__":
    main()

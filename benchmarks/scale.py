"""
What organisations of several sizes need, computed from the records of the sandbox's organisation.

``python -m benchmarks.scale`` prints the tables of docs/sizes.md and docs/bigquery-models.md, as a test checks.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
from sqlglot import exp, parse_one
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from airflow_provider_claude_code.analytics.queries import Settings, render
from airflow_provider_claude_code.api.paging import MAX_PAGES
from airflow_provider_claude_code.api.settings import MAX_PAGE_LIMIT, ClientSettings
from airflow_provider_claude_code.sandbox import Organization
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_records
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.tables.spool import arrow_tables
from benchmarks.usage import page_of

PEOPLE = (1_000, 10_000, 100_000)
USERS = 2_000
WEEK = [date(2026, 3, 2) + timedelta(days=number) for number in range(7)]
"""A week from Monday on."""

STORAGE_DOLLARS = 0.02
"""BigQuery: a GiB of logical storage for a month. https://cloud.google.com/bigquery/pricing"""
QUERY_DOLLARS = 6.25
"""BigQuery: a TiB that queries read, on demand."""
LEAST_READ = 10 * 2**20
"""BigQuery: the bytes that a query is billed for each table that it references, at least."""
OPENINGS = 100
"""How often a dashboard is opened on a day."""
DASHBOARD = Path(__file__).parents[1] / "docs/dashboards/grafana.json"

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes; a null takes nothing.
_SIZES = {"int64": 8, "bool": 1, "date32[day]": 8, "timestamp[us, tz=UTC]": 8, "decimal128(38, 9)": 16}
_STRING = 2


@dataclass(frozen=True)
class Person:
    """
    What a person of the organisation is worth.

    :param records: records of each day of a week.
    :param json_bytes: bytes of a record in the answers.
    :param row_bytes: logical bytes of a record in all tables of BigQuery.
    :param column_bytes: those in each column, by table and name.
    """

    records: tuple[float, ...]
    json_bytes: float
    row_bytes: float
    column_bytes: dict[tuple[str, str], float]

    @property
    def usage_bytes(self) -> float:
        """Those in the table ``usage``."""
        return sum(size for (table, _), size in self.column_bytes.items() if table == "usage")


@cache
def person() -> Person:
    """Measure it on the sandbox's organisation."""
    organization = Organization.named("Benchmark", users=USERS, seed=7)
    days = [organization.records(day, datetime(2026, 3, 20, tzinfo=UTC)) for day in WEEK]
    sizes: Counter[tuple[str, str]] = Counter()
    answers = 0
    for day, records in zip(WEEK, days, strict=True):
        flattener = UsageFlattener(day)
        for start in range(0, len(records), MAX_PAGE_LIMIT):
            body = page_of(records[start : start + MAX_PAGE_LIMIT])
            answers += len(body)
            rows = flattener.flatten(decode_records(body, day=day, limit=MAX_PAGE_LIMIT)[0])
            for name, table in arrow_tables(rows, USAGE.tables, datetime.now(UTC)).items():
                sizes.update({(name, column): _bytes_of(table[column]) for column in table.column_names})
    count = sum(map(len, days))
    return Person(
        records=tuple(len(records) / USERS for records in days),
        json_bytes=answers / count,
        row_bytes=sum(sizes.values()) / count,
        column_bytes={column: size / count for column, size in sizes.items()},
    )


def _bytes_of(column: pa.ChunkedArray) -> int:
    values = column.combine_chunks()
    present = len(values) - values.null_count
    if pa.types.is_string(values.type):
        return int(pa.compute.sum(pa.compute.binary_length(values)).as_py() or 0) + _STRING * present
    return _SIZES[str(values.type)] * present


def records_per_second() -> float:
    """Return what RESULTS.md says of the processor time from pages to Parquet files."""
    results = Path(__file__).with_name("RESULTS.md").read_text()
    found = re.search(r"\| processor time: ours, three tables \| ([\d,]+) records/s", results)
    assert found
    return float(found[1].replace(",", ""))


def figures(people: int) -> dict[str, str]:
    """Return what an organisation of so many people needs, by what it is."""
    one, rate = person(), ClientSettings.requests_per_minute
    records = people * max(one.records)
    requests = _pages(records)
    year = people * sum(one.records) * 365 / 7
    requests_of_year = sum(_pages(people * day) for day in one.records) * 365 / 7
    storage = year * one.row_bytes / 2**30
    reads = year * one.usage_bytes / 2**40
    return {
        "records of a working day": _rounded(records),
        "MB of JSON for that day": _rounded(records * one.json_bytes / 1e6),
        "requests for that day": _rounded(requests),
        f"minutes that they wait, at {rate} requests a minute": _rounded((requests - 1) // rate),
        "records of a year": _rounded(year),
        "requests for a year": _rounded(requests_of_year),
        f"minutes for a year, at {rate} requests a minute": _rounded(requests_of_year / rate),
        "processor minutes for a year": _rounded(year / records_per_second() / 60),
        "GiB of a year in BigQuery": _rounded(storage),
        "dollars a month to store it": _rounded(storage * STORAGE_DOLLARS),
        "dollars to read all columns of `usage` once": _rounded(reads * QUERY_DOLLARS),
    }


@cache
def read_columns(model: str) -> dict[str, set[str]]:
    """Return the columns that a model reads, by table; a table that it only counts has none."""
    contracts = {table.name: table for table in (*USAGE.tables, LOADS)}
    schema = {"d": {name: {column.name: column.type for column in table.columns} for name, table in contracts.items()}}
    query = render(model, {name: f"`d.{name}`" for name in contracts}, Settings())
    tree = qualify(parse_one(query, read="bigquery"), schema=schema, dialect="bigquery", quote_identifiers=False)
    found: dict[str, set[str]] = {}
    for scope in traverse_scope(pushdown_projections(tree, schema=schema, dialect="bigquery")):
        for name, source in scope.sources.items():
            if isinstance(source, exp.Table) and source.db:
                columns = {column.name.lower() for column in scope.columns if column.table == name}
                found.setdefault(source.name, set()).update(columns)
    return found


def bytes_read(model: str, people: int) -> float:
    """Return the bytes that a query of a model is billed, with a year of days; `loads` is always small."""
    one = person()
    year = people * sum(one.records) * 365 / 7
    return sum(
        max(LEAST_READ, year * sum(one.column_bytes.get((table, column), 0) for column in columns))
        for table, columns in read_columns(model).items()
    )


def dashboard(people: int) -> dict[str, str]:
    """Return what the queries of the dashboard read on a day, each model being a view or a table."""
    queries = Counter(re.findall(r"\$schema\.claude_code_(\w+)", DASHBOARD.read_text()))
    once = {model: bytes_read(model, people) for model in queries}
    views = OPENINGS * sum(count * once[model] for model, count in queries.items())
    # The tables are replaced once a day, and each is smaller than what is billed at least.
    tables = OPENINGS * queries.total() * LEAST_READ + sum(once.values())
    return {
        "GiB a day with views": _rounded(views / 2**30),
        "GiB a day with tables": _rounded(tables / 2**30),
        "dollars a month with views": _rounded(30 * views / 2**40 * QUERY_DOLLARS),
        "dollars a month with tables": _rounded(30 * tables / 2**40 * QUERY_DOLLARS),
    }


def _pages(records: float) -> int:
    return max(1, math.ceil(records / MAX_PAGE_LIMIT))


def limits() -> dict[str, str]:
    """Return how many people it takes to reach each limit."""
    one, rate = person(), ClientSettings.requests_per_minute
    busiest, year = max(one.records) / MAX_PAGE_LIMIT, sum(one.records) * 365 / 7 / MAX_PAGE_LIMIT
    return {
        f"a day has more than {rate} pages, so its load waits for the rate limit": _people(rate / busiest),
        "loading a year takes a day": _people(1440 * rate / year),
        "loading a day with three days of look-back takes an hour": _people(60 * rate / 4 / busiest),
        f"a day has {MAX_PAGES:,} pages, and is refused": _people(MAX_PAGES / busiest),
    }


def _people(number: float) -> str:
    return f"{float(f'{number:.1g}'):,.0f}"


def _rounded(number: float) -> str:
    """Return a number with two or three digits."""
    short = float(f"{number:.3g}" if number >= 100 else f"{number:.2g}")
    return f"{short:,.0f}" if short >= 10 or short == int(short) else f"{short:g}"


def tables() -> str:
    """Return both tables of docs/sizes.md as Markdown."""
    lines = _by_people({people: figures(people) for people in PEOPLE})
    lines += ["", "| limit | people |", "|---|---:|", *(f"| {name} | {people} |" for name, people in limits().items())]
    return "\n".join(lines)


def dashboard_table() -> str:
    """Return the table of docs/bigquery-models.md as Markdown."""
    return "\n".join(_by_people({people: dashboard(people) for people in PEOPLE}))


def _by_people(columns: dict[int, dict[str, str]]) -> list[str]:
    header = ["| people | " + " | ".join(f"{people:,}" for people in columns) + " |", "|---|" + "---:|" * len(columns)]
    names = next(iter(columns.values()))
    return header + [f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |" for name in names]


if __name__ == "__main__":
    print(tables(), dashboard_table(), sep="\n\n")

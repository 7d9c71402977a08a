"""The documentation says of large organisations what follows from the code, and from what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import scale

# The sqlglot that Airflow 3.0 pins takes other arguments.
pytestmark = pytest.mark.newest_only

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.1


def cells(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]


@pytest.mark.parametrize(
    ("page", "heading", "tables"),
    [
        ("sizes.md", "\n## Scale\n", scale.tables),
        ("bigquery-models.md", "\n### What a dashboard reads\n", scale.dashboard_table),
    ],
)
def test_the_tables_in_the_documentation_are_up_to_date(page: str, heading: str, tables: Callable[[], str]) -> None:
    chapter = (ROOT / "docs" / page).read_text().partition(heading)[2].partition("\n## ")[0]
    shown, computed = cells(chapter), cells(tables())
    assert len(computed) >= 5
    assert [row[0] for row in shown] == [row[0] for row in computed], "python -m benchmarks.scale prints them"
    for row, expected in zip(shown, computed, strict=True):
        for cell, value in zip(row[1:], expected[1:], strict=True):
            if re.fullmatch(r"[0-9.,]+", value):
                said, is_now = (float(text.replace(",", "")) for text in (cell, value))
                # The measured speed is another each time that it is measured.
                assert said == pytest.approx(is_now, rel=TOLERANCE), f"{row[0]}: python -m benchmarks.scale prints it"


@pytest.mark.parametrize(
    ("said", "measured"),
    [(r"a report on four weeks takes a worker about (\d+) seconds", 28), (r"the whole year about (\d+) seconds", 365)],
)
def test_the_processor_time_of_a_report_in_the_documentation_is_up_to_date(said: str, measured: int) -> None:
    page, results = ((ROOT / path).read_text() for path in ("docs/report.md", "benchmarks/RESULTS.md"))
    in_page = re.search(said, " ".join(page.split()))
    in_results = re.search(rf"report on {measured} days: processor time of the process \| ([\d.]+) s", results)
    assert in_page
    assert in_results
    assert float(in_page[1]) == pytest.approx(float(in_results[1]), rel=TOLERANCE)


def test_bytes_are_counted_as_bigquery_does() -> None:
    """By hand: two bytes and its text for a string, 8 for a number, 16 for money, 1 for a flag, none for null."""
    import pyarrow as pa

    columns = {
        8 * 2: pa.chunked_array([pa.array([1, None, 3], pa.int64())]),
        (2 + 1) + (2 + 2): pa.chunked_array([pa.array(["a", None, "\u00e9"])]),
        16: pa.chunked_array([pa.array([1, None, None], pa.decimal128(38, 9))]),
        3: pa.chunked_array([pa.array([True, False, True])]),
    }
    assert [scale._bytes_of(column) for column in columns.values()] == list(columns)


def test_a_query_is_billed_the_columns_that_a_model_reads_and_ten_megabytes_at_least() -> None:
    """By hand: tool_acceptance counts tools and their users; restatements reads no usage."""
    assert scale.read_columns("restatements").keys() == {"loads"}
    assert scale.bytes_read("restatements", 10**9) == 10 * 2**20
    assert {"tool_name", "accepted", "rejected"} <= scale.read_columns("tool_acceptance")["tool_usage"]
    assert not {"record_id", "loaded_at", "terminal_type"} & scale.read_columns("tool_acceptance")["tool_usage"]
    sizes = [scale.bytes_read("tool_acceptance", people) for people in (1, 10**6, 2 * 10**6)]
    assert sizes[0] == 3 * 10 * 2**20
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - 10 * 2**20)

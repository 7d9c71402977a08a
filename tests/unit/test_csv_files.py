"""A CSV file is read as it was written, whatever wrote it, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.csv_files import column_position, csv_rows
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

SPECIAL = set('",;\t\r\n')
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from('",;\t\r\n '), max_size=6)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    quote_all=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    blank=st.booleans(),
)
def test_what_was_written_is_read(
    rows: list[tuple[str, str, str]], delimiter: str, end: str, quote_all: bool, encoding: str, blank: bool
) -> None:
    table = [("a", "b", "c"), *rows]
    written, lines = "", []
    for row in table:
        lines.append(written.count("\n") + 1)
        cells = [quoted(cell) if quote_all or set(cell) & SPECIAL else cell for cell in row]
        written += delimiter.join(cells) + end * (1 + blank)

    read = list(csv_rows(written.encode(encoding)))

    assert [tuple(row) for _, row in read] == table
    assert [line for line, _ in read] == lines


@given(st.binary(max_size=40) | st.text('ab",;\t\r\n', max_size=40).map(str.encode))
def test_whatever_a_file_holds_it_is_read_as_rows_of_one_width_or_refused(content: bytes) -> None:
    try:
        rows = [row for _, row in csv_rows(content)]
    except ClaudeCodeConfigurationError:
        return
    assert len({len(row) for row in rows}) <= 1


@given(st.text('ab", ', max_size=12), st.text('ab", ', max_size=12))
def test_a_row_that_can_be_read_has_one_reading(first: str, second: str) -> None:
    """Quotation marks are those of RFC 4180, so that writing the cells again gives the same text."""
    line = f"{first},{second}"
    try:
        ((_, header), (_, row)) = csv_rows(f"x,y\n{line}\n".encode())
    except ClaudeCodeConfigurationError:
        return
    assert header == ["x", "y"]
    spelled = [{quoted(cell), cell if '"' not in cell else quoted(cell)} for cell in row]
    assert line in {f"{a},{b}" for a in spelled[0] for b in spelled[1]}


@pytest.mark.parametrize("name", ["Actor_ID", " actor_id", "ACTOR_ID\t", "\N{NO-BREAK SPACE}actor_id", "actorId"])
def test_a_columns_name_may_have_any_case_blanks_and_underscores(name: str) -> None:
    assert column_position(["team", name], "actor_id") == 1

"""What several sections have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report.data import SMALL_GROUPS, Organization, Row
from airflow_provider_claude_code.analytics.report.elements import Cell, Table
from airflow_provider_claude_code.quoting import visible

MOST_BARS = 12
MOST_ROWS = 20


def table_of(
    caption: str,
    rows: Iterable[Row],
    columns: Sequence[tuple[str, Callable[[Row], Cell]]],
    *,
    text_columns: Sequence[int] = (),
    summary: str = "",
) -> Table:
    """Return a table of rows, by columns of a heading and what makes a cell of a row."""
    headings = [heading for heading, _cell in columns]
    return Table(caption, headings, [[cell(row) for _heading, cell in columns] for row in rows], text_columns, summary)


def share(part: int, whole: int) -> float | None:
    """Return a part divided by the whole; None when there is no whole."""
    return part / whole if whole else None


def found(organization: Organization, check: str) -> str:
    """Return what a check found, as a text."""
    return " ".join(visible(row["finding"]) for row in organization.findings if row["check_name"] == check)


def small_groups_note(settings: Settings, rows: Iterable[Row], column: str, what: str) -> str:
    """Say what was folded together, with ``{size}`` in its place; nothing where no row's column says that it was."""
    if all(row[column] != SMALL_GROUPS for row in rows):
        return ""
    return f"{SMALL_GROUPS}: {what.format(size=settings.min_group_size)}."

"""Helpers that several sections use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import Cell, Note, Table
from airflow_provider_claude_code.analytics.report.wording import period
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


def few_people(settings: Settings) -> str:
    """Return how many people are too few to be shown, in words."""
    least = settings.min_group_size
    return f"fewer than {least} people" if least > 1 else "no people"


def found(organization: Organization, check: str) -> str:
    """Return a finding of a check as text."""
    return " ".join(visible(row["finding"]) for row in organization.findings if row["check_name"] == check)


def breakdown_of(organization: Organization) -> str:
    """Return the week or month that the breakdowns are of, for the end of a heading."""
    return f", {period(*organization.breakdown)}" if organization.breakdown else ""


def no_breakdown(settings: Settings) -> Note:
    """Return why there is no breakdown."""
    grain = settings.breakdown_grain
    return Note(
        f"Not shown: breakdowns are for whole {grain}s (breakdown_grain). This period has no {grain} that is over and "
        f"loaded, or so few people worked on its other days that the breakdowns would show what they did. Choose a "
        f"period of one {grain}."
    )


def small_groups_note(settings: Settings, rows: Iterable[Row], column: str, what: str) -> str:
    """Return a note on the combined small groups, with ``{size}`` filled in; empty if no row combines any."""
    if all(row[column] != Settings.small_groups for row in rows):
        return ""
    return f"{Settings.small_groups}: {what.format(size=settings.min_group_size)}."

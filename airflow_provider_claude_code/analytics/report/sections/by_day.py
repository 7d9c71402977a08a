"""What charts and tables of single days have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from airflow_provider_claude_code.analytics.report.data import Organization, Row
from airflow_provider_claude_code.analytics.report.elements import Table
from airflow_provider_claude_code.analytics.report.wording import period

_MOST_DAYS_BY_DAY = 31


def day_table(
    organization: Organization,
    caption: str,
    summary: str,
    columns: Sequence[tuple[str, Callable[[Sequence[Row]], str]]],
) -> Table:
    """
    Return a row per day, or per week (Monday to Sunday) when there are many days.

    :param organization: what is known of an organisation.
    :param caption: what the table shows.
    :param summary: what is shown in its place.
    :param columns: headings, and what writes a cell from the loaded days of its row, of which there is one at least.
    """
    by_week = is_by_week(organization)
    groups: dict[Any, list[date]] = {}
    for value in organization.days:
        groups.setdefault(value.isocalendar()[:2] if by_week else value, []).append(value)
    rows = []
    for days in groups.values():
        loaded = [row for value in days if (row := organization.days[value]) and row["is_loaded"]]
        complete = sum(bool(row["is_complete"]) for row in loaded)
        state = "yes" if complete == len(days) else "incomplete" if loaded else "not loaded"
        if by_week:
            state = f"{complete} of {len(days)}"
        cells = [write(loaded) if loaded else "not loaded" for _heading, write in columns]
        rows.append((period(days[0], days[-1]), state, *cells))
    headings = ("Week", "Days loaded") if by_week else ("Day", "Loaded")
    return Table(caption, (*headings, *(heading for heading, _write in columns)), rows, summary=summary)


def is_by_week(organization: Organization) -> bool:
    """Return whether tables have a row per week."""
    return len(organization.days) > _MOST_DAYS_BY_DAY


def shaded(organization: Organization) -> list[str]:
    """Return per day what its data lacks, in a word or two; empty when it lacks nothing."""
    return [
        "not loaded" if not (row and row["is_loaded"]) else "" if row["is_complete"] else "incomplete"
        for row in organization.days.values()
    ]


def shading_note(organization: Organization) -> str:
    """Say what shaded days are; nothing when there are none."""
    return " Shaded days are not loaded, or incomplete." if any(shaded(organization)) else ""

"""Shared parts of charts and tables by day, week or month."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from airflow_provider_claude_code.analytics.queries import Row
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import Table
from airflow_provider_claude_code.analytics.report.wording import period
from airflow_provider_claude_code.days import days_between

_MOST_DAYS_BY_DAY = 31


def day_table(
    organization: Organization,
    caption: str,
    summary: str,
    columns: Sequence[tuple[str, Callable[[Sequence[Row]], str]]],
) -> Table:
    """
    Return a row per day, or per week (Monday to Sunday) when there are many days, or per span of the series.

    :param organization: the data about an organisation, with a series.
    :param caption: caption of the table.
    :param summary: text to click to open the table.
    :param columns: headings, each with a function that makes a cell from the loaded days of its row (at least one).
    """
    by_week = is_by_week(organization)
    groups: dict[Any, list[Row]] = {}
    for row in organization.series:
        value: date = row["first_day"]
        groups.setdefault(value.isocalendar()[:2] if by_week else value, []).append(row)
    rows = []
    for spans in groups.values():
        days = [day for row in spans for day in days_between(row["first_day"], row["last_day"])]
        loaded = [row for row in spans if row.get("is_loaded", "date" not in row)]
        complete = sum(bool(row and row["is_complete"]) for row in map(organization.days.get, days))
        state = "yes" if complete == len(days) else "incomplete" if loaded else "not loaded"
        if len(days) > 1 or by_week:
            state = f"{complete} of {len(days)}"
        cells = [write(loaded) if loaded else "not loaded" for _heading, write in columns]
        rows.append((period(days[0], days[-1]), state, *cells))
    headings = ("Day", "Loaded") if organization.is_by_day and not by_week else ("Days", "Days loaded")
    return Table(caption, (*headings, *(heading for heading, _write in columns)), rows, summary=summary)


def is_by_week(organization: Organization) -> bool:
    """Return whether tables have one row per week although days are known."""
    return organization.is_by_day and len(organization.days) > _MOST_DAYS_BY_DAY


def shaded(spans: Sequence[Row | None]) -> list[str]:
    """Return what is missing per day, in a word or two; empty if nothing is, and for spans of days."""
    return [
        "not loaded"
        if row is None or not row.get("is_loaded", "date" not in row)
        else ""
        if row.get("is_complete", True)
        else "incomplete"
        for row in spans
    ]


def shading_note(organization: Organization) -> str:
    """Return the explanation of shaded days; empty if there are none."""
    return " Shaded days are not loaded, or incomplete." if any(shaded(list(organization.days.values()))) else ""

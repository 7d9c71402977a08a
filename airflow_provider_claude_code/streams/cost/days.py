"""Which days of charges the API has, and when one is complete."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from airflow_provider_claude_code.days import FRESHNESS_DELAY

FIRST_DAY = date(2026, 1, 1)
"""The first day that the report has."""
DAYS_OF_HISTORY = 365
"""How many days back the report has data."""
SETTLING_DELAY = timedelta(hours=24)
"""How long after the end of a day its charges count as complete."""


def complete_from(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the moment from which the charges of a day are complete."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1) + SETTLING_DELAY + freshness_delay - FRESHNESS_DELAY


def first_day(today: date) -> date:
    """Return the first day that the report has: one that began 365 days ago or later."""
    return max(FIRST_DAY, today - timedelta(days=DAYS_OF_HISTORY - 1))

"""The stream ``cost``: charges from the Usage and Cost Analytics API (beta)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from airflow_provider_claude_code import days
from airflow_provider_claude_code.days import FRESHNESS_DELAY
from airflow_provider_claude_code.streams.base import Stream, imported
from airflow_provider_claude_code.streams.cost.tables import TABLES

FIRST_DAY = date(2026, 1, 1)
"""The first day that the report has."""
DAYS_OF_HISTORY = 365
"""How many days back the report has data."""
SETTLING_DELAY = timedelta(hours=24)
"""How long after the end of a day its charges count as complete."""


def complete_from(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the time from which the charges of a day are complete; later if the delay is longer."""
    return days.complete_from(day, SETTLING_DELAY + freshness_delay - FRESHNESS_DELAY)


def first_day(today: date) -> date:
    """Return the first day that the report has: one that began 365 days ago or later."""
    return max(FIRST_DAY, today - timedelta(days=DAYS_OF_HISTORY - 1))


COST = Stream(
    name="cost",
    title="Charges",
    coverage=(
        "The report has charges after discounts and before credits and taxes, for the products that the load asks for "
        "(by default Claude Code). For seats of Team and Enterprise plans it has only usage credits. It has no charges "
        "from Amazon Bedrock, Google Cloud or Microsoft Foundry."
    ),
    path="/v1/organizations/analytics/cost",
    begin_walk=imported(f"{__name__}.pages:cost_walk"),
    flattener=imported(f"{__name__}.flatten:CostFlattener"),
    sums_in_words=imported(f"{__name__}.flatten:sums_in_words"),
    tables=TABLES,
    complete_from=complete_from,
    as_of=imported(f"{__name__}.pages:as_of"),
    first_day=first_day,
    filters={"products": ("claude_code",)},
    restarts=5,
)

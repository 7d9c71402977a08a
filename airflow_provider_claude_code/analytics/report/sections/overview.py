"""The first section: how much of the period is loaded, and the headline numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any, Literal

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, acceptance_rate
from airflow_provider_claude_code.analytics.report.elements import Note, Section, Table, Tile, Tiles
from airflow_provider_claude_code.analytics.report.known_cost import cost_share, has_api_usage
from airflow_provider_claude_code.analytics.report.people_cost import people_cost
from airflow_provider_claude_code.analytics.report.sections.changes import comparable_days, described_change
from airflow_provider_claude_code.analytics.report.sections.money import at_least, days_so_far, forecast_text
from airflow_provider_claude_code.analytics.report.sections.worth import break_even_minutes
from airflow_provider_claude_code.analytics.report.wording import (
    NOTHING,
    UNKNOWN,
    amount,
    count,
    day,
    day_ranges,
    dollars,
    month_name,
    number,
    or_nothing,
    percent,
    period,
)


def nothing_used(organization: Organization) -> Note:
    """Return why there are no numbers."""
    first_loaded_day = organization.first_loaded_day
    if organization.loaded:
        text = (
            f"Nobody used Claude Code in this period: {_days_loaded(organization)}, and the API had no usage on them."
        )
    elif first_loaded_day is None:
        text = "No usage of this organisation has been loaded yet."
    elif first_loaded_day > max(organization.days):
        text = f"No usage of this period is loaded: the first day that was loaded is {day(first_loaded_day)}."
    else:
        text = "No usage of this period is loaded."
    return Note(text, "warning")


def completeness(organization: Organization, settings: Settings) -> Note:
    """Return what is missing from the period, or what it is compared with."""
    missing = []
    if organization.missing_days:
        missing.append(f"not loaded: {day_ranges(organization.missing_days)}")
    if organization.incomplete_days:
        missing.append(f"loaded only before the day was complete: {day_ranges(organization.incomplete_days)}")
    first_day, last_day = settings.period
    weeks = timedelta(days=settings.days_between_periods)
    compared = f"The period before is {period(first_day - weeks, last_day - weeks)}"
    comparison = organization.comparison
    if not comparison.is_possible:
        compared += f". Nothing is compared: {comparable_days(comparison)} can be"
    elif comparison.days < comparison.length:
        compared += f"; {_of_days(comparison.days, comparison.length)} can be compared"
    if missing:
        return Note(
            f"Only {_days_loaded(organization)} ({'; '.join(missing)}). The numbers below leave out what is missing, "
            f"so counts and amounts are too low. {compared}.",
            "warning",
        )
    return Note(f"{_days_loaded(organization)}. {compared}.", "lead")


def suspicious_loads(organization: Organization) -> list[Note]:
    """Return the days on which the numbers may be wrong."""
    texts = []
    if repeated := [row["date"] for row in organization.findings if row["check_name"] == "repeated_keys"]:
        texts.append(
            f"Several records have the same key on {day_ranges(repeated)}. If the API sent them twice, the numbers "
            "below count them twice."
        )
    if lost := [row["date"] for row in organization.findings if row["check_name"] == "lost_records"]:
        texts.append(
            f"The newest load has fewer records than an earlier one on {day_ranges(lost)}, so the numbers below may be "
            "too low."
        )
    return [Note(text, "warning") for text in texts]


def _days_loaded(organization: Organization) -> str:
    return f"{_of_days(organization.totals['days_loaded'], len(organization.days))} loaded"


def _of_days(part: int, whole: int) -> str:
    return f"{part} of {count(whole, 'day')}"


def tiles(organization: Organization, settings: Settings, assumptions: Assumptions) -> Tiles:
    """Show the headline numbers, compared with the previous period."""
    return Tiles(
        [
            _active_people(organization),
            *_cost(organization, settings),
            _month(organization, settings),
            _break_even(organization, settings, assumptions),
            _pull_requests(organization),
        ]
    )


def _active_people(organization: Organization) -> Tile:
    change = described_change(organization, lambda row: row["active_people"], number)
    eligible = organization.roster
    remark = (
        f"; {number(eligible[0])} of the {number(eligible[1])} people who may use it in 28 days" if eligible else ""
    )
    return Tile("Active people", number(organization.totals["active_people"]), change.strong, change.text + remark)


def _cost(organization: Organization, settings: Settings) -> list[Tile]:
    labels = ("API cost", "API cost per person and day of API usage")
    now = organization.comparison.period
    if not has_api_usage(now):
        return [Tile(label, "none", "", "no API usage") for label in labels]
    few = f"not shown: fewer than {settings.min_group_size} people and API keys have API usage with a known cost"
    if settings.is_few(now["api_actors"]):
        return [Tile(label, NOTHING, "", few) for label in labels]
    return [
        _amount(organization, labels[0], itemgetter("api_cost_usd"), "", organization.charged_usd),
        Tile(labels[1], NOTHING, "", few)
        if any(settings.is_few(now[name]) for name in ("api_people", "api_cost_people"))
        else _amount(organization, labels[1], _cost_per_person_and_day, "people_")
        if now["api_people"]
        else Tile(labels[1], NOTHING, "", "no API usage of people"),
    ]


def _amount(
    organization: Organization,
    label: str,
    measure: Callable[[Row], Any],
    prefix: Literal["", "people_"],
    charged: Decimal | None = None,
) -> Tile:
    share = partial(cost_share, prefix)
    change = described_change(organization, measure, dollars, share=share)
    known = share(organization.comparison.period)
    remarks = [
        change.text,
        _of_keys(organization) if prefix else "",
        f"cost known for {percent(known)} of sessions" if known is not None and known < 1 else "",
        f"charged: {dollars(charged)}" if charged is not None else "",
    ]
    value = at_least(measure(organization.comparison.period), known)
    return Tile(label, value, change.strong, "; ".join(filter(None, remarks)))


def _of_keys(organization: Organization) -> str:
    return f"{'with' if organization.comparison.with_keys else 'without'} API keys"


def _cost_per_person_and_day(row: Row) -> float | None:
    cost = row["people_api_cost_usd"]
    return float(cost) / row["api_person_days"] if cost is not None and row["api_person_days"] else None


def _month(organization: Organization, settings: Settings) -> Tile:
    month = organization.month
    to_date = "" if month.is_over else " to date"
    label = f"{month_name(month.days[0])}{to_date}{', charged' if month.is_charged else ''}"
    amount = month.to_date
    if month.until is None:
        return Tile(label, NOTHING, "", "not shown: too few people, or no day is known")
    if amount is None:
        return Tile(label, UNKNOWN, "", "no session has a known cost")
    value = at_least(amount, month.known_share)
    remark = days_so_far(month) if month.is_over else f"{days_so_far(month)}; {forecast_text(month)}"
    if budget := settings.monthly_budget_cents:
        remark += f"; {percent(float(amount) * 100 / budget, 0)} of the budget"
    return Tile(label, value, "", remark)


def _break_even(organization: Organization, settings: Settings, assumptions: Assumptions) -> Tile:
    label = "Break-even per active person and day"
    if assumptions.hourly_cost is None:
        return Tile(label, NOTHING, "", "declare hourly_cost in assumptions to see it")
    cost = people_cost(organization, settings, assumptions)
    if isinstance(cost, str):
        return Tile(label, NOTHING, "", f"{cost[0].lower()}{cost[1:].removesuffix('.')}")
    minutes = number(float(break_even_minutes(cost, assumptions.hourly_cost)), 1)
    return Tile(label, cost.at_least(f"{minutes}\u00a0min"), "", "to be saved; see Worth it?")


def _pull_requests(organization: Organization) -> Tile:
    label = "Pull requests per active person and week"
    value = _pull_requests_per_person_and_week(organization.comparison.period)
    if value is None:
        return Tile(label, NOTHING, "", "not shown: too few people used Claude Code")
    change = described_change(organization, _pull_requests_per_person_and_week, lambda value: number(value, 2))
    return Tile(label, number(value, 2), change.strong, f"{change.text}; {_of_keys(organization)}")


def _pull_requests_per_person_and_week(row: Row) -> float | None:
    person_weeks = row["active_people"] * row["days"] / 7
    pull_requests = row["people_pull_requests"]
    return pull_requests / person_weeks if person_weeks and pull_requests is not None else None


_NUMBERS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Sessions", "sessions", number),
    ("Commits", "commits", number),
    ("Pull requests", "pull_requests", number),
    ("Lines added", "lines_added", number),
    ("Lines removed", "lines_removed", number),
    ("Subscription value (not billed)", "subscription_value_usd", amount),
)


def all_numbers(organization: Organization) -> Section:
    """Show the other sums of the period."""
    totals = organization.comparison.period
    rows: list[tuple[str, str, str]] = []
    for label, name, written in _NUMBERS:
        change = described_change(organization, itemgetter(name), written)
        value = or_nothing(written, totals[name])
        rows.append((label, value, change.in_one))
    change = described_change(organization, acceptance_rate, percent, in_points=True)
    rows.append(("Acceptance rate", or_nothing(percent, acceptance_rate(totals)), change.in_one))
    heading = "Sums of the period"
    return Section(
        heading,
        [Table(heading, ("", "In the period", "Compared with before"), rows, text_columns=(2,))],
    )

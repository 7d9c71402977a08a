"""What comes first: how much of the period is loaded, and the numbers that matter most."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report.data import Organization, acceptance_rate
from airflow_provider_claude_code.analytics.report.elements import Note, Tile, Tiles
from airflow_provider_claude_code.analytics.report.wording import (
    count,
    day,
    day_ranges,
    dollars,
    number,
    percent,
    period,
    signed,
)


def nothing_used(organization: Organization) -> Note:
    """Say why there are no numbers."""
    first_loaded_day = organization.first_loaded_day
    if organization.loaded:
        text = (
            f"Nobody used Claude Code in this period: {_days_loaded(organization)}, and the API had no usage on them."
        )
    elif first_loaded_day is None:
        text = "No day of this organisation has been loaded yet."
    elif first_loaded_day > max(organization.days):
        text = f"Nothing is known of this period: the first day that was loaded is {day(first_loaded_day)}."
    else:
        text = "Nothing is known of this period: none of its days has been loaded."
    return Note(text, "warning")


def completeness(organization: Organization, settings: Settings) -> Note:
    """Say what of the period is missing, or what it is compared with."""
    missing = []
    if organization.missing_days:
        missing.append(f"not loaded: {day_ranges(organization.missing_days)}")
    if organization.incomplete_days:
        missing.append(f"loaded only before the day was complete: {day_ranges(organization.incomplete_days)}")
    if missing:
        return Note(
            f"Only {_days_loaded(organization)} ({'; '.join(missing)}). The numbers below leave out what is missing, "
            "so counts and amounts are too low, and nothing is compared with the period before.",
            "warning",
        )
    first = settings.first_day - timedelta(days=len(organization.days))
    before = period(first, settings.first_day - timedelta(days=1))
    return Note(f"{_days_loaded(organization)}. The period before is {before}.", "lead")


def suspicious_loads(organization: Organization) -> list[Note]:
    """Say on which days the numbers may be wrong."""
    texts = []
    if repeated := [row["date"] for row in organization.findings if row["check_name"] == "repeated_keys"]:
        texts.append(
            f"Records repeat the key of another on {day_ranges(repeated)}. If the API repeated them, the numbers below "
            "count them twice."
        )
    if lost := [row["date"] for row in organization.findings if row["check_name"] == "lost_records"]:
        texts.append(
            f"The newest load has fewer records than an earlier one on {day_ranges(lost)}, so the numbers below may be "
            "too low."
        )
    return [Note(text, "warning") for text in texts]


def _days_loaded(organization: Organization) -> str:
    return f"{organization.totals['days_loaded']} of {count(len(organization.days), 'day')} loaded"


_TILES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Active people", "active_people", number),
    ("Sessions", "sessions", number),
    ("Lines added", "lines_added", number),
    ("Commits", "commits", number),
    ("Pull requests", "pull_requests", number),
    ("Acceptance rate", "acceptance_rate", percent),
    ("API cost (estimate)", "api_cost_usd", dollars),
    ("Subscription value (no bill)", "subscription_value_usd", dollars),
)


def tiles(organization: Organization) -> Tiles:
    """Show the numbers of the period, compared with those of the period before."""
    now = {**organization.totals, "acceptance_rate": acceptance_rate(organization.totals)}
    before = {**organization.totals_before, "acceptance_rate": acceptance_rate(organization.totals_before)}
    shown = []
    for label, name, written in _TILES:
        value = "none offered" if name == "acceptance_rate" and now[name] is None else written(now[name])
        change, remark = _change(organization, now[name], before[name], in_points=name == "acceptance_rate")
        if written is dollars and now[name] is None:
            remark = "no record of this kind names a model"
        if change:
            remark = f"({written(before[name])}\u00a0before)"
        shown.append(Tile(label, value, change, remark))
    return Tiles(shown)


def _change(organization: Organization, now: Any, before: Any, *, in_points: bool) -> tuple[str, str]:
    """Return the change and nothing else, or nothing and why."""
    length = len(organization.days)
    loaded, loaded_before = organization.totals["days_loaded"], organization.totals_before["days_loaded"]
    if loaded < length:
        return "", f"no comparison: {loaded} of {count(length, 'day')} loaded"
    if loaded_before < length:
        return "", f"no comparison: {loaded_before} of {count(length, 'day')} loaded before"
    if now is None or before is None:
        return "", "no comparison: unknown now" if now is None else "no comparison: unknown before"
    if in_points:
        return f"{signed((now - before) * 100)} points", ""
    if before == 0:
        return "", "new: 0 before" if now else "also 0 before"
    return f"{signed(float((now - before) / before) * 100)}\u00a0%", ""

"""The report in a few sentences: for its top, for mail and for chat."""

from __future__ import annotations

from operator import itemgetter

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.known_cost import cost_share, has_api_usage
from airflow_provider_claude_code.analytics.report.sections.changes import described_change
from airflow_provider_claude_code.analytics.report.sections.money import at_least, days_so_far, forecast_text
from airflow_provider_claude_code.analytics.report.wording import (
    count,
    day_ranges,
    dollars,
    month_name,
    number,
    percent,
)

_MOSTLY = 0.5


def in_short(organization: Organization, settings: Settings) -> list[str]:
    """
    Summarise what happened, what it cost, and what to do.

    :return: three to five sentences about an organisation with usage in the period.
    """
    people = organization.comparison.period["active_people"]
    change = described_change(organization, itemgetter("active_people"), number)
    return [
        f"{count(people, 'person', 'people')} used Claude Code: {change.in_one}.",
        *_cost(organization, settings),
        *_month(organization, settings),
        _advice(organization, settings),
    ]


def _cost(organization: Organization, settings: Settings) -> list[str]:
    now = organization.comparison.period
    if not has_api_usage(now):
        return ["There was no API usage."]
    if settings.is_few(now["api_actors"]) or now["api_cost_usd"] is None:
        return []
    known = cost_share("", now)
    change = described_change(organization, itemgetter("api_cost_usd"), dollars, share=lambda row: cost_share("", row))
    partly = f" (cost known for {percent(known)} of sessions)" if known is not None and known < 1 else ""
    charged = organization.charged_usd
    billed = f" {dollars(charged)} was charged for it." if charged is not None else ""
    return [f"API usage cost {at_least(now['api_cost_usd'], known)}{partly}: {change.in_one}.{billed}"]


def _month(organization: Organization, settings: Settings) -> list[str]:
    month = organization.month
    if month.until is None or month.to_date is None:
        return []
    name = month_name(month.days[0])
    amount = at_least(month.to_date, month.known_share) + (" (charged)" if month.is_charged else "")
    if month.is_over:
        text = f"{name} cost {amount} {days_so_far(month)}"
    else:
        text = f"{name} cost {amount} {days_so_far(month)}, {forecast_text(month)}"
    if budget := settings.monthly_budget_cents:
        text += f", of a budget of {dollars(budget / 100)}"
    return [f"{text}."]


def _advice(organization: Organization, settings: Settings) -> str:
    """Return the most urgent task."""
    if lacking := sorted({*organization.missing_days, *organization.incomplete_days}):
        return f"To do: load what is missing of {day_ranges(lacking)}."
    month, budget = organization.month, settings.monthly_budget_cents / 100
    if budget and (month.to_date or 0) > budget:
        return "To do: the month has cost more than its budget, so raise it or use cheaper models."
    if budget and month.forecast and month.forecast.amount > budget:
        return "To do: the month is likely to cost more than its budget, so raise it or use cheaper models."
    known = cost_share("", organization.comparison.period)
    if known is not None and known < _MOSTLY and organization.charged_usd is None:
        return 'To do: most of the cost is unknown, so load what is charged (stream="cost").'
    if organization.findings:
        return "To do: see in Data health what the checks found."
    if (roster := organization.roster) and roster[0] < roster[1]:
        idle = f"{number(roster[1] - roster[0])} of the {number(roster[1])} people who may use Claude Code"
        return f"To do: {idle} have not used it in 28 days. Ask them what they need."
    return "Nothing needs attention."

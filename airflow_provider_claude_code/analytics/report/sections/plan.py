"""Whether seats or API prices would have been cheaper in a past month."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, is_month
from airflow_provider_claude_code.analytics.report.elements import Facts, Note, Section, Table
from airflow_provider_claude_code.analytics.report.people_cost import charges_name_nobody
from airflow_provider_claude_code.analytics.report.sections.worth import MARK_MACHINES, assumed
from airflow_provider_claude_code.analytics.report.wording import count, dollars, number

_LEAST_KNOWN = Decimal("0.95")
_LIMITS = (
    "Seats have limits, and use beyond them may be billed or refused. People who cost much at API prices may need more "
    "than one seat offers, so ask for the limits before you decide."
)


def plan(organization: Organization, settings: Settings, assumptions: Assumptions) -> list[Section]:
    """Compare plans, or return why they are not compared; nothing if no price of a seat is declared."""
    price = assumptions.seat_price
    if price is None:
        return []
    reason = _not_compared(organization, settings)
    row = organization.plan
    if reason or row is None:
        return [
            Section("Which plan?", [Note(reason or "Not compared: nobody worked with Claude Code.")], is_detail=True)
        ]
    seats, people = row["seats"], row["people"]
    seats_usd = people * Decimal(settings.seat_price_cents) / 100
    rows = [
        ("API prices for everybody", number(0), dollars(row["at_api_prices_usd"])),
        ("A seat for everybody", number(people), dollars(seats_usd)),
    ]
    if 0 < seats < people:
        rows.append(("The cheapest mix", number(seats), dollars(row["mix_usd"])))
        best = f"The cheapest mix is a seat for the {count(seats, 'person', 'people')} who cost the most"
    else:
        best = f"{rows[1 if seats else 0][0]} is the cheapest"
    kind = "what was charged, and what subscriptions include" if row["is_charged"] else "estimates"
    return [
        Section(
            "Which plan?",
            [
                Note(
                    f"{best}, among mixes without groups of fewer than {settings.min_group_size} people.",
                    "lead",
                ),
                Table(f"The month for {count(people, 'person', 'people')}", ("", "Seats", "Cost"), rows),
                Facts([assumed("A seat costs a month", dollars(price.value), price)]),
                Note(f"API prices are {kind}. API keys have no seats and are not included. {_LIMITS}", "note"),
            ],
        )
    ]


def _not_compared(organization: Organization, settings: Settings) -> str:
    """Return why plans cannot be compared; empty if they can."""
    row = organization.worth
    if not is_month(settings):
        return "Not compared: plans are compared for one calendar month. Set first_day and last_day to one."
    if row is None or row["days_loaded"] < row["days_in_period"]:
        return "Not compared: not all days of the month are loaded completely."
    if settings.is_few(row["people"]):
        return f"Not compared: fewer than {settings.min_group_size} people worked with Claude Code."
    is_charged = row["charged_days"] == row["days_in_period"]
    # What people cost is shown, so the rest of what is shown elsewhere must not be that of few.
    few = {
        it["actor_type"]
        for it in organization.costs
        if settings.is_few(it["actors_with_cost"]) and not (is_charged and it["customer_type"] == "api")
    }
    has_few_keys = settings.is_few(row["keys"]) or settings.is_few(row["charged_keys"]) or few - {"user_actor"}
    if has_few_keys or organization.comparison.with_keys:
        return f"Not compared: it would show what fewer than {settings.min_group_size} API keys cost. {MARK_MACHINES}"
    if organization.plan and organization.plan["people"] != row["people"]:
        return (
            "Not compared: some charges are for people who did not work with Claude Code, or who are named differently."
        )
    if is_charged and charges_name_nobody(row):
        return "Not compared: the charges do not say whom they are for."
    if few or (is_charged and settings.is_few(row["charged_people"])):
        return f"Not compared: it would show what fewer than {settings.min_group_size} people cost."
    known = min(_known(row, "subscription"), Decimal(1) if is_charged else _known(row, "api"))
    if known < _LEAST_KNOWN or row["other_cost_entries"] or row["other_charges"]:
        return (
            "Not compared: this needs charges for all days, or a cost in US dollars that is known for 95\u00a0% "
            "of the sessions."
        )
    return ""


def _known(row: Row, kind: str) -> Decimal:
    """Return the share of sessions of a customer type whose cost is known."""
    sessions = row[f"{kind}_sessions"]
    return Decimal(row[f"{kind}_sessions_with_detail"]) / sessions if sessions else Decimal(1)

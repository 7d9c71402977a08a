"""The cost of Claude Code compared with the time it must save. Needs values that users declare."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_claude_code.analytics.assumptions import Assumption, Assumptions, Unit
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import (
    Element,
    Fact,
    Facts,
    Note,
    Section,
    Subheading,
    Table,
)
from airflow_provider_claude_code.analytics.report.people_cost import PeopleCost, keys_cost, people_cost
from airflow_provider_claude_code.analytics.report.wording import NOTHING, count, day, dollars, listed, number
from airflow_provider_claude_code.quoting import visible

_UNITS: dict[Unit, tuple[str, str]] = {
    "commit": ("commit", "commits"),
    "pull_request": ("pull request", "pull_requests"),
    "accepted_action": ("accepted action", "actions"),
}
_MINUTES = Decimal(60)
MARK_MACHINES = "To show them separately, mark the keys of machines in the mapping."


def worth(organization: Organization, settings: Settings, assumptions: Assumptions) -> Section:
    """Show the break-even in minutes per day, and the value of the declared minutes."""
    heading = "Worth it?"
    if assumptions.hourly_cost is None:
        hint = (
            "Not computed: nothing is assumed. Declare hourly_cost in assumptions to see how many minutes a day "
            "Claude Code has to save."
        )
        return Section(heading, [Note(hint, "note")])
    cost = people_cost(organization, settings, assumptions)
    if isinstance(cost, str) or organization.worth is None:
        return Section(heading, [Note(str(cost))])
    return Section(
        heading,
        [
            *_break_even(organization.worth, cost, settings, assumptions, assumptions.hourly_cost),
            *_return(organization.worth, cost, assumptions, assumptions.hourly_cost),
            Subheading("Declared, not measured"),
            Facts(_declared(assumptions, assumptions.hourly_cost)),
        ],
    )


def break_even_minutes(cost: PeopleCost, hourly: Assumption) -> Decimal:
    """Return the minutes that each active person has to save on each active day: none if corrections exceed charges."""
    return max(Decimal(0), _MINUTES * cost.amount / (hourly.value * cost.person_days))


def assumed(label: str, text: str, assumption: Assumption) -> Fact:
    """Return a declared value with its source."""
    rate = f"; {visible(assumption.conversion)}" if assumption.conversion else ""
    return Fact(label, f"{text} ({visible(assumption.source)}{rate})")


def _declared(assumptions: Assumptions, hourly: Assumption) -> list[Fact]:
    """List all declared values, each with its source."""
    facts = [assumed("An hour of work costs", dollars(hourly.value), hourly)]
    if assumptions.seat_price:
        facts.append(assumed("A seat costs a month", dollars(assumptions.seat_price.value), assumptions.seat_price))
    if assumptions.seats:
        facts.append(assumed("Seats that are paid:", number(int(assumptions.seats.value)), assumptions.seats))
    if assumptions.basis and assumptions.minutes:
        label = f"Minutes that one {_UNITS[assumptions.basis][0]} saves:"
        facts.append(assumed(label, number(float(assumptions.minutes.value), 1), assumptions.minutes))
        if checking := assumptions.oversight_minutes:
            label = "Minutes of checking per active person and day:"
            facts.append(assumed(label, number(float(checking.value), 1), checking))
    if reference := assumptions.reference:
        text = f"{visible(reference.text)} ({visible(reference.source)}, {day(reference.date)})"
        facts.append(Fact("To compare with:", text))
    return facts


def _break_even(
    row: Row, cost: PeopleCost, settings: Settings, assumptions: Assumptions, hourly: Assumption
) -> list[Element]:
    minutes = cost.at_least(number(float(break_even_minutes(cost, hourly)), 1))
    who = "All people" if cost.of_everybody else "People with API usage"
    rows = [
        (
            f"{who}, with API keys" if cost.with_keys else who,
            cost.at_least(dollars(cost.amount)),
            number(cost.people),
            number(cost.person_days),
            minutes,
        )
    ]
    if keys := keys_cost(cost, row):
        name, amount, is_known = keys
        text = dollars(amount) if is_known or amount is None else f"at least {dollars(amount)}"
        rows.append((name, text, NOTHING, NOTHING, NOTHING))
    if cost.is_charged and row["unattributed_charged_usd"]:
        rows.append(("Charged for nobody by name", dollars(row["unattributed_charged_usd"]), NOTHING, NOTHING, NOTHING))
    return [
        Note(
            f"Claude Code pays for itself if each active person{'' if cost.of_everybody else ' with API usage'} saves "
            f"{minutes} minutes on each day of work with it.",
            "lead",
        ),
        Table(
            "Break-even",
            ("", "Cost", "Active people", "Active days, all people", "Minutes per active person and day"),
            rows,
        ),
        Note(_how_known(row, cost, settings, assumptions), "note"),
    ]


def _how_known(row: Row, cost: PeopleCost, settings: Settings, assumptions: Assumptions) -> str:
    """Return what the cost includes, and what it does not."""
    kind = "what is charged" if cost.is_charged else "an estimate"
    included = [] if cost.by_use is None else [f"{dollars(cost.by_use)} of API usage ({kind})"]
    if cost.seats is not None:
        included.append(f"{dollars(cost.seats)} for seats")
    parts = [f"The cost includes {listed(included)}."]
    if cost.by_use is None and row["api_people"]:
        parts.append("The cost of API usage is unknown.")
    if cost.with_keys:
        parts.append(
            "People and API keys, and the results of their work, are counted together: separate numbers would show "
            f"what fewer than {settings.min_group_size} people or keys did. {MARK_MACHINES}"
        )
    if not cost.is_charged and row["api_sessions"] > row["api_sessions_with_detail"]:
        parts.append("The cost of sessions without model detail is unknown.")
    if not cost.is_charged and row["other_cost_entries"]:
        parts.append("Costs in other currencies are not included.")
    if cost.is_charged and row["other_charges"]:
        parts.append("Charges in other currencies are not included.")
    if cost.seats is None and row["other_people"]:
        missing = "seats" if assumptions.seat_price else "seat_price and seats"
        parts.append(f"Seats are not included: declare {missing}.")
    if row["days_loaded"] < row["days_in_period"]:
        parts.append(f"Only {row['days_loaded']} of {row['days_in_period']} days are loaded completely.")
    return " ".join(parts)


def _return(row: Row, cost: PeopleCost, assumptions: Assumptions, hourly: Assumption) -> list[Element]:
    if assumptions.basis is None or assumptions.minutes is None:
        return []
    unit, column = _UNITS[assumptions.basis]
    results = row[column if cost.of_everybody else f"api_{column}"] + (row[f"key_{column}"] if cost.with_keys else 0)
    minutes, oversight = assumptions.minutes, assumptions.oversight_minutes
    checked = (oversight.value if oversight else Decimal(0)) * cost.person_days
    each = [minutes.value / 2, minutes.value, minutes.value * 2]
    saved = [value * results - checked for value in each]
    worth_usd = [value / _MINUTES * hourly.value for value in saved]

    def cells(values: list[Decimal]) -> list[str]:
        return [number(float(value), 1) for value in values]

    rows = [
        (f"Minutes per {unit}", *cells(each)),
        ("Hours saved" + (", less checking" if oversight else ""), *cells([value / _MINUTES for value in saved])),
        ("Minutes per active person and day", *cells([value / cost.person_days for value in saved])),
        ("Value", *map(dollars, worth_usd)),
        ("Cost", *[cost.at_least(dollars(cost.amount))] * 3),
        (
            "Value minus cost",
            *(("" if cost.is_known else "at most ") + dollars(value - cost.amount) for value in worth_usd),
        ),
    ]
    return [
        Table(f"Return on {count(results, unit)}", ("", "If half is saved", "As declared", "If double is saved"), rows),
        Note(
            "Nobody has measured whether these minutes are saved, so the table also shows half and double of them.",
            "note",
        ),
    ]

"""The cost of people in the report's period, for enough people to hide the cost of each."""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_claude_code.analytics.assumptions import Assumption, Assumptions
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, known_sum


@dataclass(frozen=True)
class PeopleCost:
    """
    The cost of people, and their work.

    :param by_use: US dollars of API usage; None when none of its cost is known.
    :param is_charged: whether these are charges and not an estimate.
    :param seats: US dollars that are paid for seats; None when they are not in it.
    :param is_known: whether that is all; the cost may be higher where it is not.
    :param of_everybody: whether all active people are in it, and not only those with API usage.
    :param with_keys: whether the API keys that people may work with are in it, since they or the people are too few to
        be shown apart.
    :param people: how many people they are.
    :param person_days: sum over these people of their active days.
    """

    by_use: Decimal | None
    is_charged: bool
    seats: Decimal | None
    is_known: bool
    of_everybody: bool
    with_keys: bool
    people: int
    person_days: int

    @property
    def amount(self) -> Decimal:
        """The total cost in US dollars."""
        return (self.by_use or Decimal(0)) + (self.seats or Decimal(0))

    def at_least(self, text: str) -> str:
        """Return a text about the cost, after "at least" if a part of the cost is unknown."""
        return text if self.is_known else f"at least {text}"


def people_cost(organization: Organization, settings: Settings, assumptions: Assumptions) -> PeopleCost | str:
    """
    Return what people cost in the period, or why it is not shown.

    No amount, and no difference of two that a report shows, is about fewer people than the smallest group: people who
    have API usage and the others are taken together where either are few, and so are people and API keys.
    """
    row, least = organization.worth, settings.min_group_size
    if row is None or not row["person_days"]:
        return "Nobody worked with Claude Code on the loaded days."

    if settings.is_few(row["people"]):
        return f"Not shown: fewer than {least} people worked with Claude Code."
    has_few_keys = any(settings.is_few(row[name]) for name in ("keys", "api_cost_keys", "charged_keys"))
    with_keys = (
        has_few_keys or organization.comparison.with_keys or (settings.is_few(row["api_people"]) and row["keys"] > 0)
    )
    if settings.is_few(row["api_people"] + (row["keys"] if with_keys else 0)):
        return f"Not shown: fewer than {least} people and API keys have API usage."
    seats = _seats_cost(settings, row, assumptions)
    if seats is None and not row["api_people"]:
        return "Unknown: people work with subscriptions. Declare seat_price and seats to see what they cost."
    is_charged = (
        row["charged_days"] == row["days_loaded"] == row["days_in_period"]
        and not charges_name_nobody(row)
        and not settings.is_few(row["charged_people"])
    )
    if not is_charged and settings.is_few(row["api_cost_people"]):
        return f"Not shown: fewer than {least} people have a known API cost."
    by_use = _by_use(row, ["", "key_"] if with_keys else [""], is_charged=is_charged)
    if by_use is None and seats is None:
        return "Unknown: no API session has a known cost in US dollars."
    detail = row["api_sessions"] - row["api_sessions_with_detail"]
    if with_keys:
        detail += row["key_sessions"] - row["key_sessions_with_detail"]
    apart = (row["api_people"], row["people_beside_api"], row["other_people"], row["people"] - row["api_people"])
    of_everybody = seats is not None or any(map(settings.is_few, apart))
    return PeopleCost(
        by_use=by_use,
        is_charged=is_charged,
        seats=seats,
        is_known=_is_known(row, detail, is_charged=is_charged)
        and (seats is not None or not of_everybody or not row["other_people"]),
        of_everybody=of_everybody,
        with_keys=with_keys,
        people=row["people"] if of_everybody else row["api_people"],
        person_days=row["person_days"] if of_everybody else row["api_person_days"],
    )


def charges_name_nobody(row: Row) -> bool:
    """Return whether there are charges but none for a person, so that they do not say what people cost."""
    return bool(row["unattributed_charged_usd"]) and not row["charged_people"]


def keys_cost(cost: PeopleCost, row: Row) -> tuple[str, Decimal | None, bool] | None:
    """
    Return what API keys cost that are not in the cost of people: their name, the amount, and whether that is all.
    The amount is None when none of it is known.

    Keys of machines are not anybody's work, so they are always separate.
    """
    kinds = [
        kind
        for kind in (["machine"] if cost.with_keys else ["machine", "key"])
        if row[f"{kind}_sessions"] or _by_use(row, [f"{kind}_"], is_charged=cost.is_charged)
    ]
    if not kinds:
        return None
    amount = _by_use(row, [f"{kind}_" for kind in kinds], is_charged=cost.is_charged)
    detail = sum(row[f"{kind}_sessions"] - row[f"{kind}_sessions_with_detail"] for kind in kinds)
    name = "API keys" if "key" in kinds else "API keys of machines"
    return name, amount, _is_known(row, detail, is_charged=cost.is_charged)


def _seats_cost(settings: Settings, row: Row, assumptions: Assumptions) -> Decimal | None:
    """Return the cost of the declared seats for the loaded days of the period; None if none are declared."""
    if assumptions.seat_price is None or assumptions.seats is None:
        return None
    loaded = Decimal(row["days_loaded"]) / Decimal(row["days_in_period"])
    price = months_cost(settings, assumptions.seat_price)
    return price * assumptions.seats.value * loaded


def months_cost(settings: Settings, monthly: Assumption) -> Decimal:
    """Return a monthly cost prorated to the days of the period."""
    months = Counter((day.year, day.month) for day in settings.days)
    return sum(
        (monthly.value * count / calendar.monthrange(*month)[1] for month, count in months.items()), start=Decimal(0)
    )


def _is_known(row: Row, without_detail: int, *, is_charged: bool) -> bool:
    """Return whether a cost includes all sessions and currencies; ``without_detail`` of the sessions name no model."""
    return not (row["other_charges"] if is_charged else without_detail or row["other_cost_entries"])


def _by_use(row: Row, prefixes: Sequence[str], *, is_charged: bool) -> Decimal | None:
    """Return the cost of API usage. Those without charges are charged nothing; an estimate may be unknown."""
    name = "charged_usd" if is_charged else "api_cost_usd"
    known: Decimal | None = known_sum(row[f"{prefix}{name}"] for prefix in prefixes)
    return Decimal(0) if known is None and is_charged else known

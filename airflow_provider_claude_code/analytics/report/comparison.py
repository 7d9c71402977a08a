"""How a number changed from the previous period, and whether the change is larger than its usual variation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import stdev
from typing import Any

from airflow_provider_claude_code.analytics.queries import Row, Settings

Share = Callable[[Row], float | None]

SMALLEST_SHARE_OF_DAYS = 0.7
"""The share of days that must be complete in both periods to compare them."""
FEWEST_WEEKS = 6
MOST_WEEKS = 12
"""Number of complete weeks before a period that define the usual range."""
_DEVIATIONS = 2.3
"""
Number of standard deviations beyond which a change is unusual. Since the deviation is estimated from few weeks, normal
values exceed this by chance in 7 % of comparisons after 6 weeks, and in 4 % after 12.
"""
_LARGEST_DIFFERENCE_OF_SHARES = 0.15
"""By chance, the share of sessions with a known cost differs by so much between two weeks of twenty people."""


@dataclass(frozen=True)
class Change:
    """
    A number on some days of the period, and on the same weekdays before.

    :param now: the number now.
    :param before: the number before.
    :param is_unusual: whether the change is outside the usual range; None when too little is known for that.
    """

    now: float
    before: float
    is_unusual: bool | None

    @property
    def relative(self) -> float | None:
        """The change divided by the number before: 0.5 means 50 % more. None if the number before was 0."""
        return self.now / self.before - 1 if self.before else None


@dataclass(frozen=True)
class Comparison:
    """
    The period and the one before on the days that are complete in both: a day is paired with the one whole weeks
    earlier, so both sides have the same weekdays.

    Sums of too few people are None, and sums of no people are 0.

    :param length: days of the period.
    :param period: ``comparison_totals`` of its loaded days.
    :param now: the same of its paired days.
    :param before: the same of the days that they are paired with.
    :param weeks: the same of each complete week in the twelve before the period, the oldest first.
    :param with_keys: whether what API keys did is in the sums of people, since separate sums would be of few of them.
    """

    length: int
    period: Row
    now: Row
    before: Row
    weeks: Sequence[Row]
    with_keys: bool

    @property
    def days(self) -> int:
        """The number of paired days."""
        return int(self.now["days"])

    @property
    def is_possible(self) -> bool:
        """Whether enough days are paired."""
        return self.days >= SMALLEST_SHARE_OF_DAYS * self.length

    def change(self, measure: Callable[[Row], float | Decimal | None], share: Share | None = None) -> Change | None:
        """
        Return how a number changed; None where it cannot be compared.

        :param measure: gives the number, or None where it is unknown, from ``comparison_totals``.
        :param share: gives the share of it that is known, 0 to 1, where it may be a part. Parts of different size are
            not compared.
        """
        now, before = measure(self.now), measure(self.before)
        if not self.is_possible or now is None or before is None:
            return None
        if share:
            shares = share(self.now), share(self.before)
            # Where there was nothing, nothing of it is unknown.
            is_new = any(not number and known is None for number, known in zip((now, before), shares, strict=True))
            if not is_new and abs((shares[0] or 0) - (shares[1] or 0)) > _LARGEST_DIFFERENCE_OF_SHARES:
                return None
        weekly = [measure(week) for week in self.weeks]
        spread = weekly_spread([None if value is None else float(value) for value in weekly])
        return Change(float(now), float(before), is_unusual(float(now), float(before), spread, self.days / 7))


_AMOUNTS = {
    "api_cost_usd": "api_actors",
    "people_api_cost_usd": "api_cost_people",
    "subscription_value_usd": "subscription_actors",
}
"""The amounts, each with the column that counts the people behind it."""
_COUNTS = (
    "active_people",
    "active_keys",
    "counted_people",
    "api_cost_people",
    "api_people",
    "api_person_days",
    "api_actors",
    "subscription_actors",
    "tool_people",
)
_TOOLS = ("tool_actions_offered", "tool_actions_accepted")
_SUMS = (
    "sessions",
    "lines_added",
    "lines_removed",
    "commits",
    "pull_requests",
    "people_pull_requests",
    *_TOOLS,
    "api_sessions",
    "api_sessions_with_cost",
    "people_api_sessions",
    "people_api_sessions_with_cost",
)


def comparison_of(length: int, spans: Iterable[Row], settings: Settings, *, are_keys_apart: bool = True) -> Comparison:
    """
    Return the numbers that a report compares.

    :param length: days of the period.
    :param spans: ``comparison_totals`` of an organisation.
    :param settings: how many people a sum needs.
    :param are_keys_apart: whether what people did and what API keys did may be shown apart.
    """
    by_span = {row["span"]: row for row in spans}

    def shows_few(pairing: str) -> bool:
        """Return whether the shown and the compared sums differ by the activity of few people."""
        left_out = [_of_span(by_span.get(f"{span}{pairing}")) for span in ("left out", "left out before")]
        return any(settings.is_few(row[name]) for row in left_out for name in ("counted_people", *_AMOUNTS.values()))

    # A day that is left out may be a Sunday on which few people worked; a week is rarely one of few.
    pairing = next((pairing for pairing in ("", " in weeks") if not shows_few(pairing)), None)
    now, before = (None if pairing is None else by_span.get(f"{span}{pairing}") for span in ("now", "before"))
    shown = [_of_span(row) for row in (by_span.get("period"), now, before)]
    with_keys = not are_keys_apart or any(
        settings.is_few(row[every] - row[people])
        for row in shown
        for every, people in (("counted_people", "active_people"), ("api_actors", "api_cost_people"))
    )
    # They are used in computations but not shown.
    weeks = [_of_span(row) for number in range(MOST_WEEKS, 0, -1) if (row := by_span.get(f"week {number}"))]
    if with_keys:
        shown, weeks = ([{**row, **_sums_with_keys(row)} for row in rows] for rows in (shown, weeks))
    period, now, before = (_without_sums_of_few(row, settings) for row in shown)
    return Comparison(length, period, now, before, weeks, with_keys)


def _sums_with_keys(row: Row) -> dict[str, Any]:
    return {name: row[name.removeprefix("people_")] for name in (*_AMOUNTS, *_SUMS) if name.startswith("people_")}


def _of_span(row: Row | None) -> dict[str, Any]:
    given = row or {"days": 0, **dict.fromkeys(_AMOUNTS)}
    if row and row["active_people"] is None:
        # Without usage there is no cost.
        given = {**row, **dict.fromkeys(_AMOUNTS, Decimal(0))}
    return {**given, **{name: given.get(name) or 0 for name in (*_COUNTS, *_SUMS)}}


def _without_sums_of_few(row: Row, settings: Settings) -> Row:
    hidden = [amount for amount, people in _AMOUNTS.items() if settings.is_few(row[people])]
    hidden += _SUMS if settings.is_few(row["counted_people"]) else ()
    hidden += _TOOLS if settings.is_few(row["tool_people"]) else ()
    return {**row, **dict.fromkeys(hidden)}


def weekly_spread(totals: Sequence[float | None]) -> float | None:
    """
    Return the standard deviation of the logarithms of weekly totals.

    Weeks before the first one with anything say nothing of how it varies. A later week with nothing, or with an unknown
    total, varies beyond all measure, so nothing is known then, as with fewer than six weeks.

    :param totals: those of the complete weeks before a period, the oldest first.
    """
    begun = next((position for position, value in enumerate(totals) if value), len(totals))
    known = [value for value in totals[begun:] if value]
    if len(known) < FEWEST_WEEKS or len(known) < len(totals) - begun:
        return None
    return stdev(math.log(value) for value in known[-MOST_WEEKS:])


def is_unusual(now: float, before: float, spread: float | None, weeks: float) -> bool | None:
    """
    Return whether a change is larger than the usual variation of a number; None when too little is known.

    Sums of ``weeks`` weeks vary less than those of one, and a change is the difference of two such sums. How much parts
    of a week vary is not known from weeks.

    :param now: the total of the period.
    :param before: the total of the period before.
    :param spread: the result of :func:`weekly_spread`.
    :param weeks: length of each period in weeks.
    """
    if spread is None or before <= 0 or weeks < 1:
        return None
    if now <= 0:
        # No usual week was empty.
        return True
    return abs(math.log(now / before)) > _DEVIATIONS * spread * math.sqrt(2 / weeks)

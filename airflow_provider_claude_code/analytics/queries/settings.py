"""The settings of the queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import ClassVar

from airflow_provider_claude_code.days import FRESHNESS_DELAY, days_between, days_until, month_start
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.tables.totals import MAX_OF_A_DAY
from airflow_provider_claude_code.templates import one_of, whole_number

BREAKDOWN_GRAINS = ("week", "month")
"""The periods that a row of a breakdown can have."""


def whole_period(last_day: date, period_days: int, breakdown_grain: str) -> tuple[date, date]:
    """
    Return the first and the last day of a period of whole weeks (Monday to Sunday) or calendar months.

    :param last_day: the latest day on which the period may end.
    :param period_days: length of the period: one week for each 7 days, or one month for each 28, but at least one.
    :param breakdown_grain: ``week`` or ``month``.
    :raises ClaudeCodeConfigurationError: there is no such period or grain.
    """
    one_of("breakdown_grain", breakdown_grain, BREAKDOWN_GRAINS)
    days_until(last_day, whole_number("period_days", period_days, 1), f"period_days={period_days}")
    next_day = last_day + timedelta(days=1)
    if breakdown_grain == "week":
        end = next_day - timedelta(days=next_day.weekday())
        return end - timedelta(weeks=max(1, period_days // 7)), end - timedelta(days=1)
    return month_start(next_day, max(1, period_days // 28)), month_start(next_day) - timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    The settings of the queries.

    :param min_group_size: groups of fewer people are combined or withheld; 1 turns this off.
    :param breakdown_grain: ``week`` (Monday to Sunday, UTC) or ``month`` (calendar month): what each row of a breakdown
        is of. Choose it once for views and reports: a week and the month around it could be subtracted.
    :param since: the first UTC day that is read; the history of who is new begins there.
    :param max_drop: share of the usual records, 0 to 1, whose lack ``data_quality`` reports.
    :param max_age_hours: hours after the end of the newest complete day from which ``data_quality`` reports it.
    :param first_day: first UTC day of a report; the models that are about periods have the report's and the one before
        instead of calendar months.
    :param last_day: its last UTC day; given with ``first_day``.
    :param monthly_budget_cents: what each organisation may spend in a calendar month, in US cents; 0 is no budget.
    :param budget_percents: percentages of it; ``data_quality`` reports the day on which the costs reach each.
    :param seat_price_cents: price of a seat and month in US cents, for the comparison of plans.
    :raises ClaudeCodeConfigurationError: a value cannot be used.
    """

    min_group_size: int = 5
    breakdown_grain: str = "week"
    since: date = date(2025, 1, 1)
    max_drop: float = 0.5
    max_age_hours: float = 48
    first_day: date | None = None
    last_day: date | None = None
    monthly_budget_cents: int = 0
    budget_percents: tuple[int, ...] = (80, 100)
    seat_price_cents: int = 0
    minutes_until_complete: ClassVar[int] = (timedelta(days=1) + FRESHNESS_DELAY) // timedelta(minutes=1)
    """Minutes from the start of a UTC day until it is complete. Not configurable."""
    days_until_final: ClassVar[int] = 30
    """Days after the end of a day in which its charges may still change. Not configurable."""
    largest_sum_of_a_day: ClassVar[int] = MAX_OF_A_DAY
    """The largest sum of all numbers of a day that a load accepts. Not configurable."""
    dollars_per_cent: ClassVar[Decimal] = Decimal("0.01")
    """A decimal in every engine as it is written; NUMERIC '0.01' is translated into one without places, which is 0."""
    small_groups: ClassVar[str] = "(small groups)"
    """The name of the group that combines small groups."""
    unmapped: ClassVar[str] = "(unmapped)"
    """The group of actors that are not in the mapping."""
    unattributed: ClassVar[str] = "(unattributed)"
    """The group of charges without an actor."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not _is_number(self.min_group_size, int) or self.min_group_size < 1:
            raise ClaudeCodeConfigurationError(
                f"min_group_size is {self.min_group_size!r}; a whole number of 1 or more was expected."
            )
        one_of("breakdown_grain", self.breakdown_grain, BREAKDOWN_GRAINS)
        if not _is_number(self.max_drop, (int, float)) or not 0 < self.max_drop <= 1:
            raise ClaudeCodeConfigurationError(
                f"max_drop is {self.max_drop!r}; a share above 0 and up to 1 was expected."
            )
        if not _is_number(self.max_age_hours, (int, float)) or not 0 < self.max_age_hours < float("inf"):
            raise ClaudeCodeConfigurationError(
                f"max_age_hours is {self.max_age_hours!r}; a number of hours above 0 was expected."
            )
        if not _is_number(self.monthly_budget_cents, int) or not 0 <= self.monthly_budget_cents < 10**15:
            raise ClaudeCodeConfigurationError(
                f"monthly_budget_cents is {self.monthly_budget_cents!r}; a whole number of cents was expected."
            )
        percents = self.budget_percents
        if not percents or not all(_is_number(percent, int) and 0 < percent <= 1000 for percent in percents):
            raise ClaudeCodeConfigurationError(
                f"budget_percents is {percents!r}; whole percentages from 1 to 1000 were expected."
            )
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ClaudeCodeConfigurationError(f"last_day ({self.last_day}) is before first_day ({self.first_day}).")

    @property
    def period(self) -> tuple[date, date]:
        """
        The first and the last day of the report.

        :raises ClaudeCodeConfigurationError: they are not given.
        """
        if self.first_day is None or self.last_day is None:
            raise ClaudeCodeConfigurationError("A report needs its first_day and last_day.")
        return self.first_day, self.last_day

    @property
    def days(self) -> list[date]:
        """The days of the report."""
        return days_between(*self.period)

    @property
    def days_between_periods(self) -> int:
        """How many days before the period the compared one begins: whole weeks."""
        first, last = self.period
        return ((last - first).days // 7 + 1) * 7

    @property
    def rows_from(self) -> date:
        """
        The first day whose rows are read completely. For earlier days, a report needs only when people were active.

        A report needs the weeks or months of breakdowns, the period before, the twelve weeks before the period, the
        thirteen weeks to its end, and to test its forecast the three months before, with eight weeks before them.
        """
        if self.first_day is None:
            return self.since
        first, last = self.period
        days = max(84, self.days_between_periods)
        return max(
            self.since,
            min(
                self.buckets_from,
                first - timedelta(days=days),
                last - timedelta(weeks=13),
                month_start(last, 3) - timedelta(weeks=8),
            ),
        )

    @property
    def buckets_from(self) -> date:
        """
        The first day of the weeks or months that breakdowns read.

        A report needs those of its period, and those before.
        """
        if self.first_day is None:
            return date.min
        first, last = self.period
        day = first - max(last - first + timedelta(days=1), timedelta(days=31))
        return day.replace(day=1) if self.breakdown_grain == "month" else day - timedelta(days=day.weekday())

    @property
    def buckets_until(self) -> date:
        """The last day that breakdowns read."""
        return self.last_day or date.max

    def is_few(self, count: int | None) -> bool:
        """Return whether so many people (and API keys) are too few to be shown; 0 and None are not."""
        return 0 < (count or 0) < self.min_group_size

    def literal(self, name: str) -> str:
        """Write a setting in SQL."""
        value = getattr(self, name)
        if isinstance(value, date):
            return f"DATE '{value}'"
        if isinstance(value, str):
            return f"'{value}'"
        if isinstance(value, tuple):
            return f"[{', '.join(map(str, value))}]"
        # A number with a point is a FLOAT64 in GoogleSQL, but a narrow DECIMAL in DuckDB.
        return f"CAST({value} AS FLOAT64)" if isinstance(value, float) else str(value)


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)

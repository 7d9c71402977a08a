"""The data of a report on an organisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.comparison import Comparison
from airflow_provider_claude_code.analytics.report.known_cost import cost_share
from airflow_provider_claude_code.analytics.report.month import Month
from airflow_provider_claude_code.analytics.report.wording import three_digits
from airflow_provider_claude_code.tables.loads import plain_decimal

AMOUNTS = ("api_cost_usd", "subscription_value_usd")
"""The columns with a sum of estimates."""


@dataclass
class Organization:
    """
    The data about an organisation.

    :param id: its id.
    :param name: its name; None if no load knows it.
    :param days: ``daily_activity`` and ``adoption`` of each day of the period, None for a day that neither has.
    :param totals: ``period_totals`` of the period; a count is None when no day is loaded.
    :param comparison: the comparison with the previous period.
    :param costs: ``period_costs`` of the period.
    :param month: the calendar month of its last day.
    :param charged_usd: the charges for the usage of the period; None if they are not known for each day.
    :param first_loaded_day: its first loaded day ever.
    :param series: what was done in the spans of the period that can be shown one by one: ``daily_activity`` of its
        days, ``period_activity`` of its weeks or months where a day has too few people, or nothing where these have.
        Each has a ``first_day`` and a ``last_day``.
    :param breakdown: the first and last day of the week or month that the breakdowns are of: the last whole one of the
        period; None when there is none, or when it could be subtracted from the period.
    :param shares: by dimension, ``adoption_shares`` by value, those with the most sessions first.
    :param tools: ``tool_acceptance``, the tool that offered most first.
    :param models: ``model_costs``, the most expensive first.
    :param groups: ``cost_allocation``, the largest amount first.
    :param ratios: ``productivity_ratios``.
    :param charges: ``cost_reconciliation``, the most expensive first; empty without charges.
    :param has_roster: whether the user gave a roster; otherwise the members may use Claude Code.
    :param members: ``members_activity`` of the newest snapshot in the period, the role with the most members first.
    :param health: ``load_health`` of the period.
    :param restatements: ``restatements`` of days of the period.
    :param findings: ``data_quality`` of the period.
    :param worth: ``period_worth`` of the period; None when the period has no day.
    :param plan: ``plan_mixes`` of the period; None unless a price of seats is declared and the period is a month.
    :param classes: ``activity_classes``; None when the last day of the period is not there yet.
    :param blocks: ``activity_blocks``, the first block first.
    :param other_tools: ``tool_comparison`` of the period, Claude Code first; empty without other tools.
    :param groups_before: ``cost_allocation`` of the week or month before that of the breakdowns.
    :param hides_charges: whether ``groups`` and ``ratios`` have no charges, since few people are charged for other
        products than Claude Code.
    :param people: ``people_monthly`` of the period; None when the report has no people.
    """

    id: str
    days: dict[date, Row | None]
    totals: Row
    comparison: Comparison
    month: Month
    charged_usd: Decimal | None
    first_loaded_day: date | None
    costs: list[Row] = field(default_factory=list)
    series: list[Row] = field(default_factory=list)
    breakdown: tuple[date, date] | None = None
    shares: dict[str, list[Row]] = field(default_factory=dict)
    tools: list[Row] = field(default_factory=list)
    models: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)
    ratios: list[Row] = field(default_factory=list)
    charges: list[Row] = field(default_factory=list)
    has_roster: bool = False
    members: list[Row] = field(default_factory=list)
    health: list[Row] = field(default_factory=list)
    restatements: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    worth: Row | None = None
    plan: Row | None = None
    classes: Row | None = None
    blocks: list[Row] = field(default_factory=list)
    other_tools: list[Row] = field(default_factory=list)
    groups_before: list[Row] = field(default_factory=list)
    hides_charges: bool = False
    people: list[Row] | None = None
    name: str | None = None

    @property
    def loaded(self) -> list[Row]:
        """The days that were ever loaded."""
        return [row for row in self.days.values() if row and row["is_loaded"]]

    @property
    def missing_days(self) -> list[date]:
        """The days of the period that are not loaded."""
        return [day for day, row in self.days.items() if not (row and row["is_loaded"])]

    @property
    def incomplete_days(self) -> list[date]:
        """The days that were read before they were complete, and not since."""
        return [row["date"] for row in self.loaded if not row["is_complete"]]

    @property
    def idle_days(self) -> list[date]:
        """The loaded days without any usage, as far as days are shown."""
        return [row["date"] for row in self.loaded if not (row["is_withheld"] or _has_usage(row))]

    @property
    def has_usage(self) -> bool:
        """Whether there was anything in the period."""
        return bool(_has_usage(self.totals) or self.totals["counted_people"])

    @property
    def is_by_day(self) -> bool:
        """Whether the days of the period can be shown one by one."""
        return bool(self.series) and "date" in self.series[0]

    @property
    def roster(self) -> tuple[int, int] | None:
        """How many eligible people were active in the 28 days to the last one, and how many there are."""
        row = list(self.days.values())[-1]
        if not row or not row["eligible_people"]:
            return None
        active = row["eligible_active_people"]
        # A roster that matches nobody is reported separately.
        is_wrong = not active and any(found["check_name"] == "roster" for found in self.findings)
        return None if is_wrong else (active, row["eligible_people"])

    def headline(self) -> dict[str, Any]:
        """Return the numbers of the period in types of JSON: no names, amounts as text, None for unknown."""
        totals, comparison, month = self.totals, self.comparison, self.month
        expected = month.forecast
        changes = {
            name: comparison.change(itemgetter(name), partial(cost_share, "") if name == "api_cost_usd" else None)
            for name in ("active_people", "sessions", "pull_requests", "api_cost_usd")
        }
        return {
            "organization_id": self.id,
            "days": len(self.days),
            "days_loaded": totals["days_loaded"],
            **{name: totals[name] for name in ("active_people", "sessions", "lines_added", "commits", "pull_requests")},
            "acceptance_rate": acceptance_rate(totals),
            **{name: _digits(totals[name]) for name in AMOUNTS},
            "api_cost_known_share": cost_share("", comparison.period),
            "charged_usd": _digits(self.charged_usd),
            "days_compared": comparison.days if comparison.is_possible else 0,
            "changes": {
                name: {"change": change.relative, "is_unusual": change.is_unusual}
                for name, change in changes.items()
                if change
            },
            "month": f"{month.days[0]:%Y-%m}",
            "month_to_date_usd": _digits(month.to_date),
            "month_known_until": month.until.isoformat() if month.until else None,
            "month_is_charged": month.is_charged,
            "month_forecast_usd": three_digits(expected.amount, month.least) if expected else None,
        }


def _digits(amount: Decimal | None) -> str | None:
    return None if amount is None else plain_decimal(amount)


def is_month(settings: Settings) -> bool:
    """Return whether the period is one calendar month."""
    first, last = settings.period
    return first.day == 1 and (last + timedelta(days=1)).day == 1 and (last - first).days < 31


def acceptance_rate(row: Row) -> float | None:
    """Return the share of accepted actions, 0 to 1; None when nothing was offered."""
    offered = row["tool_actions_offered"]
    return row["tool_actions_accepted"] / offered if offered else None


def known_sum(values: Iterable[Any]) -> Any:
    """Return the sum of the known values; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def total(rows: Iterable[Row], name: str) -> Any:
    """Return the sum of the known values of a column; None if there are none."""
    return known_sum(row[name] for row in rows)


def folded(rows: Sequence[Row], name: str, most: int, sums: Iterable[str]) -> list[Row]:
    """
    Return the first rows, and one row with the sums of the rest.

    :param rows: rows in order.
    :param name: the column with the names of the rows.
    :param most: maximum number of rows.
    :param sums: the columns to add up.
    """
    if len(rows) <= most:
        return list(rows)
    left = rows[most - 1 :]
    return [*rows[: most - 1], {name: f"{len(left)} others", **{column: total(left, column) for column in sums}}]


def _has_usage(row: Row) -> bool:
    return any(row.get(name) for name in ("active_people", "active_keys", "active_others"))

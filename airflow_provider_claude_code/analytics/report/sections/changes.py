"""Describes the change of a number in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_claude_code.analytics.queries import Row
from airflow_provider_claude_code.analytics.report.comparison import Change, Comparison, Share
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.wording import count, percent, signed


@dataclass(frozen=True)
class DescribedChange:
    """
    A change in words.

    :param strong: the change, where it is beyond the usual range; else empty.
    :param text: the rest of the description.
    """

    strong: str
    text: str

    @property
    def in_one(self) -> str:
        """The whole change as plain text."""
        return f"{self.strong} {self.text}".strip()


def described_change(
    organization: Organization,
    measure: Callable[[Row], float | Decimal | None],
    written: Callable[[Any], str],
    *,
    share: Share | None = None,
    in_points: bool = False,
) -> DescribedChange:
    """
    Describe how a number changed, or why this is unknown.

    :param organization: the data about the organisation.
    :param measure: returns the number from ``comparison_totals``; None if it is unknown or cannot be compared.
    :param written: formats the number.
    :param share: returns the known share of the number, if only a part of it may be known.
    :param in_points: whether the number is a share of 0 to 1, whose difference is given in percentage points.
    """
    comparison = organization.comparison
    if not comparison.is_possible:
        return DescribedChange("", f"no comparison, since {comparable_days(comparison)} can be compared")
    change = comparison.change(measure, share)
    if change is None:
        return DescribedChange("", f"no comparison, since it is {_reason(comparison, measure, share)}")
    on_days = "" if comparison.days == comparison.length else f" on {comparison.days} of {comparison.length} days"
    if change.relative is None:
        return DescribedChange("", ("new: 0 before" if change.now else "also 0 before") + on_days)
    size = _points(change) if in_points else f"{signed(change.relative * 100)}\u00a0%"
    before = f"from {written(change.before)}{on_days}"
    if change.is_unusual is None:
        return DescribedChange("", f"{size} {before}; too little history to say whether that is usual")
    if change.is_unusual:
        return DescribedChange(size, f"{before}, outside the usual range")
    return DescribedChange("", f"{size} {before}, within the usual range")


def comparable_days(comparison: Comparison) -> str:
    """Return how many days can be compared, where they are too few."""
    return f"only {comparison.days} of {count(comparison.length, 'day')}" if comparison.days else "no day"


def _reason(comparison: Comparison, measure: Callable[[Row], object], share: Share | None) -> str:
    if measure(comparison.now) is None:
        return "not known now"
    if measure(comparison.before) is None or share is None:
        return "not known before"
    now, before = (percent(share(row)) for row in (comparison.now, comparison.before))
    return f"known for {now} of sessions now and {before} before"


def _points(change: Change) -> str:
    return f"{signed((change.now - change.before) * 100)} points"

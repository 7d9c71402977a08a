"""Chooses the finest series over time in which no point shows the activity of too few people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True)
class Series:
    """
    The points of a series.

    :param grain: what a point is: a day, a week from Monday to Sunday, or all days between two cuts. At a cut a week
        may be two points.
    :param buckets: the consecutive days of each point.
    """

    grain: Literal["day", "week", "period"]
    buckets: Sequence[Sequence[date]]

    def within(self, first: date, last: date) -> Series:
        """Return the points between two cuts."""
        return Series(self.grain, [bucket for bucket in self.buckets if first <= bucket[0] and bucket[-1] <= last])


def series_of(
    active: Mapping[date, int],
    min_group_size: int,
    cuts: Collection[date] = (),
    *,
    unknown: Collection[date] = (),
    by_day: bool = True,
) -> Series | None:
    """
    Return the finest series in which no point shows what 1 to ``min_group_size - 1`` people did, or None.

    A reader can subtract the sums of two series where their points overlap. All numbers about the same days must
    therefore come from one series. ``cuts`` make one series for several periods.

    :param active: for consecutive days, how many people and API keys were active; 0 where that is not known, since
        nothing is shown of such a day either.
    :param min_group_size: how many people a point needs.
    :param cuts: days on which a period begins whose sum is shown as well, so no point may reach over them.
    :param unknown: days that points leave out and other sums may include, so they must not be of few people either.
    :param by_day: whether a point may be a day.
    """
    parts = _divided(list(active), lambda day: day in cuts)

    def is_safe(bucket: Sequence[date]) -> bool:
        # The same people need not be active on all days: there are as many as on the busiest day, or more.
        known, left_out = (
            max((active[day] for day in bucket if (day in unknown) is is_out), default=0) for is_out in (False, True)
        )
        return all(most == 0 or most >= min_group_size for most in (known, left_out))

    candidates: list[Series] = [
        *([Series("day", [[day] for day in active])] if by_day else []),
        Series("week", _divided(list(active), lambda day: day in cuts or day.weekday() == 0)),
        Series("period", parts),
    ]
    return next((series for series in candidates if all(map(is_safe, series.buckets))), None)


def _divided(days: Sequence[date], begins: Callable[[date], bool]) -> list[list[date]]:
    parts: list[list[date]] = []
    for day in days:
        if not parts or begins(day):
            parts.append([])
        parts[-1].append(day)
    return parts

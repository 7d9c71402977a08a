"""Forecasts the cost of a calendar month from its days so far and the four weeks before."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import mean

from airflow_provider_claude_code.days import days_between, month_start

_DAYS = 28
_FEWEST_OF_A_WEEKDAY = 2
# Older days say little about this month, even if newer ones are missing.
_OLDEST = timedelta(days=2 * _DAYS)
_MONTHS_TESTED = 3


@dataclass(frozen=True)
class Forecast:
    """
    The forecast cost of a month.

    :param amount: what its known days cost, and the mean of their weekdays for the others.
    :param low: the same if the others are like the cheapest of the weeks that it is made from.
    :param high: the same if they are like the most expensive one.
    :param weeks: how many weeks those are.
    """

    amount: float
    low: float
    high: float
    weeks: int


def month_of(day: date) -> list[date]:
    """Return the days of a day's calendar month."""
    length = calendar.monthrange(day.year, day.month)[1]
    return days_between(day.replace(day=1), day.replace(day=length))


def forecast(costs: Mapping[date, Decimal], last: date) -> Forecast | None:
    """
    Return the forecast cost of the month of a day; None if it is too early.

    :param costs: the cost of each day on which it is known completely; days after ``last`` are ignored.
    :param last: the day.
    """
    # A float is exact enough for a forecast.
    known = {day: float(cost) for day, cost in costs.items() if last - _OLDEST < day <= last}
    newest = sorted(known, reverse=True)[:_DAYS]
    # Whole weeks. Other days would count in the mean and in no week, so the range might not contain the forecast.
    newest = newest[: len(newest) // 7 * 7]
    month = month_of(last)
    done = sum(float(costs[day]) for day in month if day <= last and day in costs)
    left = [day for day in month if day > last or day not in costs]
    if not left:
        return Forecast(done, done, done, 0)
    by_weekday: list[list[float]] = [[] for _weekday in range(7)]
    for day in newest:
        by_weekday[day.weekday()].append(known[day])
    if any(len(values) < _FEWEST_OF_A_WEEKDAY for values in by_weekday):
        return None
    means = [mean(values) for values in by_weekday]
    rest = sum(means[day.weekday()] for day in left)
    # Each week is compared with the means of its own days, since a week with a missing day has other weekdays.
    weeks = [newest[start : start + 7] for start in range(0, len(newest), 7)]
    usual = [sum(means[day.weekday()] for day in week) for week in weeks]
    ratios = [sum(known[day] for day in week) / mid if mid else 1.0 for week, mid in zip(weeks, usual, strict=True)]
    # Credits may make it negative.
    like_weeks = [done + rest * ratio for ratio in ratios]
    return Forecast(done + rest, min(like_weeks), max(like_weeks), len(weeks))


def past_errors(costs: Mapping[date, Decimal], last: date) -> Sequence[float]:
    """
    Return the relative errors of the forecasts on the same day of each of the last three months.

    :param costs: what each day cost that is known completely.
    :param last: the day of this month. In a shorter month, its last day is taken.
    :return: one error per month that is known completely, and whose forecast was not too early; the oldest first.
    """
    months = [month_of(month_start(last, before)) for before in range(_MONTHS_TESTED, 0, -1)]
    return [error for month in months if (error := _error(costs, month, last.day)) is not None]


def _error(costs: Mapping[date, Decimal], month: Sequence[date], day: int) -> float | None:
    if any(each not in costs for each in month):
        return None
    real = float(sum(costs[each] for each in month))
    then = forecast(costs, month[min(day, len(month)) - 1])
    return (then.amount - real) / abs(real) if then and real else None

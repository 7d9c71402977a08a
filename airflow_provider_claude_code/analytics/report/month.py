"""The cost of the calendar month of a report's last day: so far, and forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.forecast import Forecast, forecast, month_of, past_errors
from airflow_provider_claude_code.analytics.report.series import Series, series_of
from airflow_provider_claude_code.days import days_between


@dataclass(frozen=True)
class Month:
    """
    The cost of a calendar month, in US dollars.

    :param days: all days of the month.
    :param is_charged: whether the costs are charges; otherwise they are estimates.
    :param costs: what each day cost that is known completely, also of days before the month, but not of earlier weeks
        in which too few people had a cost.
    :param known_share: of the API sessions of the month so far, the share whose cost is known from
        estimates; None without such sessions, and where the costs are charges.
    :param since: the day from which on the cost of the month is shown: its first, or the Monday after that.
    :param until: the day up to which it is shown; None when none of it may be, or none is known.
    :param series: the points that the costs of the report's period and of the month may be shown as; None when they
        show too few people.
    """

    days: Sequence[date]
    is_charged: bool
    costs: Mapping[date, Decimal] = field(repr=False)
    known_share: float | None
    since: date
    until: date | None
    series: Series | None

    @property
    def known_days(self) -> list[date]:
        """The days of the month from ``since`` to ``until`` whose cost is known."""
        return [day for day in self.days if self.until and self.since <= day <= self.until and day in self.costs]

    @property
    def unknown_days(self) -> int:
        """How many of the days from ``since`` to ``until`` have no known cost, such as those that are not loaded."""
        return len(days_between(self.since, self.until)) - len(self.known_days) if self.until else 0

    @property
    def to_date(self) -> Decimal | None:
        """The cost of these days; None if it is not shown, or not known for any session."""
        if self.until is None:
            return None
        cost = sum((self.costs[day] for day in self.known_days), Decimal(0))
        # What has a cost may have no session.
        return None if self.known_share == 0 and not cost else cost

    @property
    def is_over(self) -> bool:
        """Whether the month has ended and the cost of all its shown days is known."""
        return self.until == self.days[-1] and not self.unknown_days

    @property
    def forecast(self) -> Forecast | None:
        """The forecast cost of the month; None if it is too early. It ignores days that are not shown."""
        if self.until is None or self.to_date is None:
            return None
        costs = self._shown_costs
        return forecast({day: cost for day, cost in costs.items() if not self.days[0] <= day < self.since}, self.until)

    @property
    def least(self) -> float:
        """What the month costs at least."""
        return float(self.to_date or 0)

    @property
    def past_errors(self) -> Sequence[float]:
        """The relative errors of the forecasts on the same day of the last three months."""
        return past_errors(self._shown_costs, self.until) if self.until else []

    @property
    def _shown_costs(self) -> Mapping[date, Decimal]:
        """
        The costs of days as far as they are shown: where only weeks are, each day costs the mean of its week. Otherwise
        a forecast of a part of a week would tell what few people did in the rest of it.
        """
        if self.series is None or self.series.grain == "day":
            return self.costs
        weeks: dict[tuple[date, bool], list[Decimal]] = {}
        for day, cost in self.costs.items():
            weeks.setdefault(self._week(day), []).append(cost)
        means = {week: sum(costs, Decimal(0)) / len(costs) for week, costs in weeks.items()}
        return {day: means[self._week(day)] for day in self.costs}

    def _week(self, day: date) -> tuple[date, bool]:
        """Return the Monday of a day's week, and which part of the week it is in if the shown month begins in it."""
        return _monday(day), day >= self.since


def month_to_date(daily: Sequence[Row], settings: Settings, *, by_day: bool = True) -> Month:
    """
    Return the month of the report's last day.

    :param daily: ``daily_cost`` of an organisation.
    :param settings: the report's period, and how many people a point of a series needs.
    :param by_day: whether costs of single days may be shown beside the breakdowns of costs.
    """
    first, last = settings.period
    days = month_of(last)
    rows = {row["date"]: row for row in daily if row["date"] <= last}
    is_charged = any(row["is_month_charged"] for day, row in rows.items() if day >= days[0])
    name = "charged_cents" if is_charged else "api_cost_cents"
    start = min(first, _monday(days[0]))
    actors = {day: row["charged_actors" if is_charged else "api_actors"] for day, row in rows.items()}
    # The weeks before are not shown, but a forecast and its range follow from them.
    most_before = dict.fromkeys(map(_monday, rows), 0)
    for day in rows:
        if day < start:
            most_before[_monday(day)] = max(most_before[_monday(day)], actors[day])
    costs = {
        day: row[name] * Settings.dollars_per_cent
        for day, row in sorted(rows.items())
        if (row[name] is not None if is_charged else row["is_complete"])
        and not (day < start and settings.is_few(most_before[_monday(day)]))
    }
    active = {day: actors.get(day, 0) for day in days_between(start, last)}
    unknown = active.keys() - costs.keys()
    # A week that the month divides has two parts, of which one may be a Sunday on which few people work. Whoever knows
    # the week could subtract the other, so then the month is shown from its first Monday on.
    for since in (days[0], days[0] + timedelta(days=-days[0].weekday() % 7)):
        series = series_of(active, settings.min_group_size, {first, since}, unknown=unknown, by_day=by_day)
        until = _until(series, [day for day in days if since <= day <= last and day in costs], days[-1])
        if until:
            break
    if not until:
        of_period = {day: count for day, count in active.items() if day >= first}
        series = series_of(of_period, settings.min_group_size, unknown=unknown, by_day=by_day)
        # A report on the month shows its sum in any case.
        if series and list(of_period) == days and not unknown.intersection(days):
            since, until = days[0], days[-1]
    shown = [day for day in days if until and since <= day <= until and day in costs and day in rows]
    sums = [sum(rows[day][column] for day in shown) for column in ("api_sessions_with_cost", "api_sessions")]
    known_share = sums[0] / sums[1] if sums[1] and not is_charged else None
    return Month(days, is_charged, costs, known_share, since, until, series)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _until(series: Series | None, known: Sequence[date], month_end: date) -> date | None:
    """
    Return the last day of a month whose cost is shown.

    Two reports that end on different days must not together reveal the activity of few people on the days between.
    If days are not shown, only whole weeks are therefore shown, and the rest of a month that is over, which is a point
    of the series as well.
    """
    if series is None or series.grain == "period" or not known:
        return None
    if series.grain == "day":
        return known[-1]
    ends = [bucket[-1] for bucket in series.buckets if bucket[-1].weekday() == 6 or bucket[-1] == month_end]
    return max((day for day in ends if known[0] <= day <= known[-1]), default=None)

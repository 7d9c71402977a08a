"""A month is forecast from its days and the weekdays of the last four weeks, and says how wrong such forecasts were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.forecast import Forecast, forecast, month_of, past_errors
from airflow_provider_claude_code.analytics.report.month import month_to_date

MONDAY = date(2026, 6, 1)
"""June 2026 begins on a Monday; it has five Mondays and five Tuesdays."""
FOUR_WEEKS_BEFORE = MONDAY - timedelta(days=28)


def costs(first: date, *amounts: float | None) -> dict[date, Decimal]:
    return {
        first + timedelta(days=number): Decimal(str(amount))
        for number, amount in enumerate(amounts)
        if amount is not None
    }


def about(amount: float, low: float, high: float) -> Any:
    return pytest.approx((amount, low, high))


def numbers(found: Forecast | None) -> tuple[float, float, float]:
    assert found is not None
    return found.amount, found.low, found.high


WEEK = [10, 10, 10, 10, 10, 0, 0]


def test_days_to_come_cost_the_mean_of_their_weekday() -> None:
    # Two days of June at 7 dollars; Mondays cost 10, 10, 10 and 7, and so do Tuesdays.
    known = costs(FOUR_WEEKS_BEFORE, *WEEK * 4, 7, 7)
    monday_or_tuesday = (10 + 10 + 10 + 7) / 4
    # Left are 4 Mondays, 4 Tuesdays and 4 of each other weekday.
    rest = 8 * monday_or_tuesday + 12 * 10
    found = forecast(known, MONDAY + timedelta(days=1))
    assert found is not None
    assert found.amount == pytest.approx(14 + rest)


def test_the_range_is_that_of_the_cheapest_and_the_most_expensive_of_the_last_four_weeks() -> None:
    weeks = [amount * factor for factor in (0.8, 1, 1, 1.2) for amount in WEEK]
    found = forecast(costs(FOUR_WEEKS_BEFORE, *weeks), MONDAY - timedelta(days=1))
    # May 2026 began on a Friday, of which nothing is known; its other days are known.
    assert numbers(found) == about(200 + 10, 200 + 8, 200 + 12)


@pytest.mark.parametrize(("weeks", "expected"), [(2, 2 + 280), (3, 2 + 280), (4, 300)])
def test_days_before_the_whole_weeks_that_are_known_do_not_count(weeks: int, expected: int) -> None:
    # Two days at a dollar, which are in June unless four weeks follow, and weeks at 10 a day up to 28 June.
    known = costs(date(2026, 6, 29) - timedelta(days=7 * weeks + 2), 1, 1, *[10] * 7 * weeks)
    assert forecast(known, date(2026, 6, 28)) == Forecast(expected, expected, expected, weeks)


@settings(max_examples=500)
@given(
    amounts=st.lists(st.integers(0, 1000), min_size=14, max_size=40),
    missing=st.sets(st.integers(0, 60), max_size=5),
    left=st.integers(0, 27),
)
def test_the_range_contains_the_forecast(amounts: list[int], missing: set[int], left: int) -> None:
    last = date(2026, 6, 30) - timedelta(days=left)
    days = (last - timedelta(days=number) for number in count() if number not in missing)
    known = {day: Decimal(amount) for day, amount in zip(days, amounts, strict=False)}
    found = forecast(known, last)
    if found is not None:
        assert found.low - 1e-6 <= found.amount <= found.high + 1e-6


def test_days_of_the_month_that_are_not_known_are_taken_for_usual_ones_and_days_to_come_are_not_looked_at() -> None:
    known = costs(FOUR_WEEKS_BEFORE, *WEEK * 4, 10, None, 10)
    expected = 20 + (30 - 2 - 8) * 10
    assert numbers(forecast(known, MONDAY + timedelta(days=2))) == about(expected, expected, expected)
    later = costs(MONDAY + timedelta(days=3), 9999)
    assert forecast(known | later, MONDAY + timedelta(days=2)) == forecast(known, MONDAY + timedelta(days=2))


def test_a_month_that_is_known_whole_costs_what_it_cost() -> None:
    known = costs(MONDAY, *[1.1] * 30)
    assert numbers(forecast(known, date(2026, 6, 30))) == about(33, 33, 33)


@pytest.mark.parametrize(
    ("known", "is_enough"),
    [
        pytest.param(costs(MONDAY - timedelta(days=14), *WEEK * 2), True, id="two of each weekday"),
        pytest.param(costs(MONDAY - timedelta(days=13), *WEEK * 2), False, id="one Monday"),
        pytest.param(costs(MONDAY - timedelta(days=84), *WEEK * 4), False, id="too old"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_it_is_too_early_with_fewer_than_two_of_a_weekday(known: dict[date, Decimal], is_enough: bool) -> None:
    assert (forecast(known, MONDAY - timedelta(days=1)) is not None) == is_enough


def test_only_the_newest_28_known_days_count() -> None:
    known = costs(FOUR_WEEKS_BEFORE - timedelta(days=28), *[1000] * 28, *WEEK * 4)
    expected = 22 * 10
    assert numbers(forecast(known, MONDAY)) == about(expected, expected, expected)


def test_nothing_in_four_weeks_is_a_forecast_of_nothing_more() -> None:
    assert numbers(forecast(costs(FOUR_WEEKS_BEFORE, *[0] * 28), MONDAY - timedelta(days=1))) == about(0, 0, 0)


def test_the_error_is_that_of_the_same_day_of_the_three_months_before() -> None:
    # A dollar a day up to April and two from May on: on 10 May eight of the last 28 days cost more.
    cheap = (date(2026, 5, 1) - date(2025, 12, 1)).days
    known = costs(date(2025, 12, 1), *[1] * cheap, *[2] * 60)
    may = forecast(known, date(2026, 5, 10))
    assert may is not None
    errors = past_errors(known, date(2026, 6, 10))
    assert errors == pytest.approx([0, 0, may.amount / 62 - 1])
    assert errors[2] < -0.1
    # March and April are known whole, but nothing is known of what was before March.
    assert past_errors({day: cost for day, cost in known.items() if day >= date(2026, 3, 1)}, date(2026, 6, 10)) == (
        pytest.approx([0, may.amount / 62 - 1])
    )
    assert past_errors({day: cost for day, cost in known.items() if day != date(2026, 4, 3)}, date(2026, 6, 10)) == (
        pytest.approx([0, may.amount / 62 - 1])
    )
    assert past_errors({}, date(2026, 6, 10)) == []


def test_credits_that_exceed_the_charges_are_forecast_as_well() -> None:
    credited = [-amount * factor for factor in (0.8, 1, 1, 1.2) for amount in WEEK]
    # Of May 2026, which began on a Friday, nothing is known of this day.
    assert numbers(forecast(costs(FOUR_WEEKS_BEFORE, *credited), MONDAY - timedelta(days=1))) == (
        about(-200 - 10, -200 - 12, -200 - 8)
    )
    # A dollar a day is credited up to April and two in May, which the forecast of 10 May is too high for.
    known = costs(date(2026, 2, 1), *[-1] * 89, *[-2] * 31)
    april, may = past_errors(known, date(2026, 6, 10))[-2:]
    assert april == pytest.approx(0)
    assert 0.1 < may < 0.5


def test_the_last_day_of_a_month_is_compared_with_the_last_of_a_shorter_one() -> None:
    known = costs(date(2026, 1, 1), *range(1, 91))
    assert past_errors(known, date(2026, 3, 31)) == pytest.approx([0, 0]), "December is not known"


def simulated_costs(people: int, growth: float, random: np.random.Generator) -> dict[date, Decimal]:
    """Return half a year of costs that vary by person, weekday and day."""
    days = 182
    weekdays = np.array([1, 1, 1, 1, 0.9, 0.08, 0.05])[(np.arange(days) + date(2026, 1, 1).weekday()) % 7]
    here = random.random((people, days)) < random.beta(4, 2, (people, 1)) * weekdays
    each = np.exp(random.normal(0, 1, (people, 1))) * np.exp(random.normal(0, 1, (people, days))) * here
    of_day = each.sum(axis=0) * np.exp(growth * np.arange(days) / 7)
    return costs(date(2026, 1, 1), *(round(float(amount), 2) for amount in of_day))


def backtest(people: int, number: int, growth: float, day: int) -> tuple[np.ndarray, float, list[Sequence[float]]]:
    """Return the errors of forecasts of May, how often their range held, and the past errors that they told."""
    random = np.random.default_rng(20260501)
    errors, held, told = [], 0, []
    for _ in range(number):
        known = simulated_costs(people, growth, random)
        real = float(sum(known[each] for each in month_of(date(2026, 5, 1))))
        found = forecast(known, date(2026, 5, day))
        assert found is not None
        errors.append(found.amount / real - 1)
        held += found.low <= real <= found.high
        told.append(past_errors(known, date(2026, 5, day)))
    return np.array(errors), held / number, told


@pytest.mark.parametrize(("people", "number", "most"), [(20, 150, 0.25), (250, 60, 0.08), (3000, 12, 0.03)])
def test_where_nothing_changes_forecasts_are_right_on_average_and_their_range_holds_mostly(
    people: int, number: int, most: float
) -> None:
    errors, held, _told = backtest(people, number, 0, 10)
    assert abs(errors.mean()) < 0.03
    assert np.quantile(np.abs(errors), 0.9) < most
    assert held > 0.5


@pytest.mark.parametrize(("people", "number"), [(20, 100), (250, 40)])
def test_in_an_organisation_that_grows_forecasts_are_too_low_and_say_by_how_much(people: int, number: int) -> None:
    errors, _held, told = backtest(people, number, 0.06, 10)
    assert -0.2 < errors.mean() < -0.05
    assert np.mean([np.mean(past) for past in told]) == pytest.approx(errors.mean(), abs=0.03)


def daily(first: date, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "date": first + timedelta(days=number),
            "is_complete": True,
            "api_actors": 9,
            "api_sessions": 10,
            "api_sessions_with_cost": 8,
            "api_cost_cents": Decimal(100),
            "charged_cents": None,
            "charged_actors": 0,
            "is_month_charged": False,
            **row,
        }
        for number, row in enumerate(rows)
    ]


def settings_until(last: date, **changes: Any) -> Settings:
    return Settings(first_day=last - timedelta(days=27), last_day=last, **changes)


def test_a_month_costs_its_known_days_up_to_the_last_one() -> None:
    rows = daily(FOUR_WEEKS_BEFORE, [{}] * 60)
    rows[30] |= {"is_complete": False}
    month = month_to_date(rows, settings_until(MONDAY + timedelta(days=3)))
    assert (month.to_date, month.until, month.known_share) == (Decimal(3), date(2026, 6, 4), 0.8)
    assert not month.is_over
    assert len(month.known_days) == 3


def test_what_is_charged_is_the_cost_where_it_is_known() -> None:
    charged = {"charged_cents": Decimal("12.5"), "charged_actors": 5, "is_month_charged": True}
    rows = daily(MONDAY, [charged, charged, {"is_month_charged": True}])
    month = month_to_date(rows, settings_until(MONDAY + timedelta(days=2)))
    assert month.is_charged
    assert (month.to_date, month.until) == (Decimal("0.25"), date(2026, 6, 2))
    rows[1] |= {"charged_actors": 4}
    assert month_to_date(rows, settings_until(MONDAY + timedelta(days=2))).until is None


def test_the_cost_of_days_of_few_people_cannot_be_told_from_reports_of_two_days() -> None:
    few = {"api_actors": 2, "api_cost_cents": Decimal(7)}
    rows = daily(FOUR_WEEKS_BEFORE, ([{}] * 5 + [few] * 2) * 6)
    shown = {}
    for number in range(14):
        period = Settings(first_day=FOUR_WEEKS_BEFORE, last_day=MONDAY + timedelta(days=number))
        month = month_to_date(rows, period)
        shown[number] = month.until and month.until.day
    # Up to the first Sunday nothing is shown, and then only whole weeks.
    assert shown == {**dict.fromkeys(range(6)), **dict.fromkeys(range(6, 13), 7), 13: 14}
    alone = month_to_date(rows, settings_until(MONDAY + timedelta(days=9), min_group_size=1))
    assert alone.until == date(2026, 6, 10)


def test_a_month_that_is_over_is_shown_whole_where_days_are_not() -> None:
    few = {"api_actors": 2, "api_cost_cents": Decimal(7)}
    rows = daily(FOUR_WEEKS_BEFORE, ([{}] * 5 + [few] * 2) * 9)
    month = month_to_date(rows, settings_until(date(2026, 6, 30)))
    assert month.is_over
    assert month.to_date == 22 + 8 * Decimal("0.07")
    # The report shows the cost of its last two days by themselves as well.
    assert month.series is not None
    assert month.series.buckets[-1] == [date(2026, 6, 29), date(2026, 6, 30)]
    rows[date(2026, 6, 30).toordinal() - FOUR_WEEKS_BEFORE.toordinal()] |= {"is_complete": False}
    assert month_to_date(rows, settings_until(date(2026, 6, 30))).until == date(2026, 6, 28)


def test_a_report_on_a_month_shows_its_cost_also_if_its_first_days_are_of_few_people() -> None:
    """August 2026 begins on a Saturday."""
    few = {"api_actors": 2, "api_cost_cents": Decimal(7)}
    rows = daily(date(2026, 7, 6), ([{}] * 5 + [few] * 2) * 9)
    august = Settings(first_day=date(2026, 8, 1), last_day=date(2026, 8, 31))
    month = month_to_date(rows, august)
    assert month.is_over
    assert month.to_date == 21 + 10 * Decimal("0.07")
    # Its sum is in no report on other days.
    for first in (date(2026, 7, 31), date(2026, 8, 2), date(2026, 8, 4)):
        assert month_to_date(rows, Settings(first_day=first, last_day=august.last_day)).since == date(2026, 8, 3)
    rows[40] |= {"is_complete": False}
    assert month_to_date(rows, august).until is None


def test_no_forecast_tells_what_days_cost_of_which_only_the_week_is_shown() -> None:
    """June ends on a Tuesday: the rest of it is not like a whole week."""

    def said(sunday: int) -> tuple[Any, ...]:
        week = [{"api_cost_cents": Decimal(1000 - sunday) / 6}] * 6
        week += [{"api_actors": 1, "api_cost_cents": Decimal(sunday)}]
        month = month_to_date(daily(MONDAY - timedelta(weeks=20), week * 24), settings_until(date(2026, 6, 28)))
        assert month.forecast
        return month.until, float(month.to_date or 0), month.forecast.amount, *month.past_errors

    assert said(900) == pytest.approx(said(10))
    # Four weeks and two sevenths of one.
    assert said(10)[1:3] == pytest.approx((40, 40 + 20 / 7))


def test_no_forecast_tells_what_a_week_of_few_people_before_the_report_cost() -> None:
    """Its range would be the cheapest of the last four weeks, and its errors those of months with such a week."""

    def said(cents: int) -> tuple[Any, ...]:
        rows = daily(MONDAY - timedelta(weeks=20), [{}] * 7 * 21)
        for week in (5, 18):
            for row in rows[7 * week : 7 * week + 7]:
                row |= {"api_actors": 4, "api_cost_cents": Decimal(cents)}
        month = month_to_date(rows, Settings(first_day=MONDAY, last_day=date(2026, 6, 7)))
        assert month.forecast
        return month.to_date, numbers(month.forecast), month.past_errors

    assert said(900) == said(10) == (7, about(30, 30, 30), pytest.approx([0, 0]))


def test_a_month_that_begins_with_days_of_few_people_is_shown_from_its_first_monday_on() -> None:
    few = {"api_actors": 2, "api_cost_cents": Decimal(7)}
    monday = date(2026, 1, 26)
    rows = daily(monday, ([{}] * 5 + [few] * 2) * 3)
    # February 2026 begins on a Sunday.
    month = month_to_date(rows, Settings(first_day=monday, last_day=date(2026, 2, 15)))
    assert (month.since, month.until, month.to_date) == (date(2026, 2, 2), date(2026, 2, 15), 10 + 4 * Decimal("0.07"))
    assert month.series is not None
    assert [len(bucket) for bucket in month.series.buckets] == [7, 7, 7]


def test_a_month_of_few_people_is_not_shown_and_does_not_hide_the_period() -> None:
    rows = daily(FOUR_WEEKS_BEFORE, [{}] * 28 + [{"api_actors": 1}])
    month = month_to_date(rows, settings_until(MONDAY))
    assert (month.until, month.to_date, month.forecast) == (None, None, None)
    assert month.series is not None
    assert month.series.buckets[-1][-1] == MONDAY

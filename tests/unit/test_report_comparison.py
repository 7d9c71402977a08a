"""A change is told apart from what a number does anyway; where nothing changes, hardly any change is marked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.comparison import Change, comparison_of, is_unusual, weekly_spread

E = math.e
WEEKDAYS = np.array([1, 1, 1, 1, 0.9, 0.08, 0.05])
"""How likely somebody who works with it does so on a Monday, Tuesday and so on."""


def span(name: str, days: int, people: int = 20, **values: Any) -> dict[str, Any]:
    counts = {"active_people": people, "counted_people": people, "api_actors": people, "subscription_actors": 0}
    counts |= {"api_people": people, "api_cost_people": people}
    return {"span": name, "days": days, **counts, "sessions": 0, **values}


def weeks(*sessions: float, newest: int = 1) -> list[dict[str, Any]]:
    """Return weeks before a period, the newest first."""
    return [span(f"week {number}", 7, sessions=total) for number, total in enumerate(sessions, newest)]


def change_of(spans: list[dict[str, Any]], length: int = 28, **settings: Any) -> Change | None:
    return comparison_of(length, spans, Settings(**settings)).change(lambda row: row["sessions"])


# Logarithms -1 and 1 in turn: their standard deviation is the square root of 6/5, or of 12/11.
SIX = [1 / E, E] * 3


def test_the_spread_is_the_standard_deviation_of_the_logarithms_of_weekly_totals() -> None:
    assert weekly_spread(SIX) == pytest.approx(math.sqrt(6 / 5))
    assert weekly_spread([5.0] * 9) == 0


@pytest.mark.parametrize(
    "totals",
    [
        pytest.param(SIX[:5], id="five weeks"),
        pytest.param([0, 0, *SIX[:5]], id="weeks before it was used"),
        pytest.param([*SIX, 0, *SIX], id="a week of nothing"),
        pytest.param([*SIX, None, *SIX], id="a week of an unknown total"),
        pytest.param([], id="no history"),
    ],
)
def test_nothing_is_known_from_fewer_than_six_weeks_or_with_one_of_nothing(totals: list[float | None]) -> None:
    assert weekly_spread(totals) is None


def test_weeks_before_the_first_use_are_no_weeks_of_nothing() -> None:
    assert weekly_spread([0, None, 0, *SIX]) == pytest.approx(math.sqrt(6 / 5))


@pytest.mark.parametrize(
    ("now", "before", "spread", "length", "unusual"),
    [
        # 2.3 x 0.1 x sqrt(2/4) = 0.1626, so from 100 up to 117.66 and down to 84.99 is usual.
        (117.6, 100, 0.1, 4, False),
        (117.7, 100, 0.1, 4, True),
        (85.0, 100, 0.1, 4, False),
        (84.9, 100, 0.1, 4, True),
        # 2.3 x 0.1 x sqrt(2/1) = 0.3253: up to 138.4.
        (138.4, 100, 0.1, 1, False),
        (138.5, 100, 0.1, 1, True),
        (100, 100, 0.0, 4, False),
        (0, 100, 0.1, 4, True),
        (100, 0, 0.1, 4, None),
        (100, 0.0001, None, 4, None),
        (900, 100, 0.1, 0.5, None),
    ],
)
def test_a_change_is_unusual_beyond_the_spread_of_two_such_sums(
    now: float, before: float, spread: float | None, length: float, unusual: bool | None
) -> None:
    assert is_unusual(now, before, spread, length) is unusual


def test_sums_of_the_paired_days_are_compared_whatever_the_other_days_hold() -> None:
    spans = [span("period", 28, sessions=999), span("now", 26, sessions=300), span("before", 26, sessions=100)]
    assert change_of([*spans, *weeks(*[50] * 12)]) == Change(300, 100, True)
    assert change_of([*spans, *weeks(*[50] * 5)]) == Change(300, 100, None)
    assert change_of([*spans, *weeks(*[50] * 6, newest=7)]) == Change(300, 100, True)


@pytest.mark.parametrize(("days", "is_compared"), [(20, True), (19, False), (0, False)])
def test_nothing_is_compared_on_less_than_seven_tenths_of_the_days(days: int, is_compared: bool) -> None:
    spans = [span("now", days, sessions=3), span("before", days, sessions=2)]
    assert (change_of(spans) is not None) == is_compared


def test_what_is_left_out_of_a_comparison_is_not_that_of_few_people() -> None:
    paired = [span("now", 27, sessions=90), span("before", 27, sessions=60)]
    in_weeks = [span("now in weeks", 21, sessions=70), span("before in weeks", 21, sessions=50)]
    sunday, week = span("left out before", 1, people=2), span("left out before in weeks", 7, people=15)
    assert change_of([*paired, *in_weeks, week]) == Change(90, 60, None)
    assert change_of([*paired, *in_weeks, sunday, week]) == Change(70, 50, None)
    assert change_of([*paired, *in_weeks, sunday, week], min_group_size=2) == Change(90, 60, None)
    assert change_of([*paired, *in_weeks, sunday, {**week, "counted_people": 4}]) is None
    assert change_of([*paired, *in_weeks, {**week, "span": "left out", "api_actors": 4}]) == Change(70, 50, None)


def test_sums_of_few_people_are_not_compared_and_sums_of_nobody_are_0() -> None:
    now, few = span("now", 28, sessions=90), span("before", 28, people=4, sessions=60)
    assert change_of([now, few]) is None
    assert change_of([now, few], min_group_size=4) == Change(90, 60, None)
    nobody = span("before", 28, people=0, sessions=None)
    change = change_of([now, nobody])
    assert change == Change(90, 0, None)
    assert change is not None
    assert change.relative is None


def test_parts_of_different_size_are_not_compared() -> None:
    comparison = comparison_of(28, [span("now", 28, sessions=3), span("before", 28, sessions=2)], Settings())
    for shares, is_compared in (((0.66, 0.55), True), ((0.82, 0.66), False), ((1.0, None), False)):
        known = dict(zip(("now", "before"), shares, strict=True))
        change = comparison.change(lambda row: row["sessions"], lambda row, known=known: known[row["span"]])
        assert (change is not None) == is_compared


class Simulated:
    """
    The days of a made-up organisation in which nothing changes: people differ widely, work on some weekdays, are away
    for weeks, and do much on some days.
    """

    def __init__(self, people: int, weeks: int, random: np.random.Generator) -> None:
        days = weeks * 7
        weekdays = WEEKDAYS[np.arange(days) % 7]
        here = random.random((people, days)) < random.beta(4, 2, (people, 1)) * weekdays
        away = random.random((people, weeks)) < 0.06
        # Every other absence lasts two weeks.
        away[:, 1:] |= away[:, :-1] & (random.random((people, weeks - 1)) < 0.5)
        self.here = here & ~np.repeat(away, 7, axis=1)
        effort = np.exp(random.normal(0, 1, (people, 1)))
        self.costs = effort * np.exp(random.normal(0, 1, (people, days))) * self.here
        self.pull_requests = random.poisson(np.exp(random.normal(-1.5, 1, (people, 1))) * self.here)


MEASURES: dict[str, Callable[[Any, Any, Any], float]] = {
    "active people": lambda here, costs, pull_requests: here.any(axis=1).sum(),
    "cost": lambda here, costs, pull_requests: costs.sum(),
    "cost per person and day": lambda here, costs, pull_requests: costs.sum() / here.sum(),
    "pull requests": lambda here, costs, pull_requests: pull_requests.sum(),
    "pull requests per person": lambda here, costs, pull_requests: pull_requests.sum() / here.any(axis=1).sum(),
}


def simulated_verdicts(people: int, number: int, factor: float, length: int) -> dict[str, list[bool | None]]:
    """Judge the last days of made-up organisations, whose costs and pull requests are changed by a factor."""
    random = np.random.default_rng(20260301)
    verdicts: dict[str, list[bool | None]] = {name: [] for name in MEASURES}
    shift = -(-length // 7) * 7
    for _ in range(number):
        organization = Simulated(people, 12 + shift // 7, random)
        organization.costs[:, 84:] *= factor
        organization.pull_requests[:, 84:] = np.round(organization.pull_requests[:, 84:] * factor)

        def values(first: int, days: int, organization: Simulated = organization) -> tuple[Any, ...]:
            them = (organization.here, organization.costs, organization.pull_requests)
            return tuple(values[:, first : first + days] for values in them)

        for name, measure in MEASURES.items():
            spread = weekly_spread([float(measure(*values(7 * week, 7))) for week in range(12)])
            now, before = (float(measure(*values(first, length))) for first in (84, 84 - shift))
            verdicts[name].append(is_unusual(now, before, spread, length / 7))
    return verdicts


@pytest.mark.parametrize(("people", "number"), [(20, 300), (250, 120), (3000, 40)])
@pytest.mark.parametrize("length", [28, 30, 7])
def test_at_most_a_tenth_of_the_changes_are_marked_where_nothing_changes(people: int, number: int, length: int) -> None:
    for name, verdicts in simulated_verdicts(people, number, 1, length).items():
        assert verdicts.count(None) <= number * 0.02, name
        assert verdicts.count(True) <= number * 0.1, (name, verdicts.count(True))


@pytest.mark.parametrize(("people", "number", "power"), [(20, 200, 0.75), (250, 60, 0.98), (3000, 15, 1)])
def test_a_doubling_is_marked(people: int, number: int, power: float) -> None:
    verdicts = simulated_verdicts(people, number, 2, 28)
    assert verdicts.pop("active people").count(True) == 0
    for name, found in verdicts.items():
        assert found.count(True) >= number * power, (name, found.count(True))

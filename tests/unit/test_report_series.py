"""A series of a report is as fine as it can be without a point that shows what a few people did."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.report.series import Series, series_of

MONDAY = date(2026, 3, 2)


def active(*counts: int, first: date = MONDAY) -> dict[date, int]:
    return {first + timedelta(days=number): count for number, count in enumerate(counts)}


def shown(series: Series | None) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the grain, and the first and last day of each point, counted from the Monday."""
    if series is None:
        return None
    return series.grain, [((days[0] - MONDAY).days, (days[-1] - MONDAY).days) for days in series.buckets]


def test_days_are_shown_where_nobody_or_enough_people_were_active_on_each() -> None:
    assert shown(series_of(active(5, 0, 7), 5)) == ("day", [(0, 0), (1, 1), (2, 2)])
    assert shown(series_of(active(1, 0, 4), 1)) == ("day", [(0, 0), (1, 1), (2, 2)])


def test_a_day_of_few_people_makes_weeks_of_all_days() -> None:
    weeks = active(9, 9, 9, 9, 9, 4, 0, 9, 9, 9, 9, 9, 0, 0)
    assert shown(series_of(weeks, 5)) == ("week", [(0, 6), (7, 13)])


def test_a_part_of_a_week_that_shows_few_people_leaves_the_sum() -> None:
    saturday = active(2, 1, 9, 9, 9, 9, 9, 0, 0, first=MONDAY - timedelta(days=2))
    assert shown(series_of(saturday, 5)) == ("period", [(-2, 6)])
    friday = active(8, 1, 1, 9, 9, 9, 9, 9, 0, 0, first=MONDAY - timedelta(days=3))
    assert shown(series_of(friday, 5)) == ("week", [(-3, -1), (0, 6)])


def test_days_are_not_shown_where_that_is_said() -> None:
    assert shown(series_of(active(9, 9), 5, by_day=False)) == ("week", [(0, 1)])


def test_a_week_of_few_people_leaves_the_sum_and_too_few_people_leave_nothing() -> None:
    assert shown(series_of(active(*[9] * 7, *[3] * 7), 5)) == ("period", [(0, 13)])
    assert series_of(active(*[4] * 14), 5) is None


def test_a_point_and_the_days_that_it_leaves_out_each_need_enough_people() -> None:
    days = active(*[9] * 9, 2, *[9] * 4)
    assert shown(series_of(days, 5)) == ("week", [(0, 6), (7, 13)])
    # The sum of all days less those of the weeks would be that of the two people.
    assert series_of(days, 5, unknown=[MONDAY + timedelta(days=9)]) is None
    assert shown(series_of(days, 5, unknown=[MONDAY + timedelta(days=number) for number in (8, 9)])) is not None
    assert series_of(days, 5, unknown=[day for day in days if days[day] == 9]) is None


def test_no_point_reaches_over_a_cut() -> None:
    cut = MONDAY + timedelta(days=9)
    days = active(9, 9, 9, 9, 9, 1, 0, 9, 9, 9, 9, 9, 0, 0)
    series = series_of(days, 5, cuts=[cut])
    assert shown(series) == ("week", [(0, 6), (7, 8), (9, 13)])
    assert series is not None
    assert shown(series.within(cut, MONDAY + timedelta(days=13))) == ("week", [(9, 13)])
    # From the cut on few people were active, so its sum cannot be shown beside that of all days.
    assert series_of(active(*[9] * 9, 2, 1), 5, cuts=[cut]) is None


@given(
    counts=st.lists(st.sampled_from([0, 1, 4, 5, 20]), min_size=1, max_size=70),
    offset=st.integers(0, 6),
    cuts=st.sets(st.integers(0, 69), max_size=2),
    size=st.sampled_from([1, 2, 5]),
)
def test_every_day_is_in_one_point_and_each_point_has_nobody_or_enough(
    counts: list[int], offset: int, cuts: set[int], size: int
) -> None:
    days = active(*counts, first=MONDAY + timedelta(days=offset))
    first = next(iter(days))
    at = {first + timedelta(days=cut) for cut in cuts}
    series = series_of(days, size, at)
    if series is None:
        assert size > 1
        return
    assert [day for bucket in series.buckets for day in bucket] == list(days)
    for bucket in series.buckets:
        assert max(days[day] for day in bucket) not in range(1, size)
        assert not at & set(bucket[1:])

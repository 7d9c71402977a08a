"""What a report compares and what a month costs is what the records say; a budget that is reached is found once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.queries import Settings, parts
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from tests.fixtures.analytics_data import (
    ago,
    assert_same,
    corners,
    key,
    over_memory,
    record,
    sandbox_tables,
    united_organizations,
)
from tests.fixtures.charges_data import Books, charge, charged_of_all_kinds, user
from tests.fixtures.records import model
from tests.truth import comparison as truth
from tests.truth.analytics import World

pytestmark = pytest.mark.newest_only

Rows = list[dict[str, Any]]
PERIODS = [(ago(29), ago(2)), (ago(31), ago(2)), (ago(3), ago(3)), (ago(40), ago(11))]


def read(tables: Mapping[str, pa.Table], name: str, settings: Settings) -> Rows:
    rows: Rows = over_memory(tables, settings).read(name).to_pylist()
    return rows


def world_of(tables: Mapping[str, pa.Table]) -> World:
    return World(now=datetime.now(UTC), **{name: table.to_pylist() for name, table in tables.items()})


def columns(name: str, *more: str) -> list[str]:
    return [*parts()[name].columns, *more]


def with_holes() -> dict[str, pa.Table]:
    """Load half a year with both customer types and euros. Some days are missing, and some were loaded too early."""
    books = Books()
    for number in range(130):
        if number in (3, 17, 60, 61, 100):
            continue
        people = [
            record(f"p{each}", sessions=1 + each, pull_requests=each % 3, models=[model(each + number)] * (each % 2))
            for each in range(number % 9)
        ]
        people += [record("p1", sessions=2, customer_type="subscription", models=[model(5)])]
        people += [record("abroad", sessions=3, models=[model(7, currency="EUR")]), record(actor=key("ci"), sessions=1)]
        books.load("acme", ago(number), people, complete=number not in (5, 33))
    books.load("once", ago(8), [record(sessions=1, models=[model(1)])])
    return books.tables()


HISTORIES: dict[str, Callable[[], dict[str, pa.Table]]] = {
    "corners": corners,
    "sandbox": sandbox_tables,
    "united": united_organizations,
    "holes": with_holes,
}


@pytest.mark.parametrize(
    ("history", "period"),
    [*((history, PERIODS[0]) for history in HISTORIES), *(("holes", period) for period in PERIODS[1:])],
)
def test_a_report_compares_what_a_plain_computation_says(history: str, period: tuple[date, date]) -> None:
    tables = HISTORIES[history]()
    settings = Settings(first_day=period[0], last_day=period[1])

    found = read(tables, "comparison_totals", settings)

    expected = list(truth.comparison_totals(world_of(tables), *period))
    assert_same(found, expected, columns("comparison_totals"))


@pytest.mark.parametrize("history", HISTORIES)
def test_what_is_known_of_costs_is_what_a_plain_computation_says(history: str) -> None:
    tables = HISTORIES[history]()
    world = world_of(tables)
    first, last = PERIODS[0]
    settings = Settings(first_day=first, last_day=last)
    before = timedelta(days=28)
    with_days = {row["period_start"] for row in read(tables, "periods", settings)}

    expected = list(truth.period_costs(world, [(first, last), (first - before, last - before)]))
    assert with_days >= {row["period_start"] for row in expected}
    assert_same(read(tables, "period_costs", settings), expected, columns("period_costs"))
    assert_same(read(tables, "daily_cost", settings), list(truth.daily_cost(world)), columns("daily_cost"))


MARCH = date(2026, 3, 1)


def spent(*days: tuple[int | None, int | None], first: date = MARCH, unknown: int = 0) -> Books:
    """Load days from the first of a month on with an estimate and a charge in dollars; None is not loaded."""
    books = Books()
    for number, (estimate, charged) in enumerate(days):
        day = first + timedelta(days=number)
        if estimate is not None:
            records = [record(sessions=10, models=[model(estimate * 100)]), record("bob", sessions=unknown)]
            books.load("acme", day, records if estimate else [])
        if charged is not None:
            books.charge("acme", day, [charge(user(1, "ann@example.com"), charged * 200, charged * 100)])
    return books


def budget_findings(books: Books, **settings: Any) -> list[tuple[str, date]]:
    """Return what the check finds: the first words, and the day."""
    chosen = Settings(**{"monthly_budget_cents": 100_00} | settings)
    rows = read(books.tables(), "check_budget", chosen)
    return sorted((row["finding"].partition(" % of")[0], row["date"]) for row in rows)


def march(day: int) -> date:
    return date(2026, 3, day)


REACHED = "The cost of the month reached "
DOUBTFUL = "Cannot judge whether the cost of the month reached "


def test_each_share_of_a_budget_is_dated_the_day_on_which_the_cost_reached_it() -> None:
    books = spent(*[(16, None)] * 7)
    # 16 dollars a day: 80 on the fifth, 96 on the sixth, 112 on the seventh.
    assert budget_findings(books) == [(f"{REACHED}100", march(7)), (f"{REACHED}80", march(5))]
    assert budget_findings(books, budget_percents=(50,)) == [(f"{REACHED}50", march(4))]
    assert budget_findings(books, monthly_budget_cents=80_01, budget_percents=(100,)) == [(f"{REACHED}100", march(6))]
    assert budget_findings(books, monthly_budget_cents=0) == []


def test_the_finding_stays_the_same_as_days_are_added_and_whatever_the_period() -> None:
    found = budget_findings(spent(*[(16, None)] * 6))
    assert found == [(f"{REACHED}80", march(5))]
    later = spent(*[(16, None)] * 6, *[(0, None)] * 40)
    assert budget_findings(later) == found
    assert budget_findings(later, first_day=date(2026, 4, 1), last_day=date(2026, 4, 3)) == found


def test_a_month_begins_anew() -> None:
    books = spent(*[(50, None)] * 4, first=date(2026, 2, 27))
    assert budget_findings(books) == [
        (f"{REACHED}100", date(2026, 2, 28)),
        (f"{REACHED}100", march(2)),
        (f"{REACHED}80", date(2026, 2, 28)),
        (f"{REACHED}80", march(2)),
    ]


def test_a_finding_says_the_numbers_and_the_known_share() -> None:
    books = spent(*[(16, None)] * 6, unknown=5)
    rows = read(books.tables(), "data_quality", Settings(monthly_budget_cents=100_00))
    assert [row for row in rows if row["check_name"] == "budget" and row["finding"].startswith(REACHED)] == [
        {
            "check_name": "budget",
            "date": march(5),
            "organization_id": "acme",
            "table_name": "model_usage",
            "finding": "The cost of the month reached 80 % of the monthly budget of $100.00: by 2026-03-05 at least "
            "$80.00; the cost of 66 % of the sessions is known. See model_costs and cost_allocation.",
        }
    ]


def test_where_too_little_is_known_it_cannot_be_judged_from_the_day_on_which_the_share_may_have_been_reached() -> None:
    # The cost of two thirds of the sessions is known, so 16 dollars a day may be 24: 96 on day four, 120 on day five.
    assert budget_findings(spent(*[(16, None)] * 7, unknown=5)) == [
        (f"{DOUBTFUL}100", march(5)),
        (f"{DOUBTFUL}80", march(4)),
        (f"{REACHED}100", march(7)),
        (f"{REACHED}80", march(5)),
    ]
    # Of 95 % it is judged.
    books = spent(*[(9, None)] * 10, unknown=0)
    assert budget_findings(books) == [(f"{REACHED}80", march(9))]


def test_where_no_cost_is_known_at_all_it_cannot_be_judged_after_a_week() -> None:
    books = Books()
    for day in range(1, 10):
        books.load("acme", march(day), [record(sessions=4)])
    assert budget_findings(books) == [(f"{DOUBTFUL}100", march(7)), (f"{DOUBTFUL}80", march(7))]


def test_a_cost_in_another_currency_is_not_known() -> None:
    books = Books()
    for day in range(1, 10):
        books.load("acme", march(day), [record(sessions=4, models=[model(1000_00, currency="EUR")])])
    assert budget_findings(books) == [(f"{DOUBTFUL}100", march(7)), (f"{DOUBTFUL}80", march(7))]


def test_subscriptions_cost_nothing_by_use() -> None:
    books = Books()
    books.load("acme", MARCH, [record(sessions=4, customer_type="subscription", models=[model(1000_00)])])
    assert budget_findings(books) == []


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_charges_take_the_place_of_the_estimate_and_are_dated_a_day_later(lag: int) -> None:
    # What is charged is 10 dollars a day: 80 on the eighth. The newest charges are not there yet.
    days = [(16, 10)] * 9 + [(16, None)] * lag
    assert budget_findings(spent(*days)) == [(f"{REACHED}80", march(9))]
    (row,) = read(spent(*days).tables(), "check_budget", Settings(monthly_budget_cents=100_00))
    assert row["finding"].endswith("by 2026-03-08 $80.00 was charged. See model_costs and cost_allocation.")


def test_without_the_charges_of_a_day_the_estimate_is_the_cost() -> None:
    missing: Sequence[tuple[int | None, int | None]] = [(16, 10)] * 3 + [(16, None)] + [(16, 10)] * 5
    expected = [(f"{REACHED}100", march(7)), (f"{REACHED}80", march(5))]
    assert budget_findings(spent(*missing)) == expected
    assert budget_findings(spent(*[(16, 10)] * 6, *[(16, None)] * 3)) == expected, "charges have stopped"


def test_the_days_before_a_month_show_in_its_first_days_whether_charges_are_loaded() -> None:
    february = date(2026, 2, 25)
    for lag, days in ((1, 5), (2, 6)):
        books = spent(*[(16, 10)] * (days - lag), *[(90, None)] * lag, first=february)
        assert budget_findings(books, monthly_budget_cents=85_00) == []
    books = spent(*[(16, None)] * 4, (90, None), first=february)
    assert budget_findings(books, monthly_budget_cents=85_00) == [(f"{REACHED}100", MARCH), (f"{REACHED}80", MARCH)]


def test_charges_in_another_currency_or_without_claude_code_are_not_taken_for_the_cost() -> None:
    def days(**arguments: Any) -> Rows:
        books = spent(*[(16, None)] * 4)
        for number in range(3):
            currency = arguments.get("currency", "USD")
            entries = [charge(user(1, "ann@example.com"), 1000, currency=currency, product=arguments["product"])]
            books.charge("acme", march(number + 1), entries, products=(arguments["product"],))
        rows = read(books.tables(), "daily_cost", Settings())
        return [row for row in sorted(rows, key=lambda row: row["date"]) if row["date"] <= march(4)]

    assert [row["charged_cents"] for row in days(product="claude_code")] == [Decimal(1000)] * 3 + [None]
    assert all(row["charged_cents"] is None for row in days(product="claude_code", currency="EUR"))
    assert all(row["charged_cents"] is None for row in days(product="chat"))


def test_an_organisation_with_charges_and_without_usage_has_a_budget() -> None:
    books = Books()
    for number in range(9):
        books.charge("acme", march(number + 1), [charge(user(1, "ann@example.com"), 1000)])
    assert budget_findings(books) == [(f"{REACHED}80", march(9))]


def test_only_what_is_charged_for_claude_code_is_its_cost() -> None:
    books = charged_of_all_kinds()
    (day,) = [row for row in read(books.tables(), "daily_cost", Settings()) if row["api_sessions"]]
    assert day["charged_cents"] is None, "there is a charge in euros"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monthly_budget_cents": -1}, "monthly_budget_cents is -1"),
        ({"monthly_budget_cents": True}, "monthly_budget_cents is True"),
        ({"monthly_budget_cents": 1.5}, "monthly_budget_cents is 1.5"),
        ({"budget_percents": ()}, "budget_percents is"),
        ({"budget_percents": (0.8,)}, "budget_percents is"),
        ({"budget_percents": (80, 0)}, "budget_percents is"),
    ],
)
def test_budgets_that_cannot_be_used_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=message):
        replace(Settings(), **settings)

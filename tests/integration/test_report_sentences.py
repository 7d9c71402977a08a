"""What a report says in words is what its numbers say. Numbers are by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report import make_report
from airflow_provider_claude_code.analytics.report.wording import NOTHING
from tests.fixtures.analytics_data import MAPPING, History, key, mapped, over_memory, record
from tests.fixtures.charges_data import Books, charge, used, user
from tests.fixtures.records import Json, model

pytestmark = pytest.mark.newest_only

MINUS = "\u2212"
MONDAY = date(2026, 2, 2)
PEOPLE = [f"p{number}@example.com" for number in range(6)]


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


FOR_EVER = 1_000_000
"""Hours for which no check says that the days of the tests are old."""


def settings(first: date = MONDAY, length: int = 7, **others: Any) -> Settings:
    return Settings(first_day=first, last_day=first + timedelta(days=length - 1), **others)


def everybody(*amounts: Any, **changes: Any) -> list[Json]:
    return [used(person, *amounts, **changes) for person in PEOPLE]


class Said:
    """What a report shows: its texts and cells."""

    def __init__(
        self,
        history: History,
        asked: Settings,
        mapping: Iterable[Mapping[str, Any]] = (),
        assumptions: Mapping[str, Any] | None = None,
    ) -> None:
        tables = history.tables()
        if mapping:
            tables |= {"mapping": pa.Table.from_pylist(list(mapping), MAPPING)}
        made = make_report(
            over_memory(tables, asked),
            asked,
            assumptions=Assumptions.parse(assumptions or {}),
            generated_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
        shown = json.loads(made.json)
        self.texts = [text["text"].replace("\u00a0", " ") for text in shown["texts"]]
        self.cells = shown["cells"]
        self.headline = made.headlines[0]
        self.html = made.html

    def text(self) -> str:
        return "\n".join(self.texts)

    def rows(self, table: str) -> dict[str, list[str]]:
        """Return the cells of the rows of the tables whose captions begin so."""
        rows: dict[str, list[str]] = {}
        for cell in self.cells:
            if cell["table"].replace("\u00a0", " ").startswith(table):
                rows.setdefault(cell["row"].replace("\u00a0", " "), []).append(cell["value"].replace("\u00a0", " "))
        return rows


def test_what_only_machines_use_of_the_api_is_its_cost() -> None:
    history = History()
    for day in days(MONDAY, 7):
        people = [record(person, sessions=1, customer_type="subscription", models=[model(5)]) for person in PEOPLE]
        history.load("acme", day, [*people, used(None, 1000, actor=key("ci"))])

    said = Said(history, settings(), [{**mapped("ci", "ops", None), "actor_type": "machine"}])

    assert said.headline["api_cost_usd"] == "70"
    tiles = said.rows("tiles")
    assert tiles["API cost"][0] == tiles["Feb 2026 to date"][0] == "$70.00"
    assert tiles["API cost per person and day of API usage"] == [NOTHING, "no API usage of people"]
    assert "API usage cost $70.00" in said.text()
    assert "no API usage, so" not in said.text()


@pytest.mark.parametrize(
    ("cents", "weeks", "advice"),
    [
        # $42 in a week: nothing is known of the weekdays yet that a forecast needs.
        (100, 1, "To do: the month has cost more than its budget"),
        # $21 in half of February, with a budget of $40.
        (25, 2, "To do: the month is likely to cost more than its budget"),
        (1, 2, "Nothing needs attention"),
    ],
)
def test_a_month_that_costs_more_than_its_budget_needs_attention(cents: int, weeks: int, advice: str) -> None:
    history = History()
    for day in days(MONDAY, 7 * weeks):
        history.load("acme", day, everybody(cents))

    said = Said(history, settings(length=7 * weeks, monthly_budget_cents=4000, max_age_hours=FOR_EVER))

    assert advice in said.text()


def test_no_finding_says_what_the_days_of_few_people_cost() -> None:
    """A finding about the budget quotes the cost up to a day, and the report shows only whole weeks."""
    history = History()
    for day in days(MONDAY - timedelta(weeks=4), 35):
        history.load("acme", day, everybody(100)[: 1 if day.weekday() > 4 else None])

    said = Said(history, settings(monthly_budget_cents=3100, max_age_hours=FOR_EVER))

    assert "$32.00 from 2 Feb to 8 Feb, 103.2 % of the budget of $31.00" in said.text()
    assert said.rows("What the checks found") == {}


def test_what_few_people_accepted_is_no_rate_of_all() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, [used(PEOPLE[0], 100, tools={"edit_tool": (3, 1)}), *everybody(100)[1:]])

    said = Said(history, settings())

    assert said.rows("Sums of the period")["Acceptance rate"][0] == NOTHING
    assert said.headline["acceptance_rate"] is None


def test_what_costs_something_without_a_session_is_a_known_cost() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, [*everybody(), *(record(name, models=[model(100)]) for name in PEOPLE)])

    said = Said(history, settings())

    assert said.rows("tiles")["Feb 2026 to date"][0] == "at least $42.00"


def test_a_month_of_which_days_are_not_loaded_does_not_look_as_if_its_cost_were_known_so_far() -> None:
    history = History()
    # The first eight days are missing. Six people at 10 cents a day on 19 days are $11.40, and on 28 days $16.80.
    for day in days(MONDAY + timedelta(days=7), 19):
        history.load("acme", day, everybody(10))

    said = Said(history, settings(date(2026, 2, 16), 12, max_age_hours=FOR_EVER))

    assert "Feb 2026 cost $11.40 by 27 Feb (8 days unknown), forecast $16.80." in said.text()
    assert said.rows("tiles")["Feb 2026 to date"] == ["$11.40", "by 27 Feb (8 days unknown); forecast $16.80"]


def test_a_short_period_does_not_look_as_if_charges_and_members_were_not_loaded() -> None:
    books = Books()
    for day in days(MONDAY, 7):
        books.load("acme", day, everybody(100))
        books.charge("acme", day, [charge(user(number, person), 100) for number, person in enumerate(PEOPLE)])
        books.snapshot(day, {f"user_{number}": person for number, person in enumerate(PEOPLE)})

    # Breakdowns are of whole weeks, and members of the last snapshot of a week.
    said = Said(books, settings(length=3))

    assert "Data: 3 of 3 days loaded completely; " in said.text()
    assert "of this period are loaded" not in said.text()


def test_a_block_of_7_days_is_named_by_its_own_end() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, everybody(100))

    said = Said(history, settings(length=14))

    assert "6 people in the 7 days to 8 Feb 2026." in said.text()
    assert said.rows("Blocks of 7 days")["9 Feb to 15 Feb 2026"] == ["0 of 7", "not loaded", "not loaded"]


def test_all_kinds_of_actors_are_in_the_known_cost() -> None:
    history = History()
    kinds = {"service_actor": 200, "federated_actor": 300}
    others = [
        used(None, cents, actor={"type": kind, "id": str(number)})
        for kind, cents in kinds.items()
        for number in range(6)
    ]
    history.load("acme", MONDAY, [*everybody(100), *others])

    said = Said(history, settings(length=1))

    rows = said.rows("Estimates by who used what")
    assert {name: cells[2] for name, cells in rows.items()} == {
        "API cost: People": "$6.00",
        "API cost: others": "$30.00",
    }
    assert said.headline["api_cost_usd"] == "36"


def test_keys_that_do_nothing_do_not_hide_what_few_keys_do() -> None:
    history = History()
    for day in days(MONDAY, 7):
        idle = [record(actor=key(f"k{number}")) for number in range(4)]
        history.load("acme", day, [*everybody(100), *idle, record(actor=key("busy"), sessions=3)])

    known = Said(history, settings()).rows("Estimates by who used what")

    assert known["API cost: people and API keys"][0] == str(7 * (6 + 3))
    assert len(known) == 1


def test_sessions_of_one_kind_do_not_tell_those_of_few_people_of_another() -> None:
    history = History()
    for day in days(MONDAY, 7):
        seats = [record(f"s{number}", sessions=9, customer_type="subscription") for number in range(2)]
        history.load("acme", day, [*everybody(100), *seats])

    said = Said(history, settings())

    assert said.rows("Sums of the period")["Sessions"][0] == str(7 * (6 + 2 * 9))
    known = said.rows("Estimates by who used what")
    assert known == {"API cost: People": [NOTHING, "100.0 %", "$42.00", "$42.00"]}


def test_a_month_that_is_charged_is_not_said_to_be_estimated() -> None:
    """A period of a few days has no comparison of charges with the estimate."""
    books = Books()
    for day in days(MONDAY - timedelta(days=1), 7):
        books.load("acme", day, everybody(100))
        books.charge("acme", day, [charge(user(number, name), 150) for number, name in enumerate(PEOPLE)])

    said = Said(books, settings(length=3))

    assert said.rows("tiles")["Feb 2026 to date, charged"][0] == "$36.00"
    assert "Feb 2026 cost $36.00 (charged) by 4 Feb" in said.text()
    assert "All amounts are estimates in US dollars, except at list prices and charged." in said.text()


def test_groups_are_not_compared_with_a_week_of_which_more_is_charged() -> None:
    books = Books()
    week, loaded = days(MONDAY + timedelta(days=7), 7), days(MONDAY, 14)
    for day in loaded:
        books.load("acme", day, everybody(100))
        # Charges of a Sunday are not complete on Monday.
        if day != loaded[-1]:
            books.charge("acme", day, [charge(user(number, person), 100) for number, person in enumerate(PEOPLE)])
    mapping = [mapped(person, "red", None) for person in PEOPLE]

    said = Said(books, settings(week[0]), mapping)

    assert said.rows("API cost by group, against the week before") == {"red": [NOTHING, "6", "6", "$42.00", "$42.00"]}
    assert said.rows("Charged by group, 9 Feb") == {"red": [NOTHING, "6", "0", "$36.00"]}
    assert said.rows("Charged by group, against the week before") == {}
    assert "Charges by group are not compared with the week before: not all days of both have charges." in said.text()

    books.charge("acme", loaded[-1], [charge(user(number, person), 100) for number, person in enumerate(PEOPLE)])
    assert Said(books, settings(week[0]), mapping).rows("Charged by group, against the week before") == {
        "red": [NOTHING, "6", "6", "$42.00", "$42.00"]
    }


def test_a_cost_is_0_and_not_unknown_where_nothing_was_used() -> None:
    history = History()
    for day in days(MONDAY - timedelta(days=7), 14):
        subscribed = [record(person, sessions=1, customer_type="subscription", models=[model(50)]) for person in PEOPLE]
        history.load("acme", day, everybody(100) if day >= MONDAY else subscribed)

    said = Said(history, settings())

    assert said.rows("tiles")["API cost"] == ["$42.00", "new: 0 before"]
    assert said.rows("Sums of the period")["Subscription value (not billed)"] == [
        "none",
        f"{MINUS}100.0 % from $21.00; too little history to say whether that is usual",
    ]


def test_a_cost_is_0_and_not_unknown_before_anybody_used_anything() -> None:
    history = History()
    for day in days(MONDAY - timedelta(days=7), 14):
        history.load("acme", day, everybody(100) if day >= MONDAY else [])

    said = Said(history, settings())

    assert said.rows("tiles")["API cost"] == ["$42.00", "new: 0 before"]
    assert said.rows("Sums of the period")["Subscription value (not billed)"] == ["none", "also 0 before"]


def test_what_the_checks_found_needs_attention() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, everybody(100))
    assert "Nothing needs attention." in Said(history, settings(max_age_hours=FOR_EVER)).text()

    history.load("acme", MONDAY, everybody(100)[1:], hours=3)

    text = Said(history, settings(max_age_hours=FOR_EVER)).text()
    assert "The newest load has fewer records than an earlier one on 2 Feb 2026" in text
    assert "To do: see in Data health what the checks found." in text
    assert "Nothing needs attention." not in text


def test_a_table_says_that_it_has_not_all_terminals() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, [record(sessions=1, terminal_type=f"terminal {number:02}") for number in range(14)])

    said = Said(history, settings(min_group_size=1))

    rows = said.rows("People by terminal type (the first 12 of 14)")
    assert list(rows) == [f"terminal {number:02}" for number in range(12)]


def test_a_cost_per_result_is_not_unknown_where_there_is_no_result() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, everybody(100, commits=1))

    rows = Said(history, settings()).rows("What people's work cost per result")

    assert rows["per commit"] == ["$1.00"]
    assert rows["per pull request"] == rows["per 1,000 lines added"] == [NOTHING]


def test_days_that_are_withheld_in_a_week_that_is_not_over_are_not_said_to_be_of_few_people() -> None:
    history = History()
    for day in days(MONDAY, 3):
        history.load("acme", day, everybody(100))

    text = Said(history, settings(length=3)).text()

    assert "Not shown by day: on one of the days too few people worked, or the week or month is not over." in text
    assert "Per week, since on some days fewer than 5 people had a cost, or the week or month is not over." in text


def test_forecasts_are_tested_on_the_days_before_a_gap() -> None:
    history = History()
    gap = days(date(2026, 2, 8), 14)
    for day in days(date(2026, 1, 1), 160):
        if day not in gap:
            history.load("acme", day, everybody(100))

    # Every day costs the same, and the first three months before June begin with March.
    text = Said(history, settings(date(2026, 6, 1))).text()

    assert "On day 7 of the last 3 months, the same forecast was wrong by ±0.0 %, ±0.0 % and ±0.0 %." in text


def test_the_chart_of_a_month_writes_its_cost_in_dollars() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, everybody(1))

    said = Said(history, settings(monthly_budget_cents=123_456))

    chart = said.html.partition('aria-label="Cost of Feb')[2].partition("</svg>")[0]
    assert {"so far $0.42", "budget $1,235"} <= set(re.findall(r">([a-z ]+\$[\d.,]+)<", chart))


def test_what_is_not_known_exactly_is_not_less_than_what_is_known() -> None:
    history = History()
    # 6 people on 20 working days of February; its last day is a Saturday, which costs nothing.
    for day in days(date(2026, 1, 5), 54):
        weekend = day.weekday() >= 5
        history.load("acme", day, [] if weekend or day < MONDAY - timedelta(days=14) else everybody(1195.2))

    said = Said(history, settings(date(2026, 2, 16), 12))

    assert said.headline["month_to_date_usd"] == "1434.24"
    assert said.headline["month_forecast_usd"] == pytest.approx(1434.24)
    assert "cost $1,434.24 by 27 Feb, forecast $1,434." in said.text().replace("\u00a0", " ")
    # All of it is known.
    assert said.rows("Estimates by who used what")["API cost: People"][2:] == ["$717.12", "$717.12"]


def test_a_report_on_a_month_does_not_forecast_what_it_shows() -> None:
    """Where few people work on weekends, the cost is shown by week, and October 2026 ends on a Saturday."""
    history = History()
    for day in days(date(2026, 10, 1), 31):
        history.load("acme", day, everybody(100)[: 1 if day.weekday() > 4 else None])
    october = settings(date(2026, 10, 1), 31, breakdown_grain="month", monthly_budget_cents=10_000)

    said = Said(history, october)

    # 22 working days of 6 people, and 9 days of one, at a dollar each.
    tiles = said.rows("tiles")
    assert tiles["API cost"][0] == tiles["Oct 2026"][0] == "$141.00"
    assert tiles["Oct 2026"][1] == "by 31 Oct; 141 % of the budget"
    assert "Oct 2026 cost $141.00 by 31 Oct, of a budget of $100.00." in said.text()
    assert "orecast" not in said.text()
    weeks = said.rows("Cost per week")
    assert (weeks["1 Oct to 4 Oct 2026"], weeks["26 Oct to 31 Oct 2026"]) == (
        ["$14.00", "4 of 4"],
        ["$31.00", "6 of 6"],
    )
    assert "Hollow: a part of a week." in said.text()


def test_a_report_on_a_month_shows_its_cost_also_if_it_begins_on_a_weekend() -> None:
    history = History()
    for day in days(date(2026, 8, 1), 31):
        history.load("acme", day, everybody(100)[: 1 if day.weekday() > 4 else None])

    said = Said(history, settings(date(2026, 8, 1), 31, breakdown_grain="month"))

    # 21 working days, and 10 days of one person.
    tiles = said.rows("tiles")
    assert tiles["API cost"][0] == tiles["Aug 2026"][0] == "$136.00"
    assert said.rows("Cost per") == {}


def test_costs_in_another_currency_are_unknown_and_not_said_to_be_of_few_people_or_0() -> None:
    history = History()
    for day in days(MONDAY, 7):
        euros = [record(person, sessions=1, models=[model(100, currency="EUR")]) for person in PEOPLE]
        history.load("acme", day, euros)
    an_hour = {"hourly_cost": {"amount": 90, "source": "Finance"}}

    said = Said(history, settings(), assumptions=an_hour)

    assert "Not shown: fewer than 5 people have a known API cost in US dollars." in said.text()
    assert "Do not add the two amounts." not in said.text()
    assert said.rows("tiles")["Break-even per active person and day"] == [
        NOTHING,
        "unknown: no API session has a known cost in US dollars",
    ]
    assert "0.0 minutes" not in said.text()

    seats = {"seat_price": {"amount": 28, "source": "offer"}, "seats": {"count": 6, "source": "invoice"}}
    said = Said(history, settings(), assumptions=an_hour | seats)

    # A quarter of the seats' price in February.
    assert "The cost includes $42.00 for seats. The cost of API usage is unknown." in said.text()
    assert said.rows("Break-even")["All people"][0] == "at least $42.00"


def test_what_few_people_do_is_not_said_to_be_unknown_of_unknown() -> None:
    history = History()
    for day in days(MONDAY, 7):
        history.load("acme", day, everybody(100)[:1])

    said = Said(history, settings())

    assert "Not shown: fewer than 5 people were active." in said.text()
    assert "unknown of unknown" not in said.text()
    assert said.rows("tiles")["Active people"][1] == "no comparison, since no day can be compared"


def test_no_two_columns_of_a_table_have_the_same_name() -> None:
    history = History()
    for day in days(MONDAY, 14):
        history.load("acme", day, everybody(100))

    said = Said(history, settings(MONDAY + timedelta(days=7)), [mapped(person, "red", None) for person in PEOPLE])

    cells = [tuple(cell[name] for name in ("section", "table", "row_number", "column")) for cell in said.cells]
    assert len(cells) == len(set(cells))
    assert "API cost before" in {cell[-1] for cell in cells}


def test_days_that_are_not_known_do_not_look_as_if_they_cost_nothing() -> None:
    history = History()
    for day in days(MONDAY + timedelta(days=7), 14):
        history.load("acme", day, everybody(100))

    said = Said(history, settings(MONDAY + timedelta(days=14)))

    month = said.html.partition('aria-label="Cost of Feb')[2].partition("</svg>")[0]
    blocks = said.html.partition('aria-label="Blocks of 7 days')[2].partition("</svg>")[0]
    assert ">not known</text>" in month
    assert "The cost of 8 days of it is not known (shaded)." in said.text().replace("\u00a0", " ")
    assert ">not loaded</text>" in blocks
    assert "Shaded: not loaded." in said.text()

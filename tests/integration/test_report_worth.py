"""The report compares cost and time only by what is declared, and shows no group of few. Numbers are by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.comparison import Comparison
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import (
    Element,
    Facts,
    Figure,
    Name,
    Note,
    Section,
    SideBySide,
    Table,
)
from airflow_provider_claude_code.analytics.report.month import Month
from airflow_provider_claude_code.analytics.report.sections.groups import compared_with_before
from airflow_provider_claude_code.analytics.report.sections.other_tools import other_tools
from airflow_provider_claude_code.analytics.report.sections.plan import plan
from airflow_provider_claude_code.analytics.report.sections.regularity import regularity
from airflow_provider_claude_code.analytics.report.sections.worth import worth
from airflow_provider_claude_code.analytics.report.wording import NOTHING
from tests.fixtures.analytics_data import MAPPING, ROSTER, History, empty_tables, key, mapped, over_memory, record
from tests.fixtures.charges_data import Books, charge, user
from tests.fixtures.records import Json, model

pytestmark = pytest.mark.newest_only

FEBRUARY = [date(2026, 2, number) for number in range(1, 29)]
MONTH = Settings(first_day=FEBRUARY[0], last_day=FEBRUARY[-1])
HOUR = {"hourly_cost": {"amount": 90, "source": "Finance, budget of 2026"}}
SEATS = {"seat_price": {"amount": 30, "source": "offer"}, "seats": {"count": 8, "source": "invoice"}}


def by_use(count: int, **changes: Any) -> list[Json]:
    """Make a day of people who are paid by use: a dollar and a pull request each."""
    return [
        record(f"api{number}@example.com", **{"sessions": 1, "pull_requests": 1, "models": [model(100)], **changes})
        for number in range(count)
    ]


def on_seats(count: int) -> list[Json]:
    """Make a day of people with a subscription: half a dollar each."""
    return [
        record(f"seat{number}@example.com", sessions=1, customer_type="subscription", models=[model(50)])
        for number in range(count)
    ]


def month(api: int = 6, seats: int = 5, extra: Iterable[Json] = (), history: History | None = None) -> History:
    """Load February: people who are paid by use work on ten days, those with seats on four; more on the first."""
    history = history or History()
    for number, day in enumerate(FEBRUARY):
        rows = [*(by_use(api) if number < 10 else []), *(on_seats(seats) if number < 4 else [])]
        history.load("acme", day, [*rows, *(extra if number == 0 else [])])
    return history


FEW_WITH_COST = [
    record(f"p{number}@example.com", sessions=1, models=[model(1)] if number < 3 else []) for number in range(6)
]


KEYS_OF_WHICH_ONE_COSTS = [
    record(actor=key(f"ci{number}"), sessions=1, models=[model(3000)] if number == 0 else []) for number in range(6)
]


def charged_for_nobody() -> Books:
    """A month in which every charge names nobody."""
    books = Books()
    month(history=books)
    for day in FEBRUARY:
        books.charge("acme", day, [charge(None, 50, cost_type="code_execution", model=None)])
    return books


def organization(
    tables: Mapping[str, pa.Table], settings: Settings = MONTH, *parts: str, **of_users: pa.Table
) -> Organization:
    """Read what some parts say of the report's period, and nothing else."""
    typed = {name: rows for name, rows in empty_tables().items() if name not in ("roster", "mapping")}
    source = over_memory({**typed, **tables, **of_users}, settings)
    first, last = settings.period
    before = first - (last - first) - timedelta(days=1)

    def rows(part: str, start: date = first) -> list[Row]:
        found = source.read(part).to_pylist() if part in parts else []
        return [row for row in found if row.get("period_start", start) == start]

    def row(part: str) -> Row | None:
        return next(iter(rows(part)), None)

    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return Organization(
        id="acme",
        days=dict.fromkeys(days),
        totals={},
        comparison=Comparison(len(days), {}, {}, {}, (), with_keys=False),
        month=Month(days, False, {}, None, first, None, None),
        charged_usd=None,
        first_loaded_day=None,
        costs=rows("period_costs"),
        groups=rows("cost_allocation"),
        groups_before=rows("cost_allocation", before),
        worth=row("period_worth"),
        plan=row("plan_mixes"),
        classes=row("activity_classes"),
        blocks=sorted(rows("activity_blocks"), key=lambda row: row["first_day"]),
        other_tools=sorted(rows("tool_comparison"), key=lambda row: row["tool"]),
    )


def elements_of(section: Section) -> Iterator[Element]:
    for element in section.elements:
        yield from itertools.chain(*element.columns) if isinstance(element, SideBySide) else [element]


def tables_of(section: Section) -> dict[str, list[list[str]]]:
    """Return the rows of a section's tables by caption, as text."""
    return {
        element.caption: [
            [cell.text if isinstance(cell, Name) else str(cell).replace("\u00a0", " ") for cell in row]
            for row in element.rows
        ]
        for element in elements_of(section)
        if isinstance(element, Table)
    }


def notes_of(section: Section) -> str:
    texts = [element.text for element in elements_of(section) if isinstance(element, Note)]
    texts += [
        f"{fact.label} {fact.text}"
        for element in elements_of(section)
        if isinstance(element, Facts)
        for fact in element.facts
    ]
    return " ".join(texts).replace("\u00a0", " ")


def worth_of(
    history: History, *declared: Mapping[str, Any], settings: Settings = MONTH, **of_users: pa.Table
) -> Section:
    given = {name: value for each in declared for name, value in each.items()}
    return worth(
        organization(history.tables(), settings, "period_worth", **of_users), settings, Assumptions.parse(given)
    )


class TestBreakEven:
    def test_all_people_and_seats_are_in_it(self) -> None:
        section = worth_of(month(), HOUR, SEATS)
        # 60 dollars by use and 240 for seats, over 60 + 20 days: 60 * 300 / (90 * 80).
        assert tables_of(section) == {"Break-even": [["All people", "$300.00", "11", "80", "2.5"]]}
        notes = notes_of(section)
        assert "saves 2.5 minutes on each day" in notes
        assert "An hour of work costs $90.00 (Finance, budget of 2026)" in notes
        assert "A seat costs a month $30.00 (offer)" in notes
        assert "Seats that are paid: 8 (invoice)" in notes
        assert "The cost includes $60.00 of API usage (an estimate) and $240.00 for seats." in notes

    def test_without_seats_it_is_about_those_who_are_paid_by_use(self) -> None:
        section = worth_of(month(), HOUR)
        # 60 * 60 / (90 * 60).
        assert tables_of(section) == {"Break-even": [["People with API usage", "$60.00", "6", "60", "0.7"]]}
        assert "Seats are not included" in notes_of(section)

    def test_few_people_with_subscriptions_are_not_told_apart(self) -> None:
        section = worth_of(month(seats=4), HOUR)
        # 60 * 60 / (90 * 76).
        assert tables_of(section) == {"Break-even": [["All people", "at least $60.00", "10", "76", "at least 0.5"]]}

    def test_few_people_who_work_both_ways_are_not_told_apart(self) -> None:
        both = record("api0@example.com", sessions=1, commits=9, customer_type="subscription")
        minutes = {"minutes_per_commit": {"minutes": 1, "source": "survey"}}
        section = worth_of(month(seats=0, extra=[both]), HOUR, minutes)
        # The commits of all people less those on the API would be one person's.
        assert tables_of(section)["Break-even"][0][:4] == ["All people", "at least $60.00", "6", "60"]
        assert "Return on 9 commits" in tables_of(section)

    def test_few_keys_are_not_told_apart_unless_they_are_of_machines(self) -> None:
        robot = record(actor=key("ci"), sessions=9, pull_requests=3, models=[model(3000)])
        history = month(extra=[robot])
        section = worth_of(history, HOUR, SEATS)
        assert tables_of(section)["Break-even"] == [["All people, with API keys", "$330.00", "11", "80", "2.8"]]
        assert "mark the keys of machines" in notes_of(section)
        machine = {"actor_type": "machine", "actor_id": "ci", "team": "platform"}
        section = worth_of(history, HOUR, SEATS, mapping=pa.Table.from_pylist([machine], MAPPING))
        assert tables_of(section)["Break-even"] == [
            ["All people", "$300.00", "11", "80", "2.5"],
            ["API keys of machines", "$30.00", NOTHING, NOTHING, NOTHING],
        ]

    def test_many_keys_are_on_a_line_of_their_own(self) -> None:
        robots = [record(actor=key(f"ci{number}"), sessions=1, models=[model(200)]) for number in range(5)]
        section = worth_of(month(extra=robots), HOUR, SEATS)
        assert tables_of(section)["Break-even"] == [
            ["All people", "$300.00", "11", "80", "2.5"],
            ["API keys", "$10.00", NOTHING, NOTHING, NOTHING],
        ]

    def test_a_cost_that_is_not_fully_known_is_a_least_one(self) -> None:
        silent = record("api0@example.com", sessions=1)
        section = worth_of(month(extra=[silent]), HOUR, SEATS)
        assert tables_of(section)["Break-even"] == [["All people", "at least $300.00", "11", "80", "at least 2.5"]]
        euros = [model(1), model(9, currency="EUR")]
        section = worth_of(month(extra=[record("api0@example.com", sessions=1, models=euros)]), HOUR, SEATS)
        assert tables_of(section)["Break-even"][0][1] == "at least $300.01"
        robots = [record(actor=key(f"ci{number}"), sessions=1, models=euros) for number in range(5)]
        section = worth_of(month(extra=robots), HOUR, SEATS)
        assert tables_of(section)["Break-even"][1][:2] == ["API keys", "at least $0.0500"]

    def test_charges_take_the_place_of_the_estimate_where_all_days_have_them(self) -> None:
        books = Books()
        month(history=books)
        for number, day in enumerate(FEBRUARY):
            people = [charge(user(n, f"api{n}@example.com"), 100, 88) for n in range(6)] if number < 10 else []
            books.charge("acme", day, [*people, charge(None, 50, cost_type="code_execution", model=None)])
        section = worth_of(books, HOUR, SEATS)
        # 52.80 and 240, over 80 days, and half a dollar a day that is nobody's.
        assert tables_of(section)["Break-even"] == [
            ["All people", "$292.80", "11", "80", "2.4"],
            ["Charged for nobody by name", "$14.00", NOTHING, NOTHING, NOTHING],
        ]
        assert "(what is charged)" in notes_of(section)
        books.charge("acme", FEBRUARY[3], [], hours=5, complete=False)
        assert tables_of(worth_of(books, HOUR, SEATS))["Break-even"][0][1] == "$300.00"

    def test_nothing_has_to_be_saved_where_corrections_exceed_charges(self) -> None:
        books = Books()
        month(history=books)
        for day in FEBRUARY:
            books.charge("acme", day, [charge(user(n, f"api{n}@example.com"), -500, -500) for n in range(6)])
        section = worth_of(books, HOUR, SEATS)
        # Six times 5 dollars a day back, and 240 for seats.
        assert tables_of(section)["Break-even"] == [["All people", "\N{MINUS SIGN}$600.00", "11", "80", "0.0"]]
        assert "saves 0.0 minutes" in notes_of(section)

    def test_charges_that_all_name_nobody_leave_the_estimate(self) -> None:
        section = worth_of(charged_for_nobody(), HOUR, SEATS)
        # As without charges: 60 by use and 240 for seats, over 80 days.
        assert tables_of(section)["Break-even"] == [["All people", "$300.00", "11", "80", "2.5"]]
        assert "(an estimate)" in notes_of(section)

    def test_a_seat_is_paid_for_the_loaded_days_of_the_period(self) -> None:
        history = month()
        section = worth_of(history, HOUR, SEATS, settings=Settings(first_day=FEBRUARY[0], last_day=FEBRUARY[6]))
        # A quarter of the month: 60 for seats and 42 by use, over 42 + 20 days.
        assert tables_of(section)["Break-even"] == [["All people", "$102.00", "11", "62", "1.1"]]
        section = worth_of(history, HOUR, SEATS, settings=Settings(first_day=date(2026, 1, 31), last_day=FEBRUARY[6]))
        # 8 * 30 * (1/31 + 7/28) * 7/8.
        assert "$59.27 for seats" in notes_of(section)
        assert "Only 7 of 8 days" in notes_of(section)

    @pytest.mark.parametrize(
        ("history", "reason"),
        [
            (month(api=4, seats=0), "fewer than 5 people worked"),
            (month(api=4, seats=6), "fewer than 5 people and API keys have API usage"),
            (month(api=0, seats=6, extra=FEW_WITH_COST), "fewer than 5 people have a known API cost"),
            (month(api=0, seats=6), "people work with subscriptions. Declare seat_price"),
            (month(api=0, seats=0), "Nobody worked"),
        ],
    )
    def test_a_cost_of_few_people_is_not_shown(self, history: History, reason: str) -> None:
        section = worth_of(history, HOUR)
        assert tables_of(section) == {}
        assert reason in notes_of(section)

    def test_nothing_is_computed_without_what_is_declared(self) -> None:
        section = worth_of(month())
        assert tables_of(section) == {}
        assert "nothing is assumed" in notes_of(section)


class TestReturn:
    PULL_REQUESTS: ClassVar = {"minutes_per_pull_request": {"minutes": 20, "source": "survey"}}
    CHECKING: ClassVar = {"oversight_minutes": {"minutes": 5, "source": "diaries"}}

    def test_it_is_shown_at_half_and_at_double_less_checking(self) -> None:
        section = worth_of(month(), HOUR, SEATS, self.PULL_REQUESTS, self.CHECKING)
        # 60 pull requests at 10, 20 and 40 minutes, less 5 minutes on 80 days.
        assert tables_of(section)["Return on 60 pull requests"] == [
            ["Minutes per pull request", "10.0", "20.0", "40.0"],
            ["Hours saved, less checking", "3.3", "13.3", "33.3"],
            ["Minutes per active person and day", "2.5", "10.0", "25.0"],
            ["Value", "$300.00", "$1,200.00", "$3,000.00"],
            ["Cost", "$300.00", "$300.00", "$300.00"],
            ["Value minus cost", "$0.00", "$900.00", "$2,700.00"],
        ]
        assert "Minutes that one pull request saves: 20.0 (survey)" in notes_of(section)
        assert "Minutes of checking per active person and day: 5.0 (diaries)" in notes_of(section)

    def test_it_may_be_below_the_cost(self) -> None:
        silent = record("api0@example.com", sessions=1)
        minutes = {"minutes_per_pull_request": {"minutes": 1, "source": "survey"}}
        rows = tables_of(worth_of(month(extra=[silent]), HOUR, SEATS, minutes))["Return on 60 pull requests"]
        assert rows[-1] == [
            "Value minus cost",
            "at most \u2212$255.00",
            "at most \u2212$210.00",
            "at most \u2212$120.00",
        ]

    @pytest.mark.parametrize(
        ("basis", "extra", "counted"),
        [
            ("minutes_per_commit", {"commits": 1}, "1 commit"),
            ("minutes_per_commit", {"commits": 7}, "7 commits"),
            ("minutes_per_accepted_action", {"tools": {"edit_tool": (11, 4)}}, "11 accepted actions"),
        ],
    )
    def test_it_counts_what_was_declared(self, basis: str, extra: dict[str, Any], counted: str) -> None:
        history = month(extra=[record("seat0@example.com", customer_type="subscription", **extra)])
        declared = {basis: {"minutes": 1, "source": "x"}}
        assert f"Return on {counted}" in tables_of(worth_of(history, HOUR, SEATS, declared))
        # The same people as in the cost.
        kind = counted.lstrip("0123456789").removesuffix("s")
        assert f"Return on 0{kind}s" in tables_of(worth_of(history, HOUR, declared))

    def test_a_reference_is_shown_with_its_source_and_day(self) -> None:
        reference = {"reference": {"text": "Others save <b>much</b>.", "source": "a study", "date": "2025-11-03"}}
        assert "Others save <b>much</b>. (a study, 3 Nov 2025)" in notes_of(worth_of(month(), HOUR, reference))


class TestPlan:
    def planned(self, history: History, price: float = 5, settings: Settings = MONTH, **of_users: pa.Table) -> Section:
        assumptions = Assumptions.parse({"seat_price": {"amount": price, "source": "offer"}})
        first, last = settings.period
        settings = Settings(
            first_day=first,
            last_day=last,
            min_group_size=settings.min_group_size,
            seat_price_cents=assumptions.seat_price_cents,
        )
        (section,) = plan(
            organization(history.tables(), settings, "period_costs", "period_worth", "plan_mixes", **of_users),
            settings,
            assumptions,
        )
        return section

    def test_the_cheapest_mix_gives_seats_to_those_who_cost_the_most(self) -> None:
        # Six people at 10 dollars and five at 2.
        section = self.planned(month())
        assert tables_of(section) == {
            "The month for 11 people": [
                ["API prices for everybody", "0", "$70.00"],
                ["A seat for everybody", "11", "$55.00"],
                ["The cheapest mix", "6", "$40.00"],
            ]
        }
        notes = notes_of(section)
        assert "a seat for the 6 people who cost the most" in notes
        assert "A seat costs a month $5.00 (offer)" in notes
        assert "Seats have limits, and use beyond them may be billed" in notes

    @pytest.mark.parametrize(
        ("price", "size", "best"),
        [
            (1, 5, "A seat for everybody is the cheapest"),
            (20, 5, "API prices for everybody is the cheapest"),
            # Five people would be told apart.
            (5, 6, "A seat for everybody is the cheapest"),
        ],
    )
    def test_a_mix_of_few_people_is_not_shown(self, price: float, size: int, best: str) -> None:
        settings = Settings(first_day=FEBRUARY[0], last_day=FEBRUARY[-1], min_group_size=size)
        # Those who are paid by use have subscriptions, too.
        both = by_use(6, customer_type="subscription", models=[model(1)])
        section = self.planned(month(extra=both), price, settings)
        assert best in notes_of(section)
        assert len(tables_of(section)["The month for 11 people"]) == 2

    def test_what_is_charged_takes_the_place_of_the_estimate(self) -> None:
        books = Books()
        # No model is named, so there is no estimate.
        month(history=books, extra=[record("api0@example.com", sessions=99)])
        for number, day in enumerate(FEBRUARY):
            people = [charge(user(n, f"api{n}@example.com"), 100, 88) for n in range(6)] if number < 10 else []
            books.charge("acme", day, people)
        assert tables_of(self.planned(books))["The month for 11 people"][0][2] == "$62.80"

    @pytest.mark.parametrize(
        ("history", "settings", "reason"),
        [
            (month(), Settings(first_day=FEBRUARY[0], last_day=FEBRUARY[-2]), "for one calendar month"),
            (month(), Settings(first_day=date(2026, 1, 1), last_day=FEBRUARY[-1]), "for one calendar month"),
            (month(), Settings(first_day=date(2026, 3, 1), last_day=date(2026, 3, 31)), "not all days"),
            (month(api=4, seats=0), MONTH, "fewer than 5 people worked"),
            (month(extra=[record(actor=key("ci"), sessions=1)]), MONTH, "mark the keys of machines"),
            # The cost of one of six keys, or the value of a few subscriptions, would be what is left of a total.
            (month(extra=KEYS_OF_WHICH_ONE_COSTS), MONTH, "fewer than 5 API keys cost"),
            (month(seats=4), MONTH, "fewer than 5 people cost"),
            (charged_for_nobody(), MONTH, "do not say whom they are for"),
            (month(extra=by_use(4, sessions=1, models=[])), MONTH, "known for 95 %"),
            (month(extra=by_use(1, models=[model(1, currency="EUR")])), MONTH, "in US dollars"),
        ],
    )
    def test_it_says_why_plans_are_not_compared(self, history: History, settings: Settings, reason: str) -> None:
        section = self.planned(history, settings=settings)
        assert tables_of(section) == {}
        assert reason in notes_of(section)

    def test_there_is_no_plan_without_a_price(self) -> None:
        assert plan(organization(month().tables()), MONTH, Assumptions()) == []


class TestRegularity:
    LAST = date(2026, 3, 29)
    """A Sunday."""
    SETTINGS = Settings(first_day=date(2026, 3, 2), last_day=LAST)

    def worked(self, days: Mapping[str, int], *, from_day: int = 120, newcomers: int = 0) -> History:
        """Load a history in which all but new people work once before the 28 days, and then on some days."""
        history = History()
        for number in range(from_day, -1, -1):
            day = self.LAST - timedelta(days=number)
            names = [name for name, count in days.items() if number < count or number == from_day]
            names += [f"new{n}" for n in range(newcomers) if number < 2]
            rows = [record(f"{name}@example.com", sessions=1, pull_requests=1, models=[model(100)]) for name in names]
            history.load("acme", day, rows)
        return history

    def people(self, *counts: tuple[int, int]) -> dict[str, int]:
        return {f"p{days}-{number}": days for days, count in counts for number in range(count)}

    def shown(self, history: History, settings: Settings = SETTINGS, **of_users: pa.Table) -> Section:
        return regularity(
            "key", organization(history.tables(), settings, "activity_classes", "activity_blocks", **of_users), settings
        )

    def test_people_are_counted_by_their_days(self) -> None:
        section = self.shown(self.worked(self.people((12, 5), (11, 3), (4, 3), (3, 2), (1, 4)), newcomers=5))
        assert [row[:3] for row in tables_of(section)["People by their active days in 28 days"]] == [
            ["12 or more", "5", "22.7 %"],
            ["4 to 11", "6", "27.3 %"],
            ["1 to 3", "6", "27.3 %"],
            ["New in these 28 days", "5", "22.7 %"],
        ]

    @pytest.mark.parametrize(
        ("counts", "newcomers", "expected"),
        [
            (((12, 9), (4, 2)), 0, [("4 or more", "11"), ("1 to 3", "0"), ("New in these 28 days", "0")]),
            (((12, 9), (1, 2)), 0, [("1 or more", "11"), ("New in these 28 days", "0")]),
            (((4, 9), (1, 2)), 0, [("12 or more", "0"), ("1 to 11", "11"), ("New in these 28 days", "0")]),
            (((12, 9), (1, 6)), 1, [("12 or more", "9"), ("4 to 11", "0"), ("1 to 3, or new in these 28 days", "7")]),
            (((12, 3), (4, 3)), 0, [("4 or more", "6"), ("1 to 3", "0"), ("New in these 28 days", "0")]),
            (((12, 2), (4, 2), (1, 1)), 0, [("1 or more", "5"), ("New in these 28 days", "0")]),
        ],
    )
    def test_few_people_are_put_together_with_their_neighbours(
        self, counts: tuple[tuple[int, int], ...], newcomers: int, expected: list[tuple[str, str]]
    ) -> None:
        section = self.shown(self.worked(self.people(*counts), newcomers=newcomers))
        rows = tables_of(section)["People by their active days in 28 days"]
        assert [(row[0], row[1]) for row in rows] == expected

    def test_nobody_is_shown_where_all_are_few(self) -> None:
        section = self.shown(self.worked(self.people((12, 3), (1, 1))))
        assert tables_of(section) == {}
        assert "fewer than 5 people were active" in notes_of(section)

    def test_who_is_new_takes_a_history(self) -> None:
        section = self.shown(self.worked(self.people((12, 5), (2, 5)), from_day=54))
        rows = tables_of(section)["People by their active days in 28 days"]
        assert [(row[0], row[1]) for row in rows] == [("12 or more", "5"), ("4 to 11", "0"), ("1 to 3", "5")]
        assert "Who is new is unknown" in notes_of(section)

    @pytest.mark.parametrize(
        ("listed", "idle", "expected"),
        [
            (10, 6, "6 of 16 people who may use Claude Code"),
            (10, 0, "0 of 10 people who may use Claude Code"),
            # Four people who do not work with it, and two who do and are not listed.
            (10, 4, "not shown"),
            (8, 6, "not shown"),
        ],
    )
    def test_those_of_the_roster_who_do_nothing_are_counted(self, listed: int, idle: int, expected: str) -> None:
        people = self.people((12, 10))
        names = [*list(people)[:listed], *(f"idle{number}" for number in range(idle))]
        roster = pa.Table.from_pylist([{"actor_id": f"{name}@example.com"} for name in names], ROSTER)
        assert f"No active day: {expected}" in notes_of(self.shown(self.worked(people), roster=roster))

    def test_blocks_go_back_from_the_last_day(self) -> None:
        history = self.worked(self.people((28, 6), (7, 2)))
        del history.days["acme", self.LAST - timedelta(days=8)]
        history.loads = [row for row in history.loads if row["date"] != self.LAST - timedelta(days=8)]
        section = self.shown(history)
        rows = tables_of(section)["Blocks of 7 days"]
        assert rows[-2:] == [
            ["16 Mar to 22 Mar 2026", "6 of 7", "6", "36"],
            ["23 Mar to 29 Mar 2026", "7 of 7", "8", "56"],
        ]
        assert len(rows) == 13
        (figure,) = (element for element in section.elements if isinstance(element, Figure))
        assert "Hollow: not all of the 7 days are loaded" in figure.text
        # Of the last four blocks three are complete: 42 + 42 + 56 dollars of 6 + 6 + 8 people.
        assert "API cost per person with API usage and week: $7.00" in notes_of(section)

    @pytest.mark.parametrize("block", [0, 3, 5])
    def test_the_cost_of_other_blocks_does_not_tell_that_of_few(self, block: int) -> None:
        """The period may have more blocks, or one that is not complete, and its cost is shown as well."""
        history = self.worked(self.people((56, 6)))
        for number in range(7 * block, 7 * block + 6):
            people = [record(f"p56-{n}@example.com", sessions=1, models=[model(100)] * (n < 2)) for n in range(6)]
            history.load("acme", self.LAST - timedelta(days=number), people)
        day = self.LAST - timedelta(days=7 * block + 6)
        del history.days["acme", day]
        history.loads = [row for row in history.loads if row["date"] != day]
        assert "with API usage and week: not shown; fewer than 5 people" in notes_of(self.shown(history))

    @pytest.mark.parametrize(("first", "last"), [(2, 28), (1, 29)])
    def test_sums_of_blocks_are_shown_only_where_the_period_is_of_whole_weeks(self, first: int, last: int) -> None:
        """Less four blocks, the cost of a month of 31 days is that of three."""
        settings = replace(self.SETTINGS, first_day=date(2026, 3, first), last_day=date(2026, 3, last))
        section = self.shown(self.worked(self.people((28, 6))), settings)
        assert tables_of(section)["Blocks of 7 days"][-2][1:] == ["7 of 7", "6"]
        assert "API cost per person" not in notes_of(section)

    def test_a_cost_with_keys_is_a_least_one_if_that_of_keys_is_not_fully_known(self) -> None:
        history = self.worked(self.people((28, 6)))
        people = [record(f"p28-{n}@example.com", sessions=1, models=[model(100)]) for n in range(6)]
        history.load("acme", self.LAST, [*people, record(actor=key("ci"), sessions=1)])
        assert "API cost per person with API usage and week: at least $7.00" in notes_of(self.shown(history))

    def test_blocks_of_few_people_who_were_read_too_early_are_not_what_is_left(self) -> None:
        history = self.worked(self.people((28, 6)))
        for number in range(7):
            day = self.LAST - timedelta(days=number)
            history.load("acme", day, [record("p28-0@example.com", pull_requests=3)], complete=False)
        assert "Blocks of 7 days" not in tables_of(self.shown(history))

    def test_blocks_of_few_people_are_not_drawn(self) -> None:
        section = self.shown(self.worked(self.people((10, 6), (28, 3))))
        assert "Blocks of 7 days" not in tables_of(section)
        assert "in some of them fewer than 5 people were active" in notes_of(section)


class TestOtherTools:
    def shown(
        self,
        cursor: Iterable[int],
        declared: Mapping[str, Any] = {},
        *,
        history: History | None = None,
        **of_users: pa.Table,
    ) -> Section:
        """Give Cursor's days of some of the people who are paid by use, and of others with larger numbers."""
        days = [{"date": 1770076800000, "email": f"api{n}@example.com", "isActive": True} for n in cursor]
        found = organization(
            (history or month(api=12, seats=0)).tables(),
            MONTH,
            "tool_comparison",
            "period_worth",
            cursor_usage=pa.Table.from_pylist(days),
            **of_users,
        )
        (section,) = other_tools(found, MONTH, Assumptions.parse(dict(declared)))
        return section

    def test_people_are_counted_beside_each_other(self) -> None:
        roster = pa.Table.from_pylist([{"actor_id": f"api{number}@example.com"} for number in range(20)], ROSTER)
        cost = {"tool_costs": {"cursor": {"amount": 40, "source": "invoice"}}}
        section = self.shown(range(5, 15), cost, roster=roster)
        # Of twelve people seven also use Cursor, which three others use: too few, so it is not shown.
        assert tables_of(section)["People by tool"] == [
            ["Claude Code", "12", "60.0 %", "120", "$1.00", NOTHING],
            ["Cursor", "10", "50.0 %", "10", "$4.00", "not shown"],
        ]
        assert "Cursor costs a month $40.00 (invoice)" in notes_of(section)
        assert "Cursor has data on 1 of 28 days" in notes_of(section)
        # Of seventeen fifteen are on the roster.
        section = self.shown(range(5, 22), cost, roster=roster)
        assert tables_of(section)["People by tool"][1] == ["Cursor", "17", "not shown", "17", "$2.35", "7"]

    def test_a_cost_says_whose_it_is(self) -> None:
        assert "The cost of Claude Code" not in notes_of(self.shown(range(12)))
        section = self.shown(range(12), history=month(api=6, seats=5))
        # The ten days of six people cost $60; five others worked on four days.
        assert tables_of(section)["People by tool"][0] == ["Claude Code", "11", NOTHING, "80", "$1.00", NOTHING]
        assert "that of people with API usage, per day with it" in notes_of(section)
        assert "API keys" not in notes_of(section)
        one_key = [record(actor=key("ci"), sessions=1, models=[model(600)])]
        section = self.shown(range(12), history=month(api=6, seats=5, extra=one_key))
        assert tables_of(section)["People by tool"][0][4] == "$1.10"
        assert "includes that of API keys" in notes_of(section)

    def test_a_tool_of_few_people_is_not_shown(self) -> None:
        section = self.shown(range(4))
        assert [row[0] for row in tables_of(section)["People by tool"]] == ["Claude Code"]
        assert "Tools of fewer than 5 people are not shown" in notes_of(section)

    def test_acceptance_is_never_compared(self) -> None:
        text = str(self.shown(range(12)))
        assert "acceptance is not compared" in text
        assert "rate" not in text.replace("separate", "")

    def test_there_is_nothing_without_another_tool(self) -> None:
        assert other_tools(organization(month().tables(), MONTH, "tool_comparison"), MONTH, Assumptions()) == []


def test_groups_are_compared_where_both_weeks_show_them() -> None:
    history = History()
    # Two weeks from Monday to Sunday.
    weeks = [date(2026, 2, number) for number in range(9, 23)]
    settings = Settings(first_day=weeks[7], last_day=weeks[13])
    for number, day in enumerate(weeks):
        sizes = {"red": 5, "late": 0 if number < 7 else 5, "few": 2, "tiny": 3}
        rows = [
            record(f"{team}{n}@example.com", sessions=1, models=[model(100 + 100 * (number // 7))])
            for team, size in sizes.items()
            for n in range(size)
        ]
        history.load("acme", day, rows)
    names = [(team, n) for team in ("red", "late", "few", "tiny") for n in range(5)]
    mapping = pa.Table.from_pylist([mapped(f"{team}{n}@example.com", team, None) for team, n in names], MAPPING)

    def shown() -> Section:
        found = organization(history.tables(), settings, "cost_allocation", mapping=mapping)
        return Section("", compared_with_before(found))

    assert tables_of(shown()) == {
        "API cost by group, against the week before": [["red", NOTHING, "5", "5", "$70.00", "$35.00"]]
    }
    del history.days["acme", weeks[3]]
    history.loads = [row for row in history.loads if row["date"] != weeks[3]]
    assert "not all days of both are loaded" in notes_of(shown())

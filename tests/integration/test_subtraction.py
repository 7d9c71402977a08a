"""Nobody can be computed from what is shown, by adding up and subtracting; and what is shown is right."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from markupsafe import Markup

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries.settings import Settings, whole_period
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.collecting import collect
from airflow_provider_claude_code.analytics.report.companions import shown_cells
from airflow_provider_claude_code.analytics.report.data import AMOUNTS
from airflow_provider_claude_code.analytics.report.data import Organization as Reported
from airflow_provider_claude_code.analytics.report.elements import Table
from airflow_provider_claude_code.analytics.report.forecast import month_of
from airflow_provider_claude_code.analytics.report.sections import document
from airflow_provider_claude_code.analytics.report.sections.money import known_estimates
from airflow_provider_claude_code.sandbox import Organization
from tests.fixtures.analytics_data import LAST, MAPPING, History, key, mapped, over_memory, record
from tests.fixtures.charges_data import Books, api_key, charge, sandbox_with_charges, user
from tests.fixtures.records import model
from tests.truth import gradients
from tests.truth.analytics import World
from tests.truth.subtraction import Shown, who_stands_out, wrong_cells

pytestmark = pytest.mark.newest_only

VIEWS = (
    "daily_activity",
    "period_activity",
    "adoption_shares",
    "productivity_ratios",
    "tool_acceptance",
    "model_costs",
    "cost_allocation",
    "cost_reconciliation",
)
"""The models with sums of what people did. Those of adoption and members are counts of people."""
LAST_OF_SANDBOX = date(2026, 6, 28)
"""A Sunday."""


def organization(
    users: int, *, people_of_a_team: int = 0, last: date = LAST_OF_SANDBOX
) -> tuple[Organization, dict[str, pa.Table]]:
    """Load 65 days of a made-up organisation whose key is a machine's; its people may be in teams."""
    made, history = Organization.named("demo", users), History()
    for number in range(65):
        day = last - timedelta(days=number)
        history.load(made.id, day, made.records(day, datetime.combine(day, time(), UTC) + timedelta(days=3)))
    rows = [{**mapped(name, "pipelines", None), "actor_type": "machine"} for name in made.key_names()]
    if people_of_a_team:
        rows += [
            mapped(f"dev{number:03}@example.com", f"team {number // people_of_a_team}", None)
            for number in range(users + 1)
        ]
    return made, {**history.tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)}


def world_of(tables: dict[str, pa.Table], settings: Settings) -> World:
    rows = {name: table.to_pylist() for name, table in tables.items()}
    return World(
        now=datetime.now(UTC),
        min_group_size=settings.min_group_size,
        breakdown_grain=settings.breakdown_grain,
        **rows,
    )


def rows_of_views(tables: dict[str, pa.Table], settings: Settings) -> dict[str, list[Any]]:
    source = over_memory(tables, replace(settings, first_day=None, last_day=None))
    return {name: source.read(name).to_pylist() for name in VIEWS}


def views(tables: dict[str, pa.Table], settings: Settings) -> Shown:
    return Shown(world_of(tables, settings), rows_of_views(tables, settings))


def page(tables: dict[str, pa.Table], settings: Settings, *, with_views: bool = False) -> tuple[Shown, Reported]:
    (reported,) = collect(over_memory(tables, settings), settings, people=False)
    assert settings.first_day
    start = settings.first_day - timedelta(days=settings.days_between_periods)
    before = {**reported.comparison.before, "period_start": start, "days_in_period": len(reported.days)}
    month, whole = reported.month, {"organization_id": reported.id}
    points = list(month.series.buckets) if month.series else []
    if month.until:
        points.append(month.known_days)
    shown: dict[str, list[Any]] = {
        # Nothing of the period before is shown where it is not compared; where it is, all of its days are loaded.
        "period_totals": [reported.totals, *([before] if reported.comparison.is_possible else [])],
        "cost_over_time": [
            {
                **whole,
                "period_start": days[0],
                "days_in_period": len(days),
                **dict.fromkeys(("api_cost_usd", "charged_usd")),
                "charged_usd" if month.is_charged else "api_cost_usd": sum(month.costs[day] for day in days),
            }
            for days in points
        ],
        "tiles": [
            {
                **reported.comparison.period,
                **whole,
                "period_start": settings.first_day,
                "days_in_period": len(reported.days),
                "with_keys": reported.comparison.with_keys,
            }
        ],
        # Tool actions and costs of these are not on the page.
        "daily_activity" if reported.is_by_day else "period_activity": [
            {**row, **dict.fromkeys(("tool_actions_offered", *AMOUNTS))} for row in reported.series
        ],
        "adoption_shares": [row for rows in reported.shares.values() for row in rows],
        "productivity_ratios": reported.ratios,
        "tool_acceptance": reported.tools,
        "model_costs": reported.models,
        "cost_allocation": [*reported.groups, *reported.groups_before],
        "cost_reconciliation": reported.charges,
    }
    if reported.charged_usd is not None:
        charged = {"api_cost_usd": None, "charged_usd": reported.charged_usd}
        of_period = {"period_start": settings.first_day, "days_in_period": len(reported.days)}
        shown["cost_over_time"].append({**whole, **of_period, **charged})
    if with_views:
        for name, rows in rows_of_views(tables, settings).items():
            shown[name] = [*shown.get(name, []), *rows]
    return Shown(world_of(tables, settings), shown), reported


@pytest.mark.parametrize(("users", "people_of_a_team"), [(20, 5), (250, 25)])
@pytest.mark.parametrize("grain", ["week", "month"])
def test_nobody_can_be_computed_from_all_views_together(users: int, people_of_a_team: int, grain: str) -> None:
    _, tables = organization(users, people_of_a_team=people_of_a_team)

    shown = views(tables, Settings(breakdown_grain=grain))

    assert len(shown.cells) > 50
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


@pytest.mark.parametrize("grain", ["week", "month"])
def test_nobody_can_be_computed_from_charges(grain: str) -> None:
    shown = views(sandbox_with_charges(), Settings(breakdown_grain=grain))

    assert any(cell.measure == "charged" for cell in shown.cells)
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


@pytest.mark.parametrize(("users", "people_of_a_team"), [(20, 5), (250, 25)])
@pytest.mark.parametrize("grain", ["week", "month"])
def test_nobody_can_be_computed_from_a_page(users: int, people_of_a_team: int, grain: str) -> None:
    _, tables = organization(users, people_of_a_team=people_of_a_team)
    first, last = whole_period(LAST_OF_SANDBOX, 28, grain)

    shown, reported = page(tables, Settings(first_day=first, last_day=last, breakdown_grain=grain))

    assert reported.breakdown is not None
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


@pytest.mark.parametrize(("first", "grain"), [(date(2026, 6, 1), "week"), (date(2026, 8, 1), "period")])
def test_nobody_can_be_computed_from_a_page_on_a_month_that_ends_or_begins_within_a_week(
    first: date, grain: str
) -> None:
    """June ends on a Tuesday. August begins on a Saturday, on which few people work."""
    last = month_of(first)[-1]
    _, tables = organization(20, people_of_a_team=5, last=last)

    shown, reported = page(tables, Settings(first_day=first, last_day=last, breakdown_grain="month"))

    assert reported.month.is_over
    assert reported.month.to_date == reported.totals["api_cost_usd"]
    assert reported.month.series
    assert reported.month.series.grain == grain
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


@pytest.mark.parametrize("first", [date(2026, 2, 9), date(2026, 2, 16)])
def test_nobody_can_be_computed_from_a_page_with_charges_and_few_keys(first: date) -> None:
    settings = Settings(first_day=first, last_day=first + timedelta(days=27))

    shown, reported = page(sandbox_with_charges(), settings)

    assert reported.month.is_charged
    assert 0 < reported.comparison.period["active_keys"] < settings.min_group_size
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, settings.min_group_size) == []


@pytest.mark.parametrize("group", [{"product": "chat"}, {"cost_type": "web_search", "model": None}])
def test_charges_of_few_people_for_something_else_are_not_what_is_left(group: dict[str, Any]) -> None:
    books = Books()
    for number in range(63):
        day = LAST_OF_SANDBOX - timedelta(days=number)
        people = [f"p{number}@x" for number in range(12)]
        usage = [record(name, sessions=1, models=[model(100)]) for name in people]
        tokens = [charge(user(name, name), 100 + number) for number, name in enumerate(people)]
        books.load("acme", day, usage)
        books.charge("acme", day, [*tokens, *(charge(user(it, it), 33, **group) for it in people[:2])], products=())
    period = Settings(first_day=LAST_OF_SANDBOX - timedelta(days=27), last_day=LAST_OF_SANDBOX)

    shown, reported = page(books.tables(), period, with_views=True)

    assert reported.hides_charges is ("product" in group)
    assert any(cell.measure == "charged" for cell in shown.cells)
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


def test_the_charges_of_machines_do_not_hide_those_of_few_people() -> None:
    """Groups show what machines are charged."""
    books, machines = Books(), {f"k{number}": f"ci{number}" for number in range(4)}
    for number in range(63):
        day = LAST_OF_SANDBOX - timedelta(days=number)
        books.load("acme", day, [record(f"p{person}@x", sessions=1) for person in range(8)])
        books.charge("acme", day, [charge(user("p0", "p0@x"), 123), *(charge(api_key(id_), 10) for id_ in machines)])
    books.snapshot(LAST_OF_SANDBOX - timedelta(days=62), {}, machines)
    rows = [{**mapped(name, "pipelines", None), "actor_type": "machine"} for name in machines.values()]
    tables = {**books.tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)}
    period = Settings(first_day=LAST_OF_SANDBOX - timedelta(days=6), last_day=LAST_OF_SANDBOX)

    shown, reported = page(tables, period)

    assert [row["amount_usd"] for row in reported.groups if row["amount"] == "charged"] == [Decimal("2.80")]
    assert reported.charged_usd is None
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, period.min_group_size) == []


def test_the_cost_of_few_of_many_keys_is_not_what_is_left() -> None:
    history = History()
    for number in range(63):
        people = [record(f"p{person}@x", sessions=1, models=[model(100)]) for person in range(8)]
        keys = [record(actor=key(f"k{it}"), sessions=1, models=[model(333)] if it == 0 else []) for it in range(6)]
        history.load("acme", LAST_OF_SANDBOX - timedelta(days=number), [*people, *keys])
    period = Settings(first_day=LAST_OF_SANDBOX - timedelta(days=27), last_day=LAST_OF_SANDBOX)

    shown, reported = page(history.tables(), period)

    assert reported.comparison.with_keys
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, period.min_group_size) == []


def test_people_beside_keys_in_a_group_are_not_what_is_left_of_all_people() -> None:
    """Two people and six keys have no team."""
    history = History()
    for number in range(63):
        people = [record(f"p{it}@x", sessions=1, models=[model(100 + it)]) for it in range(10)]
        keys = [record(actor=key(f"k{it}"), sessions=1, models=[model(200 + it)]) for it in range(6)]
        history.load("acme", LAST_OF_SANDBOX - timedelta(days=number), [*people, *keys])
    rows = [mapped(f"p{it}@x", "a" if it < 6 else "b", None) for it in range(2, 10)]
    tables = {**history.tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)}
    week = Settings(min_group_size=4, first_day=LAST_OF_SANDBOX - timedelta(days=6), last_day=LAST_OF_SANDBOX)

    shown, reported = page(tables, week)

    assert [row[0] for row in known_rows(reported, week)] == ["API cost: people and API keys"]
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, week.min_group_size) == []
    # The groups of the last week do not tell what people cost in four.
    month = Settings(min_group_size=4, first_day=LAST_OF_SANDBOX - timedelta(days=27), last_day=LAST_OF_SANDBOX)
    assert len(known_rows(page(tables, month)[1], month)) == 2


@pytest.mark.parametrize("weeks", [2, 3, 4])
@pytest.mark.parametrize("what", ["work", "cost", "tools", "subscription", "charge"])
def test_few_people_of_the_other_weeks_of_a_page_are_not_what_breakdowns_leave(what: str, weeks: int) -> None:
    """In the first week of the period, two of eight people do what all do in the others."""
    books = Books()
    first = LAST_OF_SANDBOX - timedelta(days=7 * weeks - 1)
    for number in range(63):
        day = LAST_OF_SANDBOX - timedelta(days=number)
        is_of_few = first <= day < first + timedelta(days=7)
        usage, charges = [], []
        for person in range(8):
            does = {it for it in ("work", "cost", "tools", "subscription", "charge") if it != what}
            if not is_of_few or person < 2:
                does.add(what)
            if "work" in does:
                tools = {"edit_tool": (person + 1, 1)} if "tools" in does else {}
                models = [model(100 + person)] if "cost" in does else []
                usage.append(record(f"p{person}@x", sessions=person + 1, models=models, tools=tools))
                if "subscription" in does:
                    subscription = {"customer_type": "subscription", "models": [model(200 + person)]}
                    usage.append(record(f"p{person}@x", sessions=person + 2, **subscription))
            if "charge" in does:
                charges.append(charge(user(person, f"p{person}@x"), 300 + person))
        books.load("acme", day, usage)
        books.charge("acme", day, charges)
    period = Settings(first_day=first, last_day=LAST_OF_SANDBOX)

    shown, reported = page(books.tables(), period)

    assert (reported.breakdown is None) is (weeks == 2)
    assert bool(reported.groups_before) is (weeks == 4)
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, period.min_group_size) == []


class _Copy:
    """
    A copy of a small organisation.

    :param name: its id.
    :param kinds: the kinds of its values that may be larger in a copy.
    :param enlarged: which of these is larger, in the order in which they are made; none if it is negative.
    """

    def __init__(self, name: str, kinds: Container[str], enlarged: int) -> None:
        self.name = name
        self.owners: list[str] = []
        self._kinds = kinds
        self._enlarged = enlarged

    def load(self, books: Books, days: Iterable[date], days_of_few: Container[date], hours: float) -> None:
        """Load charges, costs, pull requests and tool actions of seven people and a key; on some days, of two."""
        self._rng = random.Random(5)
        for day in days:
            usage, charges = [], []
            for actor in [*(f"p{number}@x" for number in range(7)), "key"]:
                is_there = self._rng.random() < (0.3 if day.weekday() > 4 else 0.9)
                if not is_there or (day in days_of_few and actor not in ("p0@x", "p1@x")):
                    continue
                one = self._rng.choice(["claude-opus-4-5", "claude-haiku-4-5"])
                usage.append(
                    record(
                        sessions=1,
                        pull_requests=self._value("pull requests", actor),
                        tools={"edit_tool": (self._value("tools", actor), 1)},
                        models=[model(self._value("cost", actor), name=one)],
                        customer_type="subscription" if actor in ("p2@x", "p3@x", "p4@x") else "api",
                        is_remote=self._rng.random() < 0.3,
                        actor=key(actor) if actor == "key" else {"type": "user_actor", "email_address": actor},
                    )
                )
                if actor != "key":
                    for_what = self._rng.choice([{}, {}, {"product": "chat"}, {"cost_type": "web_search"}])
                    group = {"organization_id": self.name, "model": one, **for_what}
                    charges.append(charge(user(actor, actor), self._value("charge", actor), **group))
            books.load(self.name, day, usage, hours=hours)
            books.charge(self.name, day, charges, hours=hours + 48, products=())

    def _value(self, kind: str, owner: str) -> int:
        value = self._rng.randint(10**9, 2 * 10**9)
        if kind not in self._kinds:
            return value
        self.owners.append(owner)
        return value + (10**6 if len(self.owners) - 1 == self._enlarged else 0)


def published(
    tables: dict[str, pa.Table], settings: Settings, *, with_views: bool
) -> dict[str, dict[gradients.Label, float]]:
    """Return the numbers of each organisation in the files and headlines of a report, its forecasts, and all views."""
    numbers: dict[str, dict[gradients.Label, float]] = defaultdict(dict)
    organizations = collect(over_memory(tables, settings), settings, people=False)
    hour = {"amount": 80, "source": "x"}
    assumptions = Assumptions.parse({"hourly_cost": hour, "minutes_per_pull_request": {"minutes": 1, "source": "x"}})
    for cell in shown_cells(document(organizations, settings, datetime.now(UTC), assumptions)):
        # The findings of checks quote sums, and nobody loaded the total of the charges.
        if cell.section != "Data health" and cell.unit in ("USD", ""):
            # A caption may have a number as well.
            table = re.sub("[0-9]", "", cell.table)
            label = (cell.section, table, cell.row_number, cell.column)
            numbers[cell.organization_id] |= gradients.numbers_in(label, cell.number)
    for each in organizations:
        forecasts = [asdict(each.month.forecast)] if each.month.forecast else []
        known = {"headlines": each.headline(), "forecast": dict(enumerate([*forecasts, *each.month.past_errors]))}
        # These are rounded.
        known["headlines"].pop("month_forecast_usd")
        numbers[each.id] |= gradients.numbers_in(("report",), known)
    of_all = {name: [] for name in VIEWS} if not with_views else rows_of_views(tables, settings)
    for name, rows in of_all.items():
        for row in rows:
            place = [str(value) for value in row.values() if isinstance(value, (str, date))]
            numbers[row["organization_id"]] |= gradients.numbers_in((name, *place[:1], *place[2:]), row)
    return numbers


@pytest.mark.parametrize(
    ("weeks", "with_views", "kinds"),
    [(1, True, ("cost", "charge")), (1, True, ("pull requests", "tools")), (2, False, ("cost", "charge", "tools"))],
)
def test_nobody_can_be_computed_from_everything_that_is_published(
    weeks: int, with_views: bool, kinds: Container[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first of two weeks, two people work."""
    # Drawing takes long, and charts have the numbers of the tables.
    for name in ("bar_chart", "column_chart", "line_chart"):
        monkeypatch.setattr(charts, name, lambda *_args, **_options: Markup())
    days = [LAST_OF_SANDBOX - timedelta(days=number) for number in range(13, -1, -1)]
    days_of_few = days[:7] if weeks == 2 else []
    books, base = Books(), _Copy("0", kinds, -1)
    base.load(books, days, days_of_few, hours=2)
    for number in range(len(base.owners)):
        # No two loads begin at the same moment.
        _Copy(str(number + 1), kinds, number).load(books, days, days_of_few, hours=2 + (number + 1) / 3600)
    settings = Settings(min_group_size=3, first_day=days[-7 * weeks], last_day=days[-1])

    found = published(books.tables(), settings, with_views=with_views)
    changes = gradients.gradients(found.pop("0"), [found[str(number + 1)] for number in range(len(base.owners))])

    assert len(changes) > 10
    assert gradients.who_stands_out(changes, base.owners, settings.min_group_size) == []


def known_rows(reported: Reported, settings: Settings) -> list[Any]:
    (section,) = known_estimates(reported, settings)
    return [row for element in section.elements if isinstance(element, Table) for row in element.rows]


@pytest.mark.parametrize("seed", range(6))
def test_nobody_can_be_computed_of_a_few_people_who_do_anything(seed: int) -> None:
    tables, size = _few_people(seed)

    shown = views(tables, Settings(min_group_size=size))

    assert wrong_cells(shown) == []
    assert who_stands_out(shown, size) == []


def test_a_cost_without_tokens_is_somebodys() -> None:
    history = History()
    monday = LAST - timedelta(days=LAST.weekday() + 7)
    for number in range(7):
        records = [record(f"p{person}@x", sessions=1, models=[model(100)]) for person in range(8)]
        free = {"tokens": (0, 0, 0, 0)}
        records.append(record("p0@x", sessions=1, models=[model(777, name="claude-new-1", **free)]))
        records.append(record("p1@x", sessions=1, models=[model(555, **free)], customer_type="subscription"))
        history.load("acme", monday + timedelta(days=number), records)

    shown = views(history.tables(), Settings())

    assert any(cell.measure == "api" for cell in shown.cells)
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


def test_a_cost_that_few_of_the_active_people_have_is_not_shown() -> None:
    """The API names no model for the others, so the sum is that of three."""
    history = History()
    monday = LAST - timedelta(days=LAST.weekday() + 28)
    for number in range(28):
        records = [
            record(f"p{person}@x", sessions=1, models=[model(100 + person)] if person < 3 else [])
            for person in range(6)
        ]
        history.load("acme", monday + timedelta(days=number), records)
    period = Settings(first_day=monday, last_day=monday + timedelta(days=20))

    shown, reported = page(history.tables(), period)

    assert reported.totals["sessions"] == 6 * 21
    assert reported.comparison.period["api_cost_usd"] is None
    assert known_estimates(reported, period) == []
    assert wrong_cells(shown) == []
    assert who_stands_out(shown, 5) == []


def _few_people(seed: int) -> tuple[dict[str, pa.Table], int]:
    """Load days of a few people with charges, credits, other products and currencies, and costs without tokens."""
    rng, books = random.Random(seed), Books()
    people = [f"p{number}@x" for number in range(rng.choice([6, 8, 10]))]
    usual = {name: rng.choice(["api", "api", "subscription"]) for name in people}
    monday = LAST - timedelta(days=LAST.weekday() + 7)
    models = [f"claude-{family}-4-5" for family in ("opus", "haiku", "sonnet")]
    books.snapshot(monday, {name: name for name in people}, {"k": "ci"})
    for number in range(8):
        day = monday + timedelta(days=number)
        records = [
            record(
                name,
                sessions=rng.randint(0, 3),
                tools={
                    tool: (rng.randint(0, 2), 1) for tool in ("edit_tool", "bash_tool", "new") if rng.random() < 0.6
                },
                models=[
                    model(
                        rng.randint(0, 9),
                        name=name_of_model,
                        currency=rng.choice([*["USD"] * 9, "EUR"]),
                        tokens=rng.choice([*[(1, 2, 3, 4)] * 4, (0, 0, 0, 0)]),
                    )
                    for name_of_model in models
                    if rng.random() < 0.5
                ],
                customer_type=usual[name] if rng.random() < 0.9 else "api",
                is_remote=rng.choice([False, False, True, None]),
            )
            for name in people
            for _ in range(rng.choice([0, 1, 1, 1, 2]))
        ]
        records += [record(actor=key("ci"), sessions=2, models=[model(5)])] * rng.choice([0, 1])
        charges = [
            charge(user(name, name), list_amount, list_amount * rng.choice([0, 1, 1]), model=name_of_model, **group)
            for name in people
            for name_of_model in models
            for list_amount in [rng.randint(-9, 99)]
            for group in [rng.choice([*[{}] * 12, {"product": "chat"}, {"cost_type": "web_search"}])]
            if rng.random() < 0.4
        ]
        charges += [charge(api_key("k"), 7), charge(None, 9)]
        books.load("acme", day, records)
        books.charge("acme", day, charges, products=())
    rows = [mapped(name, rng.choice("abc"), None) for name in people]
    rows += [{**mapped("ci", "m", None), "actor_type": "machine"}] * rng.choice([0, 1])
    return {**books.tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)}, rng.choice([2, 3])


def test_the_attack_finds_who_stands_out() -> None:
    """Of six people, all but one of whom work locally alone, two breakdowns of all sessions show what one did."""
    history = History()
    records = [record(f"p{number}", sessions=number) for number in range(1, 7)]
    records += [record("p7", sessions=50, is_remote=True)]
    history.load("acme", LAST, records)
    world = world_of(history.tables(), Settings(min_group_size=2))
    week = world.bucket(LAST)[0]
    row = {"period_start": week, "organization_id": "acme", "days_in_period": 7}
    total = {**row, "sessions": 71, "tool_actions_offered": None, "api_cost_usd": None, "subscription_value_usd": None}
    local = {**row, "dimension": "location", "value": "unknown", "sessions": 21}

    shown = Shown(world, {"period_activity": [total], "adoption_shares": [local]})

    assert wrong_cells(shown) == []
    assert any("p7" in found for found in who_stands_out(shown, 2))


@pytest.mark.parametrize("users", [20, 250])
def test_where_people_work_is_told_of_the_whole_month(users: int) -> None:
    """Folded by day and added up, nearly all of 20 people's sessions were those of small groups."""
    made, tables = organization(users)
    settings = Settings(breakdown_grain="month", first_day=date(2026, 5, 1), last_day=date(2026, 5, 31))

    (reported,) = collect(over_memory(tables, settings), settings, people=False)

    sessions: dict[str, int] = defaultdict(int)
    people: dict[str, set[str]] = defaultdict(set)
    for number in range(31):
        day = date(2026, 5, 1) + timedelta(days=number)
        for each in made.records(day, datetime.combine(day, time(), UTC) + timedelta(days=3)):
            if each["actor"]["type"] == "user_actor":
                place = {True: "remote", False: "local", None: "unknown"}[each.get("is_remote")]
                sessions[place] += each["core_metrics"]["num_sessions"]
                people[place].add(each["actor"]["email_address"])
    small = {place for place in people if len(people[place]) < 5}
    while small and len(set().union(*(people[place] for place in small))) < 5:
        small.add(min(people.keys() - small, key=lambda place: len(people[place])))
    expected = {place: (who, sessions[place]) for place, who in people.items() if place not in small}
    if small:
        together = set().union(*(people[place] for place in small))
        expected["(small groups)"] = together, sum(sessions[place] for place in small)
    assert {row["value"]: (row["people"], row["share_of_sessions"]) for row in reported.shares["location"]} == {
        place: (len(who), pytest.approx(count / sum(sessions.values()))) for place, (who, count) in expected.items()
    }

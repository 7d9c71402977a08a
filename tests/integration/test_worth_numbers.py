"""The report's comparisons with the cost equal a plain computation, on files and in BigQuery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

pytest.importorskip("duckdb", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.engines.base import Source
from airflow_provider_claude_code.analytics.queries import Settings, parts
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from tests.fixtures.analytics_data import (
    LAST,
    MAPPING,
    History,
    assert_same,
    corners,
    empty_tables,
    over_memory,
    people_and_keys,
    record,
    sandbox_tables,
)
from tests.fixtures.charges_data import sandbox_with_charges
from tests.fixtures.datasets import PROJECT, ask_dataset, fill_dataset
from tests.fixtures.records import model
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.truth import worth as truth
from tests.truth.analytics import World

pytestmark = pytest.mark.newest_only

ENGINES = pytest.mark.parametrize("engine", ["files", "bigquery"])
PERIOD = Settings(first_day=LAST - timedelta(days=27), last_day=LAST, seat_price_cents=1500)
CHARGED = Settings(first_day=date(2026, 2, 19), last_day=date(2026, 3, 18), seat_price_cents=1234)
SEATS = Settings(first_day=date(2026, 2, 19), last_day=date(2026, 3, 18), seat_price_cents=50, min_group_size=3)


def machines() -> dict[str, pa.Table]:
    """Mark a key of a made-up organisation as a machine's."""
    tables = sandbox_tables()
    machine = {"actor_type": "machine", "actor_id": "ci-pipeline-01", "team": "platform"}
    return {**tables, "mapping": pa.concat_tables([tables["mapping"], pa.Table.from_pylist([machine], MAPPING)])}


def other_tools() -> dict[str, pa.Table]:
    """Give exports of other tools: people with and without an address, days that count and days that do not."""

    def day(number: int) -> date:
        return LAST - timedelta(days=number)

    def milliseconds(of: date) -> int:
        return int(datetime.combine(of, time(), UTC).timestamp()) * 1000

    nothing = {
        "user_initiated_interaction_count": 0,
        "code_generation_activity_count": 0,
        "code_acceptance_activity_count": None,
        "loc_added_sum": 0,
        "used_agent": False,
        "used_chat": None,
        "used_cli": False,
    }
    done: list[dict[str, Any]] = [
        {"user_initiated_interaction_count": 1},
        {"code_generation_activity_count": 2},
        {"code_acceptance_activity_count": 1},
        {"loc_added_sum": 8},
        {"used_agent": True},
        {"used_chat": True},
        {"used_cli": True},
        {},
    ]
    copilot = [
        {"day": day(number), "user_login": f"Dev{person:03}_ACME", **nothing, **done[(number + person) % len(done)]}
        for person in range(1, 60)
        for number in range(0, 40, 1 + person % 5)
    ]
    logins = [
        {"login": f" dev{person:03}_acme", "actor_id": f"Dev{person:03}@example.com"} for person in range(1, 60, 2)
    ]
    logins += [{"login": "DEV001_acme", "actor_id": "aaa@example.com"}, {"login": "dev002_acme", "actor_id": None}]
    cursor = [
        {"date": milliseconds(day(number)), "email": f"dev{person:03}@Example.com", "isActive": person % 3 > 0}
        for person in range(30, 50)
        for number in range(10)
    ]
    days = [
        {"tool": tool, "date": day(number), "actor_id": f"dev{person:03}@example.com", "is_active": number % 2 == 0}
        for tool in ("Codex", "claude_code")
        for person in range(8)
        for number in (0, 1, 30, 100)
    ]
    texts = ("day", "user_login", *nothing)
    types = {"day": pa.date32(), "user_login": pa.string(), **{name: pa.bool_() for name in texts if "used" in name}}
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in texts])
    return {
        **sandbox_tables(),
        "copilot_usage": pa.Table.from_pylist(copilot, schema),
        "copilot_logins": pa.Table.from_pylist(logins),
        "cursor_usage": pa.Table.from_pylist(cursor),
        "other_tool_days": pa.Table.from_pylist(days),
    }


CASES: dict[str, tuple[Callable[[], Mapping[str, pa.Table]], Settings]] = {
    "sandbox": (sandbox_tables, PERIOD),
    "machines": (machines, replace(PERIOD, min_group_size=1)),
    "corners": (corners, PERIOD),
    "members": (people_and_keys, PERIOD),
    "charges": (sandbox_with_charges, CHARGED),
    "seats": (sandbox_with_charges, SEATS),
    "tools": (other_tools, PERIOD),
}


@pytest.fixture(scope="module")
def client() -> Iterator[bigquery.Client]:
    with BigQueryServer(project=PROJECT) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        yield bigquery.Client(PROJECT, AnonymousCredentials())


class Asked:
    """Tables behind both engines."""

    def __init__(
        self, client: bigquery.Client, dataset: str, tables: Mapping[str, pa.Table], settings: Settings
    ) -> None:
        # Files of a table that was never loaded are a table of its types, too.
        tables = {**{name: rows for name, rows in empty_tables().items() if name in DATA_TABLES}, **tables}
        fill_dataset(client, dataset, tables)
        self.sources: dict[str, Source] = {
            "files": over_memory(tables, settings),
            "bigquery": ask_dataset(client, dataset, tables, settings),
        }
        self.rows = {name: table.to_pylist() for name, table in tables.items()}
        first, last = settings.period
        length = last - first + timedelta(days=1)
        self.world = World(
            now=datetime.now(UTC),
            min_group_size=settings.min_group_size,
            periods=[(first - length, last - length), (first, last)],
            **{name: rows for name, rows in self.rows.items() if name not in TABLES_OF_TOOLS},
        )


@pytest.fixture(scope="module")
def asked(client: bigquery.Client) -> Callable[[str], Asked]:
    made: dict[str, Asked] = {}

    def ask(case: str) -> Asked:
        if case not in made:
            make, settings = CASES[case]
            made[case] = Asked(client, f"worth_{case}", make(), settings)
        return made[case]

    return ask


def there(world: World, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of periods that have a day; a report has no others."""
    days = set(world.days())
    periods = world.periods or []
    begun = {(org, first) for first, last in periods for org, day in days if first <= day <= last}
    return [row for row in rows if (row["organization_id"], row["period_start"]) in begun]


@ENGINES
@pytest.mark.parametrize("case", CASES)
def test_what_a_period_costs_its_people(asked: Callable[[str], Asked], case: str, engine: str) -> None:
    it = asked(case)
    expected = there(it.world, truth.period_worth(it.world))
    assert any(row["people"] for row in expected)
    assert_same(it.sources[engine].read("period_worth").to_pylist(), expected, list(parts()["period_worth"].columns))


@ENGINES
@pytest.mark.parametrize("case", CASES)
def test_which_mix_is_the_cheapest(asked: Callable[[str], Asked], case: str, engine: str) -> None:
    it = asked(case)
    expected = there(it.world, truth.plan_mixes(it.world, CASES[case][1].seat_price_cents))
    assert expected
    assert_same(it.sources[engine].read("plan_mixes").to_pylist(), expected, list(parts()["plan_mixes"].columns))


@ENGINES
@pytest.mark.parametrize("case", ["sandbox", "corners", "members", "charges", "machines"])
@pytest.mark.parametrize("part", ["activity_classes", "activity_blocks"])
def test_how_regularly_people_work(asked: Callable[[str], Asked], case: str, engine: str, part: str) -> None:
    it = asked(case)
    expected = list(getattr(truth, part)(it.world))
    assert any(row["organization_id"] for row in expected)
    assert_same(it.sources[engine].read(part).to_pylist(), expected, list(parts()[part].columns))


@ENGINES
def test_the_days_of_other_tools_are_taken_from_their_exports(asked: Callable[[str], Asked], engine: str) -> None:
    it = asked("tools")
    found = it.sources[engine].read("tool_days").to_pylist()
    expected = truth.tool_days(it.rows)
    assert {tool for tool, _, _ in expected} == {"github_copilot", "cursor", "Codex"}
    assert {(row["tool"], row["date"], row["person"]): (row["is_known"], row["is_active"]) for row in found} == expected
    assert len(found) == len(expected)


@ENGINES
@pytest.mark.parametrize("case", ["tools", "sandbox", "corners"])
def test_who_uses_which_tool(asked: Callable[[str], Asked], case: str, engine: str) -> None:
    it = asked(case)
    expected = there(it.world, truth.tool_comparison(it.world, it.rows))
    assert_same(
        it.sources[engine].read("tool_comparison").to_pylist(), expected, list(parts()["tool_comparison"].columns)
    )


def test_plans_are_exact_where_no_charges_are_loaded() -> None:
    history, day = History(), date(2026, 2, 2)
    history.load("acme", day, [record(f"p{number}", sessions=1, models=[model("0.0004")]) for number in range(1000)])
    settings = Settings(first_day=day, last_day=day, seat_price_cents=3000)

    (plan,) = over_memory(history.tables(), settings).read("plan_mixes").to_pylist()

    assert plan["at_api_prices_usd"] == plan["mix_usd"] == Decimal("0.004")

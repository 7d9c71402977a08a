"""Histories of loaded days for the models to read, and how what they say is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.sources import FileSource
from airflow_provider_claude_code.sandbox import Organization
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.tables.loads import LOADS, Load
from airflow_provider_claude_code.tables.spool import SpooledTable, arrow_schema, arrow_tables
from tests import analytics_truth as truth
from tests.records import Json, body, model, official_example

_PERIOD = [("valid_from", pa.date32()), ("valid_to", pa.date32())]
ROSTER = pa.schema([("actor_id", pa.string()), *_PERIOD])
MAPPING = pa.schema([*((name, pa.string()) for name in ("actor_type", "actor_id", "team", "cost_centre")), *_PERIOD])

LAST = truth.last_day_due(datetime.now(UTC))
MONTH = (LAST - timedelta(days=40)).replace(day=1)
HOSTILE = [
    "'; DROP TABLE usage; --",
    '"back\\slash\\"',
    "`claude_code.loads`",
    "5 /* min_group_size */",
    "DATE '2025-01-01' /* since */",
    "line\nbreak",
    "例え 🙂",
    "{}%s$1",
]
SPELLINGS = [
    ["ann@x", "\tANN@X\r\n", " Ann@x\u00a0", "\x0b\x0cann@x"],
    # What some change the case of, or take for blanks, and others do not.
    *(["İ@x"], ["i\u0307@x"], ["i@x"], ["ΟΔΟΣ@x"], ["οδος@x"], ["οδοσ@x"], ["straße@x"], ["STRASSE@x", "strasse@x"]),
    *(["Müller@x"], ["MÜLLER@X", "mÜller@x"], ["\u212aelvin@x"], ["kelvin@x"], ["\u2003ann@x"], ["ann@x\u200b"]),
]
"""How addresses are written, each person's together."""


def empty_tables() -> dict[str, pa.Table]:
    """Return the four tables and those that users may add, without rows."""
    tables = {table.name: arrow_schema(table).empty_table() for table in (*DATA_TABLES.values(), LOADS)}
    return {**tables, "roster": ROSTER.empty_table(), "mapping": MAPPING.empty_table()}


def over_memory(tables: Mapping[str, pa.Table], settings: Settings) -> FileSource:
    """Give tables to the models as files are, but without files."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute("CREATE SCHEMA claude_code")
    for name, rows in tables.items():
        database.register("given", rows)
        database.execute(f"CREATE TABLE claude_code.{name} AS FROM given")
    return FileSource(database, tables, settings)


class History:
    """Days as they are loaded one after the other: the rows of the four tables."""

    def __init__(self) -> None:
        self.days: dict[tuple[str, date], dict[str, pa.Table]] = {}
        self.loads: list[dict[str, Any]] = []

    def load(
        self,
        organization: str,
        day: date,
        records: Iterable[Json],
        *,
        hours: float = 2,
        complete: bool = True,
        pseudonym_key_id: str | None = None,
    ) -> None:
        """Load a day some hours after its end; what was there of it is replaced."""
        records = [{"date": str(day), "organization_id": organization, **record} for record in records]
        loaded_at = datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=hours)
        flattener = UsageFlattener(day)
        page = flattener.flatten(decode_report(body(records))[0].data)
        self.days[organization, day] = arrow_tables(page, DATA_TABLES.values(), loaded_at)
        self.loads += Load(
            load_id=f"{loaded_at:%Y%m%dT%H%M%S.%fZ}-{len(self.loads):08x}",
            stream="usage",
            loaded_at=loaded_at,
            day=day,
            organization_id=organization,
            complete=complete,
            totals=flattener.totals,
            files={name: SpooledTable(Path(), count, 0, "") for name, count in flattener.totals.row_counts.items()},
            actor_identity="hmac" if pseudonym_key_id else "plain",
            pseudonym_key_id=pseudonym_key_id,
            dag_id=None,
            run_id=None,
        ).rows()

    def tables(self) -> dict[str, pa.Table]:
        """Return all rows by table."""
        tables = {
            table.name: pa.concat_tables(
                [arrow_schema(table).empty_table(), *(day[table.name] for day in self.days.values())]
            )
            for table in DATA_TABLES.values()
        }
        return {**tables, "loads": pa.Table.from_pylist(self.loads, arrow_schema(LOADS))}


def ago(count: int) -> date:
    return LAST - timedelta(days=count)


def record(
    person: str | None = "ann@example.com",
    *,
    sessions: int = 0,
    added: int = 0,
    removed: int = 0,
    commits: int = 0,
    pull_requests: int = 0,
    tools: Mapping[str, tuple[int, int]] | None = None,
    models: Iterable[Json] = (),
    **changes: Any,
) -> Json:
    """Make a record that counts nothing but what is given, for History.load()."""
    return official_example(
        **{
            "date": ...,
            "organization_id": ...,
            "actor": {"type": "user_actor", "email_address": person},
            "core_metrics": {
                "num_sessions": sessions,
                "lines_of_code": {"added": added, "removed": removed},
                "commits_by_claude_code": commits,
                "pull_requests_by_claude_code": pull_requests,
            },
            "tool_actions": {
                name: {"accepted": accepted, "rejected": rejected}
                for name, (accepted, rejected) in (tools or {}).items()
            },
            "model_breakdown": list(models),
            **changes,
        }
    )


def key(name: str) -> Json:
    return {"type": "api_actor", "api_key_name": name}


def corners() -> dict[str, pa.Table]:
    """Load a history for each corner case, as an organisation of its own, and map the people of some."""
    history = History()
    mapping: list[dict[str, Any]] = []

    def team(organization: str, name: str, count: int) -> list[Json]:
        addresses = [f"{organization}-{name}-{number}@example.com" for number in range(count)]
        mapping.extend(
            {"actor_type": "user_actor", "actor_id": address, "team": name, "cost_centre": "1"} for address in addresses
        )
        return [record(address, sessions=1, models=[model(100)]) for address in addresses]

    for number in range(4):
        history.load("nobody", ago(number), [])

    history.load("one person", ago(2), [record(sessions=2, added=10, removed=4, commits=1, models=[model("150.5")])])
    history.load("one person", ago(0), [])

    history.load("rejections", ago(1), [record(tools={"edit_tool": (0, 3)})])

    history.load(
        "currencies",
        ago(1),
        [
            record("ann", sessions=1, models=[model(100), model(200, currency="EUR")]),
            record("bob", sessions=1, customer_type="subscription", models=[model(300, currency="EUR")]),
            record("cat", sessions=2, models=[model(0), model(0, currency="EUR")]),
        ],
    )

    history.load("no models", ago(1), [record(sessions=3)])

    places = [record(f"p{number}", sessions=1) for number in range(5)]
    places += [record(f"p{number}", sessions=2, is_remote=False) for number in range(4, 9)]
    places += [record(f"q{number}", sessions=3, is_remote=True) for number in range(6)]
    history.load("places", ago(1), places)

    history.load("month ends", MONTH - timedelta(days=1), [record(sessions=1, models=[model(100)])])
    history.load("month ends", MONTH, [record(sessions=10, models=[model(1000)])])

    for number in (13, 14):
        history.load("moves", MONTH + timedelta(days=number), [record("Ann@Moves.example", sessions=number)])
    moved = {"actor_type": "user_actor", "cost_centre": None}
    mapping.append(
        {**moved, "actor_id": " ann@moves.EXAMPLE", "team": "before", "valid_to": MONTH + timedelta(days=13)}
    )
    mapping.append(
        {**moved, "actor_id": "ANN@moves.example", "team": "after", "valid_from": MONTH + timedelta(days=14)}
    )

    groups = [*team("groups", "a", 2), *team("groups", "b", 2), *team("groups", "c", 5), *team("groups", "d", 6)]
    groups += [record(actor=key("robot"), sessions=10), record(actor=key("nobody's"), sessions=100)]
    mapping.append({"actor_type": "api_actor", "actor_id": "robot", "team": "robots", "cost_centre": "2"})
    history.load("groups", MONTH, groups)
    history.load("enough", MONTH, [*team("enough", "a", 3), *team("enough", "b", 3), *team("enough", "c", 5)])

    work = {"sessions": 7, "models": [model(900)], "tools": {"edit_tool": (1, 0)}}
    zeros = {"models": [model(0, tokens=(0, 0, 0, 0))], "tools": {"edit_tool": (0, 0)}}
    members = team("zeros", "team", 9)
    history.load(
        "zeros",
        MONTH,
        [record(row["actor"]["email_address"], **(zeros if n else work)) for n, row in enumerate(members)],
    )
    nobody = [record(row["actor"]["email_address"], **zeros) for row in team("only zeros", "team", 9)]
    history.load("only zeros", MONTH, [*nobody, record(actor=key("ci"), customer_type="subscription", **work)])

    active = {"day 27": [27], "day 28": [28], "day 40": [40], "back after 28": [41, 69], "back after 29": [41, 70]}
    for number in range(98):
        people = [name for name, days in active.items() if number in days]
        history.load("recency", ago(97 - number), [record(name, sessions=1) for name in people])

    history.load("dormant", ago(60), [record("day 40", sessions=1)])
    history.load("dormant", ago(0), [])
    roster = [{"actor_id": " DAY 40"}, {"actor_id": "never"}, {"actor_id": None}, {"actor_id": " \t"}]
    roster.append({"actor_id": "Day 27", "valid_from": ago(97 - 20), "valid_to": ago(97 - 30)})

    kinds: list[dict[str, Any]] = [{name: 1} for name in ("sessions", "added", "removed", "commits", "pull_requests")]
    kinds += [{"tools": {"edit_tool": counts}} for counts in ((1, 0), (0, 1))]
    kinds += [{"models": [model(0, tokens=[int(kind == n) for n in range(4)])]} for kind in range(4)]
    # What costs something without a token is no activity, nor is a tool that offers nothing.
    kinds += [
        {},
        {"models": [model(5, tokens=(0, 0, 0, 0)), model(0, tokens=(0, 0, 0, 0))]},
        {"tools": {"new": (0, 0)}},
    ]
    people = [record(f"p{number}", **kind) for number, kind in enumerate(kinds)]
    people += [record(actor=key("idle"), tools={"new": (0, 0)}), record(actor=key("no"), tools={"new": (0, 1)})]
    history.load("kinds of activity", ago(1), people)
    work = {"added": 3, "tools": {"edit_tool": (2, 1)}, "models": [model(100), model(7, currency="EUR")]}
    both = [
        record(sessions=1, actor=actor, customer_type=customer_type, **work)
        for actor in ({"type": "user_actor", "email_address": "ann"}, key("ci"), {"type": "service_actor", "id": "s"})
        for customer_type in ("api", "subscription")
    ]
    both.append(record("ann", customer_type="marketplace"))
    history.load("both customer types", ago(1), both)

    history.load(
        "odd actors",
        ago(1),
        [
            record(None, sessions=1, terminal_type="tmux"),
            record(None, sessions=1),
            record(" Ann@x", sessions=1, tools={"new": (1, 0)}, models=[model(0, name="Claude-OPUS-9")]),
            record("ann@X", sessions=1, tools={"new": (1, 0)}, models=[model(0, name="Claude-OPUS-9")]),
            record("ann@X", models=[model(0, name=name) for name in ("SONNET", "HAIKU")]),
            record(actor=key("Ann@x"), sessions=1),
            record(actor={"type": "service_actor", "id": "S1"}, sessions=1),
            record("bob", sessions=4, customer_type="marketplace", models=[model(700)]),
        ],
    )

    people = [record(name, sessions=1, models=[model(1)], tools={"edit_tool": (1, 0)}) for name in chain(*SPELLINGS)]
    keys = [record(actor=key(name), sessions=1) for name in ("Prod", "prod", "PROD ", " prod", "prod\t")]
    history.load("spellings", MONTH, people + keys)
    mapping += [mapped(name, name, None) for name in ("\n\u00a0ann@X\t", "İ@X", "ΟΔΟΣ@x")]
    mapping += [{**mapped(name, name, None), "actor_type": "api_actor"} for name in ("Prod", "PROD ")]

    before = [record("ann", sessions=1, models=[model(100)])]
    after = [*before, record("bob", sessions=2, models=[model(50)])]
    history.load("restated", ago(5), before, hours=0.5, complete=False)
    history.load("restated", ago(5), after, hours=2)
    history.load("restated", ago(5), after, hours=26)
    pseudonyms = [{**row, "actor": {"type": "user_actor", "email_address": str(n) * 64}} for n, row in enumerate(after)]
    history.load("restated", ago(5), pseudonyms, hours=50, pseudonym_key_id="k1")
    history.load("restated", ago(5), pseudonyms[:1], hours=74, pseudonym_key_id="k2")
    history.load("restated", ago(5), [record("ann", models=[model(1), model(2, currency="EUR")])], hours=98)

    for weeks, count in zip((5, 4, 3, 2, 1, 0), (2, 4, 9, 2, 3, 2), strict=True):
        rows = [record(f"p{number}", sessions=weeks) for number in range(count)]
        history.load("weekdays", ago(7 * weeks), rows)
    for weeks, count in zip((2, 1, 0), (4, 4, 0), strict=True):
        history.load("fell", ago(7 * weeks), [record(f"p{number}") for number in range(count)])

    history.load("stale", ago(3), [record()], hours=5)
    history.load("stale", ago(1), [record()], hours=0.5, complete=False)
    history.load("early", ago(0), [record()])
    history.load("early", ago(-1), [record(sessions=1)], hours=-23, complete=False)

    hostile = []
    for number in range(5):
        address = f"hostile-{number}@example.com"
        mapping.append({"actor_type": "user_actor", "actor_id": address, "team": HOSTILE[number], "cost_centre": "'"})
        models = [model(100, name=name) for name in HOSTILE]
        hostile.append(record(address, models=models, tools=dict.fromkeys(HOSTILE, (2, 1))))
        hostile += [record(address, sessions=1, terminal_type=name) for name in HOSTILE]
    history.load("hostile", ago(1), hostile)
    return {
        **history.tables(),
        "roster": pa.Table.from_pylist(roster, ROSTER),
        "mapping": pa.Table.from_pylist(mapping, MAPPING),
    }


def sandbox_tables() -> dict[str, pa.Table]:
    """
    Load 90 days of a made-up organisation as they would be: some late, some twice, some never, some empty.

    Its people are on a roster and mapped to teams, large and small, some of them only for a time.
    """
    organization = Organization.named("acme", users=40, seed=3)
    history, last = History(), LAST
    first = last - timedelta(days=89)
    for number in range(90):
        day = first + timedelta(days=number)

        def load(hours: float, *, complete: bool = True, empty: bool = False, day: date = day) -> None:
            now = datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=hours)
            records = [] if empty else organization.records(day, now)
            history.load(organization.id, day, records, hours=hours, complete=complete)

        if number in (17, 40, 41, 88):
            continue
        if number in (30, 61):
            load(2, empty=True)
        elif number == 70:
            load(-9, complete=False)
        else:
            if number % 11 == 0:
                load(0.4, complete=False)
            load(2.25)
            if day.weekday() == 2:
                load(30)
                load(54)
    person = "dev{:03}@example.com".format
    middle = (first + timedelta(days=45)).replace(day=15)
    roster = [{"actor_id": person(number)} for number in range(1, 30)]
    roster += [{"actor_id": f" {person(number).upper()}", "valid_from": middle} for number in range(28, 36)]
    roster += [{"actor_id": f"never-{number}@example.com", "valid_to": middle} for number in range(3)]

    def mapped(team: str, numbers: Iterable[int], **days: date) -> list[dict[str, Any]]:
        return [
            {"actor_type": "user_actor", "actor_id": person(number), "team": team, "cost_centre": f"CC-{team}", **days}
            for number in numbers
        ]

    mapping = [
        *mapped("red", range(1, 9)),
        *mapped("green", range(9, 13)),
        *mapped("blue", range(13, 15), valid_to=middle),
        *mapped("red", range(13, 15), valid_from=middle + timedelta(days=1)),
        *mapped("white", range(15, 30), valid_from=middle),
        {"actor_type": "api_actor", "actor_id": "ci-pipeline-01", "team": "platform", "cost_centre": None},
    ]
    return {
        **history.tables(),
        "roster": pa.Table.from_pylist(roster, ROSTER),
        "mapping": pa.Table.from_pylist(mapping, MAPPING),
    }


def mapped(person: str | None, team: str | None, cost_centre: str | None, **days: date) -> dict[str, Any]:
    return {"actor_type": "user_actor", "actor_id": person, "team": team, "cost_centre": cost_centre, **days}


def groups_that_are_written_alike() -> dict[str, pa.Table]:
    groups = [("a", "b / c"), ("a / b", "c"), ("a", None), ("a", ""), ("a /", "b"), (None, "b")]
    people = [[f"{number}-{person}" for person in range(3)] for number in range(len(groups))]
    history = History()
    history.load("acme", ago(1), [record(name, sessions=1) for names in people for name in names])
    rows = [mapped(name, *group) for group, names in zip(groups, people, strict=True) for name in names]
    return {**history.tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)}


def united_organizations() -> dict[str, pa.Table]:
    """Unite a parent, whose key reads its child's records too, with another organisation."""
    history = History()
    both = [record("ann", sessions=1), record("bob", sessions=2, organization_id="child")]
    history.load("parent", ago(3), both, hours=3)
    history.load("parent", ago(1), both[:1], hours=3)
    history.load("parent", ago(0), both, hours=0.5, complete=False)
    for number in (4, 3, 2, 1, 0):
        history.load("other", ago(number), [record("ann", sessions=4)])
    return history.tables()


def loads_that_lose_and_repeat() -> dict[str, pa.Table]:
    hundred = [record(f"p{number}", sessions=1) for number in range(100)]
    history = History()
    # 51 of 100, then 51 again; 99 of 100; 100 with 50 of them twice, then each once; more than before.
    for number, loads in enumerate([(100, 51, 51), (100, 99), (150, 100), (60, 100), (0, 0), (1, 0)]):
        for hours, count in enumerate(loads):
            history.load("acme", ago(number), (hundred * 2)[:count], hours=2 + hours)
    history.load("acme", ago(9), hundred + hundred[:50])
    history.load("other", ago(0), hundred[:3])
    return history.tables()


def comparable(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Order rows by all but their ratios, which may differ in the last digits."""
    return tuple(str(value) for value in row.values() if not isinstance(value, float))


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]], columns: list[str]) -> None:
    """Compare rows in any order: ratios nearly, all else exactly. What an expected row does not name is null."""
    assert {name for row in expected for name in row} <= set(columns)
    whole = sorted(({name: row.get(name) for name in columns} for row in expected), key=comparable)
    for found, wanted in zip(sorted(rows, key=comparable), whole, strict=False):
        near = {name: pytest.approx(value, rel=1e-9) for name, value in wanted.items() if isinstance(value, float)}
        assert found == {**wanted, **near}
    assert len(rows) == len(expected)

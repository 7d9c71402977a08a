"""What finance reads is what a plain computation says, whatever ids, amounts and loads there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.queries import Settings, models
from tests.fixtures.analytics_data import MAPPING, assert_same, key, mapped, over_memory, record
from tests.fixtures.charges_data import Books, api_key, charge, user
from tests.fixtures.records import Json, model
from tests.truth import analytics as truth

pytestmark = pytest.mark.newest_only

MONDAY = date(2026, 3, 23)
"""The first of ten days with the switch to summer time, and the end of a month within a week."""
# Addresses, names of keys and names of groups are alike, so that only their kind tells them apart.
ADDRESSES = ["ann@x", "Ann@X", " ann@x\t", "ÄNN@x", "änn@x", "a/b@x", "(unmapped)", "'q\"@x", "user_1", "", None]
NAMES = ["ann@x", "ANN@x", "ci", "CI", " ci", "(small groups)"]
MODELS = [
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-3-opus",
    "CLAUDE-haiku",
    "-20251101",
    "new",
    "(no model)",
]
MODELS += ["claude-", "claude-4", "x-1234567", "x-123456789"]
AMOUNTS = ["0", "0", "0.0000001", "0.5", "1", "12.34", "499", "10000000000000.1234567"]
TEAMS = ["x", "y", "x / 1", "", "(unattributed)", None]
SERVICE = {"type": "service_actor", "id": "ann@x"}


def used(random: Random, organization: str) -> Json:
    address = {"type": "user_actor", "email_address": random.choice(ADDRESSES)}
    entries = [
        model(
            random.choice(AMOUNTS),
            name=random.choice(MODELS),
            currency=random.choice(["USD", "USD", "USD", "EUR", "usd"]),
            tokens=[random.choice([0, 0, 1, 5]) for _ in range(4)],
        )
        for _ in range(random.randint(0, 3))
    ]
    return record(
        actor=random.choice([address, address, key(random.choice([*NAMES, ""])), SERVICE]),
        sessions=random.randint(0, 3),
        models=entries,
        customer_type=random.choice(["api", "api", "subscription", "marketplace"]),
        organization_id=random.choice([organization, organization, f"{organization} child"]),
    )


def charged(random: Random, organization: str, products: tuple[str, ...]) -> Json:
    person = user(random.randint(1, 3), random.choice([address for address in ADDRESSES if address] + [None]))
    list_amount = Decimal(random.choice(AMOUNTS)) * random.choice([1, 1, 1, -1])
    return charge(
        random.choice([person, person, api_key(f"k{random.randint(1, 3)}"), SERVICE, None]),
        list_amount,
        round(list_amount * random.choice([Decimal(1), Decimal("0.88"), Decimal(0), Decimal(-1)]), 7),
        model=random.choice([*MODELS, None]),
        currency=random.choice(["USD", "USD", "USD", "EUR"]),
        organization_id=random.choice([organization, None, f"{organization} child", f"only charges of {organization}"]),
        cost_type=random.choice(["tokens", "tokens", "web_search", None]),
        product=random.choice(products or ("claude_code", "claude-code", "messages_api", None)),
        # Charges that differ in nothing else would be refused.
        workspace_id=f"wrkspc_{random.random()}",
    )


def groups(random: Random) -> list[dict[str, Any]]:
    """Map some actors, many of them to another group, or none, from a day within a week on."""
    actors = {
        ("user_actor", "ann@x"),
        ("user_actor", "ÄNN@x"),
        ("user_actor", "(unmapped)"),
        ("service_actor", "ann@x"),
    }
    actors |= {(random.choice(["api_actor", "machine"]), name) for name in NAMES}
    rows = []
    for kind, name in random.sample(sorted(actors), 5):
        day, gap = MONDAY + timedelta(days=random.randint(0, 9)), timedelta(days=random.randint(1, 3))
        for valid in ({"valid_to": day}, {"valid_from": day + gap}):
            row = mapped(name, random.choice(TEAMS), random.choice([None, "1", "/"]), **valid)
            rows.append({**row, "actor_type": kind})
    return rows


def odd_tables(random: Random) -> Mapping[str, pa.Table]:
    """Load days of two organisations whose ids differ in case: some never, twice, too early, or without models."""
    books = Books()
    for hours, organization in enumerate(("acme", "ACME")):
        for day in (MONDAY + timedelta(days=number) for number in range(10)):
            for again in range(random.choice([0, 1, 1, 1, 2])):
                records = [used(random, organization) for _ in range(random.choice([0, 1, 3, 6]))]
                books.load(organization, day, records, hours=2 + hours + 20 * again, complete=random.random() < 0.9)
            for again in range(random.choice([0, 1, 1, 2])):
                products = random.choice([("claude_code",), ("claude_code", "messages_api"), ("messages_api",), ()])
                entries = [charged(random, organization, products) for _ in range(random.choice([0, 1, 3, 6]))]
                late, complete = 30 + hours + 30 * again, random.random() < 0.9
                books.charge(organization, day, entries, hours=late, complete=complete, products=products)
            if organization == "acme" and random.random() < 0.3:
                addresses = {f"user_{number}": random.choice(ADDRESSES[:-2]) for number in range(1, 4)}
                books.snapshot(day, addresses, {f"k{number}": random.choice(NAMES) for number in range(1, 4)})
    tables = {**books.tables(), "mapping": pa.Table.from_pylist(groups(random), MAPPING)}
    without = MONDAY + timedelta(days=random.randint(0, 9))
    loads = [row for row in books.loads if (row["date"], row["table_name"]) != (without, "model_usage")]
    tables["loads"] = pa.Table.from_pylist(loads, tables["loads"].schema)
    tables["model_usage"] = tables["model_usage"].filter(pa.compute.not_equal(tables["model_usage"]["date"], without))
    return tables


@settings(max_examples=8)
@given(
    random=st.randoms(use_true_random=False), size=st.sampled_from([1, 1, 3]), grain=st.sampled_from(["week", "month"])
)
def test_costs_are_what_a_plain_computation_says_whatever_ids_amounts_and_loads_there_are(
    random: Random, size: int, grain: str
) -> None:
    tables = odd_tables(random)
    source = over_memory(tables, Settings(min_group_size=size, breakdown_grain=grain))
    rows = {name: table.to_pylist() for name, table in tables.items()}
    world = truth.World(now=datetime.now(UTC), min_group_size=size, breakdown_grain=grain, **rows)

    for name in ("model_costs", "cost_allocation", "cost_reconciliation"):
        columns = list(models()[name].columns)
        found = [{column: row[column] for column in columns} for row in source.read(name).to_pylist()]
        assert_same(found, list(truth.MODELS[name](world)), columns)

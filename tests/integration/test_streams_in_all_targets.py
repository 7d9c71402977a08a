"""Every stream arrives in every target as the sandbox has it, and no stream disturbs another."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeEmptyDayError
from airflow_provider_claude_code.sandbox import Organization, Sandbox, cost_report
from airflow_provider_claude_code.sandbox import people as truth
from airflow_provider_claude_code.sandbox.charges import charges, refreshed_at
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.transfers import base
from tests.fixtures import targets
from tests.fixtures.clock import Clock
from tests.fixtures.organizations import charged, snapshot
from tests.fixtures.serving import connect_to
from tests.fixtures.targets import Row, Target, load
from tests.truth import streams as rows_of
from tests.truth.records import canonical, flat

pytestmark = pytest.mark.newest_only

servers, target = targets.servers, targets.target


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(users=60) as sandbox:
        connect(sandbox, monkeypatch, page_limit=7)
        # Another load in between would be an error.
        monkeypatch.setattr(base, "PUBLISH_ATTEMPTS", 1)
        yield sandbox


def connect(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, page_limit: int) -> None:
    secret = "correct horse battery staple"
    connect_to(sandbox, monkeypatch, page_limit=page_limit, retry_budget=0, pseudonym_secret=secret)


def days() -> list[date]:
    """Days that are complete in every stream."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=back) for back in (5, 4, 3)]


def load_all(target: Target, **arguments: Any) -> None:
    for stream in ("usage", "cost"):
        load(target, days()[-1], stream=stream, lookback_days=2, **arguments)
    load(target, datetime.now(UTC).date(), stream="members", **arguments)


def test_all_streams_arrive_as_they_are(target: Target, sandbox: Sandbox) -> None:
    organization, now = sandbox.organization, datetime.now(UTC)
    load_all(target)
    for day in days():
        records = organization.records(day, now)
        usage = [row for row in target.rows("usage") if row["date"] == day]
        assert len(usage) == len(records)
        assert sum(row["num_sessions"] for row in usage) == sum(
            each["core_metrics"]["num_sessions"] for each in records
        )
        charged = [
            charge
            for charge in charges(organization, day, refreshed_at(now))
            if charge.group.get("product") == "claude_code"
        ]
        held = [row for row in target.rows("cost") if row["date"] == day]
        for column, amounts in (
            ("amount_cents", [charge.amount for charge in charged]),
            ("list_amount_cents", [charge.list_amount for charge in charged]),
        ):
            # Each row is rounded to nine places.
            assert abs(sum(row[column] for row in held) - sum(amounts)) < Decimal("1e-6")
            (total,) = [row for row in target.rows("cost_totals") if row["date"] == day]
            assert abs(total[column] - sum(amounts)) < Decimal("1e-8")
    everybody = organization.people()
    assert {(row["user_id"], row["email"]) for row in target.rows("members")} == {
        (each["id"], each["email"]) for each in truth.members(everybody, now)
    }
    assert {row["name"] for row in target.rows("workspaces") if row["is_claude_code"]} == {"Claude Code"}
    assert {row["api_key_id"] for row in target.rows("api_keys")} == {
        each["id"] for each in truth.api_keys(organization.key_names())
    }
    assert {(row["stream"], row["table_name"]) for row in target.rows("loads")} == {
        (stream, table)
        for stream, tables in {
            "usage": ("usage", "model_usage", "tool_usage"),
            "cost": ("cost", "cost_totals"),
            "members": ("members", "workspaces", "workspace_members", "api_keys"),
        }.items()
        for table in tables
    }


def test_with_pseudonyms_no_table_names_anybody(target: Target) -> None:
    load_all(target, actor_identity="hmac")
    content = str([target.rows(table) for table in DATA_TABLES])
    for name in ("@", "user_0", "Developer", "ci-pipeline", "apikey_"):
        assert name not in content
    usage = {row["actor_id"] for row in target.rows("usage") if row["actor_type"] == "user_actor"}
    assert usage & {row["actor_id"] for row in target.rows("cost")}
    assert usage & {row["email"] for row in target.rows("members")}
    assert {row["user_id"] for row in target.rows("cost")} & {row["user_id"] for row in target.rows("members")}


def test_loading_again_changes_no_digest(target: Target) -> None:
    load_all(target)
    load_all(target)
    digests: dict[tuple[Any, ...], list[str]] = {}
    for row in target.rows("loads"):
        digests.setdefault((row["table_name"], row["date"]), []).append(row["content_digest"])
    assert {len(both) for both in digests.values()} == {2}
    assert {len(set(both)) for both in digests.values()} == {1}


def charge_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the API answer with a total of 0, and nobody's charges."""

    def grouped(_: Any, day: date, groups: list[str], products: list[str]) -> list[list[Row]]:
        bounds = {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z"}
        cost = {"amount": "0", "list_amount": "0", "currency": "USD", "requests": 0}
        return [] if groups else [[{**bounds, "group": {}, "cost": cost}]]

    monkeypatch.setattr(cost_report, "grouped", grouped)


def test_a_day_without_charges_may_have_a_total_of_0(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    charge_nothing(monkeypatch)
    for _ in range(2):
        load(target, days()[-1], stream="cost")
    assert target.rows("cost") == []
    assert [row["amount_cents"] for row in target.rows("cost_totals")] == [0]
    counts = [(row["table_name"], row["row_count"]) for row in target.rows("loads")]
    assert sorted(counts) == [("cost", 0), ("cost", 0), ("cost_totals", 1), ("cost_totals", 1)]


def test_a_total_of_0_erases_no_charges(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    load(target, days()[-1], stream="cost")
    before = target.state()
    charge_nothing(monkeypatch)
    with pytest.raises(ClaudeCodeEmptyDayError, match=r"rows of that day \([^,]*cost: [0-9]+\)"):
        load(target, days()[-1], stream="cost")
    assert target.state() == before


MORNINGS = [datetime(2026, 1, 17, 3, tzinfo=UTC) + timedelta(days=number) for number in range(90)]
"""The times of the snapshots. Between them, people join, leave, come back, are deleted and change addresses."""
WEEKLY = MORNINGS[5::7]
"""When a week of usage and one of charges is loaded: on Thursdays, some hours before Wednesday is restated."""


# Files are published by the same code into all stores.
@pytest.mark.parametrize(
    ("target", "days"), [("directory", 90), ("bigquery", 31)], indirect=["target"], ids=["directory", "bigquery"]
)
def test_many_days_arrive_row_by_row(
    target: Target, days: int, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = sandbox.organization = Organization.named("Sandbox", 34, 3)
    clock = sandbox.now = Clock(MORNINGS[0])
    clock.rule(monkeypatch)
    connect(sandbox, monkeypatch, page_limit=1000)
    # Thousands of flushes take as long as the rest.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for clock.now in MORNINGS[:days]:
        today = clock.now.date()
        load(target, today, stream="members")
        if clock.now in WEEKLY:
            load(target, today - timedelta(days=1), lookback_days=7)
            load(target, today - timedelta(days=2), stream="cost", lookback_days=6)

    loads = target.rows("loads")
    for table, expected in truth_of_days(organization, days).items():
        found, columns = target.rows(table), set().union(*expected)
        assert canonical({name: row[name] for name in columns} for row in found) == canonical(expected), table
        assert set().union(*found) - columns <= rows_of.WITHOUT_A_SOURCE
        assert {row["date"] for row in loads if row["table_name"] == table} == {row["date"] for row in expected}


def truth_of_days(organization: Organization, days: int) -> dict[str, list[Row]]:
    """Return the rows of all tables after some days, from what the organisation does and has."""
    rows: dict[str, list[Row]] = {table: [] for table in DATA_TABLES}
    mornings = MORNINGS[:days]
    weekly = [now for now in WEEKLY if now in mornings]
    loads = [snapshot(organization, now) for now in mornings]
    for now in weekly:
        refreshed = datetime.combine(now, time(), UTC)
        loads += [charged(organization, refreshed.date() - timedelta(days=2 + back), refreshed) for back in range(7)]
    for table, found in itertools.chain.from_iterable(each.items() for each in loads):
        rows[table] += found
    loaded_last = {now.date() - timedelta(days=1 + back): now for now in weekly for back in range(8)}
    for day, now in loaded_last.items():
        for table, found in flat(organization.records(day, now), day).items():
            rows[table] += found
    return rows


def test_much_happens_in_these_90_days() -> None:
    organization = Organization.named("Sandbox", 34, 3)
    rows = truth_of_days(organization, 90)
    days: dict[str, list[date]] = {}
    addresses: dict[str, set[str]] = {}
    for row in rows["members"]:
        days.setdefault(row["user_id"], []).append(row["date"])
        addresses.setdefault(row["user_id"], set()).add(row["email"])
    first, last = MORNINGS[0].date(), MORNINGS[-1].date()
    assert [user for user, there in days.items() if there[0] > first], "somebody joins"
    assert [user for user, there in days.items() if there[-1] < last], "somebody leaves"
    gaps = [user for user, there in days.items() if (there[-1] - there[0]).days >= len(there)]
    assert gaps, "somebody leaves and comes back"
    assert [user for user, both in addresses.items() if len(both) == 2], "somebody gets another address"
    assert [row for row in rows["cost"] if row["user_id"] and row["actor_id"] is None], "somebody's account is deleted"
    for thursday in WEEKLY[:-1]:
        wednesday = thursday.date() - timedelta(days=1)
        at_first = organization.records(wednesday, thursday)
        assert len([row for row in rows["usage"] if row["date"] == wednesday]) > len(at_first), "a day is restated"

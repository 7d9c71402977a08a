"""Charges are loaded as the sandbox has them, day by day, and only once they are complete."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeIncompleteDayError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.sandbox.charges import charges, refreshed_at
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.serving import connect_to


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(users=60) as sandbox:
        connect_to(sandbox, monkeypatch, page_limit=7, retry_budget=0, pseudonym_secret="correct horse battery staple")
        yield sandbox


@pytest.fixture
def day() -> date:
    """A working day whose charges are complete."""
    today = datetime.now(UTC).date()
    return next(day for back in range(3, 10) if (day := today - timedelta(days=back)).weekday() in (0, 1))


def load(path: Path, day: date, **arguments: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", run_id=uuid.uuid4().hex, task_id="t", map_index=-1, try_number=1, start_date=datetime.now(UTC)
    )
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
    operator = ClaudeCodeToObjectStorageOperator(
        task_id="load", path=str(path), day=str(day), stream="cost", **arguments
    )
    summary: dict[str, Any] = operator.execute(context)
    return summary


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    files = sorted(path.glob(f"{table}/dt=*/*.parquet"))
    return [row for file in files for row in pa.parquet.read_table(file, partitioning=None).to_pylist()]


def truth(sandbox: Sandbox, day: date, product: str | None = "claude_code") -> tuple[Decimal, Decimal]:
    found = [
        charge
        for charge in charges(sandbox.organization, day, refreshed_at(datetime.now(UTC)))
        if product in (None, charge.group.get("product"))
    ]
    return sum((each.amount for each in found), Decimal(0)), sum((each.list_amount for each in found), Decimal(0))


def test_a_day_is_loaded_to_its_last_fraction_of_a_cent(sandbox: Sandbox, day: date, tmp_path: Path) -> None:
    (summary,) = load(tmp_path, day)["days"]

    charged, list_price = truth(sandbox, day)
    # Each row is rounded to nine places.
    assert abs(Decimal(summary["amount_cents"]) - charged) < Decimal("1e-6")
    assert abs(Decimal(summary["list_amount_cents"]) - list_price) < Decimal("1e-6")
    found = rows(tmp_path, "cost")
    assert sum(row["amount_cents"] for row in found) == Decimal(summary["amount_cents"])
    assert {row["product"] for row in found} == {"claude_code"}
    assert {row["cost_type"] for row in found} == {"tokens", "web_search"}
    assert {row["actor_type"] for row in found} == {"user_actor", "api_actor"}
    (total,) = rows(tmp_path, "cost_totals")
    assert (total["amount_cents"], total["list_amount_cents"]) == (charged, list_price)
    assert {(row["stream"], row["request"], row["table_name"], row["complete"]) for row in rows(tmp_path, "loads")} == {
        ("cost", '{"products":["claude_code"]}', table, True) for table in ("cost", "cost_totals")
    }


def test_all_products_are_loaded_when_asked_for(sandbox: Sandbox, day: date, tmp_path: Path) -> None:
    (summary,) = load(tmp_path, day, filters={"products": []})["days"]
    assert abs(Decimal(summary["amount_cents"]) - truth(sandbox, day, None)[0]) < Decimal("1e-6")
    found = rows(tmp_path, "cost")
    assert {row["product"] for row in found} >= {"claude_code", "chat", None}
    # Code execution is nobody's, in two entries that are the same but for their amount.
    assert sorted(row["amount_cents"] for row in found if row["actor_type"] is None) == [5, 8]
    assert {row["request"] for row in rows(tmp_path, "loads")} == {'{"products":[]}'}


def test_pseudonyms_are_those_of_usage(sandbox: Sandbox, day: date, tmp_path: Path) -> None:
    load(tmp_path, day, actor_identity="hmac")
    found = rows(tmp_path, "cost")
    frame = ClaudeCodeHook().get_df(day, actor_identity="hmac")
    people = {row["actor_id"] for row in found if row["actor_type"] == "user_actor" and row["actor_id"]}
    assert len(people & set(frame["actor_id"])) >= 5
    assert "@" not in str(found)
    assert "user_0" not in str(found)


def test_a_day_is_loaded_once_its_charges_are_complete(sandbox: Sandbox, tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    with pytest.raises(ClaudeCodeIncompleteDayError, match="the time is"):
        load(tmp_path, yesterday)
    assert sandbox.requests == []
    # An API that has not refreshed its data since yesterday.
    sandbox.now = lambda: datetime.now(UTC) - timedelta(days=1)
    with pytest.raises(ClaudeCodeIncompleteDayError, match="the API's data ends at"):
        load(tmp_path, yesterday - timedelta(days=1))
    sandbox.now = lambda: datetime.now(UTC)
    assert rows(tmp_path, "loads") == []
    (summary,) = load(tmp_path, yesterday, allow_incomplete=True)["days"]
    assert not summary["complete"]
    assert {row["complete"] for row in rows(tmp_path, "loads")} == {False}


def test_the_sensor_asks_as_of_when_the_charges_are(sandbox: Sandbox) -> None:
    today = datetime.now(UTC).date()
    done = ClaudeCodeFreshnessSensor(task_id="done", day=str(today - timedelta(days=2)), stream="cost")
    assert done.poke({})
    assert len(sandbox.requests) == 1
    # An API that has not refreshed its data since yesterday.
    sandbox.now = lambda: datetime.now(UTC) - timedelta(days=1)
    assert not done.poke({})
    early = ClaudeCodeFreshnessSensor(task_id="early", day=str(today - timedelta(days=1)), stream="cost")
    assert not early.poke({})


def test_days_before_the_history_are_refused_or_left_out(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    today = datetime.now(UTC).date()
    first = max(date(2026, 1, 1), today - timedelta(days=364))
    with pytest.raises(AirflowFailException, match=f"from {first} on"):
        load(tmp_path, first - timedelta(days=1))
    days = load(tmp_path, first + timedelta(days=1), lookback_days=4)["days"]
    assert [day["day"] for day in days] == [str(first), str(first + timedelta(days=1))]
    assert f"Leaving out the days before {first}" in caplog.text


@pytest.mark.parametrize("faults", [Faults(status=410, page=3, times=1), Faults(status=404, page=2, times=1)])
def test_a_cursor_that_expires_starts_the_day_again(
    sandbox: Sandbox, day: date, tmp_path: Path, faults: Faults
) -> None:
    sandbox.faults = faults
    (summary,) = load(tmp_path, day)["days"]
    assert abs(Decimal(summary["amount_cents"]) - truth(sandbox, day)[0]) < Decimal("1e-6")


@pytest.mark.parametrize("fault", [{"wrong_day": True}, {"repeat_cursor": True}, {"truncate": True}, {"endless": True}])
def test_a_day_that_cannot_be_trusted_changes_nothing(
    sandbox: Sandbox, day: date, tmp_path: Path, fault: dict[str, Any]
) -> None:
    load(tmp_path, day)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    sandbox.faults = Faults(**fault)
    with pytest.raises(Exception, match=r"is invalid|failed"):
        load(tmp_path, day)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_records_are_charged_once(sandbox: Sandbox, day: date) -> None:
    found = [record.entry.cost for record in ClaudeCodeHook().iter_records(day, "cost")]
    assert (sum(cost.amount for cost in found), sum(cost.list_amount for cost in found)) == truth(sandbox, day)


def test_a_frame_has_the_charges(sandbox: Sandbox, day: date) -> None:
    frame = ClaudeCodeHook().get_df(day, table="cost")
    assert abs(sum(frame["amount_cents"]) - truth(sandbox, day)[0]) < Decimal("1e-6")

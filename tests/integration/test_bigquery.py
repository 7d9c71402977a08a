"""
Days of usage arrive in BigQuery whole, whoever writes and whatever fails.

The real operator, Airflow's BigQueryHook and Google's client talk to the local server of `tests.servers.bigquery`;
what is expected is computed a second time, from the raw records.
"""

import asyncio
import itertools
import json
import re
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("airflow.providers.google", reason="the extra `google` is not installed")
bigquery = pytest.importorskip("google.cloud.bigquery", reason="the extra `google` is not installed")
pytest.importorskip("sqlglot", reason="the local BigQuery server translates SQL with sqlglot")

from airflow.sdk import Asset, AssetAlias  # noqa: E402
from cryptography.fernet import Fernet  # noqa: E402
from google.api_core.exceptions import BadRequest  # noqa: E402
from google.auth.credentials import AnonymousCredentials  # noqa: E402
from google.auth.transport.requests import AuthorizedSession  # noqa: E402
from google.cloud.bigquery import PolicyTagList, SchemaField, TimePartitioning  # noqa: E402

from airflow_provider_claude_code.exceptions import (  # noqa: E402
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.operators.bigquery_views import ClaudeCodeBigQueryViewsOperator  # noqa: E402
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator  # noqa: E402
from airflow_provider_claude_code.sandbox import Faults, Organization, Sandbox  # noqa: E402
from airflow_provider_claude_code.streams.registry import DATA_TABLES  # noqa: E402
from airflow_provider_claude_code.tables.loads import LOADS  # noqa: E402
from airflow_provider_claude_code.targets.bigquery import target as target_module  # noqa: E402
from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget, StartedLoad, bigquery_schema  # noqa: E402
from airflow_provider_claude_code.transfers import base  # noqa: E402
from airflow_provider_claude_code.transfers.base import Progress  # noqa: E402
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator  # noqa: E402
from airflow_provider_claude_code.triggers.bigquery import ClaudeCodeBigQueryJobsTrigger  # noqa: E402
from airflow_provider_claude_code.version_compat import (  # noqa: E402
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from tests.airflow_version import HookLineageCollector, TaskDeferred  # noqa: E402
from tests.integration.test_bigquery_server import Discovery  # noqa: E402
from tests.records import DAY, TOKEN_KINDS, Json, body, cents, exact_sum, model, naive_totals, people  # noqa: E402
from tests.servers.bigquery import (  # noqa: E402
    BigQueryServer,
    DroppedConnection,
    FailingJob,
    HttpError,
    JobRecord,
    SeenRequest,
    SlowJob,
)

PROJECT = "demo-proj"
TABLES = ("usage", "model_usage", "tool_usage")
CONTRACTS = [*DATA_TABLES.values(), LOADS]
KEY = "projects/p/locations/us/keyRings/r/cryptoKeys/k"
ACTION = {"accepted": 1, "rejected": 0}
BEFORE = DAY - timedelta(days=1)
UNKNOWN_TO_THE_API = ("record_id", "key_ordinal", "unknown_fields", "loaded_at")
Row = dict[str, Any]


class Dataset:
    """A dataset of a test's own, seen through the real client."""

    def __init__(self, server: BigQueryServer, *, create: bool = True) -> None:
        self.id = f"d{uuid.uuid4().hex}"
        self.run = f"run of {self.id}"
        self.server = server
        self.client = bigquery.Client(PROJECT, AnonymousCredentials())
        if create:
            self.client.create_dataset(f"{PROJECT}.{self.id}")

    def table_id(self, table: str, day: date | None = None) -> str:
        return f"{PROJECT}.{self.id}.claude_code_{table}" + (f"${day:%Y%m%d}" if day else "")

    def get(self, table: str, day: date | None = None) -> Any:
        return self.client.get_table(self.table_id(table, day))

    def names(self) -> set[str]:
        return {table.table_id.removeprefix("claude_code_") for table in self.client.list_tables(self.id)}

    def rows(self, table: str, day: date | None = None) -> list[Row]:
        rows = self.client.list_rows(self.get(table), page_size=10_000)
        found = [dict(row.items()) for row in rows]
        return [row for row in found if day in (None, row["date"])]

    def content(self, table: str, day: date | None = None) -> list[str]:
        """The rows without what the API does not know, in one order."""
        return _without_ours(self.rows(table, day))

    def query(self, sql: str) -> list[Row]:
        return [dict(row.items()) for row in self.client.query_and_wait(sql)]

    def loads(self, table: str = "usage", day: date = DAY) -> list[Row]:
        """The rows of loads, oldest first."""
        rows = [row for row in self.rows("loads", day) if row["table_name"] == table]
        return sorted(rows, key=lambda row: row["loaded_at"])

    def jobs(self) -> list[JobRecord]:
        return [job for job in self.server.jobs if (job.destination or "").startswith(f"{self.id}.")]

    def requests(self, method: str) -> list[SeenRequest]:
        """Requests about the dataset, and those of jobs on it."""
        ids = {job.id for job in self.jobs()}
        return [
            request
            for request in list(self.server.requests)
            if request.method == method
            and (self.id in request.path or self.id in json.dumps(request.json) or ids & set(request.path.split("/")))
        ]

    def assert_holds(self, records: list[Json], day: date = DAY) -> None:
        """Check that a day is what the records say, and one load's in all tables, which is remembered."""
        expected = flat(records, day)
        loads = self.rows("loads", day)
        moments = set()
        for table in TABLES:
            rows = self.rows(table, day)
            assert _without_ours(rows) == canonical(expected[table]), table
            assert self.get(table, day).num_rows == len(expected[table])
            moments |= {row["loaded_at"] for row in rows}
        assert len(moments) == (1 if records else 0)
        for table in TABLES:
            of_table = sorted((row for row in loads if row["table_name"] == table), key=lambda row: row["loaded_at"])
            # Of two writers at once, the one that began first may end last.
            [remembered] = [row for row in of_table if row["loaded_at"] in moments] if moments else of_table[-1:]
            assert remembered["row_count"] == len(expected[table])


def _without_ours(rows: list[Row]) -> list[str]:
    return canonical({name: row[name] for name in row if name not in UNKNOWN_TO_THE_API} for row in rows)


def canonical(rows: Any) -> list[str]:
    """Write rows so that equal ones compare equal, whatever their order and the zeros of their decimals."""
    return sorted(
        repr(sorted((name, f"{value:.9f}" if isinstance(value, Decimal) else value) for name, value in row.items()))
        for row in rows
    )


def flat(records: list[Json], day: date) -> dict[str, list[Row]]:
    """Flatten records as design.md says, in the plainest way."""
    tables: dict[str, list[Row]] = {table: [] for table in TABLES}
    for record in json.loads(body(records), parse_float=Decimal)["data"]:
        actor, metrics, actions = record["actor"], record["core_metrics"], record["tool_actions"]
        shared = {
            "date": day,
            "organization_id": record["organization_id"],
            "actor_type": actor["type"],
            "actor_id": _actor_id(actor),
            "customer_type": record["customer_type"],
            "subscription_type": record.get("subscription_type"),
            "terminal_type": record["terminal_type"],
            "is_remote": record.get("is_remote"),
        }
        models = [
            {"model": entry["model"]}
            | {f"{kind}_tokens": entry["tokens"][kind] for kind in TOKEN_KINDS}
            | {
                "estimated_cost_cents": cents(entry["estimated_cost"]["amount"]),
                "currency": entry["estimated_cost"]["currency"],
            }
            for entry in record["model_breakdown"]
        ]
        tables["model_usage"] += [shared | entry for entry in models]
        tables["tool_usage"] += [shared | {"tool_name": tool, **action} for tool, action in actions.items()]
        usage = {
            "num_sessions": metrics["num_sessions"],
            "lines_of_code_added": metrics["lines_of_code"]["added"],
            "lines_of_code_removed": metrics["lines_of_code"]["removed"],
            "commits_by_claude_code": metrics["commits_by_claude_code"],
            "pull_requests_by_claude_code": metrics["pull_requests_by_claude_code"],
            "model_count": len(models),
            "currency": models[0]["currency"] if models else None,
        }
        for outcome in ("accepted", "rejected"):
            usage[f"tool_actions_{outcome}"] = sum(action[outcome] for action in actions.values())
            for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"):
                usage[f"{tool}_{outcome}"] = actions.get(tool, {outcome: 0})[outcome]
        for kind in TOKEN_KINDS:
            usage[f"{kind}_tokens"] = sum(entry[f"{kind}_tokens"] for entry in models) if models else None
        costs = [entry["estimated_cost_cents"] for entry in models]
        usage["estimated_cost_cents"] = exact_sum(costs) if costs else None
        tables["usage"].append(shared | usage)
    return tables


def _actor_id(actor: Json) -> str | None:
    known = {"user_actor": "email_address", "api_actor": "api_key_name"}.get(actor["type"])
    if known:
        return actor[known]
    others = {name: value for name, value in actor.items() if name != "type"}
    return json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture(scope="module")
def bigquery_server() -> Iterator[BigQueryServer]:
    """The server; at the end, all that was said to it and by it must be as Google's discovery document has it."""
    discovery, request = Discovery.of_google(), AuthorizedSession.request

    def judged_request(self: AuthorizedSession, *arguments: Any, **options: Any) -> Any:
        response = request(self, *arguments, **options)
        # Other tests talk to the local Cloud Storage in the same way.
        if response.url.startswith(server.url):
            discovery.check(response)
        return response

    with BigQueryServer(PROJECT) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(AuthorizedSession, "request", judged_request)
        patch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT}}
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
        yield server
    assert "jobs.insert" in discovery.methods
    assert set(discovery.problems) == set()


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox(users=25) as sandbox:
        yield sandbox


Connect = Callable[..., None]


@pytest.fixture
def connect(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the Connection to the sandbox, with some extra."""

    def set_connection(key: str = api.api_key, **extra: Any) -> None:
        connection = {"conn_type": "claude_code", "host": api.base_url, "password": key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))

    return set_connection


@pytest.fixture
def sandbox(api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """The sandbox serving three people a day, a Connection to it, and a spool directory that ends empty."""
    connect()
    serve(api, 3)
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    # How long writers who met wait is not what is tested here.
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)
    yield api
    api.faults = Faults()
    assert list(spool.iterdir()) == []


@pytest.fixture
def dataset(bigquery_server: BigQueryServer, sandbox: Sandbox) -> Iterator[Dataset]:
    yield Dataset(bigquery_server)
    bigquery_server.faults = []


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets slow jobs go, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def serve(sandbox: Sandbox, count: int, **changes: Any) -> None:
    sandbox.records = lambda day, _: people(count, day, **changes)


def operator(dataset: Dataset, day: date = DAY, **arguments: Any) -> ClaudeCodeToBigQueryOperator:
    return ClaudeCodeToBigQueryOperator(**({"task_id": "load", "dataset_id": dataset.id, "day": str(day)} | arguments))


def context(
    dataset: Dataset, try_number: int = 1, run_id: str | None = None, outlet_events: Any = None, **ti: Any
) -> Any:
    """The context of a task instance; every call without ``run_id`` is a run of its own."""
    instance = {"dag_id": "d", "run_id": run_id or uuid.uuid4().hex, "task_id": "load", "map_index": -1, **ti}
    return {
        "ti": SimpleNamespace(try_number=try_number, start_date=datetime.now(UTC), **instance),
        "dag_run": SimpleNamespace(run_type="manual"),
        "outlet_events": {} if outlet_events is None else outlet_events,
    }


def load(
    dataset: Dataset, day: date = DAY, *, try_number: int = 1, run_id: str | None = None, **arguments: Any
) -> dict[str, Any]:
    return operator(dataset, day, **arguments).execute(context(dataset, try_number, run_id))


def until(condition: Callable[[], Any]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "It never happened"
        time.sleep(0.005)


class Killed(BaseException):
    """Ends a task in the middle, as a kill would: nothing is cleaned up in BigQuery."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


def load_and_die_before_waiting(dataset: Dataset, **arguments: Any) -> None:
    """Start all jobs of a load, and end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BigQueryTarget, "finish", kill)
        with pytest.raises(Killed):
            load(dataset, **arguments)


THIRTY_DAYS = tuple(date(2025, 9, 30) - timedelta(days=back) for back in range(29, -1, -1))


@pytest.fixture(scope="module")
def records(api: Sandbox) -> dict[date, list[Json]]:
    """The made-up organisation's own, of 30 days."""
    return {day: api.organization.records(day, datetime(2026, 1, 1, tzinfo=UTC)) for day in THIRTY_DAYS}


@pytest.fixture
def serving(sandbox: Sandbox, records: dict[date, list[Json]]) -> dict[date, list[Json]]:
    """What the sandbox serves; may be changed."""
    current = dict(records)
    sandbox.records = lambda day, _: current[day]
    return current


@pytest.fixture(scope="module")
def loaded(bigquery_server: BigQueryServer, api: Sandbox, records: dict[date, list[Json]]) -> Dataset:
    """The 30 days, loaded by one task."""
    dataset = Dataset(bigquery_server)
    with pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "claude_code", "host": api.base_url, "password": api.api_key}
        patch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
        api.records = lambda day, _: records[day]
        summary = load(dataset, THIRTY_DAYS[-1], lookback_days=29)
    assert [(day["day"], day["rows"]) for day in summary["days"]] == [
        (str(day), {table: len(rows) for table, rows in flat(records[day], day).items()}) for day in THIRTY_DAYS
    ]
    return dataset


class TestThirtyDays:
    def test_every_row_and_every_sum_is_that_of_the_records(
        self, serving: dict[date, list[Json]], loaded: Dataset
    ) -> None:
        everything = [record for day in THIRTY_DAYS for record in serving[day]]
        assert len(everything) > 200
        sums: dict[str, Any] = {}
        for table in TABLES:
            expected = [row for day in THIRTY_DAYS for row in flat(serving[day], day)[table]]
            assert loaded.content(table) == canonical(expected)
            numbers = [
                column.name
                for column in DATA_TABLES[table].columns
                if column.type in ("INT64", "NUMERIC") and column.name != "key_ordinal"
            ]
            selected = ", ".join(f"SUM({name}) AS {name}" for name in numbers)
            [row] = loaded.query(f"SELECT COUNT(*) AS n, {selected} FROM `{loaded.table_id(table)}`")
            sums[table] = row.pop("n")
            sums |= {f"{table}.{name}": value for name, value in row.items() if value}
        assert sums == naive_totals(body(everything))

    def test_tables_of_a_day_join_by_record_id(self, serving: dict[date, list[Json]], loaded: Dataset) -> None:
        [row] = loaded.query(
            f"SELECT COUNT(*) AS n FROM `{loaded.table_id('usage')}` u JOIN `{loaded.table_id('model_usage')}` m "
            "ON u.record_id = m.record_id AND u.date = m.date AND u.actor_id = m.actor_id"
        )
        assert row["n"] == sum(len(record["model_breakdown"]) for day in THIRTY_DAYS for record in serving[day])

    def test_any_day_again_changes_nothing_but_loaded_at_and_loads(
        self, serving: dict[date, list[Json]], loaded: Dataset
    ) -> None:
        before = {table: loaded.rows(table) for table in TABLES}
        remembered = len(loaded.rows("loads"))
        again = (THIRTY_DAYS[0], THIRTY_DAYS[13], THIRTY_DAYS[-1])
        for day in again:
            load(loaded, day)
        for table in TABLES:
            after = loaded.rows(table)
            assert canonical(row | {"loaded_at": None} for row in after) == canonical(
                row | {"loaded_at": None} for row in before[table]
            )
            for day in THIRTY_DAYS:
                old = {row["loaded_at"] for row in before[table] if row["date"] == day}
                new = {row["loaded_at"] for row in after if row["date"] == day}
                assert len(old) == len(new) == 1
                assert (new != old) is (day in again)
        for day in again:
            for table in TABLES:
                first, second = loaded.loads(table, day)[-2:]
                assert first["content_digest"] == second["content_digest"]
                assert first["loaded_at"] < second["loaded_at"]
        assert len(loaded.rows("loads")) == remembered + 3 * len(again)

    def test_a_restated_day_replaces_its_own_partition_only(
        self, serving: dict[date, list[Json]], loaded: Dataset
    ) -> None:
        day = THIRTY_DAYS[20]
        others = {table: [row for row in loaded.rows(table) if row["date"] != day] for table in TABLES}
        # A record changes, one vanishes, one comes.
        original = serving[day]
        changed = {**original[0], "core_metrics": {**original[0]["core_metrics"], "num_sessions": 4711}}
        serving[day] = [changed, *original[2:], *people(1, day)]
        load(loaded, day)
        loaded.assert_holds(serving[day], day)
        for table in TABLES:
            assert canonical(row for row in loaded.rows(table) if row["date"] != day) == canonical(others[table])
            first, second = loaded.loads(table, day)[-2:]
            if table == "usage":
                assert first["content_digest"] != second["content_digest"]
        # And back again.
        serving[day] = original
        load(loaded, day)
        loaded.assert_holds(original, day)
        first, _, third = loaded.loads("usage", day)[-3:]
        assert first["content_digest"] == third["content_digest"]


class TestReplacement:
    def test_a_b_a_leaves_a_and_three_loads_with_two_digests(self, sandbox: Sandbox, dataset: Dataset) -> None:
        for count in (3, 4, 3):
            serve(sandbox, count)
            load(dataset)
            dataset.assert_holds(people(count))
        for table in TABLES:
            first, second, third = dataset.loads(table)
            assert first["content_digest"] == third["content_digest"] != second["content_digest"]
        assert [row["row_count"] for row in dataset.loads()] == [3, 4, 3]

    @pytest.mark.parametrize("content", [(3, 4, 3), (3, 3)])
    def test_tries_of_one_task_load_what_the_api_says_each_time(
        self, sandbox: Sandbox, dataset: Dataset, content: tuple[int, ...]
    ) -> None:
        for try_number, count in enumerate(content, start=1):
            serve(sandbox, count)
            load(dataset, run_id=dataset.run, try_number=try_number)
            dataset.assert_holds(people(count))
        assert len(dataset.loads()) == len(content)

    def test_a_partition_deleted_by_hand_is_loaded_again_when_the_task_is_cleared(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        load(dataset, run_id=dataset.run)
        dataset.client.delete_table(dataset.table_id("usage", DAY))
        assert dataset.rows("usage") == []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("counts", [(3, 5), (3, 0), (0, 3), (3, 0, 3, 2, 0, 1, 4, 3)], ids=str)
    def test_a_run_made_anew_under_an_old_id_loads_what_the_api_says_then(
        self, sandbox: Sandbox, dataset: Dataset, counts: tuple[int, ...]
    ) -> None:
        # A deleted run, or one of a database that was reset, counts its tries from 1 again.
        for number, count in enumerate(counts, start=1):
            serve(sandbox, count)
            load(dataset, run_id=dataset.run, on_empty="replace")
            dataset.assert_holds(people(count))
            assert [row["row_count"] for row in dataset.loads()] == list(counts[:number])
        assert len(dataset.jobs()) == 4 * len(counts)

    def test_a_failed_run_made_anew_under_its_old_id_loads(self, sandbox: Sandbox, dataset: Dataset) -> None:
        dataset.server.faults = [FailingJob(table="claude_code_usage", times=1)]
        with pytest.raises(AirflowFailException):
            load(dataset, run_id=dataset.run)
        load(dataset, run_id=dataset.run)
        dataset.assert_holds(people(3))

    def test_two_tries_at_once_do_not_take_each_others_jobs_for_their_own(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Airflow took the first one for dead; it goes on when the second is through.
        settle = BigQueryTarget._settle_earlier_jobs
        retried: list[bool] = []

        def settle_and_be_retried(target: Any, day: date) -> int:
            number = settle(target, day)
            if not retried:
                retried.append(True)
                serve(sandbox, 2)
                load(dataset, run_id=dataset.run, try_number=2)
                serve(sandbox, 4)
            return number

        monkeypatch.setattr(BigQueryTarget, "_settle_earlier_jobs", settle_and_be_retried)
        monkeypatch.setattr(BigQueryTarget, "last_loaded_at", lambda *_: None)
        load(dataset, run_id=dataset.run)
        dataset.assert_holds(people(4))
        assert [row["row_count"] for row in dataset.loads()] == [2, 4]

    def test_a_subset_of_tables_leaves_the_others_alone(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 4)
        [day] = load(dataset, tables=["tool_usage"])["days"]
        assert day["rows"] == {"tool_usage": 16}
        assert dataset.content("tool_usage") == canonical(flat(people(4), DAY)["tool_usage"])
        for table in ("usage", "model_usage"):
            assert dataset.content(table) == canonical(flat(people(3), DAY)[table])
            assert len(dataset.loads(table)) == 1
        fresh = Dataset(dataset.server)
        load(fresh, tables=["tool_usage"])
        assert fresh.names() == {"tool_usage", "loads"}

    def test_loads_says_what_was_loaded(self, sandbox: Sandbox, dataset: Dataset) -> None:
        started = datetime.now(UTC)
        load(dataset, run_id="manual__1")
        rows = {row["table_name"]: row for row in dataset.rows("loads")}
        assert set(rows) == set(TABLES)
        assert len({row["load_id"] for row in rows.values()}) == 1
        for table, count in (("usage", 3), ("model_usage", 3), ("tool_usage", 12)):
            row = rows[table]
            assert started <= row.pop("loaded_at") <= datetime.now(UTC)
            assert re.fullmatch("[0-9a-f]{32}", row.pop("content_digest"))
            assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}", row.pop("load_id"))
            assert row.pop("provider_version")
            assert row == {
                "organization_id": sandbox.organization.id,
                "date": DAY,
                "stream": "usage",
                "table_name": table,
                "row_count": count,
                "num_sessions": 15,
                "estimated_cost_cents": Decimal(3075),
                "complete": True,
                "repeated_keys": 0,
                "unknown_names": "[]",
                "actor_identity": "plain",
                "pseudonym_key_id": None,
                "schema_version": 1,
                "dag_id": "d",
                "run_id": "manual__1",
            }

    def test_money_stays_exact(self, sandbox: Sandbox, dataset: Dataset) -> None:
        amounts = [Decimal("0.000000001"), Decimal("12345678901234.123456789"), Decimal("0.1")]
        records = [
            person | {"model_breakdown": [model(amount)]} for person, amount in zip(people(3), amounts, strict=True)
        ]
        sandbox.records = lambda *_: records
        load(dataset)
        dataset.assert_holds(records)
        assert {row["estimated_cost_cents"] for row in dataset.rows("usage")} == set(amounts)
        assert dataset.loads()[0]["estimated_cost_cents"] == exact_sum(amounts)


class TestEmptyDays:
    def test_an_empty_answer_does_not_erase_a_day_with_rows_and_names_the_counts(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        load(dataset)
        jobs = dataset.jobs()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError) as refusal:
            load(dataset)
        for table, count in (("usage", 3), ("model_usage", 3), ("tool_usage", 12)):
            assert f"{dataset.table_id(table)}: {count}" in str(refusal.value)
        assert dataset.jobs() == jobs
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize(
        ("method", "error"), [("tables.get", ClaudeCodeEmptyDayError), ("tabledata.list", AirflowFailException)]
    )
    def test_a_partition_that_is_said_not_to_be_there_is_not_taken_for_an_empty_one(
        self, sandbox: Sandbox, dataset: Dataset, method: str, error: type[Exception]
    ) -> None:
        load(dataset)
        serve(sandbox, 0)
        dataset.server.faults = [HttpError(method=method, path="$2025", status=404, reason="notFound")]
        with pytest.raises(error, match="usage: an unknown number" if method == "tables.get" else "404"):
            load(dataset)
        dataset.server.faults = []
        dataset.assert_holds(people(3))

    def test_rows_in_one_table_alone_are_not_erased_either(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, tables=["tool_usage"])
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match="tool_usage: 12"):
            load(dataset)
        assert len(dataset.rows("tool_usage")) == 12

    def test_a_day_that_was_empty_from_the_start_is_remembered_as_loaded(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        serve(sandbox, 0)
        for number in (1, 2):
            [day] = load(dataset)["days"]
            assert (day["published"], day["rows"]) == (True, dict.fromkeys(TABLES, 0))
            dataset.assert_holds([])
            assert [row["row_count"] for row in dataset.loads()] == [0] * number
        # Loaded and empty is not the same as never loaded.
        assert dataset.loads(day=BEFORE) == []
        serve(sandbox, 3)
        load(dataset)
        dataset.assert_holds(people(3))

    def test_replace_empties_the_partition_and_only_that(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, lookback_days=1)
        serve(sandbox, 0)
        load(dataset, on_empty="replace")
        dataset.assert_holds([])
        dataset.assert_holds(people(3, BEFORE), BEFORE)
        assert [row["row_count"] for row in dataset.loads()] == [3, 0]

    def test_a_table_without_rows_of_a_full_day_is_emptied(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 3, model_breakdown=[])
        load(dataset)
        dataset.assert_holds(people(3, model_breakdown=[]))
        assert dataset.get("model_usage", DAY).num_rows == 0

    def test_a_partition_that_a_load_of_no_rows_left_behind_is_deleted(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Nobody has proven that the service empties a partition by a load of no rows.
        load(dataset)
        serve(sandbox, 0)
        truncating = BigQueryTarget._job_config
        monkeypatch.setattr(
            BigQueryTarget,
            "_job_config",
            lambda *arguments: truncating(*arguments[:-1], "WRITE_APPEND"),
        )
        load(dataset, on_empty="replace")
        dataset.assert_holds([])

    def test_skip_skips_the_task_when_all_days_are_empty_and_starts_nothing(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        load(dataset)
        jobs = dataset.jobs()
        serve(sandbox, 0)
        with pytest.raises(AirflowSkipException):
            load(dataset, on_empty="skip", lookback_days=1)
        assert dataset.jobs() == jobs
        dataset.assert_holds(people(3))

    def test_skip_leaves_only_the_empty_days_alone(self, sandbox: Sandbox, dataset: Dataset) -> None:
        sandbox.records = lambda day, _: people(0 if day == DAY else 2, day)
        summary = load(dataset, on_empty="skip", lookback_days=1)
        assert [day["published"] for day in summary["days"]] == [True, False]
        dataset.assert_holds(people(2, BEFORE), BEFORE)
        assert dataset.loads() == []

    def test_fail_fails_and_starts_nothing(self, sandbox: Sandbox, dataset: Dataset) -> None:
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError):
            load(dataset, on_empty="fail")
        assert (dataset.jobs(), dataset.names()) == ([], set())


def users_table(dataset: Dataset, name: str, **changes: Any) -> Any:
    """Make a table as a user might have made it: ours but for some changes."""
    contract = next(contract for contract in CONTRACTS if contract.name == name)
    table = bigquery.Table(dataset.table_id(name), bigquery_schema(contract))
    table.time_partitioning = TimePartitioning(field="date", type_="MONTH" if name == "loads" else "DAY")
    for attribute, value in changes.items():
        setattr(table, attribute, value)
    return dataset.client.create_table(table)


def renamed(field: SchemaField, name: str) -> SchemaField:
    return SchemaField.from_api_repr(field.to_api_repr() | {"name": name})


def schema(name: str, **changes: SchemaField | None) -> list[SchemaField]:
    """Our schema with some columns changed, left out (None) or added."""
    contract = next(contract for contract in CONTRACTS if contract.name == name)
    fields = {field.name: field for field in bigquery_schema(contract)} | changes
    return [field for field in fields.values() if field is not None]


class TestTables:
    def test_new_tables_are_those_of_the_contract(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, labels={"team": "devex"})
        kinds = {"INTEGER": "INT64", "BOOLEAN": "BOOL"}
        for contract in CONTRACTS:
            table = dataset.get(contract.name)
            assert [
                (field.name, kinds.get(field.field_type, field.field_type), field.mode, field.description)
                for field in table.schema
            ] == [
                (column.name, column.type, "NULLABLE" if column.nullable else "REQUIRED", column.description)
                for column in contract.columns
            ]
            assert contract.grain in table.description
            assert table.labels == {
                "claude_code_organization": sandbox.organization.id,
                "airflow-dag": "d",
                "airflow-task": "load",
                "team": "devex",
            }
            partitioning = table.time_partitioning
            assert (partitioning.field, partitioning.type_) == ("date", "MONTH" if contract is LOADS else "DAY")
            assert partitioning.expiration_ms is None
            assert not table.require_partition_filter
            assert table.encryption_configuration is None
        assert {name: dataset.get(name).clustering_fields for name in (*TABLES, "loads")} == {
            "usage": ["actor_id"],
            "model_usage": ["actor_id", "model"],
            "tool_usage": ["actor_id", "tool_name"],
            "loads": None,
        }

    def test_expiration_key_and_partition_filter_are_as_asked_for_and_loading_works_with_them(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        today = datetime.now(UTC).date() - timedelta(days=3)
        options: dict[str, Any] = {
            "partition_expiration": timedelta(days=90),
            "require_partition_filter": True,
            "encryption_configuration": {"kmsKeyName": KEY},
        }
        for count in (3, 2):
            serve(sandbox, count)
            load(dataset, today, **options)
        for table in TABLES:
            made = dataset.get(table)
            assert made.time_partitioning.expiration_ms == 90 * 86_400_000
            assert made.require_partition_filter
            assert made.encryption_configuration.kms_key_name == KEY
        with pytest.raises(BadRequest, match="filter"):
            dataset.query(f"SELECT COUNT(*) FROM `{dataset.table_id('usage')}`")
        remembered = dataset.get("loads")
        assert remembered.encryption_configuration.kms_key_name == KEY
        # The memory of loads is kept, and asked without naming days.
        assert remembered.time_partitioning.expiration_ms is None
        assert not remembered.require_partition_filter
        dataset.assert_holds(people(2, today), today)
        for request in dataset.requests("jobs.insert"):
            configuration = request.json["configuration"]["load"]
            assert configuration["destinationEncryptionConfiguration"] == {"kmsKeyName": KEY}

    @pytest.mark.parametrize("of_dataset", [True, False])
    def test_a_day_that_the_table_would_delete_again_is_refused_before_any_job(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture, of_dataset: bool
    ) -> None:
        free = dataset.client.get_dataset(dataset.id)
        free.default_partition_expiration_ms = 60 * 86_400_000
        if of_dataset:
            dataset.client.update_dataset(free, ["default_partition_expiration_ms"])
        options: Row = {"partition_expiration": None if of_dataset else timedelta(days=60)}
        today = datetime.now(UTC).date()
        refusal = rf"2025-09-01 is older than .*{dataset.table_id('usage')} \(60 days\)"
        # Of tables that are still to be made, and of those that are there.
        for kept in (None, today - timedelta(days=3), today - timedelta(days=59)):
            if kept:
                load(dataset, kept, **options)
                assert dataset.content("usage", kept) == canonical(flat(people(3, kept), kept)["usage"])
            with pytest.raises(AirflowFailException, match=refusal):
                load(dataset, **options)
        assert len(dataset.jobs()) == 8
        with pytest.raises(AirflowFailException, match="partition expiration"):
            load(dataset, today - timedelta(days=60), **options)
        # With a default of the dataset the memory of loads is short as well.
        assert (f"{dataset.table_id('loads')} 60 days after they began" in caplog.text) is of_dataset
        # A default that came later than the tables is not theirs.
        if not of_dataset:
            dataset.client.update_dataset(free, ["default_partition_expiration_ms"])
            for table in TABLES:
                partitioned = dataset.get(table)
                partitioned.time_partitioning = TimePartitioning(field="date", type_="DAY", expiration_ms=None)
                dataset.client.update_table(partitioned, ["time_partitioning"])
            load(dataset, **options)
            dataset.assert_holds(people(3))

    def test_tables_that_are_to_be_deleted_whole_are_warned_of(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        load(dataset)
        assert "deletes" not in caplog.text
        free = dataset.client.get_dataset(dataset.id)
        free.default_table_expiration_ms = 60 * 86_400_000
        dataset.client.update_dataset(free, ["default_table_expiration_ms"])
        dataset.client.delete_table(dataset.table_id("usage"))
        for _ in range(2):
            caplog.clear()
            load(dataset)
            deleted_on = datetime.now(UTC) + timedelta(days=60)
            [warning] = [record for record in caplog.records if "deletes" in record.getMessage()]
            assert f"{dataset.table_id('usage')}, with all its days, on {deleted_on:%Y-%m-%d}" in warning.getMessage()
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("missing", ["currency", "num_sessions", "estimated_cost_cents"])
    def test_columns_that_are_missing_are_added_as_nullable_and_filled(
        self, sandbox: Sandbox, dataset: Dataset, missing: str
    ) -> None:
        table = users_table(dataset, "usage", schema=schema("usage", **{missing: None}))
        assert missing not in {field.name for field in table.schema}
        load(dataset)
        added = dataset.get("usage").schema[-1]
        assert (added.name, added.mode) == (missing, "NULLABLE")
        assert added.description
        dataset.assert_holds(people(3))
        load(dataset)
        dataset.assert_holds(people(3))

    def test_a_users_own_column_clustering_description_and_labels_survive(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        own = SchemaField("cost_center", "STRING", "NULLABLE", None, "mine")
        users_table(
            dataset,
            "usage",
            schema=schema("usage", cost_center=own),
            clustering_fields=["terminal_type"],
            description="mine",
            labels={"mine": "yes"},
        )
        for _ in range(2):
            load(dataset)
        table = dataset.get("usage")
        assert own in table.schema
        assert (table.clustering_fields, table.description) == (["terminal_type"], "mine")
        assert table.labels == {"mine": "yes", "claude_code_organization": sandbox.organization.id}
        assert [row["cost_center"] for row in dataset.rows("usage")] == [None] * 3
        for table_name in ("model_usage", "tool_usage"):
            assert dataset.content(table_name) == canonical(flat(people(3), DAY)[table_name])

    def test_columns_with_policy_tags_and_descriptions_of_a_user_are_loaded_and_keep_them(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        tags = PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
        tagged = SchemaField("actor_id", "STRING", "NULLABLE", None, "mine", policy_tags=tags)
        # In a record of the user's own as well.
        own = SchemaField("own", "RECORD", "NULLABLE", None, "mine", [SchemaField("x", "STRING", policy_tags=tags)])
        limited = SchemaField("short", "STRING", "NULLABLE", max_length=10)
        users_table(dataset, "usage", schema=schema("usage", actor_id=tagged, own=own, short=limited))
        users_table(dataset, "loads", schema=schema("loads", run_id=renamed(tagged, "run_id")))
        before = {table: dataset.get(table).to_api_repr()["schema"] for table in ("usage", "loads")}
        load(dataset)
        assert dataset.content("model_usage") == canonical(flat(people(3), DAY)["model_usage"])
        assert {row["actor_id"] for row in dataset.rows("usage")} == {f"person-{n}@example.com" for n in range(3)}
        assert {table: dataset.get(table).to_api_repr()["schema"] for table in before} == before
        for request in dataset.requests("jobs.insert"):
            fields = request.json["configuration"]["load"]["schema"]["fields"]
            assert {name for field in fields for name in field} <= {"name", "type", "mode", "fields", "maxLength"}

    def test_nullable_where_the_contract_says_required_is_compatible(self, sandbox: Sandbox, dataset: Dataset) -> None:
        for name in TABLES:
            relaxed = [
                SchemaField(field.name, field.field_type, "NULLABLE", None, field.description) for field in schema(name)
            ]
            users_table(dataset, name, schema=relaxed)
        load(dataset)
        dataset.assert_holds(people(3))
        assert {field.mode for field in dataset.get("usage").schema} == {"NULLABLE"}

    @pytest.mark.parametrize(
        ("name", "changes", "difference"),
        [
            ("usage", {"schema": {"num_sessions": SchemaField("num_sessions", "STRING")}}, "num_sessions is .*STRING"),
            (
                "model_usage",
                {"schema": {"estimated_cost_cents": SchemaField("estimated_cost_cents", "FLOAT")}},
                "estimated_cost_cents is .*FLOAT64, not NUMERIC",
            ),
            (
                "usage",
                {"schema": {"estimated_cost_cents": SchemaField("estimated_cost_cents", "NUMERIC", precision=10)}},
                r"estimated_cost_cents is NUMERIC\(10",
            ),
            ("usage", {"schema": {"model_count": SchemaField("model_count", "INTEGER", "REPEATED")}}, "REPEATED"),
            ("tool_usage", {"schema": {"mine": SchemaField("mine", "STRING", "REQUIRED")}}, "mine is a REQUIRED"),
            ("loads", {"schema": {"mine": SchemaField("mine", "STRING", "REQUIRED")}}, "mine is a REQUIRED"),
            ("usage", {"time_partitioning": None}, "partitioned not at all, not by DAY on date"),
            ("usage", {"time_partitioning": TimePartitioning()}, "by DAY on None, not by DAY on date"),
            (
                "usage",
                {"time_partitioning": TimePartitioning(field="loaded_at")},
                "by DAY on loaded_at, not by DAY on date",
            ),
            ("usage", {"time_partitioning": TimePartitioning(field="date", type_="MONTH")}, "by MONTH on date, not by"),
            ("loads", {"time_partitioning": TimePartitioning(field="date")}, "by DAY on date, not by MONTH"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused_with_the_difference_and_nothing_is_changed(
        self, sandbox: Sandbox, dataset: Dataset, name: str, changes: Row, difference: str
    ) -> None:
        if "schema" in changes:
            changes = {"schema": schema(name, **changes["schema"])}
        before = users_table(dataset, name, **changes).to_api_repr()
        with pytest.raises(AirflowFailException, match=difference) as refusal:
            load(dataset)
        assert dataset.table_id(name) in str(refusal.value)
        assert dataset.jobs() == []
        assert dataset.names() == {name}
        assert dataset.get(name).to_api_repr()["schema"] == before["schema"]

    def test_a_view_is_refused(self, sandbox: Sandbox, dataset: Dataset) -> None:
        view = bigquery.Table(dataset.table_id("usage"))
        view.view_query = "SELECT DATE '2025-09-01' AS date"
        dataset.client.create_table(view)
        with pytest.raises(AirflowFailException, match="is a VIEW"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {"usage"})

    def test_columns_that_may_be_null_are_relaxed(self, sandbox: Sandbox, dataset: Dataset) -> None:
        """As in a table of a version whose column was never null."""
        required = {
            "usage": SchemaField("actor_id", "STRING", "REQUIRED", description="mine"),
            "loads": SchemaField("num_sessions", "INTEGER", "REQUIRED"),
        }
        for name, field in required.items():
            users_table(dataset, name, schema=schema(name, **{field.name: field}))
        load(dataset)
        for name, field in required.items():
            columns = {column.name: column for column in dataset.client.get_table(dataset.table_id(name)).schema}
            assert columns[field.name].mode == "NULLABLE"
            assert columns[field.name].description == field.description
            assert {column.mode for column in columns.values()} == {"NULLABLE", "REQUIRED"}
        dataset.assert_holds(people(3))

    def test_all_differences_are_told_at_once(self, sandbox: Sandbox, dataset: Dataset) -> None:
        users_table(dataset, "usage", schema=schema("usage", model_count=SchemaField("model_count", "STRING")))
        users_table(dataset, "tool_usage", schema=schema("tool_usage", accepted=SchemaField("accepted", "STRING")))
        with pytest.raises(AirflowFailException, match=r"(?s)model_count.*accepted"):
            load(dataset)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"table_prefix": "raw.claude_"}, r"table_prefix is 'raw\.claude_'"),
            ({"table_prefix": "claude_`; DROP"}, "table_prefix is"),
            ({"table_prefix": "claude$"}, "table_prefix is"),
            ({"dataset_id": f"{PROJECT}.claude"}, "dataset_id is .* Its project goes into project_id"),
            ({"dataset_id": "claude-code"}, "dataset_id is 'claude-code'"),
            ({"dataset_id": ""}, "dataset_id is ''"),
            ({"project_id": "a/b"}, "project_id is 'a/b'"),
        ],
    )
    @pytest.mark.parametrize("kind", ["load", "views", "checks"])
    def test_a_name_that_bigquery_cannot_have_is_refused_by_its_argument_before_anything_is_asked(
        self, sandbox: Sandbox, dataset: Dataset, kind: str, changes: dict[str, str], said: str
    ) -> None:
        requests = (len(sandbox.requests), len(dataset.server.requests))
        operators: dict[str, Any] = {
            "load": ClaudeCodeToBigQueryOperator,
            "views": ClaudeCodeBigQueryViewsOperator,
            "checks": ClaudeCodeDataQualityOperator,
        }
        day = {"load": {"day": str(DAY)}, "views": {}, "checks": {"last_day": str(DAY)}}
        arguments = {"dataset_id": dataset.id} | day[kind] | changes
        with pytest.raises(AirflowFailException, match=said):
            operators[kind](task_id="task", **arguments).execute(context(dataset))
        assert (len(sandbox.requests), len(dataset.server.requests)) == requests

    def test_a_missing_dataset_is_refused_or_created_as_asked(
        self, bigquery_server: BigQueryServer, sandbox: Sandbox
    ) -> None:
        missing = Dataset(bigquery_server, create=False)
        with pytest.raises(AirflowFailException, match=f"{PROJECT}.{missing.id}.*create_dataset=True"):
            load(missing)
        assert missing.jobs() == []
        load(missing, create_dataset=True, location="EU")
        missing.assert_holds(people(3))
        assert missing.client.get_dataset(missing.id).location == "EU"

    def test_jobs_run_where_the_dataset_is(self, bigquery_server: BigQueryServer, sandbox: Sandbox) -> None:
        dataset = Dataset(bigquery_server, create=False)
        made = bigquery.Dataset(f"{PROJECT}.{dataset.id}")
        made.location = "europe-west1"
        dataset.client.create_dataset(made)
        [day] = load(dataset)["days"]
        assert day["location"] == "europe-west1"
        dataset.assert_holds(people(3))

    def test_another_organisations_key_is_refused_before_any_job(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect
    ) -> None:
        load(dataset)
        jobs = dataset.jobs()
        connect(f"{sandbox.api_key}-rivals")
        serve(sandbox, 5)
        for day in (DAY, DAY + timedelta(days=1)):
            with pytest.raises(AirflowFailException, match=sandbox.organization.id):
                load(dataset, day, on_empty="replace")
        assert dataset.jobs() == jobs
        dataset.assert_holds(people(3))
        load(dataset, table_prefix="rivals_")
        rivals = dataset.client.get_table(f"{PROJECT}.{dataset.id}.rivals_usage")
        assert rivals.labels["claude_code_organization"] == Organization.named("rivals", 1).id
        assert rivals.num_rows == 5

    def test_one_table_of_another_organisation_is_enough_to_refuse_and_no_other_is_made(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        users_table(dataset, "loads", labels={"claude_code_organization": "somebody-else"})
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {"loads"})

    @pytest.mark.parametrize("table", [*DATA_TABLES, LOADS.name])
    def test_whichever_table_is_another_organisations_nothing_is_created_or_changed(
        self, sandbox: Sandbox, dataset: Dataset, table: str
    ) -> None:
        users_table(dataset, table, labels={"claude_code_organization": "somebody-else"})
        before = dataset.get(table).to_api_repr()
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {table})
        assert dataset.get(table).to_api_repr() == before

    def test_a_load_that_began_in_the_same_microsecond_as_another_is_not_taken_for_it(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Rows are told apart by loaded_at alone.
        load(dataset)
        [first] = {row["loaded_at"] for row in dataset.rows("usage", DAY)}
        begin_load, begun = base.begin_load, []

        def begin_at_once(after: datetime | None) -> tuple[str, datetime]:
            load_id, loaded_at = begin_load(after)
            begun.append(loaded_at)
            return load_id, first if len(begun) == 1 else loaded_at

        monkeypatch.setattr(base, "begin_load", begin_at_once)
        serve(sandbox, 5)
        jobs = len(dataset.jobs())
        load(dataset, run_id="another")
        assert len(begun) == 2
        # Three of data and one of loads: the first attempt started none.
        assert len(dataset.jobs()) == jobs + 4
        dataset.assert_holds(people(5))


class TestJobs:
    def test_ids_differ_by_task_instance_day_load_and_table(self, sandbox: Sandbox, dataset: Dataset) -> None:
        base_case: Row = {"dag_id": "d", "run_id": "r", "task_id": "load", "map_index": -1, "try_number": 1}
        different = [{}, {"dag_id": "d2"}, {"run_id": "r2"}, {"task_id": "t2"}, {"map_index": 0}, {"try_number": 2}, {}]
        ids: list[str] = []
        for change in different:
            summary = operator(dataset).execute(context(dataset, **(base_case | change)))
            ids += summary["days"][0]["jobs"].values()
        ids += operator(dataset, BEFORE).execute(context(dataset, **base_case))["days"][0]["jobs"].values()
        assert len(set(ids)) == 3 * 8
        assert {job.id for job in dataset.jobs() if "loads" not in (job.destination or "")} == set(ids)
        for job_id in ids:
            assert re.fullmatch("[A-Za-z0-9_-]{1,1024}", job_id)
            assert re.search("_2025(0901|0831)_[123]_[012]$", job_id)
        # Without the separators being there, "d" and "r1" would be "dr" and "1".
        one = operator(dataset).execute(context(dataset, dag_id="x", run_id="yz"))["days"][0]["jobs"]["usage"]
        other = operator(dataset).execute(context(dataset, dag_id="xy", run_id="z"))["days"][0]["jobs"]["usage"]
        assert one != other

    def test_another_deployments_jobs_on_another_dataset_are_not_taken_for_its_own(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        # Production and staging with the same Dags, and so the same ids of runs, share a project.
        staging = Dataset(dataset.server)
        load(dataset, run_id="scheduled__2025-09-02")
        serve(sandbox, 5)
        load(staging, run_id="scheduled__2025-09-02")
        dataset.assert_holds(people(3))
        staging.assert_holds(people(5))
        assert len(staging.jobs()) == 4
        # Nor do they stop each other's.
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id="scheduled__2025-09-03")
        load(staging, run_id="scheduled__2025-09-03", try_number=2)
        assert dataset.requests("jobs.cancel") == []

    def test_each_is_one_truncating_load_of_a_partition_with_labels(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, labels={"team": "devex"})
        configurations = [request.json["configuration"] for request in dataset.requests("jobs.insert")]
        assert [
            (load["load"]["destinationTable"]["tableId"], load["load"]["writeDisposition"]) for load in configurations
        ] == [
            ("claude_code_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_model_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_tool_usage$20250901", "WRITE_TRUNCATE"),
            ("claude_code_loads", "WRITE_APPEND"),
        ]
        for configuration in configurations:
            load_label = configuration["labels"].pop("claude_code_load")
            assert re.fullmatch(r"\d{8}t\d{6}-\d{6}z-[0-9a-f]{8}", load_label)
            assert configuration["labels"] == {"airflow-dag": "d", "airflow-task": "load", "team": "devex"}

    def test_ids_that_no_label_can_hold_do_not_matter(self, sandbox: Sandbox, dataset: Dataset) -> None:
        operator(dataset).execute(context(dataset, dag_id="Ünfit for/labels", task_id="group." + "x" * 100))
        dataset.assert_holds(people(3))

    def test_all_three_are_started_before_one_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", release=release) for table in TABLES]
        thread = threading.Thread(target=lambda: load(dataset))
        thread.start()
        until(lambda: len(dataset.jobs()) == 3)
        until(lambda: dataset.requests("jobs.get"))
        assert {job.state for job in dataset.jobs()} == {"RUNNING"}
        assert dataset.names() >= {"loads"}
        assert dataset.rows("loads") == []
        release.set()
        thread.join(20)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("table", ["usage", "loads"])
    def test_one_whose_acceptance_got_lost_is_not_started_twice(
        self, sandbox: Sandbox, dataset: Dataset, table: str
    ) -> None:
        dataset.server.faults = [DroppedConnection(table=f"claude_code_{table}", times=1)]
        load(dataset)
        assert None in {request.status for request in dataset.requests("jobs.insert")}
        assert len(dataset.jobs()) == 4
        dataset.assert_holds(people(3))
        assert len(dataset.rows("loads")) == 3

    def test_one_whose_acceptance_got_lost_and_that_runs_on_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [
            DroppedConnection(table="claude_code_usage", times=1),
            SlowJob(table="claude_code_usage", times=1, release=release),
        ]
        failures: list[BaseException] = []

        def run() -> None:
            try:
                load(dataset)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: len(dataset.jobs()) == 3 and dataset.jobs()[0].state == "RUNNING")
        release.set()
        thread.join(30)
        assert failures == []
        assert len(dataset.jobs()) == 4
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize(
        ("method", "status", "reason"),
        [
            ("jobs.insert", 503, "backendError"),
            ("jobs.insert", 403, "rateLimitExceeded"),
            ("jobs.get", 503, "backendError"),
            ("tables.get", 503, "backendError"),
            ("tabledata.list", 503, "backendError"),
        ],
    )
    def test_what_passes_is_tried_again(
        self, sandbox: Sandbox, dataset: Dataset, method: str, status: int, reason: str
    ) -> None:
        load(dataset)
        dataset.server.faults = [HttpError(method=method, times=1, status=status, reason=reason)]
        serve(sandbox, 2)
        load(dataset)
        assert status in {request.status for request in dataset.server.requests if request.method == method}
        dataset.assert_holds(people(2))
        assert len(dataset.jobs()) == 8

    @pytest.mark.parametrize(
        ("reason", "status", "error"),
        [
            ("quotaExceeded", 403, ClaudeCodePublishError),
            ("accessDenied", 403, AirflowFailException),
            ("invalid", 400, AirflowFailException),
        ],
    )
    @pytest.mark.parametrize("method", ["jobs.insert", "tables.get", "jobs.get"])
    def test_what_does_not_pass_fails_at_once_and_for_good_only_where_no_retry_helps(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, status: int, error: type[Exception], method: str
    ) -> None:
        load(dataset)
        asked = len(dataset.server.requests)
        dataset.server.faults = [HttpError(method=method, status=status, reason=reason)]
        with pytest.raises(error, match=reason) as failure:
            load(dataset)
        hits = [request for request in dataset.server.requests[asked:] if request.status == status]
        assert len(hits) == 1
        assert "@" not in str(failure.value)
        assert sandbox.api_key not in str(failure.value)

    def test_a_server_that_stays_away_is_an_error_that_a_retry_may_mend(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(dataset)
        dataset.server.faults = [HttpError(method="jobs.insert")]
        monkeypatch.setattr(target_module, "UPLOAD_DEADLINE", 0.2)
        # The upload waits a minute by itself otherwise.
        monkeypatch.setattr(time, "sleep", lambda _: None)
        with pytest.raises(ClaudeCodePublishError):
            load(dataset)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            ("backendError", ClaudeCodePublishError),
            ("quotaExceeded", ClaudeCodePublishError),
            ("rateLimitExceeded", ClaudeCodePublishError),
            ("invalid", AirflowFailException),
        ],
    )
    def test_a_job_that_fails_is_told_with_what_the_tables_hold_and_the_retry_mends_it(
        self, sandbox: Sandbox, dataset: Dataset, reason: str, error: type[Exception]
    ) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [FailingJob(table="claude_code_model_usage", reason=reason)]
        with pytest.raises(error) as failure:
            load(dataset, run_id=dataset.run)
        [failed] = [job for job in dataset.jobs() if job.reason]
        text = str(failure.value)
        assert "New load: usage, tool_usage; previous state: model_usage." in text
        for part in ("2025-09-01", dataset.table_id("model_usage"), failed.id, reason):
            assert part in text
        # And so it is.
        for table, count in (("usage", 5), ("model_usage", 3), ("tool_usage", 5)):
            assert dataset.content(table) == canonical(flat(people(count), DAY)[table])
        assert len(dataset.loads()) == 1
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(5))

    def test_a_job_that_is_refused_after_another_was_started_is_mended_by_the_retry(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [HttpError(method="jobs.insert", nth=2, status=403, reason="quotaExceeded")]
        with pytest.raises(ClaudeCodePublishError, match="quotaExceeded"):
            load(dataset, run_id=dataset.run)
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(5))
        assert len(dataset.loads()) == 2

    def test_a_load_that_cannot_be_remembered_fails_and_the_retry_mends_it(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        dataset.server.faults = [FailingJob(table="claude_code_loads", reason="backendError")]
        with pytest.raises(ClaudeCodePublishError, match="claude_code_loads"):
            load(dataset, run_id=dataset.run)
        assert dataset.rows("loads") == []
        dataset.server.faults = []
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(3))
        assert len(dataset.rows("loads")) == 3

    def test_a_failure_on_the_apis_last_page_starts_no_job(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect
    ) -> None:
        connect(page_limit=20, retry_budget=0)
        serve(sandbox, 50)
        sandbox.faults = Faults(page=3, status=500)
        with pytest.raises(ClaudeCodeServerError):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], set())
        sandbox.faults = Faults()
        load(dataset)
        dataset.assert_holds(people(50))

    def test_killing_the_task_cancels_what_it_started(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 5)
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", seconds=30) for table in TABLES]
        running = operator(dataset)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                running.execute(context(dataset))
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        before = len(dataset.requests("jobs.get"))
        # Once it waits, all are started.
        until(lambda: len(dataset.jobs()) == 7 and len(dataset.requests("jobs.get")) > before)
        running.on_kill()
        thread.join(20)
        assert not thread.is_alive()
        assert [job.reason for job in dataset.jobs()[4:]] == ["stopped"] * 3
        assert [type(failure) for failure in failures] == [ClaudeCodePublishError]
        dataset.assert_holds(people(3))

    def test_killing_a_task_that_has_started_nothing_is_no_error(self, dataset: Dataset) -> None:
        operator(dataset).on_kill()


class TestEarlierTries:
    @pytest.mark.parametrize("table", [*TABLES])
    def test_a_job_left_running_is_cancelled_before_the_new_ones_start(
        self, sandbox: Sandbox, dataset: Dataset, table: str, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        load(dataset, run_id=dataset.run, try_number=2)
        self.assert_settled_first(dataset, left, "stopped")
        release.set()
        dataset.assert_holds(people(2))

    def test_one_that_does_not_heed_it_is_waited_for(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release, cancellable=False)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        retry = threading.Thread(target=lambda: load(dataset, run_id=dataset.run, try_number=2))
        retry.start()
        until(lambda: dataset.requests("jobs.cancel"))
        assert len(dataset.jobs()) == 3
        release.set()
        retry.join(20)
        self.assert_settled_first(dataset, left, None)
        dataset.assert_holds(people(2))

    def test_one_of_a_try_before_the_last_is_found_when_the_last_started_none(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_tool_usage", times=1, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        connect(retry_budget=0)
        sandbox.faults = Faults(status=500)
        with pytest.raises(ClaudeCodeServerError):
            load(dataset, run_id=dataset.run, try_number=2)
        sandbox.faults = Faults()
        load(dataset, run_id=dataset.run, try_number=3)
        self.assert_settled_first(dataset, left, "stopped")
        dataset.assert_holds(people(3))

    def test_one_of_a_later_attempt_is_found_when_the_first_attempt_started_none(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Another writer is faster, so the first attempt of try 1 ends before its jobs.
        publish = ClaudeCodeToBigQueryOperator._publish
        overtaken: list[bool] = []

        def overtake(self: Any, *arguments: Any) -> Any:
            if not overtaken:
                overtaken.append(True)
                load(dataset)
                dataset.server.faults = [SlowJob(table="claude_code_usage", times=1, release=release)]
                monkeypatch.setattr(BigQueryTarget, "finish", kill)
            return publish(self, *arguments)

        finish = BigQueryTarget.finish
        monkeypatch.setattr(ClaudeCodeToBigQueryOperator, "_publish", overtake)
        with pytest.raises(Killed):
            load(dataset, run_id=dataset.run)
        monkeypatch.setattr(BigQueryTarget, "finish", finish)
        [left] = [job for job in dataset.jobs() if job.state == "RUNNING"]
        serve(sandbox, 2)
        load(dataset, run_id=dataset.run, try_number=2)
        release.set()
        until(lambda: {job.state for job in dataset.jobs()} == {"DONE"})
        dataset.assert_holds(people(2))
        self.assert_settled_first(dataset, left, "stopped")

    def test_rows_that_an_earlier_try_lands_late_count_as_rows_that_an_empty_answer_must_not_erase(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [
            SlowJob(table=f"claude_code_{table}", times=1, release=release, cancellable=False) for table in TABLES
        ]
        load_and_die_before_waiting(dataset, run_id=dataset.run)
        serve(sandbox, 0)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                load(dataset, run_id=dataset.run, try_number=2)
            except BaseException as failure:
                failures.append(failure)

        retry = threading.Thread(target=run)
        retry.start()
        until(lambda: dataset.requests("jobs.cancel") or failures)
        release.set()
        retry.join(20)
        assert [type(failure) for failure in failures] == [ClaudeCodeEmptyDayError]
        assert len(dataset.rows("usage")) == 3

    def test_other_days_and_other_tasks_are_left_running(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_usage", times=2, release=release)]
        load_and_die_before_waiting(dataset, run_id=dataset.run, day=BEFORE)
        load_and_die_before_waiting(dataset, run_id="another")
        load(dataset, run_id=dataset.run, try_number=2)
        assert [job.state for job in dataset.jobs()].count("RUNNING") == 2
        assert dataset.requests("jobs.cancel") == []

    @staticmethod
    def assert_settled_first(dataset: Dataset, left: JobRecord, reason: str | None) -> None:
        jobs = {job.id: job for job in dataset.jobs()}
        assert (jobs[left.id].state, jobs[left.id].reason) == ("DONE", reason)
        ended = jobs[left.id].ended
        prefix, number, _ = left.id.rsplit("_", 2)
        new = [job for job in jobs.values() if job.id.startswith(f"{prefix}_{int(number) + 1}_")]
        assert len(new) == 4
        assert ended is not None
        assert all(ended < job.started for job in new)


class Steps:
    """Does something before one of the requests that a writer makes to BigQuery."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
        self.log: list[str] = []
        self._active = True
        owner = threading.get_ident()
        request = AuthorizedSession.request

        def stepped(session: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
            if self._active and threading.get_ident() == owner:
                self.log.append(f"{method} {url.partition('/v2/')[2][:100]}")
                if len(self.log) == number + 1:
                    self._active = False
                    action()
                    self._active = True
            return request(session, method, url, *arguments, **options)

        patch.setattr(AuthorizedSession, "request", stepped)


def _starts_a_job(request: str) -> bool:
    return re.match(f"POST projects/{PROJECT}/jobs", request) is not None


class TestKilledWriters:
    @pytest.mark.parametrize("loaded_before", [False, True])
    def test_killed_before_any_request_leaves_tables_whole_and_the_next_try_mends_the_day(
        self, sandbox: Sandbox, dataset: Dataset, loaded_before: bool
    ) -> None:
        torn = 0
        serve(sandbox, 2)
        if loaded_before:
            load(dataset)
        for number in itertools.count():
            # Mended, a dataset serves as the next one that was loaded before.
            fresh = dataset if loaded_before else Dataset(dataset.server)
            run_id = uuid.uuid4().hex
            serve(sandbox, 3)
            with pytest.MonkeyPatch.context() as patch:
                steps = Steps(patch, number, kill)
                try:
                    load(fresh, run_id=run_id)
                    break
                except Killed:
                    pass
            states = set()
            tables = fresh.names()
            for table in TABLES:
                rows = fresh.content(table) if table in tables else []
                old = canonical(flat(people(2 if loaded_before else 0), DAY)[table])
                assert rows in (old, canonical(flat(people(3), DAY)[table]))
                states.add(rows == old)
            torn += len(states) == 2
            serve(sandbox, 2)
            load(fresh, run_id=run_id, try_number=2)
            try:
                fresh.assert_holds(people(2))
                assert fresh.loads()[-1]["row_count"] == 2
            except AssertionError as error:
                error.add_note(f"Killed before request {number}: {steps.log}")
                raise
            if not loaded_before and _starts_a_job(steps.log[-1]):
                # From here on it is as with tables that were there before.
                break
        assert torn == (2 if loaded_before else 0)
        assert number > 12

    def test_killed_after_the_success_but_before_the_task_ended(self, sandbox: Sandbox, dataset: Dataset) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClaudeCodeToBigQueryOperator, "_report", kill)
            with pytest.raises(Killed):
                load(dataset, run_id=dataset.run)
        dataset.assert_holds(people(3))
        load(dataset, run_id=dataset.run, try_number=2)
        dataset.assert_holds(people(3))
        assert len(dataset.loads()) == 2


class TestTwoWriters:
    def start(self, dataset: Dataset, **arguments: Any) -> Any:
        """Start a load whose day the second half of the test finishes."""
        started: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:

            def remember(target: Any, load: StartedLoad) -> None:
                started.append((target, load))
                raise Killed

            patch.setattr(BigQueryTarget, "finish", remember)
            with pytest.raises(Killed):
                load(dataset, **arguments)
        return started[0]

    def test_one_whose_tables_were_replaced_says_so_and_is_not_remembered(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        target, started = self.start(dataset)
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))
        assert len(dataset.loads()) == 1

    def test_an_empty_load_does_not_erase_the_rows_of_another_writer(self, sandbox: Sandbox, dataset: Dataset) -> None:
        serve(sandbox, 0)
        target, started = self.start(dataset)
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))

    @pytest.mark.parametrize("on_empty", ["write", "replace"])
    @pytest.mark.parametrize("before", ["_prepare_tables", "_append_loads"])
    def test_an_empty_load_that_another_writer_overtakes_ends_as_asked_for(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, on_empty: str, before: str
    ) -> None:
        step = getattr(BigQueryTarget, before)

        def overtaken(target: Any, *arguments: Any) -> Any:
            monkeypatch.setattr(BigQueryTarget, before, step)
            serve(sandbox, 3)
            load(dataset)
            serve(sandbox, 0)
            return step(target, *arguments)

        monkeypatch.setattr(BigQueryTarget, before, overtaken)
        serve(sandbox, 0)
        if on_empty == "write":
            with pytest.raises(ClaudeCodeEmptyDayError, match="usage: 3"):
                load(dataset)
        else:
            load(dataset, on_empty="replace")
        dataset.assert_holds(people(3) if on_empty == "write" else [])
        assert dataset.loads()[-1]["row_count"] == (3 if on_empty == "write" else 0)

    def test_a_table_without_rows_does_not_erase_those_of_another_writer(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        serve(sandbox, 2, model_breakdown=[])
        target, started = self.start(dataset, tables=["model_usage", "usage"])
        serve(sandbox, 4)
        load(dataset)
        with pytest.raises(base.SupersededError, match="another writer"):
            target.finish(started)
        dataset.assert_holds(people(4))

    def test_one_that_is_always_overtaken_gives_up_with_advice(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = BigQueryTarget.finish
        busy: list[bool] = []

        def overtaken(target: Any, started: StartedLoad) -> Any:
            if not busy:
                busy.append(True)
                load(dataset)
                busy.clear()
            return finish(target, started)

        monkeypatch.setattr(BigQueryTarget, "finish", overtaken)
        with pytest.raises(ClaudeCodePublishError, match="max_active_runs"):
            load(dataset)
        monkeypatch.undo()
        assert len({row["loaded_at"] for table in TABLES for row in dataset.rows(table)}) == 1


def fire(trigger: Any) -> dict[str, Any]:
    """Run a trigger, from its serialised form as the triggerer does, to its event."""
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_claude_code.triggers.bigquery.ClaudeCodeBigQueryJobsTrigger"
    copy = ClaudeCodeBigQueryJobsTrigger(**through_airflow(arguments))
    assert copy.serialize() == (path, arguments)

    async def first() -> Any:
        [event] = [event async for event in copy.run()]
        return event.payload

    return through_airflow(asyncio.run(first()))


@contextmanager
def airflow_times_out(limit: timedelta) -> Iterator[None]:
    """End what runs as Airflow's task runner does: by an alarm."""

    def end(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:
    from airflow.serialization.serde import deserialize, serialize


def stored_size(trigger: Any) -> int:
    """Return how many bytes Airflow's database keeps of a trigger's arguments."""
    arguments = json.dumps(serialize(trigger.serialize()[1]))
    return len(Fernet(Fernet.generate_key()).encrypt(arguments.encode()))


def through_airflow(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Send what belongs to a deferral the way that Airflow sends it."""
    again: dict[str, Any] = deserialize(json.loads(json.dumps(serialize(kwargs))))
    assert again == kwargs
    return again


class TestDeferrable:
    def begin(self, dataset: Dataset, **arguments: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferral:
            operator(dataset, deferrable=True, poll_interval=0.01, **arguments).execute(
                context(dataset, run_id=dataset.run)
            )
        return deferral.value

    def resume(self, dataset: Dataset, deferral: TaskDeferred, event: Any = None, **arguments: Any) -> dict[str, Any]:
        resumed = operator(dataset, deferrable=True, poll_interval=0.01, **arguments)
        kwargs = through_airflow(dict(deferral.kwargs or {}))
        event = event or fire(deferral.trigger)
        summary: dict[str, Any] = getattr(resumed, deferral.method_name)(
            context(dataset, run_id=dataset.run), event=event, **kwargs
        )
        return summary

    def test_it_starts_the_jobs_defers_and_finishes(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        assert len(dataset.jobs()) == 3
        assert dataset.rows("loads") == []
        summary = self.resume(dataset, deferral)
        dataset.assert_holds(people(3))
        load(direct := Dataset(dataset.server))
        assert [set(day) for day in summary["days"]] == [set(day) for day in load(direct)["days"]]
        assert summary["days"][0]["rows"] == {"usage": 3, "model_usage": 3, "tool_usage": 12}

    def test_its_arguments_hold_no_address_and_no_key(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        text = json.dumps([deferral.kwargs, deferral.trigger.serialize()])
        assert "person-" not in text
        assert "@" not in text
        assert sandbox.api_key not in text

    def test_the_trigger_waits_until_the_last_job_has_ended(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event
    ) -> None:
        dataset.server.faults = [SlowJob(table="claude_code_tool_usage", release=release)]
        deferral = self.begin(dataset)
        slow = dataset.jobs()[-1]
        assert slow.state == "RUNNING"
        events: list[Any] = []
        triggerer = threading.Thread(target=lambda: events.append(fire(deferral.trigger)))
        triggerer.start()
        until(lambda: len([r for r in dataset.requests("jobs.get") if r.path.endswith(slow.id)]) >= 3)
        assert events == []
        release.set()
        triggerer.join(20)
        assert [event["status"] for event in events] == ["success"]
        self.resume(dataset, deferral, events[0])
        dataset.assert_holds(people(3))

    def test_it_defers_for_each_day_of_a_lookback(self, sandbox: Sandbox, dataset: Dataset) -> None:
        days = [DAY - timedelta(days=back) for back in (2, 1, 0)]
        sandbox.records = lambda day, _: people(day.day % 3 + 1, day)
        deferral = self.begin(dataset, lookback_days=2)
        for _ in days[1:]:
            with pytest.raises(TaskDeferred) as again:
                self.resume(dataset, deferral, lookback_days=2)
            deferral = again.value
        summary = self.resume(dataset, deferral, lookback_days=2)
        assert [day["day"] for day in summary["days"]] == [str(day) for day in days]
        for day in days:
            dataset.assert_holds(people(day.day % 3 + 1, day), day)

    def test_a_trigger_remembers_61_days_in_far_less_than_a_column_holds(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        tools = {f"tool_{number}_" + "x" * 60: ACTION for number in range(9)}
        sandbox.records = lambda day, _: people(2, day, tool_actions=tools)
        deferral = self.begin(dataset, lookback_days=1)
        with pytest.raises(TaskDeferred) as second:
            self.resume(dataset, deferral, lookback_days=1)
        sizes = []
        for earlier in (1, 60, 365):
            again = operator(dataset, deferrable=True)
            task = context(dataset, run_id=f"{dataset.run}-{earlier}")
            [day] = json.loads(second.value.trigger.resume)["loaded"]
            day = again.open_target(task).completed(day, "US")
            # Later days name only what is new.
            loaded = [day] + [day | {"first_unknown_names": []}] * (earlier - 1)
            try:
                again._load_days(Progress([DAY], loaded), task)
            except TaskDeferred as deferred:
                sizes.append(stored_size(deferred.trigger))
        # A year is too much, and was waited for.
        assert [size < 40_000 for size in sizes] == [True, True]
        dataset.assert_holds(people(2, tool_actions=tools))

    @pytest.mark.parametrize(("tools", "deferred"), [(500, True), (5_000, False)])
    def test_unknown_names_do_not_fill_a_trigger_and_are_stored_whole(
        self, sandbox: Sandbox, dataset: Dataset, tools: int, deferred: bool
    ) -> None:
        names = sorted(f"tool_{number}" for number in range(tools))
        sandbox.records = lambda day, _: people(1, day, tool_actions=dict.fromkeys(names, ACTION))
        waiting = operator(dataset, deferrable=True, poll_interval=0.01, lookback_days=3)
        task: Any = context(dataset, run_id=dataset.run)
        step: Callable[[], Any] = lambda: waiting.execute(task)  # noqa: E731
        summary, sizes = None, []
        while summary is None:
            try:
                summary = step()
            except TaskDeferred as deferral:
                sizes.append(stored_size(deferral.trigger))
                event = fire(deferral.trigger)
                step = lambda event=event: waiting.execute_complete(task, event)  # noqa: E731
        assert len(sizes) == (4 if deferred else 0)
        assert all(size < 40_000 for size in sizes)
        assert [day["unknown_names"] for day in summary["days"]] == [tools] * 4
        assert [sorted(day) for day in summary["days"]] == [sorted(summary["days"][0])] * 4
        for row in dataset.loads():
            assert json.loads(row["unknown_names"]) == names

    def test_a_skipped_day_needs_no_deferral(self, sandbox: Sandbox, dataset: Dataset) -> None:
        sandbox.records = lambda day, _: people(0 if day == BEFORE else 3, day)
        deferral = self.begin(dataset, lookback_days=1, on_empty="skip")
        summary = self.resume(dataset, deferral, lookback_days=1, on_empty="skip")
        assert [day["published"] for day in summary["days"]] == [False, True]

    @pytest.mark.parametrize(
        ("reason", "error"), [("backendError", ClaudeCodePublishError), ("invalid", AirflowFailException)]
    )
    def test_a_job_that_fails_meanwhile_fails_the_task(
        self, sandbox: Sandbox, dataset: Dataset, release: threading.Event, reason: str, error: type[Exception]
    ) -> None:
        dataset.server.faults = [
            SlowJob(table="claude_code_model_usage", release=release),
            FailingJob(table="claude_code_model_usage", reason=reason),
        ]
        deferral = self.begin(dataset)
        release.set()
        with pytest.raises(error, match="previous state: model_usage"):
            self.resume(dataset, deferral)
        assert dataset.rows("loads") == []

    def test_another_writer_meanwhile_makes_it_load_again(self, sandbox: Sandbox, dataset: Dataset) -> None:
        deferral = self.begin(dataset)
        serve(sandbox, 4)
        load(dataset)
        serve(sandbox, 5)
        with pytest.raises(TaskDeferred) as again:
            self.resume(dataset, deferral)
        self.resume(dataset, again.value)
        dataset.assert_holds(people(5))
        assert len(dataset.loads()) == 2

    @pytest.mark.parametrize("change", ["dataset_id", "table_prefix", "tables"])
    def test_one_whose_arguments_change_meanwhile_touches_nothing(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect, change: str
    ) -> None:
        # What the changed arguments name holds another organisation's full day.
        elsewhere = Dataset(dataset.server) if change == "dataset_id" else dataset
        named: Row = {
            "dataset_id": {"dataset_id": elsewhere.id},
            "table_prefix": {"table_prefix": "rivals_"},
            "tables": {"tables": ["usage"]},
        }[change]
        if change != "tables":
            connect(f"{sandbox.api_key}-rivals")
            operator(dataset, **named).execute(context(dataset))
            connect()
        before = {
            table: [dict(row) for row in dataset.client.list_rows(table)]
            for table in dataset.client.list_tables(elsewhere.id)
        }
        serve(sandbox, 0)
        deferral = self.begin(dataset, on_empty="replace")
        event = fire(deferral.trigger)
        requests = len(dataset.server.requests)
        with pytest.raises(AirflowFailException, match=r"arguments changed.*nothing was changed"):
            self.resume(dataset, deferral, event, on_empty="replace", **named)
        assert {request.http_method for request in dataset.server.requests[requests:]} <= {"GET"}
        for table, rows in before.items():
            assert canonical(map(dict, dataset.client.list_rows(table))) == canonical(rows)

    def test_one_whose_tables_change_hands_meanwhile_touches_nothing(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset)
        serve(sandbox, 0)
        deferral = self.begin(dataset, on_empty="replace")
        event = fire(deferral.trigger)
        for table in (*TABLES, "loads"):
            dataset.client.delete_table(dataset.table_id(table))
            users_table(dataset, table, labels={"claude_code_organization": "somebody-else"})
        with pytest.raises(AirflowFailException, match="somebody-else"):
            self.resume(dataset, deferral, event, on_empty="replace")
        assert dataset.rows("loads") == []

    def test_rows_are_deleted_of_the_own_organisation_only(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A load of no rows that leaves rows behind, and tables that are another's by the time they are deleted.
        load(dataset)
        serve(sandbox, 0)
        truncating, wait = BigQueryTarget._job_config, BigQueryTarget._wait
        monkeypatch.setattr(
            BigQueryTarget, "_job_config", lambda *arguments: truncating(*arguments[:-1], "WRITE_APPEND")
        )

        def wait_and_change_hands(target: Any, started: StartedLoad) -> None:
            wait(target, started)
            table = dataset.get("usage")
            table.labels = {"claude_code_organization": "somebody-else"}
            dataset.client.update_table(table, ["labels"])

        monkeypatch.setattr(BigQueryTarget, "_wait", wait_and_change_hands)
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset, on_empty="replace")
        assert len(dataset.rows("usage")) == 3

    def test_an_empty_day_that_replaces_nothing_needs_no_deferral(self, sandbox: Sandbox, dataset: Dataset) -> None:
        serve(sandbox, 0)
        [day] = operator(dataset, deferrable=True).execute(context(dataset))["days"]
        assert (day["published"], day["jobs"]) == (True, {})
        dataset.assert_holds([])

    def test_jobs_that_the_triggerer_cannot_poll_are_waited_for_by_the_task(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        deferral = self.begin(dataset)
        dataset.server.faults = [HttpError(method="jobs.get", status=403, reason="accessDenied")]
        event = fire(deferral.trigger)
        dataset.server.faults = []
        assert event["status"] == "error"
        self.resume(dataset, deferral, event)
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("slow", [TABLES, ("model_usage",)], ids="+".join)
    @pytest.mark.parametrize("heeded", [True, False])
    def test_at_the_execution_timeout_jobs_are_cancelled_and_loads_says_what_the_tables_hold(
        self,
        sandbox: Sandbox,
        dataset: Dataset,
        release: threading.Event,
        deferrable: bool,
        slow: tuple[str, ...],
        heeded: bool,
    ) -> None:
        load(dataset)
        serve(sandbox, 4)
        dataset.server.faults = [
            SlowJob(table=f"claude_code_{table}", release=release, cancellable=heeded) for table in slow
        ]

        # A job that does not heed it lands after it was cancelled.
        def land() -> None:
            until(lambda: len(dataset.requests("jobs.cancel")) == len(TABLES))
            release.set()

        lander = threading.Thread(target=land)
        if not heeded:
            lander.start()
        limit = timedelta(seconds=2)
        if deferrable:
            deferral = self.begin(dataset, execution_timeout=limit)
            # The scheduler would end the deferral without a look at the jobs.
            assert deferral.timeout is None
            event = fire(deferral.trigger)
            assert event["status"] == "timeout"
            with pytest.raises(AirflowTaskTimeout) as timeout:
                self.resume(dataset, deferral, event, execution_timeout=limit)
        else:
            with pytest.raises(AirflowTaskTimeout) as timeout, airflow_times_out(limit):
                operator(dataset).execute(context(dataset))
        if not heeded:
            lander.join(20)
        assert {job.state for job in dataset.jobs()} == {"DONE"}
        landed = set(TABLES) - (set(slow) if heeded else set())
        for table in TABLES:
            assert dataset.content(table) == canonical(flat(people(4 if table in landed else 3), DAY)[table])
        if heeded:
            assert f"previous state: {', '.join(slow)}." in str(timeout.value)
            assert [row["row_count"] for row in dataset.loads()] == [3]
        else:
            dataset.assert_holds(people(4))
            assert [row["row_count"] for row in dataset.loads()] == [3, 4]

    def test_killing_the_deferred_task_cancels_its_jobs(self, sandbox: Sandbox, dataset: Dataset) -> None:
        dataset.server.faults = [SlowJob(table=f"claude_code_{table}", seconds=30) for table in TABLES]
        deferral = self.begin(dataset)
        asyncio.run(deferral.trigger.on_kill())
        until(lambda: {job.state for job in dataset.jobs()} == {"DONE"})
        assert [job.reason for job in dataset.jobs()] == ["stopped"] * 3
        assert dataset.rows("usage") == []


class TestReport:
    def test_the_summary_tells_counts_and_places_and_no_person(self, sandbox: Sandbox, dataset: Dataset) -> None:
        summary = load(dataset)
        text = json.dumps(summary)
        assert json.loads(text) == summary
        assert "person-" not in text
        assert sandbox.api_key not in text
        [day] = summary["days"]
        jobs = {job.id: job.destination for job in dataset.jobs()}
        assert {table: jobs[job] for table, job in day.pop("jobs").items()} == {
            table: f"{dataset.id}.claude_code_{table}$20250901" for table in TABLES
        }
        assert day == {
            "day": "2025-09-01",
            "rows": {"usage": 3, "model_usage": 3, "tool_usage": 12},
            "num_sessions": 15,
            "estimated_cost_cents": "3075",
            "currency": "USD",
            "empty": False,
            "complete": True,
            "repeated_keys": 0,
            "unknown_names": 0,
            "load_id": dataset.loads()[0]["load_id"],
            "published": True,
            "tables": {table: dataset.table_id(table) for table in TABLES},
            "location": "US",
        }

    def test_an_asset_and_an_alias_among_the_outlets_get_it(self, sandbox: Sandbox, dataset: Dataset) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        asset, alias, events = Asset("claude_code_usage"), AssetAlias("usage_of_all"), OutletEventAccessors()
        loading = operator(dataset, outlets=[asset, alias])
        summary = loading.execute(context(dataset, outlet_events=events))
        assert events[asset].extra == summary
        aliased = events[alias].asset_alias_events
        assert [event.extra for event in aliased] == [summary] * 3
        uris = [f"bigquery://{PROJECT}/{dataset.id}/claude_code_{table}" for table in TABLES]
        assert [event.dest_asset_key.uri for event in aliased] == uris
        assert [loading.table_uri(table) for table in TABLES] == uris

    def test_any_table_prefix_is_an_asset(self, sandbox: Sandbox, dataset: Dataset) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        alias, events = AssetAlias("usage_of_all"), OutletEventAccessors()
        operator(dataset, table_prefix="usage données ", outlets=[alias]).execute(
            context(dataset, outlet_events=events)
        )
        uris = [event.dest_asset_key.uri for event in events[alias].asset_alias_events]
        assert uris == [f"bigquery://{PROJECT}/{dataset.id}/usage%20donn%C3%A9es%20{table}" for table in TABLES]

    def test_links_lead_to_the_table_and_to_the_job_of_the_last_day(self, sandbox: Sandbox, dataset: Dataset) -> None:
        loading = operator(dataset, lookback_days=1)
        links = {link.name: link for link in loading.operator_extra_links}
        key: Any = None
        assert links["BigQuery Job"].get_link(loading, ti_key=key) == ""
        summary = loading.execute(context(dataset))
        assert links["BigQuery Table"].get_link(loading, ti_key=key) == (
            f"https://console.cloud.google.com/bigquery?project={PROJECT}&p={PROJECT}&d={dataset.id}"
            "&t=claude_code_usage&page=table"
        )
        assert f"j=bq:US:{summary['days'][-1]['jobs']['usage']}&" in links["BigQuery Job"].get_link(loading, ti_key=key)

    def test_hook_lineage_names_the_report_and_the_tables(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Without a reader, Airflow collects nothing.
        collector = HookLineageCollector()
        monkeypatch.setattr(base, "get_hook_lineage_collector", lambda: collector)
        load(dataset)
        found = collector.collected_assets
        assert [entry.asset.uri.partition("/v1/")[2] for entry in found.inputs] == [
            "organizations/usage_report/claude_code"
        ]
        assert {entry.asset.uri for entry in found.outputs} == {
            f"bigquery://{PROJECT}/{dataset.id}/claude_code_{table}" for table in TABLES
        }

    def test_openlineage_tells_columns_and_row_counts(self, sandbox: Sandbox, dataset: Dataset) -> None:
        pytest.importorskip("airflow.providers.openlineage")
        loading = operator(dataset, lookback_days=1)
        loading.execute(context(dataset))
        lineage = loading.get_openlineage_facets_on_complete(None)
        [report] = lineage.inputs
        assert (report.namespace, report.name) == (sandbox.base_url, "/v1/organizations/usage_report/claude_code")
        assert [
            (output.namespace, output.name, output.outputFacets["outputStatistics"].rowCount)
            for output in lineage.outputs
        ] == [("bigquery", dataset.table_id(table), count) for table, count in zip(TABLES, (6, 6, 24), strict=True)]
        for table, output in zip(TABLES, lineage.outputs, strict=True):
            assert [field.name for field in output.facets["schema"].fields] == [
                column.name for column in DATA_TABLES[table].columns
            ]

    def test_no_log_line_names_a_person_or_the_key(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("DEBUG", "airflow_provider_claude_code"):
            load(dataset)
        assert "person-" not in caplog.text
        assert sandbox.api_key not in caplog.text

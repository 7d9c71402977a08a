"""Days of usage arrive in partitions of BigQuery whole."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeEmptyDayError
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import SCHEMA_VERSION
from airflow_provider_claude_code.targets.bigquery.jobs import LoadJobs
from airflow_provider_claude_code.targets.bigquery.target import BigQueryTarget
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.bigquery import Dataset, load
from tests.fixtures.records import DAY, TABLES, Json, body, model, people
from tests.fixtures.servers.bigquery import BigQueryServer, FailingJob, HttpError
from tests.fixtures.serving import connect_to, serve
from tests.truth.records import canonical, exact_sum, flat, naive_totals

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
        connect_to(api, patch)
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
        settle = LoadJobs.cancel_earlier_loads
        retried: list[bool] = []

        def settle_and_be_retried(target: Any, day: date) -> int:
            number = settle(target, day)
            if not retried:
                retried.append(True)
                serve(sandbox, 2)
                load(dataset, run_id=dataset.run, try_number=2)
                serve(sandbox, 4)
            return number

        monkeypatch.setattr(LoadJobs, "cancel_earlier_loads", settle_and_be_retried)
        monkeypatch.setattr(BigQueryTarget, "last_loaded_at", lambda *_: None)
        load(dataset, run_id=dataset.run)
        dataset.assert_holds(people(4))
        assert [row["row_count"] for row in dataset.loads()] == [2, 4]

    def test_only_the_tables_that_are_loaded_are_created(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, tables=["tool_usage"])
        assert dataset.names() == {"tool_usage", "loads"}

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
                "request": None,
                "table_name": table,
                "row_count": count,
                "num_sessions": 15,
                "estimated_cost_cents": Decimal(3075),
                "complete": True,
                "repeated_keys": 0,
                "unknown_names": "[]",
                "actor_identity": "plain",
                "pseudonym_key_id": None,
                "schema_version": SCHEMA_VERSION,
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
        truncating = LoadJobs._config
        monkeypatch.setattr(
            LoadJobs,
            "_config",
            lambda *arguments: truncating(*arguments[:-1], "WRITE_APPEND"),
        )
        load(dataset, on_empty="replace")
        dataset.assert_holds([])

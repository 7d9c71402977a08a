"""Days of usage arrive in a directory or a bucket whole or not at all, whoever writes and whatever fails."""

import gzip
import hashlib
import hmac
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import httpx
import pendulum
import pyarrow as pa
import pyarrow.parquet
import pytest
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.execution_time.context import MacrosAccessor

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAuthenticationError,
    ClaudeCodeConnectionError,
    ClaudeCodeEmptyDayError,
    ClaudeCodeIncompleteDayError,
    ClaudeCodeResponseError,
    ClaudeCodeServerError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.storage.stores import LocalStore
from airflow_provider_claude_code.tables.contract import EXTENSIONS, SCHEMA_VERSION
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.files import Killed, Place, assert_shown_when_inconsistent, load, load_in_steps, run
from tests.fixtures.records import DAY, TABLES, Json, model, official_example, people
from tests.fixtures.serving import connect_to, serve, serve_differently_each_time

ROOT = Path(__file__).parents[2]
ACTION = {"accepted": 1, "rejected": 0}
SECRET = "correct horse battery staple"


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path / "target" if request.param == "local" else None)


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(tmp_path / "target")


@pytest.fixture
def remote() -> Place:
    return Place(None)


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


Connect = Callable[..., None]


@pytest.fixture
def connect(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the Connection to the sandbox, with some extra."""
    return partial(connect_to, server, monkeypatch)


@pytest.fixture
def sandbox(server: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, spool: Path) -> Iterator[Sandbox]:
    """The sandbox serving three people a day, a Connection to it, and a spool directory that ends empty."""
    connect()
    server.requests.clear()
    serve(server, 3)
    # How long writers who met wait is not what is tested here.
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)
    yield server
    server.faults = Faults()
    server.now = lambda: datetime.now(UTC)


Log = Callable[[], str]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Log:
    """What was logged so far; some versions of Airflow print it, others hand it to the standard library."""
    return lambda: caplog.text + capsys.readouterr().out


class TestLayout:
    def test_a_day_is_one_file_per_table_a_row_of_loads_each_and_the_marker(
        self, sandbox: Sandbox, place: Place
    ) -> None:
        load(place)
        tree = place.tree()
        [loads_key] = [key for key in tree if key.startswith("loads/")]
        assert sorted(tree) == sorted(
            [
                "_organization.json",
                "usage/dt=2025-09-01/usage.parquet",
                "model_usage/dt=2025-09-01/model_usage.parquet",
                "tool_usage/dt=2025-09-01/tool_usage.parquet",
                loads_key,
            ]
        )
        assert re.fullmatch(r"loads/dt=2025-09-01/\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}\.usage\.parquet", loads_key)
        owner = {"organization_id": sandbox.organization.id, "name": sandbox.organization.name}
        assert json.loads(tree["_organization.json"]) == owner
        place.assert_whole()

    def test_loads_says_what_the_files_hold(self, sandbox: Sandbox, place: Place) -> None:
        before = datetime.now(UTC)
        load(place)
        after = datetime.now(UTC)
        [rows] = place.loads()
        tree = place.tree()
        assert [row["table_name"] for row in rows] == list(TABLES)
        for row, count in zip(rows, (3, 3, 12), strict=True):
            path = f"{row['table_name']}/dt=2025-09-01/{row['table_name']}.parquet"
            assert before <= row.pop("loaded_at") <= after
            assert re.fullmatch("[0-9a-f]{32}", row.pop("content_digest"))
            assert row.pop("provider_version")
            assert f"loads/dt=2025-09-01/{row.pop('load_id')}.usage.parquet" in tree
            assert row == {
                "organization_id": sandbox.organization.id,
                "date": DAY,
                "stream": "usage",
                "request": None,
                "table_name": row["table_name"],
                "row_count": count,
                "num_sessions": 15,
                "estimated_cost_cents": Decimal("3075"),
                "complete": True,
                "repeated_keys": 0,
                "unknown_names": "[]",
                "actor_identity": "plain",
                "pseudonym_key_id": None,
                "schema_version": SCHEMA_VERSION,
                "dag_id": "usage",
                "run_id": "manual__1",
                "path": path,
                "bytes": len(tree[path]),
                "sha256": hashlib.sha256(tree[path]).hexdigest(),
            }

    def test_loads_tells_repeated_keys_and_names_that_are_new(self, sandbox: Sandbox, local: Place) -> None:
        new = official_example(
            actor={"type": "service_actor", "id": "s"}, tool_actions={"zap_tool": {"accepted": 1, "rejected": 0}}
        )
        sandbox.records = lambda *_: [new, official_example(), new, new]
        load(local)
        for row in local.commit_records().values():
            assert row["repeated_keys"] == 2
            assert json.loads(row["unknown_names"]) == ["service_actor", "zap_tool"]
        assert [row["key_ordinal"] for row in local.rows("usage")] == [0, 0, 1, 2]

    def test_what_is_new_in_the_api_is_loaded_counted_and_named_once_a_run(
        self,
        sandbox: Sandbox,
        local: Place,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        new = {"customer_type": "canary-value", "team": "canary-value", "tool_actions": {"zap_tool": ACTION}}
        sandbox.records = lambda day, _: [*people(2, day), *people(1, day, terminal_type="tmux", **new)]

        days = load(local, lookback_days=2)["days"]

        assert [day["rows"]["usage"] for day in days] == [3, 3, 3]
        assert [day["unknown_names"] for day in days] == [3, 3, 3]
        for row in local.commit_records().values():
            assert json.loads(row["unknown_names"]) == ["data[].customer_type", "data[].team", "zap_tool"]
        # Some versions of Airflow log to both.
        logs = [caplog.text, capsys.readouterr().out]
        named = "data[].customer_type, data[].team, zap_tool"
        assert max(text.count(named) for text in logs) == max(text.count("zap_tool") for text in logs) == 1
        assert not any("canary-value" in text for text in logs)

    @pytest.mark.parametrize(
        ("new", "warns"),
        [
            ({"tool_actions": dict.fromkeys(["a", "b", "c", "d", "e", "f"], ACTION)}, False),
            ({"actor": {"type": "a_kind", "id": "x"}}, False),
            ({"tool_actions": dict.fromkeys(["a", "b", "c", "d", "e", "f"], ACTION), "team": "x"}, True),
            ({"customer_type": "marketplace"}, True),
        ],
    )
    def test_only_new_fields_and_values_are_a_warning(
        self,
        sandbox: Sandbox,
        local: Place,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
        new: dict[str, Any],
        warns: bool,
    ) -> None:
        sandbox.records = lambda day, _: [record | new for record in people(1, day)]
        load(local)
        # Some versions of Airflow log to both.
        logs = [caplog.text, capsys.readouterr().out]
        [line, *_] = [line for text in logs for line in text.splitlines() if "its reference did not list" in line]
        assert ("warning" in line.lower()) == warns

    def test_names_from_the_api_forge_no_log_line_and_are_bounded_in_length_and_number(
        self, sandbox: Sandbox, local: Place, log: Log
    ) -> None:
        forged = ["a\n2026-01-01 ERROR forged", "b\x1b[31mred", "c\u202egnp.exe", "d" * 100_000]
        tools = [*forged, *(f"tool_{number}" for number in range(4_996))]
        sandbox.records = lambda day, _: people(1, day, tool_actions=dict.fromkeys(tools, ACTION))

        [day] = load(local)["days"]

        assert day["unknown_names"] == 5_000
        assert len(json.dumps(day)) < 2_000
        lines = [line for line in log().splitlines() if "its reference did not list" in line]
        assert all("tool_0 and 4,995 more" in line and len(line) < 2_000 for line in lines)
        assert lines
        assert all(raw not in log() for raw in ("\n2026-01-01 ERROR forged", "\x1b[31mred", "\u202e", "d" * 100))
        # The tables hold them whole.
        assert {row["tool_name"] for row in local.rows("tool_usage")} == set(tools)
        assert json.loads(local.commit_records()["usage"]["unknown_names"]) == sorted(tools)

    def test_of_several_days_each_ones_new_names_are_told_of(self, sandbox: Sandbox, local: Place, log: Log) -> None:
        sandbox.records = lambda day, _: people(1, day, tool_actions={f"tool_of_{day}": ACTION})
        load(local, lookback_days=2)
        assert "tool_of_2025-08-30, tool_of_2025-08-31, tool_of_2025-09-01. Tools, " in log()

    @pytest.mark.parametrize(
        ("actor_identity", "told"),
        [
            ("plain", "Fields are kept in unknown_fields, up to 8 KiB of each row."),
            ("hmac", "Fields are not kept, since actor_identity is 'hmac'."),
        ],
    )
    def test_the_log_says_how_much_of_undocumented_fields_is_kept(
        self, sandbox: Sandbox, connect: Connect, local: Place, log: Log, actor_identity: str, told: str
    ) -> None:
        connect(pseudonym_secret=SECRET)
        sandbox.records = lambda day, _: people(1, day, first="x" * 8_000, second="y" * 8_000)
        load(local, actor_identity=actor_identity)
        assert told in log()
        (row,) = local.rows("usage")
        kept = {"plain": f'{{"first":"{"x" * 8_000}"}}', "hmac": None}
        assert row["unknown_fields"] == kept[actor_identity]

    @pytest.mark.parametrize(
        ("currencies", "told"),
        [
            (["USD", "USD"], "; estimated cost 3075 cents ($30.75); "),
            (["EUR", "EUR"], "; estimated cost 3075 minor units of EUR; "),
            (["USD", "EUR"], "; estimated costs in several currencies; "),
            ([], "; estimated cost 0 cents ($0.00); "),
        ],
    )
    def test_the_log_gives_dollars_beside_cents_where_they_are_dollars(
        self, sandbox: Sandbox, local: Place, log: Log, currencies: list[str], told: str
    ) -> None:
        amounts = [1025, 2050]
        models = [model(amount, currency=currency) for amount, currency in zip(amounts, currencies, strict=False)]
        serve(sandbox, 1, model_breakdown=models)
        load(local)
        assert told in log()

    def test_the_log_says_what_the_report_covers(self, sandbox: Sandbox, local: Place, log: Log) -> None:
        load(local, lookback_days=2)
        assert log().count("Seats of Team and Enterprise plans are not in it") in (1, 2)
        assert "this may be why" not in log()

    @pytest.mark.parametrize("on_empty", ["write", "replace", "skip", "fail"])
    def test_a_run_of_empty_days_says_that_the_report_may_not_cover_them(
        self, sandbox: Sandbox, local: Place, log: Log, on_empty: str
    ) -> None:
        serve(sandbox, 0)
        try:
            load(local, lookback_days=2, on_empty=on_empty)
        except ClaudeCodeEmptyDayError as error:
            told = str(error)
        except AirflowSkipException:
            told = log()
        else:
            told = log()
        assert "Seats of Team and Enterprise plans are not in it" in told
        assert on_empty == "fail" or "no records of 2025-08-30 to 2025-09-01" in told

    def test_a_day_that_is_skipped_is_not_said_to_have_no_rows(self, sandbox: Sandbox, local: Place, log: Log) -> None:
        load(local)
        serve(sandbox, 0)
        with pytest.raises(AirflowSkipException):
            load(local, on_empty="skip")
        told = log()
        assert f"Skipped {DAY}: the API has no records of it. file://{local.path} keeps what it has of that day" in told
        assert "0 usage" not in told

    def test_one_empty_day_beside_others_is_no_reason_to_warn(self, sandbox: Sandbox, local: Place, log: Log) -> None:
        sandbox.records = lambda day, _: people(int(day == DAY), day)
        load(local, lookback_days=2)
        assert "this may be why" not in log()

    def test_what_the_reference_lists_is_no_news(self, sandbox: Sandbox, local: Place, log: Log) -> None:
        [day] = load(local)["days"]

        assert day["unknown_names"] == 0
        assert "its reference did not list" not in log()

    def test_costs_in_two_currencies_have_no_sum_in_loads_and_summary(self, sandbox: Sandbox, local: Place) -> None:
        serve(sandbox, 2, model_breakdown=[model(1), model(1, currency="EUR")])
        [day] = load(local)["days"]
        assert day["estimated_cost_cents"] is None
        assert local.commit_records()["usage"]["estimated_cost_cents"] is None

    def test_loads_is_written_last(self, sandbox: Sandbox, local: Place) -> None:
        load(local)
        steps: list[str] = []
        load_in_steps(local, steps.append)
        writes = [step for step in steps if step.startswith("write")]
        assert [write.split("/")[0] for write in writes] == [
            "write usage",
            "write model_usage",
            "write tool_usage",
            "write loads",
        ]
        assert not any(step.startswith("delete") for step in steps[steps.index(writes[-1]) :])

    def test_duckdb_reads_all_days_of_a_table(self, sandbox: Sandbox, local: Place) -> None:
        load(local, lookback_days=2)
        rows = duckdb.sql(
            "SELECT dt::VARCHAR, count(*), count(DISTINCT date), sum(estimated_cost_cents) FROM "
            f"read_parquet('{local.path}/usage/*/*.parquet', hive_partitioning=true) "
            "WHERE dt = date GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert rows == [(day, 3, 1, Decimal(3075)) for day in ("2025-08-30", "2025-08-31", "2025-09-01")]

    def test_a_file_url_is_a_local_directory(self, sandbox: Sandbox, tmp_path: Path) -> None:
        place = Place(tmp_path / "target")
        place.path = f"file://{tmp_path}/target"
        [day] = load(place)["days"]
        assert day["files"]["usage"] == f"file://{tmp_path}/target/usage/dt=2025-09-01/usage.parquet"
        place.assert_whole()
        # Nor is there a lock any more.
        assert {path.name for path in (tmp_path / "target").iterdir()} == {*TABLES, "loads", "_organization.json"}

    @pytest.mark.parametrize("path", ["relative/path", "./x", "", "file://relative/path", "/tmp/a\0b", "s3://a\0b/c"])
    def test_what_is_no_absolute_path_is_refused_before_the_api_is_asked(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=path, day=str(DAY))
        with pytest.raises(AirflowFailException, match="absolute path"):
            run(operator)
        assert sandbox.requests == []

    def test_a_foreign_file_among_the_loads_is_no_load(self, sandbox: Sandbox, place: Place) -> None:
        load(place)
        source = ROOT / "LICENSE"
        names = ("_SUCCESS", "readme.parquet", ".part-0.parquet.crc", "zzz-tmp.parquet.tmp")
        for name in names:
            place.store().write(f"loads/dt={DAY}/{name}", source)
        load(place)
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match="usage: 3"):
            load(place)
        assert {f"loads/dt={DAY}/{name}" for name in names} <= place.tree().keys()


class TestReplacement:
    @pytest.mark.parametrize("formats", [("parquet", "csv"), ("csv", "ndjson"), ("ndjson", "parquet")])
    def test_another_file_format_removes_the_files_of_the_old_one(
        self, sandbox: Sandbox, place: Place, formats: tuple[str, str]
    ) -> None:
        for file_format in formats:
            load(place, file_format=file_format)
        extension = EXTENSIONS[formats[1]]  # type: ignore[index]
        files = {key for key in place.tree() if not key.startswith(("loads/", "_"))}
        assert files == {f"{table}/dt={DAY}/{table}.{extension}" for table in TABLES}
        place.assert_whole()

    def test_files_of_others_in_the_folder_stay(self, sandbox: Sandbox, local: Place) -> None:
        load(local)
        assert local.local
        other = local.local / f"usage/dt={DAY}/notes.txt"
        other.write_text("mine")
        load(local)
        assert other.read_text() == "mine"

    def test_a_clock_that_is_behind_does_not_make_a_new_load_look_old(self, sandbox: Sandbox, place: Place) -> None:
        load(place)
        future = datetime.now(UTC) + timedelta(days=1)
        source = ROOT / "pyproject.toml"
        place.store().write(f"loads/dt={DAY}/{future:%Y%m%dT%H%M%S.%fZ}-00000000.parquet", source)
        load(place)
        newest = max(key for key in place.tree() if key.startswith("loads/"))
        [loaded_at] = {row["loaded_at"] for row in place.rows("usage")}
        assert loaded_at == future + timedelta(microseconds=1)
        assert f"{loaded_at:%Y%m%dT%H%M%S.%fZ}" in newest

    def test_lookback_loads_each_day_whole_oldest_first(self, sandbox: Sandbox, local: Place) -> None:
        sandbox.records = lambda day, _: people(day.day % 10, day)
        summary = load(local, lookback_days=2)
        days = [date(2025, 8, 30), date(2025, 8, 31), date(2025, 9, 1)]
        assert [day["day"] for day in summary["days"]] == [str(day) for day in days]
        assert [day["rows"]["usage"] for day in summary["days"]] == [0, 1, 1]
        for day in days:
            local.assert_whole(day)
        asked = [dict(request.params).get("starting_at", request.path) for request in sandbox.requests]
        # The days are asked for at the same time, and the name of the organisation once.
        assert sorted(asked) == sorted([*map(str, days), "/v1/organizations/me"])

    @pytest.mark.parametrize(
        ("last_end", "lookback_days", "warned"),
        [("2025-09-01", 0, False), ("2025-08-31", 0, True), ("2025-08-31", 1, False), (None, 0, False)],
    )
    def test_days_that_no_run_loads_are_told(
        self, sandbox: Sandbox, local: Place, log: Log, last_end: str | None, lookback_days: int, warned: bool
    ) -> None:
        """As with a weekly schedule, after a pause, and where the clocks skip the local time of a run."""
        end = pendulum.datetime(2025, 9, 2)
        loading = ClaudeCodeToObjectStorageOperator(task_id="load", path=local.path, lookback_days=lookback_days)
        context: Any = {
            "ti": SimpleNamespace(dag_id="usage", run_id="scheduled__1"),
            "dag": DAG("usage", schedule="@daily"),
            "dag_run": SimpleNamespace(run_type="scheduled", run_after=end, partition_key=None),
            "logical_date": end,
            "data_interval_end": end,
            "prev_data_interval_end_success": last_end and pendulum.parse(last_end),
            "macros": MacrosAccessor(),
            "outlet_events": {},
        }
        loading.render_template_fields(context)
        assert loading.execute(context)["days"][-1]["day"] == "2025-09-01"
        assert ("was for 2025-08-30, and this one loads 2025-09-01 to 2025-09-01" in log()) is warned

    @pytest.mark.skipif(AIRFLOW < (3, 2), reason="there are no partitioned schedules before Airflow 3.2")
    @pytest.mark.parametrize("zone", ["UTC", "Europe/London"])
    def test_a_partitioned_schedule_that_may_skip_a_day_is_told(
        self, sandbox: Sandbox, local: Place, log: Log, zone: str
    ) -> None:
        from airflow.sdk import CronPartitionTimetable

        schedule = CronPartitionTimetable("0 0 * * *", timezone=zone, run_offset=-1, key_format="%Y-%m-%d")
        loading = ClaudeCodeToObjectStorageOperator(task_id="load", path=local.path)
        context: Any = {
            "ti": SimpleNamespace(dag_id="usage", run_id="scheduled__1"),
            "dag": DAG("usage", schedule=schedule),
            "dag_run": SimpleNamespace(run_type="scheduled", run_after=pendulum.now(), partition_key=str(DAY)),
            "macros": MacrosAccessor(),
            "outlet_events": {},
        }
        loading.render_template_fields(context)
        assert loading.execute(context)["days"][-1]["day"] == str(DAY)
        assert ("when the clocks of Europe/London change" in log()) is (zone != "UTC")

    def test_an_absurd_look_back_is_refused_for_good(self, sandbox: Sandbox, local: Place) -> None:
        for lookback_days in (10**6, 10**30):
            with pytest.raises(AirflowFailException, match=f"lookback_days={lookback_days} reaches from {DAY}"):
                load(local, lookback_days=lookback_days)
        assert sandbox.requests == []

    def test_a_backfills_run_leaves_the_days_before_to_their_own_runs(self, sandbox: Sandbox, local: Place) -> None:
        loading = ClaudeCodeToObjectStorageOperator(task_id="load", path=local.path, day=str(DAY), lookback_days=2)
        summary = run(loading, run_type="backfill")
        assert [day["day"] for day in summary["days"]] == [str(DAY)]
        asked = [dict(request.params).get("starting_at") for request in sandbox.requests]
        assert list(filter(None, asked)) == [str(DAY)]


class TestOrganizations:
    def test_records_of_a_child_organisation_are_kept(self, sandbox: Sandbox, local: Place) -> None:
        serve(sandbox, 2, organization_id="a child")
        load(local)
        assert {row["organization_id"] for row in local.rows("usage")} == {"a child"}
        assert local.commit_records()["usage"]["organization_id"] == sandbox.organization.id

    def test_one_with_a_new_name_keeps_its_place(
        self, sandbox: Sandbox, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [None, "Acme", None, "Acme & Sons"]
        monkeypatch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_: names[0])
        kept = []
        while names:
            load(place)
            place.assert_whole()
            marker = json.loads(place.tree()["_organization.json"])
            assert marker.pop("organization_id") == sandbox.organization.id
            kept.append(marker)
            names.pop(0)
        assert kept == [{}, {"name": "Acme"}, {"name": "Acme"}, {"name": "Acme & Sons"}]

    @pytest.mark.parametrize("marker", ["", "[]", "{}", '{"organization_id": 5}', "\xff"])
    def test_a_marker_that_names_nobody_is_refused_and_changes_nothing(
        self, sandbox: Sandbox, place: Place, tmp_path: Path, marker: str
    ) -> None:
        load(place)
        source = tmp_path / "marker"
        source.write_text(marker, "latin-1")
        place.store().write("_organization.json", source)
        before = place.tree()
        with pytest.raises(AirflowFailException, match=r"_organization\.json"):
            load(place)
        assert place.tree() == before


class TestEmptyDays:
    def test_rows_in_another_format_count_as_well(self, sandbox: Sandbox, place: Place) -> None:
        load(place, file_format="csv")
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match="usage: 3"):
            load(place, file_format="parquet")
        place.assert_whole()

    def test_rows_whose_loads_row_is_lost_are_not_erased_either(self, sandbox: Sandbox, place: Place) -> None:
        load(place)
        [loads_key] = [key for key in place.tree() if key.startswith("loads/")]
        place.store().delete(loads_key)
        before = place.tree()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError):
            load(place)
        assert place.tree() == before

    def test_a_day_that_was_empty_from_the_start_is_recorded_and_has_no_files(
        self, sandbox: Sandbox, place: Place
    ) -> None:
        serve(sandbox, 0)
        for _ in range(2):
            [day] = load(place)["days"]
            assert day["rows"] == {"usage": 0, "model_usage": 0, "tool_usage": 0}
            assert (day["published"], day["num_sessions"], day["files"]) == (True, 0, {})
        assert [[row["row_count"] for row in rows] for rows in place.loads()] == [[0, 0, 0]] * 2
        assert {key.split("/")[0] for key in place.tree()} == {"_organization.json", "loads"}
        for row in place.commit_records().values():
            assert (row["path"], row["bytes"], row["sha256"]) == (None, None, None)

    @pytest.mark.parametrize("file_format", ["parquet", "csv"])
    def test_files_without_rows_stay_and_are_recorded_again(
        self, sandbox: Sandbox, place: Place, file_format: str
    ) -> None:
        serve(sandbox, 0)
        load(place, on_empty="replace", file_format=file_format)
        before = place.tree()
        load(place)
        assert {key: content for key, content in place.tree().items() if key in before} == before
        assert not place.is_inconsistent()
        first, second = place.loads()
        assert {row["load_id"] for row in first}.isdisjoint(row["load_id"] for row in second)
        names = ("path", "bytes", "sha256", "row_count")
        assert [[row[name] for name in names] for row in first] == [[row[name] for name in names] for row in second]

    def test_a_file_that_came_after_an_empty_load_without_a_loads_row_is_not_erased(
        self, sandbox: Sandbox, place: Place
    ) -> None:
        serve(sandbox, 0)
        load(place)
        serve(sandbox, 3)
        load(place)
        newest = max(key for key in place.tree() if key.startswith("loads/"))
        place.store().delete(newest)
        before = place.tree()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match="an unknown number"):
            load(place)
        assert place.tree() == before


class TestLongDays:
    @pytest.mark.parametrize(("count", "limit"), [(12_345, 1000), (1_234, 20), (2_000, 1000)])
    def test_every_record_of_many_pages_arrives(
        self, sandbox: Sandbox, local: Place, connect: Connect, count: int, limit: int
    ) -> None:
        connect(page_limit=limit)
        records = people(count)
        sandbox.records = lambda *_: records
        [day] = load(local)["days"]
        assert day["rows"] == {"usage": count, "model_usage": count, "tool_usage": 4 * count}
        assert day["num_sessions"] == 5 * count
        assert day["estimated_cost_cents"] == str(1025 * count)
        assert [row["actor_id"] for row in local.rows("usage")] == [f"person-{n}@example.com" for n in range(count)]
        assert len({row["record_id"] for row in local.rows("model_usage")}) == count
        assert sum("starting_at" in dict(request.params) for request in sandbox.requests) == -(-count // limit)
        local.assert_whole()


class TestFailures:
    @pytest.fixture(autouse=True)
    def three_pages(self, sandbox: Sandbox, connect: Connect) -> None:
        connect(page_limit=20, retry_budget=0)
        serve(sandbox, 50)

    @pytest.mark.parametrize(
        ("faults", "error"),
        [
            (Faults(page=3, status=500), ClaudeCodeServerError),
            (Faults(page=3, status=403), AirflowFailException),
            (Faults(page=3, truncate=True), ClaudeCodeConnectionError),
            (Faults(page=3, repeat_cursor=True), ClaudeCodeResponseError),
            (Faults(page=3, wrong_day=True), ClaudeCodeResponseError),
            (Faults(page=3, html=True), ClaudeCodeResponseError),
        ],
        ids=["500", "403", "truncated", "cursor", "foreign day", "proxy"],
    )
    def test_a_failure_on_the_last_page_changes_nothing(
        self, sandbox: Sandbox, local: Place, faults: Faults, error: type[Exception]
    ) -> None:
        load(local)
        before = local.tree()
        serve(sandbox, 51)
        sandbox.faults = faults
        with pytest.raises(error) as failure:
            load(local)
        # That the spool directory is empty is checked when the sandbox goes.
        assert local.tree() == before
        assert "@" not in str(failure.value)
        assert sandbox.api_key not in str(failure.value)
        sandbox.faults = Faults()
        load(local)
        assert len(local.rows("usage")) == 51
        local.assert_whole()

    def test_a_key_that_is_replaced_during_the_load_is_for_a_retry(
        self, sandbox: Sandbox, local: Place, connect: Connect
    ) -> None:
        def load_and_revoke(*, replaced: bool) -> None:
            connect("sk-ant-admin01-revoked")
            operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=local.path, day=str(DAY))
            _ = operator.hook.settings
            if replaced:
                connect()
            run(operator)

        with pytest.raises(AirflowFailException, match="401"):
            load_and_revoke(replaced=False)
        with pytest.raises(ClaudeCodeAuthenticationError, match=r"401.*The Connection has another key by now"):
            load_and_revoke(replaced=True)
        load(local)
        local.assert_whole()

    def test_a_failure_in_a_lookback_day_keeps_the_days_before_it(self, sandbox: Sandbox, local: Place) -> None:
        sandbox.records = lambda day, _: people(50 if day == DAY else 2, day)
        sandbox.faults = Faults(page=3, wrong_day=True)
        with pytest.raises(ClaudeCodeResponseError):
            load(local, lookback_days=1)
        local.assert_whole(DAY - timedelta(days=1))
        assert not any(f"dt={DAY}" in key for key in local.tree())

    def test_a_record_without_its_parts_changes_nothing(self, sandbox: Sandbox, local: Place) -> None:
        load(local)
        before = local.tree()
        sandbox.records = lambda day, _: [*people(50, day), official_example(core_metrics=...)]
        with pytest.raises(ClaudeCodeResponseError, match="core_metrics"):
            load(local)
        assert local.tree() == before


class TestFreshness:
    def test_the_current_day_is_refused_before_the_api_is_asked(self, sandbox: Sandbox, local: Place) -> None:
        with pytest.raises(ClaudeCodeIncompleteDayError):
            load(local, datetime.now(UTC).date())
        assert (sandbox.requests, local.tree()) == ([], {})

    def test_allowed_the_current_day_is_loaded_and_called_incomplete(self, sandbox: Sandbox, local: Place) -> None:
        today = datetime.now(UTC).date()
        summary = load(local, today, allow_incomplete=True, lookback_days=2)
        assert [day["complete"] for day in summary["days"]][::2] == [True, False]
        assert {row["complete"] for row in local.commit_records(today).values()} == {False}

    @pytest.mark.parametrize(
        "ahead", [timedelta(0), timedelta(hours=9)], ids=["right clocks", "a load from the future"]
    )
    @pytest.mark.parametrize(
        ("since_end", "complete"),
        [(timedelta(hours=-1.5), False), (timedelta(minutes=59), False), (timedelta(hours=1), True)],
    )
    def test_a_day_is_complete_by_the_clock_of_the_api(
        self, sandbox: Sandbox, local: Place, since_end: timedelta, complete: bool, ahead: timedelta
    ) -> None:
        """The clock of the worker, which is a year ahead here, makes no difference."""
        now = datetime(2025, 9, 2, tzinfo=UTC) + since_end
        future = datetime.now(UTC) + ahead
        local.store().write(f"loads/dt={DAY}/{future:%Y%m%dT%H%M%S.%fZ}-00000000.parquet", ROOT / "pyproject.toml")
        sandbox.now = lambda: now
        [day] = load(local, allow_incomplete=True)["days"]
        assert day["complete"] is complete

    def test_a_worker_whose_clock_is_ahead_publishes_no_part_of_a_day(
        self, sandbox: Sandbox, local: Place, log: Log
    ) -> None:
        sandbox.now = lambda: datetime(2025, 9, 2, 0, 59, tzinfo=UTC)
        with pytest.raises(ClaudeCodeIncompleteDayError, match=r"until .* 01:00 UTC; the time is 2025-09-02 00:59 UTC"):
            load(local)
        assert local.tree() == {}
        assert "The API answered at 2025-09-02 00:59:00+00:00 by its own clock" in log()

    @pytest.mark.parametrize("apart", [-30, 0, 30])
    def test_clocks_that_agree_are_not_mentioned(self, sandbox: Sandbox, local: Place, log: Log, apart: int) -> None:
        sandbox.now = lambda: datetime.now(UTC) + timedelta(seconds=apart)
        load(local)
        assert "clock of this worker" not in log()

    @pytest.mark.parametrize("header", [None, "yesterday"])
    def test_without_a_usable_date_of_the_answer_the_clock_of_the_worker_tells(
        self, sandbox: Sandbox, local: Place, monkeypatch: pytest.MonkeyPatch, header: str | None
    ) -> None:
        def through_a_proxy(self: Any, request: httpx.Request) -> httpx.Response:
            response = handle_request(self, request)
            del response.headers["date"]
            if header:
                response.headers["date"] = header
            return response

        handle_request = httpx.HTTPTransport.handle_request
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", through_a_proxy)
        sandbox.now = lambda: datetime(2025, 1, 1, tzinfo=UTC)
        today = datetime.now(UTC).date()
        days = load(local, today, allow_incomplete=True, lookback_days=2)["days"]
        assert [day["complete"] for day in days][::2] == [True, False]

    @pytest.mark.parametrize("allow_incomplete", [False, True])
    def test_a_future_day_is_refused(self, sandbox: Sandbox, local: Place, allow_incomplete: bool) -> None:
        with pytest.raises(AirflowFailException, match=r"is in the future\. Correct the day"):
            load(local, datetime.now(UTC).date() + timedelta(days=2), allow_incomplete=allow_incomplete)
        assert (sandbox.requests, local.tree()) == ([], {})

    @pytest.mark.parametrize(
        "day", ["", "None", "2025-02-30", "01.09.2025", "2025-09-01T06:00:00", "0001-01-01", "9999-12-31"]
    )
    def test_what_is_no_day_is_refused_for_good(self, sandbox: Sandbox, local: Place, day: Any) -> None:
        with pytest.raises(AirflowFailException):
            load(local, day)
        assert (sandbox.requests, local.tree()) == ([], {})


class TestPseudonyms:
    @pytest.mark.parametrize("file_format", list(EXTENSIONS))
    def test_no_file_holds_an_address_and_all_tables_the_same_pseudonym(
        self, sandbox: Sandbox, local: Place, connect: Connect, file_format: str
    ) -> None:
        connect(pseudonym_secret=SECRET)
        named = official_example(actor={"type": "api_actor", "api_key_name": "Secret-Pipeline"})
        sandbox.records = lambda day, _: [*people(3, day), named]
        load(local, actor_identity="hmac", file_format=file_format)
        texts = {key: "\n".join(_texts(content)) for key, content in local.tree().items()}
        assert len(texts) == 5
        for key, text in texts.items():
            assert "person" not in text, key
            assert "example" not in text, key
            assert "pipeline" not in text.lower(), key
            assert SECRET not in text, key
        pseudonym = hmac.new(SECRET.encode(), b'["user_actor","person-1@example.com"]', hashlib.sha256).hexdigest()
        for table in TABLES:
            [text] = [text for key, text in texts.items() if key.startswith(f"{table}/")]
            assert pseudonym in text
        key_id = hmac.new(SECRET.encode(), b"pseudonym_key_id", hashlib.sha256).hexdigest()[:16]
        for row in local.commit_records().values():
            assert (row["actor_identity"], row["pseudonym_key_id"]) == ("hmac", key_id)

    @pytest.mark.parametrize("extra", [{}, {"pseudonym_secret": ""}, {"pseudonym_secret": "short"}])
    def test_without_a_good_secret_the_api_is_not_even_asked(
        self, sandbox: Sandbox, local: Place, connect: Connect, extra: Json
    ) -> None:
        connect(**extra)
        with pytest.raises(AirflowFailException, match="secret"):
            load(local, actor_identity="hmac")
        assert (sandbox.requests, local.tree()) == ([], {})


def _texts(content: bytes) -> Iterator[str]:
    """A file's raw bytes, and what is in it once it is decompressed."""
    yield content.decode("latin-1")
    if content[:4] == b"PAR1":
        table = pa.parquet.read_table(io.BytesIO(content))
        yield repr(table.schema.metadata)
        yield repr(table.to_pylist())
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content).decode()


class TestSummary:
    def test_it_tells_counts_and_places_and_no_person(self, sandbox: Sandbox, place: Place) -> None:
        summary = load(place)
        [rows] = place.loads()
        assert json.loads(json.dumps(summary)) == summary
        files = summary["days"][0].pop("files")
        assert summary == {
            "days": [
                {
                    "day": "2025-09-01",
                    "rows": {"usage": 3, "model_usage": 3, "tool_usage": 12},
                    "num_sessions": 15,
                    "estimated_cost_cents": "3075",
                    "currency": "USD",
                    "empty": False,
                    "complete": True,
                    "repeated_keys": 0,
                    "unknown_names": 0,
                    "load_id": rows[0]["load_id"],
                    "published": True,
                }
            ]
        }
        assert {table: url.partition("/usage/dt=")[0] for table, url in files.items()}.keys() == set(TABLES)
        assert all(url.endswith(f"/{table}/dt=2025-09-01/{table}.parquet") for table, url in files.items())
        text = json.dumps([summary, files])
        assert sandbox.api_key not in text
        assert "person-" not in text

    def test_an_asset_and_an_alias_among_the_outlets_get_it(self, sandbox: Sandbox, local: Place) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        asset, alias, events = (
            Asset("claude_code_usage", "x://usage"),
            AssetAlias("usage_of_all"),
            OutletEventAccessors(),
        )
        operator = ClaudeCodeToObjectStorageOperator(
            task_id="load", path=local.path, day=str(DAY), outlets=[asset, alias]
        )
        summary = run(operator, events)
        assert events[asset].extra == summary
        aliased = events[alias].asset_alias_events
        assert [event.extra for event in aliased] == [summary] * 3
        assert [event.dest_asset_key.uri for event in aliased] == [
            f"file://{local.path}/{table}" for table in ("usage", "model_usage", "tool_usage")
        ]

    @pytest.mark.parametrize("reference", [Asset.ref(name="claude_code_usage"), Asset.ref(uri="x://usage")])
    def test_an_asset_that_an_outlet_refers_to_gets_it(
        self, sandbox: Sandbox, local: Place, monkeypatch: pytest.MonkeyPatch, reference: Any
    ) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        asset, events = Asset("claude_code_usage", "x://usage"), OutletEventAccessors()
        monkeypatch.setattr(OutletEventAccessors, "_asset_ref_cache", {})
        monkeypatch.setattr(OutletEventAccessors, "_get_asset_from_db", staticmethod(lambda **asked: asset))
        operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=local.path, day=str(DAY), outlets=[reference])
        summary = run(operator, events)
        assert events[asset].extra == summary

    def test_a_load_does_not_depend_on_an_asset_that_airflow_does_not_know(
        self, sandbox: Sandbox, local: Place, monkeypatch: pytest.MonkeyPatch, log: Log
    ) -> None:
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse
        from airflow.sdk.execution_time.context import OutletEventAccessors

        def find(**asked: str) -> None:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.ASSET_NOT_FOUND))

        monkeypatch.setattr(OutletEventAccessors, "_get_asset_from_db", staticmethod(find))
        operator = ClaudeCodeToObjectStorageOperator(
            task_id="load", path=local.path, day=str(DAY), outlets=[Asset.ref(name="unknown")]
        )
        run(operator, OutletEventAccessors())
        local.assert_whole()
        assert "no asset for the outlet AssetNameRef(name='unknown')" in log()

    @pytest.mark.parametrize(
        ("name", "encoded"),
        [
            ("données", "donn%C3%A9es"),
            ("a b", "a%20b"),
            ("50%20", "50%2520"),
            ("a?b#c", "a%3Fb%23c"),
            ("team=a,b", "team=a,b"),
            ("用量", "%E7%94%A8%E9%87%8F"),
        ],
    )
    def test_any_path_is_an_asset(self, sandbox: Sandbox, tmp_path: Path, name: str, encoded: str) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        alias, events, place = AssetAlias("usage_of_all"), OutletEventAccessors(), Place(tmp_path / name)
        run(ClaudeCodeToObjectStorageOperator(task_id="load", path=place.path, day=str(DAY), outlets=[alias]), events)
        place.assert_whole()
        assert [event.dest_asset_key.uri for event in events[alias].asset_alias_events] == [
            f"file://{tmp_path}/{encoded}/{table}" for table in TABLES
        ]

    def test_a_path_that_no_asset_can_be_is_refused_before_anything(self, sandbox: Sandbox, tmp_path: Path) -> None:
        path = f"{tmp_path}/" + "é" * 300
        sandbox.requests.clear()
        with pytest.raises(AirflowFailException, match="as the URI of an asset"):
            load(Place(Path(path)))
        assert (sandbox.requests, list(tmp_path.glob("é*"))) == ([], [])


class TestTimeout:
    def test_the_log_says_which_tables_are_replaced_when_the_execution_timeout_ends_the_task(
        self, sandbox: Sandbox, local: Place, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(local)
        write = LocalStore.write

        def end(store: LocalStore, key: str, source: Path) -> None:
            if key.startswith("model_usage/"):
                raise AirflowTaskTimeout("Timeout, PID: 1")
            write(store, key, source)

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "write", end)
            with pytest.raises(AirflowTaskTimeout):
                load(local)
        assert (
            f"{DAY} is inconsistent until it is loaded again. New load: usage; previous state: model_usage, tool_usage."
        ) in log()
        load(local)
        local.assert_whole()


class TestTwoWriters:
    def test_a_load_that_is_repeated_at_once_leaves_no_error_in_the_log(
        self, sandbox: Sandbox, local: Place, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when Cloud Storage refuses an object that another writer has just replaced."""
        write, conflicts = LocalStore.write, ["model_usage/"]

        def conflict_once(store: LocalStore, key: str, source: Path) -> None:
            if conflicts and key.startswith(conflicts[0]):
                conflicts.clear()
                raise SupersededError("another writer replaced it")
            write(store, key, source)

        monkeypatch.setattr(LocalStore, "write", conflict_once)
        load(local)
        assert not conflicts
        local.assert_whole()
        assert "inconsistent" not in log()

    def test_many_at_once_in_a_local_directory_leave_one_whole_day(self, sandbox: Sandbox, local: Place) -> None:
        serve_differently_each_time(sandbox)
        with ThreadPoolExecutor(4) as pool:
            for writer in [pool.submit(load, local) for _ in range(4)]:
                writer.result(60)
        local.assert_whole()

    @pytest.mark.parametrize("moment", ["write usage", "write loads"])
    def test_one_whose_place_another_organisation_claims_meanwhile_fails_and_is_not_remembered(
        self, sandbox: Sandbox, remote: Place, tmp_path: Path, moment: str
    ) -> None:
        # Both had read that nobody owns it, and the other one wrote its claim last.
        claim = tmp_path / "claim.json"
        claim.write_text(json.dumps({"organization_id": "somebody-else"}))

        def claimed(step: str) -> None:
            if step.startswith(moment):
                remote.store().write("_organization.json", claim)

        with pytest.raises(AirflowFailException, match=r"organisation somebody-else, but the key\s+belongs to"):
            load_in_steps(remote, claimed)
        assert remote.loads() == []
        assert json.loads(remote.tree()["_organization.json"]) == {"organization_id": "somebody-else"}


class TestKilledWriters:
    @pytest.mark.parametrize("loaded_before", [False, True])
    def test_in_a_bucket_an_inconsistent_day_shows_and_the_next_run_fixes_it(
        self, sandbox: Sandbox, loaded_before: bool
    ) -> None:
        serve_differently_each_time(sandbox)
        for number in itertools.count():
            place, steps = Place(None), []
            if loaded_before:
                load(place, file_format="csv")
                load(place)

            def step(name: str, number: int = number, steps: list[str] = steps) -> None:
                steps.append(name)
                if len(steps) == number + 1:
                    raise Killed

            try:
                load_in_steps(place, step)
                break
            except Killed:
                assert_shown_when_inconsistent(place)
                load(place)
                place.assert_whole()
        assert number > 10

    def test_an_inconsistent_day_shows_and_the_next_run_fixes_it(self, sandbox: Sandbox, tmp_path: Path) -> None:
        serve_differently_each_time(sandbox)
        templates, survivors = tmp_path / "templates", tmp_path / "survivors"
        loaded, fresh = Place(templates / "loaded"), templates / "fresh"
        fresh.mkdir(parents=True)
        load(loaded)
        # Something to remove, so that removing is one of the steps.
        usage = f"{loaded.path}/usage/dt={DAY}/usage"
        shutil.copy(f"{usage}.parquet", f"{usage}.csv.gz")
        (tmp_path / "tmp").mkdir()
        script = subprocess.run(
            [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(templates), str(survivors), str(DAY)],
            cwd=ROOT,
            env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow"), "TMPDIR": str(tmp_path / "tmp")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert script.returncode == 0, script.stderr
        kills = [line.split(" ", 2)[1:] for line in script.stdout.splitlines() if line.startswith("KILLED ")]
        inconsistent = {"fresh": 0, "loaded": 0}
        for path, operation in kills:
            place = Place(Path(path))
            template = place.path.split("/")[-2]
            inconsistent[template] += assert_shown_when_inconsistent(place)
            load(place)
            try:
                place.assert_whole()
            except AssertionError as error:
                error.add_note(f"The {template} directory's writer was killed before: {operation}")
                raise
        assert len(kills) > 25
        assert all(inconsistent.values())


# Forks writers that each kill themselves before one more of the operations that change files than the last did.
KILLED_AT_EVERY_STEP = """
import itertools, os, shutil, signal, sys
from types import SimpleNamespace
# What the writers would each import by themselves, and that takes a second.
import pandas
import airflow_provider_claude_code.targets.files
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

templates, survivors, day = sys.argv[1:]


def write(path, last_step):
    steps = itertools.count()

    def audit(event, arguments):
        changes = event in ("os.rename", "os.remove", "os.mkdir") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if changes and str(arguments[0]).startswith(path) and next(steps) == last_step:
            print("KILLED", path, event, arguments[0], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=path, day=day)
    sys.addaudithook(audit)
    context = {"ti": SimpleNamespace(dag_id="d", run_id="r"), "dag_run": SimpleNamespace(run_type="manual")}
    operator.execute(context | {"outlet_events": {}})


for template in os.listdir(templates):
    for number in itertools.count():
        path = f"{survivors}/{template}/{number}"
        shutil.copytree(f"{templates}/{template}", path)
        pid = os.fork()
        if pid == 0:
            try:
                write(path, number)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(2)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            break
        if status != -signal.SIGKILL:
            sys.exit(status)
"""

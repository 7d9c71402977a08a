"""Checks of loaded usage fail a task, or warn, for what is wrong and for nothing else; on files and in BigQuery."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

import duckdb

from airflow_provider_claude_code.analytics.queries.checks import CHECKS
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeSourceError
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (
    ClaudeCodeToObjectStorageOperator,
)
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.loaded import put_day
from tests.fixtures.records import ORGANIZATION_ID, Json, people
from tests.truth.analytics import last_day_due
from tests.truth.days import days

DAYS = days(last_day_due(datetime.now(UTC)) - timedelta(days=21), 22)
SAME_DAYS = date(2026, 11, 3)
"""The first of 22 days whose records they have, so that the tests find the same numbers on whatever day they run."""
CONTEXT: dict[str, Any] = {
    "ti": SimpleNamespace(dag_id="dag", run_id="run", task_id="check"),
    "dag_run": SimpleNamespace(run_type="manual"),
    "outlet_events": {},
}


def records_of(sandbox: Sandbox, day: date) -> list[Json]:
    same = sandbox.organization.records(SAME_DAYS + (day - DAYS[0]), datetime(2027, 1, 1, tzinfo=UTC))
    return [record | {"date": f"{day}T00:00:00Z"} for record in same]


def load(path: Path, sandbox: Sandbox, day: date, **arguments: Any) -> None:
    connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
        ClaudeCodeToObjectStorageOperator(task_id="load", path=str(path), day=str(day), **arguments).execute(CONTEXT)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks and a day of an invented organisation, to be copied."""
    path = tmp_path_factory.mktemp("loaded")
    with Sandbox(users=20) as sandbox:
        sandbox.records = lambda day, now: records_of(sandbox, day)
        load(path, sandbox, DAYS[-1], lookback_days=len(DAYS) - 1)
    return path


@pytest.fixture
def files(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(loaded, tmp_path / "files"))


def check(path: Path, **arguments: Any) -> dict[str, Any]:
    """Check the last week, unless the arguments say otherwise."""
    arguments = {"last_day": str(DAYS[-1])} | ({} if "first_day" in arguments else {"period_days": 7}) | arguments
    return ClaudeCodeDataQualityOperator(task_id="check", path=str(path), **arguments).execute(CONTEXT)


def findings(**counts: int) -> dict[str, int]:
    return dict.fromkeys(CHECKS, 0) | counts


def keep_rows(file: Path, condition: str) -> None:
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{file}', hive_partitioning = false) WHERE {condition}")
    rows.write_parquet(f"{file}.new")
    Path(f"{file}.new").rename(file)


def test_a_week_that_was_loaded_whole_passes(files: Path) -> None:
    rows = {
        table: duckdb.sql(f"SELECT count(*) FROM read_parquet({[f'{files}/{table}/dt={day}/*' for day in DAYS[-7:]]})")
        for table in ("model_usage", "tool_usage", "usage")
    }
    assert check(files) == {
        "first_day": str(DAYS[-7]),
        "last_day": str(DAYS[-1]),
        "checked": {"days": 7, "rows": {table: count.fetchall()[0][0] for table, count in rows.items()}},
        "findings": findings(),
        "nothing_to_check": ["lost_records", "cost_total", "budget", "mapping", "roster"],
    }


def test_a_check_without_data_does_not_look_like_one_that_passed(
    files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    roster = tmp_path / "roster.csv"
    users = duckdb.sql(f"SELECT actor_id FROM '{files}/usage/*/*.parquet' WHERE actor_type = 'user_actor'").fetchall()
    roster.write_text(f"actor_id\n{users[0][0]}\n")
    result = check(files, roster=str(roster), monthly_budget_usd=10**9, period_days=1, last_day=str(DAYS[0]))
    assert result["nothing_to_check"] == ["volume_drop", "lost_records", "cost_total", "request_changed", "mapping"]

    before = check(files, last_day=str(DAYS[0] - timedelta(days=1)))
    assert before["checked"] == {"days": 0, "rows": {}}
    assert before["nothing_to_check"] == [check for check in CHECKS if check != "freshness"]
    # Airflow's versions log in different ways.
    told = capsys.readouterr().out + caplog.text
    assert "0 loaded days; no tables" in told
    assert " usage rows. Nothing to check for: " in told


def test_days_that_lack_the_same_are_one_problem_and_a_line_each_in_the_log(
    files: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    singles = [DAYS[number] for number in (5, 7, 9, 11, 13, 15, 17, 19)]
    missing = [*DAYS[1:4], *singles]
    for day in missing:
        for table in ("usage", "model_usage", "tool_usage", "loads"):
            shutil.rmtree(files / f"{table}/dt={day}")
    with pytest.raises(AirflowFailException) as failure:
        check(files, checks=["missing_days"], first_day=str(DAYS[0]))
    ((organization,),) = duckdb.sql(f"SELECT DISTINCT organization_id FROM '{files}/loads/*/*.parquet'").fetchall()
    assert (
        f"has 1 problem. missing_days: {DAYS[1]} to {DAYS[3]}, {', '.join(map(str, singles[:7]))}, and 1 more in the "
        f"log {organization} model_usage, tool_usage, usage: The day was never loaded. Load it."
    ) in str(failure.value)
    # Airflow's versions log in different ways.
    told = capsys.readouterr().out + caplog.text
    for day in missing:
        named = set(re.findall(rf"missing_days: {day} {organization} (\w+): ", told))
        assert named == {"model_usage", "tool_usage", "usage"}


def test_rows_that_are_gone_from_a_table_are_found_with_their_numbers(files: Path) -> None:
    file = files / f"tool_usage/dt={DAYS[-3]}/tool_usage.parquet"
    before = duckdb.sql(f"SELECT count(*), sum(accepted) FROM '{file}'").fetchall()[0]
    keep_rows(file, "tool_name <> 'edit_tool'")
    after = duckdb.sql(f"SELECT count(*), sum(accepted) FROM '{file}'").fetchall()[0]
    with pytest.raises(AirflowFailException) as failure:
        check(files)
    message = str(failure.value)
    assert f"loads remembers {before[0]} rows, and the table holds {after[0]}." in message
    assert f"usage says {before[1]} accepted" in message
    assert f"tool_usage says {after[1]} and" in message
    assert message.count(str(DAYS[-3])) == 2
    assert "@" not in message


def test_names_in_findings_forge_no_log_line_and_are_cut(tmp_path: Path) -> None:
    forged = "a\n2026-01-01 ERROR \x1b[31m\u202eforged" + "x" * 10_000
    put_day(tmp_path, DAYS[-1], people(3, DAYS[-1], organization_id=forged), organization_id=ORGANIZATION_ID)
    keep_rows(tmp_path / f"tool_usage/dt={DAYS[-1]}/tool_usage.parquet", "false")
    with pytest.raises(AirflowFailException, match=r"sums: .*a.n2026") as failure:
        check(tmp_path, checks=["sums"])
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 5_000


def test_a_day_that_was_never_loaded_fails_the_weeks_that_it_is_in(files: Path) -> None:
    for table in ("usage", "model_usage", "tool_usage", "loads"):
        shutil.rmtree(files / f"{table}/dt={DAYS[-4]}")
    with pytest.raises(AirflowFailException, match=rf"missing_days: {DAYS[-4]} .* usage: The day was never loaded"):
        check(files)
    assert check(files, last_day=str(DAYS[-5]))["findings"] == findings()
    assert check(files, checks=["sums", "freshness"])["findings"] == {"sums": 0, "freshness": 0}


def test_a_day_that_is_not_over_is_no_finding_and_one_that_was_read_too_early_and_is_over_is(files: Path) -> None:
    today = datetime.now(UTC).date()
    with Sandbox(users=20) as sandbox:
        load(files, sandbox, today, allow_incomplete=True, on_empty="replace")
    assert check(files, last_day=str(today))["findings"] == findings()
    (record,) = (files / f"loads/dt={DAYS[-2]}").iterdir()
    incomplete = duckdb.sql(
        f"SELECT * REPLACE (false AS complete) FROM read_parquet('{record}', hive_partitioning = false)"
    )
    incomplete.write_parquet(f"{record}.new")
    Path(f"{record}.new").rename(record)
    with pytest.raises(AirflowFailException, match=rf"{DAYS[-2]} .* loaded before it was complete, and not since"):
        check(files)


def test_a_far_smaller_day_is_a_volume_drop_and_may_only_warn(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Sandbox(users=20) as sandbox:
        small = [record for record in records_of(sandbox, DAYS[-1]) if not record["model_breakdown"]][:2]
        sandbox.records = lambda day, now: small
        load(files, sandbox, DAYS[-1])
    with pytest.raises(
        AirflowFailException, match=r"volume_drop: .* Only 2 of the usual [0-9]+ rows, the median of 3 "
    ):
        check(files, checks=["volume_drop"])
    capsys.readouterr()
    assert check(files, warn_only=["volume_drop", "lost_records"])["findings"]["volume_drop"] >= 1
    log = capsys.readouterr().out
    assert re.search("(?i)warning .* Only 2 of the usual", log)
    assert "Without findings: sums, missing_days, freshness, repeated_keys, out_of_range, request_changed" in log
    # Only model_usage is empty.
    with pytest.raises(AirflowFailException, match=r"1 problem\. volume_drop: .* model_usage: Only 0 of"):
        check(files, max_drop=1, checks=["volume_drop"])


def test_a_reload_that_was_killed_before_it_was_remembered_is_found(files: Path) -> None:
    before = set((files / f"loads/dt={DAYS[-1]}").iterdir())
    with Sandbox(users=20) as sandbox:
        sandbox.records = lambda day, now: records_of(sandbox, day)
        load(files, sandbox, DAYS[-1])
    (written_last,) = set((files / f"loads/dt={DAYS[-1]}").iterdir()) - before
    assert check(files)["findings"] == findings()
    written_last.unlink()
    with pytest.raises(
        AirflowFailException,
        match=rf"sums: {DAYS[-1]} model_usage, tool_usage, usage: The rows are not those of the newest load",
    ):
        check(files)


def test_a_reload_that_brings_half_of_a_day_is_found(files: Path) -> None:
    with Sandbox(users=20) as sandbox:
        records = records_of(sandbox, DAYS[-1])
        sandbox.records = lambda day, now: records[: len(records) // 2 + 1]
        load(files, sandbox, DAYS[-1])
    lost = f"The newest load has {len(records) // 2 + 1} of the {len(records)} records of an earlier load"
    with pytest.raises(AirflowFailException, match=re.escape(lost)) as failure:
        check(files)
    assert "1 problem." in str(failure.value)


def test_pages_that_overlap_are_told_by_the_load_and_found_by_the_check(
    files: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(users=20) as sandbox:
        records = records_of(sandbox, DAYS[-1])
        sandbox.records = lambda day, now: [*records, *records[-3:]]
        load(files, sandbox, DAYS[-1])
        assert re.search(rf"WARNING .* {DAYS[-1]}: 3 records have the same key as another record", caplog.text)
        with pytest.raises(
            AirflowFailException, match=rf"repeated_keys: {DAYS[-1]} .* 3 of {len(records) + 3} records"
        ):
            check(files)
        sandbox.records = lambda day, now: records
        capsys.readouterr()
        load(files, sandbox, DAYS[-1])
    assert "repeat" not in capsys.readouterr().out
    # That the repeated records are gone again is no loss.
    assert check(files)["findings"] == findings()


def test_a_roster_or_mapping_that_matches_nobody_is_found_without_naming_anybody(files: Path, tmp_path: Path) -> None:
    roster, mapping = tmp_path / "roster.csv", tmp_path / "mapping.csv"
    roster.write_text("actor_id,valid_from,valid_to\n" + f"{'0' * 64},,\n")
    mapping.write_text(
        f"actor_type,actor_id,team,cost_centre,valid_from,valid_to\nuser_actor,{'0' * 64},a,,,\napi_actor,CI,b,,,\n"
    )
    with pytest.raises(AirflowFailException) as failure:
        check(files, roster=str(roster), mapping=str(mapping))
    assert "2 problems" in str(failure.value)
    assert "mapping: mapping: None of its rows (2) matches an actor of the loaded usage" in str(failure.value)
    assert "roster: roster: None of its rows (1) matches" in str(failure.value)
    assert "000" not in str(failure.value)
    assert check(files, roster=str(roster), mapping=str(mapping), warn_only=["roster", "mapping"])["findings"] == (
        findings(roster=1, mapping=1)
    )


def test_data_that_is_too_old_is_found_whatever_the_period(files: Path) -> None:
    hours = (datetime.now(UTC) - datetime.combine(DAYS[-1], datetime.min.time(), UTC)) / timedelta(hours=1) - 24
    assert check(files, max_age_hours=hours + 1, last_day=str(DAYS[-9]))["findings"] == findings()
    with pytest.raises(AirflowFailException, match=rf"freshness: {DAYS[-1]} .* ended more than {int(hours)} hours ago"):
        check(files, max_age_hours=int(hours), last_day=str(DAYS[-9]))


def test_a_mapping_whose_rows_overlap_is_refused_without_naming_anybody(files: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    head = "actor_type,actor_id,team,cost_centre,valid_from,valid_to\n"
    mapping.write_text(
        head + "user_actor,dev001@example.com,a,,,2025-09-30\nuser_actor,Dev001@example.com,b,,2025-10-01,\n"
    )
    assert check(files, mapping=str(mapping))["findings"] == findings()
    mapping.write_text(head + "user_actor,dev001@example.com,a,,,\nuser_actor,Dev001@example.com,b,,2025-10-01,\n")
    with pytest.raises(
        AirflowFailException, match=r"mapping: mapping: Rows overlap. Actors with such rows: 1"
    ) as failure:
        check(files, mapping=str(mapping))
    assert "dev001" not in str(failure.value).lower()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("actor_type,actor_id\nuser_actor,secret@example.com\n", "mapping.csv"),
        (
            "actor_type,actor_id,team,cost_centre,valid_from,valid_to\nuser_actor,secret@example.com,a,,secret,\n",
            "m.csv",
        ),
        ("", "mapping.xlsx"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_refused_without_its_content(
    files: Path, tmp_path: Path, content: str, name: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AirflowFailException, match="mapping") as failure:
        check(files, mapping=str(tmp_path / name))
    assert "secret" not in str(failure.value)


@pytest.fixture(scope="module")
def spending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of a month that cost 20.50 dollars each."""
    path = tmp_path_factory.mktemp("spending")
    for day in days(date(2026, 3, 1), 10):
        put_day(path, day, people(2, day))
    return path


def budget(path: Path, day: int, **arguments: Any) -> int:
    """Check the budget as a task of a daily Dag does, and return how often something was found."""
    arguments = {"checks": ["budget"], "period_days": 1, "monthly_budget_usd": "100", **arguments}
    found: dict[str, int] = check(path, last_day=f"2026-03-{day:02}", **arguments)["findings"]
    return found["budget"]


def test_a_budget_is_warned_of_once_by_a_daily_dag(spending: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 82 dollars by the fourth, 102.50 by the fifth.
    assert [budget(spending, day) for day in range(1, 11)] == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert budget(spending, 4) == 1, "a retry finds the same"
    log = capsys.readouterr().out
    assert re.search(
        r"(?i)warning .* reached 80 % of the monthly budget of \$100\.00: by 2026-03-04 at least \$82\.", log
    )
    assert budget(spending, 10, period_days=10, monthly_budget_usd=205.0, budget_percents=[50, 100, 101]) == 2
    assert budget(spending, 5, monthly_budget_usd=None) == 0


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_budget_that_a_template_renders_to_nothing_has_nothing_to_check(spending: Path, nothing: str | None) -> None:
    result = check(spending, checks=["budget"], last_day="2026-03-05", monthly_budget_usd=nothing)
    assert (result["findings"], result["nothing_to_check"]) == ({"budget": 0}, ["budget"])


def test_memory_and_threads_may_be_digits(spending: Path) -> None:
    assert budget(spending, 1, memory_mb="512", threads="1") == 0


def test_a_budget_may_fail_the_task(spending: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"1 problem\. budget: 2026-03-05 .* reached 100 % of the monthly"):
        budget(spending, 5, warn_only=[])


def test_a_path_that_nothing_was_loaded_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match="has no loaded days"):
        check(tmp_path / "nothing")


def test_days_without_the_table_usage_are_refused_with_what_to_load(tmp_path: Path) -> None:
    with Sandbox(users=6) as sandbox:
        load(tmp_path, sandbox, DAYS[0], tables=["model_usage"])
    with pytest.raises(AirflowFailException, match="Load the table usage, or pass the path to which"):
        check(tmp_path)


def test_findings_are_told_by_check_and_day(files: Path) -> None:
    for day in DAYS[-5:]:
        (files / f"usage/dt={day}/usage.parquet").unlink()
    with pytest.raises(AirflowFailException) as failure:
        check(files, checks=["sums"])
    found = re.findall(r"sums: (\S+) usage: loads", str(failure.value))
    assert found == [str(day) for day in DAYS[-5:]]


@pytest.mark.parametrize("table", ["usage", "loads"])
def test_a_damaged_file_is_named(files: Path, table: str) -> None:
    (file,) = (files / f"{table}/dt={DAYS[-2]}").iterdir()
    file.write_bytes(b"damaged")
    with pytest.raises(ClaudeCodeSourceError, match=rf"^{file.relative_to(files)} could not be queried") as failure:
        check(files)
    assert "remove that file and load its day again" in str(failure.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Set either path"),
        ({"path": "/a", "dataset_id": "b"}, "Set either path"),
        ({"path": "/a", "checks": "sums"}, "checks is 'sums'"),
        ({"path": "/a", "checks": []}, "checks is"),
        ({"path": "/a", "checks": None}, "checks is None"),
        ({"path": "/a", "checks": [["sums"]]}, "checks is"),
        ({"path": "/a", "warn_only": 5}, "warn_only is 5"),
        ({"path": "/a", "budget_percents": 80}, "budget_percents is 80; a list was expected"),
        ({"path": "/a", "budget_percents": None}, "budget_percents is None"),
        ({"path": "/a", "warn_only": ["drop"]}, "warn_only is"),
        ({"path": "/a", "budget_percents": [0.8]}, "budget_percents is"),
        ({"path": "/a", "max_drop": 0}, "max_drop is 0"),
        ({"path": "/a", "max_age_hours": float("nan")}, "max_age_hours is nan"),
        ({"path": "/a", "since": "2025-13-01"}, "since is '2025-13-01', which is not in the calendar"),
        ({"dataset_id": "project.dataset"}, "Its project goes into project_id"),
        ({"path": "/a", "period_days": 0}, "period_days is 0"),
        ({"path": "/a", "period_days": True}, "period_days is True"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_when_the_dag_is_parsed(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=message):
        ClaudeCodeDataQualityOperator(task_id="check", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first_day": "2025-09-08", "last_day": "2025-09-07"}, "is before first_day"),
        ({"last_day": "None"}, "day is 'None'"),
        ({"last_day": "9999-12-31"}, "day is 9999-12-31"),
        ({"first_day": "0001-01-01"}, "day is 0001-01-01"),
        ({"period_days": 10**6}, "period_days=1000000 reaches from 2025-09-01"),
        ({"period_days": 10**30}, "period_days=10+ reaches"),
        ({"monthly_budget_usd": "None"}, "monthly_budget_usd is 'None'; US dollars above 0 were expected"),
        ({"monthly_budget_usd": 0}, "monthly_budget_usd is 0;"),
        ({"monthly_budget_usd": "1e99"}, "monthly_budget_usd is"),
        ({"monthly_budget_usd": float("nan")}, "monthly_budget_usd is nan"),
        ({"monthly_budget_usd": "0.001"}, "monthly_budget_usd is '0.001'"),
        ({"path": "relative"}, "path is 'relative'"),
        ({"path": "/data/a\0b"}, "path is .*an absolute path"),
    ],
)
def test_rendered_arguments_that_cannot_be_used_fail_without_a_retry(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        ClaudeCodeDataQualityOperator(
            task_id="check", **{"path": "/nothing", "last_day": "2025-09-01"} | arguments
        ).execute(CONTEXT)

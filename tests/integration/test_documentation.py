"""All code of the documentation is run, and its queries say what is in the files that the operator writes."""

from __future__ import annotations

import inspect
import re
import shlex
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from airflow_provider_claude_code.operators.analytics import ClaudeCodeAnalyticsOperator
from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from tests.fixtures import documentation
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.documentation import BLOCKS, PAGES, ROOT, Block
from tests.fixtures.serving import connect_to

DAYS = [date(2025, 9, 1) + timedelta(days=number) for number in range(7)]


def query(name: str, files: Path) -> list[dict[str, object]]:
    """Run one of the queries on files."""
    result = duckdb.sql(documentation.query(name).replace("PATH", str(files)))
    return [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch):
    with Sandbox(users=200) as sandbox:
        connect_to(sandbox, monkeypatch)
        yield sandbox


def load(path: Path, day: date, lookback_days: int = 0) -> None:
    operator = ClaudeCodeToObjectStorageOperator(
        task_id="load", path=str(path), day=day.isoformat(), lookback_days=lookback_days
    )
    context: Any = {"ti": SimpleNamespace(dag_id="dag", run_id="run"), "dag_run": SimpleNamespace(run_type="manual")}
    operator.execute(context | {"outlet_events": {}})


@pytest.fixture
def truth(sandbox: Sandbox, tmp_path: Path) -> list[dict]:
    """Load a week and return the API's records of it."""
    load(tmp_path, DAYS[-1], lookback_days=6)
    return [record for day in DAYS for record in sandbox.organization.records(day, datetime.now(UTC))]


def executable(language: str) -> list[Any]:
    """Return the blocks of a language without those that are marked as not run."""
    return [
        pytest.param(block, id=f"{block.page}:{number}")
        for number, block in enumerate(BLOCKS)
        if block.language == language and not block.note.startswith("not run: ")
    ]


@pytest.mark.parametrize("block", executable("python"))
@pytest.mark.usefixtures("sandbox")
def test_python_code_runs(block: Block) -> None:
    """Dags are run end to end as well."""
    if "CronPartitionTimetable" in block.text and AIRFLOW < (3, 2):
        pytest.skip("needs partitioned schedules")
    exec(compile(block.text, block.page, "exec"), {})


@pytest.mark.parametrize("block", executable("sql"))
def test_queries_are_run_by_a_test(block: Block) -> None:
    kind, _, name = block.note.partition(": ")
    assert kind == "query", f"name it in a comment before it: {block.text}"
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    assert any(f'"{name}"' in text for text in tests)


# What installs from PyPI, or needs a cloud or a password. `make` and Airflow's commands are run end to end and by CI.
INSTALLERS = ("pip install", "gcloud", "cp", "make demo")
RUN_END_TO_END = ("airflow", "export AIRFLOW_CONN_CLAUDE_CODE_DEFAULT=", ".venv/bin/python -m tests.fixtures.servers.")


@pytest.mark.parametrize("language", ["bash", "console"])
def test_commands_are_of_a_kind_that_is_run(language: str) -> None:
    for block in BLOCKS:
        if block.language != language:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ")
            assert shlex.split(command, comments=True), f"{block.page}: {line}"
            assert command.startswith(RUN_END_TO_END if language == "bash" else INSTALLERS), f"{block.page}: {line}"


def test_other_code_is_configuration_or_output() -> None:
    others = {block.language for block in BLOCKS} - {"python", "sql", "bash", "console"}
    assert others <= {"text", "yaml", "ini", "dockerfile", "{toctree}", "{literalinclude}", "{include}", "{eval-rst}"}


def test_links_to_the_repository_lead_to_files() -> None:
    repository = "https://github.com/airflow-provider-claude-code/airflow-provider-claude-code/blob/main/"
    targets = [target for page in PAGES.values() for target in re.findall(rf"{repository}([^)#]+)", page)]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150
    site_only = {"docs/index.md", "docs/changelog.md", "docs/example-dags.md", "docs/reference/api.md"}
    missing = [page for page in PAGES if page.startswith("docs/") and f"({page})" not in PAGES["README.md"]]
    assert set(missing) == site_only


def own_arguments(operator: Any) -> set[str]:
    parameters = inspect.signature(inspect.unwrap(operator.__init__)).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("page", "table", "operators", "elsewhere"),
    [
        ("operators", 0, [ClaudeCodeTransferOperator], {"file_format"}),
        ("operators", 1, [ClaudeCodeFreshnessSensor], set()),
        ("bigquery", 0, [ClaudeCodeToBigQueryOperator], set()),
        ("cloud-storage", 0, [ClaudeCodeToGCSOperator], set()),
        ("object-stores", 0, [ClaudeCodeToObjectStorageOperator], set()),
        ("bigquery-models", 0, [ClaudeCodeBigQueryModelsOperator], set()),
        ("report", 0, [ClaudeCodeReportOperator, ClaudeCodeAnalyticsOperator], set()),
        (
            "checks",
            0,
            [ClaudeCodeDataQualityOperator, ClaudeCodeAnalyticsOperator],
            # The page on the report has them.
            own_arguments(ClaudeCodeAnalyticsOperator) - {"roster", "mapping", "monthly_budget_usd"},
        ),
    ],
)
def test_the_tables_of_arguments_have_each_argument_and_say_which_are_templated(
    page: str, table: int, operators: list[Any], elsewhere: set[str]
) -> None:
    rows = PAGES[f"docs/{page}.md"].split("\n| argument | default | meaning |\n")[table + 1].partition("\n\n")[0]
    documented = {
        name: "*t*" in row.split("|")[1]
        for row in rows.splitlines()[1:]
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    arguments = set().union(*map(own_arguments, operators)) - elsewhere
    assert documented == {name: name in operators[0].template_fields for name in arguments}


def test_the_table_of_athena_has_the_columns_of_the_files() -> None:
    (block,) = [block for block in BLOCKS if block.note == "not run: needs Athena"]
    columns = re.search(r"claude_code_tool_usage \((.*?)\)\n", block.text, re.DOTALL)
    assert columns
    named = [column.split()[0].strip("`") for column in columns[1].split(",")]
    assert named == [column.name for column in DATA_TABLES["tool_usage"].columns]


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_first_load_has_every_day_of_the_first_report_and_of_the_week_before(page: str) -> None:
    """The report compares the last week, Monday to Sunday, that is over."""
    for lookback in re.findall(r"lookback_days=(\d+)", PAGES[page]):
        for yesterday in DAYS:
            sunday = yesterday - timedelta(days=yesterday.isoweekday() % 7)
            assert yesterday - timedelta(days=int(lookback)) <= sunday - timedelta(days=13)
    assert "lookback_days=" in PAGES[page]


def test_the_acceptance_query_counts_people_sessions_and_rates(truth: list[dict], tmp_path: Path) -> None:
    rows = {row["dt"]: row for row in query("acceptance", tmp_path)}
    assert list(rows) == DAYS
    for day in DAYS:
        records = [record for record in truth if record["date"].startswith(day.isoformat())]
        actions = [action for record in records for action in record["tool_actions"].values()]
        accepted = sum(action["accepted"] for action in actions)
        offered = accepted + sum(action["rejected"] for action in actions)
        people = {r["actor"]["email_address"] for r in records if r["actor"]["type"] == "user_actor"}
        assert rows[day]["people"] == len(people)
        assert rows[day]["sessions"] == sum(record["core_metrics"]["num_sessions"] for record in records)
        assert rows[day]["acceptance_rate"] == pytest.approx(accepted / offered)


def test_the_join_query_does_not_multiply(truth: list[dict], tmp_path: Path) -> None:
    (row,) = query("joins", tmp_path)
    assert row["sessions"] == sum(record["core_metrics"]["num_sessions"] for record in truth)
    assert row["accepted"] == sum(a["accepted"] for record in truth for a in record["tool_actions"].values())
    cents = sum(model["estimated_cost"]["amount"] for record in truth for model in record["model_breakdown"])
    assert float(row["dollars"]) == pytest.approx(float(cents) / 100)


@pytest.mark.usefixtures("truth")
def test_the_query_for_inconsistent_days_finds_files_of_another_load_missing_and_unknown_ones(
    tmp_path: Path,
) -> None:
    assert query("inconsistent", tmp_path) == []
    usage, models, tools = (
        tmp_path / table / f"dt={DAYS[0]}" / f"{table}.parquet" for table in ("usage", "model_usage", "tool_usage")
    )
    usage.write_bytes((tmp_path / "usage" / f"dt={DAYS[1]}" / "usage.parquet").read_bytes())
    models.unlink()
    stray = tools.with_name("stray.parquet")
    stray.write_bytes(b"")
    assert {row["inconsistent"] for row in query("inconsistent", tmp_path)} == {str(usage), str(models), str(stray)}


@pytest.mark.usefixtures("truth")
def test_the_restated_query_finds_the_day_whose_content_changed(sandbox: Sandbox, tmp_path: Path) -> None:
    load(tmp_path, DAYS[0])
    assert query("restated", tmp_path) == [], "a day that is read again unchanged is not restated"
    changed = sandbox.organization.records(DAYS[0], datetime.now(UTC))
    changed[0]["core_metrics"]["num_sessions"] += 1
    sandbox.records = lambda day, now: changed
    load(tmp_path, DAYS[0])
    (row,) = query("restated", tmp_path)
    assert (row["dt"], row["table_name"], row["restatements"]) == (DAYS[0], "usage", 1)

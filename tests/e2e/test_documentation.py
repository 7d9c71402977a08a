"""The Dags and commands of the documentation in a real Airflow, from the first load to a report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures import documentation
from tests.fixtures.airflow import Airflow
from tests.fixtures.documentation import BLOCKS, Block
from tests.truth.analytics import last_day_due
from tests.truth.days import days, people

DAGS = {block.dag_id: block for block in BLOCKS if block.language == "python" and block.dag_id}
# A run without a day is about yesterday, which is not complete in the first hour of a day.
LAST_DAY = {"day": str(last_day_due(datetime.now(UTC)))}
SECRET = "sixteen characters or more"


@pytest.fixture(scope="module")
def files(airflow: Airflow) -> Path:
    """Give Airflow the Dags of the quickstart and the README; what they write goes into a folder of the tests."""
    files = airflow.home / "first"
    for dag_id, block in DAGS.items():
        if block.page in ("README.md", "docs/quickstart.md"):
            (airflow.home / "dags" / f"{dag_id}.py").write_text(block.text.replace("/tmp/", f"{files}/"))
    return files


def run(airflow: Airflow, dag_id: str, task_id: str) -> None:
    run_id = airflow.start_dag(dag_id, conf=LAST_DAY)
    assert airflow.wait_for_end(dag_id, run_id) == "success", airflow.log(dag_id, run_id, task_id)


def expected(sandbox: Sandbox) -> list[tuple[Any, ...]]:
    """What the first queries say: days, actors and sessions of the last three weeks."""
    found = []
    for day in days(date.fromisoformat(LAST_DAY["day"]) - timedelta(days=20), 21):
        rows = people(sandbox, day)
        found.append((day, len({actor for actor, _, _ in rows}), sum(sessions for _, sessions, _ in rows.elements())))
    return found


def test_the_quickstart_leads_to_rows_in_files_and_to_a_report(airflow: Airflow, sandbox: Sandbox, files: Path) -> None:
    run(airflow, "claude_code_first_load", "load_day")
    run(airflow, "claude_code_to_files", "load_day")
    rows = duckdb.sql(documentation.query("first rows").replace("/tmp/", f"{files}/")).fetchall()
    assert rows == expected(sandbox)
    run(airflow, "claude_code_first_report", "make_report")
    assert (files / "claude_code.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.usefixtures("files")
def test_the_quickstart_leads_to_rows_in_bigquery(airflow: Airflow, sandbox: Sandbox, client: Client) -> None:
    run(airflow, "claude_code_first_load_into_bigquery", "load_day")
    run(airflow, "claude_code_to_bigquery_tables", "load_day")
    rows = {tuple(row.values()) for row in client.query_and_wait(documentation.query("first rows in BigQuery"))}
    # Other tests load the same table.
    assert rows >= set(expected(sandbox))


def commands() -> list[Any]:
    return [
        pytest.param(block, id=" ".join(text.split()[1:3]))
        # The same command may be on several pages.
        for text, block in {block.text: block for block in BLOCKS if block.language == "bash"}.items()
        # These run until they are interrupted; test_cli.py and the fixtures of BigQuery and Cloud Storage start them.
        # The report needs exports of other tools, which the tests of the command have.
        if not re.search(r"sandbox|tests\.fixtures\.servers|claude-code report", block.text)
    ]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("block", commands())
def test_the_commands_do_what_the_documentation_says(
    airflow: Airflow, sandbox: Sandbox, block: Block, tmp_path: Path
) -> None:
    (tmp_path / "teams.csv").write_text("email,team\nsomebody@example.com,a team\n")
    connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
    environment = airflow.environment | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CLAUDE_CODE_ADMIN_KEY": sandbox.api_key,
        "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT": json.dumps(connection | {"extra": {"pseudonym_secret": SECRET}}),
    }
    # What is there already, and ninety runs that would keep the other tests waiting.
    script = (
        block.text.replace("connections add claude_code_default", "connections add claude_code_documented")
        .replace("--dag-id claude_code_usage", "--dag-id claude_code_to_object_storage --dry-run")
        .replace("dags trigger claude_code_to_object_storage", "dags trigger claude_code_first_load")
        .replace('"day": "2025-11-30"', '"day": "2025-09-02"')
        .replace("export AIRFLOW_CONN", "export EXAMPLE_CONN")
    )
    script = re.sub(r"(airflow dags test \w+)$", rf"\1 --conf '{json.dumps(LAST_DAY)}'", script, flags=re.MULTILINE)
    for dag_id in re.findall(r"airflow dags test (\w+)", script):
        # The scheduler would take the tasks of this run, too, from an unpaused Dag.
        airflow.pause(dag_id)
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    airflow.http.delete("/api/v2/connections/claude_code_documented")
    assert done.returncode == 0, done.stdout + done.stderr
    if "test-connection" in script:
        assert done.stdout.startswith("The key belongs to the organisation Sandbox")
    if "pseudonymise" in script:
        assert "@" not in (tmp_path / "teams_by_id.csv").read_text()

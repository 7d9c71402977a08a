"""A task on a local directory imports no library that only other tasks use: each task imports anew."""

import json
import os
import subprocess
import sys
from pathlib import Path

from airflow_provider_claude_code.sandbox import API_KEY, Sandbox
from tests.fixtures.records import DAY

ROOT = Path(__file__).parents[2]

OF_OTHER_PLACES = (
    *("airflow_provider_claude_code.storage.gcs", "airflow_provider_claude_code.targets.bigquery"),
    # What makes assets of the installed providers.
    *("airflow.providers.amazon.aws", "airflow.providers.google.cloud", "boto3", "google.api_core"),
    *("google.cloud.bigquery", "google.cloud.storage"),
    # The file systems of object stores.
    *("fsspec.implementations.arrow", "gcsfs", "s3fs"),
    # What pyarrow and DuckDB import when they are not kept from it.
    "pandas",
)
UNUSED_BY_LOADS = (
    *OF_OTHER_PLACES,
    # What reports and checks need.
    *("airflow_provider_claude_code.analytics", "airflow_provider_claude_code.sandbox", "duckdb", "matplotlib"),
)

LOAD = """
import json, sys
from types import SimpleNamespace
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

folder, day = sys.argv[1:]
outlets = [Asset("usage"), AssetAlias("all_usage")]
operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=folder, day=day, outlets=outlets)
ti = SimpleNamespace(dag_id="d", run_id="r", task_id="load", map_index=-1, try_number=1)
events = OutletEventAccessors()
summary = operator.execute({"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": events})
print(json.dumps([summary["days"][0]["rows"]["usage"], sorted(sys.modules)]))
"""


REPORT = """
import json, sys
from types import SimpleNamespace
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator

folder, day = sys.argv[1:]
operator = ClaudeCodeReportOperator(
    task_id="report", path=folder, last_day=day, period_days=7, report_path=f"{folder}/report.html",
    roster=f"{folder}/roster.csv",
)
summary = operator.execute({"ti": SimpleNamespace(dag_id="d", task_id="report"), "outlet_events": {}})
print(json.dumps([summary["report"], sorted(sys.modules)]))
"""


def test_tasks_on_a_directory_import_nothing_that_they_do_not_use(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": API_KEY}
        environment = {**os.environ, "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT": json.dumps(connection)}
        (tmp_path / "usage").mkdir()
        (tmp_path / "usage" / "roster.csv").write_text("actor_id,valid_from,valid_to\ndev@example.com,,\n")
        for script, unused in ((LOAD, UNUSED_BY_LOADS), (REPORT, OF_OTHER_PLACES)):
            done = subprocess.run(
                [sys.executable, "-c", script, str(tmp_path / "usage"), str(DAY)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            found, modules = json.loads(done.stdout.splitlines()[-1])
            assert found
            assert [name for name in modules if any(f"{name}.".startswith(f"{prefix}.") for prefix in unused)] == []

"""
Load the charges and the members of the organisation into Parquet files next to the usage.

Needs the Connection ``claude_code_default`` with an admin key. Set ``CLAUDE_CODE_PATH`` to a local directory, or to a
bucket such as ``s3://my-bucket/claude_code``. For BigQuery or Cloud Storage, use ``ClaudeCodeToBigQueryOperator`` or
``ClaudeCodeToGCSOperator`` with the same ``stream``.

These Dags are separate from that of the usage, which need not wait for the charges: they are complete a day later.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    daily = "0 0 * * *"
else:
    daily = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (
    ClaudeCodeToObjectStorageOperator,
)

PATH = os.environ.get("CLAUDE_CODE_PATH", "file:///tmp/claude_code")
COMMON = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    # Two runs at the same time would load the same days, because of the look-back.
    "max_active_runs": 1,
    "default_args": {"retries": 3, "retry_delay": timedelta(minutes=10)},
    "doc_md": __doc__,
    "tags": ["claude-code"],
}

with DAG(dag_id="claude_code_cost", schedule=daily, **COMMON):
    # Charges are complete 24 to 48 hours after the end of their day.
    wait_until_complete = ClaudeCodeFreshnessSensor(
        task_id="wait_until_complete", stream="cost", deferrable=True, poke_interval=1800, timeout=timedelta(days=3)
    )
    load_day = ClaudeCodeToObjectStorageOperator(
        task_id="load_day", stream="cost", path=PATH, lookback_days=3, outlets=[Asset("claude_code_cost_files")]
    )
    wait_until_complete >> load_day

with DAG(dag_id="claude_code_cost_of_five_weeks", schedule="0 12 * * 0", **COMMON):
    # Charges may be revised for some weeks. 36 days of an organisation with 5,000 people are about 700 requests.
    wait_until_week_is_complete = ClaudeCodeFreshnessSensor(
        task_id="wait_until_complete", stream="cost", deferrable=True, poke_interval=1800, timeout=timedelta(days=3)
    )
    load_five_weeks = ClaudeCodeToObjectStorageOperator(
        task_id="load_five_weeks", stream="cost", path=PATH, lookback_days=35
    )
    wait_until_week_is_complete >> load_five_weeks

with DAG(dag_id="claude_code_members", schedule=daily, **COMMON):
    # The lists describe the current state, so there is nothing to wait for, and no earlier day to load.
    load_lists = ClaudeCodeToObjectStorageOperator(
        task_id="load_lists", stream="members", path=PATH, outlets=[Asset("claude_code_members_files")]
    )

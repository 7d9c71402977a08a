"""
Load yesterday's Claude Code usage into Parquet files, every day, once it is complete.

Needs the Connection ``claude_code_default``. ``CLAUDE_CODE_PATH`` says where the files go: a local directory,
or a bucket such as ``s3://my-bucket/claude_code``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    schedule = "0 0 * * *"
else:
    # One partition per day, made right after the day ends, so that a backfill knows the days as well.
    schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (
    ClaudeCodeToObjectStorageOperator,
)

PATH = os.environ.get("CLAUDE_CODE_PATH", "file:///tmp/claude_code")

with DAG(
    dag_id="claude_code_to_object_storage",
    schedule=schedule,
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    # The look-back of two runs at once would load the same days.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["claude-code"],
) as dag:
    wait_until_complete = ClaudeCodeFreshnessSensor(
        task_id="wait_until_complete",
        deferrable=True,
        timeout=timedelta(hours=6),
    )
    load_day = ClaudeCodeToObjectStorageOperator(
        task_id="load_day",
        path=PATH,
        # Usage that reached the API late is picked up by the loads of the next three days.
        lookback_days=3,
        outlets=[Asset("claude_code_usage_files")],
    )
    wait_until_complete >> load_day

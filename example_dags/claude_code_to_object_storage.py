"""
Every day, load the Claude Code usage of the day before into Parquet files, once it is complete.

To load another day, trigger the Dag and fill in the day.

Needs the Connection ``claude_code_default``. Set ``CLAUDE_CODE_PATH`` to a local directory, or to a bucket such as
``s3://my-bucket/claude_code``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, Param

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    schedule = "0 0 * * *"
else:
    # One partition per day, created right after the day ends. Backfills use the same partitions.
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
    # Two runs at the same time would load the same days, because of the look-back.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The UTC day to load. Leave it empty to load the day before the run.",
        ),
        "on_empty": Param(
            "write",
            enum=["write", "replace", "skip", "fail"],
            title="Empty day",
            description="What to do if the API has no records of the day. If the target has rows of that day, write "
            "fails, replace deletes them, and skip keeps them. fail always fails.",
        ),
    },
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
        on_empty="{{ params.on_empty }}",
        outlets=[Asset("claude_code_usage_files")],
    )
    wait_until_complete >> load_day

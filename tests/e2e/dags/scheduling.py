"""Dags for what a scheduler does: catching up, runs right at midnight, many sensors at once."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    schedule = "0 0 * * *"
else:
    schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

START = datetime(2025, 9, 1, tzinfo=UTC)
PATH = os.environ["CLAUDE_CODE_PATH"]

with DAG(
    "catches_up",
    schedule=schedule,
    start_date=START,
    # The last tick is that of the runs for the fourth.
    end_date=datetime(2025, 9, 5, tzinfo=UTC),
    catchup=True,
    max_active_runs=1,
):
    ClaudeCodeToObjectStorageOperator(task_id="load_day", path=f"{PATH}/catch_up")

with DAG("runs_at_midnight", schedule=schedule, start_date=START, catchup=False, max_active_runs=1):

    @task
    def freshness_delays():
        """Return a freshness delay that ends some seconds from now. The run is for yesterday."""
        since_midnight = datetime.now(UTC) - datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return [max(timedelta(hours=1), since_midnight) + timedelta(seconds=15)]

    ClaudeCodeFreshnessSensor.partial(task_id="wait_until_complete", deferrable=True).expand(
        freshness_delay=freshness_delays()
    ) >> ClaudeCodeToObjectStorageOperator(task_id="load_day", path=f"{PATH}/midnight", allow_incomplete=True)

with DAG("fifty_sensors", schedule=None, start_date=START, max_active_tasks=50):
    ClaudeCodeFreshnessSensor.partial(
        task_id="deferred", require_records=True, deferrable=True, poke_interval=1, timeout=timedelta(minutes=10)
    ).expand(day=[f"2025-09-{number % 25 + 1:02}" for number in range(25)])
    ClaudeCodeFreshnessSensor.partial(
        task_id="started_in_the_triggerer",
        require_records=True,
        start_from_trigger=True,
        poke_interval=1,
        timeout=timedelta(minutes=10),
    ).expand(day=[f"2025-10-{number % 25 + 1:02}" for number in range(25)])

with DAG(
    "is_backfilled_by_workers",
    schedule=schedule,
    start_date=START,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
):
    ClaudeCodeFreshnessSensor(task_id="wait_until_complete", deferrable=True) >> ClaudeCodeToObjectStorageOperator(
        task_id="load_day", path=f"{PATH}/workers", lookback_days=3
    )

"""
Load yesterday's Claude Code usage into BigQuery, every day, once it is complete; then use what is new.

Needs the Connections ``claude_code_default`` and ``google_cloud_default``, and a dataset; ``CLAUDE_CODE_DATASET`` says
which. A second Dag starts whenever the first has loaded a day.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, task

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    schedule = "0 0 * * *"
else:
    schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")

try:
    from airflow.sdk import PartitionedAssetTimetable
except ImportError:
    PartitionedAssetTimetable = None

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator

DATASET = os.environ.get("CLAUDE_CODE_DATASET", "claude_code")
USAGE = Asset("claude_code_usage_in_bigquery")

with DAG(
    dag_id="claude_code_to_bigquery",
    schedule=schedule,
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    # The look-back of two runs at once would load the same days.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["claude-code"],
):
    wait_until_complete = ClaudeCodeFreshnessSensor(
        task_id="wait_until_complete", deferrable=True, timeout=timedelta(hours=6)
    )
    load_day = ClaudeCodeToBigQueryOperator(
        task_id="load_day",
        dataset_id=DATASET,
        create_dataset=True,
        # Usage that reached the API late is picked up by the loads of the next three days.
        lookback_days=3,
        # A sibling of the API allows 60 requests a minute: no more than this in backfills.
        max_active_tis_per_dag=4,
        deferrable=True,
        outlets=[USAGE],
    )
    wait_until_complete >> load_day

with DAG(
    dag_id="claude_code_usage_is_new",
    # The events of a partitioned Dag bear its partition keys, which a plain list of assets would not see.
    schedule=PartitionedAssetTimetable(assets=USAGE) if PartitionedAssetTimetable else [USAGE],
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    doc_md="Runs after each load; the event's extra says which days were loaded, with their row counts.",
    tags=["claude-code"],
):

    @task
    def tell_what_is_new(triggering_asset_events=None):
        for events in (triggering_asset_events or {}).values():
            for event in events:
                for day in event.extra["days"]:
                    print(day["day"], day["rows"])

    tell_what_is_new()

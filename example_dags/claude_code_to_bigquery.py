"""
Every day, load the Claude Code usage of the day before into BigQuery, once it is complete.

To load another day, trigger the Dag and fill in the day: as the partition key where the form has one, since the second
Dag does not start without it.

Needs the Connections ``claude_code_default`` and ``google_cloud_default``. ``CLAUDE_CODE_DATASET`` names the dataset,
which is created if it is missing. A second Dag starts after each scheduled or backfilled load.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, Param, task

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
        on_empty="{{ params.on_empty }}",
        # Backfills ignore max_active_runs. At most four of their tasks send requests at the same time.
        max_active_tis_per_dag=4,
        deferrable=True,
        outlets=[USAGE],
    )
    wait_until_complete >> load_day

with DAG(
    dag_id="claude_code_usage_is_new",
    # A plain list of assets does not react to the events of a partitioned Dag.
    schedule=PartitionedAssetTimetable(assets=USAGE) if PartitionedAssetTimetable else [USAGE],
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    doc_md="Runs after each load. The extra of the asset event has the loaded days with their row counts.",
    tags=["claude-code"],
):

    @task
    def tell_what_is_new(triggering_asset_events=None):
        for events in (triggering_asset_events or {}).values():
            for event in events:
                for day in event.extra["days"]:
                    print(day["day"], day["rows"])

    tell_what_is_new()

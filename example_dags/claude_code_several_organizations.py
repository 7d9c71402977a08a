"""
Load the Claude Code usage of several organisations into Google Cloud Storage, each under its own prefix.

Needs the Connections ``claude_code_europe`` and ``claude_code_america`` with the keys of two organisations, the
Connection ``google_cloud_default``, and in ``CLAUDE_CODE_BUCKET`` the name of a bucket. For BigQuery, use
``ClaudeCodeToBigQueryOperator`` with a ``dataset_id`` or ``table_prefix`` for each organisation, and combine the tables
with a view.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator

BUCKET = os.environ.get("CLAUDE_CODE_BUCKET", "my-bucket")
ORGANIZATIONS = ["europe", "america"]

with DAG(
    dag_id="claude_code_several_organizations",
    schedule="0 0 * * *",
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["claude-code"],
):
    wait_until_complete = ClaudeCodeFreshnessSensor(
        task_id="wait_until_complete",
        # A day is complete at the same time for all organisations.
        claude_code_conn_id=f"claude_code_{ORGANIZATIONS[0]}",
        deferrable=True,
        timeout=timedelta(hours=6),
    )
    # One mapped task per organisation: if one key is refused, the others are loaded all the same.
    load_day = ClaudeCodeToGCSOperator.partial(task_id="load_day", bucket=BUCKET, lookback_days=3).expand_kwargs(
        [
            {"claude_code_conn_id": f"claude_code_{organization}", "prefix": f"claude_code/{organization}"}
            for organization in ORGANIZATIONS
        ]
    )
    wait_until_complete >> load_day

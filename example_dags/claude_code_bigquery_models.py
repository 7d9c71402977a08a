"""
Create the models as views next to the BigQuery tables, and as tables those that dashboards read often.

Trigger ``claude_code_bigquery_views`` once a day is loaded, and again after an upgrade of the provider.
``claude_code_bigquery_dashboard_tables`` computes its tables after each scheduled or backfilled load. Trigger it after
a load by hand without a partition key.

Needs the Connection ``google_cloud_default``, and in ``CLAUDE_CODE_DATASET`` the dataset that
``claude_code_to_bigquery`` loads. Optionally, ``CLAUDE_CODE_MAPPING`` names a table of groups, and
``CLAUDE_CODE_ROSTER`` a table of the people who may use Claude Code.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

try:
    from airflow.sdk import PartitionedAssetTimetable
except ImportError:  # Airflow before 3.2 has no partitioned runs.
    PartitionedAssetTimetable = None

from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator

USAGE = Asset("claude_code_usage_in_bigquery")

where_and_who = {
    "dataset_id": os.environ.get("CLAUDE_CODE_DATASET", "claude_code"),
    "mapping": os.environ.get("CLAUDE_CODE_MAPPING"),
    "roster": os.environ.get("CLAUDE_CODE_ROSTER"),
}
default_args = {"retries": 3, "retry_delay": timedelta(minutes=10)}

with DAG(
    dag_id="claude_code_bigquery_views",
    schedule=None,
    default_args=default_args,
    doc_md=__doc__,
    tags=["claude-code"],
):
    ClaudeCodeBigQueryModelsOperator(task_id="create_views", **where_and_who)

with DAG(
    dag_id="claude_code_bigquery_dashboard_tables",
    schedule=PartitionedAssetTimetable(assets=USAGE) if PartitionedAssetTimetable else [USAGE],
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    # An older run must not replace the tables of a newer one.
    max_active_runs=1,
    default_args=default_args,
    doc_md=__doc__,
    tags=["claude-code"],
):
    ClaudeCodeBigQueryModelsOperator(
        task_id="create_tables",
        **where_and_who,
        models=["adoption", "cost_allocation", "daily_activity"],
        materialized="table",
        # Beside the views, not in their place.
        model_prefix="claude_code_dashboard_",
        deferrable=True,
    )

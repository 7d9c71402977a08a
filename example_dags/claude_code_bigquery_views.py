"""
Create the models as views beside the BigQuery tables, once; trigger it again after an upgrade of the provider.

Needs the Connection ``google_cloud_default`` and the dataset that ``claude_code_to_bigquery`` loads;
``CLAUDE_CODE_DATASET`` says which. A table of groups, and one of who may use Claude Code, can be named in
``CLAUDE_CODE_MAPPING`` and ``CLAUDE_CODE_ROSTER``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_claude_code.operators.bigquery_views import ClaudeCodeBigQueryViewsOperator

DATASET = os.environ.get("CLAUDE_CODE_DATASET", "claude_code")

with DAG(
    dag_id="claude_code_bigquery_views",
    schedule="@once",
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["claude-code"],
):
    ClaudeCodeBigQueryViewsOperator(
        task_id="create_views",
        dataset_id=DATASET,
        mapping=os.environ.get("CLAUDE_CODE_MAPPING"),
        roster=os.environ.get("CLAUDE_CODE_ROSTER"),
    )

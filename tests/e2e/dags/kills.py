"""Dags whose tasks are killed."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from airflow.sdk import DAG

from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

PATH = os.environ["CLAUDE_CODE_PATH"]
HOME = Path(os.environ["AIRFLOW_HOME"])


class HangsWhilePublishing(ClaudeCodeToObjectStorageOperator):
    """Hangs in its first try, after the first file of the day is in its place."""

    def execute(self, context):
        if context["ti"].try_number > 1:
            return super().execute(context)
        replace = Path.replace

        def hang(source, target):
            replace(source, target)
            (HOME / "publishing").touch()
            time.sleep(3600)

        with patch.object(Path, "replace", hang):
            return super().execute(context)


settings = {
    "schedule": None,
    "start_date": datetime(2025, 9, 1, tzinfo=UTC),
    "default_args": {"retries": 2, "retry_delay": timedelta(seconds=1)},
}

with DAG("killed_while_fetching", **settings):
    ClaudeCodeToObjectStorageOperator(task_id="load_day", path=f"{PATH}/kills", day="{{ dag_run.conf['day'] }}")

for stream in ("cost", "members"):
    with DAG(f"killed_while_fetching_{stream}", **settings):
        ClaudeCodeToObjectStorageOperator(
            task_id="load_day", stream=stream, path=f"{PATH}/kills", day="{{ dag_run.conf['day'] }}"
        )

with DAG("killed_while_publishing_files", **settings):
    HangsWhilePublishing(task_id="load_day", path=f"{PATH}/kills", day="{{ dag_run.conf['day'] }}")

with DAG("timed_out_in_bigquery", schedule=None, start_date=settings["start_date"]):
    for name, deferrable in (("waiting", False), ("deferred", True)):
        ClaudeCodeToBigQueryOperator(
            task_id=name,
            dataset_id="{{ dag_run.conf['dataset'] }}",
            table_prefix=f"{name}_",
            day="{{ dag_run.conf['day'] }}",
            deferrable=deferrable,
            poll_interval=1,
            execution_timeout=timedelta(seconds=30),
        )

with DAG("killed_while_publishing_to_bigquery", **settings):
    ClaudeCodeToBigQueryOperator(
        task_id="load_day",
        dataset_id="kills",
        create_dataset=True,
        day="{{ dag_run.conf['day'] }}",
        deferrable=False,
        poll_interval=1,
    )

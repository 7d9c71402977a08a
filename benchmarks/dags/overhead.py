"""Loads of a day and tasks that do nothing, in turns."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

ROUNDS = int(os.environ["BENCHMARK_ROUNDS"])

with DAG("overhead", schedule=None, start_date=datetime(2025, 9, 1, tzinfo=UTC)):
    chain(
        *(
            task
            for number in range(ROUNDS)
            for task in (
                PythonOperator(task_id=f"nothing_{number}", python_callable=lambda: None),
                ClaudeCodeToObjectStorageOperator(
                    task_id=f"load_{number}", path=os.environ["CLAUDE_CODE_PATH"], day=os.environ["BENCHMARK_DAY"]
                ),
            )
        )
    )

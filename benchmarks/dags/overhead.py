"""Loads of a day and tasks that do nothing, in turns."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

ROUNDS = int(os.environ["BENCHMARK_ROUNDS"])
LINES = Path(os.environ["BENCHMARK_LINES"])


def note(task_id: str) -> None:
    """Write down what processor time this process has taken."""
    # One write of a short line is not mixed with those of other processes.
    with LINES.open("a") as lines:
        lines.write(json.dumps([task_id, time.process_time()]) + "\n")


class RecordedLoad(ClaudeCodeToObjectStorageOperator):
    """Notes what it took."""

    def execute(self, context):
        """Load and note."""
        summary = super().execute(context)
        note(self.task_id)
        return summary


with DAG("overhead", schedule=None, start_date=datetime(2025, 9, 1, tzinfo=UTC)):
    chain(
        *(
            task
            for number in range(ROUNDS)
            for task in (
                PythonOperator(task_id=f"nothing_{number}", python_callable=note, op_args=[f"nothing_{number}"]),
                RecordedLoad(
                    task_id=f"load_{number}", path=os.environ["CLAUDE_CODE_PATH"], day=os.environ["BENCHMARK_DAY"]
                ),
            )
        )
    )

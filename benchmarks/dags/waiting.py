"""The sensor in each of its modes; every process that runs it leaves a line behind."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, chain

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor

LINES = Path(os.environ["BENCHMARK_LINES"])
ROUNDS = int(os.environ["BENCHMARK_ROUNDS"])
DAY = os.environ["BENCHMARK_DAY"]
MAPPED_DAYS = int(os.environ["BENCHMARK_MAPPED_DAYS"])

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
    "start_from_trigger": {"start_from_trigger": True},
}


def seconds_since_start():
    """Return how long this process has run; not with psutil, which knows when the machine started to a second only."""
    _, _, fields = Path("/proc/self/stat").read_text().rpartition(") ")
    # Field 22 of proc(5), counted from the third.
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields.split()[19]) / os.sysconf("SC_CLK_TCK")


class RecordedSensor(ClaudeCodeFreshnessSensor):
    """Notes, at the end of each of its processes, how long that ran and what processor time it took."""

    def execute(self, context):
        """Run and note."""
        try:
            return super().execute(context)
        finally:
            self._note(context)

    def execute_complete(self, context, event=None):
        """Come back from the triggerer and note."""
        try:
            return super().execute_complete(context, event)
        finally:
            self._note(context)

    def _note(self, context):
        line = [context["ti"].dag_id, self.task_id, os.getpid(), seconds_since_start(), time.process_time()]
        # One write of a short line is not mixed with those of other processes.
        with LINES.open("a") as lines:
            lines.write(json.dumps(line) + "\n")


settings = {"schedule": None, "start_date": datetime(2025, 9, 1, tzinfo=UTC)}

with DAG("past_day", **settings, max_active_tasks=1):
    # One after the other, so that none waits for another's processor time.
    chain(
        *(
            RecordedSensor(task_id=f"{name}-{number}", day=DAY, **mode)
            for number in range(ROUNDS)
            for name, mode in MODES.items()
        )
    )

with DAG("day_to_come", **settings, max_active_tasks=100):
    for number in range(ROUNDS):
        for name, mode in MODES.items():
            RecordedSensor(task_id=f"{name}-{number}", day=DAY, require_records=True, poke_interval=10, **mode)

with DAG("mapped_days", **settings, max_active_tasks=4):
    RecordedSensor.partial(task_id="deferrable", deferrable=True).expand(day=[DAY] * MAPPED_DAYS)

"""Worker processes and worker time that waiting takes, in each mode of the sensor."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from airflow_provider_claude_code.sandbox import Sandbox
from benchmarks.measuring import REPEATS, Row, Section
from benchmarks.real_airflow import airflow, run_to_its_end
from benchmarks.usage import UsageOfADay

MODES = ("poke", "reschedule", "deferrable", "start_from_trigger")
SECONDS_TO_WAIT = 60
MAPPED_DAYS = 365


@dataclass(frozen=True)
class _Process:
    """
    A worker process that ran the sensor.

    :param dag_id: for which Dag.
    :param task_id: for which task.
    :param wall: seconds from its start to the end of the sensor's work.
    :param cpu: seconds of its processor time.
    """

    dag_id: str
    task_id: str
    wall: float
    cpu: float


def _read(lines: Path) -> list[_Process]:
    """Read what the Dags' sensors noted; a process that noted twice would be counted once, by its last."""
    last: dict[tuple[str, str, int], _Process] = {}
    for line in lines.read_text().splitlines():
        dag_id, task_id, pid, wall, cpu = json.loads(line)
        last[dag_id, task_id, pid] = _Process(dag_id, task_id, wall, cpu)
    return list(last.values())


def _rows_of_modes(processes: list[_Process], dag_id: str, name: str) -> list[Row]:
    by_task: dict[str, list[_Process]] = defaultdict(list)
    for process in processes:
        if process.dag_id == dag_id:
            by_task[process.task_id].append(process)
    rows = []
    for mode in MODES:
        tasks = [by_task[f"{mode}-{number}"] for number in range(REPEATS)]
        rows += [
            Row(f"{name}, {mode}: worker processes", [len(task) for task in tasks]),
            Row(f"{name}, {mode}: worker time", [sum(process.wall for process in task) for task in tasks], "s"),
            Row(f"{name}, {mode}: processor time", [sum(process.cpu for process in task) for task in tasks], "s"),
        ]
    return rows


def run() -> Section:
    """Let sensors wait for a day that comes late, pass a day that is past, and pass a year of them."""
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        lines = Path(folder, "lines")
        with airflow(sandbox.base_url, BENCHMARK_LINES=str(lines), BENCHMARK_MAPPED_DAYS=str(MAPPED_DAYS)) as running:
            run_to_its_end(running, "past_day")
            sandbox.records = lambda day, now: []
            run_id = running.start_dag("day_to_come")
            time.sleep(SECONDS_TO_WAIT)
            sandbox.records = lambda day, now: UsageOfADay(day, 1)
            assert running.wait_for_end("day_to_come", run_id) == "success"
            run_id = run_to_its_end(running, "mapped_days")
            mapped_run = running.get(f"dags/mapped_days/dagRuns/{run_id}")
        processes = _read(lines)
    begun, ended = (datetime.fromisoformat(mapped_run[name]).astimezone(UTC) for name in ("start_date", "end_date"))
    mapped = [process for process in processes if process.dag_id == "mapped_days"]
    assert len(mapped) == MAPPED_DAYS
    name = f"{MAPPED_DAYS} mapped past days"
    return Section(
        "6. Waiting",
        "In a real Airflow with LocalExecutor: `ClaudeCodeFreshnessSensor` for a past day; for a day whose first "
        f"record comes {SECONDS_TO_WAIT} seconds later (`require_records`, looking every 10 seconds; {REPEATS} of each "
        f"mode at the same time); and for {MAPPED_DAYS} past days, mapped, deferrable. Worker time is that of the "
        "task's process, from its start to the end of the sensor's work.",
        [
            *_rows_of_modes(processes, "past_day", "past day"),
            *_rows_of_modes(processes, "day_to_come", "day to come"),
            Row(f"{name}: worker processes", [len(mapped)]),
            Row(f"{name}: worker time of each", [process.wall for process in mapped], "s"),
            Row(f"{name}: processor time of each", [process.cpu for process in mapped], "s"),
            Row(f"{name}: the run, four at a time", [(ended - begun).total_seconds()], "s"),
        ],
    )

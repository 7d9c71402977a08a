"""What a load takes as a task of a real Airflow, beside a task that does nothing."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path

from benchmarks.loading import totals_of_files
from benchmarks.measuring import REPEATS, Row, Section, ratios
from benchmarks.real_airflow import airflow, run_to_its_end
from benchmarks.servers import api_server
from benchmarks.usage import expected_totals

RECORDS = 1_000


def run() -> Section:
    """Run a Dag in which both take turns."""
    with (
        tempfile.NamedTemporaryFile() as lines,
        api_server(RECORDS) as api,
        airflow(api.url, BENCHMARK_ROUNDS=str(REPEATS + 1), BENCHMARK_LINES=lines.name) as running,
    ):
        run_id = run_to_its_end(running, "overhead")
        processor = dict(map(json.loads, Path(lines.name).read_text().splitlines()))
        instances = running.task_instances("overhead", run_id)
        assert totals_of_files(Path(running.files)) == expected_totals(RECORDS)
    seconds = {
        kind: [
            (
                datetime.fromisoformat(instances[f"{kind}_{number}"]["end_date"])
                - datetime.fromisoformat(instances[f"{kind}_{number}"]["start_date"])
            ).total_seconds()
            # The first round does not count.
            for number in range(1, REPEATS + 1)
        ]
        for kind in ("nothing", "load")
    }
    nothing, loading = seconds["nothing"], seconds["load"]
    cpu = {kind: [processor[f"{kind}_{number}"] for number in range(1, REPEATS + 1)] for kind in seconds}
    return Section(
        "8. Task overhead",
        "In a real Airflow with LocalExecutor, from start to end of the task instance: an empty PythonOperator, and a "
        f"load of a day of {RECORDS:,} records into Parquet files, which imports its libraries anew in every task.",
        [
            Row("empty PythonOperator", nothing, "s"),
            Row("load of the day", loading, "s"),
            Row("load - empty", [a - b for a, b in zip(loading, nothing, strict=True)], "s", at_most=1.0),
            Row("load / empty", ratios(loading, nothing), "times"),
            Row("processor time: empty PythonOperator", cpu["nothing"], "s"),
            Row("processor time: load of the day", cpu["load"], "s"),
            Row(
                "processor time: load - empty",
                [a - b for a, b in zip(cpu["load"], cpu["nothing"], strict=True)],
                "s",
            ),
        ],
    )

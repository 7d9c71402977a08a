"""
The time and the memory that a report takes: ``python -m benchmarks report``.

``python -m benchmarks.report PATH DAYS [ROSTER MAPPING]`` makes one on the last days of the files there, and prints
what it took.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

from airflow_provider_claude_code.sandbox import Sandbox
from benchmarks.loading import connections, load, peak_memory, use
from benchmarks.measuring import Row, Section, run_python

USERS = 5_000
# When everybody in the made-up organisation uses Claude Code, since the spring.
LAST_DAY = date(2026, 10, 31)
DAYS = 365
PERIODS = (28, DAYS)
ELIGIBLE = 6_000
TEAMS = 40
REPEATS = 3
MEGABYTE = 1_000_000


def main() -> None:
    """Make one report as a task would, and print as JSON what it took."""
    from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator

    path, days = sys.argv[1], int(sys.argv[2])
    roster, mapping = sys.argv[3:] or (None, None)
    operator = ClaudeCodeReportOperator(
        task_id="report",
        path=path,
        last_day=str(LAST_DAY),
        period_days=days,
        report_path=f"{path}/report.html",
        roster=roster,
        mapping=mapping,
    )
    begun = time.perf_counter()
    operator.execute({"ti": SimpleNamespace(dag_id="benchmark", task_id="report"), "outlet_events": {}})
    wall = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    size = Path(path, "report.html").stat().st_size
    print(
        json.dumps({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak_memory(), "size": size}),
    )


def write_users_tables(folder: Path) -> tuple[str, str]:
    """Write a roster with everybody and some who are never active, and a mapping in which a tenth change their team."""
    import pyarrow.dataset as ds

    files = [str(file) for file in folder.glob("usage/dt=*/usage.parquet")]
    rows = ds.dataset(files).to_table(["actor_id"], filter=ds.field("actor_type") == "user_actor")
    people = sorted(rows["actor_id"].unique().to_pylist())
    idle = [f"idle-{number}@example.com" for number in range(ELIGIBLE - len(people))]
    middle = str(LAST_DAY.replace(month=5))
    roster = [("actor_id", "valid_from", "valid_to"), *((person, "", "") for person in people + idle)]
    mapping = [("actor_type", "actor_id", "team", "cost_centre", "valid_from", "valid_to")]
    for number, person in enumerate(people):
        teams = [f"team {number % TEAMS}", f"team {number // 10 % TEAMS}"]
        days = [("", middle), (str(LAST_DAY.replace(month=6, day=1)), "")] if number % 10 == 0 else [("", "")]
        mapping += [("user_actor", person, team, "", *span) for team, span in zip(teams, days, strict=False)]
    for name, table in (("roster", roster), ("mapping", mapping)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
    return str(folder / "roster.csv"), str(folder / "mapping.csv")


def run() -> Section:
    """Load a year once, and make reports on four weeks of it and on all of it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        with Sandbox(users=USERS) as sandbox:
            use(connections(sandbox.base_url))
            load("files", folder, LAST_DAY, lookback_days=DAYS - 1)
        given = write_users_tables(Path(folder))
        for days, tables in ((days, tables) for days in PERIODS for tables in ((), given)):
            command = ("-m", "benchmarks.report", folder, str(days), *tables)
            taken = [json.loads(run_python(*command)) for _ in range(REPEATS)]
            name = f"report on {days} days{' with roster and mapping' if tables else ''}"
            rows += [
                Row(f"{name}: wall time of the task's work", [took["wall"] for took in taken], "s"),
                Row(f"{name}: processor time of the process", [took["cpu"] for took in taken], "s"),
                Row(f"{name}: peak memory of the process", [took["peak"] / MEGABYTE for took in taken], "MB"),
                Row(f"{name}: size", [took["size"] / 1000 for took in taken], "kB"),
            ]
        usage = sum(file.stat().st_size for file in Path(folder).glob("*/dt=*/*.parquet"))
    return Section(
        "9. A report on a year of 5,000 people",
        f"{DAYS} days of an organisation of {USERS:,} people in local Parquet files, {usage / MEGABYTE:.0f} MB in all. "
        "ClaudeCodeReportOperator reads all days of usage, since it has to know who is new, and of other tables those "
        f"that it compares, in a fresh process on {os.cpu_count()} cores. Counted is the most that the process held at "
        "any moment, with Python and Airflow.",
        rows,
    )


if __name__ == "__main__":
    main()

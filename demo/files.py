"""
Loads days into files and reads them back: ``python -m demo.files DAG_FILE DIRECTORY``, as ``make demo`` does.

Runs two example Dags through Airflow, in this process: ``claude_code_to_object_storage`` for the last complete days
against a sandbox API, and ``claude_code_report``, in the file beside it. Needs the extra ``[report]``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path

from demo.runs import last_complete_days, load_dag, load_days, prepared_airflow, run_day

DAG_ID = "claude_code_to_object_storage"
REPORT_DAG_ID = "claude_code_report"


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.files")
    parser.add_argument("dag_file", type=Path, help="the example Dag")
    parser.add_argument("directory", type=Path, help="where Airflow's home, its log and the files go")
    parser.add_argument("--days", type=int, default=14, help="how many days to load (default: 14)")
    arguments = parser.parse_args()
    home = arguments.directory.resolve()
    files = home / "files"
    report = home / "report.html"
    days = last_complete_days(arguments.days)
    environment = {"CLAUDE_CODE_PATH": f"file://{files}", "CLAUDE_CODE_REPORT_PATH": str(report)}
    with prepared_airflow(arguments.dag_file, home, environment) as log:
        if not load_days(DAG_ID, arguments.dag_file, days, log):
            return 1
        print(f"Running the Dag {REPORT_DAG_ID}, which checks the last week and writes a report on it", flush=True)
        with redirect_stdout(log), redirect_stderr(log):
            made = run_day(load_dag(REPORT_DAG_ID, arguments.dag_file.with_name(f"{REPORT_DAG_ID}.py")), days[-1])
        if made.state != "success":
            print(f"  FAILED; see {log.name}")
            return 1
    print(f"\nFiles: {files}")
    for table in ("usage", "model_usage", "tool_usage"):
        found = len(list((files / table).glob("dt=*/*.parquet")))
        print(f"  {table}/dt=*/{table}.parquet: {found} days ({len(days)}, and the {found - len(days)} before)")
    print("  loads/dt=*/: one record per load; the newest describes the current files")
    print("\nRead back from them (cost and value are estimates in US dollars):\n")
    print(_read_back(files, days))
    print(f"\nOpen the report on the last week in a browser: {report}")
    return 0


def _read_back(files: Path, days: list[date]) -> str:
    import pyarrow.dataset as ds

    usage = ds.dataset(files / "usage", format="parquet", partitioning="hive").to_table().to_pandas()
    usage = usage[usage["date"].isin(days)]
    activity = [
        "num_sessions",
        "lines_of_code_added",
        "lines_of_code_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
        "tool_actions_accepted",
        "tool_actions_rejected",
    ]
    people = usage[(usage["actor_type"] == "user_actor") & (usage[activity] > 0).any(axis=1)]
    by_day = usage.groupby("date")
    sums = by_day[activity].sum()
    offered = sums["tool_actions_accepted"] + sums["tool_actions_rejected"]
    table = sums[["num_sessions", "lines_of_code_added", "lines_of_code_removed"]].set_axis(
        ["sessions", "lines added", "lines removed"], axis=1
    )
    table.insert(0, "active people", people.groupby("date")["actor_id"].nunique())
    table["accepted"] = (sums["tool_actions_accepted"] / offered).map("{:.0%}".format)
    # What is billed by use and what subscriptions are worth do not add up.
    for name, customer_type in (("API cost", "api"), ("subscription value", "subscription")):
        of_type = usage[usage["customer_type"] == customer_type]
        table[name] = (of_type.groupby("date")["estimated_cost_cents"].sum() / 100).map("{:.2f}".format)
    table.insert(0, "day", table.index.map(lambda day: f"{day} {day:%a}"))
    return str(table.to_string(index=False, col_space={name: len(name) + 1 for name in table.columns}))


if __name__ == "__main__":
    logging.captureWarnings(True)
    sys.exit(main())

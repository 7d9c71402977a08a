"""
Loads through the real operators, outside Airflow, and what is then in their targets.

``python -m benchmarks.loading TARGET PLACE FORMAT DAY [FIRST_DAY]`` loads days and prints what they took.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_claude_code.sandbox import API_KEY
from benchmarks.measuring import run_python
from benchmarks.servers import BUCKET, GOOGLE_PROJECT
from benchmarks.usage import DAY, Totals

TOTALS_SQL = """
SELECT (SELECT count(*) FROM {usage}), (SELECT count(*) FROM {model_usage}), (SELECT count(*) FROM {tool_usage}),
  (SELECT sum(num_sessions) FROM {usage}), (SELECT sum(output_tokens) FROM {model_usage}),
  (SELECT sum(accepted) FROM {tool_usage}), (SELECT sum(estimated_cost_cents) FROM {model_usage})"""
TABLES = ("usage", "model_usage", "tool_usage")


def connections(api_url: str, **more: str) -> dict[str, str]:
    """Return environment variables that lead Airflow's hooks to the local servers."""
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": GOOGLE_PROJECT}}
    # What is measured is what the machine can do.
    extra = {"requests_per_minute": 100_000}
    claude_code = {"conn_type": "claude_code", "host": api_url, "password": API_KEY, "extra": extra}
    return {
        "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT": json.dumps(claude_code),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(google),
        # gcsfs would ask a service that is not here.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **more,
    }


def load(
    target: str,
    place: str,
    day: date,
    *,
    file_format: Any = "parquet",
    lookback_days: int = 0,
    first_day: date | None = None,
) -> dict[str, Any]:
    """
    Load days as a task would.

    :param target: ``files``, ``gcs`` or ``bigquery``.
    :param place: a directory, a prefix of the bucket, or a dataset that is created when it is missing.
    :param day: the last day.
    :param file_format: of the files.
    :param lookback_days: days before it.
    :param first_day: the first day instead.
    """
    # Imported by those who load only, and after the environment says where the servers are.
    from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
    from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
    from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

    shared: dict[str, Any] = {
        "task_id": "load_day",
        "day": str(day),
        "lookback_days": lookback_days,
        "first_day": first_day and str(first_day),
    }
    operator: Any
    match target:
        case "files":
            operator = ClaudeCodeToObjectStorageOperator(path=place, file_format=file_format, **shared)
        case "gcs":
            operator = ClaudeCodeToGCSOperator(bucket=BUCKET, prefix=place, file_format=file_format, **shared)
        case "bigquery":
            operator = ClaudeCodeToBigQueryOperator(dataset_id=place, create_dataset=True, **shared)
        case _:
            raise ValueError(target)
    ti = SimpleNamespace(
        dag_id="benchmark", run_id=uuid.uuid4().hex, task_id=operator.task_id, map_index=-1, try_number=1
    )
    summary: dict[str, Any] = operator.execute(
        {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
    )
    return summary


def totals_of_files(directory: Path, file_format: str = "parquet") -> Totals:
    """Add up the files of all days of a directory."""
    import duckdb

    extension = {"parquet": "parquet", "ndjson": "ndjson.gz", "csv": "csv.gz"}[file_format]
    # DuckDB would guess a floating-point type for amounts in text files.
    reader = {
        "parquet": "read_parquet('{}')",
        "ndjson": "read_json('{}', format = 'newline_delimited', columns = {})",
        "csv": "read_csv('{}', types = {})",
    }[file_format]
    sources = {}
    for table in TABLES:
        pattern = f"{directory}/{table}/dt=*/{table}.{extension}"
        sources[table] = reader.format(pattern, _duckdb_types(table))
    row = duckdb.connect().execute(TOTALS_SQL.format(**sources)).fetchone()
    assert row is not None
    *counts, cents = row
    return Totals(*map(int, counts), Decimal(cents))


def _duckdb_types(table: str) -> str:
    types = {
        "usage": {"num_sessions": "BIGINT"},
        "model_usage": {"output_tokens": "BIGINT", "estimated_cost_cents": "DECIMAL(38, 9)"},
        "tool_usage": {"accepted": "BIGINT"},
    }[table]
    return json.dumps(types).replace('"', "'")


def totals_of_bucket(url: str, prefix: str) -> Totals:
    """Add up the Parquet files of all days below a prefix."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    client = Client(project=GOOGLE_PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    with tempfile.TemporaryDirectory() as folder:
        for blob in client.list_blobs(BUCKET, prefix=f"{prefix}/"):
            path = Path(folder, blob.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(path)
        return totals_of_files(Path(folder, prefix))


def totals_of_bigquery(url: str, dataset: str) -> Totals:
    """Add up the tables of a dataset."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    client = Client(project=GOOGLE_PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    tables = {table: f"{dataset}.claude_code_{table}" for table in TABLES}
    (row,) = client.query_and_wait(TOTALS_SQL.format(**tables))
    *counts, cents = row.values()
    return Totals(*map(int, counts), cents)


def peak_memory() -> int:
    """Return the bytes that this process held at its peak; getrusage would count its parent's at the fork."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def main() -> None:
    """Load days and print, as JSON, what they took and the rows of the last."""
    target, place, file_format, day, *first = sys.argv[1:]
    begun = time.perf_counter()
    first_day = date.fromisoformat(first[0]) if first else None
    summary = load(target, place, date.fromisoformat(day), file_format=file_format, first_day=first_day)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    took = {"peak": peak_memory(), "wall": time.perf_counter() - begun, "cpu": usage.ru_utime + usage.ru_stime}
    print(json.dumps({**took, "rows": summary["days"][-1]["rows"]}))


def load_in_a_process(target: str, place: str, file_format: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Load the day of the benchmarks in a fresh process and return what that took: peak, wall, cpu, rows."""
    output = run_python("-m", "benchmarks.loading", target, place, file_format, str(DAY), environment=environment)
    took: dict[str, Any] = json.loads(output.splitlines()[-1])
    return took


def use(environment: Mapping[str, str]) -> None:
    """Let loads of this process and its children use these connections, and no Airflow of somebody else."""
    os.environ.update(environment)


if __name__ == "__main__":
    main()

"""What our imports add to the parsing of a Dag file."""

from __future__ import annotations

import json

from benchmarks.measuring import Cost, Row, Section, interleaved, ratios, run_python

OURS = (
    "airflow_provider_claude_code.hooks.claude_code",
    "airflow_provider_claude_code.sensors.freshness",
    "airflow_provider_claude_code.transfers.claude_code_to_bigquery",
    "airflow_provider_claude_code.transfers.claude_code_to_gcs",
    "airflow_provider_claude_code.transfers.claude_code_to_object_storage",
)
GOOGLES = (
    "airflow.providers.google.cloud.operators.bigquery",
    "airflow.providers.google.cloud.transfers.http_to_gcs",
)
# All is timed in one interpreter: the difference between two would be mostly noise.
_SCRIPT = """
import importlib, json, sys, time
moments = [(time.perf_counter(), time.process_time())]
import airflow.sdk
moments.append((time.perf_counter(), time.process_time()))
for name in sys.argv[1:]:
    importlib.import_module(name)
moments.append((time.perf_counter(), time.process_time()))
print(json.dumps(moments))
"""


def _import(modules: tuple[str, ...]) -> tuple[Cost, Cost]:
    """Return what ``import airflow.sdk`` took, and the modules after it."""
    output = run_python("-c", _SCRIPT, *modules)
    begun, between, ended = json.loads(output.splitlines()[-1])
    return (
        Cost(between[0] - begun[0], between[1] - begun[1]),
        Cost(ended[0] - between[0], ended[1] - between[1]),
    )


def run() -> Section:
    """Import in fresh interpreters."""
    measured = interleaved({"ours": lambda: _import(OURS), "Google's": lambda: _import(GOOGLES)})
    rows = []
    for kind, name in (("cpu", "processor time"), ("wall", "wall time")):
        alone = [getattr(cost, kind) for cost, _ in measured["ours"]]
        ours = [getattr(cost, kind) for _, cost in measured["ours"]]
        googles = [getattr(cost, kind) for _, cost in measured["Google's"]]
        rows += [
            Row(f"{name}: `import airflow.sdk` alone", alone, "s"),
            Row(f"{name}: ours add", ours, "s"),
            Row(f"{name}: Google's add", googles, "s"),
            Row(f"{name}: ours add, of `import airflow.sdk`", [100 * part for part in ratios(ours, alone)], "%", 5),
            Row(f"{name}: Google's add / ours add", ratios(googles, ours), "times", at_least=20),
        ]
    return Section(
        "1. Parsing a Dag file",
        "A fresh interpreter imports `airflow.sdk`, and then our hook, sensor and three operators, or the Google "
        "provider's `operators.bigquery` and `transfers.http_to_gcs`.",
        rows,
    )

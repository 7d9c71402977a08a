"""The servers that loads need, in processes of their own, so that their work is not counted as ours."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil

from airflow_provider_claude_code.sandbox import Faults, Sandbox
from benchmarks.measuring import PROJECT
from benchmarks.usage import UsageOfADay

BUCKET = "benchmark-bucket"
GOOGLE_PROJECT = "demo-proj"


@dataclass(frozen=True)
class Server:
    """
    A running server.

    :param url: where it answers.
    :param process: its process.
    """

    url: str
    process: psutil.Process

    def cpu(self) -> float:
        """Return the seconds of processor time that it took so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def _server(*command: str) -> Iterator[Server]:
    """Start a module that prints its address after an equals sign, and stop it in the end."""
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip().partition("=")[2], psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def api_server(records: int, latency: float = 0.0) -> AbstractContextManager[Server]:
    """Serve days of so many records, each page after some seconds."""
    return _server("benchmarks.servers", "--records", str(records), "--latency", str(latency))


def gcs_server() -> AbstractContextManager[Server]:
    """Serve an empty bucket."""
    return _server("tests.fixtures.servers.gcs", "--port", "0", "--bucket", BUCKET)


def bigquery_server() -> AbstractContextManager[Server]:
    """Serve an empty project."""
    return _server("tests.fixtures.servers.bigquery", "--port", "0", "--project", GOOGLE_PROJECT)


def main() -> None:
    """Serve the API until terminated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers")
    parser.add_argument("--records", type=int, required=True, help="records of every day")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer (%(default)s)")
    options = parser.parse_args()
    with Sandbox(
        faults=Faults(latency=options.latency), records=lambda day, _: UsageOfADay(day, options.records)
    ) as sandbox:
        print(f"CLAUDE_CODE_URL={sandbox.base_url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()

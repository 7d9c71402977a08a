"""An Airflow of real processes, as the end-to-end tests have it, with the Dags of the benchmarks only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loading import connections
from benchmarks.measuring import PROJECT, REPEATS
from benchmarks.usage import DAY
from tests.fixtures.airflow import Airflow
from tests.fixtures.programs import postgresql


@contextmanager
def airflow(api_url: str, **environment: str) -> Iterator[Airflow]:
    """
    Start it beside an API.

    :param api_url: the API.
    :param environment: more for the Dags.
    """
    settings = {
        **connections(api_url),
        "AIRFLOW__CORE__PARALLELISM": "32",
        "BENCHMARK_DAY": DAY.isoformat(),
        "BENCHMARK_LINES": "/dev/null",
        "BENCHMARK_MAPPED_DAYS": "1",
        "BENCHMARK_ROUNDS": str(REPEATS),
        **environment,
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "airflow")
        with (
            postgresql() as database,
            Airflow(home, database, settings, dag_folders=[PROJECT / "benchmarks/dags"]) as running,
        ):
            yield running


def run_to_its_end(running: Airflow, dag_id: str) -> str:
    """Run a Dag and return the id of its run, which has succeeded."""
    run_id = running.start_dag(dag_id)
    if running.wait_for_end(dag_id, run_id) != "success":
        failed = [task for task, state in running.states(dag_id, run_id).items() if state == "failed"]
        raise RuntimeError("\n".join(running.log(dag_id, run_id, task) for task in failed))
    return run_id

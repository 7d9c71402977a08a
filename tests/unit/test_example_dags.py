"""The example Dags parse, without a network and without what only extras install."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from airflow.sdk import Asset

from tests.fixtures.airflow_version import AIRFLOW

try:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.models.dagbag import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

EXAMPLES = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_parses_and_serialises_offline(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an example opened a connection while it was parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    # The provider's code, that is, and not its metadata, which Airflow itself reads.
    monkeypatch.setitem(sys.modules, "airflow.providers.google.cloud", None)
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    assert bag.dags
    for dag in bag.dags.values():
        assert dag.doc_md, "an example says what it is for"
        DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


@pytest.mark.parametrize("dag_id", ["claude_code_to_object_storage", "claude_code_to_bigquery"])
def test_the_runs_are_partitioned_where_airflow_can_and_nightly_where_not(dag_id: str) -> None:
    schedule = DagBag(str(EXAMPLES[0].parent / f"{dag_id}.py")).dags[dag_id].schedule
    if AIRFLOW < (3, 2):
        assert schedule == "0 0 * * *"
    else:
        assert type(schedule).__name__ == "CronPartitionTimetable"


@pytest.mark.parametrize(
    ("file", "dag_id"),
    [
        ("claude_code_to_bigquery", "claude_code_usage_is_new"),
        ("claude_code_bigquery_models", "claude_code_bigquery_dashboard_tables"),
    ],
)
def test_a_dag_that_runs_after_loads_sees_their_events(file: str, dag_id: str) -> None:
    """An event with a partition key does not trigger a plain list of assets."""
    schedule = DagBag(str(EXAMPLES[0].parent / f"{file}.py")).dags[dag_id].schedule
    if AIRFLOW < (3, 2):
        assert schedule == [Asset("claude_code_usage_in_bigquery")]
    else:
        assert type(schedule).__name__ == "PartitionedAssetTimetable"


def test_several_organizations_need_no_other_connection() -> None:
    dag = DagBag(str(EXAMPLES[0].parent / "claude_code_several_organizations.py")).dags[
        "claude_code_several_organizations"
    ]
    loads = dag.get_task("load_day").expand_input.value
    assert [load["claude_code_conn_id"] for load in loads] == ["claude_code_europe", "claude_code_america"]
    assert dag.get_task("wait_until_complete").claude_code_conn_id == "claude_code_europe"

"""The example Dags parse, without a network and without what only extras install."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

EXAMPLES = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_parses_and_serialises_offline(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an example opened a connection while it was parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    monkeypatch.setitem(sys.modules, "airflow.providers.google", None)
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    assert bag.dags
    for dag in bag.dags.values():
        assert dag.doc_md, "an example says what it is for"
        DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))

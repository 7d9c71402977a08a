"""Which Airflow the tests run on, and what has another place in some versions."""

from __future__ import annotations

import pytest
from airflow import __version__

AIRFLOW = tuple(map(int, __version__.split(".")[:2]))

if AIRFLOW >= (3, 2):
    from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
    from airflow.sdk.lineage import HookLineageCollector
else:
    from airflow.exceptions import AirflowSensorTimeout, TaskDeferred
    from airflow.lineage.hook import HookLineageCollector

if AIRFLOW >= (3, 1):
    from airflow.sdk import timezone
    from airflow.sdk.log import redact
else:
    from airflow.sdk.execution_time.secrets_masker import redact
    from airflow.utils import timezone

__all__ = [
    "AIRFLOW",
    "AirflowSensorTimeout",
    "HookLineageCollector",
    "TaskDeferred",
    "needs_airflow_3_3",
    "redact",
    "timezone",
]

needs_airflow_3_3 = pytest.mark.skipif(AIRFLOW < (3, 3), reason="no scheduler before Airflow 3.3 renders a trigger")

"""Which Airflow this is, where it makes a difference."""

from __future__ import annotations

from airflow import __version__ as airflow_version

AIRFLOW_V_3_3_PLUS = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 3)

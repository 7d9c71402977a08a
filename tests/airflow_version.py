"""Which Airflow the tests run on, for what not every version has."""

from __future__ import annotations

import pytest
from airflow import __version__

AIRFLOW = tuple(map(int, __version__.split(".")[:2]))

needs_airflow_3_3 = pytest.mark.skipif(AIRFLOW < (3, 3), reason="no scheduler before Airflow 3.3 renders a trigger")

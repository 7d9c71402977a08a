"""Arrow arrays that are put together by hand hold what pyarrow's own conversion puts into them."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.tables.arrays import ARROW_TYPES, arrow_array
from airflow_provider_claude_code.tables.contract import ColumnType

INT64 = st.integers(-(2**63), 2**63 - 1)
BILLIONTHS = st.integers(1 - 10**38, 10**38 - 1)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    "STRING": st.text(),
    "INT64": INT64,
    "BOOL": st.booleans(),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(timezones=st.just(UTC)),
    "NUMERIC": BILLIONTHS,
}
OF_ONE_TYPE = st.sampled_from(list(VALUES)).flatmap(
    lambda type_: st.tuples(st.just(type_), st.lists(st.none() | VALUES[type_], max_size=30))
)


@given(OF_ONE_TYPE)
def test_an_array_equals_that_of_pyarrow(column: tuple[ColumnType, list[Any]]) -> None:
    type_, values = column
    array = arrow_array(type_, values)
    array.validate(full=True)
    plain = values
    if type_ == "NUMERIC":
        plain = [None if value is None else Decimal(f"{value}E-9") for value in values]
    assert array.equals(pa.array(plain, ARROW_TYPES[type_]))
    assert array.null_count == values.count(None)


@pytest.mark.parametrize(
    ("type_", "value", "shown"),
    [
        ("STRING", "zo\xeb \N{SNOWMAN}", "zo\xeb \N{SNOWMAN}"),
        ("INT64", -5, -5),
        ("BOOL", True, True),
        ("DATE", date(1969, 12, 31), date(1969, 12, 31)),
        ("TIMESTAMP", datetime(2026, 3, 3, 1, 2, 3, 4, UTC), datetime(2026, 3, 3, 1, 2, 3, 4, UTC)),
        ("NUMERIC", -1_500_000_000, Decimal("-1.500000000")),
    ],
)
def test_each_type_beside_a_null(type_: ColumnType, value: Any, shown: Any) -> None:
    assert arrow_array(type_, [value, None, value]).to_pylist() == [shown, None, shown]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        arrow_array("INT64", [number])


def test_pandas_is_not_imported() -> None:
    code = f"""
import datetime, sys
from airflow_provider_claude_code.tables.arrays import arrow_array
samples = {{"STRING": "x", "INT64": 1, "BOOL": True, "NUMERIC": 1}}
samples |= {{"DATE": datetime.date.today(), "TIMESTAMP": datetime.datetime.now(datetime.UTC)}}
assert set(samples) == {set(ARROW_TYPES)}
for type_, value in samples.items():
    arrow_array(type_, [value, None])
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

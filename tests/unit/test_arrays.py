"""Arrow arrays that are put together by hand hold what pyarrow's own conversion puts into them."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.tables.arrays import ARROW_TYPES, arrow_array, repeated_text
from airflow_provider_claude_code.tables.columns import DictionaryEncoded, column_values, exact_sum
from airflow_provider_claude_code.tables.contract import Column, ColumnType
from airflow_provider_claude_code.tables.digests import sum_of_hashes

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
    encoded = arrow_array(type_, DictionaryEncoded.of(values))
    encoded.validate(full=True)
    assert encoded.equals(array)
    assert array.null_count == values.count(None)


@given(st.lists(st.none() | st.text(max_size=2), max_size=30), st.lists(st.none() | st.text(max_size=2), max_size=9))
def test_repeated_text_is_the_same_text_also_when_portions_are_put_together(
    values: list[str | None], more: list[str | None]
) -> None:
    portions = [DictionaryEncoded.of(values)[: len(values) // 2], DictionaryEncoded.of(more)]
    together = repeated_text(DictionaryEncoded.concatenated(portions))
    together.validate(full=True)
    expected = values[: len(values) // 2] + more
    assert together.to_pylist() == expected
    # Each text once, in the order of the rows, and none that no row has.
    assert together.dictionary.to_pylist() == [text for text in dict.fromkeys(expected) if text is not None]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.data())
def test_what_numpy_masks_is_null(values: list[int], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    array = arrow_array("INT64", np.ma.array(np.array(values, np.int64), mask=np.array(mask, bool)))
    array.validate(full=True)
    assert array.to_pylist() == [None if masked else value for value, masked in zip(values, mask, strict=True)]


@given(st.lists(st.integers(-(10**26), 10**26), max_size=20) | st.lists(INT64, max_size=20), st.data())
def test_money_in_an_array_is_the_same_whether_64_bits_hold_it_or_not(values: list[int], data: st.DataObject) -> None:
    column = Column("amount", "NUMERIC", "Money.")
    array = column_values(column, values)
    assert arrow_array("NUMERIC", array).equals(arrow_array("NUMERIC", values))
    mask = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    masked = np.ma.array(array, mask=np.array(mask, bool))
    assert arrow_array("NUMERIC", masked).equals(
        arrow_array("NUMERIC", [None if hidden else value for hidden, value in zip(mask, values, strict=True)])
    )
    # Where pages end decides what numpy holds it as, and must not decide the digest.
    objects = np.array(values, object)
    assert sum_of_hashes([(column, array)], [], None) == sum_of_hashes([(column, objects)], [], None)
    assert exact_sum(array) == exact_sum(objects) == sum(values)


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
from airflow_provider_claude_code.tables import arrays
from airflow_provider_claude_code.tables.arrays import arrow_array
from airflow_provider_claude_code.tables.columns import DictionaryEncoded
samples = {{"STRING": "x", "INT64": 1, "BOOL": True, "NUMERIC": 1}}
samples |= {{"DATE": datetime.date.today(), "TIMESTAMP": datetime.datetime.now(datetime.UTC)}}
assert set(samples) == {set(ARROW_TYPES)}
for type_, value in samples.items():
    arrow_array(type_, [value, None])
    arrow_array(type_, DictionaryEncoded.of([value, None]))
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

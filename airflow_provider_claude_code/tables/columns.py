"""The values of a column: numbers as numpy arrays, anything else dictionary-encoded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
from msgspec import UNSET

from airflow_provider_claude_code.tables.contract import Column
from airflow_provider_claude_code.tables.rows import Values

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, repr=False, eq=False)
class DictionaryEncoded:
    """
    Distinct values, and the index of one for each row. Its representation shows none, since they may name people.

    :param dictionary: the values; ``None`` is null.
    :param indices: where each row's value is in the dictionary.
    """

    dictionary: list[Any]
    indices: Array

    @classmethod
    def of(cls, values: Iterable[Any]) -> DictionaryEncoded:
        """Encode values. What the API left out (``UNSET``) is null."""
        positions: defaultdict[Any, int] = defaultdict()
        positions.default_factory = positions.__len__
        indices = np.fromiter(map(positions.__getitem__, values), np.int32)
        return cls([None if value is UNSET else value for value in positions], indices)

    @classmethod
    def concatenated(cls, portions: Sequence[DictionaryEncoded]) -> DictionaryEncoded:
        """Return the values of several portions as one."""
        starts = accumulate((len(portion.dictionary) for portion in portions), initial=0)
        indices = [portion.indices + np.int32(start) for portion, start in zip(portions, starts, strict=False)]
        return cls(list(chain.from_iterable(portion.dictionary for portion in portions)), np.concatenate(indices))

    def __len__(self) -> int:
        return len(self.indices)

    def tolist(self) -> list[Any]:
        """Return each row's value."""
        values: list[Any] = np.array(self.dictionary, object)[self.indices].tolist()
        return values

    def __getitem__(self, rows: Array | slice) -> DictionaryEncoded:
        """Return the values of rows by their positions."""
        return DictionaryEncoded(self.dictionary, self.indices[rows])

    def tidied(self) -> DictionaryEncoded:
        """
        Return the same with each value once in the dictionary, in the order of the rows.

        A file then contains only values of its rows, and the same bytes wherever the pages end.
        """
        distinct = DictionaryEncoded.of(self.dictionary)
        indices = distinct.indices[self.indices]
        rows = len(indices)
        first = np.full(len(distinct.dictionary), rows)
        # If several rows have a value, the last assignment wins, which is that of the first row.
        first[indices[::-1]] = np.arange(rows)[::-1]
        order = first.argsort(kind="stable")[: np.count_nonzero(first < rows)]
        positions = np.empty(len(first), np.int32)
        positions[order] = np.arange(len(order))
        return DictionaryEncoded([distinct.dictionary[position] for position in order.tolist()], positions[indices])


def column_values(column: Column, values: Any) -> Values:
    """
    Return a column's values as an array or dictionary-encoded, if they are not.

    :param column: the column.
    :param values: its values; money as whole billionths.
    :raises OverflowError: a number does not fit the column.
    """
    if isinstance(values, np.ndarray | DictionaryEncoded):
        return values
    if column.nullable or column.type not in ("INT64", "NUMERIC"):
        return DictionaryEncoded.of(values)
    if column.type == "INT64":
        return np.fromiter(values, np.int64)
    billionths = list(values)
    # As Python integers if a sum of them might not fit 64 bits.
    return np.array(billionths, np.int64 if sum(map(abs, billionths)) < 2**63 else object)


def concatenated(portions: Sequence[Values]) -> Values:
    """Return the values of several portions of a column as one."""
    if isinstance(portions[0], DictionaryEncoded):
        return DictionaryEncoded.concatenated(portions)
    are_masked = any(isinstance(values, np.ma.MaskedArray) for values in portions)
    concatenate: Any = np.ma.concatenate if are_masked else np.concatenate
    return concatenate(portions)


def exact_sum(numbers: Array) -> int:
    """Return the sum of integers, also if it does not fit 64 bits."""
    if numbers.dtype == object:
        return sum(numbers.tolist())
    return (int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum())

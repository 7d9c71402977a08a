"""Hashes of rows, computed for all rows of a page at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from airflow_provider_claude_code.tables.columns import Array, DictionaryEncoded, exact_sum
from airflow_provider_claude_code.tables.contract import Column
from airflow_provider_claude_code.tables.rows import Values, canonical_json


def sum_of_hashes(columns: Iterable[tuple[Column, Values]], key_hashes: Sequence[bytes], parents: Array | None) -> int:
    """
    Return the sum of the rows' hashes.

    A hash is two words of 64 bits. For each of them, the words of a row's values are multiplied by factors that follow
    from the names of their columns, and added up modulo 2^64. The sum is mixed, so that values which rows exchange
    change the sum of all hashes. Nulls add nothing.

    :param columns: the columns with their values.
    :param key_hashes: the hash of each record's key, of which the first 128 bits count as a value of its rows, if
        records have keys.
    :param parents: the position of each row's record; ``None`` when row and record are the same.
    """
    words = {column.name: _words(column, values) for column, values in columns}
    if key_hashes:
        keys = np.frombuffer(b"".join(key_hashes), "<i8").reshape(-1, 4).T[:2]
        words["key"] = keys if parents is None else keys.take(parents, axis=1)
    rows = np.concatenate(list(words.values())).view("<u8")
    factors = np.concatenate([_factors(name)[: len(of_column)] for name, of_column in words.items()])
    first, second = _mixed(factors.T @ rows)
    return exact_sum(first) + (exact_sum(second) << 64)


@cache
def _factors(name: str) -> Array:
    """Return two odd factors for the first word of a value, and two for the second."""
    factors: Array = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u8").reshape(2, 2) | 1
    return factors


def _mixed(words: Array) -> Array:
    """Let each bit depend on all others, as MurmurHash3 does at its end."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        words = (words ^ (words >> 33)) * factor
    mixed: Array = words ^ (words >> 33)
    return mixed


def _words(column: Column, values: Values) -> Array:
    """Encode each value in a column's number of words, one below the other. Only those of a null are zero."""
    if isinstance(values, DictionaryEncoded):
        return _pairs(values.dictionary).take(values.indices, axis=1)
    if values.dtype == object:
        return _pairs(values.tolist())
    numbers = np.asarray(values, "<i8")
    # No odd number is zero.
    odd = numbers * 2 + 1
    words = np.array([odd, numbers >> 63] if column.type == "NUMERIC" else [odd])
    if isinstance(values, np.ma.MaskedArray):
        words[:, np.ma.getmaskarray(values)] = 0
    return words


def _pairs(values: Iterable[Any]) -> Array:
    return np.frombuffer(b"".join(map(_sixteen_bytes, values)), "<i8").reshape(-1, 2).T


def _sixteen_bytes(value: Any) -> bytes:
    if value is None:
        return bytes(16)
    if type(value) is int:
        return (2 * value + 1).to_bytes(16, "little", signed=True)
    return hashlib.sha256(canonical_json(value)).digest()[:16]

"""Rows of a page, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_claude_code.tables.contract import Column, PseudonymOf, values_of

Pseudonym = Callable[[str, str | None], str | None]
Values = Any
"""
The values of a column. Integers are a numpy array, masked where they are null. So is money in billionths, as Python
integers if it does not fit 64 bits. Text of one length may be an array of its bytes in UTF-8. Everything else is
``DictionaryEncoded``.
"""

_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")
canonical_json = _encoder.encode
"""Encodes a value as JSON, so that equal values have equal bytes: UTF-8, no spaces, names of fields in order."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PageRows:
    """
    The rows of one page, by table and column. Its representation shows none, since they name people.

    :param own: by table, the columns that only it has.
    :param shared: the columns that tables have in common, with a value per record of the page.
    :param parents: by table, the position in ``shared`` of each row's record; without one, row and record are the same.
    :param key_hashes: the hash of each record's key, when records have keys.
    """

    own: Mapping[str, Mapping[str, Values]]
    shared: Mapping[str, Values] = field(default_factory=dict)
    parents: Mapping[str, Values] = field(default_factory=dict)
    key_hashes: Sequence[bytes] = ()

    def __post_init__(self) -> None:
        """Refuse shared columns without keys, which no digest would cover."""
        if any(len(values) != len(self.key_hashes) for values in self.shared.values()):
            raise ValueError("Columns that tables share need a key hash for each record.")

    def of(self, table: str) -> dict[str, Values]:
        """Return the values of all columns of a table."""
        parents = self.parents.get(table)
        shared = self.shared if parents is None else {name: values[parents] for name, values in self.shared.items()}
        return {**shared, **self.own[table]}


def columns_of(
    columns: Iterable[Column], objects: Sequence[Any], pseudonym: Pseudonym | None = None, **computed: Any
) -> dict[str, Values]:
    """
    Return the values of columns by name.

    :param columns: the columns. Those with neither ``get`` nor computed values are left out. What the API left out
        (``UNSET``) is null.
    :param objects: what the rows are made from.
    :param pseudonym: with ``actor_identity="hmac"``, what to store for an actor's type and identifier.
    :param computed: values by column that take a whole page, also as what this function returns; money as whole
        billionths of a cent.
    """
    # Loads numpy, so not when a Dag file is parsed.
    from airflow_provider_claude_code.tables.columns import column_values

    values: dict[str, Values] = {}
    for column in columns:
        if column.get is not None:
            found: Any = values_of(column.get, objects)
        elif column.name in computed:
            found = computed[column.name]
        else:
            continue
        if pseudonym is not None and column.hmac == "null":
            found = [None] * len(objects)
        elif pseudonym is not None and isinstance(column.hmac, PseudonymOf):
            found = map(pseudonym, map(column.hmac.kind, objects), found)
        values[column.name] = column_values(column, found)
    return values


def lines(columns: Iterable[Values]) -> list[bytes]:
    """Return each row as a canonical JSON array: UTF-8, no spaces, dates in ISO form, money in billionths."""
    return _encoder.encode_lines(list(zip(*(column.tolist() for column in columns), strict=True))).splitlines()

"""Rows of a page, column by column, and what the rows of a whole day add up to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from airflow_provider_claude_code.tables.contract import NOT_CONTENT, Column, PseudonymOf, Table

Pseudonym = Callable[[str, str | None], str | None]
Values = list[Any]
"""A column: text, integers, truth values, days; money as whole billionths of a cent; ``None`` where it is null."""

_encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines
_TRAILING_NULLS = re.compile(rb"(?:,null)+\]$")


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
    parents: Mapping[str, Sequence[int]] = field(default_factory=dict)
    key_hashes: Sequence[bytes] = ()

    def __post_init__(self) -> None:
        """Refuse shared columns without keys, which no digest would cover."""
        if any(len(values) != len(self.key_hashes) for values in self.shared.values()):
            raise ValueError("Columns that tables share need a key hash for each record.")


class DayTotals:
    """
    What only a whole day shows.

    :param tables: the stream's tables.
    :ivar row_counts: rows by table.
    :ivar repeated_keys: records whose key had come before.
    :ivar unknown_names: what the API reference does not list.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self._content_columns = {
            table.name: [column.name for column in table.columns if column.name not in NOT_CONTENT] for table in tables
        }
        self.row_counts = dict.fromkeys(self._content_columns, 0)
        self._digests = dict.fromkeys(self._content_columns, 0)
        self.repeated_keys = 0
        self.unknown_names: set[str] = set()

    def add(self, page: PageRows) -> None:
        """Add a page's rows."""
        for name, own in page.own.items():
            columns = [own[column] for column in self._content_columns[name] if column in own]
            parents = page.parents.get(name)
            keys = page.key_hashes if parents is None else [page.key_hashes[parent] for parent in parents]
            rows = [_TRAILING_NULLS.sub(b"]", row) if row.endswith(b",null]") else row for row in lines(columns)]
            hashed = [key + row for key, row in zip(keys, rows, strict=True)] if page.key_hashes else rows
            self.row_counts[name] += len(rows)
            self._digests[name] += sum(int.from_bytes(hashlib.sha256(row).digest()) for row in hashed)

    def content_digest(self, table: str) -> str:
        """
        Return a table's digest, 32 hex digits.

        It is the sum of its rows' hashes, so that their order is no matter. Nulls at the end of a row are left out, so
        that a column that is added at the end of the table changes no digest of older days.
        """
        return f"{self._digests[table] % 2**128:032x}"

    def sums(self) -> dict[str, int | Decimal | str | None]:
        """Return what only this stream adds up, for ``loads`` and for what a run tells."""
        return {}


def columns_of(
    columns: Iterable[Column], objects: Sequence[Any], pseudonym: Pseudonym | None = None, **computed: Values
) -> dict[str, Values]:
    """
    Return the values of columns by name.

    :param columns: the columns. Those with neither ``get`` nor computed values are left out.
    :param objects: what the rows are made from.
    :param pseudonym: with ``actor_identity="hmac"``, what to store for an actor's type and identifier.
    :param computed: values by column that take a whole page.
    """
    values = computed
    for column in columns:
        if column.get is not None:
            values[column.name] = list(map(column.get, objects))
        if pseudonym is None or column.name not in values:
            continue
        if column.hmac == "null":
            values[column.name] = [None] * len(objects)
        elif isinstance(column.hmac, PseudonymOf):
            values[column.name] = list(map(pseudonym, map(column.hmac.kind, objects), values[column.name]))
    return values


def lines(columns: Iterable[Values]) -> list[bytes]:
    """Return each row as a canonical JSON array: UTF-8, no spaces, dates in ISO form, money in billionths."""
    return _encode_lines(list(zip(*columns, strict=True))).splitlines()

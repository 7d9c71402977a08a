"""Totals of a whole day."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from airflow_provider_claude_code.tables.contract import NOT_CONTENT, Table
from airflow_provider_claude_code.tables.rows import PageRows

MAX_OF_A_DAY = 10**15
"""
Maximum sum of all counts and tokens of a day, and of all its absolute costs. Even the sum of 25 years of such days fits
an INT64, so no sum of a query can overflow.
"""


class DayTotals:
    """
    Totals over a whole day.

    :param tables: the stream's tables.
    :ivar row_counts: rows by table.
    :ivar repeated_keys: number of records with the key of an earlier record.
    :ivar unknown_names: names that the API reference does not list.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self._content_columns = {
            table.name: [column for column in table.columns if column.name not in NOT_CONTENT] for table in tables
        }
        self.row_counts = dict.fromkeys(self._content_columns, 0)
        self._digests = dict.fromkeys(self._content_columns, 0)
        self.repeated_keys = 0
        self.unknown_names: set[str] = set()

    def add(self, page: PageRows) -> None:
        """Add a page's rows."""
        # Loads numpy, so not when a Dag file is parsed.
        from airflow_provider_claude_code.tables.digests import sum_of_hashes

        for name, own in page.own.items():
            columns = [(column, own[column.name]) for column in self._content_columns[name] if column.name in own]
            self.row_counts[name] += len(columns[0][1])
            self._digests[name] += sum_of_hashes(columns, page.key_hashes, page.parents.get(name))

    def name_unlisted(self, path: str, values: Any, listed: set[Any]) -> None:
        """
        Remember a field with an unlisted value, without the value.

        :param path: the field, such as ``data[].role``.
        :param values: its values on a page, dictionary-encoded.
        :param listed: the values that the reference lists.
        """
        if not listed.issuperset(values.dictionary):
            self.unknown_names.add(path)

    def content_digest(self, table: str) -> str:
        """
        Return a table's digest, 32 hex digits.

        It is the sum of the hashes of its rows, so their order makes no difference. Nulls add nothing to a hash, so a
        column that is added to the table does not change the digests of older days.
        """
        return f"{self._digests[table] % 2**128:032x}"

    def warnings(self) -> list[str]:
        """Return warnings for the log."""
        return []

    def sums(self) -> dict[str, int | Decimal | str | None]:
        """Return the totals that only this stream has, for ``loads`` and the XCom."""
        return {}

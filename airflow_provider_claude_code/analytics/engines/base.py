"""What queries run on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from airflow_provider_claude_code.analytics.queries import Settings, reads_in_order, render
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS

if TYPE_CHECKING:
    import pyarrow as pa


def table_names() -> tuple[str, ...]:
    """Return the names of the tables that the queries may read."""
    return (*DATA_TABLES, LOADS.name)


class Source(ABC):
    """
    Loaded usage that can be queried. What many queries read is computed once, before the first of them.

    :param tables: by name, how the tables are written in SQL.
    :param settings: the settings of the queries.
    """

    computed_once: Container[str]
    """The parts that many queries read."""

    def __init__(self, tables: Mapping[str, str], settings: Settings) -> None:
        self._tables = tables
        # With the parts that are computed already.
        self._relations = dict(tables)
        self._settings = settings

    def read(self, name: str) -> pa.Table:
        """
        Run a query.

        :param name: the model, or a part.
        :return: its rows, in no order.
        :raises ClaudeCodeConfigurationError: the query refuses what it reads.
        """
        for part in reads_in_order([name], self._tables, self._settings):
            if part in self.computed_once and part not in self._relations:
                self._relations |= self._compute(part)
        if name in self._relations:
            return self._run(f"SELECT * FROM {self._relations[name]}")
        return self._run(render(name, self._relations, self._settings))

    @abstractmethod
    def _compute(self, part: str) -> Mapping[str, str]:
        """Compute a part, and others with it if that costs less; return how they are written in SQL."""

    @abstractmethod
    def _run(self, query: str) -> pa.Table:
        """Run a query in GoogleSQL."""

    @abstractmethod
    def organization_names(self) -> Mapping[str, str]:
        """Return the names of organisations by their ids, as far as loads have told them."""

    def has_table(self, name: str) -> bool:
        """Say whether there is a table, for example one that users may add."""
        return name in self._tables

"""Defines a stream: a report or a list of the API, with its tables."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_claude_code.days import FRESHNESS_DELAY, complete_from
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.tables.rows import canonical_json
from airflow_provider_claude_code.templates import is_template

if TYPE_CHECKING:
    from airflow_provider_claude_code.api.paging import Page, Walk
    from airflow_provider_claude_code.tables.contract import Table
    from airflow_provider_claude_code.tables.rows import PageRows, Pseudonym
    from airflow_provider_claude_code.tables.totals import DayTotals


Filters = Mapping[str, Sequence[str]]
"""Which records of a stream to load: the values to keep, by the name of the filter."""


def imported(name: str) -> Callable[..., Any]:
    """
    Return a function that is imported when it is called first.

    What reads and flattens pages takes longer to import than everything else that a Dag file needs of a stream.

    :param name: its name, as ``package.module:function``.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        return pkgutil.resolve_name(name)(*arguments, **options)

    return call


class CompleteFrom(Protocol):
    """When a day is complete."""

    def __call__(self, day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
        """Return the time from which a day is complete. A delay longer than the API's own makes it later."""


def complete_at_once(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the beginning of a day, since the current state is always complete; later if the delay is longer."""
    return datetime.combine(day, time(), UTC) + (freshness_delay - FRESHNESS_DELAY)


class Flattener(Protocol):
    """Turns the records of one day into rows, page by page."""

    @property
    def totals(self) -> DayTotals:
        """The totals of the rows so far."""

    def flatten(self, records: Sequence[Any]) -> PageRows:
        """
        Return the rows of the next page, and add them to the totals.

        :raises ClaudeCodeResponseError: the records do not fit the tables.
        """


@dataclass(frozen=True, kw_only=True)
class Stream:
    """
    A report or a list of the API.

    :param name: its name, as in ``stream=`` and in ``loads``.
    :param title: what it contains, for descriptions and messages.
    :param coverage: what it covers and what it does not, in sentences for users.
    :param path: its path in the API, for lineage.
    :param begin_walk: begins the walk through a day, given the day, the records per page, and the filters by name.
    :param tables: its tables; a day is empty when the first has no rows.
    :param flattener: creates the flattener of a day, given the day and what to store for an actor.
    :param sums_in_words: returns the sums of a day's summary as phrases for the log.
    :param complete_from: returns the time from which a day is complete; :func:`complete_at_once` for a snapshot, that
        is, a list of the current state.
    :param as_of: returns the time up to which a page is up to date, given the page and when it was sent; ``None`` if
        both are the same.
    :param first_day: returns the first day that the API has, given today; ``None`` if there is no limit.
    :param filters: the filters with the values that they keep by default; an empty one keeps everything.
    :param restarts: how often a day is read again from its first page if the API refuses a later one.
    """

    name: str
    title: str
    coverage: str
    path: str
    begin_walk: Callable[..., Walk]
    tables: tuple[Table, ...]
    flattener: Callable[[date, Pseudonym | None], Flattener]
    sums_in_words: Callable[[Mapping[str, Any]], Sequence[str]] = lambda summary: ()
    complete_from: CompleteFrom = complete_from
    as_of: Callable[[Page, datetime], datetime] | None = None
    first_day: Callable[[date], date] | None = None
    filters: Filters = field(default_factory=dict)
    restarts: int = 1

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a file's name."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"A stream cannot be called {self.name!r}: use lowercase letters, digits and underscores.")

    @property
    def is_snapshot(self) -> bool:
        """Whether the API describes the current state only, and no earlier days."""
        return self.complete_from is complete_at_once

    def chosen(self, filters: Filters | None) -> Filters:
        """
        Return what each filter keeps.

        :param filters: what to keep instead of the defaults.
        :raises ClaudeCodeConfigurationError: the stream has no such filter, or it does not hold a list of names.
        """
        if filters is not None and not isinstance(filters, Mapping):
            raise ClaudeCodeConfigurationError(
                f"filters is {filters!r}; a dict with a list of names for each filter was expected. "
                "It is not templated."
            )
        for name, values in (filters or {}).items():
            if name not in self.filters:
                known = f"it has {', '.join(self.filters)}" if self.filters else "it has none"
                raise ClaudeCodeConfigurationError(f"The stream {self.name} has no filter {name!r}: {known}.")
            # An iterator would be used up by the check, and a filter without names keeps everything.
            is_list = isinstance(values, Collection) and not isinstance(values, str) and not is_template(values)
            if not is_list or not all(isinstance(value, str) and value for value in values):
                raise ClaudeCodeConfigurationError(
                    f"The filter {name} is {values!r}; a list of names was expected. It is not templated."
                )
        return {name: sorted({*(filters or {}).get(name, default)}) for name, default in self.filters.items()}

    def walk(self, day: date, limit: int, filters: Filters | None = None) -> Walk:
        """
        Begin the walk through a day.

        :param day: the UTC day.
        :param limit: records per page, 1 to 1000.
        :param filters: what to keep instead of the defaults.
        :raises ClaudeCodeConfigurationError: the filters cannot be used.
        """
        return self.begin_walk(day, limit, **self.chosen(filters))

    def request_text(self, filters: Filters | None) -> str | None:
        """Return the filters as canonical JSON, for ``loads``; ``None`` when the stream has none."""
        return canonical_json(self.chosen(filters)).decode() if self.filters else None

    @property
    def table_names(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(table.name for table in self.tables)

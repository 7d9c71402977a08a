"""What a stream is: a report or a list of the API, with its tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_claude_code.days import FRESHNESS_DELAY, complete_from

if TYPE_CHECKING:
    from airflow_provider_claude_code.api.paging import Requests
    from airflow_provider_claude_code.tables.contract import Table
    from airflow_provider_claude_code.tables.rows import DayTotals, PageRows, Pseudonym


class CompleteFrom(Protocol):
    """When a day is complete."""

    def __call__(self, day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
        """Return the moment from which a day is complete; a longer delay than the API's own makes it later."""


def as_of_now(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the beginning of a day, later if the delay is longer than the API's: what is true now is complete."""
    return datetime.combine(day, time(), UTC) + (freshness_delay - FRESHNESS_DELAY)


class Flattener(Protocol):
    """Turns the records of one day into rows, page by page."""

    @property
    def totals(self) -> DayTotals:
        """What the rows so far add up to."""

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
    :param title: what it holds, for descriptions and messages.
    :param coverage: what it covers and what it does not, in sentences for people.
    :param path: the path of the API that it is read from, for lineage.
    :param requests: begins the walk through a day, given the day and the records per page.
    :param tables: its tables; a day is empty when the first has no rows.
    :param flattener: returns what flattens the records of a day, given the day and what to store for an actor.
    :param sums_in_words: returns the sums of a day's summary as phrases for the log.
    :param complete_from: returns the moment from which a day is complete; :func:`as_of_now` for a list that says how
        things are now, and nothing of earlier days.
    """

    name: str
    title: str
    coverage: str
    path: str
    requests: Callable[[date, int], Requests]
    tables: tuple[Table, ...]
    flattener: Callable[[date, Pseudonym | None], Flattener]
    sums_in_words: Callable[[Mapping[str, Any]], Sequence[str]] = lambda summary: ()
    complete_from: CompleteFrom = complete_from

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a file's name."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"A stream cannot be called {self.name!r}: use lowercase letters, digits and underscores.")

    @property
    def is_snapshot(self) -> bool:
        """Whether the API says how things are now, and nothing of earlier days."""
        return self.complete_from is as_of_now

    @property
    def table_names(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(table.name for table in self.tables)

"""Defines a target: a place where days are stored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodeError,
    SupersededError,
)
from airflow_provider_claude_code.quoting import quoted

if TYPE_CHECKING:
    from airflow_provider_claude_code.tables.loads import Load


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StartedLoad:
    """
    A load that a target has started to publish. Small and serializable as JSON, so that a deferred task can keep it.

    :param job_ids: by table, the job that must end before the load can be finished; empty if there is none.
    :param details: other data that the target needs to finish the load. Only the target reads it.
    """

    job_ids: dict[str, str]
    details: dict[str, Any]


class Target(Protocol):
    """
    A place where days are stored. Its tables belong to one organisation.

    Publishing has two steps, so that a task may leave the worker between them: :meth:`start` does everything up to the
    first wait, and :meth:`finish` the rest.
    """

    def last_loaded_at(self, day: date) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day, or ``None`` when there is none."""

    def start(self, load: Load, *, keep_rows: bool) -> StartedLoad:
        """
        Start to replace a day by a load. The spooled files are not needed afterwards.

        :param load: the load.
        :param keep_rows: refuse to replace rows of a table with none. Tables without rows are then not written.
        :raises ClaudeCodeConfigurationError: the target belongs to another organisation.
        :raises ClaudeCodeEmptyDayError: rows would be replaced by none, and ``keep_rows`` is set.
        :raises SupersededError: a newer load was found; loading afresh decides which is last.
        """

    def finish(self, started: StartedLoad) -> dict[str, Any]:
        """
        Wait until the day is replaced, and record the load in ``loads``.

        :param started: what :meth:`start` returned, in this process or an earlier one.
        :return: the location of each table, for the summary.
        :raises ClaudeCodePublishError: the day could not be replaced completely.
        :raises SupersededError: another load came in between; loading afresh decides which is last.
        """


@contextmanager
def named_if_partly_replaced(day: date, tables: Iterable[str]) -> Iterator[list[str]]:
    """
    Say in an error which tables are replaced, since they are replaced one by one.

    Before an exception that ends the task from outside, such as at its ``execution_timeout``, the log says so.

    :param day: the day that is loaded.
    :param tables: all tables that are to be replaced.
    :return: a list, to which the tables are added as they are replaced.
    """
    replaced: list[str] = []
    try:
        yield replaced
    except BaseException as error:
        # After a SupersededError, the same task loads the day again at once.
        if replaced and not isinstance(error, SupersededError):
            kept = ", ".join(table for table in tables if table not in replaced) or "none"
            state = (
                f"{day} is inconsistent until it is loaded again. New load: {', '.join(replaced)}; "
                f"previous state: {kept}."
            )
            if isinstance(error, ClaudeCodeError):
                error.args = (f"{error} {state}",)
            else:
                log.error("%s", state)
        raise


def another_organization_error(
    place: str, owner: str, organization_id: str, separate: str
) -> ClaudeCodeConfigurationError:
    """
    Return the error for a target that belongs to another organisation.

    :param place: the target.
    :param owner: the organisation that it belongs to.
    :param organization_id: the organisation of the key.
    :param separate: what each organisation needs for itself.
    """
    return ClaudeCodeConfigurationError(
        f"{place} contains the usage of organisation {quoted(owner)}, but the key belongs to "
        f"{quoted(organization_id)}. Loading a day would delete rows of that organisation. Use a separate {separate} "
        "for each organisation."
    )


def would_erase_error(day: date, row_counts: Mapping[str, object]) -> ClaudeCodeEmptyDayError:
    """
    Return the error for a day without records, of which the target has rows.

    :param day: the day.
    :param row_counts: how many rows each table has, by its name or URL.
    """
    counts = ", ".join(f"{table}: {rows}" for table, rows in row_counts.items())
    return ClaudeCodeEmptyDayError(
        f"The API has no records of {day}, but the tables have rows of that day ({counts}). They were kept. If the day "
        "is really empty, run the task once with on_empty='replace'."
    )

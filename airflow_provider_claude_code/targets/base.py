"""Defines a target: a place where days are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_claude_code.tables.loads import Load


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

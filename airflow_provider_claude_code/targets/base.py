"""What operators need of the places where days are kept."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_claude_code.tables.loads import Load


class Target(Protocol):
    """Where days are kept. A table set belongs to one organisation."""

    def last_loaded_at(self, day: date) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day, or ``None`` when there is none."""

    def publish(self, load: Load, *, keep_rows: bool) -> dict[str, Any]:
        """
        Replace a day by a load.

        :param load: the load.
        :param keep_rows: refuse to replace a day that holds rows.
        :return: where each table now is, for the summary.
        :raises ClaudeCodeConfigurationError: the target belongs to another organisation.
        :raises ClaudeCodeEmptyDayError: the day holds rows, and ``keep_rows`` is set.
        :raises SupersededError: a newer load was found; loading afresh settles which is last.
        """

"""The progress of a task."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from airflow_provider_claude_code.targets.base import StartedLoad


@dataclass(frozen=True)
class Progress:
    """
    The progress of a task, serializable as JSON so that a deferred task can keep it.

    :param days: the remaining days, the current one first.
    :param loaded: the summaries of the days before.
    :param attempt: number of attempts at the current day.
    :param started: the load of the current day, once it was started.
    :param summary: its summary, still without its places.
    """

    days: list[date]
    loaded: list[dict[str, Any]] = field(default_factory=list)
    attempt: int = 1
    started: StartedLoad | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    def done(self, summary: dict[str, Any]) -> Progress:
        """Continue with the next day. Each unknown name is kept in the summary of the first day that has it."""
        named = {name for earlier in self.loaded for name in earlier["first_unknown_names"]}
        new = [name for name in summary["first_unknown_names"] if name not in named]
        return Progress(self.days[1:], [*self.loaded, summary | {"first_unknown_names": new}])

    def again(self) -> Progress:
        """Begin the current day again."""
        return replace(self, attempt=self.attempt + 1, started=None, summary={})

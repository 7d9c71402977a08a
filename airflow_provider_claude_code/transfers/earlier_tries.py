"""The days that earlier tries of a task loaded, so that a retry continues after them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.tables.loads import loaded_at_of
from airflow_provider_claude_code.transfers.messages import days_in_words
from airflow_provider_claude_code.transfers.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_claude_code.targets.base import Target
    from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator

log = logging.getLogger(__name__)

VALID_FOR = timedelta(days=1)
"""How long after its load a day is not loaded again by a retry."""


class EarlierTries:
    """
    Remembers the days of a task that are loaded, until it succeeds.

    :param store: the ``task_state_store`` of Airflow 3.3 and later; without one, a retry loads all days again.
    :param arguments: the arguments that determine the content of a load. Days with other arguments are loaded again.
    """

    def __init__(self, store: Any, arguments: Sequence[object]) -> None:
        self._store = store
        self._arguments = hashlib.sha256(msgspec.json.encode(arguments)).hexdigest()

    @classmethod
    def of(cls, operator: ClaudeCodeTransferOperator, context: Context) -> EarlierTries:
        """Return those of a task."""
        pseudonyms = operator.hook.pseudonyms.key_id if operator.actor_identity == "hmac" else None
        # Another key may see more of a day.
        asked = [operator.claude_code_conn_id, operator.stream, operator.filters, operator.tables]
        settings = [operator.on_empty, pseudonyms]
        places = [operator.file_format, *map(operator.table_uri, operator.tables)]
        return cls(context.get("task_state_store"), [*asked, *settings, *places, __version__])

    def continued(self, progress: Progress, target: Target) -> Progress:
        """Skip the first days if earlier tries have loaded them."""
        for day in progress.days:
            summary = self._find(day, target)
            if summary is None:
                break
            progress = progress.done(summary)
        if progress.loaded:
            log.info("An earlier try has already loaded %s", days_in_words(progress.loaded))
        return progress

    def _find(self, day: date, target: Target) -> dict[str, Any] | None:
        """Return the summary of a day that an earlier try has loaded, and that its target still holds."""
        kept: Any = None
        with self._ready() as store:
            kept = None if store is None else store.get(_key(str(day)))
        # A worker without the backend that stored it gets a reference instead.
        if not isinstance(kept, dict) or kept.get("arguments") != self._arguments:
            return None
        summary: dict[str, Any] = kept["summary"]
        loaded_at = loaded_at_of(summary["load_id"])
        is_there = not summary["published"] or target.last_loaded_at(day) == loaded_at
        return summary if is_there and summary["complete"] and datetime.now(UTC) - loaded_at < VALID_FOR else None

    def keep(self, summary: dict[str, Any]) -> None:
        """Remember a day that is loaded."""
        with self._ready() as store:
            if store is not None:
                kept = {"arguments": self._arguments, "summary": summary}
                store.set(_key(summary["day"]), kept, retention=VALID_FOR)

    def forget(self, days: Sequence[dict[str, Any]]) -> None:
        """Forget days, so that a later run of the task loads them again."""
        with self._ready() as store:
            for day in () if store is None else days:
                store.delete(_key(day["day"]))

    @contextmanager
    def _ready(self) -> Iterator[Any]:
        """Return the store, if there is one. Loads do not depend on it."""
        try:
            yield self._store
        except Exception as error:  # Whatever a backend for the store raises.
            log.warning(
                "The progress of this task could not be stored or read, so all days are loaded again: %s",
                quoted(error, 300),
            )
            self._store = None


def _key(day: str) -> str:
    return f"claude_code_loaded_{day}"

"""The trigger that waits for a day of Claude Code usage to be complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_claude_code.days import FRESHNESS_DELAY, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.streams.registry import find_stream

NOT_COMPLETE = "%s is not complete: the API's data ends at %s, and the day is complete at %s"
CLOCK_CHECK_INTERVAL = 60.0
"""Maximum number of seconds between two looks at the clock, which may be corrected in the meantime."""


class ClaudeCodeFreshnessTrigger(BaseTrigger):
    """
    Fires once the API's data of a UTC day is complete and, with ``require_records``, has a record.

    :param day: ``YYYY-MM-DD``; with ``start_from_trigger`` a template that the triggerer renders.
    :param claude_code_conn_id: id of the Connection. The API is called only with ``require_records``, and for streams
        whose answers say up to which time they are complete.
    :param freshness_delay: how long after its end the day is complete.
    :param require_records: also wait for a record.
    :param stream: the stream whose day must be complete.
    :param poke_interval: seconds between two requests.
    :param silent_fail: log errors that a retry may fix, and continue to wait.
    """

    def __init__(
        self,
        day: str,
        claude_code_conn_id: str = ClaudeCodeHook.default_conn_name,
        freshness_delay: timedelta = FRESHNESS_DELAY,
        require_records: bool = False,
        stream: str = "usage",
        poke_interval: float = 60.0,
        silent_fail: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.day = day
        self.claude_code_conn_id = claude_code_conn_id
        self.freshness_delay = freshness_delay
        self.require_records = require_records
        self.stream = stream
        self.poke_interval = poke_interval
        self.silent_fail = silent_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the trigger's import path and arguments; no secret is among them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "day": self.day,
                "claude_code_conn_id": self.claude_code_conn_id,
                "freshness_delay": self.freshness_delay,
                "require_records": self.require_records,
                "stream": self.stream,
                "poke_interval": self.poke_interval,
                "silent_fail": self.silent_fail,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event: ``success``, or ``error`` with a message and whether a retry may help."""
        try:
            # Parsed here and not in __init__, since the triggerer renders templates after __init__.
            day = parse_day(self.day)
            # Fail now if the Connection is missing or unusable, and not after a long wait.
            with self._errors_only_logged():
                async with await ClaudeCodeHook(self.claude_code_conn_id).get_async_conn():
                    pass
            moment = find_stream(self.stream).complete_from(day, self.freshness_delay)
            if datetime.now(UTC) < moment:
                self.log.info("%s will be complete at %s", day, f"{moment:%Y-%m-%d %H:%M} UTC")
            while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
                await asyncio.sleep(min(left, CLOCK_CHECK_INTERVAL))
            if self.require_records or find_stream(self.stream).as_of is not None:
                while not await self._is_there(day, moment):
                    await asyncio.sleep(self.poke_interval)
        except ClaudeCodeError as error:
            outcome = {"status": "error", "message": str(error), "retryable": error.retryable}
        else:
            outcome = {"status": "success"}
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call]

    async def _is_there(self, day: date, complete_from: datetime) -> bool:
        """Return whether the API's data of the day is complete and, if asked, has a record."""
        stream = find_stream(self.stream)
        with self._errors_only_logged():
            # Each look reads the Connection, whose key may be replaced while the trigger waits.
            async with await ClaudeCodeHook(self.claude_code_conn_id).get_async_conn() as client:
                if stream.as_of is not None:
                    as_of = stream.as_of(*await client.first_page(lambda: stream.walk(day, 1)))
                    if as_of < complete_from:
                        self.log.info(NOT_COMPLETE, day, as_of, complete_from)
                        return False
                if not self.require_records or await client.has_records(lambda: stream.walk(day, 1)):
                    return True
            self.log.info("The API has no record of %s yet", day)
        return False

    @contextmanager
    def _errors_only_logged(self) -> Iterator[None]:
        """With ``silent_fail``, log errors that a retry may fix instead of raising them."""
        try:
            yield
        except ClaudeCodeError as error:
            if not (self.silent_fail and error.retryable):
                raise
            self.log.error("%s", error)

"""The trigger that waits for a day of Claude Code usage to be complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient
from airflow_provider_claude_code.days import FRESHNESS_DELAY, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook, find_stream

LONGEST_NAP = 60.0
"""Seconds after which the clock is looked at again, in case it is set anew."""


class ClaudeCodeFreshnessTrigger(BaseTrigger):
    """
    Fires once a UTC day is past the API's freshness delay and, if asked, once the API has a record of it.

    :param day: ``YYYY-MM-DD``; with ``start_from_trigger`` a template that the triggerer renders in place.
    :param claude_code_conn_id: id of the Connection; used only with ``require_records``.
    :param freshness_delay: how long after the day's end it is complete.
    :param require_records: whether to wait for a record, too.
    :param stream: the stream whose records are waited for.
    :param poke_interval: seconds between two looks for a record.
    :param silent_fail: log errors that a later look may not meet, and go on waiting.
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
            # Parsed here and not in __init__: only now has the triggerer rendered a template.
            day = parse_day(self.day)
            moment = find_stream(self.stream).complete_from(day, self.freshness_delay)
            if datetime.now(UTC) < moment:
                self.log.info("%s will be complete at %s", day, f"{moment:%Y-%m-%d %H:%M} UTC")
            while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
                await asyncio.sleep(min(left, LONGEST_NAP))
            if self.require_records:
                async with await ClaudeCodeHook(self.claude_code_conn_id).get_async_conn() as client:
                    while not await self._has_records(client, day):
                        await asyncio.sleep(self.poke_interval)
        except ClaudeCodeError as error:
            outcome = {"status": "error", "message": str(error), "retryable": error.retryable}
        else:
            outcome = {"status": "success"}
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call]

    async def _has_records(self, client: AsyncClaudeCodeClient, day: date) -> bool:
        try:
            found = await client.has_records(lambda: find_stream(self.stream).requests(day, 1))
        except ClaudeCodeError as error:
            if not (self.silent_fail and error.retryable):
                raise
            self.log.error("%s", error)
            return False
        if not found:
            self.log.info("The API has no record of %s yet", day)
        return found

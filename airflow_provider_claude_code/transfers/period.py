"""Which days a task loads."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from airflow_provider_claude_code.days import days_until
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.version_compat import AirflowSkipException

log = logging.getLogger(__name__)

MAX_DAYS = 366
"""Maximum number of days of a task: a year. Their summaries share one XCom."""


def days_to_load(stream: Stream, first: date | None, last: date, lookback_days: int, today: date) -> list[date]:
    """
    Return the days to load, the oldest first.

    :param stream: the stream.
    :param first: the first day; ``None`` if ``lookback_days`` determines it.
    :param last: the last day.
    :param lookback_days: number of days before ``last``, if ``first`` is ``None``.
    :param today: the current UTC day.
    :raises ClaudeCodeConfigurationError: there are no such days, or they are too many.
    :raises AirflowSkipException: the stream describes the current state, and the day is long over.
    """
    if stream.is_snapshot:
        # The current state says nothing about the days of a backfill. A daily run in the evening of an American zone
        # is for the day before yesterday in UTC.
        if last < today - timedelta(days=2):
            raise AirflowSkipException(f"{stream.title} can only be loaded for today, not for {last}.")
        if first is not None:
            log.warning(
                "The run asks for the days from %s on (first_day). %s can only be loaded for today, so this task loads "
                "only today.",
                first,
                stream.title,
            )
        return [today]
    oldest = stream.first_day(today) if stream.first_day else None
    if oldest and last < oldest:
        raise ClaudeCodeConfigurationError(
            f"The API has {stream.title.lower()} only from {oldest} on, so {last} cannot be loaded."
        )
    if first is None:
        argument, count = f"lookback_days={lookback_days}", lookback_days + 1
    else:
        argument, count = f"first_day={first}", (last - first).days + 1
    if count < 1:
        raise ClaudeCodeConfigurationError(
            f"{argument} is after the last day to load, {last}. Correct first_day or day."
        )
    days = days_until(last, count, argument)
    if oldest and days[0] < oldest:
        log.info("Leaving out the days before %s, since the API does not have them", oldest)
        days = [day for day in days if day >= oldest]
    if len(days) > MAX_DAYS:
        raise ClaudeCodeConfigurationError(
            f"{days[0]} to {last} ({argument}) are {len(days)} days, but a task loads at most {MAX_DAYS}. Split them "
            "into several runs."
        )
    return days

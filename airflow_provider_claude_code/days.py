"""UTC days: which one a run means, how one is written, and when the API's data of it is complete."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

DEFAULT_DAY = (
    "{{ dag_run.partition_key | default(none) or"
    " ((data_interval_start if data_interval_start | default(none)"
    " and data_interval_start != data_interval_end"
    " else (logical_date | default(none) or dag_run.run_after) - macros.timedelta(days=1)) | ds) }}"
)
"""
The day that a run is about: its partition key, else the start of its data interval, else the day before it.

``{{ ds }}`` is the day of the run itself for cron schedules, so a day that is not over, and is missing
altogether from manual, asset-triggered and partitioned runs.
"""

DEFAULT_LAST_DAY = (
    "{{ dag_run.partition_key | default(none) or"
    " ((data_interval_end if data_interval_end | default(none)"
    " else logical_date | default(none) or dag_run.run_after) - macros.timedelta(days=1)) | ds }}"
)
"""
The last day of the period that a run is about: its partition key, else the day before its data interval ends, which is
the day before the run where the interval has no width or is missing.
"""

FRESHNESS_DELAY = timedelta(hours=1)
"""The API includes usage once it is an hour old, so a day is complete one hour after it ends."""


def parse_day(value: object) -> date:
    """
    Return the day that a (rendered) argument names.

    :param value: ``YYYY-MM-DD`` or a :class:`datetime.date`.
    :raises ClaudeCodeConfigurationError: it names no day.
    """
    if type(value) is date:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise ClaudeCodeConfigurationError(f"day is {value!r}, which is not in the calendar ({error}).") from None
    hint = (
        " The run has no such value: a bare {{ partition_key }} is None in runs without one. Leave day out to"
        " use the default, which covers every kind of run."
        if value in (None, "None", "")
        else ""
    )
    raise ClaudeCodeConfigurationError(
        f"day is {value!r}; a UTC day written YYYY-MM-DD was expected, for example 2025-09-01.{hint}"
    )


def complete_from(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the moment from which the API's data of a UTC day is complete."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) + freshness_delay

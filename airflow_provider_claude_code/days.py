"""UTC days: which one a run means, how one is written, and when the API's data of it is complete."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

DEFAULT_DAY = (
    # AssetOrTimeSchedule and MultipleCronTriggerTimetable wrap timetables. The names differ between the Task SDK, which
    # workers have, and the core, which the triggerer has (and workers before Airflow 3.2).
    "{% set schedule = dag.timetable.timetable | default(dag.timetable) %}"
    "{% set cron = (schedule.timetables | default(schedule._timetables | default([schedule]))) | first %}"
    "{% set zone = cron.timezone | default(cron._timezone | default('UTC')) %}"
    "{% set end = data_interval_end | default(none) or logical_date | default(none) or dag_run.run_after %}"
    "{% set end = end.in_timezone(zone) if dag_run.run_type in ('scheduled', 'backfill') else end %}"
    "{{ dag_run.partition_key | default(none) or (end.date() - macros.timedelta(days=1)) | ds }}"
)
"""
The day that a run is about, and the last day of its period: its partition key, else the date before the run.

The date of a scheduled or backfilled run is that of the end of its data interval in the time zone of the schedule.
There, the runs of a daily schedule have consecutive dates; in UTC one is missing and another repeated when the clocks
change. The date of any other run is that of its data interval's end, its logical date or ``run_after`` in UTC.

``{{ ds }}`` is the day of the run itself for cron schedules, so a day that is not over, and is missing
altogether from manual, asset-triggered and partitioned runs.
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

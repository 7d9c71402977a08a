"""UTC days: the day of a run, its format, and the time from which its data is complete."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

DEFAULT_DAY = (
    # AssetOrTimeSchedule and MultipleCronTriggerTimetable wrap timetables. The names differ between the Task SDK, which
    # workers have, and the core, which the triggerer has (and workers before Airflow 3.2).
    "{% set schedule = dag.timetable.timetable | default(dag.timetable) %}"
    "{% set cron = (schedule.timetables | default(schedule._timetables | default([schedule]))) | first %}"
    "{% set zone = cron.timezone | default(cron._timezone | default('UTC')) %}"
    # The data interval of a run that is triggered by hand is the last whole one before its logical date.
    "{% set moments = [data_interval_end | default(none), logical_date | default(none)] | select | list %}"
    "{% set end = moments | max if moments else dag_run.run_after %}"
    # An unknown name stays text, which fromtimestamp() refuses; None would be the worker's own zone.
    "{% set zone = macros.dateutil.tz.gettz(zone) or zone if zone is string else zone %}"
    # run_after may be a plain datetime, which has no in_timezone(), and a pendulum.DateTime knows no zones of dateutil.
    "{% set local_end = macros.datetime.fromtimestamp(end.timestamp(), zone) %}"
    "{% set end = local_end if dag_run.run_type in ('scheduled', 'backfill') else end %}"
    "{{ (dag_run.conf | default(none) or {}).get('day') or dag_run.partition_key | default(none)"
    " or (end.date() - macros.timedelta(days=1)) | ds }}"
)
"""
The day that a run is about, and the last day of its period.

It is ``day`` in the run's configuration, which the trigger form of a Dag with a param ``day`` fills in, else the run's
partition key, else the date before the run.

The date of a scheduled or backfilled run is that of the end of its data interval in the time zone of the schedule.
There, the runs of a daily schedule have consecutive dates; in UTC one is missing and another repeated when the clocks
change. The date of any other run is that of its logical date or, without one, of ``run_after`` in UTC.

``{{ ds }}`` is the day of the run itself for cron schedules, so a day that is not over, and is missing
altogether from manual, asset-triggered and partitioned runs.
"""

FRESHNESS_DELAY = timedelta(hours=1)
"""The API includes usage once it is an hour old, so a day is complete one hour after it ends."""

# Far enough from the limits of Python's calendar for all computations with days.
_FIRST_DAY = date(1970, 1, 1)
_LAST_DAY = date(2999, 12, 31)

_DAY_OR_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def parse_day(value: object, argument: str = "day") -> date:
    """
    Return the UTC day that a (rendered) argument names.

    :param value: ``YYYY-MM-DD``, a :class:`datetime.date`, or midnight UTC of a day as text or as a
        :class:`datetime.datetime`. What has no time zone is UTC.
    :param argument: its name, for the message.
    :raises ClaudeCodeConfigurationError: it names no day, or none from 1970 to 2999.
    """
    moment = _moment(value, argument)
    if moment is None:
        hint = (
            " The run has no such value: a bare {{ partition_key }} is None in runs without one. Leave "
            f"{argument} out to use the default, which covers every kind of run."
            if value in (None, "None", "")
            else ""
        )
        raise ClaudeCodeConfigurationError(
            f"{argument} is {value!r}; a UTC day written YYYY-MM-DD was expected, for example 2025-09-01.{hint}"
        )
    if moment.utcoffset() or moment.time() != time():
        raise ClaudeCodeConfigurationError(
            f"{argument} is {str(value)!r}, which is not midnight in UTC; a UTC day written YYYY-MM-DD was expected. "
            "If it is a partition key, set key_format='%Y-%m-%d' in the timetable."
        )
    day = date(moment.year, moment.month, moment.day)
    if not _FIRST_DAY <= day <= _LAST_DAY:
        raise ClaudeCodeConfigurationError(f"{argument} is {day}; a day from {_FIRST_DAY} to {_LAST_DAY} was expected.")
    return day


def days_until(last_day: date, count: int, argument: str) -> list[date]:
    """
    Return consecutive days in their order.

    :param last_day: the last of them.
    :param count: how many.
    :param argument: name and value of the argument that says so, for the message.
    :raises ClaudeCodeConfigurationError: they would begin before 1970.
    """
    if count > (last_day - _FIRST_DAY).days + 1:
        raise ClaudeCodeConfigurationError(f"{argument} reaches from {last_day} back to before {_FIRST_DAY}.")
    return days_between(last_day - timedelta(days=count - 1), last_day)


def consecutive_days(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and the last of consecutive days, in order."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def days_between(first: date, last: date) -> list[date]:
    """Return the days from the first to the last."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_range(first: date | str, last: date | str) -> str:
    """Return the days from the first to the last as text for logs and errors."""
    return str(first) if first == last else f"{first} to {last}"


def month_start(day: date, months_before: int = 0) -> date:
    """Return the first day of a day's calendar month, or of one that many months before."""
    months = day.year * 12 + day.month - 1 - months_before
    return date(months // 12, months % 12 + 1, 1)


def _moment(value: object, argument: str) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001
    if not isinstance(value, str) or not _DAY_OR_MOMENT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ClaudeCodeConfigurationError(
            f"{argument} is {value!r}, which is not in the calendar ({error})."
        ) from None


def complete_from(day: date, freshness_delay: timedelta = FRESHNESS_DELAY) -> datetime:
    """Return the time from which the API's data of a UTC day is complete."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) + freshness_delay

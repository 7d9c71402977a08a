"""Messages about days for the log and for errors of a load."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.days import DEFAULT_DAY, day_range, parse_day
from airflow_provider_claude_code.quoting import MOST_NAMES, fields_first
from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.tables.unknown_fields_column import LONGEST_TEXT
from airflow_provider_claude_code.transfers.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_claude_code.transfers.base import ClaudeCodeTransferOperator

log = logging.getLogger(__name__)


def warn_of_skipped_days(operator: ClaudeCodeTransferOperator, days: list[date], context: Context) -> None:
    """Warn about days between the last successful run and this one, if both have the default day."""
    if context["dag_run"].run_type != "scheduled" or operator.day != operator.render_template(DEFAULT_DAY, context):
        return
    zone = str(getattr(context["dag"].timetable, "timezone", "UTC"))
    # CronPartitionTimetable does so on 3.2 in zones like London's, and still on 3.3 in zones like Santiago's.
    if getattr(context["dag_run"], "partition_key", None) and zone != "UTC":
        log.warning(
            "Airflow may create no partition for a day when the clocks of %s change, and then no run loads that "
            "day. Set timezone='UTC' in the CronPartitionTimetable.",
            zone,
        )
    # Absent from partitioned runs, and empty in the first one.
    end = context.get("prev_data_interval_end_success")
    if not end:
        return
    run_before: Context = {**context, "data_interval_end": end, "logical_date": end}
    previous = parse_day(operator.render_template(DEFAULT_DAY, run_before))
    if days[0] - previous > timedelta(days=1):
        log.warning(
            "The last successful run before this one was for %s, and this one loads %s to %s: no run loads the "
            "days between. Backfill them if they are missing, and raise lookback_days if the Dag runs less often "
            "than daily.",
            previous,
            days[0],
            days[-1],
        )


def log_day(stream: Stream, day: dict[str, Any], table_uri: str) -> None:
    """Log a day that is done and where its tables are, and warn if its records may count twice."""
    place = table_uri.rpartition("/")[0]
    if not day["published"]:
        log.info("Skipped %s: the API has no records of it. %s keeps what it has of that day", day["day"], place)
        return
    parts = (
        ", ".join(f"{count} {table}" for table, count in day["rows"].items()) + " rows",
        *stream.sums_in_words(day),
        "complete" if day["complete"] else "NOT COMPLETE YET",
        f"in {place}",
    )
    log.info("Loaded %s: %s", day["day"], "; ".join(parts))
    if day["repeated_keys"]:
        log.warning(
            "%s: %d records have the same key as another record. They are kept, and count twice if the API sent "
            "them twice. Load the day again to check",
            day["day"],
            day["repeated_keys"],
        )


def log_coverage(stream: Stream, loaded: list[dict[str, Any]]) -> None:
    """Log what the stream covers. Warn if all of several days are empty, since that may be why."""
    if not all(day["empty"] for day in loaded):
        log.info(stream.coverage)
        return
    log.log(
        logging.WARNING if len(loaded) > 1 else logging.INFO,
        "The API has no records of %s. %s If people used Claude Code on such days, this may be why.",
        days_in_words(loaded),
        stream.coverage,
    )


def log_unknown_names(loaded: list[dict[str, Any]], *, are_fields_kept: bool) -> None:
    """
    Log names that the reference of the API does not list. Warn of fields and of their values.

    A new tool or kind of actor is only logged, since models and reports treat all of them alike.
    """
    names = {name for day in loaded for name in day["first_unknown_names"]}
    if not names:
        return
    listed = sorted(names, key=fields_first)[:MOST_NAMES]
    # The names may differ between days, so there may be more.
    more = max(len(names), *(day["unknown_names"] for day in loaded)) - len(listed)
    log.log(
        logging.WARNING if "[]" in listed[0] else logging.INFO,
        "The API returned names that its reference did not list when this version was released: %s%s. Tools, actor "
        "kinds and values are loaded like all others. Fields are %s. unknown_names in loads has all names. A newer "
        "version of the provider may know them.",
        ", ".join(listed),
        f" and {'' if len(loaded) == 1 else 'at least '}{more:,} more" if more else "",
        f"kept in unknown_fields, up to {LONGEST_TEXT // 1024} KiB of each row"
        if are_fields_kept
        else "not kept, since actor_identity is 'hmac'",
    )


def days_in_words(loaded: list[dict[str, Any]]) -> str:
    """Return the period of loaded days."""
    return day_range(loaded[0]["day"], loaded[-1]["day"])


def loaded_before(progress: Progress) -> str:
    """Return which days of a failed task are loaded, and which are not."""
    return (
        f"Loaded before that, and kept: {days_in_words(progress.loaded)}. "
        f"Not loaded: {day_range(progress.days[0], progress.days[-1])}."
    )

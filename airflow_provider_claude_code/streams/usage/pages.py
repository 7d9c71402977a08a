"""The requests for a day of Claude Code usage, and the checks of a page."""

from __future__ import annotations

import re
from datetime import date
from functools import partial

from airflow_provider_claude_code.api.decoding import PageDecoder
from airflow_provider_claude_code.api.paging import Request, Walk, cursor_pages
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.models import Record, Report

decode_report = PageDecoder(Report).decode


def usage_walk(day: date, limit: int) -> Walk:
    """
    Walk through the report of a day.

    :param day: the UTC day.
    :param limit: records per page, 1 to 1000.
    """
    return cursor_pages(
        Request(
            path=USAGE.path,
            query={"starting_at": day.isoformat(), "limit": limit},
            subject=f"the Claude Code usage of {day}",
            decode=partial(decode_records, day=day, limit=limit),
        )
    )


def decode_records(body: bytes, *, day: date, limit: int) -> tuple[list[Record], set[str]]:
    """Return the records of a page, all of one day, and the paths of fields that the reference does not have."""
    report, unknown_fields = decode_report(body)
    if len(report.data) > limit:
        raise ValueError(f"the page contains {len(report.data)} records, but {limit} were asked for at most")
    # The reference documents RFC 3339 at UTC midnight; older versions of it a plain date.
    midnight = rf"{day.isoformat()}(T00:00:00(\.0+)?(Z|[+-]00:00))?"
    # Shares strings, since few distinct ones occur in many records.
    if not all(re.fullmatch(midnight, text, re.ASCII | re.IGNORECASE) for text in {r.date for r in report.data}):
        raise ValueError("the page contains a record of another day")
    return report.data, unknown_fields

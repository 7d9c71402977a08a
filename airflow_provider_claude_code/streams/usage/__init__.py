"""The stream ``usage``: the Claude Code Analytics report."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from airflow_provider_claude_code.days import complete_from
from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.streams.usage.pages import REPORT_PATH, usage_requests
from airflow_provider_claude_code.streams.usage.tables import TABLES
from airflow_provider_claude_code.streams.usage.totals import sums_in_words

if TYPE_CHECKING:
    from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
    from airflow_provider_claude_code.tables.rows import Pseudonym


def _flattener(day: date, pseudonym: Pseudonym | None) -> UsageFlattener:
    # Loads numpy, so not when a Dag file is parsed.
    from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener

    return UsageFlattener(day, pseudonym)


USAGE = Stream(
    name="usage",
    title="Claude Code usage",
    coverage=(
        "The report covers Claude Code used through the Claude API (Claude Console). Seats of Team and Enterprise "
        "plans are not in it, nor is usage through Amazon Bedrock, Google Cloud, Microsoft Foundry or Claude Platform "
        "on AWS."
    ),
    path=REPORT_PATH,
    requests=usage_requests,
    flattener=_flattener,
    sums_in_words=sums_in_words,
    tables=TABLES,
    complete_from=complete_from,
)

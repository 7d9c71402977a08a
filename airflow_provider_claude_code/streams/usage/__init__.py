"""The stream ``usage``: the Claude Code Analytics report."""

from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener, sums_in_words
from airflow_provider_claude_code.streams.usage.pages import REPORT_PATH, usage_requests
from airflow_provider_claude_code.streams.usage.tables import TABLES

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
    flattener=UsageFlattener,
    sums_in_words=sums_in_words,
    tables=TABLES,
)

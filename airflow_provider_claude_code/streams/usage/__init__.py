"""The stream ``usage``: the Claude Code Analytics report."""

from airflow_provider_claude_code.streams.base import Stream, imported
from airflow_provider_claude_code.streams.usage.tables import TABLES

USAGE = Stream(
    name="usage",
    title="Claude Code usage",
    coverage=(
        "The report covers Claude Code used through the Claude API (Claude Console). Seats of Team and Enterprise "
        "plans are not in it, nor is usage through Amazon Bedrock, Google Cloud, Microsoft Foundry or Claude Platform "
        "on AWS."
    ),
    path="/v1/organizations/usage_report/claude_code",
    begin_walk=imported(f"{__name__}.pages:usage_walk"),
    flattener=imported(f"{__name__}.flatten:UsageFlattener"),
    sums_in_words=imported(f"{__name__}.totals:sums_in_words"),
    tables=TABLES,
)

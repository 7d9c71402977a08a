"""The stream ``cost``: charges from the Usage and Cost Analytics API (beta)."""

from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.streams.cost.days import complete_from, first_day
from airflow_provider_claude_code.streams.cost.flatten import CostFlattener, sums_in_words
from airflow_provider_claude_code.streams.cost.pages import COST_PATH, as_of, cost_requests
from airflow_provider_claude_code.streams.cost.tables import TABLES

COST = Stream(
    name="cost",
    title="Charges",
    coverage=(
        "The report has charges after discounts and before credits and taxes, for the products that the load asks for "
        "(by default Claude Code). For seats of Team and Enterprise plans it has only usage credits. It has no charges "
        "from Amazon Bedrock, Google Cloud or Microsoft Foundry."
    ),
    path=COST_PATH,
    requests=cost_requests,
    flattener=CostFlattener,
    sums_in_words=sums_in_words,
    tables=TABLES,
    complete_from=complete_from,
    as_of=as_of,
    first_day=first_day,
    filters={"products": ("claude_code",)},
    restarts=5,
)

"""The stream ``cost``: charges from the Usage and Cost Analytics API (beta)."""

from airflow_provider_claude_code.streams.base import Stream, imported
from airflow_provider_claude_code.streams.cost.days import complete_from, first_day
from airflow_provider_claude_code.streams.cost.tables import TABLES

COST = Stream(
    name="cost",
    title="Charges",
    coverage=(
        "The report has charges after discounts and before credits and taxes, for the products that the load asks for "
        "(by default Claude Code). For seats of Team and Enterprise plans it has only usage credits. It has no charges "
        "from Amazon Bedrock, Google Cloud or Microsoft Foundry."
    ),
    path="/v1/organizations/analytics/cost",
    requests=imported(f"{__name__}.pages:cost_requests"),
    flattener=imported(f"{__name__}.flatten:CostFlattener"),
    sums_in_words=imported(f"{__name__}.flatten:sums_in_words"),
    tables=TABLES,
    complete_from=complete_from,
    as_of=imported(f"{__name__}.pages:as_of"),
    first_day=first_day,
    filters={"products": ("claude_code",)},
    restarts=5,
)

"""Totals of a day of usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.usage.models import (
    ACTOR_KINDS,
    KNOWN_CURRENCIES,
    KNOWN_CUSTOMER_TYPES,
    KNOWN_SUBSCRIPTION_TYPES,
)
from airflow_provider_claude_code.streams.usage.tables import (
    KNOWN_TOOLS,
    MODEL_USAGE,
    TABLES,
    TOKEN_KINDS,
    TOOL_USAGE,
    USAGE,
)
from airflow_provider_claude_code.tables.money import amount_of, billionths_of
from airflow_provider_claude_code.tables.rows import PageRows
from airflow_provider_claude_code.tables.totals import MAX_OF_A_DAY, DayTotals

_COUNTED = {
    USAGE.name: (
        "num_sessions",
        "lines_of_code_added",
        "lines_of_code_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
    ),
    MODEL_USAGE.name: tuple(f"{kind}_tokens" for kind in TOKEN_KINDS),
    TOOL_USAGE.name: ("accepted", "rejected"),
}


class UsageTotals(DayTotals):
    """
    Totals over a whole day of usage.

    :ivar num_sessions: sum over all records.
    :ivar counted: sum over everything that is counted: sessions, lines, commits, pull requests, tool actions, tokens.
    :ivar billionths_without_signs: sum over the absolute costs of all model entries in billionths of a cent.
    :ivar billionths_of_all_currencies: sum over all model entries in billionths of a cent, whatever their currency.
    :ivar currencies: those of the model entries.
    """

    def __init__(self) -> None:
        super().__init__(TABLES)
        self.num_sessions = 0
        self.counted = 0
        self.billionths_without_signs = 0
        self.billionths_of_all_currencies = 0
        self.currencies: set[str] = set()

    def add(self, page: PageRows) -> None:
        """Add a page's rows."""
        super().add(page)
        # Loads numpy, so not when a Dag file is parsed.
        from airflow_provider_claude_code.tables.columns import exact_sum

        models = page.own[MODEL_USAGE.name]
        self.num_sessions += exact_sum(page.own[USAGE.name]["num_sessions"])
        self.counted += sum(exact_sum(page.own[table][name]) for table, names in _COUNTED.items() for name in names)
        self.billionths_of_all_currencies += exact_sum(models["estimated_cost_cents"])
        self.billionths_without_signs += exact_sum(abs(models["estimated_cost_cents"]))
        self.currencies.update(models["currency"].dictionary)
        self.unknown_names.update(set(page.own[TOOL_USAGE.name]["tool_name"].dictionary).difference(KNOWN_TOOLS))
        self.unknown_names.update(set(page.shared["actor_type"].dictionary).difference(ACTOR_KINDS))
        self.name_unlisted("data[].customer_type", page.shared["customer_type"], KNOWN_CUSTOMER_TYPES)
        self.name_unlisted("data[].subscription_type", page.shared["subscription_type"], KNOWN_SUBSCRIPTION_TYPES)
        self.name_unlisted("data[].model_breakdown[].estimated_cost.currency", models["currency"], KNOWN_CURRENCIES)

    @property
    def is_too_large(self) -> bool:
        """Whether the totals exceed the limits of a day."""
        return max(self.counted, self.billionths_without_signs // billionths_of(1)) > MAX_OF_A_DAY

    @property
    def estimated_cost_cents(self) -> Decimal | None:
        """The day's cost in cents; ``None`` if it has several currencies."""
        if len(self.currencies) > 1:
            return None
        return amount_of(self.billionths_of_all_currencies)

    def sums(self) -> dict[str, int | Decimal | str | None]:
        """Return the day's sessions, cost and currency."""
        currencies = [quoted(currency) for currency in self.currencies]
        return {
            "num_sessions": self.num_sessions,
            "estimated_cost_cents": self.estimated_cost_cents,
            "currency": currencies[0] if len(currencies) == 1 else None,
        }


def sums_in_words(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Write the sessions and the cost of a day's summary for people."""
    amount, currency = summary["estimated_cost_cents"], summary["currency"]
    if amount is None:
        cost = "estimated costs in several currencies"
    elif currency not in (None, "USD"):
        cost = f"estimated cost {amount} minor units of {currency}"
    else:
        cost = f"estimated cost {amount} cents (${Decimal(amount) / 100:,.2f})"
    return f"{summary['num_sessions']} sessions", cost

"""From entries of the cost report to rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.actors import unknown_fields_of_actor
from airflow_provider_claude_code.streams.cost.models import (
    ACTOR_KINDS,
    KNOWN_COST_TYPES,
    KNOWN_CURRENCIES,
    KNOWN_PRODUCTS,
    Charges,
    TotalCharges,
)
from airflow_provider_claude_code.streams.cost.tables import COST, COST_TOTALS, TABLES
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.money import amount_of, billionths_of
from airflow_provider_claude_code.tables.rows import PageRows, Pseudonym, Values, canonical_json, columns_of
from airflow_provider_claude_code.tables.totals import MAX_OF_A_DAY, DayTotals

UNATTRIBUTED_SHARE = 0.5
"""Share of a day's charges without an actor above which the log warns."""


class CostTotals(DayTotals):
    """
    Totals over a whole day of charges, in billionths of a minor unit.

    :ivar charged: sum over all entries, whatever their currency.
    :ivar list_price: the same at list prices.
    :ivar charged_without_signs: sum over the absolute charges.
    :ivar list_price_without_signs: the same at list prices.
    :ivar without_actor: sum over the absolute charges without an actor.
    :ivar currencies: those of the entries.
    """

    def __init__(self) -> None:
        super().__init__(TABLES)
        self.charged = self.list_price = 0
        self.charged_without_signs = self.list_price_without_signs = self.without_actor = 0
        self.currencies: set[str] = set()

    def add(self, page: PageRows) -> None:
        """Add a page's rows."""
        super().add(page)
        rows = page.own[COST.name]
        amounts, list_amounts = rows["amount_cents"].tolist(), rows["list_amount_cents"].tolist()
        self.charged += sum(amounts)
        self.list_price += sum(list_amounts)
        self.charged_without_signs += sum(map(abs, amounts))
        self.list_price_without_signs += sum(map(abs, list_amounts))
        kinds = rows["actor_type"].tolist()
        self.without_actor += sum(abs(amount) for amount, kind in zip(amounts, kinds, strict=True) if kind is None)
        self.currencies.update(rows["currency"].dictionary)
        self.unknown_names.update(set(rows["actor_type"].dictionary).difference(ACTOR_KINDS, [None]))
        self.name_unlisted("data[].group.product", rows["product"], KNOWN_PRODUCTS)
        self.name_unlisted("data[].group.cost_type", rows["cost_type"], KNOWN_COST_TYPES)
        self.name_unlisted("data[].cost.currency", rows["currency"], KNOWN_CURRENCIES)

    def sums(self) -> dict[str, int | Decimal | str | None]:
        """Return the day's charges, also at list prices, and their currency; null when there are several currencies."""
        several = len(self.currencies) > 1
        return {
            "amount_cents": None if several else amount_of(self.charged),
            "list_amount_cents": None if several else amount_of(self.list_price),
            "currency": quoted(next(iter(self.currencies))) if len(self.currencies) == 1 else None,
        }

    def warnings(self) -> list[str]:
        """Return a warning if most of the charges have no actor."""
        if self.without_actor <= self.charged_without_signs * UNATTRIBUTED_SHARE:
            return []
        return [
            f"{self.without_actor / self.charged_without_signs:.0%} of the charges name no actor. A key that may see "
            "some workspaces only is shown no actors: use an admin API key of the whole organisation to see whose "
            "charges they are."
        ]


def sums_in_words(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the charges of a day's summary for people."""
    amount, list_amount, currency = summary["amount_cents"], summary["list_amount_cents"], summary["currency"]
    if amount is None:
        return ("charges in several currencies",)
    if currency not in (None, "USD"):
        return (f"{amount} minor units of {currency} charged, {list_amount} at list prices",)
    return (
        f"{amount} cents charged (${Decimal(amount) / 100:,.2f})",
        f"{list_amount} cents at list prices (${Decimal(list_amount) / 100:,.2f})",
    )


class CostFlattener:
    """
    Flattens the charges of one day, page by page. Nothing is merged or dropped.

    :param day: the UTC day of all the charges.
    :param pseudonym: what to store for an actor's type and identifier; ``None`` stores the identifier.
    """

    def __init__(self, day: date, pseudonym: Pseudonym | None = None) -> None:
        self.totals = CostTotals()
        self._day = day
        self._pseudonym = pseudonym
        self._combinations: set[bytes] = set()

    def flatten(self, records: Sequence[Charges]) -> PageRows:
        """
        Return the rows of the next page and add them to the totals.

        :raises ClaudeCodeResponseError: an actor's charges come twice, the day adds up to more than a day can have, or
            an actor of a new kind is nested too deeply.
        """
        charges = [record for record in records if not isinstance(record, TotalCharges)]
        for charge in charges:
            if unknown := unknown_fields_of_actor(charge.entry.group.actor or {"type": None}, ACTOR_KINDS):
                charge.entry.keep_unknown({"group": {"actor": unknown}})
                self.totals.unknown_names.update(f"data[].group.actor.{name}" for name in unknown)
        try:
            self._refuse_repeated(charges)
            totals = [record for record in records if isinstance(record, TotalCharges)]
            page = PageRows(
                own={COST.name: self._rows(COST, charges), COST_TOTALS.name: self._rows(COST_TOTALS, totals)}
            )
        except RecursionError:
            raise self._refusal("an actor that is nested too deeply") from None
        self.totals.add(page)
        largest = max(self.totals.charged_without_signs, self.totals.list_price_without_signs)
        if largest > billionths_of(MAX_OF_A_DAY):
            raise self._refusal(f"amounts that add up to more than {MAX_OF_A_DAY:,}, which no day has")
        return page

    def _rows(self, table: Table, charges: Sequence[Charges]) -> dict[str, Values]:
        return columns_of(
            table.columns,
            charges,
            self._pseudonym,
            date=[self._day] * len(charges),
            amount_cents=[billionths_of(charge.entry.cost.amount) for charge in charges],
            list_amount_cents=[billionths_of(charge.entry.cost.list_amount) for charge in charges],
        )

    def _refuse_repeated(self, charges: Sequence[Charges]) -> None:
        """Refuse a combination that came before, since pages overlap. Charges without an actor may repeat."""
        for charge in charges:
            group = charge.entry.group
            if group.actor is None:
                continue
            where = [group.model, group.product, group.workspace_id, group.organization_id, group.cost_type]
            combination = canonical_json([group.actor, *where, charge.entry.cost.currency])
            key = hashlib.sha256(combination).digest()[:16]
            if key in self._combinations:
                raise self._refusal("the charges of one actor twice")
            self._combinations.add(key)

    def _refusal(self, problem: str) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The API's answers contain {problem} (charges of {self._day}), so nothing of the day is published. Try "
            "again."
        )

"""The charges, and whether they match the estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, folded
from airflow_provider_claude_code.analytics.report.elements import (
    Cell,
    Element,
    Name,
    Note,
    Section,
)
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_ROWS,
    breakdown_of,
    small_groups_note,
    table_of,
)
from airflow_provider_claude_code.analytics.report.wording import NOTHING, count, dollars, listed
from airflow_provider_claude_code.quoting import visible

CHARGED = "Charged means after discounts, before credits and taxes."

VERDICTS = {
    "equal to list": "The estimate equals the list prices of what was charged, within rounding.",
    "equal to charged": "The estimate equals what was charged after discounts, within rounding.",
    "open": f"Charges may still change: the week or month ended in the last {Settings.days_until_final} days.",
    "estimate incomplete": (
        "The estimate is incomplete: some sessions have no model detail, so their cost is unknown."
    ),
    "unexplained": "The estimate and the charges differ by more than rounding explains{difference}.",
    "not comparable": "Not comparable: {reason}.",
}
"""A sentence for each verdict of ``cost_reconciliation``."""

REASONS = {
    "usage not loaded": "usage of some days is not loaded",
    "usage incomplete": "usage of some days was loaded before it was complete",
    "charges not loaded": "charges of some days are not loaded",
    "charges incomplete": "charges of some days were loaded before they were complete",
    "Claude Code not asked for": "charges of some days were loaded without those of Claude Code",
    "identities differ": (
        "usage and charges identify people differently, by addresses and pseudonyms or by pseudonyms of two secrets"
    ),
    "currencies differ": "usage and charges are in different currencies",
}
"""What each reason for the verdict "not comparable" means."""


def has_charges(rows: Iterable[Row]) -> bool:
    """Return whether rows with ``charged_usd`` have any charges."""
    return any(row["charged_usd"] is not None for row in rows)


def charged_note(rows: Sequence[Row], column: str) -> list[Note]:
    """Return an explanation of the charges in a column, if there are any."""
    if all(row[column] is None for row in rows):
        return []
    charged, length = rows[0]["charged_days"], rows[0]["days_in_period"]
    return [
        Note(
            f"{CHARGED} These charges are of all kinds and of the products that were loaded, in US dollars, on "
            f"{charged} of {count(length, 'day')}.",
            "note",
        )
    ]


def charged(organization: Organization, settings: Settings) -> list[Section]:
    """Compare the charges with the estimate, where charges are loaded."""
    rows = organization.charges
    if not rows:
        return []
    # There is no currency where nothing was used or charged.
    in_dollars = [row for row in rows if row["currency"] in ("USD", None)]
    others = [row for row in rows if row["currency"] not in ("USD", None)]
    has_amounts = any(row["charged_cents"] is not None for row in in_dollars)
    return [
        Section(
            f"Charges and the estimate{breakdown_of(organization)}",
            [
                *(Note(_verdict(row)) for row in in_dollars if row["model"] is None),
                *(_amounts(organization, in_dollars, settings) if has_amounts else []),
                *(
                    Note(f"Not shown: amounts in {visible(row['currency'])}. {_verdict(row)}")
                    for row in others
                    if row["model"] is None
                ),
            ],
        )
    ]


def _verdict(row: Row) -> str:
    parts = (
        ("{} where both have an amount", row["unexplained_cents"]),
        ("{} that is estimated and not charged", row["unmatched_estimate_cents"]),
        ("{} at list prices that is charged and not estimated", row["unmatched_list_cents"]),
    )
    # Only dollars are written as amounts.
    amounts = [text.format(_dollars(cents)) for text, cents in parts if cents and row["currency"] == "USD"]
    return VERDICTS[row["verdict"]].format(
        reason=REASONS.get(row["reason"]),
        difference=f": {listed(amounts)}" if amounts else "",
    )


def _amounts(organization: Organization, rows: Sequence[Row], settings: Settings) -> list[Element]:
    (whole,) = (row for row in rows if row["model"] is None)
    by_model = [row for row in rows if row["model"] is not None]
    columns = {"estimated_cents": "Estimate", "list_cents": "At list prices", "charged_cents": "Charged"}

    def model(row: Row) -> Cell:
        return "All models" if row["model"] is None else Name(row["model"])

    folding = small_groups_note(settings, by_model, "model", "models of fewer than {size} people")
    return [
        table_of(
            f"Estimate and charges in US dollars{breakdown_of(organization)}",
            [whole, *folded(by_model, "model", MOST_ROWS, columns)],
            (("Model", model), *((heading, partial(_cell, column)) for column, heading in columns.items())),
        ),
        Note(
            f"{CHARGED} Both are for tokens of Claude Code that the API bills. The estimate and the charges "
            f"are the same cost; do not add them. {folding}",
            "note",
        ),
    ]


def _cell(column: str, row: Row) -> str:
    return _dollars(row[column])


def _dollars(cents: Decimal | None) -> str:
    return NOTHING if cents is None else dollars(cents * Settings.dollars_per_cent)

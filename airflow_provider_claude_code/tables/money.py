"""Money as whole billionths, which is how a NUMERIC holds it: nothing passes through a float."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from airflow_provider_claude_code.tables.contract import MONEY_PLACES

# The default context rounds at 28 digits; this one holds any amount that a response may have, with all its places.
_EXACT = Context(prec=150)


def billionths_of(amount: int | Decimal) -> int:
    """Return an amount in billionths, rounded half to even."""
    if isinstance(amount, int):
        return amount * 10**MONEY_PLACES
    return int(amount.scaleb(MONEY_PLACES, _EXACT).to_integral_value(ROUND_HALF_EVEN))


def amount_of(billionths: int) -> Decimal:
    """Return the amount that is so many billionths, with nine decimal places."""
    return Decimal(billionths).scaleb(-MONEY_PLACES, _EXACT)

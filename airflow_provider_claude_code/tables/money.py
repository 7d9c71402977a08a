"""Money as whole billionths, like a NUMERIC. No amount is ever converted to a float."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context, Decimal

from airflow_provider_claude_code.tables.contract import MONEY_PLACES

MAX_AMOUNT = 10**14
"""The largest absolute amount that the API may report, in minor units of its currency."""

_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,80})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_LARGEST, _SMALLEST = Decimal(MAX_AMOUNT), Decimal(-MAX_AMOUNT)
# The default context rounds at 28 digits. This one keeps all digits of any amount in a response.
_EXACT = Context(prec=150)


def parse_amount(field: str, value: object) -> int | Decimal:
    """
    Return exactly what the digits of an amount say, whether they came as a number or as a string of one.

    :param field: its name in the API, for the message.
    :param value: the number or the string.
    :raises ValueError: it is neither, or larger than any amount.
    """
    amount: int | Decimal
    if type(value) is int:
        amount = value
        is_in_range = -MAX_AMOUNT <= amount <= MAX_AMOUNT
    else:
        if not _PLAIN_NUMBER.fullmatch(str(value)):
            raise ValueError(f"`{field}` must be a plain decimal number or a string of one")
        amount = value if type(value) is Decimal else Decimal(str(value))
        # Not abs(), which would round it to the context's digits.
        is_in_range = _SMALLEST <= amount <= _LARGEST
    if not is_in_range:
        raise ValueError(f"`{field}` must be from {-MAX_AMOUNT} to {MAX_AMOUNT}")
    return amount


def are_numbers_in_range(values: Sequence[object]) -> bool:
    """Return whether :func:`parse_amount` returns all these values as they are."""
    integers = [value for value in values if type(value) is int]
    decimals = [value for value in values if type(value) is Decimal]
    return (
        len(integers) + len(decimals) == len(values)
        and -MAX_AMOUNT <= min(integers, default=0) <= max(integers, default=0) <= MAX_AMOUNT
        and _SMALLEST <= min(decimals, default=0) <= max(decimals, default=0) <= _LARGEST
        and all(map(_PLAIN_NUMBER.fullmatch, map(str, decimals)))
    )


def billionths_of(amount: int | Decimal) -> int:
    """Return an amount in billionths, rounded half to even."""
    if isinstance(amount, int):
        return amount * 10**MONEY_PLACES
    # Without digits to round to, round() returns an integer, half to even.
    return round(amount.scaleb(MONEY_PLACES, _EXACT))


def amount_of(billionths: int) -> Decimal:
    """Return an amount that is given in billionths, with nine decimal places."""
    return Decimal(billionths).scaleb(-MONEY_PLACES, _EXACT)

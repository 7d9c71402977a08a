"""Formats names, numbers and days for a report."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from airflow_provider_claude_code.days import consecutive_days, days_between
from airflow_provider_claude_code.quoting import visible

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNKNOWN = "unknown"
NOTHING = "\u2013"
_SPACE = "\u00a0"
_MINUS = "\u2212"
_MOST_DECIMALS = 9
_MOST_RANGES = 8


def shortened(name: str, columns: int) -> str:
    """
    Return a name, shortened with an ellipsis if it is too long.

    :param name: visible text.
    :param columns: maximum width in narrow characters.
    """
    width = 0
    for position, character in enumerate(name):
        width += 2 if unicodedata.east_asian_width(character) in "FW" else 1
        if width > columns:
            # One column for the ellipsis.
            return name[: max(1, position - 1)].rstrip() + "…"
    return name


def spoken(name: object) -> str:
    """Return a name for screen readers, which read it in a list."""
    return shortened(visible(name), 40)


def or_nothing(written: Callable[[Any], str], value: Any) -> str:
    """Return the text of a value, or a dash if there is none."""
    return NOTHING if value is None else written(value)


def number(value: float | None, decimals: int = 0) -> str:
    """Return a count with thousands separators, or that it is unknown."""
    # What is rounded to 0 has no sign.
    return UNKNOWN if value is None else f"{value:z,.{decimals}f}".replace("-", _MINUS)


def count(value: int | None, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{number(value)} {singular if value == 1 else plural or singular + 's'}"


def signed(value: float) -> str:
    """Return a change with its sign and one decimal."""
    text = f"{value:+,.1f}".replace("-", _MINUS)
    return "\u00b10.0" if text[1:] == "0.0" else text


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share of 0 to 1 as a percentage."""
    if share is None:
        return UNKNOWN
    # A share below 1 must not read as 100 %, nor a share above 0 as 0 %.
    while decimals < _MOST_DECIMALS:
        rounded = round(share * 100, decimals)
        if not (rounded >= 100 and share < 1) and not (rounded <= 0 and share > 0):
            break
        decimals += 2
    return f"{number(share * 100, decimals)}{_SPACE}%"


def dollars(amount: Decimal | float | None) -> str:
    """Return an amount of US dollars with cents; a small one with hundredths of cents."""
    if amount is None:
        return UNKNOWN
    size = abs(float(amount))
    if 0 < size < 0.00005:
        return "below $0.0001"
    text = f"${abs(amount):,.4f}" if 0 < size < 0.1 else f"${abs(amount):,.2f}"
    return _MINUS + text if amount < 0 else text


def three_digits(amount: float, least: float) -> float:
    """Round a number that is not known exactly, unless that makes it less than the part of it that is known."""
    rounded = float(f"{amount:.3g}")
    return amount if rounded < least <= amount else rounded


def short_dollars(amount: float) -> str:
    """Return an amount in whole US dollars, or a small one with cents."""
    text = dollars(abs(amount)) if abs(amount) < 100 else f"${abs(amount):,.0f}"
    return _MINUS + text if amount < 0 else text


def about_dollars(amount: float, least: float = -math.inf) -> str:
    """Return an amount that is not known exactly, of which a part may be known."""
    return short_dollars(three_digits(amount, least))


def amount(value: Decimal | float | None) -> str:
    """Return an amount of US dollars, or "none" for 0, which models have only if there is no usage of the kind."""
    return "none" if value == 0 else dollars(value)


def short_number(value: float) -> str:
    """Return a number for an axis: 1,500,000 is 1.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", _MINUS)
    return f"{value:.3g}".replace("-", _MINUS)


def day(value: date, year: bool = True) -> str:
    """Return a day in words, independent of the machine's locale."""
    return f"{value.day}{_SPACE}{MONTHS[value.month - 1]}" + (f"{_SPACE}{value.year}" if year else "")


def month_name(value: date) -> str:
    """Return the calendar month of a day."""
    return f"{MONTHS[value.month - 1]}{_SPACE}{value.year}"


def after(hours: float) -> str:
    """Return a duration as text."""
    return f"{number(hours, 1)} hours" if hours < 48 else f"{number(hours / 24, 1)} days"


def period(first: date, last: date) -> str:
    """Return the days from the first to the last."""
    if first == last:
        return day(first)
    return f"{day(first, year=first.year != last.year)} to {day(last)}"


def day_ranges(days: Iterable[date]) -> str:
    """Return days in words, consecutive ones as a range. Days after the first ranges are only counted."""
    ranges = consecutive_days(days)
    named = [period(*ends) for ends in ranges[:_MOST_RANGES]]
    left = sum(len(days_between(*ends)) for ends in ranges[_MOST_RANGES:])
    return listed([*named, count(left, "more day")] if left else named)


def listed(parts: Sequence[str]) -> str:
    """Return parts as a list in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""

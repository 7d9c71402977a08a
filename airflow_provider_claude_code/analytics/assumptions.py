"""Values that users declare so that a report can compare cost with time, each with its source. None has a default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

Unit = Literal["commit", "pull_request", "accepted_action"]
BASES: dict[str, Unit] = {
    "minutes_per_commit": "commit",
    "minutes_per_pull_request": "pull_request",
    "minutes_per_accepted_action": "accepted_action",
}
"""The assumptions about how many minutes something saves. Only one of them may be declared."""

_LARGEST = Decimal(1_000_000_000)
_LONGEST_TEXT = 500


@dataclass(frozen=True)
class Assumption:
    """
    A declared value.

    :param value: the value: an amount in US dollars, minutes, or a count.
    :param source: where the value comes from, in the user's words.
    :param conversion: how an amount in another currency was converted to US dollars; empty for US dollars.
    """

    value: Decimal
    source: str
    conversion: str = ""


@dataclass(frozen=True)
class Reference:
    """A text from the user to compare with, such as a benchmark, with its source and date."""

    text: str
    source: str
    date: date


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """
    The declared values; None for those that are not declared.

    :param hourly_cost: what an hour of a person's work costs, in US dollars.
    :param seat_price: monthly price of a seat in US dollars.
    :param seats: number of paid seats.
    :param basis: the kind of result that ``minutes`` refers to.
    :param minutes: minutes that one commit, pull request or accepted action saves.
    :param oversight_minutes: minutes per active day that a person spends checking the results of Claude Code.
    :param tool_costs: what other tools cost a month, in US dollars, by the tool's name.
    :param reference: a text to compare with.
    """

    hourly_cost: Assumption | None = None
    seat_price: Assumption | None = None
    seats: Assumption | None = None
    basis: Unit | None = None
    minutes: Assumption | None = None
    oversight_minutes: Assumption | None = None
    tool_costs: Mapping[str, Assumption] = field(default_factory=dict)
    reference: Reference | None = None

    @property
    def seat_price_cents(self) -> int:
        """The price of a seat and month in whole US cents; 0 when it is not declared."""
        return 0 if self.seat_price is None else int((self.seat_price.value * 100).to_integral_value())

    @classmethod
    def parse(cls, given: object) -> Assumptions:
        """
        Check assumptions as users write them, in Python or JSON.

        :param given: ``hourly_cost`` and ``seat_price`` (``amount``, ``source``; ``currency`` if not USD), ``seats``
            (``count``, ``source``), one of ``minutes_per_commit``, ``minutes_per_pull_request`` and
            ``minutes_per_accepted_action`` and ``oversight_minutes`` (``minutes``, ``source``), ``tool_costs`` (amounts
            by tool), ``rates`` (``dollars`` of one unit, ``date``, ``source``, by currency) and ``reference``
            (``text``, ``source``, ``date``). All may be left out.
        :raises ClaudeCodeConfigurationError: a key is unknown, a value or its source is missing or cannot be used, or
            one assumption needs another. The message says which.
        """
        known = _object(
            "assumptions",
            given,
            (),
            ("hourly_cost", "seat_price", "seats", *BASES, "oversight_minutes", "tool_costs", "rates", "reference"),
        )
        rates = {
            str(currency): _object(f"rates.{currency}", rate, ("dollars", "date", "source"))
            for currency, rate in _mapping("rates", known.get("rates", {})).items()
        }

        def amount(name: str, value: object) -> Assumption:
            return _amount(name, value, rates)

        bases = [name for name in BASES if name in known]
        if len(bases) > 1:
            raise ClaudeCodeConfigurationError(
                f"assumptions has {' and '.join(bases)}. The same time would count twice, so declare one of them."
            )
        found = cls(
            hourly_cost=_if_given(known, "hourly_cost", amount),
            seat_price=_if_given(known, "seat_price", amount),
            seats=_if_given(known, "seats", _count),
            basis=BASES[bases[0]] if bases else None,
            minutes=_minutes(bases[0], known[bases[0]]) if bases else None,
            oversight_minutes=_if_given(known, "oversight_minutes", _minutes),
            tool_costs={
                str(tool): amount(f"tool_costs.{tool}", cost)
                for tool, cost in _mapping("tool_costs", known.get("tool_costs", {})).items()
            },
            reference=_if_given(known, "reference", _reference),
        )
        for name, needed in (("minutes", "hourly_cost"), ("oversight_minutes", "minutes"), ("seats", "seat_price")):
            if getattr(found, name) is not None and getattr(found, needed) is None:
                written = bases[0] if name == "minutes" else name
                what = f"one of {', '.join(BASES)}" if needed == "minutes" else needed
                raise ClaudeCodeConfigurationError(f"assumptions has {written}, which needs {what} as well.")
        return found


def _if_given(known: Mapping[str, object], name: str, parse: Callable[[str, object], Any]) -> Any:
    return parse(name, known[name]) if name in known else None


def _amount(name: str, given: object, rates: Mapping[str, Mapping[str, object]]) -> Assumption:
    parts = _object(name, given, ("amount", "source"), ("currency",))
    value, source = _number(f"{name}.amount", parts["amount"]), _text(f"{name}.source", parts["source"])
    currency = parts.get("currency", "USD")
    if currency == "USD":
        return Assumption(value, source)
    if currency not in rates:
        raise ClaudeCodeConfigurationError(
            f"assumptions has {name} in {currency!r}, for which rates has no rate. A report is in US dollars: add "
            f"rates.{currency} with dollars (what one unit is worth), date and source."
        )
    rate = rates[str(currency)]
    dollars = _number(f"rates.{currency}.dollars", rate["dollars"])
    conversion = (
        f"{value:,f} {currency} at {dollars:f} US dollars on {_day(f'rates.{currency}.date', rate['date'])}, "
        f"{_text(f'rates.{currency}.source', rate['source'])}"
    )
    return Assumption(value * dollars, source, conversion)


def _count(name: str, given: object) -> Assumption:
    parts = _object(name, given, ("count", "source"))
    value = _number(f"{name}.count", parts["count"])
    if value != value.to_integral_value():
        raise ClaudeCodeConfigurationError(f"assumptions has {name}.count {value}; a whole number was expected.")
    return Assumption(value, _text(f"{name}.source", parts["source"]))


def _minutes(name: str, given: object) -> Assumption:
    parts = _object(name, given, ("minutes", "source"))
    return Assumption(_number(f"{name}.minutes", parts["minutes"]), _text(f"{name}.source", parts["source"]))


def _reference(name: str, given: object) -> Reference:
    parts = _object(name, given, ("text", "source", "date"))
    return Reference(
        _text(f"{name}.text", parts["text"]),
        _text(f"{name}.source", parts["source"]),
        _day(f"{name}.date", parts["date"]),
    )


def _object(name: str, given: object, needed: Iterable[str], optional: Iterable[str] = ()) -> Mapping[str, object]:
    """Return the object after checking that it has all required keys and no unknown ones."""
    parts = _mapping(name, given, needed)
    known = [*needed, *optional]
    if unknown := [key for key in parts if key not in known]:
        raise ClaudeCodeConfigurationError(
            f"{_place(name)} has the unknown key {unknown[0]!r}; known are {', '.join(known)}."
        )
    if missing := [key for key in needed if key not in parts]:
        raise ClaudeCodeConfigurationError(f"{_place(name)} has no {missing[0]}; it needs {' and '.join(needed)}.")
    return parts


def _mapping(name: str, given: object, needed: Iterable[str] = ()) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        parts = f" with {' and '.join(needed)}" if needed else ""
        raise ClaudeCodeConfigurationError(
            f"{_place(name)} has the type {type(given).__name__}; an object{parts} was expected."
        )
    return given


def _place(name: str) -> str:
    return name if name == "assumptions" else f"assumptions.{name}"


def _number(name: str, given: object) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, (int, float, Decimal)):
        raise ClaudeCodeConfigurationError(f"{_place(name)} is {given!r}; a number was expected.")
    value = Decimal(str(given))
    if not (value.is_finite() and 0 < value <= _LARGEST):
        raise ClaudeCodeConfigurationError(f"{_place(name)} is {given!r}; a number above 0 was expected.")
    return value


def _text(name: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ClaudeCodeConfigurationError(
            f"{_place(name)} is {given!r}; text was expected. A report prints each assumption with its source."
        )
    if len(given) > _LONGEST_TEXT:
        raise ClaudeCodeConfigurationError(f"{_place(name)} is longer than {_LONGEST_TEXT} characters.")
    return given.strip()


def _day(name: str, given: object) -> date:
    try:
        return parse_day(given)
    except ClaudeCodeConfigurationError:
        raise ClaudeCodeConfigurationError(
            f"{_place(name)} is {given!r}; a day written YYYY-MM-DD was expected."
        ) from None

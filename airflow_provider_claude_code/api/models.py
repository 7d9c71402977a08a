"""
The report's JSON as types. Read it beside the API reference.

Unknown fields, tools, actor kinds and enum values are accepted, since the API's versioning promise lets them
come at any time. What breaks the contract is refused, and the error names the offending field's path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

INT64_MAX = 2**63 - 1
MAX_INTEGER_DIGITS = 29
"""Digits before the decimal point that BigQuery's NUMERIC and ``decimal128(38, 9)`` hold."""

Count = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]

_AMOUNT_LIMIT = 10**MAX_INTEGER_DIGITS
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,80})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


class LinesOfCode(msgspec.Struct, frozen=True, gc=False):
    """Lines that Claude Code added and removed."""

    added: Count
    removed: Count


class CoreMetrics(msgspec.Struct, frozen=True, gc=False):
    """What was done in the record's sessions."""

    num_sessions: Count
    lines_of_code: LinesOfCode
    commits_by_claude_code: Count
    pull_requests_by_claude_code: Count


class ToolAction(msgspec.Struct, frozen=True, gc=False):
    """How often people accepted and rejected what a tool offered."""

    accepted: Count
    rejected: Count


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one model."""

    input: Count
    output: Count
    cache_read: Count
    cache_creation: Count


class EstimatedCost(msgspec.Struct, frozen=True, gc=False):
    """
    Estimated cost of one model's usage, in minor units of ``currency`` ("cents for USD").

    ``amount`` is exactly what the API's digits say, whether they came as a number or as a string of one.
    """

    currency: str
    # Not declared as a number, since no type of msgspec's takes both exactly what is allowed and each digit.
    amount: Any

    def __post_init__(self) -> None:
        """Read the amount; msgspec adds the cost's path to the message."""
        if type(self.amount) is not int:
            msgspec.structs.force_setattr(self, "amount", _to_decimal(self.amount))
        # Not abs(), which would round a decimal to the context's digits.
        if not -_AMOUNT_LIMIT < self.amount < _AMOUNT_LIMIT:
            raise ValueError(f"`amount` must have at most {MAX_INTEGER_DIGITS} integer digits")


class ModelUsage(msgspec.Struct, frozen=True, gc=False):
    """One entry of ``model_breakdown``."""

    model: str
    tokens: Tokens
    estimated_cost: EstimatedCost


# The two kinds of actor that the reference documents, and the field that identifies one.
ACTOR_ID_FIELDS = {"user_actor": "email_address", "api_actor": "api_key_name"}


class Record(msgspec.Struct, frozen=True, gc=False):
    """
    Usage of one actor on one UTC day, in one terminal type, locally or remotely.

    ``is_remote`` and ``subscription_type`` are absent in older payloads; absent means unknown. The actor, who may be
    a person, is left out of the record's representation: tools that report crashes show the variables at hand.
    """

    date: str
    actor: dict[str, Any]
    organization_id: str
    customer_type: str
    terminal_type: str
    core_metrics: CoreMetrics
    tool_actions: dict[str, ToolAction]
    model_breakdown: list[ModelUsage]
    subscription_type: str | None = None
    is_remote: bool | None = None

    def __post_init__(self) -> None:
        """Check the actor, whose shape depends on its type; msgspec adds the record's path to the message."""
        kind = self.actor.get("type")
        if not isinstance(kind, str):
            raise ValueError("`actor.type` must be a string")
        field = ACTOR_ID_FIELDS.get(kind)
        if field is not None and not isinstance(self.actor.get(field, ...), str | None):
            raise ValueError(f"`actor.{field}` must be a string or null")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that may be shown."""
        return [(name, value) for name, value in msgspec.structs.asdict(self).items() if name != "actor"]

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Report(msgspec.Struct, frozen=True, gc=False):
    """The body of one page."""

    data: list[Record]
    has_more: bool
    next_page: str | None


class Continuation(msgspec.Struct, frozen=True, gc=False):
    """Of a page, what tells how the day goes on."""

    has_more: bool
    next_page: str | None


class Organization(msgspec.Struct, frozen=True, gc=False):
    """The answer of ``GET /v1/organizations/me``."""

    id: str
    name: str


class ErrorDetails(msgspec.Struct, frozen=True, gc=False):
    """Machine-readable details that some errors carry."""

    error_code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, gc=False):
    """What went wrong; ``type`` is stable, ``message`` is for people."""

    type: str
    message: str = ""
    details: ErrorDetails | None = None


class ErrorEnvelope(msgspec.Struct, frozen=True, gc=False):
    """The body of an error response."""

    error: ErrorBody
    request_id: str | None = None


def _to_decimal(value: object) -> Decimal:
    text = value if isinstance(value, str) else str(value)
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ValueError("`amount` must be a plain decimal number or a string of one")
    return Decimal(text)


def _integral_if_possible(literal: str) -> int | Decimal:
    number = Decimal(literal)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


# Untyped numbers become int or Decimal, never float: an amount keeps its digits.
_continuation_decoder = msgspec.json.Decoder(Continuation)
_report_decoder = msgspec.json.Decoder(Report, float_hook=_integral_if_possible)
_integral_decoder = msgspec.json.Decoder(float_hook=_integral_if_possible)
_number_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_continuation(body: bytes) -> Continuation:
    """
    Decode how the day goes on after a page, and look at nothing else of it: a small part of decoding it whole.

    :raises ValueError: as :func:`decode_report`.
    """
    with _explained():
        return _continuation_decoder.decode(body)


def decode_report(body: bytes) -> Report:
    """
    Decode one page.

    :raises ValueError: the body is not JSON, or not of the report's shape; the message gives the JSON path of
        the offending field and never its value.
    """
    with _explained():
        try:
            return _report_decoder.decode(body)
        except msgspec.ValidationError as error:
            if "Expected `int`, got `float`" not in str(error):
                raise
            # 5.0 is the integer 5 to JSON, but not to msgspec, whose message this looks for. It is rare, so it
            # costs a second pass instead of making every count slower; 5.5 still fails, with its path.
            return _report_decoder.decode(_number_encoder.encode(_integral_decoder.decode(body)))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except UnicodeDecodeError:
        raise ValueError("invalid UTF-8") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number outside any sensible range") from None

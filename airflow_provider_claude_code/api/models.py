"""
The report's JSON as types. Read it beside the API reference.

Unknown fields, tools, actor kinds and enum values are accepted and noted, since the API's versioning promise lets
them come at any time. What breaks the contract is refused, and the error names the offending field's path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, get_args, get_origin

import msgspec

MAX_COUNT = 10**12
"""The most sessions, lines, commits, pull requests or tool actions that a record may have, each by itself."""
MAX_TOKENS = 10**14
"""The most tokens of a kind that a model entry may have: tens of millions of dollars for one actor's day."""
MAX_AMOUNT = 10**14
"""The largest cost of a model entry, in minor units of its currency, on either side of zero."""
MAX_OF_A_DAY = 10**15
"""
What all counts and tokens of a day may add up to, and all its costs without their signs. 25 years of such days still
fit the 64 bits of an INT64, so no sum of a query can overflow.
"""

MAX_PAGE_VALUES = 1_000_000
"""
JSON values of a page that are decoded at most.

A value takes two bytes of JSON, but some hundred bytes of memory. A record has 40 values or so, and some more for each
model and tool.
"""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]

_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,80})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


class _Documented(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A part of the report. Fields that the reference does not have are noted, removed and passed over."""


class LinesOfCode(_Documented, frozen=True):
    """Lines that Claude Code added and removed."""

    added: Count
    removed: Count


class CoreMetrics(_Documented, frozen=True):
    """What was done in the record's sessions."""

    num_sessions: Count
    lines_of_code: LinesOfCode
    commits_by_claude_code: Count
    pull_requests_by_claude_code: Count


class ToolAction(_Documented, frozen=True):
    """How often people accepted and rejected what a tool offered."""

    accepted: Count
    rejected: Count


class Tokens(_Documented, frozen=True):
    """Tokens of one model."""

    input: TokenCount
    output: TokenCount
    cache_read: TokenCount
    cache_creation: TokenCount


class EstimatedCost(_Documented, frozen=True):
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
        if not -MAX_AMOUNT <= self.amount <= MAX_AMOUNT:
            raise ValueError(f"`amount` must be from {-MAX_AMOUNT} to {MAX_AMOUNT}")


class ModelUsage(_Documented, frozen=True):
    """One entry of ``model_breakdown``."""

    model: str
    tokens: Tokens
    estimated_cost: EstimatedCost


# The two kinds of actor that the reference documents, and the field that identifies one. It has no other field.
ACTOR_ID_FIELDS = {"user_actor": "email_address", "api_actor": "api_key_name"}


# The values that the reference lists; others are kept all the same.
KNOWN_CUSTOMER_TYPES = {"api", "subscription"}
KNOWN_SUBSCRIPTION_TYPES = {"enterprise", "team", None}
KNOWN_CURRENCIES = {"USD"}


class Record(_Documented, frozen=True):
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


class Report(_Documented, frozen=True):
    """The body of one page."""

    data: list[Record]
    has_more: bool
    # Some gateways leave out what is null.
    next_page: str | None = None


class Continuation(msgspec.Struct, frozen=True, gc=False):
    """Of a page, what tells how the day goes on."""

    data: msgspec.Raw
    has_more: bool
    next_page: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the page has no record."""
        return re.fullmatch(rb"\[\s*\]", memoryview(self.data)) is not None


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

    @property
    def error_code(self) -> str | None:
        """What the error is about, more closely than its type, if the API says so."""
        return self.error.details.error_code if self.error.details else None


def _to_decimal(value: object) -> Decimal:
    text = value if isinstance(value, str) else str(value)
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ValueError("`amount` must be a plain decimal number or a string of one")
    return Decimal(text)


def _integral_if_possible(literal: str) -> int | Decimal:
    number = Decimal(literal)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


_continuation_decoder = msgspec.json.Decoder(Continuation)
# Untyped numbers become int or Decimal, never float: an amount keeps its digits.
_report_decoder = msgspec.json.Decoder(Report, float_hook=_integral_if_possible)
_integral_decoder = msgspec.json.Decoder(float_hook=_integral_if_possible)
_number_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_continuation(body: bytes) -> Continuation:
    """
    Decode how the day goes on after a page, and look at nothing else of it: a small part of decoding it whole.

    :raises ValueError: as :func:`decode_report`; or the page has more values than any page, and must not be decoded.
    """
    # Each value but the first in its place has a comma before it. Commas within names do not matter at this size.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PAGE_VALUES:
        raise ValueError(f"it has more than {MAX_PAGE_VALUES} values; if a page can have them, lower page_limit")
    with _explained():
        return _continuation_decoder.decode(body)


def decode_report(body: bytes) -> tuple[Report, set[str]]:
    """
    Decode one page.

    :return: the page, and the paths of the fields that the reference does not have, such as ``data[].new_field``.
    :raises ValueError: the body is not JSON, or not of the report's shape; the message gives the JSON path of
        the offending field and never its value. Or an object has a key twice, of which msgspec would take the last.
    """
    with _explained():
        # Decodes what it can without keeping it.
        json.loads(body, object_pairs_hook=_refuse_repeated_keys, parse_int=len, parse_float=len)
        try:
            return _report_decoder.decode(body), set()
        except msgspec.ValidationError as error:
            # 5.0 is the integer 5 to JSON, but not to msgspec, whose messages these are. Such numbers and new fields
            # are rare, so they cost a second pass instead of making every page slower; 5.5 still fails, with its path.
            if not re.search("Expected `int`, got `float`|unknown field", str(error)):
                raise
            content = _integral_decoder.decode(body)
            unknown: set[str] = set()
            _remove_unknown_fields(content, Report, "", unknown)
            return _report_decoder.decode(_number_encoder.encode(content)), unknown


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an object has a key twice")


def _remove_unknown_fields(content: Any, type_: Any, path: str, unknown: set[str]) -> None:
    """Remove what the type does not name, and note its path."""
    if isinstance(content, list) and get_origin(type_) is list:
        for item in content:
            _remove_unknown_fields(item, get_args(type_)[0], f"{path}[]", unknown)
    elif isinstance(content, dict) and get_origin(type_) is dict:
        for value in content.values():
            _remove_unknown_fields(value, get_args(type_)[1], f"{path}{{}}", unknown)
    elif isinstance(content, dict) and isinstance(type_, type) and issubclass(type_, _Documented):
        types = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
        for name in content.keys() - types.keys():
            del content[name]
            unknown.add(f"{path}.{name}".removeprefix("."))
        for name, value in content.items():
            _remove_unknown_fields(value, types[name], f"{path}.{name}".removeprefix("."), unknown)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (character {error.pos})") from None
    except UnicodeDecodeError:
        raise ValueError("invalid UTF-8") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number outside any sensible range") from None

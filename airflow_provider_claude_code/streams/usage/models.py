"""The Claude Code Analytics report's JSON as types. Read it beside the API reference."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from airflow_provider_claude_code.api.decoding import Documented, DocumentedRow

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

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]

_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,80})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_encode_canonically = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


class LinesOfCode(Documented, frozen=True):
    """Lines that Claude Code added and removed."""

    added: Count
    removed: Count


class CoreMetrics(Documented, frozen=True):
    """What was done in the record's sessions."""

    num_sessions: Count
    lines_of_code: LinesOfCode
    commits_by_claude_code: Count
    pull_requests_by_claude_code: Count


class ToolAction(DocumentedRow, frozen=True):
    """How often people accepted and rejected what a tool offered."""

    accepted: Count
    rejected: Count


class Tokens(Documented, frozen=True):
    """Tokens of one model."""

    input: TokenCount
    output: TokenCount
    cache_read: TokenCount
    cache_creation: TokenCount


class EstimatedCost(Documented, frozen=True):
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


class ModelUsage(DocumentedRow, frozen=True):
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


class Record(DocumentedRow, frozen=True):
    """
    Usage of one actor on one UTC day, in one terminal type, locally or remotely.

    ``is_remote`` and ``subscription_type`` are absent in older payloads; absent means unknown. The actor, who may be
    a person, is left out of the record's representation: tools that report crashes show the variables at hand.
    """

    NOT_SHOWN = DocumentedRow.NOT_SHOWN | {"actor"}

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
        if field is None:
            return
        if not isinstance(self.actor.get(field, ...), str | None):
            raise ValueError(f"`actor.{field}` must be a string or null")
        if len(self.actor) > 2:
            unknown = {name: value for name, value in self.actor.items() if name not in ("type", field)}
            msgspec.structs.force_setattr(self, "unknown_fields", {**(self.unknown_fields or {}), "actor": unknown})

    @property
    def actor_type(self) -> str:
        """The kind of actor."""
        kind: str = self.actor["type"]
        return kind

    @property
    def actor_id(self) -> str | None:
        """
        The e-mail address of a person, the name of an API key, or all that is said of an actor of a later kind, as
        canonical JSON.
        """
        if field := ACTOR_ID_FIELDS.get(self.actor_type):
            identifier: str | None = self.actor[field]
            return identifier
        return _encode_canonically({name: value for name, value in self.actor.items() if name != "type"}).decode()


class Report(Documented, frozen=True):
    """The body of one page."""

    data: list[Record]
    has_more: bool
    # Some gateways leave out what is null.
    next_page: str | None = None


def _to_decimal(value: object) -> Decimal:
    text = value if isinstance(value, str) else str(value)
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ValueError("`amount` must be a plain decimal number or a string of one")
    return Decimal(text)

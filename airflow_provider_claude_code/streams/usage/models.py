"""The JSON of the Claude Code Analytics report as types. Compare with the API reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from airflow_provider_claude_code.api.unknown_fields import Documented, DocumentedRow
from airflow_provider_claude_code.streams.actors import ActorKind, actor_id_of, are_usual_actors, check_actor
from airflow_provider_claude_code.tables.money import are_numbers_in_range, parse_amount

MAX_COUNT = 10**12
"""Maximum number of sessions, lines, commits, pull requests or tool actions of a record, for each count separately."""
MAX_TOKENS = 10**14
"""Maximum number of tokens of one kind in a model entry: tens of millions of dollars for one actor's day."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class LinesOfCode(Documented, frozen=True):
    """Lines that Claude Code added and removed."""

    added: Count
    removed: Count


class CoreMetrics(Documented, frozen=True):
    """The activity in the record's sessions."""

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

    ``amount`` is exactly what the API's digits say, whether they came as a number or as a string of one. The report
    checks it.
    """

    currency: str
    # Not declared as a number, since no msgspec type accepts exactly the allowed values and keeps each digit.
    amount: Any


class ModelUsage(DocumentedRow, frozen=True):
    """One entry of ``model_breakdown``."""

    model: str
    tokens: Tokens
    estimated_cost: EstimatedCost


ACTOR_KINDS = {
    "user_actor": ActorKind("email_address", frozenset({"type", "email_address"})),
    "api_actor": ActorKind("api_key_name", frozenset({"type", "api_key_name"})),
}


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
    subscription_type: str | UnsetType | None = UNSET
    is_remote: bool | UnsetType | None = UNSET

    @property
    def actor_type(self) -> str:
        """The kind of actor."""
        kind: str = self.actor["type"]
        return kind

    @property
    def actor_id(self) -> str | None:
        """
        The e-mail address of a person, the name of an API key, or all fields of an actor of another type, as canonical
        JSON.
        """
        return actor_id_of(self.actor, ACTOR_KINDS)


class Report(Documented, frozen=True):
    """The body of one page."""

    data: list[Record]
    has_more: bool
    # Some gateways leave out what is null.
    next_page: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        """
        Check the actors, whose shape depends on their type, and read the amounts.

        All at once where nothing is unusual, since a method of each record takes several times as long.
        """
        actors = [record.actor for record in self.data]
        amounts = [entry.estimated_cost.amount for record in self.data for entry in record.model_breakdown]
        if not are_usual_actors(actors, ACTOR_KINDS) or not are_numbers_in_range(amounts):
            self._check_one_by_one()

    def _check_one_by_one(self) -> None:
        for number, record in enumerate(self.data):
            with _path(f"$.data[{number}]"):
                check_actor(record.actor, ACTOR_KINDS, "actor")
            for position, entry in enumerate(record.model_breakdown):
                cost = entry.estimated_cost
                with _path(f"$.data[{number}].model_breakdown[{position}].estimated_cost"):
                    msgspec.structs.force_setattr(cost, "amount", parse_amount("amount", cost.amount))


@contextmanager
def _path(path: str) -> Iterator[None]:
    """Add a path to an error, as msgspec does."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} - at `{path}`") from None

"""The JSON of the cost report as types. Its fields are those of Anthropic's official SDK (beta of 2026-08-24)."""

from __future__ import annotations

from datetime import datetime
from types import NoneType
from typing import Any, NamedTuple

import msgspec

from airflow_provider_claude_code.api.unknown_fields import Documented, DocumentedRow
from airflow_provider_claude_code.streams.actors import ActorKind, actor_id_of, check_actor
from airflow_provider_claude_code.tables.money import parse_amount

ACTOR_KINDS = {
    "user_actor": ActorKind("email_address", frozenset({"type", "user_id", "email_address", "name", "deleted"})),
    "api_actor": ActorKind("api_key_id", frozenset({"type", "api_key_id"})),
    "service_account_actor": ActorKind("service_account_id", frozenset({"type", "service_account_id"})),
    # Two issuers may have the same subject.
    "federated_actor": ActorKind(None, frozenset({"type", "provider", "subject"})),
}

# The values that the SDK lists; others are kept all the same.
KNOWN_PRODUCTS = {
    "chat",
    "chat_cowork_unified",
    "claude_code",
    "claude_console",
    "claude_design",
    "claude_in_chrome",
    "claude_tag",
    "cowork",
    "managed_agents_api",
    "message_batches_api",
    "messages_api",
    "office_agent",
    "other",
    None,
}
KNOWN_COST_TYPES = {"tokens", "web_search", "code_execution", "session_usage", None}
KNOWN_CURRENCIES = {"USD"}


class Group(Documented, frozen=True):
    """The group of an entry. Fields that the request did not group by are null."""

    actor: dict[str, Any] | None = None
    model: str | None = None
    product: str | None = None
    workspace_id: str | None = None
    organization_id: str | None = None
    cost_type: str | None = None
    # Never grouped by.
    actor_type: Any = None
    agent_id: Any = None
    api_key_id: Any = None
    claude_tag_category: Any = None
    claude_tag_user_id: Any = None
    context_window: Any = None
    deployment_id: Any = None
    environment_id: Any = None
    inference_geo: Any = None
    rbac_group_id: Any = None
    service_tier: Any = None
    session_id: Any = None
    slack_channel_id: Any = None
    speed: Any = None
    token_type: Any = None
    user_profile_id: Any = None


class Cost(Documented, frozen=True):
    """
    Amounts in minor units of ``currency`` (cents for USD) with their fractions.

    ``amount`` is what is charged: after discounts, before credits and taxes. ``list_amount`` is without discounts.
    """

    # Not declared as numbers, since no msgspec type accepts exactly the allowed values and keeps each digit.
    amount: Any
    list_amount: Any
    currency: str
    # Not stored.
    requests: Any = None

    def __post_init__(self) -> None:
        """Read the amounts; msgspec adds the path to the message."""
        for name in ("amount", "list_amount"):
            msgspec.structs.force_setattr(self, name, parse_amount(name, getattr(self, name)))


class CostEntry(DocumentedRow, frozen=True):
    """The charges of a day with the same group. The group may name a person, so representations leave it out."""

    NOT_SHOWN = DocumentedRow.NOT_SHOWN | {"group"}

    starting_at: str
    ending_at: str
    cost: Cost
    group: Group = Group()

    def __post_init__(self) -> None:
        """Check the actor, whose shape depends on its type; msgspec adds the entry's path to the message."""
        if self.group.actor is not None:
            check_actor(self.group.actor, ACTOR_KINDS, "group.actor")
        if not isinstance(self.user_id, (str, NoneType)):
            raise ValueError("`group.actor.user_id` must be a string or null")

    @property
    def actor_type(self) -> str | None:
        """The type of the actor; ``None`` for charges without an actor."""
        return None if self.group.actor is None else self.group.actor["type"]

    @property
    def actor_id(self) -> str | None:
        """What identifies the actor."""
        return None if self.group.actor is None else actor_id_of(self.group.actor, ACTOR_KINDS)

    @property
    def user_id(self) -> str | None:
        """The id of a person."""
        return self.group.actor.get("user_id") if self.group.actor and self.actor_type == "user_actor" else None


class CostReport(Documented, frozen=True):
    """The body of one page."""

    data: list[CostEntry]
    has_more: bool
    next_page: str | None = None
    data_refreshed_at: str | None = None


class Charges(NamedTuple):
    """
    The source of a row of ``cost``.

    :param entry: an entry of the report.
    :param refreshed_at: when the data was refreshed that it is from.
    """

    entry: CostEntry
    refreshed_at: datetime | None

    @property
    def unknown_fields(self) -> dict[str, Any] | None:
        """What the entry has beyond the documented fields."""
        return self.entry.unknown_fields


class TotalCharges(Charges):
    """What a row of ``cost_totals`` is made from: an entry of the report without groups."""

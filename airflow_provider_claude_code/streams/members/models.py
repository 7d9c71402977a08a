"""
The JSON of the lists of members, workspaces and API keys as types.

The fields are those of Anthropic's official SDK, and ``ApiKey.workspace_id`` that of the API's version 2023-06-01.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from airflow_provider_claude_code.api.unknown_fields import Documented, DocumentedRow

CLAUDE_CODE_WORKSPACE = "Claude Code"
"""The name of the workspace of everybody who has signed in to Claude Code with a Console account."""

# The values that the SDK lists; others are kept all the same.
KNOWN_ROLES = {
    "admin",
    "billing",
    "claude_code_user",
    "developer",
    "managed",
    "membership_admin",
    "owner",
    "primary_owner",
    "user",
}
KNOWN_WORKSPACE_ROLES = {
    "workspace_admin",
    "workspace_billing",
    "workspace_developer",
    "workspace_restricted_developer",
    "workspace_user",
}
KNOWN_STATUSES = {"active", "archived", "expired", "inactive"}
KNOWN_CREATORS = {"service_account", "user", None}

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a time zone."""
# It becomes a part of a path.
WorkspaceId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,128}\Z")]


class Item(DocumentedRow, frozen=True, kw_only=True):
    """An item of a list. Its times are converted to UTC, so that equal times have equal content."""

    # Not stored.
    type: Any = None

    def __post_init__(self) -> None:
        """Convert the times; msgspec adds the item's path to the message."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime):
                try:
                    msgspec.structs.force_setattr(self, name, value.astimezone(UTC))
                except OverflowError:
                    raise ValueError(f"`{name}` is out of range") from None


class Member(Item, frozen=True):
    """A member of the organisation."""

    NOT_SHOWN = DocumentedRow.NOT_SHOWN | {"id", "email", "name"}

    id: str
    email: str
    name: str | None
    role: str
    added_at: Moment


class Workspace(Item, frozen=True):
    """A workspace."""

    id: WorkspaceId
    name: str
    created_at: Moment
    archived_at: Moment | None = None
    # Not stored.
    compartment_id: Any = None
    data_residency: Any = None
    display_color: Any = None
    external_key_id: Any = None
    tags: Any = None
    user_profile_id: Any = None


class WorkspaceMember(Item, frozen=True):
    """A member of a workspace."""

    NOT_SHOWN = DocumentedRow.NOT_SHOWN | {"user_id"}

    user_id: str
    workspace_id: str
    workspace_role: str


class Creator(Documented, frozen=True):
    """Who has created a key."""

    id: str
    type: str


class Scope(Documented, frozen=True):
    """Where a key belongs: to a workspace or, without one, to the organisation."""

    workspace_id: str | None = None
    # Not stored.
    type: Any = None


class ApiKey(Item, frozen=True):
    """An API key, without the key itself."""

    NOT_SHOWN = DocumentedRow.NOT_SHOWN | {"id", "name", "created_by", "partial_key_hint", "principal"}

    id: str
    name: str
    status: str
    created_at: Moment
    created_by: Creator | None = None
    expires_at: Moment | None = None
    scope: Scope | None = None
    # Not in newer versions of the API, and null for keys of the default workspace.
    workspace_id: str | None = None
    # Not stored.
    partial_key_hint: Any = None
    principal: Any = None

    @property
    def workspace(self) -> str | None:
        """The id of the key's workspace."""
        return self.workspace_id if self.scope is None else self.scope.workspace_id

    @property
    def created_by_type(self) -> str | None:
        """What has created the key: a user, or a service account."""
        return self.created_by.type if self.created_by else None

    @property
    def created_by_user_id(self) -> str | None:
        """The id of the person who has created the key."""
        return self.created_by.id if self.created_by and self.created_by.type == "user" else None


class Listing(Documented, frozen=True, kw_only=True):
    """The body of one page."""

    has_more: bool
    # Not used.
    first_id: Any = None
    last_id: str | None = None


class Members(Listing, frozen=True):
    """A page of ``/v1/organizations/users``."""

    data: list[Member]


class Workspaces(Listing, frozen=True):
    """A page of ``/v1/organizations/workspaces``."""

    data: list[Workspace]


class WorkspaceMembers(Listing, frozen=True):
    """A page of ``/v1/organizations/workspaces/{id}/members``."""

    data: list[WorkspaceMember]


class ApiKeys(Listing, frozen=True):
    """A page of ``/v1/organizations/api_keys``."""

    data: list[ApiKey]

"""The tables of members, workspaces and API keys. Each column is defined once, with the source of its value."""

from __future__ import annotations

from airflow_provider_claude_code.streams.members.models import CLAUDE_CODE_WORKSPACE
from airflow_provider_claude_code.tables.contract import LOADED_AT, Column, PseudonymOf, Table
from airflow_provider_claude_code.tables.unknown_fields_column import UNKNOWN_FIELDS

DATE = Column("date", "DATE", "The UTC day of the snapshot.")

# The kinds are those of the same address, person or key in other streams, so that pseudonyms join.
ADDRESS = PseudonymOf(kind=lambda item: "user_actor")
PERSON = PseudonymOf(kind=lambda item: "user_id")
KEY = PseudonymOf(kind=lambda item: "api_actor")

MEMBERS = Table(
    "members",
    "day and member of the organisation",
    (
        DATE,
        Column(
            "user_id",
            "STRING",
            "Id of the person, which stays when the address changes; with actor_identity=hmac a pseudonym (API: id).",
            get="id",
            hmac=PERSON,
        ),
        Column(
            "email",
            "STRING",
            "E-mail address of the person; with actor_identity=hmac a pseudonym, the same as actor_id of a user_actor.",
            get="email",
            hmac=ADDRESS,
        ),
        Column(
            "name",
            "STRING",
            "Name of the person; null with actor_identity=hmac.",
            nullable=True,
            get="name",
            hmac="null",
        ),
        Column(
            "role",
            "STRING",
            "Role in the organisation: user, developer, billing, admin, claude_code_user; in Claude Enterprise user, "
            "owner, primary_owner, membership_admin, managed.",
            get="role",
            hmac="keep",
        ),
        Column("added_at", "TIMESTAMP", "When the person joined the organisation (UTC).", get="added_at"),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=("user_id",),
)

WORKSPACES = Table(
    "workspaces",
    "day and workspace, with the default one and those that are archived",
    (
        DATE,
        Column("workspace_id", "STRING", "Id of the workspace (API: id).", get="id", hmac="keep"),
        Column("name", "STRING", "Name of the workspace.", get="name", hmac="keep"),
        Column(
            "is_claude_code",
            "BOOL",
            f"Whether it is named {CLAUDE_CODE_WORKSPACE}: the workspace of those who have signed in to Claude Code "
            "with a Console account.",
            get=lambda workspaces: [workspace.name == CLAUDE_CODE_WORKSPACE for workspace in workspaces],
        ),
        Column("created_at", "TIMESTAMP", "When it was created (UTC).", get="created_at"),
        Column(
            "archived_at",
            "TIMESTAMP",
            "When it was archived (UTC); null when it is not.",
            nullable=True,
            get="archived_at",
        ),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=(),
)

WORKSPACE_MEMBERS = Table(
    "workspace_members",
    "day, workspace that is not archived, and member of it",
    (
        DATE,
        Column("workspace_id", "STRING", "Id of the workspace.", get="workspace_id", hmac="keep"),
        Column(
            "user_id",
            "STRING",
            "Id of the person; with actor_identity=hmac a pseudonym.",
            get="user_id",
            hmac=PERSON,
        ),
        Column(
            "workspace_role",
            "STRING",
            "Role in the workspace: workspace_user, workspace_developer, workspace_restricted_developer, "
            "workspace_admin or workspace_billing.",
            get="workspace_role",
            hmac="keep",
        ),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=("workspace_id", "user_id"),
)

API_KEYS = Table(
    "api_keys",
    "day and API key, whatever its status",
    (
        DATE,
        Column(
            "api_key_id",
            "STRING",
            "Id of the key, which is actor_id of an api_actor in cost; with actor_identity=hmac a pseudonym (API: id).",
            get="id",
            hmac=KEY,
        ),
        Column(
            "name",
            "STRING",
            "Name of the key, which is actor_id of an api_actor in usage and may change or repeat; with "
            "actor_identity=hmac a pseudonym.",
            get="name",
            hmac=KEY,
        ),
        Column(
            "status",
            "STRING",
            "active, inactive, archived or expired.",
            get="status",
            hmac="keep",
        ),
        Column(
            "workspace_id",
            "STRING",
            "The key's workspace; null for a key of the organisation (API: scope.workspace_id; without a scope "
            "workspace_id, which is also null for the default workspace).",
            nullable=True,
            get="workspace",
            hmac="keep",
        ),
        Column(
            "created_by_user_id",
            "STRING",
            "Id of the person who created the key; null when the API does not say, or a service account created it; "
            "with actor_identity=hmac a pseudonym (API: created_by.id).",
            nullable=True,
            get="created_by_user_id",
            hmac=PERSON,
        ),
        Column(
            "created_by_type",
            "STRING",
            "user or service_account; null when the API does not say who created the key (API: created_by.type).",
            nullable=True,
            get="created_by_type",
            hmac="keep",
        ),
        Column("created_at", "TIMESTAMP", "When the key was created (UTC).", get="created_at"),
        Column(
            "expires_at",
            "TIMESTAMP",
            "When the key expires (UTC); null when it does not.",
            nullable=True,
            get="expires_at",
        ),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=("api_key_id",),
)

TABLES = (MEMBERS, WORKSPACES, WORKSPACE_MEMBERS, API_KEYS)

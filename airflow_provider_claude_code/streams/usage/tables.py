"""The tables of Claude Code usage. Each column is defined once, with the source of its value."""

from __future__ import annotations

from operator import attrgetter

from airflow_provider_claude_code.tables.contract import LOADED_AT, Column, PseudonymOf, Table
from airflow_provider_claude_code.tables.unknown_fields_column import UNKNOWN_FIELDS

KEY = (
    "date",
    "organization_id",
    "actor_type",
    "actor_id",
    "customer_type",
    "subscription_type",
    "terminal_type",
    "is_remote",
)
"""The columns that identify a record on its day, in the order in which ``record_id`` has them."""

SHARED_COLUMNS = (
    Column(
        "record_id",
        "STRING",
        "Joins the tables of one load of a day. Do not join different loads with it. First 32 hex digits of a SHA-256 "
        "over the record's key. Personal data, as actor_id is.",
        hmac="keep",
    ),
    Column(
        "key_ordinal",
        "INT64",
        "0 for the first record of the day with its key, and 1, 2, ... for others with the same key. Nothing is merged "
        "or dropped.",
    ),
    Column("date", "DATE", "The UTC day of the usage."),
    Column(
        "organization_id",
        "STRING",
        "The organisation that owns the usage (API: organization_id).",
        get="organization_id",
        hmac="keep",
    ),
    Column(
        "actor_type",
        "STRING",
        "user_actor, api_actor, or a kind that the API adds later (API: actor.type).",
        get="actor_type",
        hmac="keep",
    ),
    Column(
        "actor_id",
        "STRING",
        "E-mail address of a user_actor, key name of an api_actor, canonical JSON of a later kind; with "
        "actor_identity=hmac a pseudonym of 64 hex digits.",
        nullable=True,
        get="actor_id",
        hmac=PseudonymOf(kind=attrgetter("actor_type")),
    ),
    Column(
        "customer_type",
        "STRING",
        "api or subscription (API: customer_type).",
        get="customer_type",
        hmac="keep",
    ),
    Column(
        "subscription_type",
        "STRING",
        "enterprise, team, or null when the API gives none (API: subscription_type).",
        nullable=True,
        get="subscription_type",
        hmac="keep",
    ),
    Column(
        "terminal_type",
        "STRING",
        "Where Claude Code ran: vscode, iTerm.app, tmux, ... (API: terminal_type).",
        get="terminal_type",
        hmac="keep",
    ),
    Column(
        "is_remote",
        "BOOL",
        "Whether the sessions ran remotely; null when the API does not say, as in older payloads (API: is_remote).",
        nullable=True,
        get="is_remote",
    ),
)
"""The columns that the three tables have in common, made from a record."""

KNOWN_TOOLS = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
"""The tools that the API reference lists; others are carried in ``tool_usage``."""

TOKEN_KINDS = ("input", "output", "cache_read", "cache_creation")

_OF_A_RECORD = "Sum over the record's models; null (unknown) when the record has no model detail."
_IN_ONE_CURRENCY = "Also null when the currencies of the models differ."
_COST = "Estimated cost in minor units of the currency: cents for USD, not dollars (API: estimated_cost.amount)."
_CURRENCY = "Currency of the cost, so far always USD (API: estimated_cost.currency)."

USAGE = Table(
    "usage",
    "API record: one actor on one day in one terminal type, locally or remotely",
    (
        *SHARED_COLUMNS,
        Column(
            "num_sessions",
            "INT64",
            "Sessions; may be 0 in a record with other activity (API: core_metrics).",
            get="core_metrics.num_sessions",
        ),
        Column(
            "lines_of_code_added",
            "INT64",
            "Lines added (API: core_metrics.lines_of_code.added).",
            get="core_metrics.lines_of_code.added",
        ),
        Column(
            "lines_of_code_removed",
            "INT64",
            "Lines removed (API: core_metrics.lines_of_code.removed).",
            get="core_metrics.lines_of_code.removed",
        ),
        Column(
            "commits_by_claude_code",
            "INT64",
            "Commits made by Claude Code (API: core_metrics).",
            get="core_metrics.commits_by_claude_code",
        ),
        Column(
            "pull_requests_by_claude_code",
            "INT64",
            "Pull requests made by Claude Code (API: core_metrics).",
            get="core_metrics.pull_requests_by_claude_code",
        ),
        *(
            Column(
                f"{tool}_{outcome}",
                "INT64",
                f"Suggestions of {tool} that people {outcome}; 0 when the record has no {tool}.",
            )
            for tool in KNOWN_TOOLS
            for outcome in ("accepted", "rejected")
        ),
        Column("tool_actions_accepted", "INT64", "Accepted suggestions of all tools, including undocumented ones."),
        Column("tool_actions_rejected", "INT64", "Rejected suggestions of all tools, including undocumented ones."),
        Column(
            "model_count",
            "INT64",
            "Entries of model_breakdown; often 0, which means that the record has no model detail.",
        ),
        *(
            Column(f"{kind}_tokens", "INT64", f"Tokens (API: tokens.{kind}). {_OF_A_RECORD}", nullable=True)
            for kind in TOKEN_KINDS
        ),
        Column("estimated_cost_cents", "NUMERIC", f"{_COST} {_OF_A_RECORD} {_IN_ONE_CURRENCY}", nullable=True),
        Column("currency", "STRING", f"{_CURRENCY} {_IN_ONE_CURRENCY}", nullable=True, hmac="keep"),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
)

MODEL_USAGE = Table(
    "model_usage",
    "record and entry of its model_breakdown",
    (
        *SHARED_COLUMNS,
        Column(
            "model",
            "STRING",
            "Model identifier (API: model_breakdown[].model).",
            get="model",
            hmac="keep",
        ),
        *(
            Column(f"{kind}_tokens", "INT64", f"Tokens (API: tokens.{kind}).", get=f"tokens.{kind}")
            for kind in TOKEN_KINDS
        ),
        Column("estimated_cost_cents", "NUMERIC", _COST),
        Column("currency", "STRING", _CURRENCY, get="estimated_cost.currency", hmac="keep"),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=("actor_id", "model"),
)

TOOL_USAGE = Table(
    "tool_usage",
    "record and tool",
    (
        *SHARED_COLUMNS,
        Column("tool_name", "STRING", "Tool identifier (API: key of tool_actions).", hmac="keep"),
        Column("accepted", "INT64", "Suggestions of the tool that people accepted.", get="accepted"),
        Column("rejected", "INT64", "Suggestions of the tool that people rejected.", get="rejected"),
        UNKNOWN_FIELDS,
        LOADED_AT,
    ),
    clustering=("actor_id", "tool_name"),
)

TABLES = (USAGE, MODEL_USAGE, TOOL_USAGE)

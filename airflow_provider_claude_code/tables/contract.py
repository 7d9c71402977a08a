"""
The columns of the four tables, defined once.

The Arrow schema, the BigQuery schema and the documentation are made from these definitions. New columns are
added at the end of a table, nullable, together with a new ``SCHEMA_VERSION``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SCHEMA_VERSION = 1

FileFormat = Literal["parquet", "ndjson", "csv"]
EXTENSIONS: dict[FileFormat, str] = {"parquet": "parquet", "ndjson": "ndjson.gz", "csv": "csv.gz"}
"""How the files of each format are named."""

ColumnType = Literal["STRING", "INT64", "BOOL", "DATE", "TIMESTAMP", "NUMERIC"]


@dataclass(frozen=True)
class Column:
    """
    One column.

    :param name: its name in every target.
    :param type: BigQuery's name of its type.
    :param description: meaning, unit and source.
    :param nullable: whether it may be null; when not, the writer checks it.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """
    One table.

    :param name: its short name, as in ``tables=`` and in file paths.
    :param grain: what one row stands for.
    :param columns: its columns, in order.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]

    @property
    def own_columns(self) -> tuple[Column, ...]:
        """The columns between those that all data tables share and ``loaded_at``."""
        return self.columns[len(SHARED_COLUMNS) : -1]


SHARED_COLUMNS = (
    Column(
        "record_id",
        "STRING",
        "Joins the tables of one load of a day; not an identity across loads. First 32 hex digits of a SHA-256 "
        "over the record's key. Personal data as much as actor_id is.",
    ),
    Column(
        "key_ordinal",
        "INT64",
        "0; counts up when the API reports the same key more than once on a day (nothing is merged or dropped).",
    ),
    Column("date", "DATE", "The UTC day of the usage."),
    Column("organization_id", "STRING", "The organisation that owns the usage (API: organization_id)."),
    Column("actor_type", "STRING", "user_actor, api_actor, or a kind that the API adds later (API: actor.type)."),
    Column(
        "actor_id",
        "STRING",
        "E-mail address of a user_actor, key name of an api_actor, canonical JSON of a later kind; with "
        "actor_identity=hmac a pseudonym of 64 hex digits.",
        nullable=True,
    ),
    Column("customer_type", "STRING", "api or subscription (API: customer_type)."),
    Column(
        "subscription_type",
        "STRING",
        "enterprise, team, or null when the API gives none (API: subscription_type).",
        nullable=True,
    ),
    Column("terminal_type", "STRING", "Where Claude Code ran: vscode, iTerm.app, tmux, ... (API: terminal_type)."),
    Column(
        "is_remote",
        "BOOL",
        "Whether the sessions ran remotely; null when the API does not say, as in older payloads (API: is_remote).",
        nullable=True,
    ),
)
"""The columns that the three tables of a day begin with."""

_LOADED_AT = Column(
    "loaded_at", "TIMESTAMP", "When this load of the day began (UTC); the same in every table of the load."
)

KNOWN_TOOLS = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
"""The tools that the API reference lists; others are carried in ``tool_usage``."""

MONEY_PLACES: Final = 9
"""Decimal places of a NUMERIC, as BigQuery has it."""

TOKEN_KINDS = ("input", "output", "cache_read", "cache_creation")


def _tool_columns() -> tuple[Column, ...]:
    return tuple(
        Column(
            f"{tool}_{outcome}",
            "INT64",
            f"How often people {outcome} what {tool} offered; 0 when the record has no {tool}.",
        )
        for tool in KNOWN_TOOLS
        for outcome in ("accepted", "rejected")
    )


def _cost_columns(*, of_a_record: bool) -> tuple[Column, ...]:
    scope = "Sum over the record's models; null when it names none: unknown is not 0." if of_a_record else ""
    mixed = " Null also when the models' currencies differ." if of_a_record else ""
    return (
        *(
            Column(
                f"{kind}_tokens",
                "INT64",
                f"Tokens (API: tokens.{kind}). {scope}".strip(),
                nullable=of_a_record,
            )
            for kind in TOKEN_KINDS
        ),
        Column(
            "estimated_cost_cents",
            "NUMERIC",
            "Estimated cost in minor units of the currency: cents for USD, NOT dollars "
            f"(API: estimated_cost.amount). {scope}{mixed}".strip(),
            nullable=of_a_record,
        ),
        Column(
            "currency",
            "STRING",
            f"Currency of the cost, so far always USD (API: estimated_cost.currency).{mixed}",
            nullable=of_a_record,
        ),
    )


USAGE = Table(
    "usage",
    "API record: one actor on one day in one terminal type, locally or remotely",
    (
        *SHARED_COLUMNS,
        Column("num_sessions", "INT64", "Sessions; 0 with other activity happens (API: core_metrics)."),
        Column("lines_of_code_added", "INT64", "Lines added (API: core_metrics.lines_of_code.added)."),
        Column("lines_of_code_removed", "INT64", "Lines removed (API: core_metrics.lines_of_code.removed)."),
        Column("commits_by_claude_code", "INT64", "Commits made by Claude Code (API: core_metrics)."),
        Column("pull_requests_by_claude_code", "INT64", "Pull requests made by Claude Code (API: core_metrics)."),
        *_tool_columns(),
        Column("tool_actions_accepted", "INT64", "Accepted actions of all tools, known or not."),
        Column("tool_actions_rejected", "INT64", "Rejected actions of all tools, known or not."),
        Column("model_count", "INT64", "Entries of model_breakdown; 0 is normal and means: no detail."),
        *_cost_columns(of_a_record=True),
        _LOADED_AT,
    ),
)

MODEL_USAGE = Table(
    "model_usage",
    "record and entry of its model_breakdown",
    (
        *SHARED_COLUMNS,
        Column("model", "STRING", "Model identifier (API: model_breakdown[].model)."),
        *_cost_columns(of_a_record=False),
        _LOADED_AT,
    ),
)

TOOL_USAGE = Table(
    "tool_usage",
    "record and tool",
    (
        *SHARED_COLUMNS,
        Column("tool_name", "STRING", "Tool identifier (API: key of tool_actions)."),
        Column("accepted", "INT64", "How often people accepted what the tool offered."),
        Column("rejected", "INT64", "How often people rejected what the tool offered."),
        _LOADED_AT,
    ),
)

LOADS = Table(
    "loads",
    "load of a day and table; written last, and kept unless another load came in between",
    (
        Column("load_id", "STRING", "Identifies the load; sorts by time."),
        Column("organization_id", "STRING", "The organisation of the key that loaded the day."),
        Column("date", "DATE", "The UTC day that was loaded."),
        Column("table_name", "STRING", "usage, model_usage or tool_usage."),
        Column("row_count", "INT64", "Rows of the day in the table; 0 means loaded and empty."),
        Column("num_sessions", "INT64", "Sum of num_sessions over the day's records."),
        Column(
            "estimated_cost_cents",
            "NUMERIC",
            "Sum over the day's model entries in minor units of the currency (cents); null when their currencies "
            "differ.",
            nullable=True,
        ),
        Column(
            "content_digest",
            "STRING",
            "32 hex digits that change when the table's content of the day does, whatever its order; without "
            "loaded_at, record_id and key_ordinal.",
        ),
        Column("complete", "BOOL", "Whether the day was past the API's freshness delay when it was read."),
        Column("repeated_keys", "INT64", "Records whose key had come before on the day (key_ordinal above 0)."),
        Column(
            "unknown_names",
            "STRING",
            "JSON array of what the API reference did not list when this version was made: names of tools and actor "
            "kinds, paths of fields, such as data[].new_field, and of fields with an unlisted value.",
        ),
        Column("actor_identity", "STRING", "plain, or hmac when actor_id holds pseudonyms."),
        Column(
            "pseudonym_key_id",
            "STRING",
            "Fingerprint of the pseudonym secret, to tell a change of it; null with actor_identity=plain.",
            nullable=True,
        ),
        Column("schema_version", "INT64", "Version of these table definitions."),
        Column("provider_version", "STRING", "Version of airflow-provider-claude-code."),
        Column("dag_id", "STRING", "The Dag that loaded the day.", nullable=True),
        Column("run_id", "STRING", "Its run.", nullable=True),
        _LOADED_AT,
    ),
)

FILE_LOADS = Table(
    LOADS.name,
    LOADS.grain,
    (
        *LOADS.columns,
        Column(
            "path",
            "STRING",
            "The table's file of the day, relative to the target's path; null when there is none, since the day was "
            "empty from the start.",
            nullable=True,
        ),
        Column("bytes", "INT64", "Size of that file.", nullable=True),
        Column("sha256", "STRING", "SHA-256 of that file, 64 hex digits.", nullable=True),
    ),
)
"""``loads`` as it is written beside files: the commit record that a torn day is found by."""

DATA_TABLES: dict[str, Table] = {table.name: table for table in (USAGE, MODEL_USAGE, TOOL_USAGE)}
"""The tables that hold a day, by name."""


def markdown_reference() -> str:
    """Return the four tables as Markdown, for the README and for data catalogues."""
    sections = []
    for table in (*DATA_TABLES.values(), FILE_LOADS):
        lines = [
            f"#### `{table.name}`: one row per {table.grain}",
            "",
            "| column | type | null | meaning |",
            "|---|---|---|---|",
            *(
                f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {column.description} |"
                for column in table.columns
            ),
        ]
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"

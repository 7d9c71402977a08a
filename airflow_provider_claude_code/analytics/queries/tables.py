"""The tables that users may add: a roster, a mapping, and the days on which people used other AI tools."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_claude_code.tables.contract import Column, Table

_VALID_TO = Column("valid_to", "DATE", "Last day; null means no limit.", nullable=True)
TABLES_OF_USERS = {
    table.name: table
    for table in (
        Table(
            "roster",
            "person who may use Claude Code",
            (
                Column(
                    "actor_id",
                    "STRING",
                    "The person's address as in `usage`, in upper or lower case (A to Z); with actor_identity=hmac the "
                    "pseudonym.",
                ),
                Column(
                    "valid_from",
                    "DATE",
                    "First day on which the person may use Claude Code; null means no limit.",
                    nullable=True,
                ),
                _VALID_TO,
            ),
        ),
        Table(
            "mapping",
            "actor and group",
            (
                Column(
                    "actor_type",
                    "STRING",
                    "user_actor for a person, api_actor for an API key, machine for an API key that no person works "
                    "with, such as that of a pipeline. Keys that are not machines count as people in small groups.",
                ),
                Column(
                    "actor_id",
                    "STRING",
                    "The address, in upper or lower case (A to Z), or exactly the key's name, as in `usage`; with "
                    "actor_identity=hmac the pseudonym.",
                ),
                Column("team", "STRING", "The group."),
                Column("cost_centre", "STRING", "Who pays for it; may be null.", nullable=True),
                Column(
                    "valid_from",
                    "DATE",
                    "First day on which the actor is in the group; null means no limit.",
                    nullable=True,
                ),
                replace(_VALID_TO, description=f"{_VALID_TO.description} No two rows of an actor share a day."),
            ),
        ),
    )
}
"""The roster and the mapping, by name. In a file, a column that is nullable may be missing."""

_ADDRESS = "The person's address as in `usage`, in upper or lower case; with actor_identity=hmac the pseudonym."

TABLES_OF_TOOLS = {
    table.name: table
    for table in (
        Table(
            "other_tool_days",
            "tool, person and day",
            (
                Column("tool", "STRING", "Name of the tool, as the report shows it."),
                Column("date", "DATE", "The UTC day."),
                Column("actor_id", "STRING", _ADDRESS),
                Column("is_active", "BOOL", "Whether the person was active with the tool."),
            ),
        ),
        Table(
            "copilot_usage",
            "person and day of the user-level usage metrics of GitHub Copilot, as downloaded",
            (
                Column("day", "DATE", "The day."),
                Column("user_login", "STRING", "The person's login at GitHub."),
                Column("user_initiated_interaction_count", "INT64", "Prompts.", nullable=True),
                Column("code_generation_activity_count", "INT64", "Generations.", nullable=True),
                Column("code_acceptance_activity_count", "INT64", "Acceptances.", nullable=True),
                Column("loc_added_sum", "INT64", "Lines that were added.", nullable=True),
                Column("used_agent", "BOOL", "Whether agent mode was used.", nullable=True),
                Column("used_chat", "BOOL", "Whether chat was used.", nullable=True),
                Column("used_cli", "BOOL", "Whether the CLI was used.", nullable=True),
            ),
        ),
        Table(
            "copilot_logins",
            "login at GitHub; needed with copilot_usage",
            (
                Column("login", "STRING", "The person's login at GitHub, in upper or lower case."),
                Column("actor_id", "STRING", _ADDRESS),
            ),
        ),
        Table(
            "cursor_usage",
            "person and day of Cursor's daily usage data, as the Admin API returns it in `data`, or as the dashboard "
            "exports it to CSV",
            (
                Column("date", "STRING", "The day: milliseconds since 1970 (in BigQuery INT64), or text."),
                Column("email", "STRING", _ADDRESS),
                Column("isActive", "BOOL", "Whether the person was active; `Is Active` in CSV files."),
            ),
        ),
    )
}
"""The exports of other tools, which only the report reads, by name. In a file, a nullable column may be missing."""

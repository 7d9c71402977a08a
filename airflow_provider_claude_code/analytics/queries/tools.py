"""Tables of days on which people used other AI tools. Users may pass them to a report."""

from __future__ import annotations

from airflow_provider_claude_code.tables.contract import Column, Table

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
"""The tables by name. In a file, a column that is nullable may be missing."""

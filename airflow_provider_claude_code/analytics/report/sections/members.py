"""Which members of the organisation use Claude Code."""

from __future__ import annotations

from functools import partial

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, total
from airflow_provider_claude_code.analytics.report.elements import Cell, Name, Note, Section
from airflow_provider_claude_code.analytics.report.sections.common import small_groups_note, table_of
from airflow_provider_claude_code.analytics.report.wording import day, number

_COUNTS = {
    "members": "Members",
    "signed_in_members": "Signed in to Claude Code",
    "active_members": "Active in 28 days",
    "idle_members": "Idle",
}


def members(organization: Organization, settings: Settings) -> list[Section]:
    """Show how many members are active and idle, where a snapshot of them is loaded."""
    rows = organization.members
    if not rows:
        return []
    newest = rows[0]
    every: Row = {"role": None, **{column: total(rows, column) for column in _COUNTS}}

    def role(row: Row) -> Cell:
        return "All roles" if row["role"] is None else Name(row["role"])

    note = (
        "A Console member does not necessarily have a paid seat. People who work with claude.ai seats look idle, since "
        "their usage is not in these numbers. "
        + small_groups_note(settings, rows, "role", "roles of fewer than {size} members")
    )
    if newest["active_members"] is not None and newest["days_loaded_28"] < 28:
        note += f" Only {newest['days_loaded_28']} of the 28 days are loaded completely, so some may only look idle."
    return [
        Section(
            "Members",
            [
                table_of(
                    f"Members by role on {day(newest['date'])}",
                    [every, *rows],
                    (
                        ("Role", role),
                        *((heading, partial(_count, column)) for column, heading in _COUNTS.items()),
                    ),
                ),
                Note(note, "note"),
            ],
        )
    ]


def _count(column: str, row: Row) -> str:
    return number(row[column])

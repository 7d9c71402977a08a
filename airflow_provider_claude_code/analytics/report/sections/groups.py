"""Which groups and people use Claude Code."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report.data import UNMAPPED, Organization, Row, folded
from airflow_provider_claude_code.analytics.report.elements import Element, Name, Note, Section, Table
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_ROWS,
    found,
    share,
    small_groups_note,
    table_of,
)
from airflow_provider_claude_code.analytics.report.wording import NOTHING, count, dollars, number, or_nothing, percent


def groups(organization: Organization, settings: Settings) -> Section:
    """Show the groups of a mapping, or say what is wrong with it."""
    rows = organization.groups
    elements: list[Element] = []
    if {row["team"] for row in rows} <= {UNMAPPED}:
        if wrong := found(organization, "mapping"):
            elements.append(Note(f"No groups: see what is wrong with the mapping. {wrong}", "warning"))
        else:
            hint = "a mapping of people and API keys to teams and cost centres would split these numbers."
            elements.append(Note(f"No groups: {hint}"))
    if rows:
        folding = small_groups_note(settings, rows, "team", "groups of fewer than {size} people")
        elements += [_largest_groups(rows), Note(folding, "note")]
    return Section("Groups", elements)


def _largest_groups(rows: Sequence[Row]) -> Table:
    sums = ("sessions", "sessions_with_model_detail", "api_cost_usd", "subscription_value_usd")

    def with_detail(row: Row) -> str:
        return or_nothing(percent, share(row["sessions_with_model_detail"], row["sessions"]))

    return table_of(
        "Groups with the most sessions",
        folded(rows, "team", MOST_ROWS, sums),
        (
            ("Team", lambda row: Name(row["team"])),
            ("Cost centre", lambda row: Name(row["cost_centre"]) if row.get("cost_centre") else NOTHING),
            ("People", lambda row: or_nothing(number, row.get("people"))),
            ("API keys", lambda row: or_nothing(number, row.get("keys"))),
            ("Sessions", lambda row: number(row["sessions"])),
            ("With model detail", with_detail),
            ("API cost", lambda row: dollars(row["api_cost_usd"])),
            ("Subscription value", lambda row: dollars(row["subscription_value_usd"])),
        ),
        text_columns=(1,),
    )


def people(organization: Organization) -> list[Section]:
    """Show the people with the most sessions, when that was asked for."""
    if organization.people is None:
        return []
    warning = (
        "This part is personal data. Share this report only with those who may see it; the numbers are no measure of "
        "anybody's performance."
    )
    shown = organization.people[:MOST_ROWS]
    table = table_of(
        f"The {count(len(shown), 'person', 'people')} with the most sessions, of {number(len(organization.people))}",
        shown,
        (
            ("Person", lambda row: Name(row["actor_id"])),
            ("Active days", lambda row: number(row["active_days"])),
            ("Sessions", lambda row: number(row["sessions"])),
            ("Lines added", lambda row: number(row["lines_added"])),
            ("Commits", lambda row: number(row["commits"])),
            ("Pull requests", lambda row: number(row["pull_requests"])),
            ("Acceptance rate", lambda row: or_nothing(percent, row["acceptance_rate"])),
            ("API cost", lambda row: dollars(row["api_cost_usd"])),
            ("Subscription value", lambda row: dollars(row["subscription_value_usd"])),
        ),
    )
    return [Section("People", [Note(warning, "warning"), table])]

"""Which groups and people use Claude Code."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization, folded
from airflow_provider_claude_code.analytics.report.elements import Element, Name, Note, Section, Table
from airflow_provider_claude_code.analytics.report.sections.charges import charged_note
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_ROWS,
    breakdown_of,
    found,
    no_breakdown,
    small_groups_note,
    table_of,
)
from airflow_provider_claude_code.analytics.report.wording import (
    NOTHING,
    amount,
    count,
    dollars,
    number,
    or_nothing,
    percent,
)


def groups(organization: Organization, settings: Settings) -> Section:
    """Show the groups of a mapping, or a note on what is wrong with it."""
    rows = organization.groups
    if organization.breakdown is None:
        return Section("Groups", [no_breakdown(settings)])
    elements: list[Element] = []
    if {row["team"] for row in rows} <= {Settings.unmapped, Settings.unattributed}:
        if wrong := found(organization, "mapping"):
            elements.append(Note(f"Not split by team: see what is wrong with the mapping. {wrong}", "warning"))
        else:
            elements.append(Note("Not split by team: provide a mapping to see teams and cost centres."))
    else:
        folding = small_groups_note(settings, rows, "team", "groups of fewer than {size} people")
        kinds = [kind for kind in _HEADINGS if any(row["amount"] == kind for row in rows)]
        elements += [_largest_groups(organization, kind, is_first=kind == kinds[0]) for kind in kinds]
        if organization.hides_charges:
            why = f"other products, for which fewer than {settings.min_group_size} people were charged"
            elements.append(Note(f"Charges by group are not shown, since they include {why}.", "note"))
        elements += [
            Note(f"Do not add these amounts to each other. {folding}", "note"),
            *charged_note([row for row in rows if row["amount"] == "charged"], "amount_usd"),
            *compared_with_before(organization),
        ]
    return Section("Groups", elements)


_HEADINGS = {"charged": "Charged", "api_cost": "API cost", "subscription_value": "Subscription value"}
"""What each kind of amount of ``cost_allocation`` is called, the most telling first."""


def _largest_groups(organization: Organization, kind: str, *, is_first: bool) -> Table:
    heading = _HEADINGS[kind]
    caption = f"{heading} by group{breakdown_of(organization)}"
    rows = [row for row in organization.groups if row["amount"] == kind]
    return table_of(
        caption,
        folded(rows, "team", MOST_ROWS, ("amount_usd",)),
        (
            ("Team", lambda row: Name(row["team"])),
            ("Cost centre", lambda row: Name(row["cost_centre"]) if row.get("cost_centre") else NOTHING),
            ("People", lambda row: or_nothing(number, row.get("people"))),
            ("Machines", lambda row: or_nothing(number, row.get("machines"))),
            (heading, lambda row: dollars(row["amount_usd"])),
        ),
        text_columns=(1,),
        summary="" if is_first else f"Table: {caption}",
    )


def compared_with_before(organization: Organization) -> list[Element]:
    """Show the groups that have a name in both the week or month and the one before; nothing if there are none."""
    before = {_group(row): row for row in organization.groups_before}
    pairs = [
        (row, before[_group(row)])
        for row in organization.groups
        if _group(row) in before and row["team"] not in (Settings.small_groups, Settings.unattributed)
    ]
    if not {row["team"] for row, _ in pairs} - {Settings.unmapped}:
        return []
    unit = "week" if pairs[0][0]["days_in_period"] == 7 else "month"
    if any(row["days_loaded"] < row["days_in_period"] for pair in pairs for row in pair):
        why = "not all days of both are loaded completely"
        return [Note(f"Groups are not compared with the {unit} before: {why}.", "note")]
    of_kind = {kind: [pair for pair in pairs if pair[0]["amount"] == kind][:MOST_ROWS] for kind in _HEADINGS}
    return [
        _table_with_before(_HEADINGS[kind], unit, rows)
        if all(row["charged_days"] in (None, row["days_in_period"]) for pair in rows for row in pair)
        else Note(
            f"Charges by group are not compared with the {unit} before: not all days of both have charges.", "note"
        )
        for kind, rows in of_kind.items()
        if rows
    ]


def _group(row: Row) -> tuple[str, str, str | None]:
    return row["amount"], row["team"], row["cost_centre"]


def _table_with_before(heading: str, unit: str, pairs: Sequence[tuple[Row, Row]]) -> Table:
    caption = f"{heading} by group, against the {unit} before"
    return Table(
        caption,
        ("Team", "Cost centre", "People", "People before", heading, f"{heading} before"),
        [
            (
                Name(now["team"]),
                Name(now["cost_centre"]) if now["cost_centre"] else NOTHING,
                *(number(row["people"]) for row in (now, before)),
                *(dollars(row["amount_usd"]) for row in (now, before)),
            )
            for now, before in pairs
        ],
        text_columns=(1,),
        summary=f"Table: {caption}",
    )


def people(organization: Organization) -> list[Section]:
    """Show the people with the most sessions, if requested."""
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
            ("API cost", lambda row: amount(row["api_cost_usd"])),
            ("Subscription value", lambda row: amount(row["subscription_value_usd"])),
        ),
    )
    return [Section("People", [Note(warning, "warning"), table], is_personal=True)]

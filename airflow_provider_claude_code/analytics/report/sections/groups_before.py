"""Groups compared with the previous week or month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.data import Organization, Row
from airflow_provider_claude_code.analytics.report.elements import Element, Name, Note, Table
from airflow_provider_claude_code.analytics.report.sections.common import MOST_ROWS
from airflow_provider_claude_code.analytics.report.wording import NOTHING, dollars, number


def groups_before(organization: Organization, amounts: Mapping[str, str]) -> list[Element]:
    """
    Show the groups that have a name in both weeks or months; nothing if there are none.

    :param organization: the data about an organisation.
    :param amounts: the label of each kind of amount.
    """
    before = {_group(row): row for row in organization.groups_before}
    pairs = [
        (row, before[_group(row)])
        for row in organization.groups
        if _group(row) in before and row["team"] not in (Settings.small_groups, Settings.unattributed)
    ]
    if not {row["team"] for row, _ in pairs} - {Settings.unmapped}:
        return []
    if any(row["days_loaded"] < row["days_in_period"] for pair in pairs for row in pair):
        return [Note("Groups are not compared with before: not all days of both are loaded completely.", "note")]
    of_kind = {kind: [pair for pair in pairs if pair[0]["amount"] == kind][:MOST_ROWS] for kind in amounts}
    return [
        _table(amounts[kind], rows)
        if all(row["charged_days"] in (None, row["days_in_period"]) for pair in rows for row in pair)
        else Note("Charges by group are not compared with before: not all days of both have charges.", "note")
        for kind, rows in of_kind.items()
        if rows
    ]


def _group(row: Row) -> tuple[str, str, str | None]:
    return row["amount"], row["team"], row["cost_centre"]


def _table(heading: str, pairs: Sequence[tuple[Row, Row]]) -> Table:
    unit = "week" if pairs[0][0]["days_in_period"] == 7 else "month"
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

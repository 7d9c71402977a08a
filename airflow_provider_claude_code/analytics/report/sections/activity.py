"""What people do with Claude Code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, Row, folded, total
from airflow_provider_claude_code.analytics.report.elements import Figure, Name, Note, Section
from airflow_provider_claude_code.analytics.report.sections.by_day import day_table, shaded, shading_note
from airflow_provider_claude_code.analytics.report.sections.common import MOST_BARS, small_groups_note, table_of
from airflow_provider_claude_code.analytics.report.wording import day, number, percent, spoken
from airflow_provider_claude_code.quoting import visible


def acceptance(key: str, organization: Organization, settings: Settings) -> Section:
    """Show how much of what each tool offered was accepted."""
    heading = "Acceptance by tool"
    tools = [row for row in organization.tools if row["offered"]]
    if not tools:
        return Section(heading, [Note("No tool offered anything in this period.")])
    shown = folded(tools, "tool_name", MOST_BARS, ("offered", "accepted"))
    offered, accepted = total(tools, "offered"), total(tools, "accepted")
    message = f"{number(accepted)} of {number(offered)} offered actions were accepted, {percent(accepted / offered)}."
    each = [f"{spoken(row['tool_name'])} {percent(_rate(row))}" for row in shown]
    chart = charts.bar_chart(
        f"{key}-tools",
        f"Acceptance rate by tool. {message} {', '.join(each)}.",
        [
            charts.Bar(
                visible(row["tool_name"]),
                _rate(row),
                f"{number(row['accepted'])} of {number(row['offered'])}: {percent(_rate(row))}",
            )
            for row in shown
        ],
        charts.FIRST_COLOUR,
        of_whole=True,
    )
    folding = small_groups_note(settings, tools, "tool_name", "tools of fewer than {size} people on a day")
    return Section(
        heading,
        [
            Figure(
                "Accepted of offered actions", f"{message} The tool that offered most comes first. {folding}", chart
            ),
            table_of(
                "Accepted and offered actions by tool",
                tools,
                (
                    ("Tool", lambda row: Name(row["tool_name"])),
                    ("Acceptance rate", lambda row: percent(_rate(row))),
                    ("Accepted", lambda row: number(row["accepted"])),
                    ("Offered", lambda row: number(row["offered"])),
                ),
                summary="Table: accepted of offered actions",
            ),
        ],
    )


def _rate(tool: Row) -> float:
    rate: float = tool["accepted"] / tool["offered"]
    return rate


_RESULTS = (
    ("Lines added", "lines_added"),
    ("Lines removed", "lines_removed"),
    ("Commits", "commits"),
    ("Pull requests", "pull_requests"),
)


def lines_and_commits(key: str, organization: Organization) -> Section:
    """Show what came of the sessions by day."""
    table = day_table(
        organization,
        "Lines, commits and pull requests",
        "Table: lines and commits",
        [(label, _summing(name)) for label, name in _RESULTS],
    )
    return Section(
        "Lines and commits",
        [
            _per_day(key, organization, "lines_added", "Lines added", charts.FIRST_COLOUR),
            _per_day(key, organization, "commits", "Commits", charts.SECOND_COLOUR),
            table,
            Note(f"They measure activity, not its worth.{shading_note(organization)}", "note"),
        ],
    )


def _per_day(key: str, organization: Organization, name: str, heading: str, colour: str) -> Figure:
    most = max(organization.loaded, key=lambda row: row[name])
    message = (
        f"{number(organization.totals[name])} in the period; the most on a day were {number(most[name])}, on "
        f"{day(most['date'])}."
    )
    chart = charts.column_chart(
        f"{key}-{name}",
        f"{heading} per day. {message}",
        list(organization.days),
        shaded(organization),
        [row[name] if row else None for row in organization.days.values()],
        colour,
    )
    return Figure(f"{heading} per day", message, chart)


def _summing(name: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: number(total(rows, name))

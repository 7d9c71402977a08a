"""What people do with Claude Code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, folded, total
from airflow_provider_claude_code.analytics.report.elements import Figure, Name, Note, Section
from airflow_provider_claude_code.analytics.report.sections.by_day import day_table, shaded, shading_note
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_BARS,
    breakdown_of,
    few_people,
    no_breakdown,
    small_groups_note,
    table_of,
)
from airflow_provider_claude_code.analytics.report.wording import day, number, percent, period, spoken
from airflow_provider_claude_code.quoting import visible


def acceptance(key: str, organization: Organization, settings: Settings) -> Section:
    """Show how much of what each tool offered was accepted."""
    heading = "Acceptance by tool"
    tools = [row for row in organization.tools if row["offered"]]
    if organization.breakdown is None:
        return Section(heading, [no_breakdown(settings)])
    if not tools:
        return Section(
            heading,
            [Note(f"Not shown{breakdown_of(organization)}: {few_people(settings)} were offered anything by a tool.")],
        )
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
    folding = small_groups_note(settings, tools, "tool_name", "tools of fewer than {size} people")
    return Section(
        heading,
        [
            Figure(
                f"Accepted of offered actions{breakdown_of(organization)}",
                f"{message} The tool that offered most comes first. {folding}",
                chart,
            ),
            table_of(
                f"Accepted and offered actions by tool{breakdown_of(organization)}",
                tools,
                (
                    ("Tool", lambda row: Name(row["tool_name"])),
                    ("Acceptance rate", lambda row: percent(_rate(row))),
                    ("Accepted", lambda row: number(row["accepted"])),
                    ("Offered", lambda row: number(row["offered"])),
                    ("People", lambda row: number(row["people"])),
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


def lines_and_commits(key: str, organization: Organization, settings: Settings) -> Section:
    """Show the results of the sessions by day."""
    if not organization.series:
        reason = "on one of the days too few people worked, or the week or month is not over"
        return Section("Lines and commits", [Note(f"Not shown by day: {reason}.")])
    table = day_table(
        organization,
        "Lines, commits and pull requests",
        "Table: lines and commits",
        [(label, _summing(name)) for label, name in _RESULTS],
    )
    spans = "" if organization.is_by_day else " Days are not shown, since on one of them too few people worked."
    return Section(
        "Lines and commits",
        [
            _per_day(key, organization, settings, "lines_added", "Lines added", charts.FIRST_COLOUR),
            _per_day(key, organization, settings, "commits", "Commits", charts.SECOND_COLOUR),
            table,
            Note(f"They measure activity, not its worth.{shading_note(organization)}{spans}", "note"),
        ],
    )


def _per_day(key: str, organization: Organization, settings: Settings, name: str, heading: str, colour: str) -> Figure:
    most = max((row for row in organization.series if row.get(name) is not None), key=lambda row: row[name])
    each = "on a day" if organization.is_by_day else f"in a {settings.breakdown_grain}"
    when = f"on {day(most['date'])}" if organization.is_by_day else period(most["first_day"], most["last_day"])
    heading = f"{heading} per {'day' if organization.is_by_day else settings.breakdown_grain}"
    message = f"{number(organization.totals[name])} in the period; the most {each} were {number(most[name])}, {when}."
    chart = charts.column_chart(
        f"{key}-{name}",
        f"{heading}. {message}",
        [row["first_day"] for row in organization.series],
        shaded(organization.series),
        [row.get(name) for row in organization.series],
        colour,
    )
    return Figure(heading, message, chart)


def _summing(name: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: number(total(rows, name))

"""Claude Code compared with other AI tools, whose days users provide."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import Cell, Fact, Facts, Name, Note, Section, Table
from airflow_provider_claude_code.analytics.report.people_cost import months_cost, people_cost
from airflow_provider_claude_code.analytics.report.sections.common import MOST_ROWS
from airflow_provider_claude_code.analytics.report.sections.worth import assumed
from airflow_provider_claude_code.analytics.report.wording import NOTHING, dollars, number, percent
from airflow_provider_claude_code.quoting import visible

_NAMES = {"claude_code": "Claude Code", "github_copilot": "GitHub Copilot", "cursor": "Cursor"}
_HIDDEN = "not shown"


def other_tools(organization: Organization, settings: Settings, assumptions: Assumptions) -> list[Section]:
    """Show the use of each tool; nothing if no other tool's days are provided."""
    rows = organization.other_tools
    if not any(row["tool"] != "claude_code" for row in rows):
        return []
    shown = [row for row in rows if not settings.is_few(row["people"])][:MOST_ROWS]
    if not shown:
        few = f"Not shown: fewer than {settings.min_group_size} people used any of the tools."
        return [Section("Other AI tools", [Note(few)])]
    table = _table(shown, organization, settings, assumptions)
    costs = [
        assumed(f"{_NAMES.get(tool, visible(tool))} costs a month", dollars(cost.value), cost)
        for tool, cost in assumptions.tool_costs.items()
        if any(row["tool"] == tool for row in shown)
    ]
    notes = [*_notes(rows, shown, organization, settings), *_whose_cost(shown, organization, settings, assumptions)]
    if any(_HIDDEN in row for row in table.rows):
        notes.append(f"Numbers that would show what fewer than {settings.min_group_size} people did are left out.")
    facts = [*costs, *(Fact("", text) for text in notes)]
    return [Section("Other AI tools", [table, Facts(facts)])]


def _table(rows: Sequence[Row], organization: Organization, settings: Settings, assumptions: Assumptions) -> Table:
    people_of = {row["tool"]: row["people"] for row in rows}
    return Table(
        "People by tool",
        (
            "Tool",
            "Active people",
            "Share of the roster",
            "Active days, all people",
            "Cost per active person and day",
            "Also active with Claude Code",
        ),
        [
            (
                _tool(row),
                number(row["people"]),
                _share_of_roster(row, settings),
                number(row["person_days"]),
                _cost_per_day(row, organization, settings, assumptions),
                _both(row, people_of.get("claude_code"), settings),
            )
            for row in rows
        ],
    )


def _tool(row: Row) -> Cell:
    return _NAMES[row["tool"]] if row["tool"] in _NAMES else Name(row["tool"])


def _share_of_roster(row: Row, settings: Settings) -> str:
    eligible, active = row["eligible_people"], row["roster_people"]
    if not eligible:
        return NOTHING
    if any(settings.is_few(people) for people in (active, eligible - active, row["people"] - active)):
        return _HIDDEN
    return percent(active / eligible)


def _both(row: Row, claude_people: int | None, settings: Settings) -> str:
    if row["tool"] == "claude_code" or claude_people is None:
        return NOTHING
    both = row["people_with_both"]
    if any(settings.is_few(people) for people in (both, row["people"] - both, claude_people - both)):
        return _HIDDEN
    return number(both)


def _cost_per_day(row: Row, organization: Organization, settings: Settings, assumptions: Assumptions) -> str:
    if row["tool"] == "claude_code":
        cost = people_cost(organization, settings, assumptions)
        if isinstance(cost, str):
            return _HIDDEN
        return cost.at_least(dollars(cost.amount / cost.person_days))
    monthly = assumptions.tool_costs.get(row["tool"])
    if monthly is None:
        return NOTHING
    return dollars(months_cost(settings, monthly) / Decimal(row["person_days"]))


def _whose_cost(
    rows: Sequence[Row], organization: Organization, settings: Settings, assumptions: Assumptions
) -> list[str]:
    """Return what the cost of Claude Code is divided by, and what it includes, where that is not all active people."""
    cost = people_cost(organization, settings, assumptions)
    row = next((row for row in rows if row["tool"] == "claude_code"), None)
    if row is None or isinstance(cost, str):
        return []
    is_of_all_days = cost.person_days == row["person_days"]
    days = "" if is_of_all_days else "The cost of Claude Code is that of people with API usage, per day with it."
    keys = "The cost of Claude Code includes that of API keys." if cost.with_keys else ""
    return [text for text in (days, keys) if text]


def _notes(rows: Sequence[Row], shown: Sequence[Row], organization: Organization, settings: Settings) -> list[str]:
    least, length = settings.min_group_size, len(organization.days)
    notes = [
        "Accepting an agent's edit and accepting a completed line are not the same work, so acceptance is not "
        "compared.",
        *(
            f"{_NAMES.get(row['tool'], visible(row['tool']))} has data on {row['days_with_data']} of {length} days."
            for row in shown
            if row["tool"] != "claude_code" and row["days_with_data"] < length
        ),
    ]
    if any(row["unknown_people"] for row in shown):
        unknown = sum(row["unknown_people"] for row in shown)
        who = f"Fewer than {least}" if unknown < least else number(unknown)
        notes.append(f"{who} people have no address in the table of logins, and are not compared.")
    if len(shown) < len(rows):
        notes.append(f"Tools of fewer than {least} people are not shown.")
    return notes

"""Who uses Claude Code, and where."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, total
from airflow_provider_claude_code.analytics.report.elements import (
    Cell,
    Fact,
    Facts,
    Figure,
    Name,
    Note,
    Section,
    ShareBar,
    SideBySide,
    Table,
)
from airflow_provider_claude_code.analytics.report.sections.by_day import day_table, is_by_week, shaded, shading_note
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_BARS,
    breakdown_of,
    few_people,
    found,
    no_breakdown,
    small_groups_note,
)
from airflow_provider_claude_code.analytics.report.wording import count, day, number, percent


def adoption(key: str, organization: Organization, settings: Settings) -> Section:
    """Show how many people are active, come and go."""
    last = organization.loaded[-1]
    facts = [
        *_mean(organization),
        *_comings_and_goings(organization, last),
        *_eligible(organization, last),
    ]
    return Section(
        "Adoption",
        [
            SideBySide(
                [
                    [
                        _active_people(key, organization, settings, last),
                        *([_active_people_by_day(organization)] if organization.is_by_day else []),
                    ],
                    [Facts(facts)],
                ]
            ),
        ],
    )


def _mean(organization: Organization) -> list[Fact]:
    if not organization.is_by_day:
        return []
    mean = total(organization.loaded, "daily_active_people") / len(organization.loaded)
    return [Fact("Mean of the loaded days:", f"{number(mean, 1)} active people")]


def _active_people(key: str, organization: Organization, settings: Settings, last: Row) -> Figure | Note:
    rows = [row if row and row["is_loaded"] else None for row in organization.days.values()]

    def line(name: str, column: str, is_whole: list[bool], colour: str, width: float) -> charts.Line:
        return charts.Line(name, [row[column] if row else None for row in rows], is_whole, colour, width)

    def are_whole(window: int) -> list[bool]:
        return [bool(row and row[f"days_loaded_{window}"] == window) for row in rows]

    def people(value: int | None) -> str:
        few = f"fewer than {settings.min_group_size} people"
        return few if value is None else count(value, "person", "people")

    on_the_day = f" and {number(last['daily_active_people'])} on the day itself" if organization.is_by_day else ""
    message = (
        f"On {day(last['date'])}, {people(last['monthly_active_people'])} had been active in 28 days"
        f"{',' if on_the_day else ' and'} {people(last['weekly_active_people'])} in 7 days{on_the_day}."
    )
    lines = [
        line("28 days", "monthly_active_people", are_whole(28), charts.FIRST_COLOUR, 2.4),
        line("7 days", "weekly_active_people", are_whole(7), charts.SECOND_COLOUR, 1.8),
    ]
    if organization.is_by_day:
        lines.append(line("1 day", "daily_active_people", [bool(row) for row in rows], charts.THIRD_COLOUR, 1.2))
    if all(value is None for line in lines for value in line.values):
        return Note(message)
    chart = charts.line_chart(
        f"{key}-adoption",
        f"Active people per day. {message}",
        list(organization.days),
        shaded(list(organization.days.values())),
        lines,
    )
    on_day = " on the day or" if organization.is_by_day else ""
    note = f"Each line counts people who were active{on_day} on any of the 7 or 28 days that end with it."
    if any(row and row["days_loaded_28"] < 28 for row in rows):
        note += " Dotted: not all of these days are loaded, so the count is too low."
    return Figure("Active people", f"{message} {note}{shading_note(organization)}", chart)


def _active_people_by_day(organization: Organization) -> Table:
    def on_the_day(rows: Sequence[Row]) -> str:
        return number(total(rows, "daily_active_people") / len(rows), 0 if len(rows) == 1 else 1)

    return day_table(
        organization,
        "Active people",
        "Table: active people",
        (
            ("On a day (mean)" if is_by_week(organization) else "On the day", on_the_day),
            ("In 7 days", lambda rows: number(rows[-1]["weekly_active_people"])),
            ("In 28 days", lambda rows: number(rows[-1]["monthly_active_people"])),
            ("Days loaded of 28", lambda rows: number(rows[-1]["days_loaded_28"])),
        ),
    )


def _comings_and_goings(organization: Organization, last: Row) -> list[Fact]:
    facts = []
    known = [row for row in organization.loaded if row["new_people"] is not None]
    if known:
        partly = "" if len(known) == len(organization.days) else f", on {count(len(known), 'day')} where it is known"
        new, returning = (number(total(known, column)) for column in ("new_people", "returning_people"))
        facts += [
            Fact("New people:", f"{new} (never active before in the loaded days{partly})"),
            Fact("Returning people:", f"{returning} (active again after more than 28 days{partly})"),
        ]
    elif organization.is_by_day:
        facts.append(Fact("New and returning people:", "unknown; this takes 28 days of history."))
    if last["gone_quiet_people"] is None:
        quiet = "unknown; this takes 56 days of history."
    else:
        missing = 57 - last["days_loaded_57"]
        unsure = f"; {missing} of these days are not loaded" if missing else ""
        quiet = (
            f"{number(last['gone_quiet_people'])} (active 29 to 56 days before {day(last['date'])}, not since{unsure})"
        )
    return [*facts, Fact("Gone quiet:", quiet)]


def _eligible(organization: Organization, last: Row) -> list[Fact]:
    wrong = found(organization, "roster")
    if last["eligible_people"] and (last["eligible_active_people"] or not wrong):
        rate = (
            f"{percent(last['adoption_rate'])}; {number(last['eligible_active_people'])} of "
            f"{count(last['eligible_people'], 'eligible person', 'eligible people')} were active in the 28 days to "
            f"{day(last['date'])}"
        )
        # A Console member does not necessarily have a paid seat.
        idle = "Idle seats:" if organization.has_roster else "Idle members:"
        return [Fact("Adoption rate:", rate), Fact(idle, number(last["idle_seats"]))]
    reason = (
        f"see what is wrong with the roster. {wrong}"
        if wrong
        else "this needs a roster of eligible people, or snapshots of members."
    )
    return [Fact("Adoption rate and idle seats:", f"unknown; {reason}")]


_OF_SESSIONS = "share_of_sessions"
_DIMENSIONS = {
    "terminal_type": "Terminal",
    "location": "Place",
    "customer_type": "Paid by",
}


def where_people_work(organization: Organization, settings: Settings) -> Section:
    """Show in which terminals and places people work, and who pays for it."""
    heading = f"Where people work{breakdown_of(organization)}"
    if organization.breakdown is None:
        return Section(heading, [no_breakdown(settings)])
    tables = []
    for dimension, name in _DIMENSIONS.items():
        rows = organization.shares.get(dimension, [])
        # Terminals have people and no sessions.
        counted, share = ("people", "share_of_people") if dimension == "terminal_type" else ("sessions", _OF_SESSIONS)
        cells: list[tuple[Cell, ...]] = [
            (
                Name(row["value"]),
                *([number(row["sessions"])] if counted == "sessions" else []),
                number(row["people"]),
                percent(row[share]),
                ShareBar(row[share] or 0),
            )
            for row in sorted(rows, key=lambda row: (row["value"] == settings.small_groups, -row[counted]))[:MOST_BARS]
        ]
        if cells:
            headings = (name, *(["Sessions"] if counted == "sessions" else []), "People", f"Share of {counted}", "")
            cut = f" (the first {len(cells)} of {len(rows)})" if len(cells) < len(rows) else ""
            tables.append(Table(f"{counted.capitalize()} by {dimension.replace('_', ' ')}{cut}", headings, cells))
    if not tables:
        return Section(heading, [Note(f"Not shown: {few_people(settings)} were active.")])
    folding = small_groups_note(
        settings,
        [row for rows in organization.shares.values() for row in rows],
        "value",
        "values of fewer than {size} people",
    )
    return Section(
        heading,
        [
            SideBySide([tables[:1], tables[1:]]),  # the first is the longest
            Note(
                "API keys count as people unless the mapping marks them as machines. A person who uses two "
                f"terminals is in two rows. {folding}",
                "note",
            ),
        ],
    )

"""How regularly people work with Claude Code, and the results of a week."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import itemgetter

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, known_sum
from airflow_provider_claude_code.analytics.report.elements import (
    Element,
    Fact,
    Facts,
    Figure,
    Note,
    Section,
    ShareBar,
    Table,
)
from airflow_provider_claude_code.analytics.report.wording import UNKNOWN, count, day, dollars, number, percent, period

_LATEST = 4
"""Number of latest blocks of 7 days in a mean."""


def regularity(key: str, organization: Organization, settings: Settings) -> Section:
    """Show how many people work often, and 13 blocks of 7 days."""
    return Section(
        "How regularly",
        [*_classes(organization.classes, settings), *_blocks(key, organization.blocks, settings)],
    )


@dataclass(frozen=True)
class _ActivityClass:
    """
    People whose active days are in a range.

    :param least: the fewest active days; None where all of them are new.
    :param most: the most active days; None for all 28, or where all of them are new.
    :param with_new: whether new people are included, with any number of days.
    :param people: number of people.
    """

    least: int | None
    most: int | None
    with_new: bool
    people: int

    @property
    def name(self) -> str:
        """The label of the class."""
        days = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
        if self.least is None:
            return "New in these 28 days"
        return f"{days}, or new in these 28 days" if self.with_new else days

    def with_next(self, other: _ActivityClass) -> _ActivityClass:
        """Return this class merged with the next one, which has fewer days."""
        return _ActivityClass(
            self.least if other.least is None else other.least,
            self.most,
            self.with_new or other.with_new,
            self.people + other.people,
        )


def _folded_classes(row: Row, settings: Settings) -> list[_ActivityClass]:
    """
    Return the classes of active people; none where all of them are too few.

    A class with too few people is merged with the nearest class that has any, so no class is small. The classes add up
    to all active people, so the difference to the total reveals nothing.
    """
    classes = [
        _ActivityClass(12, None, False, row["people_12_days"]),
        _ActivityClass(4, 11, False, row["people_4_days"]),
        _ActivityClass(1, 3, False, row["people_1_day"]),
    ]
    if row["new_people"] is not None:
        classes.append(_ActivityClass(None, None, True, row["new_people"]))
    while few := [position for position, it in enumerate(classes) if settings.is_few(it.people)]:
        others = [position for position, it in enumerate(classes) if it.people and position != few[0]]
        if not others:
            return []
        nearest = min(others, key=lambda position: (abs(position - few[0]), classes[position].people))
        first, last = sorted((few[0], nearest))
        classes[first : last + 1] = [reduce(_ActivityClass.with_next, classes[first : last + 1])]
    return classes


def _classes(row: Row | None, settings: Settings) -> list[Element]:
    if row is None:
        return []
    classes = _folded_classes(row, settings)
    active = sum(it.people for it in classes)
    if not active:
        few = any(row[name] for name in ("people_12_days", "people_4_days", "people_1_day", "new_people"))
        text = f"fewer than {settings.min_group_size} people were" if few else "nobody was"
        return [Note(f"In the 28 days to the end of the period {text} active.")]
    rows = [(it.name, number(it.people), percent(it.people / active), ShareBar(it.people / active)) for it in classes]
    notes = []
    if row["new_people"] is None:
        notes.append("Who is new is unknown; this needs 28 days of history before these.")
    if row["days_loaded"] < 28:
        notes.append(f"Only {row['days_loaded']} of the 28 days are loaded completely, so days may be missing.")
    return [
        Table("People by their active days in 28 days", ("Active days", "People", "Share", ""), rows),
        *_idle(row, active, settings),
        Note(" ".join(notes), "note"),
    ]


def _idle(row: Row, active: int, settings: Settings) -> list[Element]:
    """Return how many people of the roster were not active, unless they or the others are too few."""
    eligible, eligible_active = row["eligible_people"], row["eligible_active_people"]
    if not eligible:
        return []
    idle = eligible - eligible_active
    if any(settings.is_few(people) for people in (idle, eligible_active, active - eligible_active)):
        text = f"not shown, since it would be about fewer than {settings.min_group_size} people"
    else:
        text = f"{number(idle)} of {count(eligible, 'person', 'people')} who may use Claude Code"
    return [Facts([Fact("No active day:", text)])]


def _blocks(key: str, blocks: Sequence[Row], settings: Settings) -> list[Element]:
    known = [row for row in blocks if row["days_loaded"]]
    if not known:
        return []
    # A block that is not loaded completely may have people as well, whom the sums of the period include.
    if any(settings.is_few(row["people"]) for row in blocks):
        few = f"in some of them fewer than {settings.min_group_size} people were active"
        return [Note(f"Blocks of 7 days are not shown, since {few}.")]
    newest = known[-1]
    message = f"{count(newest['people'], 'person', 'people')} in the 7 days to {day(newest['last_day'])}."
    lacking = " Hollow: not all of the 7 days are loaded." if any(row["days_loaded"] < 7 for row in known) else ""
    lacking += " Shaded: not loaded." if len(known) < len(blocks) else ""
    chart = charts.column_chart(
        f"{key}-blocks",
        f"Blocks of 7 days, each with its active people. {message}",
        [row["first_day"] for row in blocks],
        ["" if row["days_loaded"] else "not loaded" for row in blocks],
        [row["people"] if row["days_loaded"] else None for row in blocks],
        charts.FIRST_COLOUR,
        [row["days_loaded"] == 7 for row in blocks],
    )
    return [
        Figure("Active people a week", f"{message} Each column is a block of 7 days.{lacking}", chart),
        _block_table(blocks, settings),
        *(_of_a_week(blocks, settings) if _are_weeks(settings) else []),
    ]


def _block_table(blocks: Sequence[Row], settings: Settings) -> Table:
    columns: dict[str, Callable[[Row], int]] = {"Active people": itemgetter("people")}
    if _are_weeks(settings):
        columns["Pull requests"] = partial(_pull_requests, with_keys=_has_few_keys(blocks, settings))
    return Table(
        "Blocks of 7 days",
        ("Days", "Days loaded", *columns),
        [
            (
                period(row["first_day"], row["last_day"]),
                f"{row['days_loaded']} of 7",
                *(number(value(row)) if row["days_loaded"] else "not loaded" for value in columns.values()),
            )
            for row in blocks
        ],
        summary="Table: blocks of 7 days",
    )


def _are_weeks(settings: Settings) -> bool:
    """
    Return whether the period and the blocks are whole weeks, from Monday to Sunday. Otherwise the sums of blocks would
    tell, with those of the period and of its weeks, what few people did on the days between.
    """
    first, last = settings.period
    return settings.min_group_size == 1 or (first.weekday(), last.weekday()) == (0, 6)


def _of_a_week(blocks: Sequence[Row], settings: Settings) -> list[Element]:
    """Show the cost per person and week, from the complete blocks among the latest."""
    whole = [row for row in blocks[-_LATEST:] if row["days_loaded"] == 7 and row["people"]]
    if not whole:
        return []
    with_keys = _has_few_keys(blocks, settings)
    notes = [f"The cost of the complete blocks among the last {_LATEST}, divided by the people of each."]
    if with_keys:
        notes.append(
            f"It includes that of API keys, since fewer than {settings.min_group_size} keys are not shown separately."
        )
    cost = _cost(blocks, whole, settings, with_keys=with_keys)
    return [Facts([Fact("API cost per person with API usage and week:", cost)]), Note(" ".join(notes), "note")]


def _cost(blocks: Sequence[Row], whole: Sequence[Row], settings: Settings, *, with_keys: bool) -> str:
    weeks = sum(row["api_people"] for row in whole)
    if not weeks:
        return "none; nobody has API usage"
    # The rest of the period would be the cost of those in the other blocks.
    if any(settings.is_few(row[name]) for row in blocks for name in ("api_people", "api_cost_people")):
        return f"not shown; fewer than {settings.min_group_size} people have API usage with a known cost in a week"
    prefixes = ("", "key_") if with_keys else ("",)
    known = known_sum(row[f"{prefix}api_cost_usd"] for row in whole for prefix in prefixes)
    if known is None:
        return UNKNOWN
    amount = dollars(known / weeks)
    is_known = all(
        row[f"{prefix}api_sessions"] == row[f"{prefix}api_sessions_with_cost"] for row in whole for prefix in prefixes
    )
    return amount if is_known else f"at least {amount}"


def _has_few_keys(blocks: Sequence[Row], settings: Settings) -> bool:
    return any(settings.is_few(row[name]) for row in blocks for name in ("keys", "api_cost_keys"))


def _pull_requests(row: Row, *, with_keys: bool) -> int:
    return int(row["pull_requests"]) + (int(row["key_pull_requests"]) if with_keys else 0)

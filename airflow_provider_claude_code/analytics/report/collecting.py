"""Read what a report says from the models, and sum it up per organisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.analytics.queries import Row
from airflow_provider_claude_code.analytics.report.comparison import comparison_of
from airflow_provider_claude_code.analytics.report.data import AMOUNTS, Organization, is_month
from airflow_provider_claude_code.analytics.report.known_cost import charged_usd
from airflow_provider_claude_code.analytics.report.month import month_to_date

if TYPE_CHECKING:
    from airflow_provider_claude_code.analytics.engines.base import Source
    from airflow_provider_claude_code.analytics.queries import Settings

_COUNTS = (
    "active_people",
    "active_keys",
    "sessions",
    "lines_added",
    "lines_removed",
    "commits",
    "pull_requests",
    "tool_actions_offered",
    "tool_actions_accepted",
    "other_cost_entries",
    "sessions_with_model_detail",
)


def collect(source: Source, settings: Settings, *, people: bool, other_tools: bool = False) -> list[Organization]:
    """
    Read what a report says.

    :param source: the loaded usage.
    :param settings: the period, and how small groups are folded; those of the source.
    :param people: also read who did what.
    :param other_tools: also read the days of other tools.
    :return: the organisations in the order of their ids.
    """
    models = [
        *_MODELS,
        *(["people_monthly"] if people else []),
        *(["plan_mixes"] if settings.seat_price_cents and is_month(settings) else []),
        *(["tool_comparison"] if other_tools else []),
    ]
    tables = {name: source.read(name).to_pylist() for name in models}
    has_roster = source.has_table("roster")
    # An organisation may have charges or members, and no usage.
    ids = {row["organization_id"] for name in _OF_ORGANIZATIONS for row in tables[name]}
    names = source.organization_names()
    return [
        _organization(id_, names.get(id_), _rows_of(id_, tables), settings, has_roster=has_roster)
        for id_ in sorted(ids)
    ]


_MODELS = (
    "daily_activity",
    "adoption",
    "adoption_shares",
    "tool_acceptance",
    "model_costs",
    "load_health",
    "restatements",
    "data_quality",
    "period_totals",
    "period_costs",
    "comparison_totals",
    "daily_cost",
    "period_activity",
    "shown_measures",
    "beside_breakdowns",
    "cost_allocation",
    "productivity_ratios",
    "cost_reconciliation",
    "charges_beyond_tokens",
    "members_activity",
    "period_worth",
    "activity_classes",
    "activity_blocks",
)
_OF_ORGANIZATIONS = ("daily_activity", "cost_allocation", "members_activity")


def _rows_of(organization_id: str, tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the rows of an organisation by model. Some findings belong to no organisation, and so to each."""
    owners = {"data_quality": (organization_id, None)}
    return {
        model: [row for row in rows if row["organization_id"] in owners.get(model, (organization_id,))]
        for model, rows in tables.items()
    }


def _organization(
    id_: str, name: str | None, rows: Mapping[str, Sequence[Row]], settings: Settings, *, has_roster: bool
) -> Organization:
    """Return what a report says about an organisation, given its rows by model."""
    first, last = settings.period
    length = len(settings.days)

    def of_days(model: str) -> list[Row]:
        return [row for row in rows[model] if first <= row["date"] <= last]

    def of_period(model: str) -> list[Row]:
        return [row for row in rows.get(model, ()) if row["period_start"] == first]

    days = _days(settings.days, of_days("daily_activity"), of_days("adoption"))
    weeks = _weeks(rows["period_activity"], first, last)
    are_weeks_whole = bool(weeks) and sum(row["days_in_period"] for row in weeks) == length
    breakdown = _breakdown(rows, weeks, settings, is_whole=are_weeks_whole)

    def broken_down(model: str) -> list[Row]:
        return [row for row in rows[model] if breakdown and row["period_start"] == breakdown[0]]

    groups, groups_before = broken_down("cost_allocation"), _groups_before(rows, breakdown, settings)
    are_keys_apart = breakdown is None or not _hides_keys(rows, [groups, groups_before], len(weeks), settings)
    loaded_days = [row["date"] for row in rows["daily_activity"] if row["is_loaded"]]
    month_start = min(first, last.replace(day=1))
    are_costs_by_day = _are_days_shown(
        month_start, last, [row for row in rows["shown_measures"] if row["measure"] == "api"]
    )
    return Organization(
        id=id_,
        name=name,
        days=days,
        totals=_totals(of_period("period_totals"), is_loaded=any(first <= day <= last for day in loaded_days)),
        comparison=comparison_of(length, rows["comparison_totals"], settings, are_keys_apart=are_keys_apart),
        month=month_to_date(rows["daily_cost"], settings, by_day=are_costs_by_day),
        charged_usd=charged_usd(rows["daily_cost"], settings),
        first_loaded_day=min(loaded_days, default=None),
        series=_series(days, weeks if are_weeks_whole else []),
        breakdown=breakdown,
        shares=_shares(broken_down("adoption_shares")),
        tools=_ordered(broken_down("tool_acceptance"), lambda row: row["offered"], ("tool_name",)),
        # Never the sum of the two amounts: one is a cost, the other is not.
        models=_ordered(
            broken_down("model_costs"),
            lambda row: max(row[name] or Decimal(0) for name in AMOUNTS),
            ("customer_type", "model"),
        ),
        costs=_by_name(of_period("period_costs"), ("actor_type", "customer_type")),
        groups=_ordered(groups, lambda row: row["amount_usd"], ("amount", "team", "cost_centre")),
        ratios=_by_name(broken_down("productivity_ratios"), ("customer_type",)),
        charges=_ordered(
            broken_down("cost_reconciliation"), lambda row: row["list_cents"] or Decimal(0), ("currency", "model")
        ),
        has_roster=has_roster,
        members=_newest_snapshot(of_days("members_activity")),
        health=of_days("load_health"),
        restatements=_by_name(of_days("restatements"), ("date", "table_name", "loaded_at")),
        findings=_findings(rows["data_quality"], first, last),
        worth=next(iter(of_period("period_worth")), None),
        plan=next(iter(of_period("plan_mixes")), None),
        classes=next((row for row in rows["activity_classes"] if row["last_day"] == last), None),
        blocks=sorted(
            (row for row in rows["activity_blocks"] if row["last_day"] <= last), key=lambda row: row["first_day"]
        ),
        other_tools=_ordered(
            of_period("tool_comparison"),
            lambda row: (row["tool"] == "claude_code", row["people"]),
            ("tool",),
        ),
        groups_before=groups_before,
        hides_charges=any(settings.is_few(row["product_people"]) for row in broken_down("charges_beyond_tokens")),
        people=(
            _ordered(
                [row for row in of_period("people_monthly") if row["actor_type"] == "user_actor"],
                lambda row: row["sessions"],
                ("actor_id",),
            )
            if "people_monthly" in rows
            else None
        ),
    )


def _weeks(rows: Iterable[Row], first: date, last: date) -> list[Row]:
    """Return the whole weeks or months in a period, each with its first and last day."""
    return [
        {**row, "first_day": row["period_start"], "last_day": _last_day(row)}
        for row in sorted(rows, key=lambda row: row["period_start"])
        if first <= row["period_start"] and _last_day(row) <= last
    ]


def _breakdown(
    rows: Mapping[str, Sequence[Row]], weeks: Sequence[Row], settings: Settings, *, is_whole: bool
) -> tuple[date, date] | None:
    """
    Return the first and last day of the last week or month, if its breakdowns can be shown.

    Where the period is not made of whole ones, the breakdowns could be subtracted from the days that are left.
    """
    if not weeks or not (is_whole or _are_days_shown(*settings.period, rows["shown_measures"])):
        return None
    if _leave_few(rows, "people_beside_last", ["all"], settings):
        return None
    return weeks[-1]["first_day"], weeks[-1]["last_day"]


def _groups_before(
    rows: Mapping[str, Sequence[Row]], breakdown: tuple[date, date] | None, settings: Settings
) -> list[Row]:
    """Return the groups of the week or month before that of the breakdowns, if they can be shown."""
    if breakdown is None or _leave_few(rows, "people_beside_both", ["all"], settings):
        return []
    return [row for row in rows["cost_allocation"] if _last_day(row) == breakdown[0] - timedelta(days=1)]


def _hides_keys(
    rows: Mapping[str, Sequence[Row]], groups: Iterable[Iterable[Row]], weeks: int, settings: Settings
) -> bool:
    """Return whether what API keys did must be added to the work of people, given the groups of the breakdowns."""
    beside = ("people_beside_last", "people_beside_both")
    if any(_leave_few(rows, days, ["people", "keys"], settings) for days in beside):
        return True
    # In a longer period, enough people and keys are left to hide those of the groups.
    return weeks <= 2 and any(_mixes_few(each, settings) for each in groups)


def _leave_few(rows: Mapping[str, Sequence[Row]], days: str, kinds: Sequence[str], settings: Settings) -> bool:
    """Return whether sums of the period less its breakdowns would be those of few people, whom ``days`` counts."""
    return any(
        settings.is_few(row[days]) and not settings.is_few(row["people"])
        for row in rows["beside_breakdowns"]
        if row["kind"] in kinds
    )


def _findings(rows: Iterable[Row], first: date, last: date) -> list[Row]:
    found = [
        row
        for row in rows
        # Those of the budget quote what the days up to one cost, which may be that of few people.
        if row["check_name"] != "budget"
        and (row["date"] is None or first <= row["date"] <= last or row["check_name"] == "freshness")
    ]
    return _by_name(found, ("check_name", "date", "table_name", "finding"))


def _mixes_few(groups: Iterable[Row], settings: Settings) -> bool:
    """
    Return whether the groups that have both people and API keys have few of either.

    Whoever knows the cost of all people could subtract the groups of people alone.
    """
    people: dict[str, int] = {}
    keys: dict[str, int] = {}
    for row in groups:
        if 0 < row["keys"] < row["people"]:
            people[row["amount"]] = people.get(row["amount"], 0) + row["people"] - row["keys"]
            keys[row["amount"]] = keys.get(row["amount"], 0) + row["keys"]
    return any(map(settings.is_few, [*people.values(), *keys.values()]))


def _days(days: Iterable[date], activity: Iterable[Row], adoption: Iterable[Row]) -> dict[date, Row | None]:
    activity_by_day, adoption_by_day = ({row["date"]: row for row in rows} for rows in (activity, adoption))
    return {
        day: {**adoption_by_day.get(day, {}), **activity_by_day[day]} if day in activity_by_day else None
        for day in days
    }


def _last_day(row: Row) -> date:
    last: date = row["period_start"] + timedelta(days=row["days_in_period"] - 1)
    return last


def _are_days_shown(first: date, last: date, measures: Iterable[Row]) -> bool:
    """Say whether neither counts nor costs are withheld on any day of a period."""
    by_start: dict[date, bool] = {}
    for row in measures:
        by_start[row["bucket_start"]] = by_start.get(row["bucket_start"], True) and row["is_shown"]
    starts = [start for start in by_start if start <= last]
    begins = max((start for start in starts if start <= first), default=first)
    return all(by_start[start] for start in starts if start >= begins)


def _series(days: Mapping[date, Row | None], weeks: Sequence[Row]) -> list[Row]:
    if not any(row and row["is_withheld"] for row in days.values()):
        return [{"date": day, "first_day": day, "last_day": day, **(row or {})} for day, row in days.items()]
    # One span is the period itself.
    return list(weeks) if len(weeks) > 1 and all(row["sessions"] is not None for row in weeks) else []


def _totals(found: Sequence[Row], *, is_loaded: bool) -> Row:
    row = dict(found[0]) if found else {"days_loaded": 0, **dict.fromkeys((*_COUNTS, *AMOUNTS, "counted_people"))}
    return row if is_loaded else row | dict.fromkeys((*_COUNTS, *AMOUNTS))


def _newest_snapshot(rows: Sequence[Row]) -> list[Row]:
    newest = max((row["date"] for row in rows), default=None)
    return _ordered([row for row in rows if row["date"] == newest], lambda row: row["members"], ("role",))


def _shares(rows: Iterable[Row]) -> dict[str, list[Row]]:
    by_dimension: dict[str, list[Row]] = {}
    for row in rows:
        by_dimension.setdefault(row["dimension"], []).append(row)
    return {
        dimension: _ordered(members, lambda row: (row["sessions"] or 0, row["people"]), ("value",))
        for dimension, members in sorted(by_dimension.items())
    }


def _ordered(rows: Iterable[Row], size: Callable[[Row], Any], names: Sequence[str]) -> list[Row]:
    """Return rows, the largest first, and those of one size by their names."""
    return sorted(_by_name(rows, names), key=size, reverse=True)


def _by_name(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """Return rows in the order of their names, since a query gives them in no order."""
    return sorted(rows, key=lambda row: [(row[name] is not None, str(row[name])) for name in names])

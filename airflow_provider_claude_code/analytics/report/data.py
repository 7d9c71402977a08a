"""What a report says, read from the models and summed up per organisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.tables.loads import plain_decimal

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_claude_code.analytics.models import Settings
    from airflow_provider_claude_code.analytics.sources import Source

Row = Mapping[str, Any]

SMALL_GROUPS = "(small groups)"
UNMAPPED = "(unmapped)"
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
_AMOUNTS = ("api_cost_usd", "subscription_value_usd")
_MODEL_SUMS = (
    "entries",
    "entries_rounded_to_zero",
    "input_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "other_cost_entries",
    *_AMOUNTS,
)


@dataclass
class Organization:
    """
    What is known of an organisation.

    :param id: its id.
    :param days: ``daily_activity`` and ``adoption`` of each day of the period, None for a day that neither has.
    :param totals: ``period_totals`` of the period; a count is None when no day is loaded.
    :param totals_before: the same of the period before.
    :param first_loaded_day: its first loaded day ever.
    :param shares: by dimension, sessions of people by value, the most first.
    :param tools: accepted and offered actions by tool, the most offered first.
    :param models: costs and tokens by model, the most expensive first.
    :param groups: ``cost_allocation`` of the period, the group with the most sessions first.
    :param ratios: ``productivity_ratios`` of the period.
    :param health: ``load_health`` of the period.
    :param restatements: ``restatements`` of days of the period.
    :param findings: ``data_quality`` of the period.
    :param people: ``people_monthly`` of the period; None when the report has no people.
    """

    id: str
    days: dict[date, Row | None]
    totals: Row
    totals_before: Row
    first_loaded_day: date | None
    shares: dict[str, list[Row]] = field(default_factory=dict)
    tools: list[Row] = field(default_factory=list)
    models: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)
    ratios: list[Row] = field(default_factory=list)
    health: list[Row] = field(default_factory=list)
    restatements: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    people: list[Row] | None = None

    @property
    def loaded(self) -> list[Row]:
        """The days that were ever loaded."""
        return [row for row in self.days.values() if row and row["is_loaded"]]

    @property
    def missing_days(self) -> list[date]:
        """The days of the period that are not loaded."""
        return [day for day, row in self.days.items() if not (row and row["is_loaded"])]

    @property
    def incomplete_days(self) -> list[date]:
        """The days that were read before they were complete, and not since."""
        return [row["date"] for row in self.loaded if not row["is_complete"]]

    @property
    def idle_days(self) -> list[date]:
        """The loaded days without any usage."""
        return [row["date"] for row in self.loaded if not _has_usage(row)]

    @property
    def has_usage(self) -> bool:
        """Whether there was anything in the period."""
        return any(_has_usage(row) for row in self.loaded)

    def headline(self) -> dict[str, Any]:
        """Return the numbers of the period in JSON's types: nobody's name, amounts as digits, None for unknown."""
        totals = self.totals
        return {
            "organization_id": self.id,
            "days": len(self.days),
            "days_loaded": totals["days_loaded"],
            **{name: totals[name] for name in ("active_people", "sessions", "lines_added", "commits", "pull_requests")},
            "acceptance_rate": acceptance_rate(totals),
            **{name: None if totals[name] is None else plain_decimal(totals[name]) for name in _AMOUNTS},
        }


def collect(source: Source, settings: Settings, *, people: bool) -> list[Organization]:
    """
    Read what a report says.

    :param source: the loaded usage.
    :param settings: the period, and how small groups are folded; those of the source.
    :param people: also read who did what.
    :return: the organisations in the order of their ids.
    """
    tables = {name: source.read(name) for name in _DAILY_MODELS}
    by_period = {name: source.read(name, by_period=True) for name in _PERIOD_MODELS}
    if people:
        by_period["people_monthly"] = source.read("people_monthly", by_period=True)
    ids = sorted(set(tables["daily_activity"]["organization_id"].to_pylist()))
    return [_organization(name, tables, by_period, settings) for name in ids]


_DAILY_MODELS = (
    "daily_activity",
    "adoption",
    "adoption_shares",
    "tool_acceptance",
    "model_usage_daily",
    "load_health",
    "restatements",
    "data_quality",
)
_PERIOD_MODELS = ("period_totals", "cost_allocation", "productivity_ratios")


def _organization(
    name: str, tables: Mapping[str, pa.Table], by_period: Mapping[str, pa.Table], settings: Settings
) -> Organization:
    import pyarrow.compute as pc

    first, last = settings.first_day, settings.last_day
    length = (last - first).days + 1
    mine = pc.field("organization_id") == name
    dated = (pc.field("date") >= first) & (pc.field("date") <= last)

    def rows(model: str) -> list[Row]:
        return list(tables[model].filter(mine & dated).to_pylist())

    def of_period(model: str, month: date) -> list[Row]:
        return list(by_period[model].filter(mine & (pc.field("month") == month)).to_pylist())

    activity = tables["daily_activity"].filter(mine)
    loaded_days = activity.filter(pc.field("is_loaded"))["date"].to_pylist()

    def totals(month: date) -> Row:
        is_loaded = any(month <= day < month + timedelta(days=length) for day in loaded_days)
        return _totals(of_period("period_totals", month), is_loaded=is_loaded)

    findings = tables["data_quality"].filter(
        (mine | pc.field("organization_id").is_null())
        & (dated | pc.field("date").is_null() | (pc.field("check_name") == "freshness"))
    )
    return Organization(
        id=name,
        days=_days(first, length, rows("daily_activity"), rows("adoption")),
        totals=totals(first),
        totals_before=totals(first - timedelta(days=length)),
        first_loaded_day=min(loaded_days, default=None),
        shares=_shares(rows("adoption_shares")),
        tools=_summed(rows("tool_acceptance"), "tool_name", ("offered", "accepted"), lambda row: row["offered"]),
        # Never the sum of the amounts: the one is a cost, the other is not.
        models=_summed(
            rows("model_usage_daily"),
            "model",
            _MODEL_SUMS,
            lambda row: max(row[name] or Decimal(0) for name in _AMOUNTS),
        ),
        groups=_ordered(of_period("cost_allocation", first), lambda row: row["sessions"], ("team", "cost_centre")),
        ratios=_ordered(of_period("productivity_ratios", first), lambda row: 0, ("customer_type",)),
        health=rows("load_health"),
        restatements=_ordered(rows("restatements"), lambda row: 0, ("date", "table_name", "loaded_at")),
        findings=_ordered(findings.to_pylist(), lambda row: 0, ("check_name", "date", "table_name", "finding")),
        people=(
            _ordered(
                [row for row in of_period("people_monthly", first) if row["actor_type"] == "user_actor"],
                lambda row: row["sessions"],
                ("actor_id",),
            )
            if "people_monthly" in by_period
            else None
        ),
    )


def _days(first: date, length: int, activity: Iterable[Row], adoption: Iterable[Row]) -> dict[date, Row | None]:
    activity_by_day, adoption_by_day = ({row["date"]: row for row in rows} for rows in (activity, adoption))
    days = [first + timedelta(days=offset) for offset in range(length)]
    return {
        day: {**adoption_by_day.get(day, {}), **activity_by_day[day]} if day in activity_by_day else None
        for day in days
    }


def _totals(found: Sequence[Row], *, is_loaded: bool) -> Row:
    row = dict(found[0]) if found else {"days_loaded": 0, **dict.fromkeys((*_COUNTS, *_AMOUNTS))}
    for count in _COUNTS:
        row[count] = (row[count] or 0) if is_loaded else None
    return row


def acceptance_rate(row: Row) -> float | None:
    """Return the share of accepted actions, 0 to 1; None when nothing was offered."""
    offered = row["tool_actions_offered"]
    return row["tool_actions_accepted"] / offered if offered else None


def total(rows: Iterable[Row], name: str) -> Any:
    """Return the sum of what is known; None when nothing is."""
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known[1:], known[0]) if known else None


def folded(rows: Sequence[Row], name: str, most: int, sums: Iterable[str]) -> list[Row]:
    """
    Return the first rows, and those that are left as one row.

    :param rows: rows in order.
    :param name: the column with their names.
    :param most: how many rows there may be.
    :param sums: the columns that can be added up.
    """
    if len(rows) <= most:
        return list(rows)
    left = rows[most - 1 :]
    return [*rows[: most - 1], {name: f"{len(left)} others", **{column: total(left, column) for column in sums}}]


def _summed(rows: Iterable[Row], name: str, sums: Iterable[str], size: Callable[[Row], Any]) -> list[Row]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row[name] is not None:
            groups.setdefault(row[name], []).append(row)
    merged = [
        {name: key, "days": len(members), **{column: total(members, column) for column in sums}}
        for key, members in groups.items()
    ]
    return _ordered(merged, size, (name,))


def _shares(rows: Iterable[Row]) -> dict[str, list[Row]]:
    by_dimension: dict[str, list[Row]] = {}
    for row in rows:
        if row["dimension"] is not None:
            by_dimension.setdefault(row["dimension"], []).append(row)
    return {
        dimension: _summed(members, "value", ("sessions",), lambda row: row["sessions"])
        for dimension, members in sorted(by_dimension.items())
    }


def _ordered(rows: Iterable[Row], size: Callable[[Row], Any], names: Sequence[str]) -> list[Row]:
    """Return rows, the largest first, and those of one size by their names, since a query gives them in no order."""
    by_name = sorted(rows, key=lambda row: [(row[name] is not None, str(row[name])) for name in names])
    return sorted(by_name, key=size, reverse=True)


def _has_usage(row: Row) -> bool:
    return any(row[name] for name in ("active_people", "active_keys", "active_others"))

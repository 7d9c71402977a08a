"""
The models of ``airflow_provider_claude_code/analytics`` computed a second time, from what their heads say.

Nothing here uses the package or SQL: rows of the four tables are dicts, people are sets, windows are loops. Each
function is named after the model whose rows it returns.
"""

from __future__ import annotations

import calendar
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any

from tests.truth.charges import Charges
from tests.truth.records import exact_sum

Row = dict[str, Any]
SMALL = "(small groups)"
UNMAPPED = "(unmapped)"
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


@dataclass
class World:
    """
    What the models read.

    :param now: the moment at which they are asked.
    :param periods: the first and last days to use instead of months.
    """

    now: datetime
    usage: list[Row] = field(default_factory=list)
    model_usage: list[Row] = field(default_factory=list)
    tool_usage: list[Row] = field(default_factory=list)
    cost: list[Row] = field(default_factory=list)
    cost_totals: list[Row] = field(default_factory=list)
    members: list[Row] = field(default_factory=list)
    workspaces: list[Row] = field(default_factory=list)
    workspace_members: list[Row] = field(default_factory=list)
    api_keys: list[Row] = field(default_factory=list)
    loads: list[Row] = field(default_factory=list)
    roster: list[Row] | None = None
    mapping: list[Row] | None = None
    min_group_size: int = 5
    breakdown_grain: str = "week"
    max_drop: float = 0.5
    max_age_hours: float = 48
    periods: list[tuple[date, date]] | None = None

    def __post_init__(self) -> None:
        """Find the existing days, and sort rows by day and organisation."""
        self.shown: dict[tuple[str, str], dict[date, bool]] = {}
        self.charges = Charges(self.cost, self.members, self.api_keys, self.usage, self.loads)
        self.newest: dict[tuple[str, date, str], Row] = {}
        for load in sorted(self.loads, key=lambda row: row["load_id"]):
            self.newest[load["organization_id"], load["date"], load["table_name"]] = load
        self.other_loads = [load for load in self.loads if stream(load) != "usage"]
        self.loads = [load for load in self.loads if stream(load) == "usage"]
        self.rows: dict[str, dict[Any, list[Row]]] = {}
        self._held = {row["date"] for row in self.usage}
        # Who is charged without any usage has the days of those whose keys know.
        charged = {org: self.charges.loaders_of(org) for org, _ in self.charges.days()}
        self.loaders = charged | {org: self._loaders(org) for org in self.organizations()}
        for table in ("usage", "model_usage", "tool_usage"):
            # What a killed first load has left is no whole day.
            kept = [row for row in getattr(self, table) if self.is_loaded(row["organization_id"], row["date"])]
            if table == "usage":
                # What records say of models has no cost where the table with the costs was not loaded.
                kept = [row if self._has_models(row) else row | {"model_count": 0} for row in kept]
            setattr(self, table, kept)
            self.rows[table] = _grouped(kept, lambda row: (row["organization_id"], row["date"]))
        self.active = {
            (org, day): {person(row) for row in self.rows["usage"][org, day] if is_user(row) and self.is_active([row])}
            for org, day in self.rows["usage"]
        }

    # Days.

    def organizations(self) -> set[str]:
        return {row["organization_id"] for row in (*self.usage, *self.loads)}

    def _loaders(self, org: str) -> set[str]:
        """Return the organisations whose keys brought an organisation's records: itself, or a parent."""
        moments = {(row["date"], row["loaded_at"]) for row in self.usage if row["organization_id"] == org}
        own = {load["organization_id"] for load in self.loads if load["organization_id"] == org}
        return own or {load["organization_id"] for load in self.loads if (load["date"], load["loaded_at"]) in moments}

    def newest_of(self, org: str, day: date) -> list[Row]:
        """Return the newest loads of an organisation's day into ``usage``: one of each that loads it."""
        found = [self.newest[key] for loader in self.loaders[org] if (key := (loader, day, "usage")) in self.newest]
        # Rows may have expired since.
        return [load for load in found if load["row_count"] == 0 or day in self._held]

    def _has_models(self, row: Row) -> bool:
        loads = self.newest_of(row["organization_id"], row["date"])
        return all((load["organization_id"], load["date"], "model_usage") in self.newest for load in loads)

    def is_loaded(self, org: str, day: date) -> bool:
        return bool(self.newest_of(org, day))

    def is_complete(self, org: str, day: date) -> bool:
        return self.is_loaded(org, day) and all(load["complete"] for load in self.newest_of(org, day))

    def days(self) -> Iterator[tuple[str, date]]:
        """Yield each organisation's days, from the first loaded one to the last that should be there."""
        for org in sorted(self.organizations()):
            last = max(*self._days_there(org), last_day_due(self.now))
            yield from ((org, day) for day in _span(self.first_day(org), last))

    def first_day(self, org: str) -> date:
        """Return the first loaded day that is there."""
        return min(self._days_there(org))

    def _days_there(self, org: str) -> list[date]:
        return [load["date"] for load in self.loads if self.is_loaded(org, load["date"])]

    def loaded_days(self, org: str, days: Iterable[date]) -> int:
        return sum(self.is_complete(org, day) for day in days)

    def months(self) -> Iterator[tuple[str, date, date]]:
        """Yield each organisation's months with their first and last days; without usage, those of its charges."""
        without_usage = [key for key in self.charges.newest if key[0] not in self.organizations()]
        seen = dict.fromkeys([*self.days(), *without_usage])
        if self.periods is not None:
            yield from ((org, *period) for org in dict.fromkeys(org for org, _ in seen) for period in self.periods)
            return
        for org, first in dict.fromkeys((org, day.replace(day=1)) for org, day in seen):
            yield org, first, first.replace(day=calendar.monthrange(first.year, first.month)[1])

    def bucket(self, day: date) -> tuple[date, date]:
        """Return the first and last day of the week or month that a day is in."""
        if self.breakdown_grain == "week":
            first = day - timedelta(days=day.weekday())
            return first, first + timedelta(days=6)
        return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])

    def is_over(self, org: str, bucket: tuple[date, date]) -> bool:
        """Return whether the last day of a week or month is there, so that no other day is to come."""
        if bucket[1] not in self._spine[org]:
            return False
        if org in self.organizations():
            return self.is_complete(org, bucket[1])
        return bool(self.charges.newest[org, bucket[1]]["complete"])

    def buckets(self) -> Iterator[tuple[str, date, date]]:
        """Yield the weeks or months of which there are breakdowns."""
        for org, days in self._spine.items():
            for first, last in dict.fromkeys(self.bucket(day) for day in sorted(days)):
                within = self.periods is None or self._is_near_report(first, last)
                if within and (self.is_over(org, (first, last)) or self.min_group_size == 1):
                    yield org, first, last

    def _is_near_report(self, first: date, last: date) -> bool:
        """Return whether a week or month is in the report's period, or as long before it or a month."""
        begins, ends = self.periods[-1]  # type: ignore[index]
        return last <= ends and (begins - first).days <= max((ends - begins).days + 1, 31)

    @cached_property
    def _spine(self) -> dict[str, set[date]]:
        found: dict[str, set[date]] = defaultdict(set)
        for org, day in self.days():
            found[org].add(day)
        for org, day in self.charges.newest:
            # Without usage, those of charges.
            if org not in self.organizations():
                found[org].add(day)
        return found

    @cached_property
    def machines(self) -> set[str]:
        return {row["actor_id"] for row in self.mapping or () if row["actor_type"] == "machine" and row["actor_id"]}

    def who(self, row: Row) -> tuple[str, str] | None:
        """Return who counts as a person: anybody but the keys of machines."""
        kind, name = actor(row)
        return None if kind is None or (kind == "api_actor" and name in self.machines) else (kind, name)

    def people(self, rows: Iterable[Row]) -> set[tuple[str, str]]:
        return {who for row in rows if (who := self.who(row))}

    def machines_of(self, rows: Iterable[Row]) -> int:
        return len({actor(row) for row in rows if row["actor_type"] and not self.who(row)})

    def group(self, row: Row) -> tuple[str, str | None]:
        """Return the team and the cost centre that an actor is in on a day."""
        for mapped in self._mapping.get(actor(row), ()):
            if (mapped["valid_from"] or row["date"]) <= row["date"] <= (mapped["valid_to"] or row["date"]):
                return UNMAPPED if mapped["team"] is None else mapped["team"], mapped["cost_centre"]
        return (UNMAPPED if row["actor_type"] else "(unattributed)"), None

    @cached_property
    def _mapping(self) -> dict[tuple[str, str], list[Row]]:
        rows = _workspaces_of_keys(self) if self.mapping is None else map(without_machines, self.mapping)
        return _grouped((row for row in rows if person(row)), actor)

    def few(self, people: Iterable[Any]) -> bool:
        """Return whether there are people, but fewer than the smallest group."""
        return 0 < len(set(people)) < self.min_group_size

    # What records add up to.

    def is_active(self, usage: Iterable[Row]) -> bool:
        counts = ("num_sessions", "commits_by_claude_code", "pull_requests_by_claude_code", "lines_of_code_added")
        counts += ("lines_of_code_removed", "tool_actions_accepted", "tool_actions_rejected", *TOKENS)
        return any((row[name] or 0) > 0 for row in usage for name in counts)


def stream(load: Row) -> str:
    return load["stream"] or "usage"


def person(row: Row) -> str:
    """Return who an actor is: addresses, and all rosters hold addresses, whatever their case, others exactly."""
    name = row["actor_id"] or ""
    if row.get("actor_type", "user_actor") != "user_actor":
        return str(name)
    name = re.fullmatch(r"[ \t\n\v\f\r\xa0]*(.*?)[ \t\n\v\f\r\xa0]*", name, re.DOTALL)[1]
    return re.sub("[A-Z]", lambda letter: chr(ord(letter[0]) + 32), name)


def actor(row: Row) -> tuple[str, str]:
    """Return the type and the name of an actor; charges know the name that usage has for it."""
    return row["actor_type"], row["actor"] if "actor" in row else person(row)


def without_machines(mapped: Row) -> Row:
    """Return a row of the mapping with the type that the key of a machine has in usage."""
    return {**mapped, "actor_type": "api_actor" if mapped["actor_type"] == "machine" else mapped["actor_type"]}


def is_user(row: Row) -> bool:
    return row["actor_type"] == "user_actor"


def people_of(rows: Iterable[Row]) -> set[str]:
    return {person(row) for row in rows if is_user(row)}


def keys_of(rows: Iterable[Row]) -> set[str]:
    return {person(row) for row in rows if row["actor_type"] == "api_actor"}


def total(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def ratio(numerator: Any, denominator: Any) -> float | None:
    return None if numerator is None or not denominator else float(numerator) / float(denominator)


def last_day_due(now: datetime) -> date:
    """Return the last day that ended at least an hour ago."""
    return (now - timedelta(hours=1)).date() - timedelta(days=1)


def money(entries: Iterable[Row], usage: Iterable[Row] | None = None) -> dict[str, Any]:
    """Split the cost of model entries; with the records that they are of, what has none cost nothing."""
    entries = list(entries)
    usd = {
        kind: [
            row["estimated_cost_cents"] for row in entries if (row["customer_type"], row["currency"]) == (kind, "USD")
        ]
        for kind in ("api", "subscription")
    }
    kinds = None if usage is None else {row["customer_type"] for row in usage}

    def amount(kind: str) -> Decimal | None:
        if kinds is not None and kind not in kinds:
            return Decimal(0)
        return exact_sum(usd[kind]).scaleb(-2) if usd[kind] else None

    return {
        "api_cost_usd": amount("api"),
        "subscription_value_usd": amount("subscription"),
        "other_cost_entries": sum(
            (row["currency"] != "USD" or row["customer_type"] not in usd) and row["estimated_cost_cents"] != 0
            for row in entries
        ),
    }


def detail(usage: Iterable[Row]) -> dict[str, Any]:
    usage = list(usage)
    detailed = total((row for row in usage if row["model_count"] > 0), "num_sessions")
    return {
        "sessions_with_model_detail": detailed,
        "share_of_sessions_with_model_detail": ratio(detailed, total(usage, "num_sessions")),
    }


def results(usage: Iterable[Row]) -> dict[str, Any]:
    usage = list(usage)
    return {
        "sessions": total(usage, "num_sessions"),
        "lines_added": total(usage, "lines_of_code_added"),
        "lines_removed": total(usage, "lines_of_code_removed"),
        "commits": total(usage, "commits_by_claude_code"),
        "pull_requests": total(usage, "pull_requests_by_claude_code"),
    }


def tools(usage: Iterable[Row]) -> dict[str, Any]:
    usage = list(usage)
    accepted = total(usage, "tool_actions_accepted")
    offered = accepted + total(usage, "tool_actions_rejected")
    return {
        "tool_actions_offered": offered,
        "tool_actions_accepted": accepted,
        "acceptance_rate": ratio(accepted, offered),
    }


Members = set[tuple[Any, Any]]
"""The people who contribute to a group, each with what the work belongs to, or None if that does not matter."""


def folded(groups: dict[Any, Members], size: int) -> set[Any]:
    """
    Return the groups that are shown together: those of few people, and one more where they are too few together.

    Who did the same for the largest group counts.
    """
    if size == 1 or not groups:
        return set()
    largest = min(groups, key=lambda name: (-_count(groups[name]), _text(name)))
    counted = {
        name: {who for who, link in members if link is None or (who, link) in groups[largest]}
        for name, members in groups.items()
    }
    small = {name for name, people in counted.items() if len(people) < size}
    together = set().union(*(counted[name] for name in small))
    others = groups.keys() - small
    if small and len(together) < size and others:
        small.add(min(others, key=lambda name: (len(counted[name]), _count(groups[name]), _text(name))))
    return small


def _count(members: Members) -> int:
    return len({who for who, _ in members})


def hides_all(groups: dict[Any, Members], size: int) -> bool:
    """Return whether all groups together are of too few people."""
    return size > 1 and _count(set().union(*groups.values())) < size


def _text(group: Any) -> str:
    if isinstance(group, str):
        return group
    return " / ".join(part.replace("/", "//") for part in group if part is not None)


def with_folding(world: World, groups: dict[Any, list[Row]], members: dict[Any, Members]) -> dict[Any, list[Row]]:
    """Combine the rows of small groups under one name. Groups without people stay as they are."""
    small, hidden = folded(members, world.min_group_size), hides_all(members, world.min_group_size)
    result: dict[Any, list[Row]] = defaultdict(list)
    for group, rows in groups.items():
        if not (hidden and group in members):
            result[SMALL if group in small else group] += rows
    return result


def members_of(world: World, groups: dict[Any, list[Row]], counts: Callable[[Row], bool]) -> dict[Any, Members]:
    """Return the people who contribute to each group, whatever their work belongs to."""
    return {
        name: {(who, None) for row in rows if counts(row) and (who := world.who(row))}
        for name, rows in groups.items()
        if world.people(rows)
    }


def shown_days(world: World, org: str, members: dict[date, Members]) -> dict[date, bool]:
    """Return for each week or month, by its first day, whether its days are shown."""
    if not any(members.values()):
        return {}
    is_safe, shown = {}, {}
    for bucket in dict.fromkeys(world.bucket(day) for found, day in world.days() if found == org):
        days = {day: found for day, found in members.items() if found and bucket[0] <= day <= bucket[1]}
        busiest = min(days, key=lambda day: (-_count(days[day]), day), default=None)
        counted = [{who for who, link in found if (who, link) in days[busiest]} for found in days.values()]
        before = list(is_safe.values())[-1:] or [world.min_group_size == 1]
        is_safe[bucket[0]] = world.min_group_size == 1 or all(len(who) >= world.min_group_size for who in counted)
        shown[bucket[0]] = is_safe[bucket[0]] and (world.is_over(org, bucket) or before[0])
    return shown


def is_shown(world: World, org: str, day: date, measure: str) -> bool:
    """Return whether a measure of an organisation is shown by day."""
    key = org, measure
    if key not in world.shown:
        days = sorted(found for known, found in world.days() if known == org and world.is_loaded(org, found))
        world.shown[key] = shown_days(world, org, {found: _day_members(world, org, found, measure) for found in days})
    return world.shown[key].get(world.bucket(day)[0], True)


def _day_members(world: World, org: str, day: date, measure: str) -> Members:
    if measure == "sessions":
        rows = [row for row in world.rows["usage"].get((org, day), []) if world.is_active([row])]
        links: list[Any] = [(row["customer_type"], row["is_remote"]) for row in rows]
    elif measure == "tools":
        rows = [row for row in world.rows["tool_usage"].get((org, day), []) if row["accepted"] + row["rejected"] > 0]
        links = [row["tool_name"] for row in rows]
    else:
        rows = [
            row
            for row in world.rows["model_usage"].get((org, day), [])
            if row["customer_type"] == measure and _in_dollars(row)
        ]
        links = [(undated(row["model"]), world.group(row)) for row in rows]
    return {(who, link) for row, link in zip(rows, links, strict=True) if (who := world.who(row))}


def undated(model: str) -> str:
    return re.sub(r"-\d{8}$", "", model, flags=re.ASCII)


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _span(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _back(day: date, count: int, skip: int = 0) -> list[date]:
    """Return the days before and including one, from ``skip`` days back."""
    return [day - timedelta(days=number) for number in range(skip, count)]


def _hours(moment: datetime, day: date) -> float:
    end = datetime.combine(day + timedelta(days=1), time(), UTC)
    return (moment - end) / timedelta(hours=1)


def daily_activity(world: World) -> Iterator[Row]:
    for org, day in world.days():
        usage = world.rows["usage"].get((org, day), [])
        actors = {actor(row) for row in usage if world.is_active([row])}
        done = results(usage)
        amounts = money(world.rows["model_usage"].get((org, day), []), usage)
        counts: dict[str, Row] = {
            "sessions": {
                "active_people": sum(kind == "user_actor" for kind, _ in actors),
                "active_keys": sum(kind == "api_actor" for kind, _ in actors),
                "active_others": sum(kind not in ("user_actor", "api_actor") for kind, _ in actors),
                "lines_net": done["lines_added"] - done["lines_removed"],
                **done,
                **detail(usage),
            },
            "tools": tools(usage),
            "api": {"api_cost_usd": amounts["api_cost_usd"]},
            "subscription": {"subscription_value_usd": amounts["subscription_value_usd"]},
        }
        row: Row = {"date": day, "organization_id": org, **_state(world, org, day)}
        for measure, values in counts.items():
            known = world.is_loaded(org, day) and is_shown(world, org, day, measure)
            row |= values if known else dict.fromkeys(values)
        yield {**row, "is_withheld": not is_shown(world, org, day, "sessions")}


def _state(world: World, org: str, day: date) -> Row:
    return {"is_loaded": world.is_loaded(org, day), "is_complete": world.is_complete(org, day)}


def adoption(world: World) -> Iterator[Row]:
    rosters = {
        org: _member_seats(world, org) if world.roster is None else world.roster for org in world.organizations()
    }
    for org, day in world.days():
        history = (day - world.first_day(org)).days

        def active(days: Iterable[date], org: str = org) -> set[str]:
            return set().union(*(world.active.get((org, day), set()) for day in days))

        today = active([day])
        before = active(_span(world.first_day(org), day - timedelta(days=1)))
        month = active(_back(day, 28))
        loaded = [past for past in _back(day, 28) if world.is_loaded(org, past)]
        mean = ratio(sum(len(active([past])) for past in loaded), len(loaded))
        eligible = {
            person(row)
            for row in rosters[org]
            if person(row) and (row["valid_from"] or day) <= day <= (row["valid_to"] or day)
        }
        row: Row = {
            "date": day,
            "organization_id": org,
            **_state(world, org, day),
            "is_withheld": not is_shown(world, org, day, "sessions"),
            "daily_active_people": len(today) if world.is_loaded(org, day) else None,
            "weekly_active_people": len(active(_back(day, 7))),
            "days_loaded_7": world.loaded_days(org, _back(day, 7)),
            "monthly_active_people": len(month),
            "days_loaded_28": world.loaded_days(org, _back(day, 28)),
            "mean_daily_active_people": mean,
            "stickiness": ratio(mean, len(month)),
            "new_people": len(today - before),
            "returning_people": len((today & before) - active(_back(day, 29, 1))),
            "gone_quiet_people": len(active(_back(day, 57, 29)) - active(_back(day, 29))) if history >= 56 else None,
            "days_loaded_57": world.loaded_days(org, _back(day, 57)),
            "eligible_people": len(eligible),
            "eligible_active_people": len(eligible & month),
            "adoption_rate": ratio(len(eligible & month), len(eligible)),
            "idle_seats": len(eligible - month),
        }
        if history < 28 or not world.is_loaded(org, day):
            row |= {"new_people": None, "returning_people": None}
        if row["is_withheld"]:
            row |= dict.fromkeys(("daily_active_people", "new_people", "returning_people"))
        if world.few(active(_back(day, 7))):
            row["weekly_active_people"] = None
        if world.few(month):
            row |= dict.fromkeys(("monthly_active_people", "mean_daily_active_people", "stickiness"))
        if not eligible:
            row |= dict.fromkeys(("eligible_people", "eligible_active_people", "adoption_rate", "idle_seats"))
        yield row


def snapshots(world: World, org: str, table: str = "members") -> dict[date, list[Row]]:
    """Return the rows of each snapshot of an organisation that has some: those of its newest load."""
    found = {}
    rows_of = _grouped(getattr(world, table), lambda row: (row["date"], row["loaded_at"]))
    for day in sorted(day for (loader, day, name) in world.newest if (loader, name) == (org, table)):
        if rows := rows_of.get((day, world.newest[org, day, table]["loaded_at"])):
            found[day] = rows
    return found


def _organizations_with_snapshots(world: World) -> list[str]:
    return sorted({org for org, _, table in world.newest if table == "members"})


def _address(member: Row) -> str:
    return person({"actor_id": member["email"]})


def _member_seats(world: World, org: str) -> list[Row]:
    """Read the snapshots in order, and record who joins and who leaves."""
    seats: list[Row] = []
    present: dict[tuple[str, str], Row] = {}
    for number, (day, members) in enumerate(snapshots(world, org).items()):
        now = {(row["user_id"], _address(row)): row["added_at"].date() for row in members}
        for gone in present.keys() - now.keys():
            present.pop(gone)["valid_to"] = day - timedelta(days=1)
        for come in now.keys() - present.keys():
            first = min(day, now[come]) if number == 0 else day
            present[come] = {"actor_id": come[1], "valid_from": first, "valid_to": None}
            seats.append(present[come])
    return seats


def members_activity(world: World) -> Iterator[Row]:
    for org in _organizations_with_snapshots(world):
        taken = snapshots(world, org)
        addresses = defaultdict(set)
        for members in taken.values():
            for row in members:
                addresses[row["user_id"]].add(_address(row))
        for day, members in taken.items():
            is_last = all(world.bucket(day) != world.bucket(later) for later in taken if later > day)
            if not is_last and world.min_group_size > 1:
                continue
            window = _back(day, 28)
            usage_known = org in world.loaders and any(world.is_loaded(org, past) for past in window)
            used = set().union(*(world.active.get((org, past), set()) for past in window))
            active = {row["user_id"] for row in members if addresses[row["user_id"]] & used}
            spaces = snapshots(world, org, "workspaces").get(day, [])
            ours = {row["workspace_id"] for row in spaces if row["is_claude_code"] and not row["archived_at"]}
            signed = snapshots(world, org, "workspace_members").get(day, [])
            signed_in = {row["user_id"] for row in signed if row["workspace_id"] in ours}
            groups = _grouped(members, lambda row: row["role"])
            people: dict[Any, Members] = {
                role: {(row["user_id"], None) for row in rows} for role, rows in groups.items()
            }
            for role, rows in with_folding(world, groups, people).items():
                ids = {row["user_id"] for row in rows}
                yield {
                    "date": day,
                    "organization_id": org,
                    "role": role,
                    "members": len(ids),
                    "signed_in_members": len(ids & signed_in) if ours else None,
                    "active_members": len(ids & active) if usage_known else None,
                    "idle_members": len(ids - active) if usage_known else None,
                    "days_loaded_28": world.loaded_days(org, window) if org in world.loaders else 0,
                }


def _workspaces_of_keys(world: World) -> list[Row]:
    places, owners = defaultdict(set), defaultdict(set)
    for org in _organizations_with_snapshots(world):
        for rows in snapshots(world, org, "api_keys").values():
            for row in rows:
                places[row["name"]].add((org, row["workspace_id"]))
                owners[org, row["workspace_id"]] |= {row["created_by_user_id"]} - {None}
    always = {"actor_type": "api_actor", "cost_centre": None, "valid_from": None, "valid_to": None}
    mapping = []
    for name, found in places.items():
        (org, workspace), *more = found
        if (
            not more
            and workspace
            and (not owners[org, workspace] or len(owners[org, workspace]) >= world.min_group_size)
        ):
            mapping.append({**always, "actor_id": name, "team": _workspace_name(world, org, workspace)})
    return mapping


def _workspace_name(world: World, org: str, workspace: str | None) -> str | None:
    names = [
        row["name"]
        for rows in snapshots(world, org, "workspaces").values()
        for row in rows
        if row["workspace_id"] == workspace
    ]
    return names[-1] if names else None


def keys(world: World) -> Iterator[Row]:
    for org in _organizations_with_snapshots(world):
        newest: dict[str, Row] = {}
        ids_by_name, names_by_id = defaultdict(set), defaultdict(set)
        for rows in snapshots(world, org, "api_keys").values():
            for row in rows:
                newest[row["api_key_id"]] = row
                ids_by_name[row["name"]].add(row["api_key_id"])
                names_by_id[row["api_key_id"]].add(row["name"])
        taken = snapshots(world, org)
        owners = {row["user_id"]: (_address(row), day == max(taken)) for day, rows in taken.items() for row in rows}
        of_cost = {(load["date"], load["loaded_at"]) for (loader, _, table), load in world.newest.items()
                   if (loader, table) == (org, "cost")}  # fmt: skip
        for key_id, row in newest.items():
            mine = names_by_id[key_id]
            ambiguous = any(len(ids_by_name[name]) > 1 for name in mine)

            def is_used(record: Row, mine: set[str] = mine, org: str = org) -> bool:
                name = record["actor_id"]
                return record["organization_id"] == org and record["actor_type"] == "api_actor" and name in mine - {""}

            usage = list(filter(is_used, world.usage))
            used = [record["date"] for record in usage if world.is_active([record])]
            charged = [
                entry["amount_cents"]
                for entry in world.cost
                if (entry["date"], entry["loaded_at"]) in of_cost and entry["currency"] == "USD"
                if (entry["actor_type"], entry["actor_id"]) == ("api_actor", key_id)
            ]
            owner, is_member = owners.get(row["created_by_user_id"], (None, None))
            of_usage = {
                "first_used": min(used, default=None),
                "last_used": max(used, default=None),
                "sessions": total(usage, "num_sessions"),
                "api_cost_usd": money(filter(is_used, world.model_usage))["api_cost_usd"],
            }
            yield {
                "organization_id": org,
                "api_key_id": key_id,
                "name": row["name"],
                "status": row["status"],
                "workspace": _workspace_name(world, org, row["workspace_id"]),
                "owner": owner,
                "owner_is_member": is_member,
                "last_snapshot": row["date"],
                "is_ambiguous": ambiguous,
                **(dict.fromkeys(of_usage) if ambiguous else of_usage),
                "charged_usd": exact_sum(charged).scaleb(-2) if of_cost else None,
            }


def adoption_shares(world: World) -> Iterator[Row]:
    locations = {True: "remote", False: "local", None: "unknown"}
    dimensions: dict[str, Callable[[Row], str]] = {
        "terminal_type": lambda row: row["terminal_type"],
        "location": lambda row: locations[row["is_remote"]],
        "customer_type": lambda row: row["customer_type"],
    }
    for org, first, last in world.buckets():
        active = [row for row in _within(world.usage, org, first, last) if world.who(row) and world.is_active([row])]
        whole = total(active, "num_sessions")
        for dimension, value_of in dimensions.items():
            groups = _grouped(active, value_of)
            members: dict[Any, Members] = {
                value: {(world.who(row), row["customer_type"] if dimension == "location" else None) for row in rows}
                for value, rows in groups.items()
            }
            for value, rows in with_folding(world, groups, members).items():
                has_sessions = dimension != "terminal_type"
                yield {
                    **_month(world, org, first, last),
                    "dimension": dimension,
                    "value": value,
                    "people": len(world.people(rows)),
                    "share_of_people": ratio(len(world.people(rows)), len(world.people(active))),
                    "sessions": total(rows, "num_sessions") if has_sessions else None,
                    "share_of_sessions": ratio(total(rows, "num_sessions"), whole) if has_sessions else None,
                }


def uses_tokens(entry: Row) -> bool:
    return any(entry[name] > 0 for name in TOKENS)


def _in_dollars(entry: Row) -> bool:
    """Return whether an entry contributes to a cost in US dollars."""
    return (uses_tokens(entry) or entry["estimated_cost_cents"] != 0) and entry["currency"] == "USD"


def _model_members(world: World, entries: Iterable[Row]) -> dict[Any, Members]:
    """Return whose the tokens and the amounts of each model are."""
    return {
        model: {
            (who, group)
            for (who, group), own in _grouped(rows, lambda row: (world.who(row), world.group(row))).items()
            if who and any(map(uses_tokens, own)) and any(map(_in_dollars, own))
        }
        for model, rows in _grouped(entries, lambda row: undated(row["model"])).items()
        if world.people(rows)
    }


def family(model: str) -> str:
    """Return the first word after "claude-" and the numbers that may follow it."""
    _, found, name = model.lower().partition("claude-")
    words = name.split("-")
    while words and re.fullmatch("[0-9]+", words[0]) and len(words) > 1:
        words.pop(0)
    word = re.match("[a-z]*", words[0])[0] if found else ""  # type: ignore[index]
    return word or model


def model_costs(world: World) -> Iterator[Row]:
    for org, first, last in world.buckets():
        by_type = _grouped(_within(world.model_usage, org, first, last), lambda row: row["customer_type"])
        shown = [
            (kind, model, rows)
            for kind, entries in by_type.items()
            for model, rows in with_folding(
                world, _grouped(entries, lambda row: undated(row["model"])), _model_members(world, entries)
            ).items()
        ]
        whole = {
            name: exact_sum([amount for _, _, rows in shown if (amount := money(rows)[name]) is not None])
            for name in ("api_cost_usd", "subscription_value_usd")
        }
        for kind, model, rows in shown:
            cost = money(rows)
            tokens = {name: total(rows, name) for name in TOKENS}
            went_in = tokens["input_tokens"] + tokens["cache_read_tokens"] + tokens["cache_creation_tokens"]
            used = [row for row in rows if uses_tokens(row)]
            yield {
                **_month(world, org, first, last),
                "customer_type": kind,
                "model": model,
                "model_family": None if model == SMALL else family(model),
                "people": len(world.people(used)),
                "machines": world.machines_of(used),
                "entries": len(rows),
                "entries_rounded_to_zero": sum(row["estimated_cost_cents"] == 0 for row in used),
                **tokens,
                "cache_read_ratio": ratio(tokens["cache_read_tokens"], went_in),
                **cost,
                "share_of_api_cost": ratio(cost["api_cost_usd"], whole["api_cost_usd"]),
                "share_of_subscription_value": ratio(cost["subscription_value_usd"], whole["subscription_value_usd"]),
            }


def tool_acceptance(world: World) -> Iterator[Row]:
    def is_used(row: Row) -> bool:
        return row["accepted"] + row["rejected"] > 0

    for org, first, last in world.buckets():
        groups = _grouped(_within(world.tool_usage, org, first, last), lambda row: row["tool_name"])
        for tool, rows in with_folding(world, groups, members_of(world, groups, is_used)).items():
            accepted, rejected = total(rows, "accepted"), total(rows, "rejected")
            yield {
                **_month(world, org, first, last),
                "tool_name": tool,
                "people": len(world.people(filter(is_used, rows))),
                "machines": world.machines_of(filter(is_used, rows)),
                "offered": accepted + rejected,
                "accepted": accepted,
                "rejected": rejected,
                "acceptance_rate": ratio(accepted, accepted + rejected),
            }


def _within(rows: Iterable[Row], org: str, first: date, last: date) -> list[Row]:
    return [row for row in rows if row["organization_id"] == org and first <= row["date"] <= last]


def _month(world: World, org: str, first: date, last: date) -> Row:
    return {
        "period_start": first,
        "organization_id": org,
        "days_in_period": (last - first).days + 1,
        "days_loaded": world.loaded_days(org, _span(first, last)),
    }


def cost_allocation(world: World) -> Iterator[Row]:
    for org, first, last in buckets_with_charges(world):
        entries = [row for row in _within(world.model_usage, org, first, last) if row["currency"] == "USD"]
        charges = [row for row in _within(world.charges.rows, org, first, last) if row["currency"] == "USD"]
        if _is_charged_for_few_others(world, charges):
            charges = []
        kinds: dict[str, tuple[list[Row], str, Callable[[Row], bool]]] = {
            **{
                name: ([row for row in entries if row["customer_type"] == of], "estimated_cost_cents", _in_dollars)
                for name, of in (("api_cost", "api"), ("subscription_value", "subscription"))
            },
            "charged": (charges, "amount_cents", lambda row: row["amount_cents"] != 0),
        }  # fmt: skip
        for kind, (rows_of_kind, column, counts) in kinds.items():
            groups = _grouped(rows_of_kind, world.group)
            for name, rows in with_folding(world, groups, members_of(world, groups, counts)).items():
                team, cost_centre = (SMALL, None) if name == SMALL else name
                having = [row for row in rows if counts(row)]
                yield {
                    **_month(world, org, first, last),
                    "amount": kind,
                    "team": team,
                    "cost_centre": cost_centre,
                    "people": len(world.people(having)),
                    "keys": sum(kind != "user_actor" for kind, _ in world.people(having)),
                    "machines": world.machines_of(having),
                    "amount_usd": _to_nine_places(exact_sum([row[column] for row in rows]).scaleb(-2)),
                    "charged_days": charged_days(world, org, first, last) if kind == "charged" else None,
                }


def _is_charged_for_few_others(world: World, charges: Iterable[Row]) -> bool:
    """Say whether few people are charged for other products than Claude Code."""
    others = (row for row in charges if row["product"] not in ("claude_code", "claude-code") and row["amount_cents"])
    return world.few(world.people(others))


def buckets_with_charges(world: World) -> Iterator[tuple[str, date, date]]:
    """Yield the weeks or months of organisations, also of those that have charges and no usage: then the parent's."""
    buckets = list(world.buckets())
    known = {org for org, _, _ in buckets} | world.organizations()
    yield from buckets
    for org in {org for org, _ in world.charges.days()} - known:
        loader = min(world.charges.loaders_of(org))
        yield from ((org, first, last) for parent, first, last in buckets if parent == loader)


def charged_days(world: World, org: str, first: date, last: date) -> int | None:
    """Count the days with complete charges; None when no day has any."""
    loads = [world.charges.loads_of(org, day) for day in _span(first, last)]
    return sum(bool(of_day) and all(load["complete"] for load in of_day) for of_day in loads) if any(loads) else None


def _to_nine_places(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("1e-9"), ROUND_HALF_UP)


def people_monthly(world: World) -> Iterator[Row]:
    for org, first, last in world.months():
        entries = _grouped(_within(world.model_usage, org, first, last), actor)
        for (actor_type, actor_id), rows in _grouped(_within(world.usage, org, first, last), actor).items():
            yield {
                **_month(world, org, first, last),
                "actor_type": actor_type,
                "actor_id": actor_id,
                "active_days": len({row["date"] for row in rows if world.is_active([row])}),
                **results(rows),
                **tools(rows),
                **money(entries[actor_type, actor_id], rows),
                **detail(rows),
            }


def productivity_ratios(world: World) -> Iterator[Row]:
    units = {
        "per_person": ("people", 1),
        "per_session": ("sessions", 1),
        "per_commit": ("commits", 1),
        "per_pull_request": ("pull_requests", 1),
        "per_1000_lines_added": ("lines_added", 1000),
    }
    for org, first, last in world.buckets():
        usage = [row for row in _within(world.usage, org, first, last) if world.who(row)]
        entries = [row for row in _within(world.model_usage, org, first, last) if world.who(row)]
        charges = [
            row for row in _within(world.charges.rows, org, first, last) if world.who(row) and row["currency"] == "USD"
        ]
        groups = _grouped(usage, lambda row: row["customer_type"])
        members = members_of(world, groups, lambda row: world.is_active([row]))
        for kind, rows in with_folding(world, groups, members).items():
            done = results(rows)
            mine = [row for row in entries if row["customer_type"] == kind]
            amounts = money(mine)
            if world.few(world.people(filter(_in_dollars, mine))):
                amounts = dict.fromkeys(amounts)
            days = charged_days(world, org, first, last)
            charged = _to_nine_places(exact_sum([row["amount_cents"] for row in charges]).scaleb(-2))
            of_few = world.few(world.people(row for row in charges if row["amount_cents"]))
            if days is None or of_few or _is_charged_for_few_others(world, charges):
                charged = None
            row = {
                **_month(world, org, first, last),
                "customer_type": kind,
                "people": len(world.people(row for row in rows if world.is_active([row]))),
                **{name: done[name] for name in ("sessions", "commits", "pull_requests", "lines_added")},
                "api_cost_usd": amounts["api_cost_usd"],
                "subscription_value_usd": amounts["subscription_value_usd"],
                **detail(rows),
                "charged_days": days or 0,
                "charged_usd": charged,
            }
            kinds = {"api_cost_usd": "api", "charged_usd": "api", "subscription_value_usd": "subscription"}
            for amount, its_kind in kinds.items():
                row[amount] = row[amount] if kind == its_kind else None
                for unit, (name, factor) in units.items():
                    per_one = ratio(row[amount], row[name])
                    row[f"{amount}_{unit}"] = None if per_one is None else per_one * factor
            yield row


def cost_reconciliation(world: World) -> Iterator[Row]:
    charges, today = world.charges, world.now.date()
    spine = set(world.days())
    for org, first, last in world.buckets():
        days = [
            day
            for day in _span(first, last)
            if (org, day) in spine and (charges.loads_of(org, day) or (today - day).days >= 2)
        ]
        if any(charges.loads_of(org, day) for day in days):
            yield from _reconciled(world, org, first, last, days)


def _reconciled(world: World, org: str, first: date, last: date, days: list[date]) -> Iterator[Row]:
    compared = [day for day in days if world.is_loaded(org, day) and world.charges.loads_of(org, day)]
    pairs = [pair for day in compared for pair in _pairs(world, org, day)]
    without_detail = sum(
        row["num_sessions"]
        for day in compared
        for row in world.rows["usage"].get((org, day), [])
        if row["customer_type"] == "api" and not row["model_count"]
    )
    reason = _reason(world, org, days)
    estimated = _model_members(
        world, (row for row in _within(world.model_usage, org, first, last) if row["customer_type"] == "api")
    )
    small = folded(estimated, world.min_group_size)

    def shown_model(model: str) -> str:
        return SMALL if model in small else model

    hidden = {shown_model(model) for model in estimated if hides_all(estimated, world.min_group_size)}
    # Whoever knows all that is charged and the tokens knows the rest.
    others: dict[bool, set[Any]] = {True: set(), False: set()}
    members: dict[Any, Members] = {
        shown_model(pair["model"]): set() for pair in pairs if pair["actor_type"] and world.who(pair)
    }
    for row in _within(world.charges.rows, org, first, last):
        if not (row["amount_cents"] and row["currency"] == "USD" and (who := world.who(row))):
            continue
        is_claude_code = row["product"] in ("claude_code", "claude-code")
        if not is_claude_code or row["cost_type"] != "tokens":
            others[is_claude_code].add(who)
        else:
            model = shown_model(undated(row["model"] or "(no model)"))
            members.setdefault(model, set()).add((who, world.group(row)))
    if hides_all(members, world.min_group_size):
        hidden |= members.keys()
    folded_again = folded(members, world.min_group_size)
    for currency in {pair["currency"] for pair in pairs} or {None}:
        of_currency = [pair for pair in pairs if pair["currency"] == currency]
        models = _grouped(
            of_currency,
            lambda pair: SMALL if shown_model(pair["model"]) in folded_again else shown_model(pair["model"]),
        )
        for model, rows in [(None, of_currency), *models.items()]:
            why = reason or ("currencies differ" if any(pair["of_one_side"] for pair in rows) else None)
            sums = {name: exact_sum([pair[name] or 0 for pair in rows]) for name in _AMOUNTS}
            unmatched = [pair for pair in rows if (pair["unmatched_estimate"], pair["unmatched_list"]) != (0, 0)]
            if why:
                verdict = "not comparable"
            elif (world.now.date() - last).days <= 30:
                verdict = "open"
            elif without_detail:
                verdict = "estimate incomplete"
            elif not sums["beyond_list"] and not unmatched:
                verdict = "equal to list"
            else:
                verdict = "unexplained" if sums["beyond_charged"] or unmatched else "equal to charged"
            everything = world.min_group_size == 1
            known = everything or (
                len(compared) == len(days)
                and currency in ("USD", None)
                and not any(0 < len(it) < world.min_group_size for it in (others[True], others[True] | others[False]))
                and not any(shown_model(pair["model"]) in hidden for pair in rows)
            )
            if not known and model is not None:
                continue
            amounts = {
                "estimated_cents": sums["estimate"],
                "list_cents": sums["list"],
                "charged_cents": sums["charged"],
                "estimate_minus_list_cents": exact_sum([sums["estimate"], -sums["list"]]),
                "estimate_minus_charged_cents": exact_sum([sums["estimate"], -sums["charged"]]),
            }
            differences = {
                "unexplained_cents": sums["beyond_list"],
                "unmatched_estimate_cents": sums["unmatched_estimate"],
                "unmatched_list_cents": sums["unmatched_list"],
            }
            yield {
                "period_start": first,
                "organization_id": org,
                "currency": currency,
                "model": model,
                "verdict": verdict,
                "reason": why,
                "days": len(days),
                "days_compared": len(compared),
                **(amounts if compared and known else dict.fromkeys(amounts)),
                **(differences if compared and everything else dict.fromkeys(differences)),
                "shared_key_names": sum(len(pair["keys"]) > 1 for pair in rows) if compared else None,
                "discount": 1 - float(sums["charged"]) / float(sums["list"]) if known and sums["list"] else None,
            }


_AMOUNTS = (
    "estimate", "list", "charged", "beyond_list", "beyond_charged", "unmatched_estimate", "unmatched_list"
)  # fmt: skip


def _reason(world: World, org: str, days: list[date]) -> str | None:
    """Say why days cannot be compared."""
    loads = {day: world.charges.loads_of(org, day) for day in days}
    everything = [load for of_day in loads.values() for load in of_day]

    def identity(load: Row) -> tuple[str, str | None]:
        return load["actor_identity"], load["pseudonym_key_id"]

    def differs(load: Row) -> bool:
        usage = world.newest.get((load["organization_id"], load["date"], "usage"))
        return usage is not None and identity(usage) != identity(load)

    def lacks_claude_code(load: Row) -> bool:
        products = json.loads(load["request"])["products"] if load["request"] else []
        return bool(products) and "claude_code" not in products

    reasons = {
        "usage not loaded": any(not world.is_loaded(org, day) for day in days),
        "usage incomplete": any(not world.is_complete(org, day) for day in days),
        "charges not loaded": any(not of_day for of_day in loads.values()),
        "charges incomplete": any(not load["complete"] for load in everything),
        "Claude Code not asked for": any(map(lacks_claude_code, everything)),
        "identities differ": any(map(differs, everything)),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _pairs(world: World, org: str, day: date) -> list[Row]:
    """Combine the estimate and the charges of a day by currency, actor and model."""
    pairs: dict[Any, Row] = {}

    def pair(row: Row, who: str) -> Row:
        model = re.sub(r"-\d{8}$", "", row["model"] or "(no model)")
        key = row["currency"], row["actor_type"], who, model
        new = {"estimate": None, "list": None, "charged": None, "entries": [], "keys": set()}
        # The folding of people looks for who it is.
        known = {"currency": row["currency"], "actor_type": row["actor_type"], "model": model, "actor_id": who}
        return pairs.setdefault(key, known | new)

    for row in world.rows["model_usage"].get((org, day), []):
        if row["customer_type"] == "api":
            who = world.charges.person_of(person(row), day) if is_user(row) else person(row)
            pair(row, who)["entries"].append(row["estimated_cost_cents"])
    for row in _within(world.charges.rows, org, day, day):
        if row["product"] in ("claude_code", "claude-code") and row["cost_type"] == "tokens":
            who = row["user_id"] or row["actor"]
            found = pair(row, who)
            found["list"] = exact_sum([found["list"] or 0, row["list_amount_cents"]])
            found["charged"] = exact_sum([found["charged"] or 0, row["amount_cents"]])
            if row["actor_type"] == "api_actor":
                found["keys"].add(row["actor_id"])
    for found in pairs.values():
        found["estimate"] = exact_sum(found["entries"]) if found["entries"] else None
    for found in pairs.values():
        alike = [other for other in pairs.values() if other["currency"] == found["currency"]]
        found["of_one_side"] = any(
            all(other[side] is None for other in alike) and any(other[side] is not None for other in pairs.values())
            for side in ("estimate", "list")
        )
        found |= _differences(found)
    return list(pairs.values())


def _differences(pair: Row) -> Row:
    """Return the difference of an actor's estimate beyond the rounding of its entries."""
    if pair["estimate"] is None or pair["list"] is None:
        return {
            "beyond_list": 0,
            "beyond_charged": 0,
            "unmatched_estimate": pair["estimate"] or 0,
            "unmatched_list": pair["list"] or 0,
        }
    # Half a unit of the last digit, down to a thousandth of a hundredth of a cent.
    digits = [max(0, -entry.normalize().as_tuple().exponent) for entry in pair["entries"]]
    allowance = sum(Decimal(5).scaleb(-places - 1) for places in digits if places <= 5)
    beyond = [abs(pair["estimate"] - pair[other]) - allowance for other in ("list", "charged")]
    beyond_list, beyond_charged = (amount if amount > Decimal("0.000001") else Decimal(0) for amount in beyond)
    return {
        "beyond_list": beyond_list,
        "beyond_charged": beyond_charged,
        "unmatched_estimate": 0,
        "unmatched_list": 0,
    }


def period_totals(world: World) -> Iterator[Row]:
    yield from _totals(world, world.months())


def period_activity(world: World) -> Iterator[Row]:
    yield from _totals(
        world,
        (
            (org, first, last)
            for org, first, last in world.buckets()
            if any(world.is_loaded(org, day) for day in _span(first, last))
        ),
    )


def _totals(world: World, spans: Iterable[tuple[str, date, date]]) -> Iterator[Row]:
    for org, first, last in spans:
        usage = _within(world.usage, org, first, last)
        entries = _within(world.model_usage, org, first, last)
        active = [row for row in usage if world.is_active([row])]
        offered = [row for row in usage if row["tool_actions_accepted"] + row["tool_actions_rejected"] > 0]
        owners = {
            kind: world.people(row for row in entries if row["customer_type"] == kind and _in_dollars(row))
            for kind in ("api", "subscription")
        }
        done = {**results(usage), "sessions_with_model_detail": detail(usage)["sessions_with_model_detail"]}
        actions = {name: value for name, value in tools(usage).items() if name != "acceptance_rate"}
        amounts = money(entries, usage)
        by_type = _grouped(active, lambda row: row["customer_type"])
        yield {
            **_month(world, org, first, last),
            "active_people": len(people_of(active)),
            "active_keys": len(keys_of(active)),
            "counted_people": len(world.people(active)),
            **(dict.fromkeys(done) if world.few(world.people(active)) else done),
            **(dict.fromkeys(actions) if world.few(world.people(offered)) else actions),
            "api_cost_usd": None if world.few(owners["api"]) else amounts["api_cost_usd"],
            "api_cost_people": len(owners["api"]),
            "subscription_value_usd": (
                None if world.few(owners["subscription"]) else amounts["subscription_value_usd"]
            ),
            "subscription_value_people": len(owners["subscription"]),
            "other_cost_entries": (
                None
                if any(world.few(world.people(rows)) for rows in by_type.values())
                else amounts["other_cost_entries"]
            ),
        }


def ai_tool_comparison(world: World) -> Iterator[Row]:
    for org, day in world.days():
        entries = _grouped(filter(is_user, world.rows["model_usage"].get((org, day), [])), person)
        for name, rows in _grouped(filter(is_user, world.rows["usage"].get((org, day), [])), person).items():
            offered = tools(rows)
            yield {
                "tool": "claude_code",
                "date": day,
                "organization_id": org,
                "person": name,
                "is_active": world.is_active(rows),
                "suggestions_offered": offered["tool_actions_offered"],
                "suggestions_accepted": offered["tool_actions_accepted"],
                "lines_added": total(rows, "lines_of_code_added"),
                **money(entries[name], rows),
                "share_of_sessions_with_model_detail": detail(rows)["share_of_sessions_with_model_detail"],
            }


def restatements(world: World) -> Iterator[Row]:
    of_days = [load for load in [*world.loads, *world.other_loads] if stream(load) in ("usage", "cost")]
    groups = _grouped(of_days, lambda row: (row["organization_id"], row["date"], row["table_name"]))

    def less(load: Row, other: Row, column: str) -> Any:
        values = load.get(column), other.get(column)
        return None if None in values else exact_sum([values[0], -values[1]])

    for (org, day, table), loads in groups.items():
        loads.sort(key=lambda row: row["load_id"])
        for before, now in pairwise(loads):
            if before["content_digest"] == now["content_digest"]:
                continue
            identities = [(load["actor_identity"], load["pseudonym_key_id"]) for load in (before, now)]
            yield {
                "date": day,
                "organization_id": org,
                "stream": stream(now),
                "table_name": table,
                "previous_loaded_at": before["loaded_at"],
                "loaded_at": now["loaded_at"],
                "hours_after_day_end": _hours(now["loaded_at"], day),
                "was_complete": before["complete"],
                "is_complete": now["complete"],
                "identity_changed": identities[0] != identities[1],
                "schema_changed": before["schema_version"] != now["schema_version"],
                "request_changed": before["request"] != now["request"],
                "rows_changed": less(now, before, "row_count"),
                "sessions_changed": less(now, before, "num_sessions"),
                "cost_cents_changed": less(now, before, "estimated_cost_cents"),
            }


SETTLED_AFTER = {"usage": timedelta(hours=25), "cost": timedelta(hours=48), "members": timedelta(0)}
"""How long after its beginning a day of each stream is complete."""


def load_health(world: World) -> Iterator[Row]:
    loads = [*world.loads, *world.other_loads]
    by_key = _grouped(loads, lambda row: (row["organization_id"], row["date"], row["table_name"]))
    by_table = _grouped(loads, lambda row: (row["organization_id"], row["table_name"]))
    for (org, table), of_table in by_table.items():
        kind, days_there = stream(of_table[0]), {load["date"] for load in of_table}
        if kind == "usage":
            days = [day for found, day in world.days() if found == org and day >= min(days_there)]
        elif kind == "members":
            days = sorted(days_there)
        else:
            due = (world.now - SETTLED_AFTER[kind]).date()
            days = _span(min(days_there), max(*days_there, due))
        for day in days:
            yield _health(world, org, day, kind, table, by_key.get((org, day, table), []))


def _health(world: World, org: str, day: date, kind: str, table: str, loads: list[Row]) -> Row:
    loads.sort(key=lambda row: row["load_id"])
    complete = [load["loaded_at"] for load in loads if load["complete"]]
    usual = [
        load
        for weeks in (1, 2, 3, 4)
        if (load := world.newest.get((org, day - timedelta(weeks=weeks), table))) and load["complete"]
    ]
    newest = loads[-1] if loads else None
    if newest is None:
        state = "missing"
    elif not newest["complete"]:
        state = "incomplete"
    else:
        state = "loaded" if newest["row_count"] else "empty"
    numbers = {name: [load[name] for load in usual if load[name] is not None] for name in _HEALTH}
    medians = {name: median(known) if known else None for name, known in numbers.items()}
    return {
        "date": day,
        "organization_id": org,
        "stream": kind,
        "table_name": table,
        "state": state,
        **{name: newest[name] if newest else None for name in _HEALTH},
        "loads": len(loads),
        "first_complete_hours_after_day_end": _hours(min(complete), day) if complete else None,
        "loaded_hours_after_day_end": _hours(newest["loaded_at"], day) if newest else None,
        "weekdays_compared": len(usual),
        **{f"median_{name}": medians[name] for name in _HEALTH},
        **{f"{name}_to_median": ratio(newest[name] if newest else None, medians[name]) for name in _HEALTH},
    }


_HEALTH = ("row_count",)


def data_quality(world: World) -> Iterator[Row]:
    """Yield the findings about days that were loaded properly, without their sentences."""
    complete: dict[tuple[str, str], list[date]] = {(org, "usage"): [] for org, _ in world.days()}
    for org, day in world.days():
        complete[org, "usage"] += [day] * world.is_complete(org, day)
    for load in world.other_loads:
        complete.setdefault((load["organization_id"], stream(load)), [])
    for (org, day, _), load in world.newest.items():
        if stream(load) != "usage":
            complete[org, stream(load)] += [day] * load["complete"]
    for (org, kind), days in complete.items():
        later = (SETTLED_AFTER[kind] - SETTLED_AFTER["usage"]) / timedelta(hours=1)
        if not days or _hours(world.now, max(days)) > max(0, world.max_age_hours + later):
            yield {
                "check_name": "freshness",
                "date": max(days, default=None),
                "organization_id": org,
                "table_name": kind,
            }
    for row in load_health(world):
        finding = {"date": row["date"], "organization_id": row["organization_id"], "table_name": row["table_name"]}
        usual = row["median_row_count"] if row["weekdays_compared"] >= 2 else 0
        if row["state"] in ("missing", "incomplete"):
            if datetime.combine(row["date"], time(), UTC) + SETTLED_AFTER[row["stream"]] <= world.now:
                yield {"check_name": "missing_days", **finding}
        elif usual > 0 and usual - row["row_count"] >= usual * world.max_drop:
            yield {"check_name": "volume_drop", **finding}
    for (org, day, table), newest in world.newest.items():
        if table != "usage" or not world.is_loaded(org, day):
            continue
        finding = {"date": day, "organization_id": org, "table_name": table}
        if newest["repeated_keys"]:
            yield {"check_name": "repeated_keys", **finding}
        keys = [
            load["row_count"] - load["repeated_keys"]
            for load in world.loads
            if (load["organization_id"], load["date"], load["table_name"]) == (org, day, table)
        ]
        if newest["row_count"] - newest["repeated_keys"] != max(keys):
            yield {"check_name": "lost_records", **finding}
    yield from _wrong_charges(world)
    yield from _changed_requests(world)
    yield from _wrong_tables_of_users(world)


def _wrong_charges(world: World) -> Iterator[Row]:
    for (org, day, table), load in world.newest.items():
        charges = world.newest.get((org, day, "cost"))
        if table != "cost_totals" or charges is None or charges["load_id"] != load["load_id"]:
            continue

        def of_load(rows: list[Row], load: Row = load) -> list[Row]:
            return [row for row in rows if (row["date"], row["loaded_at"]) == (load["date"], load["loaded_at"])]

        parts, totals = of_load(world.cost), of_load(world.cost_totals)
        for currency in {row["currency"] for row in (*parts, *totals)}:
            mine, said = ([row for row in rows if row["currency"] == currency] for rows in (parts, totals))
            error = Decimal("0.0000000005") * (len(mine) + len(said))
            for name in ("amount_cents", "list_amount_cents"):
                if abs(exact_sum([row[name] for row in mine]) - exact_sum([row[name] for row in said])) > error:
                    yield {"check_name": "cost_total", "date": day, "organization_id": org, "table_name": "cost"}
                    break


def _changed_requests(world: World) -> Iterator[Row]:
    newest: dict[tuple[str, str], dict[date, Row]] = defaultdict(dict)
    for load in sorted([*world.loads, *world.other_loads], key=lambda row: row["load_id"]):
        newest[load["organization_id"], stream(load)][load["date"]] = load
    for (org, kind), by_day in newest.items():
        for before, day in pairwise(sorted(by_day)):
            if by_day[before]["request"] != by_day[day]["request"]:
                yield {"check_name": "request_changed", "date": day, "organization_id": org, "table_name": kind}


def _wrong_tables_of_users(world: World) -> Iterator[Row]:
    used = [row for row in world.usage if person(row)]
    kinds = {row["actor_type"] for row in used} | {"user_actor", "api_actor", "machine"}
    roster = None if world.roster is None else [{**row, "actor_type": "user_actor"} for row in world.roster]
    for name, rows in (("mapping", world.mapping), ("roster", roster)):
        if rows is None:
            continue
        finding = {"check_name": name, "date": None, "organization_id": None, "table_name": name}
        days = defaultdict(list)
        for row in used:
            days[actor(row)].append(row["date"])
        matched = any(
            person(row) and (name == "roster" or (row["valid_from"] or day) <= day <= (row["valid_to"] or day))
            for row in rows
            for day in days[actor(without_machines(row))]
        )
        if not rows or (used and not matched):
            yield finding
        if any(row["valid_from"] and row["valid_to"] and row["valid_from"] > row["valid_to"] for row in rows):
            yield finding
        if any(row["actor_type"] not in kinds for row in rows):
            yield finding


MODELS: dict[str, Callable[[World], Iterable[Row]]] = {
    function.__name__: function
    for function in (
        adoption,
        adoption_shares,
        ai_tool_comparison,
        cost_allocation,
        cost_reconciliation,
        daily_activity,
        data_quality,
        keys,
        load_health,
        members_activity,
        model_costs,
        people_monthly,
        period_activity,
        period_totals,
        productivity_ratios,
        restatements,
        tool_acceptance,
    )
}

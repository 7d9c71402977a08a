"""
The models of ``airflow_provider_claude_code/analytics`` computed a second time, from what their heads say.

Nothing here uses the package or SQL: rows of the four tables are dicts, people are sets, windows are loops. Each
function is named after the model whose rows it returns.
"""

from __future__ import annotations

import calendar
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from tests.records import exact_sum

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
    loads: list[Row] = field(default_factory=list)
    roster: list[Row] = field(default_factory=list)
    mapping: list[Row] = field(default_factory=list)
    min_group_size: int = 5
    max_drop: float = 0.5
    max_age_hours: float = 48
    periods: list[tuple[date, date]] | None = None

    def __post_init__(self) -> None:
        """Find the days that are there, and sort rows by day and organisation."""
        self.newest: dict[tuple[str, date, str], Row] = {}
        for load in sorted(self.loads, key=lambda row: row["load_id"]):
            self.newest[load["organization_id"], load["date"], load["table_name"]] = load
        self.rows: dict[str, dict[Any, list[Row]]] = {}
        self._held = {row["date"] for row in self.usage}
        self.loaders = {org: self._loaders(org) for org in self.organizations()}
        for table in ("usage", "model_usage", "tool_usage"):
            # What a killed first load has left is no whole day.
            kept = [row for row in getattr(self, table) if self.is_loaded(row["organization_id"], row["date"])]
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
        """Yield each organisation's months with their first and last days."""
        seen = dict.fromkeys(self.days())
        if self.periods is not None:
            yield from ((org, *period) for org in dict.fromkeys(org for org, _ in seen) for period in self.periods)
            return
        for org, first in dict.fromkeys((org, day.replace(day=1)) for org, day in seen):
            yield org, first, first.replace(day=calendar.monthrange(first.year, first.month)[1])

    # What records add up to.

    def is_active(self, usage: Iterable[Row]) -> bool:
        counts = ("num_sessions", "commits_by_claude_code", "pull_requests_by_claude_code", "lines_of_code_added")
        counts += ("lines_of_code_removed", "tool_actions_accepted", "tool_actions_rejected", *TOKENS)
        return any((row[name] or 0) > 0 for row in usage for name in counts)


def person(row: Row) -> str:
    """Return who an actor is: addresses, and all rosters hold addresses, whatever their case, others exactly."""
    name = row["actor_id"] or ""
    if row.get("actor_type", "user_actor") != "user_actor":
        return str(name)
    name = re.fullmatch(r"[ \t\n\v\f\r\xa0]*(.*?)[ \t\n\v\f\r\xa0]*", name, re.DOTALL)[1]
    return re.sub("[A-Z]", lambda letter: chr(ord(letter[0]) + 32), name)


def actor(row: Row) -> tuple[str, str]:
    return row["actor_type"], person(row)


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
    """Return the last day that was over for an hour."""
    return (now - timedelta(hours=1)).date() - timedelta(days=1)


def money(entries: Iterable[Row]) -> dict[str, Any]:
    """Split the cost of model entries."""
    entries = list(entries)
    usd = {
        kind: [
            row["estimated_cost_cents"] for row in entries if (row["customer_type"], row["currency"]) == (kind, "USD")
        ]
        for kind in ("api", "subscription")
    }
    return {
        "api_cost_usd": exact_sum(usd["api"]).scaleb(-2) if usd["api"] else None,
        "subscription_value_usd": exact_sum(usd["subscription"]).scaleb(-2) if usd["subscription"] else None,
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


def folded(groups: dict[Any, set[str] | None], size: int) -> set[Any]:
    """
    Return the groups that are shown together: those of few people, and one more where they are too few together.

    Groups give the people who count; those that have no people at all (None) stand for themselves.
    """
    of_people = {group: people for group, people in groups.items() if people is not None}
    small = {group for group, people in of_people.items() if len(people) < size} if size > 1 else set()
    large = sorted((len(people), _text(group), group) for group, people in of_people.items() if len(people) >= size)
    together = set().union(*(of_people[group] for group in small))
    if small and len(together) < size and large:
        small.add(large[0][2])
    return small


def _text(group: Any) -> str:
    return group if isinstance(group, str) else " / ".join(part or "" for part in group)


def who_counts(groups: dict[Any, list[Row]], counts: Callable[[Row], bool]) -> dict[Any, set[str] | None]:
    """Return the people of each group who add something to it; None where it has no people."""
    return {name: people_of(filter(counts, rows)) if people_of(rows) else None for name, rows in groups.items()}


def with_folding(groups: dict[Any, list[Row]], people: dict[Any, set[str] | None], size: int) -> dict[Any, list[Row]]:
    """Put the rows of groups that are folded under one name."""
    small = folded(people, size)
    result: dict[Any, list[Row]] = defaultdict(list)
    for group, rows in groups.items():
        result[SMALL if group in small else group] += rows
    return result


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
        entries = world.rows["model_usage"].get((org, day), [])
        actors = {actor(row) for row in usage if world.is_active([row])}
        done = results(usage)
        counts: Row = {
            "active_people": sum(kind == "user_actor" for kind, _ in actors),
            "active_keys": sum(kind == "api_actor" for kind, _ in actors),
            "active_others": sum(kind not in ("user_actor", "api_actor") for kind, _ in actors),
            "lines_net": done["lines_added"] - done["lines_removed"],
            **done,
            **tools(usage),
            **{name: total(entries, name) if entries else None for name in TOKENS},
            **money(entries),
            **detail(usage),
        }
        if not world.is_loaded(org, day):
            counts = dict.fromkeys(counts)
        yield {"date": day, "organization_id": org, **_state(world, org, day), **counts}


def _state(world: World, org: str, day: date) -> Row:
    return {"is_loaded": world.is_loaded(org, day), "is_complete": world.is_complete(org, day)}


def adoption(world: World) -> Iterator[Row]:
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
            for row in world.roster
            if person(row) and (row["valid_from"] or day) <= day <= (row["valid_to"] or day)
        }
        row: Row = {
            "date": day,
            "organization_id": org,
            **_state(world, org, day),
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
        if not eligible:
            row |= dict.fromkeys(("eligible_people", "eligible_active_people", "adoption_rate", "idle_seats"))
        yield row


def adoption_shares(world: World) -> Iterator[Row]:
    locations = {True: "remote", False: "local", None: "unknown"}
    dimensions: dict[str, Callable[[Row], str]] = {
        "terminal_type": lambda row: row["terminal_type"],
        "location": lambda row: locations[row["is_remote"]],
        "customer_type": lambda row: row["customer_type"],
    }
    for org, day in world.days():
        usage = [row for row in world.rows["usage"].get((org, day), []) if is_user(row)]
        active = [row for row in usage if world.is_active([row])]
        shared = {"date": day, "organization_id": org, **_state(world, org, day)}
        if not active or not world.is_loaded(org, day):
            nothing = ("dimension", "value", "people", "share_of_people", "sessions", "share_of_sessions")
            yield shared | dict.fromkeys(nothing)
            continue
        for dimension, value_of in dimensions.items():
            groups = _grouped(active, value_of)
            people = who_counts(groups, lambda row: True)
            for value, rows in with_folding(groups, people, world.min_group_size).items():
                yield shared | {
                    "dimension": dimension,
                    "value": value,
                    "people": len(people_of(rows)),
                    "share_of_people": ratio(len(people_of(rows)), len(people_of(active))),
                    "sessions": total(rows, "num_sessions"),
                    "share_of_sessions": ratio(total(rows, "num_sessions"), total(usage, "num_sessions")),
                }


def uses_tokens(entry: Row) -> bool:
    return any(entry[name] > 0 for name in TOKENS)


def model_usage_daily(world: World) -> Iterator[Row]:
    for org, day in world.days():
        entries = world.rows["model_usage"].get((org, day), [])
        share = detail(world.rows["usage"].get((org, day), []))["share_of_sessions_with_model_detail"]
        groups = _grouped(entries, lambda row: row["model"])
        people = who_counts(groups, uses_tokens)
        whole = money(entries)
        for model, rows in with_folding(groups, people, world.min_group_size).items():
            cost = money(rows)
            tokens = {name: total(rows, name) for name in TOKENS}
            went_in = tokens["input_tokens"] + tokens["cache_read_tokens"] + tokens["cache_creation_tokens"]
            families = [family for family in ("opus", "sonnet", "haiku") if family in model.lower()]
            yield {
                "date": day,
                "organization_id": org,
                **_state(world, org, day),
                "model": model,
                "model_family": None if model == SMALL else (families or ["other"])[0],
                "people": len(people_of(filter(uses_tokens, rows))),
                "keys": len(keys_of(filter(uses_tokens, rows))),
                "entries": len(rows),
                "entries_rounded_to_zero": sum(
                    row["estimated_cost_cents"] == 0 and any(row[name] > 0 for name in TOKENS) for row in rows
                ),
                **tokens,
                "cache_read_ratio": ratio(tokens["cache_read_tokens"], went_in),
                **cost,
                "share_of_api_cost": ratio(cost["api_cost_usd"], whole["api_cost_usd"]),
                "share_of_subscription_value": ratio(cost["subscription_value_usd"], whole["subscription_value_usd"]),
                "share_of_sessions_with_model_detail": share,
            }
        if not entries:
            yield {
                "date": day,
                "organization_id": org,
                **_state(world, org, day),
                "share_of_sessions_with_model_detail": share,
            }


def tool_acceptance(world: World) -> Iterator[Row]:
    for org, day in world.days():
        offers = world.rows["tool_usage"].get((org, day), [])
        groups = _grouped(offers, lambda row: row["tool_name"])
        offered = {
            tool: [row for row in rows if row["accepted"] + row["rejected"] > 0] for tool, rows in groups.items()
        }
        people = who_counts(groups, lambda row: row["accepted"] + row["rejected"] > 0)
        shared = {"date": day, "organization_id": org, **_state(world, org, day)}
        for tool, rows in with_folding(offered, people, world.min_group_size).items():
            accepted, rejected = total(rows, "accepted"), total(rows, "rejected")
            yield shared | {
                "tool_name": tool,
                "people": len(people_of(rows)),
                "keys": len(keys_of(rows)),
                "offered": accepted + rejected,
                "accepted": accepted,
                "rejected": rejected,
                "acceptance_rate": ratio(accepted, accepted + rejected),
            }
        if not offers:
            yield shared


def _within(rows: Iterable[Row], org: str, first: date, last: date) -> list[Row]:
    return [row for row in rows if row["organization_id"] == org and first <= row["date"] <= last]


def _month(world: World, org: str, first: date, last: date) -> Row:
    return {
        "month": first,
        "organization_id": org,
        "days_in_month": (last - first).days + 1,
        "days_loaded": world.loaded_days(org, _span(first, last)),
    }


def cost_allocation(world: World) -> Iterator[Row]:
    def group(row: Row) -> tuple[str, str | None]:
        for mapped in world.mapping:
            if (
                person(mapped)
                and actor(mapped) == actor(row)
                and ((mapped["valid_from"] or row["date"]) <= row["date"] <= (mapped["valid_to"] or row["date"]))
            ):
                return UNMAPPED if mapped["team"] is None else mapped["team"], mapped["cost_centre"]
        return UNMAPPED, None

    for org, first, last in world.months():
        usage = _grouped(_within(world.usage, org, first, last), group)
        entries = _grouped(_within(world.model_usage, org, first, last), group)
        people = who_counts(usage, lambda row: world.is_active([row]))
        folded_entries = with_folding({name: entries[name] for name in usage}, people, world.min_group_size)
        for name, rows in with_folding(usage, people, world.min_group_size).items():
            team, cost_centre = (SMALL, None) if name == SMALL else name
            yield {
                **_month(world, org, first, last),
                "team": team,
                "cost_centre": cost_centre,
                "people": len(people_of(row for row in rows if world.is_active([row]))),
                "keys": len(keys_of(row for row in rows if world.is_active([row]))),
                "sessions": total(rows, "num_sessions"),
                **money(folded_entries[name]),
                **detail(rows),
            }


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
                **money(entries[actor_type, actor_id]),
                **detail(rows),
            }


def productivity_ratios(world: World) -> Iterator[Row]:
    units = {
        "per_active_person": ("active_people", 1),
        "per_session": ("sessions", 1),
        "per_commit": ("commits", 1),
        "per_pull_request": ("pull_requests", 1),
        "per_1000_lines_added": ("lines_added", 1000),
    }
    for org, first, last in world.months():
        usage = _grouped(filter(is_user, _within(world.usage, org, first, last)), lambda row: row["customer_type"])
        entries = _grouped(
            filter(is_user, _within(world.model_usage, org, first, last)), lambda row: row["customer_type"]
        )
        people = who_counts(usage, lambda row: world.is_active([row]))
        folded_entries = with_folding({kind: entries[kind] for kind in usage}, people, world.min_group_size)
        for kind, rows in with_folding(usage, people, world.min_group_size).items():
            done = results(rows)
            row = {
                **_month(world, org, first, last),
                "customer_type": kind,
                "active_people": len(people_of(row for row in rows if world.is_active([row]))),
                **{name: done[name] for name in ("sessions", "commits", "pull_requests", "lines_added")},
                **money(folded_entries[kind]),
                **detail(rows),
            }
            for amount, its_kind in (("api_cost_usd", "api"), ("subscription_value_usd", "subscription")):
                row[amount] = row[amount] if kind == its_kind else None
                for unit, (name, factor) in units.items():
                    per_one = ratio(row[amount], row[name])
                    row[f"{amount}_{unit}"] = None if per_one is None else per_one * factor
            yield row


def period_totals(world: World) -> Iterator[Row]:
    for org, first, last in world.months():
        usage = _within(world.usage, org, first, last)
        active = [row for row in usage if world.is_active([row])]
        sums = {
            **results(usage),
            **tools(usage),
            **money(_within(world.model_usage, org, first, last)),
            **detail(usage),
        }
        del sums["acceptance_rate"], sums["share_of_sessions_with_model_detail"]
        if not usage:
            sums = dict.fromkeys(sums)
        people = {"active_people": len(people_of(active)), "active_keys": len(keys_of(active))}
        yield {**_month(world, org, first, last), **people, **sums}


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
                **money(entries[name]),
                "share_of_sessions_with_model_detail": detail(rows)["share_of_sessions_with_model_detail"],
            }


def restatements(world: World) -> Iterator[Row]:
    groups = _grouped(world.loads, lambda row: (row["organization_id"], row["date"], row["table_name"]))
    for (org, day, table), loads in groups.items():
        loads.sort(key=lambda row: row["load_id"])
        for before, now in pairwise(loads):
            if before["content_digest"] == now["content_digest"]:
                continue
            costs = before["estimated_cost_cents"], now["estimated_cost_cents"]
            identities = [(load["actor_identity"], load["pseudonym_key_id"]) for load in (before, now)]
            yield {
                "date": day,
                "organization_id": org,
                "table_name": table,
                "previous_loaded_at": before["loaded_at"],
                "loaded_at": now["loaded_at"],
                "hours_after_day_end": _hours(now["loaded_at"], day),
                "was_complete": before["complete"],
                "is_complete": now["complete"],
                "identity_changed": identities[0] != identities[1],
                "rows_changed": now["row_count"] - before["row_count"],
                "sessions_changed": now["num_sessions"] - before["num_sessions"],
                "cost_cents_changed": None if None in costs else exact_sum([costs[1], -costs[0]]),
            }


def load_health(world: World) -> Iterator[Row]:
    by_key = _grouped(world.loads, lambda row: (row["organization_id"], row["date"], row["table_name"]))
    tables = sorted({(load["organization_id"], load["table_name"]) for load in world.loads})
    for org, day in world.days():
        for table in [table for found, table in tables if found == org]:
            loads = sorted(by_key.get((org, day, table), []), key=lambda row: row["load_id"])
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
            medians = {name: median(load[name] for load in usual) if usual else None for name in _HEALTH}
            yield {
                "date": day,
                "organization_id": org,
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


_HEALTH = ("row_count", "num_sessions")


def data_quality(world: World) -> Iterator[Row]:
    """Yield the findings about days that were loaded properly, without their sentences."""
    complete: dict[str, list[date]] = defaultdict(list)
    for org, day in world.days():
        if world.is_complete(org, day):
            complete[org].append(day)
    for org, days in complete.items():
        if _hours(world.now, max(days)) > world.max_age_hours:
            yield {"check_name": "freshness", "date": max(days), "organization_id": org, "table_name": "usage"}
    for row in load_health(world):
        finding = {"date": row["date"], "organization_id": row["organization_id"], "table_name": row["table_name"]}
        usual = row["median_row_count"] if row["weekdays_compared"] >= 2 else 0
        if row["state"] in ("missing", "incomplete"):
            if row["date"] <= last_day_due(world.now):
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
    yield from _wrong_tables_of_users(world)


def _wrong_tables_of_users(world: World) -> Iterator[Row]:
    used = [row for row in world.usage if person(row)]
    kinds = {row["actor_type"] for row in used} | {"user_actor", "api_actor"}
    roster = [{**row, "actor_type": "user_actor"} for row in world.roster]
    for name, rows in (("mapping", world.mapping), ("roster", roster)):
        finding = {"check_name": name, "date": None, "organization_id": None, "table_name": name}
        days = defaultdict(list)
        for row in used:
            days[actor(row)].append(row["date"])
        matched = any(
            person(row) and (name == "roster" or (row["valid_from"] or day) <= day <= (row["valid_to"] or day))
            for row in rows
            for day in days[actor(row)]
        )
        if rows and used and not matched:
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
        daily_activity,
        data_quality,
        load_health,
        model_usage_daily,
        people_monthly,
        period_totals,
        productivity_ratios,
        restatements,
        tool_acceptance,
    )
}

"""The report's numbers on cost and time, regularity and other tools, computed without the package or SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from tests.truth.analytics import (
    Row,
    World,
    _back,
    _member_seats,
    _span,
    _to_nine_places,
    _within,
    is_user,
    money,
    person,
    total,
)
from tests.truth.comparison import known
from tests.truth.records import exact_sum

RESULTS = {
    "commits": "commits_by_claude_code",
    "pull_requests": "pull_requests_by_claude_code",
    "actions": "tool_actions_accepted",
}


def kind(world: World, row: Row) -> str:
    if row["actor_type"] is None:
        return "nobody"
    name = row["actor"] if "actor" in row else person(row)
    machines = {mapped["actor_id"] for mapped in world.mapping or [] if mapped["actor_type"] == "machine"}
    return {"user_actor": "person", "api_actor": "machine" if name in machines else "key"}.get(row["actor_type"], "key")


def days_of(world: World, rows: Iterable[Row], *types: str) -> dict[str, set[date]]:
    """Return the days on which each person was active with one of some customer types, or any."""
    found: dict[str, set[date]] = defaultdict(set)
    for row in rows:
        if is_user(row) and world.is_active([row]) and (not types or row["customer_type"] in types):
            found[person(row)].add(row["date"])
    return found


def period_worth(world: World) -> Iterator[Row]:
    for org, first, last in world.months():
        usage = _within(world.usage, org, first, last)
        entries = _within(world.model_usage, org, first, last)
        charges = [row for row in _within(world.charges.rows, org, first, last) if is_claude_code(row)]
        every, api = days_of(world, usage), days_of(world, usage, "api")
        row: Row = {
            "period_start": first,
            "organization_id": org,
            "days_in_period": (last - first).days + 1,
            "days_loaded": world.loaded_days(org, _span(first, last)),
            "charged_days": charged_days(world, org, first, last),
            "people": len(every),
            "person_days": sum(map(len, every.values())),
            "api_people": len(api),
            "api_person_days": sum(map(len, api.values())),
            "people_beside_api": sum(days != api.get(name, set()) for name, days in every.items()),
            "other_people": len(days_of(world, [it for it in usage if it["customer_type"] != "api"])),
            "api_cost_people": with_cost(world, entries, "person"),
            "charged_people": sum(map(bool, charged_by_person(world, charges).values())),
            "keys": len({person(row) for row in usage if kind(world, row) == "key" and world.is_active([row])}),
            "api_cost_keys": with_cost(world, entries, "key"),
            "charged_keys": sum(map(bool, charged_by_person(world, charges, "key").values())),
            "other_cost_entries": money(entries)["other_cost_entries"],
            "other_charges": sum(row["currency"] != "USD" and row["amount_cents"] != 0 for row in charges),
        }
        for prefix, who in (("", "person"), ("key_", "key"), ("machine_", "machine")):
            done = [it for it in usage if kind(world, it) == who]
            of_api = [it for it in done if it["customer_type"] == "api"]
            if prefix != "machine_":
                row |= {f"{prefix}{name}": total(done, column) for name, column in RESULTS.items()}
            if not prefix:
                row |= {f"api_{name}": total(of_api, column) for name, column in RESULTS.items()}
            row |= sessions(prefix or "api_", of_api)
            if not prefix:
                row |= sessions("subscription_", [it for it in done if it["customer_type"] == "subscription"])
            row[f"{prefix}api_cost_usd"] = money(it for it in entries if kind(world, it) == who)["api_cost_usd"]
        for prefix, who in (("", "person"), ("key_", "key"), ("machine_", "machine"), ("unattributed_", "nobody")):
            amounts = [it["amount_cents"] for it in charges if kind(world, it) == who and it["currency"] == "USD"]
            row[f"{prefix}charged_usd"] = _to_nine_places(exact_sum(amounts).scaleb(-2)) if amounts else None
        yield row


def sessions(prefix: str, rows: list[Row]) -> Row:
    detailed = total((row for row in rows if row["model_count"]), "num_sessions")
    return {f"{prefix}sessions": total(rows, "num_sessions"), f"{prefix}sessions_with_detail": detailed}


def known_sessions(prefix: str, rows: list[Row], entries: Iterable[Row]) -> Row:
    of_api = [row for row in rows if row["customer_type"] == "api"]
    return {
        f"{prefix}sessions": total(of_api, "num_sessions"),
        f"{prefix}sessions_with_cost": known(of_api, entries),
    }


def is_claude_code(row: Row) -> bool:
    return (row["product"] or "").lower().replace("-", "_") == "claude_code"


def charged_days(world: World, org: str, first: date, last: date) -> int:
    loads = [world.charges.loads_of(org, day) for day in _span(first, last)]
    return sum(bool(of_day) and all(load["complete"] for load in of_day) for of_day in loads)


def with_cost(world: World, entries: Iterable[Row], who: str) -> int:
    """Return how many people, or keys, have an estimated cost that is not 0."""
    of_each: dict[str, list[Row]] = defaultdict(list)
    for row in entries:
        if kind(world, row) == who:
            of_each[person(row)].append(row)
    return sum(bool(money(rows)["api_cost_usd"]) for rows in of_each.values())


def charged_by_person(world: World, charges: Iterable[Row], who: str = "person") -> dict[str, Decimal | None]:
    found: dict[str, Decimal | None] = {}
    for row in charges:
        if kind(world, row) == who:
            known = found.setdefault(row["actor"], None)
            if row["currency"] == "USD":
                found[row["actor"]] = (known or Decimal(0)) + row["amount_cents"]
    return found


def plan_mixes(world: World, seat_price_cents: int) -> Iterator[Row]:
    """Go through all numbers of seats."""
    for org, first, last in world.months():
        usage = _within(world.usage, org, first, last)
        charges = [row for row in _within(world.charges.rows, org, first, last) if is_claude_code(row)]
        charged = charged_by_person(world, charges)
        is_charged = charged_days(world, org, first, last) == (last - first).days + 1
        entries: dict[str, list[Row]] = defaultdict(list)
        for entry in filter(is_user, _within(world.model_usage, org, first, last)):
            entries[person(entry)].append(entry)
        costs = []
        for name in set(days_of(world, usage)) | {name for name, cents in charged.items() if cents}:
            split = money(entries[name])
            by_use = (charged.get(name) or 0) if is_charged else (split["api_cost_usd"] or 0) * 100
            costs.append(by_use + (split["subscription_value_usd"] or 0) * 100)
        costs.sort(reverse=True)
        count, size = len(costs), world.min_group_size
        mixes = [
            (exact_sum(costs[seats:]) + seats * seat_price_cents, seats)
            for seats in range(count + 1)
            if (seats == 0 or seats >= size) and (seats == count or count - seats >= size)
        ]
        # Where nobody has a seat, it makes no difference how many people there are.
        mixes.append((exact_sum(costs), 0))
        if costs:
            cents, seats = min(mixes)
            yield {
                "period_start": first,
                "organization_id": org,
                "people": count,
                "at_api_prices_usd": _to_nine_places(exact_sum(costs).scaleb(-2)),
                "seats": seats,
                "mix_usd": _to_nine_places(cents.scaleb(-2)),
                "is_charged": is_charged,
            }


def last_days(world: World) -> dict[str, date]:
    return {org: max(last for it, _, last in world.months() if it == org) for org in world.organizations()}


def seats_on(world: World, org: str, day: date) -> set[str]:
    rows = _member_seats(world, org) if world.roster is None else world.roster
    return {
        person(row) for row in rows if person(row) and (row["valid_from"] or day) <= day <= (row["valid_to"] or day)
    }


def activity_classes(world: World) -> Iterator[Row]:
    for org, last in last_days(world).items():
        if (org, last) not in set(world.days()):
            continue
        window = set(_back(last, 28))
        days: dict[str, set[date]] = defaultdict(set)
        for (it, day), people in world.active.items():
            if it == org and day <= last:
                for name in people:
                    days[name].add(day)
        knows_new = (last - world.first_day(org)).days >= 55
        new = {name for name, of in days.items() if knows_new and of <= window}
        counts = {name: len(of & window) for name, of in days.items() if name not in new}
        eligible = seats_on(world, org, last)
        yield {
            "organization_id": org,
            "last_day": last,
            "days_loaded": world.loaded_days(org, window),
            "new_people": len(new) if knows_new else None,
            "people_12_days": sum(count >= 12 for count in counts.values()),
            "people_4_days": sum(4 <= count <= 11 for count in counts.values()),
            "people_1_day": sum(1 <= count <= 3 for count in counts.values()),
            "eligible_people": len(eligible) if eligible else None,
            "eligible_active_people": sum(bool(days.get(name, set()) & window) for name in eligible)
            if eligible
            else None,
        }


def activity_blocks(world: World) -> Iterator[Row]:
    for org, last in last_days(world).items():
        for block in range(13):
            end = last - timedelta(days=7 * block)
            start = end - timedelta(days=6)
            usage = _within(world.usage, org, start, end)
            entries = _within(world.model_usage, org, start, end)
            people, keys = ([row for row in usage if kind(world, row) == who] for who in ("person", "key"))
            yield {
                "organization_id": org,
                "block": block,
                "first_day": start,
                "last_day": end,
                "days_loaded": world.loaded_days(org, _span(start, end)),
                "people": len(days_of(world, usage)),
                "api_people": len(days_of(world, usage, "api")),
                "api_cost_people": with_cost(world, entries, "person"),
                "keys": len({person(row) for row in keys if world.is_active([row])}),
                "api_cost_keys": with_cost(world, entries, "key"),
                "pull_requests": total(people, "pull_requests_by_claude_code"),
                "key_pull_requests": total(keys, "pull_requests_by_claude_code"),
                **known_sessions("api_", people, entries),
                **known_sessions("key_api_", keys, entries),
                **{
                    f"{prefix}api_cost_usd": money(row for row in entries if kind(world, row) == who)["api_cost_usd"]
                    for prefix, who in (("", "person"), ("key_", "key"))
                },
            }


def tool_days(tables: dict[str, list[Row]]) -> dict[tuple[str, date, str], tuple[bool, bool]]:
    """Return for each tool, day and person whether there is an address, and whether there was activity."""
    found: dict[tuple[str, date, str], tuple[bool, bool]] = {}

    def add(tool: str, day: date, name: str, *, is_known: bool, is_active: bool) -> None:
        if name and tool != "claude_code":
            known, active = found.get((tool, day, name), (False, False))
            found[tool, day, name] = known or is_known, active or is_active

    for row in tables.get("other_tool_days", []):
        add(row["tool"], row["date"], person(row), is_known=True, is_active=bool(row["is_active"]))
    for row in tables.get("copilot_usage", []):
        login = row["user_login"].strip().lower()
        mapped = (person(it) for it in tables["copilot_logins"] if it["login"].strip().lower() == login)
        addresses = [address for address in mapped if address]
        counts = ("user_initiated_interaction_count", "code_generation_activity_count")
        counts += ("code_acceptance_activity_count", "loc_added_sum")
        is_active = any(row[name] for name in (*counts, "used_chat", "used_agent", "used_cli"))
        name = min(addresses, default=login)
        add("github_copilot", row["day"], name, is_known=bool(addresses), is_active=is_active)
    for row in tables.get("cursor_usage", []):
        text = str(row["date"])
        day = datetime.fromtimestamp(int(text) / 1000, UTC).date() if text.isdigit() else date.fromisoformat(text[:10])
        add("cursor", day, person({"actor_id": row["email"]}), is_known=True, is_active=bool(row["isActive"]))
    return found


def tool_comparison(world: World, tables: dict[str, list[Row]]) -> Iterator[Row]:
    others = tool_days(tables)
    for org, first, last in world.months():
        claude: dict[str, set[date]] = days_of(world, _within(world.usage, org, first, last))
        days: dict[str, dict[str, set[date]]] = {"claude_code": claude}
        known = {name for name in claude if name}
        data: dict[str, set[date]] = defaultdict(set)
        for (tool, day, name), (is_known, is_active) in others.items():
            if first <= day <= last:
                data[tool].add(day)
                if is_active:
                    days.setdefault(tool, defaultdict(set))[name].add(day)
                if is_known:
                    known.add(name)
        eligible = seats_on(world, org, last)
        for tool, people in days.items():
            if people:
                yield {
                    "period_start": first,
                    "organization_id": org,
                    "tool": tool,
                    "people": len(people),
                    "person_days": sum(map(len, people.values())),
                    "days_with_data": len(data.get(tool, ())),
                    "unknown_people": len(people.keys() - known),
                    "people_with_both": len(people.keys() & claude.keys() & known),
                    "roster_people": len(people.keys() & eligible & known),
                    "eligible_people": len(eligible) if eligible else None,
                }

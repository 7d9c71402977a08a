"""The comparison of a report and the cost of a day, computed a second time from rows, without SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from tests.truth.analytics import TOKENS, Row, World, actor, is_user, keys_of, people_of, person, total
from tests.truth.records import exact_sum


def comparison_totals(world: World, first: date, last: date) -> Iterator[Row]:
    length = (last - first).days + 1
    weeks = timedelta(weeks=-(-length // 7))
    period = [first + timedelta(days=number) for number in range(length)]
    for org in sorted(world.organizations()):
        for span, days in spans(world, org, period, weeks).items():
            if days:
                yield {"span": span, "organization_id": org, "days": len(days), **sums(world, org, days)}


def spans(world: World, org: str, period: list[date], shift: timedelta) -> dict[str, list[date]]:
    pairs = [day for day in period if world.is_complete(org, day) and world.is_complete(org, day - shift)]
    whole = [day for day in pairs if all(day in pairs for day in _block(period, day)) and len(_block(period, day)) == 7]
    loaded = [day for day in period if world.is_loaded(org, day)]
    loaded_before = [day - shift for day in period if world.is_loaded(org, day - shift)]
    found = {"period": loaded}
    for name, paired in (("", pairs), (" in weeks", whole)):
        before = [day - shift for day in paired]
        found |= {
            f"now{name}": paired,
            f"before{name}": before,
            f"left out{name}": [day for day in loaded if day not in paired],
            f"left out before{name}": [day for day in loaded_before if day not in before],
        }
    for number in range(1, 13):
        week = [period[0] - timedelta(days=7 * number - offset) for offset in range(7)]
        found[f"week {number}"] = week if all(world.is_complete(org, day) for day in week) else []
    return found


def _block(period: list[date], day: date) -> list[date]:
    start = (day - period[0]).days // 7 * 7
    return period[start : start + 7]


def sums(world: World, org: str, days: Iterable[date]) -> Row:
    usage = [row for day in days for row in world.rows["usage"].get((org, day), [])]
    if not usage:
        return {}
    entries = [row for day in days for row in world.rows["model_usage"].get((org, day), [])]
    active = [row for row in usage if world.is_active([row])]
    api = [row for row in usage if row["customer_type"] == "api"]
    dollars = [row for row in entries if row["currency"] == "USD"]
    by_use = [row for row in dollars if row["customer_type"] == "api"]
    included = [row for row in dollars if row["customer_type"] == "subscription"]
    of_people = [row for row in api if is_user(row)]
    of_subscriptions = [row for row in usage if row["customer_type"] == "subscription"]
    return {
        "active_people": len(people_of(active)),
        "active_keys": len(keys_of(active)),
        "counted_people": len({actor(row) for row in active}),
        "tool_people": len({actor(row) for row in usage if offered([row])}),
        "api_actors": len({actor(row) for row in used(by_use)}),
        "api_cost_people": len(people_of(used(by_use))),
        "subscription_actors": len({actor(row) for row in used(included)}),
        "api_people": len(people_of(active_of(world, api))),
        "api_person_days": len({(person(row), row["date"]) for row in active_of(world, of_people)}),
        "sessions": total(usage, "num_sessions"),
        "lines_added": total(usage, "lines_of_code_added"),
        "lines_removed": total(usage, "lines_of_code_removed"),
        "commits": total(usage, "commits_by_claude_code"),
        "pull_requests": total(usage, "pull_requests_by_claude_code"),
        "people_pull_requests": total(filter(is_user, usage), "pull_requests_by_claude_code"),
        "tool_actions_offered": offered(usage),
        "tool_actions_accepted": total(usage, "tool_actions_accepted"),
        "api_cost_usd": amount(by_use) if api else Decimal(0),
        "people_api_cost_usd": amount([row for row in by_use if is_user(row)]) if of_people else Decimal(0),
        "subscription_value_usd": amount(included) if of_subscriptions else Decimal(0),
        "api_sessions": total(api, "num_sessions"),
        "api_sessions_with_cost": known(api, entries),
        "people_api_sessions": total(of_people, "num_sessions"),
        "people_api_sessions_with_cost": known(of_people, entries),
    }


def active_of(world: World, usage: Iterable[Row]) -> list[Row]:
    return [row for row in usage if world.is_active([row])]


def offered(usage: Iterable[Row]) -> int:
    return sum(row["tool_actions_accepted"] + row["tool_actions_rejected"] for row in usage)


def used(entries: Iterable[Row]) -> list[Row]:
    """Return the entries that contribute to a cost."""
    return [row for row in entries if row["estimated_cost_cents"] or any(row[name] for name in TOKENS)]


def costly(entries: Iterable[Row]) -> list[Row]:
    return [row for row in entries if row["estimated_cost_cents"] != 0]


def amount(entries: list[Row]) -> Decimal | None:
    return exact_sum([row["estimated_cost_cents"] for row in entries]).scaleb(-2) if entries else None


def known(api: Iterable[Row], entries: Iterable[Row]) -> int:
    """Return the sessions with a model of those who have no cost in another currency on the day."""
    foreign = {
        (row["date"], actor(row))
        for row in costly(entries)
        if row["customer_type"] == "api" and row["currency"] != "USD"
    }
    detailed = [row for row in api if row["model_count"] > 0 and (row["date"], actor(row)) not in foreign]
    return total(detailed, "num_sessions")


def period_costs(world: World, periods: Iterable[tuple[date, date]]) -> Iterator[Row]:
    for first, last in periods:
        for org in sorted(world.organizations()):
            usage = [row for row in world.usage if row["organization_id"] == org and first <= row["date"] <= last]
            entries = [r for r in world.model_usage if r["organization_id"] == org and first <= r["date"] <= last]
            for kind in sorted({(row["actor_type"], row["customer_type"]) for row in usage}):
                mine, costs = (
                    [r for r in rows if (r["actor_type"], r["customer_type"]) == kind] for rows in (usage, entries)
                )
                dollars = [row for row in costs if row["currency"] == "USD" and kind[1] in ("api", "subscription")]
                foreign = {(r["date"], actor(r)) for r in costly(costs) if r not in dollars}
                detailed = [r for r in mine if r["model_count"] > 0 and (r["date"], actor(r)) not in foreign]
                yield {
                    "period_start": first,
                    "organization_id": org,
                    "actor_type": kind[0],
                    "customer_type": kind[1],
                    "actors": len({actor(row) for row in active_of(world, mine)}),
                    "actors_with_cost": sum(
                        bool(amount([row for row in dollars if actor(row) == who]))
                        for who in {actor(row) for row in dollars}
                    ),
                    "sessions": total(mine, "num_sessions"),
                    "sessions_with_cost": total(detailed, "num_sessions"),
                    "amount_usd": amount(dollars),
                }


def daily_cost(world: World) -> Iterator[Row]:
    """Yield what each day costs by usage alone; charges are tested with numbers that are worked out by hand."""
    for org, day in world.days():
        found = sums(world, org, [day])
        yield {
            "date": day,
            "organization_id": org,
            "is_complete": world.is_complete(org, day),
            "api_actors": found.get("api_actors", 0),
            "api_sessions": found.get("api_sessions", 0),
            "api_sessions_with_cost": found.get("api_sessions_with_cost", 0),
            "api_cost_cents": (found.get("api_cost_usd") or Decimal(0)).scaleb(2),
            "charged_cents": None,
            "charged_actors": 0,
            "is_month_charged": False,
        }

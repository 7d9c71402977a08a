"""
Who is charged, and which days have charges, worked out without the package or SQL.

Rows of ``cost``, ``members``, ``api_keys``, ``usage`` and ``loads`` are dicts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date
from functools import cached_property
from typing import Any

Row = dict[str, Any]
Seen = dict[str, dict[date, str]]


def compared(address: str | None) -> str:
    """Return an address in the form in which addresses are compared."""
    stripped = re.fullmatch(r"[ \t\n\v\f\r\xa0]*(.*?)[ \t\n\v\f\r\xa0]*", address or "", re.DOTALL)[1]
    return re.sub("[A-Z]", lambda letter: chr(ord(letter[0]) + 32), stripped)


def as_of(seen: dict[date, str], day: date) -> str | None:
    """Return the last value on or before a day, else the first one after it."""
    before = [past for past in seen if past <= day]
    return seen[max(before)] if before else seen[min(seen)] if seen else None


@dataclass
class Charges:
    """What the rows of tables say about charges."""

    cost: list[Row]
    members: list[Row]
    api_keys: list[Row]
    usage: list[Row]
    loads: list[Row]

    def _seen(self, id_of: Callable[[Row], str], value_of: Callable[[Row], str]) -> Seen:
        """Collect the values of an id by day. A snapshot takes precedence over charges of the same day."""
        seen: dict[str, dict[date, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in self.members:
            person = {"user_id": row["user_id"], "address": compared(row["email"])}
            seen[id_of(person)][row["date"]].append(value_of(person))
        snapshots = {(id_, day) for id_, days in seen.items() for day in days}
        for row in self.cost:
            person = {"user_id": row["user_id"], "address": compared(row["actor_id"])}
            day = row["loaded_at"].astimezone(UTC).date()
            if row["actor_type"] == "user_actor" and all(person.values()) and (id_of(person), day) not in snapshots:
                seen[id_of(person)][day].append(value_of(person))
        return {id_: {day: min(values) for day, values in days.items()} for id_, days in seen.items()}

    @cached_property
    def _addresses(self) -> Seen:
        return self._seen(lambda person: person["user_id"], lambda person: person["address"])

    @cached_property
    def _ids(self) -> Seen:
        return self._seen(lambda person: person["address"], lambda person: person["user_id"])

    @cached_property
    def _names(self) -> Seen:
        seen: Seen = defaultdict(dict)
        for row in self.api_keys:
            seen[row["api_key_id"]][row["date"]] = row["name"]
        return seen

    def name_in_usage(self, row: Row) -> str:
        """Return how usage names the actor of a row of ``cost`` on its day."""
        if row["actor_type"] == "api_actor":
            return as_of(self._names.get(row["actor_id"], {}), row["date"]) or row["actor_id"]
        if row["actor_type"] == "user_actor":
            known = as_of(self._addresses.get(row["user_id"], {}), row["date"])
            return known or compared(row["actor_id"]) or row["user_id"] or ""
        return row["actor_id"] or ""

    def person_of(self, address: str, day: date) -> str:
        """Return the id of the person with an address on a day, or the address."""
        return as_of(self._ids.get(address, {}), day) or address

    # Days.

    @cached_property
    def newest(self) -> dict[tuple[str, date], Row]:
        """The newest load of charges by organisation of the key and day, where its rows are there."""
        loads = sorted((load for load in self.loads if load["table_name"] == "cost"), key=lambda load: load["load_id"])
        held = {row["date"] for row in self.cost}
        newest = {(load["organization_id"], load["date"]): load for load in loads}
        return {key: load for key, load in newest.items() if load["row_count"] == 0 or key[1] in held}

    @cached_property
    def _parents(self) -> dict[str, set[str]]:
        """Who loads the rows of an organisation."""
        loaders = defaultdict(set)
        for load in self.loads:
            loaders[load["date"], load["loaded_at"]].add(load["organization_id"])
        parents: dict[str, set[str]] = defaultdict(set)
        for row in (*self.cost, *self.usage):
            parents[row["organization_id"]] |= loaders[row["date"], row["loaded_at"]]
        return parents

    def loaders_of(self, org: str) -> set[str]:
        """Return the organisations whose keys load an organisation's charges: itself, or its parents."""
        own = any(loader == org for loader, _ in self.newest)
        return {org} if own else self._parents.get(org, set())

    def loads_of(self, org: str, day: date) -> list[Row]:
        """Return the newest loads of an organisation's charges on a day."""
        return [self.newest[loader, day] for loader in self.loaders_of(org) if (loader, day) in self.newest]

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of ``cost`` with the organisation of each and the actor as in usage."""
        newest = sorted(self.newest.values(), key=lambda load: load["organization_id"], reverse=True)
        of_moment = {(load["date"], load["loaded_at"]): load["organization_id"] for load in newest}
        return [
            {
                **row,
                "organization_id": row["organization_id"] or of_moment[row["date"], row["loaded_at"]],
                "actor": self.name_in_usage(row),
            }
            for row in self.cost
            if (row["date"], row["loaded_at"]) in of_moment
        ]

    def days(self) -> Iterable[tuple[str, date]]:
        """Return the organisations and days that have charges."""
        orgs = {row["organization_id"] for row in (*self.rows, *self.usage)} | {org for org, _ in self.newest}
        days = {day for _, day in self.newest}
        return [(org, day) for org in orgs for day in days if self.loads_of(org, day)]

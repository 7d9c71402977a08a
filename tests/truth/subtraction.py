"""
What can be computed by adding and subtracting what the models show, found without SQL.

Each number that is shown is the sum of a measure over some rows of the tables. Whoever knows the numbers knows every
sum and difference of them, and no more than that. Somebody stands out if such a combination is of rows of fewer people
than min_group_size. Rows of machines' keys are nobody's, as if everybody knew them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

from tests.truth.analytics import SMALL, Row, World, undated, uses_tokens

Person = tuple[str, str]
Vector = tuple[int, ...]
PRIME = 2_147_483_647


@dataclass(frozen=True)
class Cell:
    """
    A number that is shown.

    :param measure: what is added up.
    :param rows: the places of the rows in their table.
    :param value: the number.
    :param source: where it is shown.
    """

    measure: str
    rows: frozenset[int]
    value: Any
    source: str


TABLES = {"sessions": "usage", "pull requests": "usage", "tools": "tool_usage", "charged": "charges"}
"""The table of a measure, if it is not model_usage."""

VALUES: dict[str, Callable[[Row], Any]] = {
    "sessions": lambda row: row["num_sessions"],
    "pull requests": lambda row: row["pull_requests_by_claude_code"],
    "tools": lambda row: row["accepted"] + row["rejected"],
    "charged": lambda row: row["amount_cents"] / 100,
    "tokens": lambda row: row["output_tokens"],
    "api": lambda row: row["estimated_cost_cents"] / 100,
    "subscription": lambda row: row["estimated_cost_cents"] / 100,
}
"""What a row adds to a measure."""

_LOCATIONS = {True: "remote", False: "local", None: "unknown"}


class Shown:
    """
    The cells of what was read from the models.

    :param world: the rows that the models read.
    :param models: the rows of each model.
    """

    def __init__(self, world: World, models: Mapping[str, Iterable[Row]]) -> None:
        self.world = world
        self.tables = {
            "usage": world.usage,
            "tool_usage": world.tool_usage,
            "model_usage": world.model_usage,
            "charges": world.charges.rows,
        }
        self.cells: list[Cell] = []
        self._by_span: dict[Any, list[int]] = {}
        for name, rows in models.items():
            kept = list(rows)
            for row in kept:
                getattr(self, f"_{name}")(row, kept)

    def rows_of(self, measure: str) -> list[Row]:
        return self.tables[TABLES.get(measure, "model_usage")]

    def who(self, measure: str, place: int) -> Person | None:
        """Return the person of a row; nobody for a row without any count, which reveals nothing."""
        row = self.rows_of(measure)[place]
        return self.world.who(row) if self._counts(measure, row) else None

    def _counts(self, measure: str, row: Row) -> bool:
        if measure == "sessions":
            return self.world.is_active([row])
        return VALUES[measure](row) != 0 or (TABLES.get(measure) is None and uses_tokens(row))

    def _within(self, measure: str, row: Row) -> Iterator[int]:
        """Yield the places of a measure's rows that are of the days of a row of a model."""
        first = row["date"] if "date" in row else row["period_start"]
        last = first if "date" in row else self._last(row)
        key = measure, row["organization_id"], first, last
        if key not in self._by_span:
            self._by_span[key] = [
                place
                for place, found in enumerate(self.rows_of(measure))
                if found["organization_id"] == row["organization_id"] and first <= found["date"] <= last
                if measure not in ("api", "subscription")
                or (found["customer_type"], found["currency"]) == (measure, "USD")
                if measure != "charged" or found["currency"] == "USD"
            ]
        yield from self._by_span[key]

    def _last(self, row: Row) -> Any:
        if "days_in_period" in row:
            return row["period_start"].fromordinal(row["period_start"].toordinal() + row["days_in_period"] - 1)
        return self.world.bucket(row["period_start"])[1]

    def _add(self, source: str, measure: str, value: Any, rows: Iterable[int]) -> None:
        if value is not None:
            self.cells.append(Cell(measure, frozenset(rows), value, source))

    def _groups(self, measure: str, row: Row, shown: set[Any], name: Any, name_of: Callable[[Row], Any]) -> list[int]:
        """Return the rows of a group; those of the small ones are all that are not shown by name."""
        found = {place: name_of(self.rows_of(measure)[place]) for place in self._within(measure, row)}
        return [place for place, each in found.items() if (each not in shown if name == SMALL else each == name)]

    # The models.

    def _totals(self, source: str, row: Row) -> None:
        self._add(source, "sessions", row["sessions"], self._within("sessions", row))
        self._add(source, "tools", row["tool_actions_offered"], self._within("tools", row))
        self._add(source, "api", row["api_cost_usd"], self._within("api", row))
        self._add(source, "subscription", row["subscription_value_usd"], self._within("subscription", row))

    def _daily_activity(self, row: Row, _: list[Row]) -> None:
        self._totals("daily_activity", row)

    def _period_activity(self, row: Row, _: list[Row]) -> None:
        self._totals("period_activity", row)

    def _period_totals(self, row: Row, _: list[Row]) -> None:
        self._totals("period_totals", row)

    def _cost_over_time(self, row: Row, _: list[Row]) -> None:
        self._add("cost_over_time", "api", row["api_cost_usd"], self._within("api", row))
        of_claude_code = [
            place for place in self._within("charged", row) if _is_claude_code(self.rows_of("charged")[place])
        ]
        self._add("cost_over_time", "charged", row["charged_usd"], of_claude_code)

    def _tiles(self, row: Row, _: list[Row]) -> None:
        """Numbers of people, with those of keys or without, beside those of everybody."""
        for measure, name in (("pull requests", "pull_requests"), ("api", "api_cost_usd")):
            places = list(self._within(measure, row))
            self._add(f"tiles {name}", measure, row[name], places)
            of_people = [place for place in places if self.rows_of(measure)[place]["actor_type"] == "user_actor"]
            self._add(f"tiles people_{name}", measure, row[f"people_{name}"], places if row["with_keys"] else of_people)

    def _adoption_shares(self, row: Row, rows: list[Row]) -> None:
        if row["dimension"] == "terminal_type":
            assert row["sessions"] is None
            return
        names: dict[str, Callable[[Row], Any]] = {
            "location": lambda found: _LOCATIONS[found["is_remote"]],
            "customer_type": lambda found: found["customer_type"],
        }
        places = self._groups(
            "sessions", row, _names(row, rows, "value", "dimension"), row["value"], names[row["dimension"]]
        )
        self._add(f"adoption_shares {row['value']}", "sessions", row["sessions"], self._of_people("sessions", places))

    def _of_people(self, measure: str, places: Iterable[int]) -> list[int]:
        return [place for place in places if self.world.who(self.rows_of(measure)[place])]

    def _productivity_ratios(self, row: Row, rows: list[Row]) -> None:
        kind, shown = row["customer_type"], _names(row, rows, "customer_type")
        places = self._groups("sessions", row, shown, kind, lambda found: found["customer_type"])
        self._add(f"productivity_ratios {kind}", "sessions", row["sessions"], self._of_people("sessions", places))
        amounts = {"api": "api_cost_usd", "subscription": "subscription_value_usd", "charged": "charged_usd"}
        for measure, name in amounts.items():
            owned = self._of_people(measure, self._within(measure, row))
            self._add(f"productivity_ratios {name}", measure, row[name], owned)

    def _tool_acceptance(self, row: Row, rows: list[Row]) -> None:
        shown = _names(row, rows, "tool_name")
        places = self._groups("tools", row, shown, row["tool_name"], lambda found: found["tool_name"])
        self._add(f"tool_acceptance {row['tool_name']}", "tools", row["offered"], places)

    def _model_costs(self, row: Row, rows: list[Row]) -> None:
        shown, kind = _names(row, rows, "model", "customer_type"), row["customer_type"]
        source = f"model_costs {kind} {row['model']}"
        places = [
            place
            for place in self._groups("tokens", row, shown, row["model"], lambda found: undated(found["model"]))
            if self.rows_of("tokens")[place]["customer_type"] == kind
        ]
        self._add(source, "tokens", row["output_tokens"], places)
        in_dollars = [place for place in places if self.rows_of("tokens")[place]["currency"] == "USD"]
        self._add(source, "api", row["api_cost_usd"], in_dollars)
        self._add(source, "subscription", row["subscription_value_usd"], in_dollars)

    def _cost_allocation(self, row: Row, rows: list[Row]) -> None:
        measure = {"api_cost": "api", "subscription_value": "subscription", "charged": "charged"}[row["amount"]]
        group = SMALL if row["team"] == SMALL else (row["team"], row["cost_centre"])
        shown = {(other["team"], other["cost_centre"]) for other in rows if _is_beside(row, other, "amount")}
        places = self._groups(measure, row, shown, group, self.world.group)
        self._add(f"cost_allocation {row['amount']} {group}", measure, row["amount_usd"], places)

    def _cost_reconciliation(self, row: Row, rows: list[Row]) -> None:
        if row["currency"] != "USD":
            return

        def model(found: Row) -> str:
            return undated(found["model"] or "(no model)")

        shown = _names(row, rows, "model", "currency")
        every = list(self._within("api", row))
        places = every if row["model"] is None else self._groups("api", row, shown, row["model"], model)
        cents = None if row["estimated_cents"] is None else row["estimated_cents"] / 100
        self._add(f"cost_reconciliation estimate {row['model']}", "api", cents, places)
        every = list(self._within("charged", row))
        places = every if row["model"] is None else self._groups("charged", row, shown, row["model"], model)
        tokens = [
            place
            for place in places
            if (found := self.rows_of("charged")[place])["cost_type"] == "tokens" and _is_claude_code(found)
        ]
        cents = None if row["charged_cents"] is None else row["charged_cents"] / 100
        self._add(f"cost_reconciliation charged {row['model']}", "charged", cents, tokens)


def _is_claude_code(row: Row) -> bool:
    return row["product"] in ("claude_code", "claude-code")


def _is_beside(row: Row, other: Row, *columns: str) -> bool:
    return all(row[name] == other[name] for name in ("organization_id", "period_start", *columns))


def _names(row: Row, rows: Iterable[Row], column: str, *columns: str) -> set[Any]:
    return {other[column] for other in rows if _is_beside(row, other, *columns)}


def wrong_cells(shown: Shown) -> list[str]:
    """Return the cells whose number is not the sum of their rows, since the test would misinterpret them."""
    return [
        f"{cell.source}: {cell.value} is not {total}"
        for cell in shown.cells
        for total in [
            sum(map(VALUES[cell.measure], map(shown.rows_of(cell.measure).__getitem__, cell.rows)), Decimal(0))
        ]
        if abs(Decimal(cell.value) - total) > Decimal("0.000001")
    ]


def who_stands_out(shown: Shown, size: int) -> list[str]:
    """
    Return what tells about fewer people than ``size``.

    For few people it is exact. For many it tries to prove that there is nothing, and returns what it could not prove.
    """
    return [
        f"{measure}: {found}"
        for measure in sorted({cell.measure for cell in shown.cells})
        for block in _blocks([cell for cell in shown.cells if cell.measure == measure])
        for found in _attack(shown, measure, block, size)
    ]


def _blocks(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Yield the cells that share rows, directly or by others."""
    left = list(cells)
    while left:
        block = [left.pop()]
        rows = set(block[0].rows)
        grown = True
        while grown:
            touching = [cell for cell in left if cell.rows & rows]
            left = [cell for cell in left if not cell.rows & rows]
            grown = bool(touching)
            block += touching
            rows.update(*(cell.rows for cell in touching))
        yield block


def _attack(shown: Shown, measure: str, cells: list[Cell], size: int) -> list[str]:
    signatures: dict[int, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        for place in cell.rows:
            signatures[place].append(number)
    columns: dict[Person, set[Vector]] = defaultdict(set)
    for place, numbers in signatures.items():
        if who := shown.who(measure, place):
            columns[who].add(tuple(int(number in numbers) for number in range(len(cells))))
    whole = Span()
    for vector in {vector for vectors in columns.values() for vector in vectors}:
        whole.add(vector)
    if 0 < len(columns) < size:
        return [f"{len(columns)} people in all: {[cell.source for cell in cells]}"]
    if _common(columns, size).rank == whole.rank:
        return []
    people = sorted(columns)
    if len(people) > 24:
        return [f"no proof for {sorted({cell.source for cell in cells})}"]
    return [
        f"{group} by {sorted({cell.source for cell in cells})}"
        for group in combinations(people, min(size - 1, len(people)))
        if _rank_without(columns, group) < whole.rank
    ][:3]


def _rank_without(columns: Mapping[Person, set[Vector]], group: tuple[Person, ...]) -> int:
    span = Span()
    for who, vectors in columns.items():
        if who not in group:
            for vector in vectors:
                span.add(vector)
    return span.rank


def _common(columns: Mapping[Person, set[Vector]], size: int) -> Span:
    """
    Return a space that stays whole whoever is left out, as long as they are fewer than ``size``.

    It grows by what at least so many people have each for themselves, besides what it has already: one of their
    columns, or the difference of two.
    """
    span, grown = Span(), True
    while grown:
        people: dict[Vector, set[Person]] = defaultdict(set)
        reduced = {vector: span.reduced(vector) for vectors in columns.values() for vector in set(vectors)}
        directions: dict[tuple[Vector, Vector], Vector] = {}
        for who, vectors in columns.items():
            own = sorted({reduced[vector] for vector in vectors if any(reduced[vector])})
            for vector in own:
                people[_scaled(vector)].add(who)
            for pair in combinations(own, 2):
                if pair not in directions:
                    directions[pair] = _scaled(tuple((a - b) % PRIME for a, b in zip(*pair, strict=True)))
                people[directions[pair]].add(who)
        before = span.rank
        for vector, owners in people.items():
            if len(owners) >= size:
                span.add(vector)
        grown = span.rank > before
    return span


def _scaled(vector: Vector) -> Vector:
    first = next((number for number in vector if number), 1)
    inverse = pow(first, -1, PRIME)
    return tuple(number * inverse % PRIME for number in vector)


class Span:
    """A vector space over a prime field, in which different numbers are rarely equal."""

    def __init__(self) -> None:
        self._rows: dict[int, Vector] = {}

    @property
    def rank(self) -> int:
        return len(self._rows)

    def reduced(self, vector: Vector) -> Vector:
        """Return the part of a vector outside the space: only zeros for a vector of the space."""
        left = list(vector)
        for position, row in self._rows.items():
            if factor := left[position] % PRIME:
                left = [(a - factor * b) % PRIME for a, b in zip(left, row, strict=True)]
        return tuple(number % PRIME for number in left)

    def add(self, vector: Vector) -> None:
        left = _scaled(self.reduced(vector))
        position = next((place for place, number in enumerate(left) if number), None)
        if position is None:
            return
        # Each row has zeros where others begin, so that the order of reducing does not matter.
        for place, row in self._rows.items():
            if factor := row[position]:
                self._rows[place] = tuple((a - factor * b) % PRIME for a, b in zip(row, left, strict=True))
        self._rows[position] = left

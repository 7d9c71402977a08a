"""An invented organisation and what its people and pipelines do with Claude Code, day by day."""

import random
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_claude_code.sandbox.people import Person, person

START = date(2025, 6, 1)
"""First day with usage."""

ADOPTION_DAYS = 270
"""Days from the start until everybody has used Claude Code."""

FRESHNESS = timedelta(hours=1)
"""How long after its activity a record appears, as in the API."""

RESTATED_WEEKDAY = 2
RESTATED_AFTER = timedelta(days=1, hours=6)
"""Wednesdays change once more, six hours after their end."""

# Share of the people who are active, Monday to Sunday, if they use Claude Code regularly.
_PRESENCE = (0.92, 0.97, 0.98, 0.95, 0.81, 0.13, 0.14)
# How regularly people use it: a factor of these shares, with weights.
_REGULARITY = {1.0: 60, 0.5: 25, 0.08: 15}
# One of 19 people works from Wednesday to Sunday, and one of 13 stops some weeks after the first use.
_WEEKEND_WORKERS = 19
_STOPPERS = 13
# One person lets agents work all day.
_DOMINANT = 3
_DOMINANT_EFFORT = 25.0
# Share of the records that name models: lower for those of seats.
_MODEL_DETAIL = {"api": 0.85, "subscription": 0.4}

_TERMINALS = {
    "vscode": 36,
    "iTerm.app": 18,
    "cursor": 12,
    "tmux": 10,
    "Apple_Terminal": 8,
    "WarpTerminal": 6,
    "goland": 5,
    "pycharm": 5,
}

# Share of the rows with the tool. The API's reference names only the first four.
_TOOLS = {
    "edit_tool": 0.95,
    "write_tool": 0.6,
    "multi_edit_tool": 0.3,
    "notebook_edit_tool": 0.06,
    "bash_tool": 0.2,
    "web_fetch_tool": 0.05,
}

# Snapshots of each family from old to new, with the price of a million input and output tokens in cents.
_MODELS = {
    "sonnet": {"claude-sonnet-4-20250514": (300, 1500), "claude-sonnet-4-5-20250929": (300, 1500)},
    "haiku": {"claude-3-5-haiku-20241022": (80, 400), "claude-haiku-4-5-20251001": (100, 500)},
    "opus": {
        "claude-opus-4-20250514": (1500, 7500),
        "claude-opus-4-1-20250805": (1500, 7500),
        "claude-opus-4-5-20251101": (500, 2500),
    },
}

PRICES = {model: prices for family in _MODELS.values() for model, prices in family.items()}
"""Cents for a million input and output tokens by model."""


class _Actor(NamedTuple):
    """Who uses Claude Code, and how."""

    actor: dict[str, str]
    customer_type: str
    subscription: dict[str, str | None]  # the field subscription_type as the API has it: it may be absent
    terminals: list[str]
    works_remotely: bool
    effort: float
    acceptance: float
    regularity: float
    days_of_use: int | None  # until the person stops


@dataclass(frozen=True)
class Organization:
    """
    An invented organisation.

    :param id: the ``organization_id`` of its records
    :param name: its name
    :param seed: seed of its usage
    :param users: number of people who use Claude Code at some time; 0 means no records
    :param is_api_only: whether nobody has a subscription
    :raises ValueError: ``users`` is negative
    """

    id: str
    name: str
    seed: int
    users: int
    is_api_only: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.users < 0:
            raise ValueError(f"users must be 0 or more, not {self.users}")

    @classmethod
    def named(cls, name: str, users: int, seed: int | None = None, *, is_api_only: bool = False) -> "Organization":
        """
        Return an organisation whose id is derived from its name.

        :param name: its name
        :param users: number of people who use Claude Code at some time
        :param seed: seed of its usage; default: derived from its name
        :param is_api_only: whether nobody has a subscription
        """
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.example.com"))
        return cls(identity, name, zlib.crc32(name.encode()) if seed is None else seed, users, is_api_only)

    def records(self, day: date, now: datetime) -> list[dict[str, Any]]:
        """
        Return the records that the API has of a day: always the same for the same arguments.

        A record appears an hour after its activity has ended, so a day is partial until 01:00 UTC of the
        next. A Wednesday changes at 06:00 UTC of the next day: late records appear, and one record changes.

        :param day: UTC day
        :param now: time of the request, with a time zone
        :return: records in the API's JSON form; each call returns new objects
        :raises ValueError: ``now`` has no time zone
        """
        if now.tzinfo is None:
            raise ValueError("now must have a time zone")
        age = now - datetime.combine(day, time(), UTC)
        if day < START or age < FRESHNESS:
            return []
        rows = self._rows(day)
        if rows and day.weekday() == RESTATED_WEEKDAY:
            if age >= RESTATED_AFTER:
                metrics = rows[0][1]["core_metrics"]
                metrics["num_sessions"] += 1
                metrics["lines_of_code"]["added"] += 40
            else:
                del rows[-max(1, len(rows) // 50) :]
        return [record for ended, record in rows if ended + FRESHNESS <= age]

    def person(self, number: int) -> Person:
        """
        Return a person.

        :param number: counts from 1
        """
        return person(number, self._first_use(number))

    def people(self) -> list[Person]:
        """Return everybody who belongs to the organisation at some time. One in ten never uses Claude Code."""
        return [self.person(number) for number in range(1, self.users + self.users // 10 + 2)]

    def key_names(self) -> list[str]:
        """Return the names of the API keys that pipelines use."""
        return [pipeline.actor["api_key_name"] for pipeline in self._actors()[0]]

    def _first_use(self, number: int) -> date:
        """Return the first day on which a person may use Claude Code; for a fifth of them it is `START`."""
        share = (number - 1) / max(1, self.users)
        return START + timedelta(days=max(0, int((share - 0.2) / 0.8 * ADOPTION_DAYS)))

    def _actors(self) -> tuple[list[_Actor], list[_Actor]]:
        return _actors(self.seed, self.users, self.is_api_only)

    def _rows(self, day: date) -> list[tuple[timedelta, dict[str, Any]]]:
        """Return the records of a day that is over, each with the time of day at which its activity ended."""
        rng = random.Random(f"{self.seed}/{self.users}/{day}")
        pipelines, people = self._actors()
        rows = []
        for pipeline in pipelines:
            for terminal in pipeline.terminals:
                ended = timedelta(minutes=rng.randrange(1, 24 * 60))
                rows.append((ended, self._record(rng, day, pipeline, terminal)))
        for number, actor in enumerate(people, start=1):
            if not self._is_active(rng, number, actor, day):
                continue
            actor = actor._replace(actor={"type": "user_actor", "email_address": self.person(number).address(day)})
            places = [(terminal, False) for terminal in actor.terminals[: rng.randint(1, 3)]]
            if actor.works_remotely and rng.random() < 0.4:
                places.append((actor.terminals[0], True))
            for terminal, is_remote in places:
                ended = timedelta(minutes=int(rng.triangular(7 * 60, 24 * 60, 17 * 60)))
                rows.append((ended, self._record(rng, day, actor, terminal, is_remote=is_remote)))
        return rows

    def _is_active(self, rng: random.Random, number: int, actor: _Actor, day: date) -> bool:
        days = (day - self._first_use(number)).days
        if days < 0 or (actor.days_of_use is not None and days >= actor.days_of_use):
            return False
        weekday = day.weekday() if number % _WEEKEND_WORKERS else (day.weekday() + 5) % 7
        return rng.random() < _PRESENCE[weekday] * actor.regularity and self.person(number).is_member(day)

    def _record(
        self, rng: random.Random, day: date, actor: _Actor, terminal: str, *, is_remote: bool = False
    ) -> dict[str, Any]:
        headless = rng.random() < (0.4 if actor.actor["type"] == "api_actor" else 0.03)
        turns = 1 + int(rng.lognormvariate(3, 1) * actor.effort)
        added = int(turns * rng.uniform(2, 20))
        commits = int(turns / 20 * rng.uniform(0, 2))
        record: dict[str, Any] = {
            "date": f"{day}T00:00:00Z",
            "actor": dict(actor.actor),
            "organization_id": self.id,
            "customer_type": actor.customer_type,
            **actor.subscription,
            "terminal_type": terminal,
            "is_remote": is_remote,
            "core_metrics": {
                "num_sessions": 0 if headless else 1 + turns // 15,
                "lines_of_code": {"added": added, "removed": int(added * rng.uniform(0.1, 0.8))},
                "commits_by_claude_code": commits,
                "pull_requests_by_claude_code": int(commits * rng.uniform(0, 0.6)),
            },
            "tool_actions": {} if rng.random() < 0.1 else _tool_actions(rng, turns, actor.acceptance),
            "model_breakdown": (
                _model_breakdown(rng, day, turns) if rng.random() < _MODEL_DETAIL[actor.customer_type] else []
            ),
        }
        if not is_remote and rng.random() < 0.02:
            del record["is_remote"]
        return record


@lru_cache(maxsize=16)
def _actors(seed: int, users: int, is_api_only: bool) -> tuple[list[_Actor], list[_Actor]]:
    """Invent the pipelines and people of an organisation."""
    rng = random.Random(f"{seed}/{users}")
    pipelines = [
        _Actor(
            actor={"type": "api_actor", "api_key_name": f"ci-pipeline-{number:02}"},
            customer_type="api",
            subscription={},
            terminals=["ssh-session", "xterm"],
            works_remotely=False,
            effort=rng.uniform(1, 4),
            acceptance=0.95,
            regularity=1.0,
            days_of_use=None,
        )
        for number in range(1, 2 + users // 100)
        if users
    ]
    people = []
    for number in range(1, users + 1):
        terminals = rng.choices(list(_TERMINALS), list(_TERMINALS.values()), k=rng.choice((1, 1, 2, 3)))
        customer_type = "api" if is_api_only else rng.choice(("api", "subscription"))
        kind = rng.choice(("team", "enterprise") if customer_type == "subscription" else (None, None, "enterprise"))
        people.append(
            _Actor(
                actor={"type": "user_actor", "email_address": f"dev{number:03}@example.com"},
                customer_type=customer_type,
                subscription={"subscription_type": kind},
                terminals=list(dict.fromkeys(terminals)),
                works_remotely=rng.random() < 0.25,
                effort=_DOMINANT_EFFORT if number == _DOMINANT else rng.uniform(0.3, 2.5),
                acceptance=rng.uniform(0.70, 0.95),
                regularity=rng.choices(list(_REGULARITY), list(_REGULARITY.values()))[0],
                days_of_use=rng.randint(20, 90) if number % _STOPPERS == 0 else None,
            )
        )
    return pipelines, people


def _tool_actions(rng: random.Random, turns: int, acceptance: float) -> dict[str, dict[str, int]]:
    actions = {}
    for tool, share in _TOOLS.items():
        if rng.random() < share:
            offered = 1 + int(turns * share * rng.random())
            rejected = round(offered * (1 - acceptance))
            actions[tool] = {"accepted": offered - rejected, "rejected": rejected}
    return actions


def list_price(model: str, tokens: Mapping[str, int]) -> Decimal:
    """Return the list price of tokens in cents."""
    input_price, output_price = PRICES[model]
    # Millionths of a cent. Reading the cache costs a tenth of the input price, writing it five quarters.
    cost = tokens["input"] * input_price + tokens["output"] * output_price
    cost += (2 * tokens["cache_read"] + 25 * tokens["cache_creation"]) * input_price // 20
    return Decimal(cost) / 1_000_000


def _model_breakdown(rng: random.Random, day: date, turns: int) -> list[dict[str, Any]]:
    # The second model does small background tasks, so its cost often rounds to 0.
    families = rng.choice((["sonnet"], ["opus"], ["sonnet", "haiku"], ["opus", "haiku"], ["sonnet", "haiku", "opus"]))
    breakdown = []
    for family, share in zip(families, (1.0, 0.05, 0.3), strict=False):
        # A model's name ends with the day of its snapshot.
        model = [name for name in _MODELS[family] if name[-8:] <= f"{day:%Y%m%d}"][-1]
        calls = 1 + int(turns * share)
        tokens = {
            "input": calls * rng.randint(20, 400),
            "output": calls * rng.randint(20, 900),
            "cache_read": int(calls * share) * rng.randint(2_000, 40_000),
            "cache_creation": int(calls * share) * rng.randint(200, 3_000),
        }
        # Some amounts are whole cents, some have decimals; a float of four decimals prints exactly those.
        cost = float(list_price(model, tokens))
        amount = round(cost) if rng.random() < 0.5 else round(cost, 4)
        breakdown.append({"model": model, "tokens": tokens, "estimated_cost": {"currency": "USD", "amount": amount}})
    return breakdown

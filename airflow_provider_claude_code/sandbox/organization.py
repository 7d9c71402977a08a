"""A made-up organisation and what its people and pipelines do with Claude Code, day by day."""

import random
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

START = date(2025, 6, 1)
"""First day with usage."""

ADOPTION_DAYS = 270
"""Days from the start until everybody uses Claude Code."""

FRESHNESS = timedelta(hours=1)
"""How long after its activity has ended a record is held back, as the API does."""

RESTATED_WEEKDAY = 2
RESTATED_AFTER = timedelta(days=1, hours=6)
"""Wednesdays change once more, six hours after their end."""

# Share of the people who are active, Monday to Sunday.
_PRESENCE = (0.70, 0.75, 0.76, 0.73, 0.61, 0.10, 0.11)

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

# Share of the rows with the tool. The API's reference names the first four; others do turn up.
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


class _Actor(NamedTuple):
    """Who uses Claude Code, and how."""

    actor: dict[str, str]
    customer_type: str
    subscription: dict[str, str | None]  # the field subscription_type as the API has it: it may be absent
    terminals: list[str]
    works_remotely: bool
    effort: float
    acceptance: float


@dataclass(frozen=True)
class Organization:
    """
    A made-up organisation.

    :param id: the ``organization_id`` of its records
    :param name: its name
    :param seed: what its usage follows from
    :param users: people who use Claude Code once everybody does, 1 or more
    :raises ValueError: ``users`` is less than 1
    """

    id: str
    name: str
    seed: int
    users: int

    def __post_init__(self) -> None:
        """Check the values."""
        if self.users < 1:
            raise ValueError(f"users must be 1 or more, not {self.users}")

    @classmethod
    def named(cls, name: str, users: int, seed: int | None = None) -> "Organization":
        """
        Make an organisation whose id follows from its name.

        :param name: its name
        :param users: people who use Claude Code once everybody does
        :param seed: what its usage follows from; its name by default
        """
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.example.com"))
        return cls(identity, name, zlib.crc32(name.encode()) if seed is None else seed, users)

    def records(self, day: date, now: datetime) -> list[dict[str, Any]]:
        """
        Give the records that the API holds for a day: always the same for the same arguments.

        A record appears an hour after its activity has ended, so a day is partial until 01:00 UTC of the
        next. A Wednesday is restated at 06:00 UTC of the next day: late records appear, one changes.

        :param day: UTC day
        :param now: moment of asking, with a time zone
        :returns: records in the API's JSON form, new at each call
        :raises ValueError: ``now`` has no time zone
        """
        if now.tzinfo is None:
            raise ValueError("now must have a time zone")
        age = now - datetime.combine(day, time(), UTC)
        if day < START or age < FRESHNESS:
            return []
        rows = self._rows(day)
        if day.weekday() == RESTATED_WEEKDAY:
            if age >= RESTATED_AFTER:
                metrics = rows[0][1]["core_metrics"]
                metrics["num_sessions"] += 1
                metrics["lines_of_code"]["added"] += 40
            else:
                del rows[-max(1, len(rows) // 50) :]
        return [record for ended, record in rows if ended + FRESHNESS <= age]

    def _rows(self, day: date) -> list[tuple[timedelta, dict[str, Any]]]:
        """Give the records of a closed day, each with the time of day at which its activity had ended."""
        rng = random.Random(f"{self.seed}/{self.users}/{day}")
        pipelines, people = _actors(self.seed, self.users)
        rows = []
        for pipeline in pipelines:
            for terminal in pipeline.terminals:
                ended = timedelta(minutes=rng.randrange(1, 24 * 60))
                rows.append((ended, self._record(rng, day, pipeline, terminal)))
        adoption = min(1.0, 0.2 + 0.8 * (day - START).days / ADOPTION_DAYS)
        for person in people[: max(1, round(self.users * adoption))]:
            if rng.random() >= _PRESENCE[day.weekday()]:
                continue
            places = [(terminal, False) for terminal in person.terminals[: rng.randint(1, 3)]]
            if person.works_remotely and rng.random() < 0.4:
                places.append((person.terminals[0], True))
            for terminal, is_remote in places:
                ended = timedelta(minutes=int(rng.triangular(7 * 60, 24 * 60, 17 * 60)))
                rows.append((ended, self._record(rng, day, person, terminal, is_remote=is_remote)))
        return rows

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
            "model_breakdown": [] if rng.random() < 0.35 else _model_breakdown(rng, day, turns),
        }
        if not is_remote and rng.random() < 0.02:
            del record["is_remote"]
        return record


@lru_cache(maxsize=16)
def _actors(seed: int, users: int) -> tuple[list[_Actor], list[_Actor]]:
    """Make up an organisation's pipelines and its people."""
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
        )
        for number in range(1, 2 + users // 100)
    ]
    people = []
    for number in range(1, users + 1):
        terminals = rng.choices(list(_TERMINALS), list(_TERMINALS.values()), k=rng.choice((1, 1, 2, 3)))
        customer_type = rng.choice(("api", "subscription"))
        kind = rng.choice(("team", "enterprise") if customer_type == "subscription" else (None, None, "enterprise"))
        people.append(
            _Actor(
                actor={"type": "user_actor", "email_address": f"dev{number:03}@example.com"},
                customer_type=customer_type,
                subscription={"subscription_type": kind},
                terminals=list(dict.fromkeys(terminals)),
                works_remotely=rng.random() < 0.25,
                effort=rng.uniform(0.3, 2.5),
                acceptance=rng.uniform(0.70, 0.95),
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


def _model_breakdown(rng: random.Random, day: date, turns: int) -> list[dict[str, Any]]:
    # The second model does small things in the background, so much of its cost rounds to 0.
    families = rng.choice((["sonnet"], ["opus"], ["sonnet", "haiku"], ["opus", "haiku"], ["sonnet", "haiku", "opus"]))
    breakdown = []
    for family, share in zip(families, (1.0, 0.05, 0.3), strict=False):
        # A model's name ends with the day of its snapshot.
        model = [name for name in _MODELS[family] if name[-8:] <= f"{day:%Y%m%d}"][-1]
        input_price, output_price = _MODELS[family][model]
        calls = 1 + int(turns * share)
        tokens = {
            "input": calls * rng.randint(20, 400),
            "output": calls * rng.randint(20, 900),
            "cache_read": int(calls * share) * rng.randint(2_000, 40_000),
            "cache_creation": int(calls * share) * rng.randint(200, 3_000),
        }
        # Millionths of a cent. Reading the cache costs a tenth of the input price, writing it five quarters.
        cost = tokens["input"] * input_price + tokens["output"] * output_price
        cost += (2 * tokens["cache_read"] + 25 * tokens["cache_creation"]) * input_price // 20
        # Some amounts are whole cents, some have decimals; a float of four decimals prints exactly those.
        amount = round(cost / 1_000_000) if rng.random() < 0.5 else round(cost / 1_000_000, 4)
        breakdown.append({"model": model, "tokens": tokens, "estimated_cost": {"currency": "USD", "amount": amount}})
    return breakdown

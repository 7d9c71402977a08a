"""Records of days of any length, made when they are asked for, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from airflow_provider_claude_code.sandbox import Organization

Json = dict[str, Any]

DAY = date(2026, 3, 3)
PAGE_RECORDS = 1000
ORGANIZATION = Organization.named("Benchmark", users=2000, seed=7)


@cache
def _templates() -> list[Json]:
    """The records of a working day of the sandbox's organisation, which longer days repeat with other people."""
    return ORGANIZATION.records(DAY, datetime(2026, 3, 10, tzinfo=UTC))


class UsageOfADay(Sequence[Json]):
    """
    As many records as wanted, each of an actor of its own; they take no memory until they are looked at.

    :param day: the day that they bear.
    :param count: how many.
    """

    def __init__(self, day: date, count: int) -> None:
        self._date = f"{day}T00:00:00Z"
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Make a record, or those of a slice."""
        numbers = range(self._count)[index]
        return self._record(numbers) if isinstance(numbers, int) else [self._record(number) for number in numbers]

    def _record(self, number: int) -> Json:
        templates = _templates()
        template = templates[number % len(templates)]
        actor = {name: text if name == "type" else f"{number:07}.{text}" for name, text in template["actor"].items()}
        return template | {"date": self._date, "actor": actor}


def page_of(records: Sequence[Json], next_page: str | None = None) -> bytes:
    """Return the body of a page as the API would send it."""
    return msgspec.json.encode({"data": list(records), "has_more": next_page is not None, "next_page": next_page})


def pages(day: date, count: int) -> list[bytes]:
    """Return the bodies of a day's pages as the API would send them."""
    usage = UsageOfADay(day, count)
    return [
        page_of(usage[start : start + PAGE_RECORDS], f"page-{start}" if start + PAGE_RECORDS < count else None)
        for start in range(0, count, PAGE_RECORDS)
    ]


@dataclass(frozen=True)
class Totals:
    """
    What days add up to, however they are stored.

    :param usage: records.
    :param model_usage: entries of ``model_breakdown``.
    :param tool_usage: entries of ``tool_actions``.
    :param sessions: sum of ``num_sessions``.
    :param output_tokens: sum over all model entries.
    :param accepted: sum over all tools.
    :param cents: sum over all model entries.
    """

    usage: int
    model_usage: int
    tool_usage: int
    sessions: int
    output_tokens: int
    accepted: int
    cents: Decimal


def expected_totals(count: int, days: int = 1) -> Totals:
    """Add up days of ``count`` records each, from the raw records."""
    templates = _templates()
    whole_rounds, rest = divmod(count, len(templates))
    sums = [Decimal(0)] * 7
    for number, record in enumerate(templates):
        times = days * (whole_rounds + (number < rest))
        models, tools = record["model_breakdown"], record["tool_actions"].values()
        values = (
            1,
            len(models),
            len(tools),
            record["core_metrics"]["num_sessions"],
            sum(entry["tokens"]["output"] for entry in models),
            sum(action["accepted"] for action in tools),
            sum(Decimal(str(entry["estimated_cost"]["amount"])) for entry in models),
        )
        sums = [total + times * value for total, value in zip(sums, values, strict=True)]
    *counts, cents = sums
    return Totals(*map(int, counts), cents)

"""From typed records to rows: what a record says about itself, its models and its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.usage.models import (
    ACTOR_ID_FIELDS,
    KNOWN_CURRENCIES,
    KNOWN_CUSTOMER_TYPES,
    KNOWN_SUBSCRIPTION_TYPES,
    MAX_OF_A_DAY,
    Record,
)
from airflow_provider_claude_code.streams.usage.tables import (
    KEY,
    KNOWN_TOOLS,
    MODEL_USAGE,
    SHARED_COLUMNS,
    TABLES,
    TOKEN_KINDS,
    TOOL_USAGE,
    USAGE,
)
from airflow_provider_claude_code.tables.money import amount_of, billionths_of
from airflow_provider_claude_code.tables.rows import DayTotals, PageRows, Pseudonym, Values, columns_of, lines

_COUNTED = {
    USAGE.name: (
        "num_sessions",
        "lines_of_code_added",
        "lines_of_code_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
    ),
    MODEL_USAGE.name: tuple(f"{kind}_tokens" for kind in TOKEN_KINDS),
    TOOL_USAGE.name: ("accepted", "rejected"),
}
_TOO_LARGE = f"numbers that add up to more than {MAX_OF_A_DAY:,}, which no day has"


class UsageTotals(DayTotals):
    """
    What only a whole day of usage shows.

    :ivar num_sessions: sum over all records.
    :ivar counted: sum over everything that is counted: sessions, lines, commits, pull requests, tool actions, tokens.
    :ivar billionths_without_signs: sum over the absolute costs of all model entries in billionths of a cent.
    :ivar billionths_of_all_currencies: sum over all model entries in billionths of a cent, whatever their currency.
    :ivar currencies: those of the model entries.
    """

    def __init__(self) -> None:
        super().__init__(TABLES)
        self.num_sessions = 0
        self.counted = 0
        self.billionths_without_signs = 0
        self.billionths_of_all_currencies = 0
        self.currencies: set[str] = set()

    def add(self, page: PageRows) -> None:
        """Add a page's rows."""
        super().add(page)
        models = page.own[MODEL_USAGE.name]
        self.num_sessions += sum(page.own[USAGE.name]["num_sessions"])
        self.counted += sum(sum(page.own[table][name]) for table, names in _COUNTED.items() for name in names)
        self.billionths_of_all_currencies += sum(models["estimated_cost_cents"])
        self.billionths_without_signs += sum(map(abs, models["estimated_cost_cents"]))
        self.currencies.update(models["currency"])
        self.unknown_names.update(set(page.own[TOOL_USAGE.name]["tool_name"]).difference(KNOWN_TOOLS))
        # Of a value that the reference does not list, only the field is named.
        listed: dict[str, tuple[Values, set[Any]]] = {
            "data[].customer_type": (page.shared["customer_type"], KNOWN_CUSTOMER_TYPES),
            "data[].subscription_type": (page.shared["subscription_type"], KNOWN_SUBSCRIPTION_TYPES),
            "data[].model_breakdown[].estimated_cost.currency": (models["currency"], KNOWN_CURRENCIES),
        }
        self.unknown_names.update(name for name, (values, known) in listed.items() if not known.issuperset(values))

    @property
    def estimated_cost_cents(self) -> Decimal | None:
        """The day's cost in cents; ``None`` when its currencies differ, so that there is no sum."""
        if len(self.currencies) > 1:
            return None
        return amount_of(self.billionths_of_all_currencies)

    def sums(self) -> dict[str, int | Decimal | str | None]:
        """Return the day's sessions, cost and currency."""
        currencies = [quoted(currency) for currency in self.currencies]
        return {
            "num_sessions": self.num_sessions,
            "estimated_cost_cents": self.estimated_cost_cents,
            "currency": currencies[0] if len(currencies) == 1 else None,
        }


def sums_in_words(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Write the sessions and the cost of a day's summary for people."""
    amount, currency = summary["estimated_cost_cents"], summary["currency"]
    if amount is None:
        cost = "costs in several currencies"
    elif currency not in (None, "USD"):
        cost = f"{amount} minor units of {currency}"
    else:
        cost = f"{amount} cents (${Decimal(amount) / 100:,.2f})"
    return f"{summary['num_sessions']} sessions", cost


class UsageFlattener:
    """
    Flattens the records of one day, page by page. Nothing is merged or dropped.

    :param day: the UTC day of all the records.
    :param pseudonym: what to store for an actor's type and identifier; ``None`` stores the identifier.
    """

    def __init__(self, day: date, pseudonym: Pseudonym | None = None) -> None:
        self.totals = UsageTotals()
        self._day = day
        self._pseudonym = pseudonym
        shared = {column.name for column in SHARED_COLUMNS}
        self._own = {
            table.name: [column for column in table.columns if column.name not in shared]
            for table in (USAGE, MODEL_USAGE, TOOL_USAGE)
        }
        # Of each key only 60 bits of its hash are remembered: the smallest int object holds them, so a million
        # keys take some 70 MB. Should two keys share them (in one of two million such days), one is numbered
        # as if it repeated; its rows stay complete.
        self._keys: set[int] = set()
        self._repeats: dict[int, int] = {}

    def flatten(self, records: Sequence[Record]) -> PageRows:
        """
        Return the rows of the next page and add them to the totals.

        :raises ClaudeCodeResponseError: the day adds up to more than a day can have, or an actor of a new kind is
            nested too deeply.
        """
        try:
            page = self._rows(records)
        except RecursionError:
            raise self._refusal("an actor that is nested too deeply") from None
        self.totals.add(page)
        self._name_unknown_actors(records)
        if max(self.totals.counted, self.totals.billionths_without_signs // billionths_of(1)) > MAX_OF_A_DAY:
            raise self._refusal(_TOO_LARGE)
        return page

    def _rows(self, records: Sequence[Record]) -> PageRows:
        key = columns_of(SHARED_COLUMNS, records, self._pseudonym, date=[self._day] * len(records))
        in_order = [key[name] for name in KEY]
        key_hashes = [hashlib.sha256(line).digest() for line in lines([*in_order, [0] * len(records)])]
        record_ids, ordinals = self._number(in_order, key_hashes)
        entries = [entry for record in records for entry in record.model_breakdown]
        actions = [action for record in records for action in record.tool_actions.values()]
        model_counts = [len(record.model_breakdown) for record in records]
        tool_counts = [len(record.tool_actions) for record in records]
        models = columns_of(
            self._own[MODEL_USAGE.name],
            entries,
            self._pseudonym,
            estimated_cost_cents=[billionths_of(entry.estimated_cost.amount) for entry in entries],
        )
        tools = columns_of(
            self._own[TOOL_USAGE.name],
            actions,
            self._pseudonym,
            tool_name=[name for record in records for name in record.tool_actions],
        )
        sums = _sums_over_models(models, model_counts) | _sums_over_tools(records, tools, tool_counts)
        usage = columns_of(self._own[USAGE.name], records, self._pseudonym, **sums)
        return PageRows(
            own={USAGE.name: usage, MODEL_USAGE.name: models, TOOL_USAGE.name: tools},
            shared={"record_id": record_ids, "key_ordinal": ordinals, **key},
            parents={MODEL_USAGE.name: _parents(model_counts), TOOL_USAGE.name: _parents(tool_counts)},
            key_hashes=key_hashes,
        )

    def _number(self, key: list[Values], key_hashes: list[bytes]) -> tuple[list[str], list[int]]:
        """Return the records' ``record_id`` and ``key_ordinal``."""
        ordinals = [0] * len(key_hashes)
        for position, key_hash in enumerate(key_hashes):
            short = int.from_bytes(key_hash[:8]) >> 4
            if short in self._keys:
                ordinals[position] = self._repeats[short] = self._repeats.get(short, 0) + 1
            else:
                self._keys.add(short)
        record_ids = [key_hash.hex()[:32] for key_hash in key_hashes]
        if any(ordinals):
            self.totals.repeated_keys += sum(map(bool, ordinals))
            record_ids = [hashlib.sha256(line).hexdigest()[:32] for line in lines([*key, ordinals])]
        return record_ids, ordinals

    def _name_unknown_actors(self, records: Sequence[Record]) -> None:
        names = self.totals.unknown_names
        names.update({record.actor_type for record in records}.difference(ACTOR_ID_FIELDS))
        for record in records:
            if record.unknown_fields and "actor" in record.unknown_fields:
                names.update(f"data[].actor.{name}" for name in record.unknown_fields["actor"])

    def _refusal(self, problem: str) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The Claude Code usage of {self._day} holds {problem}, so nothing of it is published."
        )


def _sums_over_tools(
    records: Sequence[Record], tools: Mapping[str, Values], tool_counts: list[int]
) -> dict[str, Values]:
    sums = {f"tool_actions_{outcome}": _sums(tools[outcome], tool_counts) for outcome in ("accepted", "rejected")}
    for tool in KNOWN_TOOLS:
        actions = [record.tool_actions.get(tool) for record in records]
        sums[f"{tool}_accepted"] = [0 if action is None else action.accepted for action in actions]
        sums[f"{tool}_rejected"] = [0 if action is None else action.rejected for action in actions]
    return sums


def _sums_over_models(models: Mapping[str, Values], model_counts: list[int]) -> dict[str, Values]:
    # What no model entry says is unknown, not zero; a cost over several currencies is no number.
    any_models = [count or None for count in model_counts]
    currency = _only_ones(models["currency"], model_counts)
    tokens = {
        f"{kind}_tokens": _where_known(any_models, _sums(models[f"{kind}_tokens"], model_counts))
        for kind in TOKEN_KINDS
    }
    cents = _where_known(currency, _sums(models["estimated_cost_cents"], model_counts))
    return {"model_count": model_counts, **tokens, "estimated_cost_cents": cents, "currency": currency}


def _sums(values: Values, counts: list[int]) -> list[int]:
    """Add up the values of each record, which has so many of them."""
    running = list(accumulate(values, initial=0))
    return [running[end] - running[start] for start, end in pairwise(accumulate(counts, initial=0))]


def _where_known(known: Values, values: Values) -> Values:
    """Return the values, and null where the other column is null."""
    return [None if there is None else value for there, value in zip(known, values, strict=True)]


def _only_ones(values: Values, counts: list[int]) -> Values:
    """Return for each record the one value that all of its own are equal to, else null."""
    found = (set(values[start:end]) for start, end in pairwise(accumulate(counts, initial=0)))
    return [one.pop() if len(one) == 1 else None for one in found]


def _parents(counts: list[int]) -> list[int]:
    return [position for position, count in enumerate(counts) for _ in range(count)]

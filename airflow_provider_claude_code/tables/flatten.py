"""From typed records to rows: what a record says about itself, its models and its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any

import msgspec

from airflow_provider_claude_code.api.models import (
    ACTOR_ID_FIELDS,
    KNOWN_CURRENCIES,
    KNOWN_CUSTOMER_TYPES,
    KNOWN_SUBSCRIPTION_TYPES,
    MAX_OF_A_DAY,
    Record,
)
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.tables.contract import (
    DATA_TABLES,
    KNOWN_TOOLS,
    MODEL_USAGE,
    MONEY_PLACES,
    SHARED_COLUMNS,
    TOKEN_KINDS,
    TOOL_USAGE,
    USAGE,
)

Values = list[Any]
"""A column: text, integers, truth values, days; money as whole billionths of a cent; ``None`` where it is null."""

_NUMBER_OF_METRICS = [column.name for column in USAGE.own_columns].index(f"{KNOWN_TOOLS[0]}_accepted")
_TOO_LARGE = f"numbers that add up to more than {MAX_OF_A_DAY:,}, which no day has"
# The default context rounds at 28 digits; this one holds any amount that a response may have, with all its places.
_EXACT = Context(prec=150)

_encode_lines = msgspec.json.Encoder().encode_lines
_encode_canonically = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


@dataclass(frozen=True, repr=False)
class FlatPage:
    """
    The rows of one page, column by column. Its representation shows none, since they name people.

    :param shared: the columns of ``SHARED_COLUMNS``, with a value per record.
    :param own: per table, its own columns.
    :param parents: per child table, the position in ``shared`` of each row's record.
    """

    shared: list[Values]
    own: dict[str, list[Values]]
    parents: dict[str, list[int]]


@dataclass
class DayTotals:
    """
    What only a whole day shows.

    :param row_counts: rows by table.
    :param digests: by table, the sum of its rows' hashes.
    :param counted: sum over everything that is counted: sessions, lines, commits, pull requests, tool actions, tokens.
    :param billionths_without_signs: sum over the absolute costs of all model entries in billionths of a cent.
    :param billionths_of_all_currencies: sum over all model entries in billionths of a cent, whatever their
        currency.
    """

    row_counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATA_TABLES, 0))
    digests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATA_TABLES, 0))
    num_sessions: int = 0
    counted: int = 0
    billionths_without_signs: int = 0
    billionths_of_all_currencies: int = 0
    currencies: set[str] = field(default_factory=set)
    repeated_keys: int = 0
    unknown_names: set[str] = field(default_factory=set)

    @property
    def estimated_cost_billionths(self) -> int | None:
        """The day's cost in billionths of a cent; ``None`` when its currencies differ, so that there is no sum."""
        return None if len(self.currencies) > 1 else self.billionths_of_all_currencies

    @property
    def estimated_cost_cents(self) -> Decimal | None:
        """The day's cost in cents; ``None`` when its currencies differ."""
        billionths = self.estimated_cost_billionths
        return None if billionths is None else Decimal(billionths).scaleb(-MONEY_PLACES, _EXACT)

    def content_digest(self, table: str) -> str:
        """Return a table's digest, 32 hex digits: the sum of its rows' hashes, so their order is no matter."""
        return f"{self.digests[table] % 2**128:032x}"


class Flattener:
    """
    Flattens the records of one day, page by page. Nothing is merged or dropped.

    :param day: the UTC day of all the records.
    :param pseudonym: what to store for an actor's type and identifier; ``None`` stores the identifier.
    """

    def __init__(self, day: date, pseudonym: Callable[[str, str | None], str | None] | None = None) -> None:
        self.totals = DayTotals()
        self._day = day
        self._pseudonym = pseudonym
        # Of each key only 60 bits of its hash are remembered: the smallest int object holds them, so a million
        # keys take some 70 MB. Should two keys share them (in one of two million such days), one is numbered
        # as if it repeated; its rows stay complete.
        self._keys: set[int] = set()
        self._repeats: dict[int, int] = {}

    def flatten(self, records: Sequence[Record]) -> FlatPage:
        """
        Return the rows of the next page and add them to the totals.

        :raises ClaudeCodeResponseError: the day adds up to more than a day can have, or an actor of a new kind is
            nested too deeply.
        """
        try:
            page, key_hashes = self._rows(records)
        except RecursionError:
            raise self._refusal("an actor that is nested too deeply") from None
        self._add_to_totals(page, key_hashes)
        return page

    def _rows(self, records: Sequence[Record]) -> tuple[FlatPage, list[bytes]]:
        """Return the rows, and of each record the hash of its key."""
        key = self._key(records)
        key_hashes = [hashlib.sha256(line).digest() for line in _lines([*key, [0] * len(records)])]
        model_counts = [len(record.model_breakdown) for record in records]
        tool_counts = [len(record.tool_actions) for record in records]
        models, tools = _models(records), _tools(records)
        page = FlatPage(
            shared=[*self._number(key, key_hashes), *key],
            own={
                USAGE.name: _usage(records, models, model_counts, tools, tool_counts),
                MODEL_USAGE.name: models,
                TOOL_USAGE.name: tools,
            },
            parents={MODEL_USAGE.name: _parents(model_counts), TOOL_USAGE.name: _parents(tool_counts)},
        )
        return page, key_hashes

    def _key(self, records: Sequence[Record]) -> list[Values]:
        """Return the columns that identify a record on its day, in the order of the shared columns."""
        actor_types = [record.actor["type"] for record in records]
        return [
            [self._day] * len(records),
            [record.organization_id for record in records],
            actor_types,
            [self._actor_id(kind, record.actor) for kind, record in zip(actor_types, records, strict=True)],
            [record.customer_type for record in records],
            [record.subscription_type for record in records],
            [record.terminal_type for record in records],
            [record.is_remote for record in records],
        ]

    def _actor_id(self, kind: str, actor: dict[str, Any]) -> str | None:
        actor_id: str | None
        if id_field := ACTOR_ID_FIELDS.get(kind):
            actor_id = actor[id_field]
            self.totals.unknown_names.update(f"data[].actor.{name}" for name in actor.keys() - {"type", id_field})
        else:
            self.totals.unknown_names.add(kind)
            actor_id = _encode_canonically({k: v for k, v in actor.items() if k != "type"}).decode()
        return self._pseudonym(kind, actor_id) if self._pseudonym else actor_id

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
            record_ids = [hashlib.sha256(line).hexdigest()[:32] for line in _lines([*key, ordinals])]
        return record_ids, ordinals

    def _add_to_totals(self, page: FlatPage, key_hashes: list[bytes]) -> None:
        totals = self.totals
        for name, columns in page.own.items():
            parents = page.parents.get(name)
            keys = key_hashes if parents is None else [key_hashes[parent] for parent in parents]
            totals.row_counts[name] += len(keys)
            totals.digests[name] += _sum_of_hashes(keys, columns)
        usage, models, tools = (page.own[table.name] for table in (USAGE, MODEL_USAGE, TOOL_USAGE))
        _, *tokens, cents, currencies = models
        totals.num_sessions += sum(usage[0])
        totals.counted += sum(map(sum, [*usage[:_NUMBER_OF_METRICS], *tools[1:], *tokens]))
        totals.billionths_of_all_currencies += sum(cents)
        totals.billionths_without_signs += sum(map(abs, cents))
        totals.currencies.update(currencies)
        totals.unknown_names.update(set(tools[0]).difference(KNOWN_TOOLS))
        totals.unknown_names.update(_unlisted_values(page, currencies))
        if max(totals.counted, totals.billionths_without_signs // 10**MONEY_PLACES) > MAX_OF_A_DAY:
            raise self._refusal(_TOO_LARGE)

    def _refusal(self, problem: str) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The Claude Code usage of {self._day} holds {problem}, so nothing of it is published."
        )


def _unlisted_values(page: FlatPage, currencies: Values) -> list[str]:
    """Name the fields with a value that the reference does not list; of the value nothing is told."""
    shared = dict(zip((column.name for column in SHARED_COLUMNS), page.shared, strict=True))
    listed: dict[str, tuple[Values, set[Any]]] = {
        "data[].customer_type": (shared["customer_type"], KNOWN_CUSTOMER_TYPES),
        "data[].subscription_type": (shared["subscription_type"], KNOWN_SUBSCRIPTION_TYPES),
        "data[].model_breakdown[].estimated_cost.currency": (currencies, KNOWN_CURRENCIES),
    }
    return [field_name for field_name, (values, known) in listed.items() if not known.issuperset(values)]


def _models(records: Sequence[Record]) -> list[Values]:
    entries = [entry for record in records for entry in record.model_breakdown]
    tokens = [entry.tokens for entry in entries]
    costs = [entry.estimated_cost for entry in entries]
    return [
        [entry.model for entry in entries],
        *(list(map(attrgetter(kind), tokens)) for kind in TOKEN_KINDS),
        [_billionths(cost.amount) for cost in costs],
        [cost.currency for cost in costs],
    ]


def _tools(records: Sequence[Record]) -> list[Values]:
    actions = [action for record in records for action in record.tool_actions.values()]
    return [
        [name for record in records for name in record.tool_actions],
        [action.accepted for action in actions],
        [action.rejected for action in actions],
    ]


def _usage(
    records: Sequence[Record],
    models: list[Values],
    model_counts: list[int],
    tools: list[Values],
    tool_counts: list[int],
) -> list[Values]:
    metrics = [record.core_metrics for record in records]
    lines = [metric.lines_of_code for metric in metrics]
    known_tools: list[Values] = []
    for name in KNOWN_TOOLS:
        actions = [record.tool_actions.get(name) for record in records]
        known_tools.append([0 if action is None else action.accepted for action in actions])
        known_tools.append([0 if action is None else action.rejected for action in actions])
    _, *tokens, cents, currencies = models
    currency = _only_ones(currencies, model_counts)
    any_models = [count or None for count in model_counts]
    return [
        [metric.num_sessions for metric in metrics],
        [line.added for line in lines],
        [line.removed for line in lines],
        [metric.commits_by_claude_code for metric in metrics],
        [metric.pull_requests_by_claude_code for metric in metrics],
        *known_tools,
        *(_sums(column, tool_counts) for column in tools[1:]),
        model_counts,
        # What no model entry says is unknown, not zero; a cost over several currencies is no number.
        *(_where_known(any_models, _sums(column, model_counts)) for column in tokens),
        _where_known(currency, _sums(cents, model_counts)),
        currency,
    ]


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


def _billionths(amount: int | Decimal) -> int:
    """Return a number of cents in billionths of a cent, rounded half to even."""
    if isinstance(amount, int):
        return amount * 10**MONEY_PLACES
    return int(amount.scaleb(MONEY_PLACES, _EXACT).to_integral_value(ROUND_HALF_EVEN))


def _lines(columns: Iterable[Values]) -> list[bytes]:
    """Return each row as a canonical JSON array: UTF-8, no spaces, dates in ISO form, money in billionths."""
    return _encode_lines(list(zip(*columns, strict=True))).splitlines()


def _sum_of_hashes(key_hashes: list[bytes], columns: list[Values]) -> int:
    hashes = [hashlib.sha256(key + row).digest() for key, row in zip(key_hashes, _lines(columns), strict=True)]
    return sum(map(int.from_bytes, hashes))

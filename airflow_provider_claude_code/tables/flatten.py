"""From typed records to rows: what a record says about itself, its models and its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_claude_code.api.models import (
    ACTOR_ID_FIELDS,
    INT64_MAX,
    MAX_INTEGER_DIGITS,
    ModelUsage,
    Record,
)
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.tables.contract import (
    DATA_TABLES,
    KNOWN_TOOLS,
    MODEL_USAGE,
    TOOL_USAGE,
    USAGE,
)

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Row = tuple[Any, ...]

_NINE_PLACES = Decimal("1E-9")
_ZERO = Decimal(0)
# The default context rounds at 28 digits; this one holds any sum of amounts that each fit a NUMERIC.
_MONEY = Context(prec=60, rounding=ROUND_HALF_EVEN)
_UNKNOWN = (None,) * 6
"""Tokens, cents and currency of a record without model entries."""

_OWN = {table.name: [column.name for column in table.own_columns] for table in DATA_TABLES.values()}
_NUM_SESSIONS = _OWN["usage"].index("num_sessions")
_USAGE_CENTS = _OWN["usage"].index("estimated_cost_cents")
_SUMMED_COUNTS = slice(_OWN["usage"].index("tool_actions_accepted"), _USAGE_CENTS)
_MODEL_CENTS = _OWN["model_usage"].index("estimated_cost_cents")
_MODEL_CURRENCY = _OWN["model_usage"].index("currency")

_encode = msgspec.json.encode
_encode_canonically = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


@dataclass(frozen=True)
class FlatPage:
    """
    The rows of one page.

    :param shared: per record, the values of ``SHARED_COLUMNS``.
    :param own: per table, the values of its own columns, row by row.
    :param parents: per child table, the position in ``shared`` of each row's record.
    """

    shared: list[Row]
    own: dict[str, list[Row]]
    parents: dict[str, list[int]]


@dataclass
class DayTotals:
    """
    What only a whole day shows.

    :param row_counts: rows by table.
    :param digests: by table, the sum of its rows' hashes.
    :param cents_of_all_currencies: sum over all model entries, whatever their currency.
    """

    row_counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATA_TABLES, 0))
    digests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATA_TABLES, 0))
    num_sessions: int = 0
    cents_of_all_currencies: Decimal = _ZERO
    currencies: set[str] = field(default_factory=set)
    repeated_keys: int = 0
    unknown_names: set[str] = field(default_factory=set)

    @property
    def estimated_cost_cents(self) -> Decimal | None:
        """The day's cost in cents; ``None`` when its currencies differ, so that there is no sum."""
        return None if len(self.currencies) > 1 else self.cents_of_all_currencies

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

        :raises ClaudeCodeResponseError: a sum does not fit its column.
        """
        shared: list[Row] = []
        usage: list[Row] = []
        models: list[Row] = []
        tools: list[Row] = []
        model_parents: list[int] = []
        tool_parents: list[int] = []
        with localcontext(_MONEY):
            for position, record in enumerate(records):
                key = self._key(record)
                # Every hash of a record begins with its key, which is thus hashed once.
                identity = hashlib.sha256(_encode(key)[:-1] + b",")
                shared.append((*self._number(identity), *key))

                own_models = [_model_row(entry) for entry in record.model_breakdown]
                own_tools = [(name, action.accepted, action.rejected) for name, action in record.tool_actions.items()]
                own_usage = _usage_row(record, own_models, own_tools)
                usage.append(own_usage)
                models += own_models
                tools += own_tools
                model_parents += [position] * len(own_models)
                tool_parents += [position] * len(own_tools)

                digests = self.totals.digests
                digests[USAGE.name] += _row_hash(identity, own_usage)
                for row in own_models:
                    digests[MODEL_USAGE.name] += _row_hash(identity, row)
                for row in own_tools:
                    digests[TOOL_USAGE.name] += _row_hash(identity, row)
            page = FlatPage(
                shared=shared,
                own={USAGE.name: usage, MODEL_USAGE.name: models, TOOL_USAGE.name: tools},
                parents={MODEL_USAGE.name: model_parents, TOOL_USAGE.name: tool_parents},
            )
            self._add_to_totals(page)
        return page

    def _add_to_totals(self, page: FlatPage) -> None:
        usage, models, tools = (page.own[table.name] for table in (USAGE, MODEL_USAGE, TOOL_USAGE))
        totals = self.totals
        for name, rows in page.own.items():
            totals.row_counts[name] += len(rows)
        totals.num_sessions += sum(row[_NUM_SESSIONS] for row in usage)
        cents = [row[_MODEL_CENTS] for row in models]
        totals.cents_of_all_currencies = sum(cents, totals.cents_of_all_currencies)
        totals.currencies.update(row[_MODEL_CURRENCY] for row in models)
        totals.unknown_names.update({row[0] for row in tools}.difference(KNOWN_TOOLS))

        counts = [value for row in usage for value in row[_SUMMED_COUNTS] if value is not None]
        if max(counts, default=0) > INT64_MAX or totals.num_sessions > INT64_MAX:
            raise self._out_of_range()
        cents += [row[_USAGE_CENTS] for row in usage if row[_USAGE_CENTS] is not None]
        cents.append(totals.cents_of_all_currencies)
        # Rounding may have given an amount one digit more than the response was allowed to have.
        if any(amount.adjusted() >= MAX_INTEGER_DIGITS for amount in (min(cents), max(cents)) if amount):
            raise self._out_of_range()

    def _key(self, record: Record) -> Row:
        """Return the values that identify a record on its day, in the order of the shared columns."""
        actor_type = record.actor["type"]
        if id_field := ACTOR_ID_FIELDS.get(actor_type):
            actor_id = record.actor[id_field]
        else:
            self.totals.unknown_names.add(actor_type)
            actor_id = _encode_canonically({k: v for k, v in record.actor.items() if k != "type"}).decode()
        if self._pseudonym:
            actor_id = self._pseudonym(actor_type, actor_id)
        return (
            self._day,
            record.organization_id,
            actor_type,
            actor_id,
            record.customer_type,
            record.subscription_type,
            record.terminal_type,
            record.is_remote,
        )

    def _number(self, identity: Hash) -> tuple[str, int]:
        """Return a record's ``record_id`` and ``key_ordinal``."""
        record_id = _record_id(identity, 0)
        short = int(record_id[:15], 16)
        if short not in self._keys:
            self._keys.add(short)
            return record_id, 0
        ordinal = self._repeats[short] = self._repeats.get(short, 0) + 1
        self.totals.repeated_keys += 1
        return _record_id(identity, ordinal), ordinal

    def _out_of_range(self) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The Claude Code usage of {self._day} holds numbers whose sum fits no column (64-bit counts, "
            f"{MAX_INTEGER_DIGITS} digits of money), so nothing of it is published."
        )


def _model_row(entry: ModelUsage) -> Row:
    tokens, cost = entry.tokens, entry.estimated_cost
    return (
        entry.model,
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_creation,
        # Adding zero turns a negative zero into the ordinary one.
        cost.amount.quantize(_NINE_PLACES) + _ZERO,
        cost.currency,
    )


def _usage_row(record: Record, models: list[Row], tools: list[Row]) -> Row:
    metrics = record.core_metrics
    known_tools: list[int] = []
    for name in KNOWN_TOOLS:
        action = record.tool_actions.get(name)
        known_tools += (action.accepted, action.rejected) if action else (0, 0)
    accepted = rejected = 0
    for _, tool_accepted, tool_rejected in tools:
        accepted += tool_accepted
        rejected += tool_rejected
    # What no model entry says is unknown, not zero; a cost over several currencies is no number.
    sums: Sequence[Any] = _UNKNOWN
    if len(models) == 1:
        sums = models[0][1:]
    elif models:
        _, *counts_and_cents, currencies = zip(*models, strict=True)
        one_currency = len(set(currencies)) == 1
        *tokens, cents = map(sum, counts_and_cents)
        sums = (*tokens, *((cents, currencies[0]) if one_currency else (None, None)))
    return (
        metrics.num_sessions,
        metrics.lines_of_code.added,
        metrics.lines_of_code.removed,
        metrics.commits_by_claude_code,
        metrics.pull_requests_by_claude_code,
        *known_tools,
        accepted,
        rejected,
        len(models),
        *sums,
    )


def _record_id(identity: Hash, ordinal: int) -> str:
    record = identity.copy()
    record.update(b"%d]" % ordinal)
    return record.hexdigest()[:32]


def _row_hash(identity: Hash, values: Row) -> int:
    """Hash a row as its canonical JSON array: UTF-8, no spaces, dates in ISO form, money as a string."""
    row = identity.copy()
    row.update(_encode(values)[1:])
    return int.from_bytes(row.digest()[:16])

"""From typed records to rows: what a record says about itself, its models and its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import msgspec

from airflow_provider_claude_code.api.models import (
    ACTOR_ID_FIELDS,
    INT64_MAX,
    MAX_INTEGER_DIGITS,
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

Row = tuple[Any, ...]

_NINE_PLACES = Decimal("1E-9")
_ZERO = Decimal(0)
# The default context rounds at 28 digits; this one holds any sum of amounts that each fit a NUMERIC.
_MONEY = Context(prec=60, rounding=ROUND_HALF_EVEN)
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
        page = FlatPage(
            shared=[],
            own={table: [] for table in DATA_TABLES},
            parents={MODEL_USAGE.name: [], TOOL_USAGE.name: []},
        )
        for position, record in enumerate(records):
            key = self._key(record)
            ordinal, record_id = self._number(key)
            page.shared.append((record_id, ordinal, *key))

            models = self._model_rows(record)
            tools = [(name, action.accepted, action.rejected) for name, action in record.tool_actions.items()]
            usage = self._usage_row(record, models, tools)
            for table, rows in ((USAGE.name, [usage]), (MODEL_USAGE.name, models), (TOOL_USAGE.name, tools)):
                page.own[table] += rows
                self.totals.row_counts[table] += len(rows)
                self.totals.digests[table] += sum(map(_row_hash, ((*key, *row) for row in rows)))
            page.parents[MODEL_USAGE.name] += [position] * len(models)
            page.parents[TOOL_USAGE.name] += [position] * len(tools)

            self.totals.num_sessions += record.core_metrics.num_sessions
            self.totals.unknown_names.update(record.tool_actions.keys() - KNOWN_TOOLS)
        self._check_sum(self.totals.num_sessions)
        self._check_money(self.totals.cents_of_all_currencies)
        return page

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

    def _number(self, key: Row) -> tuple[int, str]:
        """Return a record's ``key_ordinal`` and ``record_id``."""
        record_id = _record_id(key, 0)
        short = int(record_id[:15], 16)
        if short not in self._keys:
            self._keys.add(short)
            return 0, record_id
        ordinal = self._repeats[short] = self._repeats.get(short, 0) + 1
        self.totals.repeated_keys += 1
        return ordinal, _record_id(key, ordinal)

    def _model_rows(self, record: Record) -> list[Row]:
        rows = []
        for entry in record.model_breakdown:
            tokens, cost = entry.tokens, entry.estimated_cost
            # Adding zero turns a negative zero into the ordinary one.
            cents = _MONEY.add(cost.amount.quantize(_NINE_PLACES, context=_MONEY), _ZERO)
            self._check_money(cents)
            self.totals.cents_of_all_currencies = _MONEY.add(self.totals.cents_of_all_currencies, cents)
            self.totals.currencies.add(cost.currency)
            rows.append(
                (
                    entry.model,
                    tokens.input,
                    tokens.output,
                    tokens.cache_read,
                    tokens.cache_creation,
                    cents,
                    cost.currency,
                )
            )
        return rows

    def _usage_row(self, record: Record, models: list[Row], tools: list[Row]) -> Row:
        metrics = record.core_metrics
        known_tools: list[int] = []
        for name in KNOWN_TOOLS:
            action = record.tool_actions.get(name)
            known_tools += (action.accepted, action.rejected) if action else (0, 0)
        accepted = sum(row[1] for row in tools)
        rejected = sum(row[2] for row in tools)
        # What no model entry says is unknown, not zero; a cost over several currencies is no number.
        tokens: tuple[int | None, ...] = (None,) * 4
        cents = currency = None
        if models:
            tokens = tuple(map(sum, zip(*(row[1:5] for row in models), strict=True)))
            if len({row[6] for row in models}) == 1:
                cents, currency = self._sum_money(models), models[0][6]
        self._check_sum(accepted, rejected, *tokens)
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
            *tokens,
            cents,
            currency,
        )

    def _sum_money(self, models: list[Row]) -> Decimal:
        total = _ZERO
        for row in models:
            total = _MONEY.add(total, row[5])
        self._check_money(total)
        return total

    def _check_sum(self, *sums: int | None) -> None:
        if any(value is not None and value > INT64_MAX for value in sums):
            raise self._out_of_range()

    def _check_money(self, cents: Decimal) -> None:
        if cents and cents.adjusted() >= MAX_INTEGER_DIGITS:
            raise self._out_of_range()

    def _out_of_range(self) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The Claude Code usage of {self._day} holds numbers whose sum fits no column (64-bit counts, "
            f"{MAX_INTEGER_DIGITS} digits of money), so nothing of it is published."
        )


def _record_id(key: Row, ordinal: int) -> str:
    return hashlib.sha256(_encode((*key, ordinal))).hexdigest()[:32]


def _row_hash(values: Row) -> int:
    """Hash a row as its canonical JSON array: UTF-8, no spaces, dates in ISO form, money as a string."""
    return int.from_bytes(hashlib.sha256(_encode(values)).digest()[:16])

"""From typed records to rows: what a record says about itself, its models and its tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Sized
from datetime import date
from itertools import chain

import numpy as np

from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.streams.actors import unknown_fields_of_actor
from airflow_provider_claude_code.streams.usage.models import ACTOR_KINDS, Record
from airflow_provider_claude_code.streams.usage.tables import (
    KEY,
    KNOWN_TOOLS,
    MODEL_USAGE,
    SHARED_COLUMNS,
    TOKEN_KINDS,
    TOOL_USAGE,
    USAGE,
)
from airflow_provider_claude_code.streams.usage.totals import UsageTotals
from airflow_provider_claude_code.tables.columns import Array, DictionaryEncoded
from airflow_provider_claude_code.tables.money import billionths_of
from airflow_provider_claude_code.tables.rows import PageRows, Pseudonym, Values, columns_of, lines
from airflow_provider_claude_code.tables.totals import MAX_OF_A_DAY


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
        self._keys = SeenKeys()

    def flatten(self, records: Sequence[Record]) -> PageRows:
        """
        Return the rows of the next page and add them to the totals.

        :raises ClaudeCodeResponseError: the day adds up to more than a day can have, or an actor of a new kind is
            nested too deeply.
        """
        self._keep_unknown_of_actors(records)
        try:
            page = self._rows(records)
        except RecursionError:
            raise self._refusal("an actor that is nested too deeply") from None
        self.totals.add(page)
        if self.totals.is_too_large:
            raise self._refusal(f"numbers that add up to more than {MAX_OF_A_DAY:,}, which no day has")
        return page

    def _rows(self, records: Sequence[Record]) -> PageRows:
        key = columns_of(SHARED_COLUMNS, records, self._pseudonym, date=[self._day] * len(records))
        in_order = [key[name] for name in KEY]
        key_hashes = _hashes(lines([*in_order, np.zeros(len(records), np.int64)]))
        record_ids, ordinals = self._number(in_order, key_hashes)
        breakdowns = [record.model_breakdown for record in records]
        tool_actions = [record.tool_actions for record in records]
        entries = list(chain.from_iterable(breakdowns))
        actions = list(chain.from_iterable(map(dict.values, tool_actions)))
        of_models, of_tools = _Children(breakdowns), _Children(tool_actions)
        models = columns_of(
            self._own[MODEL_USAGE.name],
            entries,
            self._pseudonym,
            estimated_cost_cents=[billionths_of(entry.estimated_cost.amount) for entry in entries],
        )
        tools = columns_of(
            self._own[TOOL_USAGE.name], actions, self._pseudonym, tool_name=chain.from_iterable(tool_actions)
        )
        sums = _sums_over_models(models, of_models) | _sums_over_tools(tools, of_tools)
        usage = columns_of(self._own[USAGE.name], records, self._pseudonym, **sums)
        return PageRows(
            own={USAGE.name: usage, MODEL_USAGE.name: models, TOOL_USAGE.name: tools},
            shared={"record_id": record_ids, "key_ordinal": ordinals, **key},
            parents={MODEL_USAGE.name: of_models.parents, TOOL_USAGE.name: of_tools.parents},
            key_hashes=key_hashes,
        )

    def _number(self, key: list[Values], key_hashes: list[bytes]) -> tuple[Values, Array]:
        """Return the records' ``record_id`` and ``key_ordinal``."""
        ordinals = self._keys.count(key_hashes)
        if ordinals.any():
            self.totals.repeated_keys += int(np.count_nonzero(ordinals))
            key_hashes = _hashes(lines([*key, ordinals]))
        digits = b"".join(key_hashes).hex().encode()
        return np.frombuffer(digits, "S64").astype("S32"), ordinals

    def _keep_unknown_of_actors(self, records: Sequence[Record]) -> None:
        for record in records:
            # A checked actor of a documented type has both of its documented fields.
            if len(record.actor) > 2 and (unknown := unknown_fields_of_actor(record.actor, ACTOR_KINDS)):
                record.keep_unknown({"actor": unknown})
                self.totals.unknown_names.update(f"data[].actor.{name}" for name in unknown)

    def _refusal(self, problem: str) -> ClaudeCodeResponseError:
        return ClaudeCodeResponseError(
            f"The Claude Code usage of {self._day} contains {problem}, so nothing of it is published."
        )


class SeenKeys:
    """
    Counts how often keys came before.

    Of each key only 64 bits of its hash are remembered, in 8 bytes where they are older: a million of them take 8 MB,
    and as a set of numbers 90 MB. Should two keys share these bits (in one of forty million days of a million keys),
    one is numbered as if it repeated; its rows stay complete.
    """

    MOST_NEW = 50_000
    """Keys that are in a set until they are sorted in among the older ones."""

    def __init__(self) -> None:
        self._older = np.empty(0, np.uint64)
        self._newer: set[int] = set()
        self._repeats: dict[int, int] = {}

    def count(self, key_hashes: Sequence[bytes]) -> Array:
        """Return how often each key came before, given the hashes of the next keys."""
        if len(self._newer) > self.MOST_NEW:
            newer = np.fromiter(self._newer, np.uint64, len(self._newer))
            # Merges what is sorted already.
            self._older = np.sort(np.concatenate([self._older, np.sort(newer)]), kind="stable")
            self._newer = set()
        keys = np.frombuffer(b"".join(key_hashes), np.uint64)[::4]
        is_old = np.searchsorted(self._older, keys, "right") > np.searchsorted(self._older, keys)
        listed = keys.tolist()
        counts = np.zeros(len(listed), np.int64)
        if not is_old.any() and self._newer.isdisjoint(listed) and len(set(listed)) == len(listed):
            self._newer.update(listed)
            return counts
        for position, (key, old) in enumerate(zip(listed, is_old.tolist(), strict=True)):
            if old or key in self._newer:
                counts[position] = self._repeats[key] = self._repeats.get(key, 0) + 1
            else:
                self._newer.add(key)
        return counts


def _hashes(lines_: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(line).digest() for line in lines_]


class _Children:
    """
    What each record has several of.

    :param parts: the children of each record.
    :ivar counts: how many each record has.
    :ivar parents: the position of each child's record.
    """

    def __init__(self, parts: Sequence[Sized]) -> None:
        self.counts = np.fromiter(map(len, parts), np.int64, len(parts))
        self.parents = np.repeat(np.arange(len(parts)), self.counts)
        self._ends = self.counts.cumsum()

    def sums(self, values: Array) -> Array:
        """
        Add up the values of each record's children.

        64 bits hold each sum of a day that is not refused; that the running sum may not fit them changes no difference.
        """
        running = np.concatenate([np.zeros(1, values.dtype), values.cumsum()])
        sums: Array = running[self._ends] - running[self._ends - self.counts]
        return sums

    def common_values(self, values: DictionaryEncoded) -> DictionaryEncoded:
        """Return for each record the value that all of its children have; null if these differ, or it has none."""
        # Records without any may be the last ones.
        first = np.append(values.indices, 0)[self._ends - self.counts]
        no_one = self.counts == 0
        no_one[self.parents[values.indices != first[self.parents]]] = True
        indices = np.where(no_one, len(values.dictionary), first).astype(np.int32)
        return DictionaryEncoded([*values.dictionary, None], indices)


def _sums_over_tools(tools: Mapping[str, Values], children: _Children) -> dict[str, Values]:
    sums = {f"tool_actions_{outcome}": children.sums(tools[outcome]) for outcome in ("accepted", "rejected")}
    names = tools["tool_name"]
    for tool in KNOWN_TOOLS:
        of_tool = names.indices == (names.dictionary.index(tool) if tool in names.dictionary else -1)
        sums |= {f"{tool}_{outcome}": children.sums(tools[outcome] * of_tool) for outcome in ("accepted", "rejected")}
    return sums


def _sums_over_models(models: Mapping[str, Values], children: _Children) -> dict[str, Values]:
    # Without model entries, the sums are unknown, not 0. A cost in several currencies has no sum.
    currency = children.common_values(models["currency"])
    has_one = np.array([text is not None for text in currency.dictionary], bool)[currency.indices]
    tokens = {
        f"{kind}_tokens": np.ma.array(children.sums(models[f"{kind}_tokens"]), mask=children.counts == 0)
        for kind in TOKEN_KINDS
    }
    cents = np.ma.array(children.sums(models["estimated_cost_cents"]), mask=~has_one)
    return {"model_count": children.counts, **tokens, "estimated_cost_cents": cents, "currency": currency}

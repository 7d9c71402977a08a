"""A finished load of a day: what is to be published, and the rows of ``loads`` that remember it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.quoting import first_names, quoted
from airflow_provider_claude_code.tables.contract import SCHEMA_VERSION

if TYPE_CHECKING:
    from airflow_provider_claude_code.tables.flatten import DayTotals
    from airflow_provider_claude_code.tables.spool import SpooledTable

LOAD_ID = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8}"
"""The pattern of a ``load_id``."""


def begin_load(after: datetime | None) -> tuple[str, datetime]:
    """
    Return the ``load_id`` and the ``loaded_at`` of a load that begins now.

    :param after: ``loaded_at`` of the newest load of the day so far. The new one is later even if it was
        written by a machine whose clock is ahead, so that the latest load is always the last.
    """
    loaded_at = datetime.now(UTC)
    if after is not None:
        loaded_at = max(loaded_at, after + timedelta(microseconds=1))
    return f"{loaded_at:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}", loaded_at


@dataclass(frozen=True, kw_only=True)
class Load:
    """
    A day, read whole and spooled, ready to be published.

    :param load_id: identifies the load; sorts by time.
    :param loaded_at: aware moment at which it began.
    :param day: the UTC day.
    :param organization_id: the organisation of the key.
    :param complete: whether the day was past the freshness delay, by the clock of the API.
    :param totals: what the day adds up to.
    :param files: the spooled file of each table.
    :param actor_identity: ``plain`` or ``hmac``.
    :param pseudonym_key_id: fingerprint of the pseudonym secret, with ``hmac``.
    :param dag_id: the Dag that loads the day.
    :param run_id: its run.
    """

    load_id: str
    loaded_at: datetime
    day: date
    organization_id: str
    complete: bool
    totals: DayTotals
    files: Mapping[str, SpooledTable]
    actor_identity: str
    pseudonym_key_id: str | None
    dag_id: str | None
    run_id: str | None

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of ``loads``, one per table that is published."""
        return [
            {
                "load_id": self.load_id,
                "organization_id": self.organization_id,
                "date": self.day,
                "table_name": table,
                "row_count": file.row_count,
                "num_sessions": self.totals.num_sessions,
                "estimated_cost_cents": self.totals.estimated_cost_cents,
                "content_digest": self.totals.content_digest(table),
                "complete": self.complete,
                "repeated_keys": self.totals.repeated_keys,
                "unknown_names": msgspec.json.encode(sorted(self.totals.unknown_names)).decode(),
                "actor_identity": self.actor_identity,
                "pseudonym_key_id": self.pseudonym_key_id,
                "schema_version": SCHEMA_VERSION,
                "provider_version": __version__,
                "dag_id": self.dag_id,
                "run_id": self.run_id,
                "loaded_at": self.loaded_at,
            }
            for table, file in self.files.items()
        ]

    def summary(self) -> dict[str, Any]:
        """Return what a run tells about the day: counts and sums, never a record, an address or a key."""
        cost: Decimal | None = self.totals.estimated_cost_cents
        unknown_names = self.totals.unknown_names
        currencies = [quoted(currency) for currency in self.totals.currencies]
        return {
            "day": self.day.isoformat(),
            "rows": {table: file.row_count for table, file in self.files.items()},
            "num_sessions": self.totals.num_sessions,
            # A string, since XCom would carry a Decimal through a float.
            "estimated_cost_cents": None if cost is None else plain_decimal(cost),
            "currency": currencies[0] if len(currencies) == 1 else None,
            "complete": self.complete,
            "repeated_keys": self.totals.repeated_keys,
            "unknown_names": len(unknown_names),
            "first_unknown_names": first_names(unknown_names),
            "load_id": self.load_id,
        }


def plain_decimal(amount: Decimal) -> str:
    """Write all digits of an amount and no needless zeros; Decimal.normalize() would round a long one."""
    whole, _, places = f"{amount:f}".partition(".")
    places = places.rstrip("0")
    return f"{whole}.{places}" if places else whole

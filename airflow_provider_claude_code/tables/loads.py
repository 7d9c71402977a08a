"""A load of a day that is ready to publish, and its rows of ``loads``."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.quoting import first_names
from airflow_provider_claude_code.tables.contract import LOADED_AT, SCHEMA_VERSION, Column, Table, values_of

if TYPE_CHECKING:
    from airflow_provider_claude_code.tables.spool import SpooledTable
    from airflow_provider_claude_code.tables.totals import DayTotals

LOAD_ID = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8}"
"""The pattern of a ``load_id``."""


def begin_load(after: datetime | None) -> tuple[str, datetime]:
    """
    Return the ``load_id`` and the ``loaded_at`` of a load that begins now.

    :param after: ``loaded_at`` of the newest load of the day so far. The new one is later even if
        the clock of the machine that wrote that one was ahead, so the last load is always the newest.
    """
    loaded_at = datetime.now(UTC)
    if after is not None:
        loaded_at = max(loaded_at, after + timedelta(microseconds=1))
    return f"{loaded_at:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}", loaded_at


def loaded_at_of(load_id: str) -> datetime:
    """Return the ``loaded_at`` of a load, which its ``load_id`` says."""
    return datetime.strptime(load_id.split("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Load:
    """
    A day, read whole and spooled, ready to be published.

    :param load_id: identifies the load; sorts by time.
    :param loaded_at: aware moment at which it began.
    :param stream: the stream's name.
    :param day: the UTC day.
    :param organization_id: the organisation of the key.
    :param organization_name: its name; None if it is not known.
    :param complete: whether the day was past the freshness delay, by the clock of the API.
    :param totals: totals of the day.
    :param directory: a private directory that is removed afterwards; targets may put files of their own into it.
    :param files: the spooled file of each table, in that directory.
    :param actor_identity: ``plain`` or ``hmac``.
    :param pseudonym_key_id: fingerprint of the pseudonym secret, with ``hmac``.
    :param dag_id: the Dag that loads the day.
    :param run_id: its run.
    :param request: the filters as canonical JSON, for streams with filters.
    """

    load_id: str
    loaded_at: datetime
    stream: str
    day: date
    organization_id: str
    complete: bool
    totals: DayTotals
    directory: Path
    files: Mapping[str, SpooledTable]
    actor_identity: str
    pseudonym_key_id: str | None
    dag_id: str | None
    run_id: str | None
    request: str | None = None
    organization_name: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the API has no records of the day: no rows for the stream's first table."""
        return next(iter(self.totals.row_counts.values())) == 0

    def to_write(self, *, keep_rows: bool) -> dict[str, SpooledTable]:
        """Return the files to publish: all, or with ``keep_rows`` only those with rows."""
        return {table: file for table, file in self.files.items() if file.row_count or not keep_rows}

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of ``loads``, one per table that is published."""
        tables = [_LoadedTable(self, name, file) for name, file in self.files.items()]
        values = {column.name: values_of(column.get, tables) for column in LOADS.columns if column.get}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]

    def summary(self) -> dict[str, Any]:
        """Return the summary of the day for the XCom: counts and sums, never a record, an address or a key."""
        unknown_names = self.totals.unknown_names
        return {
            "day": self.day.isoformat(),
            "rows": {table: file.row_count for table, file in self.files.items()},
            # Decimals as text, since XCom would carry them through a float.
            **{
                name: plain_decimal(value) if isinstance(value, Decimal) else value
                for name, value in self.totals.sums().items()
            },
            "empty": self.is_empty,
            "complete": self.complete,
            "repeated_keys": self.totals.repeated_keys,
            "unknown_names": len(unknown_names),
            "first_unknown_names": first_names(unknown_names),
            "load_id": self.load_id,
        }


class _LoadedTable(NamedTuple):
    """The source of a row of ``loads``."""

    load: Load
    name: str
    file: SpooledTable


LOADS = Table(
    "loads",
    "load of a day and table; written last, and deleted only if another load of the day interfered",
    (
        Column("load_id", "STRING", "Identifies the load; sorts by time.", get="load.load_id"),
        Column(
            "organization_id",
            "STRING",
            "The organisation of the key that loaded the day.",
            get="load.organization_id",
        ),
        Column("date", "DATE", "The UTC day that was loaded.", get="load.day"),
        Column(
            "stream",
            "STRING",
            "The report or list of the API; null means usage.",
            nullable=True,
            get="load.stream",
        ),
        Column(
            "request",
            "STRING",
            "JSON object of the filters of the load, such as the products of cost; null for streams without filters.",
            nullable=True,
            get="load.request",
        ),
        Column("table_name", "STRING", "The table, such as usage or model_usage.", get="name"),
        Column(
            "row_count",
            "INT64",
            "Rows of the day in the table; 0 means loaded and empty.",
            get="file.row_count",
        ),
        Column(
            "num_sessions",
            "INT64",
            "Sum of num_sessions over the day's records; null for streams without sessions.",
            nullable=True,
            get=lambda tables: [table.load.totals.sums().get("num_sessions") for table in tables],
        ),
        Column(
            "estimated_cost_cents",
            "NUMERIC",
            "Sum over the day's model entries in minor units of the currency (cents); null when their currencies "
            "differ, and for streams without an estimate.",
            nullable=True,
            get=lambda tables: [table.load.totals.sums().get("estimated_cost_cents") for table in tables],
        ),
        Column(
            "content_digest",
            "STRING",
            "32 hex digits that change if the rows of the day change. Their order makes no difference, nor do "
            "loaded_at, refreshed_at, record_id, key_ordinal and unknown_fields.",
            get=lambda tables: [table.load.totals.content_digest(table.name) for table in tables],
        ),
        Column(
            "complete",
            "BOOL",
            "Whether the day was past the API's freshness delay when it was read.",
            get="load.complete",
        ),
        Column(
            "repeated_keys",
            "INT64",
            "Records with the same key as an earlier record of the day (key_ordinal above 0).",
            get="load.totals.repeated_keys",
        ),
        Column(
            "unknown_names",
            "STRING",
            "JSON array of names that the API reference did not list when this version was released: tools, kinds of "
            "actors, and paths of fields that are not listed or have an unlisted value, such as data[].new_field.",
            get=lambda tables: [
                msgspec.json.encode(sorted(table.load.totals.unknown_names)).decode() for table in tables
            ],
        ),
        Column(
            "actor_identity",
            "STRING",
            "plain, or hmac when actor_id contains pseudonyms.",
            get="load.actor_identity",
        ),
        Column(
            "pseudonym_key_id",
            "STRING",
            "Fingerprint of the pseudonym secret, which changes with the secret; null with actor_identity=plain.",
            nullable=True,
            get="load.pseudonym_key_id",
        ),
        Column(
            "schema_version",
            "INT64",
            "Version of these table definitions.",
            get=lambda tables: [SCHEMA_VERSION] * len(tables),
        ),
        Column(
            "provider_version",
            "STRING",
            "Version of airflow-provider-claude-code.",
            get=lambda tables: [__version__] * len(tables),
        ),
        Column("dag_id", "STRING", "The Dag that loaded the day.", nullable=True, get="load.dag_id"),
        Column("run_id", "STRING", "Its run.", nullable=True, get="load.run_id"),
        dataclasses.replace(LOADED_AT, get="load.loaded_at"),
    ),
    clustering=(),
    partitioning="MONTH",
)

FILE_LOADS = Table(
    LOADS.name,
    LOADS.grain,
    (
        *LOADS.columns,
        Column(
            "path",
            "STRING",
            "The table's file of the day, relative to the target's path; null if there is none, since the day has "
            "always been empty.",
            nullable=True,
        ),
        Column("bytes", "INT64", "Size of that file.", nullable=True),
        Column("sha256", "STRING", "SHA-256 of that file, 64 hex digits.", nullable=True),
    ),
)
"""``loads`` for files. Its rows are the commit records, which show inconsistent days."""


def plain_decimal(amount: Decimal) -> str:
    """Return all digits of an amount without trailing zeros. Decimal.normalize() would round a long amount."""
    whole, _, places = f"{amount:f}".partition(".")
    places = places.rstrip("0")
    return f"{whole}.{places}" if places else whole

"""
Columns and tables.

The Arrow schema, the BigQuery schema and the documentation are made from these definitions. Values are matched to
columns by name. A column that is added is nullable, and comes with a new ``SCHEMA_VERSION``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

SCHEMA_VERSION = 1

FileFormat = Literal["parquet", "ndjson", "csv"]
EXTENSIONS: dict[FileFormat, str] = {"parquet": "parquet", "ndjson": "ndjson.gz", "csv": "csv.gz"}
"""The file name extension of each format."""

ColumnType = Literal["STRING", "INT64", "BOOL", "DATE", "TIMESTAMP", "NUMERIC"]

MONEY_PLACES: Final = 9
"""Decimal places of a NUMERIC, as BigQuery has it."""

NOT_CONTENT = frozenset({"record_id", "key_ordinal", "unknown_fields", "refreshed_at", "loaded_at"})
"""Columns that ``content_digest`` leaves out, since the load creates them or the API does not document them."""


GetValues = Callable[[Sequence[Any]], Iterable[Any]]
"""Returns the values of a column, given the sources of the rows."""


@dataclass(frozen=True, kw_only=True)
class PseudonymOf:
    """
    The value is replaced by a pseudonym with ``actor_identity="hmac"``.

    :param kind: returns the type of the actor in a row, given the source of the row.
    """

    kind: Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """
    One column.

    :param name: its name in every target.
    :param type: BigQuery's name of its type.
    :param description: meaning, unit and source.
    :param nullable: whether it may be null; if not, decoding into typed records ensures it.
    :param get: the attribute of a row's source that is the value, such as ``tokens.input``, or a function that returns
        the values of rows; ``None`` if the values of a page are computed under the column's name.
    :param hmac: what ``actor_identity="hmac"`` does to the value of a STRING column: keep it, store null, or store a
        pseudonym.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    get: str | GetValues | None = None
    hmac: Literal["keep", "null"] | PseudonymOf | None = None


@dataclass(frozen=True)
class Table:
    """
    One table.

    :param name: its short name, as in ``tables=`` and in file paths; no other table of any stream has it.
    :param grain: what one row represents.
    :param columns: its columns, in order.
    :param clustering: the columns that BigQuery clusters it by.
    :param partitioning: what one partition in BigQuery holds.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    clustering: tuple[str, ...] = ("actor_id",)
    partitioning: Literal["DAY", "MONTH"] = "DAY"


def values_of(get: str | GetValues, sources: Sequence[Any]) -> Iterable[Any]:
    """Return the values of rows, given their sources and the ``get`` of a column."""
    return (_getter(get) if isinstance(get, str) else get)(sources)


@cache
def _getter(attribute: str) -> GetValues:
    # Python remembers where code has found an attribute, so this takes a third of the time of operator.attrgetter.
    getter: GetValues = eval(f"lambda sources: [source.{attribute} for source in sources]")  # noqa: S307
    return getter


LOADED_AT = Column(
    "loaded_at", "TIMESTAMP", "When this load of the day began (UTC); the same in every table of the load."
)

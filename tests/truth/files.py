"""The expected columns of the files, and their rows, read without the package."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FORMATS = ("parquet", "ndjson", "csv")

SHARED = [
    pa.field("record_id", pa.string()),
    pa.field("key_ordinal", pa.int64()),
    pa.field("date", pa.date32()),
    pa.field("organization_id", pa.string()),
    pa.field("actor_type", pa.string()),
    pa.field("actor_id", pa.string()),
    pa.field("customer_type", pa.string()),
    pa.field("subscription_type", pa.string()),
    pa.field("terminal_type", pa.string()),
    pa.field("is_remote", pa.bool_()),
]
COST = [
    pa.field("input_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("cache_read_tokens", pa.int64()),
    pa.field("cache_creation_tokens", pa.int64()),
    pa.field("estimated_cost_cents", pa.decimal128(38, 9)),
    pa.field("currency", pa.string()),
]
MOMENT = [pa.field("unknown_fields", pa.string()), pa.field("loaded_at", pa.timestamp("us", tz="UTC"))]
COUNTS = [
    "num_sessions",
    "lines_of_code_added",
    "lines_of_code_removed",
    "commits_by_claude_code",
    "pull_requests_by_claude_code",
    "edit_tool_accepted",
    "edit_tool_rejected",
    "multi_edit_tool_accepted",
    "multi_edit_tool_rejected",
    "write_tool_accepted",
    "write_tool_rejected",
    "notebook_edit_tool_accepted",
    "notebook_edit_tool_rejected",
    "tool_actions_accepted",
    "tool_actions_rejected",
    "model_count",
]
SCHEMAS = {
    "usage": pa.schema([*SHARED, *(pa.field(name, pa.int64()) for name in COUNTS), *COST, *MOMENT]),
    "model_usage": pa.schema([*SHARED, pa.field("model", pa.string()), *COST, *MOMENT]),
    "tool_usage": pa.schema(
        [
            *SHARED,
            pa.field("tool_name", pa.string()),
            pa.field("accepted", pa.int64()),
            pa.field("rejected", pa.int64()),
            *MOMENT,
        ]
    ),
}


Row = dict[str, Any]


def plain(rows: Sequence[Row]) -> list[Row]:
    """Convert rows of any reader to one form: days and money as text, loaded_at as an aware datetime."""
    return [
        row
        | {"date": str(row["date"]), "loaded_at": _moment(row["loaded_at"])}
        | ({"estimated_cost_cents": _money(row["estimated_cost_cents"])} if "estimated_cost_cents" in row else {})
        for row in rows
    ]


def _moment(value: Any) -> datetime:
    if isinstance(value, int):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _money(value: Any) -> Decimal | None:
    assert not isinstance(value, float)
    return None if value is None else Decimal(value)


def read_ndjson(path: Path) -> list[Row]:
    text = gzip.decompress(path.read_bytes()).decode()
    # Not splitlines(), which also cuts at characters that JSON does not escape.
    return [json.loads(line) for line in text.split("\n") if line]


def read_arrow_csv(path: Path, schema: pa.Schema) -> list[Row]:
    options = pa.csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with gzip.open(path) as file:
        return list(pa.csv.read_csv(file, convert_options=options, parse_options=parse).to_pylist())

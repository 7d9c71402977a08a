"""Columns: their types in BigQuery, DuckDB and Arrow, their values in JSON, and which changes are allowed."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from tests.servers.bigquery.errors import BigQueryError

Field = dict[str, Any]
"""A ``TableFieldSchema``."""

_STANDARD_NAMES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD", "DECIMAL": "NUMERIC"}

_TYPES = {
    "STRING": ("VARCHAR", pa.string()),
    "INTEGER": ("BIGINT", pa.int64()),
    "FLOAT": ("DOUBLE", pa.float64()),
    "NUMERIC": ("DECIMAL(38, 9)", pa.decimal128(38, 9)),
    "BOOLEAN": ("BOOLEAN", pa.bool_()),
    "DATE": ("DATE", pa.date32()),
    "DATETIME": ("TIMESTAMP", pa.timestamp("us")),
    "TIME": ("TIME", pa.time64("us")),
    "TIMESTAMP": ("TIMESTAMPTZ", pa.timestamp("us", tz="UTC")),
    "BYTES": ("BLOB", pa.binary()),
    "JSON": ("JSON", pa.string()),
}

# What a query's result has, and what BigQuery calls it; every decimal is a NUMERIC, all sums of integers are integers.
_FROM_DUCKDB = {"VARCHAR": "STRING", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "TIMESTAMP": "DATETIME", "BLOB": "BYTES"}
_FROM_DUCKDB |= {name: name for name in ("BOOLEAN", "DATE", "TIME", "JSON")}
_FROM_DUCKDB |= dict.fromkeys(("DOUBLE", "FLOAT"), "FLOAT")
_FROM_DUCKDB |= {f"{sign}{size}": "INTEGER" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER")}
_FROM_DUCKDB |= dict.fromkeys(("BIGINT", "UBIGINT", "HUGEINT", '"NULL"'), "INTEGER")


def quoted(*names: str) -> str:
    """Write a name for DuckDB."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def mode(field: Field) -> str:
    """Tell a column's mode, which is NULLABLE where none is given."""
    return field.get("mode") or "NULLABLE"


def canonical(fields: Sequence[Field]) -> list[Field]:
    """Name types as the service does, and refuse those that this server does not know."""
    result = []
    for field in fields:
        kind = field["type"].upper()
        field = {**field, "type": _STANDARD_NAMES.get(kind, kind)}
        # 64-bit numbers are text in the service's JSON.
        field |= {name: str(field[name]) for name in ("precision", "scale", "maxLength") if name in field}
        if field["type"] == "RECORD":
            field["fields"] = canonical(field["fields"])
        elif field["type"] not in _TYPES:
            raise BigQueryError("notImplemented", f"This server has no type {kind} (field: {field['name']})")
        result.append(field)
    return result


def duckdb_type(field: Field) -> str:
    """Write a column's type for DuckDB."""
    if field["type"] == "RECORD":
        members = ", ".join(f"{quoted(member['name'])} {duckdb_type(member)}" for member in field["fields"])
        text = f"STRUCT({members})"
    else:
        text = _TYPES[field["type"]][0]
    return text + "[]" * (mode(field) == "REPEATED")


def arrow_type(field: Field) -> pa.DataType:
    """Give a column's type in Arrow."""
    if field["type"] == "RECORD":
        kind = pa.struct([(member["name"], arrow_type(member)) for member in field["fields"]])
    else:
        kind = _TYPES[field["type"]][1]
    return pa.list_(kind) if mode(field) == "REPEATED" else kind


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Give the columns in Arrow."""
    return pa.schema([(field["name"], arrow_type(field)) for field in fields])


def field_of_duckdb(name: str, kind: Any) -> Field:
    """Describe a column of a query's result."""
    if kind.id == "list":
        return {**field_of_duckdb(name, kind.children[0][1]), "mode": "REPEATED"}
    field: Field = {"name": name, "mode": "NULLABLE"}
    if kind.id == "struct":
        return {**field, "type": "RECORD", "fields": [field_of_duckdb(*child) for child in kind.children]}
    if kind.id == "decimal":
        return {**field, "type": "NUMERIC"}
    if (known := _FROM_DUCKDB.get(str(kind))) is None:
        raise BigQueryError("notImplemented", f"This server cannot return a column of DuckDB's type {kind}")
    return {**field, "type": known}


def field_of_parquet(column: pa.Field, *, lists: bool) -> Field:
    """
    Describe a column of a Parquet file.

    :param column: the column in Arrow
    :param lists: list inference is enabled
    """
    kind, name = column.type, column.name
    field: Field = {"name": name, "mode": "NULLABLE" if column.nullable else "REQUIRED"}
    if pa.types.is_list(kind):
        if lists:
            return {**field_of_parquet(kind.value_field.with_name(name), lists=lists), "mode": "REPEATED"}
        item = {**field_of_parquet(kind.value_field.with_name("element"), lists=lists), "mode": "NULLABLE"}
        return {
            **field,
            "type": "RECORD",
            "fields": [{"name": "list", "type": "RECORD", "mode": "REPEATED", "fields": [item]}],
        }
    if pa.types.is_struct(kind):
        return {**field, "type": "RECORD", "fields": [field_of_parquet(member, lists=lists) for member in kind]}
    for known, test in (
        ("STRING", lambda: pa.types.is_string(kind) or pa.types.is_large_string(kind)),
        ("INTEGER", lambda: pa.types.is_integer(kind)),
        ("FLOAT", lambda: pa.types.is_floating(kind)),
        ("NUMERIC", lambda: pa.types.is_decimal(kind) and kind.scale <= 9 and kind.precision - kind.scale <= 29),
        ("BOOLEAN", lambda: pa.types.is_boolean(kind)),
        ("DATE", lambda: pa.types.is_date32(kind)),
        ("DATETIME", lambda: pa.types.is_timestamp(kind) and kind.tz is None),
        ("TIMESTAMP", lambda: pa.types.is_timestamp(kind)),
        ("TIME", lambda: pa.types.is_time(kind)),
        ("BYTES", lambda: pa.types.is_binary(kind) or pa.types.is_large_binary(kind)),
    ):
        if test():
            return {**field, "type": known}
    raise BigQueryError("invalid", f"Error while reading data, error message: Parquet column '{name}' has type {kind}")


def parse(value: Any, field: Field, *, ignore_unknown: bool = False) -> Any:
    """
    Read a value of a JSON or CSV file.

    :param value: what the file holds
    :param field: the column
    :param ignore_unknown: skip members of records that the schema does not have
    :raises ValueError: the value does not fit; the text says which field
    """
    name = field["name"]
    if mode(field) == "REPEATED":
        if not isinstance(value, list):
            if value is None:
                return []
            raise ValueError(f"Field: {name}; Value is not an array")
        single = {**field, "mode": "REQUIRED"}
        return [parse(item, single, ignore_unknown=ignore_unknown) for item in value]
    if value is None:
        if mode(field) == "REQUIRED":
            raise ValueError(f"Missing required field: {name}.")
        return None
    if field["type"] == "RECORD":
        if not isinstance(value, dict):
            raise ValueError(f"Field: {name}; This field is a record, but the value is not an object")
        return parse_row(value, field["fields"], ignore_unknown=ignore_unknown)
    try:
        return _scalar(value, field["type"])
    except (ValueError, InvalidOperation, binascii.Error) as error:
        raise ValueError(f"Field: {name}; Could not convert value {str(value)[:80]!r} to {field['type']}") from error


def parse_row(row: dict[str, Any], fields: Sequence[Field], *, ignore_unknown: bool = False) -> dict[str, Any]:
    """
    Read a row of a file, or a record in it.

    :param row: values by name
    :param fields: the columns
    :param ignore_unknown: skip names that the schema does not have
    :raises ValueError: the row does not fit; the text says why
    """
    given = {name.lower(): value for name, value in row.items()}
    if not ignore_unknown and (unknown := given.keys() - {field["name"].lower() for field in fields}):
        raise ValueError(f"No such field: {min(unknown)}.")
    return {f["name"]: parse(given.get(f["name"].lower()), f, ignore_unknown=ignore_unknown) for f in fields}


def _scalar(value: Any, kind: str) -> Any:
    if kind == "JSON":
        return value if isinstance(value, str) else json.dumps(value, default=float)
    if isinstance(value, dict | list) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ValueError(value)
    return _CONVERTERS[kind](str(value))


def _integer(text: str) -> int:
    number = Decimal(text)
    if number != number.to_integral_value() or not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return int(number)


def _numeric(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number.quantize(Decimal("1e-9"), ROUND_HALF_UP, Context(prec=38))


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _datetime(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo:
        raise ValueError(text)
    return moment


def _timestamp(text: str) -> datetime:
    # "2025-09-08 01:02:03 UTC" is one of the service's forms.
    moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "STRING": str,
    "INTEGER": _integer,
    "FLOAT": float,
    "NUMERIC": _numeric,
    "BOOLEAN": _boolean,
    "DATE": date.fromisoformat,
    "DATETIME": _datetime,
    "TIME": time.fromisoformat,
    "TIMESTAMP": _timestamp,
    "BYTES": lambda text: base64.b64decode(text, validate=True),
}


def cell(value: Any, field: Field, timestamps: str = "FLOAT64") -> Any:
    """
    Write a value as rows of answers have it.

    :param value: the value as Arrow gives it
    :param field: its column
    :param timestamps: ``FLOAT64`` (seconds), ``INT64`` (microseconds) or ``ISO8601_STRING``
    """
    if mode(field) == "REPEATED":
        single = {**field, "mode": "NULLABLE"}
        return [{"v": cell(item, single, timestamps)} for item in value or ()]
    if value is None:
        return None
    match field["type"]:
        case "RECORD":
            return cells(value, field["fields"], timestamps)
        case "BOOLEAN":
            return str(value).lower()
        case "INTEGER":
            return str(int(value))
        case "NUMERIC":
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case "BYTES":
            return base64.b64encode(value).decode()
        case "DATE" | "TIME" | "DATETIME":
            return value.isoformat()
        case "TIMESTAMP" if timestamps == "ISO8601_STRING":
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case "TIMESTAMP":
            microseconds = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            return str(microseconds if timestamps == "INT64" else microseconds / 1e6)
    return str(value)


def cells(row: dict[str, Any], fields: Sequence[Field], timestamps: str = "FLOAT64") -> dict[str, Any]:
    """Write a row, or a record in it, as answers have it."""
    return {"f": [{"v": cell(row[field["name"]], field, timestamps)} for field in fields]}


def merged(
    old: Sequence[Field], new: Sequence[Field], *, table: str, adding: bool, relaxing: bool, dropping: bool = True
) -> list[Field]:
    """
    Find the columns that a table has once those of a job or a patch are accepted.

    :param old: columns of the table
    :param new: columns that the job or patch names
    :param table: name of the table, for messages
    :param adding: whether columns may be added
    :param relaxing: whether REQUIRED may become NULLABLE
    :param dropping: whether ``new`` may leave out columns, which then stay as they are
    :raises BigQueryError: the change is not allowed
    """

    def refuse(text: str) -> BigQueryError:
        return BigQueryError("invalid", f"Provided Schema does not match Table {table}. {text}")

    given = {field["name"].lower(): field for field in new}
    result = []
    for field in old:
        name = field["name"]
        if (other := given.pop(name.lower(), None)) is None:
            if not dropping:
                raise refuse(f"Field {name} is missing in new schema")
            result.append(field)
            continue
        if other["type"] != field["type"]:
            raise refuse(f"Field {name} has changed type from {field['type']} to {other['type']}")
        if mode(other) != mode(field) and not (relaxing and (mode(field), mode(other)) == ("REQUIRED", "NULLABLE")):
            raise refuse(f"Field {name} has changed mode from {mode(field)} to {mode(other)}")
        if field["type"] == "RECORD":
            members = merged(
                field["fields"], other["fields"], table=table, adding=adding, relaxing=relaxing, dropping=dropping
            )
            other = {**other, "fields": members}
        result.append({**field, **other, "name": name})
    for field in given.values():
        if not adding:
            raise refuse(f"Cannot add fields (field: {field['name']})")
        if mode(field) == "REQUIRED":
            raise refuse(f"Cannot add required fields to an existing schema. (field: {field['name']})")
        result.append(field)
    return result

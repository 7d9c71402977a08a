"""The files of load jobs, read into Arrow."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers.bigquery.errors import BigQueryError
from tests.servers.bigquery.schemas import Field, arrow_schema, arrow_type, field_of_parquet, mode, parse_row


class LoadedFile:
    """
    The rows of a file.

    :param body: the file, compressed with gzip or not
    :param load: the load job's configuration
    :raises BigQueryError: the file cannot be read
    """

    def __init__(self, body: bytes, load: dict[str, Any]) -> None:
        self._load = load
        self._format = load.get("sourceFormat", "CSV")
        if self._format not in ("CSV", "NEWLINE_DELIMITED_JSON", "PARQUET"):
            raise BigQueryError("notImplemented", f"This server does not load {self._format}")
        self._body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.errors: list[dict[str, Any]] = []
        """Rows left out, as ``maxBadRecords`` allows."""
        self.fields: list[Field] | None = None
        """Columns that the file itself declares, which only Parquet does."""
        if self._format == "PARQUET":
            try:
                self._parquet = pq.read_table(io.BytesIO(self._body))
            except pa.ArrowInvalid as error:
                raise BigQueryError("invalid", f"Error while reading data, error message: {error}") from error
            lists = load.get("parquetOptions", {}).get("enableListInference", False)
            self.fields = [field_of_parquet(column, lists=lists) for column in self._parquet.schema]

    def rows(self, fields: list[Field]) -> pa.Table:
        """
        Read the rows.

        :param fields: columns to read into
        :raises BigQueryError: rows do not fit the columns
        """
        return self._columns(fields) if self._format == "PARQUET" else self._records(fields)

    def _columns(self, fields: list[Field]) -> pa.Table:
        assert self.fields is not None
        given = {field["name"].lower(): number for number, field in enumerate(self.fields)}
        columns = []
        for field in fields:
            kind, number = arrow_type(field), given.pop(field["name"].lower(), None)
            if number is None:
                columns.append(pa.nulls(self._parquet.num_rows, kind))
                continue
            declared, column = self.fields[number], self._parquet.column(number)
            if mode(declared) == "REQUIRED" and mode(field) == "NULLABLE":
                text = f"Field {field['name']} has changed mode from NULLABLE to REQUIRED"
                raise BigQueryError("invalid", f"Provided Schema does not match Table. {text}")
            if mode(field) == "REPEATED" and mode(declared) != "REPEATED":
                # What the service makes of a list without list inference: nothing, and it says nothing.
                columns.append(pa.array([[]] * len(column), kind))
                continue
            # JSON is text in Parquet.
            if declared["type"] != field["type"] and (declared["type"], field["type"]) != ("STRING", "JSON"):
                text = f"Parquet column '{field['name']}' has type {declared['type']} which does not match the target"
                raise BigQueryError("invalid", f"Error while reading data, error message: {text} type {field['type']}.")
            columns.append(column.cast(kind))
        if given:
            raise BigQueryError(
                "invalid", f"Provided Schema does not match Table. Cannot add fields (field: {min(given)})"
            )
        return pa.table(columns, schema=arrow_schema(fields))

    def _records(self, fields: list[Field]) -> pa.Table:
        rows = []
        ignore = self._load.get("ignoreUnknownValues", False)
        for number, record in self._json() if self._format == "NEWLINE_DELIMITED_JSON" else self._csv(fields):
            try:
                if isinstance(record, Exception):
                    raise ValueError(str(record)) from record
                rows.append(parse_row(record, fields, ignore_unknown=ignore))
            except ValueError as error:
                text = f"Error while reading data, error message: Row {number}: {error}"
                self.errors.append({"reason": "invalid", "message": text})
        if len(self.errors) > int(self._load.get("maxBadRecords", 0)):
            text = f"too many errors, giving up. Rows: {len(rows) + len(self.errors)}; errors: {len(self.errors)}."
            text = f"Error while reading data, error message: {self._format} table encountered {text}"
            raise BigQueryError(
                "invalid", text + " Please look into the errors[] collection for more details.", self.errors
            )
        return pa.Table.from_pylist(rows, schema=arrow_schema(fields))

    def _json(self) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(self._body.splitlines(), 1):
            if line.strip():
                try:
                    record = json.loads(line, parse_float=Decimal)
                    yield number, record if isinstance(record, dict) else ValueError("not an object")
                except ValueError as error:
                    yield number, error

    def _csv(self, fields: list[Field]) -> Iterator[tuple[int, Any]]:
        skipped = int(self._load.get("skipLeadingRows", 0))
        null = self._load.get("nullMarker", "")
        text = io.StringIO(self._body.decode(), newline="")
        for number, values in enumerate(csv.reader(text, delimiter=self._load.get("fieldDelimiter", ",")), 1):
            if number > skipped:
                if len(values) != len(fields):
                    yield number, ValueError(f"{len(values)} columns, {len(fields)} expected")
                    continue
                given = (None if value == null else value for value in values)
                yield number, dict(zip((field["name"] for field in fields), given, strict=True))

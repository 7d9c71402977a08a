"""Publishes days as files: their layout, and how a day is replaced."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.stores import Store
from airflow_provider_claude_code.tables.arrays import arrow_array
from airflow_provider_claude_code.tables.contract import EXTENSIONS, FileFormat
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOAD_ID, LOADS, Load, loaded_at_of
from airflow_provider_claude_code.tables.money import billionths_of
from airflow_provider_claude_code.tables.spool import arrow_schema
from airflow_provider_claude_code.targets.base import (
    StartedLoad,
    another_organization_error,
    named_if_partly_replaced,
    would_erase_error,
)

log = logging.getLogger(__name__)

ORGANIZATION_KEY = "_organization.json"
"""
The marker of whose usage a store holds, with the organisation's name if that is known. Readers of data lakes pass over
names with an underscore.
"""

# The stream is missing from files of versions that had one only.
_LOADS_NAME = re.compile(rf"({LOAD_ID})(?:\.(\w+))?\.parquet")


class FileTarget:
    """
    A store with the days of one organisation.

    ``TABLE/dt=YYYY-MM-DD/TABLE.EXT`` is a table's day. ``loads/dt=YYYY-MM-DD/LOAD_ID.STREAM.parquet``, written last,
    records a load. Its newest row for a table is the commit record: a table whose file does not have the size and
    checksum in it is inconsistent. A day that was empty from the start has no files but that one.

    :param store: where the files are.
    :param stream: the stream that is loaded; loads of others do not matter to it.
    :param file_format: the format of the data files; ``loads`` is always Parquet.
    """

    def __init__(self, store: Store, stream: str, file_format: FileFormat) -> None:
        self._store = store
        self._stream = stream
        self._extension = EXTENSIONS[file_format]

    def last_loaded_at(self, day: date) -> datetime | None:
        """Return when the newest load of a day began, which its ``load_id`` says."""
        with typed_store_errors(self._store.url("")):
            newest = max(self._loads(day), default=None)
        return None if newest is None else loaded_at_of(newest)

    def start(self, load: Load, *, keep_rows: bool) -> StartedLoad:
        """
        Replace a day and record the load, since there is nothing to wait for.

        See :meth:`Target.start <airflow_provider_claude_code.targets.base.Target.start>`.
        """
        # If there are no rows before or after, a file could only erase rows that another writer publishes meanwhile.
        to_write = load.to_write(keep_rows=keep_rows)
        keys = {table: f"{_folder(table, load.day)}/{table}.{self._extension}" for table in to_write}
        with typed_store_errors(self._store.url("")), self._store.exclusive(keys.values()):
            marker = self._claim_or_refuse_another_owner(load)
            self._refuse_newer(load)
            stored: dict[str, dict[str, Any]] = {
                table: {"path": key, "bytes": load.files[table].size, "sha256": load.files[table].sha256}
                for table, key in keys.items()
            }
            stored |= self._empty_files(load.day, [table for table in load.files if table not in keys])
            loads_key = f"{_folder(LOADS.name, load.day)}/{load.load_id}.{self._stream}.parquet"
            files = {key: load.files[table].path for table, key in keys.items()}
            files[loads_key] = _write_loads(load, stored)
            with (
                self._store.staged(files),
                named_if_partly_replaced(load.day, keys) as replaced,
                typed_store_errors(self._store.url("")),
            ):
                for table, key in keys.items():
                    self._store.write(key, files[key])
                    replaced.append(table)
                self._remove_other_formats(load.day, keys)
                self._store.write(loads_key, files[loads_key])
            # Where other writers cannot be kept out, one may have come in between: one that began later and has
            # ended (its load is newer), one of another organisation, or one that began earlier and wrote last.
            try:
                self._refuse_newer(load)
                self._claim_or_refuse_another_owner(load)
                for table, file in stored.items():
                    self._refuse_file_of_another_writer(load.day, table, file)
            except (SupersededError, ClaudeCodeConfigurationError):
                # The newest row of loads is taken for that of the files.
                self._store.delete(loads_key)
                raise
        if load.organization_name not in (None, marker.get("name")):
            self._keep_name(load)
        urls = {table: self._store.url(file["path"]) for table, file in stored.items() if file["path"]}
        return StartedLoad(job_ids={}, details={"files": urls})

    def finish(self, started: StartedLoad) -> dict[str, Any]:
        """Return the URL of each table's file."""
        return started.details

    def _claim_or_refuse_another_owner(self, load: Load) -> dict[str, str]:
        """Return the marker of the store. Mark a new store, and refuse a store of another organisation."""
        content = self._store.read(ORGANIZATION_KEY)
        if content is None:
            return self._write_marker(load)
        try:
            marker = msgspec.json.decode(content, type=dict[str, str])
            owner = marker["organization_id"]
        except (msgspec.DecodeError, KeyError):
            raise ClaudeCodeConfigurationError(
                f"{self._store.url(ORGANIZATION_KEY)} does not name an organisation. Check the path. If it is "
                "right, delete this file; the next load writes it again."
            ) from None
        if owner != load.organization_id:
            raise another_organization_error(self._store.url(""), owner, load.organization_id, "path")
        return marker

    def _write_marker(self, load: Load) -> dict[str, str]:
        marker = {"organization_id": load.organization_id}
        if load.organization_name is not None:
            marker["name"] = load.organization_name
        path = load.directory / ORGANIZATION_KEY
        with typed_store_errors(path.as_uri()):
            path.write_bytes(msgspec.json.encode(marker))
        self._store.write(ORGANIZATION_KEY, path)
        return marker

    def _keep_name(self, load: Load) -> None:
        """Write the organisation's name into its marker, for reports; the load itself does not depend on it."""
        try:
            with typed_store_errors(self._store.url("")), self._store.exclusive([ORGANIZATION_KEY]):
                self._claim_or_refuse_another_owner(load)
                self._write_marker(load)
        except ClaudeCodeError as error:
            log.info("The name of the organisation could not be stored: %s", error)

    def _refuse_newer(self, load: Load) -> None:
        if max(self._loads(load.day), default="") > load.load_id:
            raise SupersededError(f"another writer published a newer load of {load.day}")

    def _refuse_file_of_another_writer(self, day: date, table: str, file: Mapping[str, Any]) -> None:
        if file["path"] is None:
            replaced = bool(self._files(table, day))
        else:
            replaced = self._store.sha256(file["path"]) != file["sha256"]
        if replaced:
            raise SupersededError(f"another writer replaced {self._store.url(_folder(table, day))}")

    def _empty_files(self, day: date, tables: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the existing files without rows by table. Fail if a file has rows, or may have some."""
        empty, held = {}, {}
        for table in tables:
            record = self._true_record(table, day)
            if record is None:
                held[self._store.url(table)] = "an unknown number, since a load was interrupted"
            elif record["row_count"]:
                held[self._store.url(table)] = record["row_count"]
            else:
                empty[table] = {name: record[name] for name in ("path", "bytes", "sha256")}
        if held:
            raise would_erase_error(day, held)
        return empty

    def _true_record(self, table: str, day: date) -> dict[str, Any] | None:
        """Return the commit record of a table's day, or ``None`` if it does not match the file."""
        if not self._files(table, day):
            return {"row_count": 0, "path": None, "bytes": None, "sha256": None}
        record = self._commit_record(table, day)
        if record is None or record["path"] is None or self._store.sha256(record["path"]) != record["sha256"]:
            return None
        return record

    def _files(self, table: str, day: date) -> list[str]:
        return [name for name in self._store.names(_folder(table, day)) if name.startswith(f"{table}.")]

    def _commit_record(self, table: str, day: date) -> dict[str, Any] | None:
        for _, key in sorted(self._loads(day).items(), reverse=True):
            content = self._store.read(key)
            try:
                rows = pa.parquet.read_table(io.BytesIO(content or b"")).to_pylist()
            except (pa.ArrowInvalid, OSError):
                raise ClaudeCodePublishError(f"The commit record {self._store.url(key)} cannot be read.") from None
            for row in rows:
                if row["table_name"] == table:
                    return dict(row)
        return None

    def _loads(self, day: date) -> dict[str, str]:
        """Return the keys of the stream's loads of a day by their ids, which sort by time."""
        folder = _folder(LOADS.name, day)
        matches = filter(None, map(_LOADS_NAME.fullmatch, self._store.names(folder)))
        return {match[1]: f"{folder}/{match[0]}" for match in matches if (match[2] or "usage") == self._stream}

    def _remove_other_formats(self, day: date, tables: Iterable[str]) -> None:
        for table in tables:
            folder = _folder(table, day)
            others = {f"{table}.{extension}" for extension in EXTENSIONS.values() if extension != self._extension}
            for name in others.intersection(self._store.names(folder)):
                self._store.delete(f"{folder}/{name}")


def _folder(table: str, day: date) -> str:
    # Hive's layout; the path's key must not be a column of the files, so it is not called date.
    return f"{table}/dt={day.isoformat()}"


def _write_loads(load: Load, stored: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the load's rows of ``loads`` beside its spooled files."""
    rows = [
        {
            name: billionths_of(value) if isinstance(value, Decimal) else value
            for name, value in {**row, **stored[row["table_name"]]}.items()
        }
        for row in load.rows()
    ]
    columns = [arrow_array(column.type, [row[column.name] for row in rows]) for column in FILE_LOADS.columns]
    path = load.directory / "loads.parquet"
    with typed_store_errors(path.as_uri()):
        pa.parquet.write_table(pa.Table.from_arrays(columns, schema=arrow_schema(FILE_LOADS)), path, compression="zstd")
    return path

"""Days as files: their layout, and how one is replaced whole in a store of files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.stores import Store
from airflow_provider_claude_code.tables.arrays import arrow_array
from airflow_provider_claude_code.tables.contract import EXTENSIONS, FileFormat
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOAD_ID, LOADS, Load
from airflow_provider_claude_code.tables.money import billionths_of
from airflow_provider_claude_code.tables.spool import arrow_schema

ORGANIZATION_KEY = "_organization.json"
"""The marker of whose usage a store holds. Readers of data lakes pass over names with an underscore."""

# The stream is missing from files of versions that had one only.
_LOADS_NAME = re.compile(rf"({LOAD_ID})(?:\.(\w+))?\.parquet")


class FileTarget:
    """
    A store that holds days of one organisation.

    ``TABLE/dt=YYYY-MM-DD/TABLE.EXT`` is a table's day. ``loads/dt=YYYY-MM-DD/LOAD_ID.STREAM.parquet``,
    written last, remembers a load: the newest row per table is the commit record, so a table whose file does not have
    its size and checksum is torn. A day that was empty from the start has no files but that one.

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
        if newest is None:
            return None
        moment = newest.split("-")[0]
        return datetime.strptime(moment, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)

    def publish(self, load: Load, *, keep_rows: bool) -> dict[str, Any]:
        """Replace a day; see :class:`~airflow_provider_claude_code.targets.base.Target`."""
        # Where there are no rows and none are to come, a file could only erase what another writer publishes meanwhile.
        to_write = {} if keep_rows else load.files
        keys = {table: f"{_folder(table, load.day)}/{table}.{self._extension}" for table in to_write}
        with typed_store_errors(self._store.url("")), self._store.exclusive(keys.values()):
            self._claim(load)
            self._refuse_newer(load)
            stored: dict[str, dict[str, Any]] = {
                table: {"path": key, "bytes": load.files[table].size, "sha256": load.files[table].sha256}
                for table, key in keys.items()
            } or self._empty_files(load)
            loads_key = f"{_folder(LOADS.name, load.day)}/{load.load_id}.{self._stream}.parquet"
            files = {key: load.files[table].path for table, key in keys.items()}
            files[loads_key] = _write_loads(load, stored)
            with self._store.staged(files):
                for key in keys.values():
                    self._store.write(key, files[key])
                if keys:
                    self._remove_other_formats(load)
                self._store.write(loads_key, files[loads_key])
            # Where other writers cannot be kept out, one may have come in between: one that began later and has
            # ended (its load is newer), one of another organisation, or one that began earlier and wrote last.
            try:
                self._refuse_newer(load)
                self._claim(load)
                for table, file in stored.items():
                    self._refuse_file_of_another(load.day, table, file)
            except (SupersededError, ClaudeCodeConfigurationError):
                # The newest row of loads is taken for that of the files.
                self._store.delete(loads_key)
                raise
        return {"files": {table: self._store.url(file["path"]) for table, file in stored.items() if file["path"]}}

    def _claim(self, load: Load) -> None:
        """Take an unmarked store for the organisation, and refuse one that is another's."""
        marker = self._store.read(ORGANIZATION_KEY)
        if marker is None:
            path = next(iter(load.files.values())).path.with_name(ORGANIZATION_KEY)
            with typed_store_errors(path.as_uri()):
                path.write_bytes(msgspec.json.encode({"organization_id": load.organization_id}))
            self._store.write(ORGANIZATION_KEY, path)
            return
        try:
            owner = msgspec.json.decode(marker, type=dict[str, str])["organization_id"]
        except (msgspec.DecodeError, KeyError):
            raise ClaudeCodeConfigurationError(
                f"{self._store.url(ORGANIZATION_KEY)} does not name an organisation. Is the path right? If so, "
                "delete that file."
            ) from None
        if owner != load.organization_id:
            raise ClaudeCodeConfigurationError(
                f"{self._store.url('')} holds the usage of organisation {quoted(owner)}, but the key "
                f"belongs to {quoted(load.organization_id)}. Replacing a day would delete the other's: give each "
                "organisation a path of its own."
            )

    def _refuse_newer(self, load: Load) -> None:
        if max(self._loads(load.day), default="") > load.load_id:
            raise SupersededError(f"another writer published a newer load of {load.day}")

    def _refuse_file_of_another(self, day: date, table: str, file: Mapping[str, Any]) -> None:
        if file["path"] is None:
            replaced = bool(self._files(table, day))
        else:
            replaced = self._store.sha256(file["path"]) != file["sha256"]
        if replaced:
            raise SupersededError(f"another writer replaced {self._store.url(_folder(table, day))}")

    def _empty_files(self, load: Load) -> dict[str, dict[str, Any]]:
        """Return the files without rows that are there, by table, and refuse to go on where one has rows."""
        empty, held = {}, {}
        for table in load.files:
            record = self._true_record(table, load.day)
            if record is None:
                held[table] = "an unknown number, since a load was interrupted"
            elif record["row_count"]:
                held[table] = record["row_count"]
            else:
                empty[table] = {name: record[name] for name in ("path", "bytes", "sha256")}
        if held:
            counts = ", ".join(f"{table}: {rows}" for table, rows in held.items())
            raise ClaudeCodeEmptyDayError(
                f"The API has no records of {load.day}, but {self._store.url('')} holds rows of it ({counts}), "
                "which stay. If the day is really empty, run the task once with on_empty='replace'."
            )
        return empty

    def _true_record(self, table: str, day: date) -> dict[str, Any] | None:
        """Return what a table holds of a day, or ``None`` when its commit record is not true of its file."""
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

    def _remove_other_formats(self, load: Load) -> None:
        for table in load.files:
            folder = _folder(table, load.day)
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
    path = next(iter(load.files.values())).path.with_name("loads.parquet")
    with typed_store_errors(path.as_uri()):
        pa.parquet.write_table(pa.Table.from_arrays(columns, schema=arrow_schema(FILE_LOADS)), path, compression="zstd")
    return path

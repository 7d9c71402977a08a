"""Tables in memory, for the models to read."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.sources import FileSource
from airflow_provider_claude_code.tables.contract import DATA_TABLES, LOADS
from airflow_provider_claude_code.tables.spool import arrow_schema

_PERIOD = [("valid_from", pa.date32()), ("valid_to", pa.date32())]
ROSTER = pa.schema([("actor_id", pa.string()), *_PERIOD])
MAPPING = pa.schema([*((name, pa.string()) for name in ("actor_type", "actor_id", "team", "cost_centre")), *_PERIOD])


def empty_tables() -> dict[str, pa.Table]:
    """Return the four tables and those that users may add, without rows."""
    tables = {table.name: arrow_schema(table).empty_table() for table in (*DATA_TABLES.values(), LOADS)}
    return {**tables, "roster": ROSTER.empty_table(), "mapping": MAPPING.empty_table()}


def over_memory(tables: Mapping[str, pa.Table], settings: Settings) -> FileSource:
    """Give tables to the models as files are, but without files."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute("CREATE SCHEMA claude_code")
    for name, rows in tables.items():
        database.register("given", rows)
        database.execute(f"CREATE TABLE claude_code.{name} AS FROM given")
    return FileSource(database, tables, settings)

"""All streams. To add one, add a folder and a line here."""

from airflow_provider_claude_code.streams.usage import USAGE

STREAMS = {stream.name: stream for stream in (USAGE,)}
"""The streams by name."""

DATA_TABLES = {table.name: table for stream in STREAMS.values() for table in stream.tables}
"""The tables of all streams by name."""

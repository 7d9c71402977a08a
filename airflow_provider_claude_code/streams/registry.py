"""All streams. To add one, add a folder and a line here."""

from __future__ import annotations

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.base import Stream
from airflow_provider_claude_code.streams.cost import COST
from airflow_provider_claude_code.streams.members import MEMBERS
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.templates import is_template

STREAMS = {stream.name: stream for stream in (USAGE, COST, MEMBERS)}
"""The streams by name."""

DATA_TABLES = {table.name: table for stream in STREAMS.values() for table in stream.tables}
"""The tables of all streams by name."""


def find_stream(name: str) -> Stream:
    """
    Return a stream.

    :param name: its name.
    :raises ClaudeCodeConfigurationError: there is none of this name.
    """
    if not isinstance(name, str) or name not in STREAMS:
        hint = " It is not templated: list the streams in .expand() of the operator." if is_template(name) else ""
        raise ClaudeCodeConfigurationError(f"stream is {name!r}; one of {', '.join(STREAMS)} was expected.{hint}")
    return STREAMS[name]

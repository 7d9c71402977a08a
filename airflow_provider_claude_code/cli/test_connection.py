"""Prints whose key a Connection has. ``airflow connections test`` prints no message if the test succeeds."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook


@contextlib.contextmanager
def opened_hook(conn_id: str) -> Iterator[ClaudeCodeHook]:
    """Yield the hook of a Connection. What Airflow prints meanwhile goes to standard error."""
    # As Airflow's own commands do. Otherwise, Connections in Airflow's database are not found.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Standard output is for the answer of the command, but Airflow may log to it.
    with contextlib.redirect_stdout(sys.stderr):
        from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook

        yield ClaudeCodeHook(conn_id)


def run(arguments: argparse.Namespace) -> None:
    """
    Print the organisation of the key, and what it may read.

    :raises SystemExit: the Connection does not work. The message says what to do, and never contains the key.
    """
    with opened_hook(arguments.connection) as hook:
        works, message = hook.test_connection()
    if not works:
        raise SystemExit(message)
    print(message)

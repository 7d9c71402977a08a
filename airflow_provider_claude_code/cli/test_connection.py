"""Prints whose key a Connection has. ``airflow connections test`` prints no message if the test succeeds."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys


def run(arguments: argparse.Namespace) -> None:
    """
    Print the organisation of the key, and what it may read.

    :raises SystemExit: the Connection does not work. The message says what to do, and never contains the key.
    """
    # As Airflow's own commands do. Otherwise, Connections in Airflow's database are not found.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Standard output is for the answer, but Airflow may log to it.
    with contextlib.redirect_stdout(sys.stderr):
        from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook

        works, message = ClaudeCodeHook(arguments.connection).test_connection()
    if not works:
        raise SystemExit(message)
    print(message)

"""
Replaces the actors in a CSV file by the pseudonyms that a load with ``actor_identity="hmac"`` stores.

A file that says who is in which team can then be joined to the tables. SQL cannot do this: BigQuery has no HMAC.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path

from airflow_provider_claude_code.analytics.csv_files import column_position, csv_rows
from airflow_provider_claude_code.cli.test_connection import opened_hook
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.streams.usage.models import ACTOR_KINDS
from airflow_provider_claude_code.tables.actors import is_address, is_pseudonym

Pseudonym = Callable[[str, str], str | None]


def pseudonymise(
    content: bytes,
    pseudonym: Pseudonym,
    *,
    column: str,
    actor_type: str,
    actor_type_column: str | None = None,
) -> bytes:
    """
    Return a CSV file with the actors of one column replaced: UTF-8, with the commas and line ends of RFC 4180.

    Empty cells stay empty. Blank lines, which are no rows, are left out.

    :param content: the file, as :func:`~airflow_provider_claude_code.analytics.csv_files.csv_rows` takes it.
    :param pseudonym: gives the pseudonym of an actor's type and identifier.
    :param column: name of the column with the actors.
    :param actor_type: what kind of actors they are: ``user_actor`` for addresses, ``api_actor`` for key names.
    :param actor_type_column: name of a column that says so for each row, instead.
    :raises ClaudeCodeConfigurationError: the file is not such a file, a person's cell is not an address, or a cell is
        already a pseudonym. The message names a line and never what is in it.
    """
    copy = io.StringIO(newline="")
    writer = csv.writer(copy)
    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    actor = column_position(header, column)
    kind = None if actor_type_column is None else column_position(header, actor_type_column)
    writer.writerow(header)
    for line, row in rows:
        if row[actor].strip():
            row_type = actor_type if kind is None else row[kind].strip()
            if row_type not in ACTOR_KINDS:
                raise ClaudeCodeConfigurationError(f"Line {line}: the type of actor must be {_TYPES}.")
            if is_pseudonym(row[actor]):
                raise ClaudeCodeConfigurationError(
                    f"Line {line}: {column!r} is already a pseudonym. Pass the file with the original actors."
                )
            if row_type == "user_actor" and not is_address(row[actor]):
                raise ClaudeCodeConfigurationError(
                    f"Line {line}: {column!r} is not an e-mail address. Choose the column with the addresses, or pass "
                    "--actor-type api_actor if it has names of API keys."
                )
            row[actor] = pseudonym(row_type, row[actor]) or ""
        else:
            row[actor] = ""
        writer.writerow(row)
    return copy.getvalue().encode()


_TYPES = " or ".join(ACTOR_KINDS)


def run(arguments: argparse.Namespace) -> None:
    """
    Write a pseudonymised file.

    :raises SystemExit: an argument, the Connection or the file cannot be used; nothing is written then.
    """
    try:
        with opened_hook(arguments.connection) as hook:
            pseudonym = hook.pseudonyms
        copy = pseudonymise(
            sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes(),
            pseudonym,
            column=arguments.column,
            actor_type=arguments.actor_type,
            actor_type_column=arguments.actor_type_column,
        )
        if arguments.output:
            Path(arguments.output).write_bytes(copy)
        else:
            sys.stdout.buffer.write(copy)
            sys.stdout.flush()
    except (ClaudeCodeError, OSError) as error:
        raise SystemExit(str(error)) from None

"""
``python -m airflow_provider_claude_code.pseudonymise`` replaces actors in a CSV file by their pseudonyms.

They are those that a load with ``actor_identity="hmac"`` stores, so a file that says who is in which team can be
joined to its tables. SQL cannot make them: BigQuery has no HMAC.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_provider_claude_code.csv_files import column_position, csv_rows
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.streams.usage.models import ACTOR_ID_FIELDS

Pseudonym = Callable[[str, str], str | None]


def pseudonymise(
    content: bytes,
    pseudonym: Pseudonym,
    *,
    column: str,
    actor_type: str = "user_actor",
    actor_type_column: str | None = None,
) -> bytes:
    """
    Return a CSV file with the actors of one column replaced: UTF-8, with the commas and line ends of RFC 4180.

    Empty cells stay empty. Blank lines, which are no rows, are left out.

    :param content: the file, as :func:`~airflow_provider_claude_code.csv_files.csv_rows` takes it.
    :param pseudonym: gives the pseudonym of an actor's type and identifier.
    :param column: name of the column with the actors.
    :param actor_type: what kind of actors they are: ``user_actor`` for addresses, ``api_actor`` for key names.
    :param actor_type_column: name of a column that says so for each row, instead.
    :raises ClaudeCodeConfigurationError: the file is not such a file. The message names a line and never what is in it.
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
            if row_type not in ACTOR_ID_FIELDS:
                raise ClaudeCodeConfigurationError(f"Line {line} names no type of actor; {_TYPES} was expected.")
            row[actor] = pseudonym(row_type, row[actor]) or ""
        else:
            row[actor] = ""
        writer.writerow(row)
    return copy.getvalue().encode()


_TYPES = " or ".join(ACTOR_ID_FIELDS)


def _pseudonyms(conn_id: str) -> Pseudonym:
    # Airflow may log to the standard output, which is for the rows.
    with contextlib.redirect_stdout(sys.stderr):
        from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook

        return ClaudeCodeHook(conn_id).pseudonyms


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_claude_code.pseudonymise",
        description="Replace the actors in a CSV file by the pseudonyms that actor_identity='hmac' stores, and print "
        "the file. Nothing is printed unless all of it can be.",
    )
    parser.add_argument("file", nargs="?", default="-", help="CSV file with a header (standard input)")
    parser.add_argument("--column", required=True, help="name of the column with the actors")
    parser.add_argument(
        "--connection", default="claude_code_default", help="Connection with the pseudonym secret (%(default)s)"
    )
    types = parser.add_mutually_exclusive_group()
    types.add_argument(
        "--actor-type",
        choices=list(ACTOR_ID_FIELDS),
        default="user_actor",
        help="user_actor for e-mail addresses, api_actor for names of API keys (%(default)s)",
    )
    types.add_argument("--actor-type-column", help="name of a column that says the actor type of each row")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Print a pseudonymised file.

    :param arguments: command line arguments, those of the process by default.
    :raises SystemExit: an argument, the Connection or the file cannot be used; nothing is printed then.
    """
    args = _parser().parse_args(arguments)
    try:
        pseudonym = _pseudonyms(args.connection)
        copy = pseudonymise(
            sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes(),
            pseudonym,
            column=args.column,
            actor_type=args.actor_type,
            actor_type_column=args.actor_type_column,
        )
        sys.stdout.buffer.write(copy)
        sys.stdout.flush()
    except (ClaudeCodeError, OSError) as error:
        sys.exit(f"{_parser().prog}: {error}")


if __name__ == "__main__":
    # Airflow's own commands say so to be given the Connections of its database too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        main()
    finally:
        # Airflow 3.0 may log when the process ends, too.
        sys.stdout = sys.stderr

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
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from airflow_provider_claude_code.api.models import ACTOR_ID_FIELDS
from airflow_provider_claude_code.exceptions import ClaudeCodeError

Pseudonym = Callable[[str, str], str | None]


class MappingFileError(ClaudeCodeError):
    """The file cannot be used as it is. The message names a line and never what is in it."""

    retryable = False


def pseudonymise(
    lines: Iterable[bytes],
    output: IO[bytes],
    pseudonym: Pseudonym,
    *,
    column: str,
    actor_type: str = "user_actor",
    actor_type_column: str | None = None,
) -> None:
    """
    Copy a CSV file with the actors of one column replaced.

    Empty cells stay empty. Blank lines, which are no rows, are left out.

    :param lines: the lines of the file, in UTF-8, with or without a byte order mark.
    :param output: where the copy goes, as UTF-8 with the line ends of RFC 4180.
    :param pseudonym: gives the pseudonym of an actor's type and identifier.
    :param column: name of the column with the actors.
    :param actor_type: what kind of actors they are: ``user_actor`` for addresses, ``api_actor`` for key names.
    :param actor_type_column: name of a column that says so for each row, instead.
    :raises MappingFileError: the file is not such a file; ``output`` may hold a part of the copy then.
    """
    copy = io.TextIOWrapper(output, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(copy)
        rows = _rows(lines)
        line, header = next(rows, (1, []))
        actor = _position(header, column)
        kind = None if actor_type_column is None else _position(header, actor_type_column)
        writer.writerow(header)
        for line, row in rows:
            if len(row) != len(header):
                raise MappingFileError(f"Line {line} has {len(row)} cells, but the first line names {len(header)}.")
            if row[actor].strip():
                row_type = actor_type if kind is None else row[kind].strip()
                if row_type not in ACTOR_ID_FIELDS:
                    raise MappingFileError(f"Line {line} names no type of actor; {_TYPES} was expected.")
                row[actor] = pseudonym(row_type, row[actor]) or ""
            else:
                row[actor] = ""
            writer.writerow(row)
    finally:
        copy.detach()


_TYPES = " or ".join(ACTOR_ID_FIELDS)


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line on which it begins."""
    reader = csv.reader(_decoded(lines), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise MappingFileError(f"The row that begins on line {line} is not CSV: {error}.") from None
        if row:
            yield line, row


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            # The error holds the line.
            raise MappingFileError(f"Line {number} is not UTF-8. Save the file as CSV in UTF-8.") from None


def _position(header: Sequence[str], column: str) -> int:
    if (found := header.count(column)) != 1:
        raise MappingFileError(
            f"The first line names the column {column!r} {found} times; once was expected. It must name all columns, "
            "separated by commas."
        )
    return header.index(column)


def _pseudonyms(conn_id: str) -> Pseudonym:
    # Airflow may log to the standard output, which is for the rows.
    with contextlib.redirect_stdout(sys.stderr):
        from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook

        return ClaudeCodeHook(conn_id).pseudonyms


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        yield file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_claude_code.pseudonymise",
        description="Replace the actors in a CSV file by the pseudonyms that actor_identity='hmac' stores, and print "
        "the file. Nothing is printed unless all of it can be.",
    )
    parser.add_argument("file", nargs="?", default="-", help="CSV file in UTF-8 with a header (standard input)")
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
        with tempfile.TemporaryFile() as copy:
            with _opened(args.file) as lines:
                pseudonymise(
                    lines,
                    copy,
                    pseudonym,
                    column=args.column,
                    actor_type=args.actor_type,
                    actor_type_column=args.actor_type_column,
                )
            copy.seek(0)
            shutil.copyfileobj(copy, sys.stdout.buffer)
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

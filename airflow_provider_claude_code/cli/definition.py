"""
The commands and their arguments, defined once for Airflow's command line and for this package's own.

Airflow imports this module whenever its command line starts, so the imports of a command run with the command.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.cli.cli_config import GroupCommand

DESCRIPTION = "Commands of the Claude Code provider."


@dataclass(frozen=True)
class Command:
    """
    A command.

    :param name: its name. With underscores it is that of the module in this folder whose ``run`` takes the parsed
        arguments.
    :param help: what it does, for a list of commands.
    :param description: what it does, for its own help.
    :param add_arguments: adds its arguments to a parser.
    """

    name: str
    help: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]

    def run(self, arguments: argparse.Namespace) -> None:
        """
        Run the command with parsed arguments.

        :raises SystemExit: it fails, or the reader of its output, such as ``head``, has closed the pipe.
        """
        # Google's libraries warn of Python versions that they will drop some day.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core\.")
        if sys.stdout is None:
            # It was closed, as by >&- in a shell.
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        try:
            importlib.import_module(f"{__package__}.{self.name.replace('-', '_')}").run(arguments)
            sys.stdout.flush()
        except OSError as error:
            # Python flushes again when it exits, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1 if isinstance(error, BrokenPipeError) else str(error)) from None


def get_cli_commands() -> list[GroupCommand]:
    """Return the commands in the form of Airflow's command line."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    class Arguments(Arg):
        """All arguments of a command. An `Arg` of Airflow is a single argument and does not support groups."""

        def __init__(self, command: Command) -> None:
            super().__init__(flags=(command.name,))  # type: ignore[no-untyped-call]
            self.command = command

        def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
            self.command.add_arguments(parser)

    subcommands = [
        ActionCommand(command.name, command.help, command.run, [Arguments(command)], command.description)
        for command in COMMANDS
    ]
    return [GroupCommand("claude-code", DESCRIPTION.rstrip("."), subcommands, DESCRIPTION)]


def _pseudonymise_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", default="-", help="CSV file with a header (default: read standard input)")
    parser.add_argument("--column", required=True, help="name of the column with the e-mail addresses or key names")
    parser.add_argument(
        "--connection",
        default="claude_code_default",
        help="Connection with the pseudonym secret (default: %(default)s)",
    )
    types = parser.add_mutually_exclusive_group()
    types.add_argument(
        "--actor-type",
        choices=["user_actor", "api_actor"],
        default="user_actor",
        help="what the column contains: user_actor for e-mail addresses, api_actor for names of API keys (default: "
        "%(default)s)",
    )
    types.add_argument(
        "--actor-type-column", help="name of a column with the actor type of each row, instead of --actor-type"
    )
    parser.add_argument(
        "--output", help="file to write (default: standard output, to which Airflow may also write log lines)"
    )


def _reference_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=["tables", "models"], help="which reference to print")


def _dbt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIRECTORY", help="new or empty folder for the package")
    _add_query_arguments(parser)
    parser.add_argument("--has-roster", action="store_true", help="use a table roster: who may use Claude Code")
    parser.add_argument("--has-mapping", action="store_true", help="use a table mapping: who is in which group")


def _add_query_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dialect",
        choices=("bigquery", "duckdb", "postgres", "spark"),
        default="bigquery",
        help="SQL dialect of the engine (default: %(default)s)",
    )
    parser.add_argument(
        "--table-prefix", default="claude_code_", help="prefix of the tables' names (default: %(default)s)"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="TABLE",
        help="a table that you do not load; the SQL treats it as empty (may be repeated)",
    )
    _add_group_arguments(parser)


def _add_group_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-group-size",
        type=int,
        default=5,
        help="smallest number of people in a group; smaller groups are combined or withheld (default: %(default)s)",
    )
    parser.add_argument(
        "--breakdown-grain",
        choices=("week", "month"),
        default="week",
        help="period of each breakdown: week or month (default: %(default)s)",
    )


def _sql_arguments(parser: argparse.ArgumentParser) -> None:
    # From the file names, since importing the queries takes long.
    folder = Path(__file__).parents[1] / "analytics" / "queries" / "models"
    models = ", ".join(sorted(file.stem for file in folder.glob("*.sql")))
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"model to print: {models}; or 'tables' for the statements that create the tables in PostgreSQL",
    )
    parser.add_argument(
        "dataset", metavar="DATASET", help="place of the tables: PROJECT.DATASET for BigQuery, else a schema"
    )
    _add_query_arguments(parser)
    parser.add_argument("--roster", help="table of the people who may use Claude Code")
    parser.add_argument("--mapping", help="table of the groups that people and keys belong to")


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="directory or URL of the loaded Parquet files")
    parser.add_argument("output", metavar="REPORT.html", help="local file for the report")
    parser.add_argument("--last-day", help="last UTC day, YYYY-MM-DD (default: yesterday)")
    days = parser.add_mutually_exclusive_group()
    days.add_argument(
        "--period-days",
        type=int,
        default=28,
        help="length of the period in days, rounded down to whole weeks, or with --breakdown-grain month to one month "
        "per 28 days (default: %(default)s)",
    )
    days.add_argument("--first-day", help="first UTC day, instead of --period-days")
    parser.add_argument("--roster", help="CSV or Parquet file of the people who may use Claude Code")
    parser.add_argument("--mapping", help="CSV or Parquet file of the groups that people and keys belong to")
    _add_group_arguments(parser)
    parser.add_argument(
        "--assumptions", metavar="FILE.json", help="values to compare the cost with, each with its source"
    )
    parser.add_argument(
        "--other-tool",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="days with another AI tool; NAME is other_tool_days, copilot_usage, copilot_logins or cursor_usage "
        "(may be repeated)",
    )


def _sandbox_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="host name or IPv4 address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=8787, help="port to listen on; 0 chooses a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--users", type=int, default=250, help="number of people in the organisation (default: %(default)s)"
    )
    parser.add_argument("--api-only", action="store_true", help="generate API usage only, no usage with a subscription")
    parser.add_argument("--seed", type=int, default=7, help="the same seed gives the same usage (default: %(default)s)")
    parser.add_argument(
        "--now", type=_moment, help="time at which the clock of the sandbox stands still, such as 2026-01-15T09:30:00Z"
    )
    faults = parser.add_argument_group(
        "simulated faults of reports and lists",
        "Without these options, nothing fails. --rate, --page and --times choose which requests fail; otherwise all "
        "do. --latency applies to all. --endless, --repeat-cursor and --wrong-day affect only reports.",
    )
    faults.add_argument("--status", type=int, help="answer with this HTTP error status, 400 to 599")
    faults.add_argument("--rate", type=float, default=1.0, help="share of the requests that fail, 0 to 1 (default: 1)")
    faults.add_argument("--page", type=int, help="fail only on this page of a day or list, counted from 1")
    faults.add_argument("--times", type=int, help="fail only this many times")
    faults.add_argument("--error-code", help="value of error.details.error_code in the error; needs --status")
    faults.add_argument("--retry-after", help="value of the retry-after header of the error; needs --status")
    faults.add_argument("--latency", type=float, default=0.0, help="seconds to wait before every answer (default: 0)")
    faults.add_argument("--truncate", action="store_true", help="send half of the page, then drop the connection")
    faults.add_argument(
        "--drip", type=float, default=0.0, help="seconds to wait before each byte of the page (default: 0)"
    )
    faults.add_argument("--endless", action="store_true", help="answer with empty pages that never end")
    faults.add_argument(
        "--repeat-cursor", action="store_true", help="answer with the cursor of the request, so that the day never ends"
    )
    faults.add_argument(
        "--wrong-day", action="store_true", help="give the first record of the page the date of the day before"
    )
    faults.add_argument(
        "--html", action="store_true", help="answer with a proxy's HTML page instead, with --status or 200"
    )


def _test_connection_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "connection", nargs="?", default="claude_code_default", help="id of the Connection (default: %(default)s)"
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"not a time with a time zone, such as 2026-01-15T09:30:00Z: {text!r}")
    return moment


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return int(text)


COMMANDS = (
    Command(
        "dbt",
        "Write the analytics models as a dbt package",
        "Write the analytics models as a dbt package, with sources, descriptions and tests. Dialects other "
        "than bigquery need the extra 'report'.",
        _dbt_arguments,
    ),
    Command(
        "pseudonymise",
        "Replace addresses or key names in a CSV with pseudonyms",
        "Replace e-mail addresses or key names in a CSV file with the pseudonyms that actor_identity='hmac' stores. "
        "Nothing is written unless the whole file is valid.",
        _pseudonymise_arguments,
    ),
    Command(
        "reference",
        "Print the reference of the tables or models",
        "Print the reference of the tables or of the analytics models as Markdown.",
        _reference_arguments,
    ),
    Command(
        "report",
        "Write a report on loaded Parquet files",
        "Write the HTML report on loaded Parquet files, as ClaudeCodeReportOperator does. Needs the extra 'report'.",
        _report_arguments,
    ),
    Command(
        "sandbox",
        "Run a sandbox of the API with an invented organisation",
        "Run a local sandbox of the Claude Code Analytics API with an invented organisation. It prints the Connection "
        "to use, as a line for the shell. Ctrl+C stops it.",
        _sandbox_arguments,
    ),
    Command(
        "sql",
        "Print the SQL of an analytics model",
        "Print the SQL of an analytics model for BigQuery, DuckDB or PostgreSQL; for Spark, use 'dbt'. 'reference "
        "models' describes the models. Dialects other than bigquery need the extra 'report'.",
        _sql_arguments,
    ),
    Command(
        "test-connection",
        "Print whose key a Connection has, or what is wrong",
        "Print the organisation of a Connection's key and what the key may read, or what is wrong with the Connection.",
        _test_connection_arguments,
    ),
)
"""The commands, by name."""

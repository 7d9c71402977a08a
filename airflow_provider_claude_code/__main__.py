"""``python -m airflow_provider_claude_code COMMAND``, for Airflow 3.0 and 3.1, which have no commands of providers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_claude_code.cli.definition import COMMANDS, DESCRIPTION


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command.

    :param arguments: command line arguments, those of the process by default.
    :raises SystemExit: an argument cannot be used, or the command fails.
    """
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_claude_code", description=DESCRIPTION)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.description)
        command.add_arguments(subparser)
        subparser.set_defaults(func=command.run)
    parsed = parser.parse_args(arguments)
    parsed.func(parsed)


if __name__ == "__main__":
    try:
        main()
    finally:
        # Airflow 3.0 may log when the process ends, and standard output is for the output of the command.
        sys.stdout = sys.stderr

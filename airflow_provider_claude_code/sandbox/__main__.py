"""Run the sandbox from the command line."""

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from airflow_provider_claude_code.sandbox.faults import Faults
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.server import API_KEY, create_app, make_server


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"not a moment with a time zone, as 2026-01-15T09:30:00Z: {text!r}")
    return moment


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_claude_code.sandbox",
        description="A stand-in for the Claude Code Analytics API with a made-up organisation.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="name or IPv4 address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8787, help="port; 0 takes a free one (%(default)s)")
    parser.add_argument("--users", type=int, default=250, help="people in the organisation (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what the usage follows from (%(default)s)")
    parser.add_argument("--now", type=_moment, help="stop the clock at this moment, as 2026-01-15T09:30:00Z")
    faults = parser.add_argument_group("faults of the report")
    faults.add_argument("--status", type=int, help="answer this error status")
    faults.add_argument("--rate", type=float, default=1.0, help="share of the requests hit, 0 to 1 (%(default)s)")
    faults.add_argument("--page", type=int, help="hit only the n-th page of a walk through a day")
    faults.add_argument("--times", type=int, help="stop after so many hits")
    faults.add_argument("--error-code", help="error.details.error_code that goes with --status")
    faults.add_argument("--retry-after", help="retry-after header that goes with --status")
    faults.add_argument("--latency", type=float, default=0.0, help="seconds before every answer (%(default)s)")
    faults.add_argument("--truncate", action="store_true", help="send half a page and drop the connection")
    faults.add_argument("--drip", type=float, default=0.0, help="seconds before each byte of a page (%(default)s)")
    faults.add_argument("--endless", action="store_true", help="give empty pages without an end")
    faults.add_argument("--repeat-cursor", action="store_true", help="give the same cursor for ever")
    faults.add_argument("--wrong-day", action="store_true", help="one record of a page bears the day before")
    faults.add_argument("--html", action="store_true", help="answer a proxy's HTML page, with --status or 200")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Serve until interrupted.

    :param arguments: command line arguments, those of the process by default
    :raises SystemExit: an argument is wrong, or the port is taken
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        faults = Faults(**{field.name: getattr(args, field.name) for field in fields(Faults)})
        organization = Organization.named("Sandbox", args.users, args.seed)
    except ValueError as error:
        parser.error(str(error))
    now = None if args.now is None else lambda: args.now
    app = create_app(organization, now=now, faults=faults)
    try:
        server, listener, base_url = make_server(app, host=args.host, port=args.port, date_header=False)
    except OSError as error:
        parser.error(f"cannot listen on {args.host}:{args.port}: {error.strerror}")
    connection = json.dumps({"conn_type": "claude_code", "host": base_url, "password": API_KEY}, separators=(",", ":"))
    print(f"Claude Code sandbox: {base_url}")
    print(f"Key: {API_KEY}")
    print(f"AIRFLOW_CONN_CLAUDE_CODE_DEFAULT='{connection}'", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


if __name__ == "__main__":
    main()

"""The command that runs the sandbox."""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import fields

from airflow_provider_claude_code.sandbox.faults import Faults
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.server import create_app, make_server
from airflow_provider_claude_code.sandbox.service import API_KEY


def run(arguments: argparse.Namespace) -> None:
    """
    Serve until interrupted.

    :raises SystemExit: an argument cannot be used, or the port is taken.
    """
    try:
        faults = Faults(**{field.name: getattr(arguments, field.name) for field in fields(Faults)})
        organization = Organization.named("Sandbox", arguments.users, arguments.seed, is_api_only=arguments.api_only)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    now = None if arguments.now is None else lambda: arguments.now
    app = create_app(organization, now=now, faults=faults)
    host, port = arguments.host, arguments.port
    try:
        server, listener, base_url = make_server(app, host=host, port=port, date_header=False)
    except OSError as error:
        raise SystemExit(f"Cannot listen on {host}:{port}: {error.strerror}") from None
    connection = json.dumps({"conn_type": "claude_code", "host": base_url, "password": API_KEY}, separators=(",", ":"))
    print(f"Sandbox of the Claude Code Analytics API: {base_url}")
    print(f"Key: {API_KEY}")
    print(f"export AIRFLOW_CONN_CLAUDE_CODE_DEFAULT='{connection}'")
    print("Paste the export line into the terminal in which you run Airflow. Ctrl+C stops the sandbox.")
    print(
        "The usage contains two undocumented tools on purpose (bash_tool, web_fetch_tool): loads name them in the log.",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])

"""The command that writes a report."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.engines.duckdb import open_files
from airflow_provider_claude_code.analytics.queries.settings import Settings, whole_period
from airflow_provider_claude_code.analytics.report import make_report
from airflow_provider_claude_code.analytics.tool_tables import check_tool_tables
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.storage.stores import storage_path


def run(arguments: argparse.Namespace) -> None:
    """
    Write a report.

    :raises SystemExit: an argument or a file cannot be used; nothing is written then.
    """
    now = datetime.now(UTC)
    output = Path(arguments.output)
    try:
        # Check this before the report, which may take minutes.
        if output.suffix != ".html":
            raise ClaudeCodeConfigurationError(f"The report is {arguments.output!r}; it must end with .html.")
        assumptions = _assumptions(arguments.assumptions)
        tools = dict(_name_and_file(text) for text in arguments.other_tool)
        check_tool_tables(tools)
        first_day = None if arguments.first_day is None else parse_day(arguments.first_day, "--first-day")
        last_day = parse_day(arguments.last_day or (now - timedelta(days=1)).date(), "--last-day")
        if first_day is None:
            first_day, last_day = whole_period(last_day, arguments.period_days, arguments.breakdown_grain)
        settings = Settings(
            min_group_size=arguments.min_group_size,
            breakdown_grain=arguments.breakdown_grain,
            first_day=first_day,
            last_day=last_day,
            seat_price_cents=assumptions.seat_price_cents,
        )
        files = {"roster": arguments.roster, "mapping": arguments.mapping, **tools}
        paths = {name: storage_path(name, _absolute(file), None) for name, file in files.items() if file}
        root = storage_path("path", _absolute(arguments.path), None)
        output.parent.mkdir(parents=True, exist_ok=True)
        with open_files(root, settings, memory_mb=256, threads=None, **paths) as source:
            report = make_report(source, settings, assumptions=assumptions, other_tools=bool(tools), generated_at=now)
        output.write_text(report.html, encoding="utf-8")
    except (ClaudeCodeError, OSError) as error:
        raise SystemExit(str(error)) from None
    print(f"Wrote {arguments.output}")


def _assumptions(file: str | None) -> Assumptions:
    if file is None:
        return Assumptions()
    try:
        given = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClaudeCodeConfigurationError(f"{file} is not JSON in UTF-8: {error}") from None
    return Assumptions.parse(given)


def _name_and_file(text: str) -> tuple[str, str]:
    name, separator, file = text.partition("=")
    if not separator:
        raise ClaudeCodeConfigurationError(f"--other-tool is {text!r}; NAME=FILE was expected.")
    return name, file


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())

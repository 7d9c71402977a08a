"""The models as a dbt package."""

from __future__ import annotations

import argparse
from pathlib import Path

from airflow_provider_claude_code.analytics.dbt import write_package
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.cli.sql import loaded_tables
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError


def run(arguments: argparse.Namespace) -> None:
    """
    Write a dbt package.

    :raises SystemExit: an argument cannot be used; nothing is written then.
    """
    try:
        tables = loaded_tables(arguments.without)
        tables += [name for name in ("roster", "mapping") if getattr(arguments, f"has_{name}")]
        settings = Settings(min_group_size=arguments.min_group_size, breakdown_grain=arguments.breakdown_grain)
        write_package(
            Path(arguments.directory), arguments.dialect, tables, settings, table_prefix=arguments.table_prefix
        )
    except ClaudeCodeConfigurationError as error:
        raise SystemExit(str(error)) from None
    print(f"Wrote {arguments.directory}")

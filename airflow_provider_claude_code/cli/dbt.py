"""The models as a dbt package."""

from __future__ import annotations

import argparse
from pathlib import Path

from airflow_provider_claude_code.analytics.dbt import write_package
from airflow_provider_claude_code.analytics.engines.base import table_names
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError


def run(arguments: argparse.Namespace) -> None:
    """
    Write a dbt package.

    :raises SystemExit: an argument cannot be used; nothing is written then.
    """
    if unknown := set(arguments.without).difference(table_names()):
        raise SystemExit(f"There is no table {', '.join(sorted(unknown))}. The tables are: {', '.join(table_names())}.")
    tables = [table for table in table_names() if table not in arguments.without]
    tables += [name for name in ("roster", "mapping") if getattr(arguments, f"has_{name}")]
    try:
        settings = Settings(min_group_size=arguments.min_group_size, breakdown_grain=arguments.breakdown_grain)
        write_package(
            Path(arguments.directory), arguments.dialect, tables, settings, table_prefix=arguments.table_prefix
        )
    except ClaudeCodeConfigurationError as error:
        raise SystemExit(str(error)) from None
    print(f"Wrote {arguments.directory}")

"""The reference of the tables, and that of the models."""

from __future__ import annotations

import argparse

from airflow_provider_claude_code.analytics import queries
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables import contract
from airflow_provider_claude_code.tables.loads import FILE_LOADS


def run(arguments: argparse.Namespace) -> None:
    """Print a reference as Markdown."""
    if arguments.subject == "tables":
        print(contract.markdown_reference([*DATA_TABLES.values(), FILE_LOADS]), end="")
    else:
        print(queries.markdown_reference(), end="")

"""The command that prints the reference of the tables or of the models, for the documentation and data catalogues."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from airflow_provider_claude_code.analytics.queries import checks, models
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS, TABLES_OF_USERS
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.loads import FILE_LOADS


def run(arguments: argparse.Namespace) -> None:
    """Print a reference as Markdown."""
    is_tables = arguments.subject == "tables"
    print(reference_of_tables([*DATA_TABLES.values(), FILE_LOADS]) if is_tables else reference_of_models())


def reference_of_tables(tables: Iterable[Table]) -> str:
    """Return a page of Markdown with the columns of tables."""
    lines = [
        "# Columns of the tables",
        "",
        "[Streams and tables](../streams.md) says what the streams are, and how to join their tables.",
    ]
    for table in tables:
        lines += ["", f"## {table.name}", "", f"One row per {table.grain}.", ""]
        lines += ["| column | type | null | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {column.description} |"
            for column in table.columns
        ]
    return "\n".join(lines)


def reference_of_models() -> str:
    """Return a page of Markdown with the columns of the models, and of the tables that users may add."""
    lines = [
        "# Columns of the models",
        "",
        "[Models](../models.md) explains how to use them, and the rules that they share.",
    ]
    for model in models().values():
        key = f"Key: {', '.join(f'`{column}`' for column in model.key)}."
        lines += ["", f"## {model.name}", "", model.description, "", key, "", *_meanings(model.columns)]
        if model.name == "data_quality":
            lines += ["", "[Checks and alerts](../checks.md) explains the checks.", "", *checks.markdown_table()]
    lines += ["", "## Tables of your own", ""]
    lines += ["Both are optional. Without them, the stream `members` is used if it is loaded."]
    lines += _tables_of_users(TABLES_OF_USERS)
    lines += ["", "## Days with other AI tools", "", "All are optional. Only the report reads them."]
    lines += _tables_of_users(TABLES_OF_TOOLS)
    return "\n".join(lines)


def _tables_of_users(tables: Mapping[str, Table]) -> list[str]:
    lines = []
    for table in tables.values():
        lines += ["", f"### {table.name}", "", f"One row per {table.grain}.", ""]
        lines += _meanings({column.name: column.description for column in table.columns})
    return lines


def _meanings(columns: Mapping[str, str]) -> list[str]:
    return ["| column | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in columns.items())]

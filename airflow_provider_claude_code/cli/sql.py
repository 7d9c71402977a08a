"""The command that prints the SQL of a model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection

from airflow_provider_claude_code.analytics.engines.base import table_names
from airflow_provider_claude_code.analytics.engines.bigquery import COMPUTED_ONCE, bigquery_relations
from airflow_provider_claude_code.analytics.queries import Settings, models, render
from airflow_provider_claude_code.analytics.queries.dialects import postgres_tables, translate
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError


def run(arguments: argparse.Namespace) -> None:
    """
    Print the SQL of a model, or the statements that create the tables.

    :raises SystemExit: an argument cannot be used.
    """
    creates_tables = arguments.model == "tables"
    if not creates_tables and arguments.model not in models():
        raise SystemExit(f"{arguments.model!r} is not a model. The models are: {', '.join(models())}.")
    if arguments.dialect == "spark":
        raise SystemExit(
            "In Spark a model is more than one query, since a WITH step is computed again for each reference to it. "
            "Write the dbt package instead: dbt DIRECTORY --dialect=spark."
        )
    if creates_tables and arguments.dialect != "postgres":
        raise SystemExit(
            "Only --dialect=postgres needs 'tables'. Loads create those of BigQuery; other engines read the files."
        )
    try:
        relations = _bigquery(arguments) if arguments.dialect == "bigquery" else _in_schema(arguments)
        settings = Settings(min_group_size=arguments.min_group_size, breakdown_grain=arguments.breakdown_grain)
        if creates_tables:
            print(postgres_tables(relations))
        else:
            once = COMPUTED_ONCE if arguments.dialect == "bigquery" else ()
            print(translate(render(arguments.model, relations, settings, once), arguments.dialect))
    except ClaudeCodeConfigurationError as error:
        raise SystemExit(str(error)) from None


def _bigquery(arguments: argparse.Namespace) -> dict[str, str]:
    project, _, dataset = arguments.dataset.rpartition(".")
    if not project:
        raise ClaudeCodeConfigurationError(f"{arguments.dataset!r} is not in the form PROJECT.DATASET.")
    return bigquery_relations(
        project,
        dataset,
        arguments.table_prefix,
        tables=loaded_tables(arguments.without),
        roster=arguments.roster,
        mapping=arguments.mapping,
    )


def _in_schema(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the tables in GoogleSQL, by name."""
    tables = {name: f"{arguments.table_prefix}{name}" for name in loaded_tables(arguments.without)}
    tables |= {name: table for name in ("roster", "mapping") if (table := getattr(arguments, name))}
    whole = {name: table if "." in table else f"{arguments.dataset}.{table}" for name, table in tables.items()}
    for table in whole.values():
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){1,2}", table, re.ASCII):
            raise ClaudeCodeConfigurationError(f"{table!r} is not in the form SCHEMA.TABLE.")
    return {name: f"`{table}`" for name, table in whole.items()}


def loaded_tables(without: Collection[str]) -> list[str]:
    """
    Return the tables that are loaded.

    :param without: those that are not.
    :raises ClaudeCodeConfigurationError: there is no such table.
    """
    if unknown := set(without).difference(table_names()):
        raise ClaudeCodeConfigurationError(
            f"There is no table {', '.join(sorted(unknown))}. The tables are: {', '.join(table_names())}."
        )
    return [table for table in table_names() if table not in without]

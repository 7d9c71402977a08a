"""
The models as a dbt package: sources, models with their descriptions, and tests.

Steps that several queries share become models in ``models/parts``, so that an engine computes them once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.analytics.queries import (
    Settings,
    models,
    render,
)
from airflow_provider_claude_code.analytics.queries.dialects import shared_parts, translate
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_USERS
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOADS

PACKAGE = "claude_code"
_PREFIX = f"{PACKAGE}_"
_REFERENCE = re.compile(r'["`]?dbt_(source|ref)["`]?\.["`]?(\w+)["`]?')
_NEVER_NULL = ("date", "period_start", "organization_id")
_KEY_TEST = f"{_PREFIX}unique_key"
# dbt's own test takes one column and ignores nulls, which some keys contain.
_KEY_TEST_MACRO = f"""{{% test {_KEY_TEST}(model, columns) %}}
SELECT {{{{ columns | join(', ') }}}}, COUNT(*) AS row_count
FROM {{{{ model }}}}
GROUP BY {{{{ columns | join(', ') }}}}
HAVING COUNT(*) > 1
{{% endtest %}}
"""  # noqa: S608


def write_package(
    directory: Path, dialect: str, tables: Iterable[str], settings: Settings, *, table_prefix: str = _PREFIX
) -> None:
    """
    Write a dbt package.

    :param directory: a new or empty folder.
    :param dialect: one of :data:`~airflow_provider_claude_code.analytics.queries.dialects.DIALECTS`.
    :param tables: the tables that there are, with ``roster`` and ``mapping`` if they are; the others have no rows.
    :param settings: the values of the settings.
    :param table_prefix: prefix of the names of the loaded tables.
    :raises ClaudeCodeConfigurationError: the folder is not empty, or sqlglot is not installed.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ClaudeCodeConfigurationError(f"{directory} is not an empty folder.")
    tables = list(tables)
    files = {
        "dbt_project.yml": _yaml(_project(dialect)),
        "models/sources.yml": _yaml(_sources(dialect, tables, table_prefix)),
        "models/models.yml": _yaml(_properties()),
        f"tests/generic/{_KEY_TEST}.sql": _KEY_TEST_MACRO,
        # Findings are warnings, since a day may be late.
        "tests/data_quality.sql": "{{ config(severity='warn') }}\n"
        f"SELECT * FROM {{{{ ref('{_PREFIX}data_quality') }}}}\n",
    }
    shared = shared_parts(models(), dict.fromkeys(tables, ""), settings)
    references = {name: f"`dbt_source.{name}`" for name in tables} | {
        name: f"`dbt_ref.{name}`" for name in (*shared, *models())
    }
    for name in (*shared, *models()):
        others = {other: relation for other, relation in references.items() if other != name}
        query = _REFERENCE.sub(_jinja, translate(render(name, others, settings), dialect))
        if name in models():
            only_if = "{{ config(enabled=var('personal_models', false)) }}\n" if models()[name].is_personal else ""
            files[f"models/{_PREFIX}{name}.sql"] = f"{only_if}{query}\n"
        else:
            files[f"models/parts/{_PREFIX}{name}.sql"] = f"{query}\n"
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content, encoding="utf-8")


def _jinja(reference: re.Match[str]) -> str:
    kind, name = reference.groups()
    if kind == "source":
        return f"{{{{ source('{PACKAGE}', '{name}') }}}}"
    return f"{{{{ ref('{_PREFIX}{name}') }}}}"


def _project(dialect: str) -> dict[str, Any]:
    # The location of the loaded tables: the folder or URL of the files for DuckDB, otherwise a schema or dataset.
    place = {"claude_code_path": "."} if dialect == "duckdb" else {"claude_code_schema": PACKAGE}
    every_model: dict[str, Any] = {"+materialized": "table"}
    if dialect == "spark":
        # Otherwise, sums and differences of amounts have eight decimal places instead of nine.
        every_model["+pre-hook"] = "SET spark.sql.decimalOperations.allowPrecisionLoss = false"
    return {
        "name": PACKAGE,
        "version": __version__.partition("+")[0],
        "config-version": 2,
        # Older versions do not know the arguments of tests.
        "require-dbt-version": ">=1.10.5",
        "vars": {**place, "personal_models": False},
        # Parts contain rows of single people. In a separate schema, they can be hidden from readers.
        "models": {PACKAGE: {**every_model, "parts": {"+schema": "parts"}}},
    }


def _sources(dialect: str, tables: Iterable[str], table_prefix: str) -> dict[str, Any]:
    described: dict[str, Table] = {**DATA_TABLES, LOADS.name: FILE_LOADS, **TABLES_OF_USERS}
    source: dict[str, Any] = {
        "name": PACKAGE,
        "description": "What the Claude Code provider for Apache Airflow has loaded.",
        "tables": [_source(described[name], dialect, table_prefix) for name in tables],
    }
    if dialect != "duckdb":
        source["schema"] = "{{ var('claude_code_schema') }}"
    return {"version": 2, "sources": [source]}


def _source(table: Table, dialect: str, table_prefix: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": table.name, "description": f"One row per {table.grain}."}
    is_of_user = table.name in TABLES_OF_USERS
    if dialect == "duckdb":
        files = f"{table.name}.parquet" if is_of_user else f"{table.name}/*/*.parquet"
        options = "hive_partitioning = false, union_by_name = true"
        location = f"read_parquet('{{{{ var('claude_code_path') }}}}/{files}', {options})"
        entry["config"] = {"meta": {"external_location": location}}
    elif not is_of_user:
        entry["identifier"] = f"{table_prefix}{table.name}"
    entry["columns"] = [
        _column(column.name, column.description, column.name == "date" and not is_of_user) for column in table.columns
    ]
    return entry


def _properties() -> dict[str, Any]:
    return {
        "version": 2,
        "models": [
            {
                "name": f"{_PREFIX}{model.name}",
                "description": model.description,
                "data_tests": [{_KEY_TEST: {"arguments": {"columns": model.key}}}],
                "columns": [
                    _column(name, text, name in _NEVER_NULL and model.name != "data_quality")
                    for name, text in model.columns.items()
                ],
            }
            for model in models().values()
        ],
    }


def _column(name: str, description: str, is_required: bool) -> Mapping[str, Any]:
    return {"name": name, "description": description} | ({"data_tests": ["not_null"]} if is_required else {})


def _yaml(content: Mapping[str, Any]) -> str:
    # JSON is valid YAML, and all its strings are quoted in the same way.
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

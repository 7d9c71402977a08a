"""The SQL that is shipped is GoogleSQL, says Google's own parser, where it is installed (`pip install zetasql`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_claude_code.analytics.models import TABLES_OF_USERS, Settings, models, render
from airflow_provider_claude_code.analytics.sources import FileSource, bigquery_relations
from tests.analytics_data import empty_tables, over_memory
from tests.servers.demo import QUERIES

README = (Path(__file__).parents[2] / "README.md").read_text()
STATEMENTS = {
    **QUERIES,
    "external table": re.findall(r"```sql\n(CREATE EXTERNAL TABLE claude_code\..*?)```", README, re.DOTALL)[0],
    "view of several organisations": re.findall(r"`(SELECT \* FROM europe.*?)`", README)[0],
    "loaded and empty": re.findall(r"`(SELECT date, row_count.*?)` has a row", README, re.DOTALL)[0],
}


@pytest.mark.googlesql
@pytest.mark.parametrize("name", STATEMENTS)
def test_shipped_sql_parses_as_googlesql(name: str) -> None:
    parser = pytest.importorskip("zetasql.api").Parser
    assert parser.parse_statement_static(STATEMENTS[name]) is not None


@pytest.mark.googlesql
def test_the_parser_refuses_what_is_no_sql() -> None:
    parser = pytest.importorskip("zetasql.api").Parser
    with pytest.raises(Exception, match=r"[Ss]yntax"):
        parser.parse_statement_static("SELECT FROM WHERE")


TYPES = {
    "int64": "INT64",
    "double": "DOUBLE",
    "bool": "BOOL",
    "string": "STRING",
    "date32[day]": "DATE",
    "decimal128(38, 9)": "NUMERIC",
    "timestamp[us, tz=UTC]": "TIMESTAMP",
}
"""What GoogleSQL calls Arrow's types."""


@pytest.fixture(scope="module")
def resolve() -> Any:
    """Return what gives a query's columns and their types, as Google's analyser resolves them."""
    api, types = pytest.importorskip("zetasql.api"), pytest.importorskip("zetasql.types")
    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    functions = types.ZetaSQLBuiltinFunctionOptions(language_options=language)
    catalog = api.CatalogBuilder("catalog").with_builtin_functions(functions)
    for number, (name, rows) in enumerate(empty_tables().items(), 1):
        table = api.TableBuilder(f"p.d.claude_code_{name}", number)
        for column in rows.schema:
            table.add_column(column.name, getattr(types.TypeKind, f"TYPE_{TYPES[str(column.type)]}"))
        catalog.add_table(table.build())
    analyzer = api.Analyzer(types.AnalyzerOptions(language_options=language), catalog.build())

    def columns_of(query: str) -> dict[str, str]:
        columns = analyzer.analyze_statement(query).output_column_list
        return {column.name: types.TypeKind(column.column.type.type_kind).name[5:] for column in columns}

    return columns_of


@pytest.fixture(scope="module")
def empty_files() -> FileSource:
    return over_memory(empty_tables(), Settings())


@pytest.mark.googlesql
@pytest.mark.parametrize("own_tables", [{}, {name: f"claude_code_{name}" for name in TABLES_OF_USERS}], ids=len)
@pytest.mark.parametrize("by_period", [False, True])
@pytest.mark.parametrize("name", models())
def test_a_model_resolves_in_googlesql_to_the_columns_of_its_head_and_of_files(
    resolve: Any, empty_files: FileSource, name: str, by_period: bool, own_tables: dict[str, str]
) -> None:
    relations = bigquery_relations("p", "d", "claude_code_", **own_tables)
    if by_period:
        relations["months"] = f"({render('periods', relations, Settings())})"

    resolved = resolve(render(name, relations, Settings()))

    assert list(resolved) == list(models()[name].columns)
    schema = empty_files.read(name, by_period=by_period).schema
    assert resolved == {field.name: TYPES[str(field.type)] for field in schema}


@pytest.mark.googlesql
def test_the_analyser_refuses_a_column_that_is_not_there(resolve: Any) -> None:
    with pytest.raises(Exception, match="Unrecognized name: nothing"):
        resolve("SELECT nothing FROM `p.d.claude_code_usage`")

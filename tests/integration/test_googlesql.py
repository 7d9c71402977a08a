"""The SQL that is shipped is GoogleSQL, and says the same to Google, where its parser is (`pip install zetasql`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_claude_code.analytics.engines.bigquery import COMPUTED_ONCE, bigquery_relations
from airflow_provider_claude_code.analytics.engines.bigquery_models import create_statement
from airflow_provider_claude_code.analytics.queries import Settings, models, parts, render
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS, TABLES_OF_USERS
from airflow_provider_claude_code.tables.actors import comparable_id
from demo.bigquery import QUERIES
from tests.fixtures import documentation
from tests.fixtures.analytics_data import (
    MAPPING,
    assert_same,
    assert_same_findings,
    charges_of_days,
    corners,
    empty_tables,
    groups_that_are_written_alike,
    loads_that_lose_and_repeat,
    over_memory,
    people_and_keys,
    united_organizations,
)
from tests.fixtures.charges_data import groups_with_charges
from tests.truth import analytics as truth

STATEMENTS = {
    **QUERIES,
    **{
        name: documentation.query(name)
        for name in (
            "first rows in BigQuery",
            "external table",
            "view of several organisations",
            "loaded and empty",
            "comparison",
            "snapshot",
            "changed since",
        )
    },
    **{
        f"{'table' if types else 'view'} {name}": create_statement(
            model, "p.d.v", "SELECT 1 AS a", {"claude_code_model": name}, column_types=types, kms_key_name="projects/p"
        )
        for name, model in models().items()
        for types in (None, dict.fromkeys(model.columns, "INT64"))
    },
    "drop": "DROP VIEW IF EXISTS `p.d.v`",
    "rename": "ALTER TABLE `p.d.v__new` RENAME TO `v`",
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
"""The types of Arrow by their names in GoogleSQL."""


class GoogleSql:
    """Google's analyser of GoogleSQL, and the implementation that it publishes as a reference."""

    def __init__(self) -> None:
        self._api = pytest.importorskip("zetasql.api")
        self._types = types = pytest.importorskip("zetasql.types")
        language = types.LanguageOptions.maximum_features()
        language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
        functions = types.ZetaSQLBuiltinFunctionOptions(language_options=language)
        catalog = self._api.CatalogBuilder("catalog").with_builtin_functions(functions)
        for number, (name, rows) in enumerate(empty_tables().items(), 1):
            table = self._api.TableBuilder(f"p.d.claude_code_{name}", number)
            for column in rows.schema:
                table.add_column(column.name, getattr(types.TypeKind, f"TYPE_{TYPES[str(column.type)]}"))
            catalog.add_table(table.build())
        self._catalog = catalog.build()
        # Its time zone is that of Los Angeles by default, as a project's in BigQuery may be.
        self._options = types.AnalyzerOptions(language_options=language)

    def columns(self, query: str) -> dict[str, str]:
        """Return a query's columns with their types."""
        found = self._api.Analyzer(self._options, self._catalog).analyze_statement(query).output_column_list
        return {column.name: self._types.TypeKind(column.column.type.type_kind).name[5:] for column in found}

    def rows(self, query: str, tables: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
        """Run a query."""
        kinds = self.columns(query)
        # The Python package loses timestamps on their way back.
        picked = (f"UNIX_MICROS(`{name}`)" if kind == "TIMESTAMP" else f"`{name}`" for name, kind in kinds.items())
        builder = self._api.PreparedQueryBuilder().set_sql(f"SELECT {', '.join(picked)} FROM ({query})")
        content = {f"p.d.claude_code_{name}": self._content(rows) for name, rows in tables.items()}
        builder.set_analyzer_options(self._options).set_catalog(self._catalog).set_table_content(content)
        with builder.prepare() as prepared:
            data = prepared.execute().content.table_data
        return [
            {name: _value(cell, kind) for (name, kind), cell in zip(kinds.items(), row.cell, strict=True)}
            for row in (data.row if data else ())
        ]

    def _content(self, rows: pa.Table) -> Any:
        data = self._types.TableData
        cells = [data.Row(cell=[self._cell(value) for value in row.values()]) for row in rows.to_pylist()]
        return self._types.TableContent(table_data=data(row=cells))

    def _cell(self, value: Any) -> Any:
        match value:
            case None:
                return self._types.Value()
            case bool():
                return self._types.Value(bool_value=value)
            case int():
                return self._types.Value(int64_value=value)
            case str():
                return self._types.Value(string_value=value)
            case Decimal():
                billionths = int(value.scaleb(9))
                length = billionths.bit_length() // 8 + 1
                return self._types.Value(numeric_value=billionths.to_bytes(length, "little", signed=True))
            case datetime():
                from google.protobuf.timestamp_pb2 import Timestamp

                moment = Timestamp()
                moment.FromDatetime(value)
                return self._types.Value(timestamp_value=moment)
            case date():
                return self._types.Value(date_value=(value - date(1970, 1, 1)).days)
        raise TypeError(type(value))


def _value(cell: Any, kind: str) -> Any:
    value = cell.int64_value if kind == "TIMESTAMP" else getattr(cell, f"{kind.lower()}_value")
    if value is None:
        return None
    match kind:
        case "DATE":
            return date(1970, 1, 1) + timedelta(days=value)
        case "NUMERIC":
            return Decimal(int.from_bytes(value, "little", signed=True)).scaleb(-9)
        case "TIMESTAMP":
            return datetime.fromtimestamp(value / 1_000_000, UTC)
    return value


@pytest.fixture(scope="module")
def google_sql() -> GoogleSql:
    return GoogleSql()


PERIOD = Settings(first_day=date(2025, 9, 1), last_day=date(2025, 9, 28))


@pytest.mark.googlesql
@pytest.mark.parametrize("own_tables", [{}, {name: f"claude_code_{name}" for name in TABLES_OF_USERS}], ids=len)
@pytest.mark.parametrize("settings", [Settings(), PERIOD], ids=["months", "period"])
@pytest.mark.parametrize("name", models())
def test_a_model_resolves_in_googlesql_to_the_columns_of_its_head_and_of_files(
    google_sql: GoogleSql, name: str, settings: Settings, own_tables: dict[str, str]
) -> None:
    relations = bigquery_relations("p", "d", "claude_code_", **own_tables)

    resolved = google_sql.columns(render(name, relations, settings, COMPUTED_ONCE))

    assert list(resolved) == list(models()[name].columns)
    schema = over_memory(empty_tables(), settings).read(name).schema
    assert resolved == {field.name: TYPES[str(field.type)] for field in schema}


PARTS_OF_REPORTS = (
    "activity_blocks",
    "activity_classes",
    "beside_breakdowns",
    "charges_beyond_tokens",
    "comparison_totals",
    "daily_cost",
    "period_costs",
    "period_totals",
    "period_worth",
    "plan_mixes",
    "shown_measures",
    "tool_comparison",
    "tool_days",
)


@pytest.mark.googlesql
@pytest.mark.parametrize("name", PARTS_OF_REPORTS)
def test_what_only_a_report_reads_resolves_in_googlesql_as_in_files(google_sql: GoogleSql, name: str) -> None:
    own_tables = {name: f"claude_code_{name}" for name in (*TABLES_OF_USERS, *TABLES_OF_TOOLS)}
    settings = replace(PERIOD, seat_price_cents=1234)

    resolved = google_sql.columns(render(name, bigquery_relations("p", "d", "claude_code_", **own_tables), settings))

    schema = over_memory(empty_tables(), settings).read(name).schema
    assert resolved == {field.name: TYPES[str(field.type)] for field in schema}
    usage_only = bigquery_relations("p", "d", "claude_code_", tables=["usage", "loads"])
    assert google_sql.columns(render(name, usage_only, settings)) == resolved


@pytest.mark.googlesql
@pytest.mark.parametrize("name", models())
def test_a_model_resolves_in_googlesql_where_only_usage_is_loaded(google_sql: GoogleSql, name: str) -> None:
    relations = bigquery_relations("p", "d", "claude_code_", tables=["usage", "loads"])

    resolved = google_sql.columns(render(name, relations, Settings()))

    assert resolved == google_sql.columns(render(name, bigquery_relations("p", "d", "claude_code_"), Settings()))


@pytest.mark.googlesql
def test_the_analyser_refuses_a_column_that_is_not_there(google_sql: GoogleSql) -> None:
    with pytest.raises(Exception, match="Unrecognized name: nothing"):
        google_sql.columns("SELECT nothing FROM `p.d.claude_code_usage`")


def of(*organizations: str) -> Callable[[], dict[str, pa.Table]]:
    """Return some of the corner cases, since the reference engine joins slowly by comparing all pairs of rows."""

    def tables() -> dict[str, pa.Table]:
        return {
            name: rows.filter(pa.compute.is_in(rows["organization_id"], pa.array(organizations)))
            if "organization_id" in rows.column_names
            else rows
            for name, rows in corners().items()
        }

    return tables


@pytest.mark.googlesql
def test_addresses_are_compared_as_in_pseudonyms(google_sql: GoogleSql) -> None:
    characters = [chr(number) for number in range(1, 0x2C00)]
    ids = [f"{character}A{character}ΣZ{character}" for character in characters]
    query = render("actor_groups", {"mapping": "`p.d.claude_code_mapping`"}, Settings())
    rows = [{"actor_type": kind, "actor_id": id_, "team": id_} for id_ in ids for kind in ("user_actor", "api_actor")]

    found = google_sql.rows(query, {**empty_tables(), "mapping": pa.Table.from_pylist(rows, MAPPING)})

    assert len(found) == len(rows)
    wrong = [row for row in found if row["actor"] != comparable_id(row["actor_type"], row["team"])]
    assert wrong == []


HISTORIES = {
    "united": united_organizations,
    "lost": loads_that_lose_and_repeat,
    "alike": groups_that_are_written_alike,
    "groups with charges": groups_with_charges,
    "groups": of("groups", "enough", "zeros", "only zeros", "moves", "places", "both customer types"),
    "days": of("one person", "nobody", "stale", "early", "dormant", "restated"),
    "records": of("rejections", "currencies", "no models", "odd actors", "spellings", "kinds of activity", "hostile"),
    "weekdays": of("weekdays", "fell"),
    "charges": charges_of_days,
    "people and keys": people_and_keys,
}


@pytest.mark.googlesql
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("name", [*models(), "period_totals"])
def test_googles_reference_implementation_says_what_a_plain_computation_says(
    google_sql: GoogleSql, history: str, name: str
) -> None:
    tables = HISTORIES[history]()
    own_tables = {own: f"claude_code_{own}" for own in TABLES_OF_USERS if own in tables}
    relations = bigquery_relations("p", "d", "claude_code_", tables=tables.keys() - own_tables, **own_tables)
    columns = [column for column in (models() | parts())[name].columns if column != "finding"]

    rows = google_sql.rows(render(name, relations, Settings(), COMPUTED_ONCE), tables)

    world = truth.World(now=datetime.now(UTC), **{table: rows.to_pylist() for table, rows in tables.items()})
    assert_same([{column: row[column] for column in columns} for row in rows], list(truth.MODELS[name](world)), columns)
    if name == "data_quality":
        assert_same_findings(rows, tables, Settings())

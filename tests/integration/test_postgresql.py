"""The documented recipe loads files into PostgreSQL, and the printed SQL returns the expected rows there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.analytics.queries.dialects import DIALECTS, translate
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_USERS
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from tests.fixtures import documentation
from tests.fixtures.analytics_data import (
    LAST,
    MAPPING,
    assert_same,
    assert_same_findings,
    charges_of_days,
    corners,
    loads_that_lose_and_repeat,
    mapped,
    people_and_keys,
    sandbox_tables,
    write_files,
)
from tests.fixtures.charges_data import groups_with_charges, sandbox_with_charges
from tests.fixtures.programs import has_postgresql, postgresql
from tests.truth import analytics as truth

pytestmark = pytest.mark.newest_only

DATA: dict[str, tuple[Callable[[], Mapping[str, pa.Table]], Settings]] = {
    "sandbox": (sandbox_tables, Settings()),
    "corner cases": (corners, Settings()),
    "corner cases unfolded": (corners, Settings(min_group_size=1)),
    "groups with charges": (groups_with_charges, Settings(min_group_size=1)),
    "checks of charges": (charges_of_days, Settings()),
    "loads that lose and repeat": (loads_that_lose_and_repeat, Settings()),
    "people and keys": (people_and_keys, Settings(min_group_size=1, breakdown_grain="month")),
}
OF_CHARGES = ("cost_allocation", "cost_reconciliation", "productivity_ratios", "keys", "data_quality")
CASES = [(data, name) for data in DATA for name in models()]
DATA["charges"] = (sandbox_with_charges, Settings())
CASES += [("charges", name) for name in OF_CHARGES]


class PostgreSql:
    """A database whose text is sorted by the rules of a language, as it is by default."""

    def __init__(self, connection: Any, root: Path) -> None:
        self._connection = connection
        self._root = root
        (block,) = [block for block in documentation.BLOCKS if block.note == "recipe: load a day into PostgreSQL"]
        self._recipe: dict[str, Any] = {}
        exec(compile(block.text, block.page, "exec"), self._recipe)
        self.worlds: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def execute(self, statement: str) -> list[dict[str, Any]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(statement)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in (cursor.fetchall() if names else ())]

    def load(self, schema: str, tables: Mapping[str, pa.Table]) -> None:
        """Create the tables, write the rows into files and copy each day."""
        self.execute(f"CREATE SCHEMA {schema}")
        self.execute(printed("tables", schema, "--dialect=postgres", *without(tables)))
        (self._root / schema).mkdir()
        write_files(tables, self._root / schema)
        days = {day for name, rows in tables.items() if name not in TABLES_OF_USERS for day in rows["date"].to_pylist()}
        for day in sorted(days):
            self.copy(schema, day, [name for name in tables if name not in TABLES_OF_USERS])
        for name in TABLES_OF_USERS & tables.keys():
            columns = ", ".join(
                f"{field.name} {'DATE' if 'valid' in field.name else 'TEXT'}" for field in tables[name].schema
            )
            self.execute(f"CREATE TABLE {schema}.{name} ({columns})")
            with self._connection, self._connection.cursor() as cursor:
                rows = [tuple(row.values()) for row in tables[name].to_pylist()]
                cursor.executemany(f"INSERT INTO {schema}.{name} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)
        self.worlds[schema] = {name: rows.to_pylist() for name, rows in tables.items()}

    def copy(self, schema: str, day: date, tables: list[str]) -> None:
        self._recipe["TABLES"] = tables
        self._recipe["copy_day"].function(f"file://{self._root}/{schema}", str(day), schema, "warehouse")

    def model(self, name: str, schema: str, settings: Settings) -> list[dict[str, Any]]:
        return self.execute(self.printed(schema, name, settings))

    def printed(self, schema: str, name: str, settings: Settings) -> str:
        tables = self.worlds[schema]
        arguments = [f"--{own}={own}" for own in TABLES_OF_USERS if own in tables]
        arguments += [f"--min-group-size={settings.min_group_size}", f"--breakdown-grain={settings.breakdown_grain}"]
        return printed(name, schema, "--dialect=postgres", *without(tables), *arguments)


def printed(*arguments: str) -> str:
    """Return what the command prints."""
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lines.append)
        main(["sql", *arguments])
    return "\n".join(lines)


def without(tables: Mapping[str, Any]) -> list[str]:
    return [f"--without={name}" for name in (*DATA_TABLES, LOADS.name) if name not in tables]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    psycopg2 = pytest.importorskip("psycopg2")
    pytest.importorskip("airflow.providers.postgres.hooks.postgres")
    if not has_postgresql():
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with postgresql() as address, pytest.MonkeyPatch.context() as patch:
        server = psycopg2.connect(f"postgresql://{address}")
        server.autocommit = True
        language = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' TEMPLATE template0"
        server.cursor().execute(f"CREATE DATABASE warehouse ENCODING 'UTF8' {language}")
        server.close()
        url = f"postgresql://{address.rpartition('/')[0]}/warehouse"
        patch.setenv("AIRFLOW_CONN_WAREHOUSE", url)
        connection = psycopg2.connect(url, options="-c timezone=America/Los_Angeles")
        database = PostgreSql(connection, tmp_path_factory.mktemp("files"))
        database.execute(documentation.query("settings of PostgreSQL"))
        yield database
        connection.close()


@pytest.mark.parametrize(("data", "name"), CASES)
def test_a_model_says_in_postgresql_what_a_plain_computation_says(database: PostgreSql, data: str, name: str) -> None:
    make, settings = DATA[data]
    if make.__name__ not in database.worlds:
        database.load(make.__name__, make())
    columns = [column for column in models()[name].columns if column != "finding"]

    rows = database.model(name, make.__name__, settings)

    assert list(rows[0] if rows else models()[name].columns) == list(models()[name].columns)
    chosen = {"min_group_size": settings.min_group_size, "breakdown_grain": settings.breakdown_grain}
    world = truth.World(now=datetime.now(UTC), **chosen, **database.worlds[make.__name__])
    assert_same([{column: row[column] for column in columns} for row in rows], list(truth.MODELS[name](world)), columns)
    if name == "data_quality":
        assert_same_findings(rows, make(), settings)


def test_a_day_is_replaced_whole_and_a_failed_copy_leaves_it(database: PostgreSql, tmp_path: Path) -> None:
    tables = {name: rows for name, rows in sandbox_tables().items() if name not in TABLES_OF_USERS}
    if "replaced" not in database.worlds:
        database.load("replaced", tables)
    day = LAST
    count = f"SELECT COUNT(*) AS n FROM replaced.claude_code_usage WHERE date = '{day}'"
    rows = sum(row["date"] == day for row in database.worlds["replaced"]["usage"])
    whole = database.execute("SELECT COUNT(*) AS n FROM replaced.claude_code_usage")

    database.copy("replaced", day, [*tables])
    assert database.execute(count) == [{"n": rows}]
    assert database.execute("SELECT COUNT(*) AS n FROM replaced.claude_code_usage") == whole
    with pytest.raises(Exception, match="claude_code_nothing"):
        database.copy("replaced", day, ["usage", "nothing"])
    assert database.execute(count) == [{"n": rows}]


def test_a_mapping_that_would_count_costs_twice_is_an_error(database: PostgreSql) -> None:
    twice = pa.Table.from_pylist([mapped("ann@example.com", team, None) for team in "ab"], MAPPING)
    database.load("twice", {**groups_with_charges(), "mapping": twice})
    with pytest.raises(Exception, match=r"Rows of the mapping overlap: .* Such rows: 1"):
        database.model("cost_allocation", "twice", Settings(min_group_size=1))


def test_the_queries_of_the_dashboard_show_what_the_models_say(database: PostgreSql) -> None:
    if "sandbox_tables" not in database.worlds:
        database.load("sandbox_tables", sandbox_tables())
    dashboard = json.loads((documentation.ROOT / "docs/dashboards/grafana.json").read_text())
    queries = {panel["title"]: panel["targets"][0]["rawSql"] for panel in dashboard["panels"]}
    for name in {name for query in queries.values() for name in re.findall(r"claude_code_(\w+)", query)}:
        query = database.printed("sandbox_tables", name, Settings(min_group_size=1))
        database.execute(f"CREATE TABLE sandbox_tables.claude_code_{name} AS {query}")
    (organization,) = {row["organization_id"] for row in database.worlds["sandbox_tables"]["usage"]}
    shown = {title: database.execute(as_grafana_does(query, organization)) for title, query in queries.items()}

    world = truth.World(now=datetime.now(UTC), min_group_size=1, **database.worlds["sandbox_tables"])
    cost = sum(row["api_cost_usd"] or 0 for row in truth.daily_activity(world))
    assert sum(row["API cost"] or 0 for row in shown["Billed usage (estimate)"]) == cost > 0
    adoption = {row["date"]: row for row in truth.adoption(world)}
    assert {row["time"].date(): row["28 days"] for row in shown["Active people"]} == {
        day: row["monthly_active_people"] for day, row in adoption.items()
    }
    assert len(shown["Findings"]) == len(list(truth.data_quality(world)))
    assert [title for title, rows in shown.items() if not rows] == []
    assert all("time" in rows[0] for title, rows in shown.items() if dashboard_type(dashboard, title) == "timeseries")


def as_grafana_does(query: str, organization: str) -> str:
    """Fill in the variables and macros of a dashboard."""
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2000-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'", query)
    return query.replace("$schema", "sandbox_tables").replace("$organization", organization)


def dashboard_type(dashboard: dict[str, Any], title: str) -> str:
    (kind,) = [panel["type"] for panel in dashboard["panels"] if panel["title"] == title]
    return str(kind)


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect != "spark"])
def test_every_dialect_is_offered_on_the_command_line(dialect: str) -> None:
    place = "a.b" if dialect == "bigquery" else "main"
    assert "claude_code_usage" in printed("daily_activity", place, f"--dialect={dialect}")


def test_a_dialect_that_no_test_runs_is_refused() -> None:
    with pytest.raises(
        ClaudeCodeConfigurationError, match="The dialect is 'snowflake'; bigquery or duckdb or postgres"
    ):
        translate("SELECT 1", "snowflake")

"""The queries are described by their own heads, and rendered whole."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from airflow_provider_claude_code.analytics.engines.base import table_names
from airflow_provider_claude_code.analytics.engines.bigquery import COMPUTED_ONCE, bigquery_relations
from airflow_provider_claude_code.analytics.engines.duckdb import FileSource
from airflow_provider_claude_code.analytics.queries import MADE_PARTS, Settings, models, parts, render
from airflow_provider_claude_code.analytics.queries.checks import CHECKS, markdown_table
from airflow_provider_claude_code.analytics.queries.dialects import DIALECTS, translate
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS, TABLES_OF_USERS
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from tests.fixtures.analytics_data import empty_tables, over_memory

QUERIES = models() | parts()
OF_REPORTS = ("report_periods", "comparison_totals", "breakdown_buckets", "beside_breakdowns")
# They read what only a model, or only a report gives them.
READABLE = [name for name in QUERIES if name not in ("small_groups", "shown_days", "span_totals", *OF_REPORTS)]
RELATIONS = bigquery_relations("p", "d", "t_")
OTHER = Settings(
    min_group_size=17,
    breakdown_grain="month",
    since=date(2024, 2, 3),
    max_drop=0.875,
    max_age_hours=31.5,
    first_day=date(2025, 9, 2),
    last_day=date(2025, 9, 29),
    monthly_budget_cents=4200,
    budget_percents=(50, 75),
    seat_price_cents=12345,
)


OF_A_PERIOD = Settings(first_day=date(2025, 9, 1), last_day=date(2025, 9, 28))
WITH_BUDGET = replace(OF_A_PERIOD, monthly_budget_cents=100)
NAMES = {*QUERIES, *MADE_PARTS, *table_names(), *TABLES_OF_USERS, *TABLES_OF_TOOLS}


@pytest.fixture(scope="module")
def source() -> FileSource:
    return over_memory(empty_tables(), Settings())


@pytest.mark.parametrize("name", models())
def test_a_models_head_describes_its_columns_in_order(source: FileSource, name: str) -> None:
    assert source.read(name).column_names == list(QUERIES[name].columns)


@pytest.mark.parametrize(
    "name",
    [
        "days",
        "days_of_periods",
        "periods",
        "period_totals",
        "seats",
        "member_seats",
        "actor_groups",
        "workspace_groups",
        "snapshots",
        "charge_days",
        "actor_names",
        "charged_periods",
        "buckets",
        "breakdown_days",
        "held_days",
        "earlier_people",
        "machines",
        "model_folding",
        "shown_measures",
        "daily_cost",
        "period_costs",
        "period_charged_days",
        "period_people",
        "period_worth",
        "plan_mixes",
        "last_days",
        "activity_classes",
        "activity_blocks",
        "copilot_days",
        "cursor_days",
        "tool_days",
        "tool_comparison",
    ],
)
def test_a_parts_head_describes_its_columns(source: FileSource, name: str) -> None:
    assert set(source.read(name).column_names) == set(QUERIES[name].columns)


@pytest.mark.parametrize("name", ["comparison_totals", "beside_breakdowns"])
def test_the_head_of_a_part_of_reports_describes_its_columns(name: str) -> None:
    source = over_memory(empty_tables(), OF_A_PERIOD)
    assert source.read(name).column_names == list(QUERIES[name].columns)


@pytest.mark.parametrize(
    "name",
    [
        "actor_days",
        "newest_loads",
        "records",
        "entries",
        "actions",
        "known_actors",
        "charges",
        "charges_of_periods",
        "member_days",
        "key_days",
        "bucket_days",
    ],
)
def test_a_parts_head_describes_columns_that_there_are(source: FileSource, name: str) -> None:
    assert set(source.read(name).column_names) > set(QUERIES[name].columns)


@pytest.mark.parametrize("name", models())
def test_a_head_says_something_of_the_model_and_of_each_column(name: str) -> None:
    model = QUERIES[name]

    assert model.sql.startswith(("SELECT", "WITH"))
    for text in (model.description, *model.columns.values()):
        assert re.fullmatch(r"[^\s-].*[.;]", text, re.DOTALL)
        assert "--" not in text


@pytest.mark.parametrize("name", READABLE)
def test_nothing_is_left_to_be_filled_in(name: str) -> None:
    query = render(name, RELATIONS, OTHER)

    assert "claude_code." not in query
    assert "/*" not in query
    assert set(re.findall(r"`(.*?)`", query)) <= {f"p.d.t_{table}" for table in table_names()}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_only_settings_and_holds_their_defaults(name: str) -> None:
    sql = QUERIES[name].sql.replace("actor_id /* comparable */", "comparable")
    sql = re.sub(r"[\w.]+ /\* (?:bucket_start|bucket_end|as_text) \*/", "replaced", sql)
    written = re.findall(r"('[^']*'|\[[^]]*\]|\S+) /\* (\w+) \*/", sql)

    settings = OF_A_PERIOD if name in OF_REPORTS else Settings()
    values = [getattr(settings, setting) for _, setting in written]
    expected = [str(list(value) if isinstance(value, tuple) else value) for value in values]
    assert [value.strip("'") for value, _ in written] == expected
    assert len(written) == sql.count("/*")


@pytest.mark.parametrize("field", [field.name for field in fields(Settings)])
def test_each_setting_changes_some_query(field: str) -> None:
    changed = replace(WITH_BUDGET, **{field: getattr(OTHER, field)})

    assert any(render(name, RELATIONS, changed) != render(name, RELATIONS, WITH_BUDGET) for name in READABLE)


def test_queries_wait_for_a_day_as_long_as_the_loaders_do() -> None:
    """There is no other decision on it in the SQL: none that compares a day with the present."""
    assert over_memory(empty_tables(), Settings()).read("streams").to_pylist() == [
        {"stream": "usage", "minutes_until_complete": 25 * 60, "is_snapshot": False},
        {"stream": "cost", "minutes_until_complete": 48 * 60, "is_snapshot": False},
        {"stream": "members", "minutes_until_complete": 0, "is_snapshot": True},
    ]
    wait = f"INTERVAL {24 * 60 + 60} MINUTE"
    waiting = {name for name in READABLE if wait in render(name, RELATIONS, Settings())}
    assert {"days", "data_quality"} <= waiting
    for name, query in QUERIES.items():
        for amount in re.findall(r"CURRENT_TIMESTAMP\(\), INTERVAL (.*?)\)", query.sql):
            assert amount in ("1500 /* minutes_until_complete */ MINUTE", "streams.minutes_until_complete MINUTE"), name


@pytest.mark.parametrize("name", TABLES_OF_USERS)
def test_the_tables_that_users_may_add_are_described_as_they_are_read(name: str) -> None:
    columns = TABLES_OF_USERS[name].columns
    assert [column.name for column in columns] == empty_tables()[name].column_names
    assert all(column.description.endswith(".") for column in columns)


def test_tables_models_and_parts_do_not_share_names() -> None:
    names = [*models(), *parts(), *MADE_PARTS, LOADS.name, *DATA_TABLES, *TABLES_OF_USERS, *TABLES_OF_TOOLS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", READABLE)
def test_each_part_is_one_step_after_those_that_it_reads(name: str) -> None:
    query = sqlglot.parse_one(render(name, {"loads": "`p.d.t_loads`"}, Settings()), read="bigquery")

    steps = [step.alias for step in query.ctes]
    assert len(steps) == len(set(steps))
    nested = {cte.alias for step in query.ctes for cte in step.this.find_all(exp.CTE)}
    assert nested.isdisjoint(NAMES)
    # Without a mapping, other groups are read in the place of its.
    source = QUERIES["workspace_groups" if name == "actor_groups" else name].sql
    assert {step for step in steps if step not in NAMES} <= set(re.findall(r"(\w+) AS \(", source))
    known = set()
    for step in query.ctes:
        own = {cte.alias for cte in step.this.find_all(exp.CTE)}
        assert {table.name for table in step.this.find_all(exp.Table) if not table.db} <= known | own
        known.add(step.alias)


@pytest.mark.parametrize("name", READABLE)
def test_a_query_has_no_steps_but_those_that_it_reads(name: str) -> None:
    query = sqlglot.parse_one(render(name, RELATIONS, Settings()), read="bigquery")

    read = {table.name for table in query.find_all(exp.Table) if not table.db}
    assert {step.alias for step in query.ctes} <= read


def test_a_step_that_has_the_name_of_a_part_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "WITH days AS (\n  SELECT 1 AS a\n)\nSELECT a FROM days JOIN `claude_code.days` ON TRUE"
    monkeypatch.setitem(models(), "adoption", replace(QUERIES["adoption"], sql=sql))

    with pytest.raises(AssertionError):
        test_each_part_is_one_step_after_those_that_it_reads("adoption")


@pytest.mark.parametrize("dialect", ["spark", "snowflake", "redshift", "trino", "postgres", "duckdb"])
@pytest.mark.parametrize("name", models())
def test_no_other_engine_takes_a_literal_for_a_decimal_without_places(name: str, dialect: str) -> None:
    translated = sqlglot.transpile(render(name, RELATIONS, Settings()), read="bigquery", write=dialect)[0]

    query = sqlglot.parse_one(translated, read=dialect)
    casts = [cast for cast in query.find_all(exp.Cast) if isinstance(cast.this, exp.Literal)]
    decimals = [cast.sql() for cast in casts if cast.to.is_type("decimal") and not cast.to.expressions]
    assert decimals == []
    if "api_cost_usd" in QUERIES[name].columns:
        factors = [factor.sql() for factor in query.find_all(exp.Literal) if factor.sql().startswith("0.0")]
        assert set(factors) == {"0.01"}


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
@pytest.mark.parametrize("name", models())
def test_amounts_of_a_table_that_is_not_loaded_have_all_places(name: str, dialect: str) -> None:
    loaded = {table: RELATIONS[table] for table in ("usage", LOADS.name)}

    translated = sqlglot.parse_one(translate(render(name, loaded, Settings()), dialect), read=dialect)

    decimals = {type_.sql() for type_ in translated.find_all(exp.DataType) if type_.is_type("decimal")}
    assert decimals <= {"DECIMAL(38, 9)", "DECIMAL(38, 0)", "DECIMAL(27, 9)"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", models())
def test_sql_that_is_printed_holds_no_control_characters_but_line_feeds(name: str, dialect: str) -> None:
    """dbt and editors change them."""
    assert re.findall(r"[\x00-\x09\x0b-\x1f]", translate(render(name, RELATIONS, Settings()), dialect)) == []


def test_checks_are_united_and_listed() -> None:
    united = re.findall(r"claude_code\.check_(\w+)", QUERIES["data_quality"].sql)
    assert sorted(united) == sorted(name.removeprefix("check_") for name in parts() if name.startswith("check_"))
    assert sorted(itertools.chain.from_iterable(check.split("_and_") for check in united)) == sorted(CHECKS)
    # The reference is printed from the same sentences.
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text().splitlines()
    assert [line for line in markdown_table() if line not in page] == []


@pytest.mark.parametrize("name", READABLE)
def test_a_query_is_ascii_since_engines_read_other_blanks_in_different_ways(name: str) -> None:
    assert render(name, RELATIONS, Settings()).isascii()


@pytest.mark.parametrize("name", models())
def test_a_view_is_not_too_complex_for_bigquery(name: str) -> None:
    """BigQuery plans a step again for each reference to it, and gives up on "too many subqueries"."""
    query = sqlglot.parse_one(render(name, RELATIONS, Settings(), COMPUTED_ONCE), read="bigquery")

    planned = what_is_planned(query, {})
    assert planned["SELECT"] <= 180
    assert max(count for table, count in planned.items() if table != "SELECT") <= 5
    assert max(Counter(table.name for table in query.find_all(exp.Table) if table.db).values()) <= 4


@pytest.mark.parametrize("name", READABLE)
def test_a_query_of_a_session_is_not_too_complex_for_bigquery(name: str) -> None:
    computed = {part: f"`_SESSION.{part}`" for part in COMPUTED_ONCE if part != name}
    query = sqlglot.parse_one(render(name, RELATIONS | computed, OTHER), read="bigquery")

    assert what_is_planned(query, {})["SELECT"] <= 130


def test_steps_are_counted_for_each_reference_unless_they_are_recursive() -> None:
    a, b = "a AS (SELECT 1 FROM d.t)", "b AS (SELECT * FROM a JOIN a AS other ON TRUE)"
    once = "a AS ((SELECT 1 FROM d.t) UNION ALL SELECT * FROM a WHERE FALSE)"
    rest = "SELECT * FROM b JOIN b AS other ON TRUE"

    assert what_is_planned(sqlglot.parse_one(f"WITH {a}, {b} {rest}", read="bigquery"), {}) == {"SELECT": 7, "t": 4}
    recursive = sqlglot.parse_one(f"WITH RECURSIVE {once}, {b} {rest}", read="bigquery")
    assert what_is_planned(recursive, {}) == {"SELECT": 5, "t": 1}


def what_is_planned(query: exp.Expression, steps: Mapping[str, Counter[str]]) -> Counter[str]:
    """Count a query's SELECTs and tables. Those of a step count for each reference, unless the step is recursive."""
    known = dict(steps)
    found: Counter[str] = Counter({"SELECT": 1} if isinstance(query, exp.Select) else {})
    for with_ in filter(lambda child: isinstance(child, exp.With), query.iter_expressions()):
        for step in with_.expressions:
            nothing: Counter[str] = Counter()
            known[step.alias] = nothing
            planned = what_is_planned(step.this, known)
            if any(table.name == step.alias and not table.db for table in step.this.find_all(exp.Table)):
                found.update(planned)
            else:
                known[step.alias] = planned
    for child in query.iter_expressions():
        if isinstance(child, exp.Table):
            found.update({child.name: 1} if child.db else known[child.name])
        if not isinstance(child, exp.With):
            found.update(what_is_planned(child, known))
    return found

"""The queries are described by their own heads, and rendered whole."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import date

import pytest

from airflow_provider_claude_code.analytics.models import TABLES_OF_USERS, Settings, models, parts, render
from airflow_provider_claude_code.analytics.sources import TABLES, FileSource, bigquery_relations
from tests.analytics_data import empty_tables, over_memory

QUERIES = models() | parts()
# It reads a query of the model that it is put into.
READABLE = [name for name in QUERIES if name != "small_groups"]
RELATIONS = bigquery_relations("p", "d", "t_")
OTHER = Settings(
    min_group_size=17,
    since=date(2024, 2, 3),
    max_drop=0.875,
    max_age_hours=31.5,
    first_day=date(2025, 9, 2),
    last_day=date(2025, 9, 29),
)


@pytest.fixture(scope="module")
def source() -> FileSource:
    return over_memory(empty_tables(), Settings())


@pytest.mark.parametrize("name", models())
def test_a_models_head_describes_its_columns_in_order(source: FileSource, name: str) -> None:
    assert source.read(name).column_names == list(QUERIES[name].columns)


@pytest.mark.parametrize("name", ["days", "months", "period_totals"])
def test_a_parts_head_describes_its_columns(source: FileSource, name: str) -> None:
    assert set(source.read(name).column_names) == set(QUERIES[name].columns)


@pytest.mark.parametrize("name", ["actor_days", "newest_loads"])
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
    assert set(re.findall(r"`(.*?)`", query)) <= {f"p.d.t_{table}" for table in TABLES}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_only_settings_and_holds_their_defaults(name: str) -> None:
    sql = QUERIES[name].sql.replace("actor_id /* address */", "address")
    written = re.findall(r"(\S+) /\* (\w+) \*/", sql)

    assert [value.strip("'") for value, _ in written] == [str(getattr(Settings(), setting)) for _, setting in written]
    assert len(written) == sql.count("/*")


@pytest.mark.parametrize("field", [field.name for field in fields(Settings)])
def test_each_setting_changes_some_query(field: str) -> None:
    changed = replace(Settings(), **{field: getattr(OTHER, field)})

    assert any(render(name, RELATIONS, changed) != render(name, RELATIONS, Settings()) for name in READABLE)


def test_queries_wait_for_a_day_as_long_as_the_loaders_do() -> None:
    """There is no other decision on it in the SQL: none that compares a day with the present."""
    wait = f"INTERVAL {24 * 60 + 60} MINUTE"
    waiting = {name for name in READABLE if wait in render(name, RELATIONS, Settings())}
    assert {"days", "data_quality"} <= waiting
    for name, query in QUERIES.items():
        for amount in re.findall(r"CURRENT_TIMESTAMP\(\), INTERVAL (.*?)\)", query.sql):
            assert amount == "1500 /* minutes_until_complete */ MINUTE", name


@pytest.mark.parametrize("name", TABLES_OF_USERS)
def test_the_tables_that_users_may_add_are_described_as_they_are_read(name: str) -> None:
    assert list(QUERIES[name].columns) == empty_tables()[name].column_names

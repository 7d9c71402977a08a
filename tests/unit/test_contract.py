"""The columns of the tables are those of the design, in its order: people's queries depend on them."""

from collections import Counter

import pytest

from airflow_provider_claude_code.cli.reference import reference_of_tables
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.streams.usage.tables import KEY, SHARED_COLUMNS
from airflow_provider_claude_code.tables.contract import EXTENSIONS, SCHEMA_VERSION, Table
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOADS

# Written out by hand from the design; a question mark means nullable.
SHARED = [
    "record_id STRING",
    "key_ordinal INT64",
    "date DATE",
    "organization_id STRING",
    "actor_type STRING",
    "actor_id STRING?",
    "customer_type STRING",
    "subscription_type STRING?",
    "terminal_type STRING",
    "is_remote BOOL?",
]
AMOUNTS = [
    "amount_cents NUMERIC",
    "list_amount_cents NUMERIC",
    "currency STRING",
    "refreshed_at TIMESTAMP?",
    "unknown_fields STRING?",
    "loaded_at TIMESTAMP",
]
COLUMNS = {
    "usage": [
        *SHARED,
        "num_sessions INT64",
        "lines_of_code_added INT64",
        "lines_of_code_removed INT64",
        "commits_by_claude_code INT64",
        "pull_requests_by_claude_code INT64",
        "edit_tool_accepted INT64",
        "edit_tool_rejected INT64",
        "multi_edit_tool_accepted INT64",
        "multi_edit_tool_rejected INT64",
        "write_tool_accepted INT64",
        "write_tool_rejected INT64",
        "notebook_edit_tool_accepted INT64",
        "notebook_edit_tool_rejected INT64",
        "tool_actions_accepted INT64",
        "tool_actions_rejected INT64",
        "model_count INT64",
        "input_tokens INT64?",
        "output_tokens INT64?",
        "cache_read_tokens INT64?",
        "cache_creation_tokens INT64?",
        "estimated_cost_cents NUMERIC?",
        "currency STRING?",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "model_usage": [
        *SHARED,
        "model STRING",
        "input_tokens INT64",
        "output_tokens INT64",
        "cache_read_tokens INT64",
        "cache_creation_tokens INT64",
        "estimated_cost_cents NUMERIC",
        "currency STRING",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "tool_usage": [
        *SHARED,
        "tool_name STRING",
        "accepted INT64",
        "rejected INT64",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "cost": [
        "date DATE",
        "organization_id STRING?",
        "product STRING?",
        "workspace_id STRING?",
        "actor_type STRING?",
        "actor_id STRING?",
        "user_id STRING?",
        "model STRING?",
        "cost_type STRING?",
        *AMOUNTS,
    ],
    "cost_totals": ["date DATE", *AMOUNTS],
    "members": [
        "date DATE",
        "user_id STRING",
        "email STRING",
        "name STRING?",
        "role STRING",
        "added_at TIMESTAMP",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "workspaces": [
        "date DATE",
        "workspace_id STRING",
        "name STRING",
        "is_claude_code BOOL",
        "created_at TIMESTAMP",
        "archived_at TIMESTAMP?",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "workspace_members": [
        "date DATE",
        "workspace_id STRING",
        "user_id STRING",
        "workspace_role STRING",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "api_keys": [
        "date DATE",
        "api_key_id STRING",
        "name STRING",
        "status STRING",
        "workspace_id STRING?",
        "created_by_user_id STRING?",
        "created_by_type STRING?",
        "created_at TIMESTAMP",
        "expires_at TIMESTAMP?",
        "unknown_fields STRING?",
        "loaded_at TIMESTAMP",
    ],
    "loads": [
        "load_id STRING",
        "organization_id STRING",
        "date DATE",
        "stream STRING?",
        "request STRING?",
        "table_name STRING",
        "row_count INT64",
        "num_sessions INT64?",
        "estimated_cost_cents NUMERIC?",
        "content_digest STRING",
        "complete BOOL",
        "repeated_keys INT64",
        "unknown_names STRING",
        "actor_identity STRING",
        "pseudonym_key_id STRING?",
        "schema_version INT64",
        "provider_version STRING",
        "dag_id STRING?",
        "run_id STRING?",
        "loaded_at TIMESTAMP",
    ],
}
TABLES = [*DATA_TABLES.values(), LOADS]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_columns_have_the_names_types_and_order_of_the_design(table: Table) -> None:
    columns = [f"{column.name} {column.type}{'?' if column.nullable else ''}" for column in table.columns]
    assert columns == COLUMNS[table.name]


def test_loads_beside_files_also_say_where_the_file_is_and_what_it_must_hold_if_there_is_one() -> None:
    assert FILE_LOADS.name == "loads"
    assert FILE_LOADS.columns[: len(LOADS.columns)] == LOADS.columns
    added = [(column.name, column.type, column.nullable) for column in FILE_LOADS.columns[len(LOADS.columns) :]]
    assert added == [("path", "STRING", True), ("bytes", "INT64", True), ("sha256", "STRING", True)]


@pytest.mark.parametrize("table", [*TABLES, FILE_LOADS], ids=[*COLUMNS, "files"])
def test_column_names_are_unique_and_every_column_is_described(table: Table) -> None:
    assert max(Counter(column.name for column in table.columns).values()) == 1
    assert all(column.description.strip() for column in table.columns)
    assert table.grain


def test_descriptions_of_money_name_its_unit() -> None:
    money = [column for table in TABLES for column in table.columns if column.type == "NUMERIC"]
    assert len(money) == 7
    assert all("cents" in column.description for column in money)


def test_the_shared_columns_are_the_key_and_what_is_made_from_it() -> None:
    # What else they held would be in no table's digest.
    assert {column.name for column in SHARED_COLUMNS} == {"record_id", "key_ordinal", *KEY}


@pytest.mark.parametrize("table", DATA_TABLES.values(), ids=lambda table: table.name)
def test_every_text_says_what_pseudonyms_do_to_it(table: Table) -> None:
    assert [column.name for column in table.columns if (column.type == "STRING") != (column.hmac is not None)] == []


def test_data_tables_and_file_names_are_fixed() -> None:
    assert [*DATA_TABLES, "loads"] == list(COLUMNS)
    assert EXTENSIONS == {"parquet": "parquet", "ndjson": "ndjson.gz", "csv": "csv.gz"}
    assert SCHEMA_VERSION == 1


def test_markdown_reference_has_a_line_for_every_column() -> None:
    lines = reference_of_tables([*DATA_TABLES.values(), FILE_LOADS]).splitlines()
    named = [line.split("|")[1].strip(" `") for line in lines if line.startswith("| `")]
    assert named == [
        line.split()[0]
        for name in COLUMNS
        for line in [*COLUMNS[name], *(["path", "bytes", "sha256"] if name == "loads" else [])]
    ]
    # A pipe inside a description would tear the table.
    assert {line.count("|") for line in lines if line.startswith("|")} == {5}

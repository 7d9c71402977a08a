"""
The models become views of BigQuery, with descriptions, again and again.

The real operator, Airflow's BigQueryHook and Google's client talk to the server of `tests.fixtures.servers.bigquery`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("airflow.providers.google", reason="the extra `google` is not installed")
bigquery = pytest.importorskip("google.cloud.bigquery", reason="the extra `google` is not installed")
pytest.importorskip("sqlglot", reason="the local BigQuery server translates SQL with sqlglot")

from google.auth.credentials import AnonymousCredentials  # noqa: E402

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError  # noqa: E402
from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator  # noqa: E402
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator  # noqa: E402
from airflow_provider_claude_code.streams.registry import DATA_TABLES  # noqa: E402
from airflow_provider_claude_code.streams.usage import USAGE  # noqa: E402
from airflow_provider_claude_code.tables.loads import LOADS  # noqa: E402
from airflow_provider_claude_code.targets.bigquery.schema import bigquery_schema  # noqa: E402
from airflow_provider_claude_code.version_compat import AirflowFailException  # noqa: E402
from tests.fixtures import documentation  # noqa: E402
from tests.fixtures.hook_lineage import collect_hook_lineage  # noqa: E402
from tests.fixtures.old_duckdb import skip_nested_queries_on_old_duckdb  # noqa: E402
from tests.fixtures.servers.bigquery import BigQueryServer, HttpError  # noqa: E402

PROJECT = "demo-proj"
WITHOUT_PEOPLE = {
    "adoption",
    "adoption_shares",
    "cost_allocation",
    "cost_reconciliation",
    "daily_activity",
    "data_quality",
    "load_health",
    "members_activity",
    "model_costs",
    "period_activity",
    "productivity_ratios",
    "tool_acceptance",
}
PERSONAL = {"people_monthly", "ai_tool_comparison", "keys", "restatements"}


@pytest.fixture(scope="module")
def server() -> Iterator[BigQueryServer]:
    skip_nested_queries_on_old_duckdb()
    with BigQueryServer(project=PROJECT) as server:
        yield server


@pytest.fixture
def client(server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    extra = {"is_anonymous": True, "project": PROJECT}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    return bigquery.Client(PROJECT, AnonymousCredentials())


@pytest.fixture
def dataset(client: bigquery.Client) -> str:
    """A dataset with the four tables, which are empty."""
    name = f"d{uuid.uuid4().hex}"
    client.create_dataset(name)
    for table in (*USAGE.tables, LOADS):
        client.create_table(bigquery.Table(f"{PROJECT}.{name}.claude_code_{table.name}", bigquery_schema(table)))
    return name


def context(run_id: str | None = None) -> Any:
    """Return the context of a task instance. Each call without ``run_id`` creates a new run."""
    ti = {"dag_id": "dag", "run_id": run_id or uuid.uuid4().hex, "task_id": "create_views", "map_index": -1}
    return {"ti": SimpleNamespace(start_date=datetime.now(UTC), **ti)}


def create(dataset: str, **arguments: Any) -> dict[str, Any]:
    operator = ClaudeCodeBigQueryModelsOperator(task_id="create_views", dataset_id=dataset, **arguments)
    return operator.execute(context())


def views(client: bigquery.Client, dataset: str, prefix: str = "claude_code_") -> set[str]:
    tables = client.list_tables(dataset)
    return {table.table_id.removeprefix(prefix) for table in tables if table.table_type == "VIEW"}


def test_all_models_but_those_with_people_become_views_with_descriptions(client: bigquery.Client, dataset: str) -> None:
    result = create(dataset)
    assert views(client, dataset) == WITHOUT_PEOPLE
    assert result == {
        "models": {name: f"{PROJECT}.{dataset}.claude_code_{name}" for name in WITHOUT_PEOPLE},
        "streams_not_loaded": ["cost", "members"],
    }
    for name, view in result["models"].items():
        assert list(client.query_and_wait(f"SELECT * FROM {dataset}.claude_code_{name}")) == []
        table = client.get_table(view)
        assert "one row per" in table.description
        assert all(column.description for column in table.schema), view


@pytest.mark.parametrize("project", [PROJECT, "example.com:demo-proj"])
def test_hook_lineage_names_the_tables_and_the_views(monkeypatch: pytest.MonkeyPatch, project: str) -> None:
    skip_nested_queries_on_old_duckdb()
    collector = collect_hook_lineage(monkeypatch)
    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": project}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    with BigQueryServer(project=project) as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        client = bigquery.Client(project, AnonymousCredentials())
        client.create_dataset("d")
        for table in (*USAGE.tables, LOADS):
            client.create_table(bigquery.Table(f"{project}.d.claude_code_{table.name}", bigquery_schema(table)))
        create("d", models=["load_health"])
    found = collector.collected_assets
    tables = ("usage", "model_usage", "tool_usage")
    assert {entry.asset.uri for entry in found.inputs} == {
        f"bigquery://{project}/d/claude_code_{table}" for table in tables
    }
    assert [entry.asset.uri for entry in found.outputs] == [f"bigquery://{project}/d/claude_code_load_health"]


def test_views_with_people_are_made_when_they_are_named(client: bigquery.Client, dataset: str) -> None:
    create(dataset, models=sorted(PERSONAL))
    assert views(client, dataset) == PERSONAL


def test_creating_views_again_changes_nothing_and_with_other_settings_replaces_them(
    client: bigquery.Client, dataset: str
) -> None:
    def query() -> str:
        return client.get_table(f"{PROJECT}.{dataset}.claude_code_tool_acceptance").view_query

    create(dataset, models=["tool_acceptance"])
    before = query()
    create(dataset, models=["tool_acceptance"])
    assert query() == before
    create(dataset, models=["tool_acceptance"], min_group_size=9)
    assert query() != before
    assert query().replace("9", "5") == before.replace("9", "5")
    assert views(client, dataset) == {"tool_acceptance"}


def test_a_name_that_a_table_has_is_refused_before_anything_is_created(client: bigquery.Client, dataset: str) -> None:
    client.create_table(f"{PROJECT}.{dataset}.claude_code_adoption")
    with pytest.raises(AirflowFailException, match=r"claude_code_adoption is a TABLE without the label"):
        create(dataset)
    assert views(client, dataset) == set()
    create(dataset, models=["adoption"], model_prefix="claude_code_v_")
    assert views(client, dataset, "claude_code_v_") == {"adoption"}


def test_views_may_stand_in_a_dataset_of_their_own(client: bigquery.Client, dataset: str) -> None:
    client.create_dataset(f"{dataset}_views")
    create(dataset, models=["adoption"], model_dataset_id=f"{dataset}_views", model_prefix="")
    assert views(client, dataset) == set()
    assert views(client, f"{dataset}_views", "") == {"adoption"}
    assert list(client.query_and_wait(f"SELECT * FROM {dataset}_views.adoption")) == []


def test_roster_and_mapping_are_tables_by_any_form_of_their_name(client: bigquery.Client, dataset: str) -> None:
    client.query_and_wait(
        f"CREATE OR REPLACE VIEW {dataset}.seats AS SELECT 'a@b.c' AS actor_id, DATE '2025-09-01' AS "
        "valid_from, CAST(NULL AS DATE) AS valid_to"
    )
    for name in ("seats", f"{dataset}.seats", f"{PROJECT}.{dataset}.seats"):
        create(dataset, models=["adoption"], roster=name)
        view = client.get_table(f"{PROJECT}.{dataset}.claude_code_adoption").view_query
        assert "seats" in view
        assert list(client.query_and_wait(f"SELECT * FROM {dataset}.claude_code_adoption")) == []


def test_tables_that_need_a_partition_filter_can_be_read(client: bigquery.Client, dataset: str) -> None:
    for table in DATA_TABLES:
        name = f"{PROJECT}.{dataset}.filtered_{table}"
        new = bigquery.Table(name, bigquery_schema(DATA_TABLES[table]))
        new.time_partitioning = bigquery.TimePartitioning(field="date")
        new.require_partition_filter = True
        client.create_table(new)
    client.create_table(bigquery.Table(f"{PROJECT}.{dataset}.filtered_loads", bigquery_schema(LOADS)))
    for view in create(dataset, table_prefix="filtered_", models=[*WITHOUT_PEOPLE, *PERSONAL])["models"].values():
        assert list(client.query_and_wait(f"SELECT * FROM {view}")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"roster": "a`b"}, "not a valid name of a BigQuery table"),
        ({"mapping": "x.y.z.w"}, "not a valid name of a BigQuery table"),
        ({"mapping": "not_there"}, r"Not found: Table .*\.not_there"),
        ({"model_dataset_id": "not_there"}, r"Not found: Dataset .*not_there.* Correct its name, .* or create it"),
        ({"roster": "not_there.seats"}, r"Not found: Dataset .*not_there.* Correct its name, .* or create it"),
        ({"model_prefix": "a b;--`"}, "not a valid name of a BigQuery table"),
    ],
)
def test_arguments_that_cannot_be_used_create_nothing(
    client: bigquery.Client, dataset: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirflowFailException, match=message):
        create(dataset, **arguments)
    assert views(client, dataset) == set()


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("min_group_size", 0, "min_group_size is 0"),
        ("breakdown_grain", "day", "breakdown_grain is 'day'; expected 'week', 'month'"),
        ("max_drop", 1.5, "max_drop is 1.5"),
        ("max_age_hours", float("nan"), "max_age_hours is nan"),
        ("since", "2025-13-01", "since is '2025-13-01', which is not in the calendar"),
        ("dataset_id", "project.dataset", "Its project goes into project_id"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_dag_is_parsed(argument: str, value: Any, message: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=message):
        ClaudeCodeBigQueryModelsOperator(task_id="create_views", **({"dataset_id": "d"} | {argument: value}))


@pytest.mark.parametrize("names", [[], "adoption", ["adoption", "usage"], 5])
def test_models_that_there_are_not_are_refused_when_the_dag_is_parsed(names: Any) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="people_monthly"):
        ClaudeCodeBigQueryModelsOperator(task_id="create_views", dataset_id="d", models=names)


def test_a_dataset_without_the_tables_is_refused(client: bigquery.Client) -> None:
    name = f"d{uuid.uuid4().hex}"
    client.create_dataset(name)
    with pytest.raises(AirflowFailException, match=r"Not found: Table .*\.claude_code_"):
        create(name)
    assert views(client, name) == set()


def test_where_only_usage_is_loaded_the_other_tables_count_as_empty(client: bigquery.Client) -> None:
    name = f"d{uuid.uuid4().hex}"
    client.create_dataset(name)
    for table in (DATA_TABLES["usage"], LOADS):
        client.create_table(bigquery.Table(f"{PROJECT}.{name}.claude_code_{table.name}", bigquery_schema(table)))
    # test_analytics reads all models of such tables.
    created = create(name, models=["model_costs", "cost_reconciliation", "members_activity"])["models"]
    for view in created.values():
        assert list(client.query_and_wait(f"SELECT * FROM {view}")) == []
    used = client.get_table(created["model_costs"]).view_query
    assert "claude_code_usage`" in used
    assert "claude_code_model_usage" not in used
    # The source of reports and checks finds no more tables than the views do.
    operator = ClaudeCodeDataQualityOperator(task_id="check", dataset_id=name, last_day="2025-09-01")
    with pytest.raises(AirflowFailException, match="no loaded days since 2025-01-01"):
        operator.execute({"ti": SimpleNamespace(dag_id="dag", task_id="check")})


def test_the_documented_comparison_and_what_has_changed_run_on_the_views(client: bigquery.Client, dataset: str) -> None:
    create(dataset, models=["ai_tool_comparison", "cost_allocation", "restatements"])

    def query(name: str, *replaced: tuple[str, str]) -> list[Any]:
        text = documentation.query(name)
        for old, new in (("FROM claude_code.", f"FROM {dataset}."), *replaced):
            assert old in text
            text = text.replace(old, new)
        return list(client.query_and_wait(text))

    client.query_and_wait(
        f"CREATE OR REPLACE VIEW {dataset}.user_days AS SELECT DATE '2025-09-01' AS day, 'A@b.c' AS user_email, "
        "4 AS suggested, 3 AS accepted, 7 AS lines_accepted"
    )
    (row,) = query("comparison", ("copilot.user_days", f"{dataset}.user_days"))
    assert (row["tool"], row["active_people"], row["acceptance_rate"], row["lines_added"]) == ("copilot", 1, 0.75, 7)
    assert query("snapshot", ("finance.claude_code_cost_2025_09", f"{dataset}.frozen")) == []
    assert query("changed since", ("finance.claude_code_cost_2025_09", f"{dataset}.frozen")) == []


def test_checks_of_tables_without_a_loaded_day_are_refused(client: bigquery.Client, dataset: str) -> None:
    operator = ClaudeCodeDataQualityOperator(task_id="check", dataset_id=dataset, last_day="2025-09-01")
    with pytest.raises(AirflowFailException, match="no loaded days since 2025-01-01"):
        operator.execute({"ti": SimpleNamespace(dag_id="dag", task_id="check")})


def test_readers_are_told_which_role_they_need(
    server: BigQueryServer, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "faults", [HttpError(method="tables.get", status=403, reason="accessDenied")])
    operator = ClaudeCodeDataQualityOperator(task_id="check", dataset_id="d", last_day="2025-09-01")
    with pytest.raises(AirflowFailException, match="BigQuery Data Viewer on the dataset and BigQuery Job User"):
        operator.execute({"ti": SimpleNamespace(dag_id="dag", task_id="check")})

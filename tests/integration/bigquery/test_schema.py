"""Tables are created, completed or refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery
from google.cloud.bigquery import PolicyTagList, SchemaField, TimePartitioning

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeEmptyDayError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.operators.bigquery_models import ClaudeCodeBigQueryModelsOperator
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.sandbox import Organization, Sandbox
from airflow_provider_claude_code.streams import reading
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.targets.bigquery.schema import described_organization
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.bigquery import (
    BEFORE,
    CONTRACTS,
    PROJECT,
    Connect,
    Dataset,
    Row,
    context,
    load,
    schema,
    users_table,
)
from tests.fixtures.records import DAY, TABLES, people
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.fixtures.serving import serve
from tests.truth.records import canonical, flat

KEY = "projects/p/locations/us/keyRings/r/cryptoKeys/k"


def renamed(field: SchemaField, name: str) -> SchemaField:
    return SchemaField.from_api_repr(field.to_api_repr() | {"name": name})


class TestTables:
    def test_new_tables_are_those_of_the_contract(self, sandbox: Sandbox, dataset: Dataset) -> None:
        load(dataset, labels={"team": "devex"})
        kinds = {"INTEGER": "INT64", "BOOLEAN": "BOOL"}
        for contract in CONTRACTS:
            table = dataset.get(contract.name)
            assert [
                (field.name, kinds.get(field.field_type, field.field_type), field.mode, field.description)
                for field in table.schema
            ] == [
                (column.name, column.type, "NULLABLE" if column.nullable else "REQUIRED", column.description)
                for column in contract.columns
            ]
            assert contract.grain in table.description
            assert table.labels == {
                "claude_code_organization": sandbox.organization.id,
                "airflow-dag": "d",
                "airflow-task": "load",
                "team": "devex",
            }
            partitioning = table.time_partitioning
            assert (partitioning.field, partitioning.type_) == ("date", "MONTH" if contract is LOADS else "DAY")
            assert partitioning.expiration_ms is None
            assert not table.require_partition_filter
            assert table.encryption_configuration is None
        assert {name: dataset.get(name).clustering_fields for name in (*TABLES, "loads")} == {
            "usage": ["actor_id"],
            "model_usage": ["actor_id", "model"],
            "tool_usage": ["actor_id", "tool_name"],
            "loads": None,
        }

    def test_expiration_key_and_partition_filter_are_as_asked_for_and_loading_works_with_them(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        today = datetime.now(UTC).date() - timedelta(days=3)
        options: dict[str, Any] = {
            "partition_expiration": timedelta(days=90),
            "require_partition_filter": True,
            "encryption_configuration": {"kmsKeyName": KEY},
        }
        for count in (3, 2):
            serve(sandbox, count)
            load(dataset, today, **options)
        for table in TABLES:
            made = dataset.get(table)
            assert made.time_partitioning.expiration_ms == 90 * 86_400_000
            assert made.require_partition_filter
            assert made.encryption_configuration.kms_key_name == KEY
        with pytest.raises(BadRequest, match="filter"):
            dataset.query(f"SELECT COUNT(*) FROM `{dataset.table_id('usage')}`")
        remembered = dataset.get("loads")
        assert remembered.encryption_configuration.kms_key_name == KEY
        # The memory of loads is kept, and asked without naming days.
        assert remembered.time_partitioning.expiration_ms is None
        assert not remembered.require_partition_filter
        dataset.assert_holds(people(2, today), today)
        for request in dataset.requests("jobs.insert"):
            configuration = request.json["configuration"]["load"]
            assert configuration["destinationEncryptionConfiguration"] == {"kmsKeyName": KEY}

    @pytest.mark.parametrize("of_dataset", [True, False])
    def test_a_day_that_the_table_would_delete_again_is_refused_before_any_job(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture, of_dataset: bool
    ) -> None:
        free = dataset.client.get_dataset(dataset.id)
        free.default_partition_expiration_ms = 60 * 86_400_000
        if of_dataset:
            dataset.client.update_dataset(free, ["default_partition_expiration_ms"])
        options: Row = {"partition_expiration": None if of_dataset else timedelta(days=60)}
        today = datetime.now(UTC).date()
        refusal = rf"2025-09-01 is older than .*{dataset.table_id('usage')} \(60 days\)"
        # Of tables that are still to be made, and of those that are there.
        for kept in (None, today - timedelta(days=3), today - timedelta(days=59)):
            if kept:
                load(dataset, kept, **options)
                assert dataset.content("usage", kept) == canonical(flat(people(3, kept), kept)["usage"])
            with pytest.raises(AirflowFailException, match=refusal):
                load(dataset, **options)
        assert len(dataset.jobs()) == 8
        with pytest.raises(AirflowFailException, match="partition expiration"):
            load(dataset, today - timedelta(days=60), **options)
        # With a default of the dataset the memory of loads is short as well.
        assert (f"{dataset.table_id('loads')} 60 days after it began" in caplog.text) is of_dataset
        # A default that came later than the tables is not theirs.
        if not of_dataset:
            dataset.client.update_dataset(free, ["default_partition_expiration_ms"])
            for table in TABLES:
                partitioned = dataset.get(table)
                partitioned.time_partitioning = TimePartitioning(field="date", type_="DAY", expiration_ms=None)
                dataset.client.update_table(partitioned, ["time_partitioning"])
            load(dataset, **options)
            dataset.assert_holds(people(3))

    def test_tables_that_are_to_be_deleted_whole_are_warned_of(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        load(dataset)
        assert "deletes" not in caplog.text
        free = dataset.client.get_dataset(dataset.id)
        free.default_table_expiration_ms = 60 * 86_400_000
        dataset.client.update_dataset(free, ["default_table_expiration_ms"])
        dataset.client.delete_table(dataset.table_id("usage"))
        for _ in range(2):
            caplog.clear()
            load(dataset)
            deleted_on = datetime.now(UTC) + timedelta(days=60)
            [warning] = [record for record in caplog.records if "deletes" in record.getMessage()]
            assert f"{dataset.table_id('usage')}, with all its days, on {deleted_on:%Y-%m-%d}" in warning.getMessage()
        dataset.assert_holds(people(3))

    @pytest.mark.parametrize("missing", ["currency", "num_sessions", "estimated_cost_cents"])
    def test_columns_that_are_missing_are_added_as_nullable_and_filled(
        self, sandbox: Sandbox, dataset: Dataset, missing: str
    ) -> None:
        table = users_table(dataset, "usage", schema=schema("usage", **{missing: None}))
        assert missing not in {field.name for field in table.schema}
        load(dataset)
        added = dataset.get("usage").schema[-1]
        assert (added.name, added.mode) == (missing, "NULLABLE")
        assert added.description
        dataset.assert_holds(people(3))
        load(dataset)
        dataset.assert_holds(people(3))

    def test_a_table_that_another_load_completes_meanwhile_is_completed(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        users_table(dataset, "usage", schema=schema("usage", currency=None))
        update, met = bigquery.Client.update_table, list[bool]()

        def update_meanwhile(*arguments: Any) -> Any:
            if not met:
                met.append(True)
                load(dataset, BEFORE)
            return update(*arguments)

        monkeypatch.setattr(bigquery.Client, "update_table", update_meanwhile)
        load(dataset)
        for day in (BEFORE, DAY):
            dataset.assert_holds(people(3, day), day)

    def test_the_order_and_the_case_of_a_users_columns_do_not_matter(self, sandbox: Sandbox, dataset: Dataset) -> None:
        for name in (*TABLES, "loads"):
            fields = sorted(schema(name), key=lambda field: field.name)
            # The column that a table is partitioned by has to be called as it is.
            fields = [field if field.name == "date" else renamed(field, field.name.upper()) for field in fields]
            users_table(dataset, name, schema=fields)
        for count in (3, 5):
            serve(sandbox, count)
            load(dataset)
            assert sorted(row["ACTOR_ID"] for row in dataset.rows("usage")) == [
                f"person-{number}@example.com" for number in range(count)
            ]
        assert [row["ROW_COUNT"] for row in dataset.rows("loads") if row["TABLE_NAME"] == "usage"] == [3, 5]

    @pytest.mark.parametrize("loaded_at", [None, SchemaField("loaded_at", "TIMESTAMP")])
    def test_rows_that_no_load_has_written_are_not_erased_by_an_empty_day_and_are_replaced_by_others(
        self, sandbox: Sandbox, dataset: Dataset, loaded_at: SchemaField | None
    ) -> None:
        fields = [SchemaField(field.name, field.field_type) for field in schema("usage", loaded_at=loaded_at)]
        table = users_table(dataset, "usage", schema=fields)
        dataset.client.load_table_from_json([{"date": str(DAY), "actor_id": "somebody"}], table).result()
        serve(sandbox, 0)
        with pytest.raises(ClaudeCodeEmptyDayError, match=rf"rows of that day \({dataset.table_id('usage')}: 1\)"):
            load(dataset)
        assert [row["actor_id"] for row in dataset.rows("usage")] == ["somebody"]
        assert dataset.rows("loads") == []
        serve(sandbox, 3)
        load(dataset)
        dataset.assert_holds(people(3))

    def test_loads_says_what_the_organisation_is_called_now(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(dataset)
        said = f"Organisation: {sandbox.organization.id} ({sandbox.organization.name})"
        assert dataset.get("loads").description.splitlines()[1:] == [said]
        for name, told in (("Acme (EU)", "Acme (EU)"), (None, "Acme (EU)")):
            monkeypatch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_, name=name: name)
            load(dataset)
            description = dataset.get("loads").description
            assert description.splitlines()[1:] == [f"Organisation: {sandbox.organization.id} ({told})"]
            assert described_organization(description) == {sandbox.organization.id: told}
        assert "Organisation" not in dataset.get("usage").description

    @pytest.mark.parametrize("name", ["Acme (EU)", "Acme\nOwner: nobody"])
    def test_a_users_text_in_the_description_of_loads_survives_a_new_name(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        load(dataset)
        table = dataset.get("loads")
        table.description = f"Mine, before\n{table.description}\nMine, after"
        dataset.client.update_table(table, ["description"])
        monkeypatch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_: name)
        for _ in range(2):
            load(dataset)
        first, *middle, said, last = dataset.get("loads").description.splitlines()
        assert (first, len(middle), last) == ("Mine, before", 1, "Mine, after")
        assert said == f"Organisation: {sandbox.organization.id} ({name.replace(chr(10), chr(92) + 'n')})"

    def test_a_users_own_column_clustering_description_and_labels_survive(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        own = SchemaField("cost_center", "STRING", "NULLABLE", None, "mine")
        users_table(
            dataset,
            "usage",
            schema=schema("usage", cost_center=own),
            clustering_fields=["terminal_type"],
            description="mine",
            labels={"mine": "yes"},
        )
        for _ in range(2):
            load(dataset)
        table = dataset.get("usage")
        assert own in table.schema
        assert (table.clustering_fields, table.description) == (["terminal_type"], "mine")
        assert table.labels == {"mine": "yes", "claude_code_organization": sandbox.organization.id}
        assert [row["cost_center"] for row in dataset.rows("usage")] == [None] * 3
        for table_name in ("model_usage", "tool_usage"):
            assert dataset.content(table_name) == canonical(flat(people(3), DAY)[table_name])

    def test_columns_with_policy_tags_and_descriptions_of_a_user_are_loaded_and_keep_them(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        tags = PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
        tagged = SchemaField("actor_id", "STRING", "NULLABLE", None, "mine", policy_tags=tags)
        # In a record of the user's own as well.
        own = SchemaField("own", "RECORD", "NULLABLE", None, "mine", [SchemaField("x", "STRING", policy_tags=tags)])
        limited = SchemaField("short", "STRING", "NULLABLE", max_length=10)
        users_table(dataset, "usage", schema=schema("usage", actor_id=tagged, own=own, short=limited))
        users_table(dataset, "loads", schema=schema("loads", run_id=renamed(tagged, "run_id")))
        before = {table: dataset.get(table).to_api_repr()["schema"] for table in ("usage", "loads")}
        load(dataset)
        assert dataset.content("model_usage") == canonical(flat(people(3), DAY)["model_usage"])
        assert {row["actor_id"] for row in dataset.rows("usage")} == {f"person-{n}@example.com" for n in range(3)}
        assert {table: dataset.get(table).to_api_repr()["schema"] for table in before} == before
        for request in dataset.requests("jobs.insert"):
            fields = request.json["configuration"]["load"]["schema"]["fields"]
            assert {name for field in fields for name in field} <= {"name", "type", "mode", "fields", "maxLength"}

    def test_nullable_where_the_contract_says_required_is_compatible(self, sandbox: Sandbox, dataset: Dataset) -> None:
        for name in TABLES:
            relaxed = [
                SchemaField(field.name, field.field_type, "NULLABLE", None, field.description) for field in schema(name)
            ]
            users_table(dataset, name, schema=relaxed)
        load(dataset)
        dataset.assert_holds(people(3))
        assert {field.mode for field in dataset.get("usage").schema} == {"NULLABLE"}

    @pytest.mark.parametrize(
        ("name", "changes", "difference"),
        [
            ("usage", {"schema": {"num_sessions": SchemaField("num_sessions", "STRING")}}, "num_sessions is .*STRING"),
            (
                "model_usage",
                {"schema": {"estimated_cost_cents": SchemaField("estimated_cost_cents", "FLOAT")}},
                "estimated_cost_cents is .*FLOAT64, not NUMERIC",
            ),
            (
                "usage",
                {"schema": {"estimated_cost_cents": SchemaField("estimated_cost_cents", "NUMERIC", precision=10)}},
                r"estimated_cost_cents is NUMERIC\(10",
            ),
            (
                "tool_usage",
                {"schema": {"actor_id": SchemaField("actor_id", "STRING", max_length=10)}},
                r"actor_id is STRING\(10\), not STRING",
            ),
            ("usage", {"schema": {"model_count": SchemaField("model_count", "INTEGER", "REPEATED")}}, "REPEATED"),
            ("tool_usage", {"schema": {"mine": SchemaField("mine", "STRING", "REQUIRED")}}, "mine is a REQUIRED"),
            ("loads", {"schema": {"mine": SchemaField("mine", "STRING", "REQUIRED")}}, "mine is a REQUIRED"),
            ("usage", {"time_partitioning": None}, "partitioned not at all, not by DAY on date"),
            ("usage", {"time_partitioning": TimePartitioning()}, "by DAY on None, not by DAY on date"),
            (
                "usage",
                {"time_partitioning": TimePartitioning(field="loaded_at")},
                "by DAY on loaded_at, not by DAY on date",
            ),
            ("usage", {"time_partitioning": TimePartitioning(field="date", type_="MONTH")}, "by MONTH on date, not by"),
            ("loads", {"time_partitioning": TimePartitioning(field="date")}, "by DAY on date, not by MONTH"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused_with_the_difference_and_nothing_is_changed(
        self, sandbox: Sandbox, dataset: Dataset, name: str, changes: Row, difference: str
    ) -> None:
        if "schema" in changes:
            changes = {"schema": schema(name, **changes["schema"])}
        before = users_table(dataset, name, **changes).to_api_repr()
        with pytest.raises(AirflowFailException, match=difference) as refusal:
            load(dataset)
        assert dataset.table_id(name) in str(refusal.value)
        assert dataset.jobs() == []
        assert dataset.names() == {name}
        assert dataset.get(name).to_api_repr()["schema"] == before["schema"]

    def test_a_view_is_refused(self, sandbox: Sandbox, dataset: Dataset) -> None:
        view = bigquery.Table(dataset.table_id("usage"))
        view.view_query = "SELECT DATE '2025-09-01' AS date"
        dataset.client.create_table(view)
        with pytest.raises(AirflowFailException, match="is a VIEW"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {"usage"})

    def test_columns_that_may_be_null_are_relaxed(self, sandbox: Sandbox, dataset: Dataset) -> None:
        """As in a table of a version whose column was never null."""
        required = {
            "usage": SchemaField("actor_id", "STRING", "REQUIRED", description="mine"),
            "loads": SchemaField("num_sessions", "INTEGER", "REQUIRED"),
        }
        for name, field in required.items():
            users_table(dataset, name, schema=schema(name, **{field.name: field}))
        load(dataset)
        for name, field in required.items():
            columns = {column.name: column for column in dataset.client.get_table(dataset.table_id(name)).schema}
            assert columns[field.name].mode == "NULLABLE"
            assert columns[field.name].description == field.description
            assert {column.mode for column in columns.values()} == {"NULLABLE", "REQUIRED"}
        dataset.assert_holds(people(3))

    def test_all_differences_are_told_at_once(self, sandbox: Sandbox, dataset: Dataset) -> None:
        users_table(dataset, "usage", schema=schema("usage", model_count=SchemaField("model_count", "STRING")))
        users_table(dataset, "tool_usage", schema=schema("tool_usage", accepted=SchemaField("accepted", "STRING")))
        with pytest.raises(AirflowFailException, match=r"(?s)model_count.*accepted"):
            load(dataset)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"table_prefix": "raw.claude_"}, r"table_prefix is 'raw\.claude_'"),
            ({"table_prefix": "claude_`; DROP"}, "table_prefix is"),
            ({"table_prefix": "claude$"}, "table_prefix is"),
            ({"table_prefix": None}, "table_prefix is None"),
            ({"dataset_id": f"{PROJECT}.claude"}, "dataset_id is .* Its project goes into project_id"),
            ({"dataset_id": "claude-code"}, "dataset_id is 'claude-code'"),
            ({"dataset_id": ""}, "dataset_id is ''"),
            ({"project_id": "a/b"}, "project_id is 'a/b'"),
        ],
    )
    @pytest.mark.parametrize("kind", ["load", "views", "checks"])
    def test_a_name_that_bigquery_cannot_have_is_refused_by_its_argument_before_anything_is_asked(
        self, sandbox: Sandbox, dataset: Dataset, kind: str, changes: dict[str, str], said: str
    ) -> None:
        requests = (len(sandbox.requests), len(dataset.server.requests))
        operators: dict[str, Any] = {
            "load": ClaudeCodeToBigQueryOperator,
            "views": ClaudeCodeBigQueryModelsOperator,
            "checks": ClaudeCodeDataQualityOperator,
        }
        day = {"load": {"day": str(DAY)}, "views": {}, "checks": {"last_day": str(DAY)}}
        arguments = {"dataset_id": dataset.id} | day[kind] | changes
        with pytest.raises(ClaudeCodeConfigurationError, match=said):
            operators[kind](task_id="task", **arguments)
        # What a template renders to is known when the task runs.
        operator = operators[kind](task_id="task", **arguments | dict.fromkeys(changes, "{{ params.name }}"))
        vars(operator).update(changes)
        with pytest.raises(AirflowFailException, match=said):
            operator.execute(context(dataset))
        assert (len(sandbox.requests), len(dataset.server.requests)) == requests

    def test_a_connection_without_a_project_is_named(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        anonymous = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True}}
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(anonymous))
        with pytest.raises(AirflowFailException, match=r"'google_cloud_default' .* no project\. Set project_id"):
            load(dataset)
        load(dataset, project_id=PROJECT)
        dataset.assert_holds(people(3))

    def test_a_missing_dataset_is_refused_or_created_as_asked(
        self, bigquery_server: BigQueryServer, sandbox: Sandbox
    ) -> None:
        missing = Dataset(bigquery_server, create=False)
        with pytest.raises(AirflowFailException, match=f"{PROJECT}.{missing.id}.*create_dataset=True"):
            load(missing)
        assert missing.jobs() == []
        load(missing, create_dataset=True, location="EU")
        missing.assert_holds(people(3))
        assert missing.client.get_dataset(missing.id).location == "EU"

    def test_jobs_run_where_the_dataset_is(self, bigquery_server: BigQueryServer, sandbox: Sandbox) -> None:
        dataset = Dataset(bigquery_server, create=False)
        made = bigquery.Dataset(f"{PROJECT}.{dataset.id}")
        made.location = "europe-west1"
        dataset.client.create_dataset(made)
        [day] = load(dataset)["days"]
        assert day["location"] == "europe-west1"
        dataset.assert_holds(people(3))
        assert load(dataset, location="EUROPE-WEST1")["days"][0]["location"] == "europe-west1"

    @pytest.mark.parametrize("create_dataset", [False, True])
    def test_a_dataset_in_another_location_is_refused_before_any_job(
        self, sandbox: Sandbox, dataset: Dataset, create_dataset: bool
    ) -> None:
        """Otherwise addresses would be stored in a part of the world that the Dag's author has excluded."""
        with pytest.raises(AirflowFailException, match=rf"{PROJECT}\.{dataset.id} is in US, not in EU"):
            load(dataset, location="EU", create_dataset=create_dataset)
        assert dataset.jobs() == []
        assert dataset.names() == set()

    def test_another_organisations_key_is_refused_before_any_job(
        self, sandbox: Sandbox, dataset: Dataset, connect: Connect
    ) -> None:
        load(dataset)
        jobs = dataset.jobs()
        connect(f"{sandbox.api_key}-rivals")
        serve(sandbox, 5)
        for day in (DAY, DAY + timedelta(days=1)):
            with pytest.raises(AirflowFailException, match=sandbox.organization.id):
                load(dataset, day, on_empty="replace")
        assert dataset.jobs() == jobs
        dataset.assert_holds(people(3))
        load(dataset, table_prefix="rivals_")
        rivals = dataset.client.get_table(f"{PROJECT}.{dataset.id}.rivals_usage")
        assert rivals.labels["claude_code_organization"] == Organization.named("rivals", 1).id
        assert rivals.num_rows == 5

    def test_one_table_of_another_organisation_is_enough_to_refuse_and_no_other_is_made(
        self, sandbox: Sandbox, dataset: Dataset
    ) -> None:
        users_table(dataset, "loads", labels={"claude_code_organization": "somebody-else"})
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {"loads"})

    @pytest.mark.parametrize("table", [*TABLES, LOADS.name])
    def test_whichever_table_is_another_organisations_nothing_is_created_or_changed(
        self, sandbox: Sandbox, dataset: Dataset, table: str
    ) -> None:
        users_table(dataset, table, labels={"claude_code_organization": "somebody-else"})
        before = dataset.get(table).to_api_repr()
        with pytest.raises(AirflowFailException, match="somebody-else"):
            load(dataset)
        assert (dataset.jobs(), dataset.names()) == ([], {table})
        assert dataset.get(table).to_api_repr() == before

    def test_a_load_that_began_in_the_same_microsecond_as_another_is_not_taken_for_it(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Rows are told apart by loaded_at alone.
        load(dataset)
        [first] = {row["loaded_at"] for row in dataset.rows("usage", DAY)}
        begin_load, begun = reading.begin_load, []

        def begin_at_once(after: datetime | None) -> tuple[str, datetime]:
            load_id, loaded_at = begin_load(after)
            begun.append(loaded_at)
            return load_id, first if len(begun) == 1 else loaded_at

        monkeypatch.setattr(reading, "begin_load", begin_at_once)
        serve(sandbox, 5)
        jobs = len(dataset.jobs())
        load(dataset, run_id="another")
        assert len(begun) == 2
        # Three of data and one of loads: the first attempt started none.
        assert len(dataset.jobs()) == jobs + 4
        dataset.assert_holds(people(5))

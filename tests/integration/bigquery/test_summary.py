"""What a run tells: XCom, assets, links, lineage and logs."""

import json
from typing import Any

import pytest
from airflow.sdk import AssetAlias

from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from tests.fixtures.bigquery import PROJECT, Dataset, context, load, operator
from tests.fixtures.hook_lineage import collect_hook_lineage
from tests.fixtures.records import TABLES


class TestReport:
    def test_the_summary_tells_counts_and_places_and_no_person(self, sandbox: Sandbox, dataset: Dataset) -> None:
        summary = load(dataset)
        text = json.dumps(summary)
        assert json.loads(text) == summary
        assert "person-" not in text
        assert sandbox.api_key not in text
        [day] = summary["days"]
        jobs = {job.id: job.destination for job in dataset.jobs()}
        assert {table: jobs[job] for table, job in day.pop("jobs").items()} == {
            table: f"{dataset.id}.claude_code_{table}$20250901" for table in TABLES
        }
        assert day == {
            "day": "2025-09-01",
            "rows": {"usage": 3, "model_usage": 3, "tool_usage": 12},
            "num_sessions": 15,
            "estimated_cost_cents": "3075",
            "currency": "USD",
            "empty": False,
            "complete": True,
            "repeated_keys": 0,
            "unknown_names": 0,
            "load_id": dataset.loads()[0]["load_id"],
            "published": True,
            "tables": {table: dataset.table_id(table) for table in TABLES},
            "location": "US",
        }

    def test_any_table_prefix_is_an_asset(self, sandbox: Sandbox, dataset: Dataset) -> None:
        from airflow.sdk.execution_time.context import OutletEventAccessors

        alias, events = AssetAlias("usage_of_all"), OutletEventAccessors()
        operator(dataset, table_prefix="usage données ", outlets=[alias]).execute(
            context(dataset, outlet_events=events)
        )
        uris = [event.dest_asset_key.uri for event in events[alias].asset_alias_events]
        assert uris == [f"bigquery://{PROJECT}/{dataset.id}/usage%20donn%C3%A9es%20{table}" for table in TABLES]

    def test_links_lead_to_the_table_and_to_the_job_of_the_last_day(self, sandbox: Sandbox, dataset: Dataset) -> None:
        loading = operator(dataset, lookback_days=1)
        links = {link.name: link for link in loading.operator_extra_links}
        key: Any = None
        assert links["BigQuery Job"].get_link(loading, ti_key=key) == ""
        summary = loading.execute(context(dataset))
        assert links["BigQuery Table"].get_link(loading, ti_key=key) == (
            f"https://console.cloud.google.com/bigquery?project={PROJECT}&p={PROJECT}&d={dataset.id}"
            "&t=claude_code_usage&page=table"
        )
        loading.table_prefix = "usage & données "
        assert (
            links["BigQuery Table"]
            .get_link(loading, ti_key=key)
            .endswith("&t=usage%20%26%20donn%C3%A9es%20usage&page=table")
        )
        assert f"j=bq:US:{summary['days'][-1]['jobs']['usage']}&" in links["BigQuery Job"].get_link(loading, ti_key=key)

    def test_hook_lineage_names_the_report_and_the_tables(
        self, sandbox: Sandbox, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collector = collect_hook_lineage(monkeypatch)
        load(dataset)
        found = collector.collected_assets
        assert [entry.asset.uri.partition("/v1/")[2] for entry in found.inputs] == [
            "organizations/usage_report/claude_code"
        ]
        assert {entry.asset.uri for entry in found.outputs} == {
            f"bigquery://{PROJECT}/{dataset.id}/claude_code_{table}" for table in TABLES
        }

    def test_openlineage_tells_columns_and_row_counts(self, sandbox: Sandbox, dataset: Dataset) -> None:
        pytest.importorskip("airflow.providers.openlineage")
        loading = operator(dataset, lookback_days=1)
        loading.execute(context(dataset))
        lineage = loading.get_openlineage_facets_on_complete(None)
        [report] = lineage.inputs
        assert (report.namespace, report.name) == (sandbox.base_url, "/v1/organizations/usage_report/claude_code")
        assert [
            (output.namespace, output.name, output.outputFacets["outputStatistics"].rowCount)
            for output in lineage.outputs
        ] == [("bigquery", dataset.table_id(table), count) for table, count in zip(TABLES, (6, 6, 24), strict=True)]
        for table, output in zip(TABLES, lineage.outputs, strict=True):
            assert [field.name for field in output.facets["schema"].fields] == [
                column.name for column in DATA_TABLES[table].columns
            ]

    def test_no_log_line_names_a_person_or_the_key(
        self, sandbox: Sandbox, dataset: Dataset, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("DEBUG", "airflow_provider_claude_code"):
            load(dataset)
        assert "person-" not in caplog.text
        assert sandbox.api_key not in caplog.text

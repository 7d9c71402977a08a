"""The models as views in BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_claude_code.analytics.models import Model, Settings, models, render
from airflow_provider_claude_code.assets import asset_uri
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.links import BigQueryDatasetLink
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryDatasetMixin, airflow_labels
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.version_compat import get_hook_lineage_collector

if TYPE_CHECKING:
    from airflow.sdk import Context
    from google.cloud.bigquery import Client


class ClaudeCodeBigQueryViewsOperator(BigQueryDatasetMixin, BaseOperator):
    """
    Create the models as views beside the tables, or replace them, with descriptions of all columns.

    Each view stands by itself on the tables, so there is no order to keep. Nothing is created if one of the names is
    that of something else than a view, or if one of the queries cannot be run.

    :param dataset_id: the dataset of the tables (templated).
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where the statements run (templated); default: the dataset's own.
    :param table_prefix: what the tables' names begin with (templated).
    :param view_dataset_id: the dataset of the views (templated); default: that of the tables. Readers of a dataset of
        its own need no right to the tables when it is authorised on all datasets that the views read.
    :param view_prefix: what the views' names begin with (templated); default: ``table_prefix``.
    :param models: which models; default: all but those with a row per person (``people_monthly`` and
        ``ai_tool_comparison``), which have to be named.
    :param roster: a table of eligible people (templated): ``actor_id``, ``valid_from``, ``valid_to`` (inclusive; null
        means always). ``TABLE``, ``DATASET.TABLE`` or ``PROJECT.DATASET.TABLE``.
    :param mapping: a table of groups (templated): ``actor_type``, ``actor_id``, ``team``, ``cost_centre``,
        ``valid_from``, ``valid_to``.
    :param min_group_size: groups of fewer people are folded together; 1 folds none.
    :param since: the first UTC day that is read, ``YYYY-MM-DD`` (templated). Who is new is told from then on.
    :param max_drop: share of the usual records, 0 to 1, whose lack ``data_quality`` reports.
    :param max_age_hours: hours after the end of the newest complete day from which ``data_quality`` reports it.
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :raises AirflowFailException: something that no retry mends.
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "project_id",
        "location",
        "table_prefix",
        "view_dataset_id",
        "view_prefix",
        "roster",
        "mapping",
        "since",
        "gcp_conn_id",
        "impersonation_chain",
    )
    ui_color = "#dfe8d4"

    operator_extra_links = (BigQueryDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        project_id: str | None = None,
        location: str | None = None,
        table_prefix: str = "claude_code_",
        view_dataset_id: str | None = None,
        view_prefix: str | None = None,
        models: Iterable[str] | None = None,
        roster: str | None = None,
        mapping: str | None = None,
        min_group_size: int = 5,
        since: str = "2025-01-01",
        max_drop: float = 0.5,
        max_age_hours: float = 48,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.project_id = project_id
        self.location = location
        self.table_prefix = table_prefix
        self.view_dataset_id = view_dataset_id
        self.view_prefix = view_prefix
        self.models = _checked(models)
        self.roster = roster
        self.mapping = mapping
        self.min_group_size = min_group_size
        self.since = since
        self.max_drop = max_drop
        self.max_age_hours = max_age_hours
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the views and return their names by model."""
        # Load google.cloud, so not when a Dag file is parsed.
        from google.cloud.bigquery import QueryJobConfig

        from airflow_provider_claude_code.analytics.sources import bigquery_relations, table_in_sql
        from airflow_provider_claude_code.targets.bigquery.target import typed_errors

        with fail_without_retry():
            settings = Settings(
                min_group_size=self.min_group_size,
                since=parse_day(self.since),
                max_drop=self.max_drop,
                max_age_hours=self.max_age_hours,
            )
            self.refuse_unusable_names()
            project = self.dataset_project
            relations = bigquery_relations(
                project, str(self.dataset_id), self.table_prefix, roster=self.roster, mapping=self.mapping
            )
            view_dataset = self.view_dataset_id or self.dataset_id
            prefix = self.table_prefix if self.view_prefix is None else self.view_prefix
            views = {name: f"{project}.{view_dataset}.{prefix}{name}" for name in self.models}
            statements = {
                name: view_statement(
                    models()[name],
                    table_in_sql("view_dataset_id or view_prefix", view),
                    render(name, relations, settings),
                )
                for name, view in views.items()
            }
            client = self.get_client()
            labels = airflow_labels(context["ti"].dag_id, context["ti"].task_id)
            with typed_errors(self.dataset):
                _refuse_other_than_views(client, views.values())
                # All are tried before any is made, for nothing: a missing table shows up here.
                for statement in statements.values():
                    client.query(statement, job_config=QueryJobConfig(labels=labels, dry_run=True))
                for name, statement in statements.items():
                    client.query_and_wait(statement, job_config=QueryJobConfig(labels=labels))
                    self.log.info("Created %s", views[name])
            lineage = get_hook_lineage_collector()
            for table in USAGE.table_names:
                lineage.add_input_asset(context=self.google_hook, uri=self.table_uri(table))
            for view in views.values():
                lineage.add_output_asset(
                    context=self.google_hook, uri=asset_uri(f"bigquery://{view.replace('.', '/')}")
                )
            return {"views": views}


def _checked(names: Iterable[str] | None) -> list[str]:
    if names is None:
        return [model.name for model in models().values() if not model.is_personal]
    if isinstance(names, str) or not (chosen := list(dict.fromkeys(names))) or (unknown := set(chosen) - set(models())):
        what = f" There is no {', '.join(sorted(unknown))}." if not isinstance(names, str) and chosen else ""
        raise ClaudeCodeConfigurationError(f"models takes a list of {', '.join(models())}.{what}")
    return chosen


def view_statement(model: Model, view: str, query: str) -> str:
    """
    Return the GoogleSQL that makes a model a view.

    :param model: the model.
    :param view: the view's name, table_in_sql.
    :param query: the model's query.
    """
    # JSON's strings are GoogleSQL's, too.
    columns = ",\n".join(f"  {name} OPTIONS (description = {json.dumps(text)})" for name, text in model.columns.items())
    description = f"OPTIONS (description = {json.dumps(model.description)})"
    return f"CREATE OR REPLACE VIEW {view} (\n{columns}\n)\n{description}\nAS\n{query}"


def _refuse_other_than_views(client: Client, names: Iterable[str]) -> None:
    from google.api_core.exceptions import NotFound

    taken = []
    for name in names:
        try:
            kind = client.get_table(name).table_type
        except NotFound:
            continue
        if kind != "VIEW":
            taken.append(f"{name} is a {kind}")
    if taken:
        raise ClaudeCodeConfigurationError(
            f"{'; '.join(taken)}, not a view, and nothing was created. Choose another view_prefix or view_dataset_id."
        )

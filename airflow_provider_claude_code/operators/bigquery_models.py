"""The models as views or tables in BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_claude_code.analytics.queries import Settings, models, render
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.lineage import add_hook_lineage, asset_uri
from airflow_provider_claude_code.links import BigQueryDatasetLink
from airflow_provider_claude_code.operators.bigquery_dataset import BigQueryJobsMixin, airflow_labels
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.templates import is_template, listed, one_of, seconds, true_or_false
from airflow_provider_claude_code.version_compat import AirflowTaskTimeout, conf

if TYPE_CHECKING:
    from airflow.sdk import Context
    from google.cloud.bigquery import Client

    from airflow_provider_claude_code.analytics.engines.bigquery_models import ModelJobs

MATERIALIZED = ("view", "table")
"""The materializations of a model in BigQuery, with dbt's names."""


@dataclass(frozen=True)
class _Started:
    """
    The state that the task needs to finish, also after a deferral.

    :param job_ids: the jobs by model.
    :param table_ids: by model, the name of the view or table with project and dataset.
    :param materialized: by model, which of the two it is.
    :param tables: the loaded tables that exist.
    :param location: where the jobs run.
    """

    job_ids: dict[str, str]
    table_ids: dict[str, str]
    materialized: dict[str, str]
    tables: list[str]
    location: str


class ClaudeCodeBigQueryModelsOperator(BigQueryJobsMixin, BaseOperator):
    """
    Create or replace the models as views or tables next to the loaded tables, with descriptions of all columns.

    Each model reads the loaded tables and no other model. Nothing is created if another table or view has the name of a
    model, or if one of the queries cannot run. A table that is not loaded counts as empty. Create the models again when
    it is loaded.

    A view is computed each time that somebody queries it, and shows each load at once. A table is computed when this
    task runs, so run it after each load. The table is replaced whole: readers see the old rows or the new ones.

    :param dataset_id: the dataset of the tables (templated).
    :param project_id: the dataset's project (templated); default: the Connection's.
    :param location: where the statements run (templated); default: the dataset's own.
    :param table_prefix: prefix of the names of the tables (templated).
    :param model_dataset_id: the dataset of the models (templated); default: that of the tables. If views are in another
        dataset, which is authorised on all datasets that they read, their readers need no right to the tables.
    :param model_prefix: prefix of the names of the models (templated); default: ``table_prefix``.
    :param models: which models to create (templated). The default is all without personal data. ``people_monthly``,
        ``ai_tool_comparison``, ``keys`` and ``restatements`` have personal data.
    :param materialized: ``view`` or ``table`` for all models, or a dict with one of them for each model. Models that it
        does not name are views. If the value of a model changes, a table replaces the view, or a view the table.
    :param roster: a table of the people who may use Claude Code (templated): ``actor_id``, ``valid_from``, ``valid_to``
        (inclusive; null means no limit). ``TABLE``, ``DATASET.TABLE`` or ``PROJECT.DATASET.TABLE``. Default: the
        members, if they are loaded.
    :param mapping: a table of groups (templated): ``actor_type``, ``actor_id``, ``team``, ``cost_centre``,
        ``valid_from``, ``valid_to``. Default: the workspaces of API keys, if they are loaded.
    :param min_group_size: smallest number of people in a group. Smaller groups are combined or withheld. 1 turns this
        off.
    :param breakdown_grain: ``week`` (Monday to Sunday, UTC) or ``month``: the period of each breakdown. Use the same
        for reports.
    :param since: the first UTC day that is read, ``YYYY-MM-DD`` (templated). A person is new on the first active day
        from then on.
    :param max_drop: ``data_quality`` reports a drop if this fraction of the usual rows is missing, above 0 and up to 1.
    :param max_age_hours: ``data_quality`` reports a stream if its newest complete day ended more than this many hours
        ago. The limit is 23 hours longer for ``cost`` and 25 hours shorter for ``members``.
    :param encryption_configuration: ``{"kmsKeyName": ...}`` for the models that are tables (templated).
    :param gcp_conn_id: the Google Cloud Connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them that ends with it (templated).
    :param deferrable: wait for the jobs in the triggerer. At the ``execution_timeout`` of the task, they are cancelled.
    :param poll_interval: seconds between two polls of the jobs when deferred.
    :raises AirflowFailException: a permanent error; the task does not retry.
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "project_id",
        "location",
        "table_prefix",
        "model_dataset_id",
        "model_prefix",
        "models",
        "roster",
        "mapping",
        "since",
        "encryption_configuration",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"models": "json", "encryption_configuration": "json"}
    ui_color = "#dfe8d4"

    models: list[str]

    operator_extra_links = (BigQueryDatasetLink(),)

    # There are none until the task runs.
    _jobs: ModelJobs

    def __init__(
        self,
        *,
        dataset_id: str,
        project_id: str | None = None,
        location: str | None = None,
        table_prefix: str = "claude_code_",
        model_dataset_id: str | None = None,
        model_prefix: str | None = None,
        models: Iterable[str] | None = None,
        materialized: str | Mapping[str, str] = "view",
        roster: str | None = None,
        mapping: str | None = None,
        min_group_size: int = 5,
        breakdown_grain: str = "week",
        since: str = "2025-01-01",
        max_drop: float = 0.5,
        max_age_hours: float = 48,
        encryption_configuration: Mapping[str, str] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.project_id = project_id
        self.location = location
        self.table_prefix = table_prefix
        self.model_dataset_id = model_dataset_id
        self.model_prefix = model_prefix
        self.models = models if is_template(models) else _listed_models(models)  # type: ignore[assignment]
        self.materialized = materialized
        _check_materialized(materialized)
        self.roster = roster
        self.mapping = mapping
        self.min_group_size = min_group_size
        self.breakdown_grain = breakdown_grain
        self.since = since
        self.max_drop = max_drop
        self.max_age_hours = max_age_hours
        # Without the first day, which may be a template. The rest is checked when the Dag is parsed.
        self._settings = Settings(
            min_group_size=min_group_size,
            breakdown_grain=breakdown_grain,
            max_drop=max_drop,
            max_age_hours=max_age_hours,
        )
        self.encryption_configuration = encryption_configuration
        self.refuse_unusable_names(is_rendered=False)
        self.refuse_unusable_encryption()
        if not is_template(since):
            parse_day(since, "since")
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = true_or_false("deferrable", deferrable)
        self.poll_interval = seconds("poll_interval", poll_interval)

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the models. Return their names, and the streams without a loaded table."""
        with fail_without_retry():
            self.models = _listed_models(self.models)
            settings = replace(self._settings, since=parse_day(self.since, "since"))
            kinds = _materialized(self.materialized, self.models)
            client = self._open(context)
            started = self._start(client, settings, kinds)
            if self.deferrable:
                trigger = self.jobs_trigger(
                    started.job_ids.values(),
                    started.location,
                    self.deadline_of(context["ti"]),
                    json.dumps(asdict(started)),
                )
                self.defer(trigger=trigger, method_name="execute_complete")
            return self._finish(started)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """
        Check the jobs that have ended.

        :raises ClaudeCodePublishError: a job failed.
        :raises AirflowTaskTimeout: the jobs had not ended at the task's ``execution_timeout``, and were cancelled.
        """
        started = _Started(**json.loads(event["resume"]))
        with fail_without_retry():
            self._open(context)
            if event["status"] == "error":
                self.log.warning("%s Waiting for them here", event["message"])
            try:
                return self._finish(started)
            except ClaudeCodePublishError as error:
                if event["status"] == "timeout":
                    raise AirflowTaskTimeout(
                        f"The jobs were cancelled at the task's execution_timeout. {error}"
                    ) from None
                raise

    def on_kill(self) -> None:
        """Cancel the jobs that were started."""
        if hasattr(self, "_jobs"):
            self._jobs.cancel_started()

    def _open(self, context: Context) -> Client:
        """Open the client for the jobs."""
        # Loads google.cloud, so not when a Dag file is parsed.
        from airflow_provider_claude_code.analytics.engines.bigquery_models import ModelJobs

        self.refuse_unusable_names()
        ti = context["ti"]
        client = self.get_client()
        prefix = self.job_prefix(ti, self.model_dataset_id or self.dataset_id, self._prefix)
        self._jobs = ModelJobs(client, prefix, airflow_labels(ti.dag_id, ti.task_id), self.kms_key_name)
        return client

    def _start(self, client: Client, settings: Settings, kinds: dict[str, str]) -> _Started:
        from airflow_provider_claude_code.analytics.engines.bigquery import (
            COMPUTED_ONCE,
            bigquery_relations,
            table_in_sql,
        )
        from airflow_provider_claude_code.analytics.engines.bigquery_models import DatasetModel
        from airflow_provider_claude_code.targets.bigquery.errors import typed_bigquery_errors

        project = self.dataset_project
        with typed_bigquery_errors(self.dataset):
            tables = self.existing(DATA_TABLES, client)
        relations = bigquery_relations(
            project,
            str(self.dataset_id),
            self.table_prefix,
            tables=(*tables, LOADS.name),
            roster=self.roster,
            mapping=self.mapping,
        )
        model_dataset = self.model_dataset_id or self.dataset_id
        table_ids = {name: f"{project}.{model_dataset}.{self._prefix}{name}" for name in self.models}
        for table_id in table_ids.values():
            table_in_sql("model_dataset_id or model_prefix", table_id)
        with typed_bigquery_errors(self.dataset):
            self._jobs.location = self.location or client.get_dataset(f"{project}.{model_dataset}").location
            job_ids = self._jobs.start_replacing(
                DatasetModel(
                    model=models()[name],
                    table_id=table_id,
                    query=render(name, relations, settings, COMPUTED_ONCE),
                    materialized=kinds[name],
                )
                for name, table_id in table_ids.items()
            )
        return _Started(job_ids, table_ids, kinds, tables, self._jobs.location)

    def _finish(self, started: _Started) -> dict[str, Any]:
        from airflow_provider_claude_code.targets.bigquery.errors import typed_bigquery_errors

        self._jobs.location = started.location
        with typed_bigquery_errors(self.dataset):
            jobs = self._jobs.wait(started.job_ids, started.table_ids)
        for name, job in jobs.items():
            billed = job.total_bytes_billed
            self.log.info(
                "Created the %s %s%s",
                started.materialized[name],
                started.table_ids[name],
                "" if billed is None else f" ({billed / 2**20:,.0f} MiB billed)",
            )
        add_hook_lineage(
            self.google_hook,
            inputs=map(self.table_uri, started.tables),
            # The id of a domain's project has dots itself.
            outputs=[asset_uri("bigquery://" + "/".join(name.rsplit(".", 2))) for name in started.table_ids.values()],
        )
        missing = [name for name, stream in STREAMS.items() if not set(stream.table_names) & set(started.tables)]
        if missing:
            self.log.info(
                "These streams are not loaded, so the models treat them as empty: %s. Create the models again once "
                "they are",
                ", ".join(missing),
            )
        return {"models": started.table_ids, "streams_not_loaded": missing}

    @property
    def _prefix(self) -> str:
        return self.table_prefix if self.model_prefix is None else self.model_prefix


def _listed_models(names: Iterable[str] | None) -> list[str]:
    if names is None:
        return [model.name for model in models().values() if not model.is_personal]
    return listed("models", names, models())


def _check_materialized(materialized: str | Mapping[str, str]) -> None:
    if isinstance(materialized, str):
        one_of("materialized", materialized, MATERIALIZED)
        return
    if not isinstance(materialized, Mapping):
        raise ClaudeCodeConfigurationError(
            f"materialized is {materialized!r}; expected 'view', 'table', or one of them by the name of a model."
        )
    for name, kind in materialized.items():
        one_of("A name in materialized", name, models())
        one_of(f"materialized[{name!r}]", kind, MATERIALIZED)


def _materialized(materialized: str | Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the materialization of each model."""
    if isinstance(materialized, str):
        return dict.fromkeys(names, materialized)
    if others := materialized.keys() - set(names):
        raise ClaudeCodeConfigurationError(
            f"materialized names {', '.join(sorted(others))}, but models does not. Add them to models, or remove them."
        )
    return {name: materialized.get(name, "view") for name in names}

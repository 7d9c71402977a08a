"""The models as views or tables of a dataset, and how one is replaced whole."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.cloud import bigquery
from google.cloud.bigquery import QueryJob, QueryJobConfig

from airflow_provider_claude_code.analytics.queries import Model
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.targets.bigquery.schema import STANDARD_TYPES, find_table
from airflow_provider_claude_code.targets.bigquery.task_jobs import TaskJobs

MODEL_LABEL = "claude_code_model"
"""The label of views and tables that says which model they are. Nothing without it is replaced."""
TRY_LABEL = "claude_code_try"
"""The job label that says which try of a task a job belongs to."""

_BATCH = "models"
_NEW = "__new"


@dataclass(frozen=True, kw_only=True)
class DatasetModel:
    """
    A model of a dataset.

    :param model: the model.
    :param table_id: its name with project and dataset.
    :param query: its query.
    :param materialized: ``view`` or ``table``.
    """

    model: Model
    table_id: str
    query: str
    materialized: str


class ModelJobs(TaskJobs):
    """
    The jobs of a task that replace models, one per model.

    A view is replaced by a view, and a table by a table, in one atomic statement. BigQuery has none that replaces a
    view by a table, or a table by a view, so such a job has several statements. It completes even if the task is
    killed. Between the DROP of the one and the CREATE of the other, readers find neither.
    """

    def start_replacing(self, models: Iterable[DatasetModel]) -> dict[str, str]:
        """
        Start to replace models, once it is known that all may be replaced and that all queries can run.

        Jobs of an earlier try that still run are cancelled first, so that none of them replaces a model later.

        :param models: the models.
        :return: the jobs by model.
        :raises ClaudeCodeConfigurationError: something else has the name of a model; then no job was started.
        """
        models = list(models)
        number = self._cancel_earlier(_BATCH)
        existing = {model.table_id: find_table(self._client, model.table_id) for model in models}
        beside = [
            model.table_id + _NEW
            for model in models
            if model.materialized == "table" and _kind(existing[model.table_id]) != "TABLE"
        ]
        _refuse_what_is_not_ours(existing | {table_id: find_table(self._client, table_id) for table_id in beside})
        scripts = {model.model.name: self._script(model, existing[model.table_id]) for model in models}
        job_ids = self._ids(_BATCH, number, scripts)
        labels = {**self.labels, TRY_LABEL: uuid.uuid4().hex}
        for name, script in scripts.items():
            self._start_query(job_ids[name], script, labels)
        return job_ids

    def wait(self, job_ids: Mapping[str, str], table_ids: Mapping[str, str]) -> dict[str, QueryJob]:
        """
        Wait until the jobs have ended, and return them.

        :param job_ids: the jobs by model.
        :param table_ids: by model, its name with project and dataset, for the message.
        :raises ClaudeCodePublishError: a job failed; the message says which models were replaced.
        """
        jobs = self._wait(
            job_ids, table_ids, doing="Replacing models in BigQuery", outcomes=("Replaced", "not replaced")
        )
        return cast(dict[str, QueryJob], jobs)

    def _script(self, model: DatasetModel, existing: bigquery.Table | None) -> str:
        """Return the statements that replace a model; trying its query costs nothing."""
        config = QueryJobConfig(labels=self.labels, dry_run=True)
        tried = self._client.query(model.query, job_config=config, location=self.location)
        labels = {**(existing.labels if existing else {}), MODEL_LABEL: model.model.name}
        if model.materialized == "view":
            dropped = f"DROP TABLE IF EXISTS `{model.table_id}`;\n" if _kind(existing) == "TABLE" else ""
            return dropped + create_statement(model.model, model.table_id, model.query, labels)
        types = {column.name: STANDARD_TYPES.get(column.field_type, column.field_type) for column in tried.schema or ()}

        def created(table_id: str) -> str:
            return create_statement(
                model.model, table_id, model.query, labels, column_types=types, kms_key_name=self._kms_key_name
            )

        if _kind(existing) == "TABLE":
            return created(model.table_id)
        # The table is created beside the view, which readers can query until the table is complete. The same statements
        # run if there is no view: an earlier job may have failed after its DROP, and left its table under the new name.
        new, name = model.table_id + _NEW, model.table_id.rpartition(".")[2]
        return f"{created(new)};\nDROP VIEW IF EXISTS `{model.table_id}`;\nALTER TABLE `{new}` RENAME TO `{name}`"

    def _start_query(self, job_id: str, script: str, labels: Mapping[str, str]) -> None:
        config = QueryJobConfig(labels=dict(labels))

        def insert() -> QueryJob:
            # The caller tries again, since it tells a lost answer from a job of another try.
            no_retry: Any = None
            return self._client.query(
                script, config, job_id=job_id, location=self.location, retry=no_retry, job_retry=no_retry
            )

        self._start(job_id, (TRY_LABEL, labels[TRY_LABEL]), insert)


def create_statement(
    model: Model,
    table_id: str,
    query: str,
    labels: Mapping[str, str],
    *,
    column_types: Mapping[str, str] | None = None,
    kms_key_name: str | None = None,
) -> str:
    """
    Return the GoogleSQL that makes a model a view or a table, with a description of each column.

    :param model: the model.
    :param table_id: its name with project and dataset.
    :param query: its query.
    :param labels: labels of the view or table.
    :param column_types: the types of the columns of a table; a view has none of its own.
    :param kms_key_name: the key that encrypts a table, else Google's.
    """
    kind, types = ("VIEW", {}) if column_types is None else ("TABLE", column_types)
    # JSON's strings are GoogleSQL's, too.
    columns = [
        " ".join([name, *types.get(name, "").split(), f"OPTIONS (description = {json.dumps(text)})"])
        for name, text in model.columns.items()
    ]
    pairs = ", ".join(f"({json.dumps(name)}, {json.dumps(value)})" for name, value in labels.items())
    key = f", kms_key_name = {json.dumps(kms_key_name)}" if kms_key_name else ""
    return (
        f"CREATE OR REPLACE {kind} `{table_id}` (\n  " + ",\n  ".join(columns) + "\n)\n"
        f"OPTIONS (description = {json.dumps(model.description)}, labels = [{pairs}]{key})\nAS\n{query}"
    )


def _kind(table: bigquery.Table | None) -> str | None:
    return table.table_type if table else None


def _refuse_what_is_not_ours(existing: Mapping[str, bigquery.Table | None]) -> None:
    taken = [
        f"{name} is a {table.table_type}"
        for name, table in existing.items()
        if table is not None and MODEL_LABEL not in table.labels
    ]
    if taken:
        raise ClaudeCodeConfigurationError(
            f"{'; '.join(taken)} without the label {MODEL_LABEL}, so this operator did not create it. Nothing was "
            "changed. Choose another model_prefix or model_dataset_id, or delete it."
        )

"""The load jobs of a task."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import date
from typing import IO, Any, Literal, cast

import msgspec
from google.cloud import bigquery
from google.cloud.bigquery import LoadJob, LoadJobConfig, SchemaField

from airflow_provider_claude_code.tables.spool import SpooledTable
from airflow_provider_claude_code.targets.bigquery.task_jobs import TaskJobs

LOAD_LABEL = "claude_code_load"
"""The job label that says which load a job belongs to."""

# The keys of a column's name, type and mode in the API.
_TYPE_FIELDS = ("name", "type", "mode", "precision", "scale", "maxLength", "rangeElementType", "timestampPrecision")


class LoadJobs(TaskJobs):
    """
    The load jobs of a task in a run, of all its tries.

    Those of a load of a day are one per table and a last one for ``loads``.
    """

    def ids(self, day: date, number: int, tables: Iterable[str]) -> dict[str, str]:
        """Return the ids of the jobs of a load by table."""
        return self._ids(_batch(day), number, tables)

    def cancel_earlier_loads(self, day: date) -> int:
        """
        Cancel the jobs of earlier loads of a day by this task that still run, and wait until they have ended.

        :return: the first number that no load has.
        """
        return self._cancel_earlier(_batch(day))

    def start_replacing(
        self, job_id: str, file: SpooledTable, table: bigquery.Table, partition_id: str, load_id: str
    ) -> None:
        """Start to replace a day of a table by a Parquet file."""
        config = self._config(table, load_id, "PARQUET", "WRITE_TRUNCATE")
        with file.path.open("rb") as content:
            self._upload(job_id, content, file.size, partition_id, config)

    def append(self, job_id: str, rows: Iterable[Mapping[str, Any]], table: bigquery.Table, load_id: str) -> LoadJob:
        """Append rows to a table, and return the job when it has ended."""
        lines = msgspec.json.Encoder().encode_lines(rows)
        config = self._config(table, load_id, "NEWLINE_DELIMITED_JSON", "WRITE_APPEND")
        job = self._upload(job_id, io.BytesIO(lines), len(lines), table.reference, config)
        self._wait_for(job)
        return job

    def wait(self, job_ids: Mapping[str, str], day: date, table_ids: Mapping[str, str]) -> None:
        """
        Wait until the jobs of a load have ended.

        :param job_ids: the jobs by table.
        :param day: the day that they replace.
        :param table_ids: the names of the tables with project and dataset, for the message.
        :raises ClaudeCodePublishError: a job failed; the message says which tables hold which load.
        """
        self._wait(job_ids, table_ids, doing=f"Loading {day} into BigQuery", outcomes=("New load", "previous state"))

    def _config(
        self,
        table: bigquery.Table,
        load_id: str,
        source_format: Literal["PARQUET", "NEWLINE_DELIMITED_JSON"],
        write_disposition: Literal["WRITE_TRUNCATE", "WRITE_APPEND"],
    ) -> LoadJobConfig:
        config = LoadJobConfig(
            source_format=source_format,
            write_disposition=write_disposition,
            create_disposition="CREATE_NEVER",
            schema=[_bare(field.to_api_repr()) for field in table.schema],
            # Labels allow only some characters.
            labels={**self.labels, LOAD_LABEL: load_id.lower().replace(".", "-")},
        )
        if self._kms_key_name:
            config.destination_encryption_configuration = bigquery.EncryptionConfiguration(self._kms_key_name)
        return config

    def _upload(
        self,
        job_id: str,
        content: IO[bytes],
        size: int,
        destination: str | bigquery.TableReference,
        config: LoadJobConfig,
    ) -> LoadJob:
        def upload() -> LoadJob:
            return self._client.load_table_from_file(
                content,
                destination,
                rewind=True,
                size=size,
                job_id=job_id,
                location=self.location,
                job_config=config,
            )

        return cast(LoadJob, self._start(job_id, (LOAD_LABEL, config.labels[LOAD_LABEL]), upload))


def load_number(job_id: str) -> int:
    """Return the number of the load that a job belongs to."""
    return int(job_id.split("_")[-2])


def _batch(day: date) -> str:
    return f"{day:%Y%m%d}"


def _bare(field: Mapping[str, Any]) -> SchemaField:
    """Return only the name, type and mode of a column, since few accounts may set its policy tags."""
    bare = {name: field[name] for name in _TYPE_FIELDS if name in field}
    if "fields" in field:
        bare["fields"] = [_bare(member).to_api_repr() for member in field["fields"]]
    return SchemaField.from_api_repr(bare)

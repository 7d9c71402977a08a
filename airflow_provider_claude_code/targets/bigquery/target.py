"""Publishes days as partitions of BigQuery tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    SupersededError,
)
from airflow_provider_claude_code.tables.contract import LOADED_AT
from airflow_provider_claude_code.tables.loads import LOADS, Load
from airflow_provider_claude_code.targets.base import StartedLoad, named_if_partly_replaced, would_erase_error
from airflow_provider_claude_code.targets.bigquery.errors import meaning_of, typed_bigquery_errors
from airflow_provider_claude_code.targets.bigquery.jobs import LoadJobs, load_number
from airflow_provider_claude_code.targets.bigquery.schema import DatasetTables, find_table

BEFORE_ALL_LOADS = datetime(1970, 1, 1, tzinfo=UTC)
"""Replaces the missing ``loaded_at`` of rows that no load has written."""


@dataclass(frozen=True, kw_only=True)
class _Details:
    """
    The data that is needed to finish a load.

    :param location: where the jobs run.
    :param loads_job_id: the job that is to append to ``loads``.
    :param table_ids: by table, its name with project and dataset; ``loads`` is among them.
    :param shared_of_loads: the values that all rows of ``loads`` share.
    :param loads_rows: by table, the other values of its row of ``loads``.
    """

    location: str
    loads_job_id: str
    table_ids: dict[str, str]
    shared_of_loads: dict[str, Any]
    loads_rows: dict[str, dict[str, Any]]

    @property
    def day(self) -> date:
        return date.fromisoformat(self.shared_of_loads["date"])

    @property
    def loaded_at(self) -> datetime:
        return datetime.fromisoformat(self.shared_of_loads["loaded_at"])

    @property
    def load_id(self) -> str:
        return str(self.shared_of_loads["load_id"])

    @property
    def organization_id(self) -> str:
        return str(self.shared_of_loads["organization_id"])

    def has_rows(self, table: str) -> bool:
        return bool(self.loads_rows[table]["row_count"])


class BigQueryTarget:
    """
    A dataset's tables, which hold days of one organisation as partitions.

    :param client: the client of the Google Cloud Connection, for the jobs' project.
    :param dataset: the dataset.
    :param schema: its tables.
    :param jobs: the load jobs of the task.
    """

    def __init__(
        self, client: bigquery.Client, dataset: bigquery.DatasetReference, schema: DatasetTables, jobs: LoadJobs
    ) -> None:
        self._client = client
        self._dataset = dataset
        self._schema = schema
        self._jobs = jobs
        self._tables = schema.data_tables
        # As far as they have been asked for.
        self._known_fields_of_loads: list[bigquery.SchemaField] = []

    @property
    def project(self) -> str:
        """The project that the jobs run in."""
        return self._client.project

    @property
    def location(self) -> str:
        """Where the jobs run, once a load was started or resumed."""
        return self._jobs.location

    def last_loaded_at(self, day: date) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day, which its rows or ``loads`` hold."""
        with typed_bigquery_errors(self._dataset):
            moments = [self._loaded_at(table, day) for table in self._tables]
            return max(filter(None, [*moments, self._newest_recorded(day)]), default=None)

    def start(self, load: Load, *, keep_rows: bool) -> StartedLoad:
        """
        Start the load jobs of a day, all before any is waited for.

        See :meth:`Target.start <airflow_provider_claude_code.targets.base.Target.start>`. What cannot be loaded is
        refused before any job is started.
        """
        with typed_bigquery_errors(self._dataset):
            self._jobs.location, tables = self._schema.prepare(load.organization_id, load.day, load.organization_name)
            number = self._jobs.cancel_earlier_loads(load.day)
            if keep_rows:
                self._refuse_to_erase(load)
            newest = self.last_loaded_at(load.day)
            if newest is not None and newest >= load.loaded_at:
                raise SupersededError(f"another writer published a newer load of {load.day}")
            # If there are no rows before or after, a job could only erase rows that another writer loads meanwhile.
            replaced = load.to_write(keep_rows=keep_rows)
            job_ids = self._jobs.ids(load.day, number, [*replaced, LOADS.name])
            loads_job_id = job_ids.pop(LOADS.name)
            with (
                named_if_partly_replaced(load.day, job_ids) as started,
                typed_bigquery_errors(self._dataset),
            ):
                for table, job_id in job_ids.items():
                    partition_id = self._schema.partition_id(table, load.day)
                    self._jobs.start_replacing(job_id, load.files[table], tables[table], partition_id, load.load_id)
                    started.append(table)
        rows = msgspec.to_builtins(load.rows())
        shared = {
            name: value
            for name, value in rows[0].items()
            if name not in ("table_name", "row_count") and all(row[name] == value for row in rows)
        }
        details = _Details(
            location=self.location,
            loads_job_id=loads_job_id,
            table_ids=self._schema.table_ids(),
            shared_of_loads=shared,
            loads_rows={
                row["table_name"]: {name: value for name, value in row.items() if name not in shared} for row in rows
            },
        )
        return StartedLoad(job_ids=job_ids, details=dataclasses.asdict(details))

    def resume(self, started: StartedLoad) -> None:
        """
        Take over a load that another process has started.

        :raises ClaudeCodeConfigurationError: it was started on other tables, or they are another organisation's by now.
        """
        details = _Details(**started.details)
        self._jobs.location = details.location
        if details.table_ids != (table_ids := self._schema.table_ids()):
            raise ClaudeCodeConfigurationError(
                f"The task's arguments changed while it was deferred: the load of {details.day} was started on "
                f"{', '.join(details.table_ids.values())}, but the arguments now name "
                f"{', '.join(table_ids.values())}, where nothing was changed. Load {details.day} again with the "
                "arguments that you want; with the earlier ones, too, since its load is not recorded there."
            )
        with typed_bigquery_errors(self._dataset):
            self._schema.refuse_another_owner(table_ids, details.organization_id)

    def finish(self, started: StartedLoad) -> dict[str, Any]:
        """
        Wait for the load jobs of a day, check what they left behind, and record the load.

        See :meth:`Target.finish <airflow_provider_claude_code.targets.base.Target.finish>`.

        :return: the table and the job of each table, for the summary.
        """
        details = _Details(**started.details)
        with typed_bigquery_errors(self._dataset):
            self._jobs.wait(started.job_ids, details.day, details.table_ids)
            if emptied := [table for table in started.job_ids if not details.has_rows(table)]:
                self._refuse_rows_of_other_writers(details, [table for table in self._tables if table not in emptied])
                for table in emptied:
                    self._delete_older_rows(details, table)
            self._refuse_rows_of_other_writers(details, self._tables)
            self._append_to_loads(details)
            # A writer that began earlier may end later. As both look again after they have recorded their loads, the
            # newest load in loads is the one that the tables hold.
            try:
                self._refuse_rows_of_other_writers(details, self._tables)
                newest = self._newest_recorded(details.day)
                if newest is not None and newest > details.loaded_at:
                    raise SupersededError(f"another writer published a newer load of {details.day}")
            except SupersededError:
                self._delete_from_loads(details)
                raise
        return self._places(started.job_ids)

    def shortened(self, summary: dict[str, Any]) -> dict[str, Any]:
        """
        Return the summary of a day that this target has loaded without what :meth:`whole` can tell again.

        A deferred task remembers it.
        """
        if not summary["published"]:
            return summary
        jobs = summary["jobs"]
        # Tables without rows may have no job.
        shortened = [load_number(next(iter(jobs.values()))), *jobs] if jobs else []
        return {name: value for name, value in summary.items() if name not in self._places({})} | {"jobs": shortened}

    def whole(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the whole summary of a day from what :meth:`shortened` left of it."""
        if not summary["published"]:
            return summary
        jobs = summary["jobs"]
        day = date.fromisoformat(summary["day"])
        return summary | self._places(self._jobs.ids(day, jobs[0], jobs[1:]) if jobs else {})

    def cancel(self, started: StartedLoad) -> None:
        """Cancel the load jobs of a day, without waiting."""
        with typed_bigquery_errors(self._dataset):
            self._jobs.cancel(started.job_ids.values())

    def cancel_started(self) -> None:
        """Cancel the jobs that this process has started, without waiting."""
        self._jobs.cancel_started()

    def _places(self, job_ids: dict[str, str]) -> dict[str, Any]:
        tables = {table: self._schema.table_id(table) for table in self._tables}
        return {"tables": tables, "jobs": job_ids, "location": self.location}

    def _loaded_at(self, table: str, day: date) -> datetime | None:
        """Return ``loaded_at`` of a day's rows, or ``None`` without rows."""
        try:
            return self._loaded_at_of_partition(table, day)
        except (NotFound, BadRequest):
            # No table yet, a view, or not partitioned by day: the check of the tables says so.
            return None

    def _loaded_at_of_partition(self, table: str, day: date) -> datetime | None:
        """Return ``loaded_at`` of a partition's rows, of which reading one costs nothing, or ``None`` without rows."""
        field = bigquery.SchemaField(LOADED_AT.name, LOADED_AT.type)
        partition = bigquery.TableReference.from_string(self._schema.partition_id(table, day))
        rows = list(self._client.list_rows(partition, selected_fields=[field], max_results=1))
        if not rows:
            return None
        # There is no value if the column is still to be added.
        return next(iter(rows[0].values()), None) or BEFORE_ALL_LOADS

    def _newest_recorded(self, day: date) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day into one of the tables that ``loads`` has a row of."""
        fields = self._fields_of_loads()
        month = bigquery.TableReference.from_string(f"{self._schema.table_id(LOADS.name)}${day:%Y%m}")
        try:
            rows = list(self._client.list_rows(month, selected_fields=fields)) if fields else []
        except (NotFound, BadRequest):
            return None
        recorded = [dict(zip((field.name.lower() for field in fields), row.values(), strict=True)) for row in rows]
        moments = [row["loaded_at"] for row in recorded if row["date"] == day and row["table_name"] in self._tables]
        return max(filter(None, moments), default=None)

    def _fields_of_loads(self) -> list[bigquery.SchemaField]:
        """
        Return the columns of ``loads`` that tell when which table was loaded; none without the table or one of them.

        BigQuery returns the columns of a row in the order of the table, whatever the order in which they are asked for.
        """
        if not self._known_fields_of_loads:
            names = ("date", "table_name", "loaded_at")
            table = find_table(self._client, self._schema.table_id(LOADS.name))
            fields = [field for field in table.schema if field.name.lower() in names] if table else []
            self._known_fields_of_loads = fields if len(fields) == len(names) else []
        return self._known_fields_of_loads

    def _refuse_to_erase(self, load: Load) -> None:
        # Do not ignore errors: a partition that could not be read is not an empty one.
        held = [
            table
            for table, file in load.files.items()
            if not file.row_count and self._loaded_at_of_partition(table, load.day) is not None
        ]
        if held:
            raise would_erase_error(
                load.day, {self._schema.table_id(table): self._row_count(table, load.day) for table in held}
            )

    def _row_count(self, table: str, day: date) -> int | str:
        partition = find_table(self._client, self._schema.partition_id(table, day))
        return (partition and partition.num_rows) or "an unknown number"

    def _refuse_rows_of_other_writers(self, details: _Details, tables: Iterable[str]) -> None:
        """Check that tables contain the rows of a load, or none."""
        for table in tables:
            expected = details.loaded_at if details.has_rows(table) else None
            if self._loaded_at(table, details.day) != expected:
                raise SupersededError(f"another writer replaced {self._schema.table_id(table)} of {details.day}")

    def _delete_older_rows(self, details: _Details, table: str) -> None:
        """Delete rows that a load without rows left in a partition. Newer rows belong to another writer."""
        moment = self._loaded_at(table, details.day)
        if moment is not None and moment < details.loaded_at:
            self._schema.refuse_another_owner([table], details.organization_id)
            self._client.delete_table(self._schema.partition_id(table, details.day), not_found_ok=True)

    def _append_to_loads(self, details: _Details) -> None:
        table = self._client.get_table(self._schema.table_id(LOADS.name))
        rows = [details.shared_of_loads | row for row in details.loads_rows.values()]
        job = self._jobs.append(details.loads_job_id, rows, table, details.load_id)
        if job.error_result:
            reason = job.error_result.get("reason")
            error_class, advice = meaning_of(reason)
            raise error_class(
                f"{details.day} is loaded, but the load could not be recorded in {self._schema.table_id(LOADS.name)} "
                f"({job.job_id}: {reason}). {advice} The job's page says more."
            )

    def _delete_from_loads(self, details: _Details) -> None:
        """Delete a load's rows of ``loads`` if the tables do not contain it, since the newest rows describe them."""
        parameters = [
            bigquery.ScalarQueryParameter("day", "DATE", details.day),
            bigquery.ScalarQueryParameter("load_id", "STRING", details.load_id),
        ]
        table_id = self._schema.table_id(LOADS.name)
        self._client.query_and_wait(
            f"DELETE FROM `{table_id}` WHERE date = @day AND load_id = @load_id",  # noqa: S608
            job_config=bigquery.QueryJobConfig(query_parameters=parameters, labels=self._jobs.labels),
            location=self.location,
        )

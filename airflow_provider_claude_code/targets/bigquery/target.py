"""Days as partitions: what the tables must look like in BigQuery, and how a day is replaced whole."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any, Literal, cast

import msgspec
import requests
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery import DEFAULT_RETRY, LoadJob, LoadJobConfig, SchemaField, TimePartitioning

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.storage.errors import LATER, store_error
from airflow_provider_claude_code.tables.contract import Table
from airflow_provider_claude_code.tables.loads import LOADS, Load

log = logging.getLogger(__name__)

ORGANIZATION_LABEL = "claude_code_organization"
"""The table label that says whose usage a table holds."""
LOAD_LABEL = "claude_code_load"
"""The job label that says which load a job belongs to."""
UPLOAD_DEADLINE = 300.0
"""Seconds within which the start of one load job is tried again."""

# BigQuery's API answers with the legacy names of the types.
_TYPE_NAMES = {"INTEGER": "INT64", "BOOLEAN": "BOOL", "FLOAT": "FLOAT64"}
# What of a column in the API is its name, type or mode.
_TYPE_FIELDS = ("name", "type", "mode", "precision", "scale", "maxLength", "rangeElementType", "timestampPrecision")


def bigquery_schema(table: Table) -> list[SchemaField]:
    """Return a table's BigQuery schema."""
    return [
        SchemaField(column.name, column.type, "NULLABLE" if column.nullable else "REQUIRED", None, column.description)
        for column in table.columns
    ]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """
    What to ask of tables that are created.

    :param labels: labels of new tables and of all jobs.
    :param kms_key_name: the key that encrypts tables and jobs, else Google's.
    :param partition_expiration: after how long BigQuery deletes a day, else never.
    :param require_partition_filter: whether queries must name the days they read.
    """

    labels: Mapping[str, str]
    kms_key_name: str | None = None
    partition_expiration: timedelta | None = None
    require_partition_filter: bool = False


@dataclass(frozen=True, kw_only=True)
class StartedLoad:
    """
    Load jobs that were started and are to be finished, as JSON: a deferred task remembers it.

    :param day: the UTC day, ``YYYY-MM-DD``.
    :param load_id: identifies the load.
    :param loaded_at: ``loaded_at`` of the load in microseconds since 1970.
    :param organization_id: the organisation whose usage it is.
    :param location: where the dataset is.
    :param number: counts the loads of the day by the same task of the same run.
    :param table_ids: by table, its name with project and dataset; ``loads`` is among them.
    :param job_ids: by table, its load job; none where an empty day replaces nothing.
    :param row_counts: by table, the rows it is to hold.
    :param shared_of_loads: what the rows of ``loads`` have in common.
    :param loads_rows: what they do not.
    """

    day: str
    load_id: str
    loaded_at: int
    organization_id: str
    location: str
    number: int
    table_ids: dict[str, str]
    job_ids: dict[str, str]
    row_counts: dict[str, int]
    shared_of_loads: dict[str, Any]
    loads_rows: list[dict[str, Any]]


class BigQueryTarget:
    """
    A dataset's tables, which hold days of one organisation as partitions.

    :param client: the client of the Google Cloud Connection, for the jobs' project.
    :param dataset: the dataset.
    :param table_prefix: what the names of all tables begin with.
    :param tables: the tables that are loaded.
    :param options: how tables are created.
    :param create_dataset: whether to create a dataset that is missing.
    :param job_prefix: begins the ids of all jobs of a task in a run, whatever its try.
    """

    def __init__(
        self,
        client: bigquery.Client,
        dataset: bigquery.DatasetReference,
        *,
        table_prefix: str,
        tables: Iterable[Table],
        options: TableOptions,
        create_dataset: bool,
        job_prefix: str,
    ) -> None:
        self._client = client
        self._dataset = dataset
        self._table_prefix = table_prefix
        self._contracts = {table.name: table for table in tables}
        self._tables = tuple(self._contracts)
        self._options = options
        self._create_dataset = create_dataset
        self._job_prefix = job_prefix
        self._location: str = client.location
        self.started_jobs: list[LoadJob] = []

    @property
    def project(self) -> str:
        """The project that the jobs run in."""
        return self._client.project

    def table_id(self, table: str) -> str:
        """Return a table's name with project and dataset."""
        return f"{self._dataset.project}.{self._dataset.dataset_id}.{self._table_prefix}{table}"

    def last_loaded_at(self, day: date) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day, which its rows or ``loads`` hold."""
        with typed_errors(self._dataset):
            moments = [self._loaded_at(table, day) for table in self._tables]
            return max(filter(None, [*moments, self._newest_remembered(day, self._tables)]), default=None)

    def publish(self, load: Load, *, keep_rows: bool) -> dict[str, Any]:
        """Replace a day; see :class:`~airflow_provider_claude_code.targets.base.Target`."""
        return self.finish(self.start(load, keep_rows=keep_rows))

    def start(self, load: Load, *, keep_rows: bool) -> StartedLoad:
        """
        Start the load jobs of a day, all before any is waited for.

        Refuses what cannot be loaded before any job is started; raises what
        :meth:`~airflow_provider_claude_code.targets.base.Target.publish` does.
        """
        with typed_errors(self._dataset):
            tables = self._prepare_tables(load)
            number = self._settle_earlier_jobs(load.day)
            if keep_rows:
                self._refuse_to_erase(load)
            newest = self.last_loaded_at(load.day)
            if newest is not None and newest >= load.loaded_at:
                raise SupersededError(f"another writer published a newer load of {load.day}")
            # Where there are no rows and none are to come, a job could only erase what another writer loads meanwhile.
            job_ids = {} if keep_rows else self._job_ids(load.day, number)
            for table in job_ids:
                file = load.files[table]
                config = self._job_config(tables[table], load.load_id, "PARQUET", "WRITE_TRUNCATE")
                destination = _partition(self.table_id(table), load.day)
                with file.path.open("rb") as content:
                    self._start_job(content, file.size, destination, job_ids[table], config)
        rows = msgspec.to_builtins(load.rows())
        shared = {name: value for name, value in rows[0].items() if all(row[name] == value for row in rows)}
        return StartedLoad(
            day=load.day.isoformat(),
            load_id=load.load_id,
            loaded_at=_microseconds(load.loaded_at),
            organization_id=load.organization_id,
            location=self._location,
            number=number,
            table_ids=self._table_ids(),
            job_ids=job_ids,
            row_counts={table: file.row_count for table, file in load.files.items()},
            shared_of_loads=shared,
            loads_rows=[{name: value for name, value in row.items() if name not in shared} for row in rows],
        )

    def refuse_another_target(self, started: StartedLoad) -> None:
        """
        See to it that this is the target on which a load was started, and that it still has the same owner.

        :raises ClaudeCodeConfigurationError: it is another one.
        """
        if started.table_ids != self._table_ids():
            raise ClaudeCodeConfigurationError(
                f"The task's arguments changed while it was deferred: the load of {started.day} was started on "
                f"{', '.join(started.table_ids.values())}, but the arguments now name "
                f"{', '.join(self._table_ids().values())}, where nothing was changed. Load {started.day} again with "
                "the arguments that you want; with the earlier ones, too, since its load is not recorded there."
            )
        with typed_errors(self._dataset):
            for table in started.table_ids:
                self._refuse_another_owner(self._client.get_table(self.table_id(table)), started.organization_id)

    def finish(self, started: StartedLoad) -> dict[str, Any]:
        """
        Wait for the load jobs of a day, check what they left behind, and remember the load.

        :return: the table and the job of each table, for the summary.
        :raises ClaudeCodePublishError: a job failed; the message says which tables hold which load.
        :raises SupersededError: another load got in between.
        """
        day = date.fromisoformat(started.day)
        self._location = started.location
        with typed_errors(self._dataset):
            self._wait(started)
            if emptied := [table for table in started.job_ids if started.row_counts[table] == 0]:
                self._refuse_rows_of_others(started, day, started.row_counts.keys() - set(emptied))
                for table in emptied:
                    self._delete_older_rows(table, day, started)
            self._refuse_rows_of_others(started, day, started.row_counts)
            self._append_loads(started, day)
            # A writer that began earlier may end later. As both look again after they have recorded their loads, the
            # newest load in loads is the one that the tables hold.
            try:
                self._refuse_rows_of_others(started, day, started.row_counts)
                newest = self._newest_remembered(day, started.row_counts)
                if newest is not None and _microseconds(newest) > started.loaded_at:
                    raise SupersededError(f"another writer published a newer load of {day}")
            except SupersededError:
                self._withdraw_loads(started, day)
                raise
        return self._place(started.job_ids, started.location)

    def completed(self, day: dict[str, Any], location: str) -> dict[str, Any]:
        """
        Return the summary of a day that this target has loaded, with where it is.

        :param day: the summary without that; ``load`` counts the loads of the day by the task, if it had jobs.
        :param location: where the dataset is.
        """
        if not day["published"]:
            return day
        number = day["load"]
        jobs = {} if number is None else self._job_ids(date.fromisoformat(day["day"]), number)
        return {name: value for name, value in day.items() if name != "load"} | self._place(jobs, location)

    def _place(self, job_ids: dict[str, str], location: str) -> dict[str, Any]:
        return {
            "tables": {table: self.table_id(table) for table in self._tables},
            "jobs": job_ids,
            "location": location,
        }

    def cancel(self, started: StartedLoad) -> None:
        """Cancel the load jobs of a day."""
        with typed_errors(self._dataset):
            for job_id in started.job_ids.values():
                self._client.cancel_job(job_id, location=started.location)

    def cancel_started(self) -> None:
        """Cancel the jobs that this target has started, without waiting."""
        for job in self.started_jobs:
            job.cancel()

    # Tables

    def _table_ids(self) -> dict[str, str]:
        return {table: self.table_id(table) for table in (*self._tables, LOADS.name)}

    def _prepare_tables(self, load: Load) -> dict[str, bigquery.Table]:
        """Create what is missing and return the tables; refuse what does not fit before anything is changed."""
        dataset = self._get_or_create_dataset()
        self._location = dataset.location
        # Every load has loads, so of two organisations that find nothing yet, its creator is the one that may go on.
        contracts = [LOADS, *self._contracts.values()]
        existing = {contract.name: self._find_table(contract.name) for contract in contracts}
        label = _label_value(load.organization_id)
        problems = []
        for contract in contracts:
            if (table := existing[contract.name]) is not None:
                problems += [f"{self.table_id(contract.name)}: {text}" for text in differences(table, contract)]
                self._refuse_another_owner(table, load.organization_id)
        if problems:
            raise ClaudeCodeConfigurationError(
                "Tables that exist do not fit, and nothing was loaded. " + "; ".join(problems) + ". Choose another "
                "dataset or table_prefix, or change the tables."
            )
        self._refuse_expired(existing, dataset, load.day)
        tables = {}
        for contract in contracts:
            table = existing[contract.name]
            tables[contract.name] = (
                self._create_table(contract, label) if table is None else self._complete_table(table, contract, label)
            )
            # One that was missing may have been created by another organisation's load since.
            self._refuse_another_owner(tables[contract.name], load.organization_id)
            if (expires := tables[contract.name].expires) is not None:
                log.warning(
                    "BigQuery deletes %s, with all its days, on %s: take away its expiration, and the default table "
                    "expiration of the dataset.",
                    self.table_id(contract.name),
                    f"{expires:%Y-%m-%d}",
                )
        return tables

    def _refuse_another_owner(self, table: bigquery.Table, organization_id: str) -> None:
        owner = table.labels.get(ORGANIZATION_LABEL)
        if owner not in (None, _label_value(organization_id)):
            raise ClaudeCodeConfigurationError(
                f"{table.project}.{table.dataset_id}.{table.table_id} holds the usage of organisation {owner}, but the "
                f"key belongs to {quoted(organization_id)}. Replacing a day would delete the other's: give each "
                "organisation a dataset or a table_prefix of its own."
            )

    def _get_or_create_dataset(self) -> bigquery.Dataset:
        try:
            return self._client.get_dataset(self._dataset)
        except NotFound:
            if not self._create_dataset:
                raise ClaudeCodeConfigurationError(
                    f"There is no dataset {self._dataset.project}.{self._dataset.dataset_id}. Create it, or set "
                    "create_dataset=True."
                ) from None
        dataset = bigquery.Dataset(self._dataset)
        dataset.location = self._client.location
        return self._client.create_dataset(dataset, exists_ok=True)

    def _find_table(self, table: str) -> bigquery.Table | None:
        try:
            return self._client.get_table(self.table_id(table))
        except NotFound:
            return None

    def _create_table(self, contract: Table, organization: str) -> bigquery.Table:
        options = self._options
        table = bigquery.Table(self.table_id(contract.name), schema=bigquery_schema(contract))
        table.description = f"One row per {contract.grain}"
        table.labels = {**options.labels, ORGANIZATION_LABEL: organization}
        is_data = contract is not LOADS
        expiration = options.partition_expiration if is_data else None
        table.time_partitioning = TimePartitioning(
            type_=contract.partitioning,
            field="date",
            expiration_ms=int(expiration / timedelta(milliseconds=1)) if expiration else None,
        )
        if contract.clustering:
            table.clustering_fields = list(contract.clustering)
        if is_data:
            table.require_partition_filter = options.require_partition_filter
        if options.kms_key_name:
            table.encryption_configuration = bigquery.EncryptionConfiguration(options.kms_key_name)
        return self._client.create_table(table, exists_ok=True)

    def _complete_table(self, table: bigquery.Table, contract: Table, organization: str) -> bigquery.Table:
        """Add columns and the label that a table lacks, and let columns be null that may be; whatever else stays."""
        contract_columns = {column.name: column for column in contract.columns}
        relaxed = [
            SchemaField.from_api_repr({**column.to_api_repr(), "mode": "NULLABLE"})
            if column.mode == "REQUIRED" and contract_columns[column.name.lower()].nullable
            else column
            for column in table.schema
        ]
        present = {column.name.lower() for column in table.schema}
        # A REQUIRED column cannot be added to a table that has rows.
        missing = [
            SchemaField(name, column.type, "NULLABLE", None, column.description)
            for name, column in contract_columns.items()
            if name not in present
        ]
        changed = []
        if missing or relaxed != list(table.schema):
            table.schema = [*relaxed, *missing]
            changed.append("schema")
        if ORGANIZATION_LABEL not in table.labels:
            table.labels = {**table.labels, ORGANIZATION_LABEL: organization}
            changed.append("labels")
        return self._client.update_table(table, changed) if changed else table

    def _refuse_expired(
        self, existing: Mapping[str, bigquery.Table | None], dataset: bigquery.Dataset, day: date
    ) -> None:
        """Refuse a day whose rows BigQuery would delete as soon as they are loaded."""
        expirations = {}
        for name, table in existing.items():
            if table is not None:
                milliseconds = table.time_partitioning.expiration_ms
            elif name in self._tables and self._options.partition_expiration:
                milliseconds = self._options.partition_expiration / timedelta(milliseconds=1)
            else:
                milliseconds = dataset.default_partition_expiration_ms
            if milliseconds:
                expirations[name] = timedelta(milliseconds=milliseconds)
        if expiration := expirations.pop(LOADS.name, None):
            log.warning(
                "BigQuery deletes months of %s %g days after they began: take away its partition expiration, or older "
                "loads are forgotten.",
                self.table_id(LOADS.name),
                expiration / timedelta(days=1),
            )
        age = datetime.now(UTC) - datetime(day.year, day.month, day.day, tzinfo=UTC)
        expired = {self.table_id(name): expiration for name, expiration in expirations.items() if age >= expiration}
        if expired:
            raise ClaudeCodeConfigurationError(
                f"{day} is older than the partition expiration of "
                + ", ".join(
                    f"{table} ({expiration / timedelta(days=1):g} days)" for table, expiration in expired.items()
                )
                + ", so BigQuery would delete its rows at once, and nothing was loaded. Load later days only, or raise "
                "the expiration: of the table, or for new tables partition_expiration or the dataset's default."
            )

    # Rows

    def _loaded_at(self, table: str, day: date) -> datetime | None:
        """Return ``loaded_at`` of a day's rows, or ``None`` without rows."""
        try:
            return self._loaded_at_of_partition(table, day)
        except (NotFound, BadRequest):
            # No table yet, a view, or not partitioned by day: the check of the tables says so.
            return None

    def _loaded_at_of_partition(self, table: str, day: date) -> datetime | None:
        """Return ``loaded_at`` of a partition's rows, of which reading one costs nothing, or ``None`` without rows."""
        field = next(column for column in bigquery_schema(self._contracts[table]) if column.name == "loaded_at")
        partition = bigquery.TableReference.from_string(_partition(self.table_id(table), day))
        rows = list(self._client.list_rows(partition, selected_fields=[field], max_results=1))
        return rows[0]["loaded_at"] if rows else None

    def _newest_remembered(self, day: date, tables: Iterable[str]) -> datetime | None:
        """Return ``loaded_at`` of the newest load of a day into one of the tables that ``loads`` remembers."""
        fields = [field for field in bigquery_schema(LOADS) if field.name in ("date", "table_name", "loaded_at")]
        month = bigquery.TableReference.from_string(f"{self.table_id(LOADS.name)}${day:%Y%m}")
        try:
            rows = list(self._client.list_rows(month, selected_fields=fields))
        except (NotFound, BadRequest):
            return None
        moments = [row["loaded_at"] for row in rows if row["date"] == day and row["table_name"] in tables]
        return max(moments, default=None)

    def _refuse_rows_of_others(self, started: StartedLoad, day: date, tables: Iterable[str]) -> None:
        """See to it that tables hold what a load has put there: its rows, or none."""
        for table in tables:
            moment = self._loaded_at(table, day)
            expected = started.loaded_at if started.row_counts[table] else None
            if (None if moment is None else _microseconds(moment)) != expected:
                raise SupersededError(f"another writer replaced {self.table_id(table)} of {day}")

    def _delete_older_rows(self, table: str, day: date, started: StartedLoad) -> None:
        """Delete what a load of no rows has left in a partition; newer rows are another writer's."""
        moment = self._loaded_at(table, day)
        if moment is not None and _microseconds(moment) < started.loaded_at:
            self._refuse_another_owner(self._client.get_table(self.table_id(table)), started.organization_id)
            self._client.delete_table(_partition(self.table_id(table), day), not_found_ok=True)

    def _refuse_to_erase(self, load: Load) -> None:
        # An error is no answer here: a partition that could not be read is not an empty one.
        held = [table for table in load.files if self._loaded_at_of_partition(table, load.day) is not None]
        if held:
            counts = ", ".join(f"{self.table_id(table)}: {self._row_count(table, load.day)}" for table in held)
            raise ClaudeCodeEmptyDayError(
                f"The API has no records of {load.day}, but the tables hold rows of it ({counts}), which stay. If the "
                "day is really empty, run the task once with on_empty='replace'."
            )

    def _row_count(self, table: str, day: date) -> int | str:
        try:
            return self._client.get_table(_partition(self.table_id(table), day)).num_rows or "an unknown number"
        except NotFound:
            return "an unknown number"

    # Jobs

    def _job_id(self, day: date, number: int, index: int) -> str:
        """Name one of the jobs of a load, whose first has the index 0."""
        return f"{self._job_prefix}_{day:%Y%m%d}_{number}_{index}"

    def _job_ids(self, day: date, number: int) -> dict[str, str]:
        return {table: self._job_id(day, number, index) for index, table in enumerate(self._tables)}

    def _settle_earlier_jobs(self, day: date) -> int:
        """
        See to it that no job of an earlier load by this task of this run lands after those of this load.

        That may be one of an earlier try, or of a run that was deleted and made again. They are found by their ids,
        since listing jobs takes another role.

        :return: the first number that no load has, since an id is burnt even when its job failed.
        """
        number = 1
        while self._settle_jobs(day, number):
            number += 1
        return number

    def _settle_jobs(self, day: date, number: int) -> int:
        """Cancel the jobs of a load that still run, and return how many it has."""
        index = 0
        while (job := self._find_job(self._job_id(day, number, index))) is not None:
            index += 1
            if job.state != "DONE":
                log.warning("Cancelling %s, which was left running", job.job_id)
                job.cancel()
                job.exception()  # type: ignore[no-untyped-call]
        return index

    def _find_job(self, job_id: str) -> LoadJob | None:
        try:
            return self._get_job(job_id)
        except NotFound:
            return None

    def _get_job(self, job_id: str) -> LoadJob:
        return cast(LoadJob, self._client.get_job(job_id, location=self._location))

    def _job_config(
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
            labels={**self._options.labels, LOAD_LABEL: _load_label(load_id)},
        )
        if self._options.kms_key_name:
            config.destination_encryption_configuration = bigquery.EncryptionConfiguration(self._options.kms_key_name)
        return config

    def _start_job(
        self, content: IO[bytes], size: int, destination: str, job_id: str, config: LoadJobConfig
    ) -> LoadJob:
        def upload() -> LoadJob:
            try:
                return self._client.load_table_from_file(
                    content,
                    destination,
                    rewind=True,
                    size=size,
                    job_id=job_id,
                    location=self._location,
                    job_config=config,
                )
            except Conflict:
                job = self._get_job(job_id)
                if job.labels.get(LOAD_LABEL) != config.labels[LOAD_LABEL]:
                    raise SupersededError(f"another try of this task has started {job_id}") from None
                # Ours, whose answer was lost.
                return job

        # The client's own policy: 5xx, lost connections and rateLimitExceeded, but not quotaExceeded.
        job: LoadJob = DEFAULT_RETRY.with_timeout(UPLOAD_DEADLINE)(upload)()
        self.started_jobs.append(job)
        return job

    def _wait(self, started: StartedLoad) -> None:
        errors = {}
        for table, job_id in started.job_ids.items():
            try:
                job = self._get_job(job_id)
                job.exception()  # type: ignore[no-untyped-call]
            except NotFound:
                # Not a matter of permissions: a new job may come through.
                raise ClaudeCodePublishError(
                    f"BigQuery does not know the job {job_id} any more, which loads {started.day} into "
                    f"{self.table_id(table)}. A retry loads all tables again."
                ) from None
            if job.error_result:
                errors[table] = job
        if not errors:
            return
        failure = ClaudeCodePublishError(
            f"Loading {started.day} into BigQuery failed: "
            + "; ".join(
                f"{self.table_id(table)} ({job.job_id}): {job.error_result.get('reason')}"
                for table, job in errors.items()
            )
            + f". New load: {', '.join(t for t in started.job_ids if t not in errors) or 'no table'}; previous state: "
            f"{', '.join(errors)}. The job's page says more; a retry loads all tables again."
        )
        failure.retryable = all(job.error_result.get("reason") in LATER for job in errors.values())
        raise failure

    def _append_loads(self, started: StartedLoad, day: date) -> None:
        lines = b"".join(msgspec.json.encode(started.shared_of_loads | row) + b"\n" for row in started.loads_rows)
        table = self._client.get_table(self.table_id(LOADS.name))
        job = self._start_job(
            io.BytesIO(lines),
            len(lines),
            self.table_id(LOADS.name),
            self._job_id(day, started.number, len(started.job_ids)),
            self._job_config(table, started.load_id, "NEWLINE_DELIMITED_JSON", "WRITE_APPEND"),
        )
        if job.exception() is not None:  # type: ignore[no-untyped-call]
            raise ClaudeCodePublishError(
                f"{day} is loaded, but the load could not be remembered in {self.table_id(LOADS.name)} "
                f"({job.job_id}: {job.error_result.get('reason')}). A retry loads the day again."
            )

    def _withdraw_loads(self, started: StartedLoad, day: date) -> None:
        """Delete the rows of ``loads`` of a load that the tables do not hold, since the newest is taken for theirs."""
        parameters = [
            bigquery.ScalarQueryParameter("day", "DATE", day),
            bigquery.ScalarQueryParameter("load_id", "STRING", started.load_id),
        ]
        self._client.query_and_wait(
            f"DELETE FROM `{self.table_id(LOADS.name)}` WHERE date = @day AND load_id = @load_id",  # noqa: S608
            job_config=bigquery.QueryJobConfig(query_parameters=parameters, labels=dict(self._options.labels)),
            location=self._location,
        )


def differences(table: bigquery.Table, contract: Table) -> list[str]:
    """Spell out why a table cannot take the rows of a contract; empty when it can."""
    if table.table_type != "TABLE":
        return [f"is a {table.table_type}, not a table"]
    problems = []
    partitioning = table.time_partitioning
    found = f"by {partitioning.type_} on {partitioning.field}" if partitioning else "not at all"
    expected = f"by {contract.partitioning} on date"
    if found != expected:
        problems.append(f"is partitioned {found}, not {expected}")
    columns = {column.name.lower(): column for column in table.schema}
    for column in contract.columns:
        present = columns.pop(column.name, None)
        if present is None:
            continue
        present_type = _TYPE_NAMES.get(present.field_type, present.field_type)
        if present_type != column.type or present.mode == "REPEATED":
            problems.append(f"{column.name} is {present.mode} {present_type}, not {column.type}")
        elif present.precision is not None and (present.precision, present.scale) != (38, 9):
            problems.append(f"{column.name} is NUMERIC({present.precision}, {present.scale}), not NUMERIC")
    problems += [
        f"{column.name} is a REQUIRED column that loads do not fill"
        for column in columns.values()
        if column.mode == "REQUIRED"
    ]
    return problems


def _partition(table_id: str, day: date) -> str:
    return f"{table_id}${day:%Y%m%d}"


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _bare(field: Mapping[str, Any]) -> SchemaField:
    """Return a column without policy tags, which only few accounts may name, and whatever else is not its type."""
    bare = {name: field[name] for name in _TYPE_FIELDS if name in field}
    if "fields" in field:
        bare["fields"] = [_bare(member).to_api_repr() for member in field["fields"]]
    return SchemaField.from_api_repr(bare)


def _load_label(load_id: str) -> str:
    return load_id.lower().replace(".", "-")


def _label_value(organization_id: str) -> str:
    """Return an organisation's id as it may stand in a label, which takes 63 characters of few kinds."""
    if re.fullmatch(r"[a-z0-9_-]{1,63}", organization_id):
        return organization_id
    return hashlib.sha256(organization_id.encode()).hexdigest()[:32]


@contextmanager
def typed_errors(dataset: bigquery.DatasetReference, role: str = "BigQuery Data Editor") -> Iterator[None]:
    """
    Turn BigQuery's errors into ours, so that a task retries only what a retry can mend.

    :param dataset: the dataset that is worked on.
    :param role: what the account needs on it.
    """
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        place = f"BigQuery, {dataset.project}.{dataset.dataset_id}"
        rights = f"The Connection's account needs {role} on the dataset and BigQuery Job User on the project."
        raise store_error(error, place, rights) from error

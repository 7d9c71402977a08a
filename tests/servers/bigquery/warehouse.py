"""Datasets and tables, their metadata and their rows."""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from tests.servers.bigquery.errors import BigQueryError, not_found
from tests.servers.bigquery.schemas import Field, arrow_schema, canonical, duckdb_type, merged, mode, quoted

Resource = dict[str, Any]

# Identifiers of partitions, by granularity, for strftime.
_PARTITION_IDS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_SUMMARY = "__PARTITIONS_SUMMARY__"
PARTITION_TIME = "_PARTITIONTIME"

_TRUNCATING = ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA")
# Of a table resource, what an insert or a patch may set.
_WRITABLE = (
    "clustering",
    "defaultCollation",
    "defaultRoundingMode",
    "description",
    "encryptionConfiguration",
    "expirationTime",
    "friendlyName",
    "labels",
    "maxStaleness",
    "requirePartitionFilter",
    "resourceTags",
    "schema",
    "tableConstraints",
    "timePartitioning",
    "view",
)

# Reads the rows of a job, once the columns are known.
Rows = Callable[[list[Field]], pa.Table]


def milliseconds() -> str:
    """Give the time as the API writes it."""
    return str(time.time_ns() // 1_000_000)


def check_labels(labels: Mapping[str, str | None]) -> None:
    """Refuse labels that the service would refuse."""
    for key, value in labels.items():
        if not re.fullmatch(r"[^\W\d_][\w-]{0,62}", key) or key != key.lower():
            raise BigQueryError("invalid", f"Label key {key!r} is not valid")
        if value and (not re.fullmatch(r"[\w-]{0,63}", value) or value != value.lower()):
            raise BigQueryError("invalid", f"Label value {value!r} is not valid")


@dataclass(frozen=True)
class TableRef:
    """
    A table, or one partition of it.

    :param project: project
    :param dataset: dataset
    :param table: table, without a decorator
    :param partition: what follows ``$``, or None for the whole table
    """

    project: str
    dataset: str
    table: str
    partition: str | None = None

    @classmethod
    def parse(cls, reference: Mapping[str, str]) -> "TableRef":
        """Read a ``TableReference``."""
        table, dollar, partition = reference["tableId"].partition("$")
        return cls(reference["projectId"], reference["datasetId"], table, partition if dollar else None)

    @property
    def key(self) -> tuple[str, str]:
        """What the table is found by."""
        return self.dataset, self.table

    @property
    def table_id(self) -> str:
        """Table with its decorator."""
        return self.table if self.partition is None else f"{self.table}${self.partition}"

    @property
    def sql(self) -> str:
        """The whole table's name for DuckDB."""
        return quoted(self.dataset, self.table)

    @property
    def resource(self) -> dict[str, str]:
        """The ``TableReference``."""
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table_id}

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table_id}"


class Warehouse:
    """
    What one project stores.

    All of it sits behind one lock and one DuckDB connection, so jobs happen one after the other. Resources are
    replaced and never changed in place, so a transaction takes metadata back as well.

    :param project: the project
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.datasets: dict[str, Resource] = {}
        self.tables: dict[tuple[str, str], Resource] = {}
        self._lock = threading.RLock()
        self._open = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of the block, or nothing; blocks may be nested."""
        with self._lock:
            if self._open:
                yield
                return
            before = dict(self.datasets), dict(self.tables)
            self.db.execute("BEGIN")
            self._open = True
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                self.datasets, self.tables = before
                raise
            else:
                self.db.execute("COMMIT")
            finally:
                self._open = False

    # Datasets

    def dataset(self, dataset: str) -> Resource:
        """Get a dataset's resource."""
        if (resource := self.datasets.get(dataset)) is None:
            raise not_found("Dataset", f"{self.project}:{dataset}")
        return resource

    def insert_dataset(self, given: Resource) -> Resource:
        """Create a dataset."""
        dataset = given["datasetReference"]["datasetId"]
        with self.transaction():
            if dataset in self.datasets:
                raise BigQueryError("duplicate", f"Already Exists: Dataset {self.project}:{dataset}")
            self.db.execute(f"CREATE SCHEMA {quoted(dataset)}")
            resource = {
                **given,
                "kind": "bigquery#dataset",
                "id": f"{self.project}:{dataset}",
                "datasetReference": {"projectId": self.project, "datasetId": dataset},
                "location": given.get("location") or "US",
                "creationTime": milliseconds(),
            }
            return self._store(self.datasets, dataset, resource)

    def patch_dataset(self, dataset: str, given: Resource, etag: str | None) -> Resource:
        """Change a dataset."""
        with self.transaction():
            return self._store(self.datasets, dataset, _patched(self.dataset(dataset), given, etag))

    def delete_dataset(self, dataset: str, *, contents: bool) -> None:
        """Delete a dataset, and its tables where told to."""
        with self.transaction():
            self.dataset(dataset)
            tables = [key for key in self.tables if key[0] == dataset]
            if tables and not contents:
                raise BigQueryError("resourceInUse", f"Dataset {self.project}:{dataset} is still in use")
            self.db.execute(f"DROP SCHEMA {quoted(dataset)} CASCADE")
            self.tables = {key: table for key, table in self.tables.items() if key not in tables}
            del self.datasets[dataset]

    # Tables

    def ref(self, dataset: str, table: str) -> TableRef:
        """Name a table of this project, decorated or not."""
        return TableRef.parse({"projectId": self.project, "datasetId": dataset, "tableId": table})

    def table(self, ref: TableRef) -> Resource:
        """Get a table's stored resource, of the whole table."""
        self.dataset(ref.dataset)
        if (resource := self.tables.get(ref.key)) is None:
            raise not_found("Table", str(ref))
        return resource

    def described(self, ref: TableRef) -> Resource:
        """Get a table's resource as it is answered: with the number of rows, of the partition if it is decorated."""
        with self._lock:
            table = self.table(ref)
            identity = {"id": str(ref), "tableReference": ref.resource}
            if ref.partition == _SUMMARY:
                return {**table, **identity, "schema": {"fields": self.fields(ref)}}
            if table["type"] == "VIEW":
                return {**table, **identity}
            return {**table, **identity, "numRows": str(self.count(ref))}

    def insert_table(self, ref: TableRef, given: Resource) -> Resource:
        """Create a table or a view, with its schema in ``given``."""
        with self.transaction():
            dataset = self.dataset(ref.dataset)
            if ref.key in self.tables:
                raise BigQueryError("duplicate", f"Already Exists: Table {ref}")
            resource = {name: given[name] for name in _WRITABLE if given.get(name) is not None}
            fields = canonical(resource.get("schema", {}).get("fields", ()))
            resource["schema"] = {"fields": fields}
            if "view" in resource:
                resource["view"] = {"useLegacySql": False, **resource["view"]}
            else:
                if partitioning := resource.get("timePartitioning"):
                    if expiration := dataset.get("defaultPartitionExpirationMs"):
                        partitioning = {"expirationMs": expiration, **partitioning}
                    resource["timePartitioning"] = partitioning
                    self._check_partitioning(partitioning, fields)
                expiration = dataset.get("defaultTableExpirationMs")
                if expiration and not resource.get("timePartitioning", {}).get("expirationMs"):
                    resource.setdefault("expirationTime", str(int(milliseconds()) + int(expiration)))
                self._create(ref, resource)
            resource |= {
                "kind": "bigquery#table",
                "type": "VIEW" if "view" in resource else "TABLE",
                "location": dataset["location"],
                "creationTime": milliseconds(),
            }
            return self._store(self.tables, ref.key, resource)

    def patch_table(self, ref: TableRef, given: Resource, etag: str | None) -> Resource:
        """Change a table: columns may be added as NULLABLE and relaxed, not dropped, retyped or made REQUIRED."""
        with self.transaction():
            old = self.table(ref)
            new = _patched(old, {name: value for name, value in given.items() if name in _WRITABLE}, etag)
            if old["type"] != "VIEW":
                if _partitioned_by(old) != _partitioned_by(new):
                    raise BigQueryError("invalid", f"Cannot change the partitioning of table {ref}")
                fields = canonical(new["schema"]["fields"])
                fields = merged(
                    old["schema"]["fields"], fields, table=str(ref), adding=True, relaxing=True, dropping=False
                )
                self._alter(ref, old["schema"]["fields"], fields)
                new["schema"] = {"fields": fields}
            return self._store(self.tables, ref.key, new)

    def delete_table(self, ref: TableRef) -> None:
        """Delete a table, or a partition."""
        with self.transaction():
            table = self.table(ref)
            if ref.partition is not None:
                if not self.count(ref):
                    raise not_found("Table", str(ref))
                self.db.execute(f"DELETE FROM {ref.sql} WHERE {self.condition(ref)}")
                return
            if table["type"] != "VIEW":
                self.db.execute(f"DROP TABLE {ref.sql}")
            del self.tables[ref.key]

    # Rows

    def partition_id(self, ref: TableRef) -> str | None:
        """Write the expression that gives a row's partition, or None for a table without partitions."""
        if (partitioning := self.table(ref).get("timePartitioning")) is None:
            return None
        column = quoted(partitioning.get("field") or PARTITION_TIME)
        return f"coalesce(strftime({column}, '{_PARTITION_IDS[partitioning['type']]}'), '__NULL__')"

    def condition(self, ref: TableRef) -> str:
        """Write the condition that a row is in a partition, or in the table at all."""
        if ref.partition is None:
            return "TRUE"
        if (expression := self.partition_id(ref)) is None:
            raise BigQueryError("invalid", f"Table {ref} has a partition decorator, but the table is not partitioned")
        try:
            if ref.partition != "__NULL__":
                time.strptime(ref.partition, _PARTITION_IDS[self.table(ref)["timePartitioning"]["type"]])
        except ValueError as error:
            raise BigQueryError("invalid", f"Invalid partition decorator: {ref}") from error
        return f"{expression} = '{ref.partition}'"

    def count(self, ref: TableRef) -> int:
        """Count the rows of a table or a partition."""
        with self._lock:
            sql = f"SELECT count(*) FROM {ref.sql} WHERE {self.condition(ref)}"
            return int(self.db.execute(sql).fetchall()[0][0])

    def partitions(self, ref: TableRef) -> list[tuple[str, int]]:
        """List the partitions, and the rows of each."""
        if (expression := self.partition_id(ref)) is None:
            return []
        return self.db.execute(f"SELECT {expression}, count(*) FROM {ref.sql} GROUP BY ALL ORDER BY ALL").fetchall()

    def fields(self, ref: TableRef) -> list[Field]:
        """Tell the columns of a table, or of the summary of its partitions."""
        if ref.partition == _SUMMARY:
            return [{"name": name, "type": "STRING", "mode": "NULLABLE"} for name in ("table_id", "partition_id")]
        return list(self.table(ref)["schema"]["fields"])

    def read(self, ref: TableRef) -> pa.Table:
        """Read a table, a partition, or the summary of partitions."""
        with self._lock:
            if ref.partition == _SUMMARY:
                rows = [{"table_id": ref.table, "partition_id": partition} for partition, _ in self.partitions(ref)]
                return pa.Table.from_pylist(rows, arrow_schema(self.fields(ref)))
            names = ", ".join(quoted(field["name"]) for field in self.table(ref)["schema"]["fields"])
            return self.db.sql(f"SELECT {names} FROM {ref.sql} WHERE {self.condition(ref)}").to_arrow_table()

    def write(self, ref: TableRef, job: Resource, fields: list[Field] | None, rows: Rows) -> int:
        """
        Write rows as jobs do, within the transaction of the job.

        :param ref: table or partition
        :param job: the job's configuration: dispositions, schema update options, properties of a new table
        :param fields: columns of the job; None takes the table's own
        :param rows: gives the rows once the columns are known
        :returns: number of rows written
        """
        disposition = job["writeDisposition"]
        whole = TableRef(ref.project, ref.dataset, ref.table)
        replacing = disposition == "WRITE_TRUNCATE" and ref.partition is None
        if fields is not None:
            fields = canonical(fields)
        table = self.tables.get(ref.key)
        if table and "timePartitioning" in job and _partitioned_by(job) != _partitioned_by(table):
            raise BigQueryError("invalid", f"Incompatible table partitioning specification for table {whole}")
        if table and "clustering" in job and job["clustering"] != table.get("clustering"):
            raise BigQueryError("invalid", f"Incompatible table clustering specification for table {whole}")
        if table is None:
            if job.get("createDisposition") == "CREATE_NEVER":
                raise not_found("Table", str(whole))
            if not fields:
                raise BigQueryError("invalid", "No schema specified on job or table.")
            properties = {"encryptionConfiguration": job.get("destinationEncryptionConfiguration")}
            properties |= job.get("destinationTableProperties", {})
            table = self.insert_table(whole, {**properties, **job, "schema": {"fields": fields}})
        elif table["type"] == "VIEW":
            raise BigQueryError("invalid", f"Table {ref} is a view")
        elif fields and replacing:
            self.db.execute(f"DROP TABLE {ref.sql}")
            table = {**table, "schema": {"fields": fields}}
            self._create(ref, table)
            table = self._store(self.tables, ref.key, table)
        elif fields:
            old, options = table["schema"]["fields"], job.get("schemaUpdateOptions", ())
            adding, relaxing = "ALLOW_FIELD_ADDITION" in options, "ALLOW_FIELD_RELAXATION" in options
            new = merged(old, fields, table=str(whole), adding=adding, relaxing=relaxing)
            if new != old:
                self._alter(ref, old, new)
                table = self._store(self.tables, ref.key, {**table, "schema": {"fields": new}})
        stored = table["schema"]["fields"]
        named = {field["name"].lower() for field in fields or stored}
        return self._replace(ref, disposition, [field for field in stored if field["name"].lower() in named], rows)

    def _replace(self, ref: TableRef, disposition: str, fields: list[Field], rows: Rows) -> int:
        condition = self.condition(ref)
        if disposition == "WRITE_EMPTY" and self.count(ref):
            raise BigQueryError("duplicate", f"Already Exists: Table {ref}")
        if disposition in _TRUNCATING:
            self.db.execute(f"DELETE FROM {ref.sql} WHERE {condition}")
        outside = self.count(TableRef(ref.project, ref.dataset, ref.table)) - self.count(ref)
        self.insert(ref, fields, incoming := rows(fields))
        # Compared within the transaction: the rows are in, and leave again if one is in another partition.
        if self.count(TableRef(ref.project, ref.dataset, ref.table)) - self.count(ref) != outside:
            text = "Some rows belong to different partitions rather than destination partition"
            raise BigQueryError("invalid", f"{text} {ref}")
        self._expire(ref)
        self.tables[ref.key] = {**self.tables[ref.key], "lastModifiedTime": milliseconds()}
        return int(incoming.num_rows)

    def _expire(self, ref: TableRef) -> None:
        """Delete the rows whose partition began too long ago."""
        partitioning = self.table(ref).get("timePartitioning", {})
        if expiration := partitioning.get("expirationMs"):
            began = f"date_trunc('{partitioning['type']}', {quoted(partitioning.get('field') or PARTITION_TIME)})"
            kept = f"now() - to_milliseconds({int(expiration)})"
            self.db.execute(f"DELETE FROM {ref.sql} WHERE CAST({began} AS TIMESTAMPTZ) < {kept}")

    def insert(self, ref: TableRef, fields: list[Field], incoming: pa.Table) -> None:
        """Add rows to a table."""
        names = [quoted(field["name"]) for field in fields]
        values = [f"CAST({name} AS {duckdb_type(field)})" for name, field in zip(names, fields, strict=True)]
        partitioning = self.table(ref).get("timePartitioning")
        if partitioning and not partitioning.get("field"):
            form = _PARTITION_IDS[partitioning["type"]]
            moment = f"strptime('{ref.partition}', '{form}')" if ref.partition else "now()"
            names.append(PARTITION_TIME)
            values.append(f"CAST(date_trunc('{partitioning['type']}', {moment}) AS TIMESTAMPTZ)")
        for field in fields:
            if mode(field) == "REQUIRED" and incoming.column(field["name"]).null_count:
                raise BigQueryError("invalid", f"Required field {field['name']} cannot be null")
        with self.transaction():
            try:
                # DuckDB finds the variable of this name.
                self.db.execute(f"INSERT INTO {ref.sql} ({', '.join(names)}) SELECT {', '.join(values)} FROM incoming")
            except duckdb.Error as error:
                raise BigQueryError("invalid", f"Error while reading data, error message: {error}") from error

    # How it is kept

    def _store(self, resources: dict[Any, Resource], key: Any, resource: Resource) -> Resource:
        check_labels(resource.get("labels") or {})
        resource = {**resource, "etag": uuid.uuid4().hex, "lastModifiedTime": milliseconds()}
        resources[key] = resource
        return resource

    def _check_partitioning(self, partitioning: Resource, fields: list[Field]) -> None:
        if partitioning.get("type") not in _PARTITION_IDS:
            raise BigQueryError("invalid", f"Invalid time partitioning type {partitioning.get('type')}")
        name = partitioning.get("field")
        allowed = ("DATE", "DATETIME", "TIMESTAMP")
        if name and not any(f["name"] == name and f["type"] in allowed and mode(f) != "REPEATED" for f in fields):
            raise BigQueryError("invalid", f"The field specified for partitioning cannot be used (field: {name})")

    def _create(self, ref: TableRef, resource: Resource) -> None:
        columns = [
            f"{quoted(field['name'])} {duckdb_type(field)}{' NOT NULL' * (mode(field) == 'REQUIRED')}"
            for field in resource["schema"]["fields"]
        ]
        partitioning = resource.get("timePartitioning")
        if partitioning and not partitioning.get("field"):
            columns.append(f"{PARTITION_TIME} TIMESTAMPTZ")
        # A table without columns is allowed; DuckDB wants one.
        self.db.execute(f"CREATE TABLE {ref.sql} ({', '.join(columns) or '_nothing BOOLEAN'})")

    def _alter(self, ref: TableRef, old: list[Field], new: list[Field]) -> None:
        for number, field in enumerate(new):
            name = quoted(field["name"])
            if number >= len(old):
                self.db.execute(f"ALTER TABLE {ref.sql} ADD COLUMN {name} {duckdb_type(field)}")
            elif duckdb_type(field) != duckdb_type(old[number]):
                raise BigQueryError("notImplemented", f"This server cannot add to a record (field: {field['name']})")
            elif mode(field) != mode(old[number]):
                self.db.execute(f"ALTER TABLE {ref.sql} ALTER COLUMN {name} DROP NOT NULL")


def _partitioned_by(table: Resource) -> tuple[str | None, str | None]:
    partitioning = table.get("timePartitioning", {})
    return partitioning.get("type"), partitioning.get("field")


def _patched(old: Resource, given: Resource, etag: str | None) -> Resource:
    if etag not in (None, "*", old["etag"]):
        raise BigQueryError("conditionNotMet", "Precondition check failed.")
    new = {**old, **given}
    if given.get("labels") and old.get("labels"):
        # Labels are merged one by one; a null takes one away.
        new["labels"] = {**old["labels"], **given["labels"]}
    if new.get("labels"):
        new["labels"] = {key: value for key, value in new["labels"].items() if value is not None}
    return {name: value for name, value in new.items() if value is not None}

"""Jobs: accepted once per id, run one at a time, and remembered."""

import itertools
import json
import re
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from tests.servers.bigquery.errors import BigQueryError, not_found
from tests.servers.bigquery.faults import DroppedConnection, FailingJob, Fault, FaultCounter, SlowJob
from tests.servers.bigquery.files import LoadedFile
from tests.servers.bigquery.schemas import Field
from tests.servers.bigquery.sql import Query
from tests.servers.bigquery.warehouse import Resource, TableRef, Warehouse, check_labels, milliseconds

_KINDS = ("load", "query", "copy")
# How often a job that is held looks whether it may go on, in seconds.
_TICK = 0.005


@dataclass(frozen=True)
class JobRecord:
    """
    What has happened to a job so far.

    :param id: job id
    :param kind: ``load``, ``query`` or ``copy``
    :param destination: ``dataset.table`` that it writes to, with the decorator if there was one
    :param state: ``RUNNING`` or ``DONE``
    :param reason: why it failed, as ``invalid`` or ``stopped``; None if it has not
    :param started: place of its acceptance among all starts and ends of jobs, from 1
    :param ended: place of its end among them, which is also the order in which jobs took effect; None while it runs
    """

    id: str
    kind: str
    destination: str | None
    state: str
    reason: str | None
    started: int
    ended: int | None


class Job:
    """
    A job and its end.

    :param reference: ``JobReference``
    :param configuration: ``JobConfiguration``
    :param kind: which of the configurations is there
    """

    def __init__(self, reference: dict[str, str], configuration: Resource, kind: str) -> None:
        self.reference = reference
        self.id = reference["jobId"]
        self.configuration = configuration
        self.kind = kind
        self.config: Resource = configuration[kind]
        given = self.config.get("destinationTable")
        self.destination = TableRef.parse(given) if given else None
        self.slow: SlowJob | None = None
        self.failing: FailingJob | None = None
        self.dropped = False
        self.stopping = threading.Event()
        self.done = threading.Event()
        self.started = 0
        self.ended: int | None = None
        self.statistics: Resource = {"creationTime": milliseconds()}
        self.statistics["startTime"] = self.statistics["creationTime"]
        self.error: BigQueryError | None = None
        self.warnings: list[Resource] = []
        # Of a query.
        self.fields: list[Field] = []
        self.rows: list[Resource] = []
        self.accepted = self.resource()
        """The answer to its insert: the service does not wait for the end of a job before it answers."""

    def record(self) -> JobRecord:
        """Tell what has happened."""
        destination = f"{self.destination.dataset}.{self.destination.table_id}" if self.destination else None
        reason = self.error.reason if self.error else None
        return JobRecord(
            self.id,
            self.kind,
            destination,
            self.state,
            reason,
            self.started,
            self.ended if self.done.is_set() else None,
        )

    @property
    def state(self) -> str:
        """``RUNNING`` or ``DONE``."""
        return "DONE" if self.done.is_set() else "RUNNING"

    def resource(self) -> Resource:
        """Write the job as it is answered."""
        status: Resource = {"state": self.state}
        if self.done.is_set():
            if self.error:
                status |= {"errorResult": self.error.proto, "errors": [self.error.proto, *self.error.details]}
            elif self.warnings:
                status["errors"] = self.warnings
        return {
            "kind": "bigquery#job",
            "id": f"{self.reference['projectId']}:{self.reference['location']}.{self.id}",
            "etag": uuid.uuid4().hex,
            "jobReference": self.reference,
            "configuration": {**self.configuration, "jobType": self.kind.upper()},
            "statistics": dict(self.statistics),
            "status": status,
            "user_email": "nobody@example.com",
        }


class Jobs:
    """
    All jobs of a project.

    :param warehouse: what they work on
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.counter = FaultCounter()
        self._warehouse = warehouse
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._order = itertools.count(1)

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Let these faults count from now on."""
        with self._lock:
            self.counter = FaultCounter(faults)

    def all(self) -> list[Job]:
        """List the jobs in the order of acceptance."""
        with self._lock:
            return list(self._jobs.values())

    def get(self, job_id: str, location: str | None = None) -> Job:
        """Find a job; it is not found in another location than its own."""
        job = self._jobs.get(job_id)
        if job is None or location not in (None, "", job.reference["location"]):
            raise not_found("Job", f"{self._warehouse.project}:{location or 'US'}.{job_id}")
        return job

    def insert(self, given: Resource, body: bytes | None = None) -> Job:
        """
        Accept a job and let it run.

        Returns when it has ended, unless it is a slow one: a client that polls then has no need to wait.

        :param given: ``Job``
        :param body: the file of a load job
        :raises BigQueryError: the job is refused, and there is none
        """
        configuration = given.get("configuration", {})
        kind = next((name for name in _KINDS if name in configuration), None)
        if kind is None:
            raise BigQueryError("notImplemented", f"This server runs {', '.join(_KINDS)} jobs")
        default = "WRITE_APPEND" if kind == "load" else "WRITE_EMPTY"
        config = {"writeDisposition": default, **configuration[kind]}
        if "skipLeadingRows" in config:
            # Clients send text.
            config["skipLeadingRows"] = int(config["skipLeadingRows"])
        configuration = {**configuration, kind: config}
        check_labels(configuration.get("labels", {}))
        reference = given.get("jobReference", {})
        job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", job_id):
            raise BigQueryError("invalid", f"Invalid job ID {job_id!r}")
        location = self._location(config, kind, reference.get("location"))
        job = Job({"projectId": self._warehouse.project, "jobId": job_id, "location": location}, configuration, kind)
        _check(job)
        table = job.destination.table_id if job.destination else ""
        with self._lock:
            # Whatever became of it: an id is used once.
            if job_id in self._jobs:
                raise BigQueryError("duplicate", f"Already Exists: Job {self._warehouse.project}:{location}.{job_id}")
            self._jobs[job_id] = job
            job.started = next(self._order)
            job.slow = self.counter.job(SlowJob, job_id, table)
            job.failing = self.counter.job(FailingJob, job_id, table)
            job.dropped = self.counter.job(DroppedConnection, job_id, table) is not None
        threading.Thread(target=self._run, args=(job, body), daemon=True).start()
        if job.slow is None:
            job.done.wait()
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job that is held; what has ended, or does not heed it, stays what it is."""
        if job.slow is not None and job.slow.cancellable:
            job.stopping.set()
            job.done.wait()

    def stop(self) -> None:
        """End the jobs that are held."""
        for job in self.all():
            job.stopping.set()
            job.done.wait()

    def _location(self, config: Resource, kind: str, given: str | None) -> str:
        if kind == "query":
            try:
                found = Query(self._warehouse, config).location()
            except BigQueryError:
                # The job says what is wrong with it.
                found = None
            name = "of the query"
        else:
            ref = TableRef.parse(config["destinationTable"])
            if ref.project != self._warehouse.project:
                raise not_found("Project", ref.project)
            name = f"{ref.project}:{ref.dataset}"
            found = self._warehouse.dataset(ref.dataset)["location"]
        if given and found and given.lower() != found.lower():
            raise not_found("Dataset", f"{name} was not found in location {given}")
        return found or given or "US"

    def _run(self, job: Job, body: bytes | None) -> None:
        if slow := job.slow:
            end = time.monotonic() + (float("inf") if slow.seconds is None else slow.seconds)
            release = slow.release or job.stopping
            while not release.wait(_TICK) and not job.stopping.is_set() and time.monotonic() < end:
                pass
        try:
            with self._warehouse.transaction():
                # Within the transaction, so that the order of ends is the order in which jobs took effect.
                job.ended = next(self._order)
                if job.stopping.is_set():
                    raise BigQueryError("stopped", "Job execution was cancelled: User requested cancellation")
                if job.failing:
                    raise BigQueryError(job.failing.reason, job.failing.message)
                {"load": self._load, "query": self._query, "copy": self._copy}[job.kind](job, body)
        except BigQueryError as error:
            job.error = error
        except Exception as error:
            job.error = BigQueryError("internalError", f"The server failed: {error!r}")
        job.statistics["endTime"] = milliseconds()
        job.done.set()

    def _load(self, job: Job, body: bytes | None) -> None:
        if body is None:
            raise BigQueryError("notImplemented", "This server loads uploaded files only")
        assert job.destination is not None
        file = LoadedFile(body, job.config)
        fields = job.config.get("schema", {}).get("fields") or None
        if fields is None and file.fields is not None and job.destination.key not in self._warehouse.tables:
            fields = file.fields
        count = self._warehouse.write(job.destination, job.config, fields, file.rows)
        job.warnings = file.errors
        job.statistics["load"] = {
            "inputFiles": "1",
            "inputFileBytes": str(len(body)),
            "outputRows": str(count),
            "badRecords": str(len(file.errors)),
        }

    def _query(self, job: Job, _: bytes | None) -> None:
        result = Query(self._warehouse, job.config).run()
        statistics: Resource = {"statementType": result.statement, "cacheHit": False, "totalBytesProcessed": "0"}
        if result.affected is not None:
            statistics["numDmlAffectedRows"] = str(result.affected)
        if result.rows is not None:
            job.fields = result.fields
            job.rows = result.rows.to_pylist()
            statistics["schema"] = {"fields": result.fields}
            if job.destination:
                # A query promises no column to be without nulls; the table may, and then they are refused.
                table = self._warehouse.tables.get(job.destination.key)
                modes = {field["name"]: field.get("mode") for field in table["schema"]["fields"]} if table else {}
                fields = [{**field, "mode": modes.get(field["name"], field["mode"])} for field in result.fields]
                self._warehouse.write(job.destination, job.config, fields, partial(_given, result.rows))
        job.statistics["query"] = statistics

    def _copy(self, job: Job, _: bytes | None) -> None:
        sources = job.config.get("sourceTables") or [job.config["sourceTable"]]
        assert job.destination is not None
        count = 0
        for number, source in enumerate(map(TableRef.parse, sources)):
            table = self._warehouse.table(source)
            config = {name: table[name] for name in ("timePartitioning", "clustering") if name in table} | job.config
            if number:
                config["writeDisposition"] = "WRITE_APPEND"
            read = partial(_given, self._warehouse.read(source))
            count += self._warehouse.write(job.destination, config, table["schema"]["fields"], read)
        job.statistics["copy"] = {"copiedRows": str(count)}


def _given(rows: pa.Table, _: list[Field]) -> pa.Table:
    """Give rows that are read already, whatever the columns."""
    return rows


def _check(job: Job) -> None:
    """Refuse at once what the service refuses at once."""
    config = job.config
    options = config.get("schemaUpdateOptions")
    disposition = config["writeDisposition"]
    partition = job.destination is not None and job.destination.partition is not None
    allowed = disposition in ("WRITE_APPEND", "WRITE_TRUNCATE_DATA") or (disposition == "WRITE_TRUNCATE" and partition)
    if options and not allowed:
        text = "Schema update options should only be specified with WRITE_APPEND disposition, or with WRITE_TRUNCATE"
        raise BigQueryError("invalid", f"{text} disposition on a table partition.")
    if "policyTags" in json.dumps(config.get("schema", {})):
        # The one who asks has the roles of somebody who loads.
        raise BigQueryError("accessDenied", "Access Denied: User does not have bigquery.tables.setCategory permission")

"""The HTTP API."""

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from airflow_provider_claude_code.sandbox.server import start_in_thread
from tests.servers.bigquery.errors import BigQueryError, not_found
from tests.servers.bigquery.faults import Fault
from tests.servers.bigquery.jobs import Job, JobRecord, Jobs
from tests.servers.bigquery.schemas import Field, arrow_schema, cells, parse_row
from tests.servers.bigquery.sql import Query, create_view
from tests.servers.bigquery.warehouse import Resource, TableRef, Warehouse

log = logging.getLogger(__name__)

# What lists of datasets and tables show of each.
_LISTED_DATASET = ("kind", "id", "datasetReference", "location", "labels", "friendlyName")
_LISTED_TABLE = (
    *("kind", "id", "tableReference", "type", "labels", "friendlyName", "timePartitioning", "clustering"),
    *("requirePartitionFilter", "creationTime", "expirationTime"),
)


@dataclass(frozen=True)
class SeenRequest:
    """
    A request that the server has received.

    :param method: the API's name for it, as ``jobs.insert``; ``jobs.upload`` is a chunk of a resumable upload
    :param http_method: HTTP method
    :param path: path of the URL, decoded
    :param params: query parameters
    :param json: body, if it is JSON; of a multipart upload, its first part
    :param status: HTTP status of the answer; None if the connection was dropped
    """

    method: str
    http_method: str
    path: str
    params: dict[str, str]
    json: Any
    status: int | None


@dataclass
class _Call:
    """A request as handlers see it."""

    path: dict[str, str]
    params: dict[str, str]
    headers: dict[str, str]
    url: str
    body: bytes
    json: Any = None

    def number(self, name: str, default: int) -> int:
        return int(self.params.get(name) or default)

    @property
    def timestamps(self) -> str:
        """The form that timestamps are asked for in."""
        options = dict(self.json.get("formatOptions", {})) if isinstance(self.json, dict) else {}
        options |= {name.partition(".")[2]: v for name, v in self.params.items() if name.startswith("formatOptions.")}
        integers = str(options.get("useInt64Timestamp", "")).lower() == "true"
        return str(options.get("timestampOutputFormat") or ("INT64" if integers else "FLOAT64"))


class _Dropped(Exception):
    """The connection closes without an answer."""


class _Upload:
    """A resumable upload."""

    def __init__(self, job: Resource) -> None:
        self.job = job
        self.body = bytearray()
        self.lock = threading.Lock()
        self.inserted: Job | None = None


class _Api:
    """The API's methods. Handlers run in threads, and return what is to be answered."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.warehouse = Warehouse(project)
        self.jobs = Jobs(self.warehouse)
        self._uploads: dict[str, _Upload] = {}

    # Datasets

    def datasets_list(self, call: _Call) -> Resource:
        items = [_listed(dataset) for dataset in list(self.warehouse.datasets.values())]
        items, token = _page(items, call)
        return {"kind": "bigquery#datasetList", "etag": "", "datasets": items, **_next(token)}

    def datasets_insert(self, call: _Call) -> Resource:
        return self.warehouse.insert_dataset(call.json)

    def datasets_get(self, call: _Call) -> Resource:
        return self.warehouse.dataset(call.path["dataset"])

    def datasets_patch(self, call: _Call) -> Resource:
        return self.warehouse.patch_dataset(call.path["dataset"], call.json, call.headers.get("if-match"))

    def datasets_delete(self, call: _Call) -> None:
        contents = call.params.get("deleteContents", "").lower() == "true"
        self.warehouse.delete_dataset(call.path["dataset"], contents=contents)

    # Tables

    def _ref(self, call: _Call) -> TableRef:
        return self.warehouse.ref(call.path["dataset"], call.path["table"])

    def tables_list(self, call: _Call) -> Resource:
        dataset = call.path["dataset"]
        self.warehouse.dataset(dataset)
        refs = [self.warehouse.ref(*key) for key in sorted(self.warehouse.tables) if key[0] == dataset]
        items, token = _page([_listed(self.warehouse.described(ref)) for ref in refs], call)
        return {"kind": "bigquery#tableList", "etag": "", "totalItems": len(refs), "tables": items, **_next(token)}

    def tables_insert(self, call: _Call) -> Resource:
        ref = self.warehouse.ref(call.path["dataset"], call.json["tableReference"]["tableId"])
        if "view" in call.json:
            create_view(self.warehouse, ref, call.json)
        else:
            self.warehouse.insert_table(ref, call.json)
        return self.warehouse.described(ref)

    def tables_get(self, call: _Call) -> Resource:
        return self.warehouse.described(self._ref(call))

    def tables_patch(self, call: _Call) -> Resource:
        self.warehouse.patch_table(self._ref(call), call.json, call.headers.get("if-match"))
        return self.warehouse.described(self._ref(call))

    def tables_delete(self, call: _Call) -> None:
        self.warehouse.delete_table(self._ref(call))

    def tabledata_list(self, call: _Call) -> Resource:
        ref = self._ref(call)
        with self.warehouse.transaction():
            rows = self.warehouse.read(ref).to_pylist()
            fields = self.warehouse.fields(ref)
        if selected := call.params.get("selectedFields"):
            names = selected.lower().split(",")
            fields = [field for field in fields if field["name"].lower() in names]
        page, token = _page(rows, call)
        answer = {"kind": "bigquery#tableDataList", "etag": "", "totalRows": str(len(rows))}
        return answer | _rows(page, fields, call) | ({"pageToken": token} if token else {})

    def tabledata_insert_all(self, call: _Call) -> Resource:
        ref = self._ref(call)
        fields = self.warehouse.table(ref)["schema"]["fields"]
        rows: list[Resource] = []
        errors: list[Resource] = []
        for index, row in enumerate(call.json["rows"]):
            try:
                rows.append(parse_row(row["json"], fields, ignore_unknown=call.json.get("ignoreUnknownValues", False)))
            except ValueError as error:
                errors.append({"index": index, "errors": [{"reason": "invalid", "message": str(error)}]})
        if rows and (not errors or call.json.get("skipInvalidRows")):
            self.warehouse.insert(ref, fields, pa.Table.from_pylist(rows, arrow_schema(fields)))
        return {"kind": "bigquery#tableDataInsertAllResponse"} | ({"insertErrors": errors} if errors else {})

    # Jobs

    def _accepted(self, job: Job) -> Resource:
        if job.dropped:
            raise _Dropped
        return job.accepted

    def jobs_insert(self, call: _Call) -> Resource:
        query = call.json.get("configuration", {}).get("query")
        if call.json.get("configuration", {}).get("dryRun") and query:
            with self.warehouse.transaction():
                result = Query(self.warehouse, query).run(dry=True)
            statistics = {
                "statementType": result.statement,
                "totalBytesProcessed": "0",
                "schema": {"fields": result.fields},
            }
            return {
                "kind": "bigquery#job",
                "jobReference": {
                    "projectId": self.project,
                    "location": Query(self.warehouse, query).location() or "US",
                },
                "configuration": {**call.json["configuration"], "jobType": "QUERY"},
                "statistics": {"totalBytesProcessed": "0", "query": statistics},
                "status": {"state": "DONE"},
            }
        return self._accepted(self.jobs.insert(call.json))

    def jobs_insert_upload(self, call: _Call) -> Resource | Response:
        if call.params.get("uploadType") == "multipart":
            return self._accepted(self.jobs.insert(*_parts(call)))
        upload = uuid.uuid4().hex
        self._uploads[upload] = _Upload(call.json)
        return Response(headers={"location": f"{call.url}&upload_id={upload}"})

    def jobs_upload(self, call: _Call) -> Resource | Response:
        if (upload := self._uploads.get(call.params.get("upload_id", ""))) is None:
            raise not_found("Upload", call.params.get("upload_id", ""))
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", call.headers.get("content-range", "bytes */*"))
        if span is None:
            raise BigQueryError("badRequest", "Invalid Content-Range")
        with upload.lock:
            if upload.inserted is None:
                if span[1] is not None:
                    if int(span[1]) > len(upload.body):
                        raise BigQueryError("badRequest", "A chunk is missing")
                    # A chunk may be sent again after a lost answer.
                    upload.body[int(span[1]) :] = call.body
                if span[2] == "*" or len(upload.body) < int(span[2]):
                    received = {"range": f"bytes=0-{len(upload.body) - 1}"} if upload.body else {}
                    return Response(status_code=308, headers=received)
                upload.inserted = self.jobs.insert(upload.job, bytes(upload.body))
                return self._accepted(upload.inserted)
            # The answer was lost: the upload is not done twice.
            return upload.inserted.accepted

    def jobs_get(self, call: _Call) -> Resource:
        return self.jobs.get(call.path["job"], call.params.get("location")).resource()

    def jobs_cancel(self, call: _Call) -> Resource:
        job = self.jobs.get(call.path["job"], call.params.get("location"))
        resource = job.resource()
        self.jobs.cancel(job)
        return {"kind": "bigquery#jobCancelResponse", "job": resource}

    def jobs_list(self, call: _Call) -> Resource:
        items = []
        for job in reversed(self.jobs.all()):
            resource = job.resource()
            state = resource["status"]["state"]
            since = call.number("minCreationTime", 0)
            if call.params.get("stateFilter", state).upper() == state and int(job.statistics["creationTime"]) >= since:
                del resource["etag"]
                error = {"errorResult": job.error.proto} if state == "DONE" and job.error else {}
                items.append({**resource, "state": state, **error})
        items, token = _page(items, call)
        return {"kind": "bigquery#jobList", "etag": "", "jobs": items, **_next(token)}

    def jobs_query(self, call: _Call) -> Resource:
        shared = ("query", "defaultDataset", "useLegacySql", "parameterMode", "queryParameters", "useQueryCache")
        query = {name: call.json[name] for name in shared if name in call.json}
        configuration = {"query": query, "labels": call.json.get("labels", {})}
        reference = {"location": call.json["location"]} if call.json.get("location") else {}
        job = self.jobs.insert({"jobReference": reference, "configuration": configuration})
        params = {name: str(call.json[name]) for name in ("maxResults", "timeoutMs") if name in call.json}
        return {**self._results(job, replace(call, params=params)), "kind": "bigquery#queryResponse"}

    def jobs_query_results(self, call: _Call) -> Resource:
        job = self.jobs.get(call.path["job"], call.params.get("location"))
        return {**self._results(job, call), "kind": "bigquery#getQueryResultsResponse", "etag": ""}

    def _results(self, job: Job, call: _Call) -> Resource:
        answer: Resource = {
            "jobReference": job.reference,
            "jobComplete": job.done.wait(call.number("timeoutMs", 10_000) / 1000),
        }
        if not answer["jobComplete"]:
            return answer
        if job.error:
            raise job.error
        statistics = job.statistics.get("query", {})
        page, token = _page(job.rows, call)
        answer |= {"totalRows": str(len(job.rows)), "schema": {"fields": job.fields}, "cacheHit": False}
        answer |= {
            name: statistics[name] for name in ("numDmlAffectedRows", "totalBytesProcessed") if name in statistics
        }
        return answer | _rows(page, job.fields, call) | ({"pageToken": token} if token else {})


def _page(items: list[Any], call: _Call) -> tuple[list[Any], str | None]:
    start = call.number("pageToken", call.number("startIndex", 0))
    # A page of no items is asked for to learn the schema.
    end = start + call.number("maxResults", 10_000) if call.params.get("maxResults") != "0" else start
    return items[start:end], str(end) if start < end < len(items) else None


def _next(token: str | None) -> Resource:
    return {"nextPageToken": token} if token else {}


def _rows(page: list[Resource], fields: list[Field], call: _Call) -> Resource:
    return {"rows": [cells(row, fields, call.timestamps) for row in page]} if page else {}


def _listed(resource: Resource) -> Resource:
    names = _LISTED_TABLE if "tableReference" in resource else _LISTED_DATASET
    return {name: resource[name] for name in names if name in resource}


def _parts(call: _Call) -> tuple[Resource, bytes]:
    """Take a multipart upload apart: the job and its file."""
    found = re.search(r'boundary="?([^";]+)', call.headers.get("content-type", ""))
    if found is None:
        raise BigQueryError("badRequest", "A multipart upload has a boundary")
    _, job, file, *_ = (b"\r\n" + call.body).split(b"\r\n--" + found[1].encode())
    call.json = json.loads(job.partition(b"\r\n\r\n")[2])
    return call.json, file.partition(b"\r\n\r\n")[2]


_PROJECT = "/projects/{project}"
_DATASET = _PROJECT + "/datasets/{dataset}"
_TABLE = _DATASET + "/tables/{table}"
_Handler = Callable[[_Api, _Call], Any]
_METHODS: list[tuple[str, str, str, _Handler]] = [
    ("datasets.list", "GET", _PROJECT + "/datasets", _Api.datasets_list),
    ("datasets.insert", "POST", _PROJECT + "/datasets", _Api.datasets_insert),
    ("datasets.get", "GET", _DATASET, _Api.datasets_get),
    ("datasets.patch", "PATCH", _DATASET, _Api.datasets_patch),
    ("datasets.delete", "DELETE", _DATASET, _Api.datasets_delete),
    ("tables.list", "GET", _DATASET + "/tables", _Api.tables_list),
    ("tables.insert", "POST", _DATASET + "/tables", _Api.tables_insert),
    ("tables.get", "GET", _TABLE, _Api.tables_get),
    ("tables.patch", "PATCH", _TABLE, _Api.tables_patch),
    ("tables.delete", "DELETE", _TABLE, _Api.tables_delete),
    ("tabledata.list", "GET", _TABLE + "/data", _Api.tabledata_list),
    ("tabledata.insertAll", "POST", _TABLE + "/insertAll", _Api.tabledata_insert_all),
    ("jobs.list", "GET", _PROJECT + "/jobs", _Api.jobs_list),
    ("jobs.insert", "POST", _PROJECT + "/jobs", _Api.jobs_insert),
    ("jobs.get", "GET", _PROJECT + "/jobs/{job}", _Api.jobs_get),
    ("jobs.cancel", "POST", _PROJECT + "/jobs/{job}/cancel", _Api.jobs_cancel),
    ("jobs.query", "POST", _PROJECT + "/queries", _Api.jobs_query),
    ("jobs.getQueryResults", "GET", _PROJECT + "/queries/{job}", _Api.jobs_query_results),
]
_UPLOADS: list[tuple[str, str, str, _Handler]] = [
    ("jobs.insert", "POST", _PROJECT + "/jobs", _Api.jobs_insert_upload),
    ("jobs.upload", "PUT", _PROJECT + "/jobs", _Api.jobs_upload),
]


class BigQueryServer:
    """
    The server in a thread of this process; a context manager, for one use.

    ``url`` is there once it runs. ``faults`` may be set while it runs, and counts from the next request on.
    ``requests`` are those received so far, ``jobs`` what has happened to each accepted job, in the order of acceptance.

    :param project: the one project that exists
    :param host: name or address to listen on
    :param port: port to listen on; 0 takes a free one
    """

    url: str

    def __init__(self, project: str = "demo-proj", *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.project = project
        self.requests: list[SeenRequest] = []
        self._api = _Api(project)
        self._address = host, port

    def clear(self) -> None:
        """Forget all data, jobs, requests and faults, which is faster than a new server."""
        self._api.jobs.stop()
        self._api = _Api(self.project)
        self.requests = []

    @property
    def faults(self) -> Sequence[Fault]:
        """What goes wrong: rules of `tests.servers.bigquery.faults`. Setting them starts their counts anew."""
        return self._api.jobs.counter.faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._api.jobs.set_faults(faults)

    @property
    def jobs(self) -> list[JobRecord]:
        """What has happened to each job that was accepted."""
        return [job.record() for job in self._api.jobs.all()]

    def __enter__(self) -> Self:
        """Start the server, and wait until it serves."""
        routes = [
            Route(prefix + path, _Endpoint(self, name, handler), methods=[verb])
            for prefix, methods in (
                ("/bigquery/v2", _METHODS),
                ("/upload/bigquery/v2", _UPLOADS),
                ("/resumable/upload/bigquery/v2", _UPLOADS),
            )
            for name, verb, path, handler in methods
        ]
        routes.append(Route("/{path:path}", _Endpoint(self, "unknown", _unknown)))
        host, port = self._address
        self._server, self._thread, self.url = start_in_thread(
            Router(routes), host=host, port=port, log_config=None, log_level="critical", access_log=False
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, and the jobs that are held."""
        self._api.jobs.stop()
        # Clients keep connections open; nobody waits for those.
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()


def _unknown(_: _Api, call: _Call) -> None:
    raise BigQueryError("notFound", f"This server has no method for {urlsplit(call.url).path}")


class _Endpoint:
    """A method behind HTTP: reads the request, counts faults, answers in the API's form, keeps a record."""

    def __init__(self, server: BigQueryServer, name: str, handler: _Handler) -> None:
        self._server = server
        self._name = name
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        call = _Call(scope["path_params"], dict(request.query_params), dict(request.headers), str(request.url), body)
        if body and call.headers.get("content-type", "application/json").startswith("application/json"):
            try:
                call.json = json.loads(body)
            except ValueError:
                # A chunk of an upload.
                call.json = None
        try:
            response: Response | None = await run_in_threadpool(self._answer, call)
        except _Dropped:
            response = None
        seen = (self._name, request.method, scope["path"], call.params, call.json)
        self._server.requests.append(SeenRequest(*seen, response.status_code if response else None))
        if response is None:
            # ASGI knows no way to say nothing: this takes the connection from under uvicorn, whose method `send` is.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await response(scope, receive, send)

    def _answer(self, call: _Call) -> Response:
        try:
            api = self._server._api
            fault = api.jobs.counter.call(self._name, urlsplit(call.url).path)
            if fault is not None:
                error = BigQueryError(fault.reason, "The server was told to fail")
                return JSONResponse(error.body(fault.status), fault.status)
            if call.path.get("project", api.project) != api.project:
                raise not_found("Project", call.path["project"])
            answer = self._handler(api, call)
        except BigQueryError as error:
            return JSONResponse(error.body(), error.status)
        except _Dropped:
            raise
        except Exception as exception:
            log.exception("The server failed on %s", call.url)
            failure = BigQueryError("internalError", f"The server failed: {exception!r}")
            return JSONResponse(failure.body(), failure.status)
        if isinstance(answer, Response):
            return answer
        return Response(status_code=HTTPStatus.NO_CONTENT) if answer is None else JSONResponse(answer)

"""
A small Google Cloud Storage in memory, for tests.

It stands for the part of the JSON API that a loader of files uses: buckets, objects with generations and
preconditions, multipart and resumable uploads, downloads, listings, copies, compositions and batches. The real
google-cloud-storage, Airflow's `GCSHook` and gcsfs talk to it once ``STORAGE_EMULATOR_HOST`` names it.

What passes here proves the protocol and our own logic, not the service. Here are no credentials, permissions or
quotas, no retention, soft delete or encryption, no partial answers (``fields``) and no ETag preconditions; nothing
is slow, and the limits on sizes and rates are not those of Google.
"""

import argparse
import base64
import contextlib
import email
import gzip
import hashlib
import json
import logging
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from email.message import Message
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import google_crc32c
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_claude_code.sandbox.server import start_in_thread

log = logging.getLogger(__name__)

CHUNK = 256 * 1024
"""Bytes that every part of a resumable upload but the last is a multiple of."""

MAX_RESULTS = 1000
MAX_COMPONENTS = 32
MAX_NAME = 1024
"""Bytes in UTF-8."""

_REASONS = {400: "invalid", 403: "forbidden", 404: "notFound", 409: "conflict", 412: "conditionNotMet"}
_REASONS |= {416: "requestedRangeNotSatisfiable", 429: "rateLimitExceeded", 501: "notImplemented"}

# What a client may say of an object; the rest of its resource is the service's.
_WRITABLE = (
    *("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType"),
    *("customTime", "metadata", "storageClass"),
)

_OBJECT = r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
_TWO_OBJECTS = (
    r"/storage/v1/b/(?P<source_bucket>[^/]+)/o/(?P<source_name>[^/]+)/{}/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
)
# Operation, method, path, and a query parameter that tells it from the one after it.
_ROUTES: list[tuple[str, str, str, str | None]] = [
    ("buckets.insert", "POST", r"/storage/v1/b", None),
    ("buckets.list", "GET", r"/storage/v1/b", None),
    ("buckets.get", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)", None),
    ("buckets.delete", "DELETE", r"/storage/v1/b/(?P<bucket>[^/]+)", None),
    ("objects.upload", "PUT|POST|DELETE", r"(/resumable)?/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "upload_id"),
    ("objects.insert", "POST", r"(/resumable)?/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "uploadType"),
    ("objects.list", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o", None),
    ("objects.download", "GET", rf"(/download)?{_OBJECT}", "alt=media"),
    ("objects.get", "GET", _OBJECT, None),
    ("objects.patch", "PATCH", _OBJECT, None),
    ("objects.delete", "DELETE", _OBJECT, None),
    ("objects.compose", "POST", rf"{_OBJECT}/compose", None),
    ("objects.copy", "POST", _TWO_OBJECTS.format("copyTo"), None),
    ("objects.rewrite", "POST", _TWO_OBJECTS.format("rewriteTo"), None),
    ("batch", "POST", r"/batch(/storage/v1)?", None),
]


@dataclass(frozen=True)
class Fault:
    """
    Something that goes wrong, once by default.

    An operation is a method of the API by its name there, as ``objects.insert``, ``objects.list`` or
    ``buckets.get``; besides, ``objects.download`` is a read of content, ``objects.upload`` a later request of a
    resumable upload, and ``store`` the moment at which an object would appear, all its preconditions met, whatever
    call it comes from. The calls in a batch count one by one. Beware of ``*``: google-cloud-storage calls
    ``buckets.get`` on its own account, in the background.

    :param operation: the operation that is hit, or a pattern such as ``objects.*``
    :param name: pattern of the object name; an operation without an object has an empty one
    :param nth: the first matching operation that is hit, counted from 1 since the faults were set
    :param times: how many are hit from there on; None for all
    :param status: answer this HTTP error status and do nothing
    :param reason: with ``status``, the service's word for it
    :param message: with ``status``, its text
    :param drop: do what was asked, and drop the connection without an answer
    :param corrupt: store other content than what has arrived; with ``store`` only
    :param bucket_gone: the bucket vanishes with all that it holds before the operation
    :raises ValueError: there is not exactly one of the four, or a value is out of its range
    """

    operation: str
    _: KW_ONLY
    name: str = "*"
    nth: int = 1
    times: int | None = 1
    status: int | None = None
    reason: str | None = None
    message: str = "The server was told to fail"
    drop: bool = False
    corrupt: bool = False
    bucket_gone: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if sum((self.status is not None, self.drop, self.corrupt, self.bucket_gone)) != 1:
            raise ValueError("A fault is exactly one of status, drop, corrupt and bucket_gone")
        if self.corrupt and self.operation != "store":
            raise ValueError("corrupt needs the operation store")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError(f"status must be 400 to 599, not {self.status}")
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """
    A version of an object.

    :param bucket: name of its bucket
    :param name: its name
    :param content: its bytes as they are stored
    :param generation: number of the content, which grows with every store
    :param metageneration: number of the properties, from 1 within a generation
    :param properties: what a client has said of it, by the API's names, such as ``contentType`` and ``metadata``
    :param created: when it was stored
    :param updated: when its properties changed
    :param deleted: when another version or a delete put it in the past, in a bucket with versions
    :param components: how many objects it was composed of
    """

    bucket: str
    name: str
    content: bytes
    generation: int
    properties: Mapping[str, Any]
    created: datetime
    updated: datetime
    metageneration: int = 1
    deleted: datetime | None = None
    components: int | None = None

    @cached_property
    def crc32c(self) -> str:
        """Checksum in base64."""
        return base64.b64encode(google_crc32c.Checksum(self.content).digest()).decode()

    @cached_property
    def md5(self) -> str | None:
        """Checksum in base64, which a composite object does not have."""
        return None if self.components else base64.b64encode(hashlib.md5(self.content).digest()).decode()

    def resource(self, base: str) -> dict[str, Any]:
        """
        Describe the object as the API does.

        :param base: URL of the server
        """
        path = f"storage/v1/b/{quote(self.bucket, safe='')}/o/{quote(self.name, safe='')}"
        optional = {
            "md5Hash": self.md5,
            "componentCount": self.components,
            "timeDeleted": self.deleted and _timestamp(self.deleted),
        }
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": f"{base}/{path}",
            "mediaLink": f"{base}/download/{path}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            "size": str(len(self.content)),
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": _timestamp(self.created),
            "updated": _timestamp(self.updated),
            **{key: value for key, value in optional.items() if value is not None},
            **self.properties,
        }

    @property
    def etag(self) -> str:
        """Entity tag, of the content and the properties."""
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()


@dataclass(frozen=True)
class SeenCall:
    """
    A call that the server has answered.

    :param operation: see `Fault`; empty for what the server does not know
    :param method: HTTP method
    :param path: path of the URL, percent-encoded as it came
    :param params: query parameters, decoded, in their order
    :param body: JSON of the request, or None; of an upload the resource that came with it
    :param status: HTTP status of the answer, or None when the connection was dropped in its place
    :param answer: JSON of the answer, or None
    """

    operation: str
    method: str
    path: str
    params: list[tuple[str, str]]
    body: Any
    status: int | None
    answer: Any


@dataclass
class _Call:
    """A request, on its own or in a batch, and what becomes known of it on the way."""

    method: str
    base: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    content: bytes
    operation: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    bucket: str = ""
    name: str = ""
    body: Any = None
    drop: bool = False

    @cached_property
    def params(self) -> dict[str, str]:
        return dict(self.query)

    def number(self, name: str) -> int | None:
        """Read a query parameter that is a number, or None without it."""
        text = self.params.get(name)
        if text is not None and not re.fullmatch(r"-?[0-9]+", text):
            raise _Error(400, f"Invalid long value: '{text}'.")
        return None if text is None else int(text)


@dataclass
class _Bucket:
    properties: dict[str, Any]
    # All versions of all objects.
    versions: list[StoredObject] = field(default_factory=list)

    def find(self, name: str, generation: int | None = None) -> StoredObject | None:
        """Find a version of an object, the live one by default."""
        for version in self.versions:
            wanted = version.deleted is None if generation is None else version.generation == generation
            if version.name == name and wanted:
                return version
        return None

    def put(self, old: StoredObject | None, *new: StoredObject) -> None:
        """Let versions take the place of one, or of nothing."""
        self.versions = [*(version for version in self.versions if version is not old), *new]

    def retire(self, old: StoredObject | None, now: datetime, *new: StoredObject) -> None:
        """Delete or replace a live version, which stays as a past one where the bucket keeps versions."""
        keeps = (self.properties.get("versioning") or {}).get("enabled")
        self.put(old, *([replace(old, deleted=now)] if old and keeps else []), *new)


@dataclass
class _Session:
    """A resumable upload."""

    start: _Call
    received: bytearray = field(default_factory=bytearray)
    finishing: threading.Lock = field(default_factory=threading.Lock)
    result: StoredObject | None = None


class _Error(Exception):
    """An answer in the API's error envelope."""

    def __init__(self, status: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def response(self, operation: str) -> Response:
        if self.status == 304:
            return Response(status_code=304)
        # A download does not answer in JSON, whatever happens.
        if operation == "objects.download":
            return Response(str(self), self.status, media_type="text/html")
        reason = self.reason or _REASONS.get(self.status, "backendError")
        error = {"message": str(self), "domain": "global", "reason": reason}
        return JSONResponse({"error": {"code": self.status, "message": str(self), "errors": [error]}}, self.status)


class _Protocol(H11Protocol):
    """Tells the application which connection a request came in on, since ASGI has no word for dropping it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = self.app_state | {"transport": transport}


class GCSServer:
    """
    The server in a thread of this process, on 127.0.0.1; a context manager, for one use.

    ``url`` is there once it runs, and what ``STORAGE_EMULATOR_HOST`` takes. ``requests`` are the calls answered so
    far. ``faults`` and ``before_store`` may be reassigned while it runs, and the count of hits starts anew with each
    new ``faults``.

    ``before_store`` is called with the names of the bucket and the object when an upload, copy or composition is
    complete and nothing is stored yet, from a thread of its own: it may use the server, wait, or let another writer
    go first, and preconditions are looked at afterwards. It is called for what it stores itself, too.
    """

    url: str

    def __init__(self, *buckets: str, port: int = 0) -> None:
        """
        Make the buckets.

        :param buckets: names of the buckets that are there from the beginning
        :param port: port to listen on; 0 takes a free one
        """
        self.requests: list[SeenCall] = []
        self._port = port
        self._lock = threading.RLock()
        self._generation = 0
        self.reset(*buckets)

    def reset(self, *buckets: str) -> None:
        """
        Forget everything: objects, uploads, requests, faults and the hook.

        :param buckets: names of the buckets that are there from here on
        """
        with self._lock:
            self.requests.clear()
            self.faults = ()
            self.before_store: Callable[[str, str], None] | None = None
            self._sessions: dict[str, _Session] = {}
            self._buckets: dict[str, _Bucket] = {}
            for bucket in buckets:
                self.create_bucket(bucket)

    def __enter__(self) -> Self:
        """Start the server, and wait until it serves."""
        # Connections outlive any pause in a test: a client that uses one as it is closed would see a fault.
        settings: dict[str, Any] = {"interface": "asgi3", "http": _Protocol, "timeout_keep_alive": 600}
        settings |= {"log_config": None, "log_level": "critical", "access_log": False}
        self._server, self._thread, self.url = start_in_thread(
            self._serve, host="127.0.0.1", port=self._port, **settings
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self._server.should_exit = True
        self._thread.join()

    @property
    def faults(self) -> Sequence[Fault]:
        """What goes wrong; of several faults that hit the same operation the first one counts."""
        return self._faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        with self._lock:
            self._faults = tuple(faults)
            self._matches: Counter[int] = Counter()

    def create_bucket(self, name: str, **properties: Any) -> None:
        """
        Make an empty bucket, in place of one of that name.

        :param name: its name
        :param properties: what else is said of it, by the API's names
        """
        now = _timestamp(_now())
        own = {"kind": "storage#bucket", "id": name, "name": name, "metageneration": "1", "etag": "CAE="}
        own |= {"location": "US", "locationType": "multi-region", "storageClass": "STANDARD", "projectNumber": "0"}
        with self._lock:
            self._buckets[name] = _Bucket({**own, **properties, "timeCreated": now, "updated": now})

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """
        Give the live objects of a bucket by name.

        :param bucket: name of the bucket
        :returns: the objects in the order of their names, or none when the bucket is gone
        """
        with self._lock:
            versions = self._buckets[bucket].versions if bucket in self._buckets else []
        live = [version for version in versions if version.deleted is None]
        return {version.name: version for version in sorted(live, key=lambda version: version.name)}

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        base = f"http://{request.headers['host']}"
        path, query = scope["raw_path"].decode(), request.query_params.multi_items()
        call = _Call(request.method, base, path, query, request.headers, await request.body())
        # In a thread, as a hook may wait for another request.
        response = await run_in_threadpool(self._answer, call)
        if not call.drop:
            await response(scope, receive, send)
            return
        scope["state"]["transport"].abort()
        # uvicorn would answer for an application that returns before the client is known to be gone.
        while (await receive())["type"] != "http.disconnect":
            pass

    def _answer(self, call: _Call) -> Response:
        try:
            handler = self._route(call)
            self._strike(call, call.operation)
            response = handler(call)
        except _Error as error:
            response = error.response(call.operation)
        except Exception as exception:
            log.exception("The server failed on %s %s", call.method, call.path)
            # Not 500, which clients repeat for minutes.
            response = _Error(501, f"The server failed: {exception!r}").response(call.operation)
        status = None if call.drop else response.status_code
        answer = (
            json.loads(bytes(response.body)) if response.media_type == "application/json" and not call.drop else None
        )
        # Before the answer leaves, so that whoever has an answer finds its call.
        seen = SeenCall(call.operation, call.method, call.path, call.query, call.body, status, answer)
        self.requests.append(seen)
        return response

    def _route(self, call: _Call) -> Callable[[_Call], Response]:
        """Find out what a call asks for, of which bucket and object, and who answers it."""
        for operation, methods, pattern, wanted in _ROUTES:
            match = re.fullmatch(pattern, call.path)
            name, _, value = (wanted or "").partition("=")
            if not match or call.method not in methods.split("|"):
                continue
            if wanted and (name not in call.params or value not in ("", call.params[name])):
                continue
            call.operation = operation
            # A slash within a name is percent-encoded, so nothing is decoded before the path is taken apart.
            call.parts = {key: unquote(text) for key, text in match.groupdict().items() if text is not None}
            call.bucket, call.name = call.parts.get("bucket", ""), call.parts.get("name", "")
            if operation == "objects.insert":
                _read_upload(call)
            elif operation == "objects.upload" and (session := self._sessions.get(call.params["upload_id"])):
                call.name = session.start.name
            elif operation != "batch" and operation != "objects.upload" and call.content:
                call.body = _json(call.content)
            handler: Callable[[_Call], Response] = getattr(self, "_" + operation.replace(".", "_"))
            return handler
        raise _Error(501, f"This server does not know {call.method} {call.path}")

    def _strike(self, call: _Call, operation: str) -> Fault | None:
        """Do what is to go wrong with an operation now; what is left to the caller is in the fault that it gives."""
        hit = None
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not (fnmatchcase(operation, fault.operation) and fnmatchcase(call.name, fault.name)):
                    continue
                self._matches[index] += 1
                late = self._matches[index] - fault.nth
                if hit is None and late >= 0 and (fault.times is None or late < fault.times):
                    hit = fault
            if hit and hit.bucket_gone:
                self._buckets.pop(call.bucket, None)
        if hit and hit.status:
            raise _Error(hit.status, hit.message, hit.reason)
        call.drop |= bool(hit and hit.drop)
        return hit

    def _bucket(self, name: str) -> _Bucket:
        if name not in self._buckets:
            raise _Error(404, "The specified bucket does not exist.")
        return self._buckets[name]

    def _object(self, bucket: str, name: str, generation: int | None = None) -> StoredObject:
        if found := self._bucket(bucket).find(name, generation):
            return found
        raise _Error(404, f"No such object: {bucket}/{name}")

    def _store(
        self,
        call: _Call,
        content: bytes,
        properties: Mapping[str, Any],
        *,
        start: _Call | None = None,
        components: int | None = None,
    ) -> StoredObject:
        """Let an object appear, if the preconditions of the call, or of the one that began the upload, are met."""
        if hook := self.before_store:
            hook(call.bucket, call.name)
        with self._lock:
            _check(start or call, self._bucket(call.bucket).find(call.name))
            fault = self._strike(call, "store")
            bucket = self._bucket(call.bucket)
            if fault and fault.corrupt:
                content = bytes([content[0] ^ 1]) + content[1:] if content else b"?"
            now = _now()
            self._generation = max(self._generation + 1, int(now.timestamp() * 1_000_000))
            stored = StoredObject(
                bucket=call.bucket,
                name=call.name,
                content=content,
                generation=self._generation,
                properties=properties,
                created=now,
                updated=now,
                components=components,
            )
            bucket.retire(bucket.find(call.name), now, stored)
            return stored

    def _buckets_insert(self, call: _Call) -> Response:
        with self._lock:
            if call.body["name"] in self._buckets:
                raise _Error(409, "Your previous request to create the named bucket succeeded and you already own it.")
            self.create_bucket(**call.body)
            return JSONResponse(self._buckets[call.body["name"]].properties)

    def _buckets_list(self, call: _Call) -> Response:
        with self._lock:
            items = [self._buckets[name].properties for name in sorted(self._buckets)]
        return JSONResponse({"kind": "storage#buckets", "items": items})

    def _buckets_get(self, call: _Call) -> Response:
        with self._lock:
            return JSONResponse(self._bucket(call.bucket).properties)

    def _buckets_delete(self, call: _Call) -> Response:
        with self._lock:
            if self._bucket(call.bucket).versions:
                raise _Error(409, "The bucket you tried to delete is not empty.")
            del self._buckets[call.bucket]
        return Response(status_code=204)

    def _objects_insert(self, call: _Call) -> Response:
        if call.params["uploadType"] != "resumable":
            _verify(call, call.body, call.content)
            return JSONResponse(self._store(call, call.content, _writable(call.body)).resource(call.base))
        session = uuid.uuid4().hex
        with self._lock:
            _check(call, self._bucket(call.bucket).find(call.name))
            self._sessions[session] = _Session(call)
        location = f"{call.base}{call.path}?{urlencode([*call.query, ('upload_id', session)])}"
        return Response(headers={"location": location, "x-guploader-uploadid": session})

    def _objects_upload(self, call: _Call) -> Response:
        identifier = call.params["upload_id"]
        with self._lock:
            if identifier not in self._sessions:
                raise _Error(404, "No such upload")
            session = self._sessions[identifier]
            self._bucket(call.bucket)
            if call.method == "DELETE":
                del self._sessions[identifier]
                return Response(status_code=499)
            if session.result is None and not _receive(call, session.received):
                headers = {"range": f"bytes=0-{len(session.received) - 1}"} if session.received else {}
                return Response(status_code=308, headers=headers)
        # A client that has lost an answer may ask again while the first request is still at it.
        with session.finishing:
            if session.result is None:
                content, properties = bytes(session.received), session.start.body
                _verify(call, properties, content)
                session.result = self._store(call, content, _writable(properties), start=session.start)
        return JSONResponse(session.result.resource(call.base))

    def _objects_get(self, call: _Call) -> Response:
        with self._lock:
            found = self._object(call.bucket, call.name, call.number("generation"))
        _check(call, found, reading=True)
        return JSONResponse(found.resource(call.base))

    def _objects_download(self, call: _Call) -> Response:
        with self._lock:
            found = self._object(call.bucket, call.name, call.number("generation"))
        _check(call, found, reading=True)
        content, encoding = found.content, found.properties.get("contentEncoding")
        headers = {
            "content-type": found.properties.get("contentType", "application/octet-stream"),
            "etag": found.etag,
            "x-goog-generation": str(found.generation),
            "x-goog-metageneration": str(found.metageneration),
            "x-goog-hash": f"crc32c={found.crc32c}" + (f",md5={found.md5}" if found.md5 else ""),
            "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-encoding": encoding or "identity",
            "x-goog-stored-content-length": str(len(content)),
        }
        if encoding == "gzip" and "gzip" not in call.headers.get("accept-encoding", ""):
            # Decompressed for who cannot do it: all of it, as a range would be one of the compressed bytes.
            return Response(gzip.decompress(content), headers=headers | {"warning": "214 UploadServer gunzipped"})
        if encoding:
            headers["content-encoding"] = encoding
        # What is not a range of bytes is ignored.
        match = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", call.headers.get("range", ""))
        first, last = match.groups() if match else ("", "")
        if not (first or last):
            return Response(content, headers=headers)
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            raise _Error(416, "The requested range cannot be satisfied: it is not satisfiable.")
        headers["content-range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Response(content[start:end], 206, headers)

    def _objects_list(self, call: _Call) -> Response:
        params = call.params
        prefix, delimiter = params.get("prefix", ""), params.get("delimiter")
        glob = _glob(params["matchGlob"]) if "matchGlob" in params else None
        with self._lock:
            versions = self._bucket(call.bucket).versions
        # What is listed, by what it is sorted by: an object with its generation, or None for a prefix.
        entries: dict[tuple[str, int], StoredObject | None] = {}
        for version in versions:
            name = version.name
            if not name.startswith(prefix) or name < params.get("startOffset", ""):
                continue
            if (params.get("endOffset") and name >= params["endOffset"]) or (glob and not glob.fullmatch(name)):
                continue
            if version.deleted and params.get("versions", "").lower() != "true":
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entries[(prefix + head + found, 0) if found else (name, version.generation)] = None if found else version
        after = _decode_token(params["pageToken"]) if params.get("pageToken") else ("", -1)
        keys = sorted(key for key in entries if key > after)
        page = keys[: min(call.number("maxResults") or MAX_RESULTS, MAX_RESULTS)]
        items = [entry.resource(call.base) for key in page if (entry := entries[key])]
        prefixes = [key[0] for key in page if entries[key] is None]
        token = _encode_token(page[-1]) if len(page) < len(keys) else None
        optional = {"items": items, "prefixes": prefixes, "nextPageToken": token}
        return JSONResponse({"kind": "storage#objects"} | {key: value for key, value in optional.items() if value})

    def _objects_patch(self, call: _Call) -> Response:
        with self._lock:
            found = self._object(call.bucket, call.name, call.number("generation"))
            _check(call, found)
            changes = {key: value for key, value in (call.body or {}).items() if key in _WRITABLE}
            if changes.get("metadata"):
                changes["metadata"] = found.properties.get("metadata", {}) | changes["metadata"]
            properties = _writable({**found.properties, **changes})
            changed = replace(found, properties=properties, metageneration=found.metageneration + 1, updated=_now())
            self._bucket(call.bucket).put(found, changed)
        return JSONResponse(changed.resource(call.base))

    def _objects_delete(self, call: _Call) -> Response:
        generation = call.number("generation")
        with self._lock:
            found = self._object(call.bucket, call.name, generation)
            _check(call, found)
            bucket = self._bucket(call.bucket)
            bucket.retire(found, _now()) if generation is None else bucket.put(found)
        return Response(status_code=204)

    def _objects_compose(self, call: _Call) -> Response:
        sources = call.body.get("sourceObjects", [])
        if not 1 <= len(sources) <= MAX_COMPONENTS:
            raise _Error(400, f"The number of source components must be 1 to {MAX_COMPONENTS}")
        found = []
        for source in sources:
            generation = source.get("generation")
            with self._lock:
                part = self._object(call.bucket, source["name"], None if generation is None else int(generation))
            if (wanted := (source.get("objectPreconditions") or {}).get("ifGenerationMatch")) is not None:
                _compare("ifGenerationMatch", int(wanted), part.generation)
            found.append(part)
        content = b"".join(part.content for part in found)
        properties = _writable(call.body.get("destination") or {})
        components = sum(part.components or 1 for part in found)
        return JSONResponse(self._store(call, content, properties, components=components).resource(call.base))

    def _objects_copy(self, call: _Call) -> Response:
        return JSONResponse(self._copied(call).resource(call.base))

    def _objects_rewrite(self, call: _Call) -> Response:
        copy = self._copied(call)
        size = str(len(copy.content))
        answer = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
        return JSONResponse(answer | {"resource": copy.resource(call.base)})

    def _copied(self, call: _Call) -> StoredObject:
        with self._lock:
            generation = call.number("sourceGeneration")
            source = self._object(call.parts["source_bucket"], call.parts["source_name"], generation)
        _check(call, source, prefix="ifSource")
        properties = _writable(call.body or {}) or source.properties
        return self._store(call, source.content, properties, components=source.components)

    def _batch(self, call: _Call) -> Response:
        boundary = uuid.uuid4().hex
        answers = []
        for headers, content in _parts(call.headers.get("content-type", ""), call.content):
            # A request in the form of HTTP/1.1, whose end of line the client's MIME library may have changed.
            line, _, rest = content.lstrip().partition(b"\n")
            method, target, _ = line.decode().split()
            message = email.message_from_bytes(rest)
            url = urlsplit(target)
            query = parse_qsl(url.query, keep_blank_values=True)
            sent = {name.lower(): str(value) for name, value in message.items()}
            inner = _Call(method, call.base, url.path, query, sent, str(message.get_payload()).encode())
            response = self._answer(inner)
            call.drop |= inner.drop
            identifier = str(headers.get("content-id", "")).strip("<>")
            lines = [f"--{boundary}", "Content-Type: application/http", f"Content-ID: <response-{identifier}>", ""]
            lines += [f"HTTP/1.1 {response.status_code} ANSWER"]
            lines += [f"{name}: {value}" for name, value in response.headers.items()]
            answers.append("\r\n".join([*lines, "", bytes(response.body).decode(), ""]))
        content_type = f"multipart/mixed; boundary={boundary}"
        return Response(f"{''.join(answers)}--{boundary}--\r\n", headers={"content-type": content_type})


def _now() -> datetime:
    return datetime.now(UTC)


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise _Error(400, "Parse Error") from None


def _writable(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a client may set; null unsets, within the metadata too."""
    kept = {key: value for key in _WRITABLE if (value := properties.get(key)) is not None}
    if "metadata" in kept:
        kept["metadata"] = {key: value for key, value in kept["metadata"].items() if value is not None}
    return kept


def _compare(condition: str, wanted: int, actual: int, *, reading: bool = False) -> None:
    if (wanted == actual) != condition.endswith("NotMatch"):
        return
    # A reader that has this version already is told so.
    status = 304 if reading and condition.endswith("NotMatch") else 412
    raise _Error(status, "At least one of the pre-conditions you specified did not hold.")


def _check(call: _Call, found: StoredObject | None, *, prefix: str = "if", reading: bool = False) -> None:
    """Look at the preconditions of a call; what is not there has the generation 0."""
    for kind, actual in (
        ("Generation", found.generation if found else 0),
        ("Metageneration", found.metageneration if found else 0),
    ):
        for condition in (f"{prefix}{kind}Match", f"{prefix}{kind}NotMatch"):
            if (wanted := call.number(condition)) is not None:
                _compare(condition, wanted, actual, reading=reading)


def _verify(call: _Call, properties: Mapping[str, Any], content: bytes) -> None:
    """Compare what has arrived with the checksums that the client sent, in the resource or as a header."""
    header = call.headers.get("x-goog-hash", "")
    claims = [text.strip().partition("=")[::2] for text in header.split(",")]
    claims += [("md5", properties.get("md5Hash") or ""), ("crc32c", properties.get("crc32c") or "")]
    digests = {"md5": hashlib.md5(content).digest(), "crc32c": google_crc32c.Checksum(content).digest()}
    for kind, claim in claims:
        if claim and kind in digests and claim != (own := base64.b64encode(digests[kind]).decode()):
            raise _Error(400, f'Provided {kind} hash "{claim}" doesn\'t match calculated {kind} hash "{own}".')


def _parts(content_type: str, body: bytes) -> Iterator[tuple[Message, bytes]]:
    """Take a multipart body apart, whose lines end as its first one does."""
    header = Message()
    header["content-type"] = content_type
    delimiter = b"--" + str(header.get_param("boundary", "")).encode()
    newline = b"\r\n" if body.lstrip().startswith(delimiter + b"\r\n") else b"\n"
    for part in (newline + body.lstrip()).split(newline + delimiter)[1:-1]:
        head, _, content = part.partition(newline * 2)
        yield email.message_from_bytes(head.lstrip()), content


def _read_upload(call: _Call) -> None:
    """Separate the resource from the content, and find the name, of which either may hold it."""
    kind, content_type = call.params["uploadType"], call.headers.get("content-type")
    resource: dict[str, Any] = {}
    if kind == "multipart":
        parts = list(_parts(content_type or "", call.content))
        if len(parts) != 2:
            raise _Error(400, "Malformed multipart body.")
        resource, content_type, call.content = _json(parts[0][1]), parts[1][0].get("content-type"), parts[1][1]
    elif kind == "resumable":
        resource, content_type = _json(call.content or b"{}"), call.headers.get("x-upload-content-type")
    elif kind != "media":
        raise _Error(400, f"Invalid upload type: {kind}")
    said = {"contentType": content_type, "name": call.params.get("name")}
    said["contentEncoding"] = call.params.get("contentEncoding")
    call.body = {key: value for key, value in said.items() if value} | resource
    call.name = call.body.get("name") or ""
    if not 1 <= len(call.name.encode()) <= MAX_NAME or re.search(r"[\r\n]", call.name):
        raise _Error(400, f"Invalid object name: {call.name!r}")


def _receive(call: _Call, received: bytearray) -> bool:
    """Take a part of a resumable upload, and say whether all has arrived."""
    text = call.headers.get("content-range", f"bytes 0-{len(call.content) - 1}/{len(call.content)}")
    match = re.fullmatch(r"bytes (?:\*|([0-9]+)-(-?[0-9]+))/(\*|[0-9]+)", text)
    if not match:
        raise _Error(400, f"Failed to parse Content-Range header: {text}")
    total = None if match[3] == "*" else int(match[3])
    if match[1] is not None:
        start = int(match[1])
        if start > len(received) or int(match[2]) - start + 1 != len(call.content):
            raise _Error(400, f"Invalid Content-Range: {text}, with {len(received)} bytes there already")
        received += call.content[len(received) - start :]
    if total is not None and len(received) >= total:
        return True
    del received[len(received) // CHUNK * CHUNK :]
    return False


def _glob(pattern: str) -> re.Pattern[str]:
    """Translate a glob of a listing, in which ``*`` ends at a slash and ``**`` does not."""
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
    text, depth = "", 0
    for token in re.findall(r"\*\*/|\*\*|\[[^]]+\]|\\.|.", pattern, re.DOTALL):
        depth += (token == "{") - (token == "}")
        if len(token) > 1 and token[0] == "[":
            text += token.replace("[!", "[^", 1)
        else:
            text += "|" if token == "," and depth else tokens.get(token) or re.escape(token[-1])
    return re.compile(text, re.DOTALL)


def _encode_token(key: tuple[str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decode_token(token: str) -> tuple[str, int]:
    try:
        name, generation = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise _Error(400, "Invalid page token") from None
    return name, generation


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Serve until interrupted.

    :param arguments: command line arguments, those of the process by default
    :raises SystemExit: an argument is wrong, or the port is taken
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.gcs", description="A small Google Cloud Storage in memory, for Dag tests."
    )
    parser.add_argument("--port", type=int, default=9060, help="port; 0 takes a free one (%(default)s)")
    parser.add_argument("--bucket", action="append", default=[], help="a bucket to begin with; may be repeated")
    args = parser.parse_args(arguments)
    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
    try:
        with GCSServer(*args.bucket, port=args.port) as server, contextlib.suppress(KeyboardInterrupt):
            print(f"STORAGE_EMULATOR_HOST={server.url}")
            # Before gcsfs is imported: it would ask a service that is not here, for a minute.
            print("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false")
            print(f"AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT='{json.dumps(connection)}'", flush=True)
            threading.Event().wait()
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on 127.0.0.1:{args.port}: {error}")


if __name__ == "__main__":
    main()

"""The sandbox's HTTP server."""

import asyncio
import base64
import hashlib
import logging
import re
import socket
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_claude_code.sandbox.faults import FaultCounter, Faults
from airflow_provider_claude_code.sandbox.organization import Organization

log = logging.getLogger(__name__)

API_KEY = "sk-ant-admin01-sandbox"
"""Admin key of the sandbox's organisation; with ``-NAME`` after it, that of another one called NAME."""

OAUTH_TOKEN = "sandbox-oauth-token"  # noqa: S105
"""Bearer token of the sandbox's organisation."""

ME_PATH = "/v1/organizations/me"
REPORT_PATH = "/v1/organizations/usage_report/claude_code"

MAX_LIMIT = 1000
CACHED_DAYS = 8
START_TIMEOUT = 30.0
"""Seconds."""

# Gives the time, with a time zone.
Clock = Callable[[], datetime]
# Gives the records of a UTC day as the API holds them at a moment, in the API's JSON form.
Records = Callable[[date, datetime], Sequence[dict[str, Any]]]

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# Keys that exist but do not reach this API, and the scope that they have instead.
_OTHER_KEYS = {"sk-ant-api03-": "workspace:developer", "sk-ant-api01-": "read:analytics"}

_PROXY_PAGE = "<html><head><title>Proxy</title></head><body><h1>The proxy has no answer</h1></body></html>"

# Own records may hold a Decimal; the API writes amounts as numbers.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class _ApiError(Exception):
    """An answer in the API's error envelope."""

    def __init__(
        self, status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.details = {"details": {"error_code": code}} if code else {}


class _TruncatedResponse(Response):
    """A response of which half arrives: the server drops the connection of an answer that does not end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})


class _DrippingResponse(Response):
    """A response that arrives byte by byte."""

    pause: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for byte in bytes(self.body):
            await asyncio.sleep(self.pause)
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a walk through a day stands; opaque to clients."""

    organization_id: str
    day: date
    now: datetime
    offset: int
    page: int

    def __str__(self) -> str:
        content = msgspec.json.encode(self)
        # The API's cursors end in "=", which clients have to percent-encode. Base64 pads what is not
        # divisible by three, and JSON does not mind a space.
        if len(content) % 3 == 0:
            content += b" "
        return base64.urlsafe_b64encode(hashlib.blake2b(content, digest_size=9).digest() + content).decode()

    @classmethod
    def parse(cls, text: str) -> "_Cursor":
        """Read a cursor, or raise ValueError."""
        try:
            cursor = msgspec.json.decode(base64.urlsafe_b64decode(text)[9:], type=cls)
        except msgspec.DecodeError as error:  # a ValueError in newer versions of msgspec only
            raise ValueError(str(error)) from None
        if str(cursor) != text:
            raise ValueError("not a cursor of this server")
        return cursor


class _Endpoint:
    """
    A path that answers with the API's headers and errors, for whatever method.

    :param answer: makes the response to a GET request, or raises `_ApiError`
    :param now: gives the time for the Date header
    """

    def __init__(self, answer: Callable[[Request], Awaitable[Response]], now: Clock) -> None:
        self._answer = answer
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers = {
            "request-id": f"req_{uuid.uuid4().hex[:24]}",
            "date": format_datetime(self._now().astimezone(UTC), usegmt=True),
        }
        try:
            response = await self._answer(request)
        except Exception as exception:
            if isinstance(exception, _ApiError):
                error = exception
            else:
                log.exception("The sandbox failed on %s", scope["path"])
                error = _ApiError(500, "Internal server error")
            kind = _ERROR_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
            body = {
                "type": "error",
                "error": {"type": kind, "message": str(error), **error.details},
                "request_id": headers["request-id"],
            }
            response = Response(_encode(body), error.status, error.headers, "application/json")
        if organization_id := getattr(request.state, "organization_id", None):
            headers["anthropic-organization-id"] = organization_id
        # A proxy's page does not come from the API, so it has none of the API's headers.
        if not isinstance(response, HTMLResponse):
            response.headers.update(headers)
        await response(scope, receive, send)


class _Service:
    """What the sandbox knows and answers; its public attributes may be reassigned while it serves."""

    def __init__(
        self, organization: Organization, now: Clock | None, faults: Faults | None, records: Records | None
    ) -> None:
        self.organization = organization
        self.now = now or (lambda: datetime.now(UTC))
        self.faults = faults or Faults()
        self.records = records
        self._counter = FaultCounter(self.faults, organization.seed)
        self._days: OrderedDict[tuple[str, date, datetime], Sequence[dict[str, Any]]] = OrderedDict()

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(ME_PATH, self._endpoint(self._me)),
                Route(REPORT_PATH, self._endpoint(self._report)),
                Mount("/", self._endpoint(self._unknown)),
            ]
        )

    def _endpoint(self, answer: Callable[[Request], Awaitable[Response]]) -> _Endpoint:
        return _Endpoint(answer, lambda: self.now())

    async def _me(self, request: Request) -> Response:
        organization = self._authenticate(request)
        body = {"id": organization.id, "name": organization.name, "type": "organization"}
        return Response(_encode(body), media_type="application/json")

    async def _report(self, request: Request) -> Response:
        faults = self.faults
        if self._counter.faults is not faults:
            self._counter = FaultCounter(faults, self.organization.seed)
        counter = self._counter
        if faults.latency:
            await asyncio.sleep(faults.latency)
        organization = self._authenticate(request)
        day, limit, cursor = self._parameters(request, organization)
        hit = counter.hits(cursor.page)
        retry_after = {} if faults.retry_after is None else {"retry-after": faults.retry_after}
        if hit and faults.html:
            return HTMLResponse(_PROXY_PAGE, faults.status or 200, retry_after)
        if hit and faults.status:
            raise _ApiError(faults.status, "The sandbox was told to fail", retry_after, faults.error_code)

        records = self._records_at(organization, cursor)
        end = cursor.offset + limit
        data = [] if hit and faults.endless else list(records[cursor.offset : end])
        following = _Cursor(organization.id, day, cursor.now, cursor.offset + len(data), cursor.page + 1)
        next_page = str(following) if end < len(records) or (hit and faults.endless) else None
        if hit and faults.repeat_cursor:
            next_page = request.query_params.get("page", str(following))
        if hit and faults.wrong_day and data:
            data[0] = data[0] | {"date": f"{day - timedelta(days=1)}T00:00:00Z"}
        body = _encode({"data": data, "has_more": next_page is not None, "next_page": next_page})
        if hit and faults.drip:
            dripping = _DrippingResponse(body, media_type="application/json")
            dripping.pause = faults.drip
            return dripping
        response = _TruncatedResponse if hit and faults.truncate else Response
        return response(body, media_type="application/json")

    async def _unknown(self, request: Request) -> Response:
        raise _ApiError(404, "Not found")

    def _authenticate(self, request: Request) -> Organization:
        """Find the organisation of the request's key, and check what both endpoints ask of a request."""
        if request.method != "GET":
            raise _ApiError(405, "Method not allowed", {"allow": "GET"})
        key = request.headers.get("x-api-key")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if key is None and scheme.lower() != "bearer":
            raise _ApiError(401, "x-api-key header is required")
        for prefix, scope in _OTHER_KEYS.items():
            if key is not None and key.startswith(prefix):
                raise _ApiError(403, f"Missing required scopes. Got: [{scope}] Needed: [org:admin]")
        if key == API_KEY or (key is None and token == OAUTH_TOKEN):
            organization = self.organization
        elif match := re.fullmatch(rf"{API_KEY}-([a-z0-9-]+)", key or ""):
            organization = Organization.named(match[1], self.organization.users)
        else:
            raise _ApiError(401, "invalid x-api-key" if key is not None else "Invalid bearer token")
        request.state.organization_id = organization.id
        if not request.headers.get("anthropic-version"):
            raise _ApiError(400, "anthropic-version: header is required")
        return organization

    def _parameters(self, request: Request, organization: Organization) -> tuple[date, int, _Cursor]:
        query = request.query_params
        for name in ("starting_at", "limit", "page"):
            if len(query.getlist(name)) > 1:
                raise _ApiError(400, f"{name}: must be given once")
        try:
            # date.fromisoformat also reads 20260115 and 2026-W03-4.
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", query["starting_at"]):
                raise ValueError
            day = date.fromisoformat(query["starting_at"])
        except KeyError:
            raise _ApiError(400, "starting_at: field required") from None
        except ValueError:
            raise _ApiError(400, "starting_at: must be a day in the form YYYY-MM-DD") from None
        limit = query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
            raise _ApiError(400, f"limit: must be an integer from 1 to {MAX_LIMIT}")
        if "page" not in query:
            return day, int(limit), _Cursor(organization.id, day, self.now(), 0, 1)
        try:
            cursor = _Cursor.parse(query["page"])
        except ValueError:
            raise _ApiError(400, "page: not a cursor of this endpoint") from None
        if (cursor.organization_id, cursor.day) != (organization.id, day):
            raise _ApiError(400, "page: a cursor of another organization or day")
        return day, int(limit), cursor

    def _records_at(self, organization: Organization, cursor: _Cursor) -> Sequence[dict[str, Any]]:
        """Give the records of the cursor's day and moment, so that no page misses or repeats one."""
        key = (organization.id, cursor.day, cursor.now)
        # A first page asks anew, as own records may have changed while a clock stood still.
        if cursor.page == 1 or key not in self._days:
            self._days[key] = (self.records or organization.records)(cursor.day, cursor.now)
        self._days.move_to_end(key)
        while len(self._days) > CACHED_DAYS:
            self._days.popitem(last=False)
        return self._days[key]


def create_app(
    organization: Organization,
    *,
    now: Clock | None = None,
    faults: Faults | None = None,
    records: Records | None = None,
) -> Starlette:
    """
    Make the sandbox's ASGI application.

    It answers ``/v1/organizations/me`` and the Claude Code report to the keys `API_KEY` (``organization``)
    and `API_KEY` followed by ``-NAME`` (another organisation with that name and as many users); `OAUTH_TOKEN`
    is a bearer token of ``organization``.

    :param organization: the first organisation
    :param now: gives the time, with a time zone; the real clock by default
    :param faults: what goes wrong; nothing by default
    :param records: gives the records of a day at a moment, in the API's JSON form, in place of made-up ones;
        asked once per walk through a day
    """
    return _Service(organization, now, faults, records)._app()


def make_server(app: ASGIApp, *, host: str, port: int, **config: Any) -> tuple[uvicorn.Server, socket.socket, str]:
    """
    Make a server and the socket that it is to listen on, which accepts connections from here on.

    :param app: ASGI application
    :param host: name or IPv4 address to listen on
    :param port: port to listen on; 0 takes a free one
    :param config: more settings of `uvicorn.Config`
    :returns: the server, its socket and the base URL
    :raises OSError: the address is taken, or not one of this host
    """
    # A socket bound here leaves no moment in which somebody else can take the port.
    listener = socket.create_server((host, port))
    # asyncio leaves this out for such a socket, and every answer would take 40 ms. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", timeout_graceful_shutdown=1, **config))
    return server, listener, f"http://{host}:{listener.getsockname()[1]}"


def start_in_thread(
    app: ASGIApp, *, host: str, port: int, **config: Any
) -> tuple[uvicorn.Server, threading.Thread, str]:
    """
    Start a server in a thread of this process, and wait until it serves.

    The parameters are those of `make_server`. To stop it, set the server's ``should_exit`` and join the thread.

    :returns: the server, its thread and the base URL
    :raises OSError: the address is taken, or not one of this host
    :raises RuntimeError: the server did not start
    """
    server, listener, base_url = make_server(app, host=host, port=port, **config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("The server did not start")
        thread.join(0.005)
    return server, thread, base_url


@dataclass(frozen=True)
class SeenRequest:
    """
    A request that the sandbox has answered.

    :param method: HTTP method
    :param path: path of the URL
    :param params: query parameters, decoded, in their order
    :param headers: headers by lower-case name, without those that hold a key
    :param status: HTTP status of the answer
    """

    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    status: int


class Sandbox(_Service):
    """
    The sandbox in a thread of this process, on a free port of 127.0.0.1; a context manager, for one use.

    ``now``, ``faults`` and ``records`` may be reassigned while it runs, and count from the next request on
    (``records`` from the next walk on). The count of hits starts anew with each new `Faults`.
    ``base_url`` is there once it runs; ``api_key`` and ``organization`` are what it answers to and for;
    ``requests`` are those answered so far.
    """

    base_url: str
    api_key = API_KEY

    def __init__(
        self,
        *,
        users: int = 250,
        seed: int = 7,
        now: Clock | None = None,
        faults: Faults | None = None,
        records: Records | None = None,
    ) -> None:
        """
        Make up the organisation.

        :param users: people who use Claude Code once everybody does
        :param seed: what their usage follows from
        :param now: gives the time, with a time zone; the real clock by default
        :param faults: what goes wrong; nothing by default
        :param records: gives the records of a day at a moment, in place of made-up ones
        """
        super().__init__(Organization.named("Sandbox", users, seed), now, faults, records)
        self.requests: list[SeenRequest] = []

    def __enter__(self) -> Self:
        """Start the server, and wait until it serves."""
        app = self._app()

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            async def record(message: Message) -> None:
                # Before the answer leaves, so that whoever has an answer finds its request.
                if message["type"] == "http.response.start":
                    self.requests.append(_seen(scope, message["status"]))
                await send(message)

            await app(scope, receive, record)

        # No logging configuration: that is the business of the process around it.
        self._server, self._thread, self.base_url = start_in_thread(
            recorded,
            host="127.0.0.1",
            port=0,
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self._server.should_exit = True
        self._thread.join()


def _seen(scope: Scope, status: int) -> SeenRequest:
    request = Request(scope)
    headers = {name: text for name, text in request.headers.items() if name not in ("x-api-key", "authorization")}
    return SeenRequest(request.method, scope["path"], request.query_params.multi_items(), headers, status)

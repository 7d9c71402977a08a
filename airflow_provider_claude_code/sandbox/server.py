"""The sandbox's HTTP server."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_claude_code.sandbox.cost_report import COST_PATH, cost_report
from airflow_provider_claude_code.sandbox.faults import Faults
from airflow_provider_claude_code.sandbox.lists import LISTS
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.report import REPORT_PATH, claude_code_report
from airflow_provider_claude_code.sandbox.responses import Answer, ApiError, Clock, Endpoint, json_response
from airflow_provider_claude_code.sandbox.service import API_KEY, Records, Service

ME_PATH = "/v1/organizations/me"

START_TIMEOUT = 30.0
"""Seconds."""


async def _me(service: Service, request: Request) -> Response:
    organization = service.authenticate(request)
    return json_response({"id": organization.id, "name": organization.name, "type": "organization"})


ENDPOINTS: dict[str, Answer] = {
    ME_PATH: _me,
    REPORT_PATH: claude_code_report,
    COST_PATH: cost_report,
    **LISTS,
}
"""The endpoints by path."""


async def _unknown(service: Service, request: Request) -> Response:
    raise ApiError(404, "Not found")


def _app(service: Service) -> Starlette:
    routes = [Route(path, Endpoint(service, answer)) for path, answer in ENDPOINTS.items()]
    return Starlette(routes=[*routes, Mount("/", Endpoint(service, _unknown))])


def create_app(
    organization: Organization,
    *,
    now: Clock | None = None,
    faults: Faults | None = None,
    records: Records | None = None,
) -> Starlette:
    """
    Return the sandbox's ASGI application.

    It accepts the key `API_KEY` and the bearer token `OAUTH_TOKEN` for ``organization``. The key `API_KEY` followed by
    ``-NAME`` is that of another organisation with this name and as many users.

    :param organization: the organisation of `API_KEY`
    :param now: returns the time, with a time zone; default: the real clock
    :param faults: the faults to simulate; default: none
    :param records: returns the records of a day at a time, in the API's JSON form, instead of generated ones. It is
        called for the first page of a day.
    """
    return _app(Service(organization, now, faults, records))


def make_server(app: ASGIApp, *, host: str, port: int, **config: Any) -> tuple[uvicorn.Server, socket.socket, str]:
    """
    Return a server, and the socket that it will use, which accepts connections from now on.

    :param app: ASGI application
    :param host: name or IPv4 address to listen on
    :param port: port to listen on; 0 chooses a free one
    :param config: other settings of `uvicorn.Config`
    :return: the server, its socket and the base URL
    :raises OSError: the address is taken, or not one of this host
    """
    # Bound here, so that no other process can take the port in between.
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

    :return: the server, its thread and the base URL
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
    :param headers: headers by lower-case name, without those that contain a key
    :param status: HTTP status of the answer
    """

    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    status: int


class Sandbox(Service):
    """
    The sandbox, in a thread of this process on a free port of 127.0.0.1. Use it as a context manager, once.

    You may set ``now``, ``faults`` and ``records`` while it runs. A new value applies from the next request on, and new
    ``records`` from the next first page on. With new `Faults`, the count of ``times`` begins again. ``base_url`` is set
    while it runs. ``api_key`` is the key that it accepts, ``organization`` is the invented organisation, and
    ``requests`` has the requests so far.
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
        Create the organisation.

        :param users: number of people in the organisation
        :param seed: seed of the generated usage; the same seed gives the same usage
        :param now: returns the time, with a time zone; default: the real clock
        :param faults: the faults to simulate; default: none
        :param records: returns the records of a day at a time, instead of generated ones
        """
        super().__init__(Organization.named("Sandbox", users, seed), now, faults, records)
        self.requests: list[SeenRequest] = []

    def __enter__(self) -> Self:
        """Start the server, and wait until it serves."""
        app = _app(self)

        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            async def record(message: Message) -> None:
                # Before the answer is sent, so that a caller with an answer finds its request.
                if message["type"] == "http.response.start":
                    self.requests.append(_seen(scope, message["status"]))
                await send(message)

            await app(scope, receive, record)

        # No logging configuration, since the surrounding process configures logging.
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

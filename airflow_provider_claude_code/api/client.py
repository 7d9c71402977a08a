"""The HTTP client, sync and async, over one paging walk and one retry policy."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import httpx
import msgspec
import tenacity

from airflow_provider_claude_code.api.errors import Inquiry
from airflow_provider_claude_code.api.models import Organization
from airflow_provider_claude_code.api.paging import (
    Page,
    Request,
    Requests,
    bounded,
    is_organization_id,
    log_new_start,
    next_request,
    start_again_once,
)
from airflow_provider_claude_code.api.retries import retry_arguments
from airflow_provider_claude_code.api.settings import ClientSettings, unusable_environment
from airflow_provider_claude_code.exceptions import ClaudeCodeCursorError, ClaudeCodeResponseError

ORGANIZATION_PATH = "/v1/organizations/me"
MAX_BODY_SIZE = 32 * 1024 * 1024
"""
Bytes of a decompressed response body that are read at most.

A page has at most 1,000 records, which take some hundred bytes to a few kilobytes each, so real pages stay below some
megabytes. Whatever is larger is no page, and would cost a worker its memory before anybody could tell.
"""
MAX_HEADER_LENGTH = MAX_NAME_LENGTH = 200
"""Characters of a header, and of an organisation's name, that are kept."""
_HEADERS = (
    "anthropic-organization-id",
    "content-type",
    "date",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
"""The headers of a response that are looked at."""

HttpxClient = TypeVar("HttpxClient", httpx.Client, httpx.AsyncClient)


class ClaudeCodeClient:
    """
    A connection to the Claude Code Analytics API. Use it as a context manager, in one thread at a time.

    :param settings: where and how to ask.
    :param transport: replaces the network, for tests.
    """

    def __init__(self, settings: ClientSettings, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._http = _open(httpx.Client, settings, transport=transport)
        self._watch = _Watch(settings.response_timeout)

    def __enter__(self) -> ClaudeCodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def iter_pages(self, requests: Requests) -> Iterator[Page]:
        """
        Yield the pages that a walk asks for, in its order. Looking at their records checks them.

        :param requests: the walk.
        :raises ClaudeCodeAPIError: the walk does not come to its end.
        """
        return self._walk(bounded(requests))

    def has_records(self, walk: Callable[[], Requests]) -> bool:
        """
        Tell whether a walk finds a record, reading as little as possible.

        :param walk: begins the walk.
        :raises ClaudeCodeAPIError: the API does not say.
        """
        return start_again_once(lambda: any(page.records for page in self._walk(_short(walk(), self._settings))))

    def get_organization(self) -> Organization:
        """
        Return the organisation that the key belongs to.

        :raises ClaudeCodeAPIError: the API does not say.
        """
        inquiry = Inquiry(self._settings, "the key's organisation")
        return _read_organization(self._get(ORGANIZATION_PATH, inquiry, {}), inquiry)

    def _walk(self, requests: Requests) -> Iterator[Page]:
        request: Request | None = next(requests)
        while request is not None:
            page = Page(request, self._get(request.path, _inquiry(self._settings, request), request.query))
            # Its checks come before anybody may use it.
            request = next_request(requests, page)
            yield page

    def _get(self, path: str, inquiry: Inquiry, query: Mapping[str, str | int]) -> httpx.Response:
        attempts = tenacity.Retrying(**retry_arguments(inquiry.subject, self._settings.retry_budget, inquiry.described))
        with inquiry.typed_errors(attempts.statistics):
            for attempt in attempts:
                with (
                    attempt,
                    self._watch.limited(),
                    self._http.stream("GET", path, **self._watch.sent(query)) as response,
                ):
                    body = _Body(response, inquiry)
                    for piece in response.iter_bytes():
                        body.add(piece)
                        del piece  # Else the traceback of a later error would hold people.
                    return body.response().raise_for_status()
        raise AssertionError("the retries end with a response or an error")


class AsyncClaudeCodeClient:
    """
    :class:`ClaudeCodeClient` for the triggerer's event loop. Use it as an async context manager.

    :param settings: where and how to ask.
    :param transport: replaces the network, for tests.
    """

    def __init__(self, settings: ClientSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._http = _open(httpx.AsyncClient, settings, transport=transport)

    async def __aenter__(self) -> AsyncClaudeCodeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def iter_pages(self, requests: Requests) -> AsyncIterator[Page]:
        """Yield the pages that a walk asks for; see :meth:`ClaudeCodeClient.iter_pages`."""
        return self._walk(bounded(requests))

    async def has_records(self, walk: Callable[[], Requests]) -> bool:
        """Tell whether a walk finds a record; see :meth:`ClaudeCodeClient.has_records`."""
        try:
            return await self._finds_records(walk())
        except ClaudeCodeCursorError as error:
            log_new_start(error)
            return await self._finds_records(walk())

    async def _finds_records(self, requests: Requests) -> bool:
        async for page in self._walk(_short(requests, self._settings)):
            if page.records:
                return True
        return False

    async def _walk(self, requests: Requests) -> AsyncIterator[Page]:
        request: Request | None = next(requests)
        while request is not None:
            page = Page(request, await self._get(request.path, _inquiry(self._settings, request), request.query))
            request = next_request(requests, page)
            yield page

    async def _get(self, path: str, inquiry: Inquiry, query: Mapping[str, str | int]) -> httpx.Response:
        attempts = tenacity.AsyncRetrying(
            **retry_arguments(inquiry.subject, self._settings.retry_budget, inquiry.described)
        )
        with inquiry.typed_errors(attempts.statistics):
            async for attempt in attempts:
                with attempt:
                    async with (
                        _limited(self._settings.response_timeout),
                        self._http.stream("GET", path, params=query) as response,
                    ):
                        body = _Body(response, inquiry)
                        async for piece in response.aiter_bytes():
                            body.add(piece)
                            del piece  # Else the traceback of a later error would hold people.
                        return body.response().raise_for_status()
        raise AssertionError("the retries end with a response or an error")


class _Watch:
    """
    Ends a response that does not end.

    The time-outs of httpx are for each read, so a server that sends a byte now and then never meets them. A thread
    shuts the connection down, which lets a read end at once.

    :param seconds: how long a whole response may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._over = False

    def sent(self, query: Mapping[str, str | int]) -> dict[str, Any]:
        """Return the arguments of a request that tells which connection it uses."""
        return {"params": query, "extensions": {"trace": self._follow}}

    @contextmanager
    def limited(self) -> Iterator[None]:
        """
        Limit the time of what happens within.

        :raises httpx.ReadTimeout: it took longer.
        """
        self._over = False
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except httpx.RequestError:
            if not self._over:
                raise
        finally:
            timer.cancel()
            timer.join()
        if self._over:
            # Also for an answer that ends with its connection, and so seems to be whole.
            raise _too_slow(self._seconds)

    def _follow(self, event: str, information: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = information["return_value"].get_extra_info("socket")
            if self._over:
                self._shut_down()

    def _end(self) -> None:
        self._over = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Not that of ssl, which would forget the encryption under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@asynccontextmanager
async def _limited(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _too_slow(seconds) from None


def _too_slow(seconds: float) -> httpx.ReadTimeout:
    return httpx.ReadTimeout(f"the response was not complete after {seconds:g} s")


class _Body:
    """Collects a response's body piece by piece, as far as ``MAX_BODY_SIZE``."""

    def __init__(self, response: httpx.Response, inquiry: Inquiry) -> None:
        # A piece that was read grows a thousandfold by gzip, but without bound by several or other encodings, before
        # it can be counted. What was not asked for stays encoded, and is no JSON then.
        if response.headers.get("content-encoding", "").lower() != "gzip":
            response.headers.pop("content-encoding", None)
        self._response = response
        self._inquiry = inquiry
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """
        Add a piece.

        :raises ClaudeCodeResponseError: the body is larger than any page.
        """
        self._size += len(piece)
        if self._size > MAX_BODY_SIZE:
            request_id = self._headers().get("request-id")
            raise ClaudeCodeResponseError(
                f"Asking for {self._inquiry.subject} was answered {self._response.status_code} with more than "
                f"{MAX_BODY_SIZE} bytes, so nothing of it is used. Check the base URL and that no proxy answers in the "
                f"API's place; if a page can be that large, lower page_limit (request-id {request_id}).",
                status=self._response.status_code,
                request_id=request_id,
            )
        self._pieces.append(piece)

    def response(self) -> httpx.Response:
        """Return the response with its whole body, which is decoded by now."""
        return httpx.Response(
            self._response.status_code,
            headers=self._headers(),
            content=b"".join(self._pieces),
            request=self._response.request,
        )

    def _headers(self) -> httpx.Headers:
        """Return the headers that are looked at, fit to be quoted."""
        headers = self._response.headers
        shown = {name: self._inquiry.quoted(headers[name], MAX_HEADER_LENGTH) for name in _HEADERS if name in headers}
        return httpx.Headers([(name.encode(), value.encode()) for name, value in shown.items()])


def _inquiry(settings: ClientSettings, request: Request) -> Inquiry:
    return Inquiry(settings, request.subject, later_page=request.number > 1)


def _short(requests: Requests, settings: ClientSettings) -> Requests:
    """Let a walk that looks for one record take as long as one request."""
    return bounded(requests, settings.retry_budget + settings.response_timeout)


def _open(client_class: type[HttpxClient], settings: ClientSettings, transport: Any) -> HttpxClient:
    network = settings.network_arguments() if transport is None else {"transport": transport}
    try:
        return client_class(**settings.httpx_arguments, **network)
    except (ValueError, OSError, ImportError) as error:
        failure = unusable_environment(error)
    raise failure


def _read_organization(response: httpx.Response, inquiry: Inquiry) -> Organization:
    try:
        organization = msgspec.json.decode(response.content, type=Organization)
        if not is_organization_id(inquiry.quoted(organization.id)):
            raise msgspec.ValidationError
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ClaudeCodeResponseError(
            "The answer about the key's organisation is not the documented JSON. Is the base URL that of the "
            "Anthropic API, and does no proxy answer in its place?",
            status=response.status_code,
            request_id=response.headers.get("request-id"),
        ) from None
    return msgspec.structs.replace(organization, name=inquiry.quoted(organization.name, MAX_NAME_LENGTH))

"""The HTTP client, synchronous and asynchronous. Both share the walks, the retries and the errors."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import msgspec
import tenacity

from airflow_provider_claude_code.api.errors import Inquiry
from airflow_provider_claude_code.api.models import Organization
from airflow_provider_claude_code.api.paging import (
    Page,
    Request,
    Walk,
    bounded,
    is_organization_id,
    log_new_start,
    next_request,
    start_again,
)
from airflow_provider_claude_code.api.rate_limit import RateLimit
from airflow_provider_claude_code.api.request_log import leave_cursors_out_of_the_log
from airflow_provider_claude_code.api.retries import retry_arguments
from airflow_provider_claude_code.api.settings import ClientSettings, environment_error
from airflow_provider_claude_code.exceptions import ClaudeCodeAPIError, ClaudeCodeCursorError, ClaudeCodeResponseError

ORGANIZATION_PATH = "/v1/organizations/me"
MAX_BODY_SIZE = 32 * 1024 * 1024
"""
Maximum size of a decompressed response body in bytes.

A page has at most 1,000 records of some hundred bytes to a few kilobytes each, so real pages have a few megabytes at
most. A larger body is not a page, and could exhaust the memory of a worker.
"""
MAX_HEADER_LENGTH = MAX_NAME_LENGTH = 200
"""Maximum number of characters kept of a header or of an organisation's name."""
_HEADERS = (
    "anthropic-organization-id",
    "content-type",
    "date",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
"""The headers of a response that are used."""

HttpxClient = TypeVar("HttpxClient", httpx.Client, httpx.AsyncClient)


class ClaudeCodeClient:
    """
    A connection to the Claude Code Analytics API. Use it as a context manager, in one thread at a time.

    :param settings: where and how to ask.
    :param transport: replaces the network, for tests.
    :param rate_limit: when the next request may begin, for all clients that share it; ``None`` for no limit.
    """

    def __init__(
        self,
        settings: ClientSettings,
        transport: httpx.BaseTransport | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self._settings = settings
        self._rate_limit = rate_limit
        self._http = _open(httpx.Client, settings, transport=transport)
        self._watch = _Watch(settings.response_timeout)

    def __enter__(self) -> ClaudeCodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def iter_pages(self, walk: Walk) -> Iterator[Page]:
        """
        Yield the pages that a walk requests, in order. The records of a page are checked when they are read.

        :param walk: the walk.
        :raises ClaudeCodeAPIError: the walk fails before its end.
        """
        return self._pages(bounded(walk))

    def has_records(self, begin_walk: Callable[[], Walk]) -> bool:
        """
        Return whether a walk finds a record. Reads as few pages as possible.

        :param begin_walk: begins the walk.
        :raises ClaudeCodeAPIError: a request fails.
        """
        return start_again(lambda: any(page.new_records for page in self._pages(_short(begin_walk(), self._settings))))

    def first_page(self, begin_walk: Callable[[], Walk]) -> tuple[Page, datetime]:
        """
        Return the first page of a walk, and when it was sent.

        :param begin_walk: begins the walk.
        :raises ClaudeCodeAPIError: the request fails.
        """
        return _dated(next(self._pages(_short(begin_walk(), self._settings))))

    def get_organization(self, *, without_retries: bool = False) -> Organization:
        """
        Return the organisation that the key belongs to.

        :param without_retries: ask once only.
        :raises ClaudeCodeAPIError: the request fails.
        """
        settings = dataclasses.replace(self._settings, retry_budget=0) if without_retries else self._settings
        inquiry = Inquiry(settings, "the key's organisation")
        return _read_organization(self._get(ORGANIZATION_PATH, inquiry, {}), inquiry)

    def _pages(self, walk: Walk) -> Iterator[Page]:
        request: Request | None = next(walk)
        while request is not None:
            answer = self._answer(request)
            # Its checks run before anything else uses it.
            request = next_request(walk, answer)
            if isinstance(answer, Page):
                yield answer

    def _answer(self, request: Request) -> Page | ClaudeCodeAPIError:
        try:
            return Page(request, self._get(request.path, _inquiry(self._settings, request), _asked(request)))
        except ClaudeCodeAPIError as error:
            return error

    def _get(self, path: str, inquiry: Inquiry, asked: Mapping[str, Any]) -> httpx.Response:
        arguments = retry_arguments(inquiry.subject, inquiry.settings.retry_budget, inquiry.described)
        if self._rate_limit is not None:
            # Before the retry budget starts.
            self._rate_limit.wait()
            arguments["sleep"] = self._rate_limit.pause
        attempts = tenacity.Retrying(**arguments)
        with inquiry.typed_errors(attempts.statistics):
            for attempt in attempts:
                with (
                    attempt,
                    self._watch.limited(),
                    self._http.stream("GET", path, **asked, **self._watch.extensions()) as response,
                ):
                    body = _Body(response, inquiry)
                    for piece in response.iter_bytes():
                        body.add(piece)
                        del piece  # Otherwise, the traceback of a later error would contain people.
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

    def iter_pages(self, walk: Walk) -> AsyncIterator[Page]:
        """Yield the pages that a walk requests; see :meth:`ClaudeCodeClient.iter_pages`."""
        return self._pages(bounded(walk))

    async def has_records(self, begin_walk: Callable[[], Walk]) -> bool:
        """Return whether a walk finds a record; see :meth:`ClaudeCodeClient.has_records`."""
        try:
            return await self._finds_records(begin_walk())
        except ClaudeCodeCursorError as error:
            log_new_start(error)
            return await self._finds_records(begin_walk())

    async def first_page(self, begin_walk: Callable[[], Walk]) -> tuple[Page, datetime]:
        """Return the first page of a walk; see :meth:`ClaudeCodeClient.first_page`."""
        return _dated(await anext(self._pages(_short(begin_walk(), self._settings))))

    async def _finds_records(self, walk: Walk) -> bool:
        async for page in self._pages(_short(walk, self._settings)):
            if page.new_records:
                return True
        return False

    async def _pages(self, walk: Walk) -> AsyncIterator[Page]:
        request: Request | None = next(walk)
        while request is not None:
            answer = await self._answer(request)
            request = next_request(walk, answer)
            if isinstance(answer, Page):
                yield answer

    async def _answer(self, request: Request) -> Page | ClaudeCodeAPIError:
        try:
            return Page(request, await self._get(request.path, _inquiry(self._settings, request), _asked(request)))
        except ClaudeCodeAPIError as error:
            return error

    async def _get(self, path: str, inquiry: Inquiry, asked: Mapping[str, Any]) -> httpx.Response:
        attempts = tenacity.AsyncRetrying(
            **retry_arguments(inquiry.subject, self._settings.retry_budget, inquiry.described)
        )
        with inquiry.typed_errors(attempts.statistics):
            async for attempt in attempts:
                with attempt:
                    async with (
                        _limited(self._settings.response_timeout),
                        self._http.stream("GET", path, **asked) as response,
                    ):
                        body = _Body(response, inquiry)
                        async for piece in response.aiter_bytes():
                            body.add(piece)
                            del piece  # Otherwise, the traceback of a later error would contain people.
                        return body.response().raise_for_status()
        raise AssertionError("the retries end with a response or an error")


class _Watch:
    """
    Ends a response that takes too long.

    The time-outs of httpx apply to each read, so a server that sends single bytes never reaches them. A thread shuts
    the connection down, which ends a read at once.

    :param seconds: how long a whole response may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._over = False

    def extensions(self) -> dict[str, Any]:
        """Return the arguments of a request that tells which connection it uses."""
        return {"extensions": {"trace": self._follow}}

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
            # Also for an answer that ends when its connection closes, and therefore seems complete.
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
    """Collects the body of a response piece by piece, up to ``MAX_BODY_SIZE``."""

    def __init__(self, response: httpx.Response, inquiry: Inquiry) -> None:
        # A piece is decoded before it can be counted. gzip expands it a thousandfold at most, but other encodings, or
        # several, without limit. These were not requested and are not decoded, so the body is not valid JSON.
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
                f"The answer to the request for {self._inquiry.subject} (status {self._response.status_code}) has more "
                f"than {MAX_BODY_SIZE} bytes, so nothing of it is used. Check the base URL, and that no proxy answers "
                f"instead of the API; if a page can be that large, lower page_limit (request-id {request_id}).",
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
        """Return the headers that are used, safe to quote."""
        headers = self._response.headers
        shown = {name: self._inquiry.quoted(headers[name], MAX_HEADER_LENGTH) for name in _HEADERS if name in headers}
        return httpx.Headers([(name.encode(), value.encode()) for name, value in shown.items()])


def _dated(page: Page) -> tuple[Page, datetime]:
    return page, page.answered_at or datetime.now(UTC)


def _asked(request: Request) -> dict[str, Any]:
    """Return the arguments that identify the requested page."""
    return {"params": request.query, "headers": request.headers}


def _inquiry(settings: ClientSettings, request: Request) -> Inquiry:
    return Inquiry(settings, request.subject, request.number > 1, request.enterprise_scope)


def _short(walk: Walk, settings: ClientSettings) -> Walk:
    """Limit a walk that looks for one record to the time of one request."""
    return bounded(walk, settings.retry_budget + settings.response_timeout)


def _open(client_class: type[HttpxClient], settings: ClientSettings, transport: Any) -> HttpxClient:
    leave_cursors_out_of_the_log()
    network = settings.network_arguments() if transport is None else {"transport": transport}
    try:
        return client_class(**settings.httpx_arguments, **network)
    except (ValueError, OSError, ImportError) as error:
        failure = environment_error(error)
    raise failure


def _read_organization(response: httpx.Response, inquiry: Inquiry) -> Organization:
    try:
        organization = msgspec.json.decode(response.content, type=Organization)
        if not is_organization_id(inquiry.quoted(organization.id)):
            raise msgspec.ValidationError
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ClaudeCodeResponseError(
            "The answer about the key's organisation is not the documented JSON. Check the base URL, and that no proxy "
            "answers instead of the API.",
            status=response.status_code,
            request_id=response.headers.get("request-id"),
        ) from None
    return msgspec.structs.replace(organization, name=inquiry.quoted(organization.name, MAX_NAME_LENGTH))

"""The HTTP client, sync and async, over one paging walk and one retry policy."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec
import stamina

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.api.models import Organization
from airflow_provider_claude_code.api.paging import MAX_PAGE_LIMIT, REPORT_PATH, DayWalk, Page
from airflow_provider_claude_code.api.retries import is_certificate_failure, read_error_envelope, retry_delay
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAPIError,
    ClaudeCodeAuthenticationError,
    ClaudeCodeBadRequestError,
    ClaudeCodeConfigurationError,
    ClaudeCodeConnectionError,
    ClaudeCodePermissionError,
    ClaudeCodeRateLimitError,
    ClaudeCodeResponseError,
    ClaudeCodeServerError,
)

DEFAULT_BASE_URL = "https://api.anthropic.com"
DEFAULT_ANTHROPIC_VERSION = "2023-06-01"
"""The version whose report is documented field by field."""
ORGANIZATION_PATH = "/v1/organizations/me"
PROJECT_URL = "https://github.com/airflow-provider-claude-code/airflow-provider-claude-code"
MAX_BODY_SIZE = 256 * 1024 * 1024
"""
Bytes of a decompressed response body that are read at most.

A page has at most 1,000 records, which take some hundred bytes to a few kilobytes each, so real pages stay below some
megabytes. Whatever is larger is no page, and would cost a worker its memory before anybody could tell.
"""

Authentication = Literal["api_key", "bearer"]

HttpxClient = TypeVar("HttpxClient", httpx.Client, httpx.AsyncClient)

_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    How to reach the API. Checked on creation.

    :param api_key: an admin API key, or an OAuth token with the ``org:admin`` scope.
    :param authentication: ``"api_key"`` sends it as ``x-api-key``, ``"bearer"`` as ``Authorization: Bearer``.
    :param base_url: scheme and host; ``https``, or ``http`` on this machine only.
    :param page_limit: records per page, 1 to 1000.
    :param request_timeout: seconds to wait for each part of a response.
    :param retry_budget: seconds after which a failed request is not repeated any more.
    :param anthropic_version: ``anthropic-version`` header.
    :param user_agent_suffix: added to the ``User-Agent``, to tell deployments apart.
    :raises ClaudeCodeConfigurationError: a value cannot be used; the message says which and why.
    """

    api_key: str = field(repr=False)
    authentication: Authentication = "api_key"
    base_url: str = DEFAULT_BASE_URL
    page_limit: int = MAX_PAGE_LIMIT
    request_timeout: float = 60.0
    retry_budget: float = 600.0
    anthropic_version: str = DEFAULT_ANTHROPIC_VERSION
    user_agent_suffix: str = ""

    def __post_init__(self) -> None:
        """Refuse what would fail later in a less clear way, or send the key where it must not go."""
        url = _split_url(self.base_url)
        if url is None:
            raise ClaudeCodeConfigurationError("The API base URL is not a URL: its host or port cannot be read.")
        checks = [
            # No check holds the key itself, since some tools show the variables of what raised.
            (bool(self.api_key), "The admin API key is missing"),
            (
                self.api_key == self.api_key.strip(),
                "The admin API key starts or ends with blanks or a line break; paste it again",
            ),
            (
                self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key,
                "The admin API key holds blanks, line breaks or characters that no key has; paste it again",
            ),
            (
                self.authentication in get_args(Authentication),
                f"authentication must be one of {', '.join(get_args(Authentication))}",
            ),
            (
                url.scheme in ("http", "https") and url.hostname,
                "The API base URL needs a scheme and a host, for example https://api.anthropic.com",
            ),
            (
                url.scheme != "http" or url.hostname in _LOOPBACK_HOSTS,
                "The API base URL must use https: over plain http anybody on the way could read the key "
                "(http is allowed for 127.0.0.1, ::1 and localhost only)",
            ),
            (
                not re.search(r"\s", self.base_url),
                "The API base URL holds blanks or line breaks; paste it again",
            ),
            (
                not (url.query or url.fragment or url.username or url.password),
                "The API base URL must not hold a query, a fragment or credentials",
            ),
            (
                self.api_key.lower() not in self.base_url.lower(),
                "The API base URL holds the admin API key, and messages name the URL",
            ),
            (
                1 <= self.page_limit <= MAX_PAGE_LIMIT,
                f"Records per page must be between 1 and {MAX_PAGE_LIMIT}, got {self.page_limit}",
            ),
            (
                0 < self.request_timeout <= 3600,
                f"The request timeout must be above 0 and at most 3600 seconds, got {self.request_timeout}",
            ),
            (
                0 <= self.retry_budget <= 86400,
                f"The time budget for retries must be 0 to 86400 seconds, got {self.retry_budget}",
            ),
            (
                re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", self.anthropic_version),
                f"anthropic-version must look like {DEFAULT_ANTHROPIC_VERSION}",
            ),
            (
                self.user_agent_suffix.isascii() and (self.user_agent_suffix or " ").isprintable(),
                "The User-Agent suffix must be printable ASCII on one line",
            ),
        ]
        for usable, problem in checks:
            if not usable:
                raise ClaudeCodeConfigurationError(f"{problem}.")

    @property
    def httpx_arguments(self) -> dict[str, Any]:
        """
        Arguments of the httpx client.

        Redirects are not followed, so that the key never goes to another host. httpx itself honours
        ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.
        """
        credentials = (
            {"x-api-key": self.api_key}
            if self.authentication == "api_key"
            else {"authorization": f"Bearer {self.api_key}"}
        )
        agent = f"airflow-provider-claude-code/{__version__} (+{PROJECT_URL}) {self.user_agent_suffix}"
        return {
            "base_url": self.base_url,
            "headers": {
                **credentials,
                "anthropic-version": self.anthropic_version,
                "user-agent": agent.strip(),
                "accept": "application/json",
                "accept-encoding": "gzip",
            },
            "timeout": httpx.Timeout(self.request_timeout, connect=min(self.request_timeout, 15.0)),
        }

    def retry_arguments(self) -> dict[str, Any]:
        """Arguments of :func:`stamina.retry_context` for one request; its budget starts now."""
        deadline = time.monotonic() + self.retry_budget

        def delay_within_budget(error: Exception) -> float | bool:
            delay = retry_delay(error)
            # A server that asks for more patience than is left is told no at once, not at the deadline.
            return delay if isinstance(delay, bool) or time.monotonic() + delay < deadline else False

        return {
            "on": delay_within_budget,
            "attempts": None if self.retry_budget else 1,
            "timeout": self.retry_budget or None,
            "wait_initial": 1.0,
            "wait_max": 60.0,
            "wait_jitter": 1.0,
        }


class ClaudeCodeClient:
    """
    A connection to the Claude Code Analytics API. Use it as a context manager.

    :param settings: where and how to ask.
    :param transport: replaces the network, for tests.
    """

    def __init__(self, settings: ClientSettings, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._http = _open(httpx.Client, settings, transport=transport)

    def __enter__(self) -> ClaudeCodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def iter_pages(self, day: date, *, limit: int | None = None) -> Iterator[Page]:
        """
        Yield the pages of one UTC day, in the API's order. Looking at their records checks them.

        :param day: the UTC day.
        :param limit: records per page; defaults to the settings' ``page_limit``.
        :raises ClaudeCodeAPIError: the day cannot be read whole.
        """
        walk = DayWalk(day, limit or self._settings.page_limit)
        while walk.query is not None:
            yield walk.read(self._get(REPORT_PATH, f"the Claude Code usage of {day}", walk.query))

    def has_records(self, day: date) -> bool:
        """
        Tell whether the API has a record of a UTC day, reading as little as possible.

        :raises ClaudeCodeAPIError: the API does not say.
        """
        return any(page.records for page in self.iter_pages(day, limit=1))

    def get_organization(self) -> Organization:
        """
        Return the organisation that the key belongs to.

        :raises ClaudeCodeAPIError: the API does not say.
        """
        return _read_organization(self._get(ORGANIZATION_PATH, "the key's organisation", {}))

    def _get(self, path: str, subject: str, query: dict[str, str | int]) -> httpx.Response:
        with _typed_errors(self._settings, subject):
            for attempt in stamina.retry_context(**self._settings.retry_arguments()):
                with attempt, self._http.stream("GET", path, params=query) as response:
                    body = _Body(response, subject)
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

    async def iter_pages(self, day: date, *, limit: int | None = None) -> AsyncIterator[Page]:
        """Yield the pages of one UTC day; see :meth:`ClaudeCodeClient.iter_pages`."""
        walk = DayWalk(day, limit or self._settings.page_limit)
        while walk.query is not None:
            yield walk.read(await self._get(REPORT_PATH, f"the Claude Code usage of {day}", walk.query))

    async def has_records(self, day: date) -> bool:
        """Tell whether the API has a record of a UTC day; see :meth:`ClaudeCodeClient.has_records`."""
        async for page in self.iter_pages(day, limit=1):
            if page.records:
                return True
        return False

    async def _get(self, path: str, subject: str, query: dict[str, str | int]) -> httpx.Response:
        with _typed_errors(self._settings, subject):
            async for attempt in stamina.retry_context(**self._settings.retry_arguments()):
                with attempt:
                    async with self._http.stream("GET", path, params=query) as response:
                        body = _Body(response, subject)
                        async for piece in response.aiter_bytes():
                            body.add(piece)
                            del piece  # Else the traceback of a later error would hold people.
                        return body.response().raise_for_status()
        raise AssertionError("the retries end with a response or an error")


class _Body:
    """Collects a response's body piece by piece, as far as ``MAX_BODY_SIZE``."""

    def __init__(self, response: httpx.Response, subject: str) -> None:
        # A piece that was read grows a thousandfold by gzip, but without bound by several or other encodings, before
        # it can be counted. What was not asked for stays encoded, and is no JSON then.
        if response.headers.get("content-encoding", "").lower() != "gzip":
            response.headers.pop("content-encoding", None)
        self._response = response
        self._subject = subject
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """
        Add a piece.

        :raises ClaudeCodeResponseError: the body is larger than any page.
        """
        self._size += len(piece)
        if self._size > MAX_BODY_SIZE:
            request_id = self._response.headers.get("request-id")
            raise ClaudeCodeResponseError(
                f"Asking for {self._subject} was answered {self._response.status_code} with more than {MAX_BODY_SIZE} "
                "bytes, which no page has, so nothing of it is used. Check the base URL and that no proxy answers in "
                f"the API's place (request-id {request_id}).",
                status=self._response.status_code,
                request_id=request_id,
            )
        self._pieces.append(piece)

    def response(self) -> httpx.Response:
        """Return the response with its whole body, which is decoded by now."""
        headers = self._response.headers.copy()
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        return httpx.Response(
            self._response.status_code,
            headers=headers,
            content=b"".join(self._pieces),
            request=self._response.request,
        )


def _split_url(text: str) -> SplitResult | None:
    # What urllib raises quotes what was pasted in the place of a host or a port, and may be the key.
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return None
    return url


def _open(client_class: type[HttpxClient], settings: ClientSettings, **arguments: Any) -> HttpxClient:
    try:
        return client_class(**settings.httpx_arguments, **arguments)
    except (ValueError, OSError, ImportError) as error:
        # Without its text: a proxy's URL may hold a password.
        raise ClaudeCodeConfigurationError(
            f"The HTTP client cannot be set up ({type(error).__name__}): check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, "
            "SSL_CERT_FILE and SSL_CERT_DIR in the environment."
        ) from None


def _read_organization(response: httpx.Response) -> Organization:
    try:
        return msgspec.json.decode(response.content, type=Organization)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ClaudeCodeResponseError(
            "The answer about the key's organisation is not the documented JSON. Is the base URL that of the "
            "Anthropic API, and does no proxy answer in its place?",
            status=response.status_code,
            request_id=response.headers.get("request-id"),
        ) from None


@contextmanager
def _typed_errors(settings: ClientSettings, subject: str) -> Iterator[None]:
    """Turn httpx's errors into ours, and keep the originals, whose request holds the key, out of tracebacks."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _status_error(error.response, settings, subject) from None
    except httpx.RequestError as error:
        advice = (
            "The server's certificate is not trusted; point SSL_CERT_FILE at the file with your "
            "organisation's CA certificate."
            if is_certificate_failure(error)
            else "Check the base URL, the network and the proxy (HTTPS_PROXY, NO_PROXY)."
        )
        raise ClaudeCodeConnectionError(
            f"Asking {settings.base_url} for {subject} failed: {type(error).__name__}: {error}. {advice}"
        ) from None


_ERROR_CLASSES: dict[int, type[ClaudeCodeAPIError]] = {
    401: ClaudeCodeAuthenticationError,
    402: ClaudeCodePermissionError,
    403: ClaudeCodePermissionError,
    408: ClaudeCodeServerError,
    409: ClaudeCodeServerError,
    429: ClaudeCodeRateLimitError,
}


def _status_error(response: httpx.Response, settings: ClientSettings, subject: str) -> ClaudeCodeAPIError:
    status = response.status_code
    envelope = read_error_envelope(response)
    request_id = response.headers.get("request-id") or (envelope.request_id if envelope else None)
    if envelope is None:
        said = "not in the API's error format, so a proxy or another server may have answered"
    else:
        # A message could echo what was sent.
        said = f"{envelope.error.type}: {envelope.error.message}".replace(settings.api_key, "***")[:400]
    error_class = _ERROR_CLASSES.get(status, ClaudeCodeServerError if status >= 500 else ClaudeCodeBadRequestError)
    return error_class(
        # The advice before the details: the connection test's message is shown for seconds.
        f"Asking for {subject} was answered {status}. {_advice(status, settings)} ({said}; request-id {request_id})",
        status=status,
        error_type=envelope.error.type if envelope else None,
        request_id=request_id,
    )


def _advice(status: int, settings: ClientSettings) -> str:
    match status:
        case 401 | 403:
            return _key_advice(settings.api_key)
        case 402:
            return "Check the organisation's billing in the Claude Console."
        case 429:
            return (
                "The organisation's rate limit was still exceeded when the time budget for retries ended: run "
                "fewer loads at once (a pool, max_active_tis_per_dag), or raise the Connection's retry_budget."
            )
        case 300 | 301 | 302 | 303 | 307 | 308:
            return "Redirects are not followed, to keep the key from other hosts: correct the API base URL."
        case 404:
            return "Check the API base URL: the report was not found under it."
        case _ if status >= 500 or status in (408, 409):
            return (
                "The API's own trouble outlasted the time budget for retries; try again later (status.anthropic.com)."
            )
        case _:
            return "The request itself was refused: check the day and the Connection's extra fields."


def _key_advice(api_key: str) -> str:
    """Explain a refused key. Its prefix is a hint only: the API accepts more kinds than one."""
    if api_key.startswith("sk-ant-api03-"):
        kind = "This looks like a standard API key (sk-ant-api03-), which cannot read the report. "
    elif api_key.startswith("sk-ant-api01-"):
        kind = "This looks like an Enterprise Analytics key (sk-ant-api01-), which belongs to another API. "
    elif api_key.startswith("sk-ant-admin"):
        kind = "This looks like an admin key: it may have been revoked, or belong to another organisation. "
    else:
        kind = ""
    return (
        f"{kind}Use an admin API key (sk-ant-admin01-), which a member with the admin role creates in the "
        "Claude Console under Settings, Admin keys. Individual accounts have no Admin API."
    )

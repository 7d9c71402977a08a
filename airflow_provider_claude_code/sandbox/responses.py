"""Responses of the API: pages, errors in its envelope, and the effects of faults."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_claude_code.sandbox.faults import Faults

if TYPE_CHECKING:
    from airflow_provider_claude_code.sandbox.service import Service

log = logging.getLogger(__name__)

# Returns the time, with a time zone.
Clock = Callable[[], datetime]
Answer = Callable[["Service", Request], Awaitable[Response]]

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

_PROXY_PAGE = "<html><head><title>Proxy</title></head><body><h1>The proxy has no answer</h1></body></html>"

# Records that a test sets may contain a Decimal. The API writes amounts as numbers.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class ApiError(Exception):
    """An answer in the API's error envelope."""

    def __init__(
        self, status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.details = {"details": {"error_code": code}} if code else {}


def json_response(body: dict[str, Any]) -> Response:
    """Return a body as JSON."""
    return Response(_encode(body), media_type="application/json")


def page_response(body: dict[str, Any], faults: Faults) -> Response:
    """
    Return a page as JSON.

    :param body: the page
    :param faults: the faults of the request, which may slow the page down or cut it in half
    """
    if faults.drip:
        page = _DrippingResponse(_encode(body), media_type="application/json")
        page.pause = faults.drip
        return page
    response = _TruncatedResponse if faults.truncate else Response
    return response(_encode(body), media_type="application/json")


def error_response(faults: Faults) -> Response | None:
    """
    Return a proxy's page if the faults replace the response by one.

    :param faults: the faults of a request
    :raises ApiError: the faults replace the response by an error
    """
    retry_after = {} if faults.retry_after is None else {"retry-after": faults.retry_after}
    if faults.html:
        return HTMLResponse(_PROXY_PAGE, faults.status or 200, retry_after)
    if faults.status:
        raise ApiError(faults.status, "The sandbox was told to fail", retry_after, faults.error_code)
    return None


class _TruncatedResponse(Response):
    """A response whose first half arrives before the server drops the connection."""

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


class Endpoint:
    """
    An endpoint that adds the API's headers and turns errors into the API's envelope.

    :param service: the state of the sandbox
    :param answer: returns the response to a request, or raises `ApiError`
    """

    def __init__(self, service: Service, answer: Answer) -> None:
        self._service = service
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        headers = {
            "request-id": f"req_{uuid.uuid4().hex[:24]}",
            "date": format_datetime(self._service.now().astimezone(UTC), usegmt=True),
        }
        try:
            response = await self._answer(self._service, request)
        except Exception as exception:
            if isinstance(exception, ApiError):
                error = exception
            else:
                log.exception("The sandbox failed on %s", scope["path"])
                error = ApiError(500, "Internal server error")
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

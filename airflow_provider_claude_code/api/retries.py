"""Which failures of a request another attempt may mend, and how long to wait before it."""

from __future__ import annotations

import math
import random
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from airflow_provider_claude_code.api.models import ErrorEnvelope

RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
RATE_LIMIT_PAUSE = 15.0
"""Seconds that a 429 without ``retry-after`` waits at least: the API's window is a minute."""
SHORTEST_PAUSE = 1.0
"""Seconds that are waited even when the server says "at once", so that a loop never runs hot."""

_envelope_decoder = msgspec.json.Decoder(ErrorEnvelope)


def read_error_envelope(response: httpx.Response) -> ErrorEnvelope | None:
    """Return the API's error body, or ``None`` when something else (a proxy, say) has answered."""
    try:
        return _envelope_decoder.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def retry_delay(error: Exception, *, now: datetime | None = None) -> float | bool:
    """
    Decide about one failed attempt.

    :param error: what the attempt raised: an :class:`httpx.HTTPStatusError`, or an
        :class:`httpx.RequestError` when no complete response arrived.
    :param now: aware current time, for a ``retry-after`` that is a date.
    :return: ``False`` not to retry, the seconds to wait, or ``True`` for exponential backoff.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return _delay_after_response(error.response, now or datetime.now(UTC))
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return isinstance(error, httpx.RequestError) and not is_certificate_failure(error)


def is_certificate_failure(error: BaseException) -> bool:
    """Tell whether the server's certificate was refused, which no further attempt mends."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _delay_after_response(response: httpx.Response, now: datetime) -> float | bool:
    # The server's own word comes first, whatever the status.
    should_retry = response.headers.get("x-should-retry")
    if should_retry == "false":
        return False
    if should_retry != "true":
        if response.status_code not in RETRIED_STATUSES:
            return False
        envelope = read_error_envelope(response)
        details = envelope.error.details if envelope else None
        if details is not None and details.error_code == "enforced_spend_limit_reached":
            return False
    asked = _requested_delay(response.headers, now)
    if asked is not None:
        # The jitter keeps mapped tasks that were turned away together from coming back together.
        return max(asked, SHORTEST_PAUSE) + random.uniform(0, 1)  # noqa: S311
    if response.status_code == 429:
        return RATE_LIMIT_PAUSE * random.uniform(1, 2)  # noqa: S311
    return True


def _requested_delay(headers: httpx.Headers, now: datetime) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``retry-after`` ask for; ``None`` for absent or nonsense."""
    for value, unit in ((headers.get("retry-after-ms"), 0.001), (headers.get("retry-after"), 1.0)):
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    moment = parse_http_date(headers.get("retry-after"))
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def parse_http_date(text: str | None) -> datetime | None:
    """Return the moment in UTC that a header names; ``None`` for absent or nonsense."""
    try:
        moment = parsedate_to_datetime(text or "")
        # RFC 5322's "-0000" gives a naive time, which is UTC by definition.
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

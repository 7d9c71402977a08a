"""Which failed requests are retried, and after how long."""

from __future__ import annotations

import logging
import math
import random
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
import tenacity

from airflow_provider_claude_code.api.models import ErrorEnvelope

log = logging.getLogger(__name__)

RETRIED_BELOW_500 = frozenset({408, 409, 425, 429})
"""The statuses below 500 that are retried."""
NOT_RETRIED_FROM_500 = frozenset({501, 505, 511})
"""The statuses from 500 on that are not retried. All others are, such as Cloudflare's 520 to 530."""
SPENDING_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
"""Codes of a 429 that no retry fixes, since a spending limit was reached."""
RATE_LIMIT_PAUSE = 15.0
"""Minimum wait in seconds after a 429 without ``retry-after``: the API's window is a minute."""
SHORTEST_PAUSE = 1.0
"""Minimum wait in seconds, even if the server asks for none, to prevent a busy loop."""

_backoff = tenacity.wait_exponential_jitter(initial=1, max=60, jitter=1)
_envelope_decoder = msgspec.json.Decoder(ErrorEnvelope)


def retry_arguments(subject: str, budget: float, describe: Callable[[BaseException], str]) -> dict[str, Any]:
    """
    Return the arguments of tenacity's retrying for one request; its budget starts with the first attempt.

    :param subject: the requested data.
    :param budget: seconds for all attempts; 0 allows one attempt.
    :param describe: says in a few words what an attempt raised.
    """

    def pause(state: tenacity.RetryCallState) -> float:
        delay = retry_delay(_failure(state))
        return _backoff(state) if isinstance(delay, bool) else delay

    def log_retry(state: tenacity.RetryCallState) -> None:
        log.warning(
            "The request for %s %s. Retrying in %.0f s, giving up in %.0f s.",
            subject,
            describe(_failure(state)),
            state.upcoming_sleep,
            budget - (state.seconds_since_start or 0),
        )

    return {
        "retry": tenacity.retry_if_exception(lambda error: retry_delay(error) is not False),
        "wait": pause,
        # Fail at once, and not at the end of the budget, if the server asks for a longer wait than is left.
        "stop": tenacity.stop_before_delay(budget),
        "before_sleep": log_retry,
        "reraise": True,
    }


def _failure(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    if error is None:
        raise AssertionError("only failed attempts are repeated")
    return error


def read_error_envelope(response: httpx.Response) -> ErrorEnvelope | None:
    """Return the API's error body, or ``None`` when something else (a proxy, say) has answered."""
    try:
        return _envelope_decoder.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def retry_delay(error: BaseException, *, now: datetime | None = None) -> float | bool:
    """
    Decide whether to retry a failed attempt.

    :param error: what the attempt raised: an :class:`httpx.HTTPStatusError`, or an
        :class:`httpx.RequestError` when no complete response arrived.
    :param now: aware current time, for a ``retry-after`` that is a date.
    :return: ``False`` not to retry, the seconds to wait, or ``True`` for exponential backoff.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return _delay_after_response(error.response, now or datetime.now(UTC))
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    if isinstance(error, httpx.ProxyError) and (status := proxy_status(error)) is not None:
        return _is_retried(status)
    return isinstance(error, httpx.RequestError) and not is_certificate_failure(error)


def is_certificate_failure(error: BaseException) -> bool:
    """Return whether the server's certificate was refused, which no further attempt fixes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def proxy_status(error: httpx.ProxyError) -> int | None:
    """Return the status with which a proxy refused to let a connection through, if that is what happened."""
    status = re.match(r"([1-9][0-9]{2})\b", str(error), re.ASCII)
    return int(status[1]) if status else None


def _is_retried(status: int) -> bool:
    return status in RETRIED_BELOW_500 or (status >= 500 and status not in NOT_RETRIED_FROM_500)


def _delay_after_response(response: httpx.Response, now: datetime) -> float | bool:
    # The server's own advice comes first, for any status.
    should_retry = response.headers.get("x-should-retry")
    if should_retry == "false":
        return False
    if should_retry != "true":
        envelope = read_error_envelope(response)
        if not _is_retried(response.status_code) or (envelope and envelope.error_code in SPENDING_LIMITS):
            return False
    asked = _requested_delay(response.headers, now)
    if asked is not None:
        # Jitter, so that mapped tasks do not all retry at the same time.
        return max(asked, SHORTEST_PAUSE) + random.uniform(0, 1)  # noqa: S311
    if response.status_code == 429:
        return RATE_LIMIT_PAUSE * random.uniform(1, 2)  # noqa: S311
    return True


def _requested_delay(headers: httpx.Headers, now: datetime) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``retry-after`` ask for; ``None`` if absent or invalid."""
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
    """Return the time of a header in UTC; ``None`` if it is absent or invalid."""
    try:
        moment = parsedate_to_datetime(text or "")
        # RFC 5322's "-0000" gives a naive time, which is UTC by definition.
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

"""What can go wrong between the Claude Code Analytics API and a published day."""

from __future__ import annotations


class ClaudeCodeError(Exception):
    """
    The root of every error this provider raises by itself.

    A message says what happened, for which day, and what to do. It never holds a key, a header or a record.

    :cvar retryable: whether another try of the task can mend it; if not, operators and sensors fail the task
        without using up its retries.
    """

    retryable = True


class ClaudeCodeConfigurationError(ClaudeCodeError):
    """The Connection, an argument or the target is not usable as it is."""

    retryable = False


class ClaudeCodeAPIError(ClaudeCodeError):
    """
    The API was asked and did not give what was asked for.

    :ivar status: HTTP status, or ``None`` when no response arrived.
    :ivar error_type: ``error.type`` of the response's envelope, for example ``rate_limit_error``.
    :ivar request_id: the ``request-id`` that Anthropic's support asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error_type: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.request_id = request_id


class ClaudeCodeAuthenticationError(ClaudeCodeAPIError):
    """The API does not know the key (401)."""

    retryable = False


class ClaudeCodePermissionError(ClaudeCodeAPIError):
    """The key or its organisation may not read the report (400, 403), or billing forbids it (402, 429)."""

    retryable = False


class ClaudeCodeBadRequestError(ClaudeCodeAPIError):
    """The API, or a proxy on the way to it, refuses the request itself (any other 3xx or 4xx)."""

    retryable = False


class ClaudeCodeCursorError(ClaudeCodeAPIError):
    """The API refused a page after the first (4xx): the day must be read again from its first page."""


class ClaudeCodeRateLimitError(ClaudeCodeAPIError):
    """The API still answered 429 when the time budget for retries ended."""


class ClaudeCodeServerError(ClaudeCodeAPIError):
    """The API answered 408, 409, 425 or 5xx until the retries ended, or a 5xx that is not retried."""


class ClaudeCodeConnectionError(ClaudeCodeAPIError):
    """No complete response arrived in time: connection refused or reset, TLS failure, time-out."""


class ClaudeCodeResponseError(ClaudeCodeAPIError):
    """A response breaks the API's contract; nothing of the day is published."""


class ClaudeCodeIncompleteDayError(ClaudeCodeError):
    """The day is not past the API's freshness delay yet."""


class ClaudeCodeEmptyDayError(ClaudeCodeError):
    """The API answered with no records where ``on_empty`` asks for some."""


class ClaudeCodePublishError(ClaudeCodeError):
    """The day could not be published whole, for example because other writers kept replacing it."""


class ClaudeCodeSourceError(ClaudeCodeError):
    """Loaded usage could not be read."""


class ClaudeCodeDataQualityError(ClaudeCodeError):
    """A check of loaded usage found something."""

    retryable = False


class SupersededError(Exception):
    """Another load of the day was published while this one was on its way."""

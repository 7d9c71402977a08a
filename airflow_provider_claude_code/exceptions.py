"""The errors that this provider raises."""

from __future__ import annotations


class ClaudeCodeError(Exception):
    """
    The base class of all errors that this provider raises.

    A message says what happened, for which day, and what to do. It never contains a key, a header or a record.

    :cvar retryable: whether a retry of the task may fix the error. If not, operators and sensors fail the task without
        retries.
    """

    retryable = True


class ClaudeCodeConfigurationError(ClaudeCodeError):
    """The Connection, an argument or the target cannot be used."""

    retryable = False


class ClaudeCodeMissingConnectionError(ClaudeCodeConfigurationError):
    """
    Airflow finds no such Connection.

    Airflow says so, too, while a secrets backend or its metadata database does not answer (apache/airflow#71307).
    """

    retryable = True


class ClaudeCodeAPIError(ClaudeCodeError):
    """
    A request to the API failed.

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
    """
    The pages of a day are no longer consistent, so the day must be read again from its first page.

    The API refused a page after the first (4xx), or its data changed in between.
    """


class ClaudeCodeRateLimitError(ClaudeCodeAPIError):
    """The API still answered 429 when the time budget for retries ended."""


class ClaudeCodeServerError(ClaudeCodeAPIError):
    """The API answered 408, 409, 425 or 5xx until the retries ended, or a 5xx that is not retried."""


class ClaudeCodeConnectionError(ClaudeCodeAPIError):
    """
    No complete response of the API arrived in time.

    The connection was refused or reset, TLS failed, it took too long, or a firewall or proxy refused the request (401
    or 403 that is not from the API, or is about the network).
    """


class ClaudeCodeResponseError(ClaudeCodeAPIError):
    """A response of the API is invalid; nothing of the day is published."""


class ClaudeCodeIncompleteDayError(ClaudeCodeError):
    """The day is not complete in the API yet."""


class ClaudeCodeEmptyDayError(ClaudeCodeError):
    """The API has no records of the day, and ``on_empty`` does not allow to publish it."""


class ClaudeCodePublishError(ClaudeCodeError):
    """The day could not be published completely, for example because other writers kept replacing it."""


class ClaudeCodeSourceError(ClaudeCodeError):
    """Loaded data could not be read."""


class ClaudeCodeDataQualityError(ClaudeCodeError):
    """A check of loaded data failed."""

    retryable = False


class SupersededError(Exception):
    """Another load of the day was published during this one."""

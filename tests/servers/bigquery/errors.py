"""Errors in the service's envelope."""

from typing import Any

_STATUS = {
    "accessDenied": (403, "PERMISSION_DENIED"),
    "backendError": (503, "UNAVAILABLE"),
    "conditionNotMet": (412, "FAILED_PRECONDITION"),
    "duplicate": (409, "ALREADY_EXISTS"),
    "internalError": (500, "INTERNAL"),
    "notFound": (404, "NOT_FOUND"),
    "notImplemented": (501, "UNIMPLEMENTED"),
    "quotaExceeded": (403, "PERMISSION_DENIED"),
    "rateLimitExceeded": (403, "PERMISSION_DENIED"),
}


class BigQueryError(Exception):
    """
    A refusal: the answer to a request, or the end of a job.

    :param reason: the service's word for the kind of error; the HTTP status follows from it
    :param message: text for people
    :param details: the errors of single rows, for ``status.errors`` of a job
    """

    def __init__(self, reason: str, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = details or []

    @property
    def proto(self) -> dict[str, Any]:
        """The error as jobs carry it."""
        return {"reason": self.reason, "message": str(self)}

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUS.get(self.reason, (400, ""))[0]

    def body(self, status: int | None = None) -> dict[str, Any]:
        """
        Make the body of an HTTP answer.

        :param status: HTTP status other than the reason's own
        """
        code, name = _STATUS.get(self.reason, (400, "INVALID_ARGUMENT"))
        errors = [{**self.proto, "domain": "global"}]
        return {"error": {"code": status or code, "message": str(self), "errors": errors, "status": name}}


def not_found(kind: str, name: str) -> BigQueryError:
    """Make the error for something that does not exist."""
    return BigQueryError("notFound", f"Not found: {kind} {name}")

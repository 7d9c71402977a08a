"""The API's answers about the key's organisation and about failed requests."""

from __future__ import annotations

import msgspec


class Organization(msgspec.Struct, frozen=True, gc=False):
    """The answer of ``GET /v1/organizations/me``."""

    id: str
    name: str


class ErrorDetails(msgspec.Struct, frozen=True, gc=False):
    """Machine-readable details that some errors carry."""

    error_code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, gc=False):
    """What went wrong; ``type`` is stable, ``message`` is for people."""

    type: str
    message: str = ""
    details: ErrorDetails | None = None


class ErrorEnvelope(msgspec.Struct, frozen=True, gc=False):
    """The body of an error response."""

    error: ErrorBody
    request_id: str | None = None

    @property
    def error_code(self) -> str | None:
        """The error code, which is more specific than the type, if the API sends one."""
        return self.error.details.error_code if self.error.details else None

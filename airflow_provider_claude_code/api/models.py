"""The API's answers about the key's organisation and about failed requests."""

from __future__ import annotations

from typing import Any

import msgspec


class Organization(msgspec.Struct, frozen=True, gc=False):
    """The answer of ``GET /v1/organizations/me``."""

    id: str
    name: str


class ErrorBody(msgspec.Struct, frozen=True, gc=False):
    """What went wrong: ``type`` is stable, ``message`` is for people, and some errors carry ``details``."""

    type: str
    message: str | None = ""
    details: Any = None


class ErrorEnvelope(msgspec.Struct, frozen=True, gc=False):
    """The body of an error response. Its type tells that the API has sent it, whatever else it contains."""

    error: ErrorBody
    request_id: Any = None

    @property
    def error_code(self) -> str | None:
        """The error code, which is more specific than the type, if the API sends one."""
        code = self.error.details.get("error_code") if isinstance(self.error.details, dict) else None
        return code if isinstance(code, str) else None

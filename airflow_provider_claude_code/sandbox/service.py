"""The shared parts of all endpoints of the sandbox."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from starlette.requests import Request

from airflow_provider_claude_code.sandbox.cursors import Cursor
from airflow_provider_claude_code.sandbox.faults import FaultCounter, Faults
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.responses import ApiError, Clock

API_KEY = "sk-ant-admin01-sandbox"
"""Admin key of the sandbox's organisation. Followed by ``-NAME``, it is the key of another one with this name."""

OAUTH_TOKEN = "sandbox-oauth-token"  # noqa: S105
"""Bearer token of the sandbox's organisation."""

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
CACHED_DAYS = 8

# Returns the records that the API has of a UTC day at a time, in the API's JSON form.
Records = Callable[[date, datetime], Sequence[dict[str, Any]]]

# Keys that exist but cannot use this API, and the scope that they have instead.
_OTHER_KEYS = {"sk-ant-api03-": "workspace:developer", "sk-ant-api01-": "read:analytics"}


class Service:
    """
    The state of the sandbox. Its public attributes may be set while it runs.

    :param organization: the organisation of `API_KEY`
    :param now: returns the time, with a time zone; default: the real clock
    :param faults: the faults to simulate; default: none
    :param records: returns the records of a day at a time, instead of generated ones
    """

    def __init__(
        self,
        organization: Organization,
        now: Clock | None,
        faults: Faults | None,
        records: Records | None,
    ) -> None:
        self.organization = organization
        self.now = now or (lambda: datetime.now(UTC))
        self.faults = faults or Faults()
        self.records = records
        self._counter = FaultCounter(self.faults, organization.seed)
        self._days: OrderedDict[tuple[str, date, datetime], Sequence[dict[str, Any]]] = OrderedDict()

    def authenticate(self, request: Request) -> Organization:
        """
        Return the organisation of the request's key.

        :raises ApiError: the API would refuse the method, the key or the headers
        """
        if request.method != "GET":
            raise ApiError(405, "Method not allowed", {"allow": "GET"})
        key = request.headers.get("x-api-key")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if key is None and scheme.lower() != "bearer":
            raise ApiError(401, "x-api-key header is required")
        for prefix, scope in _OTHER_KEYS.items():
            if key is not None and key.startswith(prefix):
                raise ApiError(403, f"Missing required scopes. Got: [{scope}] Needed: [org:admin]")
        if key == API_KEY or (key is None and token == OAUTH_TOKEN):
            organization = self.organization
        elif match := re.fullmatch(rf"{API_KEY}-([a-z0-9-]+)", key or ""):
            organization = Organization.named(match[1], self.organization.users)
        else:
            raise ApiError(401, "invalid x-api-key" if key is not None else "Invalid bearer token")
        request.state.organization_id = organization.id
        if not request.headers.get("anthropic-version"):
            raise ApiError(400, "anthropic-version: header is required")
        return organization

    def cursor(self, values: dict[str, str], organization: Organization, query: str) -> Cursor:
        """
        Return the cursor of a request, or that of the first page.

        :param values: the parameters
        :param organization: the organisation of the list
        :param query: the list
        :raises ApiError: the cursor is not one of this server, or it is one of another list
        """
        if "page" not in values:
            return Cursor(organization.id, query, self.now(), 0, 1)
        try:
            cursor = Cursor.parse(values["page"])
        except ValueError:
            raise ApiError(400, "page: not a cursor of this endpoint") from None
        if (cursor.organization_id, cursor.query) != (organization.id, query):
            raise ApiError(400, "page: a cursor of another organization or query")
        return cursor

    def records_at(self, organization: Organization, day: date, cursor: Cursor) -> Sequence[dict[str, Any]]:
        """Return the records of a day at the time of the first page, so that no page misses or repeats one."""
        key = (organization.id, day, cursor.now)
        # Records that a test sets may have changed while its clock stood still.
        if cursor.page == 1 or key not in self._days:
            self._days[key] = (self.records or organization.records)(day, cursor.now)
        self._days.move_to_end(key)
        while len(self._days) > CACHED_DAYS:
            self._days.popitem(last=False)
        return self._days[key]

    async def fault_counter(self) -> FaultCounter:
        """Wait for the latency of the faults, and return the counter of requests that fail."""
        if self._counter.faults is not self.faults:
            self._counter = FaultCounter(self.faults, self.organization.seed)
        # Other faults may be set in the meantime. They apply from the next request on.
        counter = self._counter
        if counter.faults.latency:
            await asyncio.sleep(counter.faults.latency)
        return counter


def single_values(request: Request, *names: str) -> dict[str, str]:
    """
    Return the query parameters of a request.

    :param names: the parameters, each of which may be given once
    :raises ApiError: one is given twice
    """
    for name in names:
        if len(request.query_params.getlist(name)) > 1:
            raise ApiError(400, f"{name}: must be given once")
    return {name: request.query_params[name] for name in names if name in request.query_params}


def limit_of(values: dict[str, str]) -> int:
    """
    Return the maximum number of records on a page.

    :raises ApiError: ``limit`` is not a number from 1 to `MAX_LIMIT`
    """
    limit = values.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise ApiError(400, f"limit: must be an integer from 1 to {MAX_LIMIT}")
    return int(limit)

"""The Claude Code report: ``/v1/organizations/usage_report/claude_code``."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_claude_code.sandbox.cursors import Cursor
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.responses import ApiError, error_response, page_response
from airflow_provider_claude_code.sandbox.service import Service, limit_of, single_values

REPORT_PATH = "/v1/organizations/usage_report/claude_code"
CACHED_DAYS = 8


class ClaudeCodeReport:
    """
    The endpoint.

    :param service: the state of the sandbox
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._days: OrderedDict[tuple[str, date, datetime], Sequence[dict[str, Any]]] = OrderedDict()

    async def __call__(self, request: Request) -> Response:
        """Return a page of a day."""
        counter = await self._service.fault_counter()
        organization = self._service.authenticate(request)
        day, limit, cursor = self._parameters(request, organization)
        faults = counter.faults_of(cursor.page)
        if error := error_response(faults):
            return error
        records = self._records_at(organization, day, cursor)
        data, next_page = cursor.page_of(records, limit, faults)
        if faults.wrong_day and data:
            data[0] = data[0] | {"date": f"{day - timedelta(days=1)}T00:00:00Z"}
        return page_response({"data": data, "has_more": next_page is not None, "next_page": next_page}, faults)

    def _parameters(self, request: Request, organization: Organization) -> tuple[date, int, Cursor]:
        values = single_values(request, "starting_at", "limit", "page")
        try:
            # date.fromisoformat also reads 20260115 and 2026-W03-4.
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", values["starting_at"]):
                raise ValueError
            day = date.fromisoformat(values["starting_at"])
        except KeyError:
            raise ApiError(400, "starting_at: field required") from None
        except ValueError:
            raise ApiError(400, "starting_at: must be a day in the form YYYY-MM-DD") from None
        limit = limit_of(values)
        return day, limit, self._service.cursor(values, organization, str(day))

    def _records_at(self, organization: Organization, day: date, cursor: Cursor) -> Sequence[dict[str, Any]]:
        """Return the records of the day at the time of the first page, so that no page misses or repeats one."""
        key = (organization.id, day, cursor.now)
        # Records that a test sets may have changed while its clock stood still.
        if cursor.page == 1 or key not in self._days:
            self._days[key] = (self._service.records or organization.records)(day, cursor.now)
        self._days.move_to_end(key)
        while len(self._days) > CACHED_DAYS:
            self._days.popitem(last=False)
        return self._days[key]

"""The Claude Code report: ``/v1/organizations/usage_report/claude_code``."""

from __future__ import annotations

import re
from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_claude_code.sandbox.responses import ApiError, error_response, page_response
from airflow_provider_claude_code.sandbox.service import Service, limit_of, single_values

REPORT_PATH = "/v1/organizations/usage_report/claude_code"


async def claude_code_report(service: Service, request: Request) -> Response:
    """Return a page of a day."""
    counter = await service.fault_counter()
    organization = service.authenticate(request)
    values = single_values(request, "starting_at", "limit", "page")
    day = _day(values)
    limit = limit_of(values)
    cursor = service.cursor(values, organization, str(day))
    faults = counter.faults_of(cursor.page)
    if error := error_response(faults):
        return error
    data, next_page = cursor.page_of(service.records_at(organization, day, cursor), limit, faults)
    if faults.wrong_day and data:
        data[0] = data[0] | {"date": f"{day - timedelta(days=1)}T00:00:00Z"}
    return page_response({"data": data, "has_more": next_page is not None, "next_page": next_page}, faults)


def _day(values: dict[str, str]) -> date:
    try:
        # date.fromisoformat also reads 20260115 and 2026-W03-4.
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", values["starting_at"]):
            raise ValueError
        return date.fromisoformat(values["starting_at"])
    except KeyError:
        raise ApiError(400, "starting_at: field required") from None
    except ValueError:
        raise ApiError(400, "starting_at: must be a day in the form YYYY-MM-DD") from None

"""The cost report: ``/v1/organizations/analytics/cost``, one UTC day at a time."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_claude_code.sandbox.charges import DIMENSIONS, charges, grouped, refreshed_at
from airflow_provider_claude_code.sandbox.responses import ApiError, error_response, page_response
from airflow_provider_claude_code.sandbox.service import Service, limit_of, single_values

COST_PATH = "/v1/organizations/analytics/cost"
BETA = "analytics-usage-cost-2026-08-24"
FIRST_DAY = date(2026, 1, 1)
HISTORY = timedelta(days=365)
MOST_GROUPS = 5


async def cost_report(service: Service, request: Request) -> Response:
    """Return a page of a day. Charges that differ only in their cost type count as one of its entries."""
    counter = await service.fault_counter()
    organization = service.authenticate(request)
    if request.headers.get("anthropic-beta") != BETA:
        raise ApiError(400, f"anthropic-beta: {BETA} is required")
    values = single_values(request, "starting_at", "ending_at", "time_bucket_width", "order_by", "limit", "page")
    day = _day(service, values)
    groups, products = (request.query_params.getlist(name) for name in ("group_by[]", "products[]"))
    if unknown := set(groups).difference(DIMENSIONS):
        raise ApiError(400, f"group_by[]: unknown {', '.join(sorted(unknown))}")
    if len({*groups} - {"cost_type"}) > MOST_GROUPS:
        raise ApiError(400, f"group_by[]: at most {MOST_GROUPS}")
    limit = limit_of(values)
    cursor = service.cursor(values, organization, json.dumps([str(day), groups, products]))
    faults = counter.faults_of(cursor.page)
    if error := error_response(faults):
        return error
    refreshed = refreshed_at(cursor.now)
    entries = grouped(charges(organization, day, refreshed), day, groups, products)
    page, next_page = cursor.page_of(entries, limit, faults)
    data = [entry for together in page for entry in together]
    if faults.wrong_day and data:
        data[0] = data[0] | {"starting_at": f"{day - timedelta(days=1)}T00:00:00Z"}
    body = {
        "data": data,
        "has_more": next_page is not None,
        "next_page": next_page,
        "data_refreshed_at": refreshed.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return page_response(body, faults)


def _day(service: Service, values: dict[str, str]) -> date:
    try:
        start, end = (_moment(values[name]) for name in ("starting_at", "ending_at"))
    except KeyError as missing:
        raise ApiError(400, f"{missing.args[0]}: field required") from None
    except ValueError:
        raise ApiError(400, "starting_at, ending_at: must be RFC 3339 with a time zone") from None
    if start.time() != time() or end - start != timedelta(days=1) or values.get("time_bucket_width") != "1d":
        raise ApiError(400, "the sandbox has whole days only: one day with time_bucket_width=1d")
    if start.date() < FIRST_DAY or service.now() - start > HISTORY:
        raise ApiError(400, f"starting_at: must be within {HISTORY.days} days and not before {FIRST_DAY}")
    return start.date()


def _moment(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+-][0-9]{2}:[0-9]{2})", text):
        raise ValueError(text)
    return datetime.fromisoformat(text).astimezone(UTC)

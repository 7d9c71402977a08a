"""The lists of members, workspaces and API keys, which are paged with ``after_id``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_claude_code.sandbox import people
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.sandbox.responses import Answer, ApiError, error_response, page_response
from airflow_provider_claude_code.sandbox.service import Service, limit_of, single_values

Items = list[dict[str, Any]]


def _members(organization: Organization, now: datetime, request: Request) -> Items:
    return people.members(organization.people(), now)


def _workspaces(organization: Organization, now: datetime, request: Request) -> Items:
    chosen = request.query_params
    return [
        workspace
        for workspace in people.workspaces()
        if (workspace["archived_at"] is None or chosen.get("include_archived") == "true")
        and (workspace["id"] != people.workspace_id("Default") or chosen.get("include_default") == "true")
    ]


def _workspace_members(organization: Organization, now: datetime, request: Request) -> Items:
    workspace = request.path_params["workspace_id"]
    there = {each["id"] for each in people.workspaces() if each["archived_at"] is None}
    if workspace not in there:
        raise ApiError(404, "workspace not found")
    return people.workspace_members(workspace, organization.people(), now)


def _api_keys(organization: Organization, now: datetime, request: Request) -> Items:
    return people.api_keys(organization.key_names())


def _list(items: Callable[[Organization, datetime, Request], Items], id_name: str) -> Answer:
    """
    Return an endpoint.

    :param items: returns the whole list
    :param id_name: the field by which ``after_id`` names an item
    """

    async def answer(service: Service, request: Request) -> Response:
        counter = await service.fault_counter()
        organization = service.authenticate(request)
        values = single_values(request, "limit", "after_id")
        limit = limit_of(values)
        found = items(organization, service.now(), request)
        ids = [item[id_name] for item in found]
        start = 0
        if after := values.get("after_id"):
            if after not in ids:
                raise ApiError(400, "after_id: not found")
            start = ids.index(after) + 1
        faults = counter.faults_of(1 + start // limit)
        if error := error_response(faults):
            return error
        page = found[start : start + limit]
        body = {
            "data": page,
            "has_more": start + limit < len(found),
            "first_id": page[0][id_name] if page else None,
            "last_id": page[-1][id_name] if page else None,
        }
        return page_response(body, faults)

    return answer


LISTS: dict[str, Answer] = {
    "/v1/organizations/users": _list(_members, "id"),
    "/v1/organizations/workspaces": _list(_workspaces, "id"),
    "/v1/organizations/workspaces/{workspace_id}/members": _list(_workspace_members, "user_id"),
    "/v1/organizations/api_keys": _list(_api_keys, "id"),
}
"""The endpoints by path."""

"""The requests for a snapshot of members, workspaces and API keys, and the checks of a page."""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import date
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from airflow_provider_claude_code.api.decoding import PageDecoder
from airflow_provider_claude_code.api.paging import Page, Request, Walk, id_pages
from airflow_provider_claude_code.exceptions import ClaudeCodeBadRequestError
from airflow_provider_claude_code.streams.members import MEMBERS
from airflow_provider_claude_code.streams.members.models import (
    ApiKeys,
    Members,
    Workspace,
    WorkspaceMember,
    WorkspaceMembers,
    Workspaces,
)

log = logging.getLogger(__name__)

WORKSPACES_PATH = "/v1/organizations/workspaces"
API_KEYS_PATH = "/v1/organizations/api_keys"

_members = PageDecoder(Members)
_workspaces = PageDecoder(Workspaces)
_workspace_members = PageDecoder(WorkspaceMembers)
_api_keys = PageDecoder(ApiKeys)

_id = attrgetter("id")


class _WorkspaceSeenAgain(NamedTuple):
    """A workspace of a list that is read a second time. It makes no row."""

    id: str
    is_archived: bool


def member_walk(day: date, limit: int) -> Walk:
    """
    Walk through the members, the workspaces, the members of each workspace that is not archived, and the API keys.

    :param day: not used, since the lists describe the current state.
    :param limit: items per page, 1 to 1000.
    """
    members = Request(
        path=MEMBERS.path,
        query={"limit": limit},
        subject="the list of members",
        decode=partial(_decode_items, decoder=_members, limit=limit),
        enterprise_scope="read:members",
    )
    yield from id_pages(members, _id, _refuse_empty)
    workspaces: list[Workspace] = []
    decode = partial(_decode_items, decoder=_workspaces, limit=limit)
    every = _workspaces_request(limit, decode, include_archived="true", include_default="true")
    yield from id_pages(every, _id, lambda page: workspaces.extend(page.records))
    for workspace in workspaces:
        if workspace.archived_at is None:
            yield from _members_of(workspace.id, limit)
    api_keys = Request(
        path=API_KEYS_PATH,
        query={"limit": limit},
        subject="the list of API keys",
        decode=partial(_decode_items, decoder=_api_keys, limit=limit),
    )
    yield from id_pages(api_keys, _id)


def _refuse_empty(page: Page) -> None:
    if page.request.number == 1 and not page.records:
        raise page.refusal("the list is empty, but every organisation has a member")


def _workspaces_request(limit: int, decode: Any, *, is_repetition: bool = False, **chosen: str) -> Request:
    return Request(
        path=WORKSPACES_PATH,
        query={**chosen, "limit": limit},
        subject="the list of workspaces",
        decode=decode,
        is_repetition=is_repetition,
    )


def _members_of(workspace_id: str, limit: int) -> Walk:
    request = Request(
        path=f"{WORKSPACES_PATH}/{workspace_id}/members",
        query={"limit": limit},
        subject=f"the list of members of the workspace {workspace_id}",
        decode=partial(_decode_members_of, workspace_id=workspace_id, limit=limit),
    )
    try:
        # The reference does not say what last_id is for these, which have no id of their own.
        yield from id_pages(request, attrgetter("user_id"), last_id_is_item=False)
    except ClaudeCodeBadRequestError as refused:
        if refused.status != 404 or (yield from _is_listed(workspace_id, limit)):
            raise
        log.info(
            "The workspace %s has no list of members: it is the default one, or was archived or removed meanwhile",
            workspace_id,
        )


def _is_listed(workspace_id: str, limit: int) -> Generator[Request, Page, bool]:
    """Return whether a second look finds a workspace among those that are neither archived nor the default one."""
    workspaces: list[_WorkspaceSeenAgain] = []
    request = _workspaces_request(limit, partial(_decode_workspaces_seen_again, limit=limit), is_repetition=True)
    yield from id_pages(request, _id, lambda page: workspaces.extend(page.records))
    return _WorkspaceSeenAgain(workspace_id, is_archived=False) in workspaces


def _decode_items(body: bytes, *, decoder: PageDecoder[Any], limit: int) -> tuple[list[Any], set[str]]:
    """Return the items of a page, and the paths of fields that are not documented."""
    page, unknown_fields = decoder.decode(body)
    if len(page.data) > limit:
        raise ValueError(f"the page contains {len(page.data)} items, but {limit} were asked for at most")
    return page.data, unknown_fields


def _decode_members_of(body: bytes, *, workspace_id: str, limit: int) -> tuple[list[WorkspaceMember], set[str]]:
    """Check that the members of a page are those of a workspace."""
    members, unknown_fields = _decode_items(body, decoder=_workspace_members, limit=limit)
    if any(member.workspace_id != workspace_id for member in members):
        raise ValueError("the page contains a member of another workspace")
    return members, unknown_fields


def _decode_workspaces_seen_again(body: bytes, *, limit: int) -> tuple[list[_WorkspaceSeenAgain], set[str]]:
    """Return workspaces in a form that makes no rows."""
    workspaces, unknown_fields = _decode_items(body, decoder=_workspaces, limit=limit)
    return [_WorkspaceSeenAgain(each.id, each.archived_at is not None) for each in workspaces], unknown_fields

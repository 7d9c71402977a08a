"""Walks through the pages of a day, without I/O: which page to request next, and whether the answer is valid."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import httpx

from airflow_provider_claude_code.api.decoding import Continuation, decode_continuation
from airflow_provider_claude_code.api.retries import parse_http_date
from airflow_provider_claude_code.exceptions import ClaudeCodeAPIError, ClaudeCodeCursorError, ClaudeCodeResponseError

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_PAGES = 100_000
"""Maximum number of pages of a day: with full pages, a hundred million records."""
MAX_EMPTY_PAGES = 1_000
"""Maximum number of pages of a day that have no records but a next page."""
MAX_CURSOR_LENGTH = 4096
"""Maximum number of characters of a cursor, since URLs are limited."""
MAX_WALK_SECONDS = 86_400.0
"""Maximum number of seconds to read a day: after a day, the next one is due."""


Query = Mapping[str, str | int | Sequence[str]]
"""The parameters of a request. A parameter with several values is repeated."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    A request for one page.

    :param path: the path of the API.
    :param query: the parameters.
    :param subject: the requested data, such as "the Claude Code usage of 2025-09-01".
    :param decode: decodes and checks the body of the answer: returns the records, and the paths of fields that the
        reference does not have. Raises :class:`ValueError` with what is wrong.
    :param headers: headers beyond those of every request.
    :param enterprise_scope: the scope with which a Claude Enterprise key may ask for it, too; ``None`` when none may.
    :param is_repetition: whether it asks again, such as for a total, for what earlier pages of the walk have in detail.
    :param number: counts the pages of a list from 1.
    """

    path: str
    query: Query
    subject: str
    decode: Callable[[bytes], tuple[list[Any], set[str]]]
    headers: Mapping[str, str] = field(default_factory=dict)
    enterprise_scope: str | None = None
    is_repetition: bool = False
    number: int = 1


@dataclass(frozen=True)
class Page:
    """
    One page.

    :param request: what was asked for.
    :param response: the successful response.
    """

    request: Request
    response: httpx.Response = field(repr=False)

    @property
    def organization_id(self) -> str | None:
        """The organisation of the key, from the ``anthropic-organization-id`` header, if there is one."""
        organization_id: str | None = self.response.headers.get("anthropic-organization-id")
        return organization_id

    @property
    def answered_at(self) -> datetime | None:
        """The time of the answer by the API's clock, from the ``Date`` header, if there is one."""
        return parse_http_date(self.response.headers.get("date"))

    @property
    def records(self) -> list[Any]:
        """
        The records.

        They are decoded and checked on first access, so that the next page can be requested before that.

        :raises ClaudeCodeResponseError: the page breaks the API's contract.
        """
        return self._content[0]

    @property
    def new_records(self) -> list[Any]:
        """
        The records, without those that repeat earlier ones.

        :raises ClaudeCodeResponseError: the page breaks the API's contract.
        """
        return [] if self.request.is_repetition else self.records

    @property
    def unknown_fields(self) -> set[str]:
        """
        The paths of fields that the API reference does not have.

        :raises ClaudeCodeResponseError: the page breaks the API's contract.
        """
        return self._content[1]

    @cached_property
    def _content(self) -> tuple[list[Any], set[str]]:
        try:
            return self.request.decode(self.response.content)
        except ValueError as error:
            raise self.refusal(str(error)) from None

    @cached_property
    def continuation(self) -> Continuation:
        """
        How the list continues after this page.

        :raises ClaudeCodeResponseError: the page does not tell.
        """
        try:
            return decode_continuation(self.response.content)
        except ValueError as error:
            raise self.refusal(str(error)) from None

    @property
    def is_empty(self) -> bool:
        """Whether the page has no record, and is not the last of its list."""
        try:
            return self.continuation.is_empty and self.continuation.has_more
        except ClaudeCodeResponseError:
            return False

    def outdated(self, problem: str) -> ClaudeCodeCursorError:
        """Return the error for a page that is inconsistent with the pages before it."""
        return ClaudeCodeCursorError(
            f"{problem} while {self.request.subject} was read (page {self.request.number}).",
            status=self.response.status_code,
            request_id=self.response.headers.get("request-id"),
        )

    def refusal(self, problem: str) -> ClaudeCodeResponseError:
        """Return the error for an invalid page. Nothing of its day may be used."""
        request_id = self.response.headers.get("request-id")
        return ClaudeCodeResponseError(
            f"The API's answer about {self.request.subject} is invalid, so nothing is published: "
            f"{problem} (page {self.request.number}, request-id {request_id}). Try again; if the error persists, "
            "check that no proxy rewrites the answers, and report the request-id to Anthropic's support.",
            status=self.response.status_code,
            request_id=request_id,
        )


Walk = Generator[Request, Page, None]
"""A walk through a list. It yields requests, is sent the page for each, and gets errors of the API at the ``yield``."""


def next_request(walk: Walk, answer: Page | ClaudeCodeAPIError) -> Request | None:
    """
    Send a walk the answer to its request, and return its next request; ``None`` at its end.

    :raises ClaudeCodeResponseError: the page cannot be trusted.
    :raises ClaudeCodeAPIError: the API's refusal, unless the walk goes on without what was refused.
    """
    try:
        return walk.throw(answer) if isinstance(answer, ClaudeCodeAPIError) else walk.send(answer)
    except StopIteration:
        return None


def cursor_pages(first: Request, check: Callable[[Page], None] = lambda page: None) -> Walk:
    """
    Walk through a list whose pages name the cursor of the next one.

    ``has_more`` without a ``next_page``, and a cursor that was followed before, would silently lose or repeat data.
    Both end the walk with an error.

    :param first: the request for the first page.
    :param check: checks each page, and raises an error if it does not belong to those before.
    :raises ClaudeCodeResponseError: a page does not tell how to go on.
    """
    cursors: set[str] = set()
    request = first
    while True:
        page = yield request
        check(page)
        continuation = page.continuation
        if not continuation.has_more:
            return
        cursor = _new_cursor(page, "next_page", continuation.next_page, cursors)
        request = dataclasses.replace(first, query={**first.query, "page": cursor}, number=request.number + 1)


def id_pages(
    first: Request,
    id_of: Callable[[Any], str],
    check: Callable[[Page], None] = lambda page: None,
    *,
    last_id_is_item: bool = True,
) -> Walk:
    """
    Walk through a list whose next page is asked for with the last id of a page (``after_id``).

    The walk fails if ``has_more`` comes without a ``last_id``, or if a ``last_id`` was followed before or is not the id
    of the last item. An id that comes twice means that the list changed between two pages.

    :param first: the request for the first page.
    :param id_of: returns what identifies a record within the list.
    :param check: looks at each page, and raises an error if it cannot be used.
    :param last_id_is_item: whether the reference says that ``last_id`` is what identifies the last record.
    :raises ClaudeCodeCursorError: an id came twice.
    :raises ClaudeCodeResponseError: a page does not tell how to go on.
    """
    ids: set[str] = set()
    cursors: set[str] = set()
    request = first
    while True:
        page = yield request
        found = [id_of(record) for record in page.records]
        count = len(ids) + len(found)
        ids.update(found)
        if len(ids) < count:
            raise page.outdated("The API listed an id twice")
        check(page)
        continuation = page.continuation
        if not continuation.has_more:
            return
        cursor = _new_cursor(page, "last_id", continuation.last_id, cursors)
        if last_id_is_item and found[-1:] != [cursor]:
            raise page.refusal("last_id is not the id of the page's last item")
        request = dataclasses.replace(first, query={**first.query, "after_id": cursor}, number=request.number + 1)


def _new_cursor(page: Page, name: str, cursor: Any, followed: set[str]) -> str:
    """
    Return a cursor and add it to those that were followed.

    :raises ClaudeCodeResponseError: it cannot be followed.
    """
    if not cursor or not isinstance(cursor, str):
        raise page.refusal(f"has_more is true but there is no {name}")
    if len(cursor) > MAX_CURSOR_LENGTH:
        raise page.refusal(f"{name} has more than {MAX_CURSOR_LENGTH} characters")
    if cursor in followed:
        raise page.refusal(f"{name} repeats an earlier cursor")
    followed.add(cursor)
    return cursor


def bounded(walk: Walk, seconds: float = MAX_WALK_SECONDS) -> Walk:
    """
    End a walk that exceeds the limits on pages, empty pages or time, or whose pages belong to several organisations.

    A request that the API refuses counts as a page. The walk decides whether to continue.

    :param walk: the walk.
    :param seconds: how long it may take.
    :raises ClaudeCodeResponseError: it exceeds a limit, or a page belongs to another organisation.
    """
    deadline = time.monotonic() + seconds
    organization_id: str | None = None
    pages = empty_pages = 0
    request = next(walk)
    while True:
        answer: Page | ClaudeCodeAPIError
        try:
            answer = yield request
        except ClaudeCodeAPIError as refused:
            answer = refused
        else:
            if answer.organization_id is not None:
                if not is_organization_id(answer.organization_id):
                    raise answer.refusal("the anthropic-organization-id header contains no id")
                if organization_id not in (None, answer.organization_id):
                    raise answer.refusal("the page is of another organisation than the ones before")
                organization_id = answer.organization_id
            empty_pages += answer.is_empty
        following = next_request(walk, answer)
        if following is None:
            return
        request = following
        pages += 1
        if empty_pages >= MAX_EMPTY_PAGES:
            problem = f"{MAX_EMPTY_PAGES} of its pages hold no record, and there are still more"
        elif pages >= MAX_PAGES:
            problem = f"there are more than {MAX_PAGES} pages; raise the Connection's page_limit if it is low"
        elif time.monotonic() > deadline:
            problem = f"there are still more pages after {seconds:.0f} seconds"
        else:
            continue
        raise answer if isinstance(answer, ClaudeCodeAPIError) else answer.refusal(problem)


def is_organization_id(text: str) -> bool:
    """Return whether text is usable as the id of an organisation, which becomes a label and a name in targets."""
    return re.fullmatch(r"[\w.:-]{1,128}", text, re.ASCII) is not None


def log_new_start(error: ClaudeCodeCursorError) -> None:
    """Log that a day is read again from its first page."""
    log.warning("%s Starting again with the first page.", error)


def start_again(read: Callable[[], T], times: int = 1) -> T:
    """
    Read a day, and read it again if the API refuses a page after the first.

    :param read: reads the day from its first page on, and forgets what an earlier call has read.
    :param times: how often it is read again at most.
    :raises ClaudeCodeCursorError: it could still not be read to its end.
    """
    for _ in range(times):
        try:
            return read()
        except ClaudeCodeCursorError as error:
            log_new_start(error)
    return read()

"""A walk through the pages of a day, without any I/O: what to ask next, and whether the answer can be trusted."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import httpx

from airflow_provider_claude_code.api.decoding import Continuation, decode_continuation
from airflow_provider_claude_code.api.retries import parse_http_date
from airflow_provider_claude_code.exceptions import ClaudeCodeCursorError, ClaudeCodeResponseError

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_PAGE_LIMIT = 1000
"""Records per page that the API allows at most."""
MAX_PAGES = 100_000
"""Pages of a day that are read at most: with full pages, a hundred million records."""
MAX_EMPTY_PAGES = 1_000
"""Pages without a record that are passed in a day at most."""
MAX_CURSOR_LENGTH = 4096
"""Characters that a cursor may have; one that is much longer fits in no URL."""
MAX_WALK_SECONDS = 86_400.0
"""Seconds that a walk through a day may take, whatever its pages are: after a day, the next one is due."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    A request for one page.

    :param path: the path of the API.
    :param query: the parameters.
    :param subject: what is asked for, such as "the Claude Code usage of 2025-09-01".
    :param decode: decodes and checks the body of the answer: returns the records, and the paths of fields that the
        reference does not have. Raises :class:`ValueError` with what is wrong.
    :param number: counts the pages of a list from 1.
    """

    path: str
    query: Mapping[str, str | int]
    subject: str
    decode: Callable[[bytes], tuple[list[Any], set[str]]]
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
        """The moment of the answer by the API's clock, from the ``Date`` header, if there is one."""
        return parse_http_date(self.response.headers.get("date"))

    @property
    def records(self) -> list[Any]:
        """
        The records.

        They are decoded and checked when they are first looked at, so that the next page can be on its way.

        :raises ClaudeCodeResponseError: the page breaks the API's contract.
        """
        return self._content[0]

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
        How the list goes on after this page.

        :raises ClaudeCodeResponseError: the page does not tell.
        """
        try:
            return decode_continuation(self.response.content)
        except ValueError as error:
            raise self.refusal(f"the page is not of the documented shape: {error}") from None

    @property
    def is_empty(self) -> bool:
        """Whether the page is one of a list, and has no record."""
        try:
            return self.continuation.is_empty
        except ClaudeCodeResponseError:
            return False

    def refusal(self, problem: str) -> ClaudeCodeResponseError:
        """Return the error that says what is wrong with this page, so that nothing of its day may be used."""
        request_id = self.response.headers.get("request-id")
        return ClaudeCodeResponseError(
            f"The API's answer about {self.request.subject} cannot be trusted, so nothing of it is published: "
            f"{problem} (page {self.request.number}, request-id {request_id}). Try again; if it stays, "
            "check that no proxy rewrites the answers, and report the request-id to Anthropic's support.",
            status=self.response.status_code,
            request_id=request_id,
        )


Requests = Generator[Request, Page, None]
"""Yields what to ask, and is sent the page that answers it."""


def next_request(requests: Requests, page: Page) -> Request | None:
    """
    Send a walk the page that answers its request, and return what it asks next; ``None`` at its end.

    :raises ClaudeCodeResponseError: the page cannot be trusted.
    """
    try:
        return requests.send(page)
    except StopIteration:
        return None


def cursor_pages(first: Request) -> Requests:
    """
    Walk through a list whose pages name the cursor of the next one.

    Each of these loses or repeats data without anybody noticing, so each ends the walk with an error: ``has_more``
    without a ``next_page``, and a cursor that was followed before.

    :param first: the request for the first page.
    :raises ClaudeCodeResponseError: a page does not tell how to go on.
    """
    cursors: set[str] = set()
    request = first
    while True:
        page = yield request
        continuation = page.continuation
        if not continuation.has_more:
            return
        if not continuation.next_page:
            raise page.refusal("has_more is true but there is no next_page")
        if len(continuation.next_page) > MAX_CURSOR_LENGTH:
            raise page.refusal(f"next_page has more than {MAX_CURSOR_LENGTH} characters")
        if continuation.next_page in cursors:
            raise page.refusal("next_page repeats an earlier cursor")
        cursors.add(continuation.next_page)
        query = {**first.query, "page": continuation.next_page}
        request = dataclasses.replace(first, query=query, number=request.number + 1)


def bounded(requests: Requests, seconds: float = MAX_WALK_SECONDS) -> Requests:
    """
    End a walk that exceeds the bounds on pages, empty pages or time, or whose pages are of several organisations.

    :param requests: the walk.
    :param seconds: how long it may take.
    :raises ClaudeCodeResponseError: it takes longer than any honest walk, or a page is of another organisation.
    """
    deadline = time.monotonic() + seconds
    organization_id: str | None = None
    pages = empty_pages = 0
    request = next(requests)
    while True:
        page = yield request
        if page.organization_id is not None:
            if not is_organization_id(page.organization_id):
                raise page.refusal("the anthropic-organization-id header holds no id")
            if organization_id not in (None, page.organization_id):
                raise page.refusal("the page is of another organisation than the ones before")
            organization_id = page.organization_id
        following = next_request(requests, page)
        if following is None:
            return
        request = following
        pages += 1
        empty_pages += page.is_empty
        if empty_pages >= MAX_EMPTY_PAGES:
            raise page.refusal(f"{MAX_EMPTY_PAGES} of its pages hold no record, and there are still more")
        if pages >= MAX_PAGES:
            raise page.refusal(f"there are more than {MAX_PAGES} pages; raise the Connection's page_limit if it is low")
        if time.monotonic() > deadline:
            raise page.refusal(f"there are still more pages after {seconds:.0f} seconds")


def is_organization_id(text: str) -> bool:
    """Tell whether text may be the id of an organisation: it becomes a label and a name of targets."""
    return re.fullmatch(r"[\w.:-]{1,128}", text, re.ASCII) is not None


def log_new_start(error: ClaudeCodeCursorError) -> None:
    """Say that a day is read from its first page again."""
    log.warning("%s Starting again with the first page.", error)


def start_again_once(read: Callable[[], T]) -> T:
    """
    Read a day, and read it once more if the API refuses to go on in its middle.

    :param read: reads the day from its first page on, and forgets what an earlier call has read.
    :raises ClaudeCodeCursorError: the API did so twice.
    """
    try:
        return read()
    except ClaudeCodeCursorError as error:
        log_new_start(error)
    return read()

"""The walk through one day's pages, without any I/O: what to ask next, and whether the answer can be trusted."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TypeVar

import httpx

from airflow_provider_claude_code.api.models import Continuation, Record, decode_continuation, decode_report
from airflow_provider_claude_code.api.retries import parse_http_date
from airflow_provider_claude_code.exceptions import ClaudeCodeCursorError, ClaudeCodeResponseError

log = logging.getLogger(__name__)

T = TypeVar("T")

REPORT_PATH = "/v1/organizations/usage_report/claude_code"
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


@dataclass(frozen=True)
class Page:
    """
    One page of a day.

    :param day: the UTC day that was asked for.
    :param number: counts the day's pages from 1.
    :param limit: how many records were asked for.
    :param response: the successful response.
    """

    day: date
    number: int
    limit: int
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
    def records(self) -> list[Record]:
        """
        The records, all of the day that was asked for.

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
    def _content(self) -> tuple[list[Record], set[str]]:
        try:
            report, unknown_fields = decode_report(self.response.content)
        except ValueError as error:
            raise self.refusal(f"the page is not a usage report: {error}") from None
        # The reference documents RFC 3339 at UTC midnight; older versions of it a plain date.
        if len(report.data) > self.limit:
            raise self.refusal(f"the page holds {len(report.data)} records, but {self.limit} were asked for at most")
        midnight = rf"{self.day.isoformat()}(T00:00:00(\.0+)?(Z|[+-]00:00))?"
        # Few distinct strings stand for many records.
        if not all(re.fullmatch(midnight, text, re.ASCII | re.IGNORECASE) for text in {r.date for r in report.data}):
            raise self.refusal("the page holds a record of another day")
        return report.data, unknown_fields

    def continuation(self) -> Continuation:
        """
        Return how the day goes on after this page.

        :raises ClaudeCodeResponseError: the page does not tell.
        """
        try:
            return decode_continuation(self.response.content)
        except ValueError as error:
            raise self.refusal(f"the page is not a usage report: {error}") from None

    def refusal(self, problem: str) -> ClaudeCodeResponseError:
        """Return the error that says what is wrong with this page, so that nothing of its day may be used."""
        request_id = self.response.headers.get("request-id")
        return ClaudeCodeResponseError(
            f"The Claude Code usage report for {self.day} cannot be trusted, so nothing of it is published: "
            f"{problem} (page {self.number}, request-id {request_id}). Try again; if it stays, "
            "check that no proxy rewrites the answers, and report the request-id to Anthropic's support.",
            status=self.response.status_code,
            request_id=request_id,
        )


class DayWalk:
    """
    The state of a walk through the pages of one UTC day.

    :param day: the UTC day.
    :param limit: records per page that are asked for.
    :param seconds: how long the walk may take.

    ``query`` holds the parameters of the next request, and is ``None`` once the day is complete. A driver
    sends it and hands the response to :meth:`read`, until there is nothing more to ask.

    Each of these loses or repeats data without anybody noticing, so each ends the walk with an error:
    ``has_more`` without a ``next_page``, a cursor that was followed before, a page of another organisation than the
    ones before. A record of another day, and more records than were asked for, do so when
    the page's records are looked at. What never ends is ended by bounds on pages, empty pages and time.
    """

    def __init__(self, day: date, limit: int, seconds: float = MAX_WALK_SECONDS) -> None:
        self.day = day
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._limit = limit
        self._empty_pages = 0
        self.query: dict[str, str | int] | None = {"starting_at": day.isoformat(), "limit": limit}
        self._first_query = self.query
        self._cursors: set[str] = set()
        self._organization_id: str | None = None

    @property
    def page_number(self) -> int:
        """The number of the page that is to be asked for next, counted from 1."""
        return len(self._cursors) + 1

    def read(self, response: httpx.Response) -> Page:
        """
        Return a page and set ``query`` to what is to be asked next.

        :param response: the successful response to the request described by ``query``.
        :raises ClaudeCodeResponseError: the page does not tell how to go on, or is another organisation's.
        """
        page = Page(self.day, self.page_number, self._limit, response)
        if page.organization_id is not None:
            if not is_organization_id(page.organization_id):
                raise page.refusal("the anthropic-organization-id header holds no id")
            if self._organization_id not in (None, page.organization_id):
                raise page.refusal("the page is of another organisation than the ones before")
            self._organization_id = page.organization_id
        continuation = page.continuation()
        if continuation.has_more:
            if not continuation.next_page:
                raise page.refusal("has_more is true but there is no next_page")
            if len(continuation.next_page) > MAX_CURSOR_LENGTH:
                raise page.refusal(f"next_page has more than {MAX_CURSOR_LENGTH} characters")
            if continuation.next_page in self._cursors:
                raise page.refusal("next_page repeats an earlier cursor")
            self._refuse_to_go_on_for_ever(page, continuation)
            self._cursors.add(continuation.next_page)
            self.query = {**self._first_query, "page": continuation.next_page}
        else:
            self.query = None
        return page

    def _refuse_to_go_on_for_ever(self, page: Page, continuation: Continuation) -> None:
        self._empty_pages += continuation.is_empty
        if self._empty_pages >= MAX_EMPTY_PAGES:
            raise page.refusal(f"{MAX_EMPTY_PAGES} of its pages hold no record, and there are still more")
        if page.number >= MAX_PAGES:
            raise page.refusal(f"there are more than {MAX_PAGES} pages; raise the Connection's page_limit if it is low")
        if time.monotonic() > self._deadline:
            raise page.refusal(f"there are still more pages after {self._seconds:.0f} seconds")


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

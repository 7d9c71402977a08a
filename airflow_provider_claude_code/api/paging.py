"""The walk through one day's pages, without any I/O: what to ask next, and whether the answer can be trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

import httpx

from airflow_provider_claude_code.api.models import Continuation, Record, decode_continuation, decode_report
from airflow_provider_claude_code.api.retries import parse_http_date
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError

REPORT_PATH = "/v1/organizations/usage_report/claude_code"
MAX_PAGE_LIMIT = 1000
"""Records per page that the API allows at most."""


@dataclass(frozen=True)
class Page:
    """
    One page of a day.

    :param day: the UTC day that was asked for.
    :param number: counts the day's pages from 1.
    :param response: the successful response.
    """

    day: date
    number: int
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

    ``query`` holds the parameters of the next request, and is ``None`` once the day is complete. A driver
    sends it and hands the response to :meth:`read`, until there is nothing more to ask.

    Each of these loses or repeats data without anybody noticing, so each ends the walk with an error:
    ``has_more`` without a ``next_page``, a cursor that was followed before, a page of another organisation than the
    ones before. A record of another day does so when
    the page's records are looked at.
    """

    def __init__(self, day: date, limit: int) -> None:
        self.day = day
        self.query: dict[str, str | int] | None = {"starting_at": day.isoformat(), "limit": limit}
        self._first_query = self.query
        self._cursors: set[str] = set()
        self._organization_id: str | None = None

    def read(self, response: httpx.Response) -> Page:
        """
        Return a page and set ``query`` to what is to be asked next.

        :param response: the successful response to the request described by ``query``.
        :raises ClaudeCodeResponseError: the page does not tell how to go on, or is another organisation's.
        """
        page = Page(self.day, len(self._cursors) + 1, response)
        if page.organization_id is not None:
            if self._organization_id not in (None, page.organization_id):
                raise page.refusal("the page is of another organisation than the ones before")
            self._organization_id = page.organization_id
        continuation = page.continuation()
        if continuation.has_more:
            if not continuation.next_page:
                raise page.refusal("has_more is true but there is no next_page")
            if continuation.next_page in self._cursors:
                raise page.refusal("next_page repeats an earlier cursor")
            self._cursors.add(continuation.next_page)
            self.query = {**self._first_query, "page": continuation.next_page}
        else:
            self.query = None
        return page

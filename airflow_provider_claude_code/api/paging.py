"""The walk through one day's pages, without any I/O: what to ask next, and whether the answer can be trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import httpx

from airflow_provider_claude_code.api.models import Record, decode_report
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError

REPORT_PATH = "/v1/organizations/usage_report/claude_code"
MAX_PAGE_LIMIT = 1000
"""Records per page that the API allows at most."""


@dataclass(frozen=True)
class Page:
    """
    One checked page.

    :param records: its records, all of the day that was asked for.
    :param organization_id: the organisation of the key, from the ``anthropic-organization-id`` header;
        ``None`` when the response has none.
    """

    records: list[Record]
    organization_id: str | None


class DayWalk:
    """
    The state of a walk through the pages of one UTC day.

    ``query`` holds the parameters of the next request, and is ``None`` once the day is complete. A driver
    sends it and hands the response to :meth:`read`, until there is nothing more to ask.

    Each of these loses or repeats data without anybody noticing, so each ends the walk with an error:
    ``has_more`` without a ``next_page``, a cursor that was followed before, a record of another day.
    """

    def __init__(self, day: date, limit: int) -> None:
        self.day = day
        self.query: dict[str, str | int] | None = {"starting_at": day.isoformat(), "limit": limit}
        self._first_query = self.query
        self._cursors: set[str] = set()
        # The reference documents RFC 3339 at UTC midnight; older versions of it a plain date.
        self._date = re.compile(rf"{day.isoformat()}(T00:00:00(\.0+)?(Z|[+-]00:00))?", re.ASCII | re.IGNORECASE)

    def read(self, response: httpx.Response) -> Page:
        """
        Check a page and set ``query`` to what is to be asked next.

        :param response: the successful response to the request described by ``query``.
        :raises ClaudeCodeResponseError: the page breaks the API's contract.
        """
        try:
            report = decode_report(response.content)
        except ValueError as error:
            raise self._refusal(response, f"the page is not a usage report: {error}") from None
        # Few distinct strings stand for many records.
        if not all(self._date.fullmatch(text) for text in {record.date for record in report.data}):
            raise self._refusal(response, "the page holds a record of another day")
        if report.has_more:
            if not report.next_page:
                raise self._refusal(response, "has_more is true but there is no next_page")
            if report.next_page in self._cursors:
                raise self._refusal(response, "next_page repeats an earlier cursor")
            self._cursors.add(report.next_page)
            self.query = {**self._first_query, "page": report.next_page}
        else:
            self.query = None
        return Page(report.data, response.headers.get("anthropic-organization-id"))

    def _refusal(self, response: httpx.Response, problem: str) -> ClaudeCodeResponseError:
        request_id = response.headers.get("request-id")
        return ClaudeCodeResponseError(
            f"The Claude Code usage report for {self.day} cannot be trusted, so nothing of it is published: "
            f"{problem} (page {len(self._cursors) + 1}, request-id {request_id}). Try again; if it stays, "
            "check that no proxy rewrites the answers, and report the request-id to Anthropic's support.",
            status=response.status_code,
            request_id=request_id,
        )

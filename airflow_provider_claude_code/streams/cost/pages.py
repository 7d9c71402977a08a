"""The requests for a day of charges, and the checks of a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

from airflow_provider_claude_code.api.decoding import PageDecoder
from airflow_provider_claude_code.api.paging import Page, Query, Request, Walk, cursor_pages
from airflow_provider_claude_code.exceptions import ClaudeCodeBadRequestError
from airflow_provider_claude_code.streams.cost import COST
from airflow_provider_claude_code.streams.cost.models import Charges, CostReport, TotalCharges

log = logging.getLogger(__name__)

BETA_HEADER = {"anthropic-beta": "analytics-usage-cost-2026-08-24"}
GROUPS = ("actor", "model", "product", "workspace_id", "organization_id")
"""The dimensions by which charges are grouped. The API allows five in addition to the cost type."""
UNDATED_DELAY = timedelta(hours=24)
"""How old the data of an answer is assumed to be if the API does not say."""

decode_report = PageDecoder(CostReport).decode


def cost_walk(day: date, limit: int, *, products: Sequence[str]) -> Walk:
    """
    Walk through the charges of a day, and then its total.

    If the API refuses to group by organisation, the request is repeated without it.

    :param day: the UTC day.
    :param limit: entries per page, 1 to 1000; the cost types multiply them.
    :param products: the products whose charges are asked for; none of them means all.
    """
    query: Query = {
        "starting_at": _midnight(day),
        "ending_at": _midnight(day + timedelta(days=1)),
        "time_bucket_width": "1d",
        "order_by": "time",
        "limit": limit,
        **({"products[]": products} if products else {}),
    }
    of_one_refresh = _OneRefresh()

    def pages(subject: str, row: type[Charges], grouping: Query) -> Walk:
        return cursor_pages(
            Request(
                path=COST.path,
                query={**query, **grouping},
                subject=f"{subject} of {day}",
                decode=partial(decode_charges, day=day, products=products, row=row),
                headers=BETA_HEADER,
                enterprise_scope="read:analytics",
                is_repetition=row is TotalCharges,
            ),
            of_one_refresh.check,
        )

    def grouped_by(groups: Sequence[str]) -> Walk:
        return pages("the charges", Charges, {"group_by[]": [*groups, "cost_type"]})

    try:
        yield from grouped_by(GROUPS)
    except ClaudeCodeBadRequestError as refused:
        if refused.status != 400:
            raise
        log.info("%s Repeating the request without organization_id, which not every key may see.", refused)
        yield from grouped_by([group for group in GROUPS if group != "organization_id"])
    yield from pages("the total charges", TotalCharges, {})


class _OneRefresh:
    """Checks that all pages of a day are from the same refresh of the API's data."""

    def __init__(self) -> None:
        self._seen: set[datetime | None] = set()

    def check(self, page: Page) -> None:
        """
        Check the next page.

        :raises ClaudeCodeCursorError: the data was refreshed since the first page.
        """
        self._seen.add(refreshed_at(page))
        if len(self._seen) > 1:
            raise page.outdated("The API refreshed its data")


def refreshed_at(page: Page) -> datetime | None:
    """
    Return when the data of a page was refreshed; ``None`` when the API does not say.

    :raises ClaudeCodeResponseError: the page is not of the documented shape.
    """
    try:
        return _moment(page.continuation.data_refreshed_at)
    except ValueError as error:
        raise page.refusal(str(error)) from None


def as_of(page: Page, answered_at: datetime) -> datetime:
    """Return the moment up to which a page is up to date."""
    return refreshed_at(page) or answered_at - UNDATED_DELAY


def decode_charges(
    body: bytes, *, day: date, products: Sequence[str], row: type[Charges]
) -> tuple[list[Any], set[str]]:
    """
    Return the charges of a page, and the paths of undocumented fields.

    :raises ValueError: the page breaks the API's contract, or has charges of another day or product.
    """
    report, unknown_fields = decode_report(body)
    starts, ends = {entry.starting_at for entry in report.data}, {entry.ending_at for entry in report.data}
    # Shares strings, since few distinct ones occur in many entries.
    if not {_moment(text) for text in starts} <= {_start(day)} or not {_moment(text) for text in ends} <= {
        _start(day + timedelta(days=1))
    }:
        raise ValueError("the page contains charges of another day")
    found = {_spelled_alike(entry.group.product) for entry in report.data if entry.group.product is not None}
    if products and not found <= set(map(_spelled_alike, products)):
        raise ValueError("the page contains charges of another product than asked for")
    refreshed = _moment(report.data_refreshed_at)
    return [row(entry, refreshed) for entry in report.data], unknown_fields


def _spelled_alike(product: str) -> str:
    # Filters and rows may spell a product differently (claude-tag, claude_tag).
    return product.lower().replace("-", "_")


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _midnight(day: date) -> str:
    return f"{day}T00:00:00Z"


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    # Raised outside the handlers, since the handled errors contain the text.
    with suppress(TypeError, ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise ValueError("a timestamp is not in RFC 3339 format with a time zone, or is out of range")

"""A walk through a day requests every page, and refuses answers that would silently lose or repeat data."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import httpx
import pytest

from airflow_provider_claude_code.api import paging
from airflow_provider_claude_code.api.paging import Page, bounded
from airflow_provider_claude_code.api.settings import MAX_PAGE_LIMIT
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.streams.usage.pages import usage_walk
from tests.fixtures.walks import pages_of

DAY = date(2025, 9, 1)


def record(date: str = "2025-09-01T00:00:00Z", terminal_type: str = "vscode") -> dict[str, Any]:
    return {
        "date": date,
        "actor": {"type": "user_actor", "email_address": "dev@example.com"},
        "organization_id": "dc9f6c26-b22c-4831-8d01-0446bada88f1",
        "customer_type": "api",
        "terminal_type": terminal_type,
        "core_metrics": {
            "num_sessions": 1,
            "lines_of_code": {"added": 0, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {},
        "model_breakdown": [],
    }


def response(data: list[Any], next_page: str | None = None, *, has_more: bool | None = None) -> httpx.Response:
    has_more = next_page is not None if has_more is None else has_more
    return httpx.Response(
        200,
        json={"data": data, "has_more": has_more, "next_page": next_page},
        headers={"request-id": "req_42", "anthropic-organization-id": "org_1"},
    )


def walk_through(*responses: httpx.Response, limit: int = 1000) -> tuple[list[Page], list[Mapping[str, str | int]]]:
    """Drive a walk through a day, and return its pages and what it asked."""
    pages = [page for page in pages_of(bounded(usage_walk(DAY, limit)), responses) if page.records is not None]
    return pages, [page.request.query for page in pages]


def test_every_page_is_asked_for_with_the_day_the_limit_and_the_cursor() -> None:
    pages, queries = walk_through(
        response([record()], "cursor-1=="), response([record()], "cursor-2=="), response([record()]), limit=7
    )

    assert queries == [
        {"starting_at": "2025-09-01", "limit": 7},
        {"starting_at": "2025-09-01", "limit": 7, "page": "cursor-1=="},
        {"starting_at": "2025-09-01", "limit": 7, "page": "cursor-2=="},
    ]
    assert [len(page.records) for page in pages] == [1, 1, 1]


def test_records_keep_the_order_of_the_api() -> None:
    pages, _ = walk_through(
        response([record(terminal_type="b"), record(terminal_type="a")], "1"), response([record(terminal_type="c")])
    )

    assert [item.terminal_type for page in pages for item in page.records] == ["b", "a", "c"]


def test_a_page_knows_the_organisation_of_the_key() -> None:
    pages, _ = walk_through(response([]))
    assert pages[0].organization_id == "org_1"

    pages, _ = walk_through(httpx.Response(200, json={"data": [], "has_more": False, "next_page": None}))
    assert pages[0].organization_id is None


def test_an_empty_day_is_one_empty_page() -> None:
    pages, queries = walk_through(response([]))

    assert [page.records for page in pages] == [[]]
    assert len(queries) == 1


def test_an_empty_page_in_the_middle_goes_on() -> None:
    pages, _ = walk_through(response([record()], "1"), response([], "2"), response([record()]))

    assert [len(page.records) for page in pages] == [1, 0, 1]


def test_the_last_page_may_bear_a_cursor() -> None:
    pages, queries = walk_through(response([record()], "1"), response([record()], "2", has_more=False))

    assert len(pages) == len(queries) == 2


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-01",
        "2025-09-01T00:00:00Z",
        "2025-09-01T00:00:00.000Z",
        "2025-09-01T00:00:00.000000000Z",
        "2025-09-01T00:00:00+00:00",
        "2025-09-01T00:00:00-00:00",
        "2025-09-01t00:00:00z",
    ],
)
def test_a_day_may_be_written_as_a_date_or_as_utc_midnight(text: str) -> None:
    pages, _ = walk_through(response([record(text)]))

    assert pages[0].records[0].date == text


@pytest.mark.parametrize(
    "text",
    [
        "2025-08-31T00:00:00Z",
        "2025-09-02",
        "2024-09-01T00:00:00Z",
        "2025-09-01T00:00:01Z",
        "2025-09-01T00:00:00.001Z",
        "2025-09-01T00:00:00+02:00",
        "2025-09-01T00:00:00",
        "2025-09-01T00:00",
        "2025-09-011",
        "12025-09-01",
        "20250901",
        "2025-9-1",
        " 2025-09-01",
        "2025-09-01\n",
        "\uff12\uff10\uff12\uff15-09-01",
        "",
    ],
)
def test_a_record_of_another_day_ends_the_walk(text: str) -> None:
    with pytest.raises(ClaudeCodeResponseError, match="a record of another day"):
        walk_through(response([record(), record(text), record()]))


def test_every_record_is_looked_at() -> None:
    """One of a thousand, on the last page."""
    foreign = [*([record()] * 999), record("2025-08-31T00:00:00Z")]

    with pytest.raises(ClaudeCodeResponseError, match=r"a record of another day \(page 2,"):
        walk_through(response([record()] * 1000, "1"), response(foreign))


@pytest.mark.parametrize("next_page", [None, ""])
def test_more_without_a_cursor_ends_the_walk(next_page: str | None) -> None:
    with pytest.raises(ClaudeCodeResponseError, match="has_more is true but there is no next_page"):
        walk_through(response([record()], next_page, has_more=True))


@pytest.mark.parametrize(
    "cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "b"], ["a", "b", "c", "d", "b"]], ids="".join
)
def test_a_cursor_that_was_followed_before_ends_the_walk(cursors: list[str]) -> None:
    with pytest.raises(ClaudeCodeResponseError, match="next_page repeats an earlier cursor"):
        walk_through(*(response([record()], cursor) for cursor in cursors))


def test_a_walk_that_failed_says_on_which_page() -> None:
    with pytest.raises(ClaudeCodeResponseError, match=r"\(page 3, request-id req_42\)"):
        walk_through(response([], "1"), response([], "2"), response([], "2"))


@pytest.mark.parametrize(
    "broken",
    [
        httpx.Response(200, content=b"<html>proxy</html>", headers={"request-id": "req_42"}),
        httpx.Response(200, content=b"", headers={"request-id": "req_42"}),
        httpx.Response(200, content=b'{"data":[', headers={"request-id": "req_42"}),
        httpx.Response(200, content=b'{"data":[]}', headers={"request-id": "req_42"}),
        httpx.Response(200, content=b"[]", headers={"request-id": "req_42"}),
        httpx.Response(200, content=b"\xff", headers={"request-id": "req_42"}),
        response([{**record(), "terminal_type": None}]),
        response([record("2025-08-31")]),
        response([record()], has_more=True),
    ],
    ids=lambda broken: broken.text[:40],
)
def test_a_refusal_names_the_day_the_request_and_what_to_do(broken: httpx.Response) -> None:
    with pytest.raises(ClaudeCodeResponseError) as caught:
        walk_through(broken)

    error = caught.value
    assert (error.status, error.request_id, error.retryable) == (200, "req_42", True)
    assert "2025-09-01" in str(error)
    assert "req_42" in str(error)
    assert "nothing is published" in str(error)
    assert "Try again" in str(error)


def test_a_refusal_quotes_no_record() -> None:
    bad = {**record(), "is_remote": "no", "actor": {"type": "user_actor", "email_address": "canary@example.com"}}

    for broken in (response([bad]), response([{**bad, "is_remote": None, "date": "canary"}])):
        with pytest.raises(ClaudeCodeResponseError) as caught:
            walk_through(broken)
        assert "canary" not in str(caught.value) + repr(caught.value)


def test_a_refused_field_is_named_by_its_path() -> None:
    bad = json.loads(json.dumps(record()))
    bad["core_metrics"]["lines_of_code"]["added"] = -1

    with pytest.raises(ClaudeCodeResponseError, match=r"\$\.data\[1\]\.core_metrics\.lines_of_code\.added"):
        walk_through(response([record(), bad]))


@pytest.mark.parametrize(
    ("limit", "records", "refused"), [(7, 7, False), (7, 8, True), (1, 2, True), (1000, 1001, True)]
)
def test_more_records_than_were_asked_for_end_the_walk(limit: int, records: int, refused: bool) -> None:
    def read() -> list[Page]:
        return walk_through(response([record()] * records), limit=limit)[0]

    if not refused:
        assert len(read()[0].records) == records
        return
    with pytest.raises(ClaudeCodeResponseError, match=f"contains {records} records, but {limit} were asked for"):
        read()


@pytest.mark.parametrize(
    ("name", "records", "problem"),
    [("MAX_EMPTY_PAGES", 0, "pages hold no record"), ("MAX_PAGES", 1, "there are more than 1.* pages")],
)
def test_a_walk_without_an_end_is_ended(name: str, records: int, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 15
    monkeypatch.setattr(paging, name, limit)

    with pytest.raises(ClaudeCodeResponseError, match=problem) as caught:
        walk_through(*(response([record()] * records, f"cursor-{number}") for number in range(limit + 1)))

    assert caught.value.retryable
    assert f"page {limit}," in str(caught.value)


def test_no_honest_day_is_near_the_bounds() -> None:
    """A million people with ten records each, and as many empty pages as nobody has ever seen."""
    assert paging.MAX_PAGES >= 10 * 1_000_000 * 10 / MAX_PAGE_LIMIT
    assert paging.MAX_EMPTY_PAGES >= 1000
    assert paging.MAX_WALK_SECONDS >= 86_400


def test_a_day_of_exactly_as_many_pages_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGES", 3)
    monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", 3)

    pages, _ = walk_through(response([], "1"), response([], "2"), response([record()]))

    assert len(pages) == 3


def test_a_cursor_that_fits_in_no_url_ends_the_walk() -> None:
    walk_through(response([], "x" * 4096), response([]))
    with pytest.raises(ClaudeCodeResponseError, match="more than 4096 characters"):
        walk_through(response([], "x" * 4097), response([]))


@pytest.mark.parametrize("cursor", ["\x00", "a\nb", "#", "?page=2&limit=1", "\u200b", "😀" * 4096, "%", "../.."])
def test_any_cursor_can_be_sent(cursor: str) -> None:
    """A cursor is one value of one parameter, whatever it contains."""
    _, (_, query) = walk_through(response([], cursor), response([]))

    url = httpx.Client(base_url="https://api.example.com").build_request("GET", "/v1", params=query).url

    assert url.params["page"] == cursor
    assert url.path == "/v1"


def test_a_last_page_needs_no_cursor() -> None:
    pages, _ = walk_through(httpx.Response(200, json={"data": [record()], "has_more": False}))

    assert len(pages[0].records) == 1


def test_a_new_field_that_other_lists_continue_with_changes_nothing() -> None:
    body = {"data": [record()], "has_more": False, "next_page": None, "last_id": 7}
    (page,), _ = walk_through(httpx.Response(200, json=body))
    assert len(page.records) == 1

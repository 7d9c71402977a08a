"""A walk by ``after_id`` asks for every page, and refuses whatever would lose or repeat items in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_claude_code.api import paging
from airflow_provider_claude_code.api.paging import Page, Request, bounded, id_pages
from airflow_provider_claude_code.exceptions import ClaudeCodeCursorError, ClaudeCodeResponseError
from tests.fixtures.walks import pages_of


def decode(body: bytes) -> tuple[list[str], set[str]]:
    return [item["id"] for item in json.loads(body)["data"]], set()


FIRST = Request(path="/v1/things", query={"limit": 2}, subject="the list of things", decode=decode)


def page(*ids: str, last_id: str | None = "that of the last item", has_more: bool = True) -> httpx.Response:
    last = (ids[-1] if ids else None) if last_id == "that of the last item" else last_id
    body = {"data": [{"id": each} for each in ids], "has_more": has_more, "first_id": "not used", "last_id": last}
    return httpx.Response(200, json=body, headers={"request-id": "req_42"})


def read(*responses: httpx.Response, check: Callable[[Page], None] = lambda page: None, **how: Any) -> list[Page]:
    return list(pages_of(bounded(id_pages(FIRST, str, check, **how)), responses))


def test_each_page_is_asked_for_after_the_last_id_of_the_one_before() -> None:
    pages = read(page("a", "b"), page("c", "d"), page("e", has_more=False))
    assert [each.request.query for each in pages] == [
        {"limit": 2},
        {"limit": 2, "after_id": "b"},
        {"limit": 2, "after_id": "d"},
    ]
    assert [each.request.number for each in pages] == [1, 2, 3]
    assert [record for each in pages for record in each.records] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("last_id", [None, "", "whatever"])
def test_a_last_page_needs_no_last_id_and_a_list_may_be_empty(last_id: str | None) -> None:
    assert [each.records for each in read(page(last_id=last_id, has_more=False))] == [[]]
    assert len(read(page("a"), page("b", last_id=last_id, has_more=False))) == 2


@pytest.mark.parametrize("last_id", [None, "", 7])
@pytest.mark.parametrize("ids", [(), ("b",)])
def test_more_without_a_last_id_ends_the_walk(last_id: str | None, ids: tuple[str, ...]) -> None:
    with pytest.raises(ClaudeCodeResponseError, match=r"no last_id \(page 2, request-id req_42\)"):
        read(page("a"), page(*ids, last_id=last_id))


@pytest.mark.parametrize(("ids", "last_id"), [(("a", "b"), "a"), (("a", "b"), "c"), ((), "a")])
def test_a_last_id_that_is_not_the_last_item_s_ends_the_walk(ids: tuple[str, ...], last_id: str) -> None:
    with pytest.raises(ClaudeCodeResponseError, match="not the id of the page's last item"):
        read(page(*ids, last_id=last_id))


def test_a_last_id_of_its_own_kind_is_followed_but_not_twice() -> None:
    pages = read(page("a", last_id="x1"), page("b", last_id="x2"), page(has_more=False), last_id_is_item=False)
    assert [each.request.query.get("after_id") for each in pages] == [None, "x1", "x2"]
    with pytest.raises(ClaudeCodeResponseError, match="last_id repeats an earlier cursor"):
        read(page("a", last_id="x"), page("b", last_id="x"), last_id_is_item=False)


@pytest.mark.parametrize(
    "responses",
    [
        (page("a", "a", has_more=False),),
        (page("a", "b"), page("b", "c", has_more=False)),
        (page("a"), page("b"), page("a")),
    ],
)
def test_an_id_that_comes_twice_starts_the_list_again(responses: tuple[httpx.Response, ...]) -> None:
    with pytest.raises(ClaudeCodeCursorError, match="listed an id twice while the list of things was read") as caught:
        read(*responses)
    assert caught.value.retryable
    assert caught.value.request_id == "req_42"


def test_each_page_is_looked_at() -> None:
    seen: list[str] = []
    read(page("a", "b"), page("c", has_more=False), check=lambda each: seen.extend(each.records))
    assert seen == ["a", "b", "c"]


def test_a_last_id_that_fits_in_no_url_ends_the_walk() -> None:
    with pytest.raises(ClaudeCodeResponseError, match="last_id has more than 4096 characters"):
        read(page("x" * 4097))


def test_a_list_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGES", 3)
    with pytest.raises(ClaudeCodeResponseError, match="more than 3 pages"):
        read(*(page(str(number)) for number in range(4)))

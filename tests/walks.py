"""A walk without a network: each request is answered by the next response."""

from collections.abc import Iterable, Iterator

import httpx

from airflow_provider_claude_code.api.paging import Page, Request, Requests, next_request


def walk(requests: Requests, responses: Iterable[httpx.Response]) -> Iterator[Page]:
    """Give a walk what it asks for, and yield its pages."""
    answers = iter(responses)
    request: Request | None = next(requests)
    while request is not None:
        page = Page(request, next(answers))
        request = next_request(requests, page)
        yield page
    assert next(answers, None) is None, "the walk ended early"

"""A walk without a network: each request is answered by the next response."""

from collections.abc import Iterable, Iterator

import httpx

from airflow_provider_claude_code.api.paging import Page, Requests


def walk(requests: Requests, responses: Iterable[httpx.Response]) -> Iterator[Page]:
    """Give a walk what it asks for, and yield its pages."""
    answers = iter(responses)
    request = next(requests)
    while request is not None:
        page = Page(request, next(answers))
        try:
            request = requests.send(page)
        except StopIteration:
            request = None
        yield page
    assert next(answers, None) is None, "the walk ended early"

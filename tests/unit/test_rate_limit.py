"""A task sends no more requests in any minute than it may, and does not wait longer than it must."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.api import rate_limit
from airflow_provider_claude_code.api.client import ClaudeCodeClient
from airflow_provider_claude_code.api.rate_limit import RateLimit
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeRateLimitError


@pytest.fixture(scope="module", autouse=True)
def _minutes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate_limit, "WINDOW", 60.0)
        yield


class Clock:
    """A clock that only sleeping moves on. Whole seconds, so that sums are exact."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        with self._lock:
            self.now += seconds


def limited(clock: Clock, requests_per_minute: int) -> RateLimit:
    return RateLimit(requests_per_minute, clock=clock, sleep=clock.sleep)


def earliest(wanted: Sequence[int], limit: int) -> list[int]:
    """Return when requests may begin, second by second: the first at which fewer than the limit began in a minute."""
    begun: list[int] = []
    now = 0
    for pause in wanted:
        now += pause
        while sum(now - moment < 60 for moment in begun) >= limit:
            now += 1
        begun.append(now)
    return begun


@given(pauses=st.lists(st.integers(0, 70), max_size=30), allowed=st.integers(1, 8))
def test_requests_begin_as_soon_as_the_limit_allows(pauses: list[int], allowed: int) -> None:
    clock = Clock()
    limit = limited(clock, allowed)
    begun = []
    for pause in pauses:
        if pause:
            clock.sleep(pause)
        limit.wait()
        begun.append(int(clock.now) - 1000)
    assert begun == earliest(pauses, allowed)


def test_threads_share_the_limit() -> None:
    clock = Clock()
    limit = limited(clock, 10)
    begun: list[float] = []

    def send() -> None:
        for _ in range(25):
            limit.wait()
            begun.append(clock.now)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 100
    # Ten in each of ten minutes: the last begin nine minutes after the first at the earliest.
    assert clock.now - 1000 >= 9 * 60


def test_a_pause_holds_all_threads() -> None:
    clock = Clock()
    limit = limited(clock, 10)
    limit.wait()
    paused = threading.Thread(target=limit.pause, args=(30,))
    paused.start()
    paused.join()
    assert clock.now == 1030
    limit.pause(5)
    assert clock.now == 1035


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7), ("90", 90)])
def test_a_429_lets_all_clients_wait_as_long_as_the_api_asks(
    retry_after: str, waited: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    limit = limited(clock, 60)
    answers = [httpx.Response(429, headers={"retry-after": retry_after})]
    seen: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(clock.now)
        return (
            answers.pop() if answers else httpx.Response(200, json={"id": "an-id", "type": "organization", "name": "A"})
        )

    monkeypatch.setattr("random.uniform", lambda low, high: low)
    settings = ClientSettings(api_key="key")
    with (
        ClaudeCodeClient(settings, httpx.MockTransport(answer), limit) as one,
        ClaudeCodeClient(settings, httpx.MockTransport(answer), limit) as other,
    ):
        one.get_organization()
        other.get_organization()
    assert seen == [1000, 1000 + waited, 1000 + waited]


def test_more_patience_than_is_left_is_refused_at_once() -> None:
    clock = Clock()
    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers={"retry-after": "700"}))
    with (
        ClaudeCodeClient(ClientSettings(api_key="key"), transport, limited(clock, 60)) as client,
        pytest.raises(ClaudeCodeRateLimitError),
    ):
        client.get_organization()
    assert clock.now == 1000


@pytest.mark.parametrize("number", [0, -1, 100_001])
def test_a_limit_that_makes_no_sense_is_refused(number: int) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="Requests per minute must be between 1 and 100000"):
        ClientSettings(api_key="key", requests_per_minute=number)

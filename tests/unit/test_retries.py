"""Errors that a retry may fix are retried after the requested pause, within the budget."""

import asyncio
import json
import logging
import re
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
from airflow_provider_claude_code.api.retries import (
    RATE_LIMIT_PAUSE,
    is_certificate_failure,
    read_error_envelope,
    retry_delay,
)
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConnectionError,
    ClaudeCodeRateLimitError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.streams.usage.pages import usage_walk

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = date(2025, 9, 1)
REQUEST = httpx.Request("GET", "https://api.anthropic.com/")
EMPTY_PAGE = {"data": [], "has_more": False, "next_page": None}


def delay(status: int, headers: dict[str, str] | None = None, body: Any = None) -> float | bool:
    response = httpx.Response(status, headers=headers, content=json.dumps(body), request=REQUEST)
    return retry_delay(httpx.HTTPStatusError("", request=REQUEST, response=response), now=NOW)


def error_body(kind: str, **details: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": "", "details": details}, "request_id": "req_1"}


class TestWhich:
    """Which failures are worth another attempt."""

    @pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 507, *range(520, 528), 529, 530, 598])
    def test_a_status_that_may_pass_is_retried(self, status: int) -> None:
        assert delay(status) is not False

    @pytest.mark.parametrize(
        "status", [301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 407, 410, 413, 422, 501, 505, 511]
    )
    def test_a_status_that_stays_is_not_retried(self, status: int) -> None:
        assert delay(status) is False
        assert delay(status, {"retry-after": "1"}) is False

    def test_the_server_may_forbid_another_attempt(self) -> None:
        assert delay(529, {"x-should-retry": "false", "retry-after": "1"}) is False

    def test_the_server_may_ask_for_another_attempt(self) -> None:
        assert delay(400, {"x-should-retry": "true"}) is True
        assert 3 <= delay(400, {"x-should-retry": "true", "retry-after": "3"}) <= 4

    @pytest.mark.parametrize("value", ["", "maybe", "1"])
    def test_an_unclear_wish_of_the_server_is_ignored(self, value: str) -> None:
        assert delay(400, {"x-should-retry": value}) is False
        assert delay(503, {"x-should-retry": value}) is True

    @pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
    def test_a_spend_limit_is_not_retried(self, code: str) -> None:
        spent = error_body("rate_limit_error", error_code=code)

        assert delay(429, {"retry-after": "1"}, spent) is False

    @pytest.mark.parametrize(
        "body",
        [
            None,
            "text",
            [],
            {"error": "text"},
            {"error": {"type": "rate_limit_error", "details": None}},
            {"error": {"type": "rate_limit_error", "details": {}}},
            {"error": {"type": "rate_limit_error", "details": "enforced_spend_limit_reached"}},
            error_body("rate_limit_error", error_code="another"),
            error_body("rate_limit_error", error_code="ramp_limit_exceeded"),
            error_body("rate_limit_error", error_code=7),
        ],
        ids=str,
    )
    def test_any_other_rate_limit_is_retried(self, body: Any) -> None:
        assert delay(429, body=body) is not False

    @pytest.mark.parametrize(
        "error",
        [
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.ReadTimeout,
            httpx.WriteTimeout,
            httpx.PoolTimeout,
            httpx.ReadError,
            httpx.WriteError,
            httpx.CloseError,
            httpx.RemoteProtocolError,
            httpx.ProxyError,
            httpx.DecodingError,
        ],
    )
    def test_a_lost_connection_is_retried(self, error: type[httpx.RequestError]) -> None:
        assert retry_delay(error("")) is True

    @pytest.mark.parametrize(
        "error",
        [httpx.UnsupportedProtocol(""), httpx.LocalProtocolError(""), httpx.InvalidURL(""), ValueError(), OSError()],
        ids=repr,
    )
    def test_what_never_reached_the_network_is_not_retried(self, error: Exception) -> None:
        assert retry_delay(error) is False

    @pytest.mark.parametrize("link", ["__cause__", "__context__"])
    def test_a_certificate_that_is_refused_is_not_retried(self, link: str) -> None:
        outer, middle = httpx.ConnectError(""), OSError()
        setattr(outer, link, middle)
        setattr(middle, link, ssl.SSLCertVerificationError())

        assert is_certificate_failure(outer)
        assert retry_delay(outer) is False

    @pytest.mark.parametrize(
        ("text", "retried"),
        [
            ("407 Proxy Authentication Required", False),
            ("403 Forbidden", False),
            ("404", False),
            ("501 Unsupported method ('CONNECT')", False),
            ("429 Too Many Requests", True),
            ("503 Service Unavailable", True),
            ("Proxy Server could not connect: Connection refused.", True),
            ("", True),
        ],
    )
    def test_a_proxy_that_refuses_for_good_is_not_asked_again(self, text: str, retried: bool) -> None:
        assert retry_delay(httpx.ProxyError(text)) is retried

    def test_another_tls_failure_is_retried(self) -> None:
        error = httpx.ConnectError("")
        error.__cause__ = ssl.SSLError("unexpected end of file")

        assert retry_delay(error) is True


class TestHowLong:
    """How long to wait; up to a second of jitter goes on top."""

    @pytest.mark.parametrize("status", [429, 503, 529])
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "20"}, 20),
            ({"retry-after": "2.5"}, 2.5),
            ({"retry-after": " 20 "}, 20),
            ({"retry-after-ms": "1500"}, 1.5),
            ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
            ({"retry-after-ms": "soon", "retry-after": "20"}, 20),
            ({"retry-after-ms": "-1", "retry-after": "20"}, 20),
            ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30),
            ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30),
            ({"retry-after": "Thu, 01 Jan 2026 01:00:30 +0100"}, 30),
            ({"retry-after": "Wed, 31 Dec 2025 23:59:59 GMT"}, 1),
            ({"retry-after": "Wed, 31 Dec 2025 23:59:59 -0000"}, 1),
            ({"retry-after": "0"}, 1),
            ({"retry-after": "0.01"}, 1),
            ({"retry-after-ms": "0"}, 1),
            ({"retry-after": "31536000"}, 31536000),
            ({"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT"}, 31536000),
        ],
        ids=str,
    )
    def test_what_the_server_asks_for_is_honoured(self, status: int, headers: dict[str, str], seconds: float) -> None:
        assert seconds <= delay(status, headers) <= seconds + 1

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"retry-after": ""},
            {"retry-after": "soon"},
            {"retry-after": "-1"},
            {"retry-after": "nan"},
            {"retry-after": "inf"},
            {"retry-after": "1e999"},
            {"retry-after": "Thu, 32 Jan 2026 00:00:30 GMT"},
            {"retry-after": "Thu, 01 Jan 99999 00:00:00 GMT"},
            {"retry-after": "Thu, 01 Jan 2026 00:00:30 +9999999999999999999"},
            {"retry-after": "Thu, 99999999999999999999 Jan 2026 00:00:30 GMT"},
            {"retry-after-ms": "soon"},
            {"retry-after-ms": "-5", "retry-after": "-5"},
        ],
        ids=str,
    )
    def test_nonsense_counts_as_absent(self, headers: dict[str, str]) -> None:
        assert delay(503, headers) is True
        assert RATE_LIMIT_PAUSE <= delay(429, headers) <= 2 * RATE_LIMIT_PAUSE

    def test_a_rate_limit_without_a_hint_waits_a_good_part_of_its_window(self) -> None:
        assert RATE_LIMIT_PAUSE == 15
        assert all(15 <= delay(429) <= 30 for _ in range(100))

    def test_tasks_that_were_turned_away_together_do_not_come_back_together(self) -> None:
        assert len({delay(429) for _ in range(50)}) > 40
        assert len({delay(503, {"retry-after": "5"}) for _ in range(50)}) > 40

    def test_the_present_is_the_default_for_dates(self) -> None:
        response = httpx.Response(503, headers={"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT"}, request=REQUEST)
        past = retry_delay(httpx.HTTPStatusError("", request=REQUEST, response=response))
        assert 1 <= past <= 2

    @settings(max_examples=300, deadline=None)
    @given(
        status=st.sampled_from([400, 429, 503]),
        value=st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
            st.from_regex(
                r"[A-Z][a-z]{2}, [0-9]{1,22} Jan [0-9]{1,22} [0-9]{1,22}:00:00 [+-][0-9]{1,22}", fullmatch=True
            ),
            st.floats().map(str),
        ),
        body=st.binary(max_size=20),
    )
    @example(429, "Thu, 01 Jan 2026 00:00:30 +9999999999999999999", b"")
    def test_no_header_and_no_body_can_break_the_decision(self, status: int, value: str, body: bytes) -> None:
        headers = httpx.Headers([(name, value.encode("latin-1")) for name in ("retry-after", "retry-after-ms")])
        response = httpx.Response(status, headers=headers, content=body, request=REQUEST)

        answer = retry_delay(httpx.HTTPStatusError("", request=REQUEST, response=response), now=NOW)

        assert isinstance(answer, bool) or 1 <= answer < float("inf")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff", b"[" * 100_000, b"{}", b'{"error":{}}', b'{"error":{"type":null}}', b"null"]
)
def test_an_answer_without_the_envelope_has_none(body: bytes) -> None:
    assert read_error_envelope(httpx.Response(503, content=body)) is None


def test_an_envelope_is_read_whatever_is_missing_or_new_in_it() -> None:
    envelope = read_error_envelope(httpx.Response(503, content=b'{"error":{"type":"of_tomorrow","new":1},"new":2}'))

    assert envelope is not None
    assert (envelope.error.type, envelope.error.message, envelope.request_id) == ("of_tomorrow", "", None)


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    @property
    def slept(self) -> float:
        return sum(self.waits)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Let the client's real retries wait without taking time."""
    clock, really_sleep = Clock(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        await really_sleep(0)

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", clock.sleep)
        patch.setattr(time, "monotonic", lambda: clock.now)
        patch.setattr(asyncio, "sleep", sleep)
        yield clock


Answer = Callable[[httpx.Request], httpx.Response]
Read = Callable[[Answer, float], int]


def read_sync(answer: Answer, retry_budget: float) -> int:
    settings = ClientSettings(api_key="key", retry_budget=retry_budget)
    with ClaudeCodeClient(settings, httpx.MockTransport(answer)) as client:
        return len(list(client.iter_pages(usage_walk(DAY, 1000))))


def read_async(answer: Answer, retry_budget: float) -> int:
    async def read() -> int:
        settings = ClientSettings(api_key="key", retry_budget=retry_budget)
        async with AsyncClaudeCodeClient(settings, httpx.MockTransport(answer)) as client:
            return len([page async for page in client.iter_pages(usage_walk(DAY, 1000))])

    return asyncio.run(read())


@pytest.mark.parametrize("read", [read_sync, read_async])
class TestBudget:
    """The real clients with a clock that only advances when they sleep."""

    def test_a_rate_limit_of_a_minute_is_survived(self, read: Read, clock: Clock) -> None:
        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(429) if clock.now < 1060 else httpx.Response(200, json=EMPTY_PAGE)

        assert read(answer, 600) == 1
        assert all(wait >= RATE_LIMIT_PAUSE for wait in clock.waits)
        assert 2 <= len(clock.waits) <= 4

    def test_the_wait_is_the_one_that_was_asked_for(self, read: Read, clock: Clock) -> None:
        answers = iter([httpx.Response(529, headers={"retry-after": "90"}), httpx.Response(200, json=EMPTY_PAGE)])

        assert read(lambda _: next(answers), 600) == 1
        assert len(clock.waits) == 1
        assert 90 <= clock.waits[0] <= 91

    def test_a_lost_connection_backs_off_exponentially(self, read: Read, clock: Clock) -> None:
        attempts = iter(range(8))

        def answer(request: httpx.Request) -> httpx.Response:
            if next(attempts) < 7:
                raise httpx.ReadTimeout("", request=request)
            return httpx.Response(200, json=EMPTY_PAGE)

        assert read(answer, 600) == 1
        for wait, least in zip(clock.waits, [1, 2, 4, 8, 16, 32, 60], strict=True):
            assert least <= wait <= min(least + 1, 60)

    def test_trouble_that_stays_ends_with_the_budget(self, read: Read, clock: Clock) -> None:
        with pytest.raises(ClaudeCodeServerError):
            read(lambda _: httpx.Response(503), 600)

        assert 540 <= clock.slept <= 600
        assert len(clock.waits) > 10

    def test_a_rate_limit_that_stays_ends_with_the_budget(self, read: Read, clock: Clock) -> None:
        with pytest.raises(ClaudeCodeRateLimitError):
            read(lambda _: httpx.Response(429), 600)

        assert 570 <= clock.slept <= 600

    @pytest.mark.parametrize("headers", [{"retry-after": "601"}, {"retry-after": "31536000"}])
    @pytest.mark.parametrize(("status", "error"), [(429, ClaudeCodeRateLimitError), (529, ClaudeCodeServerError)])
    def test_more_patience_than_is_left_fails_at_once(
        self, read: Read, clock: Clock, headers: dict[str, str], status: int, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            read(lambda _: httpx.Response(status, headers=headers), 600)

        assert clock.waits == []

    def test_what_earlier_attempts_took_is_gone_from_the_budget(self, read: Read, clock: Clock) -> None:
        answers = iter(["400", "400", "400"])

        with pytest.raises(ClaudeCodeRateLimitError):
            read(lambda _: httpx.Response(429, headers={"retry-after": next(answers)}), 600)

        assert len(clock.waits) == 1

    def test_each_page_has_a_budget_of_its_own(self, read: Read, clock: Clock) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            page = int(request.url.params.get("page", "0"))
            # 80 seconds of trouble before every page: more than the budget in all.
            if clock.now < 1080 + 80 * page:
                return httpx.Response(503, headers={"retry-after": "20"})
            following = str(page + 1) if page < 4 else None
            return httpx.Response(200, json={"data": [], "has_more": page < 4, "next_page": following})

        assert read(answer, 120) == 5
        assert clock.slept > 240

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
    def test_what_stays_is_asked_for_once(self, read: Read, clock: Clock, status: int) -> None:
        asked = []

        with pytest.raises(Exception, match=str(status)):
            read(lambda request: asked.append(request) or httpx.Response(status), 600)

        assert len(asked) == 1
        assert clock.waits == []

    @pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}])
    def test_a_budget_of_zero_is_one_attempt_without_a_warning(
        self, read: Read, clock: Clock, headers: dict[str, str]
    ) -> None:
        asked = []

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ClaudeCodeServerError):
                read(lambda request: asked.append(request) or httpx.Response(503, headers=headers), 0)

        assert len(asked) == 1
        assert clock.waits == []

    def test_a_failure_that_hides_nothing_is_told_with_its_kind(self, read: Read, clock: Clock) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("the read operation timed out", request=request)

        with pytest.raises(ClaudeCodeConnectionError, match="ReadTimeout: the read operation timed out"):
            read(answer, 5)

        assert 1 <= clock.slept <= 5


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What we log; httpx logs each request, and other tests may have switched that on."""
    ours = (record for record in caplog.records if record.name.startswith("airflow_provider_claude_code"))
    return [record.getMessage() for record in ours]


@pytest.mark.parametrize("read", [read_sync, read_async])
class TestLog:
    """What is said of a request that is repeated."""

    def test_each_retry_is_one_sentence(self, read: Read, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        overloaded = {"error": {"type": "overloaded_error", "message": "busy"}}
        answers = iter(
            [
                httpx.Response(529, json=overloaded, headers={"retry-after": "20"}),
                httpx.Response(502, html="<html>"),
                httpx.ReadTimeout("the read operation timed out"),
                httpx.Response(200, json=EMPTY_PAGE),
            ]
        )

        def answer(_: httpx.Request) -> httpx.Response:
            following = next(answers)
            if isinstance(following, Exception):
                raise following
            return following

        with caplog.at_level(logging.WARNING):
            assert read(answer, 600) == 1

        first, second, third = lines(caplog)
        asking = "The request for the Claude Code usage of 2025-09-01"
        assert re.fullmatch(
            rf"{asking} failed with status 529 \(overloaded_error\)\. Retrying in 2[01] s, giving up in 600 s\.",
            first,
        )
        assert re.fullmatch(
            rf"{asking} failed with status 502 \(not in the API's error format\)\. Retrying in [23] s, giving up in "
            r"5(79|80) s\.",
            second,
        )
        assert re.fullmatch(
            rf"{asking} failed \(ReadTimeout: the read operation timed out\)\. Retrying in [45] s, "
            r"giving up in 57[678] s\.",
            third,
        )
        assert all(record.levelname == "WARNING" for record in caplog.records)

    def test_it_quotes_nothing_raw(self, read: Read, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        answers = iter(
            [
                httpx.Response(503, json={"error": {"type": "a\nkey somebody@example.com " + "x" * 1000}}),
                httpx.Response(200, json=EMPTY_PAGE),
            ]
        )

        assert read(lambda _: next(answers), 600) == 1

        [line] = lines(caplog)
        assert line.isprintable()
        assert "example" not in line
        assert "key" not in line
        assert len(line) < 300

    def test_what_is_not_repeated_is_not_logged(
        self, read: Read, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(ClaudeCodeServerError):
            read(lambda _: httpx.Response(501), 600)

        assert lines(caplog) == []


def test_the_budget_is_measured_in_real_seconds() -> None:
    """With the real clock, to check the one that the tests above use."""
    asked = []
    begun = time.monotonic()

    with pytest.raises(ClaudeCodeServerError):
        read_sync(lambda request: asked.append(request) or httpx.Response(503, headers={"retry-after-ms": "1"}), 0.2)

    # The shortest pause is longer than the budget, so it is not begun.
    assert time.monotonic() - begun < 1
    assert len(asked) == 1

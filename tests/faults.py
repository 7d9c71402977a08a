"""
What goes wrong, and what a load must make of it: the matrix that `test_faults` runs.

``make faults`` (``python -m tests.faults``) writes it to integration/FAULTS.md.
"""

from __future__ import annotations

import errno
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAuthenticationError,
    ClaudeCodeBadRequestError,
    ClaudeCodeConfigurationError,
    ClaudeCodeConnectionError,
    ClaudeCodeCursorError,
    ClaudeCodeEmptyDayError,
    ClaudeCodePermissionError,
    ClaudeCodePublishError,
    ClaudeCodeRateLimitError,
    ClaudeCodeResponseError,
    ClaudeCodeServerError,
)
from tests.records import ORGANIZATION_ID, Json, model, official_example, people
from tests.servers.bigquery.faults import FailingJob, HttpError
from tests.servers.gcs import Fault
from tests.servers.wire import Broken, Wire

MATRIX = Path(__file__).parent / "integration" / "FAULTS.md"

LOCAL, GCS, BIGQUERY = TARGETS = ("local files", "Cloud Storage", "BigQuery")
OBJECT_STORE = "another object store"

ATTEMPTS = 2
"""How often a request is sent before a test gives up."""
BODY_LIMIT = 64 * 1024
"""Bytes that a body may have where the limit itself is tested."""
PAGE_LIMIT = 4
"""Pages, empty or not, that a day may have where the limit itself is tested."""
REQUEST_TIMEOUT = 0.5
"""Seconds, where time-outs are tested."""

Change = Callable[[list[Json]], list[Json]]


@dataclass(frozen=True)
class Refused:
    """
    The load fails, and the day before stays.

    :param error: exactly its class
    :param retry: whether Airflow tries again; else it is the cause of an AirflowFailException
    """

    error: type[Exception]
    retry: bool = True


class Scene:
    """
    A restated day, and how the API tells it.

    :param number: tells it from all the other days, by its sessions
    :param change: what is special about its records
    :param elsewhere: base URL of another host
    """

    def __init__(self, number: int, change: Change, elsewhere: str) -> None:
        metrics = official_example()["core_metrics"] | {"num_sessions": number}
        self.records = change(people(5, core_metrics=metrics))
        self.elsewhere = elsewhere

    @cached_property
    def bodies(self) -> list[bytes]:
        """The day's pages, of which the last may be long."""
        return [page(self.records[:2], "c2="), page(self.records[2:4], "c3="), page(self.records[4:])]

    @property
    def pages(self) -> list[bytes]:
        """The answers of a walk through the day."""
        return [respond(body) for body in self.bodies]


def page(records: Sequence[Json], next_page: Any = None, **changes: Any) -> bytes:
    """Write a page's body, with some fields changed, or left out by ``...``."""
    fields = {"data": records, "has_more": next_page is not None, "next_page": next_page} | changes
    body = {name: value for name, value in fields.items() if value is not ...}
    # A lone surrogate becomes bytes that are no UTF-8, NaN becomes NaN.
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def respond(body: bytes, status: int = 200, organization: str | None = ORGANIZATION_ID, **headers: str) -> bytes:
    """Write a response as the API does."""
    own = {"anthropic-organization-id": organization} if organization else {}
    return Wire.answer(status, body, **{"request-id": "req_1", "content-type": "application/json"} | own | headers)


def fail(status: int, kind: str = "api_error", details: Json | None = None, **headers: str) -> bytes:
    """Write an error response."""
    error = {"type": kind, "message": "It went wrong"} | ({"details": details} if details else {})
    return respond(json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode(), status, **headers)


Answers = Callable[[Scene], list[bytes | Broken]]
Answer = Callable[[Scene], bytes | Broken]
Reach = Literal["it", "nobody", "nobody who listens", "somebody unknown", "somebody who speaks no TLS"]


@dataclass(frozen=True, kw_only=True)
class ApiFault:
    """
    A fault on the API's side.

    :param group: what kind it is of
    :param name: what happens
    :param often: how often, where that matters
    :param answers: what is answered to the load of the restated day
    :param refused: the failure, or None when the restated day arrives
    :param asked: how many requests arrive at the API
    :param change: what is special about the records
    :param reach: whom the base URL leads to
    :param extra: of the Connection
    :param file_format: of targets that are files
    :param targets: the targets it is about
    :param limited: whether bodies may have only ``BODY_LIMIT`` bytes, and days only ``PAGE_LIMIT`` pages
    """

    group: str
    name: str
    often: str = ""
    answers: Answers = field(default=lambda scene: scene.pages)
    refused: Refused | None = None
    asked: int
    change: Change = field(default=lambda records: records)
    reach: Reach = "it"
    extra: Json = field(default_factory=dict)
    file_format: str = "parquet"
    targets: tuple[str, ...] = TARGETS
    limited: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    @property
    def kind(self) -> str:
        """What is common to some of them."""
        return f"{self.group}, {self.often}" if self.often else self.group


def passing(group: str, name: str, answer: Answer, error: type[Exception], **options: Any) -> list[ApiFault]:
    """Make the faults of a second page that is not there once, which is survived, and for ever."""
    return [
        ApiFault(
            group=group,
            name=name,
            often="once",
            answers=lambda scene: [scene.pages[0], answer(scene), *scene.pages[1:]],
            asked=4,
            **options,
        ),
        ApiFault(
            group=group,
            name=name,
            often="for ever",
            answers=lambda scene: [scene.pages[0], answer(scene)],
            refused=Refused(error),
            asked=1 + ATTEMPTS,
            **options,
        ),
    ]


def lasting(group: str, name: str, answer: Answer, refused: Refused, **options: Any) -> list[ApiFault]:
    """Make the faults of a second page that is not asked for again, so that once is for ever."""
    return [
        ApiFault(group=group, name=name, often=often, answers=answers, refused=refused, asked=2, **options)
        for often, answers in (
            ("once", lambda scene: [scene.pages[0], answer(scene), *scene.pages[1:]]),
            ("for ever", lambda scene: [scene.pages[0], answer(scene)]),
        )
    ]


def last_page(group: str, name: str, body: Callable[[Scene], bytes], **options: Any) -> ApiFault:
    """Make the fault of a last page that is there and cannot be trusted."""
    return ApiFault(
        group=group,
        name=name,
        answers=lambda scene: [*scene.pages[:2], respond(body(scene), **options)],
        refused=Refused(ClaudeCodeResponseError),
        asked=3,
    )


def spoiled(group: str, name: str, *spoilings: tuple[str, Any]) -> ApiFault:
    """Make the fault of a last record in which fields (``core_metrics.num_sessions``) have other values."""
    return ApiFault(
        group=group,
        name=name,
        change=with_fields(*spoilings),
        refused=Refused(ClaudeCodeResponseError),
        asked=3,
    )


def kept(group: str, name: str, change: Change, **options: Any) -> ApiFault:
    """Make a curiosity that is no fault."""
    return ApiFault(group=group, name=name, change=change, **options)


def with_fields(*changes: tuple[str, Any]) -> Change:
    """Change fields of the last record; ``...`` leaves one out."""

    def change(records: list[Json]) -> list[Json]:
        last = deepcopy(records[-1])
        for path, value in changes:
            *way, name = [int(step) if step.isdigit() else step for step in path.split(".")]
            inner: Any = last
            for step in way:
                inner = inner[step]
            if value is ...:
                del inner[name]
            else:
                inner[name] = value
        return [*records[:-1], last]

    return change


def refused_cursor(status: int) -> list[ApiFault]:
    """Make the faults of a second page that the API refuses to give, though it gave the first."""
    name = f"{status} for a page after the first"
    return [
        ApiFault(
            group="status",
            name=f"{name}: the day is read again",
            often="once",
            answers=lambda scene: [scene.pages[0], fail(status, "invalid_request_error"), *scene.pages],
            asked=5,
        ),
        ApiFault(
            group="status",
            name=name,
            often="for ever",
            answers=lambda scene: [scene.pages[0], fail(status, "invalid_request_error")] * 2,
            refused=Refused(ClaudeCodeCursorError),
            asked=4,
        ),
    ]


STATUSES = [
    *(
        ApiFault(
            group="status",
            name=f"{status} for the first page",
            answers=lambda _, status=status: [fail(status, "invalid_request_error")],
            refused=Refused(ClaudeCodeBadRequestError, retry=False),
            asked=1,
        )
        for status in (400, 404, 410, 413, 422)
    ),
    *(fault for status in (400, 404, 410, 413, 422) for fault in refused_cursor(status)),
    *(
        fault
        for status, code in (
            (400, "organization_type_not_supported"),
            (400, "organization_on_hold"),
            (400, "parent_organization_required"),
            (402, "linked_organization_spend_limit_reached"),
            (402, "linked_organization_billing_unavailable"),
            (403, "organization_level_scoped_api_key_required"),
            (403, "api_key_scope_missing"),
            (429, "enforced_spend_limit_reached"),
            (429, "contract_spend_limit_reached"),
        )
        for fault in lasting(
            "status",
            f"{status} {code}",
            lambda _, status=status, code=code: fail(status, "some_error", {"error_code": code}),
            Refused(ClaudeCodePermissionError, retry=False),
        )
    ),
    *(
        fault
        for status, kind, error in (
            (401, "authentication_error", ClaudeCodeAuthenticationError),
            (402, "billing_error", ClaudeCodePermissionError),
            (403, "permission_error", ClaudeCodePermissionError),
            (407, "authentication_error", ClaudeCodeBadRequestError),
        )
        for fault in lasting(
            "status", f"{status}", lambda _, status=status, kind=kind: fail(status, kind), Refused(error, retry=False)
        )
    ),
    *(
        fault
        for status, kind, error in (
            (408, "timeout_error", ClaudeCodeServerError),
            (409, "conflict_error", ClaudeCodeServerError),
            (425, "api_error", ClaudeCodeServerError),
            (429, "rate_limit_error", ClaudeCodeRateLimitError),
            (500, "api_error", ClaudeCodeServerError),
            (502, "api_error", ClaudeCodeServerError),
            (503, "api_error", ClaudeCodeServerError),
            (504, "timeout_error", ClaudeCodeServerError),
            (520, "api_error", ClaudeCodeServerError),
            (524, "api_error", ClaudeCodeServerError),
            (529, "overloaded_error", ClaudeCodeServerError),
            (530, "api_error", ClaudeCodeServerError),
            (598, "api_error", ClaudeCodeServerError),
        )
        for fault in passing("status", f"{status}", lambda _, status=status, kind=kind: fail(status, kind), error)
    ),
    *lasting(
        "status",
        "503 with x-should-retry: false",
        lambda _: fail(503, **{"x-should-retry": "false"}),
        Refused(ClaudeCodeServerError),
    ),
    ApiFault(
        group="status",
        name="400 with x-should-retry: true",
        often="once",
        answers=lambda scene: [scene.pages[0], fail(400, **{"x-should-retry": "true"}), *scene.pages[1:]],
        asked=4,
    ),
    *(
        fault
        for status in (301, 302, 303, 307, 308)
        for fault in lasting(
            "status",
            f"{status} to another host, which is not asked",
            lambda scene, status=status: respond(b"", status, location=f"{scene.elsewhere}/v1/organizations"),
            Refused(ClaudeCodeBadRequestError, retry=False),
        )
    ),
]


def in_seconds(seconds: float) -> str:
    """Write a moment as an HTTP date."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


RATE_LIMITS = [
    *(
        fault
        for name, header in (
            ("in seconds", lambda: "2"),
            ("as an HTTP date", lambda: in_seconds(5)),
            ("as an HTTP date that has passed", lambda: in_seconds(-3600)),
            ("negative", lambda: "-5"),
            ("a word", lambda: "soon"),
            ("empty", lambda: ""),
            ("not a number", lambda: "nan"),
        )
        for fault in passing(
            "retry-after of a 429",
            name,
            lambda _, header=header: fail(429, "rate_limit_error", **{"retry-after": header()}),
            ClaudeCodeRateLimitError,
        )
    ),
    *(
        fault
        for name, header in (
            ("a year in seconds", lambda: "31536000"),
            ("a year as an HTTP date", lambda: in_seconds(365 * 86400)),
        )
        for fault in lasting(
            "retry-after of a 429",
            name,
            lambda _, header=header: fail(429, "rate_limit_error", **{"retry-after": header()}),
            Refused(ClaudeCodeRateLimitError),
        )
    ),
]


def cut(answer: bytes) -> bytes:
    """Leave out the end of a response."""
    return answer[:-200]


CONNECTIONS = [
    *passing("connection", "reset before the answer", lambda _: Broken(b"", "reset"), ClaudeCodeConnectionError),
    *passing("connection", "reset in the body", lambda s: Broken(cut(s.pages[1]), "reset"), ClaudeCodeConnectionError),
    *passing("connection", "closed before the answer", lambda _: Broken(b"", "close"), ClaudeCodeConnectionError),
    *passing("connection", "closed in the head", lambda s: Broken(s.pages[1][:40], "close"), ClaudeCodeConnectionError),
    *passing("connection", "closed in the body", lambda s: Broken(cut(s.pages[1]), "close"), ClaudeCodeConnectionError),
    *passing(
        "connection",
        "closed in a body of chunks",
        lambda s: Broken(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n" + s.bodies[1][:99], "close"),
        ClaudeCodeConnectionError,
    ),
    *passing("connection", "answers in another language", lambda _: b"220 SMTP\r\n\r\n", ClaudeCodeConnectionError),
    *(
        fault
        for name, answer in (
            ("silence before the answer", lambda _: Broken(b"", "silence")),
            ("silence in the head", lambda s: Broken(s.pages[1][:40], "silence")),
            ("silence in the body", lambda s: Broken(cut(s.pages[1]), "silence")),
        )
        for fault in passing(
            "connection", name, answer, ClaudeCodeConnectionError, extra={"request_timeout": REQUEST_TIMEOUT}
        )
    ),
    *(
        fault
        for name, answer in (
            ("a byte now and then in the head", lambda s: Broken(b"HTTP/1.1 200 OK\r\nx-a: ", "drip")),
            ("a byte now and then in the body", lambda s: Broken(cut(s.pages[1]), "drip")),
        )
        for fault in passing(
            "connection",
            name,
            answer,
            ClaudeCodeConnectionError,
            extra={"request_timeout": REQUEST_TIMEOUT / 2},
            targets=(LOCAL,),
        )
    ),
    *(
        ApiFault(
            group="connection",
            name=name,
            often="for ever",
            reach=reach,
            refused=Refused(ClaudeCodeConnectionError),
            asked=0,
            extra=extra,
        )
        for name, reach, extra in (
            ("refused", "nobody", {}),
            ("not accepted", "nobody who listens", {"request_timeout": REQUEST_TIMEOUT}),
            ("TLS with a certificate that is not trusted", "somebody unknown", {}),
            (
                "TLS with a server that speaks none",
                "somebody who speaks no TLS",
                {"request_timeout": REQUEST_TIMEOUT},
            ),
        )
    ),
]

HTML = b"<html><head><title>Sign in</title></head><body>Welcome to the hotel</body></html>"


def html(status: int) -> bytes:
    """Write a proxy's answer, which has none of the API's headers."""
    return Wire.answer(status, HTML, **{"content-type": "text/html"})


def padded(body: bytes, size: int) -> bytes:
    """Make a body larger by blanks, which are no fault in JSON."""
    return body + b" " * (size - len(body))


BODIES = [
    *lasting("body", "HTML of a proxy with 200", lambda _: html(200), Refused(ClaudeCodeResponseError)),
    *passing("body", "HTML of a proxy with 502", lambda _: html(502), ClaudeCodeServerError),
    *lasting("body", "HTML of a proxy with 403", lambda _: html(403), Refused(ClaudeCodePermissionError, retry=False)),
    *(
        last_page("body", name, body)
        for name, body in (
            ("none", lambda _: b""),
            ("JSON that is cut short", lambda s: s.bodies[2][:-50]),
            ("JSON and something after it", lambda s: s.bodies[2] + b"{}"),
            ("JSON of nothing: null", lambda _: b"null"),
            ("JSON of something else: {}", lambda _: b"{}"),
            ("JSON of something else: []", lambda _: b"[]"),
            ("JSON nested 100,000 deep", lambda _: b"[" * 100_000),
            ("UTF-8 that is not valid, in a name", lambda s: s.bodies[2].replace(b"person", b"pers\xffn")),
            ("a lone surrogate in a name", lambda s: s.bodies[2].replace(b"person", rb"pers\ud800n")),
            ("UTF-16", lambda s: s.bodies[2].decode().encode("utf-16")),
            ("a key twice", lambda s: s.bodies[2].replace(b'"num_sessions":', b'"num_sessions": 1, "num_sessions":')),
            ("without data", lambda _: page([], data=...)),
            ("data is null", lambda _: page([], data=None)),
        )
    ),
    ApiFault(
        group="body",
        name="compressed by gzip",
        answers=lambda s: [respond(gzip.compress(body), **{"content-encoding": "gzip"}) for body in s.bodies],
        asked=3,
    ),
    *passing(
        "body",
        "compressed by gzip, and damaged",
        lambda s: respond(gzip.compress(s.bodies[1])[:-8] + bytes(8), **{"content-encoding": "gzip"}),
        ClaudeCodeConnectionError,
    ),
    last_page(
        "body", "gzip that is cut short", lambda s: gzip.compress(s.bodies[2])[:-99], **{"content-encoding": "gzip"}
    ),
    last_page(
        "body",
        "gzip within gzip, which nobody asked for",
        lambda s: gzip.compress(gzip.compress(s.bodies[2])),
        **{"content-encoding": "gzip, gzip"},
    ),
    last_page(
        "body",
        "deflate, which nobody asked for",
        lambda s: zlib.compress(s.bodies[2]),
        **{"content-encoding": "deflate"},
    ),
    ApiFault(
        group="body",
        name="as large as is allowed",
        answers=lambda s: [s.pages[0], respond(padded(s.bodies[1], BODY_LIMIT)), s.pages[2]],
        asked=3,
        limited=True,
    ),
    *lasting(
        "body",
        "a byte larger than is allowed",
        lambda s: respond(padded(s.bodies[1], BODY_LIMIT + 1)),
        Refused(ClaudeCodeResponseError),
        limited=True,
    ),
    *lasting(
        "body",
        "a gzip bomb",
        lambda s: respond(gzip.compress(padded(s.bodies[1], 8 * 1024 * 1024)), **{"content-encoding": "gzip"}),
        Refused(ClaudeCodeResponseError),
        limited=True,
    ),
    *lasting(
        "body",
        "a gzip bomb with 503",
        lambda s: respond(gzip.compress(bytes(8 * 1024 * 1024)), 503, **{"content-encoding": "gzip"}),
        Refused(ClaudeCodeResponseError),
        limited=True,
    ),
]


def again(scene: Scene, number: int, cursor: str) -> bytes:
    """Answer with a page that leads to another cursor than it should."""
    return respond(page(scene.records[2 * number - 2 : 2 * number], cursor))


def repeated(records: list[Json]) -> list[Json]:
    """Repeat records on one page and over pages."""
    return [records[0], records[0], *records[1:], records[0], records[3]]


WALKS = [
    *(
        last_page("walk", name, lambda scene, changes=changes: page(scene.records[4:], **changes))
        for name, changes in (
            ("has_more and next_page is null", {"has_more": True}),
            ("has_more and no next_page", {"has_more": True, "next_page": ...}),
            ("has_more and next_page is empty", {"has_more": True, "next_page": ""}),
            ("next_page is a number", {"has_more": True, "next_page": 7}),
            ("no has_more", {"has_more": ...}),
            ("has_more is null", {"has_more": None}),
            ("has_more is a word", {"has_more": "true"}),
        )
    ),
    # Behind the loops the day ends, so that a client that follows them is through, and does not walk for ever.
    ApiFault(
        group="walk",
        name="a cursor leads to itself",
        answers=lambda s: [s.pages[0], again(s, 2, "c2="), again(s, 2, "c2="), s.pages[2]],
        refused=Refused(ClaudeCodeResponseError),
        asked=2,
    ),
    ApiFault(
        group="walk",
        name="a cursor leads to the one before",
        answers=lambda s: [s.pages[0], again(s, 2, "c3="), again(s, 1, "c2="), again(s, 2, "c3="), s.pages[2]],
        refused=Refused(ClaudeCodeResponseError),
        asked=3,
    ),
    ApiFault(
        group="walk",
        name="more records than were asked for",
        answers=lambda s: [respond(page(s.records))],
        extra={"page_limit": 4},
        refused=Refused(ClaudeCodeResponseError),
        asked=1,
    ),
    *(
        ApiFault(
            group="walk",
            name=name,
            answers=lambda s, records=records: [
                respond(page(s.records[:records], f"e{number}=")) for number in range(2 * PAGE_LIMIT)
            ],
            refused=Refused(ClaudeCodeResponseError),
            asked=PAGE_LIMIT,
            limited=True,
        )
        for name, records in (("empty pages without end", 0), ("pages without end", 1))
    ),
    ApiFault(
        group="walk",
        name="a cursor of 5,000 letters",
        answers=lambda s: [respond(page(s.records[:2], "x" * 5000)), *s.pages[1:]],
        refused=Refused(ClaudeCodeResponseError),
        asked=1,
    ),
    ApiFault(
        group="walk",
        name="no next_page where none is needed",
        answers=lambda s: [*s.pages[:2], respond(page(s.records[4:], next_page=..., has_more=False))],
        asked=3,
    ),
    ApiFault(
        group="walk",
        name="empty pages in the middle",
        answers=lambda s: [s.pages[0], respond(page([], "e1=")), respond(page([], "e2=")), *s.pages[1:]],
        asked=5,
    ),
    ApiFault(
        group="walk",
        name="an empty page at the end",
        answers=lambda s: [respond(page(s.records[:2], "c2=")), respond(page(s.records[2:], "c3=")), respond(page([]))],
        asked=3,
    ),
    ApiFault(
        group="walk",
        name="no records at all, where the target has some",
        answers=lambda _: [respond(page([]))],
        refused=Refused(ClaudeCodeEmptyDayError),
        asked=1,
    ),
    kept("walk", "records that repeat: kept, numbered by key_ordinal, counted in repeated_keys", repeated, asked=3),
    *(
        spoiled("walk", f"a record of {name}", ("date", date))
        for name, date in (
            ("the day before", "2025-08-31T00:00:00Z"),
            ("the day after", "2025-09-02"),
            ("the same day in another year", "2024-09-01T00:00:00Z"),
            ("an hour of the day", "2025-09-01T01:00:00Z"),
            ("midnight elsewhere", "2025-09-01T00:00:00+02:00"),
            ("no day", "yesterday"),
        )
    ),
    kept(
        "walk",
        "records of another organisation: kept, since a parent's key may show its children's",
        with_fields(("organization_id", "a-child")),
        asked=3,
    ),
    ApiFault(
        group="walk",
        name="the key is of another organisation",
        answers=lambda s: [respond(body, organization="another") for body in s.bodies],
        refused=Refused(ClaudeCodeConfigurationError, retry=False),
        asked=3,
    ),
    *(
        ApiFault(
            group="walk",
            name=f"the pages are of different organisations ({which})",
            answers=lambda s, organizations=organizations: [
                respond(body, organization=organization)
                for body, organization in zip(s.bodies, organizations, strict=True)
            ],
            refused=Refused(ClaudeCodeResponseError),
            asked=asked,
        )
        for which, asked, organizations in (
            ("the second is another's", 2, (ORGANIZATION_ID, "another", ORGANIZATION_ID)),
            ("the last is another's", 3, (ORGANIZATION_ID, ORGANIZATION_ID, "another")),
            ("one does not say, and the last is another's", 3, (ORGANIZATION_ID, None, "another")),
        )
    ),
    ApiFault(
        group="walk",
        name="no organisation in some of the headers",
        answers=lambda s: [
            respond(body, organization=ORGANIZATION_ID if number == 1 else None) for number, body in enumerate(s.bodies)
        ],
        asked=3,
    ),
    ApiFault(
        group="walk",
        name="no organisation in the headers: it is asked for",
        answers=lambda s: [
            *(respond(body, organization=None) for body in s.bodies),
            respond(json.dumps({"id": ORGANIZATION_ID, "name": "n", "type": "organization"}).encode()),
        ],
        asked=4,
    ),
    ApiFault(
        group="walk",
        name="no organisation in the headers, and HTML when it is asked for",
        answers=lambda s: [*(respond(body, organization=None) for body in s.bodies), html(200)],
        refused=Refused(ClaudeCodeResponseError),
        asked=4,
    ),
]

COUNTS = (
    "core_metrics.num_sessions",
    "core_metrics.lines_of_code.added",
    "core_metrics.lines_of_code.removed",
    "core_metrics.commits_by_claude_code",
    "core_metrics.pull_requests_by_claude_code",
    "tool_actions.edit_tool.accepted",
    "tool_actions.edit_tool.rejected",
    "model_breakdown.0.tokens.input",
    "model_breakdown.0.tokens.output",
    "model_breakdown.0.tokens.cache_read",
    "model_breakdown.0.tokens.cache_creation",
)
AMOUNT = "model_breakdown.0.estimated_cost.amount"
REQUIRED = (
    *("date", "actor", "actor.type", "organization_id", "customer_type", "terminal_type"),
    *("core_metrics", "core_metrics.lines_of_code", "tool_actions", "model_breakdown", "model_breakdown.0.model"),
    *("model_breakdown.0.tokens", "model_breakdown.0.estimated_cost", "model_breakdown.0.estimated_cost.currency"),
    *(AMOUNT, *COUNTS),
)
# What a load accepts at most, see "Limits" in the README.
LARGEST = {path: 10**14 if ".tokens." in path else 10**12 for path in COUNTS}

VALUES = [
    *(spoiled("null where a value is required", path, (path, None)) for path in REQUIRED),
    *(
        spoiled("null where a value is required", path, (path, None))
        for path in ("tool_actions.edit_tool", "model_breakdown.0")
    ),
    *(spoiled("a required field is missing", path, (path, ...)) for path in (*REQUIRED, "actor.email_address")),
    *(
        spoiled(f"a count is {name}", path, (path, value_of(path)))
        for name, value_of in (
            ("negative", lambda _: -1),
            ("above its limit", lambda path: LARGEST[path] + 1),
            ("the largest of 64 bits", lambda _: 2**63 - 1),
        )
        for path in COUNTS
    ),
    *(
        spoiled("one of the counts is", name, (COUNTS[0], value))
        for name, value in (
            ("above 64 bits", 2**64),
            ("of 400 digits", 10**400),
            ("a fraction", 5.5),
            ("NaN", float("nan")),
            ("Infinity", float("inf")),
            ("text", "5"),
            ("true", True),
        )
    ),
    *(
        spoiled("an amount is", name, (AMOUNT, value))
        for name, value in (
            ("NaN", float("nan")),
            ("Infinity", float("inf")),
            ("text that says NaN", "NaN"),
            ("above its limit", "100000000000000.000000001"),
            ("below its limit", -(10**14) - 1),
            ("of 30 digits", 10**29),
            ("text with an underscore", "1_000"),
            ("text with foreign digits", "١٢"),
            ("no number", "much"),
            ("empty", ""),
            ("true", True),
            ("a list", [1]),
        )
    ),
    spoiled(
        "numbers add up to more than 1,000,000,000,000,000",
        "tokens of a day",
        ("model_breakdown", [model(tokens=(0, 0, 10**14, 0))] * 11),
    ),
    spoiled(
        "numbers add up to more than 1,000,000,000,000,000",
        "amounts of a day, whatever their signs",
        ("model_breakdown", [model(10**14), model(-(10**14))] * 6),
    ),
    *(
        kept("values at the edge", name, with_fields(*changes), asked=3)
        for name, changes in (
            ("the largest counts", list(LARGEST.items())),
            ("the largest amount, as text", [(AMOUNT, "99999999999999.999999999")]),
            ("a count written 5.0", [(COUNTS[1], 5.0)]),
            ("a negative amount", [(AMOUNT, -1.25)]),
            ("no models and no tools", [("model_breakdown", []), ("tool_actions", {})]),
            ("null where it is allowed", [("subscription_type", None), ("is_remote", None)]),
            ("an actor without a name", [("actor.email_address", None)]),
            ("fields that nobody knows", [("core_metrics.new", [None]), ("new", {"a": 1})]),
            ("10,000 tools", [("tool_actions", {f"tool-{n}": {"accepted": n, "rejected": 0} for n in range(10_000)})]),
            ("10,000 models", [("model_breakdown", [model(n, name=f"model-{n}") for n in range(10_000)])]),
        )
    ),
    *(
        kept("values at the edge", name, with_fields(("actor", actor)), asked=3)
        for name, actor in (
            ("an actor of an unknown kind", {"type": "service_actor", "id": "s-1", "name": "é"}),
            ("an actor of an unknown kind with parts", {"type": "team_actor", "b": [1, None], "a": {"y": 1, "x": "2"}}),
            ("an actor of an unknown kind with nothing", {"type": "nobody"}),
        )
    ),
]

NAMES = {
    "quotes": 'O\'Neil "the" `x` \\',
    "line breaks": "one\ntwo\r\nthree\rfour\u2028five",
    "separators": "a,b;c\td|e",
    "emoji": "👩\u200d💻🏳️\u200d🌈",
    "right-to-left marks": "\u202ecod.exe\u200f\u2066א",
    "letters composed and not": "é e\u0301 ﬁ ẞ",
    "blanks around it": "  a\u00a0 ",
    "no letter": "",
    "words for nothing": "NULL",
    "a comment": "# -- /*",
    "10,000 letters": "x" * 10_000,
    "a formula: =": "=cmd()|' /C calc'!A0",
    "a formula: +": "+1+1",
    "a formula: -": "-1+1",
    "a formula: @": "@SUM(1;1)",
}
"""Names that a reader of text may take for something else."""


def named(name: str) -> Change:
    """Give a name to all that has one."""
    return lambda records: [
        *with_fields(
            ("actor.email_address", name),
            ("terminal_type", name),
            ("customer_type", name),
            ("tool_actions", {name: {"accepted": 1, "rejected": 2}}),
            ("model_breakdown.0.model", name),
            ("model_breakdown.0.estimated_cost.currency", name),
        )(records),
        official_example(actor={"type": "api_actor", "api_key_name": name}, subscription_type=name),
    ]


TEXTS = [
    *(kept("name with", title, named(name), asked=3) for title, name in NAMES.items()),
    *(
        kept(
            f"name in {file_format} with",
            title,
            named(name),
            asked=3,
            file_format=file_format,
            targets=(LOCAL, GCS),
        )
        for file_format in ("csv", "ndjson")
        for title, name in NAMES.items()
    ),
]

API_FAULTS: list[ApiFault] = [*STATUSES, *RATE_LIMITS, *CONNECTIONS, *BODIES, *WALKS, *VALUES, *TEXTS]


@dataclass(frozen=True, kw_only=True)
class TargetFault:
    """
    A fault on the side of the target.

    :param target: which
    :param name: what happens
    :param rule: what is told to the local server; of local files, what is done to the directory; of another object
        store, what an upload raises
    :param refused: the failure, or None when the restated day arrives
    :param unchanged: whether the day before stays whole; else tables may differ until the retry, as ``loads`` shows
    """

    target: str
    name: str
    rule: Any
    refused: Refused | None = None
    unchanged: bool = True

    def __str__(self) -> str:
        return f"{self.target}: {self.name}"


@dataclass(frozen=True, kw_only=True)
class FailingCall:
    """
    A call of the file system that fails.

    :param function: which
    :param error: what it raises
    :param calls: which calls of it do, counted from 0
    :param of_directories: whether only those that are about directories count
    """

    function: Literal["shutil.copyfileobj", "os.fsync", "fcntl.flock"]
    error: OSError
    calls: Sequence[int] = range(1000)
    of_directories: bool = False


def gcs_fault(name: str, rule: Fault, refused: Refused | None = None) -> TargetFault:
    return TargetFault(target=GCS, name=name, rule=rule, refused=refused)


def bigquery_fault(
    name: str, rule: FailingJob | HttpError, refused: Refused | None = None, *, unchanged: bool = True
) -> TargetFault:
    return TargetFault(target=BIGQUERY, name=name, rule=rule, refused=refused, unchanged=unchanged)


NO_PERMISSION = Refused(ClaudeCodeConfigurationError, retry=False)
LATER = Refused(ClaudeCodePublishError)

TARGET_FAULTS = [
    TargetFault(target=LOCAL, name="no space", rule="full", refused=LATER),
    *(
        TargetFault(
            target=LOCAL,
            name=f"no space for file {number + 1} of 4",
            rule=FailingCall(
                function="shutil.copyfileobj", error=OSError(errno.ENOSPC, "No space left on device"), calls=[number]
            ),
            refused=LATER,
        )
        for number in range(4)
    ),
    *(
        TargetFault(
            target=LOCAL,
            name=f"no space to flush file {number + 1} of 4",
            rule=FailingCall(
                function="os.fsync", error=OSError(errno.ENOSPC, "No space left on device"), calls=[number]
            ),
            refused=LATER,
        )
        for number in range(4)
    ),
    *(
        TargetFault(
            target=LOCAL,
            name=f"directories cannot be flushed ({errno.errorcode[code]})",
            rule=FailingCall(function="os.fsync", error=OSError(code, "refused"), of_directories=True),
        )
        for code in (errno.EINVAL, errno.ENOTSUP)
    ),
    *(
        TargetFault(
            target=LOCAL,
            name=f"no locks {where} ({errno.errorcode[code]})",
            rule=FailingCall(function="fcntl.flock", error=OSError(code, "refused"), calls=[call]),
            refused=NO_PERMISSION,
        )
        for call, where in enumerate(("to spool the day", "to publish it"))
        for code in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    ),
    TargetFault(target=LOCAL, name="the directory is read-only", rule="read-only", refused=NO_PERMISSION),
    *(
        TargetFault(target=target, name="no space to spool the day", rule="spool", refused=Refused(OSError))
        for target in TARGETS
    ),
    TargetFault(
        target=OBJECT_STORE, name="no permission", rule=PermissionError("Access Denied"), refused=NO_PERMISSION
    ),
    TargetFault(target=OBJECT_STORE, name="slow down", rule=OSError(errno.EBUSY, "Slow Down"), refused=LATER),
    *(
        gcs_fault(f"no permission ({operation})", Fault(operation, status=403, times=None), NO_PERMISSION)
        for operation in ("objects.list", "objects.get", "objects.download", "objects.insert")
    ),
    *(
        gcs_fault(
            f"{name} ({status} {reason})", Fault("objects.insert", status=status, reason=reason, times=None), what
        )
        for name, status, reason, what in (
            ("a retention policy", 403, "retentionPolicyNotMet", NO_PERMISSION),
            ("a hold", 403, "objectUnderActiveHold", NO_PERMISSION),
            ("no billing", 403, "accountDisabled", NO_PERMISSION),
            ("requester pays", 400, "userProjectMissing", NO_PERMISSION),
            ("a disabled key", 400, "cloudKmsDisabledKey", NO_PERMISSION),
            ("rate limit", 403, "rateLimitExceeded", LATER),
        )
    ),
    gcs_fault("rate limit (429), once", Fault("objects.insert", status=429)),
    gcs_fault("rate limit (429), for ever", Fault("objects.insert", status=429, times=None), LATER),
    gcs_fault("503, once", Fault("objects.insert", status=503)),
    gcs_fault("503, for ever", Fault("objects.insert", status=503, times=None), LATER),
    gcs_fault("a precondition fails, once: the day is loaded again", Fault("objects.insert", status=412)),
    gcs_fault("a precondition fails, for ever", Fault("objects.insert", status=412, times=None), LATER),
    gcs_fault("an answer is lost", Fault("objects.insert", drop=True)),
    *(
        bigquery_fault(
            f"no permission ({method})",
            HttpError(method=method, status=403, reason="accessDenied"),
            NO_PERMISSION,
        )
        for method in ("datasets.get", "tables.get", "tabledata.list", "jobs.insert")
    ),
    bigquery_fault(
        "the dataset is gone", HttpError(method="datasets.get", status=404, reason="notFound"), NO_PERMISSION
    ),
    bigquery_fault(
        "quota exceeded (403 quotaExceeded)",
        HttpError(method="jobs.insert", status=403, reason="quotaExceeded"),
        LATER,
    ),
    bigquery_fault(
        "rate limit (403 rateLimitExceeded), once",
        HttpError(method="jobs.insert", status=403, reason="rateLimitExceeded", times=1),
    ),
    bigquery_fault(
        "rate limit (403 rateLimitExceeded), for ever",
        HttpError(method="jobs.insert", status=403, reason="rateLimitExceeded"),
        LATER,
    ),
    bigquery_fault("503, once", HttpError(method="jobs.insert", times=1)),
    bigquery_fault("503, for ever", HttpError(method="jobs.insert"), LATER),
    *(
        bigquery_fault(f"the jobs fail ({reason})", FailingJob(reason=reason), LATER)
        for reason in ("backendError", "quotaExceeded", "rateLimitExceeded", "stopped")
    ),
    bigquery_fault("the jobs fail (invalid)", FailingJob(), Refused(ClaudeCodePublishError, retry=False)),
    bigquery_fault(
        "the jobs are lost",
        HttpError(method="jobs.get", status=404, reason="notFound"),
        LATER,
        unchanged=False,
    ),
]

ELSEWHERE = {
    "local files: a writer is killed before any of its steps": (
        "test_object_storage.TestKilledWriters.test_in_a_directory_a_torn_day_shows_and_the_next_run_mends_it"
    ),
    "local files: another writer at the same time": (
        "test_object_storage.TestTwoWriters.test_many_at_once_in_a_local_directory_leave_one_whole_day"
    ),
    "Cloud Storage: the bucket vanishes": (
        "test_gcs.TestFailures.test_a_bucket_that_vanishes_fails_for_good_with_advice"
    ),
    "Cloud Storage: the bucket was never there": (
        "test_gcs.TestFailures.test_a_bucket_that_was_never_there_fails_for_good_before_the_api_is_asked"
    ),
    "Cloud Storage: 503 or a lost connection for ever, in any operation": (
        "test_gcs.TestFailures.test_an_outage_that_lasts_is_an_error_that_a_retry_may_mend"
    ),
    "Cloud Storage: content is stored wrongly": (
        "test_gcs.TestFailures.test_content_that_was_stored_wrongly_is_not_accepted"
    ),
    "Cloud Storage: another writer between any two steps": (
        "test_races.test_in_any_interleaving_the_day_ends_as_one_writers"
    ),
    "Cloud Storage: a writer is killed with an object on its way": (
        "test_gcs.TestKilledWriters.test_one_whose_process_dies_with_an_object_on_its_way_is_mended_by_the_next_run"
    ),
    "BigQuery: there is no such dataset": (
        "test_bigquery.TestTables.test_a_missing_dataset_is_refused_or_created_as_asked"
    ),
    "BigQuery: one of the three jobs fails": (
        "test_bigquery.TestJobs.test_a_job_that_fails_is_told_with_what_the_tables_hold_and_the_retry_mends_it"
    ),
    "BigQuery: the second job is refused by the quota": (
        "test_bigquery.TestJobs.test_a_job_that_is_refused_after_another_was_started_is_mended_by_the_retry"
    ),
    "BigQuery: the answer to a job is lost": (
        "test_bigquery.TestJobs.test_one_whose_acceptance_got_lost_is_not_started_twice"
    ),
    "BigQuery: the load cannot be remembered": (
        "test_bigquery.TestJobs.test_a_load_that_cannot_be_remembered_fails_and_the_retry_mends_it"
    ),
    "BigQuery: another writer between any two requests": (
        "test_races.test_in_any_interleaving_the_day_ends_as_one_writers"
    ),
    "any target: another writer at any step, of which one finds no records": (
        "test_races.test_in_any_interleaving_the_day_ends_as_one_writers"
    ),
    "any target: two organisations claim it at once, of which one has no records": (
        "test_races.test_of_two_organisations_that_claim_an_empty_target_exactly_one_wins"
    ),
    "BigQuery: no records, and a partition of the day is said not to be there": (
        "test_bigquery.TestEmptyDays.test_a_partition_that_is_said_not_to_be_there_is_not_taken_for_an_empty_one"
    ),
    "BigQuery: the arguments change while the task is deferred": (
        "test_bigquery.TestDeferrable.test_one_whose_arguments_change_meanwhile_touches_nothing"
    ),
    "BigQuery: the tables change hands while the task is deferred": (
        "test_bigquery.TestDeferrable.test_one_whose_tables_change_hands_meanwhile_touches_nothing"
    ),
    "BigQuery: a run is deleted and made again under its old id": (
        "test_bigquery.TestReplacement.test_a_run_made_anew_under_an_old_id_loads_what_the_api_says_then"
    ),
    "BigQuery: a try that was taken for dead goes on": (
        "test_bigquery.TestReplacement.test_two_tries_at_once_do_not_take_each_others_jobs_for_their_own"
    ),
    "BigQuery: the day is older than the partition expiration": (
        "test_bigquery.TestTables.test_a_day_that_the_table_would_delete_again_is_refused_before_any_job"
    ),
    "BigQuery: the tables expire as a whole": (
        "test_bigquery.TestTables.test_tables_that_are_to_be_deleted_whole_are_warned_of"
    ),
    "BigQuery: columns have policy tags": (
        "test_bigquery.TestTables.test_columns_with_policy_tags_and_descriptions_of_a_user_are_loaded_and_keep_them"
    ),
    "BigQuery: the task times out while the jobs run, deferred or not": (
        "test_bigquery.TestDeferrable."
        "test_at_the_execution_timeout_jobs_are_cancelled_and_loads_says_what_the_tables_hold"
    ),
    "BigQuery: the triggerer cannot poll the jobs": (
        "test_bigquery.TestDeferrable.test_jobs_that_the_triggerer_cannot_poll_are_waited_for_by_the_task"
    ),
    "BigQuery: a task is killed before any request": (
        "test_bigquery.TestKilledWriters."
        "test_killed_before_any_request_leaves_tables_whole_and_the_next_try_mends_the_day"
    ),
}
"""Faults that the tests of the targets inject, by the test."""


def markdown() -> str:
    """Return the matrix as Markdown."""
    lines = [
        "# What goes wrong, and what becomes of the day",
        "",
        "Each of these is a test of [test_faults.py](test_faults.py): a day is loaded, then loaded again with other",
        "numbers while something goes wrong. Then the target holds exactly the new day, or exactly the day before:",
        "files byte for byte, tables row for row. `make faults` writes this file from [faults.py](../faults.py).",
        "",
        "*Retry* says whether Airflow tries the task again. Where it does not, the task fails at once with an",
        "`AirflowFailException` that was caused by the error.",
        "",
        "Text arrives as the API has it, in every format. Spreadsheets run what begins with `=`, `+`, `-` or `@` when",
        "they open a CSV file: import its columns as text there.",
        "",
        "## The API",
        "",
    ]
    for targets, faults in groupby(sorted(API_FAULTS, key=lambda fault: -len(fault.targets)), lambda f: f.targets):
        lines += [f"Against {', '.join(targets)}:", "", *_table(_api_rows(faults)), ""]
    lines += ["## The target", "", *_table(_target_rows()), ""]
    lines += ["## Tested elsewhere", "", "| fault | test |", "|---|---|"]
    lines += [
        f"| {fault} | `{test.rsplit('.', 1)[1]}` in {test.split('.')[0]}.py |" for fault, test in ELSEWHERE.items()
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[tuple[str, str, Refused | None, str]]) -> list[str]:
    """Lay out rows, those of a kind with the same end on one line."""
    lines: dict[tuple[str, Refused | None, str], list[str]] = {}
    for kind, name, refused, holds in rows:
        lines.setdefault((kind, refused, holds), []).append(name.replace("|", "\\|"))
    table = ["| kind | faults | task ends with | retry | target then holds |", "|---|---|---|---|---|"]
    for (kind, refused, holds), names in lines.items():
        end = f"`{refused.error.__name__}` | {'yes' if refused.retry else 'no'}" if refused else "success | "
        table.append(f"| {kind} | {'; '.join(names)} | {end} | {holds} |")
    return table


def _api_rows(faults: Iterable[ApiFault]) -> list[tuple[str, str, Refused | None, str]]:
    return [
        (fault.kind, fault.name, fault.refused, "the day before" if fault.refused else "the new day")
        for fault in faults
    ]


def _target_rows() -> list[tuple[str, str, Refused | None, str]]:
    rows = []
    for fault in TARGET_FAULTS:
        holds = "the day before" if fault.unchanged else "either in each table; the retry loads all"
        rows.append((fault.target, fault.name, fault.refused, holds if fault.refused else "the new day"))
    return rows


if __name__ == "__main__":
    MATRIX.write_text(markdown())

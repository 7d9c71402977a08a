"""The sandbox behaves as the Claude Code Analytics API does, and fails as it is told to."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.sandbox import (
    API_KEY,
    OAUTH_TOKEN,
    Faults,
    Organization,
    Sandbox,
    create_app,
)
from airflow_provider_claude_code.sandbox.report import REPORT_PATH
from airflow_provider_claude_code.sandbox.responses import json_response
from airflow_provider_claude_code.sandbox.server import ENDPOINTS, ME_PATH
from airflow_provider_claude_code.sandbox.service import Service, limit_of, single_values

DAY = date(2026, 1, 13)
WEDNESDAY = date(2026, 1, 14)
NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
ORGANIZATION = Organization.named("Sandbox", 250, 7)
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(users=250, seed=7, now=lambda: NOW) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    running.requests.clear()
    yield running
    running.faults = Faults()
    running.records = None
    running.now = lambda: NOW


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"x-api-key": sandbox.api_key, **VERSION}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False) as client:
        yield client


def report(client: httpx.Client, day: date = DAY, **params: Any) -> httpx.Response:
    return client.get(REPORT_PATH, params={"starting_at": str(day), **params})


def walk(client: httpx.Client, day: date = DAY, limit: int = 1000) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    page: dict[str, Any] = {}
    while True:
        body = report(client, day, limit=limit, **page).raise_for_status().json()
        assert body.keys() == {"data", "has_more", "next_page"}
        assert body["has_more"] is (body["next_page"] is not None)
        assert len(body["data"]) == limit or not body["has_more"]
        records += body["data"]
        if not body["has_more"]:
            return records
        page = {"page": body["next_page"]}


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"date": f"{DAY}T00:00:00Z", "number": number} for number in range(count)]


def after(day: date, **delay: float) -> datetime:
    """Give the moment so long after the end of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, **delay)


def assert_error(response: httpx.Response, status: int, kind: str, message: str = "") -> None:
    body = response.json()
    assert response.status_code == status
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert message in body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]
    assert "sk-ant" not in response.text


# The made-up organisation


def test_the_same_arguments_give_the_same_records() -> None:
    records = ORGANIZATION.records(DAY, NOW)
    assert len(records) > 100
    assert ORGANIZATION.records(DAY, NOW) == records
    assert Organization.named("Sandbox", 250, 8).records(DAY, NOW) != records
    assert Organization.named("Sandbox", 240, 7).records(DAY, NOW) != records


def test_the_records_do_not_depend_on_the_interpreters_hash_seed() -> None:
    code = (
        "import json; from datetime import *; from airflow_provider_claude_code.sandbox import Organization;"
        "o = Organization.named('Sandbox', 250, 7);"
        "print(json.dumps(o.records(date(2026, 1, 13), datetime(2026, 1, 20, 12, tzinfo=UTC))))"
    )
    env = os.environ | {"PYTHONHASHSEED": "4711"}
    output = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout
    assert json.loads(output) == ORGANIZATION.records(DAY, NOW)


def test_callers_may_change_the_records_that_they_got() -> None:
    records = ORGANIZATION.records(DAY, NOW)
    for record in records:
        record["actor"].clear()
        record["core_metrics"].clear()
    assert all(record["actor"] and record["core_metrics"] for record in ORGANIZATION.records(DAY, NOW))


def test_a_weekend_is_quiet_and_usage_grows_over_the_months() -> None:
    def people(first: date, days: Sequence[int]) -> float:
        counts = [
            len({record["actor"].get("email_address") for record in ORGANIZATION.records(day, NOW)})
            for day in (first + timedelta(day) for day in days)
        ]
        return sum(counts) / len(counts)

    monday = date(2025, 9, 1)
    assert 0.08 < people(monday, (5, 6, 12, 13)) / people(monday, (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)) < 0.22
    assert people(date(2026, 1, 12), range(5)) > 1.5 * people(date(2025, 6, 16), range(5))
    assert ORGANIZATION.records(date(2025, 5, 31), NOW) == []


def test_some_weeks_hold_everything_that_the_api_may_answer() -> None:
    records = [r for n in range(28) for r in ORGANIZATION.records(date(2025, 12, 1) + timedelta(n), NOW)]
    count = len(records)
    models = [model for record in records for model in record["model_breakdown"]]
    amounts = [model["estimated_cost"]["amount"] for model in models]
    tools = Counter(tool for record in records for tool in record["tool_actions"])
    sizes = Counter(len(record["model_breakdown"]) for record in records)
    absent = object()

    assert {record["actor"]["type"] for record in records} == {"user_actor", "api_actor"}
    assert all(
        re.fullmatch(r"dev\d{3}@example\.com", record["actor"].get("email_address", "dev000@example.com"))
        for record in records
    )
    assert {record["organization_id"] for record in records} == {ORGANIZATION.id}
    assert {record["customer_type"] for record in records} == {"api", "subscription"}
    subscriptions = {record.get("subscription_type", absent) for record in records}
    assert subscriptions == {"enterprise", "team", None, absent}
    assert {record.get("is_remote", absent) for record in records} == {True, False, absent}
    assert {"vscode", "ssh-session", "xterm"} < {record["terminal_type"] for record in records}
    assert {"edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"} < tools.keys()
    assert {"bash_tool", "web_fetch_tool"} < tools.keys()
    assert 0.05 < sum(not record["tool_actions"] for record in records) / count < 0.2
    assert 0.2 < sizes[0] / count < 0.5
    assert sizes.keys() == {0, 1, 2, 3}
    assert 0 in amounts
    assert {type(amount) for amount in amounts} == {int, float}
    assert all(
        re.fullmatch(r"\d+(\.\d{1,4})?", json.dumps(amount)) and float(msgspec.json.encode(amount)) == amount
        for amount in amounts
    )
    metrics = [record["core_metrics"] for record in records]
    assert any(m["num_sessions"] == 0 and m["lines_of_code"]["added"] > 0 for m in metrics)
    offers = [offer for record in records for offer in record["tool_actions"].values()]
    accepted = sum(offer["accepted"] for offer in offers)
    assert 0.75 < accepted / (accepted + sum(offer["rejected"] for offer in offers)) < 0.95


def test_people_differ_in_how_they_use_it() -> None:
    weeks = {n: ORGANIZATION.records(date(2026, 1, 5) + timedelta(n), NOW) for n in range(14)}
    turns: Counter[str] = Counter()
    days: dict[str, set[int]] = {}
    for offset, records in weeks.items():
        for record in records:
            if address := record["actor"].get("email_address"):
                days.setdefault(address, set()).add(offset)
                turns[address] += record["core_metrics"]["num_sessions"]
    (_, dominant), (_, second), *_ = turns.most_common()
    assert dominant > 3 * second
    assert {"dev003@example.com"} == {turns.most_common(1)[0][0]}
    active_days = Counter(min(len(worked), 9) for worked in days.values())
    assert sum(active_days[n] for n in (1, 2, 3)) > 0.1 * len(days)
    assert sum(active_days[n] for n in (7, 8, 9)) > 0.4 * len(days)
    # Some work on weekends rather than on Mondays and Tuesdays.
    assert [1 for worked in days.values() if len(worked & {5, 6, 12, 13}) > 1 + len(worked & {0, 1, 7, 8})]
    # Who stopped is still a member.
    members = {person.address(date(2026, 1, 18)) for person in ORGANIZATION.people()}
    stopped = {record["actor"].get("email_address") for record in ORGANIZATION.records(date(2025, 6, 20), NOW)}
    assert {address for address in stopped - days.keys() if address} & members
    # Members of seats are rarely told about with models.
    with_models = {
        kind: [bool(r["model_breakdown"]) for records in weeks.values() for r in records if r["customer_type"] == kind]
        for kind in ("api", "subscription")
    }
    shares = {kind: sum(found) / len(found) for kind, found in with_models.items()}
    assert shares["api"] > shares["subscription"] + 0.3


def test_an_organisation_may_have_no_seats_or_nobody_who_uses_it() -> None:
    api_only = Organization.named("api", 30, is_api_only=True)
    assert {record["customer_type"] for record in api_only.records(DAY, NOW)} == {"api"}
    nobody = Organization.named("nobody", 0)
    assert [nobody.records(day, NOW) for day in (DAY, WEDNESDAY)] == [[], []]
    assert [person.role for person in nobody.people()] == ["admin"]
    assert nobody.key_names() == []


def test_one_day_has_a_person_in_several_terminals_and_apart_from_that_remotely() -> None:
    rows: dict[str, set[tuple[str, bool | None]]] = {}
    for record in ORGANIZATION.records(DAY, NOW):
        name = record["actor"].get("email_address") or record["actor"]["api_key_name"]
        rows.setdefault(name, set()).add((record["terminal_type"], record.get("is_remote")))
    assert any(len({terminal for terminal, _ in places}) > 1 for places in rows.values())
    assert any({(t, True), (t, False)} <= places for places in rows.values() for t, _ in places)
    assert {("ssh-session", False), ("xterm", False)} <= rows["ci-pipeline-01"]


def test_only_activity_older_than_an_hour_is_there() -> None:
    moments = (after(DAY, hours=-24), after(DAY, hours=-12), after(DAY), after(DAY, hours=1), NOW)
    nothing, morning, midnight, closed, later = (ORGANIZATION.records(DAY, moment) for moment in moments)
    assert nothing == []
    assert 0 < len(morning) < len(midnight) < len(closed)
    assert closed == later
    assert ORGANIZATION.records(date.max, NOW) == []


def test_a_wednesday_is_restated_six_hours_after_its_end() -> None:
    before = ORGANIZATION.records(WEDNESDAY, after(WEDNESDAY, hours=2))
    restated = ORGANIZATION.records(WEDNESDAY, after(WEDNESDAY, hours=8))
    assert len(before) < len(restated)
    assert sum(record not in restated for record in before) == 1
    assert ORGANIZATION.records(WEDNESDAY, after(WEDNESDAY, hours=5, minutes=59)) == before
    assert ORGANIZATION.records(WEDNESDAY, NOW) == restated


@pytest.mark.parametrize("users", [1, 2])
def test_the_smallest_organisations_have_usage_and_restatements(users: int) -> None:
    tiny = Organization.named("tiny", users)
    before, restated = (tiny.records(WEDNESDAY, after(WEDNESDAY, hours=hours)) for hours in (2, 8))
    assert before
    assert before != restated


def test_what_makes_no_organisation_is_refused() -> None:
    with pytest.raises(ValueError, match="users"):
        Organization.named("none", -1)
    with pytest.raises(ValueError, match="time zone"):
        ORGANIZATION.records(DAY, datetime(2026, 1, 20))  # noqa: DTZ001


# Pages


@pytest.mark.parametrize("limit", [1000, 20, 7])
def test_pages_of_any_size_make_up_the_day(sandbox: Sandbox, client: httpx.Client, limit: int) -> None:
    expected = ORGANIZATION.records(DAY, NOW)
    assert walk(client, limit=limit) == expected
    assert len(sandbox.requests) == -(-len(expected) // limit)


def test_a_page_has_twenty_records_unless_asked(client: httpx.Client) -> None:
    assert len(report(client).json()["data"]) == 20


def test_a_full_last_page_is_the_last(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.records = lambda day, now: numbered(40)
    assert walk(client, limit=20) == numbered(40)
    assert len(sandbox.requests) == 2


def test_cursors_end_in_an_equals_sign_and_allow_another_limit(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.records = lambda day, now: numbered(1500)
    for limit in (1, 10, 100, 1000):
        cursor = report(client, limit=limit).json()["next_page"]
        assert cursor.endswith("=")
        rest = report(client, limit=3, page=cursor).json()["data"]
        assert rest == numbered(1500)[limit : limit + 3]


def test_a_cursor_is_good_for_its_day_and_organisation_only(client: httpx.Client) -> None:
    cursor = report(client, limit=5).json()["next_page"]
    other_key = {"x-api-key": f"{API_KEY}-acme"}
    other = client.get(REPORT_PATH, params={"starting_at": str(DAY), "page": cursor}, headers=other_key)
    for response in (report(client, WEDNESDAY, page=cursor), other):
        assert_error(response, 400, "invalid_request_error", "page: a cursor of another")


def test_a_forged_cursor_is_refused(client: httpx.Client) -> None:
    cursor = report(client, limit=5).json()["next_page"]
    forged = ["", "=", "x", "é", "AAAA", cursor[:-1], cursor + "=", "\n" + cursor, cursor[::-1]]
    forged += [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(0, len(cursor), 9)]
    for page in forged:
        assert_error(report(client, page=page), 400, "invalid_request_error", "page: not a cursor")


def test_later_pages_show_the_day_as_the_first_page_did(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.now = lambda: after(WEDNESDAY, hours=2)
    body = report(client, WEDNESDAY, limit=50).json()
    sandbox.now = lambda: after(WEDNESDAY, hours=8)
    walk(client, WEDNESDAY)
    rest = report(client, WEDNESDAY, limit=1000, page=body["next_page"]).json()["data"]
    assert body["data"] + rest == ORGANIZATION.records(WEDNESDAY, after(WEDNESDAY, hours=2))


def test_own_records_are_asked_once_per_walk(sandbox: Sandbox, client: httpx.Client) -> None:
    asked = []

    class Million(Sequence[dict[str, Any]]):
        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, index: Any) -> Any:
            return [{"number": number} for number in range(*index.indices(len(self)))]

    def records(day: date, now: datetime) -> Sequence[dict[str, Any]]:
        asked.append((day, now))
        return Million()

    sandbox.records = records
    page: dict[str, Any] = {}
    for number in range(5):
        body = report(client, limit=10, **page).json()
        assert body["data"][0] == {"number": number * 10}
        page = {"page": body["next_page"]}
    assert asked == [(DAY, NOW)]
    report(client)
    assert len(asked) == 2


def test_a_future_day_and_a_day_long_past_are_empty(client: httpx.Client) -> None:
    for day in (date(2027, 1, 1), date(9999, 12, 31), date(2001, 1, 1), date(1, 1, 1)):
        assert report(client, day).json() == {"data": [], "has_more": False, "next_page": None}


# Keys and errors


def test_the_key_names_its_organisation(client: httpx.Client) -> None:
    response = client.get(ME_PATH)
    assert response.json() == {"id": ORGANIZATION.id, "name": "Sandbox", "type": "organization"}
    assert response.headers["anthropic-organization-id"] == ORGANIZATION.id
    assert response.headers["request-id"].startswith("req_")


def test_another_key_has_another_organisation(client: httpx.Client) -> None:
    acme = Organization.named("acme", 250)
    client.headers["x-api-key"] = f"{API_KEY}-acme"
    assert client.get(ME_PATH).json() == {"id": acme.id, "name": "acme", "type": "organization"}
    assert walk(client) == acme.records(DAY, NOW) != ORGANIZATION.records(DAY, NOW)


def test_an_oauth_token_works_as_a_key(sandbox: Sandbox) -> None:
    headers = {"authorization": f"Bearer {OAUTH_TOKEN}", **VERSION}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False) as client:
        assert client.get(ME_PATH).json()["id"] == ORGANIZATION.id
        assert report(client).status_code == 200


@pytest.mark.parametrize("path", [ME_PATH, REPORT_PATH])
@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({}, 401, "authentication_error"),
        ({"x-api-key": ""}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant-admin01-other"}, 401, "authentication_error"),
        ({"x-api-key": f"{API_KEY}-Acme"}, 401, "authentication_error"),
        ({"authorization": "Bearer sk-ant-other"}, 401, "authentication_error"),
        ({"authorization": f"Basic {OAUTH_TOKEN}"}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant-api03-x"}, 403, "permission_error"),
        ({"x-api-key": "sk-ant-api01-x"}, 403, "permission_error"),
    ],
)
def test_keys_that_do_not_work(sandbox: Sandbox, path: str, headers: dict[str, str], status: int, kind: str) -> None:
    response = httpx.get(sandbox.base_url + path, headers={**VERSION, **headers}, trust_env=False)
    assert_error(response, status, kind)
    assert "anthropic-organization-id" not in response.headers


@pytest.mark.parametrize("path", [ME_PATH, REPORT_PATH])
def test_a_request_without_the_version_header_is_refused(sandbox: Sandbox, path: str) -> None:
    response = httpx.get(sandbox.base_url + path, headers={"x-api-key": sandbox.api_key}, trust_env=False)
    assert_error(response, 400, "invalid_request_error", "anthropic-version")
    assert response.headers["anthropic-organization-id"] == ORGANIZATION.id


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "starting_at: field required"),
        ("starting_at=", "starting_at: must be a day"),
        ("starting_at=20260113", "starting_at: must be a day"),
        ("starting_at=2026-1-13", "starting_at: must be a day"),
        ("starting_at=2026-W03-2", "starting_at: must be a day"),
        ("starting_at=2026-02-29", "starting_at: must be a day"),
        ("starting_at=0000-01-01", "starting_at: must be a day"),
        ("starting_at=2026-01-13T00:00:00Z", "starting_at: must be a day"),
        ("starting_at=2026-01-13%0A", "starting_at: must be a day"),
        ("starting_at=2026-01-13&starting_at=2026-01-13", "starting_at: must be given once"),
        ("starting_at=2026-01-13&limit=0", "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=1001", "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=-1", "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=", "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=1.5", "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=" + "9" * 5000, "limit: must be an integer"),
        ("starting_at=2026-01-13&limit=5&limit=5", "limit: must be given once"),
        ("starting_at=2026-01-13&page=a&page=a", "page: must be given once"),
    ],
)
def test_a_wrong_parameter_is_named(client: httpx.Client, query: str, message: str) -> None:
    assert_error(client.get(f"{REPORT_PATH}?{query}"), 400, "invalid_request_error", message)


def test_an_unknown_path_and_another_method_get_the_envelope(client: httpx.Client) -> None:
    for path in ("/", "/v1/organizations", ME_PATH + "/", REPORT_PATH + "/x"):
        assert_error(client.get(path), 404, "not_found_error")
    for path in (ME_PATH, REPORT_PATH):
        response = client.post(path)
        assert_error(response, 405, "invalid_request_error")
        assert response.headers["allow"] == "GET"


def test_own_records_that_fail_are_a_server_error(
    sandbox: Sandbox, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    def records(day: date, now: datetime) -> list[dict[str, Any]]:
        raise LookupError("no such day")

    sandbox.records = records
    assert_error(report(client), 500, "api_error")
    assert "no such day" in caplog.text


# Faults


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_status_answers_that_error(sandbox: Sandbox, client: httpx.Client, status: int, kind: str) -> None:
    sandbox.faults = Faults(status=status)
    assert_error(report(client), status, kind)
    assert "retry-after" not in report(client).headers
    assert client.get(ME_PATH).status_code == 200


@pytest.mark.parametrize("value", ["7", "Wed, 14 Jan 2026 00:00:00 GMT", "soon", "-1"])
def test_retry_after_is_sent_as_it_is(sandbox: Sandbox, client: httpx.Client, value: str) -> None:
    sandbox.faults = Faults(status=429, retry_after=value)
    assert report(client).headers["retry-after"] == value


def test_times_stops_after_so_many_hits_and_counts_anew_when_assigned(sandbox: Sandbox, client: httpx.Client) -> None:
    for _ in range(2):
        sandbox.faults = Faults(status=529, times=2)
        assert [report(client).status_code for _ in range(4)] == [529, 529, 200, 200]


def test_rate_hits_its_share_and_the_same_requests_again(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.records = lambda day, now: []
    outcomes = []
    for _ in range(2):
        sandbox.faults = Faults(status=500, rate=0.3)
        outcomes.append([report(client, limit=1).status_code for _ in range(100)])
    assert outcomes[0] == outcomes[1]
    assert 15 < outcomes[0].count(500) < 45
    sandbox.faults = Faults(status=500, rate=0)
    assert report(client).status_code == 200


def test_page_hits_that_page_of_a_walk_only(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(status=500, page=2, times=1)
    cursor = report(client).json()["next_page"]
    assert [report(client, page=cursor).status_code for _ in range(2)] == [500, 200]
    assert walk(client) == ORGANIZATION.records(DAY, NOW)


def test_latency_delays_every_answer(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(latency=0.05, page=9)
    start = time.perf_counter()
    assert report(client).status_code == 200
    assert time.perf_counter() - start >= 0.05


def test_truncate_drops_the_connection_within_a_page(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(truncate=True, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        report(client, limit=1000)
    assert report(client).status_code == 200


def test_drip_sends_byte_by_byte_what_it_would_send_at_once(sandbox: Sandbox, client: httpx.Client) -> None:
    expected = report(client, limit=1).content
    sandbox.faults = Faults(drip=1e-6)
    with client.stream("GET", REPORT_PATH, params={"starting_at": str(DAY), "limit": 1}) as response:
        assert b"".join(response.iter_raw()) == expected


def test_endless_pages_are_empty_and_lead_to_others(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(endless=True)
    pages = [report(client).json()]
    for _ in range(5):
        pages.append(report(client, page=pages[-1]["next_page"]).json())
    assert all(page["has_more"] and page["data"] == [] for page in pages)
    assert len({page["next_page"] for page in pages}) == len(pages)


def test_an_error_code_is_in_the_envelopes_details(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(status=429, error_code="enforced_spend_limit_reached")
    error = report(client).json()["error"]
    assert (error["type"], error["details"]) == ("rate_limit_error", {"error_code": "enforced_spend_limit_reached"})


def test_repeat_cursor_never_ends(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(repeat_cursor=True)
    first = report(client, limit=1000).json()
    second = report(client, limit=1000, page=first["next_page"]).json()
    assert first["has_more"]
    assert second["has_more"]
    assert first["next_page"] == second["next_page"]


def test_wrong_day_spoils_one_record_of_the_page(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.faults = Faults(wrong_day=True)
    days = Counter(record["date"] for record in report(client, limit=1000).json()["data"])
    assert days["2026-01-12T00:00:00Z"] == 1
    assert days.keys() == {"2026-01-12T00:00:00Z", "2026-01-13T00:00:00Z"}
    sandbox.faults = Faults()
    assert walk(client) == ORGANIZATION.records(DAY, NOW)


@pytest.mark.parametrize(("status", "answered"), [(None, 200), (502, 502)])
def test_html_is_a_proxys_page(sandbox: Sandbox, client: httpx.Client, status: int | None, answered: int) -> None:
    sandbox.faults = Faults(html=True, status=status)
    response = report(client)
    assert response.status_code == answered
    assert response.headers["content-type"].startswith("text/html")
    assert "request-id" not in response.headers


@pytest.mark.parametrize(
    "values",
    [
        {"status": 200},
        {"status": 600},
        {"rate": 1.1},
        {"rate": float("nan")},
        {"page": 0},
        {"times": 0},
        {"latency": -1},
        {"latency": float("inf")},
        {"drip": float("nan")},
        {"retry_after": "1"},
        {"error_code": "organization_on_hold"},
        {"status": 500, "drip": 1},
        {"html": True, "endless": True},
        {"status": 429, "retry_after": "1\r\nx: y"},
        {"status": 500, "truncate": True},
        {"html": True, "wrong_day": True},
    ],
)
def test_faults_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needs|cannot be combined"):
        Faults(**values)


# Endpoints


def test_an_endpoint_more_has_the_keys_headers_and_errors_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def costs(service: Service, request: Request) -> Response:
        service.authenticate(request)
        return json_response({"limit": limit_of(single_values(request, "limit"))})

    monkeypatch.setitem(ENDPOINTS, "/v1/costs", costs)
    with Sandbox(users=5) as sandbox:
        headers = {"x-api-key": sandbox.api_key, **VERSION}
        with httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False) as client:
            response = client.get("/v1/costs")
            assert response.json() == {"limit": 20}
            assert response.headers["anthropic-organization-id"] == sandbox.organization.id
            for query in ("limit=1001", "limit=1&limit=1"):
                refusal = client.get(f"/v1/costs?{query}")
                assert (refusal.status_code, refusal.json()["error"]["type"]) == (400, "invalid_request_error")
            assert client.get("/v1/costs", headers={"x-api-key": "sk-ant-api03-x"}).status_code == 403
            assert report(client).status_code == 200


# Ways to run it


def test_requests_are_kept_without_their_keys(sandbox: Sandbox, client: httpx.Client) -> None:
    report(client, limit=5)
    client.get("/nowhere", headers={"authorization": "Bearer secret"})
    seen, unknown = sandbox.requests
    assert (seen.method, seen.path, seen.status) == ("GET", REPORT_PATH, 200)
    assert seen.params == [("starting_at", "2026-01-13"), ("limit", "5")]
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert (unknown.path, unknown.status) == ("/nowhere", 404)
    assert not {"x-api-key", "authorization"} & (seen.headers.keys() | unknown.headers.keys())


def test_two_sandboxes_run_side_by_side_and_stop() -> None:
    with Sandbox(users=5) as one, Sandbox(users=6) as two:
        assert one.base_url != two.base_url
        for sandbox in (one, two):
            assert httpx.get(sandbox.base_url, trust_env=False).status_code == 404
    for sandbox in (one, two):
        with pytest.raises(httpx.ConnectError):
            httpx.get(sandbox.base_url, trust_env=False)


def test_the_app_runs_in_any_asgi_server() -> None:
    app = create_app(ORGANIZATION, records=lambda day, now: numbered(3))

    async def data() -> Any:
        headers = {"x-api-key": API_KEY, **VERSION}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            return (await client.get(REPORT_PATH, params={"starting_at": "2026-01-13"})).json()["data"]

    assert asyncio.run(data()) == numbered(3)


def test_the_command_line_serves_and_prints_a_connection() -> None:
    command = [sys.executable, "-m", "airflow_provider_claude_code", "sandbox", "--port", "0", "--users", "20"]
    command += ["--seed", "3", "--now", "2026-01-15T09:30:00Z", "--status", "529", "--page", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address, key, connection = (process.stdout.readline().rstrip() for _ in range(3))
            match = re.fullmatch(r"export AIRFLOW_CONN_CLAUDE_CODE_DEFAULT='(.+)'", connection)
            assert match is not None
            values = json.loads(match[1])
            assert values["conn_type"] == "claude_code"
            assert (values["host"], values["password"]) == (address.split()[-1], key.split()[-1])
            headers = {"x-api-key": values["password"], **VERSION}
            with httpx.Client(base_url=values["host"], headers=headers, trust_env=False) as client:
                organization = Organization.named("Sandbox", 20, 3)
                now = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
                assert walk(client) == organization.records(DAY, now)
                cursor = report(client, limit=1).json()["next_page"]
                assert report(client, page=cursor).status_code == 529
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "65536"], "not a port"),
        (["--port", "http"], "not a port"),
        (["--now", "yesterday"], "time zone"),
        (["--now", "2026-01-15T09:30:00"], "time zone"),
        (["--users", "-1"], "users must be"),
        (["--status", "200"], "status must be"),
        (["--rate", "2"], "rate must be"),
        (["--host", "192.0.2.1", "--port", "0"], "Cannot listen on 192.0.2.1:0"),
    ],
)
def test_a_bad_argument_is_explained(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["sandbox", *arguments])
    assert message in f"{refusal.value}{capsys.readouterr().err}"

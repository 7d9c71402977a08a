"""The stream ``cost``: what is asked, what is refused, and what becomes of an entry."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
from airflow_provider_claude_code.api.paging import Page, start_again
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeBadRequestError,
    ClaudeCodeConfigurationError,
    ClaudeCodeCursorError,
    ClaudeCodePermissionError,
    ClaudeCodeResponseError,
)
from airflow_provider_claude_code.streams.cost import COST
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.tables.rows import PageRows
from airflow_provider_claude_code.tables.spool import arrow_tables

DAY = date(2026, 3, 1)
REFRESHED = "2026-03-03T07:00:00Z"
ADA = {"type": "user_actor", "user_id": "user_1", "email_address": "ada@example.com", "name": "Ada", "deleted": False}
Answer = Callable[[httpx.QueryParams], dict[str, Any] | tuple[int, str]]


def entry(amount: Any = "123.456789", list_amount: Any = "150", **group: Any) -> dict[str, Any]:
    grouped = {"actor": ADA, "model": "claude-opus-4-1", "product": "claude_code", "workspace_id": "wrkspc_1"}
    return {
        "starting_at": "2026-03-01T00:00:00Z",
        "ending_at": "2026-03-02T00:00:00Z",
        "group": grouped | {"organization_id": "org_1", "cost_type": "tokens"} | group,
        "cost": {"amount": amount, "list_amount": list_amount, "currency": "USD", "requests": None},
    }


def total(amount: str, list_amount: str) -> dict[str, Any]:
    return entry(amount, list_amount, actor=None, model=None, workspace_id=None, organization_id=None, cost_type=None)


def page(*entries: dict[str, Any], next_page: str | None = None, refreshed: str | None = REFRESHED) -> dict[str, Any]:
    return {
        "data": list(entries),
        "has_more": next_page is not None,
        "next_page": next_page,
        "data_refreshed_at": refreshed,
    }


def one_page(*entries: dict[str, Any], totals: tuple[dict[str, Any], ...] = ()) -> Answer:
    return lambda query: page(*(entries if "group_by[]" in query else totals))


class API:
    """Answers with the result of a function, and keeps the requests."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answer(request.url.params)
        if isinstance(answer, dict):
            return httpx.Response(200, json=answer, headers={"date": "Tue, 03 Mar 2026 08:00:00 GMT"})
        status, message = answer
        error = {"type": "invalid_request_error", "message": message}
        return httpx.Response(status, json={"type": "error", "error": error})

    @property
    def groups(self) -> list[list[str]]:
        return [request.url.params.get_list("group_by[]") for request in self.requests]


SETTINGS = ClientSettings(api_key="sk-ant-admin01-x", retry_budget=0)


def read(answer: Answer, *, limit: int = 1000, **filters: list[str]) -> tuple[list[Page], API]:
    api = API(answer)
    with ClaudeCodeClient(SETTINGS, httpx.MockTransport(api)) as client:
        pages = [page for page in client.iter_pages(COST.walk(DAY, limit, filters)) if page.records is not None]
    return pages, api


def rows(answer: Answer, pseudonyms: Pseudonyms | None = None) -> dict[str, list[dict[str, Any]]]:
    flattener = COST.flattener(DAY, pseudonyms)
    pages = [flattener.flatten(page.records) for page in read(answer)[0]]
    return {table.name: [row for page in pages for row in in_rows(page)[table.name]] for table in COST.tables}


def in_rows(page: PageRows) -> dict[str, list[dict[str, Any]]]:
    tables = arrow_tables(page, COST.tables, datetime(2026, 3, 4, tzinfo=UTC))
    return {name: table.to_pylist() for name, table in tables.items()}


class TestWalk:
    def test_a_total_is_no_record_beside_the_charges(self) -> None:
        async def look(api: API) -> bool:
            async with AsyncClaudeCodeClient(SETTINGS, httpx.MockTransport(api)) as client:
                return await client.has_records(lambda: COST.walk(DAY, 1))

        for entries in ((), (entry(),)):
            answer = one_page(*entries, totals=(total("0", "0"),))
            pages, api = read(answer)
            assert sum(len(page.new_records) for page in pages) == len(entries)
            with ClaudeCodeClient(SETTINGS, httpx.MockTransport(api)) as client:
                assert client.has_records(lambda: COST.walk(DAY, 1)) is bool(entries)
            assert asyncio.run(look(API(answer))) is bool(entries)

    def test_a_day_is_asked_for_by_all_groups_and_then_as_a_total(self) -> None:
        def answer(query: httpx.QueryParams) -> dict[str, Any]:
            if "group_by[]" not in query:
                return page(total("1", "2"))
            return page(entry(model=query.get("page", "first")), next_page=None if "page" in query else "cursor=1")

        pages, api = read(answer, limit=7)
        assert [len(page.records) for page in pages] == [1, 1, 1]
        common = [
            ("starting_at", "2026-03-01T00:00:00Z"),
            ("ending_at", "2026-03-02T00:00:00Z"),
            ("time_bucket_width", "1d"),
            ("order_by", "time"),
            ("limit", "7"),
            ("products[]", "claude_code"),
        ]
        groups = [
            ("group_by[]", name)
            for name in ("actor", "model", "product", "workspace_id", "organization_id", "cost_type")
        ]
        assert [request.url.params.multi_items() for request in api.requests] == [
            [*common, *groups],
            [*common, *groups, ("page", "cursor=1")],
            common,
        ]
        assert {request.headers["anthropic-beta"] for request in api.requests} == {"analytics-usage-cost-2026-08-24"}
        assert {request.url.path for request in api.requests} == {"/v1/organizations/analytics/cost"}

    def test_a_key_that_may_not_see_organisations_is_asked_again_without(self) -> None:
        def answer(query: httpx.QueryParams) -> dict[str, Any] | tuple[int, str]:
            if "organization_id" in query.get_list("group_by[]"):
                return 400, "group_by organization_id is not available"
            return page(entry(organization_id=None)) if "group_by[]" in query else page(total("1", "2"))

        pages, api = read(answer)
        assert api.groups == [
            ["actor", "model", "product", "workspace_id", "organization_id", "cost_type"],
            ["actor", "model", "product", "workspace_id", "cost_type"],
            [],
        ]
        assert [len(page.records) for page in pages] == [1, 1]

        async def read_in_an_event_loop() -> int:
            async with AsyncClaudeCodeClient(SETTINGS, httpx.MockTransport(API(answer))) as client:
                return sum([len(page.records) async for page in client.iter_pages(COST.walk(DAY, 1000))])

        assert asyncio.run(read_in_an_event_loop()) == 2

    @pytest.mark.parametrize(
        ("status", "asked", "error"),
        [(400, 2, ClaudeCodeBadRequestError), (403, 1, ClaudeCodePermissionError), (404, 1, ClaudeCodeBadRequestError)],
    )
    def test_any_other_refusal_is_an_error(self, status: int, asked: int, error: type[Exception]) -> None:
        api = API(lambda query: (status, "no"))
        with ClaudeCodeClient(SETTINGS, httpx.MockTransport(api)) as client, pytest.raises(error):
            list(client.iter_pages(COST.walk(DAY, 1000)))
        assert len(api.requests) == asked

    def test_products_can_be_chosen_or_all_taken(self) -> None:
        def of(query: httpx.QueryParams) -> dict[str, Any]:
            return page(*(entry(product=product) for product in query.get_list("products[]") or ["chat", None]))

        (chosen, _), api = read(of, products=["messages_api", "claude_code", "messages_api"])
        assert api.requests[0].url.params.get_list("products[]") == ["claude_code", "messages_api"]
        assert [row.entry.group.product for row in chosen.records] == ["claude_code", "messages_api"]
        (everything, _), api = read(of, products=[])
        assert "products[]" not in api.requests[0].url.params
        assert [row.entry.group.product for row in everything.records] == ["chat", None]

    @pytest.mark.parametrize(
        ("filters", "said"),
        [
            ({"models": ["x"]}, "it has products"),
            ({"products": "claude_code"}, "list"),
            ({"products": [""]}, "list"),
            ({"products": None}, "list"),
            ({"products": ["{{ params.product }}"]}, "It is not templated"),
            # A second reading of them would find no names, which means all products.
            ({"products": iter(["claude_code"])}, "list"),
            ({"products": map(str.lower, ["claude_code"])}, "list"),
        ],
    )
    def test_filters_that_there_are_not_are_refused(self, filters: Any, said: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match=said):
            COST.chosen(filters)

    def test_loads_remembers_the_products_in_one_way(self) -> None:
        assert COST.request_text(None) == '{"products":["claude_code"]}'
        assert COST.request_text({"products": ["b", "a", "b"]}) == '{"products":["a","b"]}'
        assert COST.request_text({"products": []}) == '{"products":[]}'

    @pytest.mark.parametrize("later", ["2026-03-03T08:00:00Z", None])
    def test_a_refresh_between_two_pages_starts_the_day_again_five_times_at_most(self, later: str | None) -> None:
        moments = iter(["2026-03-03T07:00:00Z", later] * 6)
        with pytest.raises(ClaudeCodeCursorError, match="refreshed its data while the total charges of 2026-03-01"):
            start_again(lambda: read(lambda query: page(total("1", "2"), refreshed=next(moments))), COST.restarts)
        assert next(moments, "none left") == "none left"

    def test_a_moment_in_another_time_zone_is_the_same_refresh(self) -> None:
        moments = iter([REFRESHED, "2026-03-03T08:00:00+01:00"])
        assert len(read(lambda query: page(refreshed=next(moments)))[0]) == 2


class TestPage:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"starting_at": "2026-02-28T00:00:00Z"}, "another day"),
            ({"starting_at": "2026-03-01T00:00:00+01:00"}, "another day"),
            ({"ending_at": "2026-03-03T00:00:00Z"}, "another day"),
            ({"ending_at": "2026-03-02"}, "time zone"),
            ({"ending_at": "tomorrow"}, "RFC 3339"),
            ({"ending_at": "0001-01-01T00:00:00+14:00"}, "out of range"),
            ({"group": {"actor": ADA, "product": "chat"}}, "another product"),
            ({"group": {"actor": {"user_id": "u"}}}, "type"),
            ({"group": {"actor": {"type": "api_actor", "api_key_id": 5}}}, "api_key_id"),
            *(({"group": {"actor": ADA | {"user_id": user_id}}}, "user_id") for user_id in (5, True, ["u"], {})),
            ({"cost": {"amount": "1_0", "list_amount": "1", "currency": "USD"}}, "plain decimal"),
            ({"cost": {"amount": "1", "list_amount": "NaN", "currency": "USD"}}, "list_amount"),
            ({"cost": {"amount": "1e15", "list_amount": "1", "currency": "USD"}}, "must be from"),
            ({"cost": {"amount": "1", "list_amount": "1", "currency": None}}, "currency"),
        ],
    )
    def test_what_breaks_the_contract_is_refused(self, change: dict[str, Any], said: str) -> None:
        with pytest.raises(ClaudeCodeResponseError, match=said):
            read(one_page(entry(), entry(model="other") | change))

    @pytest.mark.parametrize("requests", [None, 7, "7", 7.5, [7], {"input": 7}])
    def test_what_makes_no_column_is_not_checked(self, requests: Any) -> None:
        cost = {"amount": "1", "list_amount": "2", "currency": "USD", "requests": requests}
        (row,) = rows(one_page(entry() | {"cost": cost}))["cost"]
        assert (row["amount_cents"], row["list_amount_cents"], row["unknown_fields"]) == (1, 2, None)

    @pytest.mark.parametrize("refreshed", ["soon", "2026-03-03T07:00:00", 5, "9999-12-31T23:59:59-14:00"])
    def test_a_refresh_that_is_no_moment_is_refused(self, refreshed: Any) -> None:
        with pytest.raises(ClaudeCodeResponseError):
            read(lambda query: page(refreshed=refreshed))

    def test_spellings_of_a_product_and_more_entries_than_the_limit_are_accepted(self) -> None:
        answer = one_page(*(entry(product="Claude-Code", cost_type=kind) for kind in ("tokens", "web_search")))
        pages, _ = read(answer, limit=1)
        assert len(pages[0].records) == 2

    @pytest.mark.parametrize(
        ("refreshed", "expected"),
        [("2026-03-03T07:00:00Z", datetime(2026, 3, 3, 7, tzinfo=UTC)), (None, datetime(2026, 3, 2, 8, tzinfo=UTC))],
    )
    def test_a_page_is_as_of_its_refresh_or_a_day_before_its_answer(
        self, refreshed: str | None, expected: datetime
    ) -> None:
        pages, _ = read(lambda query: page(refreshed=refreshed))
        assert COST.as_of is not None
        assert COST.as_of(pages[0], datetime(2026, 3, 3, 8, tzinfo=UTC)) == expected


class TestRows:
    def test_each_field_is_in_its_column_with_all_its_digits(self) -> None:
        found = rows(one_page(entry("123.4567890125", 150), totals=(total("123.4567890125", "150"),)))
        common = {
            "date": DAY,
            "currency": "USD",
            "refreshed_at": datetime(2026, 3, 3, 7, tzinfo=UTC),
            "unknown_fields": None,
            "loaded_at": datetime(2026, 3, 4, tzinfo=UTC),
            # Nine places, half to even.
            "amount_cents": Decimal("123.456789012"),
            "list_amount_cents": Decimal(150),
        }
        assert found["cost"] == [
            common
            | {
                "organization_id": "org_1",
                "product": "claude_code",
                "workspace_id": "wrkspc_1",
                "actor_type": "user_actor",
                "actor_id": "ada@example.com",
                "user_id": "user_1",
                "model": "claude-opus-4-1",
                "cost_type": "tokens",
            }
        ]
        assert found["cost_totals"] == [common]

    @pytest.mark.parametrize(
        ("actor", "expected"),
        [
            (None, (None, None, None)),
            ({**ADA, "email_address": None, "deleted": True}, ("user_actor", None, "user_1")),
            ({"type": "api_actor", "api_key_id": "apikey_1"}, ("api_actor", "apikey_1", None)),
            (
                {"type": "service_account_actor", "service_account_id": "svc_1"},
                ("service_account_actor", "svc_1", None),
            ),
            (
                {"type": "federated_actor", "subject": "user:a@example.com", "provider": "idp"},
                ("federated_actor", '{"provider":"idp","subject":"user:a@example.com"}', None),
            ),
            ({"type": "robot", "b": 1, "a": "x"}, ("robot", '{"a":"x","b":1}', None)),
        ],
    )
    def test_every_kind_of_actor_is_told_apart(self, actor: Any, expected: tuple[Any, ...]) -> None:
        (row,) = rows(one_page(entry(actor=actor)))["cost"]
        assert (row["actor_type"], row["actor_id"], row["user_id"]) == expected

    def test_with_hmac_people_are_the_same_pseudonyms_as_elsewhere_and_no_name_is_left(self) -> None:
        pseudonyms = Pseudonyms("correct horse battery staple")
        new = {"new": "Ada's"}
        found = rows(one_page(entry(actor=ADA | new), entry(actor={"type": "robot", "name": "Ada"})), pseudonyms)[
            "cost"
        ]
        assert [row["actor_id"] for row in found] == [
            pseudonyms("user_actor", "ADA@example.com "),
            pseudonyms("robot", '{"name":"Ada"}'),
        ]
        assert [row["user_id"] for row in found] == [pseudonyms("user_id", "user_1"), None]
        assert "Ada" not in str(found)
        assert "ada@" not in str(found)

    def test_unknown_fields_are_kept_with_their_row_and_named(self) -> None:
        strange = entry(actor=ADA | {"team": "x"}, shard=7) | {"note": "n"}
        flattener = COST.flattener(DAY, None)
        pages, _ = read(one_page(strange, entry(model=None, product=None, cost_type="magic", actor={"type": "robot"})))
        ((row, _), _) = (in_rows(flattener.flatten(page.records))["cost"] or ((), ()) for page in pages)
        assert json.loads(row["unknown_fields"]) == {"group": {"actor": {"team": "x"}, "shard": 7}, "note": "n"}
        assert pages[0].unknown_fields == {"data[].note", "data[].group.shard"}
        assert flattener.totals.unknown_names == {"data[].group.actor.team", "robot", "data[].group.cost_type"}

    def test_an_actors_charges_twice_are_refused_and_nobodys_are_all_kept(self) -> None:
        assert len(rows(one_page(*[entry(actor=None)] * 3))["cost"]) == 3
        with pytest.raises(ClaudeCodeResponseError, match="one actor twice"):
            rows(one_page(entry(), entry("5")))
        assert len(rows(one_page(entry(), entry(model="other"), entry(actor=ADA | {"user_id": "user_2"})))["cost"]) == 3

    def test_a_day_beyond_any_sense_is_refused(self) -> None:
        with pytest.raises(ClaudeCodeResponseError, match="more than 1,000,000,000,000,000"):
            rows(
                one_page(
                    *(entry("1", sign + "99999999999999", model=f"{n}{sign}") for n in range(6) for sign in ("", "-"))
                )
            )

    def test_the_sums_and_what_is_nobodys_are_told(self) -> None:
        flattener = COST.flattener(DAY, None)
        answer = one_page(entry("10.5", "20"), entry("-0.5", "0", model="credit"), entry("89", "90", actor=None))
        for each in read(answer)[0]:
            flattener.flatten(each.records)
        assert flattener.totals.sums() == {
            "amount_cents": Decimal(99),
            "list_amount_cents": Decimal(110),
            "currency": "USD",
        }
        (warning,) = flattener.totals.warnings()
        assert warning.startswith("89% of the charges name no actor")
        assert COST.sums_in_words({"amount_cents": "99", "list_amount_cents": "110", "currency": "USD"}) == (
            "99 cents charged ($0.99)",
            "110 cents at list prices ($1.10)",
        )
        few = COST.flattener(DAY, None)
        few.flatten(read(one_page(entry("51"), entry("49", actor=None)))[0][0].records)
        assert few.totals.warnings() == []


def test_a_day_is_complete_a_day_after_its_end_and_history_is_a_year() -> None:
    assert COST.complete_from(DAY) == datetime(2026, 3, 3, tzinfo=UTC)
    assert COST.complete_from(DAY, timedelta(hours=6)) == datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert COST.first_day is not None
    assert COST.first_day(date(2026, 6, 1)) == date(2026, 1, 1)
    # A day that began 365 days ago is reached, one before is not.
    assert COST.first_day(date(2027, 6, 1)) == date(2026, 6, 2)

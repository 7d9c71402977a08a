"""The stream ``members``: its requests, what it refuses, and its rows."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
from airflow_provider_claude_code.api.paging import Page, start_again
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAPIError,
    ClaudeCodeBadRequestError,
    ClaudeCodeConfigurationError,
    ClaudeCodeCursorError,
    ClaudeCodePermissionError,
    ClaudeCodeResponseError,
)
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.streams.cost import COST
from airflow_provider_claude_code.streams.members import MEMBERS
from airflow_provider_claude_code.streams.members.models import ApiKey, Member, WorkspaceMember
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.tables.spool import arrow_tables
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.transfers.period import days_to_load
from tests.fixtures.lists import (
    API_KEYS,
    USERS,
    WORKSPACES,
    Answer,
    Item,
    Lists,
    api_key,
    envelope,
    member,
    refusal,
    workspace,
    workspace_member,
)

DAY = date(2026, 3, 1)
BUILD = f"{WORKSPACES}/wrkspc_Build/members"
DEFAULT = f"{WORKSPACES}/wrkspc_Default/members"
MOMENT = datetime(2024, 10, 30, 23, 58, 27, 427722, tzinfo=UTC)
PSEUDONYMS = Pseudonyms("correct horse battery staple")


def settings(api_key: str = "sk-ant-admin01-x") -> ClientSettings:
    return ClientSettings(api_key=api_key, retry_budget=0)


def read(lists: Lists, limit: int = 1000) -> list[Page]:
    with ClaudeCodeClient(settings(), httpx.MockTransport(lists)) as client:
        return [page for page in client.iter_pages(MEMBERS.walk(DAY, limit)) if page.records is not None]


def snapshot(lists: Lists, limit: int = 1000) -> list[Page]:
    return start_again(lambda: read(lists, limit), MEMBERS.restarts)


def rows(lists: Lists, pseudonyms: Pseudonyms | None = None, limit: int = 1000) -> dict[str, list[dict[str, Any]]]:
    flattener = MEMBERS.flattener(DAY, pseudonyms)
    found: dict[str, list[dict[str, Any]]] = {table.name: [] for table in MEMBERS.tables}
    for page in read(lists, limit):
        for name, table in arrow_tables(flattener.flatten(page.records), MEMBERS.tables, MOMENT).items():
            found[name] += table.to_pylist()
    return found


def changed(path: str, *items: Item) -> Lists:
    return Lists({path: list(items)})


class TestWalk:
    def test_all_lists_are_read_page_by_page_and_members_of_archived_workspaces_are_not(self) -> None:
        lists = Lists()
        read(lists, limit=2)
        asked = {"include_archived": "true", "include_default": "true", "limit": "2"}
        assert lists.requests == [
            (USERS, {"limit": "2"}),
            (USERS, {"limit": "2", "after_id": "user_2"}),
            (WORKSPACES, asked),
            (WORKSPACES, asked | {"after_id": "wrkspc_Build"}),
            (DEFAULT, {"limit": "2"}),
            (BUILD, {"limit": "2"}),
            (API_KEYS, {"limit": "2"}),
        ]

    @pytest.mark.parametrize("limit", [1, 2, 3, 1000])
    def test_the_size_of_pages_changes_nothing(self, limit: int) -> None:
        assert rows(Lists(), limit=limit) == rows(Lists())

    def test_an_event_loop_reads_the_same(self) -> None:
        async def look() -> list[Any]:
            async with AsyncClaudeCodeClient(settings(), httpx.MockTransport(Lists())) as client:
                return [record async for page in client.iter_pages(MEMBERS.walk(DAY, 2)) for record in page.records]

        assert asyncio.run(look()) == [record for page in read(Lists(), 2) for record in page.records]

    def test_no_member_at_all_is_an_error(self) -> None:
        lists = changed(USERS)
        with pytest.raises(ClaudeCodeResponseError, match=r"list of members is invalid.*the list is empty"):
            read(lists)
        assert lists.paths == [USERS]
        assert [page.records for page in read(changed(API_KEYS))[-1:]] == [[]]

    @pytest.mark.parametrize("path", [USERS, WORKSPACES, BUILD, API_KEYS])
    def test_an_id_that_comes_twice_starts_the_snapshot_again(self, path: str) -> None:
        lists = Lists()
        first, *others = lists.items[path]
        twice = iter([envelope([first, *others, first])])
        lists.instead = lambda asked, query: next(((200, body) for body in twice), None) if asked == path else None
        records = [record for page in snapshot(lists) for record in page.records]
        assert records == [record for page in read(Lists()) for record in page.records]
        assert lists.paths.count(USERS) == 2

    @pytest.mark.parametrize("status", [400, 404, 410])
    @pytest.mark.parametrize("path", [USERS, WORKSPACES, BUILD, API_KEYS])
    def test_an_after_id_that_is_gone_starts_the_snapshot_again(self, path: str, status: int) -> None:
        lists = Lists()
        refused = iter([refusal(status)])
        lists.instead = lambda asked, query: next(refused, None) if asked == path and "after_id" in query else None
        assert sum(len(page.records) for page in snapshot(lists, 1)) == 3 + 3 + 2 + 2
        # None of what came before is kept.
        assert [asked for asked in lists.requests if asked == (USERS, {"limit": "1"})] == [(USERS, {"limit": "1"})] * 2

    def test_a_list_that_changes_all_the_time_is_an_error_in_the_end(self) -> None:
        lists = changed(USERS, member(1), member(1))
        with pytest.raises(ClaudeCodeCursorError, match="listed an id twice"):
            snapshot(lists)
        assert lists.paths == [USERS] * (1 + MEMBERS.restarts)

    def test_the_same_person_in_several_workspaces_or_gone_meanwhile_is_fine(self) -> None:
        lists = Lists({DEFAULT: [workspace_member(1, "Default"), workspace_member(9, "Default")]})
        assert [(row["workspace_id"], row["user_id"]) for row in rows(lists)["workspace_members"]] == [
            ("wrkspc_Default", "user_1"),
            ("wrkspc_Default", "user_9"),
            ("wrkspc_Build", "user_2"),
            ("wrkspc_Build", "user_1"),
        ]

    def test_members_of_a_workspace_may_be_followed_by_an_id_that_is_not_theirs(self) -> None:
        lists = Lists()

        def opaque(path: str, query: Mapping[str, str]) -> Answer | None:
            if path != BUILD:
                return None
            number = 1 if query.get("after_id") == "wm_2" else 2
            return 200, envelope([workspace_member(number, "Build")], has_more=number == 2, last_id=f"wm_{number}")

        lists.instead = opaque
        assert [row["user_id"] for row in rows(lists)["workspace_members"]] == ["user_2", "user_1"]


class TestWorkspaceThatIsGone:
    @staticmethod
    def lists(second_look: list[Item]) -> Lists:
        lists = Lists()
        looks = iter([lists.items[WORKSPACES], second_look])
        lists.instead = lambda path, query: (
            refusal(404) if path == BUILD else (200, envelope(next(looks))) if path == WORKSPACES else None
        )
        return lists

    @pytest.mark.parametrize(
        "second_look",
        [[], [workspace("Default")], [workspace("Default"), workspace("Build", archived_at="2026-03-01T00:00:00Z")]],
    )
    def test_it_has_no_members_and_the_rest_is_read(
        self, second_look: list[Item], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        lists = self.lists(second_look)
        found = rows(lists)
        assert lists.paths == [USERS, WORKSPACES, DEFAULT, BUILD, WORKSPACES, API_KEYS]
        # The second look makes no rows, and has no new records.
        pages = [page for page in read(self.lists(second_look)) if page.request.path == WORKSPACES]
        assert [len(page.new_records) for page in pages] == [3, 0]
        assert [row["workspace_id"] for row in found["workspaces"]] == ["wrkspc_Default", "wrkspc_Build", "wrkspc_Old"]
        assert found["workspace_members"] == []
        assert len(found["api_keys"]) == 2
        assert "The workspace wrkspc_Build has no list of members" in caplog.text

    def test_the_default_workspace_may_have_no_list_of_members(self) -> None:
        lists = Lists()
        lists.instead = lambda path, query: refusal(404) if path == DEFAULT else None
        assert {row["workspace_id"] for row in rows(lists)["workspace_members"]} == {"wrkspc_Build"}

    def test_one_that_is_still_listed_is_an_error(self) -> None:
        lists = self.lists([workspace("Build")])
        with pytest.raises(ClaudeCodeBadRequestError, match="the workspace wrkspc_Build failed with status"):
            read(lists)
        assert lists.paths[-1] == WORKSPACES

    def test_the_second_look_leaves_out_the_archived_and_the_default_one(self) -> None:
        lists = Lists()
        lists.instead = lambda path, query: refusal(404) if path == BUILD else None
        with pytest.raises(ClaudeCodeBadRequestError, match="404"):
            read(lists, limit=1)
        assert [query.get("after_id") for path, query in lists.requests if path == WORKSPACES] == [
            *(None, "wrkspc_Default", "wrkspc_Build"),
            None,
        ]

    @pytest.mark.parametrize("status", [400, 405])
    def test_any_other_refusal_is_an_error_at_once(self, status: int) -> None:
        lists = Lists()
        lists.instead = lambda path, query: refusal(status) if path == BUILD else None
        with pytest.raises(ClaudeCodeBadRequestError, match=str(status)):
            read(lists)
        assert lists.paths[-1] == BUILD

    @pytest.mark.parametrize("path", [USERS, WORKSPACES, API_KEYS])
    def test_a_main_list_that_is_not_found_is_an_error(self, path: str) -> None:
        lists = Lists()
        lists.instead = lambda asked, query: refusal(404) if asked == path else None
        with pytest.raises(ClaudeCodeBadRequestError, match="404"):
            read(lists)


class TestKeyThatMayNotRead:
    @staticmethod
    def error(path: str, api_key: str, **error: Any) -> str:
        lists = Lists()
        lists.instead = lambda asked, query: refusal(403, "permission_error", **error) if asked == path else None
        with (
            ClaudeCodeClient(settings(api_key), httpx.MockTransport(lists)) as client,
            pytest.raises(ClaudeCodePermissionError) as caught,
        ):
            list(client.iter_pages(MEMBERS.walk(DAY, 1000)))
        assert not caught.value.retryable
        return str(caught.value)

    @pytest.mark.parametrize("error", [{}, {"details": {"error_code": "api_key_scope_missing"}}])
    @pytest.mark.parametrize(
        ("path", "named", "scopes"),
        [
            (USERS, "the list of members", "org:admin, or read:members with a Claude Enterprise key"),
            (WORKSPACES, "the list of workspaces", "org:admin."),
            (BUILD, "the list of members of the workspace wrkspc_Build", "org:admin."),
            (API_KEYS, "the list of API keys", "org:admin."),
        ],
    )
    def test_the_list_and_the_scope_are_named(self, path: str, named: str, scopes: str, error: Any) -> None:
        said = self.error(path, "sk-ant-admin01-x", **error)
        assert f"The request for {named} failed with status 403" in said
        assert scopes in said

    def test_an_enterprise_key_is_told_the_scope_it_needs_or_that_it_is_of_another_kind(self) -> None:
        assert "another API" not in self.error(USERS, "sk-ant-api01-x")
        assert "another API" in self.error(WORKSPACES, "sk-ant-api01-x")


class TestPage:
    @pytest.mark.parametrize(
        ("path", "item", "said"),
        [
            (USERS, member(9, added_at="2024-10-30T23:58:27"), "added_at"),
            (USERS, member(9, added_at="2024-10-30"), "added_at"),
            (USERS, member(9, added_at=1730332707), "added_at"),
            (USERS, member(9, added_at="0001-01-01T00:00:00+14:00"), "out of range"),
            (USERS, member(9, id=None), "id"),
            (USERS, member(9, email=None), "email"),
            (USERS, member(9, role=None), "role"),
            (WORKSPACES, workspace("x", id="../users"), "id"),
            (WORKSPACES, workspace("x", id="a/b?c"), "id"),
            (WORKSPACES, workspace("x", id="wrkspc_x\n"), "id"),
            (WORKSPACES, workspace("x", id=""), "id"),
            (WORKSPACES, workspace("x", archived_at="yes"), "archived_at"),
            (BUILD, workspace_member(9, "Other"), "member of another workspace"),
            (BUILD, workspace_member(9, "Build", workspace_role=None), "workspace_role"),
            (API_KEYS, api_key(9, created_by={"id": "user_1"}), "created_by"),
            (API_KEYS, api_key(9, status=5), "status"),
            (API_KEYS, api_key(9, expires_at="never"), "expires_at"),
        ],
    )
    def test_what_breaks_the_contract_is_refused_and_not_quoted(self, path: str, item: Item, said: str) -> None:
        lists = Lists()
        lists.items[path].append(item)
        with pytest.raises(ClaudeCodeResponseError, match=said) as caught:
            read(lists)
        assert "Dev" not in str(caught.value)

    @pytest.mark.parametrize("value", [None, 7, "7", [7], {"a": 7}])
    def test_what_makes_no_column_is_not_checked(self, value: Any) -> None:
        lists = Lists()
        for path, items in lists.items.items():
            lists.items[path] = [item | {"type": value} for item in items]
        lists.items[API_KEYS].append(api_key(9, scope={"workspace_id": "wrkspc_Build", "type": value}))
        lists.instead = lambda asked, query: (200, envelope(lists.items[asked], first_id=value))
        found = rows(lists)
        assert [row["workspace_id"] for row in found["api_keys"]][-1] == "wrkspc_Build"
        assert {row["unknown_fields"] for table in found.values() for row in table} == {None}

    @pytest.mark.parametrize("path", [USERS, WORKSPACES, BUILD, API_KEYS])
    def test_more_items_than_asked_for_are_refused(self, path: str) -> None:
        lists = Lists()
        lists.instead = lambda asked, query: (200, envelope(lists.items[path])) if asked == path else None
        with pytest.raises(ClaudeCodeResponseError, match=r"contains \d items, but 1 were asked for"):
            read(lists, limit=1)

    def test_what_names_a_person_or_a_key_is_not_shown(self) -> None:
        records = [record for page in read(Lists()) for record in page.records]
        assert {type(record) for record in records} > {Member, WorkspaceMember, ApiKey}
        shown = repr(records)
        for secret in ("user_1", "Dev1", "Developer", "apikey_", "key-1", "R2D"):
            assert secret not in shown


class TestRows:
    def test_every_value_has_its_column(self) -> None:
        found = rows(Lists())
        added = {"date": DAY, "unknown_fields": None, "loaded_at": MOMENT}
        assert found["members"][0] == added | {
            "user_id": "user_1",
            "email": "Dev1@example.com",
            "name": "Developer 1",
            "role": "developer",
            "added_at": MOMENT,
        }
        assert found["workspaces"] == [
            added | {"workspace_id": f"wrkspc_{id_}", "name": name, "created_at": MOMENT} | others
            for id_, name, others in [
                ("Default", "Default", {"is_claude_code": False, "archived_at": None}),
                ("Build", "Claude Code", {"is_claude_code": True, "archived_at": None}),
                ("Old", "Old", {"is_claude_code": False, "archived_at": datetime(2025, 1, 1, tzinfo=UTC)}),
            ]
        ]
        assert found["workspace_members"][0] == added | {
            "workspace_id": "wrkspc_Build",
            "user_id": "user_2",
            "workspace_role": "workspace_developer",
        }
        assert found["api_keys"][0] == added | {
            "api_key_id": "apikey_1",
            "name": "key-1",
            "status": "active",
            "workspace_id": "wrkspc_Build",
            "created_by_user_id": "user_1",
            "created_by_type": "user",
            "created_at": MOMENT,
            "expires_at": None,
        }
        assert {name: len(table) for name, table in found.items()} == {
            "members": 3,
            "workspaces": 3,
            "workspace_members": 2,
            "api_keys": 2,
        }

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"workspace_id": None}, {"workspace_id": "wrkspc_Build"}),
            ({"scope": {"type": "organization"}}, {"workspace_id": None}),
            ({"created_by": None}, {"created_by_user_id": None, "created_by_type": None}),
            (
                {"created_by": {"id": "svc_1", "type": "service_account"}},
                {"created_by_user_id": None, "created_by_type": "service_account"},
            ),
            ({"expires_at": "2027-01-01T01:00:00+01:00"}, {"expires_at": datetime(2027, 1, 1, tzinfo=UTC)}),
        ],
    )
    def test_a_key_may_have_no_workspace_creator_or_end(self, changes: Item, expected: Item) -> None:
        (row,) = rows(changed(API_KEYS, api_key(1, **changes)))["api_keys"]
        assert row == row | expected

    def test_the_workspace_of_a_key_is_also_read_from_where_older_versions_have_it(self) -> None:
        older = api_key(1, workspace_id="wrkspc_1")
        del older["scope"]
        (row,) = rows(changed(API_KEYS, older))["api_keys"]
        assert row["workspace_id"] == "wrkspc_1"

    def test_the_same_moment_in_another_zone_is_the_same_content(self) -> None:
        digests = set()
        for added_at in ("2024-10-30T23:58:27Z", "2024-10-31T01:58:27+02:00"):
            flattener = MEMBERS.flattener(DAY, None)
            for page in read(changed(USERS, member(1, added_at=added_at))):
                flattener.flatten(page.records)
            digests.add(flattener.totals.content_digest("members"))
        assert len(digests) == 1

    def test_with_hmac_people_and_keys_are_the_pseudonyms_of_other_streams_in_every_table(self) -> None:
        found = rows(Lists(), PSEUDONYMS)
        ada = PSEUDONYMS("user_id", "user_1")
        assert found["members"][0]["user_id"] == ada
        assert found["workspace_members"][1]["user_id"] == ada
        assert found["api_keys"][0]["created_by_user_id"] == ada
        assert found["members"][0]["email"] == PSEUDONYMS("user_actor", "dev1@example.com")
        assert found["api_keys"][0]["api_key_id"] == PSEUDONYMS("api_actor", "apikey_1")
        assert found["api_keys"][0]["name"] == PSEUDONYMS("api_actor", "key-1")
        assert {row["name"] for row in found["members"]} == {None}
        assert [row["name"] for row in found["workspaces"]] == ["Default", "Claude Code", "Old"]
        stored = str(found)
        for secret in ("user_1", "Dev1", "dev1", "Developer", "apikey_", "key-1"):
            assert secret not in stored

    def test_a_person_and_a_key_of_cost_join(self) -> None:
        kinds = {
            (column.name, column.hmac.kind(None))  # type: ignore[union-attr]
            for table in (*MEMBERS.tables, COST.tables[0])
            for column in table.columns
            if column.name in ("user_id", "created_by_user_id", "api_key_id")
        }
        assert kinds == {("user_id", "user_id"), ("created_by_user_id", "user_id"), ("api_key_id", "api_actor")}

    def test_what_is_documented_but_not_stored_is_not_taken_for_unknown(self) -> None:
        pages = read(Lists())
        assert {name for page in pages for name in page.unknown_fields} == set()
        stored = str(rows(Lists()))
        for secret in ("R2D", "secret", "#6C5BB9"):
            assert secret not in stored

    def test_unknown_fields_are_kept_with_their_row_and_named(self) -> None:
        lists = Lists(
            {
                USERS: [member(1, seat="x"), member(2)],
                API_KEYS: [
                    api_key(1, created_by={"id": "user_1", "type": "user", "via": "sso"}, note=5),
                    api_key(2, created_by=None, note=6),
                ],
            }
        )
        found = rows(lists)
        assert [json.loads(row["unknown_fields"] or "null") for row in found["members"]] == [{"seat": "x"}, None]
        assert json.loads(found["api_keys"][0]["unknown_fields"]) == {"created_by": {"via": "sso"}, "note": 5}
        named = {name for page in read(lists) for name in page.unknown_fields}
        assert named == {"data[].seat", "data[].note", "data[].created_by.via"}
        hidden = rows(lists, PSEUDONYMS)
        assert {row["unknown_fields"] for table in hidden.values() for row in table} == {None}

    def test_values_that_are_not_listed_are_kept_and_only_their_field_is_named(self) -> None:
        lists = Lists(
            {
                USERS: [member(1, role="wizard"), member(2)],
                BUILD: [workspace_member(1, "Build", workspace_role="workspace_wizard")],
                API_KEYS: [api_key(1, status="asleep", created_by={"id": "x", "type": "wizard"})],
            }
        )
        flattener = MEMBERS.flattener(DAY, None)
        for page in read(lists):
            flattener.flatten(page.records)
        assert flattener.totals.unknown_names == {
            "data[].role",
            "data[].workspace_role",
            "data[].status",
            "data[].created_by.type",
        }
        assert [row["role"] for row in rows(lists)["members"]] == ["wizard", "developer"]

    def test_no_value_that_the_reference_lists_is_named(self) -> None:
        # From Anthropic's SDK 2.14.0.
        roles = ["admin", "billing", "claude_code_user", "developer", "user"]
        roles += ["managed", "membership_admin", "owner", "primary_owner"]
        kinds = ["admin", "billing", "developer", "restricted_developer", "user"]
        statuses = ["active", "archived", "expired", "inactive"]
        lists = Lists(
            {
                USERS: [member(number, role=role) for number, role in enumerate(roles)],
                BUILD: [
                    workspace_member(n, "Build", workspace_role=f"workspace_{kind}") for n, kind in enumerate(kinds)
                ],
                API_KEYS: [api_key(number, status=status) for number, status in enumerate(statuses)]
                + [api_key(9, created_by=None), api_key(8, created_by={"id": "s", "type": "service_account"})],
            }
        )
        flattener = MEMBERS.flattener(DAY, None)
        for page in read(lists):
            flattener.flatten(page.records)
        assert flattener.totals.unknown_names == set()


def test_a_look_for_records_reads_one_page() -> None:
    lists = Lists()
    with ClaudeCodeClient(settings(), httpx.MockTransport(lists)) as client:
        assert client.has_records(lambda: MEMBERS.walk(DAY, 1))
    assert lists.requests == [(USERS, {"limit": "1"})]


def test_a_first_day_of_the_run_is_not_dropped_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert days_to_load(MEMBERS, DAY - timedelta(days=9), DAY, 0, today=DAY) == [DAY]
    assert f"The run asks for the days from {DAY - timedelta(days=9)} on (first_day). Members" in caplog.text
    caplog.clear()
    assert days_to_load(MEMBERS, None, DAY, 0, today=DAY) == [DAY]
    assert not caplog.text


def test_what_a_snapshot_has_no_use_for_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="lookback_days is 3, but the stream members"):
        ClaudeCodeToObjectStorageOperator(task_id="load", path="/tmp/x", stream="members", lookback_days=3)
    with pytest.raises(ClaudeCodeConfigurationError, match="require_records cannot be used with the stream members"):
        ClaudeCodeFreshnessSensor(task_id="wait", stream="members", require_records=True)
    ClaudeCodeToObjectStorageOperator(task_id="load", path="/tmp/x", stream="members", lookback_days=0)
    ClaudeCodeFreshnessSensor(task_id="wait", stream="members")


def test_any_refusal_ends_the_snapshot() -> None:
    for path in (USERS, WORKSPACES, DEFAULT, BUILD, API_KEYS):
        for status in (401, 429, 500):
            lists = Lists()
            lists.instead = lambda asked, query, path=path, status=status: refusal(status) if asked == path else None  # type: ignore[misc]
            with pytest.raises(ClaudeCodeAPIError):
                read(lists)
            assert lists.paths[-1] == path

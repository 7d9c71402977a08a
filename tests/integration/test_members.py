"""A snapshot of members, workspaces and API keys is loaded whole, or not at all."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow.parquet
import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowSkipException
from tests.fixtures.lists import API_KEYS, USERS, WORKSPACES, Answer, Lists, envelope, member, refusal

SECRET = "correct horse battery staple"
TABLES = ("members", "workspaces", "workspace_members", "api_keys")


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch, spool: Path) -> Iterator[Lists]:
    """The API on the loopback interface, and the Connection to it."""
    lists = Lists()

    class API(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            status, body = lists.answer(url.path, dict(parse_qsl(url.query)))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.send_header("anthropic-organization-id", "org_1")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), API)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    extra = {"pseudonym_secret": SECRET, "page_limit": 2, "retry_budget": 0}
    url = f"http://127.0.0.1:{server.server_port}"
    connection = {"conn_type": "claude_code", "host": url, "password": "sk-ant-admin01-x", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
    yield lists
    server.shutdown()
    server.server_close()


def load(path: Path, **changes: Any) -> dict[str, Any]:
    given = {"task_id": "load", "path": str(path), "stream": "members", "day": str(datetime.now(UTC).date())}
    operator = ClaudeCodeToObjectStorageOperator(**(given | changes))
    ti = SimpleNamespace(
        dag_id="d", run_id=uuid.uuid4().hex, task_id="load", map_index=-1, try_number=1, start_date=datetime.now(UTC)
    )
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
    summary: dict[str, Any] = operator.execute(context)
    return summary


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    files = sorted(path.glob(f"{table}/dt=*/*.parquet"))
    return [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]


def test_a_snapshot_is_filed_under_today_and_remembered(lists: Lists, tmp_path: Path) -> None:
    before = datetime.now(UTC).date()
    yesterday = before - timedelta(days=1)
    (day,) = load(tmp_path / "files", day=str(yesterday))["days"]
    days = {before, datetime.now(UTC).date()}

    assert day["rows"] == {"members": 3, "workspaces": 3, "workspace_members": 2, "api_keys": 2}
    assert (day["complete"], day["unknown_names"]) == (True, 0)
    found = {table: rows(tmp_path / "files", table) for table in TABLES}
    assert {row["date"] for table in found.values() for row in table} <= days
    assert len({row["loaded_at"] for table in found.values() for row in table}) == 1
    assert [row["user_id"] for row in found["members"]] == ["user_1", "user_2", "user_3"]
    assert [row["is_claude_code"] for row in found["workspaces"]] == [False, True, False]
    assert {row["workspace_id"] for row in found["workspace_members"]} == {"wrkspc_Build"}
    loads = rows(tmp_path / "files", "loads")
    assert {(row["stream"], row["table_name"], row["row_count"]) for row in loads} == {
        ("members", table, len(found[table])) for table in TABLES
    }
    assert {(row["request"], row["organization_id"], row["complete"]) for row in loads} == {(None, "org_1", True)}


def test_a_later_snapshot_replaces_that_of_the_day(lists: Lists, tmp_path: Path) -> None:
    load(tmp_path / "files")
    lists.items[USERS] = [member(7)]
    load(tmp_path / "files")
    assert "user_7" in {row["user_id"] for row in rows(tmp_path / "files", "members")}
    # At midnight the second one would be filed under another day.
    if len(list((tmp_path / "files" / "members").iterdir())) == 1:
        assert len(rows(tmp_path / "files", "members")) == 1


def test_with_pseudonyms_no_file_names_a_person_or_a_key(lists: Lists, tmp_path: Path) -> None:
    load(tmp_path / "files", actor_identity="hmac")
    found = {table: rows(tmp_path / "files", table) for table in TABLES}
    pseudonyms = Pseudonyms(SECRET)
    assert found["members"][0]["email"] == pseudonyms("user_actor", "dev1@example.com")
    assert found["workspace_members"][0]["user_id"] == found["members"][1]["user_id"]
    assert found["api_keys"][0]["created_by_user_id"] == pseudonyms("user_id", "user_1")
    stored = str(found).lower()
    for secret in ("dev1", "developer 1", "user_1", "apikey_1", "key-1", "r2d"):
        assert secret not in stored


@pytest.mark.parametrize("on_empty", ["write", "replace", "skip", "fail"])
def test_an_empty_list_of_members_is_an_error_whatever_on_empty_says(
    lists: Lists, tmp_path: Path, on_empty: str
) -> None:
    lists.items[USERS] = []
    with pytest.raises(ClaudeCodeResponseError, match="the list is empty"):
        load(tmp_path / "files", on_empty=on_empty)
    assert not list(tmp_path.glob("files/**/*.parquet"))


@pytest.mark.parametrize("status", [403, 404, 500])
def test_nothing_is_published_before_the_last_list_has_come(lists: Lists, tmp_path: Path, status: int) -> None:
    load(tmp_path / "files")
    before = {table: rows(tmp_path / "files", table) for table in TABLES}
    lists.items[USERS] = [member(7)]
    lists.instead = lambda path, query: refusal(status) if path == API_KEYS else None
    with pytest.raises(Exception, match=f"the list of API keys failed with status {status}") as caught:
        load(tmp_path / "files")
    assert isinstance(caught.value, AirflowFailException) == (status != 500)
    assert {table: rows(tmp_path / "files", table) for table in TABLES} == before


def test_a_list_that_changes_while_it_is_read_is_read_again(lists: Lists, tmp_path: Path) -> None:
    """The second page repeats a member of the first, as when the order of the list has changed."""
    repeated = iter([member(1)])

    def instead(path: str, query: Mapping[str, str]) -> Answer | None:
        if path == USERS and "after_id" in query:
            return next(((200, envelope([item])) for item in repeated), None)
        return None

    lists.instead = instead
    load(tmp_path / "files")
    assert [row["user_id"] for row in rows(tmp_path / "files", "members")] == ["user_1", "user_2", "user_3"]
    assert lists.paths[:4] == [USERS] * 4


def test_a_workspace_that_is_archived_meanwhile_does_not_end_the_load(lists: Lists, tmp_path: Path) -> None:
    gone = f"{WORKSPACES}/wrkspc_Build/members"

    def instead(path: str, query: Mapping[str, str]) -> Answer | None:
        if path != gone:
            return None
        lists.items[WORKSPACES][1]["archived_at"] = "2026-03-01T00:00:00Z"
        return refusal(404)

    lists.instead = instead
    (day,) = load(tmp_path / "files")["days"]
    assert day["rows"] == {"members": 3, "workspaces": 3, "workspace_members": 0, "api_keys": 2}


def test_a_snapshot_of_an_earlier_day_is_skipped_without_a_request(lists: Lists, tmp_path: Path) -> None:
    day = datetime.now(UTC).date() - timedelta(days=3)
    with pytest.raises(AirflowSkipException, match=f"only be loaded for today, not for {day}"):
        load(tmp_path / "files", day=str(day))
    assert lists.requests == []

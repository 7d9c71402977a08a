"""The hook reads Connections in all their forms, and says what is wrong with an invalid one."""

import asyncio
import dataclasses
import json
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import pandas as pd
import pyarrow as pa
import pytest
from airflow.sdk import Connection
from airflow.sdk.execution_time import supervisor

from airflow_provider_claude_code.api import client as client_module
from airflow_provider_claude_code.api import paging
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.connection import client_settings
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAuthenticationError,
    ClaudeCodeConfigurationError,
    ClaudeCodeMissingConnectionError,
    ClaudeCodeResponseError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.hooks import claude_code as hook_module
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook, fail_without_retry
from airflow_provider_claude_code.sandbox import OAUTH_TOKEN, Faults, Sandbox
from airflow_provider_claude_code.streams.usage.pages import usage_walk
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.records import official_example
from tests.fixtures.retries import few_attempts

DAY = date(2025, 9, 1)
NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
KEY = "sk-ant-admin01-CANARYcanary0123456789"
SECRET = "correct horse battery staple"

needs_airflow_3_1 = pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow 3.0 itself refuses such a Connection")

# The guide's example, an API key's record without any detail, and one of a kind that may come.
RECORDS: list[dict[str, Any]] = [
    official_example(),
    {
        "date": "2025-09-01T00:00:00Z",
        "actor": {"type": "api_actor", "api_key_name": "ci"},
        "organization_id": "dc9f6c26-b22c-4831-8d01-0446bada88f1",
        "customer_type": "subscription",
        "subscription_type": "team",
        "terminal_type": "ssh-session",
        "is_remote": True,
        "core_metrics": {
            "num_sessions": 0,
            "lines_of_code": {"added": 10**12, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {"bash_tool": {"accepted": 1, "rejected": 0}},
        "model_breakdown": [],
    },
]


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(users=20, now=lambda: NOW) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    running.requests.clear()
    running.records = lambda day, now: RECORDS if day == DAY else []
    yield running
    running.faults = Faults()


@pytest.fixture(autouse=True)
def one_retry_without_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with few_attempts():
        yield


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the Connection from text, or from its fields."""

    def connect(text: str | None = None, conn_id: str = "claude_code_default", **fields: Any) -> None:
        text = json.dumps({"conn_type": "claude_code", **fields}) if text is None else text
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)

    return connect


def assert_is_told_by_the_test(hook: ClaudeCodeHook, error: Exception) -> None:
    """Check that a test of the Connection says the same; Airflow's form tests it under a random id."""
    works, message = hook.test_connection()
    assert not works
    assert str(error) == f"Connection 'claude_code_default': {message}"


@pytest.fixture
def hook(sandbox: Sandbox, connection: Any) -> ClaudeCodeHook:
    connection(host=sandbox.base_url, password=sandbox.api_key, extra={"page_limit": 1})
    return ClaudeCodeHook()


class TestSettings:
    """What the Connection says."""

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"host": "", "extra": {}},
            {"host": None, "extra": ""},
            # What a form stores that nobody has filled in.
            {
                "host": "",
                "login": "",
                "extra": {
                    "authentication": "",
                    "page_limit": None,
                    "request_timeout": "",
                    "retry_budget": None,
                    "anthropic_version": "",
                    "user_agent_suffix": None,
                    "pseudonym_secret": "",
                },
            },
            {"extra": {"page_limit": None, "user_agent_suffix": ""}},
        ],
        ids=str,
    )
    def test_an_empty_field_means_its_default(self, connection: Any, fields: dict[str, Any]) -> None:
        connection(password=KEY, **fields)

        assert ClaudeCodeHook().settings == ClientSettings(api_key=KEY)

    @pytest.mark.parametrize("as_text", [False, True])
    def test_every_field_is_read(self, connection: Any, as_text: bool) -> None:
        extra: dict[str, Any] = {
            "authentication": "bearer",
            "page_limit": 10,
            "request_timeout": 2.5,
            "retry_budget": 0,
            "anthropic_version": "2026-10-21",
            "user_agent_suffix": "team-a",
        }
        connection(
            password=KEY,
            host="https://gateway.example.com",
            extra={name: str(value) if as_text else value for name, value in extra.items()},
        )

        assert ClaudeCodeHook().settings == ClientSettings(api_key=KEY, base_url="https://gateway.example.com", **extra)

    @pytest.mark.parametrize(
        ("uri", "base_url"),
        [
            (f"claude-code://:{KEY}@/?page_limit=10&request_timeout=2.5", "https://api.anthropic.com"),
            (
                f"claude-code://:{KEY}@https%3A%2F%2Fgateway.example.com%3A8443/?page_limit=10&request_timeout=2.5",
                "https://gateway.example.com:8443",
            ),
            (
                f"claude-code://https://:{KEY}@gateway.example.com/?page_limit=10&request_timeout=2.5",
                "https://gateway.example.com",
            ),
            (
                f"claude-code://https://:{KEY}@gateway.example.com:8443/?page_limit=10&request_timeout=2.5",
                "https://gateway.example.com:8443",
            ),
        ],
    )
    def test_a_connection_may_be_a_uri(self, connection: Any, uri: str, base_url: str) -> None:
        connection(uri)

        assert ClaudeCodeHook().settings == ClientSettings(
            api_key=KEY, base_url=base_url, page_limit=10, request_timeout=2.5
        )

    @pytest.mark.parametrize("form", ["json", "json-as-text", "uri"])
    @pytest.mark.parametrize(
        ("host", "port", "base_url"),
        [
            ("", 443, "https://api.anthropic.com"),
            ("", 8443, "https://api.anthropic.com:8443"),
            ("https://gateway.example.com", 443, "https://gateway.example.com"),
            ("https://gateway.example.com/", 443, "https://gateway.example.com"),
            ("https://gateway.example.com/anthropic/", 8443, "https://gateway.example.com:8443/anthropic"),
            ("https://gateway.example.com", 8443, "https://gateway.example.com:8443"),
            ("https://gateway.example.com", 80, "https://gateway.example.com:80"),
            ("https://gateway.example.com:443", 443, "https://gateway.example.com:443"),
            ("https://gateway.example.com:8443", 8443, "https://gateway.example.com:8443"),
            ("https://gateway.example.com:", 8443, "https://gateway.example.com:8443"),
            ("https://a.example.com/x//a.example.com", 8443, "https://a.example.com:8443/x//a.example.com"),
            ("http://127.0.0.1", 80, "http://127.0.0.1"),
            ("http://127.0.0.1", 443, "http://127.0.0.1:443"),
            ("http://127.0.0.1/", 8787, "http://127.0.0.1:8787"),
            ("http://[::1]", 8787, "http://[::1]:8787"),
            ("http://[::1]:8787", 8787, "http://[::1]:8787"),
            ("", 0, "https://api.anthropic.com"),
            ("https://gateway.example.com:8443", 0, "https://gateway.example.com:8443"),
        ],
    )
    def test_the_port_is_that_of_a_base_url_without_one(
        self, connection: Any, host: str, port: int, base_url: str, form: str
    ) -> None:
        if form == "uri":
            connection(f"claude-code://:{KEY}@{quote(host, safe='')}:{port}")
        else:
            connection(password=KEY, host=host, port=str(port) if form == "json-as-text" else port)

        assert ClaudeCodeHook().settings == ClientSettings(api_key=KEY, base_url=base_url)
        # Vault's secrets backend passes on the text that it stores.
        stored = Connection(conn_id="c", conn_type="claude_code", password=KEY, host=host, port=str(port))  # type: ignore[arg-type]
        assert client_settings(stored) == ClaudeCodeHook().settings

    @pytest.mark.parametrize(
        ("host", "port", "says"),
        [
            ("https://gateway.example.com:443", 8443, "8443, but the API base URL has port 443: make them the same"),
            ("https://gateway.example.com:8443", 443, "443, but the API base URL has port 8443: make them the same"),
            ("http://127.0.0.1:8787", 80, "80, but the API base URL has port 8787: make them the same"),
            ("http://127.0.0.1:0", 80, "a host or a port that cannot exist"),
            ("", 65536, "port must be 1 to 65535, not 65536"),
            ("", -443, "port must be 1 to 65535, not -443"),
        ],
    )
    def test_a_port_that_cannot_be_used_is_refused(self, connection: Any, host: str, port: int, says: str) -> None:
        """Either port could be the one of somebody who is not to get the key."""
        connection(password=KEY, host=host, port=port)

        successful, message = ClaudeCodeHook().test_connection()
        assert not successful
        assert says in message

    def test_a_port_that_is_no_number_is_not_quoted(self) -> None:
        misplaced = Connection(conn_id="c", conn_type="claude_code", password=KEY, port=KEY)  # type: ignore[arg-type]
        with pytest.raises(ClaudeCodeConfigurationError) as error:
            client_settings(misplaced)
        assert str(error.value) == "The port must be a whole number."

    def test_a_masked_key_is_explained(self, connection: Any) -> None:
        """
        Airflow 3.3.1 tests with it.

        Its UI sends an empty host and port 0 when there are none; its API takes them for another server, which is not
        to get the stored key.
        """
        connection(password="***", host="", port=0, extra={"pseudonym_secret": "***"})

        successful, message = ClaudeCodeHook().test_connection()
        assert not successful
        assert "Airflow 3.3.1 does so when it tests a Connection without an API base URL or port" in message

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"password": ""},
            {"password": f" {KEY}"},
            {"password": f"{KEY}\n"},
            {"password": f"{KEY[:20]}\n{KEY[20:]}"},
            {"password": f'"{KEY}"'},
            {"password": f"'{KEY}"},
            {"password": f"{KEY},"},
            {"password": f"<{KEY}>"},
            {"password": f"x-api-key:{KEY}"},
            {"password": f"ANTHROPIC_ADMIN_KEY={KEY}"},
            {"password": KEY + KEY},
            {"password": KEY, "host": "api.anthropic.com"},
            {"password": KEY, "host": "http://api.anthropic.com"},
            {"password": KEY, "host": "https://api.anthropic.com:port"},
            {"password": KEY, "host": "https://[::1"},
            {"password": KEY, "host": KEY},
            # A port makes nothing of this usable.
            {"password": KEY, "host": KEY, "port": 443},
            {"password": KEY, "host": f"https://127.0.0.1:{KEY}", "port": 443},
            {"password": KEY, "host": "api.anthropic.com", "port": 8443},
            {"password": KEY, "host": "https:///v1", "port": 8443},
            {"password": KEY, "host": "https://gateway.exa\nmple.com", "port": 8443},
            {"password": KEY, "host": " https://gateway.example.com", "port": 8443},
            {"password": KEY, "host": "http://localhost@example.com", "port": 8443},
            {"password": KEY, "host": "http://gateway.example.com", "port": 443},
            {"password": KEY, "extra": {"page_limit": 0}},
            {"password": KEY, "extra": {"page_limit": "1001"}},
            {"password": KEY, "extra": {"page_limit": "many"}},
            {"password": KEY, "extra": {"page_limit": 12.5}},
            {"password": KEY, "extra": {"page_limit": "10.5"}},
            {"password": KEY, "extra": {"page_limit": 50.0}},
            {"password": KEY, "extra": {"page_limit": True}},
            {"password": KEY, "extra": {"retry_budget": True}},
            {"password": KEY, "extra": {KEY: "page_limit"}},
            {"password": KEY, "extra": {"page_limit": [10]}},
            {"password": KEY, "extra": {"page_limit": float("inf")}},
            {"password": KEY, "extra": {"request_timeout": "0"}},
            {"password": KEY, "extra": {"request_timeout": "nan"}},
            {"password": KEY, "extra": {"request_timeout": "1 minute"}},
            {"password": KEY, "extra": {"retry_budget": -1}},
            {"password": KEY, "extra": {"authentication": "oauth"}},
            {"password": KEY, "extra": {"authentication": ["bearer"]}},
            {"password": KEY, "extra": {"anthropic_version": "latest"}},
            {"password": KEY, "extra": {"user_agent_suffix": "two\nlines"}},
        ],
        ids=lambda fields: str(fields).replace(KEY, "KEY"),
    )
    def test_a_value_that_cannot_be_used_is_refused_on_first_use(self, connection: Any, fields: dict[str, Any]) -> None:
        connection(**fields)
        hook = ClaudeCodeHook()

        with pytest.raises(ClaudeCodeConfigurationError) as caught:
            hook.get_conn()
        assert "CANARY" not in str(caught.value) + repr(caught.value)
        with pytest.raises(ClaudeCodeConfigurationError):
            asyncio.run(hook.get_async_conn())
        assert_is_told_by_the_test(hook, caught.value)

    def test_making_a_hook_asks_nobody(self) -> None:
        assert ClaudeCodeHook().claude_code_conn_id == "claude_code_default"
        assert ClaudeCodeHook("no_such_connection").claude_code_conn_id == "no_such_connection"

    def test_a_key_in_the_place_of_an_id_is_not_quoted(self) -> None:
        hook = ClaudeCodeHook(KEY)
        with pytest.raises(ClaudeCodeConfigurationError, match="Airflow finds no Connection") as caught:
            hook.get_conn()
        assert "CANARY" not in str(caught.value) + hook.test_connection()[1]

    def test_the_connection_of_the_argument_is_read(self, connection: Any) -> None:
        connection(conn_id="another", password=KEY, extra={"page_limit": 3})

        assert ClaudeCodeHook(claude_code_conn_id="another").settings.page_limit == 3

    def test_pseudonyms_need_a_secret(self, connection: Any) -> None:
        connection(password=KEY)
        with pytest.raises(ClaudeCodeConfigurationError, match="needs pseudonym_secret"):
            _ = ClaudeCodeHook().pseudonyms

        connection(password=KEY, extra={"pseudonym_secret": "too short"})
        with pytest.raises(ClaudeCodeConfigurationError, match="too short"):
            _ = ClaudeCodeHook().pseudonyms

        connection(password=KEY, extra={"pseudonym_secret": "sixteen characters\n"})
        with pytest.raises(ClaudeCodeConfigurationError, match="starts or ends with blanks"):
            _ = ClaudeCodeHook().pseudonyms

        connection(password=KEY, extra={"pseudonym_secret": "sixteen characters"})
        assert len(ClaudeCodeHook().pseudonyms("user_actor", "dev@example.com") or "") == 64


class TestReading:
    """What the hook gives."""

    def test_records_of_all_pages(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        records = list(hook.iter_records("2025-09-01"))

        assert [record.actor for record in records] == [item["actor"] for item in RECORDS]
        assert len(sandbox.requests) == 2
        assert list(hook.iter_records(DAY)) == records

    def test_pages_know_the_organisation(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        assert [page.organization_id for page in hook.iter_pages(DAY)] == [sandbox.organization.id] * 2

    def test_the_organisation(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        assert hook.get_organization().id == sandbox.organization.id
        assert hook.get_organization().name == "Sandbox"

    def test_the_connection_stays_open_between_calls(self, hook: ClaudeCodeHook) -> None:
        assert hook.get_conn() is hook.get_conn()

    def test_a_token(self, sandbox: Sandbox, connection: Any) -> None:
        connection(host=sandbox.base_url, password=OAUTH_TOKEN, extra={"authentication": "bearer"})

        assert len(list(ClaudeCodeHook().iter_records(DAY))) == 2

    def test_the_async_client(self, hook: ClaudeCodeHook) -> None:
        async def read() -> list[Any]:
            async with await hook.get_async_conn() as client:
                return [page.records async for page in client.iter_pages(usage_walk(DAY, 1))]

        assert asyncio.run(read()) == [page.records for page in hook.iter_pages(DAY)]

    def test_certificates_are_not_read_in_the_event_loop(
        self, hook: ClaudeCodeHook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = []
        read = httpx.create_ssl_context
        monkeypatch.setattr(httpx, "create_ssl_context", lambda: threads.append(threading.current_thread()) or read())
        asyncio.run(hook.get_async_conn())
        assert len(threads) == 1
        assert threading.main_thread() not in threads

    @pytest.mark.parametrize("day", ["20250901", "None", datetime(2025, 9, 1, 6, tzinfo=UTC)])
    def test_no_day_is_refused_before_anything_is_asked(self, hook: ClaudeCodeHook, sandbox: Sandbox, day: Any) -> None:
        for read in (hook.iter_records, hook.iter_pages, hook.get_df):
            with pytest.raises(ClaudeCodeConfigurationError):
                list(read(day))
        assert sandbox.requests == []

    def test_a_day_that_breaks_off_is_an_error(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        sandbox.faults = Faults(wrong_day=True, page=2)

        with pytest.raises(ClaudeCodeResponseError):
            hook.get_df(DAY)


class TestDataFrame:
    """One table of a day."""

    def test_values_are_those_of_the_report(self, hook: ClaudeCodeHook) -> None:
        frame = hook.get_df("2025-09-01")

        assert len(frame) == 2
        user, pipeline = frame.to_dict("records")
        assert user["date"] == DAY
        assert (user["actor_type"], user["actor_id"]) == ("user_actor", "developer@company.com")
        assert (pipeline["actor_type"], pipeline["actor_id"]) == ("api_actor", "ci")
        assert (user["num_sessions"], user["lines_of_code_added"], user["edit_tool_accepted"]) == (5, 1543, 45)
        assert (user["tool_actions_accepted"], user["tool_actions_rejected"], user["model_count"]) == (68, 8, 1)
        assert (user["input_tokens"], user["estimated_cost_cents"], user["currency"]) == (100000, Decimal(1025), "USD")
        assert (pipeline["num_sessions"], pipeline["tool_actions_accepted"], pipeline["model_count"]) == (0, 1, 0)

    def test_unknown_is_null_and_counts_stay_integers_beside_it(self, hook: ClaudeCodeHook) -> None:
        frame = hook.get_df(DAY)

        assert frame["is_remote"].isna().tolist() == [True, False]
        assert frame["subscription_type"].isna().tolist() == [True, False]
        for column in ("input_tokens", "estimated_cost_cents", "currency"):
            assert frame[column].isna().tolist() == [False, True]
        # A float could not hold it.
        assert frame["lines_of_code_added"].tolist() == [1543, 10**12]

    def test_types_are_exact(self, hook: ClaudeCodeHook) -> None:
        types = {name: dtype.pyarrow_dtype for name, dtype in hook.get_df(DAY).dtypes.items()}

        assert types["date"] == pa.date32()
        assert types["loaded_at"] == pa.timestamp("us", "UTC")
        assert types["estimated_cost_cents"] == pa.decimal128(38, 9)
        assert types["is_remote"] == pa.bool_()
        assert types["actor_id"] == pa.string()
        for column in ("key_ordinal", "num_sessions", "edit_tool_accepted", "input_tokens"):
            assert types[column] == pa.int64()

    @pytest.mark.parametrize(
        ("table", "rows", "column"),
        [("usage", 2, "num_sessions"), ("model_usage", 1, "model"), ("tool_usage", 5, "tool_name")],
    )
    def test_every_table_has_its_grain(self, hook: ClaudeCodeHook, table: str, rows: int, column: str) -> None:
        frame = hook.get_df(DAY, table)

        assert len(frame) == rows
        assert column in frame
        assert frame["loaded_at"].nunique() == 1

    @pytest.mark.parametrize("table", ["usage", "model_usage", "tool_usage"])
    def test_an_empty_day_is_an_empty_frame_of_the_same_types(self, hook: ClaudeCodeHook, table: str) -> None:
        empty = hook.get_df("2025-09-02", table)

        assert len(empty) == 0
        pd.testing.assert_series_equal(empty.dtypes, hook.get_df(DAY, table).dtypes)

    @pytest.mark.parametrize("table", ["loads", "claude_code_usage", ""])
    def test_another_table_is_refused_before_anything_is_asked(
        self, hook: ClaudeCodeHook, sandbox: Sandbox, table: str
    ) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match="usage, model_usage, tool_usage"):
            hook.get_df(DAY, table)
        assert sandbox.requests == []

    def test_actors_may_be_pseudonyms(self, sandbox: Sandbox, connection: Any) -> None:
        secret = "a secret of enough characters"
        connection(host=sandbox.base_url, password=sandbox.api_key, extra={"pseudonym_secret": secret})

        frame = ClaudeCodeHook().get_df(DAY, actor_identity="hmac")

        assert frame["actor_id"].str.fullmatch("[0-9a-f]{64}").all()
        assert frame["actor_id"].nunique() == 2

    @pytest.mark.parametrize("actor_identity", ["HMAC", "hash", "", None])
    def test_an_unknown_identity_never_gives_plain_addresses(self, hook: ClaudeCodeHook, actor_identity: Any) -> None:
        with pytest.raises(ClaudeCodeConfigurationError):
            hook.get_df(DAY, actor_identity=actor_identity)


class TestConnectionTest:
    """The button of the connection form."""

    def test_a_good_key_names_its_organisation(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        good, message = hook.test_connection()

        assert good
        assert message.startswith(f"The key belongs to the organisation Sandbox ({sandbox.organization.id})")
        asked = dict.fromkeys(request.path.rsplit("/", 1)[1] for request in sandbox.requests)
        assert list(asked) == ["me", "claude_code", "cost", "users"]
        assert dict(sandbox.requests[1].params)["limit"] == "1"

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("sk-ant-api03-CANARYcanary", "looks like a standard API key"),
            ("sk-ant-api01-CANARYcanary", "looks like an Enterprise Analytics key"),
            (KEY, "failed with status 401"),
            ("CANARYcanary", "failed with status 401"),
        ],
    )
    def test_a_key_that_may_not_is_explained(self, sandbox: Sandbox, connection: Any, key: str, said: str) -> None:
        connection(host=sandbox.base_url, password=key)

        good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert said in message
        assert "CANARY" not in message

    def test_a_key_that_may_read_the_organisation_only_is_not_good(
        self, hook: ClaudeCodeHook, sandbox: Sandbox
    ) -> None:
        sandbox.faults = Faults(status=403)

        good, message = hook.test_connection()

        assert not good
        assert "failed with status 403" in message
        assert [request.status for request in sandbox.requests] == [200, 403]

    def test_no_key(self, connection: Any) -> None:
        connection()

        assert ClaudeCodeHook().test_connection() == (
            False,
            "The password is empty; enter an admin API key (sk-ant-admin01-...).",
        )

    def test_only_a_key_in_the_place_of_a_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", KEY)

        good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert 'Store JSON instead: {"conn_type": "claude_code", "password": "sk-ant-admin01-..."}' in message
        assert KEY[1:] not in message

    @pytest.mark.parametrize("value", [f'{{"conn_type": "claude_code", "password": "{KEY}"', f'{{"api_key": "{KEY}"}}'])
    def test_json_that_airflow_skips(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """Airflow says the same as of a Connection that nobody has made."""
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", value)

        good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert message.startswith("Airflow finds no Connection 'claude_code_default'.")
        assert "If its value is JSON in an environment variable or a secrets backend" in message
        assert KEY[1:] not in message

    @pytest.mark.parametrize(
        ("secret", "said"),
        [
            ("", None),
            ("sixteen characters", None),
            ("too short", "The pseudonym secret is too short"),
            ("sixteen characters\n", "The pseudonym secret starts or ends with blanks"),
        ],
    )
    def test_a_pseudonym_secret_that_no_load_could_use(
        self, sandbox: Sandbox, connection: Any, secret: str, said: str | None
    ) -> None:
        connection(host=sandbox.base_url, password=sandbox.api_key, extra={"pseudonym_secret": secret})

        good, message = ClaudeCodeHook().test_connection()

        assert good == (said is None)
        assert message.startswith(said or "The key belongs to")

    def test_nobody_at_the_host(self, connection: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            base_url = f"http://127.0.0.1:{free.getsockname()[1]}"
        connection(host=base_url, password=KEY)

        good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert base_url in message
        assert "CANARY" not in message

    def test_another_server_at_the_host(self, sandbox: Sandbox, connection: Any) -> None:
        connection(host=f"{sandbox.base_url}/elsewhere", password=sandbox.api_key)

        good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert "Check the API base URL" in message

    @pytest.mark.parametrize(
        "path", ["/v1", "/v1/", "/gateway/v1", "/v1/organizations", "/v1/organizations/usage_report/claude_code"]
    )
    def test_a_path_at_the_host_that_requests_add(self, sandbox: Sandbox, connection: Any, path: str) -> None:
        connection(host=f"{sandbox.base_url}{path}", password=sandbox.api_key)

        good, message = ClaudeCodeHook().test_connection()

        assert (good, message) == (False, "Requests add the path from /v1 on: leave it out of the API base URL.")
        assert sandbox.requests == []

    def test_a_gateway_may_have_a_path_of_its_own(self, connection: Any) -> None:
        base_url = "https://gateway.example.com/v1/account/anthropic"
        connection(host=base_url, password=KEY)
        assert ClaudeCodeHook().settings.base_url == base_url

    def test_a_proxy_s_page(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        sandbox.faults = Faults(html=True)

        good, message = hook.test_connection()

        assert not good
        assert "proxy" in message

    def test_a_refused_cursor_starts_a_dataframe_again_once(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        expected = hook.get_df(DAY)
        sandbox.requests.clear()
        sandbox.faults = Faults(status=410, page=2, times=1)

        frame = hook.get_df(DAY)

        assert [request.status for request in sandbox.requests] == [200, 410, 200, 200]
        assert frame.drop(columns="loaded_at").equals(expected.drop(columns="loaded_at"))

    def test_nobody_waits_for_the_retries_of_a_load(self, hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
        """The test does not wait for a server that asks for ten seconds."""
        sandbox.faults = Faults(status=529, retry_after="10")
        good, message = hook.test_connection()

        assert not good
        assert "failed with status 529" in message
        assert len(sandbox.requests) == 2

    def test_it_ends_whatever_the_server_does(
        self, hook: ClaudeCodeHook, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hook_module, "TEST_REQUEST_TIMEOUT", 0.1)
        monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", 3)
        for faults, says in ((Faults(drip=0.02), "not complete after 0.5 s"), (Faults(endless=True), "hold no record")):
            sandbox.faults = faults
            good, message = hook.test_connection()
            assert not good
            assert says in message

    def test_nobody_waits_as_long_as_a_load_does(self, hook: ClaudeCodeHook, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[ClientSettings] = []
        really = client_module.ClaudeCodeClient

        def client(settings: ClientSettings) -> Any:
            seen.append(settings)
            return really(settings)

        monkeypatch.setattr(client_module, "ClaudeCodeClient", client)

        assert hook.test_connection()[0]
        [settings] = seen
        assert settings.retry_budget + settings.response_timeout <= 60

    def test_a_connection_that_is_not_there(self) -> None:
        good, message = ClaudeCodeHook("no_such_connection").test_connection()

        assert not good
        assert message

    def test_what_nobody_thought_of_is_worded_and_logged(
        self,
        sandbox: Sandbox,
        connection: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "socks9://127.0.0.1")
        connection(host=sandbox.base_url, password=KEY)

        with caplog.at_level(logging.INFO):
            good, message = ClaudeCodeHook().test_connection()

        assert not good
        assert "CANARY" not in message
        # A message that sends people to the log needs something there.
        output = capfd.readouterr()
        log = caplog.text + output.out + output.err
        assert "see the log" not in message or "Traceback" in log
        assert "CANARY" not in log


class SecretsBackend:
    """A secrets backend, like Vault, that may not answer."""

    answers = False

    def get_connection(self, conn_id: str) -> Connection:
        if not self.answers:
            raise TimeoutError
        return Connection(conn_id=conn_id, conn_type="claude_code", password=KEY)


class TestFailWithoutRetry:
    """The conversion of errors for Airflow's retries."""

    @pytest.mark.newest_only
    def test_a_secrets_backend_that_does_not_answer_is_for_a_retry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = SecretsBackend()
        monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: [backend])

        for read in (lambda: ClaudeCodeHook().settings, lambda: ClaudeCodeHook.get_connection("google_cloud_default")):
            with pytest.raises(ClaudeCodeMissingConnectionError, match="try again"), fail_without_retry():
                read()
        backend.answers = True
        assert ClaudeCodeHook().settings.api_key == KEY

    @pytest.mark.parametrize("error", [ClaudeCodeConfigurationError("advice"), ClaudeCodeAuthenticationError("advice")])
    def test_what_no_retry_fixes_fails_the_task_at_once_and_is_said_once(self, error: Exception) -> None:
        with pytest.raises(AirflowFailException, match=r"^advice$") as caught, fail_without_retry():
            raise error from OSError("reason")
        log = "".join(traceback.format_exception(caught.value))
        assert log.count(": advice\n") == log.count(": reason\n") == 1

    @pytest.mark.parametrize("error", [ClaudeCodeServerError("m"), ClaudeCodeResponseError("m"), ValueError("m")])
    def test_everything_else_passes_through(self, error: Exception) -> None:
        with pytest.raises(type(error)) as caught, fail_without_retry():
            raise error
        assert caught.value is error


def test_an_extra_is_read_as_text_and_as_a_dict() -> None:
    for extra in ({"page_limit": 50}, '{"page_limit": 50}'):
        # Vault's secrets backend passes on a dict if it stores one.
        stored = Connection(conn_id="c", conn_type="claude_code", password=KEY, extra=extra)  # type: ignore[arg-type]
        assert client_settings(stored).page_limit == 50


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        # Airflow takes text that is not JSON for an empty object.
        pytest.param(
            f'{{"pseudonym_secret": "{SECRET}", authentication: bearer}}',
            "extra is not a JSON object",
            marks=needs_airflow_3_1,
        ),
        pytest.param(f"pseudonym_secret={SECRET}", "extra is not a JSON object", marks=needs_airflow_3_1),
        pytest.param(["pseudonym_secret", SECRET], "extra is not a JSON object", marks=needs_airflow_3_1),
        ({"page_limit": 50.0}, "page_limit must be a whole number"),
        ({"page_limit": "50.0"}, "page_limit must be a whole number"),
        ({"request_timeout": "a minute"}, "request_timeout must be a number"),
        ({"pagelimit": 50}, "extra has pagelimit, .* Did you mean page_limit?"),
        ({"Page_Limit": 50}, "extra has Page_Limit, .* Did you mean page_limit?"),
        ({"retry_budgets": 50}, "extra has retry_budgets, .* Did you mean retry_budget?"),
        ({"pseudonym-secret": SECRET}, "extra has a field, .* Did you mean pseudonym_secret?"),
        ({"proxy": "x"}, "extra has proxy, .* The fields are authentication, page_limit, "),
        ({KEY: ""}, "extra has a field, "),
        ({"a\nb": ""}, "extra has a field, "),
    ],
)
def test_a_field_of_extra_that_cannot_be_used_is_named_at_the_first_use(connection: Any, extra: Any, said: str) -> None:
    connection(password=KEY, extra=extra)
    for use in (lambda: ClaudeCodeHook().settings, lambda: ClaudeCodeHook().get_conn()):
        with pytest.raises(ClaudeCodeConfigurationError, match=said) as refusal:
            use()
        assert KEY not in str(refusal.value)
        assert SECRET not in str(refusal.value)
    assert_is_told_by_the_test(ClaudeCodeHook(), refusal.value)


def test_a_field_that_is_not_known_stops_pseudonyms_as_well(connection: Any) -> None:
    connection(password=KEY, extra={"pseudonymsecret": SECRET})
    with pytest.raises(ClaudeCodeConfigurationError, match=r"Did you mean pseudonym_secret\?"):
        _ = ClaudeCodeHook().pseudonyms


def test_the_connection_test_says_what_the_report_covers(connection: Any, sandbox: Sandbox) -> None:
    connection(host=sandbox.base_url, password=sandbox.api_key)
    usable, message = ClaudeCodeHook().test_connection()
    assert usable
    assert "Seats of Team and Enterprise plans are not in it" in message


def test_the_name_of_an_organisation_forges_no_message(
    connection: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection(host=sandbox.base_url, password=sandbox.api_key)
    name = "Acme\n\x1b[31m\u202e" + "x" * 10_000
    monkeypatch.setattr(sandbox, "organization", dataclasses.replace(sandbox.organization, name=name))
    _, message = ClaudeCodeHook().test_connection()
    assert message.isprintable()
    assert len(message) < 1_000


def test_a_name_is_that_of_the_organisation_that_is_meant(hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
    assert hook.find_organization_name(sandbox.organization.id) == sandbox.organization.name
    assert hook.find_organization_name("another") is None


def test_the_organisation_is_asked_for_once_also_for_its_name(hook: ClaudeCodeHook, sandbox: Sandbox) -> None:
    sandbox.requests.clear()
    organization = hook.get_organization()
    assert hook.get_organization() == organization
    assert hook.find_organization_name(organization.id) == sandbox.organization.name
    assert [request.path for request in sandbox.requests] == ["/v1/organizations/me"]


def test_a_name_that_the_api_does_not_tell_is_not_waited_for(
    connection: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection(host=sandbox.base_url, password="revoked")
    monkeypatch.setattr("airflow_provider_claude_code.api.retries.retry_delay", lambda *_: 0.001)
    sandbox.requests.clear()
    assert ClaudeCodeHook().find_organization_name("any") is None
    assert len(sandbox.requests) == 1

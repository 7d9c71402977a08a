"""The key goes where it should, and only there: URLs and proxies, as the client that connects reads them."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date

import httpx
import pytest

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.exceptions import ClaudeCodeBadRequestError, ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.usage.pages import usage_walk
from tests.fixtures.retries import few_attempts
from tests.fixtures.servers.wire import Wire

DAY = date(2026, 1, 13)
KEY = "sk-ant-admin01-CANARYcanary0123456789"
EMPTY_PAGE = json.dumps({"data": [], "has_more": False, "next_page": None}).encode()

Read = Callable[[ClientSettings], int]


def read_sync(settings: ClientSettings) -> int:
    with ClaudeCodeClient(settings) as client:
        return len(list(client.iter_pages(usage_walk(DAY, 1000))))


def read_async(settings: ClientSettings) -> int:
    async def read() -> int:
        async with AsyncClaudeCodeClient(settings) as client:
            return len([page async for page in client.iter_pages(usage_walk(DAY, 1000))])

    return asyncio.run(read())


both = pytest.mark.parametrize("read", [read_sync, read_async])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with few_attempts():
        yield


@pytest.fixture
def wires() -> Iterator[tuple[Wire, Wire]]:
    with ExitStack() as stack:
        yield Wire(stack), Wire(stack)


def proxy_for(base_url: str) -> str | None:
    """Return the URL of the proxy that a client would use, without asking it anything."""
    proxy = ClientSettings(api_key=KEY, base_url=base_url).network_arguments()["proxy"]
    return None if proxy is None else str(proxy.url)


class TestProxies:
    """Which proxy is used, and what it gets to see."""

    @both
    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"])
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_what_is_for_this_machine_goes_through_none(
        self, wires: tuple[Wire, Wire], read: Read, variable: str, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api, proxy = wires
        monkeypatch.setenv(variable, proxy.base_url)

        assert read(ClientSettings(api_key=KEY, base_url=api.base_url.replace("127.0.0.1", host))) == 1
        assert proxy.connections == 0

    @pytest.mark.parametrize(
        "base_url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://127.0.0.7", "https://[::1]"]
    )
    def test_no_form_of_this_machine_has_one(self, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://proxy.example.com:3128")

        assert proxy_for(base_url) is None

    @both
    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
    def test_a_proxy_sees_the_host_and_neither_key_nor_path(
        self, wires: tuple[Wire, Wire], read: Read, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, proxy = wires
        proxy.answers = [proxy.answer(407, b"")]
        monkeypatch.setenv(variable, proxy.base_url.replace("//", "//svc:CANARY@"))

        with pytest.raises(ClaudeCodeBadRequestError, match="asks for a user and a password") as caught:
            read(ClientSettings(api_key=KEY))

        [request] = proxy.requests
        assert request.startswith("CONNECT api.anthropic.com:443 HTTP/1.1")
        assert KEY not in request
        assert "CANARY" not in str(caught.value)
        assert (caught.value.status, caught.value.retryable) == (407, False)

    @both
    @pytest.mark.parametrize(("status", "requests"), [(403, 1), (407, 1), (429, 2), (502, 2), (503, 2)])
    def test_what_a_proxy_refuses_for_good_is_asked_for_once(
        self, wires: tuple[Wire, Wire], read: Read, status: int, requests: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, proxy = wires
        proxy.answers = [proxy.answer(status, b"")]
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)

        with pytest.raises(Exception, match=str(status)):
            read(ClientSettings(api_key=KEY))

        assert len(proxy.requests) == requests

    @pytest.mark.parametrize(
        ("no_proxy", "base_url", "exempt"),
        [
            ("", "https://api.anthropic.com", False),
            ("*", "https://api.anthropic.com", True),
            ("api.anthropic.com", "https://api.anthropic.com", True),
            ("API.Anthropic.com", "https://api.anthropic.com", True),
            ("anthropic.com", "https://api.anthropic.com", True),
            (".anthropic.com", "https://api.anthropic.com", True),
            ("*.anthropic.com", "https://api.anthropic.com", True),
            ("https://api.anthropic.com", "https://api.anthropic.com", True),
            ("api.anthropic.com:443", "https://api.anthropic.com", True),
            ("api.anthropic.com:8443", "https://api.anthropic.com", False),
            ("other.com, api.anthropic.com", "https://api.anthropic.com", True),
            ("other.com api.anthropic.com", "https://api.anthropic.com", True),
            ("thropic.com", "https://api.anthropic.com", False),
            ("127.0.0.1,::1/128", "https://api.anthropic.com", False),
            ("localhost,127.0.0.1,[::1]", "https://api.anthropic.com", False),
            ("hubproxy.docker.internal,127.0.0.0/8,10.0.0.0/8,::1/128,.svc,.cluster.local", "https://api.anthropic.com",
             False),
            ("[::1]:443,[::1]/128,::1%lo,fe80::/10,300.1.2.3,1.2.3.4/99,://,:,.,,*.", "https://api.anthropic.com",
             False),
            ("\x00,http://[,\u200b", "https://api.anthropic.com", False),
            ("10.0.0.0/8", "https://10.1.2.3", True),
            ("10.1.2.3", "https://10.1.2.3:8443", True),
            ("10.1.2.3:443", "https://10.1.2.3", True),
            ("10.0.0.0/8", "https://11.1.2.3", False),
            ("2001:db8::/32", "https://[2001:db8::7]", True),
            ("[2001:db8::7]", "https://[2001:db8::7]", True),
            ("2001:db8::/32", "https://10.1.2.3", False),
        ],
    )  # fmt: skip
    def test_no_proxy_works_as_other_tools_read_it(
        self, no_proxy: str, base_url: str, exempt: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "airflow_provider_claude_code.api.settings.getproxies",
            lambda: {"https": "http://proxy.example.com:3128", "no": no_proxy},
        )

        assert proxy_for(base_url) == (None if exempt else "http://proxy.example.com:3128")

    @both
    @pytest.mark.parametrize(
        "no_proxy", ["127.0.0.1,::1/128", "[::1]", "localhost,127.0.0.1,::1", "127.0.0.0/8,[::1]/128", "http://[::1"]
    )
    def test_what_container_tools_put_into_no_proxy_breaks_nothing(
        self, wires: tuple[Wire, Wire], read: Read, no_proxy: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api, proxy = wires
        monkeypatch.setenv("NO_PROXY", no_proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)

        assert read(ClientSettings(api_key=KEY, base_url=api.base_url)) == 1

    @both
    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
    @pytest.mark.parametrize(
        "address",
        [
            "http://svc:CANARY12x?y@proxy:3128",
            "http://svc:12?CANARY@proxy:3128",
            "http://svc:12/CANARY@proxy:3128",
            "http://svc:12#CANARY@proxy:3128",
            "http://svc:CANARY\x01@proxy:3128",
            "http://svc:CANARY@proxy:port",
            "http://svc:CANARY@proxy:99999",
            "http://svc:CANARY@pro..xy:3128",
            "http://svc:CANARY@[proxy]:3128",
            "http://svc:CANARY@",
            "http://",
            "socks9://svc:CANARY@proxy",
            "svc:CANARY@proxy:3128/path",
            "http://svc:CANARY@" + "a" * 64 + ":3128",
        ],
    )
    def test_one_that_cannot_be_used_shows_nothing_of_its_password(
        self,
        read: Read,
        variable: str,
        address: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setenv(variable, address)
        caplog.set_level(logging.DEBUG)

        with pytest.raises(ClaudeCodeConfigurationError, match="HTTPS_PROXY") as caught:
            read(ClientSettings(api_key=KEY))

        shown = f"{caught.value}{caught.value!r}{caplog.text}"
        assert "CANARY" not in shown
        assert "12x" not in shown
        assert caught.value.__context__ is None

    def test_a_proxy_without_a_scheme_is_one_of_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")

        assert proxy_for("https://api.anthropic.com") == "http://proxy.example.com:3128"

    def test_a_password_with_percent_encoding_arrives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://svc:p%40ss%3F@proxy.example.com:3128")

        proxy = ClientSettings(api_key=KEY).network_arguments()["proxy"]

        assert (proxy.auth, proxy.url.host) == (("svc", "p@ss?"), "proxy.example.com")

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_certificates_that_are_not_there_are_a_configuration_error(
        self, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")

        with pytest.raises(ClaudeCodeConfigurationError, match="SSL_CERT_FILE"):
            ClaudeCodeClient(ClientSettings(api_key=KEY))


class TestBaseUrls:
    """The URL is checked by the same parser that the connection uses."""

    @pytest.mark.parametrize(
        "base_url",
        [
            "https://api.anthropic.com\u200b",
            "\x01http://localhost",
            "http://localhost\x7f",
            "http://evil.com[::1]/",
            "http://[::1]evil.com",
            "http://[::1]@evil.com",
            "http://localhost:@evil.com",
            "http://127.0.0.1\\@evil.com",
            "http://localhost%2eevil.com",
            "http://localhost\u3002evil.com",
            "https://api..anthropic.com",
            "https://.",
            "https://" + "a" * 64 + ".com",
            "https://api.anthropic.com%20",
            "https://api.anthropic.com:0",
            "https://api.anthropic.com:-1",
            "https://api.anthropic.com:65536",
            "https://[fe80::1%25]",
            "https://xn--.com",
            "https://" + "a" * 70_000,
        ],
    )
    def test_one_that_cannot_be_connected_to_or_misleads_is_a_configuration_error(self, base_url: str) -> None:
        with pytest.raises(ClaudeCodeConfigurationError) as caught:
            ClientSettings(api_key=KEY, base_url=base_url)

        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert "evil" not in str(caught.value)

    def test_the_key_is_found_in_it_percent_encoded_too(self) -> None:
        with pytest.raises(ClaudeCodeConfigurationError, match="contains the admin API key"):
            ClientSettings(api_key="sk-ant/x+y", base_url="https://gateway.example.com/sk-ant%2Fx%2By")

    @pytest.mark.parametrize("error", [httpx.InvalidURL("CANARY"), UnicodeError("CANARY")])
    @both
    def test_what_is_found_wrong_only_when_it_is_asked_is_typed_too(
        self, read: Read, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        for transport in (httpx.HTTPTransport, httpx.AsyncHTTPTransport):
            for name in ("handle_request", "handle_async_request"):
                monkeypatch.setattr(transport, name, fail, raising=False)

        with pytest.raises(ClaudeCodeConfigurationError) as caught:
            read(ClientSettings(api_key=KEY))

        assert "CANARY" not in str(caught.value)

"""How to reach the API: the Connection's values, and the proxy and certificates of the environment."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import unquote
from urllib.request import getproxies

import httpx

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

DEFAULT_BASE_URL = "https://api.anthropic.com"
DEFAULT_ANTHROPIC_VERSION = "2023-06-01"
"""The version whose report is documented field by field."""
MAX_PAGE_LIMIT = 1000
"""Maximum number of records per page in the API."""
PROJECT_URL = "https://github.com/airflow-provider-claude-code/airflow-provider-claude-code"

Authentication = Literal["api_key", "bearer"]

DEFAULT_PORTS = {"https": 443, "http": 80}

_PLAIN_HTTP_HOSTS = {b"localhost", b"127.0.0.1", b"::1"}
_AROUND_A_KEY = " \t\r\n'\"`<>,;"
"""What is easily copied together with a key."""


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    How to reach the API. Checked on creation.

    :param api_key: an admin API key, or an OAuth token with the ``org:admin`` scope.
    :param authentication: ``"api_key"`` sends it as ``x-api-key``, ``"bearer"`` as ``Authorization: Bearer``.
    :param base_url: scheme and host; ``https``, or ``http`` on this machine only.
    :param page_limit: records per page, 1 to 1000.
    :param request_timeout: seconds to wait for each part of a response; all of it may take five times as long.
    :param retry_budget: seconds after which a failed request is not repeated any more.
    :param requests_per_minute: how many requests a task may send in a minute at most.
    :param anthropic_version: ``anthropic-version`` header.
    :param user_agent_suffix: added to the ``User-Agent``, to tell deployments apart.
    :raises ClaudeCodeConfigurationError: a value cannot be used; the message says which and why.
    """

    api_key: str = field(repr=False)
    authentication: Authentication = "api_key"
    base_url: str = DEFAULT_BASE_URL
    page_limit: int = MAX_PAGE_LIMIT
    request_timeout: float = 60.0
    retry_budget: float = 600.0
    requests_per_minute: int = 60
    anthropic_version: str = DEFAULT_ANTHROPIC_VERSION
    user_agent_suffix: str = ""

    def __post_init__(self) -> None:
        """Refuse values that would fail later with a less clear error, or send the key to the wrong place."""
        parse_base_url(self.base_url)
        checks = [
            # No check keeps the key in a variable, since some tools show the variables of a failed frame.
            (bool(self.api_key), "The password is empty; enter an admin API key (sk-ant-admin01-...)"),
            (
                self.api_key == self.api_key.strip(_AROUND_A_KEY),
                "The admin API key starts or ends with a blank, a line break, a quotation mark or another character "
                "that does not belong to it; paste it again",
            ),
            (
                "sk-ant-" not in self.api_key[1:],
                "The password has other text before an admin API key (sk-ant-...); enter the key alone, once",
            ),
            (
                self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key,
                "The admin API key contains blanks, line breaks or characters that no key has; paste it again",
            ),
            (len(self.api_key) <= 4096, "The admin API key is longer than any key; paste it again"),
            (
                self.authentication in get_args(Authentication),
                f"authentication must be one of {', '.join(get_args(Authentication))}",
            ),
            (
                self.api_key.lower() not in unquote(self.base_url).lower(),
                "The API base URL contains the admin API key, and messages name the URL",
            ),
            (
                1 <= self.page_limit <= MAX_PAGE_LIMIT,
                f"Records per page must be between 1 and {MAX_PAGE_LIMIT}, got {self.page_limit}",
            ),
            (
                0 < self.request_timeout <= 3600,
                f"The request timeout must be above 0 and at most 3600 seconds, got {self.request_timeout}",
            ),
            (
                0 <= self.retry_budget <= 86400,
                f"The time budget for retries must be 0 to 86400 seconds, got {self.retry_budget}",
            ),
            (
                1 <= self.requests_per_minute <= 100_000,
                f"Requests per minute must be between 1 and 100000, got {self.requests_per_minute}",
            ),
            (
                re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", self.anthropic_version),
                f"anthropic-version must look like {DEFAULT_ANTHROPIC_VERSION}",
            ),
            (
                self.user_agent_suffix.isascii() and (self.user_agent_suffix or " ").isprintable(),
                "The User-Agent suffix must be printable ASCII on one line",
            ),
        ]
        for usable, problem in checks:
            if not usable:
                raise ClaudeCodeConfigurationError(f"{problem}.")

    @property
    def response_timeout(self) -> float:
        """Seconds that a whole response may take."""
        return 5 * self.request_timeout

    @property
    def httpx_arguments(self) -> dict[str, Any]:
        """
        Arguments of the httpx client.

        Redirects are not followed, so that the key never goes to another host.
        """
        credentials = (
            {"x-api-key": self.api_key}
            if self.authentication == "api_key"
            else {"authorization": f"Bearer {self.api_key}"}
        )
        agent = f"airflow-provider-claude-code/{__version__} (+{PROJECT_URL}) {self.user_agent_suffix}"
        return {
            "base_url": self.base_url,
            "headers": {
                **credentials,
                "anthropic-version": self.anthropic_version,
                "user-agent": agent.strip(),
                "accept": "application/json",
                "accept-encoding": "gzip",
            },
            "timeout": httpx.Timeout(self.request_timeout, connect=min(self.request_timeout, 15.0)),
        }

    def network_arguments(self) -> dict[str, Any]:
        """
        Arguments of the httpx client from the environment: the proxy and the trusted certificates.

        :raises ClaudeCodeConfigurationError: the environment names a proxy or certificates that cannot be used.
        """
        try:
            # httpx can choose the proxy itself, but fails on values of NO_PROXY that other tools understand, and
            # sends even requests to this machine through a proxy, in clear text.
            return {
                "trust_env": False,
                "proxy": _proxy(httpx.URL(self.base_url)),
                "verify": httpx.create_ssl_context(),
            }
        except (httpx.InvalidURL, ValueError, OSError) as error:
            failure = environment_error(error)
        raise failure


def environment_error(error: Exception) -> ClaudeCodeConfigurationError:
    """
    Return the error for network settings of the environment that cannot be used.

    It does not contain the text of the original error, and must not be chained to it: a proxy's URL may contain a
    password.
    """
    return ClaudeCodeConfigurationError(
        "The environment names a SOCKS proxy, which needs another package: pip install 'httpx[socks]'."
        if isinstance(error, ImportError)
        else f"The HTTP client cannot be set up ({type(error).__name__}): check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE "
        "and SSL_CERT_DIR in the environment. A user or password in a proxy's URL must be percent-encoded."
    )


def parse_base_url(text: str) -> httpx.URL:
    """
    Read the API's base URL, as the client will that connects to it.

    :raises ClaudeCodeConfigurationError: the URL cannot be used, or would send the key where it must not go.
    """
    if re.search(r"\s", text):
        raise ClaudeCodeConfigurationError("The API base URL contains blanks or line breaks; paste it again.")
    url = _parsed(text)
    if url is None:
        # The parser's error quotes the host or port, in whose place somebody may have pasted the key.
        raise ClaudeCodeConfigurationError("The API base URL is not a URL: its host or port cannot be read.")
    checks = [
        (
            url.scheme in DEFAULT_PORTS and url.raw_host,
            "The API base URL needs a scheme and a host, for example https://api.anthropic.com",
        ),
        (_can_connect(url), "The API base URL names a host or a port that cannot exist; paste it again"),
        (
            not (url.query or url.fragment or url.userinfo),
            "The API base URL must not contain a query, a fragment or credentials",
        ),
        (
            not re.search(r"/v1/?(organizations(/.*)?)?$", url.path),
            "Requests add the path from /v1 on: leave it out of the API base URL",
        ),
        (
            url.scheme != "http" or url.raw_host in _PLAIN_HTTP_HOSTS,
            "The API base URL must use https, since anybody on the network could read the key over plain http "
            "(http is allowed for 127.0.0.1, ::1 and localhost only)",
        ),
    ]
    for usable, problem in checks:
        if not usable:
            raise ClaudeCodeConfigurationError(f"{problem}.")
    return url


def _parsed(text: str) -> httpx.URL | None:
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return None


def _can_connect(url: httpx.URL) -> bool:
    """Return whether the host and the port of a URL are valid. For others, sockets raise no OSError."""
    host = url.raw_host.decode("ascii")
    if not re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*|[0-9a-f:.]*:[0-9a-f:.]*(%25[\w.~-]+)?", host):
        return False
    try:
        host.encode("idna")
        _ = url.host
    except UnicodeError:
        return False
    return url.port is None or 0 < url.port <= 65535


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    """
    Return the environment's proxy for a URL; for this machine there is none.

    :raises ValueError: it is not one that can be used.
    """
    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or _is_loopback(url.host) or _needs_no_proxy(url, proxies.get("no", "")):
        return None
    proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    # A "/", "?" or "#" in a password ends the host early, so parts of the password must not be looked up.
    if proxy.url.raw_path not in (b"", b"/") or proxy.url.fragment or not _can_connect(proxy.url):
        raise ValueError
    return proxy


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _needs_no_proxy(url: httpx.URL, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` names a URL's host: by name, domain, address or network, some with a port."""
    host, port = url.host.rstrip("."), str(url.port or DEFAULT_PORTS[url.scheme])
    address = _address(host)
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        entry = entry.rpartition("://")[2]
        if entry == "*":
            return True
        try:
            network = ipaddress.ip_network(entry.translate({ord("["): None, ord("]"): None}), strict=False)
        except ValueError:
            name, _, only_port = entry.partition(":")
            name = name.lstrip("*.").rstrip(".")
            if name and only_port in ("", port) and f".{host}".endswith(f".{name}"):
                return True
        else:
            if address is not None and address in network:
                return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

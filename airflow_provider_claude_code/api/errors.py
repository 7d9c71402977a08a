"""Maps failed requests to error classes and to messages that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from airflow_provider_claude_code.api.models import ErrorEnvelope
from airflow_provider_claude_code.api.retries import (
    SPENDING_LIMITS,
    is_certificate_failure,
    proxy_status,
    read_error_envelope,
)
from airflow_provider_claude_code.api.settings import ClientSettings, environment_error
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAPIError,
    ClaudeCodeAuthenticationError,
    ClaudeCodeBadRequestError,
    ClaudeCodeConnectionError,
    ClaudeCodeCursorError,
    ClaudeCodePermissionError,
    ClaudeCodeRateLimitError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.quoting import quoted

Meaning = tuple[type[ClaudeCodeAPIError], str]
"""The class of an error, and what to do."""

_KEY_ADVICE = (
    "Use an admin API key (sk-ant-admin01-), which a member with the admin role creates in the Claude Console under "
    "Settings, Admin keys. Personal and service-account keys that are not scoped to a workspace work too, and OAuth "
    "tokens with the scope org:admin (authentication: bearer). Individual accounts have no Admin API."
)
_NOT_THE_API = "The answer does not come from the API: a proxy, a firewall or another server has refused the request. "
_REDIRECTED = (
    ClaudeCodeBadRequestError,
    "Redirects are not followed, to keep the key from other hosts: correct the API base URL.",
)
_PROXY_CREDENTIALS = (
    ClaudeCodeBadRequestError,
    "A proxy asks for a user and a password: put them into HTTPS_PROXY (http://user:password@proxy:3128, "
    "percent-encoded), or name the API's host in NO_PROXY.",
)
_REFUSED_BY_PROXY = (
    ClaudeCodeBadRequestError,
    "The proxy does not allow requests to the API's host: ask its admins, or correct HTTPS_PROXY.",
)
_SPENDING_LIMIT = (
    ClaudeCodePermissionError,
    "The organisation has reached a spending limit, so a retry does not help: raise it in the Claude Console "
    "under Settings, Limits, or wait for the next billing period.",
)

_BY_CODE: dict[str, Meaning] = {
    **dict.fromkeys(SPENDING_LIMITS, _SPENDING_LIMIT),
    "linked_organization_spend_limit_reached": (
        ClaudeCodePermissionError,
        "The organisation that pays for this one has reached its spending limit: ask its admins to raise it.",
    ),
    "linked_organization_billing_unavailable": (
        ClaudeCodePermissionError,
        "The billing of the organisation that pays for this one is not available: ask its admins to look into it.",
    ),
    "organization_type_not_supported": (
        ClaudeCodePermissionError,
        "This kind of organisation has no Claude Code usage report: use a key of an organisation in the Claude "
        "Console. Individual accounts have none, and claude.ai Team and Enterprise seats are not in it.",
    ),
    "organization_on_hold": (
        ClaudeCodePermissionError,
        "Anthropic has put the organisation on hold: an admin can see why in the Claude Console, or ask Anthropic's "
        "support.",
    ),
    "parent_organization_required": (
        ClaudeCodePermissionError,
        "Only the parent organisation may ask for this: use one of its admin API keys.",
    ),
    "organization_level_scoped_api_key_required": (
        ClaudeCodePermissionError,
        f"The key is scoped to a workspace, and the report is the whole organisation's. {_KEY_ADVICE}",
    ),
}
"""By ``error.details.error_code``, whatever the status."""

_FROM_ELSEWHERE: dict[int, Meaning] = {
    401: (ClaudeCodeConnectionError, f"{_NOT_THE_API}Check the API base URL and the proxy."),
    403: (
        ClaudeCodeConnectionError,
        f"{_NOT_THE_API}Ask your network's admins to allow requests to the API's host, and check the API base "
        "URL. The key may be fine.",
    ),
}
"""By status, where the answer is not in the API's error format."""

# The reference does not list the type "forbidden" of these answers (anthropics/anthropic-sdk-typescript#457). If
# requests leave a network at different addresses, only some may be refused.
_REFUSED_NETWORK: Meaning = (
    ClaudeCodeConnectionError,
    "The API accepts no requests from the network that this one came from, whatever the key. Check the address and the "
    "country in which the worker's requests leave your network (NAT, proxy, VPN): the API serves only some countries.",
)

_BY_STATUS: dict[int, Meaning] = {
    **dict.fromkeys((300, 301, 302, 303, 307, 308), _REDIRECTED),
    401: (ClaudeCodeAuthenticationError, _KEY_ADVICE),
    402: (ClaudeCodePermissionError, "Check the organisation's billing in the Claude Console."),
    403: (ClaudeCodePermissionError, _KEY_ADVICE),
    404: (
        ClaudeCodeBadRequestError,
        "Check the API base URL. If other streams load, the organisation has no access to this one, or this provider "
        "is too old for it.",
    ),
    407: _PROXY_CREDENTIALS,
    408: (ClaudeCodeServerError, "The API, or a proxy, did not get the request in time: try again later."),
    409: (ClaudeCodeServerError, "The API was busy with a conflicting request: try again later."),
    425: (ClaudeCodeServerError, "The API was not ready for the request: try again later."),
    429: (
        ClaudeCodeRateLimitError,
        "The organisation's rate limit is exceeded: run fewer loads at once (a pool, max_active_tis_per_dag), or "
        "raise the Connection's retry_budget.",
    ),
    511: (
        ClaudeCodeServerError,
        "The network requires a sign-in before it lets requests through: ask its admins.",
    ),
}

_SERVER_PROBLEM: Meaning = (
    ClaudeCodeServerError,
    "The API, or a server in front of it, has a problem: try again later (status.anthropic.com).",
)
_REFUSED_REQUEST: Meaning = (
    ClaudeCodeBadRequestError,
    "The request itself was refused: check the day and the Connection's extra fields.",
)
_EXPIRED_CURSOR: Meaning = (
    ClaudeCodeCursorError,
    "Earlier pages arrived, so the cursor has probably expired: read the day again from its first page.",
)

_ENTERPRISE_KEY = "sk-ant-api01-"
_KINDS_OF_KEYS = (
    (
        "sk-ant-api03-",
        "This looks like a standard API key (sk-ant-api03-); keys of a workspace cannot read the report.",
    ),
    (
        _ENTERPRISE_KEY,
        f"This looks like an Enterprise Analytics key ({_ENTERPRISE_KEY}), which belongs to another API.",
    ),
    (
        "sk-ant-admin",
        "This looks like an admin key: it may have been revoked, have expired, or belong to another organisation.",
    ),
)
"""By prefix, which is only a hint, since the API accepts several kinds of keys."""


@dataclass(frozen=True)
class Inquiry:
    """
    What a request is for, to explain its failure.

    :param settings: how the API is reached.
    :param subject: the requested data, such as "the Claude Code usage of 2026-01-13".
    :param later_page: whether pages of it have come before.
    :param enterprise_scope: the scope with which a Claude Enterprise key may ask for it, too; ``None`` when none may.
    """

    settings: ClientSettings = field(repr=False)
    subject: str
    later_page: bool = False
    enterprise_scope: str | None = None

    def quoted(self, text: str, length: int = 400) -> str:
        """Return text from the server, without the key."""
        return quoted(text, length, self.settings.api_key)

    def described(self, error: BaseException) -> str:
        """Say in a few words how an attempt ended: "failed with status 503 (api_error)"."""
        if isinstance(error, httpx.HTTPStatusError):
            envelope = read_error_envelope(error.response)
            kind = self.quoted(envelope.error.type, 100) if envelope else "not in the API's error format"
            return f"failed with status {error.response.status_code} ({kind})"
        return f"failed ({type(error).__name__}: {self.quoted(str(error), 200)})"

    @contextmanager
    def typed_errors(self, attempts: dict[str, int]) -> Iterator[None]:
        """
        Turn httpx's errors into ours, and keep the originals, whose request holds the key, out of tracebacks.

        :param attempts: ``attempt_number`` counts the attempts.
        """
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise self._status_error(error.response, attempts["attempt_number"]) from None
        except httpx.RequestError as error:
            raise self._connection_error(error, attempts["attempt_number"]) from None
        except (httpx.InvalidURL, UnicodeError) as error:
            # Errors that the settings and the walk do not expect.
            raise environment_error(error) from None

    def _status_error(self, response: httpx.Response, attempts: int) -> ClaudeCodeAPIError:
        status = response.status_code
        envelope = read_error_envelope(response)
        error_class, advice = self._meaning(status, envelope)
        request_id = response.headers.get("request-id") or (envelope.request_id if envelope else None)
        request_id = request_id and self.quoted(request_id, 100)
        error_type = self.quoted(envelope.error.type, 100) if envelope else None
        said = (
            self.quoted(f"{envelope.error.type}: {envelope.error.message or ''}")
            if envelope
            else "not in the API's error format, so a proxy or another server may have answered"
        )
        return error_class(
            # Advice before details, since the UI shows the message of a connection test only for seconds.
            f"The request for {self.subject} failed with status {status}{_times(attempts)}. {advice} "
            f"({said}; request-id {request_id})",
            status=status,
            error_type=error_type,
            request_id=request_id,
        )

    def _meaning(self, status: int, envelope: ErrorEnvelope | None) -> Meaning:
        code = envelope.error_code if envelope else None
        if code == "api_key_scope_missing":
            needed = f"The key lacks the scope that this needs: {self._needed_scopes()}. "
            return ClaudeCodePermissionError, f"{needed}{_KEY_ADVICE}"
        if code in _BY_CODE:
            return _BY_CODE[code]
        if envelope is None and status in _FROM_ELSEWHERE:
            return _FROM_ELSEWHERE[status]
        if envelope is not None and envelope.error.type == "forbidden" and status == 403:
            return _REFUSED_NETWORK
        error_class, advice = _BY_STATUS.get(status, _SERVER_PROBLEM if status >= 500 else _REFUSED_REQUEST)
        if self.later_page and error_class is ClaudeCodeBadRequestError and 400 <= status != 407:
            return _EXPIRED_CURSOR
        if envelope is not None and status in (401, 403):
            needed = f"This needs the scope {self._needed_scopes()}. " if status == 403 else ""
            return error_class, f"{self._about_the_key(status, envelope)}{needed}{advice}"
        return error_class, advice

    def _needed_scopes(self) -> str:
        if self.enterprise_scope is None:
            return "org:admin"
        return f"org:admin, or {self.enterprise_scope} with a Claude Enterprise key ({_ENTERPRISE_KEY})"

    def _about_the_key(self, status: int, envelope: ErrorEnvelope) -> str:
        key, bearer = self.settings.api_key, self.settings.authentication == "bearer"
        if status == 401 and "expired" in (envelope.error.message or "").lower():
            what = "OAuth token" if bearer else "key"
            lasting = " A person's token expires within hours." if bearer else " Create a new one."
            return f"The {what} has expired.{lasting} "
        if bearer and key.startswith(("sk-ant-admin", "sk-ant-api")):
            return "This looks like an API key, and is sent as an OAuth token: set authentication to api_key. "
        if not bearer and key.startswith("sk-ant-oat"):
            return "This looks like an OAuth token, and is sent as an API key: set authentication to bearer. "
        if self.enterprise_scope and key.startswith(_ENTERPRISE_KEY):
            return ""
        return next((f"{hint} " for prefix, hint in _KINDS_OF_KEYS if key.startswith(prefix)), "")

    def _connection_error(self, error: httpx.RequestError, attempts: int) -> ClaudeCodeAPIError:
        said = f"{type(error).__name__}: {self.quoted(str(error))}"
        status = proxy_status(error) if isinstance(error, httpx.ProxyError) else None
        if status is not None and 400 <= status < 500:
            error_class, advice = _PROXY_CREDENTIALS if status == 407 else _REFUSED_BY_PROXY
            return error_class(
                f"The proxy refused the request for {self.subject} with status {status}{_times(attempts)}. {advice} "
                f"({said})",
                status=status,
            )
        advice = (
            "The server's certificate is not trusted; point SSL_CERT_FILE at the file with your "
            "organisation's CA certificate."
            if is_certificate_failure(error)
            else "Check the base URL, the network and the proxy (HTTPS_PROXY, NO_PROXY)."
        )
        base_url = self.quoted(self.settings.base_url)
        return ClaudeCodeConnectionError(
            f"The request to {base_url} for {self.subject} failed{_times(attempts)}: {said}. {advice}"
        )


def _times(attempts: int) -> str:
    return "" if attempts == 1 else f", {attempts} times"

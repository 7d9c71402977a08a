"""Reads the settings from a Connection of the type ``claude_code``."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.api.settings import DEFAULT_PORTS, ClientSettings, parse_base_url
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeMissingConnectionError
from airflow_provider_claude_code.get_provider_info import CONNECTION_FIELDS
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.version_compat import AirflowNotFoundException, mask_secret

if TYPE_CHECKING:
    from airflow.sdk import Connection

_MASK = "***"
"""The text that Airflow shows instead of a secret."""

DURING_AN_OUTAGE = "If it exists, Airflow could not reach its database or the secrets backend: try again."
"""The end of errors about a Connection that Airflow does not find."""


@contextmanager
def connection_errors(conn_id: str) -> Iterator[None]:
    """Raise new errors with the id of the Connection, since tools may show the Connection in the old traceback."""
    try:
        yield
    except AirflowNotFoundException:
        raise ClaudeCodeMissingConnectionError(
            f"Airflow finds no Connection {quoted(conn_id)!r}. Correct its id, or create it: airflow connections add "
            f"{shlex.quote(quoted(conn_id))} --conn-type claude_code --conn-password KEY. If its value is JSON in an "
            "environment variable or a secrets backend, check the JSON: Airflow skips a value that it cannot read. "
            f"{DURING_AN_OUTAGE}"
        ) from None
    except ClaudeCodeConfigurationError as error:
        raise ClaudeCodeConfigurationError(f"{error_prefix(conn_id)}{error}") from None


def error_prefix(conn_id: str) -> str:
    """Return the beginning of errors about a Connection. Somebody may have passed the key as its id."""
    return f"Connection {quoted(conn_id)!r}: "


def client_settings(connection: Connection) -> ClientSettings:
    """Read the fields of the Connection. An empty field means its default, since forms store empty fields."""
    extra = checked_extra(connection)
    if connection.password == _MASK:
        raise ClaudeCodeConfigurationError(
            f"Airflow passed {_MASK} instead of the admin API key. Airflow 3.3.1 does so when it tests a "
            "Connection without an API base URL or port: enter both, for example https://api.anthropic.com and 443."
        )
    if not (connection.conn_type or connection.password):
        raise ClaudeCodeConfigurationError(
            "Its value is not a Connection, as if only the key were stored. Store JSON instead: "
            '{"conn_type": "claude_code", "password": "sk-ant-admin01-..."}'
        )
    given = {
        field.name: extra.get(field.name) for field in dataclasses.fields(ClientSettings) if field.name != "api_key"
    } | {"base_url": _base_url(connection)}
    numbers: dict[str, Callable[[Any], Any]] = {
        "page_limit": _whole,
        "request_timeout": float,
        "retry_budget": float,
        "requests_per_minute": _whole,
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == "":
            continue
        # Connections from URIs and environment variables contain text where forms store numbers.
        values[name] = _number(numbers[name], value) if name in numbers else str(value)
        if values[name] is None:
            kind = "a whole number" if numbers[name] is _whole else "a number"
            raise ClaudeCodeConfigurationError(f"{name} must be {kind}.")
    return ClientSettings(api_key=connection.password or "", **values)


def _base_url(connection: Connection) -> str:
    """Return the API's base URL with the Connection's port, in one form, so that lineage has a single name for it."""
    url: str = (connection.host or ClientSettings.base_url).rstrip("/")
    # Some secrets backends, such as Vault's, pass text. Airflow's UI sends 0 for an empty port.
    port = _number(_whole, connection.port or 0)
    if port == 0:
        return url
    if port is None:
        raise ClaudeCodeConfigurationError("The port must be a whole number.")
    if not 0 < port <= 65535:
        raise ClaudeCodeConfigurationError(f"The port must be 1 to 65535, not {port}.")
    parsed = parse_base_url(url)
    # httpx does not distinguish an explicit default port from an implicit one.
    written = re.match(r"[^/]*:([0-9]+)(/|$)", url.partition("//")[2])
    if port == (int(written[1]) if written else DEFAULT_PORTS[parsed.scheme]):
        return url
    if written:
        raise ClaudeCodeConfigurationError(
            f"The port is {port}, but the API base URL has port {written[1]}: make them the same."
        )
    return str(parsed.copy_with(port=port))


def checked_extra(connection: Connection) -> Mapping[str, Any]:
    """
    Return a Connection's extra.

    :raises ClaudeCodeConfigurationError: it is not a JSON object, or has an unknown field.
    """
    # Airflow's extra_dejson ignores text that is not JSON, and fails on a dict, which some secrets backends pass.
    extra: Any = connection.extra or {}
    if isinstance(extra, str):
        with suppress(ValueError):
            extra = json.loads(extra)
    if not isinstance(extra, Mapping):
        raise ClaudeCodeConfigurationError("The extra is not a JSON object.")
    mask_secret(dict(extra))
    for name in extra:
        if name not in CONNECTION_FIELDS:
            # Quote no name, since it may be a key in the wrong place.
            shown = name if re.fullmatch(r"\w{1,40}", name) else "a field"
            similar = difflib.get_close_matches(name.lower(), CONNECTION_FIELDS, n=1)
            hint = f"Did you mean {similar[0]}?" if similar else f"The fields are {', '.join(CONNECTION_FIELDS)}."
            raise ClaudeCodeConfigurationError(f"The extra has {shown}, which this provider does not know. {hint}")
    return extra


def _number(kind: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, bool):
        return None
    # Python's error quotes the value, which may be a key in the wrong field.
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: Any) -> int:
    # Through text, since int() would silently truncate 12.5 from a form to 12.
    return int(str(value))

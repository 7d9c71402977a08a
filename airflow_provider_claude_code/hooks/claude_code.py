"""The hook for the Claude Code Analytics API."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
from airflow_provider_claude_code.api.paging import start_again_once
from airflow_provider_claude_code.api.settings import DEFAULT_PORTS, ClientSettings, parse_base_url
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodeError
from airflow_provider_claude_code.get_provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.version_compat import (
    AirflowFailException,
    AirflowNotFoundException,
    BaseHook,
    mask_secret,
)

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import Connection

    from airflow_provider_claude_code.api.models import Organization
    from airflow_provider_claude_code.api.paging import Page
    from airflow_provider_claude_code.streams.base import Stream

TEST_RETRY_BUDGET = 5.0
"""Seconds for retries in a connection test, where somebody waits for the answer."""
TEST_REQUEST_TIMEOUT = 10.0
"""Seconds to wait for each part of a response there."""

_MASK = "***"
"""What Airflow shows instead of a secret."""


class ClaudeCodeHook(BaseHook):
    """
    Reads an organisation's Claude Code usage, one UTC day at a time.

    The Connection has the type ``claude_code``, the admin API key as password, the API's base URL as host
    (default ``https://api.anthropic.com``), and in extra the optional fields of its form: ``authentication``,
    ``page_limit``, ``request_timeout``, ``retry_budget``, ``anthropic_version``, ``user_agent_suffix`` and
    ``pseudonym_secret``. ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured.

    The Connection's port is optional too. It is used when the base URL names no port; when both name one, they
    must be equal. Port 0 means that there is none.

    :param claude_code_conn_id: id of the Connection.
    """

    conn_name_attr = "claude_code_conn_id"
    default_conn_name = "claude_code_default"
    conn_type = "claude_code"
    hook_name = "Claude Code Analytics"

    def __init__(self, claude_code_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.claude_code_conn_id = claude_code_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow 3.0 and 3.1, which do not read them from the metadata."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import IntegerField, PasswordField, StringField
        from wtforms.validators import Optional, any_of

        widgets = {}
        for name, field in CONNECTION_FIELDS.items():
            schema = field["schema"]
            secret = schema.get("format") == "password"
            field_class = PasswordField if secret else StringField
            widgets[name] = (IntegerField if "integer" in schema["type"] else field_class)(
                lazy_gettext(field["label"]),
                description=field["description"],
                default=schema.get("default"),
                validators=[Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])],
                widget=BS3PasswordFieldWidget() if secret else BS3TextFieldWidget(),
            )
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels of the form's standard fields for Airflow 3.0 and 3.1."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @cached_property
    def settings(self) -> ClientSettings:
        """
        What the Connection says, checked.

        :raises ClaudeCodeConfigurationError: a value of the Connection cannot be used.
        """
        with _without_the_connection(self.claude_code_conn_id):
            return self._read_settings()

    def _read_settings(self) -> ClientSettings:
        connection = self.get_connection(self.claude_code_conn_id)
        return _client_settings(connection, connection.extra_dejson)

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """
        The pseudonyms of the Connection's ``pseudonym_secret``.

        :raises ClaudeCodeConfigurationError: the Connection has none, or one that could be guessed.
        """
        with _without_the_connection(self.claude_code_conn_id):
            return self._read_pseudonyms()

    def _read_pseudonyms(self) -> Pseudonyms:
        extra = _checked_extra(self.get_connection(self.claude_code_conn_id).extra_dejson)
        secret = extra.get("pseudonym_secret")
        if not secret:
            return Pseudonyms(None)
        # A Connection in JSON may hold a number.
        mask_secret(str(secret))
        return Pseudonyms(str(secret))

    def get_conn(self) -> ClaudeCodeClient:
        """
        Return the hook's API client, which keeps its connection open between calls.

        :raises ClaudeCodeConfigurationError: the Connection cannot be used.
        """
        return self._client

    @cached_property
    def _client(self) -> ClaudeCodeClient:
        return ClaudeCodeClient(self.settings)

    async def get_async_conn(self) -> AsyncClaudeCodeClient:
        """
        Return a new API client for an event loop; to be used as an async context manager.

        :raises ClaudeCodeConfigurationError: the Connection cannot be used.
        """
        # Airflow's own async calls for Connections fail or deadlock before 3.3.2 (apache/airflow#71891) and are missing
        # from 3.0. In asgiref's thread the synchronous ones work in the triggerer of every version; in another thread
        # they do not, as they have to find back to the triggerer's event loop.
        return AsyncClaudeCodeClient(await sync_to_async(lambda: self.settings)())

    def get_organization(self) -> Organization:
        """
        Return the organisation that the key belongs to.

        :raises ClaudeCodeAPIError: the API does not say.
        """
        return self.get_conn().get_organization()

    def iter_pages(self, day: str | date, stream: str = "usage") -> Iterator[Page]:
        """
        Yield the pages of one UTC day. Looking at their records checks them.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :raises ClaudeCodeAPIError: the day cannot be read whole; what came before must not be used then.
        """
        return self.get_conn().iter_pages(find_stream(stream).requests(parse_day(day), self.settings.page_limit))

    def iter_records(self, day: str | date, stream: str = "usage") -> Iterator[Any]:
        """
        Yield the typed records of one UTC day; of ``usage`` they are
        :class:`~airflow_provider_claude_code.streams.usage.models.Record`.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :raises ClaudeCodeAPIError: the day cannot be read whole; what came before must not be used then.
        """
        for page in self.iter_pages(day, stream):
            yield from page.records

    def has_records(self, day: str | date, stream: str = "usage") -> bool:
        """
        Tell whether the API has a record of a UTC day, reading as little as possible.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to look into.
        :raises ClaudeCodeAPIError: the API does not say.
        """
        return self.get_conn().has_records(lambda: find_stream(stream).requests(parse_day(day), 1))

    def get_df(
        self, day: str | date, table: str = "usage", *, stream: str = "usage", actor_identity: str = "plain"
    ) -> pd.DataFrame:
        """
        Return one table of a UTC day as a DataFrame.

        Its columns are Arrow-backed, so that counts stay integers beside nulls, money stays exact decimals
        (in cents) and days stay dates.

        :param day: ``YYYY-MM-DD`` or a date.
        :param table: a table of the stream.
        :param stream: the stream to read.
        :param actor_identity: ``plain``, or ``hmac`` for pseudonyms.
        :raises ClaudeCodeAPIError: the day cannot be read whole.
        """
        import pandas as pd
        import pyarrow as pa

        from airflow_provider_claude_code.tables.spool import arrow_schema, arrow_tables

        read_stream = find_stream(stream)
        if table not in read_stream.table_names:
            raise ClaudeCodeConfigurationError(
                f"table is {table!r}; one of {', '.join(read_stream.table_names)} was expected."
            )
        if actor_identity not in ("plain", "hmac"):
            raise ClaudeCodeConfigurationError(f"actor_identity is {actor_identity!r}; plain or hmac was expected.")
        day = parse_day(day)
        pseudonyms = self.pseudonyms if actor_identity == "hmac" else None
        loaded_at = datetime.now(UTC)
        contract = DATA_TABLES[table]

        def read() -> list[pa.Table]:
            flattener = read_stream.flattener(day, pseudonyms)
            pages = self.iter_pages(day, stream)
            return [arrow_tables(flattener.flatten(page.records), [contract], loaded_at)[table] for page in pages]

        rows = pa.concat_tables([arrow_schema(contract).empty_table(), *start_again_once(read)])
        frame: pd.DataFrame = rows.to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def test_connection(self) -> tuple[bool, str]:
        """
        Tell in a sentence which organisation the key belongs to, or what is wrong with the Connection.

        Asks for the organisation, which a key may be allowed to read without the report, and then for the
        report itself. Never raises; the message never holds the key.
        """
        # A day that is past the freshness delay whatever the hour.
        day = datetime.now(UTC).date() - timedelta(days=2)
        try:
            settings = dataclasses.replace(
                self.settings,
                retry_budget=min(self.settings.retry_budget, TEST_RETRY_BUDGET),
                request_timeout=min(self.settings.request_timeout, TEST_REQUEST_TIMEOUT),
            )
            with ClaudeCodeClient(settings) as client:
                organization = client.get_organization()
                client.has_records(lambda: USAGE.requests(day, 1))
        except ClaudeCodeError as error:
            return False, str(error)
        except Exception as error:
            self.log.exception("The connection test failed unexpectedly")
            return False, f"The connection could not be tested ({type(error).__name__}); see the log."
        return True, (
            f"The key belongs to the organisation {quoted(organization.name)} ({quoted(organization.id)}) and may "
            f"read its Claude Code usage. {USAGE.coverage}"
        )


def find_stream(name: str) -> Stream:
    """
    Return a stream.

    :param name: its name.
    :raises ClaudeCodeConfigurationError: there is none of this name.
    """
    if name not in STREAMS:
        raise ClaudeCodeConfigurationError(f"stream is {name!r}; one of {', '.join(STREAMS)} was expected.")
    return STREAMS[name]


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """
    Let a task fail at once for what another try cannot mend.

    :raises AirflowFailException: instead of a :class:`ClaudeCodeError` that is not ``retryable``, and for a Connection
        of any kind that does not exist.
    """
    try:
        yield
    except AirflowNotFoundException as error:
        raise AirflowFailException(f"{error}. Create the Connection, or correct its id in the task.") from error
    except ClaudeCodeError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def _without_the_connection(conn_id: str) -> Iterator[None]:
    """Raise anew what refuses the Connection: the old traceback holds it, and some tools show what one holds."""
    try:
        yield
    except AirflowNotFoundException:
        raise ClaudeCodeConfigurationError(
            f"There is no Connection {conn_id!r}. Create it, or correct claude_code_conn_id."
        ) from None
    except ClaudeCodeConfigurationError as error:
        raise ClaudeCodeConfigurationError(str(error)) from None


def _client_settings(connection: Connection, extra: Any) -> ClientSettings:
    """Read the Connection's fields; an empty one, which forms store too, means its default."""
    extra = _checked_extra(extra)
    if connection.password == _MASK:
        raise ClaudeCodeConfigurationError(
            f"Airflow passed {_MASK} instead of the admin API key. Airflow 3.3.1 does so when it tests a "
            "Connection without an API base URL or port: enter both, for example https://api.anthropic.com and 443."
        )
    given = {
        field.name: extra.get(field.name) for field in dataclasses.fields(ClientSettings) if field.name != "api_key"
    } | {"base_url": _base_url(connection)}
    numbers: dict[str, Callable[[Any], Any]] = {"page_limit": _whole, "request_timeout": float, "retry_budget": float}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == "":
            continue
        # Connections from URIs and environment variables hold text where forms store numbers.
        values[name] = _number(numbers[name], value) if name in numbers else str(value)
        if values[name] is None:
            kind = "a whole number" if numbers[name] is _whole else "a number"
            raise ClaudeCodeConfigurationError(f"The Connection's {name} is not {kind}.")
    return ClientSettings(api_key=connection.password or "", **values)


def _base_url(connection: Connection) -> str:
    """Return the API's base URL with the Connection's port."""
    url: str = connection.host or ClientSettings.base_url
    port = connection.port
    # Airflow's UI sends 0 for an empty port.
    if not port:
        return url
    if not 0 < port <= 65535:
        raise ClaudeCodeConfigurationError(f"The Connection's port is {port}; 1 to 65535 was expected.")
    parsed = parse_base_url(url)
    # httpx does not tell a default port that is written from one that is not.
    written = re.match(r"[^/]*:([0-9]+)(/|$)", url.partition("//")[2])
    # A default port is not added, so that assets and lineage have one name for one API.
    if port == (int(written[1]) if written else DEFAULT_PORTS[parsed.scheme]):
        return url
    if written:
        raise ClaudeCodeConfigurationError(
            f"The Connection's port is {port}, but its API base URL has port {written[1]}: make them the same."
        )
    return str(parsed.copy_with(port=port))


def _checked_extra(extra: Any) -> Mapping[str, Any]:
    if not isinstance(extra, Mapping):
        raise ClaudeCodeConfigurationError("The Connection's extra is not a JSON object.")
    for name in extra:
        if name not in CONNECTION_FIELDS:
            # A name may be a key in the wrong place.
            named = name if re.fullmatch(r"\w{1,40}", name) else "a field"
            similar = difflib.get_close_matches(name.lower(), CONNECTION_FIELDS, n=1)
            hint = f"Did you mean {similar[0]}?" if similar else f"The fields are {', '.join(CONNECTION_FIELDS)}."
            raise ClaudeCodeConfigurationError(
                f"The Connection's extra has {named}, which this provider does not know. {hint}"
            )
    return extra


def _number(kind: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, bool):
        return None
    # What Python raises quotes the value, which may be a key in the wrong field.
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: Any) -> int:
    # Through text, since int() alone would cut the 12.5 of a form to 12 in silence.
    return int(str(value))

"""The hook for the Claude Code Analytics API."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_claude_code.api.rate_limit import RateLimit
from airflow_provider_claude_code.api.settings import ClientSettings
from airflow_provider_claude_code.connection import (
    DURING_AN_OUTAGE,
    checked_extra,
    client_settings,
    connection_errors,
    error_prefix,
)
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAPIError,
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodeMissingConnectionError,
)
from airflow_provider_claude_code.get_provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS, find_stream
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.templates import one_of
from airflow_provider_claude_code.version_compat import (
    AirflowFailException,
    AirflowNotFoundException,
    BaseHook,
    mask_secret,
)

if TYPE_CHECKING:
    import pandas as pd

    from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient, ClaudeCodeClient
    from airflow_provider_claude_code.api.models import Organization
    from airflow_provider_claude_code.api.paging import Page
    from airflow_provider_claude_code.streams.base import Filters, Stream

TEST_RETRY_BUDGET = 5.0
"""Retry budget of a connection test in seconds, since a user waits for the answer."""
TEST_REQUEST_TIMEOUT = 10.0
"""Seconds to wait for each part of a response in a connection test."""


class ClaudeCodeHook(BaseHook):
    """
    Reads an organisation's Claude Code usage, one UTC day at a time.

    The Connection has the type ``claude_code``. Its password is the admin API key, and its host is the base URL of the
    API (default ``https://api.anthropic.com``). The port is optional: it is added to a base URL without a port, and
    must be equal to that of a base URL with one. Port 0 means no port. The extra may have the fields of the form:
    ``authentication``, ``page_limit``, ``request_timeout``, ``retry_budget``, ``requests_per_minute``,
    ``anthropic_version``, ``user_agent_suffix`` and ``pseudonym_secret``. The environment variables ``HTTPS_PROXY``,
    ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured.

    :param claude_code_conn_id: id of the Connection.
    """

    conn_name_attr = "claude_code_conn_id"
    default_conn_name = "claude_code_default"
    conn_type = "claude_code"
    hook_name = "Claude Code Analytics"

    def __init__(self, claude_code_conn_id: str = default_conn_name) -> None:
        super().__init__()
        # A native template makes a number of an id that looks like one.
        self.claude_code_conn_id = str(claude_code_conn_id)
        self._organization: Organization | None = None

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
        The checked settings of the Connection.

        :raises ClaudeCodeConfigurationError: a value of the Connection cannot be used.
        """
        with connection_errors(self.claude_code_conn_id):
            return client_settings(self.get_connection(self.claude_code_conn_id))

    def has_another_key(self) -> bool:
        """Return whether the Connection has another key than when its settings were read."""
        try:
            return ClaudeCodeHook(self.claude_code_conn_id).settings.api_key != self.settings.api_key
        except ClaudeCodeConfigurationError:
            return False

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """
        The pseudonyms of the Connection's ``pseudonym_secret``.

        :raises ClaudeCodeConfigurationError: the Connection has none, or one that could be guessed.
        """
        with connection_errors(self.claude_code_conn_id):
            return Pseudonyms(self._read_pseudonym_secret())

    def _read_pseudonym_secret(self) -> str | None:
        secret = checked_extra(self.get_connection(self.claude_code_conn_id)).get("pseudonym_secret")
        if not secret:
            return None
        # A Connection in JSON may hold a number.
        mask_secret(str(secret))
        return str(secret)

    def get_conn(self) -> ClaudeCodeClient:
        """
        Return this thread's API client, which keeps its connection open between calls.

        The clients of all threads share the Connection's ``requests_per_minute``.

        :raises ClaudeCodeConfigurationError: the Connection cannot be used.
        """
        # Imported here and in other methods, since a Dag file does not need it.
        from airflow_provider_claude_code.api.client import ClaudeCodeClient

        clients = self._clients
        if not hasattr(clients, "own"):
            clients.own = ClaudeCodeClient(self.settings, rate_limit=self._rate_limit)
        client: ClaudeCodeClient = clients.own
        return client

    @cached_property
    def _clients(self) -> threading.local:
        return threading.local()

    @cached_property
    def _rate_limit(self) -> RateLimit:
        return RateLimit(self.settings.requests_per_minute)

    async def get_async_conn(self) -> AsyncClaudeCodeClient:
        """
        Return a new API client for an event loop. Use it as an async context manager.

        :raises ClaudeCodeConfigurationError: the Connection cannot be used.
        """

        # Airflow's own async calls for Connections fail or deadlock before 3.3.2 (apache/airflow#71891) and are missing
        # from 3.0. In asgiref's thread the synchronous ones work in the triggerer of every version; in another thread
        # they do not, as they have to find back to the triggerer's event loop. Creating the client there as well keeps
        # the event loop free while it is imported and reads the certificates.
        def create() -> AsyncClaudeCodeClient:
            from airflow_provider_claude_code.api.client import AsyncClaudeCodeClient

            return AsyncClaudeCodeClient(self.settings)

        from asgiref.sync import sync_to_async

        return await sync_to_async(create)()

    def get_organization(self) -> Organization:
        """
        Return the organisation that the key belongs to. Only the first call sends a request.

        :raises ClaudeCodeAPIError: the request fails.
        """
        if self._organization is None:
            self._organization = self.get_conn().get_organization()
        return self._organization

    def find_organization_name(self, organization_id: str) -> str | None:
        """
        Return the name of the key's organisation, or None if the API does not return it at the first attempt.

        :param organization_id: the organisation that is meant.
        """
        try:
            # Do not wait for a name.
            organization = self._organization or self.get_conn().get_organization(without_retries=True)
        except ClaudeCodeError as error:
            self.log.info("The name of the organisation is unknown: %s", error)
            return None
        return organization.name if organization.id == organization_id else None

    def iter_pages(self, day: str | date, stream: str = "usage", filters: Filters | None = None) -> Iterator[Page]:
        """
        Yield the pages of one UTC day. The records of a page are checked when they are read.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :param filters: filters instead of the stream's defaults, such as ``{"products": ["claude_code"]}``.
        :raises ClaudeCodeAPIError: the day cannot be read completely. Do not use the pages before.
        :raises ClaudeCodeConfigurationError: the Connection or an argument cannot be used.
        """
        walk = find_stream(stream).walk(parse_day(day), self.settings.page_limit, filters)
        return self.get_conn().iter_pages(walk)

    def iter_records(self, day: str | date, stream: str = "usage", filters: Filters | None = None) -> Iterator[Any]:
        """
        Yield the typed records of one UTC day. Those of ``usage`` are
        :class:`~airflow_provider_claude_code.streams.usage.models.Record`. The total of ``cost`` is not among them.

        A day that is not complete yet has the records so far. The sensor waits until it is complete.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :param filters: filters instead of the stream's defaults.
        :raises ClaudeCodeAPIError: the day cannot be read completely. Do not use the records before.
        """
        for page in self.iter_pages(day, stream, filters):
            yield from page.new_records

    def has_records(self, day: str | date, stream: str = "usage") -> bool:
        """
        Return whether the API has a record of a UTC day. It reads as little as possible.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :raises ClaudeCodeAPIError: a request fails.
        """
        return self.get_conn().has_records(lambda: find_stream(stream).walk(parse_day(day), 1))

    def as_of(self, day: str | date, stream: str = "usage") -> datetime:
        """
        Return the time up to which the API has the data of a UTC day: now, unless the answers of the stream say it.

        :param day: ``YYYY-MM-DD`` or a date.
        :param stream: the stream to read.
        :raises ClaudeCodeAPIError: the request fails.
        """
        asked = find_stream(stream)
        if asked.as_of is None:
            return datetime.now(UTC)
        return asked.as_of(*self.get_conn().first_page(lambda: asked.walk(parse_day(day), 1)))

    def get_df(
        self,
        day: str | date,
        table: str = "usage",
        *,
        actor_identity: str = "plain",
        filters: Filters | None = None,
    ) -> pd.DataFrame:
        """
        Return one table of a UTC day as a DataFrame.

        The columns are Arrow-backed: counts with nulls stay integers, money stays exact decimals (in cents), and days
        stay dates. A day that is not complete yet has the rows so far.

        :param day: ``YYYY-MM-DD`` or a date. Lists ignore it, since they describe the current state.
        :param table: a table of any stream.
        :param actor_identity: ``plain``, or ``hmac`` for pseudonyms.
        :param filters: filters instead of the stream's defaults.
        :raises ClaudeCodeAPIError: the day cannot be read completely.
        """
        import pandas as pd
        import pyarrow as pa

        from airflow_provider_claude_code.api.paging import start_again
        from airflow_provider_claude_code.tables.spool import arrow_schema, arrow_tables

        stream = next((stream for stream in STREAMS.values() if table in stream.table_names), None)
        if stream is None:
            raise ClaudeCodeConfigurationError(f"table is {table!r}; one of {', '.join(DATA_TABLES)} was expected.")
        one_of("actor_identity", actor_identity, ("plain", "hmac"))
        day = datetime.now(UTC).date() if stream.is_snapshot else parse_day(day)
        pseudonyms = self.pseudonyms if actor_identity == "hmac" else None
        loaded_at = datetime.now(UTC)
        contract = DATA_TABLES[table]
        schema = arrow_schema(contract)

        def read() -> list[pa.Table]:
            flattener = stream.flattener(day, pseudonyms)
            pages = self.iter_pages(day, stream.name, filters)
            # Not in a variable, since tracebacks may show variables.
            return [
                arrow_tables(flattener.flatten(page.records), [contract], loaded_at)[table].cast(schema)
                for page in pages
            ]

        rows = pa.concat_tables([schema.empty_table(), *start_again(read, stream.restarts)])
        frame: pd.DataFrame = rows.to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def test_connection(self) -> tuple[bool, str]:
        """
        Return which organisation the key belongs to and what it may read, or what is wrong with the Connection.

        Asks for the organisation, which a key may be allowed to read without the usage, and then for each stream. A key
        that may read the usage is good. A pseudonym secret is checked if there is one. Never raises; the message never
        contains the key.
        """
        from airflow_provider_claude_code.api.client import ClaudeCodeClient

        # A day that is past the freshness delay at any hour.
        day = datetime.now(UTC).date() - timedelta(days=2)
        try:
            settings = dataclasses.replace(
                self.settings,
                retry_budget=min(self.settings.retry_budget, TEST_RETRY_BUDGET),
                request_timeout=min(self.settings.request_timeout, TEST_REQUEST_TIMEOUT),
            )
            if self._read_pseudonym_secret():
                _ = self.pseudonyms
            with ClaudeCodeClient(settings) as client:
                organization = client.get_organization()
                client.has_records(lambda: USAGE.walk(day, 1))
                others = {stream.name: _refusal(client, stream, day) for stream in STREAMS.values() if stream != USAGE}
        except ClaudeCodeError as error:
            # Airflow's form tests a Connection under a random id.
            return False, str(error).removeprefix(error_prefix(self.claude_code_conn_id))
        except Exception as error:
            self.log.exception("The connection test failed unexpectedly")
            return False, f"The connection could not be tested ({type(error).__name__}); see the log."
        return True, (
            f"The key belongs to the organisation {quoted(organization.name)} ({quoted(organization.id)}) and may "
            f"read its Claude Code usage. {_in_words(others)}{USAGE.coverage}"
        )


def _refusal(client: ClaudeCodeClient, stream: Stream, day: date) -> str | None:
    """Return in one word why a stream cannot be read; ``None`` if it can."""
    try:
        client.has_records(lambda: stream.walk(day, 1))
    except ClaudeCodeAPIError as error:
        return str(error.status or "no answer")
    return None


def _in_words(refusals: Mapping[str, str | None]) -> str:
    readable = [name for name, refusal in refusals.items() if refusal is None]
    refused = [f"{name} ({refusal})" for name, refusal in refusals.items() if refusal is not None]
    may = f"It may also read the streams {', '.join(readable)}. " if readable else ""
    return may + (f"It cannot read the streams {', '.join(refused)}. " if refused else "")


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """
    Fail a task without retries for a permanent error.

    :raises AirflowFailException: instead of a :class:`ClaudeCodeError` that is not ``retryable``.
    :raises ClaudeCodeMissingConnectionError: Airflow finds no Connection, of any kind.
    """
    try:
        yield
    except AirflowNotFoundException as error:
        raise ClaudeCodeMissingConnectionError(
            f"{error}. Create the Connection, or correct its id in the task. {DURING_AN_OUTAGE}"
        ) from None
    except ClaudeCodeError as error:
        if error.retryable:
            raise
        # Without the error itself, so that the log has its message once.
        raise AirflowFailException(str(error)) from error.__cause__

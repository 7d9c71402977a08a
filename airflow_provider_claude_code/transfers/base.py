"""The base of the load operators: the days to load, the loop over them, and the result of a run."""

from __future__ import annotations

import random
import shutil
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from airflow.sdk import Asset, BaseOperator

from airflow_provider_claude_code.api.read_ahead import work_ahead
from airflow_provider_claude_code.days import DEFAULT_DAY, parse_day
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeAuthenticationError,
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodeError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook, fail_without_retry
from airflow_provider_claude_code.lineage import add_hook_lineage, fill_asset_events
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.streams.registry import DATA_TABLES, find_stream
from airflow_provider_claude_code.tables.contract import FileFormat
from airflow_provider_claude_code.templates import is_template, listed, one_of, true_or_false, whole_number
from airflow_provider_claude_code.transfers.earlier_tries import EarlierTries
from airflow_provider_claude_code.transfers.lineage import openlineage_facets
from airflow_provider_claude_code.transfers.messages import (
    days_in_words,
    loaded_before,
    log_coverage,
    log_day,
    log_unknown_names,
    warn_of_skipped_days,
)
from airflow_provider_claude_code.transfers.period import days_to_load
from airflow_provider_claude_code.transfers.progress import Progress
from airflow_provider_claude_code.version_compat import AirflowSkipException

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_claude_code.streams.base import Filters
    from airflow_provider_claude_code.streams.reading import DayReader
    from airflow_provider_claude_code.tables.contract import Table
    from airflow_provider_claude_code.tables.loads import Load
    from airflow_provider_claude_code.targets.base import StartedLoad, Target

OnEmpty = Literal["write", "replace", "skip", "fail"]
ActorIdentity = Literal["plain", "hmac"]

_CHOICES = {
    "on_empty": get_args(OnEmpty),
    "actor_identity": get_args(ActorIdentity),
    "file_format": get_args(FileFormat),
}

PUBLISH_ATTEMPTS = 5
"""How often a day is loaded if another writer keeps replacing it."""
LONGEST_CONFLICT_PAUSE = 10.0
"""Maximum random wait in seconds before a day is loaded again."""
DAYS_AT_A_TIME = 4
"""
How many days of a period are read at the same time.

An answer takes up to some seconds, so these reach 60 requests a minute. Each takes the memory of a day's load.
"""


class ClaudeCodeTransferOperator(BaseOperator):
    """
    The base of the operators that load days of Claude Code usage.

    A day is published after its last page has arrived and been checked. A day that cannot be read completely changes
    nothing. A retry or a re-run replaces the day with what the API returns then.

    :param day: the UTC day to load, ``YYYY-MM-DD`` (templated). The default is ``day`` in the configuration of the run,
        else its partition key, else the day before the run. Snapshots (streams that describe the current state) are
        stored under the day on which the load begins, and skipped if ``day`` is more than two days before it.
    :param stream: the report or list of the API to load.
    :param filters: which records of the stream to load: for ``cost``, ``{"products": ["claude_code"]}`` is the default
        and ``{"products": []}`` loads the charges of all products. Each day of a table contains what its last
        load asked for.
    :param tables: which of the stream's tables to write (templated); default: all.
    :param first_day: load all days from this one to ``day`` (templated), oldest first, each one replaced whole: at most
        366. The default is ``first_day`` in the run's configuration; without one, ``lookback_days`` says where the
        days begin. Pages of several days are fetched at the same time.
    :param lookback_days: without ``first_day``, also load this number of days before ``day`` (templated). This adds
        usage that arrived late, and removes rows that the API no longer has. Backfill runs ignore it. Snapshots have no
        earlier days, and refuse it and ``first_day``.
    :param on_empty: what to do with a day without records in the API (templated). ``write`` publishes it, but fails if
        the target has rows of that day, since missing data in the API must not erase a good day; ``replace`` always
        publishes it; ``skip`` leaves the day as it is, and skips the task if all its days are empty; ``fail`` fails the
        task.
    :param actor_identity: how people and keys are identified in the tables (templated). ``plain`` keeps e-mail
        addresses and key names; ``hmac`` stores pseudonyms made with the Connection's ``pseudonym_secret``.
    :param allow_incomplete: also load a day that is not complete yet; ``complete`` is then false in ``loads``, the XCom
        and asset events.
    :param claude_code_conn_id: the Connection (templated).
    :param file_format: the format of the files (templated). BigQuery accepts only ``parquet``.
    :raises AirflowFailException: a permanent error; the task does not retry.
    :raises AirflowSkipException: all days are empty, with ``on_empty="skip"``.
    :raises ClaudeCodeError: something that a retry may fix.
    """

    template_fields: Sequence[str] = (
        "day",
        "first_day",
        "tables",
        "lookback_days",
        "on_empty",
        "actor_identity",
        "file_format",
        "claude_code_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"tables": "json"}
    ui_color = "#e8d4c8"

    tables: tuple[str, ...]
    lookback_days: int

    def __init__(
        self,
        *,
        day: str = DEFAULT_DAY,
        stream: str = "usage",
        filters: Filters | None = None,
        tables: Iterable[str] | None = None,
        first_day: str | None = None,
        lookback_days: int | str = 0,
        on_empty: OnEmpty | str = "write",
        actor_identity: ActorIdentity | str = "plain",
        allow_incomplete: bool = False,
        claude_code_conn_id: str = ClaudeCodeHook.default_conn_name,
        file_format: FileFormat | str = "parquet",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.day = day
        self.stream = stream
        self._stream = find_stream(stream)
        self.filters = self._stream.chosen(filters)
        self.tables = self._stream.table_names if tables is None else tables  # type: ignore[assignment]
        self.first_day = first_day
        self.lookback_days = lookback_days  # type: ignore[assignment]
        self.on_empty = on_empty
        self.actor_identity = actor_identity
        self.allow_incomplete = true_or_false("allow_incomplete", allow_incomplete)
        self.claude_code_conn_id = claude_code_conn_id
        self.file_format = file_format
        # The summaries of the days, once they are loaded, for links and lineage.
        self.loaded: list[dict[str, Any]] = []
        self._spooling: Path | None = None
        self._settle_arguments(is_rendered=False)

    def _settle_arguments(self, *, is_rendered: bool = True) -> None:
        """Check the arguments. Those that are templates are checked when they are rendered, as the task runs."""

        def is_known(value: object) -> bool:
            return is_rendered or not is_template(value)

        if is_known(self.tables):
            self.tables = tuple(listed("tables", self.tables, self._stream.table_names))
        if is_known(self.lookback_days):
            self.lookback_days = whole_number("lookback_days", self.lookback_days, 0)
        for argument in ("first_day", "lookback_days"):
            value = getattr(self, argument)
            if value and is_known(value) and self._stream.is_snapshot:
                raise ClaudeCodeConfigurationError(
                    f"{argument} is {value}, but the stream {self.stream} describes the current "
                    "state only. Leave it out."
                )
        for argument, allowed in _CHOICES.items():
            if is_known(value := getattr(self, argument)):
                one_of(argument, value, allowed)

    @abstractmethod
    def open_target(self, context: Context) -> Target:
        """Return the target of the days."""

    @abstractmethod
    def table_uri(self, table: str) -> str:
        """Return the URI, percent-encoded, of the Asset that a table is."""

    @abstractmethod
    def openlineage_name(self, table: str) -> tuple[str, str]:
        """Return the namespace and the name that a table has in OpenLineage."""

    @property
    def table_contracts(self) -> list[Table]:
        """The tables that are written."""
        return [DATA_TABLES[table] for table in self.tables]

    @property
    def api_path(self) -> str:
        """The path of the API that is read."""
        return self._stream.path

    @cached_property
    def hook(self) -> ClaudeCodeHook:
        """The hook that reads the API."""
        return ClaudeCodeHook(self.claude_code_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the days and return what was loaded, a small dict per day."""
        with fail_without_retry():
            self._settle_arguments()
            reader = self._reader(context)
            progress = Progress(self._days(reader, context))
            target = self.open_target(context)
            if getattr(context["ti"], "try_number", 1) > 1:
                progress = EarlierTries.of(self, context).continued(progress, target)
            return self._load_days(target, reader, progress, context)

    def _reader(self, context: Context) -> DayReader:
        # Loads pyarrow, so not when a Dag file is parsed.
        from airflow_provider_claude_code.streams.reading import DayReader

        return DayReader(
            stream=self._stream,
            tables=self.table_contracts,
            file_format=cast("FileFormat", self.file_format),
            filters=self.filters,
            iter_pages=lambda day: self.hook.iter_pages(day, self.stream, self.filters),
            get_organization_id=lambda: self.hook.get_organization().id,
            find_organization_name=_once(self.hook.find_organization_name),
            get_pseudonyms=lambda: self.hook.pseudonyms if self.actor_identity == "hmac" else None,
            allow_incomplete=self.allow_incomplete,
            dag_id=context["ti"].dag_id,
            run_id=context["ti"].run_id,
        )

    def _days(self, reader: DayReader, context: Context) -> list[date]:
        """Return the days to load, oldest first."""
        last, now, run = parse_day(self.day), datetime.now(UTC), context["dag_run"]
        asked = self.first_day or (getattr(run, "conf", None) or {}).get("first_day")
        first = parse_day(asked, "first_day") if asked else None
        # The runs of a backfill load the earlier days themselves, possibly at the same time.
        lookback_days = 0 if run.run_type == "backfill" else self.lookback_days
        days = days_to_load(self._stream, first, last, lookback_days, now.date())
        if not self._stream.is_snapshot:
            reader.refuse_incomplete(last, as_of=now)
            warn_of_skipped_days(self, days, context)
        return days

    def on_kill(self) -> None:
        """Remove the spooled files at once: they name people, and SIGKILL may follow soon."""
        if self._spooling is not None:
            shutil.rmtree(self._spooling, ignore_errors=True)

    def _refuse_unusable_uris(self) -> None:
        """Refuse a place whose URIs Airflow refuses for assets."""
        try:
            for table in self.tables:
                Asset(self.table_uri(table))
        except ValueError as error:
            raise ClaudeCodeConfigurationError(
                f"Airflow refuses {self.table_uri(self.tables[0])[:200]} as the URI of an asset ({error}). Choose "
                "another place for the tables."
            ) from error

    def _load_days(self, target: Target, reader: DayReader, progress: Progress, context: Context) -> dict[str, Any]:
        """Load the days that are left, and report all."""
        self._refuse_unusable_uris()
        tries = EarlierTries.of(self, context)
        to_read = progress.days if progress.started is None else progress.days[1:]
        with spool_directory() as directory, closing(self._read(target, reader, to_read, directory)) as ahead:
            self._spooling = directory
            loads: Iterator[Load] = ahead
            try:
                while progress.days:
                    try:
                        summary = self._load_day(target, loads, progress)
                        progress = progress.done(summary)
                        if progress.days:
                            tries.keep(summary)
                    except SupersededError as conflict:
                        progress = self._try_again(progress, conflict)
                        loads = chain(self._read(target, reader, progress.days[:1], directory), loads)
            except ClaudeCodeError as error:
                if isinstance(error, ClaudeCodeAuthenticationError) and self.hook.has_another_key():
                    # As after a rotation of keys, or when a token expires that something else renews.
                    error.retryable = True
                    error.args = (f"{error} The Connection has another key by now, so a retry may succeed.",)
                if progress.loaded:
                    error.args = (f"{error} {loaded_before(progress)}",)
                raise
        tries.forget(progress.loaded[:-1])
        return self._report(progress.loaded, context)

    @property
    def _days_at_a_time(self) -> int:
        """How many days of a period are read at the same time."""
        return DAYS_AT_A_TIME

    def _read(
        self, target: Target, reader: DayReader, days: Sequence[date], directory: Path
    ) -> Generator[Load, None, None]:
        """Read days in their order, several at a time, each into a directory of its own."""
        from airflow_provider_claude_code.streams.reading import stopped_error

        def prepared() -> Iterator[tuple[date, Path, datetime | None]]:
            # Only this thread asks the target and makes folders.
            for day in days:
                folder = directory / day.isoformat()
                with typed_store_errors(directory.as_uri()):
                    try:
                        folder.mkdir(exist_ok=True)
                    except FileNotFoundError:
                        raise stopped_error(day) from None
                yield day, folder, target.last_loaded_at(day)

        def read(arguments: tuple[date, Path, datetime | None]) -> Load:
            with typed_store_errors(directory.as_uri()):
                return reader.read(*arguments)

        # Only this thread asks Airflow for Connections.
        self.hook.get_conn()
        reader.get_pseudonyms()
        return work_ahead(read, prepared(), max(1, min(len(days), self._days_at_a_time)))

    def _load_day(self, target: Target, loads: Iterator[Load], progress: Progress) -> dict[str, Any]:
        """Load the current day, or finish it if it was started before the task was deferred; return its summary."""
        summary, started = progress.summary, progress.started
        if started is None:
            summary, started = self._start(target, next(loads))
            if started is not None:
                self._on_started(replace(progress, summary=summary, started=started), started)
        if started is not None:
            summary |= self._finish(target, started)
        log_day(self._stream, summary, self.table_uri(self.tables[0]))
        return summary

    def _start(self, target: Target, load: Load) -> tuple[dict[str, Any], StartedLoad | None]:
        """Start to publish a day that was read; return its summary, and no load where an empty day is skipped."""
        try:
            if load.is_empty and self.on_empty == "fail":
                raise ClaudeCodeEmptyDayError(
                    f"The API has no records of {load.day}, and on_empty is 'fail'. {self._stream.coverage}"
                )
            if load.is_empty and self.on_empty == "skip":
                return load.summary() | {"published": False}, None
            with _retried_if_stopped(load):
                started = target.start(load, keep_rows=load.is_empty and self.on_empty == "write")
            return load.summary() | {"published": True}, started
        finally:
            shutil.rmtree(load.directory, ignore_errors=True)

    def _on_started(self, progress: Progress, started: StartedLoad) -> None:
        """Prepare to wait for a started load. A task that defers does not return."""

    def _finish(self, target: Target, started: StartedLoad) -> dict[str, Any]:
        """Finish a load and return where the tables are."""
        return target.finish(started)

    def _try_again(self, progress: Progress, conflict: SupersededError) -> Progress:
        day = progress.days[0]
        if progress.attempt == PUBLISH_ATTEMPTS:
            raise ClaudeCodePublishError(
                f"{day} was replaced by another writer {PUBLISH_ATTEMPTS} times while this task loaded it. Its tables "
                "may be of different loads. Let one task at a time load a day (max_active_runs=1, or a pool), then try "
                "again."
            )
        pause = random.uniform(0, LONGEST_CONFLICT_PAUSE)  # noqa: S311
        self.log.warning("%s; loading %s again in %.1f s", conflict, day, pause)
        time.sleep(pause)
        return progress.again()

    def _report(self, loaded: list[dict[str, Any]], context: Context) -> dict[str, Any]:
        """Report what was loaded: XCom, assets, lineage."""
        log_coverage(self._stream, loaded)
        if not any(day["published"] for day in loaded):
            raise AirflowSkipException(f"The API has no records of {days_in_words(loaded)}.")
        log_unknown_names(loaded, are_fields_kept=self.actor_identity == "plain")
        loaded = [{name: value for name, value in day.items() if name != "first_unknown_names"} for day in loaded]
        self.loaded = loaded
        summary: dict[str, Any] = {"days": loaded}
        uris = [self.table_uri(table) for table in self.tables]
        fill_asset_events(context, self.outlets, uris, summary)
        add_hook_lineage(self.hook, inputs=[self.hook.settings.base_url + self.api_path], outputs=uris)
        return summary

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what was read and written, for OpenLineage."""
        return openlineage_facets(self)


@contextmanager
def _retried_if_stopped(load: Load) -> Iterator[None]:
    """
    Let Airflow retry a task that it stops, as when its worker shuts down.

    ``on_kill`` removes the spooled files. The target then reports missing files, an error that is not retried.
    """
    try:
        yield
    except (ClaudeCodeError, OSError) as error:
        if load.directory.exists() or getattr(error, "retryable", False):
            raise
        raise ClaudeCodePublishError(
            f"The task was stopped while it published {load.day}, so some tables may have the new load and others the "
            "previous state. A retry loads the day again."
        ) from error


def _once(find: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return a thread-safe, cached version of a function."""
    cached, lock = cache(find), threading.Lock()

    def found(key: str) -> str | None:
        with lock:
            return cached(key)

    return found

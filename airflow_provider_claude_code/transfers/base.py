"""What all operators share: read a day whole, spool it, publish it, report it."""

from __future__ import annotations

import logging
import random
import shutil
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.sdk import Asset, AssetAlias, BaseOperator

from airflow_provider_claude_code.api.paging import start_again_once
from airflow_provider_claude_code.api.read_ahead import read_ahead
from airflow_provider_claude_code.days import DEFAULT_DAY, days_until, parse_day
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeEmptyDayError,
    ClaudeCodeIncompleteDayError,
    ClaudeCodePublishError,
    SupersededError,
)
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook, fail_without_retry, find_stream
from airflow_provider_claude_code.quoting import MOST_NAMES
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import FileFormat
from airflow_provider_claude_code.tables.loads import Load, begin_load
from airflow_provider_claude_code.version_compat import AirflowSkipException, get_hook_lineage_collector

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_claude_code.api.paging import Page
    from airflow_provider_claude_code.tables.contract import Table
    from airflow_provider_claude_code.targets.base import Target

OnEmpty = Literal["write", "replace", "skip", "fail"]
ActorIdentity = Literal["plain", "hmac"]

PUBLISH_ATTEMPTS = 5
"""How often a day is loaded again because another writer replaced it meanwhile."""
LONGEST_CONFLICT_PAUSE = 10.0
"""Seconds of the longest random wait before that."""
CLOCK_TOLERANCE = timedelta(minutes=2)
"""How far the worker's clock and the API's may be apart without a warning."""
PROGRESS_PAGES = 25
"""Pages after which a long day says how far it is."""


@dataclass(frozen=True)
class Progress:
    """
    How far a task is.

    :param days: the days that are left, the current one first.
    :param loaded: the summaries of those before.
    :param attempt: counts how often the current day was begun.
    """

    days: list[date]
    loaded: list[dict[str, Any]] = field(default_factory=list)
    attempt: int = 1


class ClaudeCodeTransferOperator(BaseOperator):
    """
    The base of the operators that load days of Claude Code usage.

    A day is published once its last page has arrived and been checked; one that cannot be read whole changes
    nothing. A retry or a re-run replaces the day by what the API then says.

    :param day: the UTC day to load, ``YYYY-MM-DD`` (templated). The default is the day that the run is about. Streams
        that say how things are now are filed under the day on which the load begins, and skipped for days before
        yesterday.
    :param stream: the report or list of the API to load.
    :param tables: which of the stream's tables to write; default: all.
    :param lookback_days: load that many earlier days as well, oldest first, each one whole by itself: usage
        that arrives late and rows that vanish are both repaired. A backfill's run loads its own day only.
    :param on_empty: what to do with a day of which the API has no records. ``write`` publishes it where the
        target holds no rows of that day, and else fails naming them, since an API gap must not erase a good
        day; ``replace`` publishes it all the same; ``skip`` leaves the day alone, and skips the task when all
        its days are empty; ``fail`` fails the task.
    :param actor_identity: ``plain`` keeps e-mail addresses and key names; ``hmac`` stores pseudonyms made with
        the Connection's ``pseudonym_secret``.
    :param allow_incomplete: also load a day that is not past the API's freshness delay; ``complete`` is then
        false wherever the load is reported.
    :param claude_code_conn_id: the Connection (templated).
    :param file_format: the format of the files; subclasses say whether there is a choice.
    :raises AirflowFailException: something that no retry mends.
    :raises AirflowSkipException: all days are empty, with ``on_empty="skip"``.
    :raises ClaudeCodeError: something that a retry may mend.
    """

    template_fields: Sequence[str] = ("day", "claude_code_conn_id")
    ui_color = "#e8d4c8"

    def __init__(
        self,
        *,
        day: str = DEFAULT_DAY,
        stream: str = "usage",
        tables: Iterable[str] | None = None,
        lookback_days: int = 0,
        on_empty: OnEmpty = "write",
        actor_identity: ActorIdentity = "plain",
        allow_incomplete: bool = False,
        claude_code_conn_id: str = ClaudeCodeHook.default_conn_name,
        file_format: FileFormat = "parquet",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.day = day
        self.stream = stream
        self._stream = find_stream(stream)
        self.tables = tuple(
            _checked("tables", name, self._stream.table_names)
            for name in (self._stream.table_names if tables is None else _listed(tables))
        )
        if isinstance(lookback_days, bool) or not isinstance(lookback_days, int) or lookback_days < 0:
            raise ClaudeCodeConfigurationError(
                f"lookback_days is {lookback_days!r}; a whole number of 0 or more was expected."
            )
        self.lookback_days = lookback_days
        self.on_empty = _checked("on_empty", on_empty, get_args(OnEmpty))
        self.actor_identity = _checked("actor_identity", actor_identity, get_args(ActorIdentity))
        self.allow_incomplete = allow_incomplete
        self.claude_code_conn_id = claude_code_conn_id
        # The summaries of the days, once they are loaded, for links and lineage.
        self.loaded: list[dict[str, Any]] = []
        self._spooling: Path | None = None
        self.file_format: FileFormat = _checked("file_format", file_format, get_args(FileFormat))

    @abstractmethod
    def open_target(self, context: Context) -> Target:
        """Return the place where the days go."""

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

    @cached_property
    def hook(self) -> ClaudeCodeHook:
        """The hook that reads the API."""
        return ClaudeCodeHook(self.claude_code_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the days and return what was loaded, a small dict per day."""
        with fail_without_retry():
            return self._load_days(Progress(self._days(context)), context)

    def _days(self, context: Context) -> list[date]:
        """Return the days to load, the oldest first."""
        last, now = parse_day(self.day), datetime.now(UTC)
        if self._stream.is_snapshot:
            # What a list holds now says nothing of the days of a backfill.
            if last < now.date() - timedelta(days=1):
                raise AirflowSkipException(f"{self._stream.title} can be loaded as of today only, not as of {last}.")
            return [now.date()]
        self._refuse_incomplete(last, now)
        # A backfill's runs load the days before by themselves, and would do so at the same time.
        lookback_days = 0 if context["dag_run"].run_type == "backfill" else self.lookback_days
        days = days_until(last, lookback_days + 1, f"lookback_days={lookback_days}")
        self._warn_of_skipped_days(days, context)
        return days

    def on_kill(self) -> None:
        """Remove the spooled files at once: they name people, and a task that goes on is soon ended by SIGKILL."""
        if self._spooling is not None:
            shutil.rmtree(self._spooling, ignore_errors=True)

    def _refuse_incomplete(self, day: date, now: datetime) -> None:
        complete_from = self._stream.complete_from(day)
        if now >= complete_from or (self.allow_incomplete and day <= now.date()):
            return
        raise ClaudeCodeIncompleteDayError(
            f"{day} is complete from {complete_from:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} UTC; "
            "loading it now would miss usage. "
            "Put a ClaudeCodeFreshnessSensor before this task, let it retry, or set allow_incomplete=True to "
            "load what there is of the current day."
        )

    def _warn_of_skipped_days(self, days: list[date], context: Context) -> None:
        """Say which days lie between those of the last successful run and of this one, if both have the default day."""
        if context["dag_run"].run_type != "scheduled" or self.day != self.render_template(DEFAULT_DAY, context):
            return
        zone = str(getattr(context["dag"].timetable, "timezone", "UTC"))
        # CronPartitionTimetable does so on 3.2 in zones like London's, and still on 3.3 in zones like Santiago's.
        if getattr(context["dag_run"], "partition_key", None) and zone != "UTC":
            self.log.warning(
                "Airflow may make no partition for a day when the clocks of %s change, and then no run loads that day. "
                "Set timezone='UTC' in the CronPartitionTimetable.",
                zone,
            )
        # Absent from partitioned runs, and empty in the first one.
        end = context.get("prev_data_interval_end_success")
        if not end:
            return
        previous = parse_day(self.render_template(DEFAULT_DAY, {**context, "data_interval_end": end}))
        if days[0] - previous > timedelta(days=1):
            self.log.warning(
                "The last successful run before this one was for %s, and this one loads %s to %s: no run loads the "
                "days between. Backfill them if they are missing, and raise lookback_days if the Dag runs less often "
                "than daily.",
                previous,
                days[0],
                days[-1],
            )

    def _table_assets(self) -> list[Asset]:
        """Return the Assets that the tables are; not every place can be one."""
        try:
            return [Asset(self.table_uri(table)) for table in self.tables]
        except ValueError as error:
            raise ClaudeCodeConfigurationError(
                f"Airflow refuses {self.table_uri(self.tables[0])[:200]} as the URI of an asset ({error}). Choose "
                "another place for the tables."
            ) from error

    def _load_days(self, progress: Progress, context: Context) -> dict[str, Any]:
        """Load the days that are left, and report all."""
        target = self.open_target(context)
        assets = self._table_assets()
        while progress.days:
            try:
                day = self._load_day(target, progress, context)
            except SupersededError as conflict:
                progress = self._try_again(progress, conflict)
            else:
                progress = self._done(progress, day)
        return self._report(progress.loaded, assets, context)

    def _load_day(self, target: Target, progress: Progress, context: Context) -> dict[str, Any]:
        day = progress.days[0]
        with spool_directory() as directory:
            self._spooling = directory
            last_loaded_at = target.last_loaded_at(day)

            def read() -> Load:
                # What a read has left that was broken off.
                for file in directory.iterdir():
                    file.unlink()
                return self._read_day(day, directory, last_loaded_at, context)

            load = start_again_once(read)
            if load.is_empty and self.on_empty == "fail":
                raise ClaudeCodeEmptyDayError(
                    f"The API has no records of {day}, and on_empty is 'fail'. {self._stream.coverage}"
                )
            if load.is_empty and self.on_empty == "skip":
                self.log.info("The API has no records of %s; leaving the day as it is", day)
                return load.summary() | {"published": False}
            return self._publish(target, load, load.is_empty and self.on_empty == "write", progress)

    def _publish(self, target: Target, load: Load, keep_rows: bool, progress: Progress) -> dict[str, Any]:
        """Publish a day and return its summary."""
        return load.summary() | {"published": True} | target.publish(load, keep_rows=keep_rows)

    def _try_again(self, progress: Progress, conflict: SupersededError) -> Progress:
        day = progress.days[0]
        if progress.attempt == PUBLISH_ATTEMPTS:
            raise ClaudeCodePublishError(
                f"{day} was replaced by another writer {PUBLISH_ATTEMPTS} times while this task loaded it. Let one "
                "task at a time load a day (max_active_runs=1, or a pool), then try again."
            )
        pause = random.uniform(0, LONGEST_CONFLICT_PAUSE)  # noqa: S311
        self.log.warning("%s; loading %s again in %.1f s", conflict, day, pause)
        time.sleep(pause)
        return replace(progress, attempt=progress.attempt + 1)

    def _done(self, progress: Progress, day: dict[str, Any]) -> Progress:
        """Log a day that is done and go on to the next."""
        told = (
            ", ".join(f"{count} {table}" for table, count in day["rows"].items()) + " rows",
            *self._stream.sums_in_words(day),
            "complete" if day["complete"] else "NOT COMPLETE YET",
        )
        self.log.info("%s %s: %s", "Loaded" if day["published"] else "Left alone", day["day"], "; ".join(told))
        if day["repeated_keys"]:
            self.log.warning(
                "%s: %d records repeat the key of another. They are kept, and count twice if the API sent them twice; "
                "load the day again to see",
                day["day"],
                day["repeated_keys"],
            )
        named = {name for earlier in progress.loaded for name in earlier["first_unknown_names"]}
        new = [name for name in day["first_unknown_names"] if name not in named]
        return Progress(progress.days[1:], [*progress.loaded, day | {"first_unknown_names": new}])

    def _report(self, loaded: list[dict[str, Any]], assets: list[Asset], context: Context) -> dict[str, Any]:
        """Tell Airflow what was loaded: XCom, assets, lineage."""
        self._tell_of_coverage(loaded)
        if not any(day["published"] for day in loaded):
            raise AirflowSkipException(f"The API has no records of {_days_in_words(loaded)}.")
        self._warn_of_unknown_names(loaded)
        loaded = [{name: value for name, value in day.items() if name != "first_unknown_names"} for day in loaded]
        self.loaded = loaded
        summary: dict[str, Any] = {"days": loaded}
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = summary
            elif isinstance(outlet, AssetAlias):
                for asset in assets:
                    context["outlet_events"][outlet].add(asset, extra=summary)
        lineage = get_hook_lineage_collector()
        lineage.add_input_asset(context=self.hook, uri=self.hook.settings.base_url + self._stream.path)
        for table in self.tables:
            lineage.add_output_asset(context=self.hook, uri=self.table_uri(table))
        return summary

    def _tell_of_coverage(self, loaded: list[dict[str, Any]]) -> None:
        """Log what the stream covers. Warn if all of several days are empty, since that may be why."""
        if not all(day["empty"] for day in loaded):
            self.log.info(self._stream.coverage)
            return
        self.log.log(
            logging.WARNING if len(loaded) > 1 else logging.INFO,
            "The API has no records of %s. %s If people used Claude Code on such days, this may be why.",
            _days_in_words(loaded),
            self._stream.coverage,
        )

    def _warn_of_unknown_names(self, loaded: list[dict[str, Any]]) -> None:
        names = {name for day in loaded for name in day["first_unknown_names"]}
        if not names:
            return
        listed = sorted(names)[:MOST_NAMES]
        # The names of several days may differ, so that there may be more.
        more = max(len(names), *(day["unknown_names"] for day in loaded)) - len(listed)
        self.log.warning(
            "The API reports what its reference did not list when this version was made: %s%s. Nothing is lost: tools, "
            "actor kinds and values are loaded like all others, and fields are kept in unknown_fields%s. unknown_names "
            "in loads has all names. A newer version of the provider may know them.",
            ", ".join(listed),
            f" and {'' if len(loaded) == 1 else 'at least '}{more:,} more" if more else "",
            "" if self.actor_identity == "plain" else " (not with actor_identity='hmac')",
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what was read and written: the API's report, and each table with its columns and row count."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset, OutputDataset
        from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet
        from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields

        outputs = []
        for contract in self.table_contracts:
            table = contract.name
            namespace, name = self.openlineage_name(table)
            fields = [
                SchemaDatasetFacetFields(name=column.name, type=column.type, description=column.description)
                for column in contract.columns
            ]
            rows = sum(day["rows"][table] for day in self.loaded if day["published"])
            outputs.append(
                OutputDataset(
                    namespace=namespace,
                    name=name,
                    facets={"schema": SchemaDatasetFacet(fields=fields)},
                    outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)},
                )
            )
        report = Dataset(namespace=self.hook.settings.base_url, name=self._stream.path)
        return OperatorLineage(inputs=[report], outputs=outputs)

    def _read_day(self, day: date, directory: Path, last_loaded_at: datetime | None, context: Context) -> Load:
        """Read a day to its last page into spooled files."""
        # Loads pyarrow, so not when a Dag file is parsed.
        from airflow_provider_claude_code.tables.spool import DaySpool

        load_id, loaded_at = begin_load(after=last_loaded_at)
        read_at = None
        pseudonyms = self.hook.pseudonyms if self.actor_identity == "hmac" else None
        flattener = self._stream.flattener(day, pseudonyms)
        totals = flattener.totals
        organization_id = None
        with DaySpool(directory, self.table_contracts, self.file_format, load_id, loaded_at) as spool:
            for number, page in enumerate(read_ahead(self.hook.iter_pages(day, self.stream)), start=1):
                # The first page fixes what all pages of the day hold.
                if read_at is None:
                    read_at = self._time_of(page)
                    self._refuse_incomplete(day, read_at)
                spool.write(flattener.flatten(page.records))
                totals.unknown_names |= page.unknown_fields
                organization_id = organization_id or page.organization_id
                self.log.log(
                    logging.DEBUG if number % PROGRESS_PAGES else logging.INFO,
                    "%s: %d pages, %d records so far",
                    day,
                    number,
                    totals.row_counts[self._stream.tables[0].name],
                )
            files = spool.finish()
        return Load(
            load_id=load_id,
            loaded_at=loaded_at,
            stream=self.stream,
            day=day,
            organization_id=organization_id or self.hook.get_organization().id,
            complete=read_at is not None and read_at >= self._stream.complete_from(day),
            totals=totals,
            files=files,
            actor_identity=self.actor_identity,
            pseudonym_key_id=pseudonyms.key_id if pseudonyms else None,
            dag_id=context["ti"].dag_id,
            run_id=context["ti"].run_id,
        )

    def _time_of(self, page: Page) -> datetime:
        """Return when a page that has just come was sent: by the API's clock, or the worker's where it does not say."""
        now = datetime.now(UTC)
        if page.answered_at is None:
            return now
        if abs(page.answered_at - now) > CLOCK_TOLERANCE:
            self.log.warning(
                "The API answered at %s by its own clock, but it is %s by the clock of this worker. The API's clock "
                "decides whether a day is complete. Correct the worker's clock (NTP): loaded_at and sensors depend "
                "on it.",
                page.answered_at,
                now,
            )
        return page.answered_at


def _days_in_words(loaded: list[dict[str, Any]]) -> str:
    first, last = loaded[0]["day"], loaded[-1]["day"]
    return str(first) if first == last else f"{first} to {last}"


def _listed(tables: Iterable[str]) -> Iterable[str]:
    """Refuse a single string, which is an iterable of letters, and an empty selection."""
    if isinstance(tables, str) or not (names := list(dict.fromkeys(tables))):
        raise ClaudeCodeConfigurationError(f"tables is {tables!r}; a list of table names was expected.")
    return names


def _checked(argument: str, value: Any, allowed: Iterable[str]) -> Any:
    if value not in allowed:
        raise ClaudeCodeConfigurationError(f"{argument} holds {value!r}; expected {', '.join(map(repr, allowed))}.")
    return value

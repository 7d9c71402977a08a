"""Reads a day of a stream into spooled files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from airflow_provider_claude_code.api.paging import Page, start_again
from airflow_provider_claude_code.api.read_ahead import read_ahead
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeIncompleteDayError,
    ClaudeCodePublishError,
)
from airflow_provider_claude_code.streams.base import Filters, Stream
from airflow_provider_claude_code.tables.contract import FileFormat, Table
from airflow_provider_claude_code.tables.loads import Load, begin_load
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.tables.spool import DaySpool

log = logging.getLogger(__name__)

CLOCK_TOLERANCE = timedelta(minutes=2)
"""Maximum difference between the clocks of the worker and the API without a warning."""
PROGRESS_PAGES = 25
"""Number of pages between two progress messages."""


@dataclass(frozen=True, kw_only=True)
class DayReader:
    """
    Reads days of a stream for one run of a Dag.

    :param stream: the stream.
    :param tables: which of its tables to write.
    :param filters: what each of the stream's filters keeps.
    :param file_format: the format of the files.
    :param iter_pages: yields the pages of a day.
    :param get_organization_id: requests the organisation of the key, in case no page names it.
    :param find_organization_name: returns the name of an organisation, if the API says.
    :param get_pseudonyms: returns the pseudonyms to store instead of addresses, or ``None`` to keep addresses.
    :param allow_incomplete: also read a day that is not complete.
    :param dag_id: the Dag.
    :param run_id: its run.
    """

    stream: Stream
    tables: Sequence[Table]
    filters: Filters
    file_format: FileFormat
    iter_pages: Callable[[date], Iterable[Page]]
    get_organization_id: Callable[[], str]
    find_organization_name: Callable[[str], str | None]
    get_pseudonyms: Callable[[], Pseudonyms | None]
    allow_incomplete: bool
    dag_id: str
    run_id: str

    def refuse_incomplete(self, day: date, as_of: datetime, as_of_is: str = "the time is") -> None:
        """
        Refuse a day that is not complete, unless that is allowed.

        :param day: the UTC day.
        :param as_of: the moment up to which the API's data is up to date, aware.
        :param as_of_is: what to call that moment in the message.
        :raises ClaudeCodeIncompleteDayError: it is not.
        :raises ClaudeCodeConfigurationError: it has not begun.
        """
        now = datetime.now(UTC)
        # Either clock may be behind.
        if day > max(now, as_of).date():
            raise ClaudeCodeConfigurationError(f"{day} is in the future. Correct the day.")
        complete_from = self.stream.complete_from(day)
        if as_of >= complete_from or (self.allow_incomplete and day <= now.date()):
            return
        raise ClaudeCodeIncompleteDayError(
            f"{day} is not complete until {complete_from:%Y-%m-%d %H:%M} UTC; {as_of_is} "
            f"{as_of:%Y-%m-%d %H:%M} UTC. Wait with ClaudeCodeFreshnessSensor, let the task retry, or set "
            "allow_incomplete=True to load what there is."
        )

    def read(self, day: date, directory: Path, after: datetime | None) -> Load:
        """
        Read a day, from its first page again if the API refuses to go on in its middle.

        :param day: the UTC day.
        :param directory: an empty directory for the files. Reading ends when it is removed.
        :param after: ``loaded_at`` of the newest load of the day so far.
        :raises ClaudeCodeIncompleteDayError: the day is not complete by the clock of the API.
        :raises ClaudeCodeAPIError: the day cannot be read whole.
        :raises ClaudeCodePublishError: the directory was removed.
        """

        def read() -> Load:
            # Files of an interrupted read.
            for file in directory.iterdir():
                file.unlink()
            return self._read(day, directory, after)

        return start_again(read, self.stream.restarts)

    def _read(self, day: date, directory: Path, after: datetime | None) -> Load:
        load_id, loaded_at = begin_load(after)
        as_of = None
        pseudonyms = self.get_pseudonyms()
        flattener = self.stream.flattener(day, pseudonyms)
        totals = flattener.totals
        organization_id = None
        with DaySpool(directory, self.tables, self.file_format, load_id, loaded_at) as spool:
            for number, page in enumerate(read_ahead(self.iter_pages(day)), start=1):
                if not directory.exists():
                    raise stopped_error(day)
                # The first page decides for all pages of the day.
                if as_of is None:
                    as_of = self._as_of(page)
                    as_of_is = "the API's data ends at" if self.stream.as_of else "the time is"
                    self.refuse_incomplete(day, as_of, as_of_is)
                spool.write(flattener.flatten(page.records))
                totals.unknown_names |= page.unknown_fields
                organization_id = organization_id or page.organization_id
                log.log(
                    logging.DEBUG if number % PROGRESS_PAGES else logging.INFO,
                    "%s: %d pages, %d records so far",
                    day,
                    number,
                    totals.row_counts[self.stream.tables[0].name],
                )
                # Not kept while the next page is awaited.
                del page
            files = spool.finish()
        for warning in totals.warnings():
            log.warning("%s: %s", day, warning)
        organization_id = organization_id or self.get_organization_id()
        return Load(
            load_id=load_id,
            loaded_at=loaded_at,
            stream=self.stream.name,
            day=day,
            organization_id=organization_id,
            organization_name=self.find_organization_name(organization_id),
            complete=as_of is not None and as_of >= self.stream.complete_from(day),
            totals=totals,
            directory=directory,
            files=files,
            actor_identity="hmac" if pseudonyms else "plain",
            pseudonym_key_id=pseudonyms.key_id if pseudonyms else None,
            dag_id=self.dag_id,
            run_id=self.run_id,
            request=self.stream.request_text(self.filters),
        )

    def _as_of(self, page: Page) -> datetime:
        """Return the moment up to which a page that has just come is up to date."""
        answered_at = _time_of(page)
        return self.stream.as_of(page, answered_at) if self.stream.as_of else answered_at


def stopped_error(day: date) -> ClaudeCodePublishError:
    """Return the error for a day whose files are removed while it is read."""
    return ClaudeCodePublishError(
        f"{day} is not loaded: its temporary directory was removed, as it is when the task is stopped."
    )


def _time_of(page: Page) -> datetime:
    """Return when a page that has just come was sent: by the API's clock, or the worker's where it does not say."""
    now = datetime.now(UTC)
    if page.answered_at is None:
        return now
    if abs(page.answered_at - now) > CLOCK_TOLERANCE:
        log.warning(
            "The API answered at %s by its own clock, but it is %s by the clock of this worker. The API's clock "
            "decides whether a day is complete. Correct the worker's clock (NTP): loaded_at and sensors depend "
            "on it.",
            page.answered_at,
            now,
        )
    return page.answered_at

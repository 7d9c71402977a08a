"""A report that people look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.links import ClaudeCodeReportLink
from airflow_provider_claude_code.operators.analytics import ClaudeCodeAnalyticsOperator
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.storage.stores import open_store, storage_path
from airflow_provider_claude_code.version_compat import get_hook_lineage_collector

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath


class ClaudeCodeReportOperator(ClaudeCodeAnalyticsOperator):
    """
    Write a report on a period: one HTML file that needs nothing else, to be looked at, printed or sent by e-mail.

    It compares the period with the one before, says how complete the data is, and folds small groups together. Needs
    the extra ``[report]``.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.operators.analytics.ClaudeCodeAnalyticsOperator`.

    :param report_path: where the file goes (templated), with ``.html`` at the end; it is replaced. An absolute local
        path, or a URL that Airflow's ``ObjectStoragePath`` knows.
    :param report_conn_id: the Connection of the object store that it is written to (templated); default: the store's
        own.
    :param people: also list the people who use Claude Code most. That is personal data.
    :param min_group_size: groups of fewer people are folded together; 1 folds none.
    :param roster: eligible people (templated), a table or a ``.csv`` or ``.parquet`` file: ``actor_id``,
        ``valid_from``, ``valid_to`` (inclusive; empty means always). For adoption rate and idle seats.
    :param mapping: groups (templated), a table or a file: ``actor_type``, ``actor_id``, ``team``, ``cost_centre``,
        ``valid_from``, ``valid_to``. For costs of groups.
    :raises AirflowFailException: something that no retry mends.
    """

    template_fields: Sequence[str] = (
        *ClaudeCodeAnalyticsOperator.template_fields,
        "report_path",
        "report_conn_id",
        "roster",
        "mapping",
    )

    operator_extra_links = (ClaudeCodeReportLink(),)

    def __init__(
        self,
        *,
        report_path: str,
        report_conn_id: str | None = None,
        people: bool = False,
        min_group_size: int = 5,
        roster: str | None = None,
        mapping: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_path = report_path
        self.report_conn_id = report_conn_id
        self.people = people
        self.min_group_size = min_group_size
        self.roster = roster
        self.mapping = mapping
        # Where it was written, for the link.
        self.report_url: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and return where it is and its headline numbers."""
        with fail_without_retry():
            place = storage_path("report_path", self.report_path, self.report_conn_id)
            if place.suffix != ".html":
                raise ClaudeCodeConfigurationError(f"report_path is {self.report_path!r}; it has to end with .html.")
            first_day, last_day = self.period()
            settings = Settings(
                min_group_size=self.min_group_size,
                since=parse_day(self.since),
                first_day=first_day,
                last_day=last_day,
            )
            with self.open_source(context, settings, roster=self.roster, mapping=self.mapping) as source:
                # Loads pyarrow and matplotlib, so not when a Dag file is parsed.
                from airflow_provider_claude_code.analytics.report import make_report

                report = make_report(source, settings, people=self.people, generated_at=datetime.now(UTC))
            self.report_url = _write(place, report.html)
            self.log.info("Wrote the report on %s to %s: %s", first_day, last_day, self.report_url)
            get_hook_lineage_collector().add_output_asset(context=place, uri=self.report_url)
            summary: dict[str, Any] = {
                "report": self.report_url,
                "first_day": first_day.isoformat(),
                "last_day": last_day.isoformat(),
                "headlines": report.headlines,
            }
            for outlet in self.outlets:
                if isinstance(outlet, Asset):
                    context["outlet_events"][outlet].extra = summary
            return summary


def _write(place: ObjectStoragePath, html: str) -> str:
    """Put the finished file in its place by one atomic write, and return its URL."""
    store = open_store(place.parent)
    with spool_directory() as directory:
        file = directory / place.name
        with typed_store_errors(file.as_uri()):
            file.write_text(html, encoding="utf-8")
        with typed_store_errors(store.url(place.name)), store.exclusive([place.name]):
            store.write(place.name, file)
    return store.url(place.name)

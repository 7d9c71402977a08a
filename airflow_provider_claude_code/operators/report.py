"""The operator that writes a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries.settings import Settings, whole_period
from airflow_provider_claude_code.analytics.tool_tables import check_tool_tables
from airflow_provider_claude_code.days import parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.hooks.claude_code import fail_without_retry
from airflow_provider_claude_code.lineage import add_hook_lineage, asset_uri, fill_asset_events
from airflow_provider_claude_code.links import ClaudeCodeReportLink, report_link
from airflow_provider_claude_code.operators.analytics import ClaudeCodeAnalyticsOperator
from airflow_provider_claude_code.storage.errors import typed_store_errors
from airflow_provider_claude_code.storage.spool_directory import spool_directory
from airflow_provider_claude_code.storage.stores import open_store, storage_path
from airflow_provider_claude_code.templates import is_template, mapping_of, true_or_false

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath


class ClaudeCodeReportOperator(ClaudeCodeAnalyticsOperator):
    """
    Write a report on a period: one HTML file that you can open in a browser, print or send by e-mail.

    The report compares the period with the one before, says how complete the data is, and combines small groups. Next
    to it, a ``.csv`` and a ``.json`` file with the same name have the cells that it shows, and never name people. Needs
    the extra ``[report]``.

    The XCom has the places of the three files (``report``, ``csv``, ``json``), and the URL at which a browser opens the
    report (``link``; empty if there is none, or if ``[api] base_url`` is not set). For e-mail and chat it has ``text``,
    a few sentences, and ``html_table``, in which everything is escaped.

    The other arguments are those of
    :class:`~airflow_provider_claude_code.operators.analytics.ClaudeCodeAnalyticsOperator`. Without ``first_day``, the
    period is whole weeks or months that are over by ``last_day``: ``period_days`` is rounded down to whole weeks (10
    means one week), or to one month for each 28 days, but never to less than one.

    :param report_path: where the report goes (templated): an absolute local path, or a URL that Airflow's
        ``ObjectStoragePath`` knows. It ends with ``.html``. Existing files are replaced.
    :param report_conn_id: the Connection of the object store for the report (templated); default: none, so the worker's
        own credentials are used.
    :param title: title of the report (templated); default: the name of the organisation.
    :param people: also list the people who use Claude Code most. This is personal data.
    :param min_group_size: smallest number of people in a group. Smaller groups are combined or withheld. 1 turns this
        off.
    :param breakdown_grain: ``week`` (Monday to Sunday, UTC) or ``month``: the period of breakdowns. They show the last
        complete week or month of the report's period. Choose ``month`` for fewer than a few hundred people, and use the
        same for views.
    :param assumptions: values to compare the cost with, each with its source: see
        :meth:`~airflow_provider_claude_code.analytics.assumptions.Assumptions.parse`. It is not templated: somebody who
        could choose the price of a seat for each run could find out what single people cost.
    :param other_tools: days with other AI tools (templated): tables or files, by the names in
        :data:`~airflow_provider_claude_code.analytics.queries.tables.TABLES_OF_TOOLS`. ``copilot_usage`` needs
        ``copilot_logins``.
    :raises AirflowFailException: a permanent error; the task does not retry.
    """

    template_fields: Sequence[str] = (
        *ClaudeCodeAnalyticsOperator.template_fields,
        "report_path",
        "report_conn_id",
        "title",
        "other_tools",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"other_tools": "json"}

    operator_extra_links = (ClaudeCodeReportLink(),)

    def __init__(
        self,
        *,
        report_path: str,
        report_conn_id: str | None = None,
        title: str | None = None,
        people: bool = False,
        min_group_size: int = 5,
        breakdown_grain: str = "week",
        assumptions: dict[str, Any] | None = None,
        other_tools: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_path = report_path
        if not is_template(report_path):
            self._refuse_unusable_report_path()
        self.report_conn_id = report_conn_id
        self.title = title
        self.people = true_or_false("people", people)
        self.min_group_size = min_group_size
        self.breakdown_grain = breakdown_grain
        self.assumptions = assumptions or {}
        self._assumptions = Assumptions.parse(self.assumptions)
        self._settings = Settings(
            min_group_size=min_group_size,
            breakdown_grain=breakdown_grain,
            seat_price_cents=self._assumptions.seat_price_cents,
        )
        self.other_tools = other_tools
        # The location of the report, for the link.
        self.report_url: str | None = None

    def _refuse_unusable_report_path(self) -> None:
        if PurePosixPath(str(self.report_path)).suffix != ".html":
            raise ClaudeCodeConfigurationError(f"report_path is {self.report_path!r}; it must end with .html.")

    def period(self) -> tuple[date, date]:
        """
        Return the first and the last day.

        :raises ClaudeCodeConfigurationError: a day, their order or the grain is not valid.
        """
        if self.first_day:
            return super().period()
        days = self._whole_period_days()
        return whole_period(parse_day(self.last_day, "last_day"), days, self.breakdown_grain)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and return where it is and its headline numbers."""
        with fail_without_retry():
            self._refuse_unusable_report_path()
            place = storage_path("report_path", self.report_path, self.report_conn_id)
            settings = self.rendered_settings()
            first_day, last_day = settings.period
            tools = mapping_of("other_tools", self.other_tools)
            check_tool_tables(tools)
            with self.open_source(context, settings, **tools) as source:
                # Not needed when a Dag file is parsed.
                from airflow_provider_claude_code.analytics.report import make_report

                report = make_report(
                    source,
                    settings,
                    people=self.people,
                    title=self.title,
                    assumptions=self._assumptions,
                    other_tools=bool(tools),
                    generated_at=datetime.now(UTC),
                )
            # The page comes last, so that a new page always has new cells beside it. Without the byte order mark, Excel
            # takes the CSV for the encoding of Windows.
            files = {"csv": f"\ufeff{report.csv}", "json": report.json, "html": report.html}
            urls = _write(place.parent, {place.with_suffix(f".{kind}").name: text for kind, text in files.items()})
            csv_url, json_url, self.report_url = urls
            self.log.info("Wrote the report on %s to %s: %s\n%s", first_day, last_day, self.report_url, report.text)
            add_hook_lineage(place, outputs=map(asset_uri, urls))
            link = report_link(self.report_url, self.dag_id, names_people=self.people)
            summary: dict[str, Any] = {
                "report": self.report_url,
                "csv": csv_url,
                "json": json_url,
                # A path without a host does not work in an e-mail.
                "link": link if link.startswith("http") else "",
                "first_day": first_day.isoformat(),
                "last_day": last_day.isoformat(),
                "headlines": report.headlines,
                "text": report.text,
                "html_table": report.html_table,
            }
            fill_asset_events(context, self.outlets, [asset_uri(self.report_url)], summary)
            return summary


def _write(folder: ObjectStoragePath, texts: Mapping[str, str]) -> list[str]:
    """Put finished files in their places, in this order and by one atomic write each, and return their URLs."""
    store = open_store(folder)
    with spool_directory() as directory:
        files = {name: directory / name for name in texts}
        with typed_store_errors(directory.as_uri()):
            for name, text in texts.items():
                files[name].write_text(text, encoding="utf-8")
        with typed_store_errors(store.url("")), store.exclusive(files), store.staged(files):
            for name, file in files.items():
                store.write(name, file)
    return [store.url(name) for name in texts]

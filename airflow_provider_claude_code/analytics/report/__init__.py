"""A report for managers: one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.engines.base import Source
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.collecting import collect
from airflow_provider_claude_code.analytics.report.companions import as_csv, as_html_table, as_json, in_sentences
from airflow_provider_claude_code.analytics.report.rendering import render
from airflow_provider_claude_code.analytics.report.sections import document
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError


@dataclass(frozen=True)
class Report:
    """
    A report.

    :param html: the whole document.
    :param headlines: per organisation, in the order of their ids: ``organization_id``, ``days`` of the period and
        ``days_loaded`` of them completely; ``active_people``, ``sessions``, ``lines_added``, ``commits`` and
        ``pull_requests``; ``acceptance_rate`` (0 to 1); ``api_cost_usd`` and ``subscription_value_usd`` as digits, as
        far as they are known, and ``api_cost_known_share`` (0 to 1), the share of sessions whose cost is known;
        ``charged_usd`` as digits, what is charged for the same usage. Except for the first three, None means unknown.

        ``changes`` from the period before, by name, on ``days_compared`` days: ``change`` (0.5 is half more) and
        ``is_unusual``, None when too little is known to say so. What cannot be compared is not in it.

        ``month`` (``YYYY-MM``) of the last day; what it costs up to ``month_known_until``, ``month_to_date_usd``, as
        charged or else estimated (``month_is_charged``); and about what it will have cost, ``month_forecast_usd``.

        No person is in it.
    :param csv: the cells that the document shows, as CSV. This and what follows names no person.
    :param json: the cells and texts that it shows, as JSON.
    :param text: a summary in a few sentences.
    :param html_table: its tiles, as an HTML table for the body of a mail.
    """

    html: str
    headlines: list[dict[str, Any]]
    csv: str
    json: str
    text: str
    html_table: str


def make_report(
    source: Source,
    settings: Settings,
    *,
    people: bool = False,
    title: str | None = None,
    assumptions: Assumptions | None = None,
    other_tools: bool = False,
    generated_at: datetime,
) -> Report:
    """
    Report how Claude Code was used in a period, compared with the previous period of the same length.

    :param source: the loaded usage.
    :param settings: those of the source; the period is ``first_day`` to ``last_day``, UTC days.
    :param people: also name the people with the most sessions. The document then contains their addresses.
    :param title: title of the document; default: the name of the organisation.
    :param assumptions: values that the user declares to compare the cost with; the settings have the price of a seat.
    :param other_tools: whether the source has days of other tools to show.
    :param generated_at: time of the report, with a time zone; only printed.
    :raises ClaudeCodeConfigurationError: matplotlib is not installed, or the source refuses what it reads.
    """
    # Imported when it draws: its memory comes on top of what queries need.
    if find_spec("matplotlib") is None:
        raise ClaudeCodeConfigurationError(
            "matplotlib is not installed: pip install 'airflow-provider-claude-code[report]'."
        )
    organizations = collect(source, settings, people=people, other_tools=other_tools)
    whole = document(organizations, settings, generated_at, assumptions or Assumptions(), title)
    return Report(
        html=render(whole),
        headlines=[organization.headline() for organization in organizations],
        csv=as_csv(whole),
        json=as_json(whole, *settings.period),
        text=in_sentences(whole),
        html_table=as_html_table(whole),
    )

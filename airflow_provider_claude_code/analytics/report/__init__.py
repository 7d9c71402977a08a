"""A report for managers: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_claude_code.analytics.models import Settings
    from airflow_provider_claude_code.analytics.sources import Source


@dataclass(frozen=True)
class Report:
    """
    A report.

    :param html: the whole document.
    :param headlines: per organisation, in the order of their ids: ``organization_id``, ``days`` of the period and
        ``days_loaded`` of them completely; ``active_people``, ``sessions``, ``lines_added``, ``commits`` and
        ``pull_requests``; ``acceptance_rate`` (0 to 1); ``api_cost_usd`` and ``subscription_value_usd`` as digits.
        Except for the first three, None means unknown. No person is in it.
    """

    html: str
    headlines: list[dict[str, Any]]


def make_report(source: Source, settings: Settings, *, people: bool = False, generated_at: datetime) -> Report:
    """
    Say how Claude Code was used in a period, compared with the period of the same length before.

    :param source: the loaded usage.
    :param settings: those of the source; the period is ``first_day`` to ``last_day``, UTC days.
    :param people: also name the people with the most sessions. Their addresses are then in the report.
    :param generated_at: when the report is made, with a time zone; it is only written into it.
    :raises ClaudeCodeConfigurationError: matplotlib is not installed, or the source refuses what it reads.
    """
    from airflow_provider_claude_code.analytics.report.data import collect
    from airflow_provider_claude_code.analytics.report.rendering import render
    from airflow_provider_claude_code.analytics.report.sections import document
    from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ClaudeCodeConfigurationError(
            "matplotlib is not installed: pip install 'airflow-provider-claude-code[report]'."
        ) from None
    organizations = collect(source, settings, people=people)
    return Report(
        html=render(document(organizations, settings, generated_at)),
        headlines=[organization.headline() for organization in organizations],
    )

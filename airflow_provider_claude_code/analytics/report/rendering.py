"""The HTML of a report, which runs nothing and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.sections import chapter, how_to_read
from airflow_provider_claude_code.analytics.report.wording import count, day, period

_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(organizations: Sequence[Organization], settings: Settings, generated_at: datetime) -> str:
    """
    Return the whole document.

    :param organizations: what was collected.
    :param settings: the period.
    :param generated_at: when the report is made, with a time zone.
    """
    first, last = settings.first_day, settings.last_day
    made = generated_at.astimezone(UTC)
    return _ENVIRONMENT.get_template("report.html.j2").render(
        period=period(first, last),
        length=count((last - first).days + 1, "day"),
        made=f"{day(made.date())} at {made:%H:%M} UTC",
        chapters=[chapter(f"o{position}", it, settings) for position, it in enumerate(organizations, 1)],
        about=how_to_read(settings),
    )

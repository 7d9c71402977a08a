"""What a report says, as plain data: each section is made from what is known of an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report.data import SMALL_GROUPS, Organization
from airflow_provider_claude_code.analytics.report.elements import Chapter, Document, Fact, Facts, Name, Section
from airflow_provider_claude_code.analytics.report.sections.activity import acceptance, lines_and_commits
from airflow_provider_claude_code.analytics.report.sections.adoption import adoption
from airflow_provider_claude_code.analytics.report.sections.cost import cost_by_model, cost_per_result
from airflow_provider_claude_code.analytics.report.sections.groups import groups, people
from airflow_provider_claude_code.analytics.report.sections.health import data_health
from airflow_provider_claude_code.analytics.report.sections.overview import (
    completeness,
    nothing_used,
    suspicious_loads,
    tiles,
)
from airflow_provider_claude_code.analytics.report.wording import count, day, period
from airflow_provider_claude_code.streams.usage import USAGE

_CAVEATS = (
    "All amounts are estimates in US dollars.",
    "The API cost is already in the organisation's cost report. Never add the two.",
    "The subscription value says what usage within subscriptions would have cost by use. It is not a bill, and must "
    "not be added to the API cost.",
    "Sessions without model detail have an unknown cost, not one of 0.",
    USAGE.coverage,
    "A person who uses two terminals, or works locally and remotely, counts once among people, and in several rows by "
    "terminal and place.",
    "Days are UTC days, from 00:00 to 24:00.",
    "Usage can arrive after a day has been loaded; such a day changes when it is loaded again.",
    "Lines, commits and pull requests measure activity, not what it is worth.",
)


def document(organizations: Sequence[Organization], settings: Settings, generated_at: datetime) -> Document:
    """
    Say everything about some organisations.

    :param organizations: what is known of them.
    :param settings: the period, and how small groups are folded.
    :param generated_at: when the report is made, with a time zone.
    """
    first, last = settings.first_day, settings.last_day
    made = generated_at.astimezone(UTC)
    return Document(
        period(first, last),
        count((last - first).days + 1, "day"),
        f"{day(made.date())} at {made:%H:%M} UTC",
        [_chapter(f"o{position}", it, settings) for position, it in enumerate(organizations, 1)],
        _how_to_read(settings),
    )


def _chapter(key: str, organization: Organization, settings: Settings) -> Chapter:
    name = Name(organization.id)
    if not organization.has_usage:
        health = [data_health(organization)] if organization.loaded else []
        return Chapter(key, name, [nothing_used(organization), *health])
    return Chapter(
        key,
        name,
        [
            completeness(organization, settings),
            *suspicious_loads(organization),
            tiles(organization),
            adoption(key, organization, settings),
            acceptance(key, organization, settings),
            cost_by_model(key, organization, settings),
            lines_and_commits(key, organization),
            groups(organization, settings),
            cost_per_result(organization),
            *people(organization),
            data_health(organization),
        ],
    )


def _how_to_read(settings: Settings) -> Section:
    caveats = list(_CAVEATS)
    if settings.min_group_size > 1:
        caveats.append(
            f"Groups, tools, models and terminals of fewer than {settings.min_group_size} people are folded together "
            f"as {SMALL_GROUPS}."
        )
    return Section("How to read these numbers", [Facts([Fact("", caveat) for caveat in caveats])])

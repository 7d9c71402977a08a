"""The sections of a report as plain data, each made from the data about an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import Chapter, Document, Fact, Facts, Name, Section
from airflow_provider_claude_code.analytics.report.sections.activity import acceptance, lines_and_commits
from airflow_provider_claude_code.analytics.report.sections.adoption import adoption, where_people_work
from airflow_provider_claude_code.analytics.report.sections.charges import CHARGED, charged
from airflow_provider_claude_code.analytics.report.sections.cost import cost_by_model, cost_per_result, model_detail
from airflow_provider_claude_code.analytics.report.sections.groups import groups, people
from airflow_provider_claude_code.analytics.report.sections.health import data_health, health_line
from airflow_provider_claude_code.analytics.report.sections.in_short import in_short
from airflow_provider_claude_code.analytics.report.sections.members import members
from airflow_provider_claude_code.analytics.report.sections.money import known_estimates, money
from airflow_provider_claude_code.analytics.report.sections.other_tools import other_tools
from airflow_provider_claude_code.analytics.report.sections.overview import (
    all_numbers,
    completeness,
    nothing_used,
    suspicious_loads,
    tiles,
)
from airflow_provider_claude_code.analytics.report.sections.plan import plan
from airflow_provider_claude_code.analytics.report.sections.regularity import regularity
from airflow_provider_claude_code.analytics.report.sections.worth import worth
from airflow_provider_claude_code.analytics.report.wording import count, day, period
from airflow_provider_claude_code.streams.usage import USAGE

_CAVEATS = (
    "The API cost is an estimate of what the organisation's cost report bills. Do not add the two.",
    "The subscription value is what usage within subscriptions would have cost at API prices. It is not billed. Do not "
    "add it to the API cost.",
    "The cost of sessions without model detail is unknown. It is not 0.",
    USAGE.coverage,
    "A person who uses two terminals, or works locally and remotely, counts once in totals, and once in each row "
    "of the tables by terminal and place.",
    "Tables by group, model, tool and place are of the last whole week or month of the period, as their headings say.",
    "A change within the usual range is no larger than the usual ups and downs from week to week.",
    "Days are UTC days, from 00:00 to 24:00.",
    "Usage can reach the API after a day has been loaded. Such a day changes when it is loaded again.",
    "Lines, commits and pull requests measure activity, not value.",
)


def document(
    organizations: Sequence[Organization],
    settings: Settings,
    generated_at: datetime,
    assumptions: Assumptions,
    title: str | None = None,
) -> Document:
    """
    Return the report on some organisations.

    :param organizations: the data about them.
    :param settings: the period, and the smallest group.
    :param generated_at: time of the report, with a time zone.
    :param assumptions: the values that the user declares.
    :param title: title of the report; default: the name of the organisation, if it is the only one and has a name.
    """
    made = generated_at.astimezone(UTC)
    return Document(
        Name(title or _title(organizations)),
        period(*settings.period),
        count(len(settings.days), "day"),
        f"{day(made.date())} at {made:%H:%M} UTC",
        [_chapter(f"o{position}", it, settings, assumptions) for position, it in enumerate(organizations, 1)],
        _how_to_read(settings, has_charges=any(it.charges or it.month.is_charged for it in organizations)),
    )


def _title(organizations: Sequence[Organization]) -> str:
    names = [organization.name for organization in organizations if organization.name]
    return f"Claude Code usage: {names[0]}" if len(organizations) == len(names) == 1 else "Claude Code usage"


def _chapter(key: str, organization: Organization, settings: Settings, assumptions: Assumptions) -> Chapter:
    names = (Name(organization.name or organization.id), Name(organization.id))
    if not organization.has_usage:
        health = [data_health(organization)] if organization.loaded else []
        return Chapter(key, *names, [nothing_used(organization), *_without_usage(key, organization, settings), *health])
    return Chapter(
        key,
        *names,
        [
            completeness(organization, settings),
            *suspicious_loads(organization),
            tiles(organization, settings, assumptions),
            adoption(key, organization, settings),
            money(key, organization, settings),
            worth(organization, settings, assumptions),
            *plan(organization, settings, assumptions),
            groups(organization, settings),
            cost_by_model(key, organization, settings),
            *other_tools(organization, settings, assumptions),
            *people(organization),
            health_line(organization),
            *(
                replace(section, is_detail=True)
                for section in (
                    *members(organization, settings),
                    where_people_work(organization, settings),
                    regularity(key, organization, settings),
                    *charged(organization, settings),
                    *known_estimates(organization, settings),
                    model_detail(organization, settings),
                    acceptance(key, organization, settings),
                    lines_and_commits(key, organization, settings),
                    cost_per_result(organization, settings),
                    all_numbers(organization),
                    data_health(organization),
                )
            ),
        ],
        in_short(organization, settings),
    )


def _without_usage(key: str, organization: Organization, settings: Settings) -> list[Section]:
    """Show the charges and members of an organisation without usage in the period."""
    sections = charged(organization, settings)
    if organization.month.is_charged:
        sections.append(money(key, organization, settings))
    if organization.groups:
        sections.append(groups(organization, settings))
    return [*sections, *members(organization, settings)]


def _how_to_read(settings: Settings, *, has_charges: bool) -> Section:
    amounts = "All amounts are estimates in US dollars"
    caveats = [f"{amounts}, except at list prices and charged. {CHARGED}" if has_charges else f"{amounts}.", *_CAVEATS]
    if settings.min_group_size > 1:
        caveats.append(
            f"Groups, tools, models and places of fewer than {settings.min_group_size} people are combined as "
            f"{Settings.small_groups}. Numbers of fewer people in total are not shown. API keys count as people "
            "unless the mapping marks them as machines."
        )
    return Section("How to read these numbers", [Facts([Fact("", caveat) for caveat in caveats])], is_detail=True)

"""How complete and consistent the data is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from statistics import median

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report.data import Organization
from airflow_provider_claude_code.analytics.report.elements import Fact, Facts, Name, Note, Section, Table
from airflow_provider_claude_code.analytics.report.sections.common import MOST_ROWS
from airflow_provider_claude_code.analytics.report.wording import (
    NOTHING,
    UNKNOWN,
    after,
    count,
    day_ranges,
    listed,
)
from airflow_provider_claude_code.quoting import visible


def data_health(organization: Organization) -> Section:
    """Show when days were loaded, and what the checks found."""
    loaded = f"{organization.totals['days_loaded']} of {count(len(organization.days), 'day')}"
    facts = [
        Fact("Loaded after the day was complete:", loaded),
        Fact("Not loaded:", _days_or_none(organization.missing_days)),
        Fact("Loaded only before the day was complete:", _days_or_none(organization.incomplete_days)),
        Fact("Loaded, without usage:", _days_or_none(organization.idle_days)),
        Fact("Restated (a later load found other content):", _restated(organization)),
        *_restated_charges(organization),
    ]
    hours = [
        row["first_complete_hours_after_day_end"]
        for row in organization.health
        if row["table_name"] == "usage" and row["first_complete_hours_after_day_end"] is not None
    ]
    if hours:
        facts.append(
            Fact(
                "From the end of a day to its first complete load:",
                f"{after(median(hours))} (median), {after(max(hours))} at most",
            )
        )
    return Section("Data health", [Facts(facts), _findings(organization)])


def health_line(organization: Organization) -> Note:
    """Return in one line how complete the data is."""
    wrong = len({row["check_name"] for row in organization.findings})
    found = f"{count(wrong, 'check')} found something; see Data health" if wrong else "the checks found nothing wrong"
    loaded = f"{organization.totals['days_loaded']} of {count(len(organization.days), 'day')} loaded completely"
    # Breakdowns are of one week or month, or not shown; a load of any day counts. Those of a parent are not known.
    loaded_streams = {row["stream"] for row in organization.health if row["state"] != "missing"}
    lacking = [
        f'No {what} of this period are loaded (stream="{stream}").'
        for what, stream, rows in (
            ("charges", "cost", organization.charges),
            ("members", "members", organization.members),
        )
        if not rows and loaded_streams and stream not in loaded_streams
    ]
    return Note(" ".join([f"Data: {loaded}; {found}.", *lacking]), "note")


def _findings(organization: Organization) -> Table | Note:
    findings: dict[tuple[str, str], list[Row]] = {}
    for row in organization.findings:
        findings.setdefault((row["check_name"], row["finding"]), []).append(row)
    if not findings:
        return Note("The checks found nothing wrong in this period.")
    cut = f" (the first {MOST_ROWS} of {len(findings)})" if len(findings) > MOST_ROWS else ""
    return Table(
        f"What the checks found{cut}",
        ("Check", "Days", "Tables", "Finding"),
        [
            (
                Name(check),
                day_ranges(row["date"] for row in rows if row["date"]) or NOTHING,
                listed(sorted({visible(row["table_name"]) for row in rows})),
                visible(finding),
            )
            for (check, finding), rows in list(findings.items())[:MOST_ROWS]
        ],
        text_columns=(1, 2, 3),
    )


def _restated(organization: Organization) -> str:
    if not organization.health:
        return f"{UNKNOWN}; the key of another organisation loaded these days"
    return _days_or_none(_restated_days(organization, "usage"))


def _restated_charges(organization: Organization) -> list[Fact]:
    days = _restated_days(organization, "cost")
    label = f"Charges restated (they may change for {Settings.days_until_final} days):"
    return [Fact(label, _days_or_none(days))] if days else []


def _restated_days(organization: Organization, stream: str) -> list[date]:
    explained = ("identity_changed", "schema_changed", "request_changed")
    return [
        row["date"]
        for row in organization.restatements
        if row["stream"] == stream and row["was_complete"] and not any(row[name] for name in explained)
    ]


def _days_or_none(days: Sequence[date]) -> str:
    return f"{count(len(set(days)), 'day')} ({day_ranges(days)})" if days else "none"

"""What it costs, or would cost."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, Row, folded, total
from airflow_provider_claude_code.analytics.report.elements import (
    Element,
    Fact,
    Facts,
    Figure,
    Name,
    Note,
    Section,
    SideBySide,
    Subheading,
    Table,
)
from airflow_provider_claude_code.analytics.report.sections.common import MOST_BARS, share, small_groups_note, table_of
from airflow_provider_claude_code.analytics.report.wording import (
    count,
    dollars,
    number,
    or_nothing,
    percent,
    spoken,
)
from airflow_provider_claude_code.quoting import visible


def cost_by_model(key: str, organization: Organization, settings: Settings) -> Section:
    """Show what the models cost, and what is known of it."""
    models = organization.models
    panels = [
        _amounts_by_model(key, organization, *panel)
        for panel in (
            ("api_cost_usd", "API cost", charts.FIRST_COLOUR, "Already in the organisation's cost report."),
            (
                "subscription_value_usd",
                "Subscription value",
                charts.SECOND_COLOUR,
                "What is included in subscriptions; no bill.",
            ),
        )
    ]
    return Section(
        "Cost by model",
        [
            Facts(_facts(organization)),
            Note("These are two different things, and must not be added up.", "note"),
            SideBySide(panels),
            *([_table(models)] if models else []),
            Note(small_groups_note(settings, models, "model", "models of fewer than {size} people on a day"), "note"),
        ],
    )


def _facts(organization: Organization) -> list[Fact]:
    totals, models = organization.totals, organization.models
    sessions, with_detail = totals["sessions"], totals["sessions_with_model_detail"]
    facts = [
        Fact(
            "Model detail:",
            f"{percent(share(with_detail, sessions))} of sessions ({number(with_detail)} of "
            f"{number(sessions)}). What the others cost is unknown, and in neither panel.",
        ),
    ]
    if rounded := total(models, "entries_rounded_to_zero"):
        facts.append(
            Fact(
                "Rounded to 0:",
                f"{number(rounded)} of {_entries(total(models, 'entries'))} used tokens at a cost that the API gives "
                "as 0.",
            )
        )
    if (ratio := _cache_read_ratio(models)) is not None:
        facts.append(Fact("Cache:", f"{percent(ratio)} of the tokens that went in were read from it."))
    if others := totals["other_cost_entries"]:
        facts.append(
            Fact(
                "Not shown:",
                f"{_entries(others)} in another currency than US dollars or of another customer type. Their cost is in "
                "neither panel.",
            )
        )
    return facts


def _entries(value: int) -> str:
    return count(value, "model entry", "model entries")


def _amounts_by_model(
    key: str, organization: Organization, name: str, heading: str, colour: str, meaning: str
) -> list[Element]:
    amount = organization.totals[name]
    priced = [row for row in organization.models if row[name] is not None]
    priced.sort(key=lambda row: row[name], reverse=True)
    if not priced:
        text = f"{dollars(amount).capitalize()}: no record of this kind names a model. {meaning}"
        return [Subheading(heading), Note(text, "note")]
    shown = folded(priced, "model", MOST_BARS, (name,))
    largest = max(row[name] for row in shown)
    each = [f"{spoken(row['model'])} {dollars(row[name])}" for row in shown]
    chart = charts.bar_chart(
        f"{key}-{name}",
        f"{heading} by model in US dollars, {dollars(amount)} in all: {', '.join(each)}.",
        [
            charts.Bar(visible(row["model"]), float(row[name] / largest) if largest else None, dollars(row[name]))
            for row in shown
        ],
        colour,
        of_whole=False,
        is_half=True,
    )
    return [Figure(f"{heading}: {dollars(amount)}", meaning, chart)]


def _table(models: Sequence[Row]) -> Table:
    return table_of(
        "Cost and tokens by model",
        models,
        (
            ("Model", lambda row: Name(row["model"])),
            # None means that the model was not used so, since its entries all have a cost.
            ("API cost", lambda row: or_nothing(dollars, row["api_cost_usd"])),
            ("Subscription value", lambda row: or_nothing(dollars, row["subscription_value_usd"])),
            ("Read from cache", lambda row: or_nothing(percent, _cache_read_ratio([row]))),
            ("Entries", lambda row: number(row["entries"])),
            ("Rounded to 0", lambda row: number(row["entries_rounded_to_zero"])),
        ),
        summary="Table: cost and tokens by model",
    )


def _cache_read_ratio(rows: Sequence[Row]) -> float | None:
    read = total(rows, "cache_read_tokens")
    went_in = [total(rows, name) for name in ("input_tokens", "cache_read_tokens", "cache_creation_tokens")]
    return read / sum(went_in) if None not in went_in and sum(went_in) else None


_RATIOS = (
    ("active person", "_per_active_person"),
    ("session", "_per_session"),
    ("commit", "_per_commit"),
    ("pull request", "_per_pull_request"),
    ("1,000 lines added", "_per_1000_lines_added"),
)


def cost_per_result(organization: Organization) -> Section:
    """Show what people's work cost, divided by what came of it."""
    by_type = {row["customer_type"]: row for row in organization.ratios}
    columns = [
        (heading, by_type[name], amount)
        for name, heading, amount in (
            ("api", "API cost", "api_cost_usd"),
            ("subscription", "Subscription value", "subscription_value_usd"),
        )
        if name in by_type
    ]
    if not columns:
        unknown = "Unknown: too few people used either an API key or a subscription to show what a result cost."
        return Section("Cost per result", [Note(unknown)])
    rows = [
        (f"per {label}", *(dollars(row[amount + suffix]) for _heading, row, amount in columns))
        for label, suffix in _RATIOS
    ]
    detail = (percent(row["share_of_sessions_with_model_detail"]) for _heading, row, _amount in columns)
    rows.append(("sessions with model detail", *detail))
    return Section(
        "Cost per result",
        [
            Table("What people's work cost per result", ("", *(heading for heading, _row, _amount in columns)), rows),
            Note(
                "People only, without API keys. Each column divides by the results of the people it belongs to. "
                "Sessions without model detail have results but no known cost, so the amounts are too low by about "
                "their share.",
                "note",
            ),
        ],
    )

"""The cost of API usage, and the value of subscription usage."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import AMOUNTS, Organization, folded, total
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
from airflow_provider_claude_code.analytics.report.sections.charges import charged_note, has_charges
from airflow_provider_claude_code.analytics.report.sections.common import (
    MOST_BARS,
    breakdown_of,
    few_people,
    no_breakdown,
    share,
    small_groups_note,
    table_of,
)
from airflow_provider_claude_code.analytics.report.wording import (
    NOTHING,
    count,
    dollars,
    number,
    or_nothing,
    percent,
    spoken,
)
from airflow_provider_claude_code.quoting import visible


def cost_by_model(key: str, organization: Organization, settings: Settings) -> Section:
    """Show the cost of the models, and how much of it is known."""
    if organization.breakdown is None:
        return Section("Cost by model", [no_breakdown(settings)])
    models = organization.models
    panels = [
        _amounts_by_model(key, organization, settings, *panel)
        for panel in (
            (
                "api_cost_usd",
                "API cost",
                charts.FIRST_COLOUR,
                "An estimate of what the API bills.",
            ),
            (
                "subscription_value_usd",
                "subscription value",
                charts.SECOND_COLOUR,
                "What usage within subscriptions would have cost. It is not billed.",
            ),
        )
    ]
    has_both = all(any(row[name] is not None for row in models) for name in AMOUNTS)
    notes = [
        "Do not add the two amounts." if has_both else "",
        small_groups_note(settings, models, "model", "models of fewer than {size} people"),
    ]
    return Section(
        "Cost by model",
        [
            SideBySide(panels),
            *([_table(organization)] if models else []),
            Note(" ".join(filter(None, notes)), "note"),
        ],
    )


def model_detail(organization: Organization, settings: Settings) -> Section:
    """Show for how many sessions the cost is known, and facts about tokens."""
    totals, models = organization.totals, organization.models
    sessions, with_detail = totals["sessions"], totals["sessions_with_model_detail"]
    if sessions is None:
        return Section("Model detail", [Note(f"Not shown: {few_people(settings)} were active.")])
    facts = [
        Fact(
            "Sessions with model detail:",
            f"{percent(share(with_detail, sessions))} ({number(with_detail)} of "
            f"{number(sessions)}). The cost of the others is unknown, and not included.",
        ),
    ]
    if rounded := total(models, "entries_rounded_to_zero"):
        facts.append(
            Fact(
                f"Rounded to 0{breakdown_of(organization)}:",
                f"{number(rounded)} of {_entries(total(models, 'entries'))} used tokens at a cost that the API gives "
                "as 0.",
            )
        )
    if (ratio := _cache_read_ratio(models)) is not None:
        facts.append(
            Fact(f"Cache{breakdown_of(organization)}:", f"{percent(ratio)} of the input tokens were read from it.")
        )
    if others := totals["other_cost_entries"]:
        facts.append(
            Fact(
                "Not shown:",
                f"{_entries(others)} in another currency than US dollars or of another customer type. Their cost is "
                "not included.",
            )
        )
    return Section("Model detail", [Facts(facts)])


def _entries(value: int) -> str:
    return count(value, "model entry", "model entries")


def _amounts_by_model(
    key: str, organization: Organization, settings: Settings, name: str, what: str, colour: str, meaning: str
) -> list[Element]:
    heading = f"{what[0].upper()}{what[1:]}{breakdown_of(organization)}"
    priced = [row for row in organization.models if row[name] is not None]
    if not priced:
        few = f"{few_people(settings)} have a known {what} in US dollars"
        return [Subheading(heading), Note(f"Not shown: {few}. {meaning}", "note")]
    amount = total(priced, name)
    shown = folded(_by_family(priced, name), "family", MOST_BARS, (name,))
    largest = max(row[name] for row in shown)
    each = [f"{spoken(row['family'])} {dollars(row[name])}" for row in shown]
    chart = charts.bar_chart(
        f"{key}-{name}",
        f"{heading} by model family in US dollars, {dollars(amount)} in all: {', '.join(each)}.",
        [
            charts.Bar(visible(row["family"]), float(row[name] / largest) if largest else None, dollars(row[name]))
            for row in shown
        ],
        colour,
        of_whole=False,
        is_half=True,
    )
    return [Figure(f"{heading}: {dollars(amount)}", meaning, chart)]


def _by_family(rows: Sequence[Row], name: str) -> list[Row]:
    """Add up an amount by model family, the most expensive first."""
    amounts: dict[str, Decimal] = {}
    for row in rows:
        family = row["model_family"] or row["model"]
        amounts[family] = amounts.get(family, Decimal(0)) + row[name]
    by_amount = sorted(amounts.items(), key=lambda item: item[1], reverse=True)
    return [{"family": family, name: amount} for family, amount in by_amount]


def _table(organization: Organization) -> Table:
    return table_of(
        f"Cost and tokens by model{breakdown_of(organization)}",
        organization.models,
        (
            ("Model", lambda row: Name(row["model"])),
            ("Paid by", lambda row: Name(row["customer_type"])),
            ("People", lambda row: number(row["people"])),
            # A row is of one of them.
            ("API cost", lambda row: or_nothing(dollars, row["api_cost_usd"])),
            ("Subscription value", lambda row: or_nothing(dollars, row["subscription_value_usd"])),
            ("Read from cache", lambda row: or_nothing(percent, _cache_read_ratio([row]))),
            ("Entries", lambda row: number(row["entries"])),
            ("Rounded to 0", lambda row: number(row["entries_rounded_to_zero"])),
        ),
        text_columns=(1,),
        summary="Table: cost and tokens by model",
    )


def _cache_read_ratio(rows: Sequence[Row]) -> float | None:
    read = total(rows, "cache_read_tokens")
    went_in = [total(rows, name) for name in ("input_tokens", "cache_read_tokens", "cache_creation_tokens")]
    return read / sum(went_in) if None not in went_in and sum(went_in) else None


_RATIOS = (
    ("person", "_per_person", "people"),
    ("session", "_per_session", "sessions"),
    ("commit", "_per_commit", "commits"),
    ("pull request", "_per_pull_request", "pull_requests"),
    ("1,000 lines added", "_per_1000_lines_added", "lines_added"),
)
"""What the cost is divided by, the end of the ratio's column, and the column of the number."""


def cost_per_result(organization: Organization, settings: Settings) -> Section:
    """Show the cost of people's work divided by its results."""
    if organization.breakdown is None:
        return Section("Cost per result", [no_breakdown(settings)])
    by_type = {row["customer_type"]: row for row in organization.ratios}
    columns = [
        (heading, by_type[name], amount)
        for name, heading, amount in (
            ("api", "API cost", "api_cost_usd"),
            ("api", "Charged", "charged_usd"),
            ("subscription", "Subscription value", "subscription_value_usd"),
        )
        if name in by_type and (amount != "charged_usd" or has_charges(organization.ratios))
    ]
    if not columns:
        unknown = (
            f"Not shown{breakdown_of(organization)}: {few_people(settings)} used either an API key or a subscription."
        )
        return Section("Cost per result", [Note(unknown)])
    rows = [
        (f"per {label}", *(dollars(row[amount + suffix]) if row[results] else NOTHING for _, row, amount in columns))
        for label, suffix, results in _RATIOS
    ]
    detail = (
        NOTHING if amount == "charged_usd" else percent(row["share_of_sessions_with_model_detail"])
        for _heading, row, amount in columns
    )
    rows.append(("sessions with model detail", *detail))
    return Section(
        "Cost per result",
        [
            Table(
                f"What people's work cost per result{breakdown_of(organization)}",
                ("", *(heading for heading, _row, _amount in columns)),
                rows,
            ),
            Note(
                "Without API keys that the mapping marks as machines. Each column divides by the results of the "
                "people it belongs to. Sessions without model detail have results but no known cost, so the estimates "
                "are too low by about their share.",
                "note",
            ),
            *charged_note(organization.ratios, "charged_usd"),
        ],
    )

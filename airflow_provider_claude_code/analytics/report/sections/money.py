"""The cost over time: per day or week, and for the calendar month against the budget."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

from airflow_provider_claude_code.analytics.queries import Row, Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import Organization, total
from airflow_provider_claude_code.analytics.report.elements import Element, Figure, Note, Section, SideBySide, Table
from airflow_provider_claude_code.analytics.report.known_cost import has_api_usage, whole_cost
from airflow_provider_claude_code.analytics.report.month import Month
from airflow_provider_claude_code.analytics.report.sections.common import share
from airflow_provider_claude_code.analytics.report.wording import (
    NOTHING,
    about_dollars,
    count,
    day,
    dollars,
    listed,
    month_name,
    number,
    or_nothing,
    percent,
    period,
    short_dollars,
    signed,
    three_digits,
)

_HEADING = "Money over time"


def at_least(amount: Decimal | float | None, share: float | None) -> str:
    """
    Format an amount that may be only partly known.

    :param amount: the known part of the amount.
    :param share: the share of sessions with a known cost, 0 to 1; None without sessions.
    """
    known = amount is None or share is None or share == 1
    return dollars(amount) if known else f"at least {dollars(amount)}"


def shown_days(month: Month) -> str:
    """Return which days of the month its cost includes."""
    if month.until is None or month.since == month.days[0]:
        return f"by {day(month.until or month.days[-1], year=False)}"
    return f"from {day(month.since, year=False)} to {day(month.until, year=False)}"


def days_so_far(month: Month) -> str:
    """Return which days of the month its cost includes, and how many of them have no known cost."""
    unknown = f" ({count(month.unknown_days, 'day')} unknown)" if month.unknown_days else ""
    return f"{shown_days(month)}{unknown}"


def forecast_text(month: Month) -> str:
    """Return the forecast for the month in a few words."""
    expected = month.forecast
    return f"forecast {about_dollars(expected.amount, month.least)}" if expected else "too early for a forecast"


def money(key: str, organization: Organization, settings: Settings) -> Section:
    """Show the cost of API usage over time."""
    month = organization.month
    if not has_api_usage(organization.comparison.period) and not month.to_date:
        return Section(_HEADING, [Note("There is no API usage, so there is no cost over time.")])
    if month.until and month.to_date is None:
        unknown = "Unknown: no API session has a known cost in US dollars."
        return Section(_HEADING, [Note(unknown)])
    basis = (
        "Charges for Claude Code, after discounts and before credits and taxes."
        if month.is_charged
        else "An estimate of API usage, as far as its cost is known. It is not a bill."
    )
    return Section(
        _HEADING,
        [
            SideBySide([_over_period(key, organization, settings), _of_month(key, month, settings)]),
            Note(basis, "note"),
        ],
    )


def _over_period(key: str, organization: Organization, settings: Settings) -> list[Element]:
    month = organization.month
    first, last = settings.period
    points = month.series.within(first, last).buckets if month.series else []
    if month.series is None or month.series.grain == "period":
        return [
            Note(
                f"The cost over time is not shown: on some days or weeks fewer than {settings.min_group_size} people "
                "and API keys had a cost, and it would be theirs."
            )
        ]
    grain = month.series.grain
    known = [[month.costs[each] for each in bucket if each in month.costs] for bucket in points]
    sums = [sum(costs, Decimal(0)) if costs else None for costs in known]
    lacking = [
        "" if len(costs) == len(bucket) else "incomplete" if costs else "not known"
        for costs, bucket in zip(known, points, strict=True)
    ]
    most = max((cost for cost in sums if cost is not None), default=None)
    if most is None:
        message = "Nothing is known yet."
    elif most > 0:
        message = f"The most expensive {grain} cost {dollars(most)}."
    else:
        message = f"No {grain} cost more than {dollars(0)}."
    if any(lacking):
        message += " Shaded: not all is known."
    if grain == "week":
        few = f"on some days fewer than {settings.min_group_size} people had a cost"
        message += f" Per week, since {few}, or the week or month is not over."
    heading = f"Cost per {grain}"
    is_whole = [grain == "day" or len(bucket) == 7 for bucket in points]
    if not all(is_whole):
        message += " Hollow: a part of a week."
    chart = charts.column_chart(
        f"{key}-cost-over-time",
        f"{heading} in US dollars. {message}",
        [bucket[0] for bucket in points],
        lacking,
        [None if cost is None else float(cost) for cost in sums],
        charts.FIRST_COLOUR,
        is_whole,
        is_half=True,
    )
    # The cost of a day that is not known is a dash.
    columns = ("Day", "Cost") if grain == "day" else ("Week", "Cost", "Days known")
    rows = [
        (period(bucket[0], bucket[-1]), or_nothing(dollars, cost), f"{len(costs)} of {len(bucket)}")[: len(columns)]
        for bucket, cost, costs in zip(points, sums, known, strict=True)
    ]
    table = Table(heading, columns, rows, summary=f"Table: cost per {grain}")
    return [Figure(heading, message, chart), table]


def _of_month(key: str, month: Month, settings: Settings) -> list[Element]:
    name = month_name(month.days[0])
    if month.until is None:
        return [Note(f"The cost of {name} so far is not shown: too few people had a cost, or no day is known yet.")]
    message = " ".join(_sentences(month, settings))
    ends = _cumulated(month)
    budget = settings.monthly_budget_cents / 100
    whole = [True] * len(month.days)
    name_of_line = "in all" if month.is_over else "so far"
    lines = [charts.Line(name_of_line, [ends.get(each) for each in month.days], whole, charts.FIRST_COLOUR, 2.4)]
    if budget:
        lines.append(charts.Line("budget", [budget] * len(month.days), whole, charts.THIRD_COLOUR, 1.2))
    if (expected := month.forecast) and not month.is_over:
        ahead = _between(month.until, ends[month.until], month.days[-1], three_digits(expected.amount, month.least))
        dotted = [False] * len(month.days)
        lines.append(
            charts.Line("forecast", [ahead.get(each) for each in month.days], dotted, charts.SECOND_COLOUR, 1.8)
        )
    chart = charts.line_chart(
        f"{key}-month",
        f"Cost of {name}, in US dollars. {message}",
        list(month.days),
        ["not known" if month.since <= each <= month.until and each not in month.costs else "" for each in month.days],
        lines,
        written=short_dollars,
    )
    return [Figure(f"{name} so far" if not month.is_over else name, message, chart)]


def _sentences(month: Month, settings: Settings) -> list[str]:
    """Return the cost of the month so far, the forecast, and the error of earlier forecasts."""
    name, until, amount = month_name(month.days[0]), month.until, month.to_date
    if until is None or amount is None:
        return []
    known = month.known_share
    spent = f"{at_least(amount, known)} {shown_days(month)}"
    if known is not None and known < 1:
        spent += f" (cost known for {percent(known)} of sessions)"
    budget = settings.monthly_budget_cents / 100
    if budget:
        spent += f", {percent(float(amount) / budget)} of the budget of {dollars(budget)}"
    sentences = [f"{spent[0].upper()}{spent[1:]}."]
    if month.since > month.days[0]:
        sentences.append("The days before are not shown, since too few people had a cost.")
    if month.unknown_days:
        sentences.append(f"The cost of {count(month.unknown_days, 'day')} of it is not known (shaded).")
    if month.is_over:
        return sentences
    expected = month.forecast
    if expected is None:
        return [*sentences, "It is too early for a forecast: the cost of two of each weekday must be known."]
    about, low, high = (about_dollars(value, month.least) for value in (expected.amount, expected.low, expected.high))
    text = (
        f"Forecast for {name}: {about}, between {low} and {high} if the rest is like the cheapest or the most "
        f"expensive of the last {count(expected.weeks, 'week')} with a known cost"
    )
    if budget:
        text += f"; {percent(expected.amount / budget, 0)} of the budget"
    sentences.append(f"{text}.")
    if errors := month.past_errors:
        months = "the month before" if len(errors) == 1 else f"the last {len(errors)} months"
        wrong_by = listed([f"{signed(error * 100)}\u00a0%" for error in errors])
        sentences.append(f"On day {until.day} of {months}, the same forecast was wrong by {wrong_by}.")
    else:
        sentences.append("No earlier month is known completely, so the error of such forecasts is unknown.")
    return sentences


def _cumulated(month: Month) -> dict[date, float]:
    """Return the cumulative cost at the end of each point up to ``until``, interpolated linearly."""
    points = month.series.within(month.since, month.days[-1]).buckets if month.series else []
    line: dict[date, float] = {}
    total, reached = Decimal(0), None
    for bucket in points:
        before, start = total, reached or bucket[0]
        total += sum((month.costs.get(each, Decimal(0)) for each in bucket), Decimal(0))
        if month.until is None or bucket[-1] > month.until:
            break
        line |= _between(start, float(before), bucket[-1], float(total))
        reached = bucket[-1]
    return line


def _between(first: date, start: float, last: date, end: float) -> dict[date, float]:
    length = (last - first).days
    return {
        first + timedelta(days=number): start + (end - start) * number / length if length else end
        for number in range(length + 1)
    }


_KINDS = {"user_actor": "People", "api_actor": "API keys"}
_ACTORS = ("actors", "actors_with_cost")
_TYPES = {"api": "API cost", "subscription": "Subscription value (not billed)"}


def known_estimates(organization: Organization, settings: Settings) -> list[Section]:
    """Show how much of the estimates is known, and the extrapolated total where it can be computed."""
    rows = []
    actors = Counter[str]()
    for row in organization.costs:
        actors[row["customer_type"]] += row["actors"]
    # All sessions less those of the other customer types would be those of few people.
    shows_sessions = not any(map(settings.is_few, actors.values()))
    for customer_type, heading in _TYPES.items():
        cells = [row for row in organization.costs if row["customer_type"] == customer_type]
        kinds: dict[str, list[Row]] = {}
        for row in cells:
            kinds.setdefault(f"{heading}: {_KINDS.get(row['actor_type'], 'others')}", []).append(row)
        is_split = organization.comparison.with_keys and len(kinds) > 1
        if is_split or any(settings.is_few(row[name]) for row in cells for name in _ACTORS):
            # Subtracting one of them from the total would give the other.
            summed = ("sessions", "sessions_with_cost", *_ACTORS, "amount_usd")
            together = {name: total(cells, name) for name in summed}
            kinds = {f"{heading}: people and API keys": [together]}
        for label, members in kinds.items():
            if any(settings.is_few(sum(row[name] for row in members)) for name in _ACTORS):
                continue
            sessions = sum(row["sessions"] for row in members)
            known = share(sum(row["sessions_with_cost"] for row in members), sessions)
            amount, whole = total(members, "amount_usd"), whole_cost(members)
            if amount is None or whole is None:
                estimate = NOTHING
            else:
                estimate = dollars(amount) if known in (None, 1) else about_dollars(whole, float(amount))
            rows.append(
                (
                    label,
                    number(sessions) if shows_sessions else NOTHING,
                    or_nothing(percent, known),
                    or_nothing(dollars, amount),
                    estimate,
                )
            )
    if not rows:
        return []
    columns = ("", "Sessions", "Cost known for", "Known amount", "All sessions (estimate)")
    return [
        Section(
            "Known and unknown cost",
            [
                Table("Estimates by who used what", columns, rows),
                Note(
                    "The last column assumes that sessions without a known cost cost as much as the others in their "
                    "row. It is shown where the cost of at least half of the sessions is known, and nothing else is "
                    "computed from it.",
                    "note",
                ),
            ],
        )
    ]

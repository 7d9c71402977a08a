"""The page: what was collected, in HTML that runs nothing and asks nothing of anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import escape
from importlib import resources
from statistics import median
from typing import Any

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report import charts
from airflow_provider_claude_code.analytics.report.data import (
    SMALL_GROUPS,
    UNMAPPED,
    Organization,
    Row,
    acceptance_rate,
    folded,
    total,
)
from airflow_provider_claude_code.analytics.report.wording import (
    UNKNOWN,
    after,
    count,
    day,
    day_ranges,
    dollars,
    listed,
    number,
    percent,
    period,
    shortened,
)
from airflow_provider_claude_code.names import visible

_MOST_BARS = 12
_MOST_ROWS = 20
_MOST_DAYS_BY_DAY = 31
_NOTHING = "\u2013"


class Html(str):
    """Text that is HTML already. Everything else is escaped when it is put into the page."""

    __slots__ = ()


def write_page(organizations: Sequence[Organization], settings: Settings, generated_at: datetime) -> str:
    """
    Write the document.

    :param organizations: what was collected.
    :param settings: the period.
    :param generated_at: when the report is made, with a time zone.
    """
    length = (settings.last_day - settings.first_day).days + 1
    in_words = period(settings.first_day, settings.last_day)
    made = f"{day(generated_at.astimezone(UTC).date())} at {generated_at.astimezone(UTC):%H:%M} UTC"
    style = (resources.files(__package__) / "style.css").read_text(encoding="utf-8")
    sections = [_organization(number, organization, settings) for number, organization in enumerate(organizations, 1)]
    links = [
        f'<li><a href="#o{number}">{_name(organization.id)}</a></li>'
        for number, organization in enumerate(organizations, 1)
    ]
    nav = f'<nav aria-label="Organisations"><ul>{"".join(links)}</ul></nav>' if len(links) > 1 else ""
    if not sections:
        sections = [_paragraph("No day has been loaded yet, so there is nothing to report.", "warning")]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Claude Code usage, {_html(in_words)}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the numbers</a>
<header>
<h1>Claude Code usage</h1>
<p class="lead">{_html(in_words)} ({count(length, "day")}, UTC). Made on {made}.</p>
</header>
{nav}
<main id="main">
{"".join(sections)}
{_caveats(settings)}
</main>
</body>
</html>
"""


# Parts of an organisation


def _organization(position: int, organization: Organization, settings: Settings) -> str:
    key = f"o{position}"
    if not organization.has_usage:
        parts = [_nothing_used(organization), *([_health(organization)] if organization.loaded else [])]
    else:
        parts = [
            _loaded_and_compared(organization, settings),
            _suspicious_loads(organization),
            _tiles(organization),
            _adoption(key, organization, settings),
            _acceptance(key, organization, settings),
            _cost(key, organization, settings),
            _output(key, organization),
            _groups(organization, settings),
            _people(organization),
            _health(organization),
        ]
    return f"""<section class="organization" aria-labelledby="{key}">
<h2 id="{key}">Organisation {_name(organization.id)}</h2>
{"".join(parts)}
</section>
"""


def _nothing_used(organization: Organization) -> str:
    days = list(organization.days)
    if organization.loaded:
        text = (
            f"Nobody used Claude Code in this period: {_days_loaded(organization)}, and the API had no usage on them."
        )
    elif organization.first_loaded_day is None:
        text = "No day of this organisation has been loaded yet."
    elif organization.first_loaded_day > days[-1]:
        text = (
            f"Nothing is known of this period: the first day that was loaded is {day(organization.first_loaded_day)}."
        )
    else:
        text = "Nothing is known of this period: none of its days has been loaded."
    return _paragraph(text, "warning")


def _loaded_and_compared(organization: Organization, settings: Settings) -> str:
    parts = []
    if organization.missing_days:
        parts.append(f"not loaded: {day_ranges(organization.missing_days)}")
    if organization.incomplete_days:
        parts.append(f"loaded only before the day was complete: {day_ranges(organization.incomplete_days)}")
    if parts:
        return _paragraph(
            f"Only {_days_loaded(organization)} ({'; '.join(parts)}). The numbers below leave out what is missing, so "
            "counts and amounts are too low, and nothing is compared with the period before.",
            "warning",
        )
    first = settings.first_day - timedelta(days=len(organization.days))
    before = period(first, settings.first_day - timedelta(days=1))
    return _paragraph(f"{_days_loaded(organization)}. The period before is {before}.", "lead")


def _suspicious_loads(organization: Organization) -> str:
    texts = []
    if repeated := [row["date"] for row in organization.findings if row["check_name"] == "repeated_keys"]:
        texts.append(
            f"Records repeat the key of another on {day_ranges(repeated)}. If the API repeated them, the numbers below "
            "count them twice."
        )
    if lost := [row["date"] for row in organization.findings if row["check_name"] == "lost_records"]:
        texts.append(
            f"The newest load has fewer records than an earlier one on {day_ranges(lost)}, so the numbers below may be "
            "too low."
        )
    return "".join(_paragraph(text, "warning") for text in texts)


def _found(organization: Organization, check: str) -> str:
    """Return what a check found, as a paragraph."""
    return " ".join(row["finding"] for row in organization.findings if row["check_name"] == check)


def _days_loaded(organization: Organization) -> str:
    return f"{organization.totals['days_loaded']} of {count(len(organization.days), 'day')} loaded"


_TILES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Active people", "active_people", number),
    ("Sessions", "sessions", number),
    ("Lines added", "lines_added", number),
    ("Commits", "commits", number),
    ("Pull requests", "pull_requests", number),
    ("Acceptance rate", "acceptance_rate", percent),
    ("API cost (estimate)", "api_cost_usd", dollars),
    ("Subscription value (no bill)", "subscription_value_usd", dollars),
)


def _tiles(organization: Organization) -> str:
    now = {**organization.totals, "acceptance_rate": acceptance_rate(organization.totals)}
    before = {**organization.totals_before, "acceptance_rate": acceptance_rate(organization.totals_before)}
    tiles = []
    for label, name, written in _TILES:
        value = "none offered" if name == "acceptance_rate" and now[name] is None else written(now[name])
        change, remark = _change(organization, now[name], before[name], in_points=name == "acceptance_rate")
        if written is dollars and now[name] is None:
            remark = "no record of this kind names a model"
        if change:
            remark = f"({written(before[name])}\u00a0before)"
        detail = f"<strong>{_html(change)}</strong> {_html(remark)}" if change else _html(remark)
        tiles.append(
            f'<div><dt>{_html(label)}</dt><dd class="value">{_html(value)}</dd><dd class="change">{detail}</dd></div>'
        )
    return f'<dl class="tiles">{"".join(tiles)}</dl>\n'


def _change(organization: Organization, now: Any, before: Any, *, in_points: bool) -> tuple[str, str]:
    """Return the change and nothing else, or nothing and why."""
    length = len(organization.days)
    loaded, loaded_before = organization.totals["days_loaded"], organization.totals_before["days_loaded"]
    if loaded < length:
        return "", f"no comparison: {loaded} of {count(length, 'day')} loaded"
    if loaded_before < length:
        return "", f"no comparison: {loaded_before} of {count(length, 'day')} loaded before"
    if now is None or before is None:
        return "", "no comparison: unknown now" if now is None else "no comparison: unknown before"
    if in_points:
        return f"{_signed((now - before) * 100)} points", ""
    if before == 0:
        return "", "new: 0 before" if now else "0 before, too"
    return f"{_signed(float((now - before) / before) * 100)}\u00a0%", ""


def _signed(value: float) -> str:
    text = f"{value:+,.1f}".replace("-", "\u2212")
    return "\u00b10.0" if text[1:] == "0.0" else text


def _adoption(key: str, organization: Organization, settings: Settings) -> str:
    days, rows = (
        list(organization.days),
        [row if row and row["is_loaded"] else None for row in organization.days.values()],
    )

    def values(name: str) -> list[float | None]:
        return [row[name] if row else None for row in rows]

    def are_whole(name: str, window: int) -> list[bool]:
        return [bool(row and row[name] == window) for row in rows]

    last = organization.loaded[-1]
    daily = [row["daily_active_people"] for row in organization.loaded]
    message = (
        f"On {day(last['date'])}, {count(last['monthly_active_people'], 'person', 'people')} had been active in 28 "
        f"days, {number(last['weekly_active_people'])} in 7 days and {number(last['daily_active_people'])} on the day "
        "itself."
    )
    chart = charts.line_chart(
        f"{key}-adoption",
        f"Active people per day. {message}",
        days,
        _shaded(organization),
        [
            charts.Line(
                "28 days", values("monthly_active_people"), are_whole("days_loaded_28", 28), charts.FIRST_COLOUR, 2.4
            ),
            charts.Line(
                "7 days", values("weekly_active_people"), are_whole("days_loaded_7", 7), charts.SECOND_COLOUR, 1.8
            ),
            charts.Line("1 day", values("daily_active_people"), [bool(row) for row in rows], charts.THIRD_COLOUR, 1.2),
        ],
    )
    note = "Each line counts people who were active on the day or on any of the 7 or 28 days that end with it."
    if any(row and row["days_loaded_28"] < 28 for row in rows):
        note += " Dotted: not all of these days are loaded, so the count is too low."
    note += _shading(organization)
    table = _day_table(
        organization,
        "Active people",
        (
            (
                "On a day (mean)" if _is_by_week(organization) else "On the day",
                lambda members: _mean(members, "daily_active_people"),
            ),
            ("In 7 days", lambda members: number(members[-1]["weekly_active_people"])),
            ("In 28 days", lambda members: number(members[-1]["monthly_active_people"])),
            ("Days loaded of 28", lambda members: number(members[-1]["days_loaded_28"])),
        ),
    )
    figure = _figure("Active people", f"{message} {note}", chart, table)
    mean = sum(daily) / len(daily)
    facts = [
        _fact("Mean of the loaded days:", f"{number(mean, 1)} active people"),
        *_comings_and_goings(organization, last),
    ]
    return _card("Adoption", figure, _list(facts), _where(organization, settings))


def _comings_and_goings(organization: Organization, last: Row) -> list[str]:
    facts: list[str] = []
    known = [row for row in organization.loaded if row["new_people"] is not None]
    if known:
        partly = "" if len(known) == len(organization.days) else f", on {count(len(known), 'day')} where it is known"
        facts += [
            _fact(
                "New people:", f"{number(total(known, 'new_people'))} (never active before in the loaded days{partly})"
            ),
            _fact(
                "Returning people:",
                f"{number(total(known, 'returning_people'))} (active again after more than 28 days{partly})",
            ),
        ]
    else:
        facts.append(_fact("New and returning people:", "unknown; this takes 28 days of history."))
    quiet = last["gone_quiet_people"]
    if quiet is None:
        facts.append(_fact("Gone quiet:", "unknown; this takes 56 days of history."))
    else:
        missing = 57 - last["days_loaded_57"]
        unsure = f"; {missing} of these days are not loaded" if missing else ""
        facts.append(
            _fact(
                "Gone quiet:", f"{number(quiet)} (active 29 to 56 days before {day(last['date'])}, not since{unsure})"
            )
        )
    wrong = _found(organization, "roster")
    if last["eligible_people"] and (last["eligible_active_people"] or not wrong):
        facts.append(
            _fact(
                "Adoption rate:",
                f"{percent(last['adoption_rate'])}; {number(last['eligible_active_people'])} of "
                f"{count(last['eligible_people'], 'eligible person', 'eligible people')} were active in the 28 days to "
                f"{day(last['date'])}",
            )
        )
        facts.append(_fact("Idle seats:", number(last["idle_seats"])))
    else:
        reason = f"see what is wrong with the roster. {wrong}" if wrong else "they take a roster of eligible people."
        facts.append(_fact("Adoption rate and idle seats:", f"unknown; {reason}"))
    return facts


_DIMENSIONS = {
    "terminal_type": "Terminal",
    "location": "Place",
    "customer_type": "Paid by",
}


def _where(organization: Organization, settings: Settings) -> str:
    tables = []
    for dimension, heading in _DIMENSIONS.items():
        rows = folded(organization.shares.get(dimension, []), "value", _MOST_BARS, ("sessions",))
        sessions = total(rows, "sessions")
        if not sessions:
            continue
        tables.append(
            _table(
                f"Sessions by {dimension.replace('_', ' ')}",
                (heading, "Sessions", "Share", ""),
                [
                    (
                        _name(row["value"]),
                        number(row["sessions"]),
                        percent(row["sessions"] / sessions),
                        _bar(row["sessions"] / sessions),
                    )
                    for row in rows
                ],
            )
        )
    if not tables:
        return ""
    note = (
        "Sums over the period; sessions of API keys are not in them. A person who uses two terminals is in two rows. "
        + _folding(
            settings,
            [row for rows in organization.shares.values() for row in rows],
            "value",
            "sessions on days on which fewer than {size} people shared a value",
        )
    )
    # The first is the longest.
    columns = f"<div>{tables[0]}</div><div>{''.join(tables[1:])}</div>"
    return f'<h4>Where people work</h4><div class="pair">{columns}</div>{_paragraph(note, "note")}'


def _acceptance(key: str, organization: Organization, settings: Settings) -> str:
    tools = [row for row in organization.tools if row["offered"]]
    if not tools:
        return _card("Acceptance by tool", _paragraph("No tool offered anything in this period."))
    shown = folded(tools, "tool_name", _MOST_BARS, ("offered", "accepted"))
    offered, accepted = total(tools, "offered"), total(tools, "accepted")
    message = f"{number(accepted)} of {number(offered)} offered actions were accepted, {percent(accepted / offered)}."
    each = [f"{_shown(row['tool_name'])} {percent(row['accepted'] / row['offered'])}" for row in shown]
    chart = charts.bar_chart(
        f"{key}-tools",
        f"Acceptance rate by tool. {message} {', '.join(each)}.",
        [
            charts.Bar(
                visible(row["tool_name"]),
                row["accepted"] / row["offered"],
                f"{number(row['accepted'])} of {number(row['offered'])}: {percent(row['accepted'] / row['offered'])}",
            )
            for row in shown
        ],
        charts.FIRST_COLOUR,
        of_whole=True,
    )
    table = _table(
        "Accepted and offered actions by tool",
        ("Tool", "Acceptance rate", "Accepted", "Offered"),
        [
            (
                _name(row["tool_name"]),
                percent(row["accepted"] / row["offered"]),
                number(row["accepted"]),
                number(row["offered"]),
            )
            for row in tools
        ],
    )
    folding = _folding(settings, tools, "tool_name", "tools of fewer than {size} people on a day")
    note = f"The tool that offered most comes first. {folding}"
    return _card("Acceptance by tool", _figure("Accepted of offered actions", f"{message} {note}", chart, table))


def _cost(key: str, organization: Organization, settings: Settings) -> str:
    totals = organization.totals
    detail = totals["sessions_with_model_detail"] / totals["sessions"] if totals["sessions"] else None
    panels = []
    for name, heading, colour, meaning in (
        ("api_cost_usd", "API cost", charts.FIRST_COLOUR, "Already in the organisation's cost report."),
        (
            "subscription_value_usd",
            "Subscription value",
            charts.SECOND_COLOUR,
            "What is included in subscriptions; no bill.",
        ),
    ):
        panels.append(_cost_panel(key, organization, name, heading, colour, meaning))
    table = _table(
        "Cost and tokens by model",
        ("Model", "API cost", "Subscription value", "Read from cache", "Entries", "Rounded to 0"),
        [
            (
                _name(row["model"]),
                _known_dollars(row["api_cost_usd"]),
                _known_dollars(row["subscription_value_usd"]),
                percent(_cache_read_ratio([row])) if _cache_read_ratio([row]) is not None else _NOTHING,
                number(row["entries"]),
                number(row["entries_rounded_to_zero"]),
            )
            for row in organization.models
        ],
    )
    facts = [
        _fact(
            "Model detail:",
            f"{percent(detail)} of sessions ({number(totals['sessions_with_model_detail'])} of "
            f"{number(totals['sessions'])}). What the others cost is unknown, and in neither panel.",
        ),
    ]
    rounded = total(organization.models, "entries_rounded_to_zero")
    if rounded:
        facts.append(
            _fact(
                "Rounded to 0:",
                f"{number(rounded)} of {_entries(total(organization.models, 'entries'))} used tokens at a cost "
                "that the API gives as 0.",
            )
        )
    ratio = _cache_read_ratio(organization.models)
    if ratio is not None:
        facts.append(_fact("Cache:", f"{percent(ratio)} of the tokens that went in were read from it."))
    if totals["other_cost_entries"]:
        facts.append(
            _fact(
                "Not shown:",
                f"{_entries(totals['other_cost_entries'])} in another currency than US dollars or of another customer "
                "type. Their cost is in neither panel.",
            )
        )
    shown = f'<div class="pair">{"".join(panels)}</div>'
    return _card(
        "Cost by model",
        _list(facts),
        _paragraph("These are two different things, and must not be added up.", "note"),
        shown,
        _details("Table: cost and tokens by model", table) if organization.models else "",
        _paragraph(
            _folding(settings, organization.models, "model", "models of fewer than {size} people on a day"), "note"
        ),
    )


def _entries(value: int) -> str:
    return count(value, "model entry", "model entries")


def _cost_panel(key: str, organization: Organization, name: str, heading: str, colour: str, meaning: str) -> str:
    priced = [row for row in organization.models if row[name] is not None]
    priced.sort(key=lambda row: row[name], reverse=True)
    amount = organization.totals[name]
    if not priced:
        text = f"{dollars(amount).capitalize()}: no record of this kind names a model. {meaning}"
        return f"<div>{_paragraph(Html(f'<strong>{heading}</strong>'))}{_paragraph(text, 'note')}</div>"
    shown = folded(priced, "model", _MOST_BARS, (name,))
    largest = max(row[name] for row in shown)
    each = [f"{_shown(row['model'])} {dollars(row[name])}" for row in shown]
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
    return _figure(f"{heading}: {dollars(amount)}", meaning, chart)


def _cache_read_ratio(rows: Sequence[Row]) -> float | None:
    read = total(rows, "cache_read_tokens")
    went_in = [total(rows, name) for name in ("input_tokens", "cache_read_tokens", "cache_creation_tokens")]
    return read / sum(went_in) if None not in went_in and sum(went_in) else None


_RESULTS = (
    ("Lines added", "lines_added"),
    ("Lines removed", "lines_removed"),
    ("Commits", "commits"),
    ("Pull requests", "pull_requests"),
)


def _output(key: str, organization: Organization) -> str:
    figures = []
    days = list(organization.days)
    for name, heading, colour in (
        ("lines_added", "Lines added", charts.FIRST_COLOUR),
        ("commits", "Commits", charts.SECOND_COLOUR),
    ):
        values = [row[name] if row else None for row in organization.days.values()]
        most = max(organization.loaded, key=lambda row: row[name])
        message = (
            f"{number(organization.totals[name])} in the period; the most on a day were {number(most[name])}, on "
            f"{day(most['date'])}."
        )
        chart = charts.column_chart(
            f"{key}-{name}", f"{heading} per day. {message}", days, _shaded(organization), values, colour
        )
        figures.append(_figure(f"{heading} per day", message, chart))
    table = _day_table(
        organization,
        "Lines, commits and pull requests",
        [(label, _summing(name)) for label, name in _RESULTS],
    )
    note = f"They measure activity, not its worth.{_shading(organization)}"
    return _card("Lines and commits", *figures, _details("Table: lines and commits", table), _paragraph(note, "note"))


def _groups(organization: Organization, settings: Settings) -> str:
    parts = []
    groups = organization.groups
    if {row["team"] for row in groups} <= {UNMAPPED}:
        wrong = _found(organization, "mapping")
        parts.append(
            _paragraph(f"No groups: see what is wrong with the mapping. {wrong}", "warning")
            if wrong
            else _paragraph(
                "No groups: a mapping of people and API keys to teams and cost centres would split these numbers."
            )
        )
    if groups:
        sums = ("sessions", "sessions_with_model_detail", "api_cost_usd", "subscription_value_usd")
        shown = folded(groups, "team", _MOST_ROWS, sums)
        parts.append(
            _table(
                "Groups with the most sessions",
                (
                    "Team",
                    "Cost centre",
                    "People",
                    "API keys",
                    "Sessions",
                    "With model detail",
                    "API cost",
                    "Subscription value",
                ),
                [
                    (
                        _name(row["team"]),
                        Html(_name(row["cost_centre"])) if row.get("cost_centre") else _NOTHING,
                        number(row["people"]) if "people" in row else _NOTHING,
                        number(row["keys"]) if "keys" in row else _NOTHING,
                        number(row["sessions"]),
                        percent(row["sessions_with_model_detail"] / row["sessions"]) if row["sessions"] else _NOTHING,
                        dollars(row["api_cost_usd"]),
                        dollars(row["subscription_value_usd"]),
                    )
                    for row in shown
                ],
                text_columns=(1,),
            )
        )
        parts.append(_paragraph(_folding(settings, groups, "team", "groups of fewer than {size} people"), "note"))
    return _card("Groups", *parts) + _card("Cost per result", *_ratios(organization))


_RATIOS = (
    ("active person", "_per_active_person"),
    ("session", "_per_session"),
    ("commit", "_per_commit"),
    ("pull request", "_per_pull_request"),
    ("1,000 lines added", "_per_1000_lines_added"),
)


def _ratios(organization: Organization) -> list[str]:
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
        return [
            _paragraph("Unknown: too few people used either an API key or a subscription to show what a result cost.")
        ]
    rows = [
        (f"per {label}", *(dollars(row[amount + suffix]) for _heading, row, amount in columns))
        for label, suffix in _RATIOS
    ]
    rows.append(
        (
            "sessions with model detail",
            *(percent(row["share_of_sessions_with_model_detail"]) for _heading, row, _amount in columns),
        )
    )
    return [
        _table("What people's work cost per result", ("", *(heading for heading, _row, _amount in columns)), rows),
        _paragraph(
            "People only, without API keys. Each column divides by the results of the people it belongs to. Sessions "
            "without model detail have results but no known cost, so the amounts are too low by about their share.",
            "note",
        ),
    ]


def _people(organization: Organization) -> str:
    if organization.people is None:
        return ""
    shown = organization.people[:_MOST_ROWS]
    table = _table(
        f"The {count(len(shown), 'person', 'people')} with the most sessions, of {number(len(organization.people))}",
        (
            "Person",
            "Active days",
            "Sessions",
            "Lines added",
            "Commits",
            "Pull requests",
            "Acceptance rate",
            "API cost",
            "Subscription value",
        ),
        [
            (
                _name(row["actor_id"]),
                number(row["active_days"]),
                number(row["sessions"]),
                number(row["lines_added"]),
                number(row["commits"]),
                number(row["pull_requests"]),
                percent(row["acceptance_rate"]) if row["acceptance_rate"] is not None else _NOTHING,
                dollars(row["api_cost_usd"]),
                dollars(row["subscription_value_usd"]),
            )
            for row in shown
        ],
    )
    warning = (
        "This part is personal data. Share this report only with those who may see it; the numbers are no measure of "
        "anybody's performance."
    )
    return _card("People", _paragraph(warning, "warning"), table)


def _health(organization: Organization) -> str:
    facts = [
        _fact(
            "Loaded after the day was complete:",
            f"{organization.totals['days_loaded']} of {count(len(organization.days), 'day')}",
        ),
        _fact("Not loaded:", _days_or_none(organization.missing_days)),
        _fact("Loaded only before the day was complete:", _days_or_none(organization.incomplete_days)),
        _fact("Loaded, and without any usage:", _days_or_none(organization.idle_days)),
        _fact("Restated (a later load found other content):", _restated(organization)),
    ]
    hours = [
        row["first_complete_hours_after_day_end"]
        for row in organization.health
        if row["table_name"] == "usage" and row["first_complete_hours_after_day_end"] is not None
    ]
    if hours:
        facts.append(
            _fact(
                "First loaded completely:",
                f"{after(median(hours))} after the end of the day (median), {after(max(hours))} at the latest",
            )
        )
    findings: dict[tuple[str, str], list[Row]] = {}
    for row in organization.findings:
        findings.setdefault((row["check_name"], row["finding"]), []).append(row)
    left = len(findings) - _MOST_ROWS
    if findings:
        table = _table(
            "What the checks found" + (f" (the first {_MOST_ROWS} of {len(findings)})" if left > 0 else ""),
            ("Check", "Days", "Tables", "Finding"),
            [
                (
                    _name(check),
                    day_ranges(row["date"] for row in rows if row["date"]) or _NOTHING,
                    listed(sorted({visible(row["table_name"]) for row in rows})),
                    visible(finding),
                )
                for (check, finding), rows in list(findings.items())[:_MOST_ROWS]
            ],
            text_columns=(1, 2, 3),
        )
    else:
        table = _paragraph("The checks found nothing wrong in this period.")
    return _card("Data health", _list(facts), table)


def _restated(organization: Organization) -> str:
    if not organization.health:
        return f"{UNKNOWN}; the key of another organisation loaded these days"
    return _days_or_none(
        [row["date"] for row in organization.restatements if row["was_complete"] and not row["identity_changed"]]
    )


def _days_or_none(days: Sequence[date]) -> str:
    return f"{count(len(set(days)), 'day')} ({day_ranges(days)})" if days else "none"


_CAVEATS = (
    "All amounts are estimates in US dollars.",
    "The API cost is already in the organisation's cost report. Never add the two.",
    "The subscription value says what usage within subscriptions would have cost by use. It is not a bill, and must "
    "not be added to the API cost.",
    "Sessions without model detail have an unknown cost, not one of 0.",
    "Usage through Amazon Bedrock, Google Cloud or Microsoft Foundry is not in these numbers.",
    "A person who uses two terminals, or works locally and remotely, counts once among people, and in several rows by "
    "terminal and place.",
    "Days are UTC days, from 00:00 to 24:00.",
    "Usage can arrive after a day has been loaded; such a day changes when it is loaded again.",
    "Lines, commits and pull requests measure activity, not what it is worth.",
)


def _caveats(settings: Settings) -> str:
    caveats = list(_CAVEATS)
    if settings.min_group_size > 1:
        caveats.append(
            f"Groups, tools, models and terminals of fewer than {settings.min_group_size} people are folded together "
            f"as {SMALL_GROUPS}."
        )
    return f"""<section class="card" aria-labelledby="about">
<h2 id="about">How to read these numbers</h2>
{_list(caveats)}</section>
"""


def _folding(settings: Settings, rows: Iterable[Row], name: str, what: str) -> str:
    if all(row[name] != SMALL_GROUPS for row in rows):
        return ""
    return f"{SMALL_GROUPS}: {what.format(size=settings.min_group_size)}."


# HTML


def _html(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value))


def _name(value: object) -> Html:
    """Write a name from outside: visible, escaped, and without effect on the direction of what stands beside it."""
    return Html(f"<bdi>{escape(visible(value))}</bdi>")


def _shown(value: object) -> str:
    """Write a name for those who hear it among others."""
    return shortened(visible(value), 40)


def _paragraph(text: str, css_class: str = "") -> str:
    attribute = f' class="{css_class}"' if css_class else ""
    return f"<p{attribute}>{_html(text)}</p>\n" if text else ""


def _fact(label: str, text: str) -> Html:
    return Html(f"<strong>{_html(label)}</strong> {_html(text)}")


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_html(item)}</li>' for item in items)}</ul>\n"


def _card(heading: str, *parts: str) -> str:
    return f'<div class="card">\n<h3>{_html(heading)}</h3>\n{"".join(parts)}</div>\n'


def _figure(title: str, text: str, chart: str, table: str = "") -> str:
    details = _details(f"Table: {title[0].lower()}{title[1:]}", table) if table else ""
    caption = f"<figcaption><strong>{_html(title)}</strong> {_html(text)}</figcaption>"
    return f"<figure>\n{caption}\n{chart}\n</figure>\n{details}"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{_html(summary)}</summary>{content}</details>\n"


def _table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Sequence[int] = ()
) -> str:
    """Write a table whose first column names the rows; the others are numbers, but for some."""

    def css_class(position: int) -> str:
        return ' class="text"' if position in text_columns else ""

    head = "".join(
        f'<th scope="col"{css_class(position)}>{_html(column)}</th>' if column else "<td></td>"
        for position, column in enumerate(columns)
    )
    body = "".join(
        f'<tr><th scope="row">{_html(row[0])}</th>'
        + "".join(f"<td{css_class(position)}>{_html(cell)}</td>" for position, cell in enumerate(row[1:], 1))
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="table" role="group" aria-label="{_html(caption)}" tabindex="0"><table>'
        f"<caption>{_html(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def _bar(share: float) -> Html:
    return Html(f'<span class="bar" aria-hidden="true"><span style="width: {share * 100:.1f}%"></span></span>')


def _day_table(
    organization: Organization, caption: str, columns: Sequence[tuple[str, Callable[[Sequence[Row]], str]]]
) -> str:
    """Write a row per day, or per week (Monday to Sunday) when there are many days."""
    by_week = _is_by_week(organization)
    groups: dict[Any, list[date]] = {}
    for value in organization.days:
        groups.setdefault(value.isocalendar()[:2] if by_week else value, []).append(value)
    rows = []
    for days in groups.values():
        loaded = [row for value in days if (row := organization.days[value]) and row["is_loaded"]]
        complete = sum(bool(row["is_complete"]) for row in loaded)
        state = "yes" if complete == len(days) else "incomplete" if loaded else "not loaded"
        if by_week:
            state = f"{complete} of {len(days)}"
        cells = [write(loaded) if loaded else "not loaded" for _heading, write in columns]
        rows.append((period(days[0], days[-1]), state, *cells))
    heading = ("Week", "Days loaded") if by_week else ("Day", "Loaded")
    return _table(caption, (*heading, *(column for column, _write in columns)), rows)


def _is_by_week(organization: Organization) -> bool:
    return len(organization.days) > _MOST_DAYS_BY_DAY


def _summing(name: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: number(total(rows, name))


def _mean(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows]
    mean = sum(values) / len(values)
    return number(mean, 0 if len(values) == 1 else 1)


def _shaded(organization: Organization) -> list[str]:
    return [
        "not loaded" if not (row and row["is_loaded"]) else "" if row["is_complete"] else "incomplete"
        for row in organization.days.values()
    ]


def _shading(organization: Organization) -> str:
    return " Shaded days are not loaded, or incomplete." if any(_shaded(organization)) else ""


def _known_dollars(amount: Decimal | None) -> str:
    """Return an amount of a model; none means that the model was not used so, since its entries all have a cost."""
    return _NOTHING if amount is None else dollars(amount)

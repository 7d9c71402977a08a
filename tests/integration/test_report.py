"""The report says what the records say, of nobody by name, and is one page that asks nothing of anybody."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from airflow_provider_claude_code.analytics.models import Settings
from airflow_provider_claude_code.analytics.report import Report, make_report
from airflow_provider_claude_code.analytics.report.data import UNMAPPED, collect
from airflow_provider_claude_code.analytics.report.rendering import render
from airflow_provider_claude_code.analytics.report.sections import document
from airflow_provider_claude_code.analytics.sources import BigQuerySource, bigquery_relations
from airflow_provider_claude_code.quoting import visible
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from tests.loaded import HOSTILE, put_day, put_days, put_hostile_days, source
from tests.records import ORGANIZATION_ID, Json, model, official_example, people
from tests.servers.bigquery import BigQueryServer

FIRST = date(2025, 9, 8)
WEEK = [FIRST + timedelta(days=number) for number in range(7)]
WEEK_BEFORE = [day - timedelta(days=7) for day in WEEK]
MADE = datetime(2025, 9, 15, 6, 30, tzinfo=UTC)
SETTINGS = Settings(first_day=WEEK[0], last_day=WEEK[-1])
SETTINGS_WITHOUT_FOLDING = Settings(first_day=WEEK[0], last_day=WEEK[-1], min_group_size=1)
VOID = {"meta", "path", "rect", "use", "br"}


class Page(HTMLParser):
    """A page's elements, and the text in them."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(report.html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self._open:
            self.texts.append(("/".join(self._open), text))

    def handle_comment(self, comment: str) -> None:
        raise AssertionError(f"the page has a comment: {comment}")

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    def text(self) -> str:
        return " ".join(" ".join(text for place, text in self.texts if not place.endswith("style")).split())

    def table_names(self) -> set[str]:
        return {text for place, text in self.texts if place.endswith(("th/bdi", "td/bdi"))}

    def tile(self, label: str) -> list[str]:
        """Return a tile's value and what is said of its change."""
        texts = [text for place, text in self.texts if "/dl/" in place]
        start = next(position for position, text in enumerate(texts) if text.startswith(label))
        return [text.replace("\u00a0", " ").strip() for text in texts[start + 1 : start + 4]]


def report(root: Path, settings: Settings = SETTINGS, *, with_people: bool = False, **files: Path) -> Report:
    with source(root, settings, **files) as opened:
        return make_report(opened, settings, people=with_people, generated_at=MADE)


def charts(report: Report, name: str) -> list[str]:
    """Return the drawings whose accessible name begins so: the wide and the narrow one."""
    return [svg for svg in re.findall(r"<svg.*?</svg>", report.html, re.DOTALL) if f'aria-label="{name}' in svg]


@pytest.fixture(scope="module")
def made(loaded: Path) -> Report:
    """The report on the second of two weeks."""
    return report(loaded)


@pytest.fixture(scope="module")
def organization() -> Organization:
    return Organization.named("acme", users=40, seed=3)


def records(organization: Organization, days: Sequence[date]) -> dict[date, list[Json]]:
    return {day: organization.records(day, MADE + timedelta(days=400)) for day in days}


@pytest.fixture(scope="module")
def two_weeks(organization: Organization) -> dict[date, list[Json]]:
    return records(organization, [*WEEK_BEFORE, *WEEK])


@pytest.fixture(scope="module")
def loaded(two_weeks: dict[date, list[Json]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_days(tmp_path_factory.mktemp("loaded"), two_weeks)


def summed(rows: list[Json]) -> dict[str, Any]:
    """Add up records in the plainest way."""
    metrics = [row["core_metrics"] for row in rows]
    actions = [action for row in rows for action in row["tool_actions"].values()]
    accepted = sum(action["accepted"] for action in actions)
    sums = {
        "active_people": len({row["actor"]["email_address"] for row in rows if row["actor"]["type"] == "user_actor"}),
        "sessions": sum(metric["num_sessions"] for metric in metrics),
        "lines_added": sum(metric["lines_of_code"]["added"] for metric in metrics),
        "commits": sum(metric["commits_by_claude_code"] for metric in metrics),
        "pull_requests": sum(metric["pull_requests_by_claude_code"] for metric in metrics),
        "acceptance_rate": accepted / (accepted + sum(action["rejected"] for action in actions)),
    }
    for name, kind in (("api_cost_usd", "api"), ("subscription_value_usd", "subscription")):
        entries = [entry for row in rows if row["customer_type"] == kind for entry in row["model_breakdown"]]
        sums[name] = sum(Decimal(str(entry["estimated_cost"]["amount"])) for entry in entries) / 100
    return sums


class TestNumbers:
    def test_the_headlines_are_sums_of_the_records(self, made: Report, two_weeks: dict[date, list[Json]]) -> None:
        headline = dict(made.headlines[0])
        expected = summed([row for day in WEEK for row in two_weeks[day]])
        assert headline.pop("organization_id") == two_weeks[FIRST][0]["organization_id"]
        assert (headline.pop("days"), headline.pop("days_loaded")) == (7, 7)
        for name in ("api_cost_usd", "subscription_value_usd"):
            assert Decimal(headline.pop(name)) == expected.pop(name) > 0
        assert headline == pytest.approx(expected)

    def test_the_tiles_show_them_with_their_change(self, made: Report, two_weeks: dict[date, list[Json]]) -> None:
        page = Page(made)
        now, before = (summed([row for day in days for row in two_weeks[day]]) for days in (WEEK, WEEK_BEFORE))
        for label, name in (
            ("Active people", "active_people"),
            ("Sessions", "sessions"),
            ("Lines added", "lines_added"),
            ("Commits", "commits"),
            ("Pull requests", "pull_requests"),
        ):
            change = f"{(now[name] - before[name]) / before[name] * 100:+,.1f} %".replace("-", "\u2212")
            assert page.tile(label) == [f"{now[name]:,}", change, f"({before[name]:,} before)"]
        for label, name in (("API cost", "api_cost_usd"), ("Subscription value", "subscription_value_usd")):
            change = f"{(now[name] - before[name]) / before[name] * 100:+,.1f} %".replace("-", "\u2212")
            assert page.tile(label) == [f"${now[name]:,.2f}", change, f"(${before[name]:,.2f} before)"]
        rate, rate_before = now["acceptance_rate"] * 100, before["acceptance_rate"] * 100
        points = f"{rate - rate_before:+.1f} points".replace("-", "\u2212")
        assert page.tile("Acceptance rate") == [f"{rate:.1f} %", points, f"({rate_before:.1f} % before)"]

    def test_a_person_of_two_days_and_two_terminals_counts_once(self, tmp_path: Path) -> None:
        twice = [official_example(), official_example(terminal_type="tmux")]
        put_days(tmp_path, dict.fromkeys(WEEK, twice))
        (headline,) = report(tmp_path).headlines
        assert (headline["active_people"], headline["sessions"]) == (1, 70)

    def test_each_tool_shows_its_accepted_and_offered_actions(
        self, loaded: Path, two_weeks: dict[date, list[Json]]
    ) -> None:
        actions = [row["tool_actions"].get("edit_tool") for day in WEEK for row in two_weeks[day]]
        accepted = sum(action["accepted"] for action in actions if action)
        offered = accepted + sum(action["rejected"] for action in actions if action)
        with_counts = report(loaded, SETTINGS_WITHOUT_FOLDING)
        for chart in charts(with_counts, "Acceptance rate by tool"):
            assert f"{accepted:,} of {offered:,}: {accepted / offered * 100:.1f}\u00a0%" in chart

    def test_what_was_0_before_is_new_and_what_was_not_loaded_is_not_compared(self, tmp_path: Path) -> None:
        put_days(tmp_path / "new", {day: people(6, day) if day in WEEK else [] for day in [*WEEK_BEFORE, *WEEK]})
        assert Page(report(tmp_path / "new")).tile("Commits")[1] == "new: 0 before"
        put_days(tmp_path / "part", {day: people(6, day) for day in [*WEEK_BEFORE[3:], *WEEK]})
        assert Page(report(tmp_path / "part")).tile("Commits")[1] == "no comparison: 4 of 7 days loaded before"

    def test_a_period_of_one_day_has_its_numbers(self, loaded: Path, two_weeks: dict[date, list[Json]]) -> None:
        day = WEEK[2]
        (headline,) = report(loaded, Settings(first_day=day, last_day=day)).headlines
        assert headline["sessions"] == summed(two_weeks[day])["sessions"]
        assert headline["days"] == 1

    def test_more_models_than_bars_are_summed_as_others(self, tmp_path: Path) -> None:
        names = [f"model-{number:02}" for number in range(60)]
        breakdown = [model(100 * (number + 1), name=name) for number, name in enumerate(names)]
        put_days(tmp_path, {day: people(6, day, model_breakdown=breakdown) for day in WEEK})
        made = report(tmp_path)
        # 42 records of $1 to $49: what the 49 cheapest models cost together.
        others = sum(range(1, 50)) * 42
        for chart in charts(made, "API cost by model"):
            assert ">49 others</text>" in chart
            assert f">${others:,}.00</text>" in chart
            assert "model-10" not in re.sub('aria-label="[^"]*"', "", chart)
        assert set(names) <= Page(made).table_names()


class TestUnknown:
    def test_without_model_detail_the_money_is_unknown_and_not_0(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day, model_breakdown=[]) for day in [*WEEK_BEFORE, *WEEK]})
        made = report(tmp_path)
        assert made.headlines[0]["api_cost_usd"] is None
        page = Page(made)
        assert page.tile("API cost")[:2] == ["unknown", "no record of this kind names a model"]
        assert "$0" not in made.html
        assert not charts(made, "API cost")

    def test_money_in_another_currency_is_counted_and_not_shown(self, tmp_path: Path) -> None:
        euros = [model(1000, currency="EUR")]
        put_days(tmp_path, {day: people(6, day, model_breakdown=euros) for day in WEEK})
        page = Page(report(tmp_path))
        assert page.tile("API cost")[0] == "unknown"
        assert "42 model entries in another currency" in page.text()

    def test_when_nothing_is_offered_there_is_no_rate(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day, tool_actions={}) for day in [*WEEK_BEFORE, *WEEK]})
        made = report(tmp_path)
        assert made.headlines[0]["acceptance_rate"] is None
        assert Page(made).tile("Acceptance rate")[0] == "none offered"
        assert "No tool offered anything" in made.html

    def test_entries_that_the_api_rounded_to_0_are_told(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day, model_breakdown=[model(0), model(7)]) for day in WEEK})
        assert "Rounded to 0: 42 of 84 model entries" in Page(report(tmp_path)).text()


class TestMissingDays:
    def test_a_day_that_is_not_loaded_breaks_the_line_and_is_no_zero(self, tmp_path: Path) -> None:
        days = [day for day in WEEK if day != WEEK[3]]
        put_days(tmp_path, {day: people(6, day) for day in days})
        put_days(tmp_path / "whole", {day: people(6, day) for day in WEEK})
        gaps, whole = report(tmp_path), report(tmp_path / "whole")
        for chart, chart_whole in zip(charts(gaps, "Active people"), charts(whole, "Active people"), strict=True):
            # They begin again after the gap.
            assert {path.count("M") for path in _lines(chart)} == {2}
            assert {path.count("M") for path in _lines(chart_whole)} == {1}
            assert (">not loaded</text>" in chart) == ('viewBox="0 0 760' in chart)
        page = Page(gaps)
        assert "Only 6 of 7 days loaded (not loaded: 11 Sep 2025)" in page.text().replace("\u00a0", " ")
        assert page.tile("Sessions")[1] == "no comparison: 6 of 7 days loaded"
        row = re.search(r"11\u00a0Sep\u00a02025</th>(.*?)</tr>", gaps.html)
        assert row
        assert re.findall(r"<td>(.*?)</td>", row[1]) == ["not loaded"] * 5

    def test_a_day_that_was_read_too_early_is_told_and_spoils_the_comparison(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in [*WEEK_BEFORE, *WEEK[:-1]]})
        put_day(tmp_path, WEEK[-1], people(2, WEEK[-1]), hours_after=0, is_complete=False)
        made = report(tmp_path)
        assert any(">incomplete</text>" in chart for chart in charts(made, "Lines added per day"))
        page = Page(made)
        assert "loaded only before the day was complete: 14 Sep 2025" in page.text().replace("\u00a0", " ")
        assert page.tile("Sessions")[1] == "no comparison: 6 of 7 days loaded"

    def test_a_day_that_changed_after_it_was_complete_is_told(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in WEEK})
        put_day(tmp_path, WEEK[1], people(7, WEEK[1]), hours_after=30)
        text = Page(report(tmp_path)).text().replace("\u00a0", " ")
        assert "Restated (a later load found other content): 1 day (9 Sep 2025)" in text
        assert "First loaded completely: 3.0 hours after the end of the day (median)" in text


def _lines(chart: str) -> list[str]:
    """Return the paths of the lines of a chart, but not those of its grid."""
    colours = r"var\(--(?:first|second|third)\)"
    return [
        path for path in re.findall(rf'<path d="([^"]*)"[^>]*style="fill: none; stroke[^"]*: {colours}', chart) if path
    ]


class TestEmpty:
    def test_a_day_that_repeats_keys_or_has_lost_records_is_told_before_the_numbers(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in [*WEEK_BEFORE, *WEEK]})
        assert "repeat the key" not in (before := Page(report(tmp_path)).text())
        assert "fewer records" not in before
        put_day(tmp_path, WEEK[1], people(6, WEEK[1]) + people(2, WEEK[1]), hours_after=30)
        put_day(tmp_path, WEEK[3], people(4, WEEK[3]), hours_after=30)
        put_day(tmp_path, WEEK[4], people(4, WEEK[4]), hours_after=30)
        text = Page(report(tmp_path)).text().replace("\u00a0", " ")
        repeated = text.index("Records repeat the key of another on 9 Sep 2025.")
        lost = text.index("fewer records than an earlier one on 11 Sep to 12 Sep 2025")
        assert repeated < lost < text.index("Active people")
        assert "2 of 8 records repeat the key of another." in text

    def test_loaded_days_without_usage(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: [] for day in WEEK})
        made = report(tmp_path)
        assert "Nobody used Claude Code in this period: 7 of 7 days loaded" in made.html
        assert made.headlines[0]["sessions"] == 0
        assert made.headlines[0]["acceptance_rate"] is None
        self.assert_calm(made)

    def test_history_but_nothing_loaded_in_the_period(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in WEEK_BEFORE[:3]})
        made = report(tmp_path)
        assert "none of its days has been loaded" in made.html
        assert made.headlines[0]["sessions"] is None
        self.assert_calm(made)

    def test_a_period_before_the_first_loaded_day(self, tmp_path: Path) -> None:
        put_days(tmp_path, {FIRST + timedelta(days=30): people(6, FIRST + timedelta(days=30))})
        made = report(tmp_path)
        assert "the first day that was loaded is 8\u00a0Oct\u00a02025" in made.html
        assert made.headlines[0]["days_loaded"] == 0
        self.assert_calm(made)

    @staticmethod
    def assert_calm(made: Report) -> None:
        text = Page(made).text()
        assert "<svg" not in made.html
        assert not re.search(r"\bnan\b|\bNone\b|\b0(\.0)?\u00a0%", text)
        assert "How to read these numbers" in text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report in which everything that has a name has a hostile one."""
    root = tmp_path_factory.mktemp("hostile")
    mapping = put_hostile_days(root, WEEK)
    return report(root, SETTINGS_WITHOUT_FOLDING, with_people=True, mapping=mapping)


class TestNames:
    def test_a_name_is_text_and_nothing_else(self, hostile: Report) -> None:
        page = Page(hostile)
        forbidden = ("script", "img", "image", "iframe", "object", "embed", "link", "base", "form", "foreignobject")
        assert page.all(*forbidden) == []
        assert [attributes["href"] for attributes in page.all("a")] == ["#main"]
        for _tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")]

    def test_every_text_from_the_data_is_shown_and_escaped(self, tmp_path: Path) -> None:
        mapping = put_hostile_days(tmp_path, WEEK)
        with source(tmp_path, SETTINGS_WITHOUT_FOLDING, mapping=mapping) as opened:
            (collected,) = collect(opened, SETTINGS_WITHOUT_FOLDING, people=True)
        marks = set()

        def mark(name: str) -> str:
            marks.add(text := f'<b title="\'">{name}</b>&amp;')
            return text

        def finding(check: str) -> dict[str, Any]:
            return {"check_name": check, "date": None, "table_name": mark("table"), "finding": mark(f"found: {check}")}

        def renamed(rows: Sequence[Any], *columns: str) -> list[Any]:
            return [row | {column: mark(column) for column in columns} for row in rows[:1]]

        one = dataclasses.replace(
            collected,
            id=mark("organisation"),
            shares={name: [row | {"value": mark(name)} for row in rows] for name, rows in collected.shares.items()},
            tools=renamed(collected.tools, "tool_name"),
            models=renamed(collected.models, "model"),
            groups=renamed(collected.groups, "team", "cost_centre"),
            people=renamed(collected.people or [], "actor_id"),
            findings=[finding("roster"), finding(mark("check"))],
        )
        other = dataclasses.replace(
            collected, groups=[{**row, "team": UNMAPPED} for row in collected.groups], findings=[finding("mapping")]
        )
        page = Page(Report(render(document([one, other], SETTINGS_WITHOUT_FOLDING, MADE)), []))
        assert page.all("b") == []
        text = page.text()
        assert {it for it in marks if it not in text} == set()
        # Where what is wrong with them is told, and among the findings.
        assert [text.count(mark(f"found: {check}")) for check in ("roster", "mapping")] == [2, 2]
        assert len(marks) == 14

    def test_a_name_is_there_whole_in_a_table(self, hostile: Report) -> None:
        names = Page(hostile).table_names()
        # Three tables at least: the names of tools, of models and of teams are there as they are.
        assert {visible(name) for name in HOSTILE} <= names

    def test_a_name_stays_as_it_is_in_a_chart(self, hostile: Report) -> None:
        for chart in charts(hostile, "Acceptance rate by tool"):
            assert "$x^2$ $\\frac$" in chart
            assert "url(#x) #010101" in chart
            assert "&lt;script&gt;alert(1" in chart
            assert "x" * 150 not in re.sub('aria-label="[^"]*"', "", chart)

    def test_what_cannot_be_seen_is_spelled_out(self, hostile: Report) -> None:
        assert "\\u202egnp.exe\\u2066" in hostile.html
        assert "zero\\u200bwidth" in hostile.html
        assert "two\\nlines\\tand\\x00nul" in hostile.html
        assert not re.search("[\x00-\x09\x0b-\x1f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", hostile.html)

    def test_the_page_is_well_formed_and_asks_nothing_of_anybody(self, hostile: Report) -> None:
        assert_self_contained(hostile)


def assert_self_contained(made: Report) -> None:
    page = Page(made)
    ids = [attributes["id"] for _tag, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = set()
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert name.split(":")[-1] not in ("src", "srcset", "data", "action", "formaction", "background", "poster")
            if name == "aria-labelledby":
                references.add(value)
            if tag == "use" or name.endswith("href"):
                assert name != "href" or (value or "").startswith("#"), (tag, name, value)
            if name.endswith("href"):
                references.add((value or "")[1:])
            if name in ("style", "clip-path"):
                references |= set(re.findall(r"url\(#([^)]*)\)", value or ""))
                assert "url(" not in re.sub(r"url\(#[^)]*\)", "", value or "")
    assert references <= set(ids)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    (style,) = re.findall(r"<style>(.*?)</style>", made.html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    # Nothing of what draws the charts is left: neither its address nor the moment.
    assert "matplotlib" not in made.html.lower()


class TestPage:
    def test_it_is_self_contained(self, made: Report) -> None:
        assert_self_contained(made)

    def test_the_same_input_gives_the_same_bytes(self, made: Report, loaded: Path) -> None:
        assert report(loaded).html == made.html

    def test_headings_come_in_order_and_charts_have_names_and_tables(self, made: Report) -> None:
        page = Page(made)
        levels = [int(tag[1]) for tag, _attributes in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        drawings = page.all("svg")
        assert len(drawings) == 12
        assert all(drawing["role"] == "img" and len(drawing["aria-label"] or "") > 40 for drawing in drawings)
        assert len(page.all("caption")) == len(page.all("table")) > 5
        assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
        assert page.all("html")[0]["lang"] == "en"

    def test_nobody_is_named_unless_that_was_asked_for(
        self, made: Report, loaded: Path, two_weeks: dict[date, list[Json]]
    ) -> None:
        addresses = {
            actor.get("email_address") or actor["api_key_name"]
            for rows in two_weeks.values()
            for actor in (row["actor"] for row in rows)
        }
        assert not [address for address in addresses if address in made.html]
        assert "@example.com" not in str(made.headlines)
        named = report(loaded, with_people=True)
        assert len([address for address in addresses if address in named.html]) == 20
        assert "This part is personal data." in named.html
        assert "@example.com" not in str(named.headlines)

    def test_the_first_person_is_the_one_with_the_most_sessions(
        self, loaded: Path, two_weeks: dict[date, list[Json]]
    ) -> None:
        sessions: dict[str, int] = {}
        for row in (row for day in WEEK for row in two_weeks[day]):
            if row["actor"]["type"] == "user_actor":
                name = row["actor"]["email_address"]
                sessions[name] = sessions.get(name, 0) + row["core_metrics"]["num_sessions"]
        names = re.findall(r"<bdi>(dev\d+@example.com)</bdi>", report(loaded, with_people=True).html)
        assert names == sorted(sessions, key=lambda name: (-sessions[name], name))[:20]

    def test_two_organisations_are_two_sections_and_nothing_is_added_up(self, tmp_path: Path) -> None:
        other = "0" + ORGANIZATION_ID[1:]
        for day in WEEK:
            put_day(tmp_path, day, people(6, day))
            put_day(tmp_path, day, people(8, day, organization_id=other), organization_id=other)
        made = report(tmp_path)
        assert [headline["organization_id"] for headline in made.headlines] == [other, ORGANIZATION_ID]
        assert [headline["active_people"] for headline in made.headlines] == [8, 6]
        page = Page(made)
        assert len([section for section in page.all("section") if section.get("class") == "organization"]) == 2
        assert [link["href"] for link in page.all("a")] == ["#main", "#o1", "#o2"]
        assert not re.search(r"\b14\b", page.tile("Active people")[0])
        assert_self_contained(made)

    def test_a_roster_gives_the_adoption_rate_and_a_mapping_the_groups(
        self, made: Report, loaded: Path, two_weeks: dict[date, list[Json]], tmp_path: Path
    ) -> None:
        roster, mapping = tmp_path / "roster.csv", tmp_path / "mapping.csv"
        eligible = [f"dev{number:03}@example.com" for number in range(1, 51)]
        roster.write_text("actor_id,valid_from,valid_to\n" + "".join(f"{name},,\n" for name in eligible))
        mapping.write_text(
            "actor_type,actor_id,team,cost_centre,valid_from,valid_to\n"
            + "".join(f"user_actor,{name},Platform & Co,CC-1,,\n" for name in eligible)
        )
        active = summed([row for rows in two_weeks.values() for row in rows])["active_people"]
        without = Page(made)
        assert "Adoption rate and idle seats: unknown" in without.text()
        assert "a mapping of people" in without.text()
        page = Page(report(loaded, roster=roster, mapping=mapping))
        assert f"{active} of 50 eligible people were active" in page.text()
        assert "Platform & Co" in page.table_names()

    def test_a_roster_and_a_mapping_that_match_nobody_are_told_instead_of_zeros(
        self, loaded: Path, tmp_path: Path
    ) -> None:
        roster, mapping = tmp_path / "roster.csv", tmp_path / "mapping.csv"
        ids = [f"{number:064x}" for number in range(8)]
        roster.write_text("actor_id,valid_from,valid_to\n" + "".join(f"{name},,\n" for name in ids))
        mapping.write_text(
            "actor_type,actor_id,team,cost_centre,valid_from,valid_to\n"
            + "".join(f"user_actor,{name},Platform,CC-1,,\n" for name in ids)
        )
        text = Page(report(loaded, roster=roster, mapping=mapping)).text()
        nothing = "None of its rows (8) matches an actor of the loaded usage."
        assert f"Adoption rate and idle seats: unknown; see what is wrong with the roster. {nothing}" in text
        assert f"No groups: see what is wrong with the mapping. {nothing}" in text
        assert "Idle seats:" not in text

    def test_a_long_period_has_a_row_per_week(self, organization: Organization, tmp_path: Path) -> None:
        days = [FIRST + timedelta(days=number) for number in range(70)]
        put_days(tmp_path, records(organization, days))
        made = report(tmp_path, Settings(first_day=days[0], last_day=days[-1]))
        tables = re.findall(r"<table><caption>Lines, commits.*?</table>", made.html, re.DOTALL)
        assert len(tables) == 1
        assert tables[0].count('scope="row"') == 10
        assert "7 of 7" in tables[0]


class TestBigQuery:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryServer]:
        pytest.importorskip("airflow.providers.google", reason="the extra `google` is not installed")
        with BigQueryServer(project="demo-proj") as server, Sandbox(users=30) as sandbox:
            monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
            google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
            api = {"conn_type": "claude_code", "host": sandbox.base_url, "password": sandbox.api_key}
            monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(api))
            yield server

    @staticmethod
    def report(dataset: str) -> Report:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client, DatasetReference

        client = Client("demo-proj", AnonymousCredentials())
        relations = bigquery_relations("demo-proj", dataset, "claude_code_")
        opened = BigQuerySource(client, DatasetReference("demo-proj", dataset), relations, SETTINGS, {})
        return make_report(opened, SETTINGS, people=True, generated_at=MADE)

    def test_the_report_is_the_one_of_the_files(self, server: BigQueryServer, tmp_path: Path) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator

        Client("demo-proj", AnonymousCredentials()).create_dataset("loaded")
        days: dict[str, Any] = {"task_id": "load", "day": str(WEEK[-1]), "lookback_days": 13}
        context: Any = {
            "ti": SimpleNamespace(dag_id="dag", run_id="run", task_id="load", try_number=1, map_index=-1),
            "dag_run": SimpleNamespace(run_type="manual"),
            "outlet_events": {},
        }
        ClaudeCodeToBigQueryOperator(dataset_id="loaded", **days).execute(context)
        ClaudeCodeToObjectStorageOperator(path=str(tmp_path), **days).execute(context)
        of_tables, of_files = self.report("loaded"), report(tmp_path, with_people=True)
        assert of_tables.headlines == of_files.headlines
        assert of_files.headlines[0]["sessions"] > 0
        # The one was loaded a moment later than the other.
        moment = "First loaded completely:.*?</li>"
        assert re.sub(moment, "", of_tables.html) == re.sub(moment, "", of_files.html)

    def test_tables_without_a_row_give_a_page_that_says_so(self, server: BigQueryServer) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client, Table

        from airflow_provider_claude_code.targets.bigquery.target import bigquery_schema

        client = Client("demo-proj", AnonymousCredentials())
        client.create_dataset("empty")
        for table in (*DATA_TABLES.values(), LOADS):
            client.create_table(Table(f"demo-proj.empty.claude_code_{table.name}", bigquery_schema(table)))
        made = self.report("empty")
        assert made.headlines == []
        assert "No day has been loaded yet" in made.html

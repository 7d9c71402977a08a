"""The report says what the records say, of nobody by name, and is one page that asks nothing of anybody."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.engines.bigquery import BigQuerySource, bigquery_relations
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.analytics.report import Report, make_report
from airflow_provider_claude_code.analytics.report.collecting import collect
from airflow_provider_claude_code.analytics.report.rendering import render
from airflow_provider_claude_code.analytics.report.sections import document
from airflow_provider_claude_code.analytics.report.sections.charges import REASONS, VERDICTS
from airflow_provider_claude_code.quoting import visible
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from tests.fixtures.analytics_data import MAPPING, History, ago, over_memory, record
from tests.fixtures.charges_data import Books, charge, user
from tests.fixtures.loaded import HOSTILE, put_day, put_days, put_hostile_days, source
from tests.fixtures.old_duckdb import skip_nested_queries_on_old_duckdb
from tests.fixtures.records import ORGANIZATION_ID, Json, model, official_example, people
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.fixtures.serving import connect_to

pytestmark = pytest.mark.newest_only

FIRST = date(2025, 9, 8)
WEEK = [FIRST + timedelta(days=number) for number in range(7)]
WEEK_BEFORE = [day - timedelta(days=7) for day in WEEK]
MADE = datetime(2025, 9, 15, 6, 30, tzinfo=UTC)
SETTINGS = Settings(first_day=WEEK[0], last_day=WEEK[-1])
SETTINGS_WITHOUT_FOLDING = Settings(first_day=WEEK[0], last_day=WEEK[-1], min_group_size=1)
VOID = {"meta", "path", "rect", "use", "br"}


class Page(HTMLParser):
    """A page's elements, and the text in them."""

    def __init__(self, report: Report | str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(report if isinstance(report, str) else report.html)
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


def keep_tables(root: Path, *tables: str) -> None:
    """Leave what loads of these tables alone would have written."""
    for table in USAGE.table_names:
        if table not in tables:
            shutil.rmtree(root / table)
    for file in root.glob("loads/*/*"):
        rows = pq.read_table(file, partitioning=None)
        pq.write_table(rows.filter(pc.is_in(rows["table_name"], pa.array(tables))), file)


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


def known_share(rows: list[Json]) -> float:
    """Return of how many sessions that are paid by use the cost is known."""
    api = [row for row in rows if row["customer_type"] == "api"]
    known = [row for row in api if row["model_breakdown"]]
    sessions, of_known = (sum(row["core_metrics"]["num_sessions"] for row in each) for each in (api, known))
    return float(of_known / sessions)


class TestNumbers:
    def test_the_headlines_are_sums_of_the_records(self, made: Report, two_weeks: dict[date, list[Json]]) -> None:
        headline = dict(made.headlines[0])
        expected = summed([row for day in WEEK for row in two_weeks[day]])
        assert headline.pop("organization_id") == two_weeks[FIRST][0]["organization_id"]
        assert (headline.pop("days"), headline.pop("days_loaded")) == (7, 7)
        for name in ("api_cost_usd", "subscription_value_usd"):
            assert Decimal(headline.pop(name)) == expected.pop(name) > 0
        assert {name: headline[name] for name in expected} == pytest.approx(expected)

    def test_the_headlines_tell_what_is_known_how_it_changed_and_what_the_month_costs(
        self, made: Report, two_weeks: dict[date, list[Json]]
    ) -> None:
        (headline,) = made.headlines
        assert headline["api_cost_known_share"] == known_share([row for day in WEEK for row in two_weeks[day]])
        now, before = (summed([row for day in days for row in two_weeks[day]]) for days in (WEEK, WEEK_BEFORE))
        assert headline["days_compared"] == 7
        assert headline["changes"] == {
            name: {"change": pytest.approx(float(now[name] / before[name]) - 1), "is_unusual": None}
            for name in ("active_people", "sessions", "pull_requests")
        }, "and not the cost, which is known for 70.5 % of the sessions now, and was for 48.9 % before"
        assert (headline["month"], headline["month_known_until"]) == ("2025-09", "2025-09-14")
        assert Decimal(headline["month_to_date_usd"]) == now["api_cost_usd"] + before["api_cost_usd"]
        assert (headline["month_is_charged"], headline["charged_usd"]) == (False, None)
        # The rest of September: two days more than two weeks. Days are not shown, so each is as the mean of the weeks.
        so_far = float(headline["month_to_date_usd"])
        assert headline["month_forecast_usd"] == pytest.approx(so_far * (1 + 16 / 14), rel=0.005)

    def test_the_summary_ends_with_what_the_checks_found(self, made: Report, tmp_path: Path) -> None:
        newest = datetime.now(UTC).date() - timedelta(days=2)
        days = [newest - timedelta(days=number) for number in range(14)]
        put_days(tmp_path, {day: people(6, day) for day in days})
        recent = report(tmp_path, Settings(first_day=days[6], last_day=newest, max_age_hours=72))
        assert recent.text.endswith(" Nothing needs attention.")
        # Of days that are long over the check of the newest day finds that they are old.
        assert made.text.endswith(" To do: see in Data health what the checks found.")

    def test_the_tiles_show_them_with_their_change(self, made: Report, two_weeks: dict[date, list[Json]]) -> None:
        page = Page(made)
        now, before = ([row for day in days for row in two_weeks[day]] for days in (WEEK, WEEK_BEFORE))

        def remark(now: Any, before: Any, written: str) -> str:
            size = f"{(now / before - 1) * 100:+,.1f} %".replace("-", "\u2212").replace("+0.0", "\u00b10.0")
            return f"{size} from {written}; too little history to say whether that is usual"

        people, people_before = (summed(rows)["active_people"] for rows in (now, before))
        assert page.tile("Active people")[:2] == [str(people), remark(people, people_before, str(people_before))]
        cost, cost_before = (summed(rows)["api_cost_usd"] for rows in (now, before))
        shares = [f"{known_share(rows) * 100:.1f} %" for rows in (now, before)]
        assert page.tile("API cost")[:2] == [
            f"at least ${cost:,.2f}",
            f"no comparison, since it is known for {shares[0]} of sessions now and {shares[1]} before; "
            f"cost known for {shares[0]} of sessions",
        ]

        def per_day(rows: list[Json]) -> float:
            # The few keys are counted with people, so that nothing tells what they alone cost.
            api = [row for row in rows if row["customer_type"] == "api"]
            days = {(row["date"], row["actor"].get("email_address")) for row in api} - {
                (row["date"], None) for row in api
            }
            return float(summed(api)["api_cost_usd"]) / len(days)

        tile = page.tile("API cost per person and day of API usage")
        assert tile[0] == f"at least ${per_day(now):,.2f}"
        assert "; with API keys; cost known for " in tile[1]

        def per_week(rows: list[Json]) -> float:
            return float(summed(rows)["pull_requests"] / summed(rows)["active_people"])

        each, each_before = per_week(now), per_week(before)
        assert page.tile("Pull requests per active person and week")[:2] == [
            f"{each:.2f}",
            f"{remark(each, each_before, f'{each_before:.2f}')}; with API keys",
        ]
        assert page.tile("Sep\u00a02025 to date")[:1] == [f"at least ${cost + cost_before:,.2f}"]

    def test_the_other_sums_are_in_a_table(self, made: Report, two_weeks: dict[date, list[Json]]) -> None:
        now, before = (summed([row for day in days for row in two_weeks[day]]) for days in (WEEK, WEEK_BEFORE))
        rows = {row[0]: row[1:] for row in table_rows(made, "Sums of the period")}
        for label, name in (("Sessions", "sessions"), ("Lines added", "lines_added"), ("Commits", "commits")):
            assert rows[label][0] == f"{now[name]:,}"
            assert f" from {before[name]:,};" in rows[label][1]
        points = f"{(now['acceptance_rate'] - before['acceptance_rate']) * 100:+.1f} points".replace("-", "\u2212")
        assert rows["Acceptance rate"][0] == f"{now['acceptance_rate'] * 100:.1f}\u00a0%"
        assert rows["Acceptance rate"][1].startswith(points)

    def test_one_person_gets_reasons_instead_of_numbers_and_of_an_empty_chart(self, tmp_path: Path) -> None:
        made = report(put_days(tmp_path, {day: people(1, day) for day in WEEK}))
        reason = "not shown: too few people used Claude Code"
        assert Page(made).tile("Pull requests per active person and week")[:2] == ["\N{EN DASH}", reason]
        assert not charts(made, "Active people")
        assert "fewer than 5 people had been active in 28 days and fewer than 5 people in 7 days." in made.html

    def test_a_change_stands_out_only_beyond_the_usual_range(self, tmp_path: Path) -> None:
        # From 6 to 8 people a week, in no order, and then 7 or 30.
        counts = [6, 7, 8, 7, 8, 6, 7, 8, 7, 6, 8, 7]
        history = {
            FIRST - timedelta(days=7 * week + 7 - number): people(count, FIRST)
            for week, count in enumerate(counts)
            for number in range(7)
        }
        for name, count in (("usual", 7), ("unusual", 30)):
            put_days(tmp_path / name, history | {day: people(count, day) for day in WEEK})
        usual, unusual = (report(tmp_path / name) for name in ("usual", "unusual"))
        assert Page(usual).tile("Active people")[:2] == ["7", "+16.7 % from 6, within the usual range"]
        assert Page(unusual).tile("Active people") == ["30", "+400.0 %", "from 6, outside the usual range"]
        assert unusual.headlines[0]["changes"]["active_people"] == {"change": 4.0, "is_unusual": True}

    def test_a_person_of_two_days_and_two_terminals_counts_once(self, tmp_path: Path) -> None:
        twice = [official_example(), official_example(terminal_type="tmux")]
        put_days(tmp_path, dict.fromkeys(WEEK, twice))
        (headline,) = report(tmp_path, SETTINGS_WITHOUT_FOLDING).headlines
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

    def test_what_was_0_before_is_new(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) if day in WEEK else [] for day in [*WEEK_BEFORE, *WEEK]})
        assert Page(report(tmp_path)).tile("Active people")[:2] == ["6", "new: 0 before"]

    def test_days_that_are_loaded_in_both_periods_are_compared_and_fewer_than_seven_tenths_are_not(
        self, tmp_path: Path
    ) -> None:
        # Six people now, and eight on the days before that there are.
        for name, before in (("five", WEEK_BEFORE[2:]), ("four", WEEK_BEFORE[3:])):
            put_days(tmp_path / name, {day: people(8, day) for day in before} | {day: people(6, day) for day in WEEK})
        five, four = (report(tmp_path / name) for name in ("five", "four"))
        remark = Page(five).tile("Active people")[1]
        assert remark == "\u221225.0 % from 8 on 5 of 7 days; too little history to say whether that is usual"
        assert "5 of 7 days can be compared" in Page(five).text()
        commits = next(row[2] for row in table_rows(five, "Sums of the period") if row[0] == "Commits")
        # Twelve commits a person and day.
        assert commits.startswith(f"\u221225.0\u00a0% from {8 * 12 * 5} on 5 of 7 days")
        assert Page(four).tile("Active people")[1] == "no comparison, since only 4 of 7 days can be compared"
        assert "Nothing is compared: only 4 of 7 days can be." in Page(four).text()
        assert four.headlines[0]["changes"] == {}

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
        assert page.tile("API cost")[:2] == [
            "unknown",
            "no comparison, since it is not known now; cost known for 0.0 % of sessions",
        ]
        assert "$0" not in made.html
        assert not charts(made, "API cost")

    def test_without_the_table_of_models_the_money_is_unknown_and_not_0(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in [*WEEK_BEFORE, *WEEK]})
        keep_tables(tmp_path, "usage")
        made = report(tmp_path)
        (headlines,) = made.headlines
        assert (headlines["api_cost_usd"], headlines["api_cost_known_share"]) == (None, 0)
        assert Page(made).tile("API cost")[0] == "unknown"
        assert "$0" not in made.html + made.text

    def test_days_without_the_table_of_models_are_as_unknown_as_records_without_models(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in WEEK[:3]})
        keep_tables(tmp_path, "usage")
        put_days(tmp_path, {day: people(6, day) for day in WEEK[3:]})
        (headlines,) = report(tmp_path).headlines
        assert headlines["api_cost_known_share"] == pytest.approx(4 / 7)

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
        assert ["Acceptance rate", "\u2013", "no comparison, since it is not known now"] in table_rows(
            made, "Sums of the period"
        )
        assert "people were offered anything by a tool" in made.html

    def test_entries_that_the_api_rounded_to_0_are_told(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day, model_breakdown=[model(0), model(7)]) for day in WEEK})
        assert ": 42 of 84 model entries" in Page(report(tmp_path)).text()


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
        assert page.tile("Active people")[1] == "no comparison, since no day can be compared"
        row = re.search(r"11\u00a0Sep\u00a02025</th>(.*?)</tr>", gaps.html)
        assert row
        assert re.findall(r"<td>(.*?)</td>", row[1]) == ["not loaded"] * 5

    def test_a_day_that_was_read_too_early_is_told_and_left_out_of_the_comparison(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in [*WEEK_BEFORE, *WEEK[:-1]]})
        put_day(tmp_path, WEEK[-1], people(5, WEEK[-1]), hours_after=0, is_complete=False)
        made = report(tmp_path)
        assert any(">incomplete</text>" in chart for chart in charts(made, "Lines added per day"))
        page = Page(made)
        assert "loaded only before the day was complete: 14 Sep 2025" in page.text().replace("\u00a0", " ")
        remark = "\u00b10.0 % from 6 on 6 of 7 days; too little history to say whether that is usual"
        assert page.tile("Active people")[1] == remark

    def test_a_day_that_changed_after_it_was_complete_is_told(self, tmp_path: Path) -> None:
        put_days(tmp_path, {day: people(6, day) for day in WEEK})
        put_day(tmp_path, WEEK[1], people(7, WEEK[1]), hours_after=30)
        text = Page(report(tmp_path)).text().replace("\u00a0", " ")
        assert "Restated (a later load found other content): 1 day (9 Sep 2025)" in text
        assert "From the end of a day to its first complete load: 3.0 hours (median)" in text


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
        repeated = text.index("Several records have the same key on 9 Sep 2025.")
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
        assert "No usage of this period is loaded." in made.html
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

        cents = dict.fromkeys(("estimated_cents", "list_cents", "charged_cents"), Decimal(1))
        differences = dict.fromkeys(("unexplained_cents", "unmatched_estimate_cents", "unmatched_list_cents"))
        reconciled = {"verdict": "open", "reason": None, "days_compared": 1, **cents, **differences}
        reconciled["share_of_sessions_without_model_detail"] = None
        members = dict.fromkeys(("members", "signed_in_members", "active_members", "idle_members", "days_loaded_28"), 1)

        one = dataclasses.replace(
            collected,
            id=mark("organisation"),
            shares={name: [row | {"value": mark(name)} for row in rows] for name, rows in collected.shares.items()},
            tools=renamed(collected.tools, "tool_name"),
            models=renamed(collected.models, "model"),
            groups=renamed(collected.groups, "team", "cost_centre"),
            people=renamed(collected.people or [], "actor_id"),
            charges=[
                {**reconciled, "currency": "USD", "model": None},
                {**reconciled, "currency": "USD", "model": mark("charged model")},
                {**reconciled, "currency": mark("currency"), "model": None},
            ],
            members=[{"date": FIRST, "role": mark("role"), **members}],
            findings=[finding("roster"), finding(mark("check"))],
        )
        other = dataclasses.replace(
            collected,
            groups=[{**row, "team": Settings.unmapped} for row in collected.groups],
            findings=[finding("mapping")],
        )
        page = Page(render(document([one, other], SETTINGS_WITHOUT_FOLDING, MADE, Assumptions())))
        assert page.all("b") == []
        text = page.text()
        assert {it for it in marks if it not in text} == set()
        # Where what is wrong with them is told, and among the findings.
        assert [text.count(mark(f"found: {check}")) for check in ("roster", "mapping")] == [2, 2]
        assert len(marks) == 17

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


def week_of(day: date) -> list[date]:
    return [day + timedelta(days=number - day.weekday()) for number in range(7)]


LATER = week_of(ago(45))
"""Days whose charges do not change any more."""
LATER_SETTINGS = Settings(first_day=LATER[0], last_day=LATER[-1], min_group_size=1)


def charged_days(*amounts: tuple[Any, Any, Any] | None, days: Sequence[date] = LATER, unknown: int = 0) -> Books:
    """
    Load a week with an estimate, a list price and a charge in cents, or without charges where there are none.

    The days without amounts cost nothing.
    """
    books = Books()
    for day, given in itertools.zip_longest(days, amounts, fillvalue=(0, 0, 0)):
        estimate, list_amount, amount = given or (100, 0, 0)
        books.load("acme", day, [record(sessions=4, models=[model(estimate)]), record(sessions=unknown)])
        if given:
            books.charge("acme", day, [charge(user(1, "ann@example.com"), list_amount, amount)])
    return books


def report_on(books: Books, settings: Settings = LATER_SETTINGS, **tables: pa.Table) -> Report:
    return make_report(over_memory({**books.tables(), **tables}, settings), settings, generated_at=MADE)


def table_rows(report: Report, caption: str) -> list[list[str]]:
    """Return the cells of the rows of the table with this caption, headings first; none without such a table."""
    tables = re.findall(rf"<caption>{re.escape(caption)}.*?</table>", report.html, re.DOTALL)
    rows = re.findall("<tr>(.*?)</tr>", "".join(tables), re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall("<t[dh].*?</t[dh]>", row)] for row in rows]


class TestCharges:
    def test_charges_stand_beside_the_estimate_with_what_they_are(self) -> None:
        made = report_on(charged_days((100, "100.2", "88.5"), (100, "100.2", "88.5"), (100, "99.8", "88.5")))
        assert table_rows(made, "Estimate and charges in US dollars") == [
            ["Model", "Estimate", "At list prices", "Charged"],
            ["All models", "$3.00", "$3.00", "$2.66"],  # 300.2 and 265.5 cents
            ["claude-sonnet-4-5", "$3.00", "$3.00", "$2.66"],
        ]
        text = Page(made).text()
        assert "The estimate equals the list prices of what was charged, within rounding." in text
        assert "Charged means after discounts, before credits and taxes." in text
        assert "All amounts are estimates in US dollars, except at list prices and charged." in text

    @pytest.mark.parametrize(
        ("books", "sentence"),
        [
            (
                charged_days(*[(88, 100, 88)] * 3),
                "The estimate equals what was charged after discounts, within rounding.",
            ),
            (
                charged_days(*[(100, 100, 88)] * 3, unknown=2),
                "The estimate is incomplete: some sessions have no model detail, so their cost is unknown.",
            ),
            (
                charged_days(*[(100, "130.9", 130)] * 3),
                "The estimate and the charges differ by more than rounding explains: $0.91 where both have an amount.",
            ),
            (
                charged_days((100, 100, 88), None, (100, 100, 88)),
                "Not comparable: charges of some days are not loaded.",
            ),
        ],
    )
    def test_the_verdict_is_told_in_one_sentence(self, books: Books, sentence: str) -> None:
        assert sentence in report_on(books).html

    def test_charges_that_may_change_are_told(self) -> None:
        days = week_of(ago(12))
        made = report_on(charged_days(*[(100, 100, 88)] * 3, days=days), Settings(first_day=days[0], last_day=days[-1]))
        assert "Charges may still change: the week or month ended in the last 30 days." in made.html

    def test_every_verdict_and_reason_of_the_model_has_a_sentence(self) -> None:
        sql = models()["cost_reconciliation"].sql
        (verdicts,) = re.findall(r"CASE((?:(?!CASE|END).)*)END AS verdict", sql, re.DOTALL)
        (reasons,) = re.findall(r"CASE((?:(?!CASE|END).)*)END AS reason", sql, re.DOTALL)
        (other_reason,) = re.findall(r"IF\(amounts.has_other_currency, '(.*?)'", sql)
        assert set(re.findall(r"(?:THEN|ELSE) '(.*?)'", verdicts)) == set(VERDICTS)
        assert {*re.findall(r"THEN '(.*?)'", reasons), other_reason} == set(REASONS)

    def test_only_days_with_charges_are_compared(self) -> None:
        made = report_on(charged_days((100, 100, 88), None, (100, 100, 88)))
        assert table_rows(made, "Estimate and charges in US dollars")[1] == [
            "All models",
            "$2.00",
            "$2.00",
            "$1.76",
        ]

    def test_another_currency_is_told_and_not_shown_in_dollars(self) -> None:
        books = Books()
        for day in LATER:
            books.load("acme", day, [record(sessions=4, models=[model(777, currency="EUR")])])
            books.charge("acme", day, [charge(user(1, "ann@example.com"), 777, currency="EUR")])
        made = report_on(books)
        assert "Not shown: amounts in EUR. The estimate equals the list prices" in made.html
        assert not table_rows(made, "Estimate and charges")
        assert "23.31" not in made.html

    def test_groups_and_results_have_what_is_charged(self) -> None:
        mapping = [{"actor_type": "user_actor", "actor_id": "ann@example.com", "team": "red"}]
        books = charged_days((100, 100, 88), (100, 100, 88), None)
        books.charge("acme", LATER[2], [charge(None, 50, 50, model=None), charge(user(1, "ann@example.com"), 10, 9)])
        made = report_on(books, mapping=pa.Table.from_pylist(mapping, MAPPING))
        heading, *rows = table_rows(made, "Charged by group")
        charged = heading.index("Charged")
        assert {row[0]: row[charged] for row in rows} == {"red": "$1.85", "(unattributed)": "$0.50"}
        heading, of_person, *_ = table_rows(made, "What people")
        assert dict(zip(heading, of_person, strict=True))["Charged"] == "$1.85"
        assert made.html.count("of the products that were loaded, in US dollars, on 7 of 7 days.") == 2

    def test_charges_of_nobody_are_no_group_of_a_mapping(self) -> None:
        books = charged_days((100, 100, 88), (100, 100, 88), None)
        books.charge("acme", LATER[2], [charge(None, 50, 50, model=None)])
        assert "Not split by team: provide a mapping" in report_on(books).html


class TestMembers:
    @staticmethod
    def snapshot(books: Books, day: date, roles: dict[str, str], signed_in: Sequence[str] = ()) -> None:
        books.put(
            "members",
            "acme",
            day,
            {
                "members": [
                    {
                        "user_id": f"user_{name}",
                        "email": f"{name}@example.com",
                        "role": role,
                        "added_at": datetime(2025, 1, 1, tzinfo=UTC),
                    }
                    for name, role in roles.items()
                ],
                "workspaces": [{"workspace_id": "w", "name": "Claude Code", "is_claude_code": True}],
                "workspace_members": [{"workspace_id": "w", "user_id": f"user_{name}"} for name in signed_in],
            },
        )

    def test_idle_members_are_those_of_the_newest_snapshot_of_the_period(self) -> None:
        books = charged_days(None, None, None)
        self.snapshot(books, LATER[0], {"ann": "user", "gone": "user"})
        self.snapshot(
            books, LATER[1], {"ann": "user", "bob": "user", "eve": "user", "zoe": "<b>admin</b>"}, ["ann", "zoe"]
        )
        self.snapshot(books, ago(20), {"later": "user"})
        tables = History.tables(books)
        made = report_on(books, **{name: tables[name] for name in ("members", "workspaces", "workspace_members")})
        days = f"{LATER[1].day}\u00a0{LATER[1]:%b}\u00a0{LATER[1].year}"
        assert table_rows(made, f"Members by role on {days}") == [
            ["Role", "Members", "Signed in to Claude Code", "Active in 28 days", "Idle"],
            ["All roles", "4", "2", "1", "3"],
            ["user", "3", "1", "1", "2"],
            ["&lt;b&gt;admin&lt;/b&gt;", "1", "1", "0", "1"],
        ]
        text = Page(made).text()
        assert (
            "A Console member does not necessarily have a paid seat. People who work with claude.ai seats look idle"
            in text
        )
        assert "Only 2 of the 28 days are loaded completely" in text
        assert "Idle members: 3" in text.replace("\u00a0", " ")

    @pytest.mark.parametrize("has_idle_days", [True, False])
    def test_charges_and_members_are_shown_where_nobody_used_anything(self, *, has_idle_days: bool) -> None:
        """Whether days of usage are loaded, and empty, or none is."""
        books, monday = Books(), LATER[0] - timedelta(days=LATER[0].weekday() + 7)
        week = [monday + timedelta(days=number) for number in range(7)]
        for day in week:
            if has_idle_days:
                books.load("acme", day, [])
            books.charge("acme", day, [charge(user(1, "ann@example.com"), 100, 88)])
        self.snapshot(books, week[1], {"ann": "user", "bob": "admin"}, ["ann"])
        tables = History.tables(books)
        snapshot = {name: tables[name] for name in ("members", "workspaces", "workspace_members")}
        made = report_on(books, Settings(first_day=week[0], last_day=week[-1], min_group_size=1), **snapshot)
        text = Page(made).text().replace("\u00a0", " ")
        assert ("Nobody used Claude Code" if has_idle_days else "No usage of this organisation has been loaded") in text
        newest = f"{week[1].day}\u00a0{week[1]:%b}\u00a0{week[1].year}"
        assert table_rows(made, f"Members by role on {newest}")[1][:2] == ["All roles", "2"]
        assert "$6.16" in made.html
        verdict = "The estimate and the charges differ by more than rounding explains: $7.00 at list prices"
        assert (verdict in text) == has_idle_days


class TestUsageAlone:
    def test_sections_say_which_stream_they_lack_and_nothing_else_of_it(self, made: Report) -> None:
        text = Page(made).text()
        charges = 'No charges of this period are loaded (stream="cost").'
        members = 'No members of this period are loaded (stream="members").'
        assert charges in text
        assert members in text
        rest = text.replace(charges, "").replace(members, "")
        assert re.findall(r"(?i)\bcharge\w*|\bmembers\b", rest) == ["members"], "which may take the place of a roster"
        assert "All amounts are estimates in US dollars. " in text


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
        assert len(drawings) == 14
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
        active = {row["actor"].get("email_address") for day in WEEK for row in two_weeks[day]} - {None}
        assert {address for address in addresses if address in named.html} == active
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
        assert "Not split by team: provide a mapping" in without.text()
        page = Page(report(loaded, roster=roster, mapping=mapping))
        assert f"{active} of 50 eligible people were active" in page.text()
        assert "Idle seats:" in page.text()
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
        assert f"Not split by team: see what is wrong with the mapping. {nothing}" in text
        assert "Idle " not in text

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
        skip_nested_queries_on_old_duckdb()
        with BigQueryServer(project="demo-proj") as server, Sandbox(users=30) as sandbox:
            monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
            google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
            connect_to(sandbox, monkeypatch)
            yield server

    @staticmethod
    def report(dataset: str) -> Report:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client, DatasetReference

        client = Client("demo-proj", AnonymousCredentials())
        there = [table.name for table in (*USAGE.tables, LOADS)]
        relations = bigquery_relations("demo-proj", dataset, "claude_code_", tables=there)
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
        assert "<h1><bdi>Claude Code usage: " in of_tables.html, "the name is in the description of loads"
        # The one was loaded a moment later than the other.
        moment = "From the end of a day to its first complete load:.*?</li>"
        assert re.sub(moment, "", of_tables.html) == re.sub(moment, "", of_files.html)

    def test_tables_without_a_row_give_a_page_that_says_so(self, server: BigQueryServer) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client, Table

        from airflow_provider_claude_code.targets.bigquery.schema import bigquery_schema

        client = Client("demo-proj", AnonymousCredentials())
        client.create_dataset("empty")
        for table in (*USAGE.tables, LOADS):
            client.create_table(Table(f"demo-proj.empty.claude_code_{table.name}", bigquery_schema(table)))
        made = self.report("empty")
        assert made.headlines == []
        assert "No day has been loaded yet" in made.html

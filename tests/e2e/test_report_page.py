"""The report as managers see it in a browser: on a phone and a desk, light and dark, and printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `report` is not installed")
pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sqlglot", reason="the extra `report` is not installed")

from playwright.sync_api import Browser, Page, expect

from airflow_provider_claude_code.analytics.assumptions import Assumptions
from airflow_provider_claude_code.analytics.queries import Settings
from airflow_provider_claude_code.analytics.report import charts, make_report
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sandbox.organization import Organization
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from tests.fixtures.browser import CHROMIUM, SCREENSHOTS, chromium
from tests.fixtures.loaded import put_day, put_days, put_hostile_days, source
from tests.fixtures.records import ORGANIZATION_ID, people
from tests.fixtures.serving import connect_to

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium to run the browser tests")

LAST = date(2025, 11, 23)
NOW = datetime(2025, 11, 24, 6, 30, tzinfo=UTC)
MISSING = {LAST - timedelta(days=days) for days in (12, 30, 31, 32, 33, 34)}
REPORTS = ("quarter", "hostile", "empty")
# A phone, the narrowest window with wide charts, and a desktop.
WIDTHS = (360, 801, 1400)
SCHEMES = ("light", "dark")


ASSUMPTIONS = Assumptions.parse(
    {
        "hourly_cost": {"amount": 90, "source": "Finance, budget of 2026"},
        "minutes_per_commit": {"minutes": 10, "source": "survey of 30 developers"},
    }
)


def write(root: Path, name: str, settings: Settings, mapping: Path | None = None, **options: Any) -> Path:
    with source(root, settings, **({"mapping": mapping} if mapping else {})) as opened:
        report = make_report(opened, settings, **({"generated_at": NOW} | options))
    page = root / f"{name}.html"
    page.write_text(report.html, encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Thirteen weeks with gaps, a week of hostile names, and one of two organisations that is nearly empty."""
    quarter, hostile, empty = (tmp_path_factory.mktemp(name) for name in ("quarter", "hostile", "empty"))
    organization = Organization.named("acme", users=250, seed=3)
    days = [LAST - timedelta(days=number) for number in range(91)]
    put_days(quarter, {day: organization.records(day, NOW) for day in days if day not in MISSING})
    week = days[:7]
    mapping = put_hostile_days(hostile, week)
    other = "0" + ORGANIZATION_ID[1:]
    for day in week:
        put_day(empty, day, [])
    put_day(empty, week[1], people(1, week[1], organization_id=other))
    this_week = Settings(first_day=week[-1], last_day=week[0], min_group_size=1)
    return {
        "quarter": write(quarter, "quarter", Settings(first_day=days[-1], last_day=LAST)),
        "worth": write(quarter, "worth", Settings(first_day=days[-1], last_day=LAST), assumptions=ASSUMPTIONS),
        "hostile": write(hostile, "hostile", this_week, people=True, mapping=mapping),
        "empty": write(empty, "empty", this_week),
    }


# Not of the session: while Playwright is there, asyncio.run() of other tests would not work.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Seen:
    """A report in a window, and what it asked for or complained about."""

    def __init__(self, browser: Browser, file: Path, width: int = 1400, scheme: Any = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())


@pytest.fixture(
    scope="module",
    params=[(name, width, scheme) for name in REPORTS for width in WIDTHS for scheme in SCHEMES],
    ids=lambda it: "-".join(map(str, it)),
)
def seen(request: pytest.FixtureRequest, browser: Browser, reports: dict[str, Path]) -> Iterator[Seen]:
    name, width, scheme = request.param
    seen = Seen(browser, reports[name], width, scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=SCREENSHOTS / f"report-{name}-{width}-{scheme}.png", full_page=True)
    # What is folded is looked at, too.
    seen.page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
    yield seen
    seen.context.close()


# What sticks out of the page, though it is in no table that can be scrolled.
STICKS_OUT = """() => [...document.querySelectorAll('body *')]
  .filter(it => !it.closest('.table') && !it.closest('.skip') && it.getClientRects().length)
  .filter(it => it.getBoundingClientRect().right > innerWidth + 0.5 || it.getBoundingClientRect().left < -0.5)
  .map(it => it.outerHTML.slice(0, 120))"""

# Tables that are wider than their place: on paper they cover what is beside them.
TOO_WIDE = """() => [...document.querySelectorAll('.table')]
  .filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.ariaLabel)"""

# Texts of charts that stick out of their chart, cover each other, or are too small to read.
UNREADABLE = """() => [...document.querySelectorAll('svg')].filter(it => it.getClientRects().length).flatMap(svg => {
  const frame = svg.getBoundingClientRect()
  const scale = frame.width / svg.viewBox.baseVal.width
  const texts = [...svg.querySelectorAll('text')].map(it => [it, it.getBoundingClientRect()])
  const problems = []
  for (const [it, box] of texts) {
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 4) problems.push('outside')
    if (box.bottom > frame.bottom + 4) problems.push('below')
    if (parseFloat(getComputedStyle(it).fontSize) * scale < 11) problems.push('small')
    for (const [other, its] of texts)
      // The boxes are higher than the letters.
      if (it !== other && box.left < its.right - 1 && its.left < box.right - 1
          && box.top + 4 < its.bottom && its.top + 4 < box.bottom) problems.push('covers ' + other.textContent)
    if (problems.length) return [it.textContent + ': ' + problems]
  }
  return []
})"""

# Texts with less contrast than WCAG's 4.5 against what is painted behind them.
FAINT = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const luminance = ([red, green, blue]) => {
    const linear = it => it <= 10.3 ? it / 255 / 12.92 : ((it / 255 + 0.055) / 1.055) ** 2.4
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
  }
  const behind = it => {
    for (; it; it = it.parentElement) {
      const colour = rgba(getComputedStyle(it).backgroundColor)
      if (colour[3] === 255) return colour
    }
    return [255, 255, 255]
  }
  const texts = [...document.querySelectorAll('body *')].filter(it => it.getClientRects().length
    && [...it.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.textContent.trim()))
  const shade = rgba(getComputedStyle(document.documentElement).getPropertyValue('--shade').trim())
  const faint = []
  for (const it of texts) {
    const style = getComputedStyle(it)
    const colour = luminance(rgba(it.closest('svg') ? style.fill : style.color))
    const grounds = [behind(it)]
    if (it.textContent === 'not loaded' && it.closest('svg')) grounds.push(shade)
    for (const ground of grounds.map(luminance)) {
      const ratio = (Math.max(colour, ground) + 0.05) / (Math.min(colour, ground) + 0.05)
      if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${it.textContent.slice(0, 40)}`)
    }
  }
  return [texts.length, faint]
}"""


class TestOnAScreen:
    def test_nothing_sticks_out_and_charts_can_be_read(self, seen: Seen) -> None:
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.page.evaluate(STICKS_OUT) == []
        assert seen.page.evaluate(UNREADABLE) == []

    def test_text_has_enough_contrast(self, seen: Seen) -> None:
        texts, faint = seen.page.evaluate(FAINT)
        assert texts > 40
        assert faint == []

    def test_it_asks_for_nothing_and_complains_about_nothing(self, seen: Seen) -> None:
        assert len(seen.requests) == 1
        assert seen.complaints == []

    def test_charts_have_a_name_and_hide_what_they_are_made_of(self, seen: Seen) -> None:
        drawings = seen.page.get_by_role("img")
        # The narrow or the wide one of each.
        assert drawings.count() == seen.page.locator("figure").count() > 4
        for chart in drawings.all():
            expect(chart).to_have_accessible_name(re.compile(r"^\w.{40,}", re.DOTALL))
        assert seen.page.locator("svg > :not([aria-hidden=true])").count() == 0


class TestLargeNumbers:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_the_ends_of_lines_and_the_axis_have_room_for_them(
        self, browser: Browser, tmp_path: Path, width: int
    ) -> None:
        days = [LAST - timedelta(days=number) for number in range(400, -1, -1)]
        whole = [True] * len(days)
        lines = [
            charts.Line(f"{number} days", [1_234_567.0 - number] * len(days), whole, charts.FIRST_COLOUR, 2)
            for number in (1, 7, 28)
        ]
        drawing = charts.line_chart("key", "label", days, [""] * len(days), lines)
        style = (resources.files(charts.__package__) / "style.css").read_text(encoding="utf-8")
        page = tmp_path / "page.html"
        page.write_text(f'<style>{style}</style><main><div class="card">{drawing}</div></main>', encoding="utf-8")
        seen = Seen(browser, page, width)
        assert seen.page.get_by_text("28 days 1,234,539").locator("visible=true").count() == 1
        assert seen.page.evaluate(UNREADABLE) == []
        seen.context.close()


@pytest.fixture(scope="module")
def report_of_every_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on four weeks with charges and members, as the sandbox has them."""
    root = tmp_path_factory.mktemp("streams")
    now = datetime.now(UTC)
    # The newest days whose usage and whose charges are complete.
    used, charged = ((now - timedelta(hours=hours)).date() for hours in (25, 72))
    last = charged - timedelta(days=(charged.weekday() + 1) % 7)
    with Sandbox() as sandbox, pytest.MonkeyPatch.context() as patch:
        connect_to(sandbox, patch)
        for stream, day in (("usage", used), ("cost", charged), ("members", now.date())):
            lookback_days = 0 if stream == "members" else 17 * 7
            operator = ClaudeCodeToObjectStorageOperator(
                task_id="load", path=str(root), stream=stream, day=str(day), lookback_days=lookback_days
            )
            ti = SimpleNamespace(dag_id="dag", run_id=stream, task_id="load", try_number=1)
            context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
            operator.execute(context)
    settings = Settings(first_day=last - timedelta(days=27), last_day=last)
    return write(root, "report", settings, assumptions=ASSUMPTIONS, generated_at=now)


class TestEveryStream:
    """The README shows the summary."""

    def test_its_summary_has_charges_and_members(self, browser: Browser, report_of_every_stream: Path) -> None:
        seen = Seen(browser, report_of_every_stream, width=1200)
        seen.page.set_viewport_size({"width": 1200, "height": 1250})
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        seen.page.screenshot(path=SCREENSHOTS / "report.png")
        for text in ("within the usual range", "was charged for it", "Idle members:", "Break-even per active person"):
            expect(seen.page.get_by_text(text).first).to_be_in_viewport()
        for problem in (STICKS_OUT, UNREADABLE):
            assert seen.page.evaluate(problem) == []
        assert seen.page.evaluate(FAINT)[1] == []
        seen.context.close()


class TestColours:
    def test_dark_is_dark(self, browser: Browser, reports: dict[str, Path]) -> None:
        colours = set()
        for scheme in SCHEMES:
            seen = Seen(browser, reports["quarter"], scheme=scheme)
            colours.add(
                tuple(
                    seen.page.locator(element).first.evaluate(f"it => getComputedStyle(it).{style}")
                    for element, style in (("body", "backgroundColor"), ("svg.wide text", "fill"), ("h1", "color"))
                )
            )
            seen.context.close()
        light, dark = sorted(colours, reverse=True)
        assert all(one != other for one, other in zip(light, dark, strict=True))


class TestByKeyboard:
    def test_the_first_stop_leads_to_the_numbers(self, browser: Browser, reports: dict[str, Path]) -> None:
        seen = Seen(browser, reports["quarter"])
        seen.page.keyboard.press("Tab")
        skip = seen.page.get_by_role("link", name="Skip to the numbers")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("location.hash") == "#main"
        seen.context.close()

    def test_a_chart_opens_its_table(self, browser: Browser, reports: dict[str, Path]) -> None:
        seen = Seen(browser, reports["quarter"])
        summary = seen.page.get_by_text("Table: active people")
        table = seen.page.get_by_role("table", name="Active people")
        expect(table).to_be_hidden()
        summary.focus()
        seen.page.keyboard.press("Enter")
        expect(table).to_be_visible()
        seen.context.close()


class TestPrinted:
    def test_paper_is_light_and_shows_what_is_open(self, browser: Browser, reports: dict[str, Path]) -> None:
        seen = Seen(browser, reports["quarter"], width=703, scheme="dark")
        seen.page.get_by_text("Table: active people").click()
        seen.page.get_by_text("Data health", exact=True).click()
        seen.page.emulate_media(media="print")
        assert (
            seen.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
            == "#1b2026"
        )
        assert seen.page.locator("figure").first.evaluate("it => getComputedStyle(it).breakInside") == "avoid"
        expect(seen.page.get_by_role("table", name="Active people")).to_be_visible()
        expect(seen.page.get_by_role("heading", name="Data health")).to_be_visible()
        expect(seen.page.get_by_role("heading", name="Acceptance by tool")).to_be_hidden()
        expect(seen.page.get_by_text("Table: cost and tokens by model")).to_be_hidden()
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        seen.context.close()

    def test_no_table_covers_what_is_beside_it(self, browser: Browser, reports: dict[str, Path]) -> None:
        seen = Seen(browser, reports["worth"], width=703)
        seen.page.emulate_media(media="print")
        expect(seen.page.get_by_role("table", name=re.compile("Return on"))).to_be_visible()
        assert seen.page.evaluate(TOO_WIDE) == []
        seen.context.close()

    def test_the_summary_takes_two_pages(self, browser: Browser, reports: dict[str, Path]) -> None:
        seen = Seen(browser, reports["quarter"])
        pdf = seen.page.pdf(path=SCREENSHOTS / "report-quarter.pdf", prefer_css_page_size=True)
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 2
        seen.context.close()

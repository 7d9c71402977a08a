"""The charts of a report show all values, also those below 0."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from airflow_provider_claude_code.analytics.report import charts

DAYS = [date(2026, 3, 2) + timedelta(days=number) for number in range(3)]
WHOLE = [""] * 3


def line(values: list[float | None]) -> str:
    line = charts.Line("so far", values, [True] * 3, charts.FIRST_COLOUR, 2)
    return str(charts.line_chart("key", "label", DAYS, WHOLE, [line]))


def columns(values: list[float | None]) -> str:
    return str(charts.column_chart("key", "label", DAYS, WHOLE, values, charts.FIRST_COLOUR))


def heights(chart: str) -> list[float]:
    """Return the vertical positions that the wide drawing of a chart has in the first colour."""
    drawn = re.findall(r'<path d="([^"]*)"[^>]*var\(--first\)', chart.partition("</svg>")[0])
    return [float(height) for path in drawn for height in re.findall(r"[ML] \S+ (\S+)", path)]


def names(chart: str) -> list[str]:
    """Return the texts of the wide drawing."""
    return list(re.findall(r"<text[^>]*>([^<]*)", chart.partition("</svg>")[0]))


@pytest.mark.parametrize("draw", [line, columns])
def test_corrections_that_exceed_charges_are_drawn_below_0(draw: Callable[[list[float | None]], str]) -> None:
    up, both, down = (draw(values) for values in ([0, 100, 50], [0, 100, -100], [0, -100, None]))

    assert [name for name in names(up) if re.fullmatch(r"\N{MINUS SIGN}?\d+", name)] == ["0", "25", "50", "75", "100"]
    assert "\N{MINUS SIGN}100" in names(down)
    # Whatever the values, the lowest is drawn where 0 is if there are none below it.
    assert max(heights(up)) == max(heights(both)) == max(heights(down))
    assert min(heights(up)) == min(heights(both)) == pytest.approx(min(heights(down)), abs=4)


def test_the_name_of_a_line_stands_at_its_end() -> None:
    def position(chart: str, name: str) -> float:
        [height] = re.findall(rf' y="([^"]*)"[^>]*>{name}</text>', chart.partition("</svg>")[0])
        return float(height)

    zero, below = position(line([0, 0, 0]), "so far 0"), position(line([-100, -100, 0]), "so far 0")
    assert below < zero - 100


def test_an_axis_over_more_than_a_year_says_which_october_it_is() -> None:
    months = [date(2025 + (number + 9) // 12, (number + 9) % 12 + 1, 1) for number in range(13)]

    def ticks(days: list[date]) -> list[str]:
        chart = str(charts.column_chart("key", "label", days, [""] * len(days), [1.0] * len(days), charts.FIRST_COLOUR))
        return [name.replace("\u00a0", " ") for name in names(chart) if len(name) > 3]

    assert ticks(months) == ["1 Oct", "2025", "1 Nov", "1 Dec", "1 Jan", "2026", *(
        f"1 {month}" for month in ("Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct")
    )]  # fmt: skip
    assert ticks(months[3:12])[0] == "1 Jan"
    assert "2026" not in ticks(months[3:12])

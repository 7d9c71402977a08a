"""
Charts as inline SVG, each in two widths, since a browser can only scale a drawing and its text must stay readable.

Matplotlib draws with stand-in colours, which become CSS variables, so that the report can be light or dark. Text stays
text.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from airflow_provider_claude_code.analytics.report.wording import day as in_words
from airflow_provider_claude_code.analytics.report.wording import number, short_number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _LINE, _SHADE, _HATCH, _TRACK = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
FIRST_COLOUR, SECOND_COLOUR, THIRD_COLOUR = "#0a0a0a", "#0b0b0b", "#0c0c0c"
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _SHADE: "var(--shade)",
    _HATCH: "var(--hatch)",
    _TRACK: "var(--track)",
    FIRST_COLOUR: "var(--first)",
    SECOND_COLOUR: "var(--second)",
    THIRD_COLOUR: "var(--third)",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "svg.id": None,
    "text.parse_math": False,
    "text.usetex": False,
    "text.color": _INK,
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": _LINE,
    "grid.linewidth": 1,
    "hatch.linewidth": 0.8,
    "lines.solid_capstyle": "round",
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.pad": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_ROW = 38
"""Height of a bar with its text."""
_COLUMN = 7
"""Width that is kept for a character, which is what wide fonts need."""


@dataclass(frozen=True)
class Line:
    """
    A line over days.

    :param name: what stands at its end.
    :param values: a value per day; None breaks the line.
    :param is_whole: per day whether the value is known to be whole; the line is dotted where it is not.
    :param colour: one of the colours of this module.
    :param width: thickness in pixels.
    """

    name: str
    values: Sequence[float | None]
    is_whole: Sequence[bool]
    colour: str
    width: float


@dataclass(frozen=True)
class Bar:
    """
    A bar with its name and value above it.

    :param name: visible text, of any length.
    :param length: 0 to 1; None draws no bar.
    :param value: the value in words.
    """

    name: str
    length: float | None
    value: str


def line_chart(
    key: str,
    label: str,
    days: Sequence[date],
    shaded: Sequence[str],
    lines: Sequence[Line],
    *,
    written: Callable[[float], str] = number,
) -> Markup:
    """
    Draw lines over days, at half the width of the page where there is room.

    :param key: makes the ids in the chart unique.
    :param label: what the chart says, for those who do not see it.
    :param days: consecutive days.
    :param shaded: per day what its data lacks, in a word or two; empty when it lacks nothing.
    :param lines: the lines.
    :param written: writes the value at the end of a line.
    :return: two svg elements.
    """
    values = [value for line in lines for value in line.values]
    ends = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            ends.append((known[-1], f"{line.name} {written(known[-1])}", line.colour))
    longest = max((len(name) for _value, name, _colour in ends), default=0)

    def draw(width: float) -> Figure:
        figure, axes = _time_axes(width, 170, days, shaded, values, right=14 + _COLUMN * longest)
        for line in lines:
            _draw_line(axes, line)
        _name_ends(axes, ends)
        return figure

    return _drawn(key, label, draw, is_half=True)


def column_chart(
    key: str,
    label: str,
    days: Sequence[date],
    shaded: Sequence[str],
    values: Sequence[float | None],
    colour: str,
    is_whole: Sequence[bool] | None = None,
    *,
    is_half: bool = False,
) -> Markup:
    """
    Draw a column per day, or per block of days that begins with it.

    :param key: makes the ids in the chart unique.
    :param label: what the chart says, for those who do not see it.
    :param days: consecutive days.
    :param shaded: per day what its data lacks, in a word or two; empty when it lacks nothing.
    :param values: the columns' heights; None draws none.
    :param colour: one of the colours of this module.
    :param is_whole: per column whether its value is known to be whole; it is hollow where it is not.
    :param is_half: whether two charts stand side by side where there is room.
    :return: two svg elements.
    """

    def draw(width: float) -> Figure:
        figure, axes = _time_axes(width, 170 if is_half else 190, days, shaded, values, right=20)
        # One path for all columns of a kind, with a gap between them where there is room for it.
        margin = 0.14 if len(days) <= 62 else 0.0
        for is_filled in (True, False):
            heights, edges = [], [-0.5]
            for position, value in enumerate(values):
                is_drawn = value is not None and (is_whole is None or is_whole[position]) == is_filled
                heights += [math.nan, float(value or 0) if is_drawn else math.nan, math.nan]
                edges += [position - 0.5 + margin, position + 0.5 - margin, position + 0.5]
            axes.stairs(heights, edges, fill=is_filled, color=colour, linewidth=0 if is_filled else 1.4, baseline=0)
        return figure

    return _drawn(key, label, draw, is_half=is_half)


def bar_chart(
    key: str, label: str, bars: Sequence[Bar], colour: str, *, of_whole: bool, is_half: bool = False
) -> Markup:
    """
    Draw bars from the left, one below the other.

    :param key: makes the ids in the chart unique.
    :param label: what the chart says, for those who do not see it.
    :param bars: the bars.
    :param colour: one of the colours of this module.
    :param of_whole: whether a bar's length is a share, so that its whole is drawn as well.
    :param is_half: whether two charts stand side by side where there is room.
    :return: two svg elements.
    """

    def draw(width: float) -> Figure:
        from matplotlib.patches import Rectangle

        height = _ROW * len(bars) + 4
        figure, axes = _axes(width, height, (0, 0, width, height))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        for position, bar in enumerate(bars):
            top = position * _ROW
            columns = int((width - 16) / _COLUMN) - len(bar.value)
            axes.text(0, top + 14, shortened(bar.name, columns), va="baseline", color=_INK)
            axes.text(width, top + 14, bar.value, va="baseline", ha="right", color=_INK)
            if of_whole:
                axes.add_patch(Rectangle((0, top + 20), width, 8, facecolor=_TRACK, linewidth=0))
            if bar.length:
                axes.add_patch(Rectangle((0, top + 20), max(1.0, bar.length * width), 8, facecolor=colour, linewidth=0))
        return figure

    return _drawn(key, label, draw, is_half=is_half)


def _axes(width: float, height: float, box: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """Return axes in a box of left, bottom, right and top in pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    left, bottom, right, top = box
    axes = figure.add_axes((left / width, bottom / height, (right - left) / width, (top - bottom) / height))
    return figure, axes


def _time_axes(
    width: float,
    height: float,
    days: Sequence[date],
    shaded: Sequence[str],
    values: Sequence[float | None],
    right: float,
) -> tuple[Figure, Axes]:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    spans_years = days[0].year < days[-1].year
    left, bottom, top = 44, 48 if spans_years else 34, 14
    figure, axes = _axes(width, height, (left, bottom, width - right, height - top))
    axes.set_xlim(-0.5, len(days) - 0.5)
    known = [0.0, *(value for value in values if value is not None)]
    # Only corrections of charges are below 0.
    lowest = min(known)
    heights = MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]).tick_values(lowest, max(lowest + 1, *known))
    # A line at the top keeps its whole thickness.
    axes.set_ylim(heights[0], heights[-1] + (heights[-1] - heights[0]) * 0.03)
    axes.set_yticks(heights)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))
    axes.grid(axis="y")
    ticks = _ticks(days, most=max(2, int((width - left - right) / 52)))
    axes.set_xticks(ticks, _tick_names([days[tick] for tick in ticks], with_years=spans_years))
    pixels_per_day = (width - left - right) / len(days)
    for first, last in _runs(shaded):
        axes.axvspan(first - 0.5, last + 0.5, facecolor=_SHADE, edgecolor=_HATCH, hatch="////", linewidth=0, zorder=0.5)
        if (last - first + 1) * pixels_per_day > 76:
            middle = (first + last) / 2
            transform = axes.get_xaxis_transform()
            axes.text(middle, 0.97, shaded[first], transform=transform, ha="center", va="top", color=_INK)
    return figure, axes


def _draw_line(axes: Axes, line: Line) -> None:
    every = [math.nan if value is None else float(value) for value in line.values]
    whole = [value if ok else math.nan for value, ok in zip(every, line.is_whole, strict=True)]
    # Up to and including the whole values beside it, so that the two parts meet.
    partial = [
        value
        if not (
            ok and (position == 0 or line.is_whole[position - 1]) and all(line.is_whole[position + 1 : position + 2])
        )
        else math.nan
        for position, (value, ok) in enumerate(zip(every, line.is_whole, strict=True))
    ]
    axes.plot(whole, color=line.colour, linewidth=line.width)
    axes.plot(partial, color=line.colour, linewidth=line.width, linestyle=(0, (1, 1.6)), dash_capstyle="butt")
    # A day between two breaks would not be drawn as a line.
    alone = [
        position
        for position, value in enumerate(every)
        if not math.isnan(value)
        and all(map(math.isnan, every[max(0, position - 1) : position] + every[position + 1 : position + 2]))
    ]
    if alone:
        axes.plot(
            alone, [every[position] for position in alone], "o", color=line.colour, markersize=5, markeredgewidth=0
        )


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the last values of lines, apart from each other."""
    height = axes.bbox.height
    bottom, top = axes.get_ylim()
    lowest = 4.0
    placed = []
    for value, name, colour in sorted(ends):
        lowest = max(lowest, (value - bottom) / (top - bottom) * height)
        placed.append((lowest, name, colour))
        lowest += 16
    overflow = max(0.0, lowest - 16 - height)
    for position, name, colour in placed:
        axes.annotate(
            name,
            (1, 0),
            xycoords="axes fraction",
            xytext=(8, position - overflow),
            textcoords="offset pixels",
            va="center",
            color=colour,
            annotation_clip=False,
        )


def _ticks(days: Sequence[date], most: int) -> list[int]:
    """Return the positions of the days to name: the first days of months, or every few days if there are few."""
    if len(days) > 120:
        firsts = [position for position, value in enumerate(days) if value.day == 1]
        step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if len(firsts) / step <= most)
        return firsts[::step]
    step = next(step for step in (1, 2, 3, 7, 14, 28, 56, 112) if len(days) / step <= most)
    return list(range(0, len(days), step))


def _tick_names(values: Sequence[date], *, with_years: bool) -> list[str]:
    """Return days in a few letters; ``with_years``, the first one of each year has the year below it."""
    years = [None, *(value.year for value in values)]
    return [
        in_words(value, year=False) + (f"\n{value.year}" if with_years and value.year != before else "")
        for value, before in zip(values, years, strict=False)
    ]


def _runs(words: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and last position of each run of the same word."""
    runs = ([position for position, _ in run] for word, run in groupby(enumerate(words), itemgetter(1)) if word)
    return [(positions[0], positions[-1]) for positions in runs]


def _drawn(key: str, label: str, draw: Callable[[float], Figure], *, is_half: bool) -> Markup:
    """Return a chart as two drawings, for windows wider and narrower than 800 CSS pixels."""
    import matplotlib

    drawings = []
    # Matplotlib has no glyphs for some names, which it only measures; the browser has.
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings(action="ignore"):
        for name, width in (("wide", 440 if is_half else 760), ("narrow", 320)):
            file = io.BytesIO()
            draw(width).savefig(
                file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
            )
            drawings.append(_for_html(file.getvalue(), f"{key}-{name}", name, label))
    return Markup("\n".join(drawings))  # noqa: S704 - ElementTree wrote them, and escaped what it was given


def _for_html(svg: bytes, prefix: str, css_class: str, label: str) -> str:
    """Make a drawing part of a report: its own ids, the report's colours and font, a name."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - it was written right here
    values = [value for element in root.iter() for value in element.attrib.items()]
    references = {match[1] for name, value in values for match in _references(name).finditer(value)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        if attributes.get("id") not in references:
            attributes.pop("id", None)
        else:
            attributes["id"] = f"{prefix}-{attributes['id']}"
        element.attrib.clear()
        for name, value in attributes.items():
            if name != "id":
                value = _references(name).sub(lambda match: match[0].replace("#", f"#{prefix}-"), value)
                value = _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
                value = _FONT_FAMILY.sub("", value)
            element.set(name, value)
    for parent in list(root.iter()):
        for child in list(parent):
            # The style would hold for the whole report, which has its own.
            if child.tag in ("style", "metadata"):
                parent.remove(child)
            child.tail = None
    inner = ElementTree.Element("g", {"aria-hidden": "true"})
    inner.extend(list(root))
    shell = ElementTree.Element(
        "svg", {"class": css_class, "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    )
    shell.append(inner)
    return ElementTree.tostring(shell, encoding="unicode")


def _references(attribute: str) -> re.Pattern[str]:
    """Return what finds ids in an attribute's values, which may also hold colours."""
    return _LINK if attribute.endswith("href") else _URL


_LINK = re.compile(r"^#(.+)$")
_URL = re.compile(r"(?<=url\()#([^)]+)")
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT_FAMILY = re.compile(r"font-family:[^;]*(?:; )?")

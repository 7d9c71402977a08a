"""The elements of a report: plain data without markup, which the template renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_provider_claude_code.quoting import visible

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Name:
    """A name from outside the report. The template isolates its text direction."""

    value: object

    @property
    def text(self) -> str:
        """The name, with invisible characters spelled out."""
        return visible(self.value)


@dataclass(frozen=True)
class ShareBar:
    """A share of 0 to 1 as a bar, beside the number that says the same."""

    share: float


Cell = str | Name | ShareBar


@dataclass(frozen=True)
class Note:
    """A paragraph; nothing is drawn when its text is empty."""

    text: str
    style: Literal["", "lead", "note", "warning"] = ""


@dataclass(frozen=True)
class Fact:
    """A line of a list. The label, which may be empty, stands out."""

    label: str
    text: str


@dataclass(frozen=True)
class Facts:
    """A list of facts."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Tile:
    """A headline number, its change, and a remark on the change."""

    label: str
    value: str
    change: str
    remark: str


@dataclass(frozen=True)
class Tiles:
    """Tiles side by side."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Table:
    """
    A table whose first column names the rows.

    :param caption: caption of the table.
    :param columns: headings of the columns; may be empty.
    :param rows: a cell per column.
    :param text_columns: positions of the columns after the first that hold text; the others hold numbers.
    :param summary: text to click to open the table; empty for a table that is always open.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: Sequence[int] = ()
    summary: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart with its caption."""

    title: str
    text: str
    chart: Markup


@dataclass(frozen=True)
class Subheading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class SideBySide:
    """Columns of elements, stacked on narrow screens."""

    columns: Sequence[Sequence[Element]]


@dataclass(frozen=True)
class Section:
    """
    A heading with its elements.

    :param is_personal: whether it names people. Such a section is only on the page, not in the other files.
    :param is_detail: whether it is folded on screen and left out in print.
    """

    heading: str
    elements: Sequence[Element]
    is_personal: bool = False
    is_detail: bool = False


@dataclass(frozen=True)
class Chapter:
    """
    The part of a report about one organisation.

    :param key: makes the ids of its HTML elements unique.
    :param name: the organisation's name; its id where no name is known.
    :param id: its id.
    :param summary: the most important in a few sentences.
    """

    key: str
    name: Name
    id: Name
    elements: Sequence[Element]
    summary: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """
    A whole report.

    :param title: title of the report.
    :param period: the days of the period, as text.
    :param length: number of days, as text.
    :param made: time of the report, as text.
    :param chapters: one chapter per organisation.
    :param about: notes that apply to all numbers.
    """

    title: Name
    period: str
    length: str
    made: str
    chapters: Sequence[Chapter]
    about: Section

    @property
    def names_people(self) -> bool:
        """Whether a section is personal."""
        return any(_is_personal(element) for chapter in self.chapters for element in chapter.elements)


def _is_personal(element: Element) -> bool:
    match element:
        case Section():
            return element.is_personal or any(map(_is_personal, element.elements))
        case SideBySide():
            return any(_is_personal(it) for column in element.columns for it in column)
    return False


Element = Facts | Figure | Note | Section | SideBySide | Subheading | Table | Tiles

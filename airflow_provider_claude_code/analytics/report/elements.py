"""What a report is made of: plain data without any markup, which the template draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_provider_claude_code.quoting import visible

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Name:
    """A name from outside: it does not affect the direction of the text beside it."""

    value: object

    @property
    def text(self) -> str:
        """The name, with what cannot be seen spelled out."""
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
    """A number to be seen first, how it changed, and a remark on that."""

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

    :param caption: what it shows.
    :param columns: their headings; an empty one heads nothing.
    :param rows: a cell per column.
    :param text_columns: positions of the columns after the first that hold text; the others hold numbers.
    :param summary: what is shown in its place until a reader opens it; empty for a table that is always shown.
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
    """Columns of elements, one below the other where there is no room."""

    columns: Sequence[Sequence[Element]]


@dataclass(frozen=True)
class Section:
    """A heading and what belongs to it."""

    heading: str
    elements: Sequence[Element]


@dataclass(frozen=True)
class Chapter:
    """All that is said of an organisation; the key makes the ids in it its own."""

    key: str
    name: Name
    elements: Sequence[Element]


@dataclass(frozen=True)
class Document:
    """
    All of a report.

    :param period: the days that it is about.
    :param length: how many they are.
    :param made: when it was made.
    :param chapters: what is said of each organisation.
    :param about: what holds for all numbers.
    """

    period: str
    length: str
    made: str
    chapters: Sequence[Chapter]
    about: Section


Element = Facts | Figure | Note | Section | SideBySide | Subheading | Table | Tiles

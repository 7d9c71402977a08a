"""The cells of a report as CSV and JSON, and a summary in a few sentences for e-mail and chat."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from markupsafe import Markup

from airflow_provider_claude_code.analytics.report.elements import (
    Cell,
    Chapter,
    Document,
    Element,
    Facts,
    Figure,
    Name,
    Note,
    Section,
    ShareBar,
    SideBySide,
    Subheading,
    Table,
    Tile,
    Tiles,
)
from airflow_provider_claude_code.analytics.report.wording import count

MOST_ORGANIZATIONS = 5
"""Maximum number of organisations in the text and the table of a report."""
_NUMBER = re.compile(
    r"(?P<sign>[+\u2212\u00b1-]?)(?P<dollar>\$?)(?P<digits>[\d,]+(?:\.\d+)?)[\s\u00a0]?(?P<unit>%|points)?"
)
# A spreadsheet reads text that begins with these as a formula. It ignores leading blanks and accepts wide characters.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


@dataclass(frozen=True)
class ShownCell:
    """
    A cell of a report.

    :param organization_id: the organisation of the cell.
    :param organization: its name, or its id.
    :param section: the heading above it; empty for the tiles.
    :param table: the caption of its table, ``tiles`` or ``facts``.
    :param row_number: the row in the table, from 1.
    :param row: label of the row.
    :param column: the column's heading.
    :param value: the cell as it is shown.
    :param number: the number as it is shown, rounded in the same way; None if the cell is not a number.
    :param unit: ``USD``, ``%``, ``points`` or nothing.
    """

    organization_id: str
    organization: str
    section: str
    table: str
    row_number: int
    row: str
    column: str
    value: str
    number: str | None
    unit: str


@dataclass(frozen=True)
class ShownText:
    """
    A paragraph of a report, or the caption of a chart.

    :param organization_id: the organisation; empty if the paragraph applies to all.
    :param section: the heading above it.
    :param text: what it says.
    """

    organization_id: str
    section: str
    text: str


def shown_cells(document: Document) -> list[ShownCell]:
    """Return the cells of a report in the order of the page, without sections that are personal."""
    return [
        ShownCell(chapter.id.text, chapter.name.text, section, *cell)
        for chapter in document.chapters
        for section, element in _walk(chapter.elements)
        for cell in _cells(element)
    ]


def shown_texts(document: Document) -> list[ShownText]:
    """Return the paragraphs of a report in the order of the page, without sections that are personal."""
    parts = [*((chapter.id.text, chapter.elements) for chapter in document.chapters), ("", [document.about])]
    summaries = [ShownText(it.id.text, "In short", text) for it in document.chapters for text in it.summary]
    return summaries + [
        ShownText(organization_id, section, text)
        for organization_id, elements in parts
        for section, element in _walk(elements)
        for text in _texts(element)
        if text
    ]


def as_csv(document: Document) -> str:
    """Return the cells as CSV with a header. No cell can be read as a formula."""
    file = io.StringIO()
    columns = [field.name for field in fields(ShownCell)]
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for cell in shown_cells(document):
        row = asdict(cell)
        # Plain digits, which a spreadsheet reads as a number.
        writer.writerow({name: value if name == "number" else _no_formula(value) for name, value in row.items()})
    return file.getvalue()


def as_json(document: Document, first_day: date, last_day: date) -> str:
    """
    Return the cells and texts as JSON.

    :param document: the report.
    :param first_day: the first UTC day of its period.
    :param last_day: the last one.
    """
    content = {
        "title": document.title.text,
        "first_day": first_day.isoformat(),
        "last_day": last_day.isoformat(),
        "made": document.made,
        "cells": [asdict(cell) for cell in shown_cells(document)],
        "texts": [asdict(text) for text in shown_texts(document)],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def in_sentences(document: Document) -> str:
    """
    Return a summary as plain text: the title, how much is loaded, and a summary of each organisation.

    :return: a few sentences, and a line per organisation.
    """
    head = f"{document.title.text}, {document.period}."
    if not document.chapters:
        return f"{head} No day has been loaded yet, so there is nothing to report."
    lines = []
    for chapter in document.chapters[:MOST_ORGANIZATIONS]:
        sentences = [_first_sentence(chapter), *chapter.summary]
        whose = [f"{chapter.name.text}:"] if len(document.chapters) > 1 else []
        lines.append(" ".join([*whose, *sentences]))
    lines[0] = f"{head} {lines[0]}"
    return "\n".join([*lines, *_left_out(document)])


def as_html_table(document: Document) -> Markup:
    """Return the tiles as a small HTML table for the body of an e-mail. Everything in it is escaped."""
    rows = [
        Markup('<tr><th align="left">{}</th><td align="right">{}</td><td>{}</td></tr>').format(
            tile.label, tile.value, _change(tile)
        )
        for chapter in document.chapters[:MOST_ORGANIZATIONS]
        for tile in [*_heading_tile(chapter, document), *_tiles(chapter)]
    ]
    rows += [Markup('<tr><td colspan="3">{}</td></tr>').format(text) for text in _left_out(document)]
    caption = f"{document.title.text}, {document.period}"
    return Markup('<table cellpadding="4"><caption>{}</caption>{}</table>').format(caption, Markup("").join(rows))


def _walk(elements: Sequence[Element], section: str = "") -> Iterator[tuple[str, Element]]:
    """Yield the elements with content, each with the heading above it."""
    for element in elements:
        match element:
            case Section(heading=heading):
                if not element.is_personal:
                    yield from _walk(element.elements, heading)
            case SideBySide(columns=columns):
                for column in columns:
                    yield from _walk(column, section)
            case Subheading():
                pass
            case _:
                yield section, element


def _cells(element: Element) -> Iterator[tuple[str, int, str, str, str, str | None, str]]:
    """Yield table, row number, row, column, value, number and unit."""
    match element:
        case Tiles(tiles=tiles):
            for position, tile in enumerate(tiles, 1):
                for column in ("value", "change", "remark"):
                    if text := getattr(tile, column):
                        yield "tiles", position, tile.label, column, *_with_number(text)
        case Facts(facts=facts):
            for position, fact in enumerate((fact for fact in facts if fact.label), 1):
                yield "facts", position, fact.label, "value", *_with_number(fact.text)
        case Table():
            for position, row in enumerate(element.rows, 1):
                for index, cell in enumerate(row):
                    if index and not isinstance(cell, ShareBar):
                        shown = (_text(cell), None, "") if index in element.text_columns else _with_number(cell)
                        yield element.caption, position, _text(row[0]), element.columns[index], *shown


def _texts(element: Element) -> Iterator[str]:
    match element:
        case Note(text=text):
            yield text
        case Figure(title=title, text=text):
            yield f"{title}. {text}"
        case Facts(facts=facts):
            yield from (fact.text for fact in facts if not fact.label)


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Name) else str(cell)


def _with_number(cell: Cell) -> tuple[str, str | None, str]:
    """Return a cell as it is shown, its number and its unit. A name that contains digits is not a number."""
    text = _text(cell)
    match = None if isinstance(cell, Name) else _NUMBER.fullmatch(text)
    if match is None:
        return text, None, ""
    sign = "-" if match["sign"] in ("-", "\u2212") else ""
    return text, sign + match["digits"].replace(",", ""), "USD" if match["dollar"] else match["unit"] or ""


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _tiles(chapter: Chapter) -> list[Tile]:
    return [tile for _section, it in _walk(chapter.elements) if isinstance(it, Tiles) for tile in it.tiles]


def _heading_tile(chapter: Chapter, document: Document) -> list[Tile]:
    return [Tile(chapter.name.text, "", "", "")] if len(document.chapters) > 1 else []


def _first_sentence(chapter: Chapter) -> str:
    """Return the first sentence of an organisation's chapter, which says how much of the period is loaded."""
    text = next((it.text for _section, it in _walk(chapter.elements) if isinstance(it, Note)), "")
    return text.partition(". ")[0].removesuffix(".") + "."


def _change(tile: Tile) -> str:
    return f"{tile.change} {tile.remark}".strip()


def _left_out(document: Document) -> list[str]:
    left = len(document.chapters) - MOST_ORGANIZATIONS
    return [f"And {count(left, 'more organisation')}."] if left > 0 else []

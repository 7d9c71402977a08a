"""The template of a report draws every element, and takes every text for text."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from airflow_provider_claude_code.analytics.report import elements
from airflow_provider_claude_code.analytics.report.elements import (
    Chapter,
    Document,
    Element,
    Fact,
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
from airflow_provider_claude_code.analytics.report.rendering import render

CHART = Markup("<svg><text>a chart</text></svg>")


def hostile(what: str) -> str:
    """Return a text that would be an element, end an attribute, or be an entity, if it was not escaped."""
    return f"{what} '\"><i>&amp;"


EVERY_ELEMENT: list[Element] = [
    Facts([Fact(hostile("fact label"), hostile("fact")), Fact("", hostile("fact without a label"))]),
    Figure(hostile("figure title"), hostile("figure"), CHART),
    Note(hostile("note"), "warning"),
    Section(
        hostile("section"),
        [
            SideBySide([[Note(hostile("left"))], [Note(hostile("right"))]]),
            Subheading(hostile("subheading")),
        ],
    ),
    Table(
        hostile("table"),
        (hostile("first column"), hostile("second column"), hostile("text column")),
        [
            (hostile("first cell"), hostile("cell"), hostile("cell of text")),
            (Name(hostile("row's name")), ShareBar(0.25), Name(hostile("name in a cell"))),
        ],
        text_columns=(2,),
        summary=hostile("summary"),
    ),
    Tiles([Tile(hostile("tile"), hostile("value"), hostile("change"), hostile("remark"))]),
]
CHAPTERS = [
    Chapter(
        hostile(f"key{number}"), Name(hostile(f"organisation {number}")), Name(hostile(f"id {number}")), EVERY_ELEMENT
    )
    for number in (1, 2)
]
DOCUMENT = Document(
    Name(hostile("title")),
    hostile("period"),
    hostile("length"),
    hostile("made"),
    CHAPTERS,
    Section(hostile("about"), EVERY_ELEMENT),
)


class Drawn(HTMLParser):
    """The tags, texts and attributes of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def objects(value: object) -> Iterator[object]:
    """Walk through a document."""
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from objects(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for member in value:
            yield from objects(member)


def test_every_text_is_shown_as_it_is() -> None:
    drawn = Drawn(render(DOCUMENT))

    assert "i" not in drawn.tags
    shown = "".join(drawn.texts)
    texts = {it for it in objects(DOCUMENT) if isinstance(it, str) and not isinstance(it, Markup)}
    hidden = {text for text in texts if text not in shown} - {"", "warning"}
    assert hidden == {chapter.key for chapter in CHAPTERS}
    for chapter in CHAPTERS:
        for attribute, value in {"id": "", "href": "#", "aria-labelledby": ""}.items():
            assert (attribute, value + chapter.key) in drawn.attributes
    assert ("aria-label", hostile("table")) in drawn.attributes


def test_every_element_is_drawn() -> None:
    kinds = {type(it) for it in objects(DOCUMENT)}
    assert set(typing.get_args(elements.Element)) | set(typing.get_args(elements.Cell)) <= kinds

    drawn = Drawn(render(DOCUMENT))
    assert drawn.tags.count("svg") == 3
    assert ("style", "width: 25.0%") in drawn.attributes
    assert drawn.attributes.count(("class", "text")) == 3 * 3


def test_what_a_template_does_not_know_is_an_error() -> None:
    unknown: typing.Any = object()
    with pytest.raises(UndefinedError, match="has no attribute 'object'"):
        render(dataclasses.replace(DOCUMENT, about=Section("about", [unknown])))


def test_a_chart_that_is_no_markup_is_escaped() -> None:
    chart: typing.Any = str(CHART)
    html = render(dataclasses.replace(DOCUMENT, chapters=[], about=Section("about", [Figure("title", "text", chart)])))
    assert "svg" not in Drawn(html).tags


def test_no_line_ends_between_a_minus_and_its_dollars() -> None:
    note = Note("between \N{MINUS SIGN}$1,700 and \N{MINUS SIGN}$1,590")
    html = render(dataclasses.replace(DOCUMENT, chapters=[dataclasses.replace(DOCUMENT.chapters[0], elements=[note])]))
    assert "between \N{MINUS SIGN}\N{WORD JOINER}$1,700 and \N{MINUS SIGN}\N{WORD JOINER}$1,590" in html

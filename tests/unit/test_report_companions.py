"""The files next to a report contain the cells of the page as they are shown, and no people."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from datetime import date
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from airflow_provider_claude_code.analytics.report.companions import (
    MOST_ORGANIZATIONS,
    as_csv,
    as_html_table,
    as_json,
    in_sentences,
)
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
    Table,
    Tile,
    Tiles,
)
from airflow_provider_claude_code.analytics.report.rendering import render

PEOPLE = Section(
    "People",
    [Note("personal"), Table("The people", ("Person", "Sessions"), [(Name("ada@example.com"), "5")])],
    is_personal=True,
)
ELEMENTS: list[Element] = [
    Note("7 of 7 days loaded. The period before is another.", "lead"),
    Tiles(
        [
            Tile("Active people", "1,234", "+5.0\u00a0%", "(1,175\u00a0before)"),
            Tile("Sessions", "unknown", "", "no comparison"),
            Tile("API cost", "$0.0012", "\u22123.5 points", ""),
            Tile("Commits", "0", "", ""),
        ]
    ),
    Section(
        "Groups",
        [
            SideBySide(
                [
                    [
                        Table(
                            "By team",
                            ("Team", "Cost centre", "Sessions", ""),
                            [
                                (Name("=1+1"), Name("4711"), "85.9\u00a0%", ShareBar(0.859)),
                                (Name("@sum"), "1,000", "\u2013", ShareBar(0.1)),
                            ],
                            text_columns=(1,),
                            summary="Table: by team",
                        )
                    ],
                    [Facts([Fact("Rounded:", "3"), Fact("", "A caveat.")])],
                ]
            ),
            Figure("A chart", "It rises.", Markup("<svg></svg>")),
        ],
    ),
    PEOPLE,
    SideBySide([[PEOPLE]]),
]


SUMMARY = ("1,234 people used it.", "Nothing needs attention.")


def chapter(number: int, elements: list[Element] = ELEMENTS) -> Chapter:
    return Chapter(f"o{number}", Name(f"Acme {number}"), Name(f"id-{number}"), elements, SUMMARY)


def document(*chapters: Chapter) -> Document:
    about = Section("How to read", [Facts([Fact("", "All are estimates.")])])
    return Document(Name("Claude Code"), "1 to 7 Sep 2025", "7 days", "8 Sep 2025", chapters, about)


ONE = document(chapter(1))


class Cells(HTMLParser):
    """The cells of the tables of a page, without the headings of columns and the bars."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("th", "td"):
            self._open = tag == "td"
            self.cells += [""] if self._open else []

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_cells_are_those_of_the_page() -> None:
    shown = dataclasses.replace(ONE, chapters=[chapter(1, [it for it in ELEMENTS if isinstance(it, Section)][:1])])
    on_page = [cell for cell in Cells(render(shown)).cells if cell.strip()]
    beside = [cell["value"] for cell in json.loads(as_json(shown, date.min, date.max))["cells"]]
    assert [cell for cell in beside if cell != "3"] == on_page == ["4711", "85.9\u00a0%", "1,000", "\u2013"]


def test_a_cell_says_whose_it_is_and_what_it_is() -> None:
    whose = {"organization_id": "id-1", "organization": "Acme 1"}
    tile = {"section": "", "table": "tiles", "row_number": "1", "row": "Active people"}
    cells = rows(as_csv(ONE))
    assert cells[0] == whose | tile | {"column": "value", "value": "1,234", "number": "1234", "unit": ""}
    in_table = {"section": "Groups", "table": "By team", "row_number": "1", "row": "'=1+1"}
    assert whose | in_table | {"column": "Cost centre", "value": "4711", "number": "", "unit": ""} in cells
    assert whose | in_table | {"column": "Sessions", "value": "85.9\u00a0%", "number": "85.9", "unit": "%"} in cells


@pytest.mark.parametrize(
    ("shown", "number", "unit"),
    [
        ("\u22121,234.5", "-1234.5", ""),
        ("\u2212$2.00", "-2.00", "USD"),
        ("+5.0\u00a0%", "5.0", "%"),
        ("\u00b10.0\u00a0%", "0.0", "%"),
        ("below $0.0001", None, ""),
        ("5 of 7", None, ""),
        ("", None, ""),
    ],
)
def test_a_number_is_told_as_it_is_shown(shown: str, number: str | None, unit: str) -> None:
    table = Table("table", ("name", "value"), [("row", shown)])
    (cell,) = json.loads(as_json(document(chapter(1, [table])), date.min, date.max))["cells"]
    assert (cell["value"], cell["number"], cell["unit"]) == (shown, number, unit)


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_of_the_csv_begins_a_formula(begin: str) -> None:
    text = f'{begin}HYPERLINK("https://example.com")'
    table = Table(text, (text, text), [(text, text)])
    hostile = Chapter("o1", Name(text), Name(text), [Section(text, [table])])
    (cell,) = csv.reader(as_csv(document(hostile)).splitlines(keepends=True)[1:])
    assert not [value for value in cell if re.match(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]", value)]
    assert sum(value.startswith("'") for value in cell) >= 5


def test_people_are_on_the_page_alone() -> None:
    assert ONE.names_people
    assert "ada@example.com" in render(ONE)
    for text in (as_csv(ONE), as_json(ONE, date.min, date.max), in_sentences(ONE), as_html_table(ONE)):
        assert "ada@example.com" not in text
        assert "personal" not in text


def test_the_page_says_whether_it_names_people() -> None:
    nested = document(chapter(1, [SideBySide([[Section("outer", [PEOPLE])]])]))
    nobody = document(chapter(1, [it for it in ELEMENTS if not isinstance(it, Section | SideBySide)]))
    for shown, said in ((ONE, "named"), (nested, "named"), (nobody, "none")):
        assert shown.names_people == (said == "named")
        assert f'<meta name="claude-code-people" content="{said}">' in render(shown)[:4096]


def test_texts_go_into_the_json() -> None:
    content = json.loads(as_json(ONE, date(2025, 9, 1), date(2025, 9, 7)))
    assert (content["title"], content["first_day"], content["last_day"]) == ("Claude Code", "2025-09-01", "2025-09-07")
    assert [(text["organization_id"], text["section"], text["text"]) for text in content["texts"]] == [
        ("id-1", "In short", "1,234 people used it."),
        ("id-1", "In short", "Nothing needs attention."),
        ("id-1", "", "7 of 7 days loaded. The period before is another."),
        ("id-1", "Groups", "A caveat."),
        ("id-1", "Groups", "A chart. It rises."),
        ("", "How to read", "All are estimates."),
    ]


def test_a_few_sentences_tell_the_most_important() -> None:
    assert in_sentences(ONE) == (
        "Claude Code, 1 to 7 Sep 2025. 7 of 7 days loaded. 1,234 people used it. Nothing needs attention."
    )


def test_many_organisations_are_counted() -> None:
    text = in_sentences(document(*map(chapter, range(1, 51))))
    assert text.count("Acme") == MOST_ORGANIZATIONS
    assert text.endswith(f"\nAnd {50 - MOST_ORGANIZATIONS} more organisations.")
    table = as_html_table(document(*map(chapter, range(1, 51))))
    assert table.count("Acme") == MOST_ORGANIZATIONS


def test_nothing_loaded_is_said() -> None:
    assert "No day has been loaded" in in_sentences(document())
    assert as_csv(document()).count("\n") == 1


def test_the_table_for_mail_is_escaped() -> None:
    hostile = "<script>&'\""
    shown = document(
        Chapter("o1", Name(hostile), Name(hostile), [Tiles([Tile(hostile, hostile, hostile, hostile)])]), chapter(2)
    )
    table = as_html_table(dataclasses.replace(shown, title=Name(hostile)))
    assert "<script" not in table
    assert table.count("&lt;script&gt;&amp;&#39;&#34;") == 6

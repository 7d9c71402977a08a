"""
The queries of this folder: read, described by their own heads, and made ready to run.

``NAME.sql`` is a model. ``parts/NAME.sql`` is what models share; it is put into them, so that each runs by itself and a
view never shows more than it says. In all of them `` `claude_code.NAME` `` names a table or another of the files, and a
value that is followed by a comment with a name, like ``5 /* min_group_size */``, is a setting. A column that is
followed by ``/* address */`` is compared as addresses are, see
:func:`~airflow_provider_claude_code.tables.actors.comparable_id`.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import ClassVar

from airflow_provider_claude_code.days import FRESHNESS_DELAY
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.usage.models import MAX_OF_A_DAY
from airflow_provider_claude_code.tables.actors import ADDRESS_BLANKS

PERSONAL_MODELS = frozenset({"people_monthly", "ai_tool_comparison"})
"""The models with a row per person. They are used only when they are asked for by name."""

TABLES_OF_USERS = ("roster", "mapping")
"""Tables that users may add. Parts of these names, without rows, stand for them where there are none."""

_REFERENCE = re.compile(r"`claude_code\.(\w+)`")
_SETTING = re.compile(r"(?:DATE '[0-9-]+'|[0-9.]+) /\* (\w+) \*/")
_ADDRESS = re.compile(r"(\w+) /\* address \*/")
_ESCAPES = str.maketrans({"\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    What can be chosen in the queries.

    :param min_group_size: groups of fewer people are folded together; 1 folds none.
    :param since: the first UTC day that is read; the history of who is new begins there.
    :param max_drop: share of the usual records, 0 to 1, whose lack ``data_quality`` reports.
    :param max_age_hours: hours after the end of the newest complete day from which ``data_quality`` reports it.
    :param first_day: first UTC day of a report; no model looks at it.
    :param last_day: its last UTC day.
    :raises ClaudeCodeConfigurationError: a value cannot be used.
    """

    min_group_size: int = 5
    since: date = date(2025, 1, 1)
    max_drop: float = 0.5
    max_age_hours: float = 48
    first_day: date = date(2025, 9, 1)
    last_day: date = date(2025, 9, 28)
    minutes_until_complete: ClassVar[int] = (timedelta(days=1) + FRESHNESS_DELAY) // timedelta(minutes=1)
    """Minutes from the start of a UTC day to the moment from which it is complete; not to be chosen."""
    largest_sum_of_a_day: ClassVar[int] = MAX_OF_A_DAY
    """What a load accepts as the sum of all numbers of a day; not to be chosen."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not _is_number(self.min_group_size, int) or self.min_group_size < 1:
            raise ClaudeCodeConfigurationError(
                f"min_group_size is {self.min_group_size!r}; a whole number of 1 or more was expected."
            )
        if not _is_number(self.max_drop, (int, float)) or not 0 < self.max_drop <= 1:
            raise ClaudeCodeConfigurationError(
                f"max_drop is {self.max_drop!r}; a share above 0 and up to 1 was expected."
            )
        if not _is_number(self.max_age_hours, (int, float)) or not 0 < self.max_age_hours < float("inf"):
            raise ClaudeCodeConfigurationError(
                f"max_age_hours is {self.max_age_hours!r}; a number of hours above 0 was expected."
            )
        if self.last_day < self.first_day:
            raise ClaudeCodeConfigurationError(f"last_day ({self.last_day}) is before first_day ({self.first_day}).")

    def literal(self, name: str) -> str:
        """Write a setting in SQL."""
        value = getattr(self, name)
        if isinstance(value, date):
            return f"DATE '{value}'"
        # A number with a point is a FLOAT64 in GoogleSQL, but a narrow DECIMAL in DuckDB.
        return f"CAST({value} AS FLOAT64)" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Model:
    """
    A query.

    :param name: its file's name.
    :param description: what it says, and one row of it.
    :param columns: its columns in order, each with its meaning.
    :param sql: GoogleSQL with references and settings.
    """

    name: str
    description: str
    columns: Mapping[str, str]
    sql: str

    @property
    def is_personal(self) -> bool:
        """Whether it has a row per person."""
        return self.name in PERSONAL_MODELS


@cache
def models() -> dict[str, Model]:
    """Return the models by name, those with a row per person last."""
    found = _read_folder(resources.files(__package__))
    return dict(sorted(found.items(), key=lambda item: (item[1].is_personal, item[0])))


@cache
def parts() -> dict[str, Model]:
    """Return the parts by name."""
    return _read_folder(resources.files(__package__) / "parts")


def render(name: str, relations: Mapping[str, str], settings: Settings, *, by_period: bool = False) -> str:
    """
    Return a model or a part as one GoogleSQL query that stands by itself.

    :param name: its name.
    :param relations: by name, the SQL that stands for a table, or for a model or part that exists already.
    :param settings: the values of the settings.
    :param by_period: put the report's period, and the one before it, in the place of months.
    """
    if by_period:
        relations = {**relations, "months": f"({render('periods', relations, settings)})"}

    def relation(match: re.Match[str]) -> str:
        return relations.get(match[1]) or f"({render(match[1], relations, settings)})"

    query = (models() | parts())[name].sql
    query = _SETTING.sub(lambda match: settings.literal(match[1]), query)
    query = _ADDRESS.sub(_comparable_address, query)
    return _REFERENCE.sub(relation, query)


def _comparable_address(column: re.Match[str]) -> str:
    name = column[1]
    trimmed = f"TRIM({name}, '{ADDRESS_BLANKS.translate(_ESCAPES)}')"
    translated = f"TRANSLATE({trimmed}, '{string.ascii_uppercase}', '{string.ascii_lowercase}')"
    # The same for what is visible ASCII, as nearly all addresses are; DuckDB translates slowly.
    return f"IF(REGEXP_CONTAINS({name}, '[^!-~]'), {translated}, LOWER({name}))"


def markdown_reference() -> str:
    """Return the models, and the tables that users may add, as Markdown."""
    lines = [
        "# What the models say",
        "",
        "Made by `make docs` from the heads of the queries in this folder. Where they run, and what is common to all, "
        "is in the [README](../../README.md#from-rows-to-answers).",
    ]
    for model in models().values():
        lines += ["", f"## {model.name}", "", model.description, "", *_listed(model)]
    lines += ["", "# Tables of your own", "", "Both are optional."]
    for name in TABLES_OF_USERS:
        lines += ["", f"## {name}", "", *_listed(parts()[name])]
    return "\n".join(lines) + "\n"


def _listed(model: Model) -> list[str]:
    return ["| column | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in model.columns.items())]


def _read_folder(folder: Traversable) -> dict[str, Model]:
    files = {file.name.removesuffix(".sql"): file for file in folder.iterdir() if file.name.endswith(".sql")}
    return {name: _read(name, file.read_text(encoding="utf-8")) for name, file in files.items()}


def _read(name: str, text: str) -> Model:
    """Take a file apart: paragraphs of its head are separated by an empty comment, the last one lists the columns."""
    head = "".join(itertools.takewhile(lambda line: line.startswith("--"), text.splitlines(keepends=True)))
    *paragraphs, listed = head.replace("--\n", "\n").replace("-- ", "").split("\n\n")
    columns = {}
    # A line that is indented goes on with the one before.
    for entry in re.split(r"\n(?! )", listed.rstrip("\n")):
        column, _, meaning = _joined(entry).partition(": ")
        columns[column] = meaning
    return Model(name, "\n\n".join(map(_joined, paragraphs)), columns, text[len(head) :].rstrip())


def _joined(lines: str) -> str:
    return " ".join(lines.split())


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)

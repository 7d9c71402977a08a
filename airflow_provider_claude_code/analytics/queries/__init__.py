"""
Reads the queries in this folder and prepares them to run. The head of each file describes it.

``models/NAME.sql`` is a model, and ``parts/NAME.sql`` is a query that models share. `` `claude_code.NAME` `` refers to
a table or to another of these files. A rendered query has each file that it reads as a step of its ``WITH``, so it
depends on no other view. Names of tables, models, parts and steps are unique.

A part may take a step of the query that reads it, as a table function does:
`` `claude_code.PART`(PARAMETER => TABLE STEP) ``.

A value that is followed by a comment with a name, like ``5 /* min_group_size */``, is one of the :class:`Settings`.
``date /* bucket_start */`` and ``date /* bucket_end */`` are the first and the last day of the week or month that a day
is in, as ``breakdown_grain`` says. ``actor_id /* comparable */`` is the id as it is compared with others of its
``actor_type``, see :func:`~airflow_provider_claude_code.tables.actors.comparable_id`; empty when there is none.
`` `claude_code.given_tables` `` has a row with the name of each table that the user has added.
``amount /* as_text */`` is a number as text without zeros at the end, which some engines add.
"""

from __future__ import annotations

import itertools
import re
import string
import textwrap
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from typing import Any

from airflow_provider_claude_code.analytics.queries.settings import Settings as Settings
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_TOOLS, TABLES_OF_USERS
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.tables.actors import ADDRESS_BLANKS

Row = Mapping[str, Any]
"""A row that a query returns, by column."""

PERSONAL_MODELS = frozenset({"people_monthly", "ai_tool_comparison", "keys", "restatements"})
"""
The models with a row per person or key, or with what a single record changed. They are used only when they are asked
for by name.
"""

_REFERENCE = re.compile(r"`claude_code\.(\w+)`(?:\((\w+) => TABLE (\w+)\))?")
_SETTING = re.compile(r"(?:DATE '[0-9-]+'|'[^']*'|[0-9.]+|\[[0-9, ]+\]) /\* (\w+) \*/")
_COMPARABLE = re.compile(r"(\w+) /\* comparable \*/")
_AS_TEXT = re.compile(r"([\w.]+) /\* as_text \*/")
_BUCKET = re.compile(r"([\w.]+) /\* (bucket_start|bucket_end) \*/")
_ESCAPES = str.maketrans({"\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"})


@dataclass(frozen=True)
class Model:
    """
    A query.

    :param name: its file's name.
    :param description: what the query returns, and what one row represents.
    :param columns: its columns in order, each with its meaning.
    :param sql: GoogleSQL with references and settings.
    :param key: the columns that identify a row, some of which may be null; empty for a part.
    """

    name: str
    description: str
    columns: Mapping[str, str]
    sql: str
    key: tuple[str, ...] = ()

    @property
    def is_personal(self) -> bool:
        """Whether it has a row per person or key."""
        return self.name in PERSONAL_MODELS


@cache
def models() -> dict[str, Model]:
    """Return the models by name, those with a row per person or key last."""
    return dict(sorted(_read_folder("models").items(), key=lambda item: (item[1].is_personal, item[0])))


@cache
def parts() -> dict[str, Model]:
    """Return the parts by name."""
    return _read_folder("parts")


def render(
    name: str, relations: Mapping[str, str], settings: Settings, computed_once: Container[str] = frozenset()
) -> str:
    """
    Return a model or a part as one GoogleSQL query that needs only the relations.

    :param name: its name.
    :param relations: by name, the SQL that represents a table, or a model or part that exists already. A table that is
        not among them has no rows; ``loads`` has to be.
    :param settings: the values of the settings.
    :param computed_once: the models and parts that are written as recursive steps, which end at once. BigQuery computes
        these once, and any other step again for each reference to it:
        https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#with_clause
    """
    steps: dict[str, str] = {}

    def written(name: str, relations: Mapping[str, str]) -> str:
        def relation(reference: re.Match[str]) -> str:
            name, parameter, argument = reference.groups()
            if parameter:
                function = written(name, {**relations, parameter: argument})
                return f"(\n{textwrap.indent(function, '    ')}\n  )"
            if name in relations:
                return relations[name]
            if name not in steps:
                # What it reads becomes a step before it does.
                steps[name] = written(name, relations)
            return str(name)

        query = _SETTING.sub(lambda setting: settings.literal(setting[1]), _source(name, relations, settings))
        query = _BUCKET.sub(lambda day: _BUCKETS[settings.breakdown_grain, day[2]].format(day[1]), query)
        query = _AS_TEXT.sub(r"REGEXP_REPLACE(CAST(\1 AS STRING), r'(\\.[0-9]*[1-9])0+$|\\.0+$', r'\\1')", query)
        return _REFERENCE.sub(relation, _COMPARABLE.sub(_comparable, query))

    query = written(name, relations)
    if not steps:
        return query
    recursive = {step for step in steps if step in computed_once}
    for step in recursive:
        once = textwrap.indent(steps[step], "  ")
        steps[step] = f"(\n{once}\n)\nUNION ALL\nSELECT * FROM {step} WHERE FALSE"
    shared = ",\n".join(f"{step} AS (\n{textwrap.indent(sql, '  ')}\n)" for step, sql in steps.items())
    why = "-- BigQuery computes a recursive step once, and any other step again for each reference to it."
    shared = f"{why}\nWITH RECURSIVE {shared}" if recursive else f"WITH {shared}"
    own = query.removeprefix("WITH ")
    return f"{shared}\n{query}" if own == query else f"{shared},\n{own}"


def _read_names(name: str, relations: Mapping[str, str], settings: Settings) -> set[str]:
    """Return the models and parts that a query reads. A part with a parameter is replaced by what it reads itself."""
    found: set[str] = set()
    for read, parameter, _argument in _REFERENCE.findall(_source(name, relations, settings)):
        found |= _read_names(read, {**relations, parameter: ""}, settings) if parameter else {read}
    return found - relations.keys()


def reads_in_order(
    names: Iterable[str], relations: Mapping[str, str], settings: Settings
) -> dict[str, Collection[str]]:
    """
    Return queries, and all that they need, each after what it reads.

    :param names: the queries.
    :param relations: by name, the tables that there are.
    :param settings: the values of the settings.
    :return: by name, the models and parts that each reads itself.
    """
    ordered: dict[str, Collection[str]] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            reads = sorted(_read_names(name, relations, settings))
            for read in reads:
                visit(read)
            ordered[name] = reads

    for name in names:
        visit(name)
    return ordered


def _streams() -> str:
    """Return the streams: when their days are complete, and whether they describe the current state."""
    midnight = datetime(2025, 1, 1, tzinfo=UTC)
    return _united(
        f"SELECT '{name}' AS stream, "
        f"{(stream.complete_from(midnight.date()) - midnight) // timedelta(minutes=1)} AS minutes_until_complete, "
        f"{str(stream.is_snapshot).upper()} AS is_snapshot"
        for name, stream in STREAMS.items()
    )


def _stored_rows() -> str:
    """Return the rows per day of each table and when they were loaded; for usage, only the days in ``day_sums``."""
    counts = [
        f"SELECT date, '{name}' AS table_name, COUNT(*) AS row_count, MAX(loaded_at) AS loaded_at "  # noqa: S608
        f"FROM `claude_code.{name}` WHERE date >= DATE '2025-01-01' /* since */ GROUP BY date"
        for name in DATA_TABLES
        if name not in ROWS.values()
    ]
    of_usage = (
        "SELECT date, table_name, SUM(row_count), MAX(loaded_at) FROM `claude_code.day_sums` GROUP BY date, table_name"
    )
    return _united([*counts, of_usage])


def _rows(table: str) -> str:
    """Return the rows of a table of usage that are read, each with its ``actor`` and ``person`` as in ``records``."""
    return (
        "SELECT known.*, IF(machines.actor IS NULL, CONCAT(known.actor_type, ':', known.actor), NULL) AS person\n"  # noqa: S608
        f"FROM (\n  SELECT *, actor_id /* comparable */ AS actor\n  FROM `claude_code.{table}`\n"
        "  WHERE date >= DATE '2025-01-01' /* rows_from */\n) AS known\n"
        "LEFT JOIN `claude_code.machines` AS machines\n"
        "  ON machines.actor = known.actor AND known.actor_type = 'api_actor'"
    )


def _united(queries: Iterable[str]) -> str:
    return "\nUNION ALL\n".join(queries)


ROWS = {f"{table.name}_rows": table.name for table in USAGE.tables}
"""By part, the table of usage whose rows it contains, with the actor of each."""

MADE_PARTS: Mapping[str, Callable[[], str]] = {
    "streams": _streams,
    "stored_rows": _stored_rows,
    **{part: partial(_rows, table) for part, table in ROWS.items()},
}
"""Parts that are made from the registry of streams."""


def _no_rows(**columns: str) -> str:
    """Return a query with no rows, given the types of its columns."""
    return f"SELECT {', '.join(f'CAST(NULL AS {type_}) AS {name}' for name, type_ in columns.items())}\nLIMIT 0"


_NO_FINDING = _no_rows(
    check_name="STRING", date="DATE", organization_id="STRING", table_name="STRING", finding="STRING"
)
_NOBODY = _no_rows(organization_id="STRING", actor="STRING", last_date="DATE")

# Parts that are derived from the members if users add no table: the part, the table, and the part that replaces it.
_DERIVED = {"seats": ("roster", "member_seats"), "actor_groups": ("mapping", "workspace_groups")}


def _source(name: str, relations: Mapping[str, str], settings: Settings) -> str:
    """Return the SQL for a name."""
    if table := (DATA_TABLES | TABLES_OF_USERS | TABLES_OF_TOOLS).get(name):
        return _no_rows(**{column.name: column.type for column in table.columns})
    if name in MADE_PARTS:
        return MADE_PARTS[name]()
    if name == "periods" and settings.first_day:
        name = "report_periods"
    if name == "earlier_people" and settings.first_day is None:
        return _NOBODY
    if name == "given_tables":
        return _united(f"SELECT '{table}' AS table_name" for table in TABLES_OF_USERS if table in relations)
    if name == "check_roster_and_mapping" and not relations.keys() & TABLES_OF_USERS.keys():
        return _NO_FINDING
    if name == "check_budget" and not settings.monthly_budget_cents:
        # It would add up amounts that may exceed every column type. Other checks find these.
        return _NO_FINDING
    given, derived = _DERIVED.get(name, ("", name))
    if given not in relations:
        name = derived
    sql = (models() | parts())[name].sql
    if settings.first_day is None:
        # Outside reports, there are breakdowns of all weeks or months.
        sql = sql.replace("`claude_code.breakdown_buckets`", "`claude_code.buckets`")
    return sql


_BUCKETS = {
    ("week", "bucket_start"): "CAST(DATE_TRUNC({0}, ISOWEEK) AS DATE)",
    ("week", "bucket_end"): "CAST(DATE_ADD(DATE_TRUNC({0}, ISOWEEK), INTERVAL 6 DAY) AS DATE)",
    ("month", "bucket_start"): "CAST(DATE_TRUNC({0}, MONTH) AS DATE)",
    ("month", "bucket_end"): "CAST(LAST_DAY({0}, MONTH) AS DATE)",
}


def _comparable(column: re.Match[str]) -> str:
    name = column[1]
    ascii_blanks = ADDRESS_BLANKS.encode("ascii", "ignore").decode().translate(_ESCAPES)
    # As numbers: after an apostrophe in a comment, DuckDB's parser replaces them in literals with plain spaces.
    others = "".join(f", CHR({ord(blank)})" for blank in ADDRESS_BLANKS if not blank.isascii())
    trimmed = f"TRIM({name}, CONCAT('{ascii_blanks}'{others}))"
    translated = f"TRANSLATE({trimmed}, '{string.ascii_uppercase}', '{string.ascii_lowercase}')"
    # A fast path for visible ASCII, which nearly all addresses are, since TRANSLATE is slow in DuckDB.
    address = f"IF(REGEXP_CONTAINS({name}, '[^!-~]'), {translated}, LOWER({name}))"
    return f"COALESCE(IF(actor_type = 'user_actor', {address}, {name}), '')"


def _read_folder(folder: str) -> dict[str, Model]:
    files = [file for file in (resources.files(__package__) / folder).iterdir() if file.name.endswith(".sql")]
    texts = {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
    return {name: _read(name, text) for name, text in texts.items()}


def _read(name: str, text: str) -> Model:
    """
    Parse a file.

    Paragraphs of its head are separated by an empty comment. The last one has a model's key and lists the columns.
    """
    head = "".join(itertools.takewhile(lambda line: line.startswith("--"), text.splitlines(keepends=True)))
    *paragraphs, listed = head.replace("--\n", "\n").replace("-- ", "").split("\n\n")
    columns = {}
    # An indented line continues the line before it.
    for entry in re.split(r"\n(?! )", listed.rstrip("\n")):
        column, _, meaning = _joined(entry).partition(": ")
        columns[column] = meaning
    key = tuple(columns.pop("key").split(", ")) if "key" in columns else ()
    return Model(name, "\n\n".join(map(_joined, paragraphs)), columns, text[len(head) :].rstrip(), key)


def _joined(lines: str) -> str:
    return " ".join(lines.split())

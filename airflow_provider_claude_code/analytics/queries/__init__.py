"""
Reads the queries in this folder and prepares them to run. The head of each file describes it.

``models/NAME.sql`` is a model, ``parts/NAME.sql`` is what models share. `` `claude_code.NAME` `` names a table or
another of the files. A query that is made ready has each file that it reads as one step of its ``WITH``, so it stands
by itself, and a view never shows more than it says. Tables, models, parts and the steps in them do not share names.

A part may take a step of the query that reads it, as a table function does:
`` `claude_code.PART`(PARAMETER => TABLE STEP) ``.

A value that is followed by a comment with a name, like ``5 /* min_group_size */``, is one of the :class:`Settings`.
``date /* bucket_start */`` and ``date /* bucket_end */`` are the first and the last day of the week or month that a day
is in, as ``breakdown_grain`` says. ``actor_id /* comparable */`` is the id as it is compared with others of its
``actor_type``, see :func:`~airflow_provider_claude_code.tables.actors.comparable_id`; empty when there is none.
`` `claude_code.given_tables` `` names those of the tables that users may add that there are.
``amount /* as_text */`` is a number as text without zeros at the end, which some engines add.
"""

from __future__ import annotations

import itertools
import re
import string
import textwrap
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from typing import Any

from airflow_provider_claude_code.analytics.queries import checks
from airflow_provider_claude_code.analytics.queries.settings import Settings as Settings
from airflow_provider_claude_code.analytics.queries.tools import TABLES_OF_TOOLS
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.tables.actors import ADDRESS_BLANKS
from airflow_provider_claude_code.tables.contract import Column, Table

Row = Mapping[str, Any]
"""A row that a query returns, by column."""

PERSONAL_MODELS = frozenset({"people_monthly", "ai_tool_comparison", "keys", "restatements"})
"""
The models with a row per person or key, or with what a single record changed. They are used only when they are asked
for by name.
"""

_VALID_TO = Column("valid_to", "DATE", "Last day; null means no limit.", nullable=True)
TABLES_OF_USERS = {
    table.name: table
    for table in (
        Table(
            "roster",
            "person who may use Claude Code",
            (
                Column(
                    "actor_id",
                    "STRING",
                    "The person's address as in `usage`, in upper or lower case (A to Z); with actor_identity=hmac the "
                    "pseudonym.",
                ),
                Column(
                    "valid_from",
                    "DATE",
                    "First day on which the person may use Claude Code; null means no limit.",
                    nullable=True,
                ),
                _VALID_TO,
            ),
        ),
        Table(
            "mapping",
            "actor and group",
            (
                Column(
                    "actor_type",
                    "STRING",
                    "user_actor for a person, api_actor for an API key, machine for an API key that no person works "
                    "with, such as that of a pipeline. Keys that are not machines count as people in small groups.",
                ),
                Column(
                    "actor_id",
                    "STRING",
                    "The address, in upper or lower case (A to Z), or exactly the key's name, as in `usage`; with "
                    "actor_identity=hmac the pseudonym.",
                ),
                Column("team", "STRING", "The group."),
                Column("cost_centre", "STRING", "Who pays for it; may be null.", nullable=True),
                Column(
                    "valid_from",
                    "DATE",
                    "First day on which the actor is in the group; null means no limit.",
                    nullable=True,
                ),
                replace(_VALID_TO, description=f"{_VALID_TO.description} No two rows of an actor share a day."),
            ),
        ),
    )
}
"""Tables that users may add, by name. In a file, a column that is nullable may be missing."""

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
    Return a model or a part as one GoogleSQL query that stands by itself.

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


def read_names(name: str, relations: Mapping[str, str], settings: Settings) -> set[str]:
    """Return the models and parts that a query reads. A part with a parameter is replaced by what it reads itself."""
    found: set[str] = set()
    for read, parameter, _argument in _REFERENCE.findall(_source(name, relations, settings)):
        found |= read_names(read, {**relations, parameter: ""}, settings) if parameter else {read}
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
            reads = sorted(read_names(name, relations, settings))
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
    others = DATA_TABLES.keys() - set(ROWS.values())
    counts = [
        f"SELECT date, '{name}' AS table_name, COUNT(*) AS row_count, MAX(loaded_at) AS loaded_at "  # noqa: S608
        f"FROM `claude_code.{name}` WHERE date >= DATE '2025-01-01' /* since */ GROUP BY date"
        for name in DATA_TABLES
        if name in others
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

_NO_FINDING = "SELECT " + ", ".join(
    f"CAST(NULL AS {'DATE' if name == 'date' else 'STRING'}) AS {name}"
    for name in ("check_name", "date", "organization_id", "table_name", "finding")
)
_NO_FINDING += "\nLIMIT 0"

_NOBODY = (
    "SELECT CAST(NULL AS STRING) AS organization_id, CAST(NULL AS STRING) AS actor, CAST(NULL AS DATE) AS last_date\n"
    "LIMIT 0"
)

# Parts that are derived from the members if users add no table: the part, the table, and the part that replaces it.
_DERIVED = {"seats": ("roster", "member_seats"), "actor_groups": ("mapping", "workspace_groups")}

# The parts to read outside reports: all weeks or months, and their days.
_ALL_BREAKDOWNS = {"breakdown_buckets": "buckets", "breakdown_days": "loaded_days"}


def _source(name: str, relations: Mapping[str, str], settings: Settings) -> str:
    """Return the SQL for a name."""
    if table := (DATA_TABLES | TABLES_OF_USERS | TABLES_OF_TOOLS).get(name):
        columns = (f"CAST(NULL AS {column.type}) AS {column.name}" for column in table.columns)
        return f"SELECT {', '.join(columns)}\nLIMIT 0"
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
        for part, whole in _ALL_BREAKDOWNS.items():
            sql = sql.replace(f"`claude_code.{part}`", f"`claude_code.{whole}`")
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


def markdown_reference() -> str:
    """Return the models, and the tables that users may add, as Markdown."""
    lines = [
        "# Columns of the models",
        "",
        "[Models](../models.md) explains how to use them, and the rules that they share.",
    ]
    for model in models().values():
        key = f"Key: {', '.join(f'`{column}`' for column in model.key)}."
        lines += ["", f"## {model.name}", "", model.description, "", key, "", *_listed(model.columns)]
        if model.name == "data_quality":
            lines += ["", "[Checks and alerts](../checks.md) explains the checks.", "", *checks.markdown_table()]
    lines += [
        "",
        "## Tables of your own",
        "",
        "Both are optional. Without them, the stream `members` is used if it is loaded.",
    ]
    lines += _tables(TABLES_OF_USERS.values())
    lines += ["", "## Days with other AI tools", "", "All are optional. Only the report reads them."]
    lines += _tables(TABLES_OF_TOOLS.values())
    return "\n".join(lines) + "\n"


def _tables(tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        columns = {column.name: column.description for column in table.columns}
        yield from ("", f"### {table.name}", "", f"One row per {table.grain}.", "", *_listed(columns))


def _listed(columns: Mapping[str, str]) -> list[str]:
    return ["| column | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in columns.items())]


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

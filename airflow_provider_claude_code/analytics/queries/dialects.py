"""
Translates the queries into the SQL of other engines.

sqlglot translates GoogleSQL, but silently copies what it does not know, which may then return other numbers. A dialect
is therefore offered only if the tests run every model in its engine and compare all rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Any

from airflow_provider_claude_code.analytics.queries import Settings, parts, reads_in_order
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import MONEY_PLACES
from airflow_provider_claude_code.tables.loads import FILE_LOADS, LOADS

DIALECTS = ("bigquery", "duckdb", "postgres", "spark")
"""The dialects in which the tests run all models."""

_TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "duckdb": {},
    # `:x` and `:y` are the arguments.
    "postgres": {
        "ANYVALUE": "MIN(:x)",  # PostgreSQL 16 has ANY_VALUE.
        "AVG": "AVG(CAST(:x AS DOUBLE PRECISION))",  # It is a NUMERIC otherwise.
        "COUNTIF": "COUNT(CASE WHEN :x THEN 1 END)",
        "DATE": "CAST((:x) AT TIME ZONE 'UTC' AS DATE)",
        "TIMESTAMP": "CAST(:x AS TIMESTAMP) AT TIME ZONE 'UTC'",
        # A date plus an interval is a timestamp.
        "DATEADD DAY": "((:x) + CAST(:y AS INT))",
        "DATESUB DAY": "((:x) - CAST(:y AS INT))",
        "DATEADD MONTH": "CAST((:x) + INTERVAL '1 MONTH' * (:y) AS DATE)",
        "DATETRUNC ISOWEEK": "CAST(DATE_TRUNC('WEEK', :x) AS DATE)",
        "DATETRUNC MONTH": "CAST(DATE_TRUNC('MONTH', :x) AS DATE)",
        "TIMESTAMPSUB MINUTE": "((:x) - INTERVAL '1 MINUTE' * (:y))",
        "TIMESTAMPDIFF SECOND": "CAST(TRUNC(EXTRACT(EPOCH FROM (:x) - (:y))) AS BIGINT)",
        "TIMESTAMPDIFF HOUR": "CAST(TRUNC(EXTRACT(EPOCH FROM (:x) - (:y)) / 3600) AS BIGINT)",
        "GENERATEDATEARRAY": "ARRAY(SELECT (:x) + number FROM GENERATE_SERIES(0, (:y) - (:x)) AS numbers(number))",
        "GENERATESERIES": "ARRAY(SELECT GENERATE_SERIES(:x, :y))",
        # There is no such function. Casting text that is not a boolean raises an error that shows the text.
        "ERROR": "CAST(:x AS BOOLEAN)",
    },
    # All as in UTC, whatever the session's time zone is.
    "spark": {
        "DATE": "DATE_FROM_UNIX_DATE(CAST(FLOOR(UNIX_SECONDS(:x) / 86400) AS INT))",
        "TIMESTAMP": "TIMESTAMP_SECONDS(CAST(UNIX_DATE(:x) AS BIGINT) * 86400)",
        # It takes no BIGINT.
        "DATEADD DAY": "DATE_ADD(:x, CAST(:y AS INT))",
        "DATESUB DAY": "DATE_SUB(:x, CAST(:y AS INT))",
        "DATEADD MONTH": "ADD_MONTHS(:x, :y)",
        "DATETRUNC ISOWEEK": "TRUNC(:x, 'WEEK')",
        "TIMESTAMPSUB MINUTE": "((:x) - MAKE_DT_INTERVAL(0, 0, :y))",
        "ERROR": "RAISE_ERROR(:x)",
    },
}

_POSTGRES_TYPES = {
    "BOOL": "BOOLEAN",
    "DATE": "DATE",
    "INT64": "BIGINT",
    "NUMERIC": f"NUMERIC(38, {MONEY_PLACES})",
    # Text is compared and sorted as in BigQuery and DuckDB, whatever the locale of the database is.
    "STRING": 'TEXT COLLATE "C"',
    "TIMESTAMP": "TIMESTAMPTZ",
}
_CONTROL = re.compile(r"([\x00-\x1f])")


def translate(query: str, dialect: str) -> str:
    """
    Translate a query.

    :param query: GoogleSQL.
    :param dialect: one of :data:`DIALECTS`.
    :raises ClaudeCodeConfigurationError: there is no such dialect, or sqlglot is not installed.
    """
    if dialect == "bigquery":
        return query
    if dialect not in DIALECTS:
        raise ClaudeCodeConfigurationError(f"The dialect is {dialect!r}; {' or '.join(DIALECTS)} was expected.")
    try:
        import sqlglot
        import sqlglot.expressions as exp
    except ImportError as error:
        raise ClaudeCodeConfigurationError(
            f"{error.name} is not installed: pip install 'airflow-provider-claude-code[report]'."
        ) from None
    tree = sqlglot.parse_one(query, read="bigquery")
    # Inner expressions first.
    for node in reversed(list(tree.walk())):
        if template := _TEMPLATES[dialect].get(_name(node)):
            node.replace(exp.replace_placeholders(sqlglot.parse_one(template, read=dialect), **_arguments(node)))
        elif dialect != "duckdb" and isinstance(node, exp.DataType) and node.is_type("bigdecimal"):
            node.replace(exp.DataType.build("DECIMAL" if dialect == "postgres" else "DECIMAL(38, 0)"))
        elif (
            dialect != "postgres"
            and isinstance(node, exp.DataType)
            and node.is_type("decimal")
            and not node.expressions
        ):
            # Without a size, it has three places in DuckDB, and none in Spark.
            node.replace(exp.DataType.build(f"DECIMAL(38, {MONEY_PLACES})"))
        elif dialect == "spark" and _multiplies_a_number(node):
            # A product loses decimal places if a factor has 38 digits.
            node.set("this", exp.cast(node.this.copy(), f"DECIMAL(27, {MONEY_PLACES})"))
        elif dialect == "spark" and isinstance(node, exp.RegexpReplace):
            # Spark refers to a group by a dollar sign. Elsewhere, it is a backslash, which Spark reads as an escape.
            replacement = re.sub(r"\\([0-9])", r"$\1", node.args["replacement"].name)
            node.set("replacement", exp.Literal.string(replacement))
        elif isinstance(node, exp.Literal) and node.is_string and _CONTROL.search(node.name):
            # Literally, they would not survive an editor, or dbt, which turns a carriage return into a line feed.
            pieces = " || ".join(map(_written, filter(None, _CONTROL.split(node.name))))
            node.replace(sqlglot.parse_one(f"({pieces})", read=dialect))
    numbers = count(1)
    for subquery in tree.find_all(exp.Subquery):
        # PostgreSQL before version 16 needs a name for each.
        if isinstance(subquery.parent, (exp.From, exp.Join)) and not subquery.alias:
            subquery.set("alias", exp.TableAlias(this=exp.to_identifier(f"subquery_{next(numbers)}")))
    if dialect == "spark":
        _name_steps_once(tree)
    # Copying the tree would take a tenth of the time of a query.
    return tree.sql(dialect=dialect, pretty=True, copy=False)


def _multiplies_a_number(node: Any) -> bool:
    """Return whether an expression multiplies what may be a decimal by a literal number."""
    import sqlglot.expressions as exp

    return (
        isinstance(node, exp.Mul)
        and isinstance(node.expression, exp.Literal)
        and not isinstance(node.this, exp.Literal)
        and not (isinstance(node.this, exp.Cast) and node.this.to.is_type("double"))
    )


def _name_steps_once(tree: Any) -> None:
    """Give nested steps unique names, since sqlglot moves them to the top level for Spark."""
    import sqlglot.expressions as exp

    numbers = count(1)
    # Innermost first.
    for inner in sorted(tree.find_all(exp.With), key=lambda step: -step.depth):
        if inner.parent is tree:
            continue
        readers = [part for part in inner.parent.iter_expressions() if part is not inner]
        for step in reversed(inner.expressions):
            name, own_name = step.alias, f"step_{next(numbers)}_{step.alias}"
            for table in [table for reader in readers for table in reader.find_all(exp.Table)]:
                if table.name == name and not table.db:
                    if not table.alias:
                        table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
                    table.set("this", exp.to_identifier(own_name))
            step.set("alias", exp.TableAlias(this=exp.to_identifier(own_name)))
            readers.append(step)


def shared_parts(names: Iterable[str], relations: Mapping[str, str], settings: Settings) -> list[str]:
    """
    Return the parts that several queries read. Each part follows the parts that it reads.

    :param names: the requested models.
    :param relations: by name, the SQL that represents each existing table.
    :param settings: the values of the settings.
    """
    reads = reads_in_order(names, relations, settings)
    readers = Counter(chain.from_iterable(reads.values()))
    return [name for name in reads if readers[name] > 1 and name in parts()]


def postgres_tables(relations: Mapping[str, str]) -> str:
    """
    Return the statements that create tables with the columns of the files.

    :param relations: by name, how the tables are written in GoogleSQL.
    """
    statements = []
    for name, table in (DATA_TABLES | {LOADS.name: FILE_LOADS}).items():
        if name in relations:
            columns = ",\n".join(f'  "{column.name}" {_POSTGRES_TYPES[column.type]}' for column in table.columns)
            schema, _, own_name = relations[name].strip("`").replace(".", '"."').rpartition('"."')
            statements += [
                f'CREATE TABLE IF NOT EXISTS "{schema}"."{own_name}" (\n{columns}\n);',
                f'CREATE INDEX IF NOT EXISTS "{own_name}_date" ON "{schema}"."{own_name}" (date);',
            ]
    return "\n".join(statements)


def _written(text: str) -> str:
    return f"CHR({ord(text)})" if _CONTROL.match(text) else "'" + text.replace("'", "''") + "'"


def _name(node: Any) -> str:
    """Return the name of a function in the templates."""
    import sqlglot.expressions as exp

    if isinstance(node, exp.Anonymous):
        return node.name.upper()
    if not isinstance(node, exp.Func):
        return ""
    unit = node.args.get("unit")
    return type(node).__name__.upper() + (f" {unit.name.upper()}" if unit else "")


def _arguments(node: Any) -> dict[str, Any]:
    import sqlglot.expressions as exp

    if isinstance(node, exp.Anonymous):
        return {"x": node.expressions[0]}
    if isinstance(node, exp.GenerateDateArray | exp.GenerateSeries):
        return {"x": node.args["start"], "y": node.args["end"]}
    second = node.args.get("expression")
    # sqlglot writes the number of an interval as text.
    return {"x": node.this, "y": exp.Literal.number(second.name) if isinstance(second, exp.Literal) else second}

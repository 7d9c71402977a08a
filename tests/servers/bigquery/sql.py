"""Queries: GoogleSQL, translated for DuckDB."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from tests.servers.bigquery.errors import BigQueryError, not_found
from tests.servers.bigquery.schemas import Field, field_of_duckdb, mode
from tests.servers.bigquery.warehouse import PARTITION_TIME, Resource, TableRef, Warehouse

_STANDARD_TYPES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
_NAMES = ("table_catalog", "table_schema", "table_name")
_INFORMATION = {
    view: pa.schema(
        [(name, pa.int64() if name in ("ordinal_position", "total_rows") else pa.string()) for name in names]
    )
    for view, names in {
        "TABLES": (*_NAMES, "table_type"),
        "PARTITIONS": (*_NAMES, "partition_id", "total_rows"),
        "COLUMNS": (
            *_NAMES,
            "column_name",
            "ordinal_position",
            "is_nullable",
            "data_type",
            "is_partitioning_column",
        ),
    }.items()
}
_DML = {exp.Insert: "INSERT", exp.Update: "UPDATE", exp.Delete: "DELETE", exp.Merge: "MERGE"}


@dataclass(frozen=True)
class QueryResult:
    """
    What a query came to.

    :param statement: the service's word for the kind of statement
    :param fields: columns of a SELECT
    :param rows: rows of a SELECT
    :param affected: rows that a DML statement changed
    """

    statement: str
    fields: list[Field] = field(default_factory=list)
    rows: pa.Table | None = None
    affected: int | None = None


class Query:
    """
    One statement.

    :param warehouse: what it is asked of
    :param config: ``JobConfigurationQuery``
    :raises BigQueryError: the statement cannot be read, or this server does not know its kind
    """

    def __init__(self, warehouse: Warehouse, config: Resource) -> None:
        self._warehouse = warehouse
        self._config = config
        # The API takes a query for legacy SQL unless it is told otherwise.
        if config.get("useLegacySql", True):
            raise BigQueryError("notImplemented", "This server has no legacy SQL")
        statements = [statement for statement in _parsed(config["query"]) if statement is not None]
        if len(statements) != 1:
            raise BigQueryError("notImplemented", "This server runs single statements, not scripts")
        self._tree = statements[0]

    def location(self) -> str | None:
        """Tell where the tables are: the location of the dataset that is named first, if there is one."""
        names = [table.db for table in self._tree.find_all(exp.Table)]
        names.append(self._config.get("defaultDataset", {}).get("datasetId"))
        dataset = self._warehouse.datasets.get(next(filter(None, names), ""), {})
        return dataset.get("location")

    def run(self, *, dry: bool = False) -> QueryResult:
        """
        Run the statement, within the transaction of its job.

        :param dry: only find the columns
        :raises BigQueryError: it fails
        """
        try:
            return self._run(dry)
        except (duckdb.Error, sqlglot.errors.SqlglotError) as error:
            raise BigQueryError("invalidQuery", str(error)) from error

    def _run(self, dry: bool) -> QueryResult:
        tree = self._tree
        if isinstance(tree, exp.Create) and tree.kind == "VIEW":
            return self._create_view(tree, dry)
        tree = self._translated(tree)
        if isinstance(tree, exp.Query):
            fields, relation = self._bound(tree)
            return QueryResult("SELECT", fields, None if dry else relation.to_arrow_table())
        if (statement := _DML.get(type(tree))) is None:
            raise BigQueryError("notImplemented", f"This server does not run {type(tree).__name__.upper()} statements")
        text = tree.sql("duckdb")
        affected = None if dry else self._warehouse.db.execute(text).fetchall()[0][0]
        return QueryResult(statement, affected=affected)

    def _create_view(self, tree: exp.Create, dry: bool) -> QueryResult:
        columns = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
        ref = self._ref(tree.this.this if columns else tree.this)
        query = tree.expression.sql("bigquery")
        if dry:
            Query(self._warehouse, {**self._config, "query": query}).run(dry=True)
        else:
            if tree.args.get("replace") and self._warehouse.tables.get(ref.key, {}).get("type") == "VIEW":
                self._warehouse.delete_table(ref)
            view = {"view": {"query": query}, "description": _description(tree.args.get("properties"))}
            created = create_view(self._warehouse, ref, view)
            if columns:
                named = [(column.name, _description(column)) for column in columns]
                self._describe_columns(ref, created["schema"]["fields"], named)
        return QueryResult("CREATE_VIEW")

    def _describe_columns(self, ref: TableRef, fields: list[Field], columns: list[tuple[str, str | None]]) -> None:
        """Describe a view's columns; the list may rename them on the service, which is not done here."""
        if [field["name"] for field in fields] != [name for name, _ in columns]:
            raise BigQueryError("invalidQuery", "The column list of the view has other columns than its query")
        described = [
            {**field, "description": text} if text else field for field, (_, text) in zip(fields, columns, strict=True)
        ]
        self._warehouse.patch_table(ref, {"schema": {"fields": described}}, None)

    def _bound(self, tree: exp.Query) -> tuple[list[Field], duckdb.DuckDBPyRelation]:
        numbers = itertools.count()
        for column in tree.selects:
            if not column.output_name and not column.is_star:
                column.replace(exp.alias_(column.copy(), f"f{next(numbers)}_"))
        relation = self._warehouse.db.sql(tree.sql("duckdb"))
        if len({name.lower() for name in relation.columns}) < len(relation.columns):
            raise BigQueryError("invalidQuery", "Duplicate column names in the result are not supported.")
        return [field_of_duckdb(*column) for column in zip(relation.columns, relation.types, strict=True)], relation

    def _ref(self, node: exp.Table) -> TableRef:
        dataset = node.db or self._config.get("defaultDataset", {}).get("datasetId")
        if not dataset:
            raise BigQueryError(
                "invalid", f'Table "{node.name}" must be qualified with a dataset (e.g. dataset.table).'
            )
        return TableRef(node.catalog or self._warehouse.project, dataset, node.name)

    def _translated(self, tree: Any) -> Any:
        """Put tables, views and parameters of the warehouse into a statement."""
        queries = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        for node in list(tree.find_all(exp.Parameter, exp.Placeholder)):
            node.replace(self._parameter(node.name))
        for number, node in enumerate(list(tree.find_all(exp.Table))):
            if not node.db and node.name.lower() in queries:
                continue
            ref = self._ref(node)
            alias = node.alias or node.name
            if ref.project != self._warehouse.project:
                raise not_found("Project", ref.project)
            if ref.table.upper().startswith("INFORMATION_SCHEMA."):
                rows = _information(self._warehouse, ref.dataset, ref.table.upper().removeprefix("INFORMATION_SCHEMA."))
                # Registered until the next one of this name.
                name = f"_information_{number}"
                self._warehouse.db.register(name, rows)
                node.set("db", None)
                node.set("catalog", None)
                node.set("this", exp.to_identifier(name, quoted=True))
                continue
            table = self._warehouse.table(ref)
            if table["type"] == "VIEW":
                inner = self._translated(_parsed(table["view"]["query"])[0])
                node.replace(inner.subquery(alias))
                continue
            partitioning = table.get("timePartitioning", {})
            column = partitioning.get("field") or PARTITION_TIME
            if table.get("requirePartitionFilter") and not _is_filtered(node, column):
                text = f"Cannot query over table '{ref.dataset}.{ref.table}' without a filter over column(s) '{column}'"
                raise BigQueryError("invalidQuery", f"{text} that can be used for partition elimination")
            node.set("catalog", None)
            node.set("db", exp.to_identifier(ref.dataset, quoted=True))
            node.set("this", exp.to_identifier(ref.table, quoted=True))
            if partitioning and not partitioning.get("field") and node.find_ancestor(exp.Select):
                # Pseudo columns are there when asked for, and not among `*` otherwise.
                asked = any(name.name.upper().startswith("_PARTITION") for name in tree.find_all(exp.Column))
                date = f"*, CAST({PARTITION_TIME} AS DATE) AS _PARTITIONDATE"
                columns = date if asked else f"* EXCLUDE ({PARTITION_TIME})"
                inner = exp.maybe_parse(f"SELECT {columns} FROM {ref.sql}", dialect="duckdb")
                node.replace(inner.subquery(alias))
        return tree

    def _parameter(self, name: str) -> exp.Expression:
        for given in self._config.get("queryParameters", ()):
            if given.get("name", "").lower() == name.lower() != "":
                return _literal(given["parameterType"], given["parameterValue"])
        raise BigQueryError("invalidQuery", f"Query parameter '{name}' not found; this server has named ones only")


def create_view(warehouse: Warehouse, ref: TableRef, given: Resource) -> Resource:
    """Create a view, whose columns are those of its query."""
    query = Query(warehouse, {"useLegacySql": False, "query": given["view"]["query"]})
    with warehouse.transaction():
        return warehouse.insert_table(ref, {**given, "schema": {"fields": query.run(dry=True).fields}})


def _description(node: exp.Expression | None) -> str | None:
    """Find the option ``description`` of a view or of one of its columns."""
    for option in node.find_all(exp.Property) if node else ():
        if option.name.lower() == "description":
            return str(option.args["value"].name)
    return None


def _parsed(text: str) -> list[Any]:
    try:
        return sqlglot.parse(text, read="bigquery")
    except sqlglot.errors.SqlglotError as error:
        raise BigQueryError("invalidQuery", f"Syntax error: {error}") from error


def _is_filtered(node: exp.Table, column: str) -> bool:
    """Tell whether the statement around a table has a condition on a column; not whether it helps."""
    if isinstance(node.parent, exp.Insert) or (around := node.find_ancestor(exp.Select, *_DML)) is None:
        return True
    conditions = [around.args[name] for name in ("where", "on") if around.args.get(name)]
    names = {found.name.lower() for condition in conditions for found in condition.find_all(exp.Column)}
    return column.lower() in names or (column == PARTITION_TIME and "_partitiondate" in names)


def _literal(kind: Resource, value: Resource) -> exp.Expression:
    if kind["type"] == "ARRAY":
        items = [_literal(kind["arrayType"], item) for item in value.get("arrayValues", ())]
        return exp.cast(exp.Array(expressions=items), f"ARRAY<{kind['arrayType']['type']}>", dialect="bigquery")
    if kind["type"] == "STRUCT":
        raise BigQueryError("notImplemented", "This server has no STRUCT parameters")
    if (text := value.get("value")) is None:
        return exp.cast(exp.Null(), kind["type"], dialect="bigquery")
    if kind["type"] == "BYTES":
        return exp.FromBase64(this=exp.Literal.string(text))
    return exp.cast(exp.Literal.string(text), kind["type"], dialect="bigquery")


def _information(warehouse: Warehouse, dataset: str, view: str) -> pa.Table:
    """Make an INFORMATION_SCHEMA view, with some of its columns."""
    if view not in _INFORMATION:
        raise BigQueryError("notImplemented", f"This server has no INFORMATION_SCHEMA.{view}")
    warehouse.dataset(dataset)
    rows: list[Resource] = []
    for ref, table in ((warehouse.ref(*key), table) for key, table in warehouse.tables.items() if key[0] == dataset):
        name = {"table_catalog": ref.project, "table_schema": ref.dataset, "table_name": ref.table}
        if view == "TABLES":
            rows.append({**name, "table_type": "VIEW" if table["type"] == "VIEW" else "BASE TABLE"})
        elif view == "COLUMNS":
            rows += [{**name, **column} for column in _columns(table)]
        elif table["type"] != "VIEW":
            counts: list[tuple[str | None, int]] = [*warehouse.partitions(ref)] or [(None, warehouse.count(ref))]
            rows += [{**name, "partition_id": partition, "total_rows": count} for partition, count in counts]
    return pa.Table.from_pylist(rows, _INFORMATION[view])


def _columns(table: Resource) -> Iterator[Resource]:
    key = table.get("timePartitioning", {}).get("field")
    for number, column in enumerate(table["schema"]["fields"], 1):
        kind = _STANDARD_TYPES.get(column["type"], column["type"])
        yield {
            "column_name": column["name"],
            "ordinal_position": number,
            "is_nullable": "NO" if mode(column) == "REQUIRED" else "YES",
            "data_type": f"ARRAY<{kind}>" if mode(column) == "REPEATED" else kind,
            "is_partitioning_column": "YES" if column["name"] == key else "NO",
        }

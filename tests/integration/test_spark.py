"""The dbt package's SQL for Spark is run by Spark on the loaded files, and says what a plain computation says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.analytics.queries import Settings, models
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_USERS
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from tests.fixtures import documentation
from tests.fixtures.analytics_data import assert_same, assert_same_findings, charges_of_days, corners, write_files
from tests.fixtures.charges_data import sandbox_with_charges
from tests.truth import analytics as truth

DATA: dict[str, Callable[[], Mapping[str, pa.Table]]] = {
    "corner cases": corners,
    "charges": sandbox_with_charges,
    "checks of charges": charges_of_days,
}
# Spark takes seconds to plan each, however few rows there are.
CASES = [("corner cases", name) for name in models()]
CASES += [("charges", name) for name in ("cost_allocation", "cost_reconciliation", "model_costs")]
CASES.append(("checks of charges", "data_quality"))
# All that is computed is small; these save more time than they take.
CONFIG = {
    "spark.default.parallelism": "1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.log.level": "OFF",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.sql.session.timeZone": "America/Los_Angeles",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: nox --session spark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java (Debian's package openjdk-17-jre-headless)")
    builder = sql.SparkSession.builder.master("local[1]")
    builder = builder.config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
    for name, value in CONFIG.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


class Package:
    """
    The files of a package, run in the order in which they read each other.

    :param spark: the session.
    :param schema: where their tables are created.
    :param root: a folder for the files of the tables and of the package.
    :param tables: what is loaded.
    """

    def __init__(self, spark: Any, schema: str, root: Path, tables: Mapping[str, pa.Table]) -> None:
        self._spark = spark
        self._schema = schema
        self._root = root
        # There are no files of a table that has no rows.
        self.tables = tables = {name: rows for name, rows in tables.items() if rows.num_rows}
        spark.sql(f"CREATE DATABASE {schema}")
        write_files(tables, root)
        missing = [f"--without={name}" for name in (*DATA_TABLES, LOADS.name) if name not in tables]
        given = [f"--has-{name}" for name in TABLES_OF_USERS if name in tables]
        main(["dbt", str(root / "package"), "--dialect=spark", *missing, *given])
        for name in tables:
            # The user's own tables are files beside the others.
            path = root / (f"{name}.parquet" if name in TABLES_OF_USERS else name)
            table = documentation.query("table of Spark").replace("PATH/usage", str(path))
            spark.sql(table.replace("claude_code.claude_code_usage", f"{schema}.source_{name}"))
        spark.sql(json.loads((root / "package/dbt_project.yml").read_text())["models"]["claude_code"]["+pre-hook"])
        self._built: set[str] = set()

    @cached_property
    def _files(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self._root / "package").rglob("claude_code_*.sql")}

    @cached_property
    def world(self) -> truth.World:
        return truth.World(now=datetime.now(UTC), **{name: rows.to_pylist() for name, rows in self.tables.items()})

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Build a model as a table, with all that it reads, and return its rows."""
        self._build(f"claude_code_{name}")
        found = [row.asDict() for row in self._spark.table(f"{self._schema}.claude_code_{name}").collect()]
        # Timestamps are those of this machine's time zone.
        return [
            {column: value.astimezone(UTC) if isinstance(value, datetime) else value for column, value in row.items()}
            for row in found
        ]

    def _build(self, name: str) -> None:
        if name in self._built:
            return
        self._built.add(name)
        query = re.sub(r"\{\{ config\(.*?\) \}\}", "", self._files[name])
        query = re.sub(r"\{\{ source\('claude_code', '(\w+)'\) \}\}", rf"{self._schema}.source_\1", query)
        for read in dict.fromkeys(re.findall(r"\{\{ ref\('(\w+)'\) \}\}", query)):
            self._build(read)
        query = re.sub(r"\{\{ ref\('(\w+)'\) \}\}", rf"{self._schema}.\1", query)
        self._spark.sql(f"CREATE TABLE {self._schema}.{name} USING parquet AS {query}")


@pytest.fixture(scope="module")
def packages(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Package]:
    made: dict[str, Package] = {}

    def package(data: str) -> Package:
        if data not in made:
            name = data.replace(" ", "_")
            made[data] = Package(spark, name, tmp_path_factory.mktemp(name), DATA[data]())
        return made[data]

    return package


@pytest.mark.parametrize(("data", "name"), CASES)
def test_a_model_says_in_spark_what_a_plain_computation_says(
    packages: Callable[[str], Package], data: str, name: str
) -> None:
    package = packages(data)
    columns = [column for column in models()[name].columns if column != "finding"]

    rows = package.rows(name)

    found = [{column: row[column] for column in columns} for row in rows]
    assert_same(found, list(truth.MODELS[name](package.world)), columns)
    if name == "data_quality":
        assert_same_findings(rows, package.tables, Settings())


def test_a_table_of_spark_shows_a_day_that_is_replaced(spark: Any, tmp_path: Path) -> None:
    write_files({"usage": corners()["usage"]}, tmp_path)
    spark.sql("CREATE DATABASE replaced")
    create = documentation.query("table of Spark").replace("PATH", str(tmp_path))
    spark.sql(create.replace("claude_code.claude_code_usage", "replaced.usage"))
    before = spark.table("replaced.usage").count()
    (file, *_others) = sorted(tmp_path.glob("usage/*/usage.parquet"))
    rows = pq.ParquetFile(file).read()

    pq.write_table(rows.slice(0, rows.num_rows - 1), file)
    spark.sql("REFRESH TABLE replaced.usage")

    assert spark.table("replaced.usage").count() == before - 1

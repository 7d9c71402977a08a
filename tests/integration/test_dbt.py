"""The dbt package is run by dbt, and its tables say what a plain computation says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from airflow_provider_claude_code.__main__ import main
from airflow_provider_claude_code.analytics.queries import models
from airflow_provider_claude_code.analytics.queries.dialects import DIALECTS
from airflow_provider_claude_code.analytics.queries.tables import TABLES_OF_USERS
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.loads import LOADS
from tests.fixtures.analytics_data import assert_same, corners, write_files
from tests.truth import analytics as truth

DBT = shutil.which(os.environ.get("DBT", "dbt"))


def write_package(folder: Path, *arguments: str) -> None:
    missing = [f"--without={name}" for name in (*DATA_TABLES, LOADS.name) if name not in corners()]
    main(["dbt", str(folder), *missing, "--has-roster", "--has-mapping", *arguments])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Load files, write the package, and build it with dbt."""
    if DBT is None:
        pytest.skip("dbt is not installed: nox --session dbt")
    root = tmp_path_factory.mktemp("dbt")
    (root / "files").mkdir()
    write_files(corners(), root / "files")
    for name in TABLES_OF_USERS:
        # As a user has them: with all columns, in a file.
        pq.write_table(corners()[name], root / f"files/{name}.parquet")
    write_package(root / "package", "--dialect=duckdb")
    output = {"type": "duckdb", "path": str(root / "usage.duckdb"), "threads": 2, "settings": {"TimeZone": "UTC"}}
    profile = {"claude_code": {"target": "test", "outputs": {"test": output}}}
    (root / "package/profiles.yml").write_text(json.dumps(profile))
    done = run_dbt(root, "build")
    assert done.returncode == 0, done.stdout
    assert "Deprecat" not in done.stdout
    return root


def run_dbt(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert DBT is not None
    variables = json.dumps({"claude_code_path": str(root / "files"), "personal_models": True})
    return subprocess.run(
        [DBT, *arguments, "--profile=claude_code", "--vars", variables, "--no-use-colors"],
        cwd=root / "package",
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("name", models())
def test_a_model_that_dbt_builds_says_what_a_plain_computation_says(built: Path, name: str) -> None:
    columns = [column for column in models()[name].columns if column != "finding"]
    with duckdb.connect(built / "usage.duckdb", read_only=True) as database:
        rows = database.sql(f"SELECT {', '.join(columns)} FROM claude_code_{name}").to_arrow_table().to_pylist()

    world = truth.World(now=datetime.now(UTC), **{table: rows.to_pylist() for table, rows in corners().items()})
    assert_same(rows, list(truth.MODELS[name](world)), columns)


def test_dbt_documents_every_column_of_sources_and_models(built: Path) -> None:
    manifest = json.loads((built / "package/target/manifest.json").read_text())
    described = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    for name, model in models().items():
        columns = described[f"claude_code_{name}"]["columns"]
        assert {column: entry["description"] for column, entry in columns.items()} == dict(model.columns)
    sources = {source["name"]: source for source in manifest["sources"].values()}
    assert sources.keys() == corners().keys()
    assert all(column["description"] for source in sources.values() for column in source["columns"].values())


def test_a_doubled_row_of_any_model_fails_its_test(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    root = tmp_path / "copy"
    profile = (root / "package/profiles.yml").read_text().replace(str(built), str(root))
    (root / "package/profiles.yml").write_text(profile)
    with duckdb.connect(root / "usage.duckdb") as database:
        for name, model in models().items():
            database.execute(f"INSERT INTO claude_code_{name} ({model.key[0]}) VALUES (NULL), (NULL)")

    run_dbt(root, "test", "--select", "test_type:generic")

    results = json.loads((root / "package/target/run_results.json").read_text())["results"]
    failed = {result["unique_id"] for result in results if result["status"] == "fail"}
    assert {name for name in models() if any(f"unique_key_claude_code_{name}_" in test for test in failed)} == set(
        models()
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_package_of_each_dialect_reads_sources_and_models_alone(
    tmp_path: Path, dialect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_package(tmp_path / "package", f"--dialect={dialect}")
    assert capsys.readouterr().out == f"Wrote {tmp_path / 'package'}\n"

    files = {path.stem: path.read_text() for path in (tmp_path / "package").rglob("claude_code_*.sql")}
    assert files.keys() >= {f"claude_code_{name}" for name in models()}
    assert all("dbt_source" not in text and "dbt_ref" not in text for text in files.values())
    referenced = {line.split("'")[1] for text in files.values() for line in text.split("{{ ref(")[1:]}
    assert referenced <= files.keys()
    (source,) = json.loads((tmp_path / "package/models/sources.yml").read_text())["sources"]
    assert ("schema" in source) == (dialect != "duckdb")


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not an empty folder"):
        write_package(tmp_path, "--dialect=duckdb")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

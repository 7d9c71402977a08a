"""The distribution says what is true, and importing it costs Dag files nothing that they do not use."""

import ast
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import airflow_provider_claude_code
from airflow_provider_claude_code.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_claude_code"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = {requirement.name: requirement for requirement in map(Requirement, PROJECT["project"]["dependencies"])}

HEAVY = ["duckdb", "google.cloud", "matplotlib", "numpy", "pandas", "pyarrow", "sqlglot", "starlette", "uvicorn"]


def test_importing_operators_hooks_sensors_and_triggers_loads_nothing_heavy() -> None:
    info = get_provider_info()
    modules = [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in info[kind]
        for module in entry["python-modules"]
    ]
    modules += [entry["python-module"] for entry in info["transfers"]]
    modules += [path.rsplit(".", 1)[0] for path in info.get("extra-links", [])]
    code = f"""
import importlib, json, sys
# What Airflow itself imports is not ours.
import airflow.sdk, airflow_provider_claude_code.version_compat
before = set(sys.modules)
for module in {[*modules, "airflow_provider_claude_code.get_provider_info"]!r}:
    importlib.import_module(module)
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    ).stdout

    loaded = json.loads(output.splitlines()[-1])
    assert set(modules) <= set(loaded)
    assert [name for name in loaded if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)] == []


@pytest.mark.parametrize("package", ["api", "tables"])
def test_the_api_and_the_tables_know_no_airflow(package: str) -> None:
    """They can be used, tested and measured alone."""
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] != "airflow", f"{path.name} imports {name}"
                outside = ("hooks", "sensors", "triggers", "transfers", "links", "sandbox")
                assert not name.startswith(tuple(f"airflow_provider_claude_code.{part}" for part in outside))


def test_the_entry_point_leads_to_the_metadata() -> None:
    ((name, value),) = PROJECT["project"]["entry-points"]["apache_airflow_provider"].items()

    entry_point = importlib.metadata.EntryPoint(name, value, "apache_airflow_provider")

    assert entry_point.load() is get_provider_info


def test_the_version_is_written_in_one_place() -> None:
    assert "version" not in PROJECT["project"]
    assert "version" in PROJECT["project"]["dynamic"]
    assert ROOT / PROJECT["tool"]["hatch"]["version"]["path"] == PACKAGE / "__init__.py"
    written = [path for path in PACKAGE.rglob("*.py") if "__version__ =" in path.read_text()]
    assert written == [PACKAGE / "__init__.py"]
    assert f'"{airflow_provider_claude_code.__version__}"' in written[0].read_text()


def test_the_package_imports_nothing() -> None:
    """Airflow's start-up imports it."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [PACKAGE.name]


def test_airflow_shows_the_documentation() -> None:
    assert PROJECT["project"]["urls"]["Documentation"].startswith("https://")


@pytest.mark.parametrize("path", [PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]])
def test_the_files_that_the_metadata_names_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    ("name", "too_old", "why"),
    [
        ("stamina", "25.1.0", "a hook's number of seconds counts only as true, and timeout=0 means for ever"),
    ],
)
def test_no_release_is_allowed_that_cannot_work(name: str, too_old: str, why: str) -> None:
    assert not REQUIREMENTS[name].specifier.contains(too_old), f"{name} {too_old}: {why}"


def test_every_import_outside_the_optional_parts_is_a_requirement() -> None:
    """A module that another distribution happens to bring along may leave with it."""
    provided = {
        "airflow": "apache-airflow",
        "asgiref": "apache-airflow",
        "httpx": "httpx",
        "msgspec": "msgspec",
        "pandas": "pandas",
        "pyarrow": "pyarrow",
        "stamina": "stamina",
        "starlette": "apache-airflow",
        "uvicorn": "apache-airflow",
    }
    # Their absence is handled, or they belong to an extra.
    optional = {"flask_appbuilder", "flask_babel", "google", "google_crc32c", "requests", "wtforms", "fsspec", "duckdb"}
    optional |= {"matplotlib", "openlineage", "sqlglot"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            providers = {name.split(".")[2] for name in names if name.startswith("airflow.providers.")}
            assert providers <= {"google", "openlineage"}, f"{path.relative_to(ROOT)} imports {providers}"
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - optional:
                if top != PACKAGE.name:
                    assert provided.get(top) in REQUIREMENTS, f"{path.relative_to(ROOT)} imports {top}"

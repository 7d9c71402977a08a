"""Test modules do not import each other, and texts name only files that exist."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
FOLDERS = [
    ROOT / name for name in ("airflow_provider_claude_code", "benchmarks", "demo", "docs", "example_dags", "tests")
]
MODULES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py") if "_build" not in path.parts)
NAMES = {str(path.relative_to(ROOT)) for path in ROOT.glob("*.*")}
NAMES |= {str(path.relative_to(ROOT)) for folder in (*FOLDERS, ROOT / "docs") for path in folder.rglob("*.*")}


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of what a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_imports_a_test_module() -> None:
    importing = {
        str(path.relative_to(ROOT)): name
        for path in MODULES
        for name in imported(path)
        if re.match(r"tests(\.\w+)*\.(test_\w+|conftest)\b", name)
    }
    assert importing == {}, "what tests share belongs in tests/fixtures or tests/truth"


def test_what_tests_compare_with_does_not_come_from_the_package() -> None:
    from_package = {
        name
        for path in (TESTS / "truth").rglob("*.py")
        for name in imported(path)
        if name.startswith("airflow_provider_claude_code")
    }
    assert from_package == {"airflow_provider_claude_code.sandbox.Sandbox"}


def prose(path: Path) -> Iterator[str]:
    """Yield the comments and docstrings of a module."""
    text = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_that_comments_name_are_there(path: Path) -> None:
    named = {name for text in prose(path) for name in re.findall(r"[\w./-]*\w\.(?:css|j2|md|py|sql|toml)\b", text)}
    # NAME is a placeholder.
    named = {name for name in named if "NAME" not in name}
    assert [name for name in named if not any(f"/{there}".endswith(f"/{name}") for there in NAMES)] == []

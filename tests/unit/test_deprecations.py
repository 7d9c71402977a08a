"""The package causes no deprecation warning on any version of Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.airflow_version import AIRFLOW

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_claude_code"
EXAMPLES = ROOT / "example_dags"

# Runs in an interpreter of its own, where nothing of ours is imported yet: most warnings come from the first import.
OBSERVER = """
import importlib, json, runpy, sys, warnings
# Shows warnings in a way of its own from here on.
import airflow.sdk, airflow.settings

ours, modules, files = json.loads(sys.argv[1])
caused = []

def is_ours(filename):
    return filename.startswith(tuple(ours))

def observe(message, category, filename, lineno, file=None, line=None):
    if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning)):
        return
    # From the call of warn() outwards, without the import machinery and what shows the warning.
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith("<frozen") and frame.f_globals.get("__name__") != "warnings":
            frames.append(frame)
        frame = frame.f_back
    bodies = [frame for frame in frames if frame.f_code.co_name == "<module>"]
    # Named by the warning; or raised by something that our module's body calls or is about to import.
    culprits = [filename, bodies[0].f_code.co_filename]
    if frames[0] is bodies[0] and len(bodies) > 1:
        culprits.append(bodies[1].f_code.co_filename)
    if any(map(is_ours, culprits)):
        caused.append(f"{category.__name__} from {filename}:{lineno}: {message}")

warnings.simplefilter("always")
warnings.showwarning = observe
for module in modules:
    importlib.import_module(module)
for path in files:
    runpy.run_path(path)
assert warnings.showwarning is observe, "somebody else gets the warnings"
print(json.dumps([sorted(set(sys.modules) & set(modules)), caused]))
"""


def warnings_caused(ours: list[Path], modules: list[str], files: list[Path]) -> list[str]:
    """Import the modules, run the files, and return the deprecations for which code below `ours` is to blame."""
    arguments = json.dumps([[str(path) for path in ours], modules, [str(path) for path in files]])
    finished = subprocess.run(
        [sys.executable, "-c", OBSERVER, arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    imported, caused = json.loads(finished.stdout.splitlines()[-1])
    assert imported == sorted(modules)
    return list(caused)


def test_no_module_and_no_example_dag_causes_a_deprecation_warning() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        # Prints the table reference as soon as it is imported.
        if path != PACKAGE / "tables" / "__main__.py"
    ]
    assert warnings_caused([PACKAGE, EXAMPLES], modules, sorted(EXAMPLES.glob("*.py"))) == []


OLD = """
import warnings

def __getattr__(name):
    if name != "moved":
        raise AttributeError(name)
    warnings.warn("imported from its old place", FutureWarning, stacklevel=2)

def function():
    warnings.warn("called", DeprecationWarning)
"""


def test_a_deprecation_warning_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, dags = tmp_path / "library", tmp_path / "dags"
    library.mkdir()
    dags.mkdir()
    (library / "old_library.py").write_text(OLD)
    (library / "old_module.py").write_text("import warnings; warnings.warn('the module has moved', DeprecationWarning)")
    (library / "other.py").write_text("from old_library import moved")
    (library / "between.py").write_text("import other")
    said = {
        "from old_library import moved": "imported from its old place",
        "import old_library; old_library.function()": "called",
        "import old_module": "the module has moved",
        # What others do among themselves is not ours.
        "import between": None,
    }
    if AIRFLOW >= (3, 2):
        said["from airflow.exceptions import AirflowFailException"] = "airflow.exceptions.AirflowFailException"
    files = [dags / f"dag_{number}.py" for number in range(len(said))]
    for file, code in zip(files, said, strict=True):
        file.write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(library))
    caused = warnings_caused([dags], [], files)
    expected = [text for text in said.values() if text]
    assert len(caused) == len(expected)
    assert all(text in warning for text, warning in zip(expected, caused, strict=True)), caused

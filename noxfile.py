"""The tests on each Airflow and Python that the provider supports, with the built wheel installed."""

from __future__ import annotations

import os
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
AIRFLOWS = {
    # Each with what its newest patch does not yet run with; pip installs that all the same.
    # 3.0 draws the connection form only where Flask-AppBuilder is; 3.1 has stand-ins of its own for it.
    "3.0": [
        "apache-airflow==3.0.*",
        "cadwyn<6",
        "fastapi<0.118",
        "flask-appbuilder",
        "pydantic<2.13",
        "universal-pathlib<0.3",
    ],
    "3.1": ["apache-airflow==3.1.*"],
    "3.2": [
        "apache-airflow==3.2.*",
        "a2wsgi<1.11",
        "fastapi<0.136",
        "pydantic<2.13",
        "starlette<1.1",
        "svcs<26",
        "uvicorn<0.45",
    ],
    "3.3": ["apache-airflow==3.3.*"],
}
NEWEST = "3.3"
COMBINATIONS = [(python, airflow) for airflow in AIRFLOWS for python in PYTHONS if (python, airflow) != ("3.13", "3.0")]

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"

# pyenv keeps interpreters where nobody looks for them.
for folder in sorted(Path.home().glob(".pyenv/versions/*/bin")):
    os.environ["PATH"] += f"{os.pathsep}{folder}"


@nox.session
@nox.parametrize(["python", "airflow"], COMBINATIONS)
def tests(session: nox.Session, airflow: str) -> None:
    """Run the unit and integration tests."""
    _install(session, airflow, "test")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
def e2e(session: nox.Session) -> None:
    """Run the tests in a real Airflow, the newest."""
    _install(session, NEWEST, "e2e")
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Run the benchmarks with the newest Airflow: all of them, or those named after ``--``."""
    _install(session, NEWEST, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


def _install(session: nox.Session, airflow: str, group: str) -> None:
    """Install the wheel, an Airflow and what the tests need."""
    folder = Path(session.create_tmp())
    session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    (wheel,) = folder.glob("*.whl")
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group)
    # The newest is pinned as for development; the others get what today's index has.
    pins = ["--constraint", "requirements-dev.txt"] if airflow == NEWEST else []
    session.install("--quiet", *AIRFLOWS[airflow], f"{wheel}[google]", *groups, *pins)
    # The same version with another content is not installed again otherwise.
    session.install("--quiet", "--no-deps", "--force-reinstall", str(wheel))

"""The tests on each Airflow and Python that the provider supports, with the built wheel installed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
AIRFLOWS = {
    # Each with what its newest patch does not yet run with; pip installs that all the same.
    # 3.0 draws the connection form only where Flask-AppBuilder is; 3.1 has stand-ins of its own for it.
    "3.0": [
        "apache-airflow==3.0.6",
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


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the unit and integration tests with the lowest versions that pyproject.toml allows."""
    _install(session, "3.0", "test", "--resolution=lowest-direct")
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


@nox.session(python=False)
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in the pinned packages, where the database of them can be reached."""
    report = Path(session.create_tmp(), "audit.json")
    report.unlink(missing_ok=True)
    pip_audit = ["--requirement=requirements-dev.txt", "--no-deps", "--disable-pip", "--progress-spinner=off"]
    session.run(
        *[sys.executable, "-m", "pip_audit", *pip_audit, "--format=json", f"--output={report}"],
        success_codes=[0, 1],
        silent=True,
        external=True,
    )
    packages = json.loads(report.read_text())["dependencies"] if report.exists() else []
    # A package that could not be looked up is no failure to pip-audit.
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        session.skip("the database of vulnerabilities cannot be reached")
    session.log(f"{len(audited)} of {len(packages)} packages were looked up")
    for package in audited:
        for vulnerability in package["vulns"]:
            session.warn(f"{package['name']} {package['version']}: {vulnerability['id']}")
    if any(package["vulns"] for package in audited):
        session.error("known vulnerabilities in the pinned packages")


def _install(session: nox.Session, airflow: str, group: str, *options: str) -> None:
    """Install the wheel, an Airflow and what the tests need."""
    folder = Path(session.create_tmp())
    session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    (wheel,) = folder.glob("*.whl")
    pyproject = nox.project.load_toml("pyproject.toml")
    dependencies = [*pyproject["project"]["dependencies"], *pyproject["project"]["optional-dependencies"]["google"]]
    # The newest is pinned as for development; the others get what today's index has.
    pins = ["--constraint", "requirements-dev.txt"] if airflow == NEWEST else []
    session.install("--quiet", *options, *AIRFLOWS[airflow], *dependencies, *pins)
    session.install("--quiet", *nox.project.dependency_groups(pyproject, group), *pins)
    # The same version with another content is not installed again otherwise.
    session.install("--quiet", "--no-deps", "--force-reinstall", str(wheel))

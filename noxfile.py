"""The tests on each Airflow and Python that the provider supports, with the built wheel installed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import nox

PACKAGE = "airflow-provider-claude-code"
CONSTRAINTS = {path.stem.removeprefix("airflow-"): path for path in sorted(Path("constraints").glob("airflow-*.txt"))}
"""By version of Airflow, what its official installation and the managed services pin."""
NEWEST = list(CONSTRAINTS)[-1]
PYTHONS = ["3.11", "3.12", "3.13"]
UNINSTALLABLE = {
    ("3.13", "3.0.6"),  # Airflow 3.0 does not support Python 3.13.
    ("3.13", "3.1.8"),  # These three files are for other Pythons, and pin packages that do not exist for this one.
    ("3.11", "3.3.1"),
}
COMBINATIONS = [
    (python, airflow) for airflow in CONSTRAINTS for python in PYTHONS if (python, airflow) not in UNINSTALLABLE
]

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"

# With it, each of Airflow's many processes would compile all that it imports, as in the Makefile.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# The interpreters of pyenv are not in PATH.
for folder in sorted(Path.home().glob(".pyenv/versions/*/bin")):
    os.environ["PATH"] += f"{os.pathsep}{folder}"


@nox.session
@nox.parametrize(["python", "airflow"], COMBINATIONS)
def tests(session: nox.Session, airflow: str) -> None:
    """Run the unit and integration tests under the constraints of an Airflow."""
    _install(session, "test", airflow)
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the unit and integration tests with the lowest versions that pyproject.toml allows."""
    # Newer releases of these do not work with Airflow 3.0.0 or pandas 2.1.0. As requirements, they would be the lowest.
    pins = Path(session.create_tmp(), "constraints.txt")
    pins.write_text("cadwyn<6\nfastapi<0.118\nnumpy<2\npydantic<2.13\nuniversal-pathlib<0.3\n")
    pyproject = nox.project.load_toml("pyproject.toml")
    dependencies = [*pyproject["project"]["dependencies"], *chain.from_iterable(_extras(pyproject).values())]
    lowest = ["--resolution=lowest-direct", "--constraint", str(pins)]
    session.install("--quiet", *lowest, "apache-airflow==3.0.0", *dependencies)
    session.install("--quiet", *nox.project.dependency_groups(pyproject, "test"))
    session.install("--quiet", "--no-deps", "--force-reinstall", str(_wheel(session)))
    session.run("pytest", *session.posargs)


@nox.session(python=False)
def resolve(session: nox.Session) -> None:
    """Resolve the package with each extra under the constraints of each Airflow, on each Python."""
    wheel = _wheel(session).resolve()
    extras = ["", *(f"[{extra}]" for extra in _extras(nox.project.load_toml("pyproject.toml")))]
    for python, airflow in COMBINATIONS:
        for extra in extras:
            requirements = Path(session.create_tmp(), f"airflow-{airflow}-python-{python}{extra}.in")
            requirements.write_text(f"apache-airflow=={airflow}\n{PACKAGE}{extra} @ {wheel.as_uri()}\n")
            pins = ["--python-version", python, "--constraint", str(CONSTRAINTS[airflow])]
            session.run(
                "uv", "pip", "compile", "--quiet", *pins, str(requirements), silent=True, log=False, external=True
            )
            session.log(f"Airflow {airflow}, Python {python}, {PACKAGE}{extra}: resolved")


@nox.session
@nox.parametrize(["python", "airflow"], COMBINATIONS)
def e2e(session: nox.Session, airflow: str) -> None:
    """Run the tests in a real Airflow, installed under its constraints. In an older one, those marked each_airflow."""
    _install(session, "e2e", airflow)
    selection = [] if airflow == NEWEST else ["-m", "each_airflow"]
    session.run("pytest", *(session.posargs or ["tests/e2e", *selection]))


@nox.session
def dbt(session: nox.Session) -> None:
    """Build the dbt package with dbt, which does not fit Airflow's pins; the tests themselves run in .venv."""
    (duckdb,) = [line for line in Path("requirements-dev.txt").read_text().splitlines() if line.startswith("duckdb==")]
    session.install("--quiet", "dbt-core<1.12", "dbt-duckdb", duckdb)
    test = [".venv/bin/python", "-m", "pytest", "tests/integration/test_dbt.py"]
    session.run(*test, external=True, env={"DBT": str(Path(session.bin, "dbt").resolve())})


@nox.session
def spark(session: nox.Session) -> None:
    """Run the SQL for Spark in Spark, which takes half a gigabyte; the tests themselves run in .venv."""
    folder = Path(session.create_tmp(), "pyspark").resolve()
    session.install("--quiet", "--target", str(folder), "pyspark>=4,<5")
    test = [".venv/bin/python", "-m", "pytest", "tests/integration/test_spark.py"]
    session.run(*test, external=True, env={"PYTHONPATH": str(folder)})


@nox.session
@nox.parametrize(["python", "airflow"], COMBINATIONS)
def managed(session: nox.Session, airflow: str) -> None:
    """Add the wheel by pip to an environment that has an Airflow's pins, as MWAA and the documented Dockerfile do."""
    installed = "amazon,celery,cncf-kubernetes,fab,google,http,openlineage,pandas,postgres"
    session.install(
        "--quiet", "pip", f"apache-airflow[{installed}]=={airflow}", "--constraint", str(CONSTRAINTS[airflow])
    )
    session.run("python", "-m", "pip", "uninstall", "--yes", PACKAGE, silent=True)
    before = _versions(session)
    requirements = Path(session.create_tmp(), "requirements.txt")
    requirements.write_text(f"--constraint {CONSTRAINTS[airflow].resolve()}\n{PACKAGE}[s3]\n")
    here = ["--find-links", str(_wheel(session).parent)]
    for step in (
        ["--requirement", str(requirements), *here],
        ["--no-cache-dir", f"apache-airflow=={airflow}", f"{PACKAGE}[google]", *here],
    ):
        session.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step)
        after = _versions(session)
        if changed := {name: after.get(name) for name, version in before.items() if after.get(name) != version}:
            session.error(f"installing the provider changed what was installed: {changed}")
        session.log(f"added: {', '.join(sorted(after.keys() - before.keys()))}")
        home = {"AIRFLOW_HOME": str(Path(session.create_tmp(), "airflow").resolve())}
        session.run("airflow", "providers", "get", PACKAGE, env=home, silent=True)
        session.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", PACKAGE)


@nox.session
def dist(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel, into dist; install the sdist as a user does, and let Airflow list it."""
    folder = Path("dist")
    shutil.rmtree(folder, ignore_errors=True)
    session.run_install("uv", "build", "--quiet", "--out-dir", str(folder), external=True)
    distributions = list(map(str, folder.glob("airflow_provider_claude_code-*")))
    session.run(*[sys.executable, "-m", "twine", "check", "--strict", *distributions], external=True)
    (sdist,) = folder.glob("*.tar.gz")
    pins = ["--constraint", str(CONSTRAINTS[NEWEST])]
    session.install("--quiet", f"apache-airflow=={NEWEST}", *pins)
    session.run("uv", "pip", "uninstall", "--quiet", PACKAGE, silent=True, external=True, success_codes=[0, 1])
    session.install("--quiet", "--no-cache", str(sdist), *pins)
    home = {"AIRFLOW_HOME": str(Path(session.create_tmp(), "airflow").resolve())}
    session.run("airflow", "providers", "get", PACKAGE, env=home)


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Run the benchmarks with the newest Airflow: all of them, or those named after ``--``."""
    _install(session, "bench", NEWEST)
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
    # pip-audit does not fail if a package could not be looked up.
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        session.skip("the database of vulnerabilities cannot be reached")
    session.log(f"{len(audited)} of {len(packages)} packages were looked up")
    for package in audited:
        for vulnerability in package["vulns"]:
            session.warn(f"{package['name']} {package['version']}: {vulnerability['id']}")
    if any(package["vulns"] for package in audited):
        session.error("known vulnerabilities in the pinned packages")


def _install(session: nox.Session, group: str, airflow: str) -> None:
    """Install an Airflow and the wheel with all extras as the documentation says, then what the tests need."""
    pyproject = nox.project.load_toml("pyproject.toml")
    wheel = _wheel(session)
    pins = ["--constraint", str(CONSTRAINTS[airflow])]
    extras = ",".join(_extras(pyproject))
    session.install("--quiet", f"apache-airflow=={airflow}", f"{wheel}[{extras}]", *pins)
    # Without it, Airflow 3.0 has no connection form of any provider.
    form = ["flask-appbuilder"] if airflow.startswith("3.0.") else []
    session.install("--quiet", *nox.project.dependency_groups(pyproject, group), *form, *pins)
    # The same version with another content is not installed again otherwise.
    session.install("--quiet", "--no-deps", "--force-reinstall", str(wheel))


def _wheel(session: nox.Session) -> Path:
    """Build the wheel."""
    folder = Path(session.create_tmp())
    session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _versions(session: nox.Session) -> dict[str, str]:
    """Return the versions of what is installed."""
    packages = session.run(
        "python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check", silent=True, log=False
    )
    return {package["name"]: package["version"] for package in json.loads(packages)}


def _extras(pyproject: dict[str, Any]) -> dict[str, list[str]]:
    """Return the extras with their requirements."""
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    return extras

"""The distribution says what is true, and importing it costs Dag files nothing that they do not use."""

import ast
import graphlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from airflow.plugins_manager import AirflowPlugin
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


def imported_folders() -> dict[str, set[str]]:
    """Return by folder of the package which other folders, and whether Airflow, its modules import."""
    imported: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*/*.py"):
        folder = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top, _, rest = name.partition(".")
                if top == PACKAGE.name and (PACKAGE / (inside := rest.partition(".")[0])).is_dir() and inside:
                    imported.setdefault(folder, set()).add(inside)
                elif top == "airflow":
                    imported.setdefault(folder, set()).add(top)
    return {folder: folders - {folder} for folder, folders in imported.items()}


def test_the_folders_import_each_other_in_one_direction() -> None:
    order = list(graphlib.TopologicalSorter(imported_folders()).static_order())
    assert order.index("tables") < order.index("targets") < order.index("transfers")


@pytest.mark.parametrize("folder", ["api", "streams", "tables"])
def test_what_reads_the_api_and_makes_rows_knows_no_airflow(folder: str) -> None:
    """It can be used, tested and measured alone."""
    assert "airflow" not in imported_folders().get(folder, set())
    assert "airflow" in imported_folders()["transfers"]


def test_the_entry_point_leads_to_the_metadata() -> None:
    ((name, value),) = PROJECT["project"]["entry-points"]["apache_airflow_provider"].items()

    entry_point = importlib.metadata.EntryPoint(name, value, "apache_airflow_provider")

    assert entry_point.load() is get_provider_info


def test_the_plugin_s_entry_point_leads_to_it_and_it_adds_nothing_by_default() -> None:
    """Airflow reads the plugins of a provider's metadata only when providers are not discovered lazily."""
    ((name, value),) = PROJECT["project"]["entry-points"]["airflow.plugins"].items()
    plugin = importlib.metadata.EntryPoint(name, value, "airflow.plugins").load()
    assert issubclass(plugin, AirflowPlugin)
    assert plugin.fastapi_apps == []


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


def test_the_changelog_has_the_version_with_its_date() -> None:
    newest = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == airflow_provider_claude_code.__version__


def test_the_actions_of_workflows_are_pinned_by_commit() -> None:
    used = [
        line
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for line in re.findall(r"uses: .*", path.read_text())
    ]
    assert used
    assert [line for line in used if not re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_airflow_shows_the_documentation() -> None:
    assert PROJECT["project"]["urls"]["Documentation"].startswith("https://")


@pytest.mark.parametrize(
    ("name", "too_old", "why"),
    [
        ("tenacity", "8.2.3", "it has no stop_before_delay"),
    ],
)
def test_no_release_is_allowed_that_cannot_work(name: str, too_old: str, why: str) -> None:
    assert not REQUIREMENTS[name].specifier.contains(too_old), f"{name} {too_old}: {why}"


def test_every_import_outside_the_optional_parts_is_a_requirement() -> None:
    """A module that another distribution happens to bring along may leave with it."""
    provided = {
        "airflow": "apache-airflow",
        "asgiref": "apache-airflow",
        "fastapi": "apache-airflow",
        "httpx": "httpx",
        "jinja2": "apache-airflow",
        "markupsafe": "apache-airflow",  # by way of Jinja2
        "msgspec": "msgspec",
        "numpy": "pandas",  # of which it is a part of the interface
        "pandas": "pandas",
        "pyarrow": "pyarrow",
        "starlette": "apache-airflow",
        "tenacity": "tenacity",
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


class Page(HTMLParser):
    """Render Markdown as PyPI does, with its own renderer."""

    def __init__(self, markdown: str) -> None:
        from readme_renderer.markdown import render

        super().__init__()
        self.text, self.anchors, self.links, self.images = "", set(), [], []
        html = render(markdown)
        assert html is not None, "PyPI would show the source"
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if "id" in attributes:
            self.anchors.add(attributes["id"])
        if "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "img":
            self.images.append(attributes["src"])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist; the wheel that was built from it is unpacked beside it."""
    folder = tmp_path_factory.mktemp("distributions")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    name = f"{PACKAGE.name}-{airflow_provider_claude_code.__version__}"
    shutil.unpack_archive(folder / f"{name}.tar.gz", folder, filter="data")
    shutil.unpack_archive(folder / f"{name}-py3-none-any.whl", folder / "wheel", "zip")
    return folder / name


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    return sdist.parent / "wheel"


@pytest.fixture(scope="module")
def package_page(wheel: Path) -> Page:
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    metadata = distribution.metadata.json
    assert metadata["description_content_type"] == "text/markdown"
    return Page(metadata["description"])


def test_the_package_page_says_what_the_readme_says(package_page: Page) -> None:
    readme = Page((ROOT / "README.md").read_text())

    assert package_page.text == readme.text
    assert len(package_page.links) == len(readme.links)
    assert len(package_page.images) == len(readme.images)


def test_the_package_page_links_to_the_files_of_its_own_release(package_page: Page, sdist: Path) -> None:
    repository = PROJECT["project"]["urls"]["Source"].removeprefix("https://github.com/")
    in_repository = re.compile(
        rf"https://(?:github\.com/{repository}/(?:blob|edit|raw|tree)|raw\.githubusercontent\.com/{repository})"
        "/(?P<tag>[^/]+)/(?P<path>[^#?]*)"
    )

    assert [link for link in package_page.links if not link.startswith(("https://", "mailto:", "#"))] == []
    # GitHub's /blob/ is a page about an image.
    assert [image for image in package_page.images if not image.startswith("https://") or "/blob/" in image] == []
    ours = [match for target in package_page.links + package_page.images if (match := in_repository.match(target))]
    assert ours
    for target in ours:
        assert target["tag"] == f"v{airflow_provider_claude_code.__version__}", target[0]
        assert (sdist / target["path"]).exists(), target[0]


def test_the_links_between_the_documents_lead_somewhere(sdist: Path) -> None:
    """In the sdist, and so in the repository and at the release's tag."""
    if "user-content-a" not in Page("# A").anchors:
        pytest.skip("readme-renderer before 45 gives headings no anchors")
    pages = {path: Page(path.read_text()) for path in sdist.rglob("*.md")}

    def leads_somewhere(path: Path, target: str) -> bool:
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        has_anchor = not anchor or bool({anchor, f"user-content-{anchor}"} & pages[file].anchors)
        return has_anchor and file.exists() and file.is_relative_to(sdist)

    relative = [
        (path, target)
        for path, page in pages.items()
        for target in page.links + page.images
        if not re.match("[a-z]+:", target)
    ]
    assert {path.name for path, _ in relative} >= {"README.md"}
    dead = [(path.relative_to(sdist), target) for path, target in relative if not leads_somewhere(path, target)]
    assert dead == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="is run from an sdist")
def test_the_sdist_is_the_repository(sdist: Path) -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]

    missing = [name for name in tracked if (ROOT / name).exists() and not (sdist / name).exists()]
    assert missing == [], "name them in pyproject.toml, below [tool.hatch.build.targets.sdist]"


def test_the_wheel_is_the_package_with_the_example_dags(wheel: Path) -> None:
    installed = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {str(path.relative_to(ROOT)): path for path in installed}
    expected |= {f"{PACKAGE.name}/examples/{path.name}": path for path in (ROOT / "example_dags").glob("*.py")}

    files = {str(path.relative_to(wheel)): path for path in wheel.rglob("*") if path.is_file()}
    metadata = {name for name in files if ".dist-info/" in name}
    assert files.keys() - metadata == expected.keys()
    assert all(files[name].read_bytes() == path.read_bytes() for name, path in expected.items())
    assert {f"licenses/{name}" for name in PROJECT["project"]["license-files"]} <= {
        name.partition(".dist-info/")[2] for name in metadata
    }


def test_a_report_is_rendered_from_the_wheel_alone(wheel: Path) -> None:
    code = """
from airflow_provider_claude_code.analytics.report import rendering
from airflow_provider_claude_code.analytics.report.elements import Document, Name, Section
print(rendering.__file__)
print(rendering.render(Document(Name("a title"), "a period", "1 day", "now", [], Section("About", []))))
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(wheel)}
    run = subprocess.run(command, cwd=wheel, env=environment, capture_output=True, text=True, check=True, timeout=60)

    file, _, html = run.stdout.partition("\n")
    assert Path(file).is_relative_to(wheel)
    assert html.startswith("<!DOCTYPE html>")
    assert (PACKAGE / "analytics/report/style.css").read_text() in html


def test_the_documentation_says_how_to_copy_the_example_dags(wheel: Path, tmp_path: Path) -> None:
    (command,) = re.findall(r"^\$ (cp .*/examples/.*)$", (ROOT / "docs/example-dags.md").read_text(), re.MULTILINE)
    dags = tmp_path / "dags"
    dags.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(wheel),
    }
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, check=True, timeout=60)

    assert {path.name for path in dags.iterdir()} == {path.name for path in (ROOT / "example_dags").glob("*.py")}

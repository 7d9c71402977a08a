"""Airflow's page of a report is for those who may see what its Dag returns, and its file can do nothing there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.core_api import security
from fastapi import HTTPException
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from airflow_provider_claude_code.plugins.claude_code import _apps
from airflow_provider_claude_code.plugins.report_page import LARGEST_REPORT, create_app
from tests.fixtures.airflow_version import AIRFLOW

REPORT = '<!DOCTYPE html>\n<meta name="claude-code-people" content="none">\n<p>42</p>'


class AuthManager:
    """Knows Ada, who may read the XComs of the Dag ``weekly``."""

    async def get_user_from_token(self, token: str) -> str:
        if token not in ("ada", "bob"):
            raise HTTPException(401, "unknown")
        return token

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: str) -> bool:
        return (method, access_entity.value, details.id, user) == ("GET", "XCOM", "weekly", "ada")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(security, "get_auth_manager", AuthManager)
    # It asks the database, in those versions that have teams.
    monkeypatch.setattr(security.DagModel, "get_team_name", lambda dag_id: None, raising=False)
    for dag in ("weekly", "secret"):
        (tmp_path / "reports" / dag).mkdir(parents=True)
        (tmp_path / "reports" / dag / "week.html").write_text(REPORT)
    (tmp_path / "reports" / "top.html").write_text(REPORT)
    (tmp_path / "outside.html").write_text(REPORT)
    with TestClient(create_app(tmp_path / "reports"), headers={"Authorization": "Bearer ada"}) as client:
        yield client


def test_who_may_see_it_gets_it_in_a_sandbox(client: TestClient) -> None:
    answer = client.get("/weekly/week.html")
    assert (answer.status_code, answer.text) == (200, REPORT)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = [directive.strip() for directive in answer.headers["content-security-policy"].split(";")]
    assert "sandbox" in policy, "with nothing allowed: no scripts, no forms, an origin of its own"
    assert "default-src 'none'" in policy
    assert not [it for it in policy if it.startswith(("script-src", "connect-src", "frame-src"))]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("path", ["/weekly/week.html", "/weekly/absent.html", "/nowhere/week.html"])
def test_nobody_gets_nothing(client: TestClient, path: str) -> None:
    del client.headers["Authorization"]
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer forged"}).status_code == 401


@pytest.mark.parametrize("path", ["/weekly/week.html", "/weekly/absent.html", "/nowhere/week.html"])
def test_who_may_not_see_it_does_not_even_learn_whether_it_is_there(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"Authorization": "Bearer bob"}).status_code == 403


def test_a_dag_of_others_is_theirs(client: TestClient) -> None:
    assert client.get("/secret/week.html").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/weekly/absent.html",
        "/weekly/week.txt",
        "/weekly/.hidden.html",
        "/weekly/..%2Ftop.html",
        "/weekly/%2e%2e%2fsecret%2fweek.html",
        "/weekly/..%5Ctop.html",
        "/weekly/week.html%00.html",
        "/weekly/week.html/",
        "/weekly//week.html",
        "/weekly/",
        "/",
        "/docs",
        "/openapi.json",
    ],
)
def test_other_names_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/../outside.html", "/%2e%2e/outside.html", "/./top.html", "/.../week.html"])
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (403, 404)


@pytest.mark.parametrize("target", ["secret/week.html", "../outside.html"])
def test_links_are_not_followed(client: TestClient, tmp_path: Path, target: str) -> None:
    (tmp_path / "reports/weekly/link.html").symlink_to(tmp_path / "reports" / target)
    assert client.get("/weekly/link.html").status_code == 404


def test_neither_are_links_of_folders(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "reports/weekly/week.html").unlink()
    (tmp_path / "reports/weekly").rmdir()
    (tmp_path / "reports/weekly").symlink_to(tmp_path / "reports/secret")
    assert client.get("/weekly/week.html").status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        '<meta name="claude-code-people" content="named"><p>ada@example.com',
        "<p>no report of ours",
        f"{'x' * 5000}{REPORT}",
    ],
)
def test_what_names_people_or_does_not_say_is_not_shown(client: TestClient, tmp_path: Path, content: str) -> None:
    (tmp_path / "reports/weekly/week.html").write_text(content)
    answer = client.get("/weekly/week.html")
    assert answer.status_code == 403
    assert "ada@example.com" not in answer.text


def test_a_folder_and_a_huge_file_are_no_reports(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "reports/weekly/folder.html").mkdir()
    assert client.get("/weekly/folder.html").status_code == 404
    with (tmp_path / "reports/weekly/huge.html").open("w") as file:
        file.write(REPORT)
        file.truncate(LARGEST_REPORT + 1)
    assert client.get("/weekly/huge.html").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_there_is_nothing_but_reading(client: TestClient, method: str) -> None:
    assert client.request(method, "/weekly/week.html").status_code == 405


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="browsers cannot say who they are to apps of plugins before Airflow 3.1")
def test_one_setting_switches_the_page_on(client: TestClient, tmp_path: Path) -> None:
    """In a process of its own, as Airflow reads its plugins once."""
    program = (
        "from airflow_provider_claude_code.plugins.claude_code import ClaudeCodePlugin as it\n"
        "import sys\n"
        "print([app['url_prefix'] for app in it.fastapi_apps], 'airflow.api_fastapi.core_api.app' in sys.modules)\n"
    )
    setting = {"AIRFLOW__CLAUDE_CODE__REPORTS_DIRECTORY": str(tmp_path / "reports")}
    environment = os.environ | setting | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['/claude_code_reports'] False"
    (app,) = _apps(tmp_path / "reports")
    with TestClient(Starlette(routes=[Mount(app["url_prefix"], app["app"])]), headers=client.headers) as mounted:
        assert mounted.get("/claude_code_reports/weekly/week.html").text == REPORT

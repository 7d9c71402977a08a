"""A report in Airflow: who may see it there, and what a hostile file could do to who looks at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.fixtures.airflow import Airflow, free_port, wait_for
from tests.fixtures.browser import CHROMIUM, Person, chromium

PATH = "/claude_code_reports/claude_code_report/{}.html"
HEAD = '<!DOCTYPE html>\n<meta charset="utf-8">\n<meta name="claude-code-people" content="none">\n'

# Each tries to reach Airflow's API, or to leave, in the name of who looks at it.
HOSTILE = f"""{HEAD}<title>hostile</title>
<meta http-equiv="refresh" content="0; url=/api/v2/dags?from=refresh">
<link rel="stylesheet" href="/api/v2/dags?from=style">
<link rel="prefetch" href="/api/v2/dags?from=prefetch">
<style>@import "/api/v2/dags?from=import"; body {{ background: url(/api/v2/dags?from=background) }}</style>
<h1>hostile</h1>
<script>document.title = "script ran"; fetch("/api/v2/dags?from=fetch")</script>
<img src="/api/v2/dags?from=image" onerror="document.title = 'handler ran'">
<svg onload="document.title = 'svg ran'"></svg>
<iframe src="/api/v2/dags?from=frame"></iframe>
<object data="/api/v2/dags?from=object"></object>
<form method="post" action="/api/v2/connections?from=form"><button>Send</button></form>
<a href="javascript:document.title = 'link ran'">Run</a>
"""


@pytest.fixture(scope="module")
def folder(airflow: Airflow) -> Path:
    """Reports of an existing Dag: one that names nobody, one that names people, and a hostile one."""
    folder = airflow.reports / "claude_code_report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nobody.html").write_text(f"{HEAD}<title>nobody</title><h1 id='top'>Numbers</h1>")
    (folder / "people.html").write_text(HEAD.replace("none", "named") + "<p>ada@example.com")
    (folder / "hostile.html").write_text(HOSTILE)
    return folder


@pytest.fixture(scope="module")
def strict(airflow: Airflow) -> Iterator[str]:
    """Give the address of a second API server, to which not everybody is an administrator."""
    port = free_port()
    settings = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False"}
    url = f"http://127.0.0.1:{port}"
    with (airflow.home / "strict.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server", "--port", str(port)],
            env=airflow.environment | settings,
            cwd=airflow.home,
            stdout=log,
            stderr=log,
        )

    def answers() -> bool:
        assert server.poll() is None, (airflow.home / "strict.log").read_text()
        try:
            return httpx.get(f"{url}/api/v2/version").is_success
        except httpx.TransportError:
            return False

    try:
        wait_for("the second API server", answers)
        yield url
    finally:
        server.terminate()
        server.wait()


def token(airflow: Airflow, role: str | None) -> str:
    """Return a token of a user who has a role, or none."""
    program = (
        "from airflow.api_fastapi.app import create_auth_manager\n"
        "from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser\n"
        f"user = SimpleAuthManagerUser(username='somebody', role={role!r})\n"
        "print('token', create_auth_manager().generate_jwt(user))\n"
    )
    return airflow.python("-c", program).rsplit("token ", 1)[1].strip()


@pytest.mark.usefixtures("folder")
def test_who_may_read_the_dag_may_see_its_reports(airflow: Airflow, strict: str) -> None:
    viewer, nobody = token(airflow, "viewer"), token(airflow, None)

    def status(name: str, cookies: dict[str, str] | None = None) -> int:
        return httpx.get(f"{strict}{PATH.format(name)}", cookies=cookies).status_code

    for name in ("nobody", "people", "absent"):
        assert status(name) == 401
        assert status(name, {"_token": nobody}) == 403
    assert status("nobody", {"_token": viewer}) == 200
    assert status("people", {"_token": viewer}) == 403
    assert status("absent", {"_token": viewer}) == 404


@pytest.mark.usefixtures("folder")
def test_the_plugin_is_among_airflow_s(airflow: Airflow) -> None:
    plugins = {plugin["name"]: plugin for plugin in airflow.get("plugins")["plugins"]}
    (app,) = plugins["claude_code"]["fastapi_apps"]
    assert app["url_prefix"] == "/claude_code_reports"
    assert airflow.get("plugins/importErrors")["import_errors"] == []


# Not of the session: while Playwright is there, asyncio.run() of other tests would not work.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def person(browser: Browser, airflow: Airflow) -> Iterator[Person]:
    person = Person(browser, airflow.url)
    # Logs in.
    person.page.goto("/")
    expect(person.page.get_by_role("button", name="Admin")).to_be_visible()
    yield person
    person.leave()


@pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium to run the browser tests")
@pytest.mark.usefixtures("folder")
class TestInABrowser:
    def test_a_report_is_shown(self, person: Person) -> None:
        answer = person.page.goto(PATH.format("nobody"))
        assert answer
        assert answer.status == 200
        expect(person.page.get_by_role("heading", name="Numbers")).to_be_visible()
        person.take_picture("report-in-airflow.png")

    def test_a_hostile_file_reaches_nothing(self, person: Person) -> None:
        answered: list[str] = []
        person.page.on("response", lambda response: answered.append(response.url))
        person.page.goto(PATH.format("hostile"))
        expect(person.page.get_by_role("heading", name="hostile")).to_be_visible()
        person.page.get_by_role("link", name="Run").click()
        person.page.get_by_role("button", name="Send").click()
        person.page.wait_for_load_state("networkidle")
        assert person.page.title() == "hostile"
        # The page before it may still have been waiting for answers.
        assert [url for url in answered if "hostile" in url or "from=" in url] == [person.page.url]
        assert person.page.url.endswith("/hostile.html")

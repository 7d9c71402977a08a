"""What people see of the provider in Airflow's UI, step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version

import pytest
from packaging.version import Version
from playwright.sync_api import Browser, expect

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.airflow import Airflow
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.browser import CHROMIUM, Person, chromium

AIRFLOW_VERSION = version("apache-airflow-core")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium to run the browser tests")

DAY = date(2025, 9, 17)
KEY = "sk-ant-admin01-sandbox-example"
"""One that the sandbox takes."""
SECRET = "a-secret-that-nobody-is-to-see"
"""For pseudonyms."""


# Not of the session: while Playwright is there, asyncio.run() of other tests would not work.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def person(browser: Browser, airflow: Airflow) -> Iterator[Person]:
    person = Person(browser, airflow.url)
    yield person
    person.leave()


@pytest.fixture
def connection_id(airflow: Airflow) -> Iterator[str]:
    """Give the id of a Connection to be made, which is deleted again."""
    connection_id = "claude_code_in_the_browser"
    yield connection_id
    airflow.http.delete(f"/api/v2/connections/{connection_id}")


@pytest.mark.each_airflow
def test_the_form_names_and_explains_its_fields_and_masks_secrets(person: Person) -> None:
    person.open_connections()
    form = person.open_connection_form("claude_code_default")

    expect(form.get_by_label("API base URL")).to_have_attribute("placeholder", "https://api.anthropic.com")
    key = form.get_by_label("Admin API key")
    expect(key).to_have_attribute("placeholder", re.compile(r"^sk-ant-admin01-.*/settings/admin-keys$"))
    expect(key).to_have_attribute("type", "password")
    port = form.get_by_label("Port", exact=True)
    expect(port).to_have_value("")
    # Before 3.2, number fields show no placeholder.
    if AIRFLOW >= (3, 2):
        expect(port).to_have_attribute("placeholder", "Enter 443 to use Test on Airflow 3.3.1 and 3.3.2")
    for hidden in ("Login", "Schema", "Host", "Password"):
        expect(form.get_by_label(hidden, exact=True)).to_have_count(0)

    key.fill("sk-ant-admin01-sandbox")
    person.take_picture("connection-form.png", height=880)

    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for label, says in {
        "Authentication": "which needs the scope org:admin",
        "Records per page": "Maximum number of records per request, 1 to 1000",
        "Request timeout (seconds)": "each part of a response",
        "Time budget for retries (seconds)": "rate limits, server errors and lost connections",
        "anthropic-version": "Version of the API",
        "User-Agent suffix": "to tell your deployments apart",
        "Pseudonym secret": "at least 16 random characters",
    }.items():
        expect(form.get_by_text(label, exact=True)).to_be_visible()
        expect(form.get_by_text(says)).to_be_visible()
    # Before 3.3.2, the form shows what is typed into any extra field.
    if Version(AIRFLOW_VERSION) >= Version("3.3.2"):
        expect(form.locator("[name=element_pseudonym_secret]")).to_have_attribute("type", "password")
    person.take_picture("connection-extra-fields.png")

    form.get_by_role("combobox", name="Authentication").click()
    expect(person.page.get_by_role("option")).to_have_text(["api_key", "bearer"])


@pytest.mark.parametrize(("typed", "becomes"), [("0", "1"), ("1001", "1000"), ("250", "250")])
def test_the_form_keeps_the_page_size_within_what_the_api_allows(person: Person, typed: str, becomes: str) -> None:
    person.open_connections()
    form = person.open_connection_form("claude_code_default")
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    page_size = form.get_by_label("Records per page")
    expect(page_size).to_have_value("1000")
    page_size.fill(typed)
    page_size.blur()
    expect(page_size).to_have_value(becomes)


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="the UI of Airflow 3.0 has no Test button")
@pytest.mark.parametrize(
    ("host", "port", "key", "title", "says"),
    [
        pytest.param(
            *("http://127.0.0.1", None, KEY, "Test Connection Successful", "belongs to the organisation example ("),
            marks=pytest.mark.each_airflow,
        ),
        pytest.param(
            *(None, None, "sk-ant-api03-standard", "Test Connection Failed", "Use an admin API key (sk-ant-admin01-)"),
            marks=pytest.mark.each_airflow,
        ),
        (None, None, "sk-ant-admin01-revoked", "Test Connection Failed", "it may have been revoked"),
        ("http://127.0.0.1", "1", KEY, "Test Connection Failed", "Check the base URL, the network"),
        ("http://127.0.0.1:8787", "443", KEY, "Test Connection Failed", "has port 8787: make them the same"),
        ("http://example.com", "80", KEY, "Test Connection Failed", "https"),
    ],
    ids=["good-key", "standard-key", "unknown-key", "nobody-listens", "two-ports", "plain-http"],
)
def test_the_test_button_shows_whose_key_it_is_or_what_to_do(
    person: Person,
    sandbox: Sandbox,
    connection_id: str,
    host: str | None,
    port: str | None,
    key: str,
    title: str,
    says: str,
) -> None:
    person.open_connections()
    form = person.open_connection_form(connection_id)
    form.get_by_label("API base URL").fill(host or sandbox.base_url)
    form.get_by_label("Port", exact=True).fill(port or sandbox.base_url.rpartition(":")[2])
    form.get_by_label("Admin API key").fill(key)
    person.save(form)
    # Later, when the message about the saving is gone.
    person.open_connections()

    message = person.test_connection(connection_id)
    expect(message).to_contain_text(title)
    expect(message).to_contain_text(says)
    expect(message).not_to_contain_text(key)
    if title.endswith("Successful"):
        person.take_picture("connection-test.png", height=440)
    elif "api03" in key:
        person.take_picture("connection-refused.png", height=580)


def test_a_saved_key_is_never_shown_again_and_survives_an_edit(
    person: Person, airflow: Airflow, sandbox: Sandbox, connection_id: str
) -> None:
    key = f"{sandbox.api_key}-example"
    person.open_connections()
    form = person.open_connection_form(connection_id)
    form.get_by_label("API base URL").fill(sandbox.base_url)
    form.get_by_label("Port", exact=True).fill(sandbox.base_url.rpartition(":")[2])
    form.get_by_label("Admin API key").fill(key)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("[name=element_pseudonym_secret]").fill(SECRET)
    # What it looks for would be found, were it there.
    assert key in person.holds()
    assert SECRET in person.holds()
    person.save(form)
    row = person.connection(connection_id)
    expect(row).to_contain_text("claude_code")

    row.get_by_role("button", name="Edit Connection").click()
    form = person.page.get_by_role("dialog")
    expect(form.get_by_label("API base URL")).to_have_value(sandbox.base_url)
    masked = form.get_by_label("Admin API key")
    expect(masked).to_have_attribute("type", "password")
    form.get_by_role("button", name="Show value").first.click()
    expect(masked).to_have_attribute("type", "text")
    assert key not in person.holds()
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.get_by_label("Records per page").fill("100")
    form.get_by_role("button", name="Extra Fields JSON", exact=True).click()
    expect(form.get_by_text('"page_limit"')).to_be_visible()
    assert key not in person.holds()
    assert SECRET not in person.holds()
    person.save(form)

    expect(person.test_connection(connection_id)).to_contain_text("belongs to the organisation example (")
    received = person.received()
    assert connection_id in received
    assert key not in received
    assert SECRET not in received
    # The pages never got the secrets, and yet saving them did not change the secrets.
    file = airflow.home / "connections.json"
    airflow.cli("connections", "export", "--file-format", "json", str(file))
    saved = json.loads(file.read_text())[connection_id]
    file.unlink()
    extra = json.loads(saved["extra"])
    assert (saved["password"], extra["pseudonym_secret"], extra["page_limit"]) == (key, SECRET, 100)


def test_a_day_is_loaded_by_hand_and_its_log_and_event_say_what_arrived_but_not_whose(
    person: Person, airflow: Airflow, sandbox: Sandbox
) -> None:
    # A person finds it paused.
    airflow.pause("claude_code_to_object_storage")
    person.unpause("claude_code_to_object_storage")
    airflow.end_scheduled_runs("claude_code_to_object_storage")
    person.trigger("by_hand", DAY.isoformat())
    person.expect_success()
    page = person.page
    for task in ("wait_until_complete", "load_day"):
        expect(page.get_by_role("row").filter(has_text=task)).to_contain_text("Success")
    person.take_picture("dag-run.png", height=560)
    page.get_by_role("button", name="Show Graph").click()
    expect(page.get_by_test_id("rf__wrapper").get_by_text("success", exact=True)).to_have_count(2)
    person.take_picture("dag-graph.png")
    page.get_by_role("button", name="Show Grid").click()

    person.open_task("load_day")
    loaded = page.get_by_text(f"Loaded {DAY}: ")
    expect(loaded).to_be_visible()
    person.take_picture("task-log.png", height=480)
    log = page.get_by_test_id("virtualized-list").inner_text()
    for text in (log, person.received()):
        assert f"Loaded {DAY}" in text
        assert sandbox.api_key not in text
        assert "@example.com" not in text

    page.get_by_role("link", name="Assets", exact=True).click()
    page.get_by_role("link", name="claude_code_usage_files", exact=True).click()
    event = (
        page.locator("div")
        .filter(has=page.get_by_text(f"Partition Key: {DAY}", exact=True))
        .filter(has=page.locator(".monaco-editor"))
        .last
    )
    # The editor folds the extra a moment late, differently each time: what it was given is looked at instead.
    expect(event.locator(".monaco-editor").first).to_be_visible()
    assert re.search(rf'"day": ?"{DAY}"', person.received())
    assert '"estimated_cost_cents"' in person.received()
    person.take_picture("asset-event.png", height=900)
    assert "@example.com" not in person.received()


def test_a_day_that_is_filled_in_when_the_dag_is_triggered_is_loaded(person: Person, airflow: Airflow) -> None:
    # The state in which the test before leaves it.
    airflow.unpause("claude_code_to_object_storage")
    person.page.goto("/dags/claude_code_to_object_storage")
    person.trigger_for_a_day("by_form", "2025-09-03")
    person.expect_success()
    person.open_task("load_day")
    expect(person.page.get_by_text("Loaded 2025-09-03: ")).to_be_visible()


def test_the_bigquery_task_links_to_its_table_and_its_job(person: Person, airflow: Airflow) -> None:
    airflow.pause("claude_code_to_bigquery")
    person.unpause("claude_code_to_bigquery")
    airflow.end_scheduled_runs("claude_code_to_bigquery")
    person.trigger("by_hand", DAY.isoformat())
    person.expect_success()
    person.open_task("load_day")
    person.page.get_by_role("link", name="Details", exact=True).click()
    console = "https://console.cloud.google.com/bigquery?project=demo-proj"
    expect(person.page.get_by_role("link", name="BigQuery Table")).to_have_attribute(
        "href", f"{console}&p=demo-proj&d=claude_code&t=claude_code_usage&page=table"
    )
    job = person.page.get_by_role("link", name="BigQuery Job").get_attribute("href") or ""
    assert job.startswith(f"{console}&j=bq:US:claude_code_"), job
    assert f"_{DAY:%Y%m%d}_1_0&" in job, "the first job that loaded the last day"
    person.take_picture("task-links.png")


def test_the_providers_page_lists_the_provider_and_leads_to_its_documentation(person: Person) -> None:
    person.page.goto("/")
    person.page.get_by_role("button", name="Admin").click()
    person.page.get_by_role("menuitem", name="Providers").click()
    row = person.page.get_by_role("row").filter(has_text="airflow-provider-claude-code")
    expect(row.get_by_role("cell").nth(1)).to_have_text(__version__)
    # Airflow writes a link as its address, without the space that follows.
    expect(row).to_contain_text("Claude Code Analytics API https://platform.claude.com/docs/")
    expect(row.get_by_role("link", name="airflow-provider-claude-code")).to_have_attribute(
        "href", "https://airflow-provider-claude-code.github.io/airflow-provider-claude-code/"
    )
    person.take_picture("provider.png")

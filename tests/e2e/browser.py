"""A person at Airflow's web pages, in Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.e2e.airflow import PATIENCE, PROJECT

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or PROJECT / ".screenshots")

_PATIENCE_FOR_A_PAGE = 60_000.0
"""Milliseconds in which a page shows what was asked for, on a slow machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a window; the pages come from this machine, so neither a sandbox nor a proxy is needed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--no-proxy-server",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """
    Somebody who opens one page and goes on from there by clicks, so that all responses stay readable.

    :param browser: a running browser.
    :param url: where Airflow is.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self._context = browser.new_context(
            base_url=url, viewport={"width": 1280, "height": 800}, device_scale_factor=1, locale="en-US"
        )
        self._context.set_default_timeout(_PATIENCE_FOR_A_PAGE)
        expect.set_options(timeout=_PATIENCE_FOR_A_PAGE)
        self.page: Page = self._context.new_page()
        self._finished: list[Request] = []
        # Not those that the page gave up, which have no body to read.
        self.page.on("requestfinished", lambda request: self._finished.append(request))

    def leave(self) -> None:
        self._context.close()

    def received(self) -> str:
        """Return the bodies of all answers of Airflow's APIs to the page so far."""
        responses = [
            request.response() for request in list(self._finished) if request.resource_type in ("fetch", "xhr")
        ]
        return "\n".join(response.text() for response in responses if response and response.status != 204)

    def holds(self) -> str:
        """Return everything that the page holds: its HTML, the values of its fields, what it stored."""
        fields: list[str] = self.page.locator("input, textarea").evaluate_all("fields => fields.map(it => it.value)")
        stored: str = self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        return "\n".join([self.page.content(), *fields, stored])

    def take_picture(self, name: str, height: int = 800) -> None:
        """Keep what the page looks like in a window of some height."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.set_viewport_size({"width": 1280, "height": height})
        self.page.screenshot(path=SCREENSHOTS / name, animations="disabled", caret="hide")
        self.page.set_viewport_size({"width": 1280, "height": 800})

    # Connections

    def open_connections(self) -> None:
        # Before 3.2, whoever is not logged in yet lands on the first page, so the way leads from there.
        self.page.goto("/")
        self.page.get_by_role("button", name="Admin").click()
        self.page.get_by_role("menuitem", name="Connections").click()
        expect(self.page.get_by_role("button", name="Add Connection")).to_be_visible()

    def open_connection_form(self, connection_id: str) -> Locator:
        """Press *Add Connection*, choose the type and return the form."""
        self.page.get_by_role("button", name="Add Connection").click()
        form = self.page.get_by_role("dialog")
        form.get_by_label("Connection ID").fill(connection_id)
        form.get_by_role("combobox").fill("Claude")
        self.page.get_by_role("option", name="Claude Code Analytics", exact=True).click()
        return form

    def save(self, form: Locator) -> None:
        form.get_by_role("button", name="Save").click()
        expect(form).to_be_hidden()

    def connection(self, connection_id: str) -> Locator:
        """Return the Connection's row in the list."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=connection_id, exact=True))

    def test_connection(self, connection_id: str) -> Locator:
        """Press the row's test button and return the message that pops up."""
        self.connection(connection_id).get_by_role("button", name="Test Connection").click()
        message = self.page.get_by_role("status").filter(has_text="Test Connection")
        # It goes away after five seconds, but not while somebody points at it.
        message.hover()
        return message

    # Dags

    def unpause(self, dag_id: str) -> None:
        """Open a paused Dag's page and switch it on."""
        self.page.goto(f"/dags/{dag_id}")
        switch = self.page.get_by_test_id("toggle-pause").first
        expect(switch).to_have_attribute("data-state", "unchecked")
        switch.click()
        expect(switch).to_have_attribute("data-state", "checked")

    def trigger(self, run_id: str, partition_key: str) -> None:
        """Start a run by the dialog, from the Dag's page, which then shows the run."""
        self.page.get_by_role("button", name="Trigger Dag").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name="Advanced Options").click()
        dialog.get_by_label("Run ID").fill(run_id)
        dialog.get_by_label("Partition Key").fill(partition_key)
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        expect(self.page.get_by_role("heading", name=run_id)).to_be_visible()

    def expect_success(self) -> None:
        """Watch the run or task of the page until it is green."""
        badge = self.page.get_by_test_id("header-card").get_by_test_id("state-badge")
        # The run that the schedule starts when a Dag is switched on may come first.
        expect(badge).to_have_text("Success", timeout=2 * PATIENCE * 1000)

    def open_task(self, task_id: str) -> None:
        """Go from a run's page to one of its tasks."""
        self.page.get_by_role("row").get_by_role("link", name=task_id, exact=True).click()
        expect(self.page.get_by_role("heading", name=task_id)).to_be_visible()

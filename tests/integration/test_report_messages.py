"""The example sends what the report's XCom holds by mail and to chat, from any store and any worker, and no secret."""

from __future__ import annotations

import email
import email.policy
import importlib.util
import json
import threading
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from tests.fixtures.airflow import free_port

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "claude_code_report.py"
HOSTILE = "Acme <!channel> & <b>[x](https://example.com)</b>"
MADE = {
    "first_day": "2025-09-01",
    "last_day": "2025-09-07",
    "text": f"{HOSTILE}. 7 of 7 days loaded.",
    "html_table": "<table><tr><td>42</td></tr></table>",
    "link": "https://airflow.example.com/claude_code_reports/weekly/week.html",
}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Webhook:
    """A webhook that keeps what is posted to it."""

    def __init__(self) -> None:
        self.status = 200
        self.posted: list[Any] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/secret-token"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever)
    thread.start()
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps({"conn_type": "http", "password": webhook.url}))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield webhook
    webhook.server.shutdown()
    thread.join()
    webhook.server.server_close()


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    box = tmp_path / "box"
    controller = Controller(Mailbox(str(box)), "127.0.0.1", port=free_port())
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield box / "new"
    controller.stop()


def only_mail(mailbox: Path) -> EmailMessage:
    (file,) = mailbox.iterdir()
    return cast(EmailMessage, email.message_from_bytes(file.read_bytes(), policy=email.policy.default))


def body_of(mail: EmailMessage) -> str:
    body = mail.get_body()
    assert body
    return str(body.get_content())


def test_a_mail_has_the_report_attached_from_an_object_store(example: ModuleType, mailbox: Path) -> None:
    attach("memory", fs=(store := MemoryFileSystem(skip_instance_cache=True)))
    place = f"memory://{uuid.uuid4().hex}/week.html"
    store.pipe_file(place, b"<!DOCTYPE html>")
    example.send_report.function(MADE | {"report": place}, ["manager@example.com"])
    mail = only_mail(mailbox)
    assert mail["subject"] == "Claude Code from 2025-09-01 to 2025-09-07"
    (attachment,) = mail.iter_attachments()
    assert (attachment.get_filename(), attachment.get_payload(decode=True)) == ("week.html", b"<!DOCTYPE html>")
    assert MADE["html_table"] in body_of(mail)
    assert MADE["link"] in body_of(mail)
    assert "Acme &lt;!channel&gt; &amp; &lt;b&gt;" in body_of(mail)


def test_a_mail_from_another_worker_names_the_local_file(example: ModuleType, mailbox: Path) -> None:
    elsewhere = "file:///reports/on/another/worker.html"
    example.send_report.function(MADE | {"report": elsewhere, "link": ""}, ["manager@example.com"])
    mail = only_mail(mailbox)
    assert list(mail.iter_attachments()) == []
    assert elsewhere in body_of(mail)


@pytest.mark.parametrize("service", ["slack", "teams"])
def test_chat_gets_the_sentences_as_text_without_markup(example: ModuleType, webhook: Webhook, service: str) -> None:
    getattr(example, f"post_to_{service}").function(MADE, "chat")
    (posted,) = webhook.posted
    message = f"{MADE['text']}\n{MADE['link']}"
    if service == "slack":
        assert posted["blocks"] == [
            {"type": "section", "text": {"type": "plain_text", "text": message, "emoji": False}}
        ]
        assert "Acme" not in posted["text"], "this one is read as markup"
    else:
        (attachment,) = posted["attachments"]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        assert attachment["content"]["body"] == [
            {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": message}]}
        ]


@pytest.mark.parametrize("service", ["slack", "teams"])
def test_a_refusal_fails_the_task_without_the_secret(example: ModuleType, webhook: Webhook, service: str) -> None:
    webhook.status = 403
    with pytest.raises(RuntimeError, match="The webhook of the Connection chat answered 403") as caught:
        getattr(example, f"post_to_{service}").function(MADE, "chat")
    assert "secret-token" not in str(caught.value)

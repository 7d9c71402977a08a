"""
Check the loaded usage every Monday, write a report on the last week, and send it by e-mail, to Slack and to Teams.

It reads the files that ``claude_code_to_object_storage`` loads, from ``CLAUDE_CODE_PATH``, and writes the report to
``CLAUDE_CODE_REPORT_PATH``: a local file that ends with ``.html`` (by default in ``/opt/airflow/reports``), or a URL
such as ``s3://my-bucket/reports/claude_code.html``. For BigQuery, pass ``dataset_id="claude_code"`` instead of
``path``. Needs the extra ``[report]``.

The report is on the last finished week, Monday to Sunday, and compares it with the week before. The 12 weeks before it
show which changes are usual. Load them first: trigger ``claude_code_to_object_storage`` with the configuration
``{"first_day": "YYYY-MM-DD"}``, a day at most a year ago.

Each of these environment variables adds a task that sends the report. It may run on any worker, since what it sends is
in the XCom of the task that writes the report:

- ``CLAUDE_CODE_REPORT_TO``: addresses, separated by commas. The e-mail goes through the Connection ``smtp_default``.
  The report is attached if it is in an object store, where every worker can read it.
- ``CLAUDE_CODE_SLACK_CONN_ID``: a Connection whose password is the URL of an incoming webhook of Slack.
- ``CLAUDE_CODE_TEAMS_CONN_ID``: a Connection whose password is the URL of a Teams workflow that posts what it receives
  ("Post to a channel when a webhook request is received").
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import DAG, Connection, ObjectStoragePath, Param, task

from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.operators.report import ClaudeCodeReportOperator

PATH = os.environ.get("CLAUDE_CODE_PATH", "file:///tmp/claude_code")
REPORT_PATH = os.environ.get("CLAUDE_CODE_REPORT_PATH", "/opt/airflow/reports/{{ dag.dag_id }}/claude_code.html")
RECIPIENTS = [address for address in os.environ.get("CLAUDE_CODE_REPORT_TO", "").split(",") if address]
SLACK = os.environ.get("CLAUDE_CODE_SLACK_CONN_ID")
TEAMS = os.environ.get("CLAUDE_CODE_TEAMS_CONN_ID")


@task
def send_report(made: dict[str, Any], to: list[str]) -> None:
    """Send the text, the table and, from an object store, the report itself."""
    place = made["link"] or made["report"]
    body = f"<p>{escape(made['text'])}</p>{made['html_table']}<p>The report: {escape(place)}</p>"
    report = ObjectStoragePath(made["report"])
    with TemporaryDirectory() as folder, SmtpHook() as smtp:
        files = []
        # A local file is on the worker that wrote it, which may be another one.
        if report.protocol != "file":
            file = Path(folder, report.name)
            file.write_bytes(report.read_bytes())
            files.append(str(file))
        subject = f"Claude Code from {made['first_day']} to {made['last_day']}"
        smtp.send_email_smtp(to=to, subject=subject, html_content=body, files=files)


@task
def post_to_slack(made: dict[str, Any], conn_id: str) -> None:
    """Post the text as plain text, in which Slack sees neither links nor mentions."""
    text = {"type": "plain_text", "text": _message(made)[:3000], "emoji": False}
    _post(conn_id, {"text": "Claude Code report", "blocks": [{"type": "section", "text": text}]})


@task
def post_to_teams(made: dict[str, Any], conn_id: str) -> None:
    """Post the text as a card. Teams sees no Markdown in its runs of text."""
    runs = [{"type": "TextRun", "text": _message(made)}]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "RichTextBlock", "inlines": runs}]}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    _post(conn_id, {"type": "message", "attachments": [attachment]})


def _message(made: dict[str, Any]) -> str:
    return f"{made['text']}\n{made['link']}".strip()


def _post(conn_id: str, message: dict[str, Any]) -> None:
    import httpx

    response = httpx.post(str(Connection.get(conn_id).password), json=message, timeout=30)
    # Not raise_for_status(): its error contains the URL, which is a secret.
    if not response.is_success:
        raise RuntimeError(f"The webhook of the Connection {conn_id} answered {response.status_code}.")


with DAG(
    dag_id="claude_code_report",
    # On Monday morning, when Sunday is complete and loaded.
    schedule="0 6 * * 1",
    start_date=datetime(2025, 9, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Last day",
            description="The last UTC day of the report. Leave it empty for the day before the run.",
        ),
    },
    doc_md=__doc__,
    tags=["claude-code"],
):
    # A report on incomplete numbers is not sent. A report on a slow week is.
    check_usage = ClaudeCodeDataQualityOperator(
        task_id="check_usage", path=PATH, period_days=7, warn_only=["volume_drop"]
    )
    make_report = ClaudeCodeReportOperator(task_id="make_report", path=PATH, period_days=7, report_path=REPORT_PATH)
    check_usage >> make_report

    made: Any = make_report.output
    if RECIPIENTS:
        send_report(made, RECIPIENTS)
    if SLACK:
        post_to_slack(made, SLACK)
    if TEAMS:
        post_to_teams(made, TEAMS)

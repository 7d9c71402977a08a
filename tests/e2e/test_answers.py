"""Views, checks and a report in a real Airflow, and the report as a manager gets it."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.airflow import Airflow, wait_for
from tests.truth.analytics import last_day_due
from tests.truth.days import assert_bigquery_holds, days, people

LAST_DAY = last_day_due(datetime.now(UTC))
SUNDAY = LAST_DAY - timedelta(days=(LAST_DAY.weekday() + 1) % 7)
"""The end of the last week that is over."""


def load(airflow: Airflow, dag_id: str, *partition_keys: date) -> None:
    """Load days, each with the three before it."""
    for key in partition_keys:
        run_id = airflow.start_dag(dag_id, partition_key=key.isoformat())
        assert airflow.wait_for_end(dag_id, run_id) == "success", airflow.log(dag_id, run_id, "load_day")


def run(airflow: Airflow, dag_id: str, minute: int = 10) -> str:
    """Run a Dag for the newest loaded day. Each minute may be used once."""
    run_id = airflow.start_dag(dag_id, logical_date=f"{LAST_DAY + timedelta(days=1)}T00:{minute}:00Z")
    airflow.wait_for_end(dag_id, run_id)
    return run_id


def result(airflow: Airflow, dag_id: str, run_id: str, task_id: str) -> Any:
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.get(path, deserialize=True)["value"]


def mails(server: Controller) -> list[email.message.EmailMessage]:
    files = Path(server.handler.mail_dir, "new").iterdir()
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]


def test_a_week_is_checked_reported_and_mailed(airflow: Airflow, sandbox: Sandbox, mail_server: Controller) -> None:
    # The checks are of the last seven days, and the report is of the last whole week.
    load(airflow, "claude_code_to_object_storage", *(LAST_DAY - timedelta(days=before) for before in (12, 8, 4, 0)))
    run_id = run(airflow, "claude_code_report")
    assert airflow.states("claude_code_report", run_id) == dict.fromkeys(
        ("check_usage", "make_report", "send_report"), "success"
    ), airflow.log("claude_code_report", run_id, "make_report")

    week = days(SUNDAY - timedelta(days=6), 7)
    made = result(airflow, "claude_code_report", run_id, "make_report")
    assert (made["first_day"], made["last_day"]) == (str(week[0]), str(SUNDAY))
    (headline,) = made["headlines"]
    active = {actor for day in week for actor, _, _ in people(sandbox, day) if "@" in actor}
    assert headline["sessions"] == sum(sessions for day in week for _, sessions, _ in people(sandbox, day).elements())
    assert 0 < headline["active_people"] <= len(active)

    html = airflow.report.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert f"{headline['active_people']:,}" in html
    (mail,) = mails(mail_server)
    assert mail["to"] == "manager@example.com"
    assert mail["subject"] == f"Claude Code from {week[0]} to {SUNDAY}"
    assert list(mail.iter_attachments()) == [], "a local file need not be on the worker that sends the mail"
    body = mail.get_body()
    assert body
    assert made["html_table"] in body.get_content()
    assert made["text"].split(", ")[0] in body.get_content()

    links = airflow.get(f"dags/claude_code_report/dagRuns/{run_id}/taskInstances/make_report/links")["extra_links"]
    assert links["Report"] == made["link"] == f"{airflow.url}/claude_code_reports/claude_code_report/claude_code.html"
    assert airflow.http.get(made["link"]).text == html
    assert made["text"] in airflow.log("claude_code_report", run_id, "make_report")
    told = str([made, *(airflow.log("claude_code_report", run_id, task) for task in ("check_usage", "make_report"))])
    assert not [actor for actor in active if actor in told or actor in html]


def test_a_missing_day_fails_the_checks_and_nothing_is_sent(airflow: Airflow, mail_server: Controller) -> None:
    before = len(mails(mail_server))
    missing = LAST_DAY - timedelta(days=2)
    hidden = airflow.files / "loads" / f"dt={missing}"
    hidden.rename(hidden.with_name("hidden"))
    try:
        run_id = run(airflow, "claude_code_report", minute=20)
    finally:
        hidden.with_name("hidden").rename(hidden)
    assert airflow.states("claude_code_report", run_id) == {
        "check_usage": "failed",
        "make_report": "upstream_failed",
        "send_report": "upstream_failed",
    }
    assert airflow.task_instances("claude_code_report", run_id)["check_usage"]["try_number"] == 1
    assert f"missing_days: {missing}" in airflow.log("claude_code_report", run_id, "check_usage")
    assert len(mails(mail_server)) == before


def test_views_are_created_and_say_what_the_api_said(airflow: Airflow, sandbox: Sandbox, client: Client) -> None:
    load(airflow, "claude_code_to_bigquery", SUNDAY)
    assert_bigquery_holds(client, sandbox, [SUNDAY])
    dag_id = "claude_code_bigquery_views"
    run_id = run(airflow, dag_id)
    assert airflow.states(dag_id, run_id) == {"create_views": "success"}, airflow.log(dag_id, run_id, "create_views")
    views = result(airflow, dag_id, run_id, "create_views")["models"]
    assert len(views) == 12
    (row,) = client.query_and_wait(f"SELECT * FROM {views['daily_activity']} WHERE date = '{SUNDAY}'")
    assert row["sessions"] == sum(sessions for _, sessions, _ in people(sandbox, SUNDAY).elements())
    # The cost of a Sunday may be that of few people, and is withheld then; that of the week is not.
    week = SUNDAY - timedelta(days=6)
    loaded = client.query_and_wait(
        f"SELECT DISTINCT date FROM claude_code.claude_code_usage WHERE date BETWEEN '{week}' AND '{SUNDAY}'"
    )
    cents = sum(cents for day in loaded for _, _, cents in people(sandbox, day["date"]).elements())
    amounts = client.query_and_wait(f"SELECT amount_usd FROM {views['cost_allocation']} WHERE period_start = '{week}'")
    assert sum(row["amount_usd"] for row in amounts) * 100 == cents
    links = airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/create_views/links")["extra_links"]
    assert links["BigQuery Dataset"].endswith("p=demo-proj&d=claude_code&page=dataset")


def test_a_load_starts_the_dag_that_computes_the_tables_of_the_dashboard(airflow: Airflow, client: Client) -> None:
    dag_id = "claude_code_bigquery_dashboard_tables"
    airflow.unpause(dag_id)
    # No other test loads it: its event is the only one.
    thursday = SUNDAY - timedelta(days=3)
    load(airflow, "claude_code_to_bigquery", thursday)
    (run_id,) = wait_for(
        "the run of the tables",
        lambda: [run["dag_run_id"] for run in airflow.runs(dag_id) if run["partition_key"] == str(thursday)],
    )
    assert airflow.wait_for_end(dag_id, run_id) == "success", airflow.log(dag_id, run_id, "create_tables")
    assert "TriggerEvent" in airflow.log(dag_id, run_id, "create_tables"), "it waited in the triggerer"
    tables = result(airflow, dag_id, run_id, "create_tables")["models"]
    assert set(tables) == {"adoption", "cost_allocation", "daily_activity"}
    for name, table in tables.items():
        assert client.get_table(table).table_type == "TABLE"
        shown, computed = (
            sorted(map(repr, client.query_and_wait(f"SELECT * FROM claude_code.{prefix}{name}")))
            for prefix in ("claude_code_", "claude_code_dashboard_")
        )
        assert shown
        assert shown == computed

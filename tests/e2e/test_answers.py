"""Views, checks and a report in a real Airflow, and the report as a manager gets it."""

from __future__ import annotations

import email
import email.policy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sandbox.demo import last_complete_days
from tests.e2e.airflow import Airflow
from tests.e2e.truth import assert_bigquery_holds, days, people

(LAST_DAY,) = last_complete_days(1)


def load(airflow: Airflow, dag_id: str, *partition_keys: date) -> None:
    """Load days, each with the three before it."""
    for key in partition_keys:
        run_id = airflow.start_dag(dag_id, partition_key=key.isoformat())
        assert airflow.wait_for_end(dag_id, run_id) == "success", airflow.log(dag_id, run_id, "load_day")


def run(airflow: Airflow, dag_id: str, minute: int = 10) -> str:
    """Run a Dag for the day that is loaded last; a minute may be used once."""
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
    load(airflow, "claude_code_to_object_storage", LAST_DAY - timedelta(days=4), LAST_DAY)
    run_id = run(airflow, "claude_code_report")
    assert airflow.states("claude_code_report", run_id) == dict.fromkeys(
        ("check_usage", "make_report", "send_report"), "success"
    ), airflow.log("claude_code_report", run_id, "make_report")

    week = days(LAST_DAY - timedelta(days=6), 7)
    made = result(airflow, "claude_code_report", run_id, "make_report")
    assert (made["first_day"], made["last_day"]) == (str(week[0]), str(LAST_DAY))
    (headline,) = made["headlines"]
    active = {actor for day in week for actor, _, _ in people(sandbox, day) if "@" in actor}
    assert headline["sessions"] == sum(sessions for day in week for _, sessions, _ in people(sandbox, day).elements())
    assert 0 < headline["active_people"] <= len(active)

    html = airflow.report.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert f"{headline['active_people']:,}" in html
    (mail,) = mails(mail_server)
    assert mail["to"] == "manager@example.com"
    assert mail["subject"] == f"Claude Code from {week[0]} to {LAST_DAY}"
    (attachment,) = mail.iter_attachments()
    assert attachment.get_filename() == airflow.report.name
    assert attachment.get_payload(decode=True) == airflow.report.read_bytes()

    links = airflow.get(f"dags/claude_code_report/dagRuns/{run_id}/taskInstances/make_report/links")["extra_links"]
    assert links["Report"] == f"file://{airflow.report}"
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
    load(airflow, "claude_code_to_bigquery", LAST_DAY)
    assert_bigquery_holds(client, sandbox, [LAST_DAY])
    dag_id = "claude_code_bigquery_views"
    run_id = run(airflow, dag_id)
    assert airflow.states(dag_id, run_id) == {"create_views": "success"}, airflow.log(dag_id, run_id, "create_views")
    views = result(airflow, dag_id, run_id, "create_views")["views"]
    assert len(views) == 10
    (row,) = client.query_and_wait(f"SELECT * FROM {views['daily_activity']} WHERE date = '{LAST_DAY}'")
    counted = list(people(sandbox, LAST_DAY).elements())
    assert row["sessions"] == sum(sessions for _, sessions, _ in counted)
    cents = sum(cents for _, _, cents in counted)
    assert (row["api_cost_usd"] + row["subscription_value_usd"]) * 100 == cents
    links = airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/create_views/links")["extra_links"]
    assert links["BigQuery Dataset"].endswith("p=demo-proj&d=claude_code&page=dataset")

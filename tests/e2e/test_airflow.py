"""What people and a scheduler see, in a real Airflow."""

from __future__ import annotations

import json
from datetime import date, timedelta
from importlib.metadata import version

import pytest
from google.cloud.bigquery import Client

from airflow_provider_claude_code.sandbox import Sandbox
from tests.fixtures.airflow import Airflow, wait_for
from tests.fixtures.airflow_version import AIRFLOW
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.truth.days import assert_bigquery_holds, assert_files_hold, days

pytestmark = pytest.mark.each_airflow

DAY = date(2025, 9, 10)


# One process for several commands, of which each takes ten seconds to begin.
PRINT_PROVIDERS = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser

parser = get_parser()
printed = {}
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        arguments = parser.parse_args(["providers", *command.split(), "--output", "json"])
        arguments.func(arguments)
    printed[command] = json.loads(output.getvalue())
print(json.dumps(printed))
"""


def test_airflow_lists_the_provider_with_all_its_parts(airflow: Airflow) -> None:
    commands = ["list", "get airflow-provider-claude-code --full", "hooks", "behaviours", "links", "triggers"]
    printed = airflow.python("-c", PRINT_PROVIDERS, *commands).splitlines()[-1]
    listed, (full,), hooks, behaviours, links, triggers = json.loads(printed).values()
    (provider,) = (row for row in listed if row["package_name"] == "airflow-provider-claude-code")
    assert provider["version"] == version("airflow-provider-claude-code")
    assert "BigQuery" in provider["description"]
    assert full["package-name"] == "airflow-provider-claude-code"
    hook_names = {hook["connection_type"]: hook["hook_name"] for hook in hooks}
    assert hook_names["claude_code"] == "Claude Code Analytics"
    if AIRFLOW >= (3, 2):  # Before it, the command may list none of any provider; the form itself is looked at below.
        assert "claude_code" in {row["field_behaviours"] for row in behaviours}
    assert {
        row["extra_link_class_name"].rsplit(".", 1)[1] for row in links if "claude_code" in row["extra_link_class_name"]
    } == {"BigQueryTableLink", "BigQueryJobLink", "BigQueryDatasetLink", "GCSFolderLink", "ClaudeCodeReportLink"}
    assert {row["class"] for row in triggers if row["package_name"] == "airflow-provider-claude-code"} == {
        "airflow_provider_claude_code.triggers.freshness",
        "airflow_provider_claude_code.triggers.bigquery",
    }


def test_the_installed_wheel_is_what_is_tested(airflow: Airflow) -> None:
    where = airflow.python("-c", "import airflow_provider_claude_code as package; print(package.__file__)")
    assert "site-packages" in where


def test_the_connection_form_is_drawn_from_the_metadata(airflow: Airflow) -> None:
    metas = airflow.http.get("/ui/connections/hook_meta").raise_for_status().json()
    (meta,) = (meta for meta in metas if meta["connection_type"] == "claude_code")
    assert meta["hook_name"] == "Claude Code Analytics"
    assert meta["standard_fields"]["password"]["title"] == "Admin API key (required)"
    assert meta["standard_fields"]["host"]["placeholder"] == "https://api.anthropic.com"
    assert meta["standard_fields"]["login"]["hidden"]
    page_limit = meta["extra_fields"]["page_limit"]
    assert page_limit["value"] == 1000
    assert meta["extra_fields"]["pseudonym_secret"]["schema"]["format"] == "password"
    if AIRFLOW >= (3, 2):
        assert (page_limit["schema"]["minimum"], page_limit["schema"]["maximum"]) == (1, 1000)


@pytest.mark.parametrize(
    ("password", "works", "says"),
    [
        ("sk-ant-admin01-sandbox", True, "belongs to the organisation Sandbox"),
        ("sk-ant-api03-standard", False, "standard API key"),
        ("sk-ant-admin01-unknown", False, "401"),
    ],
)
def test_the_test_button_says_whose_key_it_is_or_what_is_wrong(
    airflow: Airflow, sandbox: Sandbox, password: str, works: bool, says: str
) -> None:
    connection = {"connection_id": "new", "conn_type": "claude_code", "host": sandbox.base_url, "password": password}
    answer = airflow.http.post("/api/v2/connections/test", json=connection).raise_for_status().json()
    assert answer["status"] is works
    assert says in answer["message"]
    assert password not in answer["message"]


def test_the_example_dag_loads_the_day_of_its_run(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id = airflow.start_day("claude_code_to_object_storage", DAY)
    assert airflow.wait_for_end("claude_code_to_object_storage", run_id) == "success", airflow.log(
        "claude_code_to_object_storage", run_id, "load_day"
    )
    for day in days(DAY - timedelta(days=3), 4):
        assert_files_hold(airflow.files, sandbox, day)
    events = airflow.get("assets/events", source_dag_id="claude_code_to_object_storage")["asset_events"]
    (event,) = (event for event in events if event["source_run_id"] == run_id)
    if AIRFLOW >= (3, 2):
        assert event["partition_key"] == DAY.isoformat()
    assert event["extra"]["days"][-1]["day"] == DAY.isoformat()
    assert isinstance(event["extra"]["days"][-1]["estimated_cost_cents"], str)
    log = airflow.log("claude_code_to_object_storage", run_id, "load_day")
    assert sandbox.api_key not in log
    assert "@example.com" not in log


def test_the_bigquery_example_waits_for_its_jobs_in_the_triggerer_and_starts_its_consumer(
    airflow: Airflow, sandbox: Sandbox, bigquery: BigQueryServer, client: Client
) -> None:
    run_id = airflow.start_day("claude_code_to_bigquery", DAY)
    airflow.unpause("claude_code_usage_is_new")
    assert airflow.wait_for_end("claude_code_to_bigquery", run_id) == "success", airflow.log(
        "claude_code_to_bigquery", run_id, "load_day"
    )
    assert_bigquery_holds(client, sandbox, days(DAY - timedelta(days=3), 4))
    links = airflow.get(f"dags/claude_code_to_bigquery/dagRuns/{run_id}/taskInstances/load_day/links")["extra_links"]
    assert links["BigQuery Table"].endswith("p=demo-proj&d=claude_code&t=claude_code_usage&page=table")
    assert bigquery.jobs[0].id.startswith("claude_code_")
    assert "j=bq:US:claude_code_" in links["BigQuery Job"]
    consumer = wait_for(
        "the consumer's run",
        lambda: [
            run["dag_run_id"]
            for run in airflow.runs("claude_code_usage_is_new")
            if AIRFLOW < (3, 2) or run["partition_key"] == DAY.isoformat()
        ],
    )[0]
    assert airflow.wait_for_end("claude_code_usage_is_new", consumer) == "success"
    assert DAY.isoformat() in airflow.log("claude_code_usage_is_new", consumer, "tell_what_is_new")


def test_dags_test_loads_the_day_before_its_date(airflow: Airflow, sandbox: Sandbox) -> None:
    day = date(2025, 10, 15)
    # The scheduler would take the tasks of this run, too, from an unpaused Dag.
    airflow.pause("claude_code_to_object_storage")
    airflow.cli("dags", "test", "claude_code_to_object_storage", (day + timedelta(days=1)).isoformat())
    assert_files_hold(airflow.files, sandbox, day)


def test_sensors_wait_in_the_triggerer_until_a_record_arrives(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.records = lambda day, now: []
    try:
        run_id = airflow.start_dag("waits_for_records", conf={"day": DAY.isoformat()})
        wait_for(
            "both sensors to be deferred",
            lambda: set(airflow.states("waits_for_records", run_id).values()) == {"deferred"},
        )
        asked = len(sandbox.requests)
        wait_for("the triggerer to ask again", lambda: len(sandbox.requests) > asked + 20)
        assert set(airflow.states("waits_for_records", run_id).values()) == {"deferred"}
    finally:
        sandbox.records = None
    assert airflow.wait_for_end("waits_for_records", run_id) == "success"
    asked_days = {dict(request.params).get("starting_at") for request in sandbox.requests[asked:]}
    assert DAY.isoformat() in asked_days, "the triggerer rendered the template"


def test_a_past_day_succeeds_without_the_triggerer(airflow: Airflow) -> None:
    run_id = airflow.start_dag("needs_no_wait")
    assert airflow.wait_for_end("needs_no_wait", run_id) == "success"
    instances = airflow.task_instances("needs_no_wait", run_id)
    assert set(instances) == {"past_day", "mapped[0]", "mapped[1]"}
    for task_id in instances:
        if "[" not in task_id:
            assert "deferr" not in airflow.log("needs_no_wait", run_id, task_id).lower()


def test_a_sensor_that_waits_too_long_fails_once_or_is_skipped(airflow: Airflow) -> None:
    run_id = airflow.start_dag("waits_too_long")
    assert airflow.wait_for_end("waits_too_long", run_id) == "failed"
    instances = airflow.task_instances("waits_too_long", run_id)
    assert {task: ti["state"] for task, ti in instances.items()} == {
        "deferred": "failed",
        "deferred_softly": "skipped",
        "rescheduled": "failed",
        # A limit of each try, which is no quiet day.
        "deferred_until_the_execution_timeout": "failed",
    }
    assert instances["deferred"]["try_number"] == 1, "a timeout is no reason to retry"


def test_a_day_that_is_none_fails_at_once_and_a_missing_connection_after_the_retries(airflow: Airflow) -> None:
    run_id = airflow.start_dag("is_refused", conf={"day": "2025-02-30"})
    assert airflow.wait_for_end("is_refused", run_id) == "failed"
    for task, came in (("nonsense", "'None'"), ("nonsense_in_the_triggerer", "'2025-02-30'")):
        instance = airflow.task_instances("is_refused", run_id)[task]
        assert instance["state"] == "failed"
        assert instance["try_number"] == 1, "no retry can fix it"
        assert came in airflow.log("is_refused", run_id, task).replace("\\'", "'")
    for mode in ("poke", "reschedule", "deferrable", "from_trigger"):
        instance = airflow.task_instances("is_refused", run_id)[f"no_connection_{mode}"]
        assert (instance["state"], instance["try_number"]) == ("failed", 2), mode
        log = airflow.log("is_refused", run_id, f"no_connection_{mode}").replace("\\'", "'")
        assert "Airflow finds no Connection 'nowhere'" in log


def test_what_the_triggerer_cannot_render_goes_through_a_worker(airflow: Airflow) -> None:
    run_id = airflow.start_dag("is_not_rendered_in_the_triggerer", conf={"day": DAY.isoformat()})
    assert airflow.wait_for_end("is_not_rendered_in_the_triggerer", run_id) == "success"
    assert len(airflow.task_instances("is_not_rendered_in_the_triggerer", run_id)) == 6


def test_runs_in_another_time_zone_load_the_days_before_their_local_dates(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.requests.clear()
    airflow.unpause("runs_in_tokyo")
    runs = wait_for(
        "all runs of the past", lambda: len(runs := airflow.runs("runs_in_tokyo", state="success")) == 2 and runs
    )
    assert {run["run_after"][:13] for run in runs} == {"2025-09-20T15", "2025-09-21T15"}
    # At midnight of the 21st and the 22nd there.
    for day in days(date(2025, 9, 20), 2):
        assert_files_hold(airflow.files / "tokyo", sandbox, day)
    questions = [dict(request.params) for request in sandbox.requests if request.path.endswith("/claude_code")]
    asked = {question.get("limit"): question["starting_at"] for question in questions}
    assert {path.name for path in (airflow.files / "tokyo/usage").iterdir()} == {"dt=2025-09-20", "dt=2025-09-21"}
    assert asked["1"] in ("2025-09-20", "2025-09-21"), "the triggerer renders the same day"

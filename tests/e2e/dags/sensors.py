"""The freshness sensor in the modes that need a real triggerer."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task, task_group

try:
    from airflow.sdk import CronTriggerTimetable
except ImportError:  # before Airflow 3.2
    from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator

START = datetime(2025, 9, 1, tzinfo=UTC)
PAST_DAY = "2025-09-01"
FUTURE_DAY = "2099-01-01"

with DAG("waits_for_records", schedule=None, start_date=START) as waits_for_records:
    ClaudeCodeFreshnessSensor(
        task_id="deferred_by_a_worker", day=PAST_DAY, require_records=True, deferrable=True, poke_interval=1
    )
    ClaudeCodeFreshnessSensor(
        task_id="started_in_the_triggerer",
        day="{{ dag_run.conf['day'] }}",
        require_records=True,
        start_from_trigger=True,
        poke_interval=1,
    )

with DAG("needs_no_wait", schedule=None, start_date=START) as needs_no_wait:
    ClaudeCodeFreshnessSensor(task_id="past_day", day=PAST_DAY, deferrable=True)
    ClaudeCodeFreshnessSensor.partial(task_id="mapped", deferrable=True).expand(day=["2025-09-01", "2025-09-02"])

with DAG("waits_too_long", schedule=None, start_date=START) as waits_too_long:
    ClaudeCodeFreshnessSensor(
        task_id="deferred", day=FUTURE_DAY, deferrable=True, timeout=timedelta(seconds=10), retries=2
    )
    ClaudeCodeFreshnessSensor(
        task_id="deferred_softly", day=FUTURE_DAY, deferrable=True, timeout=timedelta(seconds=10), soft_fail=True
    )
    ClaudeCodeFreshnessSensor(
        task_id="rescheduled", day=FUTURE_DAY, mode="reschedule", poke_interval=1, timeout=timedelta(seconds=10)
    )

    ClaudeCodeFreshnessSensor(
        task_id="deferred_until_the_execution_timeout",
        day=FUTURE_DAY,
        deferrable=True,
        soft_fail=True,
        execution_timeout=timedelta(seconds=10),
    )

with DAG("is_refused", schedule=None, start_date=START) as is_refused:
    ClaudeCodeFreshnessSensor(task_id="nonsense", day="{{ none }}", deferrable=True, retries=2)
    ClaudeCodeFreshnessSensor(
        task_id="nonsense_in_the_triggerer", day="{{ dag_run.conf['day'] }}", start_from_trigger=True, retries=2
    )
    for name, mode in {
        "poke": {},
        "reschedule": {"mode": "reschedule"},
        "deferrable": {"deferrable": True},
        "from_trigger": {"start_from_trigger": True},
    }.items():
        ClaudeCodeFreshnessSensor(
            task_id=f"no_connection_{name}",
            day=PAST_DAY,
            require_records=True,
            claude_code_conn_id="nowhere",
            soft_fail=True,
            retries=1,
            retry_delay=timedelta(seconds=1),
            **mode,
        )


def day_of(conf):
    """Return the day, as a macro of the Dag."""
    return conf["day"]


with DAG("is_not_rendered_in_the_triggerer", schedule=None, start_date=START, user_defined_macros={"day_of": day_of}):

    @task
    def a_day():
        """Return a day that is over."""
        return PAST_DAY

    given = a_day()
    ClaudeCodeFreshnessSensor(task_id="result", day=given, start_from_trigger=True)
    given >> ClaudeCodeFreshnessSensor(
        task_id="xcom", day="{{ ti.xcom_pull(task_ids='a_day') }}", start_from_trigger=True
    )
    ClaudeCodeFreshnessSensor(task_id="own_macro", day="{{ day_of(dag_run.conf) }}", start_from_trigger=True)

    @task_group
    def group(day):
        """Wait for a day that is the group's argument."""
        ClaudeCodeFreshnessSensor(task_id="mapped", day=day, start_from_trigger=True)

    group.expand(day=["2025-09-01", "2025-09-02"])

with DAG(
    "runs_in_tokyo",
    # Its midnight is 15:00 UTC of the day before.
    schedule=CronTriggerTimetable("0 0 * * *", timezone="Asia/Tokyo"),
    start_date=datetime(2025, 9, 20, tzinfo=UTC),
    end_date=datetime(2025, 9, 22, tzinfo=UTC),
    catchup=True,
):
    ClaudeCodeFreshnessSensor(
        task_id="started_in_the_triggerer", require_records=True, start_from_trigger=True
    ) >> ClaudeCodeToObjectStorageOperator(task_id="load_day", path=f"{os.environ['CLAUDE_CODE_PATH']}/tokyo")

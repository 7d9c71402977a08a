"""The freshness sensor in the modes that need a real triggerer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor

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

with DAG("is_refused", schedule=None, start_date=START) as is_refused:
    ClaudeCodeFreshnessSensor(task_id="nonsense", day="{{ none }}", deferrable=True, retries=2)
    ClaudeCodeFreshnessSensor(
        task_id="nonsense_in_the_triggerer", day="{{ dag_run.conf['day'] }}", start_from_trigger=True, retries=2
    )

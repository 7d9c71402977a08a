"""The freshness sensor and its trigger, without an Airflow around them; tests/e2e sees them in a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG, task
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.bases.sensor import AirflowRescheduleException
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.triggers.base import TriggerEvent

from airflow_provider_claude_code.days import DEFAULT_DAY
from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodeMissingConnectionError,
)
from airflow_provider_claude_code.sandbox import Faults, Sandbox
from airflow_provider_claude_code.sensors import freshness
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.triggers.freshness import ClaudeCodeFreshnessTrigger
from airflow_provider_claude_code.version_compat import AirflowFailException, AirflowSkipException, TaskDeferralError
from tests.fixtures.airflow_version import AirflowSensorTimeout, TaskDeferred, needs_airflow_3_3
from tests.fixtures.serving import connect_to

PAST_DAY = "2025-09-02"
FUTURE_DAY = "2099-01-01"


class NoReschedulesYet:
    """The part of a task instance that rescheduling asks for."""

    @staticmethod
    def get_first_reschedule_date(context: Any) -> datetime | None:
        return None


CONTEXT: Any = {"ti": NoReschedulesYet()}


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Connection with a key, and no API behind it."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_CLAUDE_CODE_DEFAULT",
        json.dumps({"conn_type": "claude_code", "host": "http://127.0.0.1:9", "password": "sk-ant-admin01-x"}),
    )


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(users=20) as sandbox:
        connect_to(sandbox, monkeypatch, retry_budget=0)
        yield sandbox


def sensor(**arguments: Any) -> ClaudeCodeFreshnessSensor:
    return ClaudeCodeFreshnessSensor(task_id="wait", **arguments)


def run(trigger: ClaudeCodeFreshnessTrigger, timeout: float = 30) -> dict[str, Any]:
    """Return the payload of the trigger's one event."""

    async def events() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(asyncio.wait_for(events(), timeout=timeout))
    payload: dict[str, Any] = event.payload
    return payload


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "2025-09-02 has been complete since 2025-09-03 01:00 UTC"),
        ({"freshness_delay": timedelta(hours=30)}, "2025-09-02 has been complete since 2025-09-04 06:00 UTC"),
        (
            {"require_records": True},
            "2025-09-02 has been complete since 2025-09-03 01:00 UTC, and the API has records of it",
        ),
    ],
)
@pytest.mark.parametrize("deferred", [False, True])
def test_the_log_says_that_a_day_is_complete_and_since_when(
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, Any],
    told: str,
    deferred: bool,
) -> None:
    waiting = sensor(day=PAST_DAY, **arguments)
    if deferred:
        waiting.execute_complete(CONTEXT, {"status": "success"})
    else:
        waiting.execute(CONTEXT)
    lines = (caplog.text + capsys.readouterr().out).splitlines()
    assert [line for line in lines if f"{told} [" in line or line.endswith(told)]


def test_the_log_says_from_when_on_a_day_will_be_complete(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not sensor(day=FUTURE_DAY).poke(CONTEXT)
    assert "2099-01-01 will be complete at 2099-01-02 01:00 UTC" in caplog.text + capsys.readouterr().out


@pytest.mark.parametrize("arguments", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}])
def test_a_past_day_succeeds_at_once_without_asking_the_api(arguments: dict[str, Any]) -> None:
    # Nothing answers where the Connection leads.
    assert sensor(day=PAST_DAY, **arguments).execute(CONTEXT) is None


@pytest.mark.parametrize(
    ("since_end", "ready"), [(timedelta(minutes=59, seconds=50), False), (timedelta(hours=1, seconds=1), True)]
)
def test_a_day_is_complete_an_hour_after_it_ends_in_utc(
    monkeypatch: pytest.MonkeyPatch, since_end: timedelta, ready: bool
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return (datetime(2025, 9, 3, tzinfo=UTC) + since_end).astimezone(tz)

    monkeypatch.setattr(freshness, "datetime", Clock)
    assert sensor(day=PAST_DAY).poke(CONTEXT) is ready


def test_a_day_in_the_future_waits_in_every_mode() -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(day=FUTURE_DAY, timeout=0, poke_interval=0).execute(CONTEXT)
    with pytest.raises(AirflowRescheduleException):
        sensor(day=FUTURE_DAY, mode="reschedule").execute(CONTEXT)
    with pytest.raises(TaskDeferred):
        sensor(day=FUTURE_DAY, deferrable=True).execute(CONTEXT)


def test_a_deferral_carries_the_timeout_and_what_to_wait_for() -> None:
    with pytest.raises(TaskDeferred) as deferral:
        sensor(
            day=FUTURE_DAY, deferrable=True, timeout=90, freshness_delay=timedelta(hours=3), poke_interval=7
        ).execute(CONTEXT)
    assert deferral.value.timeout == timedelta(seconds=90)
    assert deferral.value.trigger.serialize() == (
        "airflow_provider_claude_code.triggers.freshness.ClaudeCodeFreshnessTrigger",
        {
            "day": FUTURE_DAY,
            "claude_code_conn_id": "claude_code_default",
            "freshness_delay": timedelta(hours=3),
            "require_records": False,
            "stream": "usage",
            "poke_interval": 7,
            "silent_fail": False,
        },
    )


@pytest.mark.parametrize("day", [pendulum.date(2099, 1, 1), pendulum.datetime(2099, 1, 1), "2099-01-01T00:00:00"])
def test_a_deferral_carries_text_whatever_named_the_day(day: Any) -> None:
    with pytest.raises(TaskDeferred) as deferral:
        sensor(day=day, deferrable=True).execute(CONTEXT)
    assert deferral.value.trigger.day == FUTURE_DAY


@pytest.mark.parametrize("delay", [timedelta(minutes=15), timedelta(minutes=59, seconds=59), -timedelta(hours=2), 3600])
def test_a_sensor_does_not_end_before_the_loaders_take_the_day(delay: Any) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"freshness_delay is .*at least 1:00:00"):
        sensor(day=PAST_DAY, freshness_delay=delay)


@pytest.mark.parametrize("day", ["None", "2025-02-30", "", "20250902", "2025-9-2"])
def test_nonsense_fails_without_retry_and_says_what_came(day: str) -> None:
    for deferrable in (False, True):
        with pytest.raises(AirflowFailException, match="day is") as failure:
            sensor(day=day, deferrable=deferrable).execute(CONTEXT)
        assert repr(day) in str(failure.value)
    event = run(ClaudeCodeFreshnessTrigger(day=day))
    assert event["status"] == "error"
    assert event["retryable"] is False
    assert repr(day) in event["message"]


def test_require_records_waits_until_the_api_has_one(sandbox: Sandbox) -> None:
    sandbox.records = lambda day, now: []
    waiting = sensor(day=PAST_DAY, require_records=True)
    assert waiting.poke(CONTEXT) is False
    sandbox.records = None
    assert waiting.poke(CONTEXT) is True
    assert {dict(request.params)["limit"] for request in sandbox.requests} == {"1"}


def test_the_trigger_waits_until_the_api_has_a_record(sandbox: Sandbox) -> None:
    truth = sandbox.organization.records(date.fromisoformat(PAST_DAY), datetime.now(UTC))
    answers = iter([[], [], truth])
    sandbox.records = lambda day, now: next(answers)
    trigger = ClaudeCodeFreshnessTrigger(day=PAST_DAY, require_records=True, poke_interval=0)
    assert run(trigger) == {"status": "success"}
    assert len(sandbox.requests) == 3


def replace_the_key(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Replace the key by one that is told apart, since the sandbox refuses it."""
    connect_to(sandbox, monkeypatch, "sk-ant-admin01-another")


def test_each_poke_uses_the_key_that_the_connection_has_then(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.records = lambda day, now: []
    waiting = sensor(day=PAST_DAY, require_records=True)
    assert waiting.poke(CONTEXT) is False
    replace_the_key(monkeypatch, sandbox)
    with pytest.raises(AirflowFailException, match="401"):
        waiting.poke(CONTEXT)


def test_each_look_of_the_trigger_uses_the_key_that_the_connection_has_then(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_yet(day: date, now: datetime) -> list[Any]:
        replace_the_key(monkeypatch, sandbox)
        sandbox.records = None
        return []

    sandbox.records = none_yet
    event = run(ClaudeCodeFreshnessTrigger(day=PAST_DAY, require_records=True, poke_interval=0))
    assert event["status"] == "error"
    assert "401" in event["message"]


@pytest.mark.parametrize("no_proxy", ["127.0.0.1,::1/128", "[::1]"])
def test_the_trigger_works_where_container_tools_set_no_proxy(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert run(ClaudeCodeFreshnessTrigger(PAST_DAY, require_records=True)) == {"status": "success"}


@pytest.mark.parametrize(
    ("host", "proxy"),
    [("https://api.anthropic.com\u200b", ""), ("https://a..b", ""), ("https://192.0.2.1", "http://u:12x?CANARY@proxy")],
)
def test_the_trigger_ends_with_an_event_whatever_the_urls_are(
    monkeypatch: pytest.MonkeyPatch, host: str, proxy: str
) -> None:
    connection = {"conn_type": "claude_code", "host": host, "password": "key"}
    monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    event = run(ClaudeCodeFreshnessTrigger(PAST_DAY, require_records=True))

    assert (event["status"], event["retryable"]) == ("error", False)
    assert "CANARY" not in event["message"]


def test_the_trigger_fires_once_the_moment_has_come() -> None:
    """The day ended, by its delay, a moment from now: the trigger sleeps that long, and no longer."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    midnight = datetime.combine(yesterday, datetime.min.time(), UTC) + timedelta(days=1)
    moment = datetime.now(UTC) + timedelta(seconds=0.5)
    assert run(ClaudeCodeFreshnessTrigger(day=str(yesterday), freshness_delay=moment - midnight))["status"] == "success"
    assert datetime.now(UTC) >= moment


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (529, True)])
def test_an_error_in_the_triggerer_is_reported_with_whether_a_retry_may_help(
    sandbox: Sandbox, status: int, retryable: bool
) -> None:
    sandbox.faults = Faults(status=status)
    event = run(ClaudeCodeFreshnessTrigger(day=PAST_DAY, require_records=True))
    assert (event["status"], event["retryable"]) == ("error", retryable)
    assert str(status) in event["message"]
    assert sandbox.api_key not in event["message"]
    with pytest.raises(ClaudeCodeError if retryable else AirflowFailException, match=str(status)):
        sensor(day=PAST_DAY).execute_complete({}, event)


MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "first look of a deferrable sensor": {"deferrable": True},
    "triggerer": {"deferrable": True},
}
WAITS = (AirflowRescheduleException, AirflowSensorTimeout, TaskDeferred, TimeoutError)


def ending(mode: str, **arguments: Any) -> str:
    """Tell how a sensor that waits for a record ends."""
    arguments = {"day": PAST_DAY, "require_records": True, "timeout": 0, "poke_interval": 0} | arguments
    waiting = sensor(**MODES[mode], **arguments)
    try:
        if mode == "triggerer":
            # Long enough for one answer on a busy machine; only what waits takes all of it.
            event = run(waiting._trigger(waiting.day), timeout=5)
            waiting.resume_execution("execute_complete", {"event": event}, CONTEXT)
        else:
            waiting.execute(CONTEXT)
    except WAITS:
        return "waits"
    except (AirflowFailException, AirflowSkipException) as error:
        return type(error).__name__
    except ClaudeCodeError:
        return "may be tried again"
    return "succeeds"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}, {"never_fail": True}, {"silent_fail": True}], ids=str)
class TestAnErrorEndsTheTaskInTheSameWayInEveryMode:
    @pytest.mark.parametrize("status", [401, 403, 400])
    def test_a_refusal_fails_it_without_a_retry(
        self, sandbox: Sandbox, mode: str, flag: dict[str, bool], status: int
    ) -> None:
        sandbox.faults = Faults(status=status)
        assert ending(mode, **flag) == "AirflowFailException"

    def test_a_wrong_argument_fails_it_without_a_retry(
        self, sandbox: Sandbox, mode: str, flag: dict[str, bool]
    ) -> None:
        assert ending(mode, **flag, day="None") == "AirflowFailException"

    @pytest.mark.parametrize("trouble", ["of the API", "of the place where Airflow finds Connections"])
    def test_trouble_is_for_a_retry_or_what_the_flag_says(
        self, sandbox: Sandbox, mode: str, flag: dict[str, bool], trouble: str
    ) -> None:
        if trouble == "of the API":
            sandbox.faults = Faults(status=529)
            arguments: dict[str, str] = {}
        else:
            arguments = {"claude_code_conn_id": "nowhere"}
        expected = {"never_fail": "AirflowSkipException", "silent_fail": "waits"}
        assert ending(mode, **flag, **arguments) == expected.get("".join(flag), "may be tried again")


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_connection_is_named(mode: str) -> None:
    arguments: dict[str, Any] = {"day": PAST_DAY, "require_records": True, "claude_code_conn_id": "nowhere"}
    waiting = sensor(**MODES[mode], **arguments)
    with pytest.raises(
        ClaudeCodeError, match=r"Airflow finds no Connection 'nowhere'\. .* airflow connections add nowhere"
    ):
        waiting.execute_complete({}, run(waiting._trigger(PAST_DAY))) if mode == "triggerer" else waiting.execute(
            CONTEXT
        )


@pytest.mark.parametrize("soft_fail", [False, True])
def test_the_end_of_a_deferral_is_that_of_the_shorter_limit(soft_fail: bool) -> None:
    def ended(**limits: timedelta) -> str:
        waiting = sensor(day=FUTURE_DAY, deferrable=True, soft_fail=soft_fail, **limits)
        # What Airflow has for a task whose trigger's time is over.
        timed_out = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            waiting.resume_execution("__fail__", timed_out, CONTEXT)
        return type(caught.value).__name__

    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    of_sensor = "AirflowSkipException" if soft_fail else "AirflowSensorTimeout"
    assert ended(timeout=hour) == of_sensor
    assert ended(timeout=minute, execution_timeout=hour) == of_sensor
    assert ended(timeout=hour, execution_timeout=minute) == "AirflowTaskTimeout"


def test_a_trigger_that_fails_is_no_quiet_day() -> None:
    with pytest.raises(TaskDeferralError):
        sensor(day=PAST_DAY, soft_fail=True).resume_execution("__fail__", {"error": "Trigger failure"}, CONTEXT)


def test_a_deferral_ends_with_the_execution_timeout(sandbox: Sandbox) -> None:
    sandbox.records = lambda day, now: []
    waiting = sensor(day=PAST_DAY, require_records=True, deferrable=True, execution_timeout=timedelta(seconds=20))
    with pytest.raises(TaskDeferred) as deferral:
        waiting.execute(CONTEXT)
    assert timedelta(seconds=10) < deferral.value.timeout < timedelta(seconds=20)


@needs_airflow_3_3
def test_start_from_trigger_is_set_on_the_instance_and_survives_serialisation() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("dag", schedule=None) as dag:
        sensor(day="{{ dag_run.conf['day'] }}", start_from_trigger=True, timeout=120)
    assert ClaudeCodeFreshnessSensor.start_trigger_args is None
    restored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).get_task("wait")
    assert restored.start_from_trigger
    assert restored.start_trigger_args.timeout == timedelta(seconds=120)
    kwargs = BaseSerialization.deserialize(restored.start_trigger_args.trigger_kwargs)
    trigger = ClaudeCodeFreshnessTrigger(**kwargs)
    assert trigger.day == "{{ dag_run.conf['day'] }}"
    assert trigger.freshness_delay == timedelta(hours=1)


@needs_airflow_3_3
@pytest.mark.parametrize(
    ("arguments", "in_the_triggerer"),
    [
        ({}, True),
        ({"day": PAST_DAY}, True),
        ({"day": "{{ dag_run.conf['day'] }}"}, True),
        ({"day": "{{ macros.ds_add(data_interval_end | ds, -1) }}"}, True),
        ({"day": "{{ (logical_date or dag_run.run_after) | ds }}"}, True),
        ({"day": "{% set day = ds %}{{ day[:10] | trim }}", "claude_code_conn_id": "of_{{ run_id }}"}, True),
        ({"day": date(2025, 9, 2)}, False),
        ({"day": "{{ ti.xcom_pull(task_ids='a_day') }}"}, False),
        ({"day": "{{ task_instance.xcom_pull('a_day') }}"}, False),
        ({"day": "{{ var.value.day }}"}, False),
        ({"day": "{{ conn.a_connection.host }}"}, False),
        ({"day": "{{ params.day }}"}, False),
        ({"day": "{{ my_macro(ds) }}"}, False),
        ({"day": "{{ ds | my_filter }}"}, False),
        ({"day": "{{ dag.params['day'] }}"}, False),
        ({"day": "{% include 'day.txt' %}"}, False),
        ({"day": "{% do nothing %}"}, False),
        ({"claude_code_conn_id": "{{ var.value.which }}"}, False),
    ],
    ids=str,
)
def test_what_the_triggerer_cannot_render_goes_through_a_worker(
    arguments: dict[str, Any], in_the_triggerer: bool
) -> None:
    waiting = sensor(start_from_trigger=True, **arguments)
    assert waiting.start_from_trigger is in_the_triggerer
    assert (waiting.start_trigger_args is not None) is in_the_triggerer
    assert waiting.deferrable


@needs_airflow_3_3
def test_results_of_other_tasks_go_through_a_worker() -> None:
    with DAG("a_dag", schedule=None):

        @task
        def a_day() -> str:
            return PAST_DAY

        day: Any = a_day()
        for argument in (day, f"{day}"):
            waiting = ClaudeCodeFreshnessSensor(
                task_id=f"wait_{type(argument).__name__}", day=argument, start_from_trigger=True
            )
            assert not waiting.start_from_trigger


@pytest.mark.parametrize("day", [DEFAULT_DAY, FUTURE_DAY], ids=["template", "fixed"])
def test_start_from_trigger_warns_the_dag_s_author_and_is_off_before_airflow_3_3(
    monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    monkeypatch.setattr(freshness, "AIRFLOW_V_3_3_PLUS", False)
    with pytest.warns(UserWarning, match="needs Airflow 3.3") as caught:
        waiting = ClaudeCodeFreshnessSensor(task_id="wait", day=day, start_from_trigger=True)
    # Python 3.12 warns of forks beside threads, which others may do meanwhile.
    ours = [warning for warning in caught if warning.category is UserWarning]
    assert [warning.filename for warning in ours] == [__file__]
    assert not waiting.start_from_trigger
    assert waiting.start_trigger_args is None


@pytest.mark.parametrize("new_enough", [False, pytest.param(True, marks=needs_airflow_3_3)])
@pytest.mark.filterwarnings("ignore:start_from_trigger needs:UserWarning")
def test_a_worker_that_gets_a_sensor_to_start_from_the_trigger_defers_it(
    monkeypatch: pytest.MonkeyPatch, new_enough: bool
) -> None:
    """As it does before Airflow 3.3, in a mapped task and in `dag.test()`."""
    monkeypatch.setattr(freshness, "AIRFLOW_V_3_3_PLUS", new_enough)
    with pytest.raises(TaskDeferred):
        sensor(day=FUTURE_DAY, start_from_trigger=True).execute(CONTEXT)


UNUSABLE: dict[str, tuple[dict[str, str] | None, str, type[Exception]]] = {
    # Airflow says the same while a secrets backend does not answer.
    "missing": (None, "Airflow finds no Connection 'other'", ClaudeCodeMissingConnectionError),
    "without a key": (
        {"conn_type": "claude_code"},
        "Connection 'other': The password is empty",
        AirflowFailException,
    ),
}


@pytest.mark.parametrize("day", [PAST_DAY, FUTURE_DAY])
@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}, {"soft_fail": True}])
@pytest.mark.parametrize("what", UNUSABLE)
def test_a_connection_that_cannot_be_used_ends_the_try_at_once(
    monkeypatch: pytest.MonkeyPatch, what: str, mode: dict[str, Any], day: str
) -> None:
    connection, message, error = UNUSABLE[what]
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    with pytest.raises(error, match=message):
        sensor(day=day, claude_code_conn_id="other", **mode).execute(CONTEXT)
    event = run(ClaudeCodeFreshnessTrigger(day=day, claude_code_conn_id="other"))
    assert (event["status"], event["retryable"]) == ("error", error is not AirflowFailException)
    assert message in event["message"]

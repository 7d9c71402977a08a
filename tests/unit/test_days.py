"""A run means the right UTC day, whatever its timetable, and nonsense is refused before anything is loaded."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import pendulum
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import MacrosAccessor
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.days import DEFAULT_DAY, complete_from, days_until, parse_day
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from tests.fixtures.airflow_version import timezone as airflow_timezone

ABSENT = object()


@pytest.mark.parametrize(
    "day",
    [
        "2025-09-01",
        "2025-09-01T00:00:00",
        "2025-09-01 00:00",
        "2025-09-01T00:00:00Z",
        "2025-09-01T00:00:00.000000+00:00",
        date(2025, 9, 1),
        pendulum.date(2025, 9, 1),
        datetime(2025, 9, 1),  # noqa: DTZ001
        datetime(2025, 9, 1, tzinfo=UTC),
        pendulum.datetime(2025, 9, 1),
        pendulum.datetime(2025, 9, 1).date(),
        datetime(2025, 9, 1, tzinfo=ZoneInfo("Etc/UTC")),
    ],
    ids=repr,
)
def test_a_day_is_a_date_or_its_midnight_in_utc_as_text_or_object(day: object) -> None:
    assert parse_day(day) == date(2025, 9, 1)
    assert type(parse_day(day)) is date


def test_a_leap_day_is_a_day() -> None:
    assert parse_day("2024-02-29") == date(2024, 2, 29)


@pytest.mark.parametrize(
    "value",
    [
        "20250901",
        "2025-9-1",
        "25-09-01",
        "2025/09/01",
        "2025-W36-1",
        "2025-244",
        "01-09-2025",
        "2025-09-01T24:00:00",
        "2025-09-01T",
        "2025-09-01T00",
        "2025-09-01T00:00:00 Z",
        " 2025-09-01",
        "2025-09-01 ",
        "2025-09-01\n",
        "'2025-09-01'",
        "-2025-09-01",
        "\u0662\u0660\u0662\u0665-09-01",
        "{{ ds }}",
        "today",
        20250901,
        1756684800.0,
        True,
        b"2025-09-01",
        ["2025-09-01"],
        time(),
    ],
    ids=repr,
)
def test_what_names_no_day_is_refused(value: object) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="a UTC day written YYYY-MM-DD was expected") as caught:
        parse_day(value)

    assert repr(value) in str(caught.value)
    assert "bare" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "2025-09-01T06:00:00",
        "2025-09-01 00:00:00.000001",
        "2025-09-01T00:00:00+02:00",
        datetime(2025, 9, 1, 23, 59, tzinfo=UTC),
        datetime(2025, 9, 1, tzinfo=timezone(timedelta(hours=10))),
        pendulum.datetime(2025, 9, 1, tz="Europe/Berlin"),
        pendulum.datetime(2025, 9, 1, 22),
    ],
    ids=repr,
)
def test_other_moments_than_midnight_in_utc_are_refused_with_a_sentence(value: object) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"not midnight in UTC.*YYYY-MM-DD.*key_format") as caught:
        parse_day(value)
    assert repr(str(value)) in str(caught.value)


@pytest.mark.parametrize("value", ["0001-01-01", "1969-12-31", "3000-01-01", "9999-12-31", date.min, date.max])
def test_days_near_the_ends_of_the_calendar_are_refused(value: object) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="a day from 1970-01-01 to 2999-12-31 was expected"):
        parse_day(value)


@given(st.dates(date(1970, 1, 1), date(2999, 12, 31)), st.one_of(st.integers(1, 1500), st.integers(1, 10**30)))
def test_days_are_counted_back_or_refused_and_never_overflow(last_day: date, count: int) -> None:
    complete_from(parse_day(last_day), timedelta(days=365))
    # Days since 1970, on Python's count of all days.
    last = last_day.toordinal() - 719_163
    if count <= last + 1:
        days = days_until(last_day, count, "period_days")
        assert [day.toordinal() - 719_163 for day in days] == list(range(last - count + 1, last + 1))
    else:
        with pytest.raises(ClaudeCodeConfigurationError, match=f"period_days reaches from {last_day} back"):
            days_until(last_day, count, "period_days")


@pytest.mark.parametrize("value", ["2025-02-29", "2025-02-30", "2025-13-01", "2025-00-10", "2025-01-00", "0000-01-01"])
def test_a_day_that_no_calendar_has_is_refused(value: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=f"{value}.* not in the calendar"):
        parse_day(value)


@pytest.mark.parametrize("value", [None, "None", ""])
def test_a_missing_partition_key_is_explained(value: object) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=r"a bare \{\{ partition_key \}\} is None"):
        parse_day(value)


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        (date(2025, 9, 1), datetime(2025, 9, 2, 1, tzinfo=UTC)),
        (date(2025, 12, 31), datetime(2026, 1, 1, 1, tzinfo=UTC)),
        (date(2024, 2, 28), datetime(2024, 2, 29, 1, tzinfo=UTC)),
        # The day of a change of the clocks in Europe has 24 hours in UTC as well.
        (date(2025, 10, 26), datetime(2025, 10, 27, 1, tzinfo=UTC)),
    ],
)
def test_a_day_is_complete_an_hour_after_its_end(day: date, moment: datetime) -> None:
    assert complete_from(day) == moment
    assert complete_from(day).utcoffset() == timedelta(0)


def test_the_freshness_delay_can_be_another() -> None:
    assert complete_from(date(2025, 9, 1), timedelta(hours=6)) == datetime(2025, 9, 2, 6, tzinfo=UTC)


def moment(text: str) -> datetime:
    return airflow_timezone.parse(text)


def render(template: str, **context: Any) -> str:
    """Render with the environment in which Airflow renders a task's fields."""
    context = {name: value for name, value in context.items() if value is not ABSENT}
    dag = DAG("a_dag", schedule=None)
    return dag.get_template_env().from_string(template).render({"dag": dag, "macros": MacrosAccessor()} | context)


def a_run(run_after: str, **attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"run_type": "manual", "run_after": moment(run_after)} | attributes)


NIGHT = "2026-11-22T00:00:00Z"
CASES = {
    # What is known of a run on 2026-11-22. Only Airflow 3.3 has the partition key in the template context as well, and
    # before 3.2 a run has none.
    "cron: an interval without width": {
        "logical_date": NIGHT,
        "data_interval_start": NIGHT,
        "data_interval_end": NIGHT,
        "run_after": NIGHT,
        "partition_key": None,
    },
    "cron at 03:30": {
        "logical_date": "2026-11-22T03:30:00Z",
        "data_interval_start": "2026-11-22T03:30:00Z",
        "data_interval_end": "2026-11-22T03:30:00Z",
        "run_after": "2026-11-22T03:30:00Z",
        "partition_key": None,
    },
    "data interval": {
        "logical_date": "2026-11-21T00:00:00Z",
        "data_interval_start": "2026-11-21T00:00:00Z",
        "data_interval_end": NIGHT,
        "run_after": NIGHT,
        "partition_key": None,
    },
    "data interval, no notion of partitions (before 3.2)": {
        "logical_date": "2026-11-21T00:00:00Z",
        "data_interval_start": "2026-11-21T00:00:00Z",
        "data_interval_end": NIGHT,
        "run_after": NIGHT,
    },
    "partition": {"run_after": NIGHT, "partition_key": "2026-11-21"},
    "partition, run late": {"run_after": "2026-12-24T00:00:00Z", "partition_key": "2026-11-21"},
    "partition beside an interval": {
        "logical_date": "2026-12-24T00:00:00Z",
        "data_interval_start": "2026-12-23T00:00:00Z",
        "data_interval_end": "2026-12-24T00:00:00Z",
        "run_after": "2026-12-24T00:00:00Z",
        "partition_key": "2026-11-21",
    },
    "manual or asset-triggered, without a logical date": {"run_after": "2026-11-22T15:20:00Z", "partition_key": None},
    "manual, with keys that are None": {
        "logical_date": None,
        "data_interval_start": None,
        "data_interval_end": None,
        "run_after": "2026-11-22T15:20:00Z",
        "partition_key": None,
    },
    "manual, with a logical date": {
        "logical_date": NIGHT,
        "data_interval_start": NIGHT,
        "data_interval_end": NIGHT,
        "run_after": "2027-01-01T00:00:00Z",
        "partition_key": None,
    },
    "dag.test(logical_date=...) long after": {"logical_date": NIGHT, "run_after": "2027-05-05T00:00:00Z"},
    "an empty partition key": {"run_after": NIGHT, "partition_key": ""},
}


@pytest.mark.parametrize("run", CASES.values(), ids=CASES)
def test_the_default_day_is_right_for_every_kind_of_daily_run(run: dict[str, str | None]) -> None:
    context: dict[str, Any] = {
        name: moment(text) if text and name != "partition_key" else text for name, text in run.items()
    }
    of_the_run = {name: context.pop(name) for name in ("run_after", "partition_key") if name in context}

    for run_type in ("scheduled", "backfill", "manual", "asset_triggered"):
        day = render(DEFAULT_DAY, dag_run=SimpleNamespace(run_type=run_type, **of_the_run), **context)
        assert parse_day(day) == date(2026, 11, 21)


WEEKLY = {"data_interval_start": "2026-11-16T06:00:00Z", "data_interval_end": "2026-11-23T06:00:00Z"}


@pytest.mark.parametrize(
    ("run", "last_day"),
    [
        (WEEKLY | {"run_after": "2026-11-23T06:00:00Z", "logical_date": "2026-11-16T06:00:00Z"}, "2026-11-22"),
        (
            dict.fromkeys((*WEEKLY, "logical_date", "run_after"), "2026-11-23T06:00:00Z"),
            "2026-11-22",
        ),
        ({"run_after": "2026-11-23T17:45:00Z"}, "2026-11-22"),
        ({"run_after": "2026-11-23T17:45:00Z", "logical_date": "2026-11-10T00:00:00Z"}, "2026-11-09"),
    ],
    ids=["weekly interval", "weekly trigger", "manual", "manual with a date"],
)
def test_a_period_ends_the_day_before_its_run_or_interval_does(run: dict[str, str], last_day: str) -> None:
    moments = {name: moment(text) for name, text in run.items()}
    dag_run = SimpleNamespace(run_type="scheduled", run_after=moments.pop("run_after"))
    assert render(DEFAULT_DAY, dag_run=dag_run, **moments) == last_day


def test_the_default_day_crosses_months_and_years() -> None:
    run = a_run("2026-01-01T00:00:00Z")

    assert render(DEFAULT_DAY, dag_run=run) == "2025-12-31"


@pytest.mark.parametrize(
    ("conf", "day"),
    [({"day": "2025-03-04"}, "2025-03-04"), ({"day": None}, "2025-12-31"), ({}, "2025-12-31"), (None, "2025-12-31")],
    ids=["filled in", "left empty", "no such param", "no configuration"],
)
def test_a_day_that_is_filled_in_when_the_dag_is_triggered_is_the_run_s(conf: dict[str, Any] | None, day: str) -> None:
    run = SimpleNamespace(run_type="manual", run_after=moment("2026-01-01T00:00:00Z"), conf=conf)
    assert render(DEFAULT_DAY, dag_run=run) == day
    run.partition_key = "2025-12-30"
    assert render(DEFAULT_DAY, dag_run=run) == (day if conf and conf.get("day") else "2025-12-30")


def test_the_environment_of_these_tests_is_as_strict_as_airflow() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("{{ ds }}")


def test_a_partition_key_that_is_no_day_reaches_the_check() -> None:
    run = a_run(NIGHT, partition_key="eu-west")

    with pytest.raises(ClaudeCodeConfigurationError):
        parse_day(render(DEFAULT_DAY, dag_run=run))


def test_a_bare_partition_key_is_refused_in_runs_without_one() -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match="partition_key"):
        parse_day(render("{{ partition_key }}", partition_key=None))

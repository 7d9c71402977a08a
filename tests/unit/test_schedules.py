"""The runs of Airflow's own timetables are for one UTC day after another, in every time zone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import airflow.sdk
import pendulum
import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.execution_time.context import MacrosAccessor
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable, MultipleCronTriggerTimetable

from airflow_provider_claude_code.days import DEFAULT_DAY
from airflow_provider_claude_code.streams.members import MEMBERS
from airflow_provider_claude_code.transfers.period import days_to_load

TEMPLATE = DAG("a_dag", schedule=None).get_template_env().from_string(DEFAULT_DAY)
ONE_DAY = timedelta(days=1)
HALF_HOUR = timedelta(minutes=30)
YEAR = [datetime(2025, 1, 1, tzinfo=UTC) + HALF_HOUR * step for step in range(365 * 48)]


def zones() -> Iterator[tuple[str, list[datetime]]]:
    """Give one time zone for each way in which clocks change in a year, and the moments of the changes."""
    seen = set()
    for name in sorted(available_timezones()):
        offsets = [moment.astimezone(ZoneInfo(name)).utcoffset() for moment in YEAR]
        changes = [at for at, old, new in zip(YEAR[1:], offsets, offsets[1:], strict=False) if old != new]
        behaviour = (offsets[0], *((at, at.astimezone(ZoneInfo(name)).utcoffset()) for at in changes))
        if behaviour not in seen:
            seen.add(behaviour)
            yield name, changes


def intervals(timetable: Timetable, since: datetime, count: int) -> Iterator[DataInterval]:
    """Give the data intervals of so many scheduled runs."""
    last = None
    restriction = TimeRestriction(pendulum.instance(since), None, catchup=True)
    for _ in range(count):
        run = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        assert run is not None
        last = run.data_interval
        yield last


def day_of(
    timetable: Any,
    interval: DataInterval,
    run_type: str = "scheduled",
    *,
    has_interval: bool = True,
    logical_date: datetime | None = None,
) -> date:
    # As the task runner gets it from the API server, and does not change it.
    run_after = datetime.fromisoformat(interval.end.astimezone(UTC).isoformat())
    dag_run = SimpleNamespace(run_type=run_type, run_after=run_after, partition_key=None)
    context = {
        "logical_date": logical_date or interval.start,
        "data_interval_start": interval.start,
        "data_interval_end": interval.end,
    }
    dag = SimpleNamespace(timetable=timetable)
    return date.fromisoformat(
        TEMPLATE.render(context if has_interval else {}, dag=dag, dag_run=dag_run, macros=MacrosAccessor())
    )


def days_of(timetable: Timetable, since: datetime, count: int) -> list[date]:
    return [day_of(timetable, interval) for interval in intervals(timetable, since, count)]


def assert_each_day_once(days: Iterable[date], *where: object) -> None:
    days = list(days)
    assert days == [days[0] + ONE_DAY * number for number in range(len(days))], where


def test_a_daily_schedule_in_any_zone_loads_each_day_once_when_the_clocks_change() -> None:
    # Its clocks skip the last hour of a day: a run then is at the midnight after it.
    not_on_its_date = {("America/Godthab", 23)}
    seen_apart = set()
    found = list(zones())
    assert len(found) > 50
    for name, changes in found:
        for change in changes or [YEAR[4000]]:
            for hour in range(24):
                for minute in (0, 30):
                    timetable = CronTriggerTimetable(f"{minute} {hour} * * *", timezone=name)
                    days = days_of(timetable, change - ONE_DAY * 3, 6)
                    if (name, hour) in not_on_its_date and len(set(days)) < 6:
                        seen_apart.add((name, hour))
                        continue
                    assert_each_day_once(days, name, timetable.summary, change)
    assert seen_apart == not_on_its_date


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        ("Europe/London", 0),
        ("Europe/Berlin", 1),
        ("America/New_York", 19),
        ("Australia/Sydney", 10),
        ("America/Los_Angeles", 16),
        ("Africa/Cairo", 0),
        ("Asia/Tokyo", 0),
        ("Pacific/Kiritimati", 3),
        ("UTC", 0),
    ],
)
@pytest.mark.parametrize("timetable_class", [CronTriggerTimetable, CronDataIntervalTimetable])
def test_a_year_of_runs_loads_a_year_of_days(timetable_class: Any, zone: str, hour: int) -> None:
    timetable = timetable_class(f"0 {hour} * * *", timezone=zone)
    runs = list(intervals(timetable, datetime(2025, 1, 10, tzinfo=UTC), 365))
    days = [day_of(timetable, run) for run in runs]
    assert_each_day_once(days)
    assert days[0] == runs[0].end.astimezone(ZoneInfo(zone)).date() - ONE_DAY


@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("timetable_class", [DeltaTriggerTimetable, DeltaDataIntervalTimetable])
def test_a_run_every_24_hours_loads_each_day_once_whatever_the_zone_of_its_start(
    timetable_class: Any, hour: int
) -> None:
    start = datetime(2025, 1, 10, hour, tzinfo=ZoneInfo("Europe/Berlin"))
    assert_each_day_once(days_of(timetable_class(ONE_DAY), start, 365))


def test_several_runs_a_day_skip_no_day() -> None:
    timetable = MultipleCronTriggerTimetable("0 1 * * *", "30 16 * * *", timezone="Europe/Berlin")
    days = days_of(timetable, datetime(2025, 3, 1, tzinfo=UTC), 2 * 300)
    assert_each_day_once(sorted(set(days)))
    assert days == sorted(days)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "Europe/London", "America/Los_Angeles", "UTC"])
@pytest.mark.parametrize("timetable_class", [CronTriggerTimetable, CronDataIntervalTimetable])
def test_a_week_ends_with_the_day_before_its_run(timetable_class: Any, zone: str) -> None:
    for day in days_of(timetable_class("0 0 * * 1", timezone=zone), datetime(2025, 1, 10, tzinfo=UTC), 52):
        assert day.strftime("%A") == "Sunday"


def every_way_to_say(cron: str, zone: tzinfo) -> Iterator[Any]:
    """Give the forms that a cron schedule has in a worker and in the triggerer, over the versions of Airflow."""
    asset = Asset("an_asset")
    name = str(zone)
    for cron_class in (CronTriggerTimetable, CronDataIntervalTimetable, MultipleCronTriggerTimetable):
        core = cron_class(cron, timezone=name)
        yield core
        yield AssetOrTimeSchedule(timetable=core, assets=asset)
        if sdk_class := getattr(airflow.sdk, cron_class.__name__, None):
            for given in (zone, name):
                sdk = sdk_class(cron, timezone=given)
                yield sdk
                yield airflow.sdk.AssetOrTimeSchedule(timetable=sdk, assets=asset)
    yield DAG("cron", schedule=cron, start_date=datetime(2025, 1, 1, tzinfo=zone)).timetable


def test_the_zone_is_that_of_the_schedule_however_it_is_written() -> None:
    midnight = pendulum.datetime(2025, 6, 10, 22)
    interval = DataInterval.exact(midnight)
    for zone in (pendulum.timezone("Europe/Berlin"), ZoneInfo("Europe/Berlin")):
        for timetable in every_way_to_say("0 0 * * *", zone):
            for has_interval in (True, False):
                for run_type, day in {
                    "scheduled": date(2025, 6, 10),
                    "backfill": date(2025, 6, 10),
                    # Whoever gives a moment by hand means UTC.
                    "manual": date(2025, 6, 9),
                }.items():
                    found = day_of(timetable, interval, run_type, has_interval=has_interval)
                    assert found == day, (timetable, run_type, has_interval)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Pago_Pago", "Pacific/Kiritimati", "UTC"])
def test_no_daily_run_skips_a_snapshot(zone: str) -> None:
    for hour in range(24):
        timetable = CronTriggerTimetable(f"0 {hour} * * *", timezone=zone)
        for interval in intervals(timetable, datetime(2025, 7, 10, tzinfo=UTC), 3):
            today = interval.end.astimezone(UTC).date()
            assert days_to_load(MEMBERS, None, day_of(timetable, interval), 0, today) == [today]


@pytest.mark.parametrize("cron", ["0 0 * * *", "0 6 * * *", "0 0 * * 0"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("timetable_class", [CronTriggerTimetable, CronDataIntervalTimetable])
def test_a_run_that_is_triggered_by_hand_is_for_the_day_before_whatever_the_schedule(
    timetable_class: Any, zone: str, cron: str
) -> None:
    for hour in range(24):
        logical_date = pendulum.datetime(2025, 9, 3, hour)
        timetable = timetable_class(cron, timezone=zone)
        interval = timetable.infer_manual_data_interval(run_after=logical_date)
        assert day_of(timetable, interval, "manual", logical_date=logical_date) == date(2025, 9, 2)


def test_a_zone_that_the_worker_does_not_know_is_an_error_and_not_its_own_zone() -> None:
    timetable = SimpleNamespace(timezone="Nowhere/Nothing")
    with pytest.raises(TypeError, match="tzinfo"):
        day_of(timetable, DataInterval.exact(pendulum.datetime(2025, 6, 10, 22)))

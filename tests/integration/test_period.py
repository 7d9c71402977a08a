"""A task that loads a period leaves each of its days as a task for that day alone does, whatever happens in between."""

from __future__ import annotations

import json
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.context import OutletEventAccessors
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.exceptions import (
    ClaudeCodePermissionError,
    ClaudeCodePublishError,
    ClaudeCodeRateLimitError,
    ClaudeCodeResponseError,
    ClaudeCodeServerError,
)
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import API_KEY, Faults, Sandbox
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.transfers import base, earlier_tries
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.transfers.period import MAX_DAYS
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures.files import Killed, Place, load, run
from tests.fixtures.records import DAY, ORGANIZATION_ID, body, people
from tests.fixtures.retries import few_attempts
from tests.fixtures.walks import pages_of

PAGE = 3
PATIENCE = 20.0
OF_THE_LOAD = {"loaded_at", "load_id", "sha256", "bytes"}


def days_before(count: int) -> list[date]:
    return [DAY - timedelta(days=back) for back in reversed(range(count))]


class API:
    """
    Answers with so many records of each day, in pages, in an order of its own choice.

    :param records: of each of the days until ``DAY``.
    :param seed: of the choice among the requests that wait for an answer.
    """

    def __init__(self, records: list[int], seed: int = 0) -> None:
        self.days = dict(zip(days_before(len(records)), records, strict=True))
        self.failures: dict[date, BaseException] = {}
        self.asked: list[date] = []
        self._random = random.Random(seed)
        self._waiting: list[threading.Event] = []
        self._changed = threading.Condition()

    def iter_pages(self, day: date, *_: object) -> Iterator[Any]:
        return pages_of(USAGE.walk(day, PAGE), self._answers(day))

    def _answers(self, day: date) -> Iterator[httpx.Response]:
        headers = {
            "anthropic-organization-id": ORGANIZATION_ID,
            "date": format_datetime(datetime.now(UTC), usegmt=True),
        }
        count = self.days[day]
        for start in range(0, max(count, 1), PAGE):
            self._wait()
            self.asked.append(day)
            if start + PAGE >= count and day in self.failures:
                raise self.failures[day]
            content = body(people(count, day)[start : start + PAGE], f"c{start}" if start + PAGE < count else None)
            yield httpx.Response(200, content=content, headers=headers)

    def _wait(self) -> None:
        """Wait for one's turn, which comes at random among those that wait."""
        turn = threading.Event()
        with self._changed:
            self._waiting.append(turn)
            # Others may come in between; whoever comes last lets one go.
            self._random.choice(self._waiting).set()
            self._waiting = [event for event in self._waiting if not event.is_set()]
        # One that nobody lets go must not stop the rest.
        turn.wait(0.005)
        with self._changed:
            self._waiting = [event for event in self._waiting if event is not turn]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[API], API]]:
    """Lets the hook read from an API."""
    monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps({"conn_type": "claude_code", "password": "key"}))
    monkeypatch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_: None)

    def set_api(api: API) -> API:
        monkeypatch.setattr(ClaudeCodeHook, "iter_pages", api.iter_pages)
        return api

    return set_api


def without_load(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OF_THE_LOAD} for row in rows]


def content(place: Place, day: date) -> Any:
    """The content of a day without what differs between loads."""
    place.assert_whole(day)
    commits = without_load(list(place.commit_records(day).values()))
    rows = {row["table_name"]: without_load(place.rows(row["table_name"], day)) for row in commits if row["path"]}
    return commits, rows


def summary_of(day: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in day.items() if name not in ("load_id", "files")}


@settings(max_examples=10)
@given(records=st.lists(st.integers(0, 10), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_period_is_what_its_days_are(records: list[int], seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps({"conn_type": "claude_code", "password": "key"}))
        patch.setattr(ClaudeCodeHook, "find_organization_name", lambda *_: None)
        api = API(records, seed)
        patch.setattr(ClaudeCodeHook, "iter_pages", api.iter_pages)
        together, alone = Place(Path(folder, "together")), Place(Path(folder, "alone"))
        summary = load(together, first_day=str(next(iter(api.days))))
        summaries = [load(alone, day)["days"][0] for day in api.days]
        assert list(map(summary_of, summary["days"])) == list(map(summary_of, summaries))
        for day in api.days:
            assert content(together, day) == content(alone, day)
        assert [day["rows"]["usage"] for day in summary["days"]] == records


def test_days_are_published_in_their_order_while_later_ones_are_read(
    serve: Callable[[API], API], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = serve(API([1] * 8))
    published: list[date] = []
    asked_before: list[int] = []
    monkeypatch.setattr(
        ClaudeCodeToObjectStorageOperator,
        "_on_started",
        lambda self, progress, started: (published.append(progress.days[0]), asked_before.append(len(api.asked))),
    )
    load(Place(tmp_path), first_day=str(days_before(8)[0]))
    assert published == days_before(8)
    # Never more than those at a time beside the day that is published, so that memory is bounded.
    assert all(asked <= number + 1 + base.DAYS_AT_A_TIME for number, asked in enumerate(asked_before))


def test_look_back_is_a_period(serve: Callable[[API], API], tmp_path: Path) -> None:
    serve(API([2, 0, 4]))
    one, other = Place(tmp_path / "one"), Place(tmp_path / "other")
    by_look_back, by_first_day = load(one, lookback_days=2), load(other, first_day=str(days_before(3)[0]))
    assert list(map(summary_of, by_look_back["days"])) == list(map(summary_of, by_first_day["days"]))
    assert [content(one, day) for day in days_before(3)] == [content(other, day) for day in days_before(3)]


FAILURES: list[BaseException] = [
    ClaudeCodeRateLimitError("too many requests", status=429),
    ClaudeCodeServerError("the API is down", status=500),
    ClaudeCodeResponseError("the page contains a record of another day"),
    Killed("killed"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("failing", [0, 2, 4])
def test_after_an_error_the_days_before_it_stay_and_a_retry_loads_all(
    serve: Callable[[API], API], tmp_path: Path, error: BaseException, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    api, place, days = serve(API([4, 1, 7, 0, 5])), Place(tmp_path / "target"), days_before(5)
    before = {day: load(place, day)["days"][0] for day in days[3:]}
    kept = {day: place.commit_records(day) for day in before}
    arguments: dict[str, Any] = {"first_day": str(days[0])}
    api.failures[days[failing]] = error
    with pytest.raises(type(error)) as caught:
        load(place, **arguments)
    for day in days[:failing]:
        place.assert_whole(day)
    # Later days may have been read by then, but nothing of them is published.
    for day in days[max(failing, 3) :]:
        assert place.commit_records(day) == kept[day]
    for day in days[failing:3]:
        assert place.commit_records(day) == {}
    if failing and not isinstance(error, Killed):
        left = f"{days[failing]} to {days[-1]}" if failing < 4 else f"{days[-1]}"
        said = f"Loaded before that, and kept: {days[0]} to {days[failing - 1]}. Not loaded: {left}."
        assert said in str(caught.value)
    assert list(spool.iterdir()) == []
    api.failures.clear()
    assert [day["rows"]["usage"] for day in load(place, **arguments)["days"]] == [4, 1, 7, 0, 5]
    for day in days:
        place.assert_whole(day)


def test_a_task_that_is_stopped_says_so_and_which_days_are_loaded(
    serve: Callable[[API], API], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow calls on_kill when somebody marks the task as failed, or its worker shuts down."""
    serve(API([1] * 8))
    operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=str(tmp_path), day=str(DAY), lookback_days=7)
    monkeypatch.setattr(base, "log_day", lambda *_: operator.on_kill())
    first, *_ = days_before(8)
    with pytest.raises(
        ClaudeCodePublishError,
        match=rf"as it is when the task is stopped\. Loaded before that, and kept: {first}\.",
    ):
        run(operator)


def test_a_permanent_error_says_which_days_are_loaded(serve: Callable[[API], API], tmp_path: Path) -> None:
    api = serve(API([1, 1, 0]))
    api.failures[DAY] = ClaudeCodePermissionError("the key was revoked")
    with pytest.raises(AirflowFailException, match=r"and kept: 2025-08-30 to 2025-08-31\. Not loaded: 2025-09-01\."):
        load(Place(tmp_path), first_day="2025-08-30")


def test_another_writer_in_the_middle_costs_that_day_alone(
    serve: Callable[[API], API], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)
    api, place, days = serve(API([2, 2, 2, 2])), Place(tmp_path), days_before(4)
    really, conflicts = base.ClaudeCodeTransferOperator._start, iter([days[1]])

    def start(self: Any, target: Any, day: Any) -> Any:
        if day.day == days[1] and next(conflicts, None):
            load(place, day.day)
        return really(self, target, day)

    monkeypatch.setattr(base.ClaudeCodeTransferOperator, "_start", start)
    summary = load(place, first_day=str(days[0]))
    assert [day["day"] for day in summary["days"]] == list(map(str, days))
    for day in days:
        place.assert_whole(day)
    # Twice by this task, and once by the other.
    assert [api.asked.count(day) for day in days] == [1, 3, 1, 1]


class Store(dict[str, Any]):
    """Airflow's store of a task's state, as of 3.3."""

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class TestARetry:
    """With Airflow's store of task states, it continues with the day that failed."""

    @pytest.fixture
    def api(self, serve: Callable[[API], API]) -> API:
        api = serve(API([3, 1, 2, 0, 4]))
        api.failures[days_before(5)[3]] = ClaudeCodeServerError("the API is down")
        return api

    def attempt(self, folder: Path, store: Any, number: int, **arguments: Any) -> dict[str, Any]:
        first_day = str(days_before(5)[0])
        operator = ClaudeCodeToObjectStorageOperator(
            task_id="load", path=str(folder), day=str(DAY), first_day=first_day, **arguments
        )
        context: Any = {
            "ti": SimpleNamespace(dag_id="d", run_id="r", try_number=number),
            "dag_run": SimpleNamespace(run_type="manual"),
            "outlet_events": {},
            "task_state_store": store,
        }
        return operator.execute(context)

    def fail(self, api: API, folder: Path, store: Any) -> None:
        with pytest.raises(ClaudeCodeServerError, match=r"and kept: 2025-08-28 to 2025-08-30\. Not loaded: 2025-08-31"):
            self.attempt(folder, store, 1)
        api.failures.clear()
        api.asked.clear()

    @pytest.fixture
    def store(self, api: API, tmp_path: Path) -> Store:
        """The store after the first attempt, which failed."""
        store = Store()
        self.fail(api, tmp_path, store)
        return store

    def test_it_loads_the_days_that_are_left_and_reports_all(self, api: API, store: Store, tmp_path: Path) -> None:
        summary = self.attempt(tmp_path, store, 2)
        assert set(api.asked) == set(days_before(2))
        assert [day["rows"]["usage"] for day in summary["days"]] == [3, 1, 2, 0, 4]
        for day in days_before(5):
            Place(tmp_path).assert_whole(day)
        assert store == {}

    def test_a_task_that_is_run_again_loads_all_days(self, api: API, store: Store, tmp_path: Path) -> None:
        self.attempt(tmp_path, store, 1)
        assert set(api.asked) == set(days_before(5))

    def test_days_that_another_writer_replaced_are_loaded_again(self, api: API, store: Store, tmp_path: Path) -> None:
        load(Place(tmp_path), days_before(5)[1])
        self.attempt(tmp_path, store, 2)
        assert set(api.asked) == set(days_before(4))

    @pytest.mark.parametrize(
        "changed", [{"tables": ["usage"]}, {"claude_code_conn_id": "another_key"}, {"file_format": "csv"}], ids=str
    )
    def test_other_arguments_load_all_days(
        self, api: API, store: Store, tmp_path: Path, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_ANOTHER_KEY", json.dumps({"conn_type": "claude_code", "password": "another"}))
        self.attempt(tmp_path, store, 2, **changed)
        assert set(api.asked) == set(days_before(5))

    def test_days_of_long_ago_are_loaded_again(
        self, api: API, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(earlier_tries, "VALID_FOR", timedelta(0))
        self.attempt(tmp_path, store, 2)
        assert set(api.asked) == set(days_before(5))

    @pytest.mark.parametrize(
        "error",
        [AirflowRuntimeError(ErrorResponse()), OSError("of a backend"), KeyError("of a backend")],
        ids=lambda error: type(error).__name__,
    )
    def test_a_store_that_fails_costs_the_days_again_and_nothing_else(
        self, api: API, tmp_path: Path, error: Exception
    ) -> None:
        class Broken(Store):
            def get(self, *_: Any) -> Any:
                raise error

            def set(self, *_: Any, **__: Any) -> None:
                raise error

            def delete(self, *_: Any) -> None:
                raise error

        self.fail(api, tmp_path, Broken())
        summary = self.attempt(tmp_path, Broken(), 2)
        assert [day["rows"]["usage"] for day in summary["days"]] == [3, 1, 2, 0, 4]

    def test_days_that_a_backend_does_not_give_back_are_loaded_again(
        self, api: API, store: Store, tmp_path: Path
    ) -> None:
        # As Airflow gives the value to a worker without the backend that stored it.
        for key in store:
            store[key] = {"__airflow_state_ref__": "s3://bucket/key"}
        self.attempt(tmp_path, store, 2)
        assert set(api.asked) == set(days_before(5))


class TestTheFirstDay:
    def test_it_may_come_with_the_run(self, serve: Callable[[API], API], tmp_path: Path) -> None:
        serve(API([1, 2, 3]))
        operator = ClaudeCodeToObjectStorageOperator(task_id="load", path=str(tmp_path), day=str(DAY), lookback_days=1)
        run_of_period = SimpleNamespace(run_type="manual", conf={"first_day": "2025-08-30"})
        context: Any = {"ti": SimpleNamespace(dag_id="d", run_id="r"), "dag_run": run_of_period, "outlet_events": {}}
        assert [day["rows"]["usage"] for day in operator.execute(context)["days"]] == [1, 2, 3]

    def test_it_may_be_a_template_and_mapped(self, serve: Callable[[API], API], tmp_path: Path) -> None:
        serve(API([1, 2, 3]))
        with DAG("periods", schedule=None) as dag:
            ClaudeCodeToObjectStorageOperator.partial(task_id="load", path=str(tmp_path), day=str(DAY)).expand(
                first_day=["2025-08-31", "{{ week }}"]
            )
        mapped: Any = dag.get_task("load")
        assert "first_day" in mapped.template_fields
        operator = ClaudeCodeToObjectStorageOperator(
            task_id="load", path=str(tmp_path), day=str(DAY), first_day="{{ week }}"
        )
        operator.render_template_fields({"week": "2025-08-31"})  # type: ignore[typeddict-unknown-key]
        assert [day["day"] for day in run(operator)["days"]] == ["2025-08-31", "2025-09-01"]

    def test_a_backfills_run_loads_its_own_period(self, serve: Callable[[API], API], tmp_path: Path) -> None:
        serve(API([1, 2, 3]))
        operator = ClaudeCodeToObjectStorageOperator(
            task_id="load", path=str(tmp_path), day=str(DAY), first_day="2025-08-31"
        )
        assert [day["day"] for day in run(operator, run_type="backfill")["days"]] == ["2025-08-31", "2025-09-01"]

    @pytest.mark.parametrize(
        ("first_day", "said"),
        [
            ("2025-09-02", "first_day=2025-09-02 is after the last day to load, 2025-09-01"),
            ("last week", "first_day is 'last week'; a UTC day written YYYY-MM-DD was expected"),
            (str(DAY - timedelta(days=MAX_DAYS)), "are 367 days, but a task loads at most 366. Split them"),
        ],
    )
    def test_a_period_that_cannot_be_is_refused_for_good(
        self, serve: Callable[[API], API], tmp_path: Path, first_day: str, said: str
    ) -> None:
        api = serve(API([1]))
        with pytest.raises(AirflowFailException, match=said):
            load(Place(tmp_path / "target"), first_day=first_day)
        assert api.asked == []
        assert not (tmp_path / "target").exists()


def test_the_assets_events_have_all_days(serve: Callable[[API], API], tmp_path: Path) -> None:
    serve(API([1, 2, 3]))
    asset, events = Asset("usage"), OutletEventAccessors()
    operator = ClaudeCodeToObjectStorageOperator(
        task_id="load", path=str(tmp_path), day=str(DAY), first_day="2025-08-30", outlets=[asset]
    )
    summary = run(operator, events)
    assert events[asset].extra == summary
    assert operator.loaded == summary["days"]
    assert [day["day"] for day in summary["days"]] == ["2025-08-30", "2025-08-31", "2025-09-01"]


@pytest.mark.parametrize("status", [429, 500, 529])
def test_an_api_that_fails_now_and_then_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Through the real client, over connections of its own for each thread."""
    with (
        Sandbox(records=lambda day, _: people(day.day, day), faults=Faults(status=status, rate=0.3)) as sandbox,
        few_attempts(20),
    ):
        connection = {"conn_type": "claude_code", "host": sandbox.base_url, "password": API_KEY}
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps({**connection, "extra": {"page_limit": 7}}))
        summary = load(Place(tmp_path), first_day="2025-08-22")
    assert [day["rows"]["usage"] for day in summary["days"]] == [*range(22, 32), 1]
    for day in summary["days"]:
        Place(tmp_path).assert_whole(date.fromisoformat(day["day"]))
    assert len(sandbox.requests) > sum(-(-day["rows"]["usage"] // 7) for day in summary["days"])

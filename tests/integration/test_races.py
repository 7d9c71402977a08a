"""
Two tasks load the same day at the same time: in any order of their steps it ends as one of the two loads, whole.

A step is whatever other writers can see or undo: an operation on a store of files, the moments at which a local file
is flushed, and each request to a Google service. One writer moves at a time, and a schedule says which.
"""

import csv
import gzip
import io
import itertools
import json
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from airflow_provider_claude_code.exceptions import ClaudeCodeEmptyDayError, ClaudeCodePublishError
from airflow_provider_claude_code.sandbox import Organization, Sandbox
from airflow_provider_claude_code.storage import locks, stores
from airflow_provider_claude_code.storage.locks import try_lock
from airflow_provider_claude_code.streams.registry import find_stream
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures import files
from tests.fixtures.clock import Clock
from tests.fixtures.files import Place
from tests.fixtures.records import TABLES, Json, people
from tests.truth.records import canonical

pytestmark = pytest.mark.newest_only

WRITERS = ("first", "second")
CONNECTIONS = ("claude_code_default", "rivals")
KEEPS_GOING = math.inf
Schedule = Sequence[float | str]


class Race:
    """
    Two writers in threads, of which one moves at a time.

    :param schedule: how many steps the first one takes, how many the second takes then, and so on; or a text, to go
        until a step whose name contains it. After that, who moves goes to the end, and then the other one does.
    """

    def __init__(self, schedule: Iterable[float | str] = ()) -> None:
        self.steps: list[tuple[int, str]] = []
        self.moving = 0
        self._schedule = iter(schedule)
        self._burst = next(self._schedule, KEEPS_GOING)
        self._running: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._condition = threading.Condition()

    def run(self, *writers: Callable[[], Json]) -> list[Json | Exception]:
        """Return what each writer returned, or how it gave up."""
        outcomes: list[Any] = [None] * len(writers)
        self._running = set(range(len(writers)))

        def run(number: int) -> None:
            self._numbers[threading.get_ident()] = number
            try:
                with self._condition:
                    self._await_turn(number)
                outcomes[number] = writers[number]()
            except BaseException as error:
                outcomes[number] = error
            finally:
                with self._condition:
                    self._running.discard(number)
                    self._hand_over()

        threads = [threading.Thread(target=run, args=(number,)) for number in self._running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(
                outcome, ClaudeCodePublishError | ClaudeCodeEmptyDayError | AirflowFailException
            ):
                raise outcome
        return outcomes

    def step(self, name: str) -> None:
        """Wait before a step until the test allows it. Other threads do not wait."""
        number = self._numbers.get(threading.get_ident())
        if number is None:
            return
        with self._condition:
            while self._burst in name if isinstance(self._burst, str) else self._burst <= 0:
                self._give_way(number)
            if not isinstance(self._burst, str):
                self._burst -= 1
            self.steps.append((number, name))

    def give_way(self) -> None:
        """Let the other writer continue, since this one cannot."""
        with self._condition:
            self._give_way(self.moving)

    def _give_way(self, number: int) -> None:
        self._hand_over()
        self._await_turn(number)

    def _hand_over(self) -> None:
        self.moving = next((number for number in self._running if number != self.moving), self.moving)
        self._burst = next(self._schedule, KEEPS_GOING)
        self._condition.notify_all()

    def _await_turn(self, number: int) -> None:
        assert self._condition.wait_for(lambda: self.moving == number, 60), "It was never this writer's turn"


class Target:
    """Where the day goes."""

    race = Race()

    def make(self) -> None:
        """Make an empty place, which is used from now on."""
        raise NotImplementedError

    def load(self, number: int, *, unlike: bool = False, **arguments: Any) -> Json:
        """Load the day; of loads that are not alike, each is as different as the target allows."""
        raise NotImplementedError

    def rows(self, table: str) -> list[Json]:
        """The rows of a table."""
        raise NotImplementedError

    def loads(self) -> list[Json]:
        """The rows of loads."""
        raise NotImplementedError

    def loads_of(self, stream: str, day: date) -> list[Json]:
        """The rows of loads of a stream."""
        raise NotImplementedError

    def assert_whole(self, expected: list[Json]) -> None:
        """Check what the target has and promises beyond the tables' content."""
        raise NotImplementedError

    def assert_one_organizations(self, organization_id: str) -> None:
        """Check that all content belongs to one organisation."""
        assert {row["organization_id"] for row in self.loads()} == {organization_id}


class FilesTarget(Target):
    place: Place

    def format(self, number: int, unlike: bool) -> str:
        return ("parquet", "csv", "ndjson")[number] if unlike else "parquet"

    def rows(self, table: str) -> list[Json]:
        files = [item for item in self.place.tree().items() if item[0].startswith(f"{table}/")]
        if not files:
            return []
        [(path, content)] = files
        if path.endswith(".parquet"):
            return list(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist())
        return list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))

    def loads(self) -> list[Json]:
        return list(itertools.chain(*self.place.loads()))

    def loads_of(self, stream: str, day: date) -> list[Json]:
        self.place.stream = stream
        self.place.assert_whole(day)
        return list(itertools.chain(*self.place.loads(day)))

    def assert_whole(self, expected: list[Json]) -> None:
        # The newest commit record, too, is true of what is stored.
        self.place.assert_whole()
        others = {key for key in self.place.tree() if not key.startswith("loads/")}
        paths = {row["path"] for row in self.place.commit_records().values()}
        assert others == {"_organization.json", *paths} - {None}

    def assert_one_organizations(self, organization_id: str) -> None:
        super().assert_one_organizations(organization_id)
        assert json.loads(self.place.tree()["_organization.json"])["organization_id"] == organization_id


class SteppedTarget(FilesTarget):
    """A store of files whose steps are its operations."""

    def load(self, number: int, *, unlike: bool = False, **arguments: Any) -> Json:
        arguments["file_format"] = self.format(number, unlike)
        return files.load_in_steps(self.place, lambda name: self.race.step(name), **arguments)


class LocalTarget(SteppedTarget):
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folders = (folder / str(number) for number in itertools.count())
        fsync = stores.os.fsync

        def stepped_fsync(descriptor: int) -> None:
            self.race.step("fsync")
            fsync(descriptor)

        def give_way_while_locked(descriptor: int, directory: Path) -> bool:
            while not try_lock(descriptor, directory):
                self.race.give_way()
            return True

        patch.setattr(stores.os, "fsync", stepped_fsync)
        patch.setattr(locks, "try_lock", give_way_while_locked)

    def make(self) -> None:
        self.place = Place(next(self._folders))


class RemoteTarget(SteppedTarget):
    def make(self) -> None:
        self.place = Place(None)


def step_before_requests(target: Target, patch: pytest.MonkeyPatch) -> None:
    from google.auth.transport.requests import AuthorizedSession

    request = AuthorizedSession.request

    def stepped_request(self: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        target.race.step(f"{method} {url.split('?')[0]}")
        return request(self, method, url, *arguments, **options)

    patch.setattr(AuthorizedSession, "request", stepped_request)


class GCSTarget(FilesTarget):
    def __init__(self, patch: pytest.MonkeyPatch, server: Any) -> None:
        from tests.fixtures import buckets

        self._server = server
        self._module = buckets
        server.reset(buckets.BUCKET)
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(buckets.GCP_CONNECTION))
        step_before_requests(self, patch)

    def make(self) -> None:
        self.place = self._module.Bucket(self._server)

    def load(self, number: int, *, unlike: bool = False, **arguments: Any) -> Json:
        return self._module.load(self.place, file_format=self.format(number, unlike), **arguments)


class BigQueryTarget(Target):
    def __init__(self, patch: pytest.MonkeyPatch, server: Any) -> None:
        from tests.fixtures import bigquery

        self.server = server
        self._module = bigquery
        connection = {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": bigquery.PROJECT},
        }
        patch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
        step_before_requests(self, patch)

    def make(self) -> None:
        self.dataset = self._module.Dataset(self.server)

    def load(self, number: int, *, unlike: bool = False, **arguments: Any) -> Json:
        return self._module.load(self.dataset, **arguments)

    def await_jobs(self) -> None:
        """Wait until no job runs."""
        self._module.until(lambda: {job.state for job in self.dataset.jobs()} == {"DONE"})

    def rows(self, table: str) -> list[Json]:
        return self.dataset.rows(table)

    def loads(self) -> list[Json]:
        return self.dataset.rows("loads")

    def loads_of(self, stream: str, day: date) -> list[Json]:
        return [row for row in self.loads() if (row["stream"], row["date"]) == (stream, day)]

    def assert_whole(self, expected: list[Json]) -> None:
        self.dataset.assert_holds(expected)
        assert self.dataset.names() == {*TABLES, "loads"}
        assert {(job.state, job.reason) for job in self.dataset.jobs()} == {("DONE", None)}

    def assert_one_organizations(self, organization_id: str) -> None:
        super().assert_one_organizations(organization_id)
        labels = {self.dataset.get(table).labels["claude_code_organization"] for table in (*TABLES, "loads")}
        assert labels == {organization_id}


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def gcs_server() -> Iterator[Any]:
    servers = pytest.importorskip("tests.fixtures.servers.gcs")
    with servers.GCSServer() as server:
        yield server


@pytest.fixture(scope="module")
def bigquery_server() -> Iterator[Any]:
    pytest.importorskip("sqlglot")
    servers = pytest.importorskip("tests.fixtures.servers.bigquery")
    with servers.BigQueryServer("demo-proj") as server:
        yield server


@pytest.fixture
def sandbox(api: Sandbox, monkeypatch: pytest.MonkeyPatch, spool: Path) -> Sandbox:
    """The sandbox, Connections of two organisations, and a spool directory that ends empty."""
    for name, key in zip(CONNECTIONS, (api.api_key, f"{api.api_key}-rivals"), strict=True):
        connection = {"conn_type": "claude_code", "host": api.base_url, "password": key}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0)
    return api


@pytest.fixture
def target(request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Target:
    if request.param == "local":
        return LocalTarget(tmp_path / "targets", monkeypatch)
    if request.param == "gcs":
        return GCSTarget(monkeypatch, request.getfixturevalue("gcs_server"))
    if request.param == "bigquery":
        return BigQueryTarget(monkeypatch, request.getfixturevalue("bigquery_server"))
    return RemoteTarget()


def day_of(writer: str, unlike: bool = False) -> list[Json]:
    """The records for a writer, each of which names the writer. If loads differ, the second one has fewer records."""
    count = {"first": 2, "second": 3, "before": 4}[writer]
    poor = {"model_breakdown": [], "tool_actions": {}} if unlike and writer == "second" else {}
    return people(count, terminal_type=writer, **poor)


def people_in(records: list[Json]) -> dict[str, list[str]]:
    """By table, whose rows they are."""
    entries = {
        "usage": lambda _: [0],
        "model_usage": lambda r: r["model_breakdown"],
        "tool_usage": lambda r: r["tool_actions"],
    }
    return {
        table: sorted(record["actor"]["email_address"] for record in records for _ in inside(record))
        for table, inside in entries.items()
    }


@dataclass(frozen=True)
class Situation:
    """
    What two writers meet.

    :param loaded_before: whether the day was loaded before
    :param unlike: whether the loads are as different as the target allows
    :param empty: the writer that is served no records
    :param on_empty: what it is to do then
    """

    loaded_before: bool = False
    unlike: bool = False
    empty: str | None = None
    on_empty: str = "write"

    def day_of(self, writer: str) -> list[Json]:
        """The records that a writer is served."""
        return [] if writer == self.empty else day_of(writer, self.unlike)

    def begin(self, target: Target, sandbox: Sandbox) -> None:
        """Make the place as it is before the race."""
        target.make()
        if self.loaded_before:
            sandbox.records = lambda *_: day_of("before")
            target.load(2, unlike=self.unlike)
        # Only the one that moves can ask.
        sandbox.records = lambda *_: self.day_of(WRITERS[target.race.moving])

    def loaders(self, target: Target, **arguments: Sequence[Any]) -> list[Callable[[], Json]]:
        """The writers, each with its own value of each argument."""

        def load(number: int) -> Json:
            own = {name: values[number] for name, values in arguments.items()}
            return target.load(number, unlike=self.unlike, on_empty=self.on_empty, **own)

        return [partial(load, number) for number in range(2)]

    def lone_steps(self, target: Target, sandbox: Sandbox) -> tuple[int, int]:
        """Return how many steps a writer takes before it reads the day, and how many until it ends, without another."""
        self.begin(target, sandbox)
        target.race = Race()
        before = []

        def noted(*_: Any) -> list[Json]:
            before.append(len(target.race.steps))
            return day_of("first", self.unlike)

        sandbox.records = noted
        target.race.run(self.loaders(target)[0])
        return before[0], len(target.race.steps)


def schedules(read: int, steps: int, share: int) -> list[Schedule]:
    """
    Choose interleavings of four kinds: one loads between two steps of the other; an older load goes on after a step of
    a newer one; any step of the one and any step of the other; and many switches.

    :param read: the steps that a writer takes before it reads the day.
    :param steps: those until it ends.
    :param share: which sixth of the first two kinds, since all of them would take minutes; the others are sampled.
    """
    chance = random.Random(f"{steps} {share}")
    between: list[Schedule] = [[number, KEEPS_GOING] for number in range(steps + 1)]
    older: list[Schedule] = [[read, number] for number in range(1, steps)]
    pairs: list[Schedule] = [[one, other] for one in range(read + 1, steps) for other in range(1, steps)]
    many: list[Schedule] = [[chance.randint(1, steps // 2) for _ in range(chance.randint(3, 8))] for _ in range(4)]
    return between[share::6] + older[share::6] + chance.sample(pairs, 4) + many


SITUATIONS = {
    "a new day": Situation(),
    "a day that was loaded before": Situation(loaded_before=True),
    "loads that are not alike": Situation(loaded_before=True, unlike=True),
    "the first finds no records": Situation(empty="first"),
    "the second finds no records": Situation(empty="second"),
    "one finds no records of a day that was loaded before": Situation(empty="second", loaded_before=True),
    "the first finds no records and is to empty the day": Situation(empty="first", on_empty="replace"),
    "the second finds no records and is to empty the day": Situation(empty="second", on_empty="replace"),
    "one finds no records and is to empty a day that was loaded before": Situation(
        empty="second", on_empty="replace", loaded_before=True, unlike=True
    ),
}


@contextmanager
def order_noted(schedule: Sequence[int], race: Race, outcomes: Sequence[Json | Exception]) -> Iterator[None]:
    """Say in a failure in which order the steps came."""
    try:
        yield
    except (AssertionError, ValueError, KeyError) as error:
        error.add_note(f"The schedule was {schedule}, the steps were {race.steps}, and the outcomes {outcomes}")
        raise


# The same code publishes files in all stores. Nothing keeps writers apart in an object store, where all situations are
# tried; preconditions do in Cloud Storage, and a lock does in a directory.
WHERE_WRITERS_ARE_KEPT_APART = (
    "loads that are not alike",
    "one finds no records of a day that was loaded before",
    "one finds no records and is to empty a day that was loaded before",
)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        *itertools.product(["object store", "bigquery"], SITUATIONS),
        *itertools.product(["local", "gcs"], WHERE_WRITERS_ARE_KEPT_APART),
    ],
    indirect=["target"],
)
def test_in_any_interleaving_the_day_ends_as_one_writers(target: Target, sandbox: Sandbox, name: str) -> None:
    situation = SITUATIONS[name]
    winners: Counter[str] = Counter()
    read, steps = situation.lone_steps(target, sandbox)
    orders = schedules(read, steps, list(SITUATIONS).index(name) % 6)
    for schedule in orders:
        situation.begin(target, sandbox)
        target.race = race = Race(schedule)
        outcomes = race.run(*situation.loaders(target))
        with order_noted(schedule, race, outcomes):
            winners[assert_one_load(target, outcomes, situation)] += 1
    print(len(orders), "interleavings,", dict(winners))
    assert len(orders) >= 12
    # Who finds no records never wins where rows are not to be erased.
    assert set(winners) == set(WRITERS) - ({situation.empty} if situation.on_empty == "write" else set())


def assert_one_load(target: Target, outcomes: list[Json | Exception], situation: Situation) -> str:
    """Check that the tables are those of one of the loads, and return the writer that it belongs to."""
    tables = {table: target.rows(table) for table in TABLES}
    rows = list(itertools.chain(*tables.values()))
    # It is one writer's, and of one load in all tables.
    [winner] = {row["terminal_type"] for row in rows} or {situation.empty}
    expected = situation.day_of(winner)
    assert {table: sorted(row["actor_id"] for row in tables[table]) for table in TABLES} == people_in(expected)
    target.assert_whole(expected)

    # Nobody had to give up but one that must not erase rows, and loads remembers both: all tables of each load, or
    # none.
    ended = {}
    for writer, outcome in zip(WRITERS, outcomes, strict=True):
        if isinstance(outcome, Exception):
            assert (writer, type(outcome)) == (situation.empty, ClaudeCodeEmptyDayError)
            assert situation.on_empty == "write"
        else:
            ended[writer] = outcome["days"][0]["load_id"]
    loads: dict[str, list[Json]] = {}
    for row in target.loads():
        loads.setdefault(row["load_id"], []).append(row)
    for of_load in loads.values():
        assert sorted(row["table_name"] for row in of_load) == sorted(TABLES)
        assert len({row["loaded_at"] for row in of_load}) == 1
    assert set(ended.values()) <= set(loads)
    # The newest one is what the tables hold.
    assert max(loads) == ended[winner]
    won = loads[ended[winner]]
    moments = {datetime.fromisoformat(str(row["loaded_at"])) for row in rows}
    assert moments <= {row["loaded_at"] for row in won}
    assert {row["table_name"]: row["row_count"] for row in won} == {table: len(tables[table]) for table in TABLES}
    return winner


@pytest.mark.parametrize("target", ["object store"], indirect=True)
def test_a_load_that_another_writer_replaced_is_not_in_loads(
    target: Target, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is not loaded again, which would hide it behind a newer load.
    monkeypatch.setattr(base, "PUBLISH_ATTEMPTS", 1)
    situation = Situation(loaded_before=True)
    gave_up = 0
    for schedule in schedules(*situation.lone_steps(target, sandbox), share=0):
        situation.begin(target, sandbox)
        known = {row["load_id"] for row in target.loads()}
        target.race = race = Race(schedule)
        outcomes = race.run(*situation.loaders(target))
        ended = {outcome["days"][0]["load_id"] for outcome in outcomes if isinstance(outcome, dict)}
        gave_up += len(outcomes) - len(ended)
        with order_noted(schedule, race, outcomes):
            assert {row["load_id"] for row in target.loads()} == known | ended
    assert gave_up


@pytest.mark.parametrize(
    ("target", "empty"),
    [("local", None), *itertools.product(["gcs", "bigquery"], [None, *WRITERS])],
    indirect=["target"],
)
def test_of_two_organisations_that_claim_an_empty_target_exactly_one_wins(
    target: Target, sandbox: Sandbox, empty: str | None
) -> None:
    owners = [sandbox.organization.id, Organization.named("rivals", 1).id]
    winners: Counter[str] = Counter()
    situation = Situation(empty=empty)
    read, steps = situation.lone_steps(target, sandbox)
    orders = schedules(read, steps, [None, *WRITERS].index(empty))
    for schedule in orders:
        situation.begin(target, sandbox)
        target.race = race = Race(schedule)
        outcomes = race.run(*situation.loaders(target, claude_code_conn_id=CONNECTIONS, tables=[TABLES[::-1], TABLES]))
        with order_noted(schedule, race, outcomes):
            [loser] = [number for number in range(2) if isinstance(outcomes[number], AirflowFailException)]
            winner = 1 - loser
            assert f"contains the usage of organisation {owners[winner]}" in str(outcomes[loser])
            expected = situation.day_of(WRITERS[winner])
            target.assert_whole(expected)
            target.assert_one_organizations(owners[winner])
            found = {row["terminal_type"] for table in TABLES for row in target.rows(table)}
            assert found == ({WRITERS[winner]} if expected else set())
        winners[WRITERS[winner]] += 1
    print(len(orders), "interleavings,", dict(winners))
    assert len(orders) >= 12
    assert set(winners) == set(WRITERS)


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = {"usage": date(2026, 3, 2), "cost": date(2026, 3, 2), "members": NOW.date()}
STAFF = {name: Organization.named("Sandbox", users) for name, users in (("first", 9), ("second", 12), ("before", 15))}
"""The records of an organisation when a writer requests them."""
Content = dict[str, list[str]]


class Streams:
    """Writers of streams, each of which is told of another state of the organisation."""

    def __init__(self, target: Target, sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
        self.target = target
        self.asked = 0
        self._teller: str | None = None
        authenticate = sandbox.authenticate

        def authenticate_teller(request: Any) -> Organization:
            # Only the one that moves can ask.
            sandbox.organization = STAFF[self._teller or WRITERS[target.race.moving]]
            self.asked = self.asked or len(target.race.steps)
            return authenticate(request)

        clock = Clock(NOW)
        clock.rule(patch)
        for name, value in (("authenticate", authenticate_teller), ("now", clock), ("records", None)):
            patch.setattr(sandbox, name, value)
        patch.setattr(sandbox, "organization", sandbox.organization)

    def load(self, stream: str, number: int = 0) -> Json:
        """Load the day of a stream."""
        return self.target.load(number, stream=stream, day=DAYS[stream])

    def load_as(self, teller: str, stream: str) -> Json:
        """Load what one is told, while nobody else moves."""
        self._teller = teller
        try:
            return self.load(stream)
        finally:
            self._teller = None

    def content(self, stream: str) -> Content:
        """What the tables hold of a stream, whichever load it is from."""
        rows = {table: self.target.rows(table) for table in find_stream(stream).table_names}
        return {
            table: canonical({name: row[name] for name in row if name != "loaded_at"} for row in held)
            for table, held in rows.items()
        }

    def told(self, teller: str, stream: str) -> Content:
        """What the tables hold once only this one has loaded."""
        self.target.make()
        self.load_as(teller, stream)
        return self.content(stream)

    def lone_steps(self, stream: str) -> tuple[int, int]:
        """Return how many steps a writer takes before it asks the API, and how many until it ends."""
        self.begin(stream)
        self.asked = 0
        self.target.race = Race()
        self.target.race.run(partial(self.load, stream))
        return self.asked, len(self.target.race.steps)

    def begin(self, *streams: str) -> None:
        """Make a place where days of streams were loaded before."""
        self.target.make()
        for stream in streams:
            self.load_as("before", stream)

    def assert_whole(self, stream: str, outcomes: Sequence[Json | Exception]) -> None:
        """Check that the tables are of one load, which is the newest that ``loads`` has, and ended well."""
        loads: dict[str, list[Json]] = {}
        for row in self.target.loads_of(stream, DAYS[stream]):
            loads.setdefault(row["load_id"], []).append(row)
        tables = find_stream(stream).table_names
        for of_load in loads.values():
            assert sorted(row["table_name"] for row in of_load) == sorted(tables)
        assert max(loads) in [outcome["days"][0]["load_id"] for outcome in outcomes if isinstance(outcome, dict)]
        newest = {row["table_name"]: row for row in loads[max(loads)]}
        for table in tables:
            rows = self.target.rows(table)
            assert len(rows) == newest[table]["row_count"]
            assert {row["loaded_at"] for row in rows} <= {newest[table]["loaded_at"]}


# All streams are published by the same code.
OTHER_STREAMS = [("object store", "cost"), ("gcs", "cost"), ("bigquery", "members")]


@pytest.fixture
def streams(target: Target, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Streams:
    return Streams(target, sandbox, monkeypatch)


@pytest.mark.parametrize(("target", "stream"), OTHER_STREAMS, indirect=["target"])
def test_in_any_interleaving_a_day_of_another_stream_ends_as_one_writers(
    target: Target, streams: Streams, stream: str
) -> None:
    told = {writer: streams.told(writer, stream) for writer in WRITERS}
    winners: Counter[str] = Counter()
    orders = schedules(*streams.lone_steps(stream), share=2)
    for schedule in orders:
        streams.begin(stream)
        target.race = race = Race(schedule)
        outcomes = race.run(*(partial(streams.load, stream, number) for number in range(2)))
        with order_noted(schedule, race, outcomes):
            held = streams.content(stream)
            [winner] = [writer for writer in WRITERS if held == told[writer]]
            assert [type(outcome) for outcome in outcomes] == [dict, dict]
            streams.assert_whole(stream, outcomes)
        winners[winner] += 1
    print(len(orders), "interleavings,", dict(winners))
    assert set(winners) == set(WRITERS)


@pytest.mark.parametrize(
    ("target", "long", "short"),
    [("object store", "usage", "cost"), ("gcs", "members", "usage"), ("bigquery", "usage", "cost")],
    indirect=["target"],
)
def test_loads_of_two_streams_do_not_disturb_each_other(
    target: Target, streams: Streams, monkeypatch: pytest.MonkeyPatch, long: str, short: str
) -> None:
    """Into one target, at the same time, in any interleaving; usage and charges even of one day."""
    # Neither loads again because of the other.
    monkeypatch.setattr(base, "PUBLISH_ATTEMPTS", 1)
    told = {stream: streams.told(writer, stream) for writer, stream in zip(WRITERS, (long, short), strict=True)}
    orders = schedules(*streams.lone_steps(long), share=4)
    for schedule in orders:
        streams.begin(long, short)
        target.race = race = Race(schedule)
        outcomes = race.run(*(partial(streams.load, stream, number) for number, stream in enumerate((long, short))))
        with order_noted(schedule, race, outcomes):
            assert {stream: streams.content(stream) for stream in told} == told
            for stream, outcome in zip(told, outcomes, strict=True):
                streams.assert_whole(stream, [outcome])
    print(len(orders), "interleavings")


class Killed(BaseException):
    """Ends a writer."""


class Kill(Race):
    """A writer that is killed before one of its steps."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def step(self, name: str) -> None:
        self.steps.append((0, name))
        if len(self.steps) > self.number:
            raise Killed


@pytest.mark.parametrize(("target", "stream"), OTHER_STREAMS, indirect=["target"])
def test_one_that_is_killed_before_any_step_changes_no_other_stream_and_the_retry_is_exact(
    target: Target, streams: Streams, stream: str
) -> None:
    told = {writer: streams.told(writer, stream) for writer in WRITERS}
    asked, _ = streams.lone_steps(stream)
    other = streams.told("before", "usage")
    streams.load_as("second", stream)
    # Before it asks the API, a writer only looks.
    for number, (before, writer) in enumerate(itertools.cycle((WRITERS[::-1], WRITERS)), start=asked):
        assert streams.content(stream) == told[before]
        target.race = Kill(number)
        try:
            streams.load_as(writer, stream)
            break
        except Killed:
            target.race = Race()
        assert streams.content("usage") == other
        outcome = streams.load_as(writer, stream)
        assert streams.content(stream) == told[writer]
        streams.assert_whole(stream, [outcome])
    print(number - asked, "kills")
    assert number - asked > 5


@pytest.mark.parametrize("target", ["local"], indirect=True)
def test_in_a_local_directory_a_writer_waits_until_the_other_is_through(target: LocalTarget, sandbox: Sandbox) -> None:
    situation = Situation(loaded_before=True)
    read, steps = situation.lone_steps(target, sandbox)
    for number in range(read + 1, steps):
        situation.begin(target, sandbox)
        target.race = race = Race([number, KEEPS_GOING])
        race.run(*situation.loaders(target))
        after = race.steps[race.steps.index((1, "exclusive")) + 1 :]
        assert [writer for writer, _ in after] == [0] * (steps - number) + [1] * (steps - read - 1)


def job_starts(race: Race) -> list[int]:
    """The steps that start load jobs."""
    return [number for number, (_, name) in enumerate(race.steps) if name.startswith("POST") and "/upload/" in name]


@pytest.mark.parametrize("target", ["bigquery"], indirect=True)
class TestBigQuery:
    @pytest.mark.parametrize(
        ("late", "on_empty"),
        [(TABLES[:1], None), (TABLES[1:], None), (TABLES, None), (TABLES, "write"), (TABLES, "replace")],
    )
    def test_jobs_that_land_after_those_of_a_newer_load_leave_the_day_whole(
        self, target: BigQueryTarget, sandbox: Sandbox, late: tuple[str, ...], on_empty: str | None
    ) -> None:
        from tests.fixtures.servers.bigquery import SlowJob

        winners: Counter[str] = Counter()
        situation = Situation(loaded_before=on_empty != "write")
        if on_empty:
            situation = replace(situation, empty="second", on_empty=on_empty)
        _, steps = situation.lone_steps(target, sandbox)
        started = job_starts(target.race)[2] + 1
        landings = range(1 + len(late), steps + 1, 4)
        for number in landings:
            situation.begin(target, sandbox)
            landed = threading.Event()
            target.server.faults = [SlowJob(table=f"claude_code_{name}", times=1, release=landed) for name in late]

            def schedule(number: int = number, landed: threading.Event = landed) -> Iterator[float | str]:
                # The first one starts all its jobs.
                yield started
                yield number
                landed.set()
                target.await_jobs()

            target.race = race = Race(schedule())
            outcomes = race.run(*situation.loaders(target))
            try:
                winners[assert_one_load(target, outcomes, situation)] += 1
            except (AssertionError, ValueError, KeyError) as error:
                error.add_note(f"They landed at step {number} of the second, and the steps were {race.steps}")
                raise
        print(len(landings), "interleavings,", dict(winners))

    @pytest.mark.parametrize(
        "situation",
        [Situation(loaded_before=True, unlike=True), Situation(loaded_before=True, empty="second", on_empty="replace")],
        ids=["some", "all"],
    )
    def test_rows_that_land_between_a_look_at_older_ones_and_their_deletion_leave_the_day_whole(
        self, target: BigQueryTarget, sandbox: Sandbox, situation: Situation
    ) -> None:
        situation.lone_steps(target, sandbox)
        starts = job_starts(target.race)
        situation.begin(target, sandbox)
        # The older load's last job lands after those of the newer one, which has no rows for that table and is about
        # to delete what it takes for left over, when the older one loads again.
        target.race = race = Race([starts[2], starts[2] + 1, 1, "DELETE", KEEPS_GOING])
        outcomes = race.run(*situation.loaders(target))
        assert [name for _, name in race.steps if name.startswith("DELETE")]
        assert_one_load(target, outcomes, situation)

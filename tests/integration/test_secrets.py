"""
The key, the pseudonym secret and people's names are nowhere but where they belong, whatever happens.

Everything that a load, a wait or a test of the Connection shows or leaves behind is searched for canaries.
``pytest -s`` prints where that was, how much there was to search, and what was found.
"""

import asyncio
import gzip
import io
import itertools
import json
import logging
import os
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace, TracebackType
from typing import Any, Protocol

import pytest
import structlog

pytest.importorskip("airflow.providers.google", reason="the extra `google` is not installed")
pytest.importorskip("sqlglot", reason="the local BigQuery server translates SQL with sqlglot")

import pyarrow.parquet
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_claude_code.api.client import ClaudeCodeClient
from airflow_provider_claude_code.exceptions import ClaudeCodePublishError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.sandbox import Faults, Organization, Sandbox, cost_report
from airflow_provider_claude_code.sandbox import charges as sandbox_charges
from airflow_provider_claude_code.sandbox import people as sandbox_people
from airflow_provider_claude_code.sandbox import service as sandbox_service
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import (
    ClaudeCodeToObjectStorageOperator,
)
from tests.fixtures.airflow_version import TaskDeferred
from tests.fixtures.bigquery import PROJECT, Dataset
from tests.fixtures.clock import Clock
from tests.fixtures.faults import with_fields
from tests.fixtures.hook_lineage import collect_hook_lineage
from tests.fixtures.records import DAY, TABLES, Json, body, model, official_example
from tests.fixtures.retries import few_attempts
from tests.fixtures.scenes import NOW
from tests.fixtures.servers.bigquery import BigQueryServer, FailingJob, HttpError
from tests.fixtures.servers.gcs import Fault, GCSServer

PACKAGE = "airflow_provider_claude_code"
KEY = "sk-ant-admin01-KEYCANARY0123456789"
SECRET = "SECRETCANARY correct horse battery staple"
PERSON = "PersonCanary@example.com"
CANARIES = {"key": "keycanary", "secret": "secretcanary", "person": "personcanary"}
BUCKET = "usage-bucket"


def records(**changes: Any) -> list[Json]:
    """Return records of a person, a key and a new kind of actor, on several pages."""
    actors: list[Json] = [
        {"type": "user_actor", "email_address": PERSON},
        {"type": "api_actor", "api_key_name": "personcanary-pipeline"},
        {"type": "service_actor", "id": "personcanary-service", "owner": {"email": PERSON}},
        {"type": "user_actor", "email_address": f"second.{PERSON}"},
    ]
    return [official_example(actor=actor, **changes) for actor in actors]


class Search:
    """
    Looks for canaries and counts what it looked at.

    :ivar texts: how many texts each place had.
    :ivar characters: how long they were.
    :ivar found: where there was a canary: the place, which one, and the text around it.
    """

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.found: list[tuple[str, str, str]] = []

    def look(self, place: str, *things: object, allowed: tuple[str, ...] = ()) -> None:
        for thing in things:
            text = thing if isinstance(thing, str) else repr(thing)
            self.texts[place] += bool(text)
            self.characters[place] += len(text)
            for canary, needle in CANARIES.items():
                at = text.lower().find(needle)
                if at >= 0 and canary not in allowed:
                    self.found.append((place, canary, text[max(0, at - 80) : at + 40]))

    def look_at_error(self, error: BaseException) -> None:
        """Look at all that can be shown of an error: its chain, and the variables of its frames."""
        for link in _chain(error):
            self.look("errors and what they followed from", str(link), link, link.args, vars(link))
        trace = _from_the_package_on(error.__traceback__)
        shown = traceback.TracebackException(type(error), error, trace, capture_locals=True, compact=True)
        # What libraries hold of a file that they upload is theirs.
        self.look("tracebacks with variables", "".join(shown.format()), allowed=("person",))
        for frame in _shown_frames(error):
            if frame.f_globals.get("__name__", "").startswith(PACKAGE):
                self.look("variables of our frames", *frame.f_locals.values())

    def assert_clean(self, *places: str) -> None:
        """Check that nothing was found, and that there was something to search in all these places."""
        assert self.found == []
        assert [place for place in places if not self.characters[place]] == []

    def __str__(self) -> str:
        found = Counter(place for place, _, _ in self.found)
        lines = [f"{'place':40} {'texts':>8} {'characters':>12} {'findings':>9}"]
        lines += [f"{place:40} {self.texts[place]:8} {self.characters[place]:12} {found[place]:9}" for place in self]
        return "\n".join(lines)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.texts))


def _chain(error: BaseException) -> Iterator[BaseException]:
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        link = todo.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            todo += [link.__cause__, link.__context__]


def _shown_frames(error: BaseException | None) -> Iterator[FrameType]:
    """Yield the frames that a traceback shows, without those of a suppressed context."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _from_the_package_on(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the test's own frames, which hold the canaries."""
    while trace is not None and not trace.tb_frame.f_globals.get("__name__", "").startswith(PACKAGE):
        trace = trace.tb_next
    return trace


def texts(content: bytes) -> Iterator[str]:
    """A file's raw bytes, and what is in it once it is decompressed."""
    yield content.decode("latin-1")
    if content[:4] == b"PAR1":
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        yield f"{table.schema.metadata} {table.to_pylist()}"
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content).decode()


class Target(Protocol):
    """Where a test's days go, seen from outside."""

    def operator(self, **arguments: Any) -> base.ClaudeCodeTransferOperator:
        """Make an operator that loads there."""

    def tables(self) -> Iterator[str]:
        """Yield what the data tables hold."""

    def rest(self) -> Iterator[tuple[str, str]]:
        """Yield places and what is there besides."""

    def refuse(self) -> None:
        """Take the permission away."""


class Files:
    def __init__(self, root: Path, **arguments: Any) -> None:
        self.root = root
        self.arguments = arguments

    def operator(self, **arguments: Any) -> base.ClaudeCodeTransferOperator:
        return ClaudeCodeToObjectStorageOperator(task_id="load", path=str(self.root), **self.arguments, **arguments)

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def tables(self) -> Iterator[str]:
        for name, content in self.contents().items():
            if name.startswith(tuple(f"{table}/" for table in DATA_TABLES)):
                yield from texts(content)

    def rest(self) -> Iterator[tuple[str, str]]:
        for name, content in self.contents().items():
            yield "names of files and objects", name
            if name.startswith(("_", "loads/")):
                yield from ((f"{name.partition('/')[0]} beside the tables", text) for text in texts(content))

    def refuse(self) -> None:
        # A directory's permissions do not stop root, as whom tests may run.
        self.root.write_text("not a directory")


class Bucket(Files):
    def __init__(self, gcs: GCSServer) -> None:
        self.gcs = gcs

    def operator(self, **arguments: Any) -> base.ClaudeCodeTransferOperator:
        return ClaudeCodeToGCSOperator(task_id="load", bucket=BUCKET, prefix="", **arguments)

    def contents(self) -> dict[str, bytes]:
        return {name: stored.content for name, stored in self.gcs.objects(BUCKET).items()}

    def rest(self) -> Iterator[tuple[str, str]]:
        yield from super().rest()
        yield from (("requests to the target", f"{call.path} {call.params} {call.body}") for call in self.gcs.requests)

    def refuse(self) -> None:
        self.gcs.faults = [Fault("objects.insert", status=403, times=None)]


class Warehouse:
    def __init__(self, server: BigQueryServer) -> None:
        server.faults = []
        self.dataset = Dataset(server)
        self.before = len(server.requests)

    def operator(self, **arguments: Any) -> base.ClaudeCodeTransferOperator:
        return ClaudeCodeToBigQueryOperator(task_id="load", dataset_id=self.dataset.id, **arguments)

    def tables(self) -> Iterator[str]:
        names = self.dataset.names()
        yield from (repr(row) for table in DATA_TABLES if table in names for row in self.dataset.rows(table))

    def rest(self) -> Iterator[tuple[str, str]]:
        for name in self.dataset.names():
            yield "names of files and objects", name
            yield "definitions of the tables", repr(self.dataset.get(name).to_api_repr())
            if name == "loads":
                yield from (("loads beside the tables", repr(row)) for row in self.dataset.rows("loads"))
        for request in self.dataset.server.requests[self.before :]:
            yield "requests to the target", f"{request.path} {request.params} {request.json}"

    def refuse(self) -> None:
        self.dataset.server.faults = [HttpError(method="jobs.insert", status=403, reason="accessDenied")]


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox_service, "API_KEY", KEY)
        with Sandbox() as sandbox:
            yield sandbox


@pytest.fixture(scope="module")
def gcs_server() -> Iterator[GCSServer]:
    with GCSServer() as server:
        yield server


@pytest.fixture(scope="module")
def bigquery_server() -> Iterator[BigQueryServer]:
    with BigQueryServer(PROJECT) as server:
        yield server


@pytest.fixture(scope="module")
def whole_search() -> Iterator[Search]:
    """The places that the tests have searched, printed at the end."""
    search = Search()
    yield search
    print(f"\n\n{search}")


Connect = Callable[..., None]


@pytest.fixture
def connect(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the Connection to the sandbox, with some fields changed."""

    def set_connection(**fields: Any) -> None:
        extra = {"pseudonym_secret": SECRET, "page_limit": 2, "retry_budget": 30}
        fields = {"conn_type": "claude_code", "host": api.base_url, "password": KEY, "extra": extra} | fields
        monkeypatch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(fields))

    return set_connection


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "spool"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def sandbox(api: Sandbox, connect: Connect, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    connect()
    api.requests.clear()
    api.records = lambda day, _: records(date=f"{day}T00:00:00Z")
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0)
    with few_attempts():
        yield api
    api.faults = Faults()


@pytest.fixture
def search(
    sandbox: Sandbox,
    spool: Path,
    whole_search: Search,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Search]:
    """A search that also covers all logs at debug level, and files that were left behind."""
    caplog.set_level(logging.DEBUG)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        # The requests that the sandbox answers are not what the package logs.
        if isinstance(logger, logging.Logger) and not name.startswith("uvicorn"):
            caplog.set_level(logging.DEBUG, logger=name)
            monkeypatch.setattr(logger, "propagate", True)
            monkeypatch.setattr(logger, "disabled", False)
    # Airflow's own configuration leaves out what is below INFO, and masks the secrets that it knows.
    structlog_settings = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    search = Search()
    yield search
    structlog.configure(**structlog_settings)
    look_at_logs(search, caplog, capfd)
    look_at_leftovers(search, spool)
    whole_search.texts += search.texts
    whole_search.characters += search.characters
    whole_search.found += search.found
    search.assert_clean("temporary directory")


def look_at_logs(search: Search, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    formatter = logging.Formatter()
    # Whether the test is still running or has ended.
    for record in caplog.get_records("call"):
        place = f"log of {record.name.partition('.')[0]}"
        if place == "log of uvicorn":
            # The sandbox's own.
            continue
        search.look(place, formatter.format(record), vars(record))
    output, errors = capfd.readouterr()
    search.look("standard output and error", output + errors)


def look_at_leftovers(search: Search, spool: Path) -> None:
    left = sorted(str(path) for path in spool.rglob("*"))
    search.look("temporary directory", f"{spool}: {left}")
    assert left == []


TARGETS = ("files", "gcs", "bigquery")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Target:
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
    if request.param == "gcs":
        gcs: GCSServer = request.getfixturevalue("gcs_server")
        gcs.reset(BUCKET)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        return Bucket(gcs)
    if request.param == "bigquery":
        bigquery: BigQueryServer = request.getfixturevalue("bigquery_server")
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
        return Warehouse(bigquery)
    return Files(tmp_path / "target", **({"file_format": "csv"} if "csv" in request.param else {}))


identities = pytest.mark.parametrize("identity", ["plain", "hmac"])


def run(operator: base.ClaudeCodeTransferOperator, events: Any = None) -> dict[str, Any]:
    context: Any = {
        "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1),
        "dag_run": SimpleNamespace(run_type="manual"),
        "outlet_events": {} if events is None else events,
    }
    return operator.execute(context)


def fails(search: Search, attempt: Callable[[], object]) -> BaseException:
    """Search the error with which something ends."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        attempt()
    search.look_at_error(caught.value)
    return caught.value


def first_event(trigger: Any) -> dict[str, Any]:
    async def first() -> Any:
        [event] = [event async for event in trigger.run()]
        return event.payload

    payload: dict[str, Any] = asyncio.run(asyncio.wait_for(first(), timeout=30))
    return payload


Day = dict[str, str]
"""The stream and the day, as arguments of an operator."""


def tell(stream: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, ids: bool = True) -> Day:
    """Let the API return people and keys with names (and ids) to search for, and return the day."""
    if stream == "usage":
        return {"day": str(DAY)}
    clock = Clock(NOW)
    clock.rule(monkeypatch)
    monkeypatch.setattr(sandbox, "now", clock)
    # Other than those of which other tests are told.
    monkeypatch.setattr(sandbox, "organization", Organization.named("Sandbox", 9, 17))
    person = sandbox_people.Person
    if ids:
        monkeypatch.setattr(person, "user_id", property(lambda self: f"user_personcanary{self.number}"))
    monkeypatch.setattr(person, "address", lambda self, _: f"dev{self.number}@personcanary.example.com")
    monkeypatch.setattr(person, "name", lambda self, _: f"PersonCanary {self.number}")
    monkeypatch.setattr(Organization, "key_names", lambda _: ["personcanary-pipeline"])
    for module in (sandbox_people, sandbox_charges):
        monkeypatch.setattr(module, "key_id", "apikey_personcanary_{}".format)
    return {"stream": stream, "day": "2026-03-02" if stream == "cost" else str(NOW.date())}


@pytest.fixture(params=STREAMS)
def day(request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Day:
    """A day of each stream."""
    return tell(request.param, sandbox, monkeypatch)


@identities
@pytest.mark.parametrize("target", [*TARGETS, "csv files"], indirect=True)
def test_a_load_shows_nobody_but_in_the_tables(
    search: Search, target: Target, day: Day, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = collect_hook_lineage(monkeypatch)
    asset, alias, events = Asset("usage", "x://usage"), AssetAlias("all_usage"), OutletEventAccessors()
    operator = target.operator(**day, actor_identity=identity, outlets=[asset, alias])
    operator.render_template_fields({})
    xcom = run(operator, events)

    search.look("XCom", json.dumps(xcom))
    search.look("template fields", {name: getattr(operator, name) for name in operator.template_fields})
    search.look("asset extras", events[asset].extra, events[alias].asset_alias_events)
    search.look("hook lineage", collector.collected_assets)
    search.look("OpenLineage facets", operator.get_openlineage_facets_on_complete(None))
    for link in operator.operator_extra_links:
        search.look("links", link.get_link(operator, ti_key=None))  # type: ignore[arg-type]
    search.look("representations", operator, str(operator), operator.hook)
    for place, text in target.rest():
        search.look(place, text)
    tables = list(target.tables())
    search.look(
        "tables, but for people" if identity == "plain" else "tables",
        *tables,
        allowed=("person",) * (identity == "plain"),
    )
    assert ("personcanary" in "".join(tables).lower()) == (identity == "plain")
    search.assert_clean(
        "XCom", "template fields", "asset extras", "hook lineage", "OpenLineage facets", "representations"
    )
    search.assert_clean("names of files and objects", "loads beside the tables")


API_FAILURES: dict[str, Faults] = {
    **{str(status): Faults(status=status, page=2) for status in (400, 401, 402, 403, 404, 429, 500, 503, 529)},
    "a proxy's page": Faults(html=True, page=2),
    "a proxy's page with 502": Faults(html=True, status=502, page=2),
    "half a page": Faults(truncate=True, page=2),
    "a page that repeats": Faults(repeat_cursor=True, page=2),
    "a record of another day": Faults(wrong_day=True, page=2),
}
RECORD_FAILURES: dict[str, Json] = {
    "a field of a wrong type": {"is_remote": PERSON},
    "a date that is none": {"date": "yesterday"},
    "money that is none": {"model_breakdown": [model(PERSON)]},
    "more money than a day can have": {"model_breakdown": [model(10**14)] * 11},
    "an actor without a type": {"actor": {"email_address": PERSON}},
    "an actor without a name": {"actor": {"type": "user_actor", "email_address": [PERSON]}},
}


@pytest.fixture(params=[*API_FAILURES, *RECORD_FAILURES])
def failure(request: pytest.FixtureRequest, sandbox: Sandbox) -> str:
    """Let the API fail on its second page, when records have been spooled."""
    if request.param in API_FAILURES:
        sandbox.faults = API_FAILURES[request.param]
    else:
        first, second, third, _ = records()
        sandbox.records = lambda day, _: [first, second, third, first | RECORD_FAILURES[request.param]]
    return str(request.param)


@identities
@pytest.mark.parametrize("target", ["files"], indirect=True)
def test_a_failure_of_the_api_shows_nobody(search: Search, target: Target, failure: str, identity: str) -> None:
    fails(search, lambda: run(target.operator(day=str(DAY), actor_identity=identity)))

    search.assert_clean("errors and what they followed from", "tracebacks with variables", "variables of our frames")
    assert list(target.tables()) == []


@identities
def test_a_failure_shows_nobody_to_those_who_read_through_the_hook(search: Search, failure: str, identity: str) -> None:
    fails(search, lambda: ClaudeCodeHook().get_df(DAY, actor_identity=identity))

    search.assert_clean("errors and what they followed from", "variables of our frames")


ITEM_FAILURES: dict[str, dict[str, tuple[str, Any]]] = {
    "cost": {
        "money that is none": ("cost.amount", PERSON),
        "more money than a day can have": ("cost.amount", "9" * 15),
        "an actor without a type": ("group.actor", {"email_address": PERSON}),
        "an actor whose name is a list": ("group.actor.email_address", [PERSON]),
        "a moment that is none": ("starting_at", PERSON),
        "another product": ("group.product", PERSON),
    },
    "members": {
        "a role of a wrong type": ("role", [PERSON]),
        "an address of a wrong type": ("email", [PERSON]),
        "a moment that is none": ("added_at", PERSON),
        "an id that comes twice": ("id", f"user_{1:024}"),
    },
}
# What the sandbox's lists cannot do.
NOT_OF_MEMBERS = ("a page that repeats", "a record of another day")


@pytest.fixture(
    params=[
        pytest.param((stream, name), id=f"{stream}-{name}")
        for stream, items in ITEM_FAILURES.items()
        for name in (*API_FAILURES, *items)
        if (stream, name) not in itertools.product(["members"], NOT_OF_MEMBERS)
    ]
)
def failing_day(request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Day:
    """A day of another stream than usage that the API does not return completely."""
    stream, name = request.param
    # Lists of members are continued with an id, which is then in the URL that httpx holds beneath our errors.
    day = tell(stream, sandbox, monkeypatch, ids=stream != "members")
    if name in API_FAILURES:
        sandbox.faults = API_FAILURES[name]
        return day
    change = with_fields(ITEM_FAILURES[stream][name])
    module, function = {"cost": (cost_report, "grouped"), "members": (sandbox_people, "members")}[stream]
    real = getattr(module, function)

    def spoiled(*arguments: Any) -> Any:
        found = real(*arguments)
        # Charges that differ in their cost type are together.
        return [*found[:-1], change(found[-1])] if stream == "cost" else change(found)

    monkeypatch.setattr(module, function, spoiled)
    return day


@identities
@pytest.mark.parametrize("target", ["files"], indirect=True)
def test_a_failure_of_another_stream_shows_nobody(
    search: Search, target: Target, failing_day: Day, identity: str
) -> None:
    fails(search, lambda: run(target.operator(**failing_day, actor_identity=identity)))
    stream, day = failing_day["stream"], failing_day["day"]
    fails(search, lambda: ClaudeCodeHook().get_df(day, table=stream, actor_identity=identity))

    search.assert_clean("errors and what they followed from", "tracebacks with variables", "variables of our frames")
    assert list(target.tables()) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 529])
def test_a_failure_shows_nobody_to_those_who_wait_or_test_the_connection(
    search: Search, sandbox: Sandbox, status: int
) -> None:
    sandbox.faults = Faults(status=status)
    sensor = ClaudeCodeFreshnessSensor(task_id="wait", day=str(DAY), require_records=True)
    fails(search, lambda: sensor.execute({}))
    trigger = sensor._trigger(str(DAY))
    search.look("trigger events", first_event(trigger))
    search.look("serialised triggers", trigger.serialize())
    good, message = ClaudeCodeHook().test_connection()
    assert not good
    search.look("messages of the connection test", message)
    search.look("representations", sensor, str(sensor), trigger, str(trigger))

    search.assert_clean("trigger events", "serialised triggers", "messages of the connection test", "representations")


@identities
def test_a_target_that_refuses_shows_nobody(search: Search, target: Target, identity: str) -> None:
    target.refuse()
    fails(search, lambda: run(target.operator(day=str(DAY), actor_identity=identity)))

    search.assert_clean("errors and what they followed from", "tracebacks with variables", "variables of our frames")


@identities
@pytest.mark.parametrize("target", ["bigquery"], indirect=True)
@pytest.mark.parametrize("table", ["claude_code_usage", "claude_code_loads"])
def test_a_job_that_quotes_a_row_shows_nobody(search: Search, target: Warehouse, identity: str, table: str) -> None:
    target.dataset.server.faults = [FailingJob(table=table, message=f"Bad value {PERSON} in a row of {KEY}")]
    fails(search, lambda: run(target.operator(day=str(DAY), actor_identity=identity)))

    search.assert_clean("errors and what they followed from", "tracebacks with variables", "variables of our frames")


@identities
@pytest.mark.parametrize("target", ["bigquery"], indirect=True)
def test_a_deferral_shows_nobody(search: Search, target: Warehouse, identity: str) -> None:
    operator = target.operator(day=str(DAY), actor_identity=identity, deferrable=True, poll_interval=0.01)
    with pytest.raises(TaskDeferred) as deferral:
        run(operator)
    trigger = deferral.value.trigger
    event = first_event(trigger)
    search.look("serialised triggers", trigger.serialize(), deferral.value.kwargs)
    search.look("trigger events", event)
    search.look("representations", trigger, deferral.value)
    context: Any = {"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)}
    xcom = operator.execute_complete({**context, "outlet_events": {}}, event)  # type: ignore[attr-defined]
    search.look("XCom", json.dumps(xcom))

    search.assert_clean("serialised triggers", "trigger events", "representations", "XCom")
    assert xcom["days"][0]["rows"]["usage"] == 4


CONNECTIONS: dict[str, Json] = {
    "no key": {"password": ""},
    "a key with a line break at its end": {"password": f"{KEY}\n"},
    "a key with a line break in it": {"password": f"{KEY}\n{KEY}"},
    "a key with a blank": {"password": f" {KEY}"},
    "a key of other letters": {"password": f"{KEY}ü"},
    "the key as host": {"host": KEY},
    "the key as host name": {"host": f"https://{KEY}"},
    "the key as port": {"host": f"https://127.0.0.1:{KEY}"},
    "the key as address": {"host": f"https://[{KEY}]"},
    "the key as user": {"host": f"https://{KEY}@127.0.0.1"},
    "the key as password of the host": {"host": f"https://user:{KEY}@127.0.0.1"},
    "the key as path": {"host": f"https://127.0.0.1:1/{KEY}"},
    "the key as query": {"host": f"https://127.0.0.1:1/?key={KEY}"},
    "plain http": {"host": "http://192.0.2.1"},
    "a port of its own": {"port": 8443},
    "an extra that is a list": {"extra": [SECRET]},
    "a number that is none": {"extra": {"pseudonym_secret": SECRET, "page_limit": KEY}},
    "a time that is none": {"extra": {"pseudonym_secret": SECRET, "request_timeout": SECRET}},
    "an authentication that is none": {"extra": {"pseudonym_secret": SECRET, "authentication": KEY}},
    "a version that is none": {"extra": {"pseudonym_secret": SECRET, "anthropic_version": KEY}},
    "a suffix of two lines": {"extra": {"pseudonym_secret": SECRET, "user_agent_suffix": f"{KEY}\n"}},
    "a secret that is too short": {"extra": {"pseudonym_secret": SECRET[:15]}},
    "an extra that is no JSON": {"extra": f'{{"pseudonym_secret": "{SECRET}"'},
}
LOADS_ONLY = "a secret that is too short"
"""Failures that only a load with pseudonyms has."""


@pytest.mark.parametrize("fields", CONNECTIONS.values(), ids=CONNECTIONS)
def test_a_connection_that_cannot_be_used_shows_nothing_of_it(
    search: Search, sandbox: Sandbox, connect: Connect, tmp_path: Path, fields: Json
) -> None:
    connect(**fields)
    hook = ClaudeCodeHook()
    fails(search, lambda: run(Files(tmp_path / "target").operator(day=str(DAY), actor_identity="hmac")))
    if fields != CONNECTIONS[LOADS_ONLY]:
        for attempt in (hook.get_conn, lambda: list(hook.iter_pages(DAY)), lambda: hook.get_df(DAY)):
            fails(search, attempt)
        fails(search, lambda: asyncio.run(hook.get_async_conn()))
        sensor = ClaudeCodeFreshnessSensor(task_id="wait", day=str(DAY), require_records=True)
        fails(search, lambda: sensor.execute({}))
        search.look("trigger events", first_event(sensor._trigger(str(DAY))))
        assert sandbox.requests == []
    search.look("messages of the connection test", hook.test_connection()[1])
    search.look("representations", hook, str(hook))

    search.assert_clean("errors and what they followed from", "variables of our frames", "representations")


@pytest.mark.parametrize("proxy", ["socks9://user:{}@127.0.0.1", "http://user:1?{}@127.0.0.1", "http://user:{}/@proxy"])
def test_a_proxy_that_cannot_be_used_shows_nothing(
    search: Search, connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    # None is used for this machine.
    connect(host="https://192.0.2.1")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.format(SECRET.replace(" ", "")))
    hook = ClaudeCodeHook()
    fails(search, hook.get_conn)
    fails(search, lambda: asyncio.run(hook.get_async_conn()))
    search.look("messages of the connection test", hook.test_connection()[1])

    search.assert_clean("errors and what they followed from", "tracebacks with variables", "variables of our frames")


def test_nothing_that_is_looked_at_shows_anybody(search: Search, sandbox: Sandbox) -> None:
    hook = ClaudeCodeHook()
    report, _ = decode_report(body(records()))
    [page, *_] = hook.iter_pages(DAY)
    client = ClaudeCodeClient(hook.settings)
    things = [hook, hook.settings, hook.pseudonyms, client, asyncio.run(hook.get_async_conn()), page]
    things += [*page.records, report, *report.data, UsageFlattener(DAY).flatten(report.data), UsageFlattener(DAY)]
    for thing in things:
        search.look("representations", thing, str(thing), f"{[thing]}")
        search.look("representations", list(getattr(thing, "__rich_repr__", tuple)()))
    good, message = hook.test_connection()
    assert good
    search.look("messages of the connection test", message)

    search.assert_clean("representations", "messages of the connection test")


def test_the_logs_of_the_clients_are_among_what_is_searched(
    search: Search, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], sandbox: Sandbox
) -> None:
    sandbox.faults = Faults(status=503, times=1)
    hook = ClaudeCodeHook()
    hook.log.debug("a line of ours %s", 1)
    list(hook.iter_records(DAY))
    logs = caplog.text + (output := capfd.readouterr().out)
    print(output)
    look_at_logs(search, caplog, capfd)

    assert "a line of ours 1" in logs
    search.assert_clean("log of httpx", "log of httpcore", "standard output and error")


class TestTheSearch:
    """It finds what is there: nothing found means nothing there."""

    @pytest.mark.parametrize("canary", [KEY, SECRET, PERSON])
    def test_it_finds_a_canary_in_every_kind_of_place(
        self, canary: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], spool: Path
    ) -> None:
        found = {}

        def looked(place: str, look: Callable[[Search], object]) -> None:
            search = Search()
            look(search)
            found[place] = bool(search.found)

        looked("text", lambda search: search.look("place", canary.upper()))
        looked("value", lambda search: search.look("place", {"x-api-key": [canary.encode()]}))
        caplog.set_level(logging.DEBUG)
        logging.getLogger("a.library").debug("sent", extra={"headers": {"x-api-key": canary}})
        looked("log", lambda search: look_at_logs(search, caplog, capfd))
        caplog.clear()
        print(canary)
        looked("output", lambda search: look_at_logs(search, caplog, capfd))
        for name, error in errors_with(canary).items():
            looked(name, lambda search, error=error: search.look_at_error(error))  # type: ignore[misc]
        for name, content in files_with(canary).items():
            looked(name, lambda search, content=content: search.look("file", *texts(content)))  # type: ignore[misc]
        assert [place for place, was_found in found.items() if not was_found] == []

    def test_it_sees_what_is_left_behind(self, spool: Path) -> None:
        (spool / "usage.parquet").write_text(PERSON)
        with pytest.raises(AssertionError):
            look_at_leftovers(Search(), spool)

    def test_it_tells_a_place_where_there_was_nothing(self) -> None:
        search = Search()
        search.look("log", "")
        with pytest.raises(AssertionError):
            search.assert_clean("log")


def errors_with(canary: str) -> dict[str, BaseException]:
    """Make errors that hold a canary each in a place of its own."""
    code = """
def says(canary): raise ValueError(canary)
def follows(canary):
    try: says(canary)
    except ValueError:
        del canary
        raise KeyError("other") from None
def holds(canary): raise ValueError("other")
def attribute(canary):
    error = ValueError("other")
    error.response = canary
    del canary
    raise error
"""
    ours: dict[str, Any] = {"__name__": f"{PACKAGE}.control"}
    exec(code, ours)
    errors = {}
    for name in ("says", "follows", "holds", "attribute"):
        try:
            ours[name](canary)
        except Exception as error:
            errors[f"an error that {name}"] = error
    return errors


def files_with(canary: str) -> dict[str, bytes]:
    table, file = pyarrow.table({"x": [canary]}), io.BytesIO()
    pyarrow.parquet.write_table(table, file, compression="zstd", write_statistics=False)
    return {"parquet": file.getvalue(), "gzip": gzip.compress(canary.encode()), "plain": canary.encode()}


class TestTheSpool:
    """What lies on the worker's disk until it is published."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
    def test_it_is_gone_however_the_task_ends(
        self, sandbox: Sandbox, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ) -> None:
        seen: list[str] = []

        def interrupt(*_: object, **__: object) -> None:
            seen.extend(path.name for path in spool.rglob("*.parquet"))
            raise error

        monkeypatch.setattr("airflow_provider_claude_code.targets.files.FileTarget.start", interrupt)
        with pytest.raises(error):
            run(Files(tmp_path / "target").operator(day=str(DAY)))
        assert sorted(seen) == sorted(f"{table}.parquet" for table in TABLES)
        assert list(spool.iterdir()) == []

    def test_it_is_gone_as_soon_as_airflow_ends_the_task(
        self, sandbox: Sandbox, connect: Connect, spool: Path, tmp_path: Path
    ) -> None:
        """Airflow's SIGTERM is a call of on_kill in the middle of the work; SIGKILL follows in five seconds."""
        connect(extra={"page_limit": 1})
        sandbox.faults = Faults(latency=0.3)
        target = Files(tmp_path / "target")
        operator = target.operator(day=str(DAY))
        left: list[list[Path]] = []

        def end(*_: object) -> None:
            left.append(list(spool.rglob("*")))
            operator.on_kill()
            left.append(list(spool.rglob("*")))

        def send_signal() -> None:
            deadline = time.monotonic() + 20
            while len(sandbox.requests) < 2 and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGTERM)

        previous = signal.signal(signal.SIGTERM, end)
        sender = threading.Thread(target=send_signal)
        try:
            sender.start()
            with pytest.raises(ClaudeCodePublishError):
                run(operator)
        finally:
            sender.join()
            signal.signal(signal.SIGTERM, previous)
        [before, after] = left
        assert len(before) == 2 + len(TABLES)
        assert after == []
        assert list(spool.iterdir()) == []
        assert target.contents() == {}

    def test_to_end_a_task_that_has_not_begun_is_no_error(self, tmp_path: Path) -> None:
        Files(tmp_path).operator(day=str(DAY)).on_kill()

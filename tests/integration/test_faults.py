"""
Whatever goes wrong, with the API or with the target, a day is the new one or the one before, and the error is typed.

The faults and what is expected of them are in `faults`; here they happen, to the real operators.
"""

import ast
import contextlib
import csv
import gzip
import hashlib
import importlib
import io
import itertools
import json
import logging
import os
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

pytest.importorskip("airflow.providers.google", reason="the extra `google` is not installed")

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from google.cloud.bigquery import TableReference

from airflow_provider_claude_code.api import client, paging
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.tables.contract import EXTENSIONS
from airflow_provider_claude_code.tables.loads import LOADS
from airflow_provider_claude_code.tables.spool import arrow_schema
from airflow_provider_claude_code.targets.bigquery import task_jobs
from airflow_provider_claude_code.targets.bigquery.schema import bigquery_schema
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.fixtures import bigquery, buckets, files
from tests.fixtures.bigquery import Dataset, judged_server
from tests.fixtures.buckets import Bucket, give_up_soon, lead_clients_to
from tests.fixtures.clock import Clock
from tests.fixtures.faults import (
    API_FAULTS,
    ATTEMPTS,
    BODY_LIMIT,
    ELSEWHERE,
    GCS,
    LOCAL,
    MATRIX,
    OBJECT_STORE,
    PAGE_LIMIT,
    TARGET_FAULT_STREAMS,
    TARGET_FAULTS,
    TARGETS,
    ApiFault,
    FailingCall,
    Refused,
    TargetFault,
    file_and_names,
    markdown,
)
from tests.fixtures.files import Place
from tests.fixtures.object_store import RemoteFileSystem
from tests.fixtures.retries import few_attempts
from tests.fixtures.scenes import NOW, SCENES, Scene, respond
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.fixtures.servers.gcs import GCSServer
from tests.fixtures.servers.wire import Wire, self_signed_certificate
from tests.truth.records import canonical
from tests.truth.streams import WITHOUT_A_SOURCE

pytestmark = pytest.mark.newest_only

KEY = "sk-ant-admin01-CANARYcanary0123456789"
NUMBERS = itertools.count(1)
Row = dict[str, Any]

service = buckets.service


@pytest.fixture(scope="module")
def bigquery_server() -> Iterator[BigQueryServer]:
    with judged_server() as server:
        yield server


class Target(Protocol):
    """Where a day is loaded, seen from outside."""

    def load(self, **arguments: Any) -> Any:
        """Load the day with the real operator."""

    def state(self) -> Any:
        """All that is there."""

    def rows(self, table: str) -> list[Row]:
        """The rows of the day."""

    def remembered(self) -> list[Row]:
        """The newest row of loads of each table."""


class Files:
    """A directory or a bucket."""

    def __init__(self, place: Place, load: Callable[..., Any], scene: type[Scene]) -> None:
        self.place = place
        self.scene = scene
        self._load = load

    def load(self, **arguments: Any) -> Any:
        return self._load(self.place, self.scene.day, stream=self.scene.stream, **arguments)

    def state(self) -> dict[str, bytes]:
        return self.place.tree()

    def rows(self, table: str) -> list[Row]:
        [key] = [key for key in self.place.tree() if key.startswith(f"{table}/dt={self.scene.day}/")]
        content = self.place.tree()[key]
        if key.endswith(EXTENSIONS["csv"]):
            return rows_of_csv(content, table)
        if key.endswith(EXTENSIONS["ndjson"]):
            return [typed(json.loads(line), table) for line in gzip.decompress(content).split(b"\n")[:-1]]
        return self.place.rows(table, self.scene.day)

    def remembered(self) -> list[Row]:
        tree = self.place.tree()
        newest = max(key for key in tree if key.startswith(f"loads/dt={self.scene.day}/"))
        rows: list[Row] = pa.parquet.read_table(io.BytesIO(tree[newest])).to_pylist()
        data = {key: hashlib.sha256(tree[key]).hexdigest() for key in tree if not key.startswith(("loads/", "_"))}
        assert data == {row["path"]: row["sha256"] for row in rows}
        return rows


class Tables:
    """A dataset."""

    def __init__(self, dataset: Dataset, scene: type[Scene]) -> None:
        self.dataset = dataset
        self.scene = scene

    def load(self, **arguments: Any) -> Any:
        return bigquery.load(self.dataset, self.scene.day, stream=self.scene.stream, **arguments)

    def state(self) -> dict[str, list[str]]:
        return {table: canonical(self.rows(table)) for table in (*self.scene.tables, "loads")}

    def rows(self, table: str) -> list[Row]:
        # With the columns given, the table itself need not be asked for them.
        columns = bigquery_schema(LOADS if table == "loads" else DATA_TABLES[table])
        table_id = TableReference.from_string(self.dataset.table_id(table))
        rows = self.dataset.client.list_rows(table_id, selected_fields=columns, page_size=10_000)
        return [dict(row.items()) for row in rows]

    def remembered(self) -> list[Row]:
        moments = {row["loaded_at"] for table in self.scene.tables for row in self.rows(table)}
        return [row for row in self.rows("loads") if row["loaded_at"] in moments]


def typed(values: Row, table: str) -> Row:
    """Give the values of text their types back."""
    schema = arrow_schema(DATA_TABLES[table])
    return {field.name: _typed(values[field.name], field.type) for field in schema if field.name in values}


def _typed(value: Any, kind: pa.DataType) -> Any:
    if not isinstance(value, str):
        return value
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    return datetime.fromisoformat(value) if pa.types.is_timestamp(kind) else value


def rows_of_csv(content: bytes, table: str) -> list[Row]:
    """Read a CSV file with Arrow, which knows null from an empty text, and hold it against Python's reader."""
    text = gzip.decompress(content)
    schema = arrow_schema(DATA_TABLES[table])
    # Money is read as text, so that no digit is lost on the way.
    types = {field.name: pa.string() if pa.types.is_decimal(field.type) else field.type for field in schema}
    rows: list[Row] = pyarrow.csv.read_csv(
        io.BytesIO(text),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    ).to_pylist()
    texts = [name for name, kind in types.items() if pa.types.is_string(kind)]
    read_by_python = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    assert [[row[name] for name in texts] for row in read_by_python] == [
        [row[name] or "" for name in texts] for row in rows
    ]
    return [typed(row, table) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def few_attempts_without_waiting() -> Iterator[None]:
    with few_attempts(ATTEMPTS):
        yield


@pytest.fixture(scope="module", autouse=True)
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        Clock(NOW).rule(patch)
        yield patch


@pytest.fixture(scope="module")
def gcs(service: GCSServer, module_patch: pytest.MonkeyPatch) -> GCSServer:
    service.reset(buckets.BUCKET)
    lead_clients_to(service, module_patch)
    return service


@pytest.fixture(scope="module")
def opened() -> dict[tuple[str, str], Target]:
    """The targets that hold a good day, by stream and name."""
    return {}


@pytest.fixture
def target(
    request: pytest.FixtureRequest,
    stream: str,
    target_name: str,
    opened: dict[tuple[str, str], Target],
    tmp_path_factory: pytest.TempPathFactory,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> Target:
    """A target that holds a good day, which those tests replace whose load arrives."""
    scene = SCENES[stream]
    if (stream, target_name) not in opened:
        new = open_target(request, target_name, tmp_path_factory.mktemp("target"), scene)
        wire.answers = list(scene(next(NUMBERS)).pages)
        connect(monkeypatch, wire.base_url)
        new.load()
        wire.requests.clear()
        opened[stream, target_name] = new
    return opened[stream, target_name]


def open_target(request: pytest.FixtureRequest, name: str, folder: Path, scene: type[Scene]) -> Target:
    """Return a target that holds nothing."""
    if name in (LOCAL, OBJECT_STORE):
        return Files(Place(folder / "files" if name == LOCAL else None), files.load, scene)
    if name == GCS:
        return Files(Bucket(request.getfixturevalue("gcs")), buckets.load, scene)
    bigquery: BigQueryServer = request.getfixturevalue("bigquery_server")
    return Tables(Dataset(bigquery), scene)


def connect(patch: pytest.MonkeyPatch, base_url: str, **extra: Any) -> None:
    connection = {"conn_type": "claude_code", "host": base_url, "password": KEY, "extra": extra}
    patch.setenv("AIRFLOW_CONN_CLAUDE_CODE_DEFAULT", json.dumps(connection))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def wire(stack: ExitStack) -> Wire:
    return Wire(stack)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Wire]:
    """Another host, which nobody has business with."""
    with ExitStack() as stack:
        yield Wire(stack)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def short_pauses(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long writers who met wait is not what is tested here."""
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that no log line holds the key, or what the API says of people."""
    caplog.set_level(logging.DEBUG, "airflow_provider_claude_code")
    yield
    lines = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.get_records("call"))
    assert KEY not in lines
    assert "person-" not in lines


def base_url_of(fault: ApiFault, wire: Wire, certificate: Path, stack: ExitStack) -> str:
    """Return the base URL of the server with the fault."""
    match fault.reach:
        case "it":
            return wire.base_url
        case "nobody":
            with socket.create_server(("127.0.0.1", 0)) as free:
                return f"http://127.0.0.1:{free.getsockname()[1]}"
        case "nobody who listens":
            busy = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            fill_the_backlog(busy, stack)
            return f"http://127.0.0.1:{busy.getsockname()[1]}"
        case "somebody unknown":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            return Wire(stack, context).base_url
        case "somebody who speaks no TLS":
            return wire.base_url.replace("http:", "https:")


def fill_the_backlog(server: socket.socket, stack: ExitStack) -> None:
    """Connect until the kernel takes no connection any more."""
    for _ in range(10):
        try:
            stack.enter_context(socket.create_connection(server.getsockname(), timeout=0.1))
        except TimeoutError:
            return
    raise AssertionError("the backlog has no end")


def refuse(refused: Refused, load: Callable[[], Any]) -> None:
    """Check that a load fails as it should, and that the error betrays nothing."""
    with pytest.raises(Exception) as failure:  # noqa: PT011
        load()
    error = failure.value
    if not refused.retry:
        assert type(error) is AirflowFailException
        assert error.__context__ is not None
        error = error.__context__
    assert type(error) is refused.error, error
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        assert KEY not in f"{error} {error!r}"
        assert "person-" not in str(error)
        error = error.__cause__ or error.__context__


def assert_holds(target: Target, scene: Scene) -> None:
    """Check that the day is what the API told, no more and no less, and is remembered."""
    expected = scene.rows()
    found = {table: target.rows(table) for table in scene.tables}
    for table, wanted in expected.items():
        columns = set().union(*wanted)
        assert canonical({name: row[name] for name in columns} for row in found[table]) == canonical(wanted), table
        assert set().union(*found[table]) - columns <= WITHOUT_A_SOURCE or not wanted
    remembered = target.remembered()
    assert {row["table_name"]: row["row_count"] for row in remembered} == {t: len(expected[t]) for t in scene.tables}
    repeats = sum(row.get("key_ordinal", 0) > 0 for rows in expected.values() for row in rows)
    assert {row["repeated_keys"] for row in remembered} == {repeats}
    if scene.stream == "usage":
        # Each row of the other tables belongs to one of usage.
        ids = {row["record_id"] for row in found["usage"]}
        assert len(ids) == len(expected["usage"])
        assert {row["record_id"] for rows in found.values() for row in rows} == ids


@pytest.mark.parametrize(
    ("stream", "target_name", "fault"),
    [
        pytest.param(stream, target, fault, id=f"{stream}-{target}-{fault}")
        for stream in SCENES
        for target in TARGETS
        for fault in API_FAULTS
        if stream in fault.streams and target in fault.targets_of(stream)
    ],
)
def test_a_fault_of_the_api_is_survived_or_refused_and_changes_nothing(
    stream: str,
    target: Target,
    fault: ApiFault,
    wire: Wire,
    elsewhere: Wire,
    certificate: Path,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = target.state()
    scene = SCENES[stream](next(NUMBERS), fault.change, elsewhere.base_url)
    wire.answers = list(fault.answers(scene))
    asked = len(wire.answers) if fault.asked is None else fault.asked
    connect(monkeypatch, base_url_of(fault, wire, certificate, stack), **fault.extra)
    if fault.limited:
        monkeypatch.setattr(client, "MAX_BODY_SIZE", BODY_LIMIT)
        monkeypatch.setattr(paging, "MAX_PAGES", PAGE_LIMIT)
        monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", PAGE_LIMIT)
    if fault.refused:
        refuse(fault.refused, lambda: target.load(file_format=fault.file_format))
        assert target.state() == before
    else:
        target.load(file_format=fault.file_format)
        assert_holds(target, scene)
    assert len(wire.requests) >= asked
    further = [it.partition("?")[0] for it in wire.requests[asked:]]
    pages = [it for it in further if "/organizations/me" not in it]
    assert len(pages) <= (scene.reads_ahead if fault.refused else 0)
    # The organisation's name is asked for at the end.
    assert len(further) - len(pages) <= 1
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("stream", "target_name", "fault"),
    [
        pytest.param(stream, fault.target, fault, id=f"{stream}-{fault}")
        for stream in TARGET_FAULT_STREAMS
        for fault in TARGET_FAULTS
    ],
)
def test_a_fault_of_the_target_is_survived_or_refused_and_the_retry_fixes_it(
    stream: str,
    target: Target,
    fault: TargetFault,
    wire: Wire,
    spool: Path,
    tmp_path: Path,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, wire.base_url)
    if fault.target == LOCAL and fault.rule != "spool":
        target = Files(Place(small_file_system(tmp_path / "small", stack) / "files"), files.load, SCENES[stream])
        wire.answers = list(SCENES[stream](next(NUMBERS)).pages)
        target.load()
    scene = SCENES[stream](next(NUMBERS))
    # The organisation's name is asked for once. A precondition that fails makes it read the day again.
    wire.answers = [*scene.pages, respond(b"{}"), *scene.pages * (base.PUBLISH_ATTEMPTS - 1)]
    before = target.state()
    end_fault = spoil(fault, target, spool, stack, monkeypatch)
    if fault.refused:
        try:
            refuse(fault.refused, target.load)
        finally:
            end_fault()
        if fault.unchanged:
            assert target.state() == before
        wire.answers = list(scene.pages)
    target.load()
    end_fault()
    assert_holds(target, scene)


def spoil(
    fault: TargetFault, target: Target, spool: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Let a fault happen; returns what ends it."""
    match fault.rule, target:
        case "spool", _:
            return fill(small_file_system(spool, stack))
        case OSError() as error, _:
            return fail_uploads(error)
        case FailingCall() as call, _:
            return fail_calls(call)
        case "full", Files(place=place):
            return fill(Path(place.path).parent)
        case "read-only", Files(place=place):
            return make_read_only(Path(place.path).parent)
        case rule, Files(place=Bucket() as bucket):
            if fault.refused:
                give_up_soon(monkeypatch)
            bucket.gcs.faults = [rule]
            return lambda: setattr(bucket.gcs, "faults", ())
        case rule, Tables(dataset=dataset):
            if fault.refused:
                monkeypatch.setattr(task_jobs, "START_DEADLINE", 0.2)
            # The upload waits by itself otherwise, up to a minute.
            monkeypatch.setattr(time, "sleep", lambda _: None)
            dataset.server.faults = [rule]
            return lambda: setattr(dataset.server, "faults", [])
    raise AssertionError(fault)


def fail_calls(call: FailingCall) -> Callable[[], None]:
    """Let calls of the file system fail; returns what ends that."""
    patch, numbers = pytest.MonkeyPatch(), itertools.count()
    module_name, name = call.function.split(".")
    module = importlib.import_module(module_name)
    function = getattr(module, name)

    def failing(*arguments: Any) -> Any:
        counts = not call.of_directories or stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
        if counts and next(numbers) in call.calls:
            raise call.error
        return function(*arguments)

    patch.setattr(module, name, failing)
    return patch.undo


def fail_uploads(error: OSError) -> Callable[[], None]:
    """Let all uploads to the object store fail; returns what ends that."""
    patch = pytest.MonkeyPatch()

    def put_file(*_: Any, **__: Any) -> None:
        raise error

    patch.setattr(RemoteFileSystem, "put_file", put_file)
    return patch.undo


def small_file_system(folder: Path, stack: ExitStack) -> Path:
    """Mount a file system of a megabyte."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    return folder


def fill(folder: Path) -> Callable[[], None]:
    """Leave no room in a file system; returns what makes some."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return lambda: filler.unlink(missing_ok=True)


def make_read_only(folder: Path) -> Callable[[], None]:
    """Make a file system read-only, and return a function that undoes this."""

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)

    remount("ro")
    return lambda: remount("rw")


def test_the_matrix_on_paper_is_the_one_that_is_tested() -> None:
    assert MATRIX.read_text() == markdown(), "run `make faults`"


@pytest.mark.parametrize("path", ELSEWHERE.values())
def test_what_is_tested_elsewhere_is_there(path: str) -> None:
    file, names = file_and_names(path)
    found: Any = ast.parse(Path(__file__).parent.joinpath(file).read_text())
    for name in names:
        (found,) = (node for node in found.body if getattr(node, "name", None) == name)

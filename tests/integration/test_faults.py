"""
Whatever goes wrong, with the API or with the target, a day is the new one or the one before, and the error is typed.

The faults and what is expected of them are in `faults`; here they happen, to the real operators.
"""

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
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from airflow_provider_claude_code.targets.bigquery import target as bigquery_target
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.version_compat import AirflowFailException
from tests.faults import (
    API_FAULTS,
    ATTEMPTS,
    BODY_LIMIT,
    ELSEWHERE,
    GCS,
    LOCAL,
    MATRIX,
    OBJECT_STORE,
    PAGE_LIMIT,
    TARGET_FAULTS,
    TARGETS,
    ApiFault,
    FailingCall,
    Refused,
    Scene,
    TargetFault,
    markdown,
)
from tests.integration import test_bigquery, test_gcs, test_object_storage
from tests.integration.test_bigquery import Dataset, canonical, flat
from tests.integration.test_gcs import Bucket, give_up_soon, lead_clients_to
from tests.integration.test_object_storage import TABLES, Place
from tests.records import DAY, Json
from tests.retries import few_attempts
from tests.servers.bigquery import BigQueryServer
from tests.servers.gcs import GCSServer
from tests.servers.wire import Wire, self_signed_certificate

KEY = "sk-ant-admin01-CANARYcanary0123456789"
NUMBERS = itertools.count(1)
Row = dict[str, Any]

service = test_gcs.service
bigquery_server = test_bigquery.bigquery_server


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

    def __init__(self, place: Place, load: Callable[..., Any]) -> None:
        self.place = place
        self._load = load

    def load(self, **arguments: Any) -> Any:
        return self._load(self.place, **arguments)

    def state(self) -> dict[str, bytes]:
        return self.place.tree()

    def rows(self, table: str) -> list[Row]:
        [key] = [key for key in self.place.tree() if key.startswith(f"{table}/dt={DAY}/")]
        content = self.place.tree()[key]
        if key.endswith(EXTENSIONS["csv"]):
            return rows_of_csv(content, table)
        if key.endswith(EXTENSIONS["ndjson"]):
            return [typed(json.loads(line), table) for line in gzip.decompress(content).split(b"\n")[:-1]]
        return self.place.rows(table)

    def remembered(self) -> list[Row]:
        tree = self.place.tree()
        newest = max(key for key in tree if key.startswith(f"loads/dt={DAY}/"))
        rows: list[Row] = pa.parquet.read_table(io.BytesIO(tree[newest])).to_pylist()
        data = {key: hashlib.sha256(tree[key]).hexdigest() for key in tree if not key.startswith(("loads/", "_"))}
        assert data == {row["path"]: row["sha256"] for row in rows}
        return rows


class Tables:
    """A dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def load(self, **arguments: Any) -> Any:
        return test_bigquery.load(self.dataset, **arguments)

    def state(self) -> dict[str, list[str]]:
        return {table: canonical(self.rows(table)) for table in (*TABLES, "loads")}

    def rows(self, table: str) -> list[Row]:
        # With the columns given, the table itself need not be asked for them.
        columns = bigquery_target.bigquery_schema(LOADS if table == "loads" else DATA_TABLES[table])
        table_id = TableReference.from_string(self.dataset.table_id(table))
        rows = self.dataset.client.list_rows(table_id, selected_fields=columns, page_size=10_000)
        return [dict(row.items()) for row in rows]

    def remembered(self) -> list[Row]:
        moments = {row["loaded_at"] for table in TABLES for row in self.rows(table)}
        return [row for row in self.rows("loads") if row["loaded_at"] in moments]


def typed(values: Row, table: str) -> Row:
    """Give the values of text their types back."""
    schema = arrow_schema(DATA_TABLES[table])
    read: dict[str, Callable[[Any], Any]] = {"date": lambda _: DAY, "estimated_cost_cents": Decimal}
    return {
        name: value if value is None else read.get(name, lambda same: same)(value)
        for name, value in values.items()
        if name in schema.names
    }


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


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def opened() -> dict[str, Target]:
    """The targets that hold a good day."""
    return {}


@pytest.fixture
def target(
    request: pytest.FixtureRequest,
    target_name: str,
    opened: dict[str, Target],
    module_patch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> Target:
    """A target that holds a good day, which those tests replace whose load arrives."""
    if target_name not in opened:
        new = open_target(request, module_patch, target_name, tmp_path_factory.mktemp("target"))
        wire.answers = list(Scene(next(NUMBERS), list, "").pages)
        connect(monkeypatch, wire.base_url)
        new.load()
        wire.requests.clear()
        opened[target_name] = new
    return opened[target_name]


def open_target(request: pytest.FixtureRequest, patch: pytest.MonkeyPatch, name: str, folder: Path) -> Target:
    """Return a target that holds nothing."""
    if name in (LOCAL, OBJECT_STORE):
        return Files(Place(folder / "files" if name == LOCAL else None), test_object_storage.load)
    if name == GCS:
        server: GCSServer = request.getfixturevalue("service")
        server.reset(test_gcs.BUCKET)
        lead_clients_to(server, patch)
        return Files(Bucket(server), test_gcs.load)
    bigquery: BigQueryServer = request.getfixturevalue("bigquery_server")
    return Tables(Dataset(bigquery))


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
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for spooled days, which ends empty."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    # How long writers who met wait is not what is tested here.
    monkeypatch.setattr(base, "LONGEST_CONFLICT_PAUSE", 0.001)
    yield spool
    assert list(spool.iterdir()) == []


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that no log line holds the key, or what the API says of people."""
    caplog.set_level(logging.DEBUG, "airflow_provider_claude_code")
    yield
    lines = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.get_records("call"))
    assert KEY not in lines
    assert "person-" not in lines


def base_url_of(fault: ApiFault, wire: Wire, certificate: Path, stack: ExitStack) -> str:
    """Return the base URL that leads to where the fault is."""
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
        assert error.__cause__ is not None
        error = error.__cause__
    assert type(error) is refused.error, error
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        assert KEY not in f"{error} {error!r}"
        assert "person-" not in str(error)
        error = error.__cause__ or error.__context__


def assert_holds(target: Target, records: list[Json]) -> None:
    """Check that the day is what the records say, no more and no less, and is remembered."""
    expected = flat(json.loads(json.dumps(records), parse_float=_number), DAY)
    expected["usage"] = _numbered(expected["usage"])
    found = {table: target.rows(table) for table in TABLES}
    for table, wanted in expected.items():
        columns = set().union(*wanted)
        assert canonical({name: row[name] for name in columns} for row in found[table]) == canonical(wanted), table
        assert set().union(*found[table]) - columns <= {"record_id", "key_ordinal", "unknown_fields", "loaded_at"}
    # Each row of the other tables belongs to one of usage.
    ids = {row["record_id"] for row in found["usage"]}
    assert len(ids) == len(expected["usage"])
    assert {row["record_id"] for rows in found.values() for row in rows} == ids
    remembered = target.remembered()
    assert {row["table_name"]: row["row_count"] for row in remembered} == {t: len(expected[t]) for t in TABLES}
    repeats = sum(row["key_ordinal"] > 0 for row in expected["usage"])
    assert {row["repeated_keys"] for row in remembered} == {repeats}


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def _numbered(usage: list[Row]) -> list[Row]:
    """Count how often the key of a row has come before."""
    key = ("organization_id", "actor_type", "actor_id", "customer_type", "subscription_type", "terminal_type")
    seen: Counter[Any] = Counter()
    numbered = []
    for row in usage:
        values = tuple(row[name] for name in (*key, "is_remote"))
        numbered.append(row | {"key_ordinal": seen[values]})
        seen[values] += 1
    return numbered


@pytest.mark.parametrize(
    ("target_name", "fault"),
    [
        pytest.param(target, fault, id=f"{target}-{fault}")
        for target in TARGETS
        for fault in API_FAULTS
        if target in fault.targets
    ],
)
def test_a_fault_of_the_api_is_survived_or_refused_and_changes_nothing(
    target: Target,
    fault: ApiFault,
    wire: Wire,
    elsewhere: Wire,
    certificate: Path,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = target.state()
    scene = Scene(next(NUMBERS), fault.change, elsewhere.base_url)
    wire.answers = fault.answers(scene)
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
        assert_holds(target, scene.records)
    assert len(wire.requests) == fault.asked
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("target_name", "fault"),
    [pytest.param(fault.target, fault, id=str(fault)) for fault in TARGET_FAULTS],
)
def test_a_fault_of_the_target_is_survived_or_refused_and_the_retry_mends_it(
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
        target = Files(Place(small_file_system(tmp_path / "small", stack) / "files"), test_object_storage.load)
        wire.answers = list(Scene(next(NUMBERS), list, "").pages)
        target.load()
    scene = Scene(next(NUMBERS), list, "")
    # A precondition that fails makes it read the day again.
    wire.answers = scene.pages * base.PUBLISH_ATTEMPTS
    before = target.state()
    mend = spoil(fault, target, spool, stack, monkeypatch)
    if fault.refused:
        try:
            refuse(fault.refused, target.load)
        finally:
            mend()
        if fault.unchanged:
            assert target.state() == before
        wire.answers = list(scene.pages)
    target.load()
    mend()
    assert_holds(target, scene.records)


def spoil(
    fault: TargetFault, target: Target, spool: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Let a fault happen; returns what mends it."""
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
                monkeypatch.setattr(bigquery_target, "UPLOAD_DEADLINE", 0.2)
            # The upload waits by itself otherwise, up to a minute.
            monkeypatch.setattr(time, "sleep", lambda _: None)
            dataset.server.faults = [rule]
            return lambda: setattr(dataset.server, "faults", [])
    raise AssertionError(fault)


def fail_calls(call: FailingCall) -> Callable[[], None]:
    """Let calls of the file system fail; returns what mends them."""
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
    """Let all uploads to the object store fail; returns what mends them."""
    patch = pytest.MonkeyPatch()

    def put_file(*_: Any, **__: Any) -> None:
        raise error

    patch.setattr(test_object_storage.RemoteFileSystem, "put_file", put_file)
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
    """Forbid writing to a file system; returns what allows it."""

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)

    remount("ro")
    return lambda: remount("rw")


def test_the_matrix_on_paper_is_the_one_that_is_tested() -> None:
    assert MATRIX.read_text() == markdown(), "run `make faults`"


@pytest.mark.parametrize("path", ELSEWHERE.values())
def test_what_is_tested_elsewhere_is_there(path: str) -> None:
    module, *names = path.split(".")
    found = importlib.import_module(f"tests.integration.{module}")
    for name in names:
        found = getattr(found, name)

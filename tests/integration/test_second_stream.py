"""A second stream is a folder and a line in the registry: nothing else knows how many there are."""

from __future__ import annotations

import dataclasses
import http.server
import json
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from airflow_provider_claude_code.api.decoding import PageDecoder
from airflow_provider_claude_code.api.paging import Request, Walk, cursor_pages, next_request
from airflow_provider_claude_code.api.unknown_fields import Documented
from airflow_provider_claude_code.cli.reference import reference_of_tables
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.hooks.claude_code import ClaudeCodeHook
from airflow_provider_claude_code.operators.data_quality import ClaudeCodeDataQualityOperator
from airflow_provider_claude_code.sandbox import Sandbox
from airflow_provider_claude_code.sensors.freshness import ClaudeCodeFreshnessSensor
from airflow_provider_claude_code.streams.base import Stream, complete_at_once
from airflow_provider_claude_code.streams.registry import DATA_TABLES, STREAMS
from airflow_provider_claude_code.tables.contract import (
    LOADED_AT,
    Column,
    PseudonymOf,
    Table,
)
from airflow_provider_claude_code.tables.rows import PageRows, Pseudonym, columns_of
from airflow_provider_claude_code.tables.totals import DayTotals
from airflow_provider_claude_code.transfers import base
from airflow_provider_claude_code.transfers.claude_code_to_bigquery import ClaudeCodeToBigQueryOperator
from airflow_provider_claude_code.transfers.claude_code_to_gcs import ClaudeCodeToGCSOperator
from airflow_provider_claude_code.transfers.claude_code_to_object_storage import ClaudeCodeToObjectStorageOperator
from airflow_provider_claude_code.version_compat import AirflowSkipException
from tests.fixtures.records import people
from tests.fixtures.servers.bigquery import BigQueryServer
from tests.fixtures.servers.gcs import GCSServer

# The stream: teams, and the members of each, whose path has the team's id.


class Team(Documented, frozen=True):
    id: str
    name: str


class Teams(Documented, frozen=True):
    data: list[Team]
    has_more: bool
    next_page: str | None = None


class Member(Documented, frozen=True):
    email: str


class Members(Documented, frozen=True):
    data: list[Member]
    has_more: bool
    next_page: str | None = None


class Membership(NamedTuple):
    team_id: str
    email: str


def decode_teams(body: bytes) -> tuple[list[Team], set[str]]:
    page, unknown = PageDecoder(Teams).decode(body)
    return page.data, unknown


def decode_members(body: bytes, team_id: str) -> tuple[list[Membership], set[str]]:
    page, unknown = PageDecoder(Members).decode(body)
    return [Membership(team_id, member.email) for member in page.data], unknown


def team_walk(day: date, limit: int) -> Walk:
    query = {"limit": limit}
    teams: list[Team] = []
    pages = cursor_pages(Request(path="/v1/teams", query=query, subject="the teams", decode=decode_teams))
    request: Request | None = next(pages)
    while request is not None:
        page = yield request
        teams += page.records
        request = next_request(pages, page)
    for team in teams:
        decode = partial(decode_members, team_id=team.id)
        path = f"/v1/teams/{team.id}/members"
        yield from cursor_pages(Request(path=path, query=query, subject="the members of a team", decode=decode))


TEAMS = Table(
    "teams",
    "team",
    (
        Column("team_id", "STRING", "The team.", get="id", hmac="keep"),
        Column("name", "STRING", "Its name.", nullable=True, get="name", hmac="null"),
        Column("date", "DATE", "The UTC day of the snapshot."),
        LOADED_AT,
    ),
    clustering=(),
)
TEAM_MEMBERS = Table(
    "team_members",
    "team and member",
    (
        Column("team_id", "STRING", "The team.", get="team_id", hmac="keep"),
        Column(
            "email",
            "STRING",
            "The member.",
            get="email",
            hmac=PseudonymOf(kind=lambda membership: "user_actor"),
        ),
        Column("date", "DATE", "The UTC day of the snapshot."),
        LOADED_AT,
    ),
    clustering=("team_id",),
)


class TeamFlattener:
    def __init__(self, day: date, pseudonym: Pseudonym | None) -> None:
        self.totals = DayTotals([TEAMS, TEAM_MEMBERS])
        self._day = day
        self._pseudonym = pseudonym

    def flatten(self, records: Sequence[Any]) -> PageRows:
        by_table = {
            TEAMS: [record for record in records if isinstance(record, Team)],
            TEAM_MEMBERS: [record for record in records if isinstance(record, Membership)],
        }
        own = {
            table.name: columns_of(table.columns, objects, self._pseudonym, date=[self._day] * len(objects))
            for table, objects in by_table.items()
        }
        page = PageRows(own=own)
        self.totals.add(page)
        return page


TEAM_STREAM = Stream(
    name="teams",
    title="Teams",
    coverage="All teams of the organisation.",
    path="/v1/teams",
    begin_walk=team_walk,
    flattener=TeamFlattener,
    tables=(TEAMS, TEAM_MEMBERS),
    complete_from=complete_at_once,
)

MEMBERS = {"t1": ["ada@example.com", "bob@example.com", "cyd@example.com"], "t2": [], "t3": ["ada@example.com"]}


class TeamAPI(http.server.BaseHTTPRequestHandler):
    """Answers in pages of two."""

    organization_id = ""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        start = int(parse_qs(url.query).get("page", ["0"])[0])
        if url.path == "/v1/teams":
            items: list[Any] = [{"id": team, "name": f"Team {team}"} for team in MEMBERS]
        else:
            items = [{"email": email, "role": "dev"} for email in MEMBERS[url.path.split("/")[3]]]
        more = start + 2 < len(items)
        body = {"data": items[start : start + 2], "has_more": more, "next_page": str(start + 2) if more else None}
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.send_header("anthropic-organization-id", self.organization_id)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def usage_api() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        sandbox.records = lambda day, _: people(3, day)
        yield sandbox


@pytest.fixture(autouse=True)
def registered(usage_api: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The line in the registry, and Connections to the APIs."""
    monkeypatch.setitem(STREAMS, "teams", TEAM_STREAM)
    for table in TEAM_STREAM.tables:
        monkeypatch.setitem(DATA_TABLES, table.name, table)
    monkeypatch.setattr(TeamAPI, "organization_id", usage_api.organization.id)
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TeamAPI)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, url in (("TEAMS", f"http://127.0.0.1:{server.server_port}"), ("CLAUDE_CODE_DEFAULT", usage_api.base_url)):
        extra = {"pseudonym_secret": "correct horse battery staple"}
        connection = {"conn_type": "claude_code", "host": url, "password": usage_api.api_key, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    yield
    server.shutdown()
    server.server_close()


Load = Callable[..., dict[str, Any]]


class Place(NamedTuple):
    """A target: loads a stream, and reads a table back."""

    load: Load
    rows: Callable[[str], list[dict[str, Any]]]


def run(operator: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", run_id=uuid.uuid4().hex, task_id="t", map_index=-1, try_number=1, start_date=datetime.now(UTC)
    )
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_type="manual"), "outlet_events": {}}
    summary: dict[str, Any] = operator.execute(context)
    return summary


def arguments(stream: str, changes: dict[str, Any]) -> dict[str, Any]:
    conn_id = "teams" if stream == "teams" else "claude_code_default"
    day = str(datetime.now(UTC).date())
    given = {"task_id": "load", "day": day, "stream": stream, "claude_code_conn_id": conn_id}
    if stream == "usage":
        given["allow_incomplete"] = True
    return given | changes


def in_directory(path: Path) -> Place:
    def load(stream: str, **changes: Any) -> dict[str, Any]:
        return run(ClaudeCodeToObjectStorageOperator(path=str(path), **arguments(stream, changes)))

    def rows(table: str) -> list[dict[str, Any]]:
        files = sorted(path.glob(f"{table}/dt=*/*.parquet"))
        return [row for file in files for row in pa.parquet.read_table(file, partitioning=None).to_pylist()]

    return Place(load, rows)


def in_gcs(server: GCSServer) -> Place:
    prefix = uuid.uuid4().hex

    def load(stream: str, **changes: Any) -> dict[str, Any]:
        return run(ClaudeCodeToGCSOperator(bucket="usage-bucket", prefix=prefix, **arguments(stream, changes)))

    def rows(table: str) -> list[dict[str, Any]]:
        found = sorted(
            (name, stored.content)
            for name, stored in server.objects("usage-bucket").items()
            if name.startswith(f"{prefix}/{table}/")
        )
        return [row for _, content in found for row in pa.parquet.read_table(pa.BufferReader(content)).to_pylist()]

    return Place(load, rows)


def in_bigquery(server: BigQueryServer) -> Place:
    dataset = f"d_{uuid.uuid4().hex}"

    def load(stream: str, **changes: Any) -> dict[str, Any]:
        given = {"dataset_id": dataset, "create_dataset": True} | arguments(stream, changes)
        return run(ClaudeCodeToBigQueryOperator(**given))

    def rows(table: str) -> list[dict[str, Any]]:
        client = Client("demo-proj", AnonymousCredentials(), client_options={"api_endpoint": server.url})
        return [dict(row) for row in client.query_and_wait(f"SELECT * FROM {dataset}.claude_code_{table}")]

    return Place(load, rows)


@pytest.fixture(params=["directory", "gcs", "bigquery"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "demo-proj"}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
    if request.param == "directory":
        yield in_directory(tmp_path / "files")
    elif request.param == "gcs":
        with GCSServer() as gcs:
            gcs.reset("usage-bucket")
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
            yield in_gcs(gcs)
    else:
        with BigQueryServer("demo-proj") as bigquery:
            monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
            yield in_bigquery(bigquery)


EXPECTED = {("t1", "ada@example.com"), ("t1", "bob@example.com"), ("t1", "cyd@example.com"), ("t3", "ada@example.com")}


def test_it_is_loaded_into_every_target_and_remembered(place: Place) -> None:
    summary = place.load("teams")

    (day,) = summary["days"]
    assert day["rows"] == {"teams": 3, "team_members": 4}
    assert day["unknown_names"] == 1
    assert {row["team_id"] for row in place.rows("teams")} == set(MEMBERS)
    assert {(row["team_id"], row["email"]) for row in place.rows("team_members")} == EXPECTED
    loads = place.rows("loads")
    assert {(row["stream"], row["table_name"], row["row_count"]) for row in loads} == {
        ("teams", "teams", 3),
        ("teams", "team_members", 4),
    }
    assert {(row["num_sessions"], row["estimated_cost_cents"], row["complete"]) for row in loads} == {
        (None, None, True)
    }
    assert {row["unknown_names"] for row in loads} == {'["data[].role"]'}


def test_with_pseudonyms_its_columns_say_what_is_left(place: Place) -> None:
    place.load("teams", actor_identity="hmac")

    assert {row["name"] for row in place.rows("teams")} == {None}
    emails = [row["email"] for row in place.rows("team_members")]
    assert len(set(emails)) == 3
    assert all(len(email) == 64 and "@" not in email for email in emails)


def test_a_load_of_another_stream_meanwhile_supersedes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage is loaded whole while the teams are read, and began later; neither loads again."""
    monkeypatch.setattr(base, "PUBLISH_ATTEMPTS", 1)
    loaded: list[dict[str, Any]] = []
    flatten = TeamFlattener.flatten

    def flatten_meanwhile(flattener: TeamFlattener, records: Sequence[Any]) -> PageRows:
        if not loaded:
            loaded.append(place.load("usage"))
        return flatten(flattener, records)

    monkeypatch.setattr(TeamFlattener, "flatten", flatten_meanwhile)
    place.load("teams")

    assert len(place.rows("usage")) == 3
    assert len(place.rows("team_members")) == 4
    by_stream = {row["stream"]: row["loaded_at"] for row in place.rows("loads")}
    assert by_stream["teams"] < by_stream["usage"]


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="cost-report"):
        dataclasses.replace(TEAM_STREAM, name="cost-report")


def test_a_sensor_waits_for_nothing_that_is_complete_at_once() -> None:
    today = str(datetime.now(UTC).date())
    sensor = ClaudeCodeFreshnessSensor(task_id="wait", day=today, stream="teams", claude_code_conn_id="teams")
    assert sensor.poke({})
    assert not ClaudeCodeFreshnessSensor(task_id="wait", day=today).poke({})


def test_the_models_know_the_days_of_usage_alone(tmp_path: Path) -> None:
    place = in_directory(tmp_path / "files")
    place.load("teams")
    place.load("usage")
    day = str(datetime.now(UTC).date())
    found = run(
        ClaudeCodeDataQualityOperator(
            task_id="check", path=str(tmp_path / "files"), last_day=day, period_days=1, checks=["sums", "volume_drop"]
        )
    )["findings"]
    assert (found["sums"], found["volume_drop"]) == (0, 0)


def test_a_snapshot_is_of_today_and_skipped_for_earlier_days(place: Place) -> None:
    today = datetime.now(UTC).date()
    with pytest.raises(AirflowSkipException, match="only be loaded for today"):
        place.load("teams", day=str(today - timedelta(days=3)))
    with pytest.raises(ClaudeCodeConfigurationError, match="lookback_days is 3, but the stream teams"):
        place.load("teams", lookback_days=3)
    place.load("teams", day=str(today - timedelta(days=2)))
    assert {row["date"] for row in place.rows("teams")} <= {today, datetime.now(UTC).date()}


def test_the_hook_reads_it_and_the_reference_describes_it() -> None:
    frame = ClaudeCodeHook("teams").get_df(datetime.now(UTC).date(), "team_members")
    assert set(zip(frame["team_id"], frame["email"], strict=True)) == EXPECTED
    assert "| `team_id` | STRING |  | The team. |" in reference_of_tables(DATA_TABLES.values())


def test_lineage_and_links_name_its_tables() -> None:
    operator = ClaudeCodeToBigQueryOperator(dataset_id="d", project_id="p", **arguments("teams", {}))
    assert operator.tables == ("teams", "team_members")
    assert [operator.openlineage_name(table) for table in operator.tables] == [
        ("bigquery", "p.d.claude_code_teams"),
        ("bigquery", "p.d.claude_code_team_members"),
    ]
    (table_link, _) = operator.operator_extra_links
    assert "t=claude_code_teams&" in table_link.get_link(operator, ti_key=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"), [({"stream": "team"}, "members, teams"), ({"tables": ["usage"]}, "a list of teams")]
)
def test_what_there_is_none_of_is_refused_when_the_dag_is_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError, match=said):
        ClaudeCodeToObjectStorageOperator(path="/tmp/x", **arguments("teams", changes))

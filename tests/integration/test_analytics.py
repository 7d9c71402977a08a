"""The models say what a plain computation says, and what was worked out by hand, over files and through BigQuery's API."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_provider_claude_code.analytics.models import OPTIONAL_TABLES, Settings, models
from airflow_provider_claude_code.analytics.sources import BigQuerySource, Source, bigquery_relations, open_files
from airflow_provider_claude_code.api.models import decode_report
from airflow_provider_claude_code.sandbox import Organization
from airflow_provider_claude_code.tables.contract import DATA_TABLES, LOADS
from airflow_provider_claude_code.tables.flatten import Flattener
from airflow_provider_claude_code.tables.loads import Load
from airflow_provider_claude_code.tables.spool import SpooledTable, arrow_schema, arrow_tables
from airflow_provider_claude_code.transfers.bigquery import bigquery_schema
from tests import analytics_truth as truth
from tests.analytics_truth import World
from tests.records import Json, body
from tests.servers.bigquery import BigQueryServer

PROJECT = "demo-proj"
DEFAULT = Settings()
ENGINES = pytest.mark.parametrize("engine", ["files", "bigquery"])
TABLES = (*DATA_TABLES.values(), LOADS)
MAPPING = pa.schema(
    [(name, pa.string()) for name in ("actor_type", "actor_id", "team", "cost_centre")]
    + [(name, pa.date32()) for name in ("valid_from", "valid_to")]
)
ROSTER = pa.schema([("actor_id", pa.string()), ("valid_from", pa.date32()), ("valid_to", pa.date32())])


class History:
    """Days as they are loaded one after the other: the rows of the four tables."""

    def __init__(self) -> None:
        self.days: dict[tuple[str, date], dict[str, pa.Table]] = {}
        self.loads: list[dict[str, Any]] = []

    def load(
        self,
        organization: str,
        day: date,
        records: Iterable[Json],
        *,
        hours: float = 2,
        complete: bool = True,
        pseudonym_key_id: str | None = None,
    ) -> None:
        """Load a day some hours after its end; what was there of it is replaced."""
        loaded_at = datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=hours)
        flattener = Flattener(day)
        page = flattener.flatten(decode_report(body(list(records)))[0].data)
        self.days[organization, day] = arrow_tables(page, DATA_TABLES, loaded_at)
        self.loads += Load(
            load_id=f"{loaded_at:%Y%m%dT%H%M%S.%fZ}-{len(self.loads):08x}",
            loaded_at=loaded_at,
            day=day,
            organization_id=organization,
            complete=complete,
            totals=flattener.totals,
            files={name: SpooledTable(Path(), count, 0, "") for name, count in flattener.totals.row_counts.items()},
            actor_identity="hmac" if pseudonym_key_id else "plain",
            pseudonym_key_id=pseudonym_key_id,
            dag_id=None,
            run_id=None,
        ).rows()

    def tables(self) -> dict[str, pa.Table]:
        """Return all rows by table."""
        tables = {
            table.name: pa.concat_tables(
                [arrow_schema(table).empty_table(), *(day[table.name] for day in self.days.values())]
            )
            for table in DATA_TABLES.values()
        }
        return {**tables, "loads": pa.Table.from_pylist(self.loads, arrow_schema(LOADS))}


@contextmanager
def files_of(tables: Mapping[str, pa.Table], root: Path, settings: Settings) -> Iterator[Source]:
    """Give tables as a path of files, each day in one of its own."""
    optional = {}
    for name, rows in tables.items():
        if name in OPTIONAL_TABLES:
            pq.write_table(rows, root / f"{name}.parquet")
            optional[name] = ObjectStoragePath(f"file://{root}/{name}.parquet")
            continue
        for day in rows["date"].unique():
            folder = root / name / f"dt={day}"
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows.filter(pa.compute.equal(rows["date"], day)), folder / f"{name}.parquet")
    with open_files(ObjectStoragePath(f"file://{root}"), settings, **optional) as source:
        yield source


def bigquery_of(client: bigquery.Client, dataset: str, tables: Mapping[str, pa.Table], settings: Settings) -> Source:
    """Give tables as a dataset."""
    client.create_dataset(f"{PROJECT}.{dataset}")
    schemas = {table.name: bigquery_schema(table) for table in TABLES}
    for name, rows in tables.items():
        file = io.BytesIO()
        pq.write_table(rows, file)
        file.seek(0)
        config = bigquery.LoadJobConfig(source_format="PARQUET", schema=schemas.get(name))
        client.load_table_from_file(file, f"{PROJECT}.{dataset}.claude_code_{name}", job_config=config).result()
    optional = {name: f"claude_code_{name}" for name in OPTIONAL_TABLES if name in tables}
    relations = bigquery_relations(PROJECT, dataset, "claude_code_", **optional)
    return BigQuerySource(client, bigquery.DatasetReference(PROJECT, dataset), relations, settings, {})


@dataclass
class Asked:
    """
    The same data behind both engines.

    :param tables: its rows.
    :param settings: the settings of the queries.
    :param sources: by engine, what to ask.
    :param answers: what was asked before.
    """

    tables: Mapping[str, pa.Table]
    settings: Settings
    sources: Mapping[str, Source]
    answers: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, engine: str, model: str, **having: Any) -> list[dict[str, Any]]:
        """Ask for a model's rows, all or those that have some values."""
        if (engine, model) not in self.answers:
            self.answers[engine, model] = self.sources[engine].read(model).to_pylist()
        rows = self.answers[engine, model]
        return [row for row in rows if all(row[name] == value for name, value in having.items())]

    def row(self, engine: str, model: str, **having: Any) -> dict[str, Any]:
        """Ask for the one row that has some values."""
        (row,) = self.rows(engine, model, **having)
        return row

    @cached_property
    def world(self) -> World:
        """What a plain computation reads."""
        rows = {name: table.to_pylist() for name, table in self.tables.items()}
        return World(now=datetime.now(UTC), min_group_size=self.settings.min_group_size, **rows)


Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Put data behind both engines, once."""
    made: dict[Any, Asked] = {}
    with BigQueryServer(project=PROJECT) as server, pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        client = bigquery.Client(PROJECT, AnonymousCredentials())

        def put(make: Callable[[], Mapping[str, pa.Table]], settings: Settings = DEFAULT) -> Asked:
            if (make, settings) not in made:
                tables = make()
                files = stack.enter_context(files_of(tables, tmp_path_factory.mktemp("files"), settings))
                dataset = bigquery_of(client, f"d{len(made)}", tables, settings)
                made[make, settings] = Asked(tables, settings, {"files": files, "bigquery": dataset})
            return made[make, settings]

        yield put


def comparable(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Order rows by all but their ratios, which may differ in the last digits."""
    return tuple(str(value) for value in row.values() if not isinstance(value, float))


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]], columns: list[str]) -> None:
    """Compare rows in any order: ratios nearly, all else exactly. What an expected row does not name is null."""
    assert {name for row in expected for name in row} <= set(columns)
    whole = sorted(({name: row.get(name) for name in columns} for row in expected), key=comparable)
    for found, wanted in zip(sorted(rows, key=comparable), whole, strict=False):
        near = {name: pytest.approx(value, rel=1e-9) for name, value in wanted.items() if isinstance(value, float)}
        assert found == {**wanted, **near}
    assert len(rows) == len(expected)


def sandbox_tables() -> dict[str, pa.Table]:
    """
    Load 90 days of a made-up organisation as they would be: some late, some twice, some never, some empty.

    Its people are on a roster and mapped to teams, large and small, some of them only for a time.
    """
    organization = Organization.named("acme", users=40, seed=3)
    history, last = History(), truth.last_day_due(datetime.now(UTC))
    first = last - timedelta(days=89)
    for number in range(90):
        day = first + timedelta(days=number)

        def load(hours: float, *, complete: bool = True, empty: bool = False, day: date = day) -> None:
            now = datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=hours)
            records = [] if empty else organization.records(day, now)
            history.load(organization.id, day, records, hours=hours, complete=complete)

        if number in (17, 40, 41, 88):
            continue
        if number in (30, 61):
            load(2, empty=True)
        elif number == 70:
            load(-9, complete=False)
        else:
            if number % 11 == 0:
                load(0.4, complete=False)
            load(2.25)
            if day.weekday() == 2:
                load(30)
                load(54)
    person = "dev{:03}@example.com".format
    middle = (first + timedelta(days=45)).replace(day=15)
    roster = [{"actor_id": person(number)} for number in range(1, 30)]
    roster += [{"actor_id": f" {person(number).upper()}", "valid_from": middle} for number in range(28, 36)]
    roster += [{"actor_id": f"never-{number}@example.com", "valid_to": middle} for number in range(3)]

    def mapped(team: str, numbers: Iterable[int], **days: date) -> list[dict[str, Any]]:
        return [
            {"actor_type": "user_actor", "actor_id": person(number), "team": team, "cost_centre": f"CC-{team}", **days}
            for number in numbers
        ]

    mapping = [
        *mapped("red", range(1, 9)),
        *mapped("green", range(9, 13)),
        *mapped("blue", range(13, 15), valid_to=middle),
        *mapped("red", range(13, 15), valid_from=middle + timedelta(days=1)),
        *mapped("white", range(15, 30), valid_from=middle),
        {"actor_type": "api_actor", "actor_id": "CI-pipeline-01 ", "team": "platform", "cost_centre": None},
    ]
    return {
        **history.tables(),
        "roster": pa.Table.from_pylist(roster, ROSTER),
        "mapping": pa.Table.from_pylist(mapping, MAPPING),
    }


def sandbox_without_people() -> dict[str, pa.Table]:
    return {name: rows for name, rows in sandbox_tables().items() if name not in OPTIONAL_TABLES}


@ENGINES
@pytest.mark.parametrize("make", [sandbox_tables, sandbox_without_people])
@pytest.mark.parametrize("model", models())
def test_a_model_says_what_a_plain_computation_says(
    ask: Ask, make: Callable[[], dict[str, pa.Table]], engine: str, model: str
) -> None:
    asked = ask(make)
    columns = [name for name in models()[model].columns if name != "finding"]

    found = [{name: row[name] for name in columns} for row in asked.rows(engine, model)]

    assert_same(found, list(truth.MODELS[model](asked.world)), columns)


@ENGINES
@pytest.mark.parametrize("model", ["cost_allocation", "people_monthly", "productivity_ratios"])
def test_a_report_has_its_period_and_the_one_before_instead_of_months(ask: Ask, engine: str, model: str) -> None:
    last = truth.last_day_due(datetime.now(UTC)) - timedelta(days=2)
    first = last - timedelta(days=29)
    asked = ask(sandbox_tables, Settings(first_day=first, last_day=last))
    before = first - timedelta(days=30), first - timedelta(days=1)

    found = asked.sources[engine].read(model, by_period=True).to_pylist()

    expected = list(truth.MODELS[model](replace(asked.world, periods=[before, (first, last)])))
    assert {row["month"] for row in expected} == {before[0], first}
    assert_same(found, expected, list(models()[model].columns))

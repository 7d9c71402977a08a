"""Spooled files hold exactly the rows, whatever the format, and read back the same in other people's tools."""

import csv
import gzip
import hashlib
import io
import math
import stat
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from airflow_provider_claude_code import __version__
from airflow_provider_claude_code.streams.registry import DATA_TABLES
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.pages import decode_report
from airflow_provider_claude_code.tables.contract import EXTENSIONS, SCHEMA_VERSION, FileFormat
from airflow_provider_claude_code.tables.spool import DaySpool, SpooledTable
from tests.fixtures.records import DAY, LOADED_AT, TABLES, Json, body, model, official_example, people
from tests.truth.files import FORMATS, SCHEMAS, Row, plain, read_arrow_csv, read_ndjson

ODD_NAMES = [
    "",
    " ",
    "null",
    '"quoted"@example.com',
    "comma,semicolon;tab\t@example.com",
    "two\nlines",
    "two\r\nlines",
    "it's",
    "back\\slash\\n",
    "\N{PILE OF POO}\N{ZERO WIDTH JOINER}\N{SNOWMAN}",
    "\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe@nimda",
    "\N{RIGHT-TO-LEFT MARK}שלום",
    "Zoë",
    "Zoe\N{COMBINING DIAERESIS}",
    "=1+1",
    "\ufeffbom",
    "\x1b[31m\x7f",
]


def odd_day() -> list[Json]:
    """A day of everything that files have got wrong before."""
    money: list[Any] = [0, "0.000000001", "-12.5", Decimal("12345678901234.123456789"), "0.10"]
    return [
        official_example(),
        official_example(actor={"type": "user_actor", "email_address": None}, subscription_type=None),
        official_example(terminal_type="", subscription_type="", is_remote=False, tool_actions={}, model_breakdown=[]),
        official_example(
            subscription_type="team", is_remote=True, model_breakdown=[model(1), model(2, currency="EUR")]
        ),
        official_example(terminal_type="money", model_breakdown=[model(amount) for amount in money[:3]]),
        official_example(terminal_type="money", model_breakdown=[model(amount) for amount in money[3:]]),
        *(
            official_example(
                actor={"type": "user_actor", "email_address": name},
                terminal_type=name,
                tool_actions={name: {"accepted": 1, "rejected": 2}},
                model_breakdown=[model(3, name=name)],
            )
            for name in ODD_NAMES
        ),
    ]


def spool(
    directory: Path,
    pages: Sequence[Sequence[Json]],
    file_format: FileFormat = "parquet",
    tables: Sequence[str] = TABLES,
) -> dict[str, SpooledTable]:
    directory.mkdir(exist_ok=True)
    contracts = [DATA_TABLES[name] for name in tables]
    flattener = UsageFlattener(DAY)
    with DaySpool(directory, contracts, file_format, "load-1", LOADED_AT) as day_spool:
        for page in pages:
            day_spool.write(flattener.flatten(decode_report(body(page))[0].data))
        return day_spool.finish()


def read_duckdb(path: Path, schema: pa.Schema) -> list[Row]:
    types = {
        pa.string(): "VARCHAR",
        pa.int64(): "BIGINT",
        pa.bool_(): "BOOLEAN",
        pa.date32(): "DATE",
        pa.decimal128(38, 9): "DECIMAL(38, 9)",
        pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    }
    columns = {field.name: types[field.type] for field in schema}
    if path.name.endswith(".parquet"):
        source = f"read_parquet('{path}')"
    elif path.name.endswith(".ndjson.gz"):
        source = f"read_json('{path}', format='newline_delimited', columns={columns})"
    else:
        source = (
            f"read_csv('{path}', header=true, columns={columns}, quote='\"', escape='\"', delim=',', "
            "auto_detect=false, nullstr='', allow_quoted_nulls=false, parallel=false)"
        )
    relation = duckdb.sql(f"SELECT * REPLACE (epoch_us(loaded_at) AS loaded_at) FROM {source}")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


@pytest.mark.parametrize("table", TABLES)
def test_all_formats_and_readers_give_the_same_rows(tmp_path: Path, table: str) -> None:
    records = odd_day()
    files = {name: spool(tmp_path / name, [records[:7], [], records[7:]], name)[table].path for name in FORMATS}
    rows = plain(pa.parquet.read_table(files["parquet"]).to_pylist())
    if table == "usage":
        assert [row["terminal_type"] for row in rows] == [record["terminal_type"] for record in records]
        assert [row["actor_id"] for row in rows] == [record["actor"]["email_address"] for record in records]
        assert [row["is_remote"] for row in rows[:4]] == [None, None, False, True]
        assert [row["subscription_type"] for row in rows[:4]] == [None, None, "", "team"]
    else:
        assert [row[{"model_usage": "model", "tool_usage": "tool_name"}[table]] for row in rows][-len(ODD_NAMES) :] == (
            ODD_NAMES
        )
    schema = SCHEMAS[table]
    assert plain(read_ndjson(files["ndjson"])) == rows
    assert plain(read_arrow_csv(files["csv"], schema)) == rows
    for path in files.values():
        assert plain(read_duckdb(path, schema)) == rows


def test_a_null_in_csv_is_an_empty_field_and_an_empty_string_a_quoted_one(tmp_path: Path) -> None:
    records = [
        official_example(terminal_type="t", actor={"type": "user_actor", "email_address": None}),
        official_example(terminal_type="t", actor={"type": "user_actor", "email_address": ""}),
    ]
    path = spool(tmp_path, [records], "csv")["tool_usage"].path
    header, first, *_, last = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert header.replace('"', "") == ",".join(SCHEMAS["tool_usage"].names)
    assert ',"user_actor",,"api",,"t",,' in first
    assert ',"user_actor","","api",,"t",,' in last


def test_the_csv_module_reads_every_name(tmp_path: Path) -> None:
    path = spool(tmp_path, [odd_day()], "csv")["usage"].path
    text = gzip.decompress(path.read_bytes()).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["terminal_type"] for row in rows] == [record["terminal_type"] for record in odd_day()]


@pytest.mark.parametrize("file_format", ["ndjson", "csv"])
def test_money_is_plain_decimal_text(tmp_path: Path, file_format: FileFormat) -> None:
    amounts = ["0", "0.000000001", "-0.5", "1025", "12345678901234.123456789"]
    record = official_example(model_breakdown=[model(amount) for amount in amounts])
    path = spool(tmp_path, [[record]], file_format)["model_usage"].path
    if file_format == "ndjson":
        texts = [row["estimated_cost_cents"] for row in read_ndjson(path)]
    else:
        text = gzip.decompress(path.read_bytes()).decode()
        texts = [row["estimated_cost_cents"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert texts == [
        "0.000000000",
        "0.000000001",
        "-0.500000000",
        "1025.000000000",
        "12345678901234.123456789",
    ]


def test_a_file_holds_no_text_but_that_of_its_rows(tmp_path: Path) -> None:
    idle = official_example(actor={"type": "user_actor", "email_address": "idle@example.com"}, tool_actions={})
    spooled = spool(tmp_path, [[idle, official_example()]])
    path = spooled["tool_usage"].path
    (actors,) = pyarrow.parquet.read_table(path, read_dictionary=["actor_id"])["actor_id"].chunks
    assert actors.dictionary.to_pylist() == [official_example()["actor"]["email_address"]]


def test_many_small_pages_become_few_large_row_groups(tmp_path: Path) -> None:
    page = decode_report(body(people(1000)))[0].data
    flattener = UsageFlattener(DAY)
    with DaySpool(tmp_path, USAGE.tables, "parquet", "load-1", LOADED_AT) as day_spool:
        for _ in range(120):
            day_spool.write(flattener.flatten(page))
        files = day_spool.finish()
    for table, rows in {"usage": 120_000, "model_usage": 120_000, "tool_usage": 480_000}.items():
        metadata = pa.parquet.read_metadata(files[table].path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        assert sum(group.num_rows for group in groups) == metadata.num_rows == files[table].row_count == rows
        assert all(10_000 <= group.num_rows <= 100_000 for group in groups)
        assert {group.column(0).compression for group in groups} == {"ZSTD"}
        assert len(groups) <= math.ceil(rows / 15_000)
    assert duckdb.sql(
        f"SELECT count(*), count(DISTINCT record_id), max(key_ordinal), sum(estimated_cost_cents) "
        f"FROM read_parquet('{files['usage'].path}')"
    ).fetchall() == [(120_000, 120_000, 119, Decimal(1025 * 120_000))]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("pages", [[], [[]], [people(2)]], ids=["no page", "empty page", "rows"])
def test_the_parquet_schema_is_the_contract_and_every_field_nullable(
    tmp_path: Path, table: str, pages: list[list[Json]]
) -> None:
    schema = pa.parquet.read_schema(spool(tmp_path, pages)[table].path)
    assert schema.equals(SCHEMAS[table])
    assert all(field.nullable for field in schema)
    metadata = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    assert metadata["load_id"] == "load-1"
    assert metadata["schema_version"] == str(SCHEMA_VERSION)
    assert metadata["provider_version"] == __version__


@pytest.mark.parametrize("pages", [[], [[]], [[], []]])
@pytest.mark.parametrize("table", TABLES)
def test_an_empty_day_gives_readable_files_without_rows(tmp_path: Path, table: str, pages: list[list[Json]]) -> None:
    files = {name: spool(tmp_path / name, pages, name)[table] for name in FORMATS}
    assert {file.row_count for file in files.values()} == {0}
    parquet = pa.parquet.read_table(files["parquet"].path)
    assert (parquet.num_rows, parquet.schema.names) == (0, SCHEMAS[table].names)
    assert gzip.decompress(files["ndjson"].path.read_bytes()) == b""
    lines = list(csv.reader(io.StringIO(gzip.decompress(files["csv"].path.read_bytes()).decode())))
    assert lines == [SCHEMAS[table].names]
    for file in files.values():
        assert read_duckdb(file.path, SCHEMAS[table]) == []


@pytest.mark.parametrize("file_format", FORMATS)
def test_files_are_private_and_described_as_they_are(tmp_path: Path, file_format: FileFormat) -> None:
    files = spool(tmp_path, [people(3)], file_format)
    for table, rows in {"usage": 3, "model_usage": 3, "tool_usage": 12}.items():
        file = files[table]
        assert file.path == tmp_path / f"{table}.{EXTENSIONS[file_format]}"
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        content = file.path.read_bytes()
        assert (file.row_count, file.size, file.sha256) == (rows, len(content), hashlib.sha256(content).hexdigest())
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_load_gives_the_same_bytes(tmp_path: Path, file_format: FileFormat) -> None:
    one = spool(tmp_path / "one", [odd_day()], file_format)
    # Where pages end is no matter.
    other = spool(tmp_path / "other", [odd_day()[:5], odd_day()[5:]], file_format)
    assert [file.sha256 for file in one.values()] == [file.sha256 for file in other.values()]


def test_only_the_tables_that_were_asked_for_are_written(tmp_path: Path) -> None:
    assert list(spool(tmp_path, [people(2)], tables=["tool_usage"])) == ["tool_usage"]
    assert [path.name for path in tmp_path.iterdir()] == ["tool_usage.parquet"]


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    spool(tmp_path, [people(1)])
    with pytest.raises(FileExistsError):
        spool(tmp_path, [people(2)])


def test_an_error_on_the_way_is_the_one_that_is_seen(tmp_path: Path) -> None:
    page = decode_report(body(people(1)))[0].data

    def fail_after_a_page() -> None:
        with DaySpool(tmp_path, USAGE.tables, "csv", "load-1", LOADED_AT) as day_spool:
            day_spool.write(UsageFlattener(DAY).flatten(page))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_page()

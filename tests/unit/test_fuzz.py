"""
Whatever arrives: all that the API may send is in the files to the last digit, all else is refused in our own words.

`make fuzz` tries twenty times as many examples as `make test` does.
"""

import bisect
import contextlib
import json
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
import pyarrow.parquet
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.api.models import ErrorEnvelope
from airflow_provider_claude_code.api.paging import Page
from airflow_provider_claude_code.api.retries import read_error_envelope
from airflow_provider_claude_code.exceptions import ClaudeCodeResponseError
from airflow_provider_claude_code.sandbox import Organization
from airflow_provider_claude_code.streams.usage import USAGE
from airflow_provider_claude_code.streams.usage.flatten import UsageFlattener
from airflow_provider_claude_code.streams.usage.models import Record, Report
from airflow_provider_claude_code.streams.usage.pages import decode_report, usage_walk
from airflow_provider_claude_code.tables.contract import FileFormat
from airflow_provider_claude_code.tables.pseudonyms import Pseudonyms
from airflow_provider_claude_code.tables.spool import DaySpool, arrow_tables
from tests.fixtures import walks
from tests.fixtures.records import DAY, LOADED_AT, RECORDS, TABLES, Json, body, model, official_example
from tests.truth.files import FORMATS, SCHEMAS, plain, read_arrow_csv, read_ndjson
from tests.truth.records import MODEL_SUMS, SUMS, exact_sum, naive_totals

EXAMPLES = settings().max_examples
"""Of the profile that runs: a day in files takes as long as twenty damaged pages."""

encode = msgspec.json.Encoder(decimal_format="number").encode
Rows = dict[str, list[dict[str, Any]]]


def pages_of(pages: Sequence[bytes]) -> Iterator[Page]:
    """Walk through the day that these are the pages of."""
    return walks.pages_of(usage_walk(DAY, 1000), (httpx.Response(200, content=page) for page in pages))


def totals(rows: Rows) -> dict[str, Any]:
    """Add up rows that were read back, in the form of `naive_totals`."""
    sums: dict[str, Any] = {}
    for table, found in rows.items():
        sums[table] = len(found)
        for column in [*SUMS[table], *(MODEL_SUMS if table != "tool_usage" else [])]:
            sums[f"{table}.{column}"] = exact_sum(row[column] or 0 for row in found)
    return {name: total for name, total in sums.items() if total}


def raw_totals(pages: Sequence[bytes]) -> dict[str, Any]:
    sums: Counter[str] = Counter()
    for page in pages:
        for name, total in naive_totals(page).items():
            sums[name] = exact_sum([sums[name], total])  # type: ignore[assignment]
    return {name: total for name, total in sums.items() if total}


def read(path: Path, table: str) -> list[dict[str, Any]]:
    if path.name.endswith(".parquet"):
        return plain(pyarrow.parquet.read_table(path).to_pylist())
    return plain(read_ndjson(path) if ".ndjson" in path.name else read_arrow_csv(path, SCHEMAS[table]))


UNKNOWN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e300, 1e300) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=3,
)


@st.composite
def whole_days(draw: st.DrawFn) -> list[bytes]:
    """Draw the pages of a day, of any sizes and with new fields in any object that has a shape."""
    records = draw(st.lists(RECORDS, max_size=10))
    for record in records:
        shaped = [record, record["core_metrics"], record["core_metrics"]["lines_of_code"]]
        shaped += record["tool_actions"].values()
        for entry in record["model_breakdown"]:
            shaped += [entry, entry["tokens"], entry["estimated_cost"]]
        for place in draw(st.lists(st.sampled_from(shaped), max_size=2)):
            place["a_field_of_tomorrow"] = draw(UNKNOWN)
    cuts = sorted(draw(st.lists(st.integers(0, len(records)), max_size=4)))
    new = draw(st.dictionaries(st.just("a_field_of_tomorrow"), UNKNOWN))
    pages = []
    for start, end in zip([0, *cuts], [*cuts, None], strict=True):
        cursor = f"cursor-{len(pages)}==" if end is not None else draw(st.sampled_from([None, "", "unused"]))
        page = {"data": records[start:end], "has_more": end is not None, "next_page": cursor, **new}
        pages.append(encode({name: page[name] for name in draw(st.permutations(list(page)))}))
    return pages


@pytest.mark.parametrize("file_format", FORMATS)
@settings(max_examples=EXAMPLES // 4)
@given(pages=whole_days())
def test_files_hold_every_record_and_the_sums_of_the_raw_json(file_format: FileFormat, pages: list[bytes]) -> None:
    expected = raw_totals(pages)

    flattener = UsageFlattener(DAY)
    with TemporaryDirectory() as directory:
        with DaySpool(Path(directory), USAGE.tables, file_format, "load-1", LOADED_AT) as spool:
            for page in pages_of(pages):
                spool.write(flattener.flatten(page.records))
            files = spool.finish()
        rows = {table: read(files[table].path, table) for table in TABLES}

    assert totals(rows) == expected
    assert {table: file.row_count for table, file in files.items()} == {table: len(rows[table]) for table in TABLES}
    assert flattener.totals.num_sessions == expected.get("usage.num_sessions", 0)
    raw = [record for page in pages for record in json.loads(page)["data"]]
    assert [row["terminal_type"] for row in rows["usage"]] == [record["terminal_type"] for record in raw]
    assert [row["actor_type"] for row in rows["usage"]] == [record["actor"]["type"] for record in raw]
    assert len({row["record_id"] for row in rows["usage"]}) == len(raw)
    models = [entry["model"] for record in raw for entry in record["model_breakdown"]]
    assert [row["model"] for row in rows["model_usage"]] == models
    tools = [tool for record in raw for tool in record["tool_actions"]]
    assert [row["tool_name"] for row in rows["tool_usage"]] == tools


# A canary in every value, so that a message that quotes one is seen.
CANARY_COUNT = 7777777


def canary_record(**changes: Any) -> Json:
    lines = {"added": CANARY_COUNT, "removed": CANARY_COUNT}
    metrics = {"num_sessions": CANARY_COUNT, "lines_of_code": lines}
    metrics |= {"commits_by_claude_code": CANARY_COUNT, "pull_requests_by_claude_code": CANARY_COUNT}
    action = {"accepted": CANARY_COUNT, "rejected": CANARY_COUNT}
    entry = model(Decimal("7777777.5"), name="canary-model", currency="CANARY", tokens=[CANARY_COUNT] * 4)
    return official_example(
        actor={"type": "user_actor", "email_address": "canary@example.com"},
        organization_id="canary-organization",
        customer_type="canary-customer",
        subscription_type="canary-subscription",
        terminal_type="canary-terminal",
        is_remote=True,
        core_metrics=metrics,
        tool_actions={"edit_tool": action, "canary_tool": action},
        model_breakdown=[entry, entry],
        **changes,
    )


NEW_ACTOR = {"type": "canary_actor", "id": "canary", "weight": CANARY_COUNT, "parts": ["canary", {"canary": 0.5}]}
REAL_DAY = Organization.named("Sandbox", 250).records(DAY, datetime(2026, 1, 1, tzinfo=UTC))
SEEDS = [
    body([canary_record()]),
    body([canary_record() | {"actor": NEW_ACTOR}], next_page="canary-cursor=="),
    body([official_example(), official_example(actor={"type": "api_actor", "api_key_name": "canary"})]),
    body(REAL_DAY[:3]),
    body([]),
]
TOKENS = [
    *(b"null true false [] {} 0 -0 -1 5.0 5.5 5e0 1E3 1e29 1e99 1e400 1e-400 0.1 7777777.5".split()),
    *(b"NaN Infinity -Infinity 0x10 1_000 +1 01 .5 5. 1e 1e99999999999999999999 1e-99999999999999999999".split()),
    *(b'"NaN" "-inf" "1e400" "1_000" " 1" "0x10" "5.0" "" "canary" ["canary"] {"canary":"canary"}'.split()),
    *(b'"2025-09-01" "2025-08-31" "user_actor" "canary_actor" "api_actor"'.split()),
    *(digits * count for digits in (b"9", b"7") for count in (19, 25, 29, 30, 400, 4299, 4301)),
    b"0." + b"1" * 3000,
    b"1" + b"0" * 5000 + b".0",
    *(
        text.encode()
        for text in ("\u0665", '"\u0665"', '"\uff15"', '"\u00b2"', '"\N{PILE OF POO}"', "\ufeff", "\u2028")
    ),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\udca9"', b'"\\u0000"', b'"\\u00"', b'"\\x41"', b'"\x00"'),
    *(b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b'"', b"\\", b",", b":", b"[", b"]", b"{", b"}", b"\n", b"\x00"),
    *(b'"has_more":true,', b'"data":[],', b'"next_page":"canary",', b'"canary":', b"/*canary*/", b"<html>"),
]
# What an API could well say.
PLAIN_NUMBERS = b"0 12 5.0 5e0 1E3 999999999999999999 0.000000001 1e-7 -3.5".split()
PLAIN_TEXTS = b'"" "new" "12.50" "-0.0" "2025-09-01" "\\u0000" "\\ud83d\\udca9" null'.split()
SCALAR = rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null'
VALUES = re.compile(rb"(?<=[:\[,])(?:" + SCALAR + rb")(?=[,\]}])")
MEMBERS = re.compile(rb'("[a-z_]+":)(' + SCALAR + rb")(?=[,}])")
PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)

Damage = Callable[[st.DrawFn, bytes], bytes]


def _flip_a_bit(draw: st.DrawFn, page: bytes) -> bytes:
    place = draw(st.integers(0, len(page) - 1))
    return page[:place] + bytes([page[place] ^ 1 << draw(st.integers(0, 7))]) + page[place + 1 :]


def _cut_out(draw: st.DrawFn, page: bytes) -> bytes:
    place = draw(st.integers(0, len(page)))
    return page[:place] + page[place + draw(st.integers(1, 40)) :]


def _cut_off(draw: st.DrawFn, page: bytes) -> bytes:
    return page[: draw(st.integers(0, len(page)))]


def _insert(draw: st.DrawFn, page: bytes) -> bytes:
    place = draw(st.integers(0, len(page)))
    return page[:place] + draw(st.sampled_from(TOKENS)) + page[place:]


def _repeat(draw: st.DrawFn, page: bytes) -> bytes:
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(page))] * 2)))
    return page[:end] + page[start:]


def _replace_a_value(draw: st.DrawFn, page: bytes) -> bytes:
    if not (places := list(VALUES.finditer(page))):
        return page
    start, end = draw(st.sampled_from(places)).span()
    return page[:start] + draw(st.sampled_from(TOKENS)) + page[end:]


def _replace_a_value_by_another(draw: st.DrawFn, page: bytes) -> bytes:
    if not (places := list(VALUES.finditer(page))):
        return page
    place = draw(st.sampled_from(places))
    other = draw(st.sampled_from(PLAIN_TEXTS if place[0].startswith(b'"') else PLAIN_NUMBERS))
    return page[: place.start()] + other + page[place.end() :]


def _add_a_field(draw: st.DrawFn, page: bytes) -> bytes:
    if not (places := [place.end() for place in re.finditer(rb"\{(?=\")", page)]):
        return page
    place = draw(st.sampled_from(places))
    return page[:place] + b'"canary":' + draw(st.sampled_from(TOKENS)) + b"," + page[place:]


def _double_a_key(draw: st.DrawFn, page: bytes) -> bytes:
    if not (places := list(MEMBERS.finditer(page))):
        return page
    member = draw(st.sampled_from(places))
    name, value = member.groups()
    values = draw(st.permutations([value, draw(st.sampled_from(TOKENS))]))
    return page[: member.start()] + b",".join(name + value for value in values) + page[member.end() :]


def _nest_a_value(draw: st.DrawFn, page: bytes) -> bytes:
    if not (places := list(VALUES.finditer(page))):
        return page
    place = draw(st.sampled_from(places))
    depth = draw(st.integers(1, 1200) | st.sampled_from([5000, 20000]))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"canary":', b"}"), (b'{"data":[', b"]}")]))
    nested = opening * depth + place[0] + closing * draw(st.sampled_from([depth, depth, depth, depth - 1, 0]))
    return page[: place.start()] + nested + page[place.end() :]


def _encode_otherwise(draw: st.DrawFn, page: bytes) -> bytes:
    text = page.decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-32-le", "utf-7", "cp037"])), "replace")


DAMAGES: list[Damage] = [
    *(_flip_a_bit, _cut_out, _cut_off, _insert, _repeat, _encode_otherwise),
    # Most of what the others give is no JSON.
    *(_replace_a_value, _double_a_key, _nest_a_value) * 2,
    *(_replace_a_value_by_another, _add_a_field) * 6,
]


@st.composite
def damaged_pages(draw: st.DrawFn) -> bytes:
    page = draw(st.sampled_from(SEEDS))
    for damage in draw(st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=3)):
        page = damage(draw, page) if page else page
    return page


def load(page: bytes, pseudonym: Pseudonyms | None = None) -> Rows:
    """Take a page the whole way to its tables; whatever is wrong with it must come out as our error."""
    answer = next(pages_of([page]))
    flat = UsageFlattener(DAY, pseudonym).flatten(answer.records)
    return {name: plain(table.to_pylist()) for name, table in arrow_tables(flat, USAGE.tables, LOADED_AT).items()}


def assert_quotes_nothing(error: BaseException) -> None:
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for text in (str(error), repr(error), repr(vars(error))):
        assert not re.search("canary|@|777777", text, re.IGNORECASE)


@settings(max_examples=5 * EXAMPLES)
@given(page=damaged_pages())
@example(page=SEEDS[0].replace(b"7777777.5", b'"1_000"'))
@example(page=SEEDS[0].replace(b"7777777.5", b"12345678901234567890.123456789"))
@example(page=SEEDS[0].replace(b"7777777.5", b'"canary"'))
@example(page=SEEDS[0].replace(b'"CANARY"', b'""'))
@example(page=SEEDS[0].replace(b"canary-terminal", b"\xff"))
@example(page=SEEDS[1].replace(b'"canary-cursor=="', b"null"))
def test_a_damaged_page_is_refused_or_loaded_as_its_json_reads(page: bytes) -> None:
    try:
        rows = load(page)
    except ClaudeCodeResponseError as error:
        event("refused")
        assert_quotes_nothing(error)
        return
    try:
        raw, expected = json.loads(page), naive_totals(page)
    except (RecursionError, InvalidOperation, ValueError) as error:
        # Python's reader looks also into fields that we pass over.
        assert type(error) is not json.JSONDecodeError  # noqa: PT017
        event("loaded, but too odd for Python's reader")
        return
    event("loaded")
    assert totals(rows) == expected
    assert raw.get("next_page") or not raw["has_more"]
    for entry in (entry for record in raw["data"] for entry in record["model_breakdown"]):
        assert PLAIN_NUMBER.fullmatch(str(entry["estimated_cost"]["amount"]))


@settings(max_examples=5 * EXAMPLES)
@given(page=damaged_pages())
def test_a_damaged_page_is_a_report_or_a_plain_value_error(page: bytes) -> None:
    try:
        assert isinstance(decode_report(page)[0], Report)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017
        assert_quotes_nothing(error)


@given(page=damaged_pages())
def test_people_stay_pseudonyms_whatever_the_page(page: bytes) -> None:
    try:
        rows = load(page, Pseudonyms("correct horse battery staple"))
    except ClaudeCodeResponseError as error:
        assert_quotes_nothing(error)
    else:
        assert all(
            re.fullmatch("[0-9a-f]{64}", row["actor_id"] or "0" * 64) for found in rows.values() for row in found
        )


@given(page=damaged_pages(), status=st.sampled_from([400, 401, 429, 500]))
def test_a_damaged_answer_about_an_error_is_read_or_no_answer_of_the_api(page: bytes, status: int) -> None:
    envelope = b'{"type":"error","error":{"type":"canary_error","message":"canary"},"data":' + page + b"}"

    for content in (page, envelope):
        assert isinstance(read_error_envelope(httpx.Response(status, content=content)), ErrorEnvelope | None)


def measure(page: bytes) -> tuple[float, int]:
    """Return the processor time and the memory that a page takes on its way, without that of the page itself."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        load(page)
    except ClaudeCodeResponseError as error:
        assert_quotes_nothing(error)
    finally:
        seconds = time.process_time() - begin
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return seconds, peak


@given(page=damaged_pages())
def test_a_damaged_page_takes_little_time_and_memory(page: bytes) -> None:
    seconds, peak = measure(page)

    assert seconds < 5
    assert peak < 80 * len(page) + 1_000_000


MEGABYTE = 1_000_000


def filled(place: bytes, filling: bytes) -> bytes:
    """Return a page of a record in which one value is replaced."""
    page = body([canary_record() | {"actor": {"type": "canary_actor", "place": "here"}, "new": "unknown"}])
    assert page.count(place) == 1
    return page.replace(place, filling)


LARGE = {
    "an actor of empty lists": filled(b'"here"', b"[" + b"[]," * (MEGABYTE // 3) + b"[]]"),
    "an actor of empty objects": filled(b'"here"', b"[" + b"{}," * (MEGABYTE // 3) + b"{}]"),
    "an actor of decimals": filled(b'"here"', b"[" + b"0.5," * (MEGABYTE // 4) + b"0.5]"),
    "an actor of many fields": filled(b'"here"', b"0," + b",".join(b'"%d":1' % n for n in range(MEGABYTE // 10))),
    "a decimal of a million digits": filled(b'"here"', b"0." + b"7" * MEGABYTE),
    "an integer of a million digits": filled(b'"here"', b"7" * MEGABYTE),
    "an exponent of a million digits": filled(b'"here"', b"1e" + b"7" * MEGABYTE),
    "a number that takes a gigabyte to write out": filled(b'"here"', b"1e1000000000"),
    "a count of a million digits": filled(b'"num_sessions":7777777', b'"num_sessions":1.' + b"0" * MEGABYTE),
    "a name of a megabyte": filled(b'"canary-terminal"', b'"' + b"\\u00fc" * (MEGABYTE // 6) + b'"'),
    "a new field of empty lists": filled(b'"unknown"', b"[" + b"[]," * (MEGABYTE // 3) + b"[]]"),
    "a new field that is not closed": filled(b'"unknown"', b"[" * MEGABYTE),
    "a new field and a count written 1.0": filled(
        b'"num_sessions":7777777', b'"num_sessions":1.0,"new":[' + b"[]," * (MEGABYTE // 3) + b"[]]"
    ),
    "empty records": b'{"data":[' + b"{}," * (MEGABYTE // 3) + b'{}],"has_more":false,"next_page":null}',
    "many tools": filled(
        b'"canary_tool":', b"".join(b'"%x":{"accepted":1,"rejected":0},' % n for n in range(20_000)) + b'"canary_tool":'
    ),
    "the same tool again and again": filled(
        b'"canary_tool":', b'"t":{"accepted":1,"rejected":0},' * 30_000 + b'"canary_tool":'
    ),
    "blanks": b" " * MEGABYTE,
}


@pytest.mark.parametrize("page", LARGE.values(), ids=LARGE)
def test_a_large_page_takes_time_and_memory_in_proportion(page: bytes) -> None:
    seconds, peak = measure(page)

    assert seconds < 20
    assert peak < 80 * len(page)


def flatten_further_down(records: Sequence[Record], frames: int) -> None:
    if frames:
        flatten_further_down(records, frames - 1)
    else:
        UsageFlattener(DAY).flatten(records)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_an_actor_nested_as_deeply_as_can_be_read_is_loaded_or_refused(opening: str, closing: str) -> None:
    """Reading and writing reach the interpreter's limit at different depths."""

    def page(depth: int) -> bytes:
        return filled(b'"here"', (opening * depth + "0" + closing * depth).encode())

    def is_refused(depth: int) -> bool:
        try:
            decode_report(page(depth))
        except ValueError:
            return True
        return False

    too_deep = bisect.bisect_left(range(200_000), True, lo=2, key=is_refused)
    assert 100 < too_deep < 200_000
    outcomes = set()
    for depth in [too_deep // 4, too_deep // 2, *range(max(2, too_deep - 40), too_deep + 3)]:
        try:
            load(page(depth))
        except ClaudeCodeResponseError as error:
            assert_quotes_nothing(error)
            outcomes.add("refused")
        else:
            outcomes.add("loaded")
            with contextlib.suppress(ClaudeCodeResponseError):
                flatten_further_down(decode_report(page(depth))[0].data, frames=60)
    assert outcomes == {"loaded", "refused"}

"""The typed report accepts what the API may send, keeps every digit, and refuses the rest by path."""

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.api import decoding
from airflow_provider_claude_code.api.client import MAX_BODY_SIZE
from airflow_provider_claude_code.streams.usage import pages
from airflow_provider_claude_code.streams.usage.models import Report
from tests.fixtures.records import DAYS, official_example

# The guide's example, and a second record in the form of the reference.
GUIDE_RECORD = official_example()
API_RECORD = {
    **GUIDE_RECORD,
    "actor": {"type": "api_actor", "api_key_name": "ci"},
    "customer_type": "subscription",
    "subscription_type": "team",
    "is_remote": False,
    "tool_actions": {},
    "model_breakdown": [],
}
GUIDE_PAGE = {"data": [GUIDE_RECORD, API_RECORD], "has_more": False, "next_page": None}
COUNTS = [
    ("core_metrics", "num_sessions"),
    ("core_metrics", "lines_of_code", "added"),
    ("core_metrics", "lines_of_code", "removed"),
    ("core_metrics", "commits_by_claude_code"),
    ("core_metrics", "pull_requests_by_claude_code"),
    ("tool_actions", "edit_tool", "accepted"),
    ("tool_actions", "edit_tool", "rejected"),
    ("model_breakdown", 0, "tokens", "input"),
    ("model_breakdown", 0, "tokens", "output"),
    ("model_breakdown", 0, "tokens", "cache_read"),
    ("model_breakdown", 0, "tokens", "cache_creation"),
]
AMOUNT = ("model_breakdown", 0, "estimated_cost", "amount")
ABSENT = object()


class Literal(str):
    """A piece of JSON that is put into the body as it is."""


def body_with(path: tuple[str | int, ...], value: Any, page: Any = GUIDE_PAGE) -> bytes:
    """Return a page in which one place of the first record, or of the envelope, holds another value."""
    page = copy.deepcopy(page)
    target = page if path[0] in page else page["data"][0]
    for step in path[:-1]:
        target = target[step]
    if value is ABSENT:
        del target[path[-1]]
    else:
        target[path[-1]] = "<literal>" if isinstance(value, Literal) else value
    body = json.dumps(page)
    return (body.replace('"<literal>"', value) if isinstance(value, Literal) else body).encode()


def value_at(report: Report, path: tuple[str | int, ...]) -> Any:
    value: Any = report.data[0]
    for step in path:
        value = value[step] if isinstance(value, dict | list) else getattr(value, str(step))
    return value


def as_json(value: Any) -> Any:
    """Turn structs into dicts of what the reference has, and leave everything else as it is."""
    if isinstance(value, msgspec.Struct):
        documented = msgspec.structs.asdict(value).items()
        value = {name: item for name, item in documented if name != "unknown_fields" and "learned" not in name}
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


def json_path(path: tuple[str | int, ...]) -> str:
    """Write a path as msgspec does: keys of open maps are not named."""
    text = "$" if path[0] in GUIDE_PAGE else "$.data[0]"
    for i, step in enumerate(path):
        if isinstance(step, int):
            text += f"[{step}]"
        elif path[i - 1 : i] == ("tool_actions",):
            text += "[...]"
        else:
            text += f".{step}"
    return text


def decode_report(body: bytes) -> Report:
    return pages.decode_report(body)[0]


def test_the_guide_example_is_read_field_by_field() -> None:
    report = decode_report(json.dumps(GUIDE_PAGE).encode())

    # The types bear the API's names.
    expected = copy.deepcopy(GUIDE_RECORD) | {"subscription_type": msgspec.UNSET, "is_remote": msgspec.UNSET}
    expected["model_breakdown"][0]["estimated_cost"]["amount"] = Decimal(1025)
    assert as_json(report.data[0]) == expected
    assert as_json(report.data[1]) == API_RECORD
    assert (report.has_more, report.next_page) == (False, None)


def test_an_empty_page_is_a_page() -> None:
    assert as_json(decode_report(b'{"data":[],"has_more":false,"next_page":null}')) == as_json(Report([], False, None))


@pytest.mark.parametrize(
    "path",
    [
        ("data", 0, "new"),
        ("data", 0, "core_metrics", "new"),
        ("data", 0, "core_metrics", "lines_of_code", "new"),
        ("data", 0, "tool_actions", "edit_tool", "new"),
        ("data", 0, "model_breakdown", 0, "new"),
        ("data", 0, "model_breakdown", 0, "tokens", "new"),
        ("data", 0, "model_breakdown", 0, "estimated_cost", "new"),
        ("data", 1, "new"),
    ],
    ids=json_path,
)
@pytest.mark.parametrize("value", [None, 1.5, -3, 2**70, "text", {"nested": [1, 2.5, None]}], ids=str)
def test_a_new_field_is_noted_by_its_path_and_changes_nothing(path: tuple[str | int, ...], value: Any) -> None:
    report, unknown_fields = pages.decode_report(body_with(path, value))

    assert as_json(report) == as_json(decode_report(json.dumps(GUIDE_PAGE).encode()))
    noted = "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    assert unknown_fields == {noted.replace("tool_actions.edit_tool", "tool_actions{}")}


def test_a_new_field_of_the_envelope_is_noted_and_changes_nothing() -> None:
    body = json.dumps({"request_id": "req_1", **GUIDE_PAGE}).encode()

    report, unknown_fields = pages.decode_report(body)
    assert as_json(report) == as_json(decode_report(json.dumps(GUIDE_PAGE).encode()))
    assert unknown_fields == {"request_id"}


def test_several_new_fields_are_noted_together() -> None:
    page = copy.deepcopy(GUIDE_PAGE)
    for record in page["data"]:
        record["team"] = "x"
        record["core_metrics"]["num_prompts"] = 7.5
    body = json.dumps(page).encode()

    report, unknown_fields = pages.decode_report(body)

    assert as_json(report) == as_json(decode_report(json.dumps(GUIDE_PAGE).encode()))
    assert unknown_fields == {"data[].team", "data[].core_metrics.num_prompts"}
    assert [record.unknown_fields for record in report.data] == [
        {"team": "x", "core_metrics": {"num_prompts": Decimal("7.5")}}
    ] * 2


def test_no_new_field_is_noted_where_there_is_none() -> None:
    assert pages.decode_report(json.dumps(GUIDE_PAGE).encode())[1] == set()


def test_a_new_field_hides_no_mistake_and_shifts_no_path() -> None:
    page = json.loads(json.dumps(GUIDE_PAGE))
    page["data"][0]["team"] = "canary"
    page["data"][1]["core_metrics"]["num_sessions"] = -1

    with pytest.raises(ValueError, match=r"`\$\.data\[1\]\.core_metrics\.num_sessions`") as caught:
        pages.decode_report(json.dumps(page).encode())
    assert "canary" not in str(caught.value)
    assert "team" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tool_actions",), {}),
        (("tool_actions",), {"bash_tool": {"accepted": 1, "rejected": 0}, "": {"accepted": 0, "rejected": 2}}),
        (("model_breakdown",), []),
        (("model_breakdown", 0, "model"), "a-model-of-tomorrow"),
        (("model_breakdown", 0, "estimated_cost", "currency"), "EUR"),
        (("customer_type",), "marketplace"),
        (("subscription_type",), "enterprise"),
        (("subscription_type",), "of tomorrow"),
        (("subscription_type",), None),
        (("terminal_type",), ""),
        (("terminal_type",), "of tomorrow"),
        (("is_remote",), True),
        (("is_remote",), False),
        (("is_remote",), None),
        (("organization_id",), "a child organisation"),
        (("date",), "2025-09-01"),
        (("actor",), {"type": "user_actor", "email_address": None}),
        (("actor",), {"type": "api_actor", "api_key_name": None}),
        (("actor",), {"type": "user_actor", "email_address": "Ä@例え.jp", "user_id": "user_1"}),
        (("actor",), {"type": "service_account_actor", "id": {"deep": [1, True, None, 2**70]}}),
        (("actor",), {"type": "anonymous_actor"}),
    ],
    ids=str,
)
def test_a_new_value_is_carried(path: tuple[str | int, ...], value: Any) -> None:
    assert as_json(value_at(decode_report(body_with(path, value)), path)) == value


def test_decimals_of_a_new_kind_of_actor_keep_their_digits() -> None:
    body = body_with(("actor",), {"type": "new_actor", "share": "x"})
    body = body.replace(b'"x"', b"0.1234567890123456789012345")

    assert decode_report(body).data[0].actor["share"] == Decimal("0.1234567890123456789012345")


def test_absent_is_unknown_and_not_false() -> None:
    record = decode_report(json.dumps(GUIDE_PAGE).encode()).data[0]

    assert record.subscription_type is msgspec.UNSET
    assert record.is_remote is msgspec.UNSET


@pytest.mark.parametrize("path", COUNTS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize(
    ("literal", "count"),
    [
        ("0", 0),
        ("5.0", 5),
        ("5.000", 5),
        ("5e0", 5),
        ("1E3", 1000),
        ("1.5e1", 15),
        (str(10**12), 10**12),
        (f"{10**12}.0", 10**12),
    ],
)
def test_a_count_may_be_written_as_any_json_integer(path: tuple[str | int, ...], literal: str, count: int) -> None:
    value = value_at(decode_report(body_with(path, Literal(literal))), path)

    assert value == count
    assert type(value) is int


@pytest.mark.parametrize("blank", ["", " ", "\n"])
@pytest.mark.parametrize(
    "text", [":5.0,", 'a":5.0,', "a:5.0}", 'num_sessions": 5.0,', '\\":5.0,', ': 5.0,"a":5.0,', "a,"]
)
def test_text_that_looks_like_a_count_stays_as_it_is(text: str, blank: str) -> None:
    page = copy.deepcopy(GUIDE_PAGE)
    for record in page["data"]:
        record["core_metrics"]["num_sessions"] = 5.0
        record |= {"terminal_type": text, "tool_actions": {text: {"accepted": 1.0, "rejected": 0}}, "new": [text, 1.0]}
        record["actor"] |= {text: text}

    found = decode_report(json.dumps(page, separators=("," + blank, blank + ":" + blank)).encode()).data

    for record in found:
        assert (record.terminal_type, list(record.tool_actions), record.actor[text]) == (text, [text], text)
        assert record.unknown_fields == {"new": [text, 1]}
        assert record.core_metrics.num_sessions == 5


@pytest.mark.parametrize("path", COUNTS, ids=lambda path: ".".join(map(str, path)))
def test_a_count_is_accepted_up_to_its_limit(path: tuple[str | int, ...]) -> None:
    largest = 10**14 if "tokens" in path else 10**12
    assert value_at(decode_report(body_with(path, largest)), path) == largest
    with pytest.raises(ValueError, match=f"`{re.escape(json_path(path))}`"):
        decode_report(body_with(path, largest + 1))


@pytest.mark.parametrize(
    ("literal", "is_accepted"),
    [
        (str(10**14), True),
        (f'"-{10**14}.000000000"', True),
        (f'"{10**14}.000000001"', False),
        (str(-(10**14) - 1), False),
        ("1e15", False),
        ('"99999999999999999999999999999"', False),
    ],
)
def test_an_amount_is_accepted_up_to_its_limit(literal: str, is_accepted: bool) -> None:
    body = body_with(AMOUNT, Literal(literal))
    if is_accepted:
        assert abs(value_at(decode_report(body), AMOUNT)) == 10**14
        return
    with pytest.raises(ValueError, match=r"`amount` must be from .*`\$\.data\[0\]\.model_breakdown"):
        decode_report(body)


@pytest.mark.parametrize("path", COUNTS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize(
    "literal",
    [
        "5.5",
        "4.9999999999999999999999",
        "-1",
        "-1.0",
        str(10**14 + 1),
        f"{10**14 + 1}.0",
        str(2**63 - 1),
        str(2**64),
        "1e30",
        "1e400",
        "true",
        "null",
        '"5"',
        "[5]",
        "{}",
    ],
)
def test_a_count_that_is_none_is_refused_by_its_path(path: tuple[str | int, ...], literal: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_report(body_with(path, Literal(literal)))

    assert f"`{json_path(path)}`" in str(caught.value)


@pytest.mark.parametrize(
    ("literal", "amount"),
    [
        ("1025", "1025"),
        ("0", "0"),
        ("0.0", "0"),
        ("-3", "-3"),
        ("12.345", "12.345"),
        ("0.1", "0.1"),
        ("1e2", "100"),
        ("1E-7", "0.0000001"),
        ('"12.50"', "12.50"),
        ('"1025"', "1025"),
        ('"1e2"', "100"),
        ('"-0.5"', "-0.5"),
        ("0.1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890"),
        (str(2**46), str(2**46)),
        ("9" * 14, "9" * 14),
        ("9" * 14 + ".999999999", "9" * 14 + ".999999999"),
        (f'"{"9" * 14}.999999999"', "9" * 14 + ".999999999"),
        ("1e13", "1" + "0" * 13),
    ],
)
@pytest.mark.parametrize("sessions", ["5", "5.0"])
def test_an_amount_is_read_exactly(literal: str, amount: str, sessions: str) -> None:
    # A count written as 5.0 makes the whole page take another way through the decoder.
    body = body_with(AMOUNT, Literal(literal)).replace(b'"num_sessions": 5', f'"num_sessions": {sessions}'.encode())

    read = value_at(decode_report(body), AMOUNT)

    assert type(read) in (int, Decimal)
    assert read == Decimal(amount)


@pytest.mark.parametrize(
    "literal",
    [
        '"NaN"',
        '"sNaN"',
        '"Infinity"',
        '"-inf"',
        '"1_000"',
        '"1,000"',
        '"1 000"',
        '" 1"',
        '"1\\n"',
        '"+1"',
        '"0x10"',
        '""',
        '"USD 5"',
        '"\u0665"',
        '"\uff15"',
        '"1e100"',
        '"1e999999999"',
        "1e100",
        "1e-100",
        "1e29",
        "9" * 30,
        '"' + "9" * 30 + '"',
        "9" * 30 + ".5",
        "1" * 5000,
        "true",
        "null",
        "[1]",
        "{}",
    ],
)
@pytest.mark.parametrize("sessions", ["5", "5.0"])
def test_an_amount_that_is_none_is_refused_by_its_path(literal: str, sessions: str) -> None:
    body = body_with(AMOUNT, Literal(literal)).replace(b'"num_sessions": 5', f'"num_sessions": {sessions}'.encode())

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_report(body)

    # Integers of thousands of digits are refused before the second way knows the fields' names.
    if len(literal) < 1000 or sessions == "5":
        assert "amount" in str(caught.value)
        assert f"`{json_path(AMOUNT[:-1])}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data",), ABSENT),
        (("data",), None),
        (("data",), {}),
        (("has_more",), ABSENT),
        (("has_more",), None),
        (("has_more",), "false"),
        (("has_more",), 0),
        (("next_page",), 7),
        *(
            (path, value)
            for path in [
                ("date",),
                ("organization_id",),
                ("customer_type",),
                ("terminal_type",),
                ("model_breakdown", 0, "model"),
                ("model_breakdown", 0, "estimated_cost", "currency"),
            ]
            for value in (ABSENT, None, 7)
        ),
        *(
            (path, value)
            for path in [
                ("actor",),
                ("core_metrics",),
                ("core_metrics", "lines_of_code"),
                ("tool_actions",),
                ("tool_actions", "edit_tool"),
                ("model_breakdown",),
                ("model_breakdown", 0),
                ("model_breakdown", 0, "tokens"),
                ("model_breakdown", 0, "estimated_cost"),
            ]
            for value in (None, "text")
        ),
        *((path, ABSENT) for path in [*COUNTS, AMOUNT, ("core_metrics",), ("tool_actions",), ("model_breakdown",)]),
        (("actor",), ABSENT),
        (("subscription_type",), 7),
        (("is_remote",), "false"),
        (("is_remote",), 0),
    ],
    ids=lambda value: "absent" if value is ABSENT else str(value),
)
def test_what_breaks_the_contract_is_refused_by_its_path(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_report(body_with(path, value))

    named = path if value is not ABSENT else path[:-1]
    if named:
        assert f"`{json_path(named)}`" in str(caught.value)
    if value is ABSENT:
        assert f"`{path[-1]}`" in str(caught.value)


@pytest.mark.parametrize(
    ("actor", "field"),
    [
        ({}, "actor.type"),
        ({"type": None}, "actor.type"),
        ({"type": 7, "email_address": "canary@example.com"}, "actor.type"),
        ({"email_address": "canary@example.com"}, "actor.type"),
        ({"type": "user_actor"}, "actor.email_address"),
        ({"type": "user_actor", "api_key_name": "canary"}, "actor.email_address"),
        ({"type": "user_actor", "email_address": ["canary@example.com"]}, "actor.email_address"),
        ({"type": "user_actor", "email_address": 7}, "actor.email_address"),
        ({"type": "api_actor"}, "actor.api_key_name"),
        ({"type": "api_actor", "api_key_name": {"canary": 1}}, "actor.api_key_name"),
    ],
)
def test_an_actor_of_a_known_kind_has_its_field(actor: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` must be .*`\$\.data\[0\]`") as caught:
        decode_report(body_with(("actor",), actor))

    assert "canary" not in str(caught.value)


CANARIES = ["canary@example.com", "CANARY", 7777777.5, -7777777, ["CANARY"], {"CANARY": "CANARY"}]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (path, value)
        for path in [*COUNTS, AMOUNT, ("date",), ("has_more",), ("data",)]
        for value in CANARIES
        # These are an amount and a string.
        if not (path == AMOUNT and isinstance(value, float | int)) and not (path == ("date",) and type(value) is str)
    ],
    ids=str,
)
def test_a_refusal_never_quotes_a_value(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_report(body_with(path, value))

    error: BaseException | None = caught.value
    while error is not None and not error.__suppress_context__:
        error = error.__cause__ or error.__context__
    for text in (str(caught.value), repr(caught.value), str(error)):
        assert "canary" not in text.lower()
        assert "7777777" not in text


WHOLE = json.dumps(GUIDE_PAGE).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'"text"',
        b"<html></html>",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        WHOLE + b"x",
        WHOLE + WHOLE,
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.decode().encode("utf-16"),
        WHOLE.replace(b"vscode", b"vs\xffcode"),
        WHOLE.replace(b"vscode", b"vs\xed\xa0\x80code"),
        WHOLE.replace(b"vscode", b"\\ud800"),
        WHOLE.replace(b"vscode", b"vs\ncode"),
        WHOLE.replace(b"1025", b"NaN"),
        WHOLE.replace(b"1025", b"Infinity"),
        WHOLE.replace(b"1025", b"-Infinity"),
        WHOLE.replace(b"1025", b"1_025"),
        WHOLE.replace(b"1025", b"01025"),
        WHOLE.replace(b"1025", b"+1025"),
        WHOLE.replace(b"1025", b".5"),
        WHOLE.replace(b"1025", b"5."),
        WHOLE.replace(b"1025", "\u0665".encode()),
        WHOLE.replace(b"1025", b"1e99999999999999999999"),
        WHOLE.replace(b'"user_actor"', b'"new_actor", "x": 1e99999999999999999999'),
        WHOLE.replace(b'"user_actor"', b'"new_actor", "x": ' + b"[" * 100_000 + b"]" * 100_000),
        WHOLE.replace(b'"num_sessions": 5', b'"num_sessions": 5.0, "x": ' + b"[" * 100_000 + b"]" * 100_000),
        b"[" * 1_000_000,
        b'{"data":' * 100_000,
    ],
    ids=lambda body: f"{body[:20]!r}.. {len(body)} bytes",
)
def test_a_body_that_is_no_report_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_report(body)


REPEATED_KEYS = [
    (b'"num_sessions":', b'"num_sessions":1,"num_sessions":'),
    (b'"num_sessions":', b'"num\\u005fsessions":1,"num_sessions":'),
    (b'"date":', b'"date":"2025-09-01","date":'),
    (b'"email_address":', b'"email_address":"first@company.com","email_address":'),
    (b'"edit_tool":', b'"edit_tool":{"accepted":1,"rejected":1},"edit_tool":'),
    (b'"accepted":', b'"accepted":1,"accepted":'),
    (b'"amount":', b'"amount":1,"amount":'),
    (b'"input":', b'"input":1,"input":'),
    (b'"is_remote":', b'"is_remote":true,"is_remote":'),
    (b'"data":', b'"data":[],"data":'),
    (b'"has_more":', b'"has_more":true,"has_more":'),
    (b'"next_page":', b'"next_page":"x","next_page":'),
    (b'"data":', b'"new":{"a":1,"a":2},"data":'),
    (b'"data":', b'"new":[[{"a":1,"a":1}]],"data":'),
    # What is absent from the other record could make up for it, were it counted.
    (b'"is_remote":', b'"is_remote":null,"is_remote":'),
    (b'"email_address":', b'"new":null,"email_address":null,"email_address":'),
]


@pytest.mark.parametrize(("key", "keys"), REPEATED_KEYS, ids=lambda value: value.decode())
def test_an_object_with_a_key_twice_is_refused(key: bytes, keys: bytes) -> None:
    """Readers differ in which of the two values they use, and the other one would be lost silently."""
    record = official_example(is_remote=False)
    body = msgspec.json.encode({"data": [record, record], "has_more": False, "next_page": None})
    assert decode_report(body)

    with pytest.raises(ValueError, match=r": an object has a key twice$"):
        decode_report(body.replace(key, keys, 1))


def objects_within(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the objects with keys are."""
    if isinstance(value, dict) and value:
        yield path
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            yield from objects_within(item, (*path, step))


@settings(max_examples=300, deadline=None)
@given(DAYS.filter(bool), st.data())
def test_any_key_that_is_there_twice_is_refused_whatever_the_page_and_those_before(
    records: list[dict[str, Any]], data: st.DataObject
) -> None:
    page = {"data": records, **data.draw(st.sampled_from([{}, {"next_page": None}, {"new": {"a": {"b": 1}}}]))}
    page["has_more"] = False
    for record in records:
        record["actor"] |= data.draw(st.sampled_from([{}, {"new": "x"}, {"new": {"a": None}}]))
    encode = msgspec.json.Encoder(decimal_format="number").encode
    decoder = decoding.PageDecoder(Report)
    for _ in range(data.draw(st.integers(1, 2))):
        decoder.decode(encode(page))

    path = data.draw(st.sampled_from(list(objects_within(page))))
    target: Any = page
    for step in path:
        target = target[step]
    key = data.draw(st.sampled_from(list(target)))
    mark = "\N{SNOWMAN}twice"
    members = {key + mark: data.draw(st.sampled_from([target[key], None]))} | target
    target.clear()
    target |= members
    with pytest.raises(ValueError, match=r"twice|Expected"):
        decoder.decode(encode(page).replace(mark.encode(), b""))


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_object_of_different_keys_is_taken_for_one(value: Any) -> None:
    body = {"data": [], "has_more": False, "next_page": None, "new": value}

    assert decode_report(json.dumps(body).encode()).data == []


def test_a_page_of_more_values_than_any_page_is_not_decoded() -> None:
    """Such a page would take a hundred times its size in memory."""
    values = decoding.MAX_PAGE_VALUES
    for filler, in_one in ((b"0,", 1), (b"[],", 2), (b"{},", 2), (b'{"a":0},', 2)):
        for number, refused in ((values // in_one - 10, False), (values // in_one + 10, True)):
            page = b'{"data":[],"has_more":false,"new":[' + filler * number + b"0]}"
            if refused:
                with pytest.raises(ValueError, match="more than 1000000 values"):
                    decoding.decode_continuation(page)
            else:
                assert decoding.decode_continuation(page).is_empty


def test_no_honest_page_is_near_that() -> None:
    """A thousand people, each with 20 models and 200 tools."""
    example = official_example()
    example["model_breakdown"] *= 20
    example["tool_actions"] = {f"mcp__server__tool_{number}": {"accepted": 1, "rejected": 0} for number in range(200)}
    body = json.dumps({"data": [example] * 1000, "has_more": False, "next_page": None}).encode()

    assert not decoding.decode_continuation(body).is_empty
    assert len(body) < MAX_BODY_SIZE


@pytest.mark.parametrize(
    ("data", "empty"), [("[]", True), ("[ \n ]", True), ("[{}]", False), ("[0]", False), ("7", False)]
)
def test_an_empty_page_is_told_from_others_without_decoding_it(data: str, empty: bool) -> None:
    page = f'{{"data": {data}, "has_more": true, "next_page": "a"}}'.encode()

    assert decoding.decode_continuation(page).is_empty is empty


def test_a_value_error_is_plain() -> None:
    """Not a subclass whose attributes hold the whole body, as UnicodeDecodeError's and msgspec's might."""
    for body in (b"\xff", b"{", b"{}", WHOLE.replace(b"vscode", b"vs\xffcode")):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            decode_report(body)
        assert type(caught.value) is ValueError


MUTATION = st.tuples(
    st.integers(0, len(WHOLE) - 1),
    st.integers(0, 12),
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from(
            [b"null", b"5.0", b"1e999", b"-1", b'"', b"\\u", b"\\ud800", b"[", b"}", b",", b"e", b"9" * 25]
        ),
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(MUTATION, min_size=1, max_size=6))
def test_a_damaged_page_is_a_report_or_a_value_error(mutations: list[tuple[int, int, bytes]]) -> None:
    body = WHOLE
    for position, removed, inserted in mutations:
        body = body[:position] + inserted + body[position + removed :]

    with contextlib.suppress(ValueError):
        assert isinstance(decode_report(body), Report)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1e5", "5.0"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=4,
)
PLACES = [
    *COUNTS,
    AMOUNT,
    *((name,) for name in (*GUIDE_PAGE, *API_RECORD)),
    ("actor", "type"),
    ("actor", "email_address"),
    ("actor", "new"),
    ("tool_actions", "new"),
    ("model_breakdown", 0),
    ("new",),
]


@settings(max_examples=500, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON, decimal_count=st.booleans())
@example(place=("actor", "new"), value=10**25, decimal_count=True)
def test_any_json_in_any_place_is_a_report_or_a_value_error(place: Any, value: Any, decimal_count: bool) -> None:
    body = body_with(place, value)
    if decimal_count:
        body = body.replace(b'"removed": 892', b'"removed": 892.0')

    with contextlib.suppress(ValueError):
        assert isinstance(decode_report(body), Report)


@st.composite
def amount_literals(draw: st.DrawFn) -> str:
    digits = st.text("0123456789", min_size=1, max_size=30)
    literal = str(draw(st.integers(-(10**9), 10**9)))
    if draw(st.booleans()):
        literal += "." + draw(digits)
    if draw(st.booleans()):
        literal += draw(st.sampled_from("eE")) + str(draw(st.integers(-30, 4)))
    return f'"{literal}"' if draw(st.booleans()) else literal


@settings(max_examples=500, deadline=None)
@given(literal=st.one_of(amount_literals(), st.integers(0, 10**14).map(str)), decimal_count=st.booleans())
@example("0.1", False)
@example("12345678901234.123456789012345678901234567890", True)
def test_no_digit_of_an_amount_is_lost(literal: str, decimal_count: bool) -> None:
    body = body_with(AMOUNT, Literal(literal))
    if decimal_count:
        body = body.replace(b'"removed": 892', b'"removed": 892.0')

    expected: Any = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    for step in ("data", 0, *AMOUNT):
        expected = expected[step]

    assert value_at(decode_report(body), AMOUNT) == Decimal(expected)

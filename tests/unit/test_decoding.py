"""Unknown fields are kept in one way, whether the decoder has learned their names from an earlier page or not."""

import copy
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.api import unknown_fields
from airflow_provider_claude_code.api.decoding import PageDecoder
from airflow_provider_claude_code.api.unknown_fields import Documented, DocumentedRow


class Inner(Documented, frozen=True):
    number: int


class Item(DocumentedRow, frozen=True):
    name: str
    inner: Inner
    maybe: Inner | None = None
    preset: Inner = Inner(0)


class Page(Documented, frozen=True):
    data: list[Item]
    by_name: dict[str, Item]


PLAIN: dict[str, Any] = {
    "data": [{"name": "a", "inner": {"number": 1}}, {"name": "b", "inner": {"number": 2}, "maybe": {"number": 3}}],
    "by_name": {"x": {"name": "c", "inner": {"number": 4}, "preset": {"number": 5}}},
}
PARTS = ("inner", "maybe", "preset")
names = st.text(min_size=1, max_size=8) | st.sampled_from(["new", "learned_0", "number ", "unknown_fields"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(0.25),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
unknown = st.dictionaries(names, values, max_size=2)


@st.composite
def pages(draw: st.DrawFn) -> dict[str, Any]:
    page = copy.deepcopy(PLAIN)
    rows = [*page["data"], page["by_name"]["x"]]
    for part in [page, *rows, *(row[name] for row in rows for name in PARTS if name in row)]:
        for name, value in draw(unknown).items():
            part.setdefault(name, value)
    return page


def documented(value: Any) -> Any:
    """Return what the reference has, as plain data."""
    if isinstance(value, list):
        return [documented(item) for item in value]
    if isinstance(value, dict):
        return {name: documented(item) for name, item in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    fields = ("data", "by_name", "name", *PARTS, "number", "unknown_fields")
    return {name: documented(getattr(value, name)) for name in fields if hasattr(value, name)}


def expected_unknown(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the unknown members of a row by the definition: those of it, and those of the parts within it."""
    found = {name: value for name, value in row.items() if name not in ("name", *PARTS)}
    for name in PARTS:
        within = {key: value for key, value in (row.get(name) or {}).items() if key != "number"}
        found |= {name: within} if within else {}
    return found or None


def exact(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_float=Decimal)


def paths_of(page: dict[str, Any]) -> set[str]:
    found = {name for name in page if name not in ("data", "by_name")}
    for prefix, rows in (("data[]", page["data"]), ("by_name{}", page["by_name"].values())):
        for row in rows:
            found |= {f"{prefix}.{name}" for name in row if name not in ("name", *PARTS)}
            for part in PARTS:
                found |= {f"{prefix}.{part}.{name}" for name in row.get(part) or {} if name != "number"}
    return found


@given(st.lists(pages(), min_size=1, max_size=4), st.sampled_from([0, 1, 100]))
def test_what_is_unknown_is_kept_whatever_came_before(many: list[dict[str, Any]], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unknown_fields, "MAX_LEARNED_NAMES", limit)
        decoder = PageDecoder(Page)
        for content in (*many, PLAIN, *many):
            page, paths = decoder.decode(json.dumps(content).encode())
            assert paths == paths_of(content)
            for row, raw in zip(
                [*page.data, page.by_name["x"]], [*content["data"], content["by_name"]["x"]], strict=True
            ):
                assert row.unknown_fields == exact(expected_unknown(raw))
                assert (row.name, row.inner.number) == (raw["name"], raw["inner"]["number"])
                assert isinstance(row, Item)


def test_a_name_is_learned_once_and_not_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_fields, "MAX_LEARNED_NAMES", 3)
    decoder = PageDecoder(Page)
    second_passes = []
    set_apart = unknown_fields.LearnedFields.set_apart

    def counted(learned: Any, content: Any, type_: Any, path: str, paths: set[str]) -> dict[str, Any]:
        if not path:
            second_passes.append(content)
        return set_apart(learned, content, type_, path, paths)

    monkeypatch.setattr(unknown_fields.LearnedFields, "set_apart", counted)

    def decode(*new: str) -> int:
        second_passes.clear()
        content = copy.deepcopy(PLAIN)
        content["data"][0] |= dict.fromkeys(new, 1)
        page, _ = decoder.decode(json.dumps(content).encode())
        assert page.data[0].unknown_fields == (dict.fromkeys(new, 1) or None)
        return len(second_passes)

    assert [decode("a"), decode("a"), decode(), decode("a", "b"), decode("b", "c"), decode("a", "b", "c")] == [
        1, 0, 0, 1, 1, 0,
    ]  # fmt: skip
    assert [decode("d"), decode("d"), decode("a", "c")] == [1, 1, 0]


@pytest.mark.parametrize("first", [{}, {"new": 1}, {"new": {"a": 1}}])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            '{"data":[{"name":"a","inner":{"number":5.5}}],"by_name":{}}',
            r"got `float` - at `\$.data\[0\].inner.number`",
        ),
        ('{"data":[{"name":"a","inner":{"number":1},"new":1,"new":2}],"by_name":{}}', "a key twice"),
        # What is absent, or text without its escapes, has as many quotation marks.
        ('{"data":[{"name":"a","inner":{"number":1,"number":2,"number":3}}],"by_name":{}}', "a key twice"),
        (
            r'{"data":[{"name":"\u0022\u0022","inner":{"number":1,"number":2}}],"by_name":{}}',
            "a key twice",
        ),
        ('{"data":[{"name":"a","inner":{"number":1},"new":{"a":1,"a":2}}],"by_name":{}}', "a key twice"),
        ('{"data":[{"name":"a","inner":{"number":1},"preset":{"number":0,"number":0}}],"by_name":{}}', "a key twice"),
        ('{"data":[{"name":"a","inner":{"number":"5"},"new":1}],"by_name":{}}', r"\$.data\[0\].inner.number"),
    ],
)
def test_what_breaks_the_contract_is_refused_all_the_same(first: dict[str, Any], body: str, said: str) -> None:
    decoder = PageDecoder(Page)
    content = copy.deepcopy(PLAIN)
    content["data"][0] |= first
    decoder.decode(json.dumps(content).encode())
    with pytest.raises(ValueError, match=said):
        decoder.decode(body.encode())

"""What others have written is one short line, and names nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.quoting import LONGEST_NAME, first_names, quoted

KEY = "sk-ant-admin01-CANARY/canary+0123="


@pytest.mark.parametrize("text", ["plain", "It went wrong: 7 of 9.", "Ärzte ohne Müll GmbH", "組織", "a b"])
def test_plain_text_stays(text: str) -> None:
    assert quoted(text, 100, KEY) == text


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.upper(),
        f"got {KEY}, which is unknown",
        "sk-ant-admin01-CANARY%2Fcanary%2B0123%3D",
        "sk-ant-admin01-CANARY/canary%2B0123%3D",
        "another key: sk-ant-api03-canary_canary-canary",
        "x" * 90 + KEY,
        "x" * 95 + "@canary.example.com",
        "from canary@example.com",
        "serviceAccounts/canary%40example.com has no right",
        "canary\N{FULLWIDTH COMMERCIAL AT}example.com",
        "<canary.canary+x@example.com>",
    ],
)
def test_keys_and_addresses_are_masked(text: str) -> None:
    shown = quoted(text, 100, KEY)

    assert "canary" not in shown.lower()
    assert "***" in shown or shown.endswith("...")


def test_a_secret_of_another_kind_is_masked_too() -> None:
    assert quoted("Bearer my.own-token is unknown", 100, "my.own-token") == "Bearer *** is unknown"


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u202eb", "a\u200bb", "a\u2028b", "a\x00b", "a\x85b"]
)
def test_what_does_not_print_is_escaped(text: str) -> None:
    shown = quoted(text, 100)

    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@given(text=st.text(max_size=300), length=st.integers(min_value=3, max_value=50))
def test_it_is_always_one_short_line(text: str, length: int) -> None:
    shown = quoted(text, length, KEY)

    assert len(shown) <= length
    assert shown.isprintable()


def test_long_text_takes_no_longer_than_short() -> None:
    """A pattern that looks for addresses the naive way takes hours for this."""
    assert quoted("a" * 50_000_000, 10) == "aaaaaaa..."


@pytest.mark.parametrize("character", ["x", "\n", "\x1b", "\u202e", "\ud800", "\U000e0041", "é", "用"])
@pytest.mark.parametrize("length", [1, LONGEST_NAME - 1, LONGEST_NAME, LONGEST_NAME + 1, 1_000_000])
def test_a_name_is_cut_where_it_is_too_long(character: str, length: int) -> None:
    shown = quoted(character * length)

    assert len(shown) <= LONGEST_NAME
    assert shown.isprintable()
    assert shown.endswith("...") == (len(shown) == LONGEST_NAME and shown != character * length)


def test_a_name_of_nothing_is_called_empty() -> None:
    assert quoted("") == quoted("  ") == "(empty)"


def test_the_first_names_are_those_of_the_alphabet() -> None:
    names = first_names(f"tool_{number}" for number in range(9, 0, -1))

    assert names == ["tool_1", "tool_2", "tool_3", "tool_4", "tool_5"]

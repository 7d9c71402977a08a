"""What others have written is one short line, and names nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.quoting import quoted

KEY = "sk-ant-admin01-CANARY/canary+0123="


@pytest.mark.parametrize("text", ["plain", "It went wrong: 7 of 9.", "Ärzte ohne Müll GmbH", "組織", "a b", ""])
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

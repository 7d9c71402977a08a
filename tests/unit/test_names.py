"""Text from outside is quoted on one line, with nothing invisible in it, and cut."""

import pytest

from airflow_provider_claude_code.names import LONGEST_NAME, MOST_NAMES, first_names, quotable


@pytest.mark.parametrize("character", ["x", "\n", "\x1b", "\u202e", "\ud800", "\U000e0041", "é", "用"])
@pytest.mark.parametrize("length", [1, LONGEST_NAME - 1, LONGEST_NAME, LONGEST_NAME + 1, 1_000_000])
def test_no_text_is_longer_or_less_visible_than_it_may_be(character: str, length: int) -> None:
    quoted = quotable(character * length)
    assert len(quoted) <= LONGEST_NAME
    assert quoted.isprintable()
    assert quoted.endswith("…") == (len(quoted) == LONGEST_NAME and quoted != character * length)


def test_the_first_names_are_those_of_the_alphabet() -> None:
    assert first_names(f"tool_{number}" for number in range(9, 0, -1)) == [
        "tool_1",
        "tool_2",
        "tool_3",
        "tool_4",
        "tool_5",
    ]
    assert MOST_NAMES == 5

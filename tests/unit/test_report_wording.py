"""Numbers are written as they are read: with their sign, and a part neither as nothing nor as the whole."""

from __future__ import annotations

import pytest

from airflow_provider_claude_code.analytics.report.wording import about_dollars, number, percent

MINUS = "\u2212"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (0.00049, "0.049 %"),
        (1 / 1_000_000, "0.00010 %"),
        (0.4567, "45.7 %"),
        (0.9996, "99.960 %"),
        (999_999 / 1_000_000, "99.99990 %"),
        (1, "100.0 %"),
        (1.0004, "100.0 %"),
        (23.456, "2,345.6 %"),
        (-0.25, f"{MINUS}25.0 %"),
        (-0.0001, "0.0 %"),
    ],
)
def test_a_part_reads_neither_as_nothing_nor_as_the_whole(share: float, text: str) -> None:
    assert percent(share).replace("\u00a0", " ") == text


def test_what_is_rounded_to_0_has_no_sign() -> None:
    assert [number(value, 1) for value in (-0.04, -0.06, 0.04)] == ["0.0", f"{MINUS}0.1", "0.0"]


def test_the_sign_of_an_amount_is_before_the_dollars() -> None:
    assert [about_dollars(value) for value in (-9012, -12.345, 0, 9012)] == [
        f"{MINUS}$9,010",
        f"{MINUS}$12.30",
        "$0.00",
        "$9,010",
    ]


def test_rounding_makes_no_amount_less_than_what_is_known_of_it() -> None:
    # The last one is less already, since corrections are still to come.
    assert [about_dollars(amount, least) for amount, least in ((9012, 9000), (9012, 9011), (9012, 9500))] == [
        "$9,010",
        "$9,012",
        "$9,010",
    ]

"""What users declare is checked before anything is read, and refused by its name."""

from __future__ import annotations

import contextlib
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_claude_code.analytics.assumptions import Assumption, Assumptions, Reference
from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

EUR = {"EUR": {"dollars": 1.08, "date": "2026-01-02", "source": "ECB reference rate"}}
HOUR = {"amount": 90, "source": "Finance"}
MINUTES = {"minutes": 10, "source": "survey"}


def test_all_that_can_be_declared_is_kept_with_its_source() -> None:
    found = Assumptions.parse(
        {
            "hourly_cost": {"amount": 85.5, "currency": "EUR", "source": "Finance, budget of 2026"},
            "seat_price": {"amount": 150, "currency": "USD", "source": "contract"},
            "seats": {"count": 25, "source": "invoice"},
            "minutes_per_commit": {"minutes": 12, "source": "survey in May"},
            "oversight_minutes": {"minutes": 7.5, "source": "survey in June"},
            "tool_costs": {"github_copilot": {"amount": 475, "source": "invoice"}},
            "rates": EUR,
            "reference": {"text": "others save 10 minutes", "source": "a study", "date": "2025-11-03"},
        }
    )
    rate = "85.5 EUR at 1.08 US dollars on 2026-01-02, ECB reference rate"
    assert found == Assumptions(
        hourly_cost=Assumption(Decimal("92.34"), "Finance, budget of 2026", rate),
        seat_price=Assumption(Decimal(150), "contract"),
        seats=Assumption(Decimal(25), "invoice"),
        basis="commit",
        minutes=Assumption(Decimal(12), "survey in May"),
        oversight_minutes=Assumption(Decimal("7.5"), "survey in June"),
        tool_costs={"github_copilot": Assumption(Decimal(475), "invoice")},
        reference=Reference("others save 10 minutes", "a study", date(2025, 11, 3)),
    )
    assert found.seat_price_cents == 15000


def test_nothing_is_assumed() -> None:
    assert Assumptions.parse({}) == Assumptions()
    assert Assumptions().seat_price_cents == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "assumptions has the type list; an object was expected"),
        ({"tool_costs": 90}, "assumptions.tool_costs has the type int; an object was expected"),
        ({"hourly": HOUR}, "unknown key 'hourly'; known are hourly_cost, seat_price"),
        ({"hourly_cost": 90}, "hourly_cost has the type int; an object with amount and source was expected"),
        ({"hourly_cost": {"amount": 90}}, "assumptions.hourly_cost has no source; it needs amount and source"),
        ({"hourly_cost": {**HOUR, "source": "  "}}, "assumptions.hourly_cost.source is '  '; text was expected"),
        ({"hourly_cost": {**HOUR, "source": "x" * 501}}, "hourly_cost.source is longer than 500"),
        ({"hourly_cost": {**HOUR, "amount": "{{ price }}"}}, "hourly_cost.amount is '{{ price }}'; a number"),
        ({"hourly_cost": {**HOUR, "amount": True}}, "hourly_cost.amount is True; a number"),
        ({"hourly_cost": {**HOUR, "amount": float("nan")}}, "a number above 0"),
        ({"hourly_cost": {**HOUR, "amount": -1}}, "a number above 0"),
        ({"hourly_cost": {**HOUR, "currency": "EUR"}}, "hourly_cost in 'EUR', for which rates has no rate"),
        ({"rates": {"EUR": {"dollars": 1.08, "source": "ECB"}}}, "assumptions.rates.EUR has no date"),
        (
            {"hourly_cost": {**HOUR, "currency": "EUR"}, "rates": {"EUR": {**EUR["EUR"], "date": "May"}}},
            "assumptions.rates.EUR.date is 'May'; a day",
        ),
        (
            {"hourly_cost": HOUR, "minutes_per_commit": MINUTES, "minutes_per_pull_request": MINUTES},
            "minutes_per_commit and minutes_per_pull_request. The same time would count twice",
        ),
        ({"minutes_per_commit": MINUTES}, "minutes_per_commit, which needs hourly_cost"),
        ({"hourly_cost": HOUR, "oversight_minutes": MINUTES}, "oversight_minutes, which needs one of minutes_per"),
        ({"seats": {"count": 3, "source": "x"}}, "seats, which needs seat_price"),
        ({"seat_price": HOUR, "seats": {"count": 2.5, "source": "x"}}, "seats.count 2.5; a whole number"),
        ({"reference": {"text": "a", "source": "b"}}, "assumptions.reference has no date"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(given: Any, message: str) -> None:
    with pytest.raises(ClaudeCodeConfigurationError) as error:
        Assumptions.parse(given)
    assert message in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "hourly_cost",
                    "seat_price",
                    "rates",
                    "reference",
                    "amount",
                    "source",
                    "currency",
                    "EUR",
                    "date",
                    "text",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_taken_or_refused(given: Any) -> None:
    with contextlib.suppress(ClaudeCodeConfigurationError):
        Assumptions.parse(given)

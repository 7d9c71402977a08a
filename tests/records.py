"""
Records of the API, made by hand and by hypothesis, and what they add up to.

Nothing here uses the package: what the tests compare it with is computed a second time, from the raw JSON.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from typing import Any

import msgspec
from hypothesis import strategies as st

Json = dict[str, Any]

DAY = date(2025, 9, 1)
ORGANIZATION_ID = "dc9f6c26-b22c-4831-8d01-0446bada88f1"
MODEL = "claude-sonnet-4-5-20250929"
LOADED_AT = datetime(2025, 9, 2, 3, 4, 5, 678901, tzinfo=UTC)
TOKEN_KINDS = ("input", "output", "cache_read", "cache_creation")

_dump = msgspec.json.Encoder(decimal_format="number").encode
_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)


def model(
    amount: Any = 1025, *, name: str = MODEL, currency: str = "USD", tokens: Sequence[int] = (1, 2, 3, 4)
) -> Json:
    """Make an entry of ``model_breakdown``; ``tokens`` are input, output, cache read and cache creation."""
    return {
        "model": name,
        "tokens": dict(zip(TOKEN_KINDS, tokens, strict=True)),
        "estimated_cost": {"currency": currency, "amount": amount},
    }


def official_example(**changes: Any) -> Json:
    """Make the record of the official guide, with some top-level fields changed, or left out by ``...``."""
    record = {
        "date": f"{DAY}T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": "developer@company.com"},
        "organization_id": ORGANIZATION_ID,
        "customer_type": "api",
        "terminal_type": "vscode",
        "core_metrics": {
            "num_sessions": 5,
            "lines_of_code": {"added": 1543, "removed": 892},
            "commits_by_claude_code": 12,
            "pull_requests_by_claude_code": 2,
        },
        "tool_actions": {
            "edit_tool": {"accepted": 45, "rejected": 5},
            "multi_edit_tool": {"accepted": 12, "rejected": 2},
            "write_tool": {"accepted": 8, "rejected": 1},
            "notebook_edit_tool": {"accepted": 3, "rejected": 0},
        },
        "model_breakdown": [model(1025, tokens=(100000, 35000, 10000, 5000))],
    }
    return {name: value for name, value in (record | changes).items() if value is not ...}


def people(count: int, day: date = DAY, **changes: Any) -> list[Json]:
    """Make as many records, each of a person of their own."""
    return [
        official_example(
            date=f"{day}T00:00:00Z",
            actor={"type": "user_actor", "email_address": f"person-{number}@example.com"},
            **changes,
        )
        for number in range(count)
    ]


def body(records: Sequence[Mapping[str, Any]], next_page: str | None = None) -> bytes:
    """Write a page as the API does: a Decimal becomes a JSON number."""
    return _dump({"data": records, "has_more": next_page is not None, "next_page": next_page})


def cents(amount: Any) -> Decimal:
    """Round an amount as the contract says: to 9 places, half to even."""
    return Decimal(str(amount)).quantize(Decimal("0.000000001"), context=_WIDE)


def exact_sum(amounts: Iterable[Decimal | int]) -> Decimal:
    """Add up without the default context, which would round at 28 digits."""
    return reduce(_WIDE.add, amounts, Decimal(0))


def naive_totals(page: bytes) -> dict[str, Any]:
    """
    Add up a page's raw JSON in the plainest way.

    :return: sums that are not zero by ``TABLE.COLUMN``, and counts of rows by ``TABLE``.
    """
    totals: Counter[str] = Counter()
    for record in json.loads(page, parse_float=Decimal)["data"]:
        metrics = record["core_metrics"]
        totals["usage"] += 1
        totals["usage.num_sessions"] += metrics["num_sessions"]
        totals["usage.lines_of_code_added"] += metrics["lines_of_code"]["added"]
        totals["usage.lines_of_code_removed"] += metrics["lines_of_code"]["removed"]
        totals["usage.commits_by_claude_code"] += metrics["commits_by_claude_code"]
        totals["usage.pull_requests_by_claude_code"] += metrics["pull_requests_by_claude_code"]
        for tool, action in record["tool_actions"].items():
            totals["tool_usage"] += 1
            for outcome in ("accepted", "rejected"):
                totals[f"tool_usage.{outcome}"] += action[outcome]
                totals[f"usage.tool_actions_{outcome}"] += action[outcome]
                if tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"):
                    totals[f"usage.{tool}_{outcome}"] += action[outcome]
        mixed = len({entry["estimated_cost"]["currency"] for entry in record["model_breakdown"]}) > 1
        for entry in record["model_breakdown"]:
            totals["model_usage"] += 1
            totals["usage.model_count"] += 1
            for table in ("usage", "model_usage"):
                for kind in TOKEN_KINDS:
                    totals[f"{table}.{kind}_tokens"] += entry["tokens"][kind]
                if table == "model_usage" or not mixed:
                    name = f"{table}.estimated_cost_cents"
                    amount = cents(entry["estimated_cost"]["amount"])
                    totals[name] = exact_sum([totals[name], amount])
    return {name: total for name, total in totals.items() if total}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_COUNT = st.one_of(st.integers(0, 9), st.integers(0, 10**12), st.integers(0, 9).map(lambda n: Decimal(f"{n}.0")))
_AMOUNT = st.one_of(
    st.integers(-(10**6), 10**12),
    st.decimals(0, 10**13, places=12),
    st.decimals(0, 10**13, places=9).map("{:f}".format),
    st.floats(1e-20, 1e13),
    st.sampled_from([0, "0", 0.0, "-0.0", 10**13, "0.0000000005", "0.0000000015", Decimal("1E+3")]),
)
_TOOL = st.one_of(st.sampled_from(["edit_tool", "write_tool", "bash_tool"]), _TEXT)


def _pool(*usual: Any) -> st.SearchStrategy[Any]:
    """Draw from few values, so that keys repeat, or any text."""
    return st.one_of(st.sampled_from(usual), _TEXT)


_ACTOR = st.one_of(
    st.fixed_dictionaries({"type": st.just("user_actor"), "email_address": st.none() | _pool("a@b.c", "A@b.c ")}),
    st.fixed_dictionaries({"type": st.just("api_actor"), "api_key_name": st.none() | _pool("ci", "a@b.c")}),
    st.fixed_dictionaries({"type": st.just("service_actor"), "id": _pool("s1"), "name": st.none() | _TEXT}),
)

_MODEL_ENTRY = st.builds(
    model,
    _AMOUNT,
    name=_pool(MODEL, "claude-haiku-4-5"),
    currency=st.sampled_from(["USD", "USD", "USD", "EUR"]),
    tokens=st.tuples(*[_COUNT] * 4),
)

RECORDS = st.fixed_dictionaries(
    {
        "date": st.sampled_from([f"{DAY}T00:00:00Z", str(DAY)]),
        "actor": _ACTOR,
        "organization_id": _pool(ORGANIZATION_ID),
        "customer_type": _pool("api", "subscription"),
        "terminal_type": _pool("vscode", "tmux"),
        "core_metrics": st.fixed_dictionaries(
            {
                "num_sessions": _COUNT,
                "lines_of_code": st.fixed_dictionaries({"added": _COUNT, "removed": _COUNT}),
                "commits_by_claude_code": _COUNT,
                "pull_requests_by_claude_code": _COUNT,
            }
        ),
        "tool_actions": st.dictionaries(
            _TOOL, st.fixed_dictionaries({"accepted": _COUNT, "rejected": _COUNT}), max_size=4
        ),
        "model_breakdown": st.lists(_MODEL_ENTRY, max_size=3),
    },
    optional={
        "subscription_type": st.sampled_from(["enterprise", "team", None]),
        "is_remote": st.booleans() | st.none(),
        "a_field_of_the_future": st.none() | st.floats(0, 1) | _TEXT,
    },
)
"""Any record that the API's reference allows, with what its versioning promise may add."""

DAYS = st.lists(RECORDS, max_size=6)
"""All records of a day."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON document that holds no others."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path

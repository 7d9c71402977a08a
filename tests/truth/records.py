"""The sums of records, computed a second time from the raw JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from typing import Any

from tests.fixtures.records import TABLES, TOKEN_KINDS, Json

Row = dict[str, Any]

SUMS = {
    "usage": [
        "num_sessions",
        "lines_of_code_added",
        "lines_of_code_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
        *(
            f"{tool}_{outcome}"
            for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool", "tool_actions")
            for outcome in ("accepted", "rejected")
        ),
        "model_count",
    ],
    "model_usage": [],
    "tool_usage": ["accepted", "rejected"],
}
MODEL_SUMS = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "estimated_cost_cents"]

_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)


def cents(amount: Any) -> Decimal:
    """Round an amount as the contract says: to 9 places, half to even."""
    return Decimal(str(amount)).quantize(Decimal("0.000000001"), context=_WIDE)


def exact_sum(amounts: Iterable[Decimal | int]) -> Decimal:
    """Add up exactly. The default context would round to 28 digits."""
    return reduce(_WIDE.add, amounts, Decimal(0))


def naive_totals(page: bytes) -> dict[str, Any]:
    """
    Add up a page's raw JSON in the plainest way.

    :return: sums that are not zero by ``TABLE.COLUMN``, and counts of rows by ``TABLE``.
    """
    totals: dict[str, Any] = {}
    for table, rows in flat(json.loads(page, parse_float=Decimal)["data"]).items():
        totals[table] = len(rows)
        for name in [*SUMS[table], *(MODEL_SUMS if table != "tool_usage" else [])]:
            totals[f"{table}.{name}"] = exact_sum(row[name] for row in rows if row[name] is not None)
    return {name: total for name, total in totals.items() if total}


def canonical(rows: Any) -> list[str]:
    """Normalise rows, so that the order, zeros of decimals and time zones make no difference."""
    return sorted(repr(sorted((name, _plain(value)) for name, value in row.items())) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return f"{value:.9f}" if isinstance(value, Decimal) else value


def flat(records: Iterable[Json], day: date | None = None) -> dict[str, list[Row]]:
    """
    Return the rows of each table in the plainest way, without the columns that the API knows nothing of.

    :param records: records of the API, with amounts as the API writes them or as Decimal.
    :param day: the ``date`` of the rows.
    """
    tables: dict[str, list[Row]] = {table: [] for table in TABLES}
    for record in records:
        actor, metrics, actions = record["actor"], record["core_metrics"], record["tool_actions"]
        shared = {
            "date": day,
            "organization_id": record["organization_id"],
            "actor_type": actor["type"],
            "actor_id": _actor_id(actor),
            "customer_type": record["customer_type"],
            "subscription_type": record.get("subscription_type"),
            "terminal_type": record["terminal_type"],
            "is_remote": record.get("is_remote"),
        }
        models = [
            {"model": entry["model"]}
            | {f"{kind}_tokens": entry["tokens"][kind] for kind in TOKEN_KINDS}
            | {
                "estimated_cost_cents": cents(entry["estimated_cost"]["amount"]),
                "currency": entry["estimated_cost"]["currency"],
            }
            for entry in record["model_breakdown"]
        ]
        tables["model_usage"] += [shared | entry for entry in models]
        tables["tool_usage"] += [shared | {"tool_name": tool, **action} for tool, action in actions.items()]
        currencies = {entry["currency"] for entry in models}
        usage = {
            "num_sessions": metrics["num_sessions"],
            "lines_of_code_added": metrics["lines_of_code"]["added"],
            "lines_of_code_removed": metrics["lines_of_code"]["removed"],
            "commits_by_claude_code": metrics["commits_by_claude_code"],
            "pull_requests_by_claude_code": metrics["pull_requests_by_claude_code"],
            "model_count": len(models),
            "currency": currencies.pop() if len(currencies) == 1 else None,
        }
        for outcome in ("accepted", "rejected"):
            usage[f"tool_actions_{outcome}"] = sum(action[outcome] for action in actions.values())
            for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"):
                usage[f"{tool}_{outcome}"] = actions.get(tool, {outcome: 0})[outcome]
        for kind in TOKEN_KINDS:
            usage[f"{kind}_tokens"] = sum(entry[f"{kind}_tokens"] for entry in models) if models else None
        costs = [entry["estimated_cost_cents"] for entry in models]
        usage["estimated_cost_cents"] = exact_sum(costs) if usage["currency"] is not None else None
        tables["usage"].append(shared | usage)
    return tables


def _actor_id(actor: Json) -> str | None:
    known = {"user_actor": "email_address", "api_actor": "api_key_name"}.get(actor["type"])
    if known:
        return actor.get(known)
    others = {name: value for name, value in actor.items() if name != "type"}
    return json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=float)

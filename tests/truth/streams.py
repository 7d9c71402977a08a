"""The expected rows of charges and members, computed a second time from the API's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime

from tests.fixtures.records import Json
from tests.truth.records import Row, cents

WITHOUT_A_SOURCE = {"record_id", "key_ordinal", "unknown_fields", "loaded_at"}
"""Columns that do not come from the API."""

_ACTOR_IDS = {
    "user_actor": "email_address",
    "api_actor": "api_key_id",
    "service_account_actor": "service_account_id",
}


def cost(entries: Iterable[Json], day: date, refreshed_at: datetime | None) -> list[Row]:
    """
    Return the rows of ``cost``.

    :param entries: entries of the cost report, with groups.
    :param day: their day.
    :param refreshed_at: when the data was refreshed.
    """
    rows = []
    for entry, amounts in zip(entries, cost_totals(entries, day, refreshed_at), strict=True):
        group = entry["group"]
        actor = group["actor"] or {"type": None}
        columns = ("organization_id", "product", "workspace_id", "model", "cost_type")
        who = {
            "actor_type": actor["type"],
            "actor_id": _actor_id(actor),
            "user_id": actor.get("user_id") if actor["type"] == "user_actor" else None,
        }
        rows.append(amounts | {column: group[column] for column in columns} | who)
    return rows


def cost_totals(entries: Iterable[Json], day: date, refreshed_at: datetime | None) -> list[Row]:
    """Return the rows of ``cost_totals``, from entries without groups."""
    return [
        {
            "date": day,
            "amount_cents": cents(entry["cost"]["amount"]),
            "list_amount_cents": cents(entry["cost"]["list_amount"]),
            "currency": entry["cost"]["currency"],
            "refreshed_at": refreshed_at,
        }
        for entry in entries
    ]


def _actor_id(actor: Json) -> str | None:
    if actor["type"] is None:
        return None
    if known := _ACTOR_IDS.get(actor["type"]):
        identifier: str | None = actor[known]
        return identifier
    others = {name: value for name, value in actor.items() if name != "type"}
    return json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def members(items: Iterable[Json], day: date) -> list[Row]:
    """Return the rows of ``members``."""
    return [
        {
            "date": day,
            "user_id": item["id"],
            "email": item["email"],
            "name": item["name"],
            "role": item["role"],
            "added_at": _moment(item["added_at"]),
        }
        for item in items
    ]


def workspaces(items: Iterable[Json], day: date) -> list[Row]:
    """Return the rows of ``workspaces``."""
    return [
        {
            "date": day,
            "workspace_id": item["id"],
            "name": item["name"],
            "is_claude_code": item["name"] == "Claude Code",
            "created_at": _moment(item["created_at"]),
            "archived_at": _moment(item["archived_at"]),
        }
        for item in items
    ]


def workspace_members(items: Iterable[Json], day: date) -> list[Row]:
    """Return the rows of ``workspace_members``."""
    return [
        {"date": day} | {name: item[name] for name in ("workspace_id", "user_id", "workspace_role")} for item in items
    ]


def api_keys(items: Iterable[Json], day: date) -> list[Row]:
    """Return the rows of ``api_keys``."""
    return [
        {
            "date": day,
            "api_key_id": item["id"],
            "name": item["name"],
            "status": item["status"],
            "workspace_id": item["scope"]["workspace_id"] if item.get("scope") else item.get("workspace_id"),
            "created_by_user_id": item["created_by"]["id"] if item["created_by"]["type"] == "user" else None,
            "created_by_type": item["created_by"]["type"],
            "created_at": _moment(item["created_at"]),
            "expires_at": _moment(item["expires_at"]),
        }
        for item in items
    ]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

"""How much of a cost is known, and an estimate of the unknown part."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from airflow_provider_claude_code.analytics.queries import Row, Settings

_SMALLEST_SHARE = 0.5
"""The share of sessions with a known cost that is needed to estimate the cost of all."""


def has_api_usage(row: Row) -> bool:
    """
    Return whether there was API usage of people or of API keys, also of those of machines.

    :param row: of ``comparison_totals``.
    """
    return any(row[name] for name in ("api_people", "api_actors", "api_sessions", "api_cost_usd"))


def cost_share(prefix: Literal["", "people_"], row: Row) -> float | None:
    """
    Return the share of API sessions whose cost is known; None without such sessions.

    :param prefix: "people_" for people alone.
    :param row: of ``comparison_totals``.
    """
    sessions = row[f"{prefix}api_sessions"]
    known: float | None = row[f"{prefix}api_sessions_with_cost"] / sessions if sessions else None
    return known


def charged_usd(daily: Iterable[Row], settings: Settings) -> Decimal | None:
    """
    Return what is charged for Claude Code in the period; None where usage or charges of a day are not known, or when it
    may be that of few people.

    :param daily: ``daily_cost`` of an organisation.
    :param settings: the period, and what few are.
    """
    first, last = settings.period
    rows = [row for row in daily if first <= row["date"] <= last]
    if len(rows) < len(settings.days) or any(row["charged_cents"] is None or not row["is_complete"] for row in rows):
        return None
    if settings.is_few(max(row["charged_actors"] for row in rows)):
        return None
    return sum((row["charged_cents"] for row in rows), Decimal(0)) * Settings.dollars_per_cent


def whole_cost(rows: Iterable[Row]) -> float | None:
    """
    Return what all sessions cost if those whose cost is not known cost as much as the others of the same kind.

    :param rows: of ``period_costs``, of one customer type: a row per kind of actor.
    :return: US dollars; None where less than half of the sessions of a kind are known.
    """
    whole = 0.0
    for row in rows:
        share = row["sessions_with_cost"] / row["sessions"] if row["sessions"] else 1.0
        if share < _SMALLEST_SHARE:
            return None
        whole += float(row["amount_usd"] or 0) / share
    return whole

"""The charges of an invented organisation for the usage of its people and pipelines."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from airflow_provider_claude_code.sandbox.organization import PRICES, Organization, list_price
from airflow_provider_claude_code.sandbox.people import (
    CLAUDE_CODE_WORKSPACE,
    key_id,
    number_in,
    workspace_id,
)

DISCOUNT = Decimal("0.12")
"""Discount on the list price of tokens."""
REFRESH_HOURS = 4
"""Hours between two refreshes of the data."""

DIMENSIONS = ("actor", "model", "product", "workspace_id", "organization_id", "cost_type")
"""What charges can be grouped by here."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Charge(NamedTuple):
    """
    What one actor is charged for one thing.

    :param group: value by dimension
    :param list_amount: cents at list prices
    :param amount: cents that are charged
    """

    group: dict[str, Any]
    list_amount: Decimal
    amount: Decimal


def refreshed_at(now: datetime) -> datetime:
    """Return the time of the newest refresh of the data."""
    now = now.astimezone(UTC)
    return now.replace(hour=now.hour // REFRESH_HOURS * REFRESH_HOURS, minute=0, second=0, microsecond=0)


@lru_cache(maxsize=8)
def charges(organization: Organization, day: date, refreshed: datetime) -> list[Charge]:
    """
    Return the charges of a day: always the same for the same arguments.

    Tokens are charged at list price less `DISCOUNT`, also those of records that name no model. Web search is charged
    without a discount. Every other pipeline is charged as Claude Code, and the others as use of the Messages API. Chats
    are charged as well. Charges for code execution name nobody and no product.

    :param organization: the organisation
    :param day: UTC day
    :param refreshed: time of the refresh whose data is returned
    """
    rng = random.Random(f"{organization.seed}/{day}/charges")
    found = []
    for record in organization.records(day, refreshed):
        if record["customer_type"] != "api":
            continue
        group = _group(organization, record["actor"], refreshed)
        prices = [(entry["model"], list_price(entry["model"], entry["tokens"])) for entry in record["model_breakdown"]]
        # The report does not give the tokens of records without a model.
        for model, price in prices or [(min(PRICES), Decimal(rng.randrange(1, 5_000_000)) / 10_000)]:
            found.append(_charge(group | {"model": model, "cost_type": "tokens"}, price, DISCOUNT))
        if rng.random() < 0.2:
            found.append(_charge(group | {"cost_type": "web_search"}, Decimal(rng.randint(1, 9)), Decimal(0)))
        if rng.random() < 0.1:
            found.append(_charge(group | {"product": "chat", "cost_type": "tokens"}, Decimal("17.25"), DISCOUNT))
    if found:
        nobody = {"organization_id": organization.id, "cost_type": "code_execution"}
        found += [_charge(nobody, Decimal(cents), Decimal(0)) for cents in (5, 8)]
    return found


def grouped(
    found: Iterable[Charge], day: date, groups: Sequence[str], products: Sequence[str]
) -> list[list[dict[str, Any]]]:
    """
    Add charges up as the API does.

    :param found: the charges of a day
    :param day: UTC day
    :param groups: the dimensions to group by
    :param products: the products to keep; all when there are none
    :return: lists of entries in the API's JSON form; those that differ only in their cost type are in one list
    """
    sums: dict[bytes, Charge] = {}
    for position, charge in enumerate(found):
        if products and charge.group.get("product") not in products:
            continue
        group = {name: charge.group.get(name) if name in groups else None for name in DIMENSIONS}
        # Charges without an actor may come in several entries.
        key = _encode([group, position if "actor" in groups and group["actor"] is None else None])
        before = sums.get(key, Charge(group, Decimal(0), Decimal(0)))
        sums[key] = Charge(group, before.list_amount + charge.list_amount, before.amount + charge.amount)
    together: dict[bytes, list[dict[str, Any]]] = {}
    for charge in sorted(sums.values(), key=lambda charge: (-charge.amount, _encode(charge.group))):
        key = _encode({name: value for name, value in charge.group.items() if name != "cost_type"})
        together.setdefault(key, []).append(_entry(charge, day))
    return list(together.values())


def _group(organization: Organization, actor: dict[str, str], refreshed: datetime) -> dict[str, Any]:
    """Return who is charged, as known at the refresh, and for which product."""
    if name := actor.get("api_key_name"):
        product = "claude_code" if int(name[-2:]) % 2 else "messages_api"
        who: dict[str, Any] = {"type": "api_actor", "api_key_id": key_id(name)}
        workspace = workspace_id("Pipelines")
    else:
        person = organization.person(number_in(actor["email_address"]))
        today = refreshed.date()
        there = person.has_account(today)
        who = {
            "type": "user_actor",
            "user_id": person.user_id,
            "email_address": person.address(today) if there else None,
            "name": person.name(today) if there else None,
            "deleted": not there,
        }
        product, workspace = "claude_code", workspace_id(CLAUDE_CODE_WORKSPACE)
    return {"actor": who, "product": product, "workspace_id": workspace, "organization_id": organization.id}


def _charge(group: dict[str, Any], list_amount: Decimal, discount: Decimal) -> Charge:
    return Charge(group, list_amount, list_amount * (1 - discount))


def _entry(charge: Charge, day: date) -> dict[str, Any]:
    return {
        "starting_at": f"{day}T00:00:00Z",
        "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
        "group": charge.group,
        "cost": {
            "amount": f"{charge.amount.normalize():f}",
            "list_amount": f"{charge.list_amount.normalize():f}",
            "currency": "USD",
            "requests": None,
        },
    }

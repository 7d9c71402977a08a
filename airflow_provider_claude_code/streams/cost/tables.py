"""The tables of charges. Each column is defined once, with the source of its value."""

from __future__ import annotations

from operator import attrgetter

from airflow_provider_claude_code.tables.contract import LOADED_AT, Column, PseudonymOf, Table
from airflow_provider_claude_code.tables.unknown_fields_column import UNKNOWN_FIELDS

DATE = Column("date", "DATE", "The UTC day of the usage that is charged.")

_UNIT = "in minor units of the currency, with fractions: cents for USD, not dollars"

AMOUNTS = (
    Column("amount_cents", "NUMERIC", f"The charge after discounts and before credits and taxes, {_UNIT}."),
    Column("list_amount_cents", "NUMERIC", f"The charge at list prices, {_UNIT} (API: cost.list_amount)."),
    Column(
        "currency",
        "STRING",
        "Currency of the amounts, so far always USD (API: cost.currency).",
        get="entry.cost.currency",
        hmac="keep",
    ),
    Column(
        "refreshed_at",
        "TIMESTAMP",
        "When the API refreshed the data (UTC); null when it does not say (API: data_refreshed_at).",
        nullable=True,
        get="refreshed_at",
    ),
    UNKNOWN_FIELDS,
    LOADED_AT,
)

COST = Table(
    "cost",
    "day, product, workspace, actor, model and cost type; rows without an actor may repeat",
    (
        DATE,
        Column(
            "organization_id",
            "STRING",
            "The organisation that is charged; null when the key cannot read it (API: group.organization_id).",
            nullable=True,
            get="entry.group.organization_id",
            hmac="keep",
        ),
        Column(
            "product",
            "STRING",
            "claude_code, or another one that the load asks for; null when the API gives none (API: group.product).",
            nullable=True,
            get="entry.group.product",
            hmac="keep",
        ),
        Column(
            "workspace_id",
            "STRING",
            "The workspace; null when the API gives none (API: group.workspace_id).",
            nullable=True,
            get="entry.group.workspace_id",
            hmac="keep",
        ),
        Column(
            "actor_type",
            "STRING",
            "user_actor, api_actor, service_account_actor, federated_actor, or a kind that the API adds later; null "
            "when the charge has no actor, or the key cannot read it (API: group.actor.type).",
            nullable=True,
            get="entry.actor_type",
            hmac="keep",
        ),
        Column(
            "actor_id",
            "STRING",
            "Current e-mail address of a user_actor (null when the account is deleted), id of an api_actor's key or of "
            "a service account, canonical JSON of other kinds; with actor_identity=hmac a pseudonym.",
            nullable=True,
            get="entry.actor_id",
            hmac=PseudonymOf(kind=attrgetter("entry.actor_type")),
        ),
        Column(
            "user_id",
            "STRING",
            "Id of a user_actor, which stays when the address changes; with actor_identity=hmac a pseudonym (API: "
            "group.actor.user_id).",
            nullable=True,
            get="entry.user_id",
            hmac=PseudonymOf(kind=lambda charges: "user_id"),
        ),
        Column(
            "model",
            "STRING",
            "Model identifier; null when the charge is not for a model (API: group.model).",
            nullable=True,
            get="entry.group.model",
            hmac="keep",
        ),
        Column(
            "cost_type",
            "STRING",
            "tokens, web_search, code_execution, ... (API: group.cost_type).",
            nullable=True,
            get="entry.group.cost_type",
            hmac="keep",
        ),
        *AMOUNTS,
    ),
    clustering=("actor_id", "model"),
)

COST_TOTALS = Table(
    "cost_totals",
    "day and currency: the total of the rows of cost according to the API",
    (DATE, *AMOUNTS),
    clustering=(),
)

TABLES = (COST, COST_TOTALS)

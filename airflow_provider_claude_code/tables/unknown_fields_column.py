"""The column for undocumented fields of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_claude_code.tables.contract import Column
from airflow_provider_claude_code.tables.rows import canonical_json

LONGEST_TEXT = 8192
"""Maximum size of the column in one row, in bytes of UTF-8."""


def _unknown_fields_text(members: Mapping[str, Any]) -> str | None:
    """
    Return unknown fields as JSON, ordered by name, as many as fit.

    :param members: the members by name, in the shape of the row's JSON.
    """
    kept: dict[str, Any] = {}
    size = len("{}")
    for name in sorted(members):
        member_size = len(canonical_json({name: members[name]})) - 1
        if size + member_size <= LONGEST_TEXT:
            kept[name] = members[name]
            size += member_size
    return canonical_json(kept).decode() if kept else None


UNKNOWN_FIELDS = Column(
    "unknown_fields",
    "STRING",
    "JSON object of the fields that the API sent but does not document, at most 8 KiB; null when there are none, and "
    "with actor_identity=hmac.",
    nullable=True,
    # Of any typed part of a response that makes a row.
    get=lambda parts: [part.unknown_fields and _unknown_fields_text(part.unknown_fields) for part in parts],
    hmac="null",
)

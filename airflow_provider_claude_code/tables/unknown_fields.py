"""The column that keeps what the API sends beyond its reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_claude_code.tables.contract import Column

LONGEST_TEXT = 8192
"""Bytes of UTF-8 that the column may take in one row."""

_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def unknown_fields_text(members: Mapping[str, Any] | None) -> str | None:
    """
    Return unknown members as JSON: those that fit, in the order of their names.

    :param members: the members by name, in the shape of the row's JSON.
    """
    if not members:
        return None
    kept: dict[str, Any] = {}
    size = len("{}")
    for name in sorted(members):
        member_size = len(_encode({name: members[name]})) - 1
        if size + member_size <= LONGEST_TEXT:
            kept[name] = members[name]
            size += member_size
    return _encode(kept).decode() if kept else None


UNKNOWN_FIELDS = Column(
    "unknown_fields",
    "STRING",
    "JSON object of the fields that the API sent but does not document, at most 8 KiB; null when there are none, and "
    "with actor_identity=hmac.",
    nullable=True,
    # Of any typed part of a response that makes a row.
    get=lambda part: unknown_fields_text(part.unknown_fields),
    hmac="null",
)

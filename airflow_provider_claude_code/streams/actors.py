"""Actors in the API: objects whose fields depend on their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from airflow_provider_claude_code.tables.rows import canonical_json


@dataclass(frozen=True)
class ActorKind:
    """
    A documented type of actor.

    :param id_field: the field that identifies an actor of this type; ``None`` when it takes all of them.
    :param fields: its documented fields.
    """

    id_field: str | None
    fields: frozenset[str]


def check_actor(actor: Mapping[str, Any], kinds: Mapping[str, ActorKind], path: str) -> None:
    """
    Check an actor.

    :param actor: the actor's JSON.
    :param kinds: the documented types.
    :param path: where the actor is in its record, for the message.
    :raises ValueError: it does not have the documented shape.
    """
    type_ = actor.get("type")
    if not isinstance(type_, str):
        raise ValueError(f"`{path}.type` must be a string")
    kind = kinds.get(type_)
    if kind and kind.id_field and not isinstance(actor.get(kind.id_field, ...), (str, NoneType)):
        raise ValueError(f"`{path}.{kind.id_field}` must be a string or null")


def are_usual_actors(actors: Sequence[Mapping[Any, Any]], kinds: Mapping[str, ActorKind]) -> bool:
    """Return whether all actors have a documented type and a text that identifies them."""
    id_fields: dict[Any, Any] = {type_: kind.id_field for type_, kind in kinds.items()}
    types = [actor.get("type") for actor in actors]
    if not set(map(type, types)) <= {str}:
        return False
    return {type(actor.get(field)) for actor, field in zip(actors, map(id_fields.get, types), strict=True)} <= {str}


def unknown_fields_of_actor(actor: Mapping[str, Any], kinds: Mapping[str, ActorKind]) -> dict[str, Any]:
    """Return the undocumented fields of an actor. An actor of an unknown type is identified by all its fields."""
    kind = kinds.get(actor["type"])
    if kind is None or actor.keys() <= kind.fields:
        return {}
    return {name: actor[name] for name in actor.keys() - kind.fields}


def actor_id_of(actor: Mapping[str, Any], kinds: Mapping[str, ActorKind]) -> str | None:
    """
    Return the identifier of a checked actor.

    :return: the identifying field of its type, otherwise all its fields as canonical JSON.
    """
    kind = kinds.get(actor["type"])
    if kind is not None and kind.id_field is not None:
        identifier: str | None = actor[kind.id_field]
        return identifier
    return canonical_json({name: value for name, value in actor.items() if name != "type"}).decode()

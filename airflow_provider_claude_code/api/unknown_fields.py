"""
Types that name every documented field of the API's answers, and the fields that these do not name.

Unknown fields are accepted, since the API's versioning promise lets them come at any time: they are noted, and kept
with the row they belong to. Their names are learned, so that a page with them is decoded in one pass.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, ClassVar, NamedTuple, get_args, get_origin

import msgspec

MAX_LEARNED_NAMES = 100
"""Maximum number of names of unknown fields that a decoder learns. Pages with more are decoded more slowly."""

# No field of the API has this name.
_KEPT = "(unknown fields)"


class Documented(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """
    A part of a page, with every field that the reference has.

    The default of a field that is often absent or null is ``msgspec.UNSET``. If the API sends a value that equals
    another default, checking the page for repeated keys takes longer.
    """


class DocumentedRow(Documented, frozen=True, kw_only=True):
    """
    A part of a page that makes a row.

    ``unknown_fields`` contains the undocumented fields of the part and of its inner parts, in the shape of its JSON. It
    is left out of the representation, since tools that report crashes show variables.
    """

    NOT_SHOWN: ClassVar[frozenset[str]] = frozenset({"unknown_fields"})

    unknown_fields: dict[str, Any] | None = msgspec.field(default=None, name=_KEPT)

    def keep_unknown(self, unknown: dict[str, Any]) -> None:
        """Keep more unknown fields, in the shape of the row's JSON."""
        both = _merged(self.unknown_fields, unknown) if self.unknown_fields else unknown
        msgspec.structs.force_setattr(self, "unknown_fields", both)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that may be shown."""
        return [(name, value) for name, value in msgspec.structs.asdict(self).items() if name not in self.NOT_SHOWN]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def integral_if_possible(literal: str) -> int | Decimal:
    """Return a number without an exponent or a fraction as an integer: 5.0 is the integer 5 to JSON."""
    number = Decimal(literal)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


integral_decoder = msgspec.json.Decoder(float_hook=integral_if_possible)
"""Decodes JSON without types: numbers as int or Decimal, never float."""


number_encoder = msgspec.json.Encoder(decimal_format="number")


def refuse_repeated_keys(body: bytes | msgspec.Raw, content: Any) -> None:
    """
    Refuse JSON in which an object has the same key twice. msgspec would keep only the last value.

    Without escapes, each key and each string has two quotation marks. Encoding the content again adds none, since
    absent fields and defaults are left out. If the number of marks is the same, no key was dropped. If it differs, for
    example because of amounts in strings, the JSON is parsed again, which takes longer.

    :param body: the JSON.
    :param content: the decoded JSON.
    :raises ValueError: an object has a key twice.
    """
    body = bytes(body)
    if b"\\" in body or _quotation_marks(number_encoder.encode(content)) != _quotation_marks(body):
        # Parses the JSON without keeping it.
        json.loads(body, object_pairs_hook=_refuse_repeated, parse_int=len, parse_float=len)


def _quotation_marks(text: bytes) -> int:
    if len(text) < 10_000:
        return text.count(b'"')
    # Imported late, since sensors do not read records and should not wait for this import.
    import numpy as np

    # A fifth of the time of text.count.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')))


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an object has a key twice")


class LearnedFields:
    """The names of unknown fields, by the type that contains them."""

    def __init__(self) -> None:
        self._names: dict[type[Documented], list[str]] = {}
        self._count = 0

    def set_apart(self, content: Any, type_: Any, path: str, paths: set[str]) -> dict[str, Any]:
        """
        Learn the names of fields that the type does not have. Those that are too many are removed from the content.

        :param content: the JSON.
        :param type_: what it is to be decoded as.
        :param path: where it is in its page.
        :param paths: receives the paths of what is removed.
        :return: what was removed, if no row within the content keeps it.
        """
        kind, within = _within(type_)
        if isinstance(content, list) and kind is list:
            for item in content:
                self.set_apart(item, within, f"{path}[]", paths)
        elif isinstance(content, dict) and kind is dict:
            for value in content.values():
                self.set_apart(value, within, f"{path}{{}}", paths)
        elif isinstance(content, dict) and kind is Documented:
            fields = _documented_fields(within)
            unknown = {
                name: content.pop(name) for name in content.keys() - fields.keys() if not self._learn(within, name)
            }
            paths.update(f"{path}.{name}".removeprefix(".") for name in unknown)
            for name in content.keys() & fields.keys():
                removed = self.set_apart(content[name], fields[name].type, f"{path}.{name}".removeprefix("."), paths)
                if removed:
                    unknown[name] = removed
            if not issubclass(within, DocumentedRow):
                return unknown
            if unknown:
                content[_KEPT] = unknown
        return {}

    def _learn(self, type_: type[Documented], name: str) -> bool:
        names = self._names.setdefault(type_, [])
        # msgspec does not accept quotes or control characters.
        if name not in names and self._count < MAX_LEARNED_NAMES and re.fullmatch(r"\w{1,100}", name, re.ASCII):
            names.append(name)
            self._count += 1
        return name in names

    def extended(self, type_: Any) -> Any:
        """Return a type with the learned fields, as JSON that is not decoded."""
        kind, within = _within(type_)
        if kind is list:
            return list[self.extended(within)]  # type: ignore[misc]
        if kind is dict:
            return dict[str, self.extended(within)]  # type: ignore[misc]
        if kind is not Documented:
            return type_
        fields: list[Any] = [
            (field.name, self.extended(field.type), *_default(field))
            for field in _documented_fields(within).values()
            if _within(field.type)[0] is not None
        ]
        fields += [
            (_attribute(position), msgspec.Raw | msgspec.UnsetType, msgspec.field(default=msgspec.UNSET, name=name))
            for position, name in enumerate(self._names.get(within, ()))
        ]
        extended = msgspec.defstruct(
            within.__name__, fields, bases=(within,), frozen=True, forbid_unknown_fields=True, kw_only=True
        )
        return extended if type_ is within else extended | None

    def parts(self, type_: Any, path: str = "") -> UnknownParts | None:
        """Return where the learned fields are within a type; ``None`` when there are none."""
        kind, within = _within(type_)
        if kind is list or kind is dict:
            return self.parts(within, path + ("[]" if kind is list else "{}"))
        if kind is not Documented:
            return None
        parts = {
            field.name: (name, _within(field.type)[0], found)
            for name, field in _documented_fields(within).items()
            if (found := self.parts(field.type, f"{path}.{name}".removeprefix(".")))
        }
        learned = [
            (_attribute(position), name, f"{path}.{name}".removeprefix("."))
            for position, name in enumerate(self._names.get(within, ()))
        ]
        return UnknownParts(learned, parts, issubclass(within, DocumentedRow)) if learned or parts else None


class UnknownParts(NamedTuple):
    """
    The learned fields within a part of a page.

    :param learned: its own: attribute, name and path.
    :param parts: by attribute, the parts of it that have some: name, whether it is a list or a dict of them, and they.
    :param is_row: whether it keeps what is unknown in it.
    """

    learned: list[tuple[str, str, str]]
    parts: dict[str, tuple[str, Any, UnknownParts]]
    is_row: bool

    def keep_unknown(self, part: Any, paths: set[str]) -> dict[str, Any]:
        """
        Let the rows keep their unknown fields, and note the paths of those that there are.

        :return: what is unknown in the part, if no row within it keeps it.
        """
        unknown: dict[str, Any] = {}
        for attribute, name, path in self.learned:
            # A default, unlike a decoded part, is of the type without learned fields.
            value = getattr(part, attribute, msgspec.UNSET)
            if value is not msgspec.UNSET:
                unknown[name] = _decoded(value)
                paths.add(path)
        for attribute, (name, kind, parts) in self.parts.items():
            value = getattr(part, attribute)
            if kind is list or kind is dict:
                for item in value if kind is list else value.values():
                    parts.keep_unknown(item, paths)
            elif value is not None and (within := parts.keep_unknown(value, paths)):
                unknown[name] = within
        if not self.is_row:
            return unknown
        if unknown:
            part.keep_unknown(unknown)
        return {}


@cache
def _documented_fields(type_: type[Documented]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields that the reference has by their names in JSON."""
    return {field.encode_name: field for field in msgspec.structs.fields(type_) if field.encode_name != _KEPT}


@cache
def _within(type_: Any) -> tuple[Any, Any]:
    """Return whether a type is a list, a dict or a part of a page, and of which type the items or the part are."""
    options = [option for option in get_args(type_) if option is not type(None)]
    if get_origin(type_) is UnionType and len(options) == 1:
        type_ = options[0]
    if get_origin(type_) in (list, dict):
        return (get_origin(type_), get_args(type_)[-1]) if _within(get_args(type_)[-1])[0] else (None, None)
    if isinstance(type_, type) and issubclass(type_, Documented):
        return Documented, type_
    return None, None


def _decoded(unknown: msgspec.Raw) -> Any:
    content = integral_decoder.decode(unknown)
    if isinstance(content, dict | list):
        refuse_repeated_keys(unknown, content)
    return content


def _attribute(position: int) -> str:
    # A name in JSON may not be a valid name in Python.
    return f"learned_{position}"


def _default(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    return () if field.required else (field.default,)


def _merged(members: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(members[name], others[name])
        for name in members.keys() & others.keys()
        if isinstance(members[name], dict) and isinstance(others[name], dict)
    }
    return members | others | both

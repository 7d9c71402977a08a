"""
Answers of the API as types that name every documented field.

Unknown fields are accepted, since the API's versioning promise lets them come at any time: they are noted, and kept
with the row they belong to. What breaks the contract is refused, and the error names the offending field's path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

MAX_PAGE_VALUES = 1_000_000
"""
JSON values of a page that are decoded at most.

A value takes two bytes of JSON, but some hundred bytes of memory. A record has 40 values or so, and some more for each
model and tool.
"""

# A name that no field of the API has.
_KEPT = "(unknown fields)"


class Documented(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A part of a page, with every field that the reference has."""


class DocumentedRow(Documented, frozen=True, kw_only=True):
    """
    A part of a page that makes a row.

    ``unknown_fields`` holds what it and the parts within it have beyond the reference, in the shape of its JSON. It is
    left out of the representation, since tools that report crashes show the variables at hand.
    """

    NOT_SHOWN: ClassVar[frozenset[str]] = frozenset({"unknown_fields"})

    unknown_fields: dict[str, Any] | None = msgspec.field(default=None, name=_KEPT)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that may be shown."""
        return [(name, value) for name, value in msgspec.structs.asdict(self).items() if name not in self.NOT_SHOWN]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


PageType = TypeVar("PageType", bound=Documented)


class Continuation(msgspec.Struct, frozen=True, gc=False):
    """Of a page, what tells how the list goes on."""

    data: msgspec.Raw
    has_more: bool
    # Some gateways leave out what is null.
    next_page: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the page has no record."""
        return re.fullmatch(rb"\[\s*\]", memoryview(self.data)) is not None


def integral_if_possible(literal: str) -> int | Decimal:
    """Return a number without an exponent or a fraction as an integer: 5.0 is the integer 5 to JSON."""
    number = Decimal(literal)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


_continuation_decoder = msgspec.json.Decoder(Continuation)
_integral_decoder = msgspec.json.Decoder(float_hook=integral_if_possible)
_number_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_continuation(body: bytes) -> Continuation:
    """
    Decode how the list goes on after a page, and look at nothing else of it: a small part of decoding it whole.

    :raises ValueError: as :meth:`PageDecoder.decode`; or the page has more values than any page, and must not be
        decoded.
    """
    # Each value but the first in its place has a comma before it. Commas within names do not matter at this size.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PAGE_VALUES:
        raise ValueError(f"it has more than {MAX_PAGE_VALUES} values; if a page can have them, lower page_limit")
    with _explained():
        return _continuation_decoder.decode(body)


class PageDecoder(Generic[PageType]):
    """
    Decodes pages of one type.

    :param page_type: what a page is.
    """

    def __init__(self, page_type: type[PageType]) -> None:
        self._page_type = page_type
        # Untyped numbers become int or Decimal, never float: an amount keeps its digits.
        self._decoder = msgspec.json.Decoder(page_type, float_hook=integral_if_possible)

    def decode(self, body: bytes) -> tuple[PageType, set[str]]:
        """
        Decode one page.

        :return: the page, and the paths of the fields that the reference does not have, such as ``data[].new_field``.
        :raises ValueError: the body is not JSON, or not of the page's shape; the message gives the JSON path of the
            offending field and never its value. Or an object has a key twice, of which msgspec would take the last.
        """
        with _explained():
            # Decodes what it can without keeping it.
            json.loads(body, object_pairs_hook=_refuse_repeated_keys, parse_int=len, parse_float=len)
            try:
                return self._decoder.decode(body), set()
            except msgspec.ValidationError as error:
                # 5.0 is the integer 5 to JSON, but not to msgspec, whose messages these are. Such numbers and new
                # fields are rare, so they cost a second pass instead of making every page slower; 5.5 still fails,
                # with its path.
                if not re.search("Expected `int`, got `float`|unknown field", str(error)):
                    raise
                content = _integral_decoder.decode(body)
                paths: set[str] = set()
                _set_unknown_fields_apart(content, self._page_type, "", paths)
                return self._decoder.decode(_number_encoder.encode(content)), paths


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an object has a key twice")


def _set_unknown_fields_apart(content: Any, type_: Any, path: str, paths: set[str]) -> dict[str, Any]:
    """Remove the fields that the type does not name, note their paths, and return those that no row keeps."""
    if isinstance(content, list) and get_origin(type_) is list:
        for item in content:
            _set_unknown_fields_apart(item, get_args(type_)[0], f"{path}[]", paths)
    elif isinstance(content, dict) and get_origin(type_) is dict:
        for value in content.values():
            _set_unknown_fields_apart(value, get_args(type_)[1], f"{path}{{}}", paths)
    elif isinstance(content, dict) and isinstance(type_, type) and issubclass(type_, Documented):
        types = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
        types.pop(_KEPT, None)
        unknown = {name: content.pop(name) for name in content.keys() - types.keys()}
        paths.update(f"{path}.{name}".removeprefix(".") for name in unknown)
        for name, value in content.items():
            within = _set_unknown_fields_apart(value, types[name], f"{path}.{name}".removeprefix("."), paths)
            if within:
                unknown[name] = within
        if not issubclass(type_, DocumentedRow):
            return unknown
        if unknown:
            content[_KEPT] = unknown
    return {}


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (character {error.pos})") from None
    except UnicodeDecodeError:
        raise ValueError("invalid UTF-8") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number outside any sensible range") from None

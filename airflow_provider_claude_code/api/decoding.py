"""
Decodes pages of the API into types that name every documented field.

Pages that break the contract are refused. The error names the path of the wrong field.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import InvalidOperation
from typing import Any, Generic, TypeVar

import msgspec

from airflow_provider_claude_code.api.unknown_fields import (
    Documented,
    LearnedFields,
    UnknownParts,
    integral_decoder,
    integral_if_possible,
    number_encoder,
    refuse_repeated_keys,
)

MAX_PAGE_VALUES = 1_000_000
"""
Maximum number of JSON values of a page.

A value may take only two bytes of JSON, but takes some hundred bytes of memory. A record has about 40 values, and a few
more for each model and tool.
"""

PageType = TypeVar("PageType", bound=Documented)


class Continuation(msgspec.Struct, frozen=True, gc=False):
    """The fields of a page for the continuation of the list and the refresh of its data."""

    data: msgspec.Raw
    has_more: bool
    # Some gateways leave out what is null.
    next_page: str | None = None
    # Only some lists have these. Other lists may add fields of the same names, with values of any type.
    last_id: Any = None
    data_refreshed_at: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether the page has no record."""
        return re.fullmatch(rb"\[\s*\]", memoryview(self.data)) is not None


_continuation_decoder = msgspec.json.Decoder(Continuation)
# A member like 5.0. The quotation mark after a letter is neither escaped nor the start of a string.
_WHOLE_NUMBER = re.compile(rb'("(?<=\w")\s*:\s*-?[0-9]{1,18})\.0+(?=\s*[,}])')


def decode_continuation(body: bytes) -> Continuation:
    """
    Decode only how the list continues after a page, which takes a small part of the time for the whole page.

    :raises ValueError: as for :meth:`PageDecoder.decode`, or the page has too many values to be decoded.
    """
    # Each value but the first in its place has a comma before it. Commas within names do not matter at this size.
    if len(body) > MAX_PAGE_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_PAGE_VALUES:
        raise ValueError(f"the page has more than {MAX_PAGE_VALUES} values; if a page can have them, lower page_limit")
    with _explained():
        return _continuation_decoder.decode(body)


class PageDecoder(Generic[PageType]):
    """
    Decodes pages of one type.

    A page with unknown fields costs a second pass. Their names are learned, so that later pages with them are decoded
    in one.

    :param page_type: what a page is.
    """

    def __init__(self, page_type: type[PageType]) -> None:
        self._page_type = page_type
        self._learned = LearnedFields()
        self._learning = threading.Lock()
        self._decode_with(page_type)

    def decode(self, body: bytes) -> tuple[PageType, set[str]]:
        """
        Decode one page.

        :return: the page, and the paths of the fields that the reference does not have, such as ``data[].new_field``.
        :raises ValueError: the body is not JSON, or not of the page's shape; the message gives the JSON path of the
            offending field and never its value. Or an object has a key twice, of which msgspec would take the last.
        """
        paths: set[str] = set()
        with _explained():
            page, parts = self._decode(body, paths)
            if parts:
                parts.keep_unknown(page, paths)
        return page, paths

    def _decode(self, body: bytes, paths: set[str]) -> tuple[PageType, UnknownParts | None]:
        # 5.0 is the integer 5 to JSON, but not to msgspec, whose messages these are. Such numbers and new fields are
        # rare, so they cost another pass instead of making every page slower; 5.5 still fails, with its path.
        decoder, parts = self._state
        try:
            page: PageType = decoder.decode(body)
        except msgspec.ValidationError as error:
            if not re.search("Expected `int`, got `float`|unknown field", str(error)):
                raise
        else:
            refuse_repeated_keys(body, page)
            return page, parts
        if (rewritten := _WHOLE_NUMBER.sub(rb"\1", body)) != body:
            return self._decode(rewritten, paths)
        content = integral_decoder.decode(body)
        refuse_repeated_keys(body, content)
        # Pages of several days may be decoded at the same time.
        with self._learning:
            self._learned.set_apart(content, self._page_type, "", paths)
            self._decode_with(self._learned.extended(self._page_type))
            decoder, parts = self._state
        return decoder.decode(number_encoder.encode(content)), parts

    def _decode_with(self, page_type: Any) -> None:
        # Untyped numbers become int or Decimal, never float: an amount keeps its digits.
        decoder = msgspec.json.Decoder(page_type, float_hook=integral_if_possible)
        # In one assignment, since another thread may be decoding.
        self._state: tuple[Any, UnknownParts | None] = (decoder, self._learned.parts(self._page_type))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as error:
        problem = f"{error.msg} (character {error.pos})"
    except UnicodeDecodeError:
        problem = "invalid UTF-8"
    except RecursionError:
        problem = "JSON nested too deeply"
    except InvalidOperation:
        problem = "a number outside any sensible range"
    except (msgspec.DecodeError, ValueError) as error:
        problem = str(error)
    else:
        return
    raise ValueError(f"the page is not of the documented shape: {problem}") from None

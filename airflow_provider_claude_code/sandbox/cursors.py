"""Cursors of the lists that are paged with ``page``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from airflow_provider_claude_code.sandbox.faults import Faults

Item = TypeVar("Item")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """
    The position in a list. Clients cannot read it.

    :param organization_id: whose list it is
    :param query: the list, by the parameters of the first request
    :param now: when the first page was requested, so that no page misses or repeats a record
    :param offset: records before the page
    :param page: number of the page, from 1
    """

    organization_id: str
    query: str
    now: datetime
    offset: int
    page: int

    def __str__(self) -> str:
        content = msgspec.json.encode(self)
        # The API's cursors end in "=", which clients have to percent-encode. Base64 pads what is not divisible by
        # three, and JSON does not mind a space.
        if len(content) % 3 == 0:
            content += b" "
        return base64.urlsafe_b64encode(hashlib.blake2b(content, digest_size=9).digest() + content).decode()

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """
        Read a cursor.

        :raises ValueError: it is not a cursor of this server
        """
        try:
            cursor = msgspec.json.decode(base64.urlsafe_b64decode(text)[9:], type=cls)
        except msgspec.DecodeError as error:  # a ValueError in newer versions of msgspec only
            raise ValueError(str(error)) from None
        if str(cursor) != text:
            raise ValueError("not a cursor of this server")
        return cursor

    def page_of(self, items: Sequence[Item], limit: int, faults: Faults) -> tuple[list[Item], str | None]:
        """
        Return the items of the page, and the cursor of the next one; ``None`` if there is none.

        :param items: the whole list
        :param limit: maximum number of items on the page
        :param faults: the faults of the request, which may make the list endless
        """
        end = self.offset + limit
        following = msgspec.structs.replace(self, offset=end, page=self.page + 1)
        if faults.repeat_cursor and self.page > 1:
            following = self
        has_more = end < len(items) or faults.endless or faults.repeat_cursor
        return [] if faults.endless else list(items[self.offset : end]), str(following) if has_more else None

"""Cursors of the lists that are paged with ``page``."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime

import msgspec


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

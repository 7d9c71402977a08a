"""Text from outside, made fit for a message or a log line."""

from __future__ import annotations

import re
from urllib.parse import quote

MASK = "***"
"""What is shown in the place of a key or an e-mail address."""


def quoted(text: str, length: int, secret: str = "") -> str:
    """
    Return text from outside as one short, readable line.

    Keys of Anthropic and e-mail addresses are masked. Whatever does not print (line breaks, escape sequences,
    direction marks) is shown as an escape sequence of Python.

    :param text: what somebody else has written.
    :param length: how many characters are returned at most.
    :param secret: is masked too, in upper and lower case and percent-encoded; what is longer than 4,096 characters is
        no key.
    """
    secrets = [re.escape(form) for form in {secret, quote(secret), quote(secret, safe="")} if form]
    # A secret that begins before the cut is masked whole.
    text = text[: length + 2 * 4096]
    text = re.sub("|".join([*secrets, r"sk-ant-[\w-]*"]), MASK, text, flags=re.IGNORECASE)
    text = re.sub(r"\S+", lambda word: MASK if "@" in word[0] else word[0], text)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."

"""Makes external text safe for messages, log lines and reports."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
"""The replacement for a key or an e-mail address."""
LONGEST_NAME = 80
"""Maximum number of characters of a name."""
MOST_NAMES = 5
"""Maximum number of listed names. Others are only counted."""


def visible(text: object) -> str:
    """
    Return text with what does not print (line breaks, escape sequences, direction marks) as escape sequences of Python.

    Such characters can forge log lines, are illegal in SVG, or make one name look like another.

    :param text: any text; blank text becomes ``(empty)``.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return shown if shown.strip() else "(empty)"


def quoted(text: object, length: int = LONGEST_NAME, secret: str = "") -> str:
    """
    Return text from outside as one short, readable line.

    Keys of Anthropic and e-mail addresses are masked, and what does not print is made visible.

    :param text: text from outside.
    :param length: maximum length of the result.
    :param secret: a secret to mask as well, also in upper or lower case and percent-encoded. Text of more than 4,096
        characters is not a key.
    """
    secrets = [re.escape(form) for form in {secret, quote(secret), quote(secret, safe="")} if form]
    # A secret that starts before the cut is masked completely.
    text = str(text)[: length + 2 * 4096]
    text = re.sub("|".join([*secrets, r"sk-ant-[\w-]*"]), MASK, text, flags=re.IGNORECASE)
    # Matches start where a word starts. Otherwise, a word of 10,000 letters would take a second.
    text = re.sub(r"(?<!\S)\S*(@|%40|\N{FULLWIDTH COMMERCIAL AT})\S*", MASK, text)
    shown = visible(text)
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def first_names(names: Iterable[str]) -> list[str]:
    """Return the first names in their order, as many as are listed, each as it may be quoted."""
    return [quoted(name) for name in sorted(names, key=fields_first)[:MOST_NAMES]]


def fields_first(name: str) -> tuple[bool, str]:
    """Sort paths of fields of the API, such as ``data[].role``, before other names."""
    return "[]" not in name, name

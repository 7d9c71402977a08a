"""Text from outside, made fit for a message, a log line or a report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
"""What is shown in the place of a key or an e-mail address."""
LONGEST_NAME = 80
"""Characters that are shown of a name."""
MOST_NAMES = 5
"""Names that are listed; of more only the number is told."""


def visible(text: object) -> str:
    """
    Return text with what does not print (line breaks, escape sequences, direction marks) as escape sequences of Python.

    Such characters forge log lines, are illegal in SVG, or let one name pass for another.

    :param text: any text; one of blanks is called ``(empty)``.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return shown if shown.strip() else "(empty)"


def quoted(text: object, length: int = LONGEST_NAME, secret: str = "") -> str:
    """
    Return text from outside as one short, readable line.

    Keys of Anthropic and e-mail addresses are masked, and what does not print is made visible.

    :param text: what somebody else has written.
    :param length: how many characters are returned at most.
    :param secret: is masked too, in upper and lower case and percent-encoded; what is longer than 4,096 characters is
        no key.
    """
    secrets = [re.escape(form) for form in {secret, quote(secret), quote(secret, safe="")} if form]
    # A secret that begins before the cut is masked whole.
    text = str(text)[: length + 2 * 4096]
    text = re.sub("|".join([*secrets, r"sk-ant-[\w-]*"]), MASK, text, flags=re.IGNORECASE)
    text = re.sub(r"\S*(@|%40|\N{FULLWIDTH COMMERCIAL AT})\S*", MASK, text)
    shown = visible(text)
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def first_names(names: Iterable[str]) -> list[str]:
    """Return the first names in their order, as many as are listed, each as it may be quoted."""
    return [quoted(name) for name in sorted(names)[:MOST_NAMES]]

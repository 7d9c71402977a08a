"""Text from outside in log lines, errors and reports: visible, of a bounded length, and not too much of it."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_NAME = 80
"""Characters that are shown of a name."""
MOST_NAMES = 5
"""Names that are listed; of more only the number is told."""


def visible(name: object) -> str:
    """
    Return a name with what cannot be seen spelled out, as in ``\\u202e``.

    Such characters forge log lines, are illegal in SVG, or let one name pass for another.

    :param name: any text; an empty one is called ``(empty)``.
    """
    text = "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}"  # a newline, a zero-width space
        for character in str(name)
    )
    return text if text.strip() else "(empty)"


def quotable(text: object, longest: int = LONGEST_NAME) -> str:
    """
    Return text from outside as a log line or an error may quote it: visible, on one line, and cut.

    :param text: any text.
    :param longest: how many characters of it are shown.
    """
    # Cut first as well, since it may be megabytes long.
    shown = visible(str(text)[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def first_names(names: Iterable[str]) -> list[str]:
    """Return the first names in their order, as many as are listed, each as it may be quoted."""
    return [quotable(name) for name in sorted(names)[:MOST_NAMES]]

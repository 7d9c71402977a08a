"""Compares identifiers of actors: one rule for pseudonyms, for queries on files and for queries in BigQuery."""

from __future__ import annotations

import re
import string

ADDRESS_BLANKS = " \t\n\v\f\r\N{NO-BREAK SPACE}"
"""The characters that are trimmed from an address."""

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_PSEUDONYM = re.compile(r"[0-9a-fA-F]{64}")
_TO_LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def comparable_id(actor_type: str, actor_id: str) -> str:
    """
    Return an identifier in the form in which it is compared.

    Addresses (``user_actor``) are compared without blanks around them and with A to Z in lower case. Other letters stay
    as they are, since Python, DuckDB and BigQuery change their case in different ways. Names of API keys are free text
    and compared exactly, and so are the identifiers of types that the API adds later.

    :param actor_type: the actor's type.
    :param actor_id: its identifier.
    """
    if actor_type != "user_actor":
        return actor_id
    return actor_id.strip(ADDRESS_BLANKS).translate(_TO_LOWER_CASE)


def is_address(text: str) -> bool:
    """Return whether a text is an e-mail address, ignoring surrounding blanks."""
    address = text.strip(ADDRESS_BLANKS)
    return bool(_ADDRESS.fullmatch(address) and address.isprintable())


def is_pseudonym(text: str) -> bool:
    """Return whether a text looks like a pseudonym (64 hex digits), ignoring surrounding blanks."""
    return bool(_PSEUDONYM.fullmatch(text.strip(ADDRESS_BLANKS)))

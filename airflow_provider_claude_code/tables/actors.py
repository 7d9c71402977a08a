"""Which identifiers are the same actor's: one rule for pseudonyms, for queries on files and for those in BigQuery."""

from __future__ import annotations

import string

ADDRESS_BLANKS = " \t\n\v\f\r\N{NO-BREAK SPACE}"
"""What is left out around an address."""

_TO_LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def comparable_id(actor_type: str, actor_id: str) -> str:
    """
    Return an identifier as it is compared with others of its type.

    Addresses (``user_actor``) are compared without blanks around them and with A to Z in lower case. Other letters stay
    as they are, since Python, DuckDB and BigQuery change their case in different ways. Names of API keys are free text
    and compared exactly, and so are the identifiers of types that the API adds later.

    :param actor_type: the actor's type.
    :param actor_id: its identifier.
    """
    if actor_type != "user_actor":
        return actor_id
    return actor_id.strip(ADDRESS_BLANKS).translate(_TO_LOWER_CASE)

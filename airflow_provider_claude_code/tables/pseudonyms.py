"""Pseudonyms for actors. A person has the same pseudonym on every day, in every table and on every machine."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.tables.actors import comparable_id

SHORTEST_SECRET = 16


class Pseudonyms:
    """
    HMAC-SHA-256 over the actor's type and its identifier, addresses trimmed and in lower case.

    :param secret: the Connection's ``pseudonym_secret``, at least 16 characters. Whoever has it can test
        whether a pseudonym belongs to a given address.
    :raises ClaudeCodeConfigurationError: there is no secret, or one that could be guessed or was pasted with blanks.
    """

    def __init__(self, secret: str | None) -> None:
        if not secret:
            raise ClaudeCodeConfigurationError(
                'actor_identity="hmac" needs pseudonym_secret in the extra of the Connection.'
            )
        if len(secret) < SHORTEST_SECRET:
            raise ClaudeCodeConfigurationError(
                f"The pseudonym secret is too short to protect anybody: use at least "
                f"{SHORTEST_SECRET} random characters."
            )
        if secret != secret.strip():
            # Whoever enters it without them elsewhere would get other pseudonyms.
            raise ClaudeCodeConfigurationError(
                "The pseudonym secret starts or ends with blanks or a line break; paste it again."
            )
        self._hmac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
        self.key_id = self._digest(b"pseudonym_key_id")[:16]

    def __call__(self, actor_type: str, actor_id: str | None) -> str | None:
        """Return the pseudonym, 64 hex digits; an unknown actor (``None``) stays unknown."""
        if actor_id is None:
            return None
        return self._digest(msgspec.json.encode([actor_type, comparable_id(actor_type, actor_id)]))

    def _digest(self, message: bytes) -> str:
        keyed = self._hmac.copy()
        keyed.update(message)
        return keyed.hexdigest()

"""Keeps the ids of people out of httpx's log lines."""

from __future__ import annotations

import logging

import httpx


class _WithoutIds(logging.Filter):
    """Replaces the id in ``after_id``, which is the id of a person in the list of members."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it through."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_id, record.args))
        return True


_WITHOUT_IDS = _WithoutIds()


def leave_ids_out_of_the_log() -> None:
    """Keep ids out of the URLs that httpx logs. Calling it again changes nothing."""
    logging.getLogger("httpx").addFilter(_WITHOUT_IDS)


def _without_id(argument: object) -> object:
    if isinstance(argument, httpx.URL) and "after_id" in argument.params:
        return argument.copy_set_param("after_id", "...")
    return argument

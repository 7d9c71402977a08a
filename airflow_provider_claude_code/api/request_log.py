"""Keeps what answers contain out of httpx's log lines."""

from __future__ import annotations

import logging

import httpx


class _WithoutCursors(logging.Filter):
    """Replaces cursors: in the list of members they are ids of people, and others may contain anything."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it through."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_cursor, record.args))
        return True


_WITHOUT_CURSORS = _WithoutCursors()


def leave_cursors_out_of_the_log() -> None:
    """Keep cursors out of the URLs that httpx logs. Calling it again changes nothing."""
    logging.getLogger("httpx").addFilter(_WITHOUT_CURSORS)


def _without_cursor(argument: object) -> object:
    if not isinstance(argument, httpx.URL):
        return argument
    return argument.copy_merge_params({name: "..." for name in ("after_id", "page") if name in argument.params})

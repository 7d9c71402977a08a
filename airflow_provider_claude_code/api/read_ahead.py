"""Fetching the next item while this one is worked on."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """
    Yield ``items`` in order, while a thread already fetches the next one.

    At most three items exist at a time: the one in use, one that waits, and one that is being fetched. When
    the consumer stops early, the thread ends after the fetch it is in; being a daemon, it never keeps a
    process from exiting.

    :raises BaseException: whatever ``items`` raises, after the items before it.
    """
    handover: queue.Queue[T | _End] = queue.Queue(maxsize=1)
    abandoned = threading.Event()

    def fetch() -> None:
        try:
            for item in items:
                handover.put(item)
                if abandoned.is_set():
                    return
        except BaseException as error:
            handover.put(_End(error))
        else:
            handover.put(_End(None))

    # The log context (Dag, task, try) belongs to the fetches as well.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(fetch,), name="claude-code-read-ahead", daemon=True).start()
    try:
        while not isinstance(item := handover.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        # Makes room for a put that may be waiting.
        while not handover.empty():
            handover.get_nowait()


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error

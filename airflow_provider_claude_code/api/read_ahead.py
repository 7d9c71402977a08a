"""Prefetching: fetch the next page of a list, or the next items of a queue, while the current one is processed."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """
    Yield ``items`` in order, while a thread already fetches the next one.

    At most three items exist at a time: the one in use, one that waits, and one that is being fetched. When the
    consumer stops early, the thread ends after the current fetch. As a daemon, it never keeps a process from exiting.

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
        # Makes room for a put() that may be waiting.
        while not handover.empty():
            handover.get_nowait()


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def work_ahead(function: Callable[[T], R], items: Iterable[T], threads: int) -> Generator[R, None, None]:
    """
    Yield the results of a function in the order of its items, while threads work on those that follow.

    In addition to the result in use, at most one item per thread is begun. The items themselves are taken in the
    consumer's thread. When the consumer stops early, the threads end after their current items. As daemons, they never
    keep a process from exiting.

    :param function: called with each item, in one of the threads.
    :param items: what to call it with.
    :param threads: how many items are worked on at a time; with one, the caller's thread does it.
    :raises BaseException: whatever the function raises for an item, after the results before it.
    """
    if threads == 1:
        yield from map(function, items)
        return
    queued: queue.SimpleQueue[tuple[T, Future[R]] | None] = queue.SimpleQueue()
    begun: deque[Future[R]] = deque()
    abandoned = threading.Event()

    def work() -> None:
        while (task := queued.get()) is not None and not abandoned.is_set():
            item, future = task
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)

    for number in range(threads):
        # The log context (Dag, task, try) belongs to each of them.
        arguments: dict[str, Any] = {"target": contextvars.copy_context().run, "args": (work,), "daemon": True}
        threading.Thread(name=f"claude-code-work-ahead-{number}", **arguments).start()
    try:
        for item in items:
            begun.append(Future())
            queued.put((item, begun[-1]))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        abandoned.set()
        for _ in range(threads):
            queued.put(None)

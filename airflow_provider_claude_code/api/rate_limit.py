"""Limits how many requests a task sends in a minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW = 60.0
"""Length of the window in which requests are counted, in seconds."""


class RateLimit:
    """
    Limits the number of requests that begin within any minute, in all threads together.

    The first requests of a task do not wait. A server that counts in shorter intervals answers 429, and :meth:`pause`
    makes all threads wait then.

    :param requests_per_minute: at least 1.
    :param clock: a monotonic clock in seconds.
    :param sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        requests_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._begun: deque[float] = deque(maxlen=requests_per_minute)
        self._clock = clock
        self._sleep = sleep
        self._held_until = float("-inf")
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may begin, and count it."""
        while (seconds := self._begin()) > 0:
            self._sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Stop the requests of all threads for some seconds, and return when the next one may begin."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)
        self.wait()

    def _begin(self) -> float:
        """Count a request and return 0 if it may begin now; otherwise return the seconds to wait."""
        with self._lock:
            now = self._clock()
            allowed = self._held_until
            if len(self._begun) == self._begun.maxlen:
                allowed = max(allowed, self._begun[0] + WINDOW)
            if now >= allowed:
                self._begun.append(now)
                return 0.0
            return allowed - now

"""What the sandbox can do wrong on purpose."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faults:
    """
    Faults of the report endpoint; the default has none.

    ``rate``, ``page`` and ``times`` choose the requests that are hit by all the others but ``latency``.

    :param status: answer this HTTP error status, 400 to 599, in place of the page
    :param rate: share of the requests that is hit, 0 to 1; which ones follows from the organisation's seed
    :param page: hit only the n-th page of a walk through a day, counted from 1
    :param times: stop after so many hits
    :param error_code: ``error.details.error_code`` that goes with ``status``
    :param retry_after: value of the ``retry-after`` header that goes with ``status``, sent as it is
    :param latency: seconds before every answer, hit or not
    :param truncate: declare the whole ``content-length``, send half of the page and drop the connection
    :param drip: seconds before each byte of the page
    :param endless: the page is empty, and leads to another one
    :param repeat_cursor: ``next_page`` is the cursor that was just used, and ``has_more`` stays true
    :param wrong_day: the first record of the page bears the day before
    :param html: answer a proxy's HTML page, with ``status`` or else 200
    :raises ValueError: a value is out of its range, or two faults exclude each other
    """

    status: int | None = None
    rate: float = 1.0
    page: int | None = None
    times: int | None = None
    error_code: str | None = None
    retry_after: str | None = None
    latency: float = 0.0
    truncate: bool = False
    drip: float = 0.0
    endless: bool = False
    repeat_cursor: bool = False
    wrong_day: bool = False
    html: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError(f"status must be 400 to 599, not {self.status}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be 0 to 1, not {self.rate}")
        for name, value in (("page", self.page), ("times", self.times)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        for name, seconds in (("latency", self.latency), ("drip", self.drip)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name} must be 0 or more seconds, not {seconds}")
        for name, text in (("retry_after", self.retry_after), ("error_code", self.error_code)):
            if text is not None and self.status is None:
                raise ValueError(f"{name} needs a status to go with")
        if self.retry_after is not None and not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise ValueError("retry_after must be printable ASCII, as it becomes a header")
        spoiled = self.truncate or self.drip or self.endless or self.repeat_cursor or self.wrong_day
        if (self.status or self.html) and spoiled:
            raise ValueError(
                "status and html replace the page that truncate, drip, endless, repeat_cursor and wrong_day spoil"
            )


class FaultCounter:
    """Chooses the requests that `Faults` hit: the same ones in the same sequence of requests."""

    def __init__(self, faults: Faults, seed: int) -> None:
        """
        Start to count.

        :param faults: the faults
        :param seed: what the choice by ``rate`` follows from
        """
        self.faults = faults
        self._rng = random.Random(seed)
        self._hits = 0

    def hits(self, page: int) -> bool:
        """
        Count a request, and say whether it is hit.

        :param page: number of the page in its walk, from 1
        """
        if self.faults.page not in (None, page) or self._hits == self.faults.times:
            return False
        if self._rng.random() >= self.faults.rate:
            return False
        self._hits += 1
        return True

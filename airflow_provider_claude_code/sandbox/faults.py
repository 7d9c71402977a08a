"""The faults that the sandbox simulates."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faults:
    """
    Faults of reports and lists that the sandbox simulates. By default there are none.

    ``rate``, ``page`` and ``times`` choose which requests fail; otherwise all of them do. ``latency`` applies to all.
    ``endless``, ``repeat_cursor`` and ``wrong_day`` affect only reports. A request for the key's organisation
    (``/v1/organizations/me``) never fails.

    :param status: answer with this HTTP error status, 400 to 599
    :param rate: share of the requests that fail, 0 to 1; the seed of the organisation decides which ones
    :param page: fail only on this page of a day or list, counted from 1
    :param times: fail only this many times
    :param error_code: value of ``error.details.error_code`` in the error; needs ``status``
    :param retry_after: value of the ``retry-after`` header of the error, sent as it is; needs ``status``
    :param latency: seconds to wait before every answer
    :param truncate: declare the whole ``content-length``, send half of the page, then drop the connection
    :param drip: seconds to wait before each byte of the page
    :param endless: answer with empty pages that never end
    :param repeat_cursor: answer with the cursor of the request again, so that the day never ends
    :param wrong_day: give the first record of the page the date of the day before
    :param html: answer with a proxy's HTML page instead, with ``status`` or 200
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
                raise ValueError(f"{name} needs status")
        if self.retry_after is not None and not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise ValueError("retry_after must be printable ASCII, as it becomes a header")
        spoiled = self.truncate or self.drip or self.endless or self.repeat_cursor or self.wrong_day
        if (self.status or self.html) and spoiled:
            raise ValueError(
                "status and html cannot be combined with truncate, drip, endless, repeat_cursor or wrong_day"
            )


class FaultCounter:
    """Chooses the requests that fail: always the same ones in the same sequence of requests."""

    def __init__(self, faults: Faults, seed: int) -> None:
        """
        Begin to count.

        :param faults: the faults
        :param seed: seed for ``rate``
        """
        self.faults = faults
        self._rng = random.Random(seed)
        self._hits = 0

    def faults_of(self, page: int) -> Faults:
        """
        Count a request, and return its faults: all of them if it fails, otherwise none.

        :param page: number of the page in its list, from 1
        """
        if self.faults.page not in (None, page) or self._hits == self.faults.times:
            return Faults()
        if self._rng.random() >= self.faults.rate:
            return Faults()
        self._hits += 1
        return self.faults

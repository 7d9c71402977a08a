"""What goes wrong: rules that a test sets on the server while it runs."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    A rule that hits some of the calls or jobs that it matches.

    :param nth: the first hit is on the n-th match since the rule was set, counted from 1
    :param times: hits in a row from there on; None for all that follow
    """

    nth: int = 1
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobFault(Fault):
    """
    A rule for jobs.

    :param table: hit only jobs that write to this table: ``usage`` is any day of it, ``usage$20250908`` that day alone
    :param job_id: hit only the job of this id
    """

    table: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlowJob(JobFault):
    """
    The job stays RUNNING, and does its work after that.

    :param release: the job goes on when this is set
    :param seconds: the job goes on after so long, if not released before
    :param cancellable: False for a job that ends as if nobody had asked: cancelling is a best effort
    """

    release: threading.Event | None = None
    seconds: float | None = None
    cancellable: bool = True


@dataclass(frozen=True, kw_only=True)
class FailingJob(JobFault):
    """
    The job ends with an error, and changes nothing.

    :param reason: of its ``errorResult``
    :param message: of its ``errorResult``
    """

    reason: str = "invalid"
    message: str = "The server was told to fail this job"


@dataclass(frozen=True, kw_only=True)
class DroppedConnection(JobFault):
    """The job is accepted, and runs, but the connection closes without a byte of an answer."""


@dataclass(frozen=True, kw_only=True)
class HttpError(Fault):
    """
    The call is answered with an error, and does nothing.

    :param method: hit only calls of this API method, as ``jobs.insert`` or ``tables.get``
    :param path: hit only calls whose path contains this
    :param status: HTTP status
    :param reason: the service's word for it, as ``backendError``, ``rateLimitExceeded``, ``quotaExceeded``
    """

    method: str | None = None
    path: str = ""
    status: int = 503
    reason: str = "backendError"


AnyFault = TypeVar("AnyFault", bound=Fault)
AnyJobFault = TypeVar("AnyJobFault", bound=JobFault)


class FaultCounter:
    """
    The rules that count now, and what each has matched.

    :param faults: the rules
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self._matches = [itertools.count(1) for _ in self.faults]

    def call(self, method: str, path: str) -> HttpError | None:
        """Count a call, and find the rule that hits it."""
        return self._hit(HttpError, lambda fault: fault.method in (None, method) and fault.path in path)

    def job(self, kind: type[AnyJobFault], job_id: str, table: str) -> AnyJobFault | None:
        """Count a job for the rules of one kind, and find the one that hits it."""

        tables = (None, table, table.partition("$")[0])
        return self._hit(kind, lambda fault: fault.job_id in (None, job_id) and fault.table in tables)

    def _hit(self, kind: type[AnyFault], matches: Callable[[AnyFault], bool]) -> AnyFault | None:
        # Every rule counts its own matches, also those that another rule hits.
        hits = []
        for fault, count in zip(self.faults, self._matches, strict=True):
            if isinstance(fault, kind) and matches(fault):
                number = next(count)
                if number >= fault.nth and (fault.times is None or number < fault.nth + fault.times):
                    hits.append(fault)
        return hits[0] if hits else None

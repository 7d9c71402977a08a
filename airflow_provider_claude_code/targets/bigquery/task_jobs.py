"""The jobs of a task in BigQuery: their ids, their start, and their results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from google.api_core.exceptions import Conflict, NotFound, ServiceUnavailable
from google.cloud import bigquery
from google.cloud.bigquery import DEFAULT_RETRY

from airflow_provider_claude_code.exceptions import ClaudeCodePublishError, SupersededError
from airflow_provider_claude_code.targets.bigquery.errors import meaning_of

log = logging.getLogger(__name__)

Job = bigquery.LoadJob | bigquery.QueryJob

START_DEADLINE = 300.0
"""Seconds for retries of the request that starts a job."""


class TaskJobs:
    """
    The jobs of a task in a run, of all its tries.

    Their ids tell a later try of the task which jobs there are, since listing jobs takes another role. An id is
    ``PREFIX_BATCH_NUMBER_INDEX``: the batch is what the jobs replace together, as a day; the number counts how often
    the task has started it; and the index counts its jobs.

    :param client: the client of the Google Cloud Connection, for the jobs' project.
    :param prefix: begins the ids of all jobs.
    :param labels: labels of the jobs.
    :param kms_key_name: the key that encrypts what they write, else Google's.
    :ivar location: where they run; the client's, until the dataset's is known.
    """

    def __init__(
        self, client: bigquery.Client, prefix: str, labels: Mapping[str, str], kms_key_name: str | None
    ) -> None:
        self._client = client
        self._prefix = prefix
        self.labels = dict(labels)
        self._kms_key_name = kms_key_name
        # Those that this object has started, and not seen end.
        self._started: dict[str, Job] = {}
        self.location: str = client.location

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs, without waiting."""
        for job_id in job_ids:
            self._client.cancel_job(job_id, location=self.location)

    def cancel_started(self) -> None:
        """
        Cancel the jobs that this object has started, without waiting.

        Not those that are known to have ended: the process that a task runs in is killed if this takes long.
        """
        for job in list(self._started.values()):
            job.cancel()

    def _ids(self, batch: str, number: int, names: Iterable[str]) -> dict[str, str]:
        """Return the ids of the jobs of a batch by name."""
        return {name: self._id(batch, number, index) for index, name in enumerate(names)}

    def _cancel_earlier(self, batch: str) -> int:
        """
        Cancel the jobs of a batch by this task that still run, and wait until they have ended.

        None of them can then replace anything after a job that is started now. They may be of an earlier try, or of a
        run that was deleted and made again.

        :return: the first number that no jobs have, since an id cannot be used again even when its job failed.
        """
        number = 1
        while self._cancel_jobs_of(batch, number):
            number += 1
        return number

    def _cancel_jobs_of(self, batch: str, number: int) -> int:
        """Cancel the jobs of a number that still run, and return how many jobs it has."""
        index = 0
        while (job := self._find(self._id(batch, number, index))) is not None:
            index += 1
            if job.state != "DONE":
                log.warning("Cancelling %s, which an earlier try left running", job.job_id)
                job.cancel()
                self._wait_for(job)
        return index

    def _start(self, job_id: str, label: tuple[str, str], start: Callable[[], Job]) -> Job:
        """
        Start a job exactly once, even if the request is sent several times.

        :param job_id: its id.
        :param label: a label that it has, and no job of another try.
        :param start: sends the request.
        :raises SupersededError: another try has started the job.
        """

        def start_or_find() -> Job:
            try:
                return start()
            except Conflict:
                job = self._find(job_id)
                if job is None:
                    # BigQuery may refuse an id as taken before it finds the job (googleapis/python-bigquery#2134).
                    later = ServiceUnavailable(f"{job_id} is not found yet")  # type: ignore[no-untyped-call]
                    raise later from None
                if job.labels.get(label[0]) != label[1]:
                    raise SupersededError(f"another try of this task has started {job_id}") from None
                # Our own job, whose answer was lost.
                return job

        # The client's own policy: 5xx, lost connections and rateLimitExceeded, but not quotaExceeded.
        job: Job = DEFAULT_RETRY.with_timeout(START_DEADLINE)(start_or_find)()
        self._started[job_id] = job
        return job

    def _wait_for(self, job: Job) -> None:
        """Wait until a job has ended, successfully or not."""
        job.exception()  # type: ignore[no-untyped-call]
        self._started.pop(job.job_id, None)

    def _wait(
        self, job_ids: Mapping[str, str], places: Mapping[str, str], *, doing: str, outcomes: tuple[str, str]
    ) -> dict[str, Job]:
        """
        Wait until jobs have ended.

        :param job_ids: the jobs by name.
        :param places: by name, what each replaces, for the message.
        :param doing: what they do, for the message.
        :param outcomes: what to call those that succeeded and those that failed, for the message.
        :return: the jobs by name.
        :raises ClaudeCodePublishError: a job failed; the message says which, and which did not.
        """
        jobs = {}
        for name, job_id in job_ids.items():
            try:
                jobs[name] = self._get(job_id)
                self._wait_for(jobs[name])
            except NotFound:
                # Not a matter of permissions: a new job may come through.
                raise ClaudeCodePublishError(
                    f"{doing} failed: BigQuery does not know the job {job_id} any more, which replaces "
                    f"{places[name]}. A retry replaces all of them again."
                ) from None
        reasons = {name: job.error_result.get("reason") for name, job in jobs.items() if job.error_result}
        if not reasons:
            return jobs
        meanings = list(map(meaning_of, reasons.values()))
        retryable = all(error_class.retryable for error_class, _ in meanings)
        succeeded, failed = outcomes
        error = ClaudeCodePublishError(
            f"{doing} failed: "
            + "; ".join(f"{places[name]} ({job_ids[name]}): {reason}" for name, reason in reasons.items())
            + f". {succeeded}: {', '.join(name for name in job_ids if name not in reasons) or 'none'}; {failed}: "
            f"{', '.join(reasons)}. {' '.join(dict.fromkeys(advice for _, advice in meanings))} The job's page says "
            f"more.{' A retry replaces all of them again.' if retryable else ''}"
        )
        error.retryable = retryable
        raise error

    def _id(self, batch: str, number: int, index: int) -> str:
        return f"{self._prefix}_{batch}_{number}_{index}"

    def _find(self, job_id: str) -> Job | None:
        try:
            return self._get(job_id)
        except NotFound:
            return None

    def _get(self, job_id: str) -> Job:
        return cast(Job, self._client.get_job(job_id, location=self.location))

"""The trigger that waits for jobs in BigQuery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from google.cloud.bigquery import Client


class ClaudeCodeBigQueryJobsTrigger(BaseTrigger):
    """
    Fires once all jobs have ended, successfully or not. The operator then reads their results.

    :param job_ids: the jobs.
    :param project_id: the project in which they run.
    :param location: where they run.
    :param gcp_conn_id: the Google Cloud Connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: seconds between two polls.
    :param deadline: when jobs that still run are cancelled, in seconds since 1970; default: never.
    :param resume: the state of the operator as JSON, which the event returns to it.
    """

    def __init__(
        self,
        job_ids: list[str],
        project_id: str,
        location: str,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 4.0,
        deadline: float | None = None,
        resume: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = job_ids
        self.project_id = project_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.resume = resume

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the trigger's import path and arguments; no secret is among them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_ids": self.job_ids,
                "project_id": self.project_id,
                "location": self.location,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "resume": self.resume,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, then yield one event.

        Its ``status`` is ``success``; ``timeout`` when jobs were cancelled; or ``error`` with a ``message``, when the
        jobs could not be polled.
        """
        try:
            outcome = {"status": "success" if await self._wait(await self._client()) else "timeout"}
        except Exception as error:
            message = f"The triggerer could not poll the BigQuery jobs ({type(error).__name__})."
            outcome = {"status": "error", "message": message}
        yield TriggerEvent(outcome | {"resume": self.resume})  # type: ignore[no-untyped-call]

    async def _wait(self, client: Client) -> bool:
        """Return whether all jobs have ended, or cancel them at the deadline."""
        # Jobs take seconds, and Airflow fails a task that resumes before Airflow has noticed that the worker ended.
        await asyncio.sleep(self.poll_interval)
        for job_id in self.job_ids:
            while (await asyncio.to_thread(client.get_job, job_id, location=self.location)).state != "DONE":
                if self.deadline is not None and time.time() >= self.deadline:
                    await self._cancel(client)
                    return False
                await asyncio.sleep(self.poll_interval)
        return True

    async def on_kill(self) -> None:
        """
        Cancel the jobs when somebody ends the deferred task (Airflow 3.3).

        Not when the trigger is cancelled: every restart of a triggerer does that.
        """
        await self._cancel(await self._client())

    async def _cancel(self, client: Client) -> None:
        for job_id in self.job_ids:
            await asyncio.to_thread(client.cancel_job, job_id, location=self.location)

    async def _client(self) -> Client:
        """Return a client. Its calls block, so run them in threads."""
        # In asgiref's thread, the only thread in which all versions of Airflow's triggerer return Connections.
        return await sync_to_async(self._open_client)()

    def _open_client(self) -> Client:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        from airflow_provider_claude_code.targets.bigquery.clients import open_client

        hook = BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )
        return open_client(hook, self.project_id, self.location)

"""Clients of BigQuery with a time-out for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests.adapters import BaseAdapter

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from google.cloud.bigquery import Client

TIMEOUT = (60.0, 240.0)
"""
Seconds to wait for a connection, and for an answer.

BigQuery itself waits for the result of a query for at most 200 seconds before it answers.
"""


def open_client(hook: BigQueryHook, project_id: str, location: str | None) -> Client:
    """
    Return a client for jobs in a project, whose requests have a time-out. They are retried like other failed requests.

    Most methods of Google's client have none by default, so a task would never end if a connection is lost without
    notice (googleapis/python-bigquery#2310).

    :param hook: the hook of the Google Cloud Connection.
    :param project_id: the project.
    :param location: where the jobs run; default: BigQuery's.
    """
    client = hook.get_client(project_id=project_id, location=location)
    session = client._http
    for prefix, adapter in list(session.adapters.items()):
        session.mount(prefix, _WithTimeout(adapter))
    return client


class _WithTimeout(BaseAdapter):
    """Sends requests through another adapter, with a time-out if they have none."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self._adapter = adapter

    def send(self, request: Any, stream: bool = False, timeout: Any = None, *how: Any, **options: Any) -> Any:
        return self._adapter.send(request, stream, timeout or TIMEOUT, *how, **options)

    def close(self) -> None:
        self._adapter.close()

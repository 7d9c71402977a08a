"""What the errors of BigQuery mean, for requests and jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud.bigquery import DatasetReference

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodePublishError,
)
from airflow_provider_claude_code.storage.errors import shown_cause, store_error

_LATER = (ClaudeCodePublishError, "Try again later.")
_BILLING = (ClaudeCodeConfigurationError, "Enable billing for the project, or raise its limit.")
_NO_DATASET = (
    ClaudeCodeConfigurationError,
    "This dataset does not exist there. Correct its name, project_id or location, or create it. All datasets that a "
    "query uses must be in one location.",
)
_REQUEST = (ClaudeCodeConfigurationError, "A retry of the same request does not help.")

MEANINGS: dict[str, tuple[type[ClaudeCodeError], str]] = {
    "backendError": _LATER,
    "internalError": _LATER,
    "jobBackendError": _LATER,
    "jobInternalError": _LATER,
    "rateLimitExceeded": _LATER,
    "userRateLimitExceeded": _LATER,
    "jobRateLimitExceeded": _LATER,
    "resourceInUse": _LATER,
    "tableUnavailable": _LATER,
    "timeout": _LATER,
    "stopped": (ClaudeCodePublishError, "The job was cancelled. Try again."),
    "quotaExceeded": (ClaudeCodePublishError, "Try again later, or raise the quota."),
    "billingNotEnabled": _BILLING,
    "billingTierLimitExceeded": _BILLING,
    "blocked": (ClaudeCodeConfigurationError, "BigQuery has blocked the project: contact Google Cloud's support."),
    "invalid": _REQUEST,
    "invalidQuery": _REQUEST,
}
"""
The class of an error and the advice, by BigQuery's reason for it.

The reasons are those of https://docs.cloud.google.com/bigquery/docs/error-messages. What to do about ``accessDenied``
and ``notFound`` depends on what is read or written, and about credentials and connections it is the same as for any
other store.
"""

_CONFLICTS = ("due to concurrent update", "Too many DML statements outstanding against table")
"""
Texts of errors about statements that change a table at the same time. Their reasons are also those of wrong queries.

See https://docs.cloud.google.com/bigquery/docs/troubleshoot-queries.
"""


@contextmanager
def typed_bigquery_errors(dataset: DatasetReference, role: str = "BigQuery Data Editor") -> Iterator[None]:
    """
    Convert errors of BigQuery to ours, so that a task retries only errors that a retry can fix.

    :param dataset: the dataset that is read or written.
    :param role: what the account needs on it.
    :raises ClaudeCodeConfigurationError: no retry helps.
    :raises ClaudeCodePublishError: a retry may help.
    """
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        place = f"BigQuery, {dataset.project}.{dataset.dataset_id}"
        rights = f"The Connection's account needs {role} on the dataset and BigQuery Job User on the project."
        meanings = MEANINGS
        if "Not found: Dataset" in str(error):
            meanings = MEANINGS | {"notFound": _NO_DATASET}
        elif any(text in str(error) for text in _CONFLICTS):
            meanings = MEANINGS | dict.fromkeys(("invalidQuery", "resourcesExceeded"), _LATER)
        raise store_error(error, place, rights, meanings=meanings) from shown_cause(error)


def meaning_of(reason: str | None) -> tuple[type[ClaudeCodeError], str]:
    """Return the class of the error and the advice for a job that failed for a reason."""
    return MEANINGS.get(reason or "", _REQUEST)

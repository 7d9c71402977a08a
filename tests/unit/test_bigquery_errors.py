"""What to do about BigQuery's errors is what Google's table of them says."""

from __future__ import annotations

import traceback

import pytest
import requests
from google.api_core.exceptions import from_http_status
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.bigquery import DatasetReference

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.targets.bigquery.errors import typed_bigquery_errors

DATASET = DatasetReference("demo-proj", "usage")


# Statuses and reasons as in https://docs.cloud.google.com/bigquery/docs/error-messages.
@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        (500, "backendError", "Try again later."),
        (503, "backendError", "Try again later."),
        (500, "internalError", "Try again later."),
        (400, "jobBackendError", "Try again later."),
        (400, "jobInternalError", "Try again later."),
        (400, "jobRateLimitExceeded", "Try again later."),
        (403, "rateLimitExceeded", "Try again later."),
        (403, "quotaExceeded", "raise the quota"),
        (400, "resourceInUse", "Try again later."),
        (400, "tableUnavailable", "Try again later."),
        (400, "timeout", "Try again later."),
        (200, "stopped", "was cancelled"),
        (502, "aReasonOfTomorrow", "Try again later."),
    ],
)
def test_what_may_pass_is_tried_again(status: int, reason: str, advice: str) -> None:
    error = from_http_status(status, "no", errors=[{"reason": reason, "message": "said so"}])
    with (
        pytest.raises(ClaudeCodePublishError, match=rf"demo-proj\.usage.*said so \({reason}.*{advice}"),
        typed_bigquery_errors(DATASET),
    ):
        raise error


@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        (403, "accessDenied", "needs BigQuery Data Editor on the dataset"),
        (404, "notFound", "needs BigQuery Data Editor on the dataset"),
        (403, "billingNotEnabled", "Enable billing for the project"),
        (400, "billingTierLimitExceeded", "Enable billing for the project, or raise"),
        (403, "blocked", "contact Google Cloud's support"),
        (400, "invalid", "does not help"),
        (400, "invalidQuery", "does not help"),
        (400, "aReasonOfTomorrow", "does not help"),
    ],
)
def test_what_does_not_pass_is_not(status: int, reason: str, advice: str) -> None:
    error = from_http_status(status, "no", errors=[{"reason": reason, "message": "said so"}])
    with (
        pytest.raises(ClaudeCodeConfigurationError, match=f"said so.*{reason}.*{advice}"),
        typed_bigquery_errors(DATASET),
    ):
        raise error


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("invalidQuery", "Could not serialize access to table demo-proj:usage.loads due to concurrent update"),
        (
            "resourcesExceeded",
            "Resources exceeded during query execution: Too many DML statements outstanding against table "
            "demo-proj:usage.loads, limit is 20.",
        ),
    ],
)
def test_statements_that_meet_others_are_tried_again(reason: str, said: str) -> None:
    error = from_http_status(400, said, errors=[{"reason": reason, "message": said}])
    with pytest.raises(ClaudeCodePublishError, match=r"Try again later\."), typed_bigquery_errors(DATASET):
        raise error


def test_a_dataset_that_does_not_exist_is_named_as_the_cause() -> None:
    said = "Not found: Dataset demo-proj:usage was not found in location EU"
    error = from_http_status(404, said, errors=[{"reason": "notFound", "message": said}])
    with (
        pytest.raises(
            ClaudeCodeConfigurationError, match=r"demo-proj:usage.*This dataset does not exist there\. Correct its name"
        ),
        typed_bigquery_errors(DATASET),
    ):
        raise error


def test_a_key_that_bigquery_may_not_use_is_named_as_the_cause() -> None:
    # BigQuery's text, which is cut before it says what to do.
    said = (
        "Access Denied: BigQuery BigQuery: Cloud KMS Error: Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' "
        "denied on resource 'projects/ci-tf-samples-1/locations/us/keyRings/example-keyring/cryptoKeys/example-key' "
        "(or it may not exist). Please grant Cloud KMS CryptoKey Encrypter/Decrypter role to BigQuery service account: "
        "bq-790120223743@bigquery-encryption.iam.gserviceaccount.com"
    )
    error = from_http_status(403, said, errors=[{"reason": "accessDenied", "message": said}])
    with (
        pytest.raises(
            ClaudeCodeConfigurationError, match=r"cryptoKeys/example-key.*grant the role Cloud KMS CryptoKey"
        ) as caught,
        typed_bigquery_errors(DATASET),
    ):
        raise error
    assert "Data Editor" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RefreshError("revoked"), ClaudeCodeConfigurationError),
        # A metadata server does not answer in the first seconds of a pod.
        (DefaultCredentialsError("none"), ClaudeCodePublishError),
        (TransportError("reset"), ClaudeCodePublishError),
        (requests.ConnectionError("reset"), ClaudeCodePublishError),
    ],
)
def test_only_credentials_that_are_refused_fail_for_good(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected), typed_bigquery_errors(DATASET):
        raise error


@pytest.mark.parametrize(("url", "shown"), [("jobs?uploadType=resumable&upload_id=x", False), ("jobs", True)])
def test_a_cause_is_kept_unless_it_quotes_the_url_of_an_upload(url: str, shown: bool) -> None:
    error = from_http_status(503, f"503 POST https://bigquery.googleapis.com/upload/{url}: no")
    with pytest.raises(ClaudeCodePublishError) as caught, typed_bigquery_errors(DATASET):
        raise error
    assert ("503 POST" in "".join(traceback.format_exception(caught.value))) is shown


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), typed_bigquery_errors(DATASET):
        raise ZeroDivisionError

"""Who says what when a store refuses, and whether a retry helps: one table for all stores."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodePublishError,
)
from airflow_provider_claude_code.quoting import quoted

LONGEST_REASON = 300
"""Characters that are shown of what a store says."""

_BILLING = "Enable billing for the bucket's project."
_REQUESTER_PAYS = "The bucket makes requesters pay, which this provider does not support: choose another bucket."
_KEY = "Enable the encryption key of the bucket or table, and let the service use it."
_VPC = "A perimeter of VPC Service Controls keeps this worker out: let it in, or run the task inside."
_RIGHTS = "Is the place right, and may the account of the Connection, or of the worker, read and write it?"
_CREDENTIALS = "Correct the credentials in the Connection of the store, or those of the worker."
_NO_BUCKET = "Does the bucket exist? Create it, or correct its name."
_BUCKET_NAME = "Correct the bucket's name."

_FOR_GOOD = {
    # Google's reasons: https://docs.cloud.google.com/storage/docs/json_api/v1/status-codes
    "retentionPolicyNotMet": "A retention policy keeps the object: shorten it, or load such days into another bucket.",
    "objectUnderActiveHold": "Release the hold on the object, or load into another bucket.",
    "orgPolicyConstraintFailed": "A policy of the organisation forbids it.",
    "vpcServiceControls": _VPC,
    "accountDisabled": _BILLING,
    "billingDisabled": _BILLING,
    "billingNotEnabled": _BILLING,
    "userProjectAccountProblem": _BILLING,
    "userProjectMissing": _REQUESTER_PAYS,
    "userProjectAccessDenied": _REQUESTER_PAYS,
    "cloudKmsBadKey": _KEY,
    "cloudKmsDisabledKey": _KEY,
    "cloudKmsEncryptionKeyNotFound": _KEY,
    "cloudKmsKeyLocationNotAllowed": _KEY,
    # S3's codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _BUCKET_NAME,
    "PermanentRedirect": "The bucket is in another region: name it in the Connection (region_name).",
    "AuthorizationHeaderMalformed": "The bucket is in another region: name it in the Connection (region_name).",
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "RequestTimeTooSkewed": "Correct the clock of the worker (NTP).",
    "KMS.DisabledException": _KEY,
    "KMS.NotFoundException": _KEY,
    # Classes of errors that name no code.
    "NoCredentialsError": _CREDENTIALS,
    "PartialCredentialsError": _CREDENTIALS,
    "ProfileNotFound": _CREDENTIALS,
    "ParamValidationError": _BUCKET_NAME,
    "DefaultCredentialsError": _CREDENTIALS,
    "RefreshError": _CREDENTIALS,
    "ClientAuthenticationError": _CREDENTIALS,
    "ResourceNotFoundError": _NO_BUCKET,
    # Errors of file systems.
    "EROFS": _RIGHTS,
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "ENOTDIR": "A file is where a folder is to be: choose another path.",
    "EISDIR": "A folder is where a file is to be: choose another path.",
    "ENAMETOOLONG": "Choose a shorter path.",
    "PermissionError": _RIGHTS,
    # Statuses, where nothing above says more.
    "400": "The request itself is refused, so that a retry does not help.",
    "401": _CREDENTIALS,
    "403": _RIGHTS,
    "404": _NO_BUCKET,
}
"""What to do about what a retry does not fix."""

LATER = {
    "rateLimitExceeded": "Try again later.",
    "userRateLimitExceeded": "Try again later.",
    "jobRateLimitExceeded": "Try again later.",
    "quotaExceeded": "Try again later, or raise the quota.",
    "backendError": "Try again later.",
    "internalError": "Try again later.",
    "stopped": "Try again later.",
    "timeout": "Try again later.",
    # S3 sends these with the status 400.
    "RequestTimeout": "Try again later.",
    "BadDigest": "Try again later.",
    "IncompleteBody": "Try again later.",
    "ExpiredToken": "Try again with new credentials: those of the Connection, or of the worker, have expired.",
    "EndpointConnectionError": "Try again later. If that does not help, correct endpoint_url in the Connection.",
    "ENOSPC": "Make space there; a retry then goes on.",
    "EDQUOT": "Make space there; a retry then goes on.",
}
"""What to do about what a retry may fix. Whatever is in neither table is tried again."""

# The text of other errors may hold a whole answer, or the address of an upload, with which anybody could go on with it.
_SPEAK_FOR_THEMSELVES = ("azure.", "botocore.", "builtins", "gcsfs.", "google.auth.")
_LIBRARIES = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "s3fs"}


def is_of_a_store(error: Exception) -> bool:
    """Tell whether an error is one of a file system, or of a library that talks to a store."""
    return isinstance(error, OSError) or any(
        kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(error).__mro__
    )


@contextmanager
def typed_store_errors(
    place: str, rights: str | None = None, later: type[ClaudeCodeError] = ClaudeCodePublishError
) -> Iterator[None]:
    """
    Turn what a store, or a file system, raises into a typed error.

    :param place: what is read or written, for the message.
    :param rights: what an account needs there, and what has to exist, for the advice.
    :param later: the error to raise when a retry may help.
    :raises ClaudeCodeConfigurationError: no retry helps.
    """
    try:
        yield
    except Exception as error:
        if not is_of_a_store(error):
            raise
        raise store_error(error, place, rights, later) from error


def store_error(
    error: Exception, place: str, rights: str | None = None, later: type[ClaudeCodeError] = ClaudeCodePublishError
) -> ClaudeCodeError:
    """
    Return the typed error for what a store said.

    :param error: what its library, or the file system, raised.
    :param place: what was being read or written, for the message.
    :param rights: what an account needs there, and what has to exist, for the advice.
    :param later: the error to return when a retry may help.
    :return: a :class:`ClaudeCodeConfigurationError` where no retry helps, else ``later``.
    """
    codes = list(dict.fromkeys(_codes(error, local=place.startswith("file:"))))
    said = f"{place} could not be read or written: {_words(error)} ({', '.join(codes[:2])})."
    for code in codes:
        if code in LATER:
            break
        if (advice := _FOR_GOOD.get(code)) is not None:
            return ClaudeCodeConfigurationError(f"{said} {rights if rights and code in ('403', '404') else advice}")
    advice = next((LATER[code] for code in codes if code in LATER), "Try again later.")
    return later(f"{said} {advice}")


def _codes(error: Exception, *, local: bool) -> Iterator[str]:
    """Yield what an error calls itself, the most telling first."""
    if "vpcServiceControls" in _words(error):
        yield "vpcServiceControls"
    for detail in _details(error):
        # Google writes some of its reasons with a capital letter, depending on the API.
        if reason := str(detail.get("reason") or ""):
            yield quoted(reason[:1].lower() + reason[1:])
    answer = _answer_of_s3(error)
    if code := answer.get("Error", {}).get("Code"):
        yield quoted(code)
    # A google.auth error says itself whether the same request may succeed later.
    if getattr(error, "retryable", False) or type(error.__cause__).__name__ == "TransportError":
        return
    status = getattr(error, "code", None) or answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    status = status or getattr(getattr(error, "response", error), "status_code", None)
    if isinstance(status, int):
        yield str(int(status))
    if isinstance(error, FileNotFoundError) and not local:
        yield "404"
    if isinstance(error, OSError) and error.errno:
        yield errno.errorcode.get(error.errno, str(error.errno))
    yield from (kind.__name__ for kind in type(error).__mro__ if kind not in (Exception, BaseException, object))


def _details(error: Exception) -> list[dict[str, Any]]:
    """Return the details of a Google API's error; those of an upload are in its response alone."""
    details = getattr(error, "errors", None)
    if not details:
        try:
            details = error.response.json()["error"]["errors"]  # type: ignore[attr-defined]
        except (AttributeError, ValueError, LookupError, TypeError):
            return []
    return [detail for detail in details if isinstance(detail, dict)]


def _answer_of_s3(error: Exception) -> dict[str, Any]:
    """Return what S3 answered; s3fs raises errors of Python for those of botocore."""
    for candidate in (error, error.__cause__):
        answer = getattr(candidate, "response", None)
        if isinstance(answer, dict):
            return answer
    return {}


def _words(error: Exception) -> str:
    """Return what a store says in words, on one line and cut."""
    words = [detail.get("message") for detail in _details(error)]
    words += [_answer_of_s3(error).get("Error", {}).get("Message"), getattr(error, "strerror", None)]
    # An answer to a download is no JSON.
    words.append(getattr(getattr(error, "response", None), "text", None))
    if type(error).__module__.startswith(_SPEAK_FOR_THEMSELVES):
        words.append(str(error))
    return quoted(next((word for word in words if word), type(error).__name__), LONGEST_REASON)

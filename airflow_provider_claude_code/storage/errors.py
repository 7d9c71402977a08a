"""What the errors of all stores mean, and whether a retry helps."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_claude_code.exceptions import (
    ClaudeCodeConfigurationError,
    ClaudeCodeError,
    ClaudeCodePublishError,
)
from airflow_provider_claude_code.quoting import quoted

LONGEST_REASON = 300
"""Maximum length of a store's message in an error."""

_BILLING = "Enable billing for the bucket's project."
_REQUESTER_PAYS = "The bucket makes requesters pay, which this provider does not support: choose another bucket."
_KEY = "Enable the encryption key of the bucket, and let the service use it."
_CLOUD_KEY = (
    "Enable the encryption key, and grant the role Cloud KMS CryptoKey Encrypter/Decrypter on it to the service "
    "account of BigQuery or Cloud Storage."
)
_VPC = "A perimeter of VPC Service Controls refuses this worker: allow it, or run the task inside the perimeter."
_RIGHTS = "Check the name of the place, and that the account of the Connection or of the worker may read and write it."
_CREDENTIALS = "Correct the credentials in the Connection of the store or on the worker."
# The libraries say the same while a metadata server does not answer, as in the first seconds of a pod (botocore#1965,
# google-auth-library-python#604).
_NO_CREDENTIALS = f"{_CREDENTIALS} If a metadata server provides them, it did not answer: try again."
_NO_BUCKET = "Check that the bucket exists: create it, or correct its name."
_BUCKET_NAME = "Correct the bucket's name."

_PERMANENT = {
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
    "cloudKmsDenied": _CLOUD_KEY,
    "cloudKmsBadKey": _CLOUD_KEY,
    "cloudKmsDisabledKey": _CLOUD_KEY,
    "cloudKmsEncryptionKeyNotFound": _CLOUD_KEY,
    "cloudKmsKeyLocationNotAllowed": _CLOUD_KEY,
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
    "PartialCredentialsError": _CREDENTIALS,
    "ProfileNotFound": _CREDENTIALS,
    "ParamValidationError": _BUCKET_NAME,
    "RefreshError": _CREDENTIALS,
    "ClientAuthenticationError": _CREDENTIALS,
    "ResourceNotFoundError": _NO_BUCKET,
    # Errors of file systems.
    "EROFS": _RIGHTS,
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "EEXIST": "Something else is there where a folder is needed: choose another path.",
    "ELOOP": "A symbolic link leads to itself: choose another path.",
    "ENOTDIR": "There is a file where a folder is needed: choose another path.",
    "EISDIR": "There is a folder where a file is needed: choose another path.",
    "ENAMETOOLONG": "Choose a shorter path.",
    "PermissionError": _RIGHTS,
    # Statuses, where nothing above says more.
    "400": "The store refuses the request itself, so a retry does not help.",
    "401": _CREDENTIALS,
    "403": _RIGHTS,
    "404": _NO_BUCKET,
}
"""Advice for errors that a retry does not fix."""

_TRANSIENT = {
    "rateLimitExceeded": "Try again later.",
    "userRateLimitExceeded": "Try again later.",
    "quotaExceeded": "Try again later, or raise the quota.",
    "backendError": "Try again later.",
    "internalError": "Try again later.",
    # S3 sends these with the status 400.
    "RequestTimeout": "Try again later.",
    "BadDigest": "Try again later.",
    "IncompleteBody": "Try again later.",
    "ExpiredToken": "Try again with new credentials: those of the Connection or of the worker have expired.",
    "EndpointConnectionError": "Try again later. If that does not help, correct endpoint_url in the Connection.",
    "NoCredentialsError": _NO_CREDENTIALS,
    "DefaultCredentialsError": _NO_CREDENTIALS,
    "ENOSPC": "Free some space there; a retry then continues.",
    "EDQUOT": "Free some space there; a retry then continues.",
}
"""Advice for errors that a retry may fix. Errors in neither table are retried."""

# Modules of errors whose text can be shown. That of others may contain a whole answer, or the URL of an upload.
_SAFE_MODULES = ("azure.", "botocore.", "builtins", "gcsfs.", "google.auth.")
_LIBRARIES = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "s3fs"}


def _is_of_a_store(error: Exception) -> bool:
    """Return whether an error comes from a file system or from the library of a store."""
    return isinstance(error, OSError) or any(
        kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(error).__mro__
    )


@contextmanager
def typed_store_errors(place: str, later: type[ClaudeCodeError] = ClaudeCodePublishError) -> Iterator[None]:
    """
    Convert errors of a store or a file system to typed errors.

    :param place: the location that is read or written, for the message.
    :param later: the error to raise if a retry may help.
    :raises ClaudeCodeConfigurationError: no retry helps.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_a_store(error):
            raise
        raise store_error(error, place, later=later) from shown_cause(error)


def shown_cause(error: Exception) -> Exception | None:
    """
    Return the error of a store if a log may show it, with those that caused it.

    Google's errors quote the URL of an upload, with which anybody could continue it for a week.
    """
    cause: BaseException | None = error
    while cause is not None:
        if "upload_id=" in str(cause):
            return None
        cause = cause.__cause__ or cause.__context__
    return error


def store_error(
    error: Exception,
    place: str,
    rights: str | None = None,
    later: type[ClaudeCodeError] = ClaudeCodePublishError,
    meanings: Mapping[str, tuple[type[ClaudeCodeError], str]] | None = None,
) -> ClaudeCodeError:
    """
    Return the typed error for an error of a store.

    :param error: the error of its library or of the file system.
    :param place: the location that was read or written, for the message.
    :param rights: the permissions and resources that are needed there, for the advice.
    :param later: the error to return if a retry may help.
    :param meanings: the class of the error and the advice, by the error codes of this store.
    :return: a :class:`ClaudeCodeConfigurationError` if no retry helps, otherwise ``later``.
    """
    codes = list(dict.fromkeys(_codes(error, local=place.startswith("file:"))))
    said = f"{place} could not be read or written: {_message(error)} ({', '.join(codes[:2])})."
    for code in codes:
        if meanings and code in meanings:
            error_class, what_to_do = meanings[code]
            return error_class(f"{said} {what_to_do}")
        if code in _TRANSIENT:
            break
        if (advice := _PERMANENT.get(code)) is not None:
            return ClaudeCodeConfigurationError(f"{said} {rights if rights and code in ('403', '404') else advice}")
    advice = next((_TRANSIENT[code] for code in codes if code in _TRANSIENT), "Try again later.")
    return later(f"{said} {advice}")


def _codes(error: Exception, *, local: bool) -> Iterator[str]:
    """Yield the names and codes of an error, the most specific first."""
    # Google's reason for these is the same as for a missing role.
    message = _message(error)
    if "vpcServiceControls" in message:
        yield "vpcServiceControls"
    if "Cloud KMS" in message and "denied" in message:
        yield "cloudKmsDenied"
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
    """Return the details of a Google API's error. Those of an upload are only in its response."""
    details = getattr(error, "errors", None)
    if not details:
        try:
            details = error.response.json()["error"]["errors"]  # type: ignore[attr-defined]
        except (AttributeError, ValueError, LookupError, TypeError):
            return []
    return [detail for detail in details if isinstance(detail, dict)]


def _answer_of_s3(error: Exception) -> dict[str, Any]:
    """Return the answer of S3. s3fs raises built-in errors instead of those of botocore."""
    for candidate in (error, error.__cause__):
        answer = getattr(candidate, "response", None)
        if isinstance(answer, dict):
            return answer
    return {}


def _message(error: Exception) -> str:
    """Return the message of a store, shortened to one line."""
    messages = [detail.get("message") for detail in _details(error)]
    messages += [_answer_of_s3(error).get("Error", {}).get("Message"), getattr(error, "strerror", None)]
    # The answer to a download is not JSON.
    messages.append(getattr(getattr(error, "response", None), "text", None))
    if type(error).__module__.startswith(_SAFE_MODULES):
        messages.append(str(error))
    return quoted(next((message for message in messages if message), type(error).__name__), LONGEST_REASON)

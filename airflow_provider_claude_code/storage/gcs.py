"""Stores files in Google Cloud Storage, with generation preconditions against concurrent writers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import requests
from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.retry import DEFAULT_RETRY

from airflow_provider_claude_code.exceptions import ClaudeCodePublishError, SupersededError
from airflow_provider_claude_code.storage.errors import shown_cause, store_error

try:
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
except ImportError:  # google-cloud-storage 2, which Airflow 3.0's constraints pin
    from google.resumable_media import DataCorruption, InvalidResponse

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.gcs import GCSHook
    from google.cloud.storage import Blob

CREATE_ONLY = 0
"""The generation that requires that the object does not exist yet."""
_RIGHTS = "Check that the bucket exists, and that the Connection's account has the role Storage Object User on it."
UPLOAD_CHUNK = 8 * 2**20
"""Size of an upload chunk in bytes, a multiple of 256 KiB. The client's default of 100 MiB takes too much memory."""


class GCSStore:
    """
    A bucket. An object is replaced only if it is still the generation that was there when publishing began,
    so that of two writers the later one notices. The crc32c of each object is compared with the file's.

    :param hook: the hook of the Google Cloud Connection.
    :param bucket: name of the bucket.
    :param prefix: prefix of the names of all objects, without surrounding slashes; may be empty.
    """

    def __init__(self, hook: GCSHook, bucket: str, prefix: str) -> None:
        self._client = hook.get_conn()
        self._bucket = self._client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""
        self._generations: dict[str, int] = {}

    @contextmanager
    def exclusive(self, keys: Iterable[str]) -> Iterator[None]:
        """Remember the generations that are about to be replaced."""
        self._generations = {}
        for key in keys:
            with self._typed_errors(key):
                blob = self._bucket.get_blob(self._prefix + key)
            self._generations[key] = CREATE_ONLY if blob is None else blob.generation
        yield

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder."""
        prefix = f"{self._prefix}{folder}/"
        with self._typed_errors(folder):
            return [
                blob.name.removeprefix(prefix)
                for blob in self._client.list_blobs(self._bucket, prefix=prefix, delimiter="/")
            ]

    def read(self, key: str) -> bytes | None:
        """Return an object's content."""
        with self._typed_errors(key):
            try:
                content: bytes = self._blob(key).download_as_bytes()
            except NotFound:
                # The role Storage Object User can list objects, but cannot get the bucket.
                next(iter(self._client.list_blobs(self._bucket, max_results=1)), None)
                return None
        return content

    def sha256(self, key: str) -> str | None:
        """Return the checksum that an object was stored with."""
        with self._typed_errors(key):
            blob = self._bucket.get_blob(self._prefix + key)
        return None if blob is None else (blob.metadata or {}).get("sha256", "")

    def staged(self, files: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Do nothing: an upload cannot be prepared."""
        return nullcontext()

    def write(self, key: str, source: Path) -> None:
        """Upload a finished file over the remembered generation. Other objects must not exist yet."""
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        blob = self._blob(key)
        blob.chunk_size = UPLOAD_CHUNK
        blob.metadata = {"sha256": sha256}
        try:
            with self._typed_errors(key):
                blob.upload_from_filename(
                    str(source),
                    content_type="application/octet-stream",
                    checksum="crc32c",
                    if_generation_match=self._generations.get(key, CREATE_ONLY),
                )
        except PreconditionFailed:
            # After a lost answer, the client tries again and finds its own object.
            if self.sha256(key) != sha256:
                raise SupersededError(f"another writer replaced {self.url(key)}") from None
        else:
            # The client compares checksums after resumable uploads only.
            if blob.crc32c != _crc32c(source):
                # Else a damaged marker or commit record would stand in the way of the retry.
                with self._typed_errors(key), suppress(NotFound, PreconditionFailed):
                    blob.delete(if_generation_match=blob.generation)
                raise ClaudeCodePublishError(f"{self.url(key)} arrived damaged (crc32c); a retry loads it again.")

    def delete(self, key: str) -> None:
        """Delete an object, unless another writer has deleted it."""
        with self._typed_errors(key):
            # google-cloud-storage 2 does not retry by itself.
            self._bucket.delete_blobs([self._blob(key)], on_error=lambda _: None, retry=DEFAULT_RETRY)

    def url(self, key: str) -> str:
        """Return an object's ``gs://`` URL."""
        return f"gs://{self._bucket.name}/{self._prefix}{key}"

    def _blob(self, key: str) -> Blob:
        return self._bucket.blob(self._prefix + key)

    @contextmanager
    def _typed_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except PreconditionFailed:
            raise
        except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, requests.RequestException) as error:
            raise store_error(error, self.url(key), _RIGHTS) from shown_cause(error)


def _crc32c(path: Path) -> str:
    """Return a file's crc32c as the service writes it: base64 of the big-endian bytes."""
    checksum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()

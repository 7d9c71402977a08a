"""Places that keep files by key: what publishing needs of them, and no more."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from airflow.sdk import ObjectStoragePath

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.transfers.locks import lock

LOCAL_SCHEMES = ("file", "local")
"""Schemes of paths in this machine's own directories."""

# Begins the names of files that are being written; readers of data lakes pass over names with a dot.
_TEMPORARY = ".claude-code-tmp-"


class Store(Protocol):
    """Files under one root, named by keys like ``usage/dt=2025-09-01/usage.parquet``."""

    def exclusive(self, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Keep other writers out of what is about to be replaced, as far as the store can."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder; none when there is no such folder."""

    def read(self, key: str) -> bytes | None:
        """Return the content of a small file, or ``None`` when there is no such file."""

    def sha256(self, key: str) -> str | None:
        """Return a file's checksum, 64 hex digits, or ``None`` when there is no such file."""

    def staged(self, files: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Do beforehand whatever can fail about writing these files, as far as the store can."""

    def write(self, key: str, source: Path) -> None:
        """Put a finished local file in the place of what the key held, by one atomic write."""

    def delete(self, key: str) -> None:
        """Delete a file; one that is gone already is no error."""

    def url(self, key: str) -> str:
        """Return where a file is."""


class LocalStore:
    """
    A local directory. Writers of it keep each other out by a lock on the file ``.lock`` in it.

    :param root: its absolute path; it is created when something is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staged: dict[Path, Path] = {}

    @contextmanager
    def exclusive(self, keys: Iterable[str]) -> Iterator[None]:
        """Hold the lock; it is released when the process ends, however it does."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("wb") as file:
            lock(file.fileno(), self._root)
            yield

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        path = self._root / folder
        return [entry.name for entry in path.iterdir() if entry.is_file()] if path.is_dir() else []

    def read(self, key: str) -> bytes | None:
        """Return a file's content."""
        path = self._root / key
        return path.read_bytes() if path.is_file() else None

    def sha256(self, key: str) -> str | None:
        """Return a file's checksum."""
        path = self._root / key
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def staged(self, files: Mapping[str, Path]) -> Iterator[None]:
        """Put files complete and flushed beside their places, so that a full disk does not stop halfway."""
        places = {self._root / key: source for key, source in files.items()}
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True, exist_ok=True)
            # This writer has the lock, so what lies here was left by one that was killed.
            for leftover in folder.glob(f"{_TEMPORARY}*"):
                leftover.unlink()
        try:
            for place, source in places.items():
                self._staged[place] = place.with_name(_TEMPORARY + secrets.token_hex(4))
                with source.open("rb") as reader, self._staged[place].open("xb") as writer:
                    shutil.copyfileobj(reader, writer)
                    writer.flush()
                    os.fsync(writer.fileno())
            yield
        finally:
            for place in self._staged.keys() & places:
                self._staged.pop(place).unlink(missing_ok=True)

    def write(self, key: str, source: Path) -> None:
        """Replace a file, by its staged copy if there is one."""
        place = self._root / key
        with nullcontext() if place in self._staged else self.staged({key: source}):
            self._staged.pop(place).replace(place)
            _sync_directory(place.parent)

    def delete(self, key: str) -> None:
        """Delete a file."""
        (self._root / key).unlink(missing_ok=True)

    def url(self, key: str) -> str:
        """Return a file's ``file://`` URL."""
        return f"file://{self._root / key}"


class ObjectStore:
    """
    A bucket, or whatever else Airflow's ObjectStoragePath reaches.

    Writers cannot keep each other out here; publishing looks again afterwards instead.

    :param root: the path under which all files lie.
    """

    def __init__(self, root: ObjectStoragePath) -> None:
        self._root = root
        self._fs = root.fs

    def exclusive(self, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Do nothing: object stores know no locks."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder."""
        # Listings are cached by some file systems, and another writer may have been here.
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return [entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file"]

    def read(self, key: str) -> bytes | None:
        """Return an object's content."""
        try:
            content: bytes = self._fs.cat_file(self._path(key))
        except FileNotFoundError:
            return None
        return content

    def sha256(self, key: str) -> str | None:
        """Return an object's checksum, by reading it."""
        try:
            with self._fs.open(self._path(key), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def staged(self, files: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Do nothing: an upload cannot be prepared."""
        return nullcontext()

    def write(self, key: str, source: Path) -> None:
        """Upload a finished file; copying into an open remote file would publish half of it on an error."""
        self._fs.put_file(str(source), self._path(key))

    def delete(self, key: str) -> None:
        """Delete an object, unless another writer has."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def url(self, key: str) -> str:
        """Return an object's URL."""
        # Not str(), which puts the Connection's id before the bucket.
        return (self._root / key).as_uri()

    def _path(self, key: str) -> str:
        return str((self._root / key).path)


def storage_path(argument: str, path: str, conn_id: str | None) -> ObjectStoragePath:
    """
    Return the path that an argument names.

    :param argument: the argument's name.
    :param path: an absolute local path, or a URL that Airflow's ``ObjectStoragePath`` knows.
    :param conn_id: the Connection of the object store; default: the store's own.
    :raises ClaudeCodeConfigurationError: it is neither.
    """
    path = str(path)
    url = path if "://" in path else f"file://{path}"
    scheme, _, place = url.partition("://")
    # A relative path would depend on where a worker was started.
    if not place.strip("/") or "\0" in place or (scheme in LOCAL_SCHEMES and not place.startswith("/")):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}; an absolute path or a URL was expected, for example file:///data/claude_code."
        )
    return ObjectStoragePath(url, conn_id=conn_id)


def open_store(root: ObjectStoragePath) -> Store:
    """Return the store whose files lie under a path."""
    return LocalStore(Path(root.path)) if root.protocol in LOCAL_SCHEMES else ObjectStore(root)


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems flush files only.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)

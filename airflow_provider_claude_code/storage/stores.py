"""Places that keep files by key: what publishing needs of them, and no more."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from airflow.sdk import ObjectStoragePath

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.quoting import quoted
from airflow_provider_claude_code.storage.locks import try_lock

log = logging.getLogger(__name__)

LOCAL_SCHEMES = ("file", "local")
"""Schemes of paths in this machine's own directories."""
LOCK_PATIENCE = 300.0
"""Seconds to wait for another process to release a directory, which it holds while it publishes a single day."""
LOCK_POLL_INTERVAL = 0.1
"""Seconds between two tries to lock a directory."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
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
        """
        Hold the lock; it is released when the process ends, however it does.

        :raises ClaudeCodePublishError: another process did not release it within ``LOCK_PATIENCE``.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        # Appending, so that what it says of the present holder stays until this process is the holder.
        with (self._root / ".lock").open("a+b", buffering=0) as file:
            self._wait_for_lock(file)
            with suppress(OSError):  # Without space the lock holds all the same.
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield

    def _wait_for_lock(self, file: BinaryIO) -> None:
        deadline = time.monotonic() + LOCK_PATIENCE
        named = None
        while not try_lock(file.fileno(), self._root):
            file.seek(0)
            holder = quoted(file.read(200).decode(errors="replace") or "another process")
            if time.monotonic() >= deadline:
                raise ClaudeCodePublishError(
                    f"{self._root} has been locked by {holder} for {LOCK_PATIENCE:g} seconds, so nothing was written. "
                    "If that process is stopped or hangs, end it; a retry then goes on."
                )
            if holder != named:
                log.info("Waiting for %s, which is writing to %s", holder, self._root)
                named = holder
            time.sleep(LOCK_POLL_INTERVAL)

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
                with source.open("rb") as reader, _create_like(self._staged[place], place) as writer:
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
    match = _URL.fullmatch(path)
    scheme, place = match.groups() if match else ("file", path)
    # Not every version of the library for paths knows a scheme in capital letters.
    scheme = scheme.lower()
    is_local = scheme in LOCAL_SCHEMES
    # A relative path would depend on where a worker was started.
    # A place in an object store begins with its bucket.
    if not place.strip("/") or not path.isprintable() or is_local != place.startswith("/"):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}; an absolute path or a URL was expected, for example file:///data/claude_code."
        )
    if is_local:
        # What follows two slashes is taken for a host.
        place = "/" + place.lstrip("/")
    elif re.search(r"[?#]|(^|/)\.{1,2}(/|$)", place):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}, but object stores read ?, #, . and .. in a URL in different ways. Choose a path "
            "without them."
        )
    try:
        root = ObjectStoragePath(f"{scheme}://{place}", conn_id=conn_id)
        taken_for = str((root / "x").path)
    except ValueError as error:
        raise ClaudeCodeConfigurationError(f"{argument} is {path!r}, which is not usable: {error}.") from error
    if is_local and taken_for != f"{place.rstrip('/')}/x":
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}, but Airflow takes it for {root.path}. Choose one that does not end with ? or #."
        )
    return root


def open_store(root: ObjectStoragePath) -> Store:
    """
    Return the store whose files lie under a path.

    :raises ClaudeCodeConfigurationError: nothing that is installed reaches it.
    """
    if root.protocol in LOCAL_SCHEMES:
        return LocalStore(Path(root.path))
    try:
        return ObjectStore(root)
    except (ImportError, ValueError) as error:
        raise ClaudeCodeConfigurationError(
            f"Airflow cannot open {root.protocol}:// ({error}). Is the provider for this store installed?"
        ) from error


def _create_like(path: Path, place: Path) -> BinaryIO:
    """Create a file that is to replace another: with its mode, and its group where this process may give it away."""
    try:
        replaced = place.stat()
    except FileNotFoundError:
        return path.open("xb")
    mode = stat.S_IMODE(replaced.st_mode)
    # From the beginning nobody may read more than later.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o600)
    with suppress(PermissionError):
        os.fchown(descriptor, -1, replaced.st_gid)
    os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


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

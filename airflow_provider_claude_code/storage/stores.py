"""Stores that keep files by key, with the operations that publishing needs."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.storage.locks import locked

LOCAL_SCHEMES = ("file", "local")
"""Schemes of paths in this machine's own directories."""
_PACKAGES = {
    "s3": "airflow-provider-claude-code[s3]",
    "gs": "airflow-provider-claude-code[google]",
    "abfs": "apache-airflow-providers-microsoft-azure",
}
"""What to install for the schemes that the documentation names."""
REQUEST_TIMEOUT = 300.0
"""Seconds that a request to Cloud Storage may take, for which gcsfs has no limit by default."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# The beginning of a place as Azure and Spark write it: CONTAINER@ACCOUNT.dfs.core.windows.net.
_CONTAINER_OF_ACCOUNT = re.compile(r"[^/]*@[^/]+\.(dfs|blob)\.core\.")
# Prefix of files that are being written. Readers of data lakes ignore names that begin with a dot.
_TEMPORARY = ".claude-code-tmp-"


def file_system(path: ObjectStoragePath) -> Any:
    """
    Return the file system that a path is in, one of fsspec's.

    For the local one Airflow would import those of all installed providers, which takes seconds and 100 MB.

    :param path: the path.
    """
    if path.protocol in LOCAL_SCHEMES:
        return LocalFileSystem()
    system = path.fs
    if getattr(system, "requests_timeout", REQUEST_TIMEOUT) is None:
        system.requests_timeout = REQUEST_TIMEOUT
    return system


class Store(Protocol):
    """Files under one root, named by keys like ``usage/dt=2025-09-01/usage.parquet``."""

    def exclusive(self, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Keep other writers away from the files to replace, if the store can."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder; empty if the folder does not exist."""

    def read(self, key: str) -> bytes | None:
        """Return the content of a small file, or ``None`` when there is no such file."""

    def sha256(self, key: str) -> str | None:
        """Return a file's checksum, 64 hex digits, or ``None`` when there is no such file."""

    def staged(self, files: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Prepare the writing of files, so that as little as possible can fail later."""

    def write(self, key: str, source: Path) -> None:
        """Replace the file of a key with a finished local file, atomically."""

    def delete(self, key: str) -> None:
        """Delete a file. A missing file is not an error."""

    def url(self, key: str) -> str:
        """Return where a file is."""


class LocalStore:
    """
    A local directory. Writers exclude each other with a lock on the file ``.lock``, which exists while they write.

    :param root: its absolute path; it is created when something is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staged: dict[Path, Path] = {}

    @contextmanager
    def exclusive(self, keys: Iterable[str]) -> Iterator[None]:
        """
        Lock the directory, which is created if it is missing.

        :raises ClaudeCodePublishError: another process holds the lock for too long.
        :raises ClaudeCodeConfigurationError: the directory cannot be created or locked.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            raise ClaudeCodeConfigurationError(
                f"The directory {self._root} cannot be created. Choose another path."
            ) from None
        with locked(self._root):
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
        """Write and flush the files next to their destinations, so that a full disk does not stop half-way."""
        places = {self._root / key: source for key, source in files.items()}
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True, exist_ok=True)
            # This writer has the lock, so an existing file was left by a killed writer.
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
        """Replace a file, with its staged copy if there is one."""
        place = self._root / key
        with nullcontext() if place in self._staged else self.staged({key: source}):
            self._staged[place].replace(place)
            del self._staged[place]
            _sync_directory(place.parent)

    def delete(self, key: str) -> None:
        """Delete a file."""
        (self._root / key).unlink(missing_ok=True)

    def url(self, key: str) -> str:
        """Return a file's ``file://`` URL."""
        return f"file://{self._root / key}"


class ObjectStore:
    """
    A bucket, or any other location that Airflow's ObjectStoragePath supports.

    Writers cannot exclude each other here. Publishing checks again afterwards instead.

    :param root: the path of all files.
    """

    def __init__(self, root: ObjectStoragePath) -> None:
        self._root = root
        self._fs = file_system(root)

    def exclusive(self, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Do nothing: object stores have no locks."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder."""
        # Some file systems cache listings, and another writer may have changed the folder.
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
        """Upload a finished file. Copying into an open remote file would publish a part of it on an error."""
        self._fs.put_file(str(source), self._path(key))

    def delete(self, key: str) -> None:
        """Delete an object, unless another writer has deleted it."""
        with suppress(FileNotFoundError):
            try:
                self._fs.rm_file(self._path(key))
            except NotImplementedError:
                # Azure's file system before 2026. The name is not a pattern.
                self._fs.rm(self._path(key), expand_path=False)

    def url(self, key: str) -> str:
        """Return an object's URL."""
        return url_of(self._root / key)

    def _path(self, key: str) -> str:
        return str((self._root / key).path)


def url_of(path: ObjectStoragePath) -> str:
    """Return a path's URL without the id of the Connection, which str() and, on Airflow 3.0, as_uri() include."""
    url: str = path.as_uri()
    scheme, at_connection, place = url.partition(f"://{path.storage_options.get('conn_id')}@")
    if not at_connection:
        return url
    return f"{scheme}://{place if scheme in LOCAL_SCHEMES else place.lstrip('/')}"


def storage_path(argument: str, path: str, conn_id: str | None) -> ObjectStoragePath:
    """
    Return the path that an argument names.

    :param argument: the argument's name.
    :param path: an absolute local path, or a URL that Airflow's ``ObjectStoragePath`` knows.
    :param conn_id: the Connection of the object store; default: none.
    :raises ClaudeCodeConfigurationError: it is neither.
    """
    path = str(path)
    match = _URL.fullmatch(path)
    scheme, place = match.groups() if match else ("file", path)
    # Some versions of the path library do not support schemes in capital letters.
    scheme = scheme.lower()
    is_local = scheme in LOCAL_SCHEMES
    if ":" in place.partition("/")[0].rpartition("@")[0]:
        # The path is not quoted, and Airflow would log the credentials as the id of an unknown Connection.
        raise ClaudeCodeConfigurationError(
            f"{argument} contains credentials. Store them in a Connection, and pass its id instead."
        )
    # A relative path would depend on the working directory of the worker.
    # A path in an object store begins with its bucket.
    if not place.strip("/") or not path.isprintable() or is_local != place.startswith("/"):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}; an absolute path or a URL was expected, for example file:///data/claude_code."
        )
    if is_local:
        # Text after two slashes is read as a host.
        place = "/" + place.lstrip("/")
    elif re.search(r"[?#]|//|(^|/)\.{1,2}(/|$)", place):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}, but object stores treat ?, #, //, . and .. in a URL differently. Choose a path "
            "without them."
        )
    elif _CONTAINER_OF_ACCOUNT.match(place):
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}, but Airflow reads what is before @ as the id of a Connection, and the first "
            f"folder as the container. Write {scheme}://CONTAINER/FOLDER, and name the account in the Connection of "
            "the store."
        )
    try:
        root = ObjectStoragePath(f"{scheme}://{place}", conn_id=conn_id)
        taken_for = str((root / "x").path)
    except ValueError as error:
        raise ClaudeCodeConfigurationError(f"{argument} is {path!r}, which is not usable: {error}.") from error
    if is_local and taken_for != f"{place.rstrip('/')}/x":
        raise ClaudeCodeConfigurationError(
            f"{argument} is {path!r}, but Airflow reads it as {root.path}. Choose one that does not end with ? or #."
        )
    return root


def open_store(root: ObjectStoragePath) -> Store:
    """
    Return the store of the files under a path.

    :raises ClaudeCodeConfigurationError: no installed package can open it.
    """
    if root.protocol in LOCAL_SCHEMES:
        return LocalStore(Path(root.path))
    try:
        return ObjectStore(root)
    except (ImportError, ValueError) as error:
        package = _PACKAGES.get(root.protocol)
        advice = f"Install it: pip install '{package}'." if package else "Install the provider for this store."
        raise ClaudeCodeConfigurationError(f"Airflow cannot open {root.protocol}:// ({error}). {advice}") from error


def _create_like(path: Path, place: Path) -> BinaryIO:
    """Create a file that will replace another: with the same mode and, if permitted, the same group."""
    try:
        replaced = place.stat()
    except FileNotFoundError:
        return path.open("xb")
    mode = stat.S_IMODE(replaced.st_mode)
    # The initial mode must not allow more readers than the final mode.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o600)
    with suppress(PermissionError):
        os.fchown(descriptor, -1, replaced.st_gid)
    os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


def _sync_directory(path: Path) -> None:
    """Flush a directory, so that a rename survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems flush files only.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)

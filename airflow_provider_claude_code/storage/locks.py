"""Locks on local files and directories. The kernel releases them when the process ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shlex
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError, ClaudeCodePublishError
from airflow_provider_claude_code.quoting import quoted

log = logging.getLogger(__name__)

LOCK_PATIENCE = 300.0
"""Seconds to wait for another process, which locks a directory while it publishes one day."""
LOCK_POLL_INTERVAL = 0.1
"""Seconds between two tries to lock a directory."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def try_lock(descriptor: int, directory: Path) -> bool:
    """
    Take a lock, unless another process has it.

    :param descriptor: of the file or directory to lock.
    :param directory: where it is, for the error.
    :return: whether the lock was taken.
    :raises ClaudeCodeConfigurationError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ClaudeCodeConfigurationError(
            f"{directory} is on a file system that refuses locks ({error.strerror}), so tasks could mix or remove each "
            "other's files. Mount it with locks (flock), or choose another directory."
        ) from error
    return True


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """
    Hold the lock of a directory: the file ``.lock`` in it, which exists only meanwhile.

    :param directory: an existing directory.
    :raises ClaudeCodePublishError: another process did not release the lock within ``LOCK_PATIENCE``.
    :raises ClaudeCodeConfigurationError: the file system has no locks, or something else has the name of the file.
    """
    path = directory / ".lock"
    while True:
        with _open_lock(path) as file:
            try:
                _wait_for_lock(file, directory)
            except ClaudeCodeConfigurationError:
                # The file system has no locks, so nobody holds this one.
                path.unlink(missing_ok=True)
                raise
            # The previous holder may have removed the file. A lock on it then excludes nobody.
            if not _is_still_there(path, file):
                continue
            with suppress(OSError):  # The lock works even if there is no space to write.
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            try:
                yield
            finally:
                # Leave no lock file in a directory that people browse.
                with suppress(OSError):
                    path.unlink()
            return


def _wait_for_lock(file: BinaryIO, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    named = None
    while not try_lock(file.fileno(), directory):
        file.seek(0)
        holder = quoted(file.read(200).decode(errors="replace") or "another process")
        if time.monotonic() >= deadline:
            raise ClaudeCodePublishError(
                f"{directory} has been locked by {holder} for {LOCK_PATIENCE:g} seconds, so nothing was written. "
                "If that process is stopped or hangs, end it, and let the task retry."
            )
        if holder != named:
            log.info("Waiting for %s to finish writing to %s", holder, directory)
            named = holder
        time.sleep(LOCK_POLL_INTERVAL)


def _open_lock(path: Path) -> BinaryIO:
    """
    Open the file to lock, which the holder overwrites, so it must not be a link to another file.

    :raises ClaudeCodeConfigurationError: it is a link, or no file.
    """
    # Append mode keeps the text about the current holder until this process holds the lock.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
    else:
        status = os.fstat(descriptor)
        # A hard link is a link, too. A file that its holder has just removed has no link.
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
            return os.fdopen(descriptor, "a+b", buffering=0)
        os.close(descriptor)
    raise ClaudeCodeConfigurationError(
        f"{path} is a link, a folder or a pipe, so it cannot be locked, and nothing was written. Loads create "
        f"this file themselves. Remove it (rm -r {shlex.quote(str(path))}), and run the task again."
    )


def _is_still_there(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False

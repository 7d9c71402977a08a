"""Locks on files and directories of this machine, which the kernel releases with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock(descriptor: int, directory: Path) -> None:
    """
    Wait until nobody else has the lock, and take it.

    :param descriptor: of the file or directory that is locked.
    :param directory: where it is, for the error.
    :raises ClaudeCodeConfigurationError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ClaudeCodeConfigurationError(
            f"{directory} is on a file system that refuses locks ({error.strerror}), so tasks could mix or remove each "
            "other's files. Mount it with locks (flock), or choose another directory."
        ) from error

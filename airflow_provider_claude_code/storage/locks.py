"""Locks on local files and directories. The kernel releases them when the process ends."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError

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

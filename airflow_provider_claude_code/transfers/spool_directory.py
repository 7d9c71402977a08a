"""Where a day is spooled until it is published."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_claude_code.transfers.locks import lock

PREFIX = "airflow-provider-claude-code-"


@contextmanager
def spool_directory() -> Iterator[Path]:
    """
    Give a directory that only this user can read, and remove it afterwards.

    A process that is killed cannot clean up, and its files hold people's addresses. So each directory is locked
    by its process, which the kernel ends with it, and whoever comes next removes those that nobody holds.

    :raises OSError: the system's directory for temporary files cannot be written to.
    :raises ClaudeCodeConfigurationError: it has no locks.
    """
    for leftover in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_abandoned(leftover)
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Between being made and being locked it may be taken for abandoned, at either step.
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            lock(descriptor, path.parent)
            if path.exists():
                yield path
                return
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _remove_if_abandoned(path: Path) -> None:
    # What belongs to other users cannot be opened; what others remove at the same time is gone.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)

"""Where a day is spooled until it is published."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_claude_code.storage.locks import try_lock

PREFIX = "airflow-provider-claude-code-"


@contextmanager
def spool_directory() -> Iterator[Path]:
    """
    Give a directory that only this user can read, and remove it afterwards.

    A process that is killed cannot clean up, and its files hold people's addresses. So each directory is locked by
    its process until that ends, and the next load of the same user removes those that nobody holds. Whatever else lies
    in the directory for temporary files is left alone.

    :raises OSError: the system's directory for temporary files cannot be written to.
    :raises ClaudeCodeConfigurationError: it has no locks.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Between being made and being locked it may be taken for abandoned, at either step.
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            if try_lock(descriptor, path.parent) and path.exists():
                yield path
                return
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _remove_abandoned(temporary: Path) -> None:
    """Remove the directories of this user's processes that have ended. Whatever stands in the way stays."""
    with suppress(OSError), os.scandir(temporary) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                # What others remove at the same time is gone; what is nested too deeply for rmtree is not ours.
                with suppress(OSError, RecursionError):
                    _remove_if_abandoned(entry)


def _remove_if_abandoned(entry: os.DirEntry[str]) -> None:
    is_directory = entry.is_dir(follow_symlinks=False)
    if not is_directory or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
        return
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(descriptor)

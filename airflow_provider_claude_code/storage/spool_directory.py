"""The directory in which a day is spooled until it is published."""

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
    Create a directory that only this user can read, and remove it afterwards.

    A killed process cannot clean up, and its files contain addresses of people. Each process therefore locks its
    directory until it ends, and the next load of the same user removes directories that are not locked. Other
    temporary files are left alone.

    :raises OSError: the system's directory for temporary files cannot be written to.
    :raises ClaudeCodeConfigurationError: it has no locks.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Until it is locked, another process may remove it as abandoned.
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            if try_lock(descriptor, path.parent) and path.exists():
                yield path
                return
        finally:
            # A thread that still runs may add a file in the meantime, but not after its folder is gone.
            for _ in range(3):
                shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _remove_abandoned(temporary: Path) -> None:
    """Remove the directories of this user's ended processes. Ignore errors."""
    with suppress(OSError), os.scandir(temporary) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                # Others may remove the same files. A tree that is too deep for rmtree is not ours.
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

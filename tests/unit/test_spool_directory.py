"""What a killed task leaves behind is people's data, and the next task removes it."""

from __future__ import annotations

import errno
import fcntl
import os
import pkgutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_claude_code.storage.spool_directory import PREFIX, spool_directory

HOLD = """
import sys
from airflow_provider_claude_code.storage.spool_directory import spool_directory
with spool_directory() as path:
    (path / "usage.parquet").write_text("someone@example.com")
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that is spooling, and its directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=-1, stdout=-1, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_it_is_private_and_gone_afterwards(temporary: Path) -> None:
    with spool_directory() as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "usage.parquet").touch()
    assert list(temporary.iterdir()) == []


def test_it_is_gone_after_an_error(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), spool_directory():
        _ = 1 / 0
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(holder: tuple[subprocess.Popen[str], Path]) -> None:
    process, left = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (left / "usage.parquet").exists()
    with spool_directory() as path:
        assert not left.exists()
        assert path.exists()


def test_what_a_living_process_uses_stays(holder: tuple[subprocess.Popen[str], Path]) -> None:
    _, used = holder
    with spool_directory():
        assert (used / "usage.parquet").exists()


def test_directories_of_others_stay(temporary: Path) -> None:
    others = [temporary / "claude-code-of-somebody-else", temporary / "tmp1234"]
    for other in others:
        other.mkdir()
    with spool_directory():
        assert all(other.exists() for other in others)


def abandoned(temporary: Path) -> Path:
    path = temporary / f"{PREFIX}abandoned"
    path.mkdir(mode=0o700)
    (path / "usage.parquet").write_text("someone@example.com")
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened from then on."""
    paths, open_ = [], os.open

    def noted(path: Any, *arguments: Any, **more: Any) -> int:
        paths.append(os.fspath(path))
        return open_(path, *arguments, **more)

    monkeypatch.setattr("os.open", noted)
    return paths


def test_what_belongs_to_another_user_is_not_even_opened(
    temporary: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, user = abandoned(temporary), os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: user + 1)
        with spool_directory():
            assert (path / "usage.parquet").exists()
    assert str(path) not in opened
    with spool_directory():
        assert not path.exists()


def test_a_symbolic_link_is_not_followed(
    temporary: Path, opened: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("elsewhere")
    (target / "precious").touch()
    links = [temporary / f"{PREFIX}link", temporary / f"{PREFIX}dangling"]
    links[0].symlink_to(target)
    links[1].symlink_to(target / "nothing")
    with spool_directory():
        assert (target / "precious").exists()
    assert not {str(link) for link in links} & set(opened)


def test_nothing_that_lies_there_stops_a_load(temporary: Path) -> None:
    """Nested more deeply than Python recurses; not readable; no directory; gone before it is opened."""
    place = temporary / f"{PREFIX}nested"
    place.mkdir()
    descriptor = os.open(place, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("x", dir_fd=descriptor)
        inner = os.open("x", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    (temporary / f"{PREFIX}closed").mkdir(mode=0o000)
    (temporary / f"{PREFIX}file").touch()
    os.mkfifo(temporary / f"{PREFIX}pipe")
    left = abandoned(temporary)
    try:
        with spool_directory() as path:
            assert path.exists()
            assert not left.exists()
    finally:
        # pytest could not remove it either.
        subprocess.run(["rm", "-rf", place], check=True)


def test_a_directory_for_temporary_files_that_cannot_be_listed_will_do(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with spool_directory() as path:
        assert path.exists()


def test_one_that_a_stopped_process_is_about_to_remove_is_not_waited_for(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors: list[int] = []
    mkdtemp = tempfile.mkdtemp

    def taken_for_abandoned(**arguments: Any) -> str:
        path = mkdtemp(**arguments)
        if not descriptors:
            descriptors.append(os.open(path, os.O_RDONLY))
            fcntl.flock(descriptors[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path

    monkeypatch.setattr("tempfile.mkdtemp", taken_for_abandoned)
    with spool_directory() as path:
        assert list(temporary.iterdir()) == [path]
    os.close(descriptors[0])


@pytest.mark.parametrize("step", ["os.open", "fcntl.flock"])
def test_one_that_is_swept_before_it_is_locked_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    original = pkgutil.resolve_name(step)
    swept: list[Path] = []

    def sweep_first(*arguments: Any, **more: Any) -> Any:
        if not swept:
            swept.extend(path for path in temporary.iterdir() if path.is_dir())
            for path in swept:
                path.rmdir()
        return original(*arguments, **more)

    monkeypatch.setattr(step, sweep_first)
    with spool_directory() as path:
        assert path.exists()
        assert path not in swept
    assert list(temporary.iterdir()) == []

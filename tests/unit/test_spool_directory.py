"""What a killed task leaves behind is people's data, and the next task removes it."""

from __future__ import annotations

import os
import pkgutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_claude_code.transfers.spool_directory import spool_directory

HOLD = """
import sys
from airflow_provider_claude_code.transfers.spool_directory import spool_directory
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

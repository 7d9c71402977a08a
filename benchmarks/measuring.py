"""How things are measured: sides taken in turns, each time in the same order, and the spread told with the median."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

PROJECT = Path(__file__).parents[1]
REPEATS = 5

LIBRARIES = (
    *(
        "airflow-provider-claude-code",
        "apache-airflow",
        "apache-airflow-providers-google",
        "httpx",
        "msgspec",
        "pyarrow",
        "pandas",
        "dlt",
        "duckdb",
        "matplotlib",
    ),
    *("google-cloud-bigquery", "google-cloud-storage"),
)


@dataclass(frozen=True)
class Cost:
    """
    What something took.

    :param wall: seconds that passed.
    :param cpu: seconds of processor time, which other processes on the machine disturb less.
    """

    wall: float
    cpu: float


def cost_of(action: Callable[[], object]) -> Cost:
    """Run something in this process and return what it took."""
    # Nobody is to clean up after the side before.
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def interleaved(sides: Mapping[str, Callable[[], T]], repeats: int = REPEATS, warm_ups: int = 1) -> dict[str, list[T]]:
    """
    Measure all sides in turns, so that a machine that gets slower does so for each of them.

    :param sides: what to measure, by name.
    :param repeats: how often.
    :param warm_ups: rounds before that, which do not count.
    """
    measured: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(warm_ups + repeats):
        for name, measure in sides.items():
            value = measure()
            if number >= warm_ups:
                measured[name].append(value)
    return measured


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a fresh interpreter in the project's folder and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Row:
    """
    A measured quantity.

    :param name: what it is.
    :param values: one for each repeat.
    :param unit: what it is measured in.
    :param at_most: the target, where that is an upper limit.
    :param at_least: the target, where that is a lower limit.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        """Write it as a row of a Markdown table."""
        median = statistics.median(self.values)
        unit = f" {self.unit}" if self.unit else ""
        low, high = min(self.values), max(self.values)
        spread = "one run" if len(self.values) == 1 else f"{_short(low)} to {_short(high)}"
        target = met = ""
        if self.at_most is not None:
            target, met = f"at most {_short(self.at_most)}{unit}", "met" if median <= self.at_most else "**not met**"
        if self.at_least is not None:
            target, met = f"at least {_short(self.at_least)}{unit}", "met" if median >= self.at_least else "**not met**"
        return f"| {self.name} | {_short(median)}{unit} | {spread} | {target} | {met} |"


@dataclass(frozen=True)
class Section:
    """
    The result of a benchmark.

    :param title: the question that it answers.
    :param text: what was measured, and how.
    :param rows: the answers.
    """

    title: str
    text: str
    rows: Sequence[Row]

    def __str__(self) -> str:
        """Write it as Markdown."""
        header = "| measured | median | spread | target | |\n|---|---|---|---|---|"
        return "\n".join([f"## {self.title}\n\n{self.text}\n\n{header}", *map(str, self.rows)]) + "\n"


def _short(number: float) -> str:
    """Write a number with three digits, or with all before its point."""
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:.3g}"


def machine() -> str:
    """Describe the machine in a few words."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    """List what runs on it, in words."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"Python {platform.python_version()}, {libraries}"

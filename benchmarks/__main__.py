"""Run all benchmarks and write RESULTS.md, or run those that are named and print what they say."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Section, machine

NAMES = (
    "parsing",
    "throughput",
    "wall_time",
    "memory",
    "request_count",
    "waiting",
    "year",
    "task_overhead",
)
RESULTS = Path(__file__).with_name("RESULTS.md")
NOTES = Path(__file__).with_name("NOTES.md")
INTRODUCTION = """# Benchmarks

Written by `make bench`; `.venv/bin/nox -s bench -- {names}` prints single ones.

Numbers hold for one run on one machine; what is promised are the ratios within it. Compared sides take turns
(A B A B ...) after a round that does not count. A ratio is the median of the ratios of all rounds.

{machine}"""


def main() -> None:
    """Run the benchmarks, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    # Before Airflow is imported, which would read the configuration of this machine.
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(AIRFLOW_HOME=home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
        introduction = INTRODUCTION.format(names=" ".join(NAMES[:2]), machine=machine())
        sections = [_run(name) for name in names]
    if set(names) == set(NAMES):
        RESULTS.write_text("\n".join([introduction, *map(str, sections), NOTES.read_text()]))
        print(f"Written: {RESULTS.relative_to(Path.cwd())}")


def _run(name: str) -> Section:
    begun = time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    section: Section = importlib.import_module(f"benchmarks.{name}").run()
    print(f"{section}\n({name}: {time.monotonic() - begun:.0f} s)\n", flush=True)
    return section


if __name__ == "__main__":
    main()

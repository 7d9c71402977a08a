"""Run all benchmarks, or those that are named, and write what they say into RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measuring import Section, machine, versions

NAMES = (
    "parsing",
    "throughput",
    "wall_time",
    "memory",
    "request_count",
    "waiting",
    "year",
    "task_overhead",
    "report",
    "backfill",
)
RESULTS = Path(__file__).with_name("RESULTS.md")
NOTES = Path(__file__).with_name("NOTES.md")
INTRODUCTION = """# Benchmarks

Written by `make bench`; `.venv/bin/nox -s bench -- {names}` measures single ones anew.

Numbers hold for one machine and one run of a section; what is promised are the ratios within it. Compared sides take
turns (A B A B ...) after a round that does not count. A ratio is the median of the ratios of all rounds. Each section
says when and on what it was measured.

{versions}
"""


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
        introduction = INTRODUCTION.format(names=" ".join(NAMES[:2]), versions=versions())
        sections = _sections(RESULTS.read_text() if RESULTS.exists() else "")
        for name in names:
            section = _run(name)
            sections |= _sections(section)
            print(section, flush=True)
    numbered = [text for title, text in sorted(sections.items(), key=_number) if title[0].isdigit()]
    RESULTS.write_text("\n".join([introduction, *numbered, NOTES.read_text()]))
    print(f"Written: {RESULTS.relative_to(Path.cwd())}")


def _sections(text: str) -> dict[str, str]:
    """Return the sections of a Markdown text by their titles."""
    _, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {section.splitlines()[0].removeprefix("## "): f"{section.rstrip()}\n" for section in sections}


def _number(section: tuple[str, str]) -> int:
    number, _, _ = section[0].partition(".")
    return int(number) if number.isdigit() else 0


def _run(name: str) -> str:
    begun = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {os.getloadavg()[0]:.1f}, on {machine()}"
    print(f"{name} ...", file=sys.stderr, flush=True)
    section: Section = importlib.import_module(f"benchmarks.{name}").run()
    return f"{section}\nBegun {begun}.\n"


if __name__ == "__main__":
    main()

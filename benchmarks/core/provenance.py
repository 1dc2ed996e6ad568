"""How results were made: what stands in their files beside the figures."""

import csv
import datetime
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq_plugins._files import atomic_file


def command_line() -> str:
    """Return the command that this process runs, as one would type it."""
    return shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])


def processor() -> str:
    """Return the name of this machine's processor, and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def provenance() -> dict[str, str]:
    """Return command, processor and date."""
    return {"command": command_line(), "processor": processor(), "date": f"{datetime.date.today():%Y-%m-%d}"}


def write_table(path: Path, about: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as a CSV file that begins with how it was made, each line after ``#``; whole or not at all.

    Parameters
    ----------
    path
        Path of the file.
    about
        How it was made: names and what to say of them.
    columns
        Names of the columns.
    rows
        Rows of the table.
    """
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.write("".join(f"# {name}: {_text(value)}\n" for name, value in about.items()))
        csv.writer(file).writerows([columns, *rows])


def _text(value: Any) -> str:
    return ", ".join(f"{name} {of}" for name, of in value.items()) if isinstance(value, Mapping) else str(value)

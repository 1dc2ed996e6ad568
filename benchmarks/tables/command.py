"""The command ``tables``: writes the tables of published results into the documents.

A table is a CSV file in ``benchmarks/results/published/``, its first lines, after ``#``, saying how it was made. It
stands in a document between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

import argparse
import csv
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.core.errors import UserError
from seq_plugins._files import atomic_file

SUMMARY = "write the tables of published results into the documents"

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "benchmarks" / "results" / "published"
_PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = "Write the tables of benchmarks/results/published/ into README.md, benchmarks/ and docs/."
    command.add_argument("--check", action="store_true", help="write nothing; fail if a document differs")


def documents() -> list[Path]:
    """Return the documents that may hold tables."""
    return [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_table(name: str) -> str:
    """Return a published table in Markdown.

    Raises
    ------
    UserError
        If there is no such table, or a row has more or fewer cells than the head.
    """
    path = PUBLISHED / f"{name}.csv"
    if not path.is_file():
        raise UserError(f"no published table {name!r}: expected {path}.")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    head, *rows = csv.reader(lines)
    uneven = next((row for row in rows if len(row) != len(head)), None)
    if uneven is not None:
        raise UserError(f"{path}: expected {len(head)} cells in each row, got {uneven}.")
    rule = "|" + "---|" * len(head)
    return "".join(f"{line}\n" for line in (_line(head), rule, *map(_line, rows)))


def _line(cells: list[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def with_tables(text: str, read: Callable[[str], str] = read_table) -> str:
    """Return a document with its tables made anew."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{read(place[2])}\n{place[3]}", text)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a document differs from its tables."""
    stale = []
    for path in documents():
        before = path.read_text(encoding="utf-8")
        if (after := with_tables(before)) != before:
            stale.append(str(path.relative_to(ROOT)))
            if not options.check:
                with atomic_file(path) as temporary:
                    temporary.write_text(after, encoding="utf-8")
    if options.check and stale:
        print(f"not as in {PUBLISHED.relative_to(ROOT)}: {', '.join(stale)}. Run: python -m benchmarks tables")
        return 1
    return 0

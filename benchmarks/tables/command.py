"""The command ``tables``: writes the tables of published results into the documents.

Results are CSV files in ``benchmarks/results/published/``, each beginning with how it was made, after ``#``: what the
commands write as ``table.csv``, or the like. A table stands in a document between ``<!-- table: NAME -->`` and
``<!-- end of table -->``. It is the view of that name, a template in ``views/`` that lays results out; further words
after the name, between commas, are the view's arguments. Where there is no view, it is the file of that name as it is.
"""

import argparse
import csv
import re
from pathlib import Path
from typing import Any

from benchmarks.core.errors import UserError
from seq_plugins._files import atomic_file

SUMMARY = "update the tables of published results in the documentation"

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "benchmarks" / "results" / "published"
VIEWS = Path(__file__).with_name("views")
_PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = "Write the tables of benchmarks/results/published/ into README.md, benchmarks/ and docs/."
    command.add_argument("--check", action="store_true", help="write nothing; fail if a document differs")


def documents() -> list[Path]:
    """Return the documents that may hold tables."""
    return [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Tables:
    """Tables of published results, in Markdown."""

    def __init__(self) -> None:
        # it comes with the extra `benchmarks`
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.used: set[str] = set()
        """Names of the files that tables were made of."""
        self._views = Environment(  # noqa: S701 - Markdown, in which nothing is escaped
            loader=FileSystemLoader(VIEWS), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._views.globals |= {"rows": self.rows, "row": self.row}
        self._views.filters |= {"number": number, "signed": signed, "measured": measured}

    def rows(self, name: str, **where: Any) -> list[dict[str, Any]]:
        """Return the rows of a file in which columns are as in `where`; numbers are numbers, empty cells ``None``.

        Raises
        ------
        UserError
            If there is no such file, or a row has more or fewer cells than the head.
        """
        head, *lines = self._read(name)
        rows = [{column: _value(cell) for column, cell in zip(head, line, strict=True)} for line in lines]
        return [row for row in rows if all(row[column] == value for column, value in where.items())]

    def row(self, name: str, **where: Any) -> dict[str, Any]:
        """Return the one row of a file in which columns are as in `where`.

        Raises
        ------
        UserError
            If there is none, or several.
        """
        found = self.rows(name, **where)
        if len(found) != 1:
            raise UserError(f"{name}.csv: expected one row with {where}, got {len(found)}.")
        return found[0]

    def _read(self, name: str) -> list[list[str]]:
        path = PUBLISHED / f"{name}.csv"
        if not path.is_file():
            raise UserError(f"no published table {name!r}: expected {path}.")
        self.used.add(name)
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        head, *rows = csv.reader(lines)
        uneven = next((row for row in rows if len(row) != len(head)), None)
        if uneven is not None:
            raise UserError(f"{path}: expected {len(head)} cells in each row, got {uneven}.")
        return [head, *rows]

    def make(self, place: str) -> str:
        """Return the table of a place in a document."""
        name, *arguments = (word.strip() for word in place.split(","))
        if (VIEWS / f"{name}.md.jinja").is_file():
            lines = self._views.get_template(f"{name}.md.jinja").render(arguments=arguments).splitlines()
            return "".join(f"{line}\n" for line in map(_tidy, lines) if line)
        head, *rows = self._read(name)
        rule = "|" + "---|" * len(head)
        return "".join(f"{line}\n" for line in (_line(head), rule, *map(_line, rows)))

    def into(self, text: str) -> str:
        """Return a document with its tables made anew."""
        return _PLACE.sub(lambda place: f"{place[1]}\n{self.make(place[2])}\n{place[3]}", text)


def _value(cell: str) -> Any:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with separators between its thousands; nothing if there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


def signed(value: float, digits: int = 0) -> str:
    """Return a number with its sign."""
    return f"{value:+,.{digits}f}"


def measured(value: float | None, unit: str, digits: int = 3) -> str:
    """Return seconds, in the unit that suits them, or megabytes."""
    if value is None:
        return ""
    if unit == "MB":
        return f"{value:.1f} MB"
    factor, name = next(found for found in ((1.0, "s"), (1e3, "ms"), (1e6, "us")) if value * found[0] >= 0.9995)
    return f"{value * factor:.{digits}g} {name}"


def _line(cells: list[str]) -> str:
    return _tidy("|" + "|".join(f" {cell} " for cell in cells) + "|")


def _tidy(line: str) -> str:
    """Return a line of a table with one space in each empty cell."""
    return re.sub(r"\|[ ]{2,}(?=\|)", "| ", line.strip())


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a document differs from its tables."""
    stale, tables = [], Tables()
    for path in documents():
        before = path.read_text(encoding="utf-8")
        if (after := tables.into(before)) != before:
            stale.append(str(path.relative_to(ROOT)))
            if not options.check:
                with atomic_file(path) as temporary:
                    temporary.write_text(after, encoding="utf-8")
    if options.check and stale:
        print(f"not as in {PUBLISHED.relative_to(ROOT)}: {', '.join(stale)}. Run: python -m benchmarks tables")
        return 1
    return 0

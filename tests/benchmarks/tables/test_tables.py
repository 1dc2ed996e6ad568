"""The command ``python -m benchmarks tables``."""

import argparse
import csv
import re
from pathlib import Path

import pytest

from benchmarks.core.errors import UserError
from benchmarks.core.provenance import write_table
from benchmarks.tables import command
from benchmarks.tables.command import PUBLISHED, VIEWS, Tables, documents, measured, run


def test_every_document_has_its_tables_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argparse.Namespace(check=True)) == 0, capsys.readouterr().out


FIGURE = re.compile(r"(?<![\w.,])(?<!\w-)(?:\d{1,3}(?:,\d{3})+|\d{3,}|\d*\.\d{2,}|\d{2,}\.\d+)(?![\w-]|[.,]\d)")
TABLE = re.compile(r"<!-- table: .*?<!-- end of table -->", re.DOTALL)
NO_PROSE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|https?://\S+", re.DOTALL)
NO_RESULT = re.compile(r"(19|20)\d\d|15\.\d|100|250|300|400|500|512")
"""Years, the lecture's exercises, and numbers that are sizes and settings."""


def test_every_figure_in_a_sentence_stands_in_a_published_file() -> None:
    texts = {str(path.relative_to(command.ROOT)): path.read_text(encoding="utf-8") for path in documents()}
    in_tables = {figure for text in texts.values() for table in TABLE.findall(text) for figure in FIGURE.findall(table)}
    with (PUBLISHED / "figures.csv").open(encoding="utf-8") as file:
        listed = {(line["document"], line["figure"]) for line in csv.DictReader(file.readlines()[1:])}
    found = {
        (name, figure)
        for name, text in texts.items()
        for figure in FIGURE.findall(NO_PROSE.sub(" ", TABLE.sub("", text)))
        if figure not in in_tables and not NO_RESULT.fullmatch(figure)
    }
    assert found == listed


def test_every_published_file_and_view_is_used_and_says_how_it_was_made() -> None:
    tables = Tables()
    texts = [path.read_text(encoding="utf-8") for path in documents()]
    for text in texts:
        tables.into(text)
    assert tables.used | {"figures"} == {path.stem for path in PUBLISHED.glob("*.csv")}
    for path in PUBLISHED.glob("*.csv"):
        assert path.read_text(encoding="utf-8").startswith(("# command: ", "# note: ")), path.name
    for path in VIEWS.glob("[!_]*.md.jinja"):
        assert f"<!-- table: {path.name.removesuffix('.md.jinja')}" in "".join(texts), path.name


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A document, with published results and views beside it."""
    path = tmp_path / "page.md"
    for name, value in (("ROOT", tmp_path), ("PUBLISHED", tmp_path), ("VIEWS", tmp_path)):
        monkeypatch.setattr(command, name, value)
    monkeypatch.setattr(command, "documents", lambda: [path])
    return path


def test_a_changed_cell_is_told_and_written(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document.write_text("Before\n<!-- table: errors -->\n\n<!-- end of table -->\nafter\n")
    for cell in ("1", "2"):
        write_table(document.with_name("errors.csv"), {"command": "none"}, ["model", "MAE"], [["GRU", f"{cell},000"]])
        assert run(argparse.Namespace(check=True)) == 1
        assert "page.md" in capsys.readouterr().out
        assert run(argparse.Namespace(check=False)) == 0
        written = f"| model | MAE |\n|---|---|\n| GRU | {cell},000 |\n"
        assert written in document.read_text()
        assert run(argparse.Namespace(check=True)) == 0


def test_a_view_lays_results_out_with_its_arguments(document: Path) -> None:
    document.with_name("best.md.jinja").write_text(
        "| model | MAE |\n|---|---|\n{% for line in rows('errors', period=arguments[0]) %}\n"
        "| {{ line.model }} | {{ line.mae | number }} |\n{% endfor %}\n"
    )
    rows: list[list[object]] = [["spring", "GRU", 1234.5678], ["autumn", "GRU", 2], ["spring", "RNN", ""]]
    write_table(document.with_name("errors.csv"), {"command": "none"}, ["period", "model", "mae"], rows)
    document.write_text("<!-- table: best, spring -->\n\n<!-- end of table -->")
    assert run(argparse.Namespace(check=False)) == 0
    assert "\n| GRU | 1,235 |\n| RNN | |\n" in document.read_text()


@pytest.mark.parametrize(
    ("seconds", "expected"), [(2.239, "2.24 s"), (0.0587, "58.7 ms"), (34.4e-6, "34.4 us"), (1.0, "1 s"), (None, "")]
)
def test_seconds_are_told_in_the_unit_that_suits_them(seconds: float | None, expected: str) -> None:
    assert measured(seconds, "s") == expected


def test_a_table_that_cannot_be_made_is_told(document: Path) -> None:
    with pytest.raises(UserError, match="no published table 'nowhere'"):
        Tables().into("<!-- table: nowhere -->\n\n<!-- end of table -->")
    document.with_name("uneven.csv").write_text("model,MAE\nGRU\n")
    with pytest.raises(UserError, match="expected 2 cells in each row"):
        Tables().make("uneven")
    write_table(document.with_name("errors.csv"), {}, ["model", "mae"], [["GRU", 1], ["GRU", 2]])
    with pytest.raises(UserError, match=r"errors.csv: expected one row with \{'model': 'GRU'\}, got 2"):
        Tables().row("errors", model="GRU")


def test_what_others_have_published_stands_marked_in_its_own_view_and_in_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PUBLISHED", tmp_path)
    lines = (PUBLISHED / "epf-np.csv").read_text(encoding="utf-8")
    (tmp_path / "prices.csv").write_text(lines, encoding="utf-8")
    tables = Tables()
    among_others = tables.make("single-models, prices, last 728 days")
    assert "Seq2SeqRNNModel-GRU" in among_others
    assert "LEAR" not in among_others
    assert "LEAR" not in tables.make("panel, prices, mean_mae, mean_rmae")
    published = tables.make("published, prices, mean_mae").splitlines()
    assert len(published) == 2 + 5
    assert all("http" in line for line in published[2:])

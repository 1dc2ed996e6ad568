"""The command ``python -m benchmarks tables``."""

import argparse
from pathlib import Path

import pytest

from benchmarks.core.errors import UserError
from benchmarks.tables import command
from benchmarks.tables.command import PUBLISHED, documents, read_table, run, with_tables


def test_every_document_has_its_tables_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argparse.Namespace(check=True)) == 0, capsys.readouterr().out


def test_every_published_table_stands_in_a_document_and_says_where_it_is_from() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in documents())
    for path in PUBLISHED.glob("*.csv"):
        assert f"<!-- table: {path.stem} -->" in text, path.name
        assert path.read_text(encoding="utf-8").startswith("# "), path.name


def test_a_changed_cell_is_told_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document, table = tmp_path / "page.md", tmp_path / "errors.csv"
    document.write_text("Before\n<!-- table: errors -->\n\n<!-- end of table -->\nafter\n")
    table.write_text("# command: none\nmodel,MAE\nGRU,\n")
    for name, value in (("ROOT", tmp_path), ("PUBLISHED", tmp_path), ("documents", lambda: [document])):
        monkeypatch.setattr(command, name, value)
    for cell in ("1", "2"):
        table.write_text(f'# command: none\nmodel,MAE\nGRU,"{cell},000"\n')
        assert run(argparse.Namespace(check=True)) == 1
        assert "page.md" in capsys.readouterr().out
        assert run(argparse.Namespace(check=False)) == 0
        written = f"| model | MAE |\n|---|---|\n| GRU | {cell},000 |\n"
        assert written in document.read_text()
        assert run(argparse.Namespace(check=True)) == 0


def test_an_unknown_table_and_an_uneven_row_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no published table 'nowhere'"):
        with_tables("<!-- table: nowhere -->\n\n<!-- end of table -->")
    (tmp_path / "uneven.csv").write_text("model,MAE\nGRU\n")
    monkeypatch.setattr(command, "PUBLISHED", tmp_path)
    with pytest.raises(UserError, match="expected 2 cells in each row"):
        read_table("uneven")

"""The report: one page that needs nothing else."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import main
from tests.benchmarks.harness.small_tasks import COLUMNS, write_csv

MODELS = ["NaiveSeasonal", "LinearRegressionModel", "Seq2SeqRNNModel-GRU"]


class _Page(HTMLParser):
    """Collects elements and the text of a page, and checks that elements are closed in order."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(params=["none", "quantile"])
def page(request: pytest.FixtureRequest, tmp_path: Path, few_epochs: None) -> tuple[_Page, str, Path]:
    """A page of points, and one of quantiles, with a column whose name HTML would take for an element."""
    frame = write_csv(tmp_path / "sales.csv").rename(columns={"sold": "<sold>"})
    frame.to_csv(tmp_path / "sales.csv", index=False)
    columns = ["<sold>" if name == "sold" else name for name in COLUMNS]
    arguments = ["--dataset", "sales.csv", *columns, "--past", "price", "--models", *MODELS, "--seeds", "2"]
    assert main(["backtest", *arguments, "--likelihood", request.param, "--output", "out"]) == 0
    return _Page((tmp_path / "out" / "report.html").read_text()), request.param, tmp_path / "out"


def test_a_page_needs_nothing_else_and_all_its_pictures_have_alternative_texts(
    page: tuple[_Page, str, Path],
) -> None:
    found, likelihood, folder = page
    pictures = [attributes for tag, attributes in found.elements if tag == "img"]
    assert len(pictures) == 4
    for picture in pictures:
        assert len(picture["alt"] or "") > 30
        kind, _, data = (picture["src"] or "").partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")  # noqa: S314  # made here
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    assert "http" not in str([attributes for tag, attributes in found.elements if tag != "img"])
    assert found.elements[0][1] == {"lang": "en"}
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        for error in ("mae", "revision"):
            assert f"{row['means'][error]:.4g}" in found.text or not row["members"]
    assert "<sold>" in found.text
    assert "Seq2SeqRNNModel-GRU x2" in found.text
    assert "cannot take" in found.text
    assert ("CRPS" in found.text) == (likelihood == "quantile")
    assert ("Shaded: from the 0.05 to the 0.95 quantile" in found.text) == (likelihood == "quantile")


def test_failures_are_told_on_the_page(tmp_path: Path, few_epochs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no such <luck>")

    write_csv(tmp_path / "sales.csv")
    monkeypatch.setattr("darts.models.LinearRegressionModel.fit", fail)
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", *MODELS[:2], "--output", "out"]) == 1
    page = _Page((tmp_path / "out" / "report.html").read_text())
    assert "LinearRegressionModel: RuntimeError: no such <luck>" in page.text

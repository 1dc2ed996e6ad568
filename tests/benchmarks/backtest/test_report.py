"""The report: one page that needs nothing else, and what it does when it is clicked."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from tests.benchmarks.harness.small_tasks import COLUMNS, quick_settings, write_csv
from tests.browser import Browser
from tests.tables.made_tables import products

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
        self.text += data if self._open[-1:] != ["script"] else ""


@pytest.fixture(scope="module", params=["none", "quantile"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Results of points, and of quantiles, with a column whose name HTML would take for an element."""
    path = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        settings = quick_settings()
        patch.setattr("benchmarks.harness.table_task.shared_settings", lambda: settings)
        frame = write_csv(path / "sales.csv").rename(columns={"sold": "<sold>"})
        frame.to_csv(path / "sales.csv", index=False)
        columns = ["<sold>" if name == "sold" else name for name in COLUMNS]
        arguments = ["--dataset", str(path / "sales.csv"), *columns, "--past", "price", "--models", *MODELS]
        options = ["--seeds", "2", "--likelihood", request.param, "--output", str(path / "out")]
        assert main(["backtest", *arguments, *options]) == 0
    return request.param, path / "out"


def test_a_page_needs_nothing_else_and_begins_with_the_verdict(folder: tuple[str, Path]) -> None:
    likelihood, path = folder
    text = (path / "report.html").read_text()
    page = _Page(text)
    tags = [tag for tag, _ in page.elements]
    assert not {"link", "iframe", "object", "img"} & set(tags)
    assert "http" not in str([attributes for _, attributes in page.elements if "http-equiv" not in attributes])
    assert all("src" not in attributes for _, attributes in page.elements)
    assert page.elements[0][1] == {"lang": "en"}
    assert re.search(r"\((ours|rival)\) is ahead of .* \((ours|rival)\): mean absolute error", page.text)
    rows: list[dict[str, Any]] = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        for error in ("mae", "revision"):
            assert f"{row['means'][error]:.4g}" in page.text or not row["members"]
    assert "Target: <sold>." in page.text
    assert "Seq2SeqRNNModel-GRU x2" in page.text
    assert ("CRPS" in page.text) == ("Calibration" in page.text) == (likelihood == "quantile")


def test_failures_are_told_on_the_page(tmp_path: Path, few_epochs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no such <luck>")

    write_csv(tmp_path / "sales.csv")
    monkeypatch.setattr("darts.models.LinearRegressionModel.fit", fail)
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", *MODELS[:2], "--output", "out"]) == 1
    page = _Page((tmp_path / "out" / "report.html").read_text())
    assert "LinearRegressionModel: RuntimeError: no such <luck>" in page.text
    assert "NaiveSeasonal has the lowest mean absolute error" in page.text
    heads = page.text.partition("cannot take")[0]
    assert "range over seeds" not in heads  # of one seed
    assert "seeds" not in heads


def test_a_page_does_what_it_is_clicked_for_and_asks_no_network(folder: tuple[str, Path], browser: Browser) -> None:
    likelihood, path = folder
    browser.open(path / "report.html", width=1400)

    def lines(view: str) -> int:
        return int(browser.run(f"document.querySelectorAll('[data-view={view}] .mark-line path').length"))

    first = "document.querySelector('table.sortable tbody td').textContent"
    best = browser.run(first)
    for _ in range(2):  # rising, then falling
        browser.click("table.sortable th:nth-child(2) button")
    assert browser.run(first) != best
    assert browser.run("document.querySelector('th:nth-child(2)').ariaSort") == "descending"

    before = lines("steps")
    assert before == 3
    browser.click("#models [aria-pressed=true]")
    assert lines("steps") == before - 1
    browser.click("#models [aria-pressed=false]")
    assert lines("steps") == before

    origin = "document.getElementById('origin-text').textContent"
    drawn = "document.querySelector('[data-view=forecast] svg').innerHTML"
    start, picture = browser.run(origin), browser.run(drawn)
    browser.click("[aria-label='Later forecast']")
    assert browser.run(origin) != start
    assert browser.run(drawn) != picture
    browser.click("#worst-table .open")
    opened = browser.run("document.querySelector('#worst-table td').textContent")
    assert browser.run(origin) == f"from {opened}"
    areas = browser.run("document.querySelectorAll('[data-view=forecast] .mark-area path').length")
    assert areas == (4 if likelihood == "quantile" else 0)

    intervals = browser.run("document.querySelectorAll('#intervals tbody tr').length")
    assert intervals == (2 if likelihood == "quantile" else 0)

    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(background)
    browser.click("#theme")
    assert browser.run(background) != light

    browser.open(path / "report.html", width=390, theme="dark")
    assert browser.run(background) != light
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.complaints == []
    assert set(browser.requests) == {(path / "report.html").resolve().as_uri()}


def test_a_page_of_many_series_opens_each_of_them_and_shows_gaps_as_gaps(browser: Browser) -> None:
    table = products(3)
    table = table.drop(index=[52, 55, 57])  # of the first one, within the test period
    table.to_csv("products.csv", index=False)
    arguments = [
        "--dataset",
        "products.csv",
        "--target",
        "sold",
        "--id",
        "product",
        "--horizon",
        "4",
        "--output",
        "out",
    ]
    models = ["--models", "NaiveSeasonal", "LinearRegressionModel"]
    assert main(["backtest", *arguments, *models]) == 0
    browser.open(Path("out/report.html"), width=1400)
    dots = "document.querySelectorAll('[data-view=components] .mark-symbol path').length"
    assert browser.run(dots) == 3 * 2
    title = "document.querySelector('[data-view=forecast] .role-axis-title text[transform*=rotate]').textContent"
    assert browser.run(title) == "P000"
    truth = "document.querySelector('[data-view=forecast] .layer_2_marks path').getAttribute('d').split('M').length - 1"
    pieces = browser.run(truth)
    browser.run("document.getElementById('component').value = 1")
    browser.run("document.getElementById('component').dispatchEvent(new Event('change'))")
    browser.settle()
    assert browser.run(title) == "P001"
    assert browser.run(truth) < pieces
    browser.click("#worst-table .open")
    worst = browser.run("document.querySelector('#worst-table td:nth-child(2)').textContent")
    assert browser.run(title) == worst
    browser.open(Path("out/report.html"), width=390)
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.complaints == []

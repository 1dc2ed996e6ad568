"""The page on the architecture is true: its pictures and its table are those of the code."""

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from types import FrameType, ModuleType
from typing import Any

import pytest

from seq_plugins import Seq2SeqRNNModel
from tests.conftest import make_series
from tests.documents import ROOT

PICTURES = ROOT / "docs" / "pictures"
PACKAGES = ("seq_plugins", "benchmarks")


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(PICTURES)
    yield import_module("draw_architecture")
    for name in ("draw_architecture", "draw_networks"):
        del sys.modules[name]


def _picture(name: str) -> str:
    return (PICTURES / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_picture_of_the_rooms_has_an_arrow_for_every_import_between_them(
    package: str, drawing: ModuleType
) -> None:  # fmt: skip
    rooms = {f"{package}.{room}" for level in drawing.read_levels(package) for room in level}
    rooms = {room for room in rooms if drawing.is_room(package, room.partition(".")[2])}
    expected = {(start, end) for start, end in drawing.read_imports() if {start, end} <= rooms}
    drawn = set(re.findall(r'id="([\w.]+)-&gt;([\w.]+)"', _picture(f"rooms_of_{package}")))
    assert drawn == expected


def test_the_table_of_rooms_says_what_their_docstrings_say_and_which_they_import(drawing: ModuleType) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w/.]+)` \| (.*) \|$", page, flags=re.MULTILINE))
    rooms = [
        f"{package}.{room}"
        for package in PACKAGES
        for level in drawing.read_levels(package)
        for room in level
        if drawing.is_room(package, room)
    ]
    assert rows == {room.replace(".", "/"): drawing.describe(room) for room in rooms}


def _called(work: Callable[[], Any]) -> list[str]:
    """Return the package's functions that `work` calls, in the order of their first call."""
    called: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("seq_plugins."):
            called.setdefault(f"{module.removeprefix('seq_plugins.')}.{frame.f_code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return list(called)


@pytest.mark.parametrize(("picture", "way"), [("way_of_fit", "FIT"), ("way_of_predict", "PREDICT")])
def test_a_series_goes_through_the_functions_of_the_picture_in_its_order(
    picture: str, way: str, drawing: ModuleType
) -> None:
    model, future = Seq2SeqRNNModel(8, 4, n_epochs=2, random_state=1), make_series(60)
    of_fit = _called(lambda: model.fit(make_series(), future_covariates=future))
    called = of_fit if way == "FIT" else _called(lambda: model.predict(4))
    steps = [step.function for step in getattr(drawing, way)]
    assert set(steps) <= set(called)
    assert all(called.index(earlier) < called.index(later) for earlier, later in pairwise(steps))
    shown = re.findall(r"<text[^>]*>([^<]+)</text>", _picture(picture))
    assert [text for text in shown if "." in text and " " not in text] == [name.partition(".")[2] for name in steps]

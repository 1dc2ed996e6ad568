"""Draw the subpackages (rooms), and the path of a series through them: ``python docs/pictures/draw_architecture.py``.

Which room imports which is read from the code; the steps of the two ways are checked against it by the tests.
"""

# ruff: noqa: RUF001 signs of mathematics are meant

import ast
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grimp
from draw_networks import HEAD, INPUT, LAYER, OUTPUT, Drawing

ROOT = Path(__file__).parents[2]
COLORS = {"models": HEAD, "text": HEAD, "datasets": HEAD, "layers": LAYER, "windows": INPUT}


class Step(NamedTuple):
    """A step of a series' way: a function of the package, what it does, and the shape of what it returns."""

    function: str
    text: str
    shape: str = ""

    @property
    def room(self) -> str:
        """Name of the room that the function stands in."""
        return self.function.partition(".")[0]


FIT = [
    Step("models.base.SequenceModel._build_train_dataset", "arguments and series become a data set"),
    Step("windows.training.WindowsTrainingDataset.__init__", "series are aligned with their covariates and validated"),
    Step(
        "windows.gathering.BatchedWindows._make_gatherer",
        "the values that windows need are stored in one tensor per kind",
    ),
    Step("models.module.SequenceModule.__init__", "the network is created: encoder, then head"),
    Step(
        "lightning.training_loop.FastTrainingEpochLoop.advance",
        "one epoch, without Lightning's loops unless they are needed",
    ),
    Step("windows.gathering.Gatherer.gather", "a batch of windows is gathered at once", "(B, L + H, …)"),
    Step("models.module.SequenceModule.forward", "target and covariates become the features of each step", "(B, L, I)"),
    Step(
        "layers.recurrent.RecurrentStack.forward",
        "the encoder turns them into states, the only part that differs",
        "(B, L′, D)",
    ),
    Step("layers.head.HorizonHead.forward", "states are combined with future covariates", "(B, T, H, C, N)"),
    Step("models.module.SequenceModule._compute_loss", "the weighted loss on every step or the last, without gaps"),
    Step("lightning.divergence.LossWatch.see", "training stops if the loss diverges"),
]

PREDICT = [
    Step("models.base.SequenceModel._build_inference_dataset", "arguments and series become a data set"),
    Step(
        "windows.inference.WindowsInferenceDataset.__init__",
        "the last values are aligned with covariates and validated",
    ),
    Step("lightning.prediction_loop.PredictionLoop.predict", "batches are predicted, without a trainer unless needed"),
    Step("windows.gathering.Gatherer.gather", "a batch of windows is gathered at once", "(B, L, …)"),
    Step("models.module.SequenceModule.forward", "the features of each step", "(B, L, I)"),
    Step("models.module.SequenceModule._forecast", "only the last state forecasts"),
    Step("layers.recurrent.RecurrentStack.forward", "the encoder's last state", "(B, 1, D)"),
    Step("layers.head.HorizonHead.forward", "the state is combined with future covariates", "(B, 1, H, C, N)"),
    Step("windows.forecasts.build_forecasts", "all forecasts of a batch become series at once"),
]


def read_levels(package: str) -> list[list[str]]:
    """Return the rooms of a package as its contract in pyproject.toml has them, the topmost level first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [package])
    return [[room.strip(" ()") for room in level.replace(":", "|").split("|")] for level in layers]


def read_imports() -> set[tuple[str, str]]:
    """Return which room imports which, as pairs of names such as ``("seq_plugins.models", "seq_plugins.layers")``."""
    graph = grimp.build_graph("seq_plugins", "benchmarks", cache_dir=None)
    rooms = {module: ".".join(module.split(".")[:2]) for module in graph.modules}
    pairs = {
        (rooms[module], rooms[imported])
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    return {(start, end) for start, end in pairs if start != end and "." in start and "." in end}


def describe(room: str) -> str:
    """Return the first line of a room's own docstring."""
    path = ROOT / room.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def draw_rooms(package: str) -> None:
    """Draw the rooms of a package on their levels, and an arrow from each to those that it imports."""
    levels = [[room for room in level if is_room(package, room)] for level in read_levels(package)]
    levels = [level for level in levels if level]
    drawing = Drawing(9.4, 1.05 * len(levels))
    places: dict[str, tuple[float, float]] = {}
    for height, rooms in enumerate(reversed(levels)):
        for place, room in enumerate(rooms):
            # one alone on its level stands a little to the side, so that arrows to those below pass it
            x = 4.7 + (place - (len(rooms) - 1) / 2) * 2.2 + (0 if len(rooms) > 1 else (-1) ** height * 0.9)
            places[f"{package}.{room}"] = (x, 0.5 + 1.05 * height)
    for start, end in sorted(read_imports()):
        if start in places and end in places:
            (x, y), (x_end, y_end) = places[start], places[end]
            drawing.arrow((x, y - 0.25), (x_end, y_end + 0.25), color="0.55", zorder=0, gid=f"{start}->{end}")
    for room, place in places.items():
        name = room.partition(".")[2]
        drawing.box(place, name, COLORS.get(name, OUTPUT), 1.8)
    drawing.save(f"rooms_of_{package}")


def is_room(package: str, name: str) -> bool:
    """Tell whether a part of a package is a room, and not a helper in a file or the command line."""
    return not name.startswith("_") and ((ROOT / package / name).is_dir() or package == "seq_plugins")


def draw_way(name: str, steps: Sequence[Step]) -> None:
    """Draw the steps of a way below each other: room, function, what it does, and the shape of what it returns."""
    drawing = Drawing(9.6, 0.75 * len(steps) + 0.2)
    for place, step in enumerate(steps):
        y = 0.75 * (len(steps) - place) - 0.3
        drawing.box((1.0, y), step.room, COLORS.get(step.room, OUTPUT), 1.7, 0.44)
        drawing.words((2.1, y + 0.11), step.function.partition(".")[2])
        drawing.words((2.1, y - 0.13), step.text, color="0.4")
        drawing.words((8.0, y), step.shape)
        if place + 1 < len(steps):
            drawing.arrow((1.0, y - 0.22), (1.0, y - 0.53))
    drawing.save(name)


def draw_all() -> None:
    """Draw every picture."""
    for package in ("seq_plugins", "benchmarks"):
        draw_rooms(package)
    draw_way("way_of_fit", FIT)
    draw_way("way_of_predict", PREDICT)


if __name__ == "__main__":
    draw_all()

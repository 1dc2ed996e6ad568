"""Draw the networks of the models, and the LSTM cell: ``python docs/pictures/draw_networks.py``."""

# ruff: noqa: RUF001 signs of mathematics are meant

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

FOLDER = Path(__file__).parent

Point = tuple[float, float]

INPUT, LAYER, HEAD, OUTPUT, KNOWN = "#dbe9f6", "#fde7c9", "#e5dff0", "#d9efdc", "#f3f3f3"
STEPS = ["t − 4", "t − 3", "t − 2", "t − 1", "t"]


class Drawing:
    """A picture made of boxes, arrows and words, in units of a box's distance."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = plt.figure(figsize=(width * 0.85, height * 0.85))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def box(self, centre: Point, words: str, color: str, width: float = 0.9, height: float = 0.5) -> None:
        """Draw a box with words in it."""
        x, y = centre
        corner = (x - width / 2, y - height / 2)
        self.axes.add_patch(
            FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.08", facecolor=color, edgecolor="0.3")
        )
        self.axes.text(x, y, words, ha="center", va="center", fontsize=9)

    def arrow(self, start: Point, end: Point, style: str = "-", **kwargs: Any) -> None:
        """Draw an arrow."""
        properties = {"arrowstyle": "-|>", "color": "0.3", "linestyle": style, "shrinkA": 0, "shrinkB": 0} | kwargs
        self.axes.annotate("", end, start, arrowprops=properties)

    def words(self, place: Point, words: str, side: str = "left", color: str = "0.15") -> None:
        """Write words beside a box."""
        self.axes.text(*place, words, ha=side, va="center", fontsize=9, color=color)

    def save(self, name: str) -> None:
        """Write the picture as SVG; the same drawing gives the same bytes."""
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            self.figure.savefig(FOLDER / f"{name}.svg", facecolor="white", metadata={"Date": None, "Creator": None})
        plt.close(self.figure)


def draw_linear_model() -> None:
    """Everything that is known, flattened, into one dense layer."""
    drawing = Drawing(8.2, 4.4)
    parts = ["target\n(B, L, C)", "past\ncovariates\n(B, L, P)", "future\ncovariates\n(B, L + H, F)", "static\n(B, S)"]
    for x, part in zip((1.1, 3.1, 5.1, 7.1), parts, strict=True):
        drawing.box((x, 0.7), part, INPUT, 1.6, 0.9)
        drawing.arrow((x, 1.15), (x, 1.75))
    drawing.box((4.1, 2.0), "all values side by side", KNOWN, 7.6)
    drawing.arrow((4.1, 2.25), (4.1, 2.75))
    drawing.box((4.1, 3.0), "dense layer", HEAD, 7.6)
    drawing.arrow((4.1, 3.25), (4.1, 3.65))
    drawing.box((4.1, 3.9), "t + 1 … t + H", OUTPUT, 3.0)
    drawing.words((5.75, 3.9), "(B, H, C)")
    drawing.save("linear")


def draw_recurrent_model(name: str, n_layers: int, every_step: bool) -> None:
    """Layers unrolled through time, and the head above the last state or above all."""
    drawing = Drawing(10.4, 3.7 + n_layers * 0.95)
    places = [1.7 + 1.25 * step for step in range(len(STEPS))]
    _draw_inputs(drawing, places, STEPS)
    top = _draw_layers(drawing, places, 1.55, n_layers)
    _draw_heads(drawing, places, top, every_step)
    drawing.save(name)


def draw_conv1d_gru_model() -> None:
    """Windows of the convolution over the steps, fewer steps above them, then as in the recurrent models."""
    drawing = Drawing(12.2, 5.7)
    n_steps, kernel, stride = 8, 4, 2
    steps = ["t − 7", "t − 6", "t − 5", "t − 4", "t − 3", "t − 2", "t − 1", "t"]
    places = [1.7 + 0.95 * step for step in range(n_steps)]
    _draw_inputs(drawing, places, steps, width=0.8)
    ends = list(range(kernel - 1, n_steps, stride))
    shorter = [places[end] for end in ends]
    for end, x in zip(ends, shorter, strict=True):
        for step in range(end - kernel + 1, end + 1):
            drawing.arrow((places[step], 0.85), (x, 1.45), arrowstyle="-", color="0.6", linewidth=0.8)
        drawing.box((x, 1.7), "conv", KNOWN)
    drawing.words((shorter[-1] + 0.75, 1.7), "kernel 4, stride 2: (B, L′, filters)")
    for x in shorter:
        drawing.arrow((x, 1.95), (x, 2.3))
    top = _draw_layers(drawing, shorter, 2.55, 1)
    _draw_heads(drawing, shorter, top, every_step=True, states="(B, L′, D)")
    drawing.save("conv1d_gru")


def draw_wavenet_model() -> None:
    """Layers whose filters see steps ever further apart; what the newest state has seen is drawn strongly."""
    drawing = Drawing(12.6, 6.4)
    n_steps, dilations = 8, (1, 2, 4)
    steps = ["t − 7", "t − 6", "t − 5", "t − 4", "t − 3", "t − 2", "t − 1", "t"]
    places = [1.9 + 0.95 * step for step in range(n_steps)]
    _draw_inputs(drawing, places, steps, width=0.8)
    heights = [0.6 + 1.15 * layer for layer in range(len(dilations) + 1)]
    seen = {n_steps - 1}
    for layer, dilation in reversed(list(enumerate(dilations))):
        below, above = heights[layer] + 0.25, heights[layer + 1] - 0.25
        for step, x in enumerate(places):
            is_seen = step in seen
            look = {"color": "0.2" if is_seen else "0.75", "linewidth": 1.2 if is_seen else 0.7}
            for earlier in (step, step - dilation):
                if earlier >= 0:
                    drawing.arrow((places[earlier], below), (x, above), arrowstyle="-", **look)
            drawing.box((x, heights[layer + 1]), "conv", LAYER, 0.8)
        drawing.words((places[0] - 0.6, heights[layer + 1]), f"dilation {dilation}", "right")
        seen |= {step - dilation for step in seen}
    _draw_heads(drawing, places, heights[-1], every_step=True, states="(B, L, filters)")
    drawing.save("wavenet")


def _draw_inputs(drawing: Drawing, places: Sequence[float], steps: Sequence[str], width: float = 0.9) -> None:
    for x, step in zip(places, steps, strict=True):
        drawing.box((x, 0.6), step, INPUT, width)
    drawing.words((places[0] - 0.6, 0.6), "features of\na step", "right")
    drawing.words((places[-1] + 0.6, 0.6), "(B, L, I)")


def _draw_layers(drawing: Drawing, places: Sequence[float], bottom: float, n_layers: int) -> float:
    """Draw layers above the inputs and return the height of the topmost."""
    y = bottom
    for layer in range(n_layers):
        y = bottom + 0.95 * layer
        if layer or bottom < 2:
            for x in places:
                drawing.arrow((x, y - 0.7), (x, y - 0.25))
        for x in places:
            drawing.box((x, y), "cell", LAYER)
        for x, following in pairwise(places):
            drawing.arrow((x + 0.45, y), (following - 0.45, y))
        drawing.words((places[0] - 0.6, y), "recurrent\nlayer" + (f" {layer + 1}" if n_layers > 1 else ""), "right")
    return y


def _draw_heads(
    drawing: Drawing, places: Sequence[float], top: float, every_step: bool, states: str = "(B, L, D)"
) -> None:
    y, last = top + 0.95, places[-1]
    if every_step:
        for x in places[:-1]:
            drawing.arrow((x, top + 0.25), (x, y - 0.25), "--")
            drawing.box((x, y), "head", HEAD)
            drawing.arrow((x, y + 0.25), (x, y + 0.5), "--")
            drawing.box((x, y + 0.75), "H steps", OUTPUT)
        drawing.words((places[0] - 0.6, y + 0.4), "dashed: in\ntraining only", "right", "0.35")
    drawing.words((last + 0.6, top), f"states {states}")
    drawing.arrow((last, top + 0.25), (last, y - 0.25))
    drawing.box((last, y), "head", HEAD)
    drawing.arrow((last, y + 0.25), (last, y + 0.5))
    drawing.box((last, y + 0.75), "H steps", OUTPUT)
    drawing.words((last + 0.6, y + 0.75), "t + 1 … t + H: (B, H, C)")
    drawing.arrow((last + 0.95, y), (last + 0.45, y))
    drawing.box((last + 1.85, y), "known future (B, H, F)", KNOWN, 1.8)


def draw_encoder_decoder_model() -> None:
    """The encoder over the window, and from its last state the decoder over the horizon, with a head at each step."""
    drawing = Drawing(14.1, 4.4)
    window = [1.7 + 1.25 * step for step in range(4)]
    horizon = [window[-1] + 1.9 + 1.75 * step for step in range(3)]
    _draw_inputs(drawing, window, STEPS[1:])
    top = _draw_layers(drawing, window, 1.55, 1)
    drawing.words((window[0] - 0.45, 2.1), "encoder")
    drawing.words((horizon[0] - 0.45, 4.0), "decoder")
    drawing.arrow((window[-1] + 0.45, top), (horizon[0] - 0.45, top))
    drawing.arrow((window[-1] + 0.45, 0.75), (horizon[0] - 0.45, top - 0.15), "--")
    names = ["t + 1", "t + 2", "t + H"]
    for x, name in zip(horizon, names, strict=True):
        drawing.box((x, 0.6), f"known of {name}", KNOWN, 1.35)
        drawing.arrow((x, 0.85), (x, top - 0.25))
        drawing.box((x, top), "cell", LAYER)
        drawing.arrow((x, top + 0.25), (x, top + 0.7))
        drawing.box((x, top + 0.95), "head", HEAD)
        drawing.arrow((x, top + 1.2), (x, top + 1.65))
        drawing.box((x, top + 1.9), name, OUTPUT)
    for (x, following), style in zip(pairwise(horizon), ("-", ":"), strict=True):
        drawing.arrow((x + 0.45, top), (following - 0.45, top), style)
        drawing.arrow((x + 0.45, top + 1.8), (following - 0.45, top + 0.15), "--")
    last = horizon[-1]
    drawing.words((last + 0.8, 0.6), "covariates (B, H, F), what is\nstill to come and, in parallel,\na position")
    drawing.words((last + 0.6, top), "states (B, H, D)")
    drawing.words((last + 0.6, top + 0.95), "one head for all steps")
    drawing.words((last + 0.6, top + 1.9), "(B, H, C)")
    drawing.words(
        (window[0] - 0.45, 3.45), "dashed: in autoregressive decoding,\nthe value of the step before", color="0.35"
    )
    drawing.save("encoder_decoder_rnn")


def draw_lstm_cell() -> None:
    """The gates between the long-term state above and the short-term state below."""
    drawing = Drawing(9.4, 5.2)
    drawing.axes.add_patch(
        FancyBboxPatch((1.3, 0.95), 6.6, 3.6, "round,pad=0,rounding_size=0.15", facecolor="#fcfcfc", edgecolor="0.6")
    )
    gates = [
        (2.2, "f: σ", "forget gate"),
        (3.6, "i: σ", "input gate"),
        (4.9, "g: tanh", "candidate"),
        (6.2, "o: σ", "output gate"),
    ]
    for x, words, name in gates:
        drawing.arrow((x, 1.35), (x, 1.75))
        drawing.box((x, 2.0), f"{words}\n{name}", LAYER, 1.15)
    drawing.arrow((0.4, 1.35), (6.2, 1.35), arrowstyle="-")
    drawing.arrow((0.9, 0.4), (0.9, 1.35), arrowstyle="-")
    drawing.words((0.3, 1.6), "h(t − 1)")
    drawing.words((1.05, 0.4), "x(t)")
    _draw_lstm_states(drawing)
    drawing.save("lstm_cell")


def _draw_lstm_states(drawing: Drawing) -> None:
    for place, sign in (((2.2, 4.0), "×"), ((4.25, 3.1), "×"), ((4.25, 4.0), "+"), ((7.1, 2.0), "×")):
        drawing.box(place, sign, OUTPUT, 0.42, 0.42)
    drawing.words((0.3, 4.25), "c(t − 1)")
    drawing.arrow((0.4, 4.0), (1.99, 4.0))
    drawing.arrow((2.41, 4.0), (4.04, 4.0))
    drawing.arrow((4.46, 4.0), (8.9, 4.0))
    drawing.words((8.2, 4.25), "c(t)")
    drawing.arrow((2.2, 2.25), (2.2, 3.79))
    drawing.arrow((3.6, 2.25), (4.04, 3.0))
    drawing.arrow((4.9, 2.25), (4.46, 3.0))
    drawing.arrow((4.25, 3.31), (4.25, 3.79))
    drawing.arrow((7.1, 4.0), (7.1, 3.35))
    drawing.box((7.1, 3.1), "tanh", LAYER, 0.8)
    drawing.arrow((7.1, 2.85), (7.1, 2.21))
    drawing.arrow((6.775, 2.0), (6.89, 2.0), arrowstyle="-")
    drawing.arrow((7.31, 2.0), (8.9, 2.0))
    drawing.words((8.2, 2.25), "h(t), the output")


def draw_all() -> None:
    """Draw every picture."""
    draw_linear_model()
    draw_recurrent_model("simple_rnn", n_layers=1, every_step=False)
    draw_recurrent_model("deep_rnn", n_layers=3, every_step=False)
    draw_recurrent_model("seq2seq_rnn", n_layers=1, every_step=True)
    draw_conv1d_gru_model()
    draw_wavenet_model()
    draw_encoder_decoder_model()
    draw_lstm_cell()


if __name__ == "__main__":
    draw_all()

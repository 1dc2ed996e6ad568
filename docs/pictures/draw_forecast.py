"""Draw README's first forecast beside what came true: ``python docs/pictures/draw_forecast.py``."""

import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("forecast.png")
DAYS_BEFORE = 42


def run_first_example() -> dict[str, Any]:
    """Run README's first forecast and return its names."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- ten lines -->")[1]
    (block,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[:1]
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 our own file
    return names


def draw(names: dict[str, Any], path: Path) -> None:
    """Draw the last days of the training series, the days held out and their forecast."""
    riders = 1e4  # the example's unit
    before, truth, forecast = names["train"][-DAYS_BEFORE:] * riders, names["test"] * riders, names["forecast"] * riders
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    joined = before[-1:].append(truth)
    axes.plot(before.time_index, before.values(), color="0.35", label="riders, known")
    axes.plot(joined.time_index, joined.values(), color="0.35", linestyle=":")
    axes.plot(truth.time_index, truth.values(), "o", color="0.35", markersize=5, label="riders, not shown to the model")
    axes.plot(
        forecast.time_index, forecast.values(), "o-", color="tab:red", markersize=3, label="forecast of Seq2SeqRNNModel"
    )
    axes.axvline(before.end_time(), color="0.8", zorder=0)
    axes.set_ylabel("riders per day")
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_title("Clark/Lake, Chicago", loc="left")
    axes.legend(loc="lower left", frameon=False, ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(run_first_example(), PICTURE)

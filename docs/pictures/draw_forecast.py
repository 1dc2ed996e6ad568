"""Draw what README's first forecast draws: ``python docs/pictures/draw_forecast.py``."""

import re
import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("forecast.png")


def draw_first_example(path: Path) -> None:
    """Run README's first forecast, and save the figure that it leaves open with a title and the unit."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- eight lines -->")[1]
    (block,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[:1]
    figure = plt.figure(figsize=(9, 3.4), layout="constrained")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 our own file
    axes = figure.gca()
    axes.set(title="Clark/Lake, Chicago", xlabel="", ylabel="riders per day", ylim=(0, None))
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="lower left", frameon=False, ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw_first_example(PICTURE)

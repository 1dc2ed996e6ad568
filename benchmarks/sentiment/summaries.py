"""What the rows of all folds say about each model."""

from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from benchmarks.sentiment.folds import FoldRow

_SHAPES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "deviation": ("± folds", "{:.2%}"),
    "f1": ("macro F1", "{:.2%}"),
    "fit_seconds": ("fit s", "{:.2f}"),
    "train_texts_per_second": ("train texts/s", "{:,.0f}"),
    "predict_texts_per_second": ("predict texts/s", "{:,.0f}"),
    "peak_mb": ("peak MB", "{:,.0f}"),
    "n_folds": ("folds", "{:.0f}"),
}
"""For each column of a summary its head in tables, and how its numbers are written."""


def summarise(rows: Sequence[FoldRow]) -> pd.DataFrame:
    """Return a line for each model, the most accurate first.

    It has the means over the folds, of the accuracy the standard deviation, too, the largest growth of a fit, and the
    number of folds.
    """
    names = [field.name for field in fields(FoldRow)]
    sound = pd.DataFrame([[getattr(row, name) for name in names] for row in rows if row.error is None], columns=names)
    means = ["accuracy", "f1", "fit_seconds", "train_texts_per_second", "predict_texts_per_second"]
    by_model = sound.astype(dict.fromkeys([*means, "peak_mb"], float)).groupby("model", sort=False)
    table = by_model[means].mean()
    table["deviation"] = by_model["accuracy"].std().fillna(0.0)
    table["peak_mb"] = by_model["peak_mb"].max()
    table["n_folds"] = by_model.size()
    return table.sort_values("accuracy", ascending=False, kind="stable")[list(_SHAPES)]


def written(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary as texts, under the heads of tables."""
    texts = {
        head: ["" if pd.isna(number) else shape.format(number) for number in summary[column]]
        for column, (head, shape) in _SHAPES.items()
    }
    return pd.DataFrame(texts, index=summary.index)


def table_lines(summary: pd.DataFrame) -> list[str]:
    """Return the lines of a table for the terminal."""
    table = written(summary)
    width = max(map(len, table.index), default=0)
    lines = [("model", *table.columns), *table.itertuples(name=None)]
    return [f"{name:{width}}" + "".join(f"{cell:>17}" for cell in cells) for name, *cells in lines]


def verdict(summary: pd.DataFrame) -> str:
    """Say which kind of model wins, networks over word vectors or linear models over words."""
    networks = summary["accuracy"][summary.index.str.startswith("SentimentClassifier")]
    linear = summary["accuracy"][summary.index.str.contains(" + ", regex=False)]
    if networks.empty or linear.empty:
        return ""
    gap = networks.iloc[0] - linear.iloc[0]
    winner = "they are level" if gap == 0 else f"{(networks if gap > 0 else linear).index[0]} wins"
    return (
        f"Our best network: {networks.index[0]}, {networks.iloc[0]:.2%}; best linear model: {linear.index[0]}, "
        f"{linear.iloc[0]:.2%}: {winner}, by {abs(gap) * 100:.2f} points."
    )

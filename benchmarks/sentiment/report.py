"""The report of the sentiment benchmark: one interactive page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from benchmarks.core.page import Cell, Table, make_table, write_page
from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.folds import FoldRow
from benchmarks.sentiment.insights import PhraseEffect
from benchmarks.sentiment.summaries import verdict, written

OURS = "SentimentClassifier"
"""What the names of our models begin with."""

N_ROC_POINTS = 200
"""Number of points of a receiver operating characteristic on the page."""


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Parameters
    ----------
    corpus
        The texts.
    vectors
        Name of the word vectors.
    command
        The command that made it.
    summary
        A line for each model, the most accurate first.
    failures
        Rows of what failed.
    scores
        For each model the scores `(texts, classes)` of all texts, each from the fold in which it was tested; NaN where
        a fold is missing.
    curves
        For each model its accuracy on the first fold by the number of training texts.
    phrases
        The phrases with the largest effect on the test texts of the first fold.
    """

    corpus: Corpus
    vectors: str
    command: str
    summary: pd.DataFrame
    failures: Sequence[FoldRow]
    scores: Mapping[str, np.ndarray]
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    phrases: Sequence[PhraseEffect] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    path
        Path of the file.
    report
        What it shows.
    """
    names = list(report.summary.index)
    write_page(
        path,
        Path(__file__).with_name("report.html.jinja"),
        scripts=[Path(__file__).with_name("report.js")],
        data={
            "models": [
                {"name": name, "look": look, "is_ours": name.startswith(OURS), "is_ensemble": False}
                for look, name in enumerate(names)
            ],
            "roc": _roc(report),
            "confusion": _confusion(report),
            "curves": {model: list(points) for model, points in report.curves.items()},
            "fit": {
                name: {
                    "accuracy": float(report.summary.loc[name, "accuracy"]),
                    "seconds": max(float(report.summary.loc[name, "fit_seconds"]), 0.001),
                }
                for name in names
            },
            "phrases": [[effect.text, effect.n_texts, effect.contribution] for effect in report.phrases],
        },
        title=f"Sentiment: {report.corpus.name}",
        introduction=_introduce(report),
        verdict=verdict(report.summary),
        table=_table(report.summary) if names else None,
        failures=report.failures,
        last_label=str(np.unique(report.corpus.labels)[-1]),
        command=report.command,
    )


def _table(summary: pd.DataFrame) -> Table:
    """Return the summary as a table that can be sorted."""
    texts = written(summary)
    rows = [
        {"model": Cell(str(name), kind="ours" if str(name).startswith(OURS) else "", model=str(name))}
        | {
            head: Cell(text, None if pd.isna(value) else float(value))
            for head, text, value in zip(texts.columns, cells, summary.loc[name], strict=True)
        }
        for name, *cells in texts.itertuples(name=None)
    ]
    return make_table("Means over the folds; for peak memory, the maximum.", rows)


def _introduce(report: Report) -> str:
    labels, counts = np.unique(report.corpus.labels, return_counts=True)
    told = ", ".join(f"{count:,} {label}" for label, count in zip(labels, counts, strict=True))
    note = f" Note: {report.corpus.note}." if report.corpus.note else ""
    return (
        f"{len(report.corpus.texts):,} texts ({told}), {report.corpus.n_folds} folds, the same for every model. Word "
        f"vectors: {report.vectors}.{note}"
    )


def _tested(report: Report, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the classes, and the scores, of the texts that a model was tested on."""
    scores = report.scores[model]
    is_tested = ~np.isnan(scores).any(axis=1)
    codes = np.unique(report.corpus.labels, return_inverse=True)[1]
    return codes[is_tested], scores[is_tested]


def _roc(report: Report) -> dict[str, dict[str, Any]]:
    """Return each model's curve, thinned, and the area under it; only of two classes."""
    if len(np.unique(report.corpus.labels)) != 2:
        return {}
    curves = {}
    for model in report.scores:
        codes, scores = _tested(report, model)
        margin = scores[:, 1] - scores[:, 0]
        wrong, right, _ = roc_curve(codes, margin)
        kept = np.unique(np.linspace(0, len(wrong) - 1, N_ROC_POINTS).round().astype(int))
        points = np.column_stack([wrong, right])[kept].round(4).tolist()
        curves[model] = {"area": float(roc_auc_score(codes, margin)), "points": points}
    return curves


def _confusion(report: Report) -> list[dict[str, Any]]:
    """Return how many texts of each class the most accurate models took for each class, and which part that is."""
    labels = np.unique(report.corpus.labels)
    cells = []
    for model in [name for name in report.summary.index if name in report.scores][:3]:
        codes, scores = _tested(report, model)
        matrix = confusion_matrix(codes, scores.argmax(axis=1), labels=range(len(labels)))
        parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        cells += [
            {
                "model": model,
                "true": str(labels[true]),
                "predicted": str(labels[predicted]),
                "texts": int(matrix[true, predicted]),
                "part": float(parts[true, predicted]),
            }
            for true, predicted in np.ndindex(matrix.shape)
        ]
    return cells

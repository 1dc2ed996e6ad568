"""The report of the sentiment benchmark: one page with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix, roc_auc_score, roc_curve

from benchmarks.core.page import PICTURE_STYLE, embed, write_page
from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.folds import FoldRow
from benchmarks.sentiment.insights import PhraseEffect
from benchmarks.sentiment.summaries import verdict, written


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
    with mpl.rc_context(PICTURE_STYLE):
        pictures = {
            "Receiver operating characteristic over the test texts of all folds.": _draw_roc(report),
            "Confusion matrix over the test texts of all folds.": _draw_confusion(report),
            "Phrases with the largest mean contribution to the logit, first fold.": _draw_phrases(report),
            "Accuracy on the first fold by the number of training texts.": _draw_curves(report),
        }
        write_page(
            path,
            Path(__file__).with_name("report.html.jinja"),
            title=f"Sentiment: {report.corpus.name}",
            introduction=_introduce(report),
            verdict=verdict(report.summary),
            table=written(report.summary),
            failures=report.failures,
            pictures=[embed(figure, caption, kind="png") for caption, figure in pictures.items() if figure is not None],
            command=report.command,
        )


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


def _colors(report: Report) -> dict[str, str]:
    """Return a colour for each model, the same in every picture."""
    return {model: f"C{position}" for position, model in enumerate(report.summary.index)}


def _draw_roc(report: Report) -> Figure | None:
    if len(np.unique(report.corpus.labels)) != 2 or not report.scores:
        return None
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplots()
    for model, color in _colors(report).items():
        codes, scores = _tested(report, model)
        margin = scores[:, 1] - scores[:, 0]
        wrong, right, _ = roc_curve(codes, margin)
        label = f"{model} (area {roc_auc_score(codes, margin):.3f})"
        axes.plot(wrong, right, color=color, linewidth=1.3, label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.7, linestyle=":")
    axes.set_xlabel("share of the first class taken for the second")
    axes.set_ylabel("share of the second class found")
    _tidy(axes)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def _draw_confusion(report: Report) -> Figure | None:
    chosen = report.summary.index[:3]
    if chosen.empty:
        return None
    labels = np.unique(report.corpus.labels)
    figure = Figure(figsize=(4 * len(chosen), 3.8), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        codes, scores = _tested(report, model)
        matrix = confusion_matrix(codes, scores.argmax(axis=1), labels=range(len(labels)))
        shown = ConfusionMatrixDisplay(matrix, display_labels=labels)
        shown.plot(ax=axes, cmap="Blues", colorbar=False, values_format=",")
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_title(model, fontsize=9)
    return figure


def _draw_phrases(report: Report) -> Figure | None:
    if not report.phrases:
        return None
    figure = Figure(figsize=(8, 0.35 * len(report.phrases) + 1), layout="constrained")
    axes = figure.subplots()
    contributions = [effect.contribution for effect in report.phrases]
    names = [f"{_shorten(effect.text)} ({effect.n_texts})" for effect in report.phrases]
    colors = ["C3" if contribution < 0 else "C0" for contribution in contributions]
    axes.barh(range(len(names)), contributions, color=colors)
    axes.set_yticks(range(len(names)), names)
    label = np.unique(report.corpus.labels)[-1]
    axes.set_xlabel(f"contribution to the logit of {label!s} (number of texts in brackets)")
    _tidy(axes)
    return figure


def _shorten(text: str) -> str:
    printable = text.encode("ascii", "replace").decode().replace("$", r"\$")  # the picture's font knows few scripts
    return printable if len(printable) <= 45 else f"{printable[:42]}..."


def _draw_curves(report: Report) -> Figure | None:
    if not report.curves:
        return None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for model, points in report.curves.items():
        sizes, accuracies = zip(*points, strict=True)
        axes.plot(sizes, accuracies, color=_colors(report).get(model), marker="o", label=model)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xlabel("training texts")
    axes.set_ylabel("accuracy")
    _tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)

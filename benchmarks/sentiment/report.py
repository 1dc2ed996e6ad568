"""The report of the sentiment benchmark: pictures, and one page that needs nothing else."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed; before pyplot is imported

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.folds import HEADS, PhraseEffect, Row, Summary, cells, verdict
from seq_plugins._files import atomic_file

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d1d1f; background: #fff; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e3e3e6; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; } .scroll { overflow-x: auto; } figcaption { color: #444; font-size: .9rem; }
"""


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
    summaries
        The models, the most accurate first.
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
    summaries: Sequence[Summary]
    failures: Sequence[Row]
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
    title = f"Sentiment: {report.corpus.name}"
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_CSS}</style></head><body><main><h1>{escape(title)}</h1>",
        f"<p>{_introduce(report)}</p><p><strong>{escape(verdict(report.summaries))}</strong></p>",
        _table(report.summaries),
    ]
    if report.failures:
        told = "".join(
            f"<li>{escape(row.model)}, fold {row.fold}: {escape(str(row.error))}</li>" for row in report.failures
        )
        parts.append(f"<h2>What failed</h2><ul>{told}</ul>")
    parts += [
        _figure(figure, text)
        for figure, text in (
            (_draw_roc(report), "Receiver operating characteristic over the test texts of all folds."),
            (_draw_confusion(report), "Confusion matrix over the test texts of all folds."),
            (_draw_phrases(report), "Phrases with the largest mean contribution to the logit, first fold."),
            (_draw_curves(report), "Accuracy on the first fold by the number of training texts."),
        )
        if figure is not None
    ]
    parts.append(f"<h2>Again</h2><pre>{escape(report.command)}</pre></main></body></html>\n")
    with atomic_file(path) as temporary:
        temporary.write_text("".join(parts), encoding="utf-8")


def _introduce(report: Report) -> str:
    labels, counts = np.unique(report.corpus.labels, return_counts=True)
    told = ", ".join(f"{count:,} {label}" for label, count in zip(labels, counts, strict=True))
    note = f" Note: {report.corpus.note}." if report.corpus.note else ""
    return escape(
        f"{len(report.corpus.texts):,} texts ({told}), {report.corpus.n_folds} folds, the same for every model. Word "
        f"vectors: {report.vectors}.{note}"
    )


def _table(summaries: Sequence[Summary]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("model", *HEADS))
    rows = "".join(
        f"<tr><td>{escape(summary.model)}</td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells(summary))
        + "</tr>"
        for summary in summaries
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _figure(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    plt.close(figure)
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _tested(report: Report, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the classes, and the scores, of the texts that a model was tested on."""
    scores = report.scores[model]
    is_tested = ~np.isnan(scores).any(axis=1)
    codes = np.unique(report.corpus.labels, return_inverse=True)[1]
    return codes[is_tested], scores[is_tested]


def _colors(report: Report) -> dict[str, str]:
    """Return a colour for each model, the same in every picture."""
    return {summary.model: f"C{position}" for position, summary in enumerate(report.summaries)}


def _draw_roc(report: Report) -> Figure | None:
    if len(np.unique(report.corpus.labels)) != 2 or not report.scores:
        return None
    figure, axes = plt.subplots(figsize=(7, 5.5), layout="constrained")
    for summary in report.summaries:
        codes, scores = _tested(report, summary.model)
        margin = scores[:, 1] - scores[:, 0]
        wrong, right, _ = roc_curve(codes, margin)
        label = f"{summary.model} (area {roc_auc_score(codes, margin):.3f})"
        axes.plot(wrong, right, color=_colors(report)[summary.model], linewidth=1.3, label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.7, linestyle=":")
    axes.set_xlabel("share of the first class taken for the second")
    axes.set_ylabel("share of the second class found")
    _tidy(axes)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def _draw_confusion(report: Report) -> Figure | None:
    chosen = [summary.model for summary in report.summaries[:3]]
    if not chosen:
        return None
    labels = np.unique(report.corpus.labels)
    figure, all_axes = plt.subplots(1, len(chosen), figsize=(4 * len(chosen), 3.8), layout="constrained", squeeze=False)
    for axes, model in zip(all_axes[0], chosen, strict=True):
        codes, scores = _tested(report, model)
        matrix = confusion_matrix(codes, scores.argmax(axis=1), labels=range(len(labels)))
        axes.imshow(matrix, cmap="Blues")
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if count > matrix.max() / 2 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
        axes.set_xticks(range(len(labels)), [str(label) for label in labels])
        axes.set_yticks(range(len(labels)), [str(label) for label in labels])
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(model, fontsize=9)
    return figure


def _draw_phrases(report: Report) -> Figure | None:
    if not report.phrases:
        return None
    figure, axes = plt.subplots(figsize=(8, 0.35 * len(report.phrases) + 1), layout="constrained")
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
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
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

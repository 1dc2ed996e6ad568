"""Cross-validation of sentiment models on fixed folds: rows, summaries, and what the report is made of."""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.core.timing import MissingPeerError
from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.entries import Entry, Fitted
from seq_plugins._files import atomic_file

PACKAGES = ("seq-plugins", "torch", "gensim", "nltk", "scikit-learn", "numpy", "numba")


@dataclass(frozen=True)
class Row:
    """One model, trained without one fold and tested on it.

    Parameters
    ----------
    dataset
        Name of the corpus.
    model
        Name of the model.
    fold
        Number of the fold that is tested, counted from 1.
    n_train
        Number of texts that it was trained on.
    n_test
        Number of texts that it was tested on.
    accuracy
        Share of the test texts with the right label.
    f1
        Mean of the classes' F1 scores (macro F1).
    fit_seconds
        Seconds from texts to a trained model; the making of word vectors is not among them.
    train_texts_per_second
        Training texts times epochs, by `fit_seconds`.
    predict_texts_per_second
        Test texts by the seconds from texts to scores.
    peak_mb
        Megabytes by which the process grew at most during the fit; on Linux only.
    vectors
        The word vectors.
    settings
        Settings of the model.
    threads
        Number of threads.
    versions
        Versions of Python and of the packages that matter.
    error
        What went wrong, or what is not installed.
    missing
        Whether a peer is not installed.
    """

    dataset: str
    model: str
    fold: int
    n_train: int = 0
    n_test: int = 0
    accuracy: float | None = None
    f1: float | None = None
    fit_seconds: float | None = None
    train_texts_per_second: float | None = None
    predict_texts_per_second: float | None = None
    peak_mb: float | None = None
    vectors: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    missing: bool = False


@dataclass(frozen=True)
class Scored:
    """A row, and what the model gave for it."""

    row: Row
    fitted: Fitted | None = None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter."""
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def run_fold(corpus: Corpus, entry: Entry, fold: int, vectors: str, threads: int) -> Scored:
    """Train a model without a fold, and test it there; what goes wrong becomes a row that says so.

    Parameters
    ----------
    corpus
        The texts.
    entry
        The model.
    fold
        Number of the fold, counted from 0.
    vectors
        Name of the word vectors, for the row.
    threads
        Number of threads, for the row.
    """
    is_test = corpus.folds == fold
    train = [text for text, is_left_out in zip(corpus.texts, is_test, strict=True) if not is_left_out]
    test = [text for text, is_left_out in zip(corpus.texts, is_test, strict=True) if is_left_out]
    about: dict[str, Any] = {
        "dataset": corpus.name, "model": entry.name, "fold": fold + 1, "n_train": len(train), "n_test": len(test),
        "vectors": vectors, "settings": entry.settings, "threads": threads, "versions": versions(),
    }  # fmt: skip
    try:
        with _Peak() as peak:
            fitted = entry.run(train, corpus.labels[~is_test], test)
    except MissingPeerError as error:
        return Scored(Row(**about, error=str(error), missing=True))
    except Exception as error:  # whatever goes wrong becomes a row
        lines = str(error).strip().splitlines() or [""]
        return Scored(Row(**about, error=f"{type(error).__name__}: {lines[-1]}"))
    classes = np.unique(corpus.labels)
    predicted = classes[fitted.scores.argmax(axis=1)]
    n_seen = len(train) * entry.settings.get("n_epochs", 1)
    row = Row(
        **about,
        accuracy=float(accuracy_score(corpus.labels[is_test], predicted)),
        f1=float(f1_score(corpus.labels[is_test], predicted, average="macro")),
        fit_seconds=fitted.fit_seconds,
        train_texts_per_second=n_seen / fitted.fit_seconds,
        predict_texts_per_second=len(test) / fitted.predict_seconds,
        peak_mb=peak.megabytes if fitted.peak_mb is None else fitted.peak_mb,
    )
    return Scored(row, fitted)


def warm_up(corpus: Corpus, entry: Entry) -> None:
    """Train on a few texts: what is loaded and compiled at the first fit counts for no fold."""
    few = np.concatenate([np.flatnonzero(corpus.labels == label)[:20] for label in np.unique(corpus.labels)])
    texts = [corpus.texts[place] for place in few]
    with suppress(Exception):  # whatever goes wrong is told when it is measured
        entry.run(texts, corpus.labels[few], texts)


class _Peak:
    """By how many megabytes this process grows at most within a ``with`` block; Linux tells it."""

    megabytes: float | None = None

    def __enter__(self) -> "_Peak":
        clear = Path("/proc/self/clear_refs")
        self._before = None
        if clear.exists():
            clear.write_text("5", encoding="ascii")  # the peak is counted anew
            self._before = read_memory("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self.megabytes = read_memory("VmHWM") - self._before


def read_memory(name: str) -> float:
    """Return a number of megabytes that the kernel tells of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


# --- summaries


@dataclass(frozen=True)
class Summary:
    """The rows of one model over all folds.

    Parameters
    ----------
    model
        Name of the model.
    rows
        Its rows.
    """

    model: str
    rows: Sequence[Row]

    def mean(self, what: str) -> float:
        """Return the mean of a number of the rows over the folds."""
        return statistics.fmean(self._numbers(what))

    def spread(self, what: str) -> float:
        """Return the standard deviation of a number of the rows over the folds."""
        numbers = self._numbers(what)
        return statistics.stdev(numbers) if len(numbers) > 1 else 0.0

    def peak_mb(self) -> float | None:
        """Return the largest growth of a fit."""
        found = [row.peak_mb for row in self.rows if row.peak_mb is not None]
        return max(found, default=None)

    def _numbers(self, what: str) -> list[float]:
        return [float(getattr(row, what)) for row in self.rows]


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Group the rows by model, the most accurate first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.error is None:
            groups.setdefault(row.model, []).append(row)
    summaries = [Summary(model, group) for model, group in groups.items()]
    return sorted(summaries, key=lambda summary: -summary.mean("accuracy"))


HEADS = ("accuracy", "± folds", "macro F1", "fit s", "train texts/s", "predict texts/s", "peak MB", "folds")


def cells(summary: Summary) -> list[str]:
    """Return what stands under ``HEADS`` for a model."""
    peak = summary.peak_mb()
    return [
        f"{summary.mean('accuracy'):.2%}",
        f"{summary.spread('accuracy'):.2%}",
        f"{summary.mean('f1'):.2%}",
        f"{summary.mean('fit_seconds'):.2f}",
        f"{summary.mean('train_texts_per_second'):,.0f}",
        f"{summary.mean('predict_texts_per_second'):,.0f}",
        "" if peak is None else f"{peak:,.0f}",
        str(len(summary.rows)),
    ]


def table_lines(summaries: Sequence[Summary]) -> list[str]:
    """Return the lines of a table for the terminal."""
    width = max((len(summary.model) for summary in summaries), default=0)
    shown = [("model", HEADS), *((summary.model, cells(summary)) for summary in summaries)]
    return [f"{name:{width}}" + "".join(f"{cell:>17}" for cell in row) for name, row in shown]


def verdict(summaries: Sequence[Summary]) -> str:
    """Say which kind of model wins, networks over word vectors or linear models over words."""
    networks = [summary for summary in summaries if summary.model.startswith("SentimentClassifier")]
    linear = [summary for summary in summaries if " + " in summary.model]
    if not networks or not linear:
        return ""
    gap = networks[0].mean("accuracy") - linear[0].mean("accuracy")
    winner = "they are level" if gap == 0 else f"{(networks if gap > 0 else linear)[0].model} wins"
    return (
        f"Best network of ours: {networks[0].model}, {networks[0].mean('accuracy'):.2%}; best linear model: "
        f"{linear[0].model}, {linear[0].mean('accuracy'):.2%}: {winner}, by {abs(gap) * 100:.2f} points."
    )


def write_rows(path: Path, rows: Sequence[Row], more: Sequence[dict[str, Any]] = ()) -> None:
    """Write rows as one JSON file, as a whole or not at all; `more` are the rows of the speed cases."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump({"rows": [asdict(row) for row in rows], "speed": list(more)}, file, indent=1)
        file.write("\n")


# --- what else the report shows


def learning_curve(
    corpus: Corpus, entries: Sequence[Entry], tell: Callable[[str], None]
) -> dict[str, list[tuple[int, float]]]:
    """Return each model's accuracy on the first fold by the number of training texts.

    Parameters
    ----------
    corpus
        The texts.
    entries
        The models.
    tell
        Called after each fit with what was done.
    """
    is_test = corpus.folds == 0
    order = np.random.default_rng(0).permutation(np.flatnonzero(~is_test))
    test = [corpus.texts[place] for place in np.flatnonzero(is_test)]
    classes = np.unique(corpus.labels)
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for n_texts in _sizes(len(order)):
            chosen = np.sort(order[:n_texts])
            if len(np.unique(corpus.labels[chosen])) == len(classes):
                fitted = entry.run([corpus.texts[place] for place in chosen], corpus.labels[chosen], test)
                predicted = classes[fitted.scores.argmax(axis=1)]
                accuracy = float(accuracy_score(corpus.labels[is_test], predicted))
                curves.setdefault(entry.name, []).append((n_texts, accuracy))
            tell(f"learning curve: {entry.name}, {n_texts} texts")
    return curves


def _sizes(n_texts: int) -> Iterator[int]:
    for divisor in (16, 8, 4, 2, 1):
        yield max(n_texts // divisor, 1)


N_CURVE_SIZES = 5


@dataclass(frozen=True)
class PhraseEffect:
    """What a phrase did to the scores of test texts.

    Parameters
    ----------
    text
        The phrase.
    contribution
        Its mean contribution to the logit of the last class.
    n_texts
        Number of test texts in which it stood out.
    """

    text: str
    contribution: float
    n_texts: int


def strongest_phrases(classifier: Any, texts: Sequence[str], n_phrases: int = 12) -> list[PhraseEffect]:
    """Return the phrases with the largest contributions, half of them for and half against the last class."""
    found: dict[str, list[float]] = {}
    label = classifier.classes_.tolist()[-1]
    for text in texts:
        by_phrase: dict[str, float] = {}
        for phrase in classifier.explain(text, label=label).phrases:
            name = " ".join(phrase.text.lower().split())
            by_phrase[name] = by_phrase.get(name, 0.0) + phrase.contribution
        for name, contribution in by_phrase.items():
            found.setdefault(name, []).append(contribution)
    effects = [PhraseEffect(name, statistics.fmean(numbers), len(numbers)) for name, numbers in found.items()]
    effects.sort(key=lambda effect: effect.contribution)
    half = n_phrases // 2
    against = [effect for effect in effects[:half] if effect.contribution < 0]
    return against + [effect for effect in effects[-half:] if effect.contribution > 0]

"""Cross-validation of sentiment models on fixed folds: a row for each model and fold."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.core.errors import MissingRivalError, error_line
from benchmarks.core.memory import PeakMemory
from benchmarks.core.provenance import processor
from benchmarks.core.versions import versions
from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.entries import ClassifierEntry, Fitted

PACKAGES = ("seq-plugins", "torch", "gensim", "nltk", "scikit-learn", "numpy", "numba")


@dataclass(frozen=True)
class FoldRow:
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
    processor
        The processor, and how many cores it has.
    versions
        Versions of Python and of the packages that matter.
    error
        What went wrong, or what is not installed.
    missing
        Whether a rival is not installed.
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
    processor: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    missing: bool = False


@dataclass(frozen=True)
class Scored:
    """A row, and what the model gave for it."""

    row: FoldRow
    fitted: Fitted | None = None


def run_fold(corpus: Corpus, entry: ClassifierEntry, fold: int, vectors: str, threads: int) -> Scored:
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
    train, test = corpus.texts_where(~is_test), corpus.texts_where(is_test)
    about: dict[str, Any] = {
        "dataset": corpus.name, "model": entry.name, "fold": fold + 1, "n_train": len(train), "n_test": len(test),
        "vectors": vectors, "settings": entry.settings, "threads": threads,
        "processor": processor(), "versions": versions(PACKAGES),
    }  # fmt: skip
    try:
        with PeakMemory() as peak:
            fitted = entry.run(train, corpus.labels[~is_test], test)
    except MissingRivalError as error:
        return Scored(FoldRow(**about, error=str(error), missing=True))
    except Exception as error:  # whatever goes wrong becomes a row
        return Scored(FoldRow(**about, error=error_line(error)))
    predicted = np.unique(corpus.labels)[fitted.scores.argmax(axis=1)]
    row = FoldRow(
        **about,
        accuracy=float(accuracy_score(corpus.labels[is_test], predicted)),
        f1=float(f1_score(corpus.labels[is_test], predicted, average="macro")),
        fit_seconds=fitted.fit_seconds,
        train_texts_per_second=len(train) * entry.settings.get("n_epochs", 1) / fitted.fit_seconds,
        predict_texts_per_second=len(test) / fitted.predict_seconds,
        peak_mb=peak.megabytes if fitted.peak_mb is None else fitted.peak_mb,
    )
    return Scored(row, fitted)


def warm_up(corpus: Corpus, entry: ClassifierEntry) -> None:
    """Train on a few texts: what is loaded and compiled at the first fit counts for no fold."""
    few = np.concatenate([np.flatnonzero(corpus.labels == label)[:20] for label in np.unique(corpus.labels)])
    texts = [corpus.texts[place] for place in few]
    with suppress(Exception):  # whatever goes wrong is told when it is measured
        entry.run(texts, corpus.labels[few], texts)

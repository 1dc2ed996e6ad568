"""The models of the sentiment benchmark: ours, linear ones, and the lecture's network in Keras."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from benchmarks.core.rivals import RivalProcesses
from seq_plugins.text import SentimentClassifier, Word2VecVectorizer
from seq_plugins.text.classifier import LECTURE
from seq_plugins.text.documents import PADDING
from seq_plugins.text.linear_classifier import log_count_ratios
from seq_plugins.text.tokenizing import CachedTreebankTokenizer

MAXLEN, BATCH_SIZE, PREDICT_BATCH_SIZE = 400, 32, 128


@dataclass(frozen=True)
class Fitted:
    """What a model did with a fold.

    Parameters
    ----------
    scores
        For each test text a number for each class, the more likely the larger, `(texts, classes)`.
    fit_seconds
        Seconds from texts to a trained model.
    predict_seconds
        Seconds from the test texts to their scores.
    peak_mb
        Megabytes by which the process grew at most while it was trained, if a process of its own has measured that.
    model
        The trained model, where it is in this process.
    """

    scores: np.ndarray
    fit_seconds: float
    predict_seconds: float
    peak_mb: float | None = None
    model: Any = None


Run = Callable[[Sequence[str], np.ndarray, Sequence[str]], Fitted]
"""Trains on texts and labels, and scores further texts."""


@dataclass(frozen=True)
class ClassifierEntry:
    """A model of the benchmark.

    Parameters
    ----------
    name
        Name in the rows and on the command line.
    run
        Trains and predicts.
    settings
        What there is to set, for the rows.
    rival
        Name of the package that it needs in a process of its own.
    """

    name: str
    run: Run
    settings: dict[str, Any] = field(default_factory=dict)
    rival: str | None = None


def make_entries(
    vectors: Callable[[Sequence[str]], Any], n_epochs: int, seed: int, processes: RivalProcesses | None
) -> list[ClassifierEntry]:
    """Return all models.

    Parameters
    ----------
    vectors
        From the training texts to the word vectors.
    n_epochs
        Number of epochs of the networks.
    seed
        Seed of the networks.
    processes
        The rivals' processes; without them Keras is left out.
    """
    lecture: dict[str, Any] = {**LECTURE, "n_epochs": n_epochs}
    networks: dict[str, dict[str, Any]] = {
        "SentimentClassifier": {},
        "SentimentClassifier, without n-grams": {"ngrams": None},
        "SentimentClassifier, the lecture's network": lecture,
        "SentimentClassifier, the lecture's network, trained vectors": lecture
        | {"train_embeddings": True, "oov": "random"},
    }

    def make_network(settings: dict[str, Any], texts: Sequence[str]) -> SentimentClassifier:
        return SentimentClassifier(vectors(texts), verbose=False, random_state=seed, **settings)

    entries = [
        ClassifierEntry(name, partial(_fit, partial(make_network, settings)), settings | {"seed": seed})
        for name, settings in networks.items()
    ]
    entries += [
        ClassifierEntry(
            "TF-IDF + logistic regression", partial(_fit, _make_tfidf), {"ngrams": [1, 2], "min_df": 2, "C": 10.0}
        ),
        ClassifierEntry(
            "naive-Bayes features + linear SVM",
            partial(_fit, _make_naive_bayes_svm),
            {"ngrams": [1, 2], "min_df": 1, "C": 1.0},
        ),
        ClassifierEntry(
            "naive-Bayes features + logistic regression",
            partial(_fit, _make_naive_bayes_regression),
            {"ngrams": [1, 2], "min_df": 1, "C": 1.0},
        ),
    ]
    if processes is not None:
        settings = {"n_epochs": n_epochs, "seed": seed}
        entries.append(
            ClassifierEntry("Keras, the lecture's network", _keras_run(vectors, settings, processes), settings, "keras")
        )
    return entries


# --- in this process


def _fit(
    make: Callable[[Sequence[str]], Any], texts: Sequence[str], labels: np.ndarray, further: Sequence[str]
) -> Fitted:
    model = make(texts)
    start = time.perf_counter()
    model.fit(texts, labels)
    fit_seconds = time.perf_counter() - start
    start = time.perf_counter()
    scores = model.decision_function(further)
    predict_seconds = time.perf_counter() - start
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return Fitted(scores, fit_seconds, predict_seconds, model=model)


def _make_tfidf(texts: Sequence[str]) -> Any:
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
    )


class NaiveBayesFeatures(TransformerMixin, BaseEstimator):
    """Multiplies what texts contain with naive Bayes' log-count ratios.

    S. Wang, C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012,
    https://aclanthology.org/P12-2018. With more than two classes there is one ratio for each class against the others.
    """

    def fit(self, X: sparse.csr_matrix, y: np.ndarray) -> Self:  # noqa: N803
        """Count."""
        classes = np.unique(y)
        against_others = classes[1:] if len(classes) == 2 else classes
        self.ratios_ = np.array([log_count_ratios(X, y == label, np.ones(len(y))) for label in against_others])
        return self

    def transform(self, X: sparse.csr_matrix) -> Any:  # noqa: N803
        """Multiply."""
        return sparse.hstack([X.multiply(ratio) for ratio in self.ratios_]).tocsr()


def _count_ngrams() -> CountVectorizer:
    """Return what finds words and word pairs, all of them and with Treebank's tokens, as the features' authors do."""
    return CountVectorizer(
        ngram_range=(1, 2), binary=True, tokenizer=CachedTreebankTokenizer(), token_pattern=None, lowercase=True
    )


def _make_naive_bayes_svm(texts: Sequence[str]) -> Any:
    return make_pipeline(_count_ngrams(), NaiveBayesFeatures(), LinearSVC(C=1.0))


def _make_naive_bayes_regression(texts: Sequence[str]) -> Any:
    return make_pipeline(_count_ngrams(), NaiveBayesFeatures(), LogisticRegression(C=1.0, max_iter=1000))


# --- Keras


def write_documents(
    file: Path, vectorizer: Word2VecVectorizer, train: np.ndarray, test: np.ndarray, codes: np.ndarray
) -> None:
    """Write what the rival needs: ids `(texts, maxlen)`, counted anew, and the vectors of those that occur."""
    distinct, places = np.unique(np.concatenate([[PADDING], train.ravel(), test.ravel()]), return_inverse=True)
    numbers = places[1:].astype(np.int32)
    np.savez(
        file,
        words=vectorizer.table_.rows(distinct),
        train=numbers[: train.size].reshape(train.shape),
        test=numbers[train.size :].reshape(test.shape),
        codes=codes,
    )


def _keras_run(vectors: Callable[[Sequence[str]], Any], settings: dict[str, Any], processes: RivalProcesses) -> Run:
    def run(texts: Sequence[str], labels: np.ndarray, further: Sequence[str]) -> Fitted:
        keras = processes["keras"]
        found = vectors(texts)
        start = time.perf_counter()
        vectorizer = Word2VecVectorizer(found, MAXLEN, tokenizer="treebank")
        train = vectorizer.fit_transform(texts)
        seconds_of_ids = time.perf_counter() - start
        classes, codes = np.unique(labels, return_inverse=True)
        start = time.perf_counter()
        test = vectorizer.transform(further)
        seconds_of_test_ids = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "documents.npz"
            write_documents(file, vectorizer, train, test, codes)
            n_outputs = 1 if len(classes) == 2 else len(classes)
            sizes = {"n_outputs": n_outputs, "batch_size": BATCH_SIZE, "predict_batch_size": PREDICT_BATCH_SIZE}
            keras.ask("prepare", file=str(file), settings=settings | sizes)
        fitted, predicted = keras.ask("fit"), keras.ask("predict")
        outputs = np.array(predicted["outputs"])
        return Fitted(
            np.concatenate([1 - outputs, outputs], axis=1) if n_outputs == 1 else outputs,
            seconds_of_ids + fitted["seconds_of_arrays"] + fitted["seconds"],
            seconds_of_test_ids + predicted["seconds"],
            fitted["peak_mb"],
        )

    return run

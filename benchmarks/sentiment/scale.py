"""Time and memory of the classifier with many long texts, which are joined from those of a corpus."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.core.memory import PeakMemory
from benchmarks.sentiment.corpora import Corpus
from seq_plugins.text import SentimentClassifier

N_JOINED = 11
SHARE_OF_CLASS = 0.6
N_FIRST = 60


@dataclass(frozen=True)
class ScaleRow:
    """What a piece of work took.

    Parameters
    ----------
    case
        What was done.
    texts
        Number of texts.
    words
        Mean number of their words.
    seconds
        Seconds of this process on the processor.
    megabytes
        By how many megabytes the process grew at most, beyond texts and vectors.
    """

    case: str
    texts: int
    words: float
    seconds: float
    megabytes: float | None

    @property
    def texts_per_second(self) -> float:
        """Texts that are done in a second."""
        return self.texts / self.seconds


def make_long_texts(corpus: Corpus, n_texts: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return texts that are joined from several, most of them of one class, and the labels of these classes."""
    generator = np.random.default_rng(seed)
    labels = np.unique(corpus.labels)
    texts = []
    for number in range(n_texts):
        is_of_class = corpus.labels == labels[number % len(labels)]
        n_of_class = generator.binomial(N_JOINED, SHARE_OF_CLASS)
        chosen = np.concatenate([
            generator.choice(np.flatnonzero(mask), n)
            for mask, n in ((is_of_class, n_of_class), (~is_of_class, N_JOINED - n_of_class))
        ])  # fmt: skip
        texts.append(" ".join(corpus.texts[place] for place in generator.permutation(chosen)))
    return texts, labels[np.arange(n_texts) % len(labels)]


def measure_scale(corpus: Corpus, vectors: Any, n_texts: int, seed: int, tell: Callable[[str], None]) -> list[ScaleRow]:
    """Fit long texts and predict them, then predict the corpus' own texts.

    Parameters
    ----------
    corpus
        The texts that are joined.
    vectors
        The word vectors.
    n_texts
        Number of long texts.
    seed
        Seed of the classifier.
    tell
        Told what has been done.
    """
    texts, labels = make_long_texts(corpus, n_texts)
    classifier = SentimentClassifier(vectors, verbose=False, random_state=seed)
    classifier.fit(texts[:N_FIRST], labels[:N_FIRST]).predict(
        texts[:N_FIRST]
    )  # what is compiled at first does not count
    rows = []

    def measure(case: str, work: Callable[[], Any], of: Sequence[str]) -> None:
        with PeakMemory() as peak:
            start = time.process_time()
            work()
            seconds = time.process_time() - start
        words = float(np.mean([text.count(" ") + 1 for text in of]))
        rows.append(ScaleRow(case, len(of), words, seconds, peak.megabytes))
        tell(case)

    measure("fit", lambda: classifier.fit(texts, labels), texts)
    measure("prediction", lambda: classifier.predict(texts), texts)
    measure("prediction of the corpus' own texts", lambda: classifier.predict(corpus.texts), corpus.texts)
    return rows


def table_lines(rows: Sequence[ScaleRow]) -> list[str]:
    """Return the rows as a table."""
    lines = [f"{'':36} {'texts':>8} {'words':>6} {'CPU s':>8} {'texts/s':>8} {'MB':>7}"]
    lines += [
        f"{row.case:36} {row.texts:8,d} {row.words:6.0f} {row.seconds:8.2f} {row.texts_per_second:8,.0f} "
        f"{'' if row.megabytes is None else f'{row.megabytes:.0f}':>7}"
        for row in rows
    ]
    return lines

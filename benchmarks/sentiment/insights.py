"""What else the report shows: a learning curve, and the phrases that decide."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score

from benchmarks.sentiment.corpora import Corpus
from benchmarks.sentiment.entries import ClassifierEntry

FEWEST_OF_A_CLASS = 5
"""Texts of each class below which nothing is trained for a learning curve: some models set a part of them aside."""

CURVE_DIVISORS = (16, 8, 4, 2, 1)
"""By what the number of training texts is divided in a learning curve."""


def learning_curve(
    corpus: Corpus, entries: Sequence[ClassifierEntry], tell: Callable[[str], None]
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
    test = corpus.texts_where(is_test)
    classes = np.unique(corpus.labels)
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for n_texts in (max(len(order) // divisor, 1) for divisor in CURVE_DIVISORS):
            chosen = np.sort(order[:n_texts])
            found, counts = np.unique(corpus.labels[chosen], return_counts=True)
            if len(found) == len(classes) and counts.min() >= FEWEST_OF_A_CLASS:
                fitted = entry.run([corpus.texts[place] for place in chosen], corpus.labels[chosen], test)
                predicted = classes[fitted.scores.argmax(axis=1)]
                accuracy = float(accuracy_score(corpus.labels[is_test], predicted))
                curves.setdefault(entry.name, []).append((n_texts, accuracy))
            tell(f"learning curve: {entry.name}, {n_texts} texts")
    return curves


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

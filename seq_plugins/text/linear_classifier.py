"""A linear classifier of the words, word pairs and parts of words of texts.

Which n-grams a text has is multiplied with naive Bayes' log-count ratios, and a logistic regression is fitted to that
[1]_: on few texts, and on long ones, it beats networks over word vectors. Three things make it better on texts of all
lengths: of the ratios the square roots are taken, which trusts rare n-grams less; a text's n-grams are divided by the
square root of their number; and there are also n-grams of characters within words, which are the same in "boring",
"bored" and "boredom".

References
----------
.. [1] S. Wang, C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012,
       https://aclanthology.org/P12-2018
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seq_plugins.text.encoding import NumberedTexts
from seq_plugins.text.logistic_regression import fit_logistic_regression
from seq_plugins.text.ngrams import NgramMatrix, NgramVocabulary, characters_of, ngrams_of, value_of_ngrams

# N: documents, O: outputs (1 for two classes, else the number of classes), G: n-grams, of words and of characters

_SHARE_OF_CHARACTERS = 0.5  # of an n-gram of characters, beside one of words


class NgramWeights(NamedTuple):
    """What a linear classifier has learnt.

    Parameters
    ----------
    weights
        Weight of each n-gram, `(O, G)`, float32.
    intercepts
        Intercepts, `(O,)`.
    """

    weights: np.ndarray
    intercepts: np.ndarray

    def logits(self, contained: NgramMatrix) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64, from the n-grams that they have."""
        return contained.multiply(self.weights) + self.intercepts


def fit_weights(contained: NgramMatrix, codes: np.ndarray, weights: np.ndarray, n_classes: int) -> NgramWeights:
    """Fit a logistic regression over naive-Bayes-weighted n-grams; those that no document has get no weight.

    Parameters
    ----------
    contained
        Which n-grams each document has.
    codes
        Number of the class of each, `(N,)`.
    weights
        Weight of each, `(N,)`; a document of weight 0 counts for nothing.
    n_classes
        Number of classes.
    """
    coded = [1] if n_classes == 2 else range(n_classes)
    found, intercepts = np.zeros((len(coded), contained.n_ngrams), np.float32), []
    usual_of_words, usual_of_characters = np.sqrt(np.median(contained.lengths[weights > 0], axis=0))  # values of 1
    scales = contained.by_kind(usual_of_words, _SHARE_OF_CHARACTERS * usual_of_characters)
    for row, code in zip(found, coded, strict=True):
        is_inside = codes == code
        ratios = _log_ratios(contained.sum_by_ngram(weights * is_inside), contained.sum_by_ngram(weights * ~is_inside))
        factors = scales * np.sign(ratios) * np.sqrt(np.abs(ratios))
        row[:], intercept = fit_logistic_regression(contained, factors, is_inside, weights)
        intercepts.append(intercept)
    return NgramWeights(found, np.array(intercepts))


class NgramClassifier:
    """The linear classifier.

    Parameters
    ----------
    vocabulary
        The n-grams.
    weights
        Weight of each, `(O, G)`.
    intercepts
        Intercepts, `(O,)`.
    """

    def __init__(self, vocabulary: NgramVocabulary, weights: np.ndarray, intercepts: np.ndarray) -> None:
        self.vocabulary = vocabulary
        self.weights = weights
        self.intercepts = intercepts

    @property
    def longest(self) -> int:
        """Number of words of the longest n-grams."""
        return self.vocabulary.longest

    def contributions(self, words: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what each n-gram of a document adds to the logits, `(O,)` each; none if it was not in training."""
        of_words = dict.fromkeys(ngrams_of(words, self.longest))
        of_characters = dict.fromkeys(name for word in words for name in characters_of(word))
        return {
            name: self.weights[:, place] * value_of_ngrams(len(names))
            for names in (of_words, of_characters)
            for name in names
            if (place := self.vocabulary.place(name)) is not None
        }

    def logits(self, texts: NumberedTexts) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64; n-grams that were not in training add nothing."""
        return NgramWeights(self.weights, self.intercepts).logits(self.vocabulary.count(texts))


def log_count_ratios(contained: Any, is_inside: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the logarithm of how much more often each n-gram is in documents of a class than in others, `(G,)`.

    Parameters
    ----------
    contained
        Which n-grams each document has, `(N, G)`.
    is_inside
        Whether each is of the class, `(N,)`.
    weights
        Weight of each, `(N,)`.
    """
    return _log_ratios(*(contained.T @ (weights * mask) for mask in (is_inside, ~is_inside)))


def _log_ratios(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the ratios from how often each n-gram is in documents of a class and in others; 0 if in none."""
    is_seen = inside + outside > 0
    shares = [(1 + counts) / (1 + counts[is_seen]).sum() for counts in (inside, outside)]
    return np.where(is_seen, np.log(shares[0] / shares[1]), 0)

"""A linear classifier of the words and word pairs of texts, and the weights with which it and a network are added.

Which n-grams a text has is multiplied with naive Bayes' log-count ratios, and a logistic regression is fitted to that
[1]_: on few texts, and on long ones, it beats networks over word vectors.

References
----------
.. [1] S. Wang, C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012,
       https://aclanthology.org/P12-2018
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

# N: documents, C: classes, O: outputs (1 for two classes, else C), G: n-grams

JOINT = "\x1f"
"""What stands between the words of an n-gram: a character that is in no word."""

INVERSE_REGULARISATION = 1.0
_STRENGTH_OF_PRIOR = 5.0  # in documents
_NETWORK_BY_PRIOR = 0.5  # weight of the network where there is nothing to learn it from


def ngrams_of(words: Sequence[str], longest: int) -> list[str]:
    """Return the n-grams of a document in lower case, single words among them, their words joined by ``JOINT``."""
    lower = [word.lower() for word in words]
    found = list(lower)
    for length in range(2, longest + 1):
        found += [JOINT.join(lower[first : first + length]) for first in range(len(lower) - length + 1)]
    return found


def first_places_of(words: Sequence[str], longest: int) -> dict[str, slice]:
    """Return where in a document each of its n-grams stands first."""
    spans = [
        slice(first, first + length) for length in range(1, longest + 1) for first in range(len(words) - length + 1)
    ]
    named = zip(reversed(ngrams_of(words, longest)), reversed(spans), strict=True)
    return dict(named)  # of equal ones the last counts, which is the first of the document


class NgramClassifier:
    """The linear classifier.

    Parameters
    ----------
    longest
        Number of words of the longest n-grams.
    names
        The n-grams, in the order of their weights; those of a classifier that was saved.
    weights
        Weight of each, `(O, G)`.
    intercepts
        Intercepts, `(O,)`.
    """

    def __init__(self, longest: int, names: Sequence[str], weights: np.ndarray, intercepts: np.ndarray) -> None:
        self.longest = longest
        self.names = list(names)
        self.weights = weights
        self.intercepts = intercepts
        self._places = {name: place for place, name in enumerate(self.names)}

    @classmethod
    def fit(
        cls, documents: Sequence[Sequence[str]], codes: np.ndarray, weights: np.ndarray, n_classes: int, longest: int
    ) -> "NgramClassifier":
        """Fit a classifier.

        Parameters
        ----------
        documents
            The words of each document.
        codes
            Number of the class of each, `(N,)`.
        weights
            Weight of each, `(N,)`.
        n_classes
            Number of classes.
        longest
            Number of words of the longest n-grams.
        """
        counter = CountVectorizer(analyzer=lambda words: ngrams_of(words, longest), binary=True, dtype=np.float64)
        contained = counter.fit_transform(documents)
        found, intercepts = [], []
        for code in [1] if n_classes == 2 else range(n_classes):
            is_inside = codes == code
            ratios = log_count_ratios(contained, is_inside, weights)
            regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
            regression.fit(contained.multiply(ratios).tocsr(), is_inside, sample_weight=weights)
            found.append(regression.coef_[0] * ratios)
            intercepts.append(regression.intercept_[0])
        names = sorted(counter.vocabulary_, key=counter.vocabulary_.__getitem__)
        return cls(longest, names, np.array(found, np.float32), np.array(intercepts))

    def contributions(self, words: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what each n-gram of a document adds to the logits, `(O,)` each; none if it was not in training."""
        found = dict.fromkeys(ngrams_of(words, self.longest))
        return {name: self.weights[:, self._places[name]] for name in found if name in self._places}

    def logits(self, documents: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64."""
        columns: list[int] = []
        edges = [0]
        for words in documents:
            places = {self._places[name] for name in ngrams_of(words, self.longest) if name in self._places}
            columns += sorted(places)
            edges.append(len(columns))
        shape = len(documents), len(self.names)
        contained = sparse.csr_matrix((np.ones(len(columns)), np.array(columns, np.int64), np.array(edges)), shape)
        logits: np.ndarray = contained @ self.weights.T.astype(np.float64) + self.intercepts
        return logits


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
    counts = [1 + contained.T @ (weights * mask) for mask in (is_inside, ~is_inside)]
    inside, outside = (np.log(each / each.sum()) for each in counts)
    ratios: np.ndarray = inside - outside
    return ratios


class Mixture(NamedTuple):
    """How two classifiers' logits are added.

    Parameters
    ----------
    linear
        Weight of the linear classifier.
    network
        Weight of the network; 0 where it knows nothing that the other does not.
    offsets
        What is added, `(O,)`.
    """

    linear: float
    network: float
    offsets: np.ndarray

    def logits(self, linear: np.ndarray, network: np.ndarray) -> np.ndarray:
        """Return the sum, `(N, O)`, of the two classifiers' logits."""
        added: np.ndarray = self.linear * linear + self.network * network + self.offsets
        return added


def fit_mixture(linear: np.ndarray, network: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Mixture:
    """Return the mixture that makes the labels of held-out documents most likely; no weight is negative.

    A weak prior holds the linear classifier at 1 and the network at a half, which is what did well for few documents.

    Parameters
    ----------
    linear
        Logits of the linear classifier, `(N, O)`; it has not been fitted to these documents.
    network
        Logits of the network, likewise.
    codes
        Number of the class of each document, `(N,)`.
    weights
        Weight of each, `(N,)`.
    """
    n_outputs = linear.shape[1]

    def loss(parameters: np.ndarray) -> float:
        logits = Mixture(parameters[0], parameters[1], parameters[2:]).logits(linear, network)
        if n_outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        losses = logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes]
        prior = (parameters[0] - 1) ** 2 + (parameters[1] - _NETWORK_BY_PRIOR) ** 2 + (parameters[2:] ** 2).sum()
        return float(weights @ losses + 0.5 * _STRENGTH_OF_PRIOR * prior)

    bounds = [(0.0, None), (0.0, None), *[(None, None)] * n_outputs]
    found = minimize(loss, np.array([1.0, _NETWORK_BY_PRIOR, *[0.0] * n_outputs]), method="L-BFGS-B", bounds=bounds).x
    return Mixture(float(found[0]), float(found[1]), found[2:])

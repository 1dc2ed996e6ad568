"""A linear classifier of the words and word pairs of texts, and the weights with which it and a network are added.

Which n-grams a text has is multiplied with naive Bayes' log-count ratios, and a logistic regression is fitted to that
[1]_: on few texts, and on long ones, it beats networks over word vectors.

References
----------
.. [1] S. Wang, C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", 2012,
       https://aclanthology.org/P12-2018
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from seq_plugins.text.encoding import NumberedTexts

# N: documents, C: classes, O: outputs (1 for two classes, else C), G: n-grams

JOINT = "\x1f"
"""What stands between the words of an n-gram: a character that is in no word."""

INVERSE_REGULARISATION = 1.0
_DOCUMENTS_AT_ONCE = 2000
_STRENGTH_OF_PRIOR = 1.0  # in documents


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


class NgramCounts:
    """Which n-grams documents have.

    Parameters
    ----------
    texts
        The documents.
    longest
        Number of words of the longest n-grams.
    chosen
        Numbers of the documents that are looked at; all if ``None``.
    """

    def __init__(self, texts: NumberedTexts, longest: int, chosen: np.ndarray | None = None) -> None:
        self.longest = longest
        documents = texts.documents if chosen is None else [texts.documents[number] for number in chosen.tolist()]
        numbers: dict[str, int] = {}
        word_of_token = np.array([numbers.setdefault(token.lower(), len(numbers)) for token in texts.tokens], np.int64)
        all_words = list(numbers)
        parts = [
            _Part([word_of_token[document] for document in documents[first : first + _DOCUMENTS_AT_ONCE]])
            for first in range(0, len(documents), _DOCUMENTS_AT_ONCE)
        ]
        distinct = _merged(part.codes for part in parts)
        self._words = [all_words[number] for number in distinct.tolist()]
        self._pairs: list[np.ndarray] = []  # for each length the place of the n-gram without its last word, and that
        n_ngrams = len(distinct)
        for part in parts:
            part.finish(distinct, 0)
            part.words = part.columns
        for length in range(2, longest + 1):
            n_shorter = len(distinct)
            for part in parts:
                part.lengthen(length, n_ngrams - n_shorter, len(self._words))
            distinct = _merged(part.codes for part in parts)
            for part in parts:
                part.finish(distinct, n_ngrams)
            self._pairs.append(distinct)
            n_ngrams += len(distinct)
        empty = sparse.csr_matrix((0, n_ngrams), dtype=np.float32)
        self.contained = sparse.vstack([empty, *(part.as_matrix(n_ngrams) for part in parts)], format="csr")

    def names(self) -> list[str]:
        """Return the n-grams, in the order of the columns."""
        names, shorter = list(self._words), self._words
        for pairs in self._pairs:
            before, last = np.divmod(pairs, len(self._words))
            shorter = [
                shorter[place] + JOINT + self._words[word]
                for place, word in zip(before.tolist(), last.tolist(), strict=True)
            ]
            names += shorter
        return names


class _Part:
    """Some documents, whose n-grams of a length become codes, and these columns of a matrix.

    Parameters
    ----------
    documents
        Words of each, as codes.
    """

    def __init__(self, documents: Sequence[np.ndarray]) -> None:
        self._n_documents = len(documents)
        self.words = np.zeros(0, np.int32)
        self.columns = self.words
        self.codes = np.concatenate([np.zeros(0, np.int64), *documents])
        lengths = np.array([len(document) for document in documents], np.int64)
        self._document = np.repeat(np.arange(len(documents), dtype=np.int32), lengths)
        self._places = np.arange(len(self._document), dtype=np.int32)  # where the n-grams begin
        self._found: list[tuple[np.ndarray, np.ndarray]] = []

    def lengthen(self, length: int, first_shorter: int, n_words: int) -> None:
        """Make codes of the n-grams with a word more, those that end within their document."""
        last = self._places + (length - 1)
        kept = np.flatnonzero(last < len(self._document))
        kept = kept[self._document[last[kept]] == self._document[self._places[kept]]]
        self._places = self._places[kept]
        shorter = self.columns[kept].astype(np.int64) - first_shorter
        self.codes = shorter * n_words + self.words[self._places + (length - 1)]

    def finish(self, distinct: np.ndarray, first: int) -> None:
        """Take the codes' places among all distinct ones, from column `first` on, for columns."""
        self.columns = (np.searchsorted(distinct, self.codes) + first).astype(np.int32)
        self._found.append((self._document[self._places], self.columns))
        self.codes = np.zeros(0, np.int64)

    def as_matrix(self, n_ngrams: int) -> sparse.csr_matrix:
        """Return a matrix with a one where a document has an n-gram, `(N, G)`."""
        rows, columns = (np.concatenate(found) for found in zip(*self._found, strict=True))
        ones = np.ones(len(rows), np.float32)
        matrix = sparse.coo_matrix((ones, (rows, columns)), (self._n_documents, n_ngrams)).tocsr()
        matrix.data[:] = 1
        return matrix


def _merged(all_codes: Iterable[np.ndarray]) -> np.ndarray:
    """Return all distinct codes, sorted."""
    distinct: np.ndarray = np.unique(np.concatenate([np.zeros(0, np.int64), *map(np.unique, all_codes)]))
    return distinct


class NgramWeights(NamedTuple):
    """What a linear classifier has learnt.

    Parameters
    ----------
    weights
        Weight of each n-gram, `(O, G)`.
    intercepts
        Intercepts, `(O,)`.
    """

    weights: np.ndarray
    intercepts: np.ndarray

    def logits(self, contained: sparse.csr_matrix) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64, from the n-grams that they have, `(N, G)`."""
        logits: np.ndarray = contained @ self.weights.T.astype(np.float64) + self.intercepts
        return logits


def fit_weights(contained: sparse.csr_matrix, codes: np.ndarray, weights: np.ndarray, n_classes: int) -> NgramWeights:
    """Fit a logistic regression over naive-Bayes-weighted n-grams; those that no document has get no weight.

    Parameters
    ----------
    contained
        Which n-grams each document has, `(N, G)`.
    codes
        Number of the class of each, `(N,)`.
    weights
        Weight of each, `(N,)`.
    n_classes
        Number of classes.
    """
    n_ngrams = contained.shape[1]
    used = np.flatnonzero(np.bincount(contained.indices, minlength=n_ngrams))
    if len(used) < n_ngrams:
        contained = contained[:, used]
    coded = [1] if n_classes == 2 else range(n_classes)
    found, intercepts = np.zeros((len(coded), n_ngrams), np.float32), []
    for row, code in zip(found, coded, strict=True):
        is_inside = codes == code
        ratios = log_count_ratios(contained, is_inside, weights)
        weighted = sparse.csr_matrix((ratios[contained.indices], contained.indices, contained.indptr), contained.shape)
        regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
        regression.fit(weighted, is_inside, sample_weight=weights)
        row[used] = regression.coef_[0] * ratios
        intercepts.append(regression.intercept_[0])
    return NgramWeights(found, np.array(intercepts))


class NgramClassifier:
    """The linear classifier.

    Parameters
    ----------
    longest
        Number of words of the longest n-grams.
    names
        The n-grams, in the order of their weights: all words, then all pairs, and so on.
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

    def contributions(self, words: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what each n-gram of a document adds to the logits, `(O,)` each; none if it was not in training."""
        found = dict.fromkeys(ngrams_of(words, self.longest))
        return {name: self.weights[:, self._places[name]] for name in found if name in self._places}

    def logits(self, texts: NumberedTexts) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64."""
        counts = NgramCounts(texts, self.longest)
        places = np.array([self._places.get(name, -1) for name in counts.names()], np.int64)
        known = np.flatnonzero(places >= 0)
        return NgramWeights(self.weights[:, places[known]], self.intercepts).logits(counts.contained[:, known])


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

    A weak prior holds the linear classifier at 1 and the network at 0: a few documents are no reason to trust it. Where
    there are none to learn from, the network has half the weight, which is what did well.

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
    if not len(codes):
        return Mixture(1.0, 0.5, np.zeros(n_outputs))

    def loss(parameters: np.ndarray) -> float:
        logits = Mixture(parameters[0], parameters[1], parameters[2:]).logits(linear, network)
        if n_outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        losses = logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes]
        prior = (parameters[0] - 1) ** 2 + parameters[1] ** 2 + (parameters[2:] ** 2).sum()
        return float(weights @ losses + 0.5 * _STRENGTH_OF_PRIOR * prior)

    bounds = [(0.0, None), (0.0, None), *[(None, None)] * n_outputs]
    found = minimize(loss, np.array([1.0, 0.1, *[0.0] * n_outputs]), method="L-BFGS-B", bounds=bounds).x
    return Mixture(float(found[0]), float(found[1]), found[2:])

"""A linear classifier of the words and word pairs of texts, and the weights with which it and a network are added.

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

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from seq_plugins.text.encoding import NumberedTexts

# N: documents, C: classes, O: outputs (1 for two classes, else C), G: n-grams, of words and of characters

JOINT = "\x1f"
"""What stands between the words of an n-gram: a character that is in no word."""

WITHIN = "\x1e"
"""What an n-gram of characters begins with: another character that is in no word."""

N_CHARACTERS = 4
"""Length of the n-grams of characters; a word's bounds count as one each."""

INVERSE_REGULARISATION = 1.0
_TOLERANCE = 1e-3
_SHARE_OF_CHARACTERS = 0.5  # of an n-gram of characters, beside one of words
_DOCUMENTS_AT_ONCE = 2000
_STRENGTH_OF_PRIOR = 1.0  # in documents


def ngrams_of(words: Sequence[str], longest: int) -> list[str]:
    """Return the n-grams of a document in lower case, single words among them, their words joined by ``JOINT``."""
    lower = [word.lower() for word in words]
    found = list(lower)
    for length in range(2, longest + 1):
        found += [JOINT.join(lower[first : first + length]) for first in range(len(lower) - length + 1)]
    return found


def characters_of(word: str) -> list[str]:
    """Return the n-grams of characters within a word, in lower case, each after ``WITHIN``."""
    bounded = f" {word.lower()} "
    return [WITHIN + bounded[first : first + N_CHARACTERS] for first in range(len(bounded) - N_CHARACTERS + 1)]


def first_places_of(words: Sequence[str], longest: int) -> dict[str, slice]:
    """Return at which words of a document each of its n-grams stands first; those of characters come last."""
    spans = [
        slice(first, first + length) for length in range(1, longest + 1) for first in range(len(words) - length + 1)
    ]
    places: dict[str, slice] = {}
    for name, span in zip(ngrams_of(words, longest), spans, strict=True):
        places.setdefault(name, span)
    for first, word in enumerate(words):
        for name in characters_of(word):
            places.setdefault(name, slice(first, first + 1))
    return places


class NgramMatrix(NamedTuple):
    """N-grams of documents.

    Parameters
    ----------
    values
        ``1 / sqrt(n)`` where a document has an n-gram, `(N, G)`; `n` is the number of its distinct n-grams, those of
        words and those of characters by themselves.
    lengths
        These numbers, `(N, 2)`.
    n_words
        How many of the n-grams are of words; they come first.
    """

    values: sparse.csr_matrix
    lengths: np.ndarray
    n_words: int

    def take(self, numbers: np.ndarray) -> "NgramMatrix":
        """Return some of the documents."""
        return self._replace(values=self.values[numbers], lengths=self.lengths[numbers])

    def by_kind(self, of_words: Any, of_characters: Any) -> np.ndarray:
        """Return a number for each n-gram, `(G,)`: one of n-grams of words, another or their own of the rest."""
        n_ngrams = self.values.shape[1]
        return np.where(np.arange(n_ngrams) < self.n_words, of_words, of_characters)

    def sum_by_ngram(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum of the weights, `(N,)`, of the documents that have an n-gram, for each, `(G,)`."""
        sums = [self.values.T @ (weights * np.sqrt(lengths)) for lengths in self.lengths.T]
        return self.by_kind(*sums)


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
        characters: dict[str, int] = {}
        within = [
            sorted({characters.setdefault(name, len(characters)) for name in characters_of(word)})
            for word in self._words
        ]
        self._characters = list(characters)
        within_words = sparse.csr_matrix(
            (
                np.ones(sum(map(len, within)), np.float32),
                np.fromiter(chain.from_iterable(within), np.int32),
                np.cumsum([0, *map(len, within)]),
            ),
            (len(self._words), len(characters)),
        )
        n_all = n_ngrams + len(characters)
        rows = [part.as_matrix(n_ngrams, within_words) for part in parts]
        values = sparse.vstack([sparse.csr_matrix((0, n_all), dtype=np.float32), *(row[0] for row in rows)], "csr")
        lengths = np.concatenate([np.zeros((0, 2)), *(row[1] for row in rows)])
        self.contained = NgramMatrix(values, lengths, n_ngrams)

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
        return names + self._characters


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

    def as_matrix(self, n_ngrams: int, within_words: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Return values and lengths of a :class:`NgramMatrix`.

        Parameters
        ----------
        n_ngrams
            Number of n-grams of words.
        within_words
            Which n-grams of characters each word has, `(words, n-grams of characters)`.
        """
        rows, columns = (np.concatenate(found) for found in zip(*self._found, strict=True))
        ones = np.ones(len(rows), np.float32)
        of_words = sparse.coo_matrix((ones, (rows, columns)), (self._n_documents, n_ngrams)).tocsr()
        of_characters = of_words[:, : len(within_words.indptr) - 1] @ within_words
        lengths = []
        for matrix in (of_words, of_characters):
            lengths.append(np.diff(matrix.indptr))
            matrix.data = np.repeat((1 / np.sqrt(np.maximum(lengths[-1], 1))).astype(np.float32), lengths[-1])
        return sparse.hstack([of_words, of_characters], "csr"), np.stack(lengths, axis=1)


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

    def logits(self, contained: NgramMatrix) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64, from the n-grams that they have."""
        logits: np.ndarray = contained.values @ self.weights.T.astype(np.float64) + self.intercepts
        return logits


def fit_weights(contained: NgramMatrix, codes: np.ndarray, weights: np.ndarray, n_classes: int) -> NgramWeights:
    """Fit a logistic regression over naive-Bayes-weighted n-grams; those that no document has get no weight.

    Parameters
    ----------
    contained
        Which n-grams each document has.
    codes
        Number of the class of each, `(N,)`.
    weights
        Weight of each, `(N,)`.
    n_classes
        Number of classes.
    """
    coded = [1] if n_classes == 2 else range(n_classes)
    found, intercepts = np.zeros((len(coded), contained.values.shape[1]), np.float32), []
    usual_of_words, usual_of_characters = np.sqrt(np.median(contained.lengths, axis=0))  # values are 1 on a usual text
    scales = contained.by_kind(usual_of_words, _SHARE_OF_CHARACTERS * usual_of_characters)
    for row, code in zip(found, coded, strict=True):
        is_inside = codes == code
        ratios = _log_ratios(contained.sum_by_ngram(weights * is_inside), contained.sum_by_ngram(weights * ~is_inside))
        factors = scales * np.sign(ratios) * np.sqrt(np.abs(ratios))
        values = contained.values
        weighted = sparse.csr_matrix(
            (values.data * factors[values.indices], values.indices, values.indptr), values.shape
        )
        # the dual problem is solved in a tenth of the time of the primal one, and in less memory
        regression = LogisticRegression(
            C=INVERSE_REGULARISATION,
            solver="liblinear",
            dual=True,
            tol=_TOLERANCE,
            max_iter=1000,
            random_state=0,
        )
        regression.fit(weighted, is_inside, sample_weight=weights)
        row[:] = regression.coef_[0] * factors
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
        of_words = dict.fromkeys(ngrams_of(words, self.longest))
        of_characters = dict.fromkeys(name for word in words for name in characters_of(word))
        return {
            name: self.weights[:, self._places[name]] / np.sqrt(len(names))
            for names in (of_words, of_characters)
            for name in names
            if name in self._places
        }

    def logits(self, texts: NumberedTexts) -> np.ndarray:
        """Return the logits of documents, `(N, O)`, float64."""
        counts = NgramCounts(texts, self.longest)
        places = np.array([self._places.get(name, -1) for name in counts.names()], np.int64)
        weights = np.where(places >= 0, self.weights[:, places], 0)  # of those that were not in training none
        return NgramWeights(weights, self.intercepts).logits(counts.contained)


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

"""The words, word pairs and parts of words of texts: which there are, and which a text has.

An n-gram of words is a number: that of the n-gram without its last word, times the number of words, plus that of the
last word. So there are names only where somebody asks for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from scipy import sparse

from seq_plugins.text.documents import Documents
from seq_plugins.text.encoding import NumberedTexts, new_numbers, number_strings

# N: documents, O: outputs, G: n-grams, of words and of characters

JOINT = "\x1f"
"""What stands between the words of an n-gram: a character that is in no word."""

WITHIN = "\x1e"
"""What an n-gram of characters begins with: another character that is in no word."""

N_CHARACTERS = 4
"""Length of the n-grams of characters; a word's bounds count as one each."""

_DOCUMENTS_AT_ONCE = 2000


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


def value_of_ngrams(n_distinct: Any) -> Any:
    """Return the value that n-grams have in a document with so many distinct ones: one by their number's square root.

    It is rounded to a number of 32 bits.
    """
    return (1 / np.sqrt(np.maximum(n_distinct, 1))).astype(np.float32).astype(np.float64)


class NgramMatrix(NamedTuple):
    """Which n-grams documents have.

    Parameters
    ----------
    columns
        The n-grams of a vocabulary that each document has, document by document, first those of words, then those of
        characters, int32.
    counts
        How many these are of either kind, `(N, 2)`.
    lengths
        Number of distinct n-grams of either kind that each document has, those that are in no vocabulary among them,
        `(N, 2)`.
    n_words
        How many of the n-grams of the vocabulary are of words; they come first.
    n_ngrams
        Number of n-grams of the vocabulary, `G`.
    """

    columns: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray
    n_words: int
    n_ngrams: int

    @property
    def values(self) -> np.ndarray:
        """Value of the n-grams of either kind that a document has, `(N, 2)`; that of the others is 0."""
        return value_of_ngrams(self.lengths)

    def by_kind(self, of_words: Any, of_characters: Any) -> np.ndarray:
        """Return a number for each n-gram, `(G,)`: one of n-grams of words, another or their own of the rest."""
        return np.where(np.arange(self.n_ngrams) < self.n_words, of_words, of_characters)

    @property
    def starts(self) -> np.ndarray:
        """Place in the columns at which each row of counts begins, and the end of the last one, `(2 N + 1,)`."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def parts(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield some documents after others: which they are, their columns, and to which row of counts each belongs.

        Rows are counted from the first of these documents; two, one of each kind, are a document's.
        """
        starts = self.starts[::2]
        for first in range(0, len(self.counts), _DOCUMENTS_AT_ONCE):
            part = slice(first, min(first + _DOCUMENTS_AT_ONCE, len(self.counts)))
            counts = self.counts[part].ravel()
            yield part, self.columns[starts[part.start] : starts[part.stop]], np.repeat(np.arange(len(counts)), counts)

    def sum_by_ngram(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum of the weights, `(N,)`, of the documents that have an n-gram, for each, `(G,)`."""
        sums = np.zeros(self.n_ngrams)
        for part, columns, rows in self.parts():
            sums += np.bincount(columns, np.repeat(weights[part], 2)[rows], self.n_ngrams)
        return sums

    def multiply(self, weights: np.ndarray) -> np.ndarray:
        """Return the sums of the n-grams' weights, `(O, G)`, times their values, for each document, `(N, O)`."""
        sums = np.zeros((len(self.counts), len(weights)))
        values = self.values
        for part, columns, rows in self.parts():
            for output, of_ngrams in enumerate(weights):
                by_kind = np.bincount(rows, of_ngrams[columns], 2 * (part.stop - part.start)).reshape(-1, 2)
                sums[part, output] = (by_kind * values[part]).sum(axis=1)
        return sums


class NgramVocabulary:
    """The n-grams that texts have: words, what is longer, and the n-grams of characters of these words.

    Parameters
    ----------
    words
        The words, in lower case.
    longer
        For each further length the codes of the n-grams, sorted, int64: the place of the n-gram without its last word
        among those of its length, times the number of words, plus the place of the last word.
    """

    def __init__(self, words: Sequence[str], longer: Sequence[np.ndarray]) -> None:
        self.words = list(words)
        self.longer = list(longer)
        self._place_of_word = {word: place for place, word in enumerate(self.words)}

    @classmethod
    def of(cls, texts: NumberedTexts, longest: int) -> Self:
        """Return all n-grams that texts have, those of words up to the length `longest`."""
        is_used = np.zeros(len(texts.tokens), bool)
        is_used[texts.documents.ids] = True
        used = np.flatnonzero(is_used).tolist()
        vocabulary = cls(list(dict.fromkeys(texts.tokens[number].lower() for number in used)), [])
        reader = _Reader(vocabulary, texts)
        for length in range(2, longest + 1):
            codes = np.zeros(0, np.int64)
            for part in _parts(texts.documents):
                *_, found = reader.read(part, length)
                codes = np.union1d(codes, found.places)
            vocabulary.longer.append(codes)
        return vocabulary

    @classmethod
    def from_names(cls, names: Sequence[str], longest: int) -> Self:
        """Return the vocabulary whose :meth:`names` these are.

        Raises
        ------
        ValueError
            If they are those of no vocabulary.
        """
        by_length: list[list[str]] = [[] for _ in range(longest)]
        for name in names:
            if not name.startswith(WITHIN):
                by_length[name.count(JOINT)].append(name)
        words = by_length[0]
        place_of_word = {word: place for place, word in enumerate(words)}
        shorter, longer = place_of_word, []
        for of_length in by_length[1:]:
            parts = [name.rsplit(JOINT, 1) for name in of_length]
            codes = [shorter[before] * len(words) + place_of_word[last] for before, last in parts]
            longer.append(np.array(codes, np.int64))
            shorter = {name: place for place, name in enumerate(of_length)}
        vocabulary = cls(words, longer)
        if any((np.diff(codes) <= 0).any() for codes in longer) or vocabulary.names() != list(names):
            raise ValueError("the n-grams are not in the order of a vocabulary")
        return vocabulary

    @property
    def longest(self) -> int:
        """Number of words of the longest n-grams."""
        return 1 + len(self.longer)

    @property
    def n_words(self) -> int:
        """Number of n-grams of words."""
        return len(self.words) + sum(len(codes) for codes in self.longer)

    @property
    def n_ngrams(self) -> int:
        """Number of n-grams."""
        return self.n_words + len(self.characters[0])

    @cached_property
    def characters(self) -> tuple[dict[str, int], Documents]:
        """Number of each n-gram of characters, and those that each word has."""
        numbers = new_numbers()
        within = _number_characters(self.words, {}, numbers)
        return dict(numbers), within

    def names(self) -> list[str]:
        """Return the n-grams, in the order of their places."""
        names, shorter = list(self.words), self.words
        for codes in self.longer:
            before, last = np.divmod(codes, len(self.words))
            shorter = [
                shorter[place] + JOINT + self.words[word]
                for place, word in zip(before.tolist(), last.tolist(), strict=True)
            ]
            names += shorter
        return names + list(self.characters[0])

    def place(self, name: str) -> int | None:
        """Return the place of an n-gram; ``None`` if it is not here."""
        if name.startswith(WITHIN):
            number = self.characters[0].get(name)
            return None if number is None else self.n_words + number
        words = [self._place_of_word.get(word, -1) for word in name.split(JOINT)]
        if min(words) < 0 or len(words) > self.longest:
            return None
        first, place = 0, words[0]
        for length, word in enumerate(words[1:], 2):
            first += len(self.words) if length == 2 else len(self.longer[length - 3])
            place = int(self.find(length, np.array([place * len(self.words) + word]))[0])
            if place < 0:
                return None
        return first + place

    def find(self, length: int, codes: np.ndarray) -> np.ndarray:
        """Return the places of codes among the n-grams of a length above 1, -1 for those that are not here."""
        known = self.longer[length - 2]
        if not len(known):
            return np.full(len(codes), -1)
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        return np.where(known[places] == codes, places, -1)

    def number(self, tokens: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return the place of each token's word, and the words that are not here, whose places are further ones."""
        known, further = self._place_of_word, new_numbers(len(self.words))
        lower = (token.lower() for token in tokens)
        places = np.array([known[word] if word in known else further[word] for word in lower], np.int64)
        return places, list(further)

    def count(self, texts: NumberedTexts) -> NgramMatrix:
        """Find out which of the n-grams texts have."""
        reader = _Reader(self, texts)
        counted = [reader.count(part) for part in _parts(texts.documents)]
        columns, counts, lengths = ([part[which] for part in counted] for which in range(3))
        nothing = np.zeros((0, 2), np.int64)
        return NgramMatrix(
            np.concatenate([np.zeros(0, np.int32), *columns]),
            np.concatenate([nothing, *counts]),
            np.concatenate([nothing, *lengths]),
            self.n_words,
            self.n_ngrams,
        )


class _Found(NamedTuple):
    """The distinct n-grams of one length of each of some documents.

    Parameters
    ----------
    documents
        Number of the document of each, sorted.
    last
        Place of the last word of each.
    places
        Place of each among the vocabulary's n-grams of this length, -1 where it is not there; the code of each, where
        the vocabulary has no such length yet.
    """

    documents: np.ndarray
    last: np.ndarray
    places: np.ndarray


class _Reader:
    """Finds the n-grams of texts, some documents after others.

    Parameters
    ----------
    vocabulary
        The n-grams that are known.
    texts
        The texts.
    """

    def __init__(self, vocabulary: NgramVocabulary, texts: NumberedTexts) -> None:
        self._vocabulary = vocabulary
        self._n_known = len(vocabulary.words)
        self._word_of_token, self._unknown = vocabulary.number(texts.tokens)

    @cached_property
    def _unknown_characters(self) -> tuple[int, Documents]:
        """How many n-grams of characters there are in all, and those that each unknown word has."""
        known, _ = self._vocabulary.characters
        further = new_numbers(len(known))
        within = _number_characters(self._unknown, known, further)
        return len(known) + len(further), within

    def read(self, documents: Documents, longest: int) -> Iterator[_Found]:
        """Yield the words of some documents, then their word pairs, and so on."""
        n_words = self._n_known + len(self._unknown)
        words, lengths = self._word_of_token[documents.ids], documents.lengths
        starts, ends = np.arange(len(words)), np.repeat(documents.starts[1:], lengths)
        keys = np.repeat(np.arange(len(lengths)), lengths) * n_words + words
        distinct = _distinct(keys)
        of_document, last = np.divmod(distinct, max(n_words, 1))
        places = np.where(last < self._n_known, last, -1)
        yield _Found(of_document, last, places)
        for length in range(2, longest + 1):
            kept = np.flatnonzero(starts + length <= ends)
            starts, ends = starts[kept], ends[kept]
            keys = np.searchsorted(distinct, keys[kept]) * n_words + words[starts + (length - 1)]
            distinct = _distinct(keys)
            before, last = np.divmod(distinct, max(n_words, 1))
            of_document = of_document[before]
            is_known = (places[before] >= 0) & (last < self._n_known)
            places = np.where(is_known, places[before] * self._n_known + last, -1)
            if length <= self._vocabulary.longest:
                places = self._vocabulary.find(length, places)
            yield _Found(of_document, last, places)

    def count(self, documents: Documents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what a :class:`NgramMatrix` says of some documents: columns, counts, lengths."""
        vocabulary, n_documents = self._vocabulary, len(documents.lengths)
        of_words = list(self.read(documents, vocabulary.longest))
        numbers = [len(vocabulary.words), *map(len, vocabulary.longer), len(vocabulary.characters[0])]
        firsts = np.cumsum([0, *numbers])
        kinds, counts, lengths = [], [], []
        for first, found in zip(firsts, [*of_words, self._characters(of_words[0], n_documents)], strict=False):
            is_known = found.places >= 0
            counts.append(np.bincount(found.documents[is_known], minlength=n_documents))
            lengths.append(np.bincount(found.documents, minlength=n_documents))
            kinds.append((found.places[is_known] + first).astype(np.int32))
        by_kind = [np.stack([sum(each[:-1]), each[-1]], axis=1) for each in (counts, lengths)]
        return _interleave(kinds, counts), by_kind[0], by_kind[1]

    def _characters(self, words: _Found, n_documents: int) -> _Found:
        """Return the n-grams of characters of documents with these words."""
        known, within = self._vocabulary.characters
        n_characters, within_unknown = self._unknown_characters
        is_used = np.zeros(self._n_known + len(self._unknown), bool)
        is_used[words.last] = True
        used = np.flatnonzero(is_used)
        n_known = np.searchsorted(used, self._n_known)
        of_words = Documents.joined([within.take(used[:n_known]), within_unknown.take(used[n_known:] - self._n_known)])
        starts = np.searchsorted(words.documents, np.arange(n_documents + 1))
        has_words = _ones(Documents(np.searchsorted(used, words.last), starts), len(used))
        found = has_words @ _ones(of_words, n_characters)
        documents = np.repeat(np.arange(n_documents), np.diff(found.indptr))
        return _Found(documents, found.indices, np.where(found.indices < len(known), found.indices, -1))


def _parts(documents: Documents) -> Iterator[Documents]:
    n_documents = len(documents.lengths)
    for first in range(0, n_documents, _DOCUMENTS_AT_ONCE):
        yield documents.slice(first, min(first + _DOCUMENTS_AT_ONCE, n_documents))


def _number_characters(words: Sequence[str], known: Mapping[str, int], further: Mapping[str, int]) -> Documents:
    """Return the numbers of the n-grams of characters that each word has, known ones or further ones."""

    def number(name: str) -> int:
        return known[name] if name in known else further[name]

    return number_strings(map(characters_of, words), number)


def _ones(documents: Documents, n_columns: int) -> sparse.csr_matrix:
    """Return a matrix with ones in the columns that are the ids of each document."""
    ones = np.ones(len(documents.ids), np.float32)
    return sparse.csr_matrix((ones, documents.ids, documents.starts), (len(documents.starts) - 1, n_columns))


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Return the distinct numbers, sorted, as ``np.unique`` does in twice the time; none is negative."""
    ordered = np.sort(keys)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _interleave(kinds: Sequence[np.ndarray], counts: Sequence[np.ndarray]) -> np.ndarray:
    """Put what documents have of several kinds in the order of the documents.

    Parameters
    ----------
    kinds
        What they have of each kind, document after document.
    counts
        How much of each kind each document has.
    """
    lengths = np.stack(counts, axis=1)  # -> (N, kinds)
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)
    together = np.empty(lengths.sum(), np.int32)
    for of_kind, count, start in zip(kinds, lengths.T, starts.T, strict=True):
        together[np.arange(len(of_kind)) + np.repeat(start - (np.cumsum(count) - count), count)] = of_kind
    return together

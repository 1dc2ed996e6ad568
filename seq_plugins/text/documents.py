"""Texts as runs of word ids, without padding, and the vectors that the ids stand for."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# N: documents, W: words, D: dimensions of a word

PADDING = 0
"""Id of what a short document is filled up with; its vector is zero."""

UNKNOWN = 1
"""Id of a word without a vector of its own."""

FIRST_WORD = 2
"""Id of the first word of the word vectors."""


class Documents(NamedTuple):
    """Documents of different lengths, one after the other.

    Parameters
    ----------
    ids
        Ids of the words of all documents, int32.
    starts
        Place in `ids` at which each document begins, and the end of the last one, `(N + 1,)`, int64.
    """

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def from_lists(cls, documents: Sequence[np.ndarray]) -> "Documents":
        """Put the ids of several documents together."""
        starts = _starts(np.array([len(document) for document in documents], np.int64))
        ids = np.concatenate([np.zeros(0, np.int32), *documents])
        return cls(ids.astype(np.int32, copy=False), starts)

    @classmethod
    def joined(cls, parts: "Sequence[Documents]") -> "Documents":
        """Put several lots of documents together."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
        return cls(np.concatenate([np.zeros(0, np.int32), *(part.ids for part in parts)]), _starts(lengths))

    @property
    def lengths(self) -> np.ndarray:
        """Number of words of each document, `(N,)`."""
        return np.diff(self.starts)

    def take(self, numbers: np.ndarray) -> "Documents":
        """Return the documents with these numbers, in this order."""
        lengths = self.lengths[numbers]
        starts = _starts(lengths)
        places = np.arange(starts[-1])
        places += np.repeat(self.starts[numbers] - starts[:-1], lengths)
        return Documents(self.ids[places], starts)

    def slice(self, first: int, last: int) -> "Documents":
        """Return the documents from number `first` to before number `last`, which share their ids with these."""
        starts = self.starts[first : last + 1]
        return Documents(self.ids[starts[0] : starts[-1]], starts - starts[0])

    def cut(self, maxlen: int) -> "Documents":
        """Return the first `maxlen` words of each document."""
        lengths = self.lengths
        if lengths.max(initial=0) <= maxlen:
            return self
        places = np.arange(len(self.ids)) - np.repeat(self.starts[:-1], lengths)
        return Documents(self.ids[places < maxlen], _starts(lengths.clip(max=maxlen)))

    def without(self, number: int) -> "Documents":
        """Return the documents without the words that have this id."""
        is_kept = self.ids != number
        return Documents(self.ids[is_kept], _starts(self.sum(is_kept)))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over each document's words of whole numbers, `(all words,)`; it is int64, `(N,)`."""
        return np.diff(_starts(values)[self.starts])

    def to_array(self, maxlen: int) -> np.ndarray:
        """Return the ids `(N, maxlen)`, cut or filled up with padding at the end."""
        array = np.full((len(self.starts) - 1, maxlen), PADDING, np.int32)
        for row, (start, end) in zip(array, pairwise(self.starts.tolist()), strict=True):
            row[: end - start] = self.ids[start : min(end, start + maxlen)]
        return array

    def reindex(self) -> "tuple[np.ndarray, Documents]":
        """Return the distinct ids, sorted, and the documents with places in these for ids."""
        is_used = np.zeros(int(self.ids.max(initial=0)) + 1, bool)
        is_used[self.ids] = True
        distinct = np.flatnonzero(is_used)
        places = np.zeros(len(is_used), np.int32)
        places[distinct] = np.arange(len(distinct), dtype=np.int32)
        return distinct, Documents(places[self.ids], self.starts)


def _starts(lengths: np.ndarray) -> np.ndarray:
    """Return the sum of all lengths before each document, and that of all."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


class WordTable:
    """The vectors of ids, taken from where they are: the word vectors are not copied.

    Parameters
    ----------
    vectors
        Vectors of the words `(W, D)`; that of id ``FIRST_WORD + n`` is row `n`.
    unknown
        Vector of unknown words `(D,)`; zeros if ``None``.
    more
        Vectors of further ids, which come after those of the words, `(further words, D)`.
    """

    def __init__(self, vectors: np.ndarray, unknown: np.ndarray | None = None, more: np.ndarray | None = None) -> None:
        self.vectors = vectors
        n_dimensions = vectors.shape[1]
        self.unknown = np.zeros(n_dimensions, np.float32) if unknown is None else unknown
        self.more = np.zeros((0, n_dimensions), np.float32) if more is None else more
        self.changed_ids = np.zeros(0, np.int64)
        self.changed_rows = np.zeros((0, n_dimensions), np.float32)

    @property
    def n_dimensions(self) -> int:
        """Number of dimensions, `D`."""
        return int(self.vectors.shape[1])

    @property
    def n_ids(self) -> int:
        """Number of ids, padding included."""
        return FIRST_WORD + len(self.vectors) + len(self.more)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the vectors of `ids`, `(len(ids), D)`, float32, in memory of their own."""
        places = ids.astype(np.int64) - FIRST_WORD
        n_words = len(self.vectors)
        is_word = (places >= 0) & (places < n_words)
        if is_word.all():
            rows: np.ndarray = self.vectors[places].astype(np.float32, copy=False)
        else:
            rows = np.zeros((len(ids), self.n_dimensions), np.float32)
            rows[is_word] = self.vectors[places[is_word]]
            rows[ids == UNKNOWN] = self.unknown
            rows[places >= n_words] = self.more[places[places >= n_words] - n_words]
        if len(self.changed_ids):
            found = np.searchsorted(self.changed_ids, ids).clip(max=len(self.changed_ids) - 1)
            is_changed = self.changed_ids[found] == ids
            rows[is_changed] = self.changed_rows[found[is_changed]]
        return rows

    def change(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Let the vectors of `ids`, sorted, be `rows` `(len(ids), D)` from now on, and those changed before stay."""
        kept = ~np.isin(self.changed_ids, ids)
        all_ids = np.concatenate([self.changed_ids[kept], ids.astype(np.int64)])
        all_rows = np.concatenate([self.changed_rows[kept], rows.astype(np.float32)])
        order = np.argsort(all_ids)
        self.changed_ids, self.changed_rows = all_ids[order], all_rows[order]

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
        starts = np.zeros(len(documents) + 1, np.int64)
        np.cumsum([len(document) for document in documents], out=starts[1:])
        ids = np.concatenate(documents) if documents else np.zeros(0)
        return cls(ids.astype(np.int32, copy=False), starts)

    @property
    def lengths(self) -> np.ndarray:
        """Number of words of each document, `(N,)`."""
        return np.diff(self.starts)

    def take(self, numbers: np.ndarray) -> "Documents":
        """Return the documents with these numbers, in this order."""
        return Documents.from_lists([self.ids[self.starts[n] : self.starts[n + 1]] for n in numbers])

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

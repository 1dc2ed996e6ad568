"""The loops of a convolution over words with global max pooling, and of its gradients, compiled by numba.

:mod:`seq_plugins.text.pooled_convolution` imports this module when a network first needs it. All compiled code of the
text classifier stands in this one file, because numba's cache on the disk notices changes of a function's own file
only.

A document is a run of rows: ``rows[starts[n]:starts[n + 1]]`` are the places of its words in the batch's table of
distinct words. Padding has no rows. Loops over documents or filters go from `first` to before `last`, and what comes
out for one of them depends neither on the others nor on the number of threads. The products of words and kernels, which
are PyTorch's, may be rounded otherwise in another number of threads.
"""

from typing import TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit

# N: documents, W: distinct words, D: dimensions of a word, K: kernel size, F: filters
#
# projected   (W, K, F), the words' products with each place of the kernels
# rows        (words of all documents,)
# starts      (N + 1,)
# pooled      (N, F), the largest sum of each filter, without bias
# places      (N, F), the word of the document at which that window starts; NO_WORD where only padding is in it
# words       (W, D)
# weight      (K, F, D)

Array: TypeAlias = np.ndarray

NO_WORD = -1


# --- a window's sum against the largest so far. These take whole arrays and places in them: a view of an array costs as
# much as a window of few filters.


@jit
def _keep_larger(total: Array, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        is_larger = total[f] > best[f]
        best[f] = total[f] if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _keep_larger_of_one(projected: Array, a: int, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        total = projected[a, 0, f]
        is_larger = total > best[f]
        best[f] = total if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _keep_larger_of_two(projected: Array, a: int, b: int, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        total = projected[a, 0, f] + projected[b, 1, f]
        is_larger = total > best[f]
        best[f] = total if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _keep_larger_of_three(projected: Array, a: int, b: int, c: int, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        total = projected[a, 0, f] + projected[b, 1, f] + projected[c, 2, f]
        is_larger = total > best[f]
        best[f] = total if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _add_three(projected: Array, a: int, b: int, c: int, total: Array) -> None:
    for f in range(total.size):
        total[f] = projected[a, 0, f] + projected[b, 1, f] + projected[c, 2, f]


@jit
def _add(projected: Array, word: int, k: int, total: Array) -> None:
    for f in range(total.size):
        total[f] += projected[word, k, f]


@jit
def _pool_document(projected: Array, document: Array, n_windows: int, total: Array, best: Array, places: Array) -> None:
    """Go through the windows that begin with a word."""
    kernel_size, n_words = projected.shape[1], len(document)
    for p in range(n_windows):
        left = min(kernel_size, n_words - p)
        if left == 1:
            _keep_larger_of_one(projected, document[p], p, best, places)
        elif left == 2:
            _keep_larger_of_two(projected, document[p], document[p + 1], p, best, places)
        elif left == 3:
            _keep_larger_of_three(projected, document[p], document[p + 1], document[p + 2], p, best, places)
        else:
            _add_three(projected, document[p], document[p + 1], document[p + 2], total)
            for k in range(3, left):
                _add(projected, document[p + k], k, total)
            _keep_larger(total, p, best, places)


@cached_jit
def pool_documents(
    projected: Array, rows: Array, starts: Array, maxlen: int, pooled: Array, places: Array, first: int, last: int
) -> None:
    """Fill `pooled` and `places` for documents that are padded with zeros up to `maxlen` words."""
    kernel_size, n_filters = projected.shape[1], projected.shape[2]
    n_positions = maxlen - kernel_size + 1
    total = np.empty(n_filters, projected.dtype)
    for n in range(first, last):
        document = rows[starts[n] : starts[n + 1]]
        best, place = pooled[n], places[n]
        lowest = projected.dtype.type(0 if n_positions > len(document) else -np.inf)
        for f in range(n_filters):
            best[f] = lowest
            place[f] = NO_WORD
        _pool_document(projected, document, min(n_positions, len(document)), total, best, place)


# --- gradients


@jit
def _add_scaled(values: Array, factor: float, total: Array) -> None:
    for d in range(total.size):
        total[d] += factor * values[d]


@cached_jit
def add_weight_gradient(
    gradient: Array, places: Array, rows: Array, starts: Array, words: Array, of_weight: Array, first: int, last: int
) -> None:
    """Add to `of_weight` `(K, F, D)` what the gradient of the pooled sums, `(N, F)`, means for the filters."""
    kernel_size = of_weight.shape[0]
    for f in range(first, last):
        for n in range(len(gradient)):
            slope, place = gradient[n, f], places[n, f]
            if slope == 0 or place == NO_WORD:
                continue
            start = starts[n] + place
            for k in range(min(kernel_size, starts[n + 1] - start)):
                _add_scaled(words[rows[start + k]], slope, of_weight[k, f])


@cached_jit
def add_word_gradient(
    gradient: Array, places: Array, rows: Array, starts: Array, weight: Array, of_words: Array
) -> None:
    """Add to `of_words` `(W, D)` what the gradient of the pooled sums, `(N, F)`, means for the words."""
    kernel_size = weight.shape[0]
    for n in range(len(gradient)):
        for f in range(gradient.shape[1]):
            slope, place = gradient[n, f], places[n, f]
            if slope == 0 or place == NO_WORD:
                continue
            start = starts[n] + place
            for k in range(min(kernel_size, starts[n + 1] - start)):
                _add_scaled(weight[k, f], slope, of_words[rows[start + k]])

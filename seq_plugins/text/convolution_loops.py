"""The loops of a convolution over words with global max pooling, and of its gradients, compiled by numba.

:mod:`seq_plugins.text.convolution` imports this module when a network first needs it. All compiled code of the text
classifier stands in this one file, because numba's cache on the disk notices changes of a function's own file only.

A document is a run of rows: ``rows[starts[n]:starts[n + 1]]`` are the places of its words in the batch's table of
distinct words. Padding has no rows. Loops over documents or filters go from `first` to before `last`, and what comes
out for one of them depends neither on the others nor on the number of threads.
"""

from typing import TypeAlias

import numpy as np

from seq_plugins.layers.recurrent_loops import cached_jit, jit

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


@jit
def _keep_larger(total: Array, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        is_larger = total[f] > best[f]
        best[f] = total[f] if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _keep_larger_of_two(first: Array, second: Array, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        total = first[f] + second[f]
        is_larger = total > best[f]
        best[f] = total if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _keep_larger_of_three(first: Array, second: Array, third: Array, place: int, best: Array, places: Array) -> None:
    for f in range(best.size):
        total = first[f] + second[f] + third[f]
        is_larger = total > best[f]
        best[f] = total if is_larger else best[f]
        places[f] = place if is_larger else places[f]


@jit
def _add_three(first: Array, second: Array, third: Array, total: Array) -> None:
    for f in range(total.size):
        total[f] = first[f] + second[f] + third[f]


@jit
def _add(values: Array, total: Array) -> None:
    for f in range(total.size):
        total[f] += values[f]


@jit
def _add_scaled(values: Array, factor: float, total: Array) -> None:
    for d in range(total.size):
        total[d] += factor * values[d]


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
        for p in range(min(n_positions, len(document))):
            n_words = min(kernel_size, len(document) - p)
            word = projected[document[p], 0]
            if n_words == 1:
                _keep_larger(word, p, best, place)
                continue
            second = projected[document[p + 1], 1]
            if n_words == 2:
                _keep_larger_of_two(word, second, p, best, place)
                continue
            third = projected[document[p + 2], 2]
            if n_words == 3:
                _keep_larger_of_three(word, second, third, p, best, place)
                continue
            _add_three(word, second, third, total)
            for k in range(3, n_words):
                _add(projected[document[p + k], k], total)
            _keep_larger(total, p, best, place)


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

"""The loops of a stack of dilated causal convolutions with ReLU, forwards and backwards, compiled by numba.

:mod:`seq_plugins.layers.dilated_convolution` imports this module when a stack first needs it. All compiled code of it
stands in this one file, because numba's cache on the disk notices changes of a function's own file only.

Rows are all steps of all sequences of a member, those of the oldest step first, so that what a filter sees some steps
back stands some rows before. A layer is a product of matrices for each step of its kernel, in parts that are in the
cache when bias and ReLU come, and that BLAS multiplies without threads of its own.
"""

from importlib import import_module
from typing import TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit

# R: rows, I: features of a row, D: filters, S: kernel size, N: layers, K: members
#
# rows           (K, R, I)
# first_weight   (K, S, I, D)
# weights        (K, N - 1, S, D, D)
# biases         (K, N, D)
# shifts         (N, S), how many rows back filters see, the most first; the last are 0
# states         (N, K, R, D)
# gradient       (K, R, D), that of the topmost states
# n_rows         number of rows in a product
# of_...         gradients of rows (K, R, I), or empty, and of weights

import_module("scipy.linalg.cython_blas")  # its matrix products are those of numba

Array: TypeAlias = np.ndarray


@jit
def _run(block: Array) -> Array:
    """Return the numbers of a contiguous array as one run."""
    return block.reshape(block.size)


@jit
def _add(values: Array, total: Array) -> None:
    for i in range(total.size):
        total[i] += values[i]


@jit
def _add_and_rectify(bias: Array, sums: Array) -> None:
    n_filters = bias.size
    for row in range(sums.size // n_filters):
        for i in range(n_filters):
            value = sums[row * n_filters + i] + bias[i]
            sums[row * n_filters + i] = 0 if value < 0 else value  # NaN stays


@jit
def _unrectify(states: Array, gradient: Array) -> None:
    for i in range(gradient.size):
        gradient[i] = 0 if states[i] <= 0 else gradient[i]


@jit
def _transpose(weight: Array, transposed: Array) -> None:
    for step in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            for j in range(weight.shape[2]):
                transposed[step, j, i] = weight[step, i, j]


def _stack_forward(
    rows: Array,
    first_weight: Array,
    weights: Array,
    biases: Array,
    shifts: Array,
    states: Array,
    n_rows: int,
) -> None:
    n_layers, n_members, n_all, n_filters = states.shape
    older = shifts.shape[1] - 1
    memory = np.empty((n_rows, n_filters), rows.dtype)
    for member in range(n_members):
        for layer in range(n_layers):
            below = rows[member] if layer == 0 else states[layer - 1, member]
            weight = first_weight[member] if layer == 0 else weights[member, layer - 1]
            for first in range(0, n_all, n_rows):
                last = min(first + n_rows, n_all)
                sums = states[layer, member, first:last]
                np.dot(below[first:last], weight[older], sums)
                for step in range(older):
                    shift = shifts[layer, step]
                    start = max(first, shift)
                    if start < last:
                        part = memory[: last - start]
                        np.dot(below[start - shift : last - shift], weight[step], part)
                        _add(_run(part), _run(sums[start - first :]))
                _add_and_rectify(biases[member, layer], _run(sums))


def _stack_backward(
    gradient: Array,
    rows: Array,
    first_weight: Array,
    weights: Array,
    shifts: Array,
    states: Array,
    of_rows: Array,
    of_first_weight: Array,
    of_weights: Array,
    of_biases: Array,
    n_rows: int,
) -> None:
    n_layers, n_members, n_all, n_filters = states.shape
    older, n_features = shifts.shape[1] - 1, rows.shape[2]
    widest = max(n_features, n_filters)
    memory = np.empty(n_rows * widest, rows.dtype)
    of_part_memory = np.empty(widest * n_filters, rows.dtype)
    transposed_memory = np.empty((older + 1) * widest * n_filters, rows.dtype)
    to_sums = np.empty((n_all, n_filters), rows.dtype)
    to_states = np.empty((n_all, n_filters), rows.dtype)
    ones = np.ones(n_all, rows.dtype)
    of_first_weight[:] = 0
    of_weights[:] = 0
    for member in range(n_members):
        to_sums[:] = gradient[member]
        for layer in range(n_layers - 1, -1, -1):
            below = rows[member] if layer == 0 else states[layer - 1, member]
            weight = first_weight[member] if layer == 0 else weights[member, layer - 1]
            of_weight = of_first_weight[member] if layer == 0 else of_weights[member, layer - 1]
            is_needed = layer > 0 or of_rows.size > 0
            of_below = of_rows[member] if layer == 0 and is_needed else to_states
            width = below.shape[1]
            of_part = of_part_memory[: width * n_filters].reshape(width, n_filters)
            # BLAS reads contiguous weights faster
            transposed = transposed_memory[: (older + 1) * width * n_filters].reshape(older + 1, n_filters, width)
            _transpose(weight, transposed)
            _unrectify(_run(states[layer, member]), _run(to_sums))
            np.dot(ones, to_sums, of_biases[member, layer])
            for first in range(0, n_all, n_rows):
                last = min(first + n_rows, n_all)
                if is_needed:
                    np.dot(to_sums[first:last], transposed[older], of_below[first:last])
                for step in range(older + 1):
                    shift = shifts[layer, step]
                    start = max(first, shift)
                    if start < last:
                        np.dot(below[start - shift : last - shift].T, to_sums[start:last], of_part)
                        _add(_run(of_part), _run(of_weight[step]))
                        if is_needed and step < older:
                            part = memory[: (last - start) * width].reshape(last - start, width)
                            np.dot(to_sums[start:last], transposed[step], part)
                            _add(_run(part), _run(of_below[start - shift : last - shift]))
            to_sums, to_states = to_states, to_sums


stack_forward = cached_jit(_stack_forward)
stack_backward = cached_jit(_stack_backward)

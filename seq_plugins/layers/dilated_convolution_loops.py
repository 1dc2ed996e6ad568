"""The loops of a stack of dilated causal convolutions with ReLU, forwards and backwards, compiled by numba.

:mod:`seq_plugins.layers.dilated_convolution` imports this module when a stack first needs it. All compiled code of it
stands in this one file, because numba's cache on the disk notices changes of a function's own file only.

A few samples at a time go through all layers, so that what a layer reads is still in the cache. Their steps are rows,
those of the oldest step first, so that what a filter sees some steps back stands some rows before. A layer is a product
of matrices for each step of its kernel, in parts that BLAS multiplies without threads of its own.
"""

from importlib import import_module
from typing import TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit

# B: samples, L: time steps, I: features of a step, D: filters, S: kernel size, N: layers, K: members
# G: samples at a time, R = L * G: their rows, or fewer of the last ones
#
# inputs         (K, B, L, I)
# first_weight   (K, S, I, D)
# weights        (K, N - 1, S, D, D)
# biases         (K, N, D)
# steps_back     (N, S), how far back filters see, the most first; the last are 0
# states         (N - 1, K, B * L, D), of all layers but the topmost
# outputs        (K, B, L, D), states of the topmost
# gradient       (K, B, L, D), that of the outputs
# n_at_once      G
# n_rows         number of rows in a product
# of_...         gradients of inputs (K, B, L, I), or empty, and of weights

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
def _rectify(bias: Array, sums: Array) -> None:
    for row in range(sums.shape[0]):
        of_row = sums[row]
        for i in range(bias.size):
            value = of_row[i] + bias[i]
            of_row[i] = 0 if value < 0 else value  # NaN stays


@jit
def _add_and_rectify(bias: Array, part: Array, sums: Array) -> None:
    for row in range(sums.shape[0]):
        of_row, added = sums[row], part[row]
        for i in range(bias.size):
            value = of_row[i] + added[i] + bias[i]
            of_row[i] = 0 if value < 0 else value


@jit
def _unrectify(states: Array, gradient: Array) -> None:
    for i in range(gradient.size):
        gradient[i] = 0 if states[i] <= 0 else gradient[i]


@jit
def _add_and_unrectify(part: Array, states: Array, gradient: Array) -> None:
    for i in range(gradient.size):
        gradient[i] = 0 if states[i] <= 0 else gradient[i] + part[i]


@jit
def _transpose(weight: Array, transposed: Array) -> None:
    for step in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            for j in range(weight.shape[2]):
                transposed[step, j, i] = weight[step, i, j]


@jit
def _to_rows(samples: Array, rows: Array) -> None:
    """Copy `(G, L, ...)` to rows, those of the oldest step first."""
    n_samples, n_steps, n_features = samples.shape
    for step in range(n_steps):
        for sample in range(n_samples):
            for i in range(n_features):
                rows[step * n_samples + sample, i] = samples[sample, step, i]


@jit
def _to_rows_unrectified(outputs: Array, gradient: Array, rows: Array) -> None:
    """Copy a gradient `(G, L, D)` to rows, but where outputs are zero."""
    n_samples, n_steps, n_filters = outputs.shape
    for step in range(n_steps):
        for sample in range(n_samples):
            for i in range(n_filters):
                value = gradient[sample, step, i]
                rows[step * n_samples + sample, i] = 0 if outputs[sample, step, i] <= 0 else value


@jit
def _to_samples(rows: Array, samples: Array) -> None:
    """Copy rows, those of the oldest step first, to `(G, L, ...)`."""
    n_samples, n_steps, n_features = samples.shape
    for sample in range(n_samples):
        for step in range(n_steps):
            for i in range(n_features):
                samples[sample, step, i] = rows[step * n_samples + sample, i]


def _stack_forward(
    inputs: Array,
    first_weight: Array,
    weights: Array,
    biases: Array,
    steps_back: Array,
    states: Array,
    outputs: Array,
    n_at_once: int,
    n_rows: int,
) -> None:
    n_members, n_samples, n_steps, n_features = inputs.shape
    n_layers, n_filters = biases.shape[1:]
    older = steps_back.shape[1] - 1
    memory = np.empty((n_rows, n_filters), inputs.dtype)
    lowest = np.empty((n_at_once * n_steps, n_features), inputs.dtype)
    topmost = np.empty((n_at_once * n_steps, n_filters), inputs.dtype)
    for member in range(n_members):
        for first_sample in range(0, n_samples, n_at_once):
            samples = slice(first_sample, min(first_sample + n_at_once, n_samples))
            n_here = samples.stop - samples.start
            places = slice(samples.start * n_steps, samples.stop * n_steps)
            n_all = n_here * n_steps
            below = lowest[:n_all]
            _to_rows(inputs[member, samples], below)
            for layer in range(n_layers):
                above = states[layer, member, places] if layer < n_layers - 1 else topmost[:n_all]
                weight = first_weight[member] if layer == 0 else weights[member, layer - 1]
                bias = biases[member, layer]
                for first in range(0, n_all, n_rows):
                    last = min(first + n_rows, n_all)
                    sums = above[first:last]
                    np.dot(below[first:last], weight[older], sums)
                    start = last
                    for step in range(older):
                        shift = steps_back[layer, step] * n_here
                        start = min(max(first, shift), last)
                        if start < last:
                            part = memory[: last - start]
                            np.dot(below[start - shift : last - shift], weight[step], part)
                            if step < older - 1:
                                _add(_run(part), _run(sums[start - first :]))
                            else:
                                _add_and_rectify(bias, part, sums[start - first :])
                    _rectify(bias, sums[: start - first])
                below = above
            _to_samples(below, outputs[member, samples])


def _stack_backward(
    gradient: Array,
    inputs: Array,
    first_weight: Array,
    weights: Array,
    steps_back: Array,
    states: Array,
    outputs: Array,
    of_inputs: Array,
    of_first_weight: Array,
    of_weights: Array,
    of_biases: Array,
    n_at_once: int,
    n_rows: int,
) -> None:
    n_members, n_samples, n_steps, n_features = inputs.shape
    n_layers, n_filters = of_biases.shape[1:]
    older = steps_back.shape[1] - 1
    widest = max(n_features, n_filters)
    n_most = n_at_once * n_steps
    memory = np.empty(n_rows * widest, inputs.dtype)
    of_part_memory = np.empty(widest * n_filters, inputs.dtype)
    lowest = np.empty((n_most, n_features), inputs.dtype)
    of_lowest = np.empty((n_most, n_features), inputs.dtype)
    to_sums = np.empty((n_most, n_filters), inputs.dtype)
    to_states = np.empty((n_most, n_filters), inputs.dtype)
    of_bias = np.empty(n_filters, inputs.dtype)
    ones = np.ones(n_most, inputs.dtype)
    # BLAS reads contiguous weights faster
    first_transposed = np.empty((older + 1, n_filters, n_features), inputs.dtype)
    transposed = np.empty((n_layers - 1, older + 1, n_filters, n_filters), inputs.dtype)
    of_first_weight[:] = 0
    of_weights[:] = 0
    of_biases[:] = 0
    for member in range(n_members):
        _transpose(first_weight[member], first_transposed)
        for layer in range(n_layers - 1):
            _transpose(weights[member, layer], transposed[layer])
        for first_sample in range(0, n_samples, n_at_once):
            samples = slice(first_sample, min(first_sample + n_at_once, n_samples))
            n_here = samples.stop - samples.start
            places = slice(samples.start * n_steps, samples.stop * n_steps)
            n_all = n_here * n_steps
            _to_rows(inputs[member, samples], lowest[:n_all])
            _to_rows_unrectified(outputs[member, samples], gradient[member, samples], to_sums[:n_all])
            for layer in range(n_layers - 1, -1, -1):
                is_first = layer == 0
                below = lowest[:n_all] if is_first else states[layer - 1, member, places]
                weight = first_transposed if is_first else transposed[layer - 1]
                of_weight = of_first_weight[member] if is_first else of_weights[member, layer - 1]
                of_below = of_lowest if is_first else to_states
                width = below.shape[1]
                of_part = of_part_memory[: width * n_filters].reshape(width, n_filters)
                np.dot(ones[:n_all], to_sums[:n_all], of_bias)
                _add(of_bias, of_biases[member, layer])
                for first in range(0, n_all, n_rows):
                    last = min(first + n_rows, n_all)
                    for step in range(older + 1):
                        shift = steps_back[layer, step] * n_here
                        start = max(first, shift)
                        if start < last:
                            np.dot(below[start - shift : last - shift].T, to_sums[start:last], of_part)
                            _add(_run(of_part), _run(of_weight[step]))
                    if is_first and of_inputs.size == 0:
                        continue
                    sums = of_below[first:last]
                    np.dot(to_sums[first:last], weight[older], sums)
                    n_added = 0
                    for step in range(older):
                        shift = steps_back[layer, step] * n_here
                        n_added = max(min(last, n_all - shift) - first, 0)
                        if n_added > 0:
                            part = memory[: n_added * width].reshape(n_added, width)
                            np.dot(to_sums[first + shift : first + shift + n_added], weight[step], part)
                            if is_first or step < older - 1:
                                _add(_run(part), _run(sums[:n_added]))
                            else:
                                _add_and_unrectify(
                                    _run(part), _run(below[first : first + n_added]), _run(sums[:n_added])
                                )
                    if not is_first:
                        _unrectify(_run(below[first + n_added : last]), _run(sums[n_added:]))
                to_sums, to_states = to_states, to_sums
            if of_inputs.size > 0:
                _to_samples(of_lowest[:n_all], of_inputs[member, samples])


stack_forward = cached_jit(_stack_forward)
stack_backward = cached_jit(_stack_backward)

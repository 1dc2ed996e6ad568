"""The loops over time of Keras' recurrent layers, forwards and backwards, compiled by numba.

:mod:`seq_plugins.layers.recurrent_kernels` imports this module when a layer first needs it. All compiled code stands
in this one file, because numba's cache on the disk notices changes of a function's own file only.

What a step sees, `(B, D + I + 1)`, is the state before it, its input and a one. Multiplied with one matrix for each of
the layer's gates, `(D + I + 1, D)`, it gives their sums complete. So a step is a few products of whole matrices, and
loops over runs of `B * D` numbers that the compiler spreads over vector registers. The way back is back-propagation
through time [1]_; it adds up the gradient of those matrices step by step, while everything is in the cache.

All steps are gone through for `n_rows` sequences at a time, for the cache's sake. What comes out for a sequence depends
neither on the others nor on the number of threads; BLAS may round otherwise for other numbers of sequences.

References
----------
.. [1] P. J. Werbos, "Backpropagation Through Time: What It Does and How to Do It", 1990,
       https://doi.org/10.1109/5.58337
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit, sum_in_any_order

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates, V: values to remember, K: members,
# N: sums that are normalised
#
# steps          (L, B, I + 1), inputs and a one; each member has an equal share of the batch, one after another
# weight_ih      (K, G * D, I)
# weight_hh      (K, G * D, D)
# bias_ih        (K, G * D)
# bias_hh        (K, G * D), of a GRU only
# mask           (B, D), what states are multiplied with before they are seen, or empty
# initial        (M, B, D), state and, of an LSTM, cell before the first step, or empty where they are zero
# norm_weight    (K, N, D), what normalised sums are weighed with, or empty where nothing is normalised
# norm_bias      (K, N, D)
# epsilon        what is added to the variance of sums
# values         (V, L, B, D), or (V, 2, B, D) where nobody goes back
# states         (L, B, D), or (2, B, D) where nobody goes back and only the last one counts
# gradient       (T, B, D), that of the last T states
# of_last_cell   (B, D), gradient of an LSTM's cell after the last step, or empty where it is zero
# of_...         gradients of the inputs (L, B, I), or empty, of `initial`, or empty, and of the weights; those of
#                norm_weight and norm_bias are added to what is there

numba: Any = import_module("numba")
overload: Any = import_module("numba.extending").overload
intrinsic: Any = import_module("numba.extending").intrinsic
arrayobj: Any = import_module("numba.np.arrayobj")
cgutils: Any = import_module("numba.core.cgutils")
imputils: Any = import_module("numba.core.imputils")
import_module("scipy.linalg.cython_blas")  # its matrix products are those of numba

Array: TypeAlias = np.ndarray

# --- functions of one number


def _float32(*numbers: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(number) for number in numbers)


TANH_LIMIT = np.float32(7.90531110763549805)
TANH_NUMERATOR = _float32(
    4.89352455891786e-03,
    6.37261928875436e-04,
    1.48572235717979e-05,
    5.12229709037114e-08,
    -8.60467152213735e-11,
    2.00018790482477e-13,
    -2.76076847742355e-16,
)
TANH_DENOMINATOR = _float32(4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)


@jit
def _tanh_float32(x: Any) -> Any:
    """Return the rational function of Eigen 3.4's ``generic_fast_tanh_float``, right to 3e-7.

    https://gitlab.com/libeigen/eigen/-/blob/3.4/Eigen/src/Core/MathFunctionsImpl.h
    """
    x = TANH_LIMIT if x > TANH_LIMIT else x
    x = -TANH_LIMIT if x < -TANH_LIMIT else x
    s = x * x
    p0, p1, p2, p3, p4, p5, p6 = TANH_NUMERATOR
    q0, q1, q2, q3 = TANH_DENOMINATOR
    numerator = x * (p0 + s * (p1 + s * (p2 + s * (p3 + s * (p4 + s * (p5 + s * p6))))))
    return numerator / (q0 + s * (q1 + s * (q2 + s * q3)))


@jit
def _tanh_float64(x: Any) -> Any:
    """Return a Padé approximant of ``tanh(x / 32)``, its argument doubled five times, right to 1e-15."""
    x = 20.0 if x > 20.0 else x
    x = -20.0 if x < -20.0 else x
    x = x / 32
    s = x * x
    numerator = x * (1 + s * (17325 / 135135 + s * (378 / 135135 + s / 135135)))
    denominator = 1 + s * (62370 / 135135 + s * (3150 / 135135 + s * (28 / 135135)))
    for _ in range(5):  # tanh(2 x) = 2 tanh(x) / (1 + tanh(x) ** 2), as a fraction: divisions are slow
        numerator, denominator = 2 * numerator * denominator, numerator * numerator + denominator * denominator
    return numerator / denominator


def tanh(x: Any) -> Any:
    """Hyperbolic tangent, in compiled code only."""
    raise NotImplementedError


def sigmoid(x: Any) -> Any:
    """Logistic function, in compiled code only."""
    raise NotImplementedError


@overload(tanh, strict=False)
def _overload_tanh(x: Any) -> Callable[[Any], Any]:
    return (lambda x: _tanh_float32(x)) if x == numba.float32 else (lambda x: _tanh_float64(x))


@overload(sigmoid, strict=False)
def _overload_sigmoid(x: Any) -> Callable[[Any], Any]:
    half = np.float32(0.5) if x == numba.float32 else 0.5
    return lambda x: half + half * tanh(half * x)


# --- loops over a run of numbers: few arrays each, since the compiler has to check that they do not overlap


@intrinsic
def _lent(_: Any, arrays: Any) -> Any:
    """Return arrays that do not count as references to their memory, for arguments, which their caller keeps."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lent = []
        for kind, value in zip(arrays, cgutils.unpack_tuple(builder, arguments[0]), strict=True):
            array = arrayobj.make_array(kind)(context, builder, value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            lent.append(array._getvalue())
        return context.make_tuple(builder, signature.return_type, lent)

    return arrays(arrays), generate


@intrinsic
def _run(_: Any, block: Any) -> Any:
    """Return the numbers of a contiguous array as one run, which keeps their memory as the array does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = arrayobj.make_array(block)(context, builder, arguments[0])
        run = arrayobj.make_array(signature.return_type)(context, builder)
        arrayobj.populate_array(
            run,
            data=array.data,
            shape=[array.nitems],
            strides=[array.itemsize],
            itemsize=array.itemsize,
            meminfo=array.meminfo,
        )
        return imputils.impl_ret_borrowed(context, builder, signature.return_type, run._getvalue())

    return block.copy(ndim=1)(block), generate


@jit
def _add(values: Array, total: Array) -> None:
    for i in range(total.size):
        total[i] += values[i]


@jit
def _multiply(values: Array, factors: Array) -> None:
    for i in range(values.size):
        values[i] *= factors[i]


@jit
def _apply_tanh(values: Array) -> None:
    for i in range(values.size):
        values[i] = tanh(values[i])


# --- what the layers share


@jit
def _transpose(matrix: Array, transposed: Array) -> None:
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            transposed[j, i] = matrix[i, j]


@jit
def _stack(weight_ih: Array, weight_hh: Array, bias_ih: Array) -> Array:
    """Return the matrices `(G, D + I + 1, D)` that a layer's gates are multiplied with, from `seen`."""
    n_units, n_inputs = weight_hh.shape[1], weight_ih.shape[1]
    n_gates = len(weight_hh) // n_units
    weights = np.empty((n_gates, n_units + n_inputs + 1, n_units), weight_hh.dtype)
    for gate in range(n_gates):
        units = slice(gate * n_units, (gate + 1) * n_units)
        _transpose(weight_hh[units], weights[gate, :n_units])
        _transpose(weight_ih[units], weights[gate, n_units:-1])
        weights[gate, -1] = bias_ih[units]
    return weights


@jit
def _unstack(of_weights: Array, of_weight_ih: Array, of_weight_hh: Array, of_bias_ih: Array) -> None:
    """Write the gradients of a layer's weights, given those of its matrices."""
    n_units = of_weight_hh.shape[1]
    for gate in range(len(of_weights)):
        units = slice(gate * n_units, (gate + 1) * n_units)
        _transpose(of_weights[gate, :n_units], of_weight_hh[units])
        _transpose(of_weights[gate, n_units:-1], of_weight_ih[units])
        of_bias_ih[units] = of_weights[gate, -1]


@jit
def _before(initial: Array, position: int, first: int, last: int, n_units: int) -> Array:
    """Return the state (0) or cell (1) of some sequences before the first step, `(B, D)`."""
    before = np.zeros((last - first, n_units), initial.dtype)
    if initial.size > 0:
        _add(_run(initial[position, first:last]), _run(before))
    return before


@jit
def _see(state: Array, mask: Array, step: Array, seen: Array) -> None:
    """Write into `seen` `(B, D + I + 1)` the masked state `(B, D)` before a step, and the step `(B, I + 1)`."""
    n_units = state.shape[1]
    for b in range(state.shape[0]):
        if mask.size > 0:
            for d in range(n_units):
                seen[b, d] = state[b, d] * mask[b, d]
        else:
            for d in range(n_units):
                seen[b, d] = state[b, d]
        for i in range(step.shape[1]):
            seen[b, n_units + i] = step[b, i]


@jit
def _add_weight_gradients(seen: Array, to_gates: Array, part: Array, of_weights: Array) -> None:
    """Add to `of_weights` `(G, D + I + 1, D)` what a step contributes, given the gradients of its gates `(G, B, D)`."""
    for gate in range(len(of_weights)):
        np.dot(seen.T, to_gates[gate], part)
        _add(_run(part), _run(of_weights[gate]))


@jit
def _hand_back(to_gates: Array, weight_hh: Array, mask: Array, later: Array) -> None:
    """Write into `later` `(G, B, D)` what the gradient of each gate `(G, B, D)` means for the state before it."""
    n_units = to_gates.shape[2]
    for gate in range(len(to_gates)):
        np.dot(to_gates[gate], weight_hh[gate * n_units : (gate + 1) * n_units], later[gate])
        if mask.size > 0:
            _multiply(_run(later[gate]), _run(mask))


@jit
def _add_parts(parts: Array, total: Array) -> None:
    """Add to a run `total` what each gate's gradient means for it, `(G, B, D)`."""
    for gate in range(len(parts)):
        _add(_run(parts[gate]), total)


@jit
def _hand_to_inputs(to_gates: Array, weight_ih: Array, part: Array, of_inputs: Array) -> None:
    """Write into `of_inputs` `(B, I)` what the gradients of the gates `(G, B, D)` mean for them."""
    n_units = to_gates.shape[2]
    np.dot(to_gates[0], weight_ih[:n_units], of_inputs)
    for gate in range(1, len(to_gates)):
        np.dot(to_gates[gate], weight_ih[gate * n_units : (gate + 1) * n_units], part)
        _add(_run(part), _run(of_inputs))


@sum_in_any_order
def _normalize(sums: Array, weight: Array, bias: Array, epsilon: Any, normalized: Array) -> None:
    """Write into `normalized` `(B, D)` the `sums` `(B, D)`, each row with mean 0 and variance 1, weighed and moved."""
    n_units = sums.shape[1]
    for b in range(sums.shape[0]):
        mean, deviation = _mean_and_deviation(sums[b], epsilon)
        for d in range(n_units):
            normalized[b, d] = weight[d] * ((sums[b, d] - mean) / deviation) + bias[d]


@sum_in_any_order
def _mean_and_deviation(row: Array, epsilon: Any) -> Any:
    total = row.dtype.type(0)
    for d in range(row.size):
        total += row[d]
    mean = total / row.dtype.type(row.size)
    of_squares = row.dtype.type(0)
    for d in range(row.size):
        of_squares += (row[d] - mean) * (row[d] - mean)
    return mean, np.sqrt(of_squares / row.dtype.type(row.size) + epsilon)


@sum_in_any_order
def _normalize_back(
    sums: Array, weight: Array, epsilon: Any, gradient: Array, of_weight: Array, of_bias: Array
) -> None:
    """Replace the gradient of what `_normalize` wrote by that of the `sums`; add what it means for weight and bias."""
    n_units = sums.shape[1]
    centred = np.empty(n_units, sums.dtype)
    for b in range(sums.shape[0]):
        mean, deviation = _mean_and_deviation(sums[b], epsilon)
        total = with_centred = sums.dtype.type(0)
        for d in range(n_units):
            value = (sums[b, d] - mean) / deviation
            centred[d] = value
            of_weight[d] += gradient[b, d] * value
            of_bias[d] += gradient[b, d]
            weighed = gradient[b, d] * weight[d]
            total += weighed
            with_centred += weighed * value
            gradient[b, d] = weighed
        total /= sums.dtype.type(n_units)
        with_centred /= sums.dtype.type(n_units)
        for d in range(n_units):
            gradient[b, d] = (gradient[b, d] - total - centred[d] * with_centred) / deviation


# --- SimpleRNN: one gate, and no values but the states; of one that is normalised, the sum


@cached_jit
def simple_rnn_forward(
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill `states`."""
    lent = _lent((steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states))
    steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states = lent
    n_steps, n_units = len(steps), weight_hh.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        weights = _stack(weight_ih[member], weight_hh[member], bias_ih[member])
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, weights.shape[1]), weights.dtype)
            state = _before(initial, 0, first, last, n_units)
            for t in range(n_steps):
                _see(state, mask[first:last], steps[t, first:last], seen)
                state = states[t % len(states), first:last]
                if norm_weight.size > 0:
                    sums = values[0, t % values.shape[1], first:last]
                    np.dot(seen, weights[0], sums)
                    _normalize(sums, norm_weight[member, 0], norm_bias[member, 0], epsilon, state)
                else:
                    np.dot(seen, weights[0], state)
                _apply_tanh(_run(state))


@cached_jit
def simple_rnn_backward(
    gradient: Array,
    of_last_cell: Array,
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    of_inputs: Array,
    of_initial: Array,
    of_weight_ih: Array,
    of_weight_hh: Array,
    of_bias_ih: Array,
    of_bias_hh: Array,
    of_norm_weight: Array,
    of_norm_bias: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    lent = _lent(
        (
            gradient,
            of_last_cell,
            steps,
            weight_ih,
            weight_hh,
            norm_weight,
            norm_bias,
            mask,
            initial,
            values,
            states,
            of_inputs,
            of_initial,
            of_weight_ih,
            of_weight_hh,
            of_bias_ih,
            of_bias_hh,
            of_norm_weight,
            of_norm_bias,
        )
    )
    (
        gradient,
        of_last_cell,
        steps,
        weight_ih,
        weight_hh,
        norm_weight,
        norm_bias,
        mask,
        initial,
        values,
        states,
        of_inputs,
        of_initial,
        of_weight_ih,
        of_weight_hh,
        of_bias_ih,
        of_bias_hh,
        of_norm_weight,
        of_norm_bias,
    ) = lent
    n_steps, n_units = len(states), states.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        n_seen = n_units + steps.shape[2]
        of_weights = np.zeros((1, n_seen, n_units), states.dtype)
        part_of_weights = np.empty((n_seen, n_units), states.dtype)
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, n_seen), states.dtype)
            before = _before(initial, 0, first, last, n_units)
            later = np.zeros((1, last - first, n_units), states.dtype)
            to_gates = np.empty_like(later)
            part_of_inputs = np.empty((last - first, weight_ih.shape[2]), states.dtype)
            for t in range(n_steps - 1, -1, -1):
                if t >= n_steps - len(gradient):
                    _add(_run(gradient[t - n_steps, first:last]), _run(later[0]))
                _simple_rnn_step_back(_run(states[t, first:last]), _run(later), _run(to_gates[0]))
                if norm_weight.size > 0:
                    _normalize_back(
                        values[0, t, first:last],
                        norm_weight[member, 0],
                        epsilon,
                        to_gates[0],
                        of_norm_weight[member, 0],
                        of_norm_bias[member, 0],
                    )
                earlier = states[t - 1, first:last] if t > 0 else before
                _see(earlier, mask[first:last], steps[t, first:last], seen)
                _add_weight_gradients(seen, to_gates, part_of_weights, of_weights)
                if of_inputs.size > 0:
                    _hand_to_inputs(to_gates, weight_ih[member], part_of_inputs, of_inputs[t, first:last])
                if t > 0 or of_initial.size > 0:
                    _hand_back(to_gates, weight_hh[member], mask[first:last], later)
            if of_initial.size > 0:
                _add_parts(later, _run(of_initial[0, first:last]))
        _unstack(of_weights, of_weight_ih[member], of_weight_hh[member], of_bias_ih[member])


@jit
def _simple_rnn_step_back(state: Array, later: Array, to_gate: Array) -> None:
    one = state.dtype.type(1)
    for i in range(state.size):
        to_gate[i] = later[i] * (one - state[i] * state[i])


# --- LSTM: input gate, forget gate, candidate and output gate; their values, and the cell's; of one that is normalised,
# the gates' sums, too


@cached_jit
def lstm_forward(
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill `values` and `states`."""
    lent = _lent((steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states))
    steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states = lent
    n_steps, n_units = len(steps), weight_hh.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        weights = _stack(weight_ih[member], weight_hh[member], bias_ih[member])
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, weights.shape[1]), weights.dtype)
            state = _before(initial, 0, first, last, n_units)
            cell = _before(initial, 1, first, last, n_units)
            for t in range(n_steps):
                _see(state, mask[first:last], steps[t, first:last], seen)
                place = t % values.shape[1]
                for gate in range(4):
                    if norm_weight.size > 0:
                        sums = values[5 + gate, place, first:last]
                        np.dot(seen, weights[gate], sums)
                        weight, bias = norm_weight[member, gate], norm_bias[member, gate]
                        _normalize(sums, weight, bias, epsilon, values[gate, place, first:last])
                    else:
                        np.dot(seen, weights[gate], values[gate, place, first:last])
                input_gate, forget_gate = _run(values[0, place, first:last]), _run(values[1, place, first:last])
                candidate, output_gate = _run(values[2, place, first:last]), _run(values[3, place, first:last])
                new_cell, state = values[4, place, first:last], states[t % len(states), first:last]
                _lstm_step(input_gate, forget_gate, candidate, output_gate, _run(cell), _run(new_cell), _run(state))
                if norm_weight.size > 0:
                    _normalize(new_cell, norm_weight[member, 4], norm_bias[member, 4], epsilon, state)
                    _lstm_show(output_gate, _run(state))
                cell = new_cell


@jit
def _lstm_step(
    input_gate: Array,
    forget_gate: Array,
    candidate: Array,
    output_gate: Array,
    cell: Array,
    new_cell: Array,
    state: Array,
) -> None:
    for k in range(state.size):
        i, f, c, o = sigmoid(input_gate[k]), sigmoid(forget_gate[k]), tanh(candidate[k]), sigmoid(output_gate[k])
        input_gate[k], forget_gate[k], candidate[k], output_gate[k] = i, f, c, o
        value = f * cell[k] + i * c
        new_cell[k] = value
        state[k] = o * tanh(value)


@jit
def _lstm_show(output_gate: Array, state: Array) -> None:
    for k in range(state.size):
        state[k] = output_gate[k] * tanh(state[k])


@cached_jit
def lstm_backward(
    gradient: Array,
    of_last_cell: Array,
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    of_inputs: Array,
    of_initial: Array,
    of_weight_ih: Array,
    of_weight_hh: Array,
    of_bias_ih: Array,
    of_bias_hh: Array,
    of_norm_weight: Array,
    of_norm_bias: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    lent = _lent(
        (
            gradient,
            of_last_cell,
            steps,
            weight_ih,
            weight_hh,
            norm_weight,
            norm_bias,
            mask,
            initial,
            values,
            states,
            of_inputs,
            of_initial,
            of_weight_ih,
            of_weight_hh,
            of_bias_ih,
            of_bias_hh,
            of_norm_weight,
            of_norm_bias,
        )
    )
    (
        gradient,
        of_last_cell,
        steps,
        weight_ih,
        weight_hh,
        norm_weight,
        norm_bias,
        mask,
        initial,
        values,
        states,
        of_inputs,
        of_initial,
        of_weight_ih,
        of_weight_hh,
        of_bias_ih,
        of_bias_hh,
        of_norm_weight,
        of_norm_bias,
    ) = lent
    n_steps, n_units = len(states), states.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        n_seen = n_units + steps.shape[2]
        of_weights = np.zeros((4, n_seen, n_units), states.dtype)
        part_of_weights = np.empty((n_seen, n_units), states.dtype)
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, n_seen), states.dtype)
            before = _before(initial, 0, first, last, n_units)
            cell_before = _before(initial, 1, first, last, n_units)
            later = np.zeros((4, last - first, n_units), states.dtype)
            to_gates = np.empty_like(later)
            later_cell, shown = np.zeros_like(before), np.empty_like(before)
            if of_last_cell.size > 0:
                _add(_run(of_last_cell[first:last]), _run(later_cell))
            part_of_inputs = np.empty((last - first, weight_ih.shape[2]), states.dtype)
            for t in range(n_steps - 1, -1, -1):
                if t >= n_steps - len(gradient):
                    _add(_run(gradient[t - n_steps, first:last]), _run(later[0]))
                earlier = states[t - 1, first:last] if t > 0 else before
                earlier_cell = values[4, t - 1, first:last] if t > 0 else cell_before
                cell = values[4, t, first:last]
                if norm_weight.size > 0:
                    _normalize(cell, norm_weight[member, 4], norm_bias[member, 4], epsilon, shown)
                output_gate = _run(values[3, t, first:last])
                _lstm_show_back(
                    output_gate, _run(shown if norm_weight.size > 0 else cell), _run(later), _run(to_gates[3])
                )
                if norm_weight.size > 0:
                    _normalize_back(
                        cell,
                        norm_weight[member, 4],
                        epsilon,
                        later[0],
                        of_norm_weight[member, 4],
                        of_norm_bias[member, 4],
                    )
                _lstm_step_back(
                    _run(values[0, t, first:last]),
                    _run(values[1, t, first:last]),
                    _run(values[2, t, first:last]),
                    _run(earlier_cell),
                    _run(later[0]),
                    _run(later_cell),
                    _run(to_gates[0]),
                    _run(to_gates[1]),
                    _run(to_gates[2]),
                )
                if norm_weight.size > 0:
                    for gate in range(4):
                        _normalize_back(
                            values[5 + gate, t, first:last],
                            norm_weight[member, gate],
                            epsilon,
                            to_gates[gate],
                            of_norm_weight[member, gate],
                            of_norm_bias[member, gate],
                        )
                _see(earlier, mask[first:last], steps[t, first:last], seen)
                _add_weight_gradients(seen, to_gates, part_of_weights, of_weights)
                if of_inputs.size > 0:
                    _hand_to_inputs(to_gates, weight_ih[member], part_of_inputs, of_inputs[t, first:last])
                if t > 0 or of_initial.size > 0:
                    _hand_back(to_gates, weight_hh[member], mask[first:last], later)
            if of_initial.size > 0:
                _add_parts(later, _run(of_initial[0, first:last]))
                _add(_run(later_cell), _run(of_initial[1, first:last]))
        _unstack(of_weights, of_weight_ih[member], of_weight_hh[member], of_bias_ih[member])


@jit
def _lstm_show_back(output_gate: Array, shown: Array, later: Array, to_output_gate: Array) -> None:
    """Sum what `later` `(4, ...)` means for the state, and put in its first part what that means for the cell."""
    one, size = shown.dtype.type(1), shown.size
    for k in range(size):
        o, squashed = output_gate[k], tanh(shown[k])
        to_state = later[k] + later[size + k] + later[2 * size + k] + later[3 * size + k]
        to_output_gate[k] = to_state * squashed * o * (one - o)
        later[k] = to_state * o * (one - squashed * squashed)


@jit
def _lstm_step_back(
    input_gate: Array,
    forget_gate: Array,
    candidate: Array,
    cell: Array,
    of_shown: Array,
    later_cell: Array,
    to_input_gate: Array,
    to_forget_gate: Array,
    to_candidate: Array,
) -> None:
    one = cell.dtype.type(1)
    for k in range(cell.size):
        i, f, c = input_gate[k], forget_gate[k], candidate[k]
        to_cell = later_cell[k] + of_shown[k]
        to_input_gate[k] = to_cell * c * i * (one - i)
        to_forget_gate[k] = to_cell * cell[k] * f * (one - f)
        to_candidate[k] = to_cell * i * (one - c * c)
        later_cell[k] = to_cell * f


# --- GRU: reset gate, update gate and the candidate's recurrent part, on which the reset gate acts; the input of the
# candidate is a sum of its own, in whose place the candidate stands in the end; of one that is normalised, the sums of
# the gates and of the candidate, too


@cached_jit
def gru_forward(
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill `values` and `states`."""
    lent = _lent((steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states))
    steps, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states = lent
    n_steps, n_units = len(steps), weight_hh.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        weights, weights_of_input = _stack_gru(weight_ih[member], weight_hh[member], bias_ih[member], bias_hh[member])
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, weights.shape[1]), weights.dtype)
            state = _before(initial, 0, first, last, n_units)
            nothing = np.zeros_like(state)
            for t in range(n_steps):
                _see(state, mask[first:last], steps[t, first:last], seen)
                place = t % values.shape[1]
                np.dot(seen, weights[2], values[2, place, first:last])
                np.dot(steps[t, first:last], weights_of_input, values[3, place, first:last])
                reset, update = values[0, place, first:last], values[1, place, first:last]
                recurrent, candidate = values[2, place, first:last], values[3, place, first:last]
                new_state = states[t % len(states), first:last]
                if norm_weight.size > 0:
                    of_reset, of_update = values[4, place, first:last], values[5, place, first:last]
                    of_candidate = values[6, place, first:last]
                    weight, bias = norm_weight[member], norm_bias[member]
                    np.dot(seen, weights[0], of_reset)
                    np.dot(seen, weights[1], of_update)
                    _normalize(of_reset, weight[0], bias[0], epsilon, reset)
                    _normalize(of_update, weight[1], bias[1], epsilon, update)
                    _gru_sum(_run(reset), _run(recurrent), _run(candidate), _run(of_candidate))
                    _normalize(of_candidate, weight[2], bias[2], epsilon, candidate)
                    recurrent = nothing
                else:
                    np.dot(seen, weights[0], reset)
                    np.dot(seen, weights[1], update)
                _gru_step(_run(reset), _run(update), _run(recurrent), _run(candidate), _run(state), _run(new_state))
                state = new_state


@jit
def _stack_gru(weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array) -> tuple[Array, Array]:
    """Return the matrices `(G, D + I + 1, D)` of what is summed, and that of the candidate's input, `(I + 1, D)`."""
    n_units = weight_hh.shape[1]
    weights = _stack(weight_ih, weight_hh, bias_ih)
    weights_of_input = weights[2, n_units:].copy()
    weights[2, n_units:] = 0
    for gate in range(3):
        weights[gate, -1] += bias_hh[gate * n_units : (gate + 1) * n_units]
    return weights, weights_of_input


@jit
def _gru_sum(reset: Array, recurrent: Array, candidate: Array, total: Array) -> None:
    for i in range(total.size):
        total[i] = candidate[i] + sigmoid(reset[i]) * recurrent[i]


@jit
def _gru_step(reset: Array, update: Array, recurrent: Array, candidate: Array, state: Array, new_state: Array) -> None:
    for i in range(state.size):
        r, u = sigmoid(reset[i]), sigmoid(update[i])
        c = tanh(candidate[i] + r * recurrent[i])
        reset[i], update[i], candidate[i] = r, u, c
        new_state[i] = c + u * (state[i] - c)


@cached_jit
def gru_backward(
    gradient: Array,
    of_last_cell: Array,
    steps: Array,
    weight_ih: Array,
    weight_hh: Array,
    norm_weight: Array,
    norm_bias: Array,
    epsilon: Any,
    mask: Array,
    initial: Array,
    values: Array,
    states: Array,
    of_inputs: Array,
    of_initial: Array,
    of_weight_ih: Array,
    of_weight_hh: Array,
    of_bias_ih: Array,
    of_bias_hh: Array,
    of_norm_weight: Array,
    of_norm_bias: Array,
    first_member: int,
    last_member: int,
    n_rows: int,
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    lent = _lent(
        (
            gradient,
            of_last_cell,
            steps,
            weight_ih,
            weight_hh,
            norm_weight,
            norm_bias,
            mask,
            initial,
            values,
            states,
            of_inputs,
            of_initial,
            of_weight_ih,
            of_weight_hh,
            of_bias_ih,
            of_bias_hh,
            of_norm_weight,
            of_norm_bias,
        )
    )
    (
        gradient,
        of_last_cell,
        steps,
        weight_ih,
        weight_hh,
        norm_weight,
        norm_bias,
        mask,
        initial,
        values,
        states,
        of_inputs,
        of_initial,
        of_weight_ih,
        of_weight_hh,
        of_bias_ih,
        of_bias_hh,
        of_norm_weight,
        of_norm_bias,
    ) = lent
    n_steps, n_units = len(states), states.shape[2]
    n_each = steps.shape[1] // len(weight_hh)
    for member in range(first_member, last_member):
        n_seen = n_units + steps.shape[2]
        of_weights = np.zeros((3, n_seen, n_units), states.dtype)
        of_input_weights = np.zeros((steps.shape[2], n_units), states.dtype)
        part_of_weights, part_of_input_weights = np.empty_like(of_weights[0]), np.empty_like(of_input_weights)
        for first in range(member * n_each, (member + 1) * n_each, n_rows):
            last = min(first + n_rows, (member + 1) * n_each)
            seen = np.empty((last - first, n_seen), states.dtype)
            before = _before(initial, 0, first, last, n_units)
            later = np.zeros((3, last - first, n_units), states.dtype)
            to_gates = np.empty_like(later)
            kept, to_candidate = np.zeros_like(before), np.empty_like(before)
            part_of_inputs = np.empty((last - first, weight_ih.shape[2]), states.dtype)
            for t in range(n_steps - 1, -1, -1):
                if t >= n_steps - len(gradient):
                    _add(_run(gradient[t - n_steps, first:last]), _run(later[0]))
                earlier = states[t - 1, first:last] if t > 0 else before
                _gru_step_back(
                    _run(values[1, t, first:last]),
                    _run(values[3, t, first:last]),
                    _run(earlier),
                    _run(later),
                    _run(kept),
                    _run(to_gates[1]),
                    _run(to_candidate),
                )
                if norm_weight.size > 0:
                    _normalize_back(
                        values[6, t, first:last],
                        norm_weight[member, 2],
                        epsilon,
                        to_candidate,
                        of_norm_weight[member, 2],
                        of_norm_bias[member, 2],
                    )
                _gru_sum_back(
                    _run(values[0, t, first:last]),
                    _run(values[2, t, first:last]),
                    _run(to_candidate),
                    _run(to_gates[0]),
                    _run(to_gates[2]),
                )
                if norm_weight.size > 0:
                    for gate in range(2):
                        _normalize_back(
                            values[4 + gate, t, first:last],
                            norm_weight[member, gate],
                            epsilon,
                            to_gates[gate],
                            of_norm_weight[member, gate],
                            of_norm_bias[member, gate],
                        )
                _see(earlier, mask[first:last], steps[t, first:last], seen)
                _add_weight_gradients(seen, to_gates, part_of_weights, of_weights)
                np.dot(steps[t, first:last].T, to_candidate, part_of_input_weights)
                _add(_run(part_of_input_weights), _run(of_input_weights))
                if of_inputs.size > 0:
                    _hand_to_inputs(to_gates[:2], weight_ih[member], part_of_inputs, of_inputs[t, first:last])
                    np.dot(to_candidate, weight_ih[member, 2 * n_units :], part_of_inputs)
                    _add(_run(part_of_inputs), _run(of_inputs[t, first:last]))
                if t > 0 or of_initial.size > 0:
                    _hand_back(to_gates, weight_hh[member], mask[first:last], later)
            if of_initial.size > 0:
                _add_parts(later, _run(of_initial[0, first:last]))
                _add(_run(kept), _run(of_initial[0, first:last]))
        for gate in range(3):
            of_bias_hh[member, gate * n_units : (gate + 1) * n_units] = of_weights[gate, -1]
        of_weights[2, n_units:] = of_input_weights
        _unstack(of_weights, of_weight_ih[member], of_weight_hh[member], of_bias_ih[member])


@jit
def _gru_step_back(
    update: Array, candidate: Array, state: Array, later: Array, kept: Array, to_update: Array, to_candidate: Array
) -> None:
    one, size = state.dtype.type(1), state.size
    for i in range(size):
        u, c = update[i], candidate[i]
        to_state = kept[i] + later[i] + later[size + i] + later[2 * size + i]
        to_candidate[i] = to_state * (one - u) * (one - c * c)
        to_update[i] = to_state * (state[i] - c) * u * (one - u)
        kept[i] = to_state * u


@jit
def _gru_sum_back(reset: Array, recurrent: Array, to_candidate: Array, to_reset: Array, to_recurrent: Array) -> None:
    one = reset.dtype.type(1)
    for i in range(reset.size):
        r = reset[i]
        to_reset[i] = to_candidate[i] * recurrent[i] * r * (one - r)
        to_recurrent[i] = to_candidate[i] * r

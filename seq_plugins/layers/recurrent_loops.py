"""The loops over time of Keras' recurrent layers, forwards and backwards, compiled by numba.

:mod:`seq_plugins.layers.recurrent_kernels` imports this module when a layer first needs it. All compiled code stands
in this one file, because numba's cache on the disk notices changes of a function's own file only.

What a step sees, `(B, D + I + 1)`, is the state before it, its input and a one. Multiplied with one matrix for each of
the layer's gates, `(D + I + 1, D)`, it gives their sums complete. So a step is a few products of whole matrices, and
loops over runs of `B * D` numbers that the compiler spreads over vector registers. The way back is back-propagation
through time [1]_; it adds up the gradient of those matrices step by step, while everything is in the cache.

Loops are given addresses of memory, which their caller keeps while they run: to make an array of a tensor, and to check
and count it, takes longer than some of the steps.

All steps are gone through for `n_rows` sequences at a time, for the cache's sake. What comes out for a sequence depends
neither on the others nor on the number of threads; BLAS may round otherwise for other numbers of sequences.

References
----------
.. [1] P. J. Werbos, "Backpropagation Through Time: What It Does and How to Do It", 1990,
       https://doi.org/10.1109/5.58337
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit, sum_in_any_order

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates, V: values to remember, K: members,
# N: sums that are normalised, M: what a step hands to the next, R: sequences that are gone through at a time
#
# Loops are given the least variance `epsilon` of sums, whose type is that of all numbers; sizes, as `Sizes` names them;
# the addresses of what `Way` names, 0 where there is nothing, and of what `WayBack` names; and which members to run.

numba: Any = import_module("numba")
overload: Any = import_module("numba.extending").overload
intrinsic: Any = import_module("numba.extending").intrinsic
arrayobj: Any = import_module("numba.np.arrayobj")
cgutils: Any = import_module("numba.core.cgutils")
ir: Any = import_module("llvmlite.ir")
import_module("scipy.linalg.cython_blas")  # its matrix products are those of numba

Array: TypeAlias = np.ndarray


class Way(NamedTuple):
    """What a layer computes with, and what leads back; members have equal shares of the batch, one after another."""

    inputs: Any  # (B, L, I), an address: each step of each sequence lies in a place of its own
    weight_ih: Any  # (K, G * D, I)
    weight_hh: Any  # (K, G * D, D)
    bias_ih: Any  # (K, G * D)
    bias_hh: Any  # (K, G * D), of a GRU only
    norm_weight: Any  # (K, N, D), what normalised sums are weighed with, or empty where nothing is normalised
    norm_bias: Any  # (K, N, D)
    mask: Any  # (B, D), what states are multiplied with before they are seen, or empty
    initial: Any  # (M, B, D), state and, of an LSTM, cell before the first step, or empty where they are zero
    values: Any  # (V, L, B, D), or (V, 2, B, D) where nobody goes back
    states: Any  # (L, B, D), or (2, B, D) where nobody goes back and only the last one counts


class WayBack(NamedTuple):
    """Gradients: those that are given, and those that are made."""

    gradient: Any  # (B, T, D), that of the last T states; an address, likewise
    of_last_cell: Any  # (B, D), that of an LSTM's cell after the last step, or empty where it is zero
    of_inputs: Any  # (L, B, I), or empty
    of_initial: Any  # (M, B, D), or empty
    of_weight_ih: Any
    of_weight_hh: Any
    of_bias_ih: Any
    of_bias_hh: Any
    of_norm_weight: Any  # these two are added to what is there
    of_norm_bias: Any


class Sizes(NamedTuple):
    """Sizes of what :class:`Way` and :class:`WayBack` name, and how far apart in memory sequences and steps lie."""

    n_steps: Any
    n_sequences: Any
    n_inputs: Any
    n_units: Any
    n_members: Any
    n_gates: Any
    n_norms: Any
    n_memories: Any
    n_values: Any
    n_values_kept: Any
    n_states_kept: Any
    n_rows: Any
    n_gradient_steps: Any
    of_input_sequence: Any
    of_input_step: Any
    of_gradient_sequence: Any
    of_gradient_step: Any


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


# --- memory that is lent: arrays of it are no references to it


def _fill(builder: Any, array: Any, data: Any, sizes: list[Any], itemsize: Any) -> None:
    """Let a contiguous array have its numbers at `data`, lent."""
    strides = [itemsize]
    for size in sizes[:0:-1]:
        strides.insert(0, builder.mul(strides[0], size))
    arrayobj.populate_array(array, data=data, shape=sizes, strides=strides, itemsize=itemsize, meminfo=None)


@intrinsic
def _array(_: Any, address: Any, offset: Any, shape: Any, like: Any) -> Any:
    """Return an array of numbers of the type of `like` that starts `offset` numbers after an address."""
    kind = numba.types.Array(like, shape.count, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = arrayobj.make_array(kind)(context, builder)
        itemsize = context.get_constant(numba.types.intp, context.get_abi_sizeof(context.get_data_type(like)))
        data = builder.gep(builder.inttoptr(arguments[0], array.data.type), [arguments[1]])
        _fill(builder, array, data, cgutils.unpack_tuple(builder, arguments[2]), itemsize)
        return array._getvalue()

    return kind(address, offset, shape, like), generate


@jit
def _size_at(address: int, size: int) -> int:
    """Return the first size of an array at an address, which is 0 if there is none."""
    return size if address != 0 else 0


@intrinsic
def _lent(_: Any, arrays: Any) -> Any:
    """Return arrays that do not count as references to their memory, which `_hold` has to keep."""

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
def _hold(_: Any, arrays: Any) -> Any:
    """Keep the memory of arrays up to here."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return numba.types.none(arrays), generate


@intrinsic
def _run(_: Any, block: Any) -> Any:
    """Return the numbers of a contiguous array as one run, lent."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = arrayobj.make_array(block)(context, builder, arguments[0])
        run = arrayobj.make_array(signature.return_type)(context, builder)
        _fill(builder, run, array.data, [array.nitems], array.itemsize)
        return run._getvalue()

    return block.copy(ndim=1)(block), generate


@intrinsic
def _shaped(_: Any, run: Any, shape: Any) -> Any:
    """Return the first numbers of a run as an array of a shape, lent."""
    kind = run.copy(ndim=shape.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = arrayobj.make_array(run)(context, builder, arguments[0])
        array = arrayobj.make_array(kind)(context, builder)
        sizes = cgutils.unpack_tuple(builder, arguments[1])
        _fill(builder, array, numbers.data, sizes, numbers.itemsize)
        return array._getvalue()

    return kind(run, shape), generate


# --- products of matrices, whose rows may lie apart


@intrinsic
def _multiply_matrices(_: Any, transposes: Any, a: Any, b: Any, kept: Any, out: Any) -> Any:
    """Write into `out` `(M, N)` what is there times `kept`, plus `a` `(M, K)`, or its transpose, times `b` `(K, N)`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        letter, size, pointer = ir.IntType(8), ir.IntType(64), ir.PointerType(ir.IntType(8))
        parameters = [letter] * 3 + [size] * 3 + [pointer, pointer, size, pointer, size, pointer, pointer, size]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), parameters), "numba_xxgemm"
        )
        left, right, total = (
            arrayobj.make_array(kind)(context, builder, value)
            for kind, value in ((a, arguments[1]), (b, arguments[2]), (out, arguments[4]))
        )

        def matrix(array: Any) -> tuple[Any, Any]:
            row = cgutils.unpack_tuple(builder, array.strides)[0]
            return builder.bitcast(array.data, pointer), builder.sdiv(row, array.itemsize)

        def number(value: Any) -> Any:
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        n_rows, n_columns = cgutils.unpack_tuple(builder, total.shape)
        (n_summed, _) = cgutils.unpack_tuple(builder, right.shape)
        kind = letter(ord("s" if out.dtype == numba.float32 else "d"))
        way = builder.select(arguments[0], letter(ord("t")), letter(ord("n")))
        one = context.get_constant(out.dtype, 1)
        # to BLAS, whose matrices lie column after column, these are transposes
        sizes = n_columns, n_rows, n_summed
        matrices = number(one), *matrix(right), *matrix(left), number(arguments[3]), *matrix(total)
        builder.call(function, [kind, letter(ord("n")), way, *sizes, *matrices])
        return context.get_dummy_value()

    return numba.types.none(numba.types.boolean, a, b, out.dtype, out), generate


@jit
def _multiply_into(a: Array, b: Array, out: Array) -> None:
    """Write into `out` the product of `a` and `b`."""
    _multiply_matrices(False, a, b, 0, out)


@jit
def _add_product(a: Array, b: Array, out: Array) -> None:
    """Add to `out` the product of `a` and `b`."""
    _multiply_matrices(False, a, b, 1, out)


@jit
def _add_product_of_transposed(a: Array, b: Array, out: Array) -> None:
    """Add to `out` the product of the transpose of `a` and `b`."""
    _multiply_matrices(True, a, b, 1, out)


# --- loops over a run of numbers: few arrays each, since the compiler has to check that they do not overlap


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
def _open_way(epsilon: Any, sizes: Any, addresses: Any) -> tuple[Sizes, Way]:
    """Return names for the sizes, and arrays for the addresses, of what a layer computes with."""
    s = Sizes(*sizes)
    inputs, weight_ih, weight_hh, bias_ih, bias_hh, norm_weight, norm_bias, mask, initial, values, states = addresses
    way = Way(
        inputs,
        _array(weight_ih, 0, (s.n_members, s.n_gates * s.n_units, s.n_inputs), epsilon),
        _array(weight_hh, 0, (s.n_members, s.n_gates * s.n_units, s.n_units), epsilon),
        _array(bias_ih, 0, (s.n_members, s.n_gates * s.n_units), epsilon),
        _array(bias_hh, 0, (_size_at(bias_hh, s.n_members), s.n_gates * s.n_units), epsilon),
        _array(norm_weight, 0, (_size_at(norm_weight, s.n_members), s.n_norms, s.n_units), epsilon),
        _array(norm_bias, 0, (_size_at(norm_bias, s.n_members), s.n_norms, s.n_units), epsilon),
        _array(mask, 0, (_size_at(mask, s.n_sequences), s.n_units), epsilon),
        _array(initial, 0, (_size_at(initial, s.n_memories), s.n_sequences, s.n_units), epsilon),
        _array(values, 0, (s.n_values, s.n_values_kept, s.n_sequences, s.n_units), epsilon),
        _array(states, 0, (s.n_states_kept, s.n_sequences, s.n_units), epsilon),
    )
    return s, way


@jit
def _open_way_back(epsilon: Any, sizes: Any, addresses: Any) -> WayBack:
    """Return arrays for the addresses of gradients."""
    s = Sizes(*sizes)
    (
        gradient,
        of_last_cell,
        of_inputs,
        of_initial,
        of_weight_ih,
        of_weight_hh,
        of_bias_ih,
        of_bias_hh,
        of_norm_weight,
        of_norm_bias,
    ) = addresses
    return WayBack(
        gradient,
        _array(of_last_cell, 0, (_size_at(of_last_cell, s.n_sequences), s.n_units), epsilon),
        _array(of_inputs, 0, (_size_at(of_inputs, s.n_steps), s.n_sequences, s.n_inputs), epsilon),
        _array(of_initial, 0, (_size_at(of_initial, s.n_memories), s.n_sequences, s.n_units), epsilon),
        _array(of_weight_ih, 0, (s.n_members, s.n_gates * s.n_units, s.n_inputs), epsilon),
        _array(of_weight_hh, 0, (s.n_members, s.n_gates * s.n_units, s.n_units), epsilon),
        _array(of_bias_ih, 0, (s.n_members, s.n_gates * s.n_units), epsilon),
        _array(of_bias_hh, 0, (_size_at(of_bias_hh, s.n_members), s.n_gates * s.n_units), epsilon),
        _array(of_norm_weight, 0, (_size_at(of_norm_weight, s.n_members), s.n_norms, s.n_units), epsilon),
        _array(of_norm_bias, 0, (_size_at(of_norm_bias, s.n_members), s.n_norms, s.n_units), epsilon),
    )


@jit
def _transpose(matrix: Array, transposed: Array) -> None:
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            transposed[j, i] = matrix[i, j]


@jit
def _stack(weight_ih: Array, weight_hh: Array, bias_ih: Array, weights: Array) -> None:
    """Write the matrices `(G, D + I + 1, D)` that a layer's gates are multiplied with, from `seen`."""
    n_units = weight_hh.shape[1]
    for gate in range(len(weights)):
        units = slice(gate * n_units, (gate + 1) * n_units)
        _transpose(weight_hh[units], weights[gate, :n_units])
        _transpose(weight_ih[units], weights[gate, n_units:-1])
        weights[gate, -1] = bias_ih[units]


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
def _begin(initial: Array, position: int, first: int, before: Array) -> None:
    """Write the state (0) or cell (1) of some sequences before the first step, `(R, D)`."""
    before[:] = 0
    if initial.size > 0:
        _add(_run(initial[position, first : first + len(before)]), _run(before))


@jit
def _see(state: Array, way: Way, sizes: Sizes, t: int, first: int, seen: Array) -> None:
    """Write into `seen` `(R, D + I + 1)` the masked state `(R, D)` before a step, and the step's input."""
    n_units, n_inputs = sizes.n_units, sizes.n_inputs
    for b in range(len(state)):
        row = seen[b]
        if way.mask.size > 0:
            for d in range(n_units):
                row[d] = state[b, d] * way.mask[first + b, d]
        else:
            for d in range(n_units):
                row[d] = state[b, d]
        place = t * sizes.of_input_step + (first + b) * sizes.of_input_sequence
        step = _array(way.inputs, place, (n_inputs,), row[0])
        for i in range(n_inputs):
            row[n_units + i] = step[i]


@jit
def _add_gradient(back: WayBack, sizes: Sizes, t: int, first: int, later: Array) -> None:
    """Add to `later` `(R, D)` the gradient that is given of the state after a step, if there is one."""
    t -= sizes.n_steps - sizes.n_gradient_steps
    if t >= 0:
        for b in range(len(later)):
            place = t * sizes.of_gradient_step + (first + b) * sizes.of_gradient_sequence
            _add(_array(back.gradient, place, (sizes.n_units,), later[0, 0]), later[b])


@jit
def _add_weight_gradients(seen: Array, to_gates: Array, of_weights: Array) -> None:
    """Add to `of_weights` `(G, D + I + 1, D)` what a step contributes, given the gradients of its gates `(G, R, D)`."""
    for gate in range(len(of_weights)):
        _add_product_of_transposed(seen, to_gates[gate], of_weights[gate])


@jit
def _hand_back(to_gates: Array, weight_hh: Array, mask: Array, first: int, later: Array) -> None:
    """Write into `later` `(R, D)` what the gradients of the gates `(G, R, D)` mean for the state before them."""
    n_units = to_gates.shape[2]
    _multiply_into(to_gates[0], weight_hh[:n_units], later)
    for gate in range(1, len(to_gates)):
        _add_product(to_gates[gate], weight_hh[gate * n_units : (gate + 1) * n_units], later)
    if mask.size > 0:
        _multiply(_run(later), _run(mask[first : first + len(later)]))


@jit
def _hand_to_inputs(to_gates: Array, weight_ih: Array, of_inputs: Array) -> None:
    """Write into `of_inputs` `(R, I)` what the gradients of the gates `(G, R, D)` mean for them."""
    n_units = to_gates.shape[2]
    _multiply_into(to_gates[0], weight_ih[:n_units], of_inputs)
    for gate in range(1, len(to_gates)):
        _add_product(to_gates[gate], weight_ih[gate * n_units : (gate + 1) * n_units], of_inputs)


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
def simple_rnn_forward(epsilon: Any, sizes: Any, addresses: Any, first_member: int, last_member: int) -> None:
    """Fill `states`."""
    size, way = _open_way(epsilon, sizes, addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((1, n_seen, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
    )
    weights, all_seen, all_before = _lent(held)
    for member in range(first_member, last_member):
        _stack(way.weight_ih[member], way.weight_hh[member], way.bias_ih[member], weights)
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, state = all_seen[: last - first], all_before[: last - first]
            _begin(way.initial, 0, first, state)
            for t in range(size.n_steps):
                _see(state, way, size, t, first, seen)
                state = states[t % len(states), first:last]
                if way.norm_weight.size > 0:
                    sums = values[0, t % values.shape[1], first:last]
                    _multiply_into(seen, weights[0], sums)
                    _normalize(sums, way.norm_weight[member, 0], way.norm_bias[member, 0], epsilon, state)
                else:
                    _multiply_into(seen, weights[0], state)
                _apply_tanh(_run(state))
    _hold(held)


@cached_jit
def simple_rnn_backward(
    epsilon: Any, sizes: Any, addresses: Any, of_addresses: Any, first_member: int, last_member: int
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    size, way = _open_way(epsilon, sizes, addresses)
    back = _open_way_back(epsilon, sizes, of_addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((1, n_seen, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
        np.empty(size.n_rows * n_units, states.dtype),
    )
    of_weights, all_seen, all_before, all_later, all_to_gates = _lent(held)
    for member in range(first_member, last_member):
        of_weights[:] = 0
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, before, later = (
                all_seen[: last - first],
                all_before[: last - first],
                all_later[: last - first],
            )
            to_gates = _shaped(all_to_gates, (1, last - first, n_units))
            _begin(way.initial, 0, first, before)
            later[:] = 0
            for t in range(size.n_steps - 1, -1, -1):
                _add_gradient(back, size, t, first, later)
                _simple_rnn_step_back(_run(states[t, first:last]), _run(later), _run(to_gates[0]))
                if way.norm_weight.size > 0:
                    _normalize_back(
                        values[0, t, first:last],
                        way.norm_weight[member, 0],
                        epsilon,
                        to_gates[0],
                        back.of_norm_weight[member, 0],
                        back.of_norm_bias[member, 0],
                    )
                _see(states[t - 1, first:last] if t > 0 else before, way, size, t, first, seen)
                _add_weight_gradients(seen, to_gates, of_weights)
                if back.of_inputs.size > 0:
                    _hand_to_inputs(to_gates, way.weight_ih[member], back.of_inputs[t, first:last])
                if t > 0 or back.of_initial.size > 0:
                    _hand_back(to_gates, way.weight_hh[member], way.mask, first, later)
            if back.of_initial.size > 0:
                _add(_run(later), _run(back.of_initial[0, first:last]))
        _unstack(of_weights, back.of_weight_ih[member], back.of_weight_hh[member], back.of_bias_ih[member])
    _hold(held)


@jit
def _simple_rnn_step_back(state: Array, later: Array, to_gate: Array) -> None:
    one = state.dtype.type(1)
    for i in range(state.size):
        to_gate[i] = later[i] * (one - state[i] * state[i])


# --- LSTM: input gate, forget gate, candidate and output gate; their values, and the cell's; of one that is normalised,
# the gates' sums, too


@cached_jit
def lstm_forward(epsilon: Any, sizes: Any, addresses: Any, first_member: int, last_member: int) -> None:
    """Fill `values` and `states`."""
    size, way = _open_way(epsilon, sizes, addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((4, n_seen, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
    )
    weights, all_seen, all_before, all_cells_before = _lent(held)
    for member in range(first_member, last_member):
        _stack(way.weight_ih[member], way.weight_hh[member], way.bias_ih[member], weights)
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, state, cell = all_seen[: last - first], all_before[: last - first], all_cells_before[: last - first]
            _begin(way.initial, 0, first, state)
            _begin(way.initial, 1, first, cell)
            for t in range(size.n_steps):
                _see(state, way, size, t, first, seen)
                place = t % values.shape[1]
                for gate in range(4):
                    if way.norm_weight.size > 0:
                        sums = values[5 + gate, place, first:last]
                        _multiply_into(seen, weights[gate], sums)
                        weight, bias = way.norm_weight[member, gate], way.norm_bias[member, gate]
                        _normalize(sums, weight, bias, epsilon, values[gate, place, first:last])
                    else:
                        _multiply_into(seen, weights[gate], values[gate, place, first:last])
                input_gate, forget_gate = _run(values[0, place, first:last]), _run(values[1, place, first:last])
                candidate, output_gate = _run(values[2, place, first:last]), _run(values[3, place, first:last])
                new_cell, state = values[4, place, first:last], states[t % len(states), first:last]
                _lstm_step(input_gate, forget_gate, candidate, output_gate, _run(cell), _run(new_cell), _run(state))
                if way.norm_weight.size > 0:
                    _normalize(new_cell, way.norm_weight[member, 4], way.norm_bias[member, 4], epsilon, state)
                    _lstm_show(output_gate, _run(state))
                cell = new_cell
    _hold(held)


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
    epsilon: Any, sizes: Any, addresses: Any, of_addresses: Any, first_member: int, last_member: int
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    size, way = _open_way(epsilon, sizes, addresses)
    back = _open_way_back(epsilon, sizes, of_addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((4, n_seen, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((5, size.n_rows * n_units), states.dtype),
        np.empty(4 * size.n_rows * n_units, states.dtype),
    )
    of_weights, all_seen, others, all_to_gates = _lent(held)
    for member in range(first_member, last_member):
        of_weights[:] = 0
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, shape = all_seen[: last - first], (last - first, n_units)
            before, cell_before, shown = _shaped(others[0], shape), _shaped(others[1], shape), _shaped(others[2], shape)
            later, later_cell = _shaped(others[3], shape), _shaped(others[4], shape)
            to_gates = _shaped(all_to_gates, (4, last - first, n_units))
            _begin(way.initial, 0, first, before)
            _begin(way.initial, 1, first, cell_before)
            later[:] = 0
            later_cell[:] = 0
            if back.of_last_cell.size > 0:
                _add(_run(back.of_last_cell[first:last]), _run(later_cell))
            for t in range(size.n_steps - 1, -1, -1):
                _add_gradient(back, size, t, first, later)
                earlier_cell = values[4, t - 1, first:last] if t > 0 else cell_before
                cell = values[4, t, first:last]
                if way.norm_weight.size > 0:
                    _normalize(cell, way.norm_weight[member, 4], way.norm_bias[member, 4], epsilon, shown)
                output_gate = _run(values[3, t, first:last])
                _lstm_show_back(
                    output_gate, _run(shown if way.norm_weight.size > 0 else cell), _run(later), _run(to_gates[3])
                )
                if way.norm_weight.size > 0:
                    _normalize_back(
                        cell,
                        way.norm_weight[member, 4],
                        epsilon,
                        later,
                        back.of_norm_weight[member, 4],
                        back.of_norm_bias[member, 4],
                    )
                _lstm_step_back(
                    _run(values[0, t, first:last]),
                    _run(values[1, t, first:last]),
                    _run(values[2, t, first:last]),
                    _run(earlier_cell),
                    _run(later),
                    _run(later_cell),
                    _run(to_gates[0]),
                    _run(to_gates[1]),
                    _run(to_gates[2]),
                )
                if way.norm_weight.size > 0:
                    for gate in range(4):
                        _normalize_back(
                            values[5 + gate, t, first:last],
                            way.norm_weight[member, gate],
                            epsilon,
                            to_gates[gate],
                            back.of_norm_weight[member, gate],
                            back.of_norm_bias[member, gate],
                        )
                _see(states[t - 1, first:last] if t > 0 else before, way, size, t, first, seen)
                _add_weight_gradients(seen, to_gates, of_weights)
                if back.of_inputs.size > 0:
                    _hand_to_inputs(to_gates, way.weight_ih[member], back.of_inputs[t, first:last])
                if t > 0 or back.of_initial.size > 0:
                    _hand_back(to_gates, way.weight_hh[member], way.mask, first, later)
            if back.of_initial.size > 0:
                _add(_run(later), _run(back.of_initial[0, first:last]))
                _add(_run(later_cell), _run(back.of_initial[1, first:last]))
        _unstack(of_weights, back.of_weight_ih[member], back.of_weight_hh[member], back.of_bias_ih[member])
    _hold(held)


@jit
def _lstm_show_back(output_gate: Array, shown: Array, later: Array, to_output_gate: Array) -> None:
    """Put in place of the gradient of the state what it means for the cell."""
    one = shown.dtype.type(1)
    for k in range(shown.size):
        o, squashed, to_state = output_gate[k], tanh(shown[k]), later[k]
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
def gru_forward(epsilon: Any, sizes: Any, addresses: Any, first_member: int, last_member: int) -> None:
    """Fill `values` and `states`."""
    size, way = _open_way(epsilon, sizes, addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((3, n_seen, n_units), states.dtype),
        np.empty((size.n_inputs + 1, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((size.n_rows, n_units), states.dtype),
        np.zeros((size.n_rows, n_units), states.dtype),
    )
    weights, weights_of_input, all_seen, all_before, zeros = _lent(held)
    for member in range(first_member, last_member):
        _stack(way.weight_ih[member], way.weight_hh[member], way.bias_ih[member], weights)
        _part_candidate(weights, way.bias_hh[member], weights_of_input)
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, state, nothing = all_seen[: last - first], all_before[: last - first], zeros[: last - first]
            _begin(way.initial, 0, first, state)
            for t in range(size.n_steps):
                _see(state, way, size, t, first, seen)
                place = t % values.shape[1]
                reset, update = values[0, place, first:last], values[1, place, first:last]
                recurrent, candidate = values[2, place, first:last], values[3, place, first:last]
                new_state = states[t % len(states), first:last]
                _multiply_into(seen, weights[2], recurrent)
                _multiply_into(seen[:, n_units:], weights_of_input, candidate)
                if way.norm_weight.size > 0:
                    of_reset, of_update = values[4, place, first:last], values[5, place, first:last]
                    of_candidate = values[6, place, first:last]
                    weight, bias = way.norm_weight[member], way.norm_bias[member]
                    _multiply_into(seen, weights[0], of_reset)
                    _multiply_into(seen, weights[1], of_update)
                    _normalize(of_reset, weight[0], bias[0], epsilon, reset)
                    _normalize(of_update, weight[1], bias[1], epsilon, update)
                    _gru_sum(_run(reset), _run(recurrent), _run(candidate), _run(of_candidate))
                    _normalize(of_candidate, weight[2], bias[2], epsilon, candidate)
                    recurrent = nothing
                else:
                    _multiply_into(seen, weights[0], reset)
                    _multiply_into(seen, weights[1], update)
                _gru_step(_run(reset), _run(update), _run(recurrent), _run(candidate), _run(state), _run(new_state))
                state = new_state
    _hold(held)


@jit
def _part_candidate(weights: Array, bias_hh: Array, weights_of_input: Array) -> None:
    """Move what the candidate's input is multiplied with, `(I + 1, D)`, out of the matrices, and add the biases."""
    n_units = weights.shape[2]
    weights_of_input[:] = weights[2, n_units:]
    weights[2, n_units:] = 0
    for gate in range(3):
        weights[gate, -1] += bias_hh[gate * n_units : (gate + 1) * n_units]


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
    epsilon: Any, sizes: Any, addresses: Any, of_addresses: Any, first_member: int, last_member: int
) -> None:
    """Fill the gradients of inputs, initial state and weights, given that of the newest states."""
    size, way = _open_way(epsilon, sizes, addresses)
    back = _open_way_back(epsilon, sizes, of_addresses)
    n_units, n_seen = size.n_units, size.n_units + size.n_inputs + 1
    n_each = size.n_sequences // size.n_members
    values, states = way.values, way.states
    held = (
        np.empty((3, n_seen, n_units), states.dtype),
        np.empty((size.n_inputs + 1, n_units), states.dtype),
        np.ones((size.n_rows, n_seen), states.dtype),
        np.empty((4, size.n_rows * n_units), states.dtype),
        np.empty(3 * size.n_rows * n_units, states.dtype),
    )
    of_weights, of_input_weights, all_seen, others, all_to_gates = _lent(held)
    for member in range(first_member, last_member):
        of_weights[:] = 0
        of_input_weights[:] = 0
        weight_ih, weight_hh = way.weight_ih[member], way.weight_hh[member]
        for first in range(member * n_each, (member + 1) * n_each, size.n_rows):
            last = min(first + size.n_rows, (member + 1) * n_each)
            seen, shape = all_seen[: last - first], (last - first, n_units)
            before, later = _shaped(others[0], shape), _shaped(others[1], shape)
            kept, to_candidate = _shaped(others[2], shape), _shaped(others[3], shape)
            to_gates = _shaped(all_to_gates, (3, last - first, n_units))
            _begin(way.initial, 0, first, before)
            later[:] = 0
            kept[:] = 0
            for t in range(size.n_steps - 1, -1, -1):
                _add_gradient(back, size, t, first, later)
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
                if way.norm_weight.size > 0:
                    _normalize_back(
                        values[6, t, first:last],
                        way.norm_weight[member, 2],
                        epsilon,
                        to_candidate,
                        back.of_norm_weight[member, 2],
                        back.of_norm_bias[member, 2],
                    )
                _gru_sum_back(
                    _run(values[0, t, first:last]),
                    _run(values[2, t, first:last]),
                    _run(to_candidate),
                    _run(to_gates[0]),
                    _run(to_gates[2]),
                )
                if way.norm_weight.size > 0:
                    for gate in range(2):
                        _normalize_back(
                            values[4 + gate, t, first:last],
                            way.norm_weight[member, gate],
                            epsilon,
                            to_gates[gate],
                            back.of_norm_weight[member, gate],
                            back.of_norm_bias[member, gate],
                        )
                _see(earlier, way, size, t, first, seen)
                _add_weight_gradients(seen, to_gates, of_weights)
                _add_product_of_transposed(seen[:, n_units:], to_candidate, of_input_weights)
                if back.of_inputs.size > 0:
                    of_step = back.of_inputs[t, first:last]
                    _hand_to_inputs(to_gates[:2], weight_ih, of_step)
                    _add_product(to_candidate, weight_ih[2 * n_units :], of_step)
                if t > 0 or back.of_initial.size > 0:
                    _hand_back(to_gates, weight_hh, way.mask, first, later)
            if back.of_initial.size > 0:
                _add(_run(later), _run(back.of_initial[0, first:last]))
                _add(_run(kept), _run(back.of_initial[0, first:last]))
        for gate in range(3):
            back.of_bias_hh[member, gate * n_units : (gate + 1) * n_units] = of_weights[gate, -1]
        of_weights[2, n_units:] = of_input_weights
        _unstack(of_weights, back.of_weight_ih[member], back.of_weight_hh[member], back.of_bias_ih[member])
    _hold(held)


@jit
def _gru_step_back(
    update: Array, candidate: Array, state: Array, later: Array, kept: Array, to_update: Array, to_candidate: Array
) -> None:
    one = state.dtype.type(1)
    for i in range(state.size):
        u, c, to_state = update[i], candidate[i], kept[i] + later[i]
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

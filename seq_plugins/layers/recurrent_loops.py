"""The loops over time of Keras' recurrent layers, forwards and backwards, compiled by numba.

:mod:`seq_plugins.layers.recurrent_kernels` imports this module when a layer first needs it. All compiled code stands
in this one file, because numba's cache on the disk notices changes of a function's own file only.

What a step sees, `(B, D + I + 1)`, is the state before it, its input and a one. Multiplied with one matrix for each of
the layer's sums, `(D + I + 1, D)`, it gives them complete. So a step is a few products of whole matrices, and loops
over runs of `B * D` numbers that the compiler spreads over vector registers. `seen` is filled step by step, and in the
end the gradient of those matrices is a single product with it. The way back is back-propagation through time [1]_.

Every loop goes over the sequences from `first` to before `last` and never adds up two of them, so that what comes out
for a sequence depends neither on the others nor on the number of threads; BLAS may round otherwise for other numbers of
sequences.

References
----------
.. [1] P. J. Werbos, "Backpropagation Through Time: What It Does and How to Do It", 1990,
       https://doi.org/10.1109/5.58337
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates, S: sums, V: values to remember
#
# seen           (L, B, D + I + 1)
# weight_ih      (G * D, I)
# weight_hh      (G * D, D)
# bias_ih        (G * D,)
# bias_hh        (G * D,), of a GRU only
# mask           (B, D), what states are multiplied with before they are seen, or empty
# values         (V, L, B, D)
# states         (L, B, D)
# gradients      (S, L, B, D), those of the states in the first place until those of the sums fill them all

# of any type, since numba has none, or few that differ from version to version
numba: Any = import_module("numba")
event: Any = import_module("numba.core.event")
overload: Any = import_module("numba.extending").overload
import_module("scipy.linalg.cython_blas")  # its matrix products are those of numba

Array: TypeAlias = np.ndarray

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
}  # NaN and infinity stay what they are

jit = numba.njit(**OPTIONS)


def cached_jit(function: Callable[..., None]) -> Any:
    """Compile `function` when it is first called, and keep the machine code where a folder can be written."""
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no such folder
        return numba.njit(**OPTIONS)(function)


class _Listener(event.Listener):
    """Calls `at_start` whenever numba is about to compile a function."""

    def __init__(self, at_start: Callable[[], None]) -> None:
        self.at_start = at_start

    def on_start(self, event: Any) -> None:
        """Hear that a function is going to be compiled."""
        self.at_start()

    def on_end(self, event: Any) -> None:
        """Hear that a function has been compiled."""


def listening_to_compilation(at_start: Callable[[], None]) -> AbstractContextManager[Any]:
    """Return a context in which `at_start` is called before a function is compiled that is not in the cache."""
    context: AbstractContextManager[Any] = event.install_listener("numba:compile", _Listener(at_start))
    return context


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


@jit
def _run(block: Array) -> Array:
    """Return the numbers of a contiguous array as one run."""
    return block.reshape(block.size)


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


@jit
def _apply_sigmoid(values: Array) -> None:
    for i in range(values.size):
        values[i] = sigmoid(values[i])


# --- what the layers share


@jit
def _transpose(matrix: Array, transposed: Array) -> None:
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            transposed[j, i] = matrix[i, j]


@jit
def _stack(weight_ih: Array, weight_hh: Array, bias_ih: Array) -> Array:
    """Return the matrices `(S, D + I + 1, D)` of a layer whose sums are its gates."""
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
def _begin(seen: Array, n_units: int, first: int, last: int) -> None:
    """Write the first state, zeros, and the ones of all steps."""
    zero, one = seen.dtype.type(0), seen.dtype.type(1)
    for b in range(first, last):
        for d in range(n_units):
            seen[0, b, d] = zero
    for t in range(len(seen)):
        for b in range(first, last):
            seen[t, b, -1] = one


@jit
def _hand_on(state: Array, mask: Array, seen: Array) -> None:
    """Show the state `(B, D)` to the next step."""
    for b in range(state.shape[0]):
        if mask.size > 0:
            for d in range(state.shape[1]):
                seen[b, d] = state[b, d] * mask[b, d]
        else:
            for d in range(state.shape[1]):
                seen[b, d] = state[b, d]


@jit
def _hand_back(
    gradients: Array, t: int, first: int, last: int, weight_hh: Array, mask: Array, part: Array, earlier: Array
) -> None:
    """Write into `earlier` `(B, D)` what the gradients of step `t` mean for the state before it."""
    n_units = weight_hh.shape[1]
    np.dot(gradients[0, t, first:last], weight_hh[:n_units], earlier)
    for gate in range(1, len(weight_hh) // n_units):
        np.dot(gradients[gate, t, first:last], weight_hh[gate * n_units : (gate + 1) * n_units], part)
        _add(_run(part), _run(earlier))
    if mask.size > 0:
        _multiply(_run(earlier), _run(mask))


# --- SimpleRNN: one sum, and no values but the states


@cached_jit
def simple_rnn_forward(
    seen: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Array,
    values: Array,
    states: Array,
    first: int,
    last: int,
) -> None:
    """Fill `seen`, `values` and `states`, given the inputs in `seen`."""
    n_steps, _, n_units = states.shape
    weights = _stack(weight_ih, weight_hh, bias_ih)
    _begin(seen, n_units, first, last)
    for t in range(n_steps):
        state = states[t, first:last]
        np.dot(seen[t, first:last], weights[0], state)
        _apply_tanh(_run(state))
        if t + 1 < n_steps:
            _hand_on(state, mask[first:last], seen[t + 1, first:last])


@cached_jit
def simple_rnn_backward(
    weight_hh: Array, mask: Array, values: Array, states: Array, gradients: Array, first: int, last: int
) -> None:
    """Turn the gradients of the states, in `gradients`, into those of the sums."""
    n_steps, _, n_units = states.shape
    later = np.zeros((last - first, n_units), states.dtype)
    part = np.empty_like(later)
    for t in range(n_steps - 1, -1, -1):
        _simple_rnn_step_back(_run(states[t, first:last]), _run(later), _run(gradients[0, t, first:last]))
        if t > 0:
            _hand_back(gradients, t, first, last, weight_hh, mask[first:last], part, later)


@jit
def _simple_rnn_step_back(state: Array, later: Array, gradient: Array) -> None:
    one = state.dtype.type(1)
    for i in range(state.size):
        gradient[i] = (gradient[i] + later[i]) * (one - state[i] * state[i])


# --- LSTM: the sums of input gate, forget gate, candidate and output gate; their values, and the cell's


@cached_jit
def lstm_forward(
    seen: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Array,
    values: Array,
    states: Array,
    first: int,
    last: int,
) -> None:
    """Fill `seen`, `values` and `states`, given the inputs in `seen`."""
    n_steps, _, n_units = states.shape
    weights = _stack(weight_ih, weight_hh, bias_ih)
    cell = np.zeros((last - first, n_units), states.dtype)
    _begin(seen, n_units, first, last)
    for t in range(n_steps):
        for gate in range(4):
            np.dot(seen[t, first:last], weights[gate], values[gate, t, first:last])
        input_gate, forget_gate = _run(values[0, t, first:last]), _run(values[1, t, first:last])
        candidate, output_gate = _run(values[2, t, first:last]), _run(values[3, t, first:last])
        new_cell, state = values[4, t, first:last], states[t, first:last]
        _apply_sigmoid(input_gate)
        _apply_sigmoid(forget_gate)
        _apply_tanh(candidate)
        _apply_sigmoid(output_gate)
        _lstm_step(input_gate, forget_gate, candidate, output_gate, _run(cell), _run(new_cell), _run(state))
        cell = new_cell
        if t + 1 < n_steps:
            _hand_on(state, mask[first:last], seen[t + 1, first:last])


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
    for i in range(state.size):
        value = forget_gate[i] * cell[i] + input_gate[i] * candidate[i]
        new_cell[i] = value
        state[i] = output_gate[i] * tanh(value)


@cached_jit
def lstm_backward(
    weight_hh: Array, mask: Array, values: Array, states: Array, gradients: Array, first: int, last: int
) -> None:
    """Turn the gradients of the states, in `gradients`, into those of the sums."""
    n_steps, _, n_units = states.shape
    first_cell = np.zeros((last - first, n_units), states.dtype)
    later, later_cell, part = np.zeros_like(first_cell), np.zeros_like(first_cell), np.empty_like(first_cell)
    for t in range(n_steps - 1, -1, -1):
        cell = values[4, t - 1, first:last] if t > 0 else first_cell
        _lstm_step_back(
            _run(values[0, t, first:last]),
            _run(values[1, t, first:last]),
            _run(values[2, t, first:last]),
            _run(values[3, t, first:last]),
            _run(cell),
            _run(values[4, t, first:last]),
            _run(later),
            _run(later_cell),
            _run(gradients[0, t, first:last]),
            _run(gradients[1, t, first:last]),
            _run(gradients[2, t, first:last]),
            _run(gradients[3, t, first:last]),
        )
        if t > 0:
            _hand_back(gradients, t, first, last, weight_hh, mask[first:last], part, later)


@jit
def _lstm_step_back(
    input_gate: Array,
    forget_gate: Array,
    candidate: Array,
    output_gate: Array,
    cell: Array,
    new_cell: Array,
    later: Array,
    later_cell: Array,
    to_input_gate: Array,
    to_forget_gate: Array,
    to_candidate: Array,
    to_output_gate: Array,
) -> None:
    one = cell.dtype.type(1)
    for k in range(cell.size):
        i, f, c, o, squashed = input_gate[k], forget_gate[k], candidate[k], output_gate[k], tanh(new_cell[k])
        to_state = to_input_gate[k] + later[k]
        to_cell = later_cell[k] + to_state * o * (one - squashed * squashed)
        to_input_gate[k] = to_cell * c * i * (one - i)
        to_forget_gate[k] = to_cell * cell[k] * f * (one - f)
        to_candidate[k] = to_cell * i * (one - c * c)
        to_output_gate[k] = to_state * squashed * o * (one - o)
        later_cell[k] = to_cell * f


# --- GRU: the sums of the candidate's input, reset gate, update gate and the candidate's recurrent part, on which the
# reset gate acts; in the end the candidate stands in the place of its input


@cached_jit
def gru_forward(
    seen: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    mask: Array,
    values: Array,
    states: Array,
    first: int,
    last: int,
) -> None:
    """Fill `seen`, `values` and `states`, given the inputs in `seen`."""
    n_steps, _, n_units = states.shape
    weights = _stack_gru(weight_ih, weight_hh, bias_ih, bias_hh)
    state = np.zeros((last - first, n_units), states.dtype)
    _begin(seen, n_units, first, last)
    for t in range(n_steps):
        for gate in range(4):
            np.dot(seen[t, first:last], weights[gate], values[gate, t, first:last])
        candidate, reset = _run(values[0, t, first:last]), _run(values[1, t, first:last])
        update, recurrent = _run(values[2, t, first:last]), _run(values[3, t, first:last])
        new_state = states[t, first:last]
        _apply_sigmoid(reset)
        _apply_sigmoid(update)
        _gru_step(candidate, reset, update, recurrent, _run(state), _run(new_state))
        state = new_state
        if t + 1 < n_steps:
            _hand_on(state, mask[first:last], seen[t + 1, first:last])


@jit
def _stack_gru(weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array) -> Array:
    """Return the matrices `(S, D + I + 1, D)` of a GRU, whose gates are reset, update and candidate."""
    n_units, n_inputs = weight_hh.shape[1], weight_ih.shape[1]
    weights = np.zeros((4, n_units + n_inputs + 1, n_units), weight_hh.dtype)
    for gate in range(3):
        units = slice(gate * n_units, (gate + 1) * n_units)
        of_state, of_input = weights[gate + 1], weights[(gate + 1) % 3]
        _transpose(weight_hh[units], of_state[:n_units])
        _transpose(weight_ih[units], of_input[n_units:-1])
        of_state[-1] += bias_hh[units]
        of_input[-1] += bias_ih[units]
    return weights


@jit
def _gru_step(candidate: Array, reset: Array, update: Array, recurrent: Array, state: Array, new_state: Array) -> None:
    for i in range(state.size):
        value = tanh(candidate[i] + reset[i] * recurrent[i])
        candidate[i] = value
        new_state[i] = value + update[i] * (state[i] - value)


@cached_jit
def gru_backward(
    weight_hh: Array, mask: Array, values: Array, states: Array, gradients: Array, first: int, last: int
) -> None:
    """Turn the gradients of the states, in `gradients`, into those of the sums."""
    n_steps, _, n_units = states.shape
    first_state = np.zeros((last - first, n_units), states.dtype)
    later, kept, part = np.zeros_like(first_state), np.zeros_like(first_state), np.empty_like(first_state)
    for t in range(n_steps - 1, -1, -1):
        state = states[t - 1, first:last] if t > 0 else first_state
        _gru_step_back(
            _run(values[0, t, first:last]),
            _run(values[1, t, first:last]),
            _run(values[2, t, first:last]),
            _run(values[3, t, first:last]),
            _run(state),
            _run(later),
            _run(kept),
            _run(gradients[0, t, first:last]),
            _run(gradients[1, t, first:last]),
            _run(gradients[2, t, first:last]),
            _run(gradients[3, t, first:last]),
        )
        if t > 0:
            _hand_back(gradients[1:], t, first, last, weight_hh, mask[first:last], part, later)


@jit
def _gru_step_back(
    candidate: Array,
    reset: Array,
    update: Array,
    recurrent: Array,
    state: Array,
    later: Array,
    kept: Array,
    to_candidate: Array,
    to_reset: Array,
    to_update: Array,
    to_recurrent: Array,
) -> None:
    one = state.dtype.type(1)
    for i in range(state.size):
        c, r, u = candidate[i], reset[i], update[i]
        to_state = to_candidate[i] + later[i] + kept[i]
        to_sum = to_state * (one - u) * (one - c * c)
        to_candidate[i] = to_sum
        to_reset[i] = to_sum * recurrent[i] * r * (one - r)
        to_update[i] = to_state * (state[i] - c) * u * (one - u)
        to_recurrent[i] = to_sum * r
        kept[i] = to_state * u

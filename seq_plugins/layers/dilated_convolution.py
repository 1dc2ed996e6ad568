"""Dilated causal convolutions over time, as in WaveNet, of all steps of a window at once.

Steps come before samples here: what a filter sees some steps back is then a slice of rows, and a convolution is one
matrix product for each step of its kernel, without a copy. On a CPU, a plain stack with ReLU is machine code
(:mod:`seq_plugins.layers.dilated_convolution_loops`); elsewhere, with gates or dropout, where numba is missing or finds
no folder for its code, and where the environment variable ``SEQ_PLUGINS_CONVOLUTION_KERNEL`` is ``torch``, the products
are PyTorch's.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import ceil
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seq_plugins._arguments import is_switched_off
from seq_plugins.layers.dropout import VariationalDropout
from seq_plugins.layers.head import Dense
from seq_plugins.layers.members import by_member, linear
from seq_plugins.layers.recurrent_kernels import (
    MAX_PRODUCT,
    are_functions_transformed,
    is_recorded,
    stands_for_several,
)
from seq_plugins.layers.scratch_memory import ScratchMemory, carve, n_bytes_of

# K: members of an ensemble, 1 without; B: samples of a member, L: time steps, I: features of a step, D: filters,
# S: kernel size, R = L * B: rows, N: layers

logger = logging.getLogger(__name__)

SWITCH = "SEQ_PLUGINS_CONVOLUTION_KERNEL"
"""The environment variable that switches the compiled loops off (``torch``) or leaves the choice free (``auto``)."""

FEWEST_ROWS = 32
"""Rows in a product of the compiled loops from which they are faster."""

SCRATCH_MEMORY = ScratchMemory(n_blocks=2, max_bytes=2**25)
"""Where the states of all layers lie until the way back."""

DEFAULT_DILATIONS = (1, 2, 4, 8) * 2

Places: TypeAlias = Sequence[Sequence[int]]
"""Where, for each step of a kernel, those time steps stand in the inputs that it sees."""


class CausalConv1D(nn.Module):
    """Keras' ``Conv1D`` with causal padding, from `(K, L, B, I)` to `(K, L, B, D)`.

    An output has seen its own step and earlier ones, `dilation` steps apart; before the oldest there are zeros.
    The kernel has Keras' shape, `(S, I, D)`, and starts Glorot uniform, the bias at zero.

    Parameters
    ----------
    input_dim
        Number of features of a time step, `I`.
    num_filters
        Number of filters, `D`.
    kernel_size
        Number of time steps that a filter sees at once, `S`.
    dilation
        Number of time steps from one of these to the next.
    """

    takes_members = True

    def __init__(self, input_dim: int, num_filters: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.steps_back = _steps_back(kernel_size, dilation)
        self.weight = nn.Parameter(torch.empty(kernel_size, input_dim, num_filters))
        self.bias = nn.Parameter(torch.empty(num_filters))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        _draw_kernel(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor, places: Places | None = None) -> torch.Tensor:
        """Return the outputs of all steps, or of some, as :func:`convolve` does."""
        return convolve(inputs, self.weight, self.bias, self.steps_back, places)


def _steps_back(kernel_size: int, dilation: int) -> list[int]:
    """Return how far back a filter sees, the oldest step first."""
    return [dilation * number for number in reversed(range(kernel_size))]


def _draw_kernel(weight: torch.Tensor) -> None:
    nn.init.xavier_uniform_(weight.permute(2, 1, 0))


def convolve(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    steps_back: Sequence[int],
    places: Places | None = None,
) -> torch.Tensor:
    """Return the outputs of a causal convolution, `(K, L, B, D)`, of all steps, or of some.

    Parameters
    ----------
    inputs
        Features `(K, L, B, I)`.
    weight
        Weights `(S, I, D)` or `(K, S, I, D)`.
    bias
        Biases `(D,)` or `(K, D)`.
    steps_back
        How far back each step of the kernel sees, the oldest first.
    places
        Where in `inputs` the steps are that the outputs wanted see, for each step of the kernel, the oldest first;
        -1 stands for one before the oldest. By default, all outputs are wanted.
    """
    if places is not None:
        padded = F.pad(inputs, (0, 0, 0, 0, 0, 1))
        return _of_seen([padded[:, of_step] for of_step in places], weight, bias)
    if _is_special(inputs):
        n_steps = inputs.shape[1]
        padded = F.pad(inputs, (0, 0, 0, 0, steps_back[0], 0))
        firsts = [steps_back[0] - back for back in steps_back]
        return _of_seen([padded[:, first : first + n_steps] for first in firsts], weight, bias)
    outputs = _convolve(inputs.flatten(1, 2), weight, bias, _shifts(steps_back, *inputs.shape[1:3]))  # -> (K, R, D)
    return outputs.unflatten(1, inputs.shape[1:3])


def _shifts(steps_back: Sequence[int], n_steps: int, n_samples: int) -> list[int]:
    """Return how many rows filters see back; at most all that there are."""
    return [min(back, n_steps) * n_samples for back in steps_back]


def _of_seen(seen: Sequence[torch.Tensor], weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return outputs of what each step of the kernel sees, `(K, L', B, I)` each."""
    columns = weight.flatten(-3, -2).transpose(-1, -2)  # -> (D, S * I) or (K, D, S * I)
    return linear(torch.cat(list(seen), dim=-1), columns, bias)


def _is_special(inputs: torch.Tensor) -> bool:
    """Find out whether operations are recorded, mapped, differentiated forwards or cast to another type."""
    return is_recorded() or are_functions_transformed() or torch.is_autocast_enabled(inputs.device.type)


def _convolve(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, shifts: Sequence[int]) -> torch.Tensor:
    outputs: torch.Tensor = _SumOfProducts.apply(rows, weight, bias, shifts)  # type: ignore[no-untyped-call]
    return outputs


class _SumOfProducts(torch.autograd.Function):
    """The sum, over the steps of a kernel, of rows `(K, N, I)` times that step's weights, each some rows later."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, shifts: Sequence[int]
    ) -> torch.Tensor:
        """Return the sums `(K, N, D)`; `weight` is `(S, I, D)` or `(K, S, I, D)`, the last shift is 0."""
        of_steps = weight if weight.ndim == 4 else weight.unsqueeze(0)
        sums = torch.baddbmm(bias.reshape(len(rows), 1, -1), rows, of_steps[:, -1])
        for step, shift in enumerate(shifts[:-1]):
            sums[:, shift:].baddbmm_(rows[:, : rows.shape[1] - shift], of_steps[:, step])
        ctx.save_for_backward(rows, weight)
        ctx.shifts = shifts
        return sums

    @staticmethod
    def backward(ctx: Any, of_sums: torch.Tensor) -> Any:
        """Return the gradients of the arguments of `forward`, by operations that have derivatives themselves."""
        rows, weight = ctx.saved_tensors
        of_steps = weight if weight.ndim == 4 else weight.unsqueeze(0)
        n_rows, of_rows = rows.shape[1], None
        products = [torch.bmm(rows[:, : n_rows - shift].transpose(1, 2), of_sums[:, shift:]) for shift in ctx.shifts]
        of_weight = torch.stack(products, dim=1)
        if ctx.needs_input_grad[0]:
            of_rows = torch.bmm(of_sums, of_steps[:, -1].transpose(1, 2))
            for step, shift in enumerate(ctx.shifts[:-1]):
                of_rows[:, : n_rows - shift].baddbmm_(of_sums[:, shift:], of_steps[:, step].transpose(1, 2))
        return of_rows, of_weight.reshape(weight.shape), of_sums.sum(1).reshape((*weight.shape[:-3], -1)), None


class PlainStack(nn.Module):
    """Causal convolutions on top of each other, each followed by an activation, `(K, L, B, I)` to `(K, L, B, D)`.

    All weights but the first layer's are one tensor, and so are all biases: a step of training takes less time with
    three parameters than with two for each layer.

    Parameters
    ----------
    input_dim, num_filters, kernel_size, dilations, dropout, activation
        As of :class:`DilatedConvolutions`.
    """

    takes_members = True

    def __init__(
        self,
        input_dim: int,
        num_filters: int,
        kernel_size: int,
        dilations: Sequence[int],
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.steps_back = [_steps_back(kernel_size, dilation) for dilation in dilations]
        n_others = len(dilations) - 1
        self.first_weight = nn.Parameter(torch.empty(kernel_size, input_dim, num_filters))
        self.weights: Any = None
        if n_others:
            self.weights = nn.Parameter(torch.empty(n_others, kernel_size, num_filters, num_filters))
        self.biases = nn.Parameter(torch.empty(len(dilations), num_filters))
        # absent rather than inactive at zero: Darts takes a model with Monte Carlo dropout layers for probabilistic
        self.dropouts: Any = nn.ModuleList([VariationalDropout(dropout) for _ in dilations] if dropout > 0 else [])
        self.activation: nn.Module = getattr(nn, activation)()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        with torch.no_grad():
            for weight, _ in self._of_layers():
                _draw_kernel(weight)
        nn.init.zeros_(self.biases)

    def forward(self, inputs: torch.Tensor, places: Sequence[Places | None]) -> torch.Tensor:
        """Return the outputs of all steps or, with places for each layer, of some, as :func:`convolve` does."""
        loops = None if places[0] is not None else self._find_loops(inputs)
        if loops is not None:
            return self._run(loops, inputs)
        states = inputs
        for layer, (weight, bias) in enumerate(self._of_layers()):
            states = _drop(self.dropouts[layer] if self.dropouts else None, states)
            states = self.activation(convolve(states, weight, bias, self.steps_back[layer], places[layer]))
        return states

    def _of_layers(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Return weight and bias of each layer."""
        others = () if self.weights is None else self.weights.unbind(-4)
        return zip([self.first_weight, *others], self.biases.unbind(-2), strict=True)

    def _find_loops(self, inputs: torch.Tensor) -> "Loops | None":
        """Return the compiled loops, if they know what inputs and parameters are, and are the fastest."""
        if type(self.activation) is not nn.ReLU:
            return None
        if inputs.numel() == 0 or inputs.dtype not in (torch.float32, torch.float64):
            return None
        for each in (inputs, self.first_weight, self.weights, self.biases):
            if each is None:
                continue
            if type(each) not in (torch.Tensor, nn.Parameter) or not each.is_cpu or each.dtype is not inputs.dtype:
                return None
        if any(dropout.mc_dropout_enabled for dropout in self.dropouts):
            return None
        is_small = _n_rows(inputs.shape[-1], self.biases.shape[-1]) >= FEWEST_ROWS
        if not is_small or _is_special(inputs) or is_switched_off(SWITCH):
            return None
        return load_loops(inputs.dtype)

    def _run(self, loops: "Loops", inputs: torch.Tensor) -> torch.Tensor:
        """Return the states `(K, L, B, D)` of all steps through machine code."""
        states: torch.Tensor = _CompiledStack.apply(  # type: ignore[no-untyped-call]
            loops, self.steps_back, inputs.transpose(1, 2), self.first_weight, self.weights, self.biases
        )
        return states.transpose(1, 2)


class GatedLayer(nn.Module):
    """A gated causal convolution, whose outputs are added to what it is given, `(K, L, B, D)`."""

    def __init__(self, num_filters: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dropout = _make_dropout(dropout)
        self.convolution = CausalConv1D(num_filters, 2 * num_filters, kernel_size, dilation)
        self.dense = Dense(num_filters, num_filters)

    def forward(self, inputs: torch.Tensor, places: Places | None = None) -> torch.Tensor:
        """Return the sums at all steps, or at some, as :func:`convolve` does."""
        values, gates = self.convolution(_drop(self.dropout, inputs), places).split(inputs.shape[-1], dim=-1)
        added: torch.Tensor = self.dense(torch.tanh(values) * torch.sigmoid(gates))
        return added + (inputs if places is None else inputs[:, places[-1]])


class GatedStack(nn.Module):
    """A causal convolution, and gated ones above it with residual and skip connections, as in WaveNet.

    Parameters
    ----------
    input_dim, num_filters, kernel_size, dilations, dropout, activation
        As of :class:`DilatedConvolutions`.
    """

    gated_layers: Any

    def __init__(
        self,
        input_dim: int,
        num_filters: int,
        kernel_size: int,
        dilations: Sequence[int],
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        make_activation = getattr(nn, activation)
        self.first_layer = PlainStack(input_dim, num_filters, kernel_size, [1], dropout, "Identity")
        self.gated_layers = nn.ModuleList(
            GatedLayer(num_filters, kernel_size, dilation, dropout) for dilation in dilations
        )
        self.after_skips = nn.Sequential(make_activation(), Dense(num_filters, num_filters), make_activation())
        self.steps_back = [
            *self.first_layer.steps_back,
            *(layer.convolution.steps_back for layer in self.gated_layers),
        ]

    def forward(self, inputs: torch.Tensor, places: Sequence[Places | None]) -> torch.Tensor:
        """Return the outputs of all steps or, with places for each layer, of some, as :func:`convolve` does."""
        lowest = states = self.first_layer(inputs, places[:1])
        for layer, of_layer in zip(self.gated_layers, places[1:], strict=True):
            states = layer(states, of_layer)
        # what the gated layers have added together is the sum of their skip connections
        outputs: torch.Tensor = self.after_skips(states - lowest[:, -states.shape[1] :])
        return outputs


class DilatedConvolutions(nn.Module):
    """Causal convolutions on top of each other, each with a dilation, from `(B, L, I)` to `(B, L, num_filters)`.

    Before the oldest step there are zeros, in every layer. :class:`~seq_plugins.WaveNetModel` explains the arguments.
    """

    def __init__(
        self,
        input_dim: int,
        num_filters: int,
        kernel_size: int,
        dilations: Sequence[int],
        gated: bool = False,
        dropout: float = 0.0,
        activation: str = "ReLU",
    ) -> None:
        super().__init__()
        self.output_dim = num_filters
        make_stack = GatedStack if gated else PlainStack
        self.stack = make_stack(input_dim, num_filters, kernel_size, dilations, dropout, activation)

    @property
    def n_members(self) -> int:
        """Number of members whose weights these are, `K`."""
        first = self.stack.first_layer if isinstance(self.stack, GatedStack) else self.stack
        return len(first.biases) if first.biases.ndim == 3 else 1

    def forward(self, features: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the states of all steps, or only the last one, from the steps that it has seen and no other."""
        steps_back = self.stack.steps_back
        places: Sequence[Any] = [None] * len(steps_back)
        if last_only:
            steps, places = _seen_by_last_state(features.shape[1], tuple(map(tuple, steps_back)))
            features = features[:, steps]
        by_steps = by_member(features, self.n_members).transpose(1, 2)  # -> (K, L, B, I)
        states: torch.Tensor = self.stack(by_steps, places)
        return states.transpose(1, 2).flatten(0, 1)


class Loops(NamedTuple):
    """The compiled loops."""

    forward: Any
    backward: Any


@cache
def load_loops(dtype: torch.dtype) -> Loops | None:
    """Return the compiled loops; ``None`` where numba is missing, fails or keeps no machine code.

    The first call in a process compiles them, or takes them from numba's cache on the disk.
    """
    try:
        from seq_plugins._compilation import compile_all
        from seq_plugins.layers import dilated_convolution_loops as loops_module
    except ImportError:
        return None
    type_name = str(dtype).removeprefix("torch.")
    loops = Loops(*(getattr(loops_module, f"stack_{way}")[type_name] for way in ("forward", "backward")))
    is_compiled = compile_all(
        loops,
        _first_calls(loops, type_name),
        subject="the dilated convolutions",
        fallback="Dilated convolutions run on PyTorch's slower operations",
        switch=SWITCH,
        logger=logger,
    )
    return loops if is_compiled else None


def _first_calls(loops: Loops, type_name: str) -> list[Callable[[], None]]:
    """Return the loops' first calls, of two layers with one filter."""
    zeros = partial(np.zeros, dtype=type_name)
    inputs, steps_back, states, outputs = zeros((1, 1, 2, 1)), np.array([[1, 0]] * 2), *[zeros((1, 1, 2, 1))] * 2
    packed = zeros((1, 2, 1, 1)), zeros((1, 1, 2, 1, 1)), zeros((1, 2, 1))
    gradients = zeros(inputs.shape), *(zeros(each.shape) for each in packed)
    return [
        partial(loops.forward, inputs, *packed, steps_back, states, outputs, 1, 2),
        partial(loops.backward, outputs, inputs, *packed[:2], steps_back, states, outputs, *gradients, 1, 2),
    ]


class _CompiledStack(torch.autograd.Function):
    """Convolutions with ReLU as one operation, from `(K, B, L, I)` to `(K, B, L, D)`."""

    @staticmethod
    def forward(
        ctx: Any,
        loops: Loops,
        steps_back: Sequence[Sequence[int]],
        inputs: torch.Tensor,
        first_weight: torch.Tensor,
        weights: torch.Tensor | None,
        biases: torch.Tensor,
    ) -> Any:
        """Return the topmost states, and remember those of all layers."""
        n_members, n_samples, n_steps, n_features = inputs.shape
        n_layers, n_filters = biases.shape[-2:]
        ctx.loops, ctx.steps_back = loops, np.minimum(steps_back, n_steps)
        ctx.arrays = _to_array(inputs), *_by_member(n_members, first_weight, weights, biases)
        n_rows = _n_rows(n_features, n_filters)
        n_groups = ceil(n_samples / max(1, n_rows // n_steps))
        ctx.n_at_once, ctx.n_rows = ceil(n_samples / n_groups), n_rows
        shapes = [(n_layers - 1, n_members, n_samples * n_steps, n_filters), (n_members, n_samples, n_steps, n_filters)]
        dtype = ctx.arrays[0].dtype
        states, outputs = carve(SCRATCH_MEMORY.take(n_bytes_of(shapes, dtype)), shapes, dtype)
        loops.forward(*ctx.arrays, ctx.steps_back, states, outputs, ctx.n_at_once, ctx.n_rows)
        made = torch.from_numpy(outputs)
        # PyTorch tells if somebody has changed one of these in place, and lets them go after the way back
        ctx.save_for_backward(torch.from_numpy(states), made, inputs, first_weight, weights, biases)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradients of the arguments of `forward`."""
        states, outputs, *given = ctx.saved_tensors
        # else second derivatives, such as PyTorch's `hessian`, are silently zero
        if torch.is_grad_enabled() or stands_for_several(gradient):
            return None, None, *_differentiable_gradients(ctx, gradient, given)
        inputs, first_weight, weights, biases = ctx.arrays
        of_inputs = np.empty(inputs.shape if ctx.needs_input_grad[2] else (0, 0, 0, 0), inputs.dtype)
        of_weights = [np.empty_like(first_weight), np.empty_like(weights), np.empty_like(biases)]
        ctx.loops.backward(
            _to_array(gradient),
            inputs,
            first_weight,
            weights,
            ctx.steps_back,
            states.numpy(),
            _to_array(outputs),
            of_inputs,
            *of_weights,
            ctx.n_at_once,
            ctx.n_rows,
        )
        shaped = (
            None if known is None else torch.from_numpy(found.reshape(known.shape))
            for found, known in zip(of_weights, given[1:], strict=True)
        )
        return None, None, torch.from_numpy(of_inputs) if of_inputs.size else None, *shaped


def _differentiable_gradients(
    ctx: Any, gradient: torch.Tensor, given: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """Return the gradients of inputs and parameters through PyTorch's operations, which have derivatives."""
    inputs, first_weight, weights, biases = given
    n_samples, n_steps = inputs.shape[1:3]
    with torch.enable_grad():
        states = inputs.transpose(1, 2).flatten(1, 2)  # -> (K, R, I)
        of_layers = [first_weight, *(() if weights is None else weights.unbind(-4))]
        for weight, bias, steps_back in zip(of_layers, biases.unbind(-2), ctx.steps_back.tolist(), strict=True):
            states = torch.relu(_convolve(states, weight, bias, _shifts(steps_back, n_steps, n_samples)))
        outputs = states.unflatten(1, (n_steps, n_samples)).transpose(1, 2)  # -> (K, B, L, D)
    needed = ctx.needs_input_grad[2:]
    differentiated = [each for each, is_needed in zip(given, needed, strict=True) if is_needed]
    gradients = iter(torch.autograd.grad(outputs, differentiated, gradient, create_graph=torch.is_grad_enabled()))
    return [next(gradients) if is_needed else None for is_needed in needed]


def _by_member(
    n_members: int, first_weight: torch.Tensor, weights: torch.Tensor | None, biases: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights as `(K, S, I, D)` and `(K, N - 1, S, D, D)`, and the biases as `(K, N, D)`."""
    first, of_layers = _to_array(first_weight), _to_array(biases)
    first = first.reshape(n_members, *first.shape[-3:])
    of_layers = of_layers.reshape(n_members, *of_layers.shape[-2:])
    n_filters = first.shape[-1]
    shape = n_members, of_layers.shape[1] - 1, first.shape[1], n_filters, n_filters
    others = np.empty(shape, first.dtype) if weights is None else _to_array(weights).reshape(shape)
    return first, others, of_layers


def _n_rows(n_features: int, n_filters: int) -> int:
    """Return how many rows BLAS multiplies at a time without threads of its own."""
    return max(1, MAX_PRODUCT // (max(n_features, n_filters) * n_filters))


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _make_dropout(share: float) -> VariationalDropout | None:
    # absent rather than inactive at zero: Darts takes a model with Monte Carlo dropout layers for probabilistic
    return VariationalDropout(share) if share > 0 else None


def _drop(dropout: VariationalDropout | None, inputs: torch.Tensor) -> torch.Tensor:
    """Drop features of `(K, L, B, I)`, the same ones at every step of a sequence."""
    mask = None if dropout is None else dropout.sample_mask(inputs[:, 0].flatten(0, 1))  # -> (K * B, I)
    return inputs if mask is None else inputs * mask.unflatten(0, (inputs.shape[0], -1)).unsqueeze(1)


@cache
def _seen_by_last_state(
    n_steps: int, steps_back: tuple[tuple[int, ...], ...]
) -> tuple[list[int], list[list[list[int]]]]:
    """Return which of `n_steps` the last state has seen, and the places of :func:`convolve` for each layer.

    Parameters
    ----------
    n_steps
        Number of time steps.
    steps_back
        How far back each layer's filters see, for each step of the kernel.
    """
    steps, places = [n_steps - 1], []
    for of_layer in reversed(steps_back):
        seen = [[step - back for step in steps] for back in of_layer]
        steps = sorted({step for of_step in seen for step in of_step if step >= 0})
        place = {step: position for position, step in enumerate(steps)}
        places.append([[place.get(step, -1) for step in of_step] for of_step in seen])
    return steps, places[::-1]


def dilations_within(n_steps: int, kernel_size: int) -> list[int]:
    """Return the default dilations, without those whose filters would reach further back than `n_steps`."""
    return [dilation for dilation in DEFAULT_DILATIONS if dilation * (kernel_size - 1) < n_steps]


def check_dilations_of_convolutions(dilations: Sequence[int] | None, kernel_size: int, input_chunk_length: int) -> None:
    """Check that there are convolutions, and that every weight of theirs has steps to see.

    Parameters
    ----------
    dilations
        Dilation of each convolution, or ``None`` for the default ones that fit.
    kernel_size
        Number of time steps that a filter sees at once.
    input_chunk_length
        Number of time steps that the convolutions read.

    Raises
    ------
    ValueError
        If there are none, or a weight would only ever see the zeros before the oldest step.
    """
    longest = (input_chunk_length - 1) // max(kernel_size - 1, 1)
    if kernel_size > input_chunk_length:
        raise ValueError(
            f"Expected `kernel_size` to be at most input_chunk_length={input_chunk_length}, got {kernel_size}: its "
            "oldest weights would see none of the steps. Make it smaller, or the input chunk longer."
        )
    if dilations is None:
        return
    if not dilations:
        raise ValueError("Expected `dilations` to hold one for each convolution, such as [1, 2, 4, 8], got [].")
    for position, dilation in enumerate(dilations):
        if kernel_size > 1 and dilation > longest:
            raise ValueError(
                f"Expected `dilations[{position}]` to be at most {longest} with kernel_size={kernel_size} and "
                f"input_chunk_length={input_chunk_length}, got {dilation}: its oldest weights would see none of the "
                "steps. Make it smaller, or the input chunk longer."
            )

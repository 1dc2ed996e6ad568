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
from typing import Any, NamedTuple

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
        # the oldest first
        self.steps_back = [dilation * number for number in reversed(range(kernel_size))]
        self.weight = nn.Parameter(torch.empty(kernel_size, input_dim, num_filters))
        self.bias = nn.Parameter(torch.empty(num_filters))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.xavier_uniform_(self.weight.permute(2, 1, 0))
        nn.init.zeros_(self.bias)

    @property
    def n_members(self) -> int:
        """Number of members whose weights these are, `K`."""
        return len(self.weight) if self.weight.ndim == 4 else 1

    def forward(self, inputs: torch.Tensor, places: Sequence[Sequence[int]] | None = None) -> torch.Tensor:
        """Return the outputs of all steps, or of some.

        Parameters
        ----------
        inputs
            Features `(K, L, B, I)`.
        places
            Where in `inputs` the steps are that the outputs wanted see, for each step of the kernel, the oldest first;
            -1 stands for one before the oldest. By default, all outputs are wanted.
        """
        if places is not None:
            padded = F.pad(inputs, (0, 0, 0, 0, 0, 1))
            return self._of_seen([padded[:, of_step] for of_step in places])
        if _is_special(inputs):
            n_steps = inputs.shape[1]
            padded = F.pad(inputs, (0, 0, 0, 0, self.steps_back[0], 0))
            firsts = [self.steps_back[0] - back for back in self.steps_back]
            return self._of_seen([padded[:, first : first + n_steps] for first in firsts])
        outputs = _convolve(inputs.flatten(1, 2), self.weight, self.bias, self.shifts(inputs))  # -> (K, R, D)
        return outputs.unflatten(1, inputs.shape[1:3])

    def shifts(self, inputs: torch.Tensor) -> list[int]:
        """Return how many of the rows of `inputs`, `(K, L, B, I)`, filters see back; at most all."""
        n_steps, n_samples = inputs.shape[1:3]
        return [min(back, n_steps) * n_samples for back in self.steps_back]

    def _of_seen(self, seen: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return outputs of what each step of the kernel sees, `(K, L', B, I)` each."""
        columns = self.weight.flatten(-3, -2).transpose(-1, -2)  # -> (D, S * I) or (K, D, S * I)
        return linear(torch.cat(list(seen), dim=-1), columns, self.bias)


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


class ConvolutionLayer(nn.Module):
    """A causal convolution and an activation, from `(K, L, B, I)` to `(K, L, B, D)`."""

    def __init__(
        self, input_dim: int, num_filters: int, kernel_size: int, dilation: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        self.dropout = _make_dropout(dropout)
        self.convolution = CausalConv1D(input_dim, num_filters, kernel_size, dilation)
        self.activation: nn.Module = getattr(nn, activation)()

    def forward(self, inputs: torch.Tensor, places: Sequence[Sequence[int]] | None = None) -> torch.Tensor:
        """Return the outputs of all steps, or of some, as :class:`CausalConv1D` does."""
        outputs: torch.Tensor = self.activation(self.convolution(_drop(self.dropout, inputs), places))
        return outputs


class GatedLayer(nn.Module):
    """A gated causal convolution, whose outputs are added to what it is given, `(K, L, B, D)`."""

    def __init__(self, num_filters: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dropout = _make_dropout(dropout)
        self.convolution = CausalConv1D(num_filters, 2 * num_filters, kernel_size, dilation)
        self.dense = Dense(num_filters, num_filters)

    def forward(self, inputs: torch.Tensor, places: Sequence[Sequence[int]] | None = None) -> torch.Tensor:
        """Return the sums at all steps, or at some, as :class:`CausalConv1D` does."""
        values, gates = self.convolution(_drop(self.dropout, inputs), places).split(inputs.shape[-1], dim=-1)
        added: torch.Tensor = self.dense(torch.tanh(values) * torch.sigmoid(gates))
        return added + (inputs if places is None else inputs[:, places[-1]])


class DilatedConvolutions(nn.Module):
    """Causal convolutions on top of each other, each with a dilation, from `(B, L, I)` to `(B, L, num_filters)`.

    Before the oldest step there are zeros, in every layer. :class:`~seq_plugins.WaveNetModel` explains the arguments.
    """

    layers: Any

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
        self.is_plain = not gated and activation == "ReLU"
        self.layers = nn.ModuleList()
        self.after_skips: nn.Sequential | None = None
        if gated:
            self.layers.append(ConvolutionLayer(input_dim, num_filters, kernel_size, 1, dropout, "Identity"))
            self.layers.extend(GatedLayer(num_filters, kernel_size, dilation, dropout) for dilation in dilations)
            make_activation = getattr(nn, activation)
            self.after_skips = nn.Sequential(make_activation(), Dense(num_filters, num_filters), make_activation())
        else:
            for dilation in dilations:
                self.layers.append(ConvolutionLayer(input_dim, num_filters, kernel_size, dilation, dropout, activation))
                input_dim = num_filters

    def forward(self, features: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the states of all steps, or only the last one, from the steps that it has seen and no other."""
        first_layer, *others = self.layers
        places: Sequence[Any] = [None] * len(self.layers)
        if last_only:
            steps_back = tuple(tuple(layer.convolution.steps_back) for layer in self.layers)
            steps, places = _seen_by_last_state(features.shape[1], steps_back)
            features = features[:, steps]
        by_steps = by_member(features, first_layer.convolution.n_members).transpose(1, 2)  # -> (K, L, B, I)
        if not last_only and self.is_plain:
            convolutions = [layer.convolution for layer in self.layers]
            parameters = [tensor for each in convolutions for tensor in (each.weight, each.bias)]
            loops = self._find_loops([by_steps, *parameters])
            if loops is not None:
                return self._run(loops, by_steps, parameters).transpose(1, 2).flatten(0, 1)
        lowest = states = first_layer(by_steps, places[0])
        for layer, of_layer in zip(others, places[1:], strict=True):
            states = layer(states, of_layer)
        if self.after_skips is not None:
            # what the gated layers have added together is the sum of their skip connections
            states = self.after_skips(states - lowest[:, -states.shape[1] :])
        return states.transpose(1, 2).flatten(0, 1)

    def _find_loops(self, tensors: Sequence[torch.Tensor]) -> "Loops | None":
        """Return the compiled loops, if they know what inputs and parameters are, and are the fastest."""
        inputs = tensors[0]
        if inputs.numel() == 0 or inputs.dtype not in (torch.float32, torch.float64):
            return None
        for each in tensors:
            if type(each) not in (torch.Tensor, nn.Parameter) or not each.is_cpu or each.dtype is not inputs.dtype:
                return None
        if any(layer.dropout is not None and layer.dropout.mc_dropout_enabled for layer in self.layers):
            return None
        is_small = _n_rows(inputs.shape[-1], self.output_dim) >= FEWEST_ROWS
        if not is_small or _is_special(inputs) or is_switched_off(SWITCH):
            return None
        return load_loops(inputs.dtype)

    def _run(self, loops: "Loops", inputs: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the states `(K, L, B, D)` of all steps through machine code."""
        shifts = np.array([layer.convolution.shifts(inputs) for layer in self.layers])
        states: torch.Tensor = _CompiledStack.apply(  # type: ignore[no-untyped-call]
            loops, shifts, inputs.flatten(1, 2), *parameters
        )
        return states.unflatten(1, inputs.shape[1:3])


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
    rows, shifts, states = zeros((1, 2, 1)), np.array([[1, 0], [1, 0]]), zeros((2, 1, 2, 1))
    packed = zeros((1, 2, 1, 1)), zeros((1, 1, 2, 1, 1)), zeros((1, 2, 1))
    gradients = zeros(rows.shape), *(zeros(each.shape) for each in packed)
    return [
        partial(loops.forward, rows, *packed, shifts, states, 2),
        partial(loops.backward, rows, rows, *packed[:2], shifts, states, *gradients, 2),
    ]


class _CompiledStack(torch.autograd.Function):
    """Convolutions with ReLU as one operation, from `(K, R, I)` to `(K, R, D)`."""

    @staticmethod
    def forward(ctx: Any, loops: Loops, shifts: np.ndarray, rows: torch.Tensor, *parameters: torch.Tensor) -> Any:
        """Return the topmost states, and remember those of all layers; `parameters` are weight and bias of each."""
        ctx.loops, ctx.shifts, ctx.arrays = loops, shifts, (_to_array(rows), *_pack(parameters, len(rows)))
        n_filters, dtype = parameters[1].shape[-1], ctx.arrays[0].dtype
        ctx.n_rows = _n_rows(rows.shape[-1], n_filters)
        shape = (len(shifts), *rows.shape[:2], n_filters)
        (states,) = carve(SCRATCH_MEMORY.take(n_bytes_of([shape], dtype)), [shape], dtype)
        loops.forward(*ctx.arrays, shifts, states, ctx.n_rows)
        outputs = torch.from_numpy(states[-1])
        # PyTorch tells if somebody has changed one of these in place, and lets them go after the way back
        ctx.save_for_backward(torch.from_numpy(states), outputs, rows, *parameters)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradients of the arguments of `forward`."""
        states, _, *given = ctx.saved_tensors
        # else second derivatives, such as PyTorch's `hessian`, are silently zero
        if torch.is_grad_enabled() or stands_for_several(gradient):
            return None, None, *_differentiable_gradients(ctx, gradient, given)
        rows, first_weight, weights, biases = ctx.arrays
        of_rows = np.empty(rows.shape if ctx.needs_input_grad[2] else (0, 0, 0), rows.dtype)
        of_packed = np.empty_like(first_weight), np.empty_like(weights), np.empty_like(biases)
        ctx.loops.backward(
            _to_array(gradient),
            rows,
            first_weight,
            weights,
            ctx.shifts,
            states.numpy(),
            of_rows,
            *of_packed,
            ctx.n_rows,
        )
        of_parameters = zip(_unpack(*of_packed), given[1:], strict=True)
        shaped = (torch.from_numpy(found.reshape(known.shape)) for found, known in of_parameters)
        return None, None, torch.from_numpy(of_rows) if of_rows.size else None, *shaped


def _differentiable_gradients(
    ctx: Any, gradient: torch.Tensor, given: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """Return the gradients of rows and parameters through PyTorch's operations, which have derivatives."""
    states, *parameters = given
    with torch.enable_grad():
        for weight, bias, shifts in zip(parameters[::2], parameters[1::2], ctx.shifts.tolist(), strict=True):
            states = torch.relu(_convolve(states, weight, bias, shifts))
    needed = ctx.needs_input_grad[2:]
    differentiated = [each for each, is_needed in zip(given, needed, strict=True) if is_needed]
    gradients = iter(torch.autograd.grad(states, differentiated, gradient, create_graph=torch.is_grad_enabled()))
    return [next(gradients) if is_needed else None for is_needed in needed]


def _pack(parameters: Sequence[torch.Tensor], n_members: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first weight `(K, S, I, D)`, the others `(K, N - 1, S, D, D)` and the biases `(K, N, D)`."""
    arrays = [_to_array(each) for each in parameters]
    first, *others = (weight.reshape(n_members, *weight.shape[-3:]) for weight in arrays[::2])
    biases = [bias.reshape(n_members, -1) for bias in arrays[1::2]]
    n_steps, _, n_filters = first.shape[1:]
    weights = np.stack(others, 1) if others else np.empty((n_members, 0, n_steps, n_filters, n_filters), first.dtype)
    return first, weights, np.stack(biases, 1)


def _unpack(first_weight: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> Iterator[np.ndarray]:
    """Return weight and bias of each layer, one after another, of what :func:`_pack` returns."""
    for layer in range(biases.shape[1]):
        yield first_weight if layer == 0 else weights[:, layer - 1]
        yield biases[:, layer]


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
    """Return which of `n_steps` the last state has seen, and the places of :class:`CausalConv1D` for each layer.

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

"""Three ways through the steps of a recurrent layer, and the choice between them.

PyTorch's kernels for a CPU start several tensor operations at every step, forwards and backwards, and those take longer
than the arithmetic of a small layer. The compiled kernel starts a handful for all steps together and leaves the steps
to machine code (:mod:`seq_plugins.layers.recurrent_loops`). Where it does not apply or does not win,
:func:`choose_kernel` falls back; the environment variable ``SEQ_PLUGINS_RECURRENT_KERNEL=torch`` makes it always do so.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates, S: sums

logger = logging.getLogger(__name__)

SWITCH = "SEQ_PLUGINS_RECURRENT_KERNEL"
"""The environment variable that switches the compiled kernel off (``torch``) or leaves the choice free (``auto``)."""

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From a step's two projections `(B, G * D)`, state and cell `(B, D)` to the next state and cell."""


MAX_PRODUCT = 2**18
"""Multiplications in a matrix product that OpenBLAS, SciPy's, does without threads of its own."""


class Kernel(StrEnum):
    """A way through the steps."""

    COMPILED = "compiled"  # machine code for all steps
    TORCH = "torch"  # PyTorch's recurrent layers, which know no dropout on the state
    STEPS = "steps"  # PyTorch, step by step


class Cell(NamedTuple):
    """What the compiled kernel has to know of a layer."""

    name: str  # of its loops
    n_gates: int
    n_sums: int  # that a step starts with: one for each gate, but two for the candidate of a GRU
    n_values: int  # numbers of a unit at a step, besides its state, without which there is no way back
    step: Step


class Weights(NamedTuple):
    """The weights of a layer, its gates along the first dimension."""

    weight_ih: torch.Tensor  # (G * D, I)
    weight_hh: torch.Tensor  # (G * D, D)
    bias_ih: torch.Tensor  # (G * D,)
    bias_hh: torch.Tensor | None = None  # (G * D,)


class Loops(NamedTuple):
    """The compiled loops of a layer."""

    forward: Any
    backward: Any


# --- the choice


def choose_kernel(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> Kernel:
    """Return the way to take, and tell it once in the log for each kind of layer, at debug level.

    Parameters
    ----------
    cell
        The layer's equations.
    inputs
        Features of all steps, `(B, L, I)`.
    mask
        What the state is multiplied with before the gates see it, `(B, D)`.
    weights
        The layer's weights.
    """
    fallback = Kernel.TORCH if mask is None else Kernel.STEPS
    if _is_recorded():
        return fallback  # without a word, since a log cannot be recorded either
    objection = _find_objection(cell, inputs, mask, weights)
    kernel = fallback if objection else Kernel.COMPILED
    if logger.isEnabledFor(logging.DEBUG):
        _log_choice(cell.name, weights.weight_hh.shape[1], inputs.dtype, inputs.device.type, kernel, objection)
    return kernel


def _is_recorded() -> bool:
    """Find out whether ``torch.compile``, ``torch.export``, ONNX or ``torch.jit.trace`` record tensor operations."""
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_compiling() or is_traced


def _find_objection(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> str | None:
    """Return why the compiled kernel cannot or should not run; ``None`` if nothing speaks against it."""
    if _is_switched_off():
        return f"{SWITCH} is set"
    if inputs.dtype not in (torch.float32, torch.float64):
        return "it knows float32 and float64 only"
    for tensor in (inputs, mask, *weights):
        if tensor is None:
            continue
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            return "there are other tensors than PyTorch's own"
        if not tensor.is_cpu:
            return "it runs on the CPU only"
        if tensor.dtype is not inputs.dtype:
            return "types are mixed"
        if _has_tangent(tensor):
            return "derivatives are taken forwards"
    if _are_functions_transformed():
        return "functions are transformed"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if mask is not None and mask.requires_grad:
        return "it has no gradient for the mask"
    if inputs.ndim != 3 or inputs.numel() == 0 or inputs.shape[2] != weights.weight_ih.shape[1]:
        return "the inputs have an unexpected shape"
    if not _wins(cell, inputs, mask, weights):
        return "it is no faster there"
    if load_loops(cell, inputs.dtype) is None:
        return "numba is missing or fails"
    return None


def _is_switched_off() -> bool:
    setting = os.environ.get(SWITCH, "auto")
    if setting not in ("auto", "torch"):
        raise ValueError(f"Expected the environment variable {SWITCH} to be 'auto' or 'torch', got '{setting}'.")
    return setting == "torch"


def _has_tangent(tensor: torch.Tensor) -> bool:
    # the level, a private name, saves time: it is below zero where nobody differentiates forwards
    return getattr(forward_ad, "_current_level", 0) >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def _are_functions_transformed() -> bool:
    """Find out whether ``torch.func`` is at work, for which PyTorch has a private name only."""
    return bool(getattr(torch._C, "_are_functorch_transforms_active", bool)())


def _stands_for_several(tensor: torch.Tensor) -> bool:
    """Find out whether a tensor has no memory of its own, as where gradients are taken in batches."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False


def _wins(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> bool:
    """Tell where the compiled kernel was measured to be faster, by the width `D + I` of what a step sees.

    One and two threads, batches of 1, 32 and 512, 56 steps. PyTorch runs LSTMs in float32 through oneDNN, which is
    faster than its other kernels, most of all where no gradient is wanted; step by step it is slower than any kernel.
    """
    width = weights.weight_hh.shape[1] + inputs.shape[2]
    if mask is not None:
        return width <= 192
    if cell.name == "lstm" and inputs.dtype is torch.float32:
        wants_gradient = torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (inputs, *weights)
        )
        return wants_gradient and width <= 96
    return width <= 128


@cache  # once for each kind of layer
def _log_choice(
    name: str, hidden_dim: int, dtype: torch.dtype, device: str, kernel: Kernel, objection: str | None
) -> None:
    reason = "" if objection is None else f", not the compiled one, because {objection}"
    logger.debug("%s with %d units, %s on %s: the kernel is '%s'%s.", name, hidden_dim, dtype, device, kernel, reason)


# --- step by step


def run_in_steps(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> torch.Tensor:
    """Return the states `(B, L, D)` of `inputs` `(B, L, I)`, through PyTorch's operations for each step."""
    projected = F.linear(inputs, weights.weight_ih, weights.bias_ih)  # -> (B, L, G * D)
    state = memory = inputs.new_zeros(inputs.shape[0], weights.weight_hh.shape[1])
    states = []
    for projected_step in projected.unbind(dim=1):
        seen = state if mask is None else state * mask
        recurrent = F.linear(seen, weights.weight_hh, weights.bias_hh)  # -> (B, G * D)
        state, memory = cell.step(projected_step, recurrent, state, memory)
        states.append(state)
    return torch.stack(states, dim=1)


# --- compiled


@cache
def load_loops(cell: Cell, dtype: torch.dtype) -> Loops | None:
    """Return the compiled loops of a layer; ``None`` where numba is missing or fails.

    The first call in a process compiles them, or takes them from numba's cache on the disk.
    """
    try:
        from seq_plugins.layers import recurrent_loops as loops_module
    except ImportError:
        return None
    loops = Loops(getattr(loops_module, f"{cell.name}_forward"), getattr(loops_module, f"{cell.name}_backward"))
    announce = partial(_announce, loops.forward.stats.cache_path)
    try:
        with loops_module.listening_to_compilation(announce):
            _compile(cell, loops, dtype)
    except Exception as error:
        logger.warning(
            "The recurrent layers run on PyTorch's slower kernels, since numba failed: %s. Install another "
            "numba, or set %s=torch to keep this quiet.",
            error,
            SWITCH,
        )
        return None
    return loops


@cache  # once in a process
def _announce(folder: str | None) -> None:
    kept = "in every process, since numba finds no folder to keep it in" if folder is None else f"kept in {folder}"
    logger.warning("Compiling the recurrent layers for this processor (some seconds, %s).", kept)


def _compile(cell: Cell, loops: Loops, dtype: torch.dtype) -> None:
    """Call the loops for the first time, with one unit, one feature, one sequence and two steps."""
    zeros = partial(np.zeros, dtype=str(dtype).removeprefix("torch."))
    weights, biases, no_mask = zeros((cell.n_gates, 1)), zeros(cell.n_gates), zeros((0, 0))
    seen, values, states = zeros((2, 1, 3)), zeros((cell.n_values, 2, 1, 1)), zeros((2, 1, 1))
    gradients = zeros((cell.n_sums, 2, 1, 1))
    forward, backward = map(_ignoring_a_full_disk, loops)
    forward(seen, weights, weights, biases, biases, no_mask, values, states, 0, 1)
    backward(weights, no_mask, values, states, gradients, 0, 1)


def _ignoring_a_full_disk(loop: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls `loop` again when its code was compiled, but could not be written."""

    def run(*arguments: Any) -> None:
        try:
            loop(*arguments)
        except OSError:
            loop(*arguments)

    return run


class Trace(NamedTuple):
    """What the way back needs of the way there."""

    seen: torch.Tensor  # (L, B, D + I + 1)
    values: torch.Tensor  # (V, L, B, D)
    states: torch.Tensor  # (L, B, D)


def run_compiled(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> torch.Tensor:
    """Return the states `(B, L, D)` of `inputs` `(B, L, I)`, through machine code."""
    states: torch.Tensor = CompiledRecurrence.apply(cell, inputs, mask, *weights)  # type: ignore[no-untyped-call]
    return states


class CompiledRecurrence(torch.autograd.Function):
    """A recurrent layer as one operation, from `(B, L, I)` to `(B, L, D)`."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, *weights: torch.Tensor
    ) -> torch.Tensor:
        """Return the states and remember what leads back."""
        trace = _run_forward(cell, _loaded(cell, inputs), inputs, mask, Weights(*weights))
        states = trace.states.transpose(0, 1)
        ctx.cell = cell
        ctx.save_for_backward(inputs, mask, *weights, trace.seen, trace.values, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradients of the arguments of `forward`."""
        inputs, mask, *weights, seen, values, states = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or _are_functions_transformed() or _stands_for_several(gradient):
            return None, *_differentiable_gradients(ctx.cell, inputs, mask, Weights(*weights), needed, gradient)
        trace = Trace(seen, values, states.detach().transpose(0, 1))
        return None, *_gradients(ctx.cell, inputs, mask, Weights(*weights), needed, gradient, trace)


def _loaded(cell: Cell, inputs: torch.Tensor) -> Loops:
    loops = load_loops(cell, inputs.dtype)
    if loops is None:
        raise RuntimeError("Expected compiled loops; ask `choose_kernel` first.")
    return loops


def _differentiable_gradients(
    cell: Cell,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    weights: Weights,
    needed: Sequence[bool],
    gradient: torch.Tensor,
) -> list[torch.Tensor | None]:
    """Return the gradients of inputs, mask and weights through PyTorch's operations, which have derivatives."""
    with torch.enable_grad():
        states = run_in_steps(cell, inputs, mask, weights)
    arguments = zip((inputs, mask, *weights), needed, strict=True)
    differentiated = [argument for argument, is_needed in arguments if is_needed and argument is not None]
    gradients = iter(torch.autograd.grad(states, differentiated, gradient, create_graph=torch.is_grad_enabled()))
    return [next(gradients) if is_needed else None for is_needed in needed]


def _gradients(
    cell: Cell,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    weights: Weights,
    needed: Sequence[bool],
    gradient: torch.Tensor,
    trace: Trace,
) -> list[torch.Tensor | None]:
    """Return the gradients of inputs, mask and weights."""
    n_steps, n_sequences, n_units = trace.states.shape
    has_more_sums = cell.n_sums > cell.n_gates  # the candidate's input comes first, but the candidate is the last gate
    of_sums = _run_backward(cell, _loaded(cell, inputs), gradient, mask, weights, trace).flatten(1, 2)
    gradients: list[torch.Tensor | None] = [None] * len(needed)
    if needed[0]:
        kernels = weights.weight_ih.reshape(cell.n_gates, n_units, -1)
        kernels = kernels.roll(1, dims=0) if has_more_sums else kernels
        of_inputs = torch.bmm(of_sums[: cell.n_gates], kernels).sum(dim=0)  # -> (L * B, I)
        gradients[0] = of_inputs.view(n_steps, n_sequences, -1).transpose(0, 1)
    if any(needed[2:]):
        seen = trace.seen.flatten(0, 1).T  # -> (D + I + 1, L * B)
        of_matrices = torch.bmm(seen.expand(cell.n_sums, -1, -1), of_sums)  # -> (S, D + I + 1, D)
        weight_hh, weight_ih, bias_ih = of_matrices.split((n_units, seen.shape[0] - n_units - 1, 1), dim=1)
        bias_hh = None
        if has_more_sums:
            weight_hh, bias_hh = weight_hh[1:], bias_ih[1:].flatten()
            weight_ih, bias_ih = weight_ih[:-1].roll(-1, dims=0), bias_ih[:-1].roll(-1, dims=0)
        gradients[2:] = weight_ih.mT.flatten(0, 1), weight_hh.mT.flatten(0, 1), bias_ih.flatten(), bias_hh
    return gradients


def _run_forward(cell: Cell, loops: Loops, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> Trace:
    n_sequences, n_steps, n_inputs = inputs.shape
    n_units = weights.weight_hh.shape[1]
    seen = inputs.new_empty(n_steps, n_sequences, n_units + n_inputs + 1)
    seen[..., n_units:-1] = inputs.transpose(0, 1)
    values = inputs.new_empty(cell.n_values, n_steps, n_sequences, n_units)
    states = inputs.new_empty(n_steps, n_sequences, n_units)
    weight_ih, weight_hh, bias_ih = (_to_array(weight) for weight in weights[:3])
    bias_hh = bias_ih if weights.bias_hh is None else _to_array(weights.bias_hh)
    mask_array = NO_MASK[inputs.dtype] if mask is None else _to_array(mask)
    arrays = seen.numpy(), weight_ih, weight_hh, bias_ih, bias_hh, mask_array, values.numpy(), states.numpy()
    for first, last in _parts(n_sequences, n_units * seen.shape[2]):
        loops.forward(*arrays, first, last)
    return Trace(seen, values, states)


def _run_backward(
    cell: Cell, loops: Loops, gradient: torch.Tensor, mask: torch.Tensor | None, weights: Weights, trace: Trace
) -> torch.Tensor:
    """Return the gradients of the sums `(S, L, B, D)` from that of the states `(B, L, D)`."""
    n_units = trace.states.shape[2]
    of_sums = gradient.new_empty(cell.n_sums, *trace.states.shape)
    of_sums[0] = gradient.transpose(0, 1)
    mask_array = NO_MASK[gradient.dtype] if mask is None else _to_array(mask)
    arrays = _to_array(weights.weight_hh), mask_array, trace.values.numpy(), trace.states.numpy(), of_sums.numpy()
    for first, last in _parts(gradient.shape[0], n_units**2):
        loops.backward(*arrays, first, last)
    return of_sums


NO_MASK = {torch.float32: np.zeros((0, 0), np.float32), torch.float64: np.zeros((0, 0), np.float64)}


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def _parts(n_sequences: int, product_size: int) -> Iterator[tuple[int, int]]:
    """Yield the sequences to take at once, by the first and the one after the last."""
    n_rows = max(1, MAX_PRODUCT // product_size)
    for first in range(0, n_sequences, n_rows):
        yield first, min(first + n_rows, n_sequences)

"""Three ways through the steps of a recurrent layer, and the choice between them.

PyTorch's kernels for a CPU start several tensor operations at every step, forwards and backwards, and those take longer
than the arithmetic of a small layer. The compiled kernel starts a handful for all steps together and leaves the steps
to machine code (:mod:`seq_plugins.layers.recurrent_loops`). Where it does not apply or does not win,
:func:`choose_kernel` falls back; the environment variable ``SEQ_PLUGINS_RECURRENT_KERNEL=torch`` makes it always do so.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache, lru_cache, partial
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

from seq_plugins._arguments import is_switched_off
from seq_plugins.layers.members import by_member
from seq_plugins.layers.scratch_memory import ScratchMemory, carve, n_bytes_of

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates, K: members of an ensemble,
# M: what a step hands to the next, 1 for the state or 2 for state and cell of an LSTM

logger = logging.getLogger(__name__)

SWITCH = "SEQ_PLUGINS_RECURRENT_KERNEL"
"""The environment variable that switches the compiled kernel off (``torch``) or leaves the choice free (``auto``)."""

Normalize = Callable[[int, torch.Tensor], torch.Tensor]
"""From the position of a sum among those that are normalised, and the sum, `(B, D)`, to what stands for it."""

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Normalize], tuple[torch.Tensor, torch.Tensor]]
"""From a step's two projections `(B, G * D)`, state and cell `(B, D)` to the next state and cell."""

TorchLayer = Callable[[torch.Tensor, torch.Tensor, list[torch.Tensor], bool], tuple[torch.Tensor, torch.Tensor | None]]
"""From inputs `(B, L, I)`, what is before the first step `(M, B, D)`, weights and whether it is training to the states
`(B, L, D)` and, of an LSTM, its last cell `(B, D)`."""

EPSILON = 1e-3
"""What is added to the variance of a sum that is normalised, as in Keras' ``LayerNormalization``."""

MAX_PRODUCT = 2**18
"""Multiplications in a matrix product that OpenBLAS, SciPy's, does without threads of its own."""


MOST_WIDTH_OF_ANY = 96
"""Width `D + I` of what a step sees up to which the compiled kernel is the fastest for every kind of layer."""


FEWEST_PRODUCTS_OF_A_THREAD = 2**22
"""Multiplications in a member's loop from which a thread of its own was measured to pay."""


class Kernel(StrEnum):
    """A way through the steps."""

    COMPILED = "compiled"  # machine code for all steps
    TORCH = "torch"  # PyTorch's recurrent layers, which know no dropout on the state
    STEPS = "steps"  # PyTorch, step by step


class Cell(NamedTuple):
    """What the kernels have to know of a layer."""

    name: str  # of its loops
    n_gates: int
    n_values: int  # numbers of a unit at a step, besides its state, without which there is no way back
    step: Step
    torch_layer: TorchLayer
    n_memories: int = 1  # tensors that a step hands to the next, M

    @property
    def n_norms(self) -> int:
        """Number of sums that layer normalisation acts on, `N`: those of the gates and, of an LSTM, the cell."""
        return self.n_gates + self.n_memories - 1


class Recurrence(NamedTuple):
    """What a layer makes of its inputs."""

    states: torch.Tensor  # (B, L, D), or (B, 1, D) where only the last one counts
    cell: torch.Tensor | None  # (B, D), that of an LSTM after the last step

    @property
    def memory(self) -> torch.Tensor:
        """What is handed on after the last step, `(M, B, D)`, to be `initial` of what follows."""
        last = self.states[:, -1]
        return last.unsqueeze(0) if self.cell is None else torch.stack([last, self.cell])


class Weights(NamedTuple):
    """The weights of a layer, its gates along the first dimension; those of members, `(K, ...)`, in one tensor."""

    weight_ih: torch.Tensor  # (G * D, I)
    weight_hh: torch.Tensor  # (G * D, D)
    bias_ih: torch.Tensor  # (G * D,)
    bias_hh: torch.Tensor | None = None  # (G * D,)
    norm_weight: torch.Tensor | None = None  # (N, D), of a layer that is normalised
    norm_bias: torch.Tensor | None = None  # (N, D)

    @property
    def n_members(self) -> int:
        """Number of members, each of which has an equal share of the sequences, one after another."""
        return len(self.weight_hh) if self.weight_hh.ndim == 3 else 1

    @property
    def n_units(self) -> int:
        """Hidden dimension, `D`."""
        return int(self.weight_hh.shape[-1])

    def of_each(self) -> list["Weights"]:
        """Return the weights of each member."""
        if self.weight_hh.ndim == 2:
            return [self]
        n_members = self.n_members
        parts = ([None] * n_members if weight is None else weight.unbind() for weight in self)
        return [Weights(*part) for part in zip(*parts, strict=True)]

    @property
    def torch_has_them(self) -> bool:
        """Whether they are those of a recurrent layer that PyTorch has."""
        return self.norm_weight is None

    def normalize(self, position: int, sums: torch.Tensor) -> torch.Tensor:
        """Return the `sums` `(B, D)`, normalised if the layer is, with the weights of the norm at `position`."""
        if self.norm_weight is None or self.norm_bias is None:
            return sums
        return F.layer_norm(sums, sums.shape[1:], self.norm_weight[position], self.norm_bias[position], EPSILON)


class Loops(NamedTuple):
    """The compiled loops of a layer."""

    forward: Any
    backward: Any


# --- the choice


def choose_kernel(
    cell: Cell,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    weights: Weights,
    initial: torch.Tensor | None = None,
) -> Kernel:
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
    initial
        What is before the first step, `(M, B, D)`; ``None`` for zeros.
    """
    fallback = Kernel.TORCH if mask is None and weights.torch_has_them else Kernel.STEPS
    if is_recorded():
        return fallback  # without a word, since a log cannot be recorded either
    objection = _find_objection(cell, inputs, mask, weights, initial)
    if objection is None:
        kernel = Kernel.COMPILED
    elif fallback is Kernel.TORCH and not _torch_has_kernel(cell, inputs):
        kernel = Kernel.STEPS
    else:
        kernel = fallback
    if logger.isEnabledFor(logging.DEBUG):
        _log_choice(cell.name, weights.n_units, inputs.dtype, inputs.device.type, kernel, objection)
    return kernel


def is_recorded() -> bool:
    """Find out whether ``torch.compile``, ``torch.export``, ONNX or ``torch.jit.trace`` record tensor operations."""
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_compiling() or is_traced


def _find_objection(
    cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights, initial: torch.Tensor | None
) -> str | None:
    """Return why the compiled kernel cannot or should not run; ``None`` if nothing speaks against it."""
    if is_switched_off(SWITCH):
        return f"{SWITCH} is set"
    if inputs.dtype not in (torch.float32, torch.float64):
        return "it knows float32 and float64 only"
    for tensor in (inputs, mask, initial, *weights):
        if tensor is None:
            continue
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            return "there are other tensors than PyTorch's own"
        if not tensor.is_cpu:
            return "it runs on the CPU only"
        if tensor.dtype is not inputs.dtype:
            return "types are mixed"
    if are_functions_transformed():
        return "functions are transformed or differentiated forwards"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if mask is not None and mask.requires_grad:
        return "it has no gradient for the mask"
    if inputs.ndim != 3 or inputs.numel() == 0 or inputs.shape[2] != weights.weight_ih.shape[-1]:
        return "the inputs have an unexpected shape"
    if not _wins(cell, inputs, mask, weights):
        return "it is no faster there"
    if load_loops(cell, inputs.dtype) is None:
        return "numba is missing, fails or keeps no machine code"
    return None


def are_functions_transformed() -> bool:
    """Find out whether ``torch.func`` or forward differentiation is at work, for which PyTorch has private names only.

    Without this, ``torch.func`` fails in the compiled kernel, and the derivatives that weights carry forwards are lost.
    """
    is_differentiated_forwards: bool = getattr(forward_ad, "_current_level", 0) >= 0
    return is_differentiated_forwards or bool(getattr(torch._C, "_are_functorch_transforms_active", bool)())


def stands_for_several(tensor: torch.Tensor | None) -> bool:
    """Find out whether a tensor has no memory of its own, as in ``torch.autograd.functional.jacobian(vectorize=True)``.

    There are no numbers then for machine code to read: PyTorch fails with an error that does not say why.
    """
    try:
        if tensor is not None:
            tensor.data_ptr()
    except RuntimeError:
        return True
    return False


def _wins(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, weights: Weights) -> bool:
    """Tell where the compiled kernel was measured to be faster, by the width `D + I` of what a step sees.

    One and two threads, batches of 1, 32 and 512, 56 steps. PyTorch runs LSTMs in float32 through oneDNN, which is
    faster than its other kernels, most of all where no gradient is wanted; step by step it is slower than any kernel.
    """
    width = weights.n_units + inputs.shape[2]
    if mask is not None or not weights.torch_has_them:
        return width <= 192
    if cell.name == "lstm" and inputs.dtype is torch.float32:
        wants_gradient = torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (inputs, *weights)
        )
        return wants_gradient and width <= MOST_WIDTH_OF_ANY
    return width <= 160


def _torch_has_kernel(cell: Cell, inputs: torch.Tensor) -> bool:
    """Find out whether PyTorch's recurrent layer runs: not mapped, nor in low precision on every processor."""
    if are_functions_transformed():
        return False  # `torch.func.vmap`, as for an ensemble, has no rule for it
    autocast_type = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    if autocast_type is None and inputs.dtype in (torch.float32, torch.float64):
        return True
    if not inputs.is_cpu or type(inputs) is not torch.Tensor:
        return True  # there is nothing to try
    return _torch_runs(cell, inputs.dtype, autocast_type)


@cache  # once in a process
def _torch_runs(cell: Cell, dtype: torch.dtype, autocast_type: torch.dtype | None) -> bool:
    """Try PyTorch's recurrent layer on this CPU, with a gradient and without: only its library for it can tell."""
    # gradients can be had within a prediction, too, and nothing of this is kept for the layers around
    with (
        torch.inference_mode(False),
        torch.autocast("cpu", autocast_type, enabled=autocast_type is not None, cache_enabled=False),
    ):
        n_units = 8
        inputs = torch.zeros(2, 3, n_units, dtype=dtype)
        shapes = [(cell.n_gates * n_units, n_units)] * 2 + [(cell.n_gates * n_units,)] * 2
        weights = [inputs.new_zeros(shape).requires_grad_() for shape in shapes]
        try:
            with torch.enable_grad():
                states, _ = run_in_torch(cell, inputs, Weights(*weights), is_training=True)
                torch.autograd.grad(states.sum(), weights)
            with torch.no_grad():
                run_in_torch(cell, inputs, Weights(*weights), is_training=False)
        except RuntimeError as error:
            logger.debug("PyTorch has no kernel for %s in %s here: %s", cell.name, autocast_type or dtype, error)
            return False
    return True


@cache  # once for each kind of layer
def _log_choice(
    name: str, hidden_dim: int, dtype: torch.dtype, device: str, kernel: Kernel, objection: str | None
) -> None:
    reason = "" if objection is None else f", not the compiled one, because {objection}"
    logger.debug("%s with %d units, %s on %s: the kernel is '%s'%s.", name, hidden_dim, dtype, device, kernel, reason)


# --- through PyTorch's layers


def run_in_torch(
    cell: Cell, inputs: torch.Tensor, weights: Weights, is_training: bool, initial: torch.Tensor | None = None
) -> Recurrence:
    """Return the states `(B, L, D)` of `inputs` `(B, L, I)` through PyTorch's kernel."""
    if weights.n_members > 1:
        n_members = weights.n_members
        parts = zip(
            by_member(inputs, n_members), weights.of_each(), _initial_by_member(initial, n_members), strict=True
        )
        return _join([run_in_torch(cell, part, each, is_training, before) for part, each, before in parts])
    if initial is None:
        initial = inputs.new_zeros(cell.n_memories, inputs.shape[0], weights.n_units)
    bias_hh = torch.zeros_like(weights.bias_ih) if weights.bias_hh is None else weights.bias_hh
    return Recurrence(*cell.torch_layer(inputs, initial.contiguous(), [*weights[:3], bias_hh], is_training))


def _initial_by_member(initial: torch.Tensor | None, n_members: int) -> Sequence[torch.Tensor | None]:
    return [None] * n_members if initial is None else initial.unflatten(1, (n_members, -1)).unbind(1)


def _join(parts: Sequence[Recurrence]) -> Recurrence:
    """Return what the members make of their inputs, one after another."""
    states, cells = zip(*parts, strict=True)
    return Recurrence(torch.cat(states), None if cells[0] is None else torch.cat(cells))


# --- step by step


def run_in_steps(
    cell: Cell,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    weights: Weights,
    last_only: bool = False,
    initial: torch.Tensor | None = None,
) -> Recurrence:
    """Return the states `(B, L, D)` of `inputs` `(B, L, I)`, or the last one, through PyTorch's operations."""
    if weights.n_members > 1:
        n_members = weights.n_members
        masks = [None] * n_members if mask is None else by_member(mask, n_members)
        befores = _initial_by_member(initial, n_members)
        parts = zip(by_member(inputs, n_members), masks, weights.of_each(), befores, strict=True)
        return _join([run_in_steps(cell, part, own, each, last_only, before) for part, own, each, before in parts])
    projected = F.linear(inputs, weights.weight_ih, weights.bias_ih)  # -> (B, L, G * D)
    if initial is None:
        initial = inputs.new_zeros(1, inputs.shape[0], weights.n_units)
    state, memory = initial[0], initial[-1]
    states = []
    for projected_step in projected.unbind(dim=1):
        seen = state if mask is None else state * mask
        recurrent = F.linear(seen, weights.weight_hh, weights.bias_hh)  # -> (B, G * D)
        state, memory = cell.step(projected_step, recurrent, state, memory, weights.normalize)
        states.append(state)
    stacked = torch.stack(states[-1:] if last_only else states, dim=1)
    return Recurrence(stacked, memory if cell.n_memories > 1 else None)


# --- compiled


@cache
def load_loops(cell: Cell, dtype: torch.dtype) -> Loops | None:
    """Return the compiled loops of a layer; ``None`` where numba is missing, fails or keeps no machine code.

    The first call in a process compiles them, or takes them from numba's cache on the disk.
    """
    try:
        from seq_plugins._compilation import compile_all
        from seq_plugins.layers import recurrent_loops as loops_module
    except ImportError:
        return None
    type_name = str(dtype).removeprefix("torch.")
    loops = Loops(*(getattr(loops_module, f"{cell.name}_{way}")[type_name] for way in ("forward", "backward")))
    is_compiled = compile_all(
        loops,
        _first_calls(cell, loops, type_name),
        subject="the recurrent layers",
        fallback="The recurrent layers run on PyTorch's slower kernels",
        switch=SWITCH,
        logger=logger,
    )
    return loops if is_compiled else None


def _first_calls(cell: Cell, loops: Loops, type_name: str) -> list[Callable[[], None]]:
    """Return the loops' first calls, with one unit, one feature, one sequence and two steps."""
    numbers = np.zeros(256, type_name)  # all of what they read and write
    address, epsilon = numbers.ctypes.data, _EPSILONS[getattr(torch, type_name)]
    sizes = *_plan(cell, 1, 2, 1, 1, 1, torch.float32, 0, False, True).sizes, 1, 1, 1, 1, 1
    way = [*[address] * 5, 0, 0, 0, 0, address, address]
    back = [address, 0, address, 0, *[address] * 4, 0, 0]
    return [
        partial(_run_share, [numbers], loops.forward, epsilon, sizes, tuple(way), 0, 1),
        partial(_run_share, [numbers], loops.backward, epsilon, sizes, tuple(way), tuple(back), 0, 1),
    ]


SCRATCH_MEMORY = ScratchMemory(n_blocks=4, max_bytes=2**25)
"""Where the values and states of a batch lie: as many blocks as a usual stack has layers, and none that would be missed
elsewhere."""


class Plan(NamedTuple):
    """How a layer goes through sequences of a shape."""

    sizes: tuple[int, ...]  # the first ones of those that the loops are given
    n_bytes: int  # of values and states together
    first_byte_of_states: int
    n_values_kept: int  # steps of which there are values and states in the end
    n_states_kept: int
    n_products: int  # multiplications of a member


def plan_of(
    cell: Cell, shape: Sequence[int], weights: Weights, last_only: bool = False, leads_back: bool = True
) -> Plan:
    """Return how a layer goes through sequences.

    Parameters
    ----------
    cell
        The layer's equations.
    shape
        That of the inputs, `(B, L, I)`.
    weights
        The layer's weights.
    last_only
        Whether only the last state is needed.
    leads_back
        Whether there will be gradients. If not, a step needs the one before it only.
    """
    n_norms = 0 if weights.norm_weight is None else cell.n_norms
    return _plan(
        cell,
        *shape,
        weights.n_units,
        weights.n_members,
        weights.weight_hh.dtype,
        n_norms,
        last_only,
        leads_back,
    )


@lru_cache(maxsize=512)
def _plan(
    cell: Cell,
    n_sequences: int,
    n_steps: int,
    n_inputs: int,
    n_units: int,
    n_members: int,
    dtype: torch.dtype,
    n_norms: int,
    last_only: bool,
    leads_back: bool,
) -> Plan:
    n_values = cell.n_values + (cell.n_gates if n_norms else 0)
    n_values_kept = n_steps if leads_back else min(2, n_steps)
    n_states_kept = n_values_kept if last_only else n_steps
    n_seen, n_each = n_units + n_inputs + 1, n_sequences // n_members
    # as few parts of one size as the products allow
    n_parts = ceil(n_each / max(1, MAX_PRODUCT // (n_units * n_seen)))
    sizes = (n_steps, n_sequences, n_inputs, n_units, n_members, cell.n_gates, n_norms, cell.n_memories)
    sizes_kept = (n_values, n_values_kept, n_states_kept, ceil(n_each / n_parts))
    shapes = [(n_values, n_values_kept, n_sequences, n_units), (n_states_kept, n_sequences, n_units)]
    return Plan(
        (*sizes, *sizes_kept),
        n_bytes_of(shapes, _TYPES[dtype]),
        n_bytes_of(shapes[:1], _TYPES[dtype]),
        n_values_kept,
        n_states_kept,
        cell.n_gates * n_steps * n_each * n_units * n_seen,
    )


def run_compiled(
    cell: Cell,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    weights: Weights,
    last_only: bool = False,
    initial: torch.Tensor | None = None,
) -> Recurrence:
    """Return the states `(B, L, D)` of `inputs` `(B, L, I)`, or the last one `(B, 1, D)`, through machine code."""
    leads_back = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (inputs, mask, initial, *weights)
    )
    plan = plan_of(cell, inputs.shape, weights, last_only, leads_back)
    if not leads_back:
        return _run_forward(cell, plan, last_only, inputs, mask, initial, weights)[0]
    return Recurrence(
        *CompiledRecurrence.apply(  # type: ignore[no-untyped-call]
            cell, plan, last_only, inputs, mask, initial, *weights
        )
    )


class CompiledRecurrence(torch.autograd.Function):
    """A recurrent layer as one operation, from `(B, L, I)` to `(B, L, D)` or `(B, 1, D)`, and an LSTM's last cell."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        plan: Plan,
        last_only: bool,
        inputs: torch.Tensor,
        mask: torch.Tensor | None,
        initial: torch.Tensor | None,
        *weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the states and the cell, and remember what leads back."""
        made, block = _run_forward(cell, plan, last_only, inputs, mask, initial, Weights(*weights))
        ctx.cell, ctx.plan, ctx.last_only = cell, plan, last_only
        ctx.set_materialize_grads(False)
        # PyTorch frees the block after the way back, and tells if somebody has changed the states in place
        ctx.save_for_backward(inputs, mask, initial, block, None if last_only else made.states, *weights)
        return made.states, made.cell

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor | None, of_last_cell: torch.Tensor | None) -> Any:
        """Return the gradients of the arguments of `forward`."""
        inputs, mask, initial, block, _, *each_weight = ctx.saved_tensors
        weights, needed = Weights(*each_weight), ctx.needs_input_grad[3:]
        if gradient is None:  # only the cell has one
            gradient = inputs.new_zeros(inputs.shape[0], 1, weights.n_units)
        arguments = inputs, mask, initial, weights, needed, gradient, of_last_cell
        # else second derivatives, such as PyTorch's `hessian`, are silently zero, with `once_differentiable` too
        if torch.is_grad_enabled() or stands_for_several(gradient) or stands_for_several(of_last_cell):
            return None, None, None, *_differentiable_gradients(ctx.cell, ctx.last_only, *arguments)
        return None, None, None, *_run_backward(ctx.cell, ctx.plan, block, *arguments)


def _differentiable_gradients(
    cell: Cell,
    last_only: bool,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    initial: torch.Tensor | None,
    weights: Weights,
    needed: Sequence[bool],
    gradient: torch.Tensor,
    of_last_cell: torch.Tensor | None,
) -> list[torch.Tensor | None]:
    """Return the gradients of the arguments through PyTorch's operations, which have derivatives."""
    with torch.enable_grad():
        made = run_in_steps(cell, inputs, mask, weights, last_only, initial)
        states = made.states[:, -gradient.shape[1] :]
    arguments = zip((inputs, mask, initial, *weights), needed, strict=True)
    differentiated = [argument for argument, is_needed in arguments if is_needed and argument is not None]
    outputs, of_outputs = [states], [gradient]
    if made.cell is not None and of_last_cell is not None:
        outputs, of_outputs = [states, made.cell], [gradient, of_last_cell]
    gradients = iter(torch.autograd.grad(outputs, differentiated, of_outputs, create_graph=torch.is_grad_enabled()))
    return [next(gradients) if is_needed else None for is_needed in needed]


class _Addresses:
    """Gives the addresses of tensors' numbers, and keeps the tensors: who is given addresses must not outlive it."""

    def __init__(self) -> None:
        self._kept: list[torch.Tensor] = []

    def of(self, tensor: torch.Tensor | None) -> int:
        """Return where the numbers of a tensor lie one after another, or 0 if there is none."""
        if tensor is None:
            return 0
        return self._keep(tensor, tensor.is_contiguous()).data_ptr()

    def of_steps(self, tensor: torch.Tensor) -> tuple[int, int, int]:
        """Return where `tensor` `(B, L, ...)` lies, and how many numbers apart its sequences and their steps are."""
        kept = self._keep(tensor, tensor.stride(2) == 1)
        of_sequence, of_step, _ = kept.stride()
        return kept.data_ptr(), of_sequence, of_step

    def _keep(self, tensor: torch.Tensor, is_in_order: bool) -> torch.Tensor:
        if not is_in_order or tensor.is_neg():
            tensor = tensor.detach().resolve_neg().contiguous()
        self._kept.append(tensor)
        return tensor


def _run_forward(
    cell: Cell,
    plan: Plan,
    last_only: bool,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    initial: torch.Tensor | None,
    weights: Weights,
) -> tuple[Recurrence, torch.Tensor]:
    """Return the states, or the last one, with an LSTM's last cell, and the memory of values and states."""
    dtype, n_steps, n_units = inputs.dtype, inputs.shape[1], weights.n_units
    memory = SCRATCH_MEMORY.take(plan.n_bytes)
    block = torch.from_numpy(memory)
    addresses = _Addresses()
    way, strides = _way(addresses, plan, inputs, mask, initial, weights, block)
    loop = _load(cell, dtype).forward
    _run_members(addresses, loop, plan, weights.n_members, _EPSILONS[dtype], (*plan.sizes, 0, *strides, 0, 0), way)
    n_sequences, n_kept, itemsize = inputs.shape[0], plan.n_states_kept, dtype.itemsize
    states = torch.from_numpy(
        np.ndarray(
            (n_sequences, n_kept, n_units),
            _TYPES[dtype],
            memory,
            plan.first_byte_of_states,
            (n_units * itemsize, n_sequences * n_units * itemsize, itemsize),
        )
    )  # -> (B, L, D)
    if last_only:
        last = (n_steps - 1) % n_kept
        states = states[:, last : last + 1].clone()  # -> (B, 1, D)
    last_cell = None
    if cell.n_memories > 1:
        cells = carve(memory, [(cell.n_values, plan.n_values_kept, n_sequences, n_units)], _TYPES[dtype])[0][-1]
        last_cell = torch.from_numpy(cells[(n_steps - 1) % plan.n_values_kept]).clone()  # -> (B, D)
    return Recurrence(states, last_cell), block


def _way(
    addresses: _Addresses,
    plan: Plan,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    initial: torch.Tensor | None,
    weights: Weights,
    block: torch.Tensor,
) -> tuple[tuple[int, ...], list[int]]:
    """Return the addresses of what a layer computes with, as loops take them, and how far apart steps of inputs are."""
    start, *strides = addresses.of_steps(inputs)
    of, first_value = addresses.of, addresses.of(block)
    way = (
        start,
        *map(of, weights),
        of(mask),
        of(initial),
        first_value,
        first_value + plan.first_byte_of_states,
    )
    return way, strides


def _run_backward(
    cell: Cell,
    plan: Plan,
    block: torch.Tensor,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    initial: torch.Tensor | None,
    weights: Weights,
    needed: Sequence[bool],
    gradient: torch.Tensor,
    of_last_cell: torch.Tensor | None,
) -> list[torch.Tensor | None]:
    """Return the gradients of the arguments."""
    n_sequences, n_steps, n_inputs = inputs.shape
    of_inputs = inputs.new_empty(n_steps, n_sequences, n_inputs) if needed[0] else None
    of_initial = initial.new_zeros(initial.shape) if initial is not None and needed[2] else None
    of_weights = [None if weight is None else weight.new_empty(weight.shape) for weight in weights[:4]]
    of_norms = [None if weight is None else weight.new_zeros(weight.shape) for weight in weights[4:]]
    addresses = _Addresses()
    way, strides = _way(addresses, plan, inputs, mask, initial, weights, block)
    start, *strides_of_gradient = addresses.of_steps(gradient)
    back = start, *map(addresses.of, (of_last_cell, of_inputs, of_initial, *of_weights, *of_norms))
    loop, epsilon = _load(cell, inputs.dtype).backward, _EPSILONS[inputs.dtype]
    sizes = *plan.sizes, gradient.shape[1], *strides, *strides_of_gradient
    _run_members(addresses, loop, plan, weights.n_members, epsilon, sizes, way, back)
    if of_inputs is not None:
        of_inputs = of_inputs.transpose(0, 1)
    of_arguments = of_inputs, None, of_initial, *of_weights, *of_norms
    return [of_argument if is_needed else None for of_argument, is_needed in zip(of_arguments, needed, strict=True)]


def _run_members(held: Any, loop: Callable[..., None], plan: Plan, n_members: int, *arguments: Any) -> None:
    """Run a loop for all members, on several threads if they are given; what comes out is the same with any number."""
    n_threads = min(_n_threads.get(), n_members) if plan.n_products >= FEWEST_PRODUCTS_OF_A_THREAD else 1
    if n_threads == 1:
        loop(*arguments, 0, n_members)
        return
    edges = [round(n_members * thread / n_threads) for thread in range(n_threads + 1)]
    own, *others = pairwise(edges)
    work = [_threads(os.getpid(), n_threads - 1).submit(_run_share, held, loop, *arguments, *part) for part in others]
    loop(*arguments, *own)
    for part in work:
        part.result()


def _run_share(held: Any, loop: Callable[..., None], *arguments: Any) -> None:
    """Run a loop, and hold what keeps the memory at its addresses, even if nobody waits for it any more."""
    loop(*arguments)


@contextmanager
def threads_of_members(widths: Sequence[int], n_members: int) -> Iterator[None]:
    """Give PyTorch's threads to the compiled loops, each of which then runs a share of the members.

    PyTorch's own threads wait for work in a busy loop, and so keep a core from others. Where the products are small
    enough for compiled loops, its operations gain nothing by them.

    Parameters
    ----------
    widths
        Width `D + I` of what a step sees, of each layer that is trained.
    n_members
        Number of members.
    """
    n_threads = torch.get_num_threads()
    if min(n_threads, n_members) == 1 or not widths or max(widths) > MOST_WIDTH_OF_ANY:
        yield
        return
    token = _n_threads.set(n_threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        _n_threads.reset(token)


@cache
def _threads(process: int, n_threads: int) -> ThreadPoolExecutor:
    """Return threads of a process, which does not have those of the one that it was forked from."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="seq_plugins-members")


def _load(cell: Cell, dtype: torch.dtype) -> Loops:
    loops = load_loops(cell, dtype)
    if loops is None:
        raise RuntimeError("Expected compiled loops; ask `choose_kernel` first.")
    return loops


_n_threads: ContextVar[int] = ContextVar("n_threads", default=1)

_TYPES: dict[torch.dtype, type[np.floating]] = {torch.float32: np.float32, torch.float64: np.float64}
_EPSILONS = {dtype: numpy_type(EPSILON) for dtype, numpy_type in _TYPES.items()}

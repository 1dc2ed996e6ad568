"""A convolution over words and its largest value for each filter, without the padding and without the convolution.

Global max pooling keeps one window of each document and filter. So a filter's product with a word, at each place of the
kernel, is needed once for each *distinct* word of a batch; the value of a window is the sum of its words' products; and
only the window that was kept has a gradient. The values and gradients are those of ``nn.Conv1d`` followed by ``amax``,
over vectors padded with zeros: where several windows are equally large, the first one takes the whole gradient.

On a CPU the sums and gradients are machine code (:mod:`seq_plugins.text.convolution_loops`); elsewhere, where numba is
missing, and where the environment variable ``SEQ_PLUGINS_CONVOLUTION_KERNEL`` is ``torch``, they are PyTorch's
operations.
"""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from seq_plugins.text.documents import Documents

# N: documents, W: distinct words, D: dimensions of a word, K: kernel size, F: filters, P: positions of a window

logger = logging.getLogger(__name__)

SWITCH = "SEQ_PLUGINS_CONVOLUTION_KERNEL"
"""The environment variable that switches the compiled loops off (``torch``) or leaves the choice free (``auto``)."""

NO_WORD = -1


class Batch(NamedTuple):
    """Documents whose ids are places in a table of their distinct words.

    Parameters
    ----------
    documents
        The documents; an id is a row of the table.
    maxlen
        Number of words that documents are padded to.
    """

    documents: Documents
    maxlen: int


class Loops(NamedTuple):
    """The compiled loops."""

    pool_documents: Any
    add_weight_gradient: Any
    add_word_gradient: Any


def convolve_and_pool(words: torch.Tensor, batch: Batch, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each filter over all windows of each document, `(N, F)`.

    Parameters
    ----------
    words
        Vectors of the distinct words, `(W, D)`.
    batch
        The documents.
    weight
        Kernels of the filters, `(K, F, D)`.
    bias
        Biases of the filters, `(F,)`.
    """
    pooled, _ = convolve_and_find(words, batch, weight)
    return pooled + bias


def convolve_and_find(words: torch.Tensor, batch: Batch, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest value of each filter, without bias, and the word at which that window starts, both `(N, F)`.

    The word is counted from the document's first; it is -1 where there is nothing but padding in the window. Arguments:
    those of :func:`convolve_and_pool`.
    """
    found: tuple[torch.Tensor, torch.Tensor] = PooledConvolution.apply(words, weight, batch)  # type: ignore[no-untyped-call]
    return found


class PooledConvolution(torch.autograd.Function):
    """Convolution and global max pooling as one operation."""

    @staticmethod
    def forward(ctx: Any, words: torch.Tensor, weight: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the largest values and where they are, and remember what leads back."""
        loops = _choose_loops(words, weight)
        if loops is None:
            pooled, places = _pool_with_torch(words, weight, batch)
        else:
            pooled, places = _pool_with_loops(loops, words, weight, batch)
        ctx.save_for_backward(words, weight, places)
        ctx.batch = batch
        ctx.mark_non_differentiable(places)
        return pooled, places

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, _: torch.Tensor) -> Any:
        """Return the gradients of words and weight."""
        words, weight, places = ctx.saved_tensors
        loops = _choose_loops(words, weight)
        if loops is None:
            gradients = _gradients_with_torch(gradient, words, weight, places, ctx.batch, ctx.needs_input_grad)
        else:
            gradients = _gradients_with_loops(loops, gradient, words, weight, places, ctx.batch, ctx.needs_input_grad)
        return *gradients, None


# --- machine code


def _choose_loops(words: torch.Tensor, weight: torch.Tensor) -> Loops | None:
    setting = os.environ.get(SWITCH, "auto")
    if setting not in ("auto", "torch"):
        raise ValueError(f"Expected the environment variable {SWITCH} to be 'auto' or 'torch', got {setting!r}.")
    is_known = words.dtype is weight.dtype and words.dtype in (torch.float32, torch.float64)
    if setting == "torch" or not is_known or not words.is_cpu or not weight.is_cpu:
        return None
    return load_loops(words.dtype)


@cache
def load_loops(dtype: torch.dtype) -> Loops | None:
    """Return the compiled loops; ``None`` where numba is missing or fails.

    The first call in a process compiles them, or takes them from numba's cache on the disk.
    """
    try:
        from seq_plugins.layers.recurrent_loops import listening_to_compilation
        from seq_plugins.text import convolution_loops as module
    except ImportError:
        return None
    loops = Loops(module.pool_documents, module.add_weight_gradient, module.add_word_gradient)
    try:
        with listening_to_compilation(partial(_announce, loops.pool_documents.stats.cache_path)):
            _compile(loops, dtype)
    except Exception as error:
        logger.warning(
            "The text classifier runs on PyTorch's slower operations, since numba failed: %s. Install another numba, "
            "or set %s=torch to keep this quiet.",
            error,
            SWITCH,
        )
        return None
    return loops


@cache  # once in a process
def _announce(folder: str | None) -> None:
    kept = "in every process, since numba finds no folder to keep it in" if folder is None else f"kept in {folder}"
    logger.warning("Compiling the convolution over words for this processor (some seconds, %s).", kept)


def _compile(loops: Loops, dtype: torch.dtype) -> None:
    """Call the loops for the first time, with one word, one filter and one dimension."""
    numbers = np.zeros((1, 1), str(dtype).removeprefix("torch."))
    places, rows, starts = np.zeros((1, 1), np.int32), np.zeros(1, np.int32), np.array([0, 1])
    calls: list[Callable[[], None]] = [
        partial(loops.pool_documents, numbers[None], rows, starts, 1, numbers.copy(), places, 0, 1),
        partial(loops.add_weight_gradient, numbers, places, rows, starts, numbers, numbers[None].copy(), 0, 1),
        partial(loops.add_word_gradient, numbers, places, rows, starts, numbers[None], numbers.copy()),
    ]
    for call in calls:
        try:
            call()
        except OSError:  # it was compiled, but could not be written to a full disk
            call()


def _pool_with_loops(
    loops: Loops, words: torch.Tensor, weight: torch.Tensor, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    kernel_size, n_filters, n_dimensions = weight.shape
    rows, starts = batch.documents
    n_documents = len(starts) - 1
    # -> (W, K, F), each word's product with each place of the kernels
    projected = words.detach() @ weight.detach().reshape(-1, n_dimensions).T
    pooled = projected.new_empty(n_documents, n_filters)
    places = torch.empty(n_documents, n_filters, dtype=torch.int32)
    arrays = projected.view(-1, kernel_size, n_filters).numpy(), rows, starts, batch.maxlen
    _share_out(n_documents, partial(loops.pool_documents, *arrays, pooled.numpy(), places.numpy()))
    return pooled, places


def _gradients_with_loops(
    loops: Loops,
    gradient: torch.Tensor,
    words: torch.Tensor,
    weight: torch.Tensor,
    places: torch.Tensor,
    batch: Batch,
    needed: tuple[bool, ...],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    of_words = torch.zeros_like(words, memory_format=torch.contiguous_format) if needed[0] else None
    of_weight = torch.zeros_like(weight, memory_format=torch.contiguous_format) if needed[1] else None
    arrays = gradient.contiguous().numpy(), places.numpy(), *batch.documents
    if of_weight is not None:
        run = partial(loops.add_weight_gradient, *arrays, words.detach().contiguous().numpy(), of_weight.numpy())
        _share_out(weight.shape[1], run)
    if of_words is not None:
        loops.add_word_gradient(*arrays, weight.detach().contiguous().numpy(), of_words.numpy())
    return of_words, of_weight


def _share_out(number: int, run: Callable[[int, int], None]) -> None:
    """Call `run` for parts of ``range(number)``, in as many threads as PyTorch has."""
    n_threads = min(torch.get_num_threads(), number)
    if n_threads <= 1:
        run(0, number)
        return
    bounds = np.linspace(0, number, n_threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(run, *bounds[part : part + 2]) for part in range(1, n_threads)]
        run(*bounds[:2])
        for other in others:
            other.result()


# --- PyTorch


def _padded_rows(batch: Batch, kernel_size: int, padding: int, device: torch.device) -> torch.Tensor:
    """Return the documents' rows `(N, P + K - 1)`, padded as far as that makes a difference to what is largest."""
    longest = int(batch.documents.lengths.max(initial=0))
    length = min(batch.maxlen, longest + kernel_size)
    rows = np.full((len(batch.documents.starts) - 1, length), padding, np.int64)
    rows[np.arange(length) < batch.documents.lengths[:, None]] = batch.documents.ids
    return torch.from_numpy(rows).to(device)


def _pool_with_torch(words: torch.Tensor, weight: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    kernel_size, n_filters, n_dimensions = weight.shape
    projected = words @ weight.reshape(-1, n_dimensions).T
    projected = torch.cat([projected, projected.new_zeros(1, projected.shape[1])]).view(-1, kernel_size, n_filters)
    rows = _padded_rows(batch, kernel_size, len(words), words.device)
    n_positions = rows.shape[1] - kernel_size + 1
    total = projected[rows[:, :n_positions], 0]  # -> (N, P, F)
    for k in range(1, kernel_size):
        total += projected[rows[:, k : k + n_positions], k]
    pooled, places = total.max(dim=1)
    lengths = torch.from_numpy(batch.documents.lengths).to(words.device)
    return pooled, places.where(places < lengths[:, None], NO_WORD).to(torch.int32)


def _gradients_with_torch(
    gradient: torch.Tensor,
    words: torch.Tensor,
    weight: torch.Tensor,
    places: torch.Tensor,
    batch: Batch,
    needed: tuple[bool, ...],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    kernel_size, n_filters, _ = weight.shape
    rows = _padded_rows(batch, kernel_size, len(words), words.device)
    rows = torch.nn.functional.pad(rows, (0, kernel_size), value=len(words))
    starts = places.long().where(places != NO_WORD, rows.shape[1] - kernel_size)
    filters = torch.arange(n_filters, device=words.device).expand_as(starts)
    of_words = torch.zeros_like(words) if needed[0] else None
    of_weight = torch.zeros_like(weight) if needed[1] else None
    for k in range(kernel_size):
        of_projected = gradient.new_zeros(len(words) + 1, n_filters)
        of_projected.index_put_((rows.gather(1, starts + k), filters), gradient, accumulate=True)
        if of_words is not None:
            of_words += of_projected[:-1] @ weight[k]
        if of_weight is not None:
            of_weight[k] = of_projected[:-1].T @ words
    return of_words, of_weight

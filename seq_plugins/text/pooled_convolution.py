"""A convolution over words and its largest value for each filter, without the padding and without the convolution.

Global max pooling keeps one window of each document and filter. So a filter's product with a word, at each place of the
kernel, is needed once for each *distinct* word of a batch; the value of a window is the sum of its words' products; and
only the window that was kept has a gradient. The values and gradients are those of ``nn.Conv1d`` followed by ``amax``,
over vectors padded with zeros: where several windows are equally large, the first one takes the whole gradient.

On a CPU the sums and gradients are machine code (:mod:`seq_plugins.text.pooled_convolution_loops`); elsewhere, where
numba is missing or finds no folder for its code, and where the environment variable ``SEQ_PLUGINS_CONVOLUTION_KERNEL``
is ``torch``, they are PyTorch's operations.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from seq_plugins._arguments import is_switched_off
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


Rows = Callable[[int, int], torch.Tensor]
"""The vectors of some distinct words."""

LEARNING_BYTES = 3 * 2**20
"""Bytes of a batch's projections at a time, as far as that leaves ``FILTERS_STEP`` filters."""

FROZEN_BYTES = 20 * 2**20
"""The same where nothing is learned: there are more words, which are best gone through a few times only."""

FILTERS_STEP = 16

WORDS_AT_ONCE = 2048

DOCUMENTS_OF_TORCH = 128
"""Documents at a time of PyTorch's operations, which make arrays of all windows."""


class Loops(NamedTuple):
    """The compiled loops."""

    pool_documents: Any
    add_weight_gradient: Any
    add_word_gradient: Any


def convolve_and_pool(words: torch.Tensor, batch: Batch, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest value of each filter over all windows of a document, and where it is, both `(N, F)`.

    The values have no bias yet: it is the same everywhere. The place is the word at which the window starts, counted
    from the document's first; -1 where there is nothing but padding in the window.

    Parameters
    ----------
    words
        Vectors of the distinct words, `(W, D)`.
    batch
        The documents.
    weight
        Kernels of the filters, `(K, F, D)`.
    """
    return PooledConvolution.apply(words, weight, batch)  # type: ignore[no-untyped-call]


def convolve_frozen(rows: Rows, batch: Batch, weight: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each filter, without bias, `(N, F)`, where nothing is learned.

    Every distinct word is projected once, however many documents there are. The words' vectors are asked for part by
    part, so that they need not be in memory together.

    Parameters
    ----------
    rows
        From the first and the one after the last of the distinct words to their vectors, on the CPU.
    batch
        The documents.
    weight
        Kernels of the filters, `(K, F, D)`.
    """
    n_words = int(batch.documents.ids.max(initial=-1)) + 1
    pooled, _ = _project_and_pool(rows, n_words, batch, weight, FROZEN_BYTES)
    return pooled


def _project_and_pool(
    rows: Rows, n_words: int, batch: Batch, weight: torch.Tensor, n_bytes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest sum of each filter and its word, both `(N, F)`, some filters at a time."""
    kernel_size, n_filters, n_dimensions = weight.shape
    n_documents = len(batch.documents.starts) - 1
    loops = _choose_loops(weight)
    pool = _pool_with_torch if loops is None else partial(_pool_with_loops, loops)
    pooled = weight.new_empty(n_documents, n_filters)
    places = torch.empty(n_documents, n_filters, dtype=torch.int32, device=weight.device)
    bytes_of_filter = max(n_words, 1) * kernel_size * weight.element_size()
    n_at_once = max(n_bytes // bytes_of_filter // FILTERS_STEP, 1) * FILTERS_STEP
    buffer = weight.new_empty(n_words * kernel_size * min(n_at_once, n_filters))  # one, since others would pile up
    for first in range(0, n_filters, n_at_once):
        part = slice(first, min(first + n_at_once, n_filters))
        matrix = weight[:, part].reshape(-1, n_dimensions).T
        projected = buffer[: n_words * matrix.shape[1]].view(n_words, matrix.shape[1])
        for word in range(0, n_words, WORDS_AT_ONCE):
            words = rows(word, min(word + WORDS_AT_ONCE, n_words)).to(weight.device, weight.dtype)
            torch.mm(words, matrix, out=projected[word : word + WORDS_AT_ONCE])
        projected = projected.view(n_words, kernel_size, part.stop - first)  # -> (W, K, filters at once)
        pooled[:, part], places[:, part] = pool(projected, batch)
    return pooled, places


class PooledConvolution(torch.autograd.Function):
    """Convolution and global max pooling as one operation."""

    @staticmethod
    def forward(ctx: Any, words: torch.Tensor, weight: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the largest values and where they are, and remember what leads back."""
        pooled, places = _project_and_pool(
            lambda first, last: words[first:last], len(words), batch, weight, LEARNING_BYTES
        )
        ctx.save_for_backward(words, weight, places)
        ctx.batch = batch
        ctx.mark_non_differentiable(places)
        return pooled, places

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, _: torch.Tensor) -> Any:
        """Return the gradients of words and weight."""
        words, weight, places = ctx.saved_tensors
        loops = _choose_loops(weight)
        if loops is None:
            gradients = _gradients_with_torch(gradient, words, weight, places, ctx.batch, ctx.needs_input_grad)
        else:
            gradients = _gradients_with_loops(loops, gradient, words, weight, places, ctx.batch, ctx.needs_input_grad)
        return *gradients, None


# --- machine code


def _choose_loops(weight: torch.Tensor) -> Loops | None:
    if is_switched_off(SWITCH) or weight.dtype not in (torch.float32, torch.float64) or not weight.is_cpu:
        return None
    return load_loops(weight.dtype)


@cache
def load_loops(dtype: torch.dtype) -> Loops | None:
    """Return the compiled loops; ``None`` where numba is missing, fails or keeps no machine code.

    The first call in a process compiles them, or takes them from numba's cache on the disk.
    """
    try:
        from seq_plugins._compilation import compile_all
        from seq_plugins.text import pooled_convolution_loops as module
    except ImportError:
        return None
    type_name = str(dtype).removeprefix("torch.")
    functions = (module.pool_documents, module.add_weight_gradient, module.add_word_gradient)
    loops = Loops(*(function[type_name] for function in functions))
    is_compiled = compile_all(
        loops,
        _first_calls(loops, type_name),
        subject="the convolution over words",
        fallback="The text classifier runs on PyTorch's slower operations",
        switch=SWITCH,
        logger=logger,
    )
    return loops if is_compiled else None


def _first_calls(loops: Loops, type_name: str) -> list[Callable[[], None]]:
    """Return the loops' first calls, with one word, one filter and one dimension."""
    numbers = np.zeros((1, 1), type_name)
    places, rows, starts = np.zeros((1, 1), np.int32), np.zeros(1, np.int32), np.array([0, 1])
    return [
        partial(loops.pool_documents, numbers[None], rows, starts, 1, numbers.copy(), places, 0, 1),
        partial(loops.add_weight_gradient, numbers, places, rows, starts, numbers, numbers[None].copy(), 0, 1),
        partial(loops.add_word_gradient, numbers, places, rows, starts, numbers[None], numbers.copy()),
    ]


def _pool_with_loops(loops: Loops, projected: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    n_documents, n_filters = len(batch.documents.starts) - 1, projected.shape[2]
    pooled = projected.new_empty(n_documents, n_filters)
    places = torch.empty(n_documents, n_filters, dtype=torch.int32)
    arrays = projected.numpy(), *batch.documents, batch.maxlen, pooled.numpy(), places.numpy()
    _share_out(n_documents, partial(loops.pool_documents, *arrays))
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


def _pool_with_torch(projected: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    n_words, kernel_size, n_filters = projected.shape
    rows = _padded_rows(batch, kernel_size, n_words, projected.device)
    projected = torch.cat([projected, projected.new_zeros(1, kernel_size, n_filters)])
    n_positions = rows.shape[1] - kernel_size + 1
    results = []
    for part in rows.split(DOCUMENTS_OF_TORCH):
        total = projected[part[:, :n_positions], 0]  # -> (N, P, F)
        for k in range(1, kernel_size):
            total += projected[part[:, k : k + n_positions], k]
        results.append(total.max(dim=1))
    pooled, places = (torch.cat([result[which] for result in results]) for which in range(2))
    lengths = torch.from_numpy(batch.documents.lengths).to(projected.device)
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

"""Whole batches of windows, gathered by index from values that are kept once.

The values of one kind (targets, past covariates, ...) of all series stand one after another in one tensor. A window is
named by its series and by the time step of the target series at which it starts; nothing is kept for each window.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from darts import TimeSeries
from torch.utils.dlpack import from_dlpack

# B: batch, N: target series, T: time steps of all series of a kind together, C: components, S: static covariates,
# W: time steps of a field, T': places in T steps at which W steps can start

_TENSOR_DTYPES = {np.dtype(dtype) for dtype in (np.float16, np.float32, np.float64)}


class Kind(NamedTuple):
    """Values of one kind, and what of them is in a window.

    Attributes
    ----------
    series
        One series for each target series.
    fields
        Time steps of each field of a batch, counted from the window's start. Several ranges are joined.
    """

    series: Sequence[TimeSeries]
    fields: Mapping[str, Sequence[range]]

    @property
    def steps(self) -> range:
        """All time steps from the first to the last that a window needs."""
        parts = [part for field in self.fields.values() for part in field]
        return range(min(part.start for part in parts), max(part.stop for part in parts))


class Starts(NamedTuple):
    """Time steps of each target series at which its oldest and its newest window start, `(N,)` both."""

    oldest: np.ndarray
    newest: np.ndarray


class Alignment(NamedTuple):
    """How the series of a kind lie beside their target series.

    Attributes
    ----------
    offsets
        Position in each series of its target's first time step, `(N,)`; negative if the series starts later.
    reaches
        Whether each series has values for all windows of its target, `(N,)`.
    """

    offsets: np.ndarray
    reaches: np.ndarray


class Gatherer:
    """Gathers the fields of a batch of windows.

    Parameters
    ----------
    kinds
        The kinds of values, joined.
    static_covariates
        Static covariates of all series, `(N, C or 1, S)`, if there are any.
    """

    def __init__(self, kinds: Sequence["JoinedKind"], static_covariates: torch.Tensor | None) -> None:
        self._kinds = kinds
        self._static_covariates = static_covariates

    @property
    def n_bytes(self) -> int:
        """Memory that the values take."""
        tensors = [kind.values for kind in self._kinds]
        if self._static_covariates is not None:
            tensors.append(self._static_covariates)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def to(self, device: torch.device) -> "Gatherer":
        """Return what gathers the same on another device."""
        static_covariates = self._static_covariates
        return Gatherer(
            [JoinedKind(kind.values.to(device), kind.first_rows, kind.kind) for kind in self._kinds],
            None if static_covariates is None else static_covariates.to(device),
        )

    def gather(self, series: np.ndarray, starts: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the fields of the windows that start at `starts` of the target series `series`, `(B,)` both."""
        fields: dict[str, torch.Tensor] = {}
        for kind in self._kinds:
            kind.gather_into(fields, series, starts)
        if self._static_covariates is not None:
            rows = torch.from_numpy(series).to(self._static_covariates.device)
            fields["static_covariates"] = self._static_covariates.index_select(0, rows)
        return fields


class JoinedKind:
    """The values of one kind in one tensor, with a view of it for each field of a batch.

    Parameters
    ----------
    values
        Values of the distinct series, one after another, `(T, C)`.
    first_rows
        Row of `values` that belongs to the first step of each target series, `(N,)`; it need not be one of its own.
    kind
        The fields; all of their windows must lie in their series.
    """

    def __init__(self, values: torch.Tensor, first_rows: np.ndarray, kind: Kind) -> None:
        self.values, self.first_rows, self.kind = values, first_rows, kind
        first_step = kind.steps.start
        self._rows_of_first_steps = first_rows + first_step
        self._views = {
            name: [_windows(values[part.start - first_step :], len(part)) for part in parts]
            for name, parts in kind.fields.items()
        }

    def gather_into(self, fields: dict[str, torch.Tensor], series: np.ndarray, starts: np.ndarray) -> None:
        """Add the fields of this kind, each `(B, W, C)`."""
        rows = torch.from_numpy(self._rows_of_first_steps[series] + starts).to(self.values.device)
        for name, views in self._views.items():
            parts = [view.index_select(0, rows) for view in views]
            fields[name] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class BatchedWindows(ABC):
    """Mixin, to stand before a data set of Darts: whole batches in place of lists of samples.

    Samples are still taken one by one, and from Darts' data set, where the values of the series don't fit into one
    tensor, where they are drawn anew for each sample (stochastic series), and where Darts would refuse a window.
    """

    hand_over_batches: bool = False
    """Whether a data loader is given whole batches. To be set only together with a collate function that takes them."""

    series: Sequence[TimeSeries]
    uses_static_covariates_covariates: bool
    _index_memory: dict[int, Any]
    _gatherer: Gatherer | None

    def __getitem__(self, index: int) -> Any:
        if not self._all_reach:  # Darts checks only the first window of a series that it is asked for
            self._index_memory.clear()
        return super().__getitem__(index)  # type: ignore[misc]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return the samples of these indices: one batch if :attr:`hand_over_batches` is set, a list if not."""
        if self.hand_over_batches and self._gatherer is not None:
            positions = np.asarray(indices, dtype=np.int64)
            if positions.min() >= 0:
                return self._gather_batch(self._gatherer, positions)
        return [self[index] for index in indices]

    def gather_on(self, device: torch.device, most_bytes: float = float("inf")) -> bool:
        """Keep the values on a device, and gather batches there, if they take at most `most_bytes`.

        Returns
        -------
        bool
            Whether batches are gathered on the device.
        """
        if self._gatherer is None or self._gatherer.n_bytes > most_bytes:
            return False
        self._gatherer = self._gatherer.to(device)
        return True

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_gatherer": None}  # its values are those of the series, which go along anyway

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._gatherer = self._make_gatherer()

    @abstractmethod
    def _kinds(self) -> dict[str, Kind]:
        """Return the kinds of values, by name; the targets are one."""

    @abstractmethod
    def _starts(self) -> Starts:
        """Return where windows start; before its first step if a series is too short for one."""

    @abstractmethod
    def _gather_batch(self, gatherer: Gatherer, indices: np.ndarray) -> Any:
        """Return the batch of the samples with these indices, `(B,)`."""

    def _prepare(self) -> None:
        """Find the values of all windows. To be called at the end of the constructor."""
        starts = self._starts()
        self._alignments = {name: _align(kind, self.series, starts) for name, kind in self._kinds().items()}
        self._all_reach = all(alignment.reaches.all() for alignment in self._alignments.values())
        self._gatherer = self._make_gatherer()

    def _make_gatherer(self) -> Gatherer | None:
        """Return what gathers batches, or ``None`` where samples have to be taken one by one."""
        if not self._all_reach:
            return None
        joined = []
        for name, kind in self._kinds().items():
            values = _join(kind, self._alignments[name].offsets)
            if values is None:
                return None
            joined.append(values)
        static_covariates = None
        if self.uses_static_covariates_covariates:
            static_covariates = _stack_static_covariates(self.series)
            if static_covariates is None:
                return None
        return Gatherer(joined, static_covariates)


def _align(kind: Kind, targets: Sequence[TimeSeries], starts: Starts) -> Alignment:
    offsets = [_offset(target, series) for target, series in zip(targets, kind.series, strict=True)]
    matches = np.array([offset is not None for offset in offsets])
    positions = np.array([offset or 0 for offset in offsets], dtype=np.int64)
    lengths = np.array([len(series) for series in kind.series])
    steps = kind.steps
    return Alignment(
        positions,
        matches & (positions + starts.oldest + steps.start >= 0) & (positions + starts.newest + steps.stop <= lengths),
    )


def _offset(target: TimeSeries, series: TimeSeries) -> int | None:
    """Return the position in `series` of the target's first time; ``None`` if their time axes don't meet."""
    if series is target:
        return 0
    if series.freq != target.freq:
        return None
    start, other_start = target.start_time(), series.start_time()
    if start == other_start:
        return 0
    if start > other_start:
        return _position(series, start)
    position = _position(target, other_start)
    return None if position is None else -position


def _position(series: TimeSeries, time: Any) -> int | None:
    times = series.time_index
    position = int(times.searchsorted(time))
    return position if position < len(times) and times[position] == time else None


def _join(kind: Kind, offsets: np.ndarray) -> JoinedKind | None:
    """Put the values of all series into one tensor, with no copy of a single one; ``None`` if they don't fit."""
    arrays = [series.all_values(copy=False) for series in kind.series]  # each (T, C, samples)
    dtype, n_components = arrays[0].dtype, arrays[0].shape[1]
    if (
        dtype not in _TENSOR_DTYPES
        or any(array.dtype != dtype or array.shape[1:] != (n_components, 1) for array in arrays)
        or not all(part for parts in kind.fields.values() for part in parts)
    ):
        return None
    # covariates are often the same for all series: values that lie at the same place are taken once
    row_of: dict[Any, int] = {}
    first_rows, distinct, n_rows = np.empty(len(arrays), dtype=np.int64), [], 0
    for index, array in enumerate(arrays):
        memory = (array.__array_interface__["data"][0], array.shape, array.strides)
        if memory not in row_of:
            row_of[memory] = n_rows
            n_rows += len(array)
            distinct.append(array[:, :, 0])
        first_rows[index] = row_of[memory]
    if len(distinct) == 1:
        (values,) = distinct
    else:  # one row after another, however the series' own values lie
        values = np.concatenate(distinct, out=np.empty((n_rows, n_components), dtype))
    return JoinedKind(_as_tensor(values), first_rows + offsets, kind)


def _as_tensor(values: np.ndarray) -> torch.Tensor:
    """Return a tensor that shares the memory of `values` where PyTorch can."""
    if any(stride < 0 or stride % values.itemsize for stride in values.strides):
        values = values.copy()
    if not values.flags.writeable:  # PyTorch warns of such arrays; nothing here writes to them
        try:
            tensor: torch.Tensor = from_dlpack(values)
        except BufferError:  # NumPy before 2.1
            values = values.copy()
        else:
            return tensor
    return torch.from_numpy(values)


def _windows(values: torch.Tensor, length: int) -> torch.Tensor:
    """Return a view `(T', W, C)` of the windows of `length` steps that start at each row of `values`, `(T, C)`."""
    return values.unfold(0, length, 1).transpose(1, 2)


def _stack_static_covariates(targets: Sequence[TimeSeries]) -> torch.Tensor | None:
    """Return the static covariates of all series, `(N, C or 1, S)`; ``None`` if they differ in shape or type."""
    arrays = [target.static_covariates_values(copy=False) for target in targets]
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if dtype not in _TENSOR_DTYPES or any(
        array is None or array.shape != shape or array.dtype != dtype for array in arrays
    ):
        return None
    return torch.from_numpy(np.stack(arrays))

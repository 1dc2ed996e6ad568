"""Whole batches of windows, gathered by index from values that are kept once.

A data set reads each of its series once. Of the values of one kind (targets, past covariates, ...), those that windows
need stand one after another in one tensor, or stay where they are if they are too many. A window is named by its series
and by the time step of the target series at which it starts; nothing is kept for each window.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from darts import TimeSeries
from torch.utils.dlpack import from_dlpack

from seq_plugins.windows.alignment import AlignedSeries, Span, find_offset
from seq_plugins.windows.checks import SeriesChecks
from seq_plugins.windows.sequences import is_held, name_of, read_series

# B: batch, N: target series, T: time steps of all series of a kind together, C: components, S: static covariates,
# W: time steps of a field, T': places in T steps at which W steps can start

MOST_BYTES_TO_COPY = 2**28
"""Most bytes of one kind of values that are copied into one tensor.

Batches are gathered from it several times as fast as from single series, and 256 MiB are there on any machine that
trains. More may not fit beside the series themselves.
"""

_KINDS_OF_ONE_TYPE = ("series", "past_covariates", "future_covariates")

_TENSOR_DTYPES = {np.dtype(dtype) for dtype in (np.float16, np.float32, np.float64)}

Fields = Mapping[str, Sequence[range]]
"""Time steps of each field of a batch, counted from the window's start; several ranges are joined."""


class FieldSpec(NamedTuple):
    """Values of one kind, one series for each target series, and the fields that come from them."""

    series: Sequence[TimeSeries]
    fields: Fields


class Starts(NamedTuple):
    """Time steps of a target series at which its oldest and its newest window start."""

    oldest: int
    newest: int


class Gatherer:
    """Gathers the fields of a batch of windows.

    Parameters
    ----------
    kinds
        The kinds of values.
    static_covariates
        Static covariates of all series, `(N, C or 1, S)`, if there are any.
    """

    def __init__(
        self, kinds: Sequence["StackedSeries | SeparateSeries"], static_covariates: torch.Tensor | None
    ) -> None:
        self._kinds = kinds
        self._static_covariates = static_covariates

    @property
    def n_bytes(self) -> float:
        """Memory that the tensors take; infinity if some of the values are in none."""
        tensors = [] if self._static_covariates is None else [self._static_covariates]
        for kind in self._kinds:
            if isinstance(kind, SeparateSeries):
                return float("inf")
            tensors.append(kind.values)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def to(self, device: torch.device) -> "Gatherer":
        """Return what gathers the same on another device."""
        static_covariates = self._static_covariates
        return Gatherer(
            [kind.to(device) for kind in self._kinds],
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
        for kind in self._kinds:
            n_hidden = kind.first_steps[series] - starts
            if n_hidden.max(initial=0) > 0:
                for name, (part, *_) in kind.fields.items():
                    if part.start == 0:
                        _hide_first_steps(fields[name], n_hidden, 0.0 if name == "sample_weight" else torch.nan)
        return fields


class StackedSeries:
    """The values of one kind in one tensor, with a view of it for each field of a batch.

    Parameters
    ----------
    values
        Values of the distinct series, one after another, `(T, C)`.
    first_rows
        Row of `values` that belongs to the first step of each target series, `(N,)`; it need not be one of its own.
    fields
        The fields. Their windows must lie in their series, but for input steps before `first_steps`: in their places
        anything may be gathered.
    first_steps
        First step of each target series whose inputs are there, `(N,)`.
    """

    def __init__(self, values: torch.Tensor, first_rows: np.ndarray, fields: Fields, first_steps: np.ndarray) -> None:
        self.values, self._first_rows, self.fields, self.first_steps = values, first_rows, fields, first_steps
        first_part = min(part.start for parts in fields.values() for part in parts)
        self._rows_of_first_parts = first_rows + first_part
        self._views = {
            name: [_windows(values[part.start - first_part :], len(part)) for part in parts]
            for name, parts in fields.items()
        }

    def to(self, device: torch.device) -> "StackedSeries":
        """Return the same on another device."""
        return StackedSeries(self.values.to(device), self._first_rows, self.fields, self.first_steps)

    def gather_into(self, fields: dict[str, torch.Tensor], series: np.ndarray, starts: np.ndarray) -> None:
        """Add the fields of this kind, each `(B, W, C)`."""
        rows = torch.from_numpy(self._rows_of_first_parts[series] + starts).to(self.values.device)
        for name, views in self._views.items():
            fields[name] = _concatenate([view.index_select(0, rows) for view in views])


class SeparateSeries:
    """The values of one kind where the series have them.

    Parameters
    ----------
    arrays
        Values of each series, `(time, C, 1)`.
    offsets
        Position in each of its target's first time step, `(N,)`.
    fields
        The fields. Their windows must lie in their series, but for input steps before `first_steps`: in their places
        anything may be gathered.
    first_steps
        First step of each target series whose inputs are there, `(N,)`.
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], offsets: np.ndarray, fields: Fields, first_steps: np.ndarray
    ) -> None:
        self._arrays, self._offsets, self.fields, self.first_steps = arrays, offsets, fields, first_steps

    def to(self, device: torch.device) -> "SeparateSeries":
        """Return the same: the values stay."""
        return self

    def gather_into(self, fields: dict[str, torch.Tensor], series: np.ndarray, starts: np.ndarray) -> None:
        """Add the fields of this kind, each `(B, W, C)`."""
        windows = list(zip(series.tolist(), (self._offsets[series] + starts).tolist(), strict=True))
        for name, parts in self.fields.items():
            fields[name] = _concatenate(
                [
                    torch.from_numpy(
                        np.stack(
                            [
                                cut_values(self._arrays[index], row + part.start, row + part.stop)
                                for index, row in windows
                            ]
                        )
                    )
                    for part in parts
                ]
            )


class BatchedWindows(ABC):
    """Mixin, to stand before a data set of Darts: whole batches in place of lists of samples.

    Samples are still taken one by one, and from Darts' data set, where the values of the series don't fit into one
    tensor, where they are drawn anew for each sample (stochastic series), where Darts would refuse a window, and where
    series are read anew at each access and their windows need more than :data:`MOST_BYTES_TO_COPY`.
    """

    returns_batches: bool = False
    """Whether a data loader is given whole batches. To be set only together with a collate function that takes them."""

    value_types: dict[np.dtype[Any], str]
    """Types of the values of targets and covariates, each with the name of the first series of it."""

    is_stochastic: bool
    """Whether values of a series are drawn anew for each sample."""

    takes_late_covariates: bool = False
    """Whether covariates that start later than their target are missing before, where inputs may be missing."""

    series: Sequence[TimeSeries]
    uses_static_covariates_covariates: bool
    input_chunk_length: int
    min_input_chunk_length: int
    _index_memory: dict[int, Any]
    _gatherer: Gatherer | None

    def __getitem__(self, index: int) -> Any:
        if not self._all_reach:  # Darts checks only the first window of a series that it is asked for
            self._index_memory.clear()
        return super().__getitem__(index)  # type: ignore[misc]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return the samples of these indices: one batch if :attr:`returns_batches` is set, a list if not."""
        if self.returns_batches and self._gatherer is not None:
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
        if self._gatherer is None or self._gatherer.n_bytes == float("inf") or self._gatherer.n_bytes > most_bytes:
            return False
        self._gatherer = self._gatherer.to(device)
        return True

    def __getstate__(self) -> dict[str, Any]:
        # its values are those of the series, which go along anyway
        return self.__dict__ | {"_gatherer": None, "_gathers": self._gatherer is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        gathers = state.pop("_gathers")
        self.__dict__.update(state)
        if gathers:
            self._read()

    @abstractmethod
    def _field_specs(self) -> dict[str, FieldSpec]:
        """Return the kinds of values by the name of their argument; the targets are the first."""

    @abstractmethod
    def _starts(self, index: int, length: int) -> Starts:
        """Return where windows of a series of that length start; before its first step if it is too short for one."""

    @abstractmethod
    def _gather_batch(self, gatherer: Gatherer, indices: np.ndarray) -> Any:
        """Return the batch of the samples with these indices, `(B,)`."""

    def _read(self, checks: SeriesChecks | None = None) -> None:
        """Read every series once, and keep what batches are gathered from; to be called by the constructor."""
        specs, prefix, n_series = self._field_specs(), "" if checks is None else checks.prefix, len(self.series)
        parts = {name: [part for field in spec.fields.values() for part in field] for name, spec in specs.items()}
        kept = {name: _KeptValues(spec) for name, spec in specs.items()}
        static_covariates: list[np.ndarray | None] = []
        self._lengths = np.zeros(n_series, dtype=np.int64)
        self._offsets = {name: np.zeros(n_series, dtype=np.int64) for name in specs}
        self._reaches = {name: np.ones(n_series, dtype=bool) for name in specs}
        self._widths: dict[str, int] = {}
        self.value_types, self.is_stochastic, self._has_late_covariates = {}, False, False
        for index in range(n_series):
            target = read_series(f"{prefix}series", self.series, index)
            self._lengths[index] = len(target)
            starts = self._starts(index, len(target))
            for name, spec in specs.items():
                series = target if name == "series" else read_series(prefix + name, spec.series, index)
                offset = find_offset(series, target)
                first = self._first_step(starts, parts[name], offset)
                self._has_late_covariates |= first > max(starts.oldest, 0)
                aligned = AlignedSeries(
                    prefix,
                    name,
                    index if n_series > 1 else None,
                    series,
                    target,
                    offset,
                    [Span(max(starts.oldest + part.start, first), starts.newest + part.stop) for part in parts[name]],
                    first,
                    max(first - starts.oldest, 0),
                )
                if checks is not None:
                    checks.check(aligned)
                if name in _KINDS_OF_ONE_TYPE and series.dtype not in self.value_types:
                    self.value_types[series.dtype] = aligned.name
                self.is_stochastic = self.is_stochastic or not series.is_deterministic
                self._widths.setdefault(name, series.n_components)
                self._offsets[name][index] = aligned.offset or 0
                self._reaches[name][index] = aligned.reaches
                kept[name].add(aligned)
            if self.uses_static_covariates_covariates:
                static_covariates.append(target.static_covariates_values(copy=False))
        self._all_reach = all(reaches.all() for reaches in self._reaches.values())
        self._gatherer = self._make_gatherer(list(kept.values()), static_covariates)

    def _first_step(self, starts: Starts, parts: Sequence[range], offset: int | None) -> int:
        """Return the first step of the target at which windows need a series; inputs before it are missing.

        In prediction, covariates may start later than their target, as long as the oldest window has one step of them.
        """
        if self.min_input_chunk_length == self.input_chunk_length:
            return starts.oldest
        late = 0 if offset is None else max(-offset, 0)
        soonest = min((part.start for part in parts if part.start > 0), default=self.input_chunk_length - 1)
        return late if self.takes_late_covariates and late <= starts.oldest + soonest else 0

    def _make_gatherer(
        self, kept: Sequence["_KeptValues"], static_covariates: Sequence[np.ndarray | None]
    ) -> Gatherer | None:
        """Return what gathers batches, or ``None`` where samples have to be taken one by one."""
        kinds = []
        for values in kept:
            kind = values.put_together()
            if kind is None:
                return None
            kinds.append(kind)
        if not static_covariates:
            return Gatherer(kinds, None)
        stacked = _stack(static_covariates)
        return None if stacked is None else Gatherer(kinds, stacked)


def value_types_of(data_set: Any) -> dict[np.dtype[Any], str]:
    """Return the types of a data set's targets and covariates, each with the name of the first series of it."""
    if isinstance(data_set, BatchedWindows):
        return data_set.value_types
    types: dict[np.dtype[Any], str] = {}
    for name, series in _series_of(data_set, _KINDS_OF_ONE_TYPE):
        types.setdefault(series.dtype, name)
    return types


def is_stochastic(data_set: Any) -> bool:
    """Return whether values of a series are drawn anew for each sample of a data set."""
    if isinstance(data_set, BatchedWindows):
        return data_set.is_stochastic
    names = (*_KINDS_OF_ONE_TYPE, "sample_weight")
    return any(not series.is_deterministic for _, series in _series_of(data_set, names))


def _series_of(data_set: Any, arguments: Sequence[str]) -> Iterator[tuple[str, TimeSeries]]:
    for argument in arguments:
        given: Any = getattr(data_set, argument, None)
        if isinstance(given, TimeSeries):  # in a data set of the user's own
            given = [given]
        n_series = 0 if given is None else len(given)
        for index in range(n_series):
            yield name_of(argument, index if n_series > 1 else None), given[index]


class _KeptValues:
    """What windows need of the values of one kind, kept series by series.

    A series that is held in a list keeps its array alive; of others, the needed part is copied.
    """

    def __init__(self, spec: FieldSpec) -> None:
        self._fields = spec.fields
        self._copies = not is_held(spec.series)
        self._n_bytes_of_copies = 0
        self._arrays: list[np.ndarray] = []
        self._spans: list[Span] = []  # which part of each is needed
        self._offsets: list[int] = []
        self._first_steps: list[int] = []
        self._fits = all(part for parts in spec.fields.values() for part in parts)
        self._n_rows_before = 0

    def add(self, aligned: AlignedSeries) -> None:
        """Take the values of the next series."""
        if not self._fits:
            return
        array = aligned.series.all_values(copy=False)
        first = self._arrays[0] if self._arrays else array
        self._fits = (
            aligned.reaches
            and array.dtype in _TENSOR_DTYPES
            and array.dtype == first.dtype
            and array.shape[1:] == (first.shape[1], 1)
        )
        if self._fits:
            offset = aligned.offset or 0
            span = aligned.whole_span.shifted(offset)
            if self._copies:
                array = array[span.start : span.stop].copy()
                offset, span = offset - span.start, Span(0, len(array))
                self._n_bytes_of_copies += array.nbytes
                self._fits = self._n_bytes_of_copies <= MOST_BYTES_TO_COPY
            self._arrays.append(array)
            self._spans.append(span)
            self._first_steps.append(aligned.first_step)
            self._n_rows_before = max(self._n_rows_before, aligned.n_steps_before)
            self._offsets.append(offset)
        if not self._fits:
            self._arrays.clear()

    def put_together(self) -> StackedSeries | SeparateSeries | None:
        """Return the values, in one tensor if they are few enough, or ``None`` if they don't fit into any."""
        if not self._fits:
            return None
        # covariates are often the same for all series: values that lie at the same place are taken once. All arrays are
        # alive, so none can have taken another's place
        keys = [(array.__array_interface__["data"][0], array.shape, array.strides) for array in self._arrays]
        arrays = dict(zip(keys, self._arrays, strict=True))
        spans: dict[Any, Span] = {}
        for key, span in zip(keys, self._spans, strict=True):
            spans[key] = span.joined(spans.get(key, span))
        # a window of the first series may begin before it, and then needs rows to begin at
        n_rows, first_rows = self._n_rows_before, {}
        for key, (start, stop) in spans.items():
            first_rows[key] = n_rows - start
            n_rows += stop - start
        offsets, first_steps = (np.array(each, dtype=np.int64) for each in (self._offsets, self._first_steps))
        n_components, dtype = self._arrays[0].shape[1], self._arrays[0].dtype
        is_copied = len(arrays) > 1 or self._n_rows_before > 0
        if is_copied and n_rows * n_components * dtype.itemsize > MOST_BYTES_TO_COPY:
            return SeparateSeries(self._arrays, offsets, self._fields, first_steps)
        self._arrays.clear()
        if not is_copied:
            ((start, stop),) = spans.values()
            values = arrays[keys[0]][start:stop, :, 0]
        else:  # one row after another, however the series' own values lie
            values = np.empty((n_rows, n_components), dtype)
            values[: self._n_rows_before] = np.nan
            for key, (start, stop) in spans.items():
                row = first_rows[key]
                values[row + start : row + stop] = arrays.pop(key)[start:stop, :, 0]
        return StackedSeries(
            _as_tensor(values),
            offsets + np.array([first_rows[key] for key in keys], dtype=np.int64),
            self._fields,
            first_steps,
        )


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


def cut_values(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return the steps of an array, `(W, C)`, with NaN for those before its first one."""
    values: np.ndarray = array[max(start, 0) : stop, :, 0]
    if start >= 0:
        return values
    return np.concatenate([np.full((-start, values.shape[1]), np.nan, values.dtype), values])


def _hide_first_steps(values: torch.Tensor, n_hidden: np.ndarray, value: float) -> None:
    """Put `value` in place of the first steps of inputs `(B, W, C)`, in place.

    As in Darts, covariates are missing before their target starts, even if they are known.

    Parameters
    ----------
    values
        Inputs of a batch.
    n_hidden
        Number of steps to hide of each sample, none if negative, `(B,)`.
    value
        What stands for a step that is not there.
    """
    n_first = torch.from_numpy(n_hidden).to(values.device)
    hidden = torch.arange(values.shape[1], device=values.device) < n_first[:, None]  # -> (B, W)
    values.masked_fill_(hidden[:, :, None], value)


def _windows(values: torch.Tensor, length: int) -> torch.Tensor:
    """Return a view `(T', W, C)` of the windows of `length` steps that start at each row of `values`, `(T, C)`."""
    return values.unfold(0, length, 1).transpose(1, 2)


def _concatenate(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _stack(static_covariates: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Return the static covariates of all series, `(N, C or 1, S)`; ``None`` if they differ in shape or type."""
    first = static_covariates[0]
    if (
        first is None
        or first.dtype not in _TENSOR_DTYPES
        or any(array is None or array.shape != first.shape or array.dtype != first.dtype for array in static_covariates)
    ):
        return None
    return torch.from_numpy(np.stack(static_covariates))  # type: ignore[arg-type]

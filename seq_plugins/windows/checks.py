"""Checks of series before windows are cut from them, so that bad input fails at the door and not in mid-training."""

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.utils import n_steps_between

SeriesInput: TypeAlias = TimeSeries | Sequence[TimeSeries]


class ChunkLengths(NamedTuple):
    """Lengths of a window's parts, in time steps."""

    input: int
    shift: int
    output: int

    @property
    def total(self) -> int:
        """Length of a whole window."""
        return sum(self)


class Span(NamedTuple):
    """Part of a target series, in positions; `stop` is exclusive and may lie behind the series' end."""

    start: int
    stop: int


def check_training_series(
    series: SeriesInput,
    past_covariates: SeriesInput | None,
    future_covariates: SeriesInput | None,
    sample_weight: SeriesInput | str | None,
    chunk_lengths: ChunkLengths,
    max_samples_per_ts: int | None = None,
    stride: int = 1,
    prefix: str = "",
) -> None:
    """Check that every window of every series can be cut, and that only finite values are in them.

    Parameters
    ----------
    series
        Target series, one or several.
    past_covariates
        Past covariates, one for each target series.
    future_covariates
        Future covariates, one for each target series.
    sample_weight
        Weights, one for each target series; names of built-in weights are accepted unseen.
    chunk_lengths
        Lengths of a window's parts.
    max_samples_per_ts
        Largest number of windows of a series, the newest ones; all if ``None``.
    stride
        Number of time steps from one window to the next.
    prefix
        What stands before the arguments' names in errors, such as ``"val_"``.

    Raises
    ------
    ValueError
        If a series is too short, covariates do not reach far enough, or values are NaN or infinite.
    """
    targets = _as_list(f"{prefix}series", series)
    covariates = {
        f"{prefix}past_covariates": past_covariates,
        f"{prefix}future_covariates": future_covariates,
        f"{prefix}sample_weight": None if isinstance(sample_weight, str) else sample_weight,
    }
    lists = {name: _as_list(name, value) for name, value in covariates.items() if value is not None}
    for index, target in enumerate(targets):
        name = f"{prefix}series" + _position(index, targets)
        if len(target) < chunk_lengths.total:
            raise ValueError(
                f"`{name}` has {len(target)} time steps, expected at least {chunk_lengths.total}: "
                f"input_chunk_length={chunk_lengths.input} + output_chunk_shift={chunk_lengths.shift} + "
                f"output_chunk_length={chunk_lengths.output}. Give a longer series or make the chunks shorter."
            )
        used = _training_span(len(target), chunk_lengths, max_samples_per_ts, stride)
        check_finite(name, target, used)
        _check_static_covariates(name, target)
        needs = (
            Span(used.start, used.stop - chunk_lengths.shift - chunk_lengths.output),
            used,
            Span(used.start + chunk_lengths.input + chunk_lengths.shift, used.stop),
        )
        for other_name, needed in zip(covariates, needs, strict=True):
            others = lists.get(other_name)
            if others is None or len(others) != len(targets):  # another number of series is Darts' to refuse
                continue
            other_name += _position(index, targets)
            _check_reach(other_name, others[index], name, target, needed)
            check_finite(other_name, others[index], _shifted(needed, others[index], target))


def check_inference_values(dataset: SequentialTorchInferenceDataset, chunk_lengths: ChunkLengths) -> None:
    """Check that the values from which forecasts are made are finite.

    Parameters
    ----------
    dataset
        Darts' data set for the forecasts.
    chunk_lengths
        Lengths of a window's parts.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    beyond = max(dataset.n - chunk_lengths.output, 0)
    for index, target in enumerate(dataset.series):
        first_end, last_end = (len(target), len(target)) if dataset.bounds is None else dataset.bounds[index]
        used = Span(first_end - chunk_lengths.input, last_end)
        check_finite("series" + _position(index, dataset.series), target, used)
        for name, others, behind in (
            ("past_covariates", dataset.past_covariates, beyond),
            ("future_covariates", dataset.future_covariates, beyond + chunk_lengths.shift + chunk_lengths.output),
        ):
            if others is not None and _same_axis(others[index], target):
                span = _shifted(Span(used.start, used.stop + behind), others[index], target)
                check_finite(name + _position(index, dataset.series), others[index], span)


def check_finite(name: str, series: TimeSeries, span: Span | None = None) -> None:
    """Check that no value of `series` is NaN or infinite.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    series
        Series to look at.
    span
        Part of the series to look at; all of it if ``None``. What lies outside the series is passed over.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    start, stop = (0, len(series)) if span is None else (max(span.start, 0), max(span.stop, 0))
    bad = ~np.isfinite(series.all_values(copy=False)[start:stop])
    if not bad.any():
        return
    step, component, sample = np.argwhere(bad)[0]
    value = series.all_values(copy=False)[start + step, component, sample]
    raise ValueError(
        f"`{name}` holds {'NaN' if np.isnan(value) else 'an infinite value'} at {_time(series, start + step)} in "
        f"component '{series.components[component]}' ({int(bad.sum())} such values in all). Fill the gaps first, for "
        "example with `darts.utils.missing_values.fill_missing_values`."
    )


def _training_span(length: int, chunk_lengths: ChunkLengths, max_samples: int | None, stride: int) -> Span:
    """Return the part of a target series of `length` steps from which windows are cut; they count from its end."""
    n_windows = ceil((length - chunk_lengths.total + 1) / stride)
    if max_samples is not None:
        n_windows = min(n_windows, max(max_samples, 1))
    return Span(length - chunk_lengths.total - (n_windows - 1) * stride, length)


def _check_reach(name: str, covariates: TimeSeries, target_name: str, target: TimeSeries, needed: Span) -> None:
    if not _same_axis(covariates, target):
        raise ValueError(
            f"`{name}` has a time axis of frequency {covariates.freq!r}, expected {target.freq!r} as in "
            f"`{target_name}`. Resample one of them."
        )
    reached = _shifted(needed, covariates, target)
    if reached.start >= 0 and reached.stop <= len(covariates):
        return
    first, last = (target.start_time() + position * target.freq for position in (needed.start, needed.stop - 1))
    raise ValueError(
        f"`{name}` reaches from {covariates.start_time()} to {covariates.end_time()}, expected at least from {first} "
        f"to {last}, so that every window of `{target_name}` has its values. Give longer covariates or a shorter "
        "target."
    )


def _check_static_covariates(name: str, target: TimeSeries) -> None:
    frame = target.static_covariates
    if frame is not None and frame.isna().to_numpy().any():
        column = frame.columns[frame.isna().any()][0]
        raise ValueError(f"The static covariates of `{name}` hold NaN in column '{column}'. Fill it first.")


def _same_axis(series: TimeSeries, other: TimeSeries) -> bool:
    return bool(series.freq == other.freq) and series.has_datetime_index == other.has_datetime_index


def _shifted(span: Span, series: TimeSeries, target: TimeSeries) -> Span:
    """Translate positions in `target` into positions in `series`."""
    offset = n_steps_between(end=target.start_time(), start=series.start_time(), freq=target.freq)
    return Span(span.start + offset, span.stop + offset)


def _time(series: TimeSeries, step: int) -> pd.Timestamp | int:
    time: pd.Timestamp | int = series.time_index[step]
    return time


def _position(index: int, series: Sequence[TimeSeries]) -> str:
    return f"[{index}]" if len(series) > 1 else ""


def _as_list(name: str, series: Any) -> Sequence[TimeSeries]:
    listed = [series] if isinstance(series, TimeSeries) else series
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(item, TimeSeries) for item in listed):
        kinds = {type(item).__name__ for item in listed} if isinstance(listed, list | tuple) else type(series).__name__
        raise ValueError(
            f"Expected `{name}` to be a Darts TimeSeries or a list of them, got {kinds or 'an empty list'}. Tables "
            "become series with `TimeSeries.from_dataframe`."
        )
    return listed

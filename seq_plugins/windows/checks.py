"""Checks of series before windows are cut from them, so that bad input fails at the door and not in mid-training."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.utils import n_steps_between

SeriesInput: TypeAlias = TimeSeries | Sequence[TimeSeries]

_REMEDY_FOR_NAN = (
    "Fill the gaps first, for example with `darts.utils.missing_values.fill_missing_values`, or make the model with "
    '`missing="mask"`, which trains on what is there'
)
_REMEDY_FOR_INFINITY = "Put a number in the place of each"


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
    *,
    use_static_covariates: bool = True,
    needs_window_weights: bool = False,
    needs_one_dtype: bool = True,
    allow_missing: bool = False,
    prefix: str = "",
) -> None:
    """Check that every window of every series can be cut, and that only finite values of one type are in them.

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
    use_static_covariates
        Whether the static covariates of the target series are used.
    needs_window_weights
        Whether the weights of the input chunk are needed, too.
    needs_one_dtype
        Whether all values must be of one type.
    allow_missing
        Whether targets and covariates may be NaN, unless all targets of a series are.
    prefix
        What stands before the arguments' names in errors, such as ``"val_"``.

    Raises
    ------
    ValueError
        If a series is too short, covariates do not reach far enough or lie between the target's time steps, values are
        NaN, infinite or of another type, all targets of a series are NaN, or series differ in their components or
        static covariates.
    """
    targets = _as_list(f"{prefix}series", series)
    others = {
        f"{prefix}past_covariates": past_covariates,
        f"{prefix}future_covariates": future_covariates,
        f"{prefix}sample_weight": None if isinstance(sample_weight, str) else sample_weight,
    }
    lists = {name: _as_list(name, value) for name, value in others.items() if value is not None}
    _check_alike(f"{prefix}series", targets, use_static_covariates)
    for name, listed in lists.items():
        _check_alike(name, listed)
    if needs_one_dtype:
        covariates = {name: listed for name, listed in lists.items() if name != f"{prefix}sample_weight"}
        _check_dtypes({f"{prefix}series": targets} | covariates)
    if not isinstance(stride, int) or stride < 1:
        return  # Darts refuses it
    for index, target in enumerate(targets):
        name = f"{prefix}series" + _position(index, targets)
        if len(target) < chunk_lengths.total:
            raise ValueError(
                f"`{name}` has {len(target)} time steps, expected at least {chunk_lengths.total}: "
                f"input_chunk_length={chunk_lengths.input} + output_chunk_shift={chunk_lengths.shift} + "
                f"output_chunk_length={chunk_lengths.output}. Give a longer series or make the chunks shorter."
            )
        inputs, outputs = training_spans(len(target), chunk_lengths, max_samples_per_ts, stride)
        check_finite(name, target, inputs, outputs, allow_missing=allow_missing)
        if allow_missing:
            _check_any_target(name, target, outputs)
        if use_static_covariates:
            _check_static_covariates(name, target)
        needs = (inputs,), (inputs, outputs), (inputs, outputs) if needs_window_weights else (outputs,)
        for other_name, needed in zip(others, needs, strict=True):
            listed = lists.get(other_name, [])
            if len(listed) != len(targets):  # another number of series is Darts' to refuse
                continue
            other_name += _position(index, targets)
            _check_reach(other_name, listed[index], name, target, Span(needed[0].start, needed[-1].stop))
            spans = [_shifted(span, listed[index], target) for span in needed]
            if other_name.startswith(f"{prefix}sample_weight"):
                check_finite(
                    other_name, listed[index], *spans, remedy="Give a weight everywhere; one of 0 leaves a target out"
                )
            else:
                check_finite(other_name, listed[index], *spans, allow_missing=allow_missing)


def check_inference_values(
    dataset: SequentialTorchInferenceDataset, chunk_lengths: ChunkLengths, *, allow_missing: bool = False
) -> None:
    """Check that the values from which forecasts are made are finite.

    Parameters
    ----------
    dataset
        Darts' data set for the forecasts.
    chunk_lengths
        Lengths of a window's parts.
    allow_missing
        Whether values may be NaN, those of static covariates aside.

    Raises
    ------
    ValueError
        If a value is infinite, or NaN where it may not be.
    """
    n_beyond = max(dataset.n - chunk_lengths.output, 0)
    for index, target in enumerate(dataset.series):
        position = _position(index, dataset.series)
        first_end, last_end = (len(target), len(target)) if dataset.bounds is None else dataset.bounds[index]
        inputs = Span(first_end - chunk_lengths.input, last_end)
        outputs = Span(
            first_end + chunk_lengths.shift, last_end + chunk_lengths.shift + chunk_lengths.output + n_beyond
        )
        check_finite(f"series{position}", target, inputs, allow_missing=allow_missing)
        if dataset.use_static_covariates:
            _check_static_covariates(f"series{position}", target)
        for name, others, spans in (
            ("past_covariates", dataset.past_covariates, [Span(inputs.start, inputs.stop + n_beyond)]),
            ("future_covariates", dataset.future_covariates, [inputs, outputs]),
        ):
            if others is not None and _same_axis(others[index], target):
                shifted = (_shifted(span, others[index], target) for span in spans)
                check_finite(f"{name}{position}", others[index], *shifted, allow_missing=allow_missing)


def covers_windows(
    weights: Sequence[TimeSeries],
    series: Sequence[TimeSeries],
    chunk_lengths: ChunkLengths,
    max_samples_per_ts: int | None = None,
    stride: int = 1,
) -> bool:
    """Return whether `weights` reach over the input chunks of all windows of `series`, too."""
    for weight, target in zip(weights, series, strict=True):
        inputs, outputs = training_spans(len(target), chunk_lengths, max_samples_per_ts, stride)
        reached = _shifted(Span(inputs.start, outputs.stop), weight, target)
        if reached.start < 0 or reached.stop > len(weight):
            return False
    return True


def training_spans(
    length: int, chunk_lengths: ChunkLengths, max_samples_per_ts: int | None, stride: int
) -> tuple[Span, Span]:
    """Return the parts of a target series of `length` steps that are in input and in output chunks of its windows."""
    n_windows = ceil((length - chunk_lengths.total + 1) / stride)
    if max_samples_per_ts is not None:
        n_windows = min(n_windows, max(max_samples_per_ts, 1))
    first = length - chunk_lengths.total - (n_windows - 1) * stride  # windows count from the end
    return (
        Span(first, length - chunk_lengths.shift - chunk_lengths.output),
        Span(first + chunk_lengths.input + chunk_lengths.shift, length),
    )


def check_finite(
    name: str, series: TimeSeries, *spans: Span, allow_missing: bool = False, remedy: str = _REMEDY_FOR_NAN
) -> None:
    """Check that no value of `series` is NaN or infinite.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    series
        Series to look at.
    *spans
        Parts of the series to look at; all of it if there are none. What lies outside the series is passed over.
    allow_missing
        Whether values may be NaN.
    remedy
        What to do about NaN, for the error.

    Raises
    ------
    ValueError
        If a value is infinite, or NaN where it may not be.
    """
    values = series.all_values(copy=False)
    for start, stop in spans or (Span(0, len(series)),):
        start = max(start, 0)
        part = values[start : max(stop, 0)]
        bad = np.isinf(part) if allow_missing else ~np.isfinite(part)
        if bad.any():
            step, component, sample = np.argwhere(bad)[0]
            is_nan = np.isnan(values[start + step, component, sample])
            raise ValueError(
                f"`{name}` holds {'NaN' if is_nan else 'an infinite value'} at "
                f"{series.time_index[start + step]} in component '{series.components[component]}' "
                f"({int(bad.sum())} such values in all). {remedy if is_nan else _REMEDY_FOR_INFINITY}."
            )


def _check_any_target(name: str, target: TimeSeries, outputs: Span) -> None:
    if np.isnan(target.all_values(copy=False)[outputs.start : outputs.stop]).all():
        first, last = (target.time_index[position] for position in (outputs.start, outputs.stop - 1))
        raise ValueError(
            f"`{name}` holds nothing but NaN from {first} to {last}, expected at least one value to forecast there. "
            "Give a series with values there, or leave it out."
        )


def _check_reach(name: str, covariates: TimeSeries, target_name: str, target: TimeSeries, needed: Span) -> None:
    if len(covariates) == 0:
        raise ValueError(f"`{name}` has no time steps, expected those of `{target_name}`. Give longer covariates.")
    if not _same_axis(covariates, target):
        raise ValueError(
            f"`{name}` has a time axis of frequency {covariates.freq!r}, expected {target.freq!r} as in "
            f"`{target_name}`. Resample one of them."
        )
    reached = _shifted(needed, covariates, target)
    if covariates.start_time() + (reached.start - needed.start) * target.freq != target.start_time():
        raise ValueError(
            f"`{name}` has time steps such as {covariates.start_time()}, expected those of `{target_name}`, such as "
            f"{target.start_time()}. Shift or resample one of them."
        )
    if reached.start >= 0 and reached.stop <= len(covariates):
        return
    first, last = (target.start_time() + position * target.freq for position in (needed.start, needed.stop - 1))
    raise ValueError(
        f"`{name}` reaches from {covariates.start_time()} to {covariates.end_time()}, expected at least from {first} "
        f"to {last}, so that every window of `{target_name}` has its values. Give longer covariates or a shorter "
        "target."
    )


def _check_alike(name: str, series: Sequence[TimeSeries], use_static_covariates: bool = False) -> None:
    """Check that all series have as many components, and static covariates of the same shape, as the first."""
    for index, item in enumerate(series):
        if item.n_components != series[0].n_components:
            raise ValueError(
                f"`{name}[{index}]` has {item.n_components} components, expected {series[0].n_components} as in "
                f"`{name}[0]`. Give all series the same components."
            )
        shapes = [
            None if each.static_covariates is None else each.static_covariates.shape for each in (item, series[0])
        ]
        if use_static_covariates and shapes[0] != shapes[1]:
            raise ValueError(
                f"`{name}[{index}]` has static covariates of shape {shapes[0]}, expected {shapes[1]} as in "
                f"`{name}[0]`. Give them to all series or to none, or make the model with "
                "`use_static_covariates=False`."
            )


def _check_dtypes(lists: Mapping[str, Sequence[TimeSeries]]) -> None:
    """Check that all values are of the type of the first target series."""
    expected = next(iter(lists.values()))[0].dtype
    for name, series in lists.items():
        for index, item in enumerate(series):
            if item.dtype != expected:
                raise ValueError(
                    f"`{name}{_position(index, series)}` has values of type {item.dtype}, expected {expected} as in "
                    f"the target series. Convert one of them, such as with `.astype(np.{expected})`."
                )


def _check_static_covariates(name: str, target: TimeSeries) -> None:
    frame = target.static_covariates
    numbers = None if frame is None else frame.select_dtypes("number")
    if numbers is not None and not np.isfinite(numbers.to_numpy()).all():
        column = numbers.columns[~np.isfinite(numbers.to_numpy()).all(axis=0)][0]
        raise ValueError(f"The static covariates of `{name}` hold NaN or infinity in column '{column}'. Fill it first.")


def _same_axis(series: TimeSeries, other: TimeSeries) -> bool:
    return bool(series.freq == other.freq) and series.has_datetime_index == other.has_datetime_index


def _shifted(span: Span, series: TimeSeries, target: TimeSeries) -> Span:
    """Translate positions in `target` into positions in `series`."""
    offset = n_steps_between(end=target.start_time(), start=series.start_time(), freq=target.freq)
    return Span(span.start + offset, span.stop + offset)


def _position(index: int, series: Sequence[TimeSeries]) -> str:
    return f"[{index}]" if len(series) > 1 else ""


def _as_list(name: str, series: Any) -> Sequence[TimeSeries]:
    listed = [series] if isinstance(series, TimeSeries) else series
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(item, TimeSeries) for item in listed):
        got = type(series).__name__
        if isinstance(listed, list | tuple):
            got = " and ".join(sorted({type(item).__name__ for item in listed})) or "nothing"
            got = f"a {type(series).__name__} of {got}"
        raise ValueError(
            f"Expected `{name}` to be a Darts TimeSeries or a list of them, got {got}. Tables become series with "
            "`TimeSeries.from_dataframe`."
        )
    return listed

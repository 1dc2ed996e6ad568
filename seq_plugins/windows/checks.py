"""Checks of series as they are read, so that bad input fails at once and not in mid-training."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.ts_utils import series2seq

from seq_plugins.windows.alignment import AlignedSeries, Span, have_same_frequency
from seq_plugins.windows.sequences import SeriesInput, name_of

_REMEDY_FOR_NAN = (
    "Fill the gaps first, for example with `darts.utils.missing_values.fill_missing_values`, or make the model with "
    '`missing="mask"`, which learns from the values that are present'
)
_REMEDY_FOR_NAN_IN_WEIGHTS = "Give a weight everywhere; one of 0 leaves a target out"
_REMEDY_FOR_SHORT_HISTORIES = (
    'make the model with `missing="mask"`, which treats the start of a short series as missing'
)
_REMEDY_FOR_INFINITY = "Put a number in the place of each"
_REMEDY_FOR_ENCODINGS = (
    "`add_encoders` made it: change that encoder, or its transformer, so that it gives a number at every time step"
)


class ChunkLengths(NamedTuple):
    """Lengths of a window's parts, in time steps; of its input, `min_input` must be there."""

    input: int
    shift: int
    output: int
    min_input: int

    @property
    def shortest(self) -> int:
        """Length of the shortest series of which a window can be cut."""
        return self.min_input + self.shift + self.output


@dataclass
class SeriesChecks:
    """Checks of the series of one data set, made as each is read.

    Attributes
    ----------
    window
        Lengths of a window's parts.
    in_training
        Whether the windows are to train on. In prediction, covariates that don't reach far enough are Darts' to refuse.
    use_static_covariates
        Whether the static covariates of the target series are used.
    allow_missing
        Whether targets and covariates may be NaN; in training, unless all targets of a series are.
    prefix
        What stands before the arguments' names in errors, such as ``"val_"``.
    encoded
        Names of the covariates' components that `add_encoders` made, for the error.
    """

    window: ChunkLengths
    in_training: bool = True
    use_static_covariates: bool = True
    allow_missing: bool = False
    prefix: str = ""
    encoded: Collection[str] = ()
    _first: dict[str, AlignedSeries] = field(default_factory=dict)

    def check(self, aligned: AlignedSeries) -> None:
        """Check a series.

        Raises
        ------
        ValueError
            If a target series is too short, covariates or weights have another frequency, or values that windows need
            are infinite, or NaN where they may not be. In
            training, also if covariates or weights do not reach far enough or lie between the target's time steps, all
            targets of a series are NaN, or series differ in their components or static covariates.
        """
        is_target = aligned.argument == "series"
        if is_target:
            self._check_length(aligned.name, aligned.series)
        if self.in_training:
            first = self._first.setdefault(aligned.argument, aligned)
            _check_components(aligned, first)
            if not is_target:
                _check_reach(aligned)
            elif self.use_static_covariates:
                _check_static_shape(aligned, first)
        elif not is_target and len(aligned.series):
            _check_frequency(aligned)
        if aligned.argument == "sample_weight":
            _check_finite(aligned, remedy=_REMEDY_FOR_NAN_IN_WEIGHTS)
        else:
            _check_finite(aligned, self.allow_missing, encoded=self.encoded)
        if is_target:
            if self.in_training and self.allow_missing:
                _check_any_target(aligned)
            if self.use_static_covariates:
                _check_static_values(aligned)

    def check_lengths(self, targets: Sequence[TimeSeries]) -> None:
        """Check that target series are long enough for one window.

        Raises
        ------
        ValueError
            If one of them is not.
        """
        for index in range(len(targets)):
            self._check_length(self.prefix + name_of("series", index if len(targets) > 1 else None), targets[index])

    def _check_length(self, name: str, target: TimeSeries) -> None:
        window = self.window
        needed = window.shortest if self.in_training else window.min_input
        if len(target) >= needed:
            return
        parts = "one step of input" if window.min_input < window.input else f"input_chunk_length={window.input}"
        remedies = ["Give a longer series"]
        if self.in_training:
            parts += f" + output_chunk_shift={window.shift} + output_chunk_length={window.output}"
            remedies.append("make the chunks shorter")
        if window.min_input == window.input > 1:
            remedies.append(_REMEDY_FOR_SHORT_HISTORIES)
        elif not self.in_training and self.allow_missing:
            remedies = ["For a series without any history, give a missing value at the time step before the forecast"]
        raise ValueError(
            f"`{name}` has {len(target)} time steps, expected at least {needed}: {parts}. {', or '.join(remedies)}."
        )


def check_one_type(value_types: Mapping[np.dtype[Any], str]) -> None:
    """Check that all values are of the type of the first target series.

    Parameters
    ----------
    value_types
        The types, each with the name of the first series of it; that of the first target series comes first.

    Raises
    ------
    ValueError
        If there are several types.
    """
    for other in list(value_types)[1:]:
        expected = next(iter(value_types))
        raise ValueError(
            f"`{value_types[other]}` has values of type {other}, expected {expected} as in the target series. Convert "
            f"one of them, such as with `.astype(np.{expected})`."
        )


def check_time_axes(series: SeriesInput | None, covariates: Mapping[str, SeriesInput | None], prefix: str = "") -> None:
    """Check that covariates have time steps, and of the frequency of their target series.

    Parameters
    ----------
    series
        Target series.
    covariates
        Covariates by the name of their argument.
    prefix
        What stands before the arguments' names in errors.

    Raises
    ------
    ValueError
        If they have not.
    """
    if series is None:
        return
    targets = series2seq(series)
    for name, given in covariates.items():
        listed = series2seq(given)
        if listed is None or len(listed) != len(targets):  # another number of series is Darts' to refuse
            continue
        for index in range(len(targets)):
            position = index if len(targets) > 1 else None
            _check_time_axis(AlignedSeries(prefix, name, position, listed[index], targets[index], None, ()))


def _check_finite(
    aligned: AlignedSeries,
    allow_missing: bool = False,
    remedy: str = _REMEDY_FOR_NAN,
    encoded: Collection[str] = (),
) -> None:
    """Check what is needed of the series, and what of it lies in the series."""
    if aligned.offset is None:
        return
    series = aligned.series
    values = series.all_values(copy=False)
    for start, stop in _joined(aligned.needed):
        start = max(start + aligned.offset, 0)
        part = values[start : max(stop + aligned.offset, 0)]
        bad = np.isinf(part) if allow_missing else ~np.isfinite(part)
        if bad.any():
            step, component, sample = np.argwhere(bad)[0]
            is_nan = np.isnan(values[start + step, component, sample])
            if series.components[component] in encoded:
                remedy = _REMEDY_FOR_ENCODINGS
            elif not is_nan:
                remedy = _REMEDY_FOR_INFINITY
            raise ValueError(
                f"`{aligned.name}` holds {'NaN' if is_nan else 'an infinite value'} at "
                f"{series.time_index[start + step]} in component '{series.components[component]}' "
                f"({int(bad.sum())} such values in all). {remedy}."
            )


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Return the spans, in their order, with those that meet made one."""
    start, stop = spans[0]
    for span in spans[1:]:
        if span.start > stop:
            yield Span(start, stop)
            start = span.start
        stop = span.stop
    yield Span(start, stop)


def _check_any_target(aligned: AlignedSeries) -> None:
    outputs = aligned.needed[-1]
    if np.isnan(aligned.series.all_values(copy=False)[outputs.start : outputs.stop]).all():
        first, last = aligned.target.time_index[[outputs.start, outputs.stop - 1]]
        raise ValueError(
            f"`{aligned.name}` holds nothing but NaN from {first} to {last}, expected at least one value to forecast "
            "there. Give a series with values there, or leave it out."
        )


def _check_reach(aligned: AlignedSeries) -> None:
    """Check that covariates or weights have values for all windows of their target series."""
    name, series, target = aligned.name, aligned.series, aligned.target
    if aligned.reaches:
        return
    _check_time_axis(aligned)
    start, target_start = series.start_time(), target.start_time()
    if aligned.offset is None and max(start, target_start) <= min(series.end_time(), target.end_time()):
        raise ValueError(
            f"`{name}` has time steps such as {start}, expected those of `{aligned.target_name}`, such as "
            f"{target_start}. Shift or resample one of them."
        )
    needed = aligned.whole_span
    first, last = target.time_index[[needed.start, needed.stop - 1]]
    raise ValueError(
        f"`{name}` reaches from {start} to {series.end_time()}, expected at least from {first} to {last}, so that "
        f"every window of `{aligned.target_name}` has its values. Give longer {_noun(aligned)} or a shorter target."
    )


def _check_time_axis(aligned: AlignedSeries) -> None:
    if len(aligned.series) == 0:
        raise ValueError(
            f"`{aligned.name}` has no time steps, expected those of `{aligned.target_name}`. Give longer "
            f"{_noun(aligned)}."
        )
    _check_frequency(aligned)


def _noun(aligned: AlignedSeries) -> str:
    return "weights" if aligned.argument == "sample_weight" else "covariates"


def _check_frequency(aligned: AlignedSeries) -> None:
    series, target = aligned.series, aligned.target
    if not have_same_frequency(series, target):
        raise ValueError(
            f"`{aligned.name}` has a time axis of frequency {series.freq!r}, expected {target.freq!r} as in "
            f"`{aligned.target_name}`. {_remedy_for_another_frequency(aligned.name, series, target)}"
        )


def _remedy_for_another_frequency(name: str, covariates: TimeSeries, target: TimeSeries) -> str:
    if covariates.has_datetime_index != target.has_datetime_index:
        return "Give both of them dates, or both integers."
    if not covariates.has_datetime_index:
        return "Give both of them the same step, for example with a slice such as `series[::2]`."
    dates = pd.date_range(covariates.start_time(), periods=len(covariates), freq=target.freq)
    if not dates.equals(covariates.time_index):
        return "Resample one of them."
    return (
        "The dates are equal, and only the name of the frequency differs. Rename it with "
        f"`{name}.with_times_and_values(pd.date_range({name}.start_time(), periods=len({name}), "
        f"freq='{target.freq_str}'), {name}.all_values())`."
    )


def _check_components(aligned: AlignedSeries, first: AlignedSeries) -> None:
    if aligned.series.n_components != first.series.n_components:
        raise ValueError(
            f"`{aligned.name}` has {aligned.series.n_components} components, expected {first.series.n_components} as "
            f"in `{first.name}`. Give all series the same components."
        )


def _check_static_shape(aligned: AlignedSeries, first: AlignedSeries) -> None:
    shape, expected = (
        None if each.series.static_covariates is None else each.series.static_covariates.shape
        for each in (aligned, first)
    )
    if shape != expected:
        raise ValueError(
            f"`{aligned.name}` has static covariates of shape {shape}, expected {expected} as in `{first.name}`. Give "
            "them to all series or to none, or make the model with `use_static_covariates=False`."
        )


def _check_static_values(aligned: AlignedSeries) -> None:
    frame = aligned.series.static_covariates
    if frame is None:
        return
    values = aligned.series.static_covariates_values(copy=False)
    if values.dtype.kind == "f" and np.isfinite(values).all():
        return
    numbers = frame.select_dtypes("number")  # takes long: only where something else may be among them
    is_finite = np.isfinite(numbers.to_numpy()).all(axis=0)
    if not is_finite.all():
        column = numbers.columns[~is_finite][0]
        raise ValueError(
            f"The static covariates of `{aligned.name}` hold NaN or infinity in column '{column}'. Fill it first."
        )

"""The series of a table: on one time axis, ending together, with missing values where rows are absent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries

from seq_plugins._command_line import UserError
from seq_plugins.tables.files import counted, first_three
from seq_plugins.tables.reading import Rows, categories_of
from seq_plugins.tables.times import are_of_clock_changes, find_frequency, follows, irregular, is_of_days, time_axis


@dataclass(frozen=True)
class Panel:
    """Series that end at the same time, the last one at which any target was observed. Values are float64.

    Parameters
    ----------
    targets
        Target of each series, from its first observation on, with its static covariates.
    past
        Past covariates of each series over the same time; ``None`` if there are none.
    future
        Future covariates of each series, up to the last row of the table at the least; ``None`` if there are none.
    ids
        Id of each series.
    observed
        The panel before gaps were filled by what stands around them; ``None`` if none were.
    """

    targets: list[TimeSeries]
    past: list[TimeSeries] | None
    future: list[TimeSeries] | None
    ids: list[str]
    observed: "Panel | None" = None

    @property
    def truth(self) -> list[TimeSeries]:
        """Targets as they were observed, without what gaps were filled by: errors are those of forecasts of them."""
        return (self.observed or self).targets

    @property
    def freq(self) -> Any:
        """Frequency: an offset, or the step of integers."""
        return self.targets[0].freq

    @property
    def end(self) -> Any:
        """Last time of the targets."""
        return self.targets[0].end_time()

    @property
    def length(self) -> int:
        """Length of the longest series."""
        return max(map(len, self.targets))

    @property
    def n_known(self) -> int:
        """Number of time steps after the end for which the table has rows of what is known in advance."""
        return 0 if self.future is None else len(self.future[0]) - len(self.targets[0])

    @property
    def has_gaps(self) -> bool:
        """Whether values are missing, in targets or covariates."""
        series = [*self.targets, *(self.past or [])]
        if self.future is not None:
            series += [known[: len(one)] for known, one in zip(self.future, self.targets, strict=True)]
        return any(np.isnan(one.values(copy=False)).any() for one in series)

    def times_after(self, horizon: int) -> pd.Index:
        """Return the time steps that follow the end."""
        if isinstance(self.freq, int):
            return pd.RangeIndex(self.end + self.freq, self.end + (horizon + 1) * self.freq, self.freq)
        return pd.date_range(self.end, periods=horizon + 1, freq=self.freq)[1:]

    def before_last(self, n: int) -> "Panel":
        """Return the panel as it was `n` steps ago; future covariates stay. A series that had not begun is left out."""
        if n == 0:
            return self
        if self.observed is not None:
            return self.observed.before_last(n).interpolated()
        kept = [i for i, one in enumerate(self.targets) if np.isfinite(one.values(copy=False)[:-n]).any()]
        past = None if self.past is None else [self.past[i][:-n] for i in kept]
        chosen = self.select(kept)
        return replace(chosen, targets=[one[:-n] for one in chosen.targets], past=past)

    def select(self, positions: Iterable[int]) -> "Panel":
        """Return some of the series."""
        chosen = list(positions)

        def of(series: Sequence[Any] | None) -> Any:
            return None if series is None else [series[i] for i in chosen]

        observed = None if self.observed is None else self.observed.select(chosen)
        return Panel(of(self.targets), of(self.past), of(self.future), of(self.ids), observed)

    def interpolated(self) -> "Panel":
        """Return the panel with gaps filled by what stands around them, at the ends by what stands beside them."""

        def of(series: Sequence[TimeSeries] | None, is_known_ahead: bool = False) -> Any:
            return None if series is None else [interpolated(one, is_known_ahead) for one in series]

        return Panel(of(self.targets), of(self.past), of(self.future, is_known_ahead=True), self.ids, self)


def interpolated(series: TimeSeries, is_known_ahead: bool = False) -> TimeSeries:
    """Return a series with gaps filled by what stands around them, at the ends by what stands beside them.

    Parameters
    ----------
    series
        The series.
    is_known_ahead
        Whether what is missing at the end stays so: what is known ahead is known as far as it is given.
    """
    inside = pd.DataFrame(series.values(copy=False)).interpolate(limit_area="inside").bfill()
    return series.with_values((inside if is_known_ahead else inside.ffill()).to_numpy())


def make_panel(rows: Rows, notes: list[str]) -> tuple[Panel, Rows]:
    """Make the series of a table's rows; return them, and the rows with the frequency and the categories found.

    Parameters
    ----------
    rows
        The rows.
    notes
        What has been guessed, and how much is missing, is told here.

    Raises
    ------
    UserError
        If time stamps have no frequency or not the one asked for, or nothing was observed.
    """
    options = rows.options
    if options.categories is None:
        rows = replace(rows, options=replace(options, categories=categories_of(rows)))
    frame = rows.frame
    observed = frame[frame[list(options.target)].notna().any(axis=1)]
    if observed.empty:
        names = ", ".join(map(repr, options.target))
        raise UserError(f"{rows.path}: nothing stands in {names}. Name other columns with --target.")
    frame, freq = _on_steps(rows, notes)
    if options.freq is None:
        rows = replace(rows, options=replace(rows.options, freq=str(freq)))
        notes.append(f"Frequency: {freq} (--freq gives another).")
    frame = _with_indicators(frame, rows)
    return _join_series(frame, freq, rows, notes), rows


def _on_steps(rows: Rows, notes: list[str]) -> tuple[pd.DataFrame, str | int]:
    """Return the rows with one at most for each step of a series, and the frequency."""
    options, frame = rows.options, rows.frame
    are_dates = frame[rows.time].dtype.kind == "M"
    if options.freq is not None and options.freq.isdigit() == are_dates:
        expected = "one of pandas' names, such as D, for dates" if are_dates else "a whole number for whole numbers"
        raise UserError(f"--freq: expected {expected} in column {rows.time!r}, got {options.freq!r}.")
    if options.resample is not None:
        return _resampled(rows, are_dates, notes)
    times = pd.Index(np.sort(frame[rows.time].unique()))
    if len(times) < 2:
        raise UserError(f"{rows.path}: column {rows.time!r} holds one time stamp alone. Give a table with more rows.")
    if not are_dates:
        step = int(np.gcd.reduce(np.diff(times))) if options.freq is None else int(options.freq)
        off = times[(times - times[0]) % step != 0]
        if len(off):
            raise UserError(
                f"{rows.path}: column {rows.time!r}: {counted(len(off), 'time stamp')} off the steps of --freq {step}: "
                f"{first_three(map(str, off), len(off))}. Leave --freq out, or give --resample mean (or sum, or last)."
            )
        return frame, step
    dates = pd.DatetimeIndex(times)
    freq = find_frequency(dates) if options.freq is None else options.freq
    if freq is None or not follows(dates, freq):
        raise irregular(rows.path, rows.time, dates, freq)
    return frame, freq


def _resampled(rows: Rows, are_dates: bool, notes: list[str]) -> tuple[pd.DataFrame, str | int]:
    options, frame = rows.options, rows.frame
    assert options.freq is not None  # noqa: S101 it has been checked
    freq: str | int = options.freq if are_dates else int(options.freq)
    by: list[Any] = rows.key[:-1]
    if isinstance(freq, int):
        by = [*by, frame[rows.time] // freq * freq]
    else:
        if options.time_zone is not None and is_of_days(freq):  # days begin at local midnight
            local = frame[rows.time].dt.tz_localize("UTC").dt.tz_convert(options.time_zone).dt.tz_localize(None)
            frame = frame.assign(**{rows.time: local})
        by = [*by, pd.Grouper(key=rows.time, freq=freq)]
    groups = frame.groupby(by)
    targets = groups[list(options.target)]
    values = targets.sum(min_count=1) if options.resample == "sum" else targets.agg(options.resample)
    others = {
        column: "mean" if column in options.covariates and pd.api.types.is_numeric_dtype(frame[column]) else "last"
        for column in [*options.covariates, *options.static]
    }
    if others:
        values = values.join(groups.agg(others))
    n_observed = targets.count().max(axis=1)
    values = values[(groups.size() > 0).to_numpy()]
    told = "" if not options.covariates else ", covariates by their mean"
    notes.append(f"Resampled to {freq}: targets by {options.resample}{told}.")
    n_observed = n_observed[n_observed > 0]
    if len(n_observed) and n_observed.iloc[-1] < n_observed.median():
        notes.append(
            f"The last step is made of {counted(int(n_observed.iloc[-1]), 'value')}, others of "
            f"{n_observed.median():.0f}: it may not be over yet. If so, leave its rows out."
        )
    return values.reset_index(), freq


def _with_indicators(frame: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Return the rows with a column of 0 and 1 for each category, in place of the columns of texts: empty is none."""
    for column, names in (rows.options.categories or {}).items():
        texts = frame[column]
        indicators = {f"{column}={name}": (texts == name).astype("float64") for name in names}
        frame = frame.drop(columns=column).assign(**indicators)
    return frame


def component_names(columns: Sequence[str], rows: Rows) -> list[str]:
    """Return the components that columns become: themselves, or one for each category."""
    known = rows.options.categories or {}
    names = ([f"{column}={text}" for text in known[column]] if column in known else [column] for column in columns)
    return list(chain.from_iterable(names))


def _join_series(frame: pd.DataFrame, freq: str | int, rows: Rows, notes: list[str]) -> Panel:
    options = rows.options
    targets = list(options.target)
    names = (component_names(columns, rows) for columns in (options.past, options.future, options.static))
    past, future, static = names
    is_observed = frame[targets].notna().any(axis=1)
    end, last = frame.loc[is_observed, rows.time].max(), frame[rows.time].max()
    panel = Panel([], [] if past else None, [] if future else None, [])
    not_begun, n_missing = [], 0
    absent: list[pd.Index] = []  # times of each series without a row
    for name, group in _groups(frame, options.id):
        values = group.set_index(rows.time)
        begun = values.index[values[targets].notna().any(axis=1)]
        if begun.empty:
            not_begun.append(name)
            continue
        axis = _axis(begun[0], end, freq)
        absent.append(axis[~axis.isin(values.index)])
        statics = values[static].bfill().iloc[:1].reset_index(drop=True) if static else None
        observed = values[targets].reindex(axis)
        n_missing += int(observed.isna().to_numpy().sum())
        panel.targets.append(_series(observed.fillna(0.0) if options.missing == "zero" else observed, freq, statics))
        panel.ids.append(name)
        if panel.past is not None:
            panel.past.append(_series(values[past].reindex(axis), freq))
        if panel.future is not None:
            panel.future.append(_series(values[future].reindex(_axis(begun[0], max(end, last), freq)), freq))
    _check_statics_are_there(panel, rows)
    _tell_of_gaps(panel, sum(map(len, absent)), n_missing, not_begun, options.missing, notes)
    if options.time_zone is None and _are_skipped_hours(absent, freq):
        notes.append(
            "The time steps without a row are hours that clocks skip when summer time begins: if the times are local, "
            "name their zone, such as --time-zone Europe/Berlin."
        )
    return panel.interpolated() if options.missing == "interpolate" else panel


def _are_skipped_hours(absent: Sequence[pd.Index], freq: str | int) -> bool:
    """Return whether the times without a row are an hour of nights in which summer time begins, and nothing else."""
    times = absent[0].append(list(absent[1:]))
    if not isinstance(times, pd.DatetimeIndex) or times.empty or not are_of_clock_changes(times):
        return False
    step = pd.Timestamp(0) + pd.tseries.frequencies.to_offset(str(freq)) - pd.Timestamp(0)
    hours = [pd.DatetimeIndex(of_series).floor("h").value_counts() for of_series in absent]
    return all(
        (one * step == pd.Timedelta(hours=1)).all() and pd.DatetimeIndex(one.index).normalize().is_unique
        for one in hours
    )


def _groups(frame: pd.DataFrame, id_column: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    if id_column is None:
        yield "", frame
    else:
        for name, group in frame.groupby(id_column):
            yield str(name), group


def _axis(start: Any, end: Any, freq: str | int) -> pd.Index:
    return time_axis(pd.Index([start, end]), freq)


def _series(values: pd.DataFrame, freq: str | int, statics: pd.DataFrame | None = None) -> TimeSeries:
    numbers, names = values.to_numpy(dtype="float64"), list(values.columns)
    return TimeSeries.from_times_and_values(values.index, numbers, columns=names, freq=freq, static_covariates=statics)


def _check_statics_are_there(panel: Panel, rows: Rows) -> None:
    if not rows.options.static:
        return
    without = [
        name
        for name, one in zip(panel.ids, panel.targets, strict=True)
        if not np.isfinite(one.static_covariates_values(copy=False)).all()
    ]
    if without:
        raise UserError(
            f"{rows.path}: --static: nothing stands there for {len(without):,} series: "
            f"{first_three(map(repr, without), len(without))}. Give a value in one of their rows, or leave them out."
        )


def _tell_of_gaps(
    panel: Panel, n_absent: int, n_missing: int, not_begun: list[str], missing: str, notes: list[str]
) -> None:
    if not_begun:
        notes.append(f"Not forecast, since never observed: {first_three(map(repr, not_begun), len(not_begun))}.")
    if n_missing:
        done = {"keep": "kept as missing", "zero": "taken for 0", "interpolate": "interpolated"}[missing]
        n_all = sum(one.values(copy=False).size for one in panel.targets)
        notes.append(
            f"Missing values: {n_missing:,} of {n_all:,}, {counted(n_absent, 'time step')} without a row; {done} "
            "(--missing)."
        )
        n_steps = sum(map(len, panel.targets))
        if n_absent > n_steps / 2:
            notes.append(
                f"Most of the {n_steps:,} time steps have no row: --freq and --resample mean (or sum, or last) make "
                "longer ones."
            )

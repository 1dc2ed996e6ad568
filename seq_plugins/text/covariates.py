"""Dated texts as a time series that can be used as a covariate."""

from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from sklearn.utils.validation import check_is_fitted

from seq_plugins._arguments import check_choice

AGGREGATES = ("mean", "median", "min", "max", "sum")


def sentiment_series(
    frame: pd.DataFrame,
    *,
    time: str,
    text: str,
    freq: str = "D",
    agg: str = "mean",
    classifier: Any,
    label: Any = None,
    missing: str | float = "previous",
    start: Any = None,
    end: Any = None,
) -> TimeSeries:
    """Score dated texts and return a series of their mean score and number.

    A day's value is known at the end of the day: use it as a past covariate, so that a forecast that starts the next
    day does not look ahead.

    Parameters
    ----------
    frame
        One row per text, in any order.
    time
        Column of the times: dates, or values that pandas can convert to dates. Times with a time zone are taken as
        local time.
    text
        Column of the texts.
    freq
        Frequency, as a pandas alias such as ``"D"``, ``"h"`` or ``"W"``. With business days, ``"B"`` or a
        custom calendar, texts of days off belong to the next business day: they are not known on the previous one.
    agg
        How to aggregate the scores of a step: ``"mean"``, ``"median"``, ``"min"``, ``"max"`` or ``"sum"``.
    classifier
        A trained :class:`SentimentClassifier`, or another classifier of texts with ``predict_proba``.
    label
        The class whose probability is the score; the last of ``classes_`` if ``None``.
    missing
        The score of a step without a text: ``"previous"``, that of the previous step; ``"nan"``; or a number, such as
        0.5. The number of texts is 0. With ``"previous"``, scores before the first text are NaN.
    start, end
        Times of the first and the last step of the series, such as the end of the target; texts outside are
        left out. By default the times of the first and the last text.

    Returns
    -------
    TimeSeries
        Components ``sentiment`` and ``count``, float64, from the step of `start` to that of `end`.

    Raises
    ------
    TypeError
        If `frame` is not a data frame, or a text is not a string.
    ValueError
        If the frame has no rows or lacks a column, a time is missing, or an argument is invalid.

    Examples
    --------
    >>> from seq_plugins.text import sentiment_series
    >>> news = sentiment_series(frame, time="day", text="headline", classifier=classifier)  # doctest: +SKIP
    >>> model.fit(sales, past_covariates=news)  # doctest: +SKIP
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"Expected frame to be a pandas DataFrame, got {type(frame).__name__}.")
    for name, column in {"time": time, "text": text}.items():
        if column not in frame.columns:
            raise ValueError(f"Expected {name} to be a column of frame, one of {list(frame.columns)}, got {column!r}.")
    if not len(frame):
        raise ValueError("Expected at least one row in frame, got none.")
    check_choice("agg", agg, AGGREGATES)
    if isinstance(missing, str) or missing is None:
        check_choice("missing", missing, ("previous", "nan"))
    check_is_fitted(classifier)
    classes = classifier.classes_.tolist()
    if label is not None and label not in classes:
        raise ValueError(f"Expected label to be one of {classes}, got {label!r}.")
    offset = _read_offset(freq)
    first, last = _read_moment("start", start), _read_moment("end", end)
    if first is not None and last is not None and first > last:
        raise ValueError(f"Expected start to be no later than end, got {start!r} and {end!r}.")
    times = _rolled_forward(_read_times(frame[time], time), offset)
    probabilities = classifier.predict_proba(frame[text])
    scores = pd.Series(probabilities[:, len(classes) - 1 if label is None else classes.index(label)], index=times)
    ends = [_rolled_forward(pd.DatetimeIndex([moment]), offset) for moment in (first, last) if moment is not None]
    without_score = [pd.Series(np.nan, index=moment) for moment in ends]  # but with a step
    steps = pd.concat([scores, *without_score]).sort_index().resample(offset)
    span = slice(*(None if moment is None else _step_of(moment, offset) for moment in (first, last)))
    counts = steps.count().loc[span]
    values = steps.agg(agg).loc[span].where(counts > 0)
    if not counts.any():
        raise ValueError(f"Expected texts between start and end, {start!r} and {end!r}, found none.")
    if missing == "previous":
        values = values.ffill()
    elif missing != "nan":
        values = values.fillna(float(missing))
    table = pd.DataFrame({"sentiment": values, "count": counts}).astype(np.float64)
    return TimeSeries.from_dataframe(table, freq=pd.DatetimeIndex(values.index).freqstr)


def _read_offset(freq: Any) -> pd.DateOffset:
    try:
        if freq is None:
            raise ValueError("there is none")
        offset: pd.DateOffset = pd.tseries.frequencies.to_offset(freq)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected freq to be a frequency of pandas, such as 'D' or 'h', got {freq!r}: {error}"
        ) from error
    return offset


def _read_moment(name: str, moment: Any) -> pd.Timestamp | None:
    if moment is None:
        return None
    try:
        found = pd.Timestamp(moment)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected {name} to be a time, got {moment!r}: {error}") from error
    if pd.isna(found):
        raise ValueError(f"Expected {name} to be a time, got {moment!r}.")
    return found.tz_localize(None)


def _step_of(moment: pd.Timestamp, offset: pd.DateOffset) -> pd.Timestamp:
    """Return the time that stands for the step of a moment."""
    at = _rolled_forward(pd.DatetimeIndex([moment]), offset)
    step: pd.Timestamp = pd.Series(0, index=at).resample(offset).count().index[0]
    return step


def _rolled_forward(times: pd.DatetimeIndex, offset: pd.DateOffset) -> pd.DatetimeIndex:
    """Return the times, those on days off moved to the next business day; for pandas they belong to the one before."""
    if not isinstance(offset, pd.offsets.BusinessDay | pd.offsets.CustomBusinessDay):
        return times
    days = times.normalize()
    next_day = {day: offset.rollforward(day) for day in days.unique()}
    moved = [time if next_day[day] == day else next_day[day] for time, day in zip(times, days, strict=True)]
    return pd.DatetimeIndex(moved)


def _read_times(column: pd.Series, name: str) -> pd.DatetimeIndex:
    """Return the times, without a time zone."""
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"Expected dates in the column {name!r} of frame, got numbers. Use pandas.to_datetime first.")
    try:
        times = pd.DatetimeIndex(pd.to_datetime(column))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected dates in the column {name!r} of frame: {error}") from error
    if times.hasnans:
        place = int(np.flatnonzero(times.isna())[0])
        raise ValueError(f"Expected a time in every row of frame, got none in row {place} of the column {name!r}.")
    return times.tz_localize(None)

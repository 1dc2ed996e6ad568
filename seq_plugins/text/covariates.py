"""Dated texts as a time series that forecasters take as a covariate."""

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
) -> TimeSeries:
    """Score dated texts and return a series of their mean score and number.

    A day's value is known at its end: as a past covariate of a forecast that starts the day after, it looks at nothing
    from the future.

    Parameters
    ----------
    frame
        One row a text, in any order.
    time
        Column of the times: dates, or what pandas turns into dates. Those with a time zone are taken as the clock there
        shows them.
    text
        Column of the texts.
    freq
        Length of a step, as pandas writes it, such as ``"D"``, ``"h"`` or ``"W"``.
    agg
        How the scores of a step become one: ``"mean"``, ``"median"``, ``"min"``, ``"max"`` or ``"sum"``.
    classifier
        A trained :class:`SentimentClassifier`, or another classifier of texts with ``predict_proba``.
    label
        The class whose probability is the score; the last of ``classes_`` if ``None``.
    missing
        The score of a step without a text: ``"previous"``, that of the step before; ``"nan"``; or a number, such as
        0.5. The number of texts is 0.

    Returns
    -------
    TimeSeries
        Components ``sentiment`` and ``count``, float64, from the first text's step to the last one's.

    Raises
    ------
    TypeError
        If `frame` is no data frame, or a text is no string. It says where.
    ValueError
        If the frame has no rows or not these columns, a time is missing, or an argument is not what is expected.

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
    times = _read_times(frame[time], time)
    probabilities = classifier.predict_proba(frame[text])
    scores = pd.Series(probabilities[:, len(classes) - 1 if label is None else classes.index(label)], index=times)
    try:
        steps = scores.sort_index().resample(freq)
    except ValueError as error:
        raise ValueError(
            f"Expected freq to be a frequency of pandas, such as 'D' or 'h', got {freq!r}: {error}"
        ) from error
    counts = steps.count()
    values = steps.agg(agg).where(counts > 0)
    if missing == "previous":
        values = values.ffill()
    elif missing != "nan":
        values = values.fillna(float(missing))
    table = pd.DataFrame({"sentiment": values, "count": counts}).astype(np.float64)
    return TimeSeries.from_dataframe(table, freq=pd.DatetimeIndex(values.index).freqstr)


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

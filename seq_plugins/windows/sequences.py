"""What several series may be given in: lists and whatever Darts takes like them, such as series read when asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from darts import TimeSeries

SeriesInput: TypeAlias = TimeSeries | Sequence[TimeSeries]


def check_series_input(name: str, given: Any) -> None:
    """Check that `given` is a series, or holds series by position; of what may be read lazily, only the first is read.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    given
        What was given.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(given, TimeSeries):
        return
    if is_held(given):
        is_taken = bool(given) and all(isinstance(item, TimeSeries) for item in given)
    else:
        is_taken = not isinstance(given, Mapping) and isinstance(_first(given), TimeSeries)
    if not is_taken:
        raise ValueError(_describe_wrong_type(name, given))


def check_number_of_series(name: str, given: SeriesInput, target_name: str, targets: SeriesInput) -> None:
    """Check that there are as many series as targets.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    given
        Covariates or weights.
    target_name
        Name of the argument of the target series.
    targets
        The target series.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    number, expected = (1 if isinstance(series, TimeSeries) else len(series) for series in (given, targets))
    if number != expected:
        raise ValueError(
            f"`{name}` holds {number} series, expected {expected}, one for each of `{target_name}`, in the same order. "
            "Give a list of that length; it may hold the same series several times."
        )


def read_series(name: str, series: Sequence[TimeSeries], index: int) -> TimeSeries:
    """Return the series at a position.

    Raises
    ------
    ValueError
        If there is none.
    """
    try:
        item = series[index]
    except LookupError as error:
        raise ValueError(
            f"`{name}` has a length of {len(series)}, but no series at position {index}. Give a list of series."
        ) from error
    if not isinstance(item, TimeSeries):
        raise ValueError(_describe_wrong_type(name_of(name, index), item))
    return item


def is_held(series: Any) -> bool:
    """Return whether the series of a sequence are surely in memory, and stay the same objects while it is there."""
    return type(series) in (list, tuple)  # a subclass may make series anew at each access


def name_of(argument: str, index: int | None) -> str:
    """Return how errors name a series, with its position if there are several."""
    return argument if index is None else f"{argument}[{index}]"


def _first(given: Any) -> Any:
    try:
        return given[0] if len(given) else None
    except (LookupError, TypeError, ValueError):
        return None


def _describe_wrong_type(name: str, given: Any) -> str:
    got = type(given).__name__
    if is_held(given):
        items = " and ".join(sorted({type(item).__name__ for item in given})) or "nothing"
        got = f"a {got} of {items}"
    return (
        f"Expected `{name}` to be a Darts TimeSeries or a list of them, got {got}. Tables become series with "
        "`TimeSeries.from_dataframe`."
    )

"""Where a series lies beside its target series, found by a search of their time axes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from darts import TimeSeries

from seq_plugins.windows.sequences import name_of


class Span(NamedTuple):
    """Part of a series, in positions; `stop` is exclusive, and both may lie outside the series."""

    start: int
    stop: int

    def shifted(self, n_steps: int) -> "Span":
        """Return the span that many positions later."""
        return Span(self.start + n_steps, self.stop + n_steps)

    def joined(self, other: "Span") -> "Span":
        """Return the span from the first to the last position of both."""
        return Span(min(self.start, other.start), max(self.stop, other.stop))


class AlignedSeries(NamedTuple):
    """A series beside its target series, and what of it the target's windows need.

    Attributes
    ----------
    prefix
        What stands before the arguments' names in errors, such as ``"val_"``.
    argument
        What it was given as, such as ``"past_covariates"``.
    position
        Its position among several; ``None`` if there is one.
    series
        The series.
    target
        The target series; the same one for targets themselves.
    offset
        Position in `series` of the target's first time step, negative if `series` starts later; ``None`` if they have
        no time step in common.
    needed
        Parts that windows need, in positions of the target, one for each field of a window, in
        their order.
    first_step
        First step of the target that is needed.
    n_steps_before
        Number of steps before it at which the oldest window begins, if it may.
    """

    prefix: str
    argument: str
    position: int | None
    series: TimeSeries
    target: TimeSeries
    offset: int | None
    needed: Sequence[Span]
    first_step: int = 0
    n_steps_before: int = 0

    @property
    def name(self) -> str:
        """How errors name the series."""
        return self.prefix + name_of(self.argument, self.position)

    @property
    def target_name(self) -> str:
        """How errors name the target series."""
        return self.prefix + name_of("series", self.position)

    @property
    def whole_span(self) -> Span:
        """From the first to the last step that is needed, in positions of the target."""
        return Span(self.needed[0].start, self.needed[-1].stop)

    @property
    def reaches(self) -> bool:
        """Whether the series has values for all windows."""
        if self.offset is None:
            return False
        start, stop = self.whole_span.shifted(self.offset)
        return start >= 0 and stop <= len(self.series)


def find_offset(series: TimeSeries, target: TimeSeries) -> int | None:
    """Return the position in `series` of the first time of `target`, negative if `series` starts later.

    The time axes are searched: frequencies without a fixed length, such as business days, can't be counted at once.

    Returns
    -------
    int or None
        ``None`` if the series have no time step in common, or time steps of another frequency.
    """
    if series is target:
        return 0
    if not len(series) or not len(target) or not have_same_frequency(series, target):
        return None
    start, target_start = series.start_time(), target.start_time()
    if start == target_start:
        return 0
    if start < target_start:
        return _find_position(series, target_start)
    position = _find_position(target, start)
    return None if position is None else -position


def have_same_frequency(series: TimeSeries, other: TimeSeries) -> bool:
    """Return whether the time steps of both series are of one frequency."""
    return series.freq is other.freq or bool(series.freq == other.freq)


def _find_position(series: TimeSeries, time: Any) -> int | None:
    times = series.time_index
    if series.has_range_index:
        steps = range(times.start, times.stop, times.step)
        return steps.index(time) if time in steps else None
    position = int(times.searchsorted(time))
    return position if position < len(times) and times[position] == time else None

"""Time stamps as people write them: dates in any order, local times, integers; and the frequency that they have."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd

from seq_plugins._command_line import UserError
from seq_plugins.tables.files import Source, counted, first_three

USUAL_NAMES = ("time", "date", "datetime", "timestamp", "ds", "hour", "day", "week", "month", "quarter", "year", "step")

_SHORT_DATE = r"^\s*(\d{1,2})([./-])(\d{1,2})\2(?:\d{4}|\d{2})(?!\d)"  # 3/4/2024, either way round
_OFFSET = r"\d{1,2}:\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$"
_N_LOOKED_AT = 200
_FIRST_SECOND, _LAST_SECOND = 946_684_800, 4_102_444_800  # of this century, since 1970


def find_time_column(source: Source, day_first: bool | None, taken: Iterable[str]) -> str:
    """Return the column of the time stamps: the only one that holds dates, or the one that has a usual name.

    Parameters
    ----------
    source
        The table.
    day_first
        Whether short dates start with the day; ``None`` if that is not known.
    taken
        Columns that are something else.

    Raises
    ------
    UserError
        If there is none, or several.
    """
    free = [column for column in source.frame.columns if column not in set(taken)]
    found = [column for column in free if _holds_dates(source.frame[column], day_first)]
    usual = [column for column in found or free if column.lower() in USUAL_NAMES]
    if len(found) != 1 and usual:
        return usual[0]
    if len(found) != 1:
        what = f"columns {', '.join(map(repr, found))} hold dates" if found else "no column holds dates"
        raise UserError(
            f"{source.path}: {what}. Name the column of the time stamps with --time; the columns are "
            f"{', '.join(map(repr, source.frame.columns))}."
        )
    return found[0]


def _holds_dates(values: pd.Series, day_first: bool | None) -> bool:
    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    texts = values.dropna().head(_N_LOOKED_AT)
    if pd.api.types.is_numeric_dtype(values) or texts.empty:
        return False
    texts = texts.astype("str")
    is_like_a_date = texts.str.contains(r"\d{4}|\d[./-]\d", regex=True).all()
    return bool(is_like_a_date) and bool(_parsed(texts, bool(day_first)).notna().all())


def _parsed(texts: pd.Series, day_first: bool) -> pd.Series:
    """Return texts as times without a zone, those with offsets as UTC."""
    parsed = pd.to_datetime(texts, dayfirst=day_first, format="mixed", errors="coerce", utc=True)
    return parsed.dt.tz_localize(None).astype("datetime64[ns]")


class Times:
    """The time stamps of a table: integers, or times without a zone, which are UTC where `is_utc`.

    Parameters
    ----------
    stamps
        One for each row.
    is_utc
        Whether they had offsets, and are now UTC.
    day_first
        How short dates were read; ``None`` if there were none.
    """

    def __init__(self, stamps: pd.Series, is_utc: bool = False, day_first: bool | None = None) -> None:
        self.stamps = stamps
        self.is_utc = is_utc
        self.day_first = day_first

    @property
    def are_dates(self) -> bool:
        """Whether they are no integers."""
        return self.stamps.dtype.kind == "M"

    @property
    def have_hours(self) -> bool:
        """Whether some have a time of day."""
        return self.are_dates and bool((self.stamps != self.stamps.dt.normalize()).any())


def read_times(source: Source, column: str, day_first: bool | None, notes: list[str]) -> Times:
    """Return the time stamps of a table.

    Parameters
    ----------
    source
        The table.
    column
        Their column.
    day_first
        Whether short dates start with the day; ``None`` to find out.
    notes
        What has been guessed is told here.

    Raises
    ------
    UserError
        If some are missing, or are neither dates nor integers, or dates can be read in two ways.
    """
    values = source.frame[column]
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise UserError(
            f"{source.path}: column {column!r} has no time stamp in {counted(len(missing), 'row')}: "
            f"{source.places(missing, *source.frame.columns[:3])}. Give these rows one, or name another column with "
            "--time."
        )
    if pd.api.types.is_datetime64_any_dtype(values):
        is_utc = values.dt.tz is not None
        plain = values.dt.tz_convert("UTC").dt.tz_localize(None) if is_utc else values
        return Times(plain.astype("datetime64[ns]"), is_utc)
    if pd.api.types.is_numeric_dtype(values):
        return _read_integers(source, column, notes)
    return _read_dates(source, column, day_first, notes)


def _read_integers(source: Source, column: str, notes: list[str]) -> Times:
    values = source.frame[column]
    broken = np.flatnonzero(values % 1 != 0)
    if len(broken):
        raise UserError(
            f"{source.path}: column {column!r} holds {counted(len(broken), 'number')} with a fraction: "
            f"{source.places(broken, column)}. Give dates such as 2024-01-31, or whole numbers."
        )
    integers = values.astype("int64")
    if integers.between(19000101, 21001231).all():
        dates = pd.to_datetime(integers.astype("str"), format="%Y%m%d", errors="coerce")
        if dates.notna().all():
            notes.append(f"Column {column!r} holds dates as numbers, such as {integers.iloc[0]}.")
            return Times(dates.astype("datetime64[ns]"))
    for unit, in_second in (("seconds", 1), ("milliseconds", 1000)):
        if integers.between(_FIRST_SECOND * in_second, _LAST_SECOND * in_second).all():
            notes.append(f"Column {column!r} holds {unit} since 1970.")
            return Times(
                pd.to_datetime(integers * (1000 // in_second), unit="ms").astype("datetime64[ns]"), is_utc=True
            )
    return Times(integers)


def _read_dates(source: Source, column: str, day_first: bool | None, notes: list[str]) -> Times:
    texts = source.frame[column].astype("str").str.strip()
    codes, distinct = pd.factorize(texts)  # the ids of a long table have the same dates
    unique = pd.Series(distinct).astype("str")
    short = unique.str.extract(_SHORT_DATE)
    is_short = short[0].notna()
    if is_short.any():
        first, second = short[0].astype("float64"), short[2].astype("float64")
        if day_first is None:
            has_dots = bool((short[1].dropna() == ".").all())
            day_first = _guess_day_first(source, column, codes, first, second, has_dots, notes)
        wrong = is_short & ((second if day_first else first) > 12)
    else:
        day_first, wrong = None, pd.Series(False, index=unique.index)
    has_offset = unique.str.contains(_OFFSET, regex=True)
    if has_offset.any() and not has_offset.all():
        without = np.flatnonzero(~has_offset.to_numpy()[codes])
        raise UserError(
            f"{source.path}: column {column!r} has no offset in {counted(len(without), 'row')}, unlike in others: "
            f"{source.places(without, column)}. Write all time stamps with an offset such as +01:00, or none."
        )
    parsed = _parsed(unique, bool(day_first)).mask(wrong)
    bad = np.flatnonzero(parsed.isna().to_numpy()[codes])
    if len(bad):
        hint = "" if day_first is None else f" They were read with the {'day' if day_first else 'month'} first."
        raise UserError(
            f"{source.path}: column {column!r} holds {counted(len(bad), 'text')} where dates are expected: "
            f"{source.places(bad, column)}.{hint} Write dates as 2024-01-31, name another column with --time, or give "
            "--day-first or --no-day-first."
        )
    return Times(pd.Series(parsed.to_numpy()[codes], index=texts.index), bool(has_offset.any()), day_first)


def _guess_day_first(
    source: Source,
    column: str,
    codes: np.ndarray,
    first: pd.Series,
    second: pd.Series,
    has_dots: bool,
    notes: list[str],
) -> bool:
    """Tell which of the two numbers is the day: the one beyond 12."""
    days, is_first = (first > 12, True) if (first > 12).any() or not (second > 12).any() else (second > 12, False)
    if days.any():
        row = int(np.argmax(days.to_numpy()[codes]))
        notes.append(
            f"Dates are read with the {'day' if is_first else 'month'} first, as {source.places([row], column)} says."
        )
        return is_first
    if has_dots:
        notes.append("Dates are read with the day first, as is usual with dots: --no-day-first for the month.")
        return True
    raise UserError(
        f"{source.path}: column {column!r} holds dates that can be read in two ways: "
        f"{source.places(range(len(codes)), column)}. Give --day-first or --no-day-first."
    )


def check_zone(zone: str) -> None:
    """Find out whether there is such a time zone.

    Raises
    ------
    UserError
        If there is none.
    """
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        near = get_close_matches(zone, sorted(available_timezones()), n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"--time-zone: expected a zone such as Europe/Berlin, America/New_York or UTC, got {zone!r}.{meant}"
        ) from error


def to_utc(source: Source, column: str, times: pd.Series, series: pd.Series, zone: str, notes: list[str]) -> pd.Series:
    """Return local times as UTC: of an hour that the clock shows twice, the first rows are summer time's.

    Parameters
    ----------
    source
        The table.
    column
        The column of the times.
    times
        Local times.
    series
        Number of the series of each row.
    zone
        Time zone.
    notes
        What has been guessed is told here.

    Raises
    ------
    UserError
        If the clock skips some of them.
    """
    index = pd.DatetimeIndex(times)
    skipped = np.flatnonzero(index.tz_localize(zone, ambiguous=np.ones(len(index), bool), nonexistent="NaT").isna())
    if len(skipped):
        raise UserError(
            f"{source.path}: column {column!r} holds {counted(len(skipped), 'time stamp')} that {zone} skips when "
            f"summer time begins: {source.places(skipped, column)}. Give --time-zone the zone of the clock that wrote "
            "them: one without summer time, such as Etc/GMT-1, which is one hour ahead of UTC, or UTC."
        )
    is_twofold = index.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
    by_time = pd.DataFrame({"series": series.to_numpy(), "time": times.to_numpy()})
    steps = by_time.groupby("series")["time"].diff()
    is_newest_first = bool((steps < pd.Timedelta(0)).sum() > (steps > pd.Timedelta(0)).sum())
    groups = by_time.groupby(["series", "time"])["time"]
    is_summer = (groups.cumcount(ascending=not is_newest_first) == 0).to_numpy()
    once = int((is_twofold & (groups.transform("size") == 1).to_numpy()).sum())
    if once:
        notes.append(
            f"Of the hours that the clock in {zone} shows twice, {counted(once, 'time stamp')} stand once: taken for "
            "summer time."
        )
    utc = index.tz_localize(zone, ambiguous=is_summer).tz_convert("UTC").tz_localize(None)
    return pd.Series(utc, index=times.index)


def are_of_clock_changes(times: pd.DatetimeIndex) -> bool:
    """Return whether all times are of nights in which summer time usually begins or ends, in the north or the south."""
    is_sunday_night = (times.day_of_week == 6) & (times.hour <= 3)
    return bool((is_sunday_night & times.month.isin([3, 4, 9, 10, 11])).all())


def find_frequency(times: pd.DatetimeIndex) -> str | None:
    """Return the frequency of times, some of which may be absent; ``None`` if they have none.

    Parameters
    ----------
    times
        Distinct times, sorted; at least two.
    """
    steps = times[1:] - times[:-1]
    usual = steps.value_counts().index[0]
    for step in dict.fromkeys((usual, steps.min())):
        for freq in _candidates(times, step):
            if follows(times, freq):
                return freq
    return None


def _candidates(times: pd.DatetimeIndex, step: pd.Timedelta) -> list[str]:
    """Return the frequencies whose steps may be as long as `step`."""
    day, month = times[0].day_name()[:3].upper(), times[0].month_name()[:3].upper()
    days = step / pd.Timedelta(days=1)
    found = []
    if days == 1 and len(times) > 10 and (times.day_of_week < 5).all():
        found = ["B"]
    elif 28 <= days <= 31:
        found = ["MS", "ME", "BMS", "BME"]
    elif 89 <= days <= 92:
        found = [f"QS-{month}", f"QE-{month}"]
    elif 365 <= days <= 366:
        found = [f"YS-{month}", f"YE-{month}"]
    if days % 7 == 0:
        return [*found, f"{'' if days == 7 else int(days // 7)}W-{day}"]
    if days % 1 == 0:
        return [*found, f"{'' if days == 1 else int(days)}D"]
    return [pd.tseries.frequencies.to_offset(step).freqstr]


def follows(times: pd.DatetimeIndex, freq: str) -> bool:
    """Return whether all times are steps of a frequency."""
    return not len(off_steps(times, freq))


def off_steps(times: pd.DatetimeIndex, freq: str) -> pd.DatetimeIndex:
    """Return the times that are no steps of a frequency."""
    return times[~times.isin(time_axis(times, freq))]


def time_axis(times: pd.Index, freq: str | int) -> pd.Index:
    """Return all steps from the first to the last of sorted times."""
    if isinstance(freq, int):
        return pd.RangeIndex(times[0], times[-1] + 1, freq)
    return pd.date_range(times[0], times[-1], freq=freq)


def check_frequency(freq: str) -> None:
    """Find out whether pandas knows a frequency.

    Raises
    ------
    UserError
        If it does not.
    """
    try:
        pd.tseries.frequencies.to_offset(freq)
    except ValueError as error:
        found = re.fullmatch(r"(\d*)([A-Za-z]+)(-\w+)?", freq)
        name = "" if found is None else _FORMER_NAMES.get(found[2]) or _FORMER_NAMES.get(found[2].upper(), "")
        hint = f" Did you mean {found[1]}{name}{(found[3] or '').upper()}?" if found is not None and name else ""
        raise UserError(
            f"--freq: expected one of pandas' names such as h, 15min, D, B, W-MON, MS or QS, got {freq!r}.{hint}"
        ) from error


_FORMER_NAMES = {
    "H": "h",
    "T": "min",
    "m": "min",
    "S": "s",
    "M": "ME",
    "BM": "BME",
    "Q": "QE",
    "BQ": "BQE",
    "A": "YE",
    "Y": "YE",
    "BA": "BYE",
    "BY": "BYE",
}
"""Names of frequencies that pandas had before its version 3, and what they are now."""


def local_times(times: pd.Index, zone: str | None) -> pd.Index:
    """Return times as the clock in a zone shows them; without a zone, and of integers, as they stand."""
    if zone is None or not isinstance(times, pd.DatetimeIndex):
        return times
    return times.tz_localize("UTC").tz_convert(zone).tz_localize(None)


def written(times: pd.Index, zone: str | None) -> list[Any]:
    """Return times as they are written: numbers, dates, or local times with their offset."""
    if not isinstance(times, pd.DatetimeIndex):
        return [int(time) for time in times]
    if zone is not None:
        return [time.isoformat(sep=" ") for time in times.tz_localize("UTC").tz_convert(zone)]
    have_hours = (times != times.normalize()).any()
    return [time.isoformat(sep=" ") if have_hours else str(time.date()) for time in times]


def is_of_days(freq: str) -> bool:
    """Return whether the steps of a frequency are whole days or longer."""
    if freq.isdigit():
        return False
    start = pd.Timestamp("2024-01-01")
    return bool(start + pd.tseries.frequencies.to_offset(freq) - start >= pd.Timedelta(days=1))


def irregular(path: object, column: str, times: pd.DatetimeIndex, freq: str | None) -> UserError:
    """Return the error of times that have no frequency, or not the one asked for."""
    if freq is None:
        steps = pd.Series(times[1:] - times[:-1])
        usual = steps.mode()[0]
        off = times[1:][(steps != usual).to_numpy()]
        what = (
            f"the time stamps of column {column!r} are irregular: {len(off):,} of {len(steps):,} steps are not {usual}"
        )
        freq = "D" if usual >= pd.Timedelta(hours=12) else "h"
    else:
        off = off_steps(times, freq)
        what = f"column {column!r}: {counted(len(off), 'time stamp')} off the steps of --freq {freq}"
    return UserError(
        f"{path}: {what}: {first_three(map(str, off), len(off))}. Bring them to one, such as with --freq {freq} "
        "--resample mean (or sum, or last)."
    )

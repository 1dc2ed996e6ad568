"""The rows of a table: columns named or found, values as numbers or categories, times as UTC or integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seq_plugins._command_line import UserError
from seq_plugins.tables.files import Source, counted, first_three, holds_texts, read_source, to_numbers
from seq_plugins.tables.times import (
    are_of_clock_changes,
    check_frequency,
    check_zone,
    find_time_column,
    is_of_days,
    read_times,
    to_utc,
)

MOST_CATEGORIES = 100


@dataclass(frozen=True)
class TableOptions:
    """How a table is read. What is ``None`` is found out, where it can be.

    Parameters
    ----------
    target
        Columns to forecast.
    time
        Column of the time stamps.
    id
        Column that says to which series a row belongs; ``None`` for a table of one series.
    static
        Columns that are the same in all rows of a series.
    future
        Columns known in advance.
    past
        Columns known up to the forecast only.
    time_zone
        Zone of local times; ``None`` if times are taken as they stand.
    day_first
        Whether short dates start with the day.
    freq
        Frequency, as pandas writes it, or a number for integer time stamps.
    resample
        How the values of a step become one: ``"mean"``, ``"sum"`` or ``"last"``; ``None`` if rows are steps.
    missing
        What is done about missing values: ``"keep"``, ``"zero"`` or ``"interpolate"``.
    categories
        Texts that the columns of texts hold; ``None`` to take those of the table.
    """

    target: Sequence[str]
    time: str | None = None
    id: str | None = None
    static: Sequence[str] = ()
    future: Sequence[str] = ()
    past: Sequence[str] = ()
    time_zone: str | None = None
    day_first: bool | None = None
    freq: str | None = None
    resample: str | None = None
    missing: str = "keep"
    categories: Mapping[str, Sequence[str]] | None = None

    @property
    def axis_zone(self) -> str | None:
        """Zone of a series' times, which are UTC then; ``None`` if they are taken as they stand, as days are."""
        are_days = self.resample is not None and self.freq is not None and is_of_days(self.freq)
        return None if are_days else self.time_zone

    @property
    def covariates(self) -> list[str]:
        """Columns known in advance or up to the forecast."""
        return [*self.future, *self.past]

    @property
    def columns(self) -> list[str]:
        """All columns that are read, in the order of :class:`Rows`."""
        key = [] if self.id is None else [self.id]
        return [*key, *([] if self.time is None else [self.time]), *self.target, *self.covariates, *self.static]


@dataclass(frozen=True)
class Rows:
    """The rows of a table, each time of a series once unless they are to be resampled.

    Parameters
    ----------
    frame
        The columns that the options name, sorted: times as UTC, or as they stand without a zone, or as integers;
        targets as numbers, covariates and statics as numbers or texts.
    options
        How it was read, with what has been found out but for the frequency and the categories.
    path
        File of the table, for errors.
    notes
        What has been guessed.
    """

    frame: pd.DataFrame
    options: TableOptions
    path: Path
    notes: list[str] = field(default_factory=list)

    @property
    def time(self) -> str:
        """Column of the time stamps."""
        assert self.options.time is not None  # noqa: S101 it has been found
        return self.options.time

    @property
    def key(self) -> list[str]:
        """Columns that tell the rows apart."""
        return [self.time] if self.options.id is None else [self.options.id, self.time]


def read_rows(path: Path, options: TableOptions, is_first: bool = True) -> Rows:
    """Read a table.

    Parameters
    ----------
    path
        CSV or Parquet file.
    options
        How it is read.
    is_first
        Whether anything has to be found out; not so of a table that continues one.

    Raises
    ------
    UserError
        If it cannot be read that way. The error counts what is wrong, says where the first three places are, and names
        the option that helps.
    """
    _check_options(options)
    texts = [column for column in (options.id, *options.static) if column is not None]
    source, notes = read_source(path, texts), list[str]()
    _check_columns(source, options)
    if options.time is None:
        options = replace(options, time=find_time_column(source, options.day_first, options.columns))
        notes.append(f"Time stamps are in column {options.time!r} (--time names another).")
    source = replace(source, frame=source.frame.dropna(how="all"))
    assert options.time is not None  # noqa: S101 it has been found
    times = read_times(source, options.time, options.day_first, notes)
    ids = _read_ids(source, options)
    zone, values = options.time_zone, times.stamps
    if zone is not None and is_first and not times.have_hours:
        notes.append("--time-zone changes nothing: the time stamps have no time of day.")
        zone = None
    elif times.is_utc and zone is None:
        notes.append("Forecasts have times in UTC, as the table's offsets tell it; --time-zone names a zone.")
        zone = "UTC"
    elif zone is not None and not times.is_utc:
        values = to_utc(source, options.time, values, pd.Series(pd.factorize(ids)[0]), zone, notes)
    options = replace(options, time_zone=zone, day_first=times.day_first)
    frame = pd.DataFrame({options.time: values})
    if options.id is not None:
        frame.insert(0, options.id, ids)
    if options.resample is None:
        _check_duplicates(source, frame, options, times.have_hours and not times.is_utc)
    for column in options.target:
        frame[column] = to_numbers(source, column, notes)
    for column in [*options.covariates, *options.static]:
        frame[column] = _read_covariate(source, column, options, notes)
    rows = Rows(frame, options, path, notes)
    _check_statics(rows)
    return replace(rows, frame=frame.sort_values(rows.key, kind="stable", ignore_index=True))


def _check_options(options: TableOptions) -> None:
    roles = {"--target": options.target, "--time": [options.time], "--id": [options.id]}
    roles |= {"--static": options.static, "--future": options.future, "--past": options.past}
    named: dict[str, str] = {}
    for option, columns in roles.items():
        for column in columns:
            if column is None:
                continue
            if column in named:
                raise UserError(
                    f"{named[column]} and {option}: column {column!r} can be only one of them. Name it once."
                )
            named[column] = option
    if options.static and options.id is None:
        raise UserError("--static: what never changes tells series apart. Name the column of their ids with --id.")
    if options.time_zone is not None:
        check_zone(options.time_zone)
    if options.resample is not None and options.freq is None:
        raise UserError("--resample: give the steps to resample to with --freq, such as --freq D.")
    if options.freq is not None and not options.freq.isdigit():
        check_frequency(options.freq)


def _check_columns(source: Source, options: TableOptions) -> None:
    known = list(source.frame.columns)
    for column in options.columns:
        if column not in known:
            near = get_close_matches(column.lower(), [name.lower() for name in known], n=1)
            meant = [f" Did you mean {name!r}?" for name in known if name.lower() in near]
            names = ", ".join(map(repr, known))
            raise UserError(f"{source.path}: no column {column!r}; its columns are {names}.{''.join(meant)}")


def _read_ids(source: Source, options: TableOptions) -> pd.Series:
    if options.id is None:
        return pd.Series("", index=source.frame.index)
    values = source.frame[options.id]
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise UserError(
            f"{source.path}: column {options.id!r} has no id in {counted(len(missing), 'row')}: "
            f"{source.places(missing, *source.frame.columns[:3])}. Give these rows one, or leave them out."
        )
    return values.astype("str")


def _check_duplicates(source: Source, frame: pd.DataFrame, options: TableOptions, may_be_local: bool) -> None:
    """Refuse a time that stands more than once in a series, with what may be meant by it."""
    is_twofold = frame.duplicated()
    if not is_twofold.any():
        return
    keys = list(frame.columns)
    rows = np.flatnonzero(is_twofold)
    clocks = [column for column in source.frame.columns if column.lower() in ("hour", "time") and column != keys[-1]]
    possible_ids = _possible_ids(source, frame[keys[-1]], options)
    remedy = "To make one value of them, give --resample mean (or sum, or last) and the steps with --freq."
    if (
        options.time_zone is None
        and may_be_local
        and are_of_clock_changes(pd.DatetimeIndex(frame.loc[is_twofold, keys[-1]]))
    ):
        remedy = (
            "They are in nights in which summer time ends, when the clock shows an hour twice: name its zone, such as "
            "--time-zone Europe/Berlin, and all are kept."
        )
    elif clocks:
        remedy = f"Join columns {keys[-1]!r} and {clocks[0]!r} in one of times, such as 2024-01-31 14:00."
    elif possible_ids:
        remedy = (
            f"Column {possible_ids[0]!r} tells them apart: if it says which series a row is of, give --id "
            f"{possible_ids[0]}. {remedy}"
        )
    of_what = "" if options.id is None else f" for the same {options.id!r}"
    raise UserError(
        f"{source.path}: column {keys[-1]!r} repeats a time stamp{of_what} in {counted(len(rows), 'row')}: "
        f"{source.places(rows, *keys)}. {remedy}"
    )


def _possible_ids(source: Source, stamps: pd.Series, options: TableOptions) -> list[str]:
    """Return the columns with which each time would stand once, those with the fewest values first."""
    found = {}
    for column in source.frame.columns:
        values = source.frame[column]
        is_number = pd.api.types.is_float_dtype(values)
        if column in options.columns or is_number or values.isna().any():
            continue
        n_values = values.nunique()
        if 1 < n_values <= len(values) / 2 and not pd.concat([stamps, values], axis=1).duplicated().any():
            found[column] = n_values
    return sorted(found, key=lambda column: found[column])


def _read_covariate(source: Source, column: str, options: TableOptions, notes: list[str]) -> pd.Series:
    """Return a column of numbers as numbers, and one of texts as texts, which are categories."""
    known = options.categories or {}
    if column not in known and (options.categories is not None or not holds_texts(source, column)):
        return to_numbers(source, column, notes)
    values = source.frame[column]
    texts = values.astype("str").str.strip().where(values.notna()).astype("object")
    if column in known:
        unknown = np.flatnonzero(texts.notna() & ~texts.isin(list(known[column])))
        if len(unknown):
            raise UserError(
                f"{source.path}: column {column!r} holds {counted(len(unknown), 'text')} that the model does not know: "
                f"{source.places(unknown, column)}. Add --refit to train it again, or write one of "
                f"{first_three(map(repr, known[column]), len(known[column]))}."
            )
        return texts
    n_texts = texts.nunique()
    if n_texts > MOST_CATEGORIES:
        raise UserError(
            f"{source.path}: column {column!r} holds {n_texts:,} different texts: "
            f"{first_three(map(repr, texts.dropna().unique()), n_texts)}. At most {MOST_CATEGORIES} can be categories: "
            "leave it out, or name a column of groups."
        )
    notes.append(f"Column {column!r} holds categories: {first_three(map(repr, texts.dropna().unique()), n_texts)}.")
    return texts


def _check_statics(rows: Rows) -> None:
    for column in rows.options.static:
        n_values = rows.frame.groupby(rows.options.id).agg({column: "nunique"})[column]
        changing = list(n_values.index[n_values > 1])
        if changing:
            raise UserError(
                f"{rows.path}: --static {column}: it changes within {len(changing):,} series: "
                f"{first_three(map(str, changing), len(changing))}. Name it with --future if it is known in advance, "
                "else with --past."
            )


def join_rows(old: Rows, new: Rows) -> Rows:
    """Return the rows of both; where a time of a series stands in both, the new row counts.

    Rows that are to be resampled are not told apart by their times: of each series, those of `new` take the place of
    the old ones from its first on.

    Parameters
    ----------
    old
        Rows as they were.
    new
        Rows read with the same options.
    """
    before = old.frame
    if old.options.resample is not None:
        first = new.frame.groupby(old.key[:-1])[old.time].min() if old.key[:-1] else new.frame[old.time].min()
        starts = before[old.options.id].map(first) if old.options.id is not None else first
        before = before[~(before[old.time] >= starts)]
    joined = pd.concat([before, new.frame], ignore_index=True)
    if old.options.resample is None:
        joined = joined.drop_duplicates(old.key, keep="last")
    rows = replace(old, frame=joined.sort_values(old.key, kind="stable", ignore_index=True), path=new.path)
    _check_statics(rows)
    return rows


def categories_of(rows: Rows) -> dict[str, list[str]]:
    """Return the texts that the columns of texts hold, in alphabetical order."""
    columns: Any = rows.frame[[*rows.options.covariates, *rows.options.static]]
    return {
        column: sorted(columns[column].dropna().astype("str").unique())
        for column in columns
        if not pd.api.types.is_numeric_dtype(columns[column])
    }

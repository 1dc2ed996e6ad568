"""CSV and Parquet files as they stand, with the place of each row for what is told of it."""

import csv
import gzip
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seq_plugins._command_line import UserError

_DELIMITERS = (",", ";", "\t", "|")
_PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_N_PLACES = 3


@dataclass(frozen=True)
class Source:
    """A table as it stands in its file.

    Parameters
    ----------
    path
        Path of the file.
    frame
        The table; its index is the number of each row in the file, from 0.
    delimiter
        What stands between the values of a CSV file; empty for a Parquet file.
    """

    path: Path
    frame: pd.DataFrame
    delimiter: str

    def places(self, rows: Iterable[int], *columns: str) -> str:
        """Return where the first three of some rows are, what stands there in some columns, and how many more follow.

        Parameters
        ----------
        rows
            Positions of the rows.
        *columns
            Columns whose values are shown.
        """
        positions = list(rows)
        kind, offset = ("line", 2) if self.delimiter else ("row", 1)
        shown = (
            f"{kind} {self.frame.index[position] + offset} ({self._shown(position, columns)})" for position in positions
        )
        return first_three(shown, len(positions))

    def _shown(self, position: int, columns: Iterable[str]) -> str:
        values = [self.frame[column].iloc[position] for column in columns]
        return ", ".join("empty" if pd.isna(value) else str(value) for value in values)


def first_three(places: Iterable[str], n_all: int) -> str:
    """Return the first three of `n_all` places, and how many more there are."""
    named = list(islice(places, _N_PLACES))
    more = n_all - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1,200 values``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def read_source(path: Path, texts: Collection[str]) -> Source:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path
        Path of the file; ``.parquet`` is Parquet, everything else CSV, whose delimiter is found in its first line.
    texts
        Columns whose values are texts, also where they look like numbers or stand for missing values elsewhere.

    Raises
    ------
    UserError
        If it cannot be read, or has no rows.
    """
    if path.suffix.lower() in _SPREADSHEETS:
        raise UserError(f"{path}: spreadsheets are not read. Save the sheet as a CSV file (UTF-8).")
    is_parquet = path.suffix.lower() in _PARQUET
    try:
        source = _read_parquet(path) if is_parquet else _read_csv(path, texts)
    except ImportError as error:
        raise UserError(f"{path}: Parquet is read with pyarrow: pip install pyarrow. Or give a CSV file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as a CSV file: it is not in UTF-8. Save it as UTF-8.") from error
    except (OSError, ValueError, EOFError, pd.errors.ParserWarning) as error:  # errors of pandas are ValueErrors
        told = str(error.strerror if isinstance(error, OSError) and error.strerror else error).strip()
        reason = (told.splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{path}: cannot be read as a {'Parquet' if is_parquet else 'CSV'} file: {reason}.") from error
    frame = source.frame
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if frame.empty:
        raise UserError(f"{path}: holds no rows. Give a table with a row for each time step.")
    return source


def _read_csv(path: Path, texts: Collection[str]) -> Source:
    options: dict[str, Any] = {
        "sep": _find_delimiter(path),
        "encoding": "utf-8-sig",
        "index_col": False,
        "skip_blank_lines": False,  # so that lines can be counted
        "low_memory": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # lines longer than the header
        frame = pd.read_csv(path, **options)
        return Source(path, with_texts(frame, path, texts, **options), options["sep"])


def with_texts(frame: pd.DataFrame, path: Path, columns: Collection[str], **options: Any) -> pd.DataFrame:
    """Return a CSV file's table with some columns as they stand: the id NA is not missing, and 007 is no number.

    Parameters
    ----------
    frame
        The table as pandas reads it.
    path
        Path of the file.
    columns
        Names of the columns; one that the table lacks is passed over.
    **options
        Of ``pd.read_csv``, with which `frame` was read.
    """
    names = [name for name in frame.columns if name.strip() in columns]
    if not names:
        return frame
    # read once more: pandas has no option for single columns, and 3.1 looks for NA in what converters return, too
    texts = pd.read_csv(path, usecols=names, dtype="str", keep_default_na=False, **options)
    stripped = {name: texts[name].str.strip() for name in names}
    return frame.assign(**{name: values.where(values != "") for name, values in stripped.items()})


def _find_delimiter(path: Path) -> str:
    """Return what the first line has the most of, outside of quotes."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        header = file.readline().decode("utf-8-sig")
    n_columns = {delimiter: len(next(csv.reader([header], delimiter=delimiter), [])) for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=lambda delimiter: n_columns[delimiter])


def _read_parquet(path: Path) -> Source:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return Source(path, frame.reset_index(drop=True), "")


def to_numbers(source: Source, column: str, notes: list[str]) -> pd.Series:
    """Return a column as float64, with NaN where nothing stands.

    Parameters
    ----------
    source
        The table.
    column
        Name of the column.
    notes
        What has been guessed is told here.

    Raises
    ------
    UserError
        If something else than numbers, or infinity, stands there.
    """
    numbers, has_commas = _as_numbers(source, column)
    if has_commas:
        notes.append(f"Column {column!r} has decimal commas.")
    wrong = np.flatnonzero(source.frame[column].notna() & numbers.isna())
    if len(wrong):
        raise UserError(
            f"{source.path}: column {column!r} holds {counted(len(wrong), 'text')} where numbers are expected: "
            f"{source.places(wrong, column)}. Write numbers as 1234.5, without units or thousands separators, or leave "
            "them empty: --missing says what is done about those."
        )
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise UserError(
            f"{source.path}: column {column!r} holds {counted(len(infinite), 'infinite value')}: "
            f"{source.places(infinite, column)}. Write numbers, or leave them empty."
        )
    return numbers


def holds_texts(source: Source, column: str) -> bool:
    """Return whether a column holds names of categories: most of its values are no numbers."""
    numbers, _ = _as_numbers(source, column)
    is_there = source.frame[column].notna()
    return bool(is_there.any()) and bool(numbers[is_there].isna().mean() > 0.5)


def _as_numbers(source: Source, column: str) -> tuple[pd.Series, bool]:
    """Return what of a column are numbers, and whether they are written with decimal commas."""
    values = source.frame[column]
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    if source.delimiter in ("", ",") or not (values.notna() & numbers.isna()).any():
        return numbers, False
    texts = values.astype("str").str.strip()
    if not texts[values.notna()].str.fullmatch(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?").all():
        return numbers, False
    plain = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pd.to_numeric(plain.where(values.notna()), errors="coerce").astype("float64"), True

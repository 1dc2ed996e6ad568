"""Validation of texts, labels and weights."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd


def check_texts(texts: Any, name: str = "texts", allow_none: bool = False) -> list[str]:
    """Return `texts` as a list of strings.

    Parameters
    ----------
    texts
        Strings, in any collection with one dimension: list, tuple, generator, NumPy array, pandas series.
    name
        Name of the argument, for the errors.
    allow_none
        Whether there may be no text at all.

    Raises
    ------
    TypeError
        If `texts` is a single string or no collection, or an entry is not a string. It says where.
    ValueError
        If there are no texts, or more dimensions than one.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"Expected {name} to be a collection of texts, got a single {type(texts).__name__}. Put it in a list."
        )
    if not isinstance(texts, Iterable) or isinstance(texts, dict):
        raise TypeError(f"Expected {name} to be a collection of texts, got {type(texts).__name__}.")
    n_dimensions = getattr(texts, "ndim", 1)
    if n_dimensions != 1:
        raise ValueError(
            f"Expected {name} to have one dimension, one text per sample, got {n_dimensions}. "
            "Take a single column, such as frame['text'], or use `.ravel()`."
        )
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"Expected every entry of {name} to be a string, {_tell_entry(text, name, place, texts)}")
    if not found and not allow_none:
        raise ValueError(f"Expected at least one text in {name}, found 0 sample(s).")
    return [str(text) if type(text) is not str else text for text in found]  # NumPy's strings are slower


def _tell_entry(entry: Any, name: str, place: int, texts: Any) -> str:
    found = f"{type(entry).__name__} {str(entry)[:40]!r}"
    if _is_missing(entry):
        found = "None" if entry is None else "NA" if entry is pd.NA else "NaN"
    if isinstance(entry, bytes):
        remedy = "Decode it first, such as with text.decode('utf-8')."
    elif _is_missing(entry):
        remedy = "Leave it out, or put an empty string in its place."
    elif isinstance(entry, list | tuple):
        remedy = "Give texts, not their tokens: join these with ' '.join(...); `tokenizer` is what splits texts."
    else:
        remedy = "Turn it into text first, with str(...), if that is what you mean."
    return f"got {found} at {_tell_place(name, place, texts)}. {remedy}"


def _is_missing(entry: Any) -> bool:
    return entry is None or entry is pd.NA or entry is pd.NaT or (isinstance(entry, float) and np.isnan(entry))


def _tell_place(name: str, place: int, entries: Any) -> str:
    """Return where an entry stands, as the user of a list, or of a data frame's column, would look for it."""
    if not isinstance(entries, pd.Series):
        return f"{name}[{place}]"
    column = "" if entries.name is None else f" of the column {entries.name!r}"
    return f"{name}.iloc[{place}], row {entries.index[place]!r}{column}"


def check_labels(labels: Any, n_texts: int) -> np.ndarray:
    """Return `labels` as an array with one label a text.

    Parameters
    ----------
    labels
        Labels of any type that can be compared.
    n_texts
        Number of texts.

    Raises
    ------
    ValueError
        If there are none, not as many as texts, or they are not classes.
    """
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import check_classification_targets

    if labels is None:
        raise ValueError("Expected labels in y: requires y to be passed, but the target y is None.")
    if isinstance(labels, pd.Series) and labels.isna().any():  # which scikit-learn takes for labels, or turns into them
        labels = labels.astype(object)
    checked: np.ndarray = column_or_1d(labels, warn=True)
    if len(checked) != n_texts:
        raise ValueError(f"Expected one label for each text, got {n_texts} texts and {len(checked)} labels in y.")
    if checked.dtype.kind == "f" and not np.isfinite(checked).all():
        place = int(np.flatnonzero(~np.isfinite(checked))[0])
        raise ValueError(
            f"Expected labels without NaN or infinity, got {checked[place]} at {_tell_place('y', place, labels)}."
        )
    if checked.dtype.kind == "O":
        for place, label in enumerate(checked):
            if _is_missing(label):
                raise ValueError(
                    f"Expected labels without NaN, NA or None, got {label} at {_tell_place('y', place, labels)}. Leave "
                    "the text out."
                )
    check_classification_targets(checked)
    return checked


def check_sample_weight(sample_weight: Any, n_texts: int) -> np.ndarray:
    """Return one weight a text, float64; ones if `sample_weight` is ``None``.

    Parameters
    ----------
    sample_weight
        Weights, not negative and not all zero, or ``None``.
    n_texts
        Number of texts.

    Raises
    ------
    ValueError
        If the weights do not fit.
    """
    if sample_weight is None:
        return np.ones(n_texts)
    weights: np.ndarray = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar: expected one number for each text.")
    if len(weights) != n_texts:
        raise ValueError(f"Expected {n_texts} numbers in sample_weight, one for each text, got {len(weights)}.")
    if not np.isfinite(weights).all() or (weights < 0).any():
        place = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise ValueError(
            f"Expected sample_weight to hold numbers of at least 0, got {weights[place]} at sample_weight[{place}]."
        )
    if not weights.any():
        raise ValueError("Expected a number above 0 in sample_weight: with all weights zero there is nothing to learn.")
    return weights

"""What tests of data sets share: batches of ours beside those of Darts, field by field."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.utils import n_steps_between
from torch.utils.data import DataLoader


def batches_of(dataset: Any, collate: Callable[[Any], Any], batch_size: int = 4, shuffle: bool = True) -> list[Any]:
    """Draw all batches, with fixed seeds."""
    np.random.seed(3)  # noqa: NPY002 (Darts draws from the global generator)
    generator = torch.Generator().manual_seed(3)
    return list(DataLoader(dataset, batch_size, shuffle=shuffle, generator=generator, collate_fn=collate))


def samples_of(dataset: Any) -> list[Any]:
    """Draw all samples one by one, with fixed seeds."""
    np.random.seed(5)  # noqa: NPY002
    return [dataset[index] for index in range(len(dataset))]


def error_of(read: Callable[[], Any]) -> str | None:
    """Return what the ``ValueError`` says that `read` raises, if it does."""
    try:
        read()
    except ValueError as error:
        return str(error)
    return None


def assert_equal_batches(batch: Any, expected: Any) -> None:
    """Compare all fields: values, data types, places in memory, and the schemas' entries one by one."""
    assert type(batch) is type(expected)
    for field in fields(expected):
        ours, theirs = getattr(batch, field.name), getattr(expected, field.name)
        if isinstance(theirs, torch.Tensor):
            assert ours.dtype == theirs.dtype, field.name
            assert ours.is_contiguous() or not theirs.is_contiguous(), field.name
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True, msg=field.name)
        elif field.name == "series_schema":
            assert type(ours) is list
            for schema, expected_schema in zip(ours, theirs, strict=True):
                assert list(schema) == list(expected_schema)
                assert all(schema[key] is expected_schema[key] for key in schema if key not in ("time_freq", "columns"))
                assert schema["time_freq"] == expected_schema["time_freq"]
                assert schema["columns"].equals(expected_schema["columns"])
        elif field.name == "pred_time":
            assert type(ours) is list
            assert ours == theirs
            for time, expected_time in zip(ours, theirs, strict=True):  # Darts' integers are now and then NumPy's
                assert type(time) in (int, type(expected_time))
            assert [getattr(time, "unit", None) for time in ours] == [getattr(time, "unit", None) for time in theirs]
        else:
            assert ours is None, field.name
            assert theirs is None, field.name


class LazySeries:
    """Makes a series anew each time that it is asked for one, and counts how often it is; no ``Sequence``."""

    def __init__(self, series: Sequence[TimeSeries]) -> None:
        self._series = series
        self.reads = [0] * len(series)

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, index: int) -> TimeSeries:
        series = self._series[index]
        self.reads[index] += 1
        return series.copy()


@contextmanager
def assert_no_time_axis_is_walked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if steps are counted with ``n_steps_between``, which walks over time where steps have no fixed length."""
    n_calls = 0

    def count(*args: Any, **kwargs: Any) -> int:
        nonlocal n_calls
        n_calls += 1
        n_steps: int = n_steps_between(*args, **kwargs)
        return n_steps

    with monkeypatch.context() as patch:
        for module in list(sys.modules.values()):
            if vars(module).get("n_steps_between") is n_steps_between and module.__name__ != __name__:
                patch.setattr(module, "n_steps_between", count)
        yield
    assert n_calls == 0

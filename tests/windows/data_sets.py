"""What tests of data sets share: batches of ours beside those of Darts, field by field."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
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

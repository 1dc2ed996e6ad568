"""How windows reach the network, and where they are gathered."""

from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch, TorchTrainingSample, _batch_collate_fn_train

from seq_plugins.windows import WindowsTrainingDataset, configure_dataloaders
from tests.conftest import make_series, with_static_covariates


def _data_set(**arguments: Any) -> WindowsTrainingDataset:
    return WindowsTrainingDataset(
        series=[with_static_covariates(make_series(length)) for length in (20, 30)],
        future_covariates=[make_series(40, seed=1)] * 2,
        input_chunk_length=5,
        output_chunk_length=3,
        **arguments,
    )


def _data_module(data_set: WindowsTrainingDataset, **dataloader_kwargs: Any) -> TorchDataModule:
    arguments = {"collate_fn": _batch_collate_fn_train} | dataloader_kwargs
    collate = arguments.pop("collate_fn")
    return TorchDataModule(train_dataset=data_set, batch_size=4, collate_fn=collate, dataloader_kwargs=arguments)


def test_loaders_hand_over_whole_batches() -> None:
    data_set = _data_set()
    data_module = _data_module(data_set)
    configure_dataloaders(data_module, None)
    assert data_set.returns_batches
    batches = list(data_module.train_dataloader())
    assert all(isinstance(batch, TorchTrainingBatch) for batch in batches)
    assert sum(len(batch.past_target) for batch in batches) == len(data_set)


def test_a_collate_function_of_the_user_is_given_samples() -> None:
    def collate(samples: list[TorchTrainingSample]) -> TorchTrainingBatch:
        assert all(isinstance(sample, TorchTrainingSample) for sample in samples)
        return _batch_collate_fn_train(samples)

    data_set = _data_set()
    data_set.returns_batches = True  # from a training before
    data_module = _data_module(data_set, collate_fn=collate)
    configure_dataloaders(data_module, {"collate_fn": collate})
    assert not data_set.returns_batches
    assert sum(len(batch.past_target) for batch in data_module.train_dataloader()) == len(data_set)


@pytest.mark.parametrize("given", [None, True, False])
def test_memory_is_pinned_where_there_is_an_accelerator_or_as_the_user_says(given: bool | None) -> None:
    arguments = {} if given is None else {"pin_memory": given}
    data_module = _data_module(_data_set(), **arguments)
    configure_dataloaders(data_module, arguments)
    expected = torch.accelerator.is_available() if given is None else given
    assert data_module.dataloader_kwargs["pin_memory"] == expected


def test_values_moved_to_a_device_are_gathered_there() -> None:
    """On the device without memory, where shapes and types can be seen and nothing else."""
    here, there = _data_set(), _data_set()
    here.returns_batches = there.returns_batches = True
    assert there.gather_on(torch.device("meta"))
    expected, batch = (data_set.__getitems__([3, 17, 30]) for data_set in (here, there))
    for name in (
        "past_target",
        "future_target",
        "historic_future_covariates",
        "future_covariates",
        "static_covariates",
    ):
        ours, theirs = getattr(batch, name), getattr(expected, name)
        assert ours.device.type == "meta"
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)


def test_values_that_leave_too_little_memory_stay_where_they_are() -> None:
    data_set = _data_set()
    n_bytes = 4 * (20 + 30 + 30) + 4 * 2 * 2  # both series, what they need of the one covariates, and the static ones
    assert not data_set.gather_on(torch.device("meta"), most_bytes=n_bytes - 1)
    data_set.returns_batches = True
    np.testing.assert_array_equal(data_set.__getitems__([0]).past_target[0], data_set[0].past_target)
    assert data_set.gather_on(torch.device("meta"), most_bytes=n_bytes)

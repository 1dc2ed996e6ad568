"""How windows reach the network: whole batches through Darts' data module."""

from collections.abc import Mapping
from typing import Any

import torch
from darts.utils.data.torch_datasets._data_module import TorchDataModule

from seq_plugins.windows.gathering import BatchedWindows
from seq_plugins.windows.inference import collate_inference
from seq_plugins.windows.training import collate_training


def load_whole_batches(data_module: TorchDataModule, dataloader_kwargs: Mapping[str, Any] | None) -> None:
    """Let the loaders of a data module hand over whole batches, unless the user puts samples together themself.

    Parameters
    ----------
    data_module
        Data module, as Darts has made it for training or prediction.
    dataloader_kwargs
        What the user gave for the loaders; it wins.
    """
    given = dataloader_kwargs or {}
    whole_batches = "collate_fn" not in given
    for dataset in (data_module.train_dataset, data_module.val_dataset, data_module.predict_dataset):
        if isinstance(dataset, BatchedWindows):
            dataset.hand_over_batches = whole_batches
    if whole_batches:
        collate = collate_training if data_module.predict_dataset is None else collate_inference
        data_module.dataloader_kwargs["collate_fn"] = collate
    if "pin_memory" not in given:
        data_module.dataloader_kwargs["pin_memory"] = torch.accelerator.is_available()

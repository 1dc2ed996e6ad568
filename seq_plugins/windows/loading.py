"""How windows reach the network: whole batches through Darts' data module."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from pytorch_lightning import LightningDataModule

from seq_plugins._private_names import TorchDataModule
from seq_plugins.windows.gathering import BatchedWindows
from seq_plugins.windows.inference import collate_inference
from seq_plugins.windows.training import collate_training

_SHARE_OF_DEVICE_MEMORY = 0.25


def configure_dataloaders(
    data_module: TorchDataModule, dataloader_kwargs: Mapping[str, Any] | None, device: torch.device | None = None
) -> None:
    """Let the loaders of a data module hand over whole batches, unless the user puts samples together themself.

    Parameters
    ----------
    data_module
        Data module, as Darts has made it for training or prediction.
    dataloader_kwargs
        What the user gave for the loaders; it wins.
    device
        The one device that computes, if there is just one. On a GPU the values are kept, and batches gathered, there,
        where they leave enough memory to the network.
    """
    given = dataloader_kwargs or {}
    whole_batches = "collate_fn" not in given
    given_data_sets = (data_module.train_dataset, data_module.val_dataset, data_module.predict_dataset)
    data_sets = [data_set for data_set in given_data_sets if data_set is not None]
    for data_set in data_sets:
        if isinstance(data_set, BatchedWindows):
            data_set.returns_batches = whole_batches
    if whole_batches:
        collate = collate_training if data_module.predict_dataset is None else collate_inference
        data_module.dataloader_kwargs["collate_fn"] = collate
    pin_memory = torch.accelerator.is_available()
    if whole_batches and device is not None and device.type == "cuda" and not given.get("num_workers"):
        free_bytes, _ = torch.cuda.mem_get_info(device)
        most_bytes = _SHARE_OF_DEVICE_MEMORY * free_bytes / len(data_sets)
        for data_set in data_sets:
            if isinstance(data_set, BatchedWindows) and data_set.gather_on(device, most_bytes):
                pin_memory = False  # only what lies in the processor's memory can be pinned
    if "pin_memory" not in given:
        data_module.dataloader_kwargs["pin_memory"] = pin_memory


def leave_batches_on_cpu(data_module: TorchDataModule) -> None:
    """Let a data module hand batches to a network on the CPU as they are: Lightning looks at each of their parts.

    Parameters
    ----------
    data_module
        Data module, as Darts has made it for training.
    """
    data_module.transfer_batch_to_device = partial(_transfer, data_module)


def _transfer(data_module: TorchDataModule, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
    if isinstance(batch, TorchTrainingBatch) and batch.past_target.is_cpu:
        return batch
    return LightningDataModule.transfer_batch_to_device(data_module, batch, device, dataloader_idx)

"""The data path: which windows are cut from the series, and the validation of the series beforehand."""

from seq_plugins.windows.checks import ChunkLengths, SeriesChecks, check_one_type, check_time_axes
from seq_plugins.windows.gathering import is_stochastic, value_types_of
from seq_plugins.windows.inference import WindowsInferenceDataset, collate_inference
from seq_plugins.windows.loading import configure_dataloaders, leave_batches_on_cpu
from seq_plugins.windows.member_batches import MembersDataModule
from seq_plugins.windows.sequences import check_number_of_series, check_series_input
from seq_plugins.windows.training import WindowsTrainingDataset, collate_training

__all__ = [
    "ChunkLengths",
    "MembersDataModule",
    "SeriesChecks",
    "WindowsInferenceDataset",
    "WindowsTrainingDataset",
    "check_number_of_series",
    "check_one_type",
    "check_series_input",
    "check_time_axes",
    "collate_inference",
    "collate_training",
    "configure_dataloaders",
    "is_stochastic",
    "leave_batches_on_cpu",
    "value_types_of",
]

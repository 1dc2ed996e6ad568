"""The data path: which windows are cut from the series, and the checks before they are."""

from seq_plugins.windows.checks import (
    ChunkLengths,
    check_finite,
    check_inference_values,
    check_training_series,
    covers_windows,
)
from seq_plugins.windows.inference import WindowsInferenceDataset, collate_inference
from seq_plugins.windows.loading import load_whole_batches
from seq_plugins.windows.training import WindowsTrainingDataset, collate_training

__all__ = [
    "ChunkLengths",
    "WindowsInferenceDataset",
    "WindowsTrainingDataset",
    "check_finite",
    "check_inference_values",
    "check_training_series",
    "collate_inference",
    "collate_training",
    "covers_windows",
    "load_whole_batches",
]

"""The data path: which windows are cut from the series, and the checks before they are."""

from seq_plugins.windows.checks import (
    ChunkLengths,
    check_finite,
    check_inference_values,
    check_training_series,
)
from seq_plugins.windows.training import WeightedWindowsTrainingDataset

__all__ = [
    "ChunkLengths",
    "WeightedWindowsTrainingDataset",
    "check_finite",
    "check_inference_values",
    "check_training_series",
]

"""Data sets of training windows."""

from typing import Any

import numpy as np
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.utils import n_steps_between


class WeightedWindowsTrainingDataset(SequentialTorchTrainingDataset):
    """Darts' training data set with the sample weights of the whole window, not of the output chunk only.

    A weight belongs to the time of its target. A loss on every step of the input has targets in the input chunk too,
    so it needs their weights: `sample_weight` of a sample has the shape `(L + H, C or 1)` for an input chunk of `L` and
    an output chunk of `H` steps.

    Parameters
    ----------
    **kwargs
        Arguments of :class:`darts.utils.data.SequentialTorchTrainingDataset`, `sample_weight` among them.

    Raises
    ------
    ValueError
        If a weight series does not cover the windows of its target series.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._window_length = self.shift + self.output_chunk_length
        self._weights: list[np.ndarray] = []
        self._offsets: list[int] = []
        for index, (target, weight) in enumerate(zip(self.series, self.sample_weight, strict=True)):
            offset = n_steps_between(end=target.start_time(), start=weight.start_time(), freq=target.freq)
            first_window = len(target) - self._window_length - (self._n_windows(len(target)) - 1) * self.stride
            if offset + first_window < 0 or offset + len(target) > len(weight):
                raise ValueError(
                    f"`sample_weight` of series {index} reaches from {weight.start_time()} to {weight.end_time()}, "
                    f"expected at least from {target.time_index[first_window]} to {target.end_time()}: this model's "
                    "loss is on every step of the input chunk, so the weights of the input chunk are needed too."
                )
            self._offsets.append(offset)
            self._weights.append(weight.all_values(copy=False)[:, :, 0])

    def __getitem__(self, index: int) -> TorchTrainingSample:
        sample: TorchTrainingSample = super().__getitem__(index)
        series_index = index // self.max_samples_per_ts
        window_end = self._get_end_of_output_idx(self.series[series_index], series_index, index)
        end = window_end + self._offsets[series_index]
        window = self._weights[series_index][end - self._window_length : end]
        sample.sample_weight = np.concatenate([window[: self.input_chunk_length], window[self.shift :]])
        return sample

    def _n_windows(self, length: int) -> int:
        n_windows = -(-(length - self._window_length + 1) // self.stride)
        return int(min(n_windows, self.max_samples_per_ts))

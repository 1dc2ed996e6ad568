"""Training windows: Darts' samples, whole batches at a time."""

from typing import Any

import numpy as np
from darts.typing import TimeSeriesLike
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    TorchTrainingBatch,
    TorchTrainingSample,
)
from darts.utils.ts_utils import series2seq

from seq_plugins._private_names import collate_training_samples
from seq_plugins.windows.checks import SeriesChecks
from seq_plugins.windows.gathering import BatchedWindows, FieldSpec, Gatherer, Starts, cut_values

# B: batch, N: target series, C: target components, L: input chunk length, H: output chunk length


class WindowsTrainingDataset(BatchedWindows, SequentialTorchTrainingDataset):
    """Darts' training data set, which also hands over whole batches and the sample weights of whole windows.

    Samples and their order are those of :class:`darts.utils.data.SequentialTorchTrainingDataset`, whose arguments these
    are too, the last two aside.

    Parameters
    ----------
    series
        Target series, one or several.
    past_covariates
        Past covariates, one for each target series.
    future_covariates
        Future covariates, one for each target series.
    input_chunk_length
        Length of the input, in time steps.
    output_chunk_length
        Length of the output, in time steps.
    output_chunk_shift
        Number of time steps between input and output.
    stride
        Number of time steps from one window to the next, counted from the end of each series.
    max_samples_per_ts
        Largest number of windows of a series, the newest ones; all if ``None``.
    use_static_covariates
        Whether samples hold the static covariates of their series.
    sample_weight
        Weights, one series for each target series, or ``"linear"`` or ``"exponential"``.
    window_weights
        Whether the weights of a sample are those of all its time steps, `(L + H, C or 1)`, and not of the output only,
        `(H, C or 1)`. A weight belongs to the time of its target, and a loss on every step of the input has targets in
        the input too.
    checks
        Checks of the series, if they are not checked yet.

    Raises
    ------
    ValueError
        If `window_weights` is set and a weight series does not cover the windows of its target series, or if a check
        fails.
    """

    def __init__(
        self,
        series: TimeSeriesLike,
        past_covariates: TimeSeriesLike | None = None,
        future_covariates: TimeSeriesLike | None = None,
        input_chunk_length: int | tuple[int, int] = 12,
        output_chunk_length: int = 1,
        output_chunk_shift: int = 0,
        stride: int = 1,
        max_samples_per_ts: int | None = None,
        use_static_covariates: bool = True,
        sample_weight: TimeSeriesLike | str | None = None,
        window_weights: bool = False,
        checks: SeriesChecks | None = None,
    ) -> None:
        try:
            super().__init__(
                series=series,
                past_covariates=past_covariates,
                future_covariates=future_covariates,
                input_chunk_length=input_chunk_length,
                output_chunk_length=output_chunk_length,
                output_chunk_shift=output_chunk_shift,
                stride=stride,
                max_samples_per_ts=max_samples_per_ts,
                use_static_covariates=use_static_covariates,
                sample_weight=sample_weight,
            )
        except ValueError:
            if checks is not None:  # they say more about series of which none is long enough
                checks.check_lengths(series2seq(series))
            raise
        self._has_window_weights = window_weights and self.sample_weight is not None
        self._window_length = self.shift + self.output_chunk_length
        self._read(checks)
        self._n_windows = self._count_windows(self._lengths)
        if self._widths.get("sample_weight", 1) not in (1, self._widths["series"]):
            self._gatherer = None  # Darts refuses such weights
        if self._has_window_weights:
            self._check_window_weights()

    def __getitem__(self, index: int) -> TorchTrainingSample:
        sample: TorchTrainingSample = super().__getitem__(index)
        if self._has_window_weights:
            (series_index,), (start,) = self._locate(np.array([index]))
            first = start + self._offsets["sample_weight"][series_index]
            values = self.sample_weight[series_index].random_component_values(copy=False)[:, :, None]
            window = cut_values(values, first, first + self._window_length).copy()
            window[: max(-start, 0)] = 0  # of steps that are not there
            sample.sample_weight = np.concatenate([window[: self.input_chunk_length], window[self.shift :]])
        return sample

    def _field_specs(self) -> dict[str, FieldSpec]:
        inputs, outputs = range(self.input_chunk_length), range(self.shift, self._window_length)
        specs = {"series": FieldSpec(self.series, {"past_target": [inputs], "future_target": [outputs]})}
        if self.past_covariates is not None:
            specs["past_covariates"] = FieldSpec(self.past_covariates, {"past_covariates": [inputs]})
        if self.future_covariates is not None:
            fields = {"historic_future_covariates": [inputs], "future_covariates": [outputs]}
            specs["future_covariates"] = FieldSpec(self.future_covariates, fields)
        if self.sample_weight is not None:
            steps = [outputs]
            if self._has_window_weights:
                steps = [inputs, outputs] if outputs.start > inputs.stop else [range(outputs.stop)]
            specs["sample_weight"] = FieldSpec(self.sample_weight, {"sample_weight": steps})
        return specs

    def _starts(self, index: int, length: int) -> Starts:
        newest = length - self._window_length
        n_windows = max(min(self._count_windows(length), self.max_samples_per_ts), 1)
        return Starts(newest - (n_windows - 1) * self.stride, newest)

    def _count_windows(self, lengths: Any) -> Any:
        """Return how many windows can be cut from series of these lengths, at least 1."""
        # the smallest length of which a window can be cut is shorter than a window if the input's length varies
        return np.maximum(-(-(lengths - self.size_of_both_chunks + 1) // self.stride), 1)

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the series of each sample, and where in it the window starts, counted from its end: `(B,)` both."""
        series, windows = np.divmod(indices, self.max_samples_per_ts)
        windows %= self._n_windows[series]  # shorter series are repeated
        return series, self._lengths[series] - self._window_length - windows * self.stride

    def _gather_batch(self, gatherer: Gatherer, indices: np.ndarray) -> TorchTrainingBatch:
        return TorchTrainingBatch(**gatherer.gather(*self._locate(indices)))

    def _check_window_weights(self) -> None:
        for index in np.flatnonzero(~self._reaches["sample_weight"]).tolist():
            target, weight = self.series[index], self.sample_weight[index]
            first = self._starts(index, len(target)).oldest
            if self.min_input_chunk_length < self.input_chunk_length:
                first = max(first, 0)
            if first < 0 or weight.freq != target.freq:
                continue  # Darts refuses such series itself
            first_time = target.time_index[first]
            if weight.start_time() > first_time or weight.end_time() < target.end_time():
                raise ValueError(
                    f"`sample_weight` of series {index} reaches from {weight.start_time()} to {weight.end_time()}, "
                    f"expected at least from {first_time} to {target.end_time()}: this model's loss is on every step "
                    "of the input chunk, so the weights of the input chunk are needed too."
                )


def collate_training(batch: TorchTrainingBatch | list[TorchTrainingSample]) -> TorchTrainingBatch:
    """Return a batch as it is, and make one of a list of samples as Darts does."""
    return batch if isinstance(batch, TorchTrainingBatch) else collate_training_samples(batch)

"""Windows to forecast from: Darts' samples, whole batches at a time."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.typing import TimeSeriesLike
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchInferenceSample,
)

from seq_plugins._private_names import collate_inference_samples
from seq_plugins.windows.checks import SeriesChecks
from seq_plugins.windows.gathering import BatchedWindows, FieldSpec, Gatherer, Starts

# B: batch, N: target series


class WindowsInferenceDataset(BatchedWindows, SequentialTorchInferenceDataset):
    """Darts' data set to forecast from, which also hands over whole batches.

    Samples and their order are those of :class:`darts.utils.data.SequentialTorchInferenceDataset`, whose arguments
    these are too, `checks` aside.

    Parameters
    ----------
    series
        Target series, one or several.
    past_covariates
        Past covariates, one for each target series.
    future_covariates
        Future covariates, one for each target series.
    n
        Number of time steps to forecast.
    stride
        Number of time steps from one forecast to the next; 0 without `bounds`.
    bounds
        Time steps of each series at which its first and its last forecast start, `(N, 2)`. By default, there is one
        forecast of each series, after its end.
    input_chunk_length
        Length of the input, in time steps.
    output_chunk_length
        Length of the output, in time steps.
    output_chunk_shift
        Number of time steps between input and output.
    use_static_covariates
        Whether samples hold the static covariates of their series.
    checks
        Checks of the series, if they are not checked yet.

    Raises
    ------
    ValueError
        If a check fails.
    """

    takes_late_covariates = True

    def __init__(
        self,
        series: TimeSeriesLike,
        past_covariates: TimeSeriesLike | None = None,
        future_covariates: TimeSeriesLike | None = None,
        n: int = 1,
        stride: int = 0,
        bounds: np.ndarray | None = None,
        input_chunk_length: int | tuple[int, int] = 12,
        output_chunk_length: int = 1,
        output_chunk_shift: int = 0,
        use_static_covariates: bool = True,
        checks: SeriesChecks | None = None,
    ) -> None:
        super().__init__(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            n=n,
            stride=stride,
            bounds=bounds,
            input_chunk_length=input_chunk_length,
            output_chunk_length=output_chunk_length,
            output_chunk_shift=output_chunk_shift,
            use_static_covariates=use_static_covariates,
        )
        self._stops = np.arange(1, len(self.series) + 1) if self.bounds is None else self.cum_lengths
        self._read(checks)

    def __getitem__(self, index: int) -> TorchInferenceSample:
        if self._gatherer is None or not self._has_late_covariates:
            return super().__getitem__(index)
        batch = self._gather_batch(self._gatherer, np.array([index]))  # Darts would refuse the covariates
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(TorchInferenceSample)}
        return TorchInferenceSample(
            **{
                name: value[0].cpu().numpy() if isinstance(value, torch.Tensor) else value and value[0]
                for name, value in values.items()
            }
        )

    def _field_specs(self) -> dict[str, FieldSpec]:
        length, shift, horizon = self.input_chunk_length, self.output_chunk_shift, self.output_chunk_length
        inputs = range(length)
        specs = {"series": FieldSpec(self.series, {"past_target": [inputs]})}
        if self.past_covariates is not None:
            fields = {"past_covariates": [inputs]}
            if self.n > horizon:
                fields["future_past_covariates"] = [range(length, length + self.n - horizon)]
            specs["past_covariates"] = FieldSpec(self.past_covariates, fields)
        if self.future_covariates is not None:
            outputs = range(length + shift, length + shift + max(self.n, horizon))
            fields = {"historic_future_covariates": [inputs], "future_covariates": [outputs]}
            specs["future_covariates"] = FieldSpec(self.future_covariates, fields)
        return specs

    def _starts(self, index: int, length: int) -> Starts:
        ends = (length, length) if self.bounds is None else self.bounds[index].tolist()
        return Starts(*(end - self.input_chunk_length for end in ends))

    def _gather_batch(self, gatherer: Gatherer, indices: np.ndarray) -> TorchInferenceBatch:
        series = np.searchsorted(self._stops, indices, side="right")
        # counted from the last window of each series
        last_ends = self._lengths if self.bounds is None else self.bounds[:, 1]
        ends = last_ends[series] - (self._stops[series] - 1 - indices) * self.stride
        schemas, times = self._describe_forecasts(series, ends + self.output_chunk_shift)
        fields = gatherer.gather(series, ends - self.input_chunk_length)
        return TorchInferenceBatch(**fields, series_schema=schemas, pred_time=times)

    def _describe_forecasts(
        self, series: np.ndarray, positions: np.ndarray
    ) -> tuple[list[dict[str, Any]], list[pd.Timestamp] | list[int]]:
        """Return the schemas of the forecasts that start at `positions` of `series`, and those positions' times."""
        schemas: list[dict[str, Any]] = []
        times: list[Any] = []
        edges = [0, *(np.flatnonzero(np.diff(series)) + 1).tolist(), len(series)]
        for start, stop in pairwise(edges):  # windows of one series
            target = self.series[int(series[start])]
            schema = target.schema(copy=False)
            # historical forecasts change the schema of a series' first window: no two windows share one
            schemas += [schema.copy() for _ in range(stop - start)]
            times += _times(target, positions[start:stop])
        return schemas, times


def _times(series: TimeSeries, positions: np.ndarray) -> list[Any]:
    """Return the times at `positions` of `series`, which may lie behind its end."""
    last = len(series) - 1
    if len(positions) == 1 and positions[0] > last:
        return [_time_after(series, positions[0] - last)]
    times: list[Any] = series.time_index.take(np.minimum(positions, last)).tolist()
    if positions.max() > last:
        for index in np.flatnonzero(positions > last):
            times[index] = _time_after(series, positions[index] - last)
    return times


def _time_after(series: TimeSeries, n_steps: np.int64) -> pd.Timestamp | int:
    return series.end_time() + int(n_steps) * series.freq


def collate_inference(batch: TorchInferenceBatch | list[TorchInferenceSample]) -> TorchInferenceBatch:
    """Return a batch as it is, and make one of a list of samples as Darts does."""
    return batch if isinstance(batch, TorchInferenceBatch) else collate_inference_samples(batch)

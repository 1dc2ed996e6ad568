"""Rivals that prepare a fit and run it again and again, each in a process of its own (``rival_server.py``).

That has the rival's own Python, which need not have what this project needs: only NumPy is imported here, and the
rival when it is asked for.
"""

import importlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from benchmarks.core.rival_server import KERAS_PACKAGES, import_keras

# N: series, T: time steps of a series, W: windows, L: input length, H: horizon

LEARNING_RATE = 1e-3
CLIPPING = 1.0


@dataclass(frozen=True)
class FitWork:
    """A network to train, the same for everybody: one recurrent stack, a dense layer, Adam, mean squared error.

    Parameters
    ----------
    cell
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
    n_layers
        Number of recurrent layers.
    hidden_dim
        Number of units of each layer.
    input_length
        Time steps of input, `L`.
    horizon
        Time steps forecast, `H`.
    every_step
        Whether every step of the input has a loss, or the last one only.
    n_series
        Number of series, `N`.
    n_windows
        Number of windows of each series.
    batch_size
        Number of windows in a batch.
    n_epochs
        Number of epochs.
    n_validation_windows
        Number of windows of a validation series. Where there are any, the training also watches the validation loss,
        with more patience than there are epochs, and clips the gradients' norm.
    """

    cell: str = "RNN"
    n_layers: int = 1
    hidden_dim: int = 32
    input_length: int = 56
    horizon: int = 1
    every_step: bool = False
    n_series: int = 1
    n_windows: int = 1040
    batch_size: int = 32
    n_epochs: int = 20
    n_validation_windows: int = 0

    @property
    def n_updates(self) -> int:
        """Number of updates of the weights in one fit."""
        return self.n_epochs * ceil(self.n_series * self.n_windows / self.batch_size)

    def training_values(self) -> np.ndarray:
        """Return the training series, `(N, T)`."""
        return make_values(self.n_series, self._series_length(self.n_windows))

    def validation_values(self) -> np.ndarray:
        """Return the validation series, `(1, T)`."""
        return make_values(1, self._series_length(self.n_validation_windows), seed=1)

    def _series_length(self, n_windows: int) -> int:
        return n_windows + self.input_length + self.horizon - 1

    def check_updates(self, n_updates: int) -> None:
        """Raise a ``RuntimeError`` if a fit made another number of updates than it should have."""
        if n_updates != self.n_updates:
            raise RuntimeError(f"Expected {self.n_updates} updates of the weights, got {n_updates}.")


def make_values(n_series: int, length: int, seed: int = 0) -> np.ndarray:
    """Return a weekly pattern with noise, `(n_series, length)`, of 32 bits."""
    noise = np.random.default_rng(seed).standard_normal((n_series, length), dtype=np.float32)
    pattern = np.sin(2 * np.pi * np.arange(length) / 7).astype(np.float32)
    return pattern + np.float32(0.1) * noise


def cut_windows(values: np.ndarray, work: FitWork) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs `(W, L, 1)` and targets, `(W, H)` or, with a loss on every step, `(W, L, H)`."""
    windows = np.lib.stride_tricks.sliding_window_view(values, work.input_length + work.horizon, axis=1)
    windows = windows.reshape(-1, work.input_length + work.horizon)  # -> (W, L + H)
    inputs = windows[:, : work.input_length, None]
    if not work.every_step:
        return inputs.copy(), windows[:, work.input_length :].copy()
    targets = np.lib.stride_tricks.sliding_window_view(windows[:, 1:], work.horizon, axis=1)
    return inputs.copy(), targets.copy()


class FitRival(ABC):
    """A rival that fits."""

    packages: tuple[str, ...]
    """What its versions are told of."""
    note: str
    """What differs from the work of others."""

    def prepare(self, work: dict[str, Any]) -> None:
        """Do what is not measured."""
        self._run = self.make_run(FitWork(**work))

    def run(self) -> dict[str, Any]:
        """Fit once, and answer with the seconds that it took."""
        return {"seconds": self._run()}

    @abstractmethod
    def make_run(self, work: FitWork) -> Callable[[], float]:
        """Return a function that fits once and returns the seconds that it took."""


class Keras(FitRival):
    """Fits in Keras. The network is built and compiled once; every turn starts from its first weights."""

    packages = KERAS_PACKAGES
    note = "the network is traced in the warm-up and used again; every turn starts from its first weights"

    def __init__(self, threads: int) -> None:
        self._keras = import_keras(threads)

    def make_run(self, work: FitWork) -> Callable[[], float]:
        """Build and compile the network and cut the windows."""
        keras = self._keras
        keras.utils.set_random_seed(1)
        layer = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}[work.cell]
        stack = [
            layer(work.hidden_dim, return_sequences=work.every_step or index < work.n_layers - 1)
            for index in range(work.n_layers)
        ]
        model = keras.Sequential([keras.Input((work.input_length, 1)), *stack, keras.layers.Dense(work.horizon)])
        clipping = {"global_clipnorm": CLIPPING} if work.n_validation_windows else {}
        model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE, **clipping), loss="mse")
        inputs, targets = cut_windows(work.training_values(), work)
        watched: dict[str, Any] = {}
        if work.n_validation_windows:
            watched["validation_data"] = cut_windows(work.validation_values(), work)
        first_weights = model.get_weights()

        def run() -> float:
            model.set_weights(first_weights)
            if work.n_validation_windows:
                watched["callbacks"] = [keras.callbacks.EarlyStopping(patience=work.n_epochs + 1)]
            updates_before = int(model.optimizer.iterations.numpy())
            start = time.perf_counter()
            model.fit(
                inputs, targets, batch_size=work.batch_size, epochs=work.n_epochs, shuffle=True, verbose=0, **watched
            )
            seconds = time.perf_counter() - start
            work.check_updates(int(model.optimizer.iterations.numpy()) - updates_before)
            return seconds

        return run


class NeuralForecast(FitRival):
    """Fits in NeuralForecast, without the making of its data set from a table."""

    packages = ("neuralforecast", "torch", "pytorch-lightning")
    note = (
        "NeuralForecast draws each batch's windows at random from 32 series (its default), not every window once an "
        "epoch; its data set is made beforehand"
    )

    def __init__(self, threads: int) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch: Any = importlib.import_module("torch")
        torch.set_num_threads(threads)
        self._torch = torch
        self._models: Any = importlib.import_module("neuralforecast.models")
        self._dataset: Any = importlib.import_module("neuralforecast.tsdataset").TimeSeriesDataset

    def make_run(self, work: FitWork) -> Callable[[], float]:
        """Make the data set."""
        pandas: Any = importlib.import_module("pandas")
        values = work.training_values()  # (N, T)
        n_series, length = values.shape
        frame = pandas.DataFrame(
            {
                "unique_id": np.repeat(np.arange(n_series), length),
                "ds": np.tile(np.arange(length), n_series),
                "y": values.ravel(),
            }
        )
        dataset, *_ = self._dataset.from_df(frame)
        network = getattr(self._models, work.cell)
        squared_error = importlib.import_module("neuralforecast.losses.pytorch").MSE
        callback: Any = importlib.import_module("pytorch_lightning").Callback
        n_updates = 0

        def count(self: Any, trainer: Any, pl_module: Any) -> None:
            nonlocal n_updates
            n_updates = int(trainer.global_step)

        counter = type("Counter", (callback,), {"on_fit_end": count})()  # NeuralForecast keeps no trainer

        def run() -> float:
            model = network(
                h=work.horizon,
                input_size=work.input_length,
                encoder_n_layers=work.n_layers,
                encoder_hidden_size=work.hidden_dim,
                decoder_layers=1,
                loss=squared_error(),
                max_steps=work.n_updates,
                learning_rate=LEARNING_RATE,
                num_lr_decays=0,
                windows_batch_size=work.batch_size,
                training_data_availability_threshold=1.0,
                scaler_type="identity",
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                callbacks=[counter],
            )
            start = time.perf_counter()
            model.fit(dataset)
            seconds = time.perf_counter() - start
            work.check_updates(n_updates)
            return seconds

        return run


RIVALS: dict[str, type[FitRival]] = {"keras": Keras, "neuralforecast": NeuralForecast}

"""A peer in a process of its own: it prepares a fit and runs it again and again, told by lines of JSON.

Started with the peer's own Python, which need not have any package of this project: only NumPy is imported here, and
the peer when it is asked for. A request is ``{"do": "hello"}``, ``{"do": "prepare", "work": {...}}`` or
``{"do": "run"}``; the answers are ``{"versions": {...}}``, ``{"note": "..."}``, ``{"seconds": 1.2}`` or
``{"error": "..."}``.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from math import ceil
from platform import python_version
from typing import Any

import numpy as np

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
    values: np.ndarray = pattern + np.float32(0.1) * noise
    return values


def cut_windows(values: np.ndarray, work: FitWork) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs `(W, L, 1)` and targets, `(W, H)` or, with a loss on every step, `(W, L, H)`."""
    windows = np.lib.stride_tricks.sliding_window_view(values, work.input_length + work.horizon, axis=1)
    windows = windows.reshape(-1, work.input_length + work.horizon)  # -> (W, L + H)
    inputs = windows[:, : work.input_length, None]
    if not work.every_step:
        return inputs.copy(), windows[:, work.input_length :].copy()
    targets = np.lib.stride_tricks.sliding_window_view(windows[:, 1:], work.horizon, axis=1)
    return inputs.copy(), targets.copy()


class Keras:
    """Fits in Keras. The network is built and compiled once; every turn starts from its first weights."""

    packages = ("keras", "tensorflow-cpu", "tensorflow")
    note = "the network is traced in the warm-up and used again; every turn starts from its first weights"

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        tensorflow: Any = importlib.import_module("tensorflow")
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        self._keras: Any = importlib.import_module("keras")

    def prepare(self, work: FitWork) -> Callable[[], float]:
        """Return a function that fits once and returns the seconds that it took."""
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


class NeuralForecast:
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

    def prepare(self, work: FitWork) -> Callable[[], float]:
        """Return a function that fits once and returns the seconds that it took."""
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


PEERS: dict[str, type[Keras] | type[NeuralForecast]] = {"keras": Keras, "neuralforecast": NeuralForecast}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except ImportError:
            continue  # one of two names of the same package
    return found


def _serve(name: str, threads: int, answer: Callable[[dict[str, Any]], None]) -> None:
    peer: Any = None
    run: Callable[[], float] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if peer is None:
                peer = PEERS[name](threads)
            if request["do"] == "hello":
                answer({"versions": _versions(peer.packages)})
            elif request["do"] == "prepare":
                run = peer.prepare(FitWork(**request["work"]))
                answer({"note": peer.note})
            elif run is None:
                answer({"error": "Expected `prepare` before `run`."})
            else:
                answer({"seconds": run()})
        except ModuleNotFoundError as error:
            answer({"missing": error.name or str(error)})
        except Exception as error:  # whatever goes wrong in a peer becomes its row
            lines = str(error).strip().splitlines() or [""]
            answer({"error": f"{type(error).__name__}: {lines[-1]}"})


def main() -> None:
    """Serve requests until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    # what a peer prints must not end up among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(reply: dict[str, Any]) -> None:
        answers.write(json.dumps(reply) + "\n")
        answers.flush()

    _serve(options.peer, options.threads, answer)


if __name__ == "__main__":
    main()

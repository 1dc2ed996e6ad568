"""Writes `keras_numbers.json`: small data, weights, and what Keras' training makes of them, epoch by epoch.

The tests of the lecture's table compare with that file, so they need no Keras. Run by hand where Keras is installed:
`python tests/benchmarks/chapter/make_keras_numbers.py`.
"""

import json
from pathlib import Path
from typing import Any

import keras  # type: ignore[import-not-found]  # needed only here, so no dependency of the package
import numpy as np

NUMBERS_FILE = Path(__file__).with_name("keras_numbers.json")
TRAIN_DAYS, VALIDATION_DAYS, LENGTH, HORIZON, UNITS = 47, 25, 12, 3, 4
BATCH_SIZE, EPOCHS, LEARNING_RATE, MOMENTUM = 8, 6, 0.1, 0.9
INPUTS = {"multivariate": [0, 1, 2, 3, 4], "seq2seq": [1, 0, 2, 3, 4], "conv1d-gru": [1, 0, 2, 3, 4]}


def make_columns(rng: np.random.Generator, n_days: int) -> np.ndarray:
    """Return bus, rail and the type of the next day, `(n_days, 5)`, of few digits."""
    riders = rng.normal(0.5, 0.3, (n_days, 2)).round(3)
    return np.concatenate([riders, np.eye(3)[rng.integers(0, 3, n_days)]], axis=1)


def make_network(name: str) -> Any:
    """Return the notebook's network, in small."""
    if name == "multivariate":
        layers = [keras.layers.SimpleRNN(UNITS), keras.layers.Dense(2)]
    elif name == "seq2seq":
        layers = [keras.layers.SimpleRNN(UNITS, return_sequences=True), keras.layers.Dense(HORIZON)]
    else:
        layers = [
            keras.layers.Conv1D(3, 4, strides=2, activation="relu"),
            keras.layers.GRU(UNITS, return_sequences=True),
            keras.layers.Dense(HORIZON),
        ]
    return keras.Sequential([keras.Input([LENGTH, 5]), *layers])


def cut_windows(name: str, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets, oldest window first: both series of the next day, or rail's next days of each step."""
    horizon = 1 if name == "multivariate" else HORIZON
    firsts = range(len(columns) - LENGTH - horizon + 1)
    inputs = np.stack([columns[first : first + LENGTH, INPUTS[name]] for first in firsts])
    if name == "multivariate":
        return inputs, np.stack([columns[first + LENGTH, :2] for first in firsts])
    steps = range(3, LENGTH, 2) if name == "conv1d-gru" else range(LENGTH)
    ends = [[first + step + 1 for step in steps] for first in firsts]
    return inputs, np.stack([[columns[end : end + HORIZON, 1] for end in of_window] for of_window in ends])


def record(name: str, rng: np.random.Generator, train: np.ndarray, validation: np.ndarray) -> dict[str, Any]:
    """Train from random weights of few digits, and return them and the validation error after each epoch."""
    network = make_network(name)
    weights = [rng.normal(0, 0.4, weight.shape).round(3) for weight in network.get_weights()]
    network.set_weights(weights)
    optimizer = keras.optimizers.SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM)
    network.compile(loss=keras.losses.Huber(), optimizer=optimizer, metrics=["mae"])
    inputs, targets = cut_windows(name, train)
    history = network.fit(
        inputs,
        targets,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        validation_data=cut_windows(name, validation),
        verbose=0,
    )
    return {"weights": [weight.tolist() for weight in weights], "errors": history.history["val_mae"]}


def main() -> None:
    """Write the file."""
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(0)
    train, validation = make_columns(rng, TRAIN_DAYS), make_columns(rng, VALIDATION_DAYS)
    settings = {
        "input_chunk_length": LENGTH,
        "horizon": HORIZON,
        "hidden_dim": UNITS,
        "batch_size": BATCH_SIZE,
        "n_epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
    }
    numbers = {
        "keras": keras.__version__,
        "settings": settings,
        "train": train.tolist(),
        "validation": validation.tolist(),
        "networks": {name: record(name, rng, train, validation) for name in INPUTS},
    }
    NUMBERS_FILE.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()

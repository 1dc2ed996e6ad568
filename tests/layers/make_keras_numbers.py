"""Writes `keras_numbers.json`: weights, inputs and outputs of Keras' layers, and statistics of their initial weights.

The tests of the layers compare with that file, so they need no Keras. Run by hand where Keras is installed:
`python tests/layers/make_keras_numbers.py`.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import keras  # type: ignore[import-not-found]  # needed only here, so no dependency of the package
import numpy as np

NUMBERS_FILE = Path(__file__).with_name("keras_numbers.json")
RECURRENT_LAYERS = ("SimpleRNN", "LSTM", "GRU")
BATCH_SIZE, INPUT_DIM, UNITS = 2, 3, 4


class Recorder:
    """Runs Keras' layers on random weights and inputs and writes down what came out."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def draw(self, *shape: int) -> np.ndarray:
        """Random numbers of few digits, so that those in the file are exactly those that Keras got."""
        return self.rng.normal(size=shape).round(3)

    def record(self, network: Any, length: int | None, **about: Any) -> dict[str, Any]:
        """Return inputs, outputs and, by their Keras names, random weights of `network`."""
        inputs = self.draw(BATCH_SIZE, INPUT_DIM) if length is None else self.draw(BATCH_SIZE, length, INPUT_DIM)
        network(inputs)  # builds it
        network.set_weights([self.draw(*weight.shape) for weight in network.get_weights()])
        weights = {weight.name: weight.numpy().tolist() for weight in network.weights}
        outputs = keras.ops.convert_to_numpy(network(inputs, training=False))
        if outputs.dtype != np.float64:
            raise TypeError(f"Expected outputs in float64, got {outputs.dtype}.")
        return about | weights | {"inputs": inputs.tolist(), "outputs": outputs.round(12).tolist()}


def initial_statistics(layer: Any, input_shape: tuple[int, ...], n_gates: int = 1) -> dict[str, Any]:
    """Return the bias and the spread of the kernel with which `layer` starts, and that of each gate's kernel."""
    layer.build((BATCH_SIZE, *input_shape))
    weights = {weight.name: weight.numpy() for weight in layer.weights}
    kernel = weights["kernel"]
    statistics = {
        "kernel_shape": kernel.shape,
        "kernel_max": float(np.abs(kernel).max()),
        "kernel_std": float(kernel.std()),
        "gate_stds": [float(gate.std()) for gate in np.split(kernel, n_gates, axis=-1)],
        "bias": weights["bias"].tolist(),
    }
    if "recurrent_kernel" in weights:
        recurrent = weights["recurrent_kernel"]
        error = np.abs(recurrent @ recurrent.T - np.eye(len(recurrent))).max()
        statistics["orthogonality_error"] = float(error)
    return statistics


def record_outputs() -> dict[str, Any]:
    """Return the records of all layers, as lists of cases or by the name of the layer."""
    recorder = Recorder(seed=42)
    layers = keras.layers
    convolutions = [
        recorder.record(layers.Conv1D(UNITS, kernel_size, stride), length, kernel_size=kernel_size, stride=stride)
        for kernel_size, stride, length in [
            (1, 1, 5),
            (3, 1, 7),
            (3, 2, 7),
            (3, 2, 8),
            (2, 3, 8),
            (4, 4, 10),
            (5, 2, 5),
        ]
    ]
    poolings = [
        recorder.record(getattr(layers, f"{name}Pooling1D")(pool_size), length, pooling=name, pool_size=pool_size)
        for name in ("Max", "Average")
        for pool_size, length in [(2, 8), (2, 7), (3, 8), (3, 3)]
    ]
    down_samplings = []
    for kernel_size, stride, length, activation, pooling, pool_size in [
        (3, 2, 9, "relu", None, 2),
        (3, 2, 13, "relu", "Max", 2),
        (2, 3, 17, "tanh", "Average", 3),
        (3, 1, 8, "tanh", "Max", 3),
    ]:
        network = keras.Sequential([layers.Conv1D(UNITS, kernel_size, stride, activation=activation)])
        if pooling is not None:
            network.add(getattr(layers, f"{pooling}Pooling1D")(pool_size))
        about = {"kernel_size": kernel_size, "stride": stride, "activation": activation}
        about |= {"pooling": pooling, "pool_size": pool_size}
        down_samplings.append(recorder.record(network, length, **about))
    return {
        "recurrent": {
            name: recorder.record(getattr(layers, name)(UNITS, return_sequences=True), 7) for name in RECURRENT_LAYERS
        },
        "convolution": convolutions,
        "pooling": poolings,
        "global_max_pooling": recorder.record(layers.GlobalMaxPooling1D(), 7),
        "down_sampling": down_samplings,
        "dense": recorder.record(layers.Dense(UNITS), None),
    }


def record_initial_weights() -> dict[str, Any]:
    """Return statistics of the initial weights of layers so large that they hardly depend on the seed."""
    keras.utils.set_random_seed(42)
    layers = keras.layers
    n_gates = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
    recurrent = {
        name: initial_statistics(getattr(layers, name)(80), (5, 150), n_gates[name]) for name in RECURRENT_LAYERS
    }
    return recurrent | {
        "Conv1D": initial_statistics(layers.Conv1D(80, 5), (9, 40)),
        "Dense": initial_statistics(layers.Dense(80), (150,)),
    }


def main() -> None:
    """Write the file, under another name until it is complete."""
    keras.config.set_floatx("float64")
    numbers = {
        "keras": keras.__version__,
        "backend": f"{keras.backend.backend()} {import_module(keras.backend.backend()).__version__}",
        "numpy": np.__version__,
        **record_outputs(),
        "initial": record_initial_weights(),
    }
    unfinished = NUMBERS_FILE.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(numbers) + "\n")
    unfinished.replace(NUMBERS_FILE)


if __name__ == "__main__":
    main()

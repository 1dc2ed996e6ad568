"""The lecture's network in Keras, in a process of its own (``rival_server.py``).

That has the rival's own Python, which need not have what this project needs: only NumPy is imported here, and Keras
when it is asked for.
"""

import time
from typing import Any

import numpy as np

from benchmarks.core.rival_server import KERAS_PACKAGES, import_keras

# N: documents, L: maxlen, D: dimensions of a word


class LectureNetwork:
    """The lecture's network, layer for layer, on its arrays of documents x words x dimensions."""

    packages = KERAS_PACKAGES
    note = ""

    def __init__(self, threads: int) -> None:
        self._keras = import_keras(threads)

    def prepare(self, file: str, settings: dict[str, Any]) -> None:
        """Read ids and vectors, and build and compile the network."""
        keras = self._keras
        with np.load(file, allow_pickle=False) as arrays:
            self._words = arrays["words"]  # (distinct words, D), the first one zeros
            self._train, self._test, self._codes = arrays["train"], arrays["test"], arrays["codes"]
        self._settings = settings
        keras.utils.set_random_seed(settings["seed"])
        layers = keras.layers
        n_outputs = settings["n_outputs"]
        model = keras.Sequential(
            [
                keras.Input((self._train.shape[1], self._words.shape[1])),
                layers.Conv1D(250, 3, padding="valid", activation="relu", strides=1),
                layers.GlobalMaxPooling1D(),
                layers.Dense(250),
                layers.Dropout(0.2),
                layers.Activation("relu"),
                layers.Dense(n_outputs, activation="sigmoid" if n_outputs == 1 else "softmax"),
            ]
        )
        loss = "binary_crossentropy" if n_outputs == 1 else "sparse_categorical_crossentropy"
        model.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
        self._model, self._first_weights = model, model.get_weights()
        self._inputs: Any = None

    def fit(self) -> dict[str, Any]:
        """Train from the first weights; the arrays are made in the first call, and kept."""
        start = time.perf_counter()
        if self._inputs is None:
            self._inputs = self._words[self._train]  # -> (N, L, D)
        seconds_of_arrays = time.perf_counter() - start
        self._model.set_weights(self._first_weights)
        start = time.perf_counter()
        self._model.fit(
            self._inputs,
            self._codes,
            batch_size=self._settings["batch_size"],
            epochs=self._settings["n_epochs"],
            verbose=0,
        )
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "seconds_of_arrays": seconds_of_arrays}

    def predict(self) -> dict[str, Any]:
        """Return the outputs for the test documents."""
        inputs = self._words[self._test]
        start = time.perf_counter()
        outputs = self._model.predict(inputs, batch_size=self._settings["predict_batch_size"], verbose=0)
        return {"seconds": time.perf_counter() - start, "outputs": outputs.tolist()}


RIVALS = {"keras": LectureNetwork}

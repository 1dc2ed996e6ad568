"""Writes `keras_numbers.json`: the lecture's network in Keras, its outputs before and after three steps of training.

The tests of the classifier compare with that file, so they need no Keras. Run by hand where Keras is installed:
`python tests/text/make_keras_numbers.py`.
"""

import json
from pathlib import Path

import keras  # type: ignore[import-not-found]  # needed only here, so no dependency of the package
import numpy as np

NUMBERS_FILE = Path(__file__).with_name("keras_numbers.json")
N_WORDS, N_DIMENSIONS, MAXLEN, N_FILTERS, KERNEL_SIZE, N_HIDDEN = 12, 4, 8, 5, 3, 6
LENGTHS = (8, 3, 6, 1, 7, 5, 2, 4)


def main() -> None:
    """Train, and write what came out."""
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(1)
    words = rng.normal(size=(N_WORDS, N_DIMENSIONS)).round(3)
    documents = [rng.integers(0, N_WORDS, length).tolist() for length in LENGTHS]
    labels = [0, 1, 1, 0, 1, 0, 0, 1]
    inputs = np.zeros((len(LENGTHS), MAXLEN, N_DIMENSIONS))
    for row, document in enumerate(documents):
        inputs[row, : len(document)] = words[document]
    network = keras.Sequential(
        [
            keras.layers.Conv1D(N_FILTERS, KERNEL_SIZE, padding="valid", activation="relu", strides=1),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(N_HIDDEN),
            keras.layers.Activation("relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network(inputs)  # builds it
    network.set_weights([rng.normal(size=weight.shape).round(3) for weight in network.get_weights()])
    first_weights = [weight.tolist() for weight in network.get_weights()]
    before = network.predict(inputs, verbose=0)[:, 0]
    network.compile(loss="binary_crossentropy", optimizer="adam")
    history = network.fit(inputs, np.array(labels), batch_size=len(labels), epochs=3, verbose=0).history
    numbers = {
        "words": words.tolist(),
        "documents": documents,
        "labels": labels,
        "maxlen": MAXLEN,
        "weights": first_weights,
        "outputs_before": before.round(10).tolist(),
        "outputs_after": network.predict(inputs, verbose=0)[:, 0].round(10).tolist(),
        "losses": np.round(history["loss"], 10).tolist(),
    }
    NUMBERS_FILE.write_text(json.dumps(numbers) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

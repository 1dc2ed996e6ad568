"""The weights with which the logits of a linear classifier and a network are added."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

# N: documents, O: outputs (1 for two classes, else the number of classes)

_STRENGTH_OF_PRIOR = 1.0  # in documents
_STRENGTH_OF_NO_OFFSET = 100.0  # likewise


class Mixture(NamedTuple):
    """How two classifiers' logits are added.

    Parameters
    ----------
    linear
        Weight of the linear classifier.
    network
        Weight of the network; 0 where it knows nothing that the other does not.
    offsets
        What is added, `(O,)`.
    """

    linear: float
    network: float
    offsets: np.ndarray

    def logits(self, linear: np.ndarray, network: np.ndarray) -> np.ndarray:
        """Return the sum, `(N, O)`, of the two classifiers' logits."""
        added: np.ndarray = self.linear * linear + self.network * network + self.offsets
        return added


def fit_mixture(linear: np.ndarray, network: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Mixture:
    """Return the mixture that makes the labels of held-out documents most likely; no weight is negative.

    A weak prior holds the linear classifier at 1 and the network at 0: a few documents are no reason to trust it. A
    strong one holds the offsets at 0, since both have learnt from more documents how frequent the classes are: without
    it, chance moved the bound between the classes, and the sum was worse than the linear classifier alone. Where there
    are no documents to learn from, the network has half the weight, which is what did well.

    Parameters
    ----------
    linear
        Logits of the linear classifier, `(N, O)`; it has not been fitted to these documents.
    network
        Logits of the network, likewise.
    codes
        Number of the class of each document, `(N,)`.
    weights
        Weight of each, `(N,)`.
    """
    n_outputs = linear.shape[1]
    if not len(codes):
        return Mixture(1.0, 0.5, np.zeros(n_outputs))

    def loss(parameters: np.ndarray) -> float:
        logits = Mixture(parameters[0], parameters[1], parameters[2:]).logits(linear, network)
        if n_outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        losses = logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes]
        of_weights = _STRENGTH_OF_PRIOR * ((parameters[0] - 1) ** 2 + parameters[1] ** 2)
        return float(weights @ losses + 0.5 * (of_weights + _STRENGTH_OF_NO_OFFSET * (parameters[2:] ** 2).sum()))

    bounds = [(0.0, None), (0.0, None), *[(None, None)] * n_outputs]
    found = minimize(loss, np.array([1.0, 0.1, *[0.0] * n_outputs]), method="L-BFGS-B", bounds=bounds).x
    return Mixture(float(found[0]), float(found[1]), found[2:])

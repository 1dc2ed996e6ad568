"""A logistic regression over the n-grams of documents, whose matrix is never made.

The penalty is half the sum of the squared coefficients, that of the intercept among them. What is solved is the dual
problem, a variable for each document, one after the other [1]_: in a tenth of the time of the primal one. A document
has few distinct values, so that its n-grams are all that is kept of it. In place of a dual variable, its share of its
largest value is sought as a logit, in which the condition for its best value is nearly linear.

The loop is machine code (:mod:`seq_plugins.text.logistic_regression_loops`); where numba is missing or finds no folder
for its code, and where ``SEQ_PLUGINS_CONVOLUTION_KERNEL`` is ``torch``, it is scikit-learn's, which copies the matrix
in 64 bits.

References
----------
.. [1] H.-F. Yu, F.-L. Huang, C.-J. Lin, "Dual Coordinate Descent Methods for Logistic Regression and Maximum Entropy
       Models", 2011, https://www.csie.ntu.edu.tw/~cjlin/papers/maxent_dual.pdf
"""

import logging
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from seq_plugins._arguments import is_switched_off
from seq_plugins.text.ngrams import NgramMatrix
from seq_plugins.text.pooled_convolution import SWITCH

# N: documents, G: n-grams

logger = logging.getLogger(__name__)

INVERSE_REGULARISATION = 1.0
TOLERANCE = 1e-3
"""How far off its best value the logit of a dual variable may be."""

MAX_PASSES = 1000


def fit_logistic_regression(
    contained: NgramMatrix, factors: np.ndarray, is_inside: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the weight of each n-gram, `(G,)`, and the intercept.

    Parameters
    ----------
    contained
        Which n-grams each document has.
    factors
        What the values of each n-gram are multiplied with, `(G,)`.
    is_inside
        Whether each document is of the class, `(N,)`.
    weights
        Weight of each document's loss, `(N,)`; one of weight 0 counts for nothing.
    """
    descend = None if is_switched_off(SWITCH) else load_loop()
    fit = _fit_with_liblinear if descend is None else _fit_with_loop
    return fit(contained, factors, is_inside, weights)


def _fit_with_loop(
    contained: NgramMatrix, factors: np.ndarray, is_inside: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    descend = load_loop()
    n_documents = len(weights)
    signs, costs = np.where(is_inside, 1.0, -1.0), INVERSE_REGULARISATION * weights.astype(np.float64)
    fixed = contained.columns, contained.starts, contained.values, factors**2, signs, costs, np.zeros(n_documents)
    duals, logits = np.zeros(n_documents), np.zeros(n_documents)
    sums, state = np.zeros(contained.n_ngrams), np.array([0.0, np.inf])
    learned, generator = np.flatnonzero(weights > 0), np.random.default_rng(0)
    for _ in range(MAX_PASSES):
        descend(*fixed, generator.permutation(learned), duals, logits, sums, state)
        if state[1] < TOLERANCE:
            break
    return sums, float(state[0])


def _fit_with_liblinear(
    contained: NgramMatrix, factors: np.ndarray, is_inside: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    values = np.repeat(contained.values.ravel(), contained.counts.ravel()) * factors[contained.columns]
    matrix = sparse.csr_matrix((values, contained.columns, contained.starts[::2]), (len(weights), contained.n_ngrams))
    learned = np.flatnonzero(weights > 0)
    regression = LogisticRegression(
        C=INVERSE_REGULARISATION, solver="liblinear", dual=True, tol=TOLERANCE, max_iter=MAX_PASSES, random_state=0
    )
    regression.fit(matrix[learned], is_inside[learned], sample_weight=weights[learned])
    return regression.coef_[0] * factors, float(regression.intercept_[0])


@cache
def load_loop() -> Any:
    """Return the compiled loop; ``None`` where numba is missing, fails or keeps no machine code.

    The first call in a process compiles it, or takes it from numba's cache on the disk.
    """
    try:
        from seq_plugins._compilation import compile_all
        from seq_plugins.text.logistic_regression_loops import descend as by_type
    except ImportError:
        return None
    descend = by_type["float64"]
    is_compiled = compile_all(
        [descend],
        [lambda: descend(*_smallest_arguments())],
        subject="the linear classifier of texts",
        fallback="The linear classifier of texts is scikit-learn's, which takes more memory",
        switch=SWITCH,
        logger=logger,
    )
    return descend if is_compiled else None


def _smallest_arguments() -> list[np.ndarray]:
    """Return arguments of the loop for one document with one n-gram."""
    ones = [np.ones(1) for _ in range(7)]
    columns, starts, order = np.zeros(1, np.int32), np.array([0, 1, 1]), np.zeros(1, np.int64)
    squares, signs, costs, curvatures, duals, logits, sums = ones
    return [columns, starts, np.ones((1, 2)), squares, signs, costs, curvatures, order, duals, logits, sums, np.ones(2)]

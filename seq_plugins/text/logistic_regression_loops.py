"""The loop of a logistic regression over the n-grams of documents, compiled by numba.

:mod:`seq_plugins.text.logistic_regression` imports this module when it is first needed, and says what is solved.
"""

from typing import TypeAlias

import numpy as np

from seq_plugins._compilation import cached_jit, jit, sum_in_any_order

# N: documents, G: n-grams

Array: TypeAlias = np.ndarray

MAX_STEPS = 60
PRECISION = 1e-9


@sum_in_any_order
def _sum(of_ngrams: Array, columns: Array) -> float:
    total = 0.0
    for column in columns:
        total += of_ngrams[column]
    return total


@jit
def _add(columns: Array, step: float, squares: Array, sums: Array) -> None:
    for column in columns:
        sums[column] += step * squares[column]


@jit
def _solve(logit: float, curvature: float, cost: float, dual: float, margin: float) -> float:
    """Return the root of ``curvature * (cost * sigmoid(s) - dual) + margin + s``, which increases with `s`."""
    low, high = -margin - curvature * (cost - dual), -margin + curvature * dual
    found = min(max(logit, low), high)
    for _ in range(MAX_STEPS):
        share = 1 / (1 + np.exp(-found))
        value = curvature * (cost * share - dual) + margin + found
        if value > 0:
            high = found
        else:
            low = found
        step = value / (curvature * cost * share * (1 - share) + 1)
        found -= step
        if not low <= found <= high:
            found = 0.5 * (low + high)
        if abs(step) < PRECISION:
            break
    return found


@cached_jit
def descend(
    columns: Array,
    starts: Array,
    values: Array,
    squares: Array,
    signs: Array,
    costs: Array,
    curvatures: Array,
    order: Array,
    duals: Array,
    logits: Array,
    sums: Array,
    state: Array,
) -> None:
    """Improve the dual variable of each document in turn.

    Parameters
    ----------
    columns
        The n-grams of each document, first those of words, then those of characters.
    starts
        Where either begins, `(2 N + 1,)`.
    values
        The value of either, `(N, 2)`.
    squares
        Square of each n-gram's factor, `(G,)`.
    signs
        1 for documents inside the class, -1 for others, `(N,)`.
    costs
        Weight of each document's loss, `(N,)`.
    curvatures
        Squared length of each document's row, that of the intercept included, `(N,)`; filled where it is 0.
    order
        The documents, in the order in which they are taken.
    duals
        The dual variables, from 0 to costs, `(N,)`; changed.
    logits
        Logits of their shares of the costs, `(N,)`; changed.
    sums
        Weights of the n-grams, `(G,)`; changed.
    state
        The intercept, and how far off its best value the logit of a dual variable was at most; changed.
    """
    worst = 0.0
    for n in order:
        of_words = columns[starts[2 * n] : starts[2 * n + 1]]
        of_characters = columns[starts[2 * n + 1] : starts[2 * n + 2]]
        if curvatures[n] == 0:
            curvatures[n] = (
                values[n, 0] ** 2 * _sum(squares, of_words) + values[n, 1] ** 2 * _sum(squares, of_characters) + 1
            )
        margin = signs[n] * (values[n, 0] * _sum(sums, of_words) + values[n, 1] * _sum(sums, of_characters) + state[0])
        worst = max(worst, abs(margin + logits[n]) if duals[n] > 0 else np.inf)
        logits[n] = _solve(logits[n], curvatures[n], costs[n], duals[n], margin)
        dual = costs[n] / (1 + np.exp(-logits[n]))
        step = signs[n] * (dual - duals[n])
        duals[n] = dual
        _add(of_words, step * values[n, 0], squares, sums)
        _add(of_characters, step * values[n, 1], squares, sums)
        state[0] += step
    state[1] = worst

"""Which phrases of a text contribute to its score."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from seq_plugins.text.documents import Documents, WordTable
from seq_plugins.text.linear_classifier import NgramClassifier
from seq_plugins.text.mixture import Mixture
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.ngrams import first_places_of
from seq_plugins.text.pooled_convolution import NO_WORD, Batch, convolve_and_pool
from seq_plugins.text.tokenizing import Token

# W: distinct words, D: dimensions of a word, F: filters of all kernel sizes, H: hidden units, O: outputs


class Phrase(NamedTuple):
    """Words that one or more filters picked out.

    Parameters
    ----------
    text
        The characters of the text, from the first word to the last, or the words if their position is unknown.
    start
        Position of the first character, or -1 if the tokenizer changed the words so that they cannot be found.
    end
        Position after the last character, or -1.
    contribution
        What the phrase adds to the logit.
    """

    text: str
    start: int
    end: int
    contribution: float


class Explanation(NamedTuple):
    """Explanation of the score of a text.

    Parameters
    ----------
    label
        The class whose logit is explained.
    logit
        The logit.
    baseline
        The network's logit for padding alone, the same for all texts. The contributions of the phrases add up to
        `logit` minus `baseline`.
    phrases
        The phrases, ordered by the absolute value of their contribution, the largest first. A text without a known word
        has none; its logit and baseline are those of the class prior.
    """

    label: Any
    logit: float
    baseline: float
    phrases: list[Phrase]


class _Weights(NamedTuple):
    """The network's weights in double precision."""

    kernels: list[torch.Tensor]
    kernel_biases: torch.Tensor  # (F,)
    hidden: torch.Tensor  # (H, F)
    hidden_bias: torch.Tensor
    output: torch.Tensor  # (O, H)
    output_bias: torch.Tensor

    @classmethod
    def of(cls, network: SentimentNetwork) -> "_Weights":
        return cls(
            [kernel.detach().cpu().double() for kernel in network.kernels],
            torch.cat(list(network.kernel_biases)).detach().cpu().double(),
            *(
                weight.detach().cpu().double()
                for weight in (network.hidden, network.hidden_bias, network.output, network.output_bias)
            ),
        )


@torch.no_grad()
def explain_document(
    network: SentimentNetwork,
    table: WordTable,
    text: str,
    located: Sequence[tuple[int, Token]],
    maxlen: int,
    classes: np.ndarray,
    code: int | None,
    prior_logits: np.ndarray,
) -> Explanation:
    """Return what :meth:`SentimentClassifier.explain` does, for class number `code` or the most likely one.

    `located` are ids and places of the words that the network sees, `prior_logits`, `(O,)`, the logits without any.
    """
    if not located:
        row, sign, code = _choose_output(torch.from_numpy(prior_logits), code)
        logit = sign * float(prior_logits[row])
        return Explanation(classes[code].item(), logit, logit, [])
    weights = _Weights.of(network)
    distinct, ids = np.unique([number for number, _ in located], return_inverse=True)
    words = torch.from_numpy(table.rows(distinct)).double()
    batch = Batch(Documents(ids.astype(np.int32), np.array([0, len(ids)])), maxlen)
    found = [convolve_and_pool(words, batch, kernel) for kernel in weights.kernels]
    features = (torch.cat([pooled[0] for pooled, _ in found]) + weights.kernel_biases).relu()  # -> (F,)
    without_words = weights.kernel_biases.relu()  # of padding alone
    sums = weights.hidden @ features + weights.hidden_bias  # -> (H,)
    sums_without = weights.hidden @ without_words + weights.hidden_bias
    logits = weights.output @ sums.relu() + weights.output_bias  # -> (O,)
    baselines = weights.output @ sums_without.relu() + weights.output_bias
    row, sign, code = _choose_output(logits, code)
    slopes = _slopes(sums, sums_without)
    contributions = sign * (features - without_words) * ((weights.output[row] * slopes) @ weights.hidden)  # -> (F,)
    phrases: dict[tuple[int, int], float] = {}
    first = 0
    for kernel, (_, places) in zip(weights.kernels, found, strict=True):
        for place, contribution in zip(places[0].tolist(), contributions[first:].tolist(), strict=False):
            if place != NO_WORD and contribution:
                window = place, min(place + len(kernel), len(located))
                phrases[window] = phrases.get(window, 0.0) + contribution
        first += kernel.shape[1]
    tokens = [token for _, token in located]
    told = [_tell(text, tokens[start:end], contribution) for (start, end), contribution in phrases.items()]
    return Explanation(
        classes[code].item(),
        sign * float(logits[row]),
        sign * float(baselines[row]),
        sorted(told, key=lambda phrase: -abs(phrase.contribution)),
    )


def with_ngrams(
    explanation: Explanation,
    ngrams: NgramClassifier,
    mixture: Mixture,
    text: str,
    tokens: Sequence[Token],
    code: int,
) -> Explanation:
    """Return the explanation of a network's logit as that of the sum of it and a linear classifier's.

    Parameters
    ----------
    explanation
        That of the network.
    ngrams
        The linear classifier; an n-gram that a text has several times counts once, where it is first.
    mixture
        How both are added.
    text
        The text.
    tokens
        Its tokens, with their places.
    code
        Number of the class whose logit is explained.
    """
    has_one_output = len(ngrams.intercepts) == 1
    row, sign = (0, 1 if code == 1 else -1) if has_one_output else (code, 1)
    phrases = [phrase._replace(contribution=mixture.network * phrase.contribution) for phrase in explanation.phrases]
    words = [token.text for token in tokens]
    places = first_places_of(words, ngrams.longest)
    by_place: dict[tuple[int, int], float] = {}  # n-grams of characters belong to their word
    for name, contributions in ngrams.contributions(words).items():
        place = places[name].start, places[name].stop
        by_place[place] = by_place.get(place, 0.0) + sign * mixture.linear * float(contributions[row])
    phrases += [_tell(text, tokens[start:end], contribution) for (start, end), contribution in by_place.items()]
    baseline = mixture.network * explanation.baseline + sign * (
        mixture.linear * float(ngrams.intercepts[row]) + float(mixture.offsets[row])
    )
    told = [phrase for phrase in phrases if phrase.contribution]
    logit = baseline + sum(phrase.contribution for phrase in told)
    return Explanation(explanation.label, logit, baseline, sorted(told, key=lambda phrase: -abs(phrase.contribution)))


def _choose_output(logits: torch.Tensor, code: int | None) -> tuple[int, int, int]:
    """Return the network's output for a class, the sign with which it counts, and the class."""
    if len(logits) > 1:
        chosen = int(logits.argmax()) if code is None else code
        return chosen, 1, chosen
    chosen = int(logits[0] > 0) if code is None else code
    return 0, 1 if chosen == 1 else -1, chosen


def _slopes(sums: torch.Tensor, sums_without: torch.Tensor) -> torch.Tensor:
    """Return what the Rescale rule takes for ReLU's derivative: the difference after it over that before it."""
    before = sums - sums_without
    after = sums.relu() - sums_without.relu()
    return torch.where(before == 0, 0.0, after / before.where(before != 0, 1.0))


def _tell(text: str, tokens: Sequence[Token], contribution: float) -> Phrase:
    if any(token.start < 0 for token in tokens):
        return Phrase(" ".join(token.text for token in tokens), -1, -1, contribution)
    start, end = tokens[0].start, tokens[-1].end
    return Phrase(text[start:end], start, end, contribution)

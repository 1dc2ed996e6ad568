"""Explanations add up, stand where they say, and say what the text says."""

from typing import Any

import numpy as np
import pytest

from seq_plugins.text import SentimentClassifier
from seq_plugins.text.pooled_convolution import SWITCH
from tests.text.samples import BAD, GOOD, OTHER, make_classifier, make_texts, make_vectors

TEXTS, LABELS = make_texts()
NEW_TEXTS, _ = make_texts(30, seed=1)


@pytest.fixture(scope="module")
def classifier() -> SentimentClassifier:
    """A trained classifier with filters over two and three words."""
    return make_classifier(kernel_size=[2, 3], n_epochs=20).fit(*make_texts(500, seed=2))


@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_contributions_add_up_to_the_logit_minus_the_baseline(
    classifier: SentimentClassifier, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    logits = classifier.decision_function(NEW_TEXTS)
    baselines = set()
    for text, logit in zip(NEW_TEXTS, logits, strict=True):
        for label, sign in (("good", 1), ("bad", -1)):
            explanation = classifier.explain(text, label=label)
            total = sum(phrase.contribution for phrase in explanation.phrases)
            assert total == pytest.approx(explanation.logit - explanation.baseline, abs=1e-12)
            assert explanation.logit == pytest.approx(sign * logit, abs=1e-5)
            assert explanation.label == label
            baselines.add(sign * explanation.baseline)
    assert len(baselines) == 1  # one for all texts


@pytest.mark.parametrize(
    "arguments", [{"kernel_size": 1}, {"kernel_size": 16}, {"oov": "zero"}, {"train_embeddings": True}]
)
def test_they_add_up_for_every_network(arguments: Any) -> None:
    classifier = make_classifier(n_epochs=5, **arguments).fit(TEXTS, LABELS)
    for text in [*NEW_TEXTS[:5], "fine", " ".join(TEXTS)]:
        explanation = classifier.explain(text)
        total = sum(phrase.contribution for phrase in explanation.phrases)
        assert total == pytest.approx(explanation.logit - explanation.baseline, abs=1e-12)
        assert explanation.label == classifier.predict([text])[0]


def test_they_add_up_for_three_classes() -> None:
    texts, labels = make_texts(60, n_classes=3)
    vectors = make_vectors([*OTHER, *GOOD, *BAD, "so-so", "middling"])
    classifier = make_classifier(vectors=vectors, n_epochs=10).fit(texts, labels)
    logits = classifier.decision_function(texts[:9])
    for text, row in zip(texts[:9], logits, strict=True):
        assert classifier.explain(text).label == classifier.classes_[row.argmax()]
        for label, logit in zip(classifier.classes_, row, strict=True):
            explanation = classifier.explain(text, label=label)
            total = sum(phrase.contribution for phrase in explanation.phrases)
            assert total == pytest.approx(explanation.logit - explanation.baseline, abs=1e-12)
            assert explanation.logit == pytest.approx(logit, abs=1e-5)


def test_the_words_that_tell_the_class_are_among_the_first(classifier: SentimentClassifier) -> None:
    for word in (*GOOD, *BAD):
        explanation = classifier.explain(f"the actor with it was {word} was a scene", "good")
        with_word = [phrase.contribution for phrase in explanation.phrases if word in phrase.text]
        assert (sum(with_word) > 0) is (word in GOOD)
        assert any(word in phrase.text for phrase in explanation.phrases[:2])
        sizes = [abs(phrase.contribution) for phrase in explanation.phrases]
        assert sizes == sorted(sizes, reverse=True)


def test_phrases_stand_where_they_say(classifier: SentimentClassifier) -> None:
    text = '😀 The zombie FILM:\n\n was  "fine", (and) the actor... שלום great!'
    explanation = classifier.explain(text)
    assert explanation.phrases
    for phrase in explanation.phrases:
        assert text[phrase.start : phrase.end] == phrase.text


def test_a_phrase_reaches_across_skipped_words(classifier: SentimentClassifier) -> None:
    phrases = classifier.explain("FINE, zombie film").phrases
    assert ("FINE, zombie film", 0, 17) in [phrase[:3] for phrase in phrases]


def test_phrases_of_a_tokenizer_that_changes_words_have_no_place() -> None:
    def stem(text: str) -> list[str]:
        return [*(word.removesuffix("s") for word in text.split()), "fine"]

    classifier = make_classifier(tokenizer=stem, kernel_size=1, n_epochs=5).fit(TEXTS, LABELS)
    assert {phrase[:3] for phrase in classifier.explain("lovely films").phrases} == {
        ("lovely", 0, 6), ("film", 7, 11), ("fine", -1, -1),
    }  # fmt: skip


def test_explaining_changes_nothing(classifier: SentimentClassifier) -> None:
    before = classifier.decision_function(NEW_TEXTS)
    classifier.explain(NEW_TEXTS[0])
    np.testing.assert_array_equal(classifier.decision_function(NEW_TEXTS), before)

"""The linear classifier beside the network, and how both are added."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from seq_plugins.text import SentimentClassifier
from seq_plugins.text.encoding import TextEncoder
from seq_plugins.text.linear_classifier import NgramClassifier, NgramWeights, fit_weights
from seq_plugins.text.mixture import fit_mixture
from seq_plugins.text.ngrams import (
    JOINT,
    WITHIN,
    NgramMatrix,
    NgramVocabulary,
    characters_of,
    first_places_of,
    ngrams_of,
)
from seq_plugins.text.pooled_convolution import SWITCH
from seq_plugins.text.training import Trainer
from tests.text.samples import make_classifier, make_texts, make_vectors

TEXTS, LABELS = make_texts(160)
NEW_TEXTS, NEW_LABELS = make_texts(40, seed=1)


ENCODER = TextEncoder({}, lowercase=False, tokenizer=str.split)


def _count(texts: list[str], longest: int) -> tuple[NgramVocabulary, NgramMatrix]:
    numbered = ENCODER.number(texts)
    vocabulary = NgramVocabulary.of(numbered, longest)
    return vocabulary, vocabulary.count(numbered)


def _fit(texts: list[str], codes: np.ndarray, weights: np.ndarray, longest: int, n_classes: int = 2) -> NgramClassifier:
    vocabulary, contained = _count(texts, longest)
    return NgramClassifier(vocabulary, *fit_weights(contained, codes, weights, n_classes))


@pytest.mark.parametrize("n_at_once", [1, 4, 2000])
@pytest.mark.parametrize("longest", [1, 2, 4])
def test_counts_are_those_of_an_obvious_loop(longest: int, n_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq_plugins.text.ngrams._DOCUMENTS_AT_ONCE", n_at_once)
    texts = ["a Fine fine film", "", "fine", "fine film a fine film", "dull film", "a dull dull dull film"]
    vocabulary, contained = _count(texts, longest)
    names = vocabulary.names()
    assert len(set(names)) == len(names) == vocabulary.n_ngrams == contained.n_ngrams
    assert [vocabulary.place(name) for name in names] == list(range(len(names)))
    assert set(names) == set().union(*(part for text in texts for part in _ngrams(text, longest)))
    further = ["a finer film", "Dull a a fine dull film film", "unheard", "", "a fine film a fine film"]
    for all_texts, found in ((texts, contained), (further, vocabulary.count(ENCODER.number(further)))):
        starts = found.starts
        for number, text in enumerate(all_texts):
            of_either_kind = _ngrams(text, longest)
            assert found.lengths[number].tolist() == [len(part) for part in of_either_kind]
            for kind, part in enumerate(of_either_kind):
                columns = found.columns[starts[2 * number + kind] : starts[2 * number + kind + 1]]
                assert sorted(columns) == sorted(names.index(name) for name in part if name in names)
            assert found.counts[number].sum() == starts[2 * number + 2] - starts[2 * number]


def test_ngrams_that_are_nowhere_have_no_place() -> None:
    vocabulary, _ = _count(["a fine film", "a dull film"], 2)
    missing = [
        "unheard",
        f"film{JOINT}a",
        f"unheard{JOINT}film",
        f"a{JOINT}fine{JOINT}film",
        characters_of("unheard")[0],
    ]
    assert [vocabulary.place(name) for name in missing] == [None] * len(missing)


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_a_vocabulary_is_made_from_its_names(longest: int) -> None:
    vocabulary, contained = _count(TEXTS, longest)
    again = NgramVocabulary.from_names(vocabulary.names(), longest)
    np.testing.assert_array_equal(again.count(ENCODER.number(TEXTS)).columns, contained.columns)
    with pytest.raises(ValueError, match="not in the order of a vocabulary"):
        NgramVocabulary.from_names(vocabulary.names()[::-1], longest)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_logits_are_those_of_an_obvious_loop(longest: int, n_classes: int) -> None:
    vocabulary, _ = _count(TEXTS, longest)
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(1 if n_classes == 2 else n_classes, vocabulary.n_ngrams)).astype(np.float32)
    linear = NgramClassifier(vocabulary, weights, generator.normal(size=len(weights)))
    names, texts = vocabulary.names(), [*NEW_TEXTS, "", "a film unheard of", "unheard"]
    for text, logits in zip(texts, linear.logits(ENCODER.number(texts)), strict=True):
        expected = linear.intercepts.copy()
        for part in _ngrams(text, longest):
            for name in part:
                if name in names:
                    expected += weights[:, names.index(name)] * np.float64(np.float32(1 / np.sqrt(len(part))))
        np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)


def _ngrams(text: str, longest: int) -> tuple[set[str], set[str]]:
    words = text.split()
    return set(ngrams_of(words, longest)), {name for word in words for name in characters_of(word)}


def test_ngrams_of_characters_see_the_bounds_of_words() -> None:
    assert characters_of("Film") == [WITHIN + part for part in (" fil", "film", "ilm ")]
    assert characters_of("at") == [WITHIN + " at "]
    assert characters_of("a") == []


def test_documents_of_weight_zero_do_not_change_the_weights() -> None:
    codes = np.array([label == "good" for label in LABELS]).astype(int)
    vocabulary, contained = _count(TEXTS, 2)
    part, of_part = _count(TEXTS[:40], 2)
    fitted = fit_weights(contained, codes, (np.arange(len(codes)) < 40).astype(float), 2)
    alone = fit_weights(of_part, codes[:40], np.ones(40), 2)
    names = vocabulary.names()
    places = [names.index(name) for name in part.names()]
    np.testing.assert_allclose(fitted.weights[:, places], alone.weights, rtol=1e-3, atol=1e-4)
    assert np.count_nonzero(fitted.weights) <= len(places)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_machine_code_the_weights_are_the_same(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = make_texts(150, n_classes=n_classes)
    codes = np.unique(labels, return_inverse=True)[1]
    weights = np.random.default_rng(0).uniform(0.1, 3, len(codes)) * (np.arange(len(codes)) % 7 > 0)
    _, contained = _count(texts, 2)
    monkeypatch.setattr("seq_plugins.text.logistic_regression.TOLERANCE", 1e-8)
    fitted: list[NgramWeights] = []
    for setting in ("auto", "torch"):
        monkeypatch.setenv(SWITCH, setting)
        fitted.append(fit_weights(contained, codes, weights, n_classes))
    np.testing.assert_allclose(fitted[0].weights, fitted[1].weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fitted[0].intercepts, fitted[1].intercepts, rtol=1e-5, atol=1e-6)


def test_ngrams_are_words_and_their_neighbours_in_lower_case() -> None:
    assert ngrams_of(["A", "fine", "Film"], 2) == ["a", "fine", "film", f"a{JOINT}fine", f"fine{JOINT}film"]
    assert ngrams_of(["a"], 3) == ["a"]
    assert ngrams_of([], 2) == []


def test_each_ngram_stands_where_it_is_first() -> None:
    words = ["a", "Fine", "a", "fine"]
    places = first_places_of(words, 2)
    assert set(places) == {*ngrams_of(words, 2), *characters_of("fine")}
    for name in ngrams_of(words, 2):
        assert JOINT.join(words[places[name]]).lower() == name
    assert places[characters_of("fine")[0]] == slice(1, 2)
    assert (places["fine"], places[f"a{JOINT}fine"]) == (slice(1, 2), slice(0, 2))


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_logits_are_those_of_scikit_learn_step_by_step(longest: int) -> None:
    codes = np.array([label == "good" for label in LABELS]).astype(int)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(codes))
    features, new_features = [], []
    for share, counter in (
        (1, CountVectorizer(ngram_range=(1, longest), binary=True, token_pattern=r"\S+")),  # noqa: S106
        (0.5, CountVectorizer(binary=True, analyzer=_characters_within_words)),
    ):
        contained = counter.fit_transform(TEXTS).toarray()
        positive, negative = (1 + contained.T @ (weights * (codes == code)) for code in (1, 0))
        ratios = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        factors = share * np.sign(ratios) * np.sqrt(np.abs(ratios))
        usual = np.median(contained.sum(axis=1))
        features.append(contained * factors * np.sqrt(usual / contained.sum(axis=1, keepdims=True)))
        new = counter.transform(NEW_TEXTS).toarray()
        n_ngrams = [len(counter.set_params(vocabulary=None).fit([text]).vocabulary_) for text in NEW_TEXTS]
        new_features.append(new * factors * np.sqrt(usual / np.array(n_ngrams))[:, None])
    # liblinear's dual solver holds the intercept small, as it does the weights
    design = np.hstack([*features, np.ones((len(codes), 1))])
    regression = LogisticRegression(fit_intercept=False, max_iter=1000, tol=1e-8)
    regression.fit(design, codes, sample_weight=weights)
    expected = regression.decision_function(np.hstack([*new_features, np.ones((len(NEW_TEXTS), 1))]))
    found = _fit(TEXTS, codes, weights, longest).logits(ENCODER.number(NEW_TEXTS))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-2, atol=1e-2)


def _characters_within_words(text: str) -> list[str]:
    return [name for word in text.split() for name in characters_of(word)]


def test_contributions_and_the_intercept_add_up_to_the_logits_of_each_class() -> None:
    texts, labels = make_texts(120, n_classes=3)
    classes, codes = np.unique(labels, return_inverse=True)
    linear = _fit(texts, codes, np.ones(120), 2, len(classes))
    words = [*texts[0].split(), "never", "seen"]
    added = linear.intercepts + sum(linear.contributions(words).values())
    np.testing.assert_allclose(added, linear.logits(ENCODER.number([" ".join(words)]))[0], rtol=1e-6)
    assert linear.logits(ENCODER.number(texts)).argmax(axis=1).tolist() == codes.tolist()
    assert linear.logits(ENCODER.number([])).shape == (0, 3)
    np.testing.assert_allclose(linear.logits(ENCODER.number([""]))[0], linear.intercepts)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_network_that_knows_nothing_more_has_no_weight(n_classes: int) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(n_classes, size=400)
    signal = np.eye(n_classes)[codes][:, 1:] if n_classes == 2 else np.eye(n_classes)[codes]
    linear = 3 * signal - 1.5 + generator.normal(size=signal.shape)
    against = -signal + generator.normal(size=signal.shape)
    mixture = fit_mixture(linear, against, codes, np.ones(400))
    assert mixture.network == 0
    assert mixture.linear > 0.5
    helpful = 3 * signal - 1.5 + generator.normal(size=signal.shape)
    assert fit_mixture(linear, helpful, codes, np.ones(400)).network > 0.3


def test_with_hardly_any_texts_the_linear_classifier_is_trusted() -> None:
    mixture = fit_mixture(np.array([[1.0]]), np.array([[-1.0]]), np.array([1]), np.ones(1))
    assert mixture.linear == pytest.approx(1, abs=0.3)
    assert mixture.network == 0


def test_a_surplus_of_one_class_among_few_texts_hardly_moves_the_bound_between_classes() -> None:
    linear = np.tile([[-1.0], [1.0]], (20, 1))
    codes = np.tile([0, 1], 20)
    codes[::4] = 1  # a quarter of all, by chance
    few = fit_mixture(linear, np.zeros_like(linear), codes, np.ones(40))
    assert 0 < few.offsets[0] < 0.15
    many = fit_mixture(np.tile(linear, (50, 1)), np.zeros((2000, 1)), np.tile(codes, 50), np.ones(2000))
    assert many.offsets[0] > 0.4


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_without_texts_to_learn_from_the_network_has_half_the_weight(n_outputs: int) -> None:
    nothing = np.zeros((0, n_outputs))
    mixture = fit_mixture(nothing, nothing, np.zeros(0, int), np.zeros(0))
    assert (mixture.linear, mixture.network, mixture.offsets.tolist()) == (1, 0.5, [0] * n_outputs)


def test_few_texts_are_set_aside_in_five_parts_and_the_network_learns_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[int] = []
    train = Trainer.train

    def noted(self: Trainer, learned: Any, *arguments: Any, **keywords: Any) -> Any:
        learnt.append(len(learned.codes))
        return train(self, learned, *arguments, **keywords)

    monkeypatch.setattr(Trainer, "train", noted)
    few = make_classifier(n_epochs=2, ngrams=2).fit(TEXTS, LABELS)
    assert learnt == [128] * 5 + [160]
    assert few.n_epochs_ == 2
    learnt.clear()
    monkeypatch.setattr("seq_plugins.text.classifier.FEW_TEXTS", 160)
    make_classifier(n_epochs=2, ngrams=2).fit(TEXTS, LABELS)
    assert learnt == [144]


def test_what_the_weights_are_learnt_from_is_out_of_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[np.ndarray, ...]] = []

    def noted(*arguments: Any) -> Any:
        given.append(arguments)
        return fit_mixture(*arguments)

    monkeypatch.setattr("seq_plugins.text.classifier.fit_mixture", noted)
    texts = [f"a b{number}" for number in range(60)]  # no word tells anything of another text
    labels = np.random.default_rng(0).permutation(["good", "bad"] * 30)
    vectors = make_vectors(["a", *(f"b{number}" for number in range(60))])
    classifier = make_classifier(vectors=vectors, n_epochs=30, ngrams=1).fit(texts, labels)
    ((linear, network, codes, _),) = given
    assert classifier.score(texts, labels) > 0.8  # of the texts that it has seen
    assert np.mean((linear[:, 0] > 0) == codes) < 0.65
    assert np.mean((network[:, 0] > 0) == codes) < 0.65


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True}, {"class_weight": "balanced", "ngrams": 1}])
def test_a_classifier_with_ngrams_learns_is_saved_and_explained(
    n_classes: int, arguments: dict[str, Any], tmp_path: Path
) -> None:
    texts, labels = make_texts(180, n_classes=n_classes)
    classifier = make_classifier(n_epochs=6, **{"ngrams": 2} | arguments).fit(texts, labels)
    new_texts, new_labels = make_texts(60, seed=1, n_classes=n_classes)
    assert np.mean(classifier.predict(new_texts) == new_labels) > 0.9
    probabilities = classifier.predict_proba(new_texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    classifier.save(tmp_path / "model")
    loaded = SentimentClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(new_texts), probabilities)
    assert loaded.explain(new_texts[0]) == classifier.explain(new_texts[0])
    for label in classifier.classes_.tolist():
        explanation = classifier.explain(new_texts[0], label)
        logits = np.atleast_1d(classifier.decision_function(new_texts[:1])[0])
        code = classifier.classes_.tolist().index(label)
        expected = logits[0] * (1 if code == 1 else -1) if n_classes == 2 else logits[code]
        assert explanation.logit == pytest.approx(expected, abs=1e-4)
        assert explanation.label == label
        added = explanation.baseline + sum(phrase.contribution for phrase in explanation.phrases)
        assert explanation.logit == pytest.approx(added, abs=1e-6)
    assert classifier.explain(new_texts[0]).label == classifier.predict(new_texts[:1])[0]


def test_words_without_a_vector_count_in_ngrams() -> None:
    texts = [f"the film with a zombie {number % 7}" for number in range(60)] + ["the film with a wizard"] * 60
    labels = ["bad"] * 60 + ["good"] * 60
    classifier = make_classifier(vectors=make_vectors(["the", "film", "with", "a"]), n_epochs=2, ngrams=2)
    classifier.fit(texts, labels)
    assert classifier.predict(["zombie", "a Wizard"]).tolist() == ["bad", "good"]
    explanation = classifier.explain("Look: a zombie!")
    assert explanation.phrases[0].text in ("zombie", "a zombie")
    assert next(phrase for phrase in explanation.phrases if phrase.text == "zombie").start == 8


def test_texts_of_weight_zero_count_for_nothing_in_ngrams() -> None:
    weights = np.ones(len(TEXTS))
    weights[::5] = 0
    kept = np.flatnonzero(weights)
    whole = make_classifier(n_epochs=2, ngrams=2).fit(TEXTS, LABELS, weights)
    part = make_classifier(n_epochs=2, ngrams=2).fit([TEXTS[place] for place in kept], np.array(LABELS)[kept])
    np.testing.assert_allclose(whole.predict_proba(NEW_TEXTS), part.predict_proba(NEW_TEXTS), rtol=1e-5)


def test_the_same_seed_gives_the_same_numbers_and_a_clone_is_fitted_alike() -> None:
    classifier = make_classifier(n_epochs=2, ngrams=2)
    expected = classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    np.testing.assert_array_equal(clone(classifier).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS), expected)


def test_partial_fit_trains_the_network_and_leaves_the_linear_classifier() -> None:
    with pytest.warns(UserWarning, match=r"linear classifier of ngrams=2 needs all texts at once\. Call fit"):
        alone = make_classifier(ngrams=2).partial_fit(TEXTS, LABELS, classes=["good", "bad"])
    assert alone.ngrams_ is None
    classifier = make_classifier(n_epochs=2, ngrams=2).fit(TEXTS, LABELS)
    before = classifier.ngrams_
    scores = classifier.decision_function(NEW_TEXTS)
    classifier.partial_fit(TEXTS, LABELS)
    assert classifier.ngrams_ is before
    assert np.abs(classifier.decision_function(NEW_TEXTS) - scores).max() > 0


@pytest.mark.parametrize(("ngrams", "error"), [(0, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_a_wrong_number_of_words_is_told(ngrams: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="ngrams"):
        make_classifier(ngrams=ngrams).fit(TEXTS, LABELS)

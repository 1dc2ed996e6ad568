"""The classifier: what it learns, what it depends on, what it leaves alone."""

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from seq_plugins._progress import progress_bar
from seq_plugins.text import SentimentClassifier, Word2VecVectorizer
from seq_plugins.text.pooled_convolution import SWITCH
from seq_plugins.text.training import Trainer
from tests.text.samples import BAD, GOOD, OTHER, make_classifier, make_texts, make_vectors

TEXTS, LABELS = make_texts()
NEW_TEXTS, NEW_LABELS = make_texts(seed=1)


def test_it_learns_words_and_their_probabilities() -> None:
    classifier = make_classifier().fit(TEXTS, LABELS)
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.95
    assert classifier.classes_.tolist() == ["bad", "good"]
    probabilities = classifier.predict_proba(NEW_TEXTS)
    assert probabilities.shape == (120, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(NEW_TEXTS)).all()
    logits = classifier.decision_function(NEW_TEXTS)
    np.testing.assert_allclose(np.log(probabilities[:, 1] / probabilities[:, 0]), logits, atol=1e-5)


def test_the_lectures_network_is_a_setting_with_a_name() -> None:
    vectors = make_vectors()
    arguments = SentimentClassifier.lecture(vectors, n_epochs=5, random_state=3).get_params()
    lecture = {
        "vectors": vectors, "maxlen": 400, "num_filters": 250, "kernel_size": 3, "hidden_dim": 250, "dropout": 0.2,
        "batch_size": 32, "n_epochs": 5, "learning_rate": 1e-3, "train_embeddings": False, "oov": "skip",
        "ngrams": None, "early_stopping": False, "tokenizer": "treebank", "random_state": 3,
    }  # fmt: skip
    assert arguments | lecture == arguments
    network = SentimentClassifier.lecture(vectors, verbose=False).fit(TEXTS, LABELS).network_
    assert [tuple(kernel.shape) for kernel in network.kernels] == [(3, 250, 16)]
    with pytest.raises(TypeError, match="n_epoch"):
        SentimentClassifier.lecture(n_epoch=3)


@pytest.mark.parametrize("n_texts", [4, 10, 120])
def test_the_defaults_learn_from_few_texts_too(n_texts: int) -> None:
    classifier = SentimentClassifier(make_vectors(), verbose=False, random_state=1).fit(
        TEXTS[:n_texts], LABELS[:n_texts]
    )
    assert classifier.score(TEXTS[:n_texts], LABELS[:n_texts]) == 1
    assert classifier.ngrams_ is not None
    if n_texts == 120:
        assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.95


@pytest.mark.parametrize("arguments", [{}, {"early_stopping": False}, {"ngrams": None}])
@pytest.mark.parametrize("labels", [["good"] * 49 + ["bad"], ["good"] * 80 + ["bad"], ["good", "bad"] * 24])
def test_where_texts_are_too_few_nothing_is_set_aside(arguments: Any, labels: list[str]) -> None:
    classifier = SentimentClassifier(make_vectors(), n_epochs=3, verbose=False, random_state=1, **arguments)
    classifier.fit([f"a {'fine' if label == 'good' else 'dull'} film" for label in labels], labels)
    assert classifier.n_epochs_ == 3
    assert not any("validation_loss" in row for row in classifier.history_)
    assert classifier.predict(["fine film", "dull film"]).shape == (2,)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": [2, 3]},
        {"train_embeddings": True, "n_epochs": 30},
        {"oov": "random", "train_embeddings": True, "n_epochs": 30},
        {"oov": "zero", "dropout": 0.0},
        {"vectors": None, "n_epochs": 60},
        {"early_stopping": True, "patience": 40, "validation_fraction": 0.2},
        {"class_weight": "balanced"},
    ],
)
def test_every_variant_learns(arguments: Any) -> None:
    assert make_classifier(**arguments).fit(TEXTS, LABELS).score(NEW_TEXTS, NEW_LABELS) > 0.9


def test_it_learns_three_classes() -> None:
    texts, labels = make_texts(150, n_classes=3)
    vectors = make_vectors([*OTHER, *GOOD, *BAD, "so-so", "middling"])
    classifier = make_classifier(vectors=vectors).fit(texts, labels)
    assert classifier.classes_.tolist() == ["bad", "good", "neutral"]
    assert classifier.score(*make_texts(150, seed=1, n_classes=3)) > 0.9
    probabilities = classifier.predict_proba(texts)
    assert probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert classifier.decision_function(texts).shape == (150, 3)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["a", "b"], [-1.0, 1.0], np.array(["x", "y"], object)])
def test_labels_of_every_kind_come_back_as_they_were(labels: Any) -> None:
    y = np.array([labels[number % 2] for number in range(len(TEXTS))])
    predicted = make_classifier(n_epochs=5).fit(TEXTS, y).predict(TEXTS)
    assert set(predicted) == set(labels)
    assert predicted.dtype == y.dtype


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series, lambda texts: np.array(texts, object), iter])
def test_texts_in_every_collection_are_the_same(make: Any) -> None:
    expected = make_classifier(n_epochs=2).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    found = make_classifier(n_epochs=2).fit(make(TEXTS), LABELS).predict_proba(make(NEW_TEXTS))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("arguments", [{}, {"vectors": None}, {"train_embeddings": True, "oov": "random"}])
def test_the_same_seed_gives_the_same_numbers_and_pytorchs_generator_is_left_alone(arguments: Any) -> None:
    first = make_classifier(n_epochs=2, **arguments).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    second = make_classifier(n_epochs=2, **arguments).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(first, second)
    other = make_classifier(n_epochs=2, random_state=2, **arguments).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert not np.array_equal(first, other)


def test_a_document_has_the_same_score_alone_and_among_others() -> None:
    classifier = make_classifier().fit(TEXTS, LABELS)
    together = classifier.decision_function(NEW_TEXTS * 4)
    alone = np.array([classifier.decision_function([text])[0] for text in NEW_TEXTS])
    np.testing.assert_allclose(together, np.tile(alone, 4), atol=1e-5)


def test_the_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = make_classifier(n_epochs=3, dropout=0.3, kernel_size=[2, 3, 4]).fit(TEXTS, LABELS)
    monkeypatch.setenv(SWITCH, "torch")
    plain = make_classifier(n_epochs=3, dropout=0.3, kernel_size=[2, 3, 4]).fit(TEXTS, LABELS)
    np.testing.assert_allclose(compiled.predict_proba(NEW_TEXTS), plain.predict_proba(NEW_TEXTS), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* no vector for more than half")  # as it is meant to be
def test_unknown_words_are_skipped_before_the_text_is_cut() -> None:
    classifier = make_classifier(maxlen=3).fit(TEXTS, LABELS)
    long = "unheard-of words that nobody knows, then: fine fine fine"
    assert classifier.decision_function([long])[0] == pytest.approx(classifier.decision_function(["fine fine fine"])[0])


# --- weights


def test_texts_of_weight_zero_might_as_well_not_be_there() -> None:
    weights = np.arange(len(TEXTS)) % 3 > 0
    kept = [text for text, weight in zip(TEXTS, weights, strict=True) if weight]
    labels = [label for label, weight in zip(LABELS, weights, strict=True) if weight]
    without = make_classifier(n_epochs=3).fit(kept, labels).predict_proba(NEW_TEXTS)
    zero = make_classifier(n_epochs=3).fit(TEXTS, LABELS, sample_weight=weights).predict_proba(NEW_TEXTS)
    np.testing.assert_array_equal(zero, without)


def test_class_weights_and_sample_weights_are_multiplied() -> None:
    by_text = np.where(np.array(LABELS) == "good", 2.0, 1.0)
    by_class = make_classifier(n_epochs=3, class_weight={"good": 2}).fit(TEXTS, LABELS)
    by_sample = make_classifier(n_epochs=3).fit(TEXTS, LABELS, sample_weight=by_text)
    np.testing.assert_allclose(by_class.predict_proba(NEW_TEXTS), by_sample.predict_proba(NEW_TEXTS))
    assert by_class.class_prior_.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(by_sample.class_prior_, [1 / 3, 2 / 3])


def test_balanced_classes_raise_the_rarer_one() -> None:
    rare = [number for number, label in enumerate(LABELS) if label == "bad" or number < 10]
    texts, labels = [TEXTS[number] for number in rare], [LABELS[number] for number in rare]
    plain = make_classifier(n_epochs=3, dropout=0.0).fit(texts, labels).predict_proba(NEW_TEXTS)[:, 1].mean()
    balanced = make_classifier(n_epochs=3, dropout=0.0, class_weight="balanced").fit(texts, labels)
    assert balanced.predict_proba(NEW_TEXTS)[:, 1].mean() > plain + 0.1


# --- epochs


def test_history_tells_each_epoch() -> None:
    classifier = make_classifier(n_epochs=4).fit(TEXTS, LABELS)
    assert [row["epoch"] for row in classifier.history_] == [1, 2, 3, 4]
    assert classifier.history_[-1]["loss"] < classifier.history_[0]["loss"]
    assert classifier.n_epochs_ == 4
    stopped = make_classifier(n_epochs=500, early_stopping=True, patience=2, learning_rate=0.05).fit(TEXTS, LABELS)
    assert stopped.n_epochs_ == len(stopped.history_) < 500
    assert all("validation_loss" in row for row in stopped.history_)


def test_partial_fit_goes_on_where_it_stopped() -> None:
    whole = make_classifier(n_epochs=3, train_embeddings=True).fit(TEXTS, LABELS)
    parts = make_classifier(train_embeddings=True)
    for _ in range(3):
        parts.partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    np.testing.assert_allclose(parts.predict_proba(NEW_TEXTS), whole.predict_proba(NEW_TEXTS), atol=1e-6)
    assert parts.n_epochs_ == 3
    np.testing.assert_allclose([row["loss"] for row in parts.history_], [row["loss"] for row in whole.history_])


def test_partial_fit_learns_from_parts_with_one_class_each() -> None:
    classifier = make_classifier()
    for _ in range(40):
        for first in range(2):
            classifier.partial_fit(TEXTS[first::2], LABELS[first::2], classes=["good", "bad"])
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.9
    np.testing.assert_allclose(classifier.class_prior_, 0.5)


def test_fit_starts_anew() -> None:
    classifier = make_classifier(n_epochs=2)
    once = classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    np.testing.assert_array_equal(classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS), once)


def test_partial_fit_tells_what_it_needs() -> None:
    with pytest.raises(ValueError, match="Expected classes in the first call of partial_fit"):
        make_classifier().partial_fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=r"Expected at least two classes, got \['good'\]"):
        make_classifier().partial_fit(TEXTS, LABELS, classes=["good"])
    with pytest.raises(ValueError, match=r"Expected labels among the classes \['fine', 'good'\], got \['bad'\] in y"):
        make_classifier().partial_fit(TEXTS, LABELS, classes=["good", "fine"])
    classifier = make_classifier().partial_fit(TEXTS, LABELS, classes=["good", "bad"])
    with pytest.raises(ValueError, match="Expected the classes of the first call"):
        classifier.partial_fit(TEXTS, LABELS, classes=["good", "fine"])


# --- vectors


def test_trained_embeddings_leave_the_vectors_that_were_given_as_they_are() -> None:
    vectors = make_vectors()
    before = vectors.vectors.copy()
    classifier = make_classifier(vectors=vectors, train_embeddings=True, n_epochs=5).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(vectors.vectors, before)
    rows = classifier.vectorizer_.table_.rows(np.arange(2, 2 + len(before)))
    assert not np.allclose(rows, before)


def test_read_only_vectors_are_no_problem() -> None:
    vectors = make_vectors()
    vectors.vectors.flags.writeable = False
    assert make_classifier(vectors=vectors, n_epochs=2).fit(TEXTS, LABELS).predict(TEXTS).shape == (120,)


def test_vectors_of_half_precision_are_used_as_they_are() -> None:
    vectors = make_vectors()
    single = make_classifier(vectors=vectors, n_epochs=2).fit(TEXTS, LABELS).predict_proba(TEXTS)
    vectors.vectors = vectors.vectors.astype(np.float16)
    half = make_classifier(vectors=vectors, n_epochs=2).fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_allclose(half, single, atol=1e-2)


def test_a_fitted_classifier_pickles() -> None:
    classifier = make_classifier(n_epochs=2).fit(TEXTS, LABELS)
    again: SentimentClassifier = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(NEW_TEXTS), classifier.predict_proba(NEW_TEXTS))
    again.partial_fit(TEXTS, LABELS)
    classifier.partial_fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(NEW_TEXTS), classifier.predict_proba(NEW_TEXTS))


def test_devices() -> None:
    cpu = make_classifier(n_epochs=2).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    automatic = make_classifier(n_epochs=2, device="auto").fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    np.testing.assert_allclose(automatic, cpu, atol=1e-4)
    for wrong in ("no-such-device", "cuda:99", 1.5):
        with pytest.raises(ValueError, match="Expected device to be 'cpu', 'auto' or a device that PyTorch finds"):
            make_classifier(device=wrong).fit(TEXTS, LABELS)


def test_work_of_a_moment_shows_no_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.std.time", lambda: 0.0)  # however long it takes here
    make_classifier(n_epochs=1, verbose=True).fit(TEXTS, LABELS).predict(TEXTS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verbose", [True, False])
def test_every_bar_is_off_where_asked(verbose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def record(*arguments: Any, **keywords: Any) -> Any:
        found.append(keywords["disable"])
        return progress_bar(*arguments, **keywords)

    for name in ("classifier", "encoding", "training", "word_vectors"):
        monkeypatch.setattr(f"seq_plugins.text.{name}.progress_bar", record)
    make_classifier(vectors=None, n_epochs=1, verbose=verbose).fit(TEXTS, LABELS).predict(TEXTS)
    assert found == [not verbose] * 6


# --- bad input: each a clear error or a stated behaviour


@pytest.mark.parametrize("empty", ["", "   \n", "unheard-of zombies", "שלום עולם", "مرحبا", "😀😀", "\u202e\u200f"])
def test_a_document_without_a_known_word_gets_the_class_prior_with_a_warning(empty: str) -> None:
    weights = np.where(np.array(LABELS) == "good", 3.0, 1.0)
    classifier = make_classifier(n_epochs=2).fit(TEXTS, LABELS, sample_weight=weights)
    with pytest.warns(UserWarning, match="1 of 2 texts have no word with a vector: they get the class prior"):
        probabilities = classifier.predict_proba(["a fine film", empty])
    np.testing.assert_allclose(probabilities[1], [0.25, 0.75])
    np.testing.assert_allclose(probabilities[1], classifier.class_prior_)
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        assert classifier.predict([empty]).tolist() == ["good"]
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        explanation = classifier.explain(empty)
    assert explanation.phrases == []
    assert explanation.logit == explanation.baseline == pytest.approx(np.log(3))


def test_the_prior_of_three_classes_is_given_too() -> None:
    texts, labels = make_texts(150, n_classes=3)
    vectors = make_vectors([*OTHER, *GOOD, *BAD, "so-so", "middling"])
    classifier = make_classifier(vectors=vectors, n_epochs=1).fit(texts[:80], labels[:80])
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        np.testing.assert_allclose(classifier.predict_proba([""])[0], classifier.class_prior_)


def test_training_texts_without_a_known_word_are_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="2 of 122 texts have no word with a vector and are left out"):
        classifier = make_classifier(n_epochs=2).fit([*TEXTS, "", "zombies"], [*LABELS, "good", "bad"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = make_classifier(n_epochs=2).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(classifier.predict_proba(NEW_TEXTS), expected.predict_proba(NEW_TEXTS))


def test_training_texts_without_any_known_word_are_told() -> None:
    with pytest.raises(ValueError, match="at least one text in X with a word that has a vector, found none"):
        make_classifier().fit(["zombies", ""], ["good", "bad"])
    classifier = make_classifier().partial_fit(TEXTS, LABELS, classes=["good", "bad"])
    with pytest.raises(ValueError, match="at least one text in X with a word that has a vector, found none"):
        classifier.partial_fit(["zombies", ""], ["good", "bad"])


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([*TEXTS[:-1], 5], TypeError, r"every entry of X to be a string, got int '5' at X\[119\]\. Turn it into text"),
        ([None, *TEXTS[1:]], TypeError, r"got None at X\[0\]\. Leave it out, or put an empty string"),
        ([TEXTS[0], float("nan"), *TEXTS[2:]], TypeError, r"got NaN at X\[1\]\. Leave it out"),
        ([b"bytes", *TEXTS[1:]], TypeError, r"got bytes .* at X\[0\]\. Decode it first"),
        ("a fine film", TypeError, "collection of texts, got a single str. Put it in a list"),
        (b"a fine film", TypeError, "collection of texts, got a single bytes"),
        (7, TypeError, "Expected X to be a collection of texts, got int"),
        (pd.Series([pd.NA, *TEXTS[1:]], dtype="string"), TypeError, r"got NA at X\.iloc\[0\], row 0\. Leave it out"),
        (
            pd.Series([TEXTS[0], None, *TEXTS[2:]], range(100, 220), name="review"),
            TypeError,
            r"got (None|NaN) at X\.iloc\[1\], row 101 of the column 'review'\. Leave it out",
        ),
        ([text.split() for text in TEXTS], TypeError, r"got list .* at X\[0\]\. Give texts, not their tokens: join"),
        (np.array(TEXTS)[:, None], ValueError, "Expected X to have one dimension, one text per sample, got 2"),
        (pd.DataFrame({"text": TEXTS}), ValueError, r"Take a single column, such as frame\['text'\]"),
        ([], ValueError, "Expected at least one text in X"),
    ],
)
def test_what_is_no_text_is_told(texts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_classifier().fit(texts, LABELS)
    classifier = make_classifier(n_epochs=1).fit(TEXTS, LABELS)
    with pytest.raises(error, match=message):
        classifier.predict(texts)
    with pytest.raises(error, match=message):
        Word2VecVectorizer(make_vectors()).fit(texts)


def test_texts_that_are_not_strings_are_not_explained() -> None:
    classifier = make_classifier(n_epochs=1).fit(TEXTS, LABELS)
    with pytest.raises(TypeError, match=r"Expected every entry of text to be a string, got bytes"):
        classifier.explain(b"fine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Expected label to be one of \['bad', 'good'\], got 'fine'"):
        classifier.explain("fine", label="fine")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "Expected one label for each text, got 120 texts and 119 labels"),
        (["good"] * 120, "Expected at least two classes in y, got one class only, 'good'"),
        ([None, *LABELS[1:]], r"without NaN, NA or None, got None at y\[0\]"),
        (
            pd.Series([pd.NA, *LABELS[1:]], range(100, 220), dtype="string", name="mood"),
            r"got <NA> at y\.iloc\[0\], row 100 of the column 'mood'",
        ),
        (pd.Series([0, pd.NA, *range(118)], dtype="Int64"), r"got <NA> at y\.iloc\[1\], row 1\. Leave the text out"),
        ([float("nan"), *range(119)], r"without NaN or infinity, got nan at y\[0\]"),
        (np.linspace(0, 1, 120), "Unknown label type: continuous"),
        (None, "y to be passed"),
        (np.zeros((120, 2)), "y should be a 1d array"),
    ],
)
def test_labels_that_do_not_fit_are_told(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_classifier().fit(TEXTS, labels)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 119, "Expected 120 numbers in sample_weight, one for each text, got 119"),
        ([-1.0] + [1.0] * 119, r"at least 0, got -1\.0 at sample_weight\[0\]"),
        ([1.0, float("nan")] + [1.0] * 118, r"got nan at sample_weight\[1\]"),
        ([0.0] * 120, "Expected a number above 0 in sample_weight"),
        (np.ones((120, 2)), "Sample weights must be 1D"),
        ((np.array(LABELS) == "good").astype(float), "Expected at least two classes in y, got one class only"),
    ],
)
def test_weights_that_do_not_fit_are_told(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_classifier().fit(TEXTS, LABELS, sample_weight=weights)


def test_a_megabyte_of_one_token_is_a_text_like_others() -> None:
    classifier = make_classifier(n_epochs=2).fit(TEXTS, LABELS)
    huge = "z" * 1_000_000
    assert classifier.decision_function([f"{huge} a fine film"])[0] == pytest.approx(
        classifier.decision_function(["a fine film"])[0]
    )
    repeated = classifier.decision_function(["fine " * 200_000])[0]
    assert repeated == pytest.approx(classifier.decision_function(["fine " * 16])[0])
    assert classifier.explain(f"{huge} a fine film").phrases[0].start >= 1_000_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"maxlen": 2}, ValueError, "Expected maxlen to be at least kernel_size, got maxlen=2 and kernel_size=3"),
        ({"kernel_size": [3, 17]}, ValueError, "got maxlen=16 and kernel_size=17"),
        ({"kernel_size": 0}, ValueError, "Expected kernel_size to be at least 1, got 0"),
        ({"kernel_size": []}, TypeError, "Expected kernel_size to be a whole number or several"),
        ({"kernel_size": "3"}, TypeError, "Expected kernel_size to be a whole number or several"),
        ({"kernel_size": 2.5}, TypeError, r"Expected kernel_size to be a whole number, got 2\.5"),
        ({"maxlen": 0}, ValueError, "Expected maxlen to be at least 1"),
        ({"num_filters": 0}, ValueError, "Expected num_filters to be at least 1, got 0"),
        ({"hidden_dim": -1}, ValueError, "Expected hidden_dim to be at least 1, got -1"),
        ({"batch_size": True}, TypeError, "Expected batch_size to be a whole number, got True"),
        ({"n_epochs": 0}, ValueError, "Expected n_epochs to be at least 1"),
        ({"dropout": 1}, ValueError, "Expected dropout to be at least 0 and below 1, got 1"),
        ({"learning_rate": 0}, ValueError, "Expected learning_rate to be above 0, got 0"),
        ({"learning_rate": float("nan")}, ValueError, "Expected learning_rate to be above 0, got nan"),
        ({"validation_fraction": 1.0}, ValueError, "Expected validation_fraction to be above 0 and below 1"),
        ({"patience": 0}, ValueError, "Expected patience to be at least 1"),
        ({"train_embeddings": 1}, ValueError, "Expected train_embeddings to be one of True, False, got 1"),
        ({"class_weight": "even"}, ValueError, "Expected class_weight to be one of None, 'balanced', got 'even'"),
        ({"vectors": [1, 2]}, TypeError, "Expected vectors to be gensim's KeyedVectors"),
        ({"oov": "guess"}, ValueError, "Expected oov to be one of"),
        ({"early_stopping": True, "validation_fraction": 0.999}, ValueError, "Give more texts, another fraction"),
    ],
)
def test_wrong_arguments_are_told(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_classifier(**arguments).fit(TEXTS, LABELS)


def test_asking_before_training_is_told() -> None:
    for method, argument in {"predict": TEXTS, "predict_proba": TEXTS, "explain": "fine", "save": "model"}.items():
        with pytest.raises(NotFittedError):
            getattr(make_classifier(), method)(argument)


def _fail_in(
    classifier: SentimentClassifier, method: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Let a fit end with an error in the middle of its training."""

    def end(*args: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            classifier.network_.output.add_(1)  # some of it has been trained
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_run_epoch", end)
        with pytest.raises(type(error)):
            getattr(classifier, method)(TEXTS, LABELS)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("error", [ValueError("diverged"), KeyboardInterrupt()])
def test_a_fit_that_fails_leaves_the_model_of_before(
    method: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = make_classifier(n_epochs=3).fit(TEXTS, LABELS)
    before, prior, history = classifier.predict_proba(TEXTS), classifier.class_prior_, list(classifier.history_)
    _fail_in(classifier, method, monkeypatch, error)
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), before)
    np.testing.assert_array_equal(classifier.class_prior_, prior)
    assert classifier.history_ == history
    classifier.partial_fit(TEXTS, LABELS)


def test_a_first_fit_that_fails_leaves_a_classifier_that_is_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = make_classifier()
    _fail_in(classifier, "fit", monkeypatch, ValueError("diverged"))
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)
    with pytest.raises(ValueError, match="training has diverged"):
        make_classifier(learning_rate=1e30, n_epochs=3).fit(TEXTS, LABELS)


def test_texts_without_a_known_word_move_neither_the_prior_nor_the_optimizer() -> None:
    classifier = make_classifier(n_epochs=2).fit(TEXTS, LABELS)
    prior, trainer = classifier.class_prior_, classifier._trainer
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="word that has a vector"):
            getattr(classifier, method)(["zombie"] * 6, ["good", "bad"] * 3)
    np.testing.assert_array_equal(classifier.class_prior_, prior)
    assert classifier._trainer is trainer

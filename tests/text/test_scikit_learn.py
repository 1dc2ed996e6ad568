"""What people expect of scikit-learn's estimators."""

from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from seq_plugins.text import SentimentClassifier, SharedWordVectors, Word2VecVectorizer
from seq_plugins.text.word_vectors import make_keyed_vectors
from tests.text.samples import make_classifier, make_texts, make_vectors

TEXTS, LABELS = make_texts()

# --- scikit-learn's own checks. They give estimators numbers, and are skipped for those that take texts. So they are
# run on classes that read numbers as words: the word of a number tells its column and its size.

N_COLUMNS, N_SIZES = 40, 41


def _make_number_vectors() -> Any:
    generator = np.random.default_rng(0)
    columns = generator.standard_normal((N_COLUMNS, 12))
    sizes = np.linspace(-2, 2, N_SIZES)[:, None] * generator.standard_normal((N_COLUMNS, 1, 12))
    words = [f"c{column}s{size}" for column in range(N_COLUMNS) for size in range(N_SIZES)]
    vectors = (columns[:, None] + sizes).reshape(-1, 12) / 2
    return make_keyed_vectors(words, vectors.astype(np.float32))


NUMBER_VECTORS = _make_number_vectors()


def read_numbers(numbers: np.ndarray) -> list[str]:
    """Return a text for each row of numbers."""
    sizes = np.round(np.arcsinh(2 * np.asarray(numbers, float)) * 4).clip(-(N_SIZES // 2), N_SIZES // 2).astype(int)
    sizes += N_SIZES // 2
    return [" ".join(f"c{column % N_COLUMNS}s{size}" for column, size in enumerate(row)) for row in sizes.tolist()]


class _OfNumbers(BaseEstimator):
    """Checks numbers as scikit-learn does, and hands them on as texts."""

    def __repr__(self) -> str:
        return type(self).__name__  # the names of the tests must not hold the address of the vectors

    def _read(self, numbers: Any, reset: bool) -> list[str]:
        if not reset:
            check_is_fitted(self)
        return read_numbers(validate_data(self, numbers, reset=reset))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string, tags.input_tags.one_d_array = True, False, False
        return tags


class ClassifierOfNumbers(_OfNumbers, SentimentClassifier):
    """The classifier, for numbers."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803
        return super().fit(self._read(X, True), y, sample_weight)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:  # noqa: N803
        texts = self._read(X, not hasattr(self, "classes_"))
        return super().partial_fit(texts, y, classes, sample_weight)

    def decision_function(self, X: Any) -> Any:  # noqa: N803
        return super().decision_function(self._read(X, False))


class VectorizerOfNumbers(_OfNumbers, Word2VecVectorizer):
    """The vectorizer, for numbers."""

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        return super().fit(self._read(X, True))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:  # noqa: N803
        return super().fit_transform(self._read(X, True))

    def transform(self, X: Any) -> Any:  # noqa: N803
        return super().transform(self._read(X, False))


EXPECTED_TO_FAIL = {
    "check_methods_subset_invariance": (
        "the check wants 1e-7; matrix products in single precision round otherwise for other numbers of documents, by "
        "5e-7 (test_a_document_has_the_same_score_alone_and_among_others)"
    ),
    "check_sample_weight_equivalence_on_dense_data": (
        "a text of weight two is in one batch of a stochastic gradient descent, two texts are in two"
    ),
}


@parametrize_with_checks(
    [
        ClassifierOfNumbers(
            NUMBER_VECTORS, maxlen=N_COLUMNS, kernel_size=1, num_filters=40, hidden_dim=20, n_epochs=60,
            learning_rate=5e-3, verbose=False, random_state=0,
        ),
        VectorizerOfNumbers(NUMBER_VECTORS, maxlen=N_COLUMNS),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_TO_FAIL if is_classifier(estimator) else {},
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:partial_fit trains the network alone")  # as it is meant to
@pytest.mark.filterwarnings("ignore:TypeError occurred during set_params")  # a grid search would copy the vectors
def test_scikit_learns_checks_pass_where_texts_stand_for_numbers(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


CHECKS_OF_ANY_INPUT = [
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order",
    "check_get_params_invariance", "check_set_params", "check_parameters_default_constructible",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:TypeError occurred during set_params")  # a grid search would copy the vectors
@pytest.mark.parametrize("check", CHECKS_OF_ANY_INPUT)
@pytest.mark.parametrize("estimator", [SentimentClassifier(verbose=False), Word2VecVectorizer(make_vectors())])
def test_checks_that_need_no_numbers_pass_as_they_are(estimator: Any, check: str) -> None:
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("estimator", [SentimentClassifier(), Word2VecVectorizer(make_vectors())])
def test_scikit_learn_itself_skips_what_takes_texts(estimator: Any) -> None:
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):
        estimator_checks.check_estimator(estimator, on_skip=None)


def test_tags_say_what_it_takes() -> None:
    tags = get_tags(SentimentClassifier())
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert is_classifier(SentimentClassifier())


# --- the tools that people use


def test_cloning_shares_the_vectors() -> None:
    vectors = make_vectors()
    classifier = make_classifier(vectors=vectors, kernel_size=[2, 3]).fit(TEXTS, LABELS)
    copy = clone(classifier)
    assert copy.vectors is vectors
    assert not hasattr(copy, "classes_")
    expected = {name: value for name, value in classifier.get_params().items() if name != "vectors"}
    assert {name: value for name, value in copy.get_params().items() if name != "vectors"} == expected
    assert np.shares_memory(classifier.vectorizer_.table_.vectors, vectors.vectors)
    assert clone(Pipeline([("classifier", classifier)]))["classifier"].vectors is vectors


def test_pipeline_and_grid_search() -> None:
    pipeline = Pipeline(
        [
            ("lower", FunctionTransformer(lambda texts: [text.lower() for text in texts])),
            ("classifier", make_classifier(n_epochs=10)),
        ]
    )
    grid = {"classifier__num_filters": [2, 12], "classifier__kernel_size": [1, [2, 3]]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(TEXTS, LABELS)
    assert search.best_score_ > 0.8
    assert search.score(*make_texts(seed=1)) > 0.8
    assert search.best_estimator_["classifier"].vectors is pipeline["classifier"].vectors


class _NeverCopied(KeyedVectors):
    """Word vectors that nobody may copy."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise AssertionError("the vectors are copied")


def _make_never_copied(n_dimensions: int) -> KeyedVectors:
    vectors = make_vectors(n_dimensions=n_dimensions)
    vectors.__class__ = _NeverCopied
    return vectors


@pytest.mark.parametrize("name", ["vectors", "classifier__vectors"])
def test_a_grid_over_shared_vectors_copies_none(name: str) -> None:
    shared = [SharedWordVectors(_make_never_copied(n_dimensions)) for n_dimensions in (4, 16)]
    estimator = make_classifier(n_epochs=1)
    if name != "vectors":
        estimator = Pipeline([("classifier", estimator)])
    search = GridSearchCV(estimator, {name: shared}, cv=2).fit(TEXTS, LABELS)
    best = search.best_estimator_ if name == "vectors" else search.best_estimator_["classifier"]
    assert best.vectors in shared
    assert best.vectorizer_.vectors_ is best.vectors.wv
    assert np.shares_memory(best.vectorizer_.table_.vectors, best.vectors.wv.vectors)


@pytest.mark.parametrize("estimator", [SentimentClassifier(), Word2VecVectorizer(make_vectors())])
def test_a_grid_over_gensims_vectors_is_refused_with_the_way(estimator: Any) -> None:
    model = Word2Vec(vector_size=4)
    for vectors in (make_vectors(), model):
        with pytest.raises(TypeError, match=r"a name, a path or SharedWordVectors, got \w+: scikit-learn copies it"):
            GridSearchCV(estimator, {"vectors": [vectors]}, cv=2, scoring=lambda *_: 0.0).fit(TEXTS, LABELS)


def test_parameters_can_be_set_to_what_they_are() -> None:
    classifier = make_classifier()
    parameters = classifier.get_params()
    assert classifier.set_params(**parameters).get_params() == parameters
    assert classifier.set_params(vectors="glove-6b-50d").vectors == "glove-6b-50d"
    assert classifier.set_params(vectors=None).vectors is None


def _is_mapped(classifier: SentimentClassifier) -> bool:
    return isinstance(classifier.vectors.wv.vectors, np.memmap)


@pytest.mark.slow
def test_shared_vectors_are_mapped_into_processes() -> None:
    vectors = make_vectors([f"word{number}" for number in range(2**15)])  # 2 MB
    classifier = make_classifier(vectors=SharedWordVectors(vectors))
    assert all(joblib.Parallel(n_jobs=2)(joblib.delayed(_is_mapped)(classifier) for _ in range(2)))


def test_cross_validation_in_processes() -> None:
    classifier = make_classifier(n_epochs=10)
    alone = cross_val_score(classifier, TEXTS, LABELS, cv=3)
    together = cross_validate(classifier, TEXTS, LABELS, cv=3, n_jobs=2, return_estimator=True)
    np.testing.assert_array_equal(together["test_score"], alone)
    assert alone.mean() > 0.7
    assert together["estimator"][0].predict(TEXTS).shape == (120,)


def test_calibration() -> None:
    calibrated = CalibratedClassifierCV(make_classifier(n_epochs=10), cv=3).fit(TEXTS, LABELS)
    assert calibrated.score(*make_texts(seed=1)) > 0.8
    np.testing.assert_allclose(calibrated.predict_proba(TEXTS).sum(axis=1), 1)


def test_numpys_strings_and_lists_of_texts_can_be_split() -> None:
    for texts in (np.array(TEXTS), np.array(TEXTS, object), TEXTS):
        assert len(cross_val_score(make_classifier(n_epochs=1), texts, LABELS, cv=2)) == 2

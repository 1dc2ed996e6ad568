"""The vectorizer: the lecture's loop, faster, as a transformer."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.sentiment.speed_cases import tokenize_and_vectorize
from seq_plugins.text import Word2VecVectorizer
from seq_plugins.text.documents import Documents, WordTable
from tests.text.samples import make_texts, make_vectors, needs_data, read_movie_reviews


def pad(vectorized: list[list[np.ndarray]], maxlen: int, n_dimensions: int) -> np.ndarray:
    """Cut or fill up with zeros at the end."""
    array = np.zeros((len(vectorized), maxlen, n_dimensions), np.float32)
    for document, found in enumerate(vectorized):
        for place, vector in enumerate(found[:maxlen]):
            array[document, place] = vector
    return array


@pytest.mark.filterwarnings("ignore:.* no vector for more than half")  # as it is meant to be
@pytest.mark.parametrize("maxlen", [1, 5, 40])
def test_arrays_are_those_of_the_lecture(maxlen: int) -> None:
    texts = [*make_texts(20)[0], "nothing known", "", "a fine, (very) moving film..."]
    vectors = make_vectors()
    vectorizer = Word2VecVectorizer(vectors, maxlen=maxlen, tokenizer="treebank").fit(texts)
    ids = vectorizer.transform(texts)
    assert ids.dtype == np.int32
    assert ids.shape == (len(texts), maxlen)
    expected = pad(tokenize_and_vectorize(texts, vectors), maxlen, 16)
    np.testing.assert_array_equal(vectorizer.to_array(texts), expected)
    np.testing.assert_array_equal(vectorizer.to_array(ids), expected)
    np.testing.assert_array_equal(
        Word2VecVectorizer(vectors, maxlen=maxlen, tokenizer="treebank").fit_transform(texts), ids
    )


@needs_data
def test_arrays_of_real_reviews_are_those_of_the_lecture() -> None:
    texts, _ = read_movie_reviews(20)
    words = sorted({word for text in texts[::2] for word in text.split()})
    vectors = make_vectors(words, 3)
    array = Word2VecVectorizer(vectors, tokenizer="treebank").fit(texts).to_array(texts)
    np.testing.assert_array_equal(array, pad(tokenize_and_vectorize(texts, vectors), 400, 3))


def test_the_first_word_of_the_vectors_is_neither_padding_nor_unknown() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["first", "second"]), maxlen=3, oov="zero")
    assert vectorizer.fit_transform(["first nothing second", ""]).tolist() == [[2, 1, 3], [0, 0, 0]]


@pytest.mark.filterwarnings("ignore:.* no vector for more than half")  # as it is meant to be
def test_unknown_words_are_skipped_kept_as_zeros_or_given_random_vectors() -> None:
    vectors = make_vectors(["fine", "film"])
    texts = ["a fine film", "b fine b"]
    skipping = Word2VecVectorizer(vectors, maxlen=3).fit(texts)
    assert skipping.transform(texts).tolist() == [[2, 3, 0], [2, 0, 0]]
    zeros = Word2VecVectorizer(vectors, maxlen=3, oov="zero").fit(texts)
    assert zeros.transform(texts).tolist() == [[1, 2, 3], [1, 2, 1]]
    assert not zeros.to_array(texts)[0, 0].any()
    drawing = Word2VecVectorizer(vectors, maxlen=3, oov="random", random_state=1).fit(texts)
    assert drawing.transform([*texts, "new fine"]).tolist() == [[4, 2, 3], [5, 2, 5], [1, 2, 0]]
    array = drawing.to_array([*texts, "new fine"])
    assert len({array[0, 0].tobytes(), array[1, 0].tobytes(), array[2, 0].tobytes()}) == 3
    assert drawing.unknown_words_ == ["a", "b"]
    again = Word2VecVectorizer(vectors, maxlen=3, oov="random", random_state=1).fit(texts)
    np.testing.assert_array_equal(again.to_array(texts), drawing.to_array(texts))
    for vectorizer in (skipping, zeros, drawing):
        assert vectorizer.unknown_share_ == pytest.approx(3 / 6)


def test_random_vectors_have_the_spread_of_the_others() -> None:
    vectors = make_vectors([f"known{number}" for number in range(50)], 40)
    vectorizer = Word2VecVectorizer(vectors, oov="random", random_state=0).fit(
        [f"word{number}" for number in range(99)]
    )
    drawn = vectorizer.table_.more
    assert drawn.std() == pytest.approx(vectors.vectors.std(), rel=0.05)


def test_what_has_no_vector_is_reported() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["fine", "film"])).fit(["fine film"])
    report = vectorizer.unknown(["fine zombie film", "zombie vampire", ""])
    assert (report.n_tokens, report.n_unknown, report.share) == (5, 3, 0.6)
    assert report.most_common == [("zombie", 2), ("vampire", 1)]


def test_words_come_back_from_their_ids() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["fine", "film"]), maxlen=4, oov="random", random_state=1)
    ids = vectorizer.fit_transform(["fine zombie film"])
    assert vectorizer.inverse_transform(ids) == [["fine", "zombie", "film"]]
    assert vectorizer.inverse_transform(vectorizer.transform(["vampire film"])) == [[None, "film"]]


@pytest.mark.parametrize(
    ("words", "lowercase", "is_found"),
    [
        (["fine"], "auto", True),
        (["fine", "Berlin"], "auto", False),
        (["fine"], False, False),
        (["fine", "Berlin"], True, True),
    ],
)
def test_words_are_looked_up_in_lower_case_where_the_vectors_are(
    words: list[str], lowercase: Any, is_found: bool
) -> None:
    vectorizer = Word2VecVectorizer(make_vectors(words), maxlen=1, lowercase=lowercase)
    assert bool(vectorizer.fit_transform(["FINE"])[0, 0]) is is_found


def split_at_commas(text: str) -> list[str]:
    """Split a text at its commas."""
    return text.split(",")


def test_a_tokenizer_of_ones_own_is_used() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["very fine"]), maxlen=2, tokenizer=split_at_commas)
    assert vectorizer.fit_transform(["very fine,film"]).tolist() == [[2, 0]]


@pytest.mark.filterwarnings("ignore:.* have no vector and are left out")  # split at commas, texts are no words
@pytest.mark.parametrize("tokenizer", [None, split_at_commas])
@pytest.mark.parametrize("oov", ["skip", "random"])
def test_several_processes_find_the_same(oov: str, tokenizer: Any) -> None:
    texts = [f"{text}, new{number % 7}" for number, text in enumerate(make_texts(450)[0])]
    arguments: dict[str, Any] = {"oov": oov, "tokenizer": tokenizer, "random_state": 1, "maxlen": 20}
    alone = Word2VecVectorizer(make_vectors(), **arguments).fit_transform(texts)
    together = Word2VecVectorizer(make_vectors(), n_jobs=2, **arguments).fit_transform(texts)
    np.testing.assert_array_equal(together, alone)


def test_cloning_copies_no_vectors() -> None:
    vectors = make_vectors()
    vectorizer = Word2VecVectorizer(vectors, maxlen=7, tokenizer=split_at_commas)
    copy = clone(vectorizer)
    assert copy is not vectorizer
    assert copy.vectors is vectors
    assert copy.get_params() == vectorizer.get_params()
    fitted = vectorizer.fit(["a film"])
    assert np.shares_memory(fitted.table_.vectors, vectors.vectors)


def test_it_works_in_a_pipeline_and_pickles() -> None:
    texts, labels = make_texts()
    vectorizer = Word2VecVectorizer(make_vectors(), maxlen=12)
    flat = FunctionTransformer(lambda ids: vectorizer.fit(texts).to_array(ids).reshape(len(ids), -1))
    pipeline = make_pipeline(vectorizer, flat, LogisticRegression())
    assert pipeline.fit(texts, labels).score(texts, labels) > 0.6
    again = pickle.loads(pickle.dumps(vectorizer.fit(texts)))
    np.testing.assert_array_equal(again.transform(texts), vectorizer.transform(texts))


def test_columns_have_names_for_data_frames() -> None:
    frame = pd.DataFrame({"review": ["a fine film", "dull"], "stars": [5, 1]})
    columns = ColumnTransformer([("words", Word2VecVectorizer(make_vectors(), maxlen=3), "review")])
    table = columns.set_output(transform="pandas").fit_transform(frame)
    assert table.columns.tolist() == ["words__word0", "words__word1", "words__word2"]
    assert (table.to_numpy()[1] > 0).tolist() == [True, False, False]
    with pytest.raises(NotFittedError):
        Word2VecVectorizer(make_vectors()).get_feature_names_out()


def test_ids_that_cannot_be_are_told() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["fine"])).fit(["fine"])
    with pytest.raises(ValueError, match="Expected ids from 0 to 2, got 3 to 3"):
        vectorizer.to_array(np.array([[3]]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"maxlen": 0}, ValueError, "Expected maxlen to be at least 1, got 0"),
        ({"maxlen": "long"}, TypeError, "Expected maxlen to be a whole number, got 'long'"),
        ({"oov": "guess"}, ValueError, "Expected oov to be one of 'skip', 'zero', 'random', got 'guess'"),
        ({"lowercase": "no"}, ValueError, "Expected lowercase to be one of True, False, 'auto', got 'no'"),
        ({"tokenizer": "words"}, TypeError, "Expected tokenizer to be a function, \"treebank\" or None, got 'words'"),
        ({"n_jobs": 1.5}, TypeError, "Expected n_jobs to be a whole number, got 1.5"),
        ({"vectors": 3}, TypeError, "Expected vectors to be gensim's KeyedVectors"),
    ],
)
def test_wrong_arguments_are_told_when_it_is_fitted(arguments: Any, error: type[Exception], message: str) -> None:
    vectorizer = Word2VecVectorizer(**({"vectors": make_vectors()} | arguments))
    with pytest.raises(error, match=message):
        vectorizer.fit(["fine"])


def test_transforming_before_fitting_is_told() -> None:
    with pytest.raises(NotFittedError):
        Word2VecVectorizer(make_vectors()).transform(["fine"])


# --- documents and tables


def test_documents_are_taken_cut_and_padded() -> None:
    documents = Documents.from_lists([np.array([2, 1, 3]), np.array([], np.int32), np.array([1, 4])])
    assert documents.lengths.tolist() == [3, 0, 2]
    assert documents.to_array(2).tolist() == [[2, 1], [0, 0], [1, 4]]
    assert documents.take(np.array([2, 0])).to_array(3).tolist() == [[1, 4, 0], [2, 1, 3]]
    distinct, numbered = documents.reindex()
    assert distinct.tolist() == [1, 2, 3, 4]
    assert numbered.ids.tolist() == [1, 0, 2, 0, 3]
    assert Documents.from_lists([]).to_array(3).shape == (0, 3)


def test_a_table_knows_the_vectors_of_all_ids_and_their_changes() -> None:
    vectors = np.arange(6, dtype=np.float16).reshape(3, 2)
    table = WordTable(vectors, np.array([8, 8], np.float32), np.array([[9, 9]], np.float32))
    assert table.n_ids == 6
    assert table.rows(np.array([0, 1, 2, 4, 5])).tolist() == [[0, 0], [8, 8], [0, 1], [4, 5], [9, 9]]
    table.change(np.array([3, 5]), np.array([[-1, -1], [-2, -2]]))
    table.change(np.array([2, 3]), np.array([[-3, -3], [-4, -4]]))
    assert table.rows(np.array([5, 3, 2, 4])).tolist() == [[-2, -2], [-4, -4], [-3, -3], [4, 5]]
    assert vectors[0].tolist() == [0, 1]

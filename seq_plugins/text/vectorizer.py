"""The vectorizer: texts to ids of word vectors, as a scikit-learn transformer."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from seq_plugins._arguments import check_choice, check_number
from seq_plugins.text._estimator import TextEstimator
from seq_plugins.text.checks import check_texts
from seq_plugins.text.documents import FIRST_WORD, PADDING, UNKNOWN, Documents, WordTable
from seq_plugins.text.encoding import NumberedTexts, TextEncoder
from seq_plugins.text.typed_text import TokenizerChoice, check_tokenizer
from seq_plugins.text.word_vectors import resolve_word_vectors

# N: documents, L: maxlen, D: dimensions of a word

FEWEST_WORDS = 100
"""Number of words from which texts are a corpus, whose share of unknown words tells something."""

MOST_UNKNOWN = 0.3
"""Share of unknown words in a corpus from which there is a warning; reviews and GloVe have 0.01."""


class UnknownWords(NamedTuple):
    """What of some texts has no vector.

    Parameters
    ----------
    n_tokens
        Number of tokens.
    n_unknown
        Number of tokens without a vector.
    share
        Their share, between 0 and 1; 0 where there are no tokens.
    most_common
        The most frequent unknown words, each with its number of occurrences.
    """

    n_tokens: int
    n_unknown: int
    share: float
    most_common: list[tuple[str, int]]


class Word2VecVectorizer(TextEstimator, TransformerMixin, BaseEstimator):
    """Turns texts into ids of word vectors, `(N, L)`.

    Id 0 is padding, id 1 an unknown word, and id ``2 + n`` the word in row `n` of the vectors. Documents are truncated,
    or padded at the end, to `maxlen` words.

    Parameters
    ----------
    vectors
        gensim's ``KeyedVectors``, or what :func:`load_word_vectors` takes. They are not copied, also not by
        ``sklearn.base.clone``; in a grid search over several, objects are to be :class:`SharedWordVectors`.
    maxlen
        Number of words of a document, `L`.
    oov
        How to treat a word without a vector (out of vocabulary): ``"skip"``, it is left out before the document is
        truncated; ``"zero"``, it keeps its place with a vector of zeros; ``"random"``, it keeps its place with a random
        vector with the variance of the others: a separate one if it was in the texts of ``fit`` (Kim 2014 [1]_), and a
        common one for all other words.
    lowercase
        Whether to look up words in lower case; ``"auto"``: if hardly any word of the vectors has a capital letter.
    tokenizer
        Function from a text to a list of its tokens. ``None``: those of NLTK's ``TreebankWordTokenizer``, after
        quotation marks, dashes, spaces and HTML have been normalised, with the full stop of every sentence as a
        separate token. ``"treebank"``: NLTK's tokens of the unmodified text, as in the lecture; only the last full stop
        is then a separate token.
    n_jobs
        Number of processes for tokenizing, -1 for all cores. Worth it for tens of thousands of texts.
    verbose
        Whether to show a progress bar for work that takes longer than a second.
    random_state
        Seed of the random vectors.

    Attributes
    ----------
    vectors_
        The word vectors, ``KeyedVectors``.
    lowercase_
        Whether words are looked up in lower case.
    unknown_share_
        Share of the tokens of the texts of ``fit`` that have no vector, between 0 and 1.
    unknown_words_
        With ``oov="random"``, the unknown words that have a separate vector.

    References
    ----------
    .. [1] Y. Kim, "Convolutional Neural Networks for Sentence Classification", 2014, https://arxiv.org/abs/1408.5882

    Examples
    --------
    >>> from seq_plugins.text import Word2VecVectorizer, train_word_vectors
    >>> texts = ["a fine film", "a dull film"]
    >>> vectorizer = Word2VecVectorizer(train_word_vectors(texts, min_count=1), maxlen=4)
    >>> vectorizer.fit_transform(texts).shape
    (2, 4)
    """

    def __init__(
        self,
        vectors: Any,
        maxlen: int = 400,
        oov: str = "skip",
        lowercase: bool | str = "auto",
        tokenizer: TokenizerChoice = None,
        n_jobs: int | None = None,
        verbose: bool = True,
        random_state: Any = None,
    ) -> None:
        self.vectors = vectors
        self.maxlen = maxlen
        self.oov = oov
        self.lowercase = lowercase
        self.tokenizer = tokenizer
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out which share of the words of texts has a vector, and which words have none.

        Parameters
        ----------
        X
            Texts.
        y
            Ignored; for scikit-learn.

        Returns
        -------
        Word2VecVectorizer
            This vectorizer.

        Raises
        ------
        TypeError, ValueError
            If an argument or a text is invalid.
        """
        self.fit_encode(check_texts(X, "X"))
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Do :meth:`fit` and :meth:`transform` at once; arguments and result are theirs."""
        return self.fit_encode(check_texts(X, "X"))[1].to_array(self.maxlen)

    def transform(self, X: Any) -> np.ndarray:
        """Return the ids of texts, `(N, L)`, int32.

        Parameters
        ----------
        X
            Texts.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` was not called.
        TypeError, ValueError
            If a text is not what is expected.
        """
        check_is_fitted(self)
        return self.encode(self.number(check_texts(X, "X"))).to_array(self.maxlen)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that :meth:`transform` returns: ``word0``, ``word1`` and so on.

        Parameters
        ----------
        input_features
            Nothing; for scikit-learn.
        """
        check_is_fitted(self)
        return np.array([f"word{place}" for place in range(self.maxlen)], object)

    def to_array(self, X: Any) -> np.ndarray:
        """Return the vectors of all words, `(N, L, D)`, float32, with zeros for padding.

        It takes 4 * N * L * D bytes: 12 GB for 25,000 documents of 400 words with 300 dimensions.

        Parameters
        ----------
        X
            Texts, or ids that :meth:`transform` returned.
        """
        check_is_fitted(self)
        is_ids = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "iu"
        ids = X if is_ids else self.transform(X)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.table_.n_ids:
            raise ValueError(f"Expected ids from 0 to {self.table_.n_ids - 1}, got {ids.min()} to {ids.max()}.")
        return self.table_.rows(ids.ravel()).reshape(*ids.shape, self.table_.n_dimensions)

    def inverse_transform(self, X: np.ndarray) -> list[list[str | None]]:
        """Return the words of ids `(N, L)`, without padding; ``None`` for a word that was unknown."""
        check_is_fitted(self)
        words, n_words = self.vectors_.index_to_key, len(self.vectors_.index_to_key)

        def word(number: int) -> str | None:
            if number == UNKNOWN:
                return None
            place = number - FIRST_WORD
            return words[place] if place < n_words else self.unknown_words_[place - n_words]

        return [[word(number) for number in document if number != PADDING] for document in np.asarray(X).tolist()]

    def unknown(self, X: Any, n_most_common: int = 20) -> UnknownWords:
        """Report which words of texts have no vector.

        Parameters
        ----------
        X
            Texts.
        n_most_common
            Number of unknown words to name.
        """
        check_is_fitted(self)
        found: Counter[str] = Counter()
        n_tokens = 0
        encoder = self.encoder_.with_ids(self.vectors_.key_to_index, bool(self.lowercase_))
        for text in check_texts(X, "X"):
            tokens = encoder.tokens(text)
            n_tokens += len(tokens)
            found.update(
                token for token, number in zip(tokens, encoder.ids_of(tokens), strict=True) if number == UNKNOWN
            )
        return UnknownWords(n_tokens, found.total(), found.total() / max(n_tokens, 1), found.most_common(n_most_common))

    def number(self, texts: Sequence[str]) -> NumberedTexts:
        """Find the tokens of `texts`, which have been checked."""
        return self.encoder_.number(texts, self.n_jobs, not self.verbose)

    def fit_encode(self, texts: Sequence[str]) -> tuple[NumberedTexts, Documents]:
        """Do the work of :meth:`fit` for `texts` that have been checked; return their tokens, and their ids."""
        check_number("maxlen", self.maxlen, int, at_least=1)
        check_choice("oov", self.oov, ("skip", "zero", "random"))
        check_choice("lowercase", self.lowercase, (True, False, "auto"))
        check_tokenizer(self.tokenizer)
        check_choice("verbose", self.verbose, (True, False))
        if self.n_jobs is not None:
            check_number("n_jobs", self.n_jobs, int)
        self.vectors_ = resolve_word_vectors(self.vectors)
        self.lowercase_ = _is_lowercase(self.vectors_.index_to_key) if self.lowercase == "auto" else self.lowercase
        encoder = TextEncoder({}, False, self.tokenizer)
        numbered = encoder.number(texts, self.n_jobs, not self.verbose)
        self.unknown_words_: list[str] = []
        if self.oov == "random":
            self.unknown_words_ = self._find_unknown_words(numbered.tokens)
        self._make_table(encoder)
        encoded = self.encoder_.encode(numbered, self.oov == "skip", self.maxlen)
        self.unknown_share_ = encoded.n_unknown / max(encoded.n_tokens, 1)
        is_telling = encoded.n_tokens >= FEWEST_WORDS and self.oov == "skip"
        if is_telling and self.unknown_share_ > MOST_UNKNOWN:
            warnings.warn(
                f"{self.unknown_share_:.0%} of the words of the texts have no vector and are left out. Look at the "
                "language of the vectors, at lowercase and at tokenizer; `unknown` of the vectorizer lists such words.",
                stacklevel=3,
            )
        return numbered, encoded.documents

    def encode(self, texts: NumberedTexts, warns: bool = True) -> Documents:
        """Return the ids of texts, cut; with `warns`, there is a warning of texts whose words are mostly unknown."""
        encoded = self.encoder_.encode(texts, self.oov == "skip", self.maxlen)
        if warns and encoded.n_mostly_unknown:
            warnings.warn(
                f"{encoded.n_mostly_unknown} of {len(texts.documents.lengths)} texts have no vector for more than half "
                "of their words: predictions rest on the others. `unknown` of the vectorizer lists such words.",
                stacklevel=3,
            )
        return encoded.documents

    def keeps(self, number: int) -> bool:
        """Tell whether a word with this id stays in a document."""
        return self.oov != "skip" or number != UNKNOWN

    def restore(self, unknown_words: Sequence[str], unknown: np.ndarray, unknown_share: float) -> None:
        """Become what another vectorizer was after ``fit``.

        Parameters
        ----------
        unknown_words
            Its unknown words with a vector of their own.
        unknown
            The vectors of unknown words, that of all others first, `(1 + unknown words, D)`.
        unknown_share
            Its share of unknown words.
        """
        self.vectors_ = resolve_word_vectors(self.vectors)
        self.lowercase_ = bool(self.lowercase)
        self.unknown_words_ = list(unknown_words)
        self.unknown_share_ = unknown_share
        self._make_table(TextEncoder({}, False, self.tokenizer), unknown)

    def _find_unknown_words(self, tokens: Sequence[str]) -> list[str]:
        words = dict.fromkeys(token.lower() if self.lowercase_ else token for token in tokens)
        return [word for word in words if word not in self.vectors_.key_to_index]

    def _make_table(self, encoder: TextEncoder, unknown: np.ndarray | None = None) -> None:
        """Make the table of vectors, and of an encoder without ids one with them.

        `unknown` are the random vectors, drawn if there are none.
        """
        matrix = self.vectors_.vectors[: len(self.vectors_.index_to_key)]
        if self.oov == "random" and unknown is None:
            generator = check_random_state(self.random_state)
            # uniform, with the variance of the first, most frequent words
            limit = np.sqrt(3) * float(np.std(matrix[:10_000], dtype=np.float64))
            shape = 1 + len(self.unknown_words_), matrix.shape[1]
            unknown = generator.uniform(-limit, limit, shape).astype(np.float32)
        if unknown is None:
            self.table_ = WordTable(matrix)
        else:
            self.table_ = WordTable(matrix, unknown[0], unknown[1:])
        first = FIRST_WORD + len(matrix)
        further_ids = {word: first + number for number, word in enumerate(self.unknown_words_)}
        self.encoder_ = encoder.with_ids(self.vectors_.key_to_index, bool(self.lowercase_), further_ids)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "table_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _is_lowercase(words: Sequence[str]) -> bool:
    """Find out whether next to no word has a capital letter."""
    looked_at = words[:10_000]
    return sum(word != word.lower() for word in looked_at) <= len(looked_at) // 1000

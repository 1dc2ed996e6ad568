"""From texts to word ids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import joblib
import numpy as np

from seq_plugins._progress import progress_bar
from seq_plugins.text.documents import FIRST_WORD, UNKNOWN, Documents
from seq_plugins.text.tokenizing import CachedTreebankTokenizer, Token, Tokenizer, locate_tokens
from seq_plugins.text.typed_text import TokenizerChoice, make_tokenizer

_TEXTS_AT_ONCE = 200  # of a process, where there are several


class NumberedTexts(NamedTuple):
    """Texts as numbers of their tokens.

    Parameters
    ----------
    tokens
        The distinct tokens, in the order in which they first occur.
    documents
        For each text the numbers of its tokens, int32.
    """

    tokens: list[str]
    documents: list[np.ndarray]


class Encoded(NamedTuple):
    """Texts as ids.

    Parameters
    ----------
    documents
        The documents.
    n_tokens
        Number of tokens of the texts, before anything was left out.
    n_unknown
        Number of those without a vector among the word vectors.
    n_mostly_unknown
        Number of texts of which more than half of the tokens, but not all, are unknown.
    """

    documents: Documents
    n_tokens: int
    n_unknown: int
    n_mostly_unknown: int


class TextEncoder:
    """Turns texts into ids.

    Parameters
    ----------
    rows
        Row of each word in the word vectors.
    lowercase
        Whether tokens are looked up in lower case.
    tokenizer
        Function from a text to its tokens, ``"treebank"``, or ``None`` for those of texts as they are typed.
    further_ids
        Ids of words that are not among the word vectors; they come after those.
    """

    def __init__(
        self,
        rows: Mapping[str, int],
        lowercase: bool,
        tokenizer: TokenizerChoice = None,
        further_ids: Mapping[str, int] | None = None,
    ) -> None:
        self.rows = rows
        self.lowercase = lowercase
        self.tokenizer = tokenizer
        self.further_ids = further_ids or {}
        self._tokenize = make_tokenizer(tokenizer)

    def ids_of(self, tokens: Sequence[str]) -> tuple[int, ...]:
        """Return the id of each token."""
        rows, further = self.rows, self.further_ids
        words = [token.lower() for token in tokens] if self.lowercase else tokens
        return tuple(rows[word] + FIRST_WORD if word in rows else further.get(word, UNKNOWN) for word in words)

    def tokens(self, text: str) -> Sequence[str]:
        """Return the tokens of a text."""
        return self._tokenize(text)

    def number(self, texts: Sequence[str], n_jobs: int | None = None, is_quiet: bool = False) -> NumberedTexts:
        """Find the tokens of texts.

        Parameters
        ----------
        texts
            The texts.
        n_jobs
            Number of processes, as joblib counts them.
        is_quiet
            Whether to show no progress bar.
        """
        n_processes = joblib.effective_n_jobs(n_jobs)
        if n_processes > 1 and len(texts) > _TEXTS_AT_ONCE:
            return self._number_in_processes(texts, n_processes, is_quiet)
        bar = progress_bar(texts, desc="words", unit="text", delay=1, leave=False, disable=is_quiet)
        return _number_tokens(self._tokenize, bar)

    def encode(self, texts: NumberedTexts, skips: bool, maxlen: int) -> Encoded:
        """Return the ids of the words of texts.

        Parameters
        ----------
        texts
            The texts.
        skips
            Whether unknown words are left out, before a text is cut.
        maxlen
            Number of words after which a text is cut.
        """
        id_of_token = np.array(self.ids_of(texts.tokens), np.int32)
        first_further = FIRST_WORD + len(self.rows)
        documents = []
        n_tokens = n_unknown = n_mostly_unknown = 0
        for numbers in texts.documents:
            ids = id_of_token[numbers]
            is_unknown = ids == UNKNOWN
            n_tokens += len(ids)
            n_missing = int(is_unknown.sum())
            n_mostly_unknown += len(ids) // 2 < n_missing < len(ids)
            n_unknown += n_missing
            if self.further_ids:
                n_unknown += int((ids >= first_further).sum())
            documents.append((ids[~is_unknown] if skips else ids)[:maxlen].copy())
        return Encoded(Documents.from_lists(documents), n_tokens, n_unknown, n_mostly_unknown)

    def located_ids(self, text: str) -> Iterator[tuple[int, Token]]:
        """Yield the id and the place of each token of a text."""
        known = self._tokenize if isinstance(self._tokenize, CachedTreebankTokenizer) else None
        located = list(locate_tokens(text, self.tokens(text)) if known is None else known.locate(text))
        yield from zip(self.ids_of([token.text for token in located]), located, strict=True)

    def _number_in_processes(self, texts: Sequence[str], n_processes: int, is_quiet: bool) -> NumberedTexts:
        parts = [texts[first : first + _TEXTS_AT_ONCE] for first in range(0, len(texts), _TEXTS_AT_ONCE)]
        results = joblib.Parallel(n_jobs=n_processes, return_as="generator")(
            joblib.delayed(_number_part)(self.tokenizer, part) for part in parts
        )
        numbers: dict[str, int] = {}
        documents = []
        with progress_bar(total=len(texts), desc="words", unit="text", delay=1, leave=False, disable=is_quiet) as bar:
            for tokens, numbered in results:
                places = np.array([numbers.setdefault(token, len(numbers)) for token in tokens], np.int32)
                documents += [places[document] for document in numbered]
                bar.update(len(numbered))
        return NumberedTexts(list(numbers), documents)


def _number_tokens(tokenize: Tokenizer, texts: Iterable[str]) -> NumberedTexts:
    numbers: dict[str, int] = {}
    documents = [
        np.array([numbers.setdefault(token, len(numbers)) for token in tokenize(text)], np.int32) for text in texts
    ]
    return NumberedTexts(list(numbers), documents)


def _number_part(tokenizer: TokenizerChoice, texts: Sequence[str]) -> NumberedTexts:
    return _number_tokens(_tokenizer_of_process(tokenizer), texts)


_tokenizer_of_process = lru_cache(maxsize=1)(make_tokenizer)  # it remembers what it has seen in texts before

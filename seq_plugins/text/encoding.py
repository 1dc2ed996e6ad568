"""From texts to word ids."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
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
        For each text the numbers of its tokens.
    """

    tokens: list[str]
    documents: Documents


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

    def with_ids(
        self, rows: Mapping[str, int], lowercase: bool, further_ids: Mapping[str, int] | None = None
    ) -> "TextEncoder":
        """Return an encoder with other ids, which are told as to the class, and with what the tokenizer remembers."""
        encoder = TextEncoder(rows, lowercase, self.tokenizer, further_ids)
        encoder._tokenize = self._tokenize
        return encoder

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
        documents = texts.documents._replace(ids=id_of_token[texts.documents.ids])
        n_tokens = len(documents.ids)
        lengths, n_missing = documents.lengths, documents.sum(documents.ids == UNKNOWN)
        is_mostly_unknown = (lengths // 2 < n_missing) & (n_missing < lengths)
        n_further = int((documents.ids >= FIRST_WORD + len(self.rows)).sum()) if self.further_ids else 0
        if skips:
            documents = documents.without(UNKNOWN)
        return Encoded(documents.cut(maxlen), n_tokens, int(n_missing.sum()) + n_further, int(is_mostly_unknown.sum()))

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
        numbers = new_numbers()
        documents = []
        with progress_bar(total=len(texts), desc="words", unit="text", delay=1, leave=False, disable=is_quiet) as bar:
            for tokens, numbered in results:
                places = np.array([numbers[token] for token in tokens], np.int32)
                documents.append(numbered._replace(ids=places[numbered.ids]))
                bar.update(len(numbered.lengths))
        return NumberedTexts(list(numbers), Documents.joined(documents))


def new_numbers(first: int = 0) -> defaultdict[str, int]:
    """Return a dictionary that gives each new string the next number."""
    return defaultdict(count(first).__next__)


def number_strings(rows: Iterable[Iterable[str]], number: Callable[[str], int]) -> Documents:
    """Return the number of each string of each row."""
    ids, starts = array("i"), array("q", [0])
    for row in rows:
        ids.extend(map(number, row))
        starts.append(len(ids))
    return Documents(np.asarray(ids), np.asarray(starts))


def _number_tokens(tokenize: Tokenizer, texts: Iterable[str]) -> NumberedTexts:
    numbers = new_numbers()
    documents = number_strings(map(tokenize, texts), numbers.__getitem__)
    return NumberedTexts(list(numbers), documents)


def _number_part(tokenizer: TokenizerChoice, texts: Sequence[str]) -> NumberedTexts:
    return _number_tokens(_tokenizer_of_process(tokenizer), texts)


_tokenizer_of_process = lru_cache(maxsize=1)(make_tokenizer)  # it remembers what it has seen in texts before

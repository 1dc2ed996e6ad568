"""From texts to word ids."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import joblib
import numpy as np

from seq_plugins._progress import progress_bar
from seq_plugins.text.documents import FIRST_WORD, UNKNOWN, Documents
from seq_plugins.text.tokenizing import (
    MAX_REMEMBERED,
    MAX_STRETCHES,
    CachedTreebankTokenizer,
    Token,
    locate_tokens,
)
from seq_plugins.text.typed_text import TokenizerChoice, known_tokenizer, make_tokenizer

_TEXTS_AT_ONCE = 200  # of a process, where there are several


class _StretchIds(dict[str, tuple[int, ...]]):
    """The ids of each stretch of characters, found out when it is first asked for."""

    def __init__(self, encoder: "TextEncoder", stretches: CachedTreebankTokenizer) -> None:
        super().__init__()
        self._encoder = encoder
        self._stretches = stretches

    def __missing__(self, stretch: str) -> tuple[int, ...]:
        ids = self._encoder.ids_of(self._stretches.inside(stretch))
        if len(stretch) <= MAX_REMEMBERED and len(self) < MAX_STRETCHES:
            self[stretch] = ids
        return ids


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
        self._stretches = known_tokenizer(tokenizer)
        self._tokenize = self._stretches or make_tokenizer(tokenizer)
        self._remembered: _StretchIds | None = None
        self._endings: dict[str, tuple[int, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_remembered": None, "_endings": {}}

    def ids_of(self, tokens: Sequence[str]) -> tuple[int, ...]:
        """Return the id of each token."""
        rows, further = self.rows, self.further_ids
        words = [token.lower() for token in tokens] if self.lowercase else tokens
        return tuple(rows[word] + FIRST_WORD if word in rows else further.get(word, UNKNOWN) for word in words)

    def tokens(self, text: str) -> Sequence[str]:
        """Return the tokens of a text."""
        return self._tokenize(text)

    def encode(
        self, texts: Sequence[str], skips: bool, maxlen: int, n_jobs: int | None = None, is_quiet: bool = False
    ) -> Encoded:
        """Return the ids of the words of the texts.

        Parameters
        ----------
        texts
            The texts.
        skips
            Whether unknown words are left out, before a text is cut.
        maxlen
            Number of words after which a text is cut.
        n_jobs
            Number of processes, as joblib counts them.
        is_quiet
            Whether to show no progress bar.
        """
        n_processes = joblib.effective_n_jobs(n_jobs)
        if n_processes > 1 and len(texts) > _TEXTS_AT_ONCE:
            found = self._encode_in_processes(texts, n_processes, is_quiet)
        else:
            self._prepare()
            found = map(
                self._encode_one, progress_bar(texts, desc="words", unit="text", delay=1, leave=False, disable=is_quiet)
            )
        first_further = FIRST_WORD + len(self.rows)
        documents = []
        n_tokens = n_unknown = n_mostly_unknown = 0
        for ids in found:
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
        known = self._stretches
        located = list(locate_tokens(text, self.tokens(text)) if known is None else known.locate(text))
        yield from zip(self.ids_of([token.text for token in located]), located, strict=True)

    def _prepare(self) -> None:
        if self._remembered is None and self._stretches is not None:
            self._remembered = _StretchIds(self, self._stretches)

    def _encode_one(self, text: str) -> np.ndarray:
        if self._stretches is None or self._remembered is None:
            return np.array(self.ids_of(self.tokens(text)), np.int32)
        inside, start, end = self._stretches.split(text)
        ids = list(self.ids_of(self._stretches.at_start(start, bool(end))))
        ids += chain.from_iterable(map(self._remembered.__getitem__, inside))
        if end:
            ids += self._ids_at_end(end, self._stretches)
        return np.array(ids, np.int32)

    def _ids_at_end(self, stretch: str, stretches: CachedTreebankTokenizer) -> tuple[int, ...]:
        """Return the ids of what a text ends with, which is mostly a full stop."""
        found = self._endings.get(stretch)
        if found is None:
            found = self.ids_of(stretches.at_end(stretch))
            if len(stretch) <= MAX_REMEMBERED and len(self._endings) < MAX_STRETCHES:
                self._endings[stretch] = found
        return found

    def _encode_in_processes(self, texts: Sequence[str], n_processes: int, is_quiet: bool) -> Iterator[np.ndarray]:
        """Let processes find the tokens, which takes the time, and look them up here, where the words are."""
        parts = [texts[first : first + _TEXTS_AT_ONCE] for first in range(0, len(texts), _TEXTS_AT_ONCE)]
        results = joblib.Parallel(n_jobs=n_processes, return_as="generator")(
            joblib.delayed(_number_tokens)(self.tokenizer, part) for part in parts
        )
        with progress_bar(total=len(texts), desc="words", unit="text", delay=1, leave=False, disable=is_quiet) as bar:
            for tokens, numbered in results:
                ids = np.array(self.ids_of(tokens), np.int32)
                yield from (ids[numbers] for numbers in numbered)
                bar.update(len(numbered))


def _number_tokens(tokenizer: TokenizerChoice, texts: Sequence[str]) -> tuple[list[str], list[np.ndarray]]:
    """Return the distinct tokens of the texts, and each text as numbers of these."""
    numbers: dict[str, int] = {}
    encoder = _token_finder(tokenizer)
    numbered = [
        np.array([numbers.setdefault(token, len(numbers)) for token in encoder.tokens(text)], np.int64)
        for text in texts
    ]
    return list(numbers), numbered


@lru_cache(maxsize=1)  # so that it remembers what it has seen in texts before
def _token_finder(tokenizer: TokenizerChoice) -> TextEncoder:
    return TextEncoder({}, lowercase=False, tokenizer=tokenizer)

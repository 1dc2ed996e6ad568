"""The tokens of texts, those of NLTK's ``TreebankWordTokenizer``, but each stretch between two spaces only once.

The Treebank tokenizer [1]_ is a row of substitutions over the whole text. None of them looks further than the spaces
around a stretch of characters, except at the two ends of the text: so the tokens of a stretch are the same wherever it
stands, and most stretches of a corpus are repeated. The tests compare the tokens with NLTK's own.

References
----------
.. [1] https://www.nltk.org/api/nltk.tokenize.treebank.html
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from nltk.tokenize import TreebankWordTokenizer

Tokenizer = Callable[[str], Sequence[str]]
"""From a text to its tokens."""

MAX_REMEMBERED = 200  # characters of a stretch that is remembered
MAX_STRETCHES = 2**15
_SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
_ENDINGS = "])}>\"'" + _SPACES + "\u2028\u2029\u202f\u205f\u3000"  # what may follow a final full stop
_WHITE = " \t\n\r"
_PLAIN_WORD = re.compile("[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_POSSESSIVE = re.compile(rf"({_PLAIN_WORD.pattern})('s)")
_SPLIT_WORDS = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})


class Token(NamedTuple):
    """A token and where it stands in its text.

    Parameters
    ----------
    text
        The token; a quotation mark may be written in another way than in the text.
    start
        Place of its first character, or -1 if it does not stand in the text as it is.
    end
        Place after its last character, or -1.
    """

    text: str
    start: int
    end: int


class CachedTreebankTokenizer:
    """The texts' stretches between spaces, and the tokens of each, as NLTK's tokenizer gives them for the whole.

    Called with a text, it returns the list of its tokens.
    """

    def __init__(self) -> None:
        self._tokenize: Tokenizer = TreebankWordTokenizer().tokenize
        self._remembered: dict[str, Sequence[str]] = {}
        self._beginnings: dict[str, Sequence[str]] = {}
        self._endings: dict[str, Sequence[str]] = {}  # mostly a full stop

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_remembered": {}, "_beginnings": {}, "_endings": {}}

    def split(self, text: str) -> tuple[list[str], str, str]:
        """Return the stretches inside a text, the text before them, and the one after them.

        Each is to be tokenized with :meth:`inside`, :meth:`at_start` and :meth:`at_end`. If there is no space between
        the two ends, both are one: the whole is then the text before, and the text after is empty.
        """
        last = len(text.rstrip(_ENDINGS))
        start_of_end = text.rfind(" ", 0, last)
        end_of_start = text.find(" ")
        if end_of_start < 0 or start_of_end < end_of_start:
            return [], text, ""
        return text[end_of_start + 1 : start_of_end].split(" "), text[:end_of_start], text[start_of_end:]

    def inside(self, stretch: str) -> Sequence[str]:
        """Return the tokens of a stretch between two spaces."""
        if not stretch:
            return ()
        word = stretch.strip(_WHITE)
        if _PLAIN_WORD.fullmatch(word) and _SPLIT_WORDS.isdisjoint(word.lower().split("-")):
            return (word,)
        possessive = _POSSESSIVE.fullmatch(stretch)
        if possessive and _SPLIT_WORDS.isdisjoint(possessive[1].lower().split("-")):
            return possessive.groups()
        return self._tokenize(f" {stretch} a")[:-1]

    def at_start(self, stretch: str, has_more: bool) -> Sequence[str]:
        """Return the tokens of what a text begins with, which is the whole text if there is no more of it."""
        return self._tokenize(f"{stretch} a")[:-1] if has_more else self._tokenize(stretch)

    def at_end(self, stretch: str) -> Sequence[str]:
        """Return the tokens of what a text ends with."""
        return self._tokenize(stretch)

    def __call__(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        inside, start, end = self.split(text)
        if not end:
            return list(self.at_start(start, False))
        tokens = list(_recall(self._beginnings, start, self._at_start_of_more))
        remembered = self._remembered
        for stretch in inside:
            tokens += remembered[stretch] if stretch in remembered else _recall(remembered, stretch, self.inside)
        tokens += _recall(self._endings, end, self.at_end)
        return tokens

    def _at_start_of_more(self, stretch: str) -> Sequence[str]:
        return self.at_start(stretch, True)

    def locate(self, text: str) -> Iterator[Token]:
        """Yield the tokens of a text, each with its place."""
        return locate_tokens(text, self(text))


def _recall(remembered: dict[str, Sequence[str]], stretch: str, tokenize: Tokenizer) -> Sequence[str]:
    """Return the tokens of a stretch, and remember them."""
    if stretch in remembered:
        return remembered[stretch]
    tokens = tokenize(stretch)
    if len(stretch) <= MAX_REMEMBERED and len(remembered) < MAX_STRETCHES:
        remembered[stretch] = tokens
    return tokens


def check_tokens(tokens: Any, tokenizer: Any) -> Sequence[str]:
    """Return what a user's tokenizer returned, if these are strings.

    Raises
    ------
    TypeError
        If they are not.
    """
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise TypeError(f"Expected tokenizer {tokenizer!r} to return a list of strings, got {type(tokens).__name__}.")
    for token in tokens:
        if not isinstance(token, str):
            raise TypeError(
                f"Expected tokenizer {tokenizer!r} to return strings, got {type(token).__name__} among them."
            )
    return tokens


def locate_tokens(text: str, tokens: Sequence[str]) -> Iterator[Token]:
    """Find out where in a text its tokens stand.

    Parameters
    ----------
    text
        The text.
    tokens
        Its tokens, in order.

    Yields
    ------
    Token
        Each token with its place.
    """
    position = 0
    for token in tokens:
        start, length = _find(text, token, position)
        if start < 0:
            yield Token(token, -1, -1)
            continue
        position = start + length
        yield Token(token, start, position)


def _find(text: str, token: str, position: int) -> tuple[int, int]:
    """Return place and length of a token at or after a position; quotation marks may have been written anew."""
    if token in ("``", "''"):
        found = [(text.find(mark, position), len(mark)) for mark in ('"', "``", "''")]
        return min((place for place in found if place[0] >= 0), default=(-1, 0))
    return text.find(token, position), len(token)

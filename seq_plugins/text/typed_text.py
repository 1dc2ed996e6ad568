"""Texts as people type them: what stands for a plain character is put in its place before the text is split into words.

Word vectors know "awful" and the parts of "don't", but not "awful." with the full stop of a sentence within the text,
"don't" with a typographic apostrophe, or "awful<br". Such words would be left out as unknown.
"""

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from seq_plugins.text.tokenizing import CachedTreebankTokenizer, Token, Tokenizer, check_tokens, locate_tokens

TREEBANK: Final = "treebank"

TokenizerChoice: TypeAlias = Tokenizer | Literal["treebank"] | None
"""A function from a text to its tokens; ``"treebank"``: NLTK's tokens as they are; ``None``: those of typed texts."""

_PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02b9\u2032\uff07", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02", '"'),
    **dict.fromkeys("\u2013\u2014\u2015\u2212", " -- "),
    **dict.fromkeys("\u2010\u2011", "-"),
    **dict.fromkeys("\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000", " "),
    **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),  # seen by nobody
    "\u2026": " ... ",
}
_ANY = "".join(re.escape(character) for character in _PLAIN)
_UNUSUAL = re.compile(
    r"(?P<tag></?(?:a|b|br|div|em|i|li|ol|p|span|strong|u|ul)\b[^<>]*>)"
    r"|(?P<entity>&(?:[A-Za-z][A-Za-z0-9]{1,31}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});)"
    r"|(?P<accented>\w[\u0300-\u036f]+)"
    r"|(?P<apostrophe>(?<=\w)[`\u00b4](?=\w))"
    r"|(?P<dots>\.{2,})"
    r"|(?P<joined>(?<=[a-z]{2})\.(?=[A-Z][a-z]))"
    r"|(?P<slash>(?<=[^\W\d_])/(?=[^\W\d_]))"
    r"|(?P<emphasis>(?<!\w)[*_~]+(?=\w)|(?<=\w)[*_~]+(?!\w))"
    rf"|(?P<character>[{_ANY}])"
)
_REPLACED = {"tag": " ", "apostrophe": "'", "dots": " ... ", "joined": ". ", "slash": " / ", "emphasis": " "}
# no text without any of these has anything unusual; a single character out of a class is found fastest
_SUSPICIOUS = re.compile(r"[^ -%'-)+-.0-;=-^a-}]")
_SUSPICIOUS_STOP = re.compile(r"\.[.A-Z]")

_SENTENCE_END = re.compile(r"(?P<word>.*[^.\s])\.(?P<closing>[\"')\]}>]*)")
_POINTED_OR_INITIAL = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}|[^\W\d_I]")
_ABBREVIATIONS = frozenset({
    "adm", "approx", "apr", "assn", "assoc", "atty", "aug", "ave", "bldg", "blvd", "brig", "capt", "cf", "cmdr",
    "col", "corp", "cpl", "dec", "dept", "dist", "dr", "ed", "eds", "eg", "esp", "est", "etc", "feb", "fig", "figs",
    "fr", "ft", "gen", "gov", "hon", "hr", "ie", "inc", "jan", "jr", "lt", "ltd", "maj", "messrs", "min", "misc",
    "mr", "mrs", "ms", "mt", "mts", "nos", "nov", "nr", "oct", "pp", "prof", "pt", "pvt", "rd", "rep", "reps",
    "rev", "sen", "sens", "sept", "sgt", "sr", "st", "ste", "tue", "univ", "vol", "vols", "vs",
})  # fmt: skip


class _Piece(NamedTuple):
    """Characters of a text, and what stands for them."""

    start: int
    end: int
    replacement: str


def normalize(text: str) -> str:
    """Return a text with plain quotation marks, dashes and spaces, without HTML, and with its sentences apart.

    Parameters
    ----------
    text
        The text.
    """
    for space in "\t\n\r":
        text = text.replace(space, " ")
    is_suspicious = _SUSPICIOUS.search(text) or _SUSPICIOUS_STOP.search(text)
    return _UNUSUAL.sub(_replacement, text) if is_suspicious else text


def _replacement(found: re.Match[str]) -> str:
    kind, given = str(found.lastgroup), found.group()
    if kind == "character":
        return _PLAIN[given]
    if kind == "entity":
        unescaped = html.unescape(given)
        return unescaped if unescaped == given else normalize(unescaped)
    if kind == "accented":
        return unicodedata.normalize("NFC", given)
    return _REPLACED[kind]


def _pieces(text: str) -> Iterator[_Piece]:
    for found in _UNUSUAL.finditer(text):
        yield _Piece(found.start(), found.end(), _replacement(found))


class TypedTextTokenizer(CachedTreebankTokenizer):
    """Treebank's tokens of texts as they are typed: normalised first, and with a full stop after every sentence apart.

    A full stop belongs to its word where this is an abbreviation, such as "Mr." or "e.g.", or an initial.
    """

    def split(self, text: str) -> tuple[list[str], str, str]:
        """Return the stretches of the normalised text, as the base class does."""
        return super().split(normalize(text))

    def inside(self, stretch: str) -> Sequence[str]:
        """Return the tokens of a stretch between two spaces."""
        end = _sentence_end(stretch)
        return super().inside(stretch) if end is None else self._tokenize(f" {end} a")[:-1]

    def at_start(self, stretch: str, has_more: bool) -> Sequence[str]:
        """Return the tokens of what a text begins with."""
        parts = stretch.split(" ")
        n_followed = len(parts) if has_more else len(parts) - 1
        apart = [_sentence_end(part) or part for part in parts[:n_followed]]
        return super().at_start(" ".join([*apart, *parts[n_followed:]]), has_more)

    def locate(self, text: str) -> Iterator[Token]:
        """Yield the tokens of a text, each with its place in the text as it was typed."""
        pieces = list(_pieces(text))
        # where each piece begins and ends in the normalised text, and how far this has moved after it
        begins, ends, position, last = [], [], 0, 0
        for piece in pieces:
            position += piece.start - last
            begins.append(position)
            position += len(piece.replacement)
            ends.append(position)
            last = piece.end

        def original(place: int, is_end: bool) -> int:
            number = bisect_right(begins, place - 1 if is_end else place) - 1
            if number < 0:
                return place
            piece = pieces[number]
            if place >= ends[number]:
                return piece.end + place - ends[number]
            return piece.end if is_end else piece.start

        normalised = normalize(text)
        for token in locate_tokens(normalised, self(text)):
            if token.start < 0:
                yield token
            else:
                yield Token(token.text, original(token.start, False), original(token.end, True))


def _sentence_end(stretch: str) -> str | None:
    """Return a stretch with the full stop that ends a sentence apart from its word; ``None`` if it has none."""
    if "." not in stretch:
        return None
    found = _SENTENCE_END.fullmatch(stretch)
    if found is None:
        return None
    word = found["word"].lstrip("\"'([{<")
    if _POINTED_OR_INITIAL.fullmatch(word) or word.lower() in _ABBREVIATIONS:
        return None
    return f"{found['word']} .{found['closing']}"


def known_tokenizer(choice: TokenizerChoice) -> CachedTreebankTokenizer | None:
    """Return the tokenizer that is chosen, if it is one of the package's."""
    if choice is None:
        return TypedTextTokenizer()
    return CachedTreebankTokenizer() if choice == TREEBANK else None


def make_tokenizer(choice: TokenizerChoice) -> Tokenizer:
    """Return the function from a text to its tokens that is chosen; what a user's own returns is checked."""
    known = known_tokenizer(choice)
    if known is not None:
        return known
    return partial(_checked_tokens, choice)


def _checked_tokens(tokenizer: Any, text: str) -> Sequence[str]:
    return check_tokens(tokenizer(text), tokenizer)


def check_tokenizer(choice: Any) -> None:
    """Raise an error for what is no choice of a tokenizer."""
    if choice is not None and choice != TREEBANK and not callable(choice):
        raise TypeError(f'Expected tokenizer to be a function, "{TREEBANK}" or None, got {choice!r}.')

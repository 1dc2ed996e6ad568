"""Tokens: those of NLTK, found faster."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize import TreebankWordTokenizer

from seq_plugins.text.encoding import TextEncoder
from seq_plugins.text.tokenizing import CachedTreebankTokenizer, check_tokens, locate_tokens
from tests.text.samples import needs_data, read_movie_reviews

PIECES = [
    *"ab.,:;'\"`()[]<>{}-!?$&@#% \n\t1sS*/", "cannot", "'tis", "'Twas", "'s", "n't", "don't", "''", "``", "...",
    "gonna", "'ll ", "gİmme", "\u2003", "😀", "--", "well-made", "cannot-do", "x_y", "\x1c", "\x85", "wanna ",
    "more'n", "d'ye", "שלום", "مرحبا", "é", "1,000", "3:15",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join) | st.text(max_size=20))
@example('the end." ')
@example("'' . '' a ''")
@example("a,, b :, c")
@settings(max_examples=2000, deadline=None)
def test_tokens_are_those_of_nltk(text: str) -> None:
    assert CachedTreebankTokenizer()(text) == TreebankWordTokenizer().tokenize(text)


@needs_data
def test_tokens_of_real_reviews_are_those_of_nltk() -> None:
    texts, _ = read_movie_reviews(100)
    fast, plain = CachedTreebankTokenizer(), TreebankWordTokenizer()
    assert [fast(text) for text in texts] == [plain.tokenize(text) for text in texts]


def test_a_megabyte_of_one_token_takes_no_longer_than_it_must() -> None:
    assert CachedTreebankTokenizer()("a" * 1_000_000) == ["a" * 1_000_000]
    assert len(CachedTreebankTokenizer()("a" * 1_000_000 + " fine film")) == 3
    encoder = TextEncoder({"film": 0}, lowercase=True)
    encoded = encoder.encode(encoder.number(["z" * 1_000_000 + " film."]), False, 9)
    assert encoded.documents.ids.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    "text",
    [
        'He said "fine" (twice).',
        "I can't, won't -- ``cannot'' and 'tis.",
        "emoji 😀 here",
        "שלום, עולם",
        "  spaced   out  ",
    ],
)
def test_tokens_stand_where_they_are_said_to_stand(text: str) -> None:
    tokens = list(locate_tokens(text, TreebankWordTokenizer().tokenize(text)))
    assert tokens
    position = 0
    for token in tokens:
        assert position <= token.start < token.end
        position = token.end
        found = text[token.start : token.end]
        assert found == token.text or (token.text in ("``", "''") and found in ('"', "``", "''"))


def test_a_token_that_is_not_in_the_text_has_no_place() -> None:
    tokens = list(locate_tokens("fine films", ["fine", "film", "ful", "s"]))
    assert [(token.start, token.end) for token in tokens] == [(0, 4), (5, 9), (-1, -1), (9, 10)]


def test_a_tokenizer_that_returns_no_strings_is_told() -> None:
    with pytest.raises(TypeError, match=r"Expected tokenizer .* to return a list of strings, got str"):
        check_tokens("fine film", str.split)
    with pytest.raises(TypeError, match="to return strings, got int among them"):
        check_tokens(["fine", 1], str.split)

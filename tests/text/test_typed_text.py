"""Texts as people type them have the words that they would have in a book."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import TreebankWordTokenizer

from seq_plugins.text import SentimentClassifier, Word2VecVectorizer
from seq_plugins.text.encoding import TextEncoder
from seq_plugins.text.typed_text import TypedTextTokenizer, normalize
from tests.text.samples import make_texts, make_vectors
from tests.text.test_tokenizing import PIECES

APOSTROPHE, OPENING, CLOSING, DASH, ELLIPSIS = "\u2019", "\u201c", "\u201d", "\u2014", "\u2026"

PLAIN = 'The music was awful . The story was n\'t fine . " Dull " -- a silly film ... and with a boring plot .'
TYPED = {
    "in one line": 'The music was awful. The story wasn\'t fine. "Dull" -- a silly film... and with a boring plot.',
    "typographic": (
        f"The music was awful. The story wasn{APOSTROPHE}t fine. {OPENING}Dull{CLOSING} {DASH} a silly film{ELLIPSIS} "
        "and with a boring plot."
    ),
    "line ends": "\n".join(
        [
            "The music was awful.",
            "The story wasn't\r",
            "fine.",
            "",
            '"Dull"\t--\ta silly film...',
            "and with a boring plot.",
        ]
    ),
    "HTML": (
        "<p>The music was awful.<br /><br>The story wasn&rsquo;t fine. &quot;Dull&quot; &mdash; a <b>silly</b> "
        "film&hellip; and&nbsp;with a boring plot.</p>"
    ),
    "spaces of other kinds": (
        'The\u00a0music was\u2009awful.\u3000The story wasn\'t fine. "Dull" -- a silly film... '
        "and with a boring plot.\u200b"
    ),
    "without spaces": 'The music was awful.The story wasn\'t fine. "Dull"--a silly film...and with a boring plot.',
    "emphasis": 'The music was *awful*. The story wasn`t _fine_. "Dull" -- a **silly** film.. and with a boring plot.',
}


@pytest.mark.parametrize("kind", TYPED)
def test_each_way_of_typing_a_text_has_the_same_words(kind: str) -> None:
    words = [word.replace('"', "``") for word in PLAIN.split()]
    assert [word.replace("''", "``") for word in TypedTextTokenizer()(TYPED[kind])] == words


def test_each_way_of_typing_a_text_has_the_same_probability() -> None:
    texts, labels = make_texts()
    classifier = SentimentClassifier(
        make_vectors(), maxlen=30, num_filters=12, n_epochs=20, verbose=False, random_state=1
    ).fit(texts, labels)
    probabilities = classifier.predict_proba(list(TYPED.values()))[:, 0]
    assert probabilities.max() - probabilities.min() < 0.02


@pytest.mark.parametrize(
    "text",
    ["Mr. Smith saw it", "e.g. the U.S. version", "J. R. left", "rated 3.5 of 5", "at 8 p.m. in St. Paul", "end ."],
)
def test_a_full_stop_that_ends_no_sentence_stays_with_its_word(text: str) -> None:
    assert TypedTextTokenizer()(text) == text.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It was bad (awful.) So", ["It", "was", "bad", "(", "awful", ".", ")", "So"]),
        ('"Awful." Then', ["``", "Awful", ".", "''", "Then"]),
        ("3.5. So am I. Yes", ["3.5", ".", "So", "am", "I", ".", "Yes"]),
        ("good/bad and/or 1/2", ["good", "/", "bad", "and", "/", "or", "1/2"]),
        ("Cafe\u0301 no\u00adwhere", ["Caf\u00e9", "nowhere"]),
        ("a < b > c", ["a", "<", "b", ">", "c"]),
        ("a < b & c &unknown; d", ["a", "<", "b", "&", "c", "&", "unknown", ";", "d"]),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_words_are_found_in_what_stands_close_together(text: str, words: list[str]) -> None:
    assert TypedTextTokenizer()(text) == words


@given(
    st.lists(
        st.sampled_from([*PIECES, APOSTROPHE, OPENING, ELLIPSIS, "<br>", "< b", "&amp;", "end.", "e\u0301"]),
        max_size=16,
    )
)
@settings(max_examples=500, deadline=None)
def test_words_stand_where_they_are_said_to_stand_in_the_text_as_typed(pieces: list[str]) -> None:
    text = "".join(pieces)
    tokenizer, position = TypedTextTokenizer(), 0
    located = list(tokenizer.locate(text))
    assert [token.text for token in located] == tokenizer(text)
    for token in located:
        if token.start < 0:
            continue
        assert 0 <= token.start < token.end <= len(text)
        assert token.start >= position or text[token.start : token.end] == ELLIPSIS or "&" in text
        position = token.start
        typed = text[token.start : token.end]
        found, word = (each.replace("`", "'") for each in (f"{normalize(typed)} {typed}", token.text))
        assert word in found or (word == "''" and '"' in found)


def test_signs_that_are_no_tags_move_no_places() -> None:
    text = "a < b > c. The end"
    located = TypedTextTokenizer().locate(text)
    assert [text[token.start : token.end] for token in located] == ["a", "<", "b", ">", "c.", "The", "end"]


@given(st.lists(st.sampled_from([*PIECES, "end. ", "Mr. ", APOSTROPHE]), max_size=16).map("".join))
@settings(max_examples=500, deadline=None)
def test_ids_are_those_of_the_words_one_by_one(text: str) -> None:
    encoder = TextEncoder({"end": 0, ".": 1, "cannot": 2, "s": 3}, lowercase=True)
    encoded = encoder.encode(encoder.number([text]), False, 100)
    assert tuple(encoded.documents.ids.tolist()) == encoder.ids_of(encoder.tokens(text))


def test_the_lectures_tokens_are_there_on_request() -> None:
    text = "The music was awful. It isn\u2019t fine."
    vectorizer = Word2VecVectorizer(make_vectors(["awful", "fine"]), tokenizer="treebank", oov="zero").fit([text])
    assert vectorizer.encoder_.tokens(text) == TreebankWordTokenizer().tokenize(text)


def test_a_corpus_of_unknown_words_is_told() -> None:
    with pytest.warns(UserWarning, match=r"67% of the words of the texts have no vector and are left out"):
        Word2VecVectorizer(make_vectors(["fine"])).fit(["fine Musik hier"] * 40)


def test_a_text_of_mostly_unknown_words_is_told() -> None:
    vectorizer = Word2VecVectorizer(make_vectors(["fine", "film"])).fit(["fine film"])
    with pytest.warns(UserWarning, match="1 of 2 texts have no vector for more than half of their words"):
        vectorizer.transform(["fine Musik hier", "fine film hier"])

"""The command ``python -m benchmarks sentiment``, on small corpora. Nothing here says how fast or right anything is."""

import json
import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer

import benchmarks.core.rivals
import benchmarks.sentiment.scale as scale_module
import benchmarks.sentiment.speed_cases as speed_module
from benchmarks.__main__ import main
from benchmarks.core.errors import MissingRivalError, UserError
from benchmarks.core.rivals import RivalProcesses
from benchmarks.core.timing import measure
from benchmarks.sentiment.corpora import Corpus, load_corpus, make_demo
from benchmarks.sentiment.entries import NaiveBayesFeatures, write_documents
from benchmarks.sentiment.folds import FoldRow
from benchmarks.sentiment.insights import strongest_phrases
from benchmarks.sentiment.scale import make_long_texts
from benchmarks.sentiment.speed_cases import PlainNetwork, make_cases, print_memory, tokenize_and_vectorize
from benchmarks.sentiment.summaries import summarise, table_lines, verdict
from seq_plugins.text import Word2VecVectorizer
from seq_plugins.text.training import Settings
from tests.browser import Browser
from tests.text.samples import make_classifier, make_texts, make_vectors, needs_data

NETWORK, LINEAR = "SentimentClassifier", "TF-IDF + logistic regression"
KERAS = "Keras, the lecture's network"
RIVAL = "benchmarks.sentiment.rival"
PROCESSES = RivalProcesses(RIVAL, {}, 1)


@pytest.fixture(autouse=True)
def _no_other_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras is not there, whatever is installed."""
    monkeypatch.delenv(benchmarks.core.rivals.RIVAL_PYTHON, raising=False)
    monkeypatch.setattr(benchmarks.core.rivals, "find_spec", lambda name: None)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of labelled texts."""
    texts, labels = make_demo(60)
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"body": texts, "stars": labels}).to_csv(path, index=False)
    return path


def _run(table: Path, *arguments: str) -> int:
    csv = ["--text", "body", "--label", "stars"]
    return main(["sentiment", "--dataset", str(table), *csv, "--folds", "3", "--vectors", "train", *arguments])


def test_all_models_are_tested_on_the_same_folds_and_told_on_one_page(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(table, "--no-rivals", "--output", "results", "--json", "rows.json") == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert len(models) == 7
    assert len(rows) == 21
    for row in rows:
        assert row["error"] is None, row
        assert (row["n_train"], row["n_test"]) == (40, 20)
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["f1"] <= 1
        assert row["fit_seconds"] > 0
        assert row["predict_texts_per_second"] > 0
        assert row["versions"]["gensim"]
    page = (tmp_path / "results/report.html").read_text()
    assert page.count('<figure id="') == 5
    assert all(model in unescape(page) for model in models)
    printed = capsys.readouterr().out
    assert all(model in printed for model in models)
    assert "best linear model: " in printed
    assert json.loads((tmp_path / "results/rows.json").read_text())["rows"] == rows


def test_the_page_draws_its_charts_in_both_widths_and_themes_and_asks_no_network(table: Path, browser: Browser) -> None:
    assert _run(table, "--no-rivals", "--models", LINEAR, "--output", "results") == 0
    page = Path("results/report.html")
    charts = "[...document.querySelectorAll('figure:not([hidden]) .chart')]"
    drawn = f"{charts}.map(chart => chart.querySelector('svg') !== null)"
    background = "getComputedStyle(document.body).backgroundColor"
    for width in (1400, 390):
        browser.open(page, width=width)
        assert len(browser.run(drawn)) >= 3
        assert all(browser.run(drawn))
        assert browser.run("document.documentElement.scrollWidth") <= width
        light = browser.run(background)
        browser.click("#theme")
        assert browser.run(background) != light
        assert all(browser.run(drawn))
    assert browser.complaints == []
    assert set(browser.requests) == {page.resolve().as_uri()}


def test_keras_that_is_not_installed_has_a_row_that_says_what_to_install(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(table, "--models", LINEAR, KERAS, "--json", "rows.json") == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    missing = [row for row in rows if row["missing"]]
    assert [row["model"] for row in missing] == [KERAS]  # once, not for every fold
    assert "pip install 'seq-plugins[rivals]'" in missing[0]["error"]
    assert len([row for row in rows if row["model"] == LINEAR]) == 3
    assert "--rival-python keras=PATH" in capsys.readouterr().err


def test_only_the_first_folds_are_run_if_asked(table: Path, tmp_path: Path) -> None:
    assert _run(table, "--no-rivals", "--only-folds", "1", "--models", LINEAR, "--json", "rows.json") == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["fold"] for row in rows] == [1]


def test_a_model_that_fails_has_a_row_stops_nothing_else_and_gives_exit_code_1(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr("benchmarks.sentiment.entries.SentimentClassifier.fit", fail)
    assert _run(table, "--no-rivals", "--models", NETWORK, LINEAR, "--json", "rows.json", "--output", "results") == 1
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["error"] for row in rows if row["model"] == NETWORK} == {"RuntimeError: no memory left"}
    assert all(row["accuracy"] for row in rows if row["model"] == LINEAR)
    assert "Failures" in (tmp_path / "results/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "imdb"], "--dataset: expected demo, movie_reviews, sentence_polarity or a file ending in .csv"),
        (["--dataset", "nowhere.csv"], "--dataset: cannot read nowhere.csv"),
        (["--models", "BERT"], "--models: expected names among SentimentClassifier; "),
        (["--vectors", "nowhere.bin"], "--vectors: There is no file nowhere.bin"),
        (["--json", "no/such/folder/rows.json"], "--json: cannot write no/such/folder/rows.json"),
        (["--folds", "401"], "--folds: expected two classes with at least 401 texts each"),
        (["--rival-python", "keras=nowhere"], "--rival-python: nowhere is not a program"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sentiment", "--no-rivals", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "column"), [("--text", "texts"), ("--label", "grade")])
def test_a_column_that_is_not_there_is_told(
    option: str, column: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sentiment", "--dataset", str(table), "--text", "body", "--label", "stars", option, column]) == 2
    assert f"{option}: expected a column of {table}, one of body, stars, got '{column}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("separator", "encoding"), [(",", "utf-8"), (";", "cp1252"), ("\t", "utf-8-sig"), ("|", "utf-16")]
)
def test_tables_of_every_make_are_read_and_a_class_may_be_called_none(
    separator: str, encoding: str, tmp_path: Path
) -> None:
    texts = ["caf\u00e9, fine; good", "dull\tand bad", "nothing | at all"] * 3
    frame = pd.DataFrame({"body": texts, "stars": ["good", "NA", "None"] * 3})
    frame.to_csv(tmp_path / "reviews.csv", sep=separator, encoding=encoding, index=False)
    corpus = load_corpus(str(tmp_path / "reviews.csv"), 3, "body", "stars", encoding)
    assert corpus.texts == texts
    assert corpus.labels.tolist() == frame["stars"].tolist()


def test_another_encoding_is_told_with_the_option_for_it(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_bytes(table.read_bytes() + "caf\u00e9,good\n".encode("cp1252"))
    assert _run(table) == 2
    assert "is not in utf-8-sig" in (told := capsys.readouterr().err)
    assert "--encoding cp1252" in told
    assert _run(table, "--encoding", "klingon") == 2
    assert "--encoding: unknown encoding: klingon" in capsys.readouterr().err


def test_rows_without_text_are_told(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(table)
    frame.loc[3, "body"] = None
    frame.to_csv(table, index=False)
    assert _run(table) == 2
    assert "1 rows of" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["movie_reviews", "sentence_polarity"])
def test_a_corpus_that_is_not_there_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setenv("SEQ_PLUGINS_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"nltk\.download\('{name}'\).*SEQ_PLUGINS_DATA.*--dataset demo needs no data"):
        load_corpus(name, 10, "text", "label")


@needs_data
def test_folds_of_the_movie_reviews_are_those_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = load_corpus("movie_reviews", 10, "text", "label")
    assert len(corpus.texts) == 2000
    assert np.bincount(corpus.folds).tolist() == [200] * 10
    negative = np.flatnonzero(corpus.labels == "neg")
    assert corpus.folds[negative].tolist() == sorted(corpus.folds[negative])  # cv000 to cv099 come first
    assert corpus.texts[negative[0]].startswith("plot : two teen couples")


@needs_data
def test_sentences_are_read_and_dealt_out_evenly() -> None:
    corpus = load_corpus("sentence_polarity", 10, "text", "label")
    assert len(corpus.texts) == 10662
    assert sorted(set(corpus.labels)) == ["neg", "pos"]
    counts = np.bincount(corpus.folds)
    assert counts.max() - counts.min() <= 2


def test_the_demo_is_always_the_same_and_says_what_it_is() -> None:
    assert make_demo(50)[0] == make_demo(50)[0]
    corpus = load_corpus("demo", 5, "text", "label")
    assert "generated" in corpus.note
    assert np.bincount(corpus.folds).tolist() == [160] * 5


def test_naive_bayes_features_are_counts_times_log_ratios() -> None:
    counts = CountVectorizer(binary=True).fit_transform(["good fine", "good", "bad fine"])
    labels = np.array(["p", "p", "q"])
    features = NaiveBayesFeatures().fit(counts, labels)
    # words: bad, fine, good; each count plus one, as a share of all of its class
    ratios = np.log((np.array([2, 2, 1]) / 5) / (np.array([1, 2, 3]) / 6))
    np.testing.assert_allclose(features.ratios_[0], ratios)
    np.testing.assert_allclose(features.transform(counts).toarray(), counts.toarray() * ratios)


def test_summaries_are_sorted_and_say_who_wins() -> None:
    rows = [FoldRow("demo", model, fold, accuracy=accuracy, f1=accuracy, fit_seconds=1.0) for fold, model, accuracy in (
        (1, NETWORK, 0.8), (2, NETWORK, 0.6), (1, LINEAR, 0.9), (2, LINEAR, 0.8),
    )]  # fmt: skip
    rows.append(FoldRow("demo", "another", 1, error="it failed"))
    summary = summarise(rows)
    assert summary.index.tolist() == [LINEAR, NETWORK]
    assert summary.loc[NETWORK, "accuracy"] == pytest.approx(0.7)
    assert summary.loc[NETWORK, "deviation"] == pytest.approx(0.2 / 2**0.5)
    assert f"{LINEAR} wins, by 15.00 points" in verdict(summary)


def test_there_is_an_empty_summary_where_everything_has_failed() -> None:
    summary = summarise([FoldRow("demo", NETWORK, 1, error="it failed")])
    assert summary.empty
    assert verdict(summary) == ""
    assert len(table_lines(summary)) == 1


def test_the_strongest_phrases_tell_the_classes() -> None:
    texts, labels = make_texts(200, seed=2)
    classifier = make_classifier(n_epochs=20).fit(texts, labels)
    effects = strongest_phrases(classifier, make_texts(40, seed=3)[0], 6)
    assert len(effects) == 6
    assert [effect.contribution for effect in effects] == sorted(effect.contribution for effect in effects)
    assert effects[0].contribution < 0 < effects[-1].contribution


# --- the rival's process, with a stand-in for Keras


def test_a_python_without_keras_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import no_such_module_at_all")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(MissingRivalError, match="keras is not installed"),
        RivalProcesses(RIVAL, {"keras": sys.executable}, 1) as processes,
    ):
        processes["keras"]


def test_the_rival_is_given_the_same_documents(tmp_path: Path) -> None:
    texts, labels = make_texts(10)
    vectorizer = Word2VecVectorizer(make_vectors(), maxlen=6)
    train = vectorizer.fit_transform(texts)
    test = vectorizer.transform(["fine film"])
    write_documents(tmp_path / "documents.npz", vectorizer, train, test, np.unique(labels, return_inverse=True)[1])
    with np.load(tmp_path / "documents.npz") as arrays:
        np.testing.assert_array_equal(arrays["words"][arrays["train"]], vectorizer.to_array(texts))
        np.testing.assert_array_equal(arrays["words"][arrays["test"]], vectorizer.to_array(["fine film"]))


# --- speed, on tiny sizes


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A tiny corpus and tiny sizes."""
    monkeypatch.setattr(speed_module, "N_DIMENSIONS", 6)
    monkeypatch.setattr(speed_module, "MAXLEN", 12)
    monkeypatch.setattr(speed_module, "SETTINGS", Settings(12, 0.2, 1e-3, 4, False, torch.device("cpu")))
    texts, labels = make_texts(20)
    return Corpus("tiny", texts, np.array(labels), np.arange(20) // 2 % 2)


def test_every_case_in_this_process_gives_a_whole_row(tiny: Corpus) -> None:
    for case in make_cases(tiny, "demo", 1, PROCESSES):
        if case.name == "text-memory":
            continue
        rivals = [rival for rival in case.rivals if rival.name != "keras"]
        for row in measure(case, rivals, PROCESSES, 1, 1, lambda what: None):
            assert row.error is None, row
            assert row.ours_s is not None
            assert row.ours_s > 0
            assert row.rival_s is not None
            assert row.rival_s > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("side", ["ours", "lecture"])
def test_memory_is_printed_in_megabytes(side: str, tiny: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    print_memory(side, "demo", 1)
    assert np.isfinite(json.loads(capsys.readouterr().out))


def test_long_texts_are_joined_and_what_they_take_is_told(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_module, "SentimentClassifier", lambda *_, **__: make_classifier(ngrams=2, n_epochs=1))
    assert _run(table, "--scale", "70", "--json", "scale.json") == 0
    rows = json.loads((tmp_path / "scale.json").read_text())["scale"]
    assert [row["texts"] for row in rows] == [70, 70, 60]
    assert rows[0]["words"] == rows[1]["words"] > 8 * rows[2]["words"]
    assert all(row["seconds"] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert all(row["case"] in printed for row in rows)


def test_long_texts_are_mostly_of_their_class() -> None:
    corpus = Corpus("letters", ["a", "b"], np.array(["x", "y"]), np.arange(2))
    texts, labels = make_long_texts(corpus, 400)
    assert [len(text.split()) for text in texts] == [11] * 400
    assert labels[:3].tolist() == ["x", "y", "x"]
    shares = [text.count("a" if label == "x" else "b") / 11 for text, label in zip(texts, labels, strict=True)]
    assert np.mean(shares) == pytest.approx(0.6, abs=0.05)


def test_the_plain_network_takes_ids_and_trains_all_but_the_vectors() -> None:
    embedding = torch.nn.Embedding.from_pretrained(torch.randn(9, 5))
    network = PlainNetwork(embedding)
    assert network(torch.randint(9, (3, 7))).shape == (3,)
    assert len(network.trained_parameters()) == 6


def test_the_lectures_loop_finds_the_vectors_of_known_words() -> None:
    vectors = make_vectors(["fine", "film"])
    (found,) = tokenize_and_vectorize(["a fine film"], vectors)
    np.testing.assert_array_equal(found, vectors.vectors)

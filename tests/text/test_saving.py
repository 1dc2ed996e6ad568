"""Saved models: the same numbers again, no code, nothing half."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq_plugins.text.saving as module
from seq_plugins.text import SentimentClassifier
from tests.text.samples import BAD, GOOD, OTHER, make_classifier, make_texts, make_vectors
from tests.text.test_vectorizer import split_at_commas

TEXTS, LABELS = make_texts()
NEW_TEXTS, _ = make_texts(30, seed=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model."""
    make_classifier(n_epochs=2).fit(TEXTS, LABELS).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"kernel_size": [2, 3], "class_weight": {"good": 2, "bad": 1}},
        {"train_embeddings": True, "oov": "random"},
        {"vectors": None, "class_weight": "balanced"},
        {"tokenizer": "treebank"},
        {"random_state": np.random.RandomState(3), "maxlen": np.int64(16)},
    ],
)
def test_a_loaded_model_gives_the_same_numbers(arguments: Any, tmp_path: Path) -> None:
    texts = [f"{text} zombie" for text in TEXTS]
    classifier = make_classifier(n_epochs=2, **arguments).fit(texts, LABELS)
    classifier.save(tmp_path / "model")
    loaded = SentimentClassifier.load(tmp_path / "model")
    unseen = [*NEW_TEXTS, *texts, "a vampire film"]
    np.testing.assert_array_equal(loaded.predict_proba(unseen), classifier.predict_proba(unseen))
    assert loaded.explain(NEW_TEXTS[0]) == classifier.explain(NEW_TEXTS[0])
    np.testing.assert_array_equal(loaded.class_prior_, classifier.class_prior_)
    assert loaded.history_ == classifier.history_
    assert loaded.vectorizer_.unknown_share_ == classifier.vectorizer_.unknown_share_
    kept = {name: value for name, value in classifier.get_params().items() if name not in ("vectors", "random_state")}
    assert {name: loaded.get_params()[name] for name in kept} == kept
    loaded.save(tmp_path / "again")
    again = SentimentClassifier.load(tmp_path / "again")
    np.testing.assert_array_equal(again.predict_proba(unseen), classifier.predict_proba(unseen))


def test_a_model_of_the_first_format_goes_on_with_nltks_tokens_as_they_are(folder: Path) -> None:
    model = json.loads((folder / "model.json").read_text())
    del model["tokenizer"]
    (folder / "model.json").write_text(json.dumps(model | {"has_tokenizer": False}))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["model.json"] = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    assert SentimentClassifier.load(folder).tokenizer == "treebank"


def test_a_model_whose_linear_classifier_has_other_parts_of_words_is_to_be_fitted_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make_classifier(ngrams=2, n_epochs=1).fit(TEXTS, LABELS).save(folder)
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    for other in ({}, {"n_characters": vocabulary.pop("n_characters") + 1}):
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary | other))
        manifest["sha256"]["vocabulary.json"] = hashlib.sha256((folder / "vocabulary.json").read_bytes()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=r"no n-grams of \d characters, so fit it again"):
            SentimentClassifier.load(folder)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["a", "ö"], [-1.0, 1.0], np.array(["x", "y"], object)])
def test_labels_come_back_as_they_were(labels: Any, tmp_path: Path) -> None:
    y = np.array([labels[number % 2] for number in range(len(TEXTS))])
    classifier = make_classifier(n_epochs=2).fit(TEXTS, y)
    classifier.save(tmp_path / "model")
    loaded = SentimentClassifier.load(tmp_path / "model")
    assert loaded.classes_.dtype == classifier.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(NEW_TEXTS), classifier.predict(NEW_TEXTS))


def test_three_classes_come_back(tmp_path: Path) -> None:
    texts, labels = make_texts(60, n_classes=3)
    vectors = make_vectors([*OTHER, *GOOD, *BAD, "so-so", "middling"])
    classifier = make_classifier(vectors=vectors, n_epochs=2).fit(texts, labels)
    classifier.save(tmp_path / "model")
    loaded = SentimentClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(texts), classifier.predict_proba(texts))


def test_a_loaded_model_learns_on(folder: Path) -> None:
    loaded = SentimentClassifier.load(folder)
    before = loaded.predict_proba(NEW_TEXTS)
    loaded.set_params(learning_rate=1e-9).partial_fit(TEXTS, LABELS)
    np.testing.assert_allclose(loaded.predict_proba(NEW_TEXTS), before, atol=1e-4)  # it goes on from its weights
    loaded.fit(TEXTS, LABELS)
    assert loaded.n_epochs_ == 2


def test_a_tokenizer_of_ones_own_is_given_again(tmp_path: Path) -> None:
    texts = [text.replace(" ", ",") for text in TEXTS]
    classifier = make_classifier(tokenizer=split_at_commas, n_epochs=2).fit(texts, LABELS)
    classifier.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"Expected tokenizer, the function that the model was trained with"):
        SentimentClassifier.load(tmp_path / "model")
    loaded = SentimentClassifier.load(tmp_path / "model", tokenizer=split_at_commas)
    np.testing.assert_array_equal(loaded.predict_proba(texts), classifier.predict_proba(texts))


def test_a_tokenizer_that_is_not_needed_is_told(folder: Path) -> None:
    with pytest.raises(ValueError, match="Expected no tokenizer: the model was trained with one of the package"):
        SentimentClassifier.load(folder, tokenizer=split_at_commas)


def test_loading_unpickles_nothing(folder: Path) -> None:
    script = f"""
import pickle, sys
import torch, sklearn, gensim
from seq_plugins.text import SentimentClassifier
from seq_plugins.text.saving import load_classifier

def refuse(*arguments, **keywords):
    raise AssertionError("unpickled")

pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
events = []
sys.addaudithook(lambda event, arguments: events.append(event) if event == "pickle.find_class" else None)
print(SentimentClassifier.load({str(folder)!r}).predict(["a fine film"])[0], events)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, events = done.stdout.strip().split(" ", 1)
    assert label in ("good", "bad")
    assert events == "[]"


def test_the_folder_holds_what_it_says_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *module.FILES}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert str(folder) not in (folder / "model.json").read_text()


def test_a_model_takes_the_place_of_another(folder: Path) -> None:
    classifier = make_classifier(n_epochs=2, random_state=7).fit(TEXTS, LABELS)
    classifier.save(folder)
    loaded = SentimentClassifier.load(folder)
    np.testing.assert_array_equal(loaded.predict_proba(NEW_TEXTS), classifier.predict_proba(NEW_TEXTS))
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_what_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    classifier = make_classifier(n_epochs=1).fit(TEXTS, LABELS)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "note").write_text("a note")
    for name in ("photos", "note"):
        with pytest.raises(FileExistsError, match=f"something other than a saved model at .*{name}"):
            classifier.save(tmp_path / name)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    with pytest.raises(FileNotFoundError, match=r"The folder of .* does not exist"):
        classifier.save(tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize("failing", ["save_file", "_hash", "_put_in_place"])
def test_a_save_that_fails_leaves_the_old_model_and_nothing_else(
    failing: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    classifier = make_classifier(n_epochs=1).fit(TEXTS, LABELS)

    def fail(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, failing, fail)
    with pytest.raises(OSError, match="no space left on device"):
        classifier.save(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_json_does_not_know_is_told_before_anything_is_written(tmp_path: Path) -> None:
    dates = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")
    classifier = make_classifier(n_epochs=1).fit(TEXTS, LABELS)
    classifier.classes_ = dates
    with pytest.raises(TypeError, match="Expected labels that are strings or numbers"):
        classifier.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


# --- folders that are not as they were


@pytest.mark.parametrize("name", module.FILES)
def test_a_missing_file_is_told(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing. Copy the whole folder"):
        SentimentClassifier.load(folder)


@pytest.mark.parametrize("name", module.FILES)
def test_a_changed_file_is_told(name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the one that was saved: its SHA-256 has changed"):
        SentimentClassifier.load(folder)


def test_a_missing_or_damaged_manifest_is_told(folder: Path) -> None:
    manifest = folder / "manifest.json"
    for content in ("{", "[]", '{"kind": "something else", "format": 1, "version": "1", "sha256": {}}', "{}"):
        manifest.write_text(content)
        with pytest.raises(ValueError, match=r"manifest\.json is not valid"):
            SentimentClassifier.load(folder)
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        SentimentClassifier.load(folder)
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        SentimentClassifier.load(folder / "nowhere")


def test_a_model_of_a_newer_version_is_told(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": module.FORMAT + 1, "version": "9.1"}))
    with pytest.raises(
        ValueError, match=r"saved by a newer version, seq_plugins 9\.1 .*Install seq_plugins 9\.1 or newer"
    ):
        SentimentClassifier.load(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.json", lambda model: model["shape"].update(num_filters=9)),
        ("model.json", lambda model: model["arguments"].update(maxlen="long")),
        ("model.json", lambda model: model["arguments"].update(unheard_of=1)),
        ("model.json", lambda model: model.pop("classes")),
        ("model.json", lambda model: model["classes"].append("third")),
        ("vocabulary.json", lambda vocabulary: vocabulary["words"].pop()),
    ],
)
def test_parts_that_do_not_fit_are_told_also_with_the_right_checksum(name: str, change: Any, folder: Path) -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = module._hash(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="its parts do not fit"):
        SentimentClassifier.load(folder)

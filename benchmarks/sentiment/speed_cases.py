"""Speed and memory of the lecture's network beside Keras, ``nn.Conv1d`` and the lecture's own loop, in turns."""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gensim.models import KeyedVectors
from nltk.tokenize import TreebankWordTokenizer
from torch import nn

from benchmarks.core.memory import PeakMemory
from benchmarks.core.new_process import run_in_new_process
from benchmarks.core.rivals import RivalProcess, RivalProcesses
from benchmarks.core.timing import Case, Goal, Rival, Turn, timed, times_faster
from benchmarks.sentiment.corpora import Corpus, load_corpus
from benchmarks.sentiment.entries import (
    BATCH_SIZE,
    MAXLEN,
    PREDICT_BATCH_SIZE,
    write_documents,
)
from seq_plugins.text import SentimentClassifier, Word2VecVectorizer
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.tokenizing import CachedTreebankTokenizer
from seq_plugins.text.training import ADAM_EPSILON, LabelledDocuments, Settings, Trainer, compute_logits
from seq_plugins.text.word_vectors import make_keyed_vectors

# N: documents, L: maxlen, D: dimensions of a word, F: filters

N_DIMENSIONS = 300
N_EPOCHS = 2
SETTINGS = Settings(MAXLEN, 0.2, 1e-3, BATCH_SIZE, False, torch.device("cpu"))


def make_cases(corpus: Corpus, dataset: str, threads: int, processes: RivalProcesses) -> list[Case]:
    """Return the cases: training, prediction, memory, and the making of ids.

    Parameters
    ----------
    corpus
        The texts; all but the first fold are trained on, all are predicted.
    dataset
        What the corpus was loaded from.
    threads
        Number of threads.
    processes
        The rivals' processes.
    """
    work = _Work(corpus)
    sizes = {
        "texts": len(corpus.texts), "training_texts": len(work.train), "maxlen": MAXLEN, "dimensions": N_DIMENSIONS,
        "epochs": N_EPOCHS, "batch_size": BATCH_SIZE,
    }  # fmt: skip
    memory = Goal("a twentieth", lambda ours, theirs: 20 * ours <= theirs)
    return [
        Case(
            "text-training",
            f"training, {len(work.train) * N_EPOCHS} documents",
            work.train_ours,
            [
                Rival("keras", lambda: work.train_keras(processes["keras"]), times_faster(6)),
                Rival("nn.Conv1d on ids", work.train_plainly, times_faster(4)),
            ],
            sizes,
        ),
        Case(
            "text-prediction",
            f"prediction, {len(corpus.texts)} documents",
            work.predict_ours,
            [
                Rival("keras", lambda: work.predict_keras(processes["keras"]), times_faster(15)),
                Rival("nn.Conv1d on ids", work.predict_plainly),
            ],
            sizes,
        ),
        Case(
            "text-memory",
            "memory of a fit beyond the vectors",
            partial(_memory_turn, "ours", dataset, threads),
            [Rival("the lecture's arrays", lambda: partial(_arrays_size, len(corpus.texts)), memory),
             Rival("the lecture's loop", partial(_memory_turn, "lecture", dataset, threads))],
            sizes,
            "MB",
        ),
        Case(
            "text-tokens",
            "texts to ids, to vectors",
            work.tokenize_ours,
            [Rival("the lecture's loop", work.tokenize_as_the_lecture, times_faster(3))],
            sizes,
        ),
    ]  # fmt: skip


def make_random_vectors(texts: Sequence[str]) -> KeyedVectors:
    """Return vectors for all words of texts: speed does not depend on their numbers."""
    tokenize = CachedTreebankTokenizer()
    words = sorted({token for text in texts for token in tokenize(text)})
    numbers = np.random.default_rng(0).standard_normal((len(words), N_DIMENSIONS), dtype=np.float32)
    return make_keyed_vectors(words, numbers)


class _Work:
    """The same documents for everybody; what is prepared is prepared once."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.vectors = make_random_vectors(corpus.texts)
        self.vectorizer = Word2VecVectorizer(self.vectors, MAXLEN)
        _, self.documents = self.vectorizer.fit_encode(corpus.texts)
        self.train = np.flatnonzero(corpus.folds != 0)
        self.codes = np.unique(corpus.labels, return_inverse=True)[1]

    # --- ours

    def train_ours(self) -> Turn:
        weights = np.ones(len(self.train), np.float32)
        learned = LabelledDocuments(self.documents.take(self.train), self.codes[self.train], weights)

        def train() -> None:
            trainer = Trainer(self._network(), self.vectorizer.table_, SETTINGS, seed=1)
            trainer.train(learned, N_EPOCHS, is_quiet=True)

        return timed(train)

    def predict_ours(self) -> Turn:
        network = self._network()
        network.draw_weights(torch.Generator().manual_seed(1))
        return timed(lambda: compute_logits(network, self.vectorizer.table_, self.documents, SETTINGS))

    def tokenize_ours(self) -> Turn:
        return timed(lambda: Word2VecVectorizer(self.vectors, MAXLEN).fit_transform(self.corpus.texts))

    def _network(self) -> SentimentNetwork:
        return SentimentNetwork(N_DIMENSIONS, 250, [3], 250, 1)

    # --- Keras

    def train_keras(self, keras: RivalProcess) -> Turn:
        self._prepare_keras(keras)
        return lambda: float(keras.ask("fit")["seconds"])

    def predict_keras(self, keras: RivalProcess) -> Turn:
        self._prepare_keras(keras)
        return lambda: float(keras.ask("predict")["seconds"])

    def _prepare_keras(self, keras: RivalProcess) -> None:
        ids = self.documents.to_array(MAXLEN)
        sizes = {"n_outputs": 1, "batch_size": BATCH_SIZE, "predict_batch_size": PREDICT_BATCH_SIZE}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "documents.npz"
            write_documents(file, self.vectorizer, ids[self.train], ids, self.codes[self.train])
            keras.ask("prepare", file=str(file), settings=sizes | {"n_epochs": N_EPOCHS, "seed": 1})

    # --- PyTorch's own convolution on token ids

    def train_plainly(self) -> Turn:
        ids, codes = self._ids()[self.train], torch.from_numpy(self.codes[self.train]).float()
        embedding = self._embedding()

        def train() -> None:
            network = PlainNetwork(embedding)
            optimizer = torch.optim.Adam(network.trained_parameters(), lr=SETTINGS.learning_rate, eps=ADAM_EPSILON)
            for _ in range(N_EPOCHS):
                for numbers in torch.randperm(len(ids)).split(BATCH_SIZE):
                    losses = F.binary_cross_entropy_with_logits(network(ids[numbers]), codes[numbers])
                    optimizer.zero_grad()
                    losses.backward()
                    optimizer.step()

        return timed(train)

    def predict_plainly(self) -> Turn:
        network, ids = PlainNetwork(self._embedding()).eval(), self._ids()

        def predict() -> None:
            with torch.no_grad():
                for part in ids.split(PREDICT_BATCH_SIZE):
                    network(part)

        return timed(predict)

    def _ids(self) -> torch.Tensor:
        return torch.from_numpy(self.documents.to_array(MAXLEN)).long()

    def _embedding(self) -> nn.Embedding:
        vectors = torch.from_numpy(self.vectorizer.table_.rows(np.arange(self.vectorizer.table_.n_ids)))
        return nn.Embedding.from_pretrained(vectors)

    # --- the lecture's loop

    def tokenize_as_the_lecture(self) -> Turn:
        return timed(lambda: tokenize_and_vectorize(self.corpus.texts, self.vectors))


class PlainNetwork(nn.Module):
    """The same network with PyTorch's own layers, from ids `(N, L)` to logits `(N,)`."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.convolution = nn.Conv1d(embedding.embedding_dim, 250, 3)
        self.hidden, self.dropout, self.output = nn.Linear(250, 250), nn.Dropout(0.2), nn.Linear(250, 1)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return all but the words' vectors."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        pooled = self.convolution(self.embedding(ids).transpose(1, 2)).relu().amax(dim=2)  # -> (N, F)
        return self.output(self.dropout(self.hidden(pooled)).relu())[:, 0]


def tokenize_and_vectorize(texts: Sequence[str], vectors: KeyedVectors) -> list[list[np.ndarray]]:
    """Do what the lecture's function of this name does."""
    tokenizer = TreebankWordTokenizer()
    vectorized = []
    for text in texts:
        found = []
        for token in tokenizer.tokenize(text):
            try:  # noqa: SIM105 - as it is written there
                found.append(vectors[token])
            except KeyError:
                pass
        vectorized.append(found)
    return vectorized


# --- memory, each turn in a new process


def _arrays_size(n_texts: int) -> float:
    """Return the megabytes of the lecture's array alone, documents x 400 x 300 numbers of 4 bytes."""
    return n_texts * MAXLEN * N_DIMENSIONS * 4 / 2**20


def _memory_turn(side: str, dataset: str, threads: int) -> Turn:
    code = f"from benchmarks.sentiment.speed_cases import print_memory; print_memory({side!r}, {dataset!r}, {threads})"
    return lambda: float(run_in_new_process(code, threads))


def print_memory(side: str, dataset: str, threads: int) -> None:
    """Print by how many megabytes this process grows at most beyond texts and vectors.

    Parameters
    ----------
    side
        ``"ours"``: in ``fit`` and ``predict``; ``"lecture"``: in making its lists and its array.
    dataset
        Name of the corpus.
    threads
        Number of threads.
    """
    torch.set_num_threads(threads)
    corpus = load_corpus(dataset, 10, "text", "label")
    vectors = make_random_vectors(corpus.texts)
    few = [*corpus.texts[:2], *corpus.texts[-2:]]
    classifier = SentimentClassifier.lecture(vectors, verbose=False, n_epochs=1, random_state=1)
    classifier.fit(few, [0, 0, 1, 1]).predict(few)  # what is loaded and compiled at the first fit does not count
    with PeakMemory() as peak:
        if side == "ours":
            classifier = SentimentClassifier.lecture(vectors, verbose=False, n_epochs=N_EPOCHS, random_state=1)
            classifier.fit(corpus.texts, corpus.labels).predict(corpus.texts)
        else:
            _make_arrays(corpus.texts, vectors)
    print(json.dumps(peak.megabytes))


def _make_arrays(texts: Sequence[str], vectors: KeyedVectors) -> Any:
    """Cut or pad the lecture's lists, and make its array of them."""
    vectorized: list[Any] = tokenize_and_vectorize(texts, vectors)
    array = np.zeros((len(texts), MAXLEN, N_DIMENSIONS), np.float32)
    for document, found in enumerate(vectorized):
        for place, vector in enumerate(found[:MAXLEN]):
            array[document, place] = vector
    return array

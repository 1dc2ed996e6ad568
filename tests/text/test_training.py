"""Training equals the obvious loop, and Keras."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seq_plugins.text.documents import FIRST_WORD, Documents, WordTable
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.training import ADAM_EPSILON, LabelledDocuments, Settings, Trainer, compute_logits

NUMBERS: dict[str, Any] = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())


def make_settings(**arguments: Any) -> Settings:
    """Make settings without dropout."""
    defaults: dict[str, Any] = {
        "maxlen": 10, "dropout": 0.0, "learning_rate": 1e-2, "batch_size": 4, "train_embeddings": False,
        "device": torch.device("cpu"),
    }  # fmt: skip
    return Settings(**(defaults | arguments))


def make_learned(n_classes: int = 2, n_words: int = 15, seed: int = 0) -> LabelledDocuments:
    """Make random documents with random labels and weights."""
    generator = np.random.default_rng(seed)
    lengths = [10, 1, 3, 7, 10, 2, 5, 8, 4, 6, 9]
    documents = Documents.from_lists([FIRST_WORD + generator.integers(0, n_words, length) for length in lengths])
    codes = np.arange(len(lengths)) % n_classes
    return LabelledDocuments(documents, codes, generator.uniform(0.5, 2, len(lengths)).astype(np.float32))


def make_table(n_words: int = 15, n_dimensions: int = 6) -> WordTable:
    """Make random vectors."""
    return WordTable(np.random.default_rng(5).standard_normal((n_words, n_dimensions)).astype(np.float32))


def train_plainly(
    network: SentimentNetwork,
    table: WordTable,
    learned: LabelledDocuments,
    settings: Settings,
    seed: int,
    n_epochs: int,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Train with ``nn.Embedding`` and ``conv1d`` on padded ids, and return the weights and the vectors."""
    generator = torch.Generator().manual_seed(seed)
    network.draw_weights(generator)
    vectors = torch.from_numpy(table.rows(np.arange(table.n_ids)))
    embedding = nn.Embedding.from_pretrained(vectors, freeze=not settings.train_embeddings, padding_idx=0)
    weights = {name: weight.detach().clone().requires_grad_() for name, weight in network.named_parameters()}
    kernels = [weights[f"kernels.{number}"] for number in range(len(network.kernels))]
    biases = [weights[f"kernel_biases.{number}"] for number in range(len(network.kernels))]
    trained = [*weights.values(), *(embedding.parameters() if settings.train_embeddings else [])]
    optimizer = torch.optim.Adam(trained, lr=settings.learning_rate, eps=ADAM_EPSILON)
    ids = torch.from_numpy(learned.documents.to_array(settings.maxlen)).long()
    for _ in range(n_epochs):
        for numbers in torch.randperm(len(ids), generator=generator).split(settings.batch_size):
            inputs = embedding(ids[numbers]).transpose(1, 2)
            pooled = [
                F.conv1d(inputs, kernel.permute(1, 2, 0), bias).relu().amax(dim=2)
                for kernel, bias in zip(kernels, biases, strict=True)
            ]
            sums = F.linear(torch.cat(pooled, dim=1), weights["hidden"], weights["hidden_bias"])
            if settings.dropout:
                kept = torch.rand(sums.shape, generator=generator) >= settings.dropout
                sums = sums * kept / (1 - settings.dropout)
            logits = F.linear(sums.relu(), weights["output"], weights["output_bias"])
            codes = torch.from_numpy(learned.codes)[numbers]
            if logits.shape[1] == 1:
                losses = F.binary_cross_entropy(logits[:, 0].sigmoid(), codes.float(), reduction="none")
            else:
                losses = F.nll_loss(logits.log_softmax(dim=1), codes, reduction="none")
            optimizer.zero_grad()
            (losses * torch.from_numpy(learned.weights)[numbers]).mean().backward()
            optimizer.step()
    return weights, embedding.weight.detach()


@pytest.mark.parametrize("kernel_sizes", [[3], [2, 3, 5]])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("train_embeddings", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_training_equals_the_obvious_loop(
    dropout: float, train_embeddings: bool, n_classes: int, kernel_sizes: list[int]
) -> None:
    settings = make_settings(dropout=dropout, train_embeddings=train_embeddings)
    learned, n_outputs = make_learned(n_classes), 1 if n_classes == 2 else n_classes
    network = SentimentNetwork(6, 4, kernel_sizes, 5, n_outputs)
    expected, vectors = train_plainly(network, make_table(), learned, settings, seed=3, n_epochs=3)
    table = make_table()
    network = SentimentNetwork(6, 4, kernel_sizes, 5, n_outputs)
    Trainer(network, table, settings, seed=3).train(learned, 3, is_quiet=True)
    for name, found in network.named_parameters():
        torch.testing.assert_close(found, expected[name], atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(table.rows(np.arange(table.n_ids)), vectors, atol=2e-5)
    assert bool(len(table.changed_ids)) is train_embeddings


def test_outputs_losses_and_training_are_those_of_keras() -> None:
    words = np.array(NUMBERS["words"], np.float32)
    documents = Documents.from_lists([np.array(document) + FIRST_WORD for document in NUMBERS["documents"]])
    kernel, kernel_bias, hidden, hidden_bias, output, output_bias = map(torch.tensor, NUMBERS["weights"])
    network = SentimentNetwork(words.shape[1], len(kernel_bias), [len(kernel)], len(hidden_bias), 1)
    settings = make_settings(maxlen=NUMBERS["maxlen"], learning_rate=1e-3, batch_size=len(documents.lengths))
    table = WordTable(words)
    trainer = Trainer(network, table, settings, seed=1)
    network.load_state_dict({
        "kernels.0": kernel.transpose(1, 2), "kernel_biases.0": kernel_bias, "hidden": hidden.T,
        "hidden_bias": hidden_bias, "output": output.T, "output_bias": output_bias,
    })  # fmt: skip

    def outputs() -> np.ndarray:
        found: np.ndarray = 1 / (1 + np.exp(-compute_logits(network, table, documents, settings)[:, 0]))
        return found

    np.testing.assert_allclose(outputs(), NUMBERS["outputs_before"], atol=1e-6)
    codes = np.array(NUMBERS["labels"])
    rows = trainer.train(LabelledDocuments(documents, codes, np.ones(len(codes), np.float32)), 3, is_quiet=True)
    np.testing.assert_allclose([row["loss"] for row in rows], NUMBERS["losses"], rtol=1e-5)
    np.testing.assert_allclose(outputs(), NUMBERS["outputs_after"], atol=1e-5)


def test_initial_weights_are_those_of_keras() -> None:
    network = SentimentNetwork(30, 40, [3, 5], 50, 1)
    network.draw_weights(torch.Generator().manual_seed(0))
    for weight, fan_in, fan_out in (
        (network.kernels[0], 3 * 30, 3 * 40),
        (network.kernels[1], 5 * 30, 5 * 40),
        (network.hidden, 80, 50),
        (network.output, 50, 1),
    ):
        limit = (6 / (fan_in + fan_out)) ** 0.5
        assert weight.abs().max() <= limit
        assert weight.detach().std() == pytest.approx(limit / 3**0.5, rel=0.15)
    assert not any(bias.any() for bias in (*network.kernel_biases, network.hidden_bias, network.output_bias))


def test_later_words_join_the_trained_ones_as_if_they_had_always_been_there() -> None:
    """Adam moves a vector only once it has had a gradient."""
    settings = make_settings(train_embeddings=True, batch_size=20)
    first, second = make_learned(seed=0), make_learned(n_words=40, seed=1)
    tables = make_table(40), make_table(40)
    several = Trainer(SentimentNetwork(6, 4, [3], 5, 1), tables[0], settings, seed=3)
    several.train(first, 2, is_quiet=True)
    several.train(second, 2, is_quiet=True)
    at_once = Trainer(SentimentNetwork(6, 4, [3], 5, 1), tables[1], settings, seed=3)
    at_once._embed(np.arange(FIRST_WORD, FIRST_WORD + 40))
    at_once.train(first, 2, is_quiet=True)
    at_once.train(second, 2, is_quiet=True)
    ids = np.arange(tables[0].n_ids)
    np.testing.assert_allclose(tables[0].rows(ids), tables[1].rows(ids), atol=1e-6)


def test_a_trainer_goes_on_after_pickling_as_if_nothing_had_happened() -> None:
    learned = make_learned()
    settings = make_settings(train_embeddings=True, dropout=0.3)
    trainer = Trainer(SentimentNetwork(6, 4, [3], 5, 1), make_table(), settings, seed=3)
    trainer.train(learned, 1, is_quiet=True)
    again: Trainer = pickle.loads(pickle.dumps(trainer))
    assert again.train(learned, 2, is_quiet=True) == trainer.train(learned, 2, is_quiet=True)
    for one, other in zip(trainer.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_early_stopping_keeps_the_weights_of_the_best_epoch() -> None:
    learned, validated = make_learned(seed=0), make_learned(seed=1)
    settings = make_settings(train_embeddings=True, learning_rate=0.05)
    table = make_table()
    trainer = Trainer(SentimentNetwork(6, 4, [3], 5, 1), table, settings, seed=3)
    rows = trainer.train(learned, 200, validated, patience=3, is_quiet=True)
    losses = [row["validation_loss"] for row in rows]
    assert len(rows) == int(np.argmin(losses)) + 1 + 3 < 200
    assert trainer._compute_loss(validated) == pytest.approx(min(losses))


def test_training_that_diverges_is_told() -> None:
    trainer = Trainer(SentimentNetwork(6, 4, [3], 5, 1), make_table(), make_settings(learning_rate=1e30), seed=3)
    with pytest.raises(ValueError, match=r"training has diverged. Give a learning_rate below 1e\+30"):
        trainer.train(make_learned(), 20, is_quiet=True)

"""Training of the sentiment network: batches, losses, epochs, early stopping."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from seq_plugins._progress import progress_bar
from seq_plugins.text.documents import Documents, WordTable
from seq_plugins.text.network import SentimentNetwork
from seq_plugins.text.pooled_convolution import Batch, convolve_frozen

# N: documents, W: distinct words, D: dimensions of a word, H: hidden units, O: outputs

ADAM_EPSILON = 1e-7  # Keras'
DOCUMENTS_AT_ONCE = 1024  # where nothing is learned


class LabelledDocuments(NamedTuple):
    """Documents to learn from.

    Parameters
    ----------
    documents
        The documents.
    codes
        Number of the class of each, `(N,)`.
    weights
        Weight of each document's loss, `(N,)`, float32.
    """

    documents: Documents
    codes: np.ndarray
    weights: np.ndarray

    def take(self, numbers: np.ndarray) -> "LabelledDocuments":
        """Return some of the documents."""
        return LabelledDocuments(self.documents.take(numbers), self.codes[numbers], self.weights[numbers])


class Settings(NamedTuple):
    """How a network is trained; each name is explained in the classifier's docstring."""

    maxlen: int
    dropout: float
    learning_rate: float
    batch_size: int
    train_embeddings: bool
    device: torch.device


def compute_losses(logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each document, `(N,)`, from logits `(N, O)`; a single logit is that of class 1."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], codes.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, codes, reduction="none")


class Trainer:
    """Trains a network, epoch by epoch.

    Parameters
    ----------
    network
        The network.
    table
        The words' vectors; where these are trained too, it is told the new ones after each call of :meth:`train`.
    settings
        How to train.
    seed
        Seed of everything random; PyTorch's global generator is left alone.
    """

    def __init__(self, network: SentimentNetwork, table: WordTable, settings: Settings, seed: int) -> None:
        self.network = network.to(settings.device)
        self.table = table
        self.settings = settings
        self._generator = torch.Generator().manual_seed(seed)
        network.draw_weights(self._generator)
        self._embedding: nn.Parameter | None = None
        self._embedded_ids = np.zeros(0, np.int64)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, eps=ADAM_EPSILON)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_generator": self._generator.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._generator = torch.Generator()
        self._generator.set_state(state["_generator"])

    def train(
        self,
        learned: LabelledDocuments,
        n_epochs: int,
        validated: LabelledDocuments | None = None,
        patience: int = 1,
        is_quiet: bool = False,
        after_epoch: Callable[[], None] | None = None,
    ) -> list[dict[str, float]]:
        """Train and return a row for each epoch: its number, the mean loss, and the validation loss if there is one.

        Parameters
        ----------
        learned
            Documents to learn from.
        n_epochs
            Number of epochs.
        validated
            Documents whose loss decides when to stop; the weights of the best epoch are kept.
        patience
            Number of epochs without a smaller validation loss after which training ends.
        is_quiet
            Whether to show no progress bar.
        after_epoch
            Called after each epoch.

        Raises
        ------
        ValueError
            If the loss is no longer a finite number.
        """
        distinct, documents = learned.documents.reindex()
        if self.settings.train_embeddings:
            self._embed(distinct)
        history: list[dict[str, float]] = []
        best, best_epoch = np.inf, 0
        best_state: dict[str, Any] = {}
        n_batches = -(-len(learned.codes) // self.settings.batch_size)
        with progress_bar(
            total=n_epochs * n_batches, desc="fit", unit="batch", delay=1, leave=False, disable=is_quiet
        ) as bar:
            for epoch in range(1, n_epochs + 1):
                loss = self._run_epoch(distinct, learned._replace(documents=documents), bar)
                row = {"epoch": float(epoch), "loss": loss}
                history.append(row)
                if not np.isfinite(loss):
                    raise ValueError(
                        f"Expected a finite loss, got {loss} in epoch {epoch}: training has diverged. "
                        f"Give a learning_rate below {self.settings.learning_rate:g}, or smaller sample weights."
                    )
                if after_epoch is not None:
                    after_epoch()
                if validated is None:
                    continue
                row["validation_loss"] = self._compute_loss(validated)
                if row["validation_loss"] < best:
                    best, best_epoch, best_state = row["validation_loss"], epoch, self._copy_weights()
                elif epoch - best_epoch >= patience:
                    break
        if best_state:
            self._restore_weights(best_state)
        self._tell_table()
        return history

    def _run_epoch(self, distinct: np.ndarray, learned: LabelledDocuments, bar: "tqdm[Any]") -> float:
        self.network.train()
        order = torch.randperm(len(learned.codes), generator=self._generator).numpy()
        total = 0.0
        is_used = np.zeros(len(distinct), bool)
        place_of = np.zeros(len(distinct), np.int32)
        for first in range(0, len(order), self.settings.batch_size):
            part = learned.take(order[first : first + self.settings.batch_size])
            is_used[part.documents.ids] = True
            used = np.flatnonzero(is_used)
            is_used[used] = False
            place_of[used] = np.arange(len(used), dtype=np.int32)
            batch = Batch(Documents(place_of[part.documents.ids], part.documents.starts), self.settings.maxlen)
            total += self._update(self._vectors(distinct, used), batch, part)
            bar.update()
        return total / len(order)

    def _update(self, words: torch.Tensor, batch: Batch, part: LabelledDocuments) -> float:
        """Make one step of the optimizer and return the sum of the losses."""
        logits = self.network(words, batch, self._draw_mask(len(part.codes)))
        losses = compute_losses(logits, torch.from_numpy(part.codes).to(logits.device))
        loss = (losses * torch.from_numpy(part.weights).to(logits.device)).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.detach()) * len(part.codes)

    def _draw_mask(self, n_documents: int) -> torch.Tensor | None:
        """Draw what the hidden units are multiplied with, `(N, H)`; always on the CPU, the same for every device."""
        dropout = self.settings.dropout
        if not dropout:
            return None
        drawn = torch.rand(n_documents, len(self.network.hidden_bias), generator=self._generator)
        return ((drawn >= dropout).float() / (1 - dropout)).to(self.settings.device)

    def _vectors(self, distinct: np.ndarray, used: np.ndarray) -> torch.Tensor:
        if self._embedding is None:
            return torch.from_numpy(self.table.rows(distinct[used])).to(self.settings.device)
        places = np.searchsorted(self._embedded_ids, distinct[used])
        return F.embedding(torch.from_numpy(places).to(self.settings.device), self._embedding)

    def _compute_loss(self, validated: LabelledDocuments) -> float:
        self._tell_table()
        logits = torch.from_numpy(compute_logits(self.network, self.table, validated.documents, self.settings))
        weights = torch.from_numpy(validated.weights)
        losses = compute_losses(logits, torch.from_numpy(validated.codes)) * weights
        return float(losses.sum() / weights.sum())

    # --- trained vectors: a parameter for the words of the training texts only, since the others have no gradient

    def _embed(self, ids: np.ndarray) -> None:
        """Make vectors trainable; those that are already keep what the optimizer knows of them."""
        all_ids = np.union1d(self._embedded_ids, ids).astype(np.int64)
        if self._embedding is not None and len(all_ids) == len(self._embedded_ids):
            return
        embedding = nn.Parameter(torch.from_numpy(self.table.rows(all_ids)).to(self.settings.device))
        old, places = self._embedding, np.searchsorted(all_ids, self._embedded_ids)
        self._embedding, self._embedded_ids = embedding, all_ids
        if old is None:
            self._optimizer.add_param_group({"params": [embedding]})
            return
        group = self._optimizer.param_groups[-1]
        group["params"] = [embedding]
        state = self._optimizer.state.pop(old, {})
        for name, value in state.items():
            if value.shape == old.shape:
                state[name] = torch.zeros_like(embedding, requires_grad=False)
                state[name][torch.from_numpy(places)] = value
        if state:
            self._optimizer.state[embedding] = state

    def _tell_table(self) -> None:
        if self._embedding is not None:
            self.table.change(self._embedded_ids, self._embedding.detach().cpu().numpy())

    def _copy_weights(self) -> dict[str, Any]:
        embedding = None if self._embedding is None else self._embedding.detach().clone()
        return {"network": deepcopy(self.network.state_dict()), "embedding": embedding}

    def _restore_weights(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        if self._embedding is not None:
            with torch.no_grad():
                self._embedding.copy_(state["embedding"])


@torch.no_grad()
def compute_logits(
    network: SentimentNetwork, table: WordTable, documents: Documents, settings: Settings, bar: Any = None
) -> np.ndarray:
    """Return the logits of documents, `(N, O)`, float32, some thousand documents at a time.

    Parameters
    ----------
    network
        The network.
    table
        The words' vectors.
    documents
        The documents.
    settings
        Of these, `maxlen` and `device`.
    bar
        A progress bar of documents.
    """
    network.eval()
    n_documents = len(documents.starts) - 1
    logits = np.empty((n_documents, len(network.output_bias)), np.float32)
    for first in range(0, n_documents, DOCUMENTS_AT_ONCE):
        numbers = np.arange(first, min(first + DOCUMENTS_AT_ONCE, n_documents))
        distinct, part = documents.take(numbers).reindex()
        batch = Batch(part, settings.maxlen)
        pooled = [convolve_frozen(partial(_rows, table, distinct), batch, kernel) for kernel in network.kernels]
        logits[numbers] = network.classify(pooled).cpu().numpy()
        if bar is not None:
            bar.update(len(numbers))
    return logits


def _rows(table: WordTable, distinct: np.ndarray, first: int, last: int) -> torch.Tensor:
    return torch.from_numpy(table.rows(distinct[first:last]))

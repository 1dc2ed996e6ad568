"""The models that are compared: each entry is a class, its settings, and how it is trained."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import seq_plugins
from benchmarks.tasks import Task, UserError


@dataclass(frozen=True)
class ModelEntry:
    """A model in a comparison.

    Parameters
    ----------
    name
        Name in tables.
    find_class
        Returns the model's class; called when the model is run.
    settings
        Own settings, beside those that the task gives to all networks; functions of the task are called with it.
    is_network
        Whether the model is trained in epochs, with early stopping and a seed.
    is_refitted
        Whether the model is fitted again at each forecast, since it can't forecast another series than its own.
    """

    name: str
    find_class: Callable[[], type]
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_network: bool = True
    is_refitted: bool = False

    def own_settings(self, task: Task) -> dict[str, Any]:
        """Return the settings with which the model is made for `task`, but for those of its training."""
        # that of the constructor: the signature of a Darts model's class itself is its metaclass'
        accepted = inspect.signature(self.find_class().__init__).parameters  # type: ignore[misc]
        given: dict[str, Any] = {
            "input_chunk_length": task.input_chunk_length,
            "output_chunk_length": task.output_chunk_length,
        } | {name: value for name, value in task.training.items() if name in ("hidden_dim", "hidden_fc_sizes")}
        settings = {name: value for name, value in given.items() if name in accepted}
        for name, value in self.settings.items():
            settings[name] = value(task) if callable(value) else value
        return settings


def _darts(name: str) -> Callable[[], type]:
    def find_class() -> type:
        import darts.models

        found: type = getattr(darts.models, name)
        return found

    return find_class


def _ours(name: str) -> Callable[[], type]:
    def find_class() -> type:
        found: type = getattr(seq_plugins, name)
        return found

    return find_class


def _past_lags(task: Task) -> int | None:
    return task.input_chunk_length if task.past_covariates else None


def _future_lags(task: Task) -> tuple[int, int] | None:
    return (task.input_chunk_length, task.output_chunk_length) if task.future_covariates else None


RIVALS = [
    ModelEntry(
        "NaiveSeasonal",
        _darts("NaiveSeasonal"),
        {"K": lambda task: task.season_length},
        is_network=False,
        is_refitted=True,
    ),
    ModelEntry(
        "LinearRegressionModel",
        _darts("LinearRegressionModel"),
        {
            "lags": lambda task: task.input_chunk_length,
            "lags_past_covariates": _past_lags,
            "lags_future_covariates": _future_lags,
        },
        is_network=False,
    ),
    ModelEntry("BlockRNNModel", _darts("BlockRNNModel"), {"model": "GRU"}),
]

OURS = [
    ModelEntry(name, _ours(name), {"model": "GRU"} if name in ("Seq2SeqRNNModel", "Conv1DGRUModel") else {})
    for name in vars(seq_plugins.models)["__all__"]
]

ENTRIES = {entry.name: entry for entry in [*RIVALS, *OURS]}


def find_entries(names: list[str] | None) -> list[ModelEntry]:
    """Return the entries of `names`, or all.

    Raises
    ------
    UserError
        If there is no entry of a name.
    """
    unknown = [name for name in names or [] if name not in ENTRIES]
    if unknown:
        raise UserError(f"--models: no model {unknown[0]!r}; there are {', '.join(ENTRIES)}.")
    return [ENTRIES[name] for name in names] if names else list(ENTRIES.values())

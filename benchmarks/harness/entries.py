"""The models that are compared: each entry is a class, its settings, and how it is trained."""

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import seq_plugins
from benchmarks.core.errors import UserError
from benchmarks.harness.task import Task

TRAINING_SETTINGS = (
    "n_epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "gradient_clip_val",
    "loss",
    "optimizer",
    "momentum",
    "monitor",
    "shuffle_buffer",
    "schedule",
)
"""Settings of how a network is trained; all others are arguments of its constructor or those below."""

PROTOCOL_SETTINGS = ("refit_every", "by_component", "train_stride", "max_samples_per_ts")


_SAMPLING = {"stride": "train_stride", "max_samples_per_ts": "max_samples_per_ts"}
"""Settings of the windows that a model is fitted on, by the argument of `fit`; a convolution has a `stride`, too."""


@dataclass(frozen=True)
class ModelSettings:
    """Everything that is set of a model in a task.

    Parameters
    ----------
    constructor
        Arguments of the class.
    training
        How a network is trained: entries of ``TRAINING_SETTINGS``.
    refit_every
        Number of forecasts after which a statistical model is fitted again; ``None`` for a model fitted once.
    by_component
        Whether each target component is a series of its own, all forecast by one model that sees one at a time.
    sampling
        Which windows a model is fitted on: arguments of its `fit`.
    """

    constructor: dict[str, Any]
    training: dict[str, Any]
    refit_every: int | None
    by_component: bool
    sampling: dict[str, int] = field(default_factory=dict)

    @property
    def monitor(self) -> str:
        """Metric by which a network's training is stopped and its weights are chosen."""
        return str(self.training.get("monitor", "val_loss"))

    @property
    def optimizer_arguments(self) -> dict[str, Any]:
        """Arguments of a network's optimiser."""
        names = {"learning_rate": "lr", "momentum": "momentum", "weight_decay": "weight_decay"}
        return {names[name]: value for name, value in self.training.items() if name in names}

    def plain(self) -> dict[str, Any]:
        """Return all settings in one dictionary, ready for JSON."""
        settings = self.constructor | self.training
        if self.refit_every is not None:
            settings["refit_every"] = self.refit_every
        if self.by_component:
            settings["by_component"] = True
        return settings | {_SAMPLING[name]: value for name, value in self.sampling.items()}


@dataclass(frozen=True)
class ModelEntry:
    """A model in a comparison.

    Parameters
    ----------
    name
        Name of the entry.
    class_name
        Name of the model's class.
    find_class
        Returns the model's class; called when the model is run.
    settings
        Own settings, beside those of the task; functions are called with the task.
    candidate
        Settings that are tried, which come before all others; empty if none are.
    is_network
        Whether the model is trained in epochs, with early stopping and a seed.
    is_ours
        Whether it is one of this package.
    needs_package
        Package, beyond those of Darts, that the model needs.
    forecasts_quantiles
        Whether a probabilistic model gives the quantiles themselves; otherwise they are taken from samples.
    quantile_settings
        Arguments with which a model forecasts quantiles of the given levels, beside a network's likelihood; ``None`` if
        there are none: a model that is no network can't, then.
    needs_independent_covariates
        Whether components of the covariates that follow from the others are left out, since the model fails on them.
    member
        Of an ensemble, the entry that each member is, whose settings in a task it has; ``None`` if it is none.
    """

    name: str
    class_name: str
    find_class: Callable[[], type]
    settings: Mapping[str, Any] = field(default_factory=dict)
    candidate: Mapping[str, Any] = field(default_factory=dict)
    is_network: bool = True
    is_ours: bool = False
    needs_package: str | None = None
    forecasts_quantiles: bool = True
    quantile_settings: Callable[[Sequence[float]], dict[str, Any]] | None = None
    needs_independent_covariates: bool = False
    member: str | None = None

    @property
    def fills_gaps(self) -> bool:
        """Whether the model cannot deal with missing values, and is given filled ones."""
        return not self.is_ours

    @property
    def is_probabilistic(self) -> bool:
        """Whether the model can forecast quantiles."""
        return self.is_network or self.quantile_settings is not None

    def settings_in(self, task: Task) -> ModelSettings:
        """Return what is set of the model in `task`: of all networks, by the entry, by the task for it, and tried."""
        # that of the constructor: the signature of a Darts model's class itself is its metaclass'
        accepted = inspect.signature(self.find_class().__init__).parameters  # type: ignore[misc]
        chunks = {"input_chunk_length": task.input_chunk_length, "output_chunk_length": task.output_chunk_length}
        shared = chunks | (task.training if self.is_network else {})
        settings = {
            name: value
            for name, value in shared.items()
            if name in accepted or name in TRAINING_SETTINGS or name in PROTOCOL_SETTINGS
        }  # fmt: skip
        names = (self.class_name, self.member, self.name)
        of_task = (task.models.get(name, {}) for name in names if name is not None)
        for own in (self.settings, *of_task, self.candidate):
            settings |= {name: value(task) if callable(value) else value for name, value in own.items()}
        not_constructor = TRAINING_SETTINGS + PROTOCOL_SETTINGS
        return ModelSettings(
            constructor={name: value for name, value in settings.items() if name not in not_constructor},
            training={name: value for name, value in settings.items() if self.is_network and name in TRAINING_SETTINGS},
            refit_every=settings.get("refit_every"),
            by_component=settings.get("by_component", False),
            sampling={name: settings[given] for name, given in _SAMPLING.items() if given in settings},
        )


def _rival(name: str, settings: Mapping[str, Any] | None = None, **kwargs: Any) -> ModelEntry:
    class_name = name.split("-")[0]

    def find_class() -> type:
        import darts.models

        found: type = getattr(darts.models, class_name)
        return found

    return ModelEntry(name, class_name, find_class, settings or {}, **kwargs)


def _ours(class_name: str) -> Iterator[ModelEntry]:
    """Return the entries of one of our models: one for each cell, if it has recurrent layers."""

    def find_class() -> type:
        found: type = getattr(seq_plugins, class_name)
        return found

    if class_name not in _OUR_CELLS:
        yield ModelEntry(class_name, class_name, find_class, is_ours=True)
    for cell in _OUR_CELLS.get(class_name, ()):
        yield ModelEntry(f"{class_name}-{cell}", class_name, find_class, {"model": cell}, is_ours=True)


_OUR_CELLS = {
    "SimpleRNNModel": ("RNN", "LSTM", "GRU"),
    "DeepRNNModel": ("RNN", "LSTM", "GRU"),
    "Seq2SeqRNNModel": ("RNN", "LSTM", "GRU"),
    "EncoderDecoderRNNModel": ("RNN", "LSTM", "GRU"),
    "Conv1DGRUModel": ("GRU",),
}
"""Cells that are compared; a model that is not here runs with its class's default."""


def _past_lags(task: Task) -> int | None:
    return task.input_chunk_length if task.past_covariates else None


def _future_lags(task: Task) -> tuple[int, int] | None:
    return (task.input_chunk_length, task.output_chunk_length) if task.future_covariates else None


_LAGS = {
    "lags": lambda task: task.input_chunk_length,
    "lags_past_covariates": _past_lags,
    "lags_future_covariates": _future_lags,
}


def _quantile_regression(levels: Sequence[float]) -> dict[str, Any]:
    return {"likelihood": "quantile", "quantiles": list(levels)}


def _find_blend() -> type:
    from benchmarks.harness.seasonal_blend import SeasonalBlend

    return SeasonalBlend


RIVALS = [
    _rival("NaiveSeasonal", {"K": lambda task: task.season_length, "refit_every": 1}, is_network=False),
    ModelEntry(
        "SeasonalBlend",
        "SeasonalBlend",
        _find_blend,
        {"season_lengths": lambda task: [task.season_length], "refit_every": 1},
        is_network=False,
    ),
    _rival(
        "ExponentialSmoothing",
        {"seasonal_periods": lambda task: task.season_length, "random_state": 0, "refit_every": 1},
        is_network=False,
        forecasts_quantiles=False,
        quantile_settings=lambda levels: {},
    ),
    *(
        _rival(
            name,
            {"season_length": lambda task: task.season_length, "refit_every": 28},
            is_network=False,
            needs_package="statsforecast",
            quantile_settings=lambda levels: {"quantiles": list(levels)},
            needs_independent_covariates=name == "AutoARIMA",
        )
        for name in ("AutoETS", "AutoTheta", "AutoARIMA")
    ),
    _rival(
        "LinearRegressionModel",
        _LAGS,
        is_network=False,
        # scikit-learn's regression of quantiles has a penalty, which that of means has not: next to nothing is left
        quantile_settings=lambda levels: _quantile_regression(levels) | {"alpha": 0},
    ),
    _rival(
        "LightGBMModel",
        _LAGS | {"verbose": -1},
        is_network=False,
        needs_package="lightgbm",
        quantile_settings=_quantile_regression,
    ),
    *(_rival(f"BlockRNNModel-{cell}", {"model": cell}) for cell in ("RNN", "LSTM", "GRU")),
    _rival(
        "RNNModel",
        {"model": "GRU", "training_length": lambda task: task.input_chunk_length + task.output_chunk_length},
        forecasts_quantiles=False,  # it forecasts one step, and its samples go on from there
    ),
    _rival("TCNModel"),
    _rival("NLinearModel", quantile_settings=lambda levels: {"normalize": False}),  # Darts refuses both together
    *map(_rival, ("DLinearModel", "NBEATSModel", "NHiTSModel", "TiDEModel", "TSMixerModel", "TransformerModel")),
    _rival("TFTModel", {"add_relative_index": lambda task: not task.future_covariates}),
]

OURS = [entry for class_name in [*seq_plugins.models.MODEL_MODULES] for entry in _ours(class_name)]

ENTRIES = {entry.name: entry for entry in [*RIVALS, *OURS]}


_ENSEMBLE = re.compile(r"(?P<member>.+)-x(?P<size>[2-9]|[1-9]\d+)")


def find_entry(name: str) -> ModelEntry | None:
    """Return the entry of a name, if there is one; ``NAME-x5`` is that of five of ours, trained as one."""
    found = ENTRIES.get(name)
    ensemble = _ENSEMBLE.fullmatch(name)
    if found is not None or ensemble is None:
        return found
    member = ENTRIES.get(ensemble["member"])
    if member is None or not member.is_ours:
        return None
    settings = {**member.settings, "ensemble_size": int(ensemble["size"])}
    return replace(member, name=name, settings=settings, member=member.name)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in one word, such as ``dropout=0.2,hidden_dim=64``."""
    return ",".join(f"{name}={json.dumps(value)}" for name, value in settings.items()).replace(" ", "")


def label(model: str, candidate: Mapping[str, Any]) -> str:
    """Return what a model is called in tables and files: its name, and behind it the settings that are tried."""
    return f"{model} {settings_text(candidate)}" if candidate else model


def is_of(entry: ModelEntry, names: Collection[str]) -> bool:
    """Return whether `names` has ``"all"``, ``"networks"`` and it is one, the entry's name or that of its class."""
    own_names = {"all", entry.name, entry.class_name} | ({"networks"} if entry.is_network else set())
    return not own_names.isdisjoint(names)


def find_entries(names: Sequence[str] | None, task: Task) -> list[ModelEntry]:
    """Return the entries to run.

    Parameters
    ----------
    names
        Names of entries, or of classes for all their entries; ``["all"]`` for all entries and ``["networks"]`` for
        those that are trained in epochs. By default those that the task names. ``NAME-x5`` is five of one of ours.
    task
        The task.

    Raises
    ------
    UserError
        If there is no entry of a name.
    """
    names = names or task.default_models or ["all"]
    chosen: dict[str, ModelEntry] = {}
    for name in names:
        found = [entry for entry in ENTRIES.values() if is_of(entry, [name])]
        if not found and (ensemble := find_entry(name)) is not None:
            found = [ensemble]
        if not found:
            raise UserError(
                f"--models: no model {name!r}; there are all, networks, {', '.join(ENTRIES)}, and ensembles of ours "
                "that are trained as one, such as LinearModel-x5."
            )
        chosen |= {entry.name: entry for entry in found}
    return list(chosen.values())


def with_settings(task: Task, entries: Sequence[ModelEntry], settings: Mapping[str, Any]) -> Task:
    """Return `task` with `settings` for all of `entries`, before those that it has."""
    changed = {entry.name: {**task.models.get(entry.name, {}), **settings} for entry in entries}
    return replace(task, models=task.models | changed)


def with_candidates(entries: Sequence[ModelEntry], task: Task) -> list[ModelEntry]:
    """Return `entries`, each followed by itself with each of the settings that `task` tries for it."""
    found = []
    for entry in entries:
        tried = [candidate.settings for candidate in task.candidates if is_of(entry, candidate.models)]
        found += [entry, *(replace(entry, candidate=settings) for settings in tried)]
    return found

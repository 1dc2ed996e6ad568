"""A model of the package as the command trains it: the recipe of docs/train-well.md, with quantiles."""

import inspect
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from darts.utils.likelihood_models.torch import QuantileRegression

import seq_plugins
from seq_plugins._command_line import UserError
from seq_plugins.forecasting.best_model import BEST_MODEL
from seq_plugins.forecasting.plan import Plan
from seq_plugins.forecasting.scaling import Scaling
from seq_plugins.models import MODEL_MODULES
from seq_plugins.tables import Panel

_LEARNING_RATE = 3e-3
_ENSEMBLE_SIZE = 5
_FILE = "model.pt"

OWN_OPTIONS = {
    "input_chunk_length": "--input-length",
    "output_chunk_length": "--horizon",
    "n_epochs": "--epochs",
    "random_state": "--seed",
    "season_length": "--season-length",
    "likelihood": "--quantiles",
    "loss_fn": "--quantiles",
    "epochs": "--epochs",
    "horizon": "--horizon",
    "quantiles": "--quantiles",
    "seed": "--seed",
}
"""Options that stand for what might be looked for in ``--set``."""


class Network:
    """One of the package's models, fitted to a panel.

    Parameters
    ----------
    name
        Name of the class.
    plan
        What has been decided.
    """

    def __init__(self, name: str, plan: Plan) -> None:
        self.name = name
        self.plan = plan
        self.scaling: Scaling | None = None
        self._model: Any = None

    def fit(self, panel: Panel, on_epoch: Callable[[], None]) -> None:
        """Train a new network.

        Parameters
        ----------
        panel
            The series.
        on_epoch
            Called after each epoch.

        Raises
        ------
        UserError
            If the model refuses its arguments or the series.
        """
        trained = panel.select(
            i for i, one in enumerate(panel.targets) if self._is_for_training(one.values(copy=False))
        )
        if not trained.targets:
            raise UserError(
                f"{self.name}: no series is long enough to train on. Make --horizon or --input-length smaller."
            )
        self.scaling = Scaling.of(trained)
        with _errors_told(self.name):
            self._model = make_model(self.name, self.plan, on_epoch)
            self._model.fit(**self.scaling.inputs(trained), stride=self.plan.stride, verbose=False)

    def _is_for_training(self, values: np.ndarray) -> bool:
        shortest = 1 if self.plan.has_gaps else self.plan.input_length
        return len(values) >= shortest + self.plan.horizon and bool(np.isfinite(values[shortest:]).any())

    def forecast(self, panel: Panel) -> np.ndarray:
        """Return the quantiles of what follows each series, `(series, H, C, Q)`.

        Raises
        ------
        UserError
            If the model refuses the series.
        """
        assert self.scaling is not None  # noqa: S101 it has been fitted or loaded
        with _errors_told(self.name):
            forecasts = self._model.predict(
                self.plan.horizon,
                **self.scaling.inputs(panel),
                predict_likelihood_parameters=True,
                verbose=False,
                show_warnings=False,
            )
        shape = (self.plan.horizon, panel.targets[0].n_components, len(self.plan.levels))
        values = np.stack([forecast.values(copy=False).reshape(shape) for forecast in forecasts]).astype("float64")
        return np.maximum(self.scaling.restore(values), self.plan.lowest)

    def save(self, folder: Path) -> None:
        """Save the network's two files in a folder, without the training series."""
        self._model.save(folder / _FILE, clean=True)

    @classmethod
    def load(cls, folder: Path, name: str, plan: Plan, scaling: Scaling) -> "Network":
        """Load a network, to the CPU; code that is not known to be harmless is not run.

        Parameters
        ----------
        folder
            Where it was saved.
        name
            Name of the model's class.
        plan
            What had been decided.
        scaling
            Numbers with which its inputs are scaled.
        """
        network = cls(name, plan)
        network.scaling = scaling
        trainer = {"accelerator": "cpu", "enable_progress_bar": False}
        network._model = getattr(seq_plugins, name).load(folder / _FILE, map_location="cpu", pl_trainer_kwargs=trainer)
        return network


class _CountEpochs(pl.Callback):
    """Tells after each epoch of training."""

    def __init__(self, on_epoch: Callable[[], None]) -> None:
        self._on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell that an epoch is over."""
        self._on_epoch()


def make_model(name: str, plan: Plan, on_epoch: Callable[[], None]) -> Any:
    """Make a model with the arguments of `plan` and, if it says so, the recipe's where it has no others.

    Parameters
    ----------
    name
        Name of the class.
    plan
        What has been decided.
    on_epoch
        Called after each epoch of training.

    Raises
    ------
    ValueError
        If an argument is wrong.
    """
    model_class = getattr(seq_plugins, name)
    own = {
        "missing": "mask" if plan.has_gaps else "error",
        "likelihood": QuantileRegression(plan.levels),
        "n_epochs": plan.n_epochs,
        "random_state": plan.seed,
        "pl_trainer_kwargs": {"enable_progress_bar": False},
    }
    accepted = inspect.signature(model_class).parameters
    recipe = merged(own, _recipe(plan)) if plan.has_recipe else own
    arguments = merged({name: value for name, value in recipe.items() if name in accepted}, plan.settings)
    arguments["pl_trainer_kwargs"] = arguments["pl_trainer_kwargs"] | {"callbacks": [_CountEpochs(on_epoch)]}
    for argument, (module, kind) in _CLASSES.items():
        if isinstance(arguments.get(argument), str):
            arguments[argument] = _find_class(argument, arguments[argument], module, kind)
    return model_class(plan.input_length, plan.horizon, **arguments)


_CLASSES: dict[str, tuple[Any, type]] = {
    "optimizer_cls": (torch.optim, torch.optim.Optimizer),
    "lr_scheduler_cls": (torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
}
"""Arguments that are classes, which settings give by name: the module that each is found in, and what it is."""


def _find_class(argument: str, name: str, module: Any, kind: type) -> type:
    found = getattr(module, name, None)
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ValueError(f"Expected `{argument}` to be the name of a class in {module.__name__}, got {name!r}.")
    return found


def _recipe(plan: Plan) -> dict[str, Any]:
    """Return the arguments of the recipe that follow from a plan."""
    calendar = {"cyclic": {"future": plan.calendar}} if plan.calendar else None
    return {
        "model": "GRU",
        "hidden_fc_sizes": [64],
        "season_length": plan.seasons or None,
        "local_normalization": "level_scale",
        "ensemble_size": _ENSEMBLE_SIZE,
        "optimizer_kwargs": {"lr": _LEARNING_RATE},
        "lr_scheduler_cls": torch.optim.lr_scheduler.CosineAnnealingLR,
        "lr_scheduler_kwargs": {"T_max": plan.n_epochs},
        "add_encoders": None if calendar is None else calendar | ({} if plan.zone is None else {"tz": plan.zone}),
        "pl_trainer_kwargs": {"gradient_clip_val": 1.0},
    }


def merged(arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with settings in place of their own; of dictionaries, entry by entry.

    Parameters
    ----------
    arguments
        The arguments.
    settings
        The settings.
    """
    both = {
        name: arguments[name] | value
        for name, value in settings.items()
        if isinstance(arguments.get(name), dict) and isinstance(value, dict)
    }
    return {**arguments, **settings, **both}


@contextmanager
def _errors_told(name: str) -> Iterator[None]:
    """Tell errors of a model in a line; advice that the recipe has taken already is held back."""
    logger = logging.getLogger("seq_plugins.lightning.scale")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    except ValueError as error:
        raise UserError(f"{name}: {' '.join(str(error).split())}") from error
    except SystemExit as error:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from error
    finally:
        logger.disabled = was_disabled


def check_model_names(names: list[str], others: list[str]) -> None:
    """Find out whether the package has all models named.

    Parameters
    ----------
    names
        The names.
    others
        Names that stand for something else.

    Raises
    ------
    UserError
        If it has not.
    """
    known = [*others, *MODEL_MODULES]
    for name in names:
        if name not in known:
            if Path(name).is_dir():
                raise UserError(
                    f"--model: {name} is a folder without {BEST_MODEL}, which a backtest writes of its best model. "
                    "For a saved model, add --update."
                )
            near = get_close_matches(name, known, n=1, cutoff=0.4)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"--model: expected {', '.join(known)}, or a folder, got {name!r}.{meant}")


def check_own_options(settings: Mapping[str, Any]) -> None:
    """Find out whether settings leave alone what is given with the command's own options.

    Parameters
    ----------
    settings
        Settings of ``--set``.

    Raises
    ------
    UserError
        If they do not.
    """
    for name in settings:
        if name in OWN_OPTIONS:
            raise UserError(f"--set: {name} is given with {OWN_OPTIONS[name]}. Give that option.")


def check_settings(names: list[str], plan: Plan) -> list[Plan]:
    """Return the plan of each model, with those of the settings that it takes.

    Parameters
    ----------
    names
        Names of the models; one takes all settings, of several each must be taken by one at least.
    plan
        What has been decided.

    Raises
    ------
    UserError
        If a setting is taken by none, or its value is refused.
    """
    if plan.settings and not names:
        raise UserError("--set: SeasonalNaive has no arguments. Leave it out, or name another model with --model.")
    accepted = {name: set(inspect.signature(getattr(seq_plugins, name)).parameters) for name in names}
    taken = set().union(*accepted.values()) & set(plan.settings)
    plans = {
        name: replace(plan, settings={key: value for key, value in plan.settings.items() if key in accepted[name]})
        for name in names
    }
    for name in sorted(names, key=lambda name: -len(accepted[name])):
        unknown = {key: value for key, value in plan.settings.items() if key not in taken}
        _try_to_make(name, replace(plans[name], settings=plans[name].settings | unknown))
    return [plans[name] for name in names]


def _try_to_make(name: str, plan: Plan) -> None:
    try:
        make_model(name, plan, lambda: None)
    except (ValueError, TypeError) as error:
        message = " ".join(str(error).split())
        for key, value in plan.settings.items():  # what was meant, with the value that was given
            message = message.replace(f'"{key}": ...', f'"{key}": {json.dumps(value)}')
        message = re.sub(r"did you mean `(.+?={.*?})`\?", r"did you mean --set '\1'?", message)
        raise UserError(f"--set: {message}" if plan.settings else f"{name}: {message}") from error

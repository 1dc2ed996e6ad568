"""Arguments of forecasting methods are checked when the method is called, before anything is done with them."""

import functools
import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seq_plugins._forking import use_one_thread_after_fork
from seq_plugins.models._unfinished_fits import UndoingModel
from seq_plugins.models.arguments import SOME_EPOCHS, ArgumentCheck, integer_from, unexpected
from seq_plugins.windows import check_number_of_series, check_series_input


def _weights(name: str, value: Any) -> None:
    if not isinstance(value, str):  # the name of built-in weights
        check_series_input(name, value)


def _trainer(name: str, value: Any) -> None:
    if getattr(value, "max_epochs", None) == 0:
        raise unexpected(f"{name}.max_epochs", SOME_EPOCHS, 0)


_PREFIXES = ("", "val_")
_COVARIATES = ("past_covariates", "future_covariates")

_CHECKS: Mapping[str, ArgumentCheck] = {
    "n": integer_from(1),
    "forecast_horizon": integer_from(1),
    "num_samples": integer_from(1),
    "epochs": integer_from(0),  # 0, the default, stands for the model's `n_epochs`
    **{prefix + name: check_series_input for prefix in _PREFIXES for name in ("series", *_COVARIATES)},
    **{f"{prefix}sample_weight": _weights for prefix in _PREFIXES},
}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


def _checked(method: Callable[..., Any], **own_checks: ArgumentCheck) -> Callable[..., Any]:
    """Let a method of Darts check its arguments by name, and take integers of NumPy for those of Python."""
    signature = inspect.signature(method)
    checks = {**_CHECKS, **own_checks}

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        use_one_thread_after_fork()
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return method(*args, **kwargs)  # which says what is wrong
        for name in checks.keys() & given.arguments.keys():
            value = given.arguments[name]
            if value is signature.parameters[name].default:
                continue
            checks[name](name, value)
        for prefix in _PREFIXES:
            _check_numbers_of_series(given.arguments, prefix)
        return method(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return call


def _check_numbers_of_series(given: Mapping[str, Any], prefix: str) -> None:
    """Check that there are as many covariates and weights as series, where both are given."""
    targets = given.get(f"{prefix}series")
    for name in (*_COVARIATES, "sample_weight"):
        others = given.get(prefix + name)
        if targets is not None and others is not None and not isinstance(others, str):
            check_number_of_series(prefix + name, others, f"{prefix}series", targets)


class CheckedModel(UndoingModel, ABC):
    """Base of models whose methods refuse what is no series, no horizon or no number of samples."""

    fit = _checked(UndoingModel.fit, trainer=_trainer)
    fit_from_dataset = _checked(UndoingModel.fit_from_dataset, trainer=_trainer)
    predict = _checked(UndoingModel.predict)
    predict_from_dataset = _checked(UndoingModel.predict_from_dataset)
    historical_forecasts = _checked(UndoingModel.historical_forecasts)
    backtest = _checked(UndoingModel.backtest)
    residuals = _checked(UndoingModel.residuals)
    lr_find = _checked(UndoingModel.lr_find)
    scale_batch_size = _checked(UndoingModel.scale_batch_size)
    gridsearch = classmethod(_checked(UndoingModel.gridsearch.__func__))

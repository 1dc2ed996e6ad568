"""Arguments of forecasting methods are checked when the method is called, before anything is done with them."""

import functools
import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seq_plugins.models._arguments import SOME_EPOCHS, ArgumentCheck, integer_from, unexpected
from seq_plugins.models._savable_model import SavableModel
from seq_plugins.windows import check_series_input


def _weights(name: str, value: Any) -> None:
    if not isinstance(value, str):  # the name of built-in weights
        check_series_input(name, value)


def _trainer(name: str, value: Any) -> None:
    if getattr(value, "max_epochs", None) == 0:
        raise unexpected(f"{name}.max_epochs", SOME_EPOCHS, 0)


_CHECKS: Mapping[str, ArgumentCheck] = {
    "n": integer_from(1),
    "forecast_horizon": integer_from(1),
    "num_samples": integer_from(1),
    "epochs": integer_from(0),  # 0, the default, stands for the model's `n_epochs`
    "series": check_series_input,
    "past_covariates": check_series_input,
    "future_covariates": check_series_input,
    "sample_weight": _weights,
}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


def _checked(method: Callable[..., Any], **own_checks: ArgumentCheck) -> Callable[..., Any]:
    """Let a method of Darts check its arguments by name, and take integers of NumPy for those of Python."""
    signature = inspect.signature(method)
    checks = {**_CHECKS, **own_checks}

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return method(*args, **kwargs)  # which says what is wrong
        for name in checks.keys() & given.arguments.keys():
            value = given.arguments[name]
            if value is signature.parameters[name].default:
                continue
            checks[name](name, value)
        return method(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return call


class CheckedModel(SavableModel, ABC):
    """Base of models whose methods refuse what is no series, no horizon or no number of samples."""

    fit = _checked(SavableModel.fit, trainer=_trainer)
    fit_from_dataset = _checked(SavableModel.fit_from_dataset, trainer=_trainer)
    predict = _checked(SavableModel.predict)
    predict_from_dataset = _checked(SavableModel.predict_from_dataset)
    historical_forecasts = _checked(SavableModel.historical_forecasts)
    backtest = _checked(SavableModel.backtest)
    residuals = _checked(SavableModel.residuals)
    gridsearch = classmethod(_checked(SavableModel.gridsearch.__func__))

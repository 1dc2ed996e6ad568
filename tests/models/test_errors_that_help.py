"""Situations that people meet, each with the words that must lead them out of it."""

import functools
import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torchmetrics
from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler
from darts.utils.likelihood_models.torch import (
    GammaLikelihood,
    GaussianLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from darts.utils.losses import MapeLoss, SmapeLoss
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping
from sklearn.preprocessing import MinMaxScaler

from seq_plugins import DivergenceError, SimpleRNNModel
from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series, values_of

NAME = "SimpleRNNModel"
IN_PRECISION: dict[str, Any] = {"pl_trainer_kwargs": {"precision": "16-true"}}


def _fit(series: TimeSeries | None = None, **arguments: Any) -> SequenceModel:
    model = make_model(NAME, **arguments)
    model.fit(make_series() if series is None else series)
    return model


def _with_zeros() -> TimeSeries:
    return make_series().map(lambda values: np.maximum(values, 0))


def _dated(start: str, freq: str, length: int = 60) -> TimeSeries:
    times = pd.date_range(start, periods=length, freq=freq)
    return TimeSeries.from_times_and_values(times, values_of(make_series(length)))


def _fit_beside(freq: str, other_freq: str, start: str) -> None:
    make_model(NAME).fit(_dated(start, freq, 40), past_covariates=_dated(start, other_freq))


class Situation(NamedTuple):
    """What somebody does, what he must be told, and what would lead him astray."""

    do: Callable[[], Any]
    told: list[str]
    not_told: tuple[str, ...] = ()


SITUATIONS = {
    "values of 20,000 that are not scaled": Situation(
        lambda: _fit(make_series() * 2000 + 20000),
        ["around 20,", "of the order of 1", "Scaler", "use_reversible_instance_norm=True"],
    ),
    "zeros in the target of MapeLoss": Situation(
        lambda: _fit(_with_zeros(), loss_fn=MapeLoss()),
        ["MapeLoss", "the targets", "from 0 to", "L1Loss", "MinMaxScaler((1, 2))"],
        ("learning rate", "gradient_clip_val"),
    ),
    "precision in which the optimizer divides by zero": Situation(
        lambda: _fit(make_series(60), **IN_PRECISION),
        ["'16-true'", "`eps`", "'bf16-true' or '32-true'"],
        ("learning rate", "gradient_clip_val", "Scaler"),
    ),
    "precision that is too coarse": Situation(
        lambda: _fit(make_series(60), **IN_PRECISION, optimizer_kwargs={"eps": 1e-4, "lr": 1e6}),
        ['"16-true"', "bf16-mixed", "32-true"],
        ("gradient_clip_val", "Scaler"),
    ),
    "a likelihood by name": Situation(
        lambda: make_model(NAME, likelihood="quantile"),
        ["`likelihood`", "'quantile'", "QuantileRegression(quantiles=["],
    ),
    "a slip of the keyboard": Situation(lambda: make_model(NAME, hiden_dim=8), ["`hiden_dim`", "mean `hidden_dim`?"]),
    "Keras' word": Situation(lambda: make_model(NAME, units=8), ["`units`", "mean `hidden_dim`?"]),
    "PyTorch's word": Situation(lambda: make_model(NAME, hidden_size=8), ["`hidden_size`", "mean `hidden_dim`?"]),
    "an argument of the optimizer": Situation(
        lambda: make_model(NAME, lr=0.1), ["`lr`", 'mean `optimizer_kwargs={"lr": ...}`?']
    ),
    "no epochs": Situation(lambda: make_model(NAME, n_epochs=0), ["`n_epochs`", "at least 1", "got 0"]),
    "a table to forecast from": Situation(
        lambda: _fit().predict(OUTPUT, make_series().to_dataframe()),
        ["`series`", "TimeSeries or a list", "got DataFrame", "TimeSeries.from_dataframe"],
    ),
    "a horizon that is a string": Situation(lambda: _fit().predict("7"), ["`n`", "an integer of at least 1", "'7'"]),
    "quarters of another name": Situation(
        lambda: _fit_beside("QS-JAN", "QS-OCT", "2000-01-01"),
        ["dates are equal", "name of the frequency", "freq='QS-JAN'"],
        ("esample",),
    ),
    "days and 24 hours": Situation(
        lambda: _fit_beside("D", "24h", "2000-01-01"),
        ["dates are equal", "name of the frequency", "freq='D'"],
        ("esample",),
    ),
    "weeks and 7 days": Situation(
        lambda: _fit_beside("7D", "W-SUN", "2000-01-02"),
        ["dates are equal", "name of the frequency", "freq='7D'"],
        ("esample",),
    ),
}


def _message(do: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    try:
        do()
    except ValueError as error:
        return str(error)
    return " ".join(_warnings(caplog))


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("seq_plugins")
    ]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whoever_meets_it_is_told_what_helps(situation: str, caplog: pytest.LogCaptureFixture) -> None:
    do, told, not_told = SITUATIONS[situation]
    message = _message(do, caplog)
    assert not [words for words in told if words not in message], message
    assert not [words for words in not_told if words in message], message


# --- what helps does help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_precisions_advised_train(precision: str) -> None:
    model = _fit(make_series(60), n_epochs=3, pl_trainer_kwargs={"precision": precision})
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()


def test_what_is_advised_for_a_loss_that_divides_by_targets_trains() -> None:
    away_from_zero = Scaler(MinMaxScaler((1, 2))).fit_transform(_with_zeros())
    for model in (_fit(_with_zeros(), loss_fn=torch.nn.L1Loss()), _fit(away_from_zero, loss_fn=MapeLoss())):
        assert np.isfinite(values_of(model.predict(OUTPUT))).all()


@pytest.mark.parametrize(
    ("freq", "other_freq", "start"),
    [
        ("QS-JAN", "QS-OCT", "2000-01-01"),
        ("QE-MAR", "QE-DEC", "2000-03-31"),
        ("D", "24h", "2000-01-01"),
        ("24h", "D", "2000-01-01"),
        ("W-SUN", "7D", "2000-01-02"),
        ("7D", "W-SUN", "2000-01-02"),
    ],
)
def test_a_frequency_can_be_renamed_as_the_error_says(freq: str, other_freq: str, start: str) -> None:
    series, past_covariates = _dated(start, freq, 40), _dated(start, other_freq)
    model = make_model(NAME)
    with pytest.raises(ValueError, match="dates are equal") as refused:
        model.fit(series, past_covariates=past_covariates)
    (remedy,) = re.findall("Rename it with `(.*)`", str(refused.value))
    renamed = eval(remedy, {"past_covariates": past_covariates, "pd": pd})  # noqa: S307
    assert renamed.time_index.equals(past_covariates.time_index)
    model.fit(series, past_covariates=renamed)
    with pytest.raises(ValueError, match=r"`past_covariates` has a time axis .* dates are equal"):
        model.predict(OUTPUT, series, past_covariates=past_covariates)
    with pytest.raises(ValueError, match=r"`past_covariates` has a time axis .* dates are equal"):
        model.historical_forecasts(series, past_covariates, retrain=False)


def test_other_axes_are_told_what_helps_them() -> None:
    dates, steps, wider = make_series(), make_series(freq=1), make_series(freq=2)
    for series, others, remedy in (
        (dates, make_series(1000, freq="h"), "Resample one of them"),
        (dates, steps, "Give both of them dates, or both integers"),
        (wider, steps, r"Give both of them the same step, .* `series\[::2\]`"),
    ):
        with pytest.raises(ValueError, match=f"has a time axis of frequency .* {remedy}"):
            make_model(NAME).fit(series, past_covariates=others)
    make_model(NAME).fit(wider, past_covariates=make_series(100, freq=1)[::2])


# --- size of the values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MODEL_NAMES if name != "LinearModel"])
@pytest.mark.parametrize("fast", [True, False])
def test_values_of_another_size_are_told_once_for_each_network(
    name: str, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for series, size in (
        (make_series() * 20 + 350, "around 3[0-9][0-9],"),
        (make_series() * 1e-6, "around [0-9]e-0[67],"),
    ):
        caplog.clear()
        model = make_model(name)
        model.fast_training = fast
        model.fit(series).fit(series)
        (warning,) = _warnings(caplog)
        assert re.search(f"Values of the target are {size}", warning)
        assert "Scaler" in warning


def test_a_backtest_that_refits_tells_of_the_size_of_values_once(caplog: pytest.LogCaptureFixture) -> None:
    make_model(NAME).historical_forecasts(make_series() + 300, start=-8, forecast_horizon=OUTPUT, retrain=True)
    assert len(_warnings(caplog)) == 1


def test_the_component_of_another_size_is_named(caplog: pytest.LogCaptureFixture) -> None:
    series = concatenate([make_series(), make_series(seed=1) + 1000], axis=1)
    missing = values_of(series).copy()
    missing[:, 0] = np.where(np.arange(40)[:, None] % 3, missing[:, 0], np.nan)
    missing[::2, 1] = np.nan
    _fit(series.with_values(missing), missing="mask")
    (warning,) = _warnings(caplog)
    assert "of component 1 (the first is 0) are around 1,000" in warning


UNTOLD: dict[str, tuple[TimeSeries, dict[str, Any]]] = {
    "scaled": (Scaler().fit_transform(make_series() * 2000 + 20000), {}),
    "scaled around zero": (make_series(), {}),
    "logarithms": ((make_series() * 2000 + 20000).map(np.log), {}),
    "daily returns": (make_series() * 0.01, {}),
    "zeros": (make_series() * 0, {}),
    "the same value": (make_series() * 0 + 3, {}),
    "rare demand": (_with_zeros(), {}),
    "normalised in the network": (make_series() * 2000 + 20000, {"use_reversible_instance_norm": True}),
    "counts": ((make_series() * 0 + 300), {"likelihood": PoissonLikelihood()}),
    "more counts": ((make_series() * 0 + 300), {"likelihood": NegativeBinomialLikelihood()}),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_nothing_is_said_of_values_that_need_no_scaling(case: str, caplog: pytest.LogCaptureFixture) -> None:
    series, arguments = UNTOLD[case]
    _fit(series, **arguments)
    assert _warnings(caplog) == []


@pytest.mark.parametrize("likelihood", [GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])])
def test_likelihoods_whose_parameters_are_values_need_scaling_too(
    likelihood: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _fit(make_series() * 2000 + 20000, likelihood=likelihood)
    assert len(_warnings(caplog)) == 1


def test_one_dense_layer_takes_large_values(caplog: pytest.LogCaptureFixture) -> None:
    make_model("LinearModel").fit(make_series() * 2000 + 20000)
    assert _warnings(caplog) == []
    make_model("LinearModel").fit(make_series() * 1e-6)
    assert len(_warnings(caplog)) == 1


def test_each_series_is_read_as_often_as_without_a_look_at_the_size_of_its_values() -> None:
    class Watched(list[TimeSeries]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    scaled, unscaled = (Watched([make_series() * factor] * 3) for factor in (1, 20000))
    for series in (scaled, unscaled):
        make_model(NAME).fit(series)
    assert scaled.reads == unscaled.reads


# --- causes of divergence ------------------------------------------------------------------------------------------


def _log_error(forecasts: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((torch.log1p(forecasts) - torch.log1p(targets)) ** 2).mean()


CAUSES: dict[str, tuple[Callable[[], Any], str]] = {
    "zeros only, and a loss that divides by their sum with the forecasts": (
        lambda: _fit(make_series() * 0, loss_fn=SmapeLoss()),
        "SmapeLoss or its gradient is not finite for the targets, .* error loss",
    ),
    "a function that takes logarithms of negative targets": (
        lambda: _fit(make_series() * 5, loss_fn=_log_error),
        r"at step 0, .*\. _log_error or its gradient is not finite for the targets, which reach from -",
    ),
    "targets whose squares are too large for the type": (
        lambda: _fit(make_series() * 1e20),
        "at step 0, .* MSELoss or its gradient is not finite for the targets, .* Scale the series",
    ),
    "covariates that are too large for the type": (
        lambda: make_model("LinearModel").fit(make_series(), past_covariates=make_series() * 0 + 3e38),
        "at step 0, .* No weight has been updated yet, so it is not the learning rate: .*covariates are too large",
    ),
    "a learning rate, with a loss of no errors that takes the targets": (
        lambda: _fit(make_series() * 0 + 1, loss_fn=MapeLoss(), n_epochs=3, optimizer_kwargs={"lr": 1e38}),
        "Lower the learning rate",
    ),
    "growth": (
        lambda: _fit(make_series(60), n_epochs=3, optimizer_kwargs={"lr": 1e3}),
        "has grown .* Lower the learning rate",
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_divergence_is_told_with_what_helps_against_its_cause(cause: str) -> None:
    do, expected = CAUSES[cause]
    with pytest.raises(DivergenceError, match=expected) as diverged:
        do()
    assert ("learning rate (" in str(diverged.value)) == ("Lower the learning rate" in expected)


def test_targets_that_a_likelihood_can_not_give_are_named_where_pytorch_checks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    with pytest.raises(DivergenceError, match=r"at step 0, .*GammaLikelihood or its gradient .* reach from -1 to -1"):
        _fit(make_series() * 0 - 1, likelihood=GammaLikelihood())


# --- arguments -----------------------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "likelihood": [GaussianLikelihood, torch.nn.MSELoss(), 0.5],
    "loss_fn": ["mse", torch.nn.MSELoss, None, 3],
    "torch_metrics": ["mae", torchmetrics.MeanAbsoluteError, [3], {"mae": "mae"}],
    "optimizer_cls": ["adam", torch.optim.Adam([torch.zeros(1)]), None],
    "optimizer_kwargs": [0.001, [("lr", 0.1)]],
    "lr_scheduler_cls": ["step", 3],
    "lr_scheduler_kwargs": [3],
    "n_epochs": [0, -1, "3", 2.5, True, None],
    "nr_epochs_val_period": [0, "1"],
    "use_reversible_instance_norm": ["yes", {"afine": True}, None],
    "enable_finetuning": ["encoder.*"],
    "add_encoders": ["cyclic"],
    "pl_trainer_kwargs": [
        "cpu",
        {"max_epochs": 0},
        {"callbacks": EarlyStopping("val_loss")},
        {"callbacks": [EarlyStopping]},
    ],
    "model_name": [3],
    "work_dir": [3],
    "sort_quantiles": [1, None, "no"],
    "ensemble_size": [0, 2.5, None, True],
}


@pytest.mark.parametrize("argument", WRONG)
def test_arguments_of_the_wrong_type_are_refused_when_the_model_is_made(argument: str) -> None:
    for value in WRONG[argument]:
        with pytest.raises(ValueError, match=rf"^Expected `{argument}.* to be .*, got "):
            SimpleRNNModel(INPUT, OUTPUT, **{argument: value})


def test_a_class_in_place_of_an_instance_is_told_so() -> None:
    with pytest.raises(
        ValueError, match=r"got the class GaussianLikelihood. Give an instance of it: GaussianL.*\(...\)"
    ):
        make_model(NAME, likelihood=GaussianLikelihood)


def test_everything_of_the_right_type_is_taken() -> None:
    metric = torchmetrics.MeanAbsoluteError()
    for arguments in (
        {"loss_fn": torch.nn.functional.l1_loss},
        {"loss_fn": None, "likelihood": GaussianLikelihood()},
        {"optimizer_cls": functools.partial(torch.optim.SGD, momentum=0.9), "optimizer_kwargs": {"lr": 1e-3}},
        {"torch_metrics": {"mae": metric}},
        {"torch_metrics": [metric]},
        {"torch_metrics": torchmetrics.MetricCollection([metric])},
        {"pl_trainer_kwargs": {"max_epochs": 1, "callbacks": []}},
        {"n_epochs": np.int64(1)},
    ):
        assert _fit(**arguments).epochs_trained == 1


def test_no_epochs_are_refused_in_a_trainer_and_stand_for_those_of_the_model_in_a_fit() -> None:
    model = make_model(NAME, n_epochs=2)
    with pytest.raises(ValueError, match=r"`trainer.max_epochs` to be at least 1"):
        model.fit(make_series(), trainer=Trainer(max_epochs=0, accelerator="cpu", logger=False))
    assert not model.model_created
    assert model.fit(make_series(), epochs=0).epochs_trained == 2
    for epochs in (-1, "3", 2.5, True, None):
        with pytest.raises(ValueError, match=f"Expected `epochs` to be an integer of at least 0, got {epochs!r}"):
            model.fit(make_series(), epochs=epochs)
    assert model.fit(make_series(), epochs=np.int64(1)).epochs_trained == 1


@pytest.mark.parametrize(
    "value", [make_series().to_dataframe(), [], [1.0], {0: make_series()}, make_series().values(), 7]
)
@pytest.mark.parametrize("method", ["predict", "historical_forecasts", "backtest", "residuals", "gridsearch"])
def test_what_is_no_series_is_refused_by_every_method_as_by_fit(method: str, value: Any) -> None:
    model = make_model(NAME).fit(make_series())
    before_series: dict[str, list[Any]] = {"predict": [OUTPUT], "gridsearch": [{"input_chunk_length": [INPUT]}]}
    leading = before_series.get(method, [])
    expected = "Expected `{}` to be a Darts TimeSeries or a list of them, got "
    with pytest.raises(ValueError, match=expected.format("series")):
        getattr(model, method)(*leading, value)
    for covariates in ("past_covariates", "future_covariates"):
        with pytest.raises(ValueError, match=expected.format(covariates)):
            getattr(model, method)(*leading, make_series(), **{covariates: value})


@pytest.mark.parametrize("method", ["predict", "historical_forecasts", "backtest", "residuals"])
@pytest.mark.parametrize("argument", ["past_covariates", "future_covariates"])
def test_another_number_of_covariates_than_of_series_is_refused_by_every_method(method: str, argument: str) -> None:
    covariates = make_series(60, seed=1)
    model = make_model(NAME).fit(make_series(), **{argument: covariates})
    leading = [OUTPUT] if method == "predict" else []
    for n_series, n_given in ((2, 1), (2, 3), (1, 2)):
        with pytest.raises(ValueError, match=f"`{argument}` holds {n_given} series, expected {n_series}, one for each"):
            getattr(model, method)(*leading, [make_series()] * n_series, **{argument: [covariates] * n_given})


@pytest.mark.parametrize("value", ["7", 7.0, True, None, [3], 0, -1, np.float64(3)])
def test_what_is_no_number_of_steps_or_samples_is_refused(value: Any) -> None:
    model = _fit(likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    drawn_before = model._random_instance.get_state()[2]
    expected = rf"Expected `{{}}` to be an integer of at least 1, got {re.escape(repr(value))}\."
    with pytest.raises(ValueError, match=expected.format("n")):
        model.predict(value)
    with pytest.raises(ValueError, match=expected.format("num_samples")):
        model.predict(OUTPUT, num_samples=value)
    with pytest.raises(ValueError, match=expected.format("forecast_horizon")):
        model.historical_forecasts(make_series(), forecast_horizon=value, retrain=False)
    with pytest.raises(ValueError, match=expected.format("num_samples")):
        model.backtest(make_series(), num_samples=value, retrain=False)
    assert model._random_instance.get_state()[2] == drawn_before


def test_integers_of_numpy_are_numbers_of_steps_and_samples() -> None:
    model = _fit(likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    forecast = model.predict(np.int32(3), num_samples=np.int64(5))
    assert values_of(forecast).shape == (3, 1, 5)
    assert (
        model.historical_forecasts(
            make_series(), forecast_horizon=np.int64(2), num_samples=np.int64(2), retrain=False
        ).n_samples
        == 2
    )

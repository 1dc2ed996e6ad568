"""Quantiles that are forecast do not cross."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

import seq_plugins
from seq_plugins.models import SequenceModel
from tests.conftest import OUTPUT, make_model, make_series, values_of

QUANTILES = [0.05, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 0.95]


def _fitted(name: str, components: int = 1, **arguments: Any) -> SequenceModel:
    """Fit for one epoch, after which quantiles still cross."""
    model = make_model(name, likelihood=QuantileRegression(QUANTILES), **arguments)
    model.fit(make_series(components=components))
    return model


def _quantiles(model: SequenceModel, **arguments: Any) -> np.ndarray:
    """Return the quantiles forecast, `(H, C, N)`."""
    values = values_of(model.predict(OUTPUT, predict_likelihood_parameters=True, **arguments))[..., 0]
    return values.reshape(OUTPUT, -1, len(QUANTILES))


@pytest.mark.parametrize("components", [1, 3])
def test_quantiles_are_in_order_and_are_those_of_the_network(model_name: str, components: int) -> None:
    crossing = _quantiles(_fitted(model_name, components, sort_quantiles=False))
    assert (np.diff(crossing) < 0).any()
    np.testing.assert_array_equal(_quantiles(_fitted(model_name, components)), np.sort(crossing))


@pytest.mark.parametrize("fast", [True, False])
def test_every_way_of_forecasting_puts_them_in_order(fast: bool) -> None:
    model = _fitted("Seq2SeqRNNModel", components=2)
    model.fast_prediction = fast
    expected = _quantiles(_fitted("Seq2SeqRNNModel", components=2))
    np.testing.assert_array_equal(_quantiles(model), expected)
    for optimized in (True, False):
        (last,) = model.historical_forecasts(
            make_series(components=2),
            start=-OUTPUT,
            start_format="position",
            forecast_horizon=OUTPUT,
            retrain=False,
            last_points_only=False,
            predict_likelihood_parameters=True,
            enable_optimization=optimized,
            show_warnings=False,
        )
        assert (np.diff(values_of(last)[..., 0].reshape(OUTPUT, 2, -1)) >= 0).all()


def test_samples_are_drawn_from_quantiles_in_order() -> None:
    model = _fitted("SimpleRNNModel")
    quantiles = torch.tensor(_quantiles(model)).unsqueeze(0)
    seen: list[torch.Tensor] = []

    def watched_sample(likelihood: QuantileRegression, output: torch.Tensor) -> torch.Tensor:
        seen.append(output)
        return output[..., 0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QuantileRegression, "sample", watched_sample)
        model.predict(OUTPUT, num_samples=2)
    assert seen
    for sampled in seen:
        torch.testing.assert_close(sampled, quantiles.expand_as(sampled))
    drawn = values_of(model.predict(OUTPUT, num_samples=500))[:, 0]
    assert (drawn.min(axis=1) >= quantiles[0, :, 0, 0].numpy() - 1e-6).all()
    assert (drawn.max(axis=1) <= quantiles[0, :, 0, -1].numpy() + 1e-6).all()


def test_where_no_quantiles_cross_samples_are_the_same_with_and_without_an_order() -> None:
    models = [_fitted("SimpleRNNModel", sort_quantiles=sort) for sort in (True, False)]
    for model in models:
        with torch.no_grad():  # so far apart that nothing crosses
            model.model.head.layers[-1].bias += torch.arange(len(QUANTILES)).repeat(OUTPUT) * 100.0
    in_order, as_given = models
    np.testing.assert_array_equal(_quantiles(in_order), _quantiles(as_given))
    drawn, others = (values_of(model.predict(2 * OUTPUT, num_samples=5)) for model in models)
    np.testing.assert_array_equal(drawn, others)


@pytest.mark.parametrize("fast", [True, False])
def test_training_and_validation_are_the_same_with_and_without_an_order(fast: bool) -> None:
    models = []
    for sort in (True, False):
        model = make_model("Seq2SeqRNNModel", likelihood=QuantileRegression(QUANTILES), sort_quantiles=sort)
        model.fast_training = fast
        models.append(model.fit(make_series(), val_series=make_series(seed=1)))
    metrics = [model.trainer.callback_metrics["val_loss"] for model in models]
    assert metrics[0] == metrics[1]
    for weight, other in zip(*(model.model.parameters() for model in models), strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=0)


def test_parameters_of_distributions_stay_as_they_are() -> None:
    forecasts = []
    for sort in (True, False):
        model = make_model("SimpleRNNModel", likelihood=GaussianLikelihood(), sort_quantiles=sort)
        model.fit(make_series() + 3)  # of a mean that is larger than the deviation
        forecasts.append(values_of(model.predict(OUTPUT, predict_likelihood_parameters=True)))
    np.testing.assert_array_equal(forecasts[0], forecasts[1])


@pytest.mark.parametrize("sort", [True, False])
def test_a_loaded_model_sorts_as_the_one_saved(sort: bool, tmp_path: Path) -> None:
    model = _fitted("SimpleRNNModel", sort_quantiles=sort)
    model.save(tmp_path / "model.pt")
    loaded = seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(_quantiles(loaded), _quantiles(model))
    assert (np.diff(_quantiles(loaded)) >= 0).all() == sort
    assert loaded.untrained_model().model_params["sort_quantiles"] is sort
    # the weights are the same with and without an order
    other = make_model("SimpleRNNModel", likelihood=QuantileRegression(QUANTILES), sort_quantiles=not sort)
    other.load_weights(tmp_path / "model.pt")
    np.testing.assert_array_equal(np.sort(_quantiles(other, series=make_series())), np.sort(_quantiles(model)))


def test_a_model_saved_before_there_was_a_choice_sorts(tmp_path: Path) -> None:
    model = _fitted("SimpleRNNModel")
    assert "sort_quantiles" not in model.model_params
    model.save(tmp_path / "model.pt")
    checkpoint = torch.load(tmp_path / "model.pt.ckpt", weights_only=False)
    assert checkpoint["hyper_parameters"].pop("sort_quantiles", True)
    network = type(model.model).load_from_checkpoint
    torch.save(checkpoint, tmp_path / "old.ckpt")
    assert network(tmp_path / "old.ckpt", weights_only=False, strict=True).sort_quantiles
